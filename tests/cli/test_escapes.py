"""Nothing that a stranger put into a name steers the terminal, and JSON keeps the true text."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds3tool.cli.escapes import csv_cell, json_text, printable

_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()))


@given(_ANY_TEXT)
def test_printable_text_holds_nothing_that_steers_a_terminal(text: str) -> None:
    """Whatever the name, no control character, direction mark or surrogate is left in what is shown."""
    assert not _STEERING.search(printable(text))


@given(_ANY_TEXT)
def test_json_reads_back_as_the_text_it_was_made_of(text: str) -> None:
    """JSON loses nothing of a name, and yet its bytes can be written and steer nothing."""
    written = json_text({text: [text]})
    assert json.loads(written) == {text: [text]}
    assert not _STEERING.search(written)
    written.encode("utf-8")


@given(_ANY_TEXT)
def test_a_csv_cell_never_begins_like_a_formula(text: str) -> None:
    """A spreadsheet that opens the file computes nothing."""
    assert not csv_cell(text).startswith(("=", "+", "-", "@", "\t", "\r"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain name.txt", "plain name.txt"),
        ("é ü 写真 🙂", "é ü 写真 🙂"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x1b[31mred", "\\e[31mred"),
        ("raw\udcff", "raw\\udcff"),
        ("evil\u202etxt.exe", "evil\\u202etxt.exe"),
        ("[red]not markup[/red]", "[red]not markup[/red]"),
    ],
)
def test_names_are_shown_as_they_are_but_for_what_steers(text: str, shown: str) -> None:
    """Accents, scripts and brackets stay; what steers becomes a visible escape."""
    assert printable(text) == shown


def test_a_lone_surrogate_is_escaped_in_json() -> None:
    r"""A byte of a file name that is not UTF-8 reads \udcXX in JSON."""
    assert json_text("a\udcff") == '"a\\udcff"'


def test_a_document_for_people_keeps_its_line_breaks() -> None:
    """The layout of an indented document survives the escaping."""
    assert json_text({"a": 1}, indent=2) == '{\n  "a": 1\n}'
