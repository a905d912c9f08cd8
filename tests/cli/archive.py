"""An embedded appliance for the commands to talk to, and a quick way to put something into it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from ds3tool.client import Ds3Client
from ds3tool.simulator import Appliance, ApplianceSettings
from ds3tool.transport.bodies import BytesBody
from ds3tool.transport.settings import ConnectionSettings
from tests.cli.runner import Run, run

_BUCKET_NUMBERS = itertools.count(1)


@dataclass
class Archive:
    """A running appliance and a client of it; `run` calls commands that talk to it."""

    appliance: Appliance
    client: Ds3Client
    environ: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, appliance: Appliance) -> Archive:
        """Return an archive over a started appliance."""
        keys = (appliance.endpoint, appliance.access_key, appliance.secret_key)
        return cls(
            appliance,
            Ds3Client(ConnectionSettings(*keys)),
            dict(zip(("DS3_ENDPOINT", "DS3_ACCESS_KEY", "DS3_SECRET_KEY"), keys, strict=True)),
        )

    def run(self, *arguments: str, stdin: str | bytes = "", into: Path | None = None) -> Run:
        """Run `ds3tool ARGUMENTS` against the appliance; stdout may be a file."""
        return run(*arguments, environ=self.environ, stdin=stdin, into=into)

    def bucket(self, *keys: str) -> str:
        """Make a bucket of a new name with objects of these keys, each holding its key's bytes; return the name."""
        name = f"bucket-{next(_BUCKET_NUMBERS)}"
        self.client.create_bucket(name)
        for key in keys:
            self.client.put_object(name, key, BytesBody(b"" if key.endswith("/") else key.encode()))
        return name

    def until(self, happened: Callable[[], bool]) -> None:
        """Wait until something has happened inside the appliance, whose drives work in their own time."""
        deadline = time.monotonic() + 30
        while not happened():
            assert time.monotonic() < deadline, "it never happened"
            time.sleep(0.01)

    def keys(self, bucket: str) -> list[str]:
        """Return the keys in a bucket."""
        return [item.key for item in self.client.list_objects(bucket)]


def small_appliance() -> AbstractContextManager[Appliance]:
    """Return an appliance with small blobs that goes to tape at once."""
    return Appliance(
        ApplianceSettings(
            blob_size=1 << 20,
            chunk_size=4 << 20,
            cache_size=256 << 20,
            retry_after=0,
            persist_delay=0.0,
            tapes=4,
            seed=1,
        )
    )
