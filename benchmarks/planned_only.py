"""A put that ends when its job is there: planned, written to the journal, declared, and the answer read to its end.

python -m benchmarks.planned_only ENDPOINT STATE [--objects N | --walk DIR]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from ds3tool.client import Ds3Client
from ds3tool.errors import InterruptedRunError
from ds3tool.jobs.ends import Failure, OpenObject, Source, SourceObject
from ds3tool.jobs.journal import Journal, WorkHead
from ds3tool.jobs.plan import PlannedJob
from ds3tool.jobs.put import PutRun
from ds3tool.jobs.run import RunSettings
from ds3tool.jobs.source_blocks import SourceBlock
from ds3tool.jobs.work_head import new_work_id
from ds3tool.protocol.model import Job, JobType
from ds3tool.sources.local import LocalSource
from ds3tool.transport.settings import ConnectionSettings

# Its digits are those of all numbers.
_FIRST = 10_000_000
_MADE = 1_700_000_000 * 10**9


class Names:
    """So many objects of 4 KiB that somebody has named: a source without a walk, of which nothing can be opened."""

    sequential = distant = False

    def __init__(self, count: int) -> None:
        self._count = count
        self.failures: list[Failure] = []
        self.skipped: list[str] = []
        self.notes: list[str] = []

    def objects(self) -> Iterator[SourceObject]:
        """Yield them by name, a thousand in each folder."""
        for block in self.blocks():
            yield from block

    def blocks(self) -> Iterator[SourceBlock]:
        """Yield the same folder by folder, as files are listed."""
        for start in range(0, self._count, 1000):
            numbers = range(start, min(start + 1000, self._count))
            # Whoever names files pays for it: here that is to cost as little as it can.
            beginning = f"planned/batch-{start // 1000:05d}/frame_"
            keys = [f"{beginning}{number}.dat" for number in range(_FIRST + start, _FIRST + numbers.stop)]
            block = SourceBlock()
            block.extend(
                keys,
                [4096] * len(keys),
                [_MADE + number for number in numbers],
                [key.encode() for key in keys],
                [number + 1 for number in numbers],
            )
            yield block

    def open(self, item: SourceObject) -> OpenObject:
        """There is nothing behind a name."""
        raise InterruptedRunError(f"{item.key} was to be planned only")


class UntilCreated(Journal):
    """A journal that ends the run once it has recorded a job."""

    def created(self, plan: PlannedJob, job: Job) -> None:
        """Record the job, and say that it is enough."""
        super().created(plan, job)
        raise InterruptedRunError(f"a job of {len(plan)} objects is there")


def main() -> int:
    """Plan and create one job; return 0 when the run ended just there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("endpoint")
    parser.add_argument("state", type=Path)
    parser.add_argument("--objects", type=int, default=500_000)
    parser.add_argument("--walk", metavar="DIR")
    asked = parser.parse_args()
    source: Source = Names(asked.objects) if asked.walk is None else LocalSource(asked.walk, prefix="planned/")
    with Ds3Client(ConnectionSettings(asked.endpoint, "k", "s")) as client:
        head = WorkHead(new_work_id(time.time()), JobType.PUT, "bench", client.get_bucket("bench").id)
        with UntilCreated.create(asked.state, head) as journal:
            run = PutRun(client, source, "bench", settings=RunSettings(), recorder=journal)
            try:
                stopped = run.run().stopped
            except InterruptedRunError as error:
                stopped = error
    print(stopped)
    return 0 if isinstance(stopped, InterruptedRunError) and f"a job of {asked.objects} objects" in str(stopped) else 1


if __name__ == "__main__":
    sys.exit(main())
