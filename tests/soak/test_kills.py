"""The tool and the appliance are killed at named points and random moments; `resume` finishes, and nothing is lost."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.soak.kills import (
    SLOW,
    Host,
    MortalAppliance,
    WatchedAppliance,
    kill_the_appliance,
    kill_the_tool,
    make_files,
    no_job_left_open,
    settings,
    stock,
)
from tests.soak.victim import OF_GET, POINTS

CASES = [
    (verb, point, count)
    for point in POINTS
    for verb in ("put", "get")
    if verb == "get" or point not in OF_GET
    for count in ((1, 12) if point in {"body-sent", "before-rename", "after-rename"} else (1,))
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small, empty and large files."""
    root = tmp_path_factory.mktemp("soak") / "tree"
    make_files(root, seed=4, small=25)
    return root


@pytest.fixture(scope="module")
def appliance() -> Iterator[WatchedAppliance]:
    """One appliance for all kills of the tool; each put has a bucket of its own."""
    with WatchedAppliance(settings()) as started:
        yield started


@pytest.fixture(scope="module")
def stocked(appliance: WatchedAppliance, tree: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The bucket that all gets are from; it holds the tree."""
    folder = tmp_path_factory.mktemp("stocking")
    bucket = stock(Host(appliance.endpoint, appliance.access_key, appliance.secret_key, folder), tree)
    no_job_left_open(appliance)
    return bucket


@pytest.mark.sampled(3)
@pytest.mark.parametrize(("verb", "point", "count"), CASES)
def test_a_tool_killed_at_a_point_is_resumed_whole(
    appliance: WatchedAppliance, stocked: str, tree: Path, tmp_path: Path, verb: str, point: str, count: int
) -> None:
    """Every byte is there, nothing recorded passes again, no job is left open and no temporary file."""
    host = Host(appliance.endpoint, appliance.access_key, appliance.secret_key, tmp_path, patient=False)
    outcome = kill_the_tool(appliance, host, verb, tree, point=point, count=count, stocked=stocked)
    assert outcome.struck, "the point was never passed"


@pytest.mark.parametrize("seed", range(4))
def test_a_tool_killed_at_any_moment_is_resumed_whole(
    appliance: WatchedAppliance, stocked: str, tree: Path, tmp_path: Path, seed: int
) -> None:
    """As above, whenever it happens to die."""
    chance = random.Random(seed)
    host = Host(appliance.endpoint, appliance.access_key, appliance.secret_key, tmp_path, patient=False)
    verb, after = ("put", "get")[seed % 2], chance.uniform(0.0, 1.0)
    kill_the_tool(appliance, host, verb, tree, point="none", count=1, after=after, options=SLOW, stocked=stocked)


@pytest.mark.parametrize("verb", ["put", "get"])
def test_work_goes_on_after_the_appliance_was_killed(tree: Path, tmp_path: Path, verb: str) -> None:
    """The tool ends and says that it can go on; when the appliance is back, resume finishes."""
    mortal = MortalAppliance(tmp_path)
    mortal.start()
    try:
        kill_the_appliance(mortal, mortal.host(tmp_path), verb, tree, after=0.4, options=SLOW)
    finally:
        mortal.kill()
