"""A stream as a source: straight into blobs when its size is known, else kept in a temporary file first."""

from __future__ import annotations

import os
import select
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from io import UnsupportedOperation
from typing import BinaryIO

from ds3tool.errors import InterruptedRunError, SourceError
from ds3tool.jobs.ends import Failure, SourceObject
from ds3tool.lazy_dataclass import dataclass
from ds3tool.sizes import format_size
from ds3tool.transport.bodies import BytesBody, FileRangeBody, read_range

_READ_BYTES = 1024 * 1024
# How often a reader that waits looks whether it is to give up.
_POLL_MILLISECONDS = 200
# Room that keeping a stream leaves on the disk for everybody else.
_ROOM_LEFT_BYTES = 64 * 1024 * 1024
_NAME = b"-"


class _OneObject:
    """What both kinds of source have: a single object, and nothing to tell of others."""

    def __init__(self, key: str, size: int) -> None:
        self._item = SourceObject(key, size, time.time_ns(), _NAME)
        self.failures: list[Failure] = []
        self.skipped: list[str] = []
        self.notes: list[str] = []

    def objects(self) -> Iterator[SourceObject]:
        """Yield the one object."""
        yield self._item


class StreamSource(_OneObject):
    """A stream of `size` bytes as the object `key`; its bytes come once, from the first to the last.

    Too few or too many are a SourceError when that is seen: at the stream's end, of which its writer has to make one.
    `stream` stays its owner's to close.
    """

    def __init__(self, stream: BinaryIO, *, key: str, size: int) -> None:
        super().__init__(key, size)
        self._reader = _Reader(stream)
        self._opened = False

    @property
    def sequential(self) -> bool:
        """A stream passes by once."""
        return True

    @property
    def distant(self) -> bool:
        """A stream is at hand."""
        return False

    def give_up_when(self, stopped: Callable[[], bool]) -> None:
        """Let a read that waits for the stream's writer end once `stopped` says so."""
        self._reader.stopped = stopped

    def open(self, item: SourceObject) -> OpenStream:
        """Open the stream; once."""
        if self._opened:
            raise SourceError("a stream cannot be read a second time")
        self._opened = True
        return OpenStream(self._reader, item)


class _Reader:
    """Reads from a stream what there is, and gives up waiting when it is told to."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.stopped: Callable[[], bool] = lambda: False
        self._poll: select.poll | None = None
        try:
            self._descriptor = stream.fileno()
        except (UnsupportedOperation, OSError):
            return  # not of the system: it is there already, and nobody waits for it
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN | select.POLLHUP)

    def read(self, most: int) -> bytes:
        """Return up to `most` bytes, at least one unless the stream has ended."""
        try:
            if self._poll is None:
                return self._stream.read(most)
            while True:
                if self.stopped():
                    raise InterruptedRunError("stopped while it waited for more of the stream")
                if self._poll.poll(_POLL_MILLISECONDS):
                    try:
                        return os.read(self._descriptor, most)
                    except BlockingIOError:
                        continue
        except OSError as error:
            raise SourceError(f"the stream cannot be read: {error.strerror}") from error


@dataclass(slots=True)
class OpenStream:
    """A stream while its blobs are sent, one after the other."""

    reader: _Reader
    item: SourceObject
    at: int = 0

    def body(self, offset: int, length: int, *, counter: Callable[[int], None]) -> BytesBody:
        """Return the next bytes as a body in memory."""
        data = self.read(offset, length)
        counter(length)
        return BytesBody(data)

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly the next bytes."""
        if offset != self.at:
            raise SourceError(f"a stream cannot be read at {offset} when {self.at} bytes have passed")
        blocks = []
        while length:
            block = self.reader.read(length)
            if not block:
                raise SourceError(
                    f"the stream has ended after {self.at} bytes, and {self.item.size} were announced",
                    hint="give its true --size, or none",
                )
            blocks.append(block)
            self.at += len(block)
            length -= len(block)
        return b"".join(blocks)

    def check_unchanged(self) -> None:
        """Where all announced bytes have passed: make sure that the stream has ended, which waits for its writer."""
        if self.at == self.item.size and self.reader.read(1):
            raise SourceError(
                f"the stream has more than the {self.item.size} bytes that were announced",
                hint="give its true --size, or none",
            )

    def metadata(self) -> Mapping[str, str]:
        """Return nothing: a stream has no attributes."""
        return {}

    def close(self) -> None:
        """Nothing is held: the stream is its owner's."""


class SpooledSource(_OneObject):
    """A stream that was kept in a temporary file, as the object `key`; `close` lets go of the file."""

    def __init__(self, stream: BinaryIO, *, key: str, limit: int, folder: str | None = None) -> None:
        """Read the whole stream into a file without a name in `folder` (the system's own for such things).

        SourceError, and nothing kept, when the stream has more than `limit` bytes, cannot be read, or does not fit
        into the folder with 64 MiB left over for others.
        """
        folder = folder or tempfile.gettempdir()
        try:
            self._file = tempfile.TemporaryFile(prefix="ds3tool-", dir=folder)  # noqa: SIM115  # `close` does it
        except OSError as error:
            raise SourceError(
                f"the stream cannot be kept in {folder}: {error.strerror}", hint="give its --size, or set TMPDIR"
            ) from error
        try:
            size = self._fill(stream, limit, folder)
        except BaseException:
            self._file.close()
            raise
        super().__init__(key, size)

    def _fill(self, stream: BinaryIO, limit: int, folder: str) -> int:
        size = 0
        reader = _Reader(stream)
        while block := reader.read(_READ_BYTES):
            size += len(block)
            if size > limit:
                raise SourceError(
                    f"the stream has more than {format_size(limit)}, which is the most that is kept of one",
                    hint="give its --size, and it goes straight to the appliance; or raise --spool-max",
                )
            try:
                if shutil.disk_usage(folder).free < _ROOM_LEFT_BYTES + len(block):
                    raise SourceError(
                        f"{folder} has no room for the stream: it was full after {format_size(size - len(block))}",
                        hint="give the stream's --size, and it goes straight to the appliance; or set TMPDIR",
                    )
                self._file.write(block)
                self._file.flush()
            except OSError as error:
                raise SourceError(
                    f"the stream cannot be kept in {folder}: {error.strerror}", hint="give its --size, or set TMPDIR"
                ) from error
        return size

    @property
    def sequential(self) -> bool:
        """The file can be read anywhere, and again."""
        return False

    @property
    def distant(self) -> bool:
        """A stream is at hand."""
        return False

    def open(self, item: SourceObject) -> OpenSpool:
        """Open the file."""
        return OpenSpool(self._file.fileno(), item)

    def close(self) -> None:
        """Give the file's room back."""
        self._file.close()


@dataclass(frozen=True, slots=True)
class OpenSpool:
    """A kept stream while its blobs are sent."""

    descriptor: int
    item: SourceObject
    shown: str = field(default="the kept stream")

    def body(self, offset: int, length: int, *, counter: Callable[[int], None]) -> FileRangeBody:
        """Return the range as a body that goes out by sendfile."""
        return FileRangeBody(self.descriptor, offset, length, self.shown, counter)

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly these bytes."""
        return read_range(self.descriptor, offset, length, self.shown) if length else b""

    def check_unchanged(self) -> None:
        """Nobody else can reach the file."""

    def metadata(self) -> Mapping[str, str]:
        """Return nothing: a stream has no attributes."""
        return {}

    def close(self) -> None:
        """Nothing is held for one reader."""
