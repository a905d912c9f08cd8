"""Programs run to their end, and what each took: seconds on the wall, processor time, and the most memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# Of a program that fails so much of what it said is shown.
_SHOWN = 2000


@dataclass(frozen=True, slots=True)
class Taken:
    """What one run of a program took, its children's included.

    `peak_bytes` is the resident memory of the largest of its processes. The kernel counts from what this process had
    when it began the other, so a figure no larger than `own_peak()` says only that it was no more than that.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    said: str = ""


def run(
    command: Sequence[str],
    *,
    environ: Mapping[str, str],
    folder: str | os.PathLike[str] | None = None,
    admitted: Sequence[int] = (0,),
) -> Taken:
    """Run a command until it ends; raise SystemExit, with what it said, for an exit code that is not admitted.

    What it writes to stdout and stderr goes to files, as in a script that nobody watches.
    """
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as complained:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, env=dict(environ), cwd=folder, stdin=subprocess.DEVNULL, stdout=said, stderr=complained
        )
        try:
            _, status, used = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)  # nobody else is to wait for it
        said.seek(0)
        complained.seek(0)
        told, why = said.read(), complained.read()
    if process.returncode not in admitted:
        shown = " ".join(command)
        raise SystemExit(f"{shown}: exit code {process.returncode}\n{told[-_SHOWN:]}\n{why[-_SHOWN:]}")
    return Taken(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, told)


def own_peak() -> int:
    """Return the most bytes of memory that this process has had."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("/proc/self/status does not tell VmHWM: these figures need Linux")


def bare_environment(home: str | os.PathLike[str]) -> dict[str, str]:
    """Return an environment in which no settings of the user's play a part, and compiled Python is kept."""
    kept = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TERM", "VIRTUAL_ENV")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "HOME": str(home),
        "TMPDIR": str(home),
        "NO_PROXY": "*",
    }


def python() -> str:
    """Return the interpreter of this process, which ds3tool runs on too."""
    return sys.executable
