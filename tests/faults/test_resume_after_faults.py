"""Through everything that can go wrong at once: the command lines that a person types end in all of it, whole."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from ds3tool.simulator import Fault, FaultRate
from tests.cli.runner import Run, run
from tests.faults.campaign import BUCKET, fetched, mixed_tree
from tests.faults.test_every_fault import from_tape, started
from tests.trees import digests

# Nothing mends what a tape has lost, or what a person has ended; a stall is as long as a client's patience.
_LEFT_OUT = {Fault.CORRUPT_MEDIA, Fault.UNCHECKED_LOAD, Fault.JOB_CANCELLED, Fault.STALL}
_RATES = {Fault.JOB_EXPIRED: (0.5, None), Fault.CLOCK_SKEW: (0.03, 1)}


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.more) for seed in range(2, 13))])
def test_put_and_get_and_resume_until_all_is_there(tmp_path: Path, seed: int) -> None:
    """What a run leaves, resume finishes, and the command once more the rest; then nothing is left to resume."""
    chance = random.Random(seed)
    rates = [
        FaultRate(fault, *_RATES.get(fault, (chance.uniform(0.02, 0.05), None)))
        for fault in Fault
        if fault not in _LEFT_OUT
    ]
    tree, target = tmp_path / "tree", tmp_path / "got"
    tree.mkdir()
    mixed_tree(tree, chance)
    with started(seed, roomy=True) as appliance:
        keys = (appliance.endpoint, appliance.access_key, appliance.secret_key)
        environ = dict(zip(("DS3_ENDPOINT", "DS3_ACCESS_KEY", "DS3_SECRET_KEY"), keys, strict=True))

        def ds3tool(*arguments: str) -> Run:
            common = ("--state-dir", str(tmp_path / "state"), "--max-retry-time", "10s", "-o", "json")
            return run(*arguments, *common, environ=environ)

        def until_done(*arguments: str) -> None:
            appliance.faults.apply(rates)
            first = ds3tool(*arguments)
            appliance.faults.clear()
            if first.exit_code:
                ds3tool("resume")
                ds3tool(*arguments).expect()

        until_done("put", str(tree), f"ds3://{BUCKET}/")
        assert fetched(appliance, tmp_path / "direct") == digests(tree)
        from_tape(appliance)
        until_done("get", f"ds3://{BUCKET}/", str(target))
        assert digests(target) == digests(tree)
        assert ds3tool("job", "ls", "--local").expect().json == []
        assert not list(target.rglob(".ds3tool-*"))
        assert not [job for job in appliance.machine.jobs.active.values() if job.chunks and not job.naked]
