"""What a run was measured on: processor, cores, memory, kernel, Python, and the releases of everything compared."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
import re
from pathlib import Path

from benchmarks import peers
from ds3tool.version import VERSION


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return " ".join(found[1].split()) if found else platform.processor() or platform.machine()


def _memory() -> str:
    found = re.search(r"^MemTotal:\s*(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return f"{int(found[1]) / 2**20:.0f} GiB of memory" if found else "unknown memory"


def _kernel() -> str:
    return re.sub(r"-.*", "", platform.release())


def facts() -> list[str]:
    """Return a line each on the day, the machine, and the releases."""
    cores = len(os.sched_getaffinity(0))
    crc32c = importlib.metadata.version("google-crc32c")
    return [
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}",
        f"{_processor()}, {cores} cores, {_memory()}, {platform.system()} {_kernel()}",
        f"CPython {platform.python_version()}, ds3tool {VERSION}, google-crc32c {crc32c}",
        "peers: " + ", ".join(f"{name} {release}" for name, release in peers.releases().items()),
    ]
