"""Makes jobs of what clients ask for: objects cut into blobs, blobs into chunks, all written in one transaction."""

from __future__ import annotations

import itertools
import json
import random
import sqlite3
from collections.abc import Iterable
from dataclasses import replace

from ds3tool.protocol import names
from ds3tool.protocol.model import JobStatus, JobType, Versioning
from ds3tool.simulator.buckets import Bucket, Buckets, Rules
from ds3tool.simulator.clock import Clock
from ds3tool.simulator.events import JobCreated
from ds3tool.simulator.jobs.backend import Backend
from ds3tool.simulator.jobs.book import JobBook
from ds3tool.simulator.jobs.chunking import MAX_BLOBS_PER_CHUNK, ChunkWriter
from ds3tool.simulator.jobs.job import Chunk, Job, JobOptions
from ds3tool.simulator.jobs.reach import Reach, WantedBlob
from ds3tool.simulator.objects import Objects, name_taken
from ds3tool.simulator.quirks import Quirk
from ds3tool.simulator.settings import ApplianceSettings
from ds3tool.simulator.store import Store
from ds3tool.simulator.wire.refusals import bad_request, busy
from ds3tool.simulator.wire.xmlin import PutList, WantedObject

# The Go SDK looks for these words. Source: protocol, 5.2.
_NOT_PREALLOCATED = (
    "GET jobs that have a chunkClientProcessingOrderGuarantee of IN_ORDER must be entirely pre-allocated. "
    "Cannot pre-allocate the chunks of this one."
)
_NOT_STAGED = "The cache has no room at present for all that is to be staged."
_BATCH = 5_000


class Planner:
    """Creates jobs. Methods are called with the store's lock held."""

    def __init__(
        self,
        *,
        store: Store,
        buckets: Buckets,
        objects: Objects,
        jobs: JobBook,
        reach: Reach,
        backend: Backend,
        clock: Clock,
        settings: ApplianceSettings,
    ) -> None:
        self._store = store
        self._reach = reach
        self._backend = backend
        self._buckets = buckets
        self._objects = objects
        self._jobs = jobs
        self._clock = clock
        self._settings = settings
        self._chance = random.Random(settings.seed)  # noqa: S311 - order, not secrets

    # Puts.

    def create_put(self, bucket: Bucket, listed: PutList, options: JobOptions) -> Job:
        """Create a put job, or append to an aggregating one.

        Where every name was left out as existing it is a job without chunks, and has ended: the SDKs take nothing but
        a job for an answer.

        Raises a 400 for a name given twice or a blob size that is not accepted, a 409 for a name that exists, a 503
        when a job that asks for all of its room at once cannot have it.
        """
        if len(set(listed.names)) != len(listed.names):
            raise bad_request("The list of objects names one of them twice.")
        rules = self._buckets.rules(bucket)
        blob_size = self.blob_size(rules, options.max_upload_size)
        if not rules.blobbing and max(listed.sizes) > blob_size:
            raise bad_request(
                f"An object has {max(listed.sizes)} bytes, and its one blob cannot have over {blob_size}."
            )
        chosen = self._without_conflicts(bucket, listed, rules, ignore=options.ignore_conflicts)
        options = replace(
            options,
            priority=options.priority or rules.put_priority,
            processing_order=options.processing_order or "IN_ORDER",
            spanning=rules.minimize_spanning or bool(options.spanning),
            verify_write=rules.verify_write if options.verify_write is None else options.verify_write,
        )
        with self._store.writing() as db:
            joined = self._open_job(bucket, JobType.PUT, options)
            job = joined or self.new_job(db, bucket, JobType.PUT, options)
            first = self._store.numbers("objects", 0)
            chunks = self._write_put(db, bucket, job, listed, chosen=chosen, rules=rules, blob_size=blob_size)
            db.execute("UPDATE jobs SET original = ? WHERE n = ?", (job.original, job.n))
        self._buckets.modify(bucket, chunk_size=self._settings.effective_chunk_size)
        self.begin(job, chunks)
        if not chosen and joined is None:
            self._jobs.close(job)
        whole = options.preallocate or options.aggregating
        if whole and not all(self._jobs.allocate(job, each, whole=True) for each in chunks):
            self._give_up(job, first, joined=joined is not None)
            raise busy("The cache has no room for the whole job.", self._backend.retry_after)
        return job

    def _give_up(self, job: Job, first: int, *, joined: bool) -> None:
        """Undo what has just been declared: objects of the job from row `first` on, and the job when it is new."""
        with self._store.writing() as db:
            self._objects.remove(db, [each.n for each in self._objects.select("job = ? AND n >= ?", (job.n, first))])
        if not joined:
            self._jobs.discard(job)

    def blob_size(self, rules: Rules, asked: int | None = None) -> int:
        """Return the bytes of each blob of an object but the last; a 400 for an `asked` size that is too small."""
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
        writer = self.writer(db, job)
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
        found = self._reach.find(bucket, wanted)
        blobs = self._reach.reachable(found, from_tape=verifying, user_id=options.user_id)
        if options.staging:
            self._refuse_staging(blobs)
        order = "NONE" if verifying or options.staging else options.processing_order or "IN_ORDER"
        options = replace(
            options,
            priority=options.priority or (rules.verify_priority if verifying else rules.get_priority),
            processing_order=order,
        )
        if order == "NONE":
            blobs.sort(key=lambda each: (not each.cached or verifying, each.tape, each.position))
            if Quirk.SCATTERED_BLOBS in self._settings.quirks:
                self._chance.shuffle(blobs)
        with self._store.writing() as db:
            joined = self._open_job(bucket, kind, options)
            job = joined or self.new_job(db, bucket, kind, options)
            writer = self.writer(db, job)
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
        self.begin(job, chunks)
        if not verifying:
            self._allocate_read(job, chunks, joined=joined is not None, cached=all(each.cached for each in blobs))
        self._jobs.changed.notify_all()
        return job

    def _refuse_staging(self, blobs: list[WantedBlob]) -> None:
        """Raise a 400 when nothing has to come, or when not all of it can be in the cache at once."""
        size = sum(each.length for each in blobs)
        if all(each.cached for each in blobs):
            raise bad_request("There is nothing to stage: all of it is in the cache.")
        if size > self._settings.largest_allocation:
            raise bad_request(f"{size} bytes cannot be staged, the cache holds {self._settings.largest_allocation}.")

    def _allocate_read(self, job: Job, chunks: list[Chunk], *, joined: bool, cached: bool) -> None:
        """Give room to what there is room for; to all of it or none where that is promised."""
        if job.staging:
            job.completed = job.cached
        whole = job.staging or (job.processing_order == "IN_ORDER" and not cached)
        for chunk in chunks:
            if self._jobs.allocate(job, chunk, whole=whole):
                continue
            if whole and joined:
                self._jobs.withdraw(job, chunks)
            elif whole:
                self._jobs.discard(job)
            if whole:
                retry_after = self._backend.retry_after if job.staging else None
                raise busy(_NOT_STAGED if job.staging else _NOT_PREALLOCATED, retry_after)
            break

    # Both.

    def _open_job(self, bucket: Bucket, kind: JobType, options: JobOptions) -> Job | None:
        """Return the aggregating job that these objects may join."""
        if not options.aggregating:
            return None
        now = self._clock.now()
        return next((job for job in self._jobs.active.values() if job.takes(bucket.n, kind, options, now)), None)

    def writer(self, db: sqlite3.Connection, job: Job) -> ChunkWriter:
        """Return what fills further chunks of a job."""
        most = self._backend.most_aggregated_blobs if job.aggregating else MAX_BLOBS_PER_CHUNK
        return ChunkWriter(db, self._store, job, self._settings.effective_chunk_size, most)

    def new_job(self, db: sqlite3.Connection, bucket: Bucket, kind: JobType, options: JobOptions) -> Job:
        """Write a job without blobs, inside a transaction; a 404 when the bucket has gone, a 503 for one job too many.

        Priority and processing order must have been decided.
        """
        assert options.priority is not None
        assert options.processing_order is not None
        self._buckets.current(bucket)
        self._backend.admit(len(self._jobs.active))
        number = self._store.numbers("jobs", 1)
        job = Job(
            n=number,
            id=self._jobs.ids.of(number),
            bucket=bucket.n,
            type=kind,
            status=JobStatus.IN_PROGRESS,
            name=options.name,
            priority=options.priority,
            processing_order=options.processing_order,
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
            spanning=bool(options.spanning),
            verify_write=bool(options.verify_write),
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

    def begin(self, job: Job, chunks: list[Chunk]) -> None:
        """Take a job among the active ones, with chunks that have been written."""
        self._jobs.begin(job)
        for chunk in chunks:
            job.chunks[chunk.n] = chunk


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
