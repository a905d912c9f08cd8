"""DataStream files as tables: each line of a file as rows of CSV or NDJSON, streaming."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field
from enum import StrEnum
from typing import IO, Any, BinaryIO, cast

from ds3tool.errors import Ds3Error, UsageError
from ds3tool.lazy_dataclass import dataclass

# A longer line is no profile: it would be held in memory.
LONGEST_LINE = 64 << 20
_SKIPPED_BYTES = 1 << 16
# So many names of fields that nobody knows are remembered, to be told.
_UNKNOWN_NAMES = 20
_GZIP = b"\x1f\x8b"

Value = str | int | float | None


class Form(StrEnum):
    """What a table is written as."""

    CSV = "csv"
    NDJSON = "ndjson"


class DamagedFileError(Ds3Error):
    """A gzip file is cut short, or its bytes are not what they were."""

    exit_code = 5
    code = "Damaged"


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no profile, or no behaviour's place in a hierarchy: its file, its number from 1 on, and why."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


class _LineError(ValueError):
    """Why a line makes no row."""


# -- what a line says -------------------------------------------------------------------------------------------------

_PROFILE_COLUMNS = (
    "id",
    "type",
    "sub_type",
    "country",
    "region",
    "tap",
    "client",
    "sub_source",
    "ts",
    "operation",
    "behavior_id",
)
_PATHS_COLUMN = "behavior_paths"
_MAPPING_COLUMNS = ("behavior_id", "hierarchy_id", "path")
# The fields of each kind of thing in a line, in the order of the columns they fill.
_ID_FIELDS = ("val", "type", "sub_type")
_EVENT_FIELDS = ("tap", "c", "subSrc", "ts")
_OPERATIONS = ("add", "remove")
_KNOWN = {
    "": frozenset({"id", "country", "region", "events"}),
    "id.": frozenset(_ID_FIELDS),
    "events.": frozenset({*_EVENT_FIELDS, *_OPERATIONS}),
}


@dataclass(slots=True)
class Converted:
    """What came of a conversion so far. `without_rows` counts lines that are right and name no behaviour."""

    lines: int = 0
    rows: int = 0
    bad: int = 0
    without_rows: int = 0
    unknown: dict[str, int] = field(default_factory=dict)

    def saw_unknown(self, name: str) -> None:
        """Count a field that no column holds."""
        if name in self.unknown or len(self.unknown) < _UNKNOWN_NAMES:
            self.unknown[name] = self.unknown.get(name, 0) + 1


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _LineError(f"{what} is {_kind(value)}, not an object")
    return value


def _array(value: object, what: str) -> Sequence[Any]:
    """Return a list that may be left out."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise _LineError(f"{what} is {_kind(value)}, not a list")
    return value


def _scalar(value: object, what: str) -> Value:
    """Return a value that fits into a cell."""
    if value is None or (isinstance(value, (str, int, float)) and not isinstance(value, bool)):
        if isinstance(value, float) and not math.isfinite(value):
            raise _LineError(f"{what} is a number too large to be one")
        return value
    raise _LineError(f"{what} is {_kind(value)}, not a text or a number")


def _behaviour(value: object, what: str) -> Value:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise _LineError(f"{what} holds {_kind(value)}, not the number of a behaviour")
    return value


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    kinds = {dict: "an object", list: "a list", str: "a text", type(None): "null"}
    return kinds.get(type(value), "a number")


class _Profiles:
    """Lines of profiles: a row for each behaviour that an event has added to a profile or removed from it."""

    def __init__(self, paths: Mapping[str, Sequence[str]] | None) -> None:
        self._paths = paths
        self.columns = _PROFILE_COLUMNS if paths is None else (*_PROFILE_COLUMNS, _PATHS_COLUMN)

    def rows(self, line: Mapping[str, Any], done: Converted) -> list[tuple[Any, ...]]:
        if "id" not in line:
            raise _LineError("it has no id")
        who = _mapping(line["id"], "id")
        if not isinstance(who.get("val"), (str, int)) or isinstance(who["val"], bool):
            raise _LineError("its id has no val")
        start = [_scalar(who.get(name), f"id.{name}") for name in _ID_FIELDS]
        start += [_scalar(line.get(name), name) for name in ("country", "region")]
        self._count_unknown(line, "", done)
        self._count_unknown(who, "id.", done)
        rows: list[tuple[Any, ...]] = []
        for each in _array(line.get("events"), "events"):
            event = _mapping(each, "an event")
            self._count_unknown(event, "events.", done)
            about = [_scalar(event.get(name), name) for name in _EVENT_FIELDS]
            for operation in _OPERATIONS:
                for value in _array(event.get(operation), operation):
                    behaviour = _behaviour(value, operation)
                    row = (*start, *about, operation, behaviour)
                    rows.append(row if self._paths is None else (*row, self._paths.get(str(behaviour), ())))
        return rows

    @staticmethod
    def _count_unknown(found: Mapping[str, Any], where: str, done: Converted) -> None:
        for name in found.keys() - _KNOWN[where]:
            done.saw_unknown(where + name)


class _Hierarchies:
    """Lines of a mapping file: a row for each place of a behaviour in a hierarchy, one without for none."""

    columns = _MAPPING_COLUMNS

    def rows(self, line: Mapping[str, Any], done: Converted) -> list[tuple[Any, ...]]:
        behaviour, nodes = places_of(line)
        for name in line.keys() - {"behavior_id", "hierarchy_nodes"}:
            done.saw_unknown(name)
        return [(behaviour, *node) for node in nodes] or [(behaviour, None, None)]


def places_of(line: Mapping[str, Any]) -> tuple[Value, list[tuple[Value, Value]]]:
    """Return the behaviour that a line of a mapping file is about, and its places as (hierarchy, path)."""
    if "behavior_id" not in line:
        raise _LineError("it has no behavior_id")
    nodes = []
    for each in _array(line.get("hierarchy_nodes"), "hierarchy_nodes"):
        node = _mapping(each, "a hierarchy node")
        nodes.append((_scalar(node.get("id"), "its id"), _scalar(node.get("path"), "its path")))
    return _behaviour(line["behavior_id"], "behavior_id"), nodes


# -- reading -----------------------------------------------------------------------------------------------------------


@contextmanager
def _unpacked(file: BinaryIO, name: str) -> Iterator[IO[bytes]]:
    """Give the bytes of a file, unpacked where it begins as gzip does; DamagedFileError where they end too early."""
    reader = file if isinstance(file, io.BufferedReader) else io.BufferedReader(cast("io.RawIOBase", file))
    head = reader.peek(2)[:2]
    if not head and name.endswith(".gz"):
        raise DamagedFileError(f"{name} is empty: its gzip stream is cut short", hint="fetch it again")
    if not head or not _GZIP.startswith(head):
        yield reader
        return
    try:
        with gzip.GzipFile(fileobj=reader) as unpacked:
            yield cast("IO[bytes]", unpacked)
    except EOFError as error:
        raise DamagedFileError(f"{name}: its gzip stream is cut short", hint="fetch it again") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DamagedFileError(f"{name}: its gzip stream is damaged ({error})", hint="fetch it again") from error


def _lines(unpacked: IO[bytes]) -> Iterator[tuple[int, bytes | None]]:
    """Yield each line that is not blank with its number; None for one that is too long to be held."""
    number = 0
    while line := unpacked.readline(LONGEST_LINE):
        number += 1
        if line.endswith(b"\n") or len(line) < LONGEST_LINE:
            if not line.isspace():
                yield number, line
            continue
        while (rest := unpacked.readline(_SKIPPED_BYTES)) and not rest.endswith(b"\n"):
            pass
        yield number, None


def _parsed(line: bytes | None) -> Mapping[str, Any]:
    """Return the object that a line holds; _LineError for what is none."""
    if line is None:
        raise _LineError(f"it is longer than {LONGEST_LINE >> 20} MiB")
    try:
        value = json.loads(line.decode("utf-8-sig"), parse_constant=_no_number)
    except UnicodeDecodeError as error:
        raise _LineError(f"it is not UTF-8, at byte {error.start}") from error
    except RecursionError as error:
        raise _LineError("it is nested too deeply") from error
    except _LineError:
        raise
    except ValueError as error:
        raise _LineError(f"it is not JSON: {error}") from error
    return _mapping(value, "it")


def _no_number(word: str) -> None:
    raise _LineError(f"it is not JSON: {word} is no number")


def read_mapping(file: BinaryIO, name: str) -> dict[str, tuple[str, ...]]:
    """Return the paths of each behaviour, by its number as text, as a mapping file (gzip or plain) tells them.

    Memory: that of the mapping. Raises UsageError for a line that is none of such a file, DamagedFileError for gzip
    that is cut short.
    """
    found: dict[str, tuple[str, ...]] = {}
    with _unpacked(file, name) as unpacked:
        for number, line in _lines(unpacked):
            try:
                behaviour, nodes = places_of(_parsed(line))
            except _LineError as error:
                raise UsageError(f"{name}:{number}: {error}", hint="is this the mapping file of the feed?") from error
            paths = tuple(str(path) for _, path in nodes if path is not None)
            found[str(behaviour)] = (*found.get(str(behaviour), ()), *paths)
    return found


# -- writing -----------------------------------------------------------------------------------------------------------


class _Lines:
    """Takes lines of CSV that end in CR LF, and keeps them with LF alone.

    Python before 3.13 quotes a cell for the line ends in it only where they are of the writer's own: a CR that is not
    quoted would be the end of a row to whoever reads it.
    """

    def __init__(self) -> None:
        self.whole: list[str] = []

    def write(self, line: str) -> None:
        self.whole.append(line.removesuffix("\r\n") + "\n")


class Converter:
    """Turns files into one table. What it writes is whole rows; the header goes out once, before the first.

    All files of a table are of one kind, profiles or mapping; the first line that is either says which. `paths` are
    those of behaviours, to stand beside them in rows of profiles. Memory: one line and its rows.
    """

    def __init__(
        self, write: Callable[[bytes], object], form: Form, *, paths: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self._write = write
        self._form = form
        self._paths = paths
        self._kind: _Profiles | _Hierarchies | None = None
        self._has_header = False
        self.done = Converted()

    def add(self, file: BinaryIO, name: str, on_bad: Callable[[BadLine], None]) -> None:
        """Add a file's rows to the table, and tell `on_bad` of each line that makes none.

        Raises DamagedFileError for gzip that is cut short or damaged, when the rows before the damage are written
        already; OSError where it cannot be read.
        """
        with _unpacked(file, name) as unpacked:
            for number, line in _lines(unpacked):
                try:
                    self._add(_parsed(line))
                except _LineError as error:
                    self.done.bad += 1
                    on_bad(BadLine(name, number, str(error)))

    def end(self) -> None:
        """Write the header where no row has brought it: a table without rows is one of profiles."""
        if not self._has_header:
            self._write(self._header(self._kind or _Profiles(self._paths)))
            self._has_header = True

    def _add(self, line: Mapping[str, Any]) -> None:
        kind = self._kind
        if kind is None:
            kind = _Hierarchies() if "behavior_id" in line and "id" not in line else _Profiles(self._paths)
        rows = kind.rows(line, self.done)
        # Text that cannot be written in UTF-8 makes a bad line, and nothing of a bad line is written.
        try:
            data = (self._csv(rows) if self._form is Form.CSV else self._ndjson(kind.columns, rows)).encode()
        except UnicodeEncodeError as error:
            raise _LineError("it holds half of a surrogate pair, which is no text") from error
        self._kind = kind
        self.end()
        self._write(data)
        self.done.lines += 1
        self.done.rows += len(rows)
        self.done.without_rows += not rows

    def _header(self, kind: _Profiles | _Hierarchies) -> bytes:
        return self._csv([kind.columns]).encode() if self._form is Form.CSV else b""

    @staticmethod
    def _csv(rows: Sequence[Sequence[Any]]) -> str:
        lines = _Lines()
        # A list of paths is one cell, with bars between them: inside of paths stand carets.
        csv.writer(lines, lineterminator="\r\n").writerows(
            ["|".join(cell) if isinstance(cell, tuple) else cell for cell in row] for row in rows
        )
        return "".join(lines.whole)

    @staticmethod
    def _ndjson(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
        return "".join(
            json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False, separators=(",", ":")) + "\n"
            for row in rows
        )
