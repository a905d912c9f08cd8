"""Folders and files to put, on a file system in memory, and room for what comes back."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEMORY = Path("/dev/shm")
_BLOCK = 1 << 20


@contextmanager
def scratch(*, need: int = 0, on: Path = MEMORY) -> Iterator[Path]:
    """Give a folder that is gone afterwards, SIGTERM included; SystemExit where `need` bytes do not fit in."""
    on = on if on.is_dir() else Path(tempfile.gettempdir())
    free = shutil.disk_usage(on).free
    if on == MEMORY:
        free = min(free, _memory_available())
    if need > free:
        raise SystemExit(f"{on} has room for {free / 2**30:.1f} GiB, and {need / 2**30:.1f} GiB are needed")
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    folder = Path(tempfile.mkdtemp(prefix="ds3tool-bench-", dir=on))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _memory_available() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 1 << 62


def large_files(folder: Path, count: int, size: int, *, name: str = "reel-{:03d}.mxf") -> Path:
    """Write `count` files of `size` bytes into a new folder; each begins otherwise."""
    folder.mkdir(parents=True)
    block = random.Random(1).randbytes(_BLOCK)
    for number in range(count):
        with open(folder / name.format(number), "wb", buffering=0) as file:
            left = size - file.write(number.to_bytes(8, "big")[: min(8, size)])
            while left:
                left -= file.write(block[: min(left, _BLOCK)])
    return folder


def sparse_file(folder: Path, size: int) -> Path:
    """Write one file of `size` bytes that takes no room; return its folder."""
    folder.mkdir(parents=True)
    with open(folder / "reel-000.mxf", "wb") as file:
        file.truncate(size)
    return folder


def small_files(
    folder: Path, count: int, size: int, *, in_each: int = 1000, sparse: bool = False, name: str = "frame_{:08d}.dat"
) -> Path:
    """Write `count` files of `size` bytes, `in_each` in a folder; sparse ones take no room, and are all zeros."""
    filler = random.Random(2).randbytes(size)
    for first in range(0, count, in_each):
        below = folder / f"batch-{first // in_each:05d}"
        below.mkdir(parents=True)
        parent = os.open(below, os.O_RDONLY | os.O_DIRECTORY)
        for number in range(first, min(count, first + in_each)):
            file = os.open(name.format(number), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=parent)
            if sparse:
                os.ftruncate(file, size)
            elif size:
                os.write(file, (number.to_bytes(8, "big") + filler)[:size])
            os.close(file)
        os.close(parent)
    return folder


def files_below(folder: Path) -> tuple[int, int]:
    """Return how many files are below a folder, and their bytes."""
    count = total = 0
    for below, _, names in os.walk(folder):
        for name in names:
            count += 1
            total += os.stat(os.path.join(below, name)).st_size
    return count, total


class Targets:
    """New folders below one, for what comes back; `clear` empties them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()

    def new(self) -> Path:
        """Make a folder that nothing was in yet."""
        made = self._folder / f"target-{next(self._numbers)}"
        made.mkdir(parents=True)
        return made

    @contextmanager
    def room(self) -> Iterator[Path]:
        """Give a new folder, and take it away afterwards."""
        made = self.new()
        try:
            yield made
        finally:
            shutil.rmtree(made)
