"""Digests of blobs, before they are sent and as they come, of the type that the bucket's data policy demands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from ds3tool.client import Ds3Client
from ds3tool.errors import AccessDeniedError, ChecksumError, NotFoundError
from ds3tool.jobs.ends import ExpectedChecksum
from ds3tool.protocol import checksums
from ds3tool.protocol.model import ChecksumType, DataPolicy

READ_BYTES = 1024 * 1024


def bucket_policy(client: Ds3Client, bucket: str) -> DataPolicy:
    """Return the data policy of `bucket`; NotFoundError when there is no such bucket.

    A user who may not read the policy gets the appliance's defaults: MD5, no versions.
    """
    details = client.get_bucket(bucket)
    try:
        return client.get_data_policy(details.data_policy_id)
    except (AccessDeniedError, NotFoundError):
        return DataPolicy(details.data_policy_id, "unknown")


def digest_range(read: Callable[[int, int], bytes], offset: int, length: int, type_: ChecksumType) -> str:
    """Return the digest of `length` bytes from `offset`, in base64; `read(offset, length)` gives exact pieces."""
    hasher = checksums.new_hasher(type_)
    done = 0
    while done < length:
        step = min(READ_BYTES, length - done)
        hasher.update(read(offset + done, step))
        done += step
    return checksums.to_base64(hasher.digest())


def hashed(blocks: Iterable[bytes], hasher: checksums.Hasher) -> Iterator[bytes]:
    """Yield `blocks` unchanged while `hasher` takes them."""
    for block in blocks:
        hasher.update(block)
        yield block


def expected_checksum(headers: Mapping[str, str]) -> ExpectedChecksum | None:
    """Return the digest that a GET's reply states for its whole blob, None when it states none."""
    stated = checksums.from_headers(headers)
    return None if stated is None else ExpectedChecksum(*stated)


def compare(key: str, offset: int, *, expected: str, actual: str) -> None:
    """Raise ChecksumError unless the two digests are the same."""
    if expected != actual:
        raise ChecksumError(
            f"{key}: the blob at {offset} came damaged: its digest is {actual}, not {expected}",
            key=key,
            offset=offset,
            expected=expected,
            actual=actual,
            hint="get it again; if it comes damaged again, the copy on the appliance is suspect",
        )
