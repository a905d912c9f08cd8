"""Every file in examples/ runs against the embedded appliance."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ds3tool.simulator import Appliance, ApplianceSettings


@pytest.fixture
def appliance() -> Iterator[Appliance]:
    """An appliance that persists at once."""
    with Appliance(ApplianceSettings(persist_delay=0, retry_after=0)) as running:
        yield running


def _files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def _run(script: Path, *arguments: str, appliance: Appliance) -> str:
    environment = dict(
        os.environ,
        DS3_ENDPOINT=appliance.endpoint,
        DS3_ACCESS_KEY=appliance.access_key,
        DS3_SECRET_KEY=appliance.secret_key,
    )
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, f"{script.name} {arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_examples_archive_a_folder_restore_it_and_name_its_tapes(
    project: Path, tmp_path: Path, appliance: Appliance
) -> None:
    """What comes back is what went out, and the tapes that hold it are named."""
    sample = project / "resources" / "sample-archive"
    target = tmp_path / "restored"
    said = _run(project / "examples" / "put_and_get.py", str(sample), "archive", str(target), appliance=appliance)
    assert said.startswith("put 7 objects")
    assert _files(target) == _files(sample)
    said = _run(project / "examples" / "which_tapes.py", "archive", appliance=appliance)
    assert sum(int(line.split(": ")[1].split()[0]) for line in said.splitlines()) <= 7


def test_every_example_is_run_here(project: Path) -> None:
    """A new example must be run by a test too."""
    assert {path.name for path in (project / "examples").glob("*.py")} == {"put_and_get.py", "which_tapes.py"}
