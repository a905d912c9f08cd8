"""Appliances in this process, clients of them, and runs with few words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from ds3tool.simulator import Appliance, ApplianceSettings
from ds3tool.simulator.clock import Clock
from tests.jobs.rooms import MIB, Room

SMALL = ApplianceSettings(
    blob_size=MIB, chunk_size=4 * MIB, cache_size=24 * MIB, retry_after=0, persist_delay=0.0, hold=0.05, seed=1
)


@pytest.fixture
def room_with() -> Iterator[Callable[..., Room]]:
    """Give a function that starts an appliance with other settings than the small one's, and a client of it."""
    rooms: list[Room] = []

    def start(*, clock: Clock | None = None, **changes: object) -> Room:
        appliance = Appliance(replace(SMALL, **changes), clock=clock).start()  # type: ignore[arg-type]  # fields by name
        rooms.append(Room(appliance))
        return rooms[-1]

    yield start
    for room in rooms:
        room.close()


@pytest.fixture
def room(room_with: Callable[..., Room]) -> Room:
    """An appliance with blobs of 1 MiB and a cache of 24 MiB, and a client of it."""
    return room_with()


@pytest.fixture
def lists_are_never_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks for a job that nobody recorded need not be patient: this appliance lists it at once."""
    monkeypatch.setattr("ds3tool.jobs.job_run.LAG_SECONDS", (0.01,))
