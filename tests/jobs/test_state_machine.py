"""`JobState` under any order of offers, moves and failures: a plain model of what should be stands beside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ds3tool.jobs.doubts import Doubt
from ds3tool.jobs.recorder import MovedBlobs
from ds3tool.jobs.remainder import HeldBlobs
from ds3tool.jobs.state import BlobState, JobState
from ds3tool.protocol.model import Blob, Chunk

SMALL_LIMIT = 5
FOREIGN = Blob("of another client", 0, 10)
ENDED = (BlobState.DONE, BlobState.FAILED)
# The longest that anybody waits for an answer unasked, and the shortest between two questions that brought nothing.
# Sums of times are not exact to the last bit.
LONGEST_SECONDS, SHORTEST_SECONDS = 60.0, 0.05
ROUNDING_SECONDS = 1e-6

WAITING, READY, MOVING, DONE, FAILED = BlobState


class Machine(RuleBasedStateMachine):
    """What the engine's threads and the appliance may do to the state of one job, in any order.

    The model holds each blob's state, by its number, and which objects have failed or ended. What becomes of a blob
    is written down when the rule is applied; the invariants hold the state against it after every step.
    """

    in_order: ClassVar[bool] = False

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """Create a job: objects of no, one or several blobs, scattered over chunks, some of them in the cache."""
        counts = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=6), label="blobs of each object")
        self.keys = [f"object {number}" for number in range(len(counts))]
        own = [
            Blob(key, index * 10, data.draw(st.sampled_from([0, 5, 10])), data.draw(st.booleans()))
            for key, count in zip(self.keys, counts, strict=True)
            for index in range(count)
        ]
        foreign = [Blob("of another client", index * 10, 10) for index in range(data.draw(st.integers(0, 2)))]
        listed = data.draw(st.permutations(own + foreign), label="order of the blobs")
        size = data.draw(st.integers(1, 5), label="blobs of a chunk")
        self.chunks = [
            Chunk(f"chunk {start}", start, listed[start : start + size]) for start in range(0, len(listed), size)
        ]
        is_put = data.draw(st.booleans(), label="put")
        self.state = JobState(
            self.chunks,
            self.keys,
            small_limit=-1 if self.in_order else SMALL_LIMIT,
            skip_cached=is_put,
            in_order=self.in_order,
        )
        self.blobs = [one for one in listed if one.key in self.keys]
        self.start([DONE if is_put and one.in_cache else WAITING for one in self.blobs])

    def start(self, model: list[BlobState]) -> None:
        """Write down what should be so far: what has come through by now needs no acknowledgement."""
        self.model = model
        self.doubts = [Doubt.NONE] * len(model)
        self.through = set(self.those(DONE))
        self.acknowledged = [0] * len(model)
        self.failed: set[int] = set()
        self.ended = {owner for owner in range(len(self.keys)) if self.is_done(owner)}
        self.now = 0.0
        self.wish = 0.0
        self.ran_dry = False  # since the last question
        assert [(one.key, one.offset) for one in self.state.blobs] == [(one.key, one.offset) for one in self.blobs]

    # -- the model -------------------------------------------------------------------------------------------------

    def owner(self, number: int) -> int:
        return self.keys.index(self.blobs[number].key)

    def of(self, owner: int) -> list[int]:
        return [number for number, one in enumerate(self.blobs) if one.key == self.keys[owner]]

    def is_done(self, owner: int) -> bool:
        return bool(self.of(owner)) and all(self.model[number] == DONE for number in self.of(owner))

    def those(self, *states: BlobState) -> list[int]:
        return [number for number, state in enumerate(self.model) if state in states]

    def acknowledge(self, number: int) -> None:
        self.acknowledged[number] += 1
        self.model[number] = DONE

    def took(self, number: int) -> None:
        assert self.model[number] == READY, "only what the appliance has made room for may be moved"
        assert self.owner(number) not in self.failed
        self.model[number] = MOVING

    def settled(self, number: int) -> None:
        """A blob has come to its end; when nothing is left to do, the last answer is out of date."""
        if not self.those(READY, MOVING):
            self.ran_dry = True

    def object_failed(self, owner: int) -> None:
        self.failed.add(owner)
        for number in self.of(owner):
            if self.model[number] in {WAITING, READY}:
                self.model[number] = FAILED
                self.settled(number)

    # -- what the appliance says -----------------------------------------------------------------------------------

    @rule(data=st.data(), wish=st.sampled_from([None, 0.0, 1.0, 60.0, 3600.0]), asks=st.booleans())
    def offer(self, data: st.DataObject, wish: float | None, asks: bool) -> None:
        """Answer with chunks as they were, in any order and number, or cut anew; some is foreign, some known."""
        if asks:
            self.state.asking()
            self.ran_dry = False
        self.answer(data.draw(st.lists(self.some_chunk(), max_size=4), label="chunks"), wish, asks=asks)

    @rule()
    def offer_everything(self) -> None:
        """Answer as an appliance does that has room for the whole job."""
        self.state.asking()
        self.ran_dry = False
        self.answer(self.chunks, LONGEST_SECONDS, asks=True)

    def answer(self, chunks: list[Chunk], wish: float | None, *, asks: bool) -> None:
        offered = {(one.key, one.offset) for each in chunks for one in each.blobs}
        fresh = [number for number in self.those(WAITING) if self.place(number) in offered]
        assert self.state.offer(chunks, now=self.now, retry_after_seconds=wish) == len(fresh)
        for number in fresh:
            self.model[number] = READY
            self.doubts[number] = Doubt.NONE
        self.wish = (0.0 if chunks else LONGEST_SECONDS) if wish is None else wish
        seconds = self.state.seconds_until_ask(self.now, enough=1000)
        if asks and self.those(WAITING):
            assert seconds is not None
            assert seconds == 0 if fresh else seconds > max(SHORTEST_SECONDS, self.wish) - ROUNDING_SECONDS, (
                "asked in a circle, or too late"
            )

    def some_chunk(self) -> st.SearchStrategy[Chunk]:
        anything = st.sampled_from([*self.blobs, FOREIGN, Blob(self.keys[0], 999, 10)])
        recut = st.builds(Chunk, st.sampled_from(["new", "newer"]), st.just(9), st.lists(anything, max_size=6))
        if not self.chunks:
            return recut
        as_it_was = st.sampled_from(self.chunks)
        return st.one_of(
            as_it_was,
            as_it_was.flatmap(_less_or_otherwise),
            as_it_was.flatmap(lambda each: _of_others(each, anything)),
            recut,
        )

    def place(self, number: int) -> tuple[str, int]:
        return self.blobs[number].key, self.blobs[number].offset

    @precondition(lambda self: self.blobs)
    @rule(data=st.data())
    def accept_received(self, data: st.DataObject) -> None:
        """List blobs as in the cache that were never sent from here; those that move end by their own."""
        some = data.draw(st.sets(st.sampled_from(range(len(self.blobs))), max_size=3), label="in the cache")
        listed = [Blob(*self.place(number), 1, in_cache=number in some) for number in range(len(self.blobs))]
        ended = self.state.accept_received([Chunk("any", 1, [*listed, FOREIGN])])
        waited = [number for number in some if self.model[number] == WAITING]
        for number in waited:
            self.acknowledge(number)
            self.settled(number)
        owners = {self.owner(number) for number in waited}
        expected = {owner for owner in owners if self.is_done(owner)} - self.failed
        assert sorted(ended) == sorted(expected)
        assert not expected & self.ended
        self.ended |= expected

    @precondition(lambda self: self.blobs)
    @rule(data=st.data())
    def given_up(self, data: st.DataObject) -> None:
        """List only some of the job's blobs: it was truncated, which alone changes nothing."""
        kept = data.draw(st.lists(st.sampled_from(self.blobs), max_size=6), label="still listed")
        places = {(one.key, one.offset) for one in kept}
        waiting = [number for number in self.those(WAITING) if not self.doubts[number]]
        gone = [number for number in waiting if self.place(number) not in places]
        assert self.state.given_up([Chunk("any", 1, [*kept, FOREIGN])]) == len(gone)
        assert self.state.waiting_numbers() == self.those(WAITING)

    # -- what workers do -------------------------------------------------------------------------------------------

    @rule(limit=st.integers(0, 3))
    def take_small(self, limit: int) -> None:
        """Take a batch for the small-request loop."""
        taken = self.state.take_small(limit)
        assert len(taken) <= limit
        assert len(set(taken)) == len(taken)
        for number in taken:
            assert not self.in_order
            assert self.blobs[number].length <= SMALL_LIMIT
            self.took(number)

    @rule(workers=st.integers(1, 4))
    def take_large(self, workers: int) -> None:
        """Take one for each of several careful workers."""
        for _ in range(workers):
            number = self.state.take_large()
            if number is not None:
                self.took(number)

    @precondition(lambda self: self.those(MOVING))
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """Bring a moving blob through; its object ends with the last, unless something of it failed, and once."""
        self.finish_one(data.draw(st.sampled_from(self.those(MOVING))))

    def finish_one(self, number: int) -> None:
        owner = self.owner(number)
        told = self.state.finish(number)
        self.acknowledge(number)
        self.settled(number)
        assert told == (owner if self.is_done(owner) and owner not in self.failed else None)
        if told is not None:
            assert told not in self.ended
            self.ended.add(told)

    @precondition(lambda self: self.those(WAITING, READY, DONE, FAILED))
    @rule(data=st.data())
    def finish_or_put_back_what_does_not_move(self, data: st.DataObject) -> None:
        """Be told twice, or of what was never taken: it changes nothing."""
        number = data.draw(st.sampled_from(self.those(WAITING, READY, DONE, FAILED)))
        assert self.state.finish(number) is None
        assert self.state.put_back(number) is False

    @precondition(lambda self: self.those(MOVING))
    @rule(data=st.data())
    def put_back(self, data: st.DataObject) -> None:
        """Give a moving blob to the careful path, which may have it unless its object has failed."""
        number = data.draw(st.sampled_from(self.those(MOVING)))
        hopeless = self.owner(number) in self.failed
        assert self.state.put_back(number) is not hopeless
        self.model[number] = FAILED if hopeless else READY
        if hopeless:
            self.settled(number)

    @precondition(lambda self: self.those(MOVING))
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        """Let a moving blob fail, and so its object."""
        number = data.draw(st.sampled_from(self.those(MOVING)))
        assert self.state.fail(number) is (self.owner(number) not in self.failed)
        self.model[number] = FAILED
        self.settled(number)
        self.object_failed(self.owner(number))

    @precondition(lambda self: len(self.ended) < len(self.keys))
    @rule(data=st.data())
    def fail_object(self, data: st.DataObject) -> None:
        """Let an object fail that has not ended; its blobs that move end by their own."""
        owner = data.draw(st.sampled_from(sorted(set(range(len(self.keys))) - self.ended)))
        assert self.state.fail_object(owner) is (owner not in self.failed)
        self.object_failed(owner)

    @rule(seconds=st.sampled_from([0.0, 0.01, 1.0, 100.0]))
    def pass_time(self, seconds: float) -> None:
        """Let time go by."""
        self.now += seconds

    # -- what always holds -----------------------------------------------------------------------------------------

    @invariant()
    def each_blob_is_where_the_model_has_it(self) -> None:
        """Counts agree with states, and none is lost or invented."""
        state = self.state
        assert [state.state_of(number) for number in range(len(state.blobs))] == self.model
        counts = [state.waiting, state.ready, state.moving, state.done, state.failed]
        assert counts == [self.model.count(each) for each in BlobState]
        assert state.settled is all(each in ENDED for each in self.model)
        assert state.bytes_done == sum(self.blobs[number].length for number in self.those(DONE))

    @invariant()
    def each_blob_is_acknowledged_once(self) -> None:
        """A blob is through by one acknowledgement, or was so from the beginning."""
        for number in range(len(self.blobs)):
            through = self.acknowledged[number] + (number in self.through)
            assert through == (1 if self.model[number] == DONE else 0)

    @invariant()
    def objects_end_when_all_of_their_blobs_are_through(self) -> None:
        """An object is counted exactly when all its blobs are done and none failed; a failed one is never."""
        assert self.state.objects_done == len(self.ended)
        assert not self.ended & self.failed
        for owner in range(len(self.keys)):
            assert (owner in self.ended) == (self.is_done(owner) and owner not in self.failed)
            left = any(self.model[number] not in ENDED for number in self.of(owner))
            assert self.state.given_up_wholly(owner) is (owner in self.failed and not left)
            assert sorted(self.state.numbers_of(owner)) == self.of(owner)
        assert self.state.unlisted_objects == [owner for owner in range(len(self.keys)) if not self.of(owner)]

    @invariant()
    def nothing_of_a_failed_object_waits(self) -> None:
        """What cannot be done any more is neither asked for nor taken."""
        for owner in self.failed:
            assert not {self.model[number] for number in self.of(owner)} & {WAITING, READY}

    @invariant()
    def a_stream_moves_one_blob_at_a_time(self) -> None:
        """In order, nothing is on its way before all that stands in front of it has come to its end."""
        if not self.in_order:
            return
        ordered = sorted(range(len(self.blobs)), key=lambda number: (self.owner(number), self.blobs[number].offset))
        assert self.model.count(MOVING) <= 1
        for place, number in enumerate(ordered):
            if self.model[number] == MOVING:
                assert all(self.model[before] in ENDED for before in ordered[:place])

    @invariant()
    def whoever_waits_for_an_answer_asks(self) -> None:
        """While only an answer can bring something, a question is due, and in good time: no run stands still."""
        for enough in (1, 2, 1000):
            seconds = self.state.seconds_until_ask(self.now, enough=enough)
            if seconds is not None:
                assert self.those(WAITING), "there is nothing to ask for"
                assert 0 <= seconds <= max(self.wish, LONGEST_SECONDS) + ROUNDING_SECONDS
            elif self.those(WAITING):
                assert self.those(MOVING, READY), "only an answer can bring anything"
                assert len(self.those(READY)) >= enough
                assert self.can_go_on(), "what is ready cannot be taken, and nobody asks for what could"
            if self.ran_dry and self.those(WAITING) and not self.those(READY, MOVING):
                assert seconds == 0, "nothing is left to do, and the last answer is from before"

    def can_go_on(self) -> bool:
        """Whether something moves, or could be taken now."""
        if self.those(MOVING) or not self.in_order:
            return True
        ordered = sorted(range(len(self.blobs)), key=lambda number: (self.owner(number), self.blobs[number].offset))
        first = next(number for number in ordered if self.model[number] not in ENDED)
        return self.model[first] == READY

    # -- the end ---------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """From wherever the job stands: offered and moved as an engine does, every blob comes to its end."""
        if not hasattr(self, "state"):
            return
        for number in self.those(MOVING):
            self.finish_one(number)
        for _ in range(len(self.blobs) + 1):
            for number in self.taken():
                self.took(number)
                self.finish_one(number)
            if self.state.settled:
                break
            seconds = self.state.seconds_until_ask(self.now, enough=1)
            assert seconds is not None, "a blob is forgotten"
            self.now += seconds
            self.state.asking()
            self.state.offer(self.chunks, now=self.now, retry_after_seconds=60.0)
            self.all_that_can_be_ready()
        assert self.state.settled, "a blob is forgotten"
        self.each_blob_is_where_the_model_has_it()
        self.each_blob_is_acknowledged_once()
        self.objects_end_when_all_of_their_blobs_are_through()
        assert self.state.seconds_until_ask(self.now, enough=1000) is None

    def all_that_can_be_ready(self) -> None:
        """The whole job was offered."""
        for number in self.those(WAITING):
            self.model[number] = READY

    def taken(self) -> Iterator[int]:
        """Yield one after the other what may be moved now."""
        while numbers := self.state.take_small(1):
            yield from numbers
        while (number := self.state.take_large()) is not None:
            yield number


def _less_or_otherwise(chunk: Chunk) -> st.SearchStrategy[Chunk]:
    """Return chunks of the same id that list its blobs in another order, or some of them, perhaps one twice."""
    some = st.lists(st.sampled_from(chunk.blobs), max_size=len(chunk.blobs) + 1)
    return (st.permutations(chunk.blobs) | some).map(lambda blobs: Chunk(chunk.id, chunk.number, blobs))


def _of_others(chunk: Chunk, blobs: st.SearchStrategy[Blob]) -> st.SearchStrategy[Chunk]:
    """Return chunks of the same id and number of blobs that list others."""
    count = len(chunk.blobs)
    return st.lists(blobs, min_size=count, max_size=count).map(lambda others: Chunk(chunk.id, chunk.number, others))


class InOrder(Machine):
    """A stream's job: its blobs are taken one at a time, from the first byte to the last."""

    in_order = True


class Resumed(Machine):
    """A put's job that an earlier run has begun: what either of the two knows of is not sent unasked."""

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """Take up a job: each blob is recorded or not, listed in the cache or not, or not listed at all."""
        lengths = data.draw(st.lists(st.lists(st.sampled_from([5, 10]), max_size=4), min_size=1, max_size=5))
        self.keys = [f"object {number}" for number in range(len(lengths))]
        late = data.draw(st.booleans(), label="all of it has been sent, and much has left the cache")
        own = [
            Blob(key, sum(of[:index]), length, not late and data.draw(st.booleans(), label="in the cache"))
            for key, of in zip(self.keys, lengths, strict=True)
            for index, length in enumerate(of)
        ]
        recorded = {one for one in own if late or data.draw(st.booleans(), label="recorded")}
        unlisted = {one for one in own if data.draw(st.integers(0, 3), label="unlisted at 0") == 0}
        listed = data.draw(st.permutations([one for one in own if one not in unlisted]), label="order of the blobs")
        size = data.draw(st.integers(1, 5), label="blobs of a chunk")
        self.chunks = [
            Chunk(f"chunk {start}", start, [*listed[start : start + size], FOREIGN])
            for start in range(0, len(listed), size)
        ]
        held = HeldBlobs()
        known = set()
        for one in sorted(recorded, key=own.index):
            was = one.length
            if one not in unlisted:  # perhaps the appliance has cut the object anew since
                was += 0 if late else data.draw(st.sampled_from([0, 0, 1]), label="cut anew")
            held.add(MovedBlobs([self.keys.index(one.key)], [one.offset], [was], [None], [None]))
            known.add((one.key, one.offset, was))
        self.state = JobState(
            self.chunks,
            self.keys,
            small_limit=SMALL_LIMIT,
            skip_cached=True,
            held=held,
            sizes=[sum(of) for of in lengths],
        )
        self.blobs = list(self.state.blobs)
        cached = {one for one in listed if one.in_cache}
        self.start([WAITING] * len(self.blobs))
        for number, one in enumerate(self.blobs):
            is_known, is_listed = (one.key, one.offset, one.length) in known, number < len(listed)
            in_cache = is_listed and one in cached
            if is_known and (in_cache or not is_listed):
                self.model[number] = DONE
            elif in_cache:
                self.model[number], self.doubts[number] = READY, Doubt.UNRECORDED
            elif is_known or not is_listed:
                self.doubts[number] = Doubt.NOT_IN_CACHE if is_known else Doubt.UNLISTED
        self.through = set(self.those(DONE))
        self.ended = {owner for owner in range(len(self.keys)) if self.is_done(owner)}
        assert self.blobs[: len(listed)] == listed
        for owner, of in enumerate(lengths):
            assert self.state.covers(owner, sum(of)), "what nobody knows of is forgotten"

    def doubtful(self, *states: BlobState) -> list[int]:
        return [number for number in self.those(*states) if self.doubts[number]]

    @precondition(lambda self: self.blobs)
    @rule(data=st.data())
    def accept_received(self, data: st.DataObject) -> None:
        """List blobs as in the cache that were not there before: they are asked after, since nobody recorded them."""
        some = data.draw(st.sets(st.sampled_from(range(len(self.blobs))), max_size=3), label="in the cache")
        listed = [Blob(*self.place(number), 1, in_cache=number in some) for number in range(len(self.blobs))]
        assert self.state.accept_received([Chunk("any", 1, [*listed, FOREIGN])]) == []
        for number in some:
            if self.model[number] == WAITING:
                self.model[number], self.doubts[number] = READY, Doubt.UNRECORDED
        # What it lists, it will offer: should it turn out not to be there, that is what it waits for.
        if some:
            self.chunks = [*self.chunks, Chunk("listed later", 9, [self.blobs[number] for number in sorted(some)])]

    @rule()
    def doubt_all(self) -> None:
        """The job has completed without us: whatever waits may be there by now."""
        self.state.doubt_all()
        for number in self.those(WAITING):
            self.doubts[number] = self.doubts[number] or Doubt.OVERTAKEN

    @precondition(lambda self: self.doubtful(WAITING))
    @rule()
    def raise_doubts(self) -> None:
        """Ask after what may be there, once nothing else can be done."""
        idle = not self.those(READY, MOVING) and len(self.doubtful(WAITING)) == len(self.those(WAITING))
        raised = self.doubtful(WAITING) if idle else []
        assert self.state.raise_doubts() == len(raised)
        for number in raised:
            self.model[number] = READY

    @precondition(lambda self: self.doubtful(MOVING))
    @rule(data=st.data())
    def not_there(self, data: st.DataObject) -> None:
        """Find that a doubtful blob is not there: it waits for its chunk, unless its object has failed."""
        number = data.draw(st.sampled_from(self.doubtful(MOVING)))
        hopeless = self.owner(number) in self.failed
        assert self.state.not_there(number) is not hopeless
        self.model[number] = FAILED if hopeless else WAITING
        if hopeless:
            self.settled(number)
        elif self.doubts[number] is Doubt.UNRECORDED:
            self.doubts[number] = Doubt.NONE

    @invariant()
    def what_is_doubtful_is_known_to_be(self) -> None:
        """Whoever takes a blob learns whether to ask first; what is to wait is told from what may be there."""
        waiting = self.those(WAITING)
        assert self.state.sure_waiting == len(waiting) - len(self.doubtful(WAITING))
        for number in self.those(WAITING, READY, MOVING):
            assert self.state.doubt_of(number) is self.doubts[number]

    def all_that_can_be_ready(self) -> None:
        """The listed part of the job was offered; the rest is asked after when nothing else can be done."""
        listed = {(one.key, one.offset) for each in self.chunks for one in each.blobs}
        for number in self.those(WAITING):
            if self.place(number) in listed:
                self.model[number], self.doubts[number] = READY, Doubt.NONE
        self.raise_doubts()


MACHINES = pytest.mark.parametrize("machine", [Machine, InOrder, Resumed], ids=["any order", "in order", "resumed"])


@MACHINES
def test_no_order_of_offers_moves_and_failures_loses_or_repeats_a_blob(machine: type[Machine]) -> None:
    """Whatever comes in whatever order: each blob is acknowledged once, none is forgotten, and no run stands still."""
    run_state_machine_as_test(machine, settings=settings(max_examples=100, stateful_step_count=30, deadline=None))


@pytest.mark.more
@pytest.mark.timeout(900)
@MACHINES
def test_long_histories_neither_lose_nor_repeat_a_blob(machine: type[Machine]) -> None:
    """The same in long histories, and thousands of them."""
    run_state_machine_as_test(machine, settings=settings(max_examples=1500, stateful_step_count=60, deadline=None))
