"""Notices on their way: rows of the store, so that what was to be told is told also after a crash, twice if need be.

A notice is written in the transaction of the event that it tells. What is told of blobs gathers in the newest notice of
its registration and job until that is sent for the first time, up to 2,000 blobs; more of them are further notices. A
registration has at most 1,000 notices waiting: the oldest makes way for the newest.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Iterable, Iterator
from typing import Any

from ds3tool.lazy_dataclass import dataclass
from ds3tool.simulator.clock import Clock
from ds3tool.simulator.ids import IdFamily
from ds3tool.simulator.notifications.kinds import NoticeKind
from ds3tool.simulator.store import Store

_log = logging.getLogger(__name__)

MOST_BLOBS = 2_000
MOST_WAITING = 1_000
_COLUMNS = "n, registration, kind, made, facts, blobs, sealed, tries, repeated"
# Bucket's name, object's name, blob, version, length, offset, in the cache, latest.
BLOB_COLUMNS = "k.name, o.name, b.n, o.n, b.length, b.offset, b.cached, o.latest"
BLOB_TABLES = "blobs b JOIN objects o ON o.n = b.object JOIN buckets k ON k.n = o.bucket"
BlobRow = tuple[str, str, int, int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice: `kind` by name, `facts` the payload's properties but for blobs; `made` seconds since 1970.

    `tries` failed so far; `sealed` tells that it was tried, and `repeated` that it was sent again on purpose.
    """

    n: int
    registration: str
    kind: str
    made: float
    facts: dict[str, Any]
    blobs: int
    sealed: bool
    tries: int
    repeated: bool


class Notices:
    """All notices. Methods are called with the store's lock held; those that write, inside a transaction."""

    def __init__(self, store: Store, clock: Clock, blob_ids: IdFamily, object_ids: IdFamily) -> None:
        self._store = store
        self._clock = clock
        self._blob_ids = blob_ids
        self._object_ids = object_ids

    # Coming.

    def add(
        self, registration: str, kind: NoticeKind, facts: dict[str, Any], *, job: int | None = None, held: bool = False
    ) -> int:
        """Add a notice, due at once unless it is `held` until its job ends; return its number."""
        db, now = self._store.db, self._clock.now()
        count, oldest = db.execute(
            "SELECT count(*), min(n) FROM notices WHERE registration = ?", (registration,)
        ).fetchone()
        if count >= MOST_WAITING:
            _log.warning("registration %s: too many notices wait, the oldest is given up", registration)
            self.remove(oldest)
        number = db.execute(
            "INSERT INTO notices (registration, kind, job, made, due, facts) VALUES (?, ?, ?, ?, ?, ?)",
            (registration, kind.name, job, now, None if held else now, json.dumps(facts)),
        ).lastrowid
        assert number is not None
        return number

    def add_blobs(
        self,
        registration: str,
        kind: NoticeKind,
        facts: dict[str, Any],
        rows: Iterable[BlobRow],
        *,
        job: int | None = None,
        held: bool = False,
    ) -> None:
        """Add blobs to the notice that gathers them, and to as many new ones as it takes."""
        db, blobs = self._store.db, iter(rows)
        number, place = self._gathering(registration, kind, job)
        while batch := list(itertools.islice(blobs, MOST_BLOBS - place)):
            if number is None:
                number = self.add(registration, kind, facts, job=job, held=held)
            db.executemany(
                "INSERT INTO notice_blobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                ((number, where, *row) for where, row in enumerate(batch, place)),
            )
            db.execute("UPDATE notices SET blobs = blobs + ? WHERE n = ?", (len(batch), number))
            number, place = None, 0

    def _gathering(self, registration: str, kind: NoticeKind, job: int | None) -> tuple[int | None, int]:
        row = self._store.db.execute(
            "SELECT n, blobs FROM notices WHERE registration = ? AND kind = ? AND job IS ? AND sealed = 0 "
            "ORDER BY n DESC LIMIT 1",
            (registration, kind.name, job),
        ).fetchone()
        return (None, 0) if row is None or row[1] >= MOST_BLOBS else (row[0], row[1])

    def release(self, registration: str, job: int, facts: dict[str, Any]) -> bool:
        """Let go what was held for a registration until a job ended, with its facts as they are now; False for none."""
        values = (self._clock.now(), json.dumps(facts), registration, job)
        query = "UPDATE notices SET due = ?, facts = ? WHERE registration = ? AND job = ? AND due IS NULL"
        return self._store.db.execute(query, values).rowcount > 0

    # Going.

    def waiting(self) -> list[tuple[str, float]]:
        """Return the registrations that notices wait for, and when the first of each is due."""
        query = "SELECT registration, min(due) FROM notices WHERE due IS NOT NULL GROUP BY registration"
        return self._store.db.execute(query).fetchall()

    def waits(self, registration: str) -> bool:
        """Tell whether any notice waits for a registration."""
        query = "SELECT 1 FROM notices WHERE registration = ? LIMIT 1"
        return self._store.db.execute(query, (registration,)).fetchone() is not None

    def next(self, registration: str) -> Notice | None:
        """Return what is due next for a registration, or None."""
        row = self._store.db.execute(
            f"SELECT {_COLUMNS} FROM notices WHERE registration = ? AND due <= ? ORDER BY due, n LIMIT 1",  # noqa: S608 - constants
            (registration, self._clock.now()),
        ).fetchone()
        if row is None:
            return None
        n, registration, kind, made, facts, blobs, sealed, tries, repeated = row
        return Notice(n, registration, kind, made, json.loads(facts), blobs, bool(sealed), tries, bool(repeated))

    def seal(self, notice: Notice, *, due: float) -> float:
        """Let a notice be from now on as it is, and be due then; return its date of generation."""
        made = notice.made if notice.sealed else self._clock.now()
        self._store.db.execute("UPDATE notices SET sealed = 1, made = ?, due = ? WHERE n = ?", (made, due, notice.n))
        return made

    def blobs(self, notice: Notice) -> Iterator[dict[str, Any]]:
        """Yield the blobs of a notice, as the contract's type has them."""
        rows = self._store.db.execute(
            "SELECT bucket, name, blob, object, length, offset, cached, latest FROM notice_blobs "
            "WHERE notice = ? ORDER BY place",
            (notice.n,),
        )
        for bucket, name, blob, version, length, offset, cached, latest in rows:
            yield {
                "Bucket": bucket,
                "Id": self._blob_ids.of(blob),
                "InCache": bool(cached),
                "Latest": bool(latest),
                "Length": length,
                "Name": name,
                "Offset": offset,
                "VersionId": self._object_ids.of(version),
            }

    def repeat(self, notice: Notice) -> None:
        """Have a notice that was delivered sent once more."""
        values = (self._clock.now(), notice.n)
        self._store.db.execute("UPDATE notices SET repeated = 1, tries = 0, due = ? WHERE n = ?", values)

    def retry(self, notice: Notice, *, due: float) -> None:
        """Count a failure of a notice, which is tried again when it is due."""
        self._store.db.execute("UPDATE notices SET tries = tries + 1, due = ? WHERE n = ?", (due, notice.n))

    def remove(self, number: int) -> None:
        """Remove a notice that was delivered or given up."""
        self._store.db.execute("DELETE FROM notice_blobs WHERE notice = ?", (number,))
        self._store.db.execute("DELETE FROM notices WHERE n = ?", (number,))

    def remove_all(self, column: str, value: str | int) -> None:
        """Remove the notices of a `registration`, or of a `job`."""
        values = (value,)
        rows = self._store.db.execute(f"SELECT n FROM notices WHERE {column} = ?", values)  # noqa: S608 - one of two names
        for (number,) in rows.fetchall():
            self.remove(number)
