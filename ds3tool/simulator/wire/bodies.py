"""A request's body on its way in: what came with the head first, then what the socket gives, spliced if it can be."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from typing import Protocol

from ds3tool.simulator.tapes.media import write_all
from ds3tool.simulator.wire.refusals import Refusal, bad_request

_PIECE = 1 << 20
_PIPE_BYTES = 1 << 20
# A refused request's body is read on up to here, so that the client reads the refusal and keeps its connection.
DRAIN_LIMIT = 64 << 20


class PeerGoneError(Exception):
    """The client closed or stalled; there is nobody to answer."""


class Taking(Protocol):
    """The connection that a body comes over."""

    descriptor: int

    def send(self, data: bytes) -> None:
        """Send all of `data`."""
        ...

    def take(self, most: int) -> bytes:
        """Return between 1 and `most` bytes of the request."""
        ...

    def take_buffered(self, most: int) -> bytes:
        """Return up to `most` bytes that came with the head, without reading more."""
        ...


class SocketBody:
    """A request's body on its connection: what came with the head first, then what the socket gives."""

    def __init__(self, connection: Taking, length: int, *, expects: bool) -> None:
        self.length = length
        self.left = length
        self.waiting_for_continue = expects
        self._connection = connection

    def _begin(self) -> None:
        if self.waiting_for_continue:
            self.waiting_for_continue = False
            if self.left:
                self._connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def pieces(self) -> Iterator[bytes]:
        """Yield what is left, as it arrives, in pieces of at most 1 MiB."""
        self._begin()
        while self.left:
            piece = self._connection.take(min(self.left, _PIECE))
            self.left -= len(piece)
            yield piece

    def read(self, limit: int) -> bytes:
        """Return what is left of the body; a 400 when that is more than `limit` bytes."""
        if self.left > limit:
            raise bad_request(f"The request body is longer than {limit} bytes.")
        return b"".join(self.pieces())

    def splice_to(self, descriptor: int, arrived: Callable[[int], None]) -> None:
        """Write what is left to a file at its position, through a pipe where the kernel can."""
        self._begin()
        done = 0
        while self.left and (piece := self._connection.take_buffered(self.left)):
            write_all(descriptor, piece)
            self.left -= len(piece)
            done += len(piece)
            arrived(done)
        if self.left:
            self._splice_rest(descriptor, arrived, done)

    def _splice_rest(self, descriptor: int, arrived: Callable[[int], None], done: int) -> None:
        reader, writer = os.pipe()
        try:
            with contextlib.suppress(OSError):  # unprivileged users may have few large pipes; a small one does
                _hold_more(writer)
            peer = self._connection.descriptor
            while self.left:
                try:
                    moved = os.splice(peer, writer, min(self.left, _PIPE_BYTES))
                except OSError as error:
                    if error.errno == errno.EINVAL:
                        break
                    raise stalled(error, "body") from error
                if not moved:
                    raise PeerGoneError("the client closed in the middle of a body")
                pending = moved
                while pending:
                    pending -= os.splice(reader, descriptor, pending)
                self.left -= moved
                done += moved
                arrived(done)
        finally:
            os.close(reader)
            os.close(writer)
        for piece in self.pieces():  # a file or socket that cannot be spliced
            write_all(descriptor, piece)
            done += len(piece)
            arrived(done)

    def drain(self) -> bool:
        """Read on to the end so that the connection can serve again; False when that is not worth it."""
        if self.waiting_for_continue:
            return not self.left
        if self.left > DRAIN_LIMIT:
            return False
        for _ in self.pieces():
            pass
        return True


def _hold_more(descriptor: int) -> None:
    """Make a pipe hold 1 MiB."""
    import fcntl

    fcntl.fcntl(descriptor, 1031, _PIPE_BYTES)  # F_SETPIPE_SZ, which Python 3.11 names only on some builds


def too_slow(what: str) -> Refusal:
    """Return the 408 of a client that keeps still in a head or body."""
    return Refusal(408, "RequestTimeout", f"The rest of the request's {what} did not come in time.")


def stalled(error: OSError, what: str) -> Refusal | PeerGoneError:
    """Return the refusal of a client that keeps still in a head or body, or what ends a connection that is broken."""
    return too_slow(what) if error.errno in (errno.EAGAIN, errno.EWOULDBLOCK) else PeerGoneError(str(error))
