"""The table of hard cases tells the truth about its tests: each is there, and no item of a section is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tables import Row, missing_tests, rows_of

# How many items each section has: what was promised does not go by accident.
ITEMS = (13, 5, 12, 11, 7, 6, 21, 3)


@pytest.fixture
def rows(project: Path) -> list[Row]:
    """The page's rows."""
    return rows_of(project / "docs" / "hard-cases.md")


def test_every_case_is_there_once_and_in_order(rows: list[Row]) -> None:
    """Each case has its number, what is done about it and at least one test."""
    numbers = [f"{section}.{item}" for section, items in enumerate(ITEMS, 1) for item in range(1, items + 1)]
    assert [row.number for row in rows] == numbers
    for row in rows:
        row.check()


def test_every_test_of_a_case_exists(project: Path, rows: list[Row]) -> None:
    """Each test in the tables can be run by the name given there."""
    missing = missing_tests(project, rows)
    assert not missing, "\n" + "\n".join(missing)
