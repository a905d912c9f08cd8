"""The CRC of bytes in a row from the CRCs of the parts: of a whole object from those of its blobs.

A CRC is a remainder of polynomials over GF(2). Bytes that follow multiply what came before by a power of x, so the
remainder of the whole needs nothing but the parts' remainders and lengths. Source: RFC 3720 and the gzip file format
(RFC 1952) for the polynomials and the bit order; the arithmetic is that of zlib's `crc32_combine`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

from ds3tool.errors import UsageError
from ds3tool.protocol.model import ChecksumType

# In reflected bit order: the highest bit is the coefficient of x to the 0.
_POLYNOMIALS = {ChecksumType.CRC_32: 0xEDB88320, ChecksumType.CRC_32C: 0x82F63B78}
# Of 64 bits; S3 gives it to objects of which the writer chose nothing. Source: the NVM Express command set.
_NVME = 0x9A6C_9329_AC4B_C9B5

COMBINABLE = frozenset(_POLYNOMIALS)


def combined(kind: ChecksumType, parts: Iterable[tuple[bytes, int]]) -> bytes:
    """Return the CRC of bytes of which `parts` are, in their order, digest (4 bytes) and length in bytes.

    Of no parts it is that of no bytes. UsageError for a kind whose digests cannot be combined.
    """
    polynomial = _POLYNOMIALS.get(kind)
    if polynomial is None:
        raise UsageError(f"digests of type {kind} cannot be combined: only CRCs can")
    return _combined(parts, polynomial, 32)


def combined_crc64nvme(parts: Iterable[tuple[bytes, int]]) -> bytes:
    """Return the CRC64NVME of bytes of which `parts` are, in their order, digest (8 bytes) and length in bytes."""
    return _combined(parts, _NVME, 64)


def _combined(parts: Iterable[tuple[bytes, int]], polynomial: int, bits: int) -> bytes:
    whole = 0
    for digest, length in parts:
        shift = _power_of_x(length, polynomial, bits)
        whole = _product(whole, shift, polynomial, bits) ^ int.from_bytes(digest, "big")
    return whole.to_bytes(bits // 8, "big")


@functools.lru_cache(maxsize=256)
def _power_of_x(length: int, polynomial: int, bits: int) -> int:
    """Return x to the power of the bits in `length` bytes, modulo the polynomial; blobs have few different lengths."""
    one = 1 << (bits - 1)
    power, square = one, one >> 8
    while length:
        if length & 1:
            power = _product(power, square, polynomial, bits)
        square = _product(square, square, polynomial, bits)
        length >>= 1
    return power


def _product(one: int, other: int, polynomial: int, bits: int) -> int:
    """Return the product of two remainders, modulo the polynomial."""
    product = 0
    mask = (1 << bits) - 1
    while one:
        if one >> (bits - 1):
            product ^= other
        one = one << 1 & mask
        other = other >> 1 ^ (polynomial if other & 1 else 0)
    return product
