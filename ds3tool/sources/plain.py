"""Small files read whole, folder by folder, in as few system calls as show that they are what was listed."""

from __future__ import annotations

import os
import stat

from ds3tool.sources.attributes import Inodes

# Enough to open what is in a folder; also where its names may not be read.
_FOLDER_FLAGS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
# Without O_NONBLOCK, a FIFO that took a file's name would make the open wait for its writer.
_FILE_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


class PlainFiles:
    """Reads files below `root` that were listed; for one thread. Holds the folder of the last one open until `close`.

    `follow`: the last part of a name may be a link.
    """

    def __init__(self, root: bytes, *, follow: bool, inodes: Inodes) -> None:
        self._root = root
        self._flags = _FILE_FLAGS | (0 if follow else os.O_NOFOLLOW)
        self._inode_of = inodes.of
        self._folder: bytes | None = None
        self._descriptor = -1

    def read(self, name: bytes, size: int, modified_ns: int, inode: int) -> bytes | None:
        """Return all bytes of a file that is, before and after they are read, what was listed; else None.

        `size` in bytes, `modified_ns` in nanoseconds since 1970; `inode` 0 where it tells nothing. Whoever gets None
        asks the source itself, which opens the file with all care and says what is wrong with it.
        """
        folder, _, last = name.rpartition(b"/")
        try:
            if folder != self._folder:
                self._enter(folder)
            descriptor = os.open(last, self._flags, dir_fd=self._descriptor)
            try:
                before = os.fstat(descriptor)
                if not stat.S_ISREG(before.st_mode) or before.st_size != size or before.st_mtime_ns != modified_ns:
                    return None
                if inode and self._inode_of(before) not in {0, inode}:
                    return None
                data = os.read(descriptor, size) if size else b""
                after = os.fstat(descriptor)
            finally:
                os.close(descriptor)
        except (OSError, ValueError):  # a link's name has an end that no file's can have
            return None
        # What is written to meanwhile has another time of change, also where its time of modification is put back.
        unchanged = (
            after.st_ctime_ns == before.st_ctime_ns
            and after.st_mtime_ns == modified_ns
            and after.st_size == size == len(data)
        )
        return data if unchanged else None

    def _enter(self, folder: bytes) -> None:
        self.close()
        self._descriptor = os.open(os.path.join(self._root, folder), _FOLDER_FLAGS)
        self._folder = folder

    def close(self) -> None:
        """Let go of the folder. Twice is harmless."""
        self._folder = None
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)
