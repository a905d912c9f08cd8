"""The rows of a CSV file, whatever stands between their quotes, as they are or as JSON."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds3tool.errors import SourceError
from ds3tool.firehose.rows import Row, as_json, rows


def of(data: bytes) -> list[tuple[int, bytes]]:
    return [(row.line, row.data) for row in rows(io.BytesIO(data))]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"a,b\r\n1,2\n\n3,4", [(1, b"a,b"), (2, b"1,2"), (4, b"3,4")]),
        (b'1,"two\r\nlines, ""quoted"""\n3,4\n', [(1, b'1,"two\r\nlines, ""quoted"""'), (3, b"3,4")]),
        (b"\xef\xbb\xbfa,b\n", [(1, b"a,b")]),
        (b" \n", [(1, b" ")]),
        (b"\xff,\x00\n", [(1, b"\xff,\x00")]),
        (b"", []),
    ],
)
def test_rows_are_whole_and_as_they_stand(data: bytes, found: list[tuple[int, bytes]]) -> None:
    """A row may span lines; what ends it, empty lines and a mark of the byte order are no part of any."""
    assert of(data) == found


_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), max_size=8)


@given(table=st.lists(st.lists(_TEXT, min_size=2, max_size=3), max_size=5))
def test_any_table_comes_back_row_by_row(table: list[list[str]]) -> None:
    """What Python's own writer makes of a table is cut where that began a new row."""
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(table)
    found = [row.data.decode() for row in rows(io.BytesIO(text.getvalue().encode()))]
    assert [next(csv.reader([row])) for row in found] == table


def test_a_quote_that_does_not_end_is_told_with_its_line() -> None:
    """The rows before it come, and then the line where it begins."""
    found = rows(io.BytesIO(b'a,b\n1,2\n3,"4\n5,6\n'))
    assert [next(found).line, next(found).line] == [1, 2]
    with pytest.raises(SourceError, match="line 3: a quote begins there"):
        next(found)


def test_a_row_becomes_an_object_with_the_columns_names() -> None:
    """Values stay the text that they are; what does not fit the columns is told."""
    convert = as_json(Row(1, 'näme,"a ""b"""'.encode()))
    assert json.loads(convert(Row(2, b'007,"x\ny"'))) == {"näme": "007", 'a "b"': "x\ny"}
    assert b"\n" not in convert(Row(2, b'007,"x\ny"'))
    with pytest.raises(SourceError, match=r"^3 fields, where there are 2 columns"):
        convert(Row(9, b"1,2,3"))
    with pytest.raises(SourceError, match=r"^no CSV: "):
        convert(Row(9, b"\xff,1"))
    with pytest.raises(SourceError, match=r"^no CSV: "):
        convert(Row(9, b'"a"b,1'))
    with pytest.raises(SourceError, match="line 1, of the columns' names: no CSV"):
        as_json(Row(1, b"\xff"))
    with pytest.raises(SourceError, match="line 1: a column's name comes twice"):
        as_json(Row(1, b"a,a"))
