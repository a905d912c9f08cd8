"""What it costs to begin: `--version`, `--help` and one small put with its job, over a Python that does nothing.

The server is the neutral one. Each way is gone once a round; told are the medians, over the rounds, of what a way took
more than `python -c pass` in the same round. Everything is compiled beforehand. Exit code 1 when a bar is missed.

    python -m benchmarks.startup [--rounds 40] [--quick]
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable

from benchmarks import yardstick
from benchmarks.bars import Report, Row, arguments
from benchmarks.ours import Ours
from benchmarks.programs import Taken, run
from benchmarks.rounds import in_turns, median_of
from benchmarks.trees import large_files, scratch

VERSION_MS = 30
HELP_MS = 150
PUT_MS = 250


def measure(report: Report, rounds: int) -> None:
    """Add the rows of start-up."""
    with scratch() as folder, yardstick.serve(checksum="crc32c") as server:
        ours = Ours(server.endpoint, folder)
        tree = large_files(folder / "tree", 1, 4096)
        (file,) = tree.iterdir()
        idle = [sys.executable, "-c", "pass"]
        ways: dict[str, Callable[[], Taken]] = {
            "python -c pass": lambda: run(idle, environ=ours.environ, folder=folder),
            "--version": lambda: ours.run("--version"),
            "--help": lambda: ours.run("--help"),
            "put --help": lambda: ours.run("put", "--help"),
            "one 4 KiB put with its job": lambda: ours.put(file, "ds3://bench/x/one", objects=1),
        }
        found = in_turns(rounds, ways, warm_up=True)
    nothing = found["python -c pass"]
    report.note(f"python -c pass takes {median_of(nothing, lambda one: one.seconds) * 1e3:.0f} ms; {rounds} rounds")
    bars = {"--version": VERSION_MS, "--help": HELP_MS, "one 4 KiB put with its job": PUT_MS}
    for name, runs in found.items():
        if runs is nothing:
            continue
        more = statistics.median(one.seconds - none.seconds for one, none in zip(runs, nothing, strict=True))
        cpu = statistics.median(one.cpu_seconds - none.cpu_seconds for one, none in zip(runs, nothing, strict=True))
        told = f"of processor time {cpu * 1e3:.0f} ms more"
        report.add(Row(f"{name}, over python -c pass", more * 1e3, at_most=bars.get(name), unit="ms", told=told))


def main() -> int:
    """Measure, print, and return the exit code."""
    asked = arguments(__doc__, rounds=40).parse_args()
    report = Report("Start-up", asked.record)
    measure(report, 5 if asked.quick else asked.rounds)
    return report.conclude()


if __name__ == "__main__":
    sys.exit(main())
