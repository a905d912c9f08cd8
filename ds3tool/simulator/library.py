"""The tape library: cartridges with bar codes, their states, who uses which, ejection and return.

A tape's bytes are one file below the appliance's folder, written from front to back; what is deleted leaves a hole
that nothing fills, as on a real tape.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, fields
from pathlib import Path

from ds3tool.protocol.model import TapeState
from ds3tool.simulator.clock import Clock
from ds3tool.simulator.events import TapeForgotten
from ds3tool.simulator.refusals import bad_request, conflict, not_found
from ds3tool.simulator.store import Store

# What an operator may set by hand; which ones the appliance allows is not public.
_SETTABLE = ("NORMAL", "OFFLINE", "LOST", "BAD")


@dataclass(slots=True, eq=False)
class Tape:
    """One cartridge, a row of the store. Bytes: `capacity` raw, `written` from its start; dates in seconds or None."""

    n: int
    id: str
    bar_code: str
    type: str
    serial: str
    partition_id: str
    capacity: int
    written: int
    state: str
    previous_state: str | None
    full: bool
    role: str
    member_id: str | None
    domain_id: str | None
    bucket_id: str | None
    eject_pending: float | None
    eject_date: float | None
    eject_label: str | None
    eject_location: str | None
    accessed: float | None
    modified: float | None
    verified: float | None

    @property
    def usable(self) -> bool:
        """Whether a drive may load it."""
        return self.state == TapeState.NORMAL and self.eject_pending is None

    @property
    def available(self) -> int:
        """Bytes that still fit."""
        return max(0, self.capacity - self.written)


_COLUMNS = tuple(field.name for field in fields(Tape))


class Library:
    """All tapes. Methods are called with the store's lock held; `changed` is notified when a tape comes free."""

    def __init__(
        self, store: Store, clock: Clock, directory: Path, changed: threading.Condition, robot_delay: float
    ) -> None:
        self._store = store
        self._clock = clock
        self._directory = directory
        self._changed = changed
        self._robot_delay = robot_delay
        directory.mkdir(exist_ok=True)
        self.tapes: dict[int, Tape] = {}
        self.in_use: set[int] = set()
        # When the robot has done with a tape: (tape, state it then has).
        self._moves: dict[int, tuple[float, str]] = {}
        for row in store.db.execute(f"SELECT {', '.join(_COLUMNS)} FROM tapes ORDER BY n"):  # noqa: S608 - constants
            tape = Tape(*row)
            tape.full = bool(tape.full)
            self.tapes[tape.n] = tape
            self._resume(tape)

    def _resume(self, tape: Tape) -> None:
        if tape.eject_pending is not None or tape.state.startswith("EJECT_"):
            self._moves[tape.n] = (self._clock.monotonic(), TapeState.EJECTED)
        elif tape.state in (TapeState.ONLINE_PENDING, TapeState.ONLINE_IN_PROGRESS, TapeState.PENDING_INSPECTION):
            self._moves[tape.n] = (self._clock.monotonic(), TapeState.NORMAL)

    def path(self, tape: Tape) -> str:
        """Return where a tape's bytes are."""
        return str(self._directory / f"{tape.bar_code}.tape")

    def find(self, identifier: str) -> Tape:
        """Return the tape with this UUID or bar code; a 404 when there is none."""
        for tape in self.tapes.values():
            if identifier in (tape.bar_code, tape.id) or identifier.lower() == tape.id:
                return tape
        raise not_found("Tape", identifier)

    def add(self, tape_id: str, bar_code: str, kind: str, partition_id: str, capacity: int) -> Tape:
        """Put a new, empty tape in."""
        with self._store.writing() as db:
            number = self._store.numbers("tapes", 1)
            values = (number, tape_id, bar_code, kind, f"SIM{number:07d}", partition_id, capacity, "NORMAL")
            db.execute(
                "INSERT INTO tapes (n, id, bar_code, type, serial, partition_id, capacity, state) "
                "VALUES (?,?,?,?,?,?,?,?)",
                values,
            )
            row = db.execute(f"SELECT {', '.join(_COLUMNS)} FROM tapes WHERE n = ?", (number,)).fetchone()  # noqa: S608 - constants
        tape = Tape(*row)
        tape.full = False
        self.tapes[number] = tape
        return tape

    def save(self, tape: Tape) -> None:
        """Write a tape's row."""
        assignments = ", ".join(f"{name} = ?" for name in _COLUMNS[1:])
        values = [getattr(tape, name) for name in _COLUMNS[1:]]
        with self._store.writing() as db:
            db.execute(f"UPDATE tapes SET {assignments} WHERE n = ?", (*values, tape.n))  # noqa: S608 - constants

    def _set_state(self, tape: Tape, state: str) -> None:
        tape.previous_state, tape.state = tape.state, state
        self.save(tape)

    # What operators do.

    def eject(self, tape: Tape, label: str | None, location: str | None) -> None:
        """Send a tape to the entry port once no drive uses it. A 409 for one that is not in the library."""
        if tape.state != TapeState.NORMAL:
            raise conflict(f"Conflict[409]: The tape {tape.bar_code} cannot be ejected, its state is {tape.state}.")
        tape.eject_pending = self._clock.now()
        tape.eject_label = label if label is not None else tape.eject_label
        tape.eject_location = location if location is not None else tape.eject_location
        self._moves[tape.n] = (self._clock.monotonic() + self._robot_delay, TapeState.EJECTED)
        self.save(tape)
        self._changed.notify_all()

    def cancel_eject(self, tape: Tape) -> None:
        """Keep a tape that was to be ejected. A 409 when it is not, or is out already."""
        if tape.eject_pending is None or tape.state == TapeState.EJECTED:
            raise conflict(f"Conflict[409]: The tape {tape.bar_code} is not about to be ejected.")
        tape.eject_pending = None
        self._moves.pop(tape.n, None)
        if tape.state != TapeState.NORMAL:
            self._set_state(tape, TapeState.NORMAL)
        self.save(tape)
        self._changed.notify_all()

    def online(self, tape: Tape) -> None:
        """Bring a tape back.

        On an EJECTED tape this means that the operator has put it into the entry port again: the appliance has no
        hands, so the command stands for both. A 409 for a tape that is neither ejected nor offline.
        """
        if tape.state not in (TapeState.EJECTED, TapeState.OFFLINE):
            raise conflict(f"Conflict[409]: The tape {tape.bar_code} cannot be onlined, its state is {tape.state}.")
        self._set_state(tape, TapeState.ONLINE_PENDING)
        self._moves[tape.n] = (self._clock.monotonic() + self._robot_delay, TapeState.NORMAL)
        self._changed.notify_all()

    def cancel_online(self, tape: Tape) -> None:
        """Leave a tape where it was before `online`. A 409 when it is not on its way."""
        if tape.state not in (TapeState.ONLINE_PENDING, TapeState.ONLINE_IN_PROGRESS):
            raise conflict(f"Conflict[409]: The tape {tape.bar_code} is not about to be onlined.")
        self._moves.pop(tape.n, None)
        self._set_state(tape, tape.previous_state or TapeState.OFFLINE)

    def modify(
        self, tape: Tape, *, label: str | None, location: str | None, state: str | None, role: str | None
    ) -> None:
        """Change what is given; an empty label or location removes it. A 400 for a state nobody may set."""
        if state is not None and state.upper() not in _SETTABLE:
            raise bad_request(f"The state of a tape cannot be set to '{state}'.")
        if label is not None:
            tape.eject_label = label or None
        if location is not None:
            tape.eject_location = location or None
        if role is not None:
            tape.role = role.upper()
        if state is not None and state.upper() != tape.state:
            self._set_state(tape, state.upper())
        self.save(tape)
        self._changed.notify_all()

    def forget(self, tape: Tape) -> None:
        """Strike a LOST tape from the inventory with the copies on it; a 409 in any other state."""
        if tape.state != TapeState.LOST:
            raise conflict(f"Conflict[409]: The tape {tape.bar_code} is {tape.state}, not LOST.")
        with self._store.writing() as db:
            self._store.events.tell(TapeForgotten(tape))
            db.execute("DELETE FROM copies WHERE tape = ?", (tape.n,))
            db.execute("DELETE FROM tapes WHERE n = ?", (tape.n,))
        self.tapes.pop(tape.n)

    # What the robot and the drives do.

    def move(self) -> float | None:
        """Let the robot do what is due; return the seconds until its next move, None when it has none."""
        now = self._clock.monotonic()
        waits: list[float] = []
        for number, (when, state) in list(self._moves.items()):
            tape = self.tapes[number]
            if when > now:
                waits.append(when - now)
            elif number not in self.in_use:
                self._arrive(tape, state)
                del self._moves[number]
                self._changed.notify_all()
        return min(waits, default=None)

    def _arrive(self, tape: Tape, state: str) -> None:
        if state == TapeState.EJECTED:
            # Through the entry port, as the states in between are called.
            tape.previous_state = TapeState.EJECT_FROM_EE_PENDING
            tape.eject_pending, tape.eject_date = None, self._clock.now()
        else:
            tape.previous_state = TapeState.PENDING_INSPECTION
            tape.eject_date = None
        tape.state = state
        self.save(tape)

    def tape_to_write(self, domain_id: str, bucket_id: str | None, length: int) -> Tape | None:
        """Return the tape that takes the next `length` bytes of a storage domain, and hold it; None when none can.

        Tapes of the domain that have begun come first, then empty ones that belong to nobody.
        """
        candidates = [
            tape
            for tape in self.tapes.values()
            if tape.usable and not tape.full and tape.n not in self.in_use and tape.role == "NORMAL"
        ]
        own = [tape for tape in candidates if tape.domain_id == domain_id and tape.bucket_id in (None, bucket_id)]
        for tape in own:
            if tape.available >= length:
                self.in_use.add(tape.n)
                return tape
        for tape in candidates:
            if tape.domain_id is None and tape.available >= length:
                self.in_use.add(tape.n)
                return tape
        return None

    def release(self, tape: Tape) -> None:
        """Give a tape back that a drive held."""
        self.in_use.discard(tape.n)
        self._changed.notify_all()
