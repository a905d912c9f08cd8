"""What is done to drives for their own sake: cleaning them with a cleaning tape, testing them with a test tape, dumps.

A drive that asks for cleaning, or that somebody wants cleaned, waits for a cleaning tape that is good for another time;
while there is none a failure of the partition asks for one. A cleaning tape with no times left is BAD. That no drive of
a partition is left that works is a failure of the partition too.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from ds3tool.simulator.records.beans import Fields
from ds3tool.simulator.tapes.ledger import Spent
from ds3tool.simulator.tapes.mechanics import CLEANING_SECONDS
from ds3tool.simulator.tapes.media import BadCopyError
from ds3tool.simulator.tapes.tape import Tape
from ds3tool.simulator.tapes.tasks import DriveTask, TaskAbortedError
from ds3tool.simulator.wire.refusals import bad_request, conflict

if TYPE_CHECKING:
    from ds3tool.simulator.machine import Machine
    from ds3tool.simulator.tapes.drive import Drive

_REQUIRED, _NO_DRIVES = "CLEANING_TAPE_REQUIRED", "NO_USABLE_DRIVES"
# A test writes and reads so many bytes, in pieces; a real one takes some minutes.
_TEST_BYTES, _PIECE = 4 << 20, 1 << 20
_TEST_SECONDS = 300.0


class Workshop:
    """Care for the drives of one machine. Methods are called with the store's lock held."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._cleaning: dict[str, DriveTask] = {}
        self._testing: dict[str, DriveTask] = {}
        machine.beans.watch("TapeDrive", self._count_usable)

    def resume(self) -> None:
        """Clean what asks for it: after a start, and when a cleaning tape has come."""
        for drive in self._machine.beans.all("TapeDrive"):
            if drive.get("CleaningRequired"):
                self.clean(drive)

    def _count_usable(self) -> None:
        """Put on record that a partition has no drive left that does anything; strike it when there is one again."""
        drives = self._machine.beans.all("TapeDrive")
        for partition in self._machine.beans.all("TapePartition"):
            identifier = str(partition["Id"])
            mine = [drive for drive in drives if drive["PartitionId"] == identifier]
            if any((each.get("State", "NORMAL"), each.get("Quiesced", "NO")) == ("NORMAL", "NO") for each in mine):
                self._machine.failures.partition_mended(_NO_DRIVES, identifier)
            else:
                message = f"The partition '{partition['Name']}' has no drive that could do anything."
                self._machine.failures.partition(_NO_DRIVES, identifier, message)

    # Cleaning.

    def clean(self, drive: Fields) -> None:
        """Have a drive cleaned, as soon as there is a cleaning tape; nothing when that is under way."""
        identifier = str(drive["Id"])
        if identifier in self._cleaning:
            return
        self._machine.beans.update("TapeDrive", identifier, {"CleaningRequired": True})
        tape = self._cleaning_tape(str(drive["PartitionId"]))
        if tape is None:
            message = f"The drive {drive['SerialNumber']} has to be cleaned, and there is no cleaning tape."
            self._machine.failures.partition(_REQUIRED, str(drive["PartitionId"]), message)
            return
        self._machine.failures.partition_mended(_REQUIRED, str(drive["PartitionId"]))
        task = DriveTask(
            "CleanDrive",
            f"Clean the drive {drive['SerialNumber']} with {tape.bar_code}",
            lambda at: self._clean(at, tape),
            tape=tape,
            priority="HIGH",
            drive_id=identifier,
            finished=lambda error: self._cleaned(identifier, tape, error),
        )
        self._cleaning[identifier] = task
        self._machine.drives.submit(task)

    def _cleaning_tape(self, partition_id: str) -> Tape | None:
        tapes = [
            tape
            for tape in self._machine.library.tapes.values()
            if tape.is_cleaner and tape.state == "NORMAL" and tape.partition_id == partition_id and tape.uses
        ]
        return min(tapes, key=lambda tape: (tape.n in self._machine.library.in_use, tape.uses or 0), default=None)

    def _clean(self, drive: Drive, tape: Tape) -> None:
        drive.spend(Spent.OTHER, CLEANING_SECONDS)
        drive.settle()
        with self._machine.store.writing():
            tape.uses = max(0, (tape.uses or 0) - 1)
            tape.accessed = self._machine.clock.now()
            if not tape.uses:
                message = f"The cleaning tape {tape.bar_code} is used up."
                self._machine.failures.tape("CLEANING_TAPE_EXPIRED", tape, message, drive.id)
                tape.enter("BAD")
            self._machine.library.save(tape)

    def _cleaned(self, identifier: str, tape: Tape, error: Exception | None) -> None:
        self._cleaning.pop(identifier, None)
        drive = self._machine.beans.get("TapeDrive", identifier)
        if drive is None:
            return
        if error is not None:
            message = f"The drive {drive['SerialNumber']} was not cleaned: {error}"
            self._machine.failures.drive("DRIVE_CLEAN_FAILED", identifier, tape.id, message)
            return
        with self._machine.store.writing():
            changes = {"CleaningRequired": False, "LastCleaned": self._machine.clock.now()}
            self._machine.beans.update("TapeDrive", identifier, changes)
            message = f"The drive {drive['SerialNumber']} was cleaned."
            self._machine.failures.drive("DRIVE_CLEANED", identifier, tape.id, message)

    # Testing.

    def test(self, drive: Fields, tape: Tape | None, *, clean: bool) -> None:
        """Have a drive write and read a test tape, the one given or any; cleaned before when `clean`.

        A 400 when there is no tape of the role TEST to be used, or the one given is another; a 409 when a test is
        under way.
        """
        machine, identifier = self._machine, str(drive["Id"])
        if identifier in self._testing:
            raise conflict(f"Conflict[409]: The drive {drive['SerialNumber']} is being tested.")
        fit = [
            each
            for each in machine.library.tapes.values()
            if each.role == "TEST" and each.state == "NORMAL" and each.partition_id == drive["PartitionId"]
        ]
        if tape is not None:
            fit = [each for each in fit if each is tape]
        if not fit:
            which = "There is no tape" if tape is None else f"The tape {tape.bar_code} is none"
            raise bad_request(f"{which} of the role TEST that a drive could be tested with now.")
        chosen = fit[0]
        if clean:
            self.clean(drive)
        task = DriveTask(
            "TestDrive",
            f"Test the drive {drive['SerialNumber']} with {chosen.bar_code}",
            lambda at: self._test(at, chosen),
            tape=chosen,
            drive_id=identifier,
            when=lambda: identifier not in self._cleaning,
            finished=lambda error: self._tested(identifier, chosen, error),
        )
        self._testing[identifier] = task
        machine.drives.submit(task)

    def cancel_test(self, drive: Fields) -> None:
        """Call a test off; a 409 when there is none."""
        task = self._testing.get(str(drive["Id"]))
        if task is None or not self._machine.drives.cancel(task):
            raise conflict(f"Conflict[409]: The drive {drive['SerialNumber']} is not being tested.")

    def _test(self, drive: Drive, tape: Tape) -> None:
        """Write and read back; the tape holds nothing that is of use to anybody, before and after."""
        machine = self._machine
        with machine.store.lock:  # a drive may have been writing to it when it was made a test tape
            if machine.store.db.execute("SELECT 1 FROM copies WHERE tape = ?", (tape.n,)).fetchone() is not None:
                raise BadCopyError(f"the tape {tape.bar_code} holds data")
        path = self._machine.library.path(tape)
        pattern = os.urandom(_PIECE)
        drive.rewind()
        with open(path, "wb") as file:
            for _ in range(_TEST_BYTES // _PIECE):
                drive.check()
                file.write(pattern)
        drive.stream(_TEST_BYTES, Spent.WRITE)
        drive.rewind()
        with open(path, "rb") as file:
            for _ in range(_TEST_BYTES // _PIECE):
                drive.check()
                if tape.damaged or file.read(_PIECE) != pattern:
                    raise BadCopyError(f"what was written to {tape.bar_code} is not what is read")
        drive.stream(_TEST_BYTES, Spent.READ)
        drive.spend(Spent.OTHER, _TEST_SECONDS)
        drive.settle()
        os.truncate(path, 0)

    def _tested(self, identifier: str, tape: Tape, error: Exception | None) -> None:
        self._testing.pop(identifier, None)
        drive = self._machine.beans.get("TapeDrive", identifier)
        if drive is None or isinstance(error, TaskAbortedError):
            return
        result = "DRIVE_TEST_SUCCEEDED" if error is None else "DRIVE_TEST_FAILED"
        told = "passed its test" if error is None else f"failed its test: {error}"
        self._machine.failures.drive(result, identifier, tape.id, f"The drive {drive['SerialNumber']} {told}.")

    # Dumps.

    def dump(self, drive: Fields) -> None:
        """Write what is known of a drive to `dumps/SERIAL-NUMBER.json` below the appliance's folder."""
        folder = self._machine.directory / "dumps"
        folder.mkdir(exist_ok=True)
        account = self._machine.drives.find(str(drive["Id"]))
        values = {**drive, "Mounts": None if account is None else account.mounts}
        number = 1 + sum(1 for _ in folder.glob(f"{drive['SerialNumber']}-*.json"))
        path = folder / f"{drive['SerialNumber']}-{number}.json"
        path.write_text(json.dumps(values, indent=1), encoding="utf-8")
