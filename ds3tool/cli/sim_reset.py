"""`ds3tool sim reset`: back to a new appliance, without starting another."""

from __future__ import annotations

from typing import Annotated

import typer

from ds3tool.cli import messages
from ds3tool.cli.appliances import find
from ds3tool.cli.options import command
from ds3tool.cli.output import Field, OutputFormat, counted
from ds3tool.cli.prompts import confirm
from ds3tool.cli.settings import Settings
from ds3tool.cli.sim_controls import ask
from ds3tool.cli.sim_options import WhichDirectory, WhichPort
from ds3tool.lazy_dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Reset:
    """What was reset (`all`, `jobs`), and how many active jobs ended by it."""

    endpoint: str
    what: str
    jobs: int


FIELDS: list[Field[Reset]] = [
    Field("endpoint", lambda reset: reset.endpoint),
    Field("what", lambda reset: reset.what),
    Field("jobs", lambda reset: reset.jobs),
]


def reset(
    *,
    jobs: Annotated[bool, typer.Option("--jobs", metavar="", help="Cancel every active job, and no more.")] = False,
    directory: WhichDirectory = None,
    port: WhichPort = None,
    settings: Settings,
) -> None:
    """Make a running appliance a new one: buckets, objects, jobs, users and what tapes hold are gone; asks first.

    Endpoint, keys, settings and the rates of faults stay, and so does its clock. Whoever is connected is cut off, as
    when somebody pulls the plug, and finds the new one at the same place. With --seed it then does what it did first.
    """
    appliance = find(settings.state_path, directory=directory, port=port)
    if jobs:
        confirm(f"Cancel every job of the appliance at {appliance.endpoint}?", settings)
    else:
        confirm(f"Forget everything that the appliance at {appliance.endpoint} holds?", settings)
    told = ask(appliance, "/reset", {"what": "jobs" if jobs else "all"})
    done = Reset(told["endpoint"], told["what"], told["jobs"])
    ended = f"{counted(done.jobs, 'active job')} cancelled"
    what = ended if jobs else f"the appliance at {done.endpoint} is a new one, with the keys it had; {ended}"
    messages.note(what, quiet=settings.quiet)
    if settings.output is not OutputFormat.TABLE:
        settings.results().record(done, FIELDS)


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "reset", examples=["ds3tool sim reset --yes", "ds3tool sim reset --jobs --yes --port 8080"])(reset)
