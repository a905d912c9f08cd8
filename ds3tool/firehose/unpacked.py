"""What is in an object's bytes: gzip is undone wherever there is any, and binary tables are known for what they are."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable, Iterator

from ds3tool.errors import Ds3Error

_GZIP = b"\x1f\x8b"
# What begins so is no text. Sources: the formats' own specifications.
_BINARY = {
    b"PAR1": "Parquet",
    b"ORC": "ORC",
    b"Obj\x01": "Avro",
    b"PK\x03\x04": "a ZIP archive",
    b"\xff\x06\x00\x00sNaPpY": "Snappy",
}
_LONGEST_MARK = max(map(len, _BINARY))
# CloudWatch packs what it hands to Firehose, which packs it once more; deeper than that is a bomb.
_LAYERS = 3
_BLOCK_BYTES = 256 * 1024


class DamagedGzipError(Ds3Error):
    """Gzip that is cut short, or wrong; `offset` is where in the packed bytes that showed, from their start."""

    exit_code = 5
    code = "Damaged"

    def __init__(self, message: str, *, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


def unpacked(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the bytes without gzip, whether or not anything said that there is any; several members run on.

    Raises DamagedGzipError once what is whole has been yielded. Memory: a block of 256 KiB for each layer.
    """
    for _ in range(_LAYERS):
        head, chunks = _peeked(chunks, len(_GZIP))
        if not head.startswith(_GZIP):
            break
        chunks = _members(chunks)
    yield from chunks


def binary_kind(chunks: Iterable[bytes]) -> tuple[str | None, Iterator[bytes]]:
    """Return what binary format unpacked bytes are in, None for none that is known, and the bytes, all of them."""
    head, whole = _peeked(chunks, _LONGEST_MARK)
    return next((name for mark, name in _BINARY.items() if head.startswith(mark)), None), whole


def _peeked(chunks: Iterable[bytes], length: int) -> tuple[bytes, Iterator[bytes]]:
    """Return the first bytes, fewer than `length` only at the end, and all of them."""
    rest = iter(chunks)
    head = b""
    for chunk in rest:
        head += chunk
        if len(head) >= length:
            break
    return head, itertools.chain([head] if head else [], rest)


def _members(chunks: Iterable[bytes]) -> Iterator[bytes]:
    member = zlib.decompressobj(wbits=31)
    offset = 0
    begun = False
    for chunk in chunks:
        rest = chunk
        while rest:
            if member.eof:
                member, begun = zlib.decompressobj(wbits=31), False
            try:
                block = member.decompress(rest, _BLOCK_BYTES)
            except zlib.error as error:
                at = offset + len(chunk) - len(rest)
                raise DamagedGzipError(f"its gzip is damaged: {_reason(error)}", offset=at) from error
            begun = True
            rest = member.unused_data if member.eof else member.unconsumed_tail
            if block:
                yield block
        offset += len(chunk)
    if begun and not member.eof:
        raise DamagedGzipError("its gzip is cut short", offset=offset)


def _reason(error: zlib.error) -> str:
    # "Error -3 while decompressing data: incorrect data check"
    return str(error).rpartition(": ")[2]
