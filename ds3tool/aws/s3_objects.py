"""Buckets and objects of S3 as commands need them: list, look at, delete; thin over boto3."""

from __future__ import annotations

import heapq
import itertools
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from ds3tool.aws import s3_listing
from ds3tool.aws.failures import far_side, told
from ds3tool.aws.s3_listing import S3Listed
from ds3tool.errors import FarSideError, FarSideNotFoundError
from ds3tool.lazy_dataclass import dataclass

# The most that one DeleteObjects takes. Source: S3 API reference.
DELETED_AT_ONCE = 1000
# What no XML 1.0 document can carry, or (a carriage return) carries through every server: such a key is deleted by a
# request of its own.
_NOT_XML = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]")
_CHECKSUM = "Checksum"
# What servers that lack a part of the API answer.
_LACKING = frozenset({"NotImplemented", "MethodNotAllowed", "405", "501"})

# boto3 makes its clients' types at run time.
Client = Any


@dataclass(frozen=True, slots=True)
class S3Bucket:
    """A bucket as a listing of all shows it."""

    name: str
    created: datetime | None


@dataclass(frozen=True, slots=True)
class S3Entry:
    """An object, or one version of it, as a listing shows it; `is_marker`: it says that the object was deleted.

    `size` is in bytes, None of a marker; `version_id` and `is_latest` are known only where versions are listed.
    """

    key: str
    size: int | None
    last_modified: datetime | None
    etag: str | None = None
    version_id: str | None = None
    is_latest: bool | None = None
    storage_class: str | None = None
    is_marker: bool = False


@dataclass(frozen=True, slots=True)
class S3Page:
    """One answer to a listing; both are in the order of their keys."""

    objects: tuple[S3Entry, ...]
    prefixes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class S3Status:
    """All that S3 tells of one object; `tags` is None where they may not be read."""

    bucket: str
    key: str
    size: int
    last_modified: datetime | None
    etag: str | None
    version_id: str | None
    storage_class: str
    checksums: Mapping[str, str]
    checksum_type: str | None
    attributes: Mapping[str, str]
    metadata: Mapping[str, str]
    restore: str | None
    encryption: str | None
    replication: str | None
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class BucketStatus:
    """A bucket's region and whether it keeps versions; None is what could not be learned."""

    name: str
    region: str | None
    versioning: str | None


@dataclass(frozen=True, slots=True)
class ObjectName:
    """An object, or one version of it."""

    key: str
    version_id: str | None = None


@dataclass(frozen=True, slots=True)
class NotDeleted:
    """An object that S3 did not delete, with its word and its sentence for why."""

    name: ObjectName
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Deletion:
    """What became of one batch."""

    deleted: Sequence[ObjectName]
    failed: Sequence[NotDeleted]


def address_of(bucket: str, key: str = "") -> str:
    """Return the address of a bucket, or of an object in it, for messages."""
    return f"s3://{bucket}/{key}" if key else f"s3://{bucket}"


# -- buckets --------------------------------------------------------------------------------------------------------


def buckets(client: Client) -> Iterator[S3Bucket]:
    """Yield the buckets of whoever asks."""
    with far_side("s3"):
        for page in client.get_paginator("list_buckets").paginate():
            for one in page.get("Buckets", ()):
                yield S3Bucket(one["Name"], one.get("CreationDate"))


def make_bucket(client: Client, name: str) -> None:
    """Make a bucket in the client's region; FarSideError when the name is taken."""
    region = client.meta.region_name
    # The oldest region is the one that must not be named. Source: S3 API reference, CreateBucket.
    where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    with far_side(address_of(name)):
        client.create_bucket(Bucket=name, **where)


def is_empty(client: Client, name: str) -> bool:
    """Whether there is nothing in a bucket, not even an old version."""
    if anything_below(client, name, ""):
        return False
    try:
        with far_side(address_of(name)):
            found = client.list_object_versions(Bucket=name, MaxKeys=1)
    except FarSideError as error:
        if not lacks(error):
            raise
        return True
    return not (found.get("Versions") or found.get("DeleteMarkers"))


def remove_bucket(client: Client, name: str) -> None:
    """Remove a bucket that is empty."""
    with far_side(address_of(name)):
        client.delete_bucket(Bucket=name)


def bucket_status(client: Client, name: str) -> BucketStatus:
    """Return what is known of a bucket; FarSideNotFoundError when it is not there."""
    with far_side(address_of(name)):
        region = client.head_bucket(Bucket=name)["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region")
    try:
        with far_side(address_of(name)):
            versioning = client.get_bucket_versioning(Bucket=name).get("Status", "Disabled")
    except FarSideError:  # not everybody may ask, and not every server knows
        versioning = None
    return BucketStatus(name, region, versioning)


# -- listing --------------------------------------------------------------------------------------------------------


def pages(
    client: Client, bucket: str, *, prefix: str = "", delimiter: str = "", versions: bool = False
) -> Iterator[S3Page]:
    """Yield a listing page by page, at most two in memory; errors as those of `s3_listing.pages`.

    With `versions` every version and every marker of a deletion, those of one key from the newest on.
    """
    if not versions:
        for page in s3_listing.pages(client, bucket, prefix, delimiter=delimiter or None):
            yield S3Page(tuple(map(_listed, page.objects)), page.prefixes)
        return
    asked = {"Bucket": bucket, "Prefix": prefix, **({"Delimiter": delimiter} if delimiter else {})}
    with far_side(address_of(bucket)):
        for found in client.get_paginator("list_object_versions").paginate(**asked):
            below = tuple(one["Prefix"] for one in found.get("CommonPrefixes", ()))
            yield S3Page(tuple(_versions_of(found)), below)


def anything_below(client: Client, bucket: str, prefix: str) -> bool:
    """Whether there is any object whose key begins with `prefix`; FarSideNotFoundError where there is no bucket."""
    with far_side(address_of(bucket)):
        return bool(client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1).get("Contents"))


def _listed(one: S3Listed) -> S3Entry:
    return S3Entry(one.key, one.size, one.last_modified, one.etag or None, storage_class=one.storage_class)


def _entry(found: Mapping[str, Any]) -> S3Entry:
    return S3Entry(
        found["Key"],
        found.get("Size"),
        found.get("LastModified"),
        _bare(found.get("ETag")),
        found.get("VersionId"),
        found.get("IsLatest"),
        found.get("StorageClass"),
    )


def _marker(found: Mapping[str, Any]) -> S3Entry:
    return S3Entry(
        found["Key"],
        None,
        found.get("LastModified"),
        version_id=found.get("VersionId"),
        is_latest=found.get("IsLatest"),
        is_marker=True,
    )


def _versions_of(page: Mapping[str, Any]) -> Iterator[S3Entry]:
    """Yield a page's versions and markers, which S3 tells apart, as one list in the order of their keys."""
    return heapq.merge(
        map(_entry, page.get("Versions", ())),
        map(_marker, page.get("DeleteMarkers", ())),
        key=lambda one: (
            one.key.encode("utf-8", "surrogatepass"),
            not one.is_latest,
            0.0 if one.last_modified is None else -one.last_modified.timestamp(),
        ),
    )


def _bare(etag: str | None) -> str | None:
    """Return an ETag without its quotes."""
    return None if etag is None else etag.removeprefix("W/").strip('"')


# -- one object -----------------------------------------------------------------------------------------------------


def status(client: Client, bucket: str, key: str, *, version_id: str | None = None, tags: bool = False) -> S3Status:
    """Return what S3 tells of an object; with `tags` also these, for one request more.

    Raises FarSideNotFoundError when it is not there.
    """
    one = {"Bucket": bucket, "Key": key, **({} if version_id is None else {"VersionId": version_id})}
    try:
        with far_side(address_of(bucket, key)):
            head = client.head_object(ChecksumMode="ENABLED", **one)
    except FarSideError as error:
        if error.status not in {400, 403}:
            raise
        # The reply to a HEAD has no body, and so no reason; that to a GET has.
        with far_side(address_of(bucket, key)):
            client.get_object(**one)["Body"].close()
        raise
    return S3Status(
        bucket,
        key,
        head["ContentLength"],
        head.get("LastModified"),
        _bare(head.get("ETag")),
        head.get("VersionId"),
        head.get("StorageClass", "STANDARD"),
        {
            name.removeprefix(_CHECKSUM): value
            for name, value in sorted(head.items())
            if name.startswith(_CHECKSUM) and name != "ChecksumType"
        },
        head.get("ChecksumType"),
        {name: _text(head[name]) for name in ATTRIBUTES if head.get(name)},
        dict(head.get("Metadata", {})),
        head.get("Restore"),
        head.get("ServerSideEncryption"),
        head.get("ReplicationStatus"),
        tags_of(client, bucket, key, version_id=version_id) if tags else None,
    )


def listed_status(bucket: str, entry: S3Entry) -> S3Status:
    """Return what a listing tells of an object: enough to copy it in one request, and nothing of what else it has."""
    return S3Status(
        bucket,
        entry.key,
        entry.size or 0,
        entry.last_modified,
        entry.etag,
        entry.version_id,
        entry.storage_class or "STANDARD",
        {},
        None,
        {},
        {},
        None,
        None,
        None,
    )


# Headers that S3 keeps with an object, by boto3's names.
ATTRIBUTES = ("ContentType", "ContentEncoding", "ContentLanguage", "ContentDisposition", "CacheControl", "Expires")


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def tags_of(client: Client, bucket: str, key: str, *, version_id: str | None = None) -> Mapping[str, str] | None:
    """Return an object's tags, None where whoever asks may not read them; a server that knows no tags has none."""
    asked = {} if version_id is None else {"VersionId": version_id}
    try:
        with far_side(address_of(bucket, key)):
            found = client.get_object_tagging(Bucket=bucket, Key=key, **asked).get("TagSet", ())
    except FarSideNotFoundError:
        raise
    except FarSideError as error:
        return {} if lacks(error) else None
    return {one["Key"]: one["Value"] for one in found}


# -- deletion -------------------------------------------------------------------------------------------------------


def delete(client: Client, bucket: str, names: Iterable[ObjectName]) -> Iterator[Deletion]:
    """Delete objects in batches of a thousand; yield what became of each batch before the next is sent.

    What was not there is deleted: S3 does not tell the difference. What an answer names neither as deleted nor as
    refused has failed: an answer may be a proxy's.
    """
    rest = iter(names)
    while batch := list(itertools.islice(rest, DELETED_AT_ONCE)):
        alone = [name for name in batch if _NOT_XML.search(name.key)]
        together = [name for name in batch if not _NOT_XML.search(name.key)]
        failed = _delete_together(client, bucket, together) if together else []
        failed += [failure for name in alone for failure in _delete_alone(client, bucket, name)]
        kept = {failure.name for failure in failed}
        yield Deletion([name for name in batch if name not in kept], failed)


def delete_one(client: Client, bucket: str, name: ObjectName) -> None:
    """Delete one object, or one version of it."""
    with far_side(address_of(bucket, name.key)):
        client.delete_object(Bucket=bucket, Key=name.key, **_version(name))


def _delete_together(client: Client, bucket: str, names: Sequence[ObjectName]) -> list[NotDeleted]:
    wanted = [{"Key": name.key, **_version(name)} for name in names]
    with far_side(address_of(bucket)):
        # Not quietly: an answer without a word is then not taken for one that has nothing to complain of.
        answer = client.delete_objects(Bucket=bucket, Delete={"Objects": wanted, "Quiet": False})
    left = dict.fromkeys(names)
    failed = []
    nameless = []
    for one in answer.get("Errors", ()):
        name = _named(one, left)
        if name is None:
            nameless.append(one)
            continue
        del left[name]
        failed.append(NotDeleted(name, one.get("Code", ""), one.get("Message", "")))
    for one in answer.get("Deleted", ()):
        name = _named(one, left)
        if name is not None:
            del left[name]
    for one in nameless:  # some servers name the key alone: it is what is left of it
        key = one.get("Key", "")
        name = next((name for name in left if name.key == key), ObjectName(key))
        left.pop(name, None)
        failed.append(NotDeleted(name, one.get("Code", ""), one.get("Message", "")))
    return [*failed, *(NotDeleted(name, "", "S3 does not say what became of it") for name in left)]


def _named(told: Mapping[str, Any], left: Container[ObjectName]) -> ObjectName | None:
    """Return which of those `left` an answer is about: by its version, by that of the mark it was, or by its key.

    Of a bucket that keeps no versions, some servers name the key alone of what was asked for as its version `null`.
    """
    versions = (told.get("VersionId") or None, told.get("DeleteMarkerVersionId") or None, None, "null")
    return next((name for one in versions if (name := ObjectName(told.get("Key", ""), one)) in left), None)


def _delete_alone(client: Client, bucket: str, name: ObjectName) -> list[NotDeleted]:
    try:
        client.delete_object(Bucket=bucket, Key=name.key, **_version(name))
    except client.exceptions.ClientError as error:
        failure = told(error, address_of(bucket, name.key))
        if not isinstance(failure, FarSideError):
            raise failure from error
        said = error.response.get("Error", {})
        return [NotDeleted(name, said.get("Code", ""), said.get("Message", ""))]
    return []


def _version(name: ObjectName) -> dict[str, str]:
    return {} if name.version_id is None else {"VersionId": name.version_id}


def lacks(error: FarSideError) -> bool:
    """Whether a server refuses because it has no such call: not all that speak S3 have all of it."""
    return error.code in _LACKING
