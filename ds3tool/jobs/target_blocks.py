"""What is to be fetched, by the thousand: whole objects under new names, as columns instead of an object for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ds3tool.jobs.ends import TargetObject


class TargetBlock:
    """Objects that follow each other, as columns of one length: the latest versions, whole, replacing nothing."""

    __slots__ = ("keys", "names", "sizes")

    def __init__(self, keys: Sequence[str], sizes: Sequence[int], names: Sequence[str]) -> None:
        self.keys = keys
        self.sizes = sizes
        self.names = names

    def cut(self, start: int, end: int) -> TargetBlock:
        """Return the objects from number `start` to before `end`."""
        if start == 0 and end >= len(self):
            return self
        return TargetBlock(self.keys[start:end], self.sizes[start:end], self.names[start:end])

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[TargetObject]:
        return map(TargetObject, self.keys, self.sizes, self.names)
