"""Large objects: against a C program that does nothing but sendfile, or splice, and against the S3 clients.

The server is the neutral one, in a process of its own. First ds3tool and the C program take turns: told is the
transfer alone, from the first to the last body byte that the server saw. Then ds3tool and the peers take turns: told
are whole programs, ds3tool with its job, its journal and CRC-32C, each peer in the quicker of two ways and with the
digests that it makes by itself; and ds3tool without digests against those that can leave theirs out. Exit code 1 when
a bar is missed.

    python -m benchmarks.large [--size 1GiB] [--rounds 5] [--peer-rounds 3] [--peers s5cmd,rclone | none] [--quick]
"""

from __future__ import annotations

import argparse
import functools
import shutil
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import yardstick
from benchmarks.bars import Report, Row, arguments, say
from benchmarks.ours import Ours
from benchmarks.programs import Taken
from benchmarks.rounds import in_turns, median_of, ratio
from benchmarks.s3_peers import LARGE, LARGE_LEAN, Peer, chosen, quicker
from benchmarks.trees import Targets, large_files, scratch
from ds3tool.sizes import format_size, parse_size

COUNT = 4
CONNECTIONS = 4
PUT_OF_C, PUT_CPU_OF_C, PUT_WITH_DIGESTS, GET_OF_C = 0.90, 1.15, 0.80, 0.80
PUT_OF_PEERS, GET_OF_PEERS, PUT_CPU_OF_PEERS = 4, 1.5, 1 / 6
C_OF_BARE = 0.9
_NAME = "P{:09d}"
_OURS, _OURS_LEAN, _C = "ours", "ours (no digests)", "C"
# Just above what goes through the loop for small objects: what such a put takes is not the large ones' moving.
_LEAST = 300 << 10
_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Moved:
    """One transfer: seconds from its first body byte to its last, and what the whole program took."""

    alone: float
    whole: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Load:
    """Objects of one size; `tree` is where they lie."""

    tree: Path
    size: int
    count: int = COUNT

    @property
    def bytes(self) -> int:
        """Bytes in all."""
        return self.size * self.count

    def __str__(self) -> str:
        return f"{self.count} x {format_size(self.size)}"


def watched(server: yardstick.Server, load: Load, act: Callable[[], Taken]) -> Moved:
    """Do what moves a load; SystemExit unless the server saw just its bytes."""
    server.reset()
    taken = act()
    stats = server.stats()
    if (seen := max(stats.bytes_in, stats.bytes_out)) < load.bytes:
        raise SystemExit(f"the server saw {seen} bytes, and not {load.bytes}")
    return Moved(stats.transfer_seconds, taken.seconds, taken.cpu_seconds)


def in_c(mode: yardstick.Mode, server: yardstick.Server, load: Load, folder: Path) -> Moved:
    """Move a load with the C program."""

    def act() -> Taken:
        told: Mapping[str, Any] = yardstick.limit(
            mode, server.port, connections=CONNECTIONS, count=load.count, size=load.size, folder=folder
        )
        return Taken(told["seconds"], told["cpu_seconds"], 0)

    return watched(server, load, act)


def bare(load: Load) -> Moved:
    """Move as many bytes between pairs of sockets, with no protocol at all."""
    told = yardstick.limit("bare", connections=CONNECTIONS, size=load.size, folder=load.tree)
    return Moved(told["seconds"], told["seconds"], told["cpu_seconds"])


def _rate(load: Load, runs: Sequence[Moved]) -> str:
    return f"{load.bytes / median_of(runs, lambda one: one.alone) / 1e9:.2f} GB/s"


def put_beside_c(report: Report, folder: Path, load: Load, asked: argparse.Namespace) -> None:
    """Add the rows of puts against C, without digests and with them."""
    least = Load(large_files(folder / "least", COUNT, _LEAST, name=_NAME), _LEAST)
    with yardstick.serve(checksum="crc32c") as server:
        ours = Ours(server.endpoint, folder)

        def put(what: Load, *options: str) -> Moved:
            return watched(server, what, lambda: ours.put(what.tree, "ds3://bench/x/", *options, objects=what.count))

        ways: dict[str, Callable[[], Moved]] = {
            "bare": lambda: bare(load),
            "C": lambda: in_c("put-large", server, load, load.tree),
            "plain": lambda: put(load, "--checksum", "none"),
            "least": lambda: put(least, "--checksum", "none"),
            "digests": lambda: put(load),
        }
        found = in_turns(asked.rounds, ways, warm_up=True)
    check_c(report, load, found["C"], found["bare"], busy=asked.busy)
    plain, digests, c = found["plain"], found["digests"], found["C"]
    told = f"{_rate(load, plain)}, C {_rate(load, c)}"
    report.add(Row(f"put {load}, alone, of C", ratio(c, plain, _alone), at_least=PUT_OF_C, told=told))
    cpu = [one.cpu_seconds - none.cpu_seconds for one, none in zip(plain, found["least"], strict=True)]
    gib = load.bytes / _GIB
    told = f"{statistics.median(cpu) / gib:.3f} s/GiB without start-up, C {median_of(c, _cpu) / gib:.3f}"
    of_c = statistics.median(mine / theirs.cpu_seconds for mine, theirs in zip(cpu, c, strict=True))
    report.add(Row("its CPU, of C", of_c, at_most=PUT_CPU_OF_C, told=told))
    # A digest is made before the first byte of its blob goes out, where the transfer alone would not count it: so
    # what the whole program takes longer is added to the transfer.
    kept = [
        mine.alone / (mine.alone + max(0.0, other.whole - mine.whole))
        for mine, other in zip(plain, digests, strict=True)
    ]
    told = f"alone {_rate(load, digests)}, {ratio(plain, digests, _alone):.2f} x of the same without"
    report.add(Row("with CRC-32C, of the same without", statistics.median(kept), at_least=PUT_WITH_DIGESTS, told=told))


def check_c(report: Report, load: Load, c: Sequence[Moved], bare_runs: Sequence[Moved], *, busy: bool) -> None:
    """Stop where the C program is no limit: it must come near to a bare loop."""
    of_bare = ratio(bare_runs, c, _alone)
    report.note(f"C moves {_rate(load, c)}, {of_bare:.2f} of the bare loop's {_rate(load, bare_runs)}")
    if of_bare < C_OF_BARE:
        if not busy:
            raise SystemExit(f"the C client reaches {of_bare:.2f} of the bare loop, and {C_OF_BARE} is needed")
        report.note("that is too little for a yardstick: the machine is busy, and these figures prove nothing")


def get_beside_c(report: Report, folder: Path, load: Load, asked: argparse.Namespace) -> None:
    """Add the row of gets to files against C, and the same once on disk, for information."""
    with yardstick.serve(checksum="crc32c", objects=load.count, size=load.size) as server:
        for on, name in ((folder, ""), (None, ", on disk")):
            if on is None and asked.no_disk:
                continue
            with scratch(need=load.bytes, on=asked.disk if on is None else folder) as place:
                targets, ours = Targets(place), Ours(server.endpoint, folder)

                def get(ours: Ours = ours, targets: Targets = targets) -> Moved:
                    with targets.room() as target:
                        return watched(server, load, lambda: ours.get("ds3://bench/", target, objects=load.count))

                def with_c(targets: Targets = targets) -> Moved:
                    with targets.room() as target:
                        return in_c("get-large", server, load, target)

                ways: dict[str, Callable[[], Moved]] = {"C": with_c, "ours": get}
                found = in_turns(asked.rounds if on else 1, ways, warm_up=bool(on))
            whole, whole_of_c = (load.bytes / median_of(found[name], _whole) / 1e9 for name in ("ours", "C"))
            told = f"{_rate(load, found['ours'])}, C {_rate(load, found['C'])}"
            told += f"; whole program {whole:.2f}, C {whole_of_c:.2f}"
            what = f"get {load}, CRC-32C, alone, of C{name}"
            at_least = GET_OF_C if on else None
            measured = ratio(found["C"], found["ours"], _alone)
            report.add(Row(what, measured, at_least=at_least, told=told))


def put_beside_peers(report: Report, folder: Path, load: Load, asked: argparse.Namespace) -> None:
    """Add the rows of puts against the peers: with the digests that each makes by itself, and with none."""
    tried = Load(large_files(folder / "tried", COUNT, load.size // 4, name=_NAME), load.size // 4)
    with yardstick.serve(checksum="crc32c") as server:
        ours = Ours(server.endpoint, folder)

        def put(*options: str) -> Moved:
            return watched(server, load, lambda: ours.put(load.tree, "ds3://bench/x/", *options, objects=load.count))

        def by(peer: Peer, what: Load = load) -> Moved:
            return watched(server, what, lambda: peer.put(server.endpoint, what.tree, "y/", folder))

        def trial(peer: Peer) -> float:
            return by(peer, tried).whole

        ways: dict[str, Callable[[], Moved]] = {_OURS: put, _OURS_LEAN: lambda: put("--checksum", "none")}
        ways[_C] = lambda: in_c("put-large", server, load, load.tree)
        for known in (LARGE, LARGE_LEAN):
            for name in [one for one in chosen(LARGE, asked.peers) if one in known]:
                peer = quicker(known[name], trial)
                ways[peer.shown] = functools.partial(by, peer)
        found = in_turns(asked.peer_rounds, ways)
    shutil.rmtree(tried.tree)
    for ours_name, what in ((_OURS, f"put {load}"), (_OURS_LEAN, f"put {load}, no digests")):
        # Without digests the C program itself would not be six times as frugal as all of them: no bar.
        is_lean = ours_name == _OURS_LEAN
        peers = {name: runs for name, runs in found.items() if _is_peer(name, lean=is_lean)}
        if not peers:
            continue
        bar = None if is_lean else PUT_OF_PEERS
        tell_peers(report, what, load, found[ours_name], peers, c=found[_C], bar=bar)
        cpu = {name: median_of(runs, _cpu) / load.bytes * _GIB for name, runs in found.items()}
        least = min(peers, key=lambda name: cpu[name])
        told = f"{cpu[ours_name]:.2f} s/GiB, {least} {cpu[least]:.2f}"
        of_least = ratio(found[ours_name], found[least], _cpu)
        at_most = None if is_lean else PUT_CPU_OF_PEERS
        report.add(Row(f"{what}, CPU of the best of them", of_least, at_most=at_most, told=told))


def get_beside_peers(report: Report, folder: Path, load: Load, asked: argparse.Namespace) -> None:
    """Add the rows of gets against the peers."""
    targets = Targets(folder / "got")
    size = load.size // 4
    with yardstick.serve(objects=COUNT, size=size) as few:

        def trial(peer: Peer) -> float:
            return peer.get(few.endpoint, "", folder, targets, (COUNT, COUNT * size)).seconds

        peers = [quicker(LARGE[name], trial) for name in chosen(LARGE, asked.peers)]
    with yardstick.serve(checksum="crc32c", objects=load.count, size=load.size) as server:
        ours = Ours(server.endpoint, folder)

        def get() -> Moved:
            with targets.room() as target:
                return watched(server, load, lambda: ours.get("ds3://bench/", target, objects=load.count))

        def by(peer: Peer) -> Moved:
            want = (load.count, load.bytes)
            return watched(server, load, lambda: peer.get(server.endpoint, "", folder, targets, want))

        def with_c() -> Moved:
            with targets.room() as target:
                return in_c("get-large", server, load, target)

        ways: dict[str, Callable[[], Moved]] = {_OURS: get, _C: with_c}
        ways |= {peer.shown: functools.partial(by, peer) for peer in peers}
        found = in_turns(asked.peer_rounds, ways)
    tell_peers(report, f"get {load}", load, found.pop(_OURS), found, c=found.pop(_C), bar=GET_OF_PEERS)


def _is_peer(name: str, *, lean: bool) -> bool:
    return name not in {_OURS, _OURS_LEAN, _C} and ("no digests" in name) == lean


def tell_peers(
    report: Report,
    what: str,
    load: Load,
    ours: list[Moved],
    peers: Mapping[str, list[Moved]],
    *,
    c: list[Moved],
    bar: float | None,
) -> None:
    """Add a row for each peer, and those that count: ours against the quickest of them, and C, the limit of that."""

    def shown(runs: list[Moved]) -> str:
        rate = load.bytes / median_of(runs, _whole) / 1e9
        return f"{rate:.2f} GB/s, {median_of(runs, _cpu) / load.bytes * _GIB:.2f} s CPU/GiB"

    for name, runs in peers.items():
        told = f"{shown(ours)}; {shown(runs)}"
        report.add(Row(f"{what}, whole program, of {name}", ratio(runs, ours, _whole), told=told))
    best = min(peers, key=lambda name: median_of(peers[name], _whole))
    of_best = ratio(peers[best], ours, _whole)
    report.add(Row(f"{what}, whole program, of the best of them", of_best, at_least=bar, told=f"it is {best}"))
    of_best = ratio(peers[best], c, _whole)
    report.add(Row(f"{what}, C without digests, of the best of them", of_best, told=f"{shown(c)}; no job, no fsync"))


def _alone(one: Moved) -> float:
    return one.alone


def _cpu(one: Moved) -> float:
    return one.cpu_seconds


def _whole(one: Moved) -> float:
    return one.whole


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--size", default="1GiB", help="bytes of each of four objects")
    parser.add_argument("--peer-rounds", type=int, default=3)
    parser.add_argument("--peers", default="all", help=f"of {', '.join(LARGE)}; or none")
    parser.add_argument("--disk", type=Path, default=Path("/var/tmp"), help="a folder on the disk to be measured")
    parser.add_argument("--no-disk", action="store_true", help="leave the row on disk out")
    parser.add_argument("--busy", action="store_true", help="go on though the C program falls short; proves nothing")
    asked = parser.parse_args()
    size = parse_size(asked.size)
    if asked.quick:
        size, asked.rounds, asked.peer_rounds, asked.no_disk = min(size, 256 << 20), 2, 1, True
    report = Report("Large objects", asked.record)
    with scratch(need=COUNT * size * 9 // 4) as folder:
        load = Load(large_files(folder / "tree", COUNT, size, name=_NAME), size)
        say(f"{load} lie in {folder}")
        put_beside_c(report, folder, load, asked)
        get_beside_c(report, folder, load, asked)
        if asked.peers != "none":
            put_beside_peers(report, folder, load, asked)
            get_beside_peers(report, folder, load, asked)
    return report.conclude()


if __name__ == "__main__":
    sys.exit(main())
