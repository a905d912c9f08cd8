"""Tape drives: what is set of them, cleaning, testing, dumps; the rest are records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ds3tool.simulator.contract import kind
from ds3tool.simulator.dispatch import Call, rest
from ds3tool.simulator.records import engine as records
from ds3tool.simulator.records.beans import Fields
from ds3tool.simulator.records.marshalling import record_reply
from ds3tool.simulator.wire.messages import Reply
from ds3tool.simulator.wire.refusals import bad_request, conflict


@records.presenting("TapeDrive")
def present_drive(call: Call, drive: Fields) -> Mapping[str, Any]:
    """Tell which tape is in a drive."""
    tape = call.machine.drives.tape_in(str(drive["Id"]))
    return {"TapeId": None if tape is None else tape.id}


@records.changing("TapeDrive")
def change_drive(call: Call, drive: Fields, changes: Fields) -> None:
    """Refuse what nobody may set, and let the drives look at what has been set.

    YES is what a drive comes to by itself after PENDING.
    """
    if changes.get("Quiesced") == "YES":
        raise bad_request(f"The drive {drive['SerialNumber']} is quiesced by PENDING; it is YES when it has stopped.")
    if changes.get("Quiesced") == "PENDING" and drive.get("Quiesced") == "YES":
        changes["Quiesced"] = "YES"
    call.machine.store.after_commit(call.machine.drives.reconsider)


@records.deleting("TapeDrive")
def delete_drive(call: Call, drive: Fields) -> None:
    """Refuse to forget a drive that is still there."""
    if drive.get("State") != "OFFLINE":
        raise conflict(
            f"Conflict[409]: The drive {drive['SerialNumber']} is {drive.get('State', 'NORMAL')}, not OFFLINE."
        )
    call.machine.store.after_commit(call.machine.drives.reconsider)


def _act(call: Call, action: Callable[[Fields], None]) -> Reply:
    """Act on the drive that the path names, and show it."""
    machine, row = call.machine, kind("TapeDrive")
    with machine.store.lock:
        drive = records.find(machine, "TapeDrive", call.identifier)
        action(drive)
        shown = records.find(machine, "TapeDrive", str(drive["Id"]))
        return record_reply(row, records.complete(call, row, shown))


@rest("CleanTapeDrive")
def clean_drive(call: Call) -> Reply:
    """Have a drive cleaned; where there is no cleaning tape it waits for one, and a failure asks for it."""
    return _act(call, call.machine.workshop.clean)


@rest("TestTapeDrive")
def test_drive(call: Call) -> Reply:
    """Have a drive write and read a tape of the role TEST, cleaned before unless `skip_clean`; a 400 without one."""
    tape = call.text("tape_id")
    found = call.machine.library.find(tape) if tape else None
    return _act(call, lambda drive: call.machine.workshop.test(drive, found, clean=not call.has("skip_clean")))


@rest("CancelTestTapeDrive")
def cancel_test(call: Call) -> Reply:
    """Call a test off; a 409 when there is none."""
    return _act(call, call.machine.workshop.cancel_test)


@rest("CreateDriveDump")
def dump_drive(call: Call) -> Reply:
    """Have a drive write down what it knows of itself, into a file beside the appliance's state."""
    return _act(call, call.machine.workshop.dump)
