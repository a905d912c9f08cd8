"""Appliances to test against, each with a client of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from ds3tool.simulator import Appliance, ApplianceSettings, Clock
from ds3tool.simulator.tapes.tape import Tape
from tests.simulator.wire import Wire

_PATIENCE = 60


@dataclass
class Bench:
    """One appliance, a client, and a way to wait for what its threads do."""

    appliance: Appliance
    wire: Wire

    def until(self, done: Callable[[], bool], why: str = "") -> None:
        """Wait until `done`; looked at whenever the appliance changes, a failure after a minute."""
        changed = self.appliance.machine.jobs.changed
        with changed:
            assert changed.wait_for(done, _PATIENCE), why or "it never came to be"

    def until_persisted(self) -> None:
        """Wait until no put job is in progress."""
        active = self.appliance.machine.jobs.active
        self.until(lambda: not any(job.type == "PUT" for job in active.values()), "a put job never ended")

    def tape_at_work(self) -> Tape:
        """Wait until the one drive is at something; return the tape that it does that with."""
        (drive,) = self.appliance.machine.drives.all
        self.until(lambda: drive.task is not None, "the drive has nothing to do")
        assert drive.task is not None
        assert drive.task.tape is not None
        return drive.task.tape

    @property
    def cache_used(self) -> int:
        """Bytes of the cache in use."""
        return self.appliance.machine.cache.used

    def reclaim(self) -> None:
        """Empty the cache of what it may lose."""
        assert self.wire.ask("PUT", "/_rest_/cache_filesystem?reclaim").status == 204


Build = Callable[..., Bench]


@pytest.fixture
def build() -> Iterator[Build]:
    """Start appliances with given settings; they are closed after the test."""
    with ExitStack() as stack:

        def start(clock: Clock | None = None, *, bucket: str | None = "b", **settings: object) -> Bench:
            values = {"persist_delay": 0.0, "hold": 0.0, "retry_after": 0, "seed": 7, **settings}
            appliance = Appliance(ApplianceSettings(**values), clock=clock)  # type: ignore[arg-type] # checked at run time
            stack.enter_context(appliance)
            now = time.time if clock is None else clock.wall
            wire = Wire(appliance.endpoint, appliance.access_key, appliance.secret_key, now=now)
            stack.callback(wire.close)
            if bucket is not None:
                assert wire.ask("PUT", f"/{bucket}").status == 200
            return Bench(appliance, wire)

        yield start


@pytest.fixture
def bench(build: Build) -> Bench:
    """An appliance with small blobs and chunks and a bucket `b`."""
    return build(blob_size=1000, chunk_size=3000)
