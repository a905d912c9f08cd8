"""Removing exactly what was meant."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import pytest

from ds3tool.client import Ds3Client
from ds3tool.protocol.model import DeleteResult
from tests.cli.archive import Archive
from tests.cli.test_config_command import on_a_terminal

TREE = ("logs", "logs-2024/x", "logs/1", "logs/deep/2", "other")


def test_one_object_is_removed_and_its_neighbours_stay(archive: Archive) -> None:
    """An address without a slash is one key."""
    bucket = archive.bucket(*TREE)
    archive.run("rm", f"ds3://{bucket}/logs").expect()
    assert archive.keys(bucket) == ["logs-2024/x", "logs/1", "logs/deep/2", "other"]


def test_recursive_takes_what_is_below_the_slash_and_nothing_else(archive: Archive) -> None:
    """rm -r logs never touches logs-2024/x, nor the object logs."""
    bucket = archive.bucket(*TREE)
    told = archive.run("rm", "-r", "--yes", "-o", "json", f"ds3://{bucket}/logs").expect().json
    assert told == {"objects": 2, "failed": []}
    assert archive.keys(bucket) == ["logs", "logs-2024/x", "other"]


def test_a_prefix_wants_recursive_and_a_bucket_wants_rb(archive: Archive) -> None:
    """Nothing is removed on an address that may not have been meant so."""
    bucket = archive.bucket(*TREE)
    assert "-r" in archive.run("rm", f"ds3://{bucket}/logs/").expect(2).stderr
    assert "rb" in archive.run("rm", f"ds3://{bucket}").expect(2).stderr
    assert archive.keys(bucket) == sorted(TREE)


@pytest.mark.parametrize("arguments", [["-r", "logs"], ["logs*"]])
def test_many_are_counted_and_not_removed_unasked(archive: Archive, arguments: list[str]) -> None:
    """Without a terminal and without --yes nothing goes, and the count is told."""
    bucket = archive.bucket(*TREE)
    *options, key = arguments
    told = archive.run("rm", *options, f"ds3://{bucket}/{key}").expect(2)
    assert " objects (" in told.stderr
    assert "add --yes" in told.stderr
    assert archive.keys(bucket) == sorted(TREE)


@pytest.mark.parametrize(("answer", "left"), [("y", ["logs", "logs-2024/x", "other"]), ("n", sorted(TREE))])
def test_a_person_is_asked_with_the_count(archive: Archive, answer: str, left: list[str]) -> None:
    """Yes removes what was counted, anything else nothing."""
    bucket = archive.bucket(*TREE)
    told = on_a_terminal(["rm", "-r", f"ds3://{bucket}/logs/"], [("[y/N]", answer)], dict(archive.environ))
    assert "Remove 2 objects" in told.stdout, str(told)
    assert archive.keys(bucket) == left


def test_a_pattern_removes_what_it_matches(archive: Archive) -> None:
    """logs* is how to say everything that begins so."""
    bucket = archive.bucket(*TREE)
    archive.run("rm", "-y", f"ds3://{bucket}/logs*").expect()
    assert archive.keys(bucket) == ["other"]


def test_a_pattern_that_is_a_key_as_well_is_refused(archive: Archive) -> None:
    """a[1] may mean the object a[1] or the object a1: which, has to be said."""
    bucket = archive.bucket("a1", "a[1]")
    assert "--raw" in archive.run("rm", "-y", f"ds3://{bucket}/a[1]").expect(2).stderr
    assert archive.keys(bucket) == ["a1", "a[1]"]
    archive.run("rm", "--raw", f"ds3://{bucket}/a[1]").expect()
    assert archive.keys(bucket) == ["a1"]


def test_raw_removes_the_folder_object_alone(archive: Archive) -> None:
    """A folder's own object goes without what is below it."""
    bucket = archive.bucket("f/", "f/a")
    archive.run("rm", "--raw", f"ds3://{bucket}/f/").expect()
    assert archive.keys(bucket) == ["f/a"]


def test_what_is_not_there_ends_with_4(archive: Archive) -> None:
    """A missing key, prefix, pattern or bucket is no success."""
    bucket = archive.bucket("folder/a")
    told = archive.run("rm", f"ds3://{bucket}/folder").expect(4)
    assert f"ds3://{bucket}/folder/" in told.stderr
    archive.run("rm", "-r", f"ds3://{bucket}/nothing").expect(4)
    archive.run("rm", f"ds3://{bucket}/no*").expect(4)
    archive.run("rm", f"ds3://{bucket}/x", f"ds3://{bucket}/y").expect(4)
    archive.run("rm", "ds3://nobody/x").expect(4)


def test_what_could_not_be_removed_is_listed_and_the_rest_is_gone(archive: Archive) -> None:
    """Exit code 3, each failure by its key, in every shape."""
    for shape in ("json", "ndjson", "csv", "table"):
        bucket = archive.bucket("a", "b")
        told = archive.run("rm", "-o", shape, *(f"ds3://{bucket}/{key}" for key in ("a", "missing", "b"))).expect(3)
        assert "missing" in told.stdout
        assert archive.keys(bucket) == []
        if shape == "json":
            assert told.json["objects"] == 2
            assert [failure["key"] for failure in told.json["failed"]] == ["missing"]
            assert told.json["error"]["exit_code"] == 3


def test_an_address_that_names_nothing_does_not_keep_the_others(archive: Archive) -> None:
    """Of several prefixes the one that is empty is named, the rest is removed, and the exit code says so."""
    bucket = archive.bucket("a/1", "c/2")
    addresses = [f"ds3://{bucket}/{prefix}/" for prefix in ("a", "b", "c")]
    told = archive.run("rm", "-r", "-y", "-o", "json", *addresses).expect(3).json
    assert told["objects"] == 2
    assert [failure["key"] for failure in told["failed"]] == [addresses[1]]
    assert archive.keys(bucket) == []


def test_a_run_that_breaks_off_tells_what_is_gone(archive: Archive) -> None:
    """What was removed before a failure stands in the result beside the error."""
    bucket = archive.bucket("a")
    told = archive.run("rm", "-o", "json", f"ds3://{bucket}/a", "ds3://nobody/x").expect(4).json
    assert told["objects"] == 1
    assert told["error"]["exit_code"] == 4


def test_each_removed_object_is_a_line(archive: Archive) -> None:
    """ndjson tells every key as it goes."""
    bucket = archive.bucket(*TREE)
    lines = archive.run("rm", "-r", "-y", "-o", "ndjson", f"ds3://{bucket}").expect().lines
    assert sorted(line["key"] for line in lines) == sorted(TREE)


def test_more_than_one_request_can_hold_are_all_removed(archive: Archive) -> None:
    """A multi-object delete takes a thousand keys; what is more goes in the next."""
    bucket = archive.bucket(*(f"{number:04}" for number in range(1001)))
    assert archive.run("rm", "-r", "-y", "-o", "json", f"ds3://{bucket}").expect().json["objects"] == 1001
    assert archive.keys(bucket) == []


def test_odd_keys_are_removed_as_they_are(archive: Archive) -> None:
    """Nothing in a key is decoded, trimmed or read as something else."""
    odd = ["a b+c", "%2F", "ü\u0301", "new\nline", "semi;colon&amp", "<tag>", "back\\slash"]
    bucket = archive.bucket(*odd, "stay")
    archive.run("rm", "--raw", *(f"ds3://{bucket}/{key}" for key in odd)).expect()
    assert archive.keys(bucket) == ["stay"]


def test_only_what_is_chosen_is_removed(archive: Archive) -> None:
    """Names, ages and sizes choose below the prefix; what they leave out stays."""
    bucket = archive.bucket("logs/1.log", "logs/2.tmp", "logs/deep/3.log", "other.log")
    address = f"ds3://{bucket}/logs"
    archive.run("rm", "-y", "-r", "--older", "1d", address).expect()
    archive.run("rm", "-y", "-r", "--min-size", "1K", address).expect()
    assert len(archive.keys(bucket)) == 4
    told = archive.run("rm", "-y", "-r", "-o", "json", "--include", "*.log", "--exclude", "deep/", address).expect()
    assert told.json == {"objects": 1, "failed": []}
    assert archive.keys(bucket) == ["logs/2.tmp", "logs/deep/3.log", "other.log"]
    archive.run("rm", "-y", "-r", "--newer", "1d", f"ds3://{bucket}/logs/*.log").expect()
    assert archive.keys(bucket) == ["logs/2.tmp", "other.log"]


def test_a_person_is_asked_with_the_count_of_what_is_chosen(archive: Archive) -> None:
    """The question tells what will go, not what is there."""
    bucket = archive.bucket("logs/1.log", "logs/2.log", "logs/3.tmp")
    told = archive.run("rm", "-r", "--include", "*.log", f"ds3://{bucket}/logs").expect(2)
    assert "Remove 2 objects (20 B) of" in told.stderr
    assert len(archive.keys(bucket)) == 3


def test_choosing_among_one_object_is_refused(archive: Archive) -> None:
    """A filter beside the address of one object may have been meant for a prefix: nothing goes."""
    bucket = archive.bucket("a")
    archive.run("rm", "--older", "30d", f"ds3://{bucket}/a").expect(2)
    assert archive.keys(bucket) == ["a"]


def test_what_was_removed_before_ctrl_c_is_told(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 130, with the count of what is gone."""
    bucket = archive.bucket(*TREE)
    delete_objects = Ds3Client.delete_objects

    def interrupted(client: Ds3Client, name: str, keys: Iterable[str]) -> Iterator[DeleteResult]:
        yield from delete_objects(client, name, itertools.islice(keys, 2))
        raise KeyboardInterrupt

    monkeypatch.setattr(Ds3Client, "delete_objects", interrupted)
    told = archive.run("rm", "-r", "--yes", "-o", "json", f"ds3://{bucket}/").expect(130).json
    assert told["objects"] == 2
    assert archive.keys(bucket) == sorted(TREE)[2:]
