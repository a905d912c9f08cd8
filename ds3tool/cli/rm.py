"""`ds3tool rm`: remove objects."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import field
from typing import IO, TYPE_CHECKING, Annotated

import typer

from ds3tool.cli import messages
from ds3tool.cli.choice import Choice
from ds3tool.cli.failures import FAILURE_FIELDS, Failure, NothingThereError, failures_of, judged
from ds3tool.cli.lookup import chosen
from ds3tool.cli.options import command
from ds3tool.cli.output import Field, Output, OutputFormat, counted
from ds3tool.cli.part import check_version
from ds3tool.cli.prompts import confirm
from ds3tool.cli.selection import Selection, missing_key, parse_selection, refuse_ambiguous, selected_objects
from ds3tool.cli.settings import Settings, connect
from ds3tool.errors import Ds3Error, InterruptedRunError, NotFoundError, UsageError
from ds3tool.filters import Filter
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol import names
from ds3tool.protocol.model import DeleteFailure
from ds3tool.sizes import format_size

if TYPE_CHECKING:
    from ds3tool.client import Ds3Client

app = typer.Typer(add_completion=False)

_MISSING_CODES = frozenset({names.NO_SUCH_KEY, names.OBJECT_NOT_FOUND, names.NOT_FOUND})


@dataclass
class Removal:
    """What one run removed, and what it could not; `stopped` when it ended before it had tried everything."""

    removed: int = 0
    failures: list[Failure] = field(default_factory=list)
    stopped: Ds3Error | None = None


@dataclass(frozen=True, slots=True)
class RemovedObject:
    """One object that is gone."""

    bucket: str
    key: str


REMOVAL_FIELDS: list[Field[Removal]] = [
    Field("objects", lambda removal: removal.removed),
    Field("failed", lambda removal: failures_of(tuple(removal.failures))),
]
REMOVED_FIELDS: list[Field[RemovedObject]] = [
    Field("bucket", lambda removed: removed.bucket),
    Field("key", lambda removed: removed.key),
    Field("removed", lambda _: True),
]


@command(
    app,
    "rm",
    examples=[
        "ds3tool rm ds3://archive/2024/reel-1.mxf",
        "ds3tool rm -r ds3://archive/2024/",
        "ds3tool rm --yes 'ds3://archive/2024/*.tmp'",
        "ds3tool rm -r --older 30d --include '*.log' ds3://archive/logs/",
    ],
)
def remove(
    addresses: Annotated[list[str], typer.Argument(metavar="ds3://BUCKET/KEY...", help="What to remove.")],
    *,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", metavar="", help="Everything below each address; asks first.")
    ] = False,
    version_id: Annotated[
        str | None, typer.Option("--version-id", metavar="ID", help="This version of the one object.")
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", metavar="", help="Wildcards and a slash at the end stand for themselves.")
    ] = False,
    choice: Choice,
    settings: Settings,
) -> None:
    """Remove objects; data on tape are only marked as deleted.

    With -r an address is read as ending in a slash, so that logs never means logs-2024/x. Everything below a prefix,
    and whatever a pattern selects, is counted first and asked about, unless --yes; --include, --older and the like
    choose among it. Where the data policy keeps several versions, ds3tool undelete brings an object back.
    """
    selections = [parse_selection(address, recursive=recursive, raw=raw) for address in addresses]
    _refuse_unclear(selections, recursive=recursive, version_id=version_id)
    wanted = choice.filter()
    if not wanted.is_empty and any(selection.whole for selection in selections):
        raise UsageError(
            "an address of one object leaves nothing to choose",
            hint="give a prefix with -r or a pattern, or leave out --include, --older and the like",
        )
    output = settings.results()
    with connect(settings) as client:
        if version_id is not None:
            removal = _remove_version(client, selections[0], version_id)
        elif all(selection.whole for selection in selections):
            removal = _remove_keys(client, selections, output)
        else:
            removal = _remove_selected(client, selections, wanted, settings, output)
    _show(removal, output, settings)


def _refuse_unclear(selections: list[Selection], *, recursive: bool, version_id: str | None) -> None:
    for selection in selections:
        if not selection.whole and not recursive and selection.pattern is None:
            if not selection.prefix:
                raise UsageError(
                    f"{selection} is a bucket",
                    hint=f"empty it with: ds3tool rm -r {selection}, remove it with: ds3tool rb",
                )
            raise UsageError(
                f"{selection} is a prefix",
                hint="add -r to remove everything below, or --raw for the object of that name",
            )
    check_version(version_id)
    if version_id is not None and (len(selections) != 1 or not selections[0].whole):
        raise UsageError(
            "--version-id names one version of one object", hint="give one address, without -r or wildcards"
        )


def _remove_version(client: Ds3Client, selection: Selection, version_id: str) -> Removal:
    client.delete_object(selection.bucket, selection.prefix, version_id=version_id)
    return Removal(1)


def _remove_keys(client: Ds3Client, selections: list[Selection], output: Output) -> Removal:
    if len(selections) == 1:
        bucket, key = selections[0].bucket, selections[0].prefix
        try:
            client.delete_object(bucket, key)
        except NotFoundError as error:
            raise missing_key(client, bucket, key) from error
        output.event(RemovedObject(bucket, key), REMOVED_FIELDS)
        return Removal(1)
    return _remove_batches(client, ((selection.bucket, selection.prefix) for selection in selections), output)


def _remove_selected(
    client: Ds3Client, selections: list[Selection], wanted: Filter, settings: Settings, output: Output
) -> Removal:
    for selection in selections:
        if selection.pattern is not None:
            refuse_ambiguous(client, selection, selection.text.partition("://")[2].partition("/")[2])
    if settings.assume_yes:
        nowhere: list[Failure] = []
        removal = _remove_batches(client, _found(client, selections, wanted, nowhere), output)
        removal.failures += nowhere
        return removal
    # What is removed is what was counted and agreed to: the keys wait in a temporary file, not in memory.
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="surrogatepass") as kept:
        objects, total = _keep_keys(client, selections, wanted, kept)
        where = " and ".join(map(str, selections[:3])) + (" and more" if len(selections) > 3 else "")
        if objects:
            confirm(f"Remove {counted(objects, 'object')} ({format_size(total)}) of {where}?", settings)
        kept.seek(0)
        return _remove_batches(client, ((bucket, key) for bucket, key in map(json.loads, kept)), output)


def _found(
    client: Ds3Client, selections: list[Selection], wanted: Filter, nowhere: list[Failure]
) -> Iterator[tuple[str, str]]:
    """Yield bucket and key of all that is selected; an address that names nothing joins `nowhere`."""
    for selection in selections:
        try:
            for item in chosen(selected_objects(client, selection), selection, wanted):
                yield selection.bucket, item.key
        except NothingThereError as error:
            nowhere.append(Failure(str(selection), error.message, missing=True))


def _keep_keys(client: Ds3Client, selections: list[Selection], wanted: Filter, kept: IO[str]) -> tuple[int, int]:
    objects = total = 0
    for selection in selections:
        for item in chosen(selected_objects(client, selection), selection, wanted):
            kept.write(json.dumps([selection.bucket, item.key]) + "\n")
            objects += 1
            total += item.size
    return objects, total


def _remove_batches(client: Ds3Client, keys: Iterable[tuple[str, str]], output: Output) -> Removal:
    removal = Removal()
    try:
        for bucket, group in itertools.groupby(keys, key=lambda pair: pair[0]):
            for result in client.delete_objects(bucket, (key for _, key in group)):
                removal.removed += len(result.deleted)
                for key in result.deleted:
                    output.event(RemovedObject(bucket, key), REMOVED_FIELDS)
                removal.failures += map(_failure, result.failures)
    except KeyboardInterrupt:
        removal.stopped = InterruptedRunError("interrupted; what is told was removed, and perhaps a thousand more")
    except Ds3Error as error:
        # What is gone is gone, and has to be told.
        removal.stopped = error
    return removal


def _failure(failure: DeleteFailure) -> Failure:
    return Failure(failure.key, failure.message or failure.code, missing=failure.code in _MISSING_CODES)


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
