"""One object on its way into S3: its bytes gather, leave in parts or in one request, and appear once all are right."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ds3tool.errors import (
    ChecksumError,
    Ds3Error,
    InterruptedRunError,
    JournalError,
    SinkError,
)
from ds3tool.jobs.ends import TARGET_LOST, TargetObject
from ds3tool.protocol.ranges import ByteRange, trim
from ds3tool.sinks.s3_parts import Gathered, Grid, Piece
from ds3tool.sinks.s3_requests import SentPart
from ds3tool.sinks.s3_shipping import Shipping
from ds3tool.sinks.s3_uploads import Upload, abort

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.2


class Landing:
    """An object of which bytes have come. Several threads bring blobs at once, each blob in one thread at a time.

    `arguments` go beside the bytes; they count until the first part leaves. Parts that lie in one blob leave as they
    fill, and count once the blob is verified; a blob that comes again replaces them. Parts that have bytes of several
    blobs leave when all of these are verified. `ended` is told once after `finish`, from any thread: with None when the
    object has its key, else with what is wrong with it. `lost` is told before, of what every other object would meet.
    """

    def __init__(
        self,
        item: TargetObject,
        key: str,
        shipping: Shipping,
        *,
        ended: Callable[[Landing, Ds3Error | None], None],
        lost: Callable[[Landing, Ds3Error], None],
    ) -> None:
        self.item = item
        self.key = key
        self.grid = Grid.of(item.size)
        self.arguments: dict[str, Any] = {}
        self._shipping = shipping
        self._ended = ended
        self._lost = lost
        self._changed = threading.Condition()
        self._creating = threading.Lock()
        self._upload: Upload | None = None
        self._not_begun: Exception | None = None
        self._crc_of_whole = False
        # By part: what gathers, how many bytes of it are verified where it has bytes of several blobs, what S3 has.
        self._gathering: dict[int, Gathered] = {}
        self._right: dict[int, int] = {}
        self._sent: dict[int, SentPart] = {}
        self._on_way: set[int] = set()
        # By a blob's start: where its next byte goes; and its end, once it is verified.
        self._reached: dict[int, int] = {}
        self._verified: dict[int, int] = {}
        # The whole object, where it is made of ranges of another: their bytes may come again at any time.
        self._loose: Gathered | None = None
        self._error: Ds3Error | None = None
        self._due = False
        self._told = False
        self._over = False

    def describe(self, arguments: dict[str, Any]) -> bool:
        """Let these go beside the bytes; return False when it is too late for that."""
        with self._changed:
            if (self._on_way or self._sent) and arguments != self.arguments:
                return False
            self.arguments = arguments
            return True

    # -- bytes -------------------------------------------------------------------------------------------------

    def begin(self, blob: ByteRange, done: int) -> bool:
        """Let a blob come from its byte `done` on; return False when it is there already and nothing is stored.

        What an earlier try has sent of one that comes anew does not count any more.
        """
        with self._changed:
            self._raise_if_failed()
            if self._verified.get(blob.start) == blob.end:
                return False
            reached = self._reached.get(blob.start)
            if done:
                if reached != blob.start + done:
                    raise SinkError(
                        f"{self.item.name}: bytes from {blob.start + done} came after those up to {reached}"
                    )
                return True
            if reached is not None and not self.grid.is_held:
                self._forget(blob)
            self._reached[blob.start] = blob.start
            return True

    def _forget(self, blob: ByteRange) -> None:
        """Forget the parts that lie in a blob, once none of them is on its way any more; with the lock held."""
        inner = [part for part in self.grid.parts_of(blob) if self.grid.inside(part, blob)]
        while self._on_way.intersection(inner):
            if self._shipping.stopped():
                raise InterruptedRunError("stopped while parts were on their way to S3")
            self._changed.wait(_LOOK_SECONDS)
        for part in inner:
            self._sent.pop(part, None)
            gathered = self._gathering.pop(part, None)
            if gathered is not None:
                gathered.close()

    def write(self, blob: ByteRange, data: bytes | bytearray | memoryview) -> None:
        """Store the next bytes of a blob; waits for room where there is none."""
        view = memoryview(data)
        at = self._reached[blob.start]
        while view:
            part = at // self.grid.part_bytes
            whole = self.grid[part]
            piece = view[: whole.end - at]
            self._gathered(part).write(at - whole.start, piece)
            at, view = at + len(piece), view[len(piece) :]
            self._reached[blob.start] = at
            if at == whole.end and self.grid.inside(part, blob) and not self.grid.is_held:
                self._send(part)

    def verified(self, blob: ByteRange) -> None:
        """Note that a blob is whole and right."""
        whole = []
        with self._changed:
            self._reached.pop(blob.start, None)
            self._verified[blob.start] = blob.end
            parts = self.grid.parts_of(blob)
            for part in {parts[0], parts[-1]} if parts and not self.grid.is_held else ():
                common = trim(self.grid[part], blob)
                if common is not None and not self.grid.inside(part, blob):
                    self._right[part] = self._right.get(part, 0) + common.length
                    if self._right[part] == self.grid[part].length:
                        whole.append(part)
        for part in whole:
            self._send(part)

    def write_loose(self, at: int, data: memoryview) -> None:
        """Store bytes that may come again, and that nobody has verified yet."""
        with self._changed:
            self._raise_if_failed()
            if self._loose is None:
                self._loose = self._shipping.room.take(self.item.size, stopped=self._shipping.stopped, loose=True)
        self._loose.write(at, data)

    def _gathered(self, part: int) -> Gathered:
        with self._changed:
            self._raise_if_failed()
            found = self._gathering.get(part)
        if found is not None:
            return found
        taken = self._shipping.room.take(self.grid[part].length, stopped=self._shipping.stopped)
        with self._changed:
            if self._error is None and not self._over and self._gathering.setdefault(part, taken) is taken:
                return taken
            taken.close()
            self._raise_if_failed()
            return self._gathering[part]

    def _raise_if_failed(self) -> None:
        if self._error is not None:
            raise self._error
        if self._over:
            raise SinkError(f"{self.item.name} cannot be written: it was given up")

    # -- parts -------------------------------------------------------------------------------------------------

    def _send(self, part: int) -> None:
        with self._changed:
            self._raise_if_failed()
            gathered = self._gathering.pop(part)
            self._on_way.add(part)
        gathered.leaves()
        self._shipping.submit(lambda: self._carry(part, gathered.piece(), gathered))

    def _carry(self, part: int, piece: Piece, gathered: Gathered | None) -> None:
        """Bring a part to S3; in a thread of its own."""
        failed: Ds3Error | None = None
        sent: SentPart | None = None
        try:
            if self._error is None and not self._over:
                sent = self._shipping.requests.part(
                    self.key, self._upload_id(), piece, number=part + 1, offset=self.grid[part].start
                )
        except Exception as error:  # noqa: BLE001  # whoever waits for the object must hear of it
            failed = of_object(self.item, error)
        finally:
            if gathered is not None:
                gathered.close()
        with self._changed:
            self._on_way.discard(part)
            if sent is not None:
                self._sent[part] = sent
            self._changed.notify_all()
        if failed is not None:
            self._fail(failed)
        self._go_on()

    def _upload_id(self) -> str:
        """Return the id of the object's upload in parts, begun and remembered at the first call."""
        with self._creating:
            if self._not_begun is not None:
                raise self._not_begun  # every part of it ends for the same reason, whichever is told of
            if self._upload is None:
                try:
                    self._begin_upload()
                except Exception as error:
                    self._not_begun = error
                    raise
            assert self._upload is not None
            assert self._upload.upload_id is not None
            return self._upload.upload_id

    def _begin_upload(self) -> None:
        self._shipping.wait_for_earlier()
        record, requests = self._shipping.record, self._shipping.requests
        self._upload = unnamed = record.begins(self.key)
        begun = requests.create(self.key, self.arguments)
        self._crc_of_whole = begun.crc_of_whole
        if begun.asked_again:  # what may be begun beside it is remembered until it is aborted
            self._upload = record.begins(self.key)
        self._upload = replace(self._upload, upload_id=begun.upload_id)
        record.begun(self._upload)
        if begun.asked_again:
            self._abort(unnamed, but=begun.upload_id)

    # -- the end -----------------------------------------------------------------------------------------------

    def finish(self, item: TargetObject) -> None:
        """All blobs have come: let the object appear, soon; it is told of as this, whatever its number was."""
        with self._changed:
            self.item = item
            self._due = True
            error = self._error
        if error is None:
            error = self._incomplete()
        if error is not None:
            self._fail(error)
        elif self._loose is not None and not self.grid.is_held:
            self._send_loose(self._loose)
        self._go_on()

    def _incomplete(self) -> SinkError | None:
        """Return what is wrong when not all bytes were verified that are to be there."""
        with self._changed:
            came = sum(end - start for start, end in self._verified.items())
        if self.item.ranges or came == self.item.size:
            return None
        return SinkError(f"{self.item.name} cannot be written: {came} bytes of {self.item.size} have come")

    def _send_loose(self, loose: Gathered) -> None:
        with self._changed:
            self._on_way.update(range(len(self.grid)))
        for part in range(len(self.grid)):
            piece = loose.piece(self.grid[part].start, self.grid[part].end)
            self._shipping.submit(lambda part=part, piece=piece: self._carry(part, piece, None))  # type: ignore[misc]  # bound now

    def _go_on(self) -> None:
        """Do what is next, once nothing is on its way."""
        with self._changed:
            if self._on_way or self._over:
                return
            if self._error is None:
                if not self._due:
                    return
                act = self._put if self.grid.is_held else self._complete
            else:
                act = self._clear
            self._over = True
        if act == self._put:
            for gathered in self._held():
                gathered.leaves()
        self._shipping.submit(act)

    def _held(self) -> list[Gathered]:
        with self._changed:
            return [*self._gathering.values(), *(() if self._loose is None else (self._loose,))]

    def _put(self) -> None:
        self._appear(self._put_whole)

    def _put_whole(self) -> None:
        held = self._held()
        gathered = held[0] if held else self._shipping.room.take(0, stopped=self._shipping.stopped)
        self._shipping.requests.put(self.key, gathered.piece(), self.arguments, replace=self.item.replace)

    def _complete(self) -> None:
        self._appear(self._complete_parts)

    def _complete_parts(self) -> None:
        assert self._upload is not None
        parts = [self._sent[part] for part in range(len(self.grid))]
        if self._shipping.requests.complete(
            self.key, self._upload_id(), parts, crc_of_whole=self._crc_of_whole, replace=self.item.replace
        ):
            self._shipping.record.ended(self._upload)
            self._upload = None

    def _appear(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001  # whoever waits for the object must hear of it
            self._fail(of_object(self.item, error))
        self._clear()
        self._tell(self._error)

    def _fail(self, error: Ds3Error) -> None:
        with self._changed:
            is_first = self._error is None
            self._error = self._error or error
            error, due = self._error, self._due
            self._changed.notify_all()
        if due:
            self._tell(error)
        elif is_first and isinstance(error, TARGET_LOST):
            self._lost(self, error)

    def _tell(self, error: Ds3Error | None) -> None:
        with self._changed:
            told, self._told = self._told, True
        if not told:
            self._ended(self, error)

    def drop(self) -> None:
        """Give the object up; nobody brings bytes of it any more. What S3 has of it is taken away, soon."""
        with self._changed:
            if self._error is None:
                self._error = SinkError(f"{self.item.name} was given up")
            self._told = True
        self._go_on()

    def _clear(self) -> None:
        """Let go of all room, and of the upload that was not completed."""
        for gathered in self._held():
            gathered.close()
        with self._changed:
            self._gathering.clear()
            self._loose = None
            upload, self._upload = self._upload, None
        if upload is not None:
            self._abort(upload)

    def _abort(self, upload: Upload, *, but: str | None = None) -> None:
        try:
            abort(self._shipping.requests.client, upload, but=but)
        except Ds3Error as error:
            _log.warning("the upload of %s is not aborted yet: %s", self.key, error)
            return
        self._shipping.record.ended(upload)


def of_object(item: TargetObject, error: Exception) -> Ds3Error:
    """Return the error that says which object could not be written, and why; what would befall all others stays."""
    if isinstance(error, (*TARGET_LOST, ChecksumError, JournalError, InterruptedRunError)):
        return error
    if isinstance(error, Ds3Error):
        failed = SinkError(f"{item.name} cannot be written: {error.message}", hint=error.hint)
    else:
        failed = SinkError(f"{item.name} cannot be written: {error!r}")
    failed.__cause__ = error
    return failed
