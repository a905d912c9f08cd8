"""How a job that another host has begun, or that this one has forgotten, becomes a piece of work of this host."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from contextlib import closing
from typing import TYPE_CHECKING

from ds3tool.addresses import LocalAddress, S3Address, parse_address
from ds3tool.cli.aws_options import AwsOptions
from ds3tool.cli.get_files import FilesAsked
from ds3tool.cli.get_kinds import Receiving
from ds3tool.cli.get_s3 import S3Asked
from ds3tool.cli.journalled import Doing, journalled
from ds3tool.cli.local_works import unfinished_works
from ds3tool.cli.manner import Elsewhere
from ds3tool.cli.put_kinds import Puttable
from ds3tool.cli.put_s3 import S3Put, S3Root
from ds3tool.cli.put_sources import FilesPut
from ds3tool.cli.settings import Settings, connect
from ds3tool.errors import JobLostError, NotFoundError, PathNotFoundError, ProtocolError, UsageError
from ds3tool.jobs.ends import Failure, SourceObject, TargetObject
from ds3tool.jobs.get import GetRun
from ds3tool.jobs.get_targets import Wanted
from ds3tool.jobs.plan import PlannedJob
from ds3tool.jobs.planfile import settings_mapping
from ds3tool.jobs.run import RunSettings
from ds3tool.protocol.model import Job, JobDetails, JobStatus, JobType
from ds3tool.renaming import Renaming

if TYPE_CHECKING:
    from ds3tool.client import Ds3Client
    from ds3tool.jobs.works import WorkSummary
    from ds3tool.transport.ratelimit import RateLimit

_TITLE = "ds3tool resume"


def adopt(
    job_id: str, place: Elsewhere, settings: Settings, *, limit: RateLimit | None
) -> tuple[WorkSummary, list[Failure]]:
    """Write a journal for a job that only the appliance knows, from its own list; return it as one of this host.

    With it come the objects that cannot be had here, and are no part of the work. Raises NotFoundError for a job that
    is unknown there too, JobLostError for one that is cancelled, UsageError where `place` does not say enough.
    """
    with connect(settings, limit=limit) as client:
        try:
            details = client.get_job(job_id)
        except NotFoundError as error:
            error.hint = "see what there is: ds3tool job ls, ds3tool job ls --local"
            raise
        job = details.job
        _check(job)
        bucket = job.bucket or ""
        plan, doing, failures, there = (_put if job.type == JobType.PUT else _get)(
            client, bucket, details, place, settings
        )
        with journalled(client, doing, settings) as journal:
            for one in journal.plans([plan]):
                journal.planned(one)
                journal.created(one, job)
                journal.appeared(job.id, there)
            work_id = journal.head.id
    return next(work for work in unfinished_works(settings) if work.id == work_id), failures


def _check(job: Job) -> None:
    """Raise a Ds3Error for a job of which nothing is left to do, or nothing can be told."""
    if job.status == JobStatus.COMPLETED:
        raise UsageError(f"job {job.id} is completed: nothing of it is left to be done")
    if job.status == JobStatus.CANCELED:
        raise JobLostError(
            f"job {job.id} was cancelled, and nobody here knows what is left of it",
            job_id=job.id,
            reason="cancelled",
            hint=f"begin it anew with ds3tool {'put' if job.type == JobType.PUT else 'get'}: what is there is skipped",
        )
    if job.type not in {JobType.PUT, JobType.GET}:
        raise UsageError(f"job {job.id} is a {job.type.lower()} job: the appliance does it alone")
    if not job.bucket:
        raise ProtocolError(f"the appliance does not say of which bucket job {job.id} is")


_Adopted = tuple[PlannedJob, Doing, list[Failure], list[int]]


def _put(client: Ds3Client, bucket: str, details: JobDetails, place: Elsewhere, settings: Settings) -> _Adopted:
    del client
    sizes = _sizes(details)
    if place.source is None or place.target is not None:
        raise UsageError(
            f"job {details.job.id} was not begun here, so say where its files are",
            hint="--source PATH, or s3://BUCKET/PREFIX/, with --strip-prefix for what names below it lack of "
            f"{_first(sizes)}",
        )
    what, name_of = _source_at(place.source, place.strip_prefix or "", sizes, settings)
    here = {item.key: item for item in what.source().objects() if item.key in sizes}
    if not here:
        raise PathNotFoundError(
            f"none of what job {details.job.id} is to put is below {place.source}",
            hint=f"it is to put {_first(sizes)}; --strip-prefix takes away what names below {place.source} lack",
        )
    plan = PlannedJob(JobType.PUT, bucket, title=_TITLE)
    for key, size in sizes.items():
        # What is not there fails by name when its turn comes, as what has gone since.
        plan.add_source(here.get(key) or SourceObject(key, size, 0, name_of(key)))
    asked = {**what.asked(), "settings": settings_mapping(RunSettings())}
    return plan, Doing("resume", JobType.PUT, bucket, asked), [], []


def _source_at(
    source: str, prefix: str, keys: Collection[str], settings: Settings
) -> tuple[Puttable, Callable[[str], bytes]]:
    """Return what is at a place, of which keys begin with `prefix`; and what it would call an object that is not there.

    What is a single file, or object of S3, is the job's only key, if it has one.
    """
    first = next(iter(keys))
    address = parse_address(source)
    if isinstance(address, LocalAddress):
        if not os.path.isdir(source):
            prefix = first if len(keys) == 1 else prefix + os.path.basename(source)
        return FilesPut(((os.path.abspath(source), prefix),)), lambda key: os.fsencode(key.removeprefix(prefix))
    if not isinstance(address, S3Address):
        raise UsageError(f"{source} is no place to put from", hint="give a path, or s3://BUCKET/PREFIX/")
    from ds3tool.sources.s3_reader import Pin

    base = address.key
    if not address.is_prefix:
        prefix = first if len(keys) == 1 else prefix + address.key.rpartition("/")[2]
    what = S3Put(AwsOptions().settings(settings), (S3Root(address, prefix),))
    what.look()
    return what, lambda key: Pin(base + key.removeprefix(prefix), "").to_name()


def _target_at(target: str, settings: Settings) -> Receiving:
    address = parse_address(target)
    if isinstance(address, LocalAddress):
        return FilesAsked(os.path.abspath(target))
    if not isinstance(address, S3Address):
        raise UsageError(f"{target} cannot receive objects", hint="give a folder, or s3://BUCKET/PREFIX/")
    return S3Asked(AwsOptions().settings(settings), address.bucket, address.as_prefix().key if address.key else "")


def _get(client: Ds3Client, bucket: str, details: JobDetails, place: Elsewhere, settings: Settings) -> _Adopted:
    """Plan what the job still lists: objects that were fetched whole are not in it any more."""
    sizes = _sizes(details)
    if place.target is None or place.source is not None:
        raise UsageError(
            f"job {details.job.id} was not begun here, so say where its files go",
            hint="--target DIR, or s3://BUCKET/PREFIX/, with --strip-prefix for what names below it are to lack of "
            f"{_first(sizes)}",
        )
    versions = {blob.key: blob.version_id for chunk in details.chunks for blob in chunk.blobs}
    for listed in client.list_objects(bucket, prefix=_common_prefix(sizes)):
        if listed.key in sizes:
            sizes[listed.key] = listed.size
            if listed.version_id == versions[listed.key]:
                versions[listed.key] = None  # the latest one needs not be asked for
    where = _target_at(place.target, settings)
    asked = {**where.prepared(), "settings": settings_mapping(RunSettings())}
    name_of = Renaming(place.strip_prefix or "")
    wanted = [Wanted(key, size, versions[key]) for key, size in sizes.items()]
    with closing(where.sink()) as sink:
        planning = GetRun(client, sink, bucket, wanted, name_of=name_of, settings=RunSettings())
        new = {one.keys[number]: one.target_object(number) for one in planning.plans() for number in range(len(one))}
    failed = {failure.key for failure in planning.result.failures}
    plan, there = PlannedJob(JobType.GET, bucket, title=_TITLE), []
    for key, size in sizes.items():
        if key in failed:
            continue
        if key not in new:
            there.append(len(plan))
        plan.add_target(new.get(key) or TargetObject(key, size, name_of(key), versions[key]))
    return plan, Doing("resume", JobType.GET, bucket, asked), planning.result.failures, there


def _sizes(details: JobDetails) -> dict[str, int]:
    """Return the keys that a job names, each with the end of its last blob."""
    sizes: dict[str, int] = {}
    for chunk in details.chunks:
        for blob in chunk.blobs:
            sizes[blob.key] = max(sizes.get(blob.key, 0), blob.offset + blob.length)
    if not sizes:
        raise UsageError(f"job {details.job.id} names no object any more: nothing of it is left to be done here")
    return sizes


def _common_prefix(keys: Collection[str]) -> str:
    """Return what all keys begin with, letter by letter: keys have no folders."""
    first, last = min(keys), max(keys)
    return next((first[:number] for number, letter in enumerate(first) if last[number : number + 1] != letter), first)


def _first(sizes: dict[str, int]) -> str:
    return next(iter(sizes))
