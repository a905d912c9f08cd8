"""Jobs under way: their chunks, what is still to be sent or fetched, who may have room in the cache, how they end.

The store holds what must survive; the numbers that change with every blob are kept here and counted anew at a start.
"""

from __future__ import annotations

import heapq
import random
import sqlite3
import threading
from collections.abc import Iterable

from ds3tool.protocol.model import JobStatus, JobType
from ds3tool.simulator.cache import Cache
from ds3tool.simulator.clock import Clock
from ds3tool.simulator.events import BlobCached, JobDiscarded, JobEnded
from ds3tool.simulator.ids import IdFamily
from ds3tool.simulator.jobs.job import Chunk, Job
from ds3tool.simulator.jobs.rooms import Rooms
from ds3tool.simulator.jobs.rows import JobRows
from ds3tool.simulator.quirks import Quirk
from ds3tool.simulator.settings import ApplianceSettings
from ds3tool.simulator.store import Store
from ds3tool.simulator.wire.refusals import Refusal, not_found

# A job that no client touches for this long is cancelled. Source: protocol, 9.3.
IDLE_SECONDS = 24 * 3600.0
# A request without a job that was told to come again, and did not, holds its place in the cache no longer than this.
_NAKED_IDLE_SECONDS = 300.0
# Records of ended jobs are kept for 30 days. Source: protocol, 9.3.
_RECORD_SECONDS = 30 * 24 * 3600.0
# How long a question about a job waits for replies whose last byte is on its way.
_SETTLE_SECONDS = 2.0


class JobBook:
    """All jobs. Methods are called with the store's lock held; `changed` (of that lock) tells of room and arrivals."""

    def __init__(self, store: Store, cache: Cache, clock: Clock, settings: ApplianceSettings, instance: str) -> None:
        self._store = store
        self._cache = cache
        self._rooms = Rooms(store, cache, settings)
        self._clock = clock
        self._settings = settings
        self.rows = JobRows(store, instance)
        self.ids = self.rows.ids
        self.chunk_ids = IdFamily(instance, "chunk")
        self.failure_ids = IdFamily(instance, "failure")
        self.changed = threading.Condition(store.lock)
        self.active: dict[int, Job] = {}
        # The get and verify jobs among them, which the drives serve.
        self.readers: dict[int, Job] = {}
        # Received chunks on their way to tape: (when, priority, order of arrival, job, chunk).
        self.to_store: list[tuple[float, int, int, Job, Chunk]] = []
        self._arrivals = 0
        # Set when the appliance closes: nobody waits for anything any more.
        self.closing = False
        self._shuffler = random.Random(settings.seed) if settings.shuffle else None  # noqa: S311 - order, not secrets
        self._chance = random.Random(settings.seed)  # noqa: S311 - order, not secrets

    # Finding.

    def select(self, condition: str, values: tuple[object, ...] = ()) -> list[Job]:
        """Return the jobs that an SQL condition matches, active ones with their living numbers."""
        return [self.active.get(job.n) or job for job in self.rows.select(condition, values)]

    def find(self, identifier: str) -> Job:
        """Return any job, active or ended; a 404 when there is none."""
        number = self.ids.number(identifier)
        job = self.active.get(number) if number is not None else None
        if job is None:
            found = self.select("n = ?", (number,))
            if not found:
                raise not_found("Job", identifier)
            job = found[0]
        self._await_settled(job)
        return job

    def find_active(self, identifier: str) -> Job:
        """Return an active job; a 404 when it is not (any more)."""
        number = self.ids.number(identifier)
        job = self.active.get(number) if number is not None else None
        if job is not None:
            self._await_settled(job)
        if job is None or not job.active:
            raise not_found("Job", identifier)
        return job

    def await_settled(self) -> None:
        """Wait a little for every reply whose last byte is on its way, before jobs are listed."""
        for job in [job for job in self.readers.values() if job.settling]:
            self._await_settled(job)

    def _await_settled(self, job: Job) -> None:
        clock = self._clock.world
        deadline = clock.monotonic() + _SETTLE_SECONDS
        while job.settling and not self.closing and (left := deadline - clock.monotonic()) > 0:
            clock.wait(self.changed, left)

    def begin(self, job: Job) -> None:
        """Take a job among the active ones."""
        self.active[job.n] = job
        if job.type is not JobType.PUT:
            self.readers[job.n] = job

    def begin_storing(self, job: Job, chunk: Chunk) -> None:
        """Send a chunk to tape of which all has been received, and take its job among the active ones."""
        self.begin(job)
        self._to_tape(job, chunk)

    # Loading after a start.

    def recover(self) -> int:
        """Take up the active jobs; return the bytes of cache that their allocated chunks still reserve."""
        reserved = 0
        for job in self.rows.select("status = 'IN_PROGRESS'"):
            job.active_at = self._clock.now()
            self.begin(job)
            reserved += self._recover_chunks(job)
            if job.staging:
                job.completed = job.cached
                self._settle_staging(job)
            self._complete(job)
        return reserved

    def _recover_chunks(self, job: Job) -> int:
        reserved = 0
        query = """
        SELECT c.n, c.number, c.bytes, c.allocated, count(b.n), coalesce(sum(b.checksum IS NULL), 0),
          coalesce(sum(e.done = 0), 0), coalesce(sum(e.done = 0 AND b.cached = 0 AND e.failed IS NULL), 0),
          coalesce(sum(CASE WHEN b.checksum IS NOT NULL THEN b.length END), 0),
          coalesce(sum(CASE WHEN e.done THEN b.length END), 0),
          coalesce(sum(CASE WHEN b.checksum IS NULL THEN b.length END), 0),
          coalesce(sum(CASE WHEN e.done = 0 AND b.cached = 0 AND e.failed IS NULL THEN b.length END), 0)
        FROM chunks c LEFT JOIN entries e ON e.chunk = c.n LEFT JOIN blobs b ON b.n = e.blob
        WHERE c.job = ? GROUP BY c.n ORDER BY c.number
        """
        for row in self._store.db.execute(query, (job.n,)).fetchall():
            n, number, size, allocated, _, unsent, undone, unloaded, got, done, to_come, to_load = row
            putting = job.type is JobType.PUT
            chunk = Chunk(n, number, size, unsent if putting else undone, bool(allocated))
            if not undone:
                if putting:  # its bytes were added to the row when it was finished
                    continue
            elif allocated:
                reserved += to_come if putting else to_load
                chunk.to_load = 0 if putting else unloaded
            job.cached += got if putting else size - to_load
            job.completed += 0 if putting else done
            job.open += bool(allocated)
            if chunk.left:
                job.chunks[n] = chunk
            elif undone:
                self._to_tape(job, chunk)
        if job.type is JobType.PUT:
            job.partial = dict(
                self._store.db.execute(
                    "SELECT o.n, sum(b.checksum IS NULL) FROM objects o JOIN blobs b ON b.object = o.n "
                    "WHERE o.job = ? AND o.created IS NULL GROUP BY o.n HAVING count(*) > 1",
                    (job.n,),
                )
            )
        return reserved

    # Room.

    def allocate(self, job: Job, chunk: Chunk, *, whole: bool = False) -> bool:
        """Give a chunk its room in the cache; True when it has it, then or already.

        `whole`: all of the job gets its room at once, so its window does not count.
        """
        if chunk.allocated:
            return True
        if not self._rooms.give(job, chunk, whole=whole):
            return False
        if chunk.to_load:
            self.changed.notify_all()
        return True

    def in_turn(self, job: Job) -> list[Chunk]:
        """Return the chunks that wait for the client, in the order in which they may have room."""
        chunks = list(job.chunks.values())
        free = job.type is JobType.PUT or job.processing_order == "NONE"
        if free and Quirk.ANY_CHUNK_FIRST in self._settings.quirks:
            self._chance.shuffle(chunks)
        return chunks

    def ready(self, job: Job, preferred: int | None, only: int | None) -> list[Chunk]:
        """Return the chunks that the client may work on now, allocating what there is room for.

        Of a get job that is promised them in order none is ready before those that come earlier: its client may write
        them to a stream, one after the other.
        """
        job.active_at = self._clock.now()
        found: list[Chunk] = []
        in_order = job.type is JobType.GET and job.processing_order == "IN_ORDER"
        if job.type is JobType.VERIFY or job.staging:
            return found
        for chunk in self.in_turn(job):
            if preferred is not None and len(found) >= preferred:
                break
            if only is not None and chunk.n != only:
                continue
            if not self.allocate(job, chunk):
                break
            if job.type is JobType.PUT or chunk.ready:
                found.append(chunk)
            elif in_order:
                break
        if self._shuffler is not None and not in_order:
            self._shuffler.shuffle(found)
        return found

    def shuffled(self, rows: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
        """Return a chunk's rows in the order to tell them: as they are, or in any, when asked to be awkward."""
        if self._shuffler is not None:
            self._shuffler.shuffle(rows)
        return rows

    # Progress.

    def blob_received(self, job: Job, chunk: Chunk, length: int) -> None:
        """Count one blob of a put job in."""
        job.active_at = self._clock.now()
        job.cached += length
        chunk.left -= 1
        self._settle_chunk(job, chunk)

    def blob_read(self, db: sqlite3.Connection, job: Job, chunk: Chunk, blob: int, length: int) -> None:
        """Count one blob of a get or verify job as done, inside a transaction; nothing when it was already."""
        # The plus sign keeps the search on the index by blob; by chunk it would read all of the chunk's rows.
        row = (blob, chunk.n)
        marked = db.execute("UPDATE entries SET done = 1 WHERE blob = ? AND +chunk = ? AND done = 0", row).rowcount

        def count() -> None:
            job.active_at = self._clock.now()
            job.completed += length
            chunk.left -= 1
            self._settle_chunk(job, chunk)

        if marked:
            self._store.after_commit(count)

    def blob_loaded(self, blob: int, length: int, *, failure: str | None, loader: Chunk) -> None:
        """Tell every allocated chunk that waits for `blob` that it is in the cache, or never will be.

        `loader` is the chunk whose room it took; the others give theirs back. A failure gives all back.
        """
        rows = self._store.db.execute(
            "SELECT c.job, c.n FROM entries e JOIN chunks c ON c.n = e.chunk "
            "WHERE e.blob = ? AND e.done = 0 AND e.failed IS NULL AND c.allocated = 1",
            (blob,),
        ).fetchall()
        for number, chunk_number in rows:
            job = self.active.get(number)
            chunk = job.chunks.get(chunk_number) if job is not None else None
            if job is None or chunk is None or job.type is JobType.PUT or not chunk.to_load:
                continue
            chunk.to_load -= 1
            if chunk is not loader or failure is not None:
                self._cache.used -= length
            job.active_at = self._clock.now() if job.staging else job.active_at
            if failure is None:
                job.cached += length
                job.completed += length if job.staging else 0
                self._store.events.tell(BlobCached(job, blob))
            else:
                job.error = failure
                self._store.db.execute(
                    "UPDATE entries SET failed = ? WHERE blob = ? AND +chunk = ?", (failure, blob, chunk.n)
                )
                self._store.db.execute("UPDATE jobs SET error = ? WHERE n = ?", (failure, job.n))
            if job.staging:
                self._settle_staging(job)
        self.changed.notify_all()

    def _settle_chunk(self, job: Job, chunk: Chunk) -> None:
        """Move a chunk on when the client has nothing left to do in it."""
        if job.staging:
            self._settle_staging(job)
            return
        if chunk.left or chunk.n not in job.chunks:
            return
        if job.type is JobType.PUT:
            del job.chunks[chunk.n]
            self._to_tape(job, chunk)
        else:
            self.chunk_finished(job, chunk)

    def _to_tape(self, job: Job, chunk: Chunk) -> None:
        job.storing[chunk.n] = chunk
        self._arrivals += 1
        due = self._clock.monotonic() + self._settings.persist_delay
        item = (due, job.rank, self._arrivals, job, chunk)
        heapq.heappush(self.to_store, item)
        if self.to_store[0] is item:
            self.changed.notify_all()

    def chunk_finished(self, job: Job, chunk: Chunk) -> None:
        """Take leave of a chunk that is on all tapes, or read; the job ends with its last one."""
        with self._store.writing() as db:
            if job.type is JobType.PUT:  # its rows stay, since a put job shows all of its blobs
                job.completed += chunk.bytes
            else:
                db.execute("DELETE FROM entries WHERE chunk = ?", (chunk.n,))
                db.execute("DELETE FROM chunks WHERE n = ?", (chunk.n,))
            moved = (chunk.bytes, chunk.bytes, job.n)
            db.execute("UPDATE jobs SET cached = cached + ?, completed = completed + ? WHERE n = ?", moved)
        job.chunks.pop(chunk.n, None)
        job.storing.pop(chunk.n, None)
        job.open -= chunk.allocated
        self._complete(job)
        self.changed.notify_all()

    def _complete(self, job: Job) -> None:
        """End a job that has nothing left to do, and does not wait for more."""
        if job.active and not job.chunks and not job.storing and not self._awaits_more(job):
            self.end(job, JobStatus.COMPLETED)

    def _awaits_more(self, job: Job) -> bool:
        # Where every job is shared, nobody has asked for one that waits.
        return Quirk.SHARED_JOBS not in self._settings.quirks and job.awaits_more(self._clock.now())

    def close(self, job: Job) -> None:
        """Let nothing more be added to an aggregating job; it ends when that was all it waited for."""
        if job.active:
            job.aggregating = False
            self.save(job)
            self._complete(job)

    def _settle_staging(self, job: Job) -> None:
        """End a job that was to bring blobs into the cache when they are there; they are the last to leave it again."""
        if not job.chunks or not all(chunk.ready for chunk in job.chunks.values()):
            return
        with self._store.writing() as db:
            db.execute(
                "UPDATE blobs SET used = ? WHERE n IN (SELECT e.blob FROM entries e JOIN chunks c ON c.n = e.chunk "
                "WHERE c.job = ?)",
                (self._clock.now(), job.n),
            )
            self.end(job, JobStatus.COMPLETED)

    # Changes and the end.

    def touch(self, job: Job) -> None:
        """Note that a client is there."""
        job.active_at = self._clock.now()

    def save(self, job: Job) -> None:
        """Write a job's settings, after a change of them."""
        self.rows.save(job)
        self.changed.notify_all()

    def end(self, job: Job, status: JobStatus) -> None:
        """End a job: its chunks are forgotten, their room is given back, its record stays."""
        reserved = self._rooms.reserved(job)
        now = self._clock.now()
        with self._store.writing() as db:
            self.rows.write_end(db, job, status, now)
            self._store.events.tell(JobEnded(job, status is JobStatus.CANCELED))
        self._cache.used -= reserved
        job.status, job.ended = status, now
        job.chunks.clear()
        job.storing.clear()
        self.active.pop(job.n, None)
        self.readers.pop(job.n, None)
        self.changed.notify_all()

    def end_waiting(self) -> None:
        """End the aggregating jobs that nothing joined for as long as they wait."""
        for job in [job for job in self.active.values() if job.aggregating]:
            self._complete(job)

    def idle(self) -> list[Job]:
        """Return the jobs that no client has touched for so long that they may be given up.

        Those that wait for drives alone are none of them, nor are protected ones.
        """
        now = self._clock.now()
        # A client that was told to come again cannot come sooner because the appliance's clock runs fast.
        naked_seconds = _NAKED_IDLE_SECONDS * max(1.0, self._clock.pace)
        return [
            job
            for job in self.active.values()
            if job.cleanup
            and not job.protected
            and not job.staging
            and job.type is not JobType.VERIFY
            and job.chunks
            and job.active_at <= now - (naked_seconds if job.naked else IDLE_SECONDS)
        ]

    def await_change(self, deadline: float, refusal: Refusal) -> None:
        """Wait for room or an arrival; raise `refusal` when the clients' clock is past `deadline`, or we close."""
        left = deadline - self._clock.world.monotonic()
        if left <= 0 or self.closing:
            raise refusal
        self._clock.world.wait(self.changed, left)

    def forget_old(self) -> None:
        """Clear records of jobs that ended long ago."""
        with self._store.writing() as db:
            self.rows.remove(db, "ended < ?", (self._clock.now() - _RECORD_SECONDS,))

    def discard(self, job: Job) -> None:
        """End a job that could not begin, and leave no record of it."""
        if job.active:
            self.end(job, JobStatus.CANCELED)
        with self._store.writing() as db:
            self.rows.remove(db, "n = ?", (job.n,))
            self._store.events.tell(JobDiscarded(job))

    def withdraw(self, job: Job, chunks: list[Chunk]) -> None:
        """Take chunks that were just added to a read job out of it again."""
        with self._store.writing() as db:
            for chunk in chunks:
                _, absent = self._rooms.unloaded(chunk)
                job.original -= chunk.bytes
                job.cached -= chunk.bytes - absent
                if chunk.allocated:
                    self._cache.used -= absent
                    job.open -= 1
                job.chunks.pop(chunk.n, None)
                db.execute("DELETE FROM entries WHERE chunk = ?", (chunk.n,))
                db.execute("DELETE FROM chunks WHERE n = ?", (chunk.n,))
            db.execute("UPDATE jobs SET original = ? WHERE n = ?", (job.original, job.n))

    def without_blob(self, job: Job, chunk: Chunk, *, length: int, received: bool, done: bool, waiting: bool) -> None:
        """Take one blob out of an active job, its object being deleted; its entry has gone already.

        `waiting`: room is set aside for it. The job may end by this, COMPLETED when there was more, else CANCELED.
        A job that is being cancelled goes on telling how large it was.
        """
        counted = 0 if job.canceling else length
        job.original -= counted
        chunk.bytes -= length
        if waiting:
            self._cache.used -= length
        if job.type is JobType.PUT:
            job.cached -= counted if received else 0
            chunk.left -= 0 if received else 1
        else:
            job.completed -= length if done else 0
            chunk.left -= 0 if done else 1
            chunk.to_load -= waiting

    def after_removal(self, jobs: Iterable[tuple[Job, Chunk]]) -> None:
        """Settle the chunks that lost blobs; a job that lost all of them ends CANCELED."""
        for job, chunk in jobs:
            if not job.active:
                continue
            (count,) = self._store.db.execute("SELECT count(*) FROM entries WHERE chunk = ?", (chunk.n,)).fetchone()
            with self._store.writing() as db:
                db.execute("UPDATE chunks SET bytes = ? WHERE n = ?", (chunk.bytes, chunk.n))
                db.execute("UPDATE jobs SET original = ? WHERE n = ?", (job.original, job.n))
                if not count:
                    db.execute("DELETE FROM chunks WHERE n = ?", (chunk.n,))
            if count:
                self._settle_chunk(job, chunk)
                continue
            job.open -= chunk.allocated
            job.chunks.pop(chunk.n, None)
            job.storing.pop(chunk.n, None)
            if job.staging:
                self._settle_staging(job)
            awaiting = self._awaits_more(job) and not job.canceling
            if job.active and not job.chunks and not job.storing and not awaiting:
                self.end(job, JobStatus.CANCELED if job.canceling or not job.original else JobStatus.COMPLETED)


def gone(job_id: str) -> Refusal:
    """Return the 410 of a job that ended while a client still sent to it."""
    return Refusal(410, "Gone", f"Gone[410]: The job {job_id} has ended.")
