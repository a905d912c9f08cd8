"""Which names, sizes and ages are wanted: what `--include`, `--exclude`, `--newer` and the like mean; a leaf."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from datetime import UTC, datetime

from ds3tool.errors import UsageError
from ds3tool.lazy_dataclass import dataclass
from ds3tool.sizes import parse_duration, quoted


@dataclass(frozen=True, slots=True)
class Filter:
    """Accepts an object by its name below what was asked for, its size in bytes and its time of modification.

    A name must match one of `include`, where there is any, and none of `exclude`. Times are nanoseconds since 1970:
    wanted is what was modified at or after `newer_ns` and before `older_ns`; sizes from `min_size` to `max_size`.
    """

    include: NamePattern | None = None
    exclude: NamePattern | None = None
    newer_ns: int | None = None
    older_ns: int | None = None
    min_size: int | None = None
    max_size: int | None = None

    @property
    def is_empty(self) -> bool:
        """Whether everything is accepted."""
        return self == Filter()

    def accepts(self, name: str, *, size: int, modified_ns: int | None) -> bool:
        """Whether the object is wanted. One of which the time is not known is neither newer nor older."""
        if self.include is not None and not self.include.matches(name):
            return False
        if self.exclude is not None and self.exclude.matches(name):
            return False
        if self.min_size is not None and size < self.min_size:
            return False
        if self.max_size is not None and size > self.max_size:
            return False
        if self.newer_ns is not None and (modified_ns is None or modified_ns < self.newer_ns):
            return False
        return self.older_ns is None or (modified_ns is not None and modified_ns < self.older_ns)

    def excludes_folder(self, name: str) -> bool:
        """Whether everything below the folder `name` (with or without its slash) is excluded, so nobody need look."""
        return self.exclude is not None and self.exclude.matches_all_below(name)


class NamePattern:
    """Several patterns of which one has to match.

    In a pattern `*` stands for any text, slashes too, `?` for one character, `[...]` for one of several. A pattern
    without a slash may match the last part of a name alone (`*.tmp`, `.DS_Store`); one that begins with a slash
    matches from the start only; one that ends in a slash means everything below a folder of that name.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(patterns)
        expressions = [_expression(pattern) for pattern in self.patterns]
        self._names = _any_of(expression for expression, _ in expressions)
        self._folders = _any_of(expression for expression, below in expressions if below)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NamePattern) and other.patterns == self.patterns

    def __hash__(self) -> int:
        return hash(self.patterns)

    def __repr__(self) -> str:
        return f"NamePattern({self.patterns!r})"

    def matches(self, name: str) -> bool:
        """Whether one of the patterns means `name`, which is relative and may end in a slash."""
        return self._names.fullmatch(name) is not None

    def matches_all_below(self, folder: str) -> bool:
        """Whether one of the patterns means everything below `folder`, by naming a folder or ending in `/*`."""
        return self._folders.fullmatch(folder.rstrip("/") + "/") is not None


def _expression(pattern: str) -> tuple[str, bool]:
    """Return the regular expression of a pattern, and whether what it matches it matches with all that is below."""
    anchored, text = pattern.startswith("/"), pattern.removeprefix("/")
    if not text:
        raise UsageError(f"{pattern!r} is not a pattern", hint="write it like '*.tmp', 'logs/*.gz' or 'cache/'")
    anywhere = "" if anchored else "(?s:.*/)?"
    if text.endswith("/"):
        folder = text.rstrip("/")
        return f"{anywhere if '/' not in folder else ''}{_translated(folder)}/(?s:.*)", True
    start = anywhere if "/" not in text else ""
    return f"{start}{_translated(text)}/?", text == "*" or text.endswith("/*")


def _translated(pattern: str) -> str:
    # What fnmatch makes is `(?s:...)` and an anchor for the end, which only the whole expression needs.
    return fnmatch.translate(pattern).removesuffix("\\Z").removesuffix("\\z")


def _any_of(expressions: Iterable[str]) -> re.Pattern[str]:
    joined = "|".join(expressions)
    return re.compile(joined or "(?!)")


def parse_moment(text: str, *, now_ns: int) -> int:
    """Return the nanoseconds since 1970 that `text` means: an age before `now_ns` (`7d`, `12h`) or a date.

    Dates are ISO 8601, `2024-01-31` or `2024-01-31T18:00`, in UTC unless they name an offset. UsageError otherwise.
    """
    if re.fullmatch(r"\d{4}-.*", text.strip()):
        try:
            moment = datetime.fromisoformat(text.strip())
        except ValueError as error:
            raise UsageError(
                f"{quoted(text)} is not a date", hint="write it like 2024-01-31 or 2024-01-31T18:00"
            ) from error
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        since = moment - datetime(1970, 1, 1, tzinfo=UTC)
        return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000
    try:
        seconds = parse_duration(text)
    except UsageError as error:
        raise UsageError(
            f"{quoted(text)} is neither an age nor a date", hint="write it like 7d, 12h or 2024-01-31"
        ) from error
    return now_ns - round(seconds * 1e9)
