"""Times the steps of each blob without a hook in what moves it: around the source, the sink and the recorder."""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field

from ds3tool.jobs.arrival import Arrival
from ds3tool.jobs.ends import Failure, OpenObject, Source, SourceObject, TargetObject
from ds3tool.jobs.plan import PlannedJob
from ds3tool.jobs.recorder import Arriving, MovedBlobs, Recorder
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.messages import Response
from ds3tool.protocol.model import ChecksumType, Job
from ds3tool.sinks.discard import DiscardSink
from ds3tool.sinks.local import LocalSink
from ds3tool.transport.bodies import OutgoingBody, Wire

# Of so many answers each one is remembered; more would only make the percentiles finer.
_MOST_ANSWERS = 100_000


@dataclass(slots=True)
class Stopwatch:
    """Seconds of all workers together, so that they can be more than have passed. Safe for several threads.

    `reading` was spent in the source, `moving` in bodies on the connection, and `answers` are the waits for an answer,
    one a request: after a put's last byte, before a get's first.
    """

    reading: float = 0.0
    moving: float = 0.0
    answering: float = 0.0
    answers: array[float] = field(default_factory=lambda: array("d"))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, seconds: float) -> None:
        """Add time in the source."""
        with self._lock:
            self.reading += seconds

    def moved(self, seconds: float) -> None:
        """Add time in a body."""
        with self._lock:
            self.moving += seconds

    def answered(self, seconds: float) -> None:
        """Add the wait for one answer."""
        with self._lock:
            self.answering += seconds
            if len(self.answers) < _MOST_ANSWERS:
                self.answers.append(seconds)


@dataclass(frozen=True, slots=True)
class _TimedBody:
    inner: OutgoingBody
    opened: _TimedObject

    @property
    def length(self) -> int:
        return self.inner.length

    def send_to(self, wire: Wire) -> None:
        began = time.perf_counter()
        try:
            self.inner.send_to(wire)
        finally:
            self.opened.sent_at = now = time.perf_counter()
            self.opened.watch.moved(now - began)


@dataclass(slots=True)
class _TimedObject:
    """An object while one of its blobs is sent, by one thread."""

    inner: OpenObject
    watch: Stopwatch
    sent_at: float | None = None

    def body(self, offset: int, length: int, *, counter: Callable[[int], None]) -> _TimedBody:
        return _TimedBody(self.inner.body(offset, length, counter=counter), self)

    def read(self, offset: int, length: int) -> bytes:
        began = time.perf_counter()
        data = self.inner.read(offset, length)
        self.watch.read(time.perf_counter() - began)
        return data

    def check_unchanged(self) -> None:
        # It is asked for as soon as the answer is there.
        if self.sent_at is not None:
            self.watch.answered(time.perf_counter() - self.sent_at)
            self.sent_at = None
        self.inner.check_unchanged()

    def metadata(self) -> Mapping[str, str]:
        return self.inner.metadata()

    def close(self) -> None:
        self.inner.close()


class TimedSource:
    """A source whose objects' bytes are timed: their reading, their sending, and how long the answer takes."""

    def __init__(self, inner: Source, watch: Stopwatch) -> None:
        self._inner = inner
        self._watch = watch

    @property
    def sequential(self) -> bool:
        """As the source is."""
        return self._inner.sequential

    @property
    def distant(self) -> bool:
        """As the source is."""
        return self._inner.distant

    def objects(self) -> Iterator[SourceObject]:
        """Yield what the source has."""
        return self._inner.objects()

    @property
    def failures(self) -> list[Failure]:
        """What the source could not list."""
        return self._inner.failures

    @property
    def skipped(self) -> list[str]:
        """What the source left out."""
        return self._inner.skipped

    @property
    def notes(self) -> list[str]:
        """What the source has to say."""
        return self._inner.notes

    def open(self, item: SourceObject) -> _TimedObject:
        """Open an object of the source."""
        return _TimedObject(self._inner.open(item), self._watch)


class _Receiving(threading.local):
    """When this thread has taken its last blob."""

    ended_at: float | None = None


class TimedDiscard(DiscardSink):
    """Keeps nothing, and times what comes."""

    def __init__(self, watch: Stopwatch) -> None:
        super().__init__()
        self._watch = watch
        self._mine = _Receiving()

    def receive(
        self, item: TargetObject, arrival: Arrival, response: Response, *, counter: Callable[[int], None]
    ) -> str | None:
        """Receive one blob."""
        with _received(self._watch, self._mine):
            return super().receive(item, arrival, response, counter=counter)


class TimedFiles(LocalSink):
    """Writes files below a folder, and times what comes."""

    def __init__(self, folder: str, watch: Stopwatch) -> None:
        super().__init__(folder)
        self._watch = watch
        self._mine = _Receiving()

    def receive(
        self, item: TargetObject, arrival: Arrival, response: Response, *, counter: Callable[[int], None]
    ) -> str | None:
        """Receive one blob."""
        with _received(self._watch, self._mine):
            return super().receive(item, arrival, response, counter=counter)


class _received:  # noqa: N801  # a context manager, named for how it reads
    """Times one blob, and what has passed in this thread since the one before."""

    def __init__(self, watch: Stopwatch, mine: _Receiving) -> None:
        self._watch = watch
        self._mine = mine
        self._began = time.perf_counter()

    def __enter__(self) -> None:
        if self._mine.ended_at is not None:
            self._watch.answered(self._began - self._mine.ended_at)

    def __exit__(self, *_: object) -> None:
        self._mine.ended_at = now = time.perf_counter()
        self._watch.moved(now - self._began)


class TimedRecorder:
    """Hands all on to `inner`, and says when the first job was there, and each time when blobs have come through.

    It does not last: nobody resumes a measurement, so that a run which is stopped ends its jobs. `jobs` are their ids.
    """

    lasting = False

    def __init__(self, inner: Recorder, *, begun: Callable[[], None], moved: Callable[[int, int], None]) -> None:
        self.jobs: list[str] = []
        self._inner = inner
        self._begun = begun
        self._moved = moved

    def plans(self, plans: Iterable[PlannedJob]) -> Iterator[PlannedJob]:
        """Take what a run is going to do, and give it back job by job."""
        return self._inner.plans(plans)

    def planned(self, plan: PlannedJob, *, instead_of: PlannedJob | None = None) -> None:
        """Hand it on."""
        self._inner.planned(plan, instead_of=instead_of)

    def created(self, plan: PlannedJob, job: Job) -> None:
        """Hand it on; the time runs from the first one."""
        self._inner.created(plan, job)
        self.jobs.append(job.id)
        if len(self.jobs) == 1:
            self._begun()

    def moved(self, job_id: str, blobs: MovedBlobs) -> None:
        """Hand it on, and say how many blobs and bytes these are."""
        self._moved(len(blobs), sum(blobs.lengths))
        self._inner.moved(job_id, blobs)

    def arriving(self, job_id: str, blobs: Sequence[Arriving]) -> None:
        """Hand it on."""
        self._inner.arriving(job_id, blobs)

    def appeared(self, job_id: str, owners: Sequence[int]) -> None:
        """Hand it on."""
        self._inner.appeared(job_id, owners)

    def deleting(self, bucket: str, key: str, version_id: str | None, etag: str | None) -> None:
        """Hand it on."""
        self._inner.deleting(bucket, key, version_id, etag)

    def digested(self, job_id: str, owner: int, kind: ChecksumType, value: str) -> None:
        """Hand it on."""
        self._inner.digested(job_id, owner, kind, value)

    def failed(self, job_id: str | None, failure: Failure) -> None:
        """Hand it on."""
        self._inner.failed(job_id, failure)

    def noted(self, job: Job) -> None:
        """Hand it on."""
        self._inner.noted(job)

    def finished(self, plan: PlannedJob) -> None:
        """Hand it on."""
        self._inner.finished(plan)

    def tick(self) -> None:
        """Hand it on."""
        self._inner.tick()

    def flush(self) -> None:
        """Hand it on."""
        self._inner.flush()
