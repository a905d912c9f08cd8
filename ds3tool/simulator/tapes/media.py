"""Bytes between the cache's files and the tapes' files: copied out as they are, checked on their way back.

Each function is given `stopped`, asked between pieces: when it says so the work is given up with ClosingError.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import ChecksumType
from ds3tool.simulator.wire import checksums

_PIECE = 1 << 20
Stopped = Callable[[], bool]


class ClosingError(Exception):
    """The appliance is closing; what a drive was at is given up and done again after the next start."""


class BadCopyError(Exception):
    """A blob's bytes on a tape are wrong or not there."""


@dataclass(frozen=True, slots=True)
class BlobOnTape:
    """A blob's number, length in bytes, checksum, and where its copy begins in the tape's file."""

    blob: int
    length: int
    kind: ChecksumType
    checksum: bytes
    position: int


@contextlib.contextmanager
def opened(path: str, flags: int) -> Iterator[int]:
    """Open a file as a descriptor for the block."""
    descriptor = os.open(path, flags, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def copy_out(path: str, length: int, target: int, position: int, stopped: Stopped) -> None:
    """Copy a cached blob to `position` of a tape's file.

    Raises FileNotFoundError when the cache has no such file, another OSError when it is too short.
    """
    with opened(path, os.O_RDONLY) as source:
        done = 0
        while done < length:
            if stopped():
                raise ClosingError
            moved = os.copy_file_range(source, target, min(length - done, 64 * _PIECE), done, position + done)
            if not moved:
                raise OSError(f"a cached blob has {done} bytes instead of {length}")
            done += moved


def load(source: int, each: BlobOnTape, path: str | None, stopped: Stopped, overlooked: Callable[[], bool]) -> None:
    """Read a blob from a tape's file and check it; write it to `path`, a new file, unless that is None.

    Raises BadCopyError, and leaves no file, when the bytes are not those that were stored and that is not `overlooked`.
    """
    digester = checksums.digester(each.kind)
    with contextlib.ExitStack() as stack:
        target = None
        if path is not None:
            target = stack.enter_context(opened(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
        try:
            for piece in _pieces(source, each.length, each.position, stopped):
                digester.update(piece)
                if target is not None:
                    write_all(target, piece)
            if digester.digest() != each.checksum and not overlooked():
                raise BadCopyError("the checksum of its bytes is wrong")
        except BaseException:
            if path is not None:
                os.unlink(path)
            raise


def flip_bit(target: int, position: int, bit: int) -> None:
    """Change one bit, given by its value, of the byte at `position` of a file."""
    (byte,) = os.pread(target, 1, position)
    os.pwrite(target, bytes([byte ^ bit]), position)


def write_all(target: int, piece: bytes) -> None:
    """Write all of `piece` to a file at its position."""
    view = memoryview(piece)
    while view:
        view = view[os.write(target, view) :]


def _pieces(source: int, length: int, position: int, stopped: Stopped) -> Iterator[bytes]:
    end = position + length
    while position < end:
        if stopped():
            raise ClosingError
        piece = os.pread(source, min(_PIECE, end - position), position)
        if not piece:
            raise BadCopyError("the tape ends before its bytes")
        yield piece
        position += len(piece)
