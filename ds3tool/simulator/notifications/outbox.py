"""What is told to whom: every event becomes the notices of the registrations that ask for it, in its transaction.

Object cached: a blob has come into the cache for a job, from its client or from tape; blobs that were in the cache
before a get job began are not told, since the job's own list shows them. Object persisted: a chunk of a put job is on
every tape. Object lost: no good copy is left of a blob; each job that wants it tells so again. Job completed: with
CancelOccurred, and the blobs of a put job that are not on tape and went with it (cancelled, or truncated before). A job
that could not begin is not told at all. Jobs of puts without a job are jobs as any other.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from typing import Any

from ds3tool.simulator.contract import kind as contract_kind
from ds3tool.simulator.events import (
    BlobCached,
    BlobLost,
    BucketRemoved,
    ChunkPersisted,
    FailureRecorded,
    JobCreated,
    JobDiscarded,
    JobEnded,
    ObjectChanged,
    ObjectsDropped,
    RecordRemoved,
)
from ds3tool.simulator.notifications import kinds
from ds3tool.simulator.notifications.kinds import NoticeKind
from ds3tool.simulator.notifications.notices import BLOB_COLUMNS, BLOB_TABLES, Notices
from ds3tool.simulator.notifications.registrations import Registrations
from ds3tool.simulator.store import Store

_BATCH = 10_000


class Outbox:
    """Listens to the events, and fills the notices; `wake` is called when there is something to send."""

    def __init__(self, store: Store, registrations: Registrations, notices: Notices, wake: Callable[[], None]) -> None:
        self._store = store
        self._registrations = registrations
        self._notices = notices
        self._wake = wake
        listen = store.events.listen
        listen(JobCreated, self._job_created)
        listen(JobDiscarded, self._job_discarded)
        listen(ObjectsDropped, self._objects_dropped)
        listen(JobEnded, self._job_ended)
        listen(BlobCached, self._blob_cached)
        listen(ChunkPersisted, self._chunk_persisted)
        listen(BlobLost, self._blob_lost)
        listen(FailureRecorded, self._failure_recorded)
        listen(RecordRemoved, self._record_removed)
        listen(ObjectChanged, self._object_changed)
        listen(BucketRemoved, self._bucket_removed)

    # Jobs.

    def _job_created(self, event: JobCreated) -> None:
        for each in self._registrations.wanting(kinds.JOB_CREATED):
            self._notices.add(each["Id"], kinds.JOB_CREATED, {"JobId": event.job.id}, job=event.job.n)
            self._store.after_commit(self._wake)

    def _job_discarded(self, event: JobDiscarded) -> None:
        self._notices.remove_all("job", event.job.n)

    def _objects_dropped(self, event: ObjectsDropped) -> None:
        for each in self._registrations.wanting(kinds.JOB_COMPLETED, event.job.id):
            for start in range(0, len(event.objects), _BATCH):
                numbers = json.dumps(list(event.objects[start : start + _BATCH]))
                rows = self._blobs("o.n IN (SELECT value FROM json_each(?)) AND b.persisted = 0", (numbers,))
                self._notices.add_blobs(each["Id"], kinds.JOB_COMPLETED, {}, rows, job=event.job.n, held=True)

    def _job_ended(self, event: JobEnded) -> None:
        job = event.job
        facts = {"CancelOccurred": event.canceled, "JobId": job.id}
        for each in self._registrations.wanting(kinds.JOB_COMPLETED, job.id):
            if not self._notices.release(each["Id"], job.n, facts):
                self._notices.add(each["Id"], kinds.JOB_COMPLETED, facts, job=job.n)
            self._store.after_commit(self._wake)
        for kind, each in self._registrations.of_one("JobId", job.id):
            if not self._notices.waits(each["Id"]):
                self._registrations.remove(kind, each["Id"])

    # Blobs.

    def _blob_cached(self, event: BlobCached) -> None:
        job = event.job
        for each in self._registrations.wanting(kinds.OBJECT_CACHED, job.id):
            self._tell_blobs(each["Id"], kinds.OBJECT_CACHED, "b.n = ?", (event.blob,), job=job.n, job_id=job.id)

    def _chunk_persisted(self, event: ChunkPersisted) -> None:
        job, chunk = event.job, event.chunk
        for each in self._registrations.wanting(kinds.OBJECT_PERSISTED, job.id):
            condition = "b.n IN (SELECT blob FROM entries WHERE chunk = ?) ORDER BY b.n"
            self._tell_blobs(each["Id"], kinds.OBJECT_PERSISTED, condition, (chunk.n,), job=job.n, job_id=job.id)

    def _blob_lost(self, event: BlobLost) -> None:
        for each in self._registrations.wanting(kinds.OBJECT_LOST):
            self._tell_blobs(each["Id"], kinds.OBJECT_LOST, "b.n = ?", (event.blob,))

    def _tell_blobs(
        self,
        registration: str,
        kind: NoticeKind,
        condition: str,
        values: tuple[object, ...],
        *,
        job: int | None = None,
        job_id: str | None = None,
    ) -> None:
        facts = {} if job_id is None else {"JobId": job_id}
        self._notices.add_blobs(registration, kind, facts, self._blobs(condition, values), job=job)
        self._store.after_commit(self._wake)

    def _blobs(self, condition: str, values: tuple[object, ...]) -> sqlite3.Cursor:
        return self._store.db.execute(f"SELECT {BLOB_COLUMNS} FROM {BLOB_TABLES} WHERE {condition}", values)  # noqa: S608 - constants

    # The rest.

    def _failure_recorded(self, event: FailureRecorded) -> None:
        kind = kinds.BY_FAILURE.get(event.kind)
        if kind is None:
            return
        for each in self._registrations.wanting(kind):
            self._notices.add(each["Id"], kind, _failure_facts(kind, event.fields))
            self._store.after_commit(self._wake)

    def _object_changed(self, _: ObjectChanged) -> None:
        if self._registrations.all_of(kinds.BUCKET_CHANGES):
            self._store.after_commit(self._wake)

    def _bucket_removed(self, event: BucketRemoved) -> None:
        for kind, each in self._registrations.of_one("BucketId", event.bucket.id):
            self._registrations.remove(kind, each["Id"])

    def _record_removed(self, event: RecordRemoved) -> None:
        if event.kind in kinds.BY_RECORD:
            self._notices.remove_all("registration", event.identifier)


def _failure_facts(kind: NoticeKind, record: dict[str, Any]) -> dict[str, Any]:
    """Return of a record of a failure what its payload has."""
    wanted = {each.name for each in contract_kind(kind.payload).properties}
    facts = {name: value for name, value in record.items() if name in wanted}
    if kind is kinds.JOB_CREATION_FAILED:
        bar_codes = [code.strip() for code in (record.get("TapeBarCodes") or "").split(",") if code.strip()]
        facts["TapesMustBeOnlined"] = {"TapesToOnline": [{"TapeBarCodes": bar_codes}] if bar_codes else []}
    return facts
