"""Samples: bytes that a seed and a key tell, held against what comes back."""

from __future__ import annotations

import pytest

from ds3tool.certification.samples import Sample, SampleBody
from ds3tool.errors import ChecksumError, SourceError
from tests.certification.conftest import KIB

MIB = 1024 * KIB


def test_any_range_is_that_part_of_the_whole() -> None:
    """However it is cut, also over the seams of its blocks and beyond its end."""
    sample = Sample("a", 3 * MIB + 17)
    whole = sample.read(0, sample.size)
    assert len(whole) == sample.size
    for offset, length in ((0, 1), (MIB - 5, 10), (2 * MIB, MIB), (3 * MIB, 99), (1, 3 * MIB)):
        assert sample.read(offset, length) == whole[offset : offset + length]
    assert Sample("empty", 0).read(0, 10) == b""


def test_blocks_keys_and_seeds_have_other_bytes() -> None:
    """A block in another's place is seen, and an object in another's."""
    sample = Sample("a", 3 * MIB)
    assert len({sample.read(number * MIB, MIB) for number in range(3)}) == 3
    assert sample.read(0, 100) not in (Sample("b", 3 * MIB).read(0, 100), Sample("a", 3 * MIB, seed=1).read(0, 100))


def test_the_first_wrong_byte_is_named() -> None:
    """By its offset in the object."""
    sample = Sample("a", 2 * MIB)
    data = bytearray(sample.read(MIB - 10, 20))
    sample.check(MIB - 10, data)
    data[15] ^= 1
    with pytest.raises(ChecksumError, match=f"byte {MIB + 5} is not"):
        sample.check(MIB - 10, data)


class Wire:
    """Takes what is sent."""

    def __init__(self) -> None:
        self.sent = bytearray()

    def send(self, data: bytes | memoryview) -> None:
        self.sent += data

    def send_file(self, descriptor: int, offset: int, length: int) -> int:
        raise AssertionError("a sample is no file")


def test_a_body_is_cut_where_it_is_to_be() -> None:
    """So many bytes go out, and then an error; without a cut, all of them."""
    sample, wire = Sample("a", 3 * MIB), Wire()
    with pytest.raises(SourceError, match="cut after 1100000 bytes"):
        SampleBody(sample, 100, 2 * MIB, break_at=1_100_000).send_to(wire)
    assert bytes(wire.sent) == sample.read(100, 1_100_000)
    whole = Wire()
    SampleBody(sample, 100, 2 * MIB).send_to(whole)
    assert bytes(whole.sent) == sample.read(100, 2 * MIB)
