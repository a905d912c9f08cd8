"""Overwriting, ranges and streams through a network that spoils exchanges: the old bytes or the new, never others."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ds3tool.client import Ds3Client
from ds3tool.clock import RealClock
from ds3tool.jobs.existing import IfExists
from ds3tool.jobs.get import GetRun
from ds3tool.jobs.get_targets import Wanted
from ds3tool.jobs.put import PutRun
from ds3tool.jobs.run import RunSettings
from ds3tool.protocol.ranges import ByteRange
from ds3tool.simulator import Appliance
from ds3tool.sinks.local import LocalSink
from ds3tool.sinks.stdout import StreamSink
from ds3tool.sources.local import LocalSource
from ds3tool.sources.stream import StreamSource
from tests.faults.campaign import BUCKET, KIB, Outcome, client_of, faults_with, fetched, mixed_tree, settings_of, timed
from tests.faults.proxy import Fault, SpoilingProxy
from tests.faults.test_spoiled_exchanges import SEEDS, SWIFT, settings_from
from tests.trees import digests

# One seed each: every second fault meets an appliance without versions, the others one that keeps them.
CASES = [(fault, SEEDS[number % 2]) for number, fault in enumerate(SWIFT)]
# Of a range nothing but the appliance vouches for the bytes, unless whole blobs are fetched.
RANGES = [(fault, seed, fault is Fault.FLIP_REPLY_BODY) for fault, seed in CASES]
RANGES += [(Fault.DUPLICATE_REPLY, seed, True) for seed in SEEDS]


@pytest.fixture
def appliance(request: pytest.FixtureRequest) -> Iterator[Appliance]:
    seed = request.getfixturevalue("seed")
    with Appliance(settings_from(seed)) as started:
        with closing(client_of(started)) as client:
            client.create_bucket(BUCKET)
        yield started


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    """Two trees of the same names; half of the files differ, in their bytes, and some in their size."""
    before, after = tmp_path / "before", tmp_path / "after"
    for tree in (before, after):
        tree.mkdir()
        mixed_tree(tree, random.Random(5))
    for number, path in enumerate(sorted(path for path in after.rglob("*") if path.is_file())):
        if number % 2:
            path.write_bytes(path.read_bytes()[::-1] + b"+" * (number % 3))
    return before, after


def spoiled(
    appliance: Appliance, seed: int, fault: Fault, act: Callable[[Ds3Client], Outcome], *, rate: float = 0.06
) -> Outcome:
    """Do something through a proxy that spoils exchanges."""
    with (
        closing(SpoilingProxy(appliance.port, faults_with([fault], rate), seed)) as proxy,
        closing(client_of(appliance, proxy.endpoint)) as client,
    ):
        return act(client)


def put_tree(client: Ds3Client, tree: Path, settings: RunSettings) -> Outcome:
    return timed(PutRun(client, LocalSource(str(tree), prefix=""), BUCKET, settings=settings, clock=RealClock()))


def stock(appliance: Appliance, tree: Path) -> None:
    """Put a tree over a clean connection."""
    with closing(client_of(appliance)) as client:
        assert put_tree(client, tree, RunSettings()).exit_code == 0


@pytest.mark.sampled(3)
@pytest.mark.parametrize(("fault", "seed"), CASES)
def test_an_overwriting_put(
    appliance: Appliance, trees: tuple[Path, Path], tmp_path: Path, fault: Fault, seed: int
) -> None:
    """Each key holds its old or its new bytes; one that holds none any more is named, however the run has ended."""
    before, after = trees
    stock(appliance, before)
    settings = replace(settings_of(seed), if_exists=IfExists.OVERWRITE, may_delete=True)
    outcome = spoiled(appliance, seed, fault, lambda client: put_tree(client, after, settings))
    old, new, there = digests(before), digests(after), fetched(appliance, tmp_path / "direct")
    assert all(digest in {old.get(name), new.get(name)} for name, digest in there.items()), outcome.told
    gone = {os.fsdecode(name) for name in old if name not in there}
    assert gone <= outcome.named, f"gone and not named: {gone - outcome.named}; told was {outcome.told}"
    if outcome.exit_code == 0:
        assert there == new
    elif not outcome.ended_early:
        differs = {os.fsdecode(name) for name, digest in new.items() if there.get(name) != digest}
        assert differs <= outcome.named, f"not named: {differs - outcome.named}; told was {outcome.told}"


@pytest.mark.sampled(3)
@pytest.mark.parametrize(("fault", "seed"), CASES)
def test_an_overwriting_get(appliance: Appliance, trees: tuple[Path, Path], fault: Fault, seed: int) -> None:
    """Each file is the old one or the new one, whole; what is not the new one is named."""
    target, wanted = trees
    stock(appliance, wanted)
    old, new = digests(target), digests(wanted)

    def get(client: Ds3Client) -> Outcome:
        with closing(LocalSink(str(target))) as sink, closing(client_of(appliance)) as direct:
            listed = list(direct.list_objects(BUCKET))
            settings = replace(settings_of(seed), if_exists=IfExists.OVERWRITE)
            return timed(GetRun(client, sink, BUCKET, listed, name_of=str, settings=settings, clock=RealClock()))

    outcome = spoiled(appliance, seed, fault, get)
    there = digests(target)
    assert all(digest in {old.get(name), new.get(name)} for name, digest in there.items()), outcome.told
    assert set(there) == set(new)
    differs = {os.fsdecode(name) for name, digest in new.items() if there[name] != digest}
    if outcome.exit_code == 0:
        assert not differs
    elif not outcome.ended_early:
        assert differs <= outcome.named, f"not named: {differs - outcome.named}; told was {outcome.told}"


def random_ranges(chance: random.Random, size: int) -> tuple[ByteRange, ...]:
    ranges = []
    for _ in range(chance.randrange(1, 6)):
        start = chance.randrange(size)
        ranges.append(ByteRange(start, chance.randrange(start, size) + 1))
    return tuple(ranges)


@pytest.mark.sampled(3)
@pytest.mark.parametrize(("fault", "seed", "whole_blobs"), RANGES)
def test_ranges(
    appliance: Appliance, trees: tuple[Path, Path], tmp_path: Path, fault: Fault, seed: int, *, whole_blobs: bool
) -> None:
    """Several ranges of each object, in any order and across each other: the very bytes, or no file and a name."""
    tree, target, chance = trees[0], tmp_path / "target", random.Random(seed)
    stock(appliance, tree)
    wanted: list[Wanted] = []
    right: dict[str, bytes] = {}
    for path in sorted(path for path in tree.rglob("*") if path.is_file() and path.stat().st_size):
        key, data = str(path.relative_to(tree)), path.read_bytes()
        wanted.append(Wanted(key, len(data), ranges=random_ranges(chance, len(data))))
        right[key] = b"".join(data[one.start : one.end] for one in wanted[-1].ranges)

    def get(client: Ds3Client) -> Outcome:
        with closing(LocalSink(str(target))) as sink:
            return timed(
                GetRun(
                    client,
                    sink,
                    BUCKET,
                    wanted,
                    name_of=str,
                    settings=settings_of(seed),
                    whole_blobs=whole_blobs,
                    clock=RealClock(),
                )
            )

    outcome = spoiled(appliance, seed, fault, get)
    there = {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}
    assert all(right[key] == data for key, data in there.items()), outcome.told
    missing = set(right) - set(there)
    if outcome.exit_code == 0:
        assert not missing
    elif not outcome.ended_early:
        assert missing <= outcome.named, outcome.told


@pytest.mark.sampled(3)
@pytest.mark.parametrize(("fault", "seed"), CASES)
def test_a_stream_that_is_put(appliance: Appliance, tmp_path: Path, fault: Fault, seed: int) -> None:
    """Its bytes come once: all of them are an object, or there is none and the run has failed."""
    data = random.Random(seed).randbytes(700 * KIB + 11)

    def put(client: Ds3Client) -> Outcome:
        source = StreamSource(io.BytesIO(data), key="stream", size=len(data))
        return timed(PutRun(client, source, BUCKET, settings=settings_of(seed), clock=RealClock()))

    outcome = spoiled(appliance, seed, fault, put, rate=0.12)
    there = tmp_path / "direct" / "stream"
    fetched(appliance, there.parent)
    assert outcome.exit_code == 0 or not there.exists() or there.read_bytes() == data
    if outcome.exit_code == 0:
        assert there.read_bytes() == data


@pytest.mark.sampled(3)
@pytest.mark.parametrize(("fault", "seed"), CASES)
def test_a_stream_that_is_got(
    appliance: Appliance, trees: tuple[Path, Path], tmp_path: Path, fault: Fault, seed: int
) -> None:
    """What came out is a beginning of what was wanted, and with exit code 0 it is all of it."""
    stock(appliance, trees[0])
    with closing(client_of(appliance)) as direct:
        wanted = [one for one in direct.list_objects(BUCKET) if one.size][:12]
    right = b"".join((trees[0] / one.key).read_bytes() for one in wanted)

    def get(client: Ds3Client) -> Outcome:
        with open(tmp_path / "out", "wb") as out:
            settings = replace(settings_of(seed), stop_on_error=True)
            sink = StreamSink(out.fileno())
            return timed(GetRun(client, sink, BUCKET, wanted, name_of=str, settings=settings, clock=RealClock()))

    outcome = spoiled(appliance, seed, fault, get)
    came = (tmp_path / "out").read_bytes()
    assert right.startswith(came), outcome.told
    if outcome.exit_code == 0:
        assert came == right
