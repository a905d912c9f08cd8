"""A simulated Lotame for commands to talk to, whose clock goes ahead of this host's."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ds3tool.clock import Waitable
from ds3tool.simulator.lotame.service import LotameSimulator, LotameSimulatorSettings, SimulatedFeed
from tests.cli.runner import Run, run

FEED = 9001


class ClockAhead:
    """This host's clock, and as many seconds more as it was moved on; it begins 20 minutes after some hour.

    By then all files of the hours before are there, and no other comes by itself while a test runs.
    """

    def __init__(self) -> None:
        self.ahead = (1200 - time.time()) % 3600

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return time.time() + self.ahead

    def wait(self, event: Waitable, seconds: float) -> bool:
        return event.wait(seconds)


@dataclass
class Box:
    """A running simulation; `run` calls commands that talk to it and remember below `folder`."""

    lotame: LotameSimulator
    clock: ClockAhead
    folder: Path
    environ: Mapping[str, str] = field(default_factory=dict)

    def run(self, *arguments: str) -> Run:
        """Run `ds3tool ARGUMENTS`; with `environ` beside Lotame's own variables."""
        return run(*arguments, environ=self.whole_environ)

    @property
    def whole_environ(self) -> dict[str, str]:
        """The variables that such a command has."""
        state = {"DS3TOOL_STATE_DIR": str(self.folder / "state"), "HOME": str(self.folder)}
        return {**self.lotame.environ, **state, **self.environ}

    def hours_pass(self, count: int) -> None:
        """Let Lotame deliver so many hours more."""
        self.clock.ahead += 3600.0 * count

    def add(self, name: str, data: bytes, *, feed: int = FEED) -> None:
        """Let a file appear in a feed, just now."""
        self.lotame.add_file(feed, name, data)

    def names(self, feed: int = FEED) -> list[str]:
        """Return the names of a feed's files."""
        return self.lotame.files(feed)

    def data(self, name: str, feed: int = FEED) -> bytes:
        """Return a file's bytes."""
        return self.lotame.stored(feed, name).data

    def fetched(self) -> list[str]:
        """Return the last parts of what was fetched from S3, in order; whether it came or not."""
        return [one.path.rpartition("/")[2] for one in self.lotame.asked("s3") if one.verb == "GET"]


@contextmanager
def box(
    folder: Path,
    *feeds: SimulatedFeed,
    environ: Mapping[str, str] | None = None,
    hours: int = 1,
    credential_requests: int | None = None,
) -> Iterator[Box]:
    """Run a simulation with these feeds; without any, one that has no files but what a test adds."""
    clock = ClockAhead()
    settings = LotameSimulatorSettings(
        clock=clock,
        hours=hours,
        feeds=feeds or (SimulatedFeed(FEED, files_per_hour=0, mapping=None),),
        credential_requests=credential_requests,
    )
    with LotameSimulator(settings) as lotame:
        yield Box(lotame, clock, folder, environ or {})
