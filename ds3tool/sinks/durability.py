"""What Python does not offer of Linux: fallocate that does not write, and one sync for many files."""

from __future__ import annotations

import ctypes
import errno
import functools
import os
from collections.abc import Sequence

# One syncfs serves a group better than a sync a file from about here on.
_SYNCFS_FROM = 8


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def preallocate(descriptor: int, size: int) -> None:
    """Give a file `size` bytes of room, so that writing into it is cheaper and a full disk shows at once.

    Where the file system cannot reserve, the size is only set: glibc's posix_fallocate would write every block.
    Raises OSError, ENOSPC included.
    """
    fallocate = getattr(_libc(), "fallocate", None)
    if fallocate is not None:
        fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
        while fallocate(descriptor, 0, 0, size) != 0:
            error = ctypes.get_errno()
            if error == errno.EINTR:
                continue
            if error in {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}:
                break
            raise OSError(error, os.strerror(error))
        else:
            return
    os.ftruncate(descriptor, size)


def sync_all(descriptors: Sequence[int]) -> list[OSError | None]:
    """Make the files' bytes safe on the disk; return for each what went wrong, None when it is safe.

    A larger group is first written out by one syncfs; the fsync of each that follows finds nothing left to write
    and reports what failed, which syncfs alone does only since Linux 5.8.
    """
    if len(descriptors) >= _SYNCFS_FROM:
        _libc().syncfs(descriptors[0])
    errors: list[OSError | None] = []
    for descriptor in descriptors:
        try:
            os.fsync(descriptor)
        except OSError as error:
            errors.append(error)
        else:
            errors.append(None)
    return errors
