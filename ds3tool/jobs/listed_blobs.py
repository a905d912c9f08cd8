"""The blobs that a job lists of a plan's objects; whole columns at once where it lists them in the plan's order."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from ds3tool.protocol.blob_columns import BlobColumns
from ds3tool.protocol.model import Chunk


class ListedBlobs:
    """Blobs of `objects`, the keys of a plan, as they are listed; blobs of other keys are left alone.

    `object_of` tells each blob's object, `blobs_of` how many blobs each object has, `listed` which objects have any.
    `in_plan_order` says that blob N is the only one of object N. The columns are the chunk's own, not copied, where
    there is one chunk of the plan's objects alone, unless `copied`.
    """

    __slots__ = (
        "_copied",
        "_index",
        "_is_own",
        "_objects",
        "blobs",
        "blobs_of",
        "in_plan_order",
        "listed",
        "object_of",
    )

    def __init__(self, objects: Sequence[str], *, copied: bool) -> None:
        self._objects = objects
        self._copied = copied
        self._is_own = True
        self._index: dict[str, int] = {}
        self.blobs = BlobColumns()
        self.object_of: array[int] = array("I")
        self.blobs_of: array[int] = array("I", [0]) * len(objects)
        self.listed = bytearray(len(objects))
        self.in_plan_order = True

    def add(self, chunk: Chunk) -> None:
        """Add the blobs of a chunk."""
        listed = chunk.blobs if isinstance(chunk.blobs, BlobColumns) else BlobColumns.of(chunk.blobs)
        start, end = len(self.blobs), len(self.blobs) + len(listed)
        if self.in_plan_order and end <= len(self._objects) and self._objects[start:end] == listed.keys:
            if not start and not self._copied:
                self.blobs, self._is_own = listed, False
            else:
                self._join(listed, self._objects[start:end])
            self.object_of.extend(range(start, end))
            self.blobs_of[start:end] = array("I", [1]) * (end - start)
            self.listed[start:end] = b"\1" * (end - start)
            return
        self._add_others(listed)

    def _join(self, listed: BlobColumns, keys: Sequence[str]) -> None:
        if not self._is_own:
            first, self.blobs, self._is_own = self.blobs, BlobColumns(), True
            self.blobs.join(first, keys=first.keys)
        self.blobs.join(listed, keys=keys)

    def _add_others(self, listed: BlobColumns) -> None:
        if not self._index:
            self._index = {key: number for number, key in enumerate(self._objects)}
        owners = [self._index.get(key, -1) for key in listed.keys]
        if -1 in owners:
            listed = BlobColumns.of([blob for blob, owner in zip(listed, owners, strict=True) if owner >= 0])
            owners = [owner for owner in owners if owner >= 0]
        if owners:
            self.in_plan_order = False
        self._join(listed, [self._objects[owner] for owner in owners])
        self.object_of.extend(owners)
        blobs_of, is_listed = self.blobs_of, self.listed
        for owner in owners:
            blobs_of[owner] += 1
            is_listed[owner] = 1
