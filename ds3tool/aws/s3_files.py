"""One object into a file and out of one, by boto3's own transfer: in parts where it is large, in parallel."""

from __future__ import annotations

import hashlib
import io
import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

from ds3tool.aws.failures import far_side, told
from ds3tool.aws.s3_objects import Client, S3Status, address_of
from ds3tool.errors import ChecksumError, FarSideUnreachableError, SinkError, SourceError

# Parts of what comes as a stream, of unknown size: an upload has at most 10,000, and so 320 GiB. Memory: 4 of them.
_STREAM_PART = 32 * 1024**2
_STREAM_PARTS_HELD = 4
STREAM_MOST = 10_000 * _STREAM_PART
_BLOCK = 1024**2
_MD5 = re.compile(r"[0-9a-f]{32}")
# How the bytes lie in S3 where an ETag is still the MD5 of what was put.
_PLAIN = (None, "AES256")


def upload(client: Client, file: BinaryIO, bucket: str, key: str, *, described: Mapping[str, Any]) -> None:
    """Put what a file or a stream holds into one object; `described` is what boto3 is told of it, as `ContentType`.

    An upload that does not come to its end is aborted. Raises a Ds3Error; SourceError for a file that has changed
    while it was read.
    """
    from boto3.s3.transfer import TransferConfig

    config = TransferConfig()
    if not file.seekable():
        config = TransferConfig(multipart_chunksize=_STREAM_PART, multipart_threshold=_STREAM_PART)
        config.max_in_memory_upload_chunks = _STREAM_PARTS_HELD
    before = _state(file)
    with _transferred(address_of(bucket, key)), _own(file) as own:
        client.upload_fileobj(own, bucket, key, ExtraArgs=dict(described), Config=config)
    if before is not None and _state(file) != before:
        raise SourceError(
            f"{getattr(file, 'name', 'the file')} changed while it was read, so what is in S3 may be a mixture",
            hint="copy it again",
        )


@contextmanager
def _own(file: BinaryIO) -> Iterator[BinaryIO]:
    """Give the same file for boto3, which closes what it is given, or does not."""
    try:
        descriptor = os.dup(file.fileno())
    except io.UnsupportedOperation:  # it lies in memory
        yield file
        return
    with open(descriptor, "rb") as own:
        yield own


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
