"""Time as a seam: the appliance asks this for the hour and waits through it, so tests wait hours in no time."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """What the appliance knows of time. Every method may be called from any thread."""

    def now(self) -> float:
        """Seconds since 1970, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back, for deadlines."""
        ...

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        """Wait, holding `condition`, until it is notified or `timeout` seconds of this clock passed; may wake early."""
        ...


class SystemClock:
    """The machine's own time."""

    def now(self) -> float:
        """Seconds since 1970, UTC."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        """Wait on `condition` for at most `timeout` seconds."""
        condition.wait(timeout)


class ManualClock:
    """A clock that stands until `advance` moves it; then everybody who waits looks at it again."""

    def __init__(self, now: float = 1_704_164_645.0) -> None:
        self._lock = threading.Lock()
        self._now = now
        self._passed = 0.0
        self._waiting: dict[int, tuple[threading.Condition, int]] = {}

    def now(self) -> float:
        """Seconds since 1970, as last set."""
        with self._lock:
            return self._now

    def monotonic(self) -> float:
        """Seconds advanced so far."""
        with self._lock:
            return self._passed

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        """Wait until notified; `advance` notifies everybody. With a `timeout` of zero or less, return at once."""
        if timeout is not None and timeout <= 0:
            return
        self._register(condition, 1)
        try:
            condition.wait()
        finally:
            self._register(condition, -1)

    def _register(self, condition: threading.Condition, change: int) -> None:
        with self._lock:
            _, count = self._waiting.get(id(condition), (condition, 0))
            if count + change:
                self._waiting[id(condition)] = (condition, count + change)
            else:
                self._waiting.pop(id(condition), None)

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass at once."""
        with self._lock:
            self._now += seconds
            self._passed += seconds
            waiting = [condition for condition, _ in self._waiting.values()]
        for condition in waiting:
            with condition:
                condition.notify_all()
