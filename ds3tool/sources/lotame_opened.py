"""A file of a feed, and an answer of Lotame's, while they are put."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from datetime import UTC, datetime

from ds3tool.errors import SourceError
from ds3tool.jobs.ends import SourceObject
from ds3tool.jobs.stream_mover import HeldBlocks
from ds3tool.lazy_dataclass import dataclass
from ds3tool.lotame.wholeness import GzipCheck
from ds3tool.protocol.object_attributes import ObjectAttributes
from ds3tool.sources.s3_opened import OpenS3, UnderWays
from ds3tool.sources.s3_reader import READ_BYTES, S3Reader
from ds3tool.sources.s3_remarks import Remarks
from ds3tool.transport.bodies import OutgoingBody


@dataclass(slots=True)
class _Whole:
    """Whether one file was read through and is whole."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    known: bool = False


@dataclass(slots=True)
class FeedFiles:
    """What the open files of a source share. Safe for several threads; memory: some hundred bytes for each.

    `ended` is set when the run is to end soon: nobody waits for Lotame then.
    """

    known: UnderWays = field(default_factory=UnderWays)
    remarks: Remarks = field(default_factory=Remarks)
    ended: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _wholes: dict[bytes, _Whole] = field(default_factory=dict)

    def whole(self, name: bytes) -> _Whole:
        """Return what is known of a file's gzip stream, from now on."""
        with self._lock:
            return self._wholes.setdefault(name, _Whole())

    def forget(self, name: bytes) -> None:
        """Let go of it."""
        with self._lock:
            self._wholes.pop(name, None)


class OpenFeedFile(OpenS3):
    """A file of a feed: an object of S3 of which the last byte comes only if its gzip stream is whole."""

    def __init__(self, reader: S3Reader, item: SourceObject, *, feed_id: int, files: FeedFiles) -> None:
        super().__init__(reader, item, known=files.known, remarks=files.remarks)
        self._feed_id = feed_id
        self._files = files
        self._is_gzip = self._pin.key.endswith(".gz")

    def blocks(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield a range as every object of S3 does; SourceError before its last block when the file is cut short.

        A file of several blobs is read through once before the first of them.
        """
        if not self._is_gzip:
            yield from super().blocks(offset, length)
            return
        if (offset, length) != (0, self._item.size):
            self._read_through(self._files.whole(self._item.name))
            yield from super().blocks(offset, length)
            return
        check, done = GzipCheck(), 0
        for block in super().blocks(offset, length):
            check.feed(block)
            done += len(block)
            if done == length:
                self._see(check)
            yield block
        if not length:
            self._see(check)

    def _read_through(self, whole: _Whole) -> None:
        with whole.lock:
            if whole.known:
                return
            check = GzipCheck()
            for start in range(0, self._item.size, READ_BYTES):
                check.feed(self.read(start, min(READ_BYTES, self._item.size - start)))
            self._see(check)
            whole.known = True

    def _see(self, check: GzipCheck) -> None:
        trouble = check.trouble()
        if trouble is not None:
            delivered = datetime.fromtimestamp(self._item.modified_ns // 1_000_000_000, UTC)
            raise SourceError(
                f"feed {self._feed_id}: {self._shown}, delivered {delivered:%Y-%m-%d %H:%M}Z, is not whole: {trouble}",
                hint="the next run asks for it again; if it stays so, ask Lotame to deliver it again",
            )

    def abort(self) -> None:
        """Make every reading end soon, and what waits for new credentials too."""
        self._files.ended.set()
        super().abort()

    def forget(self, *, moved: bool) -> None:
        """Let go of what is known of the file."""
        super().forget(moved=moved)
        self._files.forget(self._item.name)


@dataclass(frozen=True, slots=True)
class OpenAnswer:
    """An answer of Lotame's, in memory."""

    data: bytes

    def body(self, offset: int, length: int, *, counter: Callable[[int], None]) -> OutgoingBody:
        """Return a body of the range."""
        return HeldBlocks([self.read(offset, length)], length, counter)

    def read(self, offset: int, length: int) -> bytes:
        """Return these bytes."""
        return self.data[offset : offset + length]

    def check_unchanged(self) -> None:
        """Accept: it cannot change."""

    def metadata(self) -> Mapping[str, str]:
        """Return what kind of text it is."""
        return ObjectAttributes(content_type="application/json").to_metadata()

    def close(self) -> None:
        """Hold nothing."""
