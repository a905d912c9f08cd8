"""What a put or a get is asked to do, and what came of it; the parts that both directions share."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from ds3tool.client import Ds3Client
from ds3tool.clock import Clock
from ds3tool.errors import (
    ApplianceError,
    BusyError,
    Ds3Error,
    InterruptedRunError,
    JobError,
    JobLostError,
    MediaOfflineError,
    NotFoundError,
    ProtocolError,
    RetryLaterError,
    TransportError,
    UsageError,
    worst_exit_code,
)
from ds3tool.jobs.ends import Failure
from ds3tool.jobs.engine import Engine, EngineSettings
from ds3tool.jobs.existing import IfExists
from ds3tool.jobs.integrity import ChecksumChoice
from ds3tool.jobs.plan import JobLimits, PlannedJob
from ds3tool.jobs.progress import Phase, ProgressSnapshot
from ds3tool.jobs.recorder import NoRecorder, Recorder
from ds3tool.protocol.model import Job, JobDetails, JobStatus, Priority
from ds3tool.transport.pool import Transport

_log = logging.getLogger(__name__)

# The appliance's lists and counters lag behind by up to five seconds. Source: protocol, 9.3.
LAG_SECONDS = (0.25, 0.5, 1.0, 2.0, 4.0)
# With one of these the time for retries is spent: asking for anything else would spend it once more.
UNREACHABLE = (TransportError, BusyError, RetryLaterError)


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

    # -- a job's life ------------------------------------------------------------------------------------------

    def planned(self, plan: PlannedJob) -> None:
        """Count a plan and record it."""
        self._planned_objects += len(plan)
        self._planned_bytes += plan.bytes
        self.recorder.planned(plan)

    def create(self, plan: PlannedJob, create: Callable[[], JobDetails]) -> JobDetails:
        """Create the job of `plan`; when its reply does not tell, find it by the token in its name.

        A job whose creation was interrupted is found the same way and given up, so that it does not idle for a day.
        """
        try:
            try:
                details = create()
                _check_plan(details.job, plan)
            except (TransportError, ProtocolError, ApplianceError) as error:
                details = self._adopt(plan, error)
            self.result.jobs.append(JobOutcome(details.job))
            with self.given_up_unless_moved(details.job.id):
                self._give_up_twins(plan, details.job.id)
                self.recorder.created(plan, details.job)
        except KeyboardInterrupt:
            self._give_up_unseen(plan)
            raise InterruptedRunError("interrupted before anything was moved") from None
        return details

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
        """Give up other jobs of the same plan: a creation that was sent again, by us or on the way, makes two."""
        try:
            twins = [found for found in self._find(plan) if found != job_id]
        except Ds3Error as unknown:
            self.result.notes.append(f"whether job {job_id} was created twice is not known ({unknown.message})")
            return
        for twin in twins:
            _log.warning("job %s was created twice; its twin %s is given up", job_id, twin)
            self.give_up(twin)

    def _give_up_unseen(self, plan: PlannedJob) -> None:
        try:
            for found in self._find(plan):
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

    def _find_late(self, plan: PlannedJob) -> list[str]:
        """Return the running jobs of `plan`, or none when the list of jobs has had time enough to name them."""
        never = threading.Event()
        for seconds in LAG_SECONDS:
            found = self._find(plan)
            if found:
                return found
            self.clock.wait(never, seconds)
        return self._find(plan)

    @contextmanager
    def given_up_unless_moved(self, job_id: str) -> Iterator[None]:
        """Whatever ends the block early gives the job up, unless the appliance has lost it or cannot be reached."""
        try:
            yield
        except JobLostError:
            self.note_job(job_id)
            raise
        except UNREACHABLE as error:
            self.result.notes.append(
                f"job {job_id} is left open on the appliance; run the command again, or end it: ds3tool job ls"
            )
            _log.error("job %s is left open: %s", job_id, error)
            raise
        except KeyboardInterrupt:
            self.give_up(job_id)
            raise InterruptedRunError("interrupted", hint="run the command again for the rest") from None
        except BaseException:
            self.give_up(job_id)
            raise

    @contextmanager
    def stopping(self) -> Iterator[None]:
        """What ends the block early becomes the result's `stopped`, once there is a job or somebody interrupted."""
        try:
            yield
        except KeyboardInterrupt:
            self.result.stopped = InterruptedRunError("interrupted", hint="run the command again for the rest")
        except (InterruptedRunError, JobError, MediaOfflineError) as error:
            self.result.stopped = error
        except Ds3Error as error:
            if not self.result.jobs:
                raise
            self.result.stopped = error

    def move(self, engine: Engine) -> None:
        """Let the engine move what it holds, and keep the count whatever happens."""
        self._engine = engine
        self._phase = Phase.MOVING
        try:
            engine.run()
        finally:
            self._phase = Phase.FINISHING

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
    def run(self) -> RunResult:
        """Plan, create and move job after job; return what came of it."""

    @abstractmethod
    def plans(self) -> Iterator[PlannedJob]:
        """Yield the jobs that `run` would make, without making them; in place of `run`, not before it."""

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


def _check_plan(job: Job, plan: PlannedJob) -> None:
    """Raise ProtocolError when a reply tells of another job than the one that was to be created."""
    if job.type != plan.type or (job.name is not None and not job.name.endswith(plan.name)):
        raise ProtocolError(f"the appliance answers with job {job.id}, {job.name!r}, which is not {plan.name!r}")


def _perhaps_created(plan: PlannedJob, error: Ds3Error) -> str:
    return f"whether the job {plan.name!r} was created is not known ({error.message}); look for it: ds3tool job ls"
