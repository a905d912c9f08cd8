"""What S3 states of an object is held against what was read of it, whatever ranges were read, and in what order."""

from __future__ import annotations

import base64
import hashlib
import itertools
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import google_crc32c
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ds3tool.errors import SourceError
from ds3tool.protocol.model import ChecksumType
from ds3tool.sources.s3_vouched import Comparison, Stated, hasher_of, stated_of

KINDS = ["CRC64NVME", "CRC32C", "CRC32", "SHA256", "SHA1", "MD5"]


def digest(kind: str, data: bytes) -> bytes:
    """Return a digest by another way than the program's."""
    match kind:
        case "CRC32":
            return zlib.crc32(data).to_bytes(4, "big")
        case "CRC32C":
            return int(google_crc32c.value(data)).to_bytes(4, "big")
        case "CRC64NVME":
            return _crc64nvme(data).to_bytes(8, "big")
        case _:
            return hashlib.new(kind.lower(), data, usedforsecurity=False).digest()


def _crc64nvme(data: bytes) -> int:
    """Return the CRC bit by bit, as the NVM Express specification defines it."""
    crc = 0xFFFFFFFFFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x9A6C9329AC4BC9B5 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFFFFFFFFFF


def base64_of(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def read(comparison: Comparison, data: bytes, ranges: Sequence[tuple[int, int]], *, step: int = 3) -> None:
    """Read ranges in this order, in blocks of `step` bytes."""
    for offset, length in ranges:
        reading = comparison.begin(offset)
        if reading is None:
            continue
        for at in range(offset, offset + length, step):
            reading.update(data[at : min(at + step, offset + length)])
        comparison.end(reading)


def comparison_of(stated: Stated, data: bytes, *, in_one: bool, part: int | None = None) -> Comparison:
    check = stated.check(in_one=in_one, size=len(data), part_size=lambda: part)
    return Comparison("s3://b/k", len(data), check)


@pytest.mark.parametrize("kind", KINDS)
def test_digests_are_those_of_the_standards(kind: str) -> None:
    """The check value of each kind, over the nine digits, in any number of steps."""
    hasher = hasher_of(kind)
    hasher.update(b"1234")
    hasher.update(memoryview(b"56789"))
    assert hasher.digest() == digest(kind, b"123456789")
    if kind == "CRC64NVME":
        assert hasher.digest().hex() == "ae8b14860a799888"


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_that_is_read_in_one_is_held_against_any_kind(kind: str) -> None:
    """The right bytes are held for the same; one other bit is a failure that names both digests."""
    data = bytes(range(100))
    stated = Stated({kind: digest(kind, data)})
    same = comparison_of(stated, data, in_one=True)
    read(same, data, [(0, 100)])
    assert same.held
    other = comparison_of(stated, data, in_one=True)
    wrong = bytes([1, *data[1:]])
    with pytest.raises(SourceError, match="other bytes than it states") as failure:
        read(other, wrong, [(0, 100)])
    assert base64_of(digest(kind, wrong)) in failure.value.message
    assert base64_of(digest(kind, data)) in failure.value.message
    assert not other.held


@st.composite
def cuts(draw: st.DrawFn) -> tuple[bytes, list[tuple[int, int]]]:
    """Bytes, and ranges that make them up, in any order, some of them read twice."""
    data = draw(st.binary(min_size=2, max_size=60))
    places = sorted({0, len(data), *draw(st.lists(st.integers(1, len(data) - 1), max_size=5))})
    ranges = [(start, end - start) for start, end in itertools.pairwise(places)]
    return data, draw(st.permutations(ranges)) + draw(st.lists(st.sampled_from(ranges), max_size=2))


@settings(deadline=None)
@given(cuts(), st.sampled_from(KINDS[:3]), st.integers(1, 9), st.integers(0, 59))
def test_crcs_of_ranges_tell_of_the_whole(
    cut: tuple[bytes, list[tuple[int, int]]], kind: str, step: int, at: int
) -> None:
    """However an object is cut, and whatever is read again, all of it is compared; a flipped bit anywhere is found."""
    data, ranges = cut
    stated = Stated({kind: digest(kind, data)})
    same = comparison_of(stated, data, in_one=False)
    read(same, data, ranges, step=step)
    assert same.held
    wrong = bytearray(data)
    wrong[at % len(data)] ^= 1
    with pytest.raises(SourceError):
        read(comparison_of(stated, data, in_one=False), bytes(wrong), ranges, step=step)


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=60), st.integers(1, 20), st.sampled_from(KINDS[1:]), st.data())
def test_digests_of_parts_tell_of_the_whole(data: bytes, part: int, kind: str, draw: st.DataObject) -> None:
    """Ranges that end where parts of a known size do are compared by any kind, all others by CRCs."""
    parts = [data[at : at + part] for at in range(0, len(data), part)]
    of_parts = digest(kind, b"".join(digest(kind, one) for one in parts))
    stated = Stated({}, {kind: of_parts}, len(parts))
    whole = part if kind in {"SHA256", "SHA1", "MD5"} else 1
    places = sorted(
        {0, len(data), *(at * whole for at in draw.draw(st.sets(st.integers(0, (len(data) - 1) // whole))))}
    )
    ranges = [(start, end - start) for start, end in itertools.pairwise(places)]
    same = comparison_of(stated, data, in_one=False, part=part)
    read(same, data, draw.draw(st.permutations(ranges)), step=7)
    assert same.held
    wrong = bytes([data[0] ^ 1, *data[1:]])
    with pytest.raises(SourceError):
        read(comparison_of(stated, data, in_one=True, part=part), wrong, [(0, len(data))])


def test_what_cannot_be_compared_is_not_held_for_the_same() -> None:
    """Only an MD5 of what is read in two; parts that a range cuts; parts of no known size; nothing stated at all."""
    data = bytes(range(40))
    md5 = Stated({"MD5": digest("MD5", data)})
    parts = Stated({}, {"MD5": digest("MD5", digest("MD5", data[:30]) + digest("MD5", data[30:]))}, 2)
    for stated, part in ((md5, None), (parts, 30), (parts, None), (parts, 10), (Stated(), None)):
        comparison = comparison_of(stated, data, in_one=False, part=part)
        read(comparison, data, [(0, 20), (20, 20)])
        assert not comparison.held


def test_a_part_of_the_object_is_not_compared_as_the_whole() -> None:
    """As long as a range is missing, nothing is held for the same, and nothing fails."""
    data = bytes(range(40))
    comparison = comparison_of(Stated({"CRC32": digest("CRC32", data)}), data, in_one=False)
    read(comparison, data, [(10, 30)])
    assert not comparison.held


def test_an_empty_object_is_what_it_is() -> None:
    """Of no bytes nothing can be wrong."""
    assert comparison_of(Stated(), b"", in_one=True).held


MD5 = digest("MD5", b"x")
CRC = digest("CRC32", b"x")


@pytest.mark.parametrize(
    ("reply", "bucket", "stated"),
    [
        ({"ETag": f'"{MD5.hex()}"'}, "b", Stated({"MD5": MD5})),
        ({"ETag": f'"{MD5.hex()}"', "ServerSideEncryption": "AES256"}, "b", Stated({"MD5": MD5})),
        ({"ETag": f'"{MD5.hex()}"', "ServerSideEncryption": "aws:kms"}, "b", Stated()),
        ({"ETag": f'"{MD5.hex()}"', "ServerSideEncryption": "aws:kms:dsse"}, "b", Stated()),
        ({"ETag": f'"{MD5.hex()}"', "SSECustomerAlgorithm": "AES256"}, "b", Stated()),
        ({"ETag": f'"{MD5.hex()}"'}, "express--use1-az4--x-s3", Stated()),
        ({"ETag": f'"{MD5.hex()}-3"'}, "b", Stated({}, {"MD5": MD5}, 3)),
        ({"ETag": '"abc"', "ChecksumCRC32": base64_of(CRC)}, "b", Stated({"CRC32": CRC})),
        ({"ChecksumCRC32": f"{base64_of(CRC)}-2"}, "b", Stated({}, {"CRC32": CRC}, 2)),
        (
            {"ETag": f'"{MD5.hex()}-3"', "ChecksumCRC32": base64_of(CRC), "ChecksumType": "FULL_OBJECT"},
            "b",
            Stated({"CRC32": CRC}, {"MD5": MD5}, 3),
        ),
        (
            {"ETag": f'"{MD5.hex()}-3"', "ChecksumCRC32": base64_of(CRC), "ChecksumType": "COMPOSITE"},
            "b",
            Stated({}, {"MD5": MD5, "CRC32": CRC}, 3),
        ),
        (
            {"ETag": f'"{MD5.hex()}-3"', "ChecksumCRC32": base64_of(CRC)},
            "b",
            Stated({}, {"MD5": MD5, "CRC32": CRC}, 3),
        ),
        ({"ChecksumCRC32": "AAAA", "ChecksumSHA256": "nonsense", "ETag": ""}, "b", Stated()),
    ],
)
def test_what_a_reply_states(reply: dict[str, Any], bucket: str, stated: Stated) -> None:
    """Digests of the whole, of parts, ETags that are an MD5 and those that only look like one are told apart."""
    assert stated_of(reply, bucket=bucket) == stated


def test_types_that_the_appliance_knows_too_are_told() -> None:
    """What both sides know can be compared without a byte being read."""
    stated = Stated({kind: digest(kind, b"x") for kind in KINDS})
    assert set(stated.common) == {ChecksumType.CRC_32C, ChecksumType.CRC_32, ChecksumType.SHA_256, ChecksumType.MD5}
    assert stated.common[ChecksumType.MD5] == base64_of(MD5)


def test_the_size_of_a_part_is_asked_for_only_where_it_matters() -> None:
    """A digest of the whole needs no further request."""

    def never() -> int:
        raise AssertionError("nobody need ask")

    check: Callable[..., Any] = Stated({"CRC32": CRC}, {"MD5": MD5}, 2).check
    assert check(in_one=False, size=9, part_size=never).kind == "CRC32"
    assert check(in_one=True, size=9, part_size=never).kind == "CRC32"
