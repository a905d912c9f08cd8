"""Storage slots, entry/exit slots, the robot between them, and an operator who is there or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from ds3tool.simulator.clock import ManualClock
from ds3tool.simulator.tapes.ledger import Spent
from ds3tool.simulator.tapes.operator import Operator
from ds3tool.simulator.tapes.tape import Tape
from ds3tool.simulator.wire.refusals import Refusal
from tests.simulator.conftest import Bench, Build


def _tape(bench: Bench, code: str) -> Tape:
    return bench.appliance.machine.library.find(code)


def _until(bench: Bench, code: str, state: str) -> None:
    tape = _tape(bench, code)
    bench.until(lambda: tape.state == state, f"{code} never became {state}")


def _failures(bench: Bench, resource: str = "tape_partition_failure") -> list[str | None]:
    return [each.findtext("Type") for each in bench.wire.ask("GET", f"/_rest_/{resource}").xml]


def _until_told(bench: Bench, *kinds: str) -> None:
    """Wait until partition failures of these kinds are all that stands."""
    beans = bench.appliance.machine.beans
    bench.until(lambda: sorted(each["Type"] for each in beans.all("TapePartitionFailure")) == list(kinds))
    assert sorted(str(kind) for kind in _failures(bench)) == list(kinds)


def _eject(bench: Bench, code: str) -> int:
    return bench.wire.ask("PUT", f"/_rest_/tape/{code}?operation=eject").status


def test_an_ejection_passes_through_the_exit_slot(build: Build) -> None:
    """Pending, on the robot's hand, in the slot until somebody takes it, then away with the date."""
    clock = ManualClock()
    bench = build(clock, robot_delay=30.0)
    operator = Operator(bench.appliance.machine)
    operator.attend(False)
    _eject(bench, "SIM001L8")
    assert _tape(bench, "SIM001L8").state == "NORMAL"
    clock.advance(15)
    _until(bench, "SIM001L8", "EJECT_TO_EE_IN_PROGRESS")
    assert bench.wire.ask("PUT", "/_rest_/tape/SIM001L8?operation=cancel_eject").status == 409
    clock.advance(15)
    _until(bench, "SIM001L8", "EJECT_FROM_EE_PENDING")
    shown = bench.wire.ask("GET", "/_rest_/tape/SIM001L8").xml
    assert (shown.findtext("PreviousState"), shown.findtext("EjectDate")) == ("EJECT_TO_EE_IN_PROGRESS", "")
    _until_told(bench, "TAPE_EJECTION_BY_OPERATOR_REQUIRED")
    operator.take("SIM001L8")
    shown = bench.wire.ask("GET", "/_rest_/tape/SIM001L8").xml
    assert (shown.findtext("State"), shown.findtext("EjectPending")) == ("EJECTED", "")
    assert shown.findtext("EjectDate")
    assert _failures(bench) == []


def test_ejections_queue_for_the_exit_slots(build: Build) -> None:
    """Of three tapes one waits, NORMAL with its ejection pending, until another has been taken away."""
    bench = build(tapes=3, entry_exit_slots=2)
    operator = Operator(bench.appliance.machine)
    operator.attend(False)
    assert bench.wire.ask("PUT", "/_rest_/tape?operation=eject").status == 204
    for code in ("SIM001L8", "SIM002L8"):
        _until(bench, code, "EJECT_FROM_EE_PENDING")
    assert _tape(bench, "SIM003L8").state == "NORMAL"
    assert _tape(bench, "SIM003L8").eject_pending is not None
    operator.take("SIM001L8")
    _until(bench, "SIM003L8", "EJECT_FROM_EE_PENDING")
    operator.attend(True)
    for code in ("SIM002L8", "SIM003L8"):
        _until(bench, code, "EJECTED")


def test_where_nobody_attends_a_tape_comes_back_through_the_slot(build: Build) -> None:
    """Outside it cannot be onlined; put in it is OFFLINE; onlined it is inspected, and keeps label and location."""
    bench = build()
    operator = Operator(bench.appliance.machine)
    bench.wire.ask("PUT", "/_rest_/tape/SIM001L8?operation=eject&eject_label=seven&eject_location=vault")
    _until(bench, "SIM001L8", "EJECTED")
    operator.attend(False)
    assert bench.wire.ask("PUT", "/_rest_/tape/SIM001L8?operation=online").status == 409
    operator.bring_back("SIM001L8")
    assert _tape(bench, "SIM001L8").state == "OFFLINE"
    assert bench.wire.ask("PUT", "/_rest_/tape/SIM001L8?operation=online").status == 200
    _until(bench, "SIM001L8", "NORMAL")
    shown = bench.wire.ask("GET", "/_rest_/tape/SIM001L8").xml
    assert [shown.findtext(name) for name in ("EjectLabel", "EjectLocation", "EjectDate", "PreviousState")] == [
        "seven",
        "vault",
        "",
        "",
    ]


def test_a_tape_in_the_exit_slot_is_taken_back(build: Build) -> None:
    """Onlined from there it is to be ejected no more; with that called off it waits to be taken out again."""
    bench = build(slots=10, tapes=10)
    operator = Operator(bench.appliance.machine)
    operator.attend(False)
    _eject(bench, "SIM001L8")
    _until(bench, "SIM001L8", "EJECT_FROM_EE_PENDING")
    operator.insert_blank("NEW001L8")
    _until(bench, "NEW001L8", "NORMAL")
    assert bench.wire.ask("PUT", "/_rest_/tape/SIM001L8?operation=online").status == 200
    _until_told(bench, "ONLINE_STALLED_DUE_TO_NO_STORAGE_SLOTS", "TAPE_EJECTION_BY_OPERATOR_REQUIRED")
    called_off = bench.wire.ask("PUT", "/_rest_/tape/SIM001L8?operation=cancel_online").xml
    assert called_off.findtext("State") == "EJECT_FROM_EE_PENDING"
    bench.wire.ask("PUT", "/_rest_/tape/SIM001L8?operation=online")
    _eject(bench, "NEW001L8")
    _until(bench, "SIM001L8", "NORMAL")
    assert bench.wire.ask("GET", "/_rest_/tape/SIM001L8").xml.findtext("EjectPending") == ""


def test_a_tape_waits_for_a_storage_slot(build: Build) -> None:
    """ONLINE_PENDING, on record as stalled, until another tape leaves."""
    bench = build(tapes=2, slots=2)
    operator = Operator(bench.appliance.machine)
    operator.insert_blank("NEW001L8")
    _until_told(bench, "ONLINE_STALLED_DUE_TO_NO_STORAGE_SLOTS")
    assert _tape(bench, "NEW001L8").state == "ONLINE_PENDING"
    _eject(bench, "SIM002L8")
    _until(bench, "NEW001L8", "NORMAL")
    assert _failures(bench) == []


def test_tapes_left_in_the_entry_slots_hold_ejections_up(build: Build) -> None:
    """The failure names them; when they are taken out again the ejection goes on."""
    bench = build(entry_exit_slots=1)
    operator = Operator(bench.appliance.machine)
    operator.insert_blank("NEW001L8", online=False)
    _eject(bench, "SIM001L8")
    _until_told(bench, "EJECT_STALLED_DUE_TO_OFFLINE_TAPES")
    with pytest.raises(Refusal, match="no free entry/exit slot"):
        operator.insert_blank("NEW002L8")
    operator.take("NEW001L8")
    _until(bench, "SIM001L8", "EJECTED")
    assert _failures(bench) == []


def test_a_tape_that_vanishes_is_lost_and_found_again(build: Build) -> None:
    """Told as an unexpected removal; put back, a drive looks at it and its data is there."""
    bench = build()
    bench.wire.put_all("b", {"a": b"hello"})
    bench.until_persisted()
    tape = next(tape for tape in bench.appliance.machine.library.tapes.values() if tape.domain_id)
    operator = Operator(bench.appliance.machine)
    bench.reclaim()
    bench.until(lambda: tape.n not in bench.appliance.machine.library.in_use)
    operator.remove(tape.bar_code)
    assert bench.wire.ask("GET", f"/_rest_/tape/{tape.bar_code}").xml.findtext("State") == "LOST"
    assert _failures(bench) == ["TAPE_REMOVAL_UNEXPECTED"]
    assert bench.wire.start_get("b", ["a"]).status == 409
    operator.bring_back(tape.bar_code, online=True)
    _until(bench, tape.bar_code, "NORMAL")
    assert bench.wire.start_get("b", ["a"]).status == 200


def test_a_storage_domain_may_keep_its_tapes(build: Build) -> None:
    """Its tapes are not ejected, alone or with all others; one that vanishes all the same is told of the domain."""
    bench = build(tapes=2)
    bench.wire.put_all("b", {"a": b"hello"})
    bench.until_persisted()
    bench.reclaim()
    (domain,) = bench.wire.ask("GET", "/_rest_/storage_domain").xml
    target = f"/_rest_/storage_domain/{domain.findtext('Id')}?media_ejection_allowed=false"
    assert bench.wire.ask("PUT", target).status == 200
    tape = next(tape for tape in bench.appliance.machine.library.tapes.values() if tape.domain_id)
    assert _eject(bench, tape.bar_code) == 409
    mixed = bench.wire.ask("PUT", "/_rest_/tape?operation=eject")
    assert (mixed.status, [each.text for each in mixed.xml.iter("BarCode")]) == (207, [tape.bar_code])
    bench.until(lambda: tape.n not in bench.appliance.machine.library.in_use)
    Operator(bench.appliance.machine).remove(tape.bar_code)
    assert _failures(bench, "storage_domain_failure") == ["ILLEGAL_EJECTION_OCCURRED"]


def test_an_ejection_waits_for_what_a_drive_is_to_do(build: Build) -> None:
    """A tape that is to be verified leaves when it has been; until then the ejection can be called off."""
    bench = build(tapes=1)
    bench.wire.put_all("b", {"a": b"hello"})
    bench.until_persisted()
    bench.wire.ask("PUT", "/_rest_/tape_partition?quiesced=PENDING")
    bench.wire.ask("PUT", "/_rest_/tape/SIM001L8?operation=verify&task_priority=LOW")
    _eject(bench, "SIM001L8")
    shown = bench.wire.ask("GET", "/_rest_/tape/SIM001L8").xml
    assert (shown.findtext("State"), shown.findtext("VerifyPending")) == ("NORMAL", "LOW")
    bench.wire.ask("PUT", "/_rest_/tape_partition?quiesced=NO")
    _until(bench, "SIM001L8", "EJECTED")
    assert _tape(bench, "SIM001L8").verified is not None


def test_what_the_robot_was_at_goes_on_after_a_restart(build: Build, tmp_path: Path) -> None:
    """And who attends is remembered: a tape that waited in its exit slot waits there still."""
    first = build(directory=str(tmp_path), tapes=3, entry_exit_slots=1)
    Operator(first.appliance.machine).attend(False)
    for code in ("SIM001L8", "SIM002L8"):
        _eject(first, code)
    _until(first, "SIM001L8", "EJECT_FROM_EE_PENDING")
    first.wire.close()
    first.appliance.close()
    second = build(directory=str(tmp_path), tapes=3, entry_exit_slots=1, bucket=None)
    assert _tape(second, "SIM001L8").state == "EJECT_FROM_EE_PENDING"
    assert _tape(second, "SIM002L8").eject_pending is not None
    Operator(second.appliance.machine).take("SIM001L8")
    _until(second, "SIM002L8", "EJECT_FROM_EE_PENDING")


def test_a_state_is_set_by_hand_only_where_it_can_be_true(build: Build) -> None:
    """A tape outside is not NORMAL because somebody says so; one that is called LOST in its slot is found again."""
    bench = build(tapes=2)
    _eject(bench, "SIM001L8")
    _until(bench, "SIM001L8", "EJECTED")
    assert bench.wire.ask("PUT", "/_rest_/tape/SIM001L8?state=NORMAL").status == 409
    assert bench.wire.ask("PUT", "/_rest_/tape/SIM002L8?state=EJECTED").status == 400
    assert bench.wire.ask("PUT", "/_rest_/tape/SIM002L8?state=LOST").status == 200
    assert bench.wire.ask("PUT", "/_rest_/tape_environment").status == 204
    _until(bench, "SIM002L8", "NORMAL")


def test_hands_reach_only_what_is_there(bench: Bench) -> None:
    """What is not in the entry/exit slot, outside, or in a slot cannot be taken, brought, or snatched."""
    operator = Operator(bench.appliance.machine)
    with pytest.raises(Refusal, match="not in an entry/exit slot"):
        operator.take("SIM001L8")
    with pytest.raises(Refusal, match="not outside"):
        operator.bring_back("SIM001L8")
    with pytest.raises(Refusal, match="not outside"):
        operator.export("SIM001L8", "/nowhere")
    with pytest.raises(Refusal, match="cannot be a bar code"):
        operator.insert_blank("../x")
    with pytest.raises(Refusal, match="no tapes of the type"):
        operator.insert_blank("X1", "FLOPPY")
    _eject(bench, "SIM002L8")
    _until(bench, "SIM002L8", "EJECTED")
    with pytest.raises(Refusal, match="not in a storage slot"):
        operator.remove("SIM002L8")


def test_where_time_is_modelled_the_robot_takes_it(build: Build) -> None:
    """An ejection is not at once, and the ledger has the robot's move."""
    clock = ManualClock()
    bench = build(clock, timed=True, bucket=None)
    _eject(bench, "SIM001L8")
    clock.advance(12)
    _until(bench, "SIM001L8", "EJECT_TO_EE_IN_PROGRESS")
    clock.advance(12)
    _until(bench, "SIM001L8", "EJECTED")
    account = bench.appliance.machine.ledger.of_tape("SIM001L8")
    assert account is not None
    assert account.spent[Spent.ROBOT].seconds == 12
