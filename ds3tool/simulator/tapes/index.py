"""The index of a tape that comes from elsewhere: one file beside its bytes that tells all that is on it.

A line of JSON each: first whose tape it is and what it is like, then what lies on it, in the order of the tape.

    {"index": "ds3tool-tape", "release": 1, "owner": UUID or null, "tape": UUID, "bar_code", "serial", "type",
     "capacity", "written"}
    {"bucket", "name", "version": UUID, "size", "created", "latest", "etag", "metadata": {...} or null,
     "offset", "length", "checksum_type", "checksum": hex, "position"}
    {"name", "length", "position"}

With an `owner` (the instance of an appliance) the lines after the first are blobs in the second form; without one they
are files in the third form, as LTFS has them. Sizes and places are bytes, dates seconds since 1970. The bytes are the
file beside it; `position` counts from that file's start.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from ds3tool.lazy_dataclass import dataclass

_NAME, _RELEASE = "ds3tool-tape", 1
_LONGEST_LINE = 1 << 20
# More bytes than a store's numbers count, and seconds up to the last year that dates have.
_LARGEST, _LATEST = 1 << 62, 253_402_300_800.0
_DIGITS = {"CRC_32": 8, "CRC_32C": 8, "MD5": 32, "SHA_256": 64, "SHA_512": 128}
_IN_HEADERS = re.compile("[ -~\xa0-\xff]*")


class BadIndexError(Exception):
    """An index that cannot be read, or that tells what cannot be."""


@dataclass(frozen=True, slots=True)
class TapeLabel:
    """The first line: `owner` is the appliance that wrote the tape, None for LTFS with files of others."""

    owner: str | None
    tape: str
    bar_code: str
    serial: str
    type: str
    capacity: int
    written: int


@dataclass(frozen=True, slots=True)
class IndexedBlob:
    """A blob on a tape of an appliance, with what is to be known of its object."""

    bucket: str
    name: str
    version: str
    size: int
    created: float
    latest: bool
    etag: str | None
    metadata: dict[str, str] | None
    offset: int
    length: int
    checksum_type: str
    checksum: str
    position: int


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """A file on a tape of somebody else."""

    name: str
    length: int
    position: int


_Line = TypeVar("_Line", TapeLabel, IndexedBlob, IndexedFile, IndexedBlob | IndexedFile)


def write_index(path: Path | str, label: TapeLabel, entries: Iterable[IndexedBlob | IndexedFile]) -> None:
    """Write an index as a whole or not at all; OSError when that cannot be done."""
    partial = f"{path}.part"
    with open(partial, "w", encoding="utf-8") as file:
        _write(file, {"index": _NAME, "release": _RELEASE, **asdict(label)})
        for entry in entries:
            _write(file, asdict(entry))
    os.replace(partial, path)


def _write(file: Any, values: dict[str, Any]) -> None:  # noqa: ANN401 - any text file
    file.write(json.dumps(values, ensure_ascii=False) + "\n")


def read_label(path: Path | str) -> TapeLabel | None:
    """Return the first line of an index, None when there is no such file; BadIndexError when it is none."""
    try:
        with open(path, encoding="utf-8") as file:
            values = _document(file.readline(_LONGEST_LINE))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise BadIndexError(f"the index cannot be read: {error}") from error
    if values.pop("index", None) != _NAME or values.pop("release", None) != _RELEASE:
        raise BadIndexError("the index is of no kind that is known here")
    label = _made(TapeLabel, values)
    if min(label.capacity, label.written) < 0 or max(label.capacity, label.written) >= _LARGEST:
        raise BadIndexError("the index tells sizes that cannot be")
    return label


def read_entries(path: Path | str) -> Iterator[IndexedBlob | IndexedFile]:
    """Yield what is on the tape, in its order, one line in memory; BadIndexError where a line is wrong."""
    label = read_label(path)
    if label is None:
        raise BadIndexError("there is no index")
    kind: type[IndexedBlob | IndexedFile] = IndexedFile if label.owner is None else IndexedBlob
    with open(path, encoding="utf-8") as file:
        file.readline(_LONGEST_LINE)
        while line := file.readline(_LONGEST_LINE):
            entry = _made(kind, _document(line))
            if min(entry.length, entry.position) < 0 or entry.position + entry.length > label.written:
                raise BadIndexError(f"the index places '{entry.name}' outside of what is written")
            if isinstance(entry, IndexedBlob):
                _check(entry)
            yield entry


def _check(entry: IndexedBlob) -> None:
    """Refuse a blob that lies outside of its object, a date or a digest that is none, and what no header can carry."""
    if not 0 <= entry.offset <= entry.offset + entry.length <= entry.size < _LARGEST:
        raise BadIndexError(f"the index tells of a blob outside of '{entry.name}'")
    if not 0 <= entry.created < _LATEST:
        raise BadIndexError(f"the index tells of '{entry.name}' from a time that cannot be")
    if not re.fullmatch(f"[0-9a-f]{{{_DIGITS.get(entry.checksum_type, 0)}}}", entry.checksum) or not entry.checksum:
        raise BadIndexError(f"the index has a checksum of '{entry.name}' that is none")
    texts = [entry.etag or "", *(entry.metadata or {}), *(entry.metadata or {}).values()]
    if not all(_IN_HEADERS.fullmatch(each) for each in texts):
        raise BadIndexError(f"the index has metadata of '{entry.name}' that cannot be")


def _document(line: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadIndexError("a line of the index is no JSON") from error
    if not isinstance(values, dict):
        raise BadIndexError("a line of the index is no JSON object")
    return values


_SIMPLE: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "str | None": (str, type(None)),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "dict[str, str] | None": (dict, type(None)),
}


def _made(kind: type[_Line], values: dict[str, Any]) -> _Line:
    """Return a line's dataclass; what is missing, of another type or not known is refused."""
    wanted = {name: _SIMPLE[str(each)] for name, each in kind.__annotations__.items()}
    if values.keys() != wanted.keys():
        raise BadIndexError(f"a line of the index tells {sorted(values)} instead of {sorted(wanted)}")
    for name, allowed in wanted.items():
        is_number = bool not in allowed and isinstance(values[name], bool)
        if not isinstance(values[name], allowed) or is_number:
            raise BadIndexError(f"a line of the index has {values[name]!r} as {name}")
    metadata = values.get("metadata")
    if metadata and not all(isinstance(each, str) for each in metadata.values()):
        raise BadIndexError("a line of the index has metadata that is no text")
    return kind(**values)
