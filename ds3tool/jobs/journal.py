"""The journal of a piece of work: what it is to do and how far it has come, so that it outlives any kill.

A piece of work is what one command moves: one direction, one bucket, one or several planned jobs, and one file below
the state folder. What must not be lost (plans, job ids, deletions, ends) is on the disk when the call returns; blobs
and arrivals are gathered for a quarter of a second, since the appliance and the target know of them too.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from ds3tool.clock import Clock, RealClock
from ds3tool.errors import Ds3Error
from ds3tool.jobs.ends import Failure
from ds3tool.jobs.journal_columns import pack_text, unpack_text
from ds3tool.jobs.journal_failures import all_told, read_untold, without, write_failures
from ds3tool.jobs.journal_file import SUFFIX, JournalFile, lock_path, no_journal, put_away, remove_journal, tidy_up
from ds3tool.jobs.journal_rows import (
    fingerprint,
    forget_blobs,
    forget_objects,
    read_appeared,
    read_arriving,
    read_moved,
    read_objects,
    write_appeared,
    write_arriving,
    write_moved,
    write_objects,
)
from ds3tool.jobs.plan import PlannedJob
from ds3tool.jobs.recorder import Arriving, MovedBlobs
from ds3tool.jobs.remainder import Remainder
from ds3tool.jobs.state_folder import StatePath, jobs_folder, refuse_network
from ds3tool.jobs.work_head import WorkHead, new_work_id, read_head
from ds3tool.jobs.work_lock import WorkLock
from ds3tool.jobs.works import prune
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import ChecksumType, Job, JobType

__all__ = ["Journal", "WorkHead", "new_work_id"]

_log = logging.getLogger(__name__)

# Blobs wait so long to be recorded, or ten times as long as the last time took: a slow disk then costs a tenth.
_GATHER_SECONDS = 0.25
_GATHER_FACTOR = 10.0
_MOST_GATHERED = 20_000


@dataclass(slots=True)
class _Plan:
    """A plan as the journal has it: how many objects, and their fingerprint."""

    number: int
    objects: int
    seen: bytes
    job_id: str | None = None
    finished: bool = False


@dataclass(slots=True)
class _Gathered:
    """What is not written yet, in the order in which it was told; by number of the plan."""

    moved: dict[int, list[MovedBlobs]] = field(default_factory=dict)
    arriving: dict[tuple[int, int, int], tuple[int, int]] = field(default_factory=dict)
    appeared: dict[int, list[Sequence[int]]] = field(default_factory=dict)
    failures: list[tuple[str | None, Failure, float]] = field(default_factory=list)
    statuses: dict[int, str] = field(default_factory=dict)
    since: float | None = None
    count: int = 0


class Journal:
    """A `Recorder` that lasts. One process works with it at a time; close it, or use it as a context manager.

    A method that cannot write raises JournalError. What was gathered is kept then, and written with the next that
    succeeds.
    """

    def __init__(self, file: JournalFile, lock: WorkLock, clock: Clock, head: WorkHead) -> None:
        """`create` and `open` make journals."""
        self.head = head
        self._file = file
        self._lock = lock
        self._clock = clock
        self._planning = True
        self._concluded = False
        self._made_here = False
        self._dropped = False
        self._failed_to_write = False
        self._closed = False
        self._plans: dict[str, _Plan] = {}
        self._by_job: dict[str, _Plan] = {}
        # The plan that was told, or read, last: it need not be compared with what is written.
        self._last: PlannedJob | None = None
        self._gathered = _Gathered()
        # Blobs under way that the file knows of: few, and looked up for each blob that is through.
        self._arriving: set[tuple[int, int, int]] = set()
        self._gather_seconds = _GATHER_SECONDS

    # -- making, opening, ending -----------------------------------------------------------------------------------

    @classmethod
    def create(cls, state_folder: StatePath, head: WorkHead, *, clock: Clock | None = None) -> Journal:
        """Begin a new journal in `state_folder`, and hold it.

        Journals of work that was done long ago are removed. Raises ConfigError where nothing can be kept, JournalError
        when the disk is full.
        """
        clock = clock or RealClock()
        folder = jobs_folder(state_folder)
        prune(state_folder, now=clock.time())
        path = os.path.join(folder, head.id + SUFFIX)
        lock = WorkLock.take(lock_path(path), f"work {head.id}", clock=clock)
        try:
            file = JournalFile.create(path, head.id, head.to_json(), head.begun.timestamp())
        except BaseException:
            lock.release()
            raise
        journal = cls(file, lock, clock, head)
        journal._made_here = True
        return journal

    @classmethod
    def open(cls, path: str, *, clock: Clock | None = None) -> Journal:
        """Open the journal of an earlier run, and hold it.

        Raises LockedError when another process works with it, ConfigError for one of a newer ds3tool, JournalError for
        one that is damaged or empty, PathNotFoundError when there is none.
        """
        clock = clock or RealClock()
        work_id = os.path.basename(path).removesuffix(SUFFIX)
        if not os.path.lexists(path):
            raise no_journal(path)
        refuse_network(os.path.dirname(os.path.abspath(path)))
        lock = WorkLock.take(lock_path(path), f"work {work_id}", clock=clock)
        try:
            file = JournalFile.open(path)
            try:
                journal = cls(file, lock, clock, read_head(file))
                journal._load()
            except BaseException:
                file.close()
                raise
        except BaseException:
            lock.release()
            raise
        return journal

    def _load(self) -> None:
        ((planning, concluded),) = self._file.rows("SELECT planning, concluded FROM work")
        self._planning, self._concluded = bool(planning), concluded is not None
        for number, name, objects, seen, job_id, finished in self._file.rows(
            "SELECT number, name, objects, fingerprint, job_id, finished FROM plans ORDER BY number"
        ):
            plan = _Plan(number, objects, seen, job_id, bool(finished))
            self._plans[unpack_text(name)] = plan
            if job_id is not None:
                self._by_job[job_id] = plan
        self._arriving = set(self._file.rows("SELECT plan, owner, offset FROM arriving"))

    @property
    def lasting(self) -> bool:
        """Whether a run that is stopped leaves its jobs to be resumed: all but one whose bytes can be had only once."""
        return self.head.asked.get("stream") is not True

    @property
    def path(self) -> str:
        """The journal's file."""
        return self._file.path

    @property
    def planning(self) -> bool:
        """Whether its plans are not all there yet: then nothing was begun."""
        return self._planning

    @property
    def concluded(self) -> bool:
        """Whether all of the work is done."""
        return self._concluded

    @property
    def unfinished(self) -> int:
        """How many of its plans have something left to do."""
        return sum(not plan.finished for plan in self._plans.values())

    @property
    def job_ids(self) -> tuple[str, ...]:
        """Its jobs on the appliance, those that have ended too, in the order of the plans."""
        return tuple(plan.job_id for plan in self._plans.values() if plan.job_id is not None)

    def drop(self) -> None:
        """Let nothing be left of it once it is closed: nothing of the work was begun, or nobody can go on with it."""
        self._dropped = True

    def conclude(self) -> None:
        """The work is done. Of a put, what is known of its objects' digests is kept for a month."""
        with self._writing() as db:
            db.execute("UPDATE work SET concluded = ?", (self._clock.time(),))
        self._concluded = True

    def close(self) -> None:
        """Write what has gathered, and let go of the journal; one that this process made and only planned is removed.

        Raises JournalError when something cannot be written, unless another method has raised that before.
        """
        if self._closed:
            return
        self._closed = True
        is_told = self._failed_to_write
        try:
            if self._gathered.since is not None:
                self.flush()
        except Ds3Error as error:
            if not is_told:
                raise
            _log.error("the last of work %s is not recorded: %s", self.head.id, error)
        finally:
            self._file.close()
            self._put_away()
            self._lock.release()

    def _put_away(self) -> None:
        """Leave the file where it belongs, while the lock is held."""
        try:
            if (
                self._dropped
                or (self._made_here and self._planning)
                or (self._concluded and self.head.type != JobType.PUT)
            ):
                remove_journal(self.path)
                return
            tidy_up(self.path)
            if self._concluded:
                put_away(self.path)
        except OSError as error:
            _log.warning("%s stays where it is: %s", self.path, error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- writing ---------------------------------------------------------------------------------------------------

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Write what has gathered and what the block adds, in one transaction: all of it is safe then, or nothing."""
        gathered, arriving = self._gathered, self._arriving
        try:
            with self._file.writing() as db:
                if gathered.since is not None:
                    self._write_gathered(db, gathered)
                yield db
        except BaseException as error:
            self._arriving = arriving
            self._failed_to_write = isinstance(error, Ds3Error)
            raise
        # A Ctrl-C right here leaves what is written to be written again: whoever reads takes what came last.
        self._gathered = _Gathered()
        self._failed_to_write = False

    def flush(self) -> None:
        """Write what has gathered."""
        with self._writing():
            pass

    def _gathering(self, count: int = 1) -> _Gathered:
        """Return what something is about to be added to."""
        gathered = self._gathered
        gathered.count += count
        if gathered.since is None:
            gathered.since = self._clock.monotonic()
        return gathered

    def _flush_if_due(self) -> None:
        gathered = self._gathered
        if gathered.since is None:
            return
        waited = self._clock.monotonic() - gathered.since
        if waited >= self._gather_seconds or gathered.count >= _MOST_GATHERED:
            started = self._clock.monotonic()
            self.flush()
            took = self._clock.monotonic() - started
            self._gather_seconds = max(_GATHER_SECONDS, took * _GATHER_FACTOR)

    def _write_gathered(self, db: sqlite3.Connection, gathered: _Gathered) -> None:
        now = self._clock.time()
        touched = {*gathered.moved, *gathered.appeared, *(number for number, _, _ in gathered.arriving)}
        ended: set[tuple[int, int, int]] = set()
        for number, batches in gathered.moved.items():
            write_moved(db, number, batches)
            if self._arriving or gathered.arriving:
                ended.update(
                    (number, owner, offset)
                    for blobs in batches
                    for owner, offset in zip(blobs.owners, blobs.offsets, strict=True)
                )
        for number, lists in gathered.appeared.items():
            write_appeared(db, number, lists)
        if self._arriving or gathered.arriving:
            gone = ended & (self._arriving | gathered.arriving.keys())
            write_arriving(db, gathered.arriving, gone)
            self._arriving = (self._arriving | gathered.arriving.keys()) - gone
        write_failures(db, gathered.failures)
        db.executemany(
            "UPDATE plans SET status = ? WHERE number = ?",
            [(status, number) for number, status in gathered.statuses.items()],
        )
        db.executemany("UPDATE plans SET last_active = ? WHERE number = ?", [(now, number) for number in touched])

    # -- what a run tells ------------------------------------------------------------------------------------------

    def plans(self, plans: Iterable[PlannedJob]) -> Iterator[PlannedJob]:
        """Take all plans, then give one after the other, as the file has it.

        While they come the work is `planning`; whatever ends that leaves nothing that was begun.
        """
        names: list[str] = []
        kept: PlannedJob | None = None
        for plan in plans:
            with self._writing() as db:
                told = self._write_plan(db, None, plan)
            self._plans[plan.name] = told
            names.append(plan.name)
            kept = plan if len(names) == 1 else None
            del plan  # the next one is being made while this loop waits for it
            self.tick()
        with self._writing() as db:
            db.execute("UPDATE work SET planning = 0")
        self._planning = False
        if kept is not None:
            self._last = kept
            yield kept
            return
        for name in names:
            yield self._read_plan(name, self._plans[name])

    def planned(self, plan: PlannedJob, *, instead_of: PlannedJob | None = None) -> None:
        """Write what the plan of that name is now. ValueError for one that changes once its job is there."""
        known = self._plans.get(plan.name)
        replaced = None if instead_of is None else self._plans[instead_of.name]
        is_new = known is None or not self._is_recorded(known, plan)
        if is_new and known is not None and known.job_id is not None:
            raise ValueError(f"the plan of job {known.job_id} cannot change any more")
        if is_new or replaced is not None or self._planning:
            with self._writing() as db:
                told = self._write_plan(db, known, plan) if known is None or is_new else known
                if replaced is not None:
                    self._finish(db, replaced)
                db.execute("UPDATE work SET planning = 0")
            self._take(plan, told)
            if replaced is not None:
                replaced.finished = True
            self._planning = False

    def created(self, plan: PlannedJob, job: Job) -> None:
        """Write the job's id."""
        known = self._plans.get(plan.name)
        same = known is not None and self._is_recorded(known, plan)
        with self._writing() as db:
            told = known if known is not None and same else self._write_plan(db, known, plan)
            if told.job_id not in {None, job.id}:
                # What another job had of it was that job's; objects that have appeared are there all the same.
                forget_blobs(db, told.number)
            db.execute(
                "UPDATE plans SET job_id = ?, status = ?, last_active = ? WHERE number = ?",
                (job.id, job.status.value, self._clock.time(), told.number),
            )
            db.execute("UPDATE work SET planning = 0")
        told.job_id, self._planning = job.id, False
        self._take(plan, told)
        self._by_job[job.id] = told

    def moved(self, job_id: str, blobs: MovedBlobs) -> None:
        """Gather blobs that are through."""
        if len(blobs):
            number = self._by_job[job_id].number
            self._gathering(len(blobs)).moved.setdefault(number, []).append(blobs)
            self._flush_if_due()

    def arriving(self, job_id: str, blobs: Sequence[Arriving]) -> None:
        """Gather how far blobs have come; of each only the last counts."""
        if blobs:
            number = self._by_job[job_id].number
            gathered = self._gathering()
            for one in blobs:
                gathered.arriving[number, one.owner, one.offset] = (one.length, one.done)
            self._flush_if_due()

    def appeared(self, job_id: str, owners: Sequence[int]) -> None:
        """Gather objects that are safe at the target."""
        if owners:
            number = self._by_job[job_id].number
            self._gathering(len(owners)).appeared.setdefault(number, []).append(tuple(owners))
            self._flush_if_due()

    def deleting(self, bucket: str, key: str, version_id: str | None, etag: str | None) -> None:
        """Write what is going to be deleted."""
        with self._writing() as db:
            db.execute(
                "INSERT INTO deletions (bucket, key, version_id, etag, at) VALUES (?, ?, ?, ?, ?)",
                (pack_text(bucket), pack_text(key), _blob(version_id), _blob(etag), self._clock.time()),
            )

    def digested(self, job_id: str, owner: int, kind: ChecksumType, value: str) -> None:
        """Write the digest of a whole object."""
        row = (self._by_job[job_id].number, owner, kind.value, value.encode())
        with self._writing() as db:
            db.execute("INSERT OR REPLACE INTO digests (plan, owner, kind, digest) VALUES (?, ?, ?, ?)", row)

    def failed(self, job_id: str | None, failure: Failure) -> None:
        """Gather a failure."""
        self._gathering().failures.append((job_id, failure, self._clock.time()))
        self._flush_if_due()

    def noted(self, job: Job) -> None:
        """Gather a job's state; one of whose creation nothing is known is left out."""
        plan = self._by_job.get(job.id)
        if plan is not None:
            self._gathering().statuses[plan.number] = job.status.value
            self._flush_if_due()

    def finished(self, plan: PlannedJob) -> None:
        """Write that nothing is left to do for the plan."""
        known = self._plans[plan.name]
        with self._writing() as db:
            self._finish(db, known)
        known.finished = True
        self._last = None

    def tick(self) -> None:
        """Write what has gathered when it is time."""
        self._flush_if_due()

    def untold_failures(self) -> list[Failure]:
        """Return what has failed in runs that were killed before they could tell, and will not be tried again.

        That is what stands in no unfinished plan. For before a run goes on.
        """
        untold = read_untold(self._file)
        for name, known in self._plans.items():
            if untold and not known.finished:
                untold = without(untold, set(self._read_plan(name, known).keys))
        return untold

    def failures_told(self) -> None:
        """Write that a person is told of all that has failed until now."""
        with self._writing() as db:
            all_told(db)

    # -- plans -----------------------------------------------------------------------------------------------------

    def _finish(self, db: sqlite3.Connection, known: _Plan) -> None:
        db.execute(
            "UPDATE plans SET finished = 1, last_active = ? WHERE number = ?", (self._clock.time(), known.number)
        )
        db.execute("DELETE FROM arriving WHERE plan = ?", (known.number,))

    def _is_recorded(self, known: _Plan, plan: PlannedJob) -> bool:
        """Whether the file has just this of the plan."""
        return known.objects == len(plan) and (self._last is plan or known.seen == fingerprint(plan))

    def _write_plan(self, db: sqlite3.Connection, known: _Plan | None, plan: PlannedJob) -> _Plan:
        """Write a plan, in place of what the one of its name had; return what is to be known of it after that."""
        now = self._clock.time()
        if known is None:
            number = max((each.number for each in self._plans.values()), default=0) + 1
            db.execute(
                "INSERT INTO plans (number, name, objects, bytes, fingerprint, last_active)"
                " VALUES (?, ?, 0, 0, x'', ?)",
                (number, pack_text(plan.name), now),
            )
        else:
            number = known.number
            forget_objects(db, number)
            forget_blobs(db, number)
            db.execute("DELETE FROM appeared WHERE plan = ?", (number,))
        seen = write_objects(db, number, plan)
        db.execute(
            "UPDATE plans SET objects = ?, bytes = ?, fingerprint = ?, last_active = ? WHERE number = ?",
            (len(plan), plan.bytes, seen, now, number),
        )
        return _Plan(number, len(plan), seen, None if known is None else known.job_id)

    def _take(self, plan: PlannedJob, told: _Plan) -> None:
        """Know a plan as it was written just now."""
        self._last = plan
        self._plans[plan.name] = told

    # -- what is left ----------------------------------------------------------------------------------------------

    def remainders(self) -> Iterator[Remainder]:
        """Yield what is left, plan by plan in their order; one is in memory at a time.

        Plans that are added meanwhile are not among them, nor those that are finished before their turn.
        """
        self.flush()
        for name, known in list(self._plans.items()):
            if not known.finished:
                yield self._remainder(name, known)

    def _remainder(self, name: str, known: _Plan) -> Remainder:
        self.flush()
        ((last_active,),) = self._file.rows("SELECT last_active FROM plans WHERE number = ?", (known.number,))
        active = datetime.fromtimestamp(last_active, UTC)
        remainder = Remainder(self._read_plan(name, known), known.job_id, active, begun=self.head.begun)
        remainder.held = read_moved(self._file, known.number, known.objects)
        for owner in read_appeared(self._file, known.number, known.objects):
            remainder.appeared[owner] = 1
        remainder.arriving = read_arriving(self._file, known.number)
        failed = self._file.rows("SELECT key FROM failures WHERE job_id = ? AND key IS NOT NULL", (known.job_id,))
        remainder.failed = frozenset(unpack_text(key) for (key,) in failed)
        deleted = {unpack_text(key) for (key,) in self._file.rows("SELECT key FROM deletions")}
        remainder.deleted = frozenset(deleted.intersection(remainder.plan.keys)) if deleted else frozenset()
        return remainder

    def _read_plan(self, name: str, known: _Plan) -> PlannedJob:
        self._last = None  # before another is in memory
        plan = PlannedJob(self.head.type, self.head.bucket)
        plan.name = name
        read_objects(self._file, known.number, plan, known.objects)
        self._last = plan
        return plan


def _blob(text: str | None) -> bytes | None:
    return None if text is None else pack_text(text)
