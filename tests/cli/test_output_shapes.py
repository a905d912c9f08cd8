"""One result in four shapes; the same value, whichever is asked for."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from ds3tool.cli.output import (
    ROWS_FITTED_TOGETHER,
    Field,
    Output,
    OutputClosedError,
    OutputFormat,
    ShownError,
    counted,
)
from ds3tool.errors import Ds3Error, JobError
from ds3tool.sizes import format_size


@dataclass(frozen=True)
class Thing:
    """Something to show."""

    name: str
    size: int | None = 0
    seen: datetime | None = None


FIELDS: list[Field[Thing]] = [
    Field("size", lambda thing: thing.size, text=format_size, right=True),
    Field("last_seen", lambda thing: thing.seen, heading="seen"),
    Field("hidden", lambda _: ["x"], tabled=False),
    Field("name", lambda thing: thing.name),
]
WHEN = datetime(2026, 11, 21, 8, 5, 0, 250000, UTC)


def shown(things: list[Thing], shape: OutputFormat) -> str:
    stream = io.StringIO()
    Output(shape, stream).records(things, FIELDS)
    return stream.getvalue()


def test_a_table_has_headings_aligned_columns_and_readable_values() -> None:
    """Sizes are right-aligned and readable, what is unknown is a dash, hidden fields are left out."""
    text = shown([Thing("a", 1536, WHEN), Thing("longer name", 7)], OutputFormat.TABLE)
    assert text.splitlines() == [
        "   SIZE  SEEN                  NAME",
        "1.5 KiB  2026-11-21 08:05:00Z  a",
        "    7 B  -                     longer name",
    ]


def test_json_is_one_array_of_true_values() -> None:
    """Numbers stay numbers, times are ISO 8601 in UTC, nothing is left out."""
    assert json.loads(shown([Thing("a\x1b", 1536, WHEN)], OutputFormat.JSON)) == [
        {"size": 1536, "last_seen": "2026-11-21T08:05:00.250Z", "hidden": ["x"], "name": "a\x1b"}
    ]


def test_an_empty_list_is_an_empty_array() -> None:
    """A script that reads JSON never finds an empty document."""
    assert json.loads(shown([], OutputFormat.JSON)) == []


def test_ndjson_writes_each_line_before_the_next_is_asked_for() -> None:
    """A reader sees every object when it happens, not at the end."""
    stream = io.StringIO()

    def things() -> Iterator[Thing]:
        yield Thing("first")
        assert json.loads(stream.getvalue())["name"] == "first"
        yield Thing("second")

    assert Output(OutputFormat.NDJSON, stream).records(things(), FIELDS) == 2
    assert len(stream.getvalue().splitlines()) == 2


def test_csv_holds_raw_values_under_the_fields_names() -> None:
    """A spreadsheet gets bytes as numbers, and nothing to compute."""
    rows = list(csv.reader(io.StringIO(shown([Thing("=1+1,\n", 1536), Thing("b", None)], OutputFormat.CSV))))
    assert rows == [
        ["size", "last_seen", "hidden", "name"],
        ["1536", "", '["x"]', "'=1+1,\\n"],
        ["", "", '["x"]', "b"],
    ]


def test_a_long_table_keeps_its_columns_and_its_one_heading() -> None:
    """Rows beyond the first thousand stand under the same heading, in columns that never become narrower."""
    things = [Thing("x", 10**9) for _ in range(ROWS_FITTED_TOGETHER)] + [Thing("y", 1)]
    lines = shown(things, OutputFormat.TABLE).splitlines()
    assert len(lines) == len(things) + 1
    assert len({line.rindex(line.split()[-1]) for line in lines[1:]}) == 1


def test_a_failing_listing_leaves_no_half_document() -> None:
    """When the listing breaks off, nothing of the JSON array was printed: the error is the one document."""
    stream = io.StringIO()
    output = Output(OutputFormat.JSON, stream)

    def things() -> Iterator[Thing]:
        yield Thing("a")
        raise Ds3Error("broke off", hint="again")

    with pytest.raises(Ds3Error) as failure:
        output.records(things(), FIELDS)
    output.error(failure.value)
    assert json.loads(stream.getvalue()) == {
        "error": {"code": "Failed", "exit_code": 1, "message": "broke off", "hint": "again", "request_id": None}
    }


@pytest.mark.parametrize("shape", [OutputFormat.JSON, OutputFormat.NDJSON])
def test_a_result_with_an_error_is_one_document_and_ends_the_run(shape: OutputFormat) -> None:
    """What was done and what failed stand in one document; the exit code is the one given."""
    stream = io.StringIO()
    with pytest.raises(ShownError) as ended:
        Output(shape, stream).finish(Thing("a"), FIELDS, JobError("two failed"), exit_code=5)
    document = json.loads(stream.getvalue())
    assert document["name"] == "a"
    assert document["error"]["exit_code"] == 5
    assert ended.value.exit_code == 5


def test_markup_in_a_name_is_text_on_a_terminal() -> None:
    """A name like [red] or :smile: is shown letter by letter, and an escape code stays visible."""
    stream = io.StringIO()
    Output(OutputFormat.TABLE, stream, styled=True).records([Thing("[red]a[/red] :smile: \x1b[0m")], FIELDS)
    assert "[red]a[/red] :smile: \\e[0m" in stream.getvalue()


def test_a_name_longer_than_the_terminal_is_folded_and_not_cut() -> None:
    """Every character of a long name reaches the screen."""
    stream = io.StringIO()
    Output(OutputFormat.TABLE, stream, styled=True).records([Thing("k" * 300)], FIELDS)
    assert stream.getvalue().count("k") == 300


def test_a_table_wider_than_the_terminal_breaks_between_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the columns do not fit, a row goes on in the next line, set in; nothing is cropped."""
    monkeypatch.setenv("COLUMNS", "80")
    stream = io.StringIO()
    wide: list[Field[Thing]] = [Field(f"column_{number}", lambda thing: thing.name * 30) for number in range(5)]
    Output(OutputFormat.TABLE, stream, styled=True).records([Thing("x")], wide)
    assert stream.getvalue().splitlines() == [
        "COLUMN 0" + " " * 24 + "COLUMN 1",
        "    COLUMN 2" + " " * 24 + "COLUMN 3",
        "    COLUMN 4",
        "x" * 30 + "  " + "x" * 30,
        "    " + "x" * 30 + "  " + "x" * 30,
        "    " + "x" * 30,
    ]


def test_a_long_value_of_one_record_goes_on_below_where_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a terminal it breaks between words and is set in; in a file it is one line."""
    monkeypatch.setenv("COLUMNS", "40")
    fields: list[Field[Thing]] = [Field("name", lambda thing: thing.name)]
    shapes = []
    for styled in (True, False):
        stream = io.StringIO()
        Output(OutputFormat.TABLE, stream, styled=styled).record(Thing("one-two three " * 3 + "k" * 50), fields)
        shapes.append(stream.getvalue().splitlines())
    assert shapes[0] == [
        "Name  one-two three one-two three",
        "      one-two three " + "k" * 20,
        "      " + "k" * 30,
    ]
    assert shapes[1] == ["Name  " + "one-two three " * 3 + "k" * 50]


def test_a_wide_table_in_a_file_is_one_line_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no terminal has no edge: scripts cut columns out of whole lines."""
    monkeypatch.setenv("COLUMNS", "80")
    stream = io.StringIO()
    wide: list[Field[Thing]] = [Field(f"column_{number}", lambda thing: thing.name * 30) for number in range(5)]
    Output(OutputFormat.TABLE, stream).records([Thing("x")], wide)
    assert stream.getvalue().splitlines()[1] == "  ".join(["x" * 30] * 5)


def test_an_empty_value_is_a_dash_for_people() -> None:
    """No metadata is shown as such, not as a blank."""
    stream = io.StringIO()
    empty: list[Field[Thing]] = [Field("metadata", lambda _: {}), Field("etag", lambda _: "e", heading="ETag")]
    Output(OutputFormat.TABLE, stream).record(Thing("a"), empty)
    assert stream.getvalue() == "Metadata  -\nETag      e\n"


class _ClosedPipe(io.StringIO):
    """Stdout after `head` has gone."""

    def write(self, _text: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError


@pytest.mark.parametrize("shape", list(OutputFormat))
@pytest.mark.parametrize("styled", [False, True])
def test_a_reader_that_has_gone_is_told_apart_from_a_broken_connection(shape: OutputFormat, *, styled: bool) -> None:
    """A closed stdout raises its own error, which main ends quietly on; a BrokenPipeError of a socket is none."""
    with pytest.raises(OutputClosedError):
        Output(shape, _ClosedPipe(), styled=styled).records([Thing("a")], FIELDS)


def test_a_stream_that_knows_only_ascii_gets_ascii() -> None:
    """JSON can be written wherever stdout goes."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    Output(OutputFormat.JSON, stream).records([Thing("é")], FIELDS)
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    assert json.loads(buffer.getvalue())[0]["name"] == "é"


class Terminal(io.StringIO):
    """A stream that a person looks at."""

    def isatty(self) -> bool:
        return True


def test_exact_names_are_for_programs() -> None:
    """A program gets every letter and a NUL; a person at a terminal gets lines that are safe."""
    program, person = io.StringIO(), Terminal()
    assert Output(OutputFormat.TABLE, program).exact(["a\nb", "\x9bc"], end="\0") == 2
    assert Output(OutputFormat.TABLE, person).exact(["a\nb", "\x9bc"], end="\0") == 2
    assert program.getvalue() == "a\nb\0\x9bc\0"
    assert person.getvalue() == "a\\nb\n\\x9bc\n"


def test_an_encoding_that_lacks_a_character_stops_no_listing() -> None:
    """Names that the reader's encoding cannot hold are escaped; the other lines come as they are."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    Output(OutputFormat.TABLE, stream).records([Thing("ü"), Thing("b")], FIELDS)
    assert isinstance(stream.buffer, io.BytesIO)
    told = stream.buffer.getvalue().decode("ascii")
    assert "\\xfc" in told
    assert told.endswith("b\n")


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "object", "0 objects"),
        (1, "object", "1 object"),
        (2000, "object", "2,000 objects"),
        (2, "prefix", "2 prefixes"),
    ],
)
def test_numbers_of_things_read_as_people_write_them(number: int, noun: str, text: str) -> None:
    """One object, two objects, three prefixes."""
    assert counted(number, noun) == text
