"""Ctrl-C, SIGTERM and SIGHUP while a command moves data."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ds3tool.cli.interruption import interruptible, stoppable
from ds3tool.jobs.source_blocks import SourceBlock
from ds3tool.sources.local import LocalSource
from tests.cli.archive import Archive
from tests.cli.interrupting import Between
from tests.cli.runner import run
from tests.jobs.rooms import Meddler

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


# -- whole commands ----------------------------------------------------------------------------------------------------


def _unfinished(archive: Archive) -> list[str]:
    return [work["id"] for work in archive.run("job", "ls", "--local", "-o", "json").expect(0).json]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_amid_the_planning_ends_at_once_and_leaves_nothing(
    archive: Archive, tree: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """Nothing was begun, so there is nothing to go on with: exit code 130, no job, no journal."""
    bucket = archive.bucket()
    walk = LocalSource.blocks

    def interrupted(source: LocalSource) -> Iterator[SourceBlock]:
        yield next(walk(source))
        signal.raise_signal(number)
        yield from walk(source)

    monkeypatch.setattr(LocalSource, "blocks", interrupted)
    said = archive.run("put", str(tree), f"ds3://{bucket}").expect(130)
    assert "stopping" not in said.stderr
    assert said.stderr.splitlines()[-1] == "hint: nothing was begun; run the command again"
    assert _unfinished(archive) == []
    assert archive.keys(bucket) == []


def test_an_interrupted_stream_is_ended_at_once_with_its_job(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can have a stream again: the first Ctrl-C gives its job up, and nothing waits for `resume`."""
    bucket = archive.bucket()
    (tmp_path / "large").write_bytes(bytes(3 << 20))
    archive.run("put", str(tmp_path / "large"), f"ds3://{bucket}").expect(0)
    meddler = Meddler(archive.appliance)
    try:
        between = Between(archive, meddler, monkeypatch)
        between.at(2, lambda: os.kill(os.getpid(), signal.SIGINT))
        said = run("cat", f"ds3://{bucket}/large", environ=between.environ, into=tmp_path / "out")
        said.expect(130)
    finally:
        meddler.close()
    assert _unfinished(archive) == []
    archive.until(lambda: not list(archive.client.list_active_jobs(bucket=bucket)))
