"""Metadata of objects, to headers and back: names in lower case, both sides percent-encoded UTF-8."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from ds3tool.errors import UsageError
from ds3tool.protocol import names
from ds3tool.protocol.attributes import RESERVED

# Every reader decodes, so little is left as it is. A comma would be taken for two values, a plus for a blank.
_SAFE_IN_NAMES = "-._~"
_SAFE_IN_VALUES = "-._~/:"
_LTFS = "x-spectra-ltfs-"

_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def to_headers(metadata: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the headers that carry `metadata`, in its order.

    UsageError for an empty name, for two names that differ in case only (the appliance keeps one), and for text
    that UTF-8 cannot express.
    """
    headers: dict[str, str] = {}
    for name, value in metadata.items():
        lower = name.translate(_LOWER)
        if not lower:
            raise UsageError("a metadata name is empty")
        try:
            header = names.METADATA + quote(lower, safe=_SAFE_IN_NAMES)
            encoded = quote(value, safe=_SAFE_IN_VALUES)
        except UnicodeEncodeError as error:
            raise UsageError(f"metadata {name!a} holds text that UTF-8 cannot express") from error
        if header in headers:
            raise UsageError(
                f"metadata name {lower!a} is given twice; the appliance does not tell upper from lower case"
            )
        headers[header] = encoded
    return tuple(headers.items())


class HeaderLines(NamedTuple):
    """Headers that carry metadata, as text: `head` in a request's head, `signed` in what is signed of it, sorted."""

    head: str
    signed: str


def lines_of(headers: Iterable[tuple[str, str]]) -> HeaderLines:
    """Return the lines of headers that `to_headers` made."""
    given = tuple(headers)
    return HeaderLines(
        "".join([f"{name}: {value}\r\n" for name, value in given]),
        "".join([f"{name}:{value}\n" for name, value in sorted(given)]),
    )


class CommonLines:
    """The metadata that go out with every object of a job, and those of one object's attributes among them.

    `lines` is None where there are none. `leaves_room`: none of them is, or sorts among, what attributes are kept as.
    """

    def __init__(self, metadata: Mapping[str, str]) -> None:
        headers = to_headers(metadata)
        first, last = names.METADATA + min(RESERVED), names.METADATA + max(RESERVED)
        before = tuple(one for one in headers if one[0] < first)
        after = tuple(one for one in headers if one[0] > last and not one[0].startswith(last))
        self.leaves_room = len(before) + len(after) == len(headers)
        self.lines = lines_of(headers) if headers else None
        self._before, self._after = lines_of(before).signed, lines_of(after).signed

    def beside(self, own: HeaderLines) -> HeaderLines:
        """Return them and an object's own, whose names begin as RESERVED says; only where that `leaves_room`."""
        if self.lines is None:
            return own
        return HeaderLines(self.lines.head + own.head, self._before + own.signed + self._after)


def is_in(headers: Mapping[str, str]) -> bool:
    """Whether a reply carries any metadata; names of headers in lower case. Cheap, for replies by the thousand."""
    return any(name.startswith((names.METADATA, _LTFS)) for name in headers)


def from_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the metadata among a reply's headers; names in lower case, text that is no escape left as it came.

    Headers that begin with `x-spectra-ltfs-` are metadata too and keep that beginning in their name.
    """
    metadata: dict[str, str] = {}
    for name, value in headers.items():
        lower = name.translate(_LOWER)
        if lower.startswith(names.METADATA):
            metadata[_decode(lower[len(names.METADATA) :]).translate(_LOWER)] = _decode(value)
        elif lower.startswith(_LTFS):
            metadata[_decode(lower)] = _decode(value)
    return metadata


def _decode(text: str) -> str:
    if "%" not in text:
        return text
    try:
        return unquote_to_bytes(text.encode("latin-1", "strict")).decode("utf-8")
    except UnicodeError:
        return text
