"""Results on stdout: one value, four shapes (table, json, ndjson, csv)."""

from __future__ import annotations

import io
import itertools
import shutil
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Generic, NoReturn, TextIO, TypeVar

from ds3tool.cli.escapes import csv_cell, json_text, printable
from ds3tool.errors import Ds3Error
from ds3tool.lazy_dataclass import dataclass

T = TypeVar("T")

# A table's columns are fitted to this many rows at a time: a whole page of a listing, and never all of it.
ROWS_FITTED_TOGETHER = 1000
# The last column, which holds the name, may fold down to this many characters.
_NARROWEST_LAST = 20
# Where a row is broken because the terminal is narrow, its later lines begin here.
_SET_IN = 4
# A JSON array is one document: nothing of it is shown before its end is known. Beyond this it waits on disk.
_SPOOL_BYTES = 8 * 1024 * 1024


class OutputFormat(StrEnum):
    """Shapes a result can take."""

    TABLE = "table"
    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"


class OutputClosedError(Exception):
    """Whoever read stdout has gone; there is nobody left to tell."""


class OutputLostError(Ds3Error):
    """Stdout takes no more: its disk is full, or broken."""

    code = "OutputLost"


def lost(error: OSError) -> OutputClosedError | OutputLostError:
    """Return what a failed write of the result means: that nobody reads it any more, or that there is no room."""
    if isinstance(error, BrokenPipeError):
        return OutputClosedError()
    return OutputLostError(f"stdout cannot be written: {error.strerror or error}")


class ShownError(Exception):
    """A failure that stands in the result already; only its sentence and its exit code are left to give."""

    def __init__(self, error: Ds3Error, *, exit_code: int | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.exit_code = error.exit_code if exit_code is None else exit_code


@dataclass(frozen=True)
class Field(Generic[T]):
    """One named part of a record.

    `get` returns the true value (text, number, bool, None, datetime, or lists and mappings of these); `text` writes
    it for people. `heading` is the table's word, `name` that of JSON and CSV. Tables leave it out unless `tabled`.
    A field that `leads` stands last in a table, where a long name may fold, and first in the other shapes.
    """

    name: str
    get: Callable[[T], object]
    heading: str | None = None
    text: Callable[[Any], str] | None = None
    right: bool = False
    tabled: bool = True
    leads: bool = False

    @property
    def title(self) -> str:
        """The word before a value, or in capitals above a column."""
        word = self.heading if self.heading is not None else self.name.replace("_", " ")
        return word[:1].upper() + word[1:]

    def cell(self, record: T) -> str:
        """Return what a person reads, safe for a terminal."""
        value = self.get(record)
        if value is None:
            return "-"
        text = printable(self.text(value) if self.text is not None else _readable(value))
        return text if text or isinstance(value, str) else "-"

    def csv(self, record: T) -> str:
        """Return what a spreadsheet reads: the true value, and lists as people read them."""
        value = self.get(record)
        if value is None:
            return ""
        if self.text is not None and not isinstance(value, (str, int, float, datetime)):
            return csv_cell(self.text(value))
        if isinstance(value, str):
            return csv_cell(str(value))
        return json_text(plain(value)).strip('"')


def plain(value: object) -> object:
    """Return `value` in JSON's own types: times as ISO 8601 in UTC, enumerations as text, tuples as lists."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (tuple, list, set, frozenset)):
        return [plain(item) for item in value]
    return value


def as_mapping(record: T, fields: Sequence[Field[T]]) -> dict[str, Any]:
    """Return the record as JSON holds it."""
    return {field.name: plain(field.get(record)) for field in led(fields)}


def led(fields: Sequence[Field[T]]) -> list[Field[T]]:
    """Return the fields in the order of JSON and CSV: those that lead first."""
    return sorted(fields, key=lambda field: not field.leads)


def error_mapping(error: Ds3Error, *, exit_code: int | None = None) -> dict[str, Any]:
    """Return what scripts read of an error: `code`, `exit_code`, `message`, `hint`, `request_id`."""
    return {
        "code": error.code,
        "exit_code": error.exit_code if exit_code is None else exit_code,
        "message": error.message,
        "hint": error.hint,
        "request_id": error.request_id,
    }


def _readable(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={_readable(item)}" for name, item in value.items())
    if isinstance(value, (tuple, list)):
        return ", ".join(_readable(item) for item in value)
    return "-" if value is None else str(value)


def counted(number: int, noun: str) -> str:
    """Return a number of things for people: `1 object`, `2,000 objects`, `3 prefixes`."""
    plural = f"{noun}es" if noun.endswith(("s", "x")) else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


class Output:
    """Where results go, in the shape that was asked for.

    `styled` is for a terminal that shows colours; anything else gets plain columns.
    """

    def __init__(self, shape: OutputFormat, stream: TextIO, *, styled: bool = False) -> None:
        self.shape = shape
        self._stream = stream
        self._styled = styled
        self._encoding = (getattr(stream, "encoding", None) or "utf-8").lower()
        self._ascii_only = not self._encoding.replace("-", "").startswith("utf")

    def records(self, records: Iterable[T], fields: Sequence[Field[T]]) -> int:
        """Show every record, as they come where the shape allows; return how many there were.

        Memory: a table holds 1000 rows, a JSON array 8 MiB (the rest waits in a temporary file), others one record.
        """
        counted = _Counted(records)
        match self.shape:
            case OutputFormat.JSON:
                self._write_array(counted, fields)
            case OutputFormat.NDJSON:
                for record in counted:
                    self.event(record, fields)
            case OutputFormat.CSV:
                self._write_csv(counted, fields)
            case OutputFormat.TABLE:
                self._write_tables(counted, [field for field in fields if field.tabled])
        return counted.count

    def record(self, record: T, fields: Sequence[Field[T]], *, error: Ds3Error | None = None) -> None:
        """Show one record: a document, a line, or in a table one field a line."""
        self._record(record, fields, None if error is None else error_mapping(error))

    def finish(
        self, record: T, fields: Sequence[Field[T]], error: Ds3Error | None, *, exit_code: int | None = None
    ) -> None:
        """Show a run's result; with an error, show it in the same document and end the run by raising ShownError.

        `exit_code` stands in for the error's own where a run has failed in several ways.
        """
        if error is None:
            self.record(record, fields)
            return
        self._record(record, fields, error_mapping(error, exit_code=exit_code))
        self.end(error, exit_code=exit_code)

    def end(self, error: Ds3Error, *, exit_code: int | None = None) -> NoReturn:
        """End the run with an error that the result has shown already."""
        raise ShownError(error, exit_code=exit_code)

    def event(self, record: T, fields: Sequence[Field[T]]) -> None:
        """Show one record at once, where the shape is a line an object; other shapes wait for the whole."""
        if self.shape is OutputFormat.NDJSON:
            self._write(json_text(as_mapping(record, fields), ascii_only=self._ascii_only) + "\n", flush=True)

    def error(self, error: Ds3Error, *, exit_code: int | None = None) -> None:
        """Show an error that took the result's place; shapes for people leave it to stderr."""
        document = {"error": error_mapping(error, exit_code=exit_code)}
        if self.shape is OutputFormat.JSON:
            self._write(json_text(document, indent=2, ascii_only=self._ascii_only) + "\n")
        elif self.shape is OutputFormat.NDJSON:
            self._write(json_text(document, ascii_only=self._ascii_only) + "\n")

    def line(self, text: str) -> None:
        """Print one line as it is, made safe; for results that have no shape, such as a path."""
        self._write(printable(text) + "\n", flush=True)

    def hanging(self, start: str, text: str) -> None:
        """Print `start` and `text`; in a terminal too narrow for both, the text goes on below where it began.

        Both are made safe; `start` should be short.
        """
        start, text = printable(start), printable(text)
        room = self._width() - len(start) if self._has_edge else 0
        if 0 < room < len(text):
            wrapped = textwrap.wrap(text, max(room, _NARROWEST_LAST), break_on_hyphens=False)
            text = ("\n" + " " * len(start)).join(wrapped)
        self._write(start + text + "\n", flush=True)

    def lines(self, lines: Iterable[str]) -> int:
        """Print many lines, each made safe, as they come; return how many there were."""
        count = 0
        for count, text in enumerate(lines, start=1):
            self._write(printable(text) + "\n", flush=count % ROWS_FITTED_TOGETHER == 0)
        self.flush()
        return count

    def exact(self, names: Iterable[str], *, end: str) -> int:
        """Print names for a program to read, each followed by `end`, letter for letter; return how many there were.

        A terminal is no program: there they are made safe, and each has its line.
        """
        if self._stream.isatty():
            return self.lines(names)
        counted_names = _Counted(names)
        try:
            self._stream.flush()
            target = getattr(self._stream, "buffer", None)
            for name in counted_names:
                if target is None:
                    self._stream.write(name + end)
                else:
                    target.write((name + end).encode("utf-8", "surrogatepass"))
            self._stream.flush()
        except OSError as error:
            raise lost(error) from error
        return counted_names.count

    @property
    def draws_lines(self) -> bool:
        """Whether the reader's encoding has the characters that lines are drawn of."""
        return not self._ascii_only

    def scalar(self, value: T, field: Field[T]) -> None:
        """Show one value: a bare line for people, a record in the other shapes."""
        if self.shape is OutputFormat.TABLE:
            self.line(field.cell(value))
        else:
            self.record(value, [field])

    def flush(self) -> None:
        """Hand everything to the reader; raises OutputClosedError when there is none, OutputLostError without room."""
        self._write("", flush=True)

    def _write(self, text: str, *, flush: bool = False) -> None:
        if self._ascii_only:
            # An encoding that lacks a character would stop the listing in its midst.
            text = text.encode(self._encoding, "backslashreplace").decode(self._encoding)
        try:
            self._stream.write(text)
            if flush:
                self._stream.flush()
        except OSError as error:
            raise lost(error) from error

    def _record(self, record: T, fields: Sequence[Field[T]], error: dict[str, Any] | None) -> None:
        match self.shape:
            case OutputFormat.JSON | OutputFormat.NDJSON:
                document = as_mapping(record, fields)
                if error is not None:
                    document["error"] = error
                indent = 2 if self.shape is OutputFormat.JSON else None
                self._write(json_text(document, indent=indent, ascii_only=self._ascii_only) + "\n", flush=True)
            case OutputFormat.CSV:
                self._write_csv([record], fields)
            case OutputFormat.TABLE:
                rows = [(field.title, field.cell(record)) for field in fields if field.tabled]
                width = max((len(title) for title, _ in rows), default=0)
                for title, cell in rows:
                    self.hanging(f"{title:{width}}  ", cell)

    def _write_array(self, records: Iterable[T], fields: Sequence[Field[T]]) -> None:
        import tempfile

        spool: tempfile.SpooledTemporaryFile[str]
        with tempfile.SpooledTemporaryFile(_SPOOL_BYTES, "w+", encoding="utf-8", newline="") as spool:
            separator = "[\n  "
            for record in records:
                spool.write(separator + json_text(as_mapping(record, fields), ascii_only=self._ascii_only))
                separator = ",\n  "
            spool.write("[]\n" if separator.startswith("[") else "\n]\n")
            spool.seek(0)
            try:
                shutil.copyfileobj(spool, self._stream)
            except OSError as error:
                raise lost(error) from error

    def _write_csv(self, records: Iterable[T], fields: Sequence[Field[T]]) -> None:
        import csv

        fields = led(fields)
        line = io.StringIO()
        writer = csv.writer(line, lineterminator="\n")
        for row in itertools.chain(
            [[field.name for field in fields]], ([field.csv(record) for field in fields] for record in records)
        ):
            writer.writerow(row)
            self._write(line.getvalue())
            line.seek(0)
            line.truncate()

    def _write_tables(self, records: Iterator[T], fields: Sequence[Field[T]]) -> None:
        widths = [0] * len(fields)
        while batch := list(itertools.islice(records, ROWS_FITTED_TOGETHER)):
            headings = [field.title.upper() for field in fields] if not any(widths) else None
            cells = [[field.cell(record) for field in fields] for record in batch]
            # Later batches keep the earlier columns, so that a long listing stays one table.
            widths = [
                max(width, *map(len, column)) for width, column in zip(widths, zip(*cells, strict=True), strict=True)
            ]
            if headings is not None:
                widths = [max(width, len(heading)) for width, heading in zip(widths, headings, strict=True)]
            if not self._fits(widths):
                self._write_broken(headings, cells, fields, widths)
            elif self._styled:
                self._write_rich(headings, cells, fields, widths)
            else:
                self._write_columns(headings, cells, fields, widths)
            self.flush()

    @property
    def _has_edge(self) -> bool:
        """Whether lines end somewhere: what is no terminal has no edge."""
        return self._styled or self._stream.isatty()

    def _fits(self, widths: Sequence[int]) -> bool:
        """Whether the terminal has room for all columns but the last, and for the beginning of that."""
        if not self._has_edge:
            return True
        *firsts, last = widths
        return sum(firsts) + 2 * len(firsts) + min(last, _NARROWEST_LAST) <= self._width()

    def _width(self) -> int:
        from rich.console import Console

        return Console(file=self._stream).width

    def _write_columns(
        self, headings: list[str] | None, cells: list[list[str]], fields: Sequence[Field[T]], widths: list[int]
    ) -> None:
        for row in [headings, *cells] if headings is not None else cells:
            padded = (
                cell.rjust(width) if field.right else cell.ljust(width)
                for cell, field, width in zip(row, fields, widths, strict=True)
            )
            self._write("  ".join(padded).rstrip() + "\n")

    def _write_broken(
        self, headings: list[str] | None, cells: list[list[str]], fields: Sequence[Field[T]], widths: list[int]
    ) -> None:
        """Write each row in as many lines as it needs, which break between columns; what follows is set in."""
        room, lines, used = self._width(), [[0]], widths[0]
        for number, width in enumerate(widths[1:], start=1):
            used += 2 + width
            if used > room:
                lines.append([])
                used = _SET_IN + width
            lines[-1].append(number)
        for row in [headings, *cells] if headings is not None else cells:
            for position, columns in enumerate(lines):
                padded = (
                    row[number].rjust(widths[number]) if fields[number].right else row[number].ljust(widths[number])
                    for number in columns
                )
                self._write(" " * (_SET_IN if position else 0) + "  ".join(padded).rstrip() + "\n")

    def _write_rich(
        self, headings: list[str] | None, cells: list[list[str]], fields: Sequence[Field[T]], widths: list[int]
    ) -> None:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, show_header=headings is not None, header_style="bold")
        for field, width in zip(fields, widths, strict=True):
            # All but the last column keep their width; the last, which holds the name, folds and is never cut.
            last = field is fields[-1]
            table.add_column(
                Text(field.title.upper()),
                justify="right" if field.right else "left",
                overflow="fold",
                no_wrap=not last,
                min_width=None if last else width,
            )
        for row in cells:
            table.add_row(*map(Text, row))
        # Drawn apart from the stream, since Rich ends the process by itself when the reader has gone.
        drawn = io.StringIO()
        console = Console(
            file=drawn, width=self._width(), force_terminal=True, highlight=False, markup=False, emoji=False
        )
        console.print(table)
        self._write(drawn.getvalue())


class _Counted(Iterator[T]):
    """An iterator that knows how much has been taken from it."""

    def __init__(self, items: Iterable[T]) -> None:
        self._items = iter(items)
        self.count = 0

    def __next__(self) -> T:
        item = next(self._items)
        self.count += 1
        return item
