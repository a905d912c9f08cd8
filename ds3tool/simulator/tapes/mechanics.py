"""What tape drives and the robot need for what they do, by generation of LTO.

Capacities and streaming rates are those the LTO consortium names for each generation (native, full height). Load,
unload, access and rewind times are the nominal ones of a drive vendor's public specification tables for LTO-5 to
LTO-9; where those have no rewind time (LTO-5 and 6) the access time stands for it, as it nearly equals it in the
others. The time of a move is that of a midrange library with one robot: its makers tell 10 to 26 s.
"""

from __future__ import annotations

from ds3tool.lazy_dataclass import dataclass

# Of one cartridge from a slot into a drive, or back.
ROBOT_MOVE_SECONDS = 12.0
# Of any locate: the tape starts, stops, and settles on its track.
_SETTLE_SECONDS = 2.0
# A cleaning cartridge runs through in about two minutes with load and unload. Source: vendors' manuals.
CLEANING_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Mechanics:
    """One generation's figures. `capacity` in bytes, `rate` in bytes a second, the rest in seconds.

    `load`: from the cartridge's arrival to ready. `unload`: from the tape's beginning to a cartridge that can be
    taken. `average_locate`: from the beginning to some record. `full_locate`: from one end of the data to the other.
    `reads`, `writes`: how many generations back the drive still reads and writes.
    """

    type: str
    suffix: str
    capacity: int
    rate: float
    load: float
    unload: float
    average_locate: float
    average_rewind: float
    reads: int
    writes: int

    @property
    def full_locate(self) -> float:
        """Seconds from one end of the tape to the other: the average is that of half the way."""
        return 2 * self.average_locate - _SETTLE_SECONDS

    def locate_seconds(self, distance: int, capacity: int) -> float:
        """Return the seconds to a place `distance` bytes from the head on a tape of `capacity` bytes; 0 for none.

        The way is taken to grow with the distance. On a real tape, written in many passes to and fro, a far record
        may be near; the averages are the same.
        """
        if not distance:
            return 0.0
        return _SETTLE_SECONDS + (self.full_locate - _SETTLE_SECONDS) * min(1.0, abs(distance) / max(1, capacity))

    def rewind_seconds(self, position: int, capacity: int) -> float:
        """Return the seconds from `position` bytes back to the beginning; 0 when it is there."""
        if not position:
            return 0.0
        full = 2 * self.average_rewind - _SETTLE_SECONDS
        return _SETTLE_SECONDS + (full - _SETTLE_SECONDS) * min(1.0, position / max(1, capacity))

    def stream_seconds(self, length: int) -> float:
        """Return the seconds in which `length` bytes pass the head."""
        return length / self.rate


_TERA = 1_000_000_000_000
_MEGA = 1_000_000.0
GENERATIONS = {
    each.type: each
    for each in (
        Mechanics("LTO5", "L5", 3 * _TERA // 2, 140 * _MEGA, 12, 17, 60, 60, reads=2, writes=1),
        Mechanics("LTO6", "L6", 5 * _TERA // 2, 160 * _MEGA, 12, 17, 62, 62, reads=2, writes=1),
        Mechanics("LTO7", "L7", 6 * _TERA, 300 * _MEGA, 15, 20, 56, 60, reads=2, writes=1),
        Mechanics("LTO8", "L8", 12 * _TERA, 360 * _MEGA, 15, 24, 59, 59, reads=1, writes=1),
        Mechanics("LTO9", "L9", 18 * _TERA, 400 * _MEGA, 16, 56, 65, 62, reads=1, writes=1),
    )
}
DEFAULT_TYPE = "LTO8"


def mechanics_of(drive_type: str) -> Mechanics:
    """Return the figures of a drive of this type; those of an LTO-8 for one that is none of LTO-5 to LTO-9."""
    return GENERATIONS.get(drive_type, GENERATIONS[DEFAULT_TYPE])


def can_read(drive_type: str, tape_type: str) -> bool:
    """Whether a drive takes a tape at all; types outside of LTO-5 to LTO-9 are not judged."""
    return _reaches(drive_type, tape_type, mechanics_of(drive_type).reads)


def can_write(drive_type: str, tape_type: str) -> bool:
    """Whether a drive may also write it."""
    return _reaches(drive_type, tape_type, mechanics_of(drive_type).writes)


def _reaches(drive_type: str, tape_type: str, back: int) -> bool:
    order = list(GENERATIONS)
    if drive_type not in order or tape_type not in order:
        return True
    return 0 <= order.index(drive_type) - order.index(tape_type) <= back
