"""A file's size does not show in the process's memory."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ds3tool.simulator import Appliance, ApplianceSettings

_MIB = 1 << 20
# Runs a command line, then says on stderr how much memory the process had at most, in KiB. The kernel's ru_maxrss
# would not do: it remembers the process that forked this one.
_MEASURED = """
import re, sys
from ds3tool.cli.main import main
code = main(sys.argv[1:])
print("peak", re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1], file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    """An appliance with small blobs, whose state lies beside the test's files."""
    settings = ApplianceSettings(str(tmp_path / "appliance"), blob_size=64 * _MIB, persist_delay=0, retry_after=0)
    with Appliance(settings) as running:
        yield running


def _peak_mib(appliance: Appliance, *arguments: str) -> int:
    environment = dict(
        os.environ,
        DS3_ENDPOINT=appliance.endpoint,
        DS3_ACCESS_KEY=appliance.access_key,
        DS3_SECRET_KEY=appliance.secret_key,
    )
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, *arguments, "--progress", "none"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return int(done.stderr.split()[-1]) // 1024


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.mark.parametrize("mebibytes", [320, pytest.param(4096, marks=[pytest.mark.more, pytest.mark.timeout(900)])])
def test_a_large_file_goes_there_and_back_in_little_memory(
    tmp_path: Path, appliance: Appliance, mebibytes: int
) -> None:
    """In blobs of 64 MiB, neither put nor get needs 200 MB, and the bytes are the same."""
    large, back = tmp_path / "large.bin", tmp_path / "back.bin"
    with large.open("wb") as file:
        for _ in range(mebibytes // 16):
            file.write(os.urandom(16 * _MIB))
    _peak_mib(appliance, "mb", "ds3://archive")
    assert _peak_mib(appliance, "put", str(large), "ds3://archive/large.bin") < 190
    assert _peak_mib(appliance, "get", "ds3://archive/large.bin", str(back)) < 190
    assert back.stat().st_size == mebibytes * _MIB
    assert _sha256(back) == _sha256(large)
