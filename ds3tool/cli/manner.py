"""How `resume` goes on with works: what it was given, and where files are when their own place is not meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ds3tool.cli import transfer
from ds3tool.jobs.engine import EngineSettings
from ds3tool.lazy_dataclass import dataclass

if TYPE_CHECKING:
    from ds3tool.transport.ratelimit import RateLimit


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Where the files are, or go, of a work whose own place is not known, or not meant: what `resume` was given."""

    source: str | None = None
    target: str | None = None
    strip_prefix: str | None = None


@dataclass(frozen=True, slots=True)
class Manner:
    """How works are gone on with: what `resume` was given.

    `wait` None is as the work was begun. `anew`: what somebody has cancelled or truncated is planned anew, since its
    work was named.
    """

    engine: EngineSettings
    limit: RateLimit | None = None
    wait: transfer.WaitFor | None = None
    stop_on_error: bool = False
    place: Elsewhere = Elsewhere()
    anew: bool = False
