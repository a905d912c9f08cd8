"""What a sink could not do, though the objects' bytes are safe: counted, and told once for each kind."""

from __future__ import annotations

import threading


class Notes:
    """Counts what was left undone; safe for several threads. Memory is one entry for each kind."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kinds: dict[str, tuple[int, str]] = {}

    def add(self, kind: str, name: str, reason: str = "") -> None:
        """Note that this kind of thing (`owner or group not made again`) befell the object of that name."""
        with self._lock:
            count, first = self._kinds.get(kind, (0, f"{name} ({reason})" if reason else name))
            self._kinds[kind] = (count + 1, first)

    @property
    def sentences(self) -> list[str]:
        """One sentence for each kind: how many objects, and the first of them."""
        with self._lock:
            return [
                f"{kind}: {first}" if count == 1 else f"{kind}: {count} objects, the first {first}"
                for kind, (count, first) in self._kinds.items()
            ]
