"""A put or a get from its first plan to its last, and from where an earlier run has left it."""

from __future__ import annotations

import _thread
import logging
import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from ds3tool.errors import (
    Ds3Error,
    InterruptedRunError,
    JobLostError,
)
from ds3tool.jobs.decisions import UNREACHABLE
from ds3tool.jobs.fate import IDLE_LIMIT, Fate, JobFate, fate_of, was_truncated
from ds3tool.jobs.job_run import AskForJob, JobRun
from ds3tool.jobs.plan import PlannedJob, new_token
from ds3tool.jobs.remainder import Remainder
from ds3tool.jobs.run_result import JobOutcome, RunResult, RunSettings
from ds3tool.protocol.model import JobDetails, JobType

__all__ = ["AskForJob", "JobOutcome", "Run", "RunResult", "RunSettings"]

_log = logging.getLogger(__name__)
T = TypeVar("T")

# So soon does a run notice, whatever it waits for, that it is to stop.
_NOTICE_SECONDS = 0.1


class Run(JobRun):
    """One put or get. `on_object`, when set before `run`, is told each object's key, size and failure as it ends."""

    # -- the run -----------------------------------------------------------------------------------------------

    def run(self) -> RunResult:
        """Plan, create and move job after job; returns the result also when some objects or a job failed.

        Raises what makes the run impossible before a job exists: no such bucket, no permission, bad names, no room,
        and settings that the bucket's data policy does not admit.
        """
        return self._carry_out(self._run_jobs)

    def resume(self, remainders: Iterable[Remainder], *, anew: bool = False) -> RunResult:
        """Finish what earlier runs of the same work have left of their plans, one after the other.

        A job that goes on is gone on with; of one that has expired, what is missing is planned anew at once. What
        somebody has cancelled or truncated is planned anew only with `anew`: else it is the result's `stopped`, as a
        JobLostError, when the other plans are through. Raises what `run` would raise before a job exists.
        """
        return self._carry_out(lambda: self._resume_all(remainders, anew=anew))

    def _carry_out(self, jobs: Callable[[], None]) -> RunResult:
        try:
            return self._through(jobs)
        except UNREACHABLE:
            if not self._stop_asked or self._stop_noticed.is_set():
                raise
            self.result.stopped = InterruptedRunError("interrupted", hint=self.way_on)  # it waited for another try
            return self.finished()
        finally:
            self._stop_noticed.set()

    @abstractmethod
    def _run_jobs(self) -> None:
        """Do all that is to be done, from the first plan to the last."""

    @abstractmethod
    def plans(self) -> Iterator[PlannedJob]:
        """Yield the jobs that `run` would make, without making them; in place of `run`, not before it."""

    def stop(self) -> None:
        """End the run soon, with InterruptedRunError: what is on its way ends, and nothing new is begun.

        From any thread, and from a signal's handler: no lock is taken. Twice is harmless.
        """
        if not self._stop_asked:
            self._stop_asked = True
            _thread.start_new_thread(self._end_waits, ())  # a `Thread` would take locks when it is started

    def _end_waits(self) -> None:
        """Let nothing wait to be tried again, as long as the run has not noticed that it is to stop."""
        while not self._stop_noticed.wait(_NOTICE_SECONDS):
            self.transport.stop_waits()

    def check_stopped(self) -> None:
        """Raise InterruptedRunError when somebody has asked the run to stop."""
        if self._stop_asked:
            self._stop_noticed.set()
            raise InterruptedRunError("interrupted", hint=self.way_on)

    def until_stopped(self, items: Iterable[T]) -> Iterator[T]:
        """Yield `items` until somebody asks the run to stop, which raises InterruptedRunError."""
        for item in items:
            self.check_stopped()
            yield item

    @abstractmethod
    def _through(self, jobs: Callable[[], None]) -> RunResult:
        """Call `jobs` amid all that goes before the first job and comes after the last; return the result."""

    @abstractmethod
    def _start(self, plan: PlannedJob, *, again: bool) -> None:
        """Do a plan of which there is no job yet; `again`: its objects belonged to another plan of this run before."""

    @abstractmethod
    def _go_on(self, remainder: Remainder, details: JobDetails) -> None:
        """Finish a job that the appliance still has; `details` is its own list, of this moment."""

    @abstractmethod
    def _left(self, remainder: Remainder, fate: Fate) -> PlannedJob | None:
        """Return what is still to be done of a plan whose job is over, None when that is nothing; the name is ours."""

    # -- what was left -----------------------------------------------------------------------------------------

    def _resume_all(self, remainders: Iterable[Remainder], *, anew: bool) -> None:
        lost: list[JobLostError] = []
        try:
            for remainder in self.until_stopped(remainders):
                if remainder.plan.name in self._named:
                    continue  # planned anew by this very run, which has seen to it already
                try:
                    self._resume_one(remainder, anew=anew)
                except JobLostError as error:
                    lost.append(error)
        except Ds3Error:
            self.result.notes.extend(f"{error.message}; {error.hint}" for error in lost)
            raise
        if lost:
            self.result.notes.extend(f"{error.message}; {error.hint}" for error in lost[1:])
            raise lost[0]

    def _resume_one(self, remainder: Remainder, *, anew: bool) -> None:
        if remainder.job_id is None:
            details = self._adopt_unrecorded(remainder.plan)
            if details is None:
                self.do(remainder.plan)
                return
            remainder.job_id = details.job.id
            found = JobFate(Fate.GOES_ON, details)
        else:
            found = self._fate_of(remainder)
            if found.details is not None:
                self.result.jobs.append(JobOutcome(found.details.job))
        fate = found.fate
        if fate is Fate.GOES_ON and found.details is not None:
            try:
                self._go_on_while_it_lasts(remainder, found.details)
            except JobLostError as error:
                if not anew or error.job_id != remainder.job_id:
                    raise
                fate = Fate.TRUNCATED
            else:
                return
        self._end_lost(remainder, fate, anew=anew)

    def _end_lost(self, remainder: Remainder, fate: Fate, *, anew: bool) -> None:
        """Do what is missing of a plan whose job is over, where it may be done; else raise JobLostError."""
        left = self._left(remainder, fate)
        if left is None:
            self.recorder.finished(remainder.plan)
        elif anew or self._may_plan_anew(remainder, fate) or remainder.failed.issuperset(left.keys):
            # Where all that is missing had failed, it was the earlier run that gave the job up, and did not tell.
            self._do_again(remainder.plan, left)
        else:
            raise self._lost_error(remainder, fate)

    def _go_on_while_it_lasts(self, remainder: Remainder, details: JobDetails) -> None:
        self.current = remainder
        self._planned_objects += len(remainder.plan)
        self._planned_bytes += remainder.plan.bytes
        self._once_more_when_expired(lambda: self._go_on(remainder, details))

    def _may_plan_anew(self, remainder: Remainder, fate: Fate) -> bool:
        """Whether what is missing of a job that is over may be asked for again, unasked.

        A completed get has been read to its end, but not all of it is safe at the target. A put is completed too when
        what it had by the time that somebody truncated it is on tape; and old releases do not tell.
        """
        if fate is Fate.EXPIRED:
            return True
        plan = remainder.plan
        read = fate is Fate.COMPLETED or (fate is Fate.FORGOTTEN and sum(remainder.held.lengths) >= plan.bytes)
        return read and plan.type is JobType.GET

    def _lost_error(self, remainder: Remainder, fate: Fate) -> JobLostError:
        what = fate.value if fate is not Fate.COMPLETED else "has completed without all that it was to move"
        return JobLostError(
            f"job {remainder.job_id} {what}",
            job_id=remainder.job_id,
            reason=fate.name.lower(),
            hint=f"if its rest is wanted all the same: ds3tool resume {remainder.job_id}",
        )

    def _fate_of(self, remainder: Remainder) -> JobFate:
        assert remainder.job_id is not None  # whoever asks has one
        plan = remainder.plan
        return fate_of(
            self.client, remainder.job_id, bucket=plan.bucket, last_active=remainder.last_active, clock=self.clock
        )

    def do(self, plan: PlannedJob) -> None:
        """Do a plan of which there is no job yet, and plan anew what its job has not done when that expires."""
        self._named.add(plan.name)
        self._once_more_when_expired(lambda: self._start(plan, again=False))

    def _do_again(self, before: PlannedJob, left: PlannedJob) -> None:
        """Do what is left of a plan whose job is over, as the same piece of work."""
        left.name = successor_name(before.name)
        self._named.add(left.name)
        self.recorder.planned(left, instead_of=before)
        self._once_more_when_expired(lambda: self._start(left, again=True))

    def _once_more_when_expired(self, act: Callable[[], None]) -> None:
        began, moved = self.clock.time(), self._moved
        try:
            act()
        except JobLostError as error:
            remainder = self.current
            if remainder is None or remainder.job_id is None or remainder.job_id != error.job_id:
                raise
            fate = self._fate_of_lost(remainder)
            if fate is not Fate.GOES_ON:
                error.reason = fate.name.lower()
            # Without this an appliance that lets every job expire at once would be asked in a circle.
            fruitful = self._moved > moved or self.clock.time() - began >= IDLE_LIMIT.total_seconds()
            if fate is not Fate.EXPIRED or not fruitful or not self._repeatable:
                raise
            _log.warning("job %s has expired; what is missing is planned anew", error.job_id)
            left = self._left(remainder, fate)
        else:
            return
        if left is None:
            self.recorder.finished(remainder.plan)
            return
        self.leave_out(objects=len(left), bytes_held=left.bytes)
        self._do_again(remainder.plan, left)

    def _fate_of_lost(self, remainder: Remainder) -> Fate:
        """Return what became of a job that turned out to be lost; GOES_ON when nobody says that anything did."""
        fate = self._fate_of(remainder).fate
        if fate is Fate.GOES_ON and remainder.job_id is not None:
            return was_truncated(self.client, remainder.job_id, bucket=remainder.plan.bucket, clock=self.clock)
        return fate

    @property
    def _repeatable(self) -> bool:
        """Whether what has gone could go once more: not so for a stream."""
        return True

    @property
    def _moved(self) -> tuple[int, int]:
        return self.result.objects, self.result.bytes


_TOKEN_AT_END = re.compile(r" [0-9a-f]{12}\Z")


def successor_name(name: str) -> str:
    """Return the name of a plan that takes over what a plan of this name has not done: its title, and a new token."""
    return f"{_TOKEN_AT_END.sub('', name)} {new_token()}"
