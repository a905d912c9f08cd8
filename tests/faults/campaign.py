"""One put or get through a spoiling proxy, and what must be true of it afterwards whatever happened."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ds3tool.client import Ds3Client
from ds3tool.clock import Clock, RealClock, Waitable
from ds3tool.errors import Ds3Error
from ds3tool.jobs.engine import EngineSettings
from ds3tool.jobs.get import GetRun
from ds3tool.jobs.plan import JobLimits
from ds3tool.jobs.put import PutRun
from ds3tool.jobs.run import RunResult, RunSettings
from ds3tool.protocol.model import JobType
from ds3tool.simulator import Appliance
from ds3tool.sinks.local import LocalSink
from ds3tool.sources.local import LocalSource
from ds3tool.transport.pool import Transport
from ds3tool.transport.settings import ConnectionSettings
from tests.faults.proxy import Exchange, Fault
from tests.trees import digests

BUCKET = "archive"
KIB = 1 << 10
# No run may take longer, whatever its seed: that would be a hang.
LONGEST_SECONDS = 60.0


class HurriedClock(RealClock):
    """The real time, but waits last a few milliseconds and move `monotonic` on by all that they should have lasted."""

    def __init__(self) -> None:
        self._skipped = 0.0
        self._lock = threading.Lock()

    def monotonic(self) -> float:
        with self._lock:
            return time.monotonic() + self._skipped

    def wait(self, event: Waitable, seconds: float) -> bool:
        if event.wait(min(seconds, 0.003)):
            return True
        with self._lock:
            self._skipped += max(0.0, seconds - 0.003)
        return False


@dataclass
class Outcome:
    """What a run ended with: a result, or an error before there was one."""

    result: RunResult | None
    error: Ds3Error | None

    @property
    def exit_code(self) -> int:
        if self.error is not None:
            return self.error.exit_code
        assert self.result is not None
        return self.result.exit_code

    @property
    def ended_early(self) -> bool:
        return self.error is not None or (self.result is not None and self.result.stopped is not None)

    @property
    def named(self) -> set[str]:
        return set() if self.result is None else {failure.name for failure in self.result.failures}

    @property
    def told(self) -> str:
        """All that the person is told."""
        if self.result is None:
            return f"{self.error} {self.error.hint if self.error else None}"
        told = [*self.result.notes, str(self.result.stopped)]
        return "\n".join([*told, *(f"{failure.name}: {failure.error}" for failure in self.result.failures)])


def mixed_tree(root: Path, chance: random.Random, *, scale: int = 1) -> None:
    """Files whose sizes lie around the boundaries of the small path, of blobs and of nothing at all."""
    border = 256 * KIB
    sizes = [0, 0, 1, 7, border - 1, border, border + 1, 700 * KIB + 13, 2 * border]
    sizes += [chance.randrange(1, 40 * KIB) for _ in range(24 * scale)]
    # Same size, other bytes: nobody may take one for the other.
    sizes += [4096] * 8
    for number, size in enumerate(sizes):
        folder = root / f"d{number % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:03} ü+%").write_bytes(chance.randbytes(size))
    (root / "empty").mkdir()


def faults_with(kinds: Iterable[Fault], rate: float, *, most: int | None = None, blobs_only: bool = False) -> Chooser:
    return Chooser(tuple(kinds), rate, most, blobs_only)


# How connections share the exchanges differs from run to run; a campaign in which nothing happens shows nothing.
_AT_LATEST = 20


@dataclass
class Chooser:
    """Chooses one of `kinds` at a rate, at most `most` times, and at least once in the first twenty exchanges."""

    kinds: tuple[Fault, ...]
    rate: float
    most: int | None
    blobs_only: bool
    _seen: int = 0
    _chosen: bool = False

    def __call__(self, exchange: Exchange, chance: random.Random) -> Fault | None:
        if self.blobs_only and not exchange.is_blob:
            return None
        self._seen += 1
        overdue = not self._chosen and self._seen >= _AT_LATEST
        if self.most == 0 or (chance.random() >= self.rate and not overdue):
            return None
        self._chosen = True
        if self.most is not None:
            self.most -= 1
        return chance.choice(self.kinds)


def client_of(
    appliance: Appliance, endpoint: str | None = None, *, retry_seconds: float = 60.0, patience: float = 0.6
) -> Ds3Client:
    """Return a client; through an `endpoint` of others it waits `patience` seconds for a byte."""
    settings = ConnectionSettings(
        endpoint or appliance.endpoint,
        appliance.access_key,
        appliance.secret_key,
        io_timeout_seconds=patience if endpoint else 30.0,
        max_retry_seconds=retry_seconds,
        continue_wait_seconds=0.05,
    )
    transport = Transport(settings, clock=HurriedClock())
    return Ds3Client.over(transport, close=transport.close)


def settings_of(seed: int) -> RunSettings:
    return RunSettings(EngineSettings(1 + seed % 4, 1 + seed % 7), limits=JobLimits(1000 if seed % 3 else 17))


def put(
    appliance: Appliance, endpoint: str, tree: Path, seed: int, *, clock: Clock | None = None, patience: float = 0.6
) -> Outcome:
    """Put a tree through a proxy; by `clock` the run waits for the appliance, in real time without one."""
    client = client_of(appliance, endpoint, patience=patience)
    with closing(client):
        source = LocalSource(str(tree), prefix="")
        return timed(PutRun(client, source, BUCKET, settings=settings_of(seed), clock=clock or RealClock()))


def get(
    appliance: Appliance, endpoint: str, target: Path, seed: int, *, clock: Clock | None = None, patience: float = 0.6
) -> Outcome:
    """Get the whole bucket through a proxy; by `clock` the run waits for the appliance, in real time without one."""
    client = client_of(appliance, endpoint, patience=patience)
    with closing(client), closing(LocalSink(str(target))) as sink:
        with closing(client_of(appliance)) as direct:
            listed = list(direct.list_objects(BUCKET))
        settings = settings_of(seed)
        return timed(GetRun(client, sink, BUCKET, listed, name_of=str, settings=settings, clock=clock or RealClock()))


def timed(run: PutRun | GetRun) -> Outcome:
    started = time.monotonic()
    try:
        outcome = Outcome(run.run(), None)
    except Ds3Error as error:
        outcome = Outcome(None, error)
    assert time.monotonic() - started < LONGEST_SECONDS, "it hung"
    strays = [thread.name for thread in threading.enumerate() if thread.name.startswith("ds3tool-")]
    assert set(strays) <= {"ds3tool-finisher"}, strays
    return outcome


def fetched(appliance: Appliance, target: Path) -> dict[bytes, str]:
    """Return the digests of all that the bucket holds, got over a clean connection."""
    with closing(client_of(appliance)) as client, closing(LocalSink(str(target))) as sink:
        run = GetRun(
            client,
            sink,
            BUCKET,
            [one for one in client.list_objects(BUCKET) if one.last_modified is not None],
            name_of=lambda key: key,
            settings=RunSettings(),
        )
        result = run.run()
        assert result.exit_code == 0, result.failures or result.stopped
    return digests(target)


def open_jobs(appliance: Appliance, type_: JobType) -> list[str]:
    """Return the jobs that wait for a client: something of them is still to be sent or fetched.

    Not those that the appliance makes by itself around a request without a job.
    """
    with appliance.machine.store.lock:
        return [
            job.id
            for job in appliance.machine.jobs.active.values()
            if job.type is type_ and not job.naked and any(chunk.left for chunk in job.chunks.values())
        ]


def hold_to(outcome: Outcome, *, wanted: dict[bytes, str], there: dict[bytes, str], appliance: Appliance) -> None:
    """Say what is wrong with an outcome, given what there should be and what there is."""
    there = {name: digest for name, digest in there.items() if name != b"./"}  # nothing at all
    # Folders that something was to come into may stay, empty.
    there = {name: digest for name, digest in there.items() if digest or name in wanted}
    wrong = {name for name, digest in there.items() if wanted.get(name) != digest}
    assert not wrong, f"damaged: {wrong}, told was {outcome.told}"
    missing = {os.fsdecode(name) for name in wanted if name not in there}
    if outcome.exit_code == 0:
        assert not missing, f"exit code 0 without {missing}"
    elif outcome.ended_early:
        pass  # then the whole run is said to have failed
    else:
        assert missing <= outcome.named, f"not named: {missing - outcome.named}; told was {outcome.told}"
    for type_ in (JobType.PUT, JobType.GET):
        idle = [job for job in open_jobs(appliance, type_) if job not in outcome.told]
        assert not idle, f"left open without a word: {idle}; told was {outcome.told!r}"
    if missing or wrong:
        assert outcome.exit_code != 0
