"""UUIDs made from row numbers and back, so that 500,000 blobs need none stored and none indexed."""

from __future__ import annotations

import hashlib
import re

_BITS = 60
_MASK = (1 << _BITS) - 1
# Any odd number is a permutation of the 60-bit numbers; this one (of the golden ratio) scatters neighbours well.
_SCATTER = 0x9E3779B97F4A7C15 & _MASK | 1
_GATHER = pow(_SCATTER, -1, 1 << _BITS)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def is_uuid(text: str) -> bool:
    """Tell whether `text` has the form of a UUID, in any case."""
    return _UUID.fullmatch(text.lower()) is not None


class IdFamily:
    """The ids of one kind of row in one appliance: `of` a number, and the `number` of an id."""

    __slots__ = ("_prefix",)

    def __init__(self, instance: str, kind: str) -> None:
        digest = hashlib.sha256(f"{instance}/{kind}".encode()).hexdigest()
        self._prefix = f"{digest[:8]}-{digest[8:12]}-4{digest[12:15]}-8"

    def of(self, number: int) -> str:
        """Return the UUID of row `number` (1 or more)."""
        scattered = number * _SCATTER & _MASK
        return f"{self._prefix}{scattered >> 48:03x}-{scattered & 0xFFFF_FFFF_FFFF:012x}"

    def number(self, text: str) -> int | None:
        """Return the row number that `of` made `text` from, or None for any other text."""
        lower = text.lower()
        if not lower.startswith(self._prefix) or not _UUID.fullmatch(lower):
            return None
        scattered = int(lower[len(self._prefix) :].replace("-", ""), 16)
        return scattered * _GATHER & _MASK
