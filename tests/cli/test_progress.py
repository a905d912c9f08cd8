"""What a person sees of a running transfer."""

from __future__ import annotations

import dataclasses
import io
import json
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds3tool.cli.output import OutputFormat
from ds3tool.cli.progress import (
    BarDisplay,
    LineDisplay,
    SmoothedRate,
    chosen_mode,
    line_text,
    shown,
    state_text,
)
from ds3tool.cli.settings import ProgressMode, Settings
from ds3tool.jobs.progress import ProgressSnapshot

MIB = 1 << 20


def snapshot(
    *,
    elapsed: float = 10,
    done: int = 50 * MIB,
    total: int = 100 * MIB,
    objects: tuple[int, int, int] = (5, 10, 0),
    phase: str = "moving",
    waiting_for: str | None = None,
    next_ask: float | None = None,
) -> ProgressSnapshot:
    return ProgressSnapshot(
        phase=phase,
        objects_done=objects[0],
        objects_total=objects[1],
        objects_failed=objects[2],
        bytes_done=done,
        bytes_total=total,
        waiting_for=waiting_for,
        next_ask_seconds=next_ask,
        elapsed_seconds=elapsed,
    )


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_line_says_share_bytes_rate_time_left_and_objects() -> None:
    """One line is enough to know how it stands."""
    rate = SmoothedRate()
    now = snapshot()
    rate.observe(now.elapsed_seconds, now.bytes_done)
    assert line_text("put", now, rate) == ("put: 50%, 50.0 MiB of 100.0 MiB, 5.0 MiB/s, 10 s left, 5 of 10 objects")


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (snapshot(objects=(1200, 3000, 2)), "1,200 of 3,000 objects, 2 failed"),
        (
            snapshot(phase="waiting", waiting_for="room in the cache", next_ask=11.2),
            "5 of 10 objects, waiting for room in the cache, asking again in 12 s",
        ),
        (snapshot(waiting_for="a\x1btape"), "5 of 10 objects, waiting for a\\etape"),
        (snapshot(phase="planning"), "5 of 10 objects, planning"),
    ],
)
def test_what_is_waited_for_is_said(now: ProgressSnapshot, text: str) -> None:
    """A run that stands still says for what, and until when."""
    assert state_text(now) == text


@given(st.floats(1, 1e9), st.lists(st.floats(0.05, 60), min_size=1, max_size=50))
def test_a_steady_flow_has_its_own_rate_at_any_time(speed: float, steps: list[float]) -> None:
    """Whatever the moments of looking, an even flow is shown at its speed, from the first look on."""
    rate, elapsed = SmoothedRate(), 0.0
    for step in steps:
        elapsed += step
        rate.observe(elapsed, round(speed * elapsed))
        # The bytes are whole: that is the only error there may be.
        assert abs(rate.bytes_per_second - speed) <= 1.5 / min(steps) + speed * 1e-6


def test_the_rate_forgets_what_is_long_ago() -> None:
    """After a minute at a new speed the old one hardly counts."""
    rate = SmoothedRate()
    rate.observe(100, 100 * MIB)
    for second in range(1, 61):
        rate.observe(100 + second, 100 * MIB + second * 10 * MIB)
    assert rate.bytes_per_second == pytest.approx(10 * MIB, rel=0.05)


def test_nobody_guesses_the_time_left_of_what_stands_still() -> None:
    """Without a rate there is no time left to tell, and none when all is done."""
    rate = SmoothedRate()
    assert rate.seconds_left(snapshot()) is None
    rate.observe(10, 100 * MIB)
    assert rate.seconds_left(snapshot(done=100 * MIB)) is None


def lines_of(moments: list[ProgressSnapshot]) -> list[str]:
    stream = io.StringIO()
    display = LineDisplay("put", stream)
    for now in moments:
        display.show(now, last=False)
    return stream.getvalue().splitlines()


def test_plain_lines_come_every_ten_seconds_or_five_percent() -> None:
    """A log of a slow run has a line in ten seconds; a fast one, a line in five percent."""
    slow = [snapshot(elapsed=second, done=second) for second in range(1, 42)]
    assert len(lines_of(slow)) == 5
    fast = [snapshot(elapsed=second, done=second * MIB) for second in range(1, 101)]
    assert len(lines_of(fast)) == 20


def test_a_line_comes_when_the_waiting_begins() -> None:
    """Whoever reads the log sees at once that the cache is full."""
    moments = [snapshot(elapsed=1), snapshot(elapsed=2), snapshot(elapsed=3, waiting_for="room in the cache")]
    assert "waiting for room" in lines_of(moments)[-1]


def test_the_last_state_is_always_shown() -> None:
    """However short the run, its end is told."""
    for mode in (ProgressMode.LOG, ProgressMode.JSON):
        stream = io.StringIO()
        with shown(snapshot, mode=mode, label="get", stream=stream):
            pass
        assert "get" in stream.getvalue().splitlines()[-1]


def test_json_lines_hold_numbers() -> None:
    """A program reads bytes, objects, rate and time left."""
    stream = io.StringIO()
    with shown(snapshot, mode=ProgressMode.JSON, label="put", stream=stream):
        pass
    line = json.loads(stream.getvalue().splitlines()[-1])
    assert (line["bytes_done"], line["bytes_per_second"], line["seconds_left"]) == (50 * MIB, 5 * MIB, 10.0)
    assert line["last"] is True


def test_the_bar_shows_all_of_it_and_ends_with_the_body() -> None:
    """On a terminal: bar, share, bytes, rate, objects, and what is waited for."""
    stream = Terminal()
    asked = threading.Event()

    def moment() -> ProgressSnapshot:
        asked.set()
        return snapshot(waiting_for="room in the cache", next_ask=12)

    with shown(moment, mode=ProgressMode.AUTO, label="put", stream=stream):
        assert asked.wait(30)
    drawn = stream.getvalue()
    for part in ("put", "50%", "50.0 MiB of 100.0 MiB", "5.0 MiB/s", "5 of 10 objects", "asking again in 12 s"):
        assert part in drawn
    assert not [thread for thread in threading.enumerate() if thread.name == "progress"]


def test_no_progress_writes_nothing_and_asks_nothing() -> None:
    """`none` costs nothing."""
    stream = io.StringIO()

    def never() -> ProgressSnapshot:
        raise AssertionError

    with shown(never, mode=ProgressMode.NONE, label="put", stream=stream):
        pass
    assert stream.getvalue() == ""


class _Closed(Terminal):
    def write(self, _text: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError


@pytest.mark.parametrize("mode", [ProgressMode.LOG, ProgressMode.JSON])
def test_a_stderr_that_nobody_reads_does_not_touch_the_transfer(mode: ProgressMode) -> None:
    """The body runs to its end, whatever becomes of its display."""
    done = False
    with shown(snapshot, mode=mode, label="put", stream=_Closed()):
        done = True
    assert done


def test_a_bar_whose_terminal_has_gone_leaves_stdout_alone(capfd: pytest.CaptureFixture[str]) -> None:
    """Rich would silence stdout on a broken pipe; the result is still to be printed there."""
    with pytest.raises(BrokenPipeError):
        BarDisplay("put", _Closed()).show(snapshot(), last=True)
    print("the result", flush=True)
    assert capfd.readouterr().out == "the result\n"


@pytest.mark.parametrize(
    ("settings", "terminal", "mode"),
    [
        (Settings(), True, ProgressMode.BAR),
        (Settings(), False, ProgressMode.LOG),
        (Settings(quiet=True), True, ProgressMode.NONE),
        (Settings(quiet=True, progress=ProgressMode.LOG), True, ProgressMode.LOG),
        (Settings(output=OutputFormat.NDJSON), True, ProgressMode.LOG),
    ],
)
def test_auto_is_a_bar_where_nothing_else_is_written(settings: Settings, *, terminal: bool, mode: ProgressMode) -> None:
    """A bar wants the terminal for itself; --quiet wants none; what was asked for outright is done."""
    stream = Terminal() if terminal else io.StringIO()
    assert chosen_mode(settings, stream, stream) is mode


def test_empty_files_are_counted_where_there_are_no_bytes() -> None:
    """Half a million empty files have a share too."""
    empty = dataclasses.replace(snapshot(), bytes_done=0, bytes_total=0, objects_done=25, objects_total=100)
    assert line_text("put", empty, SmoothedRate()).startswith("put: 25%")
