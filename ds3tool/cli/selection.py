"""Which objects an address selects: one key, everything below a prefix, or all that match a pattern."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ds3tool.addresses import Ds3Address, S3Address, parse_ds3
from ds3tool.cli.failures import NothingThereError
from ds3tool.errors import NotFoundError, UsageError
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.listed_columns import ListedColumns, all_begin_with
from ds3tool.protocol.model import ListedObject

if TYPE_CHECKING:
    from ds3tool.client import Ds3Client

_WILDCARD = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Selection:
    """An address as it selects objects.

    `prefix` is what every selected key begins with. `pattern`, where there is one, is matched against the whole key;
    its `*` and `?` match slashes too, as s5cmd's do. Without a pattern, `whole` says that `prefix` is the key itself.
    """

    bucket: str
    prefix: str
    pattern: re.Pattern[str] | None = None
    whole: bool = False
    text: str = ""

    def selects(self, key: str) -> bool:
        """Whether the address means `key`."""
        if self.pattern is not None:
            return self.pattern.fullmatch(key) is not None
        return key == self.prefix if self.whole else key.startswith(self.prefix)

    def among(self, objects: Sequence[ListedObject]) -> Sequence[ListedObject]:
        """Return those of several objects that the address means, all of them as they came."""
        if self.pattern is None and not self.whole:
            prefix = self.prefix
            if isinstance(objects, ListedColumns) and all_begin_with(objects.keys, prefix):
                return objects
            return [one for one in objects if one.key.startswith(prefix)]
        return [one for one in objects if self.selects(one.key)]

    def __str__(self) -> str:
        return self.text


def parse_selection(text: str, *, recursive: bool, raw: bool) -> Selection:
    """Return what `ds3://BUCKET/KEY` selects.

    A trailing slash, or `recursive`, means everything below; `*`, `?` and `[...]` make a pattern, unless `raw`, which
    takes the key as it stands, slash and wildcards included (with `recursive` it is a prefix, also as it stands).
    """
    return selection_of(parse_ds3(text), text, recursive=recursive, raw=raw)


def selection_of(address: Ds3Address | S3Address, text: str, *, recursive: bool, raw: bool) -> Selection:
    """Return what an address selects, here or in S3; `text` is how it was typed. As `parse_selection` reads it."""
    if not raw and _WILDCARD.search(address.key):
        literal = address.key[: _WILDCARD.search(address.key).start()]  # type: ignore[union-attr]  # found just now
        pattern = re.compile(fnmatch.translate(address.key))
        if recursive:
            # `logs*` with -r: whatever matches, and whatever lies below it.
            pattern = re.compile(
                fnmatch.translate(address.key.rstrip("/")) + "|" + fnmatch.translate(_below(address.key))
            )
        return Selection(address.bucket, literal, pattern, text=text)
    if recursive:
        prefix = address.key if raw else address.as_prefix().key
        return Selection(address.bucket, prefix, text=str(replace(address, key=prefix)))
    whole = bool(address.key) if raw else not address.is_prefix
    return Selection(address.bucket, address.key, whole=whole, text=text)


def _below(key: str) -> str:
    return key.rstrip("/") + "/*"


def selected_objects(client: Ds3Client, selection: Selection, *, versions: bool = False) -> Iterator[ListedObject]:
    """Yield the objects that `selection` means, in the appliance's order, a page in memory at a time.

    Raises NotFoundError for a bucket that is not there, NothingThereError when nothing is selected.
    """
    if selection.whole:
        yield from _exact(client, selection, versions=versions)
        return
    for items in selected_pages(client, selection, versions=versions):
        yield from items


def selected_pages(
    client: Ds3Client, selection: Selection, *, versions: bool = False
) -> Iterator[Sequence[ListedObject]]:
    """Yield the same page by page, none of them empty; for a selection of more than one key."""
    found = False
    for page in client.listing_pages(selection.bucket, prefix=selection.prefix, versions=versions):
        items = selection.among(page.objects)
        if items:
            found = True
            yield items
    if not found and selection.prefix:
        raise NothingThereError(f"there is nothing at {selection}", hint=_hint(selection))


def _hint(selection: Selection) -> str | None:
    return "an address that is not a pattern needs --raw" if selection.pattern is not None else None


def _exact(client: Ds3Client, selection: Selection, *, versions: bool) -> Iterator[ListedObject]:
    # The shortest key that begins with the key is the key itself, so a listing starts with it.
    found = False
    pages = client.listing_pages(
        selection.bucket, prefix=selection.prefix, versions=versions, page_size=1000 if versions else 1
    )
    for page in pages:
        for item in page.objects:
            if item.key != selection.prefix:
                break
            found = True
            yield item
        else:
            if versions:
                continue
        break
    if not found:
        yield head_as_listed(client, selection.bucket, selection.prefix)


def head_as_listed(client: Ds3Client, bucket: str, key: str) -> ListedObject:
    """Return one object as a listing shows it; raises NothingThereError, with a hint, when there is none."""
    try:
        head = client.head_object(bucket, key)
    except NotFoundError as error:
        raise missing_key(client, bucket, key) from error
    return ListedObject(key, head.size, head.created, head.etag, head.version_id)


def missing_key(client: Ds3Client, bucket: str, key: str) -> NothingThereError:
    """Return the error for a key that is not there: a bucket that is not, or a prefix written without its slash."""
    if not client.bucket_exists(bucket):
        return NothingThereError(f"there is no bucket {bucket!r}", hint=f"make it with: ds3tool mb ds3://{bucket}")
    below = key if key.endswith("/") else f"{key}/"
    page = next(iter(client.listing_pages(bucket, prefix=below, page_size=1)), None)
    hint = f"there are objects below it: ds3://{bucket}/{below}" if page is not None and page.objects else None
    return NothingThereError(f"there is no object {key!r} in the bucket {bucket!r}", hint=hint)


def refuse_ambiguous(client: Ds3Client, selection: Selection, key: str) -> None:
    """Raise UsageError when a pattern is also, letter by letter, the key of an object: which is meant must be said."""
    if selection.pattern is None:
        return
    try:
        client.head_object(selection.bucket, key)
    except NotFoundError:
        return
    raise UsageError(
        f"{selection} is a pattern, and the key of an object as well", hint="add --raw to mean that one object"
    )
