"""One appliance for all tests of a file; each test takes buckets of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.archive import Archive, small_appliance


@pytest.fixture(scope="module")
def archive() -> Iterator[Archive]:
    """A running appliance."""
    with small_appliance() as appliance:
        archive = Archive.of(appliance)
        with archive.client:
            yield archive


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder of three files, two of them below another; files with other needs have a tree of their own."""
    root = tmp_path / "tree"
    (root / "a").mkdir(parents=True)
    (root / "a" / "one.txt").write_bytes(b"one")
    (root / "a" / "two.txt").write_bytes(b"second")
    (root / "three.bin").write_bytes(os.urandom(3000))
    return root
