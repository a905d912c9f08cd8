"""Symbolic links as objects: what their content may be, and where a link may lead."""

from __future__ import annotations

import os
from enum import StrEnum

from ds3tool.errors import SinkError
from ds3tool.sinks.names import split
from ds3tool.transport.bodies import read_range

# Linux's PATH_MAX.
MAX_TARGET_BYTES = 4096


class Links(StrEnum):
    """What becomes of an object that was put as a symbolic link."""

    # Made again when its target stays below the sink's root, else it fails by name.
    INSIDE = "inside"
    # Made again as it is.
    STORE = "store"
    # Left out, and told in the notes.
    SKIP = "skip"


def check_size(name: str, size: int) -> None:
    """Raise SinkError when no link's target can be of that many bytes."""
    if not 0 < size <= MAX_TARGET_BYTES:
        raise SinkError(f"{name} cannot be made: it was put as a symbolic link, and no link's target has {size} bytes")


def read_target(descriptor: int, size: int, name: str) -> bytes:
    """Return a link's target, which is the content of an open file; SinkError when it can be none."""
    check_size(name, size)
    target = read_range(descriptor, 0, size, name)
    if b"\0" in target:
        raise SinkError(f"{name} cannot be made: it was put as a symbolic link, and its target holds a NUL")
    return target


def check_inside(name: str, target: bytes) -> None:
    """Raise SinkError unless a link of that name surely leads to something below the root.

    It must be relative, and go up by leading `..` only, not further than to the root: after a name that may itself
    be a link, `..` leads to wherever that one's target stands, and links that are harmless one by one get out
    together.
    """
    folder, _ = split(name)
    depth = len(folder.split("/")) if folder else 0
    down = False
    outside = target.startswith(b"/")
    for part in target.split(b"/"):
        if part == b"..":
            depth -= 1
            outside |= down or depth < 0
        elif part not in {b"", b"."}:
            down = True
    if outside:
        raise SinkError(
            f"{name} is a link to {os.fsdecode(target)!r}, which may lead out of the target folder",
            hint="--symlinks store makes such links as they are, --symlinks skip leaves them out",
        )
