"""A random share is read back and held against its digests; nothing of it stays."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ds3tool.protocol.model import TapeState
from tests.cli.archive import Archive, small_appliance


@pytest.fixture
def bucket(archive: Archive, tmp_path: Path) -> str:
    """A bucket with forty small objects, an empty one and one of three blobs below `p/`, all on tape."""
    tree = tmp_path / "many"
    tree.mkdir()
    for number in range(40):
        (tree / f"{number:02}").write_bytes(os.urandom(500 + number))
    (tree / "empty").touch()
    (tree / "large").write_bytes(os.urandom((5 << 19) + 7))
    bucket = archive.bucket()
    archive.run("put", str(tree), f"ds3://{bucket}/p/", "--wait", "tape").expect()
    return bucket


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[tuple[Archive, str]]:
    """An appliance whose tapes no other test needs, with three objects on one tape and not in the cache."""
    with small_appliance() as appliance:
        archive = Archive.of(appliance)
        for name in ("a", "b", "c"):
            (tmp_path / name).write_bytes(name.encode() * 1000)
        bucket = archive.bucket()
        archive.run("put", str(tmp_path), f"ds3://{bucket}/", "--wait", "tape").expect()
        archive.client.reclaim_cache()
        yield archive, bucket
        archive.client.close()


def drawn(archive: Archive, *arguments: str) -> list[str]:
    """Return the keys that a run has read."""
    lines = archive.run("verify", "sample", "-o", "ndjson", *arguments).expect().lines
    return sorted(line["key"] for line in lines if "key" in line)


def test_a_share_is_read_back_and_verified(archive: Archive, bucket: str) -> None:
    """The result says how much was drawn, of how much, and by which seed."""
    told = archive.run("verify", "sample", "--share", "100%", "-o", "json", f"ds3://{bucket}/p/").expect().json
    size = sum(range(500, 540)) + (5 << 19) + 7
    assert {name: told[name] for name in ("objects", "verified", "bytes", "of_objects", "of_bytes", "failed")} == {
        "objects": 42,
        "verified": 42,
        "bytes": size,
        "of_objects": 42,
        "of_bytes": size,
        "failed": [],
    }
    assert (told["unverified_blobs"], told["bytes_read"], told["from_cache"]) == (0, size, 42)
    assert isinstance(told["seed"], int)
    (job,) = told["jobs"]
    assert (job["type"], job["status"], job["objects"]) == ("GET", "COMPLETED", 42)


def test_the_same_seed_draws_the_same_objects_and_another_one_others(archive: Archive, bucket: str) -> None:
    """The seed that one run shows repeats it."""
    where = f"ds3://{bucket}/p/"
    first = archive.run("verify", "sample", "--count", "10", "-o", "json", where).expect().json
    assert (first["objects"], first["of_objects"]) == (10, 42)
    again = drawn(archive, "--count", "10", "--seed", str(first["seed"]), where)
    assert again == drawn(archive, "--count", "10", "--seed", str(first["seed"]), where)
    assert len(again) == 10
    assert len({tuple(drawn(archive, "--count", "10", "--seed", str(seed), where)) for seed in range(3)}) == 3


def test_limits_and_filters_choose_what_is_drawn_from(archive: Archive, bucket: str) -> None:
    """Filters make the whole smaller, --bytes caps the sample, and one object is drawn in any case."""
    where = f"ds3://{bucket}/p/"
    told = archive.run("verify", "sample", "--max-size", "600", "--bytes", "2k", "-o", "json", where).expect().json
    assert told["of_objects"] == 41
    assert 1 <= told["objects"] <= 5
    assert told["bytes"] <= 2000
    assert drawn(archive, "--include", "large", where) == ["p/large"]
    told = archive.run("verify", "sample", "--share", "0.0001%", "-o", "json", where).expect().json
    assert told["objects"] == 1


def test_people_read_one_line_that_names_the_seed(archive: Archive, bucket: str) -> None:
    """Nothing on stdout when all is well; what came from the cache is told, since no tape was read for it."""
    shown = archive.run("verify", "sample", "--count", "2", "--seed", "7", f"ds3://{bucket}/p/").expect()
    assert shown.stdout == ""
    assert "drew 2 of 42 objects" in shown.stderr
    assert "with --seed 7; 2 verified, 0 failed" in shown.stderr
    assert "2 came from the cache" in shown.stderr


def test_nothing_is_written_anywhere(
    archive: Archive, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder it is run in stays empty."""
    empty = tmp_path / "cwd"
    empty.mkdir()
    monkeypatch.chdir(empty)
    archive.run("verify", "sample", "--share", "100%", f"ds3://{bucket}/p/").expect()
    assert list(empty.iterdir()) == []


def test_a_key_that_is_also_a_prefix_of_others_is_read_like_any(archive: Archive) -> None:
    """No file is made, so nothing is in the way of anything."""
    bucket = archive.bucket("a", "a/b", "a/b/c", "../up", "%41")
    assert drawn(archive, "--share", "100%", f"ds3://{bucket}") == sorted(["a", "a/b", "a/b/c", "../up", "%41"])


def spoil(archive: Archive, bucket: str, change: Callable[[bytearray], None]) -> None:
    """Change what the appliance has in its cache of every blob of 500 bytes and more."""
    for path in (archive.appliance.directory / "cache").rglob("*"):
        if path.is_file() and path.stat().st_size >= 500:
            data = bytearray(path.read_bytes())
            change(data)
            path.write_bytes(data)


def test_wrong_bytes_are_named_and_are_5(alone: tuple[Archive, str]) -> None:
    """A bit that flipped on the way out of the tape fails its object, in each shape of output."""
    archive, bucket = alone
    archive.run("verify", "sample", "--share", "100%", f"ds3://{bucket}/").expect()

    def flip(data: bytearray) -> None:
        data[100] ^= 1

    spoil(archive, bucket, flip)
    told = archive.run("verify", "sample", "--share", "100%", "-o", "json", f"ds3://{bucket}/").expect(5).json
    assert {failure["key"] for failure in told["failed"]} == {"a", "b", "c"}
    assert all("damaged" in failure["error"] for failure in told["failed"])
    assert (told["verified"], told["error"]["exit_code"]) == (0, 5)
    shown = archive.run("verify", "sample", "--count", "1", f"ds3://{bucket}/").expect(5)
    assert "damaged" in shown.stdout
    lines = archive.run("verify", "sample", "--share", "100%", "-o", "ndjson", f"ds3://{bucket}/").expect(5).lines
    assert sorted(line["key"] for line in lines if line.get("status") == "failed") == ["a", "b", "c"]


def test_what_is_on_a_shelf_is_8_and_the_rest_is_read(alone: tuple[Archive, str], tmp_path: Path) -> None:
    """The bar code is told; what was put since, and is in the cache, is verified all the same."""
    archive, bucket = alone
    (code,) = {
        tape["bar_code"]
        for row in archive.run("where", "-r", "-o", "json", f"ds3://{bucket}/").expect().json
        for tape in row["tapes"]
    }
    archive.run("tape", "eject", code).expect()
    archive.until(lambda: archive.client.get_tape(code).state is TapeState.EJECTED)
    (tmp_path / "new").write_bytes(b"new" * 400)
    archive.run("put", str(tmp_path / "new"), f"ds3://{bucket}/new", "--wait", "tape").expect()
    told = archive.run("verify", "sample", "--share", "100%", "-o", "json", f"ds3://{bucket}/").expect(8).json
    assert (told["objects"], told["verified"], told["bar_codes"]) == (4, 1, [code])
    assert {failure["key"] for failure in told["failed"]} == {"a", "b", "c"}


def test_failures_go_where_they_are_asked_to_go(alone: tuple[Archive, str], tmp_path: Path) -> None:
    """--failed-to lists keys, and --on-error stop ends at the first."""
    archive, bucket = alone
    archive.run("verify", "sample", "--share", "100%", f"ds3://{bucket}/").expect()
    spoil(archive, bucket, lambda data: data.__setitem__(0, data[0] ^ 255))
    where = (f"ds3://{bucket}/", "--share", "100%", "--failed-to", str(tmp_path / "failed"))
    archive.run("verify", "sample", *where).expect(5)
    assert sorted((tmp_path / "failed").read_text().split()) == ["a", "b", "c"]
    archive.run("verify", "sample", "--on-error", "stop", *where).expect(5)


def test_nonsense_is_refused_before_anything_is_read(archive: Archive, bucket: str) -> None:
    """Exit code 2 with the way to write it; 4 for what is not there, 9 only when asked for."""
    where = f"ds3://{bucket}/p/"
    for wrong in (("--share", "1"), ("--share", "0%"), ("--count", "0"), ("--bytes", "0"), ("--seed", "-1")):
        archive.run("verify", "sample", *wrong, where).expect(2)
    archive.run("verify", "sample", f"ds3://{bucket}/nothing/").expect(4)
    archive.run("verify", "sample", "ds3://nobody").expect(4)
    told = archive.run("verify", "sample", "-o", "json", "--older", "1d", where).expect().json
    assert (told["objects"], told["jobs"]) == (0, [])
    archive.run("verify", "sample", "--error-if-nothing", "--older", "1d", where).expect(9)


def test_what_is_not_complete_is_not_drawn(archive: Archive, bucket: str) -> None:
    """An object that nobody has sent yet is no archived object; how many there were is told."""
    from ds3tool.protocol.model import ObjectToPut

    archive.client.create_put_job(bucket, [ObjectToPut("p/declared", 5)])
    shown = archive.run("verify", "sample", "--share", "100%", f"ds3://{bucket}/p/").expect()
    assert "drew 42 of 42 objects" in shown.stderr
    assert "1 object not complete yet" in shown.stderr


def test_every_result_is_one_document(archive: Archive, bucket: str) -> None:
    """Numbers are numbers, and the names are those of the help."""
    text = archive.run("verify", "sample", "--count", "3", "-o", "json", f"ds3://{bucket}/p/").expect().stdout
    assert set(json.loads(text)) == {
        "jobs",
        "objects",
        "bytes",
        "verified",
        "failed",
        "unverified_blobs",
        "bar_codes",
        "from_cache",
        "seed",
        "of_objects",
        "of_bytes",
        "notes",
        "seconds",
        "bytes_read",
    }
