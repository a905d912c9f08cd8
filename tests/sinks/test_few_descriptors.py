"""Small files that wait for their names are so few that a low limit on open files suffices."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

_OBJECTS = 350
# Small objects in folders of their own, as many as there may ever be at once, whose ends come in batches.
_TRY = """
    import os, resource, sys
    from ds3tool.jobs.ends import TargetObject
    from ds3tool.sinks.local import LocalSink

    batch, objects = int(sys.argv[2]), int(sys.argv[3])
    sink = LocalSink(sys.argv[1])
    soft = int(sys.argv[4])
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    sink.close()
    sink = LocalSink(sys.argv[1])
    items = [TargetObject(f"{n}", 3, f"f{n % 100}/{n}", number=n) for n in range(objects)]
    writer = sink.plain_writer() if sys.argv[5] == "plain" else None
    most = 0
    for start in range(0, objects, batch):
        for item in items[start : start + batch]:
            if writer is None or item.number % 5 == 0 or not writer.store(item.number, item.name, memoryview(b"abc")):
                sink.receive_small(item, 0, memoryview(b"abc"))
        most = max(most, len(os.listdir("/proc/self/fd")))
        rest = range(start, min(start + batch, objects))
        sink.finish_all([items[number] for number in (rest if writer is None else writer.finish(rest))])
    settled = [error for _, error in sink.settle(wait=True)]
    if writer is not None:
        appeared, failed = writer.settle(wait=True)
        settled += [None] * len(appeared) + [error for _, error in failed]
    sink.close()
    print(len(settled), [str(error) for error in settled if error is not None], most <= soft * 3 // 4)
"""


@pytest.mark.parametrize("way", ["named", "plain"])
@pytest.mark.parametrize("batch", [64, 200])
def test_small_files_wait_open_within_a_low_limit(tmp_path: Path, batch: int, way: str) -> None:
    """With 256 descriptors, 350 files in 100 folders all appear, and a quarter of these is left to others."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_TRY), str(tmp_path), str(batch), str(_OBJECTS), "256", way],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == f"{_OBJECTS} [] True\n", done.stderr
    assert sum(1 for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes() == b"abc") == _OBJECTS
