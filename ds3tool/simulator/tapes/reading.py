"""Reading from tape: what jobs want of which tape, gathered so that one mount serves it all, and what came of it.

Of a blob's copies a get job takes the one that its plan counts on, the first tape that can be had, unless that is
busy for others; a verify job reads every copy that a drive can reach, and is done with a blob when none is left.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import field

from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import ChecksumType, JobType
from ds3tool.simulator.cache import Cache
from ds3tool.simulator.clock import Clock
from ds3tool.simulator.events import BlobLost, TapeForgotten
from ds3tool.simulator.faults import Fault, Faults
from ds3tool.simulator.jobs.book import JobBook
from ds3tool.simulator.jobs.job import Chunk, Job
from ds3tool.simulator.store import Store
from ds3tool.simulator.tapes.drive import Drive
from ds3tool.simulator.tapes.failures import Failures
from ds3tool.simulator.tapes.ledger import Spent
from ds3tool.simulator.tapes.library import Library, Tape
from ds3tool.simulator.tapes.media import BadCopyError, BlobOnTape, load
from ds3tool.simulator.tapes.tasks import DriveTask, Offer, TaskKind, aged

# A drive writes down what it did after so many blobs or bytes.
_BATCH_BLOBS = 200
_BATCH_BYTES = 256 << 20
# It takes so much at once, so that something more urgent need not wait long; it goes on with the same tape after that.
# Memory: some 300 bytes a blob, 6 MB for a drive.
_TASK_BLOBS = 20_000
_TASK_BYTES = 64 << 30
_GOOD = "c.suspect = 0"
# That a copy may be had again one day, if not now: a tape that is BAD does not come back with what was on it.
_HOPEFUL = "c.suspect = 0 AND c.tape NOT IN (SELECT n FROM tapes WHERE state = 'BAD')"
# What is known of chunks is forgotten when it is of so many.
_MOST_CHUNKS = 10_000


@dataclass(slots=True)
class _Wanted:
    """What a chunk still wants: the tapes that it counts on, and all tapes that hold any of it."""

    stamp: int
    first: set[int]
    every: set[int]


@dataclass(frozen=True, slots=True)
class _Item:
    job: Job
    chunk: Chunk
    blob: BlobOnTape


@dataclass(slots=True, eq=False)
class _Reading:
    """What a drive is at: the blobs of one tape, in the order in which they lie there."""

    tape: Tape
    verify: bool
    items: list[_Item] = field(default_factory=list)
    bytes: int = 0
    # The chunk of each blob that has not landed yet.
    flying: dict[int, int] = field(default_factory=dict)

    def is_full(self) -> bool:
        return len(self.items) >= _TASK_BLOBS or self.bytes >= _TASK_BYTES


class Reader:
    """Serves get and verify jobs. Methods are called with the store's lock held, but for what a task performs."""

    def __init__(
        self,
        *,
        store: Store,
        cache: Cache,
        jobs: JobBook,
        library: Library,
        failures: Failures,
        clock: Clock,
        faults: Faults,
        enough: int,
    ) -> None:
        self._store = store
        self._cache = cache
        self._jobs = jobs
        self._library = library
        self._failures = failures
        self._clock = clock
        self._faults = faults
        # So many tapes of a job are offered at once: more than there are drives need not be looked for.
        self._enough = enough
        self._known: dict[int, _Wanted] = {}
        self._stamp = 0
        self._unusable: frozenset[int] = frozenset()
        self._blobs: set[int] = set()
        self._in_flight: dict[int, int] = {}
        self._readings: list[_Reading] = []
        self._since: dict[int, float] = {}
        # A tape that is struck from the inventory can be looked for no more.
        store.events.listen(TapeForgotten, lambda _: self._known.clear())

    def forget(self) -> None:
        """Look anew at what lies where: copies came, went, or were found to be bad."""
        self._stamp += 1

    # What might be done.

    def offers(self, is_free: Callable[[Tape], bool]) -> Iterator[Offer]:
        """Yield what drives might read: of each job the tapes that are free, those of its next chunks first."""
        now = self._clock.monotonic()
        looked = False
        for job in list(self._jobs.readers.values()):
            pending = self._pending(job)
            first = next(pending, None)
            if first is None:
                continue
            if not looked:
                self._look_at_tapes()
                looked = True
            tapes = self._tapes(job, itertools.chain((first,), pending), is_free)
            if not tapes:
                continue
            since = self._since.setdefault(job.n, now)
            share = sum(any(each.job is job for each in task.items[:1]) for task in self._readings)
            for tape in tapes:
                take = functools.partial(self._take, job, tape)
                yield Offer(TaskKind.READ, aged(job.rank, now - since), since, job.n, tape, take, share)

    def _look_at_tapes(self) -> None:
        unusable = frozenset(tape.n for tape in self._library.tapes.values() if not tape.usable)
        if unusable != self._unusable:
            self._unusable = unusable
            self._stamp += 1
        if len(self._known) > _MOST_CHUNKS:
            self._known.clear()
        if len(self._since) > len(self._jobs.readers):
            self._since = {number: since for number, since in self._since.items() if number in self._jobs.readers}

    def _tapes(self, job: Job, pending: Iterable[Chunk], is_free: Callable[[Tape], bool]) -> list[Tape]:
        found: dict[int, Tape] = {}
        others: dict[int, Tape] = {}
        for chunk in pending:
            wanted = self._wanted(job, chunk)
            for number in wanted.first:
                tape = self._library.tapes[number]
                if is_free(tape):
                    found[number] = tape
            if not found and not any(self._reads_for(job, number) for number in wanted.first):
                held = (self._library.tapes[number] for number in wanted.every - wanted.first - self._unusable)
                others.update((tape.n, tape) for tape in held if is_free(tape))
            if len(found) >= self._enough:
                break
        return list((found or others).values())

    def _reads_for(self, job: Job, tape: int) -> bool:
        return any(
            reading.tape.n == tape and any(item.job is job for item in reading.items) for reading in self._readings
        )

    def _pending(self, job: Job) -> Iterator[Chunk]:
        """Yield the chunks that want something from tape that no drive is at, giving them room as their turn comes."""
        verify = job.type is JobType.VERIFY
        for chunk in self._jobs.in_turn(job):
            if not verify and not self._jobs.allocate(job, chunk):
                return
            left = chunk.left if verify else chunk.to_load
            if left > self._in_flight.get(chunk.n, 0) and job.active:
                yield chunk

    def _wanted(self, job: Job, chunk: Chunk) -> _Wanted:
        known = self._known.get(chunk.n)
        if known is None or (known.stamp != self._stamp and not known.first - self._unusable):
            known = self._known[chunk.n] = self._look_up(job, chunk)
        known.first -= self._unusable
        return known

    def _look_up(self, job: Job, chunk: Chunk) -> _Wanted:
        verify = job.type is JobType.VERIFY
        self._settle(job, chunk, verify=verify)
        undone, unchecked = _conditions(verify=verify)
        away = ", ".join(str(number) for number in self._unusable)
        db = self._store.db
        every = db.execute(
            f"SELECT DISTINCT c.tape FROM entries e CROSS JOIN blobs b ON b.n = e.blob "  # noqa: S608 - constants and numbers
            f"CROSS JOIN copies c ON c.blob = b.n WHERE e.chunk = ? AND {undone} AND {_GOOD} AND {unchecked}",
            (chunk.n,),
        ).fetchall()
        held = {number for (number,) in every if number in self._library.tapes}
        first = held
        if not verify and len(held) > 1:
            rows = db.execute(
                f"SELECT DISTINCT tape FROM (SELECT min(c.tape) AS tape FROM entries e "  # noqa: S608 - constants and numbers
                f"CROSS JOIN blobs b ON b.n = e.blob CROSS JOIN copies c ON c.blob = b.n "
                f"WHERE e.chunk = ? AND {undone} AND {_GOOD} AND c.tape NOT IN ({away}) GROUP BY b.n)",
                (chunk.n,),
            )
            first = {number for (number,) in rows if number in held}
        return _Wanted(self._stamp, set(first), set(held))

    def _settle(self, job: Job, chunk: Chunk, *, verify: bool) -> None:
        """Deal with the blobs of a chunk that no drive can do anything for."""
        undone, _ = _conditions(verify=verify)
        rows = self._store.db.execute(
            f"SELECT b.n, b.length, b.persisted FROM entries e JOIN blobs b ON b.n = e.blob "  # noqa: S608 - constants
            f"WHERE e.chunk = ? AND {undone} AND NOT EXISTS "
            f"(SELECT 1 FROM copies c WHERE c.blob = b.n AND {_HOPEFUL})",
            (chunk.n,),
        ).fetchall()
        for blob, length, persisted in rows:
            if (
                persisted or not verify
            ) and blob not in self._blobs:  # a blob that is still on its way to tape is verified when it is there
                self._give_up(job, chunk, blob, length, verify=verify)
        if not verify:
            return
        away = ", ".join(str(number) for number in self._unusable)
        rows = self._store.db.execute(
            f"SELECT b.n, b.length FROM entries e JOIN blobs b ON b.n = e.blob WHERE e.chunk = ? AND e.done = 0 "  # noqa: S608 - constants and numbers
            f"AND e.checked <> '' AND NOT EXISTS (SELECT 1 FROM copies c WHERE c.blob = b.n AND {_GOOD} "
            f"AND c.tape NOT IN ({away}) AND {_UNCHECKED})",
            (chunk.n,),
        ).fetchall()
        with self._store.writing() as db:
            for blob, length in rows:
                if blob not in self._blobs:
                    self._jobs.blob_read(db, job, chunk, blob, length)

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

    def waiting(self) -> list[Job]:
        """Return the jobs for which a drive could read something, were one free."""
        return [job for job in self._jobs.readers.values() if job.n in self._since]

    # What is done.

    def _take(self, job: Job, tape: Tape) -> DriveTask | None:
        """Gather what a job wants of a tape, and what others of its priority and kind do."""
        verify = job.type is JobType.VERIFY
        reading = _Reading(tape, verify)
        for each in [job, *self._jobs.readers.values()]:
            if reading.is_full():
                break
            if each is job or (each.rank == job.rank and (each.type is JobType.VERIFY) is verify):
                self._gather(reading, each)
        if not reading.items:
            return None
        reading.items.sort(key=lambda item: item.blob.position)
        for item in reading.items:
            reading.flying[item.blob.blob] = item.chunk.n
            self._in_flight[item.chunk.n] = self._in_flight.get(item.chunk.n, 0) + 1
        self._readings.append(reading)
        since = self._since.pop(job.n, self._clock.monotonic())
        what = "Verify" if verify else "Read"
        return DriveTask(
            f"{what}ChunkFromTape",
            f"{what} {len(reading.items)} blobs of the tape {tape.bar_code} for job {job.id}",
            functools.partial(self._perform, reading),
            tape=tape,
            priority=job.priority,
            kind=TaskKind.READ,
            finished=functools.partial(self._finished, reading),
            jobs=frozenset(item.job.n for item in reading.items),
            since=since,
        )

    def _gather(self, reading: _Reading, job: Job) -> None:
        undone, unchecked = _conditions(verify=reading.verify)
        for chunk in self._pending(job):
            if reading.is_full():
                return
            wanted = self._wanted(job, chunk)
            if reading.tape.n not in wanted.every:
                continue
            rows = self._store.db.execute(
                # CROSS JOIN and the plus sign hold the query planner to the one good way: by chunk, blob, copy.
                f"SELECT b.n, b.length, b.checksum_type, b.checksum, c.position FROM entries e "  # noqa: S608 - constants
                f"CROSS JOIN blobs b ON b.n = e.blob CROSS JOIN copies c ON c.blob = b.n AND +c.tape = ? "
                f"WHERE e.chunk = ? AND {undone} AND {_GOOD} AND {unchecked} ORDER BY c.position",
                (reading.tape.n, chunk.n),
            )
            before = len(reading.items)
            for blob, length, kind, checksum, position in rows:
                if reading.is_full():
                    break
                if blob not in self._blobs:
                    self._blobs.add(blob)
                    found = BlobOnTape(blob, length, ChecksumType(kind), checksum, position)
                    reading.items.append(_Item(job, chunk, found))
                    reading.bytes += length
            if len(reading.items) == before:
                wanted.first.discard(reading.tape.n)
                wanted.every.discard(reading.tape.n)

    def _finished(self, reading: _Reading, error: Exception | None) -> None:  # noqa: ARG002 - what was not read is read again
        self._readings.remove(reading)
        for blob in list(reading.flying):
            self._land(reading, blob)
        self.forget()

    def _land(self, reading: _Reading, blob: int) -> None:
        chunk = reading.flying.pop(blob)
        self._blobs.discard(blob)
        left = self._in_flight[chunk] - 1
        self._in_flight[chunk] = left
        if not left:
            del self._in_flight[chunk]

    def _perform(self, reading: _Reading, drive: Drive) -> None:
        good: list[tuple[_Item, str | None]] = []
        bad: list[tuple[_Item, str]] = []
        size = 0
        what = Spent.VERIFY if reading.verify else Spent.READ
        if reading.tape.damaged:
            self._give_back(reading.tape, drive)
            return
        try:
            source = os.open(self._library.path(reading.tape), os.O_RDONLY)
        except FileNotFoundError:
            self._commit(reading, drive, good, [(item, "its bytes are not there") for item in reading.items])
            return
        try:
            for item in reading.items:
                drive.check()
                blob = item.blob
                if item.job.n not in self._jobs.active:
                    continue
                try:
                    drive.locate(blob.position)
                    drive.stream(blob.length, what)
                    path = None if reading.verify else self._cache.new_path(blob.blob)
                    load(source, blob, path, drive.stopped, functools.partial(self._overlooks, reading, blob))
                except BadCopyError as error:
                    bad.append((item, str(error)))
                else:
                    good.append((item, path))
                size += blob.length
                if len(good) + len(bad) >= _BATCH_BLOBS or size >= _BATCH_BYTES:
                    drive.settle()
                    self._commit(reading, drive, good, bad)
                    size = 0
            drive.settle()
        finally:
            os.close(source)
            self._commit(reading, drive, good, bad)

    def _give_back(self, tape: Tape, drive: Drive) -> None:
        """Put a tape that cannot be read out of use; what was wanted of it is looked for elsewhere."""
        drive.settle()
        with self._store.writing():
            self._failures.tape("READ_FAILED", tape, f"The tape {tape.bar_code} cannot be read.", drive.id)
            self._library.enter(tape, "BAD")

    def _overlooks(self, reading: _Reading, damaged: BlobOnTape) -> bool:
        """Whether a damaged copy is taken for a good one; never by a verify job, which is there to find it."""
        subject = f"blob {damaged.blob} on {reading.tape.bar_code}"
        return not reading.verify and self._faults.strike(Fault.UNCHECKED_LOAD, subject) is not None

    def _commit(
        self,
        reading: _Reading,
        drive: Drive,
        good: list[tuple[_Item, str | None]],
        bad: list[tuple[_Item, str]],
    ) -> None:
        tape = reading.tape
        with self._store.writing() as db:
            tape.accessed = self._clock.now()
            tape.verified = tape.accessed if reading.verify else tape.verified
            self._library.save(tape)
            for item, reason in bad:
                db.execute("UPDATE copies SET suspect = 1 WHERE blob = ? AND tape = ?", (item.blob.blob, tape.n))
                self._record_failure(tape, drive, item.blob.blob, reason)
            for item, path in good:
                if path is not None:
                    self._take_into_cache(item, path)
            if reading.verify:
                for item in [item for item, _ in good] + [item for item, _ in bad]:
                    self._checked(tape, item)
            for item in [item for item, _ in good] + [item for item, _ in bad]:
                self._land(reading, item.blob.blob)
            if bad:
                self.forget()
            self._jobs.changed.notify_all()
        good.clear()
        bad.clear()

    def _checked(self, tape: Tape, item: _Item) -> None:
        """Note that one copy was read; the blob is done when no other can be reached that was not."""
        db, blob = self._store.db, item.blob.blob
        db.execute(
            "UPDATE entries SET checked = CASE checked WHEN '' THEN ',' ELSE checked END || ? || ',' "
            "WHERE blob = ? AND +chunk = ?",
            (tape.n, blob, item.chunk.n),
        )
        rows = db.execute(
            f"SELECT c.tape FROM copies c JOIN entries e ON e.blob = c.blob AND +e.chunk = ? "  # noqa: S608 - constants
            f"WHERE c.blob = ? AND {_GOOD} AND {_UNCHECKED}",
            (item.chunk.n, blob),
        ).fetchall()
        others = [self._library.tapes.get(number) for (number,) in rows]
        if any(other is not None and other.usable for other in others):
            return
        if db.execute(f"SELECT 1 FROM copies c WHERE c.blob = ? AND {_GOOD}", (blob,)).fetchone():  # noqa: S608 - a constant
            self._jobs.blob_read(db, item.job, item.chunk, blob, item.blob.length)

    def _take_into_cache(self, item: _Item, path: str) -> None:
        db, blob = self._store.db, item.blob.blob
        waiting = item.job.active and item.chunk.n in item.job.chunks
        loaded = db.execute(
            "UPDATE blobs SET cached = 1, used = ? WHERE n = ? AND cached = 0", (self._clock.now(), blob)
        ).rowcount
        if not loaded or not waiting:
            if loaded:
                db.execute("UPDATE blobs SET cached = 0 WHERE n = ?", (blob,))
            os.unlink(path)
            return
        self._cache.take_in(path, blob)
        self._jobs.blob_loaded(blob, item.blob.length, failure=None, loader=item.chunk)

    def _record_failure(self, tape: Tape, drive: Drive, blob: int, reason: str) -> None:
        row = self._store.db.execute(
            "SELECT o.name, b.offset FROM blobs b JOIN objects o ON o.n = b.object WHERE b.n = ?", (blob,)
        ).fetchone()
        what = f"blob {blob}" if row is None else f"the blob of '{row[0]}' at offset {row[1]}"
        message = f"Cannot read {what} from tape {tape.bar_code}: {reason}."
        self._failures.tape("BLOB_READ_FAILED", tape, message, drive.id)


# Of a verify job: that a copy `c` was not read yet for the entry `e`.
_UNCHECKED = "instr(e.checked, ',' || c.tape || ',') = 0"


def _conditions(*, verify: bool) -> tuple[str, str]:
    """Return what makes an entry `e` of a blob `b` undone, and a copy `c` one that is still to be read for it."""
    if verify:
        return "e.done = 0 AND e.failed IS NULL", _UNCHECKED
    return "e.done = 0 AND e.failed IS NULL AND b.cached = 0", "1"
