"""A limit on bytes a second, shared by all connections of one transport."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ds3tool.errors import UsageError


class RateLimit:
    """Lets `rate` bytes a second through, however many threads ask.

    Each taker is given its place in time and sleeps until then; a burst of at most a tenth of a second's bytes
    passes at once. `step` is the largest sensible piece: small against a second's bytes, so that the rate is even.
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
        # A twentieth of a second: a taker that sleeps cannot be woken, so its turn has to be short.
        self.step = max(16, min(256 * 1024, rate // 20))
        self._monotonic = monotonic
        self._sleep = sleep
        self._lock = threading.Lock()
        self._free_at = monotonic()

    def take(self, count: int) -> None:
        """Return when `count` more bytes may pass."""
        with self._lock:
            now = self._monotonic()
            self._free_at = max(self._free_at, now - 0.1) + count / self.rate
            wait = self._free_at - now
        if wait > 0:
            self._sleep(wait)
