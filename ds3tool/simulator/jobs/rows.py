"""Jobs as the store keeps them: their rows read, written, changed, and written for the last time when they end."""

from __future__ import annotations

import sqlite3

from ds3tool.protocol.model import JobStatus, JobType
from ds3tool.simulator.ids import IdFamily
from ds3tool.simulator.jobs.job import Job
from ds3tool.simulator.store import Store

# In the order of `Job`'s fields; the id is made of the number.
_FLAGS = (
    *("aggregating", "naked", "truncated", "timed_out", "implicit", "spanning", "verify_write", "cleanup"),
    *("protected", "staging", "replicating"),
)
_COLUMNS = (
    *("n", "bucket", "type", "status", "name", "priority", "processing_order", "user_id", "created", "ended"),
    *("original", "cached", "completed", *_FLAGS, "error"),
)
_FIRST_FLAG = _COLUMNS.index(_FLAGS[0])
_READ = f"SELECT {', '.join(_COLUMNS)} FROM jobs"  # noqa: S608 - constants
_INSERT = f"INSERT INTO jobs ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 - constants
# What may change while a job is in progress.
_CHANGING = ("name", "priority", "created", "cleanup", "protected", "aggregating", "truncated", "timed_out", "original")
_SAVE = f"UPDATE jobs SET {', '.join(f'{name} = ?' for name in _CHANGING)} WHERE n = ?"  # noqa: S608 - constants
_ENDING = ("status", "ended", "original", "cached", "completed", "truncated", "timed_out", "error")
_END = f"UPDATE jobs SET {', '.join(f'{name} = ?' for name in _ENDING)} WHERE n = ?"  # noqa: S608 - constants


class JobRows:
    """The rows of all jobs, active and ended. Methods are called with the store's lock held."""

    def __init__(self, store: Store, instance: str) -> None:
        self._store = store
        self.ids = IdFamily(instance, "job")

    def _job(self, row: tuple[object, ...]) -> Job:
        n, *rest = row
        assert isinstance(n, int)
        first = _FIRST_FLAG - 1
        rest[first : first + len(_FLAGS)] = map(bool, rest[first : first + len(_FLAGS)])
        bucket, kind, status, *others = rest
        return Job(n, self.ids.of(n), bucket, JobType(str(kind)), JobStatus(str(status)), *others)  # type: ignore[arg-type] # the schema types the columns

    def select(self, condition: str, values: tuple[object, ...] = ()) -> list[Job]:
        """Return the jobs that an SQL condition matches, as their rows are."""
        return [self._job(row) for row in self._store.db.execute(f"{_READ} WHERE {condition}", values).fetchall()]

    def insert(self, db: sqlite3.Connection, job: Job) -> None:
        """Write a new job, inside a transaction."""
        db.execute(_INSERT, [getattr(job, name) for name in _COLUMNS])

    def save(self, job: Job) -> None:
        """Write a job's settings, after a change of them."""
        with self._store.writing() as db:
            db.execute(_SAVE, [*(getattr(job, name) for name in _CHANGING), job.n])

    def write_end(self, db: sqlite3.Connection, job: Job, status: JobStatus, now: float) -> None:
        """Write how and when a job ended, inside a transaction; its chunks go, and no object is its any more."""
        values = {name: getattr(job, name) for name in _ENDING} | {"status": status, "ended": now}
        db.execute(_END, [*values.values(), job.n])
        db.execute("DELETE FROM entries WHERE chunk IN (SELECT n FROM chunks WHERE job = ?)", (job.n,))
        db.execute("DELETE FROM chunks WHERE job = ?", (job.n,))
        db.execute("UPDATE objects SET job = NULL WHERE job = ?", (job.n,))

    def remove(self, db: sqlite3.Connection, condition: str, values: tuple[object, ...]) -> None:
        """Strike the records of ended jobs that an SQL condition matches, inside a transaction."""
        db.execute(f"DELETE FROM jobs WHERE {condition}", values)  # noqa: S608 - conditions are this package's own
