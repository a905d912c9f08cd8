"""The sheet: one line a case, with what was expected, what was seen, and the verdict."""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum

from ds3tool.lazy_dataclass import dataclass


class Verdict(StrEnum):
    """What came of a case."""

    PASS = "pass"  # noqa: S105 - a verdict
    FAIL = "fail"
    NOT_APPLICABLE = "n/a"


class UnexpectedError(Exception):
    """Something other than what a case expects was seen; the message says what."""


class NotApplicableError(Exception):
    """A case has no meaning here, or cannot be tried; the message says why."""


@dataclass(frozen=True, slots=True)
class Line:
    """One case's line: its number from 1, its name, a sentence of what is expected, what was seen, seconds it took."""

    number: int
    name: str
    expected: str
    seen: str
    verdict: Verdict
    seconds: float


@dataclass(slots=True)
class Sheet:
    """All lines of one run. `left` says, a sentence each, what could not be cleaned up, or was to be left."""

    endpoint: str
    bucket: str
    seed: int
    lines: list[Line] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def count(self, verdict: str) -> int:
        """Return how many lines have this verdict, a `Verdict` or its word."""
        return sum(line.verdict == verdict for line in self.lines)

    @property
    def passed(self) -> bool:
        """Whether no line has failed."""
        return not self.count(Verdict.FAIL)
