"""`ds3tool sim certify`: the partner certification list, tried on the embedded appliance or on any other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from ds3tool.cli import messages
from ds3tool.cli.appliances import find
from ds3tool.cli.failures import SomeFailedError
from ds3tool.cli.interruption import interruptible
from ds3tool.cli.options import command
from ds3tool.cli.output import Field, Output, OutputFormat, as_mapping
from ds3tool.cli.settings import Settings, connect
from ds3tool.cli.sim_options import WhichDirectory, WhichPort
from ds3tool.errors import UsageError
from ds3tool.sizes import format_duration, parse_duration, parse_size

if TYPE_CHECKING:
    from pathlib import Path

    from ds3tool.certification import Case, Extent, Ground, Line, Sheet
    from ds3tool.client import Ds3Client
    from ds3tool.transport.settings import ConnectionSettings

_MIB = 1 << 20
# The appliance that the list is tried on when no other is named: small, so that its cache can be seen full.
_OWN_BLOB, _OWN_CHUNK, _OWN_CACHE, _OWN_LARGE = _MIB, 3 * _MIB, 24 * _MIB, 20 * _MIB
_OWN_PERSIST_SECONDS = 0.05
# Without an answer for so long, a request to it has failed for good.
_OWN_RETRY_SECONDS = 10.0

Bucket = Annotated[
    str | None,
    typer.Option("--bucket", metavar="NAME", help="Where to work; one that is not there is made, and removed after."),
]
Size = Annotated[
    str | None, typer.Option("--size", metavar="SIZE", help="Of the large object; else 100MiB, on its own 20MiB.")
]
BlobSize = Annotated[
    str | None,
    typer.Option(
        "--blob-size", metavar="SIZE", help="Of its blobs; else 10MiB, the least that appliances take, on its own 1MiB."
    ),
]
Objects = Annotated[int, typer.Option("--objects", metavar="N", min=2, max=500_000, help="Of the mixed objects.")]
Within = Annotated[
    str, typer.Option("--within", metavar="DURATION", help="How long to wait for each thing that takes tape.")
]
Management = Annotated[
    str | None, typer.Option("--management", metavar="URL", help="The management port, for the case about it.")
]
Only = Annotated[
    list[str] | None, typer.Option("--only", metavar="CASE", help="Try this case and no other; repeatable.")
]
Keep = Annotated[bool, typer.Option("--keep", metavar="", help="Leave the bucket and what is in it.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Makes the bytes, and the sizes of the mixed objects.")]

LINE_FIELDS: list[Field[Line]] = [
    Field("number", lambda line: line.number, right=True),
    Field("case", lambda line: line.name),
    Field("expected", lambda line: line.expected),
    Field("seen", lambda line: line.seen),
    Field("verdict", lambda line: line.verdict),
    Field("seconds", lambda line: round(line.seconds, 3), right=True),
]


SHEET_FIELDS: list[Field[Sheet]] = [
    Field("endpoint", lambda sheet: sheet.endpoint),
    Field("bucket", lambda sheet: sheet.bucket),
    Field("seed", lambda sheet: sheet.seed),
    Field("passed", lambda sheet: sheet.count("pass")),
    Field("failed", lambda sheet: sheet.count("fail")),
    Field("not_applicable", lambda sheet: sheet.count("n/a")),
    Field("seconds", lambda sheet: round(sheet.seconds, 3)),
    Field("left", lambda sheet: sheet.left),
    Field("lines", lambda sheet: [as_mapping(line, LINE_FIELDS) for line in sheet.lines]),
]


def certify(
    *,
    bucket: Bucket = None,
    size: Size = None,
    blob_size: BlobSize = None,
    objects: Objects = 1000,
    within: Within = "1h",
    management: Management = None,
    only: Only = None,
    keep: Keep = False,
    seed: Seed = 1,
    directory: WhichDirectory = None,
    port: WhichPort = None,
    settings: Settings,
) -> None:
    """Try the partner certification list, and print a sheet: what was expected, what was seen, passed or failed.

    It is tried on an appliance made for it, in this process, unless --endpoint or --profile names another on the
    command line, or --dir or --port one that sim has started. There it works in a bucket of its own, which is removed
    at the end; it has the cache emptied once, and makes and removes a user where it may. Exit code 3 when a case has
    failed; one that has no meaning there, or that this user may not try, is n/a.
    """
    from ds3tool.certification import Ground, certify

    cases = _chosen(only or [])
    output = settings.results()
    with ExitStack() as stack:
        client, connection, extent, port_of_management = stack.enter_context(
            _tried_on(settings, directory=directory, port=port)
        )
        ground = Ground(
            client,
            connection,
            _extent(extent, size=size, blob_size=blob_size, objects=objects, within=within, seed=seed),
            bucket=bucket,
            management=management or port_of_management,
            keep=keep,
        )
        stack.enter_context(interruptible())
        messages.note(f"trying {connection.endpoint}, in the bucket {ground.bucket}", quiet=settings.quiet)
        with _telling(ground):
            sheet = certify(ground, cases=cases, on_line=lambda line: _tell(output, line))
    _conclude(output, sheet, settings)


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    command(
        app,
        "certify",
        examples=[
            "ds3tool sim certify",
            "ds3tool sim certify --port 8080 -o json",
            "ds3tool sim certify --profile lab --size 100G --blob-size 1G --within 6h",
            "ds3tool sim certify --only large-object --only after-reclaim",
        ],
    )(certify)


def _chosen(names: list[str]) -> tuple[Case, ...]:
    from ds3tool.certification import CASES

    known = [case.name for case in CASES]
    for name in names:
        if name not in known:
            raise UsageError(f"there is no case {name!r}", hint=f"the cases are: {', '.join(known)}")
    return tuple(case for case in CASES if not names or case.name in names)


def _extent(usual: Extent, *, size: str | None, blob_size: str | None, objects: int, within: str, seed: int) -> Extent:
    from dataclasses import replace

    extent = replace(
        usual,
        large=usual.large if size is None else parse_size(size),
        blob=usual.blob if blob_size is None else parse_size(blob_size),
        objects=objects,
        within_seconds=parse_duration(within),
        seed=seed,
    )
    if extent.blob < 1000 or extent.large < 2 * extent.blob:
        raise UsageError(
            f"an object of {extent.large} bytes has not two blobs of {extent.blob}",
            hint="a large object is at least twice its --blob-size, which is at least 1000",
        )
    return extent


@contextmanager
def _tried_on(
    settings: Settings, *, directory: Path | None, port: int | None
) -> Iterator[tuple[Ds3Client, ConnectionSettings, Extent, str | None]]:
    """Give a client of the appliance that is meant, its connection, how much it takes, and its management port."""
    from ds3tool.certification import Extent
    from ds3tool.client import Ds3Client
    from ds3tool.transport.settings import ConnectionSettings

    is_named = settings.flags.endpoint is not None or settings.profile_is_forced
    if directory is not None or port is not None:
        if is_named:
            raise UsageError(
                "--dir and --port name an appliance of sim, --endpoint and --profile any other",
                hint="say which one to try, and leave out the rest",
            )
        running = find(settings.state_path, directory=directory, port=port)
        connection = ConnectionSettings(
            running.endpoint,
            running.access_key,
            running.secret_key,
            max_retry_seconds=min(settings.max_retry_seconds, _OWN_RETRY_SECONDS),
        )
        with Ds3Client(connection) as client:
            yield client, connection, Extent(), None
        return
    if is_named:
        with connect(settings) as client:
            yield client, settings.resolve().connection, Extent(), None
        return
    from ds3tool.protocol.model import Versioning
    from ds3tool.simulator import Appliance, ApplianceSettings, named_quirks

    own = ApplianceSettings(
        blob_size=_OWN_BLOB,
        chunk_size=_OWN_CHUNK,
        cache_size=_OWN_CACHE,
        persist_delay=_OWN_PERSIST_SECONDS,
        versioning=Versioning.KEEP_MULTIPLE_VERSIONS,
    )
    management = ApplianceSettings(quirks=named_quirks(["management-port"]))
    with Appliance(own) as appliance, Appliance(management) as other:
        connection = ConnectionSettings(
            appliance.endpoint, appliance.access_key, appliance.secret_key, max_retry_seconds=_OWN_RETRY_SECONDS
        )
        with Ds3Client(connection) as client:
            yield client, connection, Extent(large=_OWN_LARGE, blob=_OWN_BLOB), other.endpoint


@contextmanager
def _telling(ground: Ground) -> Iterator[None]:
    """Say what could not be cleaned up, also when the run ends early."""
    try:
        yield
    finally:
        for sentence in ground.left:
            messages.warn(f"left behind: {sentence}")


def _tell(output: Output, line: Line) -> None:
    output.event(line, LINE_FIELDS)
    if output.shape is OutputFormat.TABLE:
        start = f"{line.number:>2}  {line.verdict:4}  {line.name:15}"
        output.hanging(f"{start} {format_duration(line.seconds):>8}  ", line.expected)
        output.hanging(f"{'':{len(start)}} {'':>8}  ", line.seen)


def _conclude(output: Output, sheet: Sheet, settings: Settings) -> None:
    failed = [line for line in sheet.lines if line.verdict == "fail"]
    error = None
    if failed:
        names = ", ".join(line.name for line in failed)
        error = SomeFailedError(f"{len(failed)} of {len(sheet.lines)} cases failed: {names}")
    if output.shape is OutputFormat.JSON:
        output.finish(sheet, SHEET_FIELDS, error)
        return
    if output.shape is OutputFormat.CSV:
        output.records(sheet.lines, LINE_FIELDS)
    if output.shape is OutputFormat.TABLE and not settings.quiet:
        told = f"{sheet.count('pass')} passed, {sheet.count('fail')} failed, {sheet.count('n/a')} not applicable"
        output.line(f"{told}, in {format_duration(sheet.seconds)}")
    if error is not None:
        raise error
