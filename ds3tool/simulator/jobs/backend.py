"""What the settings of the data path say about jobs: whether new ones are taken, how many, what Retry-After tells."""

from __future__ import annotations

from ds3tool.simulator.clock import Clock, client_seconds
from ds3tool.simulator.records.beans import Beans, Fields
from ds3tool.simulator.settings import ApplianceSettings
from ds3tool.simulator.wire.refusals import busy

# Defaults of a new appliance. Source: the contract's type DataPathBackend.
MAX_CONCURRENT_JOBS = 40_000
MAX_AGGREGATED_BLOBS = 20_000


class Backend:
    """The one bean of the data path as jobs see it: what was set in it, else what the appliance was built with."""

    def __init__(self, beans: Beans, settings: ApplianceSettings, clock: Clock) -> None:
        self._beans = beans
        self._settings = settings
        self._clock = clock
        self._known: tuple[int, Fields] = (-1, {})

    def _fields(self) -> Fields:
        changes = self._beans.changes("DataPathBackend")
        if self._known[0] != changes:
            self._known = (changes, next(iter(self._beans.all("DataPathBackend")), {}))
        return self._known[1]

    def _number(self, name: str, default: int) -> int:
        value = self._fields().get(name)
        return default if value is None else int(value)

    @property
    def retry_after(self) -> int:
        """Seconds that clients are told to wait: the bean's once they have been set, else the appliance's own.

        They are the appliance's time, of which clients that live slower get fewer seconds told.
        """
        seconds = self._number("CacheAvailableRetryAfterInSeconds", self._settings.retry_after)
        return client_seconds(self._clock, seconds)

    @property
    def most_aggregated_blobs(self) -> int:
        """How many blobs a chunk of an aggregating job may hold."""
        return max(1, self._number("MaxAggregatedBlobsPerChunk", MAX_AGGREGATED_BLOBS))

    def admit(self, active: int) -> None:
        """Raise a 503 when no job may begin beside `active` others."""
        if self._fields().get("Activated") is False:
            raise busy("The data path is not activated.", self.retry_after)
        if self._fields().get("AllowNewJobRequests") is False:
            raise busy("New jobs are not allowed at present.", self.retry_after)
        most = self._number("MaxNumberOfConcurrentJobs", MAX_CONCURRENT_JOBS)
        if active >= most:
            raise busy(f"{active} jobs are in progress, and no more than {most} may be.", self.retry_after)
