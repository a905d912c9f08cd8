"""What the protocol talks about, as typed values: buckets, objects, jobs, chunks, blobs, tapes.

Bytes are `int`; times are timezone-aware `datetime` in UTC. A field that some release leaves out, or that the
wire sends empty, is None. Enumerations are open: a value of a newer release stays, as written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self


class OpenEnum(StrEnum):
    """An enumeration of upper-case words that keeps values it does not know, instead of failing on them."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        known = cls.__members__.get(value.upper())
        if known is not None:
            return known
        unknown = str.__new__(cls, value)
        unknown._name_ = value
        unknown._value_ = value
        return unknown


class Priority(OpenEnum):
    """How urgently the appliance serves a job; users may set URGENT to LOW."""

    CRITICAL = "CRITICAL"
    URGENT = "URGENT"
    HIGH = "HIGH"
    NORMAL = "NORMAL"
    LOW = "LOW"
    BACKGROUND = "BACKGROUND"


class JobType(OpenEnum):
    """Direction of a job: `RequestType` on the wire."""

    PUT = "PUT"
    GET = "GET"
    VERIFY = "VERIFY"


class JobStatus(OpenEnum):
    """State of a job. A put is COMPLETED only when every copy is on media."""

    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    CANCELED = "CANCELED"


class ProcessingOrder(OpenEnum):
    """Whether chunks must be taken in order: `ChunkClientProcessingOrderGuarantee`."""

    NONE = "NONE"
    IN_ORDER = "IN_ORDER"


class ChecksumType(OpenEnum):
    """The digest a data policy protects each blob with."""

    CRC_32 = "CRC_32"
    CRC_32C = "CRC_32C"
    MD5 = "MD5"
    SHA_256 = "SHA_256"
    SHA_512 = "SHA_512"


class Versioning(OpenEnum):
    """What a data policy does with a second put of one key."""

    NONE = "NONE"
    KEEP_LATEST = "KEEP_LATEST"
    KEEP_MULTIPLE_VERSIONS = "KEEP_MULTIPLE_VERSIONS"


class TapeState(OpenEnum):
    """State of a cartridge; those that clients act upon. Others come as they are written."""

    NORMAL = "NORMAL"
    OFFLINE = "OFFLINE"
    ONLINE_PENDING = "ONLINE_PENDING"
    ONLINE_IN_PROGRESS = "ONLINE_IN_PROGRESS"
    PENDING_INSPECTION = "PENDING_INSPECTION"
    EJECT_TO_EE_IN_PROGRESS = "EJECT_TO_EE_IN_PROGRESS"
    EJECT_FROM_EE_PENDING = "EJECT_FROM_EE_PENDING"
    EJECTED = "EJECTED"
    LOST = "LOST"
    BAD = "BAD"
    FOREIGN = "FOREIGN"


@dataclass(frozen=True, slots=True)
class Owner:
    """Who owns a bucket or an object."""

    id: str
    display_name: str


@dataclass(frozen=True, slots=True)
class BucketSummary:
    """A bucket as GET service names it."""

    name: str
    created: datetime | None


@dataclass(frozen=True, slots=True)
class Service:
    """The caller and the buckets it may see."""

    owner: Owner | None
    buckets: tuple[BucketSummary, ...]


@dataclass(frozen=True, slots=True)
class ListedObject:
    """One object, or one version of it, in a listing; `etag` without quotes.

    An object that is declared in a job but not complete has no `last_modified` and size 0.
    """

    key: str
    size: int
    last_modified: datetime | None
    etag: str | None
    version_id: str | None = None
    is_latest: bool | None = None
    owner: Owner | None = None


@dataclass(frozen=True, slots=True)
class ListingPage:
    """One page of a bucket's listing. When `truncated`, go on with `next_marker`."""

    bucket: str
    prefix: str
    delimiter: str
    marker: str
    next_marker: str
    truncated: bool
    max_keys: int
    objects: tuple[ListedObject, ...]
    prefixes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BucketDetails:
    """A bucket with its rules and owner; `logical_used_bytes` sums the sizes of its objects."""

    id: str
    name: str
    data_policy_id: str
    user_id: str | None = None
    created: datetime | None = None
    empty: bool | None = None
    logical_used_bytes: int | None = None
    preferred_chunk_bytes: int | None = None
    protected: bool | None = None


@dataclass(frozen=True, slots=True)
class DataPolicy:
    """A bucket's rules: digest, versioning, blob size, priorities."""

    id: str
    name: str
    checksum_type: ChecksumType = ChecksumType.MD5
    versioning: Versioning = Versioning.NONE
    end_to_end_crc_required: bool = False
    blobbing_enabled: bool = True
    default_blob_size: int | None = None
    default_put_priority: Priority = Priority.NORMAL
    default_get_priority: Priority = Priority.HIGH
    default_verify_priority: Priority = Priority.LOW
    max_versions_to_keep: int | None = None


@dataclass(frozen=True, slots=True)
class PersistenceRule:
    """One copy that a data policy keeps: where, and whether for good (`type` PERMANENT)."""

    id: str
    data_policy_id: str
    storage_domain_id: str
    type: str
    state: str
    isolation_level: str
    minimum_days_to_retain: int | None = None


@dataclass(frozen=True, slots=True)
class ObjectHead:
    """What HEAD tells of an object. `checksums` maps blob offset to digest in base64; metadata names are lower case."""

    key: str
    size: int
    etag: str | None
    created: datetime | None
    version_id: str | None
    checksum_type: ChecksumType | None
    checksums: Mapping[int, str]
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class DeleteFailure:
    """One key that a multi-object delete could not delete."""

    key: str
    code: str
    message: str
    version_id: str | None = None


@dataclass(frozen=True, slots=True)
class DeleteResult:
    """Outcome of one multi-object delete."""

    deleted: tuple[str, ...]
    failures: tuple[DeleteFailure, ...]


@dataclass(frozen=True, slots=True)
class Blob:
    """One contiguous byte range of an object: the unit that is sent or fetched."""

    key: str
    offset: int
    length: int
    in_cache: bool = False
    version_id: str | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """A data node; `end_point` may be a placeholder, so clients stay with the address they were given."""

    id: str
    end_point: str | None = None
    http_port: int | None = None
    https_port: int | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """The part of a job the appliance makes room for at once; `node_id` only when allocated."""

    id: str
    number: int
    blobs: Sequence[Blob]
    node_id: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A job's head: attributes of a `MasterObjectList` or of a `Job` in a list. Sizes count bytes.

    A put's `completed_bytes` are on all media the policy wants, `cached_bytes` received; a get's
    `completed_bytes` have been sent to the client.
    """

    id: str
    bucket: str | None
    type: JobType
    status: JobStatus
    name: str | None = None
    priority: Priority | None = None
    original_bytes: int = 0
    cached_bytes: int = 0
    completed_bytes: int = 0
    aggregating: bool | None = None
    naked: bool | None = None
    entirely_in_cache: bool | None = None
    processing_order: ProcessingOrder | None = None
    started: datetime | None = None
    user_id: str | None = None
    user_name: str | None = None
    nodes: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class JobDetails:
    """A job with its chunks, as creation, GET job and modify answer it."""

    job: Job
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True)
class ReadyChunks:
    """Chunks the appliance will take now; when empty, ask again after `retry_after`."""

    job: Job
    chunks: tuple[Chunk, ...]
    retry_after: timedelta | None


@dataclass(frozen=True, slots=True)
class AllocatedChunk:
    """Answer to allocate: the chunk, or None while there is no room; then ask again after `retry_after`, if told."""

    chunk: Chunk | None
    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class PutResult:
    """What the appliance said of a body it took; the digest is its own, in base64, where it echoes one."""

    etag: str | None = None
    checksum_type: ChecksumType | None = None
    checksum: str | None = None
    version_id: str | None = None


@dataclass(frozen=True, slots=True)
class JobRecord:
    """An entry of the active, completed or cancelled list; `ended` is when it left the active one."""

    id: str
    bucket_id: str
    type: JobType
    name: str
    priority: Priority | None = None
    original_bytes: int = 0
    cached_bytes: int = 0
    completed_bytes: int = 0
    created: datetime | None = None
    ended: datetime | None = None
    error_message: str | None = None
    truncated: bool = False
    timed_out: bool = False
    user_id: str | None = None


@dataclass(frozen=True, slots=True)
class Tape:
    """One cartridge. Capacities count bytes; labels and places are what people wrote at ejection."""

    id: str
    bar_code: str
    state: TapeState
    type: str | None = None
    assigned_to_storage_domain: bool = False
    storage_domain_member_id: str | None = None
    bucket_id: str | None = None
    partition_id: str | None = None
    previous_state: TapeState | None = None
    serial_number: str | None = None
    available_bytes: int | None = None
    total_bytes: int | None = None
    full: bool = False
    write_protected: bool = False
    eject_date: datetime | None = None
    eject_pending: datetime | None = None
    eject_label: str | None = None
    eject_location: str | None = None
    last_accessed: datetime | None = None
    last_modified: datetime | None = None
    last_verified: datetime | None = None


@dataclass(frozen=True, slots=True)
class TapeFailure:
    """One tape that a command over several tapes could not act upon."""

    tape: Tape
    cause: str


@dataclass(frozen=True, slots=True)
class Pool:
    """A group of disks that holds copies."""

    id: str
    name: str
    state: str
    type: str | None = None
    health: str | None = None


@dataclass(frozen=True, slots=True)
class Placement:
    """The media that hold something. `targets` counts copies on other appliances and in clouds."""

    tapes: tuple[Tape, ...] = ()
    pools: tuple[Pool, ...] = ()
    targets: int = 0


@dataclass(frozen=True, slots=True)
class PlacedBlob:
    """A blob and where it is."""

    blob: Blob
    placement: Placement
    bucket: str | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True)
class ObjectRecord:
    """An object in the `_rest_/object` lists; the later fields only with full details."""

    id: str
    bucket_id: str
    name: str
    type: str
    latest: bool | None = None
    created: datetime | None = None
    size: int | None = None
    etag: str | None = None
    owner: str | None = None
    blobs_total: int | None = None
    blobs_in_cache: int | None = None
    blobs_being_persisted: int | None = None
    blobs_degraded: int | None = None
    blobs: tuple[PlacedBlob, ...] = ()


@dataclass(frozen=True, slots=True)
class CacheFilesystem:
    """One file system of the cache, in bytes; `locked_bytes` belong to jobs and cannot be reclaimed."""

    id: str
    path: str | None
    total_bytes: int
    available_bytes: int
    used_bytes: int
    unavailable_bytes: int
    locked_bytes: int | None = None
    summary: str | None = None


@dataclass(frozen=True, slots=True)
class SystemInformation:
    """What the appliance says of itself; `now` is its clock."""

    version: str | None
    api_version: str | None
    serial_number: str | None
    instance_id: str | None = None
    backend_activated: bool | None = None
    now: datetime | None = None
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class SystemHealth:
    """Whether the data planner answers, and in how many milliseconds."""

    planner_milliseconds: int | None
    database_space: str | None = None


@dataclass(frozen=True, slots=True)
class ErrorDocument:
    """The body of a refusal."""

    code: str | None = None
    message: str | None = None
    status: int | None = None
    resource: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class ObjectToPut:
    """A key and its size, as a bulk put declares it."""

    key: str
    size: int


@dataclass(frozen=True, slots=True)
class ObjectToGet:
    """What a bulk get, a verify or a placement asks for: a key, or a byte range or a version of it."""

    key: str
    offset: int | None = None
    length: int | None = None
    version_id: str | None = field(default=None)
