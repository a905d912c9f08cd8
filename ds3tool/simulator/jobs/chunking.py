"""Chunks being filled: blobs in the order given, up to a size and a number, written in batches."""

from __future__ import annotations

import sqlite3

from ds3tool.simulator.jobs.job import Chunk, Job
from ds3tool.simulator.store import Store

# Source: protocol, 8.9, MaxAggregatedBlobsPerChunk. It also bounds the memory of one chunk's answer.
MAX_BLOBS_PER_CHUNK = 20_000


class ChunkWriter:
    """Fills new chunks of a job with at most `limit` bytes and `most` blobs each; one larger blob stands alone.

    Called inside one transaction; `finish` is the last call.
    """

    def __init__(self, db: sqlite3.Connection, store: Store, job: Job, limit: int, most: int) -> None:
        self._db = db
        self._store = store
        self._job = job
        self._limit = limit
        self._most = min(most, MAX_BLOBS_PER_CHUNK)
        taken = [0, *(chunk.number for chunk in (*job.chunks.values(), *job.storing.values()))]
        row = db.execute("SELECT coalesce(max(number), 0) FROM chunks WHERE job = ?", (job.n,)).fetchone()
        self._last_number = max(*taken, row[0]) if len(taken) > 1 else int(row[0])
        self._chunks: list[Chunk] = []
        self._current: Chunk | None = None
        self._entries: list[tuple[int, int, int, bool]] = []
        self.blobs: list[tuple[int, int, int, int]] = []

    def cut(self) -> None:
        """Let the next blob begin a new chunk."""
        self._current = None

    def _begin(self) -> Chunk:
        self._last_number += 1
        chunk = Chunk(self._store.numbers("chunks", 1), self._last_number, 0, 0)
        self._current = chunk
        self._chunks.append(chunk)
        return chunk

    def add_whole(self, first: int, sizes: list[int]) -> bool:
        """Write objects that follow `first` as one blob each into one chunk; False when no chunk holds all of them.

        What `add` does blob by blob, done by the database in two statements: a job may have 500,000.
        """
        size, count = sum(sizes), len(sizes)
        if size > self._limit or count > self._most:
            return False
        chunk = self._current
        if chunk is None or chunk.bytes + size > self._limit or chunk.left + count > self._most:
            if chunk is not None and chunk.bytes + sizes[0] <= self._limit and chunk.left < self._most:
                return False  # a chunk is filled before the next begins
            chunk = self._begin()
        blob = self._store.numbers("blobs", count)
        last = first + count - 1
        self._db.execute(
            "INSERT INTO blobs (n, object, offset, length) SELECT n + ?, n, 0, size FROM objects "
            "WHERE n BETWEEN ? AND ? ORDER BY n",
            (blob - first, first, last),
        )
        self._db.execute(
            "INSERT INTO entries (chunk, place, blob) SELECT ?, n - ?, n FROM blobs WHERE n BETWEEN ? AND ? ORDER BY n",
            (chunk.n, blob - chunk.left, blob, blob + count - 1),
        )
        chunk.bytes += size
        chunk.left += count
        return True

    def add(self, blob: int, length: int, *, latest: bool) -> None:
        """Put a blob into the chunk at hand, or a new one when that is full."""
        chunk = self._current
        if chunk is None or (chunk.bytes + length > self._limit and chunk.left) or chunk.left >= self._most:
            chunk = self._begin()
        self._entries.append((chunk.n, chunk.left, blob, latest))
        chunk.bytes += length
        chunk.left += 1

    def flush(self) -> None:
        """Write what has gathered."""
        self._db.executemany("INSERT INTO blobs (n, object, offset, length) VALUES (?,?,?,?)", self.blobs)
        self._db.executemany("INSERT INTO entries (chunk, place, blob, latest) VALUES (?,?,?,?)", self._entries)
        self.blobs.clear()
        self._entries.clear()

    def finish(self) -> list[Chunk]:
        """Write the chunks and return them."""
        self._db.executemany(
            "INSERT INTO chunks (n, job, number, bytes) VALUES (?,?,?,?)",
            ((chunk.n, self._job.n, chunk.number, chunk.bytes) for chunk in self._chunks),
        )
        return self._chunks
