"""What temporary files are called, so that a later run of the same work finds them; whose they are; their removal."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator

from ds3tool.errors import SinkError, UsageError
from ds3tool.jobs.ends import TargetObject
from ds3tool.sinks.folders import Folders
from ds3tool.sinks.names import split

PREFIX = ".ds3tool-"
_SUFFIX = ".part"
_LINK = "-link"
_DIGEST_BYTES = 10
_TOKEN = re.compile(r"[0-9A-Za-z_-]{1,64}")


def check_token(token: str) -> str:
    """Return what is to stand in the names of one work's temporary files; UsageError when no name can hold it."""
    if _TOKEN.fullmatch(token) is None:
        raise UsageError(f"{token!r} cannot stand in the name of a temporary file")
    return token


def own_prefix(token: str) -> str:
    """Return what the names of all temporary files of a work begin with."""
    return f"{PREFIX}{token}-"


def part_name(token: str, item: TargetObject, number: int = 0) -> str:
    """Return the name of an object's temporary file, which stands beside where the object will appear.

    Whoever gets the same bytes under the same name as part of the same work finds it. `number` tells those apart of
    which the first stands for something that is not ours.
    """
    told = f"{item.name}\0{item.key}\0{item.version_id or ''}"
    if item.ranges:
        told = "\0".join([told, *(f"{one.start}-{one.end}" for one in item.ranges)])
    digest = hashlib.blake2b(told.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).hexdigest()
    return f"{PREFIX}{token}-{digest}{f'-{number}' if number else ''}{_SUFFIX}"


def link_name(part: str) -> str:
    """Return the name of the temporary link that is made of a temporary file's content."""
    return f"{part.removesuffix(_SUFFIX)}{_LINK}{_SUFFIX}"


def trial_name(token: str) -> str:
    """Return the name of a temporary file by which is tried for a moment what the file system can do."""
    return f"{PREFIX}{token}-{'0' * 2 * _DIGEST_BYTES}{_SUFFIX}"


def is_ours(state: os.stat_result) -> bool:
    """Whether something that has the name of one of our temporary files may be removed, going by what it is.

    A superuser gives files away before they have their names, so any owner's may be such a one's.
    """
    if not (stat.S_ISREG(state.st_mode) or stat.S_ISLNK(state.st_mode)):
        return False
    return os.geteuid() in {0, state.st_uid}


def is_usable(state: os.stat_result, item: TargetObject) -> bool:
    """Whether a temporary file that was found may be written on: nobody else can reach it, and it has its size.

    One of two names is what has appeared under the other.
    """
    return (
        stat.S_ISREG(state.st_mode)
        and state.st_uid == os.geteuid()
        and state.st_nlink == 1
        and state.st_size == item.size
    )


def sweep(root: str, token: str, names: Iterable[str] | None = None) -> int:
    """Remove every temporary file that a work of this token has left below `root`; return how many there were.

    With `names`, those of its objects, only the folders are searched that these stand in; else all that is below, but
    no link is followed. Nothing of anybody else, and of no other work, is touched; what cannot be removed stays.
    A root that is not there, or that cannot be written to, is left as it is.
    """
    pattern = re.compile(
        re.escape(own_prefix(check_token(token)))
        + f"[0-9a-f]{{{2 * _DIGEST_BYTES}}}(-[0-9]+)?(?:{_LINK})?"
        + re.escape(_SUFFIX)
    )
    if not os.path.isdir(root):
        return 0
    try:
        folders = Folders(root, make=False)
    except SinkError:
        return 0
    try:
        return sum(_sweep_folder(folders, path, pattern) for path in _paths(root, names))
    finally:
        folders.close()


def _paths(root: str, names: Iterable[str] | None) -> Iterator[str]:
    if names is not None:
        yield from {split(name)[0] for name in names}
        return
    base = os.path.abspath(root)
    for path, _, _ in os.walk(base):
        below = os.path.relpath(path, base)
        yield "" if below == os.curdir else below


def _sweep_folder(folders: Folders, path: str, pattern: re.Pattern[str]) -> int:
    removed = 0
    with contextlib.suppress(OSError, SinkError), folders.opened(path, make=False) as descriptor:
        with os.scandir(descriptor) as entries:
            found = [entry.name for entry in entries if pattern.fullmatch(entry.name)]
        for name in found:
            removed += remove(name, descriptor)
    return removed


def remove(name: str, folder: int) -> bool:
    """Remove what has this name of ours in an open folder; False when it is not ours, or cannot be removed."""
    try:
        if is_ours(os.stat(name, dir_fd=folder, follow_symlinks=False)):
            os.unlink(name, dir_fd=folder)
            return True
    except OSError:
        pass
    return False
