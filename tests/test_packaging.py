"""The project installs as a package: sdist and wheel hold what they should and nothing more."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from ds3tool.version import VERSION


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from the sdist."""
    project = Path(__file__).parent.parent
    target = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(target), str(project)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return target


def test_the_wheel_holds_the_package_its_types_and_its_command(built: Path) -> None:
    """Every module is in it, `py.typed` is, and `ds3tool` is a command."""
    (wheel,) = built.glob("*.whl")
    assert wheel.name == f"ds3tool-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        entry_points = archive.read(f"ds3tool-{VERSION}.dist-info/entry_points.txt").decode()
    package = Path(__file__).parent.parent / "ds3tool"
    modules = {f"ds3tool/{path.relative_to(package)}" for path in package.rglob("*.py")}
    assert modules <= names
    assert {"ds3tool/py.typed", "ds3tool/firehose/firehose-to-s3.yaml"} <= names
    assert not any(name.startswith("tests/") for name in names)
    assert "ds3tool = ds3tool.cli.main:main" in entry_points


def test_the_sdist_builds_and_carries_licence_and_readme(built: Path) -> None:
    """The wheel above was made from it; what a reader looks for is in it."""
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"LICENSE", "README.md", "setup.py", "pyproject.toml", "Makefile", "CHANGELOG.md"} <= names
    assert {"docs/decisions.md", "docs/terms.md", "examples/put_and_get.py", "resources/README.md"} <= names
    assert "tests/golden/responses/job-put.xml" in names


def test_the_changelog_knows_the_version(project: Path) -> None:
    """The newest entry is the version that the package states."""
    newest = re.search(r"^## (\S+?),? ", (project / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1].rstrip(",") == VERSION
