"""One cartridge: what the appliance knows of it, what it is like in the hand, and what its state allows."""

from __future__ import annotations

from dataclasses import fields as fields_of
from typing import Any

from ds3tool.lazy_dataclass import dataclass

# Source: contract, the flags of TapeState. Not in the library, for all that the appliance can tell.
ABSENT = frozenset({"OFFLINE", "LOST", "EJECT_TO_EE_IN_PROGRESS", "EJECT_FROM_EE_PENDING", "EJECTED"})
# Format, import, verify and the like may be asked for.
COMMANDABLE = frozenset(
    (
        *("NORMAL", "PENDING_INSPECTION", "UNKNOWN", "DATA_CHECKPOINT_FAILURE"),
        *("DATA_CHECKPOINT_FAILURE_DUE_TO_READ_ONLY", "DATA_CHECKPOINT_MISSING", "LTFS_WITH_FOREIGN_DATA", "FOREIGN"),
        "AUTO_COMPACTION_IN_PROGRESS",
    )
)
# The state before one of these is remembered; other states begin anew.
_TRACKED = ABSENT | {
    *("ONLINE_PENDING", "ONLINE_IN_PROGRESS", "PENDING_INSPECTION", "RAW_IMPORT_PENDING", "IMPORT_PENDING"),
    *("SERIAL_NUMBER_MISMATCH", "FORMAT_PENDING", "FORMAT_IN_PROGRESS"),
}
# What an interrupted task left, and what it is to be begun from again.
INTERRUPTED = {
    "FORMAT_IN_PROGRESS": "FORMAT_PENDING",
    "IMPORT_IN_PROGRESS": "IMPORT_PENDING",
    "RAW_IMPORT_IN_PROGRESS": "RAW_IMPORT_PENDING",
    "ONLINE_IN_PROGRESS": "ONLINE_PENDING",
}
# Where a cartridge is: in a storage slot (or a drive), on the robot's hand, in an entry/exit slot, out of the library.
SLOT, HAND, PORT, OUTSIDE = "slot", "hand", "port", "outside"


@dataclass(slots=True, eq=False)
class Tape:
    """One cartridge, a row of the store. Bytes: `capacity` raw, `written` from its start; dates in seconds or None.

    `member_id`, `domain_id`: what it is assigned to; `bucket_id` when it takes one bucket's data alone.
    `verify_pending`: the priority of a verification that has been asked for. `directive`: how it is to be formatted or
    imported, as JSON. `uses`: cleanings left, of a cleaning tape. `description`: whose a foreign tape is.
    Of the cartridge itself, which the appliance learns when it looks: its `place`, whether its `tab` is set against
    writing, whether it is `damaged` so that no drive can read it.
    """

    n: int
    id: str
    bar_code: str
    type: str
    serial: str
    partition_id: str
    capacity: int
    written: int
    state: str
    previous_state: str | None
    full: bool
    role: str
    member_id: str | None
    domain_id: str | None
    bucket_id: str | None
    eject_pending: float | None
    eject_date: float | None
    eject_label: str | None
    eject_location: str | None
    accessed: float | None
    modified: float | None
    verified: float | None
    partly_verified: float | None = None
    verify_pending: str | None = None
    directive: str | None = None
    description: str | None = None
    write_protected: bool = False
    uses: int | None = None
    place: str = SLOT
    tab: bool = False
    damaged: bool = False

    def __post_init__(self) -> None:
        """Make truths of the store's numbers."""
        self.full, self.tab, self.damaged = bool(self.full), bool(self.tab), bool(self.damaged)
        self.write_protected = bool(self.write_protected)

    @property
    def is_cleaner(self) -> bool:
        """Whether it cleans drives instead of keeping data."""
        return self.type.endswith("_CLEANING_TAPE")

    @property
    def usable(self) -> bool:
        """Whether a drive may load it to read what jobs want."""
        within = self.state in ("NORMAL", "AUTO_COMPACTION_IN_PROGRESS")
        return within and self.eject_pending is None and not self.is_cleaner

    @property
    def writable(self) -> bool:
        """Whether a drive may write to it."""
        return self.usable and self.state == self.role == "NORMAL" and not self.full and not self.write_protected

    @property
    def present(self) -> bool:
        """Whether it is in the library, for all that the appliance knows."""
        return self.state not in ABSENT

    @property
    def keeps(self) -> bool:
        """Whether what a drive has just written to it counts as a copy: not once it is gone, or given up as BAD."""
        return self.present and self.state != "BAD"

    @property
    def available(self) -> int:
        """Bytes that still fit."""
        return max(0, self.capacity - self.written)

    @property
    def fields(self) -> dict[str, Any]:
        """Its properties as the contract's type Tape has them, dates as seconds since 1970.

        The checkpoint changes with all that is written; its form, an id and a number, is that of real ones. A cleaning
        tape has no capacity.
        """
        return {
            "AssignedToStorageDomain": self.domain_id is not None,
            "AvailableRawCapacity": None if self.is_cleaner else self.available,
            "BarCode": self.bar_code,
            "BucketId": self.bucket_id,
            "DescriptionForIdentification": self.description,
            "EjectDate": self.eject_date,
            "EjectLabel": self.eject_label,
            "EjectLocation": self.eject_location,
            "EjectPending": self.eject_pending,
            "FullOfData": self.full,
            "Id": self.id,
            "LastAccessed": self.accessed,
            "LastCheckpoint": f"{self.id}:{self.written}" if self.written and self.domain_id else None,
            "LastModified": self.modified,
            "LastVerified": self.verified,
            "PartiallyVerifiedEndOfTape": self.partly_verified,
            "PartitionId": self.partition_id,
            "PreviousState": self.previous_state,
            "Role": self.role,
            "SerialNumber": self.serial,
            "State": self.state,
            "StorageDomainMemberId": self.member_id,
            "TakeOwnershipPending": False,
            "TotalRawCapacity": None if self.is_cleaner else self.capacity,
            "Type": self.type,
            "VerifyPending": self.verify_pending,
            "WriteProtected": self.write_protected,
        }

    def enter(self, state: str) -> None:
        """Come into another state; the one before it is remembered where the contract says so."""
        if state != self.state:
            self.previous_state = self.state if state in _TRACKED else None
            self.state = state


COLUMNS = tuple(field.name for field in fields_of(Tape))
