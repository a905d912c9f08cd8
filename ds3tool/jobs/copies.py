"""How many copies of something there are on media: in reach of a robot, on a shelf, or on media that cannot be read."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import PlacedBlob, Placement, Pool, Tape


class Reach(Enum):
    """What it takes to read a medium: nobody, a person who brings it back, or it cannot be read."""

    ONLINE = "online"
    OFFLINE = "offline"
    NEVER = "never"


# The states in which a drive may load a tape of the appliance's own. Source: server contract, TapeState.
_LOADABLE = frozenset(
    {
        "NORMAL",
        "ONLINE_PENDING",
        "ONLINE_IN_PROGRESS",
        "PENDING_INSPECTION",
        "UNKNOWN",
        "AUTO_COMPACTION_IN_PROGRESS",
    }
)
_AWAY = frozenset({"OFFLINE", "EJECT_TO_EE_IN_PROGRESS", "EJECT_FROM_EE_PENDING", "EJECTED"})


def reach_of_tape(tape: Tape) -> Reach:
    """Return what it takes to read a tape; one that is lost, bad, foreign or in a state unknown here is no copy."""
    if tape.state in _LOADABLE:
        return Reach.ONLINE
    return Reach.OFFLINE if tape.state in _AWAY else Reach.NEVER


def reach_of_pool(pool: Pool) -> Reach:
    """Return what it takes to read a pool; one of which no state is told is taken to be there."""
    return Reach.ONLINE if pool.state in {"NORMAL", ""} else Reach.NEVER


@dataclass(frozen=True, slots=True)
class Copies:
    """Complete copies: `online` ones, and `offline` ones beside them. Bar codes are sorted.

    `away` are the tapes somebody would have to bring back, `unusable` the media that hold nothing one can read, each
    with its state.
    """

    online: int = 0
    offline: int = 0
    away: tuple[str, ...] = ()
    unusable: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """All complete copies."""
        return self.online + self.offline


def copies_at(placement: Placement) -> Copies:
    """Return the copies of one blob. A copy on another appliance or in a cloud counts as online."""
    tapes = {tape.id: tape for tape in placement.tapes}.values()
    pools = {pool.id: pool for pool in placement.pools}.values()
    reached = [*map(reach_of_tape, tapes), *map(reach_of_pool, pools)]
    unusable = [f"{tape.bar_code} ({tape.state})" for tape in tapes if reach_of_tape(tape) is Reach.NEVER]
    unusable += [f"{pool.name} ({pool.state})" for pool in pools if reach_of_pool(pool) is Reach.NEVER]
    return Copies(
        online=reached.count(Reach.ONLINE) + placement.targets,
        offline=reached.count(Reach.OFFLINE),
        away=tuple(sorted(tape.bar_code for tape in tapes if reach_of_tape(tape) is Reach.OFFLINE)),
        unusable=tuple(sorted(unusable)),
    )


def copies_of(blobs: Iterable[PlacedBlob]) -> Copies:
    """Return the copies of an object: of those in all, and of those online, the blob that has fewest decides."""
    each = [copies_at(placed.placement) for placed in blobs]
    if not each:
        return Copies()
    total = min(copies.total for copies in each)
    online = min(copies.online for copies in each)
    return Copies(
        online,
        total - online,
        tuple(sorted({code for copies in each for code in copies.away})),
        tuple(sorted({medium for copies in each for medium in copies.unusable})),
    )
