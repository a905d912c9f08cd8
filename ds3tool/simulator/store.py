"""The appliance's state in one SQLite file: schema, transactions, numbers for new rows.

One connection, one lock: whoever holds the lock may read; `writing` makes a transaction of what it encloses. What a
transaction committed survives the death of the process at any moment, since it is in the kernel's hands by then;
nothing is synced for each commit, so a power cut may lose the last seconds (but leaves the file whole).
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from ds3tool.simulator.events import Events

_SCHEMA_VERSION = 2
# WAL is safe here whatever the release of SQLite: its reset bug needs a second connection, and the exclusive lock
# that this one takes admits none.
_PRAGMAS = (
    *("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=NORMAL", "wal_autocheckpoint=4000"),
    # 64 MiB: a job of 500,000 objects is one transaction, and the usual 2 MB would be written over and over.
    "cache_size=-65536",
)
_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sequences (name TEXT PRIMARY KEY, next INTEGER NOT NULL) WITHOUT ROWID;
-- Everything that is configured rather than moved: users, policies, domains, drives, failures. `fields` is JSON.
CREATE TABLE beans (
  n INTEGER PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL, fields TEXT NOT NULL, UNIQUE (kind, id)
);
CREATE TABLE buckets (
  n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE, data_policy_id TEXT NOT NULL,
  user_id TEXT NOT NULL, created REAL NOT NULL, protected INTEGER NOT NULL DEFAULT 0, chunk_size INTEGER
);
-- `created` is null until the last blob is in; `job` is the put job that still owns it.
CREATE TABLE objects (
  n INTEGER PRIMARY KEY, bucket INTEGER NOT NULL, name TEXT NOT NULL, size INTEGER NOT NULL, created REAL,
  latest INTEGER NOT NULL, etag TEXT, metadata TEXT, job INTEGER
);
CREATE INDEX objects_by_name ON objects (bucket, name, n);
CREATE INDEX objects_by_job ON objects (job) WHERE job IS NOT NULL;
-- `checksum` is null until received; `persisted` when every copy is on tape; then it may leave the cache.
CREATE TABLE blobs (
  n INTEGER PRIMARY KEY, object INTEGER NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL,
  checksum BLOB, checksum_type TEXT, cached INTEGER NOT NULL DEFAULT 0, persisted INTEGER NOT NULL DEFAULT 0,
  used REAL NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX blobs_by_object ON blobs (object, offset);
CREATE INDEX blobs_evictable ON blobs (used, length) WHERE cached = 1 AND persisted = 1;
-- Where a copy lies: bytes from `position` of the tape's file. One copy a storage domain.
CREATE TABLE copies (
  blob INTEGER NOT NULL, domain TEXT NOT NULL, tape INTEGER NOT NULL, position INTEGER NOT NULL,
  suspect INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (blob, domain)
) WITHOUT ROWID;
CREATE INDEX copies_by_tape ON copies (tape, position);
CREATE TABLE tapes (
  n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, bar_code TEXT NOT NULL UNIQUE, type TEXT NOT NULL,
  serial TEXT NOT NULL, partition_id TEXT NOT NULL, capacity INTEGER NOT NULL, written INTEGER NOT NULL DEFAULT 0,
  state TEXT NOT NULL, previous_state TEXT, full INTEGER NOT NULL DEFAULT 0, role TEXT NOT NULL DEFAULT 'NORMAL',
  member_id TEXT, domain_id TEXT, bucket_id TEXT, eject_pending REAL, eject_date REAL, eject_label TEXT,
  eject_location TEXT, accessed REAL, modified REAL, verified REAL
);
CREATE TABLE jobs (
  n INTEGER PRIMARY KEY, bucket INTEGER NOT NULL, type TEXT NOT NULL, status TEXT NOT NULL, name TEXT NOT NULL,
  priority TEXT NOT NULL, processing_order TEXT NOT NULL, user_id TEXT NOT NULL, created REAL NOT NULL, ended REAL,
  original INTEGER NOT NULL, cached INTEGER NOT NULL DEFAULT 0, completed INTEGER NOT NULL DEFAULT 0,
  aggregating INTEGER NOT NULL DEFAULT 0, naked INTEGER NOT NULL DEFAULT 0, truncated INTEGER NOT NULL DEFAULT 0,
  timed_out INTEGER NOT NULL DEFAULT 0, implicit INTEGER NOT NULL DEFAULT 0, spanning INTEGER NOT NULL DEFAULT 0,
  verify_write INTEGER NOT NULL DEFAULT 0, cleanup INTEGER NOT NULL DEFAULT 1, protected INTEGER NOT NULL DEFAULT 0,
  error TEXT
);
CREATE INDEX jobs_by_status ON jobs (status, n);
-- What of a chunk is still to be sent or fetched is counted anew when the appliance starts.
CREATE TABLE chunks (
  n INTEGER PRIMARY KEY, job INTEGER NOT NULL, number INTEGER NOT NULL, bytes INTEGER NOT NULL,
  allocated INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX chunks_by_job ON chunks (job, number);
-- A blob in a chunk. `done`: on every tape (put), read by the client (get), checked (verify). `failed`: why it
-- cannot be loaded. `latest` is remembered so that a job's answers never differ.
CREATE TABLE entries (
  chunk INTEGER NOT NULL, place INTEGER NOT NULL, blob INTEGER NOT NULL, latest INTEGER NOT NULL DEFAULT 1,
  done INTEGER NOT NULL DEFAULT 0, failed TEXT, PRIMARY KEY (chunk, place)
) WITHOUT ROWID;
CREATE INDEX entries_by_blob ON entries (blob, chunk);
"""

# What each version adds to the one before it; a state of an older version is brought up step by step when opened.
_UPGRADES = {
    2: """
-- `checked`: of a verify job, the tapes whose copy has been read, each between commas.
ALTER TABLE entries ADD COLUMN checked TEXT NOT NULL DEFAULT '';
-- `staging`: a get job that ends when all of its blobs are in the cache. `replicating`: told by another appliance.
ALTER TABLE jobs ADD COLUMN staging INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN replicating INTEGER NOT NULL DEFAULT 0;
-- Multipart uploads that are not complete; `touched` when they began or their latest part came.
CREATE TABLE uploads (
  n INTEGER PRIMARY KEY, bucket INTEGER NOT NULL, name TEXT NOT NULL, user_id TEXT NOT NULL, client TEXT NOT NULL,
  started REAL NOT NULL, touched REAL NOT NULL, metadata TEXT
);
CREATE INDEX uploads_by_name ON uploads (bucket, name, n);
-- A part's bytes are the file of that number in the folder of parts.
CREATE TABLE parts (
  upload INTEGER NOT NULL, number INTEGER NOT NULL, file INTEGER NOT NULL, length INTEGER NOT NULL,
  md5 BLOB NOT NULL, modified REAL NOT NULL, PRIMARY KEY (upload, number)
) WITHOUT ROWID;
-- What became of versions of objects: `n` is the sequence number, never used again; `at` when, `created` the version's.
CREATE TABLE bucket_history (
  n INTEGER PRIMARY KEY AUTOINCREMENT, bucket INTEGER NOT NULL, type TEXT NOT NULL, object INTEGER NOT NULL,
  name TEXT NOT NULL, created REAL, at REAL NOT NULL
);
-- Notices on their way to who registered for them. `due`: when to send it next, null while it may not be sent yet.
-- `sealed`: it was sent, and must stay as it was. `blobs`: how many rows of `notice_blobs` belong to it.
CREATE TABLE notices (
  n INTEGER PRIMARY KEY AUTOINCREMENT, registration TEXT NOT NULL, kind TEXT NOT NULL, job INTEGER,
  made REAL NOT NULL, due REAL, facts TEXT NOT NULL, blobs INTEGER NOT NULL DEFAULT 0,
  sealed INTEGER NOT NULL DEFAULT 0, tries INTEGER NOT NULL DEFAULT 0, repeated INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX notices_by_registration ON notices (registration, due);
CREATE INDEX notices_by_job ON notices (job) WHERE job IS NOT NULL;
CREATE TABLE notice_blobs (
  notice INTEGER NOT NULL, place INTEGER NOT NULL, bucket TEXT NOT NULL, name TEXT NOT NULL, blob INTEGER NOT NULL,
  object INTEGER NOT NULL, length INTEGER NOT NULL, offset INTEGER NOT NULL, cached INTEGER NOT NULL,
  latest INTEGER NOT NULL, PRIMARY KEY (notice, place)
) WITHOUT ROWID;
-- `verify_pending`: a priority. `directive`: how to import, as JSON. `uses`: cleanings left. `place`, `tab`, `damaged`:
-- where the cartridge is, and what it is like, which the appliance learns when it looks.
ALTER TABLE tapes ADD COLUMN partly_verified REAL;
ALTER TABLE tapes ADD COLUMN verify_pending TEXT;
ALTER TABLE tapes ADD COLUMN directive TEXT;
ALTER TABLE tapes ADD COLUMN description TEXT;
ALTER TABLE tapes ADD COLUMN write_protected INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tapes ADD COLUMN uses INTEGER;
ALTER TABLE tapes ADD COLUMN place TEXT NOT NULL DEFAULT 'slot';
ALTER TABLE tapes ADD COLUMN tab INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tapes ADD COLUMN damaged INTEGER NOT NULL DEFAULT 0;
UPDATE tapes SET place = 'outside' WHERE state IN ('EJECTED', 'LOST', 'OFFLINE');
-- Versions of objects that came with tapes of other appliances: the version's id there, its row here.
CREATE TABLE imports (version TEXT PRIMARY KEY, object INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX imports_by_object ON imports (object);
""",
}


class Store:
    """The database of one appliance. Every method is called with or without `lock`, which may be taken twice."""

    def __init__(self, path: Path) -> None:
        self.lock = threading.RLock()
        self._depth = 0
        self._after: list[Callable[[], None]] = []
        # What a transaction makes true is told inside it.
        self.events = Events()
        path.touch(0o600)
        with contextlib.suppress(PermissionError):  # of another owner, who has to see to it
            path.chmod(0o600)  # users' secret keys are in it; what SQLite puts beside it has the same mode
        self.db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=0.2)
        try:
            self._open()
        except BaseException:
            self.db.close()
            raise
        self._next: dict[str, int] = dict(self.db.execute("SELECT name, next FROM sequences"))

    def _open(self) -> None:
        for pragma in _PRAGMAS:
            self.db.execute(f"PRAGMA {pragma}")
        (version,) = self.db.execute("PRAGMA user_version").fetchone()
        if version > _SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"the appliance's state has version {version}, not {_SCHEMA_VERSION}")
        steps = [_SCHEMA] if version == 0 else []
        steps += [step for number, step in sorted(_UPGRADES.items()) if number > version]
        if steps:
            self.db.executescript(f"BEGIN; {' '.join(steps)} PRAGMA user_version = {_SCHEMA_VERSION}; COMMIT;")

    def close(self) -> None:
        """Close the database; once."""
        with self.lock:
            self.db.close()

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Hold the lock and make one transaction of the block; inner ones join the outermost."""
        with self.lock:
            if self._depth:
                yield self.db
                return
            self.db.execute("BEGIN IMMEDIATE")
            self._depth = 1
            try:
                yield self.db
                self.db.execute("COMMIT")  # which fails where the disk is full
            except BaseException:
                self._after.clear()
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
                raise
            finally:
                self._depth = 0
            after, self._after = self._after, []
            self._follow_up(after)

    def _follow_up(self, actions: list[Callable[[], None]]) -> None:
        """Call what was to be called after a commit: all of it, whatever one of them raises."""
        for place, action in enumerate(actions):
            try:
                action()
            except BaseException:
                self._follow_up(actions[place + 1 :])
                raise

    def after_commit(self, action: Callable[[], None]) -> None:
        """Call `action` when the transaction around has been committed, holding the lock; never when it has not."""
        assert self._depth, "after_commit belongs inside writing()"
        self._after.append(action)

    def numbers(self, sequence: str, count: int) -> int:
        """Take `count` numbers that no row of `sequence` ever had, inside a transaction; return the first."""
        assert self._depth, "numbers are taken inside writing()"
        first = self._next.get(sequence, 1)
        # A rollback leaves a gap in memory, which is harmless; the file never falls behind a committed row.
        self._next[sequence] = first + count
        self.db.execute("INSERT OR REPLACE INTO sequences VALUES (?, ?)", (sequence, first + count))
        return first

    def meta(self, name: str) -> str | None:
        """Return a remembered text."""
        with self.lock:
            row = self.db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def remember(self, name: str, value: str) -> None:
        """Remember a text."""
        with self.writing() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))
