"""What `put` and `get` share on the command line: their options, the display, the result and its exit code."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import zip_longest
from types import FrameType
from typing import Annotated, Any

import typer

from ds3tool.cli import messages
from ds3tool.cli.failures import NothingDoneError, SomeFailedError
from ds3tool.cli.job_wait import wait_for_job
from ds3tool.cli.options import option_group
from ds3tool.cli.output import Field, OutputFormat
from ds3tool.cli.progress import chosen_mode, shown
from ds3tool.cli.settings import Settings
from ds3tool.client import Ds3Client
from ds3tool.errors import Ds3Error, InterruptedRunError, JobLostError, SinkError, UsageError
from ds3tool.jobs.ends import Failure
from ds3tool.jobs.engine import EngineSettings
from ds3tool.jobs.plan import JobLimits
from ds3tool.jobs.run import JobOutcome, Run, RunResult, RunSettings
from ds3tool.protocol.model import JobStatus, JobType, Priority
from ds3tool.protocol.names import MAX_OBJECTS_PER_JOB
from ds3tool.sizes import format_duration, format_size, parse_rate, parse_size
from ds3tool.transport.ratelimit import RateLimit

_MOST_TRANSFERS = 64
_TAPE_POLL_SECONDS = 2.0


class WaitFor(StrEnum):
    """What a put waits for before it ends."""

    CACHE = "cache"
    TAPE = "tape"


Transfers = Annotated[
    int | None,
    typer.Option(
        "--transfers",
        "-j",
        metavar="N",
        min=1,
        max=_MOST_TRANSFERS,
        envvar="DS3TOOL_TRANSFERS",
        show_envvar=False,
        help="Blobs on their way at once, of large and of small ones; else 4 and 16.",
    ),
]
BandwidthLimit = Annotated[
    str | None,
    typer.Option(
        "--bwlimit",
        metavar="RATE",
        envvar="DS3TOOL_BWLIMIT",
        show_envvar=False,
        help="Bytes a second at most, as in 100M or 50MiB.",
    ),
]
JobPriority = Annotated[
    str | None,
    typer.Option(
        "--priority",
        metavar="LEVEL",
        envvar="DS3TOOL_PRIORITY",
        show_envvar=False,
        help="urgent, high, normal or low; else the data policy's.",
    ),
]


def check_job_name(name: str | None) -> None:
    """Raise UsageError for what cannot begin the name of a job."""
    if name is not None and not (0 < len(name) <= 200 and name.isprintable()):
        raise UsageError(f"{name[:80]!r} is no name for a job", hint="1 to 200 printable characters")


@option_group("Jobs")
@dataclass(frozen=True, slots=True)
class JobOptions:
    """How the jobs of a put or a get are made: their size, their name, their priority, what goes at once."""

    transfers: Transfers = None
    bwlimit: BandwidthLimit = None
    priority: JobPriority = None
    job_name: Annotated[
        str | None,
        typer.Option("--job-name", metavar="NAME", help="What the jobs' names begin with, on the appliance."),
    ] = None
    max_job_size: Annotated[
        str | None, typer.Option("--max-job-size", metavar="SIZE", help="Split into jobs of at most so many bytes.")
    ] = None
    max_job_objects: Annotated[
        int,
        typer.Option(
            "--max-job-objects",
            metavar="N",
            min=1,
            max=MAX_OBJECTS_PER_JOB,
            help="Split into jobs of at most so many objects.",
        ),
    ] = MAX_OBJECTS_PER_JOB

    def limits(self) -> JobLimits:
        """Return how large a job may become."""
        size = None if self.max_job_size is None else parse_size(self.max_job_size)
        if size == 0:
            raise UsageError("--max-job-size must be above zero")
        return JobLimits(self.max_job_objects, size)

    def run_settings(self, **others: Any) -> RunSettings:  # noqa: ANN401  # those of RunSettings
        """Return the settings of a run, `others` beside what the options say."""
        check_job_name(self.job_name)
        return RunSettings(
            engine=EngineSettings.of(self.transfers),
            priority=parse_priority(self.priority),
            limits=self.limits(),
            job_name=self.job_name,
            **others,
        )

    def rate_limit(self) -> RateLimit | None:
        """Return the limit that `--bwlimit` means."""
        return None if self.bwlimit is None else RateLimit(parse_rate(self.bwlimit))


class OnError(StrEnum):
    """What an object's failure means for the others."""

    STOP = "stop"
    CONTINUE = "continue"


@option_group("Failures")
@dataclass(frozen=True, slots=True)
class Outcome:
    """What `--on-error`, `--failed-to` and `--error-if-nothing` were given."""

    on_error: Annotated[OnError, typer.Option("--on-error", help="Whether the others go on when one object fails.")] = (
        OnError.CONTINUE
    )
    failed_to: Annotated[
        str | None,
        typer.Option(
            "--failed-to",
            metavar="FILE",
            help="Write there what failed, a key a line; one with odd characters as a JSON string.",
        ),
    ] = None
    error_if_nothing: Annotated[
        bool,
        typer.Option(
            "--error-if-nothing", metavar="", help="Exit with 9 when nothing was moved, also when all was skipped."
        ),
    ] = False

    @property
    def stop_on_error(self) -> bool:
        """Whether the first failure ends the run."""
        return self.on_error is OnError.STOP

    def prepare(self) -> None:
        """Make the file for `--failed-to` empty; UsageError, before anything is done, when it cannot be written."""
        self._write([])

    def _write(self, lines: list[str]) -> None:
        if self.failed_to is None:
            return
        try:
            # A path that is not UTF-8 is written as the bytes it has.
            with open(self.failed_to, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
                file.writelines(f"{line}\n" for line in lines)
        except OSError as error:
            raise UsageError(f"{self.failed_to} cannot be written: {error.strerror}") from error

    def conclude(self, result: RunResult) -> None:
        """Write down what failed by name, and let a run that moved nothing be one that failed, if asked for."""
        try:
            self._write([_listed_name(failure.name) for failure in result.failures])
        except UsageError as error:  # too late to be one: the run is over, and has to be told
            result.notes.append(error.message)
            result.stopped = result.stopped or SinkError(error.message, hint="what failed is listed above")
        if self.error_if_nothing and not (result.objects or result.deleted or result.failures or result.stopped):
            result.stopped = NothingDoneError("nothing was moved: there was nothing to do")


def _listed_name(name: str) -> str:
    """Return a name as one line: as it is, or as a JSON string where that would not be one, or look like one."""
    odd = name.startswith('"') or any(letter < " " or letter in "\x7f\x85\u2028\u2029" for letter in name)
    return json.dumps(name) if odd else name


_USER_PRIORITIES = (Priority.URGENT, Priority.HIGH, Priority.NORMAL, Priority.LOW)


def parse_priority(text: str | None) -> Priority | None:
    """Return the priority that `text` names; UsageError for one that users cannot set."""
    if text is None:
        return None
    priority = Priority(text.upper())
    if priority not in _USER_PRIORITIES:
        raise UsageError(f"{text!r} is not a priority that jobs can have", hint="use urgent, high, normal or low")
    return priority


# -- the run --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ObjectLine:
    """One object of a run, for `-o ndjson`."""

    key: str
    size: int
    error: str | None


OBJECT_FIELDS: list[Field[ObjectLine]] = [
    Field("key", lambda line: line.key),
    Field("size", lambda line: line.size),
    Field("status", lambda line: "failed" if line.error else "done"),
    Field("error", lambda line: line.error),
]


def carry_out(run: Run, settings: Settings, *, label: str) -> RunResult:
    """Run with a display on stderr, and with SIGTERM meaning what Ctrl-C means; return the result."""
    results = settings.results()
    if settings.output is OutputFormat.NDJSON:
        run.on_object = lambda key, size, error: results.event(
            ObjectLine(key, size, None if error is None else error.message), OBJECT_FIELDS
        )
    mode = chosen_mode(settings, sys.stderr, sys.stdout)
    with _terminable(), shown(run.progress, mode=mode, label=label, stream=sys.stderr):
        return run.run()


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM interrupt like Ctrl-C, so that a job is given up in order."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def wait_for_tape(client: Ds3Client, result: RunResult, settings: Settings) -> None:
    """Wait until the appliance has all copies of every put job on media; keep the jobs' last state.

    What ends the waiting early is kept as the result's `stopped`: what was sent is told all the same.
    """
    from ds3tool.clock import RealClock

    try:
        for outcome in result.jobs:
            if outcome.job.status in {JobStatus.COMPLETED, JobStatus.CANCELED}:
                continue
            messages.note(f"job {outcome.job.id}: all sent; waiting for tape", quiet=settings.quiet)
            try:
                outcome.job = wait_for_job(
                    client, outcome.job.id, in_cache=False, interval_seconds=_TAPE_POLL_SECONDS, clock=RealClock()
                ).job
            except JobLostError:
                outcome.job = replace(outcome.job, status=JobStatus.CANCELED)
                raise
    except KeyboardInterrupt:
        result.stopped = InterruptedRunError(
            "interrupted while waiting for tape", hint="all is sent and goes on; see: ds3tool job wait JOB"
        )
    except Ds3Error as error:
        result.stopped = error


# The words that summaries begin with; the second also says that the result tells what was verified.
PUT, GOT = "put", "got"

# -- the result -----------------------------------------------------------------------------------------------------

JOB_FIELDS: list[Field[JobOutcome]] = [
    Field("id", lambda outcome: outcome.job.id),
    Field("bucket", lambda outcome: outcome.job.bucket),
    Field("type", lambda outcome: outcome.job.type),
    Field("name", lambda outcome: outcome.job.name),
    Field("status", lambda outcome: outcome.job.status),
    Field("objects", lambda outcome: outcome.objects),
    Field("bytes", lambda outcome: outcome.bytes),
]


def _job_mapping(outcome: JobOutcome) -> dict[str, object]:
    return {field.name: field.get(outcome) for field in JOB_FIELDS}


def failure_mapping(failure: Failure) -> dict[str, object]:
    """Return a failure as results list it; what has no key has a path instead."""
    known: dict[str, object] = {"key": failure.key, "error": failure.error.message}
    return known if failure.key is not None else {**known, "path": failure.path}


RESULT_FIELDS: list[Field[RunResult]] = [
    Field("jobs", lambda result: [_job_mapping(outcome) for outcome in result.jobs]),
    Field("objects", lambda result: result.objects),
    Field("bytes", lambda result: result.bytes),
    Field("skipped", lambda result: result.skipped),
    Field("deleted", lambda result: result.deleted),
    Field("failed", lambda result: [failure_mapping(failure) for failure in result.failures]),
    Field("notes", lambda result: result.notes),
    Field("seconds", lambda result: round(result.seconds, 3)),
    Field("bytes_per_second", lambda result: round(result.bytes / result.seconds) if result.seconds else 0),
]
GET_RESULT_FIELDS: list[Field[RunResult]] = [
    *RESULT_FIELDS,
    Field("verified", lambda result: result.unverified == 0),
]


def show_result(
    result: RunResult, settings: Settings, *, done: str, failed: str, outcome: Outcome | None = None
) -> None:
    """Show what came of a run; ends the command with the run's exit code when something failed.

    `done` and `failed` are the words for the direction: "put", "could not be put".
    """
    if outcome is not None:
        outcome.conclude(result)
    fields = GET_RESULT_FIELDS if done == GOT else RESULT_FIELDS
    error = error_of(result, failed)
    tell_troubles(result)
    if settings.output is OutputFormat.TABLE:
        if not settings.quiet:
            settings.results().line(summary(result, done=done))
        if error is not None:
            settings.results().end(error, exit_code=result.exit_code)
        return
    settings.results().finish(result, fields, error, exit_code=result.exit_code)


def tell_troubles(result: RunResult) -> None:
    """Say on stderr what a run has noted, and what failed by name."""
    for note in result.notes:
        messages.warn(note)
    for failure, following in zip_longest(result.failures, result.failures[1:]):
        error = named(failure)
        if following is not None and following.error.hint == error.hint:
            error = Ds3Error(error.message)  # a way out of many failures in a row is told once, after the last
        messages.complain(error)


def named(failure: Failure) -> Ds3Error:
    """Return a failure's error with the object's name in front, unless its sentence begins with that or asks for it."""
    name, error = failure.name, failure.error
    if error.message.startswith((f"{name} ", f"{name}: ")) or f"no object {name!r}" in error.message:
        return error
    return Ds3Error(f"{name}: {error.message}", hint=error.hint)


def error_of(result: RunResult, failed: str) -> Ds3Error | None:
    """Return what a run ends with, None when nothing failed; `failed` is the word for its direction."""
    if result.stopped is not None:
        return result.stopped
    if result.failures:
        count = len(result.failures)
        return SomeFailedError(f"{count:,} {'object' if count == 1 else 'objects'} {failed}; listed above")
    return None


def told_unverified(result: RunResult) -> str:
    """Return, in a few words, what of a get was not verified and why."""
    blobs = f"{result.unverified:,} {'blob is' if result.unverified == 1 else 'blobs are'}"
    return f"{blobs} not verified: no digest covers what came (for a range, add --verify)"


def summary(result: RunResult, *, done: str) -> str:
    """Return a run's outcome in one line."""
    rate = f", {format_size(result.bytes / result.seconds)}/s" if result.seconds and result.bytes else ""
    objects = f"{result.objects:,} {'object' if result.objects == 1 else 'objects'}"
    parts = [f"{done} {objects}, {format_size(result.bytes)} in {format_duration(result.seconds)}{rate}"]
    if result.skipped:
        parts.append(f"{result.skipped:,} skipped")
    if result.deleted:
        parts.append(f"{result.deleted:,} deleted")
    if result.failures:
        parts.append(f"{len(result.failures):,} failed")
    if result.unverified:
        parts.append(told_unverified(result))
    puts = [outcome.job for outcome in result.jobs if outcome.job.type is JobType.PUT]
    if puts and result.objects:
        if any(job.status is JobStatus.CANCELED for job in puts):
            parts.append("a job of it was cancelled: what was not on tape by then is gone")
        elif all(job.status is JobStatus.COMPLETED for job in puts):
            parts.append("on tape")
        else:
            parts.append("in the appliance's cache, not yet on tape")
    return "; ".join(parts)
