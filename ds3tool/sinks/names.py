"""Names that a file below a target folder can safely have."""

from __future__ import annotations

import os
import re
import string
from collections.abc import Sequence

from ds3tool.errors import SinkError

# Linux's NAME_MAX.
_LONGEST_PART = 255
# Names of which one look shows that nothing is wrong: no part is longer, empty, or of dots alone.
_PLAIN = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._ -]{0,250}/)*[A-Za-z0-9_-][A-Za-z0-9._ -]{0,250}", re.ASCII)
_PLAIN_BYTES = f"{string.ascii_letters}{string.digits}_-. /".encode()
_LONGEST_PLAIN = 251

# What `is_plain` asks, for those that ask it of each of a million.
PLAIN = _PLAIN.fullmatch


def is_plain(name: str) -> bool:
    """Whether one look shows that a file can safely have this relative name: ASCII, no part that begins with a dot."""
    return _PLAIN.fullmatch(name) is not None


def are_plain(names: Sequence[str]) -> bool:
    """Whether all of several names are plain: a quick look at them together, which may take plain ones for others."""
    joined = f"/{'/'.join(names)}/"
    # An empty part, one of dots, and one that begins with what `_PLAIN` does not have there.
    if max(map(len, names), default=0) > _LONGEST_PLAIN or "//" in joined or "/." in joined or "/ " in joined:
        return False
    return joined.isascii() and not joined.encode().translate(None, _PLAIN_BYTES)


def check_name(name: str) -> None:
    """Raise SinkError for a relative name that no file below a folder can safely have.

    Parts stand between `/`; one at the end makes it a folder's name.
    """
    if is_plain(name):
        return
    if "\0" in name:
        raise SinkError("its name holds a NUL, which no file name can")
    for part in name.removesuffix("/").split("/"):
        if part in {"", ".", ".."}:
            raise SinkError(
                f"its name has a part {part!r}, which is no file name and could lead out of the target folder",
                hint="get it alone, under a name of your choice: get ds3://BUCKET/KEY FILE",
            )
        try:
            length = len(os.fsencode(part))
        except UnicodeEncodeError as error:
            raise SinkError("its name cannot be written in this system's encoding") from error
        if length > _LONGEST_PART:
            raise SinkError(f"a part of its name is {length} bytes long, more than a file name can be")


def split(name: str) -> tuple[str, str]:
    """Return the folder that a file's or a folder's name stands in (empty for the target itself), and its last part."""
    folder, _, last = name.removesuffix("/").rpartition("/")
    return folder, last
