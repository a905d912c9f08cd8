"""The clock that tests move: nobody who waits on it is forgotten."""

from __future__ import annotations

import threading

from ds3tool.simulator.clock import ManualClock, SystemClock


def test_whoever_looked_before_the_clock_moved_is_woken() -> None:
    """A waiter that read the time, and begins to wait only after `advance` was called, still sees the new time."""
    clock = ManualClock()
    condition = threading.Condition()
    seen: list[float] = []
    looked, moving = threading.Event(), threading.Event()

    def wait_for_an_hour() -> None:
        with condition:
            while (left := 3600 - clock.monotonic()) > 0:
                looked.set()
                moving.wait(30)
                clock.wait(condition, left)
            seen.append(clock.monotonic())

    waiter = threading.Thread(target=wait_for_an_hour)
    waiter.start()
    assert looked.wait(30)

    def advance() -> None:
        moving.set()
        clock.advance(3600)

    mover = threading.Thread(target=advance)
    mover.start()
    waiter.join(30)
    mover.join(30)
    assert seen == [3600]


def test_no_time_is_waited_for_where_none_is_left() -> None:
    """A wait of nothing returns at once on either clock."""
    condition = threading.Condition()
    for clock in (ManualClock(), SystemClock()):
        with condition:
            clock.wait(condition, 0)
