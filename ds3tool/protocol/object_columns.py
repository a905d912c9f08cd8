"""Objects that a job declares, as columns: a job names up to 500,000, and what writes them needs none by itself."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import overload

from ds3tool.errors import UsageError
from ds3tool.protocol.model import ObjectToGet, ObjectToPut


class PutColumns(Sequence[ObjectToPut]):
    """Keys and sizes of what is to be put, not copied; a slice holds columns too."""

    __slots__ = ("keys", "sizes")

    def __init__(self, keys: list[str], sizes: array[int]) -> None:
        self.keys = keys
        self.sizes = sizes

    @classmethod
    def of(cls, objects: Sequence[ObjectToPut]) -> PutColumns:
        """Return columns of any objects, themselves where they are columns already; sizes may be below zero.

        UsageError for one that no job can name.
        """
        if isinstance(objects, PutColumns):
            return objects
        try:
            return cls([one.key for one in objects], array("q", [one.size for one in objects]))
        except OverflowError as error:
            raise UsageError("no object can have 2**63 bytes") from error

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, index: int) -> ObjectToPut: ...
    @overload
    def __getitem__(self, index: slice) -> PutColumns: ...
    def __getitem__(self, index: int | slice) -> ObjectToPut | PutColumns:
        if isinstance(index, slice):
            return PutColumns(self.keys[index], self.sizes[index])
        return ObjectToPut(self.keys[index], self.sizes[index])

    def __iter__(self) -> Iterator[ObjectToPut]:
        return map(ObjectToPut, self.keys, self.sizes)


class GetColumns(Sequence[ObjectToGet]):
    """Keys of whole objects to get, not copied, and by number the versions of those few that have one.

    `sizes` are what they had when they were listed, None where nobody knows.
    """

    __slots__ = ("keys", "sizes", "version_ids")

    def __init__(self, keys: list[str], version_ids: Mapping[int, str], sizes: array[int] | None = None) -> None:
        self.keys = keys
        self.version_ids = version_ids
        self.sizes = sizes

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, index: int) -> ObjectToGet: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ObjectToGet]: ...
    def __getitem__(self, index: int | slice) -> ObjectToGet | Sequence[ObjectToGet]:
        if isinstance(index, slice):
            if not self.version_ids:
                return GetColumns(self.keys[index], {})
            return [self._object(number) for number in range(*index.indices(len(self)))]
        return self._object(range(len(self))[index])

    def _object(self, number: int) -> ObjectToGet:
        return ObjectToGet(self.keys[number], version_id=self.version_ids.get(number))
