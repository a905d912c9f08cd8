"""A get whose answers break off goes on where they did, and what was joined is verified as one."""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ds3tool.client import Ds3Client
from ds3tool.clock import RealClock
from ds3tool.errors import ProtocolError
from ds3tool.jobs.arrival import Arrival
from ds3tool.jobs.get import GetRun
from ds3tool.jobs.get_targets import Wanted
from ds3tool.jobs.run import RunResult
from ds3tool.protocol.checksums import ExpectedChecksum
from ds3tool.protocol.messages import Headers, Response
from ds3tool.protocol.model import ChecksumType, JobStatus
from ds3tool.protocol.ranges import ByteRange
from ds3tool.simulator import Appliance
from ds3tool.sinks import stdout
from ds3tool.sinks.local import LocalSink
from ds3tool.sinks.stdout import StreamSink
from ds3tool.transport.pool import Transport
from ds3tool.transport.settings import ConnectionSettings
from tests.jobs.doubles import SwiftClock
from tests.jobs.rooms import BUCKET, MIB, LastBytes, Meddler, Room

SIZE = 3 * MIB + 500_000
DATA = random.Random(5).randbytes(SIZE)


class NoWait(SwiftClock):
    """A clock whose waits take no time, and that tells the time all the same."""

    def time(self) -> float:
        return time.time()


class Asking(Ds3Client):
    """A client that notes the ranges of each request for a blob, and lets `alter` change the answers to ranges."""

    alter: Callable[[Response], Response] = staticmethod(lambda response: response)

    def __init__(self, endpoint: str, appliance: Appliance) -> None:
        settings = ConnectionSettings(endpoint, appliance.access_key, appliance.secret_key)
        transport = Transport(settings, clock=NoWait())  # nobody waits before another try
        self._exchange, self._close = transport, transport.close
        self.asked: list[tuple[int, tuple[ByteRange, ...]]] = []

    def get_object(
        self,
        bucket: str,
        key: str,
        receive: Callable[[Response], Any],
        *,
        ranges: Sequence[ByteRange] = (),
        again: Callable[[], Sequence[ByteRange]] | None = None,
        **named: Any,  # noqa: ANN401  # passed on as they are
    ) -> Any:  # noqa: ANN401
        now = tuple(ranges)

        def noted() -> Sequence[ByteRange]:
            nonlocal now
            now = tuple(again()) if again is not None else now
            return now

        def taken(response: Response) -> Any:  # noqa: ANN401
            self.asked.append((named["offset"], now))
            return receive(self.alter(response) if now else response)

        return super().get_object(bucket, key, taken, ranges=ranges, again=noted, **named)

    @property
    def ranged(self) -> list[tuple[ByteRange, ...]]:
        """The ranges that were asked for, in the order of the answers."""
        return [ranges for _, ranges in self.asked if ranges]


@pytest.fixture
def large(room: Room, tmp_path: Path) -> Room:
    """An appliance that has `large`, an object of four blobs."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "large").write_bytes(DATA)
    assert room.put(tmp_path / "tree").exit_code == 0
    room.until_idle()
    return room


@pytest.fixture
def asking(large: Room) -> Iterator[Asking]:
    with Asking(large.appliance.endpoint, large.appliance) as client:
        yield client


def in_real_time(run: GetRun) -> None:
    run.clock = RealClock()


def check_whole(got: RunResult, target: Path, data: bytes = DATA) -> None:
    assert (got.failures, got.stopped, got.exit_code) == ([], None, 0)
    assert (target / "large").read_bytes() == data
    assert got.jobs[-1].job.status is JobStatus.COMPLETED
    assert [path.name for path in target.iterdir()] == ["large"]


def test_only_the_rest_is_asked_for_when_an_answer_breaks_off(large: Room, asking: Asking, tmp_path: Path) -> None:
    """Each request after a break names what is missing and no byte more, and the whole of each blob is verified."""
    large.appliance.faults.set("short-get", 1.0, most=9)
    got = large.get(tmp_path / "out", client=asking, prepare=in_real_time)
    check_whole(got, tmp_path / "out")
    assert got.unverified == 0
    assert large.appliance.faults.struck("short-get") == 9
    by_blob: dict[int, list[tuple[ByteRange, ...]]] = {}
    for offset, ranges in asking.asked:
        by_blob.setdefault(offset, []).append(ranges)
    for offset, tries in by_blob.items():
        end = min(offset + MIB, SIZE)
        starts = [offset]
        for ranges in tries:
            if ranges:  # a try may have ended before its first byte
                assert [one.end for one in ranges] == [end]
                starts.append(ranges[0].start)
        assert starts == sorted(starts)
    assert asking.ranged


def test_a_damaged_beginning_is_found_when_the_rest_is_joined(large: Room, asking: Asking, tmp_path: Path) -> None:
    """The joined digest is wrong, so the whole blob is fetched once more from its start; nothing wrong appears."""
    flipped: list[int] = []

    def spoil(data: bytes) -> bytes | None:
        if not flipped and len(data) > 1000 and b"HTTP/1.1 200" not in data:
            flipped.append(1)
            return LastBytes(data[:500] + bytes([data[500] ^ 4]) + data[501:900])
        return data

    large.settings = replace(large.settings, engine=replace(large.settings.engine, transfers=1))
    meddler = Meddler(large.appliance)
    meddler.to_client = spoil
    with closing(meddler), Asking(meddler.endpoint, large.appliance) as client:
        got = large.get(tmp_path / "out", client=client, prepare=in_real_time)
    check_whole(got, tmp_path / "out")
    assert got.unverified == 0
    assert flipped
    assert len(client.ranged) == 1
    offset = client.ranged[0][0].start // MIB * MIB
    assert [ranges for at, ranges in client.asked if at == offset] == [(), client.ranged[0], ()]


def _renamed(response: Response, name: str) -> Response:
    kept = Headers((one, value) for one, value in response.headers.items() if one != name)
    return replace(response, headers=kept)


def _other_range(response: Response) -> Response:
    pairs = dict(response.headers)
    pairs["content-range"] = "bytes 0-9/10"
    return replace(response, headers=Headers(pairs.items()))


@pytest.mark.parametrize(
    "alter",
    [
        pytest.param(lambda response: _renamed(response, "content-range"), id="a part that does not say which"),
        pytest.param(_other_range, id="another part"),
        pytest.param(lambda response: replace(response, status=200), id="a part that says whole"),
        pytest.param(
            lambda response: replace(
                _renamed(response, "content-md5"), headers=Headers({**response.headers, "content-md5": "AAAA"}.items())
            ),
            id="a part of other bytes",
        ),
    ],
)
def test_an_answer_that_is_not_the_rest_is_never_joined(
    large: Room, asking: Asking, tmp_path: Path, alter: Callable[[Response], Response]
) -> None:
    """Whatever it says, the blob is begun anew, and its ranges are not asked for again; the bytes are right."""
    large.appliance.faults.set("short-get", 1.0, most=4)
    asking.alter = alter
    got = large.get(tmp_path / "out", client=asking, prepare=in_real_time)
    check_whole(got, tmp_path / "out")
    assert got.unverified == 0
    assert 1 <= len(asking.ranged) <= 4


def test_an_appliance_that_serves_no_ranges_gives_the_whole_blob(large: Room, tmp_path: Path) -> None:
    """A refusal of the range (400) is followed by a request for all of it."""
    refused: list[str] = []

    class Refusing(Asking):
        def get_object(self, bucket: str, key: str, receive: Callable[[Response], Any], **named: Any) -> Any:  # noqa: ANN401
            again = named.pop("again")

            def outside() -> Sequence[ByteRange]:
                ranges = again()
                if ranges:
                    refused.append(key)
                return [ByteRange(SIZE + 5, SIZE + 9)] if ranges else ranges

            return super().get_object(bucket, key, receive, again=outside, **named)

    large.appliance.faults.set("short-get", 1.0, most=4)
    with Refusing(large.appliance.endpoint, large.appliance) as client:
        got = large.get(tmp_path / "out", client=client, prepare=in_real_time)
    check_whole(got, tmp_path / "out")
    assert refused


@pytest.mark.parametrize("held", [stdout.HELD_BYTES, 1000])
def test_a_stream_goes_on_with_the_rest(
    large: Room, asking: Asking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    """Each byte is written once, whether a blob is held until it is verified or passed on as it comes."""
    monkeypatch.setattr(stdout, "HELD_BYTES", held)
    large.appliance.faults.set("short-get", 1.0, most=7)
    descriptor = os.open(tmp_path / "stream", os.O_RDWR | os.O_CREAT)
    try:
        wanted = [Wanted("large", SIZE)]
        got = GetRun(asking, StreamSink(descriptor), BUCKET, wanted, name_of=str, settings=large.settings).run()
    finally:
        os.close(descriptor)
    assert (got.exit_code, got.unverified) == (0, 0)
    assert (tmp_path / "stream").read_bytes() == DATA
    assert asking.ranged


@pytest.mark.parametrize("whole_blobs", [False, True])
def test_ranges_go_on_with_what_is_left_of_them(
    large: Room, asking: Asking, tmp_path: Path, *, whole_blobs: bool
) -> None:
    """A request for several ranges that breaks off is followed by one for the rest of them."""
    ranges = (ByteRange(10, 400_000), ByteRange(500_000, 900_000), ByteRange(MIB - 10, 2 * MIB))
    large.appliance.faults.set("short-get", 1.0, most=6)
    with closing(LocalSink(str(tmp_path / "out"))) as sink:
        got = GetRun(
            asking,
            sink,
            BUCKET,
            [Wanted("large", SIZE, ranges=ranges)],
            name_of=str,
            settings=large.settings,
            whole_blobs=whole_blobs,
            clock=RealClock(),
        ).run()
    check_whole(got, tmp_path / "out", b"".join(DATA[one.start : one.end] for one in ranges))
    firsts = {(), (ByteRange(10, 400_000), ByteRange(500_000, 900_000), ByteRange(MIB - 10, MIB))}
    assert [asked for _, asked in asking.asked if asked not in firsts]


def test_without_any_digest_the_rest_is_joined_when_the_answers_are_of_one_object(large: Room, tmp_path: Path) -> None:
    """Where the appliance states no digest at all, its ETag decides; what comes is not called verified."""
    appliance = large.appliance
    meddler = Meddler(appliance)
    meddler.to_client = lambda reply: re.sub(
        rb"(?i)\r\n(Content-MD5|ds3-blob-checksum[a-z0-9-]*):", b"\r\nX-Was:", reply
    )
    appliance.faults.set("short-get", 1.0, most=6)
    with closing(meddler), Asking(meddler.endpoint, appliance) as client:
        got = large.get(tmp_path / "out", client=client, prepare=in_real_time)
    check_whole(got, tmp_path / "out")
    assert got.unverified == 4
    assert client.ranged


# -- the pure part ----------------------------------------------------------------------------------------------------

BLOB = ByteRange(100, 200)
DIGEST = ExpectedChecksum(ChecksumType.MD5, "one")
Stated = tuple[str | None, ExpectedChecksum | None]


def part(start: int, end: int, **headers: str) -> Response:
    return Response(206, Headers([("Content-Range", f"bytes {start}-{end - 1}/1000"), *headers.items()]))


def begun(etag: str | None, expected: ExpectedChecksum | None) -> Arrival:
    """Return a blob of which thirty bytes have come."""
    arrival = Arrival("k", BLOB)
    arrival.answered(Response(200, Headers([("ETag", etag)] if etag else [])), expected)
    arrival.took(bytes(30))
    return arrival


@pytest.mark.parametrize(
    ("first", "second", "joined"),
    [
        (("e", DIGEST), ("e", DIGEST), True),
        ((None, DIGEST), ("e", DIGEST), True),
        (("e", DIGEST), ("e", None), False),
        (("e", None), ("e", DIGEST), False),
        (("e", DIGEST), ("e", ExpectedChecksum(ChecksumType.MD5, "two")), False),
        (("e", DIGEST), ("e", ExpectedChecksum(ChecksumType.CRC_32, "one")), False),
        (("e", None), ("e", None), True),
        (("e", None), ("f", None), False),
        ((None, None), (None, None), False),
    ],
)
def test_answers_are_joined_only_when_they_are_of_the_same_bytes(
    first: tuple[str | None, ExpectedChecksum | None],
    second: tuple[str | None, ExpectedChecksum | None],
    *,
    joined: bool,
) -> None:
    """The same digest, or where neither states one the same ETag; else the blob is begun anew."""
    arrival = begun(*first)
    assert arrival.to_ask() == (ByteRange(130, 200),)
    etag, expected = second
    answer = part(130, 200, **({"ETag": etag} if etag else {}))
    if joined:
        arrival.answered(answer, expected)
        assert (arrival.done, arrival.left) == (30, (ByteRange(130, 200),))
    else:
        with pytest.raises(ProtocolError, match="not of the same bytes"):
            arrival.answered(answer, expected)
        assert (arrival.done, arrival.to_ask()) == (0, ())


def test_a_whole_blob_in_answer_to_a_range_is_taken_from_its_start() -> None:
    """200 says that all of it comes: nothing of what came before is kept."""
    arrival = begun("e", DIGEST)
    arrival.answered(Response(200), DIGEST)
    assert (arrival.done, arrival.left) == (0, (BLOB,))


def test_nothing_is_asked_for_of_a_blob_that_came_whole_and_is_tried_again() -> None:
    """When its answer broke off behind the last byte, all of it is asked for, not an empty range."""
    arrival = begun("e", DIGEST)
    arrival.took(bytes(70))
    assert arrival.to_ask() == ()
    assert arrival.done == 0
