"""`ds3tool sync`: make a prefix like a folder or a prefix in S3, or these like a prefix."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from typing import Annotated

import typer

from ds3tool.addresses import Ds3Address, LocalAddress, S3Address, parse_address
from ds3tool.cli import surplus, transfer
from ds3tool.cli.aws_options import AwsOptions
from ds3tool.cli.choice import Choice
from ds3tool.cli.dryrun import show_plan
from ds3tool.cli.dryrun_option import DryRun
from ds3tool.cli.get import LINKS, get_objects
from ds3tool.cli.get import Symlinks as GetSymlinks
from ds3tool.cli.get_files import FilesAsked
from ds3tool.cli.job_options import JobOptions, Outcome
from ds3tool.cli.journalled import Doing
from ds3tool.cli.options import command
from ds3tool.cli.put import put_objects, with_leave_to_delete
from ds3tool.cli.put_sources import FilesPut
from ds3tool.cli.selection import Selection
from ds3tool.cli.settings import Settings, connect
from ds3tool.cli.surplus import Surplus
from ds3tool.cli.wanted import wanted_objects
from ds3tool.client import Ds3Client
from ds3tool.errors import PathNotFoundError, UsageError
from ds3tool.filters import Filter
from ds3tool.jobs.existing import IfExists
from ds3tool.jobs.get import GetRun
from ds3tool.jobs.planfile import PlanHead, settings_mapping
from ds3tool.jobs.put import PutRun
from ds3tool.jobs.run import RunResult, RunSettings
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.escaped import escape
from ds3tool.protocol.model import JobType
from ds3tool.renaming import Renaming
from ds3tool.sources.local import Symlinks

app = typer.Typer(add_completion=False)

# What came of it, and the command that goes on with what is left.
_Done = tuple[RunResult, str | None]


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a sync was asked for, whichever way it goes."""

    folder: str
    far: Ds3Address
    delete: bool
    wanted: Filter
    preserve: bool
    symlinks: Symlinks | None
    wait: transfer.WaitFor
    trial: DryRun
    run_settings: RunSettings


@command(
    app,
    "sync",
    examples=[
        "ds3tool sync /data/2024 ds3://archive/2024/",
        "ds3tool sync /data/2024 ds3://archive/2024/ --delete --dry-run",
        "ds3tool sync ds3://archive/2024/ /data/restored --exclude '*.tmp'",
        "ds3tool sync s3://media/2024/ ds3://archive/2024/",
    ],
)
def sync(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A folder, s3://BUCKET/PREFIX or ds3://BUCKET/PREFIX.")
    ],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="The same; one of the two is on the appliance.")],
    *,
    delete: Annotated[
        bool, typer.Option("--delete", metavar="", help="Delete at the target what the source has not; asks first.")
    ] = False,
    preserve: Annotated[
        bool, typer.Option("--preserve", "-p", metavar="", help="Keep times, mode, owner and xattrs of files.")
    ] = False,
    symlinks: Annotated[
        Symlinks | None, typer.Option("--symlinks", help="What becomes of links, as for put and get.")
    ] = None,
    wait: Annotated[transfer.WaitFor, typer.Option("--wait", help="As for put.")] = transfer.WaitFor.CACHE,
    choice: Choice,
    aws: AwsOptions,
    jobs: JobOptions,
    outcome: Outcome,
    trial: DryRun,
    settings: Settings,
) -> None:
    """Make a prefix like a folder, or a folder like a prefix: put or get what is missing, and replace what differs.

    A prefix in S3 may stand for the folder. There nothing is ever deleted, so that --delete goes to the appliance only.

    Where a bucket keeps no versions, what differs is deleted there before it is put anew, which needs --yes. With
    --delete goes what the source has not, after all else went well and only then. What the options leave out, or what
    is no file, is neither moved nor deleted. `ds3tool resume` goes on with one that was interrupted, and never deletes.
    """
    near, far = parse_address(source), parse_address(target)
    run_settings = jobs.run_settings(if_exists=IfExists.OVERWRITE, stop_on_error=outcome.stop_on_error)
    with_s3 = [one for one in (near, far) if isinstance(one, S3Address)]
    if with_s3:
        _refuse_for_s3(with_s3, preserve=preserve, symlinks=symlinks)
        from ds3tool.cli.sync_s3 import S3Sync

        place = with_s3[0]
        sync_s3 = S3Sync(
            aws.settings(settings),
            place.as_prefix() if place.key else place,
            _far(near, far),
            delete,
            _wanted(choice, delete=delete),
            wait,
            trial,
            run_settings,
        )
        outcome.prepare(dry_run=trial.dry_run)
        with connect(settings, limit=jobs.rate_limit()) as client:
            came = (sync_s3.put if place is near else sync_s3.get)(client, settings)
        _show(came, settings, outcome, puts=place is near)
        return
    asked = _Asked(
        folder=_folder(near, far),
        far=_far(near, far),
        delete=delete,
        wanted=_wanted(choice, delete=delete),
        preserve=preserve,
        symlinks=symlinks,
        wait=wait,
        trial=trial,
        run_settings=run_settings,
    )
    outcome.prepare(dry_run=trial.dry_run)
    with connect(settings, limit=jobs.rate_limit()) as client:
        go = _put if isinstance(near, LocalAddress) else _get
        came = go(client, asked, settings)
    _show(came, settings, outcome, puts=isinstance(near, LocalAddress))


def _show(came: _Done | None, settings: Settings, outcome: Outcome, *, puts: bool) -> None:
    if came is None:
        return
    result, way_on = came
    done, failed = (transfer.PUT, "could not be put") if puts else (transfer.GOT, "could not be restored")
    transfer.show_result(result, settings, done=done, failed=failed, outcome=outcome, way_on=way_on)


def _refuse_for_s3(places: Sequence[S3Address], *, preserve: bool, symlinks: Symlinks | None) -> None:
    if len(places) > 1:
        raise UsageError("one side of a sync is on the appliance", hint="ds3tool s3 cp -r copies within S3")
    if re.search(r"[*?\[]", places[0].key):
        raise UsageError(
            f"a sync is of all below a prefix, and {places[0]} is a pattern", hint="choose by --include and --exclude"
        )
    if preserve or symlinks is not None:
        raise UsageError(f"{'--preserve' if preserve else '--symlinks'} means nothing for objects of S3")


def _folder(near: object, far: object) -> str:
    for one in (near, far):
        if isinstance(one, LocalAddress):
            if one.path == "-":
                raise UsageError("a stream is no folder", hint="give a folder of this host")
            if one is near and not os.path.lexists(one.path):
                raise PathNotFoundError(f"{one.path} is not there")
            if one is near and not os.path.isdir(one.path):
                raise UsageError(f"{one.path} is not a folder", hint="for a single file there is: ds3tool put")
            return one.path
    raise UsageError("one side of a sync is a folder of this host", hint="ds3tool sync /data ds3://archive/data/")


def _far(near: object, far: object) -> Ds3Address:
    for one in (near, far):
        if isinstance(one, Ds3Address):
            return one.as_prefix()
    raise UsageError("one side of a sync is on the appliance", hint="ds3tool sync /data ds3://archive/data/")


def _wanted(choice: Choice, *, delete: bool) -> Filter:
    wanted = choice.filter()
    if delete and wanted != Filter(wanted.include, wanted.exclude):
        raise UsageError(
            "--delete cannot tell what is too old, new, small or large from what is not there",
            hint="choose by --include and --exclude, or leave out --delete",
        )
    return wanted


def _put(client: Ds3Client, asked: _Asked, settings: Settings) -> _Done | None:
    far, symlinks = asked.far, asked.symlinks or Symlinks.SKIP
    files = FilesPut(((asked.folder, far.key),), Renaming(), symlinks, asked.preserve)
    source = files.source(wanted=asked.wanted)
    too_much: Sequence[Surplus] = ()
    links_skipped = symlinks is Symlinks.SKIP
    if asked.delete:
        too_much = tuple(
            surplus.surplus_objects(client, far, asked.folder, source, asked.wanted, links_skipped=links_skipped)
        )
    run_settings = asked.run_settings
    if too_much and not os.listdir(asked.folder):
        raise UsageError(
            f"{asked.folder} is empty, and --delete would take everything below {far}",
            hint=f"is it the right folder, and mounted? to empty the prefix there is: ds3tool rm -r {far}",
        )
    if asked.trial.dry_run:
        run = PutRun(client, source, far.bucket, settings=replace(run_settings, may_delete=True))
        show_plan(run, asked.trial, settings, head=PlanHead(JobType.PUT, far.bucket), surplus=too_much)
        return None
    surplus.agree_to_delete(too_much, str(far), settings)
    run_settings = with_leave_to_delete(client, far.bucket, run_settings, settings)
    kept = {**files.asked(), "settings": settings_mapping(run_settings), "delete": bool(too_much)}
    doing = Doing("sync", JobType.PUT, far.bucket, kept, asked.wait.value)
    result, way_on = put_objects(client, nullcontext(source), doing, run_settings, settings, label="sync")

    def delete(agreed: Sequence[Surplus]) -> None:
        base = len(far.key)
        left = surplus.without_returned(
            agreed,
            result,
            lambda one: surplus.stands_for(asked.folder, one.name[base:], links_skipped=links_skipped),
        )
        surplus.delete_objects(client, far.bucket, left, result)

    surplus.delete_surplus(result, too_much, delete)
    return result, way_on


def _get(client: Ds3Client, asked: _Asked, settings: Settings) -> _Done | None:
    if asked.symlinks is Symlinks.FOLLOW:
        raise UsageError("there is no link to follow on the appliance", hint="use --symlinks skip or store")
    if asked.wait is not transfer.WaitFor.CACHE:
        raise UsageError("--wait is about what goes to tape, and this sync comes from there")
    far = asked.far
    client.get_bucket(far.bucket)
    selection = Selection(far.bucket, far.key, text=str(far))
    too_much: Sequence[Surplus] = ()
    if asked.delete:
        keys = (one.key[len(far.key) :] for one in client.list_objects(far.bucket, prefix=far.key))
        too_much = tuple(surplus.surplus_files(asked.folder, keys, asked.wanted))
    if not asked.trial.dry_run:
        surplus.agree_to_delete(too_much, asked.folder, settings)
    # The keys are listed once more for the get: what has come in between must not go again afterwards.
    names: set[str] = set()
    wanted = wanted_objects(client, selection, asked.wanted)
    wanted = surplus.noting(wanted, len(far.key), names) if too_much else wanted
    links = LINKS[None if asked.symlinks is None else GetSymlinks(asked.symlinks.value)]
    files = FilesAsked(asked.folder, asked.preserve, links)
    name_of = Renaming(far.key)
    if asked.trial.dry_run:
        with closing(files.sink(make=False)) as sink:
            run = GetRun(client, sink, far.bucket, wanted, name_of=name_of, settings=asked.run_settings)
            show_plan(run, asked.trial, settings, head=PlanHead(JobType.GET, far.bucket), surplus=too_much)
        return None
    result, way_on = get_objects(
        client,
        files,
        Doing("sync", JobType.GET, far.bucket, {"delete": bool(too_much)}),
        wanted,
        name_of=name_of,
        run_settings=asked.run_settings,
        settings=settings,
        label="sync",
    )

    def delete(agreed: Sequence[Surplus]) -> None:
        left = surplus.without_returned(agreed, result, lambda one: escape(os.fsencode(one.name)) in names)
        with closing(files.sink()) as sink:
            surplus.delete_files(sink, left, result)

    surplus.delete_surplus(result, too_much, delete)
    return result, way_on
