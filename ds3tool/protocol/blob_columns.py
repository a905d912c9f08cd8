"""Blobs as columns: a job may have 500,000, and a `Blob` is made only of the one that is asked for."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import overload

from ds3tool.protocol.model import Blob

_UUID_LENGTH = 36


class VersionIds(Sequence[str | None]):
    """A column of version ids. UUIDs, which all of them should be, take 36 bytes each instead of a text's 93."""

    __slots__ = ("_others", "_packed")

    def __init__(self) -> None:
        self._packed = bytearray()
        self._others: dict[int, str] = {}

    def append(self, version_id: str | None) -> None:
        """Add one at the end."""
        if (
            version_id is not None
            and len(version_id) == _UUID_LENGTH
            and version_id.isascii()
            and version_id[0] != "\0"
        ):
            self._packed += version_id.encode()
            return
        if version_id is not None:
            self._others[len(self)] = version_id
        self._packed += bytes(_UUID_LENGTH)

    def extend(self, version_ids: Sequence[str | None] | None, count: int) -> None:
        """Add `count` at the end; None for so many that are not told. An empty text is none either."""
        if version_ids is None:
            self._packed += bytes(_UUID_LENGTH * count)
            return
        joined = "".join([version_id or "" for version_id in version_ids])
        alike = len(joined) == _UUID_LENGTH * count and set(map(len, filter(None, version_ids))) == {_UUID_LENGTH}
        if alike and joined.isascii() and "\0" not in joined:
            self._packed += joined.encode()
            return
        for version_id in version_ids:
            self.append(version_id or None)

    def join(self, others: VersionIds) -> None:
        """Add those of another column at the end."""
        start = len(self)
        self._packed += others._packed
        self._others.update((start + number, version_id) for number, version_id in others._others.items())

    def of(self, numbers: Sequence[int]) -> list[str | None]:
        """Return those of these numbers, none of them negative, in their order; IndexError where one is not there.

        What is moved at one time lies close together as a rule: then all that lies between is looked at in one go.
        """
        first, last = min(numbers, default=0), max(numbers, default=-1)
        if first < 0 or last - first > 4 * len(numbers):
            return [self[number] for number in numbers]
        if last >= len(self):
            raise IndexError(last)
        text = self._packed[first * _UUID_LENGTH : (last + 1) * _UUID_LENGTH].decode()
        if "\0" in text:
            return [self[number] for number in numbers]
        starts = [(number - first) * _UUID_LENGTH for number in numbers]
        return [text[start : start + _UUID_LENGTH] for start in starts]

    def __len__(self) -> int:
        return len(self._packed) // _UUID_LENGTH

    @overload
    def __getitem__(self, index: int) -> str | None: ...
    @overload
    def __getitem__(self, index: slice) -> list[str | None]: ...
    def __getitem__(self, index: int | slice) -> str | list[str | None] | None:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(index)
        start = index * _UUID_LENGTH
        if self._packed[start] == 0:
            return self._others.get(index)
        return self._packed[start : start + _UUID_LENGTH].decode()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, VersionIds):
            return NotImplemented
        return self._packed == other._packed and self._others == other._others

    __hash__ = None  # type: ignore[assignment]  # columns grow, so they have no hash


class BlobColumns(Sequence[Blob]):
    """Blobs held as columns, for a job may have 500,000; a `Blob` is made when one is asked for.

    About 60 bytes a blob beside its key's text. The blobs of one object that follow each other share that text.
    """

    __slots__ = ("in_cache", "keys", "lengths", "offsets", "version_ids")

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.offsets: array[int] = array("Q")
        self.lengths: array[int] = array("Q")
        self.in_cache = bytearray()
        self.version_ids = VersionIds()

    @classmethod
    def of(cls, blobs: Sequence[Blob]) -> BlobColumns:
        """Return columns holding `blobs`, in their order."""
        columns = cls()
        for blob in blobs:
            columns.append(blob.key, blob.offset, blob.length, in_cache=blob.in_cache, version_id=blob.version_id)
        return columns

    def append(self, key: str, offset: int, length: int, *, in_cache: bool, version_id: str | None) -> None:
        """Add one blob at the end."""
        if self.keys and self.keys[-1] == key:
            key = self.keys[-1]
        self.keys.append(key)
        self.offsets.append(offset)
        self.lengths.append(length)
        self.in_cache.append(in_cache)
        self.version_ids.append(version_id)

    def join(self, others: BlobColumns, *, keys: Sequence[str]) -> None:
        """Add the blobs of other columns at the end; `keys` are texts equal to theirs, which are kept instead."""
        self.keys += keys
        self.offsets += others.offsets
        self.lengths += others.lengths
        self.in_cache += others.in_cache
        self.version_ids.join(others.version_ids)

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, index: int) -> Blob: ...
    @overload
    def __getitem__(self, index: slice) -> list[Blob]: ...
    def __getitem__(self, index: int | slice) -> Blob | list[Blob]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        return Blob(
            self.keys[index],
            self.offsets[index],
            self.lengths[index],
            bool(self.in_cache[index]),
            self.version_ids[index],
        )

    def __iter__(self) -> Iterator[Blob]:
        for index in range(len(self)):
            yield self[index]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BlobColumns):
            return NotImplemented
        return (
            self.keys == other.keys
            and self.offsets == other.offsets
            and self.lengths == other.lengths
            and self.in_cache == other.in_cache
            and self.version_ids == other.version_ids
        )

    __hash__ = None  # type: ignore[assignment]  # columns grow, so they have no hash

    def __repr__(self) -> str:
        return f"<BlobColumns of {len(self)} blobs>"
