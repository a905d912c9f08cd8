"""Writing to tape: chunks on their way, for each storage domain by itself, until every copy is written.

Copies are independent of each other: a domain without tapes or drives holds back neither the other nor its placement.
Where a persistence rule isolates buckets, a tape takes the data of one alone. Data is appended; the blob that does not
fit any more fills the tape, and goes to another one, as do those after it: an object may span tapes, a blob does not.

With WriteOptimization CAPACITY, the default, one tape of a domain is filled after the other, by one drive at a time;
with PERFORMANCE as many are written to at once as there are drives for. A job that is to span few media goes where its
other blobs are, or where all that is left of it fits.
"""

from __future__ import annotations

import functools
import heapq
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import field

from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import ChecksumType
from ds3tool.simulator.buckets import Bucket, Buckets
from ds3tool.simulator.cache import Cache
from ds3tool.simulator.clock import Clock
from ds3tool.simulator.events import ChunkPersisted, TapeForgotten
from ds3tool.simulator.faults import Fault, Faults
from ds3tool.simulator.jobs.book import JobBook
from ds3tool.simulator.jobs.job import Chunk, Job
from ds3tool.simulator.records.beans import Beans
from ds3tool.simulator.store import Store
from ds3tool.simulator.tapes.drive import Drive
from ds3tool.simulator.tapes.failures import Failures
from ds3tool.simulator.tapes.ledger import Spent
from ds3tool.simulator.tapes.library import Library, Tape
from ds3tool.simulator.tapes.media import BadCopyError, BlobOnTape, copy_out, flip_bit, load, opened
from ds3tool.simulator.tapes.tasks import DriveTask, Offer, TaskAbortedError, TaskKind, aged, rank_of

_log = logging.getLogger(__name__)

# A drive writes down what it did after so many blobs or bytes.
_BATCH_BLOBS = 200
_BATCH_BYTES = 256 << 20
# It takes at most so much from the queue at once, so that the other drives find work too.
_TASK_CHUNKS = 500
_TASK_BYTES = 1 << 30
_AGING = 30 * 60.0
_PREFERENCES = {"HIGH": 0, "NORMAL": 1, "LOW": 2}


@dataclass(frozen=True, slots=True)
class _Group:
    """What may share a tape: a storage domain, and a bucket (its row) where it is isolated."""

    domain: str
    bucket: int | None


@dataclass(slots=True)
class _Queue:
    """Chunks of one group that are due: (turn, order of arrival, since when, job, chunk), a heap."""

    items: list[tuple[float, int, float, Job, Chunk]] = field(default_factory=list)
    # The tapes that drives write to for it.
    writing: list[Tape] = field(default_factory=list)
    # Of the first item: its order of arrival, and the length of the blob that is next.
    head: tuple[int, int] = (0, 0)


@dataclass(slots=True, eq=False)
class _Writing:
    """What a drive is at. `written`: bytes of the tape that count, or will when they have been read back."""

    group: _Group
    tape: Tape
    chunks: list[tuple[Job, Chunk]]
    written: int
    since: dict[int, float]
    copies: list[tuple[int, int]] = field(default_factory=list)
    done: list[tuple[Job, Chunk]] = field(default_factory=list)
    to_check: list[tuple[int, int]] = field(default_factory=list)
    size: int = 0


class Writer:
    """Serves put jobs. Methods are called with the store's lock held, but for what a task performs."""

    def __init__(
        self,
        *,
        store: Store,
        beans: Beans,
        buckets: Buckets,
        cache: Cache,
        jobs: JobBook,
        library: Library,
        failures: Failures,
        clock: Clock,
        faults: Faults,
        written: Callable[[], None],
    ) -> None:
        self._store = store
        self._beans = beans
        self._buckets = buckets
        self._cache = cache
        self._jobs = jobs
        self._library = library
        self._failures = failures
        self._clock = clock
        self._faults = faults
        # Called when copies have come to be.
        self._written = written
        self._queues: dict[_Group, _Queue] = {}
        # Of each chunk on its way: the storage domains that it is still to be written to, and `_upsets` at its coming.
        self._remaining: dict[int, tuple[set[str], int]] = {}
        # How often rules have changed, or copies were dropped: what is on its way may need more copies since then.
        self._upsets = 0
        # Chunks whose data policy asks for no copy at all: they wait for a rule.
        self._homeless: list[tuple[Job, Chunk]] = []
        self._order = 0
        store.events.listen(TapeForgotten, lambda _: self._upset())
        beans.watch("DataPersistenceRule", self._upset)

    # What might be done.

    def until_due(self) -> float | None:
        """Return the seconds until the next chunk is to go to tape, None when there is none."""
        if not self._jobs.to_store:
            return None
        return max(0.0, self._jobs.to_store[0][0] - self._clock.monotonic()) or 0.001

    def offers(self, is_free: Callable[[Tape], bool], is_returning: Callable[[Tape], bool]) -> Iterator[Offer]:
        """Yield what drives might write: for each storage domain the chunk whose turn it is, with a tape that is free.

        `is_free` tells whether a drive may take a tape: it is in a slot, or in a drive that has nothing to do;
        `is_returning` whether it is on its way to be that.
        """
        now = self._clock.monotonic()
        while self._jobs.to_store and self._jobs.to_store[0][0] <= now:
            _, _, _, job, chunk = heapq.heappop(self._jobs.to_store)
            self._take_in(job, chunk)
        for group, queue in list(self._queues.items()):
            while queue.items and not self._is_wanted(queue.items[0]):
                self._remaining.pop(heapq.heappop(queue.items)[4].n, None)
            if not queue.items:
                if not queue.writing:
                    del self._queues[group]
                continue
            _, _, since, job, _ = queue.items[0]
            tape = self._choose_tape(group, queue, job, is_free, is_returning)
            if tape is not None:
                take = functools.partial(self._take, group, queue, tape)
                rank = aged(job.rank, now - since)
                yield Offer(TaskKind.WRITE, rank, since, job.n, tape, take, len(queue.writing))

    def waiting(self) -> list[tuple[str, int | None, Job]]:
        """Return for what drives or tapes are waited: storage domain, bucket (its row, if isolated), the next job."""
        return [
            (group.domain, group.bucket, queue.items[0][3])
            for group, queue in self._queues.items()
            if queue.items and self._is_wanted(queue.items[0])
        ]

    def _is_wanted(self, item: tuple[float, int, float, Job, Chunk]) -> bool:
        _, _, _, job, chunk = item
        return job.active and chunk.n in job.storing

    def _take_in(self, job: Job, chunk: Chunk) -> None:
        if not job.active or chunk.n not in job.storing:
            return
        domains = self._buckets.rules(self._buckets.numbered(job.bucket)).domains
        if domains:
            self._want(job, chunk, domains)
        else:
            self._homeless.append((job, chunk))

    def _want(self, job: Job, chunk: Chunk, domains: Iterable[str]) -> None:
        """Have a chunk written to tapes of these storage domains."""
        bucket = self._buckets.numbered(job.bucket)
        self._remaining[chunk.n] = (set(domains), self._upsets)
        now = self._clock.monotonic()
        for domain in domains:
            isolated = self._isolates(bucket, domain)
            self._enqueue(_Group(domain, bucket.n if isolated else None), job, chunk, now)

    def _upset(self) -> None:
        self._upsets += 1
        homeless, self._homeless = self._homeless, []
        for job, chunk in homeless:
            self._take_in(job, chunk)

    def _isolates(self, bucket: Bucket, domain: str) -> bool:
        return any(
            rule["DataPolicyId"] == bucket.data_policy_id
            and rule["StorageDomainId"] == domain
            and rule.get("IsolationLevel") == "BUCKET_ISOLATED"
            for rule in self._beans.all("DataPersistenceRule")
        )

    def _enqueue(self, group: _Group, job: Job, chunk: Chunk, since: float) -> None:
        self._order += 1
        # The urgent come first whatever waits; else each step of priority is worth half an hour of waiting.
        turn = since + job.rank * _AGING if job.rank > rank_of("URGENT") else job.rank - 1e12
        queue = self._queues.setdefault(group, _Queue())
        heapq.heappush(queue.items, (turn, self._order, since, job, chunk))

    def _choose_tape(
        self,
        group: _Group,
        queue: _Queue,
        job: Job,
        is_free: Callable[[Tape], bool],
        is_returning: Callable[[Tape], bool],
    ) -> Tape | None:
        length = self._next_length(group, queue)
        domain = self._beans.get("StorageDomain", group.domain) or {}
        one_by_one = domain.get("WriteOptimization") != "PERFORMANCE"
        if one_by_one and any(tape.writable and tape.available >= length for tape in queue.writing):
            return None  # the tape that is being filled has room: the next one is not begun
        bucket = None if group.bucket is None else self._buckets.find_number(group.bucket)
        fitting = self._library.tapes_with_room(group.domain, None if bucket is None else bucket.id, length)
        preference = {tape.n: self._preference(group.domain, tape) for tape in fitting}
        fitting = [tape for tape in fitting if preference[tape.n] is not None]
        if one_by_one and any(tape.domain_id is not None and is_returning(tape) for tape in fitting):
            return None  # it was written to just now, and is put away: to begin another one would be too hasty
        free = [tape for tape in fitting if is_free(tape)]
        if job.spanning and free:
            free = self._few_media(group, job, free)
        return min(
            free,
            key=lambda tape: (tape.domain_id is None, preference[tape.n], tape.domain_id and -tape.written, tape.n),
            default=None,
        )

    def _next_length(self, group: _Group, queue: _Queue) -> int:
        """Return the length of the next blob to be written: a tape without room for that is of no use."""
        _, order, _, _, chunk = queue.items[0]
        if queue.head[0] != order:
            row = self._store.db.execute(
                "SELECT b.length FROM entries e JOIN blobs b ON b.n = e.blob WHERE e.chunk = ? AND NOT EXISTS "
                "(SELECT 1 FROM copies c WHERE c.blob = b.n AND c.domain = ?) ORDER BY e.place LIMIT 1",
                (chunk.n, group.domain),
            ).fetchone()
            queue.head = (order, 0 if row is None else row[0])
        return queue.head[1]

    def _preference(self, domain: str, tape: Tape) -> int | None:
        """Return the place that the member of a storage domain gives its tapes; None when it takes no data."""
        member = self._library.member(domain, tape)
        if member is None or member.get("State", "NORMAL") != "NORMAL":
            return None
        return _PREFERENCES.get(str(member.get("WritePreference", "NORMAL")))

    def _few_media(self, group: _Group, job: Job, free: list[Tape]) -> list[Tape]:
        """Return the tapes that keep a job together as well as can be: that hold some of it, or can hold the rest."""
        db = self._store.db
        begun = {
            number
            for (number,) in db.execute(
                "SELECT DISTINCT c.tape FROM objects o JOIN blobs b ON b.object = o.n JOIN copies c ON c.blob = b.n "
                "WHERE o.job = ? AND c.domain = ?",
                (job.n, group.domain),
            )
        }
        if begun:
            return [tape for tape in free if tape.n in begun] or free
        return [tape for tape in free if tape.available >= job.original] or free

    def _take(self, group: _Group, queue: _Queue, tape: Tape) -> DriveTask | None:
        chunks: list[tuple[Job, Chunk]] = []
        since: dict[int, float] = {}
        size = 0
        while (
            queue.items and len(chunks) < _TASK_CHUNKS and (not chunks or size + queue.items[0][4].bytes <= _TASK_BYTES)
        ):
            item = heapq.heappop(queue.items)
            if self._is_wanted(item):
                chunks.append((item[3], item[4]))
                since[item[4].n] = item[2]
                size += item[4].bytes
        if not chunks:
            return None
        writing = _Writing(group, tape, chunks, tape.written, since)
        queue.writing.append(tape)
        first = chunks[0][0]
        return DriveTask(
            "WriteChunkToTape",
            f"Write {len(chunks)} chunks to the tape {tape.bar_code}, the first of job {first.id}",
            functools.partial(self._perform, writing),
            tape=tape,
            priority=first.priority,
            kind=TaskKind.WRITE,
            finished=functools.partial(self._finished, writing),
            jobs=frozenset(job.n for job, _ in chunks),
            since=min(since.values()),
        )

    # What is done.

    def _finished(self, writing: _Writing, error: Exception | None) -> None:  # noqa: ARG002 - what is not done waits again
        queue = self._queues.setdefault(writing.group, _Queue())
        if writing.tape in queue.writing:
            queue.writing.remove(writing.tape)
        for job, chunk in writing.chunks:  # what was not finished waits again
            if job.active:
                self._enqueue(writing.group, job, chunk, writing.since[chunk.n])

    def _perform(self, writing: _Writing, drive: Drive) -> None:
        tape = writing.tape
        if tape.damaged or tape.tab:
            self._give_back(tape, drive)
            return
        drive.locate(writing.written)
        with opened(self._library.path(tape), os.O_RDWR | os.O_CREAT) as target:
            for job, chunk in list(writing.chunks):
                lost = False
                for blob, length in self._unstored(chunk, writing.group.domain):
                    drive.check()
                    if writing.written + length > tape.capacity:
                        self._commit(writing, drive, target, full=True)
                        return
                    try:
                        if length:
                            copy_out(self._cache.path(blob), length, target, writing.written, drive.stopped)
                            self._spoil(writing, blob, length, target)
                    except FileNotFoundError:
                        lost |= self._is_lost(job, blob)
                        continue
                    drive.stream(length, Spent.WRITE)
                    (writing.to_check if job.verify_write else writing.copies).append((blob, writing.written))
                    writing.written += length
                    writing.size += length
                    if len(writing.copies) + len(writing.to_check) >= _BATCH_BLOBS or writing.size >= _BATCH_BYTES:
                        self._commit(writing, drive, target)
                if lost:  # it can never be complete, and must not look as if it were
                    writing.chunks.remove((job, chunk))
                else:
                    writing.done.append((job, chunk))
            self._commit(writing, drive, target)

    def _give_back(self, tape: Tape, drive: Drive) -> None:
        """Put a tape that nothing can be written to out of use; its chunks go to another one."""
        drive.settle()
        why = "is damaged" if tape.damaged else "is protected against writing"
        with self._store.writing():
            self._failures.tape("WRITE_FAILED", tape, f"The tape {tape.bar_code} {why}.", drive.id)
            tape.write_protected = tape.tab
            self._library.enter(tape, "BAD" if tape.damaged else tape.state)

    def _spoil(self, writing: _Writing, blob: int, length: int, target: int) -> None:
        """Let a copy change on the medium, now and then."""
        strike = self._faults.strike(Fault.CORRUPT_MEDIA, f"blob {blob} on {writing.tape.bar_code}")
        if strike is not None:
            flip_bit(target, writing.written + strike.position(length), strike.bit)

    def _unstored(self, chunk: Chunk, domain: str) -> list[tuple[int, int]]:
        with self._jobs.changed:
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

    def _commit(self, writing: _Writing, drive: Drive, target: int, *, full: bool = False) -> None:
        """Make what was written count, once it has been read back where that was asked for."""
        spoiled = self._read_back(writing, drive, target)
        drive.settle()
        tape, domain = writing.tape, writing.group.domain
        with self._store.writing() as db:
            if not tape.keeps:  # it was said to be gone or BAD meanwhile: its chunks are for another one
                raise TaskAbortedError(f"The tape {tape.bar_code} is {tape.state}.")
            for blob, position in writing.copies:
                db.execute(
                    "INSERT OR REPLACE INTO copies (blob, domain, tape, position) "
                    "SELECT n, ?, ?, ? FROM blobs WHERE n = ?",
                    (domain, tape.n, position, blob),
                )
            tape.written, tape.full = writing.written, tape.full or full or bool(spoiled)
            tape.domain_id = tape.domain_id or domain
            if tape.member_id is None:
                member = self._library.member(domain, tape)
                tape.member_id = None if member is None else str(member["Id"])
            bucket = None if writing.group.bucket is None else self._buckets.find_number(writing.group.bucket)
            tape.bucket_id = tape.bucket_id or (None if bucket is None else bucket.id)
            tape.modified = tape.accessed = self._clock.now()
            self._library.save(tape)
            for blob in spoiled:
                message = f"The blob {blob} was written to tape {tape.bar_code}, and its bytes are others there."
                self._failures.tape("WRITE_FAILED", tape, message, drive.id)
            for job, chunk in writing.done:
                if not spoiled or not self._unstored(chunk, domain):
                    self._chunk_stored(domain, job, chunk)
                    writing.chunks.remove((job, chunk))
            self._written()
        writing.copies.clear()
        writing.done.clear()
        writing.size = 0
        if spoiled:
            raise BadCopyError(f"the tape {tape.bar_code} does not keep what is written to it")

    def _read_back(self, writing: _Writing, drive: Drive, target: int) -> list[int]:
        """Read the blobs that are to be verified; return those that are not what was written, which do not count."""
        if not writing.to_check:
            return []
        spoiled: list[int] = []
        drive.locate(writing.to_check[0][1])
        for number, position in writing.to_check:
            with self._jobs.changed:
                row = self._store.db.execute(
                    "SELECT length, checksum_type, checksum FROM blobs WHERE n = ?", (number,)
                ).fetchone()
            if row is None:
                continue
            drive.locate(position)
            drive.stream(row[0], Spent.VERIFY)
            try:
                blob = BlobOnTape(number, row[0], ChecksumType(row[1]), row[2], position)
                load(target, blob, None, drive.stopped, lambda: False)
            except BadCopyError:
                spoiled.append(number)
            else:
                writing.copies.append((number, position))
        writing.to_check.clear()
        drive.locate(writing.written)
        return spoiled

    def _chunk_stored(self, domain: str, job: Job, chunk: Chunk) -> None:
        remaining, upsets = self._remaining.get(chunk.n, (set[str](), self._upsets))
        remaining.discard(domain)
        if remaining or not job.active or chunk.n not in job.storing:
            return
        self._remaining.pop(chunk.n, None)
        if upsets != self._upsets:
            domains = self._buckets.rules(self._buckets.numbered(job.bucket)).domains
            late = [each for each in domains if self._unstored(chunk, each)]
            if late:
                self._want(job, chunk, late)
                return
        with self._store.writing() as db:
            db.execute(
                "UPDATE blobs SET persisted = 1 WHERE n IN (SELECT blob FROM entries WHERE chunk = ?)", (chunk.n,)
            )
            db.execute("UPDATE entries SET done = 1 WHERE chunk = ?", (chunk.n,))
            self._store.events.tell(ChunkPersisted(job, chunk))
            self._jobs.chunk_finished(job, chunk)
