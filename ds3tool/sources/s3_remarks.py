"""What a person should know of objects that were put from S3, gathered by several threads and told once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import field

from ds3tool.lazy_dataclass import dataclass
from ds3tool.sources.attributes import some

_SHOWN = 3
# What was left out is told of so many objects one by one; of more, how many they are.
_MOST_LEFT_OUT = 20


@dataclass(slots=True)
class _Kind:
    """How many objects there are of a kind, and the first few."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, key: str) -> None:
        self.count += 1
        if len(self.first) < _SHOWN:
            self.first.append(key)

    @property
    def shown(self) -> str:
        return some(self.first, self.count, "object")


class Remarks:
    """Counts objects of each kind of remark, and names the first few; told of each object once. From any thread.

    `host` is who has the objects.
    """

    def __init__(self, host: str = "S3") -> None:
        self._host = host
        self._lock = threading.Lock()
        self._tags = _Kind()
        self._compared = _Kind()
        self._cut = _Kind()
        self._left_out: list[str] = []

    def tags_missing(self, key: str) -> None:
        """An object has tags that may not be read."""
        with self._lock:
            self._tags.add(key)

    def left_out(self, key: str, names: Sequence[str]) -> None:
        """Of what S3 keeps with an object, these were not stored."""
        with self._lock:
            if len(self._left_out) < _MOST_LEFT_OUT:
                self._left_out.append(f"{key}: not stored with it, for want of room in a header: {', '.join(names)}")
            else:
                self._cut.add(key)

    def not_compared(self, key: str) -> None:
        """An object was put, and nothing that S3 states of it could be held against all of its bytes."""
        with self._lock:
            self._compared.add(key)

    @property
    def notes(self) -> list[str]:
        """Return a sentence for each kind that there was."""
        notes = []
        with self._lock:
            if self._compared.count:
                them = "it" if self._compared.count == 1 else "them"
                notes.append(
                    f"{self._compared.shown}: {self._host} states no digest that could be held against what was "
                    f"read of {them}; that it arrived as it was read was verified"
                )
            if self._tags.count:
                notes.append(f"the tags of {self._tags.shown} are not stored: {self._host} does not let them be read")
            notes.extend(sorted(self._left_out))
            if self._cut.count:
                notes.append(
                    f"nor is all that {self._host} keeps with {self._cut.shown} stored: there is no room in a header"
                )
        return notes
