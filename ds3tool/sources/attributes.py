"""What a file system says of its files, read for `--preserve`, and which of its inode numbers are to be trusted."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from ds3tool.protocol.attributes import FileAttributes, fitting_xattrs
from ds3tool.protocol.metadata import HeaderLines

if TYPE_CHECKING:
    from ds3tool.protocol.attribute_lines import AttributeLines

_BLOCK_BYTES = 512  # the unit of st_blocks, whatever the file system's own is
_SHOWN = 3
_TELLS_BIRTH = hasattr(os.stat_result, "st_birthtime")
_KINDS_OF_FILES = 1024  # remembered at most: a few kilobytes each

# The word that the vendor's client has for this system; it asks the Java machine.
_SYSTEM = "Mac OS X" if sys.platform == "darwin" else os.uname().sysname

# File systems that number their files as they come into memory: the same file may have another number a minute later.
# Source: iunique() in the Linux kernel's fat, exfat and 9p, get_next_ino and the daemon's choice in fuse, and
# `noserverino` of cifs.
_MAKE_UP_INODES = frozenset({"vfat", "msdos", "exfat", "9p", "cifs", "smb3", "smbfs", "ncpfs"})


class AttributeReader:
    """Reads the attributes of open files; asks for each owner's name once. From any thread.

    Extended attributes that a request has no room for are left out, and told by `notes`.
    """

    def __init__(self) -> None:
        self._owners: dict[int, str | None] = {}
        self._groups: dict[int, str | None] = {}
        self._lock = threading.Lock()
        self._cut: set[str] = set()

    def clear(self) -> None:
        """Forget what was left out."""
        with self._lock:
            self._cut.clear()

    @property
    def notes(self) -> list[str]:
        """What could not be read or does not fit, in a sentence; empty when all of it is stored."""
        with self._lock:
            cut = sorted(self._cut)
        if not cut:
            return []
        return [f"of {some(cut, len(cut), 'file')} not all extended attributes are stored: too large, or unreadable"]

    def read(self, descriptor: int, shown: str) -> FileAttributes:
        """Return the attributes of an open file or folder; `shown` is its path, for `notes`. Raises OSError."""
        return self.of(os.fstat(descriptor), xattrs=self._xattrs(descriptor, shown))

    def of(self, state: os.stat_result, *, xattrs: dict[str, bytes] | None = None) -> FileAttributes:
        """Return the attributes that `state` tells."""
        return FileAttributes(
            modified_ns=state.st_mtime_ns,
            accessed_ns=state.st_atime_ns,
            created_ns=_created_ns(state),
            mode=state.st_mode,
            uid=state.st_uid,
            gid=state.st_gid,
            owner=_cached(self._owners, state.st_uid, lambda number: pwd.getpwuid(number).pw_name),
            group=_cached(self._groups, state.st_gid, lambda number: grp.getgrgid(number).gr_name),
            xattrs=xattrs or {},
            sparse=_is_sparse(state),
            os=_SYSTEM,
        )

    def _xattrs(self, descriptor: int, shown: str) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for name in _xattr_names(descriptor):
            try:
                found[name] = os.getxattr(descriptor, name)
            except OSError:
                self._left_out(shown)
        kept = fitting_xattrs(found)
        if len(kept) < len(found):
            self._left_out(shown)
        return kept

    def all_xattrs(self, descriptor: int) -> dict[str, bytes]:
        """Return all extended attributes of a file; raises OSError where they cannot be read or do not all fit."""
        names = _xattr_names(descriptor)
        if not names:
            return {}
        found = {name: os.getxattr(descriptor, name) for name in names}
        if len(fitting_xattrs(found)) < len(found):
            raise OSError(errno.E2BIG, os.strerror(errno.E2BIG))
        return found

    def _left_out(self, shown: str) -> None:
        with self._lock:
            self._cut.add(shown)


class PlainAttributes:
    """The attributes of regular files as header lines, in a few microseconds a file; for one thread.

    They are those that `reader` would read.
    """

    def __init__(self, reader: AttributeReader) -> None:
        self._reader = reader
        self._kinds: dict[tuple[int, int, int, bool, bool], AttributeLines] = {}
        self.xattrs = reader.all_xattrs

    def lines(self, state: os.stat_result, xattrs: dict[str, bytes]) -> HeaderLines:
        """Return the lines of a file of which these were found."""
        sparse = state.st_blocks * _BLOCK_BYTES < state.st_size
        kind = (state.st_mode, state.st_uid, state.st_gid, sparse, not xattrs)
        alike = self._kinds.get(kind)
        if alike is None:
            from ds3tool.protocol.attribute_lines import AttributeLines

            if len(self._kinds) >= _KINDS_OF_FILES:
                self._kinds.clear()
            alike = self._kinds[kind] = AttributeLines(self._reader.of(state, xattrs=xattrs))
        modified_ns = state.st_mtime_ns
        created_ns = _created_ns(state) if _TELLS_BIRTH else modified_ns
        return alike.of(modified_ns, state.st_atime_ns, created_ns, xattrs)


def _xattr_names(descriptor: int) -> list[str]:
    if not hasattr(os, "listxattr"):
        return []
    try:
        return os.listxattr(descriptor)
    except OSError:  # a file system without them
        return []


def _created_ns(state: os.stat_result) -> int:
    """Return when a file was made.

    Where a system does not tell, that is taken to be when it was modified, as the vendor's client does: on restore it
    sets no time at all where one of the three is missing.
    """
    born: float | None = getattr(state, "st_birthtime", None)
    return state.st_mtime_ns if born is None else round(born * 1000) * 1_000_000


def _is_sparse(state: os.stat_result) -> bool:
    return stat.S_ISREG(state.st_mode) and state.st_blocks * _BLOCK_BYTES < state.st_size


def _cached(known: dict[int, str | None], number: int, ask: Callable[[int], str]) -> str | None:
    if number not in known:
        try:
            known[number] = ask(number)
        except (KeyError, OverflowError, OSError):
            known[number] = None
    return known[number]


def some(first: list[str], count: int, noun: str) -> str:
    """Return a count with its noun and the first few of what is counted: `12 files (a, b, c and more)`."""
    plural = "" if count == 1 else "s"
    more = " and more" if count > len(first[:_SHOWN]) else ""
    return f"{count:,} {noun}{plural} ({', '.join(first[:_SHOWN])}{more})"


class Inodes:
    """Tells a file's inode number where it stays the same as long as the file does, and 0 where it does not."""

    def __init__(self, mounts: str = "/proc/self/mountinfo") -> None:
        self._mounts = mounts
        self._trusted: dict[int, bool] = {}

    def of(self, state: os.stat_result) -> int:
        """Return the number, or 0."""
        return state.st_ino if self.trusts(state.st_dev) else 0

    def trusts(self, device: int) -> bool:
        """Return whether the numbers of files on a device stay the same."""
        trusted = self._trusted.get(device)
        if trusted is None:
            trusted = self._trusted[device] = self._is_trusted(device)
        return trusted

    def _is_trusted(self, device: int) -> bool:
        wanted = f"{os.major(device)}:{os.minor(device)}"
        try:
            with open(self._mounts, encoding="utf-8", errors="surrogateescape") as lines:
                for line in lines:
                    # ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [OPTIONAL...] - TYPE SOURCE OPTIONS
                    fields = line.split(" ")
                    if len(fields) > 6 and fields[2] == wanted and "-" in fields[6:-1]:
                        kind = fields[fields.index("-", 6) + 1]
                        return kind not in _MAKE_UP_INODES and not kind.startswith("fuse")
        except OSError:
            pass
        # Subvolumes of btrfs are not listed under their device number; systems without the list have stable numbers.
        return True
