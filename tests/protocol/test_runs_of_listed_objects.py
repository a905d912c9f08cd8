"""Pages of a listing are read in blocks: to the same objects, and refused just as one by one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ds3tool.errors import ProtocolError
from ds3tool.protocol import responses
from ds3tool.protocol.messages import Headers, Response
from ds3tool.protocol.model import ListingPage

HEAD, TAIL = b"<ListBucketResult><Name>b</Name>", b"<IsTruncated>true</IsTruncated></ListBucketResult>"
LENGTH = 12


def _item(number: int) -> bytes:
    return (
        f'<Contents><ETag>"{number:032x}"</ETag><IsLatest>true</IsLatest><Key>a/object {number:04d}</Key>'
        f"<LastModified>2025-03-04T06:00:{number:02d}.000Z</LastModified><Owner><DisplayName>mira</DisplayName>"
        f"<ID>5e0c</ID></Owner><Size>{number}</Size><StorageClass/><VersionId>v{number}</VersionId></Contents>"
    ).encode()


ITEMS = [_item(number) for number in range(LENGTH)]
PAGE = HEAD + b"".join(ITEMS) + TAIL


def _read(document: bytes, size: int = 70_000) -> ListingPage | None:
    blocks = (document[at : at + size] for at in range(0, len(document), size))
    try:
        return responses.listing(Response(200, Headers(), blocks))
    except ProtocolError:
        return None


def _one_by_one(document: bytes) -> bytes:
    """Return the same with an attribute in each item's tag: it changes nothing that is read, and ends every run."""
    return document.replace(b"<Contents>", b'<Contents a="">')


def _is_plain(document: bytes) -> bool:
    """Whether the attribute above changes nothing but runs: no comment, text or name holds what looks like the tag."""
    return re.search(rb"<!|<\?", document) is None


SPOILING = b"""
< > / " & =
` \xc3\xbc <Key> </Key> <Key/> <Size/> <Size>x</Size> <Owner/> </Owner> </Contents> <Contents/> <x/> <x> </x>
&amp; ]]> -1 99999999999999999999 true maybe 2025-13-01 0 <Size>4</Size> <Key>k</Key> <LastModified/> <ETag/> \xc2\xb2
""".split()
BYTES = st.sampled_from(
    [*SPOILING, b"", b" ", b"\n", b"\0", b"\x1f", b"\xff", b"\xed\xa0\x80", b"\xef\xbf\xbf", ITEMS[3]]
)


@settings(max_examples=250, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(PAGE)), st.integers(0, 8), BYTES), max_size=3), st.integers(1, 5000))
def test_a_spoiled_page_is_read_as_expat_reads_it(changes: list[tuple[int, int, bytes]], size: int) -> None:
    """Whatever is changed in a page: it is read as the same one without runs, or both are refused."""
    document = PAGE
    for at, removed, added in changes:
        document = document[:at] + added + document[at + removed :]
    if _is_plain(document):
        assert _read(document, size) == _read(_one_by_one(document))


def test_a_page_is_what_it_says() -> None:
    """Keys, sizes, times, owners and versions of a run are those of its items."""
    page = _read(PAGE)
    assert page is not None
    assert page == _read(_one_by_one(PAGE))
    assert [(one.key, one.size, one.version_id) for one in page.objects] == [
        (f"a/object {number:04d}", number, f"v{number}") for number in range(LENGTH)
    ]
    assert len({id(one.owner) for one in page.objects}) == 1
    assert (page.next_marker, page.truncated) == ("a/object 0011", True)


@pytest.mark.parametrize("hidden", [(b"<!--", b"-->"), (b"<x><![CDATA[", b"]]></x>"), (b"<?x ", b"?>")])
def test_what_stands_in_a_comment_is_no_object(hidden: tuple[bytes, bytes]) -> None:
    """Items in a comment, in text or in an instruction are none, however many follow each other there."""
    opening, closing = hidden
    between = opening + b"".join(ITEMS[3:9]) + closing
    page = _read(HEAD + b"".join(ITEMS[:3]) + between + b"".join(ITEMS[9:]) + TAIL)
    assert page is not None
    assert [one.size for one in page.objects] == [0, 1, 2, 9, 10, 11]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (b"<Owner>", b"<Owner>nobody</Owner><Owner>"),
        (b"<Owner>", b"<Owner><ID>first</ID></Owner><Owner>"),
        (b"<VersionId>", b"<VersionId><x/></VersionId><VersionId>"),
        (b"<Key>", b"<Key>first</Key><Key>"),
    ],
)
def test_what_stands_twice_in_each_object_counts_once(one: bytes, two: bytes) -> None:
    """The first of two elements of one name is what counts, whatever the second has that it has not."""
    document = PAGE.replace(one, two)
    assert _read(document) == _read(_one_by_one(document))


def test_another_encoding_is_read_as_that() -> None:
    """The bytes of keys are what the page says that they are."""
    document = b'<?xml version="1.0" encoding="iso-8859-1"?>' + PAGE.replace(b"a/object", "ü".encode())
    page = _read(document)
    assert page is not None
    assert {one.key.split(" ")[0] for one in page.objects} == {"Ã¼"}


def test_a_page_that_ends_early_is_refused() -> None:
    """Whatever of it came."""
    assert [_read(PAGE[:end]) for end in range(0, len(PAGE), 41)] == [None] * len(range(0, len(PAGE), 41))


@pytest.mark.parametrize(
    "date",
    [
        b"2024-02-29T23:59:59.999Z",
        b"2025-02-29T00:00:00.000Z",
        b"2025-03-04T24:00:00.000Z",
        b"0000-01-01T00:00:00.000Z",
        b"2025-03-04T06:00:60.000Z",
        b"2025-03-04 06:00:00",
        b"20250304T060000.000000ZZ",
        "٢025-03-04T06:00:00.000Z".encode(),
        b"",
    ],
)
def test_dates_of_a_run_are_read_as_one_by_one(date: bytes) -> None:
    """Dates that differ from object to object are those that are read of each, and refused where those are."""
    document = PAGE.replace(b"2025-03-04T06:00:05.000Z", date)
    assert document != PAGE
    assert _read(document) == _read(_one_by_one(document))
