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
    """A clock that stands until `advance` moves it; then everybody who waits looks at it again.

    It remembers every condition that anybody waited on, and takes its lock before notifying: whoever looked at the
    clock just before it moved is waiting by then, and is woken. Somebody's first wait returns at once, for the same
    reason: nobody could have known of it.
    """

    def __init__(self, now: float = 1_704_164_645.0) -> None:
        self._lock = threading.Lock()
        self._now = now
        self._passed = 0.0
        self._known: dict[int, threading.Condition] = {}

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
        with self._lock:
            is_known = id(condition) in self._known
            self._known[id(condition)] = condition
        if is_known:
            condition.wait()

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass at once."""
        with self._lock:
            self._now += seconds
            self._passed += seconds
            known = list(self._known.values())
        for condition in known:
            with condition:
                condition.notify_all()
