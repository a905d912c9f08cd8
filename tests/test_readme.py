"""Every code block of the README runs as it is written."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import CodeBlockParser
from sybil.typing import Evaluator

from tests.far.servers import FarSide
from tests.shell import Shell, agrees, commands_of, is_make


def _blocks(path: Path, language: str) -> list[tuple[int, str]]:
    """Return the README's blocks of one language, each with the line it begins at."""

    def leave(*_: object) -> None:
        return None

    evaluator: Evaluator = leave
    document = Sybil([CodeBlockParser(language=language, evaluator=evaluator)]).parse(path)
    return [(example.line, str(example.parsed)) for example in document.examples()]


@pytest.fixture
def copy(project: Path, tmp_path: Path) -> Path:
    """A folder with what a clone's README commands need, where they may leave things."""
    folder = tmp_path / "clone"
    folder.mkdir()
    for name in ("resources", "examples"):
        shutil.copytree(project / name, folder / name)
    for name in ("Makefile", "setup.py", "pyproject.toml"):
        shutil.copy(project / name, folder / name)
    return folder


def test_every_kind_of_block_in_the_readme_is_run_here(project: Path) -> None:
    """A block in another language than these two would be run by nothing."""
    fences = [line.strip() for line in (project / "README.md").read_text().splitlines() if line.startswith("```")]
    assert set(fences[::2]) == {"```console", "```python"}


def test_the_readme_s_commands_say_what_it_shows(
    project: Path, copy: Path, tmp_path: Path, seaweed: FarSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Typed in their order in one shell of somebody who has S3, the commands print what stands beneath them."""
    for name, value in seaweed.environ.items():
        monkeypatch.setenv(name, value)
    shell = Shell(copy, tmp_path / "shell-state")
    try:
        for line, block in _blocks(project / "README.md", "console"):
            for command, shown in commands_of(block):
                target = is_make(command)
                if target is not None:
                    subprocess.run(["make", "-n", target], cwd=copy, check=True, capture_output=True)
                    continue
                code, said = shell.run(command)
                story = "\n".join(shell.transcript)
                assert code == 0, f"README.md line {line}:\n{story}"
                assert agrees(shown, said), f"README.md line {line}, expected:\n{shown}\n{story}"
    finally:
        shell.run("ds3tool sim stop")


def test_the_readme_s_python_runs(project: Path, copy: Path) -> None:
    """The library's example works as a script."""
    blocks = _blocks(project / "README.md", "python")
    assert blocks
    for _, block in blocks:
        done = subprocess.run(
            [sys.executable, "-c", block], cwd=copy, capture_output=True, text=True, check=False, timeout=100
        )
        assert done.returncode == 0, done.stderr
        assert "weather/2024/01/station-05.csv" in done.stdout
