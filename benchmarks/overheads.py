"""What care costs: puts with journal, digests (CRC-32C), progress and metadata on, and with all of them off.

The server is the neutral one. The bar is for whole programs; beside it stands the same of the run alone, in which no
start-up dilutes anything. All on and all off take turns with each single one on. Exit code 1 when all on is slower than
the bar allows.

    python -m benchmarks.overheads [--rounds 4] [--objects 100000] [--size 1GiB] [--quick]
"""

from __future__ import annotations

import functools
import itertools
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import yardstick
from benchmarks.bars import Report, Row, arguments
from benchmarks.programs import bare_environment, run
from benchmarks.rounds import in_turns, median_of, ratio
from benchmarks.trees import large_files, scratch, small_files
from ds3tool.sizes import format_size, parse_size

BAR = 0.85
KINDS = ("journal", "digests", "progress", "metadata")
_SMALL = 4096
_LARGE_FILES = 4


@dataclass(frozen=True, slots=True)
class Timed:
    """Seconds of one put: of the whole program, and of the run in it, that on the wall and of processor time."""

    whole: float
    seconds: float
    cpu_seconds: float


@dataclass(slots=True)
class Side:
    """Puts of one tree into one server."""

    endpoint: str
    folder: Path
    tree: Path
    objects: int
    numbers: itertools.count[int]

    def put(self, *kinds: str) -> Timed:
        """Put with these on and the others off; SystemExit unless all came."""
        state = self.folder / f"state-{next(self.numbers)}"
        command = [sys.executable, "-m", "benchmarks.put_with", self.endpoint, str(self.tree), str(state)]
        options = [f"--{kind}" for kind in kinds]
        above = Path(__file__).parents[1]
        taken = run([*command, *options], environ=bare_environment(self.folder), folder=above)
        told = json.loads(taken.said)
        shutil.rmtree(state, ignore_errors=True)
        if told["objects"] != self.objects:
            raise SystemExit(f"{told['objects']} of {self.objects} objects were put")
        return Timed(taken.seconds, told["seconds"], told["cpu_seconds"])


def compare(report: Report, side: Side, what: str, rounds: int) -> None:
    """Add the rows of one load."""
    ways: dict[str, Callable[[], Timed]] = {"off": side.put, "on": functools.partial(side.put, *KINDS)}
    ways |= {kind: functools.partial(side.put, kind) for kind in KINDS}
    found = in_turns(rounds, ways, warm_up=True)
    off = found["off"]
    for name, runs in found.items():
        if runs is off:
            continue
        # The rate with it over the rate without is the time without over the time with it.
        kept, alone = ratio(off, runs, lambda one: one.whole), ratio(off, runs, lambda one: one.seconds)
        cpu = median_of(runs, lambda one: one.cpu_seconds) / median_of(off, lambda one: one.cpu_seconds)
        wall = f"{median_of(runs, lambda one: one.whole):.2f} s for {median_of(off, lambda one: one.whole):.2f} s"
        shown = f"{what}: all on" if name == "on" else f"{what}: {name} alone"
        at_least = BAR if name == "on" else None
        told = f"{wall}; the run alone {alone:.2f} x, its CPU {cpu:.2f} x"
        report.add(Row(f"{shown}, against all off", kept, at_least=at_least, told=told))


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = arguments(__doc__, rounds=4)
    parser.add_argument("--objects", type=int, default=100_000, help="small objects")
    parser.add_argument("--size", default="1GiB", help="bytes of each of four large objects")
    asked = parser.parse_args()
    objects, size, rounds = asked.objects, parse_size(asked.size), asked.rounds
    if asked.quick:
        objects, size, rounds = min(objects, 20_000), min(size, 256 << 20), 2
    report = Report("Overheads", asked.record)
    with scratch(need=_LARGE_FILES * size) as folder, yardstick.serve(checksum="crc32c") as server:
        endpoint, numbers = server.endpoint, itertools.count()
        tree = small_files(folder / "small", objects, _SMALL)
        compare(report, Side(endpoint, folder, tree, objects, numbers), f"{objects:,} x 4 KiB", rounds)
        shutil.rmtree(tree)
        tree = large_files(folder / "large", _LARGE_FILES, size)
        shown = f"{_LARGE_FILES} x {format_size(size)}"
        compare(report, Side(endpoint, folder, tree, _LARGE_FILES, numbers), shown, rounds)
    return report.conclude()


if __name__ == "__main__":
    sys.exit(main())
