"""How one job of a get is made, moved and ended."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from ds3tool.client import Ds3Client
from ds3tool.clock import Clock
from ds3tool.errors import (
    BusyError,
    Ds3Error,
    ForbiddenError,
    JobError,
    NotFoundError,
    RetryLaterError,
)
from ds3tool.jobs.ends import TARGET_LOST, KeepingSink, PlainSink, PlainWriter, Sink, TargetObject
from ds3tool.jobs.engine import SMALL_BLOB_BYTES, Engine
from ds3tool.jobs.existing import IfExists
from ds3tool.jobs.fate import LAG_SECONDS
from ds3tool.jobs.get_found import Begun, Found
from ds3tool.jobs.get_mover import GetMover
from ds3tool.jobs.get_wants import Wants
from ds3tool.jobs.plan import PlannedJob
from ds3tool.jobs.recorder import Recorder
from ds3tool.jobs.remainder import Remainder
from ds3tool.jobs.run import AskForJob, Run, RunSettings
from ds3tool.jobs.sent_digests import SentDigests
from ds3tool.jobs.state import JobState
from ds3tool.protocol import names
from ds3tool.protocol.model import JobDetails, JobStatus, ProcessingOrder
from ds3tool.sizes import format_size
from ds3tool.transport.burst import Burst

_log = logging.getLogger(__name__)

# How often it is recorded how far blobs of at least so many bytes have come.
_ARRIVING_SECONDS = 2.0
_ARRIVING_BYTES = 8 * 1024 * 1024


class GetJobs(Run):
    """Makes and moves the jobs of a get from `bucket` into `sink`, one after the other."""

    def __init__(
        self,
        client: Ds3Client,
        sink: Sink,
        bucket: str,
        *,
        settings: RunSettings,
        whole_blobs: bool,
        recorder: Recorder | None,
        clock: Clock | None,
        sent: SentDigests | None,
    ) -> None:
        super().__init__(client, settings=settings, recorder=recorder, clock=clock)
        self._sink = sink
        self._bucket = bucket
        self._whole_blobs = whole_blobs
        self._sent = sent
        self._appeared = 0
        self._just_appeared: Sequence[int] = ()
        self._told_arriving = -math.inf
        # What is known of a plan that takes over what another has not done, and what this run has stored of it.
        self._left_over: tuple[PlannedJob, Remainder, Mapping[int, Begun]] | None = None

    def _run_job(self, plan: PlannedJob, found: Found | None = None) -> None:
        try:
            details = self.create(plan, lambda ask: self._create_job(plan, ask, found))
        except NotFoundError as error:
            self._run_without_gone(plan, found, error)
            return
        if found is not None:
            found.asked_of_a_new_job()
        with self.given_up_unless_moved(details.job.id):
            self._move_job(plan, details, found)

    def _run_without_gone(self, plan: PlannedJob, found: Found | None, refused: NotFoundError) -> None:
        """Let the objects fail that are gone, for which a job of them all was refused, and run one of the others."""
        gone = self._gone(plan)
        if not gone:
            raise JobError(
                f"the appliance refuses the job: {refused.message}",
                hint="an object was removed since it was listed; run the command again",
            ) from refused
        rest = [number for number in range(len(plan)) if number not in gone]
        left = plan.keep(rest)
        self.leave_out(objects=len(gone), bytes_held=plan.bytes - left.bytes)
        for number in sorted(gone):
            self.fail(plan.keys[number], _gone_error(plan.keys[number]), job_id=None)
            if isinstance(self._sink, KeepingSink):
                self._sink.discard(plan.target_object(number))
        self.recorder.planned(left)
        if rest:
            self._run_job(left, None if found is None else found.keep(rest))
        else:
            self.recorder.finished(left)

    def _gone(self, plan: PlannedJob) -> set[int]:
        """Return which objects the bucket does not have any more; nothing when there is no such bucket."""
        latest = {key: number for number, key in enumerate(plan.keys) if number not in plan.version_ids}
        gone = set()
        try:
            common = os.path.commonprefix(list(latest))  # noqa: RUF071 - keys are texts, and so is their prefix
            for listed in self.client.list_objects(self._bucket, prefix=common) if latest else ():
                latest.pop(listed.key, None)
            for number, version_id in plan.version_ids.items():
                try:
                    self.client.head_object(self._bucket, plan.keys[number], version_id=version_id)
                except NotFoundError:
                    gone.add(number)
            if gone or latest:
                self.client.get_bucket(self._bucket)
        except NotFoundError:
            return set()
        return gone | set(latest.values())

    def _create_job(self, plan: PlannedJob, ask: AskForJob, found: Found | None) -> JobDetails:
        """Ask for the job; for a stream in order, so that the appliance holds all of it before the first byte goes."""
        create = functools.partial(
            self.client.create_get_job,
            self._bucket,
            plan.to_get if found is None else found.to_get(plan),
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

    def _move_job(
        self, plan: PlannedJob, details: JobDetails, found: Found | None = None, *, appeared: Sequence[int] = ()
    ) -> PlannedJob | None:
        """Fetch what the job lists and is not there yet, and end it; return what it does not hold of its plan."""
        job_id = details.job.id
        in_order = self._sink.sequential
        # The loop for small requests asks for whole blobs of the latest version.
        plain = not (in_order or plan.ranges or plan.version_ids) and Burst.suits(self.transport)
        wanted = Wants(plan, found, appeared)
        state = JobState(
            [wanted.of(chunk) for chunk in details.chunks],
            plan.keys,
            small_limit=SMALL_BLOB_BYTES if plain else -1,
            skip_cached=False,
            in_order=in_order,
        )
        failed: set[int] = set()

        def on_failure(owner: int, error: Ds3Error) -> None:
            failed.add(owner)
            self.fail(plan.keys[owner], error, job_id=job_id)

        # What may replace something must know what has appeared in this very run; the quicker way does not note that.
        writer = None
        if plain and isinstance(self._sink, PlainSink) and self.settings.if_exists is not IfExists.OVERWRITE:
            writer = self._sink.plain_writer()
        mover = GetMover(
            self.client,
            self.transport,
            sink=self._sink,
            writer=writer,
            plan=plan,
            state=state,
            job_id=job_id,
            whole_blobs=self._whole_blobs,
            sent=self._sent,
            found=found,
            unfinished=wanted.unfinished,
        )
        self._planned_objects -= len(wanted.settled)
        self._planned_bytes -= wanted.bytes_there
        self._account_for_blobs(wanted, state, on_failure)

        def tick() -> None:
            self._take_settled(job_id, wait=False)
            if writer is not None:
                self._take_written(job_id, plan, writer, wait=False)
            self._tell_arriving(job_id, mover)

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
            on_tick=tick,
        )
        self._appeared, self._just_appeared = 0, ()
        try:
            self.move(engine)
        finally:
            try:
                self._take_settled(job_id, wait=True)
                if writer is not None:
                    self._take_written(job_id, plan, writer, wait=True)
            finally:
                self.count(objects=self._appeared, bytes_moved=_bytes_moved(plan, state))
                self.result.unverified += sum(mover.unverified)
        if failed or wanted.left_out:
            self.give_up(job_id)
        else:
            self._end(job_id)
        rest = sorted(wanted.unfinished - failed)
        if not rest or found is None:
            self.recorder.finished(plan)
            return None
        left = plan.keep(rest)
        known = Remainder(left, None, datetime.fromtimestamp(self.clock.time(), UTC))
        self._left_over = (left, known, found.with_moved(state).keep(rest).begun)
        return left

    def _tell_arriving(self, job_id: str, mover: GetMover) -> None:
        """Record from time to time how far large blobs have come, so that a later run need not fetch that again."""
        now = self.clock.monotonic()
        if now - self._told_arriving < _ARRIVING_SECONDS:
            return
        self._told_arriving = now
        arriving = mover.arriving(least=_ARRIVING_BYTES)
        if arriving:
            self.recorder.arriving(job_id, arriving)

    def _end(self, job_id: str) -> None:
        """See the job end, all of it being here; one that the appliance keeps open, as if not read, is cancelled."""
        never = threading.Event()
        for seconds in LAG_SECONDS:
            self.note_job(job_id, if_forgotten=lambda: JobStatus.COMPLETED)
            if self.result.jobs[-1].job.status in {JobStatus.COMPLETED, JobStatus.CANCELED}:
                return
            self.clock.wait(never, seconds)
        self.give_up(job_id)

    def _account_for_blobs(self, wanted: Wants, state: JobState, on_failure: Callable[[int, Ds3Error], None]) -> None:
        """Make sure that the job's blobs, with what is kept, are the objects, whole and without a gap.

        Older releases omit empty objects.
        """
        plan = wanted.plan
        owners: Sequence[int] = range(len(plan))
        if wanted.is_plain:  # as a rule all is in order, and nobody need look at each
            owners = sorted({*state.uncovered(plan.sizes), *state.unlisted_objects})
        for owner in owners:
            if owner in wanted.settled or owner in wanted.excluded:
                continue
            wrong = wanted.wrong(state, owner)
            if wrong is not None:
                state.fail_object(owner)
                on_failure(owner, wrong)
            elif not state.listed[owner] and owner not in wanted.unfinished:
                self._finish_unlisted(plan.target_object(owner), described=owner in wanted.described)

    def _finish_unlisted(self, item: TargetObject, *, described: bool) -> None:
        """Let an object appear of which nothing is to be fetched, with what is stored beside it."""
        if self._sink.wants_metadata and not described:
            with contextlib.suppress(NotFoundError, ForbiddenError):
                head = self.client.head_object(self._bucket, item.key, version_id=item.version_id)
                if head.metadata:
                    self._sink.describe(item, head.metadata)
        self._sink.finish(item)

    def _take_settled(self, job_id: str, *, wait: bool) -> None:
        """Count what has appeared at the target, and what could not.

        Where the target itself cannot be had any more, that is raised: the objects are as if they had not come.
        """
        settled = self._sink.settle(wait=wait)
        there = [item.number for item, error in settled if error is None]
        if there:
            self._have_appeared(job_id, there)
        lost: Ds3Error | None = None
        for item, error in settled:
            if error is None:
                self._appeared += 1
                self.object_ended(item.key, item.size, None)
            elif isinstance(error, TARGET_LOST):
                lost = lost or error
            else:
                self.fail(item.key, error, job_id=job_id)
        if lost is not None:
            raise lost

    def _take_written(self, job_id: str, plan: PlannedJob, writer: PlainWriter, *, wait: bool) -> None:
        """Count what has appeared by way of the sink's writer, and what could not.

        What has appeared just now may be of blobs of which the recorder has not been told: the next call tells of it.
        """
        there, failed = writer.settle(wait=wait)
        appeared, self._just_appeared = ([*self._just_appeared, *there], []) if wait else (self._just_appeared, there)
        if appeared:
            self._have_appeared(job_id, appeared)
            self._appeared += len(appeared)
            if self.on_object is not None:
                for number in appeared:
                    self.on_object(plan.keys[number], plan.sizes[number], None)
        for number, error in failed:
            self.fail(plan.keys[number], error, job_id=job_id)

    def _have_appeared(self, job_id: str, numbers: Sequence[int]) -> None:
        """Record that objects have their names, and are safe."""
        self.recorder.appeared(job_id, numbers)
        if self.current is not None and self.current.job_id == job_id:
            appeared = self.current.appeared
            for number in numbers:
                appeared[number] = 1

    def end_early(self, job_id: str) -> None:
        """Cancel the job; nothing on tape is touched."""
        self.client.cancel_job(job_id)


def _gone_error(key: str) -> NotFoundError:
    return NotFoundError(f"{key} was removed from the bucket since it was listed", status=404, code="NoSuchKey")


def _bytes_moved(plan: PlannedJob, state: JobState) -> int:
    """Return the bytes that came: of objects in ranges, the ranges of those that came whole."""
    if not plan.ranges:
        return state.bytes_done
    return sum(
        plan.sizes[owner]
        for owner in range(len(plan))
        if state.listed[owner] and not state.blobs_left[owner] and not state.failed_objects[owner]
    )
