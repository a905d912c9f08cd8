"""What puts and gets do alike with each of their jobs: create it, find it, give it up, count what came of it."""

from __future__ import annotations

import logging
import re
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

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
)
from ds3tool.jobs.decisions import MENDABLE, UNREACHABLE
from ds3tool.jobs.ends import Failure
from ds3tool.jobs.engine import Engine
from ds3tool.jobs.fate import LAG_SECONDS
from ds3tool.jobs.plan import PlannedJob
from ds3tool.jobs.progress import Phase, ProgressSnapshot
from ds3tool.jobs.recorder import NoRecorder, Recorder
from ds3tool.jobs.remainder import Remainder
from ds3tool.jobs.run_result import JobOutcome, RunResult, RunSettings
from ds3tool.protocol.model import Job, JobDetails, JobStatus
from ds3tool.transport.pool import Transport

_log = logging.getLogger(__name__)

# Asks for a job whose creation went without a clear answer: None when there is none.
AskForJob = Callable[[], JobDetails | None]


class JobRun(ABC):
    """The progress and the result of one put or get, and what both do alike with a job.

    `on_object`, when set before `run`, is told each object's key, size and failure as it ends, from `run`'s thread.
    """

    # What a run waits for when the appliance offers nothing; put and get say it in their own words.
    waiting_for = "the appliance"
    # What ending a job early is called, and the command that does it by hand.
    ended_word = "ended"
    ending_command = "ds3tool job cancel"

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
        self._began_at = self.clock.monotonic()
        self._phase = Phase.PLANNING
        self._engine: Engine | None = None
        # The objects and bytes that the engine's state counted as done before it began.
        self._counted_before = (0, 0)
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
        bytes_total = self._planned_bytes
        phase, waiting, next_ask = self._phase, None, None
        if engine is not None:
            found = engine.bytes_found
            objects += engine.state.objects_done - self._counted_before[0]
            moved += engine.bytes_moved - self._counted_before[1] - found
            bytes_total -= found
            idle = not engine.state.moving and not engine.state.ready
            if phase == Phase.MOVING and idle and engine.next_ask_at is not None:
                phase, waiting = Phase.WAITING, self.waiting_for
                next_ask = max(0.0, engine.next_ask_at - self.clock.monotonic())
        trouble = self._trouble
        if trouble is not None and trouble[1] > self.clock.monotonic():
            phase, waiting, next_ask = Phase.WAITING, trouble[0], trouble[1] - self.clock.monotonic()
        return ProgressSnapshot(
            phase=phase.value,
            objects_done=min(objects, self._planned_objects),  # what an expired job has lost was moved twice
            objects_total=self._planned_objects,
            objects_failed=len(self.result.failures),
            bytes_done=max(0, min(moved, bytes_total)),
            bytes_total=bytes_total,
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
        with self.given_up_unless_moved(job_id):
            self._give_up_twins(plan, job_id)
            self.result.jobs.append(JobOutcome(details.job))  # the last one is the one that is worked on
            self.recorder.created(plan, details.job)
        self.current = Remainder(plan, job_id, datetime.fromtimestamp(self.clock.time(), UTC))

    def _adopt_unrecorded(self, plan: PlannedJob) -> JobDetails | None:
        """Return the job of a plan whose creation nobody recorded, None when there is none.

        Whoever may have asked for it had done so before this run began, so the lists need their time only once.
        """
        late = self.clock.monotonic() - self._began_at < sum(LAG_SECONDS)
        found = self._find_late(plan, late=late)
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

    def move(self, engine: Engine, *, counted_before: tuple[int, int] = (0, 0)) -> None:
        """Let the engine move what it holds, and keep the count whatever happens.

        `counted_before` are the objects and bytes that its state counts as done already; `leave_out` has had them.
        """
        engine.stop_when(lambda: self._stop_asked)
        self._counted_before = counted_before
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

    def leave_out(self, *, objects: int, bytes_held: int) -> None:
        """Take out of what is planned what turned out to have been done by an earlier run."""
        self._planned_objects -= objects
        self._planned_bytes -= bytes_held

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
    def end_early(self, job_id: str) -> None:
        """Have the appliance end a job that will not be finished; each direction knows how."""

    def give_up(self, job_id: str) -> None:
        """End a job that will not be finished, so that it does not idle for a day; one that cannot be is told."""
        try:
            self.end_early(job_id)
        except NotFoundError:
            pass
        except Ds3Error as error:
            _log.error("job %s could not be ended: %s", job_id, error)
            self.result.notes.append(
                f"job {job_id} could not be {self.ended_word} ({error.message}); end it: {self.ending_command} {job_id}"
            )
        self.note_job(job_id)

    def note_job(self, job_id: str, *, if_forgotten: Callable[[], JobStatus] = lambda: JobStatus.CANCELED) -> None:
        """Ask for a job's last state, keep it in the result and record it.

        An appliance may forget jobs that have ended, whichever way: then `if_forgotten` says how this one did.
        """
        outcome = next((outcome for outcome in self.result.jobs if outcome.job.id == job_id), None)
        job: Job | None
        try:
            job = self.client.get_job_head(job_id)
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

    @property
    def way_on(self) -> str:
        """What a person does to have done what this run leaves."""
        return "to go on with it: ds3tool resume" if self.recorder.lasting else "run the command again for the rest"


_COMMAND_AGAIN = re.compile("run the command again( for the rest| for what is missing)?")


def _check_plan(job: Job, plan: PlannedJob) -> None:
    """Raise ProtocolError when a reply tells of another job than the one that was to be created."""
    if job.type != plan.type or (job.name is not None and not job.name.endswith(plan.name)):
        raise ProtocolError(f"the appliance answers with job {job.id}, {job.name!r}, which is not {plan.name!r}")


def _perhaps_created(plan: PlannedJob, error: Ds3Error) -> str:
    return f"whether the job {plan.name!r} was created is not known ({error.message}); look for it: ds3tool job ls"
