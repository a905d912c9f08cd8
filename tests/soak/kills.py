"""One kill and what must hold after it: the tool or the appliance dies by SIGKILL, and `ds3tool resume` finishes."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ds3tool.client import Ds3Client
from ds3tool.jobs.engine import SMALL_BLOB_BYTES
from ds3tool.jobs.get import GetRun
from ds3tool.jobs.journal import Journal
from ds3tool.jobs.put import PutRun
from ds3tool.jobs.run import RunSettings
from ds3tool.jobs.works import works
from ds3tool.protocol.model import JobType
from ds3tool.simulator import Appliance, ApplianceSettings
from ds3tool.simulator.wire.messages import Reply, Request
from ds3tool.sinks.local import LocalSink
from ds3tool.sources.local import LocalSource
from ds3tool.transport.settings import ConnectionSettings
from tests.trees import digests

KIB, MIB = 1 << 10, 1 << 20
_LONG_SECONDS = 100.0
_MOST_RESUMES = 5
# So that a run of the tree takes about a second: kills fall into its middle, and some batches are recorded by then.
SLOW = ("--bwlimit", "6M")


@dataclass(frozen=True, slots=True)
class Blob:
    """One request for a blob, as the appliance has answered it with success."""

    verb: str
    path: str
    offset: int


class WatchedAppliance(Appliance):
    """An appliance that keeps what it has acknowledged, blob by blob, in its order."""

    def __init__(self, settings: ApplianceSettings) -> None:
        super().__init__(settings)
        self.blobs: list[Blob] = []
        self._watching = threading.Lock()

    def _handle(self, request: Request) -> Reply:
        reply = super()._handle(request)
        parameters = request.target.parameters
        if request.verb in {"PUT", "GET"} and "job" in parameters and "offset" in parameters:
            with self._watching:
                self.blobs.append(Blob(request.verb, unquote(request.target.path), int(parameters["offset"])))
        return reply


def settings(directory: Path | None = None, port: int = 0) -> ApplianceSettings:
    """Return what the appliance is like: many small blobs, several chunks, tapes that are written at once."""
    return ApplianceSettings(
        directory=None if directory is None else str(directory),
        port=port,
        blob_size=512 * KIB,
        chunk_size=2 * MIB,
        cache_size=256 * MIB,
        retry_after=0,
        persist_delay=0.0,
        hold=0.05,
        tapes=4,
        seed=1,
    )


def make_files(root: Path, *, seed: int, small: int = 40) -> None:
    """Fill a folder with small files, empty ones, and some of several blobs."""
    chance = random.Random(seed)
    for number in range(small):
        folder = root / f"folder {number % 5}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"small {number}").write_bytes(chance.randbytes(chance.choice((0, 1, 100, 5_000, 100_000))))
    for number, size in enumerate((300 * KIB, 512 * KIB, 700 * KIB, 1300 * KIB, 3 * MIB + 1)):
        (root / f"large {number}").write_bytes(chance.randbytes(size))


@dataclass
class Host:
    """The side where the tool runs: its environment, its state folder, its child processes.

    `patient`: its tools wait seconds for an appliance that lists its jobs late, as they do in the world.
    """

    endpoint: str
    access_key: str
    secret_key: str
    folder: Path
    patient: bool = True
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Give children this program's own code, and nothing else of the person's settings."""
        root = str(Path(__file__).parent.parent.parent)
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PYTHONPATH": root,
            "DS3_ENDPOINT": self.endpoint,
            "DS3_ACCESS_KEY": self.access_key,
            "DS3_SECRET_KEY": self.secret_key,
            "DS3TOOL_STATE_DIR": str(self.state),
        }

    @property
    def state(self) -> Path:
        """The state folder."""
        return self.folder / "state"

    def start(self, point: str, count: int, *arguments: str) -> subprocess.Popen[str]:
        """Start the tool, armed at a point (`none` for never)."""
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.soak.victim", point, str(count)),
                *("patient" if self.patient else "hurried", *arguments),
            ],
            env=self.environ,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the tool to its end."""
        process = self.start("none", 1, *arguments)
        out, err = process.communicate(timeout=_LONG_SECONDS)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def recorded(self) -> set[tuple[JobType, str, int]]:
        """Return direction, key and offset of every blob that unfinished journals hold as through.

        But for small files of a get that have not appeared: these have no name till then, and go with their process.
        """
        found: set[tuple[JobType, str, int]] = set()
        for summary in works(self.state):
            with Journal.open(summary.path) as journal:
                for remainder in journal.remainders():
                    plan, held, appeared = remainder.plan, remainder.held, remainder.appeared
                    found.update(
                        (plan.type, plan.keys[owner], offset)
                        for owner, offset in zip(held.owners, held.offsets, strict=True)
                        if plan.type is JobType.PUT or appeared[owner] or plan.sizes[owner] > SMALL_BLOB_BYTES
                    )
        return found

    @contextmanager
    def client(self) -> Iterator[Ds3Client]:
        """Give a client of the appliance."""
        with Ds3Client(ConnectionSettings(self.endpoint, self.access_key, self.secret_key)) as client:
            yield client


def until_begun(host: Host, process: subprocess.Popen[str], after: float) -> None:
    """Wait until the tool has a journal, and `after` seconds more; at most until it has ended."""
    deadline = time.monotonic() + _LONG_SECONDS
    while process.poll() is None and not any(host.state.glob("jobs/*.db")):
        assert time.monotonic() < deadline, "it never began"
        time.sleep(0.01)  # another process makes the file, and tells nobody
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(after)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one kill: whether it struck before the tool was through, and how often resume was needed."""

    struck: bool
    resumes: int
    recorded: int
    moved_after: int


def bring_to_its_end(host: Host, *arguments: str) -> int:
    """Resume until nothing is left; return how often that took. Each must end with 0 or say that it can go on.

    What was killed while it was still planning has begun nothing: resume says so, and the command itself is run again.
    """
    for number in range(1, _MOST_RESUMES + 1):
        planning = any(summary.planning for summary in works(host.state))
        if planning or not works(host.state):
            assert not planning or host.run("resume").returncode != 0, "what was never begun is no success"
            assert not works(host.state), "what was never begun is told once"
            assert host.run(*arguments).returncode == 0
            return number
        done = host.run("resume", "-o", "json")
        document: Any = json.loads(done.stdout)
        assert done.returncode in {0, 7}, f"resume {number}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert not document.get("failed"), done.stdout
        if done.returncode == 0 and not works(host.state):
            return number
    raise AssertionError(f"{_MOST_RESUMES} times resumed, and not done: {works(host.state)}")


def compare_put(host: Host, bucket: str, tree: Path) -> None:
    """The bucket holds exactly the tree: every key, complete, and every byte."""
    with host.client() as client:
        listed = {item.key: item for item in client.list_objects(bucket)}
    assert listed.keys() == {path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()}
    assert all(item.last_modified is not None for item in listed.values()), "an object is not complete"
    back = host.folder / "back"
    with host.client() as client, contextlib.closing(LocalSink(str(back))) as sink:
        objects = client.list_objects(bucket)
        got = GetRun(client, sink, bucket, objects, name_of=str, settings=RunSettings()).run()
    assert got.exit_code == 0, got.failures or got.stopped
    compare_get(back, tree)


def compare_get(target: Path, tree: Path) -> None:
    """The target holds exactly the tree, and no temporary file."""
    assert digests(target) == digests(tree)


def no_job_left_open(appliance: Appliance) -> None:
    """Every job has ended, or only waits for its tapes."""
    book = appliance.machine.jobs
    with book.changed:
        assert book.changed.wait_for(lambda: not book.active, _LONG_SECONDS), "a job is left open"


def nothing_moved_twice(verb: str, bucket: str, recorded: set[tuple[JobType, str, int]], later: list[Blob]) -> None:
    """No blob that was acknowledged and recorded has passed again."""
    type_ = JobType.PUT if verb == "put" else JobType.GET
    again = [
        blob
        for blob in later
        if blob.verb == verb.upper() and (type_, blob.path.removeprefix(f"/{bucket}/"), blob.offset) in recorded
    ]
    assert not again, f"moved again although recorded: {again[:5]}"


def stock(host: Host, tree: Path | None) -> str:
    """Make a bucket and put the tree into it, if there is one; return its name."""
    bucket = f"b{random.Random(f'{host.folder}').getrandbits(60):x}"
    with host.client() as client:
        client.create_bucket(bucket)
        if tree is not None:
            put = PutRun(client, LocalSource(str(tree), prefix=""), bucket, settings=RunSettings()).run()
            assert put.exit_code == 0, put.failures or put.stopped
    return bucket


def kill_the_tool(
    appliance: WatchedAppliance,
    host: Host,
    verb: str,
    tree: Path,
    *,
    point: str,
    count: int,
    after: float | None = None,
    options: Sequence[str] = (),
    stocked: str | None = None,
) -> Outcome:
    """Put or get the tree, die at a point (or `after` seconds from its beginning), resume, and compare everything.

    A get is of the bucket `stocked`, which holds the tree, or of a new one.
    """
    target = host.folder / "target"
    if verb == "get" and stocked is not None:
        bucket = stocked
    else:
        bucket = stock(host, tree if verb == "get" else None)
        no_job_left_open(appliance)
    put = ["put", str(tree), f"ds3://{bucket}/", "--transfers", "2"]
    arguments = [*(put if verb == "put" else ["get", f"ds3://{bucket}/", str(target), "--transfers", "2"]), *options]
    victim = host.start(point, count, *arguments)
    try:
        if after is not None:
            until_begun(host, victim, after)
            victim.kill()
        out, err = victim.communicate(timeout=_LONG_SECONDS)
    finally:
        victim.kill()
        victim.wait()
    assert victim.returncode in {0, -signal.SIGKILL}, f"{victim.returncode}\n{out}\n{err}"
    recorded, before = host.recorded(), len(appliance.blobs)
    resumes = bring_to_its_end(host, *arguments) if victim.returncode else 0
    later = list(appliance.blobs[before:])
    if verb == "put":
        compare_put(host, bucket, tree)
    else:
        compare_get(target, tree)
    nothing_moved_twice(verb, bucket, recorded, later)
    no_job_left_open(appliance)
    return Outcome(victim.returncode != 0, resumes, len(recorded), len(later))


class MortalAppliance:
    """An appliance in a process of its own, which can be killed and started again over what it had."""

    def __init__(self, folder: Path) -> None:
        self._directory = folder / "appliance"
        self._port = 0
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self.exports: dict[str, str] = {}

    def start(self) -> None:
        """Start it; returns when it accepts connections, at the port that it had before."""
        wanted = settings(self._directory, self._port)
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "ds3tool", "sim", "serve", "--state-dir", str(self._folder / "sim-state")),
                *("--dir", str(self._directory), "--port", str(self._port), "--blob-size", str(wanted.blob_size)),
                *("--chunk-size", str(wanted.chunk_size), "--cache-size", str(wanted.cache_size)),
                *("--retry-after", "0", "--persist-delay", "0", "--seed", "1", "--tapes", "4"),
            ],
            cwd=Path(__file__).parent.parent.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        lines = [self._process.stdout.readline() for _ in range(3)]
        self.exports = dict(line.strip().removeprefix("export ").split("=", 1) for line in lines)
        self._port = int(self.exports["DS3_ENDPOINT"].rpartition(":")[2])

    def kill(self) -> None:
        """End it with nothing but SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def host(self, folder: Path) -> Host:
        """Return the tool's side of it."""
        return Host(
            self.exports["DS3_ENDPOINT"], self.exports["DS3_ACCESS_KEY"], self.exports["DS3_SECRET_KEY"], folder
        )


def kill_the_appliance(
    appliance: MortalAppliance, host: Host, verb: str, tree: Path, *, after: float, options: Sequence[str] = ()
) -> Outcome:
    """Put or get the tree while the appliance dies and comes back; resume what has given up, and compare everything."""
    target = host.folder / "target"
    bucket = stock(host, tree if verb == "get" else None)
    put = ["put", str(tree), f"ds3://{bucket}/", "--transfers", "2"]
    arguments = [*(put if verb == "put" else ["get", f"ds3://{bucket}/", str(target), "--transfers", "2"]), *options]
    arguments += ["--max-retry-time", "0s"]  # it gives up at once, so that resuming is what is tried here
    tool = host.start("none", 1, *arguments)
    try:
        until_begun(host, tool, after)
        appliance.kill()
        out, err = tool.communicate(timeout=_LONG_SECONDS)
    finally:
        tool.kill()
        tool.wait()
    struck = tool.returncode != 0
    assert tool.returncode in {0, 3, 7}, f"{tool.returncode}\n{out}\n{err}"
    appliance.kill()
    appliance.start()
    recorded = host.recorded()
    resumes = bring_to_its_end(host, *arguments) if struck else 0
    if verb == "put":
        compare_put(host, bucket, tree)
    else:
        compare_get(target, tree)
    with host.client() as client:
        left = [job for job in client.list_jobs(bucket=bucket) if job.cached_bytes < job.original_bytes]
    assert not left, f"jobs are left open: {left}"
    return Outcome(struck, resumes, len(recorded), 0)
