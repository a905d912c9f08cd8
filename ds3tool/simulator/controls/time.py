"""`/clock`: the appliance's time, how fast it goes, and what waiting would have cost."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ds3tool.simulator.controls.documents import Control, Question

if TYPE_CHECKING:
    from ds3tool.simulator.appliance import Appliance
    from ds3tool.simulator.machine import Machine


def told(machine: Machine) -> dict[str, Any]:
    """Return the clock as it stands: the host's time and the appliance's, both in UTC."""
    return {
        "real_time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "appliance_time": datetime.fromtimestamp(machine.clock.now(), UTC).isoformat(timespec="milliseconds"),
    }


class ClockControl(Control):
    """GET tells the clock."""

    form = "empty."

    def __init__(self, appliance: Appliance) -> None:
        self._appliance = appliance

    def show(self, question: Question) -> dict[str, Any]:
        """Return the clock."""
        question.end()
        return told(self._appliance.machine)
