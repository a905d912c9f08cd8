"""The drives of the library, and who gets them: work is offered from all sides, and each drive that is free takes one.

The most urgent comes first; of the same urgency what needs no mount, then the job that has the fewest drives, then
the oldest; what waits long becomes more urgent. What to do next is decided with the lock held, by whichever drive's
thread looks first; bytes move, tapes travel and time passes without it. A tape in a drive is in use: it stays there
until the partition's idle time has passed, another tape is wanted, or it is to leave; drives that are not timed put
it away at once.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ds3tool.simulator.buckets import Buckets
from ds3tool.simulator.cache import Cache
from ds3tool.simulator.clock import Clock
from ds3tool.simulator.faults import Faults
from ds3tool.simulator.jobs.book import JobBook
from ds3tool.simulator.records.beans import Beans, Fields
from ds3tool.simulator.store import Store
from ds3tool.simulator.tapes.agenda import Agenda
from ds3tool.simulator.tapes.drive import Drive
from ds3tool.simulator.tapes.failures import Failures
from ds3tool.simulator.tapes.ledger import Ledger, Spent
from ds3tool.simulator.tapes.library import Library, Tape
from ds3tool.simulator.tapes.media import BadCopyError, ClosingError
from ds3tool.simulator.tapes.reading import Reader
from ds3tool.simulator.tapes.reservations import Reservations
from ds3tool.simulator.tapes.tasks import (
    DriveFailedError,
    DriveTask,
    Offer,
    TaskAbortedError,
    TaskKind,
    TaskState,
)
from ds3tool.simulator.tapes.writing import Writer

_log = logging.getLogger(__name__)

_IDLE_CHECK_SECONDS = 60.0
_PATIENCE_SECONDS = 1.0
# A drive asks to be cleaned after this many; real ones go by the hours of running and the errors they meet.
_MOUNTS_BETWEEN_CLEANINGS = 500


class Drives:
    """All drives of the library. Methods that change something are called with the store's lock held, or take it.

    `watch` is called now and then with the lock held, for jobs that nobody touches.
    """

    def __init__(
        self,
        *,
        store: Store,
        beans: Beans,
        buckets: Buckets,
        cache: Cache,
        jobs: JobBook,
        library: Library,
        failures: Failures,
        clock: Clock,
        ledger: Ledger,
        watch: Callable[[], None],
        faults: Faults,
        count: int,
        timed: bool,
    ) -> None:
        self._store = store
        self._beans = beans
        self._jobs = jobs
        self._library = library
        self._failures = failures
        self._clock = clock
        self._ledger = ledger
        self._watch = watch
        self._timed = timed
        self._changed = jobs.changed
        self._closing = False
        # The tapes that drives are putting away, by the place of the drive, until they may be had again.
        self._leaving: dict[int, Tape] = {}
        self._next_watch = clock.monotonic()
        # Called with a drive's bean when it has to be cleaned.
        self.soiled: Callable[[Fields], None] | None = None
        self.all = [
            Drive(
                place,
                str(bean["Id"]),
                str(bean["Type"]),
                clock=clock,
                ledger=ledger,
                timed=timed,
                job_id=jobs.ids.of,
            )
            for place, bean in enumerate(beans.all("TapeDrive")[:count])
        ]
        self.reservations = Reservations(beans, self.all)
        self._reader = Reader(
            store=store,
            cache=cache,
            jobs=jobs,
            library=library,
            failures=failures,
            clock=clock,
            faults=faults,
            enough=len(self.all),
        )
        self._writer = Writer(
            store=store,
            beans=beans,
            buckets=buckets,
            cache=cache,
            jobs=jobs,
            library=library,
            failures=failures,
            clock=clock,
            faults=faults,
            written=self._reader.forget,
        )
        self._agenda = Agenda(beans, clock, self._reader, self._writer)
        for kind in ("TapeDrive", "TapePartition"):
            beans.watch(kind, self._look_at_beans)
        for kind in ("StorageDomain", "StorageDomainMember", "DataPersistenceRule"):
            beans.watch(kind, self._changed.notify_all)
        self._look_at_beans()
        self._threads = [
            threading.Thread(target=self._run, args=(drive,), name=f"ds3-drive-{drive.place}", daemon=True)
            for drive in self.all
        ]

    # Life.

    def start(self) -> None:
        """Let the drives work."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop them, wherever they are; returns when none works any more."""
        with self._changed:
            self._closing = True
            for drive in self.all:
                drive.closing = True  # before they are woken, lest one look too early and wait again
            self._changed.notify_all()
        for drive in self.all:
            drive.wake()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    # What others ask.

    def submit(self, task: DriveTask) -> DriveTask:
        """Queue a task for the first drive that may do it; returns the task, its `id` and `scheduled` set."""
        with self._changed:
            self._agenda.submit(task)
            self._changed.notify_all()
        return task

    def cancel(self, task: DriveTask) -> bool:
        """Call a task off, waiting or under way; False when it has ended. Its `finished` hears a TaskAbortedError.

        One that is under way ends when its drive looks, at the latest when the next time that it spends has begun.
        """
        with self._changed:
            if task.state is TaskState.COMPLETED:
                return False
            task.cancelled = True
            if self._agenda.strike(task):
                self._end(task, TaskAbortedError("The task was cancelled before it began."))
            elif task.drive is not None:
                task.drive.wake()
            self._changed.notify_all()
        return True

    def tasks(self) -> list[DriveTask]:
        """Return what drives are at, what waits for one, each in the order of its coming.

        Of what jobs want, one task stands for all that waits for a storage domain's tapes, and one for each job that
        reads; what a drive takes of that is a task of its own.
        """
        with self._changed:
            busy = [drive.task for drive in self.all if drive.task is not None]
            return sorted([*busy, *self._agenda.listed()], key=lambda task: task.id)

    def find(self, drive_id: str) -> Drive | None:
        """Return the drive whose bean has this id, or None."""
        return next((drive for drive in self.all if drive.id == drive_id), None)

    def tape_in(self, drive_id: str) -> Tape | None:
        """Return the tape in a drive, None for an empty or unknown one."""
        drive = self.find(drive_id)
        return None if drive is None else drive.tape

    @property
    def loaded(self) -> dict[int, Tape]:
        """The tape that each drive holds, by the drive's place."""
        return {drive.place: drive.tape for drive in self.all if drive.tape is not None}

    def reconsider(self) -> None:
        """Look again at what is to be done: a drive, a partition, a tape or a copy has changed."""
        with self._changed:
            self._reader.forget()
            self._changed.notify_all()

    def fail(self, drive_id: str, message: str) -> None:
        """Let a drive break, whatever it is at: its state becomes ERROR, another one does its task again.

        KeyError when there is no such drive.
        """
        with self._changed:
            drive = self.find(drive_id)
            if drive is None:
                raise KeyError(drive_id)
            self._break(drive, message)

    def repair(self, drive_id: str) -> None:
        """Let a drive that broke work again: its state becomes NORMAL. KeyError when there is no such drive."""
        with self._changed:
            if self.find(drive_id) is None:
                raise KeyError(drive_id)
            bean = self._beans.update("TapeDrive", drive_id, {"State": "NORMAL", "ErrorMessage": None})
            for kind in ("TAPE_DRIVE_IN_ERROR", "TAPE_DRIVE_MISSING"):  # of this drive: others may be so still
                about = f"The drive {bean['SerialNumber']} "
                self._failures.partition_mended(kind, str(bean["PartitionId"]), about)

    def _break(self, drive: Drive, message: str) -> None:
        bean = self._beans.get("TapeDrive", drive.id)
        if bean is None or bean.get("State", "NORMAL") == "ERROR":
            return
        with self._store.writing():
            self._failures.drive("HARDWARE_ERROR", drive.id, drive.tape.id if drive.tape else drive.id, message)
            told = f"The drive {bean['SerialNumber']} is in error: {message}"
            self._failures.partition("TAPE_DRIVE_IN_ERROR", str(bean["PartitionId"]), told)
            self._beans.update("TapeDrive", drive.id, {"State": "ERROR", "ErrorMessage": message})

    def _look_at_beans(self) -> None:
        """Let drives know what has been made of them: one whose state is not NORMAL stops what it is at."""
        with self._changed:
            for drive in self.all:
                bean = self._beans.get("TapeDrive", drive.id) or {"State": "OFFLINE"}
                state = bean.get("State", "NORMAL")
                failure = None if state == "NORMAL" else str(bean.get("ErrorMessage") or f"The drive is {state}.")
                if failure != drive.failure:
                    drive.failure = failure
                    drive.wake()
            self._changed.notify_all()

    # What next.

    def _run(self, drive: Drive) -> None:
        while True:
            try:
                task = self._await_task(drive)
                if self._closing:
                    return
                if task is None:
                    self._put_away(drive)
                else:
                    self._do(drive, task)
            except ClosingError:
                return
            except Exception:  # noqa: BLE001 - a drive that stops for good would let every job wait for ever
                _log.exception("drive %d failed, and goes on", drive.place)
                with self._changed:
                    # A full disk is not mended by trying at once; and when all closes nobody would wake it.
                    if not self._closing:
                        self._clock.wait(self._changed, _PATIENCE_SECONDS)

    def _await_task(self, drive: Drive) -> DriveTask | None:
        """Wait for the drive's next task; None to put its tape away, or when the appliance closes."""
        with self._changed:
            while not self._closing:
                now = self._clock.monotonic()
                if now >= self._next_watch:
                    self._next_watch = now + _IDLE_CHECK_SECONDS
                    self._reader.forget()
                    self._watch()
                until_move = self._library.move()  # after the watch, which may have tapes ejected
                self.reservations.settle()
                self._assign()
                if drive.task is not None:
                    return drive.task
                idle = self._until_put_away(drive, now)
                if idle is not None and idle <= 0:
                    drive.unloading = True
                    return None
                waits = [wait for wait in (until_move, self._writer.until_due(), idle) if wait is not None]
                if self._jobs.active or self._library.is_watched():
                    waits.append(self._next_watch - now)
                drive.rested = True
                self._clock.wait(self._changed, min(waits, default=None))
        return None

    def _assign(self) -> None:
        """Give every drive that has nothing to do its next task, as far as there is one."""
        while any(drive.is_idle and self.reservations.works(drive) for drive in self.all):
            if not self._assign_one():
                return

    def _assign_one(self) -> bool:
        idle = [drive for drive in self.all if drive.is_idle and self.reservations.works(drive)]
        mounted = {drive.tape.n: drive for drive in idle if drive.tape is not None}
        offers = list(self._agenda.offers(self._is_free, self._is_returning))
        offers.sort(
            key=lambda offer: (
                offer.rank,
                offer.tape is None or offer.tape.n not in mounted,
                offer.share,
                offer.order,
                offer.since,
            )
        )
        for offer in offers:
            drive = self._drive_for(offer, idle)
            task = None if drive is None else offer.take()
            if drive is not None and task is not None:
                self._give(drive, task, offer)
                return True
        return False

    def _is_free(self, tape: Tape) -> bool:
        """Whether a drive may take a tape: nobody holds it but a drive that does nothing."""
        if tape.n not in self._library.in_use:
            return True
        return any(drive.tape is tape and drive.is_idle for drive in self.all)

    def _is_returning(self, tape: Tape) -> bool:
        """Whether a drive is putting a tape away, or is about to: it will be free without anybody's doing."""
        return tape in self._leaving.values() or any(
            drive.tape is tape and (drive.unloading or (drive.task is not None and drive.task.tape is not tape))
            for drive in self.all
        )

    def _drive_for(self, offer: Offer, idle: list[Drive]) -> Drive | None:
        """Return the drive that is to take an offer, None when none may now."""
        may = [drive for drive in idle if self.reservations.admits(drive, offer)]
        if offer.tape is not None:
            holder = next((drive for drive in self.all if drive.tape is offer.tape), None)
            if holder is not None:
                if holder in may:
                    return holder
                if may:  # the tape lies in a drive that may not do this: it has to come out first
                    holder.give_back = True
                    self._changed.notify_all()
                return None
        return min(may, key=lambda drive: (drive.tape is not None, drive.idle_since, drive.place), default=None)

    def _give(self, drive: Drive, task: DriveTask, offer: Offer) -> None:
        if not self._agenda.strike(task):
            self._agenda.number(task)
            task.scheduled = self._clock.now() - max(0.0, self._clock.monotonic() - offer.since)
        task.state, task.drive = TaskState.PENDING_EXECUTION, drive
        drive.task = task
        if task.tape is not None:
            self._library.in_use.add(task.tape.n)
        if self._timed:
            waited = max(0.0, self._clock.monotonic() - offer.since)
            tape = None if task.tape is None else task.tape.bar_code
            jobs = [self._jobs.ids.of(number) for number in task.jobs]
            self._ledger.add(Spent.WAIT, waited, tape=tape, jobs=jobs)
        self._changed.notify_all()

    def _until_put_away(self, drive: Drive, now: float) -> float | None:
        """Return the seconds until an idle drive puts its tape away, None when it has none or keeps it."""
        tape = drive.tape
        if tape is None or not drive.is_idle:
            return None
        leaves = tape.eject_pending is not None or not tape.present
        if not self._timed or drive.give_back or leaves or not self.reservations.works(drive):
            return 0.0
        timeout = self.reservations.idle_seconds(drive)
        return None if timeout is None else drive.idle_since + timeout - now

    # What is done.

    def _put_away(self, drive: Drive) -> None:
        try:
            self._unmount(drive)
        finally:
            with self._changed:
                drive.unloading = drive.give_back = False
                drive.idle_since = self._clock.monotonic()

    def _unmount(self, drive: Drive) -> None:
        """Bring a drive's tape back to its slot; a drive that is broken lets it go all the same."""
        tape = drive.tape
        assert tape is not None, "only a tape can be put away"
        with self._changed:
            self._leaving[drive.place] = tape
        drive.begin()
        try:
            drive.unmount()
        except (DriveFailedError, TaskAbortedError):
            drive.tape = None
        finally:
            with self._changed:
                self._leaving.pop(drive.place, None)
                if drive.tape is None:
                    self._library.release(tape)

    def _do(self, drive: Drive, task: DriveTask) -> None:
        error: Exception | None = None
        drive.begin()
        try:
            self._mount_for(drive, task)
            with self._changed:
                task.state, task.started = TaskState.IN_PROGRESS, self._clock.now()
                self._changed.notify_all()
            drive.check()
            task.perform(drive)
            drive.settle()
        except ClosingError as caught:
            error = self._why_stopped(drive, task, caught)
        except Exception as caught:  # noqa: BLE001 - whatever it was, the task has ended, and the drive goes on
            error = caught
        with self._changed:
            self._finish(drive, task, error)
        if self._closing:
            raise ClosingError
        if error is not None and not isinstance(error, DriveFailedError | TaskAbortedError | BadCopyError):
            raise error

    def _mount_for(self, drive: Drive, task: DriveTask) -> None:
        if task.tape is None or drive.tape is task.tape:
            return
        if drive.tape is not None:
            self._unmount(drive)
        with self._changed:
            drive.tape = task.tape
            self._changed.notify_all()
        drive.mount()
        if self._timed and self.soiled is not None and not drive.mounts % _MOUNTS_BETWEEN_CLEANINGS:
            with self._changed:
                self.soiled(self._beans.find("TapeDrive", drive.id))

    def _why_stopped(self, drive: Drive, task: DriveTask, caught: Exception) -> Exception:
        """Return what is behind a ClosingError of a loop that only knew that it was to stop."""
        if not self._closing and drive.failure is not None:
            return DriveFailedError(drive.failure)
        if not self._closing and task.cancelled:
            return TaskAbortedError("The task was cancelled.")
        return caught

    def _finish(self, drive: Drive, task: DriveTask, error: Exception | None) -> None:
        drive.book()
        drive.task = None
        drive.idle_since = self._clock.monotonic()
        if drive.tape is not task.tape and task.tape is not None:
            self._library.release(task.tape)
        if isinstance(error, DriveFailedError):
            self._break(drive, str(error))
            if task.kind is TaskKind.MAINTENANCE and task.drive_id is None:  # another drive begins it again
                self._agenda.again(task)
                self._changed.notify_all()
                return
        if isinstance(error, BadCopyError | DriveFailedError):
            _log.warning("drive %d: %s: %s", drive.place, task.description, error)
        self._end(task, error)

    def _end(self, task: DriveTask, error: Exception | None) -> None:
        task.state = TaskState.COMPLETED
        self._reader.forget()
        if task.finished is not None:
            task.finished(error)
        self._changed.notify_all()
