"""What goes wrong with an appliance and its network now and then, each by name, with a rate and a seed.

Quirks are what an appliance is like all the time; faults strike. Whether one does is decided by the seed, the fault,
what it would strike (a request's verb and path, say) and how often that came before, and by nothing else: the second
GET of one blob ends the same way whichever thread asks for it, and whatever other requests came first.
"""

from __future__ import annotations

import hashlib
import logging
import math
import secrets
import threading
import zlib
from array import array
from collections.abc import Iterable
from enum import StrEnum
from typing import Self

from ds3tool.errors import UsageError
from ds3tool.lazy_dataclass import dataclass

_log = logging.getLogger(__name__)

# How often something came is counted in so many places, by a hash of what it is: memory stays small, and only what
# falls into one place takes its turns in the order in which it came.
_PLACES = 1 << 14


class Fault(StrEnum):
    """One thing that goes wrong. None spoils what was acknowledged, but for those whose sentence says so."""

    what: str
    exposes: str

    def __new__(cls, name: str, what: str, exposes: str) -> Self:
        """Make the fault `name`: `what` happens, and the mistake of a client that this `exposes`."""
        fault = str.__new__(cls, name)
        fault._value_ = name
        fault.what = what
        fault.exposes = exposes
        return fault

    RESET_BEFORE_REPLY = (
        "reset-before-reply",
        "A request's connection is reset before anything is done",
        "giving up at the first broken connection",
    )
    LOST_REPLY = (
        "lost-reply",
        "A blob is stored or counted as read, a job created, and the connection cut before the answer",
        "sending twice, creating twice, or taking no answer for a no",
    )
    RESET_IN_BODY = (
        "reset-in-body",
        "The connection is reset in the middle of a body, sent or received",
        "taking a part for the whole",
    )
    SHORT_GET = (
        "short-get",
        "An object's bytes end early, and the connection is closed as if all were well",
        "taking the end of a connection for the end of a body",
    )
    CORRUPT_GET = (
        "corrupt-get",
        "One bit of an object's bytes is flipped on their way to the client",
        "not holding what comes against its digest",
    )
    CORRUPT_PUT = (
        "corrupt-put",
        "One bit of a blob is flipped on its way in; one with a digest is refused, one without is stored so",
        "sending without digests, or not reading the digest in the reply",
    )
    CORRUPT_MEDIA = (
        "corrupt-media",
        "One bit of a blob changes on tape, which spoils what was acknowledged; found when it is loaded or verified",
        "believing for ever what was true once",
    )
    UNCHECKED_LOAD = (
        "unchecked-load",
        "A damaged copy is loaded from tape unseen, and served with the digest of what was stored",
        "leaving the check to the appliance",
    )
    SLOW = ("slow", "A body comes or goes in twenty steps, with pauses", "a limit on the time of a whole request")
    STALL = (
        "stall",
        "Nothing more is heard: before the request is carried out, after that, or in the middle of a body",
        "waiting without a limit",
    )
    BUSY_503 = ("busy-503", "503 with Retry-After", "clients that never ask again, or at once")
    BUSY_503_NO_HEADER = ("busy-503-no-header", "503 without Retry-After", "reading a header that is not there")
    REDIRECT_307 = (
        "redirect-307",
        "307 without a Location, for what moves blobs and makes jobs: the same request may be sent again",
        "following a redirect, or sending the rest of a body as the whole",
    )
    ERROR_500 = (
        "error-500",
        "500, and half of the requests that get it were carried out",
        "taking an error for a request that was not carried out",
    )
    HTML_ERROR = (
        "html-error",
        "502 with the page of a proxy; half of the requests that get it were carried out",
        "reading every answer as the appliance's",
    )
    CACHE_FULL = (
        "cache-full",
        "There is no room in the cache for a chunk, or for an object without a job",
        "taking a wait for a failure",
    )
    CHUNK_OUT_OF_ORDER = (
        "chunk-out-of-order",
        "Some of the chunks that are ready are offered, in any order, and so their blobs",
        "working through a list from its top",
    )
    CHUNK_TWICE = (
        "chunk-twice",
        "Chunks are offered twice in one answer, with those that the last one offered, as they were then",
        "sending twice",
    )
    JOB_CANCELLED = (
        "job-cancelled",
        "A job is cancelled by a person at some point of its progress; of a put, what is not on tape goes with it",
        "sending to a job that is gone, and making anew what a person has ended",
    )
    JOB_EXPIRED = (
        "job-expired",
        "A job is cancelled by the idle timer at some point of its progress, as job-cancelled is",
        "giving up what could be made anew",
    )
    CLOCK_SKEW = (
        "clock-skew",
        "403: the appliance's clock is an hour ahead, and its Date says so",
        "calling every 403 a lack of permission",
    )
    NODE_CHANGE = (
        "node-change",
        "Chunks are on another node than before, which cannot be reached, and the connection is closed",
        "following the node of a chunk",
    )
    NOTICE_TWICE = (
        "notice-twice",
        "A notification that was delivered is sent once more",
        "a receiver that counts notifications, or starts its work with each",
    )
    NOTICE_LATE = (
        "notice-late",
        "A notification waits for up to a minute before it is sent, so that later ones come first",
        "a receiver that takes the order of notifications for that of events",
    )
    NOTICE_LOST_REPLY = (
        "notice-lost-reply",
        "The receiver's answer to a notification is lost, so that it counts as failed and is tried again",
        "a receiver that takes its own answer for the end of it",
    )


_BY_NAME = {fault.value: fault for fault in Fault}
NAMES = tuple(_BY_NAME)


@dataclass(frozen=True, slots=True)
class FaultRate:
    """How often a fault strikes: a share from 0 to 1 of what it can strike, and `most` times at most (None: no limit).

    Of `job-cancelled` and `job-expired` the share is one of jobs, of `cache-full` one of tries to find room, of
    `corrupt-media` one of blobs written to tape, of the three of notices one of notices; of all others, of the requests
    that the fault can strike.
    """

    fault: Fault
    rate: float
    most: int | None = None

    def __post_init__(self) -> None:
        """Refuse what is no share, or no number of times."""
        if not 0.0 <= self.rate <= 1.0 or math.isnan(self.rate):
            raise UsageError(f"the rate of {self.fault} is {self.rate}", hint="a rate is between 0 and 1, as in 0.05")
        if self.most is not None and self.most < 0:
            raise UsageError(f"{self.fault} cannot strike {self.most} times")


@dataclass(frozen=True, slots=True)
class FaultState:
    """A fault as it is now: `most` times are left (None: no limit), `struck` times it has."""

    fault: Fault
    rate: float
    most: int | None
    struck: int


@dataclass(frozen=True, slots=True)
class Strike:
    """One strike, and two numbers from 0 to below 1 that the seed chose for it: where, and which way."""

    place: float
    choice: float

    def position(self, length: int) -> int:
        """Return a position below `length`, a number of bytes above 0."""
        return min(int(self.place * length), length - 1)

    @property
    def bit(self) -> int:
        """The value of one bit of a byte."""
        return 1 << int(self.choice * 8)

    @property
    def heads(self) -> bool:
        """One of two ways."""
        return self.choice < 0.5


def fault_named(name: str) -> Fault:
    """Return a fault; UsageError when there is none of that name."""
    if name not in _BY_NAME:
        raise UsageError(f"there is no fault {name!r}", hint=f"the faults are: {', '.join(NAMES)}")
    return _BY_NAME[name]


def parse_rates(texts: Iterable[str]) -> tuple[FaultRate, ...]:
    """Return what `NAME=RATE[:MOST][,...]` texts say; UsageError for what they cannot mean. The last of a name counts.

    `lost-reply=0.05` strikes one request of twenty, `job-expired=1:2` the first two jobs.
    """
    found: dict[Fault, FaultRate] = {}
    for text in texts:
        for item in filter(None, (part.strip() for part in text.split(","))):
            one = _parse_rate(item)
            found[one.fault] = one
    return tuple(found.values())


def _parse_rate(item: str) -> FaultRate:
    name, equals, value = item.partition("=")
    fault = fault_named(name.strip())
    rate, colon, most = value.partition(":")
    try:
        return FaultRate(fault, float(rate), int(most) if colon else None)
    except ValueError:
        what = f"{item!r} does not say how often" if not equals else f"{item!r} is no rate of a fault"
        raise UsageError(what, hint=f"write it like {fault}=0.05, or {fault}=1:2 for twice at most") from None


class Faults:
    """The faults of one appliance while it runs. Every method may be called from any thread.

    `active` is False while all rates are 0; it may be read without ado. `changes` grows with each change of a rate.
    """

    def __init__(self, rates: Iterable[FaultRate] = (), *, seed: int | None = None) -> None:
        """Begin with `rates`; without a seed one is made up, which `seed` tells."""
        self.seed = secrets.randbits(32) if seed is None else seed
        self.active = False
        self.changes = 0
        self._lock = threading.Lock()
        self._rates: dict[Fault, float] = {}
        self._most: dict[Fault, int] = {}
        self._struck: dict[Fault, int] = {}
        self._turns: dict[Fault, array[int]] = {}
        for each in rates:
            self.set(each.fault, each.rate, most=each.most)

    def set(self, fault: str, rate: float, *, most: int | None = None) -> None:
        """Let `fault` (or its name) strike at `rate` from now on, `most` times at most; UsageError for no such."""
        self.apply([FaultRate(fault_named(fault), rate, most)])

    def apply(self, rates: Iterable[FaultRate]) -> None:
        """Set several rates at once; the others stay as they are."""
        with self._lock:
            for each in rates:
                self._rates[each.fault] = each.rate
                self._most.pop(each.fault, None)
                if each.most is not None:
                    self._most[each.fault] = each.most
                self._turns.setdefault(each.fault, array("L", bytes(array("L").itemsize * _PLACES)))
            self._changed()

    def clear(self) -> None:
        """Let nothing strike any more; what was counted stays."""
        with self._lock:
            self._rates.clear()
            self._most.clear()
            self._changed()

    def rewind(self) -> None:
        """Begin anew, as a new appliance of the same seed does: the rates stay, what was counted goes."""
        with self._lock:
            for turns in self._turns.values():
                turns[:] = array("L", bytes(turns.itemsize * _PLACES))
            self._struck.clear()
            self._changed()

    def _changed(self) -> None:
        self.changes += 1
        self.active = any(self._rates.values())

    def rate(self, fault: str) -> float:
        """Return how often a fault strikes."""
        with self._lock:
            return self._rates.get(fault_named(fault), 0.0)

    def struck(self, fault: str) -> int:
        """Return how often a fault has struck."""
        with self._lock:
            return self._struck.get(fault_named(fault), 0)

    def states(self) -> list[FaultState]:
        """Return every fault as it is now."""
        with self._lock:
            return [
                FaultState(fault, self._rates.get(fault, 0.0), self._most.get(fault), self._struck.get(fault, 0))
                for fault in Fault
            ]

    # Striking.

    def strike(self, fault: Fault, subject: str) -> Strike | None:
        """Decide whether a fault strikes `subject` this time; counted when it does."""
        strike = self.draw(fault, subject)
        return strike if strike is not None and self.take(fault, subject) else None

    def draw(self, fault: Fault, subject: str) -> Strike | None:
        """Decide as `strike` does, and leave the counting to `take`, when it comes to it."""
        if not self.active:
            return None
        name = subject.encode("utf-8", "surrogatepass")
        with self._lock:
            rate = self._rates.get(fault, 0.0)
            if not rate or self._most.get(fault) == 0:
                return None
            turns, place = self._turns[fault], zlib.crc32(name) % _PLACES
            turn = turns[place]
            turns[place] = turn + 1
        drawn = hashlib.blake2b(b"%d %s %d " % (self.seed, fault.value.encode(), turn) + name, digest_size=24).digest()
        decision, where, way = (int.from_bytes(drawn[start : start + 6], "big") / 2**48 for start in (0, 8, 16))
        return Strike(where, way) if decision < rate else None

    def take(self, fault: Fault, subject: str) -> bool:
        """Count a strike, and log it; False when the fault may not strike any more."""
        with self._lock:
            left = self._most.get(fault)
            if left == 0 or not self._rates.get(fault):
                return False
            if left is not None:
                self._most[fault] = left - 1
            self._struck[fault] = self._struck.get(fault, 0) + 1
        _log.debug("%s strikes: %s", fault, subject)
        return True
