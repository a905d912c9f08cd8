"""How names change on their way: a prefix that is left out, a map of names."""

from __future__ import annotations

import pytest

from ds3tool.errors import UsageError
from ds3tool.renaming import Renaming, parse_rename_map


def test_a_prefix_is_left_out_where_it_is_there() -> None:
    """A name that does not begin with it stays as it is."""
    renaming = Renaming("logs/")
    assert [renaming(name) for name in ["logs/a", "logs", "x/logs/a"]] == ["a", "logs", "x/logs/a"]


def test_a_map_takes_whole_names_first_and_then_the_longest_prefix() -> None:
    """Whole names win over prefixes, longer prefixes over shorter."""
    renaming = Renaming("in/", {"a/": "x/", "a/b/": "y/", "a/b/c": "z", "d/": ""})
    names = ["in/a/b/c", "in/a/b/d", "in/a/e", "in/f", "in/d/g", "a"]
    assert [renaming(name) for name in names] == ["z", "y/d", "x/e", "f", "g", "a"]


def test_a_map_is_lines_of_two_names() -> None:
    """Blanks and hashes belong to names; empty lines do not count."""
    assert parse_rename_map(["#a \t b", "", "c/\td/\r\n"], origin="map") == {"#a ": " b", "c/": "d/"}


@pytest.mark.parametrize("line", ["a", "\tb", "a\tb\tc", "a/\tb", "a\tb/", "a\t"])
def test_a_line_that_is_no_pair_is_refused_with_its_number(line: str) -> None:
    """The error names the file and the line."""
    with pytest.raises(UsageError, match="map, line 2"):
        parse_rename_map(["x\ty", line], origin="map")


def test_a_name_that_is_mapped_twice_is_refused() -> None:
    """Nobody could know which is meant."""
    with pytest.raises(UsageError, match="twice"):
        parse_rename_map(["a\tb", "a\tc"], origin="map")
