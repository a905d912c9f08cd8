"""`ds3tool sim status`: what an appliance holds and what it is doing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ds3tool.cli import sim_status
from ds3tool.client import Ds3Client
from ds3tool.errors import AccessDeniedError
from ds3tool.protocol.model import ObjectToPut
from ds3tool.simulator import Appliance, ApplianceSettings
from ds3tool.transport.bodies import BytesBody
from ds3tool.transport.settings import ConnectionSettings
from tests.cli.sim_host import SimHost, sim_host


@pytest.fixture
def host(tmp_path: Path) -> Iterator[SimHost]:
    with sim_host(tmp_path, cache_size=1 << 30, tapes=4) as host:
        yield host


def status(host: SimHost) -> dict[str, Any]:
    """Return what the controls say, which is what -o json shows."""
    return host.ask("/status")


def test_what_it_holds_and_does_is_told(host: SimHost) -> None:
    """Buckets with objects and bytes, jobs by type, the cache, drives, tapes by state, the clock and the seed."""
    for bucket, count in (("full", 2), ("none", 0)):
        host.client.create_bucket(bucket)
        for number in range(count):
            host.client.put_object(bucket, str(number), BytesBody(b"x" * 1000))
    machine = host.appliance.machine
    with machine.jobs.changed:
        assert machine.jobs.changed.wait_for(lambda: not machine.jobs.active, 30)
    host.client.create_put_job("none", [ObjectToPut("later", 5_000_000)])
    told = status(host)
    assert told["buckets"] == [
        {"name": "full", "objects": 2, "bytes": 2000},
        {"name": "none", "objects": 0, "bytes": 0},
    ]
    assert told["jobs"]["active"] == {"PUT": 1, "GET": 0, "VERIFY": 0}
    assert told["jobs"]["waiting_to_be_written"] == 0
    assert told["cache"] == {"used": machine.cache.used, "capacity": 1 << 30}
    assert [drive["serial_number"] for drive in told["drives"]] == ["SIMDRIVE001", "SIMDRIVE002"]
    assert told["tapes"] == {"NORMAL": 4}
    assert (told["seed"], told["clock"]["pace"]) == (3, 1.0)
    assert told["waiting"]["mounts"] >= 1
    assert 0 <= told["since_reset_seconds"] <= told["uptime_seconds"]
    (shown,) = host.sim("status", "-o", "json").expect().json
    assert {name: shown[name] for name in ("buckets", "jobs", "tapes")} == {
        name: told[name] for name in ("buckets", "jobs", "tapes")
    }
    table = host.sim("status").expect().stdout
    assert "2, with 2 objects, 2.0 KiB: full (2), none (0)" in table
    assert "active: 1 PUT" in table
    assert "4 NORMAL" in table


def test_requests_are_counted_by_operation_and_status(host: SimHost) -> None:
    """Those that were refused too, and those of which nobody knows what they asked for."""
    host.client.create_bucket("b")
    for _ in range(3):
        assert host.client.bucket_exists("b")
    assert not host.client.bucket_exists("c")
    nobody = ConnectionSettings(host.appliance.endpoint, "x", "y", max_retry_seconds=0.0)
    with Ds3Client(nobody) as stranger, pytest.raises(AccessDeniedError):
        stranger.get_service()
    host.until_noted(6)
    counts = {(row["operation"], row["status"]): row["count"] for row in status(host)["requests"]}
    assert counts == {("PutBucket", 200): 1, ("HeadBucket", 200): 3, ("HeadBucket", 404): 1, (None, 403): 1}
    assert dict(sim_status.told(status(host)))["requests"].startswith("6: 3 HeadBucket 200")


def test_jobs_that_wait_for_a_drive_are_told(tmp_path: Path) -> None:
    """A put that is all received waits to be written as long as no tape can be; the drives say what they do."""
    with sim_host(tmp_path, tapes=0) as host:
        host.client.create_bucket("b")
        host.client.put_object("b", "x", BytesBody(b"x"))
        told = status(host)
        assert told["jobs"]["waiting_to_be_written"] == 1
        assert told["tapes"] == {}
        assert "1 all received, and not yet on every tape" in dict(sim_status.told(told))["jobs"]


def test_an_appliance_without_controls_is_listed_without_detail(host: SimHost, tmp_path: Path) -> None:
    """Its own fields are there, the others are empty; nothing fails for it."""
    from ds3tool.cli import appliances

    with (
        Appliance(ApplianceSettings(directory=str(tmp_path / "other"))) as other,
        appliances.findable(other.directory, tmp_path / "state"),
    ):
        rows = host.sim("status", "-o", "json").expect().json
        assert [row["port"] for row in rows] == [host.appliance.port, other.port]
        assert [row["buckets"] for row in rows] == [[], None]
        assert host.sim("status").expect().stdout.count("\n") == 3
        named = host.sim("status", "--port", str(host.appliance.port)).expect().stdout
    assert "buckets   none" in named
