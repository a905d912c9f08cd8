"""`/tapes` and `/drives`: the library as its operator sees it, and what hands and bad luck do to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ds3tool.simulator.controls.documents import Control, Question
from ds3tool.simulator.tapes.operator import CLEANINGS, Operator
from ds3tool.simulator.tapes.tape import Tape
from ds3tool.simulator.wire.refusals import bad_request

if TYPE_CHECKING:
    from ds3tool.simulator.appliance import Appliance
    from ds3tool.simulator.machine import Machine


# What the diary says of each act.
_DONE = {
    "insert": "put in",
    "take": "took out",
    "return": "put back",
    "remove": "took away",
    "damage": "damaged",
    "flip": "flipped bits of",
    "protect": "set the tab of",
    "export": "copied",
    "make": "made a tape of others",
    "attend": "came or went",
    "fail": "broke",
    "mend": "mended",
    "soil": "soiled",
}


class TapeControl(Control):
    """GET tells slots and tapes. PUT does one thing, and tells the tape it was done to (or the index it has made)."""

    form = (
        '{"act": "insert", "bar_code", "type", "cleaning", "uses", "path", "shelf", "stay"}, '
        '{"act": "take", "remove", "damage" or "return", "tape", "shelf", "online"}, '
        '{"act": "flip", "tape", "count", "seed"}, {"act": "protect", "tape", "off"}, '
        '{"act": "export", "tape", "folder"}, {"act": "make", "folder", "files", "bar_code", "type"}, '
        '{"act": "attend", "off"}.'
    )

    def __init__(self, appliance: Appliance) -> None:
        self._appliance = appliance
        self._acts: dict[str, Callable[[Question], dict[str, Any]]] = {
            "insert": self._insert,
            "take": self._take,
            "return": self._return,
            "remove": self._remove,
            "damage": self._damage,
            "flip": self._flip,
            "protect": self._protect,
            "export": self._export,
            "make": self._make,
            "attend": self._attend,
        }

    @property
    def _operator(self) -> Operator:
        return Operator(self._appliance.machine)

    def show(self, question: Question) -> dict[str, Any]:
        """Return slots, and every tape that the appliance knows or that is in the library."""
        question.end()
        machine = self._appliance.machine
        with machine.store.lock:
            robot = machine.library.robot
            return {
                "attended": robot.attended,
                "slots": {"all": robot.slots, "free": robot.free_slots()},
                "entry_exit_slots": {"all": robot.ports, "free": robot.free_ports()},
                "tapes": [_tape(each) for each in sorted(machine.library.tapes.values(), key=lambda tape: tape.n)],
            }

    def change(self, question: Question) -> dict[str, Any]:
        """Do what `act` says, and note in the diary that the operator has."""
        act = question.needed("act")
        if act not in self._acts:
            raise bad_request(f"Nobody knows how to {act!r} a tape. The document is {self.form}")
        try:
            told = self._acts[act](question)
        except OSError as error:
            raise bad_request(f"{error.filename or 'The files'}: {error.strerror or error}.") from error
        about = told.get("tape")
        _note(self._appliance, _DONE[act], None if about is None else about["bar_code"])
        return told

    def _insert(self, question: Question) -> dict[str, Any]:
        path, bar_code, kind = question.text("path"), question.text("bar_code"), question.text("type")
        cleaning, uses = question.flag("cleaning"), question.whole("uses", least=1)
        shelf, online = question.flag("shelf"), not question.flag("stay")
        question.end()
        if path is not None:
            if kind or cleaning or uses:
                raise bad_request("A tape that was exported has its type and its bytes already.")
            return {"tape": _tape(self._operator.insert(path, bar_code=bar_code, shelf=shelf, online=online))}
        if cleaning:
            if kind:
                raise bad_request("A cleaning tape has a type of its own.")
            wanted = CLEANINGS if uses is None else uses
            tape = self._operator.insert_cleaning(bar_code, uses=wanted, shelf=shelf, online=online)
        else:
            if uses:
                raise bad_request("Only a cleaning tape has uses.")
            kind = kind or self._appliance.machine.settings.tape_type
            tape = self._operator.insert_blank(bar_code, kind.upper(), shelf=shelf, online=online)
        return {"tape": _tape(tape)}

    def _take(self, question: Question) -> dict[str, Any]:
        return {"tape": _tape(self._operator.take(_only(question)))}

    def _return(self, question: Question) -> dict[str, Any]:
        tape, shelf, online = question.needed("tape"), question.flag("shelf"), question.flag("online")
        question.end()
        return {"tape": _tape(self._operator.bring_back(tape, shelf=shelf, online=online))}

    def _remove(self, question: Question) -> dict[str, Any]:
        return {"tape": _tape(self._operator.remove(_only(question)))}

    def _damage(self, question: Question) -> dict[str, Any]:
        return {"tape": _tape(self._operator.damage(_only(question)))}

    def _flip(self, question: Question) -> dict[str, Any]:
        tape, count, seed = question.needed("tape"), question.whole("count", least=1), question.whole("seed")
        question.end()
        flipped = self._operator.flip_bits(tape, 1 if count is None else count, seed)
        machine = self._appliance.machine
        with machine.store.lock:
            return {"tape": _tape(machine.library.find(tape)), "flipped": flipped}

    def _protect(self, question: Question) -> dict[str, Any]:
        tape, off = question.needed("tape"), question.flag("off")
        question.end()
        return {"tape": _tape(self._operator.protect(tape, not off))}

    def _export(self, question: Question) -> dict[str, Any]:
        tape, folder = question.needed("tape"), question.needed("folder")
        question.end()
        index = self._operator.export(tape, folder)
        machine = self._appliance.machine
        with machine.store.lock:
            return {"tape": _tape(machine.library.find(tape)), "index": str(index)}

    def _make(self, question: Question) -> dict[str, Any]:
        folder, files = question.needed("folder"), question.needed("files")
        bar_code, kind = question.text("bar_code"), question.text("type")
        question.end()
        kind = (kind or self._appliance.machine.settings.tape_type).upper()
        return {"index": str(self._operator.write_files(folder, files, bar_code, kind))}

    def _attend(self, question: Question) -> dict[str, Any]:
        off = question.flag("off")
        question.end()
        self._operator.attend(not off)
        return {"attended": not off}


class DriveControl(Control):
    """GET tells the drives. PUT lets one fail, mends it, or lets it ask for cleaning; and tells all of them."""

    form = '{"act": "fail", "mend" or "soil", "drive": SERIAL_NUMBER, "message": TEXT}.'

    def __init__(self, appliance: Appliance) -> None:
        self._appliance = appliance

    def show(self, question: Question) -> dict[str, Any]:
        """Return every drive as it is."""
        question.end()
        return {"drives": drives(self._appliance.machine)}

    def change(self, question: Question) -> dict[str, Any]:
        """Do what `act` says."""
        act, drive, message = question.needed("act"), question.needed("drive"), question.text("message")
        question.end()
        operator = Operator(self._appliance.machine)
        if message and act != "fail":
            raise bad_request("A message is of a drive that fails.")
        if act == "fail":
            found = operator.fail_drive(drive, message) if message else operator.fail_drive(drive)
        elif act == "mend":
            found = operator.mend_drive(drive)
        elif act == "soil":
            found = operator.soil_drive(drive)
        else:
            raise bad_request(f"Nobody knows how to {act!r} a drive. The document is {self.form}")
        _note(self._appliance, f"{_DONE[act]} drive {found['SerialNumber']}", None)
        return self.show(question)


def drives(machine: Machine) -> list[dict[str, Any]]:
    """Return every drive: its serial number, type and state, the tape in it, and what it is doing."""
    with machine.store.lock:
        by_id = {drive.id: drive for drive in machine.drives.all}
        found = []
        for bean in machine.beans.all("TapeDrive"):
            drive = by_id.get(str(bean["Id"]))
            task = None if drive is None else drive.task
            tape = None if drive is None else drive.tape
            found.append(
                {
                    "serial_number": bean["SerialNumber"],
                    "type": bean["Type"],
                    "state": bean.get("State") or "NORMAL",
                    "error": bean.get("ErrorMessage"),
                    "cleaning_required": bool(bean.get("CleaningRequired")),
                    "tape": None if tape is None else tape.bar_code,
                    "doing": None if task is None else task.description,
                    "mounts": 0 if drive is None else drive.mounts,
                }
            )
        return found


def _tape(tape: Tape) -> dict[str, Any]:
    return {
        "bar_code": tape.bar_code,
        "type": tape.type,
        "state": tape.state,
        "place": tape.place,
        "written": tape.written,
        "capacity": tape.capacity,
        "full": tape.full,
        "assigned": tape.domain_id is not None,
        "protected": tape.tab,
        "damaged": tape.damaged,
        "label": tape.eject_label,
        "location": tape.eject_location,
        "cleanings_left": tape.uses,
    }


def _only(question: Question) -> str:
    tape = question.needed("tape")
    question.end()
    return tape


def _note(appliance: Appliance, what: str, tape: str | None) -> None:
    appliance.diary.deed("operator", what, at=appliance.machine.clock.now(), tape=tape)
