"""Every clock keeps the same promises."""

from __future__ import annotations

import threading

import pytest

from ds3tool.clock import Clock, ManualClock, RealClock
from tests.transport.exchanges import Running
from tests.transport.scripted import WAIT_SECONDS


@pytest.fixture(params=[RealClock, ManualClock])
def any_clock(request: pytest.FixtureRequest) -> Clock:
    """Return a clock of each kind."""
    clock: Clock = request.param()
    return clock


def test_time_never_goes_back(any_clock: Clock) -> None:
    """Of two looks at a clock, the later shows no less."""
    looks = [any_clock.monotonic() for _ in range(100)]
    assert looks == sorted(looks)
    assert any_clock.time() > 1_600_000_000


def test_a_wait_for_what_has_happened_ends_at_once(any_clock: Clock) -> None:
    """A wait for a set event returns True, and hours do not pass."""
    event = threading.Event()
    event.set()
    before = any_clock.monotonic()
    assert any_clock.wait(event, 36_000) is True
    assert any_clock.monotonic() - before < 3600


def test_a_wait_in_vain_lasts_as_long_as_asked(any_clock: Clock) -> None:
    """A wait for what does not happen returns False, and its time has passed on that clock, in both readings."""
    event = threading.Event()
    before, before_time = any_clock.monotonic(), any_clock.time()
    assert any_clock.wait(event, 0.01) is False
    assert any_clock.monotonic() - before >= 0.0099
    assert any_clock.time() - before_time >= 0.009


def test_no_time_is_no_wait(any_clock: Clock) -> None:
    """A wait of zero seconds says whether it has happened."""
    event = threading.Event()
    assert any_clock.wait(event, 0) is False
    event.set()
    assert any_clock.wait(event, 0) is True


def test_a_held_condition_can_be_waited_for(any_clock: Clock) -> None:
    """A wait for a condition lets go of it meanwhile, and has it again afterwards."""
    condition = threading.Condition()
    happened: list[bool] = []
    entered = threading.Event()

    def notify() -> None:
        assert entered.wait(WAIT_SECONDS)
        with condition:
            happened.append(True)
            condition.notify_all()

    running = Running(notify)
    with condition:
        entered.set()
        while not happened:
            any_clock.wait(condition, 0.01)
    running.result()


def test_the_manual_clock_keeps_its_waits_and_takes_no_time() -> None:
    """Days pass at once, are written down, and can be let pass by hand."""
    clock, real = ManualClock(100.0), RealClock()
    before = real.monotonic()
    assert clock.wait(threading.Event(), 86_400) is False
    clock.advance(5)
    assert clock.monotonic() == clock.time() == 86_505
    assert clock.waits == [86_400]
    assert real.monotonic() - before < 60
