"""A get into a stream: whatever order the appliance has, the bytes go out in that of the plan."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ds3tool.errors import JobLostError
from ds3tool.jobs.ends import TargetObject
from ds3tool.jobs.get import GetRun
from ds3tool.jobs.get_targets import Wanted
from ds3tool.protocol.ranges import ByteRange
from ds3tool.sinks.stdout import StreamSink
from tests.jobs.rooms import BUCKET, MIB, Room


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[tuple[int, Callable[[], bytes]]]:
    """A descriptor, and a function that tells what was written to it."""
    path = tmp_path / "stream"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    yield descriptor, path.read_bytes
    os.close(descriptor)


def stocked(room: Room, tmp_path: Path, sizes: list[int]) -> dict[str, bytes]:
    """Put objects of these sizes, all of them on tape and none in the cache; return their bytes by key."""
    tree = tmp_path / "tree"
    tree.mkdir()
    objects = {f"{number:02}": random.Random(number).randbytes(size) for number, size in enumerate(sizes)}
    for key, data in objects.items():
        (tree / key).write_bytes(data)
    assert room.put(tree).exit_code == 0
    room.until_idle()
    room.client.reclaim_cache()
    return objects


@pytest.mark.parametrize("seed", [1, 2])
def test_blobs_and_chunks_in_any_order_come_out_in_that_of_the_plan(
    room_with: Callable[..., Room], tmp_path: Path, stream: tuple[int, Callable[[], bytes]], seed: int
) -> None:
    """Objects of none, one and many blobs, asked for in a random order, loaded from tape in many shuffled chunks."""
    room = room_with(shuffle=True, seed=seed, chunk_size=MIB + 100)
    objects = stocked(room, tmp_path, [0, 5, 3 * MIB + 7, MIB, 2 * MIB, 0, 70_000, 4 * MIB + 1, 10])
    keys = list(objects)
    random.Random(seed).shuffle(keys)
    descriptor, written = stream
    wanted = [Wanted(key, len(objects[key])) for key in keys]
    got = GetRun(room.client, StreamSink(descriptor), BUCKET, wanted, name_of=str, settings=room.settings).run()
    assert (got.exit_code, got.objects, got.unverified, len(got.jobs)) == (0, len(keys), 0, 1)
    assert written() == b"".join(objects[key] for key in keys)


def test_ranges_that_go_back_are_jobs_of_their_own(
    room: Room, tmp_path: Path, stream: tuple[int, Callable[[], bytes]]
) -> None:
    """A stream cannot go back: as often as the ranges do, the object is asked for anew, and no more often."""
    (data,) = stocked(room, tmp_path, [3 * MIB]).values()
    ranges = (ByteRange(5, 10), ByteRange(10, MIB + 3), ByteRange(2 * MIB, 2 * MIB + 9), ByteRange(0, 3))
    descriptor, written = stream
    got = GetRun(
        room.client,
        StreamSink(descriptor),
        BUCKET,
        [Wanted("00", len(data), ranges=ranges)],
        name_of=str,
        settings=room.settings,
    ).run()
    assert (got.exit_code, len(got.jobs)) == (0, 2)
    assert written() == b"".join(data[one.start : one.end] for one in ranges)


def test_a_job_that_somebody_cancels_ends_the_stream(
    room: Room, tmp_path: Path, stream: tuple[int, Callable[[], bytes]]
) -> None:
    """Exit code 12; what was written is the beginning of what was asked for, and nothing comes after the gap."""
    objects = stocked(room, tmp_path, [MIB] * 8)
    descriptor, written = stream

    class Meddled(StreamSink):
        def receive(self, item: TargetObject, *arguments: object, **named: object) -> str | None:
            if item.key == "03":
                room.client.cancel_job(room.job.id)
            return super().receive(item, *arguments, **named)  # type: ignore[arg-type]  # as they came

    wanted = [Wanted(key, MIB) for key in objects]
    got = GetRun(
        room.client,
        Meddled(descriptor),
        BUCKET,
        wanted,
        name_of=str,
        settings=room.settings,
        recorder=room.recorder,
    ).run()
    assert isinstance(got.stopped, JobLostError)
    assert got.exit_code == 12
    whole = b"".join(objects.values())
    assert 3 * MIB <= len(written()) < len(whole)
    assert whole.startswith(written())


def test_a_reader_that_has_gone_cancels_the_job(room: Room, tmp_path: Path) -> None:
    """The run raises BrokenPipeError, and nothing is left open on the appliance."""
    objects = stocked(room, tmp_path, [MIB] * 3)
    reader, writer = os.pipe()
    os.close(reader)
    wanted = [Wanted(key, MIB) for key in objects]
    run = GetRun(room.client, StreamSink(writer), BUCKET, wanted, name_of=str, settings=room.settings)
    try:
        with pytest.raises(BrokenPipeError):
            run.run()
    finally:
        os.close(writer)
    assert list(room.client.list_active_jobs(bucket=BUCKET)) == []
