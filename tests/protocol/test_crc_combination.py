"""The CRC of a whole from the CRCs of its parts is the CRC of its bytes."""

from __future__ import annotations

import itertools
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds3tool.errors import UsageError
from ds3tool.protocol.checksums import digest_of
from ds3tool.protocol.crc_combination import COMBINABLE, combined
from ds3tool.protocol.model import ChecksumType

CRCS = st.sampled_from(sorted(COMBINABLE))


@given(CRCS, st.binary(max_size=3000), st.lists(st.integers(0, 3000), max_size=8))
def test_the_crc_of_the_whole_comes_of_any_split(kind: ChecksumType, data: bytes, cuts: list[int]) -> None:
    """However bytes are cut, into empty parts too, their parts' CRCs make the CRC that the bytes have."""
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    parts = [data[start:end] for start, end in itertools.pairwise(bounds)]
    assert combined(kind, [(digest_of(kind, part), len(part)) for part in parts]) == digest_of(kind, data)


@given(CRCS, st.binary(min_size=1, max_size=500), st.data())
def test_parts_in_another_order_or_of_another_length_are_seen(
    kind: ChecksumType, data: bytes, drawn: st.DataObject
) -> None:
    """A part that is one byte longer than was said, even by a zero, changes the CRC of the whole."""
    cut = drawn.draw(st.integers(0, len(data)))
    first, second = data[:cut] + b"\1", data[cut:]
    parts = [(digest_of(kind, first), len(first)), (digest_of(kind, second), len(second) + 1)]
    assert combined(kind, parts) != digest_of(kind, first + second)


@pytest.mark.parametrize("kind", sorted(COMBINABLE))
def test_blobs_of_terabytes_combine(kind: ChecksumType) -> None:
    """Zeros, doubled from 1 MiB up to 16 TiB, have the CRC that the same zeros have when they are cut unevenly."""
    rows = {20: digest_of(kind, bytes(1 << 20))}
    for power in range(20, 44):
        rows[power + 1] = combined(kind, [(rows[power], 1 << power)] * 2)
    assert rows[24] == digest_of(kind, bytes(1 << 24))
    uneven = [(rows[20], 1 << 20), *((rows[power], 1 << power) for power in range(20, 44))]
    assert combined(kind, uneven) == combined(kind, uneven[::-1]) == rows[44]


def test_a_published_crc_32_combines() -> None:
    """The check value of `123456789` comes of its two halves, as zlib has them."""
    halves = [(zlib.crc32(half).to_bytes(4, "big"), len(half)) for half in (b"1234", b"56789")]
    assert combined(ChecksumType.CRC_32, halves) == bytes.fromhex("cbf43926")
    assert combined(ChecksumType.CRC_32, []) == bytes(4)


@pytest.mark.parametrize("kind", sorted(set(ChecksumType) - COMBINABLE))
def test_other_digests_do_not_combine(kind: ChecksumType) -> None:
    """Of the parts of an MD5 or a SHA nobody can make that of the whole, so it is refused."""
    with pytest.raises(UsageError, match="cannot be combined"):
        combined(kind, [(b"1234", 4)])
