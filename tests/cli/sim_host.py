"""A host on which `ds3tool sim` finds an appliance of this process as it finds any other."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ds3tool.cli import appliances, sim_controls
from ds3tool.client import Ds3Client
from ds3tool.simulator import Appliance, ApplianceSettings
from ds3tool.transport.settings import ConnectionSettings
from tests.cli.runner import Run, run


@dataclass
class SimHost:
    """A state folder, an appliance that is found in it, and a client of that."""

    folder: Path
    appliance: Appliance
    client: Ds3Client

    def sim(self, *arguments: str) -> Run:
        """Run `ds3tool sim ARGUMENTS`."""
        return run("sim", *arguments, "--state-dir", str(self.folder / "state"))

    def ask(self, path: str, change: Mapping[str, object] | None = None, **query: object) -> dict[str, Any]:
        """Return what the appliance's controls say, as the commands ask them; a hundred times quicker than one."""
        found = appliances.in_directory(self.appliance.directory)
        assert found is not None
        return sim_controls.ask(found, path, change, query=query)

    def until_noted(self, requests: int) -> None:
        """Wait until so many requests stand in the log: one is noted when its reply is on its way already."""
        diary, deadline = self.appliance.diary, time.monotonic() + 30
        while True:
            last = diary.last
            noted = sum(diary.counts().values())
            if noted >= requests:
                return
            assert time.monotonic() < deadline, f"{noted} of {requests} requests are noted"
            diary.wait(last, 1.0)


@contextlib.contextmanager
def sim_host(folder: Path, **settings: object) -> Iterator[SimHost]:
    """Give a host with one appliance, which lives in `folder`."""
    values = {"directory": str(folder / "appliance"), "control_port": 0, "seed": 3, "persist_delay": 0.0, "hold": 0.0}
    appliance_settings = ApplianceSettings(**{**values, **settings})  # type: ignore[arg-type]  # checked at run time
    with (
        Appliance(appliance_settings) as appliance,
        appliances.findable(appliance.directory, folder / "state"),
        Ds3Client(
            ConnectionSettings(appliance.endpoint, appliance.access_key, appliance.secret_key, max_retry_seconds=0.0)
        ) as client,
    ):
        yield SimHost(folder, appliance, client)
