"""How much lies below each prefix."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds3tool.cli.du import Usage, usages
from ds3tool.errors import ProtocolError
from ds3tool.protocol.model import ListedObject, ObjectToPut
from tests.cli.archive import Archive

TREE = ("a.txt", "logs", "logs-2024/x", "logs/1.log", "logs/old/33.log", "logs/old/deep/4")
NOW = datetime(2024, 1, 31, tzinfo=UTC)


@pytest.fixture(scope="module")
def bucket(archive: Archive) -> str:
    return archive.bucket(*TREE)


def told(archive: Archive, *arguments: str) -> list[tuple[str, int, int]]:
    rows = archive.run("du", "-o", "json", *arguments).expect().json
    return [(row["key"], row["objects"], row["bytes"]) for row in rows]


def test_each_prefix_counts_what_is_below_it_and_the_total_is_last(archive: Archive, bucket: str) -> None:
    """One level by default, more with --depth, only the total with -s."""
    total = ("", 6, sum(map(len, TREE)))
    logs = ("logs/", 3, len("logs/1.loglogs/old/33.loglogs/old/deep/4"))
    assert told(archive, f"ds3://{bucket}") == [("logs-2024/", 1, 11), logs, total]
    assert told(archive, "--depth", "2", f"ds3://{bucket}") == [
        ("logs-2024/", 1, 11),
        ("logs/old/", 2, 30),
        logs,
        total,
    ]
    assert told(archive, "-s", f"ds3://{bucket}") == [total]
    assert told(archive, f"ds3://{bucket}/logs") == [("logs/old/", 2, 30), logs]


def test_a_table_names_whole_addresses(archive: Archive, bucket: str) -> None:
    """What du prints can be given to the next command."""
    lines = archive.run("du", f"ds3://{bucket}/logs/").expect().stdout.splitlines()
    assert lines[1].split() == ["30", "B", "2", f"ds3://{bucket}/logs/old/"]
    assert lines[-1].endswith(f"ds3://{bucket}/logs/")


def test_only_what_is_chosen_is_counted(archive: Archive, bucket: str) -> None:
    """Filters look at names below the address; a filter that accepts nothing counts nothing, and is no failure."""
    assert told(archive, "-s", "--include", "*.log", f"ds3://{bucket}/logs/") == [("logs/", 2, 25)]
    assert told(archive, "-s", "--exclude", "old/", f"ds3://{bucket}/logs/") == [("logs/", 1, 10)]
    assert told(archive, "-s", "--older", "1d", f"ds3://{bucket}") == [("", 0, 0)]
    archive.run("du", f"ds3://{bucket}/nothing/").expect(4)


def test_what_is_not_complete_is_not_counted_and_said(archive: Archive) -> None:
    """An object that a job has only declared has no size yet; nobody takes the sum for the whole."""
    bucket = archive.bucket("p/a")
    archive.client.create_put_job(bucket, [ObjectToPut("p/b", 500)])
    run = archive.run("du", "-o", "json", f"ds3://{bucket}").expect()
    assert [(row["objects"], row["bytes"], row["incomplete"]) for row in run.json] == [(1, 3, 1), (1, 3, 1)]
    assert "1 object not complete yet: not counted" in run.stderr


def test_an_object_by_itself_and_a_pattern_are_counted(archive: Archive, bucket: str) -> None:
    """An address of one key, and one with wildcards, have a total of their own."""
    assert told(archive, f"ds3://{bucket}/a.txt") == [("a.txt", 1, 5)]
    assert told(archive, "-s", f"ds3://{bucket}/logs*.log") == [("", 2, 25)]


KEYS = st.lists(st.lists(st.sampled_from(["", "a", "b", "a-", "ü"]), min_size=1, max_size=4).map("/".join).filter(bool))


@given(KEYS, st.integers(0, 4))
def test_sums_are_those_of_the_keys(keys: list[str], depth: int) -> None:
    """For any keys, versions of one key too, each prefix is told once, with all that begins with it."""
    objects = [ListedObject(key, len(key), NOW, None) for key in sorted(keys)]
    found = list(usages(objects, Usage("all", "", 0), depth=depth, shown=str))
    prefixes = {key[: place + 1] for key in keys for place, letter in enumerate(key) if letter == "/"}
    wanted = Counter(prefix for prefix in prefixes if prefix.count("/") <= depth) + Counter([""])
    assert Counter(usage.key for usage in found) == wanted
    assert found[-1].key == ""
    for usage in found:
        below = [key for key in keys if key.startswith(usage.key)]
        assert (usage.objects, usage.bytes) == (len(below), sum(map(len, below)))


def test_keys_out_of_order_are_no_sums() -> None:
    """A prefix that came back after its end would be told twice, each time with a part: that is an error."""
    objects = [ListedObject(key, 1, NOW, None) for key in ("a/1", "b/1", "a/2")]
    with pytest.raises(ProtocolError, match="order"):
        list(usages(objects, Usage("all", "", 0), depth=1, shown=str))
