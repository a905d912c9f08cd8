"""Room in the cache for chunks: how many of a job may have it at once, who gets it, what is still set aside."""

from __future__ import annotations

from ds3tool.protocol.model import JobType
from ds3tool.simulator.cache import Cache
from ds3tool.simulator.jobs.job import PRIORITY_RANK, Chunk, Job
from ds3tool.simulator.settings import ApplianceSettings
from ds3tool.simulator.store import Store


class Rooms:
    """Sets room aside for what chunks are going to hold. Methods are called with the store's lock held."""

    def __init__(self, store: Store, cache: Cache, settings: ApplianceSettings) -> None:
        self._store = store
        self._cache = cache
        self._settings = settings

    def window(self, job: Job) -> int | None:
        """Return how many chunks a job may have open while the cache is short of space; None for any number."""
        drives = self._settings.drives
        if job.rank <= PRIORITY_RANK["URGENT"]:
            return None
        if job.priority == "HIGH":
            return max(16, 3 * drives)
        return max(8, 2 * drives) if job.priority == "NORMAL" else 4

    def give(self, job: Job, chunk: Chunk, *, whole: bool) -> bool:
        """Give room to a chunk that has none; tell whether there was any. `whole`: the window does not count."""
        window = self.window(job)
        if window is not None and not whole and job.open >= window and self._cache.throttled:
            return False
        # The last 15 % are for the urgent; but where nothing else is held, nothing is worth waiting for.
        limit = self._cache.capacity if window is None else self._settings.largest_allocation
        size = chunk.bytes
        if job.type is not JobType.PUT:
            self._mark_allocated(chunk, True)  # first, so that what it already has in the cache is not evicted for it
            chunk.to_load, size = self.unloaded(chunk)
        if not self._cache.make_room(size, limit):
            if job.type is not JobType.PUT:
                self._mark_allocated(chunk, False)
                chunk.to_load = 0
            return False
        if job.type is JobType.PUT:
            self._mark_allocated(chunk, True)
        self._cache.used += size
        job.open += 1
        return True

    def _mark_allocated(self, chunk: Chunk, allocated: bool) -> None:
        with self._store.writing() as db:
            db.execute("UPDATE chunks SET allocated = ? WHERE n = ?", (allocated, chunk.n))
        chunk.allocated = allocated

    def unloaded(self, chunk: Chunk) -> tuple[int, int]:
        """Return how many blobs of a read job's chunk have to come from tape, and their bytes."""
        count, size = self._store.db.execute(
            "SELECT count(*), coalesce(sum(b.length), 0) FROM entries e JOIN blobs b ON b.n = e.blob "
            "WHERE e.chunk = ? AND e.done = 0 AND b.cached = 0 AND e.failed IS NULL",
            (chunk.n,),
        ).fetchone()
        return count, size

    def reserved(self, job: Job) -> int:
        """Return the bytes set aside in the cache for blobs of the job that have not come."""
        if not any(chunk.allocated for chunk in job.chunks.values()):
            return 0
        missing = (
            "b.checksum IS NULL" if job.type is JobType.PUT else "b.cached = 0 AND e.failed IS NULL AND e.done = 0"
        )
        (size,) = self._store.db.execute(
            f"SELECT coalesce(sum(b.length), 0) FROM chunks c JOIN entries e ON e.chunk = c.n "  # noqa: S608 - constants
            f"JOIN blobs b ON b.n = e.blob WHERE c.job = ? AND c.allocated = 1 AND {missing}",
            (job.n,),
        ).fetchone()
        return int(size)
