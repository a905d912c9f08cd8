"""The parts of an object on its way into S3: where each begins, and the room in which its bytes gather.

An upload in parts needs them numbered from 1 to 10,000, each but the last of 5 MiB at least and 5 GiB at most. Blobs
of the appliance are cut otherwise, so that a part may be made of the bytes of several, which come in any order.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import mmap
import os
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO, cast

from ds3tool.errors import InterruptedRunError, SinkError
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.ranges import ByteRange

MIB = 1024 * 1024
# Objects of up to so many bytes are held until they are whole, and go in one request.
HELD_BYTES = 16 * MIB
# Limits of S3. Source: its user guide, "Amazon S3 multipart upload limits".
_MOST_PARTS = 10_000
_MOST_PART_BYTES = 5 * 1024 * MIB
_LEAST_PART_BYTES = 8 * MIB
# How often somebody who waits for room looks whether the run is to end.
_LOOK_SECONDS = 0.2
_READ_BYTES = MIB
# So many parts may wait in the file for their way out before nothing more is taken.
_SPILLED_AHEAD = 4
_LEAST_SLOT_BYTES = MIB
_MAPPED_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Grid:
    """How an object of `size` bytes is cut: every part but the last has `part_bytes`. Parts count from 0 here."""

    size: int
    part_bytes: int

    @classmethod
    def of(cls, size: int) -> Grid:
        """Return the cut of an object: one part where it is held, else parts of a power of two.

        Blobs have such sizes as well, so that parts seldom have bytes of two of them. SinkError for what S3 cannot
        hold.
        """
        if size <= HELD_BYTES:
            return cls(size, max(size, 1))
        part_bytes = _LEAST_PART_BYTES
        while part_bytes * _MOST_PARTS < size:
            part_bytes *= 2
        part_bytes = min(part_bytes, _MOST_PART_BYTES)
        if part_bytes * _MOST_PARTS < size:
            raise SinkError(f"it has {size} bytes, more than an object in S3 can have")
        return cls(size, part_bytes)

    @property
    def is_held(self) -> bool:
        """Whether the object goes in one request."""
        return self.size <= HELD_BYTES

    def __len__(self) -> int:
        return max(1, -(-self.size // self.part_bytes))

    def __getitem__(self, part: int) -> ByteRange:
        """Return which bytes of the object a part is."""
        start = part * self.part_bytes
        return ByteRange(start, min(self.size, start + self.part_bytes))

    def parts_of(self, blob: ByteRange) -> range:
        """Return the parts that have bytes of a range."""
        if not blob.length:
            return range(0)
        return range(blob.start // self.part_bytes, (blob.end - 1) // self.part_bytes + 1)

    def inside(self, part: int, blob: ByteRange) -> bool:
        """Whether all bytes of a part are in a range."""
        whole = self[part]
        return blob.start <= whole.start and whole.end <= blob.end


@dataclass(frozen=True, slots=True)
class Digests:
    """What S3 is told of the bytes of one request, and answers: their MD5, and their CRC-32 (4 bytes)."""

    md5: bytes
    crc32: bytes

    @classmethod
    def of(cls, blocks: Iterable[bytes]) -> Digests:
        """Return those of bytes in a row."""
        passing = _Passing()
        for block in blocks:
            passing.take(block)
        return passing.digests


class _Passing:
    """Bytes in a row that are digested as they pass."""

    def __init__(self) -> None:
        self.count = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._crc = 0

    def take(self, data: bytes | bytearray | memoryview) -> None:
        self.count += len(data)
        self._md5.update(data)
        self._crc = zlib.crc32(data, self._crc)

    @property
    def digests(self) -> Digests:
        return Digests(self._md5.digest(), self._crc.to_bytes(4, "big"))


class Gathered:
    """Room for `length` bytes, in memory or in a temporary file; several threads may write to different places.

    What goes into the file in a row is digested before: should the disk give back other bytes, S3 refuses them.

    `close` gives the room back; twice is harmless.
    """

    def __init__(self, room: Room, length: int, memory: mmap.mmap | bytearray | None, place: int) -> None:
        self.length = length
        self._room = room
        self._memory = memory
        self._place = place
        self._passed = _Passing() if memory is None else None
        self._leaving = False
        self._closed = False
        self._lock = threading.Lock()

    def write(self, at: int, data: bytes | bytearray | memoryview) -> None:
        """Store bytes from `at` on; nothing once it is closed. SinkError when the temporary file takes no more."""
        with self._lock:  # what is closed may be somebody else's room
            if self._closed:
                return
            if self._memory is not None:
                self._memory[at : at + len(data)] = data
                return
            self._room.write_spilled(self._place + at, data)
            if self._passed is not None and at == self._passed.count:
                self._passed.take(data)
            elif self._passed is not None and at < self._passed.count:
                self._passed = None  # some of it was written anew

    def piece(self, start: int = 0, end: int | None = None) -> Piece:
        """Return a range of it, to be sent."""
        return Piece(self, start, self.length if end is None else end)

    def digests(self, start: int, end: int) -> Digests:
        """Return the digests of a range."""
        if self._passed is not None and (start, end) == (0, self._passed.count):
            return self._passed.digests
        return Digests.of(self.read(at, min(_READ_BYTES, end - at)) for at in range(start, end, _READ_BYTES))

    def read(self, at: int, length: int) -> bytes:
        """Return exactly these bytes. SinkError when the temporary file does not give them back."""
        if self._memory is not None:
            return bytes(self._memory[at : at + length])
        return self._room.read_spilled(self._place + at, length)

    def leaves(self) -> None:
        """Note that the bytes are whole and on their way: soon there is room again."""
        if not self._leaving:
            self._leaving = True
            self._room.leaves(self.length, spilled=self._memory is None)

    def close(self) -> None:
        """Give the room back."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        if self._memory is None:
            self._room.free_slot(self._place, self.length, leaving=self._leaving)
        else:
            if isinstance(self._memory, mmap.mmap):
                self._memory.close()
            self._room.give_back(self.length, leaving=self._leaving)


@dataclass(frozen=True, slots=True)
class Piece:
    """A range of what was gathered, as one request sends it."""

    _gathered: Gathered
    _start: int
    _end: int

    @property
    def length(self) -> int:
        """Bytes."""
        return self._end - self._start

    def read(self, at: int, length: int) -> bytes:
        """Return bytes from `at` of it on, fewer only at its end."""
        return self._gathered.read(self._start + at, max(0, min(length, self.length - at)))

    def digests(self) -> Digests:
        """Return the digests of the bytes."""
        return self._gathered.digests(self._start, self._end)

    def body(self) -> BinaryIO:
        """Return the bytes as boto3 takes them: a file, which it may read more than once."""
        return cast("BinaryIO", _PieceFile(self))


class Room:
    """Memory of at most `memory_bytes` for bytes that gather; what finds none goes into a file that has no name.

    Whoever needs memory waits as long as some of it is on its way out; when all of it waits for bytes that are still
    to come, waiting might have no end, and the file (below TMPDIR, else /var/tmp) takes what comes; so it does where
    one part is larger than all that memory. `loose` bytes go there at once unless they are few. What waits in the file
    for its way out is at most some parts.
    """

    def __init__(self, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._changed = threading.Condition()
        self._used = 0
        self._leaving = 0
        self._spilled_leaving = 0
        self._file: BinaryIO | None = None
        self._end = 0
        self._free: dict[int, list[int]] = {}
        self.most_used = 0
        self.spilled = 0

    def take(self, length: int, *, stopped: Callable[[], bool], loose: bool = False) -> Gathered:
        """Return room for so many bytes; waits for it. InterruptedRunError once `stopped` says so meanwhile."""
        in_memory = length <= (HELD_BYTES if loose else self._memory_bytes)
        with self._changed:
            while True:
                if in_memory and self._used + length <= self._memory_bytes:
                    self._used += length
                    self.most_used = max(self.most_used, self._used)
                    return Gathered(self, length, _memory(length), 0)
                waits_for_memory = in_memory and self._leaving
                if not waits_for_memory and self._spilled_leaving <= _SPILLED_AHEAD * length:
                    return Gathered(self, length, None, self._slot(length))
                if stopped():
                    raise InterruptedRunError("stopped while bytes waited to go to S3")
                self._changed.wait(_LOOK_SECONDS)

    def leaves(self, count: int, *, spilled: bool) -> None:
        """Note that so many bytes are on their way out."""
        with self._changed:
            if spilled:
                self._spilled_leaving += count
            else:
                self._leaving += count

    def give_back(self, count: int, *, leaving: bool) -> None:
        """Take memory back; `leaving` when it was on its way out."""
        with self._changed:
            self._used -= count
            self._leaving -= count if leaving else 0
            self._changed.notify_all()

    # -- the file ----------------------------------------------------------------------------------------------

    def _slot(self, length: int) -> int:
        """Return a place in the file for so many bytes; with the lock held."""
        slot = _slot_bytes(length)
        self.spilled += length
        free = self._free.get(slot)
        if free:
            return free.pop()
        if self._file is None:
            folder = _temporary_folder()
            try:
                self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  # `close` closes it
            except OSError as error:
                raise _no_room(error) from error
        place, self._end = self._end, self._end + slot
        return place

    def free_slot(self, place: int, length: int, *, leaving: bool) -> None:
        """Let the place be taken again; `leaving` when what it held was on its way out."""
        with self._changed:
            self._free.setdefault(_slot_bytes(length), []).append(place)
            self._spilled_leaving -= length if leaving else 0
            self._changed.notify_all()

    def write_spilled(self, place: int, data: bytes | bytearray | memoryview) -> None:
        """Write into the file."""
        assert self._file is not None
        view = memoryview(data)
        while view:
            try:
                count = os.pwrite(self._file.fileno(), view, place)
            except OSError as error:
                raise _no_room(error) from error
            view, place = view[count:], place + count

    def read_spilled(self, place: int, length: int) -> bytes:
        """Read exactly these bytes of the file, which were written before."""
        assert self._file is not None
        pieces = []
        while length:
            try:
                piece = os.pread(self._file.fileno(), length, place)
            except OSError as error:
                raise SinkError(f"a temporary file cannot be read: {error.strerror}") from error
            if not piece:
                raise SinkError("a temporary file has lost what was written to it")
            pieces.append(piece)
            length, place = length - len(piece), place + len(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Let the file go."""
        with self._changed, contextlib.suppress(OSError):
            if self._file is not None:
                self._file.close()


class _PieceFile(io.RawIOBase):
    """A piece as a file: what boto3 is handed in memory it copies as a whole."""

    def __init__(self, piece: Piece) -> None:
        super().__init__()
        self._piece = piece
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._piece.length}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        data = self._piece.read(self._at, self._piece.length if size is None or size < 0 else size)
        self._at += len(data)
        return data

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401  # whatever takes bytes
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _memory(length: int) -> mmap.mmap | bytearray:
    """Return memory that goes back to the system at once; a little comes from Python's own."""
    return bytearray(length) if length < _MAPPED_BYTES else mmap.mmap(-1, length)


def _slot_bytes(length: int) -> int:
    slot = _LEAST_SLOT_BYTES
    while slot < length:
        slot *= 2
    return slot


def _temporary_folder() -> str:
    """Return where a file may be large: /tmp is memory on many a system, /var/tmp is not."""
    if os.environ.get("TMPDIR") or not os.access("/var/tmp", os.W_OK | os.X_OK):  # noqa: S108  # a file without a name
        return tempfile.gettempdir()
    return "/var/tmp"  # noqa: S108


def _no_room(error: OSError) -> SinkError:
    return SinkError(
        f"what waits to go to S3 finds no room in {_temporary_folder()}: {error.strerror}",
        hint="make room there, or name another folder: TMPDIR",
    )
