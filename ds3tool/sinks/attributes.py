"""Gives files, folders and links the attributes that were stored with them, as far as this user may."""

from __future__ import annotations

import contextlib
import functools
import grp
import os
import pwd
import stat
from collections.abc import Callable

from ds3tool.protocol.attributes import FileAttributes
from ds3tool.sinks.notes import Notes

_OWNER = "owner or group not made again"
_MODE = "mode not made again"
_SPECIAL = "set-user-id, set-group-id or sticky bit not made again, since the owner is another"
_XATTRS = "extended attributes not made again"
_TIMES = "times not made again"
_SPECIAL_BITS = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX
# It gives whoever runs the file rights, as the set-user-id bit does.
_CAPABILITY = "security.capability"


class Attributes:
    """Gives attributes; what is refused goes to `notes`, and nothing is raised for it.

    Owners are known by name first and by number else, as tar does, and given by root only. The bits that lend rights
    are given only to a file that has come to its stored owner and group.
    """

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._is_root = os.geteuid() == 0

    def give(self, descriptor: int, attributes: FileAttributes, name: str) -> None:
        """Give an open file or folder its attributes, the times last; each refusal is noted under `name`."""
        owned = self._give_owner(
            attributes, name, os.fstat(descriptor), lambda uid, gid: os.chown(descriptor, uid, gid)
        )
        # Those of users need leave to write, which the mode may take away; those of the system must follow the mode.
        late = [one for one in attributes.xattrs if not one.startswith("user.")]
        for one in attributes.xattrs:
            if one.startswith("user."):
                self._give_xattr(descriptor, attributes, one, name)
        if attributes.mode is not None:
            self._give_mode(descriptor, stat.S_IMODE(attributes.mode), name, owned=owned)
        for one in late:
            if one == _CAPABILITY and not owned:
                self._notes.add(_XATTRS, name, f"{one}: the owner is another")
            else:
                self._give_xattr(descriptor, attributes, one, name)
        self._give_times(attributes, name, os.fstat(descriptor), lambda ns: os.utime(descriptor, ns=ns))

    def give_link(self, link: str, folder: int, attributes: FileAttributes, name: str) -> None:
        """Give the symbolic link `link` of an open folder its owner and its times; it has no mode of its own."""
        state = os.stat(link, dir_fd=folder, follow_symlinks=False)
        self._give_owner(
            attributes,
            name,
            state,
            lambda uid, gid: os.chown(link, uid, gid, dir_fd=folder, follow_symlinks=False),
        )
        if attributes.xattrs:
            self._notes.add(_XATTRS, name, "links cannot have them here")
        self._give_times(
            attributes, name, state, lambda ns: os.utime(link, ns=ns, dir_fd=folder, follow_symlinks=False)
        )

    def _give_owner(
        self, attributes: FileAttributes, name: str, state: os.stat_result, chown: Callable[[int, int], None]
    ) -> bool:
        """Return whether the file belongs now to the owner and the group that were stored, both being known."""
        uid, gid = _user(attributes.owner, attributes.uid), _group(attributes.group, attributes.gid)
        wanted = (state.st_uid if uid is None else uid, state.st_gid if gid is None else gid)
        if wanted != (state.st_uid, state.st_gid):
            if not self._is_root:
                self._notes.add(_OWNER, name, "only root may give files away")
                return False
            try:
                chown(*wanted)
            except OSError as error:
                self._notes.add(_OWNER, name, error.strerror or str(error))
                return False
        return uid is not None and gid is not None

    def _give_mode(self, descriptor: int, mode: int, name: str, *, owned: bool) -> None:
        if mode & _SPECIAL_BITS and not owned:
            self._notes.add(_SPECIAL, name)
            mode &= ~_SPECIAL_BITS
        try:
            os.chmod(descriptor, mode)
        except OSError as error:
            self._notes.add(_MODE, name, error.strerror or str(error))

    def _give_xattr(self, descriptor: int, attributes: FileAttributes, xattr: str, name: str) -> None:
        try:
            os.setxattr(descriptor, xattr, attributes.xattrs[xattr])
        except (OSError, ValueError) as error:
            self._notes.add(_XATTRS, name, f"{xattr}: {getattr(error, 'strerror', None) or error}")

    def _give_times(
        self,
        attributes: FileAttributes,
        name: str,
        state: os.stat_result,
        utime: Callable[[tuple[int, int]], None],
    ) -> None:
        if attributes.modified_ns is None and attributes.accessed_ns is None:
            return
        accessed = state.st_atime_ns if attributes.accessed_ns is None else attributes.accessed_ns
        modified = state.st_mtime_ns if attributes.modified_ns is None else attributes.modified_ns
        try:
            utime((accessed, modified))
        except (OSError, OverflowError) as error:
            self._notes.add(_TIMES, name, getattr(error, "strerror", None) or str(error))


@functools.lru_cache(maxsize=1024)
def _user(name: str | None, number: int | None) -> int | None:
    if name is not None:
        with contextlib.suppress(KeyError, ValueError):
            return pwd.getpwnam(name).pw_uid
    return number


@functools.lru_cache(maxsize=1024)
def _group(name: str | None, number: int | None) -> int | None:
    if name is not None:
        with contextlib.suppress(KeyError, ValueError):
            return grp.getgrnam(name).gr_gid
    return number
