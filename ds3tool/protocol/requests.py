"""Builders: each returns the `Request` of one call. They send nothing and know no state.

A builder refuses, with UsageError, whatever could not arrive as it was meant: an empty bucket, key or id (the path
would then name something larger), text that UTF-8 or XML cannot carry, numbers that cannot be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ds3tool.errors import UsageError
from ds3tool.protocol import checksums, names, xmlcodec
from ds3tool.protocol import metadata as metadata_codec
from ds3tool.protocol import ranges as ranges_codec
from ds3tool.protocol.messages import Request
from ds3tool.protocol.model import ChecksumType, ObjectToGet, ObjectToPut, Priority, ProcessingOrder
from ds3tool.protocol.object_rows import get_length, get_rows, put_length, put_rows
from ds3tool.protocol.ranges import ByteRange
from ds3tool.protocol.targets import (
    REST,
    boolean,
    bucket_path,
    count,
    object_path,
    option,
    page,
    query_of,
    quote_path,
    rest,
)

# -- service, buckets -----------------------------------------------------------------------------------------------


def get_service() -> Request:
    """GET the caller and its buckets."""
    return Request("GET", "/")


def create_bucket(bucket: str, *, data_policy: str | None = None) -> Request:
    """Create a bucket: with the caller's default data policy, or with the one named (name or id)."""
    path = bucket_path(bucket)
    if data_policy is None:
        return Request("PUT", path, idempotent=False)
    query = query_of({"name": bucket, "data_policy_id": data_policy})
    return Request("POST", rest("bucket"), query, idempotent=False)


def head_bucket(bucket: str) -> Request:
    """Ask whether a bucket is there."""
    return Request("HEAD", bucket_path(bucket))


def delete_bucket(bucket: str, *, force: bool = False) -> Request:
    """Delete a bucket: an empty one, or with `force` one with everything in it."""
    if not force:
        return Request("DELETE", bucket_path(bucket))
    bucket_path(bucket)
    return Request("DELETE", rest("bucket", bucket), query_of({"force": True}))


def list_bucket(
    bucket: str,
    *,
    prefix: str = "",
    delimiter: str = "",
    marker: str = "",
    max_keys: int = 1000,
    versions: bool = False,
) -> Request:
    """One page of a listing: keys after `marker`, at most `max_keys` (1 to 1000)."""
    if not 1 <= max_keys <= names.MAX_KEYS_PER_REQUEST:
        raise UsageError(f"a page of a listing holds 1 to {names.MAX_KEYS_PER_REQUEST} keys, not {max_keys}")
    query = query_of(
        {
            "delimiter": delimiter or None,
            "marker": marker or None,
            "max_keys": max_keys,
            "prefix": prefix or None,
            "versions": versions,
        }
    )
    if not xmlcodec.fits(prefix):
        raise UsageError(
            f"no listing can show keys that begin with {prefix!a}: XML 1.0 cannot carry it",
            hint="a file of such a name is put under an escaped key, as in a%1Bb",
        )
    return Request("GET", bucket_path(bucket), query)


def get_bucket(bucket: str) -> Request:
    """A bucket's details; by name or id."""
    return Request("GET", rest("bucket", bucket))


# -- data policies --------------------------------------------------------------------------------------------------


def get_data_policy(name_or_id: str) -> Request:
    """One data policy."""
    return Request("GET", rest("data_policy", name_or_id))


def list_data_policies(*, page_length: int = 1000, page_offset: int = 0) -> Request:
    """One page of the data policies."""
    return Request("GET", rest("data_policy"), query_of(page(page_length, page_offset)))


def modify_data_policy(
    name_or_id: str,
    *,
    name: str | None = None,
    checksum_type: ChecksumType | None = None,
    versioning: str | None = None,
    end_to_end_crc_required: bool | None = None,
    blobbing_enabled: bool | None = None,
    default_blob_size: int | None = None,
    default_put_priority: Priority | None = None,
    default_get_priority: Priority | None = None,
    default_verify_priority: Priority | None = None,
    max_versions_to_keep: int | None = None,
) -> Request:
    """Change what is given of a data policy; a `default_blob_size` of 0 sets it back to none."""
    blob_size = None if default_blob_size is None else str(default_blob_size or "")
    query = query_of(
        {
            "blobbing_enabled": None if blobbing_enabled is None else boolean(blobbing_enabled),
            "checksum_type": checksum_type,
            "default_blob_size": blob_size,
            "default_get_job_priority": default_get_priority,
            "default_put_job_priority": default_put_priority,
            "default_verify_job_priority": default_verify_priority,
            "end_to_end_crc_required": None if end_to_end_crc_required is None else boolean(end_to_end_crc_required),
            "max_versions_to_keep": max_versions_to_keep,
            "name": name,
            "versioning": versioning,
        }
    )
    return Request("PUT", rest("data_policy", name_or_id), query)


def list_persistence_rules(data_policy_id: str, *, page_length: int = 1000, page_offset: int = 0) -> Request:
    """One page of the copies that a data policy keeps."""
    query = query_of({"data_policy_id": data_policy_id, **page(page_length, page_offset)})
    return Request("GET", rest("data_persistence_rule"), query)


# -- objects --------------------------------------------------------------------------------------------------------


def put_object(
    bucket: str,
    key: str,
    *,
    job_id: str | None = None,
    offset: int | None = None,
    metadata: Mapping[str, str] | None = None,
    checksum: tuple[ChecksumType, str] | None = None,
) -> Request:
    """Send a blob of a job, or a whole object by itself; the bytes travel beside the request.

    `checksum` is the kind and the digest, in base64, of those bytes.
    """
    if offset is not None:
        count(offset, "a blob's offset")
    headers = metadata_codec.to_headers(metadata) if metadata else ()
    if checksum is not None:
        kind, digest = checksum
        headers = (*headers, (checksums.header_name(kind), digest))
    return Request(
        "PUT",
        object_path(bucket, key),
        query_of({"job": job_id, "offset": offset}),
        headers,
        checksum="" if checksum is None else checksum[1],
        # Outside a job a second sending may be refused as a conflict or make a second version.
        idempotent=job_id is not None,
    )


def get_object(
    bucket: str,
    key: str,
    *,
    job_id: str | None = None,
    offset: int | None = None,
    ranges: Sequence[ByteRange] = (),
    version_id: str | None = None,
    cached_only: bool = False,
) -> Request:
    """Fetch a blob of a job, or a whole object by itself; `ranges` count from the object's start.

    `cached_only` (5.3 and later): refuse what would have to be loaded.
    """
    if offset is not None:
        count(offset, "a blob's offset")
    headers = ((names.RANGE, ranges_codec.range_header(ranges)),) if ranges else ()
    query = query_of(
        {"job": job_id, "offset": offset, "version_id": version_of(version_id), "cached_only": cached_only}
    )
    return Request("GET", object_path(bucket, key), query, headers)


def version_of(version_id: str | None) -> str | None:
    """Return the version id for a query, None for the latest version; UsageError for one that is blank.

    A script whose variable is empty did not mean the latest version, least of all where it deletes.
    """
    if version_id is not None and not version_id.strip():
        raise UsageError("the version id is empty", hint="ls --versions shows the ids")
    return version_id


def head_object(bucket: str, key: str, *, version_id: str | None = None) -> Request:
    """An object's size, metadata and digests."""
    return Request("HEAD", object_path(bucket, key), query_of({"version_id": version_of(version_id)}))


def delete_object(bucket: str, key: str, *, version_id: str | None = None) -> Request:
    """Delete one object, or one version of it."""
    return Request("DELETE", object_path(bucket, key), query_of({"version_id": version_of(version_id)}))


def delete_objects(bucket: str, keys: Sequence[tuple[str, str | None]]) -> Request:
    """Delete up to 1000 objects: pairs of key and version id or None."""
    if not 1 <= len(keys) <= names.MAX_KEYS_PER_REQUEST:
        raise UsageError(f"one request deletes 1 to {names.MAX_KEYS_PER_REQUEST} keys, not {len(keys)}")
    body = xmlcodec.write_items("Delete", keys, _delete_rows)
    return Request("POST", bucket_path(bucket), (("delete", None),), body=body)


def _delete_rows(keys: Sequence[tuple[str, str | None]]) -> str:
    rows = []
    for key, version_id in keys:
        if not key:
            raise UsageError("a key to delete is empty")
        version = f"<VersionId>{xmlcodec.content(version_id)}</VersionId>" if version_id else ""
        rows.append(f"<Object><Key>{xmlcodec.content(key)}</Key>{version}</Object>")
    return "".join(rows)


def delete_folder(bucket: str, prefix: str) -> Request:
    """Delete every object whose key begins with `prefix` and a slash, one that `prefix` may end in already."""
    name = prefix.removesuffix("/")
    if not name:
        raise UsageError("the prefix to delete is empty", hint="to empty a whole bucket, delete it with force")
    if name.endswith("/") or not {".", ".."}.isdisjoint(name.split("/")):
        # Slashes are normalised on the way, and dots may be: more than was meant would go.
        raise UsageError(f"the prefix {prefix!a} cannot be deleted in one call", hint="delete its objects by key")
    bucket_path(bucket)
    query = query_of({"bucket_id": bucket, "recursive": True})
    # The name stands in the path with its slashes, as the vendor's clients send it.
    return Request("DELETE", f"{REST}folder/{quote_path(name)}", query)


# -- bulk jobs ------------------------------------------------------------------------------------------------------


def create_put_job(
    bucket: str,
    objects: Sequence[ObjectToPut],
    *,
    name: str | None = None,
    priority: Priority | None = None,
    max_upload_size: int | None = None,
    ignore_naming_conflicts: bool = False,
    force: bool = False,
    aggregating: bool | None = None,
    minimize_spanning_across_media: bool | None = None,
    pre_allocate_job_space: bool = False,
    verify_after_write: bool | None = None,
    implicit_job_id_resolution: bool | None = None,
    dead_job_cleanup_allowed: bool | None = None,
    protected: bool | None = None,
) -> Request:
    """Declare objects to put, up to 500,000; `max_upload_size` bounds the blobs, in bytes."""
    _count_objects(objects)
    query = query_of(
        {
            "operation": names.START_BULK_PUT,
            "aggregating": option(aggregating),
            "dead_job_cleanup_allowed": option(dead_job_cleanup_allowed),
            "force": force,
            "ignore_naming_conflicts": ignore_naming_conflicts,
            "implicit_job_id_resolution": option(implicit_job_id_resolution),
            "max_upload_size": max_upload_size,
            "minimize_spanning_across_media": option(minimize_spanning_across_media),
            "name": name,
            "pre_allocate_job_space": pre_allocate_job_space,
            "priority": priority,
            "protected": option(protected),
            "verify_after_write": option(verify_after_write),
        }
    )
    body = xmlcodec.write_items("Objects", objects, put_rows, put_length)
    return Request("PUT", _bulk_path(bucket), query, body=body, idempotent=False)


def create_get_job(
    bucket: str,
    objects: Sequence[ObjectToGet],
    *,
    name: str | None = None,
    priority: Priority | None = None,
    processing_order: ProcessingOrder = ProcessingOrder.NONE,
    aggregating: bool | None = None,
    implicit_job_id_resolution: bool | None = None,
    dead_job_cleanup_allowed: bool | None = None,
    protected: bool | None = None,
) -> Request:
    """Ask for objects, ranges or versions of them, up to 500,000."""
    _count_objects(objects)
    query = query_of(
        {
            "operation": names.START_BULK_GET,
            "aggregating": option(aggregating),
            "chunk_client_processing_order_guarantee": processing_order,
            "dead_job_cleanup_allowed": option(dead_job_cleanup_allowed),
            "implicit_job_id_resolution": option(implicit_job_id_resolution),
            "name": name,
            "priority": priority,
            "protected": option(protected),
        }
    )
    body = xmlcodec.write_items("Objects", objects, get_rows, get_length)
    return Request("PUT", _bulk_path(bucket), query, body=body, idempotent=False)


def create_verify_job(
    bucket: str,
    objects: Sequence[ObjectToGet],
    *,
    name: str | None = None,
    priority: Priority | None = None,
    aggregating: bool | None = None,
) -> Request:
    """Ask the appliance to read objects back from their media and check them."""
    _count_objects(objects)
    query = query_of(
        {
            "operation": names.START_BULK_VERIFY,
            "aggregating": option(aggregating),
            "name": name,
            "priority": priority,
        }
    )
    body = xmlcodec.write_items("Objects", objects, get_rows, get_length)
    return Request("PUT", _bulk_path(bucket), query, body=body, idempotent=False)


def get_placement(
    bucket: str,
    objects: Sequence[ObjectToGet],
    *,
    full_details: bool = False,
    verify: bool = False,
    storage_domain: str | None = None,
) -> Request:
    """Ask which media hold objects: all in one, or blob by blob with `full_details`.

    With `verify` the appliance answers 404 when anything is missing.
    """
    _count_objects(objects)
    operation = names.VERIFY_PHYSICAL_PLACEMENT if verify else names.GET_PHYSICAL_PLACEMENT
    query = query_of({"operation": operation, "full_details": full_details, "storage_domain": storage_domain})
    body = xmlcodec.write_items("Objects", objects, get_rows, get_length)
    return Request("GET" if verify else "PUT", _bulk_path(bucket), query, body=body)


def _bulk_path(bucket: str) -> str:
    bucket_path(bucket)
    return rest("bucket", bucket)


def _count_objects(objects: Sequence[object]) -> None:
    if not 1 <= len(objects) <= names.MAX_OBJECTS_PER_JOB:
        raise UsageError(f"a job names 1 to {names.MAX_OBJECTS_PER_JOB} objects, not {len(objects)}")


# -- jobs that run --------------------------------------------------------------------------------------------------


def get_ready_chunks(job_id: str, *, preferred_number: int | None = None, chunk_id: str | None = None) -> Request:
    """Ask which chunks of a job the appliance will take or give now; `chunk_id` restricts the answer to one."""
    if not job_id:
        raise UsageError("the job to ask chunks of has no id")
    if preferred_number is not None:
        count(preferred_number, "a number of chunks", least=1)
    query = query_of({"job": job_id, "job_chunk": chunk_id, "preferred_number_of_chunks": preferred_number})
    return Request("GET", rest("job_chunk"), query)


def get_chunk(chunk_id: str) -> Request:
    """One chunk, as it stands."""
    return Request("GET", rest("job_chunk", chunk_id))


def allocate_chunk(chunk_id: str) -> Request:
    """Ask for room in the cache for one chunk of a put job."""
    return Request("PUT", rest("job_chunk", chunk_id), query_of({"operation": names.ALLOCATE}))


def get_job(job_id: str) -> Request:
    """A job with its chunks; running, completed or cancelled."""
    return Request("GET", rest("job", job_id))


def list_jobs(*, bucket: str | None = None) -> Request:
    """All jobs, not paged."""
    return Request("GET", rest("job"), query_of({"bucket_id": bucket}))


def modify_job(job_id: str, *, priority: Priority | None = None, name: str | None = None) -> Request:
    """Change a job, or with nothing given only tell the appliance that somebody still works on it."""
    return Request("PUT", rest("job", job_id), query_of({"name": name, "priority": priority}))


def cancel_job(job_id: str) -> Request:
    """Give a job up, with everything of it that is not persisted completely."""
    return Request("DELETE", rest("job", job_id), query_of({"force": True}))


def truncate_job(job_id: str) -> Request:
    """End a job with what is completely in the cache or on media."""
    return Request("DELETE", rest("job", job_id))


JOB_LISTS = ("active_job", "completed_job", "canceled_job")


def list_job_records(
    resource: str, *, bucket: str | None = None, page_length: int = 1000, page_offset: int = 0
) -> Request:
    """One page of one of `JOB_LISTS`."""
    return Request("GET", rest(resource), query_of({"bucket_id": bucket, **page(page_length, page_offset)}))


# -- cache and system -----------------------------------------------------------------------------------------------


def get_cache_state() -> Request:
    """The cache's file systems and how full they are."""
    return Request("GET", rest("cache_state"))


def reclaim_cache() -> Request:
    """Empty the cache of everything that need not stay."""
    return Request("PUT", rest("cache_filesystem"), query_of({"reclaim": True}))


def get_system_information() -> Request:
    """Release, serial number and clock."""
    return Request("GET", rest("system_information"))


def get_system_health() -> Request:
    """Whether the data planner answers."""
    return Request("GET", rest("system_health"))
