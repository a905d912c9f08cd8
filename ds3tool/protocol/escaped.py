"""File names that cannot be keys: what they are escaped to, and how the real name is known again.

A key is text that XML 1.0 can carry. A file's name is bytes: it may be no UTF-8, or hold control characters. Such a
name gets a key in which each byte that stands in the way is written `%XX`, and nothing else is changed; a literal
percent sign stays one. The bytes themselves travel as metadata, and only where they do is a key unescaped.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping

from ds3tool.protocol import xmlcodec
from ds3tool.protocol.attributes import from_base64

# The raw bytes of the whole key, in base64.
NAME = "ds3tool-name"

# What a byte that XML cannot carry, or that begins or goes on no UTF-8 character, is escaped to.
_ESCAPE = re.compile("%(?:[89A-F][0-9A-F]|0[1-8BCEF]|1[0-9A-F])")


def escape(raw: bytes) -> str:
    """Return the key of a name of these bytes: the name itself, where it can be a key."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("utf-8", "surrogateescape")
    else:
        if xmlcodec.fits(text):
            return text
    return "".join(character if xmlcodec.fits(character) else _escaped(character) for character in text)


def _escaped(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogateescape"))


def name_metadata(raw: bytes, key: str) -> dict[str, str]:
    """Return the metadata from which the name of these bytes is known again; none where `key` says it already.

    `key` is what the name was escaped to. Where it was given another last part since, that part counts as it is.
    """
    parts, key_parts = raw.split(b"/"), key.split("/")
    if len(parts) != len(key_parts):
        return {}
    real = [
        part if escape(part) == key_part else key_part.encode() for part, key_part in zip(parts, key_parts, strict=True)
    ]
    whole = b"/".join(real)
    if whole == key.encode():
        return {}
    return {NAME: base64.b64encode(whole).decode("ascii")}


def may_be_escaped(key: str) -> bool:
    """Return whether `key` looks as if it was escaped, so that its metadata are worth asking for."""
    return _ESCAPE.search(key) is not None


def may_some_be_escaped(keys: Iterable[str]) -> bool:
    """Return whether one of several keys looks as if it was escaped."""
    return _ESCAPE.search("\n".join(keys)) is not None


def raw_name(name: str, key: str, metadata: Mapping[str, str]) -> str | None:
    """Return the real name that `name` stands for, bytes that are no UTF-8 as surrogate escapes; None when it is real.

    `name` was made of `key`, perhaps without its first parts or with others: from the end on, its parts count as long
    as they are those of the key. Metadata that do not escape to exactly this key are a stranger's, and ignored. No
    part gains a slash, a NUL or the meaning of `.` or `..` by it.
    """
    raw = _raw_key(key, metadata)
    if raw is None:
        return None
    parts = name.split("/")
    found = False
    at = len(parts)
    for part, key_part in zip(reversed(raw.split(b"/")), reversed(key.split("/")), strict=True):
        at -= 1
        if at < 0 or parts[at] != key_part:
            break
        real = part.decode("utf-8", "surrogateescape")
        found = found or real != key_part
        parts[at] = real
    return "/".join(parts) if found else None


def _raw_key(key: str, metadata: Mapping[str, str]) -> bytes | None:
    """Return the bytes that `metadata` give for the whole of `key`, where they are to be believed."""
    text = next((value for name, value in metadata.items() if name.lower() == NAME), None)
    if text is None or not may_be_escaped(key):
        return None
    raw = from_base64(text)
    # Escaping touches neither slashes nor dots, so equal keys have equal parts but for what was escaped.
    return raw if raw is not None and b"\0" not in raw and escape(raw) == key else None
