"""Digests of the five kinds a data policy may ask for, computed while bytes pass."""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Mapping
from typing import Protocol

import google_crc32c

from ds3tool.protocol.model import ChecksumType
from ds3tool.simulator.wire.refusals import bad_request

HEADERS: Mapping[ChecksumType, str] = {
    ChecksumType.CRC_32: "Content-CRC32",
    ChecksumType.CRC_32C: "Content-CRC32C",
    ChecksumType.MD5: "Content-MD5",
    ChecksumType.SHA_256: "Content-SHA256",
    ChecksumType.SHA_512: "Content-SHA512",
}
_BY_HEADER = {name.lower(): kind for kind, name in HEADERS.items()}
_LENGTHS = {
    ChecksumType.CRC_32: 4,
    ChecksumType.CRC_32C: 4,
    ChecksumType.MD5: 16,
    ChecksumType.SHA_256: 32,
    ChecksumType.SHA_512: 64,
}
# These cost next to nothing beside the copy, so they are computed in the receiving thread.
CHEAP = frozenset({ChecksumType.CRC_32, ChecksumType.CRC_32C})


class Digester(Protocol):
    """Takes bytes in order and tells their digest."""

    def update(self, data: bytes, /) -> None:
        """Take the next bytes."""
        ...

    def digest(self) -> bytes:
        """Return the raw digest of all bytes so far; of a CRC, four bytes, most significant first."""
        ...


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


class _Crc32c:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = google_crc32c.extend(self._value, data)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


def digester(kind: ChecksumType) -> Digester:
    """Return a fresh digester of `kind`, one of the five."""
    if kind is ChecksumType.CRC_32:
        return _Crc32()
    if kind is ChecksumType.CRC_32C:
        return _Crc32c()
    if kind is ChecksumType.MD5:
        return hashlib.md5(usedforsecurity=False)
    return hashlib.sha256() if kind is ChecksumType.SHA_256 else hashlib.sha512()


def to_text(digest: bytes) -> str:
    """Return a raw digest as the wire has it, in base64."""
    return base64.b64encode(digest).decode("ascii")


def from_headers(headers: Mapping[str, str]) -> tuple[ChecksumType, bytes] | None:
    """Return the one checksum among a request's headers (names in lower case), or None.

    Raises a 400 for two of them, or one that is no base64 of the right length.
    """
    found = [(kind, headers[name]) for name, kind in _BY_HEADER.items() if name in headers]
    if not found:
        return None
    if len(found) > 1:
        raise bad_request("Only one checksum header is allowed in a request.")
    kind, text = found[0]
    try:
        digest = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != _LENGTHS[kind]:
        raise bad_request(
            f"{HEADERS[kind]}: '{text}' is not the base64 text of {_LENGTHS[kind]} bytes.", "InvalidDigest"
        )
    return kind, digest


def checksum_texts(headers: Mapping[str, str]) -> list[str]:
    """Return the raw text of every checksum header among `headers` (names in lower case), for the signature."""
    return [headers[name] for name in _BY_HEADER if name in headers]


def etag(digests: list[bytes]) -> str:
    """Return an object's ETag, without quotes, from its blobs' raw digests in order of offset.

    One blob: its digest in hex. Several: the MD5 of the joined digests, a dash, and their number, as S3 does for
    parts; how the appliance derives it is not public. Source: protocol, 7.7.
    """
    return digests[0].hex() if len(digests) == 1 else etag_of_parts(digests)


def etag_of_parts(digests: list[bytes]) -> str:
    """Return the ETag, without quotes, of what is made of parts, or of one part, with these raw digests."""
    joined = hashlib.md5(b"".join(digests), usedforsecurity=False).hexdigest()
    return f"{joined}-{len(digests)}"
