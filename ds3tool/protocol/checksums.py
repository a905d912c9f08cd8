"""Digests of the five kinds a data policy can ask for, and the headers they travel in."""

from __future__ import annotations

import binascii
import contextlib
import hashlib
import re
import zlib
from collections.abc import Callable, Mapping
from typing import Protocol

from ds3tool.errors import UsageError
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import ChecksumType

HEADER_NAMES: dict[ChecksumType, str] = {
    ChecksumType.MD5: "Content-MD5",
    ChecksumType.CRC_32: "Content-CRC32",
    ChecksumType.CRC_32C: "Content-CRC32C",
    ChecksumType.SHA_256: "Content-SHA256",
    ChecksumType.SHA_512: "Content-SHA512",
}
# What the digest of a whole object is called among its metadata, where one was asked for that its blobs' digests do
# not tell; the value is lower-case hexadecimal, as sha256sum and its like print it. CRCs need none: they combine.
METADATA_NAMES: dict[ChecksumType, str] = {
    ChecksumType.MD5: "ds3tool-md5",
    ChecksumType.SHA_256: "ds3tool-sha256",
    ChecksumType.SHA_512: "ds3tool-sha512",
}
_CRC_BYTES = 4
_DIGEST_BYTES = {
    ChecksumType.CRC_32: _CRC_BYTES,
    ChecksumType.CRC_32C: _CRC_BYTES,
    ChecksumType.MD5: 16,
    ChecksumType.SHA_256: 32,
    ChecksumType.SHA_512: 64,
}

# From here on it is worth importing awscrt for CRC-32C, beside google_crc32c. Source: measured; that costs some 60 ms
# more, and saves as much with each GiB of large blocks.
_MUCH_BYTES = 512 * 1024 * 1024

_HASHLIB_NAMES = {ChecksumType.MD5: "md5", ChecksumType.SHA_256: "sha256", ChecksumType.SHA_512: "sha512"}


class Hasher(Protocol):
    """Takes bytes in order; `digest` may be asked for at any time and changes nothing."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take more bytes."""
        ...

    def digest(self) -> bytes:
        """Return the digest of all bytes so far; a CRC is 4 bytes, most significant first."""
        ...


class _Crc32:
    __slots__ = ("_crc",)

    def __init__(self) -> None:
        self._crc = 0

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        self._crc = zlib.crc32(data, self._crc)

    def digest(self) -> bytes:
        return self._crc.to_bytes(_CRC_BYTES, "big")


class _Crc32cLibraries:
    """CRC-32C by the library that is soon at hand, and once much was digested by the one that is quick."""

    def __init__(self) -> None:
        self._seen = 0
        self._may_import = True
        self._quick: Callable[[bytes | bytearray | memoryview, int], int] | None = None
        self._soon: Callable[[int, bytes], int] | None = None

    def extend(self, crc: int, data: bytes | bytearray | memoryview) -> int:
        """Return the CRC of what had `crc` with `data` behind it. Several threads may ask."""
        if self._quick is not None:
            return self._quick(data, crc)
        self._seen += len(data)  # two threads may lose a block of this, which is no harm
        if self._seen > _MUCH_BYTES and self._may_import:
            self._may_import = False
            with contextlib.suppress(ImportError, OSError):  # the other one is as right, and too many files may be open
                from awscrt.checksums import crc32c

                self._quick = crc32c
        if self._soon is None:
            from google_crc32c import extend

            self._soon = extend
        # It takes bytes only; any other buffer has to be copied.
        return self._soon(crc, data if isinstance(data, bytes) else bytes(data))


_crc32c = _Crc32cLibraries()


class _Crc32c:
    __slots__ = ("_crc", "_extend")

    def __init__(self) -> None:
        self._extend = _crc32c.extend
        self._crc = 0

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        self._crc = self._extend(self._crc, data)

    def digest(self) -> bytes:
        return self._crc.to_bytes(_CRC_BYTES, "big")


def new_hasher(kind: ChecksumType) -> Hasher:
    """Return a hasher that has seen no bytes; UsageError for a kind this program does not know."""
    if kind is ChecksumType.CRC_32C:
        return _Crc32c()
    if kind is ChecksumType.CRC_32:
        return _Crc32()
    name = _HASHLIB_NAMES.get(kind)
    if name is None:
        raise UsageError(
            f"the data policy asks for checksums of type {kind}, which this program cannot compute",
            hint=f"known types are {', '.join(ChecksumType.__members__)}; change the data policy or update ds3tool",
        )
    # MD5 guards against accidents here, not against people: FIPS builds of OpenSSL need to be told.
    return hashlib.new(name, usedforsecurity=False)


def digester(kind: ChecksumType) -> Callable[[bytes], str]:
    """Return what makes digests of small things by the thousand, in base64 as headers carry them.

    UsageError for a kind this program does not know.
    """
    new_hasher(kind)
    to_text = binascii.b2a_base64
    if kind is ChecksumType.CRC_32C:
        from google_crc32c import value

        return lambda data: to_text(value(data).to_bytes(_CRC_BYTES, "big"), newline=False).decode()
    if kind is ChecksumType.CRC_32:
        crc32 = zlib.crc32
        return lambda data: to_text(crc32(data).to_bytes(_CRC_BYTES, "big"), newline=False).decode()
    # Copying what has seen nothing yet is quicker than to look the digest up by its name.
    fresh = hashlib.new(_HASHLIB_NAMES[kind], usedforsecurity=False)

    def digest(data: bytes) -> str:
        hasher = fresh.copy()
        hasher.update(data)
        return to_text(hasher.digest(), newline=False).decode()

    return digest


def digest_of(kind: ChecksumType, data: bytes | bytearray | memoryview) -> bytes:
    """Return the digest of `data`."""
    hasher = new_hasher(kind)
    hasher.update(data)
    return hasher.digest()


def to_base64(digest: bytes) -> str:
    """Return a digest as headers carry it."""
    return binascii.b2a_base64(digest, newline=False).decode()


def from_base64(kind: ChecksumType, text: str) -> bytes | None:
    """Return the digest that a header carries; None for what is no digest of `kind`."""
    try:
        digest = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (UnicodeEncodeError, binascii.Error):
        return None
    return digest if len(digest) == _DIGEST_BYTES.get(kind) else None


def to_metadata(kind: ChecksumType, text: str) -> dict[str, str]:
    """Return the metadata that say that the whole object has this digest (base64); of a kind in METADATA_NAMES."""
    return {METADATA_NAMES[kind]: binascii.a2b_base64(text).hex()}


def from_metadata(metadata: Mapping[str, str]) -> dict[ChecksumType, str]:
    """Return the digests (base64) that an object's metadata state of the whole of it; what is malformed is left out.

    Names of `metadata` in lower case, as the appliance gives them back.
    """
    found = {}
    for kind, name in METADATA_NAMES.items():
        value = metadata.get(name, "")
        if re.fullmatch(f"[0-9a-fA-F]{{{2 * _DIGEST_BYTES[kind]}}}", value):
            found[kind] = to_base64(bytes.fromhex(value))
    return found


def header_name(kind: ChecksumType) -> str:
    """Return the header a digest of `kind` travels in; UsageError for a kind this program does not know."""
    name = HEADER_NAMES.get(kind)
    if name is None:
        new_hasher(kind)  # raises, and says it well
        raise AssertionError(kind)
    return name


def from_headers(headers: Mapping[str, str]) -> tuple[ChecksumType, str] | None:
    """Return kind and digest (base64) of the checksum header in a reply's headers, or None when there is none.

    `headers` must look names up without regard to case, as `messages.Headers` does.
    """
    for kind, name in HEADER_NAMES.items():
        value = headers.get(name)
        if value:
            return kind, value.strip()
    return None


@dataclass(frozen=True, slots=True)
class ExpectedChecksum:
    """The digest that a blob's bytes must have, in base64."""

    type: ChecksumType
    value: str
