"""`ds3tool put`: put files, folders or a stream into a bucket, through bulk jobs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Annotated

import typer

from ds3tool.addresses import Ds3Address, LocalAddress, parse_address, parse_ds3
from ds3tool.cli import messages, prompts, transfer
from ds3tool.cli.choice import Choice
from ds3tool.cli.naming import NamesFrom, Naming
from ds3tool.cli.options import command, option_group
from ds3tool.cli.settings import Settings, connect
from ds3tool.client import Ds3Client
from ds3tool.errors import UsageError
from ds3tool.jobs.ends import Source
from ds3tool.jobs.existing import IfExists
from ds3tool.jobs.integrity import ChecksumChoice, bucket_policy
from ds3tool.jobs.put import PutRun
from ds3tool.jobs.put_planner import check_rule
from ds3tool.jobs.run import RunSettings
from ds3tool.protocol.attributes import RESERVED
from ds3tool.protocol.metadata import to_headers
from ds3tool.protocol.model import Versioning
from ds3tool.renaming import Renaming
from ds3tool.sizes import parse_size
from ds3tool.sources.listing import ListedFiles
from ds3tool.sources.local import LocalSource, Symlinks
from ds3tool.sources.several import SeveralSources

app = typer.Typer(add_completion=False)

_STREAM = "-"


@option_group("Files")
@dataclass(frozen=True, slots=True)
class FileOptions:
    """What `--preserve` and `--symlinks` were given."""

    preserve: Annotated[
        bool,
        typer.Option("--preserve", "-p", metavar="", help="Store times, mode, owner and xattrs of files beside them."),
    ] = False
    symlinks: Annotated[
        Symlinks, typer.Option("--symlinks", help="Leave links out, put what they lead to, or put them as links.")
    ] = Symlinks.SKIP


@option_group("Streams")
@dataclass(frozen=True, slots=True)
class StreamOptions:
    """What `--size` and `--spool-max` were given."""

    size: Annotated[
        str | None,
        typer.Option("--size", metavar="SIZE", help="Exact size of what comes on stdin: then it is sent as it comes."),
    ] = None
    spool_max: Annotated[
        str,
        typer.Option(
            "--spool-max",
            metavar="SIZE",
            help="Without --size, stdin is kept in a file in TMPDIR first, up to so many bytes.",
        ),
    ] = "10GiB"


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
        typer.Option("--checksum", help="Digest to send: auto is what the data policy demands, none sends none."),
    ] = ChecksumChoice.AUTO
    meta: Annotated[
        list[str],
        typer.Option("--meta", metavar="K=V", help="Metadata to store with every object; repeatable."),
    ] = field(default_factory=list)
    max_upload_size: Annotated[
        str | None,
        typer.Option("--max-upload-size", metavar="SIZE", help="Largest blob, as in 64GiB; else the data policy's."),
    ] = None

    def metadata(self) -> dict[str, str]:
        """Return what `--meta` means; UsageError for what no object can have."""
        found: dict[str, str] = {}
        for text in self.meta:
            name, equals, value = text.partition("=")
            if not equals or not name:
                raise UsageError(f"--meta {text!r} is not of the form NAME=VALUE")
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


def open_source(
    paths: Sequence[str],
    target: Ds3Address,
    *,
    choice: Choice,
    naming: Naming,
    names_from: NamesFrom,
    files: FileOptions,
) -> Source:
    """Return the source that `put PATH... TARGET` means."""
    listed = names_from.names()
    if len(paths) > 1 and not target.is_prefix:
        raise UsageError(
            f"{target} is one key, and there are {len(paths)} sources", hint=f"to put them below it, write {target}/"
        )
    if len(paths) > 1 and listed is not None:
        raise UsageError("--files-from names what is below one folder, and there are several sources")
    names, wanted = naming.renaming(), choice.filter()
    sources: list[Source] = []
    for path in paths:
        address = parse_address(path)
        if not isinstance(address, LocalAddress):
            raise UsageError(f"{path} cannot be put", hint="give files or folders of this host, or - for stdin")
        if path == _STREAM:
            raise UsageError("stdin cannot be put beside other sources", hint="give - alone")
        prefix = _prefix(address.path, target, names)
        if listed is not None:
            sources.append(
                ListedFiles(
                    address.path,
                    listed,
                    prefix=prefix,
                    names=names,
                    wanted=wanted,
                    symlinks=files.symlinks,
                    preserve=files.preserve,
                )
            )
        else:
            sources.append(
                LocalSource(
                    address.path,
                    prefix=prefix,
                    names=names,
                    wanted=wanted,
                    symlinks=files.symlinks,
                    preserve=files.preserve,
                )
            )
    return sources[0] if len(sources) == 1 else SeveralSources(sources)


def _prefix(path: str, target: Ds3Address, names: Renaming) -> str:
    """Return what the keys of a folder begin with, or the key of a file."""
    if os.path.isdir(path):
        return target.as_prefix().key if target.key else ""
    return target.key + names(os.path.basename(path)) if target.is_prefix else target.key


@contextmanager
def opened_stream(target: Ds3Address, options: StreamOptions) -> Iterator[Source]:
    """Give stdin as the source of one object; what is kept of it goes at the end."""
    from ds3tool.sources.stream import SpooledSource, StreamSource

    if options.size is not None:
        yield StreamSource(sys.stdin.buffer, key=target.key, size=parse_size(options.size))
        return
    source = SpooledSource(sys.stdin.buffer, key=target.key, limit=parse_size(options.spool_max))
    try:
        yield source
    finally:
        source.close()


def check_stream(paths: Sequence[str], target: Ds3Address, options: StreamOptions, *, others: bool) -> bool:
    """Whether stdin is to be put; UsageError for what makes no sense beside it, or without it.

    `others`: whether there are options that choose or name files.
    """
    if _STREAM not in paths:
        if options.size is not None:
            raise UsageError("--size is for what comes on stdin", hint="give - as the source")
        return False
    if len(paths) > 1:
        raise UsageError("stdin cannot be put beside other sources", hint="give - alone")
    if target.is_prefix:
        raise UsageError(f"{target} is no key, and what comes on stdin has no name", hint=f"write {target}NAME")
    if others:
        raise UsageError("options that choose, name or describe files mean nothing for stdin")
    parse_size(options.spool_max)
    if options.size is not None:
        parse_size(options.size)
    return True


def _with_leave_to_delete(
    client: Ds3Client, target: Ds3Address, run_settings: RunSettings, settings: Settings
) -> RunSettings:
    """Check what the bucket's data policy admits, and ask before anything may be deleted."""
    policy = bucket_policy(client, target.bucket)
    run_settings.checksum.check(policy)
    check_rule(run_settings.if_exists, policy, may_delete=True)
    if run_settings.if_exists is not IfExists.OVERWRITE or policy.versioning != Versioning.NONE:
        return run_settings
    prompts.confirm(
        f"The data policy of bucket {target.bucket} keeps no versions: what differs must be deleted there before it is "
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
    ],
)
def put(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="Files, folders whose contents are put, or - for stdin."),
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
    files: FileOptions,
    stream: StreamOptions,
    jobs: transfer.JobOptions,
    outcome: transfer.Outcome,
    settings: Settings,
) -> None:
    """Put files, everything below folders, or what comes on stdin into a bucket through planned bulk jobs.

    What is there already and the same is skipped; what is there and not the same fails by name, unless --if-exists
    says otherwise: skip leaves it, overwrite replaces it (in a bucket without versions the old object is deleted
    first, which needs --yes), version adds a version, rename puts film~1.mov beside film.mov, fail fails also the
    same. Of several objects of one key the first is put. Ctrl-C ends the job and keeps what is complete.
    """
    address = parse_ds3(target)
    chosen = choice != Choice() or naming != Naming() or names_from != NamesFrom() or files != FileOptions()
    from_stdin = check_stream(sources, address, stream, others=chosen)
    run_settings = jobs.run_settings(
        blob_size=None if objects.max_upload_size is None else parse_size(objects.max_upload_size),
        if_exists=objects.if_exists,
        checksum=objects.checksum,
        metadata=objects.metadata(),
        stop_on_error=outcome.stop_on_error,
    )
    outcome.prepare()
    opened = (
        None
        if from_stdin
        else open_source(sources, address, choice=choice, naming=naming, names_from=names_from, files=files)
    )
    with connect(settings, limit=jobs.rate_limit()) as client:
        if from_stdin or run_settings.if_exists is IfExists.OVERWRITE:
            run_settings = _with_leave_to_delete(client, address, run_settings, settings)
        if opened is not None:
            run = PutRun(client, opened, address.bucket, settings=run_settings)
            result = transfer.carry_out(run, settings, label="put")
        else:
            with opened_stream(address, stream) as streamed:
                run = PutRun(client, streamed, address.bucket, settings=run_settings)
                result = transfer.carry_out(run, settings, label="put")
        if wait is transfer.WaitFor.TAPE and result.stopped is None:
            transfer.wait_for_tape(client, result, settings)
    if not result.objects and not result.failures and not result.skipped and result.stopped is None:
        said = "holds" if len(sources) == 1 else "hold"
        messages.note(f"{', '.join(sources)} {said} nothing to put", quiet=settings.quiet)
    transfer.show_result(result, settings, done=transfer.PUT, failed="could not be put", outcome=outcome)
