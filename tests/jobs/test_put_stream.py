"""Streams through the job room: in order whatever the appliance offers first, and never half."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from ds3tool.errors import ChecksumError, SourceError
from ds3tool.jobs import stream_mover
from ds3tool.jobs.engine import EngineSettings
from ds3tool.jobs.existing import IfExists
from ds3tool.jobs.integrity import ChecksumChoice
from ds3tool.jobs.recorder import MemoryRecorder
from ds3tool.jobs.run import RunResult
from ds3tool.jobs.stream_mover import BUFFER_BYTES, stream_blob_size
from ds3tool.protocol.model import ChecksumType, JobStatus
from ds3tool.sources.stream import StreamSource
from ds3tool.transport.bodies import BytesBody
from tests.jobs.rooms import BUCKET, MIB, Meddler, Room

SIZE = 3 * MIB + 17


@pytest.fixture(params=["held", "passing"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How blobs go: held in memory until they are sent, or digested as they pass."""
    if request.param == "passing":
        # All blobs are larger than what is held.
        monkeypatch.setattr(stream_mover, "BUFFER_BYTES", 1000)
    return str(request.param)


@pytest.fixture
def meddler(room: Room) -> Iterator[Meddler]:
    """Somebody between a client and the appliance."""
    meddler = Meddler(room.appliance)
    yield meddler
    meddler.close()


def put(
    room: Room, stream: BinaryIO, size: int, *, endpoint: str | None = None, retry_seconds: float = 30.0
) -> RunResult:
    """Put a stream as `film`."""
    with room.connect(endpoint, retry_seconds=retry_seconds) as client:
        return room.put_run(StreamSource(stream, key="film", size=size), client=client).run()


def fetched(room: Room, tmp_path: Path) -> bytes:
    assert room.get(tmp_path / "back").exit_code == 0
    return (tmp_path / "back" / "film").read_bytes()


def nothing_is_there(room: Room) -> None:
    """No object, no open job."""
    room.until_idle()
    assert room.listed() == set()


def only_error(result: RunResult) -> Exception:
    (failure,) = result.failures
    assert failure.key == "film"
    return failure.error


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("kind", [ChecksumType.MD5, ChecksumType.CRC_32C])
def test_a_stream_arrives_to_the_byte_whatever_is_offered_first(
    room_with: Callable[..., Room], tmp_path: Path, way: str, seed: int, kind: ChecksumType
) -> None:
    """Blobs in any order of several chunks, through a cache that holds but two of them."""
    assert way
    room = room_with(shuffle=True, seed=seed, chunk_size=MIB, cache_size=3 * MIB, persist_delay=0.0, checksum_type=kind)
    data = os.urandom(8 * MIB + 3)
    result = put(room, io.BytesIO(data), len(data))
    assert (result.exit_code, result.objects, result.bytes) == (0, 1, len(data))
    assert fetched(room, tmp_path) == data
    assert None not in room.recorder.checksums.values()


@pytest.mark.parametrize("size", [0, 1])
def test_tiny_streams(room: Room, tmp_path: Path, way: str, size: int) -> None:
    """A stream of no byte is an empty object."""
    assert way
    assert put(room, io.BytesIO(b"x" * size), size).objects == 1
    assert fetched(room, tmp_path) == b"x" * size


@pytest.mark.parametrize("announced", [SIZE + 1, SIZE - 1, MIB, SIZE + 5 * MIB, 0])
def test_a_stream_of_another_size_than_announced_leaves_nothing(room: Room, way: str, announced: int) -> None:
    """Too little or too much fails by name, the job is given up, and no object is on the appliance."""
    assert way
    result = put(room, io.BytesIO(os.urandom(SIZE)), announced)
    assert isinstance(only_error(result), SourceError)
    assert "announced" in str(only_error(result))
    assert (result.objects, result.exit_code) == (0, 3)
    nothing_is_there(room)


class Damage:
    """Changes one byte of `marker` the first `times` it passes."""

    def __init__(self, marker: bytes, times: int) -> None:
        self._marker = marker
        self._times = times
        self._lock = threading.Lock()

    def __call__(self, data: bytes) -> bytes:
        with self._lock:
            if self._marker in data and self._times:
                self._times -= 1
                return data.replace(self._marker, bytes([self._marker[0] ^ 1]) + self._marker[1:])
        return data


def test_a_held_blob_that_arrives_damaged_is_sent_again(room: Room, meddler: Meddler, tmp_path: Path) -> None:
    """The appliance refuses it by its digest, which went ahead, and the second sending is whole."""
    data = os.urandom(SIZE)
    meddler.to_appliance = Damage(data[MIB + 100 : MIB + 132], 1)
    assert put(room, io.BytesIO(data), SIZE, endpoint=meddler.endpoint).exit_code == 0
    assert fetched(room, tmp_path) == data


def test_a_blob_that_arrives_damaged_every_time_is_an_integrity_failure(room: Room, meddler: Meddler, way: str) -> None:
    """Held or passing, damage is found out, exit code 5, and the object is not on the appliance."""
    data = os.urandom(SIZE)
    meddler.to_appliance = Damage(data[MIB + 100 : MIB + 132], 1000)
    result = put(room, io.BytesIO(data), SIZE, endpoint=meddler.endpoint)
    assert isinstance(only_error(result), ChecksumError)
    assert result.exit_code == 5
    assert way
    nothing_is_there(room)


def test_damage_to_the_last_passing_blob_deletes_the_whole_object(
    room: Room, meddler: Meddler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although the appliance has accepted every blob and made the object, it does not stay."""
    monkeypatch.setattr(stream_mover, "BUFFER_BYTES", 10)
    data = os.urandom(SIZE)
    meddler.to_appliance = Damage(data[-17:], 1000)
    result = put(room, io.BytesIO(data), SIZE, endpoint=meddler.endpoint)
    assert isinstance(only_error(result), ChecksumError)
    nothing_is_there(room)


class WithoutEcho:
    """Takes the digest out of replies to PUT, as an appliance that does not echo it; HEAD still tells it."""

    def __call__(self, data: bytes) -> bytes:
        if data.startswith(b"HTTP/1.1 200") and b"Content-Length: 0" in data:
            return b"".join(line for line in data.splitlines(keepends=True) if not line.startswith(b"Content-MD5:"))
        return data


@pytest.mark.parametrize("damaged", [False, True])
def test_an_appliance_that_echoes_no_digest_is_asked_for_them_all(
    room: Room, meddler: Meddler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, damaged: bool
) -> None:
    """Passing blobs count only when HEAD states our digests; with a damaged one the object is deleted."""
    monkeypatch.setattr(stream_mover, "BUFFER_BYTES", 1000)
    data = os.urandom(SIZE)
    meddler.to_client = WithoutEcho()
    if damaged:
        meddler.to_appliance = Damage(data[100:132], 1000)
    result = put(room, io.BytesIO(data), SIZE, endpoint=meddler.endpoint)
    if damaged:
        assert isinstance(only_error(result), ChecksumError)
        nothing_is_there(room)
    else:
        assert result.exit_code == 0
        assert fetched(room, tmp_path) == data


class Cut:
    """Closes the connection once, when `marker` is about to pass."""

    def __init__(self, marker: bytes) -> None:
        self._marker = marker
        self.cut = 0

    def __call__(self, data: bytes) -> bytes | None:
        if self._marker in data and not self.cut:
            self.cut += 1
            return None
        return data


def test_a_cut_connection_is_mended_while_what_has_passed_is_held(
    room: Room, meddler: Meddler, tmp_path: Path, way: str
) -> None:
    """The blob goes again from its start when it is held, or when so little of it had passed that it still is."""
    data = os.urandom(SIZE)
    meddler.to_appliance = cut = Cut(data[2 * MIB + 500 : 2 * MIB + 532])
    result = put(room, io.BytesIO(data), SIZE, endpoint=meddler.endpoint)
    assert cut.cut == 1
    if way == "held":
        assert result.exit_code == 0
        assert fetched(room, tmp_path) == data
    else:
        # Beyond what is held nobody has the bytes any more.
        assert isinstance(only_error(result), SourceError)
        assert "cannot be sent again" in str(only_error(result))
        nothing_is_there(room)


def test_what_has_passed_is_held_up_to_the_bound(
    room: Room, meddler: Meddler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A blob one byte too large to be held is sent again when it breaks off early."""
    monkeypatch.setattr(stream_mover, "BUFFER_BYTES", MIB - 1)
    monkeypatch.setattr(stream_mover, "READ_BYTES", 64 * 1024)
    data = os.urandom(MIB)
    meddler.to_appliance = cut = Cut(data[300_000:300_032])
    assert put(room, io.BytesIO(data), MIB, endpoint=meddler.endpoint).exit_code == 0
    assert cut.cut == 1
    assert fetched(room, tmp_path) == data


@pytest.mark.parametrize("offset", [MIB, 3 * MIB], ids=["in the middle", "of the last"])
def test_a_lost_reply_to_a_blob_that_has_passed_is_no_failure(
    room: Room, meddler: Meddler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offset: int
) -> None:
    """The appliance has it, which is found out without sending it again, and its digest is confirmed at the end."""
    monkeypatch.setattr(stream_mover, "BUFFER_BYTES", 10)
    data = os.urandom(SIZE)
    seen: list[str] = []

    def to_appliance(passing: bytes) -> bytes:
        if b"offset=%d " % offset in passing and passing.startswith(b"PUT"):
            seen.append("request")
        return passing

    def to_client(passing: bytes) -> bytes | None:
        if seen == ["request"] and passing.startswith(b"HTTP/1.1 200") and b"Content-Length: 0" in passing:
            seen.append("reply")
            return None
        return passing

    meddler.to_appliance, meddler.to_client = to_appliance, to_client
    result = put(room, io.BytesIO(data), SIZE, endpoint=meddler.endpoint)
    assert seen[:2] == ["request", "reply"]
    assert (result.exit_code, result.objects) == (0, 1)
    assert fetched(room, tmp_path) == data


def test_a_blob_that_needs_its_digest_ahead_goes_through_a_file(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the policy refuses bytes without a digest, blobs too large to be held are sent with one all the same."""
    monkeypatch.setattr(stream_mover, "BUFFER_BYTES", 1000)
    policy = room.client.get_bucket(BUCKET).data_policy_id
    room.client.modify_data_policy(policy, end_to_end_crc_required=True)
    data = os.urandom(SIZE)
    assert put(room, io.BytesIO(data), SIZE).exit_code == 0
    assert fetched(room, tmp_path) == data


def test_a_stream_without_digests_is_put_and_not_verified(room: Room, tmp_path: Path, way: str) -> None:
    """`--checksum none` holds for streams too."""
    assert way
    room.settings = replace(room.settings, checksum=ChecksumChoice.NONE)
    data = os.urandom(SIZE)
    assert put(room, io.BytesIO(data), SIZE).exit_code == 0
    assert set(room.recorder.checksums.values()) == {None}
    room.settings = replace(room.settings, checksum=ChecksumChoice.AUTO)
    assert fetched(room, tmp_path) == data


def test_a_stream_cannot_replace_what_must_be_deleted_first(room: Room) -> None:
    """It cannot be read before it is sent, so the old object stays and the failure says what to do."""
    room.client.put_object(BUCKET, "film", BytesBody(b"before"))
    room.settings = replace(room.settings, if_exists=IfExists.OVERWRITE, may_delete=True)
    result = put(room, io.BytesIO(b"after"), 5)
    assert isinstance(only_error(result), SourceError)
    assert room.listed() == {"film"}
    assert room.recorder.deletions == []


class AtFirst(MemoryRecorder):
    """Does something once, when the first blob is recorded."""

    def __init__(self, act: Callable[[str], None]) -> None:
        super().__init__()
        self._act: Callable[[str], None] | None = act

    def moved(self, job_id: str, *others: Any) -> None:  # noqa: ANN401
        super().moved(job_id, *others)
        act, self._act = self._act, None
        if act is not None:
            act(job_id)


def test_a_job_that_somebody_cancels_in_the_middle_of_a_stream(room: Room) -> None:
    """The run ends with exit code 12, and nothing is there."""
    room.recorder = AtFirst(lambda job_id: room.client.cancel_job(job_id))
    room.settings = replace(room.settings, engine=EngineSettings(1, 1))
    result = put(room, cast("BinaryIO", SlowStream(20 * MIB)), 20 * MIB)
    assert (result.exit_code, result.objects) == (12, 0)
    assert result.jobs[0].job.status == JobStatus.CANCELED
    assert room.listed() == set()


class SlowStream(io.RawIOBase):
    """So many bytes, a few at a time, so that others have their turn."""

    def __init__(self, size: int) -> None:
        self._left = size

    def read(self, most: int = -1) -> bytes:
        count = min(self._left, most, 64 * 1024)
        self._left -= count
        return b"x" * count


def test_an_interruption_ends_a_run_that_waits_for_its_stream(room: Room) -> None:
    """Ctrl-C while the stream's writer says nothing: exit code 130, no thread left, and nothing half is kept."""
    reading, writing = os.pipe()

    def interrupt(_job_id: str) -> None:
        raise KeyboardInterrupt

    with open(writing, "wb", buffering=0) as writer, open(reading, "rb") as stream:
        room.recorder = AtFirst(interrupt)
        fill = threading.Thread(target=lambda: writer.write(b"x" * (MIB + 10)))
        fill.start()
        result = put(room, stream, 3 * MIB)
        fill.join()
    assert (result.exit_code, result.objects) == (130, 0)
    assert not any(thread.name.startswith("ds3tool-") for thread in threading.enumerate())
    nothing_is_there(room)


@pytest.mark.parametrize(
    ("size", "policy_size", "asked"),
    [
        (0, None, None),
        (BUFFER_BYTES, None, None),
        (BUFFER_BYTES + 1, None, BUFFER_BYTES),
        (256 * BUFFER_BYTES, 64 << 30, BUFFER_BYTES),
        (256 * BUFFER_BYTES + 1, None, None),
        (BUFFER_BYTES * 10, MIB, None),
    ],
)
def test_blobs_that_can_be_held_are_asked_for_while_they_are_few(
    size: int, policy_size: int | None, asked: int | None
) -> None:
    """Up to 256 blobs of 64 MiB; a longer stream, or a policy of smaller blobs, has the policy's."""
    assert stream_blob_size(size, policy_size) == asked
