"""However often Lotame, its bucket and the way there fail, in the end each file was archived, once and as it is."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from ds3tool.simulator.lotame.service import SimulatedFeed
from tests.cli.archive import Archive
from tests.cli.lotame_box import Box, box
from tests.cli.runner import Run
from tests.cli.test_put_lotame import archived

# Shares of requests; those of the API cost seconds of waiting each.
_BUCKET = {"s3-slow-down": 0.03, "s3-cut": 0.05, "s3-reset": 0.03, "s3-expired": 0.05, "s3-missing": 0.02}
_API = {"api-500": 0.05, "api-truncated": 0.05, "api-cut": 0.05, "api-no-answer": 0.05}
# All done, some failed, credentials, out of reach: what such weather may do to a run.
_MAY_END_WITH = {0, 3, 6, 7}


def run_through(archive: Archive, folder: Path, *, seed: int, rounds: int, faults: dict[str, float]) -> None:
    """Put all feeds now and then while hours pass and things fail, then once in good weather; check what is there."""
    chance = random.Random(seed)
    feeds = (
        SimulatedFeed(9001, "client", "cookie", files_per_hour=5),
        SimulatedFeed(9002, "3pd", "mobile", mapping="http", files_per_hour=2),
        SimulatedFeed(9003, "3pd", "cookie", region="eu", empty=True),
    )
    bucket, stopped = archive.bucket(), False
    put = ("put", "lotame://all", f"ds3://{bucket}/lotame/")
    with box(folder, *feeds, environ=archive.environ, credential_requests=15) as weather:
        for _ in range(rounds):
            for name, rate in faults.items():
                weather.lotame.faults.set(name, rate)
            weather.hours_pass(chance.randrange(4))
            stopped |= ended_well(weather.run(*put))
            if chance.random() < 0.5:
                stopped |= ended_well(weather.run("resume"))
        weather.lotame.faults.clear()
        weather.run("resume").expect(0)
        weather.run(*put).expect(0)
        whole = {name: weather.data(name, feed) for feed in (9001, 9002) for name in weather.names(feed)}
        assert archived(archive, bucket) == whole
        if not stopped:
            assert fetched_in_vain(weather) == 0
        weather.run(*put, "--error-if-nothing").expect(9)


def ended_well(run: Run) -> bool:
    """Check that a run ended as one may in such weather; return whether it was stopped amid what it did."""
    assert run.exit_code in _MAY_END_WITH, str(run)
    return run.exit_code in {6, 7}


def fetched_in_vain(weather: Box) -> int:
    """Return how often more of S3 gave a whole file than can be explained by what was cut on its way."""
    came = [one for one in weather.lotame.asked("s3") if one.verb == "GET" and one.status == 200]
    again = sum(count - 1 for count in Counter(one.path for one in came).values())
    return max(0, again - weather.lotame.faults.struck("s3-cut"))


def test_a_little_bad_weather(archive: Archive, tmp_path: Path) -> None:
    """One run while the bucket fails now and then, and one after it."""
    run_through(archive, tmp_path, seed=3, rounds=1, faults=_BUCKET)


@pytest.mark.more
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(8))
def test_long_bad_weather(archive: Archive, tmp_path: Path, seed: int) -> None:
    """Six runs while everything fails now and then, some of them resumed, and one after it."""
    run_through(archive, tmp_path, seed=seed, rounds=6, faults=_BUCKET | _API)
