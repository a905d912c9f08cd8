"""The disk cache in front of the tapes: one file a blob, a size that is never passed, eviction of what tape holds."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import sqlite3
from pathlib import Path

from ds3tool.simulator.faults import Fault, Faults
from ds3tool.simulator.store import Store

_log = logging.getLogger(__name__)

_FOLDERS = 256
_BATCH = 500
# Blobs on every tape they belong on, that no chunk handed to a client or a drive still needs. A copy that is suspect,
# or whose tape is lost or bad, may be none: with no other one the cache has the only bytes that are left.
_EVICTABLE = """
SELECT n, length FROM blobs b WHERE cached = 1 AND persisted = 1 AND NOT EXISTS (
  SELECT 1 FROM entries e JOIN chunks c ON c.n = e.chunk WHERE e.blob = b.n AND e.done = 0 AND c.allocated = 1
) AND EXISTS (
  SELECT 1 FROM copies k CROSS JOIN tapes t ON t.n = k.tape
  WHERE k.blob = b.n AND k.suspect = 0 AND t.state NOT IN ('LOST', 'BAD')
) ORDER BY used LIMIT ?
"""


class Cache:
    """Bytes of the cache: `used` counts blobs held and room set aside for blobs that are to come.

    Every method but `path` and `new_path` is called with the store's lock held; those that evict, outside of a
    transaction.
    """

    def __init__(self, store: Store, directory: Path, capacity: int, faults: Faults) -> None:
        self._store = store
        self._faults = faults
        self._directory = str(directory)
        self.capacity = capacity
        self.used = 0
        # Counted by one call, which no other thread comes between: drives take paths without the lock.
        self._arrivals = itertools.count(1)
        # Made when something comes into them: 256 of them would be most of what a start costs.
        self._folders: set[int] = set()
        os.makedirs(directory, exist_ok=True)

    def path(self, blob: int) -> str:
        """Return where the bytes of blob `blob` are while it is cached."""
        return f"{self._directory}/{blob % _FOLDERS:02x}/{blob}"

    def new_path(self, blob: int) -> str:
        """Return a path beside `path` that nobody else writes to, for bytes on their way in."""
        self._make_folder(blob)
        return f"{self.path(blob)}.{next(self._arrivals)}.part"

    def take_in(self, arrived: str, blob: int) -> None:
        """Make the file `arrived`, a new path of this or another blob, the bytes of blob `blob`."""
        self._make_folder(blob)
        os.replace(arrived, self.path(blob))

    def _make_folder(self, blob: int) -> None:
        number = blob % _FOLDERS
        if number not in self._folders:
            os.makedirs(f"{self._directory}/{number:02x}", exist_ok=True)
            self._folders.add(number)

    @property
    def throttled(self) -> bool:
        """Whether so much is in use that jobs get no more chunks than their priority's window."""
        return self.used > self.capacity * 72 // 100

    def make_room(self, size: int, limit: int) -> bool:
        """Evict, oldest first, until `size` more bytes fit into `limit`; False when they do not."""
        if size and self._faults.strike(Fault.CACHE_FULL, f"room for {size}"):
            return False
        if self.used + size <= limit:
            return True
        if size > limit or self.used + size - self._evictable_bytes() > limit:
            return False
        while self.used + size > limit:
            if not self._evict(self.used + size - limit):
                return False
        return True

    def _evictable_bytes(self) -> int:
        (total,) = self._store.db.execute(
            "SELECT coalesce(sum(length), 0) FROM blobs WHERE cached = 1 AND persisted = 1"
        ).fetchone()
        return int(total)

    def _evict(self, wanted: int) -> int:
        """Evict at least `wanted` bytes if one batch holds so many; return the bytes evicted."""
        rows = self._store.db.execute(_EVICTABLE, (_BATCH,)).fetchall()
        freed = 0
        with self._store.writing() as db:
            for blob, length in rows:
                if freed >= wanted and wanted:
                    break
                db.execute("UPDATE blobs SET cached = 0 WHERE n = ?", (blob,))
                self.forget(blob, length)
                freed += length
        return freed

    def reclaim(self) -> int:
        """Evict all that need not stay; return the bytes that were evicted."""
        total = 0
        while True:
            rows = self._store.db.execute(_EVICTABLE, (_BATCH,)).fetchall()
            if not rows:
                return total
            with self._store.writing() as db:
                for blob, length in rows:
                    db.execute("UPDATE blobs SET cached = 0 WHERE n = ?", (blob,))
                    self.forget(blob, length)
                    total += length

    def forget(self, blob: int, length: int) -> None:
        """Once the transaction around is committed, remove a cached blob's file and free its bytes."""

        def remove() -> None:
            self.used -= length
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path(blob))

        self._store.after_commit(remove)

    def recover(self) -> list[int]:
        """Make files and rows agree after a start; return the blobs whose only bytes were here and are lost.

        Files that no row speaks of go: bytes on their way in when the process ended, or blobs deleted just then.
        """
        db = self._store.db
        held: dict[int, int] = dict(db.execute("SELECT n, length FROM blobs WHERE cached = 1"))
        missing = {blob for blob, length in held.items() if length}  # an empty blob has no file
        for folder in os.listdir(self._directory):
            with os.scandir(f"{self._directory}/{folder}") as entries:
                for entry in entries:
                    blob = int(entry.name) if entry.name.isdigit() else -1
                    if held.get(blob) == entry.stat().st_size:
                        missing.discard(blob)
                    else:
                        os.unlink(entry.path)
        return self._without(db, missing, held)

    def _without(self, db: sqlite3.Connection, missing: set[int], held: dict[int, int]) -> list[int]:
        lost: list[int] = []
        with self._store.writing():
            for blob in sorted(missing):
                _log.error("the cache has lost blob %d", blob)
                db.execute("UPDATE blobs SET cached = 0 WHERE n = ?", (blob,))
                if not db.execute("SELECT 1 FROM copies WHERE blob = ?", (blob,)).fetchone():
                    lost.append(blob)
        self.used = sum(length for blob, length in held.items() if blob not in missing)
        return lost
