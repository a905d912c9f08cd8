"""Small files read whole, folder by folder, in as few system calls as show that they are what was listed."""

from __future__ import annotations

import os
import stat

from ds3tool.protocol.metadata import HeaderLines
from ds3tool.sources.attributes import Inodes, PlainAttributes

# Enough to open what is in a folder; also where its names may not be read.
_FOLDER_FLAGS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
# Where the system has it and the file is ours, reading leaves no trace in the time of last access.
NO_ATIME = getattr(os, "O_NOATIME", 0)
# Without O_NONBLOCK, a FIFO that took a file's name would make the open wait for its writer.
_KIND = 0o170000  # in a file's mode
_FILE_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


class PlainFiles:
    """Reads files below `root` that were listed; for one thread. Holds the folder of the last one open until `close`.

    `follow`: the last part of a name may be a link. `alone` is what the empty name means: the one file of a source
    that is a file. `attributes` reads what else is to be stored, None for nothing.
    """

    def __init__(
        self,
        root: bytes,
        *,
        follow: bool,
        inodes: Inodes,
        alone: bytes = b"",
        attributes: PlainAttributes | None = None,
    ) -> None:
        self._root = root
        self._alone = alone
        self._flags = _FILE_FLAGS | (0 if follow else os.O_NOFOLLOW)
        self._first_flags = self._flags | (NO_ATIME if attributes is not None else 0)
        self._inode_of = inodes.of
        self._attributes = attributes
        self._folder: bytes | None = None
        self._descriptor = -1

    def read(self, name: bytes, size: int, modified_ns: int, inode: int) -> tuple[bytes, HeaderLines | None] | None:
        """Return all bytes of a file that is, before and after they are read, what was listed; else None.

        With them come its attributes, where they are wanted. `size` in bytes, `modified_ns` in nanoseconds since 1970;
        `inode` 0 where it tells nothing. Whoever gets None asks the source itself, which opens the file with all care
        and says what is wrong with it.
        """
        folder, _, last = name.rpartition(b"/")
        attributes, found = self._attributes, None
        if not name:
            last = self._alone
        try:
            if folder != self._folder:
                self._enter(folder)
            try:
                descriptor = os.open(last, self._first_flags, dir_fd=self._descriptor)
            except PermissionError:  # somebody else's file, which may yet be readable
                descriptor = os.open(last, self._flags, dir_fd=self._descriptor)
            try:
                before = os.fstat(descriptor)
                if (
                    before.st_mode & _KIND != stat.S_IFREG
                    or before.st_size != size
                    or before.st_mtime_ns != modified_ns
                ):
                    return None
                if inode and before.st_ino != inode and self._inode_of(before) != 0:
                    return None
                data = os.read(descriptor, size) if size else b""
                if attributes is not None:
                    found = attributes.xattrs(descriptor)
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
        if not unchanged:
            return None
        return data, None if attributes is None or found is None else attributes.lines(after, found)

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
