"""Whether to send a request again, and when: a pure decision, driven through tenacity only once something failed."""

from __future__ import annotations

import functools
import logging
import math
import threading
from collections.abc import Callable
from dataclasses import field
from typing import TYPE_CHECKING, Generic, TypeVar

from ds3tool.clock import Clock
from ds3tool.errors import (
    ApplianceError,
    BusyError,
    Ds3Error,
    ProxyRefusedError,
    RetryLaterError,
    TlsError,
    TransportError,
)
from ds3tool.lazy_dataclass import dataclass

if TYPE_CHECKING:
    from random import Random

    import tenacity

_log = logging.getLogger(__name__)
T = TypeVar("T")

_LONGEST_BACKOFF_SECONDS = 60.0
# 307 means "not yet": the appliance has held the request for a while already, so the next may follow soon.
_LONGEST_RETRY_LATER_SECONDS = 10.0
# A wish of 0 is kept once; after that it is what a broken appliance says, and nobody may ask in a circle.
_LONGEST_AT_ONCE_SECONDS = 1.0
# A long wait is told of again this often.
_TELL_EVERY_SECONDS = 60.0


# -- the decision -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AgainAtOnce:
    """Send it again without a wait."""


@dataclass(frozen=True, slots=True)
class AgainAfter:
    """Send it again after `seconds`; `asked_for`: the appliance's own wish, and so no sign that it is gone."""

    seconds: float
    asked_for: bool = False


@dataclass(frozen=True, slots=True)
class AskFirst:
    """Whether it was carried out is not known: after `seconds`, ask; send it again only when it was not."""

    seconds: float
    asked_for: bool = False


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It would end the same way again, or somebody else knows better what to do: raise it."""


Decision = AgainAtOnce | AgainAfter | AskFirst | GiveUp


def after_failure(error: Ds3Error, attempt: int, *, harmless: bool, busy_is_answer: bool = False) -> Decision:
    """Decide what follows on failure number `attempt` (from 1) of a request.

    `harmless`: carrying it out twice does no more than once, so nobody need ask what became of it. `busy_is_answer`:
    for the caller, having to wait is an answer. Waits are without jitter. The appliance's own Retry-After wins.

    ==============================================  =========================  ==============================
    what happened                                   harmless when repeated     not harmless
    ==============================================  =========================  ==============================
    never arrived: name lookup, connect, a          after 1/4 s, doubling      the same
    handshake that broke off, a body cut off
    may have arrived: reset, timeout, short read    after 1/4 s, doubling      ask first, after 1/4 s, doubling
    307                                             as wished, else after      the same
                                                    0.1 s, doubling to 10 s
    408, 429, 503: not begun, says the appliance    as wished, else after 1 s  the same
    307, 503, where busy is an answer               give up                    give up
    500, 502, 504: perhaps carried out              as wished, else after 1 s  ask first, after the same
    a certificate or cipher that is refused, a      give up                    give up
    proxy that says no, any other refusal (400,
    403, 404, 409, 410, ...), an answer that
    breaks the protocol, source, target, digest
    ==============================================  =========================  ==============================

    Doubling ends at a minute. Names that "are not known" are looked up again as well: at night it is more often the
    resolver that is at fault than the spelling, and whoever misspelt is told of it at once.
    """
    if isinstance(error, (TlsError, ProxyRefusedError)):
        return GiveUp()
    if isinstance(error, TransportError):
        seconds = _backoff(attempt, first=0.25)
        return AgainAfter(seconds) if harmless or not error.may_have_arrived else AskFirst(seconds)
    if not isinstance(error, ApplianceError) or (busy_is_answer and isinstance(error, (BusyError, RetryLaterError))):
        return GiveUp()
    if isinstance(error, RetryLaterError):
        return _as_wished(error, attempt, min(_LONGEST_RETRY_LATER_SECONDS, _backoff(attempt, first=0.1)))
    again = _as_wished(error, attempt, _backoff(attempt, first=1.0))
    if error.status in {408, 429, 503} or (error.status in {500, 502, 504} and harmless):
        return again
    if error.status in {500, 502, 504}:
        return AskFirst(0.0) if isinstance(again, AgainAtOnce) else AskFirst(again.seconds, again.asked_for)
    return GiveUp()


def _as_wished(error: ApplianceError, attempt: int, otherwise: float) -> AgainAtOnce | AgainAfter:
    wish = error.retry_after_seconds
    if wish is None:
        return AgainAfter(otherwise)
    if wish:
        return AgainAfter(wish, asked_for=True)
    return AgainAtOnce() if attempt == 1 else AgainAfter(min(_LONGEST_AT_ONCE_SECONDS, _backoff(attempt, first=0.05)))


def _backoff(attempt: int, *, first: float) -> float:
    return min(_LONGEST_BACKOFF_SECONDS, first * 2.0 ** min(attempt - 1, 16))


def asked_for(error: Ds3Error) -> bool:
    """Whether the wait after `error` is the appliance's own wish."""
    decision = after_failure(error, 1, harmless=True)
    return isinstance(decision, AgainAfter) and decision.asked_for


# -- carried out ------------------------------------------------------------------------------------------------------


class Retries:
    """Repeats a call that failed, for as long as the budget allows.

    `budget_seconds` bounds the time from the first failure, less the waits the appliance asked for, and less what
    a try takes beyond `idle_seconds`: without a byte moving it would not have lasted so long, so a large body that
    breaks off after hours has not used up anything. `stopped` ends a wait and the repeating at once.
    """

    def __init__(
        self, *, clock: Clock, budget_seconds: float, idle_seconds: float = math.inf, seed: int | None = None
    ) -> None:
        self.clock = clock
        self.budget_seconds = budget_seconds
        self.idle_seconds = idle_seconds
        self._seed = seed

    @functools.cached_property
    def random(self) -> Random:
        """Where jitter comes from; made at the first failure."""
        from random import Random

        return Random(self._seed)  # noqa: S311  # jitter needs no secrecy

    def go_on(
        self,
        call: Callable[[], T],
        first: Ds3Error,
        *,
        idempotent: bool,
        stopped: threading.Event,
        retry_busy: bool = True,
        ask: Callable[[], T | None] | None = None,
        on_wait: Callable[[Ds3Error, float], None] | None = None,
        come_to: Callable[[], object] | None = None,
    ) -> T:
        """Return what `call` returns after its first try raised `first`; raises the last failure when time is up.

        A failure that is not worth repeating is raised as it comes, `first` too. `ask` is called before `call` is
        repeated when the one before may have been carried out: it returns the outcome, or None when it was not, and
        what it raises is a failure like those of `call`. Without it such a call is repeated where it is `idempotent`,
        else given up. `on_wait` is told the reason and the seconds of each wait, and each minute what is left of it.
        `come_to` tells how far the tries have come: after one that changed it, budget and waits are those of a first
        failure.
        """
        course = _Course(
            self,
            call,
            ask,
            idempotent and ask is None,
            not retry_busy,
            stopped,
            on_wait or _tell_nobody,
            first,
            come_to or _nowhere,
        )
        return course.run()


def _tell_nobody(_error: Ds3Error, _seconds: float) -> None:
    return


def _nowhere() -> object:
    return None


@dataclass(slots=True)
class _Course(Generic[T]):
    """How the repeating of one call goes: it decides by `after_failure`, and tenacity carries it out."""

    retries: Retries
    call: Callable[[], T]
    ask: Callable[[], T | None] | None
    harmless: bool
    busy_is_answer: bool
    stopped: threading.Event
    on_wait: Callable[[Ds3Error, float], None]
    last: Ds3Error
    come_to: Callable[[], object] = _nowhere
    place: object = None
    # How many tries failed before the one after which nothing has come any more.
    before: int = 0
    decision: Decision = field(default_factory=GiveUp)
    begun: bool = False
    unsure: bool = False
    excused: float = 0.0
    started: float = field(init=False)

    def __post_init__(self) -> None:
        self.started = self.retries.clock.monotonic()
        self.place = self.come_to()
        self.decision = self._decide(self.last, 1)

    def run(self) -> T:
        if self.stopped.is_set() or isinstance(self.decision, GiveUp):
            raise self.last
        import tenacity

        retrying = tenacity.Retrying(
            retry=self._goes_on,
            wait=self._wait_seconds,
            stop=self._is_spent,
            sleep=self._sleep,
            before_sleep=self._before_sleep,
            reraise=True,
        )
        return retrying(self._attempt)

    def _decide(self, error: Ds3Error, attempt: int) -> Decision:
        decision = after_failure(error, attempt, harmless=self.harmless, busy_is_answer=self.busy_is_answer)
        if isinstance(decision, AskFirst) and self.ask is None:
            return GiveUp()
        return decision

    def _attempt(self) -> T:
        if not self.begun:  # the first failure is there already
            self.begun = True
            raise self.last
        clock, begun = self.retries.clock, self.retries.clock.monotonic()
        try:
            if self.unsure and self.ask is not None:
                outcome = self.ask()
                if outcome is not None:
                    return outcome
                self.unsure = False
            return self.call()
        finally:
            self.excused += max(0.0, clock.monotonic() - begun - self.retries.idle_seconds)

    # -- what tenacity calls, in this order ------------------------------------------------------------------------

    def _goes_on(self, state: tenacity.RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome is not None else None
        if not isinstance(error, Ds3Error) or self.stopped.is_set():
            return False
        self.last = error
        place = self.come_to()
        if place != self.place:
            self.place, self.before = place, state.attempt_number - 1
            self.started, self.excused = self.retries.clock.monotonic(), 0.0
        self.decision = self._decide(error, state.attempt_number - self.before)
        # Once it is not known what became of a try, only asking settles it, whatever the tries after it meet.
        self.unsure = self.unsure or isinstance(self.decision, AskFirst)
        return not isinstance(self.decision, GiveUp)

    def _wait_seconds(self, _: tenacity.RetryCallState) -> float:
        decision = self.decision
        if not isinstance(decision, (AgainAfter, AskFirst)):
            return 0.0
        return decision.seconds if decision.asked_for else decision.seconds * (0.5 + self.retries.random.random() / 2)

    def _is_spent(self, state: tenacity.RetryCallState) -> bool:
        retries = self.retries
        waited = 0.0 if self._is_asked_for else state.upcoming_sleep
        return retries.clock.monotonic() - self.started - self.excused + waited > retries.budget_seconds

    @property
    def _is_asked_for(self) -> bool:
        return isinstance(self.decision, (AgainAfter, AskFirst)) and self.decision.asked_for

    def _before_sleep(self, state: tenacity.RetryCallState) -> None:
        if self._is_asked_for:
            self.excused += state.upcoming_sleep
        _log.info("again in %.1f s (failure %d): %s", state.upcoming_sleep, state.attempt_number, self.last)

    def _sleep(self, seconds: float) -> None:
        """Wait in steps, so that whoever watches is told again what for."""
        if self.stopped.is_set():
            raise self.last
        while seconds > 0:
            self.on_wait(self.last, seconds)
            step = min(seconds, _TELL_EVERY_SECONDS)
            if self.retries.clock.wait(self.stopped, step):
                raise self.last
            seconds -= step
