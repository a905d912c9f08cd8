"""Descriptors of the folders below one root, opened step by step without following links, kept while they are used."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from ds3tool.errors import SinkError

_KEPT = 128
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class _Folder:
    descriptor: int
    users: int


class Folders:
    """Opens folders below `root`; keeps up to 128 of those not in use. Safe for several threads.

    Raises SinkError when the root cannot be made or opened.
    """

    def __init__(self, root: str) -> None:
        try:
            os.makedirs(root, exist_ok=True)
            self.root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise SinkError(f"the target folder {root} cannot be used: {error.strerror}") from error
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, _Folder] = OrderedDict()

    @contextlib.contextmanager
    def opened(self, path: str, *, make: bool = True) -> Iterator[int]:
        """Give a descriptor of the folder `path` (relative, `/` between its parts) for the time of the block.

        `make`: it is made when it is not there; else that raises FileNotFoundError. SinkError when a link or a
        file stands in its way.
        """
        if not path:
            yield self.root
            return
        folder = self._take(path, make=make)
        try:
            yield folder.descriptor
        finally:
            self._give_back(folder)

    def _take(self, path: str, *, make: bool) -> _Folder:
        with self._lock:
            known = self._kept.get(path)
            if known is not None:
                known.users += 1
                self._kept.move_to_end(path)
                return known
        above, _, last = path.rpartition("/")
        with self.opened(above, make=make) as parent:
            descriptor = _open_folder(last, parent, path, make=make)
        with self._lock:
            kept = self._kept.setdefault(path, _Folder(descriptor, 0))
            kept.users += 1
        if kept.descriptor != descriptor:
            os.close(descriptor)  # another thread was quicker
        return kept

    def _give_back(self, folder: _Folder) -> None:
        with self._lock:
            folder.users -= 1
            while len(self._kept) > _KEPT:
                idle = next((path for path, other in self._kept.items() if not other.users), None)
                if idle is None:
                    return
                os.close(self._kept.pop(idle).descriptor)

    def close(self) -> None:
        """Close every descriptor. Twice is harmless."""
        with self._lock:
            for folder in self._kept.values():
                os.close(folder.descriptor)
            self._kept.clear()
            if self.root >= 0:
                os.close(self.root)
                self.root = -1


def _open_folder(name: str, parent: int, path: str, *, make: bool) -> int:
    try:
        if make:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, dir_fd=parent)
        return os.open(name, _FLAGS, dir_fd=parent)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOTDIR}:
            raise SinkError(
                f"{path} should be a folder, but a file or a link is there",
                hint="links below the target are not followed, so that nothing is written outside of it",
            ) from error
        raise SinkError(f"the folder {path} cannot be made: {error.strerror}") from error
