"""Columns of a journal as bytes: numbers, texts and names of many objects in one value each, lossless and compact."""

from __future__ import annotations

import json
import sys
import zlib
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

from ds3tool.jobs.plan import PlannedJob
from ds3tool.jobs.recorder import MovedBlobs
from ds3tool.protocol.model import ChecksumType
from ds3tool.protocol.ranges import ByteRange

# Names of one tree resemble each other: 4096 take a millisecond to pack and a tenth of their bytes, which then need not
# be written through to the disk. Numbers hardly shrink, and digests not at all: these stay as they are.
_QUICKEST = 1


class SpoiledColumnsError(ValueError):
    """What was read back is not what was written."""


def pack_text(text: str) -> bytes:
    """Return a text as bytes; half surrogates, which stand for bytes that are not UTF-8, are kept."""
    return text.encode("utf-8", "surrogatepass")


def unpack_text(data: bytes) -> str:
    """Return the text that `pack_text` was given."""
    return data.decode("utf-8", "surrogatepass")


def pack_numbers(numbers: array[int]) -> bytes:
    """Return numbers as bytes, little end first: four bytes each where they all fit, else eight; signed ones eight."""
    if numbers.typecode == "Q":
        halves = array("I", numbers.tobytes())
        low, high = (0, 1) if sys.byteorder == "little" else (1, 0)
        if halves[high::2] == array("I", bytes(4 * len(numbers))):
            numbers = halves[low::2]
    if sys.byteorder == "big":
        numbers = array(numbers.typecode, numbers)
        numbers.byteswap()
    return numbers.tobytes()


def unpack_numbers(data: bytes, count: int, *, signed: bool = False) -> array[int]:
    """Return the `count` numbers that `pack_numbers` was given."""
    width = len(data) // max(count, 1)
    numbers: array[int] = array("q" if signed else "I" if width == 4 else "Q")
    if len(data) != count * numbers.itemsize:
        raise SpoiledColumnsError(f"{len(data)} bytes are not {count} numbers")
    numbers.frombytes(data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def pack_texts(texts: Sequence[str]) -> bytes:
    """Return texts as bytes: how many characters each has, then all of them, not compressed."""
    return pack_numbers(array("I", list(map(len, texts)))) + pack_text("".join(texts))


def unpack_texts(data: bytes, count: int) -> list[str]:
    """Return the `count` texts that `pack_texts` was given."""
    text = unpack_text(data[4 * count :])
    return [text[start:end] for start, end in _cuts(data, count, len(text))]


def pack_names(names: Sequence[bytes]) -> bytes:
    """Return names of bytes as bytes: how many bytes each has, then all of them, not compressed."""
    return pack_numbers(array("I", list(map(len, names)))) + b"".join(names)


def unpack_names(data: bytes, count: int) -> list[bytes]:
    """Return the `count` names that `pack_names` was given."""
    names = data[4 * count :]
    return [names[start:end] for start, end in _cuts(data, count, len(names))]


def _cuts(data: bytes, count: int, size: int) -> list[tuple[int, int]]:
    cuts, end = [], 0
    for length in unpack_numbers(data[: 4 * count], count):
        cuts.append((end, end + length))
        end += length
    if end != size:
        raise SpoiledColumnsError(f"{end} characters are told, and {size} are there")
    return cuts


def checked(columns: Iterable[bytes | None]) -> int:
    """Return a sum of columns by which it is noticed when one has changed on the disk."""
    total = 0
    for column in columns:
        total = zlib.crc32(column or b"-", total)
    return total


# -- objects of a plan ---------------------------------------------------------------------------------------------

ObjectColumns = tuple[bytes, bytes, bytes | None, bytes | None, bytes | None, bytes | None, bytes | None]


def object_columns(plan: PlannedJob, start: int, end: int) -> ObjectColumns:
    """Return the objects of a plan from `start` to before `end` as columns, not compressed.

    Keys, sizes, times, inodes, names at the source, names at the target, and what few have (as JSON); each None where
    the plan has nothing of it.
    """
    return (
        pack_texts(plan.keys[start:end]),
        pack_numbers(plan.sizes[start:end]),
        pack_numbers(plan.modified_ns[start:end]) if plan.modified_ns else None,
        pack_numbers(plan.inodes[start:end]) if plan.inodes else None,
        pack_names(plan.source_names[start:end]) if plan.source_names else None,
        pack_texts(plan.target_names[start:end]) if plan.target_names else None,
        _rare(plan, start, end),
    )


def _rare(plan: PlannedJob, start: int, end: int) -> bytes | None:
    """Return what few objects have, by their numbers; JSON's escapes keep half surrogates."""
    rare: dict[str, Any] = {}
    if plan.version_ids:
        rare["versions"] = {n: plan.version_ids[n] for n in range(start, end) if n in plan.version_ids}
    if plan.ranges:
        rare["ranges"] = {
            n: [(one.start, one.end) for one in plan.ranges[n]] for n in range(start, end) if n in plan.ranges
        }
    if plan.replaces:
        rare["replaces"] = [n for n in range(start, end) if n in plan.replaces]
    return json.dumps(rare, separators=(",", ":")).encode("ascii") if rare else None


def squeezed(columns: ObjectColumns) -> ObjectColumns:
    """Compress those of an object's columns that are text."""
    keys, sizes, modified, inodes, sources, targets, rare = columns
    squeeze = _squeeze
    return (zlib.compress(keys, _QUICKEST), sizes, modified, inodes, squeeze(sources), squeeze(targets), squeeze(rare))


def _squeeze(column: bytes | None) -> bytes | None:
    return None if column is None else zlib.compress(column, _QUICKEST)


def keys_of(column: bytes, count: int) -> list[str]:
    """Return the keys that a squeezed column holds."""
    try:
        return unpack_texts(zlib.decompress(column), count)
    except (zlib.error, UnicodeDecodeError) as error:
        raise SpoiledColumnsError("the keys cannot be unpacked") from error


def add_objects(plan: PlannedJob, columns: ObjectColumns, count: int) -> None:
    """Add `count` objects, whose squeezed columns these are, to a plan."""
    keys, sizes, modified, inodes, sources, targets, rare = columns
    try:
        plan.keys += keys_of(keys, count)
        plan.sizes.extend(_as(unpack_numbers(sizes, count), "Q"))
        if modified is not None:
            plan.modified_ns.extend(unpack_numbers(modified, count, signed=True))
        if inodes is not None:
            plan.inodes.extend(_as(unpack_numbers(inodes, count), "Q"))
        if sources is not None:
            plan.source_names += unpack_names(zlib.decompress(sources), count)
        if targets is not None:
            plan.target_names += unpack_texts(zlib.decompress(targets), count)
        if rare is not None:
            _add_rare(plan, json.loads(zlib.decompress(rare)))
    except (zlib.error, UnicodeDecodeError, KeyError, TypeError) as error:
        raise SpoiledColumnsError("the objects cannot be unpacked") from error


def _add_rare(plan: PlannedJob, rare: dict[str, Any]) -> None:
    plan.version_ids.update((int(number), version) for number, version in rare.get("versions", {}).items())
    for number, ranges in rare.get("ranges", {}).items():
        plan.ranges[int(number)] = tuple(ByteRange(start, end) for start, end in ranges)
    plan.replaces.update(rare.get("replaces", ()))


def _as(numbers: array[int], typecode: str) -> array[int]:
    return numbers if numbers.typecode == typecode else array(typecode, numbers)


# -- versions ------------------------------------------------------------------------------------------------------

# Version ids are UUIDs, as far as anybody has seen: 16 bytes each. Others are kept as JSON.
_HYPHENS = (8, 13, 18, 23)
_UUID_TEXT = 36
_PACKED = b"u"


def pack_versions(versions: Sequence[str | None]) -> bytes | None:
    """Return version ids as bytes, None when none is known."""
    told = [version for version in versions if version is not None]
    if not told:
        return None
    text = "".join(told)
    digits = text.replace("-", "")
    hyphens = "-" * len(told)
    if (
        len(told) == len(versions)
        and len(text) == _UUID_TEXT * len(told)
        and len(digits) == len(text) - len(_HYPHENS) * len(told)
        and all(text[place::_UUID_TEXT] == hyphens for place in _HYPHENS)
    ):
        try:
            packed = bytes.fromhex(digits)
        except ValueError:
            pass
        else:
            if packed.hex() == digits:
                return _PACKED + packed
    return json.dumps(versions, separators=(",", ":")).encode("ascii")


def unpack_versions(data: bytes, count: int) -> list[str | None]:
    """Return the `count` version ids that `pack_versions` was given."""
    if data[:1] == _PACKED:
        digits = data[1:].hex()
        if len(digits) != 32 * count:
            raise SpoiledColumnsError(f"{len(data)} bytes are not {count} versions")
        return [_as_uuid(digits[start : start + 32]) for start in range(0, 32 * count, 32)]
    found: list[str | None] = json.loads(data)
    if len(found) != count:
        raise SpoiledColumnsError(f"{len(found)} versions are told of {count} blobs")
    return found


def unpack_version(data: bytes, count: int, number: int) -> str | None:
    """Return one of the `count` version ids that `pack_versions` was given."""
    if data[:1] != _PACKED:
        return unpack_versions(data, count)[number]
    return _as_uuid(data[1 + 16 * number : 17 + 16 * number].hex())


def _as_uuid(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


# -- blobs that are through ----------------------------------------------------------------------------------------

# Owners, offsets (None: all begin at 0), lengths, versions (None: not known), the type of all digests (None: see the
# last), and the digests: all of one length and in one text where they are alike, else JSON of [types, digests].
MovedColumns = tuple[bytes, bytes | None, bytes, bytes | None, bytes | None, bytes]


def moved_columns(batches: Sequence[MovedBlobs]) -> MovedColumns:
    """Return batches of blobs, at least one blob, as columns."""
    owners: array[int] = array("I")
    offsets: array[int] = array("Q")
    lengths: array[int] = array("Q")
    kinds: list[ChecksumType | None] = []
    checksums: list[str | None] = []
    versions: list[str | None] = []
    for blobs in batches:
        owners.extend(blobs.owners)
        offsets.extend(blobs.offsets)
        lengths.extend(blobs.lengths)
        kinds.extend(blobs.kinds)
        checksums.extend(blobs.checksums)
        versions.extend(blobs.versions or [None] * len(blobs))
    numbers = (
        pack_numbers(owners),
        pack_numbers(offsets) if any(offsets) else None,
        pack_numbers(lengths),
        pack_versions(versions),
    )
    kind = kinds[0]
    told = [checksum for checksum in checksums if checksum is not None]
    alike = kind is not None and kinds.count(kind) == len(kinds) and len(told) == len(checksums)
    if kind is None or not alike or len(set(map(len, told))) != 1 or not told[0]:
        return *numbers, None, json.dumps([kinds, checksums], separators=(",", ":")).encode("ascii")
    return *numbers, pack_text(kind.value), pack_text("".join(told))


def moved_blobs(columns: MovedColumns, count: int) -> MovedBlobs:
    """Return the `count` blobs whose columns these are."""
    owners, offsets, lengths, versions, kind, digests = columns
    kinds: list[ChecksumType | None]
    checksums: list[str | None]
    try:
        if kind is None:
            told, checksums = json.loads(digests)
            kinds = [None if one is None else ChecksumType(one) for one in told]
        else:
            text = unpack_text(digests)
            width = len(text) // count
            checksums = [text[start : start + width] for start in range(0, width * count, width)]
            kinds = [ChecksumType(unpack_text(kind))] * count
        blobs = MovedBlobs(
            unpack_numbers(owners, count).tolist(),
            [0] * count if offsets is None else unpack_numbers(offsets, count).tolist(),
            unpack_numbers(lengths, count).tolist(),
            kinds,
            checksums,
            () if versions is None else unpack_versions(versions, count),
        )
    except (ValueError, TypeError) as error:
        raise SpoiledColumnsError("the blobs cannot be unpacked") from error
    if not len(kinds) == len(checksums) == count:
        raise SpoiledColumnsError(f"the digests are not those of {count} blobs")
    return blobs
