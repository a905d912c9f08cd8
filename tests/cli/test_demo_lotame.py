"""The demo of Lotame walks the whole road, and what comes back is what Lotame has."""

from __future__ import annotations

import os
from pathlib import Path

from tests.cli.runner import run


def test_the_whole_road_is_walked(tmp_path: Path) -> None:
    """Its JSON says that every file came back the same, and what was missing; nothing is left behind."""
    result = run("demo", "lotame", "-o", "json", environ={"TMPDIR": str(tmp_path)}).expect(0)
    story = result.json
    assert story["feeds"] == 3
    assert story["files"] == story["verified"] == 39
    assert story["gaps"] == 1
    assert story["tapes"] >= 1
    assert story["rows"] > 10_000
    assert "is listed by Lotame and is not there" in result.stderr
    assert os.listdir(tmp_path) == []
