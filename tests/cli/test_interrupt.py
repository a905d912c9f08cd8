"""Ctrl-C, SIGTERM and SIGHUP while a command moves data."""

from __future__ import annotations

import signal

import pytest

from ds3tool.cli.interruption import interruptible, stoppable

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


class Stopped:
    """A run that can be stopped, and counts how often it was."""

    def __init__(self, *, under_way: bool = True) -> None:
        self.times = 0
        self.is_under_way = under_way

    def stop(self) -> None:
        """Count."""
        self.times += 1

    def under_way(self) -> bool:
        """Whether something moves."""
        return self.is_under_way


def _signalled(run: Stopped, *numbers: signal.Signals) -> list[int]:
    """Return how often the run had been stopped after each signal that did not interrupt; the last one must."""
    stopped: list[int] = []
    with pytest.raises(KeyboardInterrupt), stoppable(run.stop, under_way=run.under_way):
        _raise_each(run, numbers, stopped)
    assert len(stopped) == len(numbers) - 1
    return stopped


def _raise_each(run: Stopped, numbers: tuple[signal.Signals, ...], stopped: list[int]) -> None:
    for number in numbers:
        signal.raise_signal(number)
        stopped.append(run.times)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_stops_in_order_and_the_second_at_once(
    number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    """The first is answered with a sentence and the body goes on; the second is a KeyboardInterrupt."""
    run = Stopped()
    assert _signalled(run, number, number) == [1]
    assert capfd.readouterr().err.count("stopping when what is under way is through") == 1


def test_different_signals_count_together(capfd: pytest.CaptureFixture[str]) -> None:
    """A service manager's SIGTERM after a person's Ctrl-C is the second one."""
    assert _signalled(Stopped(), signal.SIGINT, signal.SIGTERM) == [1]
    assert "stopping" in capfd.readouterr().err


def test_the_first_signal_ends_at_once_what_has_nothing_under_way() -> None:
    """While a run is being planned there is nothing to wait for."""
    run = Stopped(under_way=False)
    assert _signalled(run, signal.SIGTERM) == []
    assert run.times == 0


def test_what_nohup_ignores_stays_ignored() -> None:
    """A signal that whoever started the command had ignored neither stops nor interrupts."""
    run = Stopped()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stoppable(run.stop, under_way=run.under_way), interruptible():
            signal.raise_signal(signal.SIGHUP)
        assert run.times == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_afterwards_signals_mean_what_they_meant() -> None:
    """Every handler is put back, also when the body fails."""
    before = [signal.getsignal(number) for number in SIGNALS]
    run = Stopped()
    with pytest.raises(ValueError, match="body"), stoppable(run.stop, under_way=run.under_way), interruptible():
        raise ValueError("body")
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize("number", SIGNALS)
def test_each_signal_interrupts_what_only_waits(number: signal.Signals) -> None:
    """SIGTERM and SIGHUP mean what Ctrl-C does where nothing can be stopped in order."""
    with pytest.raises(KeyboardInterrupt), interruptible():
        signal.raise_signal(number)
