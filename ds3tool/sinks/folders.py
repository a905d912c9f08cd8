"""Descriptors of the folders below one root, opened step by step without following links, kept while they are used."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator

from ds3tool.errors import SinkError
from ds3tool.lazy_dataclass import dataclass
from ds3tool.sinks.descriptors import allowed
from ds3tool.sinks.durability import sync_folder

_KEPT = 128
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class _Folder:
    descriptor: int
    users: int


class Folders:
    """Opens folders below `root`; keeps up to 128 of those not in use. Safe for several threads.

    Fewer are kept where 128 are more than an eighth of the files that may be open.

    `make` False is for whoever only looks: a root that is not there is not made, its descriptor is -1, and nothing
    below it is there either. Raises SinkError when the root cannot be made or opened.
    """

    def __init__(self, root: str, *, make: bool = True) -> None:
        # What is to hold the root, where that is not there and not to be made.
        self.above = root if make else _nearest(root)
        try:
            if make:
                _make_root(root)
            self.root = os.open(self.above, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise SinkError(f"the target folder {root} cannot be used: {error.strerror}") from error
        if not os.access(self.above, os.W_OK | os.X_OK, effective_ids=True):
            os.close(self.root)
            raise SinkError(
                f"the target folder {root} cannot be written to", hint="choose another, or change its permissions"
            )
        if self.above != root:
            os.close(self.root)
            self.root = -1
        self._lock = threading.Lock()
        self._most_kept = allowed(_KEPT, eighths=1)
        self._kept: OrderedDict[str, _Folder] = OrderedDict()
        self._made_in: set[str] = set()
        self._held: tuple[str, _Folder] | None = None

    @contextlib.contextmanager
    def opened(self, path: str, *, make: bool = True) -> Iterator[int]:
        """Give a descriptor of the folder `path` (relative, `/` between its parts) for the time of the block.

        `make`: it is made when it is not there; else that raises FileNotFoundError. SinkError when a link or a
        file stands in its way.
        """
        if self.root < 0:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        if not path:
            yield self.root
            return
        folder = self._take(path, make=make)
        try:
            yield folder.descriptor
        finally:
            self._give_back(folder)

    def hold(self, path: str) -> int:
        """Return a descriptor of the folder `path`, made where it is not there, open until the next call of this.

        For the one thread that stores small files, of which many stand in one folder.
        """
        if self._held is None or self._held[0] != path:
            self.let_go()
            if not path:
                return self.root
            self._held = (path, self._take(path, make=True))
        return self._held[1].descriptor

    def let_go(self) -> None:
        """Give back what is held, if anything."""
        if self._held is not None:
            (_, folder), self._held = self._held, None
            self._give_back(folder)

    def _take(self, path: str, *, make: bool) -> _Folder:
        """Return the folder, in use; opens what is not kept of it step by step, from the top down."""
        parts = path.split("/")
        known, depth = self._deepest_kept(parts)
        for end in range(depth + 1, len(parts) + 1):
            below = "/".join(parts[:end])
            try:
                descriptor = self._open(parts[end - 1], known.descriptor if known else self.root, below, make=make)
            finally:
                if known is not None:
                    self._give_back(known)
            known = self._keep(below, descriptor)
        assert known is not None
        return known

    def _deepest_kept(self, parts: list[str]) -> tuple[_Folder | None, int]:
        """Return the deepest folder on the way that is open already, in use, and how many parts lead to it."""
        with self._lock:
            for end in range(len(parts), 0, -1):
                path = "/".join(parts[:end])
                known = self._kept.get(path)
                if known is not None:
                    known.users += 1
                    self._kept.move_to_end(path)
                    return known, end
        return None, 0

    def _keep(self, path: str, descriptor: int) -> _Folder:
        with self._lock:
            kept = self._kept.setdefault(path, _Folder(descriptor, 0))
            kept.users += 1
        if kept.descriptor != descriptor:
            os.close(descriptor)  # another thread was quicker
        return kept

    def _open(self, name: str, parent: int, path: str, *, make: bool) -> int:
        if name in {"", ".", ".."}:  # whoever checks names has seen to it; nothing may depend on that alone
            raise SinkError(f"{path} leads out of the target folder, or nowhere")
        try:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, dir_fd=parent)
                    with self._lock:
                        self._made_in.add(path.rpartition("/")[0])
            return os.open(name, _FLAGS, dir_fd=parent)
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.ENOTDIR}:
                raise SinkError(
                    f"{path} should be a folder, but a file or a link is there",
                    hint="links below the target are not followed, so that nothing is written outside of it",
                ) from error
            if not make and error.errno == errno.ENOENT:
                raise
            raise SinkError(f"the folder {path} cannot be made: {error.strerror}") from error

    def still_there(self, path: str, descriptor: int) -> bool:
        """Whether `path` leads, without a link, to the folder that `descriptor` stands for.

        A kept one may have been moved away since, and what is written to it goes where it is.
        """
        state = os.fstat(descriptor)
        return self._at_once(path) == (state.st_dev, state.st_ino)

    def _at_once(self, path: str) -> tuple[int, int] | None:
        """Return device and inode of the folder that `path` leads to now, None when it leads to none."""
        current = self.root
        try:
            for part in path.split("/") if path else ():
                below = os.open(part, _FLAGS, dir_fd=current)
                if current != self.root:
                    os.close(current)
                current = below
            state = os.fstat(current)
        except OSError:
            return None
        finally:
            if current != self.root:
                os.close(current)
        return (state.st_dev, state.st_ino)

    def take_made(self) -> list[str]:
        """Return the folders in which others were made since the last call: their names are not safe yet."""
        with self._lock:
            made, self._made_in = sorted(self._made_in), set()
        return made

    def _give_back(self, folder: _Folder) -> None:
        with self._lock:
            folder.users -= 1
            while len(self._kept) > self._most_kept:
                idle = next((path for path, other in self._kept.items() if not other.users), None)
                if idle is None:
                    return
                os.close(self._kept.pop(idle).descriptor)

    def close(self) -> None:
        """Close every descriptor. Twice is harmless."""
        self._held = None
        with self._lock:
            for folder in self._kept.values():
                os.close(folder.descriptor)
            self._kept.clear()
            if self.root >= 0:
                os.close(self.root)
                self.root = -1


def _nearest(root: str) -> str:
    """Return `root`, or the nearest above it that is there."""
    if os.path.lexists(root):
        return root
    path = os.path.dirname(os.path.abspath(root))
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def _make_root(root: str) -> None:
    """Make the folder and those above it, each safe on the disk before anything is put into it."""
    missing = []
    path = os.path.abspath(root)
    while not os.path.lexists(path):
        missing.append(path)
        path = os.path.dirname(path)
    for path in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(path)
        with contextlib.suppress(PermissionError):  # one may be allowed to make folders where one may not look
            above = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                sync_folder(above)
            finally:
                os.close(above)
