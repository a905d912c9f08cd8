"""An appliance to try the list on, small enough that a whole run takes a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from ds3tool.certification import CASES, Case, Extent, Ground, Line, Sheet, certify
from ds3tool.client import Ds3Client
from ds3tool.protocol.model import Versioning
from ds3tool.simulator import Appliance, ApplianceSettings
from ds3tool.transport.settings import ConnectionSettings

KIB = 1 << 10


@dataclass
class Bench:
    """An appliance, a client that gives up at once, and a way to try cases."""

    appliance: Appliance
    connection: ConnectionSettings
    client: Ds3Client

    def ground(self, **options: object) -> Ground:
        extent = Extent(large=1000 * KIB, blob=128 * KIB, objects=40, within_seconds=30.0)
        return Ground(self.client, self.connection, extent, **options)  # type: ignore[arg-type]  # checked at run time

    def run(self, *names: str, on_line: Callable[[Line], None] = lambda _: None, **options: object) -> Sheet:
        """Try the cases of these names, or all."""
        cases: list[Case] = [case for case in CASES if not names or case.name in names]
        assert len(cases) == len(names) or not names
        return certify(self.ground(**options), cases=cases, on_line=on_line)


Build = Callable[..., Bench]


@pytest.fixture
def build() -> Iterator[Build]:
    """Start appliances with given settings; they are closed after the test."""
    with ExitStack() as stack:

        def start(**settings: object) -> Bench:
            usual = {
                "blob_size": 128 * KIB,
                "chunk_size": 384 * KIB,
                "cache_size": 3072 * KIB,
                "persist_delay": 0.0,
                "retry_after": 0,
                "hold": 0.0,
                "versioning": Versioning.KEEP_MULTIPLE_VERSIONS,
            }
            appliance = stack.enter_context(Appliance(ApplianceSettings(**{**usual, **settings})))  # type: ignore[arg-type]  # checked at run time
            connection = ConnectionSettings(
                appliance.endpoint, appliance.access_key, appliance.secret_key, max_retry_seconds=0.0
            )
            return Bench(appliance, connection, stack.enter_context(Ds3Client(connection)))

        yield start
