"""Makes anew the copies that blobs lack: of what the cache still has, else of a good copy on another tape.

A batch at a time: a drive reads it from its tape into files of the appliance's own, then a drive writes it to a tape of
the storage domain that lacks it; what the cache has is only written. A copy that is there may be read by jobs at once.
Without a source within reach, or without room on a tape, the blobs stay degraded until tapes change.

That there may be something to do is remembered in the store, with what made it so; an appliance in which nothing was
ever lost or given up never looks through its blobs. What it was at when it died is begun again.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import shutil
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import ChecksumType
from ds3tool.simulator.events import TapeChanged, TapeForgotten
from ds3tool.simulator.tapes.degraded import MISSING
from ds3tool.simulator.tapes.ledger import Spent
from ds3tool.simulator.tapes.media import BadCopyError, BlobOnTape, ClosingError, copy_out, load, opened
from ds3tool.simulator.tapes.tasks import DriveTask, TaskAbortedError, TaskState
from ds3tool.simulator.tapes.verification import distrust

if TYPE_CHECKING:
    from ds3tool.simulator.machine import Machine
    from ds3tool.simulator.tapes.drive import Drive
    from ds3tool.simulator.tapes.tape import Tape

_log = logging.getLogger(__name__)

_FLAG = "degraded"
_BATCH_BLOBS = 200
_BATCH_BYTES = 256 << 20
_COLUMNS = "b.n, b.length, b.checksum_type, b.checksum, r.domain, r.isolated, k.id, r.priority"
_OWNERS = (
    "CROSS JOIN objects o ON o.n = b.object CROSS JOIN buckets k ON k.n = o.bucket "
    "CROSS JOIN rules r ON r.policy = k.data_policy_id"
)
_IN_CACHE = (
    f"SELECT {_COLUMNS}, 0 FROM blobs b {_OWNERS} "  # noqa: S608 - constants
    f"WHERE b.cached = 1 AND b.n > ? AND {MISSING} ORDER BY b.n LIMIT ?"
)
_ON_TAPE = (
    f"SELECT {_COLUMNS}, s.position FROM copies s CROSS JOIN blobs b ON b.n = s.blob {_OWNERS} "  # noqa: S608 - constants
    f"WHERE s.tape = ? AND s.suspect = 0 AND (s.position, s.blob) > (?, ?) AND {MISSING} "
    "ORDER BY s.position, s.blob LIMIT ?"
)


@dataclass(slots=True)
class _Batch:
    """Blobs that lack a copy in one storage domain; `bucket` (an id) when the domain keeps buckets apart.

    `source`: the tape that they are read from, None for the cache. `read`: those that have been. `progress`: whether
    there is a copy more, or a tape less to try.
    """

    source: Tape | None
    domain: str
    bucket: str | None
    priority: str
    blobs: list[BlobOnTape]
    read: list[BlobOnTape] = field(default_factory=list)
    progress: bool = False


class Rebuilder:
    """The one rebuild of a machine that is under way at a time. Methods are called with the store's lock held."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._directory = machine.directory / "rebuild"
        self._due = machine.store.meta(_FLAG) == "1"
        self._task: DriveTask | None = None
        # Where the search is: the row of the tape, 0 for the cache; and of that the last position and blob seen.
        self._place = (0, -1, -1)
        # Whether this search has found anything; it begins anew until one has not.
        self._found = False
        # What can be read from and written to when a search came to nothing; None while none has.
        self._tapes: frozenset[tuple[int, bool, bool]] | None = None
        self._lost: frozenset[int] = frozenset()
        machine.store.events.listen(TapeForgotten, lambda _: self.need())
        machine.store.events.listen(TapeChanged, self._tape_changed)
        machine.beans.watch("DataPersistenceRule", self.need)

    def resume(self) -> None:
        """After a start: go on with what was to be done."""
        shutil.rmtree(self._directory, ignore_errors=True)
        self.look()

    def need(self) -> None:
        """Note that copies may be missing, in the transaction that made it so, and look once it is committed."""
        with self._machine.store.writing():
            self._machine.store.remember(_FLAG, "1")
            self._machine.store.after_commit(self._begin)

    def _begin(self) -> None:
        self._due, self._tapes = True, None
        self._found = True  # a search that is under way has passed what is new: another one follows it
        self.look()

    def _tape_changed(self, event: TapeChanged) -> None:
        lost = event.tape.state == "LOST" and event.tape.n not in self._lost
        if lost or self._tapes is not None or self._task is not None:  # its tape may be the one that goes
            self._machine.store.after_commit(self.look)

    def look(self) -> None:
        """Begin the next batch, when one is due and none is under way."""
        self._notice_lost_tapes()
        task = self._task
        if task is not None:
            if task.state is TaskState.READY and task.when is not None and not task.when():
                self._machine.drives.cancel(task)  # its tape has been taken away; `_finished` looks for others
            return
        if not self._due or self._machine.jobs.closing:
            return
        if self._tapes is not None and self._tapes == self._reach():
            return
        batch = self._next_batch()
        if batch is not None:
            self._tapes = None
            self._found = True
            if batch.source is None:
                batch.read = batch.blobs
                self._write(batch)
            else:
                self._read(batch)
        elif self._machine.degraded.has():
            self._tapes = self._reach()
        else:
            self._due, self._tapes = False, None
            self._machine.store.remember(_FLAG, "")

    def _notice_lost_tapes(self) -> None:
        lost = frozenset(tape.n for tape in self._machine.library.tapes.values() if tape.state == "LOST")
        new, self._lost = lost - self._lost, lost
        if new and not self._due:
            self._machine.store.remember(_FLAG, "1")
            self._due, self._tapes = True, None

    def _reach(self) -> frozenset[tuple[int, bool, bool]]:
        return frozenset((tape.n, tape.usable, tape.writable) for tape in self._machine.library.tapes.values())

    # What next.

    def _next_batch(self) -> _Batch | None:
        """Return the next blobs to make copies of; None when a whole search has found none."""
        while True:
            for tape_n in self._places():
                batch = self._batch_of(tape_n)
                if batch is not None:
                    return batch
            self._place = (0, -1, -1)
            if not self._found:
                return None
            self._found = False

    def _places(self) -> list[int]:
        usable = [tape.n for tape in self._machine.library.tapes.values() if tape.usable and tape.domain_id is not None]
        return [number for number in (0, *sorted(usable)) if number >= self._place[0]]

    def _batch_of(self, tape_n: int) -> _Batch | None:
        """Return the next batch of one place, and move on to behind it, or behind all of the place."""
        place, position, blob = self._place if tape_n == self._place[0] else (tape_n, -1, -1)
        table, values = self._machine.degraded.rules_table()
        if not table:
            return None
        query, after = (_ON_TAPE, (place, position, blob)) if tape_n else (_IN_CACHE, (blob,))
        rows = self._machine.store.db.execute(f"{table} {query}", (*values, *after, _BATCH_BLOBS)).fetchall()
        self._place = (tape_n + 1, -1, -1)
        if not rows:
            return None
        _, _, _, _, domain, isolated, bucket, priority, _ = rows[0]
        batch = _Batch(
            self._machine.library.tapes[tape_n] if tape_n else None, domain, bucket if isolated else None, priority, []
        )
        size = 0
        for number, length, kind, checksum, where, apart, of_bucket, _, at in rows:
            if batch.blobs and size + length > _BATCH_BYTES:
                break
            self._place = (tape_n, at, number)
            if (where, of_bucket if apart else None) == (batch.domain, batch.bucket):
                batch.blobs.append(BlobOnTape(number, length, ChecksumType(kind), checksum, at))
                size += length
        return batch

    # What is done.

    def _submit(self, batch: _Batch, name: str, tape: Tape, *, writes: bool) -> None:
        work = functools.partial(self._perform_write if writes else self._perform_read, batch, tape)
        self._task = DriveTask(
            name,
            f"{name} {tape.bar_code}, {len(batch.blobs)} blobs",
            work,
            tape=tape,
            priority=batch.priority,
            when=lambda: self._fits(batch, tape) if writes else tape.usable,
            finished=functools.partial(self._finished, batch, writes=writes),
        )
        self._machine.drives.submit(self._task)

    def _fits(self, batch: _Batch, tape: Tape) -> bool:
        """Whether a batch may be written to a tape: an empty one may have become another storage domain's meanwhile."""
        return tape.writable and self._machine.library.takes(tape, batch.domain, batch.bucket)

    def _read(self, batch: _Batch) -> None:
        assert batch.source is not None, "what the cache has is not read from a tape"
        self._directory.mkdir(exist_ok=True)
        self._submit(batch, "ReadForRebuild", batch.source, writes=False)

    def _write(self, batch: _Batch) -> None:
        """Have a batch written; without a tape that has room it is left alone until tapes change."""
        library = self._machine.library
        fitting = library.tapes_with_room(batch.domain, batch.bucket, batch.read[0].length) if batch.read else []
        if fitting:
            self._submit(batch, "WriteForRebuild", fitting[0], writes=True)
        else:
            self._end(batch)

    def _finished(self, batch: _Batch, error: Exception | None, *, writes: bool) -> None:
        self._task = None
        if isinstance(error, ClosingError):
            return
        batch.progress |= isinstance(error, TaskAbortedError)  # its tape is no choice any more: there may be others
        if error is not None and not isinstance(error, TaskAbortedError | BadCopyError):
            _log.error("copies could not be made anew: %s", error, exc_info=error)
        if error is None and not writes:
            self._write(batch)
        else:
            self._end(batch)

    def _end(self, batch: _Batch) -> None:
        if batch.source is not None:
            for each in batch.blobs:
                with contextlib.suppress(FileNotFoundError):
                    self._path(each).unlink()
        if batch.progress:
            self._machine.drives.reconsider()
        else:
            self._found = False  # what cannot be done now is not tried again before tapes change
        self.look()

    def _path(self, each: BlobOnTape) -> Path:
        return self._directory / str(each.blob)

    def _perform_read(self, batch: _Batch, tape: Tape, drive: Drive) -> None:
        batch.read = []
        with opened(self._machine.library.path(tape), os.O_RDONLY) as source:
            for each in batch.blobs:
                drive.check()
                drive.locate(each.position)
                drive.stream(each.length, Spent.READ)
                try:
                    if tape.damaged:
                        raise BadCopyError("no drive can read the tape")
                    if each.length:
                        load(source, each, str(self._path(each)), drive.stopped, lambda: False)
                except BadCopyError:
                    with self._machine.store.writing() as db:
                        distrust(self._machine, db, each.blob, tape)
                else:
                    batch.read.append(each)

    def _perform_write(self, batch: _Batch, tape: Tape, drive: Drive) -> None:
        machine = self._machine
        at, full = tape.written, False
        made: list[tuple[int, int]] = []
        drive.locate(at)
        with opened(machine.library.path(tape), os.O_RDWR | os.O_CREAT) as target:
            for each in batch.read:
                drive.check()
                if at + each.length > tape.capacity:
                    full = True
                    break
                path = machine.cache.path(each.blob) if batch.source is None else str(self._path(each))
                try:
                    if each.length:
                        copy_out(path, each.length, target, at, drive.stopped)
                except FileNotFoundError:  # deleted, or it has left the cache
                    continue
                drive.stream(each.length, Spent.WRITE)
                made.append((each.blob, at))
                at += each.length
        drive.settle()
        with machine.store.writing() as db:
            if not tape.keeps:
                raise TaskAbortedError(f"The tape {tape.bar_code} is {tape.state}.")
            db.executemany(
                "INSERT OR REPLACE INTO copies (blob, domain, tape, position) SELECT n, ?, ?, ? FROM blobs WHERE n = ?",
                [(batch.domain, tape.n, position, blob) for blob, position in made],
            )
            db.executemany("UPDATE blobs SET persisted = 1 WHERE n = ?", [(blob,) for blob, _ in made])
            member = machine.library.member(batch.domain, tape)
            tape.written, tape.full = at, tape.full or full
            tape.domain_id, tape.bucket_id = batch.domain, tape.bucket_id or batch.bucket
            tape.member_id = tape.member_id or (None if member is None else str(member["Id"]))
            tape.modified = tape.accessed = machine.clock.now()
            machine.library.save(tape)
            batch.progress = bool(made) or full
