"""One HTTP request as it arrived, and one reply as it will be sent."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import field
from typing import Protocol

from ds3tool.lazy_dataclass import dataclass
from ds3tool.simulator.wire.targets import Target

_PIECE = 64 * 1024
Pairs = tuple[tuple[str, str], ...]


class Body(Protocol):
    """The body of a request, read at most once and in order. Every method may raise a Refusal or OSError."""

    @property
    def length(self) -> int:
        """Bytes of the whole body."""
        ...

    def pieces(self) -> Iterator[bytes]:
        """Yield what is left, as it arrives."""
        ...

    def read(self, limit: int) -> bytes:
        """Return all of it; a 400 when it is longer than `limit`."""
        ...

    def splice_to(self, descriptor: int, arrived: Callable[[int], None]) -> None:
        """Write all of it to a file at its position, copying as little as can be; tell how many bytes came so far."""
        ...


@dataclass(slots=True)
class Request:
    """A request's head and its body. Header names are in lower case; `pairs` are the headers as sent.

    `user` and `operation` are names, set when it is known whose request it is and what it asks for.
    """

    verb: str
    target: Target
    headers: dict[str, str]
    pairs: list[tuple[str, str]]
    body: Body
    client: str
    number: int = 0
    user: str = ""
    operation: str = ""


@dataclass(slots=True)
class FileSlices:
    """Parts of an open file, sent one after the other: (offset, length) each. Closing it is the owner's duty."""

    descriptor: int
    slices: list[tuple[int, int]]

    @property
    def length(self) -> int:
        """Bytes of all slices."""
        return sum(length for _, length in self.slices)

    def close(self) -> None:
        """Give the descriptor back; once."""
        os.close(self.descriptor)

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes of all slices, in pieces of at most 64 KiB."""
        for start, length in self.slices:
            at, end = start, start + length
            while at < end:
                piece = os.pread(self.descriptor, min(_PIECE, end - at), at)
                if not piece:
                    raise OSError("a cached blob is shorter than it should be")
                yield piece
                at += len(piece)


class Cut(Exception):  # noqa: N818 - the end of a connection is a fate here, not a fault
    """The appliance ends the connection, without any more of an answer; raised on the connection's own thread.

    `reset`: what is on its way is lost too. `before` is called with the socket first: it may keep still for a while.
    """

    def __init__(self, *, reset: bool, before: Callable[[socket.socket], None] | None = None) -> None:
        super().__init__("the connection is cut on purpose")
        self.reset = reset
        self.before = before

    def prepare(self, peer: socket.socket) -> None:
        """Bring a socket to where closing it does what is wanted."""
        if self.before is not None:
            self.before(peer)
        if self.reset:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


# Sends a reply's head and body in an unusual way, through a function that sends bytes; may raise Cut.
Sender = Callable[[Callable[[bytes], None], bytes, "Reply"], None]


@dataclass(slots=True)
class Reply:
    """A status, headers beyond Content-Length and the server's own, and a body.

    `head_length`: for the reply to a HEAD, the Content-Length to show. `settle` is called before the last byte
    leaves and `sent` after it, with whether all of them left; both from the connection's thread. `common` stands in
    place of the server's own header lines; `sender` sends a body of one byte or more, and calls `settle` itself.
    """

    status: int = 200
    headers: Pairs = ()
    body: bytes | FileSlices = b""
    content_type: str | None = None
    head_length: int | None = None
    settle: Callable[[], None] | None = None
    sent: Callable[[bool], None] | None = None
    close: bool = field(default=False)
    common: str | None = None
    sender: Sender | None = None

    def pieces(self) -> Iterator[bytes]:
        """Yield the body in pieces of at most 64 KiB."""
        if isinstance(self.body, FileSlices):
            yield from self.body.pieces()
        else:
            for start in range(0, len(self.body), _PIECE):
                yield self.body[start : start + _PIECE]

    def drop(self) -> None:
        """Give up a reply that is not going to be sent."""
        if isinstance(self.body, FileSlices):
            self.body.close()
        if self.sent is not None:
            self.sent(False)


XML_TYPE = "text/xml;charset=UTF-8"


def xml_reply(body: bytes, status: int = 200, headers: Pairs = ()) -> Reply:
    """Return a reply that holds a document."""
    return Reply(status, headers, body, XML_TYPE)
