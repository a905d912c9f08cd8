"""Files below a folder that a list names: what `--files-from` puts."""

from __future__ import annotations

import os
import stat
import struct
import tempfile
import weakref
from collections.abc import Iterable, Iterator

from ds3tool.errors import SourceError, UsageError
from ds3tool.filters import Filter
from ds3tool.jobs.ends import SourceObject
from ds3tool.renaming import Renaming
from ds3tool.sources.local import Folder, Folders, LocalSource, Symlinks

# A list of up to this size stays in memory; what is longer goes to a temporary file.
_IN_MEMORY_BYTES = 1024 * 1024
_LENGTH = struct.Struct("<I")


class ListedFiles(LocalSource):
    """The files that `listed` names, below the folder `root`, in the list's order; else as a LocalSource.

    Names are relative, `/` between their parts, `./` before them harmless. The name of a folder means everything
    below it. What is named twice, by itself or by a folder above it, is put once. What is absolute, leads out of the
    folder (by `..`, or through a link where links are not followed) or is not there fails by name. The list is read
    as the objects are asked for, and kept for the next time.

    Raises UsageError when `root` is no folder. Memory: the names that were listed one by one.
    """

    def __init__(
        self,
        root: str,
        listed: Iterable[bytes],
        *,
        prefix: str,
        names: Renaming | None = None,
        wanted: Filter | None = None,
        symlinks: Symlinks = Symlinks.SKIP,
        preserve: bool = False,
    ) -> None:
        super().__init__(root, prefix=prefix, names=names, wanted=wanted, symlinks=symlinks, preserve=preserve)
        if not self.is_folder:
            raise UsageError(f"{root} is no folder, so no list can name what is below it")
        self._listed = Kept(listed)

    def objects(self) -> Iterator[SourceObject]:
        """Yield what the list names, in its order; each folder's content as a walk of it would."""
        self._begin()
        files: set[bytes] = set()
        folders: set[bytes] = set()
        checked = b""  # the folder that was last found to be reached without a link
        for given in self._listed:
            try:
                name = _relative(given)
                checked = self._check_way(name, checked)
                if _is_below(name, folders):
                    self._check_there(name)
                    continue
                item = self._named(name)
            except SourceError as error:
                self._fail(given, error)
                continue
            if isinstance(item, Folder):
                for block in self._walk(item, but=folders):
                    yield from (one for one in block if one.name not in files)
                folders.add(name)
            elif item is not None and item.name not in files:
                files.add(item.name)
                yield item

    def _check_way(self, name: bytes, checked: bytes) -> bytes:
        """Raise SourceError when the folder of `name` is not there or is reached through a link; else return it."""
        folder = name.rpartition(b"/")[0]
        if folder == checked or self._symlinks is Symlinks.FOLLOW:
            return checked
        parts = folder.split(b"/")
        for end in range(1, len(parts) + 1):
            way = b"/".join(parts[:end])
            try:
                mode = os.lstat(os.path.join(self._root, way)).st_mode
            except OSError as error:
                raise self._not_there(name, error) from error
            if stat.S_ISLNK(mode):
                raise SourceError(
                    f"{self._shown(name)} is reached through the symbolic link {self._shown(way)}",
                    hint="name it by its own folder, or follow links: --symlinks follow",
                )
        return folder

    def _named(self, name: bytes) -> SourceObject | Folder | None:
        path = self._check_there(name)
        return self._found(name, path, None, self._folders_above(name))

    def _check_there(self, name: bytes) -> bytes:
        """Return the path of what has that name; SourceError when nothing has."""
        path = os.path.join(self._root, name)
        try:
            os.lstat(path)
        except OSError as error:
            raise self._not_there(name, error) from error
        return path

    def _not_there(self, name: bytes, error: OSError) -> SourceError:
        shown = self._shown(name)
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return SourceError(f"{shown} is listed, but not there")
        return SourceError(f"{shown} cannot be examined: {error.strerror}")

    def _folders_above(self, name: bytes) -> Folders | None:
        """Return the folders from the root to that of `name`, where links are followed: one may lead to them."""
        if self._symlinks is not Symlinks.FOLLOW:
            return None
        above: Folders | None = None
        parts = name.split(b"/")[:-1]
        for end in range(len(parts) + 1):
            try:
                state = os.stat(os.path.join(self._root, *parts[:end]))
            except OSError as error:
                raise self._not_there(name, error) from error
            above = Folders(state.st_dev, state.st_ino, above)
        return above


def _relative(given: bytes) -> bytes:
    """Return a listed name without needless parts; SourceError where it does not lead below the folder."""
    shown = os.fsdecode(given)
    if given.startswith(b"/"):
        raise SourceError(f"{shown} is absolute", hint="names in the list are relative to the folder that is put")
    parts = [part for part in given.split(b"/") if part not in {b"", b"."}]
    if b".." in parts:
        raise SourceError(f"{shown} leads out of its folder", hint="a listed name holds no '..'")
    if b"\0" in given:
        raise SourceError(f"{shown} holds a NUL, which no file's name can", hint="say how the list is written: --null")
    return b"/".join(parts)


def _is_below(name: bytes, folders: set[bytes]) -> bool:
    """Whether `name` is one of `folders`, or below one."""
    if not folders:
        return False
    if name in folders or b"" in folders:
        return True
    end = len(name)
    while (end := name.rfind(b"/", 0, end)) > 0:
        if name[:end] in folders:
            return True
    return False


class Kept:
    """The names of a list that can be read once only, kept so that they can be walked again."""

    def __init__(self, names: Iterable[bytes]) -> None:
        self._names = iter(names)
        self._error: OSError | None = None
        kept = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115  # lives as long as the list
        weakref.finalize(self, kept.close)
        self._kept = kept
        self._end = 0

    def __iter__(self) -> Iterator[bytes]:
        """Yield the names, those that were read before first. SourceError where the list cannot be read."""
        at = 0
        while True:
            if at < self._end:
                self._kept.seek(at)
                (length,) = _LENGTH.unpack(self._kept.read(_LENGTH.size))
                name = self._kept.read(length)
            else:
                read = self._next()
                if read is None:
                    return
                name = read
            at += _LENGTH.size + len(name)
            yield name

    def _next(self) -> bytes | None:
        """Return the next name and keep it; a list that broke stays broken, lest it look like a shorter one."""
        try:
            if self._error is not None:
                raise self._error
            name = next(self._names, None)
            if name is not None:
                self._kept.seek(self._end)
                self._kept.write(_LENGTH.pack(len(name)) + name)
                self._end += _LENGTH.size + len(name)
        except OSError as error:
            self._error = error
            raise SourceError(f"the list of files cannot be read: {error.strerror or error}") from error
        return name
