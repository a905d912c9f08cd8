"""`ds3tool sim log`: what a running appliance did lately, and what comes as it comes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from ds3tool.cli.appliances import RunningAppliance, find, is_gone_soon
from ds3tool.cli.options import command
from ds3tool.cli.output import Field, OutputFormat
from ds3tool.cli.settings import Settings
from ds3tool.cli.sim_controls import ask
from ds3tool.cli.sim_options import WhichDirectory, WhichPort
from ds3tool.errors import Ds3Error, UsageError
from ds3tool.lazy_dataclass import dataclass
from ds3tool.sizes import format_duration, format_size

_TAIL = 20
_WAIT_SECONDS = 10.0

Follow = Annotated[
    bool, typer.Option("--follow", "-f", metavar="", help="Go on with what comes, until interrupted or it stops.")
]
Tail = Annotated[
    int | None,
    typer.Option("--tail", metavar="N", min=0, help=f"The last N entries; else {_TAIL} in a table, and all elsewhere."),
]


@dataclass(frozen=True, slots=True)
class LogLine:
    """One entry: a request, or something that the robot, a drive or the operator did. `seed` is the appliance's."""

    told: dict[str, Any]
    seed: int

    @property
    def at(self) -> datetime:
        """When, by the appliance's clock."""
        return datetime.fromtimestamp(self.told["at"], UTC)

    @property
    def who(self) -> str:
        """Who did it: a user, or a device."""
        return str(self.told["by"] if self.told["kind"] == "deed" else self.told["user"] or "-")

    @property
    def what(self) -> str:
        """What people read."""
        return _deed(self.told) if self.told["kind"] == "deed" else _request(self.told)


def _deed(told: dict[str, Any]) -> str:
    what, tape = told["what"], told["tape"]
    took = f" ({format_duration(told['seconds'])})" if told["seconds"] else ""
    if tape:
        # What is told of a tape itself begins with its verb: "is EJECTED (outside)".
        what = f"{tape} {what}" if told["by"] == "library" else f"{what} {tape}"
    return f"{what}{took}"


def _request(told: dict[str, Any]) -> str:
    status = told["status"] or "no answer"
    moved = [f"{format_size(told[way])} {word}" for way, word in (("received", "in"), ("sent", "out")) if told[way]]
    parts = [f"{told['milliseconds']:.1f} ms", *moved, *([] if told["whole"] else ["broken off"])]
    return f"{status} {told['operation'] or '-'} {told['verb']} {told['path']} ({', '.join(parts)})"


def _told(name: str) -> Field[LogLine]:
    return Field(name, lambda line: line.told.get(name), tabled=False)


FIELDS: list[Field[LogLine]] = [
    Field("n", lambda line: line.told["n"], tabled=False),
    Field("time", lambda line: line.at, text=lambda at: at.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]),
    Field("kind", lambda line: line.told["kind"], tabled=False),
    Field("who", lambda line: line.who),
    Field("what", lambda line: line.what),
    *map(_told, ("user", "verb", "path", "operation", "status", "milliseconds", "received", "sent", "whole")),
    *map(_told, ("by", "tape", "seconds")),
    Field("seed", lambda line: line.seed, tabled=False),
]


def log(
    *,
    follow: Follow = False,
    tail: Tail = None,
    directory: WhichDirectory = None,
    port: WhichPort = None,
    settings: Settings,
) -> None:
    """Show what a running appliance did lately: requests with their status, and what the robot and the drives did.

    Times are those of the appliance's clock. It remembers the last ten thousand of either kind, until it ends; a reset
    does not empty it. An appliance that is started or reset with the same --seed, and asked the same, one request
    after the other, has the same ids, and the same faults strike: -o json names the seed, also where it was made up.
    """
    appliance = find(settings.state_path, directory=directory, port=port)
    output = settings.results()
    if follow and output.shape is OutputFormat.JSON:
        raise UsageError("a log that is followed has no end, and so is no JSON document", hint="use -o ndjson")
    if tail is None:
        tail = _TAIL if output.shape is OutputFormat.TABLE else 1_000_000
    told = ask(appliance, "/log", query={"tail": tail})
    lines = _followed(appliance, told) if follow else _lines(told)
    if follow and output.shape is OutputFormat.TABLE:
        # A table waits for its rows to fit its columns to them, and these come one by one.
        for line in lines:
            output.line("  ".join(field.cell(line) for field in FIELDS if field.tabled))
        return
    output.records(lines, FIELDS)


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    command(
        app,
        "log",
        examples=["ds3tool sim log", "ds3tool sim log --tail 100 -o ndjson", "ds3tool sim log --follow"],
    )(log)


def _lines(told: dict[str, Any]) -> Iterator[LogLine]:
    for entry in told["entries"]:
        yield LogLine(entry, told["seed"])


def _followed(appliance: RunningAppliance, told: dict[str, Any]) -> Iterator[LogLine]:
    while True:
        yield from _lines(told)
        try:
            told = ask(appliance, "/log", query={"after": told["last"], "wait": _WAIT_SECONDS})
        except Ds3Error:
            # Its controls end before it does; when it has ended, so has its log.
            if is_gone_soon(appliance):
                return
            raise
