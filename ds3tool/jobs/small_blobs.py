"""The blobs that go through the loop for small requests: taken in batches, each brought to its end."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from ds3tool.errors import Ds3Error
from ds3tool.jobs.decisions import Decision, after_small_try
from ds3tool.transport.replies import ReplyHead
from ds3tool.transport.shapes import AnswerHead

_log = logging.getLogger(__name__)

# What is through is told in one go: so many, or what has gathered for so long.
_GATHERED = 64
_GATHER_SECONDS = 0.02
# So many requests are to be ready when the next round of answers comes: none of it waits for their making.
_AHEAD = 16
# What was made ahead is made anew after so long: there is a date in each, which is signed.
_STALE_SECONDS = 30.0


class SmallMover(Protocol):
    """What makes a small blob's request, and reads its answer."""

    def small_request(self, number: int) -> bytes | None:
        """Return the request; None for a blob that must go another way."""
        ...

    def small_requests(self, numbers: Iterable[int]) -> Sequence[bytes]:
        """Return requests for the first of these, for as many as can be made now; `small_request` looks at the next."""
        ...

    def small_answer(self, number: int, head: AnswerHead, body: memoryview) -> str | None:
        """Take the successful reply to it; return the digest."""
        ...

    def small_lost(self, number: int) -> None:
        """Nobody knows what became of the request."""
        ...


class SmallBlobs:
    """What one loop works on. `take` gives a batch of blobs' numbers, none when there are none now.

    `moved` is told of blobs that are through, with their digests, dozens at a time; `failed` of one that cannot be
    done; `careful` of one that got no plain answer, with the reason if any: it is tried again by whoever has the
    patience.
    """

    def __init__(
        self,
        mover: SmallMover,
        *,
        take: Callable[[], Sequence[int]],
        moved: Callable[[Sequence[int], Sequence[str | None]], None],
        failed: Callable[[int, Ds3Error], None],
        careful: Callable[[int, Ds3Error | None], None],
    ) -> None:
        self._mover = mover
        self._take = take
        self._moved = moved
        self._failed = failed
        self._careful = careful
        # Those of which the requests are made come before the others.
        self._taken: deque[int] = deque()
        self._made: deque[tuple[int, bytes]] = deque()
        self._made_at = 0.0
        self._through: list[int] = []
        self._checksums: list[str | None] = []
        self._told_at = 0.0

    def add(self, numbers: Sequence[int]) -> None:
        """Take a batch whose turn is after what is left."""
        self._taken.extend(numbers)

    def __len__(self) -> int:
        return len(self._taken) + len(self._made)

    def take(self) -> tuple[int, bytes] | None:
        """Return a blob's number and its whole request."""
        if self._made:
            return self._made.popleft()
        while True:
            if not self._taken:
                self._tell()
            self._make()
            if self._made:
                return self._made.popleft()
            if not self._taken:
                return None
            number = self._taken.popleft()
            try:
                request = self._mover.small_request(number)
            except Ds3Error as error:
                self._failed(number, error)
                continue
            if request is not None:
                return number, request
            self._careful(number, None)

    def _make(self) -> None:
        """Make requests ahead, as far as the mover does so."""
        if not self._taken:
            self.add(self._take())
            if not self._taken:
                return
        requests = self._mover.small_requests(self._taken)
        if requests:
            if not self._made:
                self._made_at = time.monotonic()
            next_one = self._taken.popleft
            self._made.extend([(next_one(), request) for request in requests])

    def answered(self, token: int, head: AnswerHead, body: memoryview) -> None:
        """Take a successful reply."""
        try:
            checksum = self._mover.small_answer(token, head, body)
        except Ds3Error as error:
            _log.info("blob %d is tried again: %s", token, error)
            self._careful(token, error)
        else:
            self._through.append(token)
            self._checksums.append(checksum)
            if len(self._through) >= _GATHERED:
                self._tell()

    def rest(self, now: float) -> None:
        """Tell of what is through, unless more is soon to come."""
        if now - self._told_at >= _GATHER_SECONDS:
            self._told_at = 0.0 if now == math.inf else now
            self._tell()
        if self._made and now - self._made_at > _STALE_SECONDS:
            self._taken.extendleft([number for number, _ in reversed(self._made)])
            self._made.clear()
        elif len(self._made) < _AHEAD and now != math.inf:
            self._make()

    def _tell(self) -> None:
        if self._through:
            through, self._through = self._through, []
            checksums, self._checksums = self._checksums, []
            self._moved(through, checksums)

    def failed(self, token: int, error: Ds3Error | None, head: ReplyHead | None) -> None:
        """Let the careful path try it again, and say so when nobody knows what became of it."""
        _log.debug("blob %d is tried again: %s", token, error or (head.status if head else None))
        if after_small_try(error, head.status if head is not None else None) is Decision.ASK_FIRST:
            self._mover.small_lost(token)
        self._careful(token, error)

    def give_back(self) -> None:
        """Let the careful path have what was taken and not sent."""
        taken = [*(number for number, _ in self._made), *self._taken]
        self._made.clear()
        self._taken.clear()
        for number in taken:
            self._careful(number, None)
