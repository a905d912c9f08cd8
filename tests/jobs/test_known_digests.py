"""What is known of an object's bytes is compared without the bytes, however its blobs are cut."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds3tool.jobs.integrity import has_digests
from ds3tool.jobs.known_digests import Held, KnownDigests
from ds3tool.protocol.checksums import digest_of, to_base64, to_metadata
from ds3tool.protocol.model import ChecksumType, ObjectHead

KINDS = st.sampled_from(list(ChecksumType))
CRCS = st.sampled_from([ChecksumType.CRC_32, ChecksumType.CRC_32C])
CUTS = st.lists(st.integers(1, 199), max_size=5, unique=True).map(sorted)
DATA = st.binary(min_size=200, max_size=300)


def known(data: bytes, kind: ChecksumType, cuts: Sequence[int] = (), *stated: ChecksumType) -> KnownDigests:
    """Return what is known of `data` whose blobs begin at 0 and at `cuts`, with these digests of the whole."""
    bounds = [0, *cuts, len(data)]
    blobs = {start: to_base64(digest_of(kind, data[start:end])) for start, end in itertools.pairwise(bounds)}
    return KnownDigests(len(data), kind, blobs, {one: to_base64(digest_of(one, data)) for one in stated})


def reader(data: bytes) -> Callable[[int, int], bytes]:
    return lambda offset, length: data[offset : offset + length]


def spoiled(data: bytes, at: int = 7) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@given(CRCS, DATA, CUTS, CUTS)
def test_crcs_agree_however_an_object_is_cut_and_tell_a_flipped_bit(
    kind: ChecksumType, data: bytes, cuts: list[int], others: list[int]
) -> None:
    """Two cuts of the same bytes agree; with one bit flipped they never do."""
    assert known(data, kind, cuts).agrees_with(known(data, kind, others)) is True
    assert known(data, kind, cuts).agrees_with(known(spoiled(data), kind, others)) is False


@given(KINDS, DATA, CUTS)
def test_the_same_cut_agrees_by_every_type(kind: ChecksumType, data: bytes, cuts: list[int]) -> None:
    """Blob by blob, whatever the digest; other bytes and other sizes do not."""
    mine = known(data, kind, cuts)
    assert mine.agrees_with(known(data, kind, cuts)) is True
    assert mine.agrees_with(known(spoiled(data), kind, cuts)) is False
    assert mine.agrees_with(known(data + b"x", kind, cuts)) is False


def test_what_has_nothing_in_common_tells_nothing() -> None:
    """Digests that do not combine, of other cuts, or of other types, are neither the same nor different."""
    data = bytes(range(200))
    mine = known(data, ChecksumType.MD5, [50, 120])
    assert mine.agrees_with(known(data, ChecksumType.MD5, [60])) is None
    assert mine.agrees_with(known(data, ChecksumType.SHA_256, [50, 120])) is None
    assert mine.agrees_with(KnownDigests(200)) is None
    # ... but a blob that both have does tell when it differs, and so does a digest of the whole.
    assert mine.agrees_with(known(spoiled(data), ChecksumType.MD5, [50])) is False
    whole = known(data, ChecksumType.MD5, [60], ChecksumType.SHA_256)
    assert whole.agrees_with(known(data, ChecksumType.SHA_256)) is True
    assert whole.agrees_with(known(spoiled(data), ChecksumType.SHA_256)) is False
    assert KnownDigests(0).agrees_with(KnownDigests(0)) is True


@given(KINDS, DATA, CUTS, st.sampled_from([(), (ChecksumType.SHA_256,), (ChecksumType.MD5, ChecksumType.SHA_512)]))
def test_bytes_are_held_against_each_blob(
    kind: ChecksumType, data: bytes, cuts: list[int], stated: tuple[ChecksumType, ...]
) -> None:
    """The very bytes are the same; one flipped bit anywhere makes them other bytes."""
    mine = known(data, kind, cuts, *stated)
    assert mine.hold(reader(data), thorough=True) is Held.SAME
    for at in (0, len(data) - 1, *cuts):
        assert mine.hold(reader(spoiled(data, at))) is Held.OTHER


def test_a_digest_of_the_whole_counts_where_the_blobs_tell_nothing() -> None:
    """Without digests of blobs it decides; beside them it is read only by who wants to know it too."""
    data = bytes(range(250))
    whole = {ChecksumType.SHA_256: to_base64(digest_of(ChecksumType.SHA_256, data))}
    alone = KnownDigests(len(data), None, {}, whole)
    assert alone.hold(reader(data)) is Held.SAME
    assert alone.hold(reader(spoiled(data))) is Held.OTHER
    wrong = KnownDigests(250, ChecksumType.CRC_32, known(spoiled(data), ChecksumType.CRC_32, [9]).blobs, whole)
    assert wrong.hold(reader(spoiled(data))) is Held.SAME
    assert wrong.hold(reader(spoiled(data)), thorough=True) is Held.OTHER_WHOLE
    assert KnownDigests(250).hold(reader(data)) is Held.UNKNOWN
    assert KnownDigests(250, ChecksumType("BLAKE_9"), {0: "x"}).hold(reader(data)) is Held.UNKNOWN
    assert KnownDigests(0).hold(reader(b"")) is Held.SAME


@pytest.mark.parametrize("blobs", [{10: "AAAAAA=="}, {0: "AAAAAA==", 250: "AAAAAA=="}, {}])
def test_blobs_that_do_not_make_up_the_object_tell_nothing_of_the_whole(blobs: dict[int, str]) -> None:
    """A digest that begins late, or past the end, is not combined into one of the object."""
    assert KnownDigests(250, ChecksumType.CRC_32, blobs).whole == {}


def test_a_head_that_leaves_a_blobs_digest_out_is_known_by_none() -> None:
    """Where the blob before it ends cannot be told, so its digest is not held against too many bytes."""
    data = bytes(range(200))
    stated = known(data, ChecksumType.CRC_32C, [50, 120]).blobs
    partial = {offset: digest for offset, digest in stated.items() if offset != 50}
    head = ObjectHead("k", 200, None, None, None, ChecksumType.CRC_32C, partial, {})
    assert KnownDigests.of_head(head, [0, 50, 120]).hold(reader(data)) is Held.UNKNOWN
    assert KnownDigests.of_head(head, [0, 120]).hold(reader(data)) is Held.OTHER


def test_a_digest_in_metadata_answers_whether_a_file_is_the_same() -> None:
    """An appliance that states no digests of blobs still tells by what was stored beside the object."""
    data = bytes(range(200))
    metadata = to_metadata(ChecksumType.SHA_256, to_base64(digest_of(ChecksumType.SHA_256, data)))
    head = ObjectHead("k", 200, "0-2", None, None, None, {}, metadata)
    assert has_digests(head, reader(data), 200) is True
    assert has_digests(head, reader(spoiled(data)), 200) is False
    assert has_digests(ObjectHead("k", 200, "0-2", None, None, None, {}, {}), reader(data), 200) is None
