"""A local file, link or folder while it is being put: its bytes, its attributes, whether it is still the same."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from ds3tool.errors import SourceError
from ds3tool.jobs.ends import SourceObject
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.attributes import FileAttributes
from ds3tool.sources.attributes import AttributeReader, Inodes
from ds3tool.transport.bodies import FileRangeBody, Wire, read_range

_AT_REST = "put it again when it is at rest"


@dataclass(frozen=True, slots=True)
class Listed:
    """What was listed, and what is to be stored with it.

    `shown` is its path. `name` is the metadata that tell its real name, where the key does not. `attributes` reads
    its attributes, None where nobody wants them.
    """

    item: SourceObject
    shown: str
    name: Mapping[str, str]
    attributes: AttributeReader | None
    inodes: Inodes

    def check_same(self, state: os.stat_result) -> None:
        """Raise SourceError when what is there now was written to, or is not the very file that was listed."""
        if state.st_mtime_ns != self.item.modified_ns:
            raise self.changed("it was written to in between")
        if self.item.inode and self.inodes.of(state) not in {0, self.item.inode}:
            raise self.changed("another file has taken its name")

    def changed(self, how: str) -> SourceError:
        """Return the error that says how it differs."""
        return SourceError(f"{self.shown} has changed since it was listed: {how}", hint=_AT_REST)

    def metadata_of(self, descriptor: int) -> Mapping[str, str]:
        """Return the attributes of an open file or folder, where they are wanted, and its real name."""
        if self.attributes is None:
            return self.name
        with self.mapped():
            found = self.attributes.read(descriptor, self.shown)
        return {**found.to_metadata(), **self.name}

    @contextmanager
    def mapped(self) -> Iterator[None]:
        """Turn what the system says into SourceError: also what is open can go, on a file server."""
        try:
            yield
        except OSError as error:
            raise SourceError(f"{self.shown} cannot be examined any more: {error.strerror}") from error


@dataclass(slots=True)
class OpenFile:
    """A file while its blobs are sent."""

    descriptor: int
    listed: Listed
    changed_ns: int = 0

    def body(self, offset: int, length: int, *, counter: Callable[[int], None]) -> FileRangeBody:
        """Return the range as a body that goes out by sendfile."""
        return FileRangeBody(self.descriptor, offset, length, self.listed.shown, counter)

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly these bytes."""
        return read_range(self.descriptor, offset, length, self.listed.shown) if length else b""

    def check_unchanged(self) -> None:
        """Raise SourceError when size, time, kind or identity is not what was planned."""
        with self.listed.mapped():
            state = os.fstat(self.descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise SourceError(f"{self.listed.shown} is no regular file any more")
        self.changed_ns = state.st_ctime_ns
        planned = self.listed.item.size
        if state.st_size != planned:
            raise self.listed.changed(f"{planned} bytes then, {state.st_size} now")
        self.listed.check_same(state)

    def mark(self) -> int:
        """Return when the file's state was last changed, as the last check found it: no writer can put it back."""
        return self.changed_ns

    def metadata(self) -> Mapping[str, str]:
        """Return the file's attributes, where they are wanted, and its real name, where it needs one."""
        return self.listed.metadata_of(self.descriptor)

    def close(self) -> None:
        """Close the file. Twice is harmless."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


@dataclass(slots=True)
class _Held:
    """What has all its bytes in memory."""

    listed: Listed
    data: bytes

    def body(self, offset: int, length: int, *, counter: Callable[[int], None]) -> HeldBody:
        """Return the range as a body."""
        return HeldBody(self.read(offset, length), counter)

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly these bytes."""
        data = self.data[offset : offset + length]
        if len(data) != length:
            raise self.listed.changed(f"it ends at byte {len(self.data)}")
        return data


@dataclass(slots=True)
class OpenFolder(_Held):
    """An empty folder, which has no bytes; `descriptor` is -1 where nobody asked for its attributes."""

    descriptor: int

    def check_unchanged(self) -> None:
        """Accept whatever became of it: that it was there is all that is put."""

    def metadata(self) -> Mapping[str, str]:
        """Return the folder's attributes, where they are wanted, and its real name, where it needs one."""
        return self.listed.metadata_of(self.descriptor)

    def close(self) -> None:
        """Close the folder. Twice is harmless."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


@dataclass(slots=True)
class OpenLink(_Held):
    """A symbolic link that is stored as itself: its bytes are those of its target's name."""

    path: bytes
    state: os.stat_result

    @classmethod
    def read_from(cls, path: bytes, listed: Listed) -> OpenLink:
        """Read a link; raises OSError, and SourceError for what is no link any more."""
        state = os.lstat(path)
        if not stat.S_ISLNK(state.st_mode):
            raise SourceError(f"{listed.shown} is no symbolic link any more")
        return cls(listed, os.readlink(path), path, state)

    def check_unchanged(self) -> None:
        """Raise SourceError when the link leads elsewhere, or is another one, than was planned."""
        try:
            state, target = os.lstat(self.path), os.readlink(self.path)
        except OSError as error:
            raise SourceError(f"{self.listed.shown} is no symbolic link any more") from error
        if target != self.data or len(target) != self.listed.item.size:
            raise self.listed.changed("it leads elsewhere")
        self.listed.check_same(state)

    def metadata(self) -> Mapping[str, str]:
        """Return that it is a link, and its attributes where they are wanted."""
        found = FileAttributes(mode=self.state.st_mode, link=True).to_metadata()
        if self.listed.attributes is not None:
            found = {**self.listed.attributes.of(self.state).to_metadata(), **found}
        return {**found, **self.listed.name}

    def close(self) -> None:
        """Give back nothing: nothing is held."""


@dataclass(frozen=True, slots=True)
class HeldBody:
    """A body that is in memory, and tells `counter` once it is sent."""

    data: bytes
    counter: Callable[[int], None]

    @property
    def length(self) -> int:
        """Bytes in all."""
        return len(self.data)

    def send_to(self, wire: Wire) -> None:
        """Send it in one piece."""
        if self.data:
            wire.send(self.data)
            self.counter(len(self.data))
