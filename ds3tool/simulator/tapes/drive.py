"""One tape drive: which tape is in it, where its head is, what it is at, and the time all of that takes.

A drive that is not timed does everything at once, and is otherwise the same: what it does is counted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from ds3tool.lazy_dataclass import dataclass
from ds3tool.simulator.clock import Clock
from ds3tool.simulator.tapes.ledger import Ledger, Spent
from ds3tool.simulator.tapes.library import Tape
from ds3tool.simulator.tapes.mechanics import ROBOT_MOVE_SECONDS, mechanics_of
from ds3tool.simulator.tapes.media import ClosingError
from ds3tool.simulator.tapes.tasks import DriveFailedError, DriveTask, TaskAbortedError

# Less than this is not waited for at once: it is added to what comes next, and paid by `settle` at the latest.
_LEAST_SECONDS = 1.0


@dataclass(slots=True)
class _Tally:
    count: int = 0
    seconds: float = 0.0
    moved: int = 0


class Drive:
    """A drive, used by one thread; `tape`, `task`, `busy` and `failure` are read and set with the store's lock held.

    `place` counts from 0, `id` is its bean's. `position` is the head's, in bytes from the tape's beginning.
    """

    def __init__(
        self,
        place: int,
        drive_id: str,
        drive_type: str,
        *,
        clock: Clock,
        ledger: Ledger,
        timed: bool,
        job_id: Callable[[int], str],
    ) -> None:
        self.place = place
        self.id = drive_id
        self.mechanics = mechanics_of(drive_type)
        self.timed = timed
        self.tape: Tape | None = None
        self.position = 0
        self.task: DriveTask | None = None
        # Whether it puts a tape away of its own accord.
        self.unloading = False
        # Set to have the tape taken out as soon as it is idle, since another drive needs it.
        self.give_back = False
        self.failure: str | None = None
        # Set when it had nothing to do since its last task: time for the next one counts from its beginning.
        self.rested = True
        self.closing = False
        # When it had nothing more to do, by the clock's monotonic().
        self.idle_since = clock.monotonic()
        self.mounts = 0
        self._clock = clock
        self._ledger = ledger
        self._job_id = job_id
        self._pause = threading.Condition()
        self._until = 0.0
        self._tallies: dict[Spent, _Tally] = {}

    @property
    def is_idle(self) -> bool:
        """Whether it does nothing: it may still hold a tape."""
        return self.task is None and not self.unloading

    # What a task may do with it.

    def locate(self, position: int) -> None:
        """Move the head to `position` of the tape, in bytes from its beginning."""
        if position == self.position:
            return
        assert self.tape is not None, "a head is moved over a tape"
        seconds = self.mechanics.locate_seconds(position - self.position, self.tape.capacity)
        self.position = position
        self.spend(Spent.SEEK, seconds)

    def stream(self, length: int, what: Spent) -> None:
        """Let `length` bytes pass the head: READ, WRITE or VERIFY."""
        self.position += length
        self.spend(what, self.mechanics.stream_seconds(length), moved=length)

    def rewind(self) -> None:
        """Move the head to the tape's beginning."""
        if self.position and self.tape is not None:
            seconds = self.mechanics.rewind_seconds(self.position, self.tape.capacity)
            self.position = 0
            self.spend(Spent.SEEK, seconds)

    def spend(self, what: Spent, seconds: float, *, moved: int = 0) -> None:
        """Do something that takes `seconds` of the appliance's clock; it may still be under way on return.

        Raises ClosingError, DriveFailedError or TaskAbortedError when that ends what the drive is at.
        """
        tally = self._tallies.setdefault(what, _Tally())
        tally.count += 1
        tally.moved += moved
        if not self.timed:
            return
        tally.seconds += seconds
        self._until += seconds
        if self._until - self._clock.monotonic() >= _LEAST_SECONDS:
            self._wait()

    def settle(self) -> None:
        """Wait until all that was spent has passed, and enter it into the ledger; raises what `spend` raises."""
        if self.timed:
            self._wait()
        self.book()

    def book(self) -> None:
        """Enter into the ledger what was done."""
        tape = None if self.tape is None else self.tape.bar_code
        jobs = [] if self.task is None else [self._job_id(number) for number in self.task.jobs]
        # One thing was done after the other, and the last may have ended before the host woke its thread.
        ago = sum(tally.seconds for tally in self._tallies.values())
        if self.timed:
            ago += max(0.0, self._clock.monotonic() - self._until)
        for what, tally in self._tallies.items():
            ago = max(0.0, ago - tally.seconds)
            count, moved = tally.count, tally.moved
            self._ledger.add(what, tally.seconds, count=count, moved=moved, tape=tape, jobs=jobs, by=self.id, ago=ago)
        self._tallies.clear()

    def check(self) -> None:
        """Raise ClosingError, DriveFailedError or TaskAbortedError when the drive is to stop what it is at."""
        if self.closing:
            raise ClosingError
        if self.failure is not None:
            raise DriveFailedError(self.failure)
        if self.task is not None and self.task.cancelled:
            raise TaskAbortedError("The task was cancelled.")

    def stopped(self) -> bool:
        """Whether `check` would raise; for loops that move bytes."""
        return self.closing or self.failure is not None or (self.task is not None and self.task.cancelled)

    def _wait(self) -> None:
        with self._pause:
            while (left := self._until - self._clock.monotonic()) > 0:
                self.check()
                self._clock.wait(self._pause, left)
        self.check()

    # What the drives' own threads do with it.

    def begin(self) -> None:
        """Take up work: after a rest time counts from now, else from the end of what it did last."""
        if self.rested:
            self._until = self._clock.monotonic()
            self.rested = False

    def mount(self) -> None:
        """Have the robot bring the tape that is meant for the drive, and load it."""
        self.position = 0
        self.mounts += 1
        self.spend(Spent.ROBOT, ROBOT_MOVE_SECONDS)
        self.spend(Spent.MOUNT, self.mechanics.load)

    def unmount(self) -> None:
        """Rewind, unload, and have the robot take the tape to its slot; the caller releases it then."""
        assert self.tape is not None, "only a tape can be unloaded"
        rewind = self.mechanics.rewind_seconds(self.position, self.tape.capacity)
        self.position = 0
        self.spend(Spent.UNLOAD, rewind + self.mechanics.unload)
        self.spend(Spent.ROBOT, ROBOT_MOVE_SECONDS)
        self.settle()
        self.tape = None

    def wake(self) -> None:
        """Let it look whether it is to stop, wherever it waits."""
        with self._pause:
            self._pause.notify_all()
