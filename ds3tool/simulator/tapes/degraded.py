"""Blobs that lack a copy which a persistence rule of their bucket's data policy asks for.

Nothing is kept of it: a blob that has once been on every tape it belongs on is degraded for a rule while the rule's
storage domain has no copy of it, or has one on a LOST tape. A suspect copy counts until it is marked as degraded, which
takes it away. Blobs on their way to tape are not degraded, and a rule that is retired asks for nothing.
A blob that the cache alone still has, its tapes being gone, is not to leave it: it counts as no longer persisted.
"""

from __future__ import annotations

from collections.abc import Iterator

from ds3tool.lazy_dataclass import dataclass
from ds3tool.simulator.buckets import Bucket
from ds3tool.simulator.ids import IdFamily
from ds3tool.simulator.records.beans import Beans, Fields
from ds3tool.simulator.store import Store

# That the blob `b` has no copy in the storage domain that the rule `r` asks for.
MISSING = (
    "(b.persisted = 1 OR EXISTS "
    "(SELECT 1 FROM objects w WHERE w.n = b.object AND w.job IS NULL AND w.created IS NOT NULL)) "
    "AND NOT EXISTS (SELECT 1 FROM copies c CROSS JOIN tapes t ON t.n = c.tape "
    "WHERE c.blob = b.n AND c.domain = r.domain AND t.state <> 'LOST')"
)
_FROM = (
    "FROM rules r CROSS JOIN buckets k ON k.data_policy_id = r.policy CROSS JOIN objects o ON o.bucket = k.n "
    f"CROSS JOIN blobs b ON b.object = o.n WHERE {MISSING}"
)


@dataclass(frozen=True, slots=True)
class Degraded:
    """One blob (its row) that lacks the copy of one persistence rule (its id); `bucket` is a row too."""

    blob: int
    bucket: int
    rule_id: str


class Degradation:
    """What is degraded, found when it is asked for. Methods are called with the store's lock held."""

    def __init__(self, store: Store, beans: Beans, instance: str) -> None:
        self._store = store
        self._beans = beans
        self._instance = instance

    def rules(self) -> list[Fields]:
        """Return the persistence rules that ask for copies."""
        return [rule for rule in self._beans.all("DataPersistenceRule") if rule["Type"] != "RETIRED"]

    def id_of(self, each: Degraded) -> str:
        """Return the id of a degraded blob's record."""
        return IdFamily(self._instance, f"degraded {each.rule_id}").of(each.blob)

    def count(self, *, bucket: Bucket | None = None, rule_id: str | None = None, blob: int | None = None) -> int:
        """Return how many records there are, of a bucket, a rule, a blob."""
        query, values = self._query("SELECT count(*)", bucket, rule_id, blob)
        return int(self._store.db.execute(query, values).fetchone()[0]) if query else 0

    def page(
        self,
        start: int,
        length: int,
        *,
        bucket: Bucket | None = None,
        rule_id: str | None = None,
        blob: int | None = None,
    ) -> list[Degraded]:
        """Return `length` records from the one at `start` on, in the order of rules, buckets and objects."""
        query, values = self._query("SELECT b.n, k.n, r.id", bucket, rule_id, blob)
        if not query:
            return []
        query += " ORDER BY r.place, k.n, o.n, b.n LIMIT ? OFFSET ?"
        return [Degraded(*row) for row in self._store.db.execute(query, (*values, length, start))]

    def place_of(
        self, record_id: str, *, bucket: Bucket | None = None, rule_id: str | None = None, blob: int | None = None
    ) -> int | None:
        """Return where in the list of these records one is, by its id; None when it is not there."""
        query, values = self._query("SELECT b.n, k.n, r.id", bucket, rule_id, blob)
        if not query:
            return None
        rows = self._store.db.execute(query + " ORDER BY r.place, k.n, o.n, b.n", values)
        return next((place for place, row in enumerate(rows) if self.id_of(Degraded(*row)) == record_id.lower()), None)

    def has(self, *, bucket: Bucket | None = None, rule_id: str | None = None) -> bool:
        """Tell whether anything is degraded, in a bucket, for a rule; stops at the first that is found."""
        query, values = self._query("SELECT 1", bucket, rule_id, None)
        return bool(query) and self._store.db.execute(query + " LIMIT 1", values).fetchone() is not None

    def of_object(self, bucket: Bucket, number: int) -> int:
        """Return how many blobs of an object (its row) are degraded, for whatever rule."""
        with_rules, values = self.rules_table(bucket.data_policy_id)
        if not with_rules:
            return 0
        query = (
            f"{with_rules} SELECT count(DISTINCT b.n) FROM rules r CROSS JOIN blobs b "  # noqa: S608 - constants
            f"WHERE b.object = ? AND {MISSING}"
        )
        return int(self._store.db.execute(query, (*values, number)).fetchone()[0])

    def _query(
        self, select: str, bucket: Bucket | None, rule_id: str | None, blob: int | None
    ) -> tuple[str, tuple[object, ...]]:
        """Return SQL and its values, `""` when no rule asks for anything."""
        with_rules, values = self.rules_table(None if bucket is None else bucket.data_policy_id, rule_id)
        if not with_rules:
            return "", ()
        query = f"{with_rules} {select} {_FROM}"
        if bucket is not None:
            query, values = f"{query} AND k.n = ?", (*values, bucket.n)
        if blob is not None:
            query, values = f"{query} AND b.n = ?", (*values, blob)
        return query, values

    def rules_table(self, policy_id: str | None = None, rule_id: str | None = None) -> tuple[str, tuple[object, ...]]:
        """Return the rules as a table of SQL, and its values: `""` when no rule asks for anything.

        Perhaps those of one data policy, or one rule alone. Its columns: place, id, policy, domain, whether it keeps
        buckets apart (isolated), and the policy's priority of rebuilds.
        """
        rows = list(self._rows(policy_id, rule_id))
        places = ", ".join(["(?, ?, ?, ?, ?, ?)"] * len(rows))
        values = tuple(value for row in rows for value in row)
        columns = "place, id, policy, domain, isolated, priority"
        return (f"WITH rules({columns}) AS (VALUES {places})", values) if rows else ("", ())

    def _rows(self, policy_id: str | None, rule_id: str | None) -> Iterator[tuple[object, ...]]:
        for place, rule in enumerate(self.rules()):
            if policy_id in (None, rule["DataPolicyId"]) and rule_id in (None, rule["Id"]):
                policy = self._beans.get("DataPolicy", rule["DataPolicyId"]) or {}
                isolated = rule.get("IsolationLevel") == "BUCKET_ISOLATED"
                priority = policy.get("RebuildPriority", "LOW")
                yield place, rule["Id"], rule["DataPolicyId"], rule["StorageDomainId"], isolated, priority
