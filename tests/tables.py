"""Reads the tables of `docs/` that say which test shows what, and holds them to the tests that there are."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

_ROW = re.compile(r"^\| (\d+(?:\.\d+)?) \|(.*)\|(.*)\|(.*)\|$", re.MULTILINE)
_NODE = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@dataclass(frozen=True)
class Row:
    """One line of a table: its number, what happens, what is done about it, and the tests that show it."""

    number: str
    happens: str
    does: str
    shown: str

    @property
    def nodes(self) -> list[tuple[str, str]]:
        """The tests by file and function."""
        return _NODE.findall(self.shown)

    def check(self) -> None:
        """Fail when something is left empty, or what stands in the last column is no test."""
        assert self.happens.strip(), self.number
        assert self.does.strip(), self.number
        assert self.nodes, f"item {self.number} names no test"
        assert not _NODE.sub("", self.shown).strip(), f"item {self.number} names something that is no test"


def rows_of(page: Path) -> list[Row]:
    """Return the rows of all numbered tables of a page."""
    return [Row(*found) for found in _ROW.findall(page.read_text())]


def named_tests(path: Path) -> set[str]:
    """Return the names of the test functions that pytest collects from a file, those of classes too."""
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def missing_tests(project: Path, rows: list[Row]) -> list[str]:
    """Return the tests that rows name and that are not there."""
    return [
        f"item {row.number}: {file}::{name}"
        for row in rows
        for file, name in row.nodes
        if not (project / file).is_file() or name not in named_tests(project / file)
    ]
