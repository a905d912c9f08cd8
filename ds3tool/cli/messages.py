"""What is said to the person on stderr: notes, warnings, and how a failure is put."""

from __future__ import annotations

import sys

from ds3tool.cli.escapes import printable
from ds3tool.errors import Ds3Error


def note(text: str, *, quiet: bool) -> None:
    """Say something useful, unless silence was asked for."""
    if not quiet:
        _say(text)


def warn(text: str) -> None:
    """Say something that must be read even where silence was asked for."""
    _say(f"ds3tool: warning: {text}")


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
