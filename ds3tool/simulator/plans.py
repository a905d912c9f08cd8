"""Makes jobs of what clients ask for: objects cut into blobs, blobs into chunks, all written in one transaction."""

from __future__ import annotations

import itertools
import json
import random
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from ds3tool.protocol import names
from ds3tool.protocol.model import JobStatus, JobType, Versioning
from ds3tool.simulator.beans import Beans
from ds3tool.simulator.buckets import Bucket, Buckets, Rules
from ds3tool.simulator.clock import Clock
from ds3tool.simulator.events import JobCreated, JobDiscarded
from ds3tool.simulator.job import Chunk, Job
from ds3tool.simulator.jobs import JobBook
from ds3tool.simulator.objects import Objects, name_taken
from ds3tool.simulator.quirks import Quirk
from ds3tool.simulator.refusals import Refusal, bad_request, busy, conflict
from ds3tool.simulator.settings import ApplianceSettings
from ds3tool.simulator.store import Store
from ds3tool.simulator.xmlin import PutList, WantedObject

# Source: protocol, 8.9, MaxAggregatedBlobsPerChunk. It also bounds the memory of one chunk's answer.
MAX_BLOBS_PER_CHUNK = 20_000
# The Go SDK looks for these words. Source: protocol, 5.2.
_NOT_PREALLOCATED = (
    "GET jobs that have a chunkClientProcessingOrderGuarantee of IN_ORDER must be entirely pre-allocated. "
    "Cannot pre-allocate the chunks of this one."
)
_AGGREGATION_SECONDS = 30 * 60.0
_BATCH = 5_000
# States in which a tape can be read soon without anybody's help.
_WITHIN_REACH = ("NORMAL", "ONLINE_PENDING", "ONLINE_IN_PROGRESS", "PENDING_INSPECTION", "AUTO_COMPACTION_IN_PROGRESS")


@dataclass(frozen=True, slots=True)
class JobOptions:
    """What a creation request says beside its list; None is the data policy's or the appliance's own choice."""

    name: str
    user_id: str
    priority: str | None = None
    processing_order: str | None = None
    max_upload_size: int | None = None
    ignore_conflicts: bool = False
    aggregating: bool = False
    implicit: bool = False
    spanning: bool = False
    verify_write: bool = False
    cleanup: bool = True
    protected: bool = False
    preallocate: bool = False
    naked: bool = False
    staging: bool = False
    replicating: bool = False


@dataclass(frozen=True, slots=True)
class _WantedBlob:
    blob: int
    length: int
    cached: bool
    latest: bool
    tape: int
    position: int


class Planner:
    """Creates jobs. Methods are called with the store's lock held."""

    def __init__(
        self,
        *,
        store: Store,
        beans: Beans,
        buckets: Buckets,
        objects: Objects,
        jobs: JobBook,
        clock: Clock,
        settings: ApplianceSettings,
    ) -> None:
        self._store = store
        self._beans = beans
        self._buckets = buckets
        self._objects = objects
        self._jobs = jobs
        self._clock = clock
        self._settings = settings
        self._chance = random.Random(settings.seed)  # noqa: S311 - order, not secrets

    # Puts.

    def create_put(self, bucket: Bucket, listed: PutList, options: JobOptions) -> Job | None:
        """Create a put job, or append to an aggregating one; None when every name was left out as existing.

        Raises a 400 for a name given twice or a blob size that is not accepted, a 409 for a name that exists, a 503
        when a job that asks for all of its room at once cannot have it.
        """
        if len(set(listed.names)) != len(listed.names):
            raise bad_request("The list of objects names one of them twice.")
        rules = self._buckets.rules(bucket)
        blob_size = self._blob_size(rules, options.max_upload_size)
        chosen = self._without_conflicts(bucket, listed, rules, ignore=options.ignore_conflicts)
        if not chosen:
            return None
        with self._store.writing() as db:
            job = self._aggregating_job(bucket, JobType.PUT, options)
            if job is None:
                order = options.processing_order or "IN_ORDER"
                job = self._new_job(db, bucket, JobType.PUT, options, priority=rules.put_priority, order=order)
            chunks = self._write_put(db, bucket, job, listed, chosen=chosen, rules=rules, blob_size=blob_size)
            db.execute("UPDATE jobs SET original = ? WHERE n = ?", (job.original, job.n))
        self._buckets.modify(bucket, chunk_size=self._settings.effective_chunk_size)
        self._begin(job, chunks)
        if (options.preallocate or options.aggregating) and not all(self._jobs.allocate(job, each) for each in chunks):
            self._give_up(job)
            raise busy("The cache has no room for the whole job.", self._settings.retry_after)
        return job

    def _give_up(self, job: Job) -> None:
        with self._store.writing() as db:
            self._objects.remove(db, [each.n for each in self._objects.select("job = ?", (job.n,))])
        if job.active:
            self._jobs.end(job, JobStatus.CANCELED)
        with self._store.writing():
            self._store.events.tell(JobDiscarded(job))

    def _blob_size(self, rules: Rules, asked: int | None) -> int:
        least = min(names.MIN_BLOB_SIZE, self._settings.blob_size)
        if asked is not None and asked < (1 if least < names.MIN_BLOB_SIZE else least):
            raise bad_request(f"max_upload_size is {asked}, but must be at least {names.MIN_BLOB_SIZE} bytes.")
        if not rules.blobbing:
            return self._settings.largest_allocation
        wanted = asked or rules.default_blob_size or self._settings.blob_size
        return min(wanted, self._settings.largest_allocation)

    def _without_conflicts(self, bucket: Bucket, listed: PutList, rules: Rules, *, ignore: bool) -> range | list[int]:
        everything = range(len(listed.names))
        if rules.versioning is not Versioning.NONE or not self._objects.count("bucket = ? LIMIT 1", (bucket.n,)):
            return everything
        taken = {place for place in everything if self._objects.exists(bucket.n, listed.names[place])}
        if taken and not ignore:
            raise name_taken(listed.names[min(taken)])
        return [place for place in everything if place not in taken] if taken else everything

    def _write_put(
        self,
        db: sqlite3.Connection,
        bucket: Bucket,
        job: Job,
        listed: PutList,
        *,
        chosen: Iterable[int],
        rules: Rules,
        blob_size: int,
    ) -> list[Chunk]:
        """Write objects, blobs, chunks and entries of a put job in batches; return the chunks."""
        writer = _ChunkWriter(db, self._store, job, self._settings.effective_chunk_size)
        versioned = rules.versioning is not Versioning.NONE
        scattered = Quirk.SCATTERED_BLOBS in self._settings.quirks
        places = iter(chosen)
        while batch := list(itertools.islice(places, _BATCH)):
            first = self._store.numbers("objects", len(batch))
            names = [listed.names[place] for place in batch]
            sizes = [listed.sizes[place] for place in batch]
            job.original += sum(sizes)
            constants = f"{bucket.n:d}, 1, {job.n:d}"
            db.executemany(
                f"INSERT INTO objects (bucket, latest, job, n, name, size) VALUES ({constants}, ?, ?, ?)",  # noqa: S608 - numbers
                zip(itertools.count(first), names, sizes),
            )
            if versioned:  # a version that is there stays the latest until the new one is complete
                db.execute(
                    "UPDATE objects SET latest = 0 WHERE n BETWEEN ? AND ? AND EXISTS (SELECT 1 FROM objects o "
                    "WHERE o.bucket = objects.bucket AND o.name = objects.name AND o.latest = 1 AND o.n < ?)",
                    (first, first + len(batch) - 1, first),
                )
            if max(sizes) <= blob_size and not scattered and writer.add_whole(first, sizes):
                continue
            counts = [max(1, -(-size // blob_size)) for size in sizes]
            blob = self._store.numbers("blobs", sum(counts))
            order: list[tuple[int, int]] = []
            for number, (size, count) in enumerate(zip(sizes, counts, strict=True), first):
                if count > 1:
                    job.partial[number] = count
                for offset in range(0, max(size, 1), blob_size):
                    length = min(blob_size, size - offset)
                    writer.blobs.append((blob, number, offset, length))
                    order.append((blob, length))
                    blob += 1
            if scattered:
                self._chance.shuffle(order)
            for number, length in order:
                writer.add(number, length, latest=True)
            writer.flush()
        return writer.finish()

    # Gets and verifies.

    def create_read(self, bucket: Bucket, wanted: list[WantedObject], options: JobOptions, kind: JobType) -> Job:
        """Create a get or verify job over the blobs that cover what is wanted.

        Raises a 404 for an object that is not there, a 400 for a range outside of it, a 409 that names bar codes
        when tapes must be put back first, a 503 for an ordered get that is larger than the cache.
        """
        rules = self._buckets.rules(bucket)
        verifying = kind is JobType.VERIFY
        found = self._find_blobs(bucket, wanted)
        blobs = self._reachable(found, from_tape=verifying, options=options)
        order = "NONE" if verifying else options.processing_order or "IN_ORDER"
        if order == "NONE":
            blobs.sort(key=lambda each: (not each.cached or verifying, each.tape, each.position))
            if Quirk.SCATTERED_BLOBS in self._settings.quirks:
                self._chance.shuffle(blobs)
        with self._store.writing() as db:
            job = self._aggregating_job(bucket, kind, options)
            if job is None:
                default = rules.verify_priority if verifying else rules.get_priority
                job = self._new_job(db, bucket, kind, options, priority=default, order=order)
            writer = _ChunkWriter(db, self._store, job, self._settings.effective_chunk_size)
            was_cached = True
            for place, each in enumerate(blobs):
                if was_cached and not each.cached and order == "NONE":
                    writer.cut()  # what is ready now does not wait for tapes
                was_cached = each.cached
                writer.add(each.blob, each.length, latest=each.latest)
                job.original += each.length
                job.cached += each.length if each.cached else 0
                if place % _BATCH == _BATCH - 1:
                    writer.flush()
            writer.flush()
            chunks = writer.finish()
            db.execute("UPDATE jobs SET original = ? WHERE n = ?", (job.original, job.n))
        self._begin(job, chunks)
        if not verifying:
            self._allocate_read(job, chunks, {each.blob for each in blobs if not each.cached})
        self._jobs.changed.notify_all()
        return job

    def _find_blobs(self, bucket: Bucket, wanted: list[WantedObject]) -> dict[int, _WantedBlob]:
        found: dict[int, _WantedBlob] = {}
        db = self._store.db
        for each in wanted:
            version = self._objects.complete(bucket.n, each.name, each.version_id)
            start, end = each.offset or 0, version.size
            if each.length is not None:
                end = start + each.length
            if end > version.size or (start >= end and version.size) or start > version.size:
                message = f"The range {start}-{end} is not inside '{each.name}', which has {version.size} bytes."
                raise bad_request(message)
            rows = db.execute(
                "SELECT b.n, b.length, b.cached FROM blobs b WHERE b.object = ? AND b.offset < ? AND "
                "(b.offset + b.length > ? OR b.length = 0) ORDER BY b.offset",
                (version.n, max(end, 1), start),
            )
            for blob, length, cached in rows:
                found.setdefault(blob, _WantedBlob(blob, length, bool(cached), version.latest, 0, 0))
        return found

    def _reachable(self, found: dict[int, _WantedBlob], *, from_tape: bool, options: JobOptions) -> list[_WantedBlob]:
        """Return the blobs with the tape that each will come from; refuse when tapes are out of reach."""
        reach = ", ".join(f"'{state}'" for state in _WITHIN_REACH)
        blobs: list[_WantedBlob] = []
        missing: set[str] = set()
        for each in found.values():
            if each.cached and not from_tape:
                blobs.append(each)
                continue
            rows = self._store.db.execute(
                f"SELECT t.n, c.position, t.bar_code, t.state IN ({reach}) AND t.eject_pending IS NULL "  # noqa: S608 - constants
                "FROM copies c JOIN tapes t ON t.n = c.tape WHERE c.blob = ? ORDER BY c.suspect, 4 DESC, t.n",
                (each.blob,),
            ).fetchall()
            near = [row for row in rows if row[3]]
            if near:
                place = (near[0][0], near[0][1])
                blobs.append(_WantedBlob(each.blob, each.length, each.cached, each.latest, *place))
            elif rows:
                missing.update(row[2] for row in rows)
            else:
                blobs.append(each)  # in no place at all: the entry will fail by name
        if missing:
            raise self._tapes_missing(sorted(missing), options)
        return blobs

    def _tapes_missing(self, bar_codes: list[str], options: JobOptions) -> Refusal:
        listed = ", ".join(bar_codes)
        message = f"Conflict[409]: Tapes must be onlined before the job can be created: [{listed}]."
        user = self._beans.get("User", options.user_id)
        values = {
            "Date": self._clock.now(),
            "ErrorMessage": message,
            "TapeBarCodes": listed,
            "Type": "TAPES_MUST_BE_ONLINED",
            "UserName": user["Name"] if user is not None else "",
        }
        with self._store.writing():
            number = self._store.numbers("failures", 1)
            self._beans.add("JobCreationFailed", self._jobs.failure_ids.of(number), values)
        return conflict(message)

    def _allocate_read(self, job: Job, chunks: list[Chunk], uncached: set[int]) -> None:
        if job.processing_order == "IN_ORDER" and uncached:
            if not all(self._jobs.allocate(job, chunk) for chunk in chunks):
                self._jobs.discard(job)
                raise busy(_NOT_PREALLOCATED)
            return
        for chunk in chunks:
            if not self._jobs.allocate(job, chunk):
                break

    # Both.

    def _aggregating_job(self, bucket: Bucket, kind: JobType, options: JobOptions) -> Job | None:
        if not options.aggregating:
            return None
        oldest = self._clock.now() - _AGGREGATION_SECONDS
        for job in self._jobs.active.values():
            alike = (job.bucket, job.type, job.user_id) == (bucket.n, kind, options.user_id)
            open_still = job.aggregating and not job.naked and job.created >= oldest
            if alike and open_still and options.priority in (None, job.priority):
                return job
        return None

    def _new_job(
        self, db: sqlite3.Connection, bucket: Bucket, kind: JobType, options: JobOptions, *, priority: str, order: str
    ) -> Job:
        number = self._store.numbers("jobs", 1)
        job = Job(
            n=number,
            id=self._jobs.ids.of(number),
            bucket=bucket.n,
            type=kind,
            status=JobStatus.IN_PROGRESS,
            name=options.name,
            priority=options.priority or priority,
            processing_order=order,
            user_id=options.user_id,
            created=self._clock.now(),
            ended=None,
            original=0,
            cached=0,
            completed=0,
            aggregating=options.aggregating,
            naked=options.naked,
            truncated=False,
            timed_out=False,
            implicit=options.implicit,
            spanning=options.spanning,
            verify_write=options.verify_write,
            cleanup=options.cleanup,
            protected=options.protected,
            staging=options.staging,
            replicating=options.replicating,
            error=None,
            active_at=self._clock.now(),
        )
        self._jobs.rows.insert(db, job)
        self._store.events.tell(JobCreated(job))
        return job

    def _begin(self, job: Job, chunks: list[Chunk]) -> None:
        self._jobs.begin(job)
        for chunk in chunks:
            job.chunks[chunk.n] = chunk

    def record_naked(
        self, db: sqlite3.Connection, bucket: Bucket, user_id: str, client: str, length: int
    ) -> tuple[Job, Chunk]:
        """Write the job that a naked put gets: one chunk of one blob, all of it received; the caller adds the entry."""
        rules = self._buckets.rules(bucket)
        options = JobOptions(f"PUT by {client}", user_id, aggregating=True, naked=True)
        job = self._new_job(db, bucket, JobType.PUT, options, priority=rules.put_priority, order="IN_ORDER")
        job.original = job.cached = length
        job.open = 1
        chunk = Chunk(self._store.numbers("chunks", 1), 1, length, 0, allocated=True)
        db.execute("UPDATE jobs SET original = ? WHERE n = ?", (length, job.n))
        db.execute(
            "INSERT INTO chunks (n, job, number, bytes, allocated) VALUES (?, ?, 1, ?, 1)", (chunk.n, job.n, length)
        )
        return job, chunk


class _ChunkWriter:
    """Fills chunks with blobs in the order given, and writes them in batches."""

    def __init__(self, db: sqlite3.Connection, store: Store, job: Job, limit: int) -> None:
        self._db = db
        self._store = store
        self._job = job
        self._limit = limit
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
        if size > self._limit or count > MAX_BLOBS_PER_CHUNK:
            return False
        chunk = self._current
        if chunk is None or chunk.bytes + size > self._limit or chunk.left + count > MAX_BLOBS_PER_CHUNK:
            if chunk is not None and chunk.bytes + sizes[0] <= self._limit and chunk.left < MAX_BLOBS_PER_CHUNK:
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
        if chunk is None or (chunk.bytes + length > self._limit and chunk.left) or chunk.left >= MAX_BLOBS_PER_CHUNK:
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


def metadata_text(pairs: Iterable[tuple[str, str]]) -> str | None:
    """Return the `x-amz-meta-` headers of a request as the store keeps them, names in lower case; None for none.

    Values stay as they were sent; of a name given twice the last counts.
    """
    found = {
        name.lower(): value
        for name, value in pairs
        if name.lower().startswith((names.METADATA, "x-spectra-ltfs-")) and value
    }
    return json.dumps(found) if found else None
