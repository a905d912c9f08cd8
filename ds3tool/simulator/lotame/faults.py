"""What goes wrong with Lotame and its bucket now and then, each by name, with a rate and a seed, or just so many times.

Whether a fault strikes is decided by the seed, the fault, what it would strike (a request's path) and how often that
came before: the second GET of one file ends the same way whatever other requests came first.
"""

from __future__ import annotations

import hashlib
import threading
from enum import StrEnum
from typing import Self

from ds3tool.errors import UsageError


class LotameFault(StrEnum):
    """One thing that goes wrong. Those of `api-` strike questions, those of `s3-` reads of the bucket."""

    what: str
    exposes: str

    def __new__(cls, name: str, what: str, exposes: str) -> Self:
        """Make the fault `name`: `what` happens, and the mistake of a client that this `exposes`."""
        fault = str.__new__(cls, name)
        fault._value_ = name
        fault.what = what
        fault.exposes = exposes
        return fault

    API_401 = ("api-401", "401 with JSON: the token is over", "reading every answer as the one hoped for")
    API_403_JSON = ("api-403-json", "403 with JSON: the access key is wrong", "the same")
    API_403_HTML = ("api-403-html", "403 with the page of a firewall", "calling every 403 a matter of the token")
    API_REDIRECT = ("api-redirect", "302 to another host", "taking the token there")
    API_429 = ("api-429", "429 with Retry-After", "asking again at once, or never")
    API_500 = ("api-500", "500 with a web page", "giving up at the first failure")
    API_NO_FEEDS = ("api-no-feeds", "200 with JSON that has no `feeds`", "a KeyError in place of a sentence")
    API_TRUNCATED = ("api-truncated", "200 with half of the JSON", "the same")
    API_HTML_200 = ("api-html-200", "200 with the sign-in page of a proxy", "the same")
    API_WRONG_TYPES = ("api-wrong-types", "200 with a text where a list should be", "walking a text letter by letter")
    API_CUT = ("api-cut", "The connection ends in the middle of the answer", "taking a part for the whole")
    API_NO_ANSWER = ("api-no-answer", "The connection is reset before any answer", "giving up at once")
    API_SLOW = ("api-slow", "The answer comes in ten steps, with pauses", "a limit on the time of a whole answer")
    S3_EXPIRED = ("s3-expired", "The credentials are over before their time", "believing `expiration`")
    S3_MISSING = ("s3-missing", "404 for a file that was listed", "ending the run, or hiding the gap")
    S3_SLOW_DOWN = ("s3-slow-down", "503 SlowDown", "taking it for a refusal")
    S3_CUT = ("s3-cut", "The connection ends in the middle of a file's bytes", "archiving a part as the whole")
    S3_RESET = ("s3-reset", "The connection is reset before any answer", "giving up at once")
    S3_SLOW = ("s3-slow", "A file's bytes come in ten steps, with pauses", "a limit on the time of a whole file")


_BY_NAME = {fault.value: fault for fault in LotameFault}


class LotameFaults:
    """The faults while the simulation runs. Every method may be called from any thread."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._lock = threading.Lock()
        self._rates: dict[LotameFault, float] = {}
        self._most: dict[LotameFault, int] = {}
        self._struck: dict[LotameFault, int] = {}
        self._turns: dict[tuple[LotameFault, str], int] = {}

    def set(self, name: str, rate: float, *, most: int | None = None) -> None:
        """Let a fault strike that share of what it can strike, `most` times at most; UsageError for no such fault."""
        if name not in _BY_NAME:
            raise UsageError(f"there is no fault {name!r}", hint=f"the faults are: {', '.join(_BY_NAME)}")
        if not 0.0 <= rate <= 1.0:
            raise UsageError(f"the rate of {name} is {rate}", hint="a rate is between 0 and 1, as in 0.05")
        fault = _BY_NAME[name]
        with self._lock:
            self._rates[fault] = rate
            self._most.pop(fault, None)
            if most is not None:
                self._most[fault] = most

    def once(self, name: str, times: int = 1) -> None:
        """Let a fault strike the next thing that it can strike, or the next few."""
        self.set(name, 1.0, most=times)

    def clear(self) -> None:
        """Let nothing strike any more; what was counted stays."""
        with self._lock:
            self._rates.clear()
            self._most.clear()

    def struck(self, name: str) -> int:
        """Return how often a fault has struck."""
        with self._lock:
            return self._struck.get(_BY_NAME[name], 0)

    def strike(self, fault: LotameFault, subject: str) -> bool:
        """Decide whether a fault strikes `subject` this time; counted when it does."""
        with self._lock:
            rate = self._rates.get(fault, 0.0)
            left = self._most.get(fault)
            if not rate or left == 0:
                return False
            turn = self._turns.get((fault, subject), 0)
            self._turns[fault, subject] = turn + 1
            drawn = hashlib.blake2b(f"{self._seed} {fault} {turn} {subject}".encode(), digest_size=6).digest()
            if int.from_bytes(drawn, "big") / 2**48 >= rate:
                return False
            if left is not None:
                self._most[fault] = left - 1
            self._struck[fault] = self._struck.get(fault, 0) + 1
            return True
