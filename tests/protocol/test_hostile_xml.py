"""XML that no appliance sends: refused quickly, in little memory, with words that say what was being read."""

from __future__ import annotations

import contextlib
import time
import tracemalloc
from collections.abc import Callable, Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ds3tool.errors import Ds3Error, ProtocolError
from ds3tool.protocol import responses
from ds3tool.protocol.messages import Headers, Response

MIB = 1024 * 1024

PARSERS: dict[str, tuple[Callable[[Response], object], str]] = {
    "tree": (responses.system_information, "Data"),
    "items": (responses.tapes, "Data"),
    "columns": (responses.job, "MasterObjectList"),
}
BOTH = pytest.mark.parametrize("parse", PARSERS)


def _parse(parse: str, *blocks: bytes) -> object:
    return PARSERS[parse][0](Response(200, Headers(), blocks))


def _root(parse: str) -> bytes:
    return PARSERS[parse][1].encode()


def _blocks(block: bytes, times: int) -> tuple[bytes, ...]:
    return (block,) * times


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    """Whatever a hostile document holds, it is refused within seconds of processor time."""
    started = time.process_time()
    yield
    assert time.process_time() - started < 20


@BOTH
def test_a_document_type_is_refused(parse: str) -> None:
    """A DOCTYPE is refused before anything it declares is looked at."""
    root = _root(parse)
    with pytest.raises(ProtocolError, match="document type"):
        _parse(parse, b"<!DOCTYPE " + root + b' SYSTEM "file:///etc/passwd"><' + root + b"/>")


@BOTH
def test_entities_cannot_multiply(parse: str) -> None:
    """The document of a thousand million laughs is refused in little memory."""
    laughs = b"".join(b'<!ENTITY l%d "%s">' % (level, b"&l%d;" % (level - 1) * 10) for level in range(1, 10))
    root = _root(parse)
    document = b'<!DOCTYPE x [<!ENTITY l0 "lol">' + laughs + b"]><" + root + b">&l9;</" + root + b">"
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match="document type"):
            _parse(parse, document)
        assert tracemalloc.get_traced_memory()[1] < 4 * MIB
    finally:
        tracemalloc.stop()


@BOTH
def test_entities_that_nobody_declared_are_refused(parse: str) -> None:
    """An entity beyond the five built-in ones is an error, not an empty text."""
    root = _root(parse)
    with pytest.raises(ProtocolError, match="undefined entity"):
        _parse(parse, b"<" + root + b"><a>&nbsp;</a></" + root + b">")


@BOTH
def test_depth_is_bounded(parse: str) -> None:
    """Two hundred thousand nested elements are refused."""
    root = _root(parse)
    with pytest.raises(ProtocolError, match="nested deeper than 64"):
        _parse(parse, b"<" + root + b">", *_blocks(b"<a>" * 1000, 200))


@BOTH
def test_attributes_are_bounded(parse: str) -> None:
    """Three hundred thousand attributes are refused, and so are sixty-five."""
    root = _root(parse)
    many = b" ".join(b'a%d="x"' % number for number in range(300_000))
    with pytest.raises(ProtocolError):
        _parse(parse, b"<" + root + b"><a " + many + b"/></" + root + b">")
    few = b" ".join(b'a%d="x"' % number for number in range(65))
    with pytest.raises(ProtocolError, match="65 attributes"):
        _parse(parse, b"<" + root + b"><a " + few + b"/></" + root + b">")


@BOTH
@pytest.mark.parametrize("block_size", [1000, 65536, 8 * MIB])
def test_one_tag_is_bounded(parse: str, block_size: int) -> None:
    """An attribute of a hundred megabytes is refused after a fraction of it, however it arrives."""
    root = _root(parse)
    taken = 0

    def blocks() -> Iterator[bytes]:
        nonlocal taken
        yield b"<" + root + b'><a b="'
        for _ in range(100 * MIB // block_size):
            taken += block_size
            yield b"x" * block_size

    with pytest.raises(ProtocolError, match="tag of more than"):
        PARSERS[parse][0](Response(200, Headers(), blocks()))
    assert taken <= 8 * MIB


@pytest.mark.parametrize("parse", ["tree", "items"])
def test_one_text_is_bounded(parse: str) -> None:
    """A text of a hundred megabytes is refused in a few megabytes of memory."""
    block = b"x" * MIB
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match="text of more than"):
            _parse(parse, b"<Data><Tape><Id>", *_blocks(block, 100))
        assert tracemalloc.get_traced_memory()[1] < 20 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("parse", ["tree", "items"])
def test_a_text_in_many_pieces_is_bounded_too(parse: str) -> None:
    """Comments or elements amid a text do not let it grow beyond the bound."""
    with pytest.raises(ProtocolError, match="text of more than"):
        _parse(parse, b"<Data><Tape><Id>", *_blocks((b"x" * 1000 + b"<a/>") * 60, 100))


@BOTH
def test_one_comment_is_bounded(parse: str) -> None:
    """A comment without an end is refused after a fraction of it."""
    with pytest.raises(ProtocolError, match="tag of more than"):
        _parse(parse, b"<" + _root(parse) + b"><!--", *_blocks(b"x" * MIB, 50))


def test_one_item_is_bounded() -> None:
    """An item of millions of elements is refused before it fills the memory."""
    with pytest.raises(ProtocolError, match="more than 1000000 elements"):
        _parse("items", b"<Data><Tape>", *_blocks(b"<a/>" * 25_000, 60))


def test_a_small_document_is_bounded() -> None:
    """A reply of one value that goes on and on is refused at its size."""
    with pytest.raises(ProtocolError, match="larger than"):
        _parse("tree", b"<Data>", *_blocks(b"<a>bc</a>" * 30_000, 20))


@BOTH
@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"   \n",
        b"not xml",
        b"<html><body>502 Bad Gateway</body></html>",
        b"<Data></Date>",
        b"<Data/><Data/>",
        b"<Data>\x00</Data>",
        b"<Data>\xff</Data>",
        b"<Data>&#0;</Data>",
        b'<Data a="1" a="2"/>',
        b"<Data/>trailing",
        b'<?xml version="1.0" encoding="UTF-7"?><Data/>',
        b'<?xml version="1.0" encoding="no-such-thing"?><Data/>',
        b'<?xml version="1.0" encoding="utf-16"?><Data/>',
        b'<?xml version="9"?>x',
    ],
)
def test_what_is_no_document_is_refused(parse: str, document: bytes) -> None:
    """Broken, empty and foreign documents are ProtocolErrors that say what was being read."""
    with pytest.raises(ProtocolError, match=r"^cannot read the "):
        _parse(parse, document)


@pytest.mark.parametrize(
    "blob",
    [
        'Offset="0" Length="1"',
        'Name="" Offset="0" Length="1"',
        'Name="a" Length="1"',
        'Name="a" Offset="0"',
        'Name="a" Offset="" Length="1"',
        'Name="a" Offset="-1" Length="1"',
        'Name="a" Offset="0" Length="-1"',
        'Name="a" Offset="0" Length="1.5"',
        'Name="a" Offset="0x10" Length="1"',
        'Name="a" Offset="1_0" Length="1"',
        'Name="a" Offset=" 1" Length="1"',
        'Name="a" Offset="0" Length="99999999999999999999"',
        'Name="a" Offset="0" Length="' + "9" * 5000 + '"',
        'Name="a" Offset="&#178;" Length="1"',
        'Name="a" Offset="0" Length="1" InCache="perhaps"',
        'x:Name="a" Offset="0" Length="1"',
    ],
)
def test_a_blob_that_cannot_be_is_refused(blob: str) -> None:
    """A blob without a name, an offset or a length, or with numbers that cannot be, fails the whole document."""
    document = f'<MasterObjectList JobId="j" RequestType="PUT"><Objects ChunkId="c" ChunkNumber="1"><Object {blob}/>'
    with pytest.raises(ProtocolError, match="blob of it"):
        _parse("columns", document.encode() + b"</Objects></MasterObjectList>")


@pytest.mark.parametrize(
    ("parse", "document", "named"),
    [
        (responses.job, "<MasterObjectList RequestType='PUT'/>", "JobId"),
        (responses.job, "<MasterObjectList JobId='j'/>", "RequestType"),
        (responses.job, "<MasterObjectList JobId='j' RequestType='PUT'><Objects/></MasterObjectList>", "ChunkId"),
        (responses.job, "<MasterObjectList JobId='j' RequestType='PUT' Naked='so-so'/>", "Naked of job j"),
        (responses.job, "<MasterObjectList JobId='j' RequestType='PUT' StartDate='Monday'/>", "StartDate of job j"),
        (responses.job, "<MasterObjectList JobId='j' RequestType='PUT' OriginalSizeInBytes='-5'/>", "below zero"),
        (responses.listing, "<ListBucketResult><Contents><Size>1</Size></Contents></ListBucketResult>", "the key"),
        (
            responses.listing,
            ("<ListBucketResult><Contents><Key>k</Key><LastModified>2025-01-01T00:00:00.000Z</LastModified><Size/>"
            "</Contents></ListBucketResult>"),
            "the size of 'k'",
        ),
        (responses.listing, "<ListBucketResult><IsTruncated>2</IsTruncated></ListBucketResult>", "IsTruncated"),
        (responses.tapes, "<Data><Tape><BarCode>X</BarCode></Tape></Data>", "State of tape X"),
        (responses.tapes, "<Data><Tape><State>NORMAL</State><EjectDate>2025-13-01T00:00:00Z</EjectDate></Tape></Data>",
         "EjectDate"),
        (responses.system_information, "<Data><Now>99999999999999999999</Now></Data>", "Now"),
        (responses.system_information, "<Data><Now>soon</Now></Data>", "Now"),
        (responses.data_policy, "<Data/>", "name of the data policy"),
    ],
)  # fmt: skip
def test_the_value_that_breaks_the_protocol_is_named(
    parse: Callable[[Response], object], document: str, named: str
) -> None:
    """What is missing or makes no sense is named in the error."""
    with pytest.raises(ProtocolError, match=named):
        parse(Response(200, Headers(), (document.encode(),)))


@given(st.binary(max_size=300), st.sampled_from(sorted(PARSERS)))
@example(b"<Data><Tape>\xed\xa0\x80</Tape></Data>", "items")
def test_no_bytes_raise_anything_else(document: bytes, parse: str) -> None:
    """Whatever the bytes, a parser returns or raises one of our own errors."""
    with contextlib.suppress(Ds3Error):
        _parse(parse, document)


XMLISH = st.lists(
    st.sampled_from(
        ["<Data>", "</Data>", "<Tape>", "</Tape>", "<State>", "</State>", "<Now>", "</Now>", "<Id/>", "NORMAL", "1",
         "&amp;", "&x;", "<!--", "-->", "<![CDATA[", "]]>", "<?p?>", "<MasterObjectList JobId='j' RequestType='PUT'>",
         "</MasterObjectList>", "<Objects ChunkId='c'>", "</Objects>", "<Object Name='n' Offset='0' Length='1'/>",
         "<Object>", "</Object>", " ", "<a:b xmlns:a='u' a:c='d'>", "</a:b>"]
    ),
    max_size=30,
).map("".join)  # fmt: skip


@given(XMLISH, st.sampled_from(sorted(PARSERS)))
def test_no_mixture_of_markup_raises_anything_else(document: str, parse: str) -> None:
    """Whatever the markup, a parser returns or raises one of our own errors."""
    with contextlib.suppress(Ds3Error):
        _parse(parse, document.encode())
