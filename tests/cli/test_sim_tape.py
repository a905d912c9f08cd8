"""`ds3tool sim tape` and `sim drive`: the operator's hands, and what breaks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ds3tool.errors import MediaOfflineError
from ds3tool.protocol.model import ObjectToGet
from ds3tool.transport.bodies import BytesBody
from tests.cli.sim_host import SimHost, sim_host


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimHost]:
    """One library for all tests; each takes tapes of its own."""
    with sim_host(tmp_path_factory.mktemp("library"), tapes=2, drives=1, slots=20, entry_exit_slots=5) as host:
        yield host


def tapes(host: SimHost) -> dict[str, dict[str, Any]]:
    """Return what the operator sees, by bar code."""
    return {tape["bar_code"]: tape for tape in host.ask("/tapes")["tapes"]}


def until_state(host: SimHost, bar_code: str, *states: str) -> str:
    """Wait until a tape is in one of these states; return it."""
    machine = host.appliance.machine

    def state() -> str:
        return str(machine.library.find(bar_code).state)

    with machine.jobs.changed:
        assert machine.jobs.changed.wait_for(lambda: state() in states, 30), state()
        return state()


def test_tapes_are_put_in_and_listed(host: SimHost) -> None:
    """A blank one and a cleaning tape find their slots; the list shows them with what is free."""
    done = host.sim("tape", "insert", "NEW001L8", "-o", "json").expect().json
    assert (done["bar_code"], done["type"], done["written"]) == ("NEW001L8", "LTO8", 0)
    host.ask("/tapes", {"act": "insert", "cleaning": True, "uses": 3})
    until_state(host, "NEW001L8", "NORMAL")
    until_state(host, "CLN001L1", "NORMAL")
    assert tapes(host)["CLN001L1"]["cleanings_left"] == 3
    listed = host.sim("tape").expect()
    assert "NEW001L8  LTO8" in listed.stdout
    assert "entry/exit slots; ejected tapes are taken out at once" in listed.stderr
    assert "on two tapes" in host.sim("tape", "insert", "NEW001L8").expect(2).stderr
    deeds = [entry for entry in host.ask("/log")["entries"] if entry["kind"] == "deed"]
    assert ("operator", "put in", "NEW001L8") in [(deed["by"], deed["what"], deed["tape"]) for deed in deeds]


def test_a_tape_that_is_taken_away_is_lost_and_found(host: SimHost) -> None:
    """remove takes it without a word; return puts it back by the door."""
    host.ask("/tapes", {"act": "insert", "bar_code": "AWAY01L8", "shelf": True})
    until_state(host, "AWAY01L8", "NORMAL")
    assert "AWAY01L8 is LOST, outside" in host.sim("tape", "remove", "AWAY01L8").expect().stderr
    assert tapes(host)["AWAY01L8"]["state"] == "LOST"
    host.sim("tape", "return", "AWAY01L8", "--shelf").expect()
    until_state(host, "AWAY01L8", "NORMAL")


def test_a_tape_goes_to_another_appliance(host: SimHost, tmp_path: Path) -> None:
    """Ejected and exported here, it is FOREIGN there, with all its bytes."""
    host.client.create_bucket("travels")
    host.client.put_object("travels", "x", BytesBody(b"x" * 1000))
    machine = host.appliance.machine
    with machine.jobs.changed:
        assert machine.jobs.changed.wait_for(lambda: not machine.jobs.active, 30)
    (used,) = [code for code, tape in tapes(host).items() if tape["written"]]
    host.client.eject_tape(used)
    until_state(host, used, "EJECTED")
    host.client.reclaim_cache()
    with pytest.raises(MediaOfflineError, match=used):
        host.client.create_get_job("travels", [ObjectToGet("x")])
    told = host.sim("tape", "export", used, "--to", str(tmp_path / "out"), "-o", "json").expect().json
    assert Path(told["index"]).is_file()
    with sim_host(tmp_path, tapes=0) as other:
        done = other.sim("tape", "insert", "--from", str(tmp_path / "out"), "-o", "json").expect().json
        assert done["bar_code"] == used
        assert until_state(other, used, "FOREIGN", "NORMAL", "BAD") == "FOREIGN"
        assert tapes(other)[used]["capacity"] == tapes(host)[used]["capacity"]


def test_a_tape_is_made_damaged_and_protected(host: SimHost, tmp_path: Path) -> None:
    """Files become one that no appliance wrote; a damaged one is BAD when it is looked at; a tab is set and unset."""
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a.mov").write_bytes(b"film")
    made = host.sim(
        *("tape", "make", "FILM01L8", "--files", str(tmp_path / "films"), "--to", str(tmp_path / "tape"), "-o", "json")
    ).expect()
    assert Path(made.json["index"]).name == "FILM01L8.index"
    host.ask("/tapes", {"act": "insert", "bar_code": "BADONEL8", "stay": True})
    host.sim("tape", "damage", "BADONEL8").expect()
    assert tapes(host)["BADONEL8"]["damaged"]
    host.client.online_tape("BADONEL8")
    assert until_state(host, "BADONEL8", "BAD", "NORMAL") == "BAD"
    host.ask("/tapes", {"act": "protect", "tape": "SIM002L8"})
    assert tapes(host)["SIM002L8"]["protected"]
    host.ask("/tapes", {"act": "protect", "tape": "SIM002L8", "off": True})
    assert not tapes(host)["SIM002L8"]["protected"]


def test_nobody_takes_ejected_tapes_out_when_nobody_attends(host: SimHost) -> None:
    """Then they wait in the entry/exit slots for sim tape take."""
    host.ask("/tapes", {"act": "insert", "bar_code": "WAITS1L8", "shelf": True})
    until_state(host, "WAITS1L8", "NORMAL")
    assert "nobody attends" in host.sim("tape", "attend", "--off").expect().stderr
    host.client.eject_tape("WAITS1L8")
    until_state(host, "WAITS1L8", "EJECT_FROM_EE_PENDING")
    assert tapes(host)["WAITS1L8"]["place"] == "port"
    host.sim("tape", "take", "WAITS1L8").expect()
    assert tapes(host)["WAITS1L8"]["state"] == "EJECTED"
    assert host.ask("/tapes", {"act": "attend"})["attended"] is True


def test_a_drive_fails_and_is_mended(host: SimHost) -> None:
    """It says why it is in ERROR, and works again."""
    (failed,) = host.sim("drive", "fail", "SIMDRIVE001", "--message", "Fan broken.", "-o", "json").expect().json
    assert (failed["state"], failed["error"]) == ("ERROR", "Fan broken.")
    assert "ERROR" in host.sim("drive").expect().stdout
    (mended,) = host.ask("/drives", {"act": "mend", "drive": "SIMDRIVE001"})["drives"]
    assert (mended["state"], mended["error"]) == ("NORMAL", None)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("tape", "take", "NOSUCH"), 4, "NOSUCH"),
        (("tape", "take", "SIM001L8"), 2, "not in an entry/exit slot"),
        (("tape", "take"), 2, "needs a bar code"),
        (("tape", "take", "SIM001L8", "--shelf"), 2, "--shelf means nothing to take"),
        (("tape", "attend", "SIM001L8"), 2, "takes no bar code"),
        (("tape", "damage", "SIM001L8", "--seed", "7"), 2, "--seed chooses"),
        (("tape", "export", "SIM001L8"), 2, "needs --to"),
        (("tape", "insert", "--from", "/no/such/place"), 2, "/no/such/place"),
        (("tape", "insert", "--type", "LTO4X"), 2, "LTO4X"),
        (("tape", "insert", "--uses", "3"), 2, "Only a cleaning tape"),
        (("drive", "fail"), 2, "needs a drive"),
        (("drive", "mend", "SIMDRIVE001", "--message", "x"), 2, "--message means nothing to mend"),
        (("drive", "mend", "NOSUCH"), 4, "NOSUCH"),
    ],
)
def test_what_cannot_be_done_is_told_and_changes_nothing(
    host: SimHost, arguments: tuple[str, ...], code: int, said: str
) -> None:
    """A hand that reaches for what is not there ends in a sentence; exit code 4 where there is no such thing."""
    before = (tapes(host), host.ask("/drives"))
    assert said in host.sim(*arguments).expect(code).stderr
    assert (tapes(host), host.ask("/drives")) == before
