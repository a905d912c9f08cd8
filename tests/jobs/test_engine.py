"""The engine: no barrier between chunks, bounded, never silent about a failure, and over when it says so."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import pytest

from ds3tool.errors import (
    AccessDeniedError,
    BusyError,
    ChecksumError,
    Ds3Error,
    InterruptedRunError,
    JobLostError,
    ServerFaultError,
    SourceError,
    TransportError,
)
from ds3tool.jobs.recorder import MemoryRecorder, MovedBlobs
from ds3tool.protocol.model import Chunk, JobDetails, JobStatus, ReadyChunks
from tests.jobs.doubles import JOB, Stage, answer, blob, chunk, job, not_found

LONG = 60.0  # how long a test waits for what must happen, before it fails


def chunks_of(count: int, per_chunk: int = 1) -> list[Chunk]:
    return [
        chunk(f"c{start}", *(blob(f"k{number}") for number in range(start, min(start + per_chunk, count))))
        for start in range(0, count, per_chunk)
    ]


# -- moving -----------------------------------------------------------------------------------------------------------


def test_every_blob_is_moved_once_and_recorded_with_its_digest() -> None:
    """Each blob is moved exactly once, each object ends exactly once, and the recorder has every digest."""
    stage = Stage([chunk("1", blob("a", 0), blob("b")), chunk("2", blob("a", 10), blob("empty", 0, 0))])
    stage.run()
    assert sorted(stage.mover.moved) == [0, 1, 2, 3]
    assert sorted(stage.ended) == ["a", "b", "empty"]
    assert sorted(stage.mover.objects_moved) == [0, 1, 2]
    places = {(JOB, key, offset) for key, offset in (("a", 0), ("a", 10), ("b", 0), ("empty", 0))}
    assert set(stage.recorder.checksums) == places
    assert all(value is not None for value in stage.recorder.checksums.values())


def test_job_without_blobs_ends_without_a_question() -> None:
    """A job in which nothing is to be moved asks for nothing and starts nothing."""
    stage = Stage([])
    stage.run()
    assert stage.client.asked == 0


def test_no_barrier_between_chunks() -> None:
    """While one blob of the first chunk hangs, the chunks after it are asked for and moved to their end."""
    stage = Stage(chunks_of(40, per_chunk=2), transfers=2)
    others_done = threading.Event()
    given = iter(stage.chunks)
    current: list[Chunk] = []

    def ready(_: int) -> ReadyChunks:
        current[:] = [next(given, stage.chunks[0])]  # one chunk at a time, as with a tiny cache
        return answer(*current, retry_after=1.0)

    def act(number: int, counter: Callable[[int], None]) -> str:
        if number == 0:
            assert others_done.wait(LONG), "the other chunks waited for the first"
        elif len(stage.mover.moved) == 40:
            others_done.set()
        return "digest"

    stage.client.ready = ready
    stage.mover.act = act
    stage.run()
    assert stage.state.done == 40


def test_no_more_blobs_are_in_flight_than_transfers() -> None:
    """With three transfers, never more than three blobs move, and three do when there are as many."""
    stage = Stage(chunks_of(60, per_chunk=20), transfers=3)
    together = threading.Barrier(3)
    stage.mover.act = lambda number, _: str(together.wait(LONG))
    stage.run()
    assert stage.mover.most == 3


def test_blobs_put_into_the_cache_by_others_are_not_moved() -> None:
    """When a put's chunks are gone because all is in cache already, the job is done without sending anything."""
    stage = Stage([chunk("1", blob("a"), blob("b"))])

    def gone(_: int) -> ReadyChunks:
        raise not_found(410)

    stage.client.ready = gone
    stage.client.details = lambda: JobDetails(job(), (chunk("1", blob("a", in_cache=True), blob("b", in_cache=True)),))
    stage.run()
    assert stage.mover.moved == []
    assert sorted(stage.ended) == ["a", "b"]
    assert sorted(stage.mover.objects_moved) == [0, 1]


def test_progress_never_counts_a_blob_twice() -> None:
    """A blob whose sending is repeated counts for its length at most while it moves, and once when it is through."""
    stage = Stage([chunk("1", blob("a", 0, 10))], transfers=1)
    seen: list[int] = []

    def act(number: int, counter: Callable[[int], None]) -> str:
        for _ in range(3):
            counter(10)
            seen.append(stage.engine.bytes_moved)
        return "digest"

    stage.mover.act = act
    stage.run()
    assert seen == [10, 10, 10]
    assert stage.engine.bytes_moved == 10


# -- waiting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("retry_after", [60.0, 300.0, 7.0])
def test_hours_of_empty_answers_are_asked_as_often_as_the_appliance_says(retry_after: float) -> None:
    """Ten hours without a chunk take no real time, and exactly one question each Retry-After."""
    stage = Stage([chunk("1", blob("a"))])
    began = stage.clock.monotonic()
    asked_at: list[float] = []

    def ready(_: int) -> ReadyChunks:
        now = stage.clock.monotonic() - began
        asked_at.append(now)
        return answer(*stage.chunks) if now >= 36_000 else answer(retry_after=retry_after)

    stage.client.ready = ready
    stage.run()
    steps = {round(later - sooner, 6) for sooner, later in itertools.pairwise(asked_at)}
    assert steps == {retry_after}
    assert asked_at[0] == 0
    assert 36_000 <= asked_at[-1] < 36_000 + retry_after + 1
    assert stage.state.done == 1


def test_what_is_waited_for_can_be_seen() -> None:
    """While nothing moves and the appliance said when to come back, the time of the next question is known."""
    stage = Stage([chunk("1", blob("a"))])
    due: list[float] = []

    def tick() -> None:
        if stage.engine.next_ask_at is not None and stage.client.asked == 1:
            due.append(stage.engine.next_ask_at - stage.clock.monotonic())

    stage.on_tick = tick
    stage.client.ready = lambda asked: answer(retry_after=30.0) if asked == 1 else answer(*stage.chunks)
    stage.run()
    assert max(due) == pytest.approx(30.0)
    assert min(due) <= 1.0


# -- failures ---------------------------------------------------------------------------------------------------------


def test_failed_object_does_not_stop_the_others() -> None:
    """An object whose source fails is told once; its other blobs are not moved any more, all others are."""
    stage = Stage([chunk("1", *(blob("bad", index * 10) for index in range(50))), *chunks_of(20)], transfers=1)

    def act(number: int, counter: Callable[[int], None]) -> str:
        if stage.state.blobs.keys[number] == "bad":
            raise SourceError("bad has changed")
        return "digest"

    stage.mover.act = act
    stage.run()
    assert list(stage.failures) == ["bad"]
    assert len(stage.ended) == 20
    assert sum(stage.state.blobs.keys[number] == "bad" for number in stage.mover.moved) == 1
    assert stage.mover.objects_failed == [0]


def test_failed_object_is_given_up_only_when_nothing_of_it_moves() -> None:
    """`object_failed` comes once, and after the last blob of the object has ended its move."""
    stage = Stage([chunk("1", *(blob("a", index * 10) for index in range(3)))], transfers=3)
    all_here = threading.Barrier(3)
    failed = threading.Event()

    def act(number: int, counter: Callable[[int], None]) -> str:
        all_here.wait(LONG)
        if number == 0:
            raise SourceError("changed")
        assert failed.wait(LONG)
        assert stage.mover.objects_failed == []
        return "digest"

    stage.mover.act = act
    stage.on_tick = lambda: failed.set() if stage.failures else None
    stage.run()
    assert stage.mover.objects_failed == [0]
    assert stage.mover.objects_moved == []
    assert stage.ended == []


def test_damage_is_not_hidden_by_what_the_second_try_meets() -> None:
    """A blob that came damaged, and is not there any more when it is fetched again, fails as damaged."""
    stage = Stage(chunks_of(1), method="GET", transfers=1)
    first = ChecksumError("damaged", key="k0", offset=0, expected="a", actual="b")

    def act(number: int, counter: Callable[[int], None]) -> str:
        if len(stage.mover.moved) == 1:  # as the loop for small requests does with what it cannot take
            stage.engine.careful(number, first)
            return "digest of the first try"
        raise not_found()

    stage.mover.act = act
    stage.engine._blobs_moved = lambda numbers, checksums: None  # type: ignore[method-assign]  # the first try is no move
    stage.run()
    assert stage.failures == {"k0": first}


@pytest.mark.parametrize("error", [RuntimeError("a bug"), MemoryError(), AssertionError("impossible")])
def test_what_a_worker_did_not_foresee_reaches_the_caller(error: BaseException) -> None:
    """An exception in a worker that is none of ours is raised by `run`, and no thread goes on."""
    stage = Stage(chunks_of(20))

    def act(number: int, counter: Callable[[int], None]) -> str:
        if number == 7:
            raise error
        return "digest"

    stage.mover.act = act
    with pytest.raises(type(error)):
        stage.run()


def test_failure_in_a_workers_very_last_step_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """When finishing the last object fails in an unforeseen way, `run` does not return as if all were well."""
    stage = Stage(chunks_of(1))
    ending = threading.Event()
    end_workers = stage.engine._end_workers

    def end(threads: Sequence[threading.Thread]) -> None:
        ending.set()
        end_workers(threads)

    def broken(owner: int) -> None:
        assert ending.wait(LONG)
        raise RuntimeError("no room for the name")

    monkeypatch.setattr(stage.engine, "_end_workers", end)
    monkeypatch.setattr(stage.mover, "object_moved", broken)
    with pytest.raises(RuntimeError, match="no room"):
        stage.run()


@dataclass(slots=True)
class FailingRecorder(MemoryRecorder):
    """A journal whose disk is full."""

    def moved(self, job_id: str, blobs: MovedBlobs) -> None:
        raise OSError(28, "No space left on device")


def test_recorder_that_cannot_record_stops_the_run() -> None:
    """What cannot be recorded does not go on: `run` raises the recorder's error, long before all is moved."""
    stage = Stage(chunks_of(1000, per_chunk=10), recorder=FailingRecorder(), transfers=1)

    def act(number: int, counter: Callable[[int], None]) -> str:
        if len(stage.mover.moved) > 500:
            assert stage.transport.told_to_stop.wait(LONG), "it goes on without being recorded"
        return "digest"

    stage.mover.act = act
    with pytest.raises(OSError, match="No space"):
        stage.run()


def test_recorder_is_told_what_was_moved_before_a_failure_ends_the_run() -> None:
    """Blobs that were through when the job was lost are recorded all the same."""
    stage = Stage([chunk("1", blob("a"), blob("b")), chunk("2", blob("c"))], transfers=1)

    def ready(asked: int) -> ReadyChunks:
        if asked == 1:
            return answer(stage.chunks[0])
        if len(stage.mover.moved) < 2:
            return answer(retry_after=0.0)
        raise not_found()

    stage.client.ready = ready
    stage.status = JobStatus.CANCELED
    with pytest.raises(JobLostError):
        stage.run()
    assert {key for _, key, _ in stage.recorder.checksums} == {"a", "b"}


# -- a job that is gone -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["PUT", "GET"])
@pytest.mark.parametrize("forgotten", [False, True])
def test_job_cancelled_while_it_is_asked_after(method: str, forgotten: bool) -> None:
    """When the chunks are gone and the job is cancelled, or nobody knows it, that is a JobLostError with its id."""
    stage = Stage(chunks_of(3), method=method)

    def ready(_: int) -> ReadyChunks:
        raise not_found()

    def details() -> JobDetails:
        if forgotten:
            raise not_found()
        return stage.__class__.details(stage)

    stage.status = JobStatus.CANCELED
    stage.client.ready = ready
    stage.client.details = details
    with pytest.raises(JobLostError) as caught:
        stage.run()
    assert caught.value.job_id == JOB
    assert caught.value.exit_code == 12


@pytest.mark.parametrize("method", ["PUT", "GET"])
@pytest.mark.parametrize("status", [JobStatus.CANCELED, JobStatus.COMPLETED])
def test_an_ended_job_that_lists_no_chunks_is_not_asked_for_ever(method: str, status: JobStatus) -> None:
    """An empty list that says itself that its job has ended is no reason to come back later."""
    stage = Stage(chunks_of(3), method=method)
    stage.status = status
    stage.client.ready = lambda _: ReadyChunks(job(status), (), timedelta(seconds=60))
    with pytest.raises(JobLostError):
        stage.run()
    assert stage.client.asked <= 2


@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_job_cancelled_while_blobs_move(method: str) -> None:
    """When blobs are suddenly not there because the job is cancelled, the run ends with JobLostError at once."""
    stage = Stage(chunks_of(1000, per_chunk=100), method=method)

    def act(number: int, counter: Callable[[int], None]) -> str:
        if len(stage.mover.moved) > 10:
            stage.status = JobStatus.CANCELED
            raise not_found(410)
        return "digest"

    stage.mover.act = act
    with pytest.raises(JobLostError):
        stage.run()
    assert stage.failures == {}


def test_truncated_put_is_not_taken_for_complete() -> None:
    """A put that somebody truncated is COMPLETED soon after; what was never sent must not count as archived."""
    stage = Stage([chunk("1", blob("a")), chunk("2", blob("b"))])

    def ready(asked: int) -> ReadyChunks:
        if not stage.mover.moved:
            return answer(stage.chunks[0], retry_after=0.0)
        raise not_found()

    stage.client.ready = ready
    stage.client.details = lambda: JobDetails(job(JobStatus.COMPLETED), ())
    with pytest.raises(JobLostError, match="truncated"):
        stage.run()
    assert stage.ended == ["a"]
    assert stage.state.objects_done == 1


def test_truncated_put_that_still_goes_on_is_lost_too() -> None:
    """While the truncated job is still being written to tape, its list lacks what was given up: the job is lost."""
    stage = Stage([chunk("1", blob("a")), chunk("2", blob("b"))])

    def ready(asked: int) -> ReadyChunks:
        if asked == 1:
            return answer(stage.chunks[0])
        raise not_found(410)

    stage.client.ready = ready
    stage.client.details = lambda: JobDetails(job(), (chunk("1", blob("a", in_cache=True)),))
    with pytest.raises(JobLostError, match="truncated"):
        stage.run()


def test_blob_refused_because_the_job_was_truncated() -> None:
    """A blob that the job does not list any more when it is sent means that the job was truncated."""
    stage = Stage([chunk("1", blob("a"), blob("b"))], transfers=1)

    def act(number: int, counter: Callable[[int], None]) -> str:
        if number == 1:
            raise not_found()
        return "digest"

    stage.mover.act = act
    stage.client.details = lambda: JobDetails(job(), (chunk("1", blob("a", in_cache=True)),))
    with pytest.raises(JobLostError, match="truncated"):
        stage.run()


def test_get_that_another_client_has_read() -> None:
    """A get that is COMPLETED while blobs were never offered here is lost, and does not wait for ever."""
    stage = Stage(chunks_of(2), method="GET")

    def ready(asked: int) -> ReadyChunks:
        if asked == 1:
            return answer(stage.chunks[0])
        raise not_found()

    stage.status = JobStatus.COMPLETED
    stage.client.ready = ready
    with pytest.raises(JobLostError, match="another client"):
        stage.run()
    assert stage.ended == ["k0"]


def test_missing_objects_fail_one_by_one_while_the_job_goes_on() -> None:
    """Blobs that are not there although the job goes on fail by name; the appliance is asked about them in groups."""
    stage = Stage(chunks_of(400, per_chunk=100), method="GET", transfers=4)

    def act(number: int, counter: Callable[[int], None]) -> str:
        if number % 2:
            raise not_found()
        return "digest"

    stage.mover.act = act
    stage.run()
    assert len(stage.failures) == 200
    assert len(stage.ended) == 200
    assert 1 <= stage.client.looked_up <= 200


def test_missing_object_fails_when_nobody_can_tell_of_the_job() -> None:
    """When the job cannot be asked after, a blob that is not there fails its object and nothing else."""
    stage = Stage(chunks_of(3), method="GET", transfers=1)

    def act(number: int, counter: Callable[[int], None]) -> str:
        if number == 1:
            raise not_found()
        return "digest"

    def details() -> JobDetails:
        raise TransportError("no answer")

    stage.mover.act = act
    stage.client.details = details
    stage.run()
    assert list(stage.failures) == ["k1"]


# -- an appliance that cannot be reached ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        TransportError("no answer"),
        BusyError("busy", status=503, code="ServiceUnavailable"),
        ServerFaultError("broken", status=502, code="BadGateway"),
        AccessDeniedError("clock", status=403, code="RequestTimeTooSkewed"),
    ],
)
def test_when_nothing_moves_any_more_the_run_ends(error: Ds3Error) -> None:
    """When retries are spent, or nothing is permitted any more, the run ends with that, not a blob at a time."""
    stage = Stage(chunks_of(1000, per_chunk=100), transfers=2)

    def act(number: int, counter: Callable[[int], None]) -> str:
        raise error

    stage.mover.act = act
    with pytest.raises(type(error)):
        stage.run()
    assert len(stage.mover.moved) <= 4
    assert stage.failures


def test_one_blob_that_gets_no_answer_does_not_end_the_run_while_others_move() -> None:
    """A blob whose retries are spent while others went well fails its object alone."""
    stage = Stage(chunks_of(20), transfers=2)
    stage.on_tick = lambda: another.set() if stage.state.done else None
    another = threading.Event()

    def act(number: int, counter: Callable[[int], None]) -> str:
        if number == 0:
            assert another.wait(LONG)
            raise TransportError("no answer")
        return "digest"

    stage.mover.act = act
    stage.run()
    assert list(stage.failures) == ["k0"]
    assert len(stage.ended) == 19


def test_bytes_that_a_dead_appliance_swallows_are_no_progress() -> None:
    """Bytes sent that no reply acknowledges do not keep a run alive."""
    stage = Stage(chunks_of(1000, per_chunk=100), transfers=3)

    def act(number: int, counter: Callable[[int], None]) -> str:
        counter(10)
        raise TransportError("no answer")

    stage.mover.act = act
    with pytest.raises(TransportError):
        stage.run()
    assert len(stage.mover.moved) <= 3


def test_appliance_that_stops_answering_questions_ends_the_run() -> None:
    """When the question after chunks gets no answer within the retries, `run` raises that."""
    stage = Stage(chunks_of(2))

    def ready(_: int) -> ReadyChunks:
        raise TransportError("no answer")

    stage.client.ready = ready
    with pytest.raises(TransportError):
        stage.run()


# -- interruption -----------------------------------------------------------------------------------------------------


def test_interruption_ends_every_thread() -> None:
    """A KeyboardInterrupt while blobs are on their way stops the exchanges and becomes InterruptedRunError."""
    stage = Stage(chunks_of(10))

    def act(number: int, counter: Callable[[int], None]) -> str:
        assert stage.transport.told_to_stop.wait(LONG), "nobody stopped this exchange"
        raise TransportError("stopped")

    def tick() -> None:
        if stage.mover.now == stage.transfers:
            raise KeyboardInterrupt

    stage.mover.act = act
    stage.on_tick = tick
    with pytest.raises(InterruptedRunError):
        stage.run()
    assert stage.failures == {}, "what was stopped has not failed"


def test_second_interruption_while_threads_end_leaves_none_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """An impatient second KeyboardInterrupt during the ending neither leaves a thread nor another exception."""
    stage = Stage(chunks_of(10))
    calls: list[None] = []

    def stop() -> None:
        calls.append(None)
        if len(calls) == 1:
            raise KeyboardInterrupt
        stage.transport.told_to_stop.set()

    def act(number: int, counter: Callable[[int], None]) -> str:
        assert stage.transport.told_to_stop.wait(LONG)
        raise TransportError("stopped")

    def tick() -> None:
        if stage.mover.now == stage.transfers and not calls:
            raise KeyboardInterrupt

    monkeypatch.setattr(stage.transport, "stop_exchanges", stop)
    stage.mover.act = act
    stage.on_tick = tick
    with pytest.raises(InterruptedRunError):
        stage.run()
    assert len(calls) >= 2


def test_interruption_while_the_appliance_is_asked() -> None:
    """A KeyboardInterrupt in the middle of a question becomes InterruptedRunError too."""
    stage = Stage(chunks_of(2))

    def ready(_: int) -> ReadyChunks:
        raise KeyboardInterrupt

    stage.client.ready = ready
    with pytest.raises(InterruptedRunError):
        stage.run()


# -- everything at once -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_random_jobs_come_to_their_end(seed: int) -> None:
    """Whatever the order of chunks, answers and failures: each blob ends once, and each object is done or told."""
    chance = random.Random(seed)
    blobs = [blob(f"k{number}", index * 10) for number in range(60) for index in range(chance.randrange(1, 5))]
    chance.shuffle(blobs)
    size = chance.randrange(1, 9)
    chunks = [chunk(f"c{start}", *blobs[start : start + size]) for start in range(0, len(blobs), size)]
    stage = Stage(chunks, transfers=chance.randrange(1, 7), method=chance.choice(["PUT", "GET"]))
    lock = threading.Lock()

    def ready(_: int) -> ReadyChunks:
        with lock:
            some = chance.sample(chunks, chance.randrange(len(chunks) // 2 + 1))
            return answer(*some, retry_after=chance.choice([None, 0.0, 1.0, 60.0]))

    def act(number: int, counter: Callable[[int], None]) -> str:
        with lock:
            fate = chance.random()
        counter(10)
        if fate < 0.02:
            raise SourceError("changed")
        if fate < 0.04:
            raise not_found()
        return "digest"

    stage.client.ready = ready
    stage.mover.act = act
    stage.run()
    state = stage.state
    assert state.settled
    assert state.done + state.failed == len(blobs)
    assert len(stage.mover.moved) == len(set(stage.mover.moved))
    assert set(stage.ended) | set(stage.failures) == set(stage.keys)
    assert set(stage.ended) & set(stage.failures) == set()
    assert len(stage.ended) == len(set(stage.ended)) == state.objects_done
    assert sorted(stage.mover.objects_failed) == sorted(stage.keys.index(key) for key in stage.failures)
    assert len(stage.recorder.checksums) == state.done
