"""`ds3tool put`: put files, folders, objects of S3 or a stream into a bucket, through bulk jobs."""

from contextlib import AbstractContextManager
from dataclasses import field, replace
from typing import Annotated

import typer

from ds3tool.addresses import Ds3Address, parse_ds3
from ds3tool.cli import messages, prompts, transfer
from ds3tool.cli.accounts import account, held
from ds3tool.cli.aws_options import AwsOptions
from ds3tool.cli.choice import Choice
from ds3tool.cli.dryrun_option import DryRun
from ds3tool.cli.job_options import JobOptions, Outcome
from ds3tool.cli.journalled import Doing, journalled, settle
from ds3tool.cli.layout_options import LayoutOptions
from ds3tool.cli.lotame_options import LotameOptions
from ds3tool.cli.naming import NamesFrom, Naming
from ds3tool.cli.options import command, option_group
from ds3tool.cli.put_choice import PutOptions, what_to_put
from ds3tool.cli.put_kinds import Puttable
from ds3tool.cli.put_sources import FileOptions, StreamOptions, check_stream, opened_stream
from ds3tool.cli.restore_tier import RestoreOptions
from ds3tool.cli.settings import Settings, connect
from ds3tool.client import Ds3Client
from ds3tool.errors import UsageError
from ds3tool.jobs.ends import Source
from ds3tool.jobs.existing import IfExists
from ds3tool.jobs.integrity import ChecksumChoice, bucket_policy
from ds3tool.jobs.planfile import PlanHead, settings_mapping
from ds3tool.jobs.put import PutRun
from ds3tool.jobs.put_planner import check_rule
from ds3tool.jobs.run import RunResult, RunSettings
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.attributes import RESERVED
from ds3tool.protocol.metadata import to_headers
from ds3tool.protocol.model import JobType, Versioning
from ds3tool.sizes import parse_size

app = typer.Typer(add_completion=False)


@option_group("Objects")
@dataclass(frozen=True, slots=True)
class ObjectOptions:
    """How the objects of a put are made: `--if-exists`, `--checksum`, `--meta`, `--max-upload-size`."""

    if_exists: Annotated[
        IfExists,
        typer.Option("--if-exists", help="What to do with a key that is taken. skip-same fails what is not the same."),
    ] = IfExists.SKIP_SAME
    checksum: Annotated[
        ChecksumChoice,
        typer.Option(
            "--checksum",
            help="Blobs go with the data policy's digest; md5, sha256, sha512 also keep that of each whole object, as "
            "metadata (ds3tool-sha256); none sends none.",
        ),
    ] = ChecksumChoice.AUTO
    meta: Annotated[
        list[str],
        typer.Option("--meta", metavar="K=V", help="Metadata to store with every object; repeatable."),
    ] = field(default_factory=list)
    max_upload_size: Annotated[
        str | None,
        typer.Option("--max-upload-size", metavar="SIZE", help="Largest blob, as in 64GiB; else the data policy's."),
    ] = None

    def blob_size(self) -> int | None:
        """Return the largest blob that is wanted; UsageError for one without bytes."""
        size = None if self.max_upload_size is None else parse_size(self.max_upload_size)
        if size == 0:
            raise UsageError("--max-upload-size must be above zero")
        return size

    def metadata(self) -> dict[str, str]:
        """Return what `--meta` means; UsageError for what no object can have."""
        found: dict[str, str] = {}
        for text in self.meta:
            name, equals, value = text.partition("=")
            if not equals or not name or not value:
                raise UsageError(f"--meta {text!r} is not of the form NAME=VALUE", hint="neither can be empty")
            if name.lower().startswith(RESERVED):
                raise UsageError(
                    f"--meta {name}: what begins with {' or '.join(RESERVED)} is kept for the attributes of files",
                    hint="take another name; --preserve stores attributes",
                )
            if name in found:
                raise UsageError(f"--meta {name} is given twice")
            found[name] = value
        to_headers(found)
        return found


def with_leave_to_delete(client: Ds3Client, bucket: str, run_settings: RunSettings, settings: Settings) -> RunSettings:
    """Check what the bucket's data policy admits, and ask before anything may be deleted."""
    policy = bucket_policy(client, bucket)
    run_settings.checksum.check(policy)
    check_rule(run_settings.if_exists, policy, may_delete=True)
    if run_settings.if_exists is not IfExists.OVERWRITE or policy.versioning != Versioning.NONE:
        return run_settings
    prompts.confirm(
        f"The data policy of bucket {bucket} keeps no versions: what differs must be deleted there before it is "
        "put anew, and is lost should that fail. Go on?",
        settings,
    )
    return replace(run_settings, may_delete=True)


@command(
    app,
    "put",
    examples=[
        "ds3tool put /data/2024 ds3://archive/2024/",
        "ds3tool put film.mov ds3://archive/film.mov --wait tape",
        "ds3tool put reel1 notes.txt ds3://archive/job-7/ --exclude '*.tmp' -p",
        "ds3tool put /data ds3://archive --if-exists rename --meta show=apollo",
        "ds3tool put - ds3://archive/data.tar < data.tar",
        "ds3tool put s3://media/2024/ ds3://archive/2024/ --newer 7d",
        "ds3tool put 's3://media/*.mxf' ds3://archive/reels/ --restore-tier bulk",
        "ds3tool put https:// ds3://archive/in/ --files-from urls.txt",
        "ds3tool put lotame://all ds3://archive/lotame/",
        "ds3tool put s3://delivered/clicks/ ds3://archive/clicks/ --layout firehose",
    ],
)
def put(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Files, folders whose contents are put, s3://BUCKET/KEY, lotame://FEED, https:// with "
            "--files-from, or - for stdin.",
        ),
    ],
    target: Annotated[
        str, typer.Argument(metavar="ds3://BUCKET/KEY", help="A key, or a prefix when it ends in a slash.")
    ],
    *,
    objects: ObjectOptions,
    wait: Annotated[
        transfer.WaitFor,
        typer.Option(
            "--wait",
            envvar="DS3TOOL_WAIT",
            show_envvar=False,
            help="End when all is in the appliance's cache, or only when every copy is on tape.",
        ),
    ] = transfer.WaitFor.CACHE,
    choice: Choice,
    names_from: NamesFrom,
    naming: Naming,
    raw: Annotated[
        bool,
        typer.Option(
            "--raw",
            metavar="",
            help="Wildcards and a slash at the end of an s3:// address stand for themselves.",
        ),
    ] = False,
    files: FileOptions,
    stream: StreamOptions,
    aws: AwsOptions,
    lotame: LotameOptions,
    restore: RestoreOptions,
    layout: LayoutOptions,
    jobs: JobOptions,
    outcome: Outcome,
    trial: DryRun,
    settings: Settings,
) -> None:
    """Put files, everything below folders, objects of S3, or what comes on stdin into a bucket through bulk jobs.

    What is there already and the same is skipped; what is there and not the same fails by name, unless --if-exists
    says otherwise: skip leaves it, overwrite replaces it (in a bucket without versions the old object is deleted
    first, which needs --yes), version adds a version, rename puts film~1.mov beside film.mov, fail fails also the
    same. Of several objects of one key the first is put.

    However it ends before all is put (Ctrl-C, which lets what is under way through, and again at once; a crash; an
    appliance that is gone): `ds3tool resume` goes on with it, and sends nothing twice. Only stdin cannot be resumed.

    Objects of S3 go through this host into blobs and never to its disk, and are held against what S3 states of them;
    content type, tags and metadata go with them. Of a list of URLs (put https:// TARGET --files-from FILE) each line
    is a URL, presigned or public, and after a tab the key to give it. What is after its ? is taken for a secret.

    With --layout firehose the closed hours of a delivery stream are put; `ds3tool firehose scan` tells which are. Open
    ones are named with when they close. What comes late into a closed hour follows at the next run, and nothing is
    overwritten: should a key have other content by then, --if-exists version adds it.

    Of Lotame's feeds (lotame://all, lotame://FEED) all is put that the target does not have: what was put is remembered
    on this host, by target. What Lotame lists and cannot be had is named, and asked for again by the next run.
    """
    address = parse_ds3(target)
    options = PutOptions(choice, names_from, naming, files, aws, restore, raw, layout, lotame=lotame)
    chosen = options != PutOptions(Choice(), NamesFrom(), Naming(), FileOptions(), aws, RestoreOptions(), lotame=lotame)
    from_stdin = check_stream(sources, address, stream, others=chosen)
    run_settings = jobs.run_settings(
        blob_size=objects.blob_size(),
        if_exists=objects.if_exists,
        checksum=objects.checksum,
        metadata=objects.metadata(),
        stop_on_error=outcome.stop_on_error,
    )
    outcome.prepare(dry_run=trial.dry_run)
    if from_stdin:
        if trial.dry_run:
            raise UsageError("what comes on stdin cannot be planned: its size is known when it has come")
        _put_stream(address, stream, run_settings, settings, jobs=jobs, wait=wait, outcome=outcome)
        return
    what, source = what_to_put(sources, address, options, settings, run_settings=run_settings, dry_run=trial.dry_run)
    with connect(settings, limit=jobs.rate_limit()) as client:
        put_from(
            client,
            what,
            source,
            address.bucket,
            run_settings=run_settings,
            settings=settings,
            wait=wait,
            trial=trial,
            outcome=outcome,
        )


def put_from(
    client: Ds3Client,
    what: Puttable,
    source: Source,
    bucket: str,
    *,
    run_settings: RunSettings,
    settings: Settings,
    wait: transfer.WaitFor,
    trial: DryRun,
    outcome: Outcome,
    verb: str = "put",
) -> None:
    """Put into `bucket` what `source` has of `what`, or say what would be put; show what came of it.

    `verb` is the command that asks for it.
    """
    asked = {**what.asked(), "settings": settings_mapping(run_settings)}
    if trial.dry_run:
        from ds3tool.cli.dryrun import show_plan

        run_settings = replace(run_settings, may_delete=True)  # nothing is
        head = PlanHead(JobType.PUT, bucket, asked)
        with held(source):
            show_plan(PutRun(client, source, bucket, settings=run_settings), trial, settings, head=head)
        return
    if run_settings.if_exists is IfExists.OVERWRITE:
        run_settings = with_leave_to_delete(client, bucket, run_settings, settings)
    doing = Doing(verb, JobType.PUT, bucket, asked, wait.value)
    result, way_on = put_objects(client, held(source), doing, run_settings, settings)
    if not result.objects and not result.failures and not result.skipped and result.stopped is None:
        said = "holds" if len(what.shown) == 1 else "hold"
        messages.note(f"{', '.join(what.shown)} {said} nothing to put", quiet=settings.quiet)
    _show(result, settings, outcome=outcome, way_on=way_on)


def put_objects(
    client: Ds3Client,
    opened: AbstractContextManager[Source],
    doing: Doing,
    run_settings: RunSettings,
    settings: Settings,
    *,
    label: str = "put",
) -> tuple[RunResult, str | None]:
    """Put what a source has, with a journal, and wait as was asked; return the result and the command that goes on."""
    asked = {**doing.asked, "may_delete": run_settings.may_delete}
    with journalled(client, replace(doing, asked=asked), settings) as journal:
        with opened as source:
            run = PutRun(client, source, doing.bucket, settings=run_settings, recorder=journal)
            result = transfer.carry_out(run, settings, label=label, gently=not doing.stream)
        if doing.wait == transfer.WaitFor.TAPE and result.stopped is None and not journal.unfinished:
            transfer.wait_for_tape(client, result, settings)
        account(source, journal, result)
        return result, settle(journal, result, settings)


def _put_stream(
    target: Ds3Address,
    stream: StreamOptions,
    run_settings: RunSettings,
    settings: Settings,
    *,
    jobs: JobOptions,
    wait: transfer.WaitFor,
    outcome: Outcome,
) -> None:
    with connect(settings, limit=jobs.rate_limit()) as client:
        run_settings = with_leave_to_delete(client, target.bucket, run_settings, settings)
        asked = {"key": target.key, "settings": settings_mapping(run_settings)}
        doing = Doing("put", JobType.PUT, target.bucket, asked, wait.value, stream=True)
        result, way_on = put_objects(client, opened_stream(target, stream), doing, run_settings, settings)
        _show(result, settings, outcome=outcome, way_on=way_on)


def _show(result: RunResult, settings: Settings, *, outcome: Outcome, way_on: str | None) -> None:
    transfer.show_result(result, settings, done=transfer.PUT, failed="could not be put", outcome=outcome, way_on=way_on)
