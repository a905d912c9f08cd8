"""What sockets raise, those of TLS too, without the import of `ssl` where nobody has made one."""

from __future__ import annotations

import errno
import socket
import sys

# The numbers of the errors that sockets fail with; any other failure of a sendfile is the file's.
SOCKET_ERRORS = {
    errno.EPIPE,
    errno.ECONNRESET,
    errno.ECONNABORTED,
    errno.ECONNREFUSED,
    errno.ENOTCONN,
    errno.ETIMEDOUT,
    errno.EHOSTUNREACH,
    errno.EHOSTDOWN,
    errno.ENETUNREACH,
    errno.ENETDOWN,
    errno.ENETRESET,
    errno.ENOBUFS,
    errno.EPROTO,
    errno.EPERM,  # a packet filter
}


def is_tls(sock: socket.socket) -> bool:
    """Whether what is sent on `sock` is encrypted by it."""
    return "ssl" in sys.modules and isinstance(sock, sys.modules["ssl"].SSLSocket)


def would_block(*others: type[OSError]) -> tuple[type[OSError], ...]:
    """Return what a socket raises that can go no further without waiting, and `others`."""
    return (BlockingIOError, *others, *_of_tls("SSLWantReadError", "SSLWantWriteError"))


def cut_off() -> tuple[type[OSError], ...]:
    """Return what a TLS socket raises whose other end went without TLS's goodbye."""
    return _of_tls("SSLEOFError")


def _of_tls(*names: str) -> tuple[type[OSError], ...]:
    # Where nobody has imported `ssl`, no socket is one of its own.
    return tuple(getattr(sys.modules["ssl"], name) for name in names) if "ssl" in sys.modules else ()
