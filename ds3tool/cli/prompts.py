"""Questions to the person: asked on stderr, never where nobody can answer."""

from __future__ import annotations

import sys

from ds3tool.cli.escapes import printable
from ds3tool.cli.settings import Settings
from ds3tool.errors import UsageError


def can_ask() -> bool:
    """Whether somebody sits at stdin; python has none where the caller closed it."""
    return sys.stdin is not None and sys.stdin.isatty()


def confirm(question: str, settings: Settings) -> None:
    """Return when the answer is yes (or `--yes` was given); raise UsageError for any other, or without a terminal."""
    if settings.assume_yes:
        return
    if not can_ask():
        raise UsageError(f"{question} There is no terminal to answer on, so nothing was done", hint="add --yes")
    if ask(f"{question} [y/N]").lower() not in ("y", "yes"):
        raise UsageError("not confirmed, so nothing was done")


def ask(question: str) -> str:
    """Return the line a person types; empty at the end of input."""
    sys.stderr.write(printable(question) + " ")
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def ask_secret(question: str) -> str:
    """Return a secret: typed without echo on a terminal, else the next line of stdin."""
    if can_ask():
        import getpass

        return getpass.getpass(printable(question) + " ", stream=sys.stderr).strip()
    if sys.stdin is None:
        raise UsageError("a secret was to come on stdin, and stdin is closed")
    return sys.stdin.readline().strip()
