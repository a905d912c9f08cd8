"""Gets objects of a bucket into a sink, through planned bulk jobs."""

from __future__ import annotations

import contextlib
import errno
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from ds3tool.client import Ds3Client
from ds3tool.clock import Clock
from ds3tool.errors import (
    ApplianceError,
    ChecksumError,
    Ds3Error,
    ProtocolError,
    SinkError,
    UsageError,
)
from ds3tool.jobs.ends import TARGET_LOST, Failure, KeepingSink, Sink
from ds3tool.jobs.fate import Fate
from ds3tool.jobs.get_found import Begun, Found, kept_remainder, room_needed
from ds3tool.jobs.get_job import GetJobs
from ds3tool.jobs.get_mover import GetMover
from ds3tool.jobs.get_targets import Asked, Targets
from ds3tool.jobs.plan import PlannedJob, plan_get
from ds3tool.jobs.recorder import MovedBlobs, Recorder
from ds3tool.jobs.remainder import Remainder
from ds3tool.jobs.run import RunResult, RunSettings
from ds3tool.jobs.sent_digests import SentDigests
from ds3tool.jobs.state import JobState
from ds3tool.protocol.model import Chunk, JobDetails
from ds3tool.protocol.ranges import ByteRange
from ds3tool.sizes import format_size

_log = logging.getLogger(__name__)

# So often a job is touched while what is on the disk of it is looked at; one that nobody touches for a day expires.
_TOUCH_SECONDS = 60 * 60.0


class GetRun(GetJobs):
    """Gets `objects` of `bucket` into `sink`, each under the name that `name_of` gives its key.

    `whole_blobs`: where only ranges of an object are wanted, fetch the blobs that hold them whole, check them and cut
    them; else only the ranges are fetched, of which there are no digests. One use: `run` once, `progress` from any
    thread. The sink stays the caller's to close. A sequential sink gets the objects one after the other.
    """

    waiting_for = "the appliance to load from tape"
    ended_word = "cancelled"

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
        sent: SentDigests | None = None,
        recorder: Recorder | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(
            client,
            sink,
            bucket,
            settings=settings,
            whole_blobs=whole_blobs,
            recorder=recorder,
            clock=clock,
            sent=sent,
        )
        self._objects = objects
        self._targets = Targets(
            client,
            sink,
            bucket,
            name_of=name_of,
            if_exists=settings.if_exists,
            fail=lambda failure: self.take_failure(failure, job_id=None),
        )
        self._full = False
        self._resumed = False
        # One name of each folder in which an earlier run may have left something.
        self._beside: dict[str, str] = {}

    def resume(self, remainders: Iterable[Remainder], *, anew: bool = False) -> RunResult:
        """Finish what earlier runs of the same work have left; of what is right at the target nothing is fetched.

        For a sink that keeps what is unfinished. Once all is through, nothing unfinished of this work is left there.
        """
        if not isinstance(self._sink, KeepingSink):
            raise UsageError("what was written to a stream cannot be gone on with", hint="get it anew")
        self._resumed = True
        return super().resume(remainders, anew=anew)

    def _run_jobs(self) -> None:
        for plan in self.recorder.plans(self.until_stopped(self._plans())):
            self.do(plan)

    def _through(self, jobs: Callable[[], None]) -> RunResult:
        if isinstance(self._sink, KeepingSink) and self.recorder.lasting:
            self._sink.keep_unfinished()
        with self.stopping():
            jobs()
        if isinstance(self._sink, KeepingSink) and self.result.stopped is None:
            self._sink.keep_unfinished(keep=False)
            if self._beside:
                self._sink.sweep(self._beside.values())
        self.result.skipped = self._targets.skipped
        self.result.notes.extend(self._targets.notes)
        self.result.notes.extend(self._sink.notes)
        return self.finished()

    def _start(self, plan: PlannedJob, *, again: bool) -> None:
        found: Found | None = None
        if (again or self._resumed) and isinstance(self._sink, KeepingSink):
            known = Remainder(plan, None, datetime.fromtimestamp(self.clock.time(), UTC))
            trusted: Mapping[int, Begun] = {}
            takes_over = self._left_over is not None and self._left_over[0] is plan
            if self._left_over is not None and takes_over:
                _, known, trusted = self._left_over
            found = self._look(self._sink, known, None, trusted=trusted)
            plan, found = self._settle_before_there_is_a_job(plan, found, takes_over=takes_over)
            if not len(plan):
                self.recorder.finished(plan)
                return
        self._check_room(plan, found)
        self.planned(plan)
        self._run_job(plan, found)

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
            look_again=self._targets.look_again,
        ):
            plan = self._targets.without_conflicts(doubtful)
            if len(plan):
                yield plan
                self._targets.look_anew()  # a job may have been moved meanwhile

    def _check_room(self, plan: PlannedJob, found: Found | None = None, *, appeared: Sequence[int] = ()) -> None:
        """Raise SinkError when the target has less room than is needed beside what is there already."""
        free = self._sink.free_bytes()
        if free is None:
            return
        if found is None or not isinstance(self._sink, KeepingSink):
            needed = self._targets.room_needed(plan)
        else:
            needed = room_needed(self._sink, plan, found, appeared, enough=free)
        if needed > free:
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

    # -- what was left -----------------------------------------------------------------------------------------

    def _look(
        self,
        sink: KeepingSink,
        remainder: Remainder,
        listed: JobState | None,
        *,
        trusted: Mapping[int, Begun],
    ) -> Found:
        """Look at what is at the target of a plan, and on its way there."""
        for name in remainder.plan.target_names:
            self._beside.setdefault(name.removesuffix("/").rpartition("/")[0], name)
        touched = self.clock.monotonic()

        def tick() -> None:
            nonlocal touched
            self.check_stopped()
            self.recorder.tick()
            if remainder.job_id is not None and self.clock.monotonic() - touched >= _TOUCH_SECONDS:
                touched = self.clock.monotonic()
                with contextlib.suppress(Ds3Error):
                    self.client.touch_job(remainder.job_id)

        from ds3tool.jobs.get_resume import Looker

        found = Looker(
            self.client,
            sink,
            self._targets,
            remainder,
            listed=listed,
            trusted=trusted,
            threads=self.settings.engine.transfers,
            transport=self.transport,
            tick=tick,
        ).look()
        for number in found.unsure:
            sink.accept_same(remainder.plan.target_object(number))
        _log.info(
            "%s: %d objects had appeared, %d were begun, %d bytes of them are kept",
            remainder.plan.name,
            len(found.there),
            len(found.begun),
            found.bytes_kept,
        )
        return found

    def _settle_before_there_is_a_job(
        self, plan: PlannedJob, found: Found, *, takes_over: bool
    ) -> tuple[PlannedJob, Found]:
        """End what needs no job: what is there, what cannot be done, what is whole. Return the rest.

        Where only empty objects are left of a plan that had a job, that one has shown that they are there.
        """
        for number, error in found.failed:
            self.take_failure(Failure(plan.keys[number], error), job_id=None)
        settled = found.settled
        for number, begun in found.begun.items():
            if number not in settled and begun.is_whole(plan.sizes[number]):
                self._sink.finish(plan.target_object(number))
                settled.add(number)
        rest = [number for number in range(len(plan)) if number not in settled]
        if takes_over and not any(plan.sizes[number] for number in rest):
            for number in rest:
                self._finish_unlisted(plan.target_object(number), described=False)
            rest = []
        for item, failed in self._sink.settle(wait=True):
            if isinstance(failed, TARGET_LOST):
                raise failed
            if failed is not None:
                self.take_failure(Failure(item.key, failed), job_id=None)
        return (plan, found) if len(rest) == len(plan) else (plan.keep(rest), found.keep(rest))

    def _go_on(self, remainder: Remainder, details: JobDetails) -> None:
        assert isinstance(self._sink, KeepingSink)  # as `resume` has seen
        plan, job_id = remainder.plan, details.job.id
        with self.given_up_unless_moved(job_id):
            listed = JobState(details.chunks, plan.keys, small_limit=-1, skip_cached=False)
            found = self._look(self._sink, remainder, listed, trusted={})
            if found.there:
                self._have_appeared(job_id, found.there)
            for number, error in found.failed:
                self.fail(plan.keys[number], error, job_id=job_id)
            self._check_room(plan, found, appeared=remainder.appeared)
            self._ask_again(plan, job_id, found)
            left = self._move_job(plan, details, found, appeared=remainder.appeared)
        if left is not None:
            self._planned_objects -= len(left)
            self._planned_bytes -= left.bytes
            self._do_again(plan, left)

    def _left(self, remainder: Remainder, fate: Fate) -> PlannedJob | None:  # noqa: ARG002  # what has not appeared is left
        """Return the objects that have not appeared; what is on the disk of them is looked at when they are begun."""
        plan = remainder.plan
        rest = [number for number in range(len(plan)) if not remainder.appeared[number]]
        if not rest:
            return None
        left = plan.keep(rest)
        self._left_over = (left, kept_remainder(remainder, left, rest), {})
        return left

    def _ask_again(self, plan: PlannedJob, job_id: str, found: Found) -> None:
        """Ask for blobs that the job does not list any more, and that are not here: they may still be in the cache.

        Each is tried once and not waited for; what comes is kept.
        """
        asked = found.to_ask_again(plan)
        if not asked:
            return
        state = JobState([Chunk("", 0, asked)], plan.keys, small_limit=-1, skip_cached=False)
        mover = GetMover(
            self.client,
            self.transport,
            sink=self._sink,
            plan=plan,
            state=state,
            job_id=job_id,
            sent=self._sent,
            found=found,
            cached_only=True,
        )
        for number in range(len(state.blobs)):
            self.check_stopped()
            self.recorder.tick()
            if state.object_of[number] in found.settled:
                continue
            owner, offset, length = state.object_of[number], state.blobs.offsets[number], state.blobs.lengths[number]
            try:
                checksum = mover.move(number, lambda count: None)  # noqa: ARG005
            except (ApplianceError, ChecksumError, ProtocolError) as error:
                _log.info("job %s: %s at %d has to be planned anew: %s", job_id, plan.keys[owner], offset, error)
                continue
            except SinkError as error:
                found.failed.append((owner, error))
                self.fail(plan.keys[owner], error, job_id=job_id)
                continue
            found.begun[owner].has(ByteRange(offset, offset + length))
            kind = mover.checksum_kinds((number,))[0]
            self.recorder.moved(job_id, MovedBlobs([owner], [offset], [length], [kind], [checksum]))
            self.result.bytes += length


def _is_full(error: BaseException | None) -> bool:
    """Whether an error comes of a disk, or a quota, that is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return True
        error = error.__cause__
    return False
