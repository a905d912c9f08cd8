"""Whether to ask again, and after how long: pure decisions, driven through tenacity only once something failed."""

from __future__ import annotations

import logging
import math
import random
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

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

if TYPE_CHECKING:
    import tenacity

_log = logging.getLogger(__name__)
T = TypeVar("T")

_LONGEST_BACKOFF_SECONDS = 60.0
# 307 means "not yet": the appliance has held the request for a while already, so the next may follow soon.
_LONGEST_RETRY_LATER_SECONDS = 10.0


def seconds_before_retry(error: Ds3Error, attempt: int, *, idempotent: bool) -> float | None:
    """Return how long to wait after failure number `attempt` (from 1), without jitter; None: do not ask again.

    The appliance's own Retry-After wins. A request that may have been carried out is only repeated when
    repeating does no harm.
    """
    if isinstance(error, RetryLaterError):
        if error.retry_after_seconds is not None:
            return error.retry_after_seconds
        return min(_LONGEST_RETRY_LATER_SECONDS, 0.1 * 2.0 ** min(attempt - 1, 10))
    if isinstance(error, BusyError):
        if error.retry_after_seconds is not None:
            return error.retry_after_seconds
        return _backoff(attempt, first=1.0)
    if isinstance(error, (TlsError, ProxyRefusedError)):
        return None
    if isinstance(error, TransportError):
        return _backoff(attempt, first=0.25) if idempotent or not error.may_have_arrived else None
    if isinstance(error, ApplianceError) and (
        error.status in {408, 429} or (error.status in {500, 502, 504} and idempotent)
    ):
        return error.retry_after_seconds if error.retry_after_seconds is not None else _backoff(attempt, first=1.0)
    return None


def _backoff(attempt: int, *, first: float) -> float:
    return min(_LONGEST_BACKOFF_SECONDS, first * 2.0 ** min(attempt - 1, 16))


def asked_for(error: Ds3Error) -> bool:
    """Whether the wait after `error` is the appliance's own wish, and so no sign that it is gone."""
    return isinstance(error, ApplianceError) and error.retry_after_seconds is not None


class Retries:
    """Repeats a call that failed, for as long as the budget allows.

    `budget_seconds` bounds the time from the first failure, less the waits the appliance asked for, and less what
    a try takes beyond `idle_seconds`: without a byte moving it would not have lasted so long, so a large body that
    breaks off after hours has not used up anything. `stopped` ends a wait and the repeating at once.
    """

    def __init__(
        self, *, clock: Clock, budget_seconds: float, idle_seconds: float = math.inf, seed: int | None = None
    ) -> None:
        self._clock = clock
        self._budget = budget_seconds
        self._idle = idle_seconds
        self._random = random.Random(seed)  # noqa: S311  # jitter needs no secrecy

    def go_on(
        self,
        call: Callable[[], T],
        first: Ds3Error,
        *,
        idempotent: bool,
        stopped: threading.Event,
        retry_busy: bool = True,
        on_wait: Callable[[Ds3Error, float], None] | None = None,
    ) -> T:
        """Return what `call` returns after its first try raised `first`; raises the last failure when time is up.

        A failure that is not worth repeating is raised as it comes, `first` too.
        """
        if stopped.is_set() or not _worth_repeating(first, idempotent=idempotent, retry_busy=retry_busy):
            raise first
        import tenacity

        pending: list[Ds3Error] = [first]
        last = first
        started = self._clock.monotonic()
        excused = 0.0

        def attempt() -> T:
            nonlocal excused
            if pending:
                raise pending.pop()
            begun = self._clock.monotonic()
            try:
                return call()
            finally:
                excused += max(0.0, self._clock.monotonic() - begun - self._idle)

        def worth_repeating(error: BaseException) -> bool:
            return (
                isinstance(error, Ds3Error)
                and not stopped.is_set()
                and _worth_repeating(error, idempotent=idempotent, retry_busy=retry_busy)
            )

        def wait(state: tenacity.RetryCallState) -> float:
            error = _failure(state)
            seconds = seconds_before_retry(error, state.attempt_number, idempotent=idempotent) or 0.0
            return seconds if asked_for(error) else seconds * (0.5 + self._random.random() / 2)

        def spent(state: tenacity.RetryCallState) -> bool:
            waited = 0.0 if asked_for(_failure(state)) else state.upcoming_sleep
            return self._clock.monotonic() - started - excused + waited > self._budget

        def before_sleep(state: tenacity.RetryCallState) -> None:
            nonlocal excused, last
            error = last = _failure(state)
            if asked_for(error):
                excused += state.upcoming_sleep
            _log.info("asking again in %.1f s (failure %d): %s", state.upcoming_sleep, state.attempt_number, error)
            if on_wait is not None:
                on_wait(error, state.upcoming_sleep)

        def sleep(seconds: float) -> None:
            if self._clock.wait(stopped, seconds):
                raise last

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(worth_repeating),
            wait=wait,
            stop=spent,
            sleep=sleep,
            before_sleep=before_sleep,
            reraise=True,
        )
        return retrying(attempt)


def _worth_repeating(error: Ds3Error, *, idempotent: bool, retry_busy: bool) -> bool:
    if not retry_busy and isinstance(error, (BusyError, RetryLaterError)):
        return False
    return seconds_before_retry(error, 1, idempotent=idempotent) is not None


def _failure(state: tenacity.RetryCallState) -> Ds3Error:
    error = state.outcome.exception() if state.outcome is not None else None
    assert isinstance(error, Ds3Error)
    return error
