"""`ds3tool s3 ls`: buckets of S3, and what is in them."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from typing import Annotated

import typer

from ds3tool.aws import s3_objects
from ds3tool.aws.s3_objects import Client, S3Bucket, S3Entry, S3Page
from ds3tool.cli.aws_options import AwsOptions
from ds3tool.cli.failures import NothingThereError
from ds3tool.cli.output import Field
from ds3tool.cli.s3_selection import missing, parse_s3_selection, selected_entries
from ds3tool.cli.selection import Selection
from ds3tool.cli.settings import Settings
from ds3tool.sizes import format_size

EXAMPLES = (
    "ds3tool s3 ls",
    "ds3tool s3 ls s3://incoming/2024/",
    "ds3tool s3 ls -r -o ndjson s3://incoming/2024/",
    "ds3tool s3 ls 's3://incoming/*.gz' --s3-endpoint http://127.0.0.1:9000",
)

# A prefix is listed like an object of which only the name is known.
Entry = S3Entry | str

BUCKET_FIELDS: list[Field[S3Bucket]] = [
    Field("created", lambda bucket: bucket.created),
    Field("name", lambda bucket: bucket.name, heading="bucket", leads=True),
]


def entry_fields(*, versions: bool) -> list[Field[Entry]]:
    """Return what a listing shows of each entry; with `versions` a table names them too."""
    return [
        Field("last_modified", lambda entry: None if isinstance(entry, str) else entry.last_modified),
        Field("size", lambda entry: None if isinstance(entry, str) else entry.size, text=format_size, right=True),
        Field("etag", lambda entry: None if isinstance(entry, str) else entry.etag, tabled=False),
        Field(
            "version_id",
            lambda entry: None if isinstance(entry, str) else entry.version_id,
            heading="version",
            tabled=versions,
        ),
        Field(
            "is_latest",
            lambda entry: None if isinstance(entry, str) else entry.is_latest,
            heading="latest",
            tabled=versions,
        ),
        Field("type", _type, tabled=versions),
        Field("storage_class", lambda entry: None if isinstance(entry, str) else entry.storage_class, tabled=False),
        Field("key", _key, leads=True),
    ]


def _type(entry: Entry) -> str:
    if isinstance(entry, str):
        return "prefix"
    return "delete-marker" if entry.is_marker else "object"


def _key(entry: Entry) -> str:
    return entry if isinstance(entry, str) else entry.key


def list_entries(
    address: Annotated[
        str | None,
        typer.Argument(metavar="s3://BUCKET/PREFIX", help="What to list: a bucket, a prefix, a key, a pattern."),
    ] = None,
    *,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", metavar="", help="Everything below, not one level.")
    ] = False,
    versions: Annotated[
        bool,
        typer.Option("--versions", metavar="", help="Every version of each object with its id, deletions too."),
    ] = False,
    raw: Annotated[
        bool, typer.Option("--raw", metavar="", help="Wildcards in the address stand for themselves.")
    ] = False,
    aws: AwsOptions,
    settings: Settings,
) -> None:
    """List buckets of S3, or what is in one.

    Without an address: the buckets. Without -r one level, where PREFIX/ stands for everything below it. The key parts
    * ? and brackets select objects at any depth; quote them from the shell.
    """
    output = settings.results()
    selection = None if address is None else parse_s3_selection(address, recursive=recursive, raw=raw)
    client = aws.settings(settings).client("s3")
    if selection is None:
        output.records(s3_objects.buckets(client), BUCKET_FIELDS)
        return
    entries: Iterator[Entry]
    if recursive or selection.pattern is not None:
        entries = iter(selected_entries(client, selection, versions=versions))
    elif selection.whole:
        entries = _key_and_prefix(client, selection, versions=versions)
    else:
        entries = _below(client, selection, versions=versions)
    output.records(entries, entry_fields(versions=versions))


def _key_and_prefix(client: Client, selection: Selection, *, versions: bool) -> Iterator[Entry]:
    """Yield the object of that key, and the prefix of that name: both may exist."""
    key = selection.prefix
    found = False
    try:
        for entry in selected_entries(client, selection, versions=versions):
            found = True
            yield entry
    except NothingThereError:
        found = False
    if s3_objects.anything_below(client, selection.bucket, f"{key}/"):
        yield f"{key}/"
    elif not found:
        raise missing(client, selection.bucket, key)


def _below(client: Client, selection: Selection, *, versions: bool) -> Iterator[Entry]:
    found = False
    for page in s3_objects.pages(client, selection.bucket, prefix=selection.prefix, delimiter="/", versions=versions):
        for entry in _in_order(page):
            found = True
            yield entry
    if not found and selection.prefix:
        raise NothingThereError(f"there is nothing at {selection}")


def _in_order(page: S3Page) -> Iterator[Entry]:
    """Yield a page's objects and prefixes in the order of their keys; S3 tells them apart."""
    objects: Iterable[Entry] = page.objects
    prefixes: Iterable[Entry] = page.prefixes
    return heapq.merge(objects, prefixes, key=_key)
