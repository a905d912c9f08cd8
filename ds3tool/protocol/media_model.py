"""Media and what lies on them, as typed values: tapes, pools, placements, records of objects."""

from __future__ import annotations

from datetime import datetime

from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import Blob, OpenEnum


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
