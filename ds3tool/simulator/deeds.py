"""Writes into the diary what drives, robot and tapes do: told by the ledger of waiting and by the library."""

from __future__ import annotations

from ds3tool.simulator.diary import Diary
from ds3tool.simulator.machine import Machine
from ds3tool.simulator.tapes.ledger import Entry, Spent
from ds3tool.simulator.tapes.tape import Tape
from ds3tool.sizes import format_size

# What a drive does that somebody who looks on wants to know; seeks and waits are in the ledger alone.
_WORDS = {
    Spent.MOUNT: "mounted",
    Spent.UNLOAD: "put away",
    Spent.READ: "read",
    Spent.WRITE: "wrote",
    Spent.VERIFY: "verified",
    Spent.OTHER: "worked on",
}
_WAYS = {Spent.READ: "from", Spent.WRITE: "to"}


class Deeds:
    """Listens to one machine from its making on. Called with the store's lock held, or in a drive's thread."""

    def __init__(self, machine: Machine, diary: Diary) -> None:
        self._machine = machine
        self._diary = diary
        self._seen = {tape.n: (tape.state, tape.place) for tape in machine.library.tapes.values()}
        machine.ledger.watch = self.spent
        machine.library.watch = self.saved

    def spent(self, what: Spent, entry: Entry, tape: str | None, by: str | None) -> None:
        """Note what a drive has done; `by` is its bean's id."""
        word = _WORDS.get(what)
        if word is None or by is None:
            return
        bean = self._machine.beans.get("TapeDrive", by)
        name = f"drive {by if bean is None else bean['SerialNumber']}"
        pieces = f"{entry.count:,} {'piece' if entry.count == 1 else 'pieces'}"
        much = f" {format_size(entry.bytes)} in {pieces} {_WAYS.get(what, 'on')}" if entry.bytes else ""
        seconds = entry.seconds or None
        self._diary.deed(name, f"{word}{much}", at=self._machine.clock.now(), tape=tape, seconds=seconds)

    def saved(self, tape: Tape) -> None:
        """Note into which state a tape has come, and where it is, when either is another than before."""
        before, now = self._seen.get(tape.n), (tape.state, tape.place)
        if before != now:
            self._seen[tape.n] = now
            at = self._machine.clock.now()
            self._diary.deed("library", f"is {tape.state} ({tape.place})", at=at, tape=tape.bar_code)
