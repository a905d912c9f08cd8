"""One object into a file and out of one, by boto3's own transfer: in parts where it is large, in parallel."""

from __future__ import annotations

import hashlib
import io
import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

from ds3tool.aws.failures import check_named, far_side, told
from ds3tool.aws.s3_copies import upload_in_parts
from ds3tool.aws.s3_objects import Client, S3Status, address_of
from ds3tool.errors import ChecksumError, FarSideUnreachableError, SinkError, SourceError

# The most parts that an upload has. Source: S3 API reference. A stream, whose length nobody knows, has so 320 GiB.
_MOST_PARTS = 10_000
_STREAM_PART = 32 * 1024**2
_PART = 16 * 1024**2
_PARTS_AT_ONCE = 4
_BLOCK = 1024**2
_MD5 = re.compile(r"[0-9a-f]{32}")
_TYPE = "ChecksumType"
# How the bytes lie in S3 where an ETag is still the MD5 of what was put.
_PLAIN = (None, "AES256")


def upload(client: Client, file: BinaryIO, bucket: str, key: str, *, described: Mapping[str, Any]) -> int:
    """Put what a file or a stream holds into one object; return its bytes. Memory: some parts.

    `described` is what boto3 is told of the object, as `ContentType`. All is read in the caller's thread, so that an
    interruption ends it although nothing comes: boto3's own transfer would wait for that for ever. An upload that does
    not come to its end is aborted. Raises a Ds3Error; SourceError for a file that has changed while it was read.
    """
    before = _state(file)
    parts = _Parts(file, _STREAM_PART if before is None else max(_PART, -(-before[0] // _MOST_PARTS)))
    first = parts.read()
    with _transferred(address_of(bucket, key)):
        if len(first) < parts.size:
            answer = client.put_object(Bucket=bucket, Key=key, Body=first, **described)
            check_named(answer, address_of(bucket, key))
            size = len(first)
        else:
            with upload_in_parts(client, bucket, key, described) as named:
                size = _send(client, named, first, parts)
    if before is not None and (_state(file) != before or size != before[0]):
        raise SourceError(
            f"{file.name} changed while it was read, so what is in S3 may be a mixture", hint="copy it again"
        )
    return size


class _Parts:
    """What a file or a stream holds, in parts of `size` bytes."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.size = size

    def read(self) -> bytes:
        """Return the next part: as many bytes as one has, fewer only at the end, and then none."""
        blocks, left = [], self.size
        while left and (block := self._file.read(min(left, _BLOCK))):
            blocks.append(block)
            left -= len(block)
        return b"".join(blocks)


def _send(client: Client, named: Mapping[str, str], first: bytes, parts: _Parts) -> int:
    """Send parts, some at once, and complete their upload; return the bytes of all."""

    def send(number: int, data: bytes) -> dict[str, Any]:
        reply = client.upload_part(**named, PartNumber=number, Body=data)
        checksums = {name: value for name, value in reply.items() if name.startswith("Checksum") and name != _TYPE}
        return {"PartNumber": number, "ETag": reply["ETag"], **checksums}

    size, data, sent = 0, first, list[Future[dict[str, Any]]]()
    pool = ThreadPoolExecutor(_PARTS_AT_ONCE, thread_name_prefix="s3-upload")
    try:
        while data:
            if len(sent) == _MOST_PARTS:
                raise SinkError(f"a stream of more than {size:,} bytes does not fit into the parts of an upload")
            size += len(data)
            sent.append(pool.submit(send, len(sent) + 1, data))
            if len(sent) >= _PARTS_AT_ONCE:
                sent[-_PARTS_AT_ONCE].result()
            data = parts.read()
        done = [one.result() for one in sent]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    answer = client.complete_multipart_upload(**named, MultipartUpload={"Parts": done})
    check_named(answer, address_of(named["Bucket"], named["Key"]))
    return size


def _state(file: BinaryIO) -> tuple[int, int, int] | None:
    """Return what a changed file has otherwise; None of a stream."""
    try:
        found = os.fstat(file.fileno())
    except io.UnsupportedOperation:
        return None
    return (found.st_size, found.st_mtime_ns, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def download(client: Client, source: S3Status, path: str) -> None:
    """Get an object into a file, which appears whole under its name or not at all; one that is there is replaced.

    Its time is then the object's. Raises a Ds3Error: ChecksumError for bytes that S3 does not vouch for, SinkError
    where the file cannot be written.
    """
    folder = os.path.dirname(path) or "."
    part = os.path.join(folder, f".ds3tool-{secrets.token_hex(8)}.part")
    try:
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise SinkError(f"{path} cannot be written: {error.strerror}") from error
    try:
        with open(descriptor, "w+b") as file:
            _fetch(client, source, file)
            file.flush()
            os.fsync(file.fileno())
            if source.last_modified is not None:
                seconds = source.last_modified.timestamp()
                os.utime(part, (seconds, seconds))
        os.replace(part, path)
        _sync_folder(folder)
    except OSError as error:
        raise SinkError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(FileNotFoundError):
            os.unlink(part)


def _fetch(client: Client, source: S3Status, file: BinaryIO) -> None:
    place = address_of(source.bucket, source.key)
    with _transferred(place):
        client.download_fileobj(source.bucket, source.key, file, ExtraArgs=_version(source))
    size = file.seek(0, os.SEEK_END)
    if size != source.size:
        raise SourceError(f"{place} has changed: {size} bytes came, and it had {source.size}", hint="get it again")
    if source.etag is None or not _MD5.fullmatch(source.etag) or source.encryption not in _PLAIN:
        return
    file.seek(0)
    digest = hashlib.md5(usedforsecurity=False)
    while block := file.read(_BLOCK):
        digest.update(block)
    if digest.hexdigest() != source.etag:
        raise ChecksumError(
            f"{place}: the MD5 of what came is {digest.hexdigest()}, and that of the object {source.etag}",
            key=source.key,
            offset=0,
            expected=source.etag,
            actual=digest.hexdigest(),
            hint="it may have changed meanwhile; get it again",
        )


def blocks(client: Client, source: S3Status) -> Iterator[bytes]:
    """Yield an object's bytes in their order; the one that `source` tells of, or a Ds3Error."""
    pinned: dict[str, Any] = _version(source)
    if source.etag is not None:
        pinned["IfMatch"] = f'"{source.etag}"'
    with _transferred(address_of(source.bucket, source.key)):
        body = client.get_object(Bucket=source.bucket, Key=source.key, **pinned)["Body"]
        with body:
            while block := body.read(_BLOCK):
                yield block


def _version(source: S3Status) -> dict[str, str]:
    return {} if source.version_id in (None, "null") else {"VersionId": str(source.version_id)}


@contextmanager
def _transferred(what: str) -> Iterator[None]:
    """Let what boto3's transfers raise come out as a Ds3Error of `what`."""
    import boto3.exceptions
    import botocore.exceptions
    import s3transfer.exceptions

    damaged = (botocore.exceptions.FlexibleChecksumError, s3transfer.exceptions.S3ValidationError)
    try:
        with far_side(what):
            try:
                yield
            except damaged as error:
                raise ChecksumError(f"{what}: {error}", key=what, offset=0, expected="", actual="") from error
    except (boto3.exceptions.RetriesExceededError, s3transfer.exceptions.RetriesExceededError) as error:
        last = error.last_exception
        raise FarSideUnreachableError(f"{what}: {last}") if isinstance(last, OSError) else told(last, what) from error
    except (boto3.exceptions.Boto3Error, s3transfer.exceptions.S3DownloadFailedError) as error:
        raise SourceError(f"{what}: {error}", hint="it may have changed meanwhile; copy it again") from error


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
