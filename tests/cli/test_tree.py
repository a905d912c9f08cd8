"""Prefixes and objects as a tree: whole, in little memory, and no deeper than asked."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds3tool.cli.output import Output, OutputFormat
from ds3tool.cli.tree_of_keys import Ahead, Count, Entry, entries_of
from ds3tool.client import Ds3Client
from ds3tool.protocol.model import ListedObject, ObjectToPut
from tests.cli.archive import Archive

TREE = ("a//b", "a.txt", "end/", "logs", "logs-2024/x", "logs/1.log", "logs/old/3.log", "ü/z")
DRAWN = """ds3://{bucket}/
├── a.txt
├── a/
│   └── /
│       └── b
├── end/
├── logs
├── logs-2024/
│   └── x
├── logs/
│   ├── 1.log
│   └── old/
│       └── 3.log
└── ü/
    └── z

7 prefixes, 7 objects, {size}
"""
NOW = datetime(2024, 1, 31, tzinfo=UTC)


@pytest.fixture(scope="module")
def bucket(archive: Archive) -> str:
    return archive.bucket(*TREE)


def test_the_tree_is_drawn_with_every_key_in_its_place(archive: Archive, bucket: str) -> None:
    """Each prefix is one line, its last entry is drawn as the last, and the count stands below."""
    told = archive.run("tree", f"ds3://{bucket}").expect().stdout
    # `end/` is the object of a folder: counted, and drawn as the prefix it is.
    size = sum(len(key.encode()) for key in TREE if not key.endswith("/"))
    assert told == DRAWN.format(bucket=bucket, size=f"{size} B").replace("7 objects", "8 objects")


def test_a_depth_shows_the_same_tree_cut_off(archive: Archive, bucket: str) -> None:
    """--depth 1 draws the first level alone, --depth 9 the whole."""
    one = archive.run("tree", "--depth", "1", f"ds3://{bucket}").expect().stdout
    assert one.splitlines()[1:8] == [
        "├── a.txt",
        "├── a/",
        "├── end/",
        "├── logs",
        "├── logs-2024/",
        "├── logs/",
        "└── ü/",
    ]
    assert "2 objects" in one
    assert "(down to level 1)" in one
    whole = archive.run("tree", f"ds3://{bucket}").stdout
    deep = archive.run("tree", "-L", "9", f"ds3://{bucket}").expect().stdout
    assert deep.replace(" (down to level 9)", "") == whole


def test_what_lies_deeper_is_not_listed(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """A level takes one request for each of its prefixes, however much is below them."""
    bucket = archive.bucket(*(f"deep/{number:04}" for number in range(1500)), "top")
    asked: list[tuple[str, str]] = []
    listing_pages = Ds3Client.listing_pages

    def counted(self: Ds3Client, bucket: str, **how: object) -> object:
        asked.append((str(how.get("prefix")), str(how.get("delimiter"))))
        return listing_pages(self, bucket, **how)  # type: ignore[arg-type]  # handed on as they came

    monkeypatch.setattr(Ds3Client, "listing_pages", counted)
    archive.run("tree", "--depth", "1", f"ds3://{bucket}").expect()
    assert asked == [("", "/")]


def test_sizes_stand_beside_objects(archive: Archive) -> None:
    """--sizes tells each object's size, and of one that is not complete that it is not."""
    bucket = archive.bucket("a")
    archive.client.create_put_job(bucket, [ObjectToPut("b", 5)])
    told = archive.run("tree", "--sizes", f"ds3://{bucket}").expect().stdout.splitlines()
    assert told[1:3] == ["├── a  (1 B)", "└── b  (not complete yet)"]
    assert told[-1] == "0 prefixes, 2 objects, 1 B, 1 of them not complete yet"


def test_scripts_get_entries_with_their_depth(archive: Archive, bucket: str) -> None:
    """Every shape but the drawing has one entry a line, prefixes too."""
    lines = archive.run("tree", "-o", "ndjson", f"ds3://{bucket}/logs").expect().lines
    assert [(line["key"], line["type"], line["depth"], line["size"]) for line in lines] == [
        ("logs/1.log", "object", 1, 10),
        ("logs/old/", "prefix", 1, None),
        ("logs/old/3.log", "object", 2, 14),
    ]
    document = archive.run("tree", "-o", "json", f"ds3://{bucket}/logs").expect().json
    assert document == lines
    assert archive.run("tree", "-o", "csv", f"ds3://{bucket}/logs").expect().stdout.startswith("key,depth,type,size,")


def test_an_address_without_a_slash_is_a_prefix_or_else_a_key(archive: Archive, bucket: str) -> None:
    """What lies below a name is meant, or where nothing does, the object."""
    assert archive.run("tree", f"ds3://{bucket}/logs").expect().stdout.startswith(f"ds3://{bucket}/logs/\n")
    assert archive.run("tree", f"ds3://{bucket}/a.txt").expect().stdout.splitlines()[:2] == [
        f"ds3://{bucket}/",
        "└── a.txt",
    ]


@pytest.mark.parametrize("arguments", [["nothing"], ["nothing/"], ["--depth", "1", "nothing/"]])
def test_nothing_is_drawn_of_what_is_not_there(archive: Archive, bucket: str, arguments: list[str]) -> None:
    """An address that names nothing ends with 4 and an empty stdout."""
    *options, key = arguments
    assert archive.run("tree", *options, f"ds3://{bucket}/{key}").expect(4).stdout == ""


def test_an_empty_bucket_is_no_failure_and_a_pattern_is_no_root(archive: Archive) -> None:
    """An empty tree has a root and a count; a pattern is sent to find."""
    bucket = archive.bucket()
    assert archive.run("tree", f"ds3://{bucket}").expect().stdout == f"ds3://{bucket}/\n\n0 prefixes, 0 objects, 0 B\n"
    assert "ds3tool find" in archive.run("tree", f"ds3://{bucket}/a*").expect(2).stderr


def test_where_the_encoding_has_no_lines_ascii_draws_them() -> None:
    """An ASCII terminal gets lines it can show, and names it cannot show as escapes."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    output = Output(OutputFormat.TABLE, stream)
    assert not output.draws_lines
    output.lines(["`-- ü"])
    assert isinstance(stream.buffer, io.BytesIO)
    assert stream.buffer.getvalue() == b"`-- \\xfc\n"


PARTS = st.lists(st.sampled_from(["", "a", "b", "a-", "a0", "ü"]), min_size=1, max_size=5)


@given(st.sets(PARTS.map("/".join).filter(bool), max_size=25), st.integers(1, 4))
def test_last_is_what_no_sibling_follows(keys: set[str], hold: int) -> None:
    """However little is looked ahead, each entry comes once and the last of its siblings is known as such."""
    ordered = sorted(keys)

    def ask(parent: str, prefix: str) -> bool:
        return any(key.startswith(parent) and key > prefix and not key.startswith(prefix) for key in ordered)

    listed = [ListedObject(key, 1, NOW, None) for key in ordered]
    count = Count()
    entries = list(entries_of(Ahead(listed, ask, hold=hold), "", count))
    prefixes = {key[: place + 1] for key in keys for place, letter in enumerate(key) if letter == "/"}
    assert [entry.key for entry in entries] == sorted(prefixes | keys)
    assert (count.prefixes, count.objects) == (len(prefixes), len(keys))

    def parent(entry: Entry) -> str:
        return entry.key[: len(entry.key) - len(entry.name)]

    for place, entry in enumerate(entries):
        assert entry.last == (parent(entry) not in {parent(other) for other in entries[place + 1 :]}), entry
        assert entry.depth == parent(entry).count("/") + 1
