"""The table of what ds3tool survives tells the truth about its tests: each is there, and no item is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from ds3tool.simulator import Quirk
from tests.tables import Row, missing_tests, rows_of

ITEMS = 24


@pytest.fixture
def rows(project: Path) -> list[Row]:
    """The table's rows."""
    return rows_of(project / "docs" / "protocol-coverage.md")


def test_every_item_is_there_once_and_in_order(rows: list[Row]) -> None:
    """The table has each of the things to survive, with what is done about it and at least one test."""
    assert [int(row.number) for row in rows] == list(range(1, ITEMS + 1))
    for row in rows:
        row.check()


def test_every_named_test_exists(project: Path, rows: list[Row]) -> None:
    """Each test in the table can be run by the name given there."""
    missing = missing_tests(project, rows)
    assert not missing, "\n" + "\n".join(missing)


def test_every_quirk_has_its_reason() -> None:
    """Each says what the appliance does, and the mistake that this exposes; no two say the same."""
    assert all(len(quirk.what) > 10 and len(quirk.exposes) > 5 for quirk in Quirk)
    assert len({quirk.what for quirk in Quirk}) == len(Quirk)
