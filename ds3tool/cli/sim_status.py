"""`ds3tool sim status`: the appliances that run, and of each what it holds and what it is doing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from typing import Any

import typer

from ds3tool.cli import messages
from ds3tool.cli.appliances import RunningAppliance, find, running
from ds3tool.cli.options import command
from ds3tool.cli.output import Field, OutputFormat, counted
from ds3tool.cli.settings import Settings
from ds3tool.cli.sim_clock import told_clock, told_waiting
from ds3tool.cli.sim_controls import ask
from ds3tool.cli.sim_options import WhichDirectory, WhichPort
from ds3tool.cli.sim_tape import told_doing
from ds3tool.errors import Ds3Error
from ds3tool.lazy_dataclass import dataclass
from ds3tool.sizes import format_duration, format_size

# Of buckets and kinds of requests, a table names so many; JSON has them all.
_NAMED = 6

APPLIANCE_FIELDS: list[Field[RunningAppliance]] = [
    Field("pid", lambda appliance: appliance.pid, right=True),
    Field("endpoint", lambda appliance: appliance.endpoint),
    Field("port", lambda appliance: appliance.port, tabled=False),
    Field("access_key", lambda appliance: appliance.access_key),
    Field("control_port", lambda appliance: appliance.control_port, tabled=False),
    Field("directory", lambda appliance: appliance.directory),
]


@dataclass(frozen=True, slots=True)
class Seen:
    """One appliance, and what its controls tell of it: nothing where they do not answer."""

    appliance: RunningAppliance
    told: Mapping[str, Any] = field(default_factory=dict)


def _of_appliance(known: Field[RunningAppliance]) -> Field[Seen]:
    return Field(known.name, lambda seen: known.get(seen.appliance), right=known.right, tabled=known.tabled)


def _told(name: str) -> Field[Seen]:
    return Field(name, lambda seen: seen.told.get(name), tabled=False)


FIELDS: list[Field[Seen]] = [
    *map(_of_appliance, APPLIANCE_FIELDS),
    *map(
        _told,
        (
            *("seed", "uptime_seconds", "since_reset_seconds", "clock", "waiting"),
            *("buckets", "jobs", "cache", "drives", "tapes", "requests"),
        ),
    ),
]


def show_status(*, directory: WhichDirectory = None, port: WhichPort = None, settings: Settings) -> None:
    """List the appliances that run on this host, and tell what one of them holds and does; code 4 when there is none.

    The one started last stands at the end, and is the one that is told of, unless --dir or --port names another.
    """
    if directory is None and port is None:
        appliances = running(settings.state_path) or [find(settings.state_path, directory=None, port=None)]
    else:
        appliances = [find(settings.state_path, directory=directory, port=port)]
    output = settings.results()
    if output.shape is not OutputFormat.TABLE:
        output.records(map(_seen, appliances), FIELDS)
        return
    output.records(map(Seen, appliances), FIELDS)
    seen = _seen(appliances[-1])
    if not seen.told:
        return
    output.line("")
    if len(appliances) > 1:
        output.line(f"The one at {seen.appliance.endpoint}:")
    for title, text in told(seen.told):
        output.hanging(f"{title:9} ", text)


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    command(
        app,
        "status",
        examples=["ds3tool sim status", "ds3tool sim status --port 8080", "ds3tool sim status -o json"],
    )(show_status)


def _seen(appliance: RunningAppliance) -> Seen:
    if appliance.control_port is None:
        return Seen(appliance)
    try:
        return Seen(appliance, ask(appliance, "/status"))
    except Ds3Error as error:
        messages.warn(error.message)
        return Seen(appliance)


def told(status: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what people read of a status, line by line: a title and a text."""
    yield "buckets", _buckets(status["buckets"])
    yield "jobs", _jobs(status["jobs"])
    yield "cache", _cache(status["cache"])
    yield "drives", "; ".join(map(_drive, status["drives"])) or "none"
    yield "tapes", ", ".join(f"{count:,} {state}" for state, count in status["tapes"].items()) or "none"
    yield "requests", _requests(status["requests"])
    yield "clock", told_clock(status["clock"])
    waiting = told_waiting(status["waiting"])
    if waiting:
        yield "waiting", waiting
    yield "seed", "none" if status["seed"] is None else str(status["seed"])
    yield "up", format_duration(status["uptime_seconds"])


def _buckets(buckets: list[dict[str, Any]]) -> str:
    if not buckets:
        return "none"
    objects, size = sum(each["objects"] for each in buckets), sum(each["bytes"] for each in buckets)
    named = _some([f"{each['name']} ({each['objects']:,})" for each in buckets])
    return f"{len(buckets):,}, with {counted(objects, 'object')}, {format_size(size)}: {named}"


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f", and {more:,} more" if more > 0 else "")


def _jobs(jobs: dict[str, Any]) -> str:
    active = [f"{count:,} {kind}" for kind, count in jobs["active"].items() if count]
    if not active:
        return "none active"
    parts = [f"active: {', '.join(active)}"]
    if jobs["waiting_to_be_written"]:
        parts.append(f"{jobs['waiting_to_be_written']:,} all received, and not yet on every tape")
    if jobs["waiting_to_be_read"]:
        parts.append(f"{jobs['waiting_to_be_read']:,} waiting for something to be read from tape")
    return "; ".join(parts)


def _cache(cache: dict[str, int]) -> str:
    share = f" ({cache['used'] / cache['capacity']:.0%})" if cache["capacity"] else ""
    return f"{format_size(cache['used'])} of {format_size(cache['capacity'])} in use{share}"


def _drive(drive: dict[str, Any]) -> str:
    state = "" if drive["state"] == "NORMAL" else f" {drive['state']},"
    held = "empty" if drive["tape"] is None else f"holds {drive['tape']}"
    doing = f", {told_doing(drive['doing'])}" if drive["doing"] else ""
    return f"{drive['serial_number']}{state} {held}{doing}"


def _requests(requests: Iterable[dict[str, Any]]) -> str:
    rows = list(requests)
    total = sum(row["count"] for row in rows)
    if not rows:
        return "none yet"
    named = [f"{row['count']:,} {row['operation'] or 'unknown'} {row['status'] or 'cut'}" for row in rows]
    return f"{total:,}: {_some(named)}"
