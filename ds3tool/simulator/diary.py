"""What the appliance did lately: the requests it answered, and what its robot, drives and operator did.

Requests are counted by operation and status for as long as the appliance runs. Of both kinds the latest are kept one by
one, in memory alone: it is for looking on, and a restart begins a new one. Memory: some 400 bytes a request, some 200
a deed, for the numbers below. With the seed it tells why something happened: the same seed and the same requests, one
after the other, have the same ids, faults and shuffles.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Any, NamedTuple

from ds3tool.simulator.wire.http import Answered

KEPT_REQUESTS = 10_000
KEPT_DEEDS = 10_000
# A path may be as long as a request's head; of a longer one, its beginning tells enough.
_PATH_LETTERS = 500


class RequestEntry(NamedTuple):
    """One request: `at` is the appliance's time of its end, `status` 0 where no answer went out.

    `seconds` are real ones from its head to the last byte of its answer, `received` and `sent` the bytes of bodies;
    `whole` is False when the answer broke off. `operation` is empty where it was refused before that was known.
    """

    n: int
    at: float
    user: str
    verb: str
    path: str
    operation: str
    status: int
    seconds: float
    received: int
    sent: int
    whole: bool

    @property
    def document(self) -> dict[str, Any]:
        """Return it as the controls tell it."""
        return {
            "n": self.n,
            "at": self.at,
            "kind": "request",
            "user": self.user or None,
            "verb": self.verb,
            "path": self.path,
            "operation": self.operation or None,
            "status": self.status or None,
            "milliseconds": round(self.seconds * 1000, 3),
            "received": self.received,
            "sent": self.sent,
            "whole": self.whole,
        }


class DeedEntry(NamedTuple):
    """Something that was done: by whom (`drive SIMDRIVE001`, `robot`, `operator`), and a few words.

    `seconds` are those of the appliance's clock that it took, None where it took none worth telling.
    """

    n: int
    at: float
    by: str
    what: str
    tape: str | None
    seconds: float | None

    @property
    def document(self) -> dict[str, Any]:
        """Return it as the controls tell it."""
        return {
            "n": self.n,
            "at": self.at,
            "kind": "deed",
            "by": self.by,
            "what": self.what,
            "tape": self.tape,
            "seconds": self.seconds,
        }


Entry = RequestEntry | DeedEntry


class Diary:
    """The diary of one appliance. Every method may be called from any thread, with or without the store's lock.

    Writing takes a lock of its own, and that for less than a microsecond; nobody waits while he holds it.
    """

    def __init__(self, *, requests: int = KEPT_REQUESTS, deeds: int = KEPT_DEEDS) -> None:
        # Taken by itself where something is written: entering it by way of the condition costs as much again.
        self._lock = threading.Lock()
        self._written = threading.Condition(self._lock)
        # The fields of entries; entries are made of them when somebody reads.
        self._requests: deque[tuple[Any, ...]] = deque(maxlen=requests)
        self._deeds: deque[DeedEntry] = deque(maxlen=deeds)
        self._counts: dict[tuple[str, int], int] = {}
        self._last = 0
        self._waiting = 0
        self._closed = False

    def answered(self, done: Answered, *, at: float) -> None:
        """Note a request that has come to its end, at `at` by the appliance's clock."""
        request, status, seconds, received, sent, whole = done
        user = verb = path = operation = ""
        if request is not None:
            user, verb, path, operation = request.user, request.verb, request.target.path, request.operation
            if len(path) > _PATH_LETTERS:
                path = path[:_PATH_LETTERS] + "..."
        kind, counts = (operation, status), self._counts
        with self._lock:
            self._last = n = self._last + 1
            counts[kind] = counts.get(kind, 0) + 1
            self._requests.append((n, at, user, verb, path, operation, status, seconds, received, sent, whole))
            if self._waiting:
                self._written.notify_all()

    def deed(self, by: str, what: str, *, at: float, tape: str | None = None, seconds: float | None = None) -> None:
        """Note that `by` did `what`, at `at` by the appliance's clock: `drive SIMDRIVE001`, `mounted`."""
        with self._written:
            self._last += 1
            self._deeds.append(DeedEntry(self._last, at, by, what, tape, seconds))
            if self._waiting:
                self._written.notify_all()

    def counts(self) -> dict[tuple[str, int], int]:
        """Return how many requests there were by operation (empty: none known) and status (0: no answer went out)."""
        with self._written:
            return dict(self._counts)

    @property
    def last(self) -> int:
        """The number of the newest entry, 0 before the first."""
        with self._written:
            return self._last

    def after(self, n: int, *, most: int) -> list[Entry]:
        """Return the first `most` entries that are kept of those after number `n`, the oldest first."""
        with self._lock:
            requests, deeds = _newer(self._requests, n), _newer(self._deeds, n)
        return list(islice(_merged(requests, deeds), most))

    def latest(self, most: int) -> list[Entry]:
        """Return the newest `most` entries, the oldest of them first."""
        if most <= 0:
            return []
        with self._lock:
            requests, deeds = _last(self._requests, most), _last(self._deeds, most)
        return list(_merged(requests, deeds))[-most:]

    def wait(self, n: int, timeout: float) -> None:
        """Return when there is an entry after number `n`, when `timeout` seconds have passed, or at `close`."""
        deadline = time.monotonic() + timeout
        with self._written:
            self._waiting += 1
            try:
                while self._last <= n and not self._closed and (left := deadline - time.monotonic()) > 0:
                    self._written.wait(left)
            finally:
                self._waiting -= 1

    def close(self) -> None:
        """Let nobody wait any more; what is written can still be read."""
        with self._written:
            self._closed = True
            self._written.notify_all()


def _newer(entries: deque[Any], n: int) -> list[Any]:
    found = []
    for entry in reversed(entries):
        if entry[0] <= n:
            break
        found.append(entry)
    found.reverse()
    return found


def _last(entries: deque[Any], most: int) -> list[Any]:
    found = list(islice(reversed(entries), most))
    found.reverse()
    return found


def _merged(requests: Iterable[tuple[Any, ...]], deeds: Iterable[DeedEntry]) -> Iterable[Entry]:
    return heapq.merge(map(RequestEntry._make, requests), deeds, key=lambda entry: entry.n)
