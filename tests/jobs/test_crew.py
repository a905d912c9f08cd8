"""More workers are tried while all are busy, stay if they are of use, and are never more than was asked for."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from ds3tool.jobs.crew import Crew
from ds3tool.jobs.engine import EngineSettings
from tests.jobs.doubles import Stage, blob, chunk

LONG = 60.0  # how long a test waits for what must happen, before it fails


@dataclass
class Wire:
    """Something to send over, on which so many workers move so many bytes a second; keeps the sizes of the crew."""

    rate: Callable[[int], float]
    crew: Crew = field(default_factory=lambda: Crew(4, 16))
    now: float = 1000.0
    moved: float = 0.0
    sizes: list[int] = field(default_factory=list)

    def run(self, seconds: float, *, busy: bool = True) -> Wire:
        """Let time pass in steps of a tenth."""
        for _ in range(round(seconds * 10)):
            self.now += 0.1
            self.moved += self.rate(self.crew.size) * 0.1
            self.sizes.append(self.crew.observe(self.now, int(self.moved), busy=busy))
        return self

    @property
    def changes(self) -> list[int]:
        """The sizes without repetition."""
        return [size for place, size in enumerate(self.sizes) if place == 0 or size != self.sizes[place - 1]]


@pytest.mark.parametrize(
    ("rate", "changes"),
    [
        (lambda workers: workers * 1e6, [4, 8, 16]),
        (lambda workers: 1e9, [4, 8, 4]),
        (lambda workers: 1e9 / workers, [4, 8, 4]),
        (lambda workers: min(workers, 8) * 1e6, [4, 8, 16, 8]),
        (lambda workers: min(workers, 10) * 1e6, [4, 8, 16]),
        (lambda workers: min(workers, 5) * 1e6, [4, 8, 16, 8]),
        (lambda workers: 0.0, [4]),
    ],
    ids=["latency", "full wire", "worse", "eight is all", "ten is all", "a little", "nothing moves"],
)
def test_the_number_follows_what_it_is_worth(rate: Callable[[int], float], changes: list[int]) -> None:
    """Within twenty seconds a crew has found its size, and has not stayed at one that was no better."""
    assert Wire(rate).run(20).changes == changes


def test_a_trial_that_failed_is_repeated_ever_less_often() -> None:
    """A wire that is full is tried again after half a minute, a minute, two, and then every ten."""
    wire = Wire(lambda workers: 1e9).run(3600)
    trials = [place / 10 for place, size in enumerate(wire.sizes) if size == 8 and wire.sizes[place - 1] == 4]
    pauses = [round(later - earlier) for earlier, later in itertools.pairwise(trials)]
    assert pauses[:5] == sorted(pauses[:5])
    assert pauses[0] in range(30, 37)
    assert max(pauses) in range(600, 607)
    assert sum(size == 8 for size in wire.sizes) / 10 < 36


def test_what_becomes_of_use_later_is_found() -> None:
    """When the way has become long meanwhile, the next trial stays."""
    wire = Wire(lambda workers: 1e9 if wire.now < 1100 else workers * 1e6)
    assert wire.run(300).changes[-2:] == [8, 16]


def test_nothing_is_tried_while_workers_lack_work() -> None:
    """Idle moments, be they ever so short, say nothing about the wire."""
    wire = Wire(lambda workers: workers * 1e6)
    for _ in range(30):
        wire.run(1.5)
        wire.run(0.1, busy=False)
    assert wire.changes == [4]
    assert wire.run(3).changes == [4, 8]


def test_who_names_a_number_gets_that() -> None:
    """--transfers N is N, and no more are tried; without it there may be four times as many as at the start."""
    assert (EngineSettings.of(3).transfers, EngineSettings.of(3).most) == (3, 0)
    assert (EngineSettings.of(None).transfers, EngineSettings.of(None).most) == (4, 16)
    wire = Wire(lambda workers: workers * 1e6, Crew(3, 3)).run(60)
    assert wire.changes == [3]


@dataclass
class Pulse:
    """Lets every worker move a thousand bytes whenever time passes, until `wanted` of them were at it together."""

    stage: Stage
    wanted: int
    changed: threading.Condition = field(default_factory=threading.Condition)
    beats: int = 0
    inside: int = 0
    heard: int = 0
    most: int = 0

    def beat(self) -> None:
        """Let a second pass."""
        with self.changed:
            self.beats += 1
            self.heard = 0
            self.changed.notify_all()
            here = self.inside  # who comes in after that hears of the next
            assert self.changed.wait_for(lambda: self.heard >= here or self.most >= self.wanted, LONG)
        self.stage.clock.advance(1.0)

    def work(self, number: int, counter: Callable[[int], None]) -> str:
        """Move a blob: a bit at each beat, to the end once enough workers have come together."""
        with self.changed:
            self.inside += 1
            self.most = max(self.most, self.inside)
            while self.most < self.wanted:
                self._await_beat(self.beats)
                counter(1000)
                self.heard += 1
                self.changed.notify_all()
            self.inside -= 1
            self.changed.notify_all()
        return f"digest {number}"

    def _await_beat(self, after: int) -> None:
        assert self.changed.wait_for(lambda: self.beats > after or self.most >= self.wanted, LONG), "nobody has come"


@pytest.mark.parametrize(("transfers", "most", "wanted"), [(2, 16, 16), (2, 5, 5)])
def test_workers_join_while_they_help(monkeypatch: pytest.MonkeyPatch, transfers: int, most: int, wanted: int) -> None:
    """Where each worker moves as much as the others, all that may be are soon at work, and no more."""
    monkeypatch.setattr("ds3tool.jobs.engine._TICK_SECONDS", 0.001)
    stage = Stage([chunk("c", *(blob(f"k{n}", 0, 10**9) for n in range(60)))], transfers=transfers, most=most)
    pulse = Pulse(stage, wanted)
    stage.on_tick = pulse.beat
    stage.mover.act = pulse.work
    stage.run()
    assert stage.mover.most == wanted
    assert len(stage.ended) == 60


def test_a_system_that_gives_no_more_threads_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those workers that could be had do all of the work, where there is a limit on threads."""
    monkeypatch.setattr("ds3tool.jobs.engine._TICK_SECONDS", 0.001)
    start = threading.Thread.start

    def start_few(thread: threading.Thread) -> None:
        if thread.name == "ds3tool-transfer-3":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_few)
    stage = Stage([chunk("c", *(blob(f"k{n}", 0, 10**9) for n in range(60)))], transfers=2, most=16)
    pulse = Pulse(stage, wanted=3)
    stage.on_tick = pulse.beat
    stage.mover.act = pulse.work
    stage.run()
    assert stage.mover.most == 3
    assert len(stage.ended) == 60
