"""Byte ranges of an object: what lands is exactly those bytes, in the order asked, however the blobs are cut."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds3tool.client import Ds3Client
from ds3tool.errors import ChecksumError, ProtocolError, UsageError
from ds3tool.jobs.arrival import Arrival
from ds3tool.jobs.get import GetRun
from ds3tool.jobs.get_targets import Wanted
from ds3tool.jobs.pieces import Cutter, covered, pieces_of, ranges_to_ask
from ds3tool.jobs.run import RunResult
from ds3tool.protocol.messages import Headers, Response
from ds3tool.protocol.model import JobStatus
from ds3tool.protocol.ranges import ByteRange
from ds3tool.sinks.local import LocalSink
from ds3tool.transport.settings import ConnectionSettings
from tests.jobs.rooms import BUCKET, MIB, Room

SIZE = 3 * MIB + 77
DATA = random.Random(11).randbytes(SIZE)


@pytest.fixture
def large(room: Room, tmp_path: Path) -> Room:
    """An appliance that has `large`, an object of four blobs."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "large").write_bytes(DATA)
    assert room.put(tree).exit_code == 0
    return room


def wanted_bytes(ranges: Sequence[ByteRange], data: bytes = DATA) -> bytes:
    return b"".join(data[one.start : one.end] for one in ranges)


def get(
    room: Room, target: Path, *ranges: ByteRange, client: Ds3Client | None = None, whole_blobs: bool = False
) -> RunResult:
    """Get ranges of `large` into the file of that name."""
    with closing(LocalSink(str(target))) as sink:
        return GetRun(
            client or room.client,
            sink,
            BUCKET,
            [Wanted("large", SIZE, ranges=ranges)],
            name_of=str,
            settings=room.settings,
            whole_blobs=whole_blobs,
            recorder=room.recorder,
        ).run()


def some_ranges(chance: random.Random) -> list[ByteRange]:
    """Return ranges that lie in one blob or over several, meet, repeat each other, or stand the other way round."""
    edges = [0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB, SIZE - 1, SIZE]
    found = []
    for _ in range(chance.randrange(1, 9)):
        start, end = sorted(
            chance.choice(edges) if chance.random() < 0.5 else chance.randrange(SIZE + 1) for _ in range(2)
        )
        if start < end:
            found.append(ByteRange(start, end))
    return found or [ByteRange(5, 6)]


@pytest.mark.parametrize("whole_blobs", [False, True])
def test_random_ranges_land_one_after_the_other(large: Room, tmp_path: Path, *, whole_blobs: bool) -> None:
    """Thirty random sets of ranges are the object's bytes, with and without whole blobs; no job is left open."""
    for seed in range(30):
        ranges = some_ranges(random.Random(seed))
        got = get(large, tmp_path / f"{seed}", *ranges, whole_blobs=whole_blobs)
        assert (got.exit_code, got.objects, got.failures) == (0, 1, []), seed
        assert (tmp_path / f"{seed}" / "large").read_bytes() == wanted_bytes(ranges), seed
        assert got.bytes == sum(one.length for one in ranges)
        assert got.jobs[0].job.status is JobStatus.COMPLETED
        if whole_blobs:
            assert got.unverified == 0
    assert list(large.client.list_active_jobs(bucket=BUCKET)) == []


def test_a_part_of_a_blob_is_not_called_verified(large: Room, tmp_path: Path) -> None:
    """The digest is the whole blob's: a range inside it counts as unverified, one that is the blob does not."""
    assert get(large, tmp_path / "part", ByteRange(10, 20)).unverified == 1
    assert get(large, tmp_path / "blob", ByteRange(MIB, 2 * MIB)).unverified == 0
    assert get(large, tmp_path / "both", ByteRange(MIB - 1, 2 * MIB)).unverified == 1


class CountingClient(Ds3Client):
    """A client that notes each GET of a blob and the ranges it names, after `change` has had its way with them."""

    change: Callable[[Sequence[ByteRange]], Sequence[ByteRange]] = staticmethod(lambda ranges: ranges)
    alter: Callable[[Response], Response] = staticmethod(lambda response: response)

    def __init__(self, settings: ConnectionSettings) -> None:
        super().__init__(settings)
        self.asked: list[tuple[ByteRange, ...]] = []

    def get_object(
        self,
        bucket: str,
        key: str,
        receive: Callable[[Response], Any],
        *,
        ranges: Sequence[ByteRange] = (),
        **named: Any,  # noqa: ANN401  # passed on as they are
    ) -> Any:  # noqa: ANN401
        self.asked.append(tuple(ranges))
        changed = self.change(ranges) if ranges else ranges
        alter = self.alter if ranges else lambda response: response
        return super().get_object(bucket, key, lambda response: receive(alter(response)), ranges=changed, **named)


@pytest.fixture
def counting(large: Room) -> Iterator[CountingClient]:
    appliance = large.appliance
    with CountingClient(ConnectionSettings(appliance.endpoint, appliance.access_key, appliance.secret_key)) as client:
        yield client


def test_each_blob_is_asked_for_once_and_only_its_wanted_bytes(
    large: Room, counting: CountingClient, tmp_path: Path
) -> None:
    """Ranges of one blob go in one request, overlaps once, and blobs that nobody wants are not fetched."""
    ranges = (ByteRange(100, 200), ByteRange(10, 20), ByteRange(150, 300), ByteRange(2 * MIB - 5, 2 * MIB + 5))
    assert get(large, tmp_path / "out", *ranges, client=counting).exit_code == 0
    assert (tmp_path / "out" / "large").read_bytes() == wanted_bytes(ranges)
    assert sorted(counting.asked) == [
        (ByteRange(10, 20), ByteRange(100, 300)),
        (ByteRange(2 * MIB - 5, 2 * MIB),),
        (ByteRange(2 * MIB, 2 * MIB + 5),),
    ]


def test_whole_blobs_are_asked_for_without_ranges(large: Room, counting: CountingClient, tmp_path: Path) -> None:
    """So that their digests can be checked, which a ranged reply does not allow."""
    get(large, tmp_path / "out", ByteRange(MIB - 1, MIB + 1), client=counting, whole_blobs=True)
    assert counting.asked == [(), ()]


def _without_content_range(response: Response) -> Response:
    kept = Headers((name, value) for name, value in response.headers.items() if name != "content-range")
    return replace(response, headers=kept)


@pytest.mark.parametrize(
    ("change", "alter", "asked"),
    [
        pytest.param(lambda _: (), lambda response: response, 1, id="a whole blob with 200"),
        pytest.param(
            lambda ranges: [ByteRange(one.start + 1, one.end + 1) for one in ranges],
            lambda response: response,
            2,
            id="other bytes",
        ),
        pytest.param(lambda ranges: ranges[:1], lambda response: response, 2, id="fewer ranges"),
        pytest.param(lambda ranges: ranges[::-1], lambda response: response, 2, id="another order"),
        pytest.param(lambda ranges: ranges, _without_content_range, 2, id="a part that does not say which"),
        pytest.param(
            lambda ranges: ranges, lambda response: replace(response, status=200), 2, id="a part that says whole"
        ),
    ],
)
def test_a_reply_that_is_not_what_was_asked_for_is_never_written_as_if_it_were(
    large: Room,
    counting: CountingClient,
    tmp_path: Path,
    change: Callable[[Sequence[ByteRange]], Sequence[ByteRange]],
    alter: Callable[[Response], Response],
    asked: int,
) -> None:
    """A whole blob is cut; anything else is refused, and the whole blob fetched instead. The bytes are right."""
    counting.change, counting.alter = change, alter
    ranges = (ByteRange(70, 90), ByteRange(7, 27))
    got = get(large, tmp_path / "out", *ranges, client=counting)
    assert (got.exit_code, got.unverified) == (0, 0)
    assert (tmp_path / "out" / "large").read_bytes() == wanted_bytes(ranges)
    assert len(counting.asked) == asked
    assert counting.asked[-1] == (() if asked == 2 else (ByteRange(7, 27), ByteRange(70, 90)))


@pytest.mark.parametrize("one", [ByteRange(SIZE - 1, SIZE + 1), ByteRange(SIZE, SIZE + 1), ByteRange(5, 5)])
def test_a_range_outside_the_object_is_refused_before_anything_is_asked(one: ByteRange) -> None:
    """It is a mistake of whoever asks, and empty ranges are one too."""
    with pytest.raises(UsageError, match=f"{SIZE} bytes"):
        Wanted("large", SIZE, ranges=(one,))


def test_ranges_are_not_compared_with_a_file_that_is_there(large: Room, tmp_path: Path) -> None:
    """There is no digest of a range: a file of its size is left and named, not called the same."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "large").write_bytes(DATA[:10])
    got = get(large, out, ByteRange(0, 10))
    assert (got.exit_code, got.skipped) == (3, 0)
    assert "cannot be told" in got.failures[0].error.message


def test_so_many_ranges_that_no_header_holds_them_come_out_of_whole_blobs(
    large: Room, counting: CountingClient, tmp_path: Path
) -> None:
    """Five hundred ranges of one blob are cut out of it."""
    ranges = [ByteRange(start, start + 3) for start in range(0, 5000, 10)]
    assert get(large, tmp_path / "out", *ranges, client=counting).unverified == 0
    assert counting.asked == [()]
    assert (tmp_path / "out" / "large").read_bytes() == wanted_bytes(ranges)


# -- the pure part ----------------------------------------------------------------------------------------------------

LENGTH = 60
PURE = bytes(range(LENGTH))
RANGES = st.lists(
    st.tuples(st.integers(0, LENGTH - 1), st.integers(1, LENGTH))
    .filter(lambda two: two[0] < two[1])
    .map(lambda two: ByteRange(*two)),
    min_size=1,
    max_size=6,
)
CUTS = st.lists(st.integers(1, LENGTH - 1), unique=True, max_size=5).map(sorted)


def _blobs(cuts: Sequence[int]) -> list[ByteRange]:
    edges = [0, *cuts, LENGTH]
    return [ByteRange(start, end) for start, end in itertools.pairwise(edges)]


def _blocks(data: bytes, step: int) -> list[bytes]:
    return [data[at : at + step] for at in range(0, len(data), step)]


@given(ranges=RANGES, cuts=CUTS, step=st.integers(1, LENGTH), whole=st.booleans())
def test_pieces_of_every_blob_together_are_the_ranges(
    ranges: list[ByteRange], cuts: list[int], step: int, *, whole: bool
) -> None:
    """However an object is cut into blobs and a body into blocks, each byte lands where its ranges want it."""
    out = bytearray(b"?" * sum(one.length for one in ranges))

    def store(target: int, data: memoryview) -> None:
        out[target : target + len(data)] = data

    for blob in _blobs(cuts):
        pieces = pieces_of(ranges, blob)
        asked = ranges_to_ask(pieces, blob)
        arrival = Arrival("k", blob, () if whole else asked)
        assert all(blob.start <= one.start and one.end <= blob.end for one in arrival.left)
        body = b"".join(PURE[one.start : one.end] for one in arrival.left)
        Cutter(pieces, store, key="k", sequential=False).cut(_blocks(body, step), arrival, lambda _: None)
    assert bytes(out) == wanted_bytes(ranges, PURE)


@given(ranges=RANGES, cuts=CUTS)
def test_ranges_are_covered_only_by_blobs_that_hold_them_all(ranges: list[ByteRange], cuts: list[int]) -> None:
    """All blobs cover any ranges; without one that is wanted they do not, nor with one twice."""
    blobs = _blobs(cuts)
    assert covered(ranges, blobs)
    assert not covered(ranges, [*blobs, blobs[0]])
    needed = next(blob for blob in blobs if pieces_of(ranges, blob))
    assert not covered(ranges, [blob for blob in blobs if blob != needed])


@pytest.mark.parametrize(("body", "what"), [(b"123456789", "sent 9 bytes"), (b"12345678901", "more")])
def test_a_body_of_another_length_is_refused(body: bytes, what: str) -> None:
    """Ten bytes were to come."""
    whole = ByteRange(0, 10)
    cutter = Cutter(pieces_of([whole], whole), lambda *_: None, key="k", sequential=False)
    with pytest.raises(ProtocolError, match=what):
        cutter.cut([body], Arrival("k", whole), lambda _: None)


def test_a_stream_goes_on_where_it_broke_off_and_never_twice() -> None:
    """What was handed on is not handed on again when a body comes anew."""
    out = bytearray()
    whole = ByteRange(0, LENGTH)
    cutter = Cutter(pieces_of([whole], whole), lambda _, data: out.extend(data), key="k", sequential=True)
    for end in (20, 35):
        with pytest.raises(ProtocolError, match=f"sent {end} bytes"):
            cutter.cut(_blocks(PURE[:end], 7), Arrival("k", whole), lambda _: None)
    cutter.cut(_blocks(PURE, 11), Arrival("k", whole), lambda _: None)
    assert bytes(out) == PURE


@given(ranges=RANGES, cut=st.integers(1, LENGTH), step=st.integers(1, 9), sequential=st.booleans())
def test_a_cut_body_goes_on_with_what_is_left(
    ranges: list[ByteRange], cut: int, step: int, *, sequential: bool
) -> None:
    """However far the first answer came, its bytes and those of a second with the rest are the ranges, each once."""
    if sequential:
        ranges = sorted(ranges)[:1]
    out = bytearray(b"?" * sum(one.length for one in ranges))
    stored = 0

    def store(target: int, data: memoryview) -> None:
        nonlocal stored
        stored += len(data)
        out[target : target + len(data)] = data

    whole = ByteRange(0, LENGTH)
    pieces = pieces_of(ranges, whole)
    arrival = Arrival("k", whole, ranges_to_ask(pieces, whole))
    cutter = Cutter(pieces, store, key="k", sequential=sequential)
    body = b"".join(PURE[one.start : one.end] for one in arrival.left)
    if cut < len(body):
        with pytest.raises(ProtocolError, match="bytes for a blob"):
            cutter.cut(_blocks(body[:cut], step), arrival, lambda _: None)
        assert sum(one.length for one in arrival.left) == len(body) - cut
        body = b"".join(PURE[one.start : one.end] for one in arrival.left)
    cutter.cut(_blocks(body, step), arrival, lambda _: None)
    assert bytes(out) == wanted_bytes(ranges, PURE)
    assert stored == len(out)


def test_a_stream_that_began_with_damaged_bytes_is_an_integrity_failure() -> None:
    """They were handed on and cannot be taken back, though the second try brings the right ones."""
    whole = ByteRange(0, LENGTH)
    cutter = Cutter(pieces_of([whole], whole), lambda *_: None, key="k", sequential=True)
    with pytest.raises(ProtocolError):
        cutter.cut([b"damaged"], Arrival("k", whole), lambda _: None)
    with pytest.raises(ChecksumError):
        cutter.cut([PURE], Arrival("k", whole), lambda _: None)
