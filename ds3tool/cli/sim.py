"""`ds3tool sim`: the embedded appliance."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ds3tool.cli import messages
from ds3tool.cli.appliances import RunningAppliance, find, findable, in_directory, running, stop
from ds3tool.cli.options import command, group
from ds3tool.cli.output import Field, OutputFormat
from ds3tool.cli.settings import Settings
from ds3tool.errors import Ds3Error, UsageError
from ds3tool.protocol.model import ChecksumType, Versioning
from ds3tool.sizes import parse_duration, parse_size

app = group("sim", "Run an embedded appliance: a whole one in a process, with a cache and tapes.")

_ENDING_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})

Host = Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Where it listens.")]
Port = Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="0 takes any free one.")]
Directory = Annotated[
    Path | None,
    typer.Option("--dir", metavar="DIR", help="Where its state is kept, and continued; else it goes with it."),
]
AccessKey = Annotated[str | None, typer.Option("--access-key", metavar="ID", help="Else one is made up.")]
SecretKey = Annotated[
    str | None,
    typer.Option("--secret-key", metavar="KEY", help="Else one is made up; others on this host can read it."),
]
BlobSize = Annotated[str | None, typer.Option("--blob-size", metavar="SIZE", help="Blobs of a put, as in 64MiB.")]
ChunkSize = Annotated[str | None, typer.Option("--chunk-size", metavar="SIZE", help="Most bytes of a chunk.")]
CacheSize = Annotated[str | None, typer.Option("--cache-size", metavar="SIZE", help="Room in the cache.")]
RetryAfter = Annotated[
    int | None, typer.Option("--retry-after", metavar="SECONDS", min=0, help="What its replies ask clients to wait.")
]
PersistDelay = Annotated[
    str | None, typer.Option("--persist-delay", metavar="SECONDS", help="From a chunk's last byte to its way to tape.")
]
Tapes = Annotated[int | None, typer.Option("--tapes", metavar="N", min=0, help="Tapes in its library.")]
Drives = Annotated[int | None, typer.Option("--drives", metavar="N", min=1, help="Tape drives.")]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", help="Makes ids and keys repeatable.")]


class ChecksumChoice(StrEnum):
    """The digests that a data policy may ask for."""

    CRC_32 = "crc32"
    CRC_32C = "crc32c"
    MD5 = "md5"
    SHA_256 = "sha256"
    SHA_512 = "sha512"


class VersioningChoice(StrEnum):
    """What the data policy does with a second put of one key."""

    NONE = "none"
    KEEP_LATEST = "keep-latest"
    KEEP_MULTIPLE_VERSIONS = "keep-multiple-versions"


Kept = Annotated[
    VersioningChoice | None,
    typer.Option("--versioning", help="What a new one's data policy does with a second put of a key; else none."),
]
Checksum = Annotated[
    ChecksumChoice | None, typer.Option("--checksum-type", help="What its data policy protects blobs with; else md5.")
]
Copies = Annotated[
    int | None, typer.Option("--copies", metavar="N", min=1, max=2, help="Copies on tape its data policy wants.")
]

Quirks = Annotated[
    list[str] | None,
    typer.Option("--quirk", metavar="NAME", help="What is awkward about it; repeatable. See: ds3tool sim quirks"),
]

WhichDirectory = Annotated[Path | None, typer.Option("--dir", metavar="DIR", help="The one that lives in DIR.")]
WhichPort = Annotated[int | None, typer.Option("--port", metavar="N", help="The one at this port.")]

FIELDS: list[Field[RunningAppliance]] = [
    Field("pid", lambda appliance: appliance.pid, right=True),
    Field("endpoint", lambda appliance: appliance.endpoint),
    Field("port", lambda appliance: appliance.port, tabled=False),
    Field("access_key", lambda appliance: appliance.access_key),
    Field("directory", lambda appliance: appliance.directory),
]


@command(
    app,
    "serve",
    examples=[
        "ds3tool sim serve",
        "ds3tool sim serve --dir ./appliance --blob-size 1MiB --cache-size 24MiB",
        "ds3tool sim serve --versioning keep-multiple-versions",
        "ds3tool sim serve --quirk release-1.2 --quirk offers-again",
    ],
)
def serve(
    *,
    host: Host = "127.0.0.1",
    port: Port = 0,
    directory: Directory = None,
    access_key: AccessKey = None,
    secret_key: SecretKey = None,
    blob_size: BlobSize = None,
    chunk_size: ChunkSize = None,
    cache_size: CacheSize = None,
    retry_after: RetryAfter = None,
    persist_delay: PersistDelay = None,
    tapes: Tapes = None,
    drives: Drives = None,
    seed: Seed = None,
    versioning: Kept = None,
    checksum_type: Checksum = None,
    copies: Copies = None,
    quirk: Quirks = None,
    settings: Settings,
) -> None:
    """Run an appliance in the foreground until it is interrupted.

    When it accepts connections it prints the three lines that eval of a shell takes.
    """
    from ds3tool.simulator import Appliance, ApplianceSettings, named_quirks

    usual = ApplianceSettings()
    built = ApplianceSettings(
        directory=None if directory is None else str(directory),
        host=host,
        port=port,
        access_key=access_key,
        secret_key=secret_key,
        blob_size=usual.blob_size if blob_size is None else parse_size(blob_size),
        chunk_size=usual.chunk_size if chunk_size is None else parse_size(chunk_size),
        cache_size=usual.cache_size if cache_size is None else parse_size(cache_size),
        retry_after=usual.retry_after if retry_after is None else retry_after,
        persist_delay=usual.persist_delay if persist_delay is None else parse_duration(persist_delay),
        tapes=usual.tapes if tapes is None else tapes,
        drives=usual.drives if drives is None else drives,
        seed=seed,
        versioning=usual.versioning if versioning is None else Versioning(versioning.name),
        checksum_type=usual.checksum_type if checksum_type is None else ChecksumType(checksum_type.name),
        copies=usual.copies if copies is None else copies,
        quirks=named_quirks(quirk or ()),
    )
    # Blocked before the appliance starts its threads, which inherit that: the signals wait for `sigwait`.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING_SIGNALS)
    appliance = Appliance(built).start()
    try:
        # Whoever waits for the appliance to be gone wants it closed by then: first closed, then forgotten.
        with findable(appliance.machine.directory, settings.state_path), contextlib.closing(appliance):
            told = in_directory(appliance.machine.directory)
            assert told is not None
            sys.stdout.write(told.exports)
            sys.stdout.flush()
            signal.sigwait(_ENDING_SIGNALS)
    finally:
        appliance.close()


@command(
    app,
    "start",
    examples=['eval "$(ds3tool sim start)"', "ds3tool sim start --dir ./appliance --port 8080"],
)
def start(
    *,
    host: Host = "127.0.0.1",
    port: Port = 0,
    directory: Directory = None,
    access_key: AccessKey = None,
    secret_key: SecretKey = None,
    blob_size: BlobSize = None,
    chunk_size: ChunkSize = None,
    cache_size: CacheSize = None,
    retry_after: RetryAfter = None,
    persist_delay: PersistDelay = None,
    tapes: Tapes = None,
    drives: Drives = None,
    seed: Seed = None,
    versioning: Kept = None,
    checksum_type: Checksum = None,
    copies: Copies = None,
    quirk: Quirks = None,
    settings: Settings,
) -> None:
    """Run an appliance in the background; returns, with the lines for eval, when it accepts connections."""
    options = {
        "--host": host,
        "--port": port,
        "--dir": directory,
        "--access-key": access_key,
        "--secret-key": secret_key,
        "--blob-size": blob_size,
        "--chunk-size": chunk_size,
        "--cache-size": cache_size,
        "--retry-after": retry_after,
        "--persist-delay": persist_delay,
        "--tapes": tapes,
        "--drives": drives,
        "--seed": seed,
        "--versioning": versioning,
        "--checksum-type": checksum_type,
        "--copies": copies,
    }
    line = [sys.executable, "-m", "ds3tool", "sim", "serve", "--state-dir", str(settings.state_path)]
    line += [f"{option}={value}" for option, value in options.items() if value is not None]
    line += [f"--quirk={name}" for name in quirk or ()]
    if settings.log_file is not None:
        line += [f"--log-file={settings.log_file}", f"--log-format={settings.log_format}", *["-v"] * settings.verbosity]
    sys.stdout.write(_started(line))
    sys.stdout.flush()


def _started(line: list[str]) -> str:
    """Start `line` on its own and return what it prints once it listens; raises Ds3Error when it does not."""
    # What it says later goes to a nameless file: it must not find a closed pipe.
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as told:
        # Its own session: neither Ctrl-C nor the end of this terminal reaches it.
        process = subprocess.Popen(  # noqa: S603  # our own program, with arguments that typer has checked
            line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=told, start_new_session=True, text=True
        )
        assert process.stdout is not None
        with process.stdout:
            exports = "".join(process.stdout.readline() for _ in range(3))
        if exports.count("\n") == 3:
            return exports
        code = process.wait()
        told.seek(0)
        reason = told.readline().strip().removeprefix("ds3tool: ") or "it did not say why"
        hint = told.readline().strip()
    if code == UsageError.exit_code:
        raise UsageError(reason, hint=hint.removeprefix("hint: ") if hint.startswith("hint: ") else None)
    raise Ds3Error(f"the appliance did not start (exit code {code}): {reason}")


@command(app, "stop", examples=["ds3tool sim stop", "ds3tool sim stop --port 8080"])
def stop_appliance(*, directory: WhichDirectory = None, port: WhichPort = None, settings: Settings) -> None:
    """Stop an appliance that runs on this host: the one started last, unless --dir or --port names one."""
    appliance = find(settings.state_path, directory=directory, port=port)
    stop(appliance)
    messages.note(f"stopped the appliance at {appliance.endpoint}", quiet=settings.quiet)
    if settings.output is not OutputFormat.TABLE:
        settings.results().record(appliance, FIELDS)


@command(app, "status", examples=["ds3tool sim status", "ds3tool sim status -o json"])
def show_status(*, directory: WhichDirectory = None, port: WhichPort = None, settings: Settings) -> None:
    """List the appliances that run on this host, the one started last at the end; exit code 4 when there is none."""
    if directory is None and port is None:
        appliances = running(settings.state_path) or [find(settings.state_path, directory=None, port=None)]
    else:
        appliances = [find(settings.state_path, directory=directory, port=port)]
    settings.results().records(appliances, FIELDS)


@command(app, "env", examples=['eval "$(ds3tool sim env)"'])
def show_environment(*, directory: WhichDirectory = None, port: WhichPort = None, settings: Settings) -> None:
    """Print the lines that point ds3tool and other clients to an appliance."""
    appliance = find(settings.state_path, directory=directory, port=port)
    if settings.output is OutputFormat.TABLE:
        sys.stdout.write(appliance.exports)
        return
    variables: list[Field[RunningAppliance]] = [
        Field("DS3_ENDPOINT", lambda each: each.endpoint),
        Field("DS3_ACCESS_KEY", lambda each: each.access_key),
        Field("DS3_SECRET_KEY", lambda each: each.secret_key),
    ]
    settings.results().record(appliance, variables)


@command(app, "quirks", examples=["ds3tool sim quirks"])
def list_quirks(*, settings: Settings) -> None:
    """List what can be awkward about an appliance (--quirk), and the mistake of a client that it exposes."""
    from ds3tool.simulator.quirks import RELEASES, Quirk

    rows = [(quirk.value, quirk.what, quirk.exposes) for quirk in Quirk]
    rows += [
        (name, f"all of: {', '.join(sorted(quirks))}", "knowing newer releases only")
        for name, quirks in RELEASES.items()
    ]
    fields: list[Field[tuple[str, str, str]]] = [
        Field("name", lambda row: row[0]),
        Field("does", lambda row: row[1]),
        Field("against", lambda row: row[2]),
    ]
    if settings.output is OutputFormat.TABLE:
        # Three columns are wider than most terminals, and only the last one folds.
        fields = [fields[0], Field("does", lambda row: f"{row[1]} (against {row[2]})")]
    settings.results().records(rows, fields)
