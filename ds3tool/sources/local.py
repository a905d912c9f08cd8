"""Local files and folders as a source: a lazy walk, and blobs that go out by sendfile."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Container, Generator, Iterator, Mapping
from dataclasses import replace
from enum import StrEnum

from ds3tool.errors import PathNotFoundError, SourceError, UsageError
from ds3tool.filters import Filter
from ds3tool.jobs.ends import Failure, OpenObject, SourceObject
from ds3tool.jobs.source_blocks import BLOCK_OBJECTS, SourceBlock, in_blocks
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol import xmlcodec
from ds3tool.protocol.escaped import escape, may_be_escaped, name_metadata
from ds3tool.renaming import Renaming
from ds3tool.sources.attributes import AttributeReader, Inodes, PlainAttributes, some
from ds3tool.sources.opened import Listed, OpenFile, OpenFolder, OpenLink
from ds3tool.sources.plain import NO_ATIME, PlainFiles

_KIND_BITS = 0o170000
_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
# Ends the source's own name of a link that is stored as itself; no file's name can hold it.
_LINK = b"\0"


class Symlinks(StrEnum):
    """What becomes of symbolic links."""

    # Left out, each named.
    SKIP = "skip"
    # What they lead to is put under their name: files, and folders with all that is below.
    FOLLOW = "follow"
    # Put as links.
    STORE = "store"


@dataclass(frozen=True, slots=True)
class Folders:
    """A folder and those above it, by device and inode: where a followed link may not lead."""

    device: int
    inode: int
    above: Folders | None

    def hold(self, state: os.stat_result) -> bool:
        """Whether one of them is the folder of `state`."""
        one: Folders | None = self
        while one is not None:
            if (one.device, one.inode) == (state.st_dev, state.st_ino):
                return True
            one = one.above
        return False


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder to walk: its name below the root, and the folders above it where links are followed."""

    name: bytes
    above: Folders | None


class _Place:
    """An open folder that is being walked: its name below the root, those above it, and those found in it."""

    __slots__ = ("above", "below", "descriptor", "name")

    def __init__(self, name: bytes, descriptor: int, above: Folders | None) -> None:
        self.name = name
        self.descriptor = descriptor
        self.above = above
        self.below: list[Folder] = []


class _Files:
    """Regular files of one folder, by their names in it, as columns."""

    __slots__ = ("inodes", "modified_ns", "names", "sizes")

    def __init__(self) -> None:
        self.names: list[bytes] = []
        self.sizes: list[int] = []
        self.modified_ns: list[int] = []
        self.inodes: list[int] = []


class LocalSource:
    """A file, or everything below a folder; keys are `prefix` and the path below the folder, renamed by `names`.

    For a single file `prefix` is its whole key. Put is what `wanted` accepts, by the path below the folder as it is
    there; for a single file by its name. Folders that hold nothing to put become folder objects, unless sizes or
    times are asked for. FIFOs, sockets, devices, and links where they are to be skipped, are named in `skipped`;
    what cannot be listed, examined or named is in `failures`. Names that cannot be keys are escaped, and `notes`
    says so. With `preserve` the attributes of files go out as metadata. The path itself may be a link.

    Raises PathNotFoundError when the path is not there, UsageError for a prefix that no key can have. Memory: the
    names in one folder, and of the folders beside those on the way down to it.
    """

    def __init__(
        self,
        path: str,
        *,
        prefix: str,
        names: Renaming | None = None,
        wanted: Filter | None = None,
        symlinks: Symlinks = Symlinks.SKIP,
        preserve: bool = False,
    ) -> None:
        self._root = os.fsencode(path)
        self._prefix = prefix
        # None where names stay as they are, as those of a Renaming that says nothing do.
        self._names = names if names is not None and (names.strip or names.names) else None
        self._wanted = wanted or Filter()
        self._takes_all = self._wanted.is_empty
        self._wanted_names = Filter(self._wanted.include, self._wanted.exclude)
        self._symlinks = symlinks
        self._attributes = AttributeReader() if preserve else None
        self._inodes = Inodes()
        self.failures: list[Failure] = []
        self.skipped: list[str] = []
        self._escaped: list[str] = []
        self._escaped_count = 0
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
        # A file's own name is the end of its key and may be escaped; what a folder's keys share is the user's choice.
        if not (xmlcodec.fits(prefix) if self.is_folder else _is_raw(prefix)):
            raise UsageError(
                f"{prefix!a} holds characters that no request can carry, so no key can begin with it",
                hint="give another prefix",
            )

    @property
    def sequential(self) -> bool:
        """Files can be read anywhere, and again."""
        return False

    @property
    def distant(self) -> bool:
        """Files are at hand."""
        return False

    @property
    def notes(self) -> list[str]:
        """Which names were escaped, and which extended attributes were left out."""
        notes = [] if self._attributes is None else self._attributes.notes
        if self._escaped_count:
            shown = some(self._escaped, self._escaped_count, "name")
            notes.insert(0, f"{shown} could not be stored as written: escaped in the key, and given back by get")
        return notes

    # -- what there is -----------------------------------------------------------------------------------------

    def objects(self) -> Iterator[SourceObject]:
        """Yield the file, or every file and empty folder below, folder by folder in byte order of their names."""
        for block in self._blocks():
            yield from block

    def blocks(self) -> Iterator[SourceBlock]:
        """Yield the same in blocks, each of one folder."""
        if type(self).objects is not LocalSource.objects:
            return in_blocks(self.objects())  # whoever derives from this one, and lists otherwise
        return self._blocks()

    def _blocks(self) -> Iterator[SourceBlock]:
        self._begin()
        if self.is_folder:
            yield from self._walk(Folder(b"", None))
            return
        try:
            state = os.stat(self._root)
            if self._accepts(os.path.basename(self._root), state.st_size, state.st_mtime_ns):
                yield SourceBlock.of([self._file(b"", state)])
        except OSError as error:
            self._fail(b"", SourceError(f"{self._shown(b'')} cannot be examined: {error.strerror}"))
        except SourceError as error:
            self._fail(b"", error)

    def _begin(self) -> None:
        self.failures.clear()
        self.skipped.clear()
        self._escaped.clear()
        self._escaped_count = 0
        if self._attributes is not None:
            self._attributes.clear()

    def _walk(self, top: Folder, *, but: Container[bytes] = ()) -> Iterator[SourceBlock]:
        """Yield what is below a folder, and not below those that `but` names."""
        pending = [top]
        while pending:
            folder = pending.pop()
            if folder.name in but:
                continue
            try:
                descriptor = self._open_folder(folder.name)
            except OSError as error:
                self._fail(folder.name, SourceError(f"{self._shown(folder.name)} cannot be listed: {error.strerror}"))
                continue
            try:
                below = yield from self._walk_one(folder, descriptor)
            finally:
                os.close(descriptor)
            pending.extend(reversed(below))

    def _walk_one(self, folder: Folder, descriptor: int) -> Generator[SourceBlock, None, list[Folder]]:
        """Yield what is in one folder; return the folders in it."""
        try:
            above = None
            if self._symlinks is Symlinks.FOLLOW:
                state = os.fstat(descriptor)
                above = Folders(state.st_dev, state.st_ino, folder.above)
            entries, folders = _entries(descriptor)
        except OSError as error:
            self._fail(folder.name, SourceError(f"{self._shown(folder.name)} cannot be listed: {error.strerror}"))
            return []
        place = _Place(folder.name, descriptor, above)
        empty = True
        for start in range(0, len(entries), BLOCK_OBJECTS):
            block = SourceBlock()
            found = self._examine(entries[start : start + BLOCK_OBJECTS], folders, place, block)
            empty = empty and not found
            if len(block):
                yield block
        if empty:
            yield from map(SourceBlock.of, ([item] for item in self._folder_object(folder.name)))
        return place.below

    def _examine(self, entries: list[bytes], folders: set[bytes], place: _Place, block: SourceBlock) -> bool:
        """Add to `block` what is to be put of some entries of a folder; return whether there was anything wanted."""
        takes_all, trusts = self._takes_all, self._inodes.trusts
        files = _Files()
        found = False
        device, trusted = -1, False
        for last in entries:
            try:
                state = None if last in folders else os.stat(last, dir_fd=place.descriptor, follow_symlinks=False)
            except OSError:
                state = None  # told below
            if state is not None and state.st_mode & _KIND_BITS == stat.S_IFREG:
                size, modified_ns = state.st_size, state.st_mtime_ns
                if takes_all or self._accepts(os.path.join(place.name, last), size, modified_ns):
                    found = True
                    files.names.append(last)
                    files.sizes.append(size)
                    files.modified_ns.append(modified_ns)
                    if state.st_dev != device:
                        device, trusted = state.st_dev, trusts(state.st_dev)
                    files.inodes.append(state.st_ino if trusted else 0)
                continue
            name = os.path.join(place.name, last)
            try:
                item = (
                    self._folder(name, place.above)
                    if last in folders
                    else self._found(name, last, place.descriptor, place.above)
                )
            except SourceError as error:
                self._fail(name, error)
                found = True
                continue
            found = found or item is not None
            if isinstance(item, Folder):
                place.below.append(item)
            elif item is not None:
                self._add_files(files, place.name, block)
                files = _Files()
                block.append(item)
        self._add_files(files, place.name, block)
        return found

    def _add_files(self, files: _Files, folder: bytes, block: SourceBlock) -> None:
        """Add files of one folder, whose names there they are, to `block`, under their keys."""
        if not files.names:
            return
        base = os.path.join(folder, b"")
        names = [base + name for name in files.names] if base else files.names
        start = self._prefix + _text(base)
        lasts = _text(b"/".join(files.names)).split("/")
        if self._names is None and xmlcodec.fits(start) and xmlcodec.all_fit(lasts):
            keys = [start + last for last in lasts] if start else lasts
            block.extend(keys, files.sizes, files.modified_ns, names, files.inodes)
            return
        for name, size, modified_ns, inode in zip(names, files.sizes, files.modified_ns, files.inodes, strict=True):
            try:
                block.append(SourceObject(self._key(name), size, modified_ns, name, inode))
            except SourceError as error:
                self._fail(name, error)

    def _found(
        self, name: bytes, path: bytes, descriptor: int | None, above: Folders | None
    ) -> SourceObject | Folder | None:
        """Return what has that name, None where it is left out; `path` leads to it from the folder `descriptor`.

        Raises SourceError for what cannot be examined.
        """
        try:
            state = os.stat(path, dir_fd=descriptor, follow_symlinks=False)
            if stat.S_ISLNK(state.st_mode) and self._symlinks is Symlinks.STORE:
                return self._link(name, state, os.readlink(path, dir_fd=descriptor))
            if stat.S_ISLNK(state.st_mode) and self._symlinks is Symlinks.FOLLOW:
                state = self._followed(name, path, descriptor, above)
        except (OSError, SourceError) as error:
            if not self._accepts_name(name):
                return None
            if isinstance(error, SourceError):
                raise
            raise SourceError(f"{self._shown(name)} cannot be examined: {error.strerror}") from error
        if stat.S_ISDIR(state.st_mode):
            return self._folder(name, above)
        if not stat.S_ISREG(state.st_mode):
            if self._accepts_name(name):
                kind = _KINDS.get(stat.S_IFMT(state.st_mode), "no regular file")
                self.skipped.append(f"{self._shown(name)} is {kind}")
            return None
        if not self._accepts(name, state.st_size, state.st_mtime_ns):
            return None
        return self._file(name, state)

    def _followed(self, name: bytes, path: bytes, descriptor: int | None, above: Folders | None) -> os.stat_result:
        """Return the state of what a link leads to; SourceError where it leads nowhere or has no end."""
        shown = self._shown(name)
        try:
            state = os.stat(path, dir_fd=descriptor)
        except FileNotFoundError as error:
            raise SourceError(f"{shown} is a symbolic link to something that is not there") from error
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise SourceError(f"{shown} is a symbolic link that leads back to itself") from error
            raise
        if above is not None and stat.S_ISDIR(state.st_mode) and above.hold(state):
            raise SourceError(
                f"{shown} is a symbolic link to a folder that it is in itself, and so would never end",
                hint="leave it out, --exclude NAME, or store links as links: --symlinks store",
            )
        return state

    def _file(self, name: bytes, state: os.stat_result) -> SourceObject:
        return SourceObject(self._key(name), state.st_size, state.st_mtime_ns, name, self._inodes.of(state))

    def _link(self, name: bytes, state: os.stat_result, target: bytes) -> SourceObject | None:
        if not self._accepts(name, len(target), state.st_mtime_ns):
            return None
        return SourceObject(self._key(name), len(target), state.st_mtime_ns, name + _LINK, self._inodes.of(state))

    def _folder(self, name: bytes, above: Folders | None) -> Folder | None:
        return None if self._wanted.excludes_folder(_text(name)) else Folder(name, above)

    def _folder_object(self, name: bytes) -> Iterator[SourceObject]:
        wanted = self._wanted
        if replace(wanted, include=None, exclude=None) != Filter():
            return
        own_name = name + b"/" if name else b""
        if not self._accepts_name(own_name):
            return
        key = self._prefix + self._renamed(own_name)
        if key.endswith("/"):
            yield SourceObject(self._fitting(key), 0, 0, own_name or b"/")

    # -- names -------------------------------------------------------------------------------------------------

    def _accepts(self, name: bytes, size: int, modified_ns: int) -> bool:
        return self._wanted.accepts(_text(name), size=size, modified_ns=modified_ns)

    def _accepts_name(self, name: bytes) -> bool:
        return self._wanted_names.accepts(_text(name), size=0, modified_ns=None)

    def _renamed(self, name: bytes) -> str:
        """Return the name below the prefix; bytes that are no UTF-8 are surrogate escapes in it."""
        text = _text(name)
        return text if self._names is None or not text else self._names(text)

    def _key(self, name: bytes) -> str:
        """Return the key of a file's name below the root; SourceError when renaming leaves it none."""
        key = self._prefix + self._renamed(name)
        if not key or key.endswith("/"):
            raise SourceError(
                f"{self._shown(name)} would have no name of its own: its key would be {key!r}",
                hint="mend --strip-prefix or --rename-map, or name a key for it",
            )
        return self._fitting(key)

    def _fitting(self, key: str) -> str:
        """Return a key that a request can carry, and remember where it is not the name itself."""
        if xmlcodec.fits(key):
            return key
        self._escaped_count += 1
        fitting = escape(_raw(key))
        if len(self._escaped) < 10:
            self._escaped.append(fitting)
        return fitting

    def _real_name(self, item: SourceObject) -> Mapping[str, str]:
        """Return the metadata that tell the real name of an object with an escaped key."""
        if not may_be_escaped(item.key):
            return {}
        name = b"" if item.name == b"/" else item.name.removesuffix(_LINK)
        return name_metadata(_raw(self._prefix + self._renamed(name)), item.key)

    def _fail(self, name: bytes, error: SourceError) -> None:
        self.failures.append(Failure(None, error, self._shown(name)))

    def _shown(self, name: bytes) -> str:
        return os.fsdecode(os.path.join(self._root, name) if name.strip(b"/") else self._root)

    def place(self, name: bytes) -> str:
        """Return the path of a listed object, as a person knows it."""
        return self._shown(name.removesuffix(_LINK))

    # -- opening -----------------------------------------------------------------------------------------------

    def open(self, item: SourceObject) -> OpenObject:
        """Open a listed file and hold it against the listing; empty folders open as nothing."""
        name = item.name.removesuffix(_LINK)
        shown = self._shown(name)
        listed = Listed(item, shown, self._real_name(item), self._attributes, self._inodes)
        try:
            opened = self._opened(item, name, listed)
        except OSError as error:
            if error.errno == errno.ENOENT:
                raise SourceError(f"{shown} has vanished since it was listed") from error
            raise SourceError(f"{shown} cannot be opened: {error.strerror}") from error
        try:
            opened.check_unchanged()
        except BaseException:
            opened.close()
            raise
        return opened

    def plain_reader(self) -> PlainFiles | None:
        """Return what reads small files past `open`; None where opening means more than what is done here."""
        if type(self).open is not LocalSource.open:
            return None
        attributes = None if self._attributes is None else PlainAttributes(self._attributes)
        if self.is_folder:
            follow = self._symlinks is Symlinks.FOLLOW
            return PlainFiles(self._root, follow=follow, inodes=self._inodes, attributes=attributes)
        folder, name = os.path.split(self._root)
        return PlainFiles(folder or b".", follow=True, inodes=self._inodes, alone=name, attributes=attributes)

    def _opened(self, item: SourceObject, name: bytes, listed: Listed) -> OpenFile | OpenFolder | OpenLink:
        if name.endswith(b"/"):
            return OpenFolder(listed, b"", -1 if self._attributes is None else self._open_folder(name.rstrip(b"/")))
        path = os.path.join(self._root, name) if name else self._root
        if name != item.name:
            return OpenLink.read_from(path, listed)
        return OpenFile(self._open_file(path, follow=not name or self._symlinks is Symlinks.FOLLOW), listed)

    def _open_file(self, path: bytes, *, follow: bool) -> int:
        # Without O_NONBLOCK, a FIFO that took the file's name would make this wait for its writer.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
        if self._attributes is not None and NO_ATIME:
            try:
                return os.open(path, flags | NO_ATIME)
            except PermissionError as error:
                if error.errno != errno.EPERM:  # somebody else's file, which may yet be readable
                    raise
        return os.open(path, flags)

    def _open_folder(self, name: bytes) -> int:
        path = os.path.join(self._root, name) if name else self._root
        follow = not name or self._symlinks is Symlinks.FOLLOW
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))


def _entries(descriptor: int) -> tuple[list[bytes], set[bytes]]:
    """Return the names in an open folder in byte order, and which of them are folders as far as that is known."""
    texts: list[str] = []
    folders: set[bytes] = set()
    with os.scandir(descriptor) as found:
        for entry in found:
            texts.append(entry.name)
            try:
                if entry.is_dir(follow_symlinks=False):
                    folders.add(os.fsencode(entry.name))
            except OSError:  # whoever examines it next will tell
                continue
    names = os.fsencode("/".join(texts)).split(b"/") if texts else []
    names.sort()
    return names, folders


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _is_raw(text: str) -> bool:
    try:
        _raw(text)
    except UnicodeEncodeError:
        return False
    return True
