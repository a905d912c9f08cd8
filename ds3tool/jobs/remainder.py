"""What an earlier run has left of a plan: its job, the blobs that are through, the objects that are there."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import field
from datetime import datetime

from ds3tool.jobs.plan import PlannedJob
from ds3tool.jobs.recorder import Arriving, MovedBlobs
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import ChecksumType


class HeldBlobs:
    """Blobs that are through, as columns, each found by its object. Memory: about 40 bytes a blob beside its digest."""

    __slots__ = ("_first_of", "_next_of", "checksums", "kinds", "lengths", "offsets", "owners")

    def __init__(self) -> None:
        self.owners: array[int] = array("L")
        self.offsets: array[int] = array("Q")
        self.lengths: array[int] = array("Q")
        self.kinds: list[ChecksumType | None] = []
        self.checksums: list[str | None] = []
        self._first_of: dict[int, int] = {}
        self._next_of: array[int] = array("l")

    def __len__(self) -> int:
        return len(self.owners)

    def add(self, blobs: MovedBlobs) -> None:
        """Take a batch; of a blob that comes twice, what came last is met first."""
        for number, owner in enumerate(blobs.owners, len(self.owners)):
            self._next_of.append(self._first_of.get(owner, -1))
            self._first_of[owner] = number
        self.owners.extend(blobs.owners)
        self.offsets.extend(blobs.offsets)
        self.lengths.extend(blobs.lengths)
        self.kinds.extend(blobs.kinds)
        self.checksums.extend(blobs.checksums)

    def numbers_of(self, owner: int) -> Iterator[int]:
        """Yield the places in the columns of one object's blobs, the last one first."""
        number = self._first_of.get(owner, -1)
        while number >= 0:
            yield number
            number = self._next_of[number]

    def find(self, owner: int, offset: int, length: int) -> int | None:
        """Return the place of this very blob, None when it is not held."""
        for number in self.numbers_of(owner):
            if self.offsets[number] == offset and self.lengths[number] == length:
                return number
        return None


@dataclass(slots=True)
class Remainder:
    """A plan that is not finished.

    `job_id` is None when it is not known whether the appliance has heard of it; then its name tells. `held` are the
    blobs that are through; `appeared` flags, by number, the objects of a get that are safe at the target, and
    `arriving` says how far others of its blobs have come. `deleted` are keys of the plan whose former objects were, or
    may have been, deleted for a put to replace them, `failed` those of objects that failed in its job. `last_active` is
    when something was last recorded of it, `begun` when its work began, None where that is not known.
    """

    plan: PlannedJob
    job_id: str | None
    last_active: datetime
    held: HeldBlobs = field(default_factory=HeldBlobs)
    appeared: bytearray = field(default_factory=bytearray)
    arriving: tuple[Arriving, ...] = ()
    deleted: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()
    begun: datetime | None = None

    def __post_init__(self) -> None:
        """Flag nothing where nothing is said."""
        if not self.appeared:
            self.appeared = bytearray(len(self.plan))
