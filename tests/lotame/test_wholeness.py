"""A gzip stream that is cut short or damaged is told from a whole one while its bytes pass."""

from __future__ import annotations

import gzip
import random
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ds3tool.lotame.wholeness import GzipCheck


def trouble_of(data: bytes, *, piece: int | None = None) -> str | None:
    """Return what the check says of `data`, fed in pieces of so many bytes."""
    check = GzipCheck()
    for start in range(0, len(data), piece or max(len(data), 1)):
        check.feed(data[start : start + (piece or len(data))])
    return check.trouble()


_LINES = b"".join(b'{"id": {"val": "p-%d"}}\n' % number for number in range(3000))


@pytest.mark.parametrize("piece", [1, 7, 4096, None])
def test_a_whole_stream_has_no_trouble_however_it_comes(piece: int | None) -> None:
    """Whole streams pass, fed byte by byte or at once: also empty ones, several members, and zeros at the end."""
    for stream in (
        gzip.compress(_LINES[:900]),
        gzip.compress(b""),
        gzip.compress(b"one") + gzip.compress(b"two"),
        gzip.compress(b"one") + bytes(700),
        gzip.compress(b"one") + bytes(3) + gzip.compress(b"two"),
    ):
        assert trouble_of(stream, piece=piece) is None


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_every_cut_is_noticed(data: st.DataObject) -> None:
    """Wherever within a stream it is cut off, and however the rest comes, it is not whole."""
    stream = gzip.compress(_LINES, compresslevel=data.draw(st.sampled_from([0, 1, 9])))
    end = data.draw(st.integers(0, len(stream) - 1))
    piece = data.draw(st.sampled_from([None, 1000, 4096, 65536]))
    assert trouble_of(stream[:end], piece=piece) == "its gzip stream is cut short"


def test_damage_is_noticed() -> None:
    """A changed byte of the packed data, or a text in the stream's place, is damage; bytes after it are named too."""
    stream = bytearray(gzip.compress(random.Random(5).randbytes(10_000)))
    stream[5000] ^= 1
    assert "damaged" in (trouble_of(bytes(stream)) or "")
    assert "damaged" in (trouble_of(b"<html>not found</html>") or "")
    assert "follows the end" in (trouble_of(gzip.compress(b"one") + b"garbage") or "")


def test_what_unpacks_to_much_is_never_held() -> None:
    """64 MiB of zeros, 64 KiB packed, is checked in a few megabytes of memory."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = bytes(1 << 20)
    stream = b"".join(packer.compress(block) for _ in range(64)) + packer.flush()
    tracemalloc.start()
    try:
        assert trouble_of(stream) is None
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
