"""Each blob of a resumed put is through, to be sent, or asked after: the job's list and the journal tell which."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from ds3tool.jobs.doubts import Doubt
from ds3tool.jobs.recorder import MovedBlobs
from ds3tool.jobs.remainder import HeldBlobs
from ds3tool.jobs.state import BlobState, JobState
from ds3tool.protocol.model import Blob, ChecksumType, Chunk

KEYS = ["a", "b", "c"]
LENGTH = 10


def holding(places: Iterable[tuple[int, int]]) -> HeldBlobs:
    held = HeldBlobs()
    for owner, offset in places:
        held.add(MovedBlobs([owner], [offset], [LENGTH], [ChecksumType.MD5], ["digest"]))
    return held


def resumed(
    listed: Iterable[tuple[int, int, bool]], held: Iterable[tuple[int, int]], blobs: tuple[int, int, int]
) -> JobState:
    """Return the state of a job of three objects of so many blobs; `listed` are owner, offset, and whether in cache."""
    chunks = [
        Chunk(f"chunk {number}", number, [Blob(KEYS[owner], offset, LENGTH, in_cache)])
        for number, (owner, offset, in_cache) in enumerate(listed)
    ]
    return JobState(
        chunks,
        KEYS,
        small_limit=5,
        skip_cached=True,
        held=holding(held),
        sizes=[count * LENGTH for count in blobs],
    )


def at(state: JobState, owner: int, offset: int) -> tuple[BlobState, Doubt]:
    number = next(n for n in state.numbers_of(owner) if state.blobs.offsets[n] == offset)
    return state.state_of(number), state.doubt_of(number)


def test_each_case_has_its_beginning() -> None:
    """Listed or not, in the cache or not, held or not: six cases, each of its own."""
    state = resumed(
        listed=[(0, 0, True), (0, 10, True), (0, 20, False), (1, 0, False)],
        held=[(0, 0), (0, 20), (1, 10)],
        blobs=(3, 2, 1),
    )
    assert at(state, 0, 0) == (BlobState.DONE, Doubt.NONE)
    assert at(state, 0, 10) == (BlobState.READY, Doubt.UNRECORDED)
    assert at(state, 0, 20) == (BlobState.WAITING, Doubt.NOT_IN_CACHE)
    assert at(state, 1, 0) == (BlobState.WAITING, Doubt.NONE)
    assert at(state, 1, 10) == (BlobState.DONE, Doubt.NONE)
    assert at(state, 2, 0) == (BlobState.WAITING, Doubt.UNLISTED)
    assert all(state.covers(owner, size) for owner, size in enumerate((30, 20, 10)))


def test_what_is_doubtful_is_asked_after_when_nothing_else_is_left() -> None:
    """A chunk may offer it meanwhile, which ends the doubt."""
    state = resumed(listed=[(0, 0, False), (0, 10, False), (1, 0, False)], held=[(0, 0), (0, 10)], blobs=(2, 1, 0))
    assert (state.waiting, state.sure_waiting, state.raise_doubts()) == (3, 1, 0)
    offered = Chunk("chunk 1", 1, [Blob("a", 10, LENGTH)])
    assert state.offer([offered, Chunk("chunk 2", 2, [Blob("b", 0, LENGTH)])], now=0.0, retry_after_seconds=1.0) == 2
    assert at(state, 0, 10) == (BlobState.READY, Doubt.NONE)
    assert (state.sure_waiting, state.raise_doubts()) == (0, 0)
    for _ in range(2):
        number = state.take_large()
        assert number is not None
        state.finish(number)
    assert state.raise_doubts() == 1
    number = state.take_large()
    assert number is not None
    assert state.not_there(number)
    assert at(state, 0, 0) == (BlobState.WAITING, Doubt.NOT_IN_CACHE)
    assert state.raise_doubts() == 1, "it may be there by the next time"


def test_unrecorded_blob_that_is_not_there_is_sent_like_any_other() -> None:
    """It waits for its chunk, and nobody asks after it again."""
    state = resumed(listed=[(0, 0, True)], held=[], blobs=(1, 0, 0))
    number = state.take_large()
    assert number is not None
    assert state.not_there(number)
    assert (state.doubt_of(number), state.sure_waiting, state.raise_doubts()) == (Doubt.NONE, 1, 0)


def test_blobs_of_a_fresh_job_are_never_doubtful() -> None:
    """Without a journal's word there is nothing to doubt."""
    state = JobState([Chunk("c", 1, [Blob("a", 0, LENGTH)])], KEYS, small_limit=5, skip_cached=True)
    state.doubt_all()
    assert (state.sure_waiting, state.raise_doubts(), state.doubt_of(0)) == (1, 0, Doubt.NONE)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_every_blob_comes_to_one_end_whatever_is_listed_and_held(data: st.DataObject) -> None:
    """However the lists, the journal and the answers are mixed, counts add up and each object ends once."""
    counts = (data.draw(st.integers(0, 4)), data.draw(st.integers(0, 4)), data.draw(st.integers(0, 2)))
    places = [(owner, index * LENGTH) for owner, count in enumerate(counts) for index in range(count)]
    some = st.sets(st.sampled_from(places)) if places else st.just(set[tuple[int, int]]())
    listed, held = data.draw(some), data.draw(some)
    cached = {place for place in listed if data.draw(st.booleans())}
    state = resumed([(*place, place in cached) for place in sorted(listed)], sorted(held), counts)
    ended = {owner for owner, count in enumerate(counts) if count and not state.blobs_left[owner]}
    chunks = [Chunk("again", 9, [Blob(KEYS[owner], offset, LENGTH)]) for owner, offset in sorted(listed)]
    for _ in range(200):
        if state.settled:
            break
        number = state.take_large()
        if number is None:
            taken = state.take_small(1)
            number = taken[0] if taken else None
        if number is None:
            if not state.raise_doubts():
                state.offer(chunks, now=0.0, retry_after_seconds=1.0)
            continue
        doubt = state.doubt_of(number)
        if doubt and data.draw(st.booleans()):
            if doubt is Doubt.UNLISTED:
                state.fail(number)
            else:
                state.not_there(number)
                state.offer(chunks, now=0.0, retry_after_seconds=1.0)
        else:
            owner = state.finish(number)
            if owner is not None:
                assert owner not in ended
                ended.add(owner)
        states = [state.state_of(n) for n in range(len(state.blobs))]
        assert (state.waiting, state.ready, state.moving) == tuple(
            states.count(one) for one in (BlobState.WAITING, BlobState.READY, BlobState.MOVING)
        )
        waiting = [n for n in range(len(states)) if states[n] == BlobState.WAITING]
        assert state.sure_waiting == sum(not state.doubt_of(n) for n in waiting)
    assert state.settled
    assert ended == {owner for owner, count in enumerate(counts) if count and not state.failed_objects[owner]}
