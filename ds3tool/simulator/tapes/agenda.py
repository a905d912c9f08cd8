"""What drives have been asked to do and nobody has begun: tasks that were submitted, and what jobs want of tapes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

from ds3tool.simulator.clock import Clock
from ds3tool.simulator.records.beans import Beans
from ds3tool.simulator.tapes.drive import Drive
from ds3tool.simulator.tapes.reading import Reader
from ds3tool.simulator.tapes.tape import Tape
from ds3tool.simulator.tapes.tasks import DriveTask, Offer, TaskState, aged
from ds3tool.simulator.tapes.writing import Writer


class Agenda:
    """Tasks that wait for a drive, and the numbers of all tasks. Methods are called with the store's lock held."""

    def __init__(self, beans: Beans, clock: Clock, reader: Reader, writer: Writer) -> None:
        self._beans = beans
        self._clock = clock
        self._reader = reader
        self._writer = writer
        self._queue: list[DriveTask] = []
        # What stands in the list of tasks for work that no drive has taken yet.
        self._announced: dict[tuple[str, object], DriveTask] = {}
        self._last_id = 0

    def number(self, task: DriveTask) -> None:
        """Give a task its id."""
        self._last_id += 1
        task.id = self._last_id

    def submit(self, task: DriveTask) -> None:
        """Queue a task."""
        self.number(task)
        task.scheduled, task.since = self._clock.now(), self._clock.monotonic()
        self._queue.append(task)

    def again(self, task: DriveTask) -> None:
        """Queue a task once more that a drive could not do; it has kept its age."""
        task.state, task.drive, task.started = TaskState.READY, None, None
        self._queue.append(task)

    def strike(self, task: DriveTask) -> bool:
        """Take a task out, since a drive begins it or it was called off; False when it was not here."""
        if task not in self._queue:
            return False
        self._queue.remove(task)
        return True

    def offers(self, is_free: Callable[[Tape], bool], is_returning: Callable[[Tape], bool]) -> Iterator[Offer]:
        """Yield all that drives might do; `is_free` tells whether one may have a tape, `is_returning` if soon."""
        now = self._clock.monotonic()
        for task in list(self._queue):
            free = task.tape is None or is_free(task.tape)
            if free and (task.when is None or task.when()):
                rank = aged(task.rank, now - task.since)
                take = functools.partial(_itself, task)
                yield Offer(task.kind, rank, task.since, 0, task.tape, take, drive_id=task.drive_id)
        yield from self._reader.offers(is_free)
        yield from self._writer.offers(is_free, is_returning)

    def listed(self) -> list[DriveTask]:
        """Return what waits: submitted tasks, and one for each storage domain and for each job that wants something."""
        wanted: dict[tuple[str, object], tuple[str, str, str]] = {}
        for domain, bucket, job in self._writer.waiting():
            name = (self._beans.get("StorageDomain", domain) or {}).get("Name", domain)
            told = f"Write chunks to tapes of the storage domain '{name}', the first of job {job.id}"
            wanted["write", (domain, bucket)] = ("WriteChunkToTape", told, job.priority)
        for job in self._reader.waiting():
            told = f"Read blobs from tape for job {job.id}"
            wanted["read", job.n] = ("ReadChunkFromTape", told, job.priority)
        self._announced = {key: task for key, task in self._announced.items() if key in wanted}
        for key, (name, told, priority) in wanted.items():
            task = self._announced.get(key)
            if task is None:
                task = self._announced[key] = DriveTask(name, told, _nothing, scheduled=self._clock.now())
                self.number(task)
            task.description, task.priority = told, priority
        return [*self._queue, *self._announced.values()]


def _nothing(drive: Drive) -> None:
    """What a task does that only stands in a list: nothing; no drive is given it."""


def _itself(task: DriveTask) -> DriveTask:
    return task
