"""Stand-ins for what the engine acts upon: an appliance that answers from a script, a mover, a clock, a recorder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from ds3tool.client import Ds3Client
from ds3tool.clock import ManualClock, Waitable
from ds3tool.errors import Ds3Error, NotFoundError
from ds3tool.jobs.engine import Engine, EngineSettings
from ds3tool.jobs.plan import PlannedJob
from ds3tool.jobs.recorder import MemoryRecorder
from ds3tool.jobs.state import JobState
from ds3tool.protocol.known_blobs import KnownBlobs
from ds3tool.protocol.model import Blob, ChecksumType, Chunk, Job, JobDetails, JobStatus, JobType, ReadyChunks
from ds3tool.transport.pool import Transport
from ds3tool.transport.ratelimit import RateLimit
from ds3tool.transport.settings import ConnectionSettings
from ds3tool.transport.shapes import AnswerHead

JOB = "job-1"


def not_found(status: int = 404) -> NotFoundError:
    return NotFoundError("it is not there", status=status, code="NotFound")


def job(status: JobStatus = JobStatus.IN_PROGRESS, type_: JobType = JobType.PUT) -> Job:
    return Job(JOB, "bucket", type_, status)


def chunk(identifier: str, *blobs: Blob) -> Chunk:
    return Chunk(identifier, 1, blobs)


def blob(key: str, offset: int = 0, length: int = 10, *, in_cache: bool = False) -> Blob:
    return Blob(key, offset, length, in_cache)


class SwiftClock(ManualClock):
    """A clock whose waits take no time at all, unless what is waited for happens."""

    def wait(self, event: Waitable, seconds: float) -> bool:
        if event.wait(0):
            return True
        self.advance(seconds)
        return False


class QuietTransport(Transport):
    """A transport that nobody sends through; tells when exchanges are to be stopped."""

    def __init__(self) -> None:
        # A rate limit keeps the engine from its loop for small requests, which needs real sockets.
        super().__init__(ConnectionSettings("http://127.0.0.1:9", "id", "key"), limit=RateLimit(1 << 40))
        self.told_to_stop = threading.Event()

    def stop_exchanges(self) -> None:
        self.told_to_stop.set()


class ScriptedClient(Ds3Client):
    """Answers the questions after chunks by `ready`, and after the job by `details`; counts both, and touches."""

    def __init__(self, ready: Callable[[int], ReadyChunks], details: Callable[[], JobDetails]) -> None:
        self.ready = ready
        self.details = details
        self.asked = 0
        self.looked_up = 0
        self.touched = 0

    def get_ready_chunks(
        self,
        job_id: str,
        *,
        preferred_number: int | None = None,
        chunk_id: str | None = None,
        known: KnownBlobs | None = None,
    ) -> ReadyChunks:
        assert job_id == JOB
        self.asked += 1
        return self.ready(self.asked)

    def get_job(self, job_id: str) -> JobDetails:
        assert job_id == JOB
        self.looked_up += 1
        return self.details()

    def touch_job(self, job_id: str) -> None:
        assert job_id == JOB
        self.touched += 1


def answer(*chunks: Chunk, retry_after: float | None = 60.0) -> ReadyChunks:
    return ReadyChunks(job(), chunks, None if retry_after is None else timedelta(seconds=retry_after))


class RecordingMover:
    """Moves blobs by calling `act`, and writes down what it was told."""

    def __init__(self, method: str = "PUT") -> None:
        self.method = method
        self.act: Callable[[int, Callable[[int], None]], str | None] = lambda number, _: f"digest {number}"
        self.lock = threading.Lock()
        self.moved: list[int] = []
        self.now = self.most = 0
        self.objects_moved: list[int] = []
        self.objects_failed: list[int] = []

    def move(self, number: int, counter: Callable[[int], None]) -> str | None:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
            self.moved.append(number)
        try:
            return self.act(number, counter)
        finally:
            with self.lock:
                self.now -= 1

    def small_request(self, number: int) -> bytes:
        raise AssertionError("there is no loop for small requests here")

    def small_requests(self, numbers: Iterable[int]) -> list[bytes]:
        raise AssertionError("there is no loop for small requests here")

    def small_answer(self, number: int, head: AnswerHead, body: memoryview) -> str | None:
        raise AssertionError("there is no loop for small requests here")

    def small_lost(self, number: int) -> None:
        raise AssertionError("there is no loop for small requests here")

    def checksum_kinds(self, numbers: Sequence[int]) -> list[ChecksumType | None]:
        return [ChecksumType.MD5] * len(numbers)

    @property
    def keeps_back(self) -> Callable[[int], bool] | None:
        return None

    def object_moved(self, owner: int) -> None:
        self.objects_moved.append(owner)

    def objects_through(self, owners: Sequence[int]) -> None:
        for owner in owners:
            self.object_moved(owner)

    def object_failed(self, owner: int) -> None:
        self.objects_failed.append(owner)


@dataclass
class Stage:
    """An engine with everything around it, for one job of `chunks`."""

    chunks: Sequence[Chunk]
    transfers: int = 4
    most: int = 0
    method: str = "PUT"
    clock: ManualClock = field(default_factory=SwiftClock)
    recorder: MemoryRecorder = field(default_factory=MemoryRecorder)
    failures: dict[str, Ds3Error] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    on_tick: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.keys = list(dict.fromkeys(one.key for each in self.chunks for one in each.blobs))
        self.mover = RecordingMover(self.method)
        self.transport = QuietTransport()
        self.status = JobStatus.IN_PROGRESS
        self.client = ScriptedClient(lambda _: answer(*self.chunks), self.details)
        self.state = JobState(self.chunks, self.keys, small_limit=-1, skip_cached=self.method == "PUT")
        plan = PlannedJob(JobType(self.method), "bucket")
        plan.keys = self.keys
        self.recorder.created(plan, job(type_=JobType(self.method)))
        self.engine = Engine(
            self.client,
            self.transport,
            job_id=JOB,
            state=self.state,
            mover=self.mover,
            recorder=self.recorder,
            settings=EngineSettings(self.transfers, 1, self.most),
            clock=self.clock,
            on_failure=self._failed,
            on_objects=lambda owners: self.ended.extend(self.keys[owner] for owner in owners),
            on_tick=lambda: self.on_tick(),
        )

    def details(self) -> JobDetails:
        """Return the job with all its chunks, as the appliance has it."""
        return JobDetails(job(self.status, JobType(self.method)), tuple(self.chunks))

    def _failed(self, owner: int, error: Ds3Error) -> None:
        assert self.keys[owner] not in self.failures, "an object fails once"
        self.failures[self.keys[owner]] = error

    def number(self, key: str, offset: int = 0) -> int:
        """Return the number of a blob."""
        blobs = self.state.blobs
        return next(n for n in range(len(blobs)) if (blobs.keys[n], blobs.offsets[n]) == (key, offset))

    def run(self) -> None:
        """Run the engine, and see to it that no thread of it is left, however it ends."""
        before = set(threading.enumerate())
        try:
            self.engine.run()
        finally:
            assert set(threading.enumerate()) <= before, "a thread is left running"
