"""The Range header of a GET, and the Content-Range of its answer."""

from __future__ import annotations

import re

from ds3tool.simulator.wire.refusals import bad_request

# Of more digits is no object's size, and Python does not read thousands of them.
_RANGE = re.compile(r"([0-9]{0,40})-([0-9]{0,40})")
# A request may name this many ranges; more is no restore that any client makes.
_MOST = 10_000


def parse_ranges(header: str, start: int, end: int) -> list[tuple[int, int]]:
    """Return the ranges that `header` asks for as (first, past the last), in the order asked.

    Positions count from the object's start; `start` and `end` (exclusive) are those of the blob that is addressed,
    and each range must lie inside. Raises a 400 otherwise. Source: protocol, 7.6.
    """
    unit, equals, listed = header.partition("=")
    if unit.strip().lower() != "bytes" or not equals:
        raise bad_request(f"The Range header '{header[:200]}' is not understood.")
    found: list[tuple[int, int]] = []
    for part in listed.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None or not (match[1] or match[2]) or len(found) >= _MOST:
            raise bad_request(f"The Range header '{header[:200]}' is not understood.")
        if match[1]:
            first, past = int(match[1]), int(match[2]) + 1 if match[2] else end
        else:
            first, past = max(start, end - int(match[2])), end
        if first >= past or first < start or past > end:
            raise bad_request(f"The range {match[0]} is not inside the blob {start}-{end - 1}.")
        found.append((first, past))
    return found


def content_range(ranges: list[tuple[int, int]], size: int) -> str:
    """Return the Content-Range of a reply that holds `ranges` of an object of `size` bytes, one after the other."""
    return f"bytes {','.join(f'{first}-{past - 1}' for first, past in ranges)}/{size}"
