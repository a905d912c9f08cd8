"""How bytes of a body get into a file: through a pipe in the kernel, or written by hand."""

from __future__ import annotations

import contextlib
import errno
import os

from ds3tool.errors import SinkError

PIPE_BYTES = 1024 * 1024
_F_SETPIPE_SZ = 1031  # Linux fcntl; Python 3.11 does not name it on every build
# A file system or a kernel without sendfile or splice says one of these.
NOT_SUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}


class Splicer:
    """A pipe through which bytes go from a socket into a file without coming up here. For one thread at a time.

    `usable` is False once it turns out that it cannot be had here; the pipe is made when it is first needed.
    """

    def __init__(self) -> None:
        self.usable = hasattr(os, "splice")
        self._pipe: tuple[int, int] | None = None

    def move(self, sock: int, length: int, descriptor: int, offset: int) -> int | None:
        """Move up to `length` bytes from a plain socket into a file at `offset`.

        Returns how many, 0 when the other side closed, None when this kernel cannot do it and nothing was moved.
        Raises SinkError when the file cannot take them, OSError when the socket fails.
        """
        if self._pipe is None:
            try:
                self._pipe = _wide_pipe()
            except OSError:  # out of descriptors; the bytes can go the other way
                self.usable = False
                return None
        readable, writable = self._pipe
        try:
            count = os.splice(sock, writable, length, flags=os.SPLICE_F_MOVE)
        except OSError as error:
            if error.errno in NOT_SUPPORTED:
                self.usable = False
                return None
            raise
        written = 0
        while written < count:
            written += self._out(readable, count - written, descriptor, offset + written)
        return count

    def _out(self, readable: int, length: int, descriptor: int, offset: int) -> int:
        try:
            count = os.splice(readable, descriptor, length, offset_dst=offset)
        except OSError as error:
            if error.errno not in NOT_SUPPORTED:
                raise SinkError(f"the target cannot be written: {error.strerror}") from error
            self.usable = False  # its file system does not know how; what is in the pipe goes by hand
            block = os.read(readable, length)
            write_all(descriptor, block, offset)
            return len(block)
        if count == 0:
            raise SinkError("the target takes no more bytes")
        return count

    def close(self) -> None:
        """Give the pipe back. Twice is harmless."""
        if self._pipe is not None:
            for end in self._pipe:
                os.close(end)
            self._pipe = None


def write_all(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of `data` into a file at `offset`; SinkError when it cannot be done."""
    view = memoryview(data)
    while view:
        try:
            count = os.pwrite(descriptor, view, offset)
        except OSError as error:
            raise SinkError(f"the target cannot be written: {error.strerror}") from error
        if count == 0:
            raise SinkError("the target takes no more bytes")
        view = view[count:]
        offset += count


def _wide_pipe() -> tuple[int, int]:
    import fcntl

    ends = os.pipe()
    with contextlib.suppress(OSError):  # users have a quota of wide pipes; a narrow one is slower and as right
        fcntl.fcntl(ends[0], _F_SETPIPE_SZ, PIPE_BYTES)
    return ends
