"""Work for a tape drive: what is asked for, for which tape, how urgent it is, and how far it has come.

Whoever has something for a drive to do makes a `DriveTask` and hands it to `machine.drives.submit`:

    def format_tape(drive: Drive) -> None:          # in the drive's thread, without the store's lock
        drive.locate(0)                             # takes the time it takes; nothing where drives are not timed
        os.truncate(path, 0)
        drive.spend(Spent.OTHER, 5.0)
        with store.writing(): ...                   # then what came of it

    drives.submit(DriveTask("FormatTape", f"Format tape {tape.bar_code}", format_tape, tape=tape, priority="HIGH"))

Reads and writes of jobs are tasks of the drives' own making; all kinds share the drives by priority, then by age.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING

from ds3tool.lazy_dataclass import dataclass
from ds3tool.simulator.jobs.job import PRIORITY_RANK

if TYPE_CHECKING:
    from ds3tool.simulator.tapes.drive import Drive
    from ds3tool.simulator.tapes.library import Tape


class TaskState(StrEnum):
    """How far a task has come, as BlobStoreTaskState has it."""

    READY = "READY"
    PENDING_EXECUTION = "PENDING_EXECUTION"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"


class TaskKind(StrEnum):
    """What a drive may be reserved for, as ReservedTaskType has it."""

    READ = "READ"
    WRITE = "WRITE"
    MAINTENANCE = "MAINTENANCE"


class TaskAbortedError(Exception):
    """A task is given up where it stands: it was cancelled."""


class DriveFailedError(Exception):
    """The drive cannot go on; its task waits for another one. Its message is shown as the drive's ErrorMessage."""


@dataclass(slots=True, eq=False)
class DriveTask:
    """One piece of work, done by one drive from its beginning to its end.

    `name` and `description` are what a list of tasks shows. `perform` is called in the thread of the drive that does
    the work, with the tape mounted and without the store's lock. What it raises ends the task: ClosingError when the
    appliance closes (the task is forgotten: whoever submitted it submits it again after a start), DriveFailedError
    when the drive is at fault (the task waits for another drive, and is begun again from its beginning),
    TaskAbortedError when it was cancelled, anything else is logged as its failure.

    `tape`: the one it needs, None for none; it waits until no other drive holds that one. `priority`: of
    BlobStoreTaskPriority. `kind`: drives reserved for another kind leave it alone. `drive_id`: the one drive that may
    do it, None for any. `when`: asked with the lock held before it begins; it waits while that is False.
    `finished`: called once with the lock held when it has ended: with None when all went well, with the error when
    not (a TaskAbortedError after `Drives.cancel`).

    The rest is the drives' to set: `id` counts from 1, dates are seconds of the appliance's clock.
    """

    name: str
    description: str
    perform: Callable[[Drive], None]
    tape: Tape | None = None
    priority: str = "NORMAL"
    kind: TaskKind = TaskKind.MAINTENANCE
    drive_id: str | None = None
    when: Callable[[], bool] | None = None
    finished: Callable[[Exception | None], None] | None = None
    id: int = 0
    scheduled: float = 0.0
    started: float | None = None
    state: TaskState = TaskState.READY
    drive: Drive | None = None
    cancelled: bool = False
    # Numbers of the jobs that it works for.
    jobs: frozenset[int] = frozenset()

    # By the clock's monotonic(): since when it, or the job it works for, waits for a drive.
    since: float = 0.0

    @property
    def rank(self) -> int:
        """How early its turn comes; the least first."""
        return rank_of(self.priority)


@dataclass(frozen=True, slots=True)
class Offer:
    """Work that a drive might do next, decided upon with the lock held.

    `rank`: with its age counted in. `since`: when it began to wait, by the clock's monotonic(). `order`: among those
    that are alike, the least first. `share`: how many drives work for the same job already. `tape`: the one it needs;
    several offers may stand for the same work, each with a tape that would do. `take` makes the task of it, or returns
    None when there is nothing to do after all.
    """

    kind: TaskKind
    rank: int
    since: float
    order: int
    tape: Tape | None
    take: Callable[[], DriveTask | None]
    share: int = 0
    drive_id: str | None = None


# What waits this long is as good as what is of the next higher priority, so that nothing waits for ever.
_AGING_SECONDS = 30 * 60.0


def rank_of(priority: str) -> int:
    """Return how early the turn of a priority comes; the least first, that of NORMAL for one that is unknown."""
    return PRIORITY_RANK.get(priority, PRIORITY_RANK["NORMAL"])


def aged(rank: int, waited: float) -> int:
    """Return the rank of what has waited `waited` seconds: one less for each half hour, but not the urgents'."""
    return max(min(rank, PRIORITY_RANK["HIGH"]), rank - int(waited // _AGING_SECONDS))
