"""Puts what a source yields into a bucket, through planned bulk jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ds3tool.client import Ds3Client
from ds3tool.clock import Clock
from ds3tool.errors import Ds3Error, JobError, JobLostError
from ds3tool.jobs.decisions import UNREACHABLE
from ds3tool.jobs.ends import Failure, Source, SourceObject
from ds3tool.jobs.fate import Fate
from ds3tool.jobs.integrity import ChecksumChoice, bucket_policy
from ds3tool.jobs.plan import PlannedJob, plan_put_blocks
from ds3tool.jobs.put_job import PutJobRun
from ds3tool.jobs.put_planner import PutPlanner, SettledPlan, check_rule
from ds3tool.jobs.recorder import Recorder
from ds3tool.jobs.remainder import Remainder
from ds3tool.jobs.run import RunResult, RunSettings
from ds3tool.jobs.source_blocks import BlockSource, SourceBlock, in_blocks
from ds3tool.protocol.metadata import to_headers
from ds3tool.protocol.model import DataPolicy, JobDetails, ListedObject


class PutRun(PutJobRun):
    """Puts every object of `source` into `bucket`. One use: `run` once, `progress` from any thread."""

    waiting_for = "room in the appliance's cache"
    ended_word = "truncated"
    ending_command = "ds3tool job truncate"

    def __init__(
        self,
        client: Ds3Client,
        source: Source,
        bucket: str,
        *,
        settings: RunSettings,
        recorder: Recorder | None = None,
        clock: Clock | None = None,
    ) -> None:
        """What the bucket has of the source's keys is listed once a job."""
        super().__init__(client, source, bucket, settings=settings, recorder=recorder, clock=clock)
        self._failures_taken = 0

    def _run_jobs(self) -> None:
        limits, title = self.settings.limits, self.settings.job_name
        plans = plan_put_blocks(self._walk(), self._bucket, limits=limits, title=title)
        for plan in self.recorder.plans(self._planner.without_repeated(plans)):
            self.do(plan)

    def _through(self, jobs: Callable[[], None]) -> RunResult:
        self._policy = self._checked_policy()
        self._planner = self._new_planner(self._policy)
        with self.stopping():
            try:
                jobs()
            except Ds3Error as error:
                if not self._replacing.deleted:
                    raise
                self.result.stopped = error  # whatever it was: what was deleted must be told
        self._tell_of_unreplaced()
        self._take_account(self._planner)
        if self.settings.checksum is ChecksumChoice.NONE and self.result.objects:
            self.result.notes.append(
                "nothing was sent with a digest (--checksum none): that it arrived undamaged was not verified"
            )
        return self.finished()

    def plans(self) -> Iterator[PlannedJob]:
        """Yield the jobs that a run would make; nothing is changed anywhere.

        What fails or is left out is in `result` when all are through. Raises what `run` would raise before a job.
        """
        policy = self._checked_policy()
        planner = self._new_planner(policy)
        replaced = 0
        with self.stopping():
            for settled in self._settled_plans(planner):
                replaced += len(settled.replaced)
                if len(settled.plan):
                    yield settled.plan
        if replaced:
            what = f"{replaced:,} {'object' if replaced == 1 else 'objects'}"
            self.result.notes.append(f"{what} would be deleted from the bucket, and put again")
        self._take_account(planner)

    def _checked_policy(self) -> DataPolicy:
        policy, settings = bucket_policy(self.client, self._bucket), self.settings
        settings.checksum.check(policy)
        check_rule(settings.if_exists, policy, may_delete=settings.may_delete)
        to_headers(settings.metadata)
        return policy

    def _new_planner(self, policy: DataPolicy) -> PutPlanner:
        return PutPlanner(
            self.client,
            self._source,
            self._bucket,
            rule=self.settings.if_exists,
            policy=policy,
            fail=lambda key, error: self.fail(key, error, job_id=None),
        )

    def _take_account(self, planner: PutPlanner) -> None:
        """Take over what the planning left out, and what it has to say."""
        self.result.notes.extend((*planner.notes, *self._source.notes, *self._source.skipped))
        self.result.skipped += planner.skipped + len(self._source.skipped)
        if planner.same_by_time:
            what = "object was" if planner.same_by_time == 1 else "objects were"
            self.result.notes.append(
                f"{planner.same_by_time:,} {what} taken for the same by size and time alone: "
                "the appliance states no digests of them"
            )

    def _settled_plans(self, planner: PutPlanner) -> Iterator[SettledPlan]:
        limits, title = self.settings.limits, self.settings.job_name
        for plan in plan_put_blocks(self._walk(), self._bucket, limits=limits, title=title):
            yield planner.settle(plan)

    def _start(self, plan: PlannedJob, *, again: bool) -> None:
        """Settle what is to be put of a plan, and put it."""
        settled = self._planner.settle(plan, again=again)
        if self._replacing.deleted:  # by an earlier run, which did put some of them
            self._replacing.found(set(plan.keys).difference(settled.plan.keys))
        readable = self._readable(settled)
        self.planned(readable)
        free = self._make_room(readable, settled.replaced, self._policy)
        if free is not readable:
            self.recorder.planned(free)
        if len(free):
            self._run_job(free)
        else:
            self.recorder.finished(free)

    def _walk(self) -> Iterator[SourceBlock]:
        """Yield what the source has, and take what it cannot list as it is met."""
        source = self._source
        blocks = source.blocks() if isinstance(source, BlockSource) else in_blocks(self._one_by_one(source))
        for block in self.until_stopped(blocks):
            self._take_source_failures()
            yield block
        self._take_source_failures()

    def _one_by_one(self, source: Source) -> Iterator[SourceObject]:
        for item in source.objects():
            if self._stop_asked:
                self.check_stopped()
            if len(source.failures) != self._failures_taken:
                self._take_source_failures()
            yield item

    def _take_source_failures(self) -> None:
        while self._failures_taken < len(self._source.failures):
            self._failures_taken += 1
            self.take_failure(self._source.failures[self._failures_taken - 1], job_id=None)

    # -- replacing what is there -----------------------------------------------------------------------------------

    def _readable(self, settled: SettledPlan) -> PlannedJob:
        """Leave out, of those for which something must be deleted, the ones that cannot be read whole."""
        plan = settled.plan
        if not settled.replaced:
            return plan
        return self._without_failing(
            plan,
            lambda number: (
                self._replacing.read_whole(plan.source_object(number))
                if plan.keys[number] in settled.replaced
                else None
            ),
        )

    def _make_room(self, plan: PlannedJob, replaced: Mapping[str, ListedObject], policy: DataPolicy) -> PlannedJob:
        """Delete what the objects of `plan` replace; leave out those for which that cannot be done."""
        first = next((key for key in plan.keys if key in replaced), None)
        if first is None:
            return plan
        self._replacing.see_that_a_job_is_admitted(plan, first, lambda one: self._create_job(one, policy).job)

        def delete(number: int) -> None:
            listed = replaced.get(plan.keys[number])
            if listed is not None:
                self._replacing.delete(listed)

        return self._without_failing(plan, delete)

    def _without_failing(self, plan: PlannedJob, act: Callable[[int], None]) -> PlannedJob:
        kept = []
        for number in range(len(plan)):
            try:
                act(number)
            except UNREACHABLE:
                raise
            except Ds3Error as error:
                self.fail(plan.keys[number], error, job_id=None)
            else:
                kept.append(number)
        return plan if len(kept) == len(plan) else plan.keep(kept)

    def _tell_of_unreplaced(self) -> None:
        """Whatever ended the run: an object that was deleted and not replaced is a failure by name.

        Where the run can be resumed it is not one yet.
        """
        stopped, deleted = self.result.stopped, sorted(self._replacing.deleted)
        if deleted and self.recorder.lasting and stopped is not None and not isinstance(stopped, JobLostError):
            what = f"{len(deleted):,} {'object was' if len(deleted) == 1 else 'objects were'}"
            first = f"{deleted[0]}{', ...' if len(deleted) > 1 else ''}"
            self.result.notes.append(f"{what} deleted to be replaced, and not put yet ({first}); {self.way_on}")
            return
        for key in deleted:
            error = self._replacing.explain(key, JobError(f"{key} was not put, or went with its job"))
            failure = Failure(key, error)
            self.result.failures.append(failure)
            self.recorder.failed(None, failure)
            self.object_ended(key, 0, error)

    # -- what was left -----------------------------------------------------------------------------------------------

    def _resume_one(self, remainder: Remainder, *, anew: bool) -> None:
        self._replacing.recall(remainder.deleted)
        super()._resume_one(remainder, anew=anew)

    def _go_on(self, remainder: Remainder, details: JobDetails) -> None:
        self._planner.take(remainder.plan)
        self._move_all(remainder.plan, details, remainder.held, begun=remainder.begun)

    def _left(self, remainder: Remainder, fate: Fate) -> PlannedJob | None:
        from ds3tool.jobs.put_resume import left_of

        plan = remainder.plan
        numbers = left_of(
            self.client,
            self._source,
            plan,
            remainder.held,
            versioning=self._policy.versioning,
            trusted=fate is Fate.COMPLETED,
        )
        left = plan.keep(numbers)
        self._replacing.found(set(plan.keys).difference(left.keys))
        return left if numbers else None
