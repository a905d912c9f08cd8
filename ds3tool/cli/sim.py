"""`ds3tool sim`: the embedded appliance."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import tempfile

from ds3tool.cli import messages, sim_certify, sim_clock, sim_fault, sim_log, sim_reset, sim_status
from ds3tool.cli.appliances import RunningAppliance, find, findable, in_directory, stop
from ds3tool.cli.options import command, group
from ds3tool.cli.output import Field, OutputFormat
from ds3tool.cli.settings import Settings
from ds3tool.cli.sim_options import (
    AccessKey,
    BlobSize,
    CacheSize,
    Checksum,
    ChunkSize,
    ControlPort,
    Copies,
    Directory,
    Drives,
    Faults,
    Host,
    Kept,
    PersistDelay,
    Port,
    Quirks,
    RetryAfter,
    SecretKey,
    Seed,
    Tapes,
    WhichDirectory,
    WhichPort,
)
from ds3tool.cli.sim_status import APPLIANCE_FIELDS
from ds3tool.errors import Ds3Error, UsageError
from ds3tool.protocol.model import ChecksumType, Versioning
from ds3tool.sizes import parse_duration, parse_size

app = group("sim", "Run an embedded appliance: a whole one in a process, with a cache and tapes.")
for each in (sim_status, sim_clock, sim_fault, sim_log, sim_reset, sim_certify):
    each.add_to(app)

_ENDING_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


@command(
    app,
    "serve",
    examples=[
        "ds3tool sim serve",
        "ds3tool sim serve --dir ./appliance --blob-size 1MiB --cache-size 24MiB",
        "ds3tool sim serve --versioning keep-multiple-versions",
        "ds3tool sim serve --quirk release-1.2 --quirk offers-again",
        "ds3tool sim serve --seed 7 --fault lost-reply=0.05,short-get=0.05",
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
    fault: Faults = None,
    control_port: ControlPort = 0,
    settings: Settings,
) -> None:
    """Run an appliance in the foreground until it is interrupted.

    When it accepts connections it prints the three lines that eval of a shell takes.
    """
    from ds3tool.simulator import Appliance, ApplianceSettings, named_quirks, parse_rates

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
        faults=parse_rates(fault or ()),
        control_port=control_port,
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
    examples=[
        'eval "$(ds3tool sim start)"',
        "ds3tool sim start --dir ./appliance --port 8080",
        "ds3tool sim start --fault busy-503=0.1,reset-in-body=0.02 --seed 7",
    ],
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
    fault: Faults = None,
    control_port: ControlPort = 0,
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
        "--control-port": control_port,
    }
    line = [sys.executable, "-m", "ds3tool", "sim", "serve", "--state-dir", str(settings.state_path)]
    line += [f"{option}={value}" for option, value in options.items() if value is not None]
    line += [f"--quirk={name}" for name in quirk or ()]
    line += [f"--fault={rates}" for rates in fault or ()]
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
        settings.results().record(appliance, APPLIANCE_FIELDS)


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
    _list_awkwardness(rows, settings)


@command(app, "faults", examples=["ds3tool sim faults"])
def list_faults(*, settings: Settings) -> None:
    """List what can go wrong with an appliance (--fault, sim fault), and the mistake of a client that it exposes."""
    from ds3tool.simulator.faults import Fault

    _list_awkwardness([(fault.value, fault.what, fault.exposes) for fault in Fault], settings)


def _list_awkwardness(rows: list[tuple[str, str, str]], settings: Settings) -> None:
    fields: list[Field[tuple[str, str, str]]] = [
        Field("name", lambda row: row[0]),
        Field("does", lambda row: row[1]),
        Field("against", lambda row: row[2]),
    ]
    if settings.output is OutputFormat.TABLE:
        # Three columns are wider than most terminals, and only the last one folds.
        fields = [fields[0], Field("does", lambda row: f"{row[1]} (against {row[2]})")]
    settings.results().records(rows, fields)
