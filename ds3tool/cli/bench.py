"""`ds3tool bench`: how fast an appliance takes and gives generated data from here, and what limits it."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from ds3tool.addresses import Ds3Address, parse_ds3
from ds3tool.cli import messages
from ds3tool.cli.failures import NothingThereError
from ds3tool.cli.interruption import interruptible
from ds3tool.cli.job_options import JobOptions
from ds3tool.cli.options import command, group
from ds3tool.cli.output import counted
from ds3tool.cli.progress import chosen_mode, shown
from ds3tool.cli.prompts import confirm
from ds3tool.cli.settings import Settings, connect
from ds3tool.errors import (
    Ds3Error,
    ForbiddenError,
    InterruptedRunError,
    NotFoundError,
    PathNotFoundError,
    SinkError,
    SourceError,
    UsageError,
)
from ds3tool.jobs.integrity import ChecksumChoice
from ds3tool.sizes import format_size, parse_size

if TYPE_CHECKING:
    from ds3tool.bench.generated import Block
    from ds3tool.bench.ground import Ground
    from ds3tool.bench.rounds import Measurement
    from ds3tool.bench.stopwatch import Stopwatch
    from ds3tool.cli.bench_shown import Measured
    from ds3tool.client import Ds3Client
    from ds3tool.jobs.journal import Journal
    from ds3tool.jobs.progress import ProgressSnapshot
    from ds3tool.jobs.recorder import Recorder
    from ds3tool.jobs.run import Run, RunSettings
    from ds3tool.protocol.model import JobType, ListedObject

app = group("bench", "Measure how fast an appliance takes and gives generated data, and what limits it.")

_MEMORY = "memory"
_DISCARD = "discard"
_MOST_ROUNDS = 100

_Rounds = Annotated[
    int, typer.Option("--rounds", metavar="N", min=1, max=_MOST_ROUNDS, help="Do it so often; the median counts.")
]


@command(
    app,
    "put",
    examples=[
        "ds3tool bench put ds3://scratch/bench/",
        "ds3tool bench put ds3://scratch/bench/ --count 20000 --size 64KiB --rounds 3",
        "ds3tool bench put ds3://scratch/bench/ --checksum none --transfers 8 -o json",
        "ds3tool bench put ds3://scratch/bench/ --source /data --size 4GiB --count 8",
        "ds3tool bench put ds3://scratch/bench/ --keep --yes",
    ],
)
def bench_put(
    address: Annotated[str, typer.Argument(metavar="ds3://BUCKET/PREFIX/", help="Below this; nothing may be there.")],
    *,
    count: Annotated[int, typer.Option("--count", metavar="N", min=1, help="So many objects.")] = 32,
    size: Annotated[str, typer.Option("--size", metavar="SIZE", help="Each of this size.")] = "256MiB",
    source: Annotated[
        str,
        typer.Option(
            "--source",
            metavar="memory|DIR",
            help="Send from memory, or from files that are first written to a folder of this disk, and removed.",
        ),
    ] = _MEMORY,
    checksum: Annotated[
        ChecksumChoice, typer.Option("--checksum", help="As for put: none sends blobs without their digest.")
    ] = ChecksumChoice.AUTO,
    max_upload_size: Annotated[
        str | None,
        typer.Option("--max-upload-size", metavar="SIZE", help="Largest blob, as in 64GiB; else the data policy's."),
    ] = None,
    rounds: _Rounds = 1,
    keep: Annotated[
        bool, typer.Option("--keep", metavar="", help="Leave the objects there, for bench get; one round only.")
    ] = False,
    jobs: JobOptions,
    settings: Settings,
) -> None:
    """Put generated objects through bulk jobs as any put does, say how fast that went and what limits it.

    The objects cannot be compressed, nor kept once for several. They are written below the prefix, where nothing may
    be yet, and removed afterwards with their jobs, also when it fails or is interrupted; nothing else is touched. It
    asks first, unless --yes.

    Tape wears: what the appliance has written to tape by then takes room there until the tape is reclaimed, though
    the objects are gone. Use a bucket whose data policy keeps it off the good tapes.

    What limits is the client's CPU, the disk, the network or the appliance, as far as this host's kernel can tell them
    apart, with the figures it rests on. Files of --source are dropped from the page cache before they are sent.
    """
    target = _prefix(address)
    amount = _positive(size, "--size")
    if keep and rounds > 1:
        raise UsageError("--keep leaves the objects of one round", hint="leave --rounds out")
    folder = None if source == _MEMORY else _folder(source, "--source")
    blob_size = None if max_upload_size is None else _positive(max_upload_size, "--max-upload-size")
    run_settings = jobs.run_settings(blob_size=blob_size, checksum=checksum)
    limit = jobs.rate_limit()
    from ds3tool.bench.generated import Block
    from ds3tool.bench.ground import Ground
    from ds3tool.bench.limits import Asked
    from ds3tool.bench.metered import MeteredTransport
    from ds3tool.cli.bench_shown import Measured, show
    from ds3tool.jobs.integrity import bucket_policy
    from ds3tool.protocol.model import JobType

    with interruptible(), connect(settings, limit=limit, kind=MeteredTransport) as client:
        policy = bucket_policy(client, target.bucket)
        checksum.check(policy)
        _refuse_objects(client, target)
        if folder is not None:
            _check_room(folder, count * amount)
        confirm(_question(target, count, amount, rounds, keep=keep), settings)
        measured = Measured("put", str(target), Asked(sends=True, on_disk=folder is not None, rate=_rate(limit)))
        measurement = _measurement(client, settings, "bench put")
        with closing(Block(secrets.randbits(64), count * amount * rounds)) as block:
            for number in range(rounds):
                ground = Ground.below(target.bucket, target.key, policy.versioning)
                with (
                    _generated(block, ground, folder, count=count, size=amount, number=number) as make,
                    _journal(client, target.bucket, JobType.PUT, settings) as journal,
                    _cleared(ground, client, measurement, measured, keep=keep),
                ):
                    measured.rounds.append(measurement.round(journal, make(client, run_settings)))
                if not keep:
                    _forget_removed(measured.rounds[-1].result.notes, ground, measurement.jobs)
                if measured.whole.stopped is not None:
                    break
        show(measured, settings)


@command(
    app,
    "get",
    examples=[
        "ds3tool bench get ds3://scratch/bench/",
        "ds3tool bench get ds3://scratch/bench/ --rounds 3 --transfers 8 -o json",
        "ds3tool bench get ds3://archive/2024/ --count 20 --target /data/spool",
    ],
)
def bench_get(
    address: Annotated[str, typer.Argument(metavar="ds3://BUCKET/PREFIX/", help="What is below this is read.")],
    *,
    count: Annotated[
        int | None, typer.Option("--count", metavar="N", min=1, help="At most so many objects, the first ones.")
    ] = None,
    target: Annotated[
        str,
        typer.Option(
            "--target",
            metavar="discard|DIR",
            help="Verify and drop what comes, or write files to a folder of this disk, and remove them.",
        ),
    ] = _DISCARD,
    rounds: _Rounds = 1,
    jobs: JobOptions,
    settings: Settings,
) -> None:
    """Get objects through bulk jobs as any get does, say how fast that went and what limits it; nothing is kept.

    Read is whatever is below the prefix, such as what `ds3tool bench put --keep` has left there. Nothing on the
    appliance is changed. What is not in its cache is loaded from tape, which wears tape and drives, and measures them:
    it asks first, unless --yes.

    Each blob is held against the appliance's digest. Files of --target are flushed to the disk as those of a get are.
    """
    origin = _prefix(address)
    folder = None if target == _DISCARD else _folder(target, "--target")
    run_settings, limit = jobs.run_settings(), jobs.rate_limit()
    from ds3tool.bench.limits import Asked
    from ds3tool.bench.metered import MeteredTransport
    from ds3tool.cli.bench_shown import Measured, show
    from ds3tool.protocol.model import JobType

    with interruptible(), connect(settings, limit=limit, kind=MeteredTransport) as client:
        client.get_bucket(origin.bucket)
        found = _found(client, origin, count)
        _ask_for_tapes(client, origin, found, settings)
        measured = Measured("get", str(origin), Asked(sends=False, on_disk=folder is not None, rate=_rate(limit)))
        measurement = _measurement(client, settings, "bench get")
        for _ in range(rounds):
            with (
                _landing(folder) as make,
                _journal(client, origin.bucket, JobType.GET, settings) as journal,
            ):
                measured.rounds.append(measurement.round(journal, make(client, origin.bucket, found, run_settings)))
            if measured.whole.stopped is not None:
                break
        if measured.whole.unverified:
            measured.notes.append(f"{counted(measured.whole.unverified, 'blob')} came without a digest to hold against")
        show(measured, settings)


# -- what was asked for ---------------------------------------------------------------------------------------------


def _prefix(text: str) -> Ds3Address:
    address = parse_ds3(text)
    if address.key and not address.key.endswith("/"):
        raise UsageError(f"{text} is a key, and a prefix is meant", hint=f"write {text}/")
    return address


def _positive(text: str, option: str) -> int:
    size = parse_size(text)
    if size == 0:
        raise UsageError(f"{option} must be above zero")
    return size


def _folder(path: str, option: str) -> str:
    if not os.path.isdir(path):
        raise PathNotFoundError(f"{option} {path} is no folder that is there")
    return path


def _rate(limit: object) -> int | None:
    from ds3tool.transport.ratelimit import RateLimit

    return limit.rate if isinstance(limit, RateLimit) else None


def _refuse_objects(client: Ds3Client, target: Ds3Address) -> None:
    for one in client.list_objects(target.bucket, prefix=target.key, page_size=1):
        raise UsageError(
            f"there are objects below {target}, such as {one.key}, and nothing is measured beside them",
            hint="give a prefix below which nothing is, or remove what an earlier run has kept: ds3tool rm -r",
        )


def _check_room(folder: str, needed: int) -> None:
    free = os.statvfs(folder)
    if free.f_bavail * free.f_frsize < needed:
        raise SinkError(
            f"{folder} has room for {format_size(free.f_bavail * free.f_frsize)}, and {format_size(needed)} are to be "
            "written there first",
            hint="take fewer or smaller objects, or --source memory",
        )


def _question(target: Ds3Address, count: int, size: int, rounds: int, *, keep: bool) -> str:
    times = f" {rounds} times" if rounds > 1 else ""
    after = "They stay there" if keep else "They are removed afterwards"
    return (
        f"Write {counted(count, 'object')} of {format_size(size)} ({format_size(count * size)}) below {target}{times}? "
        f"{after}; what is written to tape by then wears it, and takes room there until that is reclaimed."
    )


def _found(client: Ds3Client, origin: Ds3Address, count: int | None) -> list[ListedObject]:
    listed = client.list_objects(origin.bucket, prefix=origin.key)
    found = list(itertools.islice((one for one in listed if one.last_modified is not None and one.size), count))
    if not found:
        raise NothingThereError(
            f"nothing is below {origin} that could be read", hint=f"make some: ds3tool bench put {origin} --keep"
        )
    return found


def _ask_for_tapes(client: Ds3Client, origin: Ds3Address, found: list[ListedObject], settings: Settings) -> None:
    """Ask before tapes are loaded for what the cache does not have."""
    from ds3tool.jobs.verification import placed_by_object
    from ds3tool.protocol.names import MAX_KEYS_PER_REQUEST

    missing = 0
    try:
        for start in range(0, len(found), MAX_KEYS_PER_REQUEST):
            for blobs in placed_by_object(client, origin.bucket, found[start : start + MAX_KEYS_PER_REQUEST]):
                missing += not (blobs and all(placed.blob.in_cache for placed in blobs))
    except (NotFoundError, ForbiddenError) as error:
        confirm(
            f"Whether these {counted(len(found), 'object')} are in the cache is not known ({error.message}), so tapes "
            "may be loaded for them, which wears these and the drives. Go on?",
            settings,
        )
    if missing:
        confirm(
            f"{missing:,} of {counted(len(found), 'object')} are not in the cache, so tapes are loaded for them, which "
            "wears these and the drives. Go on?",
            settings,
        )


# -- what a round stands on -----------------------------------------------------------------------------------------


def _measurement(client: Ds3Client, settings: Settings, label: str) -> Measurement:
    from ds3tool.bench.metered import MeteredTransport
    from ds3tool.bench.rounds import Measurement

    def shown_run(progress: Callable[[], ProgressSnapshot]) -> contextlib.AbstractContextManager[None]:
        mode = chosen_mode(settings, sys.stderr, sys.stdout)
        return shown(progress, mode=mode, label=label, stream=sys.stderr)

    assert isinstance(client.exchange, MeteredTransport)  # the kind that was asked for
    return Measurement(client.exchange, shown_run)


@contextmanager
def _journal(client: Ds3Client, bucket: str, type_: JobType, settings: Settings) -> Iterator[Journal]:
    """Give a journal as a put or get keeps one, on the same disk, and of which nothing stays."""
    from ds3tool.jobs.journal import Journal, WorkHead, new_work_id

    os.makedirs(settings.state_path, mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=settings.state_path) as folder:
        head = WorkHead(new_work_id(time.time()), type_, bucket, client.get_bucket(bucket).id)
        with Journal.create(folder, head) as journal:
            yield journal


_MakePut = Callable[["Ds3Client", "RunSettings"], Callable[["Recorder", "Stopwatch"], "Run"]]
_MakeGet = Callable[["Ds3Client", str, "list[ListedObject]", "RunSettings"], Callable[["Recorder", "Stopwatch"], "Run"]]


@contextmanager
def _generated(
    block: Block, ground: Ground, folder: str | None, *, count: int, size: int, number: int
) -> Iterator[_MakePut]:
    """Give what puts the objects of one round: from memory, or from files, which are there as long as the block."""
    from ds3tool.bench.generated import GeneratedSource, write_files
    from ds3tool.bench.stopwatch import TimedSource
    from ds3tool.jobs.ends import Source
    from ds3tool.jobs.engine import SMALL_BLOB_BYTES
    from ds3tool.jobs.put import PutRun
    from ds3tool.sources.local import LocalSource

    generated = GeneratedSource(block, prefix=ground.prefix, count=count, size=size, first=number * count)
    with contextlib.ExitStack() as stack:
        source: Source = generated
        if folder is not None:
            spool = stack.enter_context(_spool(folder))
            try:
                write_files(generated, spool)
            except OSError as error:
                raise SourceError(f"{spool} cannot be written: {error.strerror}") from error
            source = LocalSource(spool, prefix=ground.prefix)

        def make(client: Ds3Client, run_settings: RunSettings) -> Callable[[Recorder, Stopwatch], Run]:
            def run(recorder: Recorder, watch: Stopwatch) -> Run:
                # Small ones go through one thread, whose CPU tells enough: there a clock would be part of the figures.
                timed = source if size <= SMALL_BLOB_BYTES else TimedSource(source, watch)
                return PutRun(client, timed, ground.bucket, settings=run_settings, recorder=recorder)

            return run

        yield make


@contextmanager
def _spool(folder: str) -> Iterator[str]:
    """Give a new folder below one of this host; it goes with all that is in it."""
    try:
        made = tempfile.mkdtemp(prefix="ds3tool-bench-", dir=folder)
    except OSError as error:
        raise SinkError(f"nothing can be written below {folder}: {error.strerror}") from error
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def _landing(folder: str | None) -> Iterator[_MakeGet]:
    """Give what gets objects into nothing, or into files that are there as long as the block."""
    from ds3tool.bench.stopwatch import TimedDiscard, TimedFiles
    from ds3tool.jobs.get import GetRun
    from ds3tool.jobs.get_targets import Wanted

    with contextlib.ExitStack() as stack:
        spool = None if folder is None else stack.enter_context(_spool(folder))

        def make(
            client: Ds3Client, bucket: str, found: list[ListedObject], run_settings: RunSettings
        ) -> Callable[[Recorder, Stopwatch], Run]:
            # Any key may be there, and none is a path.
            wanted = [Wanted(one.key, one.size, name=f"{number:09}") for number, one in enumerate(found)]

            def run(recorder: Recorder, watch: Stopwatch) -> Run:
                sink = stack.enter_context(closing(TimedDiscard(watch) if spool is None else TimedFiles(spool, watch)))
                return GetRun(client, sink, bucket, wanted, name_of=str, settings=run_settings, recorder=recorder)

            return run

        yield make


@contextmanager
def _cleared(
    ground: Ground, client: Ds3Client, measurement: Measurement, measured: Measured, *, keep: bool
) -> Iterator[None]:
    """However the block ends, remove what it has put; with `keep` say where that is."""
    from ds3tool.clock import RealClock

    measurement.jobs = []
    try:
        yield
    finally:
        if keep:
            measured.kept = ground.address
            messages.note(f"what was put is kept: {ground.address}", quiet=False)
        else:
            try:
                troubles = ground.clear(client, measurement.jobs, RealClock())
            except KeyboardInterrupt:
                raise InterruptedRunError(
                    f"interrupted while what was put was removed; some of it may be left below {ground.address}",
                    hint=f"remove it: ds3tool rm -r {ground.address}",
                ) from None
            measured.notes += troubles
            if troubles:
                measured.left = Ds3Error("not all that was put could be removed; what is left is told above")
            if sys.exception() is not None:
                for trouble in troubles:
                    messages.warn(trouble)


def _forget_removed(notes: list[str], ground: Ground, jobs: list[str]) -> None:
    """Leave out what a run has said of its single objects and of how it left its jobs: both are gone, or told anew."""
    of_removed = (ground.prefix, *(f"job {job_id} " for job_id in jobs))
    notes[:] = [note for note in notes if not note.startswith(of_removed)]
