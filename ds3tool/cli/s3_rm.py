"""`ds3tool s3 rm`: remove objects of S3."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field
from typing import IO, Annotated

import typer

from ds3tool.aws import s3_objects
from ds3tool.aws.s3_objects import Client, NotDeleted, ObjectName, S3Entry, address_of
from ds3tool.cli import messages
from ds3tool.cli.aws_options import AwsOptions
from ds3tool.cli.choice import Choice
from ds3tool.cli.failures import FAILURE_FIELDS, Failure, NothingThereError, failures_of, judged
from ds3tool.cli.lookup import base_of, nanoseconds
from ds3tool.cli.output import Field, Output, OutputFormat, counted
from ds3tool.cli.part import check_version
from ds3tool.cli.prompts import confirm
from ds3tool.cli.s3_selection import (
    entry_of,
    missing,
    parse_s3_selection,
    refuse_ambiguous_pattern,
    selected_entries,
)
from ds3tool.cli.selection import Selection
from ds3tool.cli.settings import Settings
from ds3tool.errors import Ds3Error, FarSideForbiddenError, FarSideNotFoundError, InterruptedRunError, UsageError
from ds3tool.filters import Filter
from ds3tool.lazy_dataclass import dataclass
from ds3tool.sizes import format_size

EXAMPLES = (
    "ds3tool s3 rm s3://incoming/2024/reel-1.mxf",
    "ds3tool s3 rm -r s3://incoming/2024/",
    "ds3tool s3 rm --yes 's3://incoming/2024/*.tmp'",
    "ds3tool s3 rm -r --older 30d --include '*.log' s3://incoming/logs/",
    "ds3tool s3 rm -r --all-versions s3://incoming/2024/",
)


@dataclass
class Removal:
    """What one run removed, and what it could not; `stopped` when it ended before it had tried everything."""

    removed: int = 0
    failures: list[Failure] = field(default_factory=list)
    stopped: Ds3Error | None = None


@dataclass(frozen=True, slots=True)
class RemovedObject:
    """One object, or one version of it, that is gone."""

    bucket: str
    name: ObjectName


REMOVAL_FIELDS: list[Field[Removal]] = [
    Field("objects", lambda removal: removal.removed),
    Field("failed", lambda removal: failures_of(tuple(removal.failures))),
]
REMOVED_FIELDS: list[Field[RemovedObject]] = [
    Field("bucket", lambda removed: removed.bucket),
    Field("key", lambda removed: removed.name.key),
    Field("version_id", lambda removed: removed.name.version_id),
    Field("removed", lambda _: True),
]


def remove(
    addresses: Annotated[list[str], typer.Argument(metavar="s3://BUCKET/KEY...", help="What to remove.")],
    *,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", metavar="", help="Everything below each address; asks first.")
    ] = False,
    version_id: Annotated[
        str | None, typer.Option("--version-id", metavar="ID", help="This version of the one object, for good.")
    ] = None,
    all_versions: Annotated[
        bool,
        typer.Option("--all-versions", metavar="", help="Every version of each object, for good; asks first."),
    ] = False,
    raw: Annotated[
        bool, typer.Option("--raw", metavar="", help="Wildcards and a slash at the end stand for themselves.")
    ] = False,
    choice: Choice,
    aws: AwsOptions,
    settings: Settings,
) -> None:
    """Remove objects of S3, a thousand a request; each one that could not be removed is named.

    With -r an address is read as ending in a slash, so that logs never means logs-2024/x. Everything below a prefix,
    and whatever a pattern selects, is counted first and asked about, unless --yes; --include, --older and the like
    choose among it. Where the bucket keeps versions, an object that is removed leaves its versions behind, unless
    --all-versions is given.
    """
    selections = [parse_s3_selection(address, recursive=recursive, raw=raw) for address in addresses]
    _refuse_unclear(selections, recursive=recursive, version_id=version_id, all_versions=all_versions)
    wanted = choice.filter()
    if not wanted.is_empty and any(selection.whole for selection in selections):
        raise UsageError(
            "an address of one object leaves nothing to choose",
            hint="give a prefix with -r or a pattern, or leave out --include, --older and the like",
        )
    output = settings.results()
    client = aws.settings(settings).client("s3")
    if version_id is not None:
        removal = _remove_one(client, selections[0], version_id, output)
    elif len(selections) == 1 and selections[0].whole and not all_versions:
        removal = _remove_one(client, selections[0], None, output)
    else:
        removal = _remove_selected(client, selections, wanted, settings, output, versions=all_versions)
    _show(removal, output, settings)


def _refuse_unclear(
    selections: list[Selection], *, recursive: bool, version_id: str | None, all_versions: bool
) -> None:
    for selection in selections:
        if not selection.whole and not recursive and selection.pattern is None:
            if not selection.prefix:
                raise UsageError(
                    f"{selection} is a bucket",
                    hint=f"empty it with: ds3tool s3 rm -r {selection}, remove it with: ds3tool s3 rb",
                )
            raise UsageError(
                f"{selection} is a prefix",
                hint="add -r to remove everything below, or --raw for the object of that name",
            )
    check_version(version_id)
    if version_id is None:
        return
    if all_versions:
        raise UsageError("--version-id means one version, and --all-versions every one")
    if len(selections) != 1 or not selections[0].whole:
        raise UsageError(
            "--version-id names one version of one object", hint="give one address, without -r or wildcards"
        )


def _remove_one(client: Client, selection: Selection, version_id: str | None, output: Output) -> Removal:
    name = ObjectName(selection.prefix, version_id)
    _check_there(client, selection.bucket, name)
    s3_objects.delete_one(client, selection.bucket, name)
    output.event(RemovedObject(selection.bucket, name), REMOVED_FIELDS)
    return Removal(1)


def _check_there(client: Client, bucket: str, name: ObjectName) -> None:
    """Raise NothingThereError for an object that is not there: S3 itself would say that it was removed."""
    try:
        s3_objects.status(client, bucket, name.key, version_id=name.version_id)
    except FarSideForbiddenError:
        return  # who may not read may yet be allowed to remove
    except FarSideNotFoundError as error:
        raise missing(client, bucket, name.key) from error


def _remove_selected(
    client: Client,
    selections: list[Selection],
    wanted: Filter,
    settings: Settings,
    output: Output,
    *,
    versions: bool,
) -> Removal:
    for selection in selections:
        refuse_ambiguous_pattern(client, selection)
    many = any(not selection.whole for selection in selections)
    # Versions are listed to the end first: not every server finds its place again once those before it are gone.
    if not versions and (settings.assume_yes or not many):
        nowhere: list[Failure] = []
        removal = _remove_batches(client, _found(client, selections, wanted, nowhere, versions=versions), output)
        removal.failures += nowhere
        return removal
    # What is removed is what was counted and agreed to: the names wait in a temporary file, not in memory.
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="surrogatepass") as kept:
        objects, total = _keep_names(client, selections, wanted, kept, versions=versions)
        where = " and ".join(map(str, selections[:3])) + (" and more" if len(selections) > 3 else "")
        if objects:
            what = "version" if versions else "object"
            confirm(f"Remove {counted(objects, what)} ({format_size(total)}) of {where}?", settings)
        kept.seek(0)
        names = ((bucket, ObjectName(key, version_id)) for bucket, key, version_id in map(json.loads, kept))
        return _remove_batches(client, names, output)


def _found(
    client: Client, selections: list[Selection], wanted: Filter, nowhere: list[Failure], *, versions: bool
) -> Iterator[tuple[str, ObjectName]]:
    """Yield bucket and name of all that is selected; an address that names nothing joins `nowhere`."""
    for selection in selections:
        try:
            for entry in _chosen(client, selection, wanted, versions=versions):
                yield selection.bucket, _name(entry, versions=versions)
        except NothingThereError as error:
            nowhere.append(Failure(str(selection), error.message, missing=True))


def _keep_names(
    client: Client, selections: list[Selection], wanted: Filter, kept: IO[str], *, versions: bool
) -> tuple[int, int]:
    objects = total = 0
    for selection in selections:
        for entry in _chosen(client, selection, wanted, versions=versions):
            name = _name(entry, versions=versions)
            kept.write(json.dumps([selection.bucket, name.key, name.version_id]) + "\n")
            objects += 1
            total += entry.size or 0
    return objects, total


def _name(entry: S3Entry, *, versions: bool) -> ObjectName:
    # Without a version S3 marks an object as deleted; with one, that version is gone.
    return ObjectName(entry.key, entry.version_id if versions else None)


def _chosen(client: Client, selection: Selection, wanted: Filter, *, versions: bool) -> Iterator[S3Entry]:
    """Yield what a selection means and the options choose, by names below the address."""
    if selection.whole and not versions:
        yield _one(client, selection)
        return
    base = len(base_of(selection))
    for entry in selected_entries(client, selection, versions=versions):
        modified = None if entry.last_modified is None else nanoseconds(entry.last_modified)
        if wanted.is_empty or wanted.accepts(entry.key[base:], size=entry.size or 0, modified_ns=modified):
            yield entry


def _one(client: Client, selection: Selection) -> S3Entry:
    try:
        return entry_of(client, selection.bucket, selection.prefix)
    except FarSideForbiddenError:
        return S3Entry(selection.prefix, None, None)


def _remove_batches(client: Client, names: Iterable[tuple[str, ObjectName]], output: Output) -> Removal:
    removal = Removal()
    try:
        for bucket, group in itertools.groupby(names, key=lambda pair: pair[0]):
            for deletion in s3_objects.delete(client, bucket, (name for _, name in group)):
                removal.removed += len(deletion.deleted)
                for name in deletion.deleted:
                    output.event(RemovedObject(bucket, name), REMOVED_FIELDS)
                removal.failures += _failures(bucket, deletion.failed)
    except KeyboardInterrupt:
        removal.stopped = InterruptedRunError("interrupted; what is told was removed, and perhaps a thousand more")
    except Ds3Error as error:
        # What is gone is gone, and has to be told.
        removal.stopped = error
    return removal


def _failures(bucket: str, failed: Sequence[NotDeleted]) -> Iterator[Failure]:
    for one in failed:
        version = "" if one.name.version_id is None else f" (version {one.name.version_id})"
        why = one.message.rstrip(".") or one.code
        yield Failure(address_of(bucket, one.name.key) + version, f"{why} ({one.code})" if one.code != why else why)


def _show(removal: Removal, output: Output, settings: Settings) -> None:
    failed = judged(tuple(removal.failures), done=removal.removed, what="objects could not be removed")
    error = removal.stopped or failed
    if output.shape is OutputFormat.JSON:
        output.finish(removal, REMOVAL_FIELDS, error)
        return
    if output.shape is OutputFormat.NDJSON:
        for failure in removal.failures:
            output.event(failure, FAILURE_FIELDS)
    else:
        output.records(removal.failures, FAILURE_FIELDS)
    messages.note(f"removed {counted(removal.removed, 'object')}", quiet=settings.quiet)
    if error is not None:
        raise error
