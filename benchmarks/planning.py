"""Jobs of many objects before their first byte: planned, created and read back; walked; filtered; listed.

The server is the neutral one. Figures are of whole processes, start-up and journal included: processor time, since
nothing here waits for anything, and the peak of resident memory. Exit code 1 when a bar is missed.

    python -m benchmarks.planning [--objects 500000] [--rounds 3] [--quick]
"""

from __future__ import annotations

import itertools
import json
import shutil
import sys
import time
import urllib.request
import xml.parsers.expat
from collections.abc import Callable
from pathlib import Path

from benchmarks import yardstick
from benchmarks.bars import Report, Row, arguments
from benchmarks.ours import Ours
from benchmarks.programs import Taken, run
from benchmarks.rounds import in_turns, median_of, ratio
from benchmarks.trees import scratch, small_files

JOB_SECONDS = 3
WALKED_SECONDS = 6
JOB_MIB = 200
_SIZE = 4096
_LISTED = 300_000
_MIB = 1 << 20


def one_job(report: Report, folder: Path, objects: int, rounds: int) -> None:
    """Add the rows of one job, from names and from a walk."""
    tree = small_files(folder / "tree", objects, _SIZE, sparse=True)
    numbers = itertools.count()
    with yardstick.serve(checksum="crc32c") as server:
        ours = Ours(server.endpoint, folder)

        def planned(*options: str) -> Taken:
            state = folder / f"planned-{next(numbers)}"
            command = [sys.executable, "-m", "benchmarks.planned_only", ours.endpoint, str(state), *options]
            taken = run([*command, "--objects", str(objects)], environ=ours.environ, folder=Path(__file__).parents[1])
            shutil.rmtree(state)
            return taken

        ways: dict[str, Callable[[], Taken]] = {
            "named": planned,
            "walked": lambda: planned("--walk", str(tree)),
        }
        found = in_turns(rounds, ways)
    full = objects == 500_000
    for name, what, bar in (
        ("named", "plan, create and read back", JOB_SECONDS),
        ("walked", "the same, walking a tree included", WALKED_SECONDS),
    ):
        cpu, peak = _cpu(found[name]), _peak(found[name])
        told = f"wall {median_of(found[name], lambda one: one.seconds):.2f} s"
        at_most = bar if full else None
        report.add(Row(f"{what}, {objects:,} objects", cpu, at_most=at_most, unit="s CPU", told=told))
        most = JOB_MIB if full and name == "named" else None
        report.add(Row(f"{what}: memory", peak / _MIB, at_most=most, unit="MiB"))
    shutil.rmtree(tree)


def filtered(report: Report, folder: Path, files: int) -> None:
    """Add the rows of trees of which a tenth is in the bucket already, in one folder: half of the files, and all."""
    peaks, there = [], files // 10
    for count in (files // 2, files):
        tree = small_files(folder / "tree", count - there, _SIZE, sparse=True)
        small_files(tree / "there", there, _SIZE, sparse=True, in_each=there, name="{:09d}")
        with yardstick.serve(checksum="crc32c", objects=there, size=_SIZE, prefix="x/there/batch-00000/") as server:
            ours = Ours(server.endpoint, folder)
            options = ("--if-exists", "skip", "--dry-run", "-o", "json")
            taken = ours.run("put", str(tree), "ds3://bench/x/", *options)
        told = json.loads(taken.said)
        if (told["objects"], told["skipped"]) != (count - there, there):
            raise SystemExit(f"of {count} files {told['objects']} were planned and {told['skipped']} left out")
        peaks.append(taken.peak_bytes / _MIB)
        what = f"{count:,} files walked, {there:,} of them filtered out by a listing, planned"
        report.add(Row(what, taken.cpu_seconds, unit="s CPU", told=f"{peaks[-1]:.0f} MiB, wall {taken.seconds:.1f} s"))
        shutil.rmtree(tree)
    report.add(Row("memory for twice as many files", peaks[1] / peaks[0], told="a job holds 500,000 at most"))


def listing(report: Report, keys: int, rounds: int) -> None:
    """Add the row of listing pages: the client's whole way, and expat alone on the same pages."""
    from ds3tool.client import Ds3Client
    from ds3tool.transport.settings import ConnectionSettings

    with yardstick.serve(objects=keys, size=_SIZE, prefix="x/") as server:
        endpoint = server.endpoint
        with urllib.request.urlopen(f"{endpoint}/bench?max-keys=1000&prefix=x/") as answer:
            page = answer.read()
        pages = keys // 1000

        def ours() -> float:
            with Ds3Client(ConnectionSettings(endpoint, "k", "s")) as client:
                started = time.process_time()
                found = sum(1 for _ in client.list_objects("bench", prefix="x/"))
                taken = time.process_time() - started
            if found != keys:
                raise SystemExit(f"{found} of {keys} keys were listed")
            return taken

        def expat() -> float:
            started = time.process_time()
            for _ in range(pages):
                _expat_columns(page)
            return time.process_time() - started

        found = in_turns(rounds, {"ours": ours, "expat": expat})
    told = f"{keys / median_of(found['ours'], float):,.0f} keys a CPU second"
    plain = f"expat into columns {keys / median_of(found['expat'], float):,.0f}"
    report.add(Row(f"listing {keys:,} keys, CPU over expat's", ratio(found["ours"], found["expat"], float),
                   told=f"{told}, {plain}"))  # fmt: skip


def _expat_columns(page: bytes) -> tuple[list[str], list[str]]:
    """Return keys and sizes of one page, as the least that reading one can be."""
    keys: list[str] = []
    sizes: list[str] = []
    text: list[str] = []
    parser = xml.parsers.expat.ParserCreate()
    parser.buffer_text = True

    def end(name: str) -> None:
        if name == "Key":
            keys.append("".join(text))
        elif name == "Size":
            sizes.append("".join(text))

    parser.StartElementHandler = lambda name, attributes: text.clear()  # noqa: ARG005 - expat gives both
    parser.CharacterDataHandler = text.append
    parser.EndElementHandler = end
    parser.Parse(page, True)
    if not keys or len(keys) != len(sizes):
        raise SystemExit(f"a page with {len(keys)} keys and {len(sizes)} sizes")
    return keys, sizes


def _cpu(runs: list[Taken]) -> float:
    return median_of(runs, lambda one: one.cpu_seconds)


def _peak(runs: list[Taken]) -> float:
    return median_of(runs, lambda one: one.peak_bytes)


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--objects", type=int, default=500_000, help="of one job; the bars are for 500,000")
    parser.add_argument("--files", type=int, default=1_000_000, help="of the tree that is filtered")
    asked = parser.parse_args()
    report = Report("Planning", asked.record)
    objects, files, rounds = asked.objects, asked.files, asked.rounds
    if asked.quick:
        objects, files, rounds = min(objects, 50_000), 100_000, 1
    with scratch(need=files * 1500) as folder:
        one_job(report, folder, objects, rounds)
        filtered(report, folder, files)
    listing(report, min(files, _LISTED), rounds)
    return report.conclude()


if __name__ == "__main__":
    sys.exit(main())
