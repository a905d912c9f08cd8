"""An object of S3 while it is being put: its bytes by ranges, each reading continued where it breaks off."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from datetime import UTC, datetime
from typing import Any, Protocol

from ds3tool.errors import FarSideUnreachableError
from ds3tool.jobs.ends import SourceObject
from ds3tool.jobs.integrity import md5_of_etag
from ds3tool.jobs.known_digests import KnownDigests
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import ObjectHead
from ds3tool.protocol.object_attributes import ETAG, LAST_MODIFIED
from ds3tool.sources.s3_reader import READ_BYTES, Facts, Pin, reading
from ds3tool.sources.s3_remarks import Remarks
from ds3tool.sources.s3_vouched import Check, Comparison
from ds3tool.transport.bodies import Wire

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ObjectReader(Protocol):
    """What asks a server for pinned objects: that of S3, or one of the web. Called from any thread.

    Errors are those of `OpenS3.blocks`; once `ended` is set, requests end with InterruptedRunError.
    """

    def shown(self, key: str) -> str:
        """Return what a person knows an object by."""
        ...

    def head(self, pin: Pin, size: int, ended: threading.Event) -> Facts:
        """Return what the server tells of an object that is still what was listed."""
        ...

    def get(self, pin: Pin, offset: int, length: int, size: int, ended: threading.Event) -> tuple[Any, Any]:
        """Return the reply to a request for exactly a range, and what its bytes are read from."""
        ...

    def facts(self, pin: Pin, reply: Any, ended: threading.Event) -> Facts:  # noqa: ANN401  # each server's own
        """Return what a reply about the whole object tells of it."""
        ...

    def part_size(self, pin: Pin, number: int, ended: threading.Event) -> int | None:
        """Return the size of a part (from 1 on) that an object was uploaded in, None where nobody tells."""
        ...

    def wait(self, fruitless: int, ended: threading.Event) -> bool:
        """Wait before a reading that broke off goes on; False when it has done so too often without a byte."""
        ...


@dataclass(slots=True)
class UnderWay:
    """What is known of an object while its blobs are put, by whichever thread."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    facts: Facts | None = None
    comparison: Comparison | None = None


class UnderWays:
    """The objects of a source that are being put. Safe for several threads; memory: some hundred bytes for each."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[bytes, UnderWay] = {}

    def of(self, name: bytes) -> UnderWay:
        """Return what is known of an object, from now on."""
        with self._lock:
            return self._known.setdefault(name, UnderWay())

    def forget(self, name: bytes) -> UnderWay | None:
        """Return what was known of an object, and forget it."""
        with self._lock:
            return self._known.pop(name, None)


class OpenS3:
    """An object of S3 of which blobs are read. `blocks` is how they are put, and what S3 states is held against it.

    A reading holds a block of 1 MiB, and urllib3 as much again.
    """

    def __init__(self, reader: ObjectReader, item: SourceObject, *, known: UnderWays, remarks: Remarks) -> None:
        self._reader = reader
        self._item = item
        self._pin = Pin.of(item.name)
        self._known = known
        self._remarks = remarks
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._responses: set[Any] = set()
        self._ahead: _Ahead | None = None
        self._read_to = -1

    # -- bytes -------------------------------------------------------------------------------------------------

    def blocks(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield exactly the bytes of a range, in blocks of at most 1 MiB, for a blob that is to be put.

        One request gives them all, unless it breaks off. The last block comes only when all that was put of the object
        is what S3 states, as far as that can be told: SourceError, naming both digests, when it is not, and when the
        object is not any more what was listed. FarSideUnreachableError when nobody answers, FarSideDeniedError when
        nobody knows us, InterruptedRunError after `abort`.
        """
        known = self._known.of(self._item.name)
        in_one = (offset, length) == (0, self._item.size)
        if not in_one:
            self._facts_of(known)
        digested = None
        done = 0
        for block in self._range(offset, length, known if in_one else None):
            if digested is None:
                comparison = self._comparison_of(known, in_one=in_one)
                digested = comparison.begin(offset)
            if digested is not None:
                digested.update(block)
                if done + len(block) == length:
                    comparison.end(digested)
            done += len(block)
            yield block
        if not length:
            self._comparison_of(known, in_one=True)

    def _range(self, offset: int, length: int, known: UnderWay | None = None) -> Iterator[bytes]:
        """Yield the bytes of a range; the reply to the first request for a whole object tells what is `known` of it.

        Where reading breaks off it goes on where it was, with another request: four times without a byte, no more.
        """
        done = fruitless = 0
        while True:
            before = done
            try:
                for block in self._request(offset + done, length - done, known):
                    done += len(block)
                    yield block
                if done == length:
                    return
                raise FarSideUnreachableError(
                    f"{self._shown}: its reading broke off: {done:,} of {length:,} bytes have come"
                )
            except FarSideUnreachableError:
                fruitless = 0 if done > before else fruitless + 1
                if not self._reader.wait(fruitless, self._ended):
                    raise
            known = None

    def _request(self, offset: int, length: int, known: UnderWay | None) -> Iterator[bytes]:
        """Yield what one request gives of a range: all of it, or less."""
        reply, raw = self._reader.get(self._pin, offset, length, self._item.size, self._ended)
        with self._lock:
            self._responses.add(raw)
        try:
            if known is not None:
                facts = self._reader.facts(self._pin, reply, self._ended)
                with known.lock:
                    known.facts = known.facts or facts
            left = length
            while left:
                with reading(self._shown):
                    block = raw.read(min(READ_BYTES, left))
                if not block or self._ended.is_set():
                    return
                left -= len(block)
                yield block
        finally:
            with self._lock:
                self._responses.discard(raw)
            raw.close()

    def body(self, offset: int, length: int, *, counter: Callable[[int], None]) -> S3Body:
        """Return a body that reads the range while it is sent, anew each time."""
        return S3Body(self, offset, length, counter)

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly these bytes; what is read on from there comes from one request.

        Errors as those of `blocks`, but nothing is held against what S3 states.
        """
        if not length:
            return b""
        with self._lock:
            ahead, self._ahead = self._ahead, None
            goes_on, self._read_to = self._read_to == offset, offset + length
        if ahead is None or ahead.at != offset:
            if ahead is not None:
                ahead.close()
            if not goes_on:
                return b"".join(self._range(offset, length))
            ahead = _Ahead(self._range(offset, self._item.size - offset), offset)
        data = ahead.take(length)
        with self._lock:
            self._ahead, ahead = ahead, self._ahead
        if ahead is not None:
            ahead.close()
        return data

    # -- what goes with them ---------------------------------------------------------------------------------------

    def check_unchanged(self) -> None:
        """Accept: every byte comes from the very object that was listed, or not at all."""

    def metadata(self) -> Mapping[str, str]:
        """Return what S3 keeps with the object, and where it came from; asks for it unless a reply has told it."""
        attributes, _ = self._facts_of(self._known.of(self._item.name)).attributes.fitting()
        modified = datetime.fromtimestamp(self._item.modified_ns // 1_000_000_000, UTC)
        found = {**attributes.to_metadata(), LAST_MODIFIED: modified.isoformat()}
        return {**found, ETAG: self._pin.etag} if self._pin.etag else found

    def has_etag(self, etag: str | None) -> bool:
        """Whether its ETag is this one, as far as it looks like an MD5: nothing else has the same by chance."""
        md5 = md5_of_etag(self._pin.etag)
        return md5 is not None and md5 == md5_of_etag(etag)

    def is_same(self, head: ObjectHead) -> bool | None:
        """Whether an object of the appliance has the bytes of this one, by what both sides state; None: nobody knows.

        No byte is read. What was put from the very same object says so itself; else digests of the same type tell.
        """
        if head.size != self._item.size:
            return False
        etag = head.metadata.get(ETAG)
        if etag and etag == self._pin.etag:
            return True
        stated = self._reader.head(self._pin, self._item.size, self._ended).stated
        theirs = KnownDigests.of_head(head)
        same = KnownDigests(self._item.size, stated=stated.common).agrees_with(theirs)
        if same is None and self.has_etag(head.etag):
            return True
        # Of another object, or of another state of this one: that nobody knows their digests does not make them one.
        return False if same is None and etag else same

    def _facts_of(self, known: UnderWay) -> Facts:
        with known.lock:
            if known.facts is None:
                known.facts = self._reader.head(self._pin, self._item.size, self._ended)
            return known.facts

    def _comparison_of(self, known: UnderWay, *, in_one: bool) -> Comparison:
        """Return what holds the object's bytes against what S3 states of them."""
        stated = self._facts_of(known).stated
        with known.lock:
            if known.comparison is None:
                check = stated.check(
                    in_one=in_one,
                    size=self._item.size,
                    part_size=lambda: self._reader.part_size(self._pin, 1, self._ended),
                )
                known.comparison = Comparison(
                    self._shown, self._item.size, check, is_cut=lambda: self._is_cut(check, stated.parts or 0)
                )
            return known.comparison

    def _is_cut(self, check: Check | None, parts: int) -> bool:
        """Whether all of so many parts but the last have the size that is held against; where nobody tells, they do."""
        sizes = (self._reader.part_size(self._pin, number, self._ended) for number in range(2, parts))
        return check is None or all(size in {None, check.cut} for size in sizes)

    # -- its end -----------------------------------------------------------------------------------------------

    def forget(self, *, moved: bool) -> None:
        """Let go of what is known of the object: all of it is put, or it is given up."""
        known = self._known.forget(self._item.name)
        if known is None or not moved:
            return
        key, facts = self._item.key, known.facts
        if known.comparison is None or not known.comparison.held:
            self._remarks.not_compared(key)
        if facts is None:
            return
        _, left_out = facts.attributes.fitting()
        if left_out or facts.hidden:
            self._remarks.left_out(key, (*left_out, *(["what no header can carry"] if facts.hidden else [])))
        if facts.tags_missing:
            self._remarks.tags_missing(key)

    def abort(self) -> None:
        """Make every reading end soon, with InterruptedRunError or as one that broke off. From any thread."""
        self._ended.set()
        with self._lock:
            for raw in self._responses:
                with contextlib.suppress(ValueError, RuntimeError, OSError):  # it has come to its end meanwhile
                    raw.shutdown()

    def close(self) -> None:
        """Let go of what was read ahead. Twice is harmless."""
        with self._lock:
            ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.close()

    @property
    def _shown(self) -> str:
        return self._reader.shown(self._pin.key)


class _Ahead:
    """A reading that goes on from `at`, and what of it has come and was not asked for yet."""

    def __init__(self, blocks: Iterator[bytes], at: int) -> None:
        self.at = at
        self._blocks = blocks
        self._rest = b""

    def take(self, length: int) -> bytes:
        """Return the next bytes."""
        pieces, left = [self._rest[:length]], length - len(self._rest)
        self._rest = self._rest[length:]
        while left > 0:
            block = next(self._blocks)
            pieces.append(block[:left])
            self._rest = block[left:]
            left -= len(block)
        self.at += length
        return b"".join(pieces)

    def close(self) -> None:
        """Give the reading up."""
        close = getattr(self._blocks, "close", None)
        if close is not None:
            close()


@dataclass(frozen=True, slots=True)
class S3Body:
    """A range of an object that is read while it is sent."""

    opened: OpenS3
    offset: int
    length: int
    counter: Callable[[int], None]

    def send_to(self, wire: Wire) -> None:
        """Send block after block."""
        for block in self.opened.blocks(self.offset, self.length):
            wire.send(block)
            self.counter(len(block))
