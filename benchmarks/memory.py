"""Memory of one large object, whatever its size, over that of a ds3tool which has begun and found nothing to do.

The server is the neutral one; what is put is a sparse file. Told is the peak of resident memory of the whole process.
Exit code 1 when a bar is missed.

    python -m benchmarks.memory [--sizes 1GiB,4GiB,16GiB] [--got 1GiB,4GiB] [--rounds 1] [--quick]
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from benchmarks import yardstick
from benchmarks.bars import Report, Row, arguments
from benchmarks.ours import Ours
from benchmarks.programs import Taken, own_peak
from benchmarks.rounds import median_of
from benchmarks.trees import Targets, scratch, sparse_file
from ds3tool.sizes import format_size, parse_size

BAR_MIB = 60
_MIB = 1 << 20


def peak(runs: list[Taken]) -> float:
    """Return the median of the peaks in MiB; SystemExit where this process was larger, and hides them."""
    found = median_of(runs, lambda one: one.peak_bytes)
    if found <= own_peak():
        raise SystemExit(f"a peak of {found / _MIB:.0f} MiB cannot be told from this process's own")
    return found / _MIB


def measure(report: Report, folder: Path, put_sizes: list[int], got_sizes: list[int], rounds: int) -> None:
    """Add the rows of puts, then of gets."""
    with yardstick.serve(checksum="crc32c") as server:
        ours = Ours(server.endpoint, folder)
        (folder / "empty").mkdir()
        empty = [str(folder / "empty"), "ds3://bench/x/"]
        idle = peak([ours.run("put", *empty, "--exclude", "*", "-o", "json") for _ in range(3)])
        report.note(f"a put that finds nothing to do has {idle:.1f} MiB at most")
        for size in put_sizes:
            tree = sparse_file(folder / f"put-{size}", size)
            most = peak([ours.put(tree, "ds3://bench/x/", objects=1) for _ in range(rounds)])
            _add(report, f"put one object of {format_size(size)}", most, idle)
            shutil.rmtree(tree)
    targets = Targets(folder / "got")
    for size in got_sizes:
        with yardstick.serve(checksum="crc32c", objects=1, size=size, prefix="x/") as server:
            ours = Ours(server.endpoint, folder)
            runs = []
            for _ in range(rounds):
                with targets.room() as target:
                    runs.append(ours.get("ds3://bench/x/", target, objects=1))
            _add(report, f"get one object of {format_size(size)}", peak(runs), idle)


def _add(report: Report, what: str, most: float, idle: float) -> None:
    report.add(Row(f"{what}, over idle", most - idle, at_most=BAR_MIB, unit="MiB", told=f"{most:.1f} MiB in all"))


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = arguments(__doc__, rounds=1)
    parser.add_argument("--sizes", default="1GiB,4GiB,16GiB", help="of what is put, sparse")
    parser.add_argument("--got", default="1GiB,4GiB", help="of what is got, for which memory must have room")
    asked = parser.parse_args()
    put_sizes, got_sizes = ([parse_size(one) for one in sizes.split(",")] for sizes in (asked.sizes, asked.got))
    if asked.quick:
        put_sizes, got_sizes = put_sizes[:2], got_sizes[:1]
    report = Report("Memory", asked.record)
    with scratch(need=max(got_sizes, default=0)) as folder:
        measure(report, folder, put_sizes, got_sizes, asked.rounds)
    return report.conclude()


if __name__ == "__main__":
    sys.exit(main())
