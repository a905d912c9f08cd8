"""One HTTP request as it arrived, and one reply as it will be sent."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from ds3tool.simulator.targets import Target

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
    """A request's head and its body. Header names are in lower case; `pairs` are the headers as sent."""

    verb: str
    target: Target
    headers: dict[str, str]
    pairs: list[tuple[str, str]]
    body: Body
    client: str
    number: int = 0


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


@dataclass(slots=True)
class Reply:
    """A status, headers beyond Content-Length and the server's own, and a body.

    `head_length`: for the reply to a HEAD, the Content-Length to show. `settle` is called before the last byte
    leaves and `sent` after it, with whether all of them left; both from the connection's thread.
    """

    status: int = 200
    headers: Pairs = ()
    body: bytes | FileSlices = b""
    content_type: str | None = None
    head_length: int | None = None
    settle: Callable[[], None] | None = None
    sent: Callable[[bool], None] | None = None
    close: bool = field(default=False)


XML_TYPE = "text/xml;charset=UTF-8"


def xml_reply(body: bytes, status: int = 200, headers: Pairs = ()) -> Reply:
    """Return a reply that holds a document."""
    return Reply(status, headers, body, XML_TYPE)
