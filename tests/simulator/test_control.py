"""The appliance's controls: a door of their own, for its owner alone."""

from __future__ import annotations

import http.client
import json
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ds3tool.errors import UsageError
from ds3tool.simulator import STATE_FILE, Appliance, ApplianceSettings, Fault
from tests.simulator.wire import Wire

NOUNS = ("/faults", "/status", "/clock", "/tapes", "/drives", "/log", "/reset")


class Door:
    """What a program with the appliance's record can do."""

    def __init__(self, appliance: Appliance) -> None:
        record = json.loads((appliance.directory / STATE_FILE).read_text())
        self.port, self.token = record["control_port"], record["control_token"]

    def ask(self, verb: str, path: str = "/faults", body: object = None, token: str | None = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            content = body if isinstance(body, str) else None if body is None else json.dumps(body)
            authorization = f"Bearer {self.token}" if token is None else token
            connection.request(verb, path, content, {"Authorization": authorization} if authorization else {})
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read())
        finally:
            connection.close()


@pytest.fixture
def appliance() -> Iterator[Appliance]:
    with Appliance(ApplianceSettings(control_port=0, seed=5, persist_delay=0.0)) as started:
        yield started


@pytest.fixture
def door(appliance: Appliance) -> Door:
    return Door(appliance)


def test_faults_are_shown_with_rates_and_counts(appliance: Appliance, door: Door) -> None:
    """Every fault is there, with what it does; what struck was counted; the seed is told."""
    appliance.faults.set("busy-503", 1.0, most=3)
    wire = Wire(appliance.endpoint, appliance.access_key, appliance.secret_key)
    assert wire.ask("GET", "/").status == 503
    wire.close()
    status, told = door.ask("GET")
    assert (status, told["seed"]) == (200, 5)
    shown = {each["name"]: each for each in told["faults"]}
    assert set(shown) == set(Fault)
    busy = shown["busy-503"]
    assert (busy["rate"], busy["most"], busy["struck"]) == (1.0, 2, 1)
    assert busy["does"] == Fault.BUSY_503.what
    assert busy["against"] == Fault.BUSY_503.exposes


def test_faults_are_changed(appliance: Appliance, door: Door) -> None:
    """What is named changes, the rest stays; clear puts all others to zero."""
    assert door.ask("PUT", body={"rates": ["slow=0.5", "stall=1:2"]})[0] == 200
    door.ask("PUT", body={"rates": ["slow=0.25"]})
    assert (appliance.faults.rate("slow"), appliance.faults.rate("stall")) == (0.25, 1.0)
    _, told = door.ask("PUT", body={"clear": True, "rates": ["short-get=1"]})
    assert {each["name"]: each["rate"] for each in told["faults"] if each["rate"]} == {"short-get": 1.0}
    door.ask("PUT", body={"clear": True})
    assert not appliance.faults.active


@pytest.mark.parametrize(
    "body",
    [
        {"rates": ["slow=0.5", "shy=1"]},
        {"rates": ["slow=2"]},
        {"rates": "slow=1"},
        {"rates": [0.5]},
        {"clear": "yes"},
        {"slow": 1},
        [],
        "slow=1",
        "",
        "[" * 100_000,
    ],
)
def test_a_change_that_is_not_understood_changes_nothing(appliance: Appliance, door: Door, body: object) -> None:
    """It is refused as a whole, with a sentence."""
    appliance.faults.set("short-get", 0.5)
    status, told = door.ask("PUT", body=body)
    assert status == 400
    assert told["error"]["message"]
    assert {state.fault for state in appliance.faults.states() if state.rate} == {Fault.SHORT_GET}


@pytest.mark.parametrize("token", ["", "Bearer", "Bearer x", "Basic {}", "{}"])
def test_nobody_without_the_token_is_let_in(appliance: Appliance, door: Door, token: str) -> None:
    """Neither to look nor to change; the refusal tells nothing of the faults."""
    for verb in ("GET", "PUT", "DELETE"):
        for path in (*NOUNS, "/nowhere"):
            status, told = door.ask(verb, path, {"rates": ["slow=1"]}, token=token.format(door.token + "x"))
            assert status == 401
            assert set(told) == {"error"}
    assert not appliance.faults.active


def test_the_token_is_the_owners_alone(appliance: Appliance, door: Door) -> None:
    """Others cannot read the record that holds it, and another start has another."""
    assert stat.S_IMODE((appliance.directory / STATE_FILE).stat().st_mode) == 0o600
    with Appliance(ApplianceSettings(control_port=0, seed=5)) as other:
        assert Door(other).token != door.token


def test_the_door_is_of_this_host_alone(appliance: Appliance, door: Door) -> None:
    """It listens on the loopback address, whatever the appliance's own is."""
    with Appliance(ApplianceSettings(host="0.0.0.0", control_port=0)) as open_to_all:
        assert _is_loopback(Door(open_to_all).port)
    assert _is_loopback(door.port)


def _is_loopback(port: int) -> bool:
    """Whether what listens at a port does so at 127.0.0.1."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return [
        line.split()[1] for line in lines if line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A"
    ] == [f"0100007F:{port:04X}"]


def test_nothing_of_it_is_at_the_protocol_port(appliance: Appliance, door: Door) -> None:
    """The data port knows neither the path nor the token, and the door knows no operation of the protocol."""
    wire = Wire(appliance.endpoint, appliance.access_key, appliance.secret_key)
    assert wire.ask("GET", "/faults").status == 404  # there is no such bucket
    assert wire.ask("PUT", "/_rest_/faults", b'{"rates": ["slow=1"]}').status == 404
    wire.close()
    connection = http.client.HTTPConnection("127.0.0.1", appliance.port, timeout=30)
    connection.request("GET", "/faults", headers={"Authorization": f"Bearer {door.token}"})
    assert connection.getresponse().status == 403
    connection.close()
    assert door.ask("GET", "/")[0] == 404
    assert door.ask("DELETE")[0] == 405
    assert not appliance.faults.active


def test_the_door_closes_with_the_appliance(appliance: Appliance, door: Door) -> None:
    """Nobody is there afterwards, and the record with the token is gone."""
    directory = appliance.directory
    appliance.close()
    assert not (directory / STATE_FILE).exists()
    with pytest.raises(OSError, match="refused"):
        door.ask("GET")


def test_without_a_control_port_there_is_no_door() -> None:
    """An appliance that was not asked to has none, and its record says so."""
    with Appliance(ApplianceSettings()) as appliance:
        assert appliance.control_port is None
        assert json.loads((appliance.directory / STATE_FILE).read_text())["control_token"] is None


def test_a_control_port_in_use_is_told() -> None:
    """The appliance does not start, and says which port it was."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"controls cannot listen at port {port}"):
            Appliance(ApplianceSettings(control_port=port)).start()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/clock", {}),
        ("/clock", {"pace": -1}),
        ("/clock", {"pace": "fast"}),
        ("/clock", {"pace": 2, "skip": True}),
        ("/clock", {"step": True}),
        ("/clock", {"hours": 2}),
        ("/tapes", {"act": "eat"}),
        ("/tapes", {"tape": "SIM001L8"}),
        ("/tapes", {"act": "take", "tape": "SIM001L8", "shelf": True}),
        ("/tapes", {"act": "insert", "bar_code": "../../x"}),
        ("/tapes", {"act": "insert", "cleaning": 1}),
        ("/drives", {"act": "eat", "drive": "SIMDRIVE001"}),
        ("/drives", {"act": "fail"}),
        ("/reset", {}),
        ("/reset", {"what": "half"}),
        ("/reset", {"what": "all", "gently": True}),
    ],
)
def test_a_question_that_is_not_understood_changes_nothing(
    appliance: Appliance, door: Door, path: str, body: dict[str, object]
) -> None:
    """Whatever it is about, it is a 400 that says how it should look."""
    instance, pace = appliance.machine.instance_id, appliance.machine.clock.pace
    before = door.ask("GET", "/tapes")
    status, told = door.ask("PUT", path, body)
    assert status == 400
    assert told["error"]["message"]
    assert door.ask("GET", "/tapes") == before
    assert (appliance.machine.instance_id, appliance.machine.clock.pace) == (instance, pace)


def test_each_noun_is_looked_at_and_changed_as_it_can_be(door: Door) -> None:
    """What cannot be changed, or not be looked at, says so; a question with more than it takes is refused."""
    assert [door.ask("GET", noun)[0] for noun in NOUNS] == [200] * (len(NOUNS) - 1) + [405]
    assert door.ask("PUT", "/status", {})[0] == 405
    assert door.ask("PUT", "/log", {})[0] == 405
    assert door.ask("GET", "/status?all=1")[0] == 400
    assert door.ask("GET", "/log?tail=-1")[0] == 400
    assert door.ask("GET", "/log?tail=many")[0] == 400


def test_an_appliance_that_is_closed_lets_followers_of_its_log_go(appliance: Appliance, door: Door) -> None:
    """Whoever waits for the next entry does not keep it from ending."""
    answers: list[object] = []

    def follow() -> None:
        try:
            answers.append(door.ask("GET", "/log?after=0&wait=20"))
        except (OSError, http.client.HTTPException, ValueError) as cut:
            answers.append(cut)

    follower = threading.Thread(target=follow)
    follower.start()
    appliance.close()
    follower.join(15)
    assert not follower.is_alive()
    assert len(answers) == 1
