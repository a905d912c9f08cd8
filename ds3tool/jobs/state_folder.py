"""The folder where journals are kept: private, on a disk of this machine, and never on a network file system."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from contextlib import suppress

from ds3tool.errors import ConfigError, Ds3Error, JournalError
from ds3tool.lazy_dataclass import dataclass

StatePath = str | os.PathLike[str]

JOBS = "jobs"
# Journals of work that is done; they are kept for their digests, and `resume` need not look at them.
DONE = "done"
ELSEWHERE = "keep what ds3tool remembers on a local disk: --state-dir DIR or DS3TOOL_STATE_DIR"

# What is written here must be safe when the file system says so, and locked when it says so. Over a network both
# depend on servers and options that nobody sees from here: SQLite's authors advise against every one of these.
_NETWORKS = frozenset(
    {
        "nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "ncpfs", "afs", "coda", "davfs", "lustre", "gpfs", "beegfs",
        "ceph", "glusterfs", "orangefs", "pvfs2", "panfs", "wekafs", "gfs2", "ocfs2",
    }
)  # fmt: skip
# A disk that the kernel hands to a helper (NTFS, exFAT): everything else of FUSE may be a network (sshfs, s3fs,
# rclone, GlusterFS), and whether a lock or an fsync means anything there only its helper knows.
_LOCAL_FUSE = "fuseblk"
# 9p and virtiofs carry a folder of this very machine into a container or a virtual machine, and are admitted.


def is_network(file_system: str) -> bool:
    """Whether a file system of this type may lie on another machine; FUSE counts, unless it is a disk's."""
    if file_system.startswith("fuse"):
        return file_system != _LOCAL_FUSE
    return file_system in _NETWORKS


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system: the number of its device, where it is mounted, and its type."""

    device: str
    path: str
    type: str


def parse_mounts(lines: Iterable[str]) -> list[Mount]:
    """Return the mounts that the lines of `/proc/self/mountinfo` tell; lines of another shape are left out."""
    found = []
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) >= 5 and after:
            path = fields[4].encode().decode("unicode_escape") if "\\" in fields[4] else fields[4]
            found.append(Mount(fields[2], path, after.split()[0]))
    return found


def file_system_of(device: int, path: str, mounts: Iterable[Mount]) -> str | None:
    """Return the type of the file system that holds `path`, which is absolute and real; None when nobody tells.

    The device's number decides; file systems that have several (btrfs) are found by where they are mounted.
    """
    wanted = f"{os.major(device)}:{os.minor(device)}"
    nearest: Mount | None = None
    for mount in mounts:
        if mount.device == wanted:
            return mount.type
        inside = path == mount.path or path.startswith(mount.path.rstrip("/") + "/")
        if inside and (nearest is None or len(mount.path) >= len(nearest.path)):
            nearest = mount
    return None if nearest is None else nearest.type


def refuse_network(folder: str) -> None:
    """Raise ConfigError when `folder`, which is there, lies on a network file system, as far as Linux tells."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            mounts = parse_mounts(file)
    except OSError:
        return  # no Linux, or no /proc
    real = os.path.realpath(folder)
    type_ = file_system_of(os.stat(real).st_dev, real, mounts)
    if type_ is not None and is_network(type_):
        raise ConfigError(
            f"{folder} lies on a file system ({type_}) where nobody can tell whether what is written is safe",
            hint=ELSEWHERE,
        )


def jobs_folder(state_folder: StatePath) -> str:
    """Return the folder of the journals below the state folder, made when it is not there, for this user alone.

    Raises ConfigError when it cannot be made or written to, or lies on a network file system; JournalError when its
    disk is full.
    """
    state = os.fspath(state_folder)
    folder = os.path.join(state, JOBS)
    try:
        os.makedirs(state, mode=0o700, exist_ok=True)
        if _make_private(folder):  # the first of all journals must not be lost with its folder
            for each in (state, os.path.dirname(os.path.abspath(state))):
                with suppress(PermissionError):  # one may write there, and not read
                    sync_folder(each)
        _make_private(os.path.join(folder, DONE))
    except OSError as error:
        raise folder_error(state, error) from error
    refuse_network(folder)
    return folder


def _make_private(folder: str) -> bool:
    """Make a folder for this user alone; return whether it was not there."""
    try:
        os.mkdir(folder, 0o700)
        return True
    except FileExistsError:
        found = os.stat(folder)
        if not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory", folder) from None
        # The names of files and buckets are nobody else's business.
        if found.st_mode & 0o077 and found.st_uid == os.geteuid():
            os.chmod(folder, 0o700)
        return False


def folder_error(folder: str, error: OSError) -> Ds3Error:
    """Return what to raise when a folder of journals cannot be made, read or written to."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return JournalError(
            f"there is no room for a journal in {folder}: {error.strerror}", hint=f"make room, or {ELSEWHERE}"
        )
    return ConfigError(f"nothing can be remembered in {folder}: {error.strerror}", hint=ELSEWHERE)


def sync_folder(folder: str) -> None:
    """See to it that the names in a folder are safe on the disk; OSError when they cannot be."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that does not know how does it by itself, or never
            raise
    finally:
        os.close(descriptor)
