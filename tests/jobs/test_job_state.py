"""`JobState` alone: which blobs may move, when to ask again, and what has come to its end."""

from __future__ import annotations

import random
from array import array
from collections.abc import Sequence

import pytest

from ds3tool.jobs.state import JobState
from ds3tool.protocol.blob_columns import BlobColumns
from ds3tool.protocol.model import Blob, Chunk


def chunk(identifier: str, *blobs: Blob) -> Chunk:
    return Chunk(identifier, 1, blobs)


def blob(key: str, offset: int = 0, length: int = 10, *, in_cache: bool = False) -> Blob:
    return Blob(key, offset, length, in_cache)


def make(
    chunks: Sequence[Chunk], objects: Sequence[str], *, small_limit: int = -1, skip_cached: bool = False
) -> JobState:
    return JobState(chunks, objects, small_limit=small_limit, skip_cached=skip_cached)


def offer(state: JobState, *chunks: Chunk, now: float = 0.0, retry_after: float | None = 60.0) -> int:
    return state.offer(chunks, now=now, retry_after_seconds=retry_after)


def take_all(state: JobState) -> list[int]:
    taken = state.take_small(1_000_000)
    while (number := state.take_large()) is not None:
        taken.append(number)
    return taken


# -- single rules -----------------------------------------------------------------------------------------------------


def test_chunk_offered_twice_is_moved_once() -> None:
    """Offering a chunk again makes none of its blobs ready a second time, whatever became of them."""
    one = chunk("1", blob("a"), blob("b"))
    state = make([one], ["a", "b"])
    assert offer(state, one) == 2
    first = state.take_large()
    assert offer(state, one) == 0
    assert first is not None
    state.finish(first)
    assert offer(state, one) == 0
    assert take_all(state) == [1]


def test_blobs_in_cache_are_not_sent_again_by_a_put() -> None:
    """A put counts blobs that the appliance has as done; a get fetches them like the others."""
    one = chunk("1", blob("a", in_cache=True), blob("b"))
    put = make([one], ["a", "b"], skip_cached=True)
    get = make([one], ["a", "b"], skip_cached=False)
    assert (put.done, put.objects_done, put.bytes_done) == (1, 1, 10)
    assert offer(put, one) == 1
    assert (get.done, offer(get, one)) == (0, 2)


def test_job_without_blobs_is_settled_at_once() -> None:
    """A job of empty objects that an older release lists no blob of has nothing to move, and nothing to ask."""
    state = make([], ["empty", "folder/"])
    assert state.settled
    assert state.unlisted_objects == [0, 1]
    assert state.seconds_until_ask(0.0, enough=8) is None


def test_empty_object_is_a_blob_to_move_where_it_is_listed() -> None:
    """A blob of length 0 is moved like any other, and ends its object."""
    one = chunk("1", blob("empty", 0, 0))
    state = make([one], ["empty"])
    offer(state, one)
    assert [state.finish(number) for number in take_all(state)] == [0]


def test_blobs_of_other_clients_are_left_alone() -> None:
    """A chunk of an aggregated job makes ready only what was asked for here."""
    first = chunk("1", blob("a"), blob("theirs"))
    state = make([first], ["a"])
    assert len(state.blobs) == 1
    assert offer(state, first, chunk("2", blob("theirs too"))) == 1


def test_recut_chunks_are_found_by_key_and_offset() -> None:
    """Chunks under new ids and of another cut make ready the blobs they name."""
    state = make([chunk("1", blob("a", 0), blob("a", 10)), chunk("2", blob("b"))], ["a", "b"])
    assert offer(state, chunk("x", blob("b"), blob("a", 10))) == 2
    assert offer(state, chunk("y", blob("a", 0))) == 1
    assert sorted(take_all(state)) == [0, 1, 2]


def test_failed_object_takes_its_blobs_along_but_not_one_that_moves() -> None:
    """Failing an object ends its waiting and ready blobs at once, and leaves a moving one to end by itself."""
    one, two = chunk("1", blob("a", 0), blob("a", 10)), chunk("2", blob("a", 20), blob("b"))
    state = make([one, two], ["a", "b"])
    offer(state, one)
    first = state.take_large()
    second = state.take_large()
    assert first is not None
    assert second is not None
    assert state.fail(first)
    assert (state.failed, state.moving, state.waiting) == (2, 1, 1)
    assert not state.given_up_wholly(0)
    assert state.finish(second) is None
    assert state.objects_done == 0
    assert state.given_up_wholly(0)


def test_blob_put_back_after_its_object_failed_is_not_moved_again() -> None:
    """A blob that comes back from its quick try ends when its object has failed meanwhile."""
    one = chunk("1", blob("a", 0), blob("a", 10))
    state = make([one], ["a"], small_limit=100)
    offer(state, one)
    first, second = state.take_small(2)
    state.fail(first)
    assert not state.put_back(second)
    assert state.settled
    assert take_all(state) == []


def test_blob_put_back_goes_the_careful_way() -> None:
    """A small blob whose quick try failed is for the careful workers from then on."""
    one = chunk("1", blob("a"))
    state = make([one], ["a"], small_limit=100)
    offer(state, one)
    (number,) = state.take_small(5)
    assert state.put_back(number)
    assert state.take_small(5) == []
    assert state.take_large() == number


# -- when to ask ------------------------------------------------------------------------------------------------------


def test_first_question_comes_at_once() -> None:
    """A new job is asked about without a wait."""
    assert make([chunk("1", blob("a"))], ["a"]).seconds_until_ask(1000.0, enough=4) == 0


def test_retry_after_is_honoured() -> None:
    """After an answer with nothing new, nobody asks before the time it states is over."""
    state = make([chunk("1", blob("a"))], ["a"])
    state.asking()
    offer(state, now=100.0, retry_after=300.0)
    assert state.seconds_until_ask(100.0, enough=4) == 300
    assert state.seconds_until_ask(399.0, enough=4) == 1
    assert state.seconds_until_ask(400.0, enough=4) == 0


def test_missing_retry_after_means_a_minute() -> None:
    """An answer with nothing new and without Retry-After is asked again after the appliance's default."""
    state = make([chunk("1", blob("a"))], ["a"])
    offer(state, now=0.0, retry_after=None)
    assert state.seconds_until_ask(0.0, enough=4) == 60


def test_retry_after_of_zero_does_not_spin() -> None:
    """With Retry-After 0, an hour of empty answers is some 3,600 questions, not millions; the first comes soon."""
    state = make([chunk("1", blob("a"))], ["a"])
    now, asked = 0.0, 0
    while now < 3600:
        state.asking()
        offer(state, now=now, retry_after=0.0)
        asked += 1
        wait = state.seconds_until_ask(now, enough=4)
        assert wait is not None
        assert 0.049 < wait < 1.001
        now += wait
    assert 3600 <= asked <= 3620


def test_nobody_asks_while_enough_is_ready() -> None:
    """With as many blobs ready as the workers can use soon, no question is due."""
    one = chunk("1", *(blob(f"{number}") for number in range(5)))
    state = make([one, chunk("2", blob("z"))], [*(f"{number}" for number in range(5)), "z"])
    offer(state, one)
    assert state.seconds_until_ask(0.0, enough=5) is None
    assert state.seconds_until_ask(0.0, enough=6) == 0


def test_ended_chunk_allows_one_more_question() -> None:
    """When a chunk has ended since the last question, the next one does not wait; and it is only one."""
    one, two = chunk("1", blob("a")), chunk("2", blob("b"))
    state = make([one, two], ["a", "b"])
    offer(state, one)
    state.asking()
    offer(state, one, retry_after=60.0)
    assert state.seconds_until_ask(0.0, enough=4) == 60
    for number in take_all(state):
        state.finish(number)
    assert state.seconds_until_ask(0.0, enough=4) == 0
    state.asking()
    offer(state, retry_after=60.0)
    assert state.seconds_until_ask(0.0, enough=4) == 60


def test_chunk_that_ends_while_the_answer_is_under_way_is_not_forgotten() -> None:
    """A chunk that ends between question and answer still allows another question at once."""
    one, two = chunk("1", blob("a")), chunk("2", blob("b"))
    state = make([one, two], ["a", "b"])
    offer(state, one)
    numbers = take_all(state)
    state.asking()
    state.finish(numbers[0])
    offer(state, one, retry_after=60.0)  # this answer was written before the chunk had ended
    assert state.seconds_until_ask(0.0, enough=4) == 0


def test_having_nothing_left_to_do_allows_one_more_question() -> None:
    """Of re-cut chunks none may seem to end; having moved all there was allows a question all the same."""
    state = make([chunk("1", blob("a"), blob("b"))], ["a", "b"])
    offer(state, chunk("x", blob("a")))
    state.asking()
    offer(state, chunk("x", blob("a")), retry_after=60.0)
    for number in take_all(state):
        state.finish(number)
    assert state.seconds_until_ask(0.0, enough=4) == 0


# -- what the appliance has, or has not -------------------------------------------------------------------------------


def test_given_up_counts_what_the_appliance_does_not_list_any_more() -> None:
    """Of the blobs that wait, those missing in the job's own list are counted; moved ones are not."""
    one = chunk("1", blob("a"), blob("b"), blob("c"))
    state = make([one], ["a", "b", "c"])
    offer(state, chunk("x", blob("a")))
    assert state.given_up([one]) == 0
    assert state.given_up([chunk("1", blob("b"))]) == 1
    assert state.given_up([]) == 2


@pytest.mark.parametrize(
    ("ranges", "size", "whole"),
    [
        ([(0, 10), (10, 10)], 20, True),
        ([(10, 10), (0, 10)], 20, True),
        ([(0, 0)], 0, True),
        ([], 0, True),
        ([], 5, False),
        ([(0, 10), (0, 10)], 20, False),  # the sum is right, the bytes are not
        ([(0, 10), (15, 10)], 20, False),
        ([(0, 10), (5, 15)], 20, False),
        ([(0, 10)], 20, False),
        ([(0, 30)], 20, False),
        ([(10, 10)], 20, False),
        ([(0, 0), (0, 20)], 20, False),
    ],
)
def test_covers(ranges: list[tuple[int, int]], size: int, whole: bool) -> None:
    """Blobs cover an object only when each byte is in exactly one of them."""
    state = make([chunk("1", *(blob("a", offset, length) for offset, length in ranges))], ["a"])
    assert state.covers(0, size) is whole


# -- size -------------------------------------------------------------------------------------------------------------


class CountingColumns(BlobColumns):
    """A chunk's blobs that count how often one is looked at."""

    looked = 0

    def __getitem__(self, index: int) -> Blob:  # type: ignore[override]  # nobody slices them
        type(self).looked += 1
        return super().__getitem__(index)


class CountingKeys(list[str]):
    """A list that counts how often it is looked into."""

    looked = 0

    def __getitem__(self, index: int) -> str:  # type: ignore[override]  # nobody slices it
        type(self).looked += 1
        return super().__getitem__(index)


class Links(array):  # type: ignore[type-arg]  # at run time it takes no parameter
    """The chain from blob to blob of one object, which counts its steps."""

    looked = 0

    def __getitem__(self, index: int) -> int:  # type: ignore[override]  # nobody slices it
        type(self).looked += 1
        return int(super().__getitem__(index))


def large(objects: int, per_object: int, per_chunk: int) -> tuple[list[Chunk], list[str]]:
    keys = [f"{number:09}" for number in range(objects)]
    blobs = [(key, index) for key in keys for index in range(per_object)]
    random.Random(4).shuffle(blobs)
    chunks = []
    for start in range(0, len(blobs), per_chunk):
        columns = CountingColumns()
        for key, index in blobs[start : start + per_chunk]:
            columns.append(key, index * 10, 10, in_cache=False, version_id=None)
        chunks.append(Chunk(f"chunk {start}", start, columns))
    return chunks, keys


def test_large_job_is_worked_off_with_a_few_looks_at_each_blob() -> None:
    """40,000 blobs in any order, offered and moved, cost at most three looks at each, whatever their number."""
    chunks, keys = large(10_000, 4, 200)
    CountingColumns.looked = 0
    state = make(chunks, keys)
    state.blobs.keys = CountingKeys(state.blobs.keys)
    CountingKeys.looked = 0
    ended = 0
    for one in chunks:
        offer(state, one)
        while (number := state.take_large()) is not None:
            ended += state.finish(number) is not None
    assert state.settled
    assert ended == 10_000
    assert CountingColumns.looked <= 3 * 40_000
    assert CountingKeys.looked <= 3 * 40_000


def test_failing_every_object_of_a_large_job_is_not_quadratic() -> None:
    """Failing 20,000 objects one by one touches each blob once."""
    chunks, keys = large(20_000, 2, 1000)
    state = make(chunks, keys)
    Links.looked = 0
    state._next_of = Links("l", state._next_of)
    for owner in range(len(keys)):
        assert state.fail_object(owner)
    assert state.settled
    assert state.failed == 40_000
    assert Links.looked == 40_000


def test_offers_of_a_recut_job_do_not_look_everywhere_each_time() -> None:
    """After the appliance has cut the job anew, an offer costs what it names, not the whole job."""
    chunks, keys = large(20_000, 1, 100)
    state = make(chunks, keys)
    state.blobs.keys = CountingKeys(state.blobs.keys)
    CountingKeys.looked = 0
    for key in keys:
        assert offer(state, chunk(f"new {key}", blob(key))) == 1
    assert CountingKeys.looked <= 3 * len(keys)


def test_blobs_are_taken_in_stream_order_whatever_order_they_are_offered_in() -> None:
    """A stream takes one blob at a time, from its first byte; ready ones behind it wait, and do not stop the asking."""
    chunks = [
        Chunk("late", 1, (Blob("a", 20, 10), Blob("b", 0, 10))),
        Chunk("early", 2, (Blob("a", 10, 10), Blob("a", 0, 10))),
    ]
    state = JobState(chunks, ["a", "b"], small_limit=-1, skip_cached=False, in_order=True)
    state.offer(chunks[:1], now=0.0, retry_after_seconds=0.0)
    assert state.take_large() is None
    assert state.seconds_until_ask(10.0, enough=1) == 0.0
    state.offer(chunks[1:], now=10.0, retry_after_seconds=0.0)
    taken = []
    while (number := state.take_large()) is not None:
        taken.append((state.blobs.keys[number], state.blobs.offsets[number]))
        assert state.take_large() is None, "one at a time"
        state.finish(number)
    assert taken == [("a", 0), ("a", 10), ("a", 20), ("b", 0)]
    assert state.settled


def test_a_chunk_that_is_offered_again_does_not_stop_the_asking_for_a_minute() -> None:
    """It comes without a Retry-After; the question is repeated ever less often, and at least every five seconds."""
    chunks = [Chunk("first", 1, (Blob("a", 0, 10),)), Chunk("second", 2, (Blob("b", 0, 10),))]
    state = JobState(chunks, ["a", "b"], small_limit=-1, skip_cached=False)
    state.offer(chunks[:1], now=0.0, retry_after_seconds=None)
    number = state.take_large()
    assert number is not None
    state.finish(number)
    waits = []
    for _ in range(12):
        state.asking()
        state.offer(chunks[:1], now=100.0, retry_after_seconds=None)
        waits.append(state.seconds_until_ask(100.0, enough=1))
    assert waits == sorted(waits, key=lambda wait: wait or 0.0)
    assert 0 < (waits[0] or 0) < 1
    assert waits[-1] == 5.0
    state.offer([], now=100.0, retry_after_seconds=None)
    assert state.seconds_until_ask(100.0, enough=1) == 60.0
