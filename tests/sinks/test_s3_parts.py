"""The parts of an object for S3, and the room in which their bytes gather."""

from __future__ import annotations

import hashlib
import random
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds3tool.errors import InterruptedRunError, SinkError
from ds3tool.protocol.ranges import ByteRange
from ds3tool.sinks.s3_parts import HELD_BYTES, MIB, Gathered, Grid, Room

TIB = 1024 * 1024 * MIB


def never() -> bool:
    """Nobody has asked the run to end."""
    return False


@given(st.one_of(st.integers(0, 64 * MIB), st.integers(0, 48 * TIB)), st.data())
def test_parts_of_an_object_are_what_s3_takes(size: int, data: st.DataObject) -> None:
    """Parts follow each other without a gap, at most 10,000, and all but the last of 5 MiB to 5 GiB."""
    grid = Grid.of(size)
    assert len(grid) <= 10_000
    assert (grid[0].start, grid[len(grid) - 1].end) == (0, size)
    if not grid.is_held:
        assert 5 * MIB <= grid.part_bytes <= 5 * 1024 * MIB
        number = data.draw(st.integers(0, len(grid) - 2))
        assert grid[number].length == grid.part_bytes
        assert grid[number].end == grid[number + 1].start


@given(st.integers(HELD_BYTES + 1, TIB), st.data())
def test_a_blob_touches_the_parts_that_have_bytes_of_it(size: int, data: st.DataObject) -> None:
    """The parts of a range are all those, and only those, with a byte in common with it."""
    grid = Grid.of(size)
    start = data.draw(st.integers(0, size - 1))
    blob = ByteRange(start, data.draw(st.integers(start + 1, size)))
    parts = grid.parts_of(blob)
    assert grid[parts[0]].start <= blob.start < grid[parts[0]].end
    assert grid[parts[-1]].start < blob.end <= grid[parts[-1]].end
    assert [part for part in (parts[0], parts[-1]) if grid.inside(part, blob)] == [
        part for part in (parts[0], parts[-1]) if blob.start <= grid[part].start and grid[part].end <= blob.end
    ]


def test_blobs_of_a_common_size_share_no_part() -> None:
    """Blobs of a power of two of at least a part's size begin where parts begin."""
    for blob_bytes in (8 * MIB, 64 * MIB, 1024 * MIB, 64 * 1024 * MIB):
        for size in (3 * blob_bytes + 1, 70 * blob_bytes):
            grid = Grid.of(size)
            if not grid.is_held and grid.part_bytes <= blob_bytes:
                assert not blob_bytes % grid.part_bytes


def test_no_part_is_made_of_what_s3_cannot_hold() -> None:
    """An object of more than 10,000 parts of 5 GiB is refused."""
    with pytest.raises(SinkError, match="more than an object in S3 can have"):
        Grid.of(10_000 * 5 * 1024 * MIB + 1)


@pytest.fixture
def room() -> Iterator[Room]:
    """Room for 4 MiB in memory."""
    room = Room(4 * MIB)
    yield room
    room.close()


def fill(gathered: Gathered, data: bytes, seed: int) -> None:
    """Write data in pieces of odd sizes, in any order, some of them twice."""
    chance = random.Random(seed)
    starts = sorted({0, *(chance.randrange(len(data)) for _ in range(40))})
    pieces = list(zip(starts, [*starts[1:], len(data)], strict=True))
    chance.shuffle(pieces)
    for start, end in [*pieces, *pieces[:5]]:
        gathered.write(start, memoryview(data)[start:end])


@pytest.mark.parametrize("length", [1, 300_000, 3 * MIB, 6 * MIB])
def test_what_gathers_is_given_back(room: Room, length: int) -> None:
    """Bytes written in any order are sent as they belong, with their digests, from memory and from the file alike."""
    data = random.Random(length).randbytes(length)
    gathered = room.take(length, stopped=never)
    fill(gathered, data, length)
    piece = gathered.piece()
    assert piece.digests().md5 == hashlib.md5(data).digest()
    assert piece.digests().crc32 == zlib.crc32(data).to_bytes(4, "big")
    body = piece.body()
    assert body.read() == data
    body.seek(0)
    assert b"".join(iter(lambda: body.read(70_001), b"")) == data
    part = gathered.piece(length // 3, length // 2)
    assert part.body().read() == data[length // 3 : length // 2]
    assert bool(room.spilled) == (length > 4 * MIB)


def test_who_needs_room_waits_while_some_leaves(room: Room) -> None:
    """With all memory on its way out, whoever needs some gets it when it comes back, and nothing goes to the file."""
    first = room.take(4 * MIB, stopped=never)
    first.leaves()
    asked, got = threading.Event(), threading.Event()

    def stopped() -> bool:
        asked.set()
        return False

    def take() -> None:
        room.take(MIB, stopped=stopped).close()
        got.set()

    thread = threading.Thread(target=take)
    thread.start()
    assert asked.wait(30)
    assert not got.is_set()
    first.close()
    thread.join(30)
    assert got.is_set()
    assert (room.spilled, room.most_used) == (0, 4 * MIB)


def test_nobody_waits_for_room_when_the_run_is_to_end(room: Room) -> None:
    """Whoever waits for room gives up when the run is to end."""
    room.take(4 * MIB, stopped=never).leaves()
    with pytest.raises(InterruptedRunError):
        room.take(MIB, stopped=lambda: True)


def test_bytes_that_wait_for_others_keep_nobody_waiting(room: Room) -> None:
    """When all memory waits for bytes that are still to come, more goes to the file, and none is lost."""
    data = [random.Random(number).randbytes(MIB) for number in range(12)]
    all_gathered = []
    for number, one in enumerate(data):
        gathered = room.take(MIB, stopped=never)
        fill(gathered, one, number)
        all_gathered.append(gathered)
    assert room.spilled == 8 * MIB
    assert [gathered.piece().body().read() for gathered in all_gathered] == data


def test_ranges_wait_in_the_file(room: Room) -> None:
    """Loose bytes of a large object take no memory."""
    room.take(HELD_BYTES + 1, stopped=never, loose=True)
    assert (room.most_used, room.spilled) == (0, HELD_BYTES + 1)


def test_what_is_closed_writes_into_nobody_elses_room() -> None:
    """A writer that is late, its object given up, changes no byte of who has its place in the file now."""
    room = Room(0)
    late = room.take(MIB, stopped=never)
    late.close()
    late.close()
    now = room.take(MIB, stopped=never)
    now.write(0, b"1" * MIB)
    late.write(0, b"2" * MIB)
    assert now.piece().body().read() == b"1" * MIB
    room.close()


def test_a_disk_that_gives_back_other_bytes_is_noticed() -> None:
    """The digests that S3 is told of what went through the file in a row are those of the bytes that came."""
    room = Room(0)
    data = random.Random(1).randbytes(2 * MIB)
    gathered = room.take(len(data), stopped=never)
    for at in range(0, len(data), 300_000):
        gathered.write(at, data[at : at + 300_000])
    room.write_spilled(1000, b"damage")
    assert gathered.piece().body().read() != data
    assert gathered.piece().digests().md5 == hashlib.md5(data).digest()
    gathered.write(1000, data[1000:1006])
    assert gathered.piece().body().read() == data
    assert gathered.piece().digests().md5 == hashlib.md5(data).digest()
    room.close()


def test_places_in_the_file_are_taken_again() -> None:
    """A hundred parts one after the other take the place of one."""
    room = Room(0)
    for number in range(100):
        gathered = room.take(3 * MIB, stopped=never)
        gathered.write(0, bytes([number]) * 10)
        assert gathered.piece(0, 10).body().read() == bytes([number]) * 10
        gathered.close()
    assert room.spilled == 300 * MIB
    again = room.take(3 * MIB, stopped=never)
    again.write(3 * MIB - 1, b"1")
    assert room._file is not None
    assert room._file.seek(0, 2) <= 3 * MIB
    room.close()


def test_a_file_that_cannot_be_made_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no temporary file can be made, the error names the folder and the way out."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(SinkError, match="finds no room in") as caught:
        Room(0).take(MIB, stopped=never)
    assert "TMPDIR" in (caught.value.hint or "")
