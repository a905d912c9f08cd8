"""What was had of Lotame's feeds: how far each was archived, and which files, for one destination.

A run asks for what is new since the watermark less an overlap; what it was told is noted (`asked`), each file that is
safely archived too (`had`), and the watermark moves to when the question was answered once every file of the answer
is (`advance`). A run that is late asks for more, one that failed in part leaves the watermark where it was, and files
that come twice are known by feed, name and ETag.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

from ds3tool.clock import Clock
from ds3tool.lotame.model import Updates

# A file may be published somewhat later than the hour that it is of, and clocks differ.
OVERLAP = timedelta(hours=3)


@dataclass(frozen=True, slots=True)
class HadFile:
    """A file that is archived: its feed, its name as Lotame lists it, and the ETag that S3 had for it."""

    feed_id: int
    file: str
    etag: str


class Watermarks:
    """What one destination has of all feeds; nobody else may change it until `close`. Any thread may call any method.

    Each change is safe on the disk, whole or not at all, when its method returns.
    """

    @classmethod
    def open(
        cls,
        state: str | os.PathLike[str],
        destination: str,
        *,
        overlap: timedelta = OVERLAP,
        clock: Clock | None = None,
    ) -> Watermarks:
        """Open what stands in `state`/lotame of a destination (`ds3://bucket/lotame/`, a folder's path).

        LockedError when another run has it; ConfigError when nothing can be kept there, JournalError when it is
        damaged or the disk full.
        """
        raise NotImplementedError

    def since(self, feed_id: int) -> datetime | None:
        """Return since when to ask for a feed: its watermark less the overlap; None for a feed never had."""
        raise NotImplementedError

    def watermark(self, feed_id: int) -> datetime | None:
        """Return up to when all of a feed is archived; None for a feed never had."""
        raise NotImplementedError

    def asked(self, updates: Updates) -> None:
        """Note an answer: its files are now what must be had, for each feed in it, before that feed's mark moves."""
        raise NotImplementedError

    def recall(self, feed_id: int, file: str, etag: str) -> bool:
        """Return whether this very file was archived before; then it counts as had for the last answer as well."""
        raise NotImplementedError

    def had(self, files: Iterable[HadFile]) -> None:
        """Note files that are safely archived now; once more does no harm."""
        raise NotImplementedError

    def outstanding(self, feed_id: int) -> list[str]:
        """Return the files of a feed's last answer that are not had yet, in order of their names."""
        raise NotImplementedError

    def advance(self, feed_id: int) -> bool:
        """Move a feed's watermark to when its last answer was given; return whether it stands there.

        It does not move while a file of that answer is outstanding, nor where the question left a gap behind the
        watermark, nor backwards. What was had long before the watermark is forgotten.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Let others have it; may be called twice."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        """Return this."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let others have it."""
        self.close()
