"""Put jobs that one appliance tells another of: told as JSON, and made again from that.

The text has the fields of the job, its objects and their blobs, in the manner of beans but in JSON:
`{"blobs": [{"byteOffset", "id", "length", "objectId"}], "job": {"id", "name", "priority"}, "objects": [{"id", "name",
"type"}]}`. Its form between real appliances is not public. A blob and an object keep their ids where this appliance
can give them: its ids tell which appliance they are of, so they are kept when they were its own and are free again;
otherwise the answer tells the new ones.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import field, replace
from typing import Any

from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import JobType, Versioning
from ds3tool.simulator.buckets import Bucket, Buckets
from ds3tool.simulator.ids import IdFamily
from ds3tool.simulator.jobs.job import PRIORITY_RANK, Job, JobOptions
from ds3tool.simulator.jobs.plans import Planner
from ds3tool.simulator.objects import Objects, name_taken
from ds3tool.simulator.settings import ApplianceSettings
from ds3tool.simulator.store import Store
from ds3tool.simulator.wire.refusals import bad_request
from ds3tool.simulator.wire.targets import check_name

# A text of so many bytes is read at once; some 200,000 objects of one blob.
MOST_TEXT = 64 << 20
_PAGE = 1000


@dataclass(slots=True)
class _ToldObject:
    """An object as told: its id there, and (offset, length, id) of its blobs."""

    id: str
    name: str
    blobs: list[tuple[int, int, str]] = field(default_factory=list)

    @property
    def size(self) -> int:
        return sum(length for _, length, _ in self.blobs)


@dataclass(frozen=True, slots=True)
class _Told:
    name: str
    priority: str | None
    objects: tuple[_ToldObject, ...]


# The blobs of a job that reads, in their order.
_READ = (
    "FROM entries e JOIN chunks c ON c.n = e.chunk JOIN blobs b ON b.n = e.blob JOIN objects o ON o.n = b.object "
    "WHERE c.job = ? AND e.blob > ? ORDER BY e.blob"
)


class Replication:
    """Tells of put jobs and makes those that are told. Methods are called with or without the store's lock."""

    def __init__(
        self,
        *,
        store: Store,
        buckets: Buckets,
        objects: Objects,
        planner: Planner,
        blob_ids: IdFamily,
        settings: ApplianceSettings,
    ) -> None:
        self._store = store
        self._buckets = buckets
        self._objects = objects
        self._planner = planner
        self._blob_ids = blob_ids
        self._settings = settings

    # Telling.

    def text(self, job: Job) -> Iterator[str]:
        """Yield the JSON text of a job, in pieces, so that a large one is never whole in memory.

        Only a put job can be made of it, but a job that reads is told too: the C SDK's suite asks for one.
        """
        head = {"id": job.id, "name": job.name, "priority": job.priority}
        yield '{"blobs":['
        yield from self._joined(self._blobs(job))
        yield f'],"job":{_compact(head)},"objects":['
        yield from self._joined(self._told_objects(job))
        yield "]}"

    def _joined(self, items: Iterator[dict[str, object]]) -> Iterator[str]:
        comma = ""
        for item in items:
            yield comma + _compact(item)
            comma = ","

    def _pages(self, query: str, job: Job) -> Iterator[tuple[Any, ...]]:
        last = 0
        while True:
            with self._store.lock:
                rows = self._store.db.execute(f"{query} LIMIT {_PAGE:d}", (job.n, last)).fetchall()
            yield from rows
            if len(rows) < _PAGE:
                return
            last = rows[-1][0]

    def _blobs(self, job: Job) -> Iterator[dict[str, object]]:
        query = (
            "SELECT b.n, b.object, b.offset, b.length FROM objects o JOIN blobs b ON b.object = o.n "
            "WHERE o.job = ? AND b.n > ? ORDER BY b.n"
        )
        if job.type is not JobType.PUT:
            query = f"SELECT b.n, b.object, b.offset, b.length {_READ}"
        for blob, number, offset, length in self._pages(query, job):
            yield {
                "byteOffset": offset,
                "id": self._blob_ids.of(blob),
                "length": length,
                "objectId": self._objects.ids.of(number),
            }

    def _told_objects(self, job: Job) -> Iterator[dict[str, object]]:
        query = "SELECT n, n, name FROM objects WHERE job = ? AND n > ? ORDER BY n"
        if job.type is not JobType.PUT:
            query = f"SELECT b.n, o.n, o.name {_READ}"
        told = None
        for _, number, name in self._pages(query, job):
            if number != told:  # the blobs of an object follow one another
                kind = "FOLDER" if name.endswith("/") else "DATA"
                yield {"id": self._objects.ids.of(number), "name": name, "type": kind}
            told = number

    # Being told.

    def create(self, bucket: Bucket, text: bytes, options: JobOptions) -> Job | None:
        """Make the put job that a text tells of; None when all of its blobs are here already.

        `options` says whose it is, and its priority when that is not to be the text's. Raises a 400 for a text that
        tells of no job, a 409 for a name that is taken by something else in a bucket without versions.
        """
        told = _read(text)
        rules = self._buckets.rules(bucket)
        largest = max(length for each in told.objects for _, length, _ in each.blobs)
        if largest > self._settings.largest_allocation:
            raise bad_request(f"A blob of {largest} bytes does not fit into the cache.")
        with self._store.writing() as db:
            missing = [each for each in told.objects if not self._is_here(db, bucket, each)]
            if not missing:
                return None
            if rules.versioning is Versioning.NONE:
                for each in missing:
                    if self._objects.exists(bucket.n, each.name):
                        raise name_taken(each.name)
            options = replace(
                options,
                name=told.name or options.name,
                priority=options.priority or told.priority or rules.put_priority,
                processing_order="IN_ORDER",
                spanning=rules.minimize_spanning,
                verify_write=rules.verify_write,
                replicating=True,
            )
            job = self._planner.new_job(db, bucket, JobType.PUT, options)
            writer = self._planner.writer(db, job)
            for each in missing:
                number = self._declare(db, bucket, job, each)
                for offset, length, blob_id in each.blobs:
                    blob = self._number(db, "blobs", self._blob_ids.number(blob_id))
                    writer.blobs.append((blob, number, offset, length))
                    writer.add(blob, length, latest=True)
                writer.flush()
            chunks = writer.finish()
            db.execute("UPDATE jobs SET original = ? WHERE n = ?", (job.original, job.n))
            self._store.after_commit(lambda: self._planner.begin(job, chunks))
        self._buckets.modify(bucket, chunk_size=self._settings.effective_chunk_size)
        return job

    def _is_here(self, db: sqlite3.Connection, bucket: Bucket, told: _ToldObject) -> bool:
        rows = db.execute(
            "SELECT b.n, b.offset, b.length FROM objects o JOIN blobs b ON b.object = o.n "
            "WHERE o.bucket = ? AND o.name = ?",
            (bucket.n, told.name),
        ).fetchall()
        here = {(offset, length, self._blob_ids.of(blob)) for blob, offset, length in rows}
        return here.issuperset(told.blobs)

    def _declare(self, db: sqlite3.Connection, bucket: Bucket, job: Job, told: _ToldObject) -> int:
        # The rows of a name's versions tell their age: an old number would make an old version of the newest.
        known = self._objects.exists(bucket.n, told.name)
        number = self._number(db, "objects", None if known else self._objects.ids.number(told.id))
        latest = not db.execute(
            "SELECT 1 FROM objects WHERE bucket = ? AND name = ? AND latest = 1", (bucket.n, told.name)
        ).fetchone()
        db.execute(
            "INSERT INTO objects (n, bucket, name, size, latest, job) VALUES (?,?,?,?,?,?)",
            (number, bucket.n, told.name, told.size, latest, job.n),
        )
        job.original += told.size
        if len(told.blobs) > 1:
            job.partial[number] = len(told.blobs)
        return number

    def _number(self, db: sqlite3.Connection, table: str, wanted: int | None) -> int:
        """Return `wanted` as a row's number when no row has it but one once had, else a new one."""
        following = self._store.numbers(table, 0)
        used = db.execute(f"SELECT 1 FROM {table} WHERE n = ?", (wanted,)).fetchone()  # noqa: S608 - one of two names
        if wanted is None or not 0 < wanted < following or used:
            return self._store.numbers(table, 1)
        return wanted


def _compact(values: dict[str, Any]) -> str:
    return json.dumps(values, separators=(",", ":"))


def _read(text: bytes) -> _Told:
    """Read the text of a job; a 400 for what is none."""
    try:
        found = json.loads(text)
        job = found.get("job") or {}
        objects = {str(each["id"]): _ToldObject(str(each["id"]), str(each["name"])) for each in found["objects"]}
        for each in found["blobs"]:
            objects[str(each["objectId"])].blobs.append(
                (int(each["byteOffset"]), int(each["length"]), str(each["id"]).lower())
            )
        name, priority = str(job.get("name") or ""), str(job.get("priority") or "").upper() or None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        message = f"The request body is not the text of a job to replicate: {type(error).__name__} {error}."
        raise bad_request(message) from None
    if priority is not None and priority not in PRIORITY_RANK:
        raise bad_request(f"The priority '{priority[:40]}' of the job to replicate is none.")
    if not objects or len({each.name for each in objects.values()}) != len(objects):
        raise bad_request("The job to replicate has no objects, or one of them twice.")
    for told in objects.values():
        _check(told)
    return _Told(name, priority, tuple(objects.values()))


def _check(told: _ToldObject) -> None:
    """Raise a 400 for an object whose name no object can have, or whose blobs do not follow one another."""
    check_name(told.name)
    told.blobs.sort()
    place = 0
    for offset, length, _ in told.blobs:
        if offset != place or length < 0 or (not length and len(told.blobs) > 1):
            raise bad_request(f"The blobs of '{told.name}' do not follow one another from its beginning.")
        place += length
    if not told.blobs or (told.name.endswith("/") and place):
        raise bad_request(f"'{told.name}' has no blob, or is a folder with a content.")
