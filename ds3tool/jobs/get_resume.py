"""What is there already of a get's objects, at the target and on its way there: looked at before a run goes on."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from ds3tool.client import Ds3Client
from ds3tool.errors import (
    ForbiddenError,
    InterruptedRunError,
    NotFoundError,
    SinkError,
    SourceError,
)
from ds3tool.jobs.ends import KeepingSink, TargetObject
from ds3tool.jobs.get_found import Begun, Found
from ds3tool.jobs.get_targets import Targets
from ds3tool.jobs.known_digests import READ_BYTES, KnownDigests
from ds3tool.jobs.pieces import covered
from ds3tool.jobs.remainder import Remainder
from ds3tool.jobs.state import JobState
from ds3tool.protocol.checksums import new_hasher, to_base64
from ds3tool.protocol.ranges import ByteRange
from ds3tool.transport.pool import Transport

T = TypeVar("T")
R = TypeVar("R")

_TICK_SECONDS = 0.2
# So many objects are looked at between two ticks where each takes microseconds.
_AT_ONCE = 500
_KEPT_FOLDERS = 16


class Looker:
    """Looks at what is there of one plan: `tick` is called a few times a second, and may end it by raising.

    With `listed`, the job's own list of this moment, blobs that are on it and that no earlier run recorded as through
    are to be fetched; without one there is no job, and whatever is on the disk is held against its digests. `trusted`
    are ranges that this very run has stored or checked. The bytes are read by `threads` at once.
    """

    def __init__(
        self,
        client: Ds3Client,
        sink: KeepingSink,
        targets: Targets,
        remainder: Remainder,
        *,
        listed: JobState | None,
        trusted: Mapping[int, Begun],
        threads: int,
        transport: Transport,
        tick: Callable[[], None],
    ) -> None:
        self._client = client
        self._transport = transport
        self._sink = sink
        self._targets = targets
        self._plan = remainder.plan
        self._appeared = remainder.appeared
        self._held = remainder.held
        self._arriving = {(one.owner, one.offset, one.length): one.done for one in remainder.arriving}
        self._cut_owners = {one.owner for one in remainder.arriving}
        self._listed = listed
        self._trusted = trusted
        self._threads = threads
        self._tick = tick
        self._stopped = threading.Event()
        # What is in the folders that were looked into last.
        self._beside: OrderedDict[str, tuple[Container[str], bool]] = OrderedDict()

    def look(self) -> Found:
        """Return what is there. An appliance that cannot be reached, and whatever `tick` raises, ends it."""
        found = Found()
        begun = []
        for number in range(len(self._plan)):
            if not number % _AT_ONCE:
                self._tick()
            if self._appeared[number]:
                continue
            item = self._plan.target_object(number)
            try:
                if self._is_there(item, found):
                    found.there.append(number)
                elif self._may_be_begun(number, item):
                    begun.append(number)
            except (ForbiddenError, NotFoundError, SinkError, SourceError) as error:
                found.failed.append((number, error))
        for number, one in self._in_parallel(begun, lambda number: self._examine(number, found)):
            if one is not None:
                found.begun[number] = one
        self._hash_doubtful(found)
        for number, one in found.begun.items():
            if not one.kept and not one.cut:
                self._sink.discard(self._plan.target_object(number))
                found.described.discard(number)
        return found

    # -- names that are there ----------------------------------------------------------------------------------

    def _is_there(self, item: TargetObject, found: Found) -> bool:
        """Whether an object has appeared, and was killed before it could be recorded; SinkError when another has."""
        if (item.name.endswith("/") and not item.size) or not self._may_have_name(item.name):
            return False
        size = self._sink.existing_size(item.name)
        if size is None or (item.replace and not self._may_have_appeared(item, size)):
            return False
        same = False if size != item.size else None if item.ranges else self._targets.is_same(item)
        if same:
            return True
        if item.replace:
            return False
        if same is None:
            found.unsure.add(item.number)
            return False
        raise SinkError(
            f"{item.name} is there already, and is not the same",
            hint="it came since the get was planned; move it away, and get the object again",
        )

    def _may_have_name(self, name: str) -> bool:
        """Whether it is worth a look if something has a name; names beyond ASCII may be stored as others."""
        last = name.rpartition("/")[2]
        names, _ = self._look_beside(name)
        return last in names or not last.isascii()

    def _look_beside(self, name: str) -> tuple[Container[str], bool]:
        folder = name.rpartition("/")[0]
        known = self._beside.get(folder)
        if known is None:
            known = self._beside[folder] = self._sink.names_beside(name)
            if len(self._beside) > _KEPT_FOLDERS:
                self._beside.popitem(last=False)
        return known

    def _may_have_appeared(self, item: TargetObject, size: int) -> bool:
        """Whether what is to be replaced may be what has replaced it."""
        if size != item.size or item.ranges:
            return False
        return self._listed is None or not any(True for _ in self._listed.numbers_of(item.number))

    # -- what was begun ----------------------------------------------------------------------------------------

    def _ranges_listed(self, number: int) -> list[ByteRange]:
        if self._listed is None:
            return []
        blobs = self._listed.blobs
        return [
            ByteRange(blobs.offsets[one], blobs.offsets[one] + blobs.lengths[one])
            for one in self._listed.numbers_of(number)
        ]

    def _may_be_begun(self, number: int, item: TargetObject) -> bool:
        """Whether a look at the object itself may save fetching bytes, or tell which are to be fetched."""
        if item.ranges:
            return self._listed is not None and not covered(item.ranges, self._ranges_listed(number))
        if not item.size:
            return False
        if number in self._trusted or number in self._cut_owners or any(True for _ in self._held.numbers_of(number)):
            return True
        if self._listed is None:
            return self._look_beside(item.name)[1] and self._sink.room_taken(item) is not None
        return not self._listed.covers(number, item.size)

    def _examine(self, number: int, found: Found) -> Begun | None:
        """Return what is known of an object that was begun; None where the appliance tells nothing of it."""
        item = self._plan.target_object(number)
        listed = self._ranges_listed(number)
        whole = ByteRange(0, item.size)
        unknown = Begun(KnownDigests(item.size), missing=[] if covered([whole], listed) else [whole])
        if item.ranges:
            unknown.missing = list(item.ranges)
            return unknown
        try:
            head = self._client.head_object(self._plan.bucket, item.key, version_id=self._version(number))
        except (ForbiddenError, NotFoundError):
            return unknown
        if head.size != item.size:
            return unknown
        known = KnownDigests.of_head(head)
        cuts = [ByteRange(offset, offset + length) for offset, length in known.cuts]
        if not cuts or not set(listed) <= set(cuts):
            return unknown
        if head.metadata:
            try:
                self._sink.describe(item, head.metadata)
            except SinkError as error:
                found.failed.append((number, error))
                return None
            found.described.add(number)
        begun = Begun(known, head.version_id)
        self._sort(begun, item, cuts, set(listed))
        return begun

    def _version(self, number: int) -> str | None:
        """Return which version a job is of: the one asked for, or the one that its list names."""
        asked = self._plan.version_ids.get(number)
        if asked is not None or self._listed is None:
            return asked
        return next((self._listed.blobs.version_ids[one] for one in self._listed.numbers_of(number)), None)

    def _sort(self, begun: Begun, item: TargetObject, cuts: list[ByteRange], listed: set[ByteRange]) -> None:
        """Say of each blob whether it is to be fetched by the job, hashed, or is missing."""
        number, known = item.number, begun.known
        trusted = self._trusted.get(number)
        may_trust = trusted is not None and trusted.known.blobs == known.blobs
        on_disk = self._sink.room_taken(item) is not None
        for blob in cuts:
            held = self._is_held(number, blob, known)
            done = self._arriving.get((number, blob.start, blob.length), 0)
            if may_trust and trusted is not None and blob in trusted.kept:
                begun.kept.append(blob)
            elif on_disk and (held or (blob not in listed and not done and self._may_hold(item, blob))):
                begun.doubtful.append(blob)
            else:
                if on_disk and 0 < done <= blob.length:
                    begun.cut[blob.start] = done
                if blob not in listed:
                    begun.missing.append(blob)

    def _is_held(self, number: int, blob: ByteRange, known: KnownDigests) -> bool:
        """Whether a blob was recorded as through, with the digest that the appliance states now."""
        place = self._held.find(number, blob.start, blob.length)
        if place is None:
            return False
        recorded = self._held.checksums[place]
        return recorded is None or self._held.kinds[place] != known.kind or recorded == known.blobs.get(blob.start)

    def _may_hold(self, item: TargetObject, blob: ByteRange) -> bool:
        try:
            return self._sink.may_hold(item, blob.start, blob.length)
        except SinkError:
            return False

    # -- the bytes on the disk ---------------------------------------------------------------------------------

    def _hash_doubtful(self, found: Found) -> None:
        """Hold each doubtful blob against its digest: kept when it is right, else to be fetched."""
        doubtful = ((number, blob) for number, begun in found.begun.items() for blob in begun.doubtful)
        for (number, blob), right in self._in_parallel(doubtful, lambda one: self._is_right(found, *one)):
            begun = found.begun[number]
            if right:
                begun.kept.append(blob)
            elif blob not in self._ranges_listed(number):
                begun.missing.append(blob)
        for begun in found.begun.values():
            begun.doubtful.clear()
            begun.kept.sort()

    def _is_right(self, found: Found, number: int, blob: ByteRange) -> bool:
        known = found.begun[number].known
        if known.kind is None:
            return False
        hasher = new_hasher(known.kind)
        item = self._plan.target_object(number)
        try:
            for start in range(blob.start, blob.end, READ_BYTES):
                if self._stopped.is_set():
                    raise InterruptedRunError("stopped while it looked at what is there")
                hasher.update(self._sink.read_unfinished(item, start, min(READ_BYTES, blob.end - start)))
        except SinkError:
            return False
        return to_base64(hasher.digest()) == known.blobs[blob.start]

    def _in_parallel(self, items: Iterable[T], act: Callable[[T], R]) -> Iterator[tuple[T, R]]:
        """Yield each of `items` with what `act` made of it, in some thread and in any order."""
        with ThreadPoolExecutor(self._threads, "ds3tool-look") as pool:
            pending: dict[Future[R], T] = {}
            try:
                for item in items:
                    pending[pool.submit(act, item)] = item
                    while len(pending) >= 4 * self._threads:
                        yield from self._done_of(pending)
                while pending:
                    yield from self._done_of(pending)
            except BaseException:
                self._stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                self._transport.stop_exchanges()
                raise

    def _done_of(self, pending: dict[Future[R], T]) -> Iterator[tuple[T, R]]:
        done, _ = wait(pending, _TICK_SECONDS, FIRST_COMPLETED)
        for one in done:
            yield pending.pop(one), one.result()
        self._tick()
