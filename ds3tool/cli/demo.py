"""`ds3tool demo`: an archive's whole life on an embedded appliance, in under a minute."""

from __future__ import annotations

import hashlib
import os
import random
import tempfile
import time
import unicodedata
from typing import TYPE_CHECKING

import typer

from ds3tool.cli import demo_lotame, transfer
from ds3tool.cli.demo_story import Story, quiet_results, tell_placement
from ds3tool.cli.options import command, command_or_group
from ds3tool.cli.output import Field, OutputFormat
from ds3tool.cli.settings import Settings
from ds3tool.errors import Ds3Error, MediaOfflineError
from ds3tool.lazy_dataclass import dataclass
from ds3tool.sizes import format_duration, format_size

if TYPE_CHECKING:
    from ds3tool.client import Ds3Client
    from ds3tool.jobs.run import RunResult
    from ds3tool.protocol.model import Tape

app = typer.Typer(name="demo", add_completion=False)

_MIB = 1 << 20
_BUCKET = "demo"
_SEED = 1986
_SMALL_FILES = 2500
_LARGE_FILES = 40
_LARGEST = 96 * _MIB
_BLOB = 8 * _MIB
_CHUNK = 16 * _MIB
_CACHE = 64 * _MIB
_TAPE = 90 * _MIB

# Names that have broken other tools: what XML, URLs, shells and signatures each treat in a way of their own.
_ODD_NAMES = (
    "with space.txt",
    "plus+sign.txt",
    "semi;colon.txt",
    "per%2Fcent.txt",
    'quote\'s and "doubles".txt',
    "back\\slash.txt",
    "new\nline.txt",
    "amp&less<than>.xml",
    unicodedata.normalize("NFC", "Ångström.txt"),
    unicodedata.normalize("NFD", "Ångström.txt"),
    "日本語.txt",
    "é" * 100,
    "-rf",
    "*?[x].txt",
)


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo did: counts, bytes and seconds."""

    objects: int
    bytes: int
    blobs_in_largest: int
    tapes: int
    missing_tape: str
    verified: int
    put_seconds: float
    get_seconds: float
    seconds: float


_FIELDS: list[Field[DemoResult]] = [
    Field("objects", lambda result: result.objects),
    Field("bytes", lambda result: result.bytes, text=format_size),
    Field("blobs_in_largest", lambda result: result.blobs_in_largest),
    Field("tapes", lambda result: result.tapes),
    Field("missing_tape", lambda result: result.missing_tape),
    Field("verified", lambda result: result.verified),
    Field("put_seconds", lambda result: round(result.put_seconds, 1), text=lambda value: f"{value} s"),
    Field("get_seconds", lambda result: round(result.get_seconds, 1), text=lambda value: f"{value} s"),
    Field("seconds", lambda result: round(result.seconds, 1), text=lambda value: f"{value} s"),
]


def make_tree(root: str, *, seed: int = _SEED) -> int:
    """Fill `root` with a tree of about 200 MB: thousands of small files, odd names, one of many blobs.

    The same seed makes the same bytes. Returns how many files there are.
    """
    random_bytes = random.Random(seed)  # noqa: S311  # sample data, not secrets
    count = 0
    for number in range(_SMALL_FILES):
        folder = os.path.join(root, f"instrument-{number % 12:02d}", f"day-{number // 12 % 30:02d}")
        os.makedirs(folder, exist_ok=True)
        _write(os.path.join(folder, f"reading-{number:05d}.csv"), random_bytes.randrange(20_000), random_bytes)
        count += 1
    odd = os.path.join(root, "odd names")
    os.makedirs(os.path.join(odd, "empty folder"))
    for name in _ODD_NAMES:
        _write(os.path.join(odd, name), random_bytes.randrange(5_000), random_bytes)
        count += 1
    _write(os.path.join(odd, "empty file"), 0, random_bytes)
    frames = os.path.join(root, "frames")
    os.makedirs(frames)
    for number in range(_LARGE_FILES):
        _write(os.path.join(frames, f"frame-{number:03d}.raw"), 2 * _MIB + random_bytes.randrange(_MIB), random_bytes)
        count += 1
    _write(os.path.join(root, "film.mov"), _LARGEST + 12_345, random_bytes)
    return count + 2


def _write(path: str, size: int, source: random.Random) -> None:
    with open(path, "wb") as file:
        while size > 0:
            block = source.randbytes(min(size, _MIB))
            file.write(block)
            size -= len(block)


def digests(root: str) -> dict[str, str]:
    """Return the SHA-256 of every file below `root` by its path; folders have the digest of nothing."""
    found: dict[str, str] = {}
    for folder, folders, files in os.walk(os.fsencode(root)):
        relative = os.fsdecode(os.path.relpath(folder, os.fsencode(root)))
        if not folders and not files:
            found[relative + "/"] = ""
        for name in files:
            with open(os.path.join(folder, name), "rb") as file:
                found[os.path.join(relative, os.fsdecode(name))] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


@command_or_group(app, examples=["ds3tool demo", "ds3tool demo --progress log", "ds3tool demo -o json"])
def demo(*, settings: Settings) -> None:
    """Archive, persist, eject, restore and verify a tree on an embedded appliance; nothing is left behind.

    Needs no appliance and no configuration, about 600 MB in the temporary folder, and less than a minute. `ds3tool demo
    lotame` shows the road from Lotame's feeds to tape and back.
    """
    from ds3tool.client import Ds3Client
    from ds3tool.simulator import Appliance, ApplianceSettings
    from ds3tool.transport.settings import ConnectionSettings

    story = Story(settings)
    with tempfile.TemporaryDirectory(prefix="ds3tool-demo-") as folder:
        appliance_settings = ApplianceSettings(
            directory=os.path.join(folder, "appliance"),
            blob_size=_BLOB,
            chunk_size=_CHUNK,
            cache_size=_CACHE,
            tape_capacity=_TAPE,
            tapes=6,
            drives=2,
            retry_after=1,
            persist_delay=1.0,
            seed=_SEED,
        )
        with Appliance(appliance_settings) as appliance:
            connection = ConnectionSettings(appliance.endpoint, appliance.access_key, appliance.secret_key)
            with Ds3Client(connection) as client:
                result = _live(client, appliance.endpoint, folder, story, settings)
    story.step("Done")
    if settings.output is OutputFormat.TABLE:
        story.tell(
            f"{result.objects:,} objects, {format_size(result.bytes)}, went through planned bulk jobs onto "
            f"{result.tapes} tapes and back;"
        )
        story.tell(f"{result.verified:,} digests are equal. All of it took {format_duration(result.seconds)}.")
        story.tell("Go on with your own data: ds3tool sim start, or ds3tool config init for a real appliance.")
    else:
        settings.results().record(result, _FIELDS)


def _live(client: Ds3Client, endpoint: str, folder: str, story: Story, settings: Settings) -> DemoResult:
    started = time.monotonic()
    tree, restored = os.path.join(folder, "tree"), os.path.join(folder, "restored")
    story.step(f"An appliance in this process, at {endpoint}")
    story.tell(f"{format_size(_CACHE)} of cache, 2 drives, 6 tapes of {format_size(_TAPE)}")

    story.step("A tree to archive")
    os.makedirs(tree)
    files = make_tree(tree)
    before = digests(tree)
    story.tell(f"{files:,} files, among them odd names, an empty one, and one of {_LARGEST // _BLOB + 1} blobs")

    story.step(f"Put it: ds3tool put tree ds3://{_BUCKET}/")
    story.tell("The cache is smaller than the tree, so the appliance makes us wait for room now and then.")
    client.create_bucket(_BUCKET)
    put = _put(client, tree, settings)
    story.tell(transfer.summary(put, done="put"))

    story.step("Wait until every copy is on tape")
    transfer.wait_for_tape(client, put, settings)
    if put.stopped is not None:
        raise put.stopped
    tapes = tell_placement(client, _BUCKET, story)

    story.step("Empty the cache, and take a tape out: ds3tool cache reclaim, ds3tool tape eject")
    client.reclaim_cache()
    taken = tapes[0]
    client.eject_tape(taken, label="demo", location="shelf 7")
    ejected = _wait_for_state(client, taken, "EJECTED")
    story.tell(f"{taken} is {ejected.state}, labelled {ejected.eject_label!r}, at {ejected.eject_location!r}")

    story.step(f"Try to restore: ds3tool get ds3://{_BUCKET} restored")
    refusal = _get(client, restored, settings).stopped
    if not isinstance(refusal, MediaOfflineError) or refusal.bar_codes != (taken,):
        raise Ds3Error(f"the restore should have named tape {taken}, but ended with: {refusal}")
    story.tell(f"exit code {refusal.exit_code}: {refusal.message}")

    story.step(f"Put the tape back: ds3tool tape online {taken}")
    client.online_tape(taken)
    story.tell(f"{taken} is {_wait_for_state(client, taken, 'NORMAL').state}")

    story.step("Restore")
    got = _get(client, restored, settings)
    if got.exit_code:
        raise Ds3Error(f"the restore failed: {got.stopped or got.failures[0].error}")
    story.tell(transfer.summary(got, done="got"))

    story.step("Compare every digest, computed anew on both sides")
    after = digests(restored)
    wrong = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if wrong:
        raise Ds3Error(f"{len(wrong)} of {len(before)} files are not what they were, the first is {wrong[0]!r}")
    story.tell(f"{len(after):,} of {len(before):,} are the same")
    return DemoResult(
        objects=got.objects,
        bytes=got.bytes,
        blobs_in_largest=_LARGEST // _BLOB + 1,
        tapes=len(tapes),
        missing_tape=taken,
        verified=len(after),
        put_seconds=put.seconds,
        get_seconds=got.seconds,
        seconds=time.monotonic() - started,
    )


def _put(client: Ds3Client, tree: str, settings: Settings) -> RunResult:
    from ds3tool.jobs.put import PutRun
    from ds3tool.jobs.run import RunSettings
    from ds3tool.sources.local import LocalSource

    run = PutRun(client, LocalSource(tree, prefix=""), _BUCKET, settings=RunSettings())
    result = transfer.carry_out(run, quiet_results(settings), label="put")
    if result.exit_code:
        raise Ds3Error(f"the put failed: {result.stopped or result.failures[0].error}")
    return result


def _get(client: Ds3Client, target: str, settings: Settings) -> RunResult:
    from ds3tool.jobs.get import GetRun
    from ds3tool.jobs.run import RunSettings
    from ds3tool.sinks.local import LocalSink

    sink = LocalSink(target)
    try:
        run = GetRun(
            client, sink, _BUCKET, client.list_objects(_BUCKET), name_of=lambda key: key, settings=RunSettings()
        )
        return transfer.carry_out(run, quiet_results(settings), label="get")
    finally:
        sink.close()


def _wait_for_state(client: Ds3Client, bar_code: str, state: str) -> Tape:
    from threading import Event

    pause = Event()
    for _ in range(300):
        tape = client.get_tape(bar_code)
        if tape.state == state:
            return tape
        pause.wait(0.1)
    raise Ds3Error(f"tape {bar_code} is {tape.state}, not {state}, after half a minute")


command(app, "lotame", examples=demo_lotame.EXAMPLES)(demo_lotame.demo_lotame)
