"""Drives and partitions: what is shown and set of them, cleaning and tests; the filters and orders of the tape list."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from ds3tool.simulator import Appliance, ApplianceSettings
from ds3tool.simulator.tapes.operator import Operator
from tests.simulator.conftest import Bench, Build
from tests.simulator.wire import Wire


def _texts(bench: Bench, target: str, name: str = "BarCode") -> list[str | None]:
    reply = bench.wire.ask("GET", f"/_rest_/{target}")
    assert reply.status == 200, reply
    return [each.findtext(name) for each in reply.xml]


def _failures(bench: Bench, resource: str = "tape_failure") -> list[str | None]:
    return _texts(bench, resource, "Type")


def _drive(bench: Bench, serial: str, name: str) -> str | None:
    return bench.wire.ask("GET", f"/_rest_/tape_drive/{serial}").xml.findtext(name)


def _ask(bench: Bench, target: str) -> int:
    return bench.wire.ask("PUT", f"/_rest_/{target}").status


# Lists of tapes; one appliance for all of them.


@pytest.fixture(scope="module")
def shelf() -> Iterator[Bench]:
    """Tapes of two types and several states, one of them with data."""
    settings = ApplianceSettings(persist_delay=0.0, hold=0.0, retry_after=0, seed=7, tapes=3)
    with Appliance(settings) as appliance:
        wire = Wire(appliance.endpoint, appliance.access_key, appliance.secret_key)
        bench = Bench(appliance, wire)
        for bucket in ("full", "empty"):
            wire.ask("PUT", f"/{bucket}")
        wire.put_all("full", {"a": b"hello"})
        bench.until_persisted()
        operator = Operator(appliance.machine)
        operator.insert_blank("OLD001L7", "LTO7", shelf=True)
        operator.insert_cleaning("CLN001L1", shelf=True)
        library = appliance.machine.library
        bench.until(lambda: library.find("OLD001L7").state == "NORMAL")
        wire.ask("PUT", "/_rest_/tape/SIM001L8?operation=verify")
        bench.until(lambda: library.find("SIM001L8").verified is not None and not library.in_use)
        wire.ask("PUT", "/_rest_/tape/SIM003L8?operation=eject&eject_label=seven&eject_location=vault")
        bench.until(lambda: library.find("SIM003L8").state == "EJECTED")
        yield bench
        wire.close()


_SIM = ["SIM001L8", "SIM002L8"]


@pytest.mark.parametrize(
    ("filters", "codes"),
    [
        ("", ["OLD001L7", *_SIM, "CLN001L1", "SIM003L8"]),
        ("bar_code=SIM%25", [*_SIM, "SIM003L8"]),
        ("state=ejected", ["SIM003L8"]),
        ("type=LTO7", ["OLD001L7"]),
        ("bucket=full", ["SIM001L8"]),
        ("bucket=empty", []),
        ("storage_domain=Tape%20first%20copy", ["SIM001L8"]),
        ("partition=Partition%201&type=LTO8", [*_SIM, "SIM003L8"]),
        ("partition_id=SIMPART01&type=LTO7", ["OLD001L7"]),
        ("assigned_to_storage_domain=true", ["SIM001L8"]),
        ("full_of_data=true", []),
        ("write_protected=true", []),
        ("eject_label=seven", ["SIM003L8"]),
        ("eject_location=va*", ["SIM003L8"]),
        ("previous_state=EJECT_FROM_EE_PENDING", ["SIM003L8"]),
        ("verify_pending=LOW", []),
        ("available_raw_capacity=6000000000000", ["OLD001L7"]),
        ("serial_number=SIM0000002", ["SIM002L8"]),
        ("sort_by=bar_code", ["CLN001L1", "OLD001L7", *_SIM, "SIM003L8"]),
        ("sort_by=-BarCode&type=LTO8", ["SIM003L8", "SIM002L8", "SIM001L8"]),
        ("sort_by=-state&bar_code=SIM*", ["SIM003L8", "SIM002L8", "SIM001L8"]),
        ("sort_by=available_raw_capacity&type=LTO7", ["OLD001L7"]),
    ],
)
def test_tapes_are_chosen_and_ordered(shelf: Bench, filters: str, codes: list[str]) -> None:
    """By every property, names of buckets, domains and partitions; state and type in the contract's order."""
    assert _texts(shelf, f"tape?{filters}") == codes


def test_a_tape_is_found_by_the_date_it_was_verified(shelf: Bench) -> None:
    """As it is shown, to the millisecond."""
    shown = shelf.wire.ask("GET", "/_rest_/tape/SIM001L8").xml.findtext("LastVerified")
    assert shown
    assert _texts(shelf, f"tape?last_verified={shown}") == ["SIM001L8"]
    assert _texts(shelf, "tape?last_verified=2020-01-01T00:00:00.000Z") == []


@pytest.mark.parametrize(
    ("filters", "status"),
    [("sort_by=colour", 400), ("state=BROKEN", 400), ("bucket=none", 404), ("partition=none", 404)],
)
def test_what_no_tape_can_be_is_refused(shelf: Bench, filters: str, status: int) -> None:
    """A 400 for words and properties that there are not, a 404 for names of nothing."""
    assert shelf.wire.ask("GET", f"/_rest_/tape?{filters}").status == status


def test_a_partition_tells_what_is_in_it(shelf: Bench) -> None:
    """Counts by state and type, capacities, the types of drives and tapes; in the list it is called TapePartition."""
    shown = shelf.wire.ask("GET", "/_rest_/tape_partition/SIMPART01?full_details").xml
    listed = shelf.wire.ask("GET", "/_rest_/tape_partition?full_details").xml
    assert [each.tag for each in listed] == ["TapePartition"]
    for details in (shown, listed[0]):
        assert details.findtext("TapeCount") == "5"
        assert [each.text for each in details.findall("TapeTypes")] == ["LTO7", "LTO8", "LTO_CLEANING_TAPE"]
        assert [each.text for each in details.findall("DriveTypes")] == ["LTO8"]
        states = {each.findtext("TapeState"): each.findtext("Count") for each in details.iter("TapeStateSummary")}
        assert states == {"NORMAL": "4", "EJECTED": "1"}
        types = {
            each.findtext("Type"): each.findtext("TotalStorageCapacity") for each in details.iter("TapeTypeSummary")
        }
        assert types["LTO7"] == "6000000000000"
        assert details.findtext("UsedStorageCapacity") == "5"
    assert shelf.wire.ask("GET", "/_rest_/tape_partition/SIMPART01").xml.find("TapeCount") is None


# Drives.


def test_a_drive_is_reserved_and_quiesced(bench: Bench) -> None:
    """PENDING becomes YES when it stands still; YES itself and the appliance's own priorities nobody may set."""
    target = "tape_drive/SIMDRIVE001"
    assert _ask(bench, f"{target}?quiesced=YES") == 400
    assert _ask(bench, f"{target}?minimum_task_priority=CRITICAL") == 400
    assert _ask(bench, f"{target}?reserved_task_type=read&minimum_task_priority=HIGH&max_failed_tapes=5") == 200
    shown = bench.wire.ask("GET", f"/_rest_/{target}").xml
    names = ("ReservedTaskType", "MinimumTaskPriority", "MaxFailedTapes")
    assert [shown.findtext(name) for name in names] == ["READ", "HIGH", "5"]
    assert _texts(bench, "tape_drive?reserved_task_type=READ", "SerialNumber") == ["SIMDRIVE001"]
    assert _ask(bench, f"{target}?quiesced=PENDING") == 200
    beans = bench.appliance.machine.beans
    bench.until(lambda: beans.all("TapeDrive")[0]["Quiesced"] == "YES")
    assert _ask(bench, f"{target}?quiesced=NO") == 200
    assert _drive(bench, "SIMDRIVE001", "Quiesced") == "NO"


def test_a_drive_that_fails_is_in_error_until_it_is_mended(bench: Bench) -> None:
    """Its state, its message and a partition failure tell; the other drive does the work meanwhile."""
    operator = Operator(bench.appliance.machine)
    operator.fail_drive("SIMDRIVE001", "It smokes.")
    assert _drive(bench, "SIMDRIVE001", "State") == "ERROR"
    assert _drive(bench, "SIMDRIVE001", "ErrorMessage") == "It smokes."
    assert _failures(bench, "tape_partition_failure") == ["TAPE_DRIVE_IN_ERROR"]
    bench.wire.put_all("b", {"a": b"hello"})
    bench.until_persisted()
    operator.mend_drive("SIMDRIVE001")
    assert _drive(bench, "SIMDRIVE001", "State") == "NORMAL"
    assert _failures(bench, "tape_partition_failure") == []


def test_a_drive_that_is_mended_takes_its_own_failures_with_it(bench: Bench) -> None:
    """What is said of another drive stands until that one works."""
    operator = Operator(bench.appliance.machine)
    operator.fail_drive("SIMDRIVE001")
    operator.unplug_drive("SIMDRIVE002")
    operator.mend_drive("SIMDRIVE002")
    left = bench.wire.ask("GET", "/_rest_/tape_partition_failure?type=TAPE_DRIVE_IN_ERROR").xml
    assert ["SIMDRIVE001" in str(each.findtext("ErrorMessage")) for each in left] == [True]
    operator.mend_drive("SIMDRIVE001")
    assert _failures(bench, "tape_partition_failure") == []


def test_a_partition_without_a_drive_that_works_says_so(bench: Bench) -> None:
    """One that fails and one that is quiesced are none; mended, or let work again, is enough."""
    operator = Operator(bench.appliance.machine)
    assert _ask(bench, "tape_drive/SIMDRIVE001?quiesced=PENDING") == 200
    operator.fail_drive("SIMDRIVE002")
    assert sorted(str(each) for each in _failures(bench, "tape_partition_failure")) == [
        "NO_USABLE_DRIVES",
        "TAPE_DRIVE_IN_ERROR",
    ]
    assert _ask(bench, "tape_drive/SIMDRIVE001?quiesced=NO") == 200
    assert _failures(bench, "tape_partition_failure") == ["TAPE_DRIVE_IN_ERROR"]


def test_only_a_drive_that_is_gone_is_forgotten(bench: Bench) -> None:
    """A 409 while it is there; OFFLINE it can be deleted, and then it is not found."""
    target = "/_rest_/tape_drive/SIMDRIVE002"
    assert bench.wire.ask("DELETE", target).status == 409
    Operator(bench.appliance.machine).unplug_drive("SIMDRIVE002")
    assert bench.wire.ask("GET", target).xml.findtext("State") == "OFFLINE"
    assert bench.wire.ask("DELETE", target).status == 204
    assert bench.wire.ask("GET", target).status == 404
    bench.wire.put_all("b", {"a": b"hello"})
    bench.until_persisted()


def test_a_drive_waits_for_a_cleaning_tape(bench: Bench) -> None:
    """A failure asks for one; when it comes the drive is cleaned; used up the tape is BAD."""
    operator, beans = Operator(bench.appliance.machine), bench.appliance.machine.beans
    assert _ask(bench, "tape_drive/SIMDRIVE002?operation=clean") == 200
    assert _drive(bench, "SIMDRIVE002", "CleaningRequired") == "true"
    assert _failures(bench, "tape_partition_failure") == ["CLEANING_TAPE_REQUIRED"]
    tape = operator.insert_cleaning(uses=1)
    bench.until(lambda: beans.all("TapeDrive")[1].get("LastCleaned") is not None)
    assert _drive(bench, "SIMDRIVE002", "CleaningRequired") == "false"
    assert _failures(bench, "tape_partition_failure") == []
    assert sorted(str(each) for each in _failures(bench)) == ["CLEANING_TAPE_EXPIRED", "DRIVE_CLEANED"]
    shown = bench.wire.ask("GET", f"/_rest_/tape/{tape.bar_code}").xml
    assert [shown.findtext(name) for name in ("State", "Type", "TotalRawCapacity")] == ["BAD", "LTO_CLEANING_TAPE", ""]


def test_a_drive_is_tested_with_a_test_tape(bench: Bench) -> None:
    """A 400 without one; with one the result is on record, and the tape is empty as before."""
    target = "tape_drive/SIMDRIVE001?operation=test&skip_clean"
    assert _ask(bench, target) == 400
    assert _ask(bench, "tape/SIM002L8?role=test") == 200
    assert _ask(bench, f"{target}&tape_id=SIM003L8") == 400
    assert _ask(bench, f"{target}&tape_id=SIM002L8") == 200
    beans = bench.appliance.machine.beans
    bench.until(lambda: bool(beans.all("TapeFailure")))
    (failure,) = bench.wire.ask("GET", "/_rest_/tape_failure?tape_drive_id=SIMDRIVE001").xml
    assert failure.findtext("Type") == "DRIVE_TEST_SUCCEEDED"
    assert bench.wire.ask("DELETE", f"/_rest_/tape_failure/{failure.findtext('Id')}").status == 204
    Operator(bench.appliance.machine).damage("SIM002L8")
    assert _ask(bench, target) == 200
    bench.until(lambda: bool(beans.all("TapeFailure")))
    assert _failures(bench) == ["DRIVE_TEST_FAILED"]
    assert _ask(bench, "tape_drive/SIMDRIVE001?operation=cancel_test") == 409


def test_a_test_can_be_called_off(bench: Bench) -> None:
    """While it waits; nothing is on record then."""
    assert _ask(bench, "tape/SIM002L8?role=TEST") == 200
    assert _ask(bench, "tape_partition?quiesced=PENDING") == 204
    assert _ask(bench, "tape_drive/SIMDRIVE001?operation=test&skip_clean") == 200
    assert _ask(bench, "tape_drive/SIMDRIVE001?operation=test&skip_clean") == 409
    assert _ask(bench, "tape_drive/SIMDRIVE001?operation=cancel_test") == 200
    assert _failures(bench) == []


def test_a_drive_writes_down_what_it_knows(bench: Bench) -> None:
    """One file more for each dump."""
    for _ in range(2):
        assert _ask(bench, "tape_drive/SIMDRIVE001?operation=dump") == 200
    found = sorted((bench.appliance.directory / "dumps").iterdir())
    assert [path.name for path in found] == ["SIMDRIVE001-1.json", "SIMDRIVE001-2.json"]
    assert json.loads(found[0].read_text(encoding="utf-8"))["SerialNumber"] == "SIMDRIVE001"


def test_a_partition_is_set_and_stays_while_it_is_used(bench: Bench) -> None:
    """What is set is shown; no more drives are kept than there are; it cannot be deleted with tapes in it."""
    target = "tape_partition/SIMPART01"
    changes = "auto_compaction_enabled=true&auto_quiesce_enabled=false&drive_idle_timeout_in_minutes=5"
    assert _ask(bench, f"{target}?{changes}&minimum_read_reserved_drives=1&serial_number=OTHER") == 200
    shown = bench.wire.ask("GET", "/_rest_/tape_partition/OTHER").xml
    names = ("AutoCompactionEnabled", "AutoQuiesceEnabled", "DriveIdleTimeoutInMinutes", "MinimumReadReservedDrives")
    assert [shown.findtext(name) for name in names] == ["true", "false", "5", "1"]
    assert _ask(bench, "tape_partition/OTHER?minimum_write_reserved_drives=9") == 400
    assert _ask(bench, "tape_partition/OTHER?quiesced=YES") == 409
    assert _ask(bench, "tape_partition?quiesced=YES") == 409
    assert bench.wire.ask("DELETE", "/_rest_/tape_partition/OTHER").status == 409


def test_a_quiesced_partition_does_nothing_until_it_may(build: Build) -> None:
    """What is put waits in the cache, and goes to tape afterwards."""
    bench = build()
    beans = bench.appliance.machine.beans
    assert _ask(bench, "tape_partition?quiesced=PENDING") == 204
    bench.until(lambda: beans.all("TapePartition")[0]["Quiesced"] == "YES")
    job = bench.wire.put_all("b", {"a": b"hello"})
    assert bench.wire.job(job).get("Status") == "IN_PROGRESS"
    assert _ask(bench, "tape_partition?quiesced=NO") == 204
    bench.until_persisted()
