"""What a running transfer can be asked at any moment; the asking costs the transfer nothing."""

from __future__ import annotations

from enum import StrEnum

from ds3tool.lazy_dataclass import dataclass


class Phase(StrEnum):
    """What a run is doing."""

    PLANNING = "planning"
    MOVING = "moving"
    WAITING = "waiting"
    FINISHING = "finishing"


@dataclass(frozen=True, slots=True)
class ProgressSnapshot:
    """A moment of a run. `waiting_for` is a sentence's end ("room in the cache"), None when bytes move.

    `next_ask_seconds` is how long until the appliance is asked again.
    """

    phase: str
    objects_done: int
    objects_total: int
    objects_failed: int
    bytes_done: int
    bytes_total: int
    waiting_for: str | None
    next_ask_seconds: float | None
    elapsed_seconds: float
