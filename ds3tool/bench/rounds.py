"""One round of a measurement: a put or get as anybody's, run under the meter."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import field

from ds3tool.bench.meter import Meter
from ds3tool.bench.metered import MeteredTransport
from ds3tool.bench.stopwatch import Stopwatch, TimedRecorder
from ds3tool.bench.usage import Usage
from ds3tool.errors import Ds3Error
from ds3tool.jobs.progress import ProgressSnapshot
from ds3tool.jobs.recorder import Recorder
from ds3tool.jobs.run import Run, RunResult
from ds3tool.lazy_dataclass import dataclass

# Shows a run's progress as long as it is entered.
Shown = Callable[[Callable[[], ProgressSnapshot]], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Round:
    """What came of one round; `usage` is None when nothing was moved."""

    result: RunResult
    usage: Usage | None


@dataclass(slots=True)
class Measurement:
    """Rounds over one transport. `jobs` are the ids of the jobs of the round in hand, also when that was cut short."""

    transport: MeteredTransport
    shown: Shown
    jobs: list[str] = field(default_factory=list)

    def round(self, recorder: Recorder, make: Callable[[Recorder, Stopwatch], Run]) -> Round:
        """Carry out the run that `make` returns, which records itself in what it is given; raises what that raises."""
        watch = Stopwatch()
        meter: Meter | None = None
        before = self.transport.on_wait

        def begun() -> None:
            assert meter is not None  # it is there before the run begins
            meter.begin()

        def moved(blobs: int, count: int) -> None:
            assert meter is not None
            meter.moved(blobs, count)

        def waits(error: Ds3Error, seconds: float) -> None:
            if meter is not None:
                meter.retried()
            if before is not None:
                before(error, seconds)

        timed = TimedRecorder(recorder, begun=begun, moved=moved)
        self.jobs = timed.jobs
        self.transport.on_wait = waits
        try:
            run = make(timed, watch)
            meter = Meter(self.transport.wires, watch, run.progress)
            meter.start()
            try:
                with self.shown(run.progress):
                    result = run.run()
            finally:
                meter.stop()
            return Round(result, meter.usage())
        finally:
            self.transport.on_wait = before
