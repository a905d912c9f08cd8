"""What a drive finds when it looks at a tape: whose it is, whether it can be read, whether it may be written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ds3tool.lazy_dataclass import dataclass
from ds3tool.simulator.tapes.index import BadIndexError, TapeLabel, read_label
from ds3tool.simulator.tapes.ledger import Spent
from ds3tool.simulator.tapes.mechanics import can_read

if TYPE_CHECKING:
    from ds3tool.simulator.machine import Machine
    from ds3tool.simulator.tapes.drive import Drive
    from ds3tool.simulator.tapes.tape import Tape

# To read a label and the latest index.
_LOOK_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Finding:
    """The state that a tape comes into; when something is wrong, the kind of failure and a sentence."""

    state: str
    failure: str | None = None
    message: str = ""
    label: TapeLabel | None = None


def inspect(machine: Machine, tape: Tape, drive: Drive) -> None:
    """Look at a tape that is to be inspected, and let it come into the state that it is found to be in."""
    with machine.store.lock:
        if tape.state != "PENDING_INSPECTION":
            return
        (needed,) = machine.store.db.execute(
            "SELECT coalesce(max(c.position + b.length), 0) FROM copies c JOIN blobs b ON b.n = c.blob "
            "WHERE c.tape = ?",
            (tape.n,),
        ).fetchone()
        drive_type = str(machine.beans.find("TapeDrive", drive.id)["Type"])
    drive.rewind()
    drive.spend(Spent.OTHER, _LOOK_SECONDS)
    drive.settle()
    found = _look(machine, tape, drive_type, needed)
    with machine.store.writing() as db:
        if tape.state != "PENDING_INSPECTION":
            return
        tape.accessed, tape.directive, tape.write_protected = machine.clock.now(), None, tape.tab
        if found.label is not None:
            _take_over(tape, found.label)
            machine.library.drop_copies(db, tape)
            tape.domain_id = tape.member_id = tape.bucket_id = tape.verify_pending = tape.verified = None
        if found.failure is not None:
            machine.failures.tape(found.failure, tape, found.message, drive.id)
        if found.state == "INCOMPATIBLE":
            machine.failures.partition("TAPE_MEDIA_TYPE_INCOMPATIBLE", tape.partition_id, found.message)
        machine.library.enter(tape, found.state)


def _take_over(tape: Tape, label: TapeLabel) -> None:
    """Make a tape's row tell what a foreign label says."""
    tape.written, tape.capacity, tape.serial = label.written, max(label.capacity, label.written), label.serial
    tape.full = False
    owner = "LTFS" if label.owner is None else f"BlackPearl@{label.owner}"
    tape.description = f"{label.tape}:{owner}"


def _look(machine: Machine, tape: Tape, drive_type: str, needed: int) -> Finding:
    if not can_read(drive_type, tape.type):
        message = f"The tape {tape.bar_code} is of type {tape.type}, which a drive of type {drive_type} cannot read."
        return Finding("INCOMPATIBLE", "INCOMPATIBLE", message)
    if tape.damaged:
        return Finding("BAD", "INSPECT_FAILED", f"The tape {tape.bar_code} cannot be read.")
    try:
        label = read_label(machine.library.index_path(tape))
    except BadIndexError as error:
        return Finding("UNKNOWN", "INSPECT_FAILED", f"The tape {tape.bar_code} is of no known form: {error}.")
    if label is not None and label.owner is not None and label.owner != machine.instance_id:
        if needed and label.serial != tape.serial:
            message = f"The tape {tape.bar_code} is another cartridge than before: {label.serial}, not {tape.serial}."
            return Finding("SERIAL_NUMBER_MISMATCH", "SERIAL_NUMBER_MISMATCH", message)
        return Finding("FOREIGN", label=label)
    if label is not None and label.owner is None:
        return Finding("LTFS_WITH_FOREIGN_DATA", label=label)
    if label is not None and label.tape != tape.id:  # written by this appliance, which has forgotten it since
        return Finding("FOREIGN", label=label)
    if label is not None and label.written != tape.written:
        message = f"The tape {tape.bar_code} has {label.written} bytes written, where {tape.written} were left on it."
        return Finding("DATA_CHECKPOINT_FAILURE", "DATA_CHECKPOINT_FAILURE", message)
    return _own(machine, tape, needed)


def _own(machine: Machine, tape: Tape, needed: int) -> Finding:
    """Judge a tape by whether all that should be on it can be there; its own index is of no further use then."""
    index = machine.library.index_path(tape)
    if os.path.exists(index):
        os.unlink(index)
    try:
        there = os.stat(machine.library.path(tape)).st_size
    except FileNotFoundError:
        there = 0
    if there < needed:
        message = f"The tape {tape.bar_code} ends after {there} bytes; what was written to it needs {needed}."
        return Finding("DATA_CHECKPOINT_MISSING", "DATA_CHECKPOINT_MISSING", message)
    return Finding("NORMAL")
