"""Keys as Firehose gives them, by its own rules, written apart from what reads them; and hours full of objects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

FORMS = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H"}
HIVE = "year=!{timestamp:yyyy}/month=!{timestamp:MM}/day=!{timestamp:dd}/hour=!{timestamp:HH}"


@dataclass(frozen=True)
class Stream:
    """A delivery stream: what names its objects. `prefix` may hold `!{timestamp:...}` expressions."""

    name: str = "clicks"
    version: int = 1
    prefix: str = ""
    error_prefix: str = ""
    extension: str = ""

    def key(self, at: datetime, number: int = 0, *, error: str | None = None, local: datetime | None = None) -> str:
        """Return the key of an object whose oldest record arrived at `at` (UTC); `local` is that in its time zone."""
        prefix = self.prefix if error is None else self.error_prefix
        prefix = prefix.replace("!{firehose:error-output-type}", error or "")
        if "!{timestamp:" not in prefix:
            prefix += "!{timestamp:yyyy}/!{timestamp:MM}/!{timestamp:dd}/!{timestamp:HH}/"
        for word, form in FORMS.items():
            prefix = prefix.replace("!{timestamp:" + word + "}", (local or at).strftime(form).zfill(len(word)))
        stamp = at.strftime("%Y-%m-%d-%H-%M-%S")
        return f"{prefix}{self.name}-{self.version}-{stamp}-{UUID(int=number)}{self.extension}"

    def hour(self, at: datetime, count: int, *, error: str | None = None) -> Iterator[str]:
        """Yield the keys of an hour that was delivered in so many objects."""
        for number in range(count):
            yield self.key(at + timedelta(hours=1) / count * number, number, error=error)
