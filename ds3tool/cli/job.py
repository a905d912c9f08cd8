"""`ds3tool job`: the jobs an appliance works on, and has worked on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ds3tool.addresses import parse_bucket
from ds3tool.cli import messages
from ds3tool.cli.options import command, group
from ds3tool.cli.output import Field, OutputFormat
from ds3tool.cli.prompts import confirm
from ds3tool.cli.settings import Settings, connect
from ds3tool.clock import RealClock
from ds3tool.errors import NotFoundError, UsageError
from ds3tool.jobs.completion import wait_for_job
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import Chunk, Job, JobDetails, JobRecord, JobStatus, JobType, Priority
from ds3tool.sizes import format_size

if TYPE_CHECKING:
    from ds3tool.client import Ds3Client

app = group("job", "List, watch and end the appliance's jobs.")

# A table names so many chunks, and counts the rest.
_CHUNKS_SHOWN = 8

JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]


@dataclass(frozen=True, slots=True)
class ListedJob:
    """One line of a list of jobs, from whichever of the appliance's lists; `ended` is None while it is active."""

    id: str
    bucket: str | None
    type: JobType
    name: str | None
    status: JobStatus
    priority: Priority | None
    original_bytes: int
    cached_bytes: int
    completed_bytes: int
    started: datetime | None
    ended: datetime | None = None
    reason: str | None = None


def _from_job(job: Job) -> ListedJob:
    return ListedJob(
        job.id,
        job.bucket,
        job.type,
        job.name,
        job.status,
        job.priority,
        job.original_bytes,
        job.cached_bytes,
        job.completed_bytes,
        job.started,
    )


def _from_record(record: JobRecord, bucket: str, status: JobStatus) -> ListedJob:
    reason = record.error_message or ("idle for too long" if record.timed_out else None)
    return ListedJob(
        record.id,
        bucket,
        record.type,
        record.name,
        status,
        record.priority,
        record.original_bytes,
        record.cached_bytes,
        record.completed_bytes,
        record.created,
        record.ended,
        reason or ("truncated" if record.truncated else None),
    )


def _bytes(name: str, get: Callable[[ListedJob], int], heading: str) -> Field[ListedJob]:
    return Field(name, get, heading=heading, text=format_size, right=True)


LIST_FIELDS: list[Field[ListedJob]] = [
    Field("id", lambda job: job.id),
    Field("bucket", lambda job: job.bucket),
    Field("type", lambda job: job.type),
    Field("status", lambda job: job.status),
    Field("priority", lambda job: job.priority, tabled=False),
    _bytes("original_bytes", lambda job: job.original_bytes, "size"),
    _bytes("cached_bytes", lambda job: job.cached_bytes, "cached"),
    _bytes("completed_bytes", lambda job: job.completed_bytes, "completed"),
    Field("started", lambda job: job.started),
    Field("ended", lambda job: job.ended, tabled=False),
    Field("reason", lambda job: job.reason, tabled=False),
    Field("name", lambda job: job.name),
]


def _chunk(chunk: Chunk) -> dict[str, Any]:
    return {
        "id": chunk.id,
        "number": chunk.number,
        "node_id": chunk.node_id,
        "blobs": len(chunk.blobs),
        "blobs_in_cache": sum(1 for blob in chunk.blobs if blob.in_cache),
        "bytes": sum(blob.length for blob in chunk.blobs),
    }


def _chunks_text(chunks: list[dict[str, Any]]) -> str:
    told = [
        f"number {chunk['number']} with {chunk['blobs_in_cache']} of {chunk['blobs']} blobs in the cache"
        for chunk in chunks[:_CHUNKS_SHOWN]
    ]
    if len(chunks) > _CHUNKS_SHOWN:
        told.append(f"and {len(chunks) - _CHUNKS_SHOWN} more")
    return f"{len(chunks)}: {', '.join(told)}" if chunks else "none left"


SHOW_FIELDS: list[Field[JobDetails]] = [
    Field("id", lambda details: details.job.id),
    Field("bucket", lambda details: details.job.bucket),
    Field("type", lambda details: details.job.type),
    Field("name", lambda details: details.job.name),
    Field("status", lambda details: details.job.status),
    Field("priority", lambda details: details.job.priority),
    Field("original_bytes", lambda details: details.job.original_bytes, heading="size", text=format_size),
    Field("cached_bytes", lambda details: details.job.cached_bytes, heading="cached", text=format_size),
    Field("completed_bytes", lambda details: details.job.completed_bytes, heading="completed", text=format_size),
    Field("started", lambda details: details.job.started),
    Field("user", lambda details: details.job.user_name),
    Field("chunks", lambda details: [_chunk(chunk) for chunk in details.chunks], text=_chunks_text),
]


@command(
    app,
    "ls",
    examples=["ds3tool job ls", "ds3tool job ls --bucket archive --completed -o csv", "ds3tool job ls --local"],
)
def list_jobs(
    *,
    bucket: Annotated[str | None, typer.Option("--bucket", metavar="BUCKET", help="Jobs of this bucket only.")] = None,
    active: Annotated[bool, typer.Option("--active", metavar="", help="Jobs that still run (the default).")] = False,
    completed: Annotated[bool, typer.Option("--completed", metavar="", help="Jobs that are done.")] = False,
    canceled: Annotated[
        bool, typer.Option("--canceled", metavar="", help="Jobs that were cancelled, or ran out of time.")
    ] = False,
    local: Annotated[
        bool,
        typer.Option("--local", metavar="", help="What this host has begun and not finished; asks no appliance."),
    ] = False,
    settings: Settings,
) -> None:
    """List jobs; the appliance remembers finished ones for about 30 days.

    Several of --active, --completed and --canceled may be given. --local lists what `ds3tool resume` would go on with,
    the jobs of one command in a line.
    """
    named = None if bucket is None else parse_bucket(bucket)
    if local:
        if active or completed or canceled:
            raise UsageError("--local lists what this host remembers, and the others what the appliance does")
        from ds3tool.cli.job_local import list_local

        list_local(named, settings)
        return
    output = settings.results()
    with connect(settings) as client:
        output.records(
            _listed(
                client, named, active=active or not (completed or canceled), completed=completed, canceled=canceled
            ),
            LIST_FIELDS,
        )


def _listed(
    client: Ds3Client, bucket: str | None, *, active: bool, completed: bool, canceled: bool
) -> Iterator[ListedJob]:
    if active:
        yield from (_from_job(job) for job in client.list_jobs(bucket=bucket) if job.status is JobStatus.IN_PROGRESS)
    bucket_names: dict[str, str] = {}
    for wanted, lister, status in (
        (completed, client.list_completed_jobs, JobStatus.COMPLETED),
        (canceled, client.list_canceled_jobs, JobStatus.CANCELED),
    ):
        for record in lister(bucket=bucket) if wanted else ():
            yield _from_record(record, _bucket_name(client, record.bucket_id, bucket_names), status)


def _bucket_name(client: Ds3Client, bucket_id: str, known: dict[str, str]) -> str:
    # The records of finished jobs hold ids; each bucket is asked for once. One that is gone keeps its id.
    if bucket_id not in known:
        try:
            known[bucket_id] = client.get_bucket(bucket_id).name
        except NotFoundError:
            known[bucket_id] = bucket_id
    return known[bucket_id]


@command(app, "show", examples=["ds3tool job show 3c0f8a52-8f3d-4b57-9c59-2b7e1d1f0a01"])
def show_job(job: JobId, *, settings: Settings) -> None:
    """Show one job: how much of it is in the cache and how much is done, chunk by chunk."""
    with connect(settings) as client:
        settings.results().record(client.get_job(job), SHOW_FIELDS)


@command(
    app,
    "wait",
    examples=[
        "ds3tool job wait 3c0f8a52-8f3d-4b57-9c59-2b7e1d1f0a01",
        "ds3tool job wait --cache 3c0f8a52-8f3d-4b57-9c59-2b7e1d1f0a01",
    ],
)
def wait(
    job: JobId,
    *,
    cache: Annotated[bool, typer.Option("--cache", metavar="", help="Only until all of it is in the cache.")] = False,
    interval: Annotated[
        float, typer.Option("--interval", metavar="SECONDS", min=1, help="Seconds between two questions.")
    ] = 10.0,
    settings: Settings,
) -> None:
    """Wait until a job is completed: a put is when every copy is on its media.

    Ends with exit code 12 when the job was cancelled. A verify job is completed when all has been read, also what came
    wrong: which objects lack a copy since is what verify objects tells.
    """
    with connect(settings) as client:
        details = wait_for_job(client, job, in_cache=cache, interval_seconds=interval, clock=RealClock())
        settings.results().record(details, SHOW_FIELDS)
    if details.job.type is JobType.VERIFY:
        where = f"ds3://{details.job.bucket or 'BUCKET'}/"
        messages.warn(f"completed is not verified; what could not be read is told by: ds3tool verify objects {where}")


@command(app, "cancel", examples=["ds3tool job cancel --yes 3c0f8a52-8f3d-4b57-9c59-2b7e1d1f0a01"])
def cancel(job: JobId, *, settings: Settings) -> None:
    """Cancel a job; of a put, every object that is not on all its media yet is lost."""
    with connect(settings) as client:
        known = client.get_job(job).job
        if known.status is not JobStatus.IN_PROGRESS:
            raise UsageError(f"job {job} is {known.status.lower()} already")
        lost = ", and lose what it has not put on media yet" if known.type is JobType.PUT else ""
        confirm(f"Cancel the {known.type.lower()} job {known.name or job}{lost}?", settings)
        client.cancel_job(job)
        _tell(client, job, "cancelled", settings)


@command(app, "truncate", examples=["ds3tool job truncate 3c0f8a52-8f3d-4b57-9c59-2b7e1d1f0a01"])
def truncate(job: JobId, *, settings: Settings) -> None:
    """End a job with what it has: complete objects are kept, the rest is given up."""
    with connect(settings) as client:
        client.truncate_job(job)
        _tell(client, job, "truncated", settings)


@command(app, "forget", examples=["ds3tool job forget 3c0f8a52-8f3d-4b57-9c59-2b7e1d1f0a01"])
def forget(
    work: Annotated[
        str,
        typer.Argument(
            metavar="JOB", help="A job, or a work, as `job ls --local` shows it; the first 8 characters do."
        ),
    ],
    *,
    settings: Settings,
) -> None:
    """Let this host forget what it has begun and not finished: its journal, and half-written files of a get.

    The appliance is not asked: a job that is there stays until somebody ends it, or for a day. What has been moved
    stays where it is.
    """
    from ds3tool.cli.job_local import forget as forget_work

    forget_work(work, settings)


def _tell(client: Ds3Client, job: str, done: str, settings: Settings) -> None:
    messages.note(f"{done} job {job}", quiet=settings.quiet)
    if settings.output is not OutputFormat.TABLE:
        settings.results().record(client.get_job(job), SHOW_FIELDS)
