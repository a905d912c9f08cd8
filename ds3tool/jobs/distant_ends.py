"""What a source's object on another host does beside what every source object does: `Source.distant` says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from ds3tool.errors import Ds3Error
from ds3tool.jobs.ends import SourceObject
from ds3tool.protocol.model import ObjectHead


@runtime_checkable
class DistantObject(Protocol):
    """An open object of which each reading is a request: it gives a range as it comes, once."""

    def blocks(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield exactly the bytes of a range, in blocks of at most 1 MiB, for a blob that is to be put.

        Each call is a reading of its own, from the range's start. Where the other host vouches for the object, its
        word is held against what has passed before the last block of the last range comes: SourceError when they
        differ, and when the object has changed. FarSideUnreachableError and FarSideDeniedError as they are met.
        """
        ...

    def abort(self) -> None:
        """Make readings end soon, now and from now on, with an error. From any thread."""
        ...

    def forget(self, *, moved: bool) -> None:
        """All blobs of the object are put (`moved`), or it is given up: let go of what is kept from blob to blob."""
        ...


@runtime_checkable
class ArchivingSource(Protocol):
    """A source of which some objects can be listed and compared, and not read before somebody has had them restored."""

    def unreadable(self, item: SourceObject) -> Ds3Error | None:
        """Return why an object's bytes cannot be had now; None where nothing is known against it.

        Raises FarSideUnreachableError and FarSideDeniedError.
        """
        ...


@runtime_checkable
class StatedObject(Protocol):
    """An open object whose host states what it is, so that it can be compared without being read."""

    def has_etag(self, etag: str | None) -> bool:
        """Whether its ETag is this one: then it is the same as what has that MD5."""
        ...

    def is_same(self, head: ObjectHead) -> bool | None:
        """Whether an object of the appliance has its bytes, by what both sides state; None when that does not tell."""
        ...
