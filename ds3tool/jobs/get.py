"""Gets objects of a bucket into a sink, through planned bulk jobs."""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import threading
from collections.abc import Callable, Iterable, Iterator

from ds3tool.client import Ds3Client
from ds3tool.clock import Clock
from ds3tool.errors import (
    AccessDeniedError,
    BusyError,
    Ds3Error,
    JobError,
    NotFoundError,
    RetryLaterError,
    SinkError,
)
from ds3tool.jobs.ends import Failure, Sink, TargetObject
from ds3tool.jobs.engine import SMALL_BLOB_BYTES, Engine
from ds3tool.jobs.fate import LAG_SECONDS
from ds3tool.jobs.get_mover import GetMover
from ds3tool.jobs.get_targets import Asked, Targets
from ds3tool.jobs.pieces import covered
from ds3tool.jobs.plan import PlannedJob, plan_get
from ds3tool.jobs.recorder import Recorder
from ds3tool.jobs.run import AskForJob, Run, RunResult, RunSettings
from ds3tool.jobs.state import JobState
from ds3tool.protocol import names
from ds3tool.protocol.model import JobDetails, JobStatus, ProcessingOrder
from ds3tool.protocol.ranges import ByteRange
from ds3tool.sizes import format_size
from ds3tool.transport.burst import Burst

_log = logging.getLogger(__name__)

_REPLACED = "it was replaced since it was listed, or read by another client; get it again"


class GetRun(Run):
    """Gets `objects` of `bucket` into `sink`, each under the name that `name_of` gives its key.

    `whole_blobs`: where only ranges of an object are wanted, fetch the blobs that hold them whole, check them and cut
    them; else only the ranges are fetched, of which there are no digests. One use: `run` once, `progress` from any
    thread. The sink stays the caller's to close. A sequential sink gets the objects one after the other.
    """

    waiting_for = "the appliance to load from tape"

    def __init__(
        self,
        client: Ds3Client,
        sink: Sink,
        bucket: str,
        objects: Iterable[Asked],
        *,
        name_of: Callable[[str], str],
        settings: RunSettings,
        whole_blobs: bool = False,
        recorder: Recorder | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(client, settings=settings, recorder=recorder, clock=clock)
        self._sink = sink
        self._bucket = bucket
        self._objects = objects
        self._whole_blobs = whole_blobs
        self._targets = Targets(
            client,
            sink,
            bucket,
            name_of=name_of,
            if_exists=settings.if_exists,
            fail=lambda failure: self.take_failure(failure, job_id=None),
        )
        self._appeared = 0
        self._full = False

    def _run_jobs(self) -> None:
        for plan in self.recorder.plans(self.until_stopped(self._plans())):
            self.do(plan)

    def _through(self, jobs: Callable[[], None]) -> RunResult:
        with self.stopping():
            jobs()
        self.result.skipped = self._targets.skipped
        self.result.notes.extend(self._targets.notes)
        self.result.notes.extend(self._sink.notes)
        return self.finished()

    def _start(self, plan: PlannedJob, *, again: bool) -> None:  # noqa: ARG002  # it was listed when it was planned
        self._check_room(plan)
        self.planned(plan)
        self._run_job(plan)

    def plans(self) -> Iterator[PlannedJob]:
        """Yield the jobs that a run would make; nothing is asked of a tape, and nothing is written.

        What fails or is left out is in `result` when all are through. Raises what `run` would raise before a job.
        """
        with self.stopping():
            for plan in self._plans():
                self._check_room(plan)
                yield plan
        self.result.skipped = self._targets.skipped
        self.result.notes.extend(self._targets.notes)

    def _plans(self) -> Iterator[PlannedJob]:
        for doubtful in plan_get(
            self._targets.of(self._objects),
            self._bucket,
            limits=self.settings.limits,
            title=self.settings.job_name,
            repeated=self._sink.sequential,
        ):
            plan = self._targets.without_conflicts(doubtful)
            if len(plan):
                yield plan

    def _check_room(self, plan: PlannedJob) -> None:
        needed, free = self._targets.room_needed(plan), self._sink.free_bytes()
        if free is not None and needed > free:
            raise SinkError(
                f"the target has room for {format_size(free)}, and {format_size(needed)} are to come",
                hint="nothing was moved and no tape was loaded; make room, or get a part of it",
            )

    def take_failure(self, failure: Failure, *, job_id: str | None) -> None:
        """Keep a failure; a target that is full ends the run, since everything else would fail the same way."""
        super().take_failure(failure, job_id=job_id)
        if not self._full and _is_full(failure.error):
            self._full = True
            raise SinkError(
                f"the target is full: {failure.name} cannot be written",
                hint="make room and run the command again; what is there already is skipped",
            ) from failure.error

    # -- one job -----------------------------------------------------------------------------------------------

    def _run_job(self, plan: PlannedJob) -> None:
        try:
            details = self.create(plan, lambda ask: self._create_job(plan, ask))
        except NotFoundError as error:
            raise JobError(
                f"the appliance refuses the job: {error.message}",
                hint="an object was removed since it was listed; run the command again",
            ) from error
        with self.given_up_unless_moved(details.job.id):
            self._move_job(plan, details)

    def _create_job(self, plan: PlannedJob, ask: AskForJob) -> JobDetails:
        """Ask for the job; for a stream in order, so that the appliance holds all of it before the first byte goes."""
        create = functools.partial(
            self.client.create_get_job,
            self._bucket,
            plan.to_get,
            name=plan.name,
            priority=self.settings.priority,
            aggregating=False,
            ask=ask,
        )
        if not self._sink.sequential:
            return create()
        try:
            return create(processing_order=ProcessingOrder.IN_ORDER, retry_busy=False)
        except BusyError as busy:
            if names.NOT_PRE_ALLOCATED in busy.message:
                raise JobError(
                    f"{format_size(plan.bytes)} in one stream need room in the appliance's cache all at once, and "
                    "there is not enough now",
                    hint="get them to files instead: those come in any order and need no such room",
                ) from busy
        except RetryLaterError:
            pass
        return create(processing_order=ProcessingOrder.IN_ORDER)

    def _move_job(self, plan: PlannedJob, details: JobDetails) -> None:
        job_id = details.job.id
        in_order = self._sink.sequential
        # The loop for small requests asks for whole blobs of the latest version.
        plain = not (in_order or plan.ranges or plan.version_ids) and Burst.suits(self.transport)
        state = JobState(
            details.chunks,
            plan.keys,
            small_limit=SMALL_BLOB_BYTES if plain else -1,
            skip_cached=False,
            in_order=in_order,
        )
        failed: set[int] = set()

        def on_failure(owner: int, error: Ds3Error) -> None:
            failed.add(owner)
            self.fail(plan.keys[owner], error, job_id=job_id)

        mover = GetMover(
            self.client,
            self.transport,
            sink=self._sink,
            plan=plan,
            state=state,
            job_id=job_id,
            whole_blobs=self._whole_blobs,
        )
        self._account_for_blobs(plan, state, on_failure)
        engine = Engine(
            self.client,
            self.transport,
            job_id=job_id,
            state=state,
            mover=mover,
            recorder=self.recorder,
            settings=self.settings.engine,
            clock=self.clock,
            on_failure=on_failure,
            on_tick=lambda: self._take_settled(job_id, wait=False),
        )
        self._appeared = 0
        try:
            self.move(engine)
        finally:
            try:
                self._take_settled(job_id, wait=True)
            finally:
                self.count(objects=self._appeared, bytes_moved=_bytes_moved(plan, state))
                self.result.unverified += sum(mover.unverified)
        if failed:
            self.give_up(job_id)
        else:
            self._end(job_id)
        self.recorder.finished(plan)

    def _end(self, job_id: str) -> None:
        """See the job end, all of it being here; one that the appliance keeps open, as if not read, is cancelled."""
        never = threading.Event()
        for seconds in LAG_SECONDS:
            self.note_job(job_id, if_forgotten=lambda: JobStatus.COMPLETED)
            if self.result.jobs[-1].job.status in {JobStatus.COMPLETED, JobStatus.CANCELED}:
                return
            self.clock.wait(never, seconds)
        self.give_up(job_id)

    def _account_for_blobs(
        self, plan: PlannedJob, state: JobState, on_failure: Callable[[int, Ds3Error], None]
    ) -> None:
        """Make sure that the job's blobs are the objects, whole and without a gap; older releases omit empty ones."""
        for owner in range(len(plan)):
            wrong = _wrong_blobs(plan, state, owner)
            if wrong is not None:
                state.fail_object(owner)
                on_failure(owner, wrong)
            elif not state.listed[owner]:
                self._finish_unlisted(plan.target_object(owner))

    def _finish_unlisted(self, item: TargetObject) -> None:
        """Let an object appear of which nothing is to be fetched, with what is stored beside it."""
        if self._sink.wants_metadata:
            with contextlib.suppress(NotFoundError, AccessDeniedError):
                head = self.client.head_object(self._bucket, item.key, version_id=item.version_id)
                if head.metadata:
                    self._sink.describe(item, head.metadata)
        self._sink.finish(item)

    def _take_settled(self, job_id: str, *, wait: bool) -> None:
        """Count what has appeared at the target, and what could not."""
        settled = self._sink.settle(wait=wait)
        there = [item.number for item, error in settled if error is None]
        if there:
            self.recorder.appeared(job_id, there)
        for item, error in settled:
            if error is None:
                self._appeared += 1
                self.object_ended(item.key, item.size, None)
            else:
                self.fail(item.key, error, job_id=job_id)

    def give_up(self, job_id: str) -> None:
        """Cancel the job, so that it does not hold cache for a day; nothing on tape is touched."""
        try:
            self.client.cancel_job(job_id)
        except NotFoundError:
            pass
        except Ds3Error as error:
            _log.error("job %s could not be cancelled: %s", job_id, error)
            self.result.notes.append(
                f"job {job_id} could not be cancelled ({error.message}); end it: ds3tool job cancel {job_id}"
            )
        self.note_job(job_id)


def _wrong_blobs(plan: PlannedJob, state: JobState, owner: int) -> Ds3Error | None:
    """Return why a job's blobs are not what was asked for of one object, None when they are."""
    key, ranges, version = plan.keys[owner], plan.ranges.get(owner, ()), plan.version_ids.get(owner)
    blobs = [(state.blobs.offsets[number], state.blobs.lengths[number]) for number in state.numbers_of(owner)]
    if version is not None:
        others = {state.blobs.version_ids[number] for number in state.numbers_of(owner)} - {None, version}
        if others:
            return JobError(f"{key}: the job offers version {min(map(str, others))}, and {version} was asked for")
    if ranges:
        if covered(ranges, (ByteRange(offset, offset + length) for offset, length in blobs)):
            return None
        return JobError(f"{key}: the job's blobs do not hold the bytes that were asked for", hint=_REPLACED)
    if state.covers(owner, plan.sizes[owner]):
        return None
    offered = sum(length for _, length in blobs)
    return JobError(f"{key}: the job's blobs are not its {plan.sizes[owner]} bytes, but {offered}", hint=_REPLACED)


def _bytes_moved(plan: PlannedJob, state: JobState) -> int:
    """Return the bytes that came: of objects in ranges, the ranges of those that came whole."""
    if not plan.ranges:
        return state.bytes_done
    return sum(
        plan.sizes[owner]
        for owner in range(len(plan))
        if not state.blobs_left[owner] and not state.failed_objects[owner]
    )


def _is_full(error: BaseException | None) -> bool:
    """Whether an error comes of a disk, or a quota, that is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return True
        error = error.__cause__
    return False
