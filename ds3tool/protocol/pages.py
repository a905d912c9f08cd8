"""One page of a paged list: its items, and what the reply's headers say of the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol import names
from ds3tool.protocol.messages import Response
from ds3tool.protocol.scalars import as_integer
from ds3tool.protocol.xmlcodec import Element, read_items

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list: its items, how many come after it and how many there are in all, where the reply says."""

    items: tuple[T, ...]
    remaining: int | None = None
    total: int | None = None


def read_page(response: Response, item_names: set[str], make: Callable[[Element], T], what: str) -> Page[T]:
    """Read one page of a list; `make` turns each item called one of `item_names` into a value."""
    found: list[T] = []

    def item(element: Element) -> None:
        if element.name in item_names:
            found.append(make(element))

    read_items(response.body, item, what=what, root="Data")
    return Page(
        tuple(found),
        as_integer(response.headers.get(names.PAGE_TRUNCATED), names.PAGE_TRUNCATED),
        as_integer(response.headers.get(names.TOTAL_RESULT_COUNT), names.TOTAL_RESULT_COUNT),
    )
