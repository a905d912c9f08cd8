"""`ds3tool undelete`: bring objects back of which the versions are still there."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import field
from typing import TYPE_CHECKING, Annotated

import typer

from ds3tool.cli import messages
from ds3tool.cli.failures import FAILURE_FIELDS, Failure, NothingThereError, failures_of, judged
from ds3tool.cli.options import command
from ds3tool.cli.output import Field, Output, OutputFormat, counted
from ds3tool.cli.part import check_version
from ds3tool.cli.selection import Selection, parse_selection, selected_objects
from ds3tool.cli.settings import Settings, connect
from ds3tool.errors import ConflictError, Ds3Error, ForbiddenError, InterruptedRunError, NotFoundError, UsageError
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import Versioning

if TYPE_CHECKING:
    from ds3tool.client import Ds3Client

app = typer.Typer(add_completion=False)


@dataclass(frozen=True, slots=True)
class Restored:
    """An object that is there again, by the version that is the latest now."""

    bucket: str
    key: str
    version_id: str | None


@dataclass(slots=True)
class Restoration:
    """What one run brought back and what it could not; `stopped` when it ended before it had tried everything."""

    restored: int = 0
    there: int = 0
    failures: list[Failure] = field(default_factory=list)
    stopped: Ds3Error | None = None


RESULT_FIELDS: list[Field[Restoration]] = [
    Field("objects", lambda result: result.restored),
    Field("skipped", lambda result: result.there),
    Field("failed", lambda result: failures_of(tuple(result.failures))),
]
RESTORED_FIELDS: list[Field[Restored]] = [
    Field("bucket", lambda restored: restored.bucket),
    Field("key", lambda restored: restored.key),
    Field("version_id", lambda restored: restored.version_id),
    Field("undeleted", lambda _: True),
]


@command(
    app,
    "undelete",
    examples=[
        "ds3tool undelete ds3://archive/2024/reel-1.mxf",
        "ds3tool undelete -r ds3://archive/2024/",
        "ds3tool undelete --version-id 0b8a5e9e ds3://archive/a",
    ],
)
def undelete(
    address: Annotated[str, typer.Argument(metavar="ds3://BUCKET/KEY", help="An object; a prefix with -r; a pattern.")],
    *,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", metavar="", help="Whatever is deleted below the address.")
    ] = False,
    version_id: Annotated[
        str | None, typer.Option("--version-id", metavar="ID", help="Make this version the latest, deleted or not.")
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", metavar="", help="Wildcards and a slash at the end stand for themselves.")
    ] = False,
    settings: Settings,
) -> None:
    """Bring back what rm has removed, where the bucket's data policy keeps several versions.

    Such a bucket keeps a removed object's versions and shows none of them. The newest becomes the latest again, or
    the one of --version-id, which also takes an object back that is there. What is not deleted is left as it is.
    ds3tool ls --versions shows the versions.
    """
    selection = parse_selection(address, recursive=recursive, raw=raw)
    if not selection.whole and not recursive and selection.pattern is None:
        raise UsageError(f"{selection} is not one object", hint="add -r for everything below it")
    check_version(version_id)
    if version_id is not None and not selection.whole:
        raise UsageError("--version-id names one version of one object", hint="leave out -r and wildcards")
    output = settings.results()
    result = Restoration()
    with connect(settings) as client:
        _refuse_without_versions(client, selection.bucket)
        keys = iter([selection.prefix]) if selection.whole else _without_latest(client, selection)
        _restore(client, selection.bucket, keys, version_id=version_id, result=result, output=output)
    _show(result, output, settings)


def _refuse_without_versions(client: Ds3Client, bucket: str) -> None:
    details = client.get_bucket(bucket)
    try:
        policy = client.get_data_policy(details.data_policy_id)
    except (ForbiddenError, NotFoundError):
        return
    if policy.versioning in {Versioning.NONE, Versioning.KEEP_LATEST}:
        raise UsageError(
            f"the data policy {policy.name} of the bucket {bucket} keeps no versions of what is removed "
            f"({policy.versioning}), so there is nothing to bring back",
            hint="put it again from its source; only with KEEP_MULTIPLE_VERSIONS can a removal be undone",
        )


def _without_latest(client: Ds3Client, selection: Selection) -> Iterator[str]:
    """Yield the keys of which no complete version that the listing shows is the latest."""
    versions = selected_objects(client, selection, versions=True)
    for key, group in itertools.groupby(versions, key=lambda version: version.key):
        complete = [version for version in group if version.last_modified is not None]
        if complete and not any(version.is_latest for version in complete):
            yield key


def _restore(
    client: Ds3Client, bucket: str, keys: Iterator[str], *, version_id: str | None, result: Restoration, output: Output
) -> None:
    try:
        for key in keys:
            # A page of versions may have ended before the latest one: the object itself is asked.
            if version_id is None and _is_there(client, bucket, key):
                result.there += 1
                continue
            try:
                record = client.undelete_object(bucket, key, version_id=version_id)
            except NotFoundError:
                which = "no such version of it" if version_id is not None else "no version of it, deleted or not"
                result.failures.append(Failure(key, f"there is {which}", missing=True))
            except ConflictError as error:
                result.failures.append(Failure(key, error.message))
            else:
                result.restored += 1
                output.event(Restored(bucket, key, record.id or version_id), RESTORED_FIELDS)
    except NothingThereError:
        raise
    except KeyboardInterrupt:
        result.stopped = InterruptedRunError("interrupted", hint="run the command again for the rest")
    except Ds3Error as error:
        # What is back is back, and has to be told.
        result.stopped = error


def _is_there(client: Ds3Client, bucket: str, key: str) -> bool:
    try:
        client.head_object(bucket, key)
    except NotFoundError:
        return False
    return True


def _show(result: Restoration, output: Output, settings: Settings) -> None:
    failed = judged(
        tuple(result.failures), done=result.restored + result.there, what="objects could not be brought back"
    )
    error = result.stopped or failed
    if output.shape is OutputFormat.JSON:
        output.finish(result, RESULT_FIELDS, error)
        return
    if output.shape is OutputFormat.NDJSON:
        for failure in result.failures:
            output.event(failure, FAILURE_FIELDS)
    else:
        output.records(result.failures, FAILURE_FIELDS)
    there = f"; {counted(result.there, 'object')} not deleted, and left alone" if result.there else ""
    messages.note(f"brought back {counted(result.restored, 'object')}{there}", quiet=settings.quiet)
    if error is not None:
        raise error
