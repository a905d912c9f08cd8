"""DataStream files become tables: each behaviour a row, every cell where its heading says, no line lost in silence."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tracemalloc
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ds3tool.errors import UsageError
from ds3tool.lotame import convert
from ds3tool.lotame.convert import BadLine, Converted, Converter, DamagedFileError, Form, read_mapping

PROFILE = {
    "id": {"val": "p-0001", "type": "mobile", "sub_type": "GAID"},
    "country": "US",
    "region": "na",
    "events": [{"tap": "DEVICE", "c": 4321, "subSrc": 77, "ts": 1767225600, "add": [101, 202], "remove": [303]}],
}
MAPPING = {"behavior_id": 101, "hierarchy_nodes": [{"id": 555, "path": "Example Hierarchy^Sports^Rowing"}]}


def lines(*values: Any) -> bytes:  # noqa: ANN401  # whatever JSON holds
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


class Table:
    """A conversion into memory: `text` is what was written, `bad` the lines that made no row."""

    def __init__(self, *files: bytes, form: Form = Form.CSV, paths: Mapping[str, Sequence[str]] | None = None) -> None:
        self.out = io.BytesIO()
        self.bad: list[BadLine] = []
        converter = Converter(self.out.write, form, paths=paths)
        for number, file in enumerate(files):
            converter.add(io.BufferedReader(io.BytesIO(file)), f"file-{number}.gz", self.bad.append)
        converter.end()
        self.done: Converted = converter.done

    @property
    def text(self) -> str:
        return self.out.getvalue().decode()

    @property
    def rows(self) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.text, newline="")))

    @property
    def values(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


def test_each_behaviour_is_a_row() -> None:
    """A profile with two behaviours added and one removed makes three rows, and every field of it has its column."""
    table = Table(gzip.compress(lines(PROFILE)))
    about = {
        "id": "p-0001",
        "type": "mobile",
        "sub_type": "GAID",
        "country": "US",
        "region": "na",
        "tap": "DEVICE",
        "client": "4321",
        "sub_source": "77",
        "ts": "1767225600",
    }
    assert table.rows == [
        {**about, "operation": "add", "behavior_id": "101"},
        {**about, "operation": "add", "behavior_id": "202"},
        {**about, "operation": "remove", "behavior_id": "303"},
    ]
    assert (table.done.lines, table.done.rows, table.done.bad) == (1, 3, 0)


def test_header_and_rows_have_the_same_separator_and_the_header_comes_once() -> None:
    """Several files make one table: one header, and every line of it has as many cells as that."""
    table = Table(gzip.compress(lines(PROFILE)), lines(PROFILE), gzip.compress(lines(PROFILE)))
    rows = list(csv.reader(io.StringIO(table.text)))
    assert [row[0] for row in rows] == ["id"] + ["p-0001"] * 9
    assert {len(row) for row in rows} == {11}


def test_client_is_read_from_where_the_data_have_it() -> None:
    """`c` is the client; without it the column is empty, and `subSrc` stays what it is, in a column of its own."""
    event = {"c": 7, "ts": 1, "add": [1]}
    table = Table(
        lines({"id": {"val": "a"}, "events": [event]}, {"id": {"val": "b"}, "events": [{"subSrc": 8, "add": [1]}]})
    )
    assert [(row["client"], row["sub_source"]) for row in table.rows] == [("7", ""), ("", "8")]


def test_cells_are_quoted() -> None:
    """A comma, a quote, a line break and letters of any script come back from the table as they were."""
    odd = 'a,"b"\nc\r\té日本'
    for form in Form:
        table = Table(lines({**PROFILE, "country": odd}), form=form)
        found = table.rows if form is Form.CSV else table.values
        assert [row["country"] for row in found] == [odd] * 3


def test_ndjson_says_the_same() -> None:
    """As NDJSON each row is a line, numbers stay numbers, and what a profile lacks is null."""
    table = Table(lines({"id": {"val": 5}, "events": [{"add": [101]}]}), form=Form.NDJSON, paths={"101": ("A^B", "C")})
    assert table.values == [
        {
            "id": 5,
            "type": None,
            "sub_type": None,
            "country": None,
            "region": None,
            "tap": None,
            "client": None,
            "sub_source": None,
            "ts": None,
            "operation": "add",
            "behavior_id": 101,
            "behavior_paths": ["A^B", "C"],
        }
    ]


def test_mapping_files_are_tables_too() -> None:
    """A mapping file makes a row for each place of a behaviour, and one without a place for one that has none."""
    two = {"behavior_id": 7, "hierarchy_nodes": [{"id": 1, "path": "A^B, C"}, {"id": 2, "path": "D"}]}
    table = Table(gzip.compress(lines(MAPPING, two, {"behavior_id": 8, "hierarchy_nodes": []})))
    assert list(csv.reader(io.StringIO(table.text))) == [
        ["behavior_id", "hierarchy_id", "path"],
        ["101", "555", "Example Hierarchy^Sports^Rowing"],
        ["7", "1", "A^B, C"],
        ["7", "2", "D"],
        ["8", "", ""],
    ]


def test_names_of_behaviours_stand_beside_them() -> None:
    """With a mapping file every row has the paths of its behaviour; one that it lacks has an empty cell."""
    paths = read_mapping(io.BufferedReader(io.BytesIO(gzip.compress(lines(MAPPING, MAPPING)))), "m.gz")
    path = "Example Hierarchy^Sports^Rowing"
    assert paths == {"101": (path, path)}
    assert [row["behavior_paths"] for row in Table(lines(PROFILE), paths=paths).rows] == [f"{path}|{path}", "", ""]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not JSON"),
        (b"[1]", "a list, not an object"),
        (b'{"events": []}', "has no id"),
        (b'{"id": "p"}', "id is a text, not an object"),
        (b'{"id": {"val": null}}', "its id has no val"),
        (b'{"id": {"val": true}}', "its id has no val"),
        (b'{"id": {"val": "p"}, "events": {}}', "events is an object, not a list"),
        (b'{"id": {"val": "p"}, "events": [3]}', "an event is a number"),
        (b'{"id": {"val": "p"}, "events": [{"add": 101}]}', "add is a number, not a list"),
        (b'{"id": {"val": "p"}, "events": [{"add": [null]}]}', "add holds null"),
        (b'{"id": {"val": "p"}, "events": [{"add": [1.5]}]}', "add holds a number"),
        (b'{"id": {"val": "p"}, "events": [{"ts": [1], "add": [1]}]}', "ts is a list"),
        (b'{"id": {"val": "p"}, "events": [{"ts": NaN, "add": [1]}]}', "NaN"),
        (b'{"id": {"val": "p"}, "events": [{"ts": 1e999, "add": [1]}]}', "too large"),
        (b'{"id": {"val": "p\xff"}}', "not UTF-8, at byte 17"),
        (b'{"id": {"val": "\\ud800"}, "events": [{"add": [1]}]}', "surrogate"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"behavior_id": 101}', "has no id"),
    ],
)
def test_bad_line_is_named_and_the_others_go_on(line: bytes, reason: str) -> None:
    """A line that is no profile is told with its file and its number, writes nothing, and loses no other line."""
    for form in Form:
        table = Table(lines(PROFILE) + line + b"\n" + lines(PROFILE), form=form)
        assert [(bad.file, bad.line) for bad in table.bad] == [("file-0.gz", 2)]
        assert reason in table.bad[0].reason
        assert str(table.bad[0]).startswith("file-0.gz:2: ")
        assert (table.done.lines, table.done.rows, table.done.bad) == (2, 6, 1)
        assert len(table.rows if form is Form.CSV else table.values) == 6


def test_lines_that_name_no_behaviour_are_counted() -> None:
    """A profile without events, or with an empty one, is no bad line; it makes no row, and that is counted."""
    table = Table(lines({"id": {"val": "a"}}, {"id": {"val": "b"}, "events": [{"tap": "X"}]}, PROFILE) + b"\n \n")
    assert (table.done.lines, table.done.rows, table.done.without_rows, table.bad) == (3, 3, 2, [])


def test_fields_without_a_column_are_counted() -> None:
    """What no column holds is told by name, with how many there were, for profiles and mapping files."""
    odd = {**PROFILE, "city": "X", "id": {"val": "p", "age": 1}, "events": [{"add": [1], "z": 1}, {"add": [], "z": 2}]}
    assert Table(lines(odd, PROFILE)).done.unknown == {"city": 1, "id.age": 1, "events.z": 2}
    assert Table(lines({**MAPPING, "name": "x"})).done.unknown == {"name": 1}


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_gzip_that_is_cut_short_is_never_taken_for_whole(data: st.DataObject) -> None:
    """Wherever a gzip file is cut off, down to its first byte and to nothing, the conversion fails and names it."""
    whole = gzip.compress(lines(*[PROFILE] * 50))
    end = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(DamagedFileError, match=r"file-0\.gz"):
        Table(whole[:end])


def test_damaged_gzip_is_named() -> None:
    """A byte that is not what it was fails the file, and so does what follows its end."""
    whole = bytearray(gzip.compress(lines(PROFILE)))
    whole[-6] ^= 1
    with pytest.raises(DamagedFileError, match="damaged"):
        Table(bytes(whole))
    with pytest.raises(DamagedFileError, match="damaged"):
        Table(gzip.compress(lines(PROFILE)) + b"trailing")


def test_mapping_that_is_none_is_refused() -> None:
    """A file of profiles given as the mapping is an error that names its line; so is one that is cut short."""
    with pytest.raises(UsageError, match="m:1: it has no behavior_id"):
        read_mapping(io.BufferedReader(io.BytesIO(lines(PROFILE))), "m")
    with pytest.raises(DamagedFileError):
        read_mapping(io.BufferedReader(io.BytesIO(gzip.compress(lines(MAPPING))[:-3])), "m")


def test_an_empty_table_has_its_header() -> None:
    """Files without a line make a table of headings alone, once; as NDJSON nothing."""
    table = Table(gzip.compress(b""), gzip.compress(b"\n"))
    assert table.text.splitlines() == [",".join(csv.DictReader(io.StringIO(table.text)).fieldnames or ())]
    assert Table(gzip.compress(b""), form=Form.NDJSON).text == ""


def test_a_large_file_is_never_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that unpacks to 2 MB is converted in a few hundred KB of memory, also with one line without end."""
    monkeypatch.setattr(convert, "LONGEST_LINE", 10_000)
    file = gzip.compress(lines(PROFILE) * 3_000 + b"x" * 1_200_000 + b"\n" + lines(PROFILE))
    written = 0

    def write(data: bytes) -> None:
        nonlocal written
        written += len(data)

    bad: list[BadLine] = []
    converter = Converter(write, Form.CSV)
    tracemalloc.start()
    try:
        converter.add(io.BufferedReader(io.BytesIO(file)), "file", bad.append)
        assert tracemalloc.get_traced_memory()[1] < 400_000
    finally:
        tracemalloc.stop()
    assert [(one.line, "longer" in one.reason) for one in bad] == [(3001, True)]
    assert converter.done.lines == 3001
    assert written > 400_000


@pytest.mark.parametrize("odd", ["a\rb", "a\nb", "a\r\nb", '"', "a,b", "\r"])
def test_a_cell_with_line_ends_is_one_cell(odd: str) -> None:
    """Whatever ends lines inside of a value stands between quotes, so that the row is one row to every reader."""
    out = io.BytesIO()
    converter = Converter(out.write, Form.CSV)
    profile = {"id": {"val": odd}, "events": [{"add": [1]}]}
    converter.add(io.BytesIO(lines(profile)), "odd", lambda line: pytest.fail(str(line)))
    found = list(csv.reader(io.StringIO(out.getvalue().decode(), newline="")))
    assert [row[0] for row in found] == ["id", odd]
    assert out.getvalue().endswith(b"add,1\n")
