"""`ds3tool sim`: the embedded appliance."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

from ds3tool.cli import messages, sim_certify, sim_clock, sim_fault, sim_log, sim_reset, sim_status, sim_tape
from ds3tool.cli.appliances import RunningAppliance, find, findable, in_directory, stop
from ds3tool.cli.options import command, group
from ds3tool.cli.output import Field, OutputFormat
from ds3tool.cli.settings import Settings
from ds3tool.cli.sim_options import Built, WhichDirectory, WhichPort
from ds3tool.cli.sim_status import APPLIANCE_FIELDS
from ds3tool.errors import Ds3Error, UsageError
from ds3tool.protocol.model import ChecksumType, Versioning
from ds3tool.sizes import parse_duration, parse_size

if TYPE_CHECKING:
    from ds3tool.simulator import ApplianceSettings

app = group("sim", "Run an embedded appliance: a whole one in a process, with a cache and tapes.")
for each in (sim_status, sim_clock, sim_fault, sim_log, sim_tape, sim_reset, sim_certify):
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
        "ds3tool sim serve --timed --tape-type LTO9 --pace 1000",
    ],
)
def serve(*, built: Built, settings: Settings) -> None:
    """Run an appliance in the foreground until it is interrupted. It is for trying things out, not for production.

    When it accepts connections it prints the three lines that eval of a shell takes.
    """
    from ds3tool.simulator import Appliance

    appliance_settings = _settings_of(built)
    # Blocked before the appliance starts its threads, which inherit that: the signals wait for `sigwait`.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING_SIGNALS)
    appliance = Appliance(appliance_settings).start()
    try:
        # Whoever waits for the appliance to be gone wants it closed by then: first closed, then forgotten.
        with findable(appliance.machine.directory, settings.state_path), contextlib.closing(appliance):
            told = in_directory(appliance.machine.directory)
            assert told is not None
            sys.stdout.write(told.exports)
            sys.stdout.flush()
            _warn(built, settings)
            signal.sigwait(_ENDING_SIGNALS)
    finally:
        appliance.close()


def _settings_of(built: Built) -> ApplianceSettings:
    """Return the appliance that is meant; UsageError for what it cannot be."""
    from ds3tool.simulator import ApplianceSettings, named_quirks, parse_rates

    plain = ("retry_after", "tapes", "drives", "slots", "entry_exit_slots", "pace", "seed", "copies")
    given = {name: getattr(built, name) for name in plain if getattr(built, name) is not None}
    for name in ("blob_size", "chunk_size", "cache_size", "tape_capacity"):
        size: str | None = getattr(built, name)
        if size is not None:
            given[name] = parse_size(size)
    if built.persist_delay is not None:
        given["persist_delay"] = parse_duration(built.persist_delay)
    if built.tape_type is not None:
        given["tape_type"] = built.tape_type.upper()
    if built.versioning is not None:
        given["versioning"] = Versioning(built.versioning.name)
    if built.checksum_type is not None:
        given["checksum_type"] = ChecksumType(built.checksum_type.name)
    return ApplianceSettings(
        directory=None if built.directory is None else str(built.directory),
        host=built.host,
        port=built.port,
        access_key=built.access_key,
        secret_key=built.secret_key,
        timed=built.timed,
        quirks=named_quirks(built.quirk or ()),
        faults=parse_rates(built.fault or ()),
        control_port=built.control_port,
        **given,
    )


@command(
    app,
    "start",
    examples=[
        'eval "$(ds3tool sim start)"',
        "ds3tool sim start --dir ./appliance --port 8080",
        "ds3tool sim start --fault busy-503=0.1,reset-in-body=0.02 --seed 7",
    ],
)
def start(*, built: Built, settings: Settings) -> None:
    """Run an appliance in the background; returns, with the lines for eval, when it accepts connections."""
    line = [sys.executable, "-m", "ds3tool", "sim", "serve", "--state-dir", str(settings.state_path), *built.words]
    if settings.log_file is not None:
        line += [f"--log-file={settings.log_file}", f"--log-format={settings.log_format}", *["-v"] * settings.verbosity]
    sys.stdout.write(_started(line))
    sys.stdout.flush()
    _warn(built, settings)


def _warn(built: Built, settings: Settings) -> None:
    """Say what it is not, and who can reach it; on stderr, so that eval of what it prints is safe."""
    if not settings.quiet:
        messages.warn("this appliance is a simulation, NOT FOR PRODUCTION: what is put into it is on no tape")
    if not built.is_of_this_host_alone:
        where = f"it listens at {built.host}, where other hosts can reach it"
        messages.warn(f"{where}: without TLS, and with keys that others on this host can read")


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
