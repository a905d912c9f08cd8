"""The engine: asks for ready chunks and hands blobs to workers, without a barrier between chunks.

It knows neither sources nor sinks: a `Mover` moves single blobs, `JobState` decides, threads act. In flight are at
most `transfers` blobs of the careful workers and `lanes` small ones; a worker holds one buffer of 1 MiB, a lane one
small blob, so memory is transfers x 1 MiB + lanes x (64 KiB + small limit), whatever the job's size.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from ds3tool.client import Ds3Client
from ds3tool.clock import Clock
from ds3tool.errors import Ds3Error, InterruptedRunError, JobLostError, NotFoundError
from ds3tool.jobs.recorder import Recorder
from ds3tool.jobs.state import JobState
from ds3tool.protocol.model import JobStatus
from ds3tool.transport.burst import Burst
from ds3tool.transport.pool import Transport
from ds3tool.transport.replies import ReplyHead

_log = logging.getLogger(__name__)

# Blobs up to this size go through the small-request loop. Source: measured, see docs/decisions.md.
SMALL_BLOB_BYTES = 256 * 1024
DEFAULT_TRANSFERS = 4
DEFAULT_LANES = 16
_SMALL_BATCH = 64
_TICK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How many blobs may be on their way at once: large ones by threads, small ones by connections of one loop."""

    transfers: int = DEFAULT_TRANSFERS
    lanes: int = DEFAULT_LANES

    @classmethod
    def of(cls, transfers: int | None) -> EngineSettings:
        """Return the settings that `--transfers N` means: N of either kind; the defaults without it."""
        return cls() if transfers is None else cls(transfers, transfers)


class Mover(Protocol):
    """Moves the blobs of one job; told by their numbers in the job's state. Called from several threads."""

    method: str

    def move(self, number: int, counter: Callable[[int], None]) -> str | None:
        """Move one blob carefully, with retries; return its digest in base64 (None where there is none).

        `counter` is told the bytes as they pass. Raises a Ds3Error when the blob cannot be moved.
        """
        ...

    def small_request(self, number: int) -> bytes:
        """Return a whole signed request for a small blob; a Ds3Error when its source cannot be read."""
        ...

    def small_answer(self, number: int, head: ReplyHead, body: memoryview) -> str | None:
        """Take the successful reply to it; return the digest. Raises a Ds3Error when the bytes are wrong."""
        ...

    def object_moved(self, owner: int) -> None:
        """All blobs of an object are through."""
        ...

    def object_failed(self, owner: int) -> None:
        """An object will not be finished."""
        ...


class _Counter:
    """Bytes on their way of one worker; read by the progress display, written by its thread alone."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, count: int) -> None:
        self.count += count


class Engine:
    """Moves all blobs of one job that a `JobState` holds.

    `on_failure` is told each object that cannot be done, `on_objects` those of which all blobs are through, and
    `on_tick` is called a few times a second; all from `run`'s thread.
    """

    def __init__(
        self,
        client: Ds3Client,
        transport: Transport,
        *,
        job_id: str,
        state: JobState,
        mover: Mover,
        recorder: Recorder,
        settings: EngineSettings,
        clock: Clock,
        on_failure: Callable[[int, Ds3Error], None],
        on_objects: Callable[[Sequence[int]], None] = lambda owners: None,  # noqa: ARG005
        on_tick: Callable[[], None] = lambda: None,
    ) -> None:
        self._client = client
        self._transport = transport
        self._job_id = job_id
        self.state = state
        self._mover = mover
        self._recorder = recorder
        self._settings = settings
        self._clock = clock
        self._on_failure = on_failure
        self._on_objects = on_objects
        self._on_tick = on_tick
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._work = threading.Condition(self._lock)
        self._small_work = threading.Condition(self._lock)
        self._over = False
        self._crash: BaseException | None = None
        self._lost: Ds3Error | None = None
        self._counters = [_Counter() for _ in range(settings.transfers)]
        self._moved_numbers: list[int] = []
        self._moved_checksums: list[str | None] = []
        self._ended_objects: list[int] = []
        self._failed: list[tuple[int, Ds3Error]] = []
        self._burst: Burst | None = None
        self.next_ask_at: float | None = None
        self.waiting_since: float | None = None

    # -- the loop ----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Move every blob, or tell why not; returns when each has come to its end.

        Raises JobLostError when the job is gone under us, InterruptedRunError on KeyboardInterrupt, and whatever
        the recorder raises. No thread is left running.
        """
        with self._workers():
            try:
                self._loop()
            except KeyboardInterrupt:
                raise InterruptedRunError("interrupted", hint="run the command again for the rest") from None

    def _loop(self) -> None:
        enough = max(2 * self._settings.transfers, 2 * self._settings.lanes)
        while True:
            with self._changed:
                if self._crash is not None:
                    raise self._crash
                if self._lost is not None:
                    raise self._lost
                seconds = self.state.seconds_until_ask(self._clock.monotonic(), enough=enough)
                settled = self.state.settled
                moving = self.state.moving or self.state.ready
                self.next_ask_at = None if seconds is None else self._clock.monotonic() + seconds
            self._tell()
            if settled:
                return
            if seconds is None:
                with self._changed:
                    if not self._ended_or_due(enough):
                        self._changed.wait(_TICK_SECONDS)
            elif seconds > 0:
                self._wait(seconds, moving=bool(moving), enough=enough)
            else:
                self._ask()

    def _ended_or_due(self, enough: int) -> bool:
        return (
            self.state.settled
            or self._crash is not None
            or self._lost is not None
            or self.state.seconds_until_ask(self._clock.monotonic(), enough=enough) == 0
        )

    def _wait(self, seconds: float, *, moving: bool, enough: int) -> None:
        """Wait until it is time to ask, or something has changed; in short steps, so that the display moves."""
        with self._changed:
            if self._ended_or_due(enough):
                return
            self._clock.wait(self._changed, min(seconds, _TICK_SECONDS) if moving else min(seconds, 1.0))

    def _ask(self) -> None:
        try:
            ready = self._client.get_ready_chunks(self._job_id)
        except NotFoundError as error:
            self._no_more_chunks(error)
            return
        with self._lock:
            fresh = self.state.offer(
                ready.chunks, now=self._clock.monotonic(), retry_after_seconds=_seconds(ready.retry_after)
            )
            self.waiting_since = None if fresh else self.waiting_since or self._clock.monotonic()
            if fresh:
                self._work.notify_all()
                self._small_work.notify_all()
        _log.debug("job %s: %d chunks ready, %d blobs new", self._job_id, len(ready.chunks), fresh)

    def _no_more_chunks(self, error: NotFoundError) -> None:
        """The appliance has no chunks to give any more: find out why. Raises JobLostError when the job is gone.

        A put's blobs may be there already (empty objects of older releases, another client's work); a get's
        cannot, so a get is asked for again until the appliance says something else.
        """
        try:
            details = self._client.get_job(self._job_id)
            status = details.job.status
        except NotFoundError:
            raise self._job_lost() from error
        if status == JobStatus.CANCELED:
            raise self._job_lost() from error
        if status == JobStatus.COMPLETED and self._mover.method == "GET" and not self.state.moving:
            raise JobLostError(
                f"job {self._job_id} is COMPLETED on the appliance, but blobs of it were never offered here",
                job_id=self._job_id,
                hint="another client may have read them; get what is missing again",
            ) from error
        with self._lock:
            ended = []
            if self._mover.method == "PUT":
                ended = self.state.accept_received(details.chunks, all_of_them=status == JobStatus.COMPLETED)
            self.state.offer((), now=self._clock.monotonic(), retry_after_seconds=None)
        for owner in ended:
            self._mover.object_moved(owner)

    def _job_lost(self) -> JobLostError:
        return JobLostError(
            f"job {self._job_id} was cancelled or has expired",
            job_id=self._job_id,
            hint="do what is missing again; what was complete is kept",
        )

    def _tell(self) -> None:
        """Hand on what has gathered: to the recorder and to whoever wants to know of failures and time."""
        with self._lock:
            numbers, self._moved_numbers = self._moved_numbers, []
            checksums, self._moved_checksums = self._moved_checksums, []
            ended, self._ended_objects = self._ended_objects, []
            failed, self._failed = self._failed, []
        if numbers:
            self._recorder.moved(self._job_id, self.state.blobs, numbers, checksums)
        if ended:
            self._on_objects(ended)
        for owner, error in failed:
            self._on_failure(owner, error)
        self._on_tick()

    # -- workers -----------------------------------------------------------------------------------------------

    @contextmanager
    def _workers(self) -> Iterator[None]:
        threads = [
            threading.Thread(
                target=self._careful_worker, args=(counter,), name=f"ds3tool-transfer-{number}", daemon=True
            )
            for number, counter in enumerate(self._counters)
        ]
        if Burst.suits(self._transport):
            self._burst = Burst(
                self._transport,
                method=self._mover.method,
                lanes=self._settings.lanes,
                largest_reply=SMALL_BLOB_BYTES + 64 * 1024,
            )
            threads.append(
                threading.Thread(target=self._small_worker, args=(self._burst,), name="ds3tool-small", daemon=True)
            )
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._over = True
                self._work.notify_all()
                self._small_work.notify_all()
            if self._burst is not None and not self.state.settled:
                self._burst.stop()
            for thread in threads:
                thread.join(0 if not self.state.settled else None)
                while thread.is_alive():  # one may have begun an exchange after the last call
                    self._transport.stop_exchanges()
                    thread.join(0.2)
            if self._burst is not None:
                self._burst.close()
            self._tell()

    def _careful_worker(self, counter: _Counter) -> None:
        try:
            while True:
                with self._work:
                    while (number := None if self._over else self.state.take_large()) is None:
                        if self._over:
                            return
                        self._work.wait()
                self._move(number, counter)
        except BaseException as error:  # noqa: BLE001  # a thread's death must not be silent: `run` raises it
            self._crashed(error)

    def _move(self, number: int, counter: _Counter) -> None:
        try:
            checksum = self._mover.move(number, counter)
        except Ds3Error as error:
            self._blob_failed(number, error)
        else:
            self._blob_moved(number, checksum)
        finally:
            counter.count = 0

    def _small_worker(self, burst: Burst) -> None:
        try:
            work = _SmallBlobs(self)
            while True:
                with self._small_work:
                    while not self._over and not work.refill(self.state):
                        self._small_work.wait()
                    if self._over:
                        break
                try:
                    burst.run(work)
                except Ds3Error as error:  # no connection at all: the careful path has the patience for it
                    _log.info("small blobs go one by one: %s", error)
                    work.give_back()
            work.give_back()
        except BaseException as error:  # noqa: BLE001
            self._crashed(error)

    def _crashed(self, error: BaseException) -> None:
        with self._lock:
            self._crash = self._crash or error
            self._changed.notify_all()

    def _blob_moved(self, number: int, checksum: str | None) -> None:
        with self._lock:
            owner = self.state.finish(number)
            self._moved_numbers.append(number)
            self._moved_checksums.append(checksum)
            if owner is not None:
                self._ended_objects.append(owner)
            self._changed.notify_all()
        if owner is not None:
            self._mover.object_moved(owner)

    def _blob_failed(self, number: int, error: Ds3Error) -> None:
        lost = None
        if isinstance(error, NotFoundError):
            lost = self._lost_reason(error)
        with self._lock:
            owner = self.state.object_of[number]
            first = self.state.fail(number)
            if lost is not None:
                self._lost = self._lost or lost
            elif first:
                self._failed.append((owner, error))
            self._changed.notify_all()
        if first:
            self._mover.object_failed(owner)

    def _lost_reason(self, error: NotFoundError) -> JobLostError | None:
        """Return what to raise when a 404 or 410 of a blob means that its whole job is gone."""
        try:
            status = self._client.get_job(self._job_id).job.status
        except Ds3Error as again:
            status = JobStatus.CANCELED if isinstance(again, NotFoundError) else JobStatus.IN_PROGRESS
        if status != JobStatus.CANCELED:
            return None
        lost = self._job_lost()
        lost.__cause__ = error
        return lost

    def careful(self, number: int) -> None:
        """A small blob got no plain answer: let a careful worker try it."""
        with self._lock:
            self.state.put_back(number)
            self._work.notify()

    # -- the display -------------------------------------------------------------------------------------------

    @property
    def bytes_moved(self) -> int:
        """Bytes through or on their way; only for display, since it is read without a lock."""
        return self.state.bytes_done + sum(counter.count for counter in self._counters)


class _SmallBlobs:
    """What the small-request loop works on: takes blobs in batches, and brings each to its end."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._taken: list[int] = []

    def refill(self, state: JobState) -> bool:
        """Take a batch, under the engine's lock; return whether there was any."""
        self._taken = state.take_small(_SMALL_BATCH)
        self._taken.reverse()
        return bool(self._taken)

    def take(self) -> tuple[int, bytes] | None:
        """Return a blob's number and its whole request."""
        engine = self._engine
        while True:
            if not self._taken:
                with engine._lock:
                    if engine._over or not self.refill(engine.state):
                        return None
            number = self._taken.pop()
            try:
                return number, engine._mover.small_request(number)
            except Ds3Error as error:
                engine._blob_failed(number, error)

    def answered(self, token: int, head: ReplyHead, body: memoryview) -> None:
        """Take a successful reply."""
        try:
            checksum = self._engine._mover.small_answer(token, head, body)
        except Ds3Error as error:
            _log.info("blob %d is tried again: %s", token, error)
            self._engine.careful(token)
        else:
            self._engine._blob_moved(token, checksum)

    def failed(self, token: int, error: Ds3Error | None, head: ReplyHead | None) -> None:
        """Let the careful path try it again."""
        _log.debug("blob %d is tried again: %s", token, error or (head.status if head else None))
        self._engine.careful(token)

    def give_back(self) -> None:
        """Let the careful path have what was taken and not sent."""
        for number in self._taken:
            self._engine.careful(number)
        self._taken = []


def _seconds(wait: timedelta | None) -> float | None:
    return None if wait is None else wait.total_seconds()
