"""Time as a seam: the real clock, and one for tests that waits hours in no time; a leaf."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Waitable(Protocol):
    """Something that can be waited for with a limit: a `threading.Event`, a `Condition` that is held."""

    def wait(self, timeout: float | None = None) -> bool:
        """Return True when it happened, False when `timeout` seconds passed first."""
        ...


class Clock(Protocol):
    """What the engine and the retries know of time."""

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps."""
        ...

    def time(self) -> float:
        """Seconds since 1970, as this host believes."""
        ...

    def wait(self, event: Waitable, seconds: float) -> bool:
        """Wait for `event`, at most `seconds`; return whether it happened."""
        ...


class RealClock:
    """The machine's clocks."""

    # As they are: who asks for each of a million requests need not call twice.
    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)

    def wait(self, event: Waitable, seconds: float) -> bool:
        """Wait for `event`, at most `seconds`."""
        return event.wait(seconds)


class ManualClock:
    """A clock for tests: a wait takes no time, moves the clock on, and is kept in `waits`.

    A wait for an event that is (or soon becomes) set returns True without moving the clock.
    """

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._lock = threading.Lock()
        self._now = now
        self.waits: list[float] = []

    def monotonic(self) -> float:
        """Seconds on this clock."""
        with self._lock:
            return self._now

    def time(self) -> float:
        """Seconds on this clock, taken as since 1970."""
        return self.monotonic()

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        with self._lock:
            self._now += seconds

    def wait(self, event: Waitable, seconds: float) -> bool:
        """Give other threads a moment to set `event`; else let all of `seconds` pass at once."""
        if event.wait(0.001):
            return True
        with self._lock:
            self._now += seconds
            self.waits.append(seconds)
        return False
