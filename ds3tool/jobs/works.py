"""The pieces of work that this host has begun: what is unfinished, who works on it, what may be forgotten."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime

from ds3tool.clock import Clock, RealClock
from ds3tool.errors import ConfigError, Ds3Error, PathNotFoundError
from ds3tool.jobs.journal_columns import unpack_text
from ds3tool.jobs.journal_file import (
    LOCK_SUFFIX,
    ROLLBACK_SUFFIX,
    SUFFIX,
    EmptyJournalError,
    JournalFile,
    lock_path,
    put_away,
    remove_journal,
    tidy_up,
)
from ds3tool.jobs.state_folder import DONE, JOBS, StatePath, folder_error
from ds3tool.jobs.work_head import WorkHead, read_head
from ds3tool.jobs.work_lock import Holder, WorkLock, holder_of
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import JobType

_log = logging.getLogger(__name__)

# So long are journals kept of work that is done, for their digests.
KEPT_SECONDS = 30 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class PlanSummary:
    """A planned job as its journal has it: `job_id` and `status` are None while it is not known whether there is a job.

    `moved_blobs` and `moved_bytes` are through, as far as was recorded.
    """

    name: str
    job_id: str | None
    status: str | None
    finished: bool
    objects: int
    bytes: int
    moved_blobs: int
    moved_bytes: int
    last_active: datetime


@dataclass(frozen=True, slots=True)
class WorkSummary:
    """An unfinished piece of work: its journal's `path`, and what that says.

    Where it cannot be read, `trouble` says why, and `head` is None. `holder` works on it right now. While `planning`
    nothing was begun; that of a killed process never will be.
    """

    id: str
    path: str
    head: WorkHead | None
    planning: bool = False
    concluded: bool = False
    plans: tuple[PlanSummary, ...] = ()
    holder: Holder | None = None
    trouble: Ds3Error | None = None

    @property
    def unfinished(self) -> tuple[PlanSummary, ...]:
        """The plans of which something is left to do."""
        return tuple(plan for plan in self.plans if not plan.finished)

    @property
    def last_active(self) -> datetime | None:
        """When something was last recorded of it; None when nobody can tell."""
        begun = None if self.head is None else self.head.begun
        return max((plan.last_active for plan in self.plans), default=begun)


def works(state_folder: StatePath) -> list[WorkSummary]:
    """Return the unfinished works in a state folder, the oldest first; none when there is no such folder.

    Journals that cannot be read are among them, with their `trouble`. ConfigError when the folder cannot be read.
    """
    found = []
    for path in _journals(os.path.join(os.fspath(state_folder), JOBS)):
        summary = _summary(path)
        if summary is not None and not summary.concluded:
            found.append(summary)
    return sorted(found, key=lambda summary: summary.id)


def find_work(state_folder: StatePath, wanted: str) -> WorkSummary | None:
    """Return the unfinished work of that id, or the one with a job of that id; None when there is none."""
    for summary in works(state_folder):
        if summary.id == wanted or any(plan.job_id == wanted for plan in summary.plans):
            return summary
    return None


def forget_work(state_folder: StatePath, work_id: str, *, clock: Clock | None = None) -> None:
    """Remove the journal of a piece of work, whatever state it is in; its jobs on the appliance are not touched.

    LockedError while somebody works on it, ConfigError for that of a newer ds3tool, PathNotFoundError without one.
    """
    folder = os.path.join(os.fspath(state_folder), JOBS)
    path = os.path.join(folder, work_id + SUFFIX)
    if os.sep in work_id or not os.path.lexists(path):
        raise PathNotFoundError(
            f"there is no unfinished work {work_id!r} in {folder}", hint="see what is there: ds3tool job ls --local"
        )
    lock = WorkLock.take(lock_path(path), f"work {work_id}", clock=clock or RealClock())
    try:
        try:
            JournalFile.open(path, only_look=True).close()
        except ConfigError:
            raise
        except Ds3Error as error:
            _log.info("%s is dropped, which could not be read: %s", path, error)
        try:
            remove_journal(path)
        except OSError as error:
            raise folder_error(folder, error) from error
    finally:
        lock.release()


def prune(state_folder: StatePath, *, now: float) -> None:
    """Remove what nobody needs any more: journals of work done a month ago, and what kills have left half made.

    `now` is in seconds since 1970. What cannot be removed stays, and does no harm.
    """
    folder = os.path.join(os.fspath(state_folder), JOBS)
    try:
        for entry in _entries(os.path.join(folder, DONE)):
            if entry.stat().st_mtime < now - KEPT_SECONDS:
                os.unlink(entry.path)
        for entry in _entries(folder):
            _prune_leftover(entry)
            if entry.name.endswith(SUFFIX):
                _put_away_concluded(entry.path)
    except OSError as error:
        _log.warning("old journals in %s stay: %s", folder, error)


def _prune_leftover(entry: os.DirEntry[str]) -> None:
    """Remove an empty journal, or what belonged to one that is gone, unless somebody is about to fill it."""
    for suffix in (SUFFIX, LOCK_SUFFIX, SUFFIX + ROLLBACK_SUFFIX):
        if not entry.name.endswith(suffix):
            continue
        path = entry.path.removesuffix(suffix) + SUFFIX
        if entry.stat().st_size if suffix == SUFFIX else os.path.lexists(path):
            continue
        try:
            lock = WorkLock.take(lock_path(path), entry.name, clock=RealClock())
        except Ds3Error as error:  # somebody is about to fill it, or nothing can be done in the folder
            _log.debug("%s stays: %s", entry.path, error)
            continue
        try:
            if not os.path.lexists(path) or not os.path.getsize(path):
                remove_journal(path)
        finally:
            lock.release()


def _put_away_concluded(path: str) -> None:
    """Put the journal of a work that is done where it belongs, if what ended it was killed before it could."""
    try:
        summary = _summary(path)
        if summary is None or not summary.concluded or summary.head is None or summary.holder is not None:
            return
        lock = WorkLock.take(lock_path(path), summary.id, clock=RealClock())
    except Ds3Error as error:
        _log.debug("%s stays: %s", path, error)
        return
    try:
        if summary.head.type != JobType.PUT:
            remove_journal(path)
        elif os.path.lexists(path):
            tidy_up(path)
            put_away(path)
    finally:
        lock.release()


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return [entry for entry in found if entry.is_file(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def _journals(folder: str) -> Iterator[str]:
    try:
        entries = _entries(folder)
    except OSError as error:
        raise folder_error(folder, error) from error
    for entry in entries:
        if entry.name.endswith(SUFFIX):
            yield entry.path


def _summary(path: str) -> WorkSummary | None:
    """Return what a journal says; None when it is gone, or was never finished making."""
    work_id = os.path.basename(path).removesuffix(SUFFIX)
    holder = holder_of(lock_path(path), now=RealClock().time())
    try:
        file = JournalFile.open(path, only_look=True)
    except (PathNotFoundError, EmptyJournalError):
        return None
    except Ds3Error as error:
        return None if not os.path.lexists(path) else WorkSummary(work_id, path, None, holder=holder, trouble=error)
    try:
        return _read(file, work_id, holder)
    except Ds3Error as error:
        return WorkSummary(work_id, path, None, holder=holder, trouble=error)
    finally:
        file.close()


def _read(file: JournalFile, work_id: str, holder: Holder | None) -> WorkSummary:
    head = read_head(file)
    ((planning, concluded),) = file.rows("SELECT planning, concluded FROM work")
    plans = tuple(
        PlanSummary(
            unpack_text(name),
            job_id,
            status,
            bool(finished),
            objects,
            size,
            blobs,
            moved,
            datetime.fromtimestamp(last_active, UTC),
        )
        for name, job_id, status, finished, objects, size, blobs, moved, last_active in file.rows(
            "SELECT name, job_id, status, finished, objects, bytes, moved_blobs, moved_bytes, last_active FROM plans"
            " ORDER BY number"
        )
    )
    return WorkSummary(work_id, file.path, head, bool(planning), concluded is not None, plans, holder)
