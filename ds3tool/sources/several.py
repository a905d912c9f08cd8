"""Several sources as one: what `put A B C` puts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ds3tool.errors import Ds3Error
from ds3tool.jobs.distant_ends import ArchivingSource
from ds3tool.jobs.ends import Failure, OpenObject, PlainReader, PlainSource, Source, SourceObject
from ds3tool.jobs.put_planner import PlacedSource
from ds3tool.jobs.source_blocks import BlockSource, SourceBlock, in_blocks
from ds3tool.protocol.metadata import HeaderLines


class SeveralSources:
    """The objects of each source, one source after the other. A source's own names are led by its number."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = tuple(sources)

    @property
    def sequential(self) -> bool:
        """Whether one of them can be read only once."""
        return any(source.sequential for source in self._sources)

    @property
    def distant(self) -> bool:
        """Whether one of them is on another host."""
        return any(source.distant for source in self._sources)

    def objects(self) -> Iterator[SourceObject]:
        """Yield every object of every source."""
        for block in self.blocks():
            yield from block

    def blocks(self) -> Iterator[SourceBlock]:
        """Yield the same in blocks, each of one source."""
        for number, source in enumerate(self._sources):
            tag = b"%d:" % number
            blocks = source.blocks() if isinstance(source, BlockSource) else in_blocks(source.objects())
            for block in blocks:
                block.names = [tag + name for name in block.names]
                yield block

    @property
    def failures(self) -> list[Failure]:
        """What could not be listed, of all of them."""
        return [failure for source in self._sources for failure in source.failures]

    @property
    def skipped(self) -> list[str]:
        """What was left out on purpose, of all of them."""
        return [sentence for source in self._sources for sentence in source.skipped]

    @property
    def notes(self) -> list[str]:
        """What else a person should know, of all of them."""
        return [sentence for source in self._sources for sentence in source.notes]

    def place(self, name: bytes) -> str:
        """Return where the source that listed the object has it."""
        number, _, own = name.partition(b":")
        source = self._sources[int(number)]
        return source.place(own) if isinstance(source, PlacedSource) else os.fsdecode(own)

    def open(self, item: SourceObject) -> OpenObject:
        """Open an object through the source that listed it."""
        source, own = self._own(item)
        return source.open(own)

    def plain_reader(self) -> SeveralReaders | None:
        """Return what reads small objects through the sources' own quick ways; None where no source has any."""
        readers = [source.plain_reader() if isinstance(source, PlainSource) else None for source in self._sources]
        return SeveralReaders(readers) if any(reader is not None for reader in readers) else None

    def unreadable(self, item: SourceObject) -> Ds3Error | None:
        """Return why an object cannot be read now, as the source that listed it says."""
        source, own = self._own(item)
        return source.unreadable(own) if isinstance(source, ArchivingSource) else None

    def _own(self, item: SourceObject) -> tuple[Source, SourceObject]:
        number, _, name = item.name.partition(b":")
        return self._sources[int(number)], replace(item, name=name)


class SeveralReaders:
    """The quick ways of several sources, None for one that has none; for one thread. One at a time holds anything."""

    def __init__(self, readers: Sequence[PlainReader | None]) -> None:
        self._readers = readers
        self._last: PlainReader | None = None

    def read(self, name: bytes, size: int, modified_ns: int, inode: int) -> tuple[bytes, HeaderLines | None] | None:
        """Return what the source that listed the object reads of it."""
        number, _, own = name.partition(b":")
        reader = self._readers[int(number)]
        if reader is not self._last:
            self.close()
            self._last = reader
        return None if reader is None else reader.read(own, size, modified_ns, inode)

    def close(self) -> None:
        """Give back what is held. Twice is harmless."""
        last, self._last = self._last, None
        if last is not None:
            last.close()
