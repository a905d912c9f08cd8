"""What a put or a get is asked to do, and what came of it; the parts that both directions share."""

from __future__ import annotations

import _thread
import logging
import re
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TypeVar

from ds3tool.client import Ds3Client
from ds3tool.clock import Clock
from ds3tool.errors import (
    ApplianceError,
    Ds3Error,
    InterruptedRunError,
    JobError,
    JobLostError,
    MediaOfflineError,
    NotFoundError,
    ProtocolError,
    TransportError,
    UsageError,
    worst_exit_code,
)
from ds3tool.jobs.decisions import MENDABLE, UNREACHABLE
from ds3tool.jobs.ends import Failure
from ds3tool.jobs.engine import Engine, EngineSettings
from ds3tool.jobs.existing import IfExists
from ds3tool.jobs.fate import IDLE_LIMIT, LAG_SECONDS, Fate, JobFate, fate_of, was_truncated
from ds3tool.jobs.integrity import ChecksumChoice
from ds3tool.jobs.plan import JobLimits, PlannedJob, new_token
from ds3tool.jobs.progress import Phase, ProgressSnapshot
from ds3tool.jobs.recorder import NoRecorder, Recorder
from ds3tool.jobs.remainder import Remainder
from ds3tool.protocol.model import Job, JobDetails, JobStatus, JobType, Priority
from ds3tool.transport.pool import Transport

_log = logging.getLogger(__name__)
T = TypeVar("T")

# So soon does a run notice, whatever it waits for, that it is to stop.
_NOTICE_SECONDS = 0.1
# Asks for a job whose creation went without a clear answer: None when there is none.
AskForJob = Callable[[], JobDetails | None]


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How a put or a get goes about it.

    `blob_size` caps the blobs of a put in bytes, None leaves it to the data policy. A run of more than `limits` allow
    is several jobs, one after the other; `job_name` is what their names begin with. `stop_on_error`: the first object
    that fails ends the run, else the others go on. Of a put: `checksum` is what its digests must be, `metadata` is
    stored with every object, and `may_delete` lets `--if-exists overwrite` delete first where no versions are kept.
    """

    engine: EngineSettings = field(default_factory=EngineSettings)
    priority: Priority | None = None
    blob_size: int | None = None
    limits: JobLimits = field(default_factory=JobLimits)
    job_name: str | None = None
    if_exists: IfExists = IfExists.SKIP_SAME
    stop_on_error: bool = False
    checksum: ChecksumChoice = ChecksumChoice.AUTO
    metadata: Mapping[str, str] = field(default_factory=dict)
    may_delete: bool = False


@dataclass(slots=True)
class JobOutcome:
    """One job of a run: its last known state, and what this run moved of it."""

    job: Job
    objects: int = 0
    bytes: int = 0


@dataclass(slots=True)
class RunResult:
    """What a run has done. `objects` and `bytes` count what it moved and, for a get, what appeared at the target;
    `deleted` what a sync took away there, since its source has it no more.

    `stopped` is what ended the run early, None when it went through its whole plan.
    """

    jobs: list[JobOutcome] = field(default_factory=list)
    objects: int = 0
    bytes: int = 0
    skipped: int = 0
    deleted: int = 0
    failures: list[Failure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unverified: int = 0
    seconds: float = 0.0
    stopped: Ds3Error | None = None

    @property
    def exit_code(self) -> int:
        """The run's exit code: that of what stopped it, of an integrity failure, or 3 for failed objects."""
        codes = {3} if self.failures else set()
        codes |= {failure.error.exit_code for failure in self.failures} & {5, 8, 11, 12}
        if self.stopped is not None:
            codes.add(self.stopped.exit_code)
        return worst_exit_code(codes)


class Run(ABC):
    """The progress and the result of one put or get, and what both do alike with a job.

    `on_object`, when set before `run`, is told each object's key, size and failure as it ends, from `run`'s thread.
    """

    # What a run waits for when the appliance offers nothing; put and get say it in their own words.
    waiting_for = "the appliance"

    def __init__(
        self,
        client: Ds3Client,
        *,
        settings: RunSettings,
        recorder: Recorder | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.on_object: Callable[[str, int, Ds3Error | None], None] | None = None
        self.client = client
        if not isinstance(client.exchange, Transport):
            raise UsageError("bulk transfers need a client that stands on a Transport of its own")
        self.transport = client.exchange
        self.settings = settings
        self.recorder: Recorder = recorder or NoRecorder()
        self.clock: Clock = clock or self.transport.clock
        self.result = RunResult()
        self._started = time.monotonic()
        self._phase = Phase.PLANNING
        self._engine: Engine | None = None
        self._planned_objects = 0
        self._planned_bytes = 0
        self._trouble: tuple[str, float] | None = None
        self._stopped_on_error = False
        self._stop_asked = False
        self._stop_noticed = threading.Event()
        self._named: set[str] = set()
        # What is known of the job in hand; a get flags in it what has appeared.
        self.current: Remainder | None = None
        # Plans of which a creation was sent twice, since nobody knew what had become of the first.
        self._sent_again: set[str] = set()
        self._tell_before = self.transport.on_wait
        self.transport.on_wait = self._trying_again

    # -- progress ----------------------------------------------------------------------------------------------

    def progress(self) -> ProgressSnapshot:
        """Return the state of this moment; from any thread."""
        engine = self._engine
        objects, moved = self.result.objects, self.result.bytes
        phase, waiting, next_ask = self._phase, None, None
        if engine is not None:
            objects += engine.state.objects_done
            moved += engine.bytes_moved
            idle = not engine.state.moving and not engine.state.ready
            if phase == Phase.MOVING and idle and engine.next_ask_at is not None:
                phase, waiting = Phase.WAITING, self.waiting_for
                next_ask = max(0.0, engine.next_ask_at - self.clock.monotonic())
        trouble = self._trouble
        if trouble is not None and trouble[1] > self.clock.monotonic():
            phase, waiting, next_ask = Phase.WAITING, trouble[0], trouble[1] - self.clock.monotonic()
        return ProgressSnapshot(
            phase=phase.value,
            objects_done=objects,
            objects_total=self._planned_objects,
            objects_failed=len(self.result.failures),
            bytes_done=min(moved, self._planned_bytes),
            bytes_total=self._planned_bytes,
            waiting_for=waiting,
            next_ask_seconds=next_ask,
            elapsed_seconds=time.monotonic() - self._started,
        )

    def _trying_again(self, error: Ds3Error, seconds: float) -> None:
        """A request failed and will be repeated: let the display say why nothing moves."""
        self._trouble = (f"another try ({error.message})", self.clock.monotonic() + seconds)
        if self._tell_before is not None:
            self._tell_before(error, seconds)

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

    @property
    def way_on(self) -> str:
        """What a person does to have done what this run leaves."""
        return "to go on with it: ds3tool resume" if self.recorder.lasting else "run the command again for the rest"

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
        self._planned_objects -= len(left)
        self._planned_bytes -= left.bytes
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

    # -- a job's life ------------------------------------------------------------------------------------------

    def planned(self, plan: PlannedJob) -> None:
        """Count a plan and record it."""
        self._planned_objects += len(plan)
        self._planned_bytes += plan.bytes
        self.recorder.planned(plan)

    def create(self, plan: PlannedJob, create: Callable[[AskForJob], JobDetails]) -> JobDetails:
        """Create the job of `plan`; when its reply does not tell, find it by the token in its name.

        `create` is given what finds it, for use before a creation is sent again. A job whose creation was interrupted
        is found the same way and given up, so that it does not idle for a day.
        """
        try:
            try:
                details = create(lambda: self._created_unheard(plan))  # when it returns None, it is sent again
                _check_plan(details.job, plan)
            except (TransportError, ProtocolError, ApplianceError) as error:
                details = self._adopt(plan, error)
            self._have(plan, details)
        except KeyboardInterrupt:
            if self.recorder.lasting:  # its job, if there is one, is found by its name
                raise InterruptedRunError("interrupted before anything was moved", hint=self.way_on) from None
            self._give_up_unseen(plan)
            raise InterruptedRunError("interrupted before anything was moved") from None
        return details

    def _have(self, plan: PlannedJob, details: JobDetails) -> None:
        """Take the job of `plan` over into the result and the record, before anything is moved."""
        job_id = details.job.id
        self.result.jobs.append(JobOutcome(details.job))
        with self.given_up_unless_moved(job_id):
            self._give_up_twins(plan, job_id)
            self.recorder.created(plan, details.job)
        self.current = Remainder(plan, job_id, datetime.fromtimestamp(self.clock.time(), UTC))

    def _adopt_unrecorded(self, plan: PlannedJob) -> JobDetails | None:
        """Return the job of a plan whose creation nobody recorded, None when there is none."""
        found = self._find_late(plan)
        if not found:
            return None
        details = self.client.modify_job(found[0])
        _log.info("job %s, of %r, was created and not recorded; it goes on", found[0], plan.name)
        self._have(plan, details)
        return details

    def _created_unheard(self, plan: PlannedJob) -> JobDetails | None:
        """Return the job of a plan whose creation went without a clear answer, None when there is none."""
        found = self._find_late(plan)
        if not found:
            self._sent_again.add(plan.name)
            return None
        _log.warning("the reply to the creation of job %s was lost; it is there and goes on", found[0])
        with self.given_up_unless_moved(found[0]):
            return self.client.get_job(found[0])

    def _adopt(self, plan: PlannedJob, error: Ds3Error) -> JobDetails:
        """Return the job whose creation was answered by `error` only; raises that when there is no such job.

        Whatever stands between may refuse what the appliance has done, and a creation that was sent again conflicts
        with its own first sending; so even a refusal is not believed before the appliance was asked.
        """
        try:
            found = self._find(plan) if isinstance(error, ApplianceError) else self._find_late(plan)
        except Ds3Error as unknown:
            error.hint = _perhaps_created(plan, unknown)
            raise error from unknown
        if not found:
            raise error
        _log.warning("the reply to the creation of job %s was lost (%s); it is there and goes on", found[0], error)
        with self.given_up_unless_moved(found[0]):
            return self.client.get_job(found[0])

    def _give_up_twins(self, plan: PlannedJob, job_id: str) -> None:
        """Give up other jobs of the same plan: a creation that was sent again, by us or on the way, makes two.

        When it was by us, the first may have been carried out meanwhile, and the list of jobs is late.
        """
        late = plan.name in self._sent_again
        try:
            twins = [found for found in self._find_late(plan, beside=job_id, late=late) if found != job_id]
        except Ds3Error as unknown:
            self.result.notes.append(f"whether job {job_id} was created twice is not known ({unknown.message})")
            return
        for twin in twins:
            _log.warning("job %s was created twice; its twin %s is given up", job_id, twin)
            self.give_up(twin)

    def _give_up_unseen(self, plan: PlannedJob) -> None:
        try:
            for found in self._find_late(plan):
                self.give_up(found)
        except Ds3Error as error:
            self.result.notes.append(_perhaps_created(plan, error))

    def _find(self, plan: PlannedJob) -> list[str]:
        """Return the running jobs of `plan`; there should be one at most."""
        try:
            listed = self.client.list_jobs(bucket=plan.bucket)
        except ProtocolError:  # the connection that gave a wrong answer is closed by now
            listed = self.client.list_jobs(bucket=plan.bucket)
        return [
            job.id
            for job in listed
            if job.name is not None
            and job.name.endswith(plan.name)
            and job.status not in {JobStatus.COMPLETED, JobStatus.CANCELED}
        ]

    def _find_late(self, plan: PlannedJob, *, beside: str | None = None, late: bool = True) -> list[str]:
        """Return the running jobs of `plan`, or none when the list of jobs has had time enough to name them.

        `beside` is one that is known: another is looked for. Without `late` the list is looked at once.
        """
        never = threading.Event()
        for seconds in LAG_SECONDS if late else ():
            found = self._find(plan)
            if any(one != beside for one in found):
                return found
            self.clock.wait(never, seconds)
        return self._find(plan)

    @contextmanager
    def given_up_unless_moved(self, job_id: str) -> Iterator[None]:
        """Whatever ends the block early gives the job up, unless the appliance has lost it or another run may mend it.

        With a recorder that lasts nothing does: the job is left open, for a later run to go on with.
        """
        try:
            yield
        except JobLostError:
            self.note_job(job_id)
            raise
        except MENDABLE as error:
            if not self.recorder.lasting:
                self.result.notes.append(
                    f"job {job_id} is left open on the appliance; run the command again, or end it: ds3tool job ls"
                )
            _log.error("job %s is left open: %s", job_id, error)
            raise
        except BaseException as error:
            if self.recorder.lasting:
                _log.info("job %s is left open, to be resumed: %s", job_id, error)
            else:
                self.give_up(job_id)
            if isinstance(error, KeyboardInterrupt):
                raise InterruptedRunError("interrupted", hint=self.way_on) from None
            raise

    @contextmanager
    def stopping(self) -> Iterator[None]:
        """What ends the block early becomes the result's `stopped`, once there is a job or somebody interrupted.

        What can be resumed says so.
        """
        try:
            yield
        except KeyboardInterrupt:
            self.result.stopped = InterruptedRunError("interrupted", hint=self.way_on)
        except UNREACHABLE as error:
            if self._stop_asked and not self._stop_noticed.is_set():  # it waited for another try
                self.result.stopped = InterruptedRunError("interrupted", hint=self.way_on)
            elif not self.result.jobs:
                raise
            else:
                self.result.stopped = error
        except (InterruptedRunError, JobError, MediaOfflineError) as error:
            self.result.stopped = error
        except Ds3Error as error:
            if not self.result.jobs:
                raise
            self.result.stopped = error
        if self.recorder.lasting and self.result.stopped is not None:
            self._say_how_to_go_on(self.result.stopped)

    def _say_how_to_go_on(self, error: Ds3Error) -> None:
        """Let what stopped the run say how the rest is done, beside what must be done before, if anything."""
        if isinstance(error, (InterruptedRunError, *UNREACHABLE)) or error.hint is None:
            error.hint = self.way_on
        elif "ds3tool resume" not in error.hint:
            hint, count = _COMMAND_AGAIN.subn("run ds3tool resume", error.hint)
            error.hint = hint if count else f"{hint}; {self.way_on}"

    def move(self, engine: Engine) -> None:
        """Let the engine move what it holds, and keep the count whatever happens."""
        engine.stop_when(lambda: self._stop_asked)
        self._engine = engine
        self._phase = Phase.MOVING
        try:
            engine.run()
        finally:
            self._phase = Phase.FINISHING
            if self._stop_asked:
                self._stop_noticed.set()  # what is still to be asked and told may take its time

    def count(self, *, objects: int, bytes_moved: int) -> None:
        """Take a job's count over into the result, at its end."""
        self._engine = None
        if self.result.jobs:
            self.result.jobs[-1].objects += objects
            self.result.jobs[-1].bytes += bytes_moved
        self.result.objects += objects
        self.result.bytes += bytes_moved

    def object_ended(self, key: str, size: int, error: Ds3Error | None) -> None:
        """Tell whoever wants each object as it ends."""
        if self.on_object is not None:
            self.on_object(key, size, error)

    def fail(self, key: str, error: Ds3Error, *, job_id: str | None) -> None:
        """Keep and record a failure; with `stop_on_error` the first one raises JobError, which ends the run."""
        self.take_failure(Failure(key, error), job_id=job_id)

    def take_failure(self, failure: Failure, *, job_id: str | None) -> None:
        """Do with a failure what `fail` does with a key's."""
        error = failure.error
        self.result.failures.append(failure)
        self.recorder.failed(job_id, failure)
        if failure.key is not None:
            self.object_ended(failure.key, 0, error)
        _log.info("job %s: %s: %s", job_id, failure.name, error)
        if self.settings.stop_on_error and not self._stopped_on_error:
            self._stopped_on_error = True
            raise JobError(
                f"stopped at the first object that failed: {failure.name}",
                hint="without --on-error stop the others would have gone on; run the command again for the rest",
            ) from error

    @abstractmethod
    def give_up(self, job_id: str) -> None:
        """End a job that will not be finished; each direction knows how."""

    def note_job(self, job_id: str, *, if_forgotten: Callable[[], JobStatus] = lambda: JobStatus.CANCELED) -> None:
        """Ask for a job's last state, keep it in the result and record it.

        An appliance may forget jobs that have ended, whichever way: then `if_forgotten` says how this one did.
        """
        outcome = next((outcome for outcome in self.result.jobs if outcome.job.id == job_id), None)
        job: Job | None
        try:
            job = self.client.get_job(job_id).job
        except NotFoundError:
            job = None if outcome is None else replace(outcome.job, status=if_forgotten())
        except Ds3Error as error:
            _log.warning("the state of job %s is not known: %s", job_id, error)
            job = None if outcome is None else outcome.job
        if job is None:
            return
        if outcome is None:
            self.result.jobs.append(JobOutcome(job))
        else:
            outcome.job = job
        self.recorder.noted(job)

    def finished(self) -> RunResult:
        """Return the result with its time, and let go of the transport."""
        self.transport.on_wait = self._tell_before
        self.result.seconds = time.monotonic() - self._started
        return self.result


_COMMAND_AGAIN = re.compile("run the command again( for the rest| for what is missing)?")
_TOKEN_AT_END = re.compile(r" [0-9a-f]{12}\Z")


def successor_name(name: str) -> str:
    """Return the name of a plan that takes over what a plan of this name has not done: its title, and a new token."""
    return f"{_TOKEN_AT_END.sub('', name)} {new_token()}"


def _check_plan(job: Job, plan: PlannedJob) -> None:
    """Raise ProtocolError when a reply tells of another job than the one that was to be created."""
    if job.type != plan.type or (job.name is not None and not job.name.endswith(plan.name)):
        raise ProtocolError(f"the appliance answers with job {job.id}, {job.name!r}, which is not {plan.name!r}")


def _perhaps_created(plan: PlannedJob, error: Ds3Error) -> str:
    return f"whether the job {plan.name!r} was created is not known ({error.message}); look for it: ds3tool job ls"
