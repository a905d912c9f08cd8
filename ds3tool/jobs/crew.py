"""How many workers move large blobs at once: more are tried, and stay as long as they make it faster."""

from __future__ import annotations

from dataclasses import field

from ds3tool.lazy_dataclass import dataclass

# After a change, connections need a moment to come to their speed; then it is measured.
_SETTLE_SECONDS = 1.0
_MEASURE_SECONDS = 1.0
# Twice as many workers are worth it when they move so much more. Where each connection is held up by distance they move
# twice as much; where the wire, a disk or a processor is full, no more.
_WORTH = 1.2
# A trial that failed is repeated after so long, and after ever longer.
_PAUSE_SECONDS = 30.0
_LONGEST_PAUSE_SECONDS = 600.0


@dataclass(slots=True)
class Crew:
    """Begins with `size` workers and goes up to `most`. Pure: it is told the time and what was moved.

    While all workers are busy and more is waiting, the rate is measured; then twice as many are tried. If they are
    `_WORTH` it, they stay, and twice as many are tried again; else the number is what it was, for some time.
    """

    size: int
    most: int
    _before: tuple[int, float] | None = None
    _begun: tuple[float, int] | None = None
    _settled_at: float | None = None
    _pause: float = _PAUSE_SECONDS
    _next_trial_at: float = field(default=float("-inf"))

    def observe(self, now: float, moved: int, *, busy: bool) -> int:
        """Return how many workers there are to be from now on.

        `moved` grows with whatever is moved, in any unit; `busy`: every worker has something, and more is waiting. A
        moment that is not busy begins the measuring anew. To be called several times a second.
        """
        if self.size >= self.most and self._before is None:
            return self.size
        if not busy:
            self._begun = self._settled_at = None
            return self.size
        if self._settled_at is None:
            self._settled_at = now + _SETTLE_SECONDS
        if self._begun is None:
            if now >= self._settled_at:
                self._begun = (now, moved)
            return self.size
        passed = now - self._begun[0]
        if passed >= _MEASURE_SECONDS:
            self._judge(now, (moved - self._begun[1]) / passed)
        return self.size

    def end_trials(self, most: int) -> None:
        """No more than so many can be had, and no more are tried."""
        self.most = most
        self._before = None
        self._change(min(self.size, most))

    def _judge(self, now: float, rate: float) -> None:
        self._begun = None
        if self._before is not None:
            size, before = self._before
            self._before = None
            if rate < _WORTH * before:
                self._change(size)
                self._next_trial_at = now + self._pause
                self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
                return
            self._pause = _PAUSE_SECONDS
        if rate and self.size < self.most and now >= self._next_trial_at:
            self._before = (self.size, rate)
            self._change(min(2 * self.size, self.most))

    def _change(self, size: int) -> None:
        self.size = size
        self._settled_at = None
