"""From S3 to tape: `ds3tool put s3://... ds3://...` against a download to disk, by aws or by s5cmd, and a put of that.

SeaweedFS and the embedded appliance run in processes of their own. The ways take turns, in another order each round,
each into a new bucket; told are the medians of their seconds, by the clock on the wall and of processor time, and the
most disk and memory that each has taken. Memory is that of the way's processes together; disk is what lies in its
scratch folder, journals included. Exit code 1 when the direct way takes more than the bar times what the fastest other
one takes.

    python -m benchmarks.s3_to_tape [--small 1000] [--small-size 64KiB] [--large 3] [--large-size 256MiB] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ds3tool.client import Ds3Client
from ds3tool.sizes import format_size, parse_size
from tests.far import servers
from tests.far.servers import FarSide

# As quick as the quickest download, which takes the whole disk for it; boto3 needs milliseconds for a small object.
BAR = 1.1
_LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Load:
    """What is in the bucket of S3: so many small objects of so many bytes, and large ones."""

    small: int
    small_size: int
    large: int
    large_size: int

    @property
    def objects(self) -> int:
        """Objects in all."""
        return self.small + self.large

    @property
    def bytes(self) -> int:
        """Bytes in all."""
        return self.small * self.small_size + self.large * self.large_size

    def fill(self, far: FarSide) -> str:
        """Make a bucket with these objects; return its name."""
        from boto3.s3.transfer import TransferConfig

        bucket, client = far.bucket(), far.client()
        block = random.Random(1).randbytes(max(self.small_size, 1 << 20))

        def put(number: int) -> None:
            data = number.to_bytes(8, "big") + block
            client.put_object(Bucket=bucket, Key=f"small/{number // 500}/{number:06d}", Body=data[: self.small_size])

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(put, range(self.small)))
        config = TransferConfig(multipart_chunksize=16 << 20, max_concurrency=2)
        for number in range(self.large):
            with tempfile.TemporaryFile() as file:
                left = self.large_size
                while left:
                    left -= file.write(block[: min(left, len(block))])
                file.seek(0)
                client.upload_fileobj(file, bucket, f"large/{number:03d}.bin", Config=config)
        return bucket


@dataclass
class Taken:
    """What the runs of one way took."""

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    disk_bytes: int = 0
    memory_bytes: int = 0

    @property
    def median(self) -> float:
        """Seconds of the middle run."""
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Road:
    """Where everything is; `environ` leads every tool to both ends."""

    far: FarSide
    origin: str
    environ: Mapping[str, str]
    load: Load

    def step(self, scratch: Path, taken: Taken, *command: str) -> str:
        """Run one command to its end, with its temporary files in the scratch folder; return what it says."""
        environ = {**self.environ, "TMPDIR": str(scratch), "HOME": str(scratch)}
        with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as complained:
            process = subprocess.Popen(command, env=environ, cwd=scratch, stdout=said, stderr=complained)
            while process.poll() is None:
                taken.memory_bytes = max(taken.memory_bytes, memory_of(process.pid))
                time.sleep(_LOOK_SECONDS)
            said.seek(0)
            complained.seek(0)
            told, why = said.read(), complained.read()
        taken.disk_bytes = max(taken.disk_bytes, disk_of(scratch))
        if process.returncode:
            raise SystemExit(f"{' '.join(command)}: {process.returncode}\n{told}\n{why}")
        return told

    def put(self, scratch: Path, taken: Taken, source: str, bucket: str) -> None:
        """Put a folder or a prefix of S3, and see that all of it came."""
        ds3tool = (sys.executable, "-m", "ds3tool")
        options = ("--state-dir", str(scratch / "state"), "--progress", "none", "-o", "json")
        told = self.step(scratch, taken, *ds3tool, "put", source, f"ds3://{bucket}/", *options)
        result = json.loads(told)
        if (result["objects"], result["bytes"]) != (self.load.objects, self.load.bytes):
            raise SystemExit(f"only {result['objects']} objects with {result['bytes']} bytes came: {told}")


def directly(road: Road, scratch: Path, bucket: str, taken: Taken) -> None:
    """From S3 into blobs."""
    road.put(scratch, taken, f"s3://{road.origin}/", bucket)


def by_aws(road: Road, scratch: Path, bucket: str, taken: Taken) -> None:
    """Download with the AWS command line, then put."""
    tree = str(scratch / "tree")
    road.step(
        scratch, taken, found("aws"), "s3", "cp", "--recursive", "--only-show-errors", f"s3://{road.origin}/", tree
    )
    road.put(scratch, taken, tree, bucket)


def by_s5cmd(road: Road, scratch: Path, bucket: str, taken: Taken) -> None:
    """Download with s5cmd, then put."""
    tree = str(scratch / "tree")
    s5cmd = found("s5cmd")
    road.step(
        scratch,
        taken,
        s5cmd,
        "--log",
        "error",
        "--endpoint-url",
        road.far.endpoint,
        "cp",
        f"s3://{road.origin}/*",
        f"{tree}/",
    )
    road.put(scratch, taken, tree, bucket)


Way = Callable[[Road, Path, str, Taken], None]


def found(program: str) -> str:
    """Return where a program is, beside this Python or in PATH; empty where there is none."""
    beside = Path(sys.executable).with_name(program)
    return str(beside) if beside.exists() else shutil.which(program) or ""


def cpu_seconds() -> float:
    """Return the processor time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def memory_of(pid: int) -> int:
    """Return the bytes that a process and its children have in memory at this moment."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        children = [
            child for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()
        ]
    except OSError:
        return 0  # it has just ended
    lines = re.findall(r"VmRSS:\s+(\d+) kB", status)
    return sum(int(line) * 1024 for line in lines) + sum(memory_of(int(child)) for child in children)


def disk_of(folder: Path) -> int:
    """Return the bytes that all files below a folder hold of its disk."""
    total = 0
    for path in folder.rglob("*"):
        total += path.lstat().st_blocks * 512 if path.is_file() else 0
    return total


@contextmanager
def appliance(folder: Path) -> Iterator[dict[str, str]]:
    """Run an embedded appliance in another process; give the environment that leads to it."""
    command = [sys.executable, "-m", "ds3tool", "sim", "serve", "--dir", str(folder), "--retry-after", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = "".join(process.stdout.readline() for _ in range(3))
            yield dict(re.findall(r"export (\w+)=(\S+)", lines))
        finally:
            process.terminate()


def compare(road: Road, folder: Path, ways: Mapping[str, Way], rounds: int) -> dict[str, Taken]:
    """Run each way so many times, turn about; the first time of each is a warm-up and is not counted."""
    results = {name: Taken() for name in ways}
    with Ds3Client.from_environment(road.environ) as client:
        for number in range(rounds + 1):
            names = list(ways)
            for name in names[number % len(names) :] + names[: number % len(names)]:
                bucket, scratch = f"round-{number}-{names.index(name)}", folder / "scratch"
                scratch.mkdir()
                client.create_bucket(bucket)
                taken = results[name] if number else Taken()
                begun, cpu = time.perf_counter(), cpu_seconds()
                ways[name](road, scratch, bucket, taken)
                taken.seconds.append(time.perf_counter() - begun)
                taken.cpu_seconds.append(cpu_seconds() - cpu)
                shutil.rmtree(scratch)
                client.delete_bucket(bucket, force=True)
    return results


def main() -> int:
    """Compare, print, and return 1 when the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=int, default=1000, help="small objects")
    parser.add_argument("--small-size", type=parse_size, default=64 << 10)
    parser.add_argument("--large", type=int, default=3, help="large objects")
    parser.add_argument("--large-size", type=parse_size, default=256 << 20)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    load = Load(asked.small, asked.small_size, asked.large, asked.large_size)
    ways: dict[str, Way] = {"ds3tool put s3://": directly}
    if found("aws"):
        ways["aws s3 cp, then put"] = by_aws
    if found("s5cmd"):
        ways["s5cmd cp, then put"] = by_s5cmd
    if len(ways) == 1:
        raise SystemExit("neither aws nor s5cmd is here, so there is nothing to compare with")
    folder = Path(tempfile.mkdtemp(prefix="ds3tool-s3-to-tape-"))
    try:
        with servers.seaweed() as far, appliance(folder / "appliance") as keys:
            environ = {"PATH": os.environ["PATH"], "PYTHONPATH": os.getcwd(), **keys, **far.environ}
            results = compare(Road(far, load.fill(far), environ, load), folder, ways, asked.rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sizes = f"{load.small} of {format_size(load.small_size)} and {load.large} of {format_size(load.large_size)}"
    print(f"{load.objects} objects, {sizes}, {asked.rounds} rounds:")
    first, *others = results.values()
    for name, taken in results.items():
        rate, ratio = format_size(int(load.bytes / taken.median)), taken.median / first.median
        disk, memory = format_size(taken.disk_bytes), format_size(taken.memory_bytes)
        cpu = statistics.median(taken.cpu_seconds)
        print(
            f"  {name:20} {taken.median:7.2f} s ({ratio:4.2f}), {rate}/s, {cpu:.2f} s of processor time, "
            f"{disk} of disk, {memory} of memory"
        )
    ratio = first.median / min(taken.median for taken in others)
    print(f"ratio {ratio:.2f}, bar {BAR}")
    return 1 if ratio > BAR else 0


if __name__ == "__main__":
    sys.exit(main())
