"""Bytes that are damaged on the way, either way, by every type of digest and every path that bytes can take."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ds3tool.client import Ds3Client
from ds3tool.errors import ChecksumError
from ds3tool.jobs import stream_mover
from ds3tool.jobs.ends import Sink
from ds3tool.jobs.get import GetRun
from ds3tool.jobs.get_targets import Wanted
from ds3tool.jobs.run import RunResult
from ds3tool.protocol.checksums import HEADER_NAMES, digest_of, to_base64
from ds3tool.protocol.model import ChecksumType
from ds3tool.protocol.ranges import ByteRange
from ds3tool.sinks.discard import DiscardSink
from ds3tool.sinks.local import LocalSink
from ds3tool.sinks.stdout import StreamSink
from ds3tool.sources.stream import StreamSource
from tests.jobs.rooms import BUCKET, MIB, Meddler, Room

# One that goes through the loop for small requests, one of a single blob, one of three.
SIZES = {"small": 6_000, "one": 600_000, "three": 2 * MIB + 600}
KINDS = pytest.mark.parametrize("kind", list(ChecksumType))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files whose every few bytes are ones that the meddler knows."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for name, size in SIZES.items():
        (tree / name).write_bytes(b"needle" * (size // 6))
    return tree


@pytest.fixture
def meddled(room_with: Callable[..., Room]) -> Iterator[Callable[[ChecksumType], tuple[Room, Meddler, Ds3Client]]]:
    """Give a function that starts an appliance with that type of digests, and a client with somebody in between."""
    meddlers: list[Meddler] = []
    clients: list[Ds3Client] = []

    def start(kind: ChecksumType) -> tuple[Room, Meddler, Ds3Client]:
        room = room_with(checksum_type=kind)
        meddlers.append(Meddler(room.appliance))
        clients.append(room.connect(meddlers[-1].endpoint))
        return room, meddlers[-1], clients[-1]

    yield start
    for client in clients:
        client.close()
    for meddler in meddlers:
        meddler.close()


Meddled = Callable[[ChecksumType], tuple[Room, Meddler, Ds3Client]]


def damage(data: bytes) -> bytes:
    return data.replace(b"needle", b"noodle")


def get(client: Ds3Client, sink: Sink, wanted: list[Wanted], room: Room, *, whole_blobs: bool = False) -> RunResult:
    run = GetRun(client, sink, BUCKET, wanted, name_of=str, settings=room.settings, whole_blobs=whole_blobs)
    return run.run()


def all_wanted() -> list[Wanted]:
    return [Wanted(name, size // 6 * 6) for name, size in SIZES.items()]


@KINDS
def test_damage_on_the_way_from_the_appliance_is_caught_in_every_path(
    meddled: Meddled, tree: Path, tmp_path: Path, kind: ChecksumType
) -> None:
    """Into files, into nothing, whole blobs for a range: each object fails with 5; nothing of it appears."""
    room, meddler, client = meddled(kind)
    assert room.put(tree).exit_code == 0
    meddler.to_client = damage
    target = tmp_path / "target"
    with closing(LocalSink(str(target))) as files, closing(DiscardSink()) as nothing:
        for sink in (files, nothing):
            result = get(client, sink, all_wanted(), room)
            assert (result.exit_code, result.objects, result.unverified) == (5, 0, 0)
            assert {failure.key for failure in result.failures} == set(SIZES)
            assert all(isinstance(failure.error, ChecksumError) for failure in result.failures)
        part = Wanted("three", 2 * MIB + 600, ranges=(ByteRange(MIB - 5, MIB + 5),))
        assert get(client, files, [part], room, whole_blobs=True).exit_code == 5
    assert not [path for path in target.rglob("*") if path.is_file()]


@KINDS
def test_damage_is_caught_before_a_stream_gets_it(
    meddled: Meddled, tree: Path, tmp_path: Path, kind: ChecksumType
) -> None:
    """A blob that fits into memory leaves when it is verified: nothing at all has left."""
    room, meddler, client = meddled(kind)
    assert room.put(tree).exit_code == 0
    meddler.to_client = damage
    descriptor = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    try:
        result = get(client, StreamSink(descriptor), all_wanted(), room)
    finally:
        os.close(descriptor)
    assert result.exit_code == 5
    assert (tmp_path / "out").read_bytes() == b""


@KINDS
def test_undamaged_bytes_are_verified_by_every_type(
    meddled: Meddled, tree: Path, tmp_path: Path, kind: ChecksumType
) -> None:
    """Each digest that is recorded is of the policy's type, none is missing, and all bytes are back."""
    room, _, client = meddled(kind)
    assert room.put(tree, client=client).exit_code == 0
    result = room.get(tmp_path / "target", client=client)
    assert (result.exit_code, result.objects, result.unverified) == (0, 3, 0)
    for name in SIZES:
        assert (tmp_path / "target" / name).read_bytes() == (tree / name).read_bytes()
    assert None not in room.recorder.checksums.values()
    assert {room.client.head_object(BUCKET, name).checksum_type for name in SIZES} == {kind}


@KINDS
def test_damage_on_the_way_to_the_appliance_is_caught_in_every_path(
    meddled: Meddled, tree: Path, monkeypatch: pytest.MonkeyPatch, kind: ChecksumType
) -> None:
    """From files, from a stream that is held, and from one that is not: each fails with 5, and nothing stays."""
    room, meddler, client = meddled(kind)
    meddler.to_appliance = damage
    result = room.put(tree, client=client)
    assert (result.exit_code, result.objects) == (5, 0)
    assert {failure.key for failure in result.failures} == set(SIZES)
    held = StreamSource(io.BytesIO(b"needle" * 1000), key="held", size=6000)
    assert room.put(held, client=client).exit_code == 5
    monkeypatch.setattr(stream_mover, "BUFFER_BYTES", 100_000)
    room.settings = replace(room.settings, blob_size=MIB)
    passing = StreamSource(io.BytesIO(b"needle" * 100_000), key="passing", size=600_000)
    assert room.put(passing, client=client).exit_code == 5
    assert room.listed() == set()


@KINDS
@pytest.mark.parametrize("stream", [False, True])
def test_a_digest_beside_an_empty_object_must_be_that_of_no_bytes(
    meddled: Meddled, tmp_path: Path, kind: ChecksumType, *, stream: bool
) -> None:
    """Else the answer is another object's, or the object is not empty."""
    room, meddler, client = meddled(kind)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "empty").touch()
    assert room.put(tmp_path / "tree").exit_code == 0
    right, wrong = (to_base64(digest_of(kind, data)).encode() for data in (b"", b"other"))
    header = HEADER_NAMES[kind].encode()
    descriptor = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    try:
        for answered, code in ((right, 0), (wrong, 5)):
            meddler.to_client = lambda data, answered=answered: data.replace(  # type: ignore[misc]  # of one argument
                header + b": " + right, header + b": " + answered
            )
            with closing(LocalSink(str(tmp_path / f"target{code}"))) as files:
                sink: Sink = StreamSink(descriptor) if stream else files
                assert get(client, sink, [Wanted("empty", 0)], room).exit_code == code
    finally:
        os.close(descriptor)
