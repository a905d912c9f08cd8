"""The engine: asks for ready chunks and hands blobs to workers, without a barrier between chunks.

It knows neither sources nor sinks: a `Mover` moves single blobs, `JobState` decides, threads act. Taken at once are
at most `most` blobs by the careful workers, and by the small-request loop `lanes` and a batch of 64 that come
next. A worker holds one buffer of 1 MiB, a lane one small blob, so memory is
most x 1 MiB + lanes x (64 KiB + small limit), whatever the job's size.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from ds3tool.client import Ds3Client
from ds3tool.clock import Clock
from ds3tool.errors import ChecksumError, Ds3Error, InterruptedRunError, JobError, NotFoundError
from ds3tool.jobs.crew import Crew
from ds3tool.jobs.decisions import UNREACHABLE, Decision, after_blob
from ds3tool.jobs.doubts import Doubt
from ds3tool.jobs.engine_settings import DEFAULT_LANES, EngineSettings
from ds3tool.jobs.lost_job import JobWatch
from ds3tool.jobs.mover import Counter, Mover, There
from ds3tool.jobs.recorder import Recorder
from ds3tool.jobs.small_blobs import SmallBlobs
from ds3tool.jobs.state import JobState
from ds3tool.jobs.untold import Untold
from ds3tool.protocol.known_blobs import KnownBlobs
from ds3tool.protocol.model import JobStatus
from ds3tool.transport.burst import Burst
from ds3tool.transport.pool import Transport

__all__ = ["DEFAULT_LANES", "SMALL_BLOB_BYTES", "Engine", "EngineSettings"]

_log = logging.getLogger(__name__)

# Blobs up to this size go through the small-request loop. Source: measured, see docs/decisions.md.
SMALL_BLOB_BYTES = 256 * 1024
_SMALL_BATCH = 64
# What a request costs beside its bytes, as far as it matters whether more workers are of use.
_BLOB_COSTS_BYTES = 64 * 1024
_TICK_SECONDS = 0.1
# After "no such job" of a job that goes on: a slip of whatever stands between, or its state changes right now.
_UNEXPECTED_ASK_SECONDS = 1.0
# So often a job is touched of which nothing is moved; one that nobody touches for a day expires.
_TOUCH_SECONDS = 60 * 60.0
# A chunk keeps its room in the cache until the last of its blobs has come, and those of a failed object never come.
# When the appliance has offered nothing but such chunks for so long, the rest of the job will find no room either.
_STARVED_SECONDS = 15 * 60.0


class Engine:
    """Moves all blobs of one job that a `JobState` holds.

    `on_failure` is told each object that cannot be done, `on_objects` those of which all blobs are through, and
    `on_tick` is called a few times a second; all from `run`'s thread. `confirm` says of a doubtful blob whether it is
    there already; None lets it wait for its turn, and an error of it is one of the blob. `may_leave`: objects that find
    no room since others have failed are `left_over` for another job, else they fail.
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
        confirm: Callable[[int], There | None] | None = None,
        may_leave: bool = False,
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
        self._crew = Crew(settings.transfers, max(settings.transfers, settings.most))
        self._counters: list[Counter] = []
        self._threads: list[threading.Thread] = []
        self._untold = Untold()
        # Blobs that the appliance says are not there: `run` asks whether the job is gone, once for all of them.
        self._suspects: list[tuple[int, NotFoundError]] = []
        self._damaged: dict[int, ChecksumError] = {}
        self._enough = 2 * max(self._crew.most, settings.lanes, settings.most_lanes)
        self._burst: Burst | None = None
        self.next_ask_at: float | None = None
        self.waiting_since: float | None = None
        self._any_failed = False
        self._confirm = confirm
        self._may_leave = may_leave
        self._watch = JobWatch(client, job_id, state, receives=mover.method == "PUT")
        self._stop_asked: Callable[[], bool] = lambda: False
        self._touched_at = clock.monotonic()
        self._done_when_touched = 0
        # Bytes of blobs that turned out to be there, and so were not moved.
        self.bytes_found = 0
        # Objects that this job cannot do, and another can: it does not list all of their blobs, or has no room.
        self.left_over: list[int] = []

    # -- the loop ----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Move every blob, or tell why not; returns when each has come to its end.

        Raises JobLostError when the job is gone under us, InterruptedRunError on KeyboardInterrupt and when asked to
        stop, TransportError or BusyError when nothing moves any more, and whatever the recorder raises. No thread is
        left running.
        """
        try:
            with self._workers():
                self._loop()
            self._raise_what_ends_it()  # a worker may have met it in its very last step
        except KeyboardInterrupt:
            raise _interrupted() from None
        except UNREACHABLE as error:
            if self._stop_asked():  # it waited for another try
                raise _interrupted() from error
            raise
        if not self.state.settled:
            raise _interrupted()

    def stop_when(self, asked: Callable[[], bool]) -> None:
        """Begin nothing new once `asked` says so: what is on its way ends, without another try if it fails."""
        self._stop_asked = asked

    def _loop(self) -> None:
        while True:
            with self._changed:
                self._raise_what_ends_it()
                suspects, self._suspects = self._suspects, []
                seconds = self.state.seconds_until_ask(self._clock.monotonic(), enough=self._enough)
                settled = self.state.settled
                moving = self.state.moving or self.state.ready
                self.next_ask_at = None if seconds is None else self._clock.monotonic() + seconds
            self._tell()
            self._adapt()
            self._keep_alive()
            if suspects:
                self._judge(suspects)
            elif settled or self._stop_asked():
                return
            elif seconds is None:
                with self._changed:
                    if not self._something_due():
                        self._changed.wait(_TICK_SECONDS)
            elif seconds > 0:
                self._wait(seconds, moving=bool(moving))
            else:
                self._ask()

    def _raise_what_ends_it(self) -> None:
        if self._crash is not None:
            raise self._crash
        if self._lost is not None:
            raise self._lost

    @property
    def _ending(self) -> bool:
        """Whether nothing new is to be begun."""
        return self._over or self._crash is not None or self._lost is not None or self._stop_asked()

    def _something_due(self) -> bool:
        """Whether `run` has something to do before its next tick; asked under the lock."""
        return (
            self.state.settled
            or self._ending
            or bool(self._suspects)
            or self.state.seconds_until_ask(self._clock.monotonic(), enough=self._enough) == 0
        )

    def _wait(self, seconds: float, *, moving: bool) -> None:
        """Wait until it is time to ask, or something has changed; in short steps, so that the display moves."""
        with self._changed:
            if self._something_due():
                return
            self._clock.wait(self._changed, min(seconds, _TICK_SECONDS) if moving else min(seconds, 1.0))

    def _ask(self) -> None:
        with self._lock:
            self.state.asking()
        try:
            known = KnownBlobs(self.state.blobs.keys, self.state.blobs.lengths)
            ready = self._client.get_ready_chunks(self._job_id, known=known)
        except NotFoundError as error:
            self._no_more_chunks(error)
            return
        if not ready.chunks and ready.job.status in {JobStatus.COMPLETED, JobStatus.CANCELED}:
            self._no_more_chunks(None)  # an appliance that lists an ended job as empty would let us ask for ever
            return
        with self._lock:
            fresh = self.state.offer(
                ready.chunks, now=self._clock.monotonic(), retry_after_seconds=_seconds(ready.retry_after)
            )
            self.waiting_since = None if fresh else self.waiting_since or self._clock.monotonic()
            if fresh or self.state.raise_doubts():
                self._work.notify_all()
                self._small_work.notify_all()
            starved = self._is_starved(offered=bool(ready.chunks))
        _log.debug("job %s: %d chunks ready, %d blobs new", self._job_id, len(ready.chunks), fresh)
        if starved:
            self._give_up_the_rest()

    def _is_starved(self, *, offered: bool) -> bool:
        """Whether all that the appliance waits for are blobs of failed objects, and that for long; under the lock."""
        if not (offered and self._any_failed) or self.waiting_since is None:
            return False
        if self.state.moving or self.state.ready:
            return False
        return self._clock.monotonic() - self.waiting_since >= _STARVED_SECONDS

    def _give_up_the_rest(self) -> None:
        """End every object that still waits: what has failed keeps the room that they would need."""
        error = JobError(
            f"job {self._job_id} has no room left in the cache: objects of it that failed hold what it had",
            job_id=self._job_id,
            hint="run the command again for the rest",
        )
        with self._lock:
            numbers = self.state.waiting_numbers()
        for number in numbers:
            if self._may_leave:
                self._leave(number)
            else:
                self._object_failed(number, error)

    def _leave(self, number: int) -> None:
        """Leave a blob's object to another job."""
        with self._lock:
            owner = self.state.object_of[number]
            if self.state.fail(number):
                self.left_over.append(owner)
            given_up = self.state.given_up_wholly(owner)
            self._changed.notify_all()
        if given_up:
            self._mover.object_failed(owner)

    # -- a job that is gone ------------------------------------------------------------------------------------

    def _no_more_chunks(self, error: NotFoundError | None) -> None:
        """The appliance has no chunks to give any more: find out why. Raises JobLostError when the job is gone."""
        details = self._watch.look_up()
        if details is None:
            raise self._watch.error("was cancelled or has expired") from error
        with self._lock:
            ended = self._watch.ended_anyway(details)
            self._untold.ended += ended
            self.state.raise_doubts()
            self._work.notify_all()
            self.state.offer((), now=self._clock.monotonic(), retry_after_seconds=_UNEXPECTED_ASK_SECONDS)
        for owner in ended:
            self._mover.object_moved(owner)

    def _judge(self, suspects: Sequence[tuple[int, NotFoundError]]) -> None:
        """Decide about blobs that are not there: the whole job is gone, or only they are."""
        try:
            details = self._watch.look_up()
        except Ds3Error as unknown:
            _log.warning("job %s: whether it goes on is not known: %s", self._job_id, unknown)
        else:
            self._watch.raise_if_gone(details, suspects)
        for number, error in suspects:
            self._object_failed(number, error)

    # -- a job that must not end -------------------------------------------------------------------------------

    def _keep_alive(self) -> None:
        """Tell the appliance, when nothing was moved for long, that somebody still works on the job."""
        now = self._clock.monotonic()
        if self.state.done != self._done_when_touched:
            self._done_when_touched, self._touched_at = self.state.done, now
        elif now - self._touched_at >= _TOUCH_SECONDS:
            self._touched_at = now
            try:
                self._client.touch_job(self._job_id)
            except Ds3Error as error:
                _log.warning("job %s could not be kept from expiring: %s", self._job_id, error)

    def _tell(self) -> None:
        """Hand on what has gathered: to the recorder and to whoever wants to know of failures and time."""
        with self._lock:
            news = self._untold.take()
        if news.numbers:
            self._recorder.moved(self._job_id, news.moved(self.state, self._mover))
        if news.ended:
            self._on_objects(news.ended)
        for owner, error in news.failed:
            self._on_failure(owner, error)
        self._on_tick()
        self._recorder.tick()

    # -- workers -----------------------------------------------------------------------------------------------

    @contextmanager
    def _workers(self) -> Iterator[None]:
        self._threads = [self._new_worker() for _ in range(self._crew.size)]
        if Burst.suits(self._transport):
            self._burst = Burst(
                self._transport,
                method=self._mover.method,
                lanes=self._settings.lanes,
                most_lanes=self._settings.most_lanes,
                largest_reply=SMALL_BLOB_BYTES + 64 * 1024,
            )
            self._threads.append(
                threading.Thread(target=self._small_worker, args=(self._burst,), name="ds3tool-small", daemon=True)
            )
        try:
            for thread in list(self._threads):
                thread.start()
            yield
        finally:
            self._end_workers([thread for thread in self._threads if thread.ident is not None])

    def _new_worker(self) -> threading.Thread:
        number = len(self._counters)
        self._counters.append(Counter())
        return threading.Thread(
            target=self._careful_worker, args=(number,), name=f"ds3tool-transfer-{number}", daemon=True
        )

    def _adapt(self) -> None:
        """Have as many workers at work as turn out to be of use."""
        with self._lock:
            before, taken = self._crew.size, self.state.large.taken
            passed = sum(counter.passed for counter in self._counters) + _BLOB_COSTS_BYTES * self.state.done
            busy = taken >= before and len(self.state.large) > 0
            size = self._crew.observe(self._clock.monotonic(), passed, busy=busy)
            if size > before:
                self._work.notify_all()
        while len(self._counters) < size and not self._ending:
            worker = self._new_worker()
            try:
                worker.start()
            except RuntimeError as error:  # there is a limit on threads: those that are there go on
                self._counters.pop()
                _log.info("%d large blobs at once, and no more: %s", len(self._counters), error)
                self._crew.end_trials(len(self._counters))
                return
            self._threads.append(worker)

    def _end_workers(self, threads: Sequence[threading.Thread]) -> None:
        """End every thread, and hand on what they have done; a KeyboardInterrupt meanwhile is raised afterwards.

        When somebody has asked to stop, what is on its way may end, unless there is another reason to end at once.
        """
        gently = self._stop_asked() and self._crash is None and self._lost is None
        gently = gently and not isinstance(sys.exception(), KeyboardInterrupt)
        interrupted: KeyboardInterrupt | None = None
        while True:
            try:
                with self._lock:
                    self._over = True
                    self._work.notify_all()
                    self._small_work.notify_all()
                if self._burst is not None and not (self.state.settled or gently):
                    self._burst.stop()
                for thread in threads:
                    thread.join(0 if not self.state.settled else None)
                    while thread.is_alive():  # one may have begun an exchange after the last call
                        gently = gently and self._told_meanwhile()
                        if gently:
                            self._transport.stop_waits()
                        else:
                            self._transport.stop_exchanges()
                        thread.join(0.2)
                break
            except KeyboardInterrupt as again:
                interrupted, gently = again, False
        if self._burst is not None:
            self._burst.close()
        self._tell()
        if interrupted is not None:
            raise interrupted

    def _told_meanwhile(self) -> bool:
        """Hand on what was done while the last blobs are on their way; return False when that must end as well."""
        try:
            self._tell()
        except Exception as error:  # noqa: BLE001  # no thread may be left running; `run` raises it
            self._crashed(error)
            return False
        return True

    def _careful_worker(self, worker: int) -> None:
        counter = self._counters[worker]
        number: int | None = None
        try:
            while True:
                with self._work:
                    if number is not None:
                        self.state.large.release(number)
                    while (number := self._take_large(worker)) is None:
                        if self._ending:
                            return
                        self._work.wait()
                self._move(number, counter)
        except BaseException as error:  # noqa: BLE001  # a thread's death must not be silent: `run` raises it
            self._crashed(error)

    def _take_large(self, worker: int) -> int | None:
        return None if self._ending or worker >= self._crew.size else self.state.take_large()

    def _move(self, number: int, counter: Counter) -> None:
        counter.start(self.state.blobs.lengths[number])
        before = self._progress_beside(counter)
        try:
            found = self._found(number)
            if found is None and self.state.doubt_of(number):
                self._not_there(number)
                return
            checksum = self._mover.move(number, counter) if found is None else found.checksum
        except Ds3Error as error:
            self._blob_failed(number, error, alone=self._progress_beside(counter) == before)
        else:
            self._blobs_moved((number,), (checksum,))
        finally:
            counter.start(0)

    def _found(self, number: int) -> There | None:
        """Return what is known of a doubtful blob that is there; None for one that is not, and for all others."""
        if self._confirm is None or not self.state.doubt_of(number):
            return None
        found = self._confirm(number)
        if found is not None:
            with self._lock:
                self.bytes_found += self.state.blobs.lengths[number]
        return found

    def _not_there(self, number: int) -> None:
        """What was thought to be there is not: it waits until it is offered, or its object is left to another job."""
        if self.state.doubt_of(number) is Doubt.UNLISTED:
            self._leave(number)
            return
        with self._lock:
            owner = self.state.object_of[number]
            given_up = not self.state.not_there(number) and self.state.given_up_wholly(owner)
            self._changed.notify_all()
        if given_up:
            self._mover.object_failed(owner)

    def _progress_beside(self, counter: Counter) -> int:
        """Return a number that grows whenever something arrives that `counter` does not count.

        Bytes that were sent have not arrived yet: whatever stands before a dead appliance may swallow some.
        """
        if self._mover.method == "PUT":
            return self.state.done
        return self.state.done + sum(other.passed for other in self._counters if other is not counter)

    def _small_worker(self, burst: Burst) -> None:
        try:
            work = SmallBlobs(
                self._mover,
                take=self._take_small,
                moved=self._blobs_moved,
                failed=self._blob_failed,
                careful=self.careful,
            )
            while True:
                with self._small_work:
                    while not self._ending and not work:
                        work.add(self.state.take_small(_SMALL_BATCH))
                        if not work:
                            self._small_work.wait()
                    if self._ending:
                        break
                try:
                    burst.run(work)
                except Ds3Error as error:  # no connection at all: the careful path has the patience for it
                    _log.info("small blobs go one by one: %s", error)
                    work.give_back()
            work.give_back()
        except BaseException as error:  # noqa: BLE001
            self._crashed(error)

    def _take_small(self) -> Sequence[int]:
        with self._lock:
            return () if self._ending else self.state.take_small(_SMALL_BATCH)

    def _crashed(self, error: BaseException) -> None:
        with self._lock:
            self._crash = self._crash or error
            self._changed.notify_all()

    def _blobs_moved(self, numbers: Sequence[int], checksums: Sequence[str | None]) -> None:
        """These are through; what an object's end brings about is done here and now, in the worker's thread."""
        with self._lock:
            ended, given_up = self.state.finish_all(numbers)
            self._untold.add_moved(numbers, checksums, self._mover)
            self._untold.ended += ended
            if self._something_due():  # else the next tick is early enough, and what gathers is told in one go
                self._changed.notify_all()
        if ended:
            self._mover.objects_through(ended)
        for owner in given_up:
            self._mover.object_failed(owner)

    def _blob_failed(self, number: int, error: Ds3Error, *, alone: bool = False) -> None:
        decision = after_blob(error, alone=alone, stopped=self._over or self._stop_asked())
        if decision is Decision.LEAVE:
            return
        damaged = self._damaged.pop(number, None)
        if decision is Decision.ASK_FIRST and isinstance(error, NotFoundError) and damaged is None:
            with self._lock:
                self._suspects.append((number, error))
                self._changed.notify_all()
            return
        if decision is Decision.GIVE_UP_JOB:
            with self._lock:
                self._lost = self._lost or error
        if damaged is not None and not isinstance(error, ChecksumError):
            error = damaged  # what the second try met is a consequence, or less grave
        self._object_failed(number, error)

    def _object_failed(self, number: int, error: Ds3Error) -> None:
        with self._lock:
            owner = self.state.object_of[number]
            self._any_failed = True
            if self.state.fail(number):
                self._untold.failed.append((owner, error))
            given_up = self.state.given_up_wholly(owner)
            self._changed.notify_all()
        if given_up:
            self._mover.object_failed(owner)

    def careful(self, number: int, error: Ds3Error | None) -> None:
        """A small blob got no plain answer: let a careful worker try it."""
        with self._lock:
            owner = self.state.object_of[number]
            if isinstance(error, ChecksumError):
                self._damaged[number] = error
            if self.state.put_back(number):
                self._work.notify_all()  # one of them may be beyond the crew
                return
            given_up = self.state.given_up_wholly(owner)
            self._changed.notify_all()
        if given_up:
            self._mover.object_failed(owner)

    # -- the display -------------------------------------------------------------------------------------------

    @property
    def bytes_moved(self) -> int:
        """Bytes through or on their way; only for display, since it is read without a lock."""
        return self.state.bytes_done + sum(counter.count for counter in self._counters)


def _interrupted() -> InterruptedRunError:
    return InterruptedRunError("interrupted", hint="run the command again for the rest")


def _seconds(wait: timedelta | None) -> float | None:
    return None if wait is None else wait.total_seconds()
