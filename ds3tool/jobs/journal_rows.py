"""What a journal holds of each plan, row by row: its objects, and its blobs that are through, there, or under way."""

from __future__ import annotations

import hashlib
import sqlite3
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ds3tool.jobs.journal_columns import (
    MovedColumns,
    ObjectColumns,
    SpoiledColumnsError,
    add_objects,
    checked,
    keys_of,
    moved_blobs,
    moved_columns,
    object_columns,
    pack_numbers,
    squeezed,
    unpack_numbers,
)
from ds3tool.jobs.journal_file import JournalFile
from ds3tool.jobs.plan import PlannedJob
from ds3tool.jobs.recorder import Arriving, MovedBlobs
from ds3tool.jobs.remainder import HeldBlobs

# Objects of a plan in one row.
BLOCK = 4096

# -- objects -------------------------------------------------------------------------------------------------------


def write_objects(db: sqlite3.Connection, number: int, plan: PlannedJob) -> bytes:
    """Write the objects of plan `number`, which has none; return their fingerprint."""
    seen = hashlib.blake2b(digest_size=16)
    for start, end, columns in _blocks(plan):
        _add_to(seen, columns)
        packed = squeezed(columns)
        db.execute(
            "INSERT INTO objects VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (number, start, end - start, *packed, checked(packed)),
        )
    return seen.digest()


def fingerprint(plan: PlannedJob) -> bytes:
    """Return the digest of all objects of a plan, as `write_objects` does."""
    seen = hashlib.blake2b(digest_size=16)
    for _, _, columns in _blocks(plan):
        _add_to(seen, columns)
    return seen.digest()


def _blocks(plan: PlannedJob) -> Iterator[tuple[int, int, ObjectColumns]]:
    for start in range(0, len(plan), BLOCK):
        end = min(start + BLOCK, len(plan))
        yield start, end, object_columns(plan, start, end)


def _add_to(seen: hashlib.blake2b, columns: ObjectColumns) -> None:
    for column in columns:
        seen.update(b"-" if column is None else len(column).to_bytes(8, "little"))
        seen.update(column or b"")


def read_objects(file: JournalFile, number: int, plan: PlannedJob, count: int) -> None:
    """Add what is written of plan `number` to `plan`; JournalError when that is not `count` whole objects."""
    with file.unpacking():
        for first, size, crc, *columns in file.rows(
            "SELECT first, count, crc, keys, sizes, modified, inodes, source_names, target_names, rare FROM objects"
            " WHERE plan = ? ORDER BY first",
            (number,),
        ):
            if first != len(plan) or checked(columns) != crc:
                raise SpoiledColumnsError(f"objects of the plan {plan.name!r} are not what was written")
            keys, sizes, modified, inodes, sources, targets, rare = columns
            add_objects(plan, (keys, sizes, modified, inodes, sources, targets, rare), size)
        if len(plan) != count:
            raise SpoiledColumnsError(f"of the {count} objects of the plan {plan.name!r}, {len(plan)} are there")


def read_block(file: JournalFile, number: int, first: int) -> tuple[list[str], array[int]]:
    """Return keys and sizes of the block of plan `number` that begins with object `first`; empty when there is none."""
    with file.unpacking():
        for count, keys, sizes in file.rows(
            "SELECT count, keys, sizes FROM objects WHERE plan = ? AND first = ?", (number, first)
        ):
            return keys_of(keys, count), unpack_numbers(sizes, count)
    return [], array("I")


def forget_objects(db: sqlite3.Connection, number: int) -> None:
    """Remove the objects of plan `number`."""
    db.execute("DELETE FROM objects WHERE plan = ?", (number,))


# -- blobs ---------------------------------------------------------------------------------------------------------


def write_moved(db: sqlite3.Connection, number: int, batches: Sequence[MovedBlobs]) -> None:
    """Write blobs of plan `number` that are through, at least one."""
    columns = moved_columns(batches)
    count = sum(len(blobs) for blobs in batches)
    db.execute(
        "INSERT INTO moved (plan, count, owners, offsets, lengths, versions, kind, digests, crc)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (number, count, *columns, checked(columns)),
    )
    db.execute(
        "UPDATE plans SET moved_blobs = moved_blobs + ?, moved_bytes = moved_bytes + ? WHERE number = ?",
        (count, sum(sum(blobs.lengths) for blobs in batches), number),
    )


def moved_rows(file: JournalFile, number: int) -> Iterator[tuple[int, MovedColumns]]:
    """Yield how many blobs are in each row of plan `number`, and their columns, in the order of writing."""
    with file.unpacking():
        for count, crc, owners, offsets, lengths, versions, kind, digests in file.rows(
            "SELECT count, crc, owners, offsets, lengths, versions, kind, digests FROM moved WHERE plan = ?"
            " ORDER BY number",
            (number,),
        ):
            columns = (owners, offsets, lengths, versions, kind, digests)
            if checked(columns) != crc:
                raise SpoiledColumnsError("blobs that are through are not what was written")
            yield count, columns


def read_moved(file: JournalFile, number: int, objects: int) -> HeldBlobs:
    """Return the blobs of plan `number`, which has so many `objects`, that are through."""
    held = HeldBlobs()
    with file.unpacking():
        for count, columns in moved_rows(file, number):
            blobs = moved_blobs(columns, count)
            if max(blobs.owners, default=0) >= objects:
                raise SpoiledColumnsError("blobs are told of objects that the plan does not have")
            held.add(blobs)
    return held


def write_appeared(db: sqlite3.Connection, number: int, lists: Iterable[Sequence[int]]) -> None:
    """Write which objects of plan `number` are safe at the target."""
    owners: array[int] = array("I")
    for each in lists:
        owners.extend(each)
    packed = pack_numbers(owners)
    db.execute(
        "INSERT INTO appeared (plan, count, owners, crc) VALUES (?, ?, ?, ?)",
        (number, len(owners), packed, checked((packed,))),
    )


def read_appeared(file: JournalFile, number: int, objects: int) -> Iterator[int]:
    """Yield the objects of plan `number`, which has so many `objects`, that are safe at the target."""
    with file.unpacking():
        for count, crc, packed in file.rows(
            "SELECT count, crc, owners FROM appeared WHERE plan = ? ORDER BY number", (number,)
        ):
            owners = unpack_numbers(packed, count)
            if checked((packed,)) != crc or max(owners, default=0) >= objects:
                raise SpoiledColumnsError("objects that have appeared are not what was written")
            yield from owners


def write_arriving(
    db: sqlite3.Connection,
    arriving: Mapping[tuple[int, int, int], tuple[int, int]],
    gone: Iterable[tuple[int, int, int]],
) -> None:
    """Write lengths and how far blobs have come, by plan, owner and offset; those that are `gone` are through."""
    db.executemany(
        "INSERT OR REPLACE INTO arriving (plan, owner, offset, length, done) VALUES (?, ?, ?, ?, ?)",
        [(*place, *told) for place, told in arriving.items()],
    )
    db.executemany("DELETE FROM arriving WHERE plan = ? AND owner = ? AND offset = ?", list(gone))


def read_arriving(file: JournalFile, number: int) -> tuple[Arriving, ...]:
    """Return how far blobs of plan `number` have come that are not through."""
    return tuple(
        Arriving(*row)
        for row in file.rows(
            "SELECT owner, offset, length, done FROM arriving WHERE plan = ? ORDER BY owner, offset", (number,)
        )
    )


def forget_blobs(db: sqlite3.Connection, number: int) -> None:
    """Remove what is written of blobs of plan `number`."""
    db.execute("DELETE FROM moved WHERE plan = ?", (number,))
    db.execute("DELETE FROM arriving WHERE plan = ?", (number,))
    db.execute("UPDATE plans SET moved_blobs = 0, moved_bytes = 0 WHERE number = ?", (number,))
