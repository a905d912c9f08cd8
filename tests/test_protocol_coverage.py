"""The table of what ds3tool survives tells the truth about its tests: each is there, and no item is missing."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from ds3tool.simulator import Quirk

ITEMS = 24
_ROW = re.compile(r"^\| (\d+) \|(.*)\|(.*)\|(.*)\|$", re.MULTILINE)
_NODE = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@pytest.fixture
def rows(project: Path) -> list[tuple[str, ...]]:
    """The table's rows: number, what happens, what is done, the tests."""
    return _ROW.findall((project / "docs" / "protocol-coverage.md").read_text())


def named_tests(path: Path) -> set[str]:
    """Return the names of the test functions that pytest collects from a file, those of classes too."""
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_item_is_there_once_and_in_order(rows: list[tuple[str, ...]]) -> None:
    """The table has each of the things to survive, with what is done about it and at least one test."""
    assert [int(row[0]) for row in rows] == list(range(1, ITEMS + 1))
    for number, happens, does, shown in rows:
        assert happens.strip(), number
        assert does.strip(), number
        assert _NODE.search(shown), f"item {number} names no test"
        assert not _NODE.sub("", shown).strip(), f"item {number} names something that is no test"


def test_every_named_test_exists(project: Path, rows: list[tuple[str, ...]]) -> None:
    """Each test in the table can be run by the name given there."""
    missing = [
        f"item {row[0]}: {file}::{name}"
        for row in rows
        for file, name in _NODE.findall(row[3])
        if not (project / file).is_file() or name not in named_tests(project / file)
    ]
    assert not missing, "\n" + "\n".join(missing)


def test_every_quirk_has_its_reason() -> None:
    """Each says what the appliance does, and the mistake that this exposes; no two say the same."""
    assert all(len(quirk.what) > 10 and len(quirk.exposes) > 5 for quirk in Quirk)
    assert len({quirk.what for quirk in Quirk}) == len(Quirk)
