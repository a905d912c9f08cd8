"""The robot: tapes on their way between the storage slots, the entry/exit slots and the world outside.

    NORMAL, ejection asked for -> EJECT_TO_EE_IN_PROGRESS -> EJECT_FROM_EE_PENDING -> EJECTED
    OFFLINE or EJECTED -> ONLINE_PENDING -> ONLINE_IN_PROGRESS -> PENDING_INSPECTION (a drive looks at it next)

A move takes half of `delay`, asked for anew each time. With an attendant, whoever ejects a tape takes it out of its
entry/exit slot at once, and whoever onlines an ejected one has put it back; without, tapes stay in those slots until an
operator comes, and when all are taken ejections wait. What a move was at when the appliance died is begun again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ds3tool.simulator.clock import Clock
from ds3tool.simulator.store import Store
from ds3tool.simulator.tapes.failures import Failures
from ds3tool.simulator.tapes.tape import ABSENT, HAND, OUTSIDE, PORT, SLOT, Tape
from ds3tool.simulator.wire.refusals import conflict

if TYPE_CHECKING:
    from ds3tool.simulator.tapes.library import Library

_UNATTENDED = "unattended"
# On its way in; it may be ejected when it is there.
_STAYS = ("ONLINE_PENDING", "ONLINE_IN_PROGRESS")
# An ejection waits until a drive has done with the tape, or that has been called off.
_BUSY = frozenset(
    (
        *("FORMAT_PENDING", "FORMAT_IN_PROGRESS", "IMPORT_PENDING", "IMPORT_IN_PROGRESS", "RAW_IMPORT_PENDING"),
        *("RAW_IMPORT_IN_PROGRESS", "AUTO_COMPACTION_IN_PROGRESS"),
    )
)
_RETURNS = ("OFFLINE", "EJECTED", "EJECT_FROM_EE_PENDING")
_NO_SLOT, _TAKE_AWAY = "ONLINE_STALLED_DUE_TO_NO_STORAGE_SLOTS", "TAPE_EJECTION_BY_OPERATOR_REQUIRED"
_IN_THE_WAY = "EJECT_STALLED_DUE_TO_OFFLINE_TAPES"


class Robot:
    """Moves tapes. Methods are called with the store's lock held. `slots` and `ports` count storage and entry/exit."""

    def __init__(
        self,
        library: Library,
        store: Store,
        clock: Clock,
        failures: Failures,
        *,
        delay: Callable[[], float],
        slots: int,
        ports: int,
    ) -> None:
        self._library = library
        self._store = store
        self._clock = clock
        self._failures = failures
        self._delay = delay
        self.slots = slots
        self.ports = ports
        # Called with a tape that came into a slot, PENDING_INSPECTION.
        self.arrived: Callable[[Tape], None] = lambda _: None
        # Called with a tape that is out of every drive's reach from now on.
        self.left: Callable[[Tape], None] = lambda _: None
        # Called with a tape that was moved, and the seconds that this took.
        self.moved: Callable[[Tape, float], None] = lambda *_: None
        # When each tape's next move is due.
        self._due: dict[int, float] = {}

    def resume(self) -> None:
        """After a start: take up the moves that were under way."""
        for tape in self._library.tapes.values():
            if tape.state == "EJECT_TO_EE_IN_PROGRESS":
                tape.place = HAND
            moving = tape.state in ("EJECT_TO_EE_IN_PROGRESS", "EJECT_FROM_EE_PENDING", *_STAYS)
            if moving or tape.eject_pending is not None:
                self._due[tape.n] = self._clock.monotonic()

    @property
    def attended(self) -> bool:
        """Whether an operator takes tapes out of the entry/exit slots, and puts them in, as soon as that is wanted."""
        return self._store.meta(_UNATTENDED) != "1"

    def attend(self, attended: bool) -> None:
        """Say whether an operator is there; remembered over a restart."""
        self._store.remember(_UNATTENDED, "" if attended else "1")
        self._library.changed.notify_all()

    def free_ports(self) -> int:
        """Return how many entry/exit slots are empty."""
        return self.ports - sum(tape.place in (PORT, HAND) for tape in self._library.tapes.values())

    def free_slots(self) -> int:
        """Return how many storage slots are empty; a tape in a drive keeps its own."""
        return self.slots - sum(tape.place == SLOT for tape in self._library.tapes.values())

    # What is asked of it.

    def eject(self, tape: Tape, label: str | None, location: str | None) -> None:
        """Let a tape out once nothing uses it. A 409 for one that is not in the library, or has to stay in it."""
        if tape.state in ABSENT or tape.state in _STAYS:
            raise conflict(f"Conflict[409]: The tape {tape.bar_code} cannot be ejected, its state is {tape.state}.")
        domain = self._library.domain(tape)
        if domain is not None and domain.get("MediaEjectionAllowed") is False:
            raise conflict(
                f"Conflict[409]: The tape {tape.bar_code} cannot be ejected: "
                f"the storage domain '{domain['Name']}' does not allow it."
            )
        if tape.eject_pending is None:
            tape.eject_pending = self._clock.now()
            self._due[tape.n] = self._clock.monotonic() + self._delay() / 2
        tape.eject_label = label if label is not None else tape.eject_label
        tape.eject_location = location if location is not None else tape.eject_location
        self._library.save(tape)
        self._library.changed.notify_all()

    def cancel_eject(self, tape: Tape) -> None:
        """Keep a tape that was to be ejected. A 409 when it is not, or the robot has it already."""
        if tape.eject_pending is None or tape.state in ABSENT:
            raise conflict(f"Conflict[409]: The tape {tape.bar_code} is not about to be ejected.")
        tape.eject_pending = None
        self._due.pop(tape.n, None)
        self._library.save(tape)
        self._library.changed.notify_all()

    def online(self, tape: Tape) -> None:
        """Bring a tape back from an entry/exit slot.

        On an EJECTED tape this means that the operator has put it into one again: the appliance has no hands, so where
        an operator attends the command stands for both. A 409 for a tape that is not there to be brought back.
        """
        if tape.state not in _RETURNS or (tape.place == OUTSIDE and not self.attended):
            where = " and it is not in an entry/exit slot" if tape.state in _RETURNS else ""
            raise conflict(
                f"Conflict[409]: The tape {tape.bar_code} cannot be onlined, its state is {tape.state}{where}."
            )
        tape.enter("ONLINE_PENDING")
        tape.eject_pending = None
        self._due[tape.n] = self._clock.monotonic() + self._delay() / 2
        self._library.save(tape)
        self._library.changed.notify_all()

    def cancel_online(self, tape: Tape) -> None:
        """Leave a tape where it was before `online`. A 409 when it is not waiting for the robot."""
        if tape.state != "ONLINE_PENDING":
            raise conflict(f"Conflict[409]: The tape {tape.bar_code} is not about to be onlined.")
        self._due.pop(tape.n, None)
        self._failures.partition_mended(_NO_SLOT, tape.partition_id)
        tape.enter(tape.previous_state or "OFFLINE")
        if tape.state == "EJECT_FROM_EE_PENDING":  # it is to be taken out after all
            self._due[tape.n] = self._clock.monotonic()
        self._library.save(tape)
        self._library.changed.notify_all()

    def put_in(self, tape: Tape, *, onto_shelf: bool = False) -> None:
        """Take a tape from the operator's hand: into an entry/exit slot, or by the opened door into a storage slot.

        A 409 when there is no room.
        """
        if (self.free_slots() if onto_shelf else self.free_ports()) < 1:
            where = "storage slot" if onto_shelf else "entry/exit slot"
            raise conflict(f"Conflict[409]: There is no {where} for the tape {tape.bar_code}.")
        tape.place = SLOT if onto_shelf else PORT
        tape.enter("PENDING_INSPECTION" if onto_shelf else "OFFLINE")
        tape.eject_pending = None
        tape.eject_date = None if onto_shelf else tape.eject_date
        self._library.save(tape)
        if onto_shelf:
            self.arrived(tape)
        self._library.changed.notify_all()

    def take_out(self, tape: Tape) -> None:
        """Let the operator take a tape out of its entry/exit slot. A 409 when it is in none."""
        if tape.place != PORT:
            raise conflict(f"Conflict[409]: The tape {tape.bar_code} is not in an entry/exit slot: {tape.place}.")
        self._due.pop(tape.n, None)
        self._leave(tape)
        self._library.save(tape)
        self._library.changed.notify_all()

    def snatch(self, tape: Tape) -> None:
        """Let somebody take a tape out of its storage slot behind the appliance's back: it is LOST, and that is told.

        A 409 when it is in none, or in a drive.
        """
        if tape.place != SLOT or tape.n in self._library.in_use:
            raise conflict(f"Conflict[409]: The tape {tape.bar_code} is not in a storage slot.")
        self._due.pop(tape.n, None)
        tape.place, tape.eject_pending = OUTSIDE, None
        tape.enter("LOST")
        self.left(tape)
        self._library.save(tape)
        message = f"The tape {tape.bar_code} was removed without having been ejected."
        self._failures.partition("TAPE_REMOVAL_UNEXPECTED", tape.partition_id, message)
        domain = self._library.domain(tape)
        if domain is not None and domain.get("MediaEjectionAllowed") is False:
            self._failures.domain("ILLEGAL_EJECTION_OCCURRED", str(domain["Id"]), message)
        self._library.changed.notify_all()

    def look_round(self) -> None:
        """Take up what lies in a storage slot though it was said to be LOST or OFFLINE: a drive is to look at it."""
        for tape in self._library.tapes.values():
            if tape.place == SLOT and tape.state in ("LOST", "OFFLINE"):
                self._library.enter(tape, "PENDING_INSPECTION")
                self.arrived(tape)

    # What it does.

    def move(self) -> float | None:
        """Do what is due; return the seconds until the next move, None when there is none to wait for."""
        now = self._clock.monotonic()
        progress = True
        while progress:
            progress = False
            for number, due in list(self._due.items()):
                tape = self._library.tapes.get(number)
                if tape is None:
                    del self._due[number]
                elif due <= now:
                    progress |= self._step(tape, due)
        return min((due - now for due in self._due.values() if due > now), default=None)

    def _step(self, tape: Tape, due: float) -> bool:
        """Make one move that is due; False when something is in its way."""
        before = (tape.state, tape.place)
        then: float | None = due + self._delay() / 2
        if tape.state == "ONLINE_PENDING":
            if self._stalled(tape):
                return False
            tape.enter("ONLINE_IN_PROGRESS")
        elif tape.state == "ONLINE_IN_PROGRESS":
            tape.place, tape.eject_date, then = SLOT, None, None
            tape.enter("PENDING_INSPECTION")
            self.moved(tape, self._delay() / 2)
        elif tape.state == "EJECT_TO_EE_IN_PROGRESS":
            tape.place = PORT
            tape.enter("EJECT_FROM_EE_PENDING")
            self.moved(tape, self._delay() / 2)
            then = due
        elif tape.state == "EJECT_FROM_EE_PENDING":
            if not self._attend_to(tape):
                return False
            then = None
        elif tape.eject_pending is None:
            then = None
        elif self._needed(tape) or self._port_missing(tape):
            return False
        else:
            tape.place = HAND
            tape.enter("EJECT_TO_EE_IN_PROGRESS")
            self.left(tape)
        self._due.pop(tape.n, None)
        if then is not None:
            self._due[tape.n] = then
        if before != (tape.state, tape.place):
            self._library.save(tape)
            if tape.state == "PENDING_INSPECTION":
                self.arrived(tape)
            self._library.changed.notify_all()
        return True

    def _tell(self, kind: str, tape: Tape, message: str) -> None:
        """Put on record what holds a tape up; who waits for that hears of it once."""
        if self._failures.partition(kind, tape.partition_id, message):
            self._library.changed.notify_all()

    def _stalled(self, tape: Tape) -> bool:
        if self.free_slots() - sum(each.state == "ONLINE_IN_PROGRESS" for each in self._library.tapes.values()) < 1:
            message = f"The tape {tape.bar_code} cannot be onlined: all {self.slots} storage slots are taken."
            self._tell(_NO_SLOT, tape, message)
            return True
        self._failures.partition_mended(_NO_SLOT, tape.partition_id)
        return False

    def _needed(self, tape: Tape) -> bool:
        return tape.n in self._library.in_use or tape.state in _BUSY or tape.verify_pending is not None

    def _port_missing(self, tape: Tape) -> bool:
        if self.free_ports() > 0:
            return False
        inside = [each.bar_code for each in self._library.tapes.values() if each.state == "OFFLINE"]
        if inside:
            message = f"Tapes cannot be ejected while others are in the entry/exit slots: {', '.join(inside)}."
            self._tell(_IN_THE_WAY, tape, message)
        return True

    def _attend_to(self, tape: Tape) -> bool:
        """Let the attendant take a tape out; without one, ask for somebody, once."""
        if self.attended:
            self._leave(tape)
            return True
        if tape.place == PORT:
            waiting = f"The tape {tape.bar_code} is in an entry/exit slot, to be taken out by an operator."
            self._tell(_TAKE_AWAY, tape, waiting)
        return False

    def _leave(self, tape: Tape) -> None:
        tape.place = OUTSIDE
        tape.eject_pending, tape.eject_date = None, self._clock.now()
        tape.enter("EJECTED")
        others = [each for each in self._library.tapes.values() if each is not tape]
        if not any(each.state == "EJECT_FROM_EE_PENDING" for each in others):
            self._failures.partition_mended(_TAKE_AWAY, tape.partition_id)
        if not any(each.state == "OFFLINE" and each.place == PORT for each in others):
            self._failures.partition_mended(_IN_THE_WAY, tape.partition_id)
