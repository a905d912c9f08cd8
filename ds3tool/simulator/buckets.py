"""Buckets: their rows, kept in memory, and the rules that their data policy gives them."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import replace

from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol import names
from ds3tool.protocol.model import ChecksumType, Versioning
from ds3tool.simulator.events import BucketRemoved
from ds3tool.simulator.ids import is_uuid
from ds3tool.simulator.records.beans import Beans, Fields
from ds3tool.simulator.store import Store
from ds3tool.simulator.wire.refusals import Refusal, bad_request, conflict, denied

_NAME = re.compile(r"[A-Za-z0-9._-]{1,63}")
_RESERVED = frozenset({"_rest_", ".", ".."})


@dataclass(frozen=True, slots=True)
class Bucket:
    """One bucket. `n` is its row, `created` seconds since 1970, `chunk_size` of its latest put job in bytes."""

    n: int
    id: str
    name: str
    data_policy_id: str
    user_id: str
    created: float
    protected: bool
    chunk_size: int | None


@dataclass(frozen=True, slots=True)
class Rules:
    """What a data policy demands of a bucket's puts; `domains` are the storage domains that each keep a copy."""

    checksum_type: ChecksumType
    versioning: Versioning
    digest_required: bool
    default_blob_size: int | None
    blobbing: bool
    versions_to_keep: int
    domains: tuple[str, ...]
    put_priority: str
    get_priority: str
    verify_priority: str
    minimize_spanning: bool
    verify_write: bool
    always_force: bool


def no_bucket(name: str) -> Refusal:
    """Return the 404 of a bucket that is not there."""
    return Refusal(404, names.NO_SUCH_BUCKET, f"NoSuchBucket[404]: Bucket does not exist where name = '{name}'.")


class Buckets:
    """All buckets of the appliance. Methods take the store's lock themselves."""

    def __init__(self, store: Store, beans: Beans) -> None:
        self._store = store
        self._beans = beans
        self._by_name: dict[str, Bucket] = {}
        self._rules: dict[str, tuple[tuple[int, int], Rules]] = {}
        rows = store.db.execute(
            "SELECT n, id, name, data_policy_id, user_id, created, protected, chunk_size FROM buckets"
        )
        for n, identifier, name, policy, user, created, protected, chunk_size in rows:
            bucket = Bucket(n, identifier, name, policy, user, created, bool(protected), chunk_size)
            self._by_name[name] = bucket
        self._by_number = {bucket.n: bucket for bucket in self._by_name.values()}

    def all(self) -> list[Bucket]:
        """Return all buckets by name, in order of bytes."""
        with self._store.lock:
            return sorted(self._by_name.values(), key=lambda bucket: bucket.name.encode())

    def named(self, name: str) -> Bucket:
        """Return the bucket called `name`; a 404 when there is none."""
        bucket = self._by_name.get(name)
        if bucket is None:
            raise no_bucket(name)
        return bucket

    def find(self, identifier: str) -> Bucket:
        """Return the bucket with this UUID or name; a 404 when there is none.

        The UUID comes first, as with all records: nobody gets at another's bucket by calling his own like its UUID.
        """
        bucket = None
        if is_uuid(identifier):
            lower = identifier.lower()
            bucket = next((each for each in self.all() if each.id == lower), None)
        if bucket is None:
            bucket = self._by_name.get(identifier)
        if bucket is None:
            raise no_bucket(identifier)
        return bucket

    def numbered(self, number: int) -> Bucket:
        """Return the bucket of row `number`; a 404 when there is none: it has been deleted meanwhile."""
        found = self._by_number.get(number)
        if found is None:
            raise Refusal(404, names.NO_SUCH_BUCKET, "NoSuchBucket[404]: The bucket has been deleted.")
        return found

    def find_number(self, number: int) -> Bucket | None:
        """Return the bucket of row `number`, or None when it has been deleted."""
        return self._by_number.get(number)

    def current(self, bucket: Bucket) -> Bucket:
        """Return a bucket that was looked up earlier as it is now; a 404 when it has been deleted meanwhile."""
        found = self._by_number.get(bucket.n)
        if found is None:
            raise no_bucket(bucket.name)
        return found

    def create(self, name: str, *, identifier: str, policy: str, user: str, now: float, protected: bool) -> Bucket:
        """Create a bucket; 400 for its name, 403 for a reserved one, 409 for one that is taken."""
        if not _NAME.fullmatch(name):
            raise bad_request(f"'{name}' cannot be a bucket's name.", names.INVALID_BUCKET_NAME)
        if name in _RESERVED or name.lower().startswith("spectra-"):
            raise denied(f"AccessDenied[403]: '{name}' is reserved.")
        with self._store.writing() as db:
            if name in self._by_name or any(bucket.id == identifier for bucket in self._by_name.values()):
                message = f"BucketAlreadyExists[409]: A bucket named '{name}' exists already."
                raise conflict(message, names.BUCKET_ALREADY_EXISTS)
            bucket = Bucket(self._store.numbers("buckets", 1), identifier, name, policy, user, now, protected, None)
            row = (bucket.n, identifier, name, policy, user, now, protected)
            db.execute(
                "INSERT INTO buckets (n, id, name, data_policy_id, user_id, created, protected) VALUES (?,?,?,?,?,?,?)",
                row,
            )
            self._store.after_commit(lambda: self._put(bucket))
        return bucket

    def _put(self, bucket: Bucket) -> None:
        self._by_name[bucket.name] = bucket
        self._by_number[bucket.n] = bucket

    def modify(
        self,
        bucket: Bucket,
        *,
        policy: str | None = None,
        user: str | None = None,
        protected: bool | None = None,
        chunk_size: int | None = None,
    ) -> Bucket:
        """Change what is given and return the bucket as it is then; a 404 when it has been deleted meanwhile."""
        with self._store.writing() as db:
            current = self.current(bucket)  # others may have changed it since it was looked up
            changed = replace(
                current,
                data_policy_id=policy or current.data_policy_id,
                user_id=user or current.user_id,
                protected=current.protected if protected is None else protected,
                chunk_size=current.chunk_size if chunk_size is None else chunk_size,
            )
            if changed == current:
                return current
            db.execute(
                "UPDATE buckets SET data_policy_id = ?, user_id = ?, protected = ?, chunk_size = ? WHERE n = ?",
                (changed.data_policy_id, changed.user_id, changed.protected, changed.chunk_size, changed.n),
            )
            self._store.after_commit(lambda: self._put(changed))
        return changed

    def remove(self, db: sqlite3.Connection, bucket: Bucket) -> None:
        """Remove an empty bucket, inside a transaction."""
        db.execute("DELETE FROM buckets WHERE n = ?", (bucket.n,))
        self._store.events.tell(BucketRemoved(bucket))

        def forget() -> None:
            self._by_name.pop(bucket.name, None)
            self._by_number.pop(bucket.n, None)

        self._store.after_commit(forget)

    def rules(self, bucket: Bucket) -> Rules:
        """Return what the bucket's data policy demands."""
        key = bucket.data_policy_id
        stamp = (self._beans.changes("DataPolicy"), self._beans.changes("DataPersistenceRule"))
        known = self._rules.get(key)
        if known is not None and known[0] == stamp:
            return known[1]
        rules = self._read_rules(self._beans.find("DataPolicy", key))
        self._rules[key] = (stamp, rules)
        return rules

    def _read_rules(self, policy: Fields) -> Rules:
        domains = tuple(
            str(rule["StorageDomainId"])
            for rule in self._beans.all("DataPersistenceRule")
            if rule["DataPolicyId"] == policy["Id"] and rule["Type"] != "RETIRED"
        )
        size = policy["DefaultBlobSize"]
        return Rules(
            checksum_type=ChecksumType(policy["ChecksumType"]),
            versioning=Versioning(policy["Versioning"]),
            digest_required=bool(policy["EndToEndCrcRequired"]),
            default_blob_size=None if size is None else int(size),
            blobbing=bool(policy["BlobbingEnabled"]),
            versions_to_keep=int(policy["MaxVersionsToKeep"]),
            domains=domains,
            put_priority=str(policy["DefaultPutJobPriority"]),
            get_priority=str(policy["DefaultGetJobPriority"]),
            verify_priority=str(policy["DefaultVerifyJobPriority"]),
            minimize_spanning=bool(policy.get("AlwaysMinimizeSpanningAcrossMedia")),
            verify_write=bool(policy.get("DefaultVerifyAfterWrite")),
            always_force=bool(policy.get("AlwaysForcePutJobCreation")),
        )
