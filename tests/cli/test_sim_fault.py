"""`ds3tool sim fault`: what goes wrong with an appliance, by hand."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ds3tool.cli import appliances
from ds3tool.simulator import Appliance, ApplianceSettings, Fault
from tests.cli.runner import Run, run


class Host:
    """A state folder, with appliances that `sim` finds in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def sim(self, *arguments: str) -> Run:
        return run("sim", *arguments, "--state-dir", str(self.folder / "state"))

    def rates(self, *arguments: str) -> dict[str, float]:
        """Return the rates above zero that `sim fault ARGUMENTS` shows."""
        shown = self.sim("fault", *arguments, "-o", "json").expect().json
        return {row["name"]: row["rate"] for row in shown if row["rate"]}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def appliance(host: Host) -> Iterator[Appliance]:
    """An appliance of this process that `sim` finds as it finds any other."""
    settings = ApplianceSettings(directory=str(host.folder / "one"), control_port=0, seed=3, persist_delay=0.0)
    with Appliance(settings) as started, appliances.findable(started.directory, host.folder / "state"):
        yield started


def test_rates_are_set_shown_and_cleared(host: Host, appliance: Appliance) -> None:
    """What is named changes; what was not stays; --clear puts all to zero, and what stands beside it counts after."""
    assert host.rates() == {}
    assert host.rates("lost-reply=0.25", "slow=0.5,stall=1:2") == {"lost-reply": 0.25, "slow": 0.5, "stall": 1.0}
    assert host.rates("slow=0") == {"lost-reply": 0.25, "stall": 1.0}
    assert appliance.faults.rate("lost-reply") == 0.25
    assert host.rates("--clear", "short-get=1") == {"short-get": 1.0}
    assert host.rates("--clear") == {}
    assert not appliance.faults.active


def test_counts_are_shown_in_every_shape(host: Host, appliance: Appliance) -> None:
    """How often each has struck, and how often it yet may; all faults, also those that do not strike."""
    appliance.faults.set("busy-503-no-header", 1.0, most=5)
    keys = (appliance.endpoint, appliance.access_key, appliance.secret_key)
    environ = dict(zip(("DS3_ENDPOINT", "DS3_ACCESS_KEY", "DS3_SECRET_KEY"), keys, strict=True))
    run("ls", "--max-retry-time", "0", environ=environ).expect(7)
    shown = host.sim("fault", "-o", "json").expect().json
    assert {row["name"] for row in shown} == set(Fault)
    (busy,) = [row for row in shown if row["name"] == "busy-503-no-header"]
    assert (busy["rate"], busy["left"], busy["struck"], busy["seed"]) == (1.0, 4, 1, 3)
    assert busy["does"] == Fault.BUSY_503_NO_HEADER.what
    assert busy["against"] == Fault.BUSY_503_NO_HEADER.exposes
    assert host.sim("fault", "-o", "ndjson").expect().lines == shown
    rows = list(csv.DictReader(io.StringIO(host.sim("fault", "-o", "csv").expect().stdout)))
    assert [row["struck"] for row in rows if row["name"] == "busy-503-no-header"] == ["1"]
    table = host.sim("fault").expect().stdout
    (line,) = [line for line in table.splitlines() if line.startswith("busy-503-no-header")]
    assert line.split()[1:4] == ["1", "4", "1"]


@pytest.mark.parametrize(
    ("rate", "told"),
    [("shy=1", "no fault 'shy'"), ("slow", "how often"), ("slow=2", "the rate of slow is 2"), ("slow=x", "no rate")],
)
def test_a_mistake_is_told_by_the_appliance_and_changes_nothing(
    host: Host, appliance: Appliance, rate: str, told: str
) -> None:
    """Exit code 2, a sentence and a way out; the rates beside it are not set either."""
    refused = host.sim("fault", "stall=1", rate).expect(2)
    assert told in refused.stderr
    assert "hint: " in refused.stderr
    assert not appliance.faults.active


def test_the_appliance_is_chosen(host: Host, appliance: Appliance) -> None:
    """The one started last, or that of --dir or --port; none is exit code 4."""
    settings = ApplianceSettings(directory=str(host.folder / "two"), control_port=0)
    with Appliance(settings) as last, appliances.findable(last.directory, host.folder / "state"):
        host.sim("fault", "slow=1").expect()
        host.sim("fault", "stall=1", "--dir", str(appliance.directory)).expect()
        host.sim("fault", "short-get=1", "--port", str(appliance.port)).expect()
        assert [state.fault for state in last.faults.states() if state.rate] == [Fault.SLOW]
    assert [state.fault for state in appliance.faults.states() if state.rate] == [Fault.SHORT_GET, Fault.STALL]
    host.sim("fault", "--port", "1").expect(4)


def test_an_appliance_without_controls_is_told(host: Host) -> None:
    """One that was started by a program, or by an older release, says what to do."""
    settings = ApplianceSettings(directory=str(host.folder / "one"))
    with Appliance(settings) as started, appliances.findable(started.directory, host.folder / "state"):
        refused = host.sim("fault").expect(2)
    assert "has no controls" in refused.stderr
    assert "sim start" in refused.stderr


def test_controls_that_somebody_else_holds_are_told(host: Host, appliance: Appliance) -> None:
    """A record that has gone stale ends in a sentence, not in a surprise; the token is never shown."""
    path = appliance.directory / appliances.RECORD_NAME
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"control_port": appliance.port}))
    refused = host.sim("fault", "-vv").expect(1)
    assert "do not answer as they should" in refused.stderr
    path.write_text(json.dumps(record | {"control_token": "another"}))
    refused = host.sim("fault", "-vv").expect(2)
    assert "token" in refused.stderr
    assert record["control_token"] not in refused.stderr
    assert record["control_token"] not in host.sim("status", "-o", "json").stdout


def test_what_there_is_to_go_wrong_is_listed(host: Host) -> None:
    """`sim faults` needs no appliance; it says what each does and what it is against."""
    listed = host.sim("faults", "-o", "json").expect().json
    assert [(row["name"], row["does"], row["against"]) for row in listed] == [
        (fault.value, fault.what, fault.exposes) for fault in Fault
    ]
    table = " ".join(host.sim("faults").expect().stdout.split())
    assert f"{Fault.SLOW.what} (against {Fault.SLOW.exposes})" in table
