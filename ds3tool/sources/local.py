"""Local files and folders as a source: a lazy walk, and blobs that go out by sendfile."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ds3tool.errors import PathNotFoundError, SourceError
from ds3tool.jobs.ends import Failure, SourceObject
from ds3tool.protocol import xmlcodec
from ds3tool.transport.bodies import FileRangeBody, read_range

_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class LocalSource:
    """A file, or everything below a folder; keys are `prefix` and the path below the folder.

    For a single file `prefix` is its whole key. Folders that hold nothing to put become folder objects; links,
    FIFOs, sockets and devices are skipped and named in `skipped`; what cannot be listed or named is in `failures`.
    Raises PathNotFoundError when the path is not there.
    """

    def __init__(self, path: str, *, prefix: str) -> None:
        self._root = os.fsencode(path)
        self._prefix = prefix
        self.failures: list[Failure] = []
        self.skipped: list[str] = []
        self.notes: list[str] = []
        try:
            mode = os.stat(self._root).st_mode
        except FileNotFoundError as error:
            raise PathNotFoundError(f"{path} is not there") from error
        except OSError as error:
            raise PathNotFoundError(f"{path} cannot be reached: {error.strerror}") from error
        self.is_folder = stat.S_ISDIR(mode)
        if not self.is_folder and not stat.S_ISREG(mode):
            raise PathNotFoundError(
                f"{path} is neither a file nor a folder, but {_KINDS.get(stat.S_IFMT(mode), 'something else')}"
            )

    @property
    def sequential(self) -> bool:
        """Files can be read anywhere, and again."""
        return False

    def objects(self) -> Iterator[SourceObject]:
        """Yield the file, or every file and empty folder below, folder by folder in byte order of their names."""
        self.failures.clear()
        self.skipped.clear()
        if not self.is_folder:
            try:
                state = os.stat(self._root)
            except OSError as error:
                self._fail(b"", f"cannot be examined: {error.strerror}")
                return
            yield SourceObject(self._prefix, state.st_size, state.st_mtime_ns, b"")
            return
        yield from self._walk(b"")

    def _walk(self, folder: bytes) -> Iterator[SourceObject]:
        pending = [folder]
        while pending:
            folder = pending.pop()
            try:
                with os.scandir(os.path.join(self._root, folder) if folder else self._root) as found:
                    entries = sorted(found, key=lambda entry: entry.name)
            except OSError as error:
                self._fail(folder, f"cannot be listed: {error.strerror}")
                continue
            folders = []
            empty = True
            for entry in entries:
                name = os.path.join(folder, entry.name)
                try:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(name)
                        empty = False
                        continue
                    state = entry.stat(follow_symlinks=False)
                except OSError as error:
                    self._fail(name, f"cannot be examined: {error.strerror}")
                    continue
                if not stat.S_ISREG(state.st_mode):
                    kind = _KINDS.get(stat.S_IFMT(state.st_mode), "no regular file")
                    self.skipped.append(f"{self._shown(name)} is {kind}")
                    continue
                empty = False
                key = self._key(name)
                if key is not None:
                    yield SourceObject(key, state.st_size, state.st_mtime_ns, name)
            if empty:
                yield from self._folder_object(folder)
            pending.extend(reversed(folders))

    def _folder_object(self, folder: bytes) -> Iterator[SourceObject]:
        key = self._key(folder + b"/") if folder else self._prefix
        if key is not None and key.endswith("/"):
            yield SourceObject(key, 0, 0, folder + b"/")

    def _key(self, name: bytes) -> str | None:
        """Return the key of a file's name below the root, or None when it has none, which is recorded."""
        try:
            key = self._prefix + name.decode("utf-8")
        except UnicodeDecodeError:
            self._fail(name, "has a name that is not UTF-8, and so cannot be a key", hint="rename it")
            return None
        if not xmlcodec.fits(key):
            self._fail(name, "has a control character in its name that no request can carry", hint="rename it")
            return None
        return key

    def _fail(self, name: bytes, reason: str, *, hint: str | None = None) -> None:
        shown = self._shown(name)
        self.failures.append(Failure(shown, SourceError(f"{shown} {reason}", hint=hint)))

    def _shown(self, name: bytes) -> str:
        return os.fsdecode(os.path.join(self._root, name) if name else self._root)

    def open(self, item: SourceObject) -> OpenFile:
        """Open a listed file and hold it against the listing; folders open as nothing."""
        path = os.path.join(self._root, item.name) if item.name else self._root
        shown = os.fsdecode(path)
        if item.name.endswith(b"/") or (not item.name and self.is_folder):
            return OpenFile(-1, shown, item)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW * bool(item.name) | os.O_NONBLOCK)
        except OSError as error:
            if error.errno == errno.ENOENT:
                raise SourceError(f"{shown} has vanished since it was listed") from error
            raise SourceError(f"{shown} cannot be opened: {error.strerror}") from error
        opened = OpenFile(descriptor, shown, item)
        try:
            opened.check_unchanged()
        except BaseException:
            opened.close()
            raise
        return opened


@dataclass(slots=True)
class OpenFile:
    """A file while its blobs are sent; descriptor -1 stands for a folder, which has no bytes."""

    descriptor: int
    shown: str
    item: SourceObject

    def body(self, offset: int, length: int, *, counter: Callable[[int], None]) -> FileRangeBody:
        """Return the range as a body that goes out by sendfile."""
        return FileRangeBody(self.descriptor, offset, length, self.shown, counter)

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly these bytes."""
        return read_range(self.descriptor, offset, length, self.shown) if length else b""

    def check_unchanged(self) -> None:
        """Raise SourceError when size, time or kind is not what was planned."""
        if self.descriptor < 0:
            return
        state = os.fstat(self.descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise SourceError(f"{self.shown} is no regular file any more")
        if state.st_size != self.item.size:
            raise SourceError(
                f"{self.shown} has changed since it was listed: {self.item.size} bytes then, {state.st_size} now",
                hint="put it again when it is at rest",
            )
        if state.st_mtime_ns != self.item.modified_ns:
            raise SourceError(
                f"{self.shown} has changed since it was listed: it was written to in between",
                hint="put it again when it is at rest",
            )

    def metadata(self) -> Mapping[str, str]:
        """Return nothing: file attributes are not stored yet."""
        return {}

    def close(self) -> None:
        """Close the file. Twice is harmless."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
