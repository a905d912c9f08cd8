"""What `resume` does with the works that are meant, one after the other, and what it shows of that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field, replace
from typing import Any

from ds3tool.cli import messages, transfer
from ds3tool.cli.failures import NothingDoneError, SomeFailedError
from ds3tool.cli.interruption import interruptible
from ds3tool.cli.job_options import Outcome
from ds3tool.cli.journalled import name_way_on
from ds3tool.cli.local_works import find_work, is_job_id, is_of_this_host, not_there, told, unfinished_works
from ds3tool.cli.manner import Elsewhere, Manner
from ds3tool.cli.notifying import Telling, Told
from ds3tool.cli.output import Field, OutputFormat, counted, error_mapping
from ds3tool.cli.resuming import CannotGoOnError, go_on, moved_to, settings_for
from ds3tool.cli.settings import Settings
from ds3tool.errors import (
    ApplianceError,
    Ds3Error,
    FarSideError,
    FarSideUnreachableError,
    InterruptedRunError,
    TransportError,
    worst_exit_code,
)
from ds3tool.jobs.ends import Failure
from ds3tool.jobs.run import RunResult
from ds3tool.jobs.work_head import WorkHead
from ds3tool.jobs.works import WorkSummary
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import JobType

_INTERRUPTED = InterruptedRunError.exit_code


@dataclass(slots=True)
class Resumed:
    """A piece of work that was to be gone on with: what came of it, or what kept it from being touched.

    `id` is that of the work; of a job that nobody here knows, the job's. `way_on` is the command for what is left.
    """

    id: str
    head: WorkHead | None = None
    result: RunResult = field(default_factory=RunResult)
    kept_from: Ds3Error | None = None
    way_on: str | None = None

    @property
    def error(self) -> Ds3Error | None:
        """What it ended with; None when all of it is done."""
        failed = "could not be restored" if self.done == transfer.GOT else "could not be put"
        return self.kept_from or transfer.error_of(self.result, failed, way_on=self.way_on)

    @property
    def exit_code(self) -> int:
        """The exit code of this work alone."""
        return self.result.exit_code if self.kept_from is None else self.kept_from.exit_code

    @property
    def done(self) -> str:
        """The word for what was done."""
        return transfer.GOT if self.head is not None and self.head.type == JobType.GET else transfer.PUT

    @property
    def status(self) -> str:
        """In a word, what has become of it."""
        if isinstance(self.kept_from, CannotGoOnError):
            return "dropped"
        left = self.kept_from or self.result.stopped or self.way_on
        return "finished" if left is None else "unfinished"

    def mapping(self) -> dict[str, Any]:
        """Return it as results list it."""
        head, error = self.head, self.error
        return {
            "id": self.id,
            "verb": None if head is None else head.asked.get("verb"),
            "type": None if head is None else head.type,
            "bucket": None if head is None else head.bucket,
            "status": self.status,
            "error": None if error is None else error_mapping(error, exit_code=self.exit_code),
        }


@dataclass(frozen=True, slots=True)
class _Total:
    """Everything that one `resume` has gone on with."""

    result: RunResult
    works: Sequence[Resumed]


def _of_result(one: Field[RunResult]) -> Field[_Total]:
    get: Callable[[_Total], object] = lambda total: one.get(total.result)  # noqa: E731
    return Field(one.name, get)


_FIELDS: list[Field[_Total]] = [
    *map(_of_result, transfer.GET_RESULT_FIELDS),
    Field("works", lambda total: [one.mapping() for one in total.works]),
]


def resume_works(wanted: Sequence[str], manner: Manner, outcome: Outcome, settings: Settings) -> None:
    """Go on with the works and jobs of these names, with all of this host when there are none; show what came of it."""
    known = unfinished_works(settings)
    chosen = [_meant(word, known) for word in wanted] if wanted else _of_this_host(known)
    outcome.prepare()
    if not chosen:
        if outcome.error_if_nothing:
            raise NothingDoneError("there is nothing to resume")
        messages.note("there is nothing to resume", quiet=settings.quiet)
        outcome.telling.is_armed = False  # a timer that finds nothing to do would tell of that for ever
    _show(_all_of(chosen, manner, settings), outcome, settings)


def _meant(word: str, known: Sequence[WorkSummary]) -> WorkSummary | str:
    """Return the work that a word means, or the id of a job that nobody here knows."""
    work = find_work(known, word)
    if work is not None:
        return work
    if not is_job_id(word):
        raise not_there(word)
    return word.lower()


def _of_this_host(known: Sequence[WorkSummary]) -> list[WorkSummary | str]:
    """Return the works of this host, and name those of others."""
    chosen: list[WorkSummary | str] = []
    for work in known:
        if work.head is None or is_of_this_host(work.head):
            chosen.append(work)
        else:
            messages.warn(
                f"work {work.id}, {told(work.head)}, was begun on {work.head.asked['host']} and is left alone; "
                f"to go on with it here: ds3tool resume {work.id}"
            )
    return chosen


# -- one after the other --------------------------------------------------------------------------------------------


def _all_of(chosen: Sequence[WorkSummary | str], manner: Manner, settings: Settings) -> list[Resumed]:
    """Go on with one work after the other, and tell of each as it ends; an interruption ends them all."""
    done: list[Resumed] = []
    out_of_reach: set[str] = set()
    left = list(chosen)
    try:
        with interruptible():
            for number, work in enumerate(chosen, start=1):
                place = f" {number} of {len(chosen)}" if len(chosen) > 1 else ""
                one = _one(work, manner, settings, place, out_of_reach)
                left.pop(0)
                if one is None:
                    continue
                done.append(one)
                _tell(one, settings, alone=len(chosen) == 1)
                if one.exit_code == _INTERRUPTED:
                    break
    except KeyboardInterrupt:
        interrupted = InterruptedRunError("interrupted", hint="go on with: ds3tool resume")
        if left:  # else it came while the last one was told of
            work = left[0]
            done.append(Resumed(work if isinstance(work, str) else work.id, kept_from=interrupted))
    return done


def _one(
    work: WorkSummary | str, manner: Manner, settings: Settings, place: str, out_of_reach: set[str]
) -> Resumed | None:
    """Go on with one work, or with a job that becomes one; None when another process has finished it meanwhile."""
    failures: list[Failure] = []
    if isinstance(work, str):
        from ds3tool.cli.adopting import adopt

        job_id = work
        try:
            work, failures = adopt(job_id, manner.place, settings, limit=manner.limit)
        except Ds3Error as error:
            return Resumed(job_id, kept_from=error)
        manner = replace(manner, place=Elsewhere())  # it is the work's own now
    one = Resumed(work.id, None if work.head is None else moved_to(work.head, manner.place))
    try:
        if work.trouble is not None:
            raise work.trouble
        endpoint = _endpoint(work, settings)
        if endpoint in out_of_reach:
            raise TransportError(f"{endpoint} was out of reach a moment ago, and was not tried again")
        came = go_on(work, manner, settings, place=place)
        if came is None:
            return None
        one.result, one.way_on = came
        one.result.failures.extend(failures)
    except Ds3Error as error:
        one.kept_from = error
        if isinstance(error, (TransportError, ApplianceError, FarSideError)):
            name_way_on(error, work.id, settings)
    stopped = one.kept_from or one.result.stopped
    if isinstance(stopped, TransportError) and not isinstance(stopped, FarSideUnreachableError):
        out_of_reach.add(_endpoint(work, settings))
    return one


def _endpoint(work: WorkSummary, settings: Settings) -> str:
    if work.head is not None:
        settings = settings_for(work.head, settings)
    return settings.resolve().connection.endpoint


# -- what came of it ------------------------------------------------------------------------------------------------


def _tell(one: Resumed, settings: Settings, *, alone: bool) -> None:
    """Tell of one work as it ends; of the only one, what it ends with is told by the command itself."""
    what = f"work {one.id}" if one.head is None else told(one.head)
    transfer.tell_troubles(one.result)
    if one.kept_from is None and settings.output is OutputFormat.TABLE and not settings.quiet:
        settings.results().line(f"{what}: {transfer.summary(one.result, done=one.done)}")
    if one.error is not None and not alone:
        messages.complain(Ds3Error(f"{what}: {one.error.message}", hint=one.error.hint))


def _show(works: Sequence[Resumed], outcome: Outcome, settings: Settings) -> None:
    """Show the result of all works in one document; ends the command when something failed."""
    total = RunResult()
    for one in works:
        _add(total, one.result)
    replace(outcome, error_if_nothing=False).conclude(total)
    error, exit_code = _ending(works, total)
    for note in outcome.telling.tell_each(_told_to(works, total, outcome.telling)):
        total.notes.append(note)
        messages.warn(note)
    if settings.output is not OutputFormat.TABLE:
        settings.results().finish(_Total(total, works), _FIELDS, error, exit_code=exit_code)
    elif error is not None:
        settings.results().end(error, exit_code=exit_code)


def _ending(works: Sequence[Resumed], total: RunResult) -> tuple[Ds3Error | None, int]:
    """Return what several works together end with, and the exit code that it means."""
    failed = [one for one in works if one.error is not None]
    codes = {one.exit_code for one in works}
    error = total.stopped
    if len(works) == 1 and failed:
        error = failed[0].error
    elif failed:
        error = SomeFailedError(f"{len(failed)} of {counted(len(works), 'work')} did not end well; listed above")
    if total.stopped is not None:
        codes.add(total.stopped.exit_code)
    return error, worst_exit_code(codes)


def _told_to(works: Sequence[Resumed], total: RunResult, telling: Telling) -> list[Told]:
    """Return what each topic is told: those of this command of all works, those that a work was begun with of that."""
    error, exit_code = _ending(works, total)
    found = [Told(topic, telling.profile, total, error, exit_code) for topic in telling.topics]
    begun_with: dict[tuple[str, str | None], list[Resumed]] = {}
    for one in works:
        kept = one.head.asked.get("notify", {}) if one.head is not None else {}
        for topic in kept.get("topics", ()):
            if topic not in telling.topics:
                begun_with.setdefault((topic, kept.get("profile")), []).append(one)
    for (topic, profile), some in begun_with.items():
        part = RunResult()
        for one in some:
            _add(part, one.result)
        error, exit_code = _ending(some, part)
        found.append(Told(topic, profile, part, error, exit_code))
    return found


def _add(total: RunResult, result: RunResult) -> None:
    total.jobs.extend(result.jobs)
    total.failures.extend(result.failures)
    total.notes.extend(result.notes)
    total.objects += result.objects
    total.bytes += result.bytes
    total.skipped += result.skipped
    total.unverified += result.unverified
    total.seconds += result.seconds
