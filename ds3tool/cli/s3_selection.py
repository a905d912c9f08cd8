"""What the commands of `ds3tool s3` mean by an address: one object, everything below a prefix, all that match."""

from __future__ import annotations

from collections.abc import Iterator

from ds3tool.addresses import S3Address, parse_s3
from ds3tool.aws import s3_objects
from ds3tool.aws.s3_objects import Client, S3Entry
from ds3tool.cli.failures import NothingThereError
from ds3tool.cli.selection import Selection, selection_of
from ds3tool.errors import FarSideNotFoundError, UsageError


def parse_s3_selection(text: str, *, recursive: bool, raw: bool) -> Selection:
    """Return what `s3://BUCKET/KEY` selects, as `parse_selection` does for the appliance."""
    address = parse_s3(text)
    check_key(address)
    return selection_of(address, text, recursive=recursive, raw=raw)


def check_key(address: S3Address) -> None:
    """Raise UsageError for a key that no object of S3 can have: its keys are text in UTF-8."""
    try:
        address.key.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(f"{address}: that is no key of S3, which are text in UTF-8") from error


def parse_s3_bucket(text: str) -> str:
    """Return the bucket of `s3://bucket`, `s3://bucket/` or plain `bucket`; a key in it is a UsageError."""
    address = parse_s3(text if "://" in text else f"s3://{text}")
    if address.key:
        raise UsageError(f"{text!r} names a key, where a bucket is meant", hint=f"write s3://{address.bucket}")
    return address.bucket


def parse_s3_object(text: str) -> S3Address:
    """Return the address of one object, whatever its key looks like; UsageError for a bucket."""
    address = parse_s3(text)
    check_key(address)
    if not address.key:
        raise UsageError(f"{text!r} is a bucket, where an object is meant", hint=f"write s3://{address.bucket}/KEY")
    return address


def selected_entries(client: Client, selection: Selection, *, versions: bool = False) -> Iterator[S3Entry]:
    """Yield what `selection` means, in S3's order, a page in memory at a time; every version, where these are meant.

    Raises FarSideNotFoundError for a bucket that is not there, NothingThereError when nothing is selected.
    """
    if selection.whole and not versions:
        yield entry_of(client, selection.bucket, selection.prefix)
        return
    found = False
    for page in s3_objects.pages(client, selection.bucket, prefix=selection.prefix, versions=versions):
        for entry in page.objects:
            if selection.selects(entry.key):
                found = True
                yield entry
            elif selection.whole and entry.key > selection.prefix:
                break
        else:
            continue
        break
    if not found and selection.whole:
        raise missing(client, selection.bucket, selection.prefix)
    if not found and selection.prefix:
        hint = "an address that is not a pattern needs --raw" if selection.pattern is not None else None
        raise NothingThereError(f"there is nothing at {selection}", hint=hint)


def entry_of(client: Client, bucket: str, key: str) -> S3Entry:
    """Return one object as a listing shows it; raises NothingThereError, with a hint, when there is none."""
    try:
        found = s3_objects.status(client, bucket, key)
    except FarSideNotFoundError as error:
        raise missing(client, bucket, key) from error
    return S3Entry(key, found.size, found.last_modified, found.etag, found.version_id, None, found.storage_class)


def missing(client: Client, bucket: str, key: str) -> NothingThereError:
    """Return the error for a key that is not there: a bucket that is not, or a prefix written without its slash."""
    below = key if not key or key.endswith("/") else f"{key}/"
    try:
        something = s3_objects.anything_below(client, bucket, below)
    except FarSideNotFoundError:
        return NothingThereError(
            f"there is no bucket s3://{bucket}", hint="to see the buckets there are: ds3tool s3 ls"
        )
    if not key:
        return NothingThereError(f"there is no bucket s3://{bucket}")
    hint = f"there are objects below it: s3://{bucket}/{below}" if something else None
    return NothingThereError(f"there is no object {key!r} in s3://{bucket}", hint=hint)


def refuse_ambiguous_pattern(client: Client, selection: Selection) -> None:
    """Raise UsageError when a pattern is also, letter by letter, the key of an object: which is meant must be said."""
    if selection.pattern is None:
        return
    key = selection.text.partition("://")[2].partition("/")[2]
    try:
        s3_objects.status(client, selection.bucket, key)
    except FarSideNotFoundError:
        return
    raise UsageError(
        f"{selection} is a pattern, and the key of an object as well", hint="add --raw to mean that one object"
    )
