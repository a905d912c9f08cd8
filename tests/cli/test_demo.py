"""The demo tells a whole archive's life, and every digest is the same in the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.runner import run


@pytest.mark.timeout(200)
def test_the_demo_archives_ejects_restores_and_verifies(tmp_path: Path) -> None:
    """Its JSON says how much went over how many tapes, which one was missed, and that all was verified."""
    result = run("demo", "-o", "json", environ={"TMPDIR": str(tmp_path)}).expect(0)
    story = result.json
    assert story["objects"] == story["verified"] > 2500
    assert story["bytes"] > 200_000_000
    assert story["blobs_in_largest"] > 10
    assert story["tapes"] >= 3
    assert f"tapes must be loaded first: {story['missing_tape']}" in result.stderr
    assert "waiting for" in result.stderr
