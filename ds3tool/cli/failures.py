"""Failures that only the command line knows: nothing found, and some of many gone wrong."""

from __future__ import annotations

from ds3tool.cli.output import Field
from ds3tool.errors import Ds3Error
from ds3tool.lazy_dataclass import dataclass


class NothingThereError(Ds3Error):
    """An address names nothing on the appliance."""

    exit_code = 4
    code = "NotFound"


class NothingDoneError(Ds3Error):
    """There was nothing to do, where that was to be an error: `--error-if-nothing`."""

    exit_code = 9
    code = "NothingToDo"


class SomeFailedError(Ds3Error):
    """The command went through all it was given, and some of it failed; the result lists which."""

    exit_code = 3
    code = "SomeFailed"


@dataclass(frozen=True, slots=True)
class Failure:
    """One thing that a command over several could not do. `missing` when it was not there."""

    key: str
    error: str
    missing: bool = False


def failures_of(failures: tuple[Failure, ...]) -> list[dict[str, str]]:
    """Return failures as results list them: `key` and `error`."""
    return [{"key": failure.key, "error": failure.error} for failure in failures]


FAILURE_FIELDS: list[Field[Failure]] = [
    Field("key", lambda failure: failure.key),
    Field("error", lambda failure: failure.error),
]


def judged(failures: tuple[Failure, ...], *, done: int, what: str) -> Ds3Error | None:
    """Return the error that a run with these failures ends in: not found when nothing else came of it.

    `what` names the work in a sentence, as in "could not be removed". None when nothing failed.
    """
    if not failures:
        return None
    named = f"{failures[0].key}: {failures[0].error}"
    if not done and all(failure.missing for failure in failures):
        return NothingThereError(named if len(failures) == 1 else f"none of {len(failures)} is there; {named}")
    many = "" if len(failures) == 1 else f"; the first: {named}"
    one = named if len(failures) == 1 else f"{len(failures):,} {what}"
    return SomeFailedError(one + many)
