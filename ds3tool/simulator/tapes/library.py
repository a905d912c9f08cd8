"""The tape library: cartridges with bar codes, their states, who uses which, and what becomes of what is on them.

A tape's bytes are one file below the appliance's folder, written from front to back; what is deleted leaves a hole
that nothing fills, as on a real tape. Beside it lies an index while the tape's contents are not this appliance's own.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

from ds3tool.simulator.clock import Clock
from ds3tool.simulator.events import BlobLost, TapeChanged, TapeForgotten
from ds3tool.simulator.records.beans import Beans, Fields
from ds3tool.simulator.store import Store
from ds3tool.simulator.tapes.failures import Failures
from ds3tool.simulator.tapes.robot import Robot
from ds3tool.simulator.tapes.tape import ABSENT, COLUMNS, HAND, INTERRUPTED, OUTSIDE, SLOT, Tape
from ds3tool.simulator.wire.refusals import bad_request, conflict, not_found

__all__ = ["Library", "Tape"]

# What an operator may set by hand; which ones the appliance allows is not public.
_SETTABLE = ("NORMAL", "OFFLINE", "LOST", "BAD")
_TRANSIENT = frozenset(INTERRUPTED)
_NO_MEDIA = "WRITES_STALLED_DUE_TO_NO_FREE_MEDIA_REMAINING"


class Library:
    """All tapes. Methods are called with the store's lock held; `changed` is notified when a tape comes free.

    `delay`: seconds that the robot takes for an ejection or a return, in all. `slots`, `ports`: how many tapes its
    storage slots and its entry/exit slots hold.
    """

    def __init__(
        self,
        *,
        store: Store,
        beans: Beans,
        clock: Clock,
        directory: Path,
        changed: threading.Condition,
        failures: Failures,
        delay: Callable[[], float],
        slots: int,
        ports: int,
    ) -> None:
        self._store = store
        self._beans = beans
        self._clock = clock
        self._directory = directory
        self._failures = failures
        self.changed = changed
        directory.mkdir(exist_ok=True)
        self.tapes: dict[int, Tape] = {}
        self.in_use: set[int] = set()
        self.robot = Robot(self, store, clock, failures, delay=delay, slots=slots, ports=ports)
        # Called with a tape that a drive has done with.
        self.released: Callable[[Tape], None] = lambda _: None
        # Whether something is to be done to tapes at certain times, so that somebody has to look at the clock.
        self.is_watched: Callable[[], bool] = lambda: False
        # The storage domains that found no tape with room the last time they looked.
        self._short: set[str] = set()
        # Told of each tape that is written down.
        self.watch: Callable[[Tape], None] | None = None
        for row in store.db.execute(f"SELECT {', '.join(COLUMNS)} FROM tapes ORDER BY n"):  # noqa: S608 - constants
            tape = Tape(*row)
            tape.state = INTERRUPTED.get(tape.state, tape.state)
            self.tapes[tape.n] = tape
        self.robot.resume()

    def path(self, tape: Tape | str) -> str:
        """Return where the bytes of a tape are, or of one with this bar code."""
        return str(self._directory / f"{tape if isinstance(tape, str) else tape.bar_code}.tape")

    def index_path(self, tape: Tape | str) -> str:
        """Return where the index of a tape is whose contents are another appliance's, or nobody's."""
        return f"{self.path(tape).removesuffix('.tape')}.index"

    def get(self, identifier: str) -> Tape | None:
        """Return the tape with this UUID or bar code, or None."""
        for tape in self.tapes.values():
            if identifier in (tape.bar_code, tape.id) or identifier.lower() == tape.id:
                return tape
        return None

    def find(self, identifier: str) -> Tape:
        """Return the tape with this UUID or bar code; a 404 when there is none."""
        tape = self.get(identifier)
        if tape is None:
            raise not_found("Tape", identifier)
        return tape

    def domain(self, tape: Tape) -> Fields | None:
        """Return the storage domain that a tape is assigned to, None when it is to none."""
        return None if tape.domain_id is None else self._beans.get("StorageDomain", tape.domain_id)

    def member(self, domain_id: str, tape: Tape) -> Fields | None:
        """Return the member of a storage domain that a tape is of, by its partition and type; None when it is of none.

        A member without a type takes all of its partition's.
        """
        for member in self._beans.all("StorageDomainMember"):
            of_domain = member["StorageDomainId"] == domain_id and member.get("TapePartitionId") == tape.partition_id
            if of_domain and member.get("TapeType") in (None, tape.type):
                return member
        return None

    def add(
        self, tape_id: str, bar_code: str, kind: str, partition_id: str, capacity: int, *, outside: bool = False
    ) -> Tape:
        """Put a new, empty tape into a storage slot; with `outside`, know one that is in somebody's hand."""
        with self._store.writing() as db:
            number = self._store.numbers("tapes", 1)
            state, place = ("OFFLINE", OUTSIDE) if outside else ("NORMAL", SLOT)
            db.execute(
                "INSERT INTO tapes (n, id, bar_code, type, serial, partition_id, capacity, state, place) "
                "VALUES (?,?,?,?,?,?,?,?,?)",
                (number, tape_id, bar_code, kind, f"SIM{number:07d}", partition_id, capacity, state, place),
            )
            row = db.execute(f"SELECT {', '.join(COLUMNS)} FROM tapes WHERE n = ?", (number,)).fetchone()  # noqa: S608 - constants
        tape = Tape(*row)
        self.tapes[number] = tape
        return tape

    def save(self, tape: Tape) -> None:
        """Write a tape's row."""
        assignments = ", ".join(f"{name} = ?" for name in COLUMNS[1:])
        values = [getattr(tape, name) for name in COLUMNS[1:]]
        with self._store.writing() as db:
            db.execute(f"UPDATE tapes SET {assignments} WHERE n = ?", (*values, tape.n))  # noqa: S608 - constants
            self._store.events.tell(TapeChanged(tape))
        if self.watch is not None:
            self.watch(tape)

    def enter(self, tape: Tape, state: str) -> None:
        """Let a tape come into another state, and write it down."""
        tape.enter(state)
        self.save(tape)
        self.changed.notify_all()

    # What operators do.

    def modify(
        self, tape: Tape, *, label: str | None, location: str | None, state: str | None, role: str | None
    ) -> None:
        """Change what is given; an empty label or location removes it. A 400 for a state nobody may set.

        Saying where a tape is does not move it: a 409 for calling one that is outside NORMAL or BAD, and for any state
        while a drive or the robot is at the tape; one that lies in its slot and is said to be LOST may be found again.
        """
        if state is not None and state.upper() not in _SETTABLE:
            raise bad_request(f"The state of a tape cannot be set to '{state}'.")
        if role == "TEST" and tape.domain_id is not None:
            raise bad_request(f"The tape {tape.bar_code} belongs to a storage domain: no drive may be tested with it.")
        if state is not None and state.upper() != tape.state:  # the last that may be refused: it cannot be taken back
            self._say_state(tape, state.upper())
        if label is not None:
            tape.eject_label = label or None
        if location is not None:
            tape.eject_location = location or None
        if role is not None:
            tape.role = role
        self.save(tape)
        self.changed.notify_all()

    def _say_state(self, tape: Tape, state: str) -> None:
        if tape.state in _TRANSIENT or tape.place == HAND or (state not in ABSENT and tape.place != SLOT):
            raise conflict(
                f"Conflict[409]: The state of the tape {tape.bar_code} is {tape.state}, "
                f"and cannot be set to {state} now."
            )
        tape.enter(state)
        if not tape.present:
            self.robot.left(tape)

    def forget(self, tape: Tape) -> None:
        """Strike a LOST tape from the inventory with the copies on it; a 409 in any other state, or in a drive."""
        if tape.state != "LOST":
            raise conflict(f"Conflict[409]: The tape {tape.bar_code} is {tape.state}, not LOST.")
        if tape.n in self.in_use:
            raise conflict(f"Conflict[409]: The tape {tape.bar_code} is in a drive.")
        with self._store.writing() as db:
            self.drop_copies(db, tape)
            db.execute("DELETE FROM tapes WHERE n = ?", (tape.n,))
        self.tapes.pop(tape.n)
        for path in (self.path(tape), self.index_path(tape)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def drop_copies(self, db: sqlite3.Connection, tape: Tape) -> int:
        """Forget every copy on a tape, inside a transaction; return how many blobs have no bytes left anywhere.

        A blob whose only bytes are in the cache by now may not leave it any more.
        """
        alone = (
            "SELECT b.n, b.cached FROM copies c JOIN blobs b ON b.n = c.blob WHERE c.tape = ?1 AND NOT EXISTS "
            "(SELECT 1 FROM copies o WHERE o.blob = c.blob AND o.tape <> ?1 AND o.suspect = 0)"
        )
        if db.execute("SELECT 1 FROM copies WHERE tape = ? LIMIT 1", (tape.n,)).fetchone() is None:
            return 0
        self._store.events.tell(TapeForgotten(tape))
        lost = 0
        for blob, cached in db.execute(alone, (tape.n,)).fetchall():
            if cached:
                db.execute("UPDATE blobs SET persisted = 0 WHERE n = ?", (blob,))
            else:
                lost += 1
                self._store.events.tell(BlobLost(blob))
        db.execute("DELETE FROM copies WHERE tape = ?", (tape.n,))
        return lost

    def clear(self, db: sqlite3.Connection, tape: Tape) -> int:
        """Make an empty tape of one, in a transaction, but for its file; return how many blobs are lost by that.

        Where the storage domain allocates its media for good, the tape stays with it.
        """
        lost = self.drop_copies(db, tape)
        domain = self.domain(tape)
        if domain is None or not domain.get("SecureMediaAllocation"):
            tape.domain_id = tape.member_id = tape.bucket_id = None
        tape.written, tape.full = 0, False
        tape.verified = tape.partly_verified = tape.verify_pending = tape.description = None
        return lost

    # What the robot and the drives do.

    def move(self) -> float | None:
        """Let the robot do what is due; return the seconds until its next move, None when it has none."""
        return self.robot.move()

    def tapes_with_room(
        self, domain_id: str, bucket_id: str | None, length: int, *, but: Tape | None = None
    ) -> list[Tape]:
        """Return the tapes that may take the next `length` bytes of a storage domain, those in use among them.

        Tapes of the domain that have begun come first, then empty ones that belong to nobody. With a `bucket_id` a
        tape takes that bucket's data alone. That no tape has room is put on record.
        """
        fitting = [
            tape
            for tape in self.tapes.values()
            if tape.writable and tape is not but and tape.available >= length and self.takes(tape, domain_id, bucket_id)
        ]
        if not fitting:
            self._short.add(domain_id)
            name = (self._beans.get("StorageDomain", domain_id) or {}).get("Name", domain_id)
            self._failures.domain(_NO_MEDIA, domain_id, f"The storage domain '{name}' has no tape left to write to.")
        elif domain_id in self._short:
            self._short.discard(domain_id)
            self._failures.domain_mended(_NO_MEDIA, domain_id)
        return sorted(fitting, key=lambda tape: (tape.domain_id is None, tape.n))

    def tape_to_write(
        self, domain_id: str, bucket_id: str | None, length: int, *, but: Tape | None = None
    ) -> Tape | None:
        """Return the first of those tapes that no drive uses, and hold it; None when there is none."""
        free = [
            tape for tape in self.tapes_with_room(domain_id, bucket_id, length, but=but) if tape.n not in self.in_use
        ]
        if not free:
            return None
        self.in_use.add(free[0].n)
        return free[0]

    def takes(self, tape: Tape, domain_id: str, bucket_id: str | None) -> bool:
        """Whether a tape is a storage domain's, or may become it; with a `bucket_id`, that bucket's alone."""
        if tape.domain_id is None:
            return self.member(domain_id, tape) is not None
        return tape.domain_id == domain_id and tape.bucket_id == bucket_id

    def release(self, tape: Tape) -> None:
        """Give a tape back that a drive held."""
        self.in_use.discard(tape.n)
        self.released(tape)
        self.changed.notify_all()
