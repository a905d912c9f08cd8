"""Objects of a listing as columns: a page has a thousand, and who takes them by the page needs none by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import overload

from ds3tool.protocol.model import ListedObject, Owner
from ds3tool.protocol.scalars import as_etag


class ListedColumns(Sequence[ListedObject]):
    """Objects, or versions of them, as a listing has them; a `ListedObject` is made when one is asked for.

    The columns mean what the fields of `ListedObject` do, but that `etags` are as they were written, and that an empty
    text in `etags` and `version_ids` stands for none.
    """

    __slots__ = ("etags", "keys", "last_modified", "latest", "owners", "sizes", "version_ids")

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.sizes: list[int] = []
        self.last_modified: list[datetime | None] = []
        self.etags: list[str] = []
        self.version_ids: list[str] = []
        self.latest: list[bool | None] = []
        self.owners: list[Owner | None] = []

    def extend(
        self,
        keys: Iterable[str],
        sizes: Iterable[int],
        *,
        last_modified: Iterable[datetime | None],
        etags: Iterable[str],
        version_ids: Iterable[str],
        latest: Iterable[bool | None],
        owners: Iterable[Owner | None],
    ) -> None:
        """Add as many objects as each of these has."""
        self.keys += keys
        self.sizes += sizes
        self.last_modified += last_modified
        self.etags += etags
        self.version_ids += version_ids
        self.latest += latest
        self.owners += owners

    def cut(self, start: int, end: int) -> ListedColumns:
        """Return the objects from number `start` to before `end`."""
        if start == 0 and end >= len(self):
            return self
        columns, part = ListedColumns(), slice(start, end)
        columns.extend(
            self.keys[part],
            self.sizes[part],
            last_modified=self.last_modified[part],
            etags=self.etags[part],
            version_ids=self.version_ids[part],
            latest=self.latest[part],
            owners=self.owners[part],
        )
        return columns

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, index: int) -> ListedObject: ...
    @overload
    def __getitem__(self, index: slice) -> list[ListedObject]: ...
    def __getitem__(self, index: int | slice) -> ListedObject | list[ListedObject]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        return ListedObject(
            self.keys[index],
            self.sizes[index],
            self.last_modified[index],
            as_etag(self.etags[index]),
            self.version_ids[index] or None,
            self.latest[index],
            self.owners[index],
        )

    def __iter__(self) -> Iterator[ListedObject]:
        return map(
            ListedObject,
            self.keys,
            self.sizes,
            self.last_modified,
            map(as_etag, self.etags),
            [version_id or None for version_id in self.version_ids],
            self.latest,
            self.owners,
        )

    def __eq__(self, other: object) -> bool:
        """Whether it is the same objects, whatever sequence they are in."""
        if isinstance(other, Sequence):
            return tuple(self) == tuple(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # columns grow, so they have no hash

    def __repr__(self) -> str:
        return f"<ListedColumns of {len(self)} objects>"


def all_begin_with(texts: Sequence[str], start: str) -> bool:
    """Whether all of several texts of a document, which hold no NUL, begin with `start`."""
    if not start:
        return True
    joined = "\0".join(("", *texts))
    return joined.count(f"\0{start}") == len(texts)
