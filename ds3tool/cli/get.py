"""`ds3tool get`: get objects into files, into a bucket of S3, or one into stdout, through a bulk job."""

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Annotated

import typer

from ds3tool.addresses import LocalAddress, S3Address, parse_address
from ds3tool.cli import transfer
from ds3tool.cli.aws_options import AwsOptions
from ds3tool.cli.choice import Choice
from ds3tool.cli.dryrun_option import DryRun
from ds3tool.cli.get_files import FilesAsked
from ds3tool.cli.get_kinds import Receiving
from ds3tool.cli.job_options import JobOptions, Outcome
from ds3tool.cli.journalled import Doing, journalled, settle
from ds3tool.cli.lookup import base_of
from ds3tool.cli.naming import NamesFrom, Naming
from ds3tool.cli.options import command
from ds3tool.cli.part import Part
from ds3tool.cli.selection import Selection, parse_selection, refuse_ambiguous
from ds3tool.cli.sent import sent_digests
from ds3tool.cli.settings import Settings, connect
from ds3tool.cli.wanted import check_listed, wanted_objects
from ds3tool.client import Ds3Client
from ds3tool.errors import UsageError
from ds3tool.jobs.existing import IfExists
from ds3tool.jobs.get import GetRun
from ds3tool.jobs.get_targets import Asked, check_rule
from ds3tool.jobs.planfile import PlanHead, settings_mapping
from ds3tool.jobs.run import RunResult, RunSettings
from ds3tool.protocol.model import JobType
from ds3tool.sinks.links import Links

app = typer.Typer(add_completion=False)


class Symlinks(StrEnum):
    """What becomes of objects that were put as symbolic links."""

    SKIP = "skip"
    STORE = "store"


LINKS = {None: Links.INSIDE, Symlinks.SKIP: Links.SKIP, Symlinks.STORE: Links.STORE}


def target_of(
    selection: Selection, target: str, naming: Naming
) -> tuple[LocalAddress | S3Address, Callable[[str], str]]:
    """Return the folder, or the prefix in S3, that receives, and how a key becomes a name below it.

    Names leave out the address's prefix, of a pattern all up to the last slash before its first wildcard.
    """
    place = parse_address(target)
    if not isinstance(place, LocalAddress | S3Address):
        raise UsageError(
            f"{target} cannot receive objects",
            hint="give a folder of this host, a file for one object, s3://BUCKET/PREFIX/, or - for stdout",
        )
    renaming = naming.renaming()
    base = base_of(selection)
    if selection.whole and selection.prefix.endswith("/"):  # --raw: a folder object
        base = base_of(dataclasses.replace(selection, prefix=selection.prefix.rstrip("/")))
    if naming.strip_prefix is None:
        renaming = dataclasses.replace(renaming, strip=base)
    if isinstance(place, S3Address):
        if not selection.whole or place.is_prefix:
            return (place.as_prefix() if place.key else place), renaming
        folder, slash, name = place.key.rpartition("/")
        above: LocalAddress | S3Address = S3Address(place.bucket, folder + slash)
        whole_name, below = "a whole key", "what it is to stand below"
    else:
        if not selection.whole or place.path.endswith("/") or os.path.isdir(place.path):
            return place, renaming
        folder, name = os.path.split(place.path)
        above = LocalAddress(folder or ".")
        whole_name, below = "the file's name", "a folder"
    if naming.strip_prefix is not None or naming.rename_map is not None:
        raise UsageError(
            f"{target} is {whole_name}, so there is nothing to strip or to rename",
            hint=f"write {target}/ for {below}",
        )
    return above, lambda _: name


@command(
    app,
    "get",
    examples=[
        "ds3tool get ds3://archive/2024/ /data/restored",
        "ds3tool get ds3://archive/film.mov film.mov",
        "ds3tool get 'ds3://archive/2024/*.mxf' /data/reels --newer 30d",
        "ds3tool get ds3://archive/film.mov head.bin --range 0:64KiB",
        "ds3tool get ds3://archive/notes.txt - | less",
        "ds3tool get ds3://archive/2024/ s3://media/2024/ --storage-class STANDARD_IA",
    ],
)
def get(
    source: Annotated[
        str,
        typer.Argument(metavar="ds3://BUCKET/KEY", help="A key, a pattern, or everything below a slash at the end."),
    ],
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="A folder, or s3://BUCKET/PREFIX/; for one object also a file's name, a key, or - for stdout.",
        ),
    ],
    *,
    raw: Annotated[
        bool, typer.Option("--raw", metavar="", help="Wildcards and a slash at the end stand for themselves.")
    ] = False,
    if_exists: Annotated[
        IfExists,
        typer.Option(
            "--if-exists",
            envvar="DS3TOOL_IF_EXISTS",
            show_envvar=False,
            help="What to do with a file that is there. skip-same leaves the same, and fails what is not.",
        ),
    ] = IfExists.SKIP_SAME,
    preserve: Annotated[
        bool,
        typer.Option(
            "--preserve",
            "-p",
            metavar="",
            envvar="DS3TOOL_PRESERVE",
            show_envvar=False,
            help="Give files back the times, mode, owner and xattrs that put --preserve kept.",
        ),
    ] = False,
    symlinks: Annotated[
        Symlinks | None,
        typer.Option(
            "--symlinks",
            envvar="DS3TOOL_SYMLINKS",
            show_envvar=False,
            help="Leave out what was put as a link, or make all again; else those that stay below the target.",
        ),
    ] = None,
    storage_class: Annotated[
        str | None,
        typer.Option(
            "--storage-class",
            metavar="CLASS",
            envvar="DS3TOOL_STORAGE_CLASS",
            show_envvar=False,
            help="Class of what is written to S3, as STANDARD_IA; else that which each object had there, or S3's own.",
        ),
    ] = None,
    part: Part,
    choice: Choice,
    names_from: NamesFrom,
    naming: Naming,
    aws: AwsOptions,
    jobs: JobOptions,
    outcome: Outcome,
    trial: DryRun,
    settings: Settings,
) -> None:
    """Get objects into files, or into S3, through planned bulk jobs; tapes are loaded as needed.

    Each object is verified and appears whole under its name or not at all. A file that is there and the same is
    skipped; one that is not the same fails by name, unless --if-exists says otherwise. What cannot be a file's name
    here fails by name, and the rest goes on. S3 gets its objects through this host's memory, large ones in parts, with
    the content type, tags and metadata that they came with; what is not finished leaves no parts behind. Where blobs
    come out of order and memory does not hold them, they wait in a temporary file below TMPDIR.

    However it ends before all is there (Ctrl-C, which lets what is under way through, and again at once; a crash; a
    full disk): `ds3tool resume` goes on with it, and fetches nothing twice. Only what goes to stdout cannot be resumed.
    """
    selection = parse_selection(source, recursive=False, raw=raw)
    part.check([selection])
    check_rule(if_exists)
    if target == "-":
        from ds3tool.cli.cat import show_objects

        if trial.dry_run:
            raise UsageError(f"what would be done with {selection} is told on stdout, where its bytes are to go")
        given = {
            "--preserve": preserve,
            "--symlinks": symlinks is not None,
            "--storage-class": storage_class is not None,
        }
        if_given = {
            **given,
            "--strip-prefix": naming.strip_prefix is not None,
            "--rename-map": naming.rename_map is not None,
            "--files-from": names_from.files_from is not None,
            "--if-exists": if_exists is not IfExists.SKIP_SAME,
            "--failed-to": outcome.failed_to is not None,
            "--error-if-nothing": outcome.error_if_nothing,
            "--notify": bool(outcome.notify),
        }
        _refuse(f"{selection}, where it goes to stdout", if_given)
        show_objects([selection], part, choice.filter(), jobs, settings)
        return
    place, name_of = target_of(selection, target, naming)
    where: Receiving
    if isinstance(place, S3Address):
        from ds3tool.cli.get_s3 import S3Asked

        _refuse(f"what goes to {place}", {"--preserve": preserve, "--symlinks": symlinks is not None})
        where = S3Asked(aws.settings(settings), place.bucket, place.key, storage_class, part.verify)
        where.check()
    else:
        _refuse("files", {"--storage-class": storage_class is not None})
        where = FilesAsked(os.path.abspath(place.path), preserve, LINKS[symlinks], part.verify)
    chosen = choice.filter()
    names_from.check()
    if names_from.files_from is not None:
        check_listed(selection)
    run_settings = jobs.run_settings(if_exists=if_exists, stop_on_error=outcome.stop_on_error)
    outcome.prepare(dry_run=trial.dry_run)
    with connect(settings, limit=jobs.rate_limit()) as client:
        client.get_bucket(selection.bucket)
        refuse_ambiguous(client, selection, source.partition("://")[2].partition("/")[2])
        wanted: Iterable[Asked] = wanted_objects(client, selection, chosen, names=names_from.names())
        if part.is_given:
            wanted = [part.wanted(client, selection)]
        wanted = _begun(wanted)
        get_into(
            client,
            where,
            selection.bucket,
            wanted,
            run_settings=run_settings,
            settings=settings,
            name_of=name_of,
            trial=trial,
            outcome=outcome,
        )


def _begun(wanted: Iterable[Asked]) -> Iterator[Asked]:
    """Return the same, its first already had: an address that names nothing fails before a target folder is made."""
    rest = iter(wanted)
    return itertools.chain(list(itertools.islice(rest, 1)), rest)


def get_into(
    client: Ds3Client,
    where: Receiving,
    bucket: str,
    wanted: Iterable[Asked],
    *,
    run_settings: RunSettings,
    settings: Settings,
    name_of: Callable[[str], str],
    trial: DryRun,
    outcome: Outcome,
    verb: str = "get",
) -> None:
    """Get what is wanted to `where`, or say what would be got; show what came of it. `verb` is the command's."""
    if trial.dry_run:
        from ds3tool.cli.dryrun import show_plan

        with contextlib.closing(where.sink(make=False)) as sink:
            run = GetRun(client, sink, bucket, wanted, name_of=name_of, settings=run_settings, whole_blobs=where.verify)
            asked = {**where.asked(), "settings": settings_mapping(run_settings)}
            show_plan(run, trial, settings, head=PlanHead(JobType.GET, bucket, asked))
        return
    doing = Doing(verb, JobType.GET, bucket)
    result, way_on = get_objects(
        client, where, doing, wanted, name_of=name_of, run_settings=run_settings, settings=settings
    )
    transfer.show_result(
        result, settings, done=transfer.GOT, failed="could not be restored", outcome=outcome, way_on=way_on
    )


def get_objects(
    client: Ds3Client,
    where: Receiving,
    doing: Doing,
    wanted: Iterable[Asked],
    *,
    name_of: Callable[[str], str],
    run_settings: RunSettings,
    settings: Settings,
    label: str = "get",
) -> tuple[RunResult, str | None]:
    """Get what is wanted to `where`, with a journal; return the result and the command that goes on."""
    asked = {**doing.asked, **where.prepared(), "settings": settings_mapping(run_settings)}
    with (
        journalled(client, dataclasses.replace(doing, asked=asked), settings) as journal,
        contextlib.closing(where.sink(work_id=journal.head.id, state=settings.state_path)) as sink,
    ):
        run = GetRun(
            client,
            sink,
            doing.bucket,
            wanted,
            name_of=name_of,
            settings=run_settings,
            whole_blobs=where.verify,
            sent=sent_digests(client, doing.bucket, settings, always=where.verify),
            recorder=journal,
        )
        result = transfer.carry_out(run, settings, label=label)
        return result, settle(journal, result, settings)


def _refuse(what: str, meaningless: Mapping[str, bool]) -> None:
    """Raise UsageError for the first of these options that was given."""
    given = next((option for option, was_given in meaningless.items() if was_given), None)
    if given is not None:
        raise UsageError(f"{given} means nothing for {what}")
