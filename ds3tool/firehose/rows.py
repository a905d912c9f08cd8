"""The rows of a CSV file as records: as they stand, or as JSON objects."""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Callable, Iterable, Iterator

from ds3tool.errors import SourceError
from ds3tool.lazy_dataclass import dataclass

# A quote that is never closed would make one row of all that follows it.
LONGEST_ROW = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the line of the file it begins in, counted from 1, and its bytes without what ends it."""

    line: int
    data: bytes


def rows(lines: Iterable[bytes]) -> Iterator[Row]:
    """Yield the rows of a CSV file given line by line; one with line feeds between quotes spans several.

    Empty lines are no rows. Raises SourceError for a quote that does not end. Memory: one row.
    """
    begun: list[bytes] = []
    first = length = 0
    is_open = False
    for number, line in enumerate(lines, start=1):
        if not begun:
            first, length = number, 0
        begun.append(line)
        length += len(line)
        is_open ^= line.count(b'"') % 2 == 1
        if is_open:
            if length > LONGEST_ROW:
                break
            continue
        data = b"".join(begun).rstrip(b"\r\n")
        if first == 1:
            data = data.removeprefix(codecs.BOM_UTF8)  # of a file, and no part of its first record
        begun.clear()
        if data:
            yield Row(first, data)
    if is_open:
        raise SourceError(f"line {first:,}: a quote begins there, or before, that does not end")


def as_json(names: Row) -> Callable[[Row], bytes]:
    """Return what makes a JSON object of a row, by the columns' names; all values are text, as in the file.

    Raises SourceError for names that come twice, and from what it returns for a row with more or fewer fields.
    """
    try:
        columns = _fields(names)
    except SourceError as error:
        raise SourceError(f"line {names.line:,}, of the columns' names: {error.message}") from error
    if len(set(columns)) != len(columns):
        raise SourceError(f"line {names.line:,}: a column's name comes twice")

    def convert(row: Row) -> bytes:
        values = _fields(row)
        if len(values) != len(columns):
            raise SourceError(f"{len(values)} fields, where there are {len(columns)} columns")
        return json.dumps(dict(zip(columns, values, strict=True)), ensure_ascii=False).encode()

    return convert


def _fields(row: Row) -> list[str]:
    try:
        text = row.data.decode("utf-8")
        return next(csv.reader([text], strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"no CSV: {error}") from error
