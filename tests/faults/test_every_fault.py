"""Whatever goes wrong with the appliance: what is there is right, and what is not is said, by name or by the exit code.

Each run is held against what the appliance or the target really has afterwards, byte by byte and count by count.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from ds3tool.client import Ds3Client
from ds3tool.errors import AccessDeniedError, ForbiddenError
from ds3tool.jobs.integrity import bucket_policy
from ds3tool.protocol.model import ChecksumType, DataPolicy, Versioning
from ds3tool.simulator import Appliance, ApplianceSettings, Fault, FaultRate
from ds3tool.transport.settings import ConnectionSettings
from tests.faults.campaign import BUCKET, KIB, HurriedClock, Outcome, client_of, fetched, get, hold_to, mixed_tree, put
from tests.trees import digests

# Of requests, a third; of jobs and of blobs on tape, all.
RATES = dict.fromkeys(Fault, 0.3) | {
    Fault.JOB_CANCELLED: 1.0,
    Fault.SLOW: 0.05,
    Fault.STALL: 0.06,  # each takes as long as the client waits for a byte
    Fault.CLOCK_SKEW: 0.1,
    Fault.CACHE_FULL: 0.8,
    Fault.NODE_CHANGE: 0.8,
    Fault.CHUNK_OUT_OF_ORDER: 1.0,
    Fault.CHUNK_TWICE: 1.0,
}
# What asking again mends: a run through one of these is whole, whatever was struck.
MENDED = [
    *(Fault.RESET_BEFORE_REPLY, Fault.LOST_REPLY, Fault.RESET_IN_BODY, Fault.SHORT_GET, Fault.SLOW, Fault.STALL),
    *(Fault.BUSY_503, Fault.BUSY_503_NO_HEADER, Fault.REDIRECT_307, Fault.ERROR_500, Fault.HTML_ERROR),
    *(Fault.CACHE_FULL, Fault.CHUNK_OUT_OF_ORDER, Fault.CHUNK_TWICE, Fault.NODE_CHANGE),
]
# Only a get meets some of these, only a put the others.
ONLY_GETS = {Fault.SHORT_GET, Fault.CORRUPT_GET, Fault.UNCHECKED_LOAD}
ONLY_PUTS = {Fault.CORRUPT_PUT, Fault.CORRUPT_MEDIA}
NEITHER = {Fault.NOTICE_TWICE, Fault.NOTICE_LATE, Fault.NOTICE_LOST_REPLY}
OF_PUTS = [fault for fault in Fault if fault not in ONLY_GETS | NEITHER]
OF_GETS = [fault for fault in Fault if fault not in ONLY_PUTS | NEITHER]
# Seeds also choose the appliance: its digests, versions, copies, sizes and room.
SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.more) for seed in range(1, 6))]
ALL_SEEDS = [1, 2, *(pytest.param(seed, marks=pytest.mark.more) for seed in range(3, 11))]


def settings_from(seed: int, *, roomy: bool) -> ApplianceSettings:
    """Settings that a seed chooses; `roomy`: its cache holds all of the tree.

    Failed objects keep their room in a cache, for which the others wait for a quarter of an hour before they give up.
    """
    chance = random.Random(seed)
    return ApplianceSettings(
        blob_size=chance.choice((64 * KIB, 300 * KIB, 3 * 4096 + 1)),
        chunk_size=chance.choice((200 * KIB, 1024 * KIB)),
        cache_size=24 * 1024 * KIB if roomy else chance.choice((2048 * KIB, 24 * 1024 * KIB)),
        retry_after=0,
        persist_delay=0.0,
        hold=0.02,
        seed=seed,
        shuffle=bool(seed % 2),
        checksum_type=list(ChecksumType)[seed % 5],
        versioning=list(Versioning)[seed % 3],
        copies=1 + seed % 2,
    )


@contextmanager
def started(seed: int, *, roomy: bool) -> Iterator[Appliance]:
    with Appliance(settings_from(seed, roomy=roomy)) as appliance:
        with closing(client_of(appliance)) as client:
            client.create_bucket(BUCKET)
        yield appliance


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    tree.mkdir()
    mixed_tree(tree, random.Random(5))
    return tree


def patience(appliance: Appliance) -> float:
    """Return how long a client waits for a byte: not for long where it is never to come."""
    return 0.6 if appliance.faults.rate(Fault.STALL) else 20.0


def put_tree(appliance: Appliance, tree: Path, seed: int) -> Outcome:
    return put(appliance, appliance.endpoint, tree, seed, clock=HurriedClock(), patience=patience(appliance))


def get_all(appliance: Appliance, target: Path, seed: int) -> Outcome:
    return get(appliance, appliance.endpoint, target, seed, clock=HurriedClock(), patience=patience(appliance))


def hold_put(outcome: Outcome, tree: Path, there: dict[bytes, str], appliance: Appliance) -> None:
    """Say what of a put's outcome is not as the appliance has it."""
    wanted = digests(tree)
    there = {name: digest for name, digest in there.items() if name != b"./"}  # nothing at all
    hold_to(outcome, wanted=wanted, there=there, appliance=appliance)
    if outcome.result is None or outcome.ended_early:
        return
    result = outcome.result
    assert result.objects == len(there), f"told of {result.objects} objects, there are {len(there)}: {outcome.told}"
    assert result.objects + len(result.failures) == len(wanted), outcome.told
    if not result.failures:
        assert result.bytes == sum(path.stat().st_size for path in tree.rglob("*") if path.is_file())
        assert result.exit_code == 0


def hold_get(outcome: Outcome, wanted: dict[bytes, str], target: Path, appliance: Appliance) -> None:
    """Say what of a get's outcome is not as the target has it."""
    there = digests(target)
    hold_to(outcome, wanted=wanted, there=there, appliance=appliance)
    assert not list(target.rglob(".ds3tool-*"))
    if outcome.result is None:
        return
    appeared = [name for name, digest in there.items() if name in wanted]
    if outcome.ended_early:
        assert outcome.result.objects <= len(appeared)
    else:
        assert outcome.result.objects == len(appeared), outcome.told
        assert outcome.result.objects + len(outcome.result.failures) == len(wanted), outcome.told


@pytest.mark.sampled(2)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fault", [fault for fault in OF_PUTS if fault is not Fault.JOB_EXPIRED])
def test_put_while_one_thing_goes_wrong(tree: Path, tmp_path: Path, fault: Fault, seed: int) -> None:
    """What mends is mended; of the rest every object that is not there, whole and right, is told."""
    seed += 7 * list(Fault).index(fault)
    with started(seed, roomy=fault not in MENDED) as appliance:
        appliance.faults.set(fault, RATES[fault])
        outcome = put_tree(appliance, tree, seed)
        appliance.faults.clear()
        assert appliance.faults.struck(fault)
        if fault is Fault.CORRUPT_MEDIA:
            assert outcome.exit_code == 0
            return
        hold_put(outcome, tree, fetched(appliance, tmp_path / "direct"), appliance)
        if fault in MENDED:
            assert outcome.exit_code == 0, outcome.told
        if fault is Fault.JOB_CANCELLED:
            assert outcome.exit_code == 12, outcome.told


@pytest.mark.sampled(2, 1)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fault", [fault for fault in OF_GETS if fault is not Fault.JOB_EXPIRED])
def test_get_while_one_thing_goes_wrong(tree: Path, tmp_path: Path, fault: Fault, seed: int) -> None:
    """What mends is mended; of the rest every file that is not there, whole and right, is told."""
    seed += 7 * list(Fault).index(fault)
    with started(seed, roomy=fault not in MENDED) as appliance:
        if fault is Fault.UNCHECKED_LOAD:
            appliance.faults.set(Fault.CORRUPT_MEDIA, 0.3)
        assert put_tree(appliance, tree, seed).exit_code == 0
        from_tape(appliance)
        appliance.faults.set(fault, RATES[fault])
        outcome = get_all(appliance, tmp_path / "got", seed)
        appliance.faults.clear()
        assert appliance.faults.struck(fault)
        hold_get(outcome, digests(tree), tmp_path / "got", appliance)
        if fault in MENDED:
            assert outcome.exit_code == 0, outcome.told
        if fault in (Fault.CORRUPT_GET, Fault.UNCHECKED_LOAD):
            assert outcome.exit_code in (0, 5), outcome.told
        if fault is Fault.JOB_CANCELLED:
            assert outcome.exit_code == 12, outcome.told


def from_tape(appliance: Appliance) -> None:
    """Wait until all is on tape, and empty the cache."""
    jobs = appliance.machine.jobs
    with jobs.changed:
        assert jobs.changed.wait_for(lambda: not jobs.active, 60)
        appliance.machine.cache.reclaim()


@pytest.mark.parametrize("seed", ALL_SEEDS)
def test_everything_goes_wrong_at_once(tree: Path, tmp_path: Path, seed: int) -> None:
    """All faults at 2 to 5 %: whole there and back, or what is not is told, exactly."""
    chance = random.Random(seed)
    # A clock that is wrong for one request in thirty would end nearly every run, and hide what the others do.
    most = {Fault.CLOCK_SKEW: 1}
    rates = [FaultRate(fault, chance.uniform(0.02, 0.05), most.get(fault)) for fault in Fault]
    spoiled = [rate for rate in rates if rate.fault not in (Fault.CORRUPT_MEDIA, Fault.UNCHECKED_LOAD)]
    with started(seed, roomy=True) as appliance:
        appliance.faults.apply(spoiled)
        outcome = put_tree(appliance, tree, seed)
        appliance.faults.clear()
        hold_put(outcome, tree, fetched(appliance, tmp_path / "direct"), appliance)
    with started(seed + 100, roomy=True) as appliance:
        appliance.faults.set(Fault.CORRUPT_MEDIA, 0.05)
        assert put_tree(appliance, tree, seed).exit_code == 0
        from_tape(appliance)
        appliance.faults.apply(rates)
        outcome = get_all(appliance, tmp_path / "got", seed)
        appliance.faults.clear()
        hold_get(outcome, digests(tree), tmp_path / "got", appliance)
    print(f"exit code {outcome.exit_code}: {os.linesep.join(outcome.told.splitlines()[:3])}")


@pytest.mark.parametrize("seed", SEEDS)
def test_put_whose_job_expires(tree: Path, tmp_path: Path, seed: int) -> None:
    """It is planned anew at once, as the same piece of work: whole in the end, though some bytes went twice."""
    with started(seed + 300, roomy=False) as appliance:
        appliance.faults.set(Fault.JOB_EXPIRED, 1.0, most=2)
        outcome = put_tree(appliance, tree, seed)
        assert appliance.faults.struck(Fault.JOB_EXPIRED)
        wanted, there = digests(tree), fetched(appliance, tmp_path / "direct")
        hold_to(outcome, wanted=wanted, there=there, appliance=appliance)
        assert outcome.exit_code == 0, outcome.told
        assert there == wanted


def test_a_wrong_clock_is_not_taken_for_a_lack_of_permission() -> None:
    """A put whose question for the data policy is refused for the clock does not go on with a guess."""
    with started(3, roomy=True) as appliance:

        class Client(Ds3Client):
            def get_data_policy(self, name_or_id: str) -> DataPolicy:
                appliance.faults.set(Fault.CLOCK_SKEW, 1.0, most=1)
                return super().get_data_policy(name_or_id)

        with Client(ConnectionSettings(appliance.endpoint, appliance.access_key, appliance.secret_key)) as client:
            with pytest.raises(AccessDeniedError) as refused:
                bucket_policy(client, BUCKET)
            assert not isinstance(refused.value, ForbiddenError)


@pytest.mark.parametrize("seed", SEEDS)
def test_get_whose_job_expires(tree: Path, tmp_path: Path, seed: int) -> None:
    """What is missing is asked for anew at once: all files are there in the end, and none came in pieces of two."""
    with started(seed + 300, roomy=False) as appliance:
        assert put_tree(appliance, tree, seed).exit_code == 0
        from_tape(appliance)
        appliance.faults.set(Fault.JOB_EXPIRED, 1.0, most=2)
        outcome = get_all(appliance, tmp_path / "got", seed)
        assert appliance.faults.struck(Fault.JOB_EXPIRED)
        hold_get(outcome, digests(tree), tmp_path / "got", appliance)
        assert outcome.exit_code == 0, outcome.told
