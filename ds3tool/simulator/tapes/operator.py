"""The operator: the hands that put tapes into the library and take them out, and that break and mend things.

`Operator(machine)` is made anew whenever one is needed: it has no state of its own. Tapes are named by bar code or id,
drives by serial number or id. Every method takes the store's lock itself, returns what it changed, and raises a
Refusal (409: the thing is not where the hand reaches for it, or there is no room; 404: there is no such thing;
400: it cannot be) with nothing changed.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

from ds3tool.simulator.contract import words
from ds3tool.simulator.machine import Machine
from ds3tool.simulator.records.beans import Fields
from ds3tool.simulator.settings import TAPE_TYPE
from ds3tool.simulator.tapes.index import (
    BadIndexError,
    IndexedBlob,
    IndexedFile,
    TapeLabel,
    read_label,
    write_index,
)
from ds3tool.simulator.tapes.mechanics import GENERATIONS
from ds3tool.simulator.tapes.media import flip_bit, opened
from ds3tool.simulator.tapes.tape import OUTSIDE, Tape
from ds3tool.simulator.wire.refusals import bad_request, conflict, not_found

CLEANINGS = 50
_CLEANING_TYPE = "LTO_CLEANING_TAPE"
_SUFFIXES = {kind: each.suffix for kind, each in GENERATIONS.items()} | {_CLEANING_TYPE: "L1", "LTOM8": "M8"}
_BATCH = 500


class Operator:
    """What hands do at one machine's library."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._library = machine.library
        self._robot = machine.library.robot
        self._lock = machine.store.lock

    # Tapes in and out.

    def attend(self, attended: bool) -> None:
        """Be there from now on, or not: whether ejected tapes are taken out of the entry/exit slots at once.

        While somebody attends, `online` of an EJECTED tape also means that it has been put back. Remembered over a
        restart; a new appliance is attended.
        """
        with self._lock:
            self._robot.attend(attended)

    def insert_blank(
        self, bar_code: str | None = None, tape_type: str = TAPE_TYPE, *, shelf: bool = False, online: bool = True
    ) -> Tape:
        """Put a new, empty tape in: through an entry/exit slot, or with `shelf` into a storage slot by the door.

        `bar_code` None takes the next free one. With `online` it is sent on from the entry/exit slot, else it stays
        there as OFFLINE.
        """
        return self._insert_new(bar_code, tape_type, None, shelf=shelf, online=online)

    def insert_cleaning(
        self, bar_code: str | None = None, *, uses: int = CLEANINGS, shelf: bool = False, online: bool = True
    ) -> Tape:
        """Put a cleaning tape in that cleans `uses` times."""
        if uses < 1:
            raise bad_request(f"A cleaning tape cannot clean {uses} times.")
        return self._insert_new(bar_code, _CLEANING_TYPE, uses, shelf=shelf, online=online)

    def insert(
        self, path: Path | str, *, bar_code: str | None = None, shelf: bool = False, online: bool = True
    ) -> Tape:
        """Put in a tape that `export` or `write_files` made: `path` is its index file, or a folder with one index.

        Its bytes and its index are copied. `bar_code` is a new one to be stuck over its own, which another tape may
        have here. A bar code that is known here as being outside is that tape's return, unless copies are on it and it
        is not the one that comes: a 409.
        """
        index = _index_below(Path(path))
        label = self._label(index)
        code = bar_code or label.bar_code
        self._check_type(code, label.type)
        with self._lock:
            known = self._library.get(code)
            self._refuse_duplicate(known, code)
            if known is not None:
                self._refuse_another(known, label)
            self._check_room(shelf=shelf)
        shutil.copyfile(index.with_suffix(".tape"), self._library.path(code))
        shutil.copyfile(index, self._library.index_path(code))
        with self._lock:
            tape = known or self._new_tape(code, label.type, label.capacity)
            if known is None:
                tape.serial = label.serial
            tape.damaged = False
            self._put_in(tape, shelf=shelf, online=online)
        return tape

    def take(self, tape: str) -> Tape:
        """Take a tape out of its entry/exit slot: ejected, or put in and not yet onlined. It is EJECTED then."""
        with self._lock:
            found = self._library.find(tape)
            self._robot.take_out(found)
            return found

    def bring_back(self, tape: str, *, shelf: bool = False, online: bool = False) -> Tape:
        """Put a tape back that is outside: into an entry/exit slot (OFFLINE until `online`), or by the door."""
        with self._lock:
            found = self._library.find(tape)
            if found.place != OUTSIDE:
                raise conflict(f"Conflict[409]: The tape {found.bar_code} is not outside: {found.place}.")
            self._put_in(found, shelf=shelf, online=online)
            return found

    def remove(self, tape: str) -> Tape:
        """Take a tape out of its storage slot by the door, unasked: it is LOST, and a partition failure tells so."""
        with self._lock:
            found = self._library.find(tape)
            self._robot.snatch(found)
            return found

    # What is on them.

    def export(self, tape: str, folder: Path | str) -> Path:
        """Copy a tape that is outside to `BAR_CODE.tape` and `BAR_CODE.index` in a folder, for another appliance.

        Returns the index. The folder is made when it is not there; OSError when the files cannot be written.
        """
        with self._lock:
            found = self._library.find(tape)
            if found.place != OUTSIDE:
                raise conflict(f"Conflict[409]: The tape {found.bar_code} is not outside: {found.place}.")
        Path(folder).mkdir(parents=True, exist_ok=True)
        content, index = Path(folder) / f"{found.bar_code}.tape", Path(folder) / f"{found.bar_code}.index"
        source = Path(self._library.path(found))
        if source.exists():
            shutil.copyfile(source, content)
        else:
            content.touch()
        foreign = Path(self._library.index_path(found))
        if foreign.exists():
            shutil.copyfile(foreign, index)
        else:
            label = TapeLabel(
                self._machine.instance_id,
                *(found.id, found.bar_code, found.serial, found.type, found.capacity, found.written),
            )
            write_index(index, label, self._blobs_on(found))
        return index

    def write_files(
        self, folder: Path | str, files: Path | str, bar_code: str | None = None, tape_type: str = TAPE_TYPE
    ) -> Path:
        """Make a tape of somebody else's in `folder`, with all files below `files` on it, as LTFS would have them.

        Names are the paths below `files`, with slashes. Returns the index, to be given to `insert`. OSError when a
        file cannot be read or written.
        """
        with self._lock:
            code = bar_code or self._free_bar_code(tape_type)
        self._check_type(code, tape_type)
        Path(folder).mkdir(parents=True, exist_ok=True)
        index, entries, at = Path(folder) / f"{code}.index", list[IndexedFile](), 0
        with index.with_suffix(".tape").open("wb") as target:
            for source in sorted(each for each in Path(files).rglob("*") if each.is_file()):
                with source.open("rb") as content:
                    shutil.copyfileobj(content, target)
                length = target.tell() - at
                entries.append(IndexedFile(source.relative_to(files).as_posix(), length, at))
                at += length
        label = TapeLabel(None, self._machine.new_id(), code, f"LTFS-{code}", tape_type, self._capacity(tape_type), at)
        write_index(index, label, entries)
        return index

    def flip_bits(self, tape: str, count: int = 1, seed: int | None = None) -> int:
        """Change one bit in each of `count` copies on a tape, chosen by the seed; return how many there were to change.

        The appliance finds out when it reads them.
        """
        with self._lock:
            found = self._library.find(tape)
            rows = self._machine.store.db.execute(
                "SELECT c.position, b.length FROM copies c JOIN blobs b ON b.n = c.blob "
                "WHERE c.tape = ? AND b.length > 0 ORDER BY c.position",
                (found.n,),
            ).fetchall()
            chance = random.Random(seed)  # noqa: S311 - damage, not secrets
            chosen = chance.sample(rows, min(max(0, count), len(rows)))
            if chosen:
                with opened(self._library.path(found), os.O_RDWR) as target:
                    for position, length in chosen:
                        flip_bit(target, position + chance.randrange(length), 1 << chance.randrange(8))
            return len(chosen)

    def damage(self, tape: str) -> Tape:
        """Make a tape unreadable as a whole: the next drive that loads it finds it BAD."""
        with self._lock:
            found = self._library.find(tape)
            found.damaged = True
            self._library.save(found)
            return found

    def protect(self, tape: str, protected: bool = True) -> Tape:
        """Set or unset a tape's tab against writing; the appliance sees it when it next inspects the tape."""
        with self._lock:
            found = self._library.find(tape)
            found.tab = protected
            self._library.save(found)
            return found

    # Drives.

    def fail_drive(self, drive: str, message: str = "The drive does not answer.") -> Fields:
        """Let a drive fail: it is in ERROR and does nothing until it is mended."""
        with self._lock:
            found = self._drive(drive)
            self._machine.drives.fail(str(found["Id"]), message)
            return self._drive(str(found["Id"]))

    def mend_drive(self, drive: str) -> Fields:
        """Let a drive work again, cleaned as well."""
        with self._lock:
            found = self._drive(drive)
            self._machine.drives.repair(str(found["Id"]))
            return self._change_drive(found, {"CleaningRequired": False})

    def soil_drive(self, drive: str) -> Fields:
        """Let a drive ask for cleaning: it gets it where there is a cleaning tape."""
        with self._lock:
            found = self._drive(drive)
            self._machine.workshop.clean(found)
            return self._drive(str(found["Id"]))

    def unplug_drive(self, drive: str) -> Fields:
        """Take a drive away: it is OFFLINE, and may be deleted from the inventory."""
        with self._lock:
            found = self._drive(drive)
            self._machine.drives.fail(str(found["Id"]), "The drive is not there.")
            message = f"The drive {found['SerialNumber']} is not there."
            self._machine.failures.partition("TAPE_DRIVE_MISSING", str(found["PartitionId"]), message)
            return self._change_drive(found, {"State": "OFFLINE"})

    # How.

    def _drive(self, identifier: str) -> Fields:
        for each in self._machine.beans.all("TapeDrive"):
            if identifier in (each["SerialNumber"], each["Id"]) or identifier.lower() == each["Id"]:
                return each
        raise not_found("TapeDrive", identifier)

    def _change_drive(self, drive: Fields, changes: Fields) -> Fields:
        changed = self._machine.beans.update("TapeDrive", str(drive["Id"]), changes)
        self._library.changed.notify_all()
        return changed

    def _insert_new(self, bar_code: str | None, tape_type: str, uses: int | None, *, shelf: bool, online: bool) -> Tape:
        with self._lock:
            code = bar_code or self._free_bar_code(tape_type)
            self._check_type(code, tape_type)
            self._refuse_duplicate(self._library.get(code), code, new=True)
            self._check_room(shelf=shelf)
            tape = self._new_tape(code, tape_type, 0 if uses is not None else self._capacity(tape_type))
            tape.uses = uses
            self._put_in(tape, shelf=shelf, online=online)
            return tape

    def _put_in(self, tape: Tape, *, shelf: bool, online: bool) -> None:
        self._robot.put_in(tape, onto_shelf=shelf)
        if online and not shelf:
            self._robot.online(tape)

    def _new_tape(self, bar_code: str, tape_type: str, capacity: int) -> Tape:
        partition = str(self._machine.beans.all("TapePartition")[0]["Id"])
        return self._library.add(self._machine.new_id(), bar_code, tape_type, partition, capacity, outside=True)

    def _refuse_duplicate(self, known: Tape | None, bar_code: str, *, new: bool = False) -> None:
        if known is not None and (new or known.place != OUTSIDE):
            message = f"The bar code {bar_code} is on two tapes."
            self._machine.failures.partition("DUPLICATE_TAPE_BAR_CODES_DETECTED", known.partition_id, message)
            raise conflict(f"Conflict[409]: {message} One of them is in here: put the other in under another bar code.")

    def _refuse_another(self, known: Tape, label: TapeLabel) -> None:
        """Refuse to take another cartridge for one that is outside and holds copies: their bytes would be gone."""
        if label.owner == self._machine.instance_id and label.tape == known.id:
            return
        if self._machine.store.db.execute("SELECT 1 FROM copies WHERE tape = ?", (known.n,)).fetchone() is not None:
            message = f"The bar code {known.bar_code} is on two tapes: one that is outside holds data."
            self._machine.failures.partition("DUPLICATE_TAPE_BAR_CODES_DETECTED", known.partition_id, message)
            raise conflict(f"Conflict[409]: {message} To give that up, say that it is LOST, and strike it.")

    def _check_room(self, *, shelf: bool) -> None:
        if (self._robot.free_slots() if shelf else self._robot.free_ports()) < 1:
            raise conflict(f"Conflict[409]: There is no free {'storage' if shelf else 'entry/exit'} slot.")

    def _check_type(self, bar_code: str, tape_type: str) -> None:
        if tape_type not in (words("TapeType") or ()):
            raise bad_request(f"There are no tapes of the type '{tape_type}'.")
        if not bar_code.isascii() or not bar_code.isalnum() or len(bar_code) > 32:
            raise bad_request(f"'{bar_code}' cannot be a bar code: letters and digits, at most 32.")

    def _free_bar_code(self, tape_type: str) -> str:
        suffix, number = _SUFFIXES.get(tape_type, "XX"), 1
        stem = "CLN" if tape_type == _CLEANING_TYPE else "SIM"
        while self._library.get(f"{stem}{number:03d}{suffix}") is not None:
            number += 1
        return f"{stem}{number:03d}{suffix}"

    def _capacity(self, tape_type: str) -> int:
        """Return the bytes of a new tape: those that this appliance gives its own, or those of another generation."""
        generation = GENERATIONS.get(tape_type)
        if generation is None or any(tape.type == tape_type for tape in self._library.tapes.values()):
            return self._machine.settings.tape_capacity
        return generation.capacity

    def _label(self, index: Path) -> TapeLabel:
        try:
            label = read_label(index)
        except BadIndexError as error:
            raise bad_request(f"{index} is no tape: {error}.") from error
        if label is None or not index.with_suffix(".tape").is_file():
            raise bad_request(f"{index} is no tape: there are no bytes beside it.")
        self._check_type(label.bar_code, label.type)
        return label

    def _blobs_on(self, tape: Tape) -> Iterator[IndexedBlob]:
        """Yield what is good on a tape in its order; the lock is held for some hundreds at a time."""
        last = (-1, -1)
        while True:
            with self._lock:
                rows = self._machine.store.db.execute(_ON_TAPE, (tape.n, *last, _BATCH)).fetchall()
                blobs = [self._indexed(row) for row in rows]
            if not rows:
                return
            yield from blobs
            last = (rows[-1][0], rows[-1][1])

    def _indexed(self, row: tuple[object, ...]) -> IndexedBlob:
        position, _, bucket, number, name, size, created, latest, etag, metadata, *blob, version = row
        offset, length, checksum_type, checksum = blob
        assert isinstance(number, int)
        assert isinstance(checksum, bytes)
        values = (bucket, name, version or self._machine.objects.ids.of(number), size, created, bool(latest), etag)
        told = json.loads(metadata) if isinstance(metadata, str) else None
        return IndexedBlob(*values, told, offset, length, checksum_type, checksum.hex(), position)  # type: ignore[arg-type] # the schema types the columns


_ON_TAPE = (
    "SELECT c.position, c.blob, k.name, o.n, o.name, o.size, o.created, o.latest, o.etag, o.metadata, "
    "b.offset, b.length, b.checksum_type, b.checksum, (SELECT i.version FROM imports i WHERE i.object = o.n) "
    "FROM copies c JOIN blobs b ON b.n = c.blob JOIN objects o ON o.n = b.object JOIN buckets k ON k.n = o.bucket "
    "WHERE c.tape = ? AND (c.position, c.blob) > (?, ?) AND c.suspect = 0 AND o.created IS NOT NULL "
    "ORDER BY c.position, c.blob LIMIT ?"
)


def _index_below(path: Path) -> Path:
    """Return the index that a path names."""
    if not path.is_dir():
        return path
    found = sorted(path.glob("*.index"))
    if len(found) != 1:
        raise bad_request(f"In the folder {path} there are {len(found)} tapes instead of one; name its index.")
    return found[0]
