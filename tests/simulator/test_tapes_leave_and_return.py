"""Ejection and return, one tape or all, and what restores are told meanwhile."""

from __future__ import annotations

import uuid

import pytest

from ds3tool.simulator.clock import ManualClock, SimulatedClock
from ds3tool.simulator.tapes.operator import Operator
from tests.simulator.conftest import Bench, Build


@pytest.fixture
def archived(bench: Bench) -> tuple[Bench, str]:
    """An object on tape only, and the bar code of its tape."""
    bench.wire.put_all("b", {"a": b"hello"})
    bench.until_persisted()
    bench.reclaim()
    code = bench.wire.bulk("get_physical_placement", "b", '<Object Name="a"/>').xml.findtext("Tapes/Tape/BarCode")
    assert code
    return bench, code


def _state(bench: Bench, code: str) -> str | None:
    return bench.wire.ask("GET", f"/_rest_/tape/{code}").xml.findtext("State")


def _until(bench: Bench, code: str, state: str) -> None:
    tape = bench.appliance.machine.library.find(code)
    bench.until(lambda: tape.state == state, f"{code} never became {state}")


def test_a_get_of_what_only_ejected_tapes_hold_names_them(archived: tuple[Bench, str]) -> None:
    """409 with the bar code in brackets, on record as a failed creation; after the return the restore works."""
    bench, code = archived
    ejected = bench.wire.ask("PUT", f"/_rest_/tape/{code}?operation=eject&eject_label=Box%207&eject_location=vault")
    assert ejected.status == 200
    assert ejected.xml.findtext("EjectPending")
    refused = bench.wire.start_get("b", ["a"])
    assert (refused.status, f"[{code}]" in refused.message) == (409, True)
    _until(bench, code, "EJECTED")
    shown = bench.wire.ask("GET", f"/_rest_/tape/{code}").xml
    assert [shown.findtext(name) for name in ("EjectLabel", "EjectLocation", "EjectPending")] == ["Box 7", "vault", ""]
    assert shown.findtext("EjectDate")
    assert bench.wire.start_get("b", ["a"]).status == 409
    record = bench.wire.ask("GET", "/_rest_/job_creation_failed").xml.find("JobCreationFailed")
    assert record is not None
    assert (record.findtext("TapeBarCodes"), record.findtext("Type")) == (code, "TAPES_MUST_BE_ONLINED")
    assert bench.wire.ask("PUT", f"/_rest_/tape/{code}?operation=online").status == 200
    job = bench.wire.start_get("b", ["a"]).xml.attrib["JobId"]
    bench.until(lambda: bench.cache_used == 5)
    reply = bench.wire.get_blob("b", "a", job, 0)
    while reply.status == 307:
        reply = bench.wire.get_blob("b", "a", job, 0)
    assert reply.body == b"hello"


def test_a_copy_within_reach_is_enough(build: Build) -> None:
    """Of two copies, one ejected: the restore goes on."""
    bench = build(copies=2)
    bench.wire.put_all("b", {"a": b"hello"})
    bench.until_persisted()
    bench.reclaim()
    tapes = bench.wire.bulk("get_physical_placement", "b", '<Object Name="a"/>').xml
    codes = [tape.findtext("BarCode") or "" for tape in tapes.iter("Tape")]
    bench.wire.ask("PUT", f"/_rest_/tape/{codes[0]}?operation=eject")
    _until(bench, codes[0], "EJECTED")
    assert bench.wire.start_get("b", ["a"]).status == 200
    bench.until(lambda: bench.cache_used == 5)
    bench.until(lambda: all(c.ready for j in bench.appliance.machine.jobs.readers.values() for c in j.chunks.values()))
    bench.wire.ask("PUT", f"/_rest_/tape/{codes[1]}?operation=eject")
    _until(bench, codes[1], "EJECTED")


def test_a_cached_blob_needs_no_tape(bench: Bench) -> None:
    """With the tape away, what the cache holds is still served."""
    bench.wire.put_all("b", {"a": b"hello"})
    bench.until_persisted()
    bench.wire.ask("PUT", "/_rest_/tape?operation=eject")
    assert bench.wire.start_get("b", ["a"]).status == 200
    assert bench.wire.ask("GET", "/b/a").body == b"hello"


def test_an_ejection_can_be_called_off_while_the_robot_moves(build: Build) -> None:
    """And a return too; each takes the robot's time."""
    clock = ManualClock()
    bench = build(clock, robot_delay=30.0)
    target = "/_rest_/tape/SIM001L8"
    bench.wire.ask("PUT", f"{target}?operation=eject")
    assert _state(bench, "SIM001L8") == "NORMAL"
    assert bench.wire.ask("PUT", f"{target}?operation=cancel_eject").xml.findtext("EjectPending") == ""
    assert bench.wire.ask("PUT", f"{target}?operation=cancel_eject").status == 409
    clock.advance(60)
    assert _state(bench, "SIM001L8") == "NORMAL"
    bench.wire.ask("PUT", f"{target}?operation=eject")
    clock.advance(30)
    _until(bench, "SIM001L8", "EJECTED")
    assert bench.wire.ask("PUT", f"{target}?operation=online").xml.findtext("State") == "ONLINE_PENDING"
    assert bench.wire.ask("PUT", f"{target}?operation=cancel_online").xml.findtext("State") == "EJECTED"
    bench.wire.ask("PUT", f"{target}?operation=online")
    clock.advance(30)
    _until(bench, "SIM001L8", "NORMAL")


def test_commands_that_the_state_forbids_are_refused(bench: Bench) -> None:
    """409 for one tape; 404 for an unknown one; 400 for an unknown command."""
    assert bench.wire.ask("PUT", "/_rest_/tape/SIM001L8?operation=online").status == 409
    bench.wire.ask("PUT", "/_rest_/tape/SIM001L8?operation=eject")
    _until(bench, "SIM001L8", "EJECTED")
    assert bench.wire.ask("PUT", "/_rest_/tape/SIM001L8?operation=eject").status == 409
    assert bench.wire.ask("PUT", "/_rest_/tape/NONE?operation=eject").status == 404
    assert bench.wire.ask("PUT", "/_rest_/tape/SIM002L8?operation=fly").status == 400


def test_all_tapes_go_and_return_and_failures_are_listed(build: Build) -> None:
    """204 when all obey; 207 names each tape that did not, and why."""
    bench = build(tapes=3)
    wire = bench.wire
    assert wire.ask("PUT", "/_rest_/tape?operation=eject&eject_label=all").status == 204
    for code in ("SIM001L8", "SIM002L8", "SIM003L8"):
        _until(bench, code, "EJECTED")
    assert wire.ask("PUT", "/_rest_/tape/SIM002L8?state=LOST").xml.findtext("State") == "LOST"
    mixed = wire.ask("PUT", "/_rest_/tape?operation=online")
    assert mixed.status == 207
    (failure,) = mixed.xml.findall("Failure")
    assert failure.findtext("Tape/BarCode") == "SIM002L8"
    assert "LOST" in (failure.findtext("Cause") or "")
    for code in ("SIM001L8", "SIM003L8"):
        _until(bench, code, "NORMAL")
    assert wire.ask("PUT", "/_rest_/tape?operation=eject").status == 207
    assert wire.ask("DELETE", "/_rest_/tape/SIM001L8").status == 409
    assert wire.ask("DELETE", "/_rest_/tape/SIM002L8").status == 204
    assert wire.ask("GET", "/_rest_/tape/SIM002L8").status == 404


def test_the_tapes_of_certain_objects_are_ejected(build: Build) -> None:
    """By storage domain, by bucket, by names; others stay."""
    bench = build(tape_capacity=1000, blob_size=1000)
    bench.wire.put_all("b", {"a": b"x" * 900, "c": b"y" * 900})
    bench.until_persisted()
    library = bench.appliance.machine.library
    domain = bench.wire.ask("GET", "/_rest_/storage_domain").xml.findtext("StorageDomain/Name") or ""
    placed = bench.wire.bulk("get_physical_placement", "b", '<Object Name="c"/>').xml.findtext("Tapes/Tape/BarCode")
    target = f"/_rest_/tape?operation=eject&blobs&bucket_id=b&storage_domain={domain.replace(' ', '%20')}"
    assert bench.wire.ask("PUT", target, b'<Objects><Object Name="c"/></Objects>').status == 204
    bench.until(lambda: sum(tape.state == "EJECTED" for tape in library.tapes.values()) == 1)
    assert library.find(placed or "").state == "EJECTED"
    assert bench.wire.ask("PUT", target.replace("&blobs", "")).status == 204
    bench.until(lambda: sum(tape.state == "EJECTED" for tape in library.tapes.values()) == 2)


def test_nothing_is_written_to_a_tape_that_is_away(build: Build) -> None:
    """Without a tape a job that began before waits, and goes on when one returns."""
    bench = build(tapes=1)
    created = bench.wire.start_put("b", {"a": 5})
    job = created.xml.attrib["JobId"]
    bench.wire.ask("PUT", "/_rest_/tape/SIM001L8?operation=eject")
    _until(bench, "SIM001L8", "EJECTED")
    bench.wire.send("b", job, {"a": b"hello"}, created.xml)
    assert bench.wire.job(job).get("Status") == "IN_PROGRESS"
    bench.wire.ask("PUT", "/_rest_/tape/SIM001L8?operation=online")
    bench.until_persisted()
    assert bench.wire.job(job).get("Status") == "COMPLETED"


def test_a_tape_tells_what_it_holds_in_order_and_in_pages(archived: tuple[Bench, str]) -> None:
    """Blobs as they lie on the tape, with the paging headers."""
    bench, code = archived
    bench.wire.put_all("b", {f"n{number}": b"x" for number in range(5)})
    bench.until_persisted()
    target = f"/_rest_/tape/{code}?operation=get_physical_placement&page_length=2&page_offset="
    names = []
    for offset in (0, 2, 4):
        page = bench.wire.ask("GET", f"{target}{offset}")
        assert page.headers["total-result-count"] == "6"
        assert page.headers["page-truncated"] == str(6 - offset - 2)
        names += [blob.attrib["Name"] for blob in page.xml]
    assert names == ["a", *(f"n{number}" for number in range(5))]
    whole = bench.wire.ask("GET", f"/_rest_/tape/{code}?operation=get_physical_placement").xml
    behind = f"/_rest_/tape/{code}?operation=get_physical_placement&page_start_marker="
    rest = bench.wire.ask("GET", behind + whole[3].attrib["Id"])
    assert [blob.attrib["Name"] for blob in rest.xml] == names[4:]
    assert bench.wire.ask("GET", behind + str(uuid.uuid4())).status == 410


def test_a_tape_that_is_struck_holds_up_nobody(build: Build) -> None:
    """While a get waits for one copy's tape, the other one's tape, lost, is struck: the drives go on."""
    bench = build(copies=2, tapes=6)
    machine, wire = bench.appliance.machine, bench.wire
    wire.put_all("b", {"wanted": b"w" * 500})
    bench.until_persisted()
    bench.reclaim()
    bench.until(lambda: not machine.library.in_use)
    kept, lost = (tape for tape in machine.library.tapes.values() if tape.written)
    with machine.store.lock:
        machine.library.in_use.add(kept.n)  # as if a drive had it for something long
    Operator(machine).remove(lost.bar_code)
    job = wire.start_get("b", ["wanted"]).xml.attrib["JobId"]
    wire.put_all("b", {"before": b"b" * 500})
    bench.until_persisted()  # the drives have looked for all that the get could be read from
    assert wire.ask("DELETE", f"/_rest_/tape/{lost.bar_code}").status == 204
    wire.put_all("b", {"after": b"a" * 500})
    bench.until_persisted()
    with machine.store.lock:
        machine.library.release(kept)
    bench.until(lambda: all(chunk.ready for chunk in machine.jobs.find(job).chunks.values()))
    assert wire.get_blob("b", "wanted", job, 0).body == b"w" * 500


@pytest.mark.parametrize("state", ["LOST", "BAD"])
def test_what_goes_to_a_tape_that_is_said_to_be_lost_does_not_count(build: Build, state: str) -> None:
    """Said to be lost or bad while a drive writes to it, a tape cannot be struck, and its chunks go to another one."""
    bench = build(SimulatedClock(0.0), drives=1, tapes=3, timed=True)
    machine, wire = bench.appliance.machine, bench.wire
    wire.put_all("b", {"a": b"a" * 1000})
    tape = bench.tape_at_work()
    assert wire.ask("PUT", f"/_rest_/tape/{tape.bar_code}?state={state}").status == 200
    assert wire.ask("DELETE", f"/_rest_/tape/{tape.bar_code}").status == 409
    assert isinstance(machine.clock, SimulatedClock)
    machine.clock.set_pace(10_000.0)
    bench.until_persisted()
    ((held,),) = machine.store.db.execute("SELECT tape FROM copies").fetchall()
    assert held != tape.n
    bench.until(lambda: tape.n not in machine.library.in_use)
    assert wire.ask("DELETE", f"/_rest_/tape/{tape.bar_code}").status == (204 if state == "LOST" else 409)


def test_a_change_of_a_tape_that_is_refused_changes_nothing(build: Build) -> None:
    """Asked to be LOST and a test tape at once, one that holds data stays as it is."""
    bench = build(tapes=1)
    bench.wire.put_all("b", {"a": b"a"})
    bench.until_persisted()
    assert bench.wire.ask("PUT", "/_rest_/tape/SIM001L8?state=LOST&role=TEST").status == 400
    shown = bench.wire.ask("GET", "/_rest_/tape/SIM001L8").xml
    assert (shown.findtext("State"), shown.findtext("Role")) == ("NORMAL", "NORMAL")
