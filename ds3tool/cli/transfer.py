"""What `put` and `get` share on the command line: the display of a run, its result and exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from itertools import zip_longest

from ds3tool.cli import messages
from ds3tool.cli.failures import SomeFailedError
from ds3tool.cli.interruption import interruptible, stoppable
from ds3tool.cli.job_options import Outcome
from ds3tool.cli.output import Field, OutputFormat
from ds3tool.cli.progress import chosen_mode, shown
from ds3tool.cli.settings import Settings
from ds3tool.client import Ds3Client
from ds3tool.errors import Ds3Error, InterruptedRunError, JobLostError
from ds3tool.jobs.ends import Failure
from ds3tool.jobs.run import JobOutcome, Run, RunResult
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import JobStatus, JobType
from ds3tool.sizes import format_duration, format_size

_TAPE_POLL_SECONDS = 2.0


class WaitFor(StrEnum):
    """What a put waits for before it ends."""

    CACHE = "cache"
    TAPE = "tape"


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


def carry_out(
    run: Run,
    settings: Settings,
    *,
    label: str,
    act: Callable[[], RunResult] | None = None,
    gently: bool = True,
) -> RunResult:
    """Run with a display on stderr and return the result; `act` is what the run does, `run.run` when left out.

    Ctrl-C, SIGTERM and SIGHUP stop it when what is under way is through, the second time at once; without `gently`
    the first time too, for what nobody could go on with.
    """
    results = settings.results()
    if settings.output is OutputFormat.NDJSON:
        run.on_object = lambda key, size, error: results.event(
            ObjectLine(key, size, None if error is None else error.message), OBJECT_FIELDS
        )
    mode = chosen_mode(settings, sys.stderr, sys.stdout)
    ending = stoppable(run.stop, under_way=lambda: run.current is not None) if gently else interruptible()
    result: RunResult | None = None
    try:
        with ending, shown(run.progress, mode=mode, label=label, stream=sys.stderr):
            result = (act or run.run)()
    except KeyboardInterrupt:
        if not gently:
            raise
        if result is None:  # the second one came amid the last steps of a run that was stopping
            result = run.result
            result.stopped = result.stopped or InterruptedRunError("interrupted", hint=run.way_on)
    return result


def wait_for_tape(client: Ds3Client, result: RunResult, settings: Settings) -> None:
    """Wait until the appliance has all copies of every put job on media; keep the jobs' last state.

    What ends the waiting early is kept as the result's `stopped`: what was sent is told all the same.
    """
    from ds3tool.clock import RealClock
    from ds3tool.jobs.completion import wait_for_job

    try:
        with interruptible():
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
            "interrupted while waiting for tape", hint="all is sent and goes its way; to wait on: ds3tool resume"
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
    result: RunResult,
    settings: Settings,
    *,
    done: str,
    failed: str,
    outcome: Outcome | None = None,
    way_on: str | None = None,
) -> None:
    """Show what came of a run; ends the command with the run's exit code when something failed.

    `done` and `failed` are the words for the direction: "put", "could not be put". `way_on` is the command that goes
    on with what is left, if anything is.
    """
    if outcome is not None:
        outcome.conclude(result)
    fields = GET_RESULT_FIELDS if done == GOT else RESULT_FIELDS
    error = error_of(result, failed, way_on=way_on)
    if outcome is not None:
        result.notes.extend(outcome.telling.tell(result, error, result.exit_code))
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
        error = failure.named_error
        if following is not None and following.error.hint == error.hint:
            error = Ds3Error(error.message)  # a way out of many failures in a row is told once, after the last
        messages.complain(error)


def error_of(result: RunResult, failed: str, *, way_on: str | None = None) -> Ds3Error | None:
    """Return what a run ends with, None when nothing failed; `failed` is the word for its direction."""
    if result.stopped is not None:
        return result.stopped
    if result.failures:
        count = len(result.failures)
        return SomeFailedError(
            f"{count:,} {'object' if count == 1 else 'objects'} {failed}; listed above",
            hint=None if way_on is None else f"some may still be done; go on with: {way_on}",
        )
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
    # A run goes on after a cancelled job only when it has planned the rest of that anew.
    left = [job for job in puts if job.status is not JobStatus.CANCELED]
    if puts and result.objects:
        if not left or (isinstance(result.stopped, JobLostError) and len(left) < len(puts)):
            parts.append("a job of it was cancelled: what was not on tape by then is gone")
        elif all(job.status is JobStatus.COMPLETED for job in left):
            parts.append("on tape")
        else:
            parts.append("in the appliance's cache, not yet on tape")
    return "; ".join(parts)
