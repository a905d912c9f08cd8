"""`ds3tool plan`: what a put or a get would do, kept in a file where wanted, and done later."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from ds3tool.cli import get as get_command
from ds3tool.cli import put as put_command
from ds3tool.cli import transfer
from ds3tool.cli.dryrun_option import DryRun
from ds3tool.cli.get_kinds import receiving_of
from ds3tool.cli.job_options import BandwidthLimit, JobOptions, Outcome, Transfers
from ds3tool.cli.options import command, group
from ds3tool.cli.put_kinds import puttable_of
from ds3tool.cli.settings import Settings, connect
from ds3tool.errors import ConfigError
from ds3tool.jobs.ends import TargetObject
from ds3tool.jobs.engine import EngineSettings
from ds3tool.jobs.get_targets import Wanted
from ds3tool.jobs.planfile import SavedPlan, settings_of
from ds3tool.protocol.model import JobType

app = group("plan", "Say what a put or a get would do, keep it in a file, and do it later.")

_SAVE = inspect.Parameter(
    "save",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[
        str | None,
        typer.Option(
            "--save",
            metavar="FILE",
            envvar="DS3TOOL_SAVE",
            show_envvar=False,
            help="Keep the plan in a new file, for: ds3tool plan run FILE.",
        ),
    ],
)


def _planning(verb: Callable[..., None], text: str) -> Callable[..., None]:
    """Return the command that takes the arguments of `verb`, and says what it would do."""
    own = inspect.signature(verb, eval_str=True)

    def plan(*, save: str | None, **values: Any) -> None:  # noqa: ANN401  # those of the verb
        verb(**values, trial=DryRun(dry_run=True, save=save))

    kept = [parameter for name, parameter in own.parameters.items() if name != "trial"]
    plan.__signature__ = own.replace(parameters=[*kept, _SAVE])  # type: ignore[attr-defined]  # inspect's own protocol
    plan.__doc__ = text
    return plan


command(
    app,
    "put",
    examples=[
        "ds3tool plan put /data/2024 ds3://archive/2024/",
        "ds3tool plan put /data ds3://archive --newer 7d --save tonight.plan",
    ],
)(
    _planning(
        put_command.put,
        """Say what a put with the same arguments would do: each object, the jobs, what is skipped and what would fail.

        Nothing is sent. The files are compared with what is in the bucket as the put would, so some may be read.
        """,
    )
)
command(
    app,
    "get",
    examples=[
        "ds3tool plan get ds3://archive/2024/ /data/restored",
        "ds3tool plan get 'ds3://archive/*.mxf' /data/reels --save reels.plan",
    ],
)(
    _planning(
        get_command.get,
        """Say what a get with the same arguments would do: each object, the jobs, and which tapes it needs.

        No tape is loaded and nothing is written. Tapes that somebody must bring are named with their place.
        """,
    )
)


@command(
    app,
    "run",
    examples=["ds3tool plan run tonight.plan", "ds3tool plan run tonight.plan --wait tape --bwlimit 200M"],
)
def run_plan(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A plan that was kept with --save.")],
    *,
    wait: Annotated[
        transfer.WaitFor,
        typer.Option("--wait", envvar="DS3TOOL_WAIT", show_envvar=False, help="As for put."),
    ] = transfer.WaitFor.CACHE,
    transfers: Transfers = None,
    bwlimit: BandwidthLimit = None,
    trial: DryRun,
    outcome: Outcome,
    settings: Settings,
) -> None:
    """Do what a plan lists, and nothing else.

    What has come to the other end since is treated as the plan's --if-exists says. A file that is not any more what
    was planned, by size, time or identity, fails by name.
    """
    plan = SavedPlan(file)
    jobs = JobOptions(transfers=transfers, bwlimit=bwlimit)
    try:
        _run(plan, jobs, wait=wait, trial=trial, outcome=outcome, settings=settings)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{file} does not say how it is to be done", hint="make the plan again") from error


def _run(
    plan: SavedPlan,
    jobs: JobOptions,
    *,
    wait: transfer.WaitFor,
    trial: DryRun,
    outcome: Outcome,
    settings: Settings,
) -> None:
    asked = plan.head.asked
    outcome.prepare(dry_run=trial.dry_run)
    run_settings = dataclasses.replace(
        settings_of(asked["settings"]), engine=EngineSettings.of(jobs.transfers), stop_on_error=outcome.stop_on_error
    )
    with connect(settings, limit=jobs.rate_limit()) as client:
        if plan.head.type == JobType.PUT:
            what = puttable_of(asked)
            put_command.put_from(
                client,
                what,
                what.planned(plan),
                plan.head.bucket,
                run_settings=run_settings,
                settings=settings,
                wait=wait,
                trial=trial,
                outcome=outcome,
                verb="plan run",
            )
            return
        wanted = map(_wanted, plan.target_objects())
        get_command.get_into(
            client,
            receiving_of(asked),
            plan.head.bucket,
            wanted,
            run_settings=run_settings,
            settings=settings,
            name_of=lambda key: key,
            trial=trial,
            outcome=outcome,
            verb="plan run",
        )


def _wanted(item: TargetObject) -> Wanted:
    # Of a part of an object, how large the whole is plays no role any more.
    size = max((one.end for one in item.ranges), default=item.size)
    return Wanted(item.key, size, item.version_id, item.ranges, name=item.name)
