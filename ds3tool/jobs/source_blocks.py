"""What a source has, by the thousand: columns instead of an object for each, for those sources that list in bulk."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, runtime_checkable

from ds3tool.errors import Ds3Error
from ds3tool.jobs.ends import SourceObject

# Objects of one block, about: so many are listed between two looks at what else is to be done.
BLOCK_OBJECTS = 4096


class SourceBlock:
    """Objects of a source that follow each other, as columns of one length; what each means, `SourceObject` says."""

    __slots__ = ("inodes", "keys", "modified_ns", "names", "sizes")

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.sizes: array[int] = array("Q")
        self.modified_ns: array[int] = array("q")
        self.names: list[bytes] = []
        self.inodes: array[int] = array("Q")

    @classmethod
    def of(cls, items: Sequence[SourceObject]) -> SourceBlock:
        """Return a block of these objects."""
        block = cls()
        block.extend(
            [item.key for item in items],
            [item.size for item in items],
            [item.modified_ns for item in items],
            [item.name for item in items],
            [item.inode for item in items],
        )
        return block

    def append(self, item: SourceObject) -> None:
        """Add one object at the end."""
        self.keys.append(item.key)
        self.sizes.append(item.size)
        self.modified_ns.append(item.modified_ns)
        self.names.append(item.name)
        self.inodes.append(item.inode)

    def extend(
        self,
        keys: Iterable[str],
        sizes: Iterable[int],
        modified_ns: Iterable[int],
        names: Iterable[bytes],
        inodes: Iterable[int],
    ) -> None:
        """Add as many objects as each of these has."""
        self.keys += keys
        self.sizes.extend(array("Q", sizes))
        self.modified_ns.extend(array("q", modified_ns))
        self.names += names
        self.inodes.extend(array("Q", inodes))

    def cut(self, start: int, end: int) -> SourceBlock:
        """Return the objects from number `start` to before `end`."""
        if start == 0 and end >= len(self):
            return self
        block = SourceBlock()
        part = slice(start, end)
        block.extend(self.keys[part], self.sizes[part], self.modified_ns[part], self.names[part], self.inodes[part])
        return block

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[SourceObject]:
        return map(SourceObject, self.keys, self.sizes, self.modified_ns, self.names, self.inodes)


@runtime_checkable
class BlockSource(Protocol):
    """A source that lists its objects in blocks: the same, in the same order, as one by one."""

    def blocks(self) -> Iterator[SourceBlock]:
        """Yield all objects, in blocks of a few thousand at most that are not empty."""
        ...


def in_blocks(items: Iterable[SourceObject], *, size: int = BLOCK_OBJECTS) -> Iterator[SourceBlock]:
    """Yield the same objects in blocks of at most so many; what comes before an error is given before that."""
    gathered: list[SourceObject] = []
    try:
        for item in items:
            gathered.append(item)
            if len(gathered) == size:
                yield SourceBlock.of(gathered)
                gathered = []
    except Ds3Error:
        if gathered:
            yield SourceBlock.of(gathered)
        raise
    if gathered:
        yield SourceBlock.of(gathered)
