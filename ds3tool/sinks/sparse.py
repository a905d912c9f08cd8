"""Writing a file with holes: blocks of zeros are not written, and the file has zeros there all the same."""

from __future__ import annotations

import errno

from ds3tool.sinks.durability import punch_hole
from ds3tool.transport.splicing import write_all

# Holes are made of whole blocks of the file system, which are this large or, rarely, larger.
BLOCK_BYTES = 4096
_ZEROS = bytes(BLOCK_BYTES)


def make_hole(descriptor: int, offset: int, length: int) -> bool:
    """Make a range of a file read as zeros, whatever was written there before; False where that cannot be done.

    Raises OSError when it fails on a file system that can do it.
    """
    try:
        punch_hole(descriptor, offset, length)
    except OSError as error:
        if error.errno in {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENODEV}:
            return False
        raise
    return True


def write_sparsely(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write `data` into a file at `offset`, but for what is only zeros; the range must read as zeros before.

    What is written or not is decided block by block, counted from the file's start; the parts of a block that come
    in two calls each for itself. SinkError when it cannot be done.
    """
    if isinstance(data, memoryview):
        data = bytes(data)
    view = memoryview(data)
    pending, place = 0, 0  # what stands before `pending` is through; up to `place` it is to be written
    while place < len(data):
        end = min(len(data), place + BLOCK_BYTES - (offset + place) % BLOCK_BYTES)
        if data.startswith(_ZEROS[: end - place], place, end):
            write_all(descriptor, view[pending:place], offset + pending)
            pending = end
        place = end
    write_all(descriptor, view[pending:], offset + pending)
