"""`ds3tool resume`: go on with everything that this host has begun and not finished."""

from __future__ import annotations

from typing import Annotated

import typer

from ds3tool.cli import transfer
from ds3tool.cli.job_options import BandwidthLimit, JobOptions, Outcome, Transfers
from ds3tool.cli.manner import Elsewhere, Manner
from ds3tool.cli.options import command, option_group
from ds3tool.cli.settings import Settings
from ds3tool.errors import UsageError
from ds3tool.jobs.engine import EngineSettings
from ds3tool.lazy_dataclass import dataclass

app = typer.Typer(add_completion=False)


@option_group("Failures")
@dataclass(frozen=True, slots=True)
class ResumeOutcome(Outcome):
    """The same, but that nothing is what there was to resume."""

    error_if_nothing: Annotated[
        bool, typer.Option("--error-if-nothing", metavar="", help="Exit with 9 when there is nothing to resume.")
    ] = False


@command(
    app,
    "resume",
    examples=[
        "ds3tool resume",
        "ds3tool resume 3c0f8a52-8f3d-4b57-9c59-2b7e1d1f0a01 --bwlimit 200M",
        "ds3tool resume --quiet --error-if-nothing",
        "ds3tool resume 3c0f8a52-8f3d-4b57-9c59-2b7e1d1f0a01 --source /data",
    ],
)
def resume(
    jobs: Annotated[
        list[str] | None,
        typer.Argument(metavar="JOB", help="Jobs or works, as `job ls --local` shows them; else all of this host."),
    ] = None,
    *,
    wait: Annotated[
        transfer.WaitFor | None,
        typer.Option("--wait", envvar="DS3TOOL_WAIT", show_envvar=False, help="As for put; else as it was begun."),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            metavar="PLACE",
            help="Where what a put puts is, where it has moved, or another host has begun it: a path, s3://BUCKET/KEY, "
            "a list of URLs.",
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            metavar="PLACE",
            help="Where a get goes on, or one of another host goes: DIR or s3://BUCKET/KEY.",
        ),
    ] = None,
    strip_prefix: Annotated[
        str | None,
        typer.Option(
            "--strip-prefix", metavar="PREFIX", help="Beginning of keys that names below --source or --target lack."
        ),
    ] = None,
    transfers: Transfers = None,
    bwlimit: BandwidthLimit = None,
    outcome: ResumeOutcome,
    settings: Settings,
) -> None:
    """Go on with every put, get and sync of this host that was interrupted: nothing that is there goes twice.

    A file that has changed since it was planned fails by name, and the rest goes on. What was waiting for tape waits
    on. Of a get that was killed, small files that had no name yet are fetched again, some hundreds at most. A job that
    has expired (a day without a client) is made anew with what is missing. One that a person has cancelled or
    truncated is only named, with exit code 12: `resume JOB` makes its rest anew, and `job forget JOB` drops it.

    A job that nobody here has begun is gone on with from the appliance's own list, given the files' place.
    """
    options = JobOptions(transfers=transfers, bwlimit=bwlimit)
    place = Elsewhere(source, target, strip_prefix)
    wanted = list(dict.fromkeys(jobs or ()))
    if place != Elsewhere() and len(wanted) != 1:
        raise UsageError("--source, --target and --strip-prefix are for one job", hint="name it: ds3tool resume JOB")
    manner = Manner(
        EngineSettings.of(options.transfers),
        limit=options.rate_limit(),
        wait=wait,
        stop_on_error=outcome.stop_on_error,
        place=place,
        anew=bool(wanted),
    )
    from ds3tool.cli.resumed import resume_works

    resume_works(wanted, manner, outcome, settings)
