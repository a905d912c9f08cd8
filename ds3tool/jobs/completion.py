"""When a job is done: in the cache, or on all its media; found out by asking after it."""

from __future__ import annotations

import logging
import threading
from typing import Protocol

from ds3tool.clock import Clock
from ds3tool.errors import JobLostError, NotFoundError
from ds3tool.protocol.model import Job, JobDetails, JobStatus, JobType

_log = logging.getLogger(__name__)


class JobSource(Protocol):
    """Whoever can be asked after a job."""

    def get_job(self, job_id: str) -> JobDetails:
        """Return the job as it is now; raises NotFoundError for one nobody knows."""
        ...

    def get_job_head(self, job_id: str) -> Job:
        """Return the same without its blobs, of which there may be half a million."""
        ...


def wait_for_job(
    source: JobSource, job_id: str, *, in_cache: bool, interval_seconds: float, clock: Clock
) -> JobDetails:
    """Ask every `interval_seconds` until the job is completed, or (`in_cache`) until all of it is in the cache.

    Returns the job as it was then; only then are its blobs read. Raises JobLostError when it was cancelled,
    NotFoundError when nobody knows it.
    """
    never = threading.Event()
    while True:
        job = _not_cancelled(source.get_job_head(job_id), job_id)
        if job.status is JobStatus.COMPLETED or (in_cache and is_in_cache(job)):
            try:
                details = source.get_job(job_id)
            except NotFoundError:
                if job.status is not JobStatus.COMPLETED:
                    raise
                return JobDetails(job, ())  # forgotten since: one that has ended has no chunks either
            _not_cancelled(details.job, job_id)
            return details
        _log.info(
            "job %s: %d of %d bytes in the cache, %d completed",
            job_id,
            job.cached_bytes,
            job.original_bytes,
            job.completed_bytes,
        )
        clock.wait(never, interval_seconds)


def _not_cancelled(job: Job, job_id: str) -> Job:
    if job.status is JobStatus.CANCELED:
        raise JobLostError(f"job {job_id} was cancelled", job_id=job_id, hint="see: ds3tool job ls --canceled")
    return job


def is_in_cache(job: Job) -> bool:
    """Whether every byte of the job is in the cache: received (put), or loaded or already sent (get).

    What a get has sent may have left the cache again.
    """
    there = job.cached_bytes if job.type is JobType.PUT else max(job.cached_bytes, job.completed_bytes)
    return bool(job.entirely_in_cache) or there >= job.original_bytes
