"""A run's steps as a journal hears them, numbered, so that two journals can be told the same.

As a program: for each folder that a line of its input names, a process of its own tells a new journal there one step
after the other, until it is killed. It prints its process id, and each step's number when that is on the disk; when it
is killed, its parent prints "over".
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from ds3tool.jobs.ends import TargetObject
from ds3tool.jobs.journal import Journal, WorkHead
from ds3tool.jobs.plan import PlannedJob
from ds3tool.jobs.recorder import Arriving, MovedBlobs
from ds3tool.jobs.remainder import Remainder
from ds3tool.protocol.model import ChecksumType, Job, JobStatus, JobType

Step = Callable[[Journal], None]

HEAD = WorkHead("work", JobType.GET, "archive", "bucket", begun=datetime(2026, 3, 1, tzinfo=UTC))
_OBJECTS = 300
_BATCH = 60


def make_plan(number: int) -> PlannedJob:
    """Return the plan of that number, always the same."""
    plan = PlannedJob(JobType.GET, "archive", token=f"{number:012x}")
    for place in range(_OBJECTS + number % 7):
        plan.add_target(TargetObject(f"plan {number}/key {place}", place, f"name {place}"))
    return plan


def steps() -> Iterator[Step]:
    """Yield what a get tells, step by step, without end: every third plan is never finished."""
    for number in itertools.count():
        plan = make_plan(number)
        job_id = f"job {number}"

        def planned(journal: Journal, plan: PlannedJob = plan) -> None:
            journal.planned(plan)

        def created(journal: Journal, plan: PlannedJob = plan, job_id: str = job_id) -> None:
            journal.created(plan, Job(job_id, "archive", JobType.GET, JobStatus.IN_PROGRESS))

        def finished(journal: Journal, plan: PlannedJob = plan) -> None:
            journal.finished(plan)

        yield planned
        yield created
        for first in range(0, _OBJECTS, _BATCH):
            yield _moving(job_id, first)
        if number % 3:
            yield finished


def _moving(job_id: str, first: int) -> Step:
    owners = range(first, first + _BATCH)

    def moving(journal: Journal) -> None:
        journal.arriving(job_id, [Arriving(first, 0, 100, first)])
        journal.arriving(job_id, [Arriving(first + 1, 0, 100, 7)])
        journal.moved(
            job_id,
            MovedBlobs(
                owners[1:],
                [0] * (_BATCH - 1),
                [1] * (_BATCH - 1),
                [ChecksumType.MD5] * (_BATCH - 1),
                [f"{job_id} {owner:05d}" for owner in owners[1:]],
            ),
        )
        journal.appeared(job_id, owners[2:])
        journal.flush()

    return moving


def told(remainder: Remainder) -> tuple[object, ...]:
    """Return all that a remainder says, but for times, to be compared."""
    held = remainder.held
    blobs = {
        (held.owners[n], held.offsets[n]): (held.lengths[n], held.kinds[n], held.checksums[n]) for n in range(len(held))
    }
    plan = tuple(getattr(remainder.plan, name) for name in PlannedJob.__slots__)
    return plan, remainder.job_id, blobs, bytes(remainder.appeared), remainder.arriving


def main() -> None:
    """Tell journals steps, in processes that are killed."""
    for line in sys.stdin:
        process = os.fork()
        if process:
            os.waitpid(process, 0)
            print("over", flush=True)
            continue
        print(os.getpid(), flush=True)
        with Journal.create(line.strip(), HEAD) as journal:
            for number, step in enumerate(steps(), 1):
                step(journal)
                print(number, flush=True)


if __name__ == "__main__":
    main()
