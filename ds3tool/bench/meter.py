"""The meter of one run: what this host, the connections and the run itself spend their time with."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import field

from ds3tool.bench.stopwatch import Stopwatch
from ds3tool.bench.usage import Usage
from ds3tool.bench.wire import ThreadTime, WireFigures, Wires, cpu_of_machine, times_of_threads
from ds3tool.jobs.progress import Phase, ProgressSnapshot
from ds3tool.lazy_dataclass import dataclass

_LOOK_SECONDS = 0.1
_OUR_THREADS = "ds3tool-"


@dataclass(frozen=True, slots=True)
class _Moment:
    """What was counted until one moment."""

    at: float
    cpu: float
    machine: float | None
    reading: float
    moving: float
    answering: float
    answers: int
    waiting: float
    wire: WireFigures | None


@dataclass(slots=True)
class Meter:
    """Measures from `begin`, a job's creation, to the last `moved`; `start` and `stop` bound the looking.

    `progress` is the run's. `retried` is told each wait before a request is sent again, in seconds.
    """

    wires: Wires
    watch: Stopwatch
    progress: Callable[[], ProgressSnapshot]
    blobs: int = 0
    bytes: int = 0
    retries: int = 0
    _waiting: float = 0.0
    _began: _Moment | None = None
    _last: _Moment | None = None
    _threads_before: dict[str, ThreadTime] = field(default_factory=dict)
    _threads: dict[str, ThreadTime] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)
    _looker: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look, several times a second."""
        self._looker = threading.Thread(target=self._look_on, name="bench-meter", daemon=True)
        self._looker.start()

    def stop(self) -> None:
        """Look no more. Twice is harmless."""
        self._over.set()
        if self._looker is not None:
            self._looker.join()

    def begin(self) -> None:
        """The job is there: whatever is counted from now on belongs to it."""
        self._began = self._moment()
        self._threads_before = self._times_of_ours()

    def moved(self, blobs: int, count: int) -> None:
        """So many blobs have come through, with `count` bytes."""
        self.blobs += blobs
        self.bytes += count
        self._last = self._moment()

    def retried(self) -> None:
        """A request is going to be sent again."""
        self.retries += 1

    def usage(self) -> Usage | None:
        """Return what was measured, None when nothing was moved."""
        first, last = self._began, self._last
        if first is None or last is None:
            return None
        before = self._threads_before
        busy = [one.cpu - before.get(name, ThreadTime()).cpu for name, one in self._threads.items()]
        queued = [one.queued - before.get(name, ThreadTime()).queued for name, one in self._threads.items()]
        known = None if first.machine is None or last.machine is None else last.machine - first.machine
        answers = sorted(self.watch.answers[first.answers : last.answers])
        return Usage(
            seconds=last.at - first.at,
            blobs=self.blobs,
            bytes=self.bytes,
            cores=_cores(),
            cpu=last.cpu - first.cpu,
            busiest_thread=max(busy, default=0.0),
            queued=sum(queued),
            machine_cpu=known,
            reading=last.reading - first.reading,
            moving=last.moving - first.moving,
            answering=last.answering - first.answering,
            answers=len(answers),
            answer_median=_percentile(answers, 0.5),
            answer_p99=_percentile(answers, 0.99),
            waiting=last.waiting - first.waiting,
            retries=self.retries,
            connections=self.wires.most_open,
            round_trip=self.wires.round_trip,
            wire=None if first.wire is None or last.wire is None else last.wire.since(first.wire),
        )

    def _moment(self) -> _Moment:
        watch = self.watch
        return _Moment(
            time.monotonic(),
            time.process_time(),  # finer than os.times, which counts in hundredths
            cpu_of_machine(),
            watch.reading,
            watch.moving,
            watch.answering,
            len(watch.answers),
            self._waiting,
            self.wires.look(),
        )

    def _look_on(self) -> None:
        looked_at = time.monotonic()
        while not self._over.wait(_LOOK_SECONDS):
            now = time.monotonic()
            if self.progress().phase == Phase.WAITING:
                self._waiting += now - looked_at
            looked_at = now
            self.wires.look()
            self._threads |= self._times_of_ours()

    def _times_of_ours(self) -> dict[str, ThreadTime]:
        ours = {one.native_id: one.name for one in threading.enumerate() if one.name.startswith(_OUR_THREADS)}
        return times_of_threads({number: name for number, name in ours.items() if number is not None})


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _percentile(ordered: list[float], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def median_of(usages: list[Usage]) -> Usage:
    """Return the usage of the round whose rate is the median one (of an even number, the slower of the two)."""
    ordered = sorted(usages, key=lambda one: (one.bytes_per_second, one.blobs_per_second))
    return ordered[(len(ordered) - 1) // 2]
