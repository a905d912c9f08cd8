"""Reads all copies on a tape, to know which of them are still what was written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ds3tool.protocol.model import ChecksumType
from ds3tool.simulator.events import BlobLost
from ds3tool.simulator.tapes.ledger import Spent
from ds3tool.simulator.tapes.media import BadCopyError, BlobOnTape, ClosingError, load, opened

if TYPE_CHECKING:
    import sqlite3

    from ds3tool.simulator.machine import Machine
    from ds3tool.simulator.tapes.drive import Drive
    from ds3tool.simulator.tapes.tape import Tape

_BATCH = 200


def verify(machine: Machine, tape: Tape, drive: Drive) -> None:
    """Read every copy on a tape that is to be verified; those that are damaged become suspect.

    Where the data path says that the last per cents are enough (`PartiallyVerifyLastPercentOfTapes`) and the
    verification was the appliance's own idea, which a BACKGROUND one is, no more than those are read.
    """
    with machine.store.lock:
        priority = tape.verify_pending
        if priority is None or tape.state != "NORMAL":
            return
        last_percent = _last_percent(machine) if priority == "BACKGROUND" else None
    start = 0 if last_percent is None else tape.written * (100 - last_percent) // 100
    bad, first = _read_all(machine, tape, drive, start)
    drive.settle()
    with machine.store.writing():
        if tape.verify_pending is None:
            return
        tape.verify_pending, tape.accessed = None, machine.clock.now()
        if last_percent is None:
            tape.verified = tape.accessed
        else:
            tape.partly_verified = tape.accessed
        if bad:
            message = f"{bad} blobs on the tape {tape.bar_code} are damaged, the first of them {first}."
            machine.failures.tape("VERIFY_FAILED", tape, message, drive.id)
        if tape.damaged:
            tape.enter("BAD")
        machine.library.save(tape)
        machine.library.changed.notify_all()


def _last_percent(machine: Machine) -> int | None:
    backend = machine.beans.all("DataPathBackend")
    value = backend[0].get("PartiallyVerifyLastPercentOfTapes") if backend else None
    return None if value is None else min(100, max(0, int(value)))


def _read_all(machine: Machine, tape: Tape, drive: Drive, start: int) -> tuple[int, str]:
    """Read the copies from `start` on in the tape's order; return how many are bad, and what the first one is of."""
    last, bad, first = (start, -1), 0, ""
    while True:
        with machine.store.lock:
            rows = machine.store.db.execute(_COPIES, (tape.n, *last, _BATCH)).fetchall()
        if not rows:
            return bad, first
        wrong = [row for row in rows if not is_good(machine, tape, drive, blob_of(row))]
        last = (rows[-1][1], rows[-1][0])
        if wrong:
            with machine.store.writing() as db:
                for blob, *_ in wrong:
                    distrust(machine, db, blob, tape)
                bad += len(wrong)
                first = first or _name(db, wrong[0][0])


_COPIES = (
    "SELECT b.n, c.position, b.length, b.checksum_type, b.checksum FROM copies c JOIN blobs b ON b.n = c.blob "
    "WHERE c.tape = ? AND (c.position, c.blob) > (?, ?) ORDER BY c.position, c.blob LIMIT ?"
)


def blob_of(row: tuple[int, int, int, str, bytes]) -> BlobOnTape:
    """Return the blob of a row of (number, position, length, checksum type, checksum)."""
    blob, position, length, kind, checksum = row
    return BlobOnTape(blob, length, ChecksumType(kind), checksum, position)


def is_good(machine: Machine, tape: Tape, drive: Drive, each: BlobOnTape) -> bool:
    """Read a copy and tell whether its bytes are those that were stored; takes the drive's time."""
    drive.check()
    drive.locate(each.position)
    drive.stream(each.length, Spent.VERIFY)
    if tape.damaged:
        return False
    if not each.length:
        return True
    try:
        with opened(machine.library.path(tape), os.O_RDONLY) as source:
            load(source, each, None, drive.stopped, lambda: False)
    except (BadCopyError, FileNotFoundError):
        return False
    except ClosingError:
        drive.check()
        raise
    return True


def distrust(machine: Machine, db: sqlite3.Connection, blob: int, tape: Tape) -> None:
    """Make a copy suspect; when no other good one is left and the cache has it not, the blob is lost."""
    changed = db.execute(
        "UPDATE copies SET suspect = 1 WHERE blob = ? AND tape = ? AND suspect = 0", (blob, tape.n)
    ).rowcount
    left = db.execute(
        "SELECT 1 FROM blobs b WHERE b.n = ?1 AND (b.cached = 1 OR EXISTS "
        "(SELECT 1 FROM copies c WHERE c.blob = ?1 AND c.suspect = 0))",
        (blob,),
    ).fetchone()
    if changed and left is None:
        machine.store.events.tell(BlobLost(blob))


def _name(db: sqlite3.Connection, blob: int) -> str:
    row = db.execute(
        "SELECT o.name, b.offset FROM blobs b JOIN objects o ON o.n = b.object WHERE b.n = ?", (blob,)
    ).fetchone()
    return f"blob {blob}" if row is None else f"that of '{row[0]}' at offset {row[1]}"
