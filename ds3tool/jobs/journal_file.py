"""A journal's file: SQLite, its tables, its format's number, and every trouble with it as a sentence.

Rollback journal in TRUNCATE mode with full synchronisation: one writer; what is committed survives the machine, and is
in one file. Other processes may read meanwhile, and each waits for the other for a moment.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote_from_bytes

from ds3tool.errors import ConfigError, Ds3Error, JournalError, PathNotFoundError
from ds3tool.jobs.journal_columns import SpoiledColumnsError
from ds3tool.jobs.state_folder import DONE, ELSEWHERE, folder_error, sync_folder

SUFFIX = ".db"
LOCK_SUFFIX = ".lock"
# SQLite's own file, by which it undoes what was not committed.
ROLLBACK_SUFFIX = "-journal"
FORMAT = 1
# "DS3J": what tells a journal from other files of SQLite.
_APPLICATION_ID = 0x4453334A
# So long does who works with a journal wait for one who looks at it, and the other way round.
_BUSY_SECONDS = 60.0
_LOOKING_SECONDS = 5.0

# All text that people chose is kept as bytes, since it may hold half surrogates. Times are seconds since 1970.
_TABLES = """
CREATE TABLE work (
    id TEXT NOT NULL, head BLOB NOT NULL, planning INTEGER NOT NULL, begun REAL NOT NULL, concluded REAL,
    told INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE plans (
    number INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE, finished INTEGER NOT NULL DEFAULT 0, job_id TEXT,
    status TEXT, objects INTEGER NOT NULL, bytes INTEGER NOT NULL, fingerprint BLOB NOT NULL,
    moved_blobs INTEGER NOT NULL DEFAULT 0, moved_bytes INTEGER NOT NULL DEFAULT 0, last_active REAL NOT NULL
);
CREATE TABLE objects (
    plan INTEGER NOT NULL, first INTEGER NOT NULL, count INTEGER NOT NULL, keys BLOB NOT NULL, sizes BLOB NOT NULL,
    modified BLOB, inodes BLOB, source_names BLOB, target_names BLOB, rare BLOB, crc INTEGER NOT NULL,
    UNIQUE (plan, first)
);
CREATE TABLE moved (
    number INTEGER PRIMARY KEY, plan INTEGER NOT NULL, count INTEGER NOT NULL, owners BLOB NOT NULL, offsets BLOB,
    lengths BLOB NOT NULL, versions BLOB, kind BLOB, digests BLOB NOT NULL, crc INTEGER NOT NULL
);
CREATE INDEX moved_of_plan ON moved (plan);
CREATE TABLE appeared (
    number INTEGER PRIMARY KEY, plan INTEGER NOT NULL, count INTEGER NOT NULL, owners BLOB NOT NULL,
    crc INTEGER NOT NULL
);
CREATE INDEX appeared_of_plan ON appeared (plan);
CREATE TABLE arriving (
    plan INTEGER NOT NULL, owner INTEGER NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL,
    done INTEGER NOT NULL, PRIMARY KEY (plan, owner, offset)
) WITHOUT ROWID;
CREATE TABLE digests (
    plan INTEGER NOT NULL, owner INTEGER NOT NULL, kind TEXT NOT NULL, digest BLOB NOT NULL,
    PRIMARY KEY (plan, owner, kind)
) WITHOUT ROWID;
CREATE TABLE deletions (
    number INTEGER PRIMARY KEY, bucket BLOB NOT NULL, key BLOB NOT NULL, version_id BLOB, etag BLOB, at REAL NOT NULL
);
CREATE TABLE failures (
    number INTEGER PRIMARY KEY, job_id TEXT, key BLOB, path BLOB, code TEXT NOT NULL,
    exit_code INTEGER NOT NULL, message BLOB NOT NULL, at REAL NOT NULL
)
"""

# From the format of that number to the next. The first format is 1, so there is none yet.
_MIGRATIONS: Mapping[int, Callable[[sqlite3.Connection], None]] = {}


class JournalFile:
    """An open journal. Every error of SQLite leaves it as a Ds3Error that names the file and a way out."""

    def __init__(self, path: str, db: sqlite3.Connection) -> None:
        self.path = path
        self._db = db

    @classmethod
    def create(cls, path: str, work_id: str, head: bytes, begun: float) -> JournalFile:
        """Make a new journal, readable to this user alone, and safe on the disk under its name."""
        folder = os.path.dirname(path)
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise folder_error(folder, error) from error
        file = cls(path, _connect(path))
        try:
            with file.writing() as db:
                for statement in _TABLES.split(";"):
                    db.execute(statement)
                db.execute("INSERT INTO work (id, head, planning, begun) VALUES (?, ?, 1, ?)", (work_id, head, begun))
                db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                db.execute(f"PRAGMA user_version = {FORMAT}")
            sync_folder(folder)
        except OSError as error:
            file.close()
            raise folder_error(folder, error) from error
        except BaseException:
            file.close()
            raise
        return file

    @classmethod
    def open(cls, path: str, *, only_look: bool = False) -> JournalFile:
        """Open a journal; what a killed process has begun to write is undone first.

        Its structure is read through, unless somebody is to `only_look` at it. Raises ConfigError for a journal of a
        newer ds3tool, JournalError for what is none, or is damaged, PathNotFoundError when it is not there.
        """
        if not os.path.lexists(path):
            raise no_journal(path)
        file = cls(path, _connect(path, _LOOKING_SECONDS if only_look else _BUSY_SECONDS))
        try:
            file._see_that_it_is_one()
            if not only_look:
                told = file.rows("PRAGMA quick_check(1)")
                if told != [("ok",)]:
                    raise spoiled(path, str(told[0][0]) if told else "its check says nothing")
        except BaseException:
            file.close()
            raise
        return file

    def _see_that_it_is_one(self) -> None:
        ((version,),) = self.rows("PRAGMA user_version")
        ((mark,),) = self.rows("PRAGMA application_id")
        if not version and not mark and not self.rows("SELECT 1 FROM sqlite_master LIMIT 1"):
            raise EmptyJournalError(
                f"the journal {self.path} is empty: what made it was killed before it began anything",
                hint="it goes by itself with the next command that moves data",
            )
        if mark != _APPLICATION_ID:
            raise spoiled(self.path, "it is a database of something else")
        if version > FORMAT:
            raise ConfigError(
                f"the journal {self.path} was made by a newer ds3tool: "
                f"its format is {version}, and {FORMAT} is known here",
                hint="resume it with that one; nothing was changed",
            )
        if version < FORMAT:
            with self.writing() as db:
                for number in range(version, FORMAT):
                    if number not in _MIGRATIONS:
                        raise spoiled(self.path, f"no format has the number {number}")
                    _MIGRATIONS[number](db)
                db.execute(f"PRAGMA user_version = {FORMAT}")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Give the connection for one transaction: all of it is safe on the disk afterwards, or nothing is."""
        with _told(self.path, "written"):
            if self._db.in_transaction:  # a second Ctrl-C has cut off the end of the last one
                self._db.rollback()
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.rollback()
                raise

    def rows(self, statement: str, values: Iterable[Any] = ()) -> list[Any]:
        """Return all rows of a question."""
        with _told(self.path, "read"):
            return self._db.execute(statement, tuple(values)).fetchall()

    @contextmanager
    def unpacking(self) -> Iterator[None]:
        """Tell of columns that are not what was written, in one sentence with the file's name."""
        try:
            yield
        except SpoiledColumnsError as error:
            raise spoiled(self.path, str(error)) from error

    def close(self) -> None:
        """Close it; twice does no harm."""
        self._db.close()


def lock_path(path: str) -> str:
    """Return the file that whoever works with the journal at `path` has locked."""
    return path.removesuffix(SUFFIX) + LOCK_SUFFIX


def remove_journal(path: str) -> None:
    """Remove a journal that nobody else holds; one that is gone is no error. The lock's file stays."""
    for each in (path, path + ROLLBACK_SUFFIX):  # what undoes a write must not go before what it belongs to
        with suppress(FileNotFoundError):
            os.unlink(each)


def tidy_up(path: str) -> None:
    """Remove the empty file that SQLite leaves beside a journal, which is closed and held by nobody else."""
    rollback = path + ROLLBACK_SUFFIX
    with suppress(FileNotFoundError):
        if not os.path.getsize(rollback):
            os.unlink(rollback)


def put_away(path: str) -> None:
    """Put the tidy journal of work that is done where only its digests are looked up."""
    if not os.path.lexists(path + ROLLBACK_SUFFIX):  # else something is yet to be undone there
        os.rename(path, os.path.join(os.path.dirname(path), DONE, os.path.basename(path)))


class EmptyJournalError(JournalError):
    """A journal that was never finished making, and so holds nothing."""


def no_journal(path: str) -> PathNotFoundError:
    """Return what to raise for a journal that is not there, or not any more."""
    return PathNotFoundError(f"there is no journal {path}", hint="see what is unfinished here: ds3tool job ls --local")


def spoiled(path: str, how: str) -> JournalError:
    """Return what to raise for a journal that cannot be believed."""
    work_id = os.path.basename(path).removesuffix(SUFFIX)
    return JournalError(
        f"the journal {path} is damaged: {how}",
        hint="what the appliance has is not touched by that: find its job with ds3tool job ls, and go on with it from "
        f"there with ds3tool resume JOB; drop the journal with ds3tool job forget {work_id}",
    )


def _connect(path: str, wait_seconds: float = _BUSY_SECONDS) -> sqlite3.Connection:
    # mode=rw: what somebody has removed just now must not come back empty.
    uri = f"file:{quote_from_bytes(os.fsencode(os.path.abspath(path)))}?mode=rw"
    with _told(path, "opened"):
        db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=wait_seconds, check_same_thread=False)
        try:
            db.execute("PRAGMA trusted_schema = OFF")
            db.execute("PRAGMA cell_size_check = ON")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA journal_mode = TRUNCATE")
        except BaseException:
            db.close()
            raise
    return db


@contextmanager
def _told(path: str, done: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _in_words(path, done, error) from error


def _in_words(path: str, done: str, error: sqlite3.Error) -> Ds3Error:
    name = getattr(error, "sqlite_errorname", "")
    kind = "_".join(name.split("_")[:2])
    if kind in {"SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT"}:
        return spoiled(path, str(error))
    if kind == "SQLITE_FULL":
        return JournalError(
            f"the journal {path} cannot be {done}: the disk is full",
            hint=f"make room there, then go on with: ds3tool resume; or {ELSEWHERE}",
        )
    if kind in {"SQLITE_READONLY", "SQLITE_PERM", "SQLITE_CANTOPEN", "SQLITE_AUTH"}:
        # Only before anything was begun is it a matter of settings alone.
        raised = ConfigError if done == "opened" else JournalError
        return raised(f"the journal {path} cannot be {done}: {error}", hint=_why_not_writable(path))
    if kind in {"SQLITE_BUSY", "SQLITE_LOCKED"}:
        return JournalError(
            f"the journal {path} cannot be {done}: another process has kept it busy for too long",
            hint="see which one has it open (lsof), then try again",
        )
    return JournalError(
        f"the journal {path} cannot be {done}: {error}",
        hint=f"see to the disk (room, quota, errors), then go on with: ds3tool resume; or {ELSEWHERE}",
    )


def _why_not_writable(path: str) -> str:
    for each in (path, os.path.dirname(path)):
        if not os.access(each, os.W_OK):
            return f"see that {each} can be written to, or {ELSEWHERE}"
    return f"see that its folder can be written to ({os.strerror(errno.EROFS).lower()}?), or {ELSEWHERE}"
