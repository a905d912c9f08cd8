"""Copies inside S3, which no byte of leaves it: one request for most objects, parts above 5 GiB."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

from ds3tool.aws.failures import check_named, far_side
from ds3tool.aws.s3_objects import ATTRIBUTES, Client, S3Status, address_of, tags_of
from ds3tool.errors import Ds3Error, FarSideError, SinkError

_log = logging.getLogger(__name__)

# The most that one CopyObject takes, and the most parts that an upload has. Source: S3 API reference.
MOST_AT_ONCE = 5 * 1024**3
_MOST_PARTS = 10_000
_PART_SIZE = 512 * 1024**2
_PARTS_AT_ONCE = 8
_MIB = 1024**2


def copy(
    client: Client,
    source: S3Status,
    bucket: str,
    key: str,
    *,
    storage_class: str | None = None,
    most_at_once: int = MOST_AT_ONCE,
    part_size: int = _PART_SIZE,
) -> None:
    """Copy an object inside S3 with its attributes, metadata and tags; the client must be the target's.

    What is copied is the very object that `source` tells of: one that has changed since is refused. More than
    `most_at_once` bytes go in parts of at least `part_size`, and an upload that does not come to its end is aborted.
    Raises a Ds3Error; SinkError when what came of it is not as large, or has not the digest, that it should have.
    """
    if source.size <= most_at_once:
        extra = {} if storage_class is None else {"StorageClass": storage_class}
        with far_side(f"{address_of(source.bucket, source.key)} to {address_of(bucket, key)}"):
            answer = client.copy_object(Bucket=bucket, Key=key, **_pinned(source), **extra)
        check_named(answer.get("CopyObjectResult", {}), address_of(bucket, key))
        return
    _copy_in_parts(client, source, bucket, key, storage_class=storage_class, part_size=part_size)


def _pinned(source: S3Status) -> dict[str, Any]:
    """Return what names the object that is copied, so that no other of its name is."""
    what = {"Bucket": source.bucket, "Key": source.key}
    if source.version_id not in (None, "null"):
        what["VersionId"] = str(source.version_id)
    pinned: dict[str, Any] = {"CopySource": what}
    if source.etag is not None:
        pinned["CopySourceIfMatch"] = f'"{source.etag}"'
    return pinned


def _copy_in_parts(
    client: Client, source: S3Status, bucket: str, key: str, *, storage_class: str | None, part_size: int
) -> None:
    target = address_of(bucket, key)
    size = max(part_size, -(-source.size // _MOST_PARTS // _MIB) * _MIB)
    with far_side(target), upload_in_parts(client, bucket, key, _described(client, source, storage_class)) as upload:
        pool = ThreadPoolExecutor(_PARTS_AT_ONCE, thread_name_prefix="s3-copy")
        try:
            parts = list(
                pool.map(
                    lambda number: _part(client, source, upload, number, size),
                    range(1, -(-source.size // size) + 1),
                )
            )
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        made = client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    _check(client, source, bucket, key, made)


def _described(client: Client, source: S3Status, storage_class: str | None) -> dict[str, Any]:
    """Return what an upload must be told to make an object like the source: of a copy in parts, S3 takes nothing over.

    Raises a Ds3Error where the source's tags may not be read: they would be lost.
    """
    described: dict[str, Any] = {name: value for name, value in source.attributes.items() if name in ATTRIBUTES}
    described["Metadata"] = dict(source.metadata)
    tags = source.tags
    if tags is None:
        tags = tags_of(client, source.bucket, source.key, version_id=source.version_id)
    if tags is None:
        raise FarSideError(
            f"{address_of(source.bucket, source.key)}: its tags cannot be read, and a copy in parts would lose them",
            hint="whoever copies needs s3:GetObjectTagging",
        )
    if tags:
        described["Tagging"] = urlencode(tags)
    if storage_class is not None:
        described["StorageClass"] = storage_class
    if source.checksum_type == "FULL_OBJECT" and source.checksums:
        described["ChecksumAlgorithm"] = next(iter(source.checksums))
        described["ChecksumType"] = "FULL_OBJECT"
    return described


@contextmanager
def upload_in_parts(client: Client, bucket: str, key: str, described: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Begin an upload in parts, which the body completes, and abort it unless that comes to its end.

    Gives what each call that concerns the upload must be told. One that cannot be aborted is warned of.
    """
    upload_id = client.create_multipart_upload(Bucket=bucket, Key=key, **described)["UploadId"]
    upload = {"Bucket": bucket, "Key": key, "UploadId": upload_id}
    try:
        yield upload
    except BaseException:
        try:
            with far_side(address_of(bucket, key)):
                client.abort_multipart_upload(**upload)
        except Ds3Error as left:
            _log.warning("the unfinished upload %s is left: %s", upload_id, left.message)
        raise


def _part(client: Client, source: S3Status, upload: Mapping[str, str], number: int, size: int) -> dict[str, Any]:
    first = (number - 1) * size
    last = min(first + size, source.size) - 1
    answer = client.upload_part_copy(
        **upload, **_pinned(source), PartNumber=number, CopySourceRange=f"bytes={first}-{last}"
    )["CopyPartResult"]
    checksums = {name: answer[name] for name in map("Checksum{}".format, source.checksums) if answer.get(name)}
    return {"PartNumber": number, "ETag": answer["ETag"], **checksums}


def _check(client: Client, source: S3Status, bucket: str, key: str, made: Mapping[str, Any]) -> None:
    """See that the copy is what it should be, as far as S3 tells."""
    target = address_of(bucket, key)
    with far_side(target):
        size = client.head_object(Bucket=bucket, Key=key)["ContentLength"]
    if size != source.size:
        raise SinkError(f"{target}: the copy has {size} bytes, and what was copied has {source.size}")
    if source.checksum_type != "FULL_OBJECT" or made.get("ChecksumType") != "FULL_OBJECT":
        return
    for kind, expected in source.checksums.items():
        found = made.get(f"Checksum{kind}", expected)
        if found != expected:
            raise SinkError(f"{target}: the copy's {kind} is {found}, and that of what was copied {expected}")
