"""What can be sent as a request's body, each knowing how it is sent best, and again from its start."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Protocol

from ds3tool.errors import SourceError
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.messages import BlockBody

# One sendfile call moves at most this much, so that a rate limit and a progress count stay fine-grained.
SENDFILE_STEP = 8 * 1024 * 1024


class Wire(Protocol):
    """The sending half of a connection, as a body sees it; what it raises goes through the body unchanged."""

    def send(self, data: bytes | memoryview) -> None:
        """Send all of `data`."""
        ...

    def send_file(self, descriptor: int, offset: int, length: int) -> int:
        """Send up to `length` bytes of a file from `offset`; return how many went, 0 at the file's end."""
        ...


class OutgoingBody(Protocol):
    """An object's or a document's bytes. `send_to` sends exactly `length` bytes, from the start at every call."""

    @property
    def length(self) -> int:
        """Bytes in all."""
        ...

    def send_to(self, wire: Wire) -> None:
        """Send the whole body; SourceError when the source cannot give all of it."""
        ...


@dataclass(frozen=True, slots=True)
class BytesBody:
    """A body that is in memory."""

    data: bytes

    @property
    def length(self) -> int:
        """Bytes in all."""
        return len(self.data)

    def send_to(self, wire: Wire) -> None:
        """Send it in one piece."""
        if self.data:
            wire.send(self.data)


@dataclass(frozen=True, slots=True)
class BlocksBody:
    """A document that is made block by block while it is sent."""

    blocks: BlockBody

    @property
    def length(self) -> int:
        """Bytes in all."""
        return self.blocks.length

    def send_to(self, wire: Wire) -> None:
        """Send block after block."""
        for block in self.blocks:
            wire.send(block)


@dataclass(frozen=True, slots=True)
class FileRangeBody:
    """A range of an open file, sent by sendfile where the connection can.

    `descriptor` stays the caller's; `name` is for the error when the file is shorter than the range.
    `moved`, when given, is told each step's bytes, for a progress count.
    """

    descriptor: int
    offset: int
    length: int
    name: str
    moved: Callable[[int], None] | None = None

    def send_to(self, wire: Wire) -> None:
        """Send the range; SourceError when the file ends before the range does."""
        sent = 0
        while sent < self.length:
            step = wire.send_file(self.descriptor, self.offset + sent, min(self.length - sent, SENDFILE_STEP))
            if step == 0:
                raise SourceError(
                    f"{self.name} is shorter than it was: it ends at byte {self.offset + sent}",
                    hint="it changed while it was read; put it again when it is at rest",
                )
            sent += step
            if self.moved is not None:
                self.moved(step)


def read_range(descriptor: int, offset: int, length: int, name: str) -> bytes:
    """Return exactly `length` bytes of an open file from `offset`; SourceError when it has fewer or fails."""
    try:
        data = os.pread(descriptor, length, offset)
        while len(data) < length:
            more = os.pread(descriptor, length - len(data), offset + len(data))
            if not more:
                raise SourceError(
                    f"{name} is shorter than it was: it ends at byte {offset + len(data)}",
                    hint="it changed while it was read; put it again when it is at rest",
                )
            data += more
    except OSError as error:
        raise SourceError(
            f"{name} cannot be read: {error.strerror or errno.errorcode.get(error.errno or 0)}"
        ) from error
    return data
