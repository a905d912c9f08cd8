"""What became of the objects of every bucket, in the order in which it happened: the bucket history.

A version that is complete is one CREATE, and from then on the latest of its name; the one that was the latest before
gets an UNMARK_LATEST. A delete that only hides an object is an UNMARK_LATEST too, an undelete a MARK_LATEST (of a
version that was not the latest). A version that is removed, by whatever way, is a DELETE. Objects of a job that were
never complete come and go without a trace. A bucket's history goes with the bucket.

Sequence numbers grow and are never used again; the numbers of one bucket have gaps, since all buckets share them. Each
change is written in the transaction that makes it. The history of the last 30 days of the appliance's clock is kept
(how long a real one keeps it is not public).
"""

from __future__ import annotations

from ds3tool.simulator.buckets import Buckets
from ds3tool.simulator.clock import Clock
from ds3tool.simulator.events import BucketRemoved, ObjectChanged
from ds3tool.simulator.ids import IdFamily
from ds3tool.simulator.store import Store
from ds3tool.simulator.wire.xmlout import Value, date

_KEPT_SECONDS = 30 * 24 * 3600.0


class BucketHistory:
    """The rows of the history. Methods are called with the store's lock held."""

    def __init__(self, store: Store, buckets: Buckets, clock: Clock, ids: IdFamily, object_ids: IdFamily) -> None:
        self._store = store
        self._buckets = buckets
        self._clock = clock
        self.ids = ids
        self._object_ids = object_ids
        store.events.listen(ObjectChanged, self._record)
        store.events.listen(BucketRemoved, self._forget_bucket)

    def _record(self, event: ObjectChanged) -> None:
        self._store.db.execute(
            "INSERT INTO bucket_history (bucket, type, object, name, created, at) "
            "SELECT bucket, ?, n, name, created, ? FROM objects WHERE n = ? AND created IS NOT NULL",
            (event.type, self._clock.now(), event.object),
        )

    def _forget_bucket(self, event: BucketRemoved) -> None:
        self._store.db.execute("DELETE FROM bucket_history WHERE bucket = ?", (event.bucket.n,))

    @property
    def last(self) -> int:
        """The sequence number of the latest change; 0 before the first."""
        (number,) = self._store.db.execute("SELECT coalesce(max(n), 0) FROM bucket_history").fetchone()
        return int(number)

    def count(self, bucket: int | None, least: int) -> int:
        """Return how many changes from sequence number `least` on are known, of one bucket or of all."""
        condition, values = self._selection(bucket, least)
        query = f"SELECT count(*) FROM bucket_history WHERE {condition}"  # noqa: S608 - constants
        return int(self._store.db.execute(query, values).fetchone()[0])

    def position(self, bucket: int | None, least: int, identifier: str) -> int | None:
        """Return how many of the changes counted come before the one with this id; None when it is none of them."""
        number = self.ids.number(identifier)
        condition, values = self._selection(bucket, least)
        query = f"SELECT sum(n < ?), max(n = ?) FROM bucket_history WHERE {condition}"  # noqa: S608 - constants
        before, found = self._store.db.execute(query, (number, number, *values)).fetchone()
        return int(before) if found else None

    def page(self, bucket: int | None, least: int, *, start: int, length: int) -> list[dict[str, Value]]:
        """Return `length` changes from the place `start` on, as the elements of `BucketHistoryEvent`."""
        condition, values = self._selection(bucket, least)
        rows = self._store.db.execute(
            f"SELECT n, bucket, type, object, name, created FROM bucket_history WHERE {condition} "  # noqa: S608 - constants
            "ORDER BY n LIMIT ? OFFSET ?",
            (*values, length, start),
        )
        return [
            {
                "BucketId": self._buckets.numbered(number).id,
                "Id": self.ids.of(n),
                "ObjectCreationDate": None if created is None else date(created),
                "ObjectName": name,
                "SequenceNumber": n,
                "Type": kind,
                "VersionId": self._object_ids.of(version),
            }
            for n, number, kind, version, name, created in rows
        ]

    def numbers_after(self, last: int, bucket: int | None, most: int) -> list[int]:
        """Return up to `most` sequence numbers above `last`, of one bucket or of all."""
        condition, values = self._selection(bucket, last + 1)
        query = f"SELECT n FROM bucket_history WHERE {condition} ORDER BY n LIMIT ?"  # noqa: S608 - constants
        return [number for (number,) in self._store.db.execute(query, (*values, most))]

    def _selection(self, bucket: int | None, least: int) -> tuple[str, tuple[int, ...]]:
        return ("n >= ?", (least,)) if bucket is None else ("n >= ? AND bucket = ?", (least, bucket))

    def forget_old(self) -> None:
        """Clear what happened longer ago than is kept; costs one look when there is nothing."""
        oldest = self._clock.now() - _KEPT_SECONDS
        row = self._store.db.execute("SELECT at FROM bucket_history ORDER BY n LIMIT 1").fetchone()
        if row is None or row[0] >= oldest:
            return
        with self._store.writing() as db:
            db.execute(
                "DELETE FROM bucket_history WHERE n < coalesce("
                "(SELECT n FROM bucket_history WHERE at >= ? ORDER BY n LIMIT 1), 1 << 62)",
                (oldest,),
            )
