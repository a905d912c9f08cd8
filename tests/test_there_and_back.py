"""Three thousand files with odd names go through a cache far smaller than they are, onto tape and back, to the byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trees import digests, make_tree

MIB = 1 << 20


def _ds3tool(*arguments: str, environment: dict[str, str]) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-m", "ds3tool", *arguments, "-o", "json"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, f"ds3tool {arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    document = json.loads(done.stdout)
    assert isinstance(document, dict)
    return document


# What all sizes are divided by: a third of the files, as many blobs and chunks of each through as tight a cache;
# the largest blobs are still none of those that go through the loop for small requests.
@pytest.fixture(params=[3, pytest.param(1, marks=pytest.mark.more)])
def divided_by(request: pytest.FixtureRequest) -> int:
    """How much smaller than real ones the files, the blobs and the cache are, and how many fewer there are."""
    divisor: int = request.param
    return divisor


@pytest.fixture
def appliance(tmp_path: Path, divided_by: int) -> Iterator[dict[str, str]]:
    """An appliance in a process of its own, with a cache of 24 MiB; gives the environment that names it."""
    scaled = {name: str(size * MIB // divided_by) for name, size in (("blob", 1), ("chunk", 4), ("cache", 24))}
    sizes = [part for name, size in scaled.items() for part in (f"--{name}-size", size)]
    options = [*sizes, "--retry-after", "0", "--persist-delay", "0"]
    with subprocess.Popen(
        [sys.executable, "-m", "ds3tool", "sim", "serve", "--dir", str(tmp_path / "appliance"), *options],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        yield dict(line.removeprefix("export ").strip().split("=", 1) for line in lines)
        process.terminate()


@pytest.mark.timeout(300)
def test_files_with_odd_names_come_back_as_they_went(
    tmp_path: Path, appliance: dict[str, str], divided_by: int
) -> None:
    """Put, persist and get of 3,000 files of 0 to 3.5 MB in blobs of 1 MiB lose and change no byte and no name."""
    tree, restored, files = tmp_path / "tree", tmp_path / "restored", 3000 // divided_by
    total = make_tree(tree, files=files, largest=3_500_000 // divided_by, seed=2026)
    _ds3tool("mb", "ds3://archive", environment=appliance)
    put = _ds3tool("put", str(tree), "ds3://archive/a prefix/", "--wait", "tape", environment=appliance)
    assert (put["objects"], put["bytes"], put["failed"]) == (files + 1, total, [])
    got = _ds3tool("get", "ds3://archive/a prefix/", str(restored), environment=appliance)
    assert (got["objects"], got["bytes"], got["failed"]) == (files + 1, total, [])
    assert got["verified"] is True
    assert digests(restored) == digests(tree)
    again = _ds3tool("put", str(tree), "ds3://archive/a prefix/", environment=appliance)
    assert (again["objects"], again["skipped"]) == (0, files + 1)
