"""What an appliance says of itself, as typed values: its buckets, its cache, its health."""

from __future__ import annotations

from datetime import datetime

from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import Owner


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
