"""Clocks twenty times as quick as the world's, for both sides alike: seconds of patience are over in no time."""

from __future__ import annotations

import threading
import time

from ds3tool.clock import RealClock, Waitable
from ds3tool.simulator.clock import SystemClock

_TIMES = 20
_BEGAN = time.monotonic()


def _seconds() -> float:
    """Return how long this program has run, on a quick clock."""
    return (time.monotonic() - _BEGAN) * _TIMES


class QuickClock(RealClock):
    """What a run goes by."""

    def __init__(self) -> None:
        self._from = _seconds()

    def monotonic(self) -> float:
        return _seconds()

    def time(self) -> float:
        return time.time() + _seconds() - self._from

    def wait(self, event: Waitable, seconds: float) -> bool:
        return event.wait(seconds / _TIMES)


class AppliancesQuickClock(SystemClock):
    """What an appliance goes by; of its quarter of an hour for a request's date, 45 seconds are left."""

    def __init__(self) -> None:
        self._from = _seconds()

    def now(self) -> float:
        return time.time() + _seconds() - self._from

    def monotonic(self) -> float:
        return _seconds()

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        condition.wait(None if timeout is None else timeout / _TIMES)
