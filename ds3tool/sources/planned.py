"""What a saved plan lists as a source: opened by the source that listed it, and held to what it was then."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ds3tool.errors import Ds3Error
from ds3tool.jobs.distant_ends import ArchivingSource
from ds3tool.jobs.ends import Failure, OpenObject, PlainReader, PlainSource, Source, SourceObject


class PlannedSource:
    """The objects that `listed` yields, in its order at each call; `source` opens them and is not walked."""

    def __init__(self, source: Source, listed: Callable[[], Iterator[SourceObject]]) -> None:
        self._source = source
        self._listed = listed
        self.failures: list[Failure] = []
        self.skipped: list[str] = []

    @property
    def sequential(self) -> bool:
        """As the source is."""
        return self._source.sequential

    @property
    def distant(self) -> bool:
        """As the source is."""
        return self._source.distant

    @property
    def notes(self) -> list[str]:
        """What the source has to say of what was opened: attributes that had no room."""
        return self._source.notes

    def objects(self) -> Iterator[SourceObject]:
        """Yield what the plan lists."""
        return self._listed()

    def open(self, item: SourceObject) -> OpenObject:
        """Open an object of the plan; SourceError when it is gone, or not what was planned."""
        return self._source.open(item)

    def plain_reader(self) -> PlainReader | None:
        """Return the source's own: it holds what it reads to what was listed, which is what was planned."""
        return self._source.plain_reader() if isinstance(self._source, PlainSource) else None

    def unreadable(self, item: SourceObject) -> Ds3Error | None:
        """Return why an object of the plan cannot be read now, as the source says."""
        return self._source.unreadable(item) if isinstance(self._source, ArchivingSource) else None
