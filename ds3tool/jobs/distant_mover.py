"""Sends the blobs of objects that lie on another host: read once, digested as they pass, several at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ds3tool.errors import ApplianceError, Ds3Error, ForbiddenError, NotFoundError, ProtocolError, SourceError
from ds3tool.jobs.decisions import Decision, after_try
from ds3tool.jobs.distant_ends import DistantObject
from ds3tool.jobs.ends import OpenObject
from ds3tool.jobs.integrity import compare_sent
from ds3tool.jobs.put_mover import PutMover
from ds3tool.jobs.recorder import MovedBlobs
from ds3tool.jobs.remainder import HeldBlobs
from ds3tool.jobs.stream_mover import HeldBlocks
from ds3tool.jobs.waiting import ending_with
from ds3tool.jobs.whole_digests import ObjectDigests
from ds3tool.protocol.checksums import Hasher, new_hasher, to_base64
from ds3tool.protocol.model import ObjectHead, PutResult
from ds3tool.transport.bodies import Wire

# A blob up to this size is held in memory until it is sent: then its digest goes ahead, and it is sent again without
# being read again.
HELD_BYTES = 8 * 1024 * 1024


class DistantMover(PutMover):
    """Moves the blobs of one put job from another host, each by a thread, without a file in between.

    A blob of at most 8 MiB is read into memory, and its digest goes ahead of it. A larger one goes from the one host to
    the other through a small buffer; it counts as put only when the appliance states the digest of what has passed: in
    its reply, or beside the whole object, for which `prove` asks. Where it demands digests ahead, or one of the whole
    object is wanted that goes with its first blob, such a blob is read twice. What breaks off is read again, or on
    from where it was, for as long as an exchange would be repeated.

    Memory: transfers x (8 MiB + the source's buffers); small objects cost what they are.
    """

    def __init__(self, *args: Any, earlier: HeldBlobs | None = None, **options: Any) -> None:  # noqa: ANN401
        """Take what a PutMover takes."""
        super().__init__(*args, earlier=earlier, **options)
        self._earlier = earlier or HeldBlobs()
        self._lock = threading.Lock()
        # By object, then by offset: digests of blobs that the appliance has taken without stating its own.
        self._unproved: dict[int, dict[int, str]] = {}
        # By object: how many of its blobs are still to be put. The last of one with such blobs is not recorded before
        # all of it is proved: whoever resumes this work would take it for that.
        self._to_put: dict[int, int] = {}
        self._kept_back: dict[int, tuple[int, str | None]] = {}

    def small_request(self, number: int) -> bytes | None:  # noqa: ARG002
        """Return None: whoever waits for another host is a thread of its own."""
        return None

    def move(self, number: int, counter: Callable[[int], None]) -> str | None:
        """Read one blob from where it is, and send it."""
        opened = self._open(number)
        try:
            if not isinstance(opened, DistantObject):
                return self._move_digested(number, opened, counter)
            key = self._blobs.keys[number]
            with self._transport.stopping(opened.abort), ending_with(self._transport, self._source, key):
                if self._blobs.lengths[number] <= HELD_BYTES and not self._needs_all(number):
                    checksum = self._move_held(number, opened, opened, counter)
                elif self._digest_demanded or self._needs_all(number):
                    checksum = self._move_digested(number, opened, counter)
                else:
                    checksum = self._move_passing(number, opened, opened, counter)
        finally:
            opened.close()
        self._through(number, checksum)
        return checksum

    def _through(self, number: int, checksum: str | None) -> None:
        """Keep a blob back from being recorded when it is the last one of an object that is to be proved."""
        owner = self._owners[number]
        with self._lock:
            left = self._to_put.get(owner)
            if left is None:
                left = sum(not self._blobs.in_cache[one] for one in self._state.numbers_of(owner))
            self._to_put[owner] = left - 1
            if left == 1 and owner in self._unproved:
                self._kept_back[owner] = number, checksum

    @property
    def keeps_back(self) -> Callable[[int], bool] | None:
        """What says whether a blob is the last of an object of which the appliance has not stated all digests."""
        return self._keeps_back

    def _keeps_back(self, number: int) -> bool:
        with self._lock:
            return self._kept_back.get(self._owners[number], (-1, None))[0] == number

    def _needs_all(self, number: int) -> bool:
        """Whether more than the blob has to be read before it is sent: for a digest of the whole object."""
        if self._whole is None:
            return False
        size, blobs = self._plan.sizes[self._owners[number]], len(self._cuts(number))
        in_memory = self._blobs.lengths[number] == size <= HELD_BYTES
        return self._whole.is_needed(blobs) and not in_memory

    def _digests(self, number: int, opened: OpenObject) -> ObjectDigests:
        """Return digests as a PutMover does, reading again where the other host does not answer."""
        return self._transport.patiently(lambda: super(DistantMover, self)._digests(number, opened))

    def _move_held(
        self, number: int, opened: OpenObject, distant: DistantObject, counter: Callable[[int], None]
    ) -> str | None:
        offset, length = self._blobs.offsets[number], self._blobs.lengths[number]
        held = self._transport.patiently(lambda: [*distant.blocks(offset, length)])
        stored_with = self._transport.patiently(lambda: self._metadata(opened))
        if self._whole is not None:
            stored_with = {**stored_with, **self._whole.metadata_of(b"".join(held))}
        checksum = None
        if self._checksum_type is not None:
            hasher = new_hasher(self._checksum_type)
            for block in held:
                hasher.update(block)
            checksum = to_base64(hasher.digest())
        self._put_held(number, HeldBlocks(held, length, counter), checksum, stored_with)
        return checksum

    def _move_passing(
        self, number: int, opened: OpenObject, distant: DistantObject, counter: Callable[[int], None]
    ) -> str | None:
        """Send a blob that is digested as it passes, and hold the appliance's digest against ours.

        Where it does not state any now, `prove` asks for it once the object is whole.
        """
        key, offset, kind = self._blobs.keys[number], self._blobs.offsets[number], self._checksum_type
        stored_with = self._transport.patiently(lambda: self._metadata(opened))
        body = PassingBody(
            distant,
            offset,
            self._blobs.lengths[number],
            (lambda: None) if kind is None else (lambda: new_hasher(kind)),
            counter,
        )

        def ask() -> PutResult | None:
            """Return an answer without a digest when all of the blob is there: that is held against ours later."""
            if not body.complete:
                return None
            if self._has(number, body.checksum):
                return PutResult(checksum_type=kind, checksum=body.checksum)
            return PutResult() if self._is_in_cache(number) else None

        self._attempted[number] = 1
        try:
            result = self._client.put_object(
                self._plan.bucket, key, body, job_id=self.job_id, offset=offset, metadata=stored_with, ask=ask
            )
        except (ApplianceError, ProtocolError) as error:
            decision = after_try(error, sends=True, damaged=False, sent=body.complete, repeatable=False)
            asked = ask() if decision is Decision.ASK_FIRST else None
            if asked is None:
                raise
            result = asked
        checksum = body.checksum
        if checksum is None:
            return None
        if result.checksum is not None and result.checksum_type == kind:
            compare_sent(key, offset, expected=checksum, actual=result.checksum)
            return checksum
        with self._lock:
            self._unproved.setdefault(self._owners[number], {})[offset] = checksum
        return checksum

    # -- what nobody has vouched for yet ---------------------------------------------------------------------------

    def prove(self, owners: Iterable[int]) -> Iterator[tuple[int, MovedBlobs | Ds3Error]]:
        """Hold what the appliance states of objects that are whole now against what was sent without its word for it.

        Yields the blobs that were kept back, or an error where the digests are not ours, or are not stated at all.
        """
        for owner in owners:
            with self._lock:
                digests = self._unproved.pop(owner, None)
                kept_back = self._kept_back.pop(owner, None)
            if digests is None:
                continue
            try:
                self._hold_against(owner, {**self._recorded_earlier(owner), **digests})
            except Ds3Error as error:
                yield owner, error
                continue
            if kept_back is not None:
                yield owner, self._blob(owner, *kept_back)

    def _recorded_earlier(self, owner: int) -> dict[int, str]:
        """Return the digests, by offset, of blobs that an earlier run has sent, and may not have proved."""
        held = self._earlier
        return {
            held.offsets[place]: digest
            for place in held.numbers_of(owner)
            if held.kinds[place] == self._checksum_type and (digest := held.checksums[place]) is not None
        }

    def _hold_against(self, owner: int, digests: dict[int, str]) -> None:
        key = self._plan.keys[owner]
        head = self._head(owner)
        if head is None or head.checksum_type != self._checksum_type:
            raise SourceError(
                f"{key}: the appliance states no digests of what it received, so nobody knows that it is whole",
                hint="put it from a disk, whose digests go ahead",
            )
        for offset, digest in digests.items():
            compare_sent(key, offset, expected=digest, actual=head.checksums.get(offset))

    def _blob(self, owner: int, number: int, checksum: str | None) -> MovedBlobs:
        offset, length = self._blobs.offsets[number], self._blobs.lengths[number]
        version, kind = self._blobs.version_ids[number], self._checksum_type
        return MovedBlobs([owner], [offset], [length], [kind], [checksum], [version])

    def _head(self, owner: int) -> ObjectHead | None:
        """Return what HEAD tells of the object that this job has made; None when that is not there."""
        try:
            head = self._client.head_object(self._plan.bucket, self._plan.keys[owner])
        except (NotFoundError, ForbiddenError):
            return None
        return head if head.version_id == self.version_of(owner) else None

    # -- the end of an object --------------------------------------------------------------------------------------

    def object_moved(self, owner: int) -> None:
        """Forget what was read and sent of an object, the source too."""
        super().object_moved(owner)
        with self._lock:
            self._to_put.pop(owner, None)
        self._let_go(owner, moved=True)

    def object_failed(self, owner: int) -> None:
        """Forget what was read and sent of an object, the source too."""
        super().object_failed(owner)
        with self._lock:
            self._unproved.pop(owner, None)
            self._to_put.pop(owner, None)
            self._kept_back.pop(owner, None)
        self._let_go(owner, moved=False)

    def _let_go(self, owner: int, *, moved: bool) -> None:
        try:
            opened = self._source.open(self._plan.source_object(owner))
        except Ds3Error:
            return  # of what cannot be opened nothing is kept
        try:
            if isinstance(opened, DistantObject):
                opened.forget(moved=moved)
        finally:
            opened.close()


class PassingBody:
    """A blob that goes from one host to the other, digested as it passes; read anew each time that it is sent."""

    def __init__(
        self,
        source: DistantObject,
        offset: int,
        length: int,
        new: Callable[[], Hasher | None],
        counter: Callable[[int], None],
    ) -> None:
        self._source = source
        self._offset = offset
        self._length = length
        self._new = new
        self._counter = counter
        self._hasher: Hasher | None = None
        self._passed = -1

    @property
    def length(self) -> int:
        """Bytes of the blob."""
        return self._length

    @property
    def complete(self) -> bool:
        """Whether all of the blob was handed to the wire the last time that it was sent."""
        return self._passed == self._length

    @property
    def checksum(self) -> str | None:
        """The digest of what has passed the last time, in base64."""
        return None if self._hasher is None else to_base64(self._hasher.digest())

    def send_to(self, wire: Wire) -> None:
        """Send block after block, as they come."""
        self._passed, self._hasher = 0, self._new()
        for block in self._source.blocks(self._offset, self._length):
            if self._hasher is not None:
                self._hasher.update(block)
            wire.send(block)
            self._passed += len(block)
            self._counter(len(block))
