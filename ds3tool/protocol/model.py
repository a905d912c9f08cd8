"""What the protocol talks about, as typed values: buckets, objects, jobs, chunks, blobs, tapes.

Bytes are `int`; times are timezone-aware `datetime` in UTC. A field that some release leaves out, or that the
wire sends empty, is None. Enumerations are open: a value of a newer release stays, as written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime, timedelta
from enum import StrEnum
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self

from ds3tool.lazy_dataclass import dataclass

# ruff: noqa: PLC0414 - how a type checker is told of names that others import from here
if TYPE_CHECKING:
    from ds3tool.protocol.appliance_model import BucketSummary as BucketSummary
    from ds3tool.protocol.appliance_model import CacheFilesystem as CacheFilesystem
    from ds3tool.protocol.appliance_model import PersistenceRule as PersistenceRule
    from ds3tool.protocol.appliance_model import Service as Service
    from ds3tool.protocol.appliance_model import SystemHealth as SystemHealth
    from ds3tool.protocol.appliance_model import SystemInformation as SystemInformation
    from ds3tool.protocol.media_model import ObjectRecord as ObjectRecord
    from ds3tool.protocol.media_model import PlacedBlob as PlacedBlob
    from ds3tool.protocol.media_model import Placement as Placement
    from ds3tool.protocol.media_model import Pool as Pool
    from ds3tool.protocol.media_model import Tape as Tape
    from ds3tool.protocol.media_model import TapeFailure as TapeFailure
    from ds3tool.protocol.media_model import TapeState as TapeState

_HOMES = {
    "appliance_model": {
        "BucketSummary",
        "CacheFilesystem",
        "PersistenceRule",
        "Service",
        "SystemHealth",
        "SystemInformation",
    },
    "media_model": {"ObjectRecord", "PlacedBlob", "Placement", "Pool", "Tape", "TapeFailure", "TapeState"},
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  # any of the names above
    """Import what is asked for: making these classes takes longer than a small put has to wait for its job."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"ds3tool.protocol.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


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


@dataclass(frozen=True, slots=True)
class Owner:
    """Who owns a bucket or an object."""

    id: str
    display_name: str


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
    objects: Sequence[ListedObject]
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
