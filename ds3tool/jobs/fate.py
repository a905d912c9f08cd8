"""What has become of a job: told by its own state, by the lists of ended jobs, and where both are silent, by time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from enum import Enum

from ds3tool.client import Ds3Client
from ds3tool.clock import Clock
from ds3tool.errors import ApplianceError, NotFoundError
from ds3tool.jobs.decisions import UNREACHABLE
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import JobDetails, JobRecord, JobStatus

_log = logging.getLogger(__name__)

# The appliance's lists and counters lag behind by up to five seconds. Source: protocol, 9.3.
LAG_SECONDS = (0.25, 0.5, 1.0, 2.0, 4.0)
# A job that no client touches for so long may be ended by the appliance itself. Source: protocol, 9.3.
IDLE_LIMIT = timedelta(hours=24)


class Fate(Enum):
    """What has become of a job.

    Of a job that was TRUNCATED, what the appliance had whole by then is kept, and may still be on its way to tape.
    """

    GOES_ON = "goes on"
    COMPLETED = "has completed"
    EXPIRED = "has expired: nobody has touched it for a day"
    CANCELLED = "was cancelled by somebody"
    TRUNCATED = "was truncated by somebody"
    FORGOTTEN = "is not known to the appliance any more"

    @property
    def by_a_person(self) -> bool:
        """Whether somebody wanted it so: then nobody else may begin it anew unasked."""
        return self in {Fate.CANCELLED, Fate.TRUNCATED}


@dataclass(frozen=True, slots=True)
class JobFate:
    """A job's fate, and the job as the appliance has it; None when it is forgotten."""

    fate: Fate
    details: JobDetails | None = None


def judge(status: JobStatus | None, record: JobRecord | None, *, idle: timedelta) -> Fate:
    """Return what has become of a job of this `status` (None: unknown there) and `record` in the lists, if any.

    `idle` is how long nothing was heard of it here: where the lists do not name it, one that was cancelled or
    forgotten after the idle limit has expired.
    """
    if record is not None and record.timed_out and (record.truncated or status == JobStatus.CANCELED):
        return Fate.EXPIRED
    if status not in {JobStatus.COMPLETED, JobStatus.CANCELED, None}:
        return Fate.TRUNCATED if record is not None and record.truncated else Fate.GOES_ON
    if record is not None and record.truncated:
        return Fate.TRUNCATED
    if status == JobStatus.COMPLETED:
        return Fate.COMPLETED
    if record is None and idle >= IDLE_LIMIT:
        return Fate.EXPIRED
    return Fate.FORGOTTEN if status is None else Fate.CANCELLED


def fate_of(client: Ds3Client, job_id: str, *, bucket: str, last_active: datetime, clock: Clock) -> JobFate:
    """Ask what has become of a job, and touch it if it goes on, so that it has a day again.

    A job that goes on may have been truncated: `was_truncated` tells, for whoever misses blobs in its list.
    """
    try:
        details: JobDetails | None = client.modify_job(job_id)
    except UNREACHABLE:
        raise
    except ApplianceError:  # an ended job may be refused in several ways; its own state is the better answer
        details = _look_up(client, job_id)
    status = None if details is None else details.job.status
    if status not in {JobStatus.COMPLETED, JobStatus.CANCELED, None}:
        return JobFate(Fate.GOES_ON, details)
    records = client.list_completed_jobs if status == JobStatus.COMPLETED else client.list_canceled_jobs
    record = _find_late(lambda: records(bucket=bucket), job_id, clock) if details is not None else None
    idle = timedelta(seconds=clock.time() - last_active.timestamp())
    return JobFate(judge(status, record, idle=idle), details)


def was_truncated(client: Ds3Client, job_id: str, *, bucket: str, clock: Clock) -> Fate:
    """Return what has become of a job that goes on, and may have been truncated: TRUNCATED, EXPIRED or GOES_ON.

    Meanwhile all that it had may have come to tape, and then another list names it.
    """

    def records() -> Iterator[JobRecord]:
        yield from client.list_active_jobs(bucket=bucket)
        yield from client.list_completed_jobs(bucket=bucket)

    record = _find_late(records, job_id, clock, until=lambda found: found.truncated)
    return judge(JobStatus.IN_PROGRESS, record, idle=timedelta(0))


def _look_up(client: Ds3Client, job_id: str) -> JobDetails | None:
    try:
        return client.get_job(job_id)
    except NotFoundError:
        return None


def _find_late(
    records: Callable[[], Iterator[JobRecord]],
    job_id: str,
    clock: Clock,
    *,
    until: Callable[[JobRecord], bool] = lambda record: True,  # noqa: ARG005
) -> JobRecord | None:
    """Return a job's record, once a list that lags had time to name it as wanted; None where none can be had."""
    never = threading.Event()
    found: JobRecord | None = None
    for seconds in (*LAG_SECONDS, None):
        try:
            found = next((record for record in records() if record.id == job_id), found)
        except UNREACHABLE:
            raise
        except ApplianceError as error:  # not every user may read them, and old releases have none
            _log.info("the lists do not tell what became of job %s: %s", job_id, error)
            return None
        if (found is not None and until(found)) or seconds is None:
            break
        clock.wait(never, seconds)
    return found
