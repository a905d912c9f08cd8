"""How many requests are worth having on their way at once: more, while answers are waited for and more come of it."""

from __future__ import annotations

# A loop that is blocked for a smaller share of its time than this is itself the limit: more lanes would serve nobody.
_BLOCKED_SHARE = 0.5
# Twice the lanes must bring so many times the answers, else the other side has no more to give.
_WORTH = 1.2
_GROWTH = 2


class LaneCount:
    """Decides, and measures nothing itself. From `lanes` up to `most` of them.

    A count is judged by as many answers as there are lanes, that is by about one round trip of each: so the right count
    is found within a few of these, be they of a millisecond or of a second.
    """

    def __init__(self, lanes: int, most: int) -> None:
        self.lanes = lanes
        self._most = most
        self._rate_before = 0.0
        self._begin()

    def _begin(self) -> None:
        self._answers = 0
        self._seconds = self._blocked = 0.0

    def passed(self, seconds: float, *, blocked: float, answers: int, full: bool) -> int:
        """Take what has happened since the last call, and return how many lanes there should be from now on.

        Of these `seconds`, so many were `blocked`: nothing had come. `full`: each of the lanes had its request, so that
        another one would have had one too.
        """
        if self.lanes >= self._most:
            return self.lanes
        if not full:
            self._begin()
            return self.lanes
        self._seconds += seconds
        self._blocked += blocked
        self._answers += answers
        if self._answers < self.lanes or self._seconds <= 0:
            return self.lanes
        rate, waits = self._answers / self._seconds, self._blocked >= _BLOCKED_SHARE * self._seconds
        self._begin()
        if not waits:
            return self.lanes
        if rate < _WORTH * self._rate_before:
            self._most = self.lanes  # the last of them were of no use, and more would not be either
        else:
            self._rate_before = rate
            self.lanes = min(self._most, _GROWTH * self.lanes)
        return self.lanes
