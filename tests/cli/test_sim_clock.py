"""`ds3tool sim clock`: an appliance's time, moved by hand, and what waiting has cost of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ds3tool.simulator import ManualClock
from ds3tool.transport.bodies import BytesBody
from tests.cli.sim_host import SimHost, sim_host


@pytest.fixture
def host(tmp_path: Path) -> Iterator[SimHost]:
    with sim_host(tmp_path, timed=True, pace=0.0) as host:
        yield host


def test_time_stands_is_stepped_and_runs(host: SimHost) -> None:
    """--step moves it by just so much while it stands, --pace lets it run, --stop lets it stand again."""

    def now() -> datetime:
        return datetime.fromisoformat(host.ask("/clock")["clock"]["appliance_time"])

    before = now()
    assert now() == before
    stepped = host.sim("clock", "--step", "25h", "-o", "json").expect().json
    assert datetime.fromisoformat(stepped["appliance_time"]) == before + timedelta(hours=25) == now()
    assert host.appliance.machine.clock.now() == pytest.approx((before + timedelta(hours=25)).timestamp())
    assert host.sim("clock", "--pace", "100000", "-o", "json").expect().json["pace"] == 100000
    deadline = time.monotonic() + 30
    while now() < before + timedelta(hours=26):
        assert time.monotonic() < deadline, "its time does not run"
    assert host.sim("clock", "--stop", "-o", "json").expect().json["pace"] == 0
    assert now() == now()


def test_what_waiting_has_cost_is_told(host: SimHost) -> None:
    """Mounts, the time drives took and the time that passed, in a sentence and in numbers."""
    assert host.ask("/clock")["waiting"]["spent"] == {}
    host.client.create_bucket("b")
    host.client.put_object("b", "x", BytesBody(b"x"))
    machine, skipped = host.appliance.machine, 0.0
    deadline = time.monotonic() + 30
    while machine.jobs.active:
        skipped += host.ask("/clock", {"skip": True})["skipped_seconds"]
        assert time.monotonic() < deadline, "the job does not end, however far its time goes"
    waiting = host.sim("clock", "--skip", "-o", "json").expect().json["waiting"]
    assert waiting["mounts"] == 1
    assert 10 < waiting["drive_seconds"] <= skipped + 1e-3
    assert waiting["spent"]["write"]["count"] == 1
    assert [account["mounts"] for account in waiting["by_tape"].values()] == [1]
    assert len(waiting["by_job"]) == 1
    table = host.sim("clock").expect().stdout
    assert "drives and robot at work for" in table
    job = next(iter(waiting["by_job"]))
    assert f"{job}  1 mount, " in table
    assert "stands still until it is stepped" in table


@pytest.mark.parametrize(
    "arguments",
    [("--pace", "2", "--step", "1h"), ("--skip", "--step", "1h"), ("--pace", "5", "--stop"), ("--step", "x")],
)
def test_a_clock_is_changed_in_one_way_at_a_time(host: SimHost, arguments: tuple[str, ...]) -> None:
    """Anything else is refused, and the clock stays as it is."""
    before = host.appliance.machine.clock.now()
    host.sim("clock", *arguments).expect(2)
    assert (host.appliance.machine.clock.now(), host.appliance.machine.clock.pace) == (before, 0.0)


def test_a_programs_own_clock_is_left_to_it(tmp_path: Path) -> None:
    """It is shown, and cannot be moved from outside."""
    from ds3tool.cli import appliances
    from ds3tool.simulator import Appliance, ApplianceSettings
    from tests.cli.runner import run

    settings = ApplianceSettings(directory=str(tmp_path / "a"), control_port=0)
    with (
        Appliance(settings, clock=ManualClock()) as appliance,
        appliances.findable(appliance.directory, tmp_path / "state"),
    ):
        state = ("--state-dir", str(tmp_path / "state"))
        assert run("sim", "clock", *state, "-o", "json").expect().json["appliance_time"].startswith("2024-01-02")
        assert "a clock of the program" in run("sim", "clock", "--skip", *state).expect(2).stderr
