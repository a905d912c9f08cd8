"""What was had of Lotame's feeds: how far each was archived, and which files, for one destination.

A run asks for what is new since the watermark less an overlap; what it was told is noted (`asked`), each file that is
safely archived too (`had`), and the watermark moves to when the question was answered once every file of the answer
is (`advance`). A run that is late asks for more, one that failed in part leaves the watermark where it was, and files
that come twice are known by feed, name and ETag.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

from ds3tool.lazy_dataclass import dataclass
from ds3tool.lotame.memory_file import MemoryFile
from ds3tool.lotame.model import Updates

# A file may be published somewhat later than the hour that it is of, and clocks differ.
OVERLAP = timedelta(hours=3)
FOLDER = "lotame"
# What was had is remembered for so long behind what is asked for: a file that an answer left out may be in the next.
_REMEMBERED = timedelta(days=7)
_EPOCH = datetime.fromtimestamp(0, UTC)
_BEGINNING = -1
# Times are microseconds since 1970, `_BEGINNING` before all of them. `since` and `answered` are of the last question;
# `newest`: of files of an answer that did not tell its time, S3's time of the newest that was looked at, else NULL;
# `floor`: an earlier one with this `since` has left files behind; `etag`: what the file was when it was last looked at,
# `done`: that is had. `owed`: a feed's mapping file, which is in no list, that was to be had and was not yet.
# `missed`: what was outstanding of an earlier answer and is not in the last one, until somebody was told.
_TABLES = """
CREATE TABLE destination (name BLOB NOT NULL);
CREATE TABLE feeds (
    feed INTEGER PRIMARY KEY, watermark INTEGER, since INTEGER, answered INTEGER, floor INTEGER, newest INTEGER
);
CREATE TABLE listed (
    feed INTEGER NOT NULL, file BLOB NOT NULL, done INTEGER NOT NULL, etag BLOB, PRIMARY KEY (feed, file)
) WITHOUT ROWID;
CREATE TABLE missed (feed INTEGER NOT NULL, file BLOB NOT NULL, PRIMARY KEY (feed, file)) WITHOUT ROWID;
CREATE TABLE owed (feed INTEGER PRIMARY KEY, file BLOB NOT NULL);
CREATE TABLE had (
    feed INTEGER NOT NULL, file BLOB NOT NULL, etag BLOB NOT NULL, listed INTEGER NOT NULL,
    PRIMARY KEY (feed, file, etag)
) WITHOUT ROWID
"""


@dataclass(frozen=True, slots=True)
class HadFile:
    """A file that is archived: its feed, its name as Lotame lists it, and the ETag that S3 had for it."""

    feed_id: int
    file: str
    etag: str


class Watermarks:
    """What one destination has of all feeds; nobody else may change it until `close`. Any thread may call any method.

    Each change is safe on the disk, whole or not at all, when its method returns.
    """

    def __init__(self, file: MemoryFile, overlap: timedelta) -> None:
        """`open` makes them."""
        self._file = file
        self._overlap = overlap
        self._lock = threading.Lock()
        self._seen: list[tuple[int, bytes, bytes, int, int]] = []

    @classmethod
    def open(cls, state: str | os.PathLike[str], destination: str, *, overlap: timedelta = OVERLAP) -> Watermarks:
        """Open what stands in `state`/lotame of a destination (`ds3://bucket/lotame/`, a folder's path).

        LockedError when another run has it; ConfigError when nothing can be kept there, JournalError when it is
        damaged or the disk full.
        """
        digest = hashlib.sha256(destination.encode("utf-8", "surrogatepass")).hexdigest()[:24]
        path = os.path.join(os.fspath(state), FOLDER, f"{digest}.db")
        file = MemoryFile.open(path, _TABLES, f"what was had of Lotame for {destination}")
        try:
            with file.writing() as db:
                if db.execute("SELECT count(*) FROM destination").fetchone() == (0,):
                    db.execute("INSERT INTO destination VALUES (?)", (_told(destination),))
        except BaseException:
            file.close()
            raise
        return cls(file, overlap)

    def since(self, feed_id: int) -> datetime | None:
        """Return since when to ask for a feed; None (from the beginning) for one that was never asked for.

        That is its watermark less the overlap, or earlier, where an earlier question has left files behind.
        """
        with self._lock, self._file.reading() as db:
            needed = self._needed(db, feed_id)
        return None if needed is None or needed == _BEGINNING else _moment(needed)

    def _needed(self, db: sqlite3.Connection, feed_id: int) -> int | None:
        """Return since when to ask, so that nothing is missed; None when nothing is known of the feed."""
        row = db.execute("SELECT watermark, since, floor FROM feeds WHERE feed = ?", (feed_id,)).fetchone()
        if row is None:
            return None
        mark, since, floor = row
        starts = [] if mark is None else [max(0, mark - _length(self._overlap))]
        if floor is not None:
            starts.append(floor)
        if _is_outstanding(db, feed_id):
            starts.append(since)
        return min(starts, default=None)

    def watermark(self, feed_id: int) -> datetime | None:
        """Return up to when all of a feed is archived; None for a feed never had."""
        with self._lock, self._file.reading() as db:
            row = db.execute("SELECT watermark FROM feeds WHERE feed = ?", (feed_id,)).fetchone()
        return None if row is None or row[0] is None else _moment(row[0])

    def feeds(self) -> list[int]:
        """Return the numbers of all feeds that anything is remembered of."""
        with self._lock, self._file.reading() as db:
            return [feed for (feed,) in db.execute("SELECT feed FROM feeds ORDER BY feed")]

    def asked(self, updates: Updates) -> None:
        """Note an answer: its files are now what must be had, for each feed in it, before that feed's mark moves."""
        since = _BEGINNING if updates.since is None else _micros(updates.since)
        at = _micros(updates.at)
        with self._changing() as db:
            for feed in updates.feeds:
                if _is_outstanding(db, feed.feed_id):
                    db.execute(
                        "UPDATE feeds SET floor = min(coalesce(floor, since), since) WHERE feed = ?", (feed.feed_id,)
                    )
                db.execute(
                    "INSERT INTO feeds (feed, since, answered, newest) VALUES (?, ?, ?, ?) "
                    "ON CONFLICT (feed) DO UPDATE SET since = excluded.since, answered = excluded.answered, "
                    "newest = excluded.newest",
                    (feed.feed_id, since, at, None if updates.is_dated else 0),
                )
                db.execute(
                    "INSERT OR IGNORE INTO missed SELECT feed, file FROM listed WHERE feed = ? AND done = 0",
                    (feed.feed_id,),
                )
                db.execute("DELETE FROM listed WHERE feed = ?", (feed.feed_id,))
                named = [(feed.feed_id, _told(file)) for file in feed.files]
                db.executemany("INSERT OR IGNORE INTO listed VALUES (?, ?, 0, NULL)", named)
                db.executemany("DELETE FROM missed WHERE feed = ? AND file = ?", named)
                db.executemany("UPDATE had SET listed = max(listed, ?) WHERE feed = ? AND file = ?", _led(at, named))

    def recall(self, feed_id: int, file: str, etag: str, *, modified: datetime | None = None) -> bool:
        """Take note of what a file of the last answer is now; return whether this very file was archived before.

        Then it counts as had; else only when a file with this ETag is. `modified` is S3's time of it. All that is safe
        on the disk with the next change: if it never gets there, the file is only asked for again.
        """
        name = (feed_id, _told(file), _told(plain_etag(etag)))
        with self._lock, self._file.reading() as db:
            row = db.execute("SELECT 1 FROM had WHERE feed = ? AND file = ? AND etag = ?", name).fetchone()
            known = row is not None
            self._seen.append((*name, int(known), 0 if modified is None else _micros(modified)))
        return known

    def keep(self) -> None:
        """Make what was recalled safe on the disk."""
        with self._changing():
            pass

    def owe(self, feed_id: int, file: str) -> None:
        """Note that a feed's mapping file, by this name, is to be had; no mark waits for it."""
        with self._changing() as db:
            db.execute("INSERT OR REPLACE INTO owed VALUES (?, ?)", (feed_id, _told(file)))

    def owes(self, feed_id: int) -> bool:
        """Return whether a feed's mapping file was to be had and was not, under whatever name."""
        with self._changing() as db:
            return db.execute("SELECT 1 FROM owed WHERE feed = ?", (feed_id,)).fetchone() is not None

    def had(self, files: Iterable[HadFile]) -> None:
        """Note files that are safely archived now; once more does no harm. Many at once cost little more than one.

        What is another file by now, as `recall` was told, stays outstanding; so does what was not looked at yet.
        """
        with self._changing() as db:
            for one in files:
                name = (one.feed_id, _told(one.file), _told(plain_etag(one.etag)))
                db.execute(
                    "INSERT OR IGNORE INTO had VALUES (?, ?, ?, coalesce("
                    "(SELECT answered FROM feeds WHERE feed = ?), 0))",
                    (*name, one.feed_id),
                )
                db.execute("UPDATE listed SET done = 1 WHERE feed = ? AND file = ? AND etag = ?", name)
                for table in ("owed", "missed"):
                    db.execute(f"DELETE FROM {table} WHERE feed = ? AND file = ?", name[:2])  # noqa: S608

    def outstanding(self, feed_id: int) -> list[str]:
        """Return the files of a feed's last answer that are not had yet, in order of their names."""
        with self._changing() as db:
            rows = db.execute("SELECT file FROM listed WHERE feed = ? AND done = 0 ORDER BY file", (feed_id,))
            return [_text(file) for (file,) in rows]

    def missed(self, feed_id: int) -> list[str]:
        """Return the files of a feed's earlier answers that were not had, that the last one does not name, by name."""
        with self._changing() as db:
            rows = db.execute("SELECT file FROM missed WHERE feed = ? ORDER BY file", (feed_id,))
            return [_text(file) for (file,) in rows]

    def told(self, feed_id: int, files: Iterable[str]) -> None:
        """Note that somebody was told of files that were `missed`."""
        with self._changing() as db:
            db.executemany("DELETE FROM missed WHERE feed = ? AND file = ?", [(feed_id, _told(one)) for one in files])

    def advance(self, feed_id: int) -> bool:
        """Move a feed's watermark to when its last answer was given; return whether it stands there, or beyond.

        Where only this host's clock tells when that was, it moves to S3's time of the newest file that was looked at:
        a clock that is ahead would leave out what comes until then.

        It does not move while a file of that answer is outstanding, nor where the question began later than `since`
        says, nor backwards. What was had long before the watermark is forgotten.
        """
        with self._changing() as db:
            columns = "watermark, since, answered, newest"
            row = db.execute(f"SELECT {columns} FROM feeds WHERE feed = ?", (feed_id,)).fetchone()  # noqa: S608
            if row is None or _is_outstanding(db, feed_id):
                return False
            mark, since, answered, newest = row
            needed = self._needed(db, feed_id)
            if needed is not None and since > needed:
                return False
            if newest == 0:
                return False  # nothing but our clock told any time
            reached = answered if newest is None else min(answered, newest)
            mark = reached if mark is None else max(mark, reached)
            db.execute("UPDATE feeds SET watermark = ?, floor = NULL WHERE feed = ?", (mark, feed_id))
            oldest = mark - _length(self._overlap + _REMEMBERED)
            db.execute("DELETE FROM had WHERE feed = ? AND listed < ?", (feed_id, oldest))
        return True

    def close(self) -> None:
        """Let others have it; may be called twice."""
        with self._lock:
            try:
                if self._seen and self._file.is_open:
                    with self._file.writing() as db:
                        self._note_seen(db)
            finally:
                self._file.close()

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            with self._file.writing() as db:
                self._note_seen(db)
                yield db
            self._seen.clear()

    def _note_seen(self, db: sqlite3.Connection) -> None:
        # One by one, each would wait for the disk.
        found = [one[:4] for one in self._seen]
        db.executemany("UPDATE listed SET etag = ?3, done = ?4 WHERE feed = ?1 AND file = ?2", found)
        db.executemany(
            "UPDATE had SET listed = max(listed, coalesce((SELECT answered FROM feeds WHERE feed = ?1), 0)) "
            "WHERE feed = ?1 AND file = ?2 AND ?4",
            found,
        )
        db.executemany("DELETE FROM owed WHERE feed = ?1 AND file = ?2 AND ?4", found)
        db.executemany("UPDATE feeds SET newest = max(newest, ?5) WHERE feed = ?1", self._seen)

    def __enter__(self) -> Self:
        """Return this."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let others have it."""
        self.close()


def plain_etag(etag: str) -> str:
    """Return an ETag without its quotes and without what calls it weak."""
    return etag.strip().removeprefix("W/").strip('"')


def _is_outstanding(db: sqlite3.Connection, feed_id: int) -> bool:
    return db.execute("SELECT 1 FROM listed WHERE feed = ? AND done = 0 LIMIT 1", (feed_id,)).fetchone() is not None


def _micros(moment: datetime) -> int:
    return _length(moment - _EPOCH)


def _length(length: timedelta) -> int:
    return length // timedelta(microseconds=1)


def _moment(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def _told(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(kept: bytes) -> str:
    return kept.decode("utf-8", "surrogatepass")


def _led(at: int, named: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, int, bytes]]:
    for feed, file in named:
        yield at, feed, file
