"""Wins back what deleted objects left on a tape: what lives is copied to other tapes, then the tape is emptied.

A real appliance reads into its cache with one drive and writes with another. Here one drive reads and the bytes go
straight to the other tape, whose writing takes the time of the same drive: the hours come out alike, the cache is
left alone, and one drive is enough.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from ds3tool.simulator.tapes.ledger import Spent
from ds3tool.simulator.tapes.media import BlobOnTape, opened
from ds3tool.simulator.tapes.verification import blob_of, distrust, is_good

if TYPE_CHECKING:
    from ds3tool.simulator.machine import Machine
    from ds3tool.simulator.tapes.drive import Drive
    from ds3tool.simulator.tapes.tape import Tape

_BATCH = 200
_AT_ONCE = 64 << 20
_LOOK_AGAIN_SECONDS = 60.0
_STATE = "AUTO_COMPACTION_IN_PROGRESS"
_COPIES = (
    "SELECT b.n, c.position, b.length, b.checksum_type, b.checksum FROM copies c JOIN blobs b ON b.n = c.blob "
    "WHERE c.tape = ? AND c.suspect = 0 ORDER BY c.position, c.blob LIMIT ?"
)


def compact(machine: Machine, tape: Tape, drive: Drive) -> None:
    """Move what lives on a tape to others of its storage domain, a batch at a time, and empty it.

    Where no other tape has room the tape stays as it is then, NORMAL. Suspect copies are not moved: with the last good
    copy elsewhere they go with the tape, and a tape that has the only copy of a blob, however bad, is not emptied.
    """
    while True:
        with machine.store.lock:
            if tape.state != _STATE or tape.domain_id is None:
                return
            rows = machine.store.db.execute(_COPIES, (tape.n, _BATCH)).fetchall()
            if not rows:
                break
            target = _target(machine, tape, drive, rows[0][2])
            if target is None:
                machine.library.enter(tape, "NORMAL")
                return
        try:
            _move(machine, tape, target, drive, [blob_of(row) for row in rows])
        finally:
            with machine.store.lock:
                machine.library.release(target)
    _finish(machine, tape, drive)


def _target(machine: Machine, tape: Tape, drive: Drive, length: int) -> Tape | None:
    """Return a tape to copy to, held, waiting while all that have room are in use; None when none has."""
    library = machine.library
    assert tape.domain_id is not None
    while library.tapes_with_room(tape.domain_id, tape.bucket_id, length, but=tape):
        target = library.tape_to_write(tape.domain_id, tape.bucket_id, length, but=tape)
        if target is not None:
            return target
        machine.clock.wait(library.changed, _LOOK_AGAIN_SECONDS)
        drive.check()
    return None


def _move(machine: Machine, tape: Tape, target: Tape, drive: Drive, blobs: list[BlobOnTape]) -> None:
    """Copy blobs to the target until it is full, and say so in the store."""
    moved: list[tuple[BlobOnTape, int]] = []
    damaged: list[BlobOnTape] = []
    at, full = target.written, False
    with opened(machine.library.path(target), os.O_RDWR | os.O_CREAT) as sink:
        for each in blobs:
            if at + each.length > target.capacity:
                full = True
                break
            if not is_good(machine, tape, drive, each):
                damaged.append(each)
                continue
            if each.length:
                with opened(machine.library.path(tape), os.O_RDONLY) as source:
                    _copy(source, each, sink, at, drive)
                drive.spend(Spent.WRITE, drive.mechanics.stream_seconds(each.length), moved=each.length)
            moved.append((each, at))
            at += each.length
    with machine.store.writing() as db:
        if not target.keeps:  # it was said to be gone or BAD meanwhile, and what is on it with it
            return
        for each, position in moved:
            db.execute(
                "UPDATE copies SET tape = ?, position = ? WHERE blob = ? AND tape = ?",
                (target.n, position, each.blob, tape.n),
            )
        for each in damaged:
            distrust(machine, db, each.blob, tape)
        target.written, target.full = at, target.full or full
        assert tape.domain_id is not None
        member = machine.library.member(tape.domain_id, target)
        target.domain_id, target.bucket_id = tape.domain_id, tape.bucket_id
        target.member_id = target.member_id or (None if member is None else str(member["Id"]))
        target.modified = target.accessed = machine.clock.now()
        machine.library.save(target)


def _copy(source: int, each: BlobOnTape, sink: int, at: int, drive: Drive) -> None:
    done = 0
    while done < each.length:
        drive.check()
        left = min(each.length - done, _AT_ONCE)
        step = os.copy_file_range(source, sink, left, each.position + done, at + done)
        if not step:
            raise OSError(f"the tape ends {each.length - done} bytes before a blob does")
        done += step


def _finish(machine: Machine, tape: Tape, drive: Drive) -> None:
    drive.settle()
    with machine.store.writing() as db:
        if tape.state != _STATE:
            return
        if db.execute(_ONLY_HERE, (tape.n,)).fetchone() is not None:
            machine.library.enter(tape, "NORMAL")
            return
        machine.library.clear(db, tape)
        tape.modified = machine.clock.now()
        machine.library.enter(tape, "NORMAL")
    # What is left in the file, should the appliance die here, lies behind what is written, and is written over.
    with contextlib.suppress(FileNotFoundError):
        os.truncate(machine.library.path(tape), 0)


_ONLY_HERE = (
    "SELECT 1 FROM copies c WHERE c.tape = ?1 AND NOT EXISTS "
    "(SELECT 1 FROM copies o WHERE o.blob = c.blob AND o.tape <> ?1 AND o.suspect = 0)"
)
