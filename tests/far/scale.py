"""S3 at scale: objects of all sizes go to tape and into another bucket, while the tool is killed on both ways.

`python -m tests.far.scale --objects 5000 --large 3GiB --seed 1` does it with an appliance and an S3 server in processes
of their own, and prints what it saw.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ds3tool.client import Ds3Client
from ds3tool.protocol.model import JobType
from ds3tool.sizes import format_size, parse_size
from tests.far import servers
from tests.far.servers import FarSide
from tests.trees import ODD_NAMES

MIB = 1 << 20
ARCHIVE = "archive"
_BLOCK = 8 * MIB
_LOOK_SECONDS = 0.02
_LONG_SECONDS = 3600.0
_TYPES = ("text/csv; charset=utf-8", "image/png", "application/vnd.example+json", "binary/octet-stream")
# SeaweedFS makes a slash of a backslash.
_NAMES = tuple(name for name in ODD_NAMES if "\\" not in name)
_FOLDERS = ("plain", "with space", "plus+plus", "ü-umlaut", "日本語", "per%cent", "amp&ersand")


@dataclass(frozen=True, slots=True)
class Thing:
    """An object as it has to be at both ends; its bytes come from its number and the campaign's seed."""

    number: int
    seed: int
    key: str
    size: int
    content_type: str
    metadata: Mapping[str, str]
    tags: Mapping[str, str]

    def blocks(self) -> Iterator[bytes]:
        """Yield its bytes, 8 MiB at a time."""
        for start in range(0, self.size, _BLOCK):
            chance = random.Random(f"{self.seed} {self.number} {start}")
            yield chance.randbytes(min(_BLOCK, self.size - start))

    def digest(self) -> str:
        """Return the SHA-256 of its bytes."""
        hasher = hashlib.sha256()
        for block in self.blocks():
            hasher.update(block)
        return hasher.hexdigest()


class _Bytes:
    """A thing's bytes as a file that can only be read on."""

    def __init__(self, thing: Thing) -> None:
        self._blocks, self._rest = thing.blocks(), b""

    def read(self, count: int = -1) -> bytes:
        while count < 0 or len(self._rest) < count:
            block = next(self._blocks, None)
            if block is None:
                break
            self._rest += block
        taken = self._rest if count < 0 else self._rest[:count]
        self._rest = self._rest[len(taken) :]
        return taken


def things(objects: int, large: int, *, seed: int, largest: int = 4 * MIB) -> list[Thing]:
    """Return so many objects of up to `largest` bytes, small ones more often, and one of `large`; with odd keys."""
    chance = random.Random(seed)
    made: list[Thing] = []
    for number in range(objects):
        odd, folder = _NAMES[number % len(_NAMES)], _FOLDERS[number % len(_FOLDERS)]
        is_large = number == objects // 2
        made.append(
            Thing(
                number,
                seed,
                f"data/{folder}/{number:05d}-{odd}",
                large if is_large else 0 if number % 50 == 0 else int(largest ** chance.random()),
                _TYPES[number % len(_TYPES)],
                {"owner": f"user {number % 9}", "note": "a=b; c"} if number % 3 == 0 else {},
                {"project": f"p{number % 5}", "kind": "raw +/="} if number % 10 == 0 else {},
            )
        )
    return made


def fill(far: FarSide, bucket: str, wanted: Sequence[Thing]) -> None:
    """Put the objects into a bucket of S3, sixteen at a time."""
    from urllib.parse import urlencode

    from boto3.s3.transfer import TransferConfig

    client = far.client()

    def put(thing: Thing) -> None:
        more: dict[str, Any] = {"ContentType": thing.content_type, "Metadata": dict(thing.metadata)}
        if thing.tags:
            more["Tagging"] = urlencode(thing.tags)
        if thing.size <= _BLOCK:
            client.put_object(Bucket=bucket, Key=thing.key, Body=b"".join(thing.blocks()), **more)
            return
        config = TransferConfig(multipart_chunksize=16 * MIB, max_concurrency=2)
        client.upload_fileobj(_Bytes(thing), bucket, thing.key, ExtraArgs=more, Config=config)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(put, wanted))


def differences(far: FarSide, bucket: str, prefix: str, wanted: Sequence[Thing]) -> list[str]:
    """Return what of the objects below a prefix is not as it has to be, a sentence each."""
    client = far.client()
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    there = {one["Key"] for page in pages for one in page.get("Contents", ())}
    expected = {prefix + thing.key.removeprefix("data/") for thing in wanted}
    found = [f"{key!r} is missing" for key in sorted(expected - there)]
    found += [f"{key!r} is one too many" for key in sorted(there - expected)]

    def look(thing: Thing) -> list[str]:
        key = prefix + thing.key.removeprefix("data/")
        if key not in there:
            return []
        reply = client.get_object(Bucket=bucket, Key=key)
        hasher = hashlib.sha256()
        for block in reply["Body"].iter_chunks(MIB):
            hasher.update(block)
        tags = {}
        if thing.tags:
            tags = {one["Key"]: one["Value"] for one in client.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]}
        pairs = {
            "bytes": (hasher.hexdigest(), thing.digest()),
            "content type": (reply["ContentType"], thing.content_type),
            "metadata": (reply["Metadata"], dict(thing.metadata)),
            "tags": (tags, dict(thing.tags)),
        }
        return [f"{key!r} has other {what}: {is_} for {was}" for what, (is_, was) in pairs.items() if is_ != was]

    with ThreadPoolExecutor(8) as pool:
        for told in pool.map(look, wanted):
            found += told
    return found


@dataclass
class Leg:
    """One way of the campaign: its seconds from the first start to the end, kills that struck, highest memory."""

    seconds: float = 0.0
    kills: int = 0
    peak_bytes: int = 0


@dataclass
class Campaign:
    """The tool between an S3 server and an appliance; `appliance` is the environment that leads to it.

    `options` are those of the put, the get and the resumes.
    """

    far: FarSide
    appliance: Mapping[str, str]
    folder: Path
    options: Sequence[str] = ()
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Give the tool this program's own code, and nothing of the person's settings."""
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PYTHONPATH": str(Path(__file__).parent.parent.parent),
            "DS3TOOL_STATE_DIR": str(self.folder / "state"),
            **self.appliance,
            **self.far.environ,
        }

    def travel(self, type_: JobType, total: int, *arguments: str, kills: Sequence[float] = (0.3, 0.6)) -> Leg:
        """Run the tool, kill it when such shares of `total` bytes have moved, resume it, and let it end."""
        leg, begun = Leg(), time.monotonic()
        process = self._start(*arguments, *self.options)
        try:
            with Ds3Client.from_environment(self.appliance) as client:
                for share in kills:
                    if not self._until(process, leg, lambda share=share: _moved(client, type_) >= share * total):  # type: ignore[misc]  # bound now
                        break
                    process.send_signal(signal.SIGKILL)
                    leg.kills += process.wait() == -signal.SIGKILL
                    process = self._start("resume", *self.options)
            self._until(process, leg, lambda: False)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 0, f"{arguments}: {process.returncode}\n{self._said.read_text()}"
        leg.seconds = time.monotonic() - begun
        return leg

    def run(self, *arguments: str) -> Any:  # noqa: ANN401  # a document
        """Run a command to its end and return what it says."""
        process = self._start(*arguments)
        process.wait(_LONG_SECONDS)
        told = self._said.read_text()
        assert process.returncode == 0, f"{arguments}: {process.returncode}\n{told}"
        return json.loads(told)

    @property
    def _said(self) -> Path:
        return self.folder / "said"

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with self._said.open("wb") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "ds3tool", *arguments, "-o", "json", "--progress", "none"],
                env=self.environ,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )

    @staticmethod
    def _until(process: subprocess.Popen[bytes], leg: Leg, happened: Callable[[], bool]) -> bool:
        """Look until something has happened, or the process has ended; return whether it has happened first."""
        deadline = time.monotonic() + _LONG_SECONDS
        while process.poll() is None:
            assert time.monotonic() < deadline, "it hangs"
            leg.peak_bytes = max(leg.peak_bytes, _peak_of(process.pid))
            if happened():
                return True
            time.sleep(_LOOK_SECONDS)  # another process, which tells nobody how far it is
        return False


def _moved(client: Ds3Client, type_: JobType) -> int:
    """Return how many bytes the jobs of one direction have moved."""
    jobs = [job for job in client.list_jobs(bucket=ARCHIVE) if job.type is type_ and not job.naked]
    return sum(job.cached_bytes if type_ is JobType.PUT else job.completed_bytes for job in jobs)


def _peak_of(pid: int) -> int:
    """Return the most memory that a process has had so far, in bytes; 0 when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    lines = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(lines[0].split()[1]) * 1024 if lines else 0


def there_and_back(
    campaign: Campaign,
    wanted: Sequence[Thing],
    *,
    kills: Sequence[float] = (0.3, 0.6),
    tell: Callable[[str, Leg], None] = lambda name, leg: None,
) -> list[Leg]:
    """Fill a bucket, put it, get it into another bucket, killing on both ways; AssertionError for any difference."""
    far, total = campaign.far, sum(thing.size for thing in wanted)
    origin, target = far.bucket(), far.bucket()
    fill(far, origin, wanted)
    assert differences(far, origin, "data/", wanted) == [], "the S3 server does not keep what it was given"
    with Ds3Client.from_environment(campaign.appliance) as client:
        client.create_bucket(ARCHIVE)
    put = campaign.travel(JobType.PUT, total, "put", f"s3://{origin}/data/", f"ds3://{ARCHIVE}/d/", kills=kills)
    tell("S3 to tape", put)
    get = campaign.travel(JobType.GET, total, "get", f"ds3://{ARCHIVE}/d/", f"s3://{target}/back/", kills=kills)
    tell("back to S3", get)
    different = differences(far, target, "back/", wanted)
    assert not different, "\n".join(different[:20])
    assert far.uploads(target) == []
    assert campaign.run("job", "ls", "--local") == []
    return [put, get]


@contextmanager
def _appliance(folder: Path) -> Iterator[dict[str, str]]:
    """Run an appliance in a process of its own; gives the environment that leads to it."""
    sizes = ("--blob-size", "64MiB", "--chunk-size", "256MiB", "--cache-size", "1GiB", "--tapes", "4")
    line = [sys.executable, "-m", "ds3tool", "sim", "serve", "--state-dir", str(folder / "sim"), *sizes]
    line += ["--dir", str(folder / "appliance"), "--retry-after", "1", "--persist-delay", "0"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        try:
            yield dict(line.strip().removeprefix("export ").split("=", 1) for line in lines)
        finally:
            process.terminate()


def main() -> int:
    """Run the campaign in a folder of its own; 1 when anything is not as it was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=5000)
    parser.add_argument("--large", type=parse_size, default=3 << 30)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    asked = parser.parse_args()
    wanted = things(asked.objects, asked.large, seed=asked.seed)
    total = sum(thing.size for thing in wanted)
    print(f"seed {asked.seed}: {len(wanted)} objects, {format_size(total)}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="ds3tool-scale-"))

    def tell(name: str, leg: Leg) -> None:
        rate, peak = format_size(int(total / leg.seconds)), format_size(leg.peak_bytes)
        print(f"{name}: {leg.seconds:.0f} s, {rate}/s, killed {leg.kills} times, at most {peak} of memory", flush=True)

    try:
        with servers.seaweed() as far, _appliance(folder) as appliance:
            legs = there_and_back(Campaign(far, appliance, folder), wanted, tell=tell)
        held = all(leg.kills == 2 and leg.peak_bytes < 300_000_000 for leg in legs)
        print("every byte, content type, tag and metadata is the same" + ("" if held else "; a bar was missed"))
        return 0 if held else 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
