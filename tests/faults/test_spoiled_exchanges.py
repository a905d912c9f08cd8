"""Whatever happens on the way, a run that ends well has brought every byte, and any other says what is missing."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ds3tool.protocol.model import ChecksumType, Versioning
from ds3tool.simulator import Appliance, ApplianceSettings
from tests.faults.campaign import BUCKET, KIB, client_of, faults_with, fetched, get, hold_to, mixed_tree, put
from tests.faults.proxy import Fault, SpoilingProxy
from tests.trees import digests

# Two seeds each: one appliance without versions, one that keeps them.
SEEDS = (3, 7)
SWIFT = [fault for fault in Fault if fault not in {Fault.SILENCE, Fault.LATE}]


def settings_from(seed: int) -> ApplianceSettings:
    chance = random.Random(seed)
    return ApplianceSettings(
        blob_size=chance.choice((64 * KIB, 300 * KIB, 3 * 4096 + 1)),
        chunk_size=chance.choice((200 * KIB, 1024 * KIB)),
        cache_size=chance.choice((2048 * KIB, 24 * 1024 * KIB)),
        retry_after=0,
        persist_delay=0.0,
        hold=0.02,
        seed=seed,
        shuffle=bool(seed % 2),
        checksum_type=list(ChecksumType)[seed % 5],
        versioning=list(Versioning)[seed % 3],
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    tree.mkdir()
    mixed_tree(tree, random.Random(5))
    return tree


@pytest.fixture
def appliance(request: pytest.FixtureRequest) -> Iterator[Appliance]:
    seed = request.getfixturevalue("seed")
    with Appliance(settings_from(seed)) as started:
        with closing(client_of(started)) as client:
            client.create_bucket(BUCKET)
        yield started


@pytest.mark.sampled(3)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fault", SWIFT, ids=lambda fault: fault.name)
def test_put_through_a_network_that_spoils_exchanges(
    appliance: Appliance, tree: Path, tmp_path: Path, fault: Fault, seed: int
) -> None:
    """Exit code 0 means that the appliance has all; else what is missing is named, and no job idles unsaid."""
    with closing(SpoilingProxy(appliance.port, faults_with([fault], 0.06), seed)) as proxy:
        outcome = put(appliance, proxy.endpoint, tree, seed)
    assert proxy.done, "nothing was spoiled"
    hold_to(outcome, wanted=digests(tree), there=fetched(appliance, tmp_path / "direct"), appliance=appliance)


@pytest.mark.sampled(3, 1)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fault", SWIFT, ids=lambda fault: fault.name)
def test_get_through_a_network_that_spoils_exchanges(
    appliance: Appliance, tree: Path, tmp_path: Path, fault: Fault, seed: int
) -> None:
    """What appears under its name is whole and right, or is not there and named; no temporary file stays."""
    assert put(appliance, appliance.endpoint, tree, seed).exit_code == 0
    with closing(SpoilingProxy(appliance.port, faults_with([fault], 0.06, blobs_only=True), seed)) as proxy:
        outcome = get(appliance, proxy.endpoint, tmp_path / "got", seed)
    assert proxy.done, "nothing was spoiled"
    hold_to(outcome, wanted=digests(tree), there=digests(tmp_path / "got"), appliance=appliance)
    assert not list((tmp_path / "got").rglob(".ds3tool-*"))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fault", [Fault.SILENCE, Fault.LATE], ids=lambda fault: fault.name)
def test_blobs_that_are_carried_out_after_they_were_given_up(
    appliance: Appliance, tree: Path, tmp_path: Path, fault: Fault, seed: int
) -> None:
    """A put whose reply never comes, or that the appliance takes only after it was sent again, is done once."""
    with closing(SpoilingProxy(appliance.port, faults_with([fault], 0.1, most=2, blobs_only=True), seed)) as proxy:
        outcome = put(appliance, proxy.endpoint, tree, seed)
    assert proxy.done, "nothing was spoiled"
    assert outcome.exit_code == 0, outcome.told
    hold_to(outcome, wanted=digests(tree), there=fetched(appliance, tmp_path / "direct"), appliance=appliance)
