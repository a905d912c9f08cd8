"""Small objects: against a C program with one system call for each, and against the S3 clients.

The server is the neutral one, in a process of its own. Told are whole programs: ds3tool with its job, its journal and
CRC-32C. The peers move fewer objects, lest a run take hours, and their rate is that of their own run. Then the same
with a server that answers late, where the transfer alone is told. Exit code 1 when a bar is missed.

    python -m benchmarks.small [--objects 100000] [--rounds 3] [--peers s5cmd,rclone | none] [--quick]
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import yardstick
from benchmarks.bars import Report, Row, arguments, say
from benchmarks.ours import Ours
from benchmarks.programs import Taken
from benchmarks.rounds import in_turns, median_of, ratio
from benchmarks.s3_peers import DISTANT, SMALL, Peer, chosen, quicker
from benchmarks.trees import Targets, scratch, small_files

SIZE = 4096
CONNECTIONS = 4
PUT_OF_C, GET_OF_C, CPU_US = 0.40, 0.35, 45
OF_PEER: Mapping[str, float] = {"s5cmd": 4, "rclone": 4, "obstore": 3}
DELAY_MS, DISTANT_OBJECTS, DISTANT_CONNECTIONS = 2, 5000, 32
DISTANT_OF_C, DISTANT_OF_PEERS = 0.9, 2
# Peers move one of so many objects, and no fewer than so many: seconds of a run, so that a start weighs as little as
# it does for us. Those that are slow need milliseconds for an object.
_SLOW = frozenset({"aws cli", "boto3", "boto3 CRT"})
_SLOW_SHARE, _SLOW_LEAST = 100, 500
_SHARE, _LEAST = 5, 20_000
# Which settings suit a peer is tried with one of so many of these.
_TRIED = 10
_NAME = "P{:09d}"


@dataclass(frozen=True, slots=True)
class Went:
    """One run: the objects of it, seconds on the wall and of processor time, and of the transfer alone."""

    objects: int
    seconds: float
    cpu_seconds: float
    alone: float

    @property
    def each(self) -> float:
        """Seconds an object."""
        return self.seconds / self.objects

    @property
    def alone_each(self) -> float:
        """Seconds an object, from the first body byte that the server saw to the last."""
        return self.alone / self.objects

    @property
    def cpu_us(self) -> float:
        """Microseconds of processor time an object."""
        return self.cpu_seconds / self.objects * 1e6


def watched(server: yardstick.Server, objects: int, act: Callable[[], Taken]) -> Went:
    """Do what moves so many objects; SystemExit unless the server saw them all."""
    server.reset()
    taken = act()
    stats = server.stats()
    if (seen := max(stats.puts, stats.gets)) < objects:
        raise SystemExit(f"the server saw {seen} requests for objects, and not {objects}")
    return Went(objects, taken.seconds, taken.cpu_seconds, stats.transfer_seconds)


def in_c(
    mode: yardstick.Mode, server: yardstick.Server, objects: int, folder: Path, connections: int = CONNECTIONS
) -> Went:
    """Move the objects with the C program."""

    def act() -> Taken:
        told = yardstick.limit(mode, server.port, connections=connections, count=objects, size=SIZE, folder=folder)
        return Taken(told["seconds"], told["cpu_seconds"], 0)

    return watched(server, objects, act)


def tree_of(folder: Path, objects: int) -> Path:
    """Return a folder with so many files in it, all in one folder; made when there is none yet."""
    above = folder / f"tree-{objects}"
    if not above.exists():
        small_files(above, objects, SIZE, in_each=objects, name=_NAME)
    return above / "batch-00000"


def fewer(name: str, objects: int) -> int:
    """Return how many objects a peer moves."""
    share, least = (_SLOW_SHARE, _SLOW_LEAST) if name in _SLOW else (_SHARE, _LEAST)
    return max(objects // share, min(least, objects))


def puts(report: Report, folder: Path, objects: int, asked: argparse.Namespace) -> None:
    """Add the rows of puts."""
    with yardstick.serve(checksum="crc32c") as server:
        ours, tree = Ours(server.endpoint, folder), tree_of(folder, objects)

        def put(peer: Peer, count: int) -> Went:
            source = tree_of(folder, count)
            return watched(server, count, lambda: peer.put(server.endpoint, source, "y/", folder))

        ways: dict[str, Callable[[], Went]] = {
            "C": lambda: in_c("put-small", server, objects, tree),
            "ours": lambda: watched(server, objects, lambda: ours.put(tree, "ds3://bench/x/", objects=objects)),
        }
        for name in chosen(SMALL, asked.peers):
            count = fewer(name, objects)
            peer = quicker(SMALL[name], functools.partial(_seconds_of, put, max(1, count // _TRIED)))
            ways[peer.shown] = functools.partial(put, peer, count)
        found = in_turns(asked.rounds, ways)
    tell(report, f"put {objects:,} x 4 KiB", objects, found, PUT_OF_C)


def gets(report: Report, folder: Path, objects: int, asked: argparse.Namespace) -> None:
    """Add the rows of gets to files."""
    targets = Targets(folder / "got")

    def get(server: yardstick.Server, peer: Peer, count: int) -> Went:
        load = (count, count * SIZE)
        return watched(server, count, lambda: peer.get(server.endpoint, "", folder, targets, load))

    peers = []
    for name in chosen(SMALL, asked.peers):
        count = max(1, fewer(name, objects) // _TRIED)
        with yardstick.serve(objects=count, size=SIZE) as few:
            trial = functools.partial(_seconds_of, functools.partial(get, few), count)
            peers.append((name, quicker(SMALL[name], trial)))
    with contextlib.ExitStack() as serving:

        def serve(count: int, checksum: yardstick.Checksum = "none") -> yardstick.Server:
            return serving.enter_context(yardstick.serve(objects=count, size=SIZE, checksum=checksum))

        server = serve(objects, checksum="crc32c")
        of_peers = {count: serve(count) for count in {fewer(name, objects) for name, _ in peers}}
        ours = Ours(server.endpoint, folder)

        def our_get() -> Went:
            with targets.room() as target:
                return watched(server, objects, lambda: ours.get("ds3://bench/", target, objects=objects))

        def with_c() -> Went:
            with targets.room() as target:
                return in_c("get-small", server, objects, target)

        ways: dict[str, Callable[[], Went]] = {"C": with_c, "ours": our_get}
        for name, peer in peers:
            count = fewer(name, objects)
            ways[peer.shown] = functools.partial(get, of_peers[count], peer, count)
        found = in_turns(asked.rounds, ways)
    tell(report, f"get {objects:,} x 4 KiB", objects, found, GET_OF_C)


def _seconds_of(act: Callable[[Peer, int], Went], count: int, peer: Peer) -> float:
    return act(peer, count).seconds


def tell(report: Report, what: str, objects: int, found: Mapping[str, list[Went]], of_c: float) -> None:
    """Add the rows of one direction."""
    full = objects >= 100_000  # start-up weighs more on fewer, and the bars are for so many
    ours = found["ours"]

    def shown(name: str) -> str:
        runs = found[name]
        rate = f"{1 / median_of(runs, _each):,.0f} a second, {median_of(runs, lambda one: one.cpu_us):.0f} us CPU each"
        return rate if runs[0].objects == objects else f"{rate} (of {runs[0].objects:,})"

    told = f"{shown('ours')}; C {shown('C')}"
    report.add(Row(f"{what}, whole program, of C", ratio(found["C"], ours, _each), at_least=of_c, told=told))
    alone = ratio(found["C"], ours, lambda one: one.alone_each)
    report.add(Row(f"{what}, transfer alone, of C", alone))
    cpu = median_of(ours, lambda one: one.cpu_us)
    report.add(Row(f"{what}, CPU a request", cpu, at_most=CPU_US if full else None, unit="us"))
    for name, runs in found.items():
        if name not in {"C", "ours"}:
            bar = OF_PEER.get(name.partition(" (")[0])
            report.add(Row(f"{what}, of {name}", ratio(runs, ours, _each), at_least=bar, told=shown(name)))


def distant(report: Report, folder: Path, asked: argparse.Namespace) -> None:
    """Add the rows of puts to a server that answers late."""
    objects = DISTANT_OBJECTS
    tree = tree_of(folder, objects)
    with yardstick.serve(checksum="crc32c", delay_ms=DELAY_MS) as server:
        ours = Ours(server.endpoint, folder)

        def put(*options: str) -> Went:
            return watched(server, objects, lambda: ours.put(tree, "ds3://bench/x/", *options, objects=objects))

        def by(peer: Peer) -> Went:
            return watched(server, objects, lambda: peer.put(server.endpoint, tree, "y/", folder))

        ways: dict[str, Callable[[], Went]] = {
            "C": lambda: in_c("put-small", server, objects, tree, DISTANT_CONNECTIONS),
            "ours": lambda: put("--transfers", str(DISTANT_CONNECTIONS)),
            "ours by default": put,
        }
        for name in chosen(DISTANT, asked.peers) if asked.peers == "all" else ():
            peer = quicker(DISTANT[name], lambda one: by(one).alone)
            ways[peer.shown] = functools.partial(by, peer)
        found = in_turns(max(asked.rounds, 3), ways, warm_up=True)

    def shown(name: str) -> str:
        return f"{1 / median_of(found[name], _alone_each):,.0f} a second"

    what = f"put {objects:,} x 4 KiB, {DELAY_MS} ms late, alone"
    told = f"{shown('ours')}, C {shown('C')}"
    measured = ratio(found["C"], found["ours"], _alone_each)
    report.add(Row(f"{what}, {DISTANT_CONNECTIONS} connections, of C", measured, at_least=DISTANT_OF_C, told=told))
    measured = ratio(found["C"], found["ours by default"], _alone_each)
    report.add(Row(f"{what}, by default, of C", measured, told=shown("ours by default")))
    peers = [name for name in found if not name.startswith(("C", "ours"))]
    for name in peers:
        report.add(Row(f"{what}, of {name}", ratio(found[name], found["ours"], _alone_each), told=shown(name)))
    if peers:
        best = min(peers, key=lambda name: median_of(found[name], _alone_each))
        of_best = ratio(found[best], found["ours"], _alone_each)
        report.add(Row(f"{what}, of the best of them", of_best, at_least=DISTANT_OF_PEERS, told=f"it is {best}"))


def _each(one: Went) -> float:
    return one.each


def _alone_each(one: Went) -> float:
    return one.alone_each


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--peers", default="all", help=f"of {', '.join(SMALL)}; or none")
    parser.add_argument("--only", choices=["put", "get", "distant"], help="one of the three parts")
    asked = parser.parse_args()
    objects = asked.objects
    if asked.quick:
        objects, asked.rounds = min(objects, 20_000), 1
    report = Report("Small objects", asked.record)
    with scratch(need=objects * 4 * SIZE) as folder:
        say(f"{objects:,} files of {SIZE} bytes lie in {folder}")
        if asked.only in {None, "put"}:
            puts(report, folder, objects, asked)
        if asked.only in {None, "get"}:
            gets(report, folder, objects, asked)
        if asked.only in {None, "distant"}:
            distant(report, folder, asked)
    return report.conclude()


if __name__ == "__main__":
    sys.exit(main())
