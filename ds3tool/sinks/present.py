"""What is below a target folder already, looked at without following a link."""

from __future__ import annotations

import os
import stat

from ds3tool.errors import SinkError
from ds3tool.sinks.folders import Folders
from ds3tool.sinks.names import split
from ds3tool.transport.bodies import read_range


class Present:
    """Looks at what has a name below the root. Safe for several threads."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders

    def state_of(self, name: str) -> os.stat_result | None:
        """Return what the file system says of what has that name, None when nothing has; SinkError otherwise."""
        folder, last = split(name)
        try:
            with self._folders.opened(folder, make=False) as parent:
                return os.stat(last, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SinkError(f"{name} cannot be examined: {error.strerror}") from error

    def names_in(self, folder: str) -> frozenset[str]:
        """Return all names in a folder below the root, none when it is not there; SinkError otherwise."""
        try:
            with self._folders.opened(folder, make=False) as descriptor:
                return frozenset(os.listdir(descriptor))
        except FileNotFoundError:
            return frozenset()
        except OSError as error:
            raise SinkError(f"the folder {folder} cannot be looked into: {error.strerror}") from error

    def is_empty(self, folder: str) -> bool:
        """Whether a folder below the root is not there or has nothing in it; False where that cannot be told."""
        try:
            with self._folders.opened(folder, make=False) as kept:
                # One of its own: several that look into one descriptor at a time take from each other what they find.
                descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=kept)
            try:
                with os.scandir(descriptor) as found:
                    return next(found, None) is None
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            return True
        except (OSError, SinkError):
            return False

    def size(self, name: str) -> int | None:
        """Return the size of the file or link of that name, None when there is none.

        A link's size is its target's length. Raises SinkError when something else (for a folder's name, something
        else than a folder) is there.
        """
        state = self.state_of(name)
        if state is None:
            return None
        if name.endswith("/"):
            if stat.S_ISDIR(state.st_mode):
                return 0
            raise SinkError(f"{name} should be a folder, but a file is there")
        if stat.S_ISLNK(state.st_mode):
            return len(self._link_target(name))
        if not stat.S_ISREG(state.st_mode):
            kind = "a folder" if stat.S_ISDIR(state.st_mode) else "something that is no regular file"
            raise SinkError(f"{name} should be a file, but {kind} is there")
        return state.st_size

    def is_link(self, name: str) -> bool:
        """Whether what has that name is a symbolic link."""
        state = self.state_of(name)
        return state is not None and stat.S_ISLNK(state.st_mode)

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Return exactly these bytes of the file of that name, or of the target of the link."""
        if self.is_link(name):
            piece = self._link_target(name)[offset : offset + length]
            if len(piece) != length:
                raise SinkError(f"{name} is a link whose target ends before byte {offset + length}")
            return piece
        folder, last = split(name)
        try:
            with self._folders.opened(folder, make=False) as parent:
                descriptor = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=parent)
        except OSError as error:
            raise SinkError(f"{name} cannot be read: {error.strerror}") from error
        try:
            return read_range(descriptor, offset, length, name)
        finally:
            os.close(descriptor)

    def _link_target(self, name: str) -> bytes:
        folder, last = split(name)
        try:
            with self._folders.opened(folder, make=False) as parent:
                return os.readlink(os.fsencode(last), dir_fd=parent)
        except OSError as error:
            raise SinkError(f"{name} cannot be read: {error.strerror}") from error
