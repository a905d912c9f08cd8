"""What the journal costs: a put of many small objects with it and without it, and recording many blobs alone.

The appliance is the embedded one, in a process of its own. Runs with and without take turns, each order as often, and
the medians of their times are compared. Exit code 1 when the ratio is above the bar.

    python benchmarks/journal_cost.py [--objects 100000] [--size 1024] [--rounds 3] [--blobs 500000] [--state-dir DIR]
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from ds3tool.client import Ds3Client
from ds3tool.jobs.ends import SourceObject
from ds3tool.jobs.journal import Journal, WorkHead
from ds3tool.jobs.plan import JobLimits, plan_put
from ds3tool.jobs.put import PutRun
from ds3tool.jobs.recorder import MovedBlobs
from ds3tool.jobs.run import RunSettings
from ds3tool.jobs.work_head import new_work_id
from ds3tool.protocol.model import ChecksumType, Job, JobStatus, JobType
from ds3tool.sources.local import LocalSource
from ds3tool.transport.settings import ConnectionSettings

BAR = 1.15
# So many blobs are told to a recorder at once, as the engine does when they are small.
_TOLD_AT_ONCE = 200


@contextmanager
def appliance(folder: Path) -> Iterator[ConnectionSettings]:
    """Run an embedded appliance in another process, and give what connects to it."""
    command = [sys.executable, "-m", "ds3tool", "sim", "serve", "--dir", str(folder), "--checksum-type", "crc32c"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = "".join(process.stdout.readline() for _ in range(3))
            told = dict(re.findall(r"export DS3_(\w+)=(\S+)", lines))
            yield ConnectionSettings(told["ENDPOINT"], told["ACCESS_KEY"], told["SECRET_KEY"])
        finally:
            process.terminate()


def make_tree(folder: Path, objects: int, size: int) -> None:
    """Write so many files of so many bytes, a thousand in each folder."""
    for number in range(objects):
        path = folder / f"batch-{number // 1000:04d}" / f"frame_{number:08d}.dat"
        if not number % 1000:
            path.parent.mkdir(parents=True)
        path.write_bytes(number.to_bytes(8, "big") * (size // 8))


@dataclass
class Times:
    """Seconds of each run: by the clock on the wall, and of this process's processor time."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{statistics.median(self.wall):6.2f} s ({statistics.median(self.cpu):.2f} s of processor time)"


def put(settings: ConnectionSettings, tree: Path, bucket: str, state: Path | None, times: Times) -> None:
    """Put the tree into a new bucket, with a journal below `state` or without one; add what it took."""
    objects = sum(1 for path in tree.rglob("*") if path.is_file())
    with Ds3Client(settings) as client:
        client.create_bucket(bucket)
        bucket_id = client.get_bucket(bucket).id
        wall, cpu = time.perf_counter(), time.process_time()
        head = WorkHead(new_work_id(time.time()), JobType.PUT, bucket, bucket_id)
        with nullcontext() if state is None else Journal.create(state, head) as journal:
            run = PutRun(client, LocalSource(str(tree), prefix=""), bucket, settings=RunSettings(), recorder=journal)
            result = run.run()
            if journal is not None:
                journal.conclude()
        times.wall.append(time.perf_counter() - wall)
        times.cpu.append(time.process_time() - cpu)
        if result.exit_code or result.objects != objects:
            raise SystemExit(f"the put of {bucket} came to {result.objects} objects, exit code {result.exit_code}")


def compare_puts(folder: Path, state: Path, objects: int, size: int, rounds: int) -> float:
    """Return the ratio of the times with and without the journal."""
    tree = folder / "tree"
    make_tree(tree, objects, size)
    without, with_journal = Times(), Times()
    with appliance(folder / "appliance") as settings:
        put(settings, tree, "warm-up", None, Times())
        for number in range(rounds):
            sides = [(None, without), (state, with_journal)]
            for side, times in sides if number % 2 else reversed(sides):
                put(settings, tree, f"round-{number}-{'plain' if side is None else 'journal'}", side, times)
    print(f"put of {objects:,} objects of {size} bytes, {rounds} rounds:")
    print(f"  without journal {without}")
    print(f"  with journal    {with_journal}")
    ratio = statistics.median(with_journal.wall) / statistics.median(without.wall)
    cpu = statistics.median(with_journal.cpu) / statistics.median(without.cpu)
    print(f"  ratio {ratio:.3f}, of processor time {cpu:.3f}")
    return ratio


def record_alone(state: Path, blobs: int) -> None:
    """Record a plan of so many objects and each of their blobs, and read what remains."""
    items = (SourceObject(f"batch/{n // 1000:04d}/frame_{n:08d}.dat", 4096, n, b"%08d" % n, n) for n in range(blobs))
    plan = next(plan_put(items, "bucket", limits=JobLimits(objects=blobs)))
    head = WorkHead(new_work_id(time.time()), JobType.PUT, "bucket", "id")
    with Journal.create(state, head) as journal:
        started = time.perf_counter()
        journal.planned(plan)
        planned = time.perf_counter()
        journal.created(plan, Job("job", "bucket", JobType.PUT, JobStatus.IN_PROGRESS))
        for first in range(0, blobs, _TOLD_AT_ONCE):
            owners = range(first, min(blobs, first + _TOLD_AT_ONCE))
            count = len(owners)
            zeros, lengths = [0] * count, [4096] * count
            kinds, digests = [ChecksumType.CRC_32C] * count, ["4waSgw=="] * count
            journal.moved("job", MovedBlobs(owners, zeros, lengths, kinds, digests))
            journal.tick()
        journal.flush()
        moved = time.perf_counter()
        size = Path(journal.path).stat().st_size
    opening = time.perf_counter()
    with Journal.open(journal.path) as journal:
        (remainder,) = journal.remainders()
        opened = time.perf_counter() - opening
        journal.finished(remainder.plan)
        journal.drop()
    print(f"{blobs:,} blobs alone: plan {planned - started:.2f} s, blobs {moved - planned:.2f} s")
    print(f"  {(moved - planned) / blobs * 1e6:.2f} us a blob; {size / blobs:.0f} bytes an object; read {opened:.2f} s")


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--blobs", type=int, default=500_000)
    parser.add_argument("--state-dir", type=Path, help="on the disk to be measured; else a temporary folder")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        state = asked.state_dir or Path(folder) / "state"
        if asked.blobs:
            record_alone(state, asked.blobs)
        if not asked.objects:
            return 0
        ratio = compare_puts(Path(folder), state, asked.objects, asked.size, asked.rounds)
    print(f"the bar is {BAR}: {'held' if ratio <= BAR else 'missed'}")
    return 0 if ratio <= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
