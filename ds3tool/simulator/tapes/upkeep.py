"""What drives do to tapes for their own sake: inspect, format, verify, import and compact them; who may ask for it.

Each is asked for by a state that stands in the tape's row (PENDING_INSPECTION, FORMAT_PENDING, IMPORT_PENDING,
RAW_IMPORT_PENDING, AUTO_COMPACTION_IN_PROGRESS) or by its `verify_pending`, and handed to the drives as a task. What
the appliance was at when it died is begun again at its next start; every task may be begun again at any point.

Choices where sources are silent: an inspection makes any tape PENDING_INSPECTION until a drive has looked at it; a
format needs `force` for a tape that holds copies, and none for a foreign one; a verification waits for the tape's own
state to be NORMAL; an ejection waits for all of these.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

from ds3tool.simulator.tapes.compaction import compact
from ds3tool.simulator.tapes.importing import ImportOptions, import_files, import_objects
from ds3tool.simulator.tapes.inspection import inspect
from ds3tool.simulator.tapes.media import ClosingError
from ds3tool.simulator.tapes.tape import ABSENT, COMMANDABLE, Tape
from ds3tool.simulator.tapes.tasks import DriveTask, TaskAbortedError, TaskKind
from ds3tool.simulator.tapes.verification import verify
from ds3tool.simulator.wire.refusals import Refusal, conflict

if TYPE_CHECKING:
    from ds3tool.simulator.machine import Machine
    from ds3tool.simulator.tapes.drive import Drive

_log = logging.getLogger(__name__)

# Source: contract, the flag TapeCommandAllowed of TapeState; a tape that is being compacted is left to that.
_INSPECTABLE = _FORMATTABLE = COMMANDABLE - {"AUTO_COMPACTION_IN_PROGRESS"}
_DEFAULT_PRIORITY = "HIGH"
# What failed, and what the tape is then, by the state in which it did.
_GIVEN_UP = {
    "NORMAL": ("VERIFY_FAILED", "NORMAL"),
    "PENDING_INSPECTION": ("INSPECT_FAILED", "UNKNOWN"),
    "FORMAT_PENDING": ("FORMAT_FAILED", "UNKNOWN"),
    "FORMAT_IN_PROGRESS": ("FORMAT_FAILED", "UNKNOWN"),
    "IMPORT_PENDING": ("IMPORT_FAILED", "FOREIGN"),
    "IMPORT_IN_PROGRESS": ("IMPORT_FAILED", "FOREIGN"),
    "RAW_IMPORT_PENDING": ("IMPORT_FAILED", "LTFS_WITH_FOREIGN_DATA"),
    "RAW_IMPORT_IN_PROGRESS": ("IMPORT_FAILED", "LTFS_WITH_FOREIGN_DATA"),
    "AUTO_COMPACTION_IN_PROGRESS": ("READ_FAILED", "NORMAL"),
}
_COMPACTING = "AUTO_COMPACTION_IN_PROGRESS"


class Upkeep:
    """Tasks on tapes of one machine. Methods are called with the store's lock held.

    Each raises a 409 when the tape's state does not admit it.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._library = machine.library
        # What has been handed to the drives: by the tape's number, and whether it is a verification.
        self._tasks: dict[tuple[int, bool], DriveTask] = {}
        machine.library.robot.arrived = self._arrived
        machine.library.robot.left = self._left

    def resume(self) -> None:
        """After a start: hand to the drives what had been asked for."""
        for tape in self._library.tapes.values():
            if tape.state == "NORMAL":  # an import that was killed at its very end has left its index
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._library.index_path(tape))
            self._submit(tape)

    def under_way(self, tape: Tape) -> bool:
        """Whether any of these is asked for, or at work."""
        return any((tape.n, verifying) in self._tasks for verifying in (False, True))

    # What is asked for.

    def inspect(self, tape: Tape, priority: str | None = None) -> None:
        """Have a drive look what a tape is, and what its state is to be."""
        if tape.state not in _INSPECTABLE or tape.is_cleaner:
            raise self._refusal(tape, "inspected")
        tape.directive = json.dumps({"priority": priority or _DEFAULT_PRIORITY})
        self._library.enter(tape, "PENDING_INSPECTION")
        self._submit(tape)

    def format(self, tape: Tape, *, force: bool) -> None:
        """Have a tape emptied; with copies on it only by `force`."""
        if tape.state not in _FORMATTABLE or tape.is_cleaner or tape.verify_pending is not None:
            raise self._refusal(tape, "formatted")
        if tape.written and tape.domain_id is not None and not force:
            raise conflict(f"Conflict[409]: The tape {tape.bar_code} holds data: it is formatted by force only.")
        self._cancel_task(tape, verifying=False)
        tape.directive = json.dumps({"force": force})
        self._library.enter(tape, "FORMAT_PENDING")
        self._submit(tape)

    def cancel_format(self, tape: Tape) -> None:
        """Call a format off that has not begun."""
        self._call_off(tape, "FORMAT_PENDING", "be formatted")

    def import_objects(self, tape: Tape, options: ImportOptions) -> None:
        """Have a FOREIGN tape's buckets and objects become this appliance's."""
        if tape.state != "FOREIGN":
            raise self._refusal(tape, "imported")
        tape.directive = json.dumps(asdict(options))
        self._library.enter(tape, "IMPORT_PENDING")
        self._submit(tape)

    def import_files(self, tape: Tape, options: ImportOptions) -> None:
        """Have the files of somebody else's tape become objects of a bucket."""
        if tape.state != "LTFS_WITH_FOREIGN_DATA":
            raise self._refusal(tape, "imported as it is")
        tape.directive = json.dumps(asdict(options))
        self._library.enter(tape, "RAW_IMPORT_PENDING")
        self._submit(tape)

    def cancel_import(self, tape: Tape) -> None:
        """Call an import off that has not begun."""
        raw = tape.state == "RAW_IMPORT_PENDING"
        self._call_off(tape, "RAW_IMPORT_PENDING" if raw else "IMPORT_PENDING", "be imported")

    def verify(self, tape: Tape, priority: str | None = None) -> None:
        """Have every copy on a tape read."""
        if tape.state != "NORMAL" or tape.is_cleaner:
            raise self._refusal(tape, "verified")
        tape.verify_pending = priority or "NORMAL"
        self._library.save(tape)
        self._cancel_task(tape, verifying=True)
        self._submit(tape)

    def cancel_verify(self, tape: Tape) -> None:
        """Call a verification off, begun or not."""
        if tape.verify_pending is None:
            raise conflict(f"Conflict[409]: The tape {tape.bar_code} is not about to be verified.")
        tape.verify_pending = None
        self._library.save(tape)
        self._cancel_task(tape, verifying=True)
        self._library.changed.notify_all()

    def compact(self, tape: Tape) -> None:
        """Have what lives on a tape copied to others of its storage domain, and the tape emptied.

        A 409 as well when nothing would be won by that: nothing on it was deleted.
        """
        if tape.state != "NORMAL" or tape.domain_id is None or tape.eject_pending is not None:
            raise self._refusal(tape, "compacted")
        if not self.waste(tape):
            raise conflict(f"Conflict[409]: All that was written to the tape {tape.bar_code} is still there.")
        self._library.enter(tape, _COMPACTING)
        self._submit(tape)

    def waste(self, tape: Tape) -> int:
        """Return the bytes written to a tape that nobody can ask for any more."""
        (living,) = self._machine.store.db.execute(
            "SELECT coalesce(sum(b.length), 0) FROM copies c JOIN blobs b ON b.n = c.blob WHERE c.tape = ?", (tape.n,)
        ).fetchone()
        return max(0, tape.written - int(living))

    def _refusal(self, tape: Tape, done: str) -> Refusal:
        leaving = ", and it is about to be ejected" if tape.eject_pending is not None else ""
        return conflict(
            f"Conflict[409]: The tape {tape.bar_code} cannot be {done}, its state is {tape.state}{leaving}."
        )

    def _call_off(self, tape: Tape, state: str, what: str) -> None:
        if tape.state != state:
            raise conflict(f"Conflict[409]: The tape {tape.bar_code} is not about to {what}.")
        self._cancel_task(tape, verifying=False)
        back = tape.previous_state or "PENDING_INSPECTION"
        tape.directive = None
        self._library.enter(tape, back)
        self._submit(tape)

    # Tasks.

    def _arrived(self, tape: Tape) -> None:
        """A tape has come into a slot: have it looked at, unless the appliance is told to leave that to people.

        A cleaning tape is taken for one by its bar code; drives may be waiting for it.
        """
        if tape.is_cleaner:
            self._library.enter(tape, "NORMAL")
            self._machine.workshop.resume()
            return
        backend = self._machine.beans.all("DataPathBackend")
        if not backend or backend[0].get("AutoInspect") != "NEVER":
            self._submit(tape)

    def _left(self, tape: Tape) -> None:
        """A tape is out of reach: what was asked for is forgotten; when it is back it is looked at first."""
        tape.verify_pending = tape.directive = None
        for verifying in (False, True):
            self._cancel_task(tape, verifying=verifying)

    def _submit(self, tape: Tape) -> None:
        if tape.verify_pending is not None:
            self._hand_over(tape, "VerifyTape", tape.verify_pending, verify, verifying=True)
        if tape.state == "PENDING_INSPECTION":
            self._hand_over(tape, "InspectTape", self._told(tape, "priority"), inspect)
        elif tape.state == "FORMAT_PENDING":
            self._hand_over(tape, "FormatTape", _DEFAULT_PRIORITY, _format)
        elif tape.state == "IMPORT_PENDING":
            self._hand_over(tape, "ImportTape", self._told(tape, "priority"), import_objects)
        elif tape.state == "RAW_IMPORT_PENDING":
            self._hand_over(tape, "RawImportTape", self._told(tape, "priority"), import_files)
        elif tape.state == _COMPACTING:
            self._hand_over(tape, "CompactTape", "LOW", compact)

    def _told(self, tape: Tape, name: str) -> str:
        values = json.loads(tape.directive) if tape.directive else {}
        return str(values.get(name) or _DEFAULT_PRIORITY)

    def _hand_over(
        self,
        tape: Tape,
        name: str,
        priority: str,
        work: Callable[[Machine, Tape, Drive], None],
        *,
        verifying: bool = False,
    ) -> None:
        key = (tape.n, verifying)
        if key in self._tasks:
            return

        def ended(error: Exception | None) -> None:
            known = self._tasks.get(key) is task
            if known:
                del self._tasks[key]
            if isinstance(error, ClosingError):
                return
            if error is not None and not isinstance(error, TaskAbortedError):
                self._give_up(tape, error, verifying=verifying)
            if known:  # what was asked for while the task came to its end has found it still there
                self._submit(tape)
            self._library.changed.notify_all()

        task = DriveTask(
            name,
            f"{name} {tape.bar_code}",
            lambda drive: work(self._machine, tape, drive),
            tape=tape,
            priority=priority,
            kind=TaskKind.MAINTENANCE,
            when=lambda: tape.state not in ABSENT and (not verifying or tape.state == "NORMAL"),
            finished=ended,
        )
        self._tasks[key] = task
        self._machine.drives.submit(task)

    def _give_up(self, tape: Tape, error: Exception, *, verifying: bool) -> None:
        """Let a tape be what it can be after something that nobody had thought of went wrong with it."""
        _log.error("%s: %s", tape.bar_code, error, exc_info=error)
        state = "NORMAL" if verifying else tape.state
        kind, fallback = _GIVEN_UP.get(state, ("INSPECT_FAILED", state))
        with self._machine.store.writing():
            if verifying:
                tape.verify_pending = None
            tape.directive = None
            self._machine.failures.tape(kind, tape, f"The tape {tape.bar_code}: {error}")
            tape.enter(fallback)
            self._library.save(tape)

    def _cancel_task(self, tape: Tape, *, verifying: bool) -> None:
        task = self._tasks.pop((tape.n, verifying), None)
        if task is not None:
            self._machine.drives.cancel(task)


def _format(machine: Machine, tape: Tape, drive: Drive) -> None:
    """Empty a tape, unless its tab is set or no drive can read it."""
    with machine.store.lock:
        if tape.state not in ("FORMAT_PENDING", "FORMAT_IN_PROGRESS"):
            return
        unforced = tape.directive is not None and json.loads(tape.directive).get("force") is False
        if unforced and machine.store.db.execute("SELECT 1 FROM copies WHERE tape = ?", (tape.n,)).fetchone():
            with machine.store.writing():  # a drive was writing to it when it was still empty
                tape.directive = None
                message = f"The tape {tape.bar_code} was not formatted: it holds data by now."
                machine.failures.tape("FORMAT_FAILED", tape, message, drive.id)
                machine.library.enter(tape, "NORMAL")
            return
        machine.library.enter(tape, "FORMAT_IN_PROGRESS")
    drive.rewind()
    drive.settle()
    if tape.tab or tape.damaged:
        with machine.store.writing():
            tape.write_protected = tape.tab
            machine.library.enter(tape, "BAD" if tape.damaged else "CANNOT_FORMAT_DUE_TO_WRITE_PROTECTION")
            why = "it cannot be read" if tape.damaged else "it is protected against writing"
            message = f"The tape {tape.bar_code} cannot be formatted: {why}."
            machine.failures.tape("FORMAT_FAILED", tape, message, drive.id)
        return
    _empty(machine, tape)
    with machine.store.writing() as db:
        machine.library.clear(db, tape)
        tape.write_protected, tape.modified, tape.directive = False, machine.clock.now(), None
        machine.library.enter(tape, "NORMAL")


def _empty(machine: Machine, tape: Tape) -> None:
    """Take a tape's bytes and its index away. To be done before its rows say so, so that it can be done again."""
    for path in (machine.library.path(tape), machine.library.index_path(tape)):
        if os.path.exists(path):
            os.unlink(path)
