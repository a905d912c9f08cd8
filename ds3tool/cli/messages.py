"""What is said to the person on stderr: notes, warnings, and how a failure is put."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from ds3tool.cli.escapes import printable
from ds3tool.errors import Ds3Error
from ds3tool.sizes import format_duration

_SAY_AGAIN_SECONDS = 60.0


def note(text: str, *, quiet: bool) -> None:
    """Say something useful, unless silence was asked for."""
    if not quiet:
        _say(text)


def warn(text: str) -> None:
    """Say something that must be read even where silence was asked for."""
    _say(f"ds3tool: warning: {text}")


class RetryNotes:
    """Says that a request failed and is repeated: at once, and again each minute while the reason stays the same."""

    def __init__(self, *, max_retry_seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._patience = format_duration(max_retry_seconds)
        self._said = ""
        self._said_at = 0.0

    def __call__(self, error: Ds3Error, seconds: float) -> None:
        """Tell of `error`, and that it is asked again in `seconds`, unless that was done a moment ago."""
        now = self._monotonic()
        if error.message == self._said and now - self._said_at < _SAY_AGAIN_SECONDS:
            return
        self._said, self._said_at = error.message, now
        from ds3tool.transport.retry import asked_for  # needed only once something failed

        if asked_for(error):
            how_long = f"asking again in {format_duration(seconds)}, as the appliance wishes"
        else:
            how_long = f"trying again, for up to {self._patience} without an answer (--max-retry-time)"
        warn(f"{error.message}; {how_long}")


def complain(error: Ds3Error) -> None:
    """Say what failed, and the way out where one is known."""
    _say(f"ds3tool: {error.message}")
    if error.hint:
        _say(f"hint: {error.hint}")


def _say(text: str) -> None:
    try:
        sys.stderr.write(printable(text) + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        # Nobody reads stderr any more; the exit code still tells the truth.
        return
