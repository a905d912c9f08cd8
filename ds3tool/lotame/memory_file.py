"""A small file that remembers: SQLite, one run at a time, every change safe on the disk before it counts."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ds3tool.errors import ConfigError, Ds3Error, JournalError, LockedError

_ELSEWHERE = "keep what ds3tool remembers on a local disk: --state-dir DIR or DS3TOOL_STATE_DIR"
# "DS3L": what tells this file from others of SQLite.
_APPLICATION_ID = 0x4453334C
_FORMAT = 2


class MemoryFile:
    """An open file, locked until `close`. Every error of SQLite leaves it as a Ds3Error that names the file.

    It is for one thread at a time; whoever has several holds a lock of their own.
    """

    def __init__(self, path: str, db: sqlite3.Connection, lock: int) -> None:
        """`open` makes them."""
        self.path = path
        self._db = db
        self._lock: int | None = lock

    @classmethod
    def open(cls, path: str, tables: str, what: str) -> MemoryFile:
        """Open `path`, made with these tables when it is not there, readable to this user alone.

        LockedError, which names `what`, when another process (or this one) has it open.
        """
        folder = os.path.dirname(path)
        try:
            _make_folder(folder)
            lock = _locked(f"{path}.lock", what)
        except OSError as error:
            raise _folder_error(folder, error) from error
        try:
            return cls(path, _connected(path, tables), lock)
        except BaseException:
            os.close(lock)
            raise

    @property
    def is_open(self) -> bool:
        """Whether it was not closed yet."""
        return self._lock is not None

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give the connection to read by; JournalError when it cannot be read."""
        try:
            yield self._db
        except sqlite3.Error as error:
            raise _spoiled(self.path, error) from error

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Give the connection inside a transaction: at the end all of it is safe on the disk, or none came true."""
        with self.reading() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close it and let others have it; may be called twice."""
        if self._lock is not None:
            lock, self._lock = self._lock, None
            try:
                self._db.close()
            finally:
                os.close(lock)


def _connected(path: str, tables: str) -> sqlite3.Connection:
    is_new = not os.path.exists(path)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise _folder_error(os.path.dirname(path), error) from error
    try:
        db.execute("PRAGMA journal_mode = TRUNCATE")
        db.execute("PRAGMA synchronous = FULL")
        (kind,), (version,) = (db.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version"))
        if (kind, version) == (0, 0) and db.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,):
            db.execute("BEGIN IMMEDIATE")
            for statement in tables.split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {_FORMAT}")
            db.execute("COMMIT")
        elif kind != _APPLICATION_ID:
            raise JournalError(f"{path} is not a file of ds3tool", hint="move it away")
        elif version != _FORMAT:
            raise JournalError(f"{path} was written by another version of ds3tool", hint="use that version again")
        if is_new:
            _sync_folder(os.path.dirname(path))
    except sqlite3.Error as error:
        db.close()
        raise _spoiled(path, error) from error
    except OSError as error:
        db.close()
        raise _folder_error(os.path.dirname(path), error) from error
    except BaseException:
        db.close()
        raise
    return db


def _locked(path: str, what: str) -> int:
    """Lock the file, write into it who did, and return its descriptor; a dead process holds no lock."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip()
            by = f" by {holder}" if holder else " by another process"
            raise LockedError(f"{what} is being worked on{by}", hint="wait until that run has ended") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _make_folder(folder: str) -> None:
    if os.path.isdir(folder):
        return
    above = os.path.dirname(folder)
    os.makedirs(above, mode=0o700, exist_ok=True)
    with suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    for each in (above, os.path.dirname(os.path.abspath(above))):
        with suppress(PermissionError):  # one may write there, and not read
            _sync_folder(each)


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that does not know how
            raise
    finally:
        os.close(descriptor)


def _folder_error(folder: str, error: OSError | sqlite3.Error) -> Ds3Error:
    said = error.strerror if isinstance(error, OSError) else str(error)
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return JournalError(f"there is no room in {folder}: {said}", hint=f"make room, or {_ELSEWHERE}")
    return ConfigError(f"nothing can be remembered in {folder}: {said}", hint=_ELSEWHERE)


def _spoiled(path: str, error: sqlite3.Error) -> JournalError:
    code = getattr(error, "sqlite_errorname", "")
    if code == "SQLITE_FULL":
        return JournalError(f"there is no room for {path}", hint=f"make room, or {_ELSEWHERE}")
    if code.startswith("SQLITE_IOERR") or code in {"SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_BUSY"}:
        return JournalError(f"{path} cannot be read or written: {error}", hint="does its disk still work?")
    return JournalError(
        f"{path} is damaged: {error}",
        hint="move it away: then all that Lotame still has is looked at again",
    )
