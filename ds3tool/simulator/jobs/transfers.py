"""Blobs on their way in and out: one PUT or GET of an object, in a job or without one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol import names
from ds3tool.protocol.model import ChecksumType, JobStatus, JobType
from ds3tool.simulator.buckets import Bucket, Buckets, Rules
from ds3tool.simulator.cache import Cache
from ds3tool.simulator.clock import Clock
from ds3tool.simulator.events import BlobCached
from ds3tool.simulator.jobs.book import JobBook, gone
from ds3tool.simulator.jobs.job import Chunk, Job, JobOptions
from ds3tool.simulator.jobs.naked import NakedPuts
from ds3tool.simulator.jobs.plans import Planner
from ds3tool.simulator.jobs.receiving import Digest, Taken, Upload, check_digest, check_kind, new_file, receive
from ds3tool.simulator.objects import Objects, StoredObject, no_object
from ds3tool.simulator.settings import ApplianceSettings
from ds3tool.simulator.store import Store
from ds3tool.simulator.wire import checksums
from ds3tool.simulator.wire.messages import FileSlices
from ds3tool.simulator.wire.refusals import Refusal, bad_request, later
from ds3tool.simulator.wire.xmlin import WantedObject


@dataclass(frozen=True, slots=True)
class Download:
    """One blob (or object) to send: an open file, where in the object it begins, and what to call when it is sent."""

    version: StoredObject
    slices: FileSlices
    offset: int
    digest: Digest | None
    settle: Callable[[], None] | None
    sent: Callable[[bool], None] | None


@dataclass(frozen=True, slots=True)
class _Place:
    """A blob that is being put."""

    job: Job
    chunk: Chunk
    blob: int
    object: int
    length: int
    received: Digest | None


class Transfers:
    """Moves blobs. Methods are called without the store's lock."""

    def __init__(
        self,
        *,
        store: Store,
        buckets: Buckets,
        objects: Objects,
        cache: Cache,
        jobs: JobBook,
        planner: Planner,
        naked: NakedPuts,
        clock: Clock,
        settings: ApplianceSettings,
    ) -> None:
        self._store = store
        self._buckets = buckets
        self._objects = objects
        self._cache = cache
        self._jobs = jobs
        self._planner = planner
        self._naked = naked
        self._clock = clock
        self._settings = settings

    # In.

    def put(self, upload: Upload, job_id: str | None, offset: int) -> Taken:
        """Take a blob of a job, or a whole object without one; return its digest, and the ETag of a complete object.

        Raises the refusals of protocol 7.4, 7.5 and 9.9; 307 when a chunk gets no room in a while.
        """
        rules = self._buckets.rules(upload.bucket)
        check_kind(upload.digest, rules)
        if job_id is None:
            with self._store.lock:
                implicit = self._implicit_job(upload)
            if implicit is None:
                return self._naked.put(upload, rules)
            job_id = implicit
        with self._store.lock:
            place = self._find_place(upload, job_id, offset)
            self._check_length(upload, place)
            if place.received is None:
                if place.length:  # what has no bytes takes no room, and waits for none
                    self._await_room(place)
                path = self._cache.new_path(place.blob) if place.length else None
        if place.received is not None:
            return Taken(self._put_again(upload, place.received), self._etag(place.object))
        with new_file(path) as descriptor:
            digest = receive(upload.body, descriptor, rules.checksum_type, upload.digest)
            return Taken(digest, self._commit(upload, place, rules, digest, path))

    def _etag(self, number: int) -> str | None:
        with self._store.lock:
            row = self._store.db.execute("SELECT etag FROM objects WHERE n = ?", (number,)).fetchone()
        return None if row is None else row[0]

    def complete_blob(self, upload: Upload, job_id: str, blob: int, size: int | None) -> Digest:
        """Take a blob (its row) whose bytes another part of the appliance has put where the cache keeps them.

        The upload's body does not count. Raises a 404 for a job or a blob that is not there, a 400 when its bytes are
        not, or are not as long or as the digest says.
        """
        rules = self._buckets.rules(upload.bucket)
        check_kind(upload.digest, rules)
        with self._store.lock:
            place = self._find_place(upload, job_id, self._offset(blob, upload))
            if size not in (None, place.length):
                raise bad_request(f"The blob has {place.length} bytes, not {size}.")
            if place.received is not None:
                check_digest(upload.digest, place.received)
                return place.received
            self._await_room(place)
        path = self._cache.path(blob) if place.length else None
        digest = (rules.checksum_type, self._digest(path, place.length, rules.checksum_type))
        check_digest(upload.digest, digest)
        self._commit(upload, place, rules, digest, path)
        return digest

    def _offset(self, blob: int, upload: Upload) -> int:
        row = self._store.db.execute(
            "SELECT b.offset FROM blobs b JOIN objects o ON o.n = b.object "
            "WHERE b.n = ? AND o.bucket = ? AND o.name = ?",
            (blob, upload.bucket.n, upload.name),
        ).fetchone()
        if row is None:
            raise Refusal(404, names.NOT_FOUND, f"NotFound[404]: '{upload.name}' has no such blob.")
        return int(row[0])

    def _digest(self, path: str | None, length: int, kind: ChecksumType) -> bytes:
        digester = checksums.digester(kind)
        if path is None:
            return digester.digest()
        done = 0
        with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
            while piece := file.read(1 << 20):
                digester.update(piece)
                done += len(piece)
        if done != length:
            raise bad_request(f"Of the blob's {length} bytes {done} are in the cache.")
        return digester.digest()

    def _implicit_job(self, upload: Upload) -> str | None:
        row = self._store.db.execute(
            "SELECT job FROM objects WHERE bucket = ? AND name = ? AND created IS NULL ORDER BY n",
            (upload.bucket.n, upload.name),
        ).fetchone()
        job = self._jobs.active.get(row[0]) if row is not None else None
        return job.id if job is not None and job.implicit else None

    def _find_place(self, upload: Upload, job_id: str, offset: int) -> _Place:
        number = self._jobs.ids.number(job_id)
        job = self._jobs.active.get(number) if number is not None else None
        if job is None:
            raise self._not_active(job_id)
        if job.type is not JobType.PUT:
            raise bad_request(f"The job {job_id} is a {job.type} job.")
        if job.bucket != upload.bucket.n:
            raise Refusal(
                404, names.NOT_FOUND, f"NotFound[404]: The job {job_id} is not of bucket '{upload.bucket.name}'."
            )
        row = self._store.db.execute(
            # The plus sign and CROSS JOIN hold the query planner to the one good way: by name, blob, entry.
            "SELECT b.n, o.n, b.length, b.checksum_type, b.checksum, e.chunk FROM objects o "
            "CROSS JOIN blobs b ON b.object = o.n AND b.offset = ? CROSS JOIN entries e ON e.blob = b.n "
            "CROSS JOIN chunks c ON c.n = e.chunk AND c.job = o.job "
            "WHERE o.bucket = ? AND o.name = ? AND +o.job = ?",
            (offset, upload.bucket.n, upload.name, job.n),
        ).fetchone()
        if row is None:
            message = f"The job has no blob of '{upload.name}' that begins at {offset}."
            raise Refusal(404, names.NOT_FOUND, f"NotFound[404]: {message}")
        blob, object_number, length, kind, checksum, chunk_number = row
        chunk = job.chunks.get(chunk_number) or job.storing.get(chunk_number)
        received = None if checksum is None else (ChecksumType(kind), bytes(checksum))
        if chunk is None:
            chunk = Chunk(chunk_number, 0, 0, 0, allocated=True)
        return _Place(job, chunk, blob, object_number, length, received)

    def _not_active(self, job_id: str) -> Refusal:
        with contextlib.suppress(Refusal):
            self._jobs.find(job_id)
            return gone(job_id)
        return Refusal(404, names.NOT_FOUND, f"NotFound[404]: Job not found via identifier '{job_id}'.")

    def _check_length(self, upload: Upload, place: _Place) -> None:
        if upload.body.length != place.length:
            raise bad_request(f"The blob has {place.length} bytes, the request {upload.body.length}.")

    def _await_room(self, place: _Place) -> None:
        deadline = self._clock.world.monotonic() + self._settings.hold
        refusal = later("There is no room in the cache for this chunk; send the request again.")
        while not self._jobs.allocate(place.job, place.chunk):
            self._jobs.await_change(deadline, refusal)
            if not place.job.active:
                raise gone(place.job.id)

    def _put_again(self, upload: Upload, known: Digest) -> Digest:
        """Take a blob that is there already: the same bytes are welcome, others are refused. Source: protocol, 9.9."""
        digester = checksums.digester(known[0])
        for piece in upload.body.pieces():
            digester.update(piece)
        check_digest(upload.digest, (known[0], digester.digest()))
        if digester.digest() != known[1]:
            raise bad_request("The blob was received before, with other bytes.", names.BAD_DIGEST)
        return known

    def _commit(self, upload: Upload, place: _Place, rules: Rules, digest: Digest, path: str | None) -> str | None:
        """Write down a blob that has come; return the ETag of its object when that is complete."""
        job, chunk = place.job, place.chunk
        etag = None
        with self._store.writing() as db:
            if not job.active:
                raise gone(job.id)
            taken = db.execute(
                "UPDATE blobs SET checksum = ?, checksum_type = ?, cached = 1, used = ? "
                "WHERE n = ? AND checksum IS NULL",
                (digest[1], digest[0], self._clock.now(), place.blob),
            ).rowcount
            if not taken:
                self._lost_race(
                    db.execute("SELECT checksum FROM blobs WHERE n = ?", (place.blob,)).fetchone(), digest, job
                )
                return self._etag(place.object)
            if path is not None:
                self._cache.take_in(path, place.blob)
            self._store.events.tell(BlobCached(job, place.blob))
            left = job.partial.get(place.object, 1) - 1
            if not left:
                etag = self._objects.finish(db, place.object, rules, upload.metadata)
            elif upload.metadata is not None:
                db.execute("UPDATE objects SET metadata = ? WHERE n = ?", (upload.metadata, place.object))

            def count() -> None:
                if left:
                    job.partial[place.object] = left
                else:
                    job.partial.pop(place.object, None)
                self._jobs.blob_received(job, chunk, place.length)

            self._store.after_commit(count)
        return etag

    def _lost_race(self, row: tuple[bytes] | None, digest: Digest, job: Job) -> None:
        """Another PUT of the same blob was quicker: fine when it brought the same bytes."""
        if row is None:
            raise gone(job.id)
        if bytes(row[0]) != digest[1]:
            raise bad_request("The blob was received before, with other bytes.", names.BAD_DIGEST)

    # Out.

    def get(self, bucket: Bucket, name: str, version_id: str | None, *, user_id: str, cached_only: bool) -> Download:
        """Open a whole object of one blob, loading it from tape when need be."""
        with self._store.lock:
            version = self._objects.complete(bucket.n, name, version_id)
            blobs = self._blobs(version)
            if len(blobs) != 1:
                raise bad_request(f"'{name}' has {len(blobs)} blobs; a job is needed to get it.")
            return self._open_loaded(bucket, version, blobs[0][1], user_id=user_id, cached_only=cached_only)

    def get_blob(
        self, bucket: Bucket, name: str, version_id: str | None, *, offset: int, user_id: str, cached_only: bool = False
    ) -> Download:
        """Open one blob of an object without a job."""
        with self._store.lock:
            version = self._objects.complete(bucket.n, name, version_id)
            return self._open_loaded(bucket, version, offset, user_id=user_id, cached_only=cached_only)

    def get_in_job(
        self,
        bucket: Bucket,
        name: str,
        version_id: str | None,
        *,
        job_id: str,
        offset: int,
        user_id: str,
        cached_only: bool = False,
    ) -> Download:
        """Open one blob of a get job; it counts as read when all of the reply was sent. Source: protocol, 9.4."""
        with self._store.lock:
            number = self._jobs.ids.number(job_id)
            job = self._jobs.active.get(number) if number is not None else None
            job = None if job is not None and job.staging else job  # it is no reader's: what it brings, anybody may get
            found = self._entry(job, bucket, name, version_id, offset) if job is not None else None
            if job is None or found is None:
                ended = self._jobs.find(job_id)
                if ended.status is JobStatus.CANCELED:
                    raise gone(job_id)
                version = self._objects.complete(bucket.n, name, version_id)
                return self._open_loaded(bucket, version, offset, user_id=user_id, cached_only=cached_only)
            if job.type is not JobType.GET:
                raise bad_request(f"The job {job_id} is a {job.type} job.")
            blob, chunk, version = found
            job.active_at = self._clock.now()
            self._await_chunk(job, chunk)
            return self._open(version, blob, offset, job, chunk)

    def _entry(
        self, job: Job, bucket: Bucket, name: str, version_id: str | None, offset: int
    ) -> tuple[int, Chunk, StoredObject] | None:
        """Return blob, chunk and version of an entry of a job that the client has not read yet."""
        wanted = self._objects.ids.number(version_id) if version_id else None
        rows = self._store.db.execute(
            "SELECT o.n, b.n, e.chunk, e.failed FROM objects o CROSS JOIN blobs b ON b.object = o.n AND b.offset = ? "
            "CROSS JOIN entries e ON e.blob = b.n CROSS JOIN chunks c ON c.n = e.chunk "
            "WHERE o.bucket = ? AND o.name = ? AND c.job = ? AND e.done = 0 ORDER BY o.n DESC",
            (offset, bucket.n, name, job.n),
        ).fetchall()
        for number, blob, chunk_number, failed in rows:
            chunk = job.chunks.get(chunk_number)
            if chunk is None or (wanted is not None and number != wanted):
                continue
            if failed is not None:
                raise bad_request(f"BadDigest[400]: {failed}", names.BAD_DIGEST)
            return blob, chunk, next(self._objects.select("n = ?", (number,)))
        return None

    def _await_chunk(self, job: Job, chunk: Chunk) -> None:
        deadline = self._clock.world.monotonic() + self._settings.hold
        refusal = later("The blob is not in the cache yet; send the request again.")
        while not (self._jobs.allocate(job, chunk) and chunk.ready):
            self._jobs.await_change(deadline, refusal)
            if not job.active:
                raise gone(job.id)

    def _blobs(self, version: StoredObject) -> list[tuple[int, int]]:
        return self._store.db.execute(
            "SELECT n, offset FROM blobs WHERE object = ? ORDER BY offset", (version.n,)
        ).fetchall()

    def _open_loaded(
        self, bucket: Bucket, version: StoredObject, offset: int, *, user_id: str, cached_only: bool
    ) -> Download:
        row = self._store.db.execute(
            "SELECT n, length, cached FROM blobs WHERE object = ? AND offset = ?", (version.n, offset)
        ).fetchone()
        if row is None:
            raise bad_request(f"'{version.name}' has no blob that begins at {offset}.")
        blob, length, cached = row
        if cached_only and not cached:
            raise Refusal(404, names.NOT_FOUND, f"NotFound[404]: '{version.name}' is not in the cache.")
        job = self._job_of(bucket, version, offset)
        if cached and job is None:
            return self._open(version, blob, offset, None, None)
        if job is None:
            job = self._load_naked(bucket, version, offset, length, user_id=user_id)
        found = self._entry(job, bucket, version.name, self._objects.ids.of(version.n), offset)
        if found is None:
            raise later("The blob is being loaded; send the request again.")
        self._await_chunk(job, found[1])
        return self._open(version, blob, offset, job, found[1])

    def _naked_name(self, version: StoredObject, offset: int) -> str:
        return f"GET of {self._objects.ids.of(version.n)} at {offset}"

    def _job_of(self, bucket: Bucket, version: StoredObject, offset: int) -> Job | None:
        """Return the job of a blob that is asked for without one, if it is still to be read.

        It is what an earlier such request made to load it, or a client's that resolves implicitly.
        """
        identifier = self._objects.ids.of(version.n)
        for job in self._jobs.readers.values():
            if job.naked and job.name == self._naked_name(version, offset):
                return job
            if (
                job.implicit
                and (job.type, job.bucket) == (JobType.GET, bucket.n)
                and self._entry(job, bucket, version.name, identifier, offset)
            ):
                return job
        return None

    def _load_naked(self, bucket: Bucket, version: StoredObject, offset: int, length: int, *, user_id: str) -> Job:
        options = JobOptions(self._naked_name(version, offset), user_id, processing_order="NONE", naked=True)
        wanted = [WantedObject(version.name, offset, length, self._objects.ids.of(version.n))]
        return self._planner.create_read(bucket, wanted, options, JobType.GET)

    def _open(self, version: StoredObject, blob: int, offset: int, job: Job | None, chunk: Chunk | None) -> Download:
        row = self._store.db.execute(
            "SELECT length, checksum_type, checksum FROM blobs WHERE n = ?", (blob,)
        ).fetchone()
        if row is None:
            raise no_object(version.name)
        length, kind, checksum = row
        try:
            descriptor = os.open(self._cache.path(blob) if length else os.devnull, os.O_RDONLY)
        except FileNotFoundError:
            message = f"InternalError[500]: The cache has lost the blob of '{version.name}' at {offset}."
            raise Refusal(500, names.INTERNAL_ERROR, message) from None
        settle, sent = (None, None) if job is None or chunk is None else self._count_read(job, chunk, blob, length)
        slices = FileSlices(descriptor, [(0, length)])
        digest = None if checksum is None else (ChecksumType(kind), bytes(checksum))
        return Download(version, slices, offset, digest, settle, sent)

    def _count_read(
        self, job: Job, chunk: Chunk, blob: int, length: int
    ) -> tuple[Callable[[], None], Callable[[bool], None]]:
        settling = False

        def settle() -> None:
            nonlocal settling
            with self._store.lock:
                settling = True
                job.settling += 1

        def sent(complete: bool) -> None:
            with self._store.lock:
                try:
                    if complete and job.active:
                        with self._store.writing() as db:
                            self._jobs.blob_read(db, job, chunk, blob, length)
                            db.execute("UPDATE blobs SET used = ? WHERE n = ?", (self._clock.now(), blob))
                finally:
                    if settling:
                        job.settling -= 1
                        self._jobs.changed.notify_all()

        return settle, sent
