"""Byte ranges: trimming, joining and the headers that carry them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds3tool.errors import ProtocolError, UsageError
from ds3tool.protocol.ranges import ByteRange, coalesce, parse_content_range, range_header, trim

RANGES = st.tuples(st.integers(0, 60), st.integers(0, 20)).map(lambda pair: ByteRange(pair[0], pair[0] + pair[1]))


def _bytes(*ranges: ByteRange | None) -> set[int]:
    return {at for one in ranges if one is not None for at in range(one.start, one.end)}


@given(RANGES, RANGES)
def test_trimming_keeps_exactly_the_common_bytes(asked: ByteRange, blob: ByteRange) -> None:
    """The trimmed range holds the bytes that are in both, and is None when there are none."""
    trimmed = trim(asked, blob)
    assert _bytes(trimmed) == _bytes(asked) & _bytes(blob)
    assert trimmed is None or trimmed.length > 0


@given(st.lists(RANGES, max_size=8))
def test_joining_keeps_the_bytes_and_leaves_gaps_between(ranges: list[ByteRange]) -> None:
    """Joined ranges hold the same bytes, are sorted, and at least one byte lies between any two."""
    joined = coalesce(ranges)
    assert _bytes(*joined) == _bytes(*ranges)
    assert all(left.end < right.start for left, right in pairwise(joined))


@given(st.lists(RANGES.filter(lambda one: one.length > 0), min_size=1, max_size=8))
def test_what_is_asked_for_can_be_read_back(ranges: list[ByteRange]) -> None:
    """A Content-Range of the ranges in a Range header means those ranges, in their order."""
    text = range_header(ranges).removeprefix("bytes=")
    assert parse_content_range(f"bytes {text}/1000") == (tuple(ranges), 1000)


def test_both_ends_are_inclusive_on_the_wire() -> None:
    """The first ten bytes are `bytes=0-9`; several ranges are joined by a comma."""
    assert range_header([ByteRange(0, 10), ByteRange(100, 101)]) == "bytes=0-9,100-100"


@pytest.mark.parametrize("ranges", [[], [ByteRange(5, 5)]])
def test_nothing_cannot_be_asked_for(ranges: list[ByteRange]) -> None:
    """No range and an empty range are UsageErrors: the appliance would send the whole blob."""
    with pytest.raises(UsageError):
        range_header(ranges)


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (3, 2)])
def test_a_backward_range_cannot_be_made(start: int, end: int) -> None:
    """A range cannot begin before the object or end before it begins."""
    with pytest.raises(UsageError):
        ByteRange(start, end)


def test_the_size_may_be_untold() -> None:
    """An asterisk for the size means that the size is not told."""
    assert parse_content_range("bytes 0-0/*") == ((ByteRange(0, 1),), None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bytes",
        "bytes 5-4/10",
        "bytes 0-10/10",
        "bytes */10",
        "bytes 0-/10",
        "items 0-1/2",
        "bytes 0-1/2 x",
        "bytes 0-1,,2-3/9",
        "bytes \u0661-\u0662/9",
        "bytes 0-" + "9" * 5000 + "/*",
    ],
)
def test_a_content_range_that_cannot_be_is_refused(text: str) -> None:
    """A header that names no bytes, or bytes beyond the object, is a ProtocolError."""
    with pytest.raises(ProtocolError):
        parse_content_range(text)
