"""`ds3tool ls`: buckets, and what is in them."""

import heapq
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ds3tool.cli.failures import NothingThereError
from ds3tool.cli.options import command
from ds3tool.cli.output import Field
from ds3tool.cli.selection import Selection, missing_key, parse_selection, selected_objects
from ds3tool.cli.settings import Settings, connect
from ds3tool.protocol.model import BucketSummary, ListedObject, ListingPage
from ds3tool.sizes import format_size

if TYPE_CHECKING:
    from ds3tool.client import Ds3Client

app = typer.Typer(add_completion=False)

# A prefix is listed like an object of which only the name is known.
Entry = ListedObject | str

BUCKET_FIELDS: list[Field[BucketSummary]] = [
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
        Field("type", lambda entry: "prefix" if isinstance(entry, str) else "object", tabled=False),
        Field("key", _key, leads=True),
    ]


@command(
    app,
    "ls",
    examples=[
        "ds3tool ls",
        "ds3tool ls ds3://archive/2024/",
        "ds3tool ls -r -o ndjson ds3://archive/2024/",
        "ds3tool ls 'ds3://archive/2024/*.mxf'",
    ],
)
def list_entries(
    address: Annotated[
        str | None,
        typer.Argument(metavar="ds3://BUCKET/PREFIX", help="What to list: a bucket, a prefix, a key, a pattern."),
    ] = None,
    *,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", metavar="", help="Everything below, not one level.")
    ] = False,
    versions: Annotated[
        bool, typer.Option("--versions", metavar="", help="Every version of each object, and its id.")
    ] = False,
    raw: Annotated[
        bool, typer.Option("--raw", metavar="", help="Wildcards in the address stand for themselves.")
    ] = False,
    settings: Settings,
) -> None:
    """List buckets, or what is in one.

    Without an address: the buckets. Without -r one level, where PREFIX/ stands for everything below it. The key parts
    * ? and brackets select objects at any depth; quote them from the shell.
    """
    output = settings.results()
    with connect(settings) as client:
        if address is None:
            output.records(client.get_service().buckets, BUCKET_FIELDS)
            return
        selection = parse_selection(address, recursive=recursive, raw=raw)
        entries: Iterator[Entry]
        if recursive or selection.pattern is not None:
            entries = iter(selected_objects(client, selection, versions=versions))
        else:
            entries = _one_level(client, selection, versions=versions)
        output.records(entries, entry_fields(versions=versions))


def _one_level(client: "Ds3Client", selection: Selection, *, versions: bool) -> Iterator[Entry]:
    if selection.whole:
        return _key_and_prefix(client, selection, versions=versions)
    return _below(client, selection, versions=versions)


def _key_and_prefix(client: "Ds3Client", selection: Selection, *, versions: bool) -> Iterator[Entry]:
    """Yield the object of that key, and the prefix of that name: both may exist."""
    key = selection.prefix
    found = False
    try:
        for item in selected_objects(client, selection, versions=versions):
            found = True
            yield item
    except NothingThereError:
        found = False
    below = next(iter(client.listing_pages(selection.bucket, prefix=f"{key}/", page_size=1)), None)
    if below is not None and below.objects:
        yield f"{key}/"
    elif not found:
        raise missing_key(client, selection.bucket, key)


def _below(client: "Ds3Client", selection: Selection, *, versions: bool) -> Iterator[Entry]:
    pages = client.listing_pages(selection.bucket, prefix=selection.prefix, delimiter="/", versions=versions)
    found = False
    for page in pages:
        for entry in in_order(page):
            found = True
            yield entry
    if not found and selection.prefix:
        raise NothingThereError(f"there is nothing at {selection}")


def in_order(page: ListingPage) -> Iterator[Entry]:
    """Yield a page's objects and prefixes in the order of their keys."""
    # The appliance tells objects and prefixes apart; each of the two is in its order.
    objects: Iterable[Entry] = page.objects
    prefixes: Iterable[Entry] = page.prefixes
    return heapq.merge(objects, prefixes, key=_key)


def _key(entry: Entry) -> str:
    return entry if isinstance(entry, str) else entry.key
