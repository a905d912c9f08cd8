"""Pages of lists: which items a request asks for, and the headers that tell of the others."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from ds3tool.protocol import names
from ds3tool.simulator.dispatch import Call
from ds3tool.simulator.wire.messages import Pairs
from ds3tool.simulator.wire.refusals import Refusal, bad_request

Item = TypeVar("Item")
# Default and maximum. Source: protocol, 4.2, by assumption.
PAGE_LENGTH = 1000


def window(call: Call, total: int, position_of: Callable[[str], int | None]) -> tuple[int, int]:
    """Return the first and the past-the-last index that a call's paging parameters select out of `total` items.

    `position_of` tells the index of the item with an id. A 400 for a marker beside an offset; a 410 for one that is
    no item of a list that has any, as a suite of the vendor's expects it.
    """
    length = call.number("page_length")
    length = PAGE_LENGTH if length is None else min(length, PAGE_LENGTH)
    start = call.number("page_offset") or 0
    marker = call.text("page_start_marker")
    if marker:
        if call.text("page_offset"):
            raise bad_request("page_offset and page_start_marker exclude each other.")
        position = position_of(marker)
        if position is None and total:
            message = f"{names.GONE}[410]: The page_start_marker '{marker}' is not an item of the list (any more)."
            raise Refusal(410, names.GONE, message)
        start = 0 if position is None else position + 1
    if call.has("last_page") and length:
        start = max(0, (total - 1) // length * length)
    start = min(start, total)
    return start, min(start + length, total)


def headers(total: int, end: int) -> Pairs:
    """Return the paging headers, in the lower case that one SDK insists on."""
    return (names.PAGE_TRUNCATED, str(total - end)), (names.TOTAL_RESULT_COUNT, str(total))


def page(call: Call, items: Sequence[Item], id_of: Callable[[Item], str]) -> tuple[Sequence[Item], Pairs]:
    """Return the items of the page that a call asks for, and its headers."""

    def position_of(marker: str) -> int | None:
        return next((place for place, item in enumerate(items) if id_of(item) == marker.lower()), None)

    start, end = window(call, len(items), position_of)
    return items[start:end], headers(len(items), end)


def matcher(pattern: str) -> Callable[[str], bool]:
    """Return the test that a filter's text stands for: `%` and `*` are any run of characters, case matters."""
    if "%" not in pattern and "*" not in pattern:
        return lambda text: text == pattern
    expression = re.compile(
        "".join(".*" if part in "%*" else re.escape(part) for part in re.split("([%*])", pattern) if part), re.DOTALL
    )
    return lambda text: expression.fullmatch(text) is not None


def glob(pattern: str) -> str:
    """Return the SQLite GLOB pattern of a filter's text."""
    return "".join("*" if each in "%*" else f"[{each}]" if each in "?[" else each for each in pattern)
