"""Objects of S3 go to tape and into another bucket, while the tool is killed on both ways: a sample of `scale`."""

from __future__ import annotations

from pathlib import Path

import pytest

from ds3tool.simulator import Appliance, ApplianceSettings
from tests.far.scale import MIB, Campaign, there_and_back, things
from tests.far.servers import FarSide


@pytest.mark.parametrize(
    ("objects", "large", "kills"),
    [
        (50, 6 * MIB, (0.4,)),
        pytest.param(1500, 400 * MIB, (0.3, 0.6), marks=[pytest.mark.more, pytest.mark.timeout(900)]),
    ],
)
def test_odd_keys_of_all_sizes_go_there_and_back_though_the_tool_is_killed(
    seaweed: FarSide, tmp_path: Path, objects: int, large: int, kills: tuple[float, ...]
) -> None:
    """Bytes, content types, metadata and tags are the same at the other end; nothing is left open; memory is small."""
    wanted = things(objects, large, seed=3, largest=large // 20)
    settings = ApplianceSettings(blob_size=large // 8, chunk_size=large // 2, retry_after=0, persist_delay=0)
    with Appliance(settings) as appliance:
        keys = (appliance.endpoint, appliance.access_key, appliance.secret_key)
        environ = dict(zip(("DS3_ENDPOINT", "DS3_ACCESS_KEY", "DS3_SECRET_KEY"), keys, strict=True))
        # Slow enough for a look at how far it is.
        slow = ("--bwlimit", f"{sum(thing.size for thing in wanted) // 2}/s")
        legs = there_and_back(Campaign(seaweed, environ, tmp_path, slow), wanted, kills=kills)
    assert [leg.kills for leg in legs] == [len(kills), len(kills)]
    assert max(leg.peak_bytes for leg in legs) < 300_000_000
