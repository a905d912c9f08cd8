"""A limit on bytes a second, shared by all connections of one transport."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ds3tool.errors import UsageError

# After an oversleep, or a pause, so much is made up for at most.
_CREDIT_SECONDS = 0.1
_LARGEST_STEP = 8 * 1024 * 1024


class RateLimit:
    """Lets `rate` bytes a second through, however many threads ask.

    Each taker is given its place in time and sleeps until then; a burst of at most a tenth of a second's bytes
    passes at once, and none at the start. `step` is the largest sensible piece: small against a second's bytes, so that
    the rate is even, and no smaller than a rate is worth it at which each piece costs.
    """

    def __init__(
        self,
        rate: int,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if rate <= 0:
            raise UsageError(f"a rate of {rate} bytes a second would never move anything")
        self.rate = rate
        # A twentieth of a second: a taker that sleeps cannot be woken, so its turn has to be short. Of high rates,
        # four milliseconds.
        self.step = max(16, min(rate // 20, max(256 * 1024, rate // 250), _LARGEST_STEP))
        self._monotonic = monotonic
        self._sleep = sleep
        self._lock = threading.Lock()
        self._free_at: float | None = None

    def reserve(self, count: int) -> float:
        """Return in how many seconds `count` more bytes may pass, which they are taken to do; 0 or less is now."""
        with self._lock:
            now = self._monotonic()
            begin = now if self._free_at is None else max(self._free_at, now - _CREDIT_SECONDS)
            self._free_at = begin + count / self.rate
            return self._free_at - now

    def take(self, count: int) -> None:
        """Return when `count` more bytes may pass."""
        wait = self.reserve(count)
        if wait > 0:
            self._sleep(wait)
