"""What is in a bucket, level by level and page by page."""

from __future__ import annotations

import csv
import io

import pytest

from tests.cli.archive import Archive

TREE = ("a.txt", "logs", "logs-2024/x", "logs/1.log", "logs/2.log", "logs/old/3.log", "ü ö/+%2F;.txt", "z\x9b31m.txt")


@pytest.fixture(scope="module")
def bucket(archive: Archive) -> str:
    return archive.bucket(*TREE)


def names(archive: Archive, *arguments: str) -> list[str]:
    return [row["key"] for row in archive.run("ls", "-o", "json", *arguments).expect().json]


def test_one_level_shows_objects_and_prefixes_in_order(archive: Archive, bucket: str) -> None:
    """Without -r, what lies below a slash is one line."""
    shown = archive.run("ls", "-o", "json", f"ds3://{bucket}").expect().json
    assert [(row["key"], row["type"]) for row in shown] == [
        ("a.txt", "object"),
        ("logs", "object"),
        ("logs-2024/", "prefix"),
        ("logs/", "prefix"),
        ("z\x9b31m.txt", "object"),
        ("ü ö/", "prefix"),
    ]
    assert names(archive, f"ds3://{bucket}/logs/") == ["logs/1.log", "logs/2.log", "logs/old/"]


def test_recursive_shows_everything_below(archive: Archive, bucket: str) -> None:
    """-r reads the address as ending in a slash: a neighbour with the same beginning is not below it."""
    assert sorted(names(archive, "-r", f"ds3://{bucket}")) == sorted(TREE)
    below = ["logs/1.log", "logs/2.log", "logs/old/3.log"]
    assert names(archive, "-r", f"ds3://{bucket}/logs") == below
    assert names(archive, "-r", f"ds3://{bucket}/logs/") == below


def test_an_address_without_a_slash_is_one_key(archive: Archive, bucket: str) -> None:
    """The object of that name and the prefix of that name, and nothing that only begins so."""
    assert names(archive, f"ds3://{bucket}/logs") == ["logs", "logs/"]
    assert names(archive, f"ds3://{bucket}/a.txt") == ["a.txt"]
    assert names(archive, f"ds3://{bucket}/logs-2024") == ["logs-2024/"]


def test_a_pattern_selects_at_any_depth(archive: Archive, bucket: str) -> None:
    """Wildcards cross slashes; --raw takes them as letters."""
    assert names(archive, f"ds3://{bucket}/logs*.log") == ["logs/1.log", "logs/2.log", "logs/old/3.log"]
    archive.run("ls", "--raw", f"ds3://{bucket}/logs*.log").expect(4)


@pytest.mark.parametrize("address", ["nothing", "nothing/", "log", "a.txt/", "no*thing"])
def test_what_is_not_there_ends_with_4(archive: Archive, bucket: str, address: str) -> None:
    """A key, a prefix or a pattern that names nothing is told apart from an empty bucket."""
    archive.run("ls", f"ds3://{bucket}/{address}").expect(4)
    told = archive.run("ls", "-o", "json", f"ds3://{bucket}/{address}").expect(4)
    assert told.json["error"]["code"] == "NotFound"


def test_an_empty_bucket_is_no_failure(archive: Archive) -> None:
    """Nothing in it is what there is to show."""
    bucket = archive.bucket()
    assert archive.run("ls", f"ds3://{bucket}").expect().stdout == ""
    assert archive.run("ls", "-o", "json", f"ds3://{bucket}").expect().json == []


def test_lines_hold_what_scripts_rely_on(archive: Archive, bucket: str) -> None:
    """Each ndjson line has key, size, last_modified, etag, version_id and type."""
    (line,) = archive.run("ls", "-o", "ndjson", f"ds3://{bucket}/a.txt").expect().lines
    assert {"key", "size", "last_modified", "etag", "version_id", "type"} <= set(line)
    assert (line["size"], line["type"]) == (5, "object")
    assert line["last_modified"].endswith("Z")
    (prefix,) = archive.run("ls", "-o", "ndjson", f"ds3://{bucket}/logs-2024").expect().lines
    assert (prefix["key"], prefix["type"], prefix["size"]) == ("logs-2024/", "prefix", None)


def test_a_table_shows_no_raw_escape_and_csv_none_either(archive: Archive, bucket: str) -> None:
    """A key that would colour the terminal is shown as text."""
    for shape in ("table", "csv"):
        told = archive.run("ls", "-o", shape, f"ds3://{bucket}").expect().stdout
        assert "\x9b" not in told
        assert "z\\x9b31m.txt" in told
    rows = list(csv.DictReader(io.StringIO(archive.run("ls", "-o", "csv", f"ds3://{bucket}").stdout)))
    assert rows[0]["size"] == "5"


def test_a_listing_of_many_pages_is_whole(archive: Archive) -> None:
    """No key is lost or doubled where one page ends and the next begins."""
    keys = [f"{number:04}" for number in range(1203)]
    bucket = archive.bucket(*keys)
    assert names(archive, "-r", f"ds3://{bucket}") == keys
    assert len(archive.run("ls", "-r", f"ds3://{bucket}").expect().stdout.splitlines()) == 1204
