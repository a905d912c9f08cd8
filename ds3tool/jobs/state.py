"""The state of one job as a pure object: it decides, threads act. No lock, no wait, no socket in it.

Each blob goes its way through these states; only the arrows drawn here exist.

    WAITING ──offer──> READY ──take──> MOVING ──finish──> DONE
       │                 │               ├──put_back──> READY (for the careful path)
       │                 │               ├──not_there──> WAITING (one that was doubtful)
       ├──raise_doubts──> READY (a doubtful one)
       └────fail─────────┴───────────────┴──fail──> FAILED

A WAITING blob that the appliance turns out to have goes to DONE at once. So does, when a job is resumed, a blob that
an earlier run has moved. What only one of the two knows of, that run or the appliance, is doubtful: whoever takes it
asks first whether it is there.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from enum import IntEnum
from itertools import compress

from ds3tool.jobs.doubts import Doubt, Doubts
from ds3tool.jobs.listed_blobs import ListedBlobs
from ds3tool.jobs.ready_blobs import ReadyBlobs
from ds3tool.jobs.remainder import HeldBlobs
from ds3tool.protocol.blob_columns import BlobColumns
from ds3tool.protocol.model import Chunk

# A Retry-After of 0 says "at once": ask again this soon, and ever less often while nothing changes.
_SHORTEST_ASK_SECONDS = 0.05
_LONGEST_UNASKED_SECONDS = 1.0
# Chunks that are offered again while others are not ready yet say neither "wait" nor how long.
_LONGEST_REOFFERED_SECONDS = 5.0
# Stands for the chunk of blobs that no chunk names any more.
_NO_CHUNK = ""
# Where a reply without chunks states no Retry-After, the appliance's own default.
# Source: data path backend, default 60.
_DEFAULT_RETRY_AFTER_SECONDS = 60.0


class BlobState(IntEnum):
    """Where a blob is on its way."""

    WAITING = 0
    READY = 1
    MOVING = 2
    DONE = 3
    FAILED = 4


# As plain numbers, for what is done with each of half a million blobs.
_WAITING, _READY, _MOVING, _DONE = map(int, (BlobState.WAITING, BlobState.READY, BlobState.MOVING, BlobState.DONE))


class JobState:
    """All blobs of one job, and what to do next.

    `objects` are the keys asked for, in plan order. Blobs of other keys (an aggregating job is shared) are left
    alone. Blobs up to `small_limit` bytes wait in a queue of their own. `in_order`: blobs are taken one at a time,
    object by object in plan order and from the first byte to the last, whatever order they are offered in; with a
    `small_limit` of -1 only. Memory: about 40 bytes a blob beside its columns, and 200 more only once the appliance has
    cut the job into other chunks than it began with.
    """

    def __init__(
        self,
        chunks: Sequence[Chunk],
        objects: Sequence[str],
        *,
        small_limit: int,
        skip_cached: bool,
        in_order: bool = False,
        held: HeldBlobs | None = None,
        sizes: Sequence[int] = (),
    ) -> None:
        """Take the chunks of the job's creation; `skip_cached`: blobs in cache need nothing from us (a put).

        With `held`, what an earlier run has moved of a job, `chunks` are what the appliance lists of it now. Held blobs
        are DONE, also those that no chunk names any more. Of a put (`skip_cached`) a listed one is DONE when it is both
        held and in the cache, and doubtful when it is only one of the two; so is, by the objects' `sizes`, what is
        neither listed nor held of an object.
        """
        listed = ListedBlobs(objects, copied=held is not None)
        self.failed_objects = bytearray(len(objects))
        self._small_limit = small_limit
        self._skip_cached = skip_cached
        self._chunks: dict[str, range] = {}
        self._places: dict[tuple[str, int], int] | None = None
        self._left_in_chunk: dict[str, int] = {}
        self._chunk_of: list[str] = []
        for chunk in chunks:
            start = len(listed.blobs)
            listed.add(chunk)
            end = len(listed.blobs)
            if end > start:
                self._chunks[chunk.id] = range(start, end)
                self._left_in_chunk[chunk.id] = end - start
                self._chunk_of += [chunk.id] * (end - start)
        self.blobs, self.object_of = listed.blobs, listed.object_of
        self.blobs_left, self.listed = listed.blobs_of, listed.listed
        # Whether blob N is the only one of object N.
        self._is_straight = listed.in_plan_order and held is None
        if held is not None:
            self._add_unlisted(held, objects, sizes)
        self._link_blobs(len(objects))
        self._order = self._in_stream_order() if in_order else None
        self._next = 0
        self._states = bytearray(len(self.blobs))
        self._small: deque[int] = deque()
        self.large = ReadyBlobs()
        self._node_of_chunk: dict[str, str | None] = {}
        self.waiting = len(self.blobs)
        self.ready = 0
        self.moving = 0
        self.done = 0
        self.failed = 0
        self.objects_done = 0
        self.bytes_done = 0
        self._ask_at = 0.0
        self._idle_asks = 0
        self._chunk_ended = False
        self.doubts = Doubts(len(self.blobs) if held is not None else 0)
        if held is not None:
            self._settle_held(held)
        elif skip_cached:
            for number in compress(range(len(self.blobs)), self.blobs.in_cache):
                self._settle(number, BlobState.DONE)

    def _add_unlisted(self, held: HeldBlobs, objects: Sequence[str], sizes: Sequence[int]) -> None:
        """Add what no chunk names any more, in a chunk that is never offered: held blobs, and what is not known of."""
        start = len(self.blobs)

        def add(owner: int, offset: int, length: int, *, in_cache: bool) -> None:
            self.blobs.append(objects[owner], offset, length, in_cache=in_cache, version_id=None)
            self.object_of.append(owner)
            self.blobs_left[owner] += 1
            self.listed[owner] = 1
            self._chunk_of.append(_NO_CHUNK)

        self._link_blobs(len(objects))
        for owner in range(len(objects)):
            listed = {self.blobs.offsets[number] for number in self.numbers_of(owner)}
            for place in held.numbers_of(owner):
                if held.offsets[place] not in listed:
                    listed.add(held.offsets[place])
                    add(owner, held.offsets[place], held.lengths[place], in_cache=True)
        if sizes:
            self._link_blobs(len(objects))
            for owner, size in enumerate(sizes):
                for offset, length in self._gaps(owner, size):
                    add(owner, offset, length, in_cache=False)
        self._left_in_chunk[_NO_CHUNK] = len(self.blobs) - start

    def _gaps(self, owner: int, size: int) -> list[tuple[int, int]]:
        """Return offset and length of what no blob has of an object of `size` bytes."""
        gaps, end = [], 0
        for offset, length in self._ranges_of(owner):
            if offset > end:
                gaps.append((end, offset - end))
            end = max(end, offset + length)
        return [*gaps, (end, size - end)] if end < size else gaps

    def _settle_held(self, held: HeldBlobs) -> None:
        blobs = self.blobs
        for number, chunk in enumerate(self._chunk_of):
            known = held.find(self.object_of[number], blobs.offsets[number], blobs.lengths[number]) is not None
            if known and (blobs.in_cache[number] or not self._skip_cached):
                self._settle(number, BlobState.DONE)
            elif blobs.in_cache[number] and self._skip_cached:
                self.doubts.add(number, Doubt.UNRECORDED, waits=False)
                self._make_ready(number)
            elif known or (chunk == _NO_CHUNK and self._skip_cached):
                self.doubts.add(number, Doubt.NOT_IN_CACHE if known else Doubt.UNLISTED, waits=True)
        self._chunk_ended = False

    def _make_ready(self, number: int) -> None:
        self._states[number] = BlobState.READY
        self.large.append(number, self._node_of(number))
        self.waiting -= 1
        self.ready += 1

    def _link_blobs(self, objects: int) -> None:
        """Chain the blobs of each object, so that one object's can be found without a walk over all."""
        self._first_of: array[int] = array("i", [-1]) * objects
        self._next_of: array[int] = array("i", [-1]) * len(self.blobs)
        if self._is_straight:
            self._first_of[: len(self.blobs)] = array("i", range(len(self.blobs)))
            return
        for number in range(len(self.blobs) - 1, -1, -1):
            owner = self.object_of[number]
            self._next_of[number] = self._first_of[owner]
            self._first_of[owner] = number

    # -- what the appliance offers -----------------------------------------------------------------------------

    def asking(self) -> None:
        """Ready chunks are about to be asked for; whatever ends from now on may not be in the answer yet."""
        self._chunk_ended = False

    def offer(self, chunks: Sequence[Chunk], *, now: float, retry_after_seconds: float | None) -> int:
        """Take an answer of ready chunks; return how many blobs it made ready that were not before."""
        fresh = 0
        for chunk in chunks:
            self._node_of_chunk[chunk.id] = chunk.node_id
            numbers = self._numbers(chunk)
            if isinstance(numbers, range) and not self.doubts:
                fresh += self._offer_range(numbers)
                continue
            for number in numbers:
                if self._states[number] == BlobState.WAITING:
                    self.doubts.trust(number)
                    self._states[number] = BlobState.READY
                    self._queue(number)
                    fresh += 1
        self.waiting -= fresh
        self.ready += fresh
        if fresh:
            self._idle_asks = 0
            self._ask_at = now
        else:
            self._idle_asks += 1
            longest = _LONGEST_UNASKED_SECONDS
            if retry_after_seconds is None:
                retry_after_seconds = 0.0 if chunks else _DEFAULT_RETRY_AFTER_SECONDS
                longest = _LONGEST_REOFFERED_SECONDS
            growing = _SHORTEST_ASK_SECONDS * 2.0 ** min(self._idle_asks - 1, 10)
            self._ask_at = now + max(retry_after_seconds, min(growing, longest))
        return fresh

    def _offer_range(self, numbers: range) -> int:
        """Make those of a range ready that wait; return how many there were."""
        states, start, stop = self._states, numbers.start, numbers.stop
        waiting = states.count(_WAITING, start, stop)
        if not waiting:
            return 0
        if waiting == len(numbers) and max(self.blobs.lengths[start:stop]) <= self._small_limit:
            states[start:stop] = bytes((_READY,)) * waiting
            self._small.extend(numbers)
            return waiting
        for number in numbers:
            if states[number] == _WAITING:
                states[number] = _READY
                self._queue(number)
        return waiting

    def accept_received(self, chunks: Sequence[Chunk]) -> list[int]:
        """Take a put job's own list: blobs that wait here but are in the appliance's cache are through.

        Returns the numbers of the objects that this has ended. Of a resumed put they are asked after first.
        """
        there = {(blob.key, blob.offset) for chunk in chunks for blob in chunk.blobs if blob.in_cache}
        ended = []
        for number in list(self._waiting_numbers()):
            if (self.blobs.keys[number], self.blobs.offsets[number]) in there:
                if self.doubts:
                    self.doubts.trust(number)
                    self.doubts.add(number, Doubt.UNRECORDED, waits=False)
                    self._make_ready(number)
                    continue
                owner = self._settle(number, BlobState.DONE)
                if owner is not None:
                    ended.append(owner)
        return ended

    def given_up(self, chunks: Sequence[Chunk]) -> int:
        """Return how many blobs that wait here a put job's own list does not name any more: it was truncated."""
        listed = {(blob.key, blob.offset) for chunk in chunks for blob in chunk.blobs}
        keys, offsets = self.blobs.keys, self.blobs.offsets
        return sum(
            (keys[number], offsets[number]) not in listed
            for number in self._waiting_numbers()
            if not self.doubt_of(number)
        )

    def waiting_numbers(self) -> list[int]:
        """Return the blobs that no chunk has offered yet."""
        return list(self._waiting_numbers())

    def _waiting_numbers(self) -> Iterator[int]:
        return (number for number, state in enumerate(self._states) if state == BlobState.WAITING)

    def _numbers(self, chunk: Chunk) -> Sequence[int]:
        """Return the numbers of a chunk's blobs, found by place where the lists agree, else by key and offset."""
        known = self._chunks.get(chunk.id, range(0))
        if len(known) == len(chunk.blobs):
            listed = chunk.blobs if isinstance(chunk.blobs, BlobColumns) else BlobColumns.of(chunk.blobs)
            start, stop = known.start, known.stop
            if self.blobs.offsets[start:stop] == listed.offsets and self.blobs.keys[start:stop] == listed.keys:
                return known
        if self._places is None:
            places = {(self.blobs.keys[number], self.blobs.offsets[number]): number for number in known}
            if all((blob.key, blob.offset) in places for blob in chunk.blobs):
                return [places[blob.key, blob.offset] for blob in chunk.blobs]
            # The job was cut into other chunks since, or shares this one with others: look everywhere from now on.
            keys, offsets = self.blobs.keys, self.blobs.offsets
            self._places = {(keys[number], offsets[number]): number for number in range(len(keys))}
        found = (self._places.get((blob.key, blob.offset)) for blob in chunk.blobs)
        return [number for number in found if number is not None]

    def seconds_until_ask(self, now: float, *, enough: int) -> float | None:
        """Return how long until ready chunks should be asked for; None while that would serve nothing.

        Nobody asks while `enough` blobs or more are ready. An answer with nothing new says when to come back;
        a chunk that has ended since, or having nothing left to do, changes the case, and one more question is then
        allowed at once.
        """
        if not self.waiting or (self.ready >= enough and not self._lacks_next()):
            return None
        if self._chunk_ended:
            return 0.0
        return max(0.0, self._ask_at - now)

    def _lacks_next(self) -> bool:
        """Whether blobs are taken in order and the next one is not among those that are ready."""
        if self._order is None or self.moving:
            return False
        self._skip_ended(self._order)
        return self._next < len(self._order) and self._states[self._order[self._next]] == BlobState.WAITING

    # -- what workers do ---------------------------------------------------------------------------------------

    def take_small(self, limit: int) -> list[int]:
        """Return up to `limit` small blobs that may be moved now, and count them as moving."""
        taken: list[int] = []
        states, queue = self._states, self._small
        while queue and len(taken) < limit:
            number = queue.popleft()
            if states[number] == _READY:
                states[number] = _MOVING
                taken.append(number)
        self.moving += len(taken)
        self.ready -= len(taken)
        return taken

    def take_large(self) -> int | None:
        """Return one blob for a careful worker, and count it as moving; None when there is none now.

        Whoever has it says so to `large.release` when it is through with it.
        """
        if self._order is not None:
            return self._take_next(self._order)
        number = self.large.take(lambda one: self._states[one] == _READY)
        if number is not None:
            self._states[number] = BlobState.MOVING
            self.moving += 1
            self.ready -= 1
        return number

    def _in_stream_order(self) -> array[int]:
        return array(
            "L", sorted(range(len(self.blobs)), key=lambda number: (self.object_of[number], self.blobs.offsets[number]))
        )

    def _skip_ended(self, order: array[int]) -> None:
        while self._next < len(order) and self._states[order[self._next]] in {BlobState.DONE, BlobState.FAILED}:
            self._next += 1

    def _take_next(self, order: array[int]) -> int | None:
        self._skip_ended(order)
        if self.moving or self._next == len(order) or self._states[order[self._next]] != BlobState.READY:
            return None
        number = order[self._next]
        self._states[number] = BlobState.MOVING
        self.moving += 1
        self.ready -= 1
        return number

    def _queue(self, number: int) -> None:
        if self.blobs.lengths[number] <= self._small_limit:
            self._small.append(number)
        else:
            self.large.append(number, self._node_of(number))

    def _node_of(self, number: int) -> str | None:
        """Return the node that serves a blob, as far as the chunk that listed it says; None when nobody does."""
        return self._node_of_chunk.get(self._chunk_of[number])

    def put_back(self, number: int) -> bool:
        """Give a moving blob to the careful path: its quick try did not come to a plain end.

        Returns False, and ends the blob, when its object cannot be done any more.
        """
        if self._states[number] != BlobState.MOVING:
            return False
        if self.failed_objects[self.object_of[number]]:
            self._settle(number, BlobState.FAILED)
            return False
        self._states[number] = BlobState.READY
        self.moving -= 1
        self.ready += 1
        self.large.append(number, self._node_of(number))
        return True

    # -- what is doubtful --------------------------------------------------------------------------------------

    def doubt_of(self, number: int) -> Doubt:
        """Why it is not known of a blob whether it is through; NONE for almost all."""
        return self.doubts[number]

    @property
    def sure_waiting(self) -> int:
        """How many of the blobs that wait are surely not there."""
        return self.waiting - self.doubts.waiting

    def doubt_all(self) -> None:
        """A resumed put has completed: what waits may have come from the earlier run after it was listed."""
        if self.doubts:
            for number in self._waiting_numbers():
                if not self.doubts[number]:
                    self.doubts.add(number, Doubt.OVERTAKEN, waits=True)

    def raise_doubts(self) -> int:
        """Let the blobs that wait be asked after, once nothing else can be done; return how many there are."""
        if not self.doubts.waiting or self.sure_waiting or self.ready or self.moving:
            return 0
        numbers = [number for number in self._waiting_numbers() if self.doubts[number]]
        for number in numbers:
            self._make_ready(number)
        self.doubts.waiting = 0
        return len(numbers)

    def not_there(self, number: int) -> bool:
        """A doubtful blob that is moving is not known to be there: it waits for a chunk that offers it, or to be there.

        Returns False, and ends the blob, when its object cannot be done any more.
        """
        if self._states[number] != BlobState.MOVING:
            return False
        if self.failed_objects[self.object_of[number]]:
            self._settle(number, BlobState.FAILED)
            return False
        self._states[number] = BlobState.WAITING
        self.moving -= 1
        self.waiting += 1
        self.doubts.not_there(number)
        return True

    def finish(self, number: int) -> int | None:
        """A moving blob is through; return its object's number when that was the last of it, and none failed."""
        ended, _ = self.finish_all((number,))
        return ended[0] if ended else None

    def finish_all(self, numbers: Sequence[int]) -> tuple[list[int], list[int]]:
        """Do what `finish` does with each of these, for hundreds at a time.

        Returns the objects of which these were the last blobs, and those of them that have failed before.
        """
        states, owners, lengths = self._states, self.object_of, self.blobs.lengths
        chunk_of, left_in_chunk, blobs_left = self._chunk_of, self._left_in_chunk, self.blobs_left
        failed_objects = self.failed_objects
        ended: list[int] = []
        given_up: list[int] = []
        count = size = 0
        for number in numbers:
            owner = owners[number]
            if states[number] == _MOVING:
                states[number] = _DONE
                count += 1
                size += lengths[number]
                chunk_id = chunk_of[number]
                left_in_chunk[chunk_id] = left = left_in_chunk[chunk_id] - 1
                if not left:
                    self._chunk_ended = True
                blobs_left[owner] = left = blobs_left[owner] - 1
                if not left and not failed_objects[owner]:
                    ended.append(owner)
            if failed_objects[owner] and not blobs_left[owner]:
                given_up.append(owner)
        self.moving -= count
        self.done += count
        self.bytes_done += size
        self.objects_done += len(ended)
        if count and not (self.moving or self.ready):
            self._chunk_ended = True
        return ended, given_up

    def _settle(self, number: int, state: BlobState) -> int | None:
        before = self._states[number]
        if before == BlobState.WAITING:
            self.doubts.trust(number)
            self.waiting -= 1
        elif before == BlobState.READY:
            self.ready -= 1
        else:
            self.moving -= 1
        self._states[number] = state
        chunk_id = self._chunk_of[number]
        self._left_in_chunk[chunk_id] -= 1
        if not self._left_in_chunk[chunk_id] or not (self.moving or self.ready):
            self._chunk_ended = True
        owner = self.object_of[number]
        self.blobs_left[owner] -= 1
        if state == BlobState.FAILED:
            self.failed += 1
            return None
        self.done += 1
        self.bytes_done += self.blobs.lengths[number]
        if self.blobs_left[owner] or self.failed_objects[owner]:
            return None
        self.objects_done += 1
        return owner

    def fail_object(self, owner: int) -> bool:
        """An object cannot be done: none of its blobs is moved any more. Returns False when that was known.

        A blob of it that is moving right now ends by its own `finish`, `fail` or `put_back`.
        """
        if self.failed_objects[owner]:
            return False
        self.failed_objects[owner] = 1
        for number in self.numbers_of(owner):
            if self._states[number] in {BlobState.WAITING, BlobState.READY}:
                self._settle(number, BlobState.FAILED)
        return True

    def fail(self, number: int) -> bool:
        """A moving blob cannot be done, and so its object; returns False when that was known."""
        if self._states[number] == BlobState.MOVING:
            self._settle(number, BlobState.FAILED)
        return self.fail_object(self.object_of[number])

    def given_up_wholly(self, owner: int) -> bool:
        """Whether an object has failed and no blob of it is on its way any more."""
        return bool(self.failed_objects[owner]) and not self.blobs_left[owner]

    def chunk_id_of(self, number: int) -> str | None:
        """Return the chunk that listed a blob when the job was taken up; None for one that was held and not listed."""
        return self._chunk_of[number] if self._chunk_of[number] != _NO_CHUNK else None

    def numbers_of(self, owner: int) -> Iterator[int]:
        """Yield the numbers of an object's blobs."""
        number = self._first_of[owner]
        while number >= 0:
            yield number
            number = self._next_of[number]

    def covers(self, owner: int, size: int) -> bool:
        """Whether the job's blobs are the whole of an object of `size` bytes: no gap, no byte twice, none beyond."""
        end = 0
        ranges = self._ranges_of(owner)
        for offset, length in ranges:
            if offset != end or (not length and size):
                return False
            end += length
        return end == size and (bool(ranges) or not size)

    def uncovered(self, sizes: array[int]) -> list[int]:
        """Return the numbers of the objects, of these sizes, of which the job's blobs are not the whole."""
        if self._is_straight and self.blobs.lengths == sizes and not any(self.blobs.offsets):
            return []
        return [owner for owner, size in enumerate(sizes) if not self.covers(owner, size)]

    def _ranges_of(self, owner: int) -> list[tuple[int, int]]:
        return sorted((self.blobs.offsets[number], self.blobs.lengths[number]) for number in self.numbers_of(owner))

    @property
    def settled(self) -> bool:
        """Whether every blob has come to its end."""
        return self.done + self.failed == len(self.blobs)

    @property
    def unlisted_objects(self) -> list[int]:
        """Numbers of the objects asked for of which the job lists no blob."""
        if 0 not in self.listed:
            return []
        return [number for number, listed in enumerate(self.listed) if not listed]

    def state_of(self, number: int) -> BlobState:
        """Where a blob is on its way."""
        return BlobState(self._states[number])
