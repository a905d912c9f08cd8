"""What one embedded appliance is like: sizes, delays, tapes, keys; frozen before it starts."""

from __future__ import annotations

import math
from dataclasses import field

from ds3tool.errors import UsageError
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import ChecksumType, Versioning
from ds3tool.simulator.faults import FaultRate
from ds3tool.simulator.quirks import Quirk
from ds3tool.simulator.tapes.mechanics import DEFAULT_TYPE, GENERATIONS

GIB = 1 << 30
TAPE_TYPE = DEFAULT_TYPE
# A chunk is two hundredths of a tape. Source: appliance facts, section 1.
_CHUNK_SHARE = 50


@dataclass(frozen=True, slots=True)
class ApplianceSettings:
    """How to build or continue an appliance. Sizes count bytes, delays seconds of its clock.

    `directory`: where its state lives; None makes a temporary one that goes with it. `port` 0 takes any free one.
    `access_key`, `secret_key`: those of its administrator; kept over a restart, made up when never given.
    `blob_size`: blobs of a put without `max_upload_size`; below 10 MiB it also admits such a `max_upload_size`.
    `chunk_size`: most bytes of a chunk (one larger blob stands alone); None is 2 % of a tape.
    `retry_after`: what replies say in Retry-After. `persist_delay`: from a chunk's last byte to its way to tape.
    `hold`: how long a request waits for room or for a tape before its 307, or before a list of ready chunks is
    empty. `robot_delay`: an ejection, a return. `slots`, `entry_exit_slots`: what its library holds.
    `tape_type`: of its drives and tapes, LTO5 to LTO9. `tape_capacity`: 0 is that type's own. `timed`: drives and robot
    take the time that real ones of that type do. `pace`: seconds of its clock in one of the world's; 0 lets the clock
    stand until it is stepped.
    `checksum_type`, `versioning`, `copies` (1 or 2): of the data policy that a new appliance starts with.
    `seed`: makes ids, keys and shuffles repeatable. `shuffle`: blobs of a chunk and the chunks of a reply come in
    any order, against clients that rely on one. `quirks`: what else is awkward about it, see there.
    `faults`: what goes wrong with it from its start on; the seed decides when. `stall`: how long it says nothing then.
    `control_port`: where on the loopback address its controls are, 0 for any free port; None for none.
    """

    directory: str | None = None
    host: str = "127.0.0.1"
    port: int = 0
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    blob_size: int = 64 * GIB
    chunk_size: int | None = None
    cache_size: int = 1024 * GIB
    retry_after: int = 1
    persist_delay: float = 0.1
    tapes: int = 10
    drives: int = 2
    tape_type: str = TAPE_TYPE
    tape_capacity: int = 0
    timed: bool = False
    pace: float = 1.0
    checksum_type: ChecksumType = ChecksumType.MD5
    versioning: Versioning = Versioning.NONE
    copies: int = 1
    seed: int | None = None
    shuffle: bool = False
    hold: float = 0.5
    robot_delay: float = 0.0
    slots: int = 400
    entry_exit_slots: int = 20
    quirks: frozenset[Quirk] = frozenset()
    faults: tuple[FaultRate, ...] = ()
    stall: float = 600.0
    control_port: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be built; a tape capacity of 0 becomes that of the tapes' type."""
        if self.tape_type not in GENERATIONS:
            known = ", ".join(GENERATIONS)
            raise UsageError(f"the embedded appliance has no tapes of type '{self.tape_type}'", hint=f"one of {known}")
        if not self.tape_capacity:
            object.__setattr__(self, "tape_capacity", GENERATIONS[self.tape_type].capacity)
        sizes = {"blob size": self.blob_size, "cache size": self.cache_size, "tape capacity": self.tape_capacity}
        for what, size in (*sizes.items(), ("chunk size", self.chunk_size or 1), ("number of drives", self.drives)):
            if size < 1:
                raise UsageError(f"the embedded appliance cannot have a {what} of {size}")
        if min(self.retry_after, self.persist_delay, self.hold, self.robot_delay, self.tapes, self.stall) < 0:
            raise UsageError("the embedded appliance cannot have negative delays or tapes")
        if not (math.isfinite(self.pace) and self.pace >= 0):
            raise UsageError(f"the embedded appliance's clock cannot run at a pace of {self.pace}")
        if self.copies not in (1, 2):
            raise UsageError(f"the embedded appliance keeps 1 or 2 copies, not {self.copies}")

    @property
    def largest_allocation(self) -> int:
        """Bytes that a chunk may have at most: what all jobs but urgent ones may use of the cache."""
        return max(1, self.cache_size * 85 // 100)

    @property
    def effective_chunk_size(self) -> int:
        """Bytes that a chunk is filled up to."""
        wanted = self.chunk_size if self.chunk_size is not None else max(1, self.tape_capacity // _CHUNK_SHARE)
        return min(wanted, self.largest_allocation)
