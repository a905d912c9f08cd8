"""Puts without a job: whole objects that the appliance gathers into aggregating jobs of its own making.

Objects that one user puts into one bucket, one soon after the other, share a job and, while its way to tape has not
begun, a chunk. Such a job waits no longer than its data do: it ends when all that it holds is on tape, and takes
nothing more when it is half an hour old. Everything comes to tape as early as if each object had a job to itself.
"""

from __future__ import annotations

import sqlite3

from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import JobType, Versioning
from ds3tool.simulator.buckets import Bucket, Buckets, Rules
from ds3tool.simulator.cache import Cache
from ds3tool.simulator.clock import Clock
from ds3tool.simulator.events import BlobCached
from ds3tool.simulator.jobs.backend import Backend
from ds3tool.simulator.jobs.book import JobBook
from ds3tool.simulator.jobs.chunking import MAX_BLOBS_PER_CHUNK
from ds3tool.simulator.jobs.job import AGGREGATION_SECONDS, Chunk, Job, JobOptions
from ds3tool.simulator.jobs.plans import Planner
from ds3tool.simulator.jobs.receiving import Digest, Taken, Upload, new_file, receive
from ds3tool.simulator.objects import Objects, name_taken
from ds3tool.simulator.settings import ApplianceSettings
from ds3tool.simulator.store import Store
from ds3tool.simulator.wire.refusals import bad_request, busy


@dataclass(frozen=True, slots=True)
class ArrivedBlob:
    """A blob whose bytes are all there: where they are (None when there are none), its length and digest."""

    path: str | None
    length: int
    digest: Digest


@dataclass(slots=True)
class _Open:
    """A job that takes more. Its last chunk does until `due` (monotonic); it has `bytes` in `count` blobs."""

    job: Job
    chunk: Chunk
    count: int
    bytes: int
    due: float


class NakedPuts:
    """Takes objects without a job. Methods are called without the store's lock but for `record`."""

    def __init__(
        self,
        *,
        store: Store,
        buckets: Buckets,
        objects: Objects,
        cache: Cache,
        jobs: JobBook,
        planner: Planner,
        backend: Backend,
        clock: Clock,
        settings: ApplianceSettings,
    ) -> None:
        self._store = store
        self._buckets = buckets
        self._objects = objects
        self._cache = cache
        self._jobs = jobs
        self._planner = planner
        self._backend = backend
        self._clock = clock
        self._settings = settings
        # The latest job of each bucket (its row) and user, whether it still takes more or not.
        self._latest: dict[tuple[int, str], _Open] = {}

    def put(self, upload: Upload, rules: Rules) -> Taken:
        """Take a whole object in one blob; return its digest and ETag. A 503 when there is no room for it."""
        length = upload.body.length
        with self._store.lock:
            self.refuse(upload.bucket, upload.name, upload.user_id, rules)
            if upload.name.endswith("/") and length:
                raise bad_request(f"The folder '{upload.name}' cannot have a content of {length} bytes.")
            self.make_room(length)
            path = self._cache.new_path(0) if length else None
        kept = False
        try:
            with new_file(path) as descriptor:
                digest = receive(upload.body, descriptor, rules.checksum_type, upload.digest)
                with self._store.writing() as db:
                    blob = ArrivedBlob(path, length, digest)
                    etag = self.record(
                        db,
                        upload.bucket,
                        upload.name,
                        [blob],
                        rules,
                        user_id=upload.user_id,
                        client=upload.client,
                        metadata=upload.metadata,
                    )
                kept = True
        finally:
            if not kept:
                self.give_back(length)
        return Taken(digest, etag)

    def refuse(self, bucket: Bucket, name: str, user_id: str, rules: Rules) -> None:
        """Raise what can be known before the bytes come: a 409 for a name that is taken, a 503 where no job may begin.

        With the lock held.
        """
        if rules.versioning is Versioning.NONE:
            self._objects.refuse_existing(bucket, name)
        if self._open_job(bucket, user_id, rules) is None:
            self._backend.admit(len(self._jobs.active))

    def make_room(self, length: int) -> None:
        """Set room aside in the cache, with the lock held; a 503 when there is none."""
        if not self._cache.make_room(length, self._settings.largest_allocation):
            raise busy("The cache has no room for the object.", self._backend.retry_after)
        self._cache.used += length

    def give_back(self, length: int) -> None:
        """Give room back that was set aside."""
        with self._store.lock:
            self._cache.used -= length
            self._jobs.changed.notify_all()

    def _open_job(self, bucket: Bucket, user_id: str, rules: Rules) -> _Open | None:
        found = self._latest.get((bucket.n, user_id))
        if found is None or not found.job.active or not found.job.aggregating or found.job.canceling:
            return None
        fresh = self._clock.now() < found.job.created + AGGREGATION_SECONDS
        return found if fresh and found.job.priority == rules.put_priority else None

    def record(
        self,
        db: sqlite3.Connection,
        bucket: Bucket,
        name: str,
        blobs: list[ArrivedBlob],
        rules: Rules,
        *,
        user_id: str,
        client: str,
        metadata: str | None,
        etag: str | None = None,
    ) -> str:
        """Make an object of blobs that are there, send it on its way to tape, and return its ETag; in a transaction.

        Their room is set aside already. `etag` is the object's when it is not made from its blobs. A 404 when the
        bucket has gone, a 409 when the name has been taken.
        """
        self._buckets.current(bucket)
        if rules.versioning is Versioning.NONE and self._objects.exists(bucket.n, name):
            raise name_taken(name)
        opened = self._open_job(bucket, user_id, rules)
        job = opened.job if opened is not None else self._new_job(db, bucket, rules, user_id=user_id, client=client)
        number = self._store.numbers("objects", 1)
        first = self._store.numbers("blobs", len(blobs))
        size = sum(each.length for each in blobs)
        db.execute(
            "INSERT INTO objects (n, bucket, name, size, latest, job) VALUES (?,?,?,?,0,?)",
            (number, bucket.n, name, size, job.n),
        )
        db.execute("UPDATE jobs SET original = original + ? WHERE n = ?", (size, job.n))
        offset, now = 0, self._clock.now()
        for blob, each in enumerate(blobs, first):
            db.execute(
                "INSERT INTO blobs (n, object, offset, length, checksum, checksum_type, cached, used) "
                "VALUES (?,?,?,?,?,?,1,?)",
                (blob, number, offset, each.length, each.digest[1], each.digest[0], now),
            )
            opened = self._enter(db, job, opened, blob, each.length)
            if each.path is not None:
                self._cache.take_in(each.path, blob)
            self._store.events.tell(BlobCached(job, blob))
            offset += each.length
        return self._objects.finish(db, number, rules, metadata, etag=etag)

    def _new_job(self, db: sqlite3.Connection, bucket: Bucket, rules: Rules, *, user_id: str, client: str) -> Job:
        options = JobOptions(
            name=f"PUT by {client}",
            user_id=user_id,
            priority=rules.put_priority,
            processing_order="IN_ORDER",
            spanning=rules.minimize_spanning,
            verify_write=rules.verify_write,
            aggregating=True,
            naked=True,
        )
        return self._planner.new_job(db, bucket, JobType.PUT, options)

    def _enter(self, db: sqlite3.Connection, job: Job, opened: _Open | None, blob: int, length: int) -> _Open:
        """Put a blob into the job's open chunk, or a new one; what that changes is counted when it is committed."""
        now = self._clock.monotonic()
        limit = self._settings.effective_chunk_size
        most = min(MAX_BLOBS_PER_CHUNK, self._backend.most_aggregated_blobs)
        fits = (
            opened is not None
            and now < opened.due  # a drive may have it from then on
            and opened.chunk.n in job.storing
            and opened.bytes + length <= limit
            and opened.count < most
        )
        if opened is not None and fits:
            chunk, place, held, due = opened.chunk, opened.count, opened.bytes, opened.due
            db.execute("UPDATE chunks SET bytes = bytes + ? WHERE n = ?", (length, chunk.n))
        else:
            number = 1 if opened is None else opened.chunk.number + 1
            chunk = Chunk(self._store.numbers("chunks", 1), number, 0, 0, allocated=True)
            place, held, due = 0, 0, now + self._settings.persist_delay
            db.execute(
                "INSERT INTO chunks (n, job, number, bytes, allocated) VALUES (?, ?, ?, ?, 1)",
                (chunk.n, job.n, number, length),
            )
        db.execute("INSERT INTO entries (chunk, place, blob) VALUES (?, ?, ?)", (chunk.n, place, blob))
        latest = _Open(job, chunk, place + 1, held + length, due)

        def count() -> None:
            job.original += length
            job.cached += length
            chunk.bytes += length
            if not place:
                job.open += 1
                self._jobs.begin_storing(job, chunk)
            self._latest[job.bucket, job.user_id] = latest

        self._store.after_commit(count)
        return latest
