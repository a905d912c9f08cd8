"""Byte ranges of an object: trimming, joining, and the two headers that carry them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ds3tool.errors import ProtocolError, UsageError
from ds3tool.lazy_dataclass import dataclass

_CONTENT_RANGE = r"(?a)bytes\s+([0-9]+-[0-9]+(?:\s*,\s*[0-9]+-[0-9]+)*)/([0-9]+|\*)"
_MAX_DIGITS = 19


@dataclass(frozen=True, slots=True, order=True)
class ByteRange:
    """Bytes `start` to `end` of an object, counted from its start; `end` is exclusive."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end:
            raise UsageError(f"bytes {self.start} to {self.end} are no range")

    @property
    def length(self) -> int:
        """Bytes in the range."""
        return self.end - self.start


def trim(asked: ByteRange, blob: ByteRange) -> ByteRange | None:
    """Return the part of `asked` inside `blob`, or None if they do not meet.

    The appliance answers a partial get with whole blobs that cover the request, so each is trimmed.
    """
    start, end = max(asked.start, blob.start), min(asked.end, blob.end)
    return ByteRange(start, end) if start < end else None


def coalesce(ranges: Iterable[ByteRange]) -> tuple[ByteRange, ...]:
    """Return the same bytes as sorted ranges that neither meet nor touch; empty ranges vanish."""
    joined: list[ByteRange] = []
    for one in sorted(ranges):
        if one.length == 0:
            continue
        if joined and one.start <= joined[-1].end:
            joined[-1] = ByteRange(joined[-1].start, max(joined[-1].end, one.end))
        else:
            joined.append(one)
    return tuple(joined)


def range_header(ranges: Iterable[ByteRange]) -> str:
    """Return the Range header's value for ranges of at least one byte each, in their order.

    The reply is their plain concatenation in that order, not a multipart document.
    """
    parts: list[str] = []
    for one in ranges:
        if one.length == 0:
            raise UsageError(f"an empty range at byte {one.start} cannot be asked for")
        parts.append(f"{one.start}-{one.end - 1}")
    if not parts:
        raise UsageError("no range to ask for")
    return f"bytes={','.join(parts)}"


def parse_content_range(text: str) -> tuple[tuple[ByteRange, ...], int | None]:
    """Return the ranges a 206 reply carries, in order, and the object's size (None when it is not told).

    Source: `Content-Range: bytes a-b,c-d/<size>`, both ends inclusive on the wire. ProtocolError otherwise.
    """
    match = re.fullmatch(_CONTENT_RANGE, text.strip()) if len(text) <= 65536 else None
    if match is None:
        raise ProtocolError(f"Content-Range is {text[:80]!r}, which is no byte range")
    size = None if match[2] == "*" else _position(match[2], text)
    ranges: list[ByteRange] = []
    for part in match[1].split(","):
        first, _, last = part.strip().partition("-")
        start, end = _position(first, text), _position(last, text) + 1
        if start >= end or (size is not None and end > size):
            raise ProtocolError(f"Content-Range is {text[:80]!r}, which names bytes that cannot be")
        ranges.append(ByteRange(start, end))
    return tuple(ranges), size


def _position(digits: str, text: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ProtocolError(f"Content-Range is {text[:80]!r}, which names bytes that cannot be")
    return int(digits)
