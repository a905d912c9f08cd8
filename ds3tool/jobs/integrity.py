"""Digests of blobs, before they are sent and as they come, of the type that the bucket's data policy demands."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum

from ds3tool.client import Ds3Client
from ds3tool.errors import ChecksumError, ForbiddenError, NotFoundError, ProtocolError, UsageError
from ds3tool.protocol import checksums, names
from ds3tool.protocol.checksums import ExpectedChecksum
from ds3tool.protocol.model import ChecksumType, DataPolicy, ObjectHead, Versioning


class ChecksumChoice(StrEnum):
    """What `--checksum` asks for: the data policy's type for the blobs, no digests at all, or one type by its name.

    A type that is named is one that the whole object shall have a digest of, beside what the policy demands of its
    blobs: unless their digests tell it (one blob of that type, CRCs, which combine), it goes into the metadata.
    """

    AUTO = "auto"
    NONE = "none"
    CRC32 = "crc32"
    CRC32C = "crc32c"
    MD5 = "md5"
    SHA256 = "sha256"
    SHA512 = "sha512"

    @property
    def type(self) -> ChecksumType | None:
        """The type that is named; None for the other two."""
        return _NAMED_TYPES.get(self)

    @property
    def of_whole(self) -> ChecksumType | None:
        """The type of the digest that whole objects are to have in their metadata; None when none is needed."""
        return self.type if self.type in checksums.METADATA_NAMES else None

    def check(self, policy: DataPolicy) -> None:
        """Raise UsageError when a bucket's data policy does not admit the choice."""
        if self.type is not None and self.of_whole is None and self.type != policy.checksum_type:
            raise UsageError(
                f"--checksum {self.value} asks for {self.type} digests, and the data policy {policy.name!r} demands "
                f"{policy.checksum_type}, which protects no less",
                hint="leave --checksum out; md5, sha256 or sha512 would be kept with each object, beside the policy's",
            )
        if self is ChecksumChoice.NONE and policy.end_to_end_crc_required:
            raise UsageError(
                f"the data policy {policy.name!r} refuses what comes without a digest, so --checksum none cannot be",
                hint="leave --checksum out",
            )


_NAMED_TYPES = {
    ChecksumChoice.CRC32: ChecksumType.CRC_32,
    ChecksumChoice.CRC32C: ChecksumType.CRC_32C,
    ChecksumChoice.MD5: ChecksumType.MD5,
    ChecksumChoice.SHA256: ChecksumType.SHA_256,
    ChecksumChoice.SHA512: ChecksumType.SHA_512,
}


def bucket_policy(client: Ds3Client, bucket: str) -> DataPolicy:
    """Return the data policy of `bucket`; NotFoundError when there is no such bucket.

    A user who may not read the policy gets the appliance's default of MD5, and as versioning the one that asks for
    the most care with what is there.
    """
    details = client.get_bucket(bucket)
    try:
        return client.get_data_policy(details.data_policy_id)
    except (ForbiddenError, NotFoundError):
        return DataPolicy(details.data_policy_id, "unknown", versioning=Versioning.KEEP_LATEST)


def digest_range(read: Callable[[int, int], bytes], offset: int, length: int, type_: ChecksumType) -> str:
    """Return the digest of `length` bytes from `offset`, in base64; `read(offset, length)` gives exact pieces."""
    from ds3tool.jobs.known_digests import READ_BYTES

    hasher = checksums.new_hasher(type_)
    done = 0
    while done < length:
        step = min(READ_BYTES, length - done)
        hasher.update(read(offset + done, step))
        done += step
    return checksums.to_base64(hasher.digest())


def md5_of_etag(etag: str | None) -> str | None:
    """Return the digest in base64 that an ETag has the look of; None for one of several blobs, or none at all."""
    if etag is None or re.fullmatch(r"[0-9a-fA-F]{32}", etag) is None:
        return None
    return checksums.to_base64(bytes.fromhex(etag))


def has_digests(head: ObjectHead, read: Callable[[int, int], bytes], size: int) -> bool | None:
    """Whether `size` bytes that `read(offset, length)` gives have the digests that are known of an object.

    Those of its blobs decide, else one of the whole in its metadata. None when there are none that cover all of it, so
    that nobody can tell. Where the appliance states none at all, an ETag that is the bytes' MD5 shows that they are the
    same; one that is not shows nothing, since it may be another thing that looks like an MD5.
    """
    from ds3tool.jobs.known_digests import Held, KnownDigests

    if head.size != size:
        return False
    held = KnownDigests.of_head(head).hold(read)
    if held is not Held.UNKNOWN or (head.checksum_type is not None and head.checksums):
        return None if held is Held.UNKNOWN else held is Held.SAME
    md5 = md5_of_etag(head.etag)
    return True if md5 is not None and digest_range(read, 0, size, ChecksumType.MD5) == md5 else None


def hashed(blocks: Iterable[bytes], *hashers: checksums.Hasher) -> Iterator[bytes]:
    """Yield `blocks` unchanged while each of `hashers` takes them."""
    for block in blocks:
        for hasher in hashers:
            hasher.update(block)
        yield block


def expected_checksum(headers: Mapping[str, str]) -> ExpectedChecksum | None:
    """Return the digest that a GET's reply states for its whole blob, None when the appliance states none.

    Raises ProtocolError when nothing shows that the reply is the appliance's: bytes of whoever else must not pass.
    """
    stated = checksums.from_headers(headers)
    if stated is not None:
        return ExpectedChecksum(*stated)
    if not headers.get(names.REQUEST_ID):
        raise ProtocolError(
            "the answer to a GET does not come from the appliance",
            hint="something that stands between answers in its place: a proxy, a login page?",
        )
    return None


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


def compare_sent(key: str, offset: int, *, expected: str, actual: str | None) -> None:
    """Raise ChecksumError unless the appliance has received a blob with our digest; `actual` None: it does not say."""
    if expected != actual:
        raise ChecksumError(
            f"{key}: the blob at {offset} arrived damaged: its digest is {actual or 'another'}, not {expected}",
            key=key,
            offset=offset,
            expected=expected,
            actual=actual or "",
            hint="put it again; if it arrives damaged again, suspect the network or this host's memory",
        )


def check_length(key: str, *, came: int, length: int) -> None:
    """Raise ProtocolError unless a blob's body is as long as the blob."""
    if came != length:
        raise ProtocolError(f"{key}: the appliance sent {came} bytes for a blob of {length}")
