"""Objects and their versions: finding, listing with prefix and delimiter, completing, removing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator

from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol import names
from ds3tool.protocol.model import ChecksumType, JobType, Versioning
from ds3tool.simulator.buckets import Bucket, Rules
from ds3tool.simulator.cache import Cache
from ds3tool.simulator.clock import Clock
from ds3tool.simulator.events import ObjectChanged
from ds3tool.simulator.ids import IdFamily
from ds3tool.simulator.jobs.book import JobBook
from ds3tool.simulator.jobs.job import Chunk, Job
from ds3tool.simulator.store import Store
from ds3tool.simulator.wire import checksums
from ds3tool.simulator.wire.refusals import Refusal, conflict

_COLUMNS = "n, bucket, name, size, created, latest, etag, metadata, job"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One version of one object. `created` is None until its last blob is in; `metadata` as it was sent, by name."""

    n: int
    bucket: int
    name: str
    size: int
    created: float | None
    latest: bool
    etag: str | None
    metadata: str | None
    job: int | None

    @property
    def is_folder(self) -> bool:
        """Whether the name ends in a slash."""
        return self.name.endswith("/")

    @property
    def metadata_pairs(self) -> tuple[tuple[str, str], ...]:
        """The metadata as reply headers."""
        return tuple(json.loads(self.metadata).items()) if self.metadata else ()


def from_row(row: tuple[object, ...]) -> StoredObject:
    """Return the object of a row of its columns."""
    n, bucket, name, size, created, latest, etag, metadata, job = row
    return StoredObject(n, bucket, name, size, created, bool(latest), etag, metadata, job)  # type: ignore[arg-type] # the schema types the columns


def no_object(name: str) -> Refusal:
    """Return the 404 of an object that is not there."""
    return Refusal(404, names.NO_SUCH_KEY, f"NoSuchKey[404]: Object does not exist where name = '{name}'.")


def successor(prefix: str) -> str | None:
    """Return the least text above every text that begins with `prefix`, or None when there is none."""
    while prefix:
        last = ord(prefix[-1])
        if last < 0x10FFFF:
            following = 0xE000 if last == 0xD7FF else last + 1
            return prefix[:-1] + chr(following)
        prefix = prefix[:-1]
    return None


class Objects:
    """Objects of all buckets. Methods are called with the store's lock held."""

    def __init__(self, store: Store, cache: Cache, jobs: JobBook, clock: Clock, ids: IdFamily) -> None:
        self._store = store
        self._cache = cache
        self._jobs = jobs
        self._clock = clock
        self.ids = ids

    def exists(self, bucket: int, name: str) -> bool:
        """Tell whether any version of `name` is there, complete or declared."""
        row = self._store.db.execute("SELECT 1 FROM objects WHERE bucket = ? AND name = ?", (bucket, name)).fetchone()
        return row is not None

    def complete(self, bucket: int, name: str, version_id: str | None = None) -> StoredObject:
        """Return the latest complete version of `name`, or the one asked for; a 404 when there is none."""
        condition, value = "latest = 1", 0
        if version_id:
            condition, value = "n = ?2", self.ids.number(version_id) or 0
        row = self._store.db.execute(
            f"SELECT {_COLUMNS} FROM objects WHERE bucket = ?1 AND name = ?3 AND {condition} "  # noqa: S608 - constants
            "AND created IS NOT NULL AND ?2 >= 0 ORDER BY n DESC",
            (bucket, value, name),
        ).fetchone()
        if row is None:
            raise no_object(name)
        return from_row(row)

    def select(self, condition: str, values: tuple[object, ...]) -> Iterator[StoredObject]:
        """Yield the objects that an SQL condition (with its ORDER BY) matches."""
        query = f"SELECT {_COLUMNS} FROM objects WHERE {condition}"  # noqa: S608 - conditions are this package's own
        for row in self._store.db.execute(query, values):
            yield from_row(row)

    def count(self, condition: str, values: tuple[object, ...]) -> int:
        """Return how many objects an SQL condition matches."""
        query = f"SELECT count(*) FROM objects WHERE {condition}"  # noqa: S608 - conditions are this package's own
        return int(self._store.db.execute(query, values).fetchone()[0])

    # Listing.

    def page(
        self,
        bucket: int,
        *,
        prefix: str,
        delimiter: str,
        marker: str,
        limit: int,
        versions: bool,
        after: str | None = None,
    ) -> tuple[list[StoredObject], list[str], str | None]:
        """Return objects, common prefixes, and the marker of the next page (None when this is the last).

        Names come in order of bytes; objects and prefixes count against `limit` alike; all versions of a name stay
        on one page, newest first. With versions, `after` is the id of one of `marker`'s: the page begins with its older
        ones.
        """
        if not delimiter and not versions:
            return self._plain_page(bucket, prefix, marker, limit)
        prefixes: list[str] = []
        newest = self.ids.number(after) if versions and after else None
        older = "bucket = ? AND name = ? AND n < ? ORDER BY n DESC"
        found = [] if newest is None or not limit else list(self.select(older, (bucket, marker, newest)))
        beyond = successor(prefix)
        inclusive = marker < prefix
        place: str | None = prefix if inclusive else marker
        last = marker if found else ""
        count = 1 if found else 0
        while place is not None:
            name = self._next_name(bucket, place, beyond, inclusive=inclusive, versions=versions)
            if name is None:
                return found, prefixes, None
            common = self._common(name, prefix, delimiter)
            if common is not None and common == marker:
                place, inclusive = successor(common), True
                continue
            if count >= limit:
                return found, prefixes, (last if limit else None)
            count += 1
            if common is not None:
                prefixes.append(common)
                last, place, inclusive = common, successor(common), True
            else:
                found.extend(self._versions(bucket, name, versions=versions))
                last, place, inclusive = name, name, False
        return found, prefixes, None

    def _plain_page(
        self, bucket: int, prefix: str, marker: str, limit: int
    ) -> tuple[list[StoredObject], list[str], str | None]:
        # One lower bound only: given two, the search would begin at the wrong one and read all that lies between.
        lower, place = (">=", prefix) if marker < prefix else (">", marker)
        beyond = successor(prefix)
        upper = "" if beyond is None else " AND name < ?3"
        found = list(
            self.select(
                f"bucket = ?1 AND name {lower} ?2 AND latest = 1{upper} ORDER BY name LIMIT {limit + 1:d}",
                (bucket, place) if beyond is None else (bucket, place, beyond),
            )
        )
        if len(found) <= limit:
            return found, [], None
        return found[:limit], [], found[limit - 1].name if limit else None

    def _next_name(self, bucket: int, place: str, beyond: str | None, *, inclusive: bool, versions: bool) -> str | None:
        compare = ">=" if inclusive else ">"
        condition = "" if versions else " AND latest = 1"
        upper = "" if beyond is None else " AND name < ?3"
        row = self._store.db.execute(
            f"SELECT name FROM objects WHERE bucket = ?1 AND name {compare} ?2{upper}{condition} "  # noqa: S608 - constants
            "ORDER BY name LIMIT 1",
            (bucket, place) if beyond is None else (bucket, place, beyond),
        ).fetchone()
        return None if row is None else str(row[0])

    def _common(self, name: str, prefix: str, delimiter: str) -> str | None:
        if not delimiter:
            return None
        end = name.find(delimiter, len(prefix))
        return None if end < 0 else name[: end + len(delimiter)]

    def _versions(self, bucket: int, name: str, *, versions: bool) -> list[StoredObject]:
        condition = "" if versions else " AND latest = 1"
        return list(self.select(f"bucket = ? AND name = ?{condition} ORDER BY n DESC", (bucket, name)))

    # Completing.

    def finish(
        self, db: sqlite3.Connection, number: int, rules: Rules, metadata: str | None, *, etag: str | None = None
    ) -> str:
        """Make an object complete, its last blob being in: date, ETag, metadata; older versions step back or go.

        `etag` is the object's when it is not the one of its blobs. Returns the ETag.
        """
        row = db.execute(f"SELECT {_COLUMNS} FROM objects WHERE n = ?", (number,)).fetchone()  # noqa: S608 - constants
        finished = from_row(row)
        digests = [
            bytes(digest)
            for (digest,) in db.execute("SELECT checksum FROM blobs WHERE object = ? ORDER BY offset", (number,))
        ]
        etag = etag or checksums.etag(digests)
        db.execute(
            "UPDATE objects SET created = ?, etag = ?, metadata = coalesce(?, metadata), latest = 1 WHERE n = ?",
            (self._clock.now(), etag, metadata, number),
        )
        self._store.events.tell(ObjectChanged("CREATE", number))
        if rules.versioning is not Versioning.NONE:
            self._step_back(db, finished, rules)
        return etag

    def _step_back(self, db: sqlite3.Connection, finished: StoredObject, rules: Rules) -> None:
        """Let the older versions of an object that has just been completed step back, or go."""
        number = finished.n
        older = list(
            self.select(
                "bucket = ? AND name = ? AND n <> ? AND created IS NOT NULL ORDER BY n DESC",
                (finished.bucket, finished.name, number),
            )
        )
        if not older:
            return
        for each in older:
            if each.latest:
                self._store.events.tell(ObjectChanged("UNMARK_LATEST", each.n))
        keep = 0 if rules.versioning is not Versioning.KEEP_MULTIPLE_VERSIONS else max(0, rules.versions_to_keep - 1)
        db.execute(
            "UPDATE objects SET latest = 0 WHERE bucket = ? AND name = ? AND n <> ?",
            (finished.bucket, finished.name, number),
        )
        self.remove(db, (each.n for each in older[keep:]))

    # Removing.

    def remove(self, db: sqlite3.Connection, numbers: Iterable[int]) -> None:
        """Remove objects with their blobs from cache, tapes and every job, inside a transaction."""
        touched: dict[int, tuple[Job, Chunk]] = {}
        for number in numbers:
            blobs = db.execute("SELECT n, length, cached, checksum IS NOT NULL FROM blobs WHERE object = ?", (number,))
            for blob, length, cached, received in blobs.fetchall():
                self._leave_jobs(db, blob, length, touched, cached=bool(cached), received=bool(received))
                db.execute("DELETE FROM copies WHERE blob = ?", (blob,))
                if cached:
                    self._cache.forget(blob, length)
            self._store.events.tell(ObjectChanged("DELETE", number))
            db.execute("DELETE FROM blobs WHERE object = ?", (number,))
            db.execute("DELETE FROM objects WHERE n = ?", (number,))
        if touched:
            self._store.after_commit(lambda: self._jobs.after_removal(touched.values()))

    def _leave_jobs(
        self,
        db: sqlite3.Connection,
        blob: int,
        length: int,
        touched: dict[int, tuple[Job, Chunk]],
        *,
        cached: bool,
        received: bool,
    ) -> None:
        rows = db.execute(
            "SELECT c.job, c.n, c.allocated, e.done, e.failed FROM entries e JOIN chunks c ON c.n = e.chunk "
            "WHERE e.blob = ?",
            (blob,),
        ).fetchall()
        if not rows:
            return
        db.execute("DELETE FROM entries WHERE blob = ?", (blob,))
        for number, chunk_number, allocated, done, failed in rows:
            job = self._jobs.active.get(number)
            if job is None:
                continue
            chunk = job.chunks.get(chunk_number) or job.storing.get(chunk_number)
            if chunk is None and job.canceling:
                continue
            if chunk is None:  # stored on all tapes already
                job.original -= length
                job.cached -= length
                job.completed -= length
                db.execute(
                    "UPDATE jobs SET original = original - ?, cached = cached - ?, completed = completed - ? "
                    "WHERE n = ?",
                    (length, length, length, job.n),
                )
                continue
            absent = not received if job.type is JobType.PUT else not (cached or done or failed)
            self._jobs.without_blob(
                job, chunk, length=length, received=received, done=bool(done), waiting=bool(allocated and absent)
            )
            touched[chunk.n] = (job, chunk)

    def delete(self, db: sqlite3.Connection, bucket: Bucket, name: str, version_id: str | None, rules: Rules) -> None:
        """Delete an object as a client does: a version, or all of them, or only the mark of being the latest.

        A 404 when there is nothing to delete. Source: protocol, 7.8.
        """
        if version_id:
            number = self.ids.number(version_id) or 0
            found = list(self.select("bucket = ? AND name = ? AND n = ?", (bucket.n, name, number)))
            if not found:
                raise no_object(name)
            self.remove(db, [number])
            return
        latest = list(self.select("bucket = ? AND name = ? AND latest = 1", (bucket.n, name)))
        if not latest:
            raise no_object(name)
        if rules.versioning is Versioning.KEEP_MULTIPLE_VERSIONS:
            self._store.events.tell(ObjectChanged("UNMARK_LATEST", latest[0].n))
            db.execute("UPDATE objects SET latest = 0 WHERE bucket = ? AND name = ?", (bucket.n, name))
        else:
            # A new version that is still on its way is another job's, and stays.
            condition = "bucket = ? AND name = ? AND (created IS NOT NULL OR latest = 1)"
            self.remove(db, [each.n for each in self.select(condition, (bucket.n, name))])

    def undelete(self, bucket: Bucket, name: str, version_id: str | None) -> StoredObject:
        """Make a version (the newest, when none is named) the latest again; a 404 when there is none."""
        number = self.ids.number(version_id) or 0 if version_id else None
        found = [
            each
            for each in self.select("bucket = ? AND name = ? AND created IS NOT NULL ORDER BY n DESC", (bucket.n, name))
            if number is None or each.n == number
        ]
        if not found:
            raise no_object(name)
        with self._store.writing() as db:
            for each in self.select(
                "bucket = ? AND name = ? AND (latest = 1) <> (n = ?)", (bucket.n, name, found[0].n)
            ):
                kind = "UNMARK_LATEST" if each.latest else "MARK_LATEST"
                self._store.events.tell(ObjectChanged(kind, each.n))
            db.execute(
                "UPDATE objects SET latest = (n = ?) WHERE bucket = ? AND name = ?", (found[0].n, bucket.n, name)
            )
        return next(self.select("n = ?", (found[0].n,)))

    def refuse_existing(self, bucket: Bucket, name: str) -> None:
        """Raise the 409 of a name that is taken in a bucket without versions."""
        if self.exists(bucket.n, name):
            raise name_taken(name)

    def blob_headers(self, number: int) -> tuple[ChecksumType | None, list[tuple[int, str]]]:
        """Return the kind of an object's checksums, and (offset, base64) of each blob's."""
        rows = self._store.db.execute(
            "SELECT offset, checksum_type, checksum FROM blobs WHERE object = ? ORDER BY offset", (number,)
        ).fetchall()
        kinds = {kind for _, kind, digest in rows if digest is not None}
        kind = ChecksumType(kinds.pop()) if kinds else None
        return kind, [(offset, checksums.to_text(digest)) for offset, _, digest in rows if digest is not None]


def name_taken(name: str) -> Refusal:
    """Return the 409 of a name that exists already."""
    message = f"{names.OBJECT_ALREADY_EXISTS}[409]: An object named '{name}' exists already."
    return conflict(message, names.OBJECT_ALREADY_EXISTS)
