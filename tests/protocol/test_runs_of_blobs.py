"""Long runs of like blobs are read in blocks: to the same columns, and refused just as one by one."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ds3tool.errors import ProtocolError
from ds3tool.protocol import responses
from ds3tool.protocol.blob_columns import BlobColumns
from ds3tool.protocol.job_documents import read_job
from ds3tool.protocol.known_blobs import KnownBlobs
from ds3tool.protocol.messages import Headers, Response

HEAD = b'<MasterObjectList JobId="j" RequestType="PUT"><Nodes/>'
TAIL = b"</MasterObjectList>"
Row = tuple[str, int, int, bool, str | None]


def _blob(number: int, *, name: str = "", rest: str = "") -> bytes:
    name = name or f"a/object {number:04d}"
    return (
        f'<Object Bucket="b" Id="{number:08d}" InCache="false" Length="{number}" Name="{name}" Offset="0"'
        f' VersionId="{number:08d}-0000-4000-8000-000000000001"{rest}/>'
    ).encode()


def _document(*blobs: bytes, head: bytes = HEAD) -> bytes:
    half = len(blobs) // 2
    first, second = b"".join(blobs[:half]), b"".join(blobs[half:])
    return (
        head + b'<Objects ChunkId="c1">' + first + b'</Objects><Objects ChunkId="c2">' + second + b"</Objects>" + TAIL
    )


def _cut(document: bytes, size: int) -> Iterator[bytes]:
    return (document[at : at + size] for at in range(0, len(document), size))


def _read(document: bytes, size: int = 70_000, known: KnownBlobs | None = None) -> list[Row]:
    rows = read_job(_cut(document, size), what="the job", known=known)
    return [
        (blob.key, blob.offset, blob.length, blob.in_cache, blob.version_id)
        for chunk in rows.chunks
        for blob in chunk.blobs
    ]


def _read_one_by_one(document: bytes) -> list[Row] | None:
    """Return what another reader of XML finds; None for what is not XML, or not what a job has."""
    try:
        root = ET.fromstring(document)
    except (ET.ParseError, ValueError, LookupError):
        return None
    if root.tag.rpartition(":")[2] != "MasterObjectList":
        return None
    found: list[Row] = []
    for chunk in root:
        for one in chunk if chunk.tag == "Objects" else ():
            name, offset, length = one.get("Name"), one.get("Offset") or "", one.get("Length") or ""
            if one.tag != "Object":
                continue
            in_cache = (one.get("InCache") or "false").lower()
            if not (name and offset.isdecimal() and length.isdecimal()) or in_cache not in {"true", "false"}:
                return None
            if max(int(offset), int(length)) >= 1 << 64:
                return None
            found.append((name, int(offset), int(length), in_cache == "true", one.get("VersionId") or None))
    return found


BLOBS = [_blob(number) for number in range(40)]
NAMES = st.sampled_from(["a &amp; b", "a>b", "ü/ö", "𝄞", "a/>b", "&#9;", "a\tb", "a'b", "<Object", "x" * 2000])
SPOILING = """
< > /> " ' & = ` ü ² <!-- --> <![CDATA[ ]]> <?x?> </Objects> <Object/> </Object> Name= Id= Offset= true TRUE -1 0 x
"""
NO_XML = [b"\0", b"\x1f", b"\x80", b"\xff", b"\xed\xa0\x80", b"\xef\xbf\xbf"]
LONGER = [b"", b" ", b"\n", b' Name="z"', b'" Id="1', b'" ', b"<Object ", b"9" * 30, BLOBS[3]]
BYTES = st.sampled_from([*SPOILING.encode().split(), *NO_XML, *LONGER])


@settings(max_examples=250, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40 * 115), st.integers(0, 6), BYTES), max_size=3), st.integers(1, 6000))
def test_a_spoiled_document_is_read_as_expat_reads_it(changes: list[tuple[int, int, bytes]], size: int) -> None:
    """Whatever is changed in a long document: the same blobs come out as by another reader, or both refuse it."""
    document = _document(*BLOBS)
    for at, removed, added in changes:
        document = document[:at] + added + document[at + removed :]
    expected = _read_one_by_one(document)
    # Pieces of 64 KiB and more are what expat gets, whatever came: so the document is made long by a comment.
    padded = HEAD + b"<!--" + b"x" * (65_536 - len(HEAD) - 7 - size % 5000) + b"-->" + document[len(HEAD) :]
    for each in (document, padded) if document.startswith(HEAD) else (document,):
        if expected is None:
            with pytest.raises(ProtocolError):
                responses.job(Response(200, Headers(), _cut(each, size)))
        else:
            assert _read(each, size) == expected


@given(st.lists(NAMES, min_size=1, max_size=8), st.integers(0, 30))
def test_names_of_any_kind_stand_among_plain_ones(names: list[str], at: int) -> None:
    """Escaped, long and other names amid a run are read as they are, or refused where they are no XML."""
    strange = [_blob(number, name=name) for number, name in enumerate(names)]
    document = _document(*BLOBS[:at], *strange, *BLOBS[at:])
    expected = _read_one_by_one(document)
    if expected is None:
        with pytest.raises(ProtocolError):
            _read(document)
    else:
        assert _read(document) == expected


@pytest.mark.parametrize("comment", [(b"<!--", b"-->"), (b"<![CDATA[", b"]]>"), (b"<?x ", b"?>")])
def test_what_stands_in_a_comment_is_no_blob(comment: tuple[bytes, bytes]) -> None:
    """Blobs in a comment, in text or in an instruction are none, however many follow each other there."""
    opening, closing = comment
    document = _document(*BLOBS[:10], opening + b"".join(BLOBS[10:30]) + closing, *BLOBS[30:])
    assert _read(document) == _read(_document(*BLOBS[:10], *BLOBS[30:])) != []


@pytest.mark.parametrize("encoding", ["iso-8859-1", "windows-1252"])
def test_another_encoding_is_read_as_that(encoding: str) -> None:
    """The bytes of names are what the document says that they are."""
    blobs = [_blob(number, name=f"ü{number}") for number in range(20)]
    document = f'<?xml version="1.0" encoding="{encoding}"?>'.encode() + _document(*blobs)
    assert [row[0] for row in _read(document)] == [f"ü{number}".encode().decode(encoding) for number in range(20)]


def test_a_document_of_two_byte_characters_is_read() -> None:
    """UTF-16 is no less XML."""
    document = ('<?xml version="1.0" encoding="utf-16"?>' + _document(*BLOBS).decode()).encode("utf-16")
    assert _read(document) == _read(_document(*BLOBS))


def test_known_keys_are_shared_wherever_they_go_on() -> None:
    """What a document names in the order of the known keys holds their very texts, from whichever of them it begins."""
    keys = [f"a/object {number:04d}" for number in range(40)]
    rows = read_job(iter([_document(*BLOBS[25:])]), what="the job", known=KnownBlobs(keys))
    found = [key for chunk in rows.chunks for key in chunk.blobs.keys]
    assert found == keys[25:]
    assert sum(one is other for one, other in zip(found, keys[25:], strict=True)) >= len(found) - 2


def test_a_document_can_be_read_without_its_blobs() -> None:
    """Then nothing is kept of blobs, and a bad one among them is refused all the same."""
    rows = read_job(iter([_document(*BLOBS)]), what="the job", blobs=False)
    assert [(chunk.attributes["ChunkId"], chunk.blobs) for chunk in rows.chunks] == [
        ("c1", BlobColumns()),
        ("c2", BlobColumns()),
    ]
    with pytest.raises(ProtocolError, match="offset"):
        read_job(iter([_document(*BLOBS).replace(b'Offset="0"', b'Offset=""')]), what="the job", blobs=False)


def test_where_a_document_breaks_is_told_behind_a_run_too() -> None:
    """The place counts what was read in blocks."""
    document = _document(*BLOBS).replace(TAIL, b"</Wrong>")
    with pytest.raises(ProtocolError, match=rf"mismatched tag, byte {document.index(b'</Wrong>') + 2}\b"):
        _read(document)


def test_a_document_that_ends_amid_a_run_is_refused() -> None:
    """Whatever of it came."""
    document = _document(*BLOBS)
    for end in range(len(HEAD), len(document), 97):
        with pytest.raises(ProtocolError):
            _read(document[:end])


def test_versions_are_told_of_some_blobs_only() -> None:
    """Runs with and without a version, and with other ones than UUIDs, stand in one chunk."""
    bare = [blob.replace(b" VersionId", b" Version") for blob in BLOBS[:20]]
    short = [blob.replace(b"-0000-4000-8000-", b"") for blob in BLOBS[20:]]
    assert [row[4] for row in _read(_document(*bare, *short))] == [None] * 20 + [
        f"{number:08d}000000000001" for number in range(20, 40)
    ]


def _known(*, lengths: bool = True) -> KnownBlobs:
    return KnownBlobs([f"a/object {number:04d}" for number in range(40)], array("Q", range(40)) if lengths else None)


ALIKE = [blob.replace(f'Length="{number}"'.encode(), b'Length="7"') for number, blob in enumerate(BLOBS)]


@settings(max_examples=250, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 40 * 115), st.integers(0, 6), BYTES), max_size=2),
    st.sampled_from([BLOBS, ALIKE]),
    st.booleans(),
    st.integers(100, 6000),
)
def test_what_is_known_hides_nothing(
    changes: list[tuple[int, int, bytes]], blobs: list[bytes], lengths: bool, size: int
) -> None:
    """A document of the blobs that are known, and one that differs from it anywhere, is read as by another reader."""
    document = _document(*blobs)
    for at, removed, added in changes:
        document = document[:at] + added + document[at + removed :]
    expected = _read_one_by_one(document)
    if expected is None:
        with pytest.raises(ProtocolError):
            _read(document, known=_known(lengths=lengths))
    else:
        assert _read(document, size, known=_known(lengths=lengths)) == expected


@pytest.mark.parametrize("name", ["a &amp; b", "a>b", "ü/ö", "a'b", "a/>b", "&quot;", "&#9;"])
def test_known_names_of_any_kind_are_read(name: str) -> None:
    """A key that has to be escaped is known unescaped, and stands escaped in the document."""
    number = 11
    blobs = [*BLOBS[:number], _blob(number, name=name), *BLOBS[number + 1 :]]
    expected = _read_one_by_one(_document(*blobs))
    assert expected is not None
    known = KnownBlobs([row[0] for row in expected], array("Q", [row[2] for row in expected]))
    assert _read(_document(*blobs), known=known) == expected
    known.keys[number] = name  # what no appliance may answer: a name that is no XML as it stands
    if "&" in name:
        raw = _document(*blobs).replace(name.encode(), expected[number][0].encode())
        if _read_one_by_one(raw) is None:
            with pytest.raises(ProtocolError):
                _read(raw, known=KnownBlobs([row[0] for row in expected]))


@pytest.mark.parametrize("lengths", [True, False])
def test_blobs_that_are_known_are_not_taken_apart(monkeypatch: pytest.MonkeyPatch, *, lengths: bool) -> None:
    """What comes as it is known to come, with lengths that differ or do not, is held against that alone."""
    monkeypatch.setattr("ds3tool.protocol.job_documents._Reader._add_blobs", None)
    blobs = BLOBS if lengths else ALIKE
    document = _document(*blobs)
    assert _read(document, known=_known(lengths=lengths)) == _read_one_by_one(document)
