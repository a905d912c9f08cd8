"""What the reading commands walk over: everything at an address, and what the options choose of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ds3tool.addresses import parse_ds3
from ds3tool.cli.selection import Selection, parse_selection
from ds3tool.errors import ProtocolError
from ds3tool.filters import Filter
from ds3tool.protocol.model import ListedObject

if TYPE_CHECKING:
    from ds3tool.client import Ds3Client

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def everything_at(client: Ds3Client, text: str, *, raw: bool = False, versions: bool = False) -> Selection:
    """Return what a command that looks at everything below means by `ds3://BUCKET/KEY`.

    A pattern selects what it matches. Anything else is read as ending in a slash; only where nothing lies below, an
    address without one means the object of that key. One page of one key is asked for to tell.
    """
    selection = parse_selection(text, recursive=False, raw=raw)
    if selection.pattern is not None:
        return selection
    address = parse_ds3(text)
    prefix = address.as_prefix()
    below = Selection(prefix.bucket, prefix.key, text=str(prefix))
    if address.is_prefix:
        return below
    pages = client.listing_pages(prefix.bucket, prefix=prefix.key, versions=versions, page_size=1)
    page = next(iter(pages), None)
    return below if page is not None and page.objects else Selection(prefix.bucket, address.key, whole=True, text=text)


def base_of(selection: Selection) -> str:
    """Return what names below the address leave out of their keys: a prefix that ends in a slash, or nothing."""
    folder, slash, _ = selection.prefix.rpartition("/")
    return folder + slash


def chosen(objects: Iterable[ListedObject], selection: Selection, wanted: Filter) -> Iterator[ListedObject]:
    """Yield the objects that `wanted` accepts, by their names below the address."""
    if wanted.is_empty:
        yield from objects
        return
    base = len(base_of(selection))
    for item in objects:
        modified = None if item.last_modified is None else nanoseconds(item.last_modified)
        if wanted.accepts(item.key[base:], size=item.size, modified_ns=modified):
            yield item


def nanoseconds(moment: datetime) -> int:
    """Return the nanoseconds from 1970 to `moment`, exactly."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000


def in_byte_order(objects: Iterable[ListedObject]) -> Iterator[ListedObject]:
    """Yield `objects` as they come; ProtocolError when a key comes after a larger one.

    Whatever lies below one prefix comes together only in this order. Code points compare as their UTF-8 bytes do.
    """
    last = ""
    for item in objects:
        if item.key < last:
            raise ProtocolError(
                f"the appliance does not list keys in the order of their bytes: {item.key!a} comes after {last!a}",
                hint="what lies below a prefix does not come together; ds3tool find lists the keys as they come",
            )
        last = item.key
        yield item
