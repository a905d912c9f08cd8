"""Generated objects: bytes that nothing between here and the tape can make smaller, and that cost next to nothing.

Drives compress, and a pool may compress or keep equal blocks once; a benchmark of zeros would measure that. All bytes
come from one block of random ones. Each piece of each object begins at a place of its own in it, so that no two blocks
that a store could hold against each other are equal, and a compressor never sees a byte again within its window. Only
what cuts by content, as no tape system does, would find the block again.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping

from ds3tool.jobs.ends import Failure, SourceObject
from ds3tool.lazy_dataclass import dataclass
from ds3tool.transport.bodies import SENDFILE_STEP, Wire, read_range
from ds3tool.transport.splicing import write_all

# Of how many bytes the block is, for less than so many to be sent, and for more.
_FEW_BYTES = 32 * 1024 * 1024
_BLOCK_BYTES = (8 * 1024 * 1024, 32 * 1024 * 1024)
# What is sent in one step; each begins at another place.
_PIECE_BYTES = SENDFILE_STEP // 2
_MODIFIED_NS = 1_000_000_000 * 1_577_836_800


class Block:
    """Random bytes in memory, as a file that can be sent from; close it.

    `seed` decides the bytes, for `sent` bytes that are to be made of them in all. Memory: 8 or 32 MiB.
    """

    def __init__(self, seed: int, sent: int) -> None:
        if hasattr(os, "memfd_create"):
            self.descriptor = os.memfd_create("ds3tool-bench")
        else:
            with tempfile.TemporaryFile() as file:
                self.descriptor = os.dup(file.fileno())
        length = _BLOCK_BYTES[sent > _FEW_BYTES]
        write_all(self.descriptor, hashlib.shake_128(b"%d" % seed).digest(length), 0)
        self.places = length - _PIECE_BYTES
        # The golden section, made odd, has no part with their number, a product of 2 and 7: neighbours lie far apart,
        # and no place comes twice before every one was had.
        self.stride = round(self.places * 0.6180339887) | 1

    def close(self) -> None:
        """Give the memory back. Twice is harmless."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of one object: `size` of them, whose pieces are counted from `first` over all objects of a run."""

    block: Block
    first: int
    size: int

    def pieces(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        """Yield where in the block the range lies, piece after piece, as place and length."""
        end = offset + length
        while offset < end:
            number, within = divmod(offset, _PIECE_BYTES)
            step = min(end - offset, _PIECE_BYTES - within)
            yield (self.first + number) * self.block.stride % self.block.places + within, step
            offset += step

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly these bytes."""
        found = [read_range(self.block.descriptor, place, step, "") for place, step in self.pieces(offset, length)]
        return found[0] if len(found) == 1 else b"".join(found)


def pieces_of(size: int) -> int:
    """Return how many pieces an object of `size` bytes has; at least one."""
    return max(1, -(-size // _PIECE_BYTES))


@dataclass(frozen=True, slots=True)
class GeneratedBody:
    """A range of an object, sent from the block by sendfile where the connection can."""

    content: Content
    offset: int
    length: int
    counter: Callable[[int], None]

    def send_to(self, wire: Wire) -> None:
        """Send the whole range."""
        for place, length in self.content.pieces(self.offset, self.length):
            sent = 0
            while sent < length:
                step = wire.send_file(self.content.block.descriptor, place + sent, length - sent)
                sent += step
                self.counter(step)


@dataclass(frozen=True, slots=True)
class OpenGenerated:
    """A generated object while its blobs are sent."""

    content: Content

    def body(self, offset: int, length: int, *, counter: Callable[[int], None]) -> GeneratedBody:
        """Return the range as a body."""
        return GeneratedBody(self.content, offset, length, counter)

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly these bytes."""
        return self.content.read(offset, length)

    def check_unchanged(self) -> None:
        """It never changes."""

    def metadata(self) -> Mapping[str, str]:
        """Nothing is stored beside it."""
        return {}

    def close(self) -> None:
        """Nothing is held beside the block."""


class GeneratedSource:
    """`count` objects of `size` bytes, the keys `prefix` and a number; `first` is that of the first.

    Other numbers have other bytes. The block stays its owner's to close.
    """

    def __init__(self, block: Block, *, prefix: str, count: int, size: int, first: int = 0) -> None:
        self._block = block
        self._prefix = prefix
        self._numbers = range(first, first + count)
        self._size = size
        self.failures: list[Failure] = []
        self.skipped: list[str] = []
        self.notes: list[str] = []

    @property
    def sequential(self) -> bool:
        """Any bytes can be had at any time."""
        return False

    @property
    def distant(self) -> bool:
        """They are at hand."""
        return False

    def objects(self) -> Iterator[SourceObject]:
        """Yield every object."""
        for number in self._numbers:
            yield SourceObject(f"{self._prefix}{number:09}", self._size, _MODIFIED_NS, b"%d" % number)

    def open(self, item: SourceObject) -> OpenGenerated:
        """Open an object."""
        return OpenGenerated(self.content(int(item.name)))

    def plain_reader(self) -> GeneratedReader:
        """Return the quick way to small objects, which files have as well."""
        return GeneratedReader(self)

    def content(self, number: int) -> Content:
        """Return the bytes of the object of this number."""
        return Content(self._block, number * pieces_of(self._size), self._size)


@dataclass(frozen=True, slots=True)
class GeneratedReader:
    """Gives whole objects at once."""

    source: GeneratedSource

    def read(self, name: bytes, size: int, modified_ns: int, inode: int) -> tuple[bytes, None]:  # noqa: ARG002  # what was listed
        """Return the bytes of an object, which never changes, and that nothing is stored beside it."""
        return self.source.content(int(name)).read(0, size), None

    def close(self) -> None:
        """Nothing is held beside the block."""


def write_files(source: GeneratedSource, folder: str) -> None:
    """Write every object as a file below `folder`, safe on the disk and out of the page cache; raises OSError.

    The file's name is what follows the last slash of its key.
    """
    for item in source.objects():
        content = source.content(int(item.name))
        path = os.path.join(folder, item.key.rpartition("/")[2])
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            done = 0
            while done < item.size:
                done += os.write(descriptor, content.read(done, min(item.size - done, _PIECE_BYTES)))
            os.fsync(descriptor)
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
