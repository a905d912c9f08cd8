"""Delivered records read back: run together, line by line, word by word, packed, cut short, and never made up."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds3tool.firehose import records as module
from ds3tool.firehose.records import Record, RecordFormat, Unreadable, records
from ds3tool.firehose.unpacked import DamagedGzipError, binary_kind, unpacked

JSON, LINES, WORDS, AUTO = RecordFormat.JSON, RecordFormat.LINES, RecordFormat.WORDS, RecordFormat.AUTO


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def read(data: bytes, how: RecordFormat = AUTO, *, size: int = 7) -> list[bytes]:
    """The records of these bytes; nothing of them may be unreadable."""
    found = list(records(pieces(data, size), how))
    assert all(isinstance(one, Record) for one in found), found
    for one in found:
        assert isinstance(one, Record)
        assert data[one.offset : one.offset + len(one.data)] == one.data
    return [one.data for one in found if isinstance(one, Record)]


def told(data: bytes, *, size: int = 5) -> list[tuple[str, bytes]]:
    """What is read and what is not, as the bytes of each."""
    return [
        ("record", one.data) if isinstance(one, Record) else ("lost", data[one.offset : one.offset + one.length])
        for one in records(pieces(data, size), JSON)
    ]


@pytest.mark.parametrize(
    ("data", "how", "found"),
    [
        (b'{"a":1}{"b":{"c":"}{"}}{"d":"\\"}"}', AUTO, [b'{"a":1}', b'{"b":{"c":"}{"}}', b'{"d":"\\"}"}']),
        (b'{"a":1}\n{"b":2}\n', AUTO, [b'{"a":1}', b'{"b":2}']),
        (b' \n{"a":\n 1}\r\n\t{"b":2} ', AUTO, [b'{"a":\n 1}', b'{"b":2}']),
        (b'[1,[2]][{"a":3}]', JSON, [b"[1,[2]]", b'[{"a":3}]']),
        (b"1 2.5 gps\n3 4.5 gps\n", AUTO, [b"1 2.5 gps", b"3 4.5 gps"]),
        (b"1 2.5 gps\n\n3", LINES, [b"1 2.5 gps", b"", b"3"]),
        (b"[2026-01-31] started\n[2026-01-31] ended\n", AUTO, [b"[2026-01-31] started", b"[2026-01-31] ended"]),
        (b"12.5 13.7  12.6 13.8 ", AUTO, [b"12.5", b"13.7", b"12.6", b"13.8"]),
        (b"a\tb\nc  d", WORDS, [b"a", b"b", b"c", b"d"]),
        (b"alone", AUTO, [b"alone"]),
        (b"", AUTO, []),
        (b"\n", JSON, []),
        ('{"wörd":"\N{GRINNING FACE}"}{}'.encode(), AUTO, ['{"wörd":"\N{GRINNING FACE}"}'.encode(), b"{}"]),
        (b"\xff\xfe\nbytes\r\n", LINES, [b"\xff\xfe", b"bytes\r"]),
    ],
)
@pytest.mark.parametrize("size", [1, 4, 1000])
def test_records_come_back_as_they_were_put(data: bytes, how: RecordFormat, found: list[bytes], size: int) -> None:
    """Whatever stands between records, or does not, each is given back byte for byte."""
    assert read(data, how, size=size) == found


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(
    values=st.lists(st.dictionaries(st.text(max_size=4), _VALUES, max_size=3), max_size=6),
    between=st.sampled_from(["", "\n", " ", "\r\n\n"]),
    size=st.integers(1, 40),
    plain=st.booleans(),
)
def test_any_objects_run_together_come_apart(values: list[Any], between: str, size: int, plain: bool) -> None:
    """JSON objects of any content, with any or no white space between them, are split where they were joined."""
    texts = [json.dumps(value, ensure_ascii=plain).encode() for value in values]
    assert read(between.encode().join(texts), JSON, size=size) == texts


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b'{"a":1}nonsense{"b":2}', [("record", b'{"a":1}'), ("lost", b"nonsense"), ("record", b'{"b":2}')]),
        (b'{"a":1}}{"b":2}', [("record", b'{"a":1}'), ("lost", b"}"), ("record", b'{"b":2}')]),
        (b'{"a":wrong}{"b":2}', [("lost", b'{"a":wrong}'), ("record", b'{"b":2}')]),
        # The line is lost, and the next one is a record again.
        (b'{"a":{"x":1},"b\n{"b":2}\n', [("lost", b'{"a":{"x":1},"b'), ("record", b'{"b":2}')]),
        (b'{"a":1\n{"b":2}\n', [("lost", b'{"a":1'), ("record", b'{"b":2}')]),
        # What is inside of something broken is no record.
        (b'{"a":{"x":1},"b":[2', [("lost", b'{"a":{"x":1},"b":[2')]),
        (b'{"a":1{"x":1}{"y":2}', [("lost", b'{"a":1{"x":1}{"y":2}')]),
        (b'{"a":"\xff"}{"b":2}', [("lost", b'{"a":"\xff"}'), ("record", b'{"b":2}')]),
        (
            b'{"a":\n wrong,\n "c": {"d":1}\n}\n{"b":2}',
            [("lost", b'{"a":\n wrong,\n "c": {"d":1}\n}'), ("record", b'{"b":2}')],
        ),
        (b'plain\n{"b":2}', [("lost", b"plain"), ("record", b'{"b":2}')]),
    ],
    ids=range(10),
)
@pytest.mark.parametrize("size", [1, 5, 10**6])
def test_what_is_broken_is_told_and_what_follows_is_read(
    data: bytes, found: list[tuple[str, bytes]], size: int
) -> None:
    """Broken bytes are named by place and length, and cost no record that begins after them."""
    assert told(data, size=size) == found


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'{"a":1', "it is cut short"),
        (b'{"a":"on and on', "it is cut short"),
        (b'{"a":wrong}', "it is no valid JSON: expecting value"),
        (b'{"a":1}x', "it is not JSON"),
        (b'{"a":"\xe4"}', "it is not UTF-8"),
    ],
)
def test_the_reason_is_told(data: bytes, why: str) -> None:
    """What is cut short is told from what was wrong when it was put."""
    lost = [one for one in records(pieces(data, 3), JSON) if isinstance(one, Unreadable)]
    assert [one.why for one in lost] == [why]


def test_nesting_without_end_is_no_record() -> None:
    """Brackets that nobody can follow are lost as a whole."""
    deep = b"[" * 100_000 + b"]" * 100_000
    assert told(deep + b'{"b":2}', size=4096) == [("lost", deep), ("record", b'{"b":2}')]


@given(data=st.text('{}[]":,\\ \n1a', max_size=60).map(str.encode), size=st.integers(1, 20))
def test_how_the_bytes_are_cut_changes_nothing(data: bytes, size: int) -> None:
    """The same is read and the same is lost however the network cuts the bytes, and only white space is untold."""
    found = told(data, size=size)
    assert found == told(data, size=10**6)
    assert b"".join(b"".join(part for _, part in found).split()) == b"".join(data.split())
    for kind, part in found:
        if kind == "record":
            json.loads(part)


def test_a_record_without_end_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is longer than any record is given up, in memory that does not grow with it; the next line is read."""
    monkeypatch.setattr(module, "LONGEST_RECORD", 50_000)
    endless = [b'{"a":"', *[b"x" * 10_000] * 300, b"\n", b'{"b":2}\n']
    tracemalloc.start()
    try:
        for how in (JSON, LINES):
            found = list(records(iter(endless), how))
            assert [type(one) for one in found] == [Unreadable, Record]
            assert isinstance(found[0], Unreadable)
            assert (found[0].offset, found[0].length) == (0, 3_000_006)
            assert "longer than any" in found[0].why
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


# -- gzip ------------------------------------------------------------------------------------------------------------


def whole(chunks: Iterable[bytes]) -> bytes:
    return b"".join(unpacked(chunks))


@given(
    parts=st.lists(st.binary(max_size=50), min_size=1, max_size=4), layers=st.integers(0, 2), size=st.integers(1, 30)
)
def test_gzip_is_undone_wherever_it_is(parts: list[bytes], layers: int, size: int) -> None:
    """Members that run on, packed once or twice, come out as what was put; what is not packed stays as it is."""
    data = b"".join(b"." + part for part in parts)
    packed = [b"." + part for part in parts]
    for _ in range(layers):
        packed = [b"".join(gzip.compress(part, mtime=0) for part in packed)]
    assert whole(pieces(b"".join(packed), size)) == data


@pytest.mark.parametrize("size", [1, 10**6])
def test_gzip_that_is_cut_or_wrong_is_told_with_its_place(size: int) -> None:
    """What is whole before the damage is given, and then where it is; a changed byte does not pass."""
    packed = gzip.compress(b"one\n" * 1000, mtime=0)
    for broken in (packed[:-1], packed[:-9], packed[:5]):
        with pytest.raises(DamagedGzipError, match="cut short") as caught:
            whole(pieces(broken, size))
        assert caught.value.offset == len(broken)
    wrong = bytearray(packed)
    wrong[-6] ^= 1
    with pytest.raises(DamagedGzipError, match="incorrect data check"):
        whole(pieces(bytes(wrong), size))
    with pytest.raises(DamagedGzipError, match="damaged"):
        whole(pieces(packed + b"trailing", size))


def test_a_bomb_is_unpacked_in_blocks() -> None:
    """Zeros that were packed a thousand times smaller take no more memory than others."""
    packer = zlib.compressobj(wbits=31)
    bomb = b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(64)), packer.flush()])
    tracemalloc.start()
    try:
        assert sum(map(len, unpacked([bomb]))) == 64 << 20
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"PAR1rest", "Parquet"),
        (b"ORC", "ORC"),
        (b"OR", None),
        (b"", None),
        (b'{"PAR1":1}', None),
        (b"PK\x03\x04", "a ZIP archive"),
    ],
)
def test_binary_tables_are_known_and_text_is_whole(data: bytes, kind: str | None) -> None:
    """Parquet and ORC are known by their first bytes; what is looked at is not lost."""
    found, rest = binary_kind(pieces(data, 1))
    assert (found, b"".join(rest)) == (kind, data)
