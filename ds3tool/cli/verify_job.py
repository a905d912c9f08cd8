"""`ds3tool verify job`: have the appliance read objects back from their media."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from ds3tool.cli import messages
from ds3tool.cli.choice import Choice
from ds3tool.cli.job_options import check_job_name, parse_priority
from ds3tool.cli.lookup import chosen, everything_at
from ds3tool.cli.output import Field, Output, OutputFormat, counted
from ds3tool.cli.selection import Selection, selected_objects
from ds3tool.cli.settings import Settings, connect
from ds3tool.cli.verification import JOBS_FIELD, RESULT_FIELDS, Address, Raw, Reading, Verification, end, tell
from ds3tool.clock import RealClock
from ds3tool.errors import Ds3Error, InterruptedRunError, JobLostError, NotFoundError
from ds3tool.filters import Filter
from ds3tool.jobs.completion import wait_for_job
from ds3tool.jobs.verification import Finding, Problem, expectation_of, verify_objects
from ds3tool.protocol import names
from ds3tool.protocol.model import JobStatus, ListedObject, ObjectToGet, Priority
from ds3tool.sizes import format_size

if TYPE_CHECKING:
    from ds3tool.client import Ds3Client

EXAMPLES = (
    "ds3tool verify job ds3://archive/2024/",
    "ds3tool verify job --wait --priority normal ds3://archive/2024/",
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
            tell(verify_objects(client, selection.bucket, listed, expectation), counts, output)
            result = counts
    if wait:
        end(result, output, settings, [JOBS_FIELD, *RESULT_FIELDS])
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
