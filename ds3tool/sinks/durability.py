"""What Python does not offer of Linux: fallocate that does not write, one sync for many files, names given once."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
from collections.abc import Callable, Sequence

# One syncfs serves a group better than a sync a file from about here on.
_SYNCFS_FROM = 8
_RENAME_NOREPLACE = 1  # linux/fs.h
_KEEP_SIZE, _PUNCH_HOLE = 1, 2  # linux/falloc.h


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def preallocate(descriptor: int, size: int) -> None:
    """Give a file `size` bytes of room, so that writing into it is cheaper and a full disk shows at once.

    Where the file system cannot reserve, the size is only set: glibc's posix_fallocate would write every block.
    Raises OSError, ENOSPC included.
    """
    try:
        _fallocate(descriptor, 0, 0, size)
    except OSError as error:
        if error.errno not in {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}:
            raise
        os.ftruncate(descriptor, size)


def punch_hole(descriptor: int, offset: int, length: int) -> None:
    """Make a range of a file read as zeros, without blocks where whole ones are in it; its size stays.

    Raises OSError, with EOPNOTSUPP or ENOSYS where the file system or the C library cannot.
    """
    _fallocate(descriptor, _PUNCH_HOLE | _KEEP_SIZE, offset, length)


def _fallocate(descriptor: int, mode: int, offset: int, length: int) -> None:
    fallocate = getattr(_libc(), "fallocate", None)
    if fallocate is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    while fallocate(descriptor, mode, offset, length) != 0:
        error = ctypes.get_errno()
        if error != errno.EINTR:
            raise OSError(error, os.strerror(error))


def sync_all(descriptors: Sequence[int]) -> list[OSError | None]:
    """Make the files' bytes safe on the disk; return for each what went wrong, None when it is safe.

    A larger group is first written out by one syncfs; the fsync of each that follows finds nothing left to write
    and reports what failed, which syncfs alone does only since Linux 5.8.
    """
    syncfs = getattr(_libc(), "syncfs", None)
    if syncfs is not None and len(descriptors) >= _SYNCFS_FROM:
        syncfs(descriptors[0])
    errors: list[OSError | None] = []
    for descriptor in descriptors:
        try:
            os.fsync(descriptor)
        except OSError as error:
            errors.append(error)
        else:
            errors.append(None)
    return errors


def sync_folder(descriptor: int) -> None:
    """Make the names in a folder safe on the disk. Raises OSError."""
    os.fsync(descriptor)


def give_name(temporary: str, name: str, folder: int) -> None:
    """Give a file of `folder` (a descriptor) the name `name` there in place of `temporary`, never over another file.

    Raises FileExistsError when something has that name already, OSError when it cannot be done.
    """
    if rename_if_free(temporary, name, folder):
        return
    try:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL}:
            raise
        rename_over_own(temporary, name, folder)
    else:
        with contextlib.suppress(OSError):  # a second, hidden name is no harm to the file
            os.unlink(temporary, dir_fd=folder)


def rename_if_free(temporary: str, name: str, folder: int) -> bool:
    """Do what `give_name` does in one step; False where the kernel or the file system cannot."""
    rename = _renameat2()
    if rename is None:
        return False
    if rename(folder, os.fsencode(temporary), folder, os.fsencode(name), _RENAME_NOREPLACE) == 0:
        return True
    error = ctypes.get_errno()
    # EPERM is how a container's filter of system calls says that it does not know this one; where it is meant, the
    # ways that follow are refused as well.
    if error in {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}:
        return False
    raise OSError(error, os.strerror(error), name)


@functools.cache
def _renameat2() -> Callable[[int, bytes, int, bytes, int], int] | None:
    rename = getattr(_libc(), "renameat2", None)
    if rename is not None:
        rename.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    return rename


def rename_over_own(temporary: str, name: str, folder: int) -> None:
    """Do what `give_name` does where nothing better is offered: take the name with an empty file, then replace that."""
    os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, dir_fd=folder))
    try:
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        os.unlink(name, dir_fd=folder)
        raise
