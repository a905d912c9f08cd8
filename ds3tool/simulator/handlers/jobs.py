"""Bulk jobs: created, polled, asked for, modified, cancelled, truncated, listed."""

from __future__ import annotations

import dataclasses

from ds3tool.protocol import names
from ds3tool.protocol.model import JobStatus, JobType
from ds3tool.simulator.buckets import Bucket
from ds3tool.simulator.dispatch import Call, rest
from ds3tool.simulator.documents import chunk_xml, data, data_list, job_fields, job_list, master_object_list
from ds3tool.simulator.jobs.job import PRIORITY_RANK, Chunk, Job, JobOptions
from ds3tool.simulator.records.paging import matcher, page
from ds3tool.simulator.records.parameters import moment
from ds3tool.simulator.wire import xmlin
from ds3tool.simulator.wire.messages import Reply, xml_reply
from ds3tool.simulator.wire.refusals import bad_request, busy, conflict, not_found
from ds3tool.simulator.wire.xmlout import bean, date

# CRITICAL and BACKGROUND exist, but nobody may ask for them. Source: protocol, 8.1.
PRIORITIES = tuple(name for name in PRIORITY_RANK if name not in ("CRITICAL", "BACKGROUND"))
_TYPES = ("PUT", "GET", "VERIFY")
_ORDERS = ("NONE", "IN_ORDER")


def _bucket(call: Call) -> Bucket:
    return call.machine.buckets.find(call.identifier)


def job_options(call: Call, kind: JobType) -> JobOptions:
    """Return what a creation request says beside its list."""
    return JobOptions(
        name=call.text("name") or f"{kind} by {call.request.client}",
        user_id=str(call.user["Id"]),
        priority=call.choice("priority", PRIORITIES),
        processing_order=call.choice("chunk_client_processing_order_guarantee", _ORDERS),
        max_upload_size=call.number("max_upload_size"),
        ignore_conflicts=call.has("ignore_naming_conflicts"),
        aggregating=bool(call.flag("aggregating")),
        implicit=bool(call.flag("implicit_job_id_resolution")),
        spanning=call.flag("minimize_spanning_across_media"),
        verify_write=call.flag("verify_after_write"),
        cleanup=call.flag("dead_job_cleanup_allowed", True) is not False,
        protected=bool(call.flag("protected")),
        preallocate=call.has("pre_allocate_job_space"),
    )


@rest("CreatePutJob")
def create_put(call: Call) -> Reply:
    """Declare objects that will be sent."""
    machine = call.machine
    bucket, options = _bucket(call), job_options(call, JobType.PUT)
    listed = xmlin.read_put_list(call.request.body.pieces())
    with machine.store.lock:
        rules = machine.buckets.rules(bucket)
        if not rules.always_force and not call.has("force"):
            machine.safety.check(bucket, rules)
        job = machine.planner.create_put(bucket, listed, options)
    return master_object_list(machine, job, None)


@rest("VerifySafeToCreatePutJob")
def verify_safe(call: Call) -> Reply:
    """Tell whether a put job would find a tape to go to."""
    machine = call.machine
    with machine.store.lock:
        bucket = _bucket(call)
        machine.safety.check(bucket, machine.buckets.rules(bucket))
    return Reply(200)


def _create_read(call: Call, kind: JobType, *, staging: bool = False) -> Reply:
    machine = call.machine
    bucket, options = _bucket(call), dataclasses.replace(job_options(call, kind), staging=staging)
    wanted = xmlin.read_wanted(call.request.body.pieces())
    with machine.store.lock:
        job = machine.planner.create_read(bucket, wanted, options, kind)
    return master_object_list(machine, job, None)


@rest("CreateGetJob")
def create_get(call: Call) -> Reply:
    """Ask for objects, or ranges or versions of them."""
    return _create_read(call, JobType.GET)


@rest("CreateVerifyJob")
def create_verify(call: Call) -> Reply:
    """Have objects read from tape and checked."""
    return _create_read(call, JobType.VERIFY)


@rest("StageObjectsJob")
def create_stage(call: Call) -> Reply:
    """Have objects brought from tape into the cache; nobody fetches them, the job ends when they are there."""
    return _create_read(call, JobType.GET, staging=True)


# Chunks.


@rest("GetJobChunksReadyForClientProcessing")
def ready_chunks(call: Call) -> Reply:
    """List the chunks that the client may work on now; Retry-After comes in every case.

    Before it says that there are none, the appliance holds the request for a moment, as it does before a 307: what
    a drive is at may be done by then, and whoever asks in whole seconds need not wait for one.
    """
    machine = call.machine
    only = call.text("job_chunk")
    with machine.store.lock:
        job = machine.jobs.find_active(call.needed("job"))
        number = machine.jobs.chunk_ids.number(only) or 0 if only else None
        clock = machine.clock.world
        deadline = clock.monotonic() + machine.settings.hold
        while True:
            if not job.chunks and (job.type is JobType.PUT or job.aggregating):
                return Reply(410)  # nothing is left for the client; the contract has no body for this
            chunks = machine.jobs.ready(job, call.number("preferred_number_of_chunks"), number)
            left = deadline - clock.monotonic()
            if chunks or left <= 0 or not job.active:
                break
            clock.wait(machine.jobs.changed, left)
    retry_after = (names.RETRY_AFTER, str(machine.backend.retry_after))
    return master_object_list(machine, job, chunks, (retry_after,))


def _find_chunk(call: Call) -> tuple[Job, Chunk]:
    machine = call.machine
    number = machine.jobs.chunk_ids.number(call.identifier)
    row = machine.store.db.execute("SELECT job FROM chunks WHERE n = ?", (number,)).fetchone()
    job = machine.jobs.active.get(row[0]) if row is not None else None
    if job is None or number is None:
        raise not_found("JobChunk", call.identifier)
    chunk = job.chunks.get(number) or job.storing.get(number)
    if chunk is None:
        place, size = machine.store.db.execute("SELECT number, bytes FROM chunks WHERE n = ?", (number,)).fetchone()
        chunk = Chunk(number, place, size, 0, allocated=True)
    return job, chunk


@rest("GetJobChunk")
def get_chunk(call: Call) -> Reply:
    """Show one chunk: the one of that id, or the first one left of the job of that id.

    The suites of the Python and Go SDKs ask with the job's id, so an appliance must know its chunks by it.
    """
    with call.machine.store.lock:
        number = call.machine.jobs.ids.number(call.identifier)
        left = None if number is None else call.machine.jobs.active.get(number)
        if left is not None and left.chunks:
            job, chunk = left, min(left.chunks.values(), key=lambda each: each.number)
        else:
            job, chunk = _find_chunk(call)
        text = chunk_xml(call.machine, job, chunk.n, chunk.number, allocated=chunk.allocated)
    return xml_reply(text.encode())


@rest("AllocateJobChunk")
def allocate_chunk(call: Call) -> Reply:
    """Make room for one chunk of a put job; 503 while there is none."""
    machine = call.machine
    with machine.store.lock:
        job, chunk = _find_chunk(call)
        if job.type is not JobType.PUT:
            raise bad_request("Only chunks of put jobs are allocated.")
        if job.aggregating or chunk.n not in job.chunks:
            raise not_found("JobChunk", call.identifier)
        job.active_at = machine.clock.now()
        if not machine.jobs.allocate(job, chunk):
            raise busy("The cache has no room for the chunk.", machine.backend.retry_after)
        text = chunk_xml(machine, job, chunk.n, chunk.number, allocated=True)
    return xml_reply(text.encode())


@rest("GetJobChunkDao")
def get_chunk_dao(call: Call) -> Reply:
    """Show how far a chunk is on its way to or from media."""
    machine = call.machine
    with machine.store.lock:
        job, chunk = _find_chunk(call)
        state = "PENDING" if chunk.n in job.chunks else "IN_PROGRESS" if chunk.n in job.storing else "COMPLETED"
        nothing = dict.fromkeys(
            f"ReadFrom{each}Id" for each in ("AzureTarget", "Ds3Target", "Pool", "S3Target", "Tape")
        )
        return data(
            {
                **nothing,
                "BlobStoreState": state,
                "ChunkNumber": chunk.number,
                "Id": machine.jobs.chunk_ids.of(chunk.n),
                "JobCreationDate": date(job.created),
                "JobId": job.id,
                "NodeId": str(machine.node["Id"]) if chunk.allocated else None,
                "PendingTargetCommit": False,
            }
        )


# One job.


@rest("GetJob")
def get_job(call: Call) -> Reply:
    """Show a job in any state; an active one with its chunks."""
    with call.machine.store.lock:
        job = call.machine.jobs.find(call.identifier)
    return master_object_list(call.machine, job, None)


@rest("ModifyJob")
@rest("ModifyActiveJob")
def modify_job(call: Call) -> Reply:
    """Change a job, or only show that a client is there."""
    machine = call.machine
    with machine.store.lock:
        job = machine.jobs.find_active(call.identifier)
        created = moment(call.needed("created_at")) if call.text("created_at") else job.created  # may be refused
        machine.jobs.touch(job)
        job.created = created
        job.name = call.text("name") or job.name
        job.priority = call.choice("priority", PRIORITIES) or job.priority
        job.cleanup = call.flag("dead_job_cleanup_allowed", job.cleanup) is not False
        job.protected = bool(call.flag("protected", job.protected))
        machine.jobs.save(job)
    return master_object_list(machine, job, None)


@rest("CloseAggregatingJob")
def close_aggregating_job(call: Call) -> Reply:
    """Let nothing more be appended to a job."""
    machine = call.machine
    with machine.store.lock:
        job = machine.jobs.find_active(call.identifier)
        machine.jobs.close(job)
    return master_object_list(machine, job, None)


def _end_one(call: Call, *, force: bool) -> Reply:
    machine = call.machine
    with machine.store.lock:
        job = machine.jobs.find_active(call.identifier)
        if job.protected:
            raise conflict(f"Conflict[409]: The job {job.id} is protected.")
        if force:
            machine.cancel(job)
        else:
            machine.truncate(job)
    return Reply(204)


@rest("CancelJob")
@rest("CancelActiveJob")
def cancel_job(call: Call) -> Reply:
    """Cancel a job."""
    return _end_one(call, force=True)


@rest("TruncateJob")
@rest("TruncateActiveJob")
def truncate_job(call: Call) -> Reply:
    """Give up what has not come of a job."""
    return _end_one(call, force=False)


def _end_all(call: Call, *, force: bool) -> Reply:
    machine = call.machine
    kind = call.choice("request_type", _TYPES)
    bucket = machine.buckets.find(call.needed("bucket_id")).n if call.has("bucket_id") else None
    with machine.store.lock:
        for job in list(machine.jobs.active.values()):
            if (bucket is None or job.bucket == bucket) and kind in (None, job.type) and not job.protected:
                if force:
                    machine.cancel(job)
                else:
                    machine.truncate(job)
    return Reply(204)


@rest("CancelAllJobs")
@rest("CancelAllActiveJobs")
def cancel_all_jobs(call: Call) -> Reply:
    """Cancel all jobs, or those of a bucket or type."""
    return _end_all(call, force=True)


@rest("TruncateAllJobs")
@rest("TruncateAllActiveJobs")
def truncate_all_jobs(call: Call) -> Reply:
    """Truncate all jobs, or those of a bucket or type."""
    return _end_all(call, force=False)


# Lists.


@rest("GetJobs")
def get_jobs(call: Call) -> Reply:
    """List the jobs in progress, in one document; with `full_details` those that have ended too.

    That is what the vendor's command line client asks for when completed jobs are wanted.
    """
    machine = call.machine
    bucket = machine.buckets.find(call.needed("bucket_id")).n if call.has("bucket_id") else None
    with machine.store.lock:
        machine.jobs.await_settled()
        known = list(machine.jobs.active.values())
        if call.has("full_details"):
            known += machine.jobs.select("status <> ? ORDER BY ended DESC, n DESC", (JobStatus.IN_PROGRESS,))
        found = [job for job in known if bucket is None or job.bucket == bucket]
        return xml_reply(job_list(machine, found))


def _list(call: Call, status: str, tag: str) -> Reply:
    machine = call.machine
    with machine.store.lock:
        machine.jobs.await_settled()
        found = [
            job
            for job in machine.jobs.select("status = ? ORDER BY ended DESC, created DESC, n DESC", (status,))
            if _matches(call, job)
        ]
        chosen, headers = page(call, found, lambda job: job.id)
        return data_list([bean(tag, job_fields(machine, job, tag)) for job in chosen], headers)


def _matches(call: Call, job: Job) -> bool:
    machine = call.machine
    flags = {
        "aggregating": job.aggregating,
        "truncated": job.truncated,
        "canceled_due_to_timeout": job.timed_out,
    }
    for parameter, value in flags.items():
        if call.flag(parameter, value) is not value:
            return False
    if call.text("rechunked"):  # a date, and no job's chunks are made anew here
        return False
    if call.has("bucket_id") and machine.buckets.find(call.needed("bucket_id")).n != job.bucket:
        return False
    if call.has("user_id") and machine.beans.find("User", call.needed("user_id"))["Id"] != job.user_id:
        return False
    name = call.text("name")
    if name is not None and not matcher(name)(job.name):
        return False
    if call.choice("priority", tuple(PRIORITY_RANK)) not in (None, job.priority):
        return False
    if call.choice("chunk_client_processing_order_guarantee", _ORDERS) not in (None, job.processing_order):
        return False
    return call.choice("request_type", _TYPES) in (None, job.type)


def _one(call: Call, status: str, tag: str) -> Reply:
    machine = call.machine
    with machine.store.lock:
        job = machine.jobs.find(call.identifier)
        if job.status != status:
            raise not_found(tag, call.identifier)
        return data(job_fields(machine, job, tag))


def _clear(call: Call, status: str) -> Reply:
    with call.machine.store.writing() as db:
        db.execute("DELETE FROM jobs WHERE status = ?", (status,))
    return Reply(204)


@rest("GetActiveJobs")
def get_active_jobs(call: Call) -> Reply:
    """List the jobs in progress."""
    return _list(call, "IN_PROGRESS", "Job")


@rest("GetCompletedJobs")
def get_completed_jobs(call: Call) -> Reply:
    """List the jobs that were completed."""
    return _list(call, "COMPLETED", "CompletedJob")


@rest("GetCanceledJobs")
def get_canceled_jobs(call: Call) -> Reply:
    """List the jobs that were cancelled."""
    return _list(call, "CANCELED", "CanceledJob")


@rest("GetActiveJob")
def get_active_job(call: Call) -> Reply:
    """Show a job in progress."""
    return _one(call, "IN_PROGRESS", "Job")


@rest("GetCompletedJob")
def get_completed_job(call: Call) -> Reply:
    """Show a job that was completed."""
    return _one(call, "COMPLETED", "CompletedJob")


@rest("GetCanceledJob")
def get_canceled_job(call: Call) -> Reply:
    """Show a job that was cancelled."""
    return _one(call, "CANCELED", "CanceledJob")


@rest("ClearAllCompletedJobs")
def clear_completed_jobs(call: Call) -> Reply:
    """Forget the jobs that were completed."""
    return _clear(call, "COMPLETED")


@rest("ClearAllCanceledJobs")
def clear_canceled_jobs(call: Call) -> Reply:
    """Forget the jobs that were cancelled."""
    return _clear(call, "CANCELED")
