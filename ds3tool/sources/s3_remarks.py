"""What a person should know of objects that were put from S3, gathered by several threads and told once."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from ds3tool.sources.attributes import some

_SHOWN = 3


class Remarks:
    """Counts objects of each kind of remark, and names the first few. `host` is who had the objects."""

    def __init__(self, host: str = "S3") -> None:
        self._host = host
        self._lock = threading.Lock()
        self._tags: dict[str, None] = {}
        self._left_out: dict[str, tuple[str, ...]] = {}
        self._not_compared: list[str] = []
        self._not_compared_count = 0

    def tags_missing(self, key: str) -> None:
        """An object has tags that may not be read."""
        with self._lock:
            self._tags[key] = None

    def left_out(self, key: str, names: Iterable[str]) -> None:
        """Of what S3 keeps with an object, not all was stored."""
        with self._lock:
            self._left_out[key] = tuple(names)

    def not_compared(self, key: str) -> None:
        """An object was put, and nothing that S3 states of it could be held against all of its bytes."""
        with self._lock:
            self._not_compared_count += 1
            if len(self._not_compared) < _SHOWN:
                self._not_compared.append(key)

    @property
    def notes(self) -> list[str]:
        """Return a sentence for each kind that there was."""
        with self._lock:
            tags, left_out = list(self._tags), sorted(self._left_out.items())
            compared = some(self._not_compared, self._not_compared_count, "object")
            count = self._not_compared_count
        notes = []
        if count:
            notes.append(
                f"{compared}: {self._host} states no digest that could be held against what was read of "
                f"{'it' if count == 1 else 'them'}; that it arrived as it was read was verified"
            )
        if tags:
            notes.append(f"the tags of {some(tags, len(tags), 'object')} are not stored: S3 does not let them be read")
        notes.extend(f"{key}: not stored, for want of room in a header: {', '.join(out)}" for key, out in left_out)
        return notes
