"""Builders of the calls about objects' records: their details, their return after a removal, doubts about copies."""

from __future__ import annotations

from ds3tool.errors import UsageError
from ds3tool.protocol.messages import Request
from ds3tool.protocol.requests import version_of
from ds3tool.protocol.targets import REST, bucket_path, option, page, query_of, quote_path, rest


def list_object_details(
    bucket: str,
    *,
    name: str | None = None,
    full: bool = False,
    placement: bool = False,
    latest: bool | None = None,
    page_length: int = 1000,
    page_offset: int = 0,
) -> Request:
    """One page of a bucket's objects, all versions; `placement` implies full details. `name` may hold wild cards."""
    bucket_path(bucket)
    query = query_of(
        {
            "bucket_id": bucket,
            "full_details": full or placement,
            "include_physical_placement": placement,
            "latest": option(latest),
            "name": name,
            **page(page_length, page_offset),
        }
    )
    return Request("GET", rest("object"), query)


def get_object_details(bucket: str, name_or_id: str) -> Request:
    """One object's record."""
    bucket_path(bucket)
    if not name_or_id:
        raise UsageError("the name of the object is empty")
    # A name stands in the path with its slashes, as the vendor's clients send it.
    return Request("GET", f"{REST}object/{quote_path(name_or_id)}", query_of({"bucket_id": bucket}))


def undelete_object(bucket: str, key: str, *, version_id: str | None = None) -> Request:
    """Make the newest version of an object, or the one named, the latest again."""
    bucket_path(bucket)
    if not key:
        raise UsageError(f"the key of an object in {bucket} is empty")
    query = query_of({"bucket_id": bucket, "name": key, "version_id": version_of(version_id)})
    return Request("PUT", rest("object"), query)


def list_suspect_blobs(bucket: str) -> Request:
    """The blobs of a bucket of which the appliance doubts a copy; not paged."""
    bucket_path(bucket)
    return Request("GET", rest("suspect_object"), query_of({"bucket_id": bucket, "full_details": True}))
