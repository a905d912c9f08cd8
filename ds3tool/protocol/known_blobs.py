"""Runs of blobs that are just what a job is known to have: not taken apart, but held against what they should be.

A run is put together anew, from the texts that the first blob of it has in common with the others, from what is known,
and from the two that only the appliance knows, the ids of the blob and of its version. Where that gives the document's
own bytes, nothing in it can be otherwise.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol import xmlcodec

# What differs from blob to blob, and has always as many characters.
_IDS = frozenset({"Id", "VersionId"})
# Of a length in 64 bits.
_MOST_DIGITS = 20


@dataclass(frozen=True, slots=True)
class KnownBlobs:
    """What a job is known to list, in this order: keys, and as far as they are known the lengths of their blobs."""

    keys: list[str]
    lengths: array[int] | None = None

    def lengths_of(self, start: int, count: int) -> array[int] | None:
        """Return the lengths of so many, None where they are not known."""
        return None if self.lengths is None else self.lengths[start : start + count]


@dataclass(frozen=True, slots=True)
class KnownRun:
    """So many blobs that are what is known; their versions where they are told."""

    count: int
    version_ids: list[str] | None


class _Pattern:
    """How blobs are written that are like a `first` one: the texts between what differs, and the names of that."""

    __slots__ = ("ending", "names", "texts", "widths")

    def __init__(self, first: re.Match[bytes], *, one_length: bool) -> None:
        parts = first[0].decode().split('"')
        self.texts: list[str] = []
        self.names: list[str] = []
        self.widths: list[int] = []
        text = ""
        for before, value in zip(parts[:-1:2], parts[1::2], strict=True):
            name = before.rpartition(" ")[2][:-1]
            text += f'{before}"'
            if name == "Name" or name in _IDS or (name == "Length" and not one_length):
                self.texts.append(text)
                self.names.append(name)
                self.widths.append(len(value))
                text = '"'
            else:
                text += f'{value}"'
        self.ending = text + parts[-1]


def known_run(text: str, first: re.Match[bytes], known: KnownBlobs, start: int, length: int) -> KnownRun | None:
    """Return what `text` holds, if it is nothing but the known blobs from number `start` on, as `first` is written.

    `first` is the tag of the blob before them, of the known key before number `start`, which was read, and `length` the
    length of that blob. None where anything is otherwise, or has to be looked at by itself: that says nothing of it.
    """
    most = len(text) // max(1, len(first[0]) - len(known.keys[start - 1].encode()) - _MOST_DIGITS) + 1
    keys, lengths = known.keys[start : start + most], known.lengths_of(start, most)
    if not keys or (lengths is not None and len(lengths) != len(keys)):
        return None
    one_length = lengths is None or lengths.count(length) == len(keys)
    pattern = _Pattern(first, one_length=one_length)
    written = [] if one_length or lengths is None else list(map(str, lengths))
    fixed = sum(map(len, pattern.texts)) + len(pattern.ending)
    fixed += sum(width for name, width in zip(pattern.names, pattern.widths, strict=True) if name in _IDS)
    sizes = [fixed + size for size in map(len, keys)]
    if written:
        sizes = [size + more for size, more in zip(sizes, map(len, written), strict=True)]
    ends = list(accumulate(sizes))
    count = bisect_left(ends, len(text)) + 1
    if count > len(ends) or ends[count - 1] != len(text):
        return None
    columns: dict[str, list[str]] = {"Name": keys[:count], "Length": written[:count]}
    columns |= _ids(text, pattern, [0, *ends[: count - 1]], ends[:count])
    width = 2 * len(pattern.names) + 1
    pieces = [pattern.ending] * (width * count)
    for place, (before, name) in enumerate(zip(pattern.texts, pattern.names, strict=True)):
        if len(columns[name]) != count:
            return None
        pieces[2 * place :: width] = [before] * count
        pieces[2 * place + 1 :: width] = columns[name]
    if "".join(pieces) != text or any(
        xmlcodec.any_special(columns[name]) for name in pattern.names if name != "Length"
    ):
        return None
    return KnownRun(count, columns.get("VersionId"))


def _ids(text: str, pattern: _Pattern, starts: Sequence[int], ends: Sequence[int]) -> dict[str, list[str]]:
    """Return what stands where the ids of each blob should be; those between name and length are left out."""
    found: dict[str, list[str]] = {}
    names = pattern.names
    others = [place for place, name in enumerate(names) if name not in _IDS]
    at = 0
    for place, name in enumerate(names):
        at += len(pattern.texts[place])
        if place > others[0]:
            break
        if name in _IDS:
            till = at + pattern.widths[place]
            found[name] = [text[start + at : start + till] for start in starts]
            at = till
    at = len(pattern.ending)
    for place in range(len(names) - 1, others[-1], -1):
        from_, till = at + pattern.widths[place], at
        found[names[place]] = [text[end - from_ : end - till] for end in ends]
        at = from_ + len(pattern.texts[place])
    for name in _IDS.intersection(names):
        found.setdefault(name, [])
    return found
