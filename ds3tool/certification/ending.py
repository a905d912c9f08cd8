"""Cases of puts that do not come to their end by themselves: cut off, or cancelled."""

from __future__ import annotations

from ds3tool.certification.ground import Ground
from ds3tool.certification.samples import SampleBody
from ds3tool.certification.sheet import UnexpectedError
from ds3tool.errors import ApplianceError, NotFoundError, SourceError
from ds3tool.jobs.completion import is_in_cache
from ds3tool.protocol.model import JobStatus, ObjectToPut
from ds3tool.sizes import format_size


def cut_put(ground: Ground) -> str:
    """Cut the connection in the midst of a blob, see that nothing of it counts, and send the whole job after all."""
    client, bucket, blob = ground.client, ground.bucket, ground.extent.blob
    sample = ground.sample("cut", blob + blob // 2)
    job = client.create_put_job(bucket, [ObjectToPut(sample.key, sample.size)], max_upload_size=blob)
    job_id = job.job.id
    ground.note_job(job_id)
    cut_at, blobs = 0, 0
    for key, offset, length in ground.blobs_of(job):
        if not blobs:
            cut_at = length // 2
            try:
                broken = SampleBody(sample, offset, length, break_at=cut_at)
                digest = ground.digest(sample, offset, length)
                client.put_object(bucket, key, broken, job_id=job_id, offset=offset, checksum=digest)
            except SourceError:
                pass
            else:
                raise UnexpectedError("the connection was cut in its midst, and the blob accepted all the same")
            counted = client.get_job(job_id).job.cached_bytes
            if counted or ground.exists(sample):
                raise UnexpectedError(f"{counted:,} bytes of the job count as received after half a blob")
        ground.put_blob(job_id, sample, offset, length)
        blobs += 1
    ground.until(
        lambda: is_in_cache(client.get_job(job_id).job), within=ground.extent.within_seconds, what=f"job {job_id}"
    )
    compared = ground.get([sample])
    if compared < sample.size:  # more, where a blob was fetched twice
        raise UnexpectedError(f"{compared:,} of {sample.size:,} bytes came back")
    return f"cut after {format_size(cut_at)} of the first of {blobs} blobs; the same job took all, and it came back"


def cancelled_job(ground: Ground) -> str:
    """Send one object of two, cancel the job, and send the other."""
    client, bucket = ground.client, ground.bucket
    samples = [ground.sample(f"cancelled {number}", 1000) for number in (1, 2)]
    job = client.create_put_job(bucket, [ObjectToPut(sample.key, sample.size) for sample in samples])
    job_id = job.job.id
    ground.note_job(job_id)
    by_key = {sample.key: sample for sample in samples}
    blobs = list(ground.blobs_of(job))
    (first, offset, length), last = blobs[0], blobs[-1]
    ground.put_blob(job_id, by_key[first], offset, length)
    client.cancel_job(job_id)
    key, offset, length = last
    try:
        ground.put_blob(job_id, by_key[key], offset, length)
    except ApplianceError as error:
        refusal = error
    else:
        raise UnexpectedError("a blob was accepted for a job that is cancelled")
    if refusal.status not in (404, 409, 410):
        raise UnexpectedError(f"a blob for a cancelled job: {refusal.status} {refusal.code}")
    try:
        status = client.get_job(job_id).job.status
    except NotFoundError:
        told = "404"
    else:
        told = str(status)
        if status is not JobStatus.CANCELED:
            raise UnexpectedError(f"the job is {status} after it was cancelled")
    there = [sample.key for sample in samples if ground.exists(sample)]
    if there:
        raise UnexpectedError(f"{there[0]} is there though its job was cancelled")
    return f"the job is {told}, the next blob was {refusal.status} {refusal.code}, and no object is there"
