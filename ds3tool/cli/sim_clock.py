"""`ds3tool sim clock`: a running appliance's time, and what the waiting since its start would have cost."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import typer

from ds3tool.cli.appliances import find
from ds3tool.cli.options import command
from ds3tool.cli.output import Field, OutputFormat, counted
from ds3tool.cli.settings import Settings
from ds3tool.cli.sim_controls import ask
from ds3tool.cli.sim_options import WhichDirectory, WhichPort
from ds3tool.errors import UsageError
from ds3tool.lazy_dataclass import dataclass
from ds3tool.sizes import format_duration, format_size, parse_duration

Pace = Annotated[
    float | None,
    typer.Option("--pace", metavar="N", min=0.0, help="Seconds of its time in one of yours; 1 is real time, 0 stands."),
]
Stop = Annotated[bool, typer.Option("--stop", metavar="", help="Let its time stand until it is stepped (--pace 0).")]
Step = Annotated[str | None, typer.Option("--step", metavar="DURATION", help="Let so much of it pass now: 90s, 2h.")]
Skip = Annotated[bool, typer.Option("--skip", metavar="", help="Go to the next moment for which anything in it waits.")]


@dataclass(frozen=True, slots=True)
class Told:
    """The clock, the ledger of waiting, and how much time this command let pass."""

    clock: Mapping[str, Any]
    waiting: Mapping[str, Any]
    skipped: float


def told_pace(pace: float) -> str:
    """Return how fast a clock goes, for people."""
    if not pace:
        return "stands still until it is stepped"
    return "real time" if pace == 1 else f"{pace:g} seconds in one of real time"


def told_clock(clock: Mapping[str, Any]) -> str:
    """Return a clock in a line."""
    when = datetime.fromisoformat(clock["appliance_time"])
    return f"{when:%Y-%m-%d %H:%M:%SZ}, {told_pace(clock['pace'])}"


def told_waiting(waiting: Mapping[str, Any]) -> str:
    """Return what waiting has cost, in a line; empty where tapes have done nothing yet."""
    if not waiting["spent"]:
        return ""
    busy, mounts = format_duration(waiting["drive_seconds"]), counted(waiting["mounts"], "mount")
    of_its_time, of_ours = format_duration(waiting["appliance_seconds"]), format_duration(waiting["real_seconds"])
    return f"{mounts}, {of_its_time} of appliance time ({of_ours} of yours); drives and robot at work for {busy} in all"


def _spent(spent: Mapping[str, Any]) -> str:
    parts = []
    for what, entry in spent.items():
        named = "tasks waiting for a drive" if what == "wait" else what
        moved = f", {format_size(entry['bytes'])}" if entry["bytes"] else ""
        parts.append(f"{named} {entry['count']:,} x, {format_duration(entry['seconds'])}{moved}")
    return "; ".join(parts) or "nothing"


def _time(name: str) -> Field[Told]:
    return Field(
        name,
        lambda told: datetime.fromisoformat(told.clock[name]),
        text=lambda when: when.strftime("%Y-%m-%d %H:%M:%SZ"),
    )


# So many jobs are told of one by one in a table; in JSON, all that the appliance tells of.
_JOBS_TOLD = 3

FIELDS: list[Field[Told]] = [
    _time("appliance_time"),
    _time("real_time"),
    Field("pace", lambda told: told.clock["pace"], text=told_pace),
    Field("skipped_seconds", lambda told: told.skipped, tabled=False),
    Field("waiting", lambda told: told.waiting, text=lambda waiting: told_waiting(waiting) or "none yet"),
]
# In JSON it is a part of `waiting`.
_TABLE_FIELDS = [*FIELDS, Field[Told]("spent", lambda told: told.waiting["spent"], text=_spent)]


def clock(
    *,
    pace: Pace = None,
    stop: Stop = False,
    step: Step = None,
    skip: Skip = False,
    directory: WhichDirectory = None,
    port: WhichPort = None,
    settings: Settings,
) -> None:
    """Show a running appliance's time and what waiting for its tapes has cost of it; with an option, change it first.

    Its time is that of dates, of idle jobs, and of what the robot and the drives take (sim start --timed). At a pace of
    1000 a restore from a hundred tapes is rehearsed in seconds, and the waiting it would have cost is told here.
    Requests are still signed, and told to come again, by the real time.

    Waiting is the time in which any tape was at work or waited for, pauses between jobs left out. A high pace makes
    much of every moment that the host itself needs: where it matters, take a low one.
    """
    change = _change(pace=0.0 if stop and pace is None else pace, stop=stop, step=step, skip=skip)
    answer = ask(find(settings.state_path, directory=directory, port=port), "/clock", change)
    told = Told(answer["clock"], answer["waiting"], answer.get("skipped_seconds", 0.0))
    output = settings.results()
    if output.shape is not OutputFormat.TABLE:
        output.record(told, FIELDS)
        return
    if told.skipped:
        output.line(f"skipped {format_duration(told.skipped)}")
    output.record(told, _TABLE_FIELDS)
    jobs = list(told.waiting["by_job"].items())[-_JOBS_TOLD:]
    if jobs:
        output.line("")
        output.line("Of that, for the jobs that had to do with tapes last, the latest at the end:")
    for job, waiting in jobs:
        output.hanging(f"{job}  ", told_waiting(waiting))


def _change(*, pace: float | None, stop: bool, step: str | None, skip: bool) -> dict[str, object] | None:
    asked: dict[str, object] = {}
    if pace is not None:
        asked["pace"] = pace
    if step is not None:
        asked["step"] = parse_duration(step)
    if skip:
        asked["skip"] = True
    if len(asked) > 1 or (stop and pace):
        raise UsageError(
            "a clock is changed in one way at a time", hint="give one of --pace, --stop, --step and --skip"
        )
    return asked or None


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    command(
        app,
        "clock",
        examples=[
            "ds3tool sim clock",
            "ds3tool sim clock --pace 1000",
            "ds3tool sim clock --stop",
            "ds3tool sim clock --step 25h",
            "ds3tool sim clock --skip",
        ],
    )(clock)
