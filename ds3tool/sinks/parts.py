"""The temporary files of objects that are being written, beside where the objects will appear."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import field

from ds3tool.errors import SinkError
from ds3tool.jobs.ends import TargetObject
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.attributes import FileAttributes
from ds3tool.sinks import leftovers
from ds3tool.sinks.descriptors import allowed
from ds3tool.sinks.durability import preallocate
from ds3tool.sinks.folders import Folders
from ds3tool.sinks.names import check_name, is_plain, split

OPEN_FILES = 64
# Small files that were written at once and whose end nobody has told of yet: a batch, and what comes meanwhile.
_WHOLE_FILES = 256
# Somebody's files of such names may stand in the way; so many in a row do by intent only.
_TRIES = 100
_NEW_FILE = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL


@dataclass(slots=True)
class Part:
    """The temporary file of one object. `descriptor` is -1 while it is closed; `users` are writing into it.

    `identity` is the device and inode of the file that was made, None before: nothing else may stand in for it.
    `attributes` is what was stored with the object; `private`: until it has its mode, only its owner may read it.
    `sparse`: blocks of zeros are left out. `whole`: all its bytes came in one piece, and nobody else has it.
    """

    item: TargetObject
    temporary: str
    descriptor: int = -1
    users: int = 0
    identity: tuple[int, int] | None = None
    attributes: FileAttributes | None = None
    private: bool = False
    sparse: bool = False
    whole: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def close(self) -> None:
        """Close the file. Twice is harmless."""
        with self.lock:
            if self.descriptor >= 0:
                os.close(self.descriptor)
                self.descriptor = -1

    def is_at(self, parent: int) -> bool:
        """Whether the temporary name in an open folder is still that of the file that was made. Raises OSError."""
        state = os.stat(self.temporary, dir_fd=parent, follow_symlinks=False)
        return (state.st_dev, state.st_ino) == self.identity

    def remove(self, parent: int) -> None:
        """Remove the file from an open folder, if it is the one that was made; what cannot be removed stays."""
        with contextlib.suppress(OSError):
            if self.identity is not None and self.is_at(parent):
                os.unlink(self.temporary, dir_fd=parent)


class Parts:
    """Temporary files by the objects' names, 64 of them open at a time. Safe for several threads.

    Also open are up to 256 that `store_whole` has written. Of either, no more than an eighth of what may be open.

    What an earlier run with the same `token` has left of an object is taken up, with its bytes: whoever knows them to
    be right need not store them again.
    """

    def __init__(self, folders: Folders, *, token: str | None = None) -> None:
        self._folders = folders
        self.token = os.urandom(6).hex() if token is None else leftovers.check_token(token)
        self._own_prefix = leftovers.own_prefix(self.token)
        self._lock = threading.Lock()
        self._parts: dict[str, Part] = {}
        self._open: OrderedDict[str, None] = OrderedDict()
        self._most_open = allowed(OPEN_FILES, eighths=1)
        self._whole = 0
        self._most_whole = allowed(_WHOLE_FILES, eighths=1)

    def __contains__(self, name: str) -> bool:
        return name in self._parts

    def __getitem__(self, name: str) -> Part:
        return self._parts[name]

    @contextlib.contextmanager
    def used(self, item: TargetObject) -> Iterator[Part]:
        """Give the object's temporary file, open for the time of the block; made at the first call.

        SinkError when it cannot be made, or is not the same file any more.
        """
        part = self.take(item)
        try:
            yield part
        finally:
            self._leave(part)

    def prepare(self, item: TargetObject) -> None:
        """Make the object's temporary file, unless that was done; SinkError when it cannot be."""
        with self.used(item):
            pass

    def describe(self, item: TargetObject, attributes: FileAttributes, *, private: bool) -> None:
        """Keep what was stored with an object until it is finished; makes no file yet."""
        with self._lock:
            part = self._of(item)
            part.attributes = attributes
            part.private = private
            part.sparse = attributes.sparse and not attributes.link

    def store_whole(self, item: TargetObject, data: memoryview) -> bool:
        """Write all of a small object into a new temporary file, and keep that open for `take_whole`.

        For one thread. False, and nothing written, where anything of the object is there, or so many are open already:
        then `used` gives its file.
        Raises SinkError and OSError. Room need not be given beforehand to what is written at once.
        """
        with self._lock:
            if item.name in self._parts or self._whole >= self._most_whole:
                return False
            part = self._of(item)
        folder = self._folders.hold(item.name.rpartition("/")[0])
        try:
            descriptor = os.open(part.temporary, _NEW_FILE, 0o666, dir_fd=folder)
        except FileExistsError:
            return False  # of an earlier run, or somebody else's
        part.descriptor = descriptor
        state = os.fstat(descriptor)
        part.identity = (state.st_dev, state.st_ino)
        written = os.write(descriptor, data)
        while written < len(data):  # the disk is full, as the next call will say
            written += os.write(descriptor, data[written:])
        with self._lock:
            self._whole += 1
            part.whole = True
        return True

    def take_whole(self, item: TargetObject) -> Part | None:
        """Return the file that `store_whole` has written, which is the caller's from now on; None for any other."""
        with self._lock:
            part = self._parts.get(item.name)
            if part is None or not part.whole or part.users or part.attributes is not None:
                return None
            if not _same(part.item, item):
                return None
            self._forget(part)
        return part

    def take(self, item: TargetObject) -> Part:
        """Return the object's temporary file, open and in use, until `_leave` or `release`."""
        with self._lock:
            part = self._of(item)
            part.users += 1
            self._open[item.name] = None
            self._open.move_to_end(item.name)
        try:
            with part.lock:
                if part.descriptor < 0:
                    self._open_file(part)
        except BaseException:
            self._leave(part)
            raise
        return part

    def release(self, part: Part) -> None:
        """Let go of a file that is in use for the last time: it is the caller's now."""
        with self._lock:
            part.users -= 1
            self._forget(part)

    def drop(self, item: TargetObject) -> None:
        """Remove the object's file; one that a writer still holds goes with `close`."""
        with self._lock:
            part = self._parts.get(item.name)
            if part is None or part.users or not _same(part.item, item):
                return
            self._forget(part)
        self._remove(part)

    def room_taken(self, item: TargetObject) -> int | None:
        """Return how many bytes on the disk an object's unfinished file takes already, None when there is none."""
        with (
            contextlib.suppress(OSError, SinkError),
            self._folders.opened(split(item.name)[0], make=False) as parent,
        ):
            with self._lock:
                part = self._parts.get(item.name)
                name = leftovers.part_name(self.token, item) if part is None else part.temporary
            state = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if leftovers.is_usable(state, item):
                return min(state.st_size, state.st_blocks * 512)
        return None

    def discard(self, item: TargetObject) -> None:
        """Remove what an earlier run may have left of an object, and what this one has; nobody must be writing it."""
        self.drop(item)
        name = leftovers.part_name(self.token, item)
        with (
            contextlib.suppress(OSError, SinkError),
            self._folders.opened(split(item.name)[0], make=False) as parent,
        ):
            for one in (name, leftovers.link_name(name)):
                leftovers.remove(one, parent)

    def close(self, *, keep: bool = False) -> None:
        """Remove every file, or only close them."""
        for part in self._parts.values():
            if keep:
                part.close()
            else:
                self._remove(part)
        self._parts.clear()

    def _forget(self, part: Part) -> None:
        if self._parts.pop(part.item.name, None) is not None and part.whole:
            self._whole -= 1
        self._open.pop(part.item.name, None)

    def _remove(self, part: Part) -> None:
        part.close()
        with (
            contextlib.suppress(OSError, SinkError),
            self._folders.opened(split(part.item.name)[0], make=False) as parent,
        ):
            part.remove(parent)

    def _of(self, item: TargetObject) -> Part:
        """Return the object's part, with the lock held; SinkError when another object of that name is under way."""
        part = self._parts.get(item.name)
        if part is None and is_plain(item.name):  # neither a folder's name nor that of a temporary file
            part = self._parts[item.name] = Part(item, leftovers.part_name(self.token, item))
        elif part is None:
            check_name(item.name)
            if item.name.endswith("/"):
                raise SinkError(
                    f"{item.name} has {item.size} bytes, and a name that only a folder can have",
                    hint="get it alone, under a name of your choice: get ds3://BUCKET/KEY FILE",
                )
            if split(item.name)[1].startswith(self._own_prefix):
                raise SinkError(
                    f"{item.name} has the name of a temporary file of this very run",
                    hint="get it again; another run names them otherwise",
                )
            part = self._parts[item.name] = Part(item, leftovers.part_name(self.token, item))
        elif not _same(part.item, item):
            raise SinkError(
                f"{item.key} cannot be written: {part.item.key} is being written under the same name, {item.name}"
            )
        return part

    def _open_file(self, part: Part) -> None:
        """Make the object's temporary file, or open it again; SinkError when it is not the same file any more.

        A new file in place of one that vanished would have holes where blobs were stored before.
        """
        item = part.item
        try:
            with self._folders.opened(split(item.name)[0]) as parent:
                descriptor = self._make(part, parent) if part.identity is None else _open_again(part, parent)
            try:
                state = os.fstat(descriptor)
                identity = (state.st_dev, state.st_ino)
                if part.identity not in {None, identity}:
                    raise SinkError(f"{item.name} cannot be written: somebody has replaced its temporary file")
                part.identity = identity
                if item.size and state.st_size != item.size:
                    if part.sparse:
                        os.ftruncate(descriptor, item.size)
                    else:
                        preallocate(descriptor, item.size)
            except BaseException:
                os.close(descriptor)
                raise
        except OSError as error:
            raise SinkError(f"{item.name} cannot be written: {error.strerror}") from error
        part.descriptor = descriptor

    def _make(self, part: Part, parent: int) -> int:
        flags = _NEW_FILE
        mode = 0o600 if part.private else 0o666
        for number in range(_TRIES):
            part.temporary = leftovers.part_name(self.token, part.item, number)
            with contextlib.suppress(FileExistsError):
                return os.open(part.temporary, flags, mode, dir_fd=parent)
            found = _found(part, parent)
            if found is not None:
                return found
            if leftovers.remove(part.temporary, parent):
                with contextlib.suppress(FileExistsError):
                    return os.open(part.temporary, flags, mode, dir_fd=parent)
        return os.open(part.temporary, flags, 0o600, dir_fd=parent)

    def _leave(self, part: Part) -> None:
        """Note that a writer is through; close what was used longest ago when too many are open."""
        with self._lock:
            part.users -= 1
            if len(self._open) <= self._most_open:
                return
            for name in list(self._open):
                other = self._parts.get(name)
                if other is None:
                    del self._open[name]
                elif not other.users and other is not part:
                    del self._open[name]
                    other.close()
                if len(self._open) <= self._most_open:
                    return


def _open_again(part: Part, parent: int) -> int:
    return os.open(part.temporary, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=parent)


def _found(part: Part, parent: int) -> int | None:
    """Return the file that an earlier run has left of the object, open; None when it is none to write on."""
    state = os.stat(part.temporary, dir_fd=parent, follow_symlinks=False)
    if not leftovers.is_usable(state, part.item):
        return None
    try:
        descriptor = _open_again(part, parent)
    except PermissionError:  # it was on the point of getting its name, and had the object's mode already
        _make_accessible(part, parent)
        descriptor = _open_again(part, parent)
    opened = os.fstat(descriptor)
    if not leftovers.is_usable(opened, part.item):
        os.close(descriptor)
        return None
    if part.private and stat.S_IMODE(opened.st_mode) & 0o077:
        os.fchmod(descriptor, 0o600)
    return descriptor


def _make_accessible(part: Part, parent: int) -> None:
    """Give the owner leave to read and write the file, which nobody may open as it is."""
    handle = os.open(part.temporary, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        if leftovers.is_usable(os.fstat(handle), part.item):
            os.chmod(f"/proc/self/fd/{handle}", 0o600)
    finally:
        os.close(handle)


def _same(one: TargetObject, other: TargetObject) -> bool:
    return one is other or (one.key, one.version_id, one.ranges) == (other.key, other.version_id, other.ranges)
