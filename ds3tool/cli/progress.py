"""Shows a running transfer on stderr: a bar on a terminal, plain lines or JSON lines elsewhere."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol, TextIO

from ds3tool.cli.escapes import json_text, printable
from ds3tool.cli.output import OutputFormat, counted
from ds3tool.cli.settings import ProgressMode, Settings
from ds3tool.jobs.progress import Phase, ProgressSnapshot
from ds3tool.lazy_dataclass import dataclass
from ds3tool.sizes import format_duration, format_size

if TYPE_CHECKING:
    from rich.console import RenderableType

# How often each display looks, in seconds.
_BAR_SECONDS = 0.1
_LINE_SECONDS = 0.5
_JSON_SECONDS = 1.0
# A plain line comes this often, or so many times in all as the bytes go by, but no closer together than the third.
_LINE_EVERY_SECONDS = 10.0
_LINES_IN_ALL = 20
_LINE_APART_SECONDS = 1.0
# The rate forgets what is older than about this: long enough to bridge a chunk's wait, short enough to follow a change.
_RATE_MEMORY_SECONDS = 15.0


class SmoothedRate:
    """Bytes a second, as a mean that forgets: what lies a `memory` back counts a third of what is now."""

    def __init__(self, *, memory_seconds: float = _RATE_MEMORY_SECONDS) -> None:
        self._memory_seconds = memory_seconds
        self._last: tuple[float, int] | None = None
        self._weight = 0.0
        self._sum = 0.0

    def observe(self, elapsed_seconds: float, bytes_done: int) -> None:
        """Learn that `bytes_done` in all were done after `elapsed_seconds`."""
        if self._last is None:
            self._last = (0.0, 0)
        passed = elapsed_seconds - self._last[0]
        if passed <= 0:
            return
        kept = math.exp(-passed / self._memory_seconds)
        rate = max(0, bytes_done - self._last[1]) / passed
        self._sum = self._sum * kept + rate * (1 - kept)
        # Dividing by the weight corrects the start, where the mean would otherwise begin at zero.
        self._weight = self._weight * kept + (1 - kept)
        self._last = (elapsed_seconds, bytes_done)

    @property
    def bytes_per_second(self) -> float:
        """The rate now; 0 before anything was learned."""
        return self._sum / self._weight if self._weight else 0.0

    def seconds_left(self, snapshot: ProgressSnapshot) -> float | None:
        """Return how long the rest will take at this rate, None when nobody can say."""
        rest = snapshot.bytes_total - snapshot.bytes_done
        if rest <= 0 or self.bytes_per_second < 1:
            return None
        return rest / self.bytes_per_second


def state_text(snapshot: ProgressSnapshot) -> str:
    """Return what a run is doing, as a person reads it: objects done, failures, and what is waited for."""
    parts = [f"{snapshot.objects_done:,} of {counted(snapshot.objects_total, 'object')}"]
    if snapshot.objects_failed:
        parts.append(f"{snapshot.objects_failed:,} failed")
    if snapshot.waiting_for:
        parts.append(f"waiting for {snapshot.waiting_for}")
        if snapshot.next_ask_seconds:  # 0 while the question is on its way
            parts.append(f"asking again in {max(0, math.ceil(snapshot.next_ask_seconds))} s")
    elif snapshot.phase not in (Phase.MOVING, Phase.WAITING):
        parts.append(str(snapshot.phase))
    return printable(", ".join(parts))


def line_text(label: str, snapshot: ProgressSnapshot, rate: SmoothedRate) -> str:
    """Return one plain line that says all."""
    share = f"{_share(snapshot):.0%}" if snapshot.bytes_total or snapshot.objects_total else "-"
    parts = [
        f"{printable(label)}: {share}",
        f"{format_size(snapshot.bytes_done)} of {format_size(snapshot.bytes_total)}",
        f"{format_size(rate.bytes_per_second)}/s",
    ]
    left = rate.seconds_left(snapshot)
    if left is not None:
        parts.append(f"{format_duration(left)} left")
    parts.append(state_text(snapshot))
    return ", ".join(parts)


def _share(snapshot: ProgressSnapshot) -> float:
    """Return how much is done, by bytes; where there are none, by objects."""
    if snapshot.bytes_total:
        return min(1.0, snapshot.bytes_done / snapshot.bytes_total)
    return min(1.0, snapshot.objects_done / snapshot.objects_total) if snapshot.objects_total else 0.0


class _Display(Protocol):
    """Draws snapshots; called from one thread, every `interval` seconds, and once more with `last`."""

    @property
    def interval(self) -> float: ...

    def show(self, snapshot: ProgressSnapshot, *, last: bool) -> None:
        """Draw what is new; with `last`, leave the final state on the screen and let go of it."""
        ...


@dataclass
class LineDisplay:
    """Plain lines: every 10 seconds or 5 %, when what is waited for changes, and at the end."""

    label: str
    stream: TextIO
    interval: float = _LINE_SECONDS

    def __post_init__(self) -> None:
        self._rate = SmoothedRate()
        self._shown: ProgressSnapshot | None = None

    def show(self, snapshot: ProgressSnapshot, *, last: bool) -> None:
        """Write a line when one is due."""
        self._rate.observe(snapshot.elapsed_seconds, snapshot.bytes_done)
        if last or self._is_due(snapshot):
            self.stream.write(line_text(self.label, snapshot, self._rate) + "\n")
            self.stream.flush()
            self._shown = snapshot

    def _is_due(self, snapshot: ProgressSnapshot) -> bool:
        if self._shown is None:
            return snapshot.elapsed_seconds >= _LINE_APART_SECONDS
        passed = snapshot.elapsed_seconds - self._shown.elapsed_seconds
        if passed < _LINE_APART_SECONDS:
            return False
        return (
            passed >= _LINE_EVERY_SECONDS
            or (snapshot.bytes_done - self._shown.bytes_done) * _LINES_IN_ALL >= max(1, snapshot.bytes_total)
            or snapshot.waiting_for != self._shown.waiting_for
        )


@dataclass
class JsonDisplay:
    """One JSON object a second: the snapshot, with `bytes_per_second` and `seconds_left`."""

    label: str
    stream: TextIO
    interval: float = _JSON_SECONDS

    def __post_init__(self) -> None:
        self._rate = SmoothedRate()

    def show(self, snapshot: ProgressSnapshot, *, last: bool) -> None:
        """Write one line."""
        self._rate.observe(snapshot.elapsed_seconds, snapshot.bytes_done)
        left = self._rate.seconds_left(snapshot)
        line = {
            "label": self.label,
            "phase": str(snapshot.phase),
            "objects_done": snapshot.objects_done,
            "objects_total": snapshot.objects_total,
            "objects_failed": snapshot.objects_failed,
            "bytes_done": snapshot.bytes_done,
            "bytes_total": snapshot.bytes_total,
            "waiting_for": snapshot.waiting_for,
            "next_ask_seconds": snapshot.next_ask_seconds,
            "elapsed_seconds": round(snapshot.elapsed_seconds, 3),
            "bytes_per_second": round(self._rate.bytes_per_second),
            "seconds_left": None if left is None else round(left, 1),
            "last": last,
        }
        self.stream.write(json_text(line) + "\n")
        self.stream.flush()


class BarDisplay:
    """A bar with share, bytes, rate and time left; below it, objects and what is waited for.

    Log lines and other writers to stderr appear above it while it is drawn.
    """

    interval = _BAR_SECONDS

    def __init__(self, label: str, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        class StderrConsole(Console):
            def on_broken_pipe(self) -> None:
                # Rich would silence stdout, where the result is still to come.
                raise BrokenPipeError

        self._label = label
        self._rate = SmoothedRate()
        console = StderrConsole(file=stream, highlight=False, markup=False, emoji=False)
        self._live = Live(console=console, auto_refresh=False)
        self._live.start()

    def show(self, snapshot: ProgressSnapshot, *, last: bool) -> None:
        """Draw the bar anew."""
        self._rate.observe(snapshot.elapsed_seconds, snapshot.bytes_done)
        try:
            self._live.update(self._drawn(snapshot), refresh=True)
        finally:
            if last:
                self._live.stop()

    def _drawn(self, snapshot: ProgressSnapshot) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        bar = Table.grid(padding=(0, 1), expand=True)
        for position in range(6):
            bar.add_column(no_wrap=True, ratio=1 if position == 1 else None)
        left = self._rate.seconds_left(snapshot)
        bar.add_row(
            Text(printable(self._label), style="bold"),
            ProgressBar(total=1.0, completed=_share(snapshot)),
            Text(f"{_share(snapshot):4.0%}"),
            Text(f"{format_size(snapshot.bytes_done)} of {format_size(snapshot.bytes_total)}"),
            Text(f"{format_size(self._rate.bytes_per_second)}/s", style="cyan"),
            Text(f"{format_duration(left)} left" if left is not None else format_duration(snapshot.elapsed_seconds)),
        )
        return Group(bar, Text(state_text(snapshot), style="yellow" if snapshot.waiting_for else "dim"))


def chosen_mode(settings: Settings, stream: TextIO, results: TextIO) -> ProgressMode:
    """Return how progress is shown: as asked; else a bar on a terminal that shows nothing else, else plain lines."""
    if settings.progress is not ProgressMode.AUTO:
        return settings.progress
    if settings.quiet:
        return ProgressMode.NONE
    lines_as_they_happen = settings.output is OutputFormat.NDJSON and results.isatty()
    if stream.isatty() and os.environ.get("TERM") != "dumb" and not lines_as_they_happen:
        return ProgressMode.BAR
    return ProgressMode.LOG


@contextlib.contextmanager
def shown(
    snapshot: Callable[[], ProgressSnapshot], *, mode: ProgressMode, label: str, stream: TextIO
) -> Iterator[None]:
    """Show what `snapshot` tells while the body runs, from a thread that ends with it; then its last state.

    `mode` AUTO is a bar on a terminal and lines elsewhere. A display that fails (nobody reads stderr) falls silent;
    the body never learns of it.
    """
    if mode is ProgressMode.AUTO:
        mode = ProgressMode.BAR if stream.isatty() else ProgressMode.LOG
    if mode is ProgressMode.NONE:
        yield
        return
    display: _Display
    if mode is ProgressMode.BAR:
        display = BarDisplay(label, stream)
    elif mode is ProgressMode.JSON:
        display = JsonDisplay(label, stream)
    else:
        display = LineDisplay(label, stream)
    ended = threading.Event()
    thread = threading.Thread(target=_watch, args=(snapshot, display, ended), name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _watch(snapshot: Callable[[], ProgressSnapshot], display: _Display, ended: threading.Event) -> None:
    try:
        while not ended.wait(display.interval):
            display.show(snapshot(), last=False)
    except (OSError, ValueError):
        pass
    with contextlib.suppress(OSError, ValueError):
        # Nothing is waited for any more, however it ended.
        over = dataclasses.replace(snapshot(), phase=Phase.MOVING, waiting_for=None, next_ask_seconds=None)
        display.show(over, last=True)
