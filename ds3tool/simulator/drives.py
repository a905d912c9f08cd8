"""The tape drives: threads that write received chunks to tape, load blobs back, and read them for verify jobs.

What to do next is decided with the lock held, bytes move without it, and what was done is written in batches with
the lock held again. A tape is held by one drive at a time.
"""

from __future__ import annotations

import functools
import heapq
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from ds3tool.protocol.model import ChecksumType, JobType
from ds3tool.simulator.beans import Beans
from ds3tool.simulator.buckets import Buckets
from ds3tool.simulator.cache import Cache
from ds3tool.simulator.clock import Clock
from ds3tool.simulator.events import BlobLost, ChunkPersisted
from ds3tool.simulator.faults import Fault, Faults
from ds3tool.simulator.job import Chunk, Job
from ds3tool.simulator.jobs import JobBook
from ds3tool.simulator.library import Library, Tape
from ds3tool.simulator.media import BadCopyError, BlobOnTape, ClosingError, copy_out, flip_bit, load, opened
from ds3tool.simulator.store import Store

_log = logging.getLogger(__name__)

# A drive writes down what it did after so many blobs or bytes.
_BATCH_BLOBS = 200
_BATCH_BYTES = 256 << 20
# It takes at most so much from the queue at once, so that the other drives find work too.
_TASK_CHUNKS = 500
_TASK_BYTES = 1 << 30
_IDLE_CHECK_SECONDS = 60.0


@dataclass(slots=True)
class _StoreTask:
    domain: str
    tape: Tape
    chunks: list[tuple[Job, Chunk]]


@dataclass(slots=True)
class _ReadTask:
    job: Job
    chunk: Chunk
    tape: Tape
    verify: bool
    blobs: list[BlobOnTape]


@dataclass(slots=True)
class _Waiting:
    """Chunks due for one storage domain: (priority, order of arrival, job, chunk), a heap."""

    queue: list[tuple[int, int, Job, Chunk]] = field(default_factory=list)


class Drives:
    """All drives of the library. `watch` is called now and then with the lock held, for jobs that nobody touches."""

    def __init__(
        self,
        *,
        store: Store,
        beans: Beans,
        buckets: Buckets,
        cache: Cache,
        jobs: JobBook,
        library: Library,
        clock: Clock,
        watch: Callable[[], None],
        faults: Faults,
        count: int,
    ) -> None:
        self._store = store
        self._beans = beans
        self._buckets = buckets
        self._cache = cache
        self._jobs = jobs
        self._library = library
        self._clock = clock
        self._watch = watch
        self._faults = faults
        self._changed = jobs.changed
        self._closing = False
        self._waiting: dict[str, _Waiting] = {}
        self._remaining: dict[int, set[str]] = {}
        self._reading: set[int] = set()
        self._order = 0
        self._next_watch = clock.monotonic()
        # Which tape each drive holds, by the drive's place.
        self.loaded: dict[int, Tape] = {}
        self._threads = [
            threading.Thread(target=self._run, args=(place,), name=f"ds3-drive-{place}", daemon=True)
            for place in range(count)
        ]

    def start(self) -> None:
        """Let the drives work."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop them; returns when none works any more."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _run(self, place: int) -> None:
        while True:
            try:
                if not self._work(place):
                    return
            except ClosingError:
                return
            except Exception:  # noqa: BLE001 - a drive that stops for good would let every job wait for ever
                _log.exception("drive %d failed, and goes on", place)
                with self._changed:
                    self._clock.wait(self._changed, 1.0)  # a full disk does not get better by trying at once

    def _work(self, place: int) -> bool:
        """Do the next task; False when the appliance closes."""
        with self._changed:
            task = self._await_task()
            if task is None:
                return False
            self.loaded[place] = task.tape
        try:
            self._perform(task)
        finally:
            with self._changed:
                self.loaded.pop(place, None)
                self._library.release(task.tape)
        return True

    def _perform(self, task: _StoreTask | _ReadTask) -> None:
        if isinstance(task, _StoreTask):
            try:
                self._store_chunks(task)
            finally:
                with self._changed:
                    for job, chunk in task.chunks:  # what was not finished waits again
                        if job.active:
                            self._enqueue(task.domain, job, chunk)
        else:
            try:
                self._read_blobs(task)
            finally:
                with self._changed:
                    self._reading.difference_update(each.blob for each in task.blobs)

    def _stopped(self) -> bool:
        return self._closing

    # What next.

    def _await_task(self) -> _StoreTask | _ReadTask | None:
        while not self._closing:
            until_move = self._library.move()
            now = self._clock.monotonic()
            if now >= self._next_watch:
                self._next_watch = now + _IDLE_CHECK_SECONDS
                self._watch()
            task = self._next_read() or self._next_store()
            if task is not None:
                return task
            waits = [wait for wait in (until_move, self._until_due()) if wait is not None]
            if self._jobs.active:
                waits.append(self._next_watch - now)
            self._clock.wait(self._changed, min(waits, default=None))
        return None

    def _until_due(self) -> float | None:
        if not self._jobs.to_store:
            return None
        return max(0.0, self._jobs.to_store[0][0] - self._clock.monotonic()) or 0.001

    def _next_store(self) -> _StoreTask | None:
        now = self._clock.monotonic()
        while self._jobs.to_store and self._jobs.to_store[0][0] <= now:
            _, _, _, job, chunk = heapq.heappop(self._jobs.to_store)
            self._take_in(job, chunk)
        for domain, waiting in self._waiting.items():
            while waiting.queue and not self._wanted(waiting.queue[0]):
                heapq.heappop(waiting.queue)
            if waiting.queue:
                task = self._store_task(domain, waiting)
                if task is not None:
                    return task
        return None

    def _wanted(self, item: tuple[int, int, Job, Chunk]) -> bool:
        _, _, job, chunk = item
        return job.active and chunk.n in job.storing

    def _take_in(self, job: Job, chunk: Chunk) -> None:
        if not job.active or chunk.n not in job.storing:
            return
        domains = self._buckets.rules(self._buckets.numbered(job.bucket)).domains
        self._remaining[chunk.n] = set(domains)
        for domain in domains:
            self._enqueue(domain, job, chunk)

    def _enqueue(self, domain: str, job: Job, chunk: Chunk) -> None:
        self._order += 1
        heapq.heappush(self._waiting.setdefault(domain, _Waiting()).queue, (job.rank, self._order, job, chunk))

    def _store_task(self, domain: str, waiting: _Waiting) -> _StoreTask | None:
        chunk = waiting.queue[0][3]
        row = self._store.db.execute(
            "SELECT b.length FROM entries e JOIN blobs b ON b.n = e.blob WHERE e.chunk = ? AND NOT EXISTS "
            "(SELECT 1 FROM copies c WHERE c.blob = b.n AND c.domain = ?) ORDER BY e.place LIMIT 1",
            (chunk.n, domain),
        ).fetchone()
        tape = self._library.tape_to_write(domain, None, 0 if row is None else row[0])
        if tape is None:
            return None
        chunks: list[tuple[Job, Chunk]] = []
        size = 0
        while (
            waiting.queue
            and len(chunks) < _TASK_CHUNKS
            and (not chunks or size + waiting.queue[0][3].bytes <= _TASK_BYTES)
        ):
            item = heapq.heappop(waiting.queue)
            if self._wanted(item):
                chunks.append((item[2], item[3]))
                size += item[3].bytes
        return _StoreTask(domain, tape, chunks)

    def _next_read(self) -> _ReadTask | None:
        for job in sorted(self._jobs.readers.values(), key=lambda each: (each.rank, each.n)):
            verify = job.type is JobType.VERIFY
            for chunk in self._jobs.in_turn(job):
                if not verify and not self._jobs.allocate(job, chunk):
                    break
                if verify or chunk.to_load:
                    task = self._read_task(job, chunk, verify=verify)
                    if task is not None:
                        return task
        return None

    def _read_task(self, job: Job, chunk: Chunk, *, verify: bool) -> _ReadTask | None:
        absent = "" if verify else "AND b.cached = 0"
        rows = self._store.db.execute(
            "SELECT b.n, b.length, b.checksum_type, b.checksum, c.tape, c.position, b.persisted FROM entries e "  # noqa: S608 - constants
            "JOIN blobs b ON b.n = e.blob LEFT JOIN copies c ON c.blob = b.n AND c.suspect = 0 "
            f"WHERE e.chunk = ? AND e.done = 0 AND e.failed IS NULL {absent} ORDER BY c.tape, c.position",
            (chunk.n,),
        ).fetchall()
        chosen: Tape | None = None
        blobs: list[BlobOnTape] = []
        taken: set[int] = set()
        for blob, length, kind, checksum, number, position, persisted in rows:
            if number is None:
                if persisted or not verify:  # a blob that is still on its way to tape is verified when it is there
                    self._give_up(job, chunk, blob, length, verify=verify)
                continue
            tape = self._library.tapes.get(number)
            free = tape is not None and tape.usable and tape.n not in self._library.in_use
            if not free or blob in self._reading or blob in taken or (chosen is not None and tape is not chosen):
                continue
            chosen = tape
            taken.add(blob)
            blobs.append(BlobOnTape(blob, length, ChecksumType(kind), checksum, position))
        if chosen is None:
            return None
        self._library.in_use.add(chosen.n)
        self._reading.update(taken)
        return _ReadTask(job, chunk, chosen, verify, blobs)

    def _give_up(self, job: Job, chunk: Chunk, blob: int, length: int, *, verify: bool) -> None:
        message = f"No good copy is left of the blob {blob}: damaged or missing on every tape."
        tapes = self._store.db.execute(
            "SELECT t.bar_code FROM copies c JOIN tapes t ON t.n = c.tape WHERE c.blob = ? ORDER BY 1", (blob,)
        ).fetchall()
        if tapes:
            listed = ", ".join(code for (code,) in tapes)
            message = f"The blob's bytes are damaged or missing on every tape that holds it: [{listed}]."
        with self._store.writing() as db:
            job.error = message
            self._store.events.tell(BlobLost(blob))
            db.execute("UPDATE jobs SET error = ? WHERE n = ?", (message, job.n))
            if verify:
                self._jobs.blob_read(db, job, chunk, blob, length)
            else:
                self._jobs.blob_loaded(blob, length, failure=message, loader=chunk)

    # Writing.

    def _store_chunks(self, task: _StoreTask) -> None:
        written = task.tape.written
        done: list[tuple[Job, Chunk]] = []
        copies: list[tuple[int, int]] = []
        size = 0
        with opened(self._library.path(task.tape), os.O_RDWR | os.O_CREAT) as target:
            for job, chunk in list(task.chunks):
                lost = False
                for blob, length in self._unstored(chunk, task.domain):
                    if written + length > task.tape.capacity:
                        self._commit_store(task, copies, done, written, full=True)
                        return
                    try:
                        if length:
                            copy_out(self._cache.path(blob), length, target, written, self._stopped)
                            self._spoil(task, blob, length, target, written)
                    except FileNotFoundError:
                        lost |= self._is_lost(job, blob)
                        continue
                    copies.append((blob, written))
                    written += length
                    size += length
                    if len(copies) >= _BATCH_BLOBS or size >= _BATCH_BYTES:
                        self._commit_store(task, copies, done, written)
                        size = 0
                if lost:  # it can never be complete, and must not look as if it were
                    task.chunks.remove((job, chunk))
                else:
                    done.append((job, chunk))
        self._commit_store(task, copies, done, written)

    def _spoil(self, task: _StoreTask, blob: int, length: int, target: int, position: int) -> None:
        """Let a copy change on the medium, now and then."""
        strike = self._faults.strike(Fault.CORRUPT_MEDIA, f"blob {blob} on {task.tape.bar_code}")
        if strike is not None:
            flip_bit(target, position + strike.position(length), strike.bit)

    def _unstored(self, chunk: Chunk, domain: str) -> list[tuple[int, int]]:
        with self._changed:
            return self._store.db.execute(
                "SELECT b.n, b.length FROM entries e JOIN blobs b ON b.n = e.blob WHERE e.chunk = ? AND NOT EXISTS "
                "(SELECT 1 FROM copies c WHERE c.blob = b.n AND c.domain = ?) ORDER BY e.place",
                (chunk.n, domain),
            ).fetchall()

    def _is_lost(self, job: Job, blob: int) -> bool:
        """Tell whether a blob that has no file was not simply deleted; then its job says so."""
        with self._store.writing() as db:
            if not db.execute("SELECT 1 FROM blobs WHERE n = ?", (blob,)).fetchone():
                return False
            job.error = f"The cache has lost the blob {blob} before it was on tape."
            _log.error("job %s: %s", job.id, job.error)
            db.execute("UPDATE jobs SET error = ? WHERE n = ?", (job.error, job.n))
        return True

    def _commit_store(
        self,
        task: _StoreTask,
        copies: list[tuple[int, int]],
        done: list[tuple[Job, Chunk]],
        written: int,
        *,
        full: bool = False,
    ) -> None:
        tape = task.tape
        with self._store.writing() as db:
            for blob, position in copies:
                db.execute(
                    "INSERT OR REPLACE INTO copies (blob, domain, tape, position) "
                    "SELECT n, ?, ?, ? FROM blobs WHERE n = ?",
                    (task.domain, tape.n, position, blob),
                )
            tape.written, tape.full = written, tape.full or full
            tape.domain_id = tape.domain_id or task.domain
            tape.member_id = tape.member_id or self._member(task.domain, tape)
            tape.modified = tape.accessed = self._clock.now()
            self._library.save(tape)
            for job, chunk in done:
                self._chunk_stored(task.domain, job, chunk)
        finished = {chunk.n for _, chunk in done}
        task.chunks = [(job, chunk) for job, chunk in task.chunks if chunk.n not in finished]
        copies.clear()
        done.clear()

    def _member(self, domain: str, tape: Tape) -> str | None:
        for member in self._beans.all("StorageDomainMember"):
            if member["StorageDomainId"] == domain and member["TapePartitionId"] == tape.partition_id:
                return str(member["Id"])
        return None

    def _chunk_stored(self, domain: str, job: Job, chunk: Chunk) -> None:
        remaining = self._remaining.get(chunk.n, set())
        remaining.discard(domain)
        if remaining or not job.active or chunk.n not in job.storing:
            return
        self._remaining.pop(chunk.n, None)
        with self._store.writing() as db:
            db.execute(
                "UPDATE blobs SET persisted = 1 WHERE n IN (SELECT blob FROM entries WHERE chunk = ?)", (chunk.n,)
            )
            db.execute("UPDATE entries SET done = 1 WHERE chunk = ?", (chunk.n,))
            self._store.events.tell(ChunkPersisted(job, chunk))
            self._jobs.chunk_finished(job, chunk)

    # Reading.

    def _read_blobs(self, task: _ReadTask) -> None:
        good: list[tuple[int, int, str | None]] = []
        bad: list[tuple[int, str]] = []
        size = 0
        try:
            source = os.open(self._library.path(task.tape), os.O_RDONLY)
        except FileNotFoundError:
            self._commit_read(task, good, [(each.blob, "its bytes are not there") for each in task.blobs])
            return
        try:
            for each in task.blobs:
                if self._closing or not task.job.active:
                    break
                try:
                    path = None if task.verify else self._cache.new_path(each.blob)
                    load(source, each, path, self._stopped, functools.partial(self._overlooks, task, each))
                except BadCopyError as error:
                    bad.append((each.blob, str(error)))
                else:
                    good.append((each.blob, each.length, path))
                size += each.length
                if len(good) >= _BATCH_BLOBS or size >= _BATCH_BYTES:
                    self._commit_read(task, good, bad)
                    size = 0
        finally:
            os.close(source)
            self._commit_read(task, good, bad)

    def _overlooks(self, task: _ReadTask, damaged: BlobOnTape) -> bool:
        """Whether a damaged copy is taken for a good one; never by a verify job, which is there to find it."""
        subject = f"blob {damaged.blob} on {task.tape.bar_code}"
        return not task.verify and self._faults.strike(Fault.UNCHECKED_LOAD, subject) is not None

    def _commit_read(
        self, task: _ReadTask, good: list[tuple[int, int, str | None]], bad: list[tuple[int, str]]
    ) -> None:
        tape = task.tape
        with self._store.writing() as db:
            tape.accessed = self._clock.now()
            tape.verified = tape.accessed if task.verify else tape.verified
            self._library.save(tape)
            for blob, length, path in good:
                if path is None:
                    self._jobs.blob_read(db, task.job, task.chunk, blob, length)
                else:
                    self._take_into_cache(task, blob, length, path)
            for blob, reason in bad:
                db.execute("UPDATE copies SET suspect = 1 WHERE blob = ? AND tape = ?", (blob, tape.n))
                self._record_failure(tape, blob, reason)
            self._changed.notify_all()
        good.clear()
        bad.clear()

    def _take_into_cache(self, task: _ReadTask, blob: int, length: int, path: str) -> None:
        db = self._store.db
        waiting = task.job.active and task.chunk.n in task.job.chunks
        loaded = db.execute(
            "UPDATE blobs SET cached = 1, used = ? WHERE n = ? AND cached = 0", (self._clock.now(), blob)
        ).rowcount
        if not loaded or not waiting:
            if loaded:
                db.execute("UPDATE blobs SET cached = 0 WHERE n = ?", (blob,))
            os.unlink(path)
            return
        self._cache.take_in(path, blob)
        self._jobs.blob_loaded(blob, length, failure=None, loader=task.chunk)

    def _record_failure(self, tape: Tape, blob: int, reason: str) -> None:
        row = self._store.db.execute(
            "SELECT o.name, b.offset FROM blobs b JOIN objects o ON o.n = b.object WHERE b.n = ?", (blob,)
        ).fetchone()
        what = f"blob {blob}" if row is None else f"the blob of '{row[0]}' at offset {row[1]}"
        message = f"Cannot read {what} from tape {tape.bar_code}: {reason}."
        _log.error("%s", message)
        number = self._store.numbers("failures", 1)
        drive = self._beans.all("TapeDrive")
        values = {
            "Date": self._clock.now(),
            "ErrorMessage": message,
            "TapeDriveId": drive[0]["Id"] if drive else "",
            "TapeId": tape.id,
            "Type": "BLOB_READ_FAILED",
        }
        self._beans.add("TapeFailure", self._jobs.failure_ids.of(number), values)
