"""Amazon style: one object or blob put, got, asked for, deleted."""

from __future__ import annotations

from ds3tool.protocol import names
from ds3tool.simulator.dispatch import Call, s3
from ds3tool.simulator.jobs.plans import metadata_text
from ds3tool.simulator.jobs.receiving import Upload
from ds3tool.simulator.jobs.transfers import Download
from ds3tool.simulator.objects import StoredObject
from ds3tool.simulator.wire import checksums
from ds3tool.simulator.wire.messages import Pairs, Reply
from ds3tool.simulator.wire.ranges import content_range, parse_ranges
from ds3tool.simulator.wire.refusals import Refusal
from ds3tool.simulator.wire.targets import check_name
from ds3tool.simulator.wire.xmlout import date


@s3("PutObject")
def put_object(call: Call) -> Reply:
    """Take one blob of a job, or a whole object without a job."""
    request = call.request
    if "content-length" not in request.headers:
        message = f"{names.MISSING_CONTENT_LENGTH}[411]: A PUT needs a Content-Length."
        raise Refusal(411, names.MISSING_CONTENT_LENGTH, message)
    bucket = call.machine.buckets.named(call.bucket)
    upload = Upload(
        bucket=bucket,
        name=check_name(call.name),
        digest=checksums.from_headers(request.headers),
        metadata=metadata_text(request.pairs),
        body=request.body,
        user_id=str(call.user["Id"]),
        client=request.client,
    )
    taken = call.machine.transfers.put(upload, call.text("job") or None, call.number("offset") or 0)
    kind, digest = taken.digest
    headers: Pairs = ((checksums.HEADERS[kind], checksums.to_text(digest)),)
    if taken.etag is not None:
        headers += ((names.ETAG, f'"{taken.etag}"'),)
    return Reply(200, headers)


@s3("GetObject")
def get_object(call: Call) -> Reply:
    """Send one blob of a job, a whole object of one blob, or ranges of either."""
    machine = call.machine
    bucket = machine.buckets.named(call.bucket)
    version_id = call.text("version_id") or None
    job_id, offset = call.text("job") or None, call.number("offset")
    user_id, cached_only = str(call.user["Id"]), call.has("cached_only")
    if job_id is not None:
        download = machine.transfers.get_in_job(
            bucket,
            call.name,
            version_id,
            job_id=job_id,
            offset=offset or 0,
            user_id=user_id,
            cached_only=cached_only,
        )
    elif offset is not None:
        download = machine.transfers.get_blob(
            bucket, call.name, version_id, offset=offset, user_id=user_id, cached_only=cached_only
        )
    else:
        download = machine.transfers.get(bucket, call.name, version_id, user_id=user_id, cached_only=cached_only)
    try:
        return _reply(call, download)
    except BaseException:
        download.slices.close()
        raise


def _reply(call: Call, download: Download) -> Reply:
    (_, length), *_rest = download.slices.slices
    headers: Pairs = (("Accept-Ranges", "bytes"), *object_headers(call, download.version))
    if download.digest is not None:
        kind, digest = download.digest
        headers += ((checksums.HEADERS[kind], checksums.to_text(digest)),)
    status = 200
    asked = call.request.headers.get("range")
    if asked is not None:
        start = download.offset
        ranges = parse_ranges(asked, start, start + length)
        download.slices.slices = [(first - start, past - first) for first, past in ranges]
        headers += ((names.CONTENT_RANGE, content_range(ranges, download.version.size)),)
        status = 206
    return Reply(
        status,
        headers,
        download.slices,
        "application/octet-stream",
        settle=download.settle,
        sent=download.sent,
    )


def object_headers(call: Call, version: StoredObject) -> Pairs:
    """Return the headers that GET and HEAD share: ETag, dates, version, metadata."""
    assert version.created is not None, "only complete objects are shown"
    return (
        (names.ETAG, f'"{version.etag}"'),
        (names.CREATION_DATE, date(version.created)),
        ("Last-Modified", call.machine.http_date(version.created)),
        (names.VERSION_ID, call.machine.objects.ids.of(version.n)),
        *version.metadata_pairs,
    )


@s3("HeadObject")
def head_object(call: Call) -> Reply:
    """Tell an object's size, metadata and the checksums of its blobs."""
    machine = call.machine
    bucket = machine.buckets.named(call.bucket)
    with machine.store.lock:
        version = machine.objects.complete(bucket.n, call.name, call.text("version_id") or None)
        kind, digests = machine.objects.blob_headers(version.n)
    headers: Pairs = (("Accept-Ranges", "bytes"), *object_headers(call, version))
    if kind is not None:
        headers += ((names.BLOB_CHECKSUM_TYPE, kind.value),)
        headers += tuple((f"{names.BLOB_CHECKSUM_OFFSET}{offset}", digest) for offset, digest in digests)
    return Reply(200, headers, content_type="application/octet-stream", head_length=version.size)


@s3("DeleteObject")
def delete_object(call: Call) -> Reply:
    """Delete an object, or one version of it."""
    machine = call.machine
    bucket = machine.buckets.named(call.bucket)
    rules = machine.buckets.rules(bucket)
    with machine.store.writing() as db:
        machine.objects.delete(db, bucket, call.name, call.text("version_id") or None, rules)
    return Reply(204)
