"""A stream as a sink: objects go out one after the other, as `cat` shows them."""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import select
import stat
import sys
import termios
import threading
from collections.abc import Callable, Mapping
from dataclasses import field

from ds3tool.errors import ChecksumError, Ds3Error, InterruptedRunError, SinkError
from ds3tool.jobs.arrival import Arrival
from ds3tool.jobs.ends import TargetObject
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.checksums import to_base64
from ds3tool.protocol.messages import Response

# A blob of at most this many bytes is held in memory until its digest is known to be right.
HELD_BYTES = 64 * 1024 * 1024
_FILE_BYTES = 64 * 1024 * 1024
# How often a writer that waits looks whether it is to give up.
_POLL_MILLISECONDS = 200


@dataclass(slots=True)
class _Written:
    """How far the blob under way has gone out, and the SHA-256 of what did.

    `held` is what came of one that goes out in one go. Of one that comes anew from its start, `left` has seen what
    came; the first `before` bytes have gone out at an earlier try, and `differs` says that they were others.
    """

    offset: int
    length: int
    done: int = 0
    digest: bytes = b""
    held: bytearray = field(default_factory=bytearray)
    left: hashlib._Hash = field(default_factory=hashlib.sha256)
    before: int = 0
    differs: bool = False


class StreamSink:
    """Writes objects to an open descriptor, which stays the caller's, in the order in which they come.

    A blob of at most 64 MiB leaves when it is verified; a larger one as it comes, and the error that says that it
    was damaged says that it has left. Once an object has ended in the middle nothing more is written: every later
    one fails by name. Raises BrokenPipeError when whoever read the stream has gone.

    Memory is one blob of at most 64 MiB; blobs come one at a time, those of one object in order.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._stopped: Callable[[], bool] = lambda: False
        self._poll: select.poll | None = None
        self._pipe_bytes = 0
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            self._poll = select.poll()
            self._poll.register(descriptor, select.POLLOUT)
        if stat.S_ISFIFO(mode) and hasattr(fcntl, "F_GETPIPE_SZ"):
            self._pipe_bytes = fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ)
        self._lock = threading.Lock()
        self._settled_lock = threading.Lock()  # nobody who settles waits for bytes to come
        self._item: TargetObject | None = None
        # Bytes of the object that have left in blobs that are through.
        self._position = 0
        self._blob: _Written | None = None
        # Why nothing more may be written, and the damage that is the reason for it.
        self._broken: str | None = None
        self._damage: ChecksumError | None = None
        self._settled: list[tuple[TargetObject, Ds3Error | None]] = []

    @property
    def sequential(self) -> bool:
        """Bytes are taken in order only."""
        return True

    @property
    def notes(self) -> list[str]:
        """Why nothing more was written, when that is so."""
        return [] if self._broken is None else [self._broken]

    # -- names -------------------------------------------------------------------------------------------------

    def check_name(self, name: str) -> None:
        """Take any name: none is given to anything."""

    def existing_size(self, name: str) -> int | None:  # noqa: ARG002  # as every sink is asked
        """Return None: nothing is there before it is written."""
        return None

    def read_existing(self, name: str, offset: int, length: int) -> bytes:  # noqa: ARG002  # as every sink is asked
        """Raise SinkError: what has gone out cannot be read again."""
        raise SinkError(f"{name}: what was written to a stream cannot be read again")

    def is_link(self, name: str) -> bool:  # noqa: ARG002  # as every sink is asked
        """Return False."""
        return False

    def free_name(self, name: str) -> str:
        """Return `name`."""
        return name

    def free_bytes(self) -> int | None:
        """Return None: nobody can tell what a stream takes."""
        return None

    @property
    def wants_metadata(self) -> bool:
        """A stream has no attributes."""
        return False

    def describe(self, item: TargetObject, metadata: Mapping[str, str]) -> None:
        """Take no notice: a stream has no attributes."""

    # -- bytes -------------------------------------------------------------------------------------------------

    def receive(
        self, item: TargetObject, arrival: Arrival, response: Response, *, counter: Callable[[int], None]
    ) -> str | None:
        """Write what has not left yet of one blob; when it comes again from its start, what has left is compared."""
        with self._lock:
            blob = self._begin(item, arrival.blob.start, arrival.length)
            take = self._hold if arrival.length <= HELD_BYTES else self._pass_on
            try:
                actual = take(item, blob, arrival, response, counter)
            except Ds3Error as error:
                if self._left_of_it and error is not self._damage:
                    told = f"{self._left_of_it} bytes of {item.key} were written already"
                    error.hint = f"{error.hint}; {told}" if error.hint else told
                raise
            self._end(blob)
            return actual

    def receive_small(self, item: TargetObject, offset: int, data: memoryview) -> None:
        """Write one blob that was verified by the caller."""
        with self._lock:
            blob = self._begin(item, offset, len(data))
            self._write_held(item, blob, bytes(data))
            self._end(blob)

    def _hold(
        self,
        item: TargetObject,
        blob: _Written,
        arrival: Arrival,
        response: Response,
        counter: Callable[[int], None],
    ) -> str | None:
        """Write a blob when all of it is there and verified."""
        if not arrival.done:
            blob.held.clear()
        for block in response.body:
            arrival.check_room(len(block))
            blob.held += block
            arrival.took(block)
            counter(len(block))
        actual = arrival.verified()
        self._write_held(item, blob, blob.held)
        blob.held = bytearray()
        return actual

    def _write_held(self, item: TargetObject, blob: _Written, data: bytes | bytearray) -> None:
        digest = hashlib.sha256(data).digest()
        if not blob.done:
            self._write(item, data)
            blob.done, blob.digest = len(data), digest
        elif digest != blob.digest:
            raise self._spoiled(item, blob, expected=to_base64(digest), actual=to_base64(blob.digest))

    def _pass_on(
        self,
        item: TargetObject,
        blob: _Written,
        arrival: Arrival,
        response: Response,
        counter: Callable[[int], None],
    ) -> str | None:
        """Write a blob as it comes. What has left at an earlier try is compared and not written again.

        Where it differs nothing more is written: when this try has the right digest, what has left is wrong.
        """
        if not arrival.done:
            blob.left, blob.before, blob.differs = hashlib.sha256(), blob.done, False
        for block in response.body:
            arrival.check_room(len(block))
            known = min(len(block), max(0, blob.before - arrival.done))
            arrival.took(block)
            if known:
                blob.left.update(block[:known])
                blob.differs = arrival.done >= blob.before and blob.left.digest() != blob.digest
            if known < len(block) and not blob.differs:
                self._write(item, block[known:])
                blob.left.update(block[known:])
                blob.done = arrival.done
                blob.digest = blob.left.digest()
            counter(len(block))
        try:
            actual = arrival.verified()
        except ChecksumError as error:
            if blob.differs:
                raise
            raise self._spoiled(item, blob, expected=error.expected, actual=error.actual) from error
        if blob.differs:
            raise self._spoiled(item, blob, expected=actual or "", actual="")
        return actual

    def _begin(self, item: TargetObject, offset: int, length: int) -> _Written:
        """Return the record of a blob that may be written now; SinkError when it is not its turn."""
        if self._damage is not None and self._damage.key == item.key:
            raise self._damage
        if self._item is None or not _same(self._item, item):
            self._end_object()
        if self._broken is not None:
            raise SinkError(f"{item.key} is not written: {self._broken}")
        if self._item is None or not _same(self._item, item):
            self._item, self._position, self._blob = item, 0, None
        blob = self._blob
        if blob is not None and (blob.offset, blob.length) == (offset, length):
            return blob
        if offset != self._position or (blob is not None and blob.done < blob.length):
            raise SinkError(f"{item.key}: bytes from {offset} came before those from {self._position}")
        self._blob = _Written(offset, length)
        return self._blob

    def _end(self, blob: _Written) -> None:
        self._position = blob.offset + blob.length

    def _end_object(self) -> None:
        """See to it that nothing follows half an object."""
        if self._broken is None and self._item is not None and 0 < self._left_of_it < self._item.size:
            self._broken = (
                f"the stream has ended in the middle of {self._item.key}, "
                f"of whose {self._item.size} bytes {self._left_of_it} were written"
            )

    @property
    def _left_of_it(self) -> int:
        """Bytes of the object under way that have left."""
        return max(self._position, 0 if self._blob is None else self._blob.offset + self._blob.done)

    def _spoiled(self, item: TargetObject, blob: _Written, *, expected: str, actual: str) -> ChecksumError:
        self._broken = f"what was written of {item.key} before is wrong"
        self._damage = ChecksumError(
            f"{item.key}: the blob at {blob.offset} came damaged, and {blob.done} bytes of it were written already: "
            "what has gone to the stream is wrong",
            key=item.key,
            offset=blob.offset,
            expected=expected,
            actual=actual,
            hint="throw away what was written; get the object into a folder, where nothing unverified appears",
        )
        return self._damage

    def _write(self, item: TargetObject, data: bytes | bytearray) -> None:
        view = memoryview(data)
        while view:
            try:
                room = self._wait_for_room()
                view = view[os.write(self._descriptor, view[:room]) :]
            except BlockingIOError:
                continue  # somebody shares the descriptor, and was quicker
            except BrokenPipeError:
                self._broken = "whoever read the stream has gone"
                raise
            except OSError as error:
                self._broken = f"the stream takes no more bytes: {error.strerror}"
                raise SinkError(f"{item.key} cannot be written: {self._broken}") from error

    def give_up_when(self, stopped: Callable[[], bool]) -> None:
        """Let a write that waits for the stream's reader end once `stopped` says so."""
        self._stopped = stopped

    def _wait_for_room(self) -> int:
        """Return how many bytes can be written without waiting for the stream's reader, once there are any."""
        if self._poll is None:
            return _FILE_BYTES
        while not self._poll.poll(_POLL_MILLISECONDS):
            if self._stopped():
                raise InterruptedRunError("stopped while it waited for whoever reads the stream")
        room = 0
        if self._pipe_bytes:
            unread = int.from_bytes(fcntl.ioctl(self._descriptor, termios.FIONREAD, bytes(4)), sys.byteorder)
            # A pipe holds pages, of which the first and the last may be full in part.
            room = self._pipe_bytes - unread - 2 * mmap.PAGESIZE
        # Where there is room for anything, there is for so much.
        return max(room, select.PIPE_BUF)

    # -- the end of an object ----------------------------------------------------------------------------------

    def finish(self, item: TargetObject) -> None:
        """Note that an object is through."""
        with self._settled_lock:
            self._settled.append((item, None))

    def abandon(self, item: TargetObject) -> None:
        """Note that nothing more comes of an object; when some of it has left, nothing may follow it."""
        if self._item is not None and _same(self._item, item):
            self._end_object()

    def settle(self, *, wait: bool) -> list[tuple[TargetObject, Ds3Error | None]]:  # noqa: ARG002  # as every sink is asked
        """Return the objects that were finished since the last call."""
        with self._settled_lock:
            settled, self._settled = self._settled, []
        return settled

    def close(self) -> None:
        """Do nothing: the descriptor is the caller's."""


def _same(one: TargetObject, other: TargetObject) -> bool:
    return (one.key, one.name, one.version_id, one.ranges) == (other.key, other.name, other.version_id, other.ranges)
