"""What one run has used, as one value: that of a measurement, and what `limits` judges."""

from __future__ import annotations

from ds3tool.bench.wire import WireFigures
from ds3tool.lazy_dataclass import dataclass

_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Usage:
    """One run from its job's creation to the last answer, `seconds` in all. All times are in seconds.

    `cpu` is this process's, `busiest_thread` that of one thread, `machine_cpu` that of all programs of the machine;
    `queued` is how long its threads, all together, could have been at work and waited for a core.
    `reading` (in the source), `moving` (in bodies) and `answering` (waits for an answer, `answers` of them, with their
    median and 99th percentile) are sums over all workers; small blobs, which go through one thread, are in none of
    them. `waiting` is how long nothing could be moved, since the appliance offered nothing or asked to wait.
    `round_trip` is the network's shortest, `connections` the most at once. None is what could not be measured.
    """

    seconds: float
    blobs: int
    bytes: int
    cores: int
    cpu: float
    busiest_thread: float = 0.0
    queued: float = 0.0
    machine_cpu: float | None = None
    reading: float = 0.0
    moving: float = 0.0
    answering: float = 0.0
    answers: int = 0
    answer_median: float | None = None
    answer_p99: float | None = None
    waiting: float = 0.0
    retries: int = 0
    connections: int = 0
    round_trip: float | None = None
    wire: WireFigures | None = None

    @property
    def bytes_per_second(self) -> float:
        """The rate of the transfer."""
        return self.bytes / self.seconds if self.seconds else 0.0

    @property
    def blobs_per_second(self) -> float:
        """The rate of the transfer."""
        return self.blobs / self.seconds if self.seconds else 0.0

    @property
    def cpu_per_gib(self) -> float | None:
        """CPU seconds a GiB, None without a byte."""
        return self.cpu / (self.bytes / _GIB) if self.bytes else None

    @property
    def cpu_per_blob(self) -> float | None:
        """CPU seconds a blob, None without one."""
        return self.cpu / self.blobs if self.blobs else None

    @property
    def seconds_per_request(self) -> float | None:
        """How long a request takes on the average, had every connection been busy all the time; None without any."""
        return (
            self.connections * (self.seconds - self.waiting) / self.blobs if self.blobs and self.connections else None
        )
