"""A file's attributes as an object's metadata: the vendor's keys, and ours for what those cannot hold.

The vendor's (`ds3-...`) let files travel between tools. Ours (`ds3tool-...`) add nanoseconds, extended attributes,
symbolic links and sparse files. Names are read without regard to case, since the appliance gives them back in lower
case. Source of the vendor's keys: the metadata module of its Java SDK; protocol, 14.
"""

from __future__ import annotations

import base64
import binascii
import re
import stat
from collections.abc import Mapping
from dataclasses import field

from ds3tool.lazy_dataclass import dataclass

# What other metadata may not begin with, lest it be taken for a file's attributes.
RESERVED = ("ds3-", "ds3tool-")

# The appliance's limit for the headers of a request is not documented. Web servers commonly take 8 KiB in all, of
# which the path, the signature and the other metadata need their share.
MAX_XATTRS_CHARACTERS = 4096

NS_IN_MS = 1_000_000
_LARGEST_TIME_NS = 2**63 - 1
# The one above is what chown takes for "leave it".
_LARGEST_ID = 2**32 - 2
_LARGEST_MODE = 0o177777
_PERMISSIONS = 0o777
_YES = "1"


@dataclass(frozen=True, slots=True)
class FileAttributes:
    """What a file system says of a file beside its name and its bytes; None is what nobody said.

    Times are nanoseconds since 1970 and may be negative; `created_ns` is kept to the millisecond. `mode` holds the
    bits of the file's type too. `owner` and `group` are names. `xattrs` are extended attributes, name to value; a
    name that is not UTF-8 holds surrogate escapes. `link`: the object's bytes are the target of a symbolic link.
    `sparse`: the file had holes. `os` is the system the file was on (`Linux`).
    """

    modified_ns: int | None = None
    accessed_ns: int | None = None
    created_ns: int | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    owner: str | None = None
    group: str | None = None
    xattrs: Mapping[str, bytes] = field(default_factory=dict)
    link: bool = False
    sparse: bool = False
    os: str | None = None

    def to_metadata(self) -> dict[str, str]:
        """Return the metadata that say the same. Names of owners that UTF-8 cannot express are left out.

        The extended attributes are all in it; `fitting_xattrs` says which of them a request can carry.
        """
        found: dict[str, str | None] = {
            "ds3-os": _text(self.os),
            "ds3-last-modified-time": _milliseconds(self.modified_ns),
            "ds3tool-mtime-ns": _decimal(self.modified_ns),
            "ds3-last-access-time": _milliseconds(self.accessed_ns),
            "ds3tool-atime-ns": _decimal(self.accessed_ns),
            "ds3-creation-time": _milliseconds(self.created_ns),
            "ds3-uid": _decimal(self.uid),
            "ds3-gid": _decimal(self.gid),
            "ds3-mode": None if self.mode is None else f"{self.mode:o}",
            "ds3-permissions": None if self.mode is None else _permissions(self.mode),
            "ds3-ownerName": _text(self.owner),
            "ds3-groupName": _text(self.group),
            "ds3tool-xattrs": xattrs_text(self.xattrs),
            "ds3tool-link": _YES if self.link else None,
            "ds3tool-sparse": _YES if self.sparse else None,
        }
        return {name: value for name, value in found.items() if value}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> FileAttributes:
        """Return what `metadata` say of a file; whatever is malformed or out of range is taken for not said.

        Never raises: metadata may be anybody's. Numbers fit the system's calls (times 64 bits, mode 16, ids 32);
        whether an owner or a set-user-id bit is to be believed is for the caller to say.
        """
        lower = {name.lower(): value for name, value in metadata.items()}
        mode = _octal(lower.get("ds3-mode"), _LARGEST_MODE)
        if mode is None:
            mode = _octal(lower.get("ds3-permissions", "").partition("(")[0], _PERMISSIONS)
        return cls(
            modified_ns=_nanoseconds(lower.get("ds3-last-modified-time"), lower.get("ds3tool-mtime-ns")),
            accessed_ns=_nanoseconds(lower.get("ds3-last-access-time"), lower.get("ds3tool-atime-ns")),
            created_ns=_nanoseconds(lower.get("ds3-creation-time"), None),
            mode=mode,
            uid=_number(lower.get("ds3-uid"), 0, _LARGEST_ID),
            gid=_number(lower.get("ds3-gid"), 0, _LARGEST_ID),
            owner=lower.get("ds3-ownername") or None,
            group=lower.get("ds3-groupname") or None,
            xattrs=_pairs(lower.get("ds3tool-xattrs", "")),
            link=lower.get("ds3tool-link") == _YES,
            sparse=lower.get("ds3tool-sparse") == _YES,
            os=lower.get("ds3-os") or None,
        )


def fitting_xattrs(xattrs: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return those extended attributes that a request can carry together: the small ones first, in their own order."""
    room = MAX_XATTRS_CHARACTERS
    kept: set[str] = set()
    for name, value in sorted(xattrs.items(), key=lambda one: len(one[1])):
        size = len(_pair(name, value)) + 1
        if size <= room:
            room -= size
            kept.add(name)
    return {name: value for name, value in xattrs.items() if name in kept}


# -- numbers and text -------------------------------------------------------------------------------------------------


def _decimal(number: int | None) -> str | None:
    return None if number is None else str(number)


def _milliseconds(moment_ns: int | None) -> str | None:
    return None if moment_ns is None else str(moment_ns // NS_IN_MS)


def _permissions(mode: int) -> str:
    """Return the permissions as the vendor's client writes them, `644(rw-r--r--)`; it reads what is in parentheses."""
    shown = stat.filemode(mode & _PERMISSIONS)[1:]
    return f"{mode & _PERMISSIONS:03o}({shown})"


def _text(text: str | None) -> str | None:
    try:
        return None if text is None else text.encode("utf-8").decode("utf-8")
    except UnicodeEncodeError:
        return None


def _number(text: str | None, least: int, most: int) -> int | None:
    if text is None or re.fullmatch(r"-?[0-9]{1,20}", text) is None:
        return None
    number = int(text)
    return number if least <= number <= most else None


def _octal(text: str | None, most: int) -> int | None:
    if text is None or re.fullmatch(r"[0-7]{1,12}", text) is None:
        return None
    number = int(text, 8)
    return number if number <= most else None


def _nanoseconds(milliseconds: str | None, nanoseconds: str | None) -> int | None:
    """Return the moment in nanoseconds; the finer number counts only where another tool has not changed the other."""
    coarse = _number(milliseconds, -_LARGEST_TIME_NS // NS_IN_MS, _LARGEST_TIME_NS // NS_IN_MS)
    if coarse is None:
        return None
    fine = _number(nanoseconds, -_LARGEST_TIME_NS, _LARGEST_TIME_NS)
    return fine if fine is not None and fine // NS_IN_MS == coarse else coarse * NS_IN_MS


# -- extended attributes ----------------------------------------------------------------------------------------------

# Written as NAME:VALUE, joined by slashes, both sides in base64 of the alphabet that needs no escaping in a header.
# Names stand in the value because they are told apart by case, which names of metadata are not.


def xattrs_text(xattrs: Mapping[str, bytes]) -> str:
    """Return extended attributes as one value of metadata, which no header needs escaped."""
    return "/".join(_pair(name, value) for name, value in xattrs.items())


def _pair(name: str, value: bytes) -> str:
    return f"{_base64(name.encode('utf-8', 'surrogateescape'))}:{_base64(value)}"


def _pairs(text: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for pair in text.split("/"):
        name64, colon, value64 = pair.partition(":")
        name, value = from_base64(name64), from_base64(value64)
        if colon and name and value is not None and b"\0" not in name:
            found[name.decode("utf-8", "surrogateescape")] = value
    return found


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")


def from_base64(text: str) -> bytes | None:
    """Return what base64 of either alphabet, with or without its padding, stands for; None when it is none."""
    if re.fullmatch(r"[A-Za-z0-9+/_-]*={0,2}", text) is None:
        return None
    bare = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except binascii.Error:
        return None
