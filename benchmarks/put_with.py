"""A put through the library, with or without its journal, digests, progress and metadata; prints what it took.

python -m benchmarks.put_with ENDPOINT TREE STATE [--journal] [--digests] [--progress] [--metadata]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from ds3tool.cli.progress import shown
from ds3tool.cli.settings import ProgressMode
from ds3tool.client import Ds3Client
from ds3tool.jobs.integrity import ChecksumChoice
from ds3tool.jobs.journal import Journal, WorkHead
from ds3tool.jobs.put import PutRun
from ds3tool.jobs.recorder import NoRecorder
from ds3tool.jobs.run import RunSettings
from ds3tool.jobs.work_head import new_work_id
from ds3tool.protocol.model import JobType
from ds3tool.sources.local import LocalSource
from ds3tool.transport.settings import ConnectionSettings

BUCKET = "bench"


def main() -> int:
    """Put the tree; return the run's exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("endpoint")
    parser.add_argument("tree")
    parser.add_argument("state", type=Path)
    for name in ("journal", "digests", "progress", "metadata"):
        parser.add_argument(f"--{name}", action="store_true")
    asked = parser.parse_args()
    settings = RunSettings(checksum=ChecksumChoice.AUTO if asked.digests else ChecksumChoice.NONE)
    with Ds3Client(ConnectionSettings(asked.endpoint, "k", "s")) as client, ExitStack() as around:
        bucket_id = client.get_bucket(BUCKET).id
        wall, cpu = time.perf_counter(), time.process_time()
        head = WorkHead(new_work_id(time.time()), JobType.PUT, BUCKET, bucket_id)
        journal = around.enter_context(Journal.create(asked.state, head)) if asked.journal else None
        source = LocalSource(asked.tree, prefix="with/", preserve=asked.metadata)
        run = PutRun(client, source, BUCKET, settings=settings, recorder=journal or NoRecorder())
        mode = ProgressMode.BAR if asked.progress else ProgressMode.NONE
        with shown(run.progress, mode=mode, label="put", stream=sys.stderr):
            result = run.run()
        if journal is not None:
            journal.conclude()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps({"seconds": wall, "cpu_seconds": cpu, "objects": result.objects, "bytes": result.bytes}))
    return result.exit_code


if __name__ == "__main__":
    sys.exit(main())
