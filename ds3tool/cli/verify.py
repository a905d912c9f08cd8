"""`ds3tool verify`: whether what was archived is still what it should be."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ds3tool.cli import messages
from ds3tool.cli.choice import Choice
from ds3tool.cli.failures import SomeFailedError
from ds3tool.cli.job_options import check_job_name, parse_priority
from ds3tool.cli.job_wait import wait_for_job
from ds3tool.cli.lookup import base_of, chosen, everything_at
from ds3tool.cli.options import command, group
from ds3tool.cli.output import Field, Output, OutputFormat, counted
from ds3tool.cli.selection import Selection, selected_objects
from ds3tool.cli.settings import Settings, connect
from ds3tool.clock import RealClock
from ds3tool.errors import (
    Ds3Error,
    InterruptedRunError,
    JobLostError,
    NotFoundError,
    UsageError,
    worst_exit_code,
)
from ds3tool.filters import Filter
from ds3tool.jobs.verification import Finding, Problem, expectation_of, verify_objects
from ds3tool.protocol import names
from ds3tool.protocol.model import Job, JobStatus, ListedObject, ObjectToGet, Priority
from ds3tool.sizes import format_size

if TYPE_CHECKING:
    from ds3tool.client import Ds3Client

app = group("verify", "Check what is archived: without mounting a tape, or by reading it back from its media.")

Address = Annotated[str, typer.Argument(metavar="ds3://BUCKET/PREFIX", help="A bucket, a prefix, a key, a pattern.")]
Raw = Annotated[bool, typer.Option("--raw", metavar="", help="Wildcards in the address stand for themselves.")]


@dataclass(slots=True)
class Reading:
    """A verify job as it was last seen, and how many objects it was given."""

    job: Job
    objects: int


@dataclass(slots=True)
class Verification:
    """What one run found out. Only what failed is kept object by object; `bar_codes` are tapes on a shelf."""

    jobs: list[Reading] = field(default_factory=list)
    objects: int = 0
    bytes: int = 0
    verified: int = 0
    failures: int = 0
    failed: list[Finding] = field(default_factory=list)
    bar_codes: set[str] = field(default_factory=set)
    exit_codes: set[int] = field(default_factory=set)
    stopped: Ds3Error | None = None

    def take(self, finding: Finding, *, keep: bool) -> None:
        """Count an object; one that failed is kept with `keep`."""
        self.objects += 1
        self.bytes += finding.size
        if finding.verified:
            self.verified += 1
            return
        self.failures += 1
        self.bar_codes.update(finding.bar_codes)
        self.exit_codes.update(problem.exit_code for problem in finding.problems)
        if keep:
            self.failed.append(finding)

    @property
    def error(self) -> Ds3Error | None:
        """What the run ends in; None when everything is as it should be."""
        if self.stopped is not None:
            return self.stopped
        if not self.exit_codes:
            return None
        tapes = f"; tapes to load: {', '.join(sorted(self.bar_codes))}" if self.bar_codes else ""
        return SomeFailedError(f"{counted(self.failures, 'object')} failed the check{tapes}")

    @property
    def exit_code(self) -> int:
        """The run's exit code."""
        stopped = set() if self.stopped is None else {self.stopped.exit_code}
        return worst_exit_code(self.exit_codes | stopped)


FINDING_FIELDS: list[Field[Finding]] = [
    Field("size", lambda finding: finding.size, tabled=False),
    Field("verified", lambda finding: finding.verified, tabled=False),
    Field("copies", lambda finding: finding.copies, tabled=False),
    Field("error", lambda finding: finding.error),
    Field("key", lambda finding: finding.key, leads=True),
]
RESULT_FIELDS: list[Field[Verification]] = [
    Field("objects", lambda result: result.objects),
    Field("bytes", lambda result: result.bytes),
    Field("verified", lambda result: result.verified),
    Field("failed", lambda result: [{"key": one.key, "error": one.error} for one in result.failed]),
    Field("bar_codes", lambda result: sorted(result.bar_codes)),
]


def _job(reading: Reading) -> dict[str, Any]:
    job = reading.job
    return {
        "id": job.id,
        "bucket": job.bucket,
        "type": job.type,
        "name": job.name,
        "status": job.status,
        "objects": reading.objects,
        "bytes": job.original_bytes,
    }


JOBS_FIELD: Field[Verification] = Field("jobs", lambda result: [_job(job) for job in result.jobs])


# -- the cheap check --------------------------------------------------------------------------------------------------


@command(
    app,
    "objects",
    examples=[
        "ds3tool verify objects ds3://archive/2024/",
        "ds3tool verify objects ds3://archive/2024/ --against /data/2024",
        "ds3tool verify objects --newer 7d -o json ds3://archive",
    ],
)
def objects(
    address: Address,
    *,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="PATH", help="Digest the files there, and compare; nothing is fetched."),
    ] = None,
    raw: Raw = False,
    choice: Choice,
    settings: Settings,
) -> None:
    """Check objects without mounting a tape: complete, whole, with digests, on as many media as the policy promises.

    A copy on a tape that is lost or bad is none; one on an ejected tape counts. An object of which every copy is on a
    shelf fails with exit code 8, unless it is in the cache. With --against, the files below PATH are digested and
    compared with the digests that the appliance states: what differs fails with 5, what is missing on either side with
    3. Whether the media can still be read, only ds3tool verify job tells.
    """
    from ds3tool.sources.counterpart import LocalFiles

    wanted = choice.filter()
    files = None if against is None else LocalFiles(against)
    output = settings.results()
    result = Verification()
    with connect(settings) as client:
        selection = everything_at(client, address, raw=raw)
        if files is not None and not files.is_folder and not selection.whole:
            raise UsageError(f"{against} is one file, and {selection} is not one object", hint="give a folder")
        base = base_of(selection)
        expectation = replace(expectation_of(client, selection.bucket), counterpart=files, base=len(base))
        listed = chosen(selected_objects(client, selection), selection, wanted)

        def findings() -> Generator[Finding]:
            yield from verify_objects(client, selection.bucket, listed, expectation)
            if against is not None and not selection.whole:
                yield from _not_archived(client, against, base, selection, wanted)

        _tell(findings(), result, output)
    _end(result, output, settings, RESULT_FIELDS)


def _not_archived(client: Ds3Client, path: str, base: str, selection: Selection, wanted: Filter) -> Iterator[Finding]:
    """Yield the files below `path` that are not on the appliance, of those that the address and the options mean."""
    from ds3tool.sources.local import LocalSource

    source = LocalSource(path, prefix=base)
    found = (
        one
        for one in source.objects()
        if selection.selects(one.key)
        and wanted.accepts(one.key[len(base) :], size=one.size, modified_ns=one.modified_ns)
    )
    while batch := list(itertools.islice(found, names.MAX_KEYS_PER_REQUEST)):
        asked = [ObjectToGet(one.key) for one in batch]
        there = {placed.blob.key for placed in client.get_blob_placement(selection.bucket, asked)}
        for one in batch:
            if one.key not in there:
                yield Finding(one.key, one.size, (Problem(f"is in {path}, and not on the appliance"),))
    for failure in source.failures:
        yield Finding(failure.name, 0, (Problem(failure.error.message),))
    for note in source.skipped:
        messages.warn(f"{note}: not compared")


def _tell(findings: Generator[Finding], result: Verification, output: Output) -> None:
    """Go through the findings and show them as the shape allows; what stops it is kept as the result's `stopped`."""

    def failed() -> Iterator[Finding]:
        for finding in findings:
            result.take(finding, keep=output.shape is OutputFormat.JSON)
            if output.shape is OutputFormat.NDJSON:
                output.event(finding, FINDING_FIELDS)
            elif not finding.verified:
                yield finding

    try:
        # Whatever ends it, the threads that ask end with it.
        with contextlib.closing(findings):
            if output.shape in {OutputFormat.TABLE, OutputFormat.CSV}:
                output.records(failed(), FINDING_FIELDS)
            else:
                for _ in failed():
                    pass
    except KeyboardInterrupt:
        result.stopped = InterruptedRunError("interrupted", hint="what is told was verified; the rest was not")
    except Ds3Error as error:
        result.stopped = error


def _end(result: Verification, output: Output, settings: Settings, fields: list[Field[Verification]]) -> None:
    error = result.error
    if output.shape is OutputFormat.JSON:
        output.finish(result, fields, error, exit_code=result.exit_code)
        return
    messages.note(
        f"{counted(result.objects, 'object')} ({format_size(result.bytes)}): {result.verified:,} verified, "
        f"{result.failures:,} failed",
        quiet=settings.quiet,
    )
    if error is not None:
        output.error(error, exit_code=result.exit_code)
        output.end(error, exit_code=result.exit_code)


# -- reading back -----------------------------------------------------------------------------------------------------


@command(
    app,
    "job",
    examples=[
        "ds3tool verify job ds3://archive/2024/",
        "ds3tool verify job --wait --priority normal ds3://archive/2024/",
    ],
)
def job(
    address: Address,
    *,
    wait: Annotated[
        bool, typer.Option("--wait", metavar="", help="Until all is read; then tell which objects failed.")
    ] = False,
    priority: Annotated[str, typer.Option("--priority", metavar="LEVEL", help="urgent, high, normal or low.")] = "low",
    job_name: Annotated[
        str | None, typer.Option("--job-name", metavar="NAME", help="The jobs' name on the appliance.")
    ] = None,
    max_job_objects: Annotated[
        int,
        typer.Option(
            "--max-job-objects",
            metavar="N",
            min=1,
            max=names.MAX_OBJECTS_PER_JOB,
            help="Split into jobs of at most so many objects.",
        ),
    ] = names.MAX_OBJECTS_PER_JOB,
    interval: Annotated[
        float, typer.Option("--interval", metavar="SECONDS", min=0.01, help="Seconds between two questions.")
    ] = 10.0,
    raw: Raw = False,
    choice: Choice,
    settings: Settings,
) -> None:
    """Have the appliance read objects back from their media and compare digests; no bytes come here.

    It mounts tapes, by default with low priority, which other work interrupts. A job holds up to 500,000 objects.
    Without --wait the jobs are started and named; with it, Ctrl-C cancels them, for they take up drives. What the
    appliance could not read is no copy any more: objects with fewer copies than promised are told at the end.
    """
    level = parse_priority(priority)
    check_job_name(job_name)
    wanted = choice.filter()
    output = settings.results()
    result = Verification()
    with connect(settings) as client:
        selection = everything_at(client, address, raw=raw)
        try:
            _start(client, selection, wanted, result, priority=level, name=job_name, most=max_job_objects)
            if wait:
                _wait(client, result, interval, settings)
        except (KeyboardInterrupt, Ds3Error) as error:
            result.stopped = _ended(client, result, error)
        if wait and result.stopped is None and result.jobs:
            expectation = expectation_of(client, selection.bucket, digests=False)
            listed = chosen(selected_objects(client, selection), selection, wanted)
            counts = Verification(jobs=result.jobs)
            _tell(verify_objects(client, selection.bucket, listed, expectation), counts, output)
            result = counts
    if wait:
        _end(result, output, settings, [JOBS_FIELD, *RESULT_FIELDS])
    else:
        _show_started(result, output, settings)


def _start(
    client: Ds3Client,
    selection: Selection,
    wanted: Filter,
    result: Verification,
    *,
    priority: Priority | None,
    name: str | None,
    most: int,
) -> None:
    """Create the jobs; `result` has them, and counts what is in them."""

    def complete(listed: Iterable[ListedObject]) -> Iterator[ObjectToGet]:
        for one in listed:
            if one.last_modified is None:
                finding = Finding(one.key, one.size, (Problem("is not complete, and was left out"),))
                result.take(finding, keep=True)
                continue
            result.objects += 1
            result.bytes += one.size
            yield ObjectToGet(one.key)

    keys = complete(chosen(selected_objects(client, selection), selection, wanted))
    while batch := list(itertools.islice(keys, most)):
        started = client.create_verify_job(selection.bucket, batch, name=name, priority=priority).job
        result.jobs.append(Reading(started, len(batch)))


def _wait(client: Ds3Client, result: Verification, interval: float, settings: Settings) -> None:
    for reading in result.jobs:
        job_id = reading.job.id
        messages.note(f"verify job {job_id}: waiting until all is read", quiet=settings.quiet)
        try:
            reading.job = wait_for_job(client, job_id, in_cache=False, interval_seconds=interval, clock=RealClock()).job
        except JobLostError:
            reading.job = replace(reading.job, status=JobStatus.CANCELED)
            raise


def _ended(client: Ds3Client, result: Verification, error: BaseException) -> Ds3Error:
    """Return what a run ends in that was stopped; on Ctrl-C its jobs are cancelled first, or it is said why not."""
    if isinstance(error, Ds3Error):
        return error
    running = [reading for reading in result.jobs if reading.job.status is JobStatus.IN_PROGRESS]
    left = []
    for reading in running:
        try:
            client.cancel_job(reading.job.id)
        except NotFoundError:  # it has ended, or the reply to a first request was lost
            pass
        except Ds3Error as failed:
            left.append(f"{reading.job.id} ({failed.message})")
            continue
        reading.job = replace(reading.job, status=JobStatus.CANCELED)
    hint = f"could not be cancelled: {', '.join(left)}; see: ds3tool job cancel" if left else None
    return InterruptedRunError(f"interrupted; {counted(len(running) - len(left), 'verify job')} cancelled", hint=hint)


STARTED_FIELDS: list[Field[Reading]] = [
    Field("id", lambda reading: reading.job.id),
    Field("bucket", lambda reading: reading.job.bucket),
    Field("type", lambda reading: reading.job.type, tabled=False),
    Field("status", lambda reading: reading.job.status, tabled=False),
    Field("priority", lambda reading: reading.job.priority),
    Field("objects", lambda reading: reading.objects, text="{:,}".format, right=True),
    Field("bytes", lambda reading: reading.job.original_bytes, heading="size", text=format_size, right=True),
    Field("name", lambda reading: reading.job.name),
]


def _show_started(result: Verification, output: Output, settings: Settings) -> None:
    error = result.error
    if output.shape is OutputFormat.JSON:
        told = [each for each in RESULT_FIELDS if each.name in {"objects", "bytes", "failed"}]
        output.finish(result, [JOBS_FIELD, *told], error, exit_code=result.exit_code)
        return
    output.records(result.jobs, STARTED_FIELDS)
    started = f"started {counted(len(result.jobs), 'job')} for {counted(result.objects - result.failures, 'object')}"
    hint = "; see: ds3tool job wait JOB" if result.jobs else ""
    messages.note(f"{started} ({format_size(result.bytes)}){hint}", quiet=settings.quiet)
    for finding in result.failed:
        messages.warn(f"{finding.key}: {finding.error}")
    if error is not None:
        output.error(error, exit_code=result.exit_code)
        output.end(error, exit_code=result.exit_code)
