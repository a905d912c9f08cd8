"""A simulated Lotame with a clock that stands until it is moved, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ds3tool.clock import ManualClock
from ds3tool.lotame.client import LotameClient
from ds3tool.lotame.settings import LotameSettings, find_settings
from ds3tool.simulator.lotame.service import LotameSimulator, LotameSimulatorSettings

# 2026-01-01 00:20 UTC: the hours before midnight have all their files.
NOW = 1_767_225_600 + 1200.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def lotame(clock: ManualClock) -> Iterator[LotameSimulator]:
    with LotameSimulator(LotameSimulatorSettings(clock=clock, seed=7)) as simulator:
        yield simulator


@pytest.fixture
def settings(lotame: LotameSimulator, tmp_path: Path) -> LotameSettings:
    return find_settings(environ={**lotame.environ, "HOME": str(tmp_path)})


@pytest.fixture
def client(settings: LotameSettings, clock: ManualClock) -> Iterator[LotameClient]:
    with LotameClient(settings, clock=clock) as asking:
        yield asking
