"""One job and its chunks as they are under way: what was asked for, what is still to be sent, fetched or stored."""

from __future__ import annotations

from dataclasses import field

from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import JobStatus, JobType

PRIORITY_RANK = {"CRITICAL": 0, "URGENT": 1, "HIGH": 2, "NORMAL": 3, "LOW": 4, "BACKGROUND": 5}
# An aggregating job takes further objects, and waits for them, for this long after its creation. Source: protocol, 9.8.
AGGREGATION_SECONDS = 30 * 60.0


@dataclass(frozen=True, slots=True)
class JobOptions:
    """What a creation request says beside its list; None is the data policy's or the appliance's own choice."""

    name: str
    user_id: str
    priority: str | None = None
    processing_order: str | None = None
    max_upload_size: int | None = None
    ignore_conflicts: bool = False
    aggregating: bool = False
    implicit: bool = False
    spanning: bool | None = None
    verify_write: bool | None = None
    cleanup: bool = True
    protected: bool = False
    preallocate: bool = False
    naked: bool = False
    staging: bool = False
    replicating: bool = False


@dataclass(slots=True, eq=False)
class Chunk:
    """A part of a job. `left`: blobs the client has still to send or fetch, or a drive to check.

    `to_load`: of a read job's chunk that is allocated, the blobs that are not in the cache and could be.
    """

    n: int
    number: int
    bytes: int
    left: int
    allocated: bool = False
    to_load: int = 0
    loading: bool = False

    @property
    def ready(self) -> bool:
        """Whether a read job's chunk is loaded as a whole."""
        return self.allocated and not self.to_load


@dataclass(slots=True, eq=False)
class Job:
    """A job's row; of an active one also its chunks: `chunks` wait for the client, `storing` for the tapes.

    Bytes: `original` of all blobs, `cached` received or loaded, `completed` on all tapes, or read. `partial` counts
    the blobs still missing of objects that have several. `settling` replies have their last byte under way.
    `staging`: nobody fetches its blobs, it ends when they are in the cache. `replicating`: another appliance's.
    """

    n: int
    id: str
    bucket: int
    type: JobType
    status: JobStatus
    name: str
    priority: str
    processing_order: str
    user_id: str
    created: float
    ended: float | None
    original: int
    cached: int
    completed: int
    aggregating: bool
    naked: bool
    truncated: bool
    timed_out: bool
    implicit: bool
    spanning: bool
    verify_write: bool
    cleanup: bool
    protected: bool
    staging: bool
    replicating: bool
    error: str | None
    active_at: float = 0.0
    open: int = 0
    settling: int = 0
    canceling: bool = False
    chunks: dict[int, Chunk] = field(default_factory=dict)
    storing: dict[int, Chunk] = field(default_factory=dict)
    partial: dict[int, int] = field(default_factory=dict)

    @property
    def rank(self) -> int:
        """How early its turn comes; the least first."""
        return PRIORITY_RANK.get(self.priority, 3)

    @property
    def active(self) -> bool:
        """Whether it is still in progress."""
        return self.status is JobStatus.IN_PROGRESS

    def awaits_more(self, now: float) -> bool:
        """Whether further objects may join it at `now`, seconds since 1970: then it does not end with its last blob.

        A job of puts without one ends when what it has is on tape; until then it takes more as well.
        """
        return self.aggregating and not self.naked and now < self.created + AGGREGATION_SECONDS

    def takes(self, bucket: int, kind: JobType, options: JobOptions, now: float) -> bool:
        """Whether objects that are asked for with `options` may join it. Source: protocol, 9.8."""
        return (
            self.awaits_more(now)
            and (self.bucket, self.type, self.user_id) == (bucket, kind, options.user_id)
            and (self.priority, self.processing_order) == (options.priority, options.processing_order)
        )
