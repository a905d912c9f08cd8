"""Clocks: nobody who waits on one is forgotten, whether it is moved by hand, runs fast, or is stepped."""

from __future__ import annotations

import email.utils
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ds3tool.errors import UsageError
from ds3tool.simulator import Appliance, ApplianceSettings
from ds3tool.simulator.clock import ManualClock, SimulatedClock, SystemClock, client_seconds
from tests.simulator.conftest import Build

_HOUR = 3600.0


def test_whoever_looked_before_the_clock_moved_is_woken() -> None:
    """A waiter that read the time, and begins to wait only after `advance` was called, still sees the new time."""
    clock = ManualClock()
    _wait_while_it_moves(clock, lambda: clock.advance(_HOUR))


def test_whoever_looked_before_the_clock_was_stepped_is_woken() -> None:
    """The same for a clock that stands still and is stepped."""
    clock = SimulatedClock(0)
    _wait_while_it_moves(clock, lambda: clock.step(_HOUR))


def test_a_waiter_is_woken_by_another_pace() -> None:
    """Who waits for an hour of a clock that stands waits a moment when it begins to run at a mad pace."""
    clock = SimulatedClock(0)
    _wait_while_it_moves(clock, lambda: clock.set_pace(1e9))


def _wait_while_it_moves(clock: ManualClock | SimulatedClock, move: Callable[[], None]) -> None:
    condition = threading.Condition()
    seen: list[float] = []
    looked, moving = threading.Event(), threading.Event()
    begun = clock.monotonic()

    def wait_for_an_hour() -> None:
        with condition:
            while (left := begun + _HOUR - clock.monotonic()) > 0:
                looked.set()
                moving.wait(30)
                clock.wait(condition, left)
            seen.append(clock.monotonic() - begun)

    waiter = threading.Thread(target=wait_for_an_hour, daemon=True)
    waiter.start()
    assert looked.wait(30)

    def moves() -> None:
        moving.set()
        move()

    mover = threading.Thread(target=moves)
    mover.start()
    waiter.join(30)
    mover.join(30)
    assert seen
    assert seen[0] >= _HOUR


def test_no_time_is_waited_for_where_none_is_left() -> None:
    """A wait of nothing returns at once on any clock."""
    condition = threading.Condition()
    for clock in (ManualClock(), SystemClock(), SimulatedClock(0)):
        with condition:
            clock.wait(condition, 0)


def test_skip_goes_to_the_next_moment_that_anybody_waits_for() -> None:
    """Of two who wait, the earlier is over first, by one skip, then the later; nobody waiting, nothing is skipped."""
    clock = SimulatedClock(0)
    assert clock.skip() == 0
    over = [threading.Event(), threading.Event()]
    waiting = [threading.Event(), threading.Event()]

    def wait_for(place: int, seconds: float) -> None:
        condition = threading.Condition()
        with condition:
            clock.wait(condition, seconds)  # the first wait may end early
            while clock.monotonic() < seconds:
                waiting[place].set()
                clock.wait(condition, seconds - clock.monotonic())
        over[place].set()

    threads = [threading.Thread(target=wait_for, args=each, daemon=True) for each in ((0, 60.0), (1, _HOUR))]
    for thread in threads:
        thread.start()
    assert all(each.wait(30) for each in waiting)
    while not over[0].is_set():
        skipped = clock.skip()  # until both have come to wait, it may skip less
        assert 0 <= skipped <= _HOUR
        over[0].wait(0.01)
    while not over[1].is_set():
        clock.skip()
        over[1].wait(0.01)
    assert clock.monotonic() == pytest.approx(_HOUR, abs=1)


def test_pace_is_told_in_seconds_of_the_world() -> None:
    """A clock at a pace of 1000 is ahead of the world's by a thousand times what passes, and wall() is not."""
    clock = SimulatedClock(1000)
    before, begun = time.monotonic(), clock.now()
    while clock.now() - begun < 10:
        pass
    assert time.monotonic() - before > 0.0099
    assert abs(clock.wall() - time.time()) < 1
    assert clock.world.pace == 1


def test_clock_of_the_world_is_the_machines_own() -> None:
    """At a pace of 1, and never stepped, now() is the machine's hour; stepped, it is so much ahead and goes on."""
    clock = SimulatedClock()
    assert abs(clock.now() - time.time()) < 1
    clock.step(_HOUR)
    assert abs(clock.now() - time.time() - _HOUR) < 1
    later = clock.now()
    clock.set_pace(0)
    assert clock.now() == clock.now() >= later


def test_clock_cannot_go_back() -> None:
    """Negative and endless steps and paces are refused."""
    clock = SimulatedClock(0)
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError):
            clock.step(wrong)
        with pytest.raises(UsageError):
            clock.set_pace(wrong)


def test_clock_stands_at_the_end_of_the_year_9999(tmp_path: Path) -> None:
    """No date that cannot be written is ever told: a step beyond it is refused, a fast clock stops there for good."""
    clock = SimulatedClock(0)
    clock.resume(tmp_path / "clock")
    last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
    with pytest.raises(UsageError):
        clock.step(last)
    clock.step(last - clock.now() - 1.0)
    clock.set_pace(1e9)
    while clock.now() < last:
        pass
    again = SimulatedClock(1e9)
    again.resume(tmp_path / "clock")
    assert again.now() == clock.now() == last


def test_a_wait_may_be_longer_than_threads_can_wait() -> None:
    """An hour at a pace of a billionth is more than the system takes; the next notice ends it."""
    clock, condition = SimulatedClock(1e-9), threading.Condition()
    waits = threading.Event()

    def notify() -> None:
        assert waits.wait(30)
        with condition:
            condition.notify_all()

    notifier = threading.Thread(target=notify)
    notifier.start()
    with condition:
        clock.wait(condition, _HOUR)  # the first wait ends at once
        waits.set()
        clock.wait(condition, _HOUR)
    notifier.join(30)


def test_hour_goes_on_over_a_restart(tmp_path: Path) -> None:
    """Whatever hour was ever told, the next start tells no earlier one, whether the appliance was closed or killed."""
    told = []
    for pace in (0.0, 1000.0, 1.0, 0.0):
        settings = ApplianceSettings(directory=str(tmp_path), pace=pace, tapes=0)
        with Appliance(settings) as appliance:
            clock = appliance.machine.clock
            assert isinstance(clock, SimulatedClock)
            told.append(clock.now())
            clock.step(30 * 24 * _HOUR)
            told.append(clock.now())
    assert told == sorted(told)
    assert told[-1] - told[0] >= 4 * 30 * 24 * _HOUR


def test_hour_survives_being_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the clock has kept is later than any hour told, though it writes only once in a while."""
    monkeypatch.setattr("ds3tool.simulator.clock._LEASE_SECONDS", 0.02)
    path = tmp_path / "clock"
    clock = SimulatedClock(1e6)
    clock.resume(path)
    begun = told = clock.now()
    kept = {path.read_text()}
    while told - begun < 100_000:
        told = clock.now()
        kept.add(path.read_text())
        assert float(path.read_text()) >= told
    assert 2 <= len(kept) < 20
    again = SimulatedClock(1e6)
    again.resume(path)
    assert again.now() >= told


@pytest.mark.parametrize(
    ("pace", "seconds", "told"), [(1, 60, 60), (100, 60, 1), (10, 60, 6), (100, 0, 0), (0, 60, 60), (0.5, 60, 60)]
)
def test_clients_are_told_their_own_seconds(pace: float, seconds: int, told: int) -> None:
    """Retry-After by a clock that runs fast is divided by its pace, down to 1 second, and 0 stays 0."""
    assert client_seconds(SimulatedClock(pace), seconds) == told


def test_clients_of_an_appliance_that_is_days_ahead_live_in_their_own_time(build: Build) -> None:
    """Their requests are not too old, replies tell their hour and their wait, and jobs have the appliance's date."""
    clock = SimulatedClock(100)
    bench = build(clock, retry_after=60, persist_delay=3600.0)
    clock.step(30 * 24 * _HOUR)
    created = bench.wire.start_put("b", {"a": 10, "c": 10})
    assert created.status == 200
    sent = email.utils.parsedate_to_datetime(created.headers["date"]).timestamp()
    assert abs(sent - time.time()) < 600
    started = datetime.fromisoformat(created.xml.attrib["StartDate"]).timestamp()
    assert started - time.time() > 29 * 24 * _HOUR
    assert bench.wire.ready(created.xml.attrib["JobId"]).headers["retry-after"] == "1"
