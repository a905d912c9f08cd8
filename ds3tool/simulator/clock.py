"""Time as a seam: the appliance asks this for the hour and waits through it, so tests wait hours in no time.

There are two times. The appliance's own, which may run faster than the world's or stand still: dates of jobs and
objects, idle timers, what tapes and the robot take. And the time of the clients (`world`): the Date of replies, how
old a request may be, how long a request is held before it is told to come again.
"""

from __future__ import annotations

import math
import threading
import time
import weakref
from pathlib import Path
from typing import Protocol

from ds3tool.errors import UsageError

# How far ahead of a clock that is not the world's its file is, in seconds of the world: after the process was killed
# it goes on from there, so that no date is given twice.
_LEASE_SECONDS = 5.0
# The clock stands still at the end of the year 9999: no date of HTTP or XML is later.
_LAST = 253_402_300_799.0
_FASTEST = 1e9


class Clock(Protocol):
    """What the appliance knows of time. Every method may be called from any thread."""

    @property
    def pace(self) -> float:
        """Seconds of this clock in one of the clients' time; 0 for a clock that is stepped."""
        ...

    @property
    def world(self) -> Clock:
        """The time that clients live in, as a clock."""
        ...

    def now(self) -> float:
        """Seconds since 1970, UTC."""
        ...

    def wall(self) -> float:
        """Seconds since 1970, UTC, as the clients have it."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back, for deadlines."""
        ...

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        """Wait, holding `condition`, until it is notified or `timeout` seconds of this clock passed; may wake early."""
        ...


class SystemClock:
    """The machine's own time."""

    @property
    def pace(self) -> float:
        """That of the world."""
        return 1.0

    @property
    def world(self) -> Clock:
        """Itself."""
        return self

    def now(self) -> float:
        """Seconds since 1970, UTC."""
        return time.time()

    def wall(self) -> float:
        """Seconds since 1970, UTC."""
        return self.now()

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        """Wait on `condition` for at most `timeout` seconds."""
        condition.wait(timeout)


class SimulatedClock:
    """The appliance's own time: the world's, faster or slower by a factor, or standing still until it is stepped.

    `pace` 1 is the world's time while nothing else was ever asked for; another one begins with the hour it is.
    `set_pace`, `step` and `skip` may be called from any thread that holds no condition somebody waits on. The clock
    never goes back; `resume` lets it go on where an earlier one stood.
    """

    def __init__(self, pace: float = 1.0) -> None:
        _check_pace(pace)
        self._lock = threading.Lock()
        self._world = SystemClock()
        self._path: Path | None = None
        self._lease = math.inf
        # Every condition that was waited on and still lives; and who waits now, until when.
        self._known: weakref.WeakSet[threading.Condition] = weakref.WeakSet()
        self._waiting: dict[object, float] = {}
        # While it follows the world, now() is the machine's; then it is `_ahead` of monotonic().
        self._follows = pace == 1.0
        # (pace, the machine's monotonic and ours when it was set): one tuple, so that it is read without the lock.
        self._run = (pace, time.monotonic(), 0.0)
        self._ahead = time.time()

    @property
    def pace(self) -> float:
        """Seconds of this clock in one of the world's; 0 while it stands still."""
        return self._run[0]

    @property
    def world(self) -> Clock:
        """The machine's own time."""
        return self._world

    @property
    def follows(self) -> bool:
        """Whether it tells the machine's own time."""
        return self._follows

    def now(self) -> float:
        """Seconds since 1970, UTC, of the appliance."""
        if self._follows:
            return time.time()
        seconds = min(self._ahead + self.monotonic(), _LAST)
        if seconds >= self._lease:
            with self._lock:
                if seconds >= self._lease:
                    self._keep(seconds)
        return seconds

    def wall(self) -> float:
        """Seconds since 1970, UTC, of the machine."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds of this clock since it was made; they never go back."""
        pace, begun, passed = self._run
        return passed + (time.monotonic() - begun) * pace if pace else passed

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        """Wait on `condition` for at most `timeout` seconds of this clock; may wake early."""
        if timeout is None:
            condition.wait()
            return
        if timeout <= 0:
            return
        token = object()
        with self._lock:
            is_known = condition in self._known
            self._known.add(condition)
            pace = self._run[0]
            self._waiting[token] = self.monotonic() + timeout
        try:
            # Nobody could wake who waits on a condition for the first time, had the clock moved since it was read.
            if is_known:
                condition.wait(min(timeout / pace, threading.TIMEOUT_MAX) if pace else None)
        finally:
            with self._lock:
                del self._waiting[token]

    def set_pace(self, pace: float) -> None:
        """Let time run at `pace` from now on; 0 lets it stand. Raises UsageError for one below 0 or above 1e9."""
        _check_pace(pace)
        with self._lock:
            self._depart()
            self._run = (pace, time.monotonic(), self.monotonic())
            self._keep(self._ahead + self.monotonic())
        self._wake()

    def step(self, seconds: float) -> None:
        """Let `seconds` pass at once. Raises UsageError for less than 0, and for a step beyond the year 9999."""
        if seconds < 0 or not self.now() + seconds <= _LAST:
            raise UsageError(f"the appliance's clock cannot go {seconds} seconds on: its dates end with the year 9999")
        with self._lock:
            self._depart()
            self._keep(self._ahead + self.monotonic() + seconds)
            pace, begun, passed = self._run
            self._run = (pace, begun, passed + seconds)
        self._wake()

    def skip(self) -> float:
        """Go to the next moment that anybody waits for; return the seconds skipped, 0 when nobody waits for one."""
        with self._lock:
            left = min((until - self.monotonic() for until in self._waiting.values()), default=0.0)
        if left > 0:
            # A hair more, lest it fall short by a rounding.
            self.step(left + 1e-6)
        return max(0.0, left)

    def _depart(self) -> None:
        if self._follows:
            self._ahead = time.time() - self.monotonic()
            self._follows = False

    def _wake(self) -> None:
        with self._lock:
            known = list(self._known)
        for condition in known:
            with condition:
                condition.notify_all()

    # Over a restart.

    def resume(self, path: Path) -> None:
        """Go on where the clock stood that kept its hour in the file `path`, and keep it there from now on.

        A clock that runs with the world takes the world's hour when that is later. The file holds an hour, in seconds
        since 1970, that no answer before the process is killed will pass; it is not in the database, since time is
        told to threads that must not wait for its lock.
        """
        with self._lock:
            try:
                last = float(path.read_text(encoding="ascii"))
            except (FileNotFoundError, ValueError):
                last = 0.0
            if last > time.time() or (last and not self._follows):
                self._depart()
                self._ahead = last - self.monotonic()
            self._path = path
            if not self._follows:
                self._keep(self._ahead + self.monotonic())

    def leave(self) -> None:
        """Keep the hour it is, and nothing after: its appliance is closed."""
        with self._lock:
            if self._path is not None and not self._follows:
                self._write(self._path, min(self._ahead + self.monotonic(), _LAST))
            self._path = None

    def _keep(self, seconds: float) -> None:
        """Have the file hold an hour that lies ahead, so that it need not be written for every answer."""
        if self._path is None:
            self._lease = math.inf
            return
        lease = seconds + _LEASE_SECONDS * self.pace
        self._write(self._path, min(lease, _LAST))
        self._lease = lease if self.pace and lease < _LAST else math.inf

    def _write(self, path: Path, seconds: float) -> None:
        partial = path.with_name(f"{path.name}.part")
        partial.write_text(repr(seconds), encoding="ascii")
        partial.replace(path)


def _check_pace(pace: float) -> None:
    if not 0 <= pace <= _FASTEST:
        raise UsageError(
            f"the appliance's clock cannot run at a pace of {pace}",
            hint="1 is real time, 100 is a hundred times faster, 0 stands still until it is stepped",
        )


def client_seconds(clock: Clock, seconds: int) -> int:
    """Return what a reply says in Retry-After where the appliance means `seconds` of its own time.

    A client counts its own seconds, and would wait ages by a clock that runs fast: they are divided by the pace,
    never below 1 where they were more than 0. By a clock that is slower or stands still they stay as they are.
    """
    return seconds if clock.pace <= 1 or not seconds else max(1, math.ceil(seconds / clock.pace))


class ManualClock:
    """A clock that stands until `advance` moves it; then everybody who waits looks at it again.

    It remembers every condition that anybody waited on, and takes its lock before notifying: whoever looked at the
    clock just before it moved is waiting by then, and is woken. Somebody's first wait returns at once, for the same
    reason: nobody could have known of it. Its clients live by it too.
    """

    def __init__(self, now: float = 1_704_164_645.0) -> None:
        self._lock = threading.Lock()
        self._now = now
        self._passed = 0.0
        self._known: dict[int, threading.Condition] = {}

    @property
    def pace(self) -> float:
        """As if it were the world's."""
        return 1.0

    @property
    def world(self) -> Clock:
        """Itself."""
        return self

    def now(self) -> float:
        """Seconds since 1970, as last set."""
        with self._lock:
            return self._now

    def wall(self) -> float:
        """Seconds since 1970, as last set."""
        return self.now()

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
