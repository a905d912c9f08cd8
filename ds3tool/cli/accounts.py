"""Sources that are closed when they were read, and those that keep account of what was archived of them."""

from __future__ import annotations

from contextlib import AbstractContextManager, closing, nullcontext
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from ds3tool.jobs.ends import Source
    from ds3tool.jobs.journal import Journal
    from ds3tool.jobs.run import RunResult


# Kinds of what is put whose sources keep account.
_KEEP_ACCOUNT = frozenset({"lotame"})


@runtime_checkable
class Closable(Protocol):
    """What holds something that it must give back."""

    def close(self) -> None:
        """Give it back."""
        ...


@runtime_checkable
class Accounting(Protocol):
    """A source that remembers what was archived of it, and does not list that again."""

    def close(self) -> None:
        """Give back what it holds; that may be done before `account`, and is done after it."""
        ...

    def account(self, journal: Journal, result: RunResult) -> None:
        """Note what the work of `journal` has archived by now; what cannot be noted is told in the result's notes."""
        ...


def held(source: Source) -> AbstractContextManager[Source]:
    """Return the context in which a source is read; it is closed at the end, where it can be."""
    return closing(source) if isinstance(source, Closable) else nullcontext(source)


def account(source: Source, journal: Journal, result: RunResult) -> None:
    """Let a source that keeps account know what its work has archived: at the end of all waiting, before `settle`."""
    if isinstance(source, Accounting):
        with closing(source):
            source.account(journal, result)


def account_resumed(journal: Journal, result: RunResult) -> None:
    """Do the same for a work that an earlier process has begun."""
    asked = journal.head.asked
    if not _KEEP_ACCOUNT.isdisjoint(asked):
        from ds3tool.cli.put_kinds import puttable_of

        account(puttable_of(asked).source(), journal, result)
