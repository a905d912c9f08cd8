"""Sparse files take little room and have every byte; a target that is full fails by name and stays clean."""

from __future__ import annotations

import errno
import itertools
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ds3tool.errors import ChecksumError, Ds3Error, SinkError
from ds3tool.jobs.ends import TargetObject
from ds3tool.protocol.attributes import FileAttributes
from ds3tool.protocol.checksums import ExpectedChecksum, digest_of, to_base64
from ds3tool.protocol.model import ChecksumType
from ds3tool.sinks import sparse
from ds3tool.sinks.local import LocalSink
from tests.sinks.replies import arrival, reply

SPARSE = FileAttributes(sparse=True).to_metadata()
MIB = 1024 * 1024


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "restored"


@pytest.fixture
def sink(root: Path) -> Iterator[LocalSink]:
    sink = LocalSink(str(root))
    yield sink
    sink.close()


def receive(sink: LocalSink, item: TargetObject, offset: int, data: bytes, *, right: bytes | None = None) -> None:
    expected = to_base64(digest_of(ChecksumType.MD5, data if right is None else right))
    with reply(data) as response:
        blob = arrival(item, offset, len(data), ExpectedChecksum(ChecksumType.MD5, expected))
        sink.receive(item, blob, response, counter=lambda count: None)


def receive_unverified(sink: LocalSink, item: TargetObject, offset: int, data: bytes) -> None:
    with reply(data) as response:
        sink.receive(item, arrival(item, offset, len(data)), response, counter=lambda count: None)


def leftovers(root: Path) -> list[Path]:
    return list(root.rglob(".ds3tool-*"))


def holey(seed: int) -> bytes:
    """Return bytes with runs of zeros of any length and place, and single zeros among others."""
    chance = random.Random(seed)
    pieces = []
    for _ in range(chance.randrange(1, 12)):
        length = chance.choice([1, 4095, 4096, 4097, chance.randrange(1, 60_000)])
        pieces.append(bytes(length) if chance.random() < 0.6 else chance.randbytes(length))
    return b"".join(pieces)


# -- sparse -----------------------------------------------------------------------------------------------------------


def test_sparse_file_takes_little_room(root: Path, sink: LocalSink) -> None:
    """A file of 64 MiB with data at its two ends takes a few blocks, and has every byte."""
    size = 64 * MIB
    item = TargetObject("k", size, "image")
    sink.describe(item, SPARSE)
    receive(sink, item, 0, b"begin" + bytes(MIB - 5))
    receive_unverified(sink, item, MIB, bytes(size - 2 * MIB))
    receive(sink, item, size - MIB, bytes(MIB - 3) + b"end")
    sink.finish(item)
    assert sink.settle(wait=True) == [(item, None)]
    state = (root / "image").stat()
    assert state.st_size == size
    assert state.st_blocks * 512 <= 64 * 1024
    with open(root / "image", "rb") as file:
        assert file.read(5) == b"begin"
        assert file.read(size - 8).count(0) == size - 8
        assert file.read() == b"end"


def test_sparse_file_takes_little_room_though_it_was_prepared(root: Path, sink: LocalSink) -> None:
    """Room that was made before anybody knew of the holes is given back."""
    item = TargetObject("k", 8 * MIB, "disk.img")
    sink.prepare(item)
    sink.describe(item, SPARSE)
    data = bytes(4 * MIB) + b"x" + bytes(4 * MIB - 1)
    receive(sink, item, 0, data)
    sink.finish(item)
    assert [error for _, error in sink.settle(wait=True)] == [None]
    state = (root / "disk.img").stat()
    assert (root / "disk.img").read_bytes() == data
    assert state.st_blocks * 512 < MIB


def test_file_that_was_not_sparse_has_its_room(root: Path, sink: LocalSink) -> None:
    """Zeros of a file that was not sparse are written, so that it can be written into later without surprise."""
    item = TargetObject("k", MIB, "zeros")
    sink.describe(item, {})
    receive(sink, item, 0, bytes(MIB))
    sink.finish(item)
    assert sink.settle(wait=True) == [(item, None)]
    assert (root / "zeros").stat().st_blocks * 512 >= MIB


@pytest.mark.parametrize("seed", range(25))
def test_every_byte_is_there_whatever_the_blobs(root: Path, sink: LocalSink, seed: int) -> None:
    """Sparse data in blobs of any cut, in any order, by any way, described early or late, become the same bytes."""
    chance = random.Random(seed)
    data = holey(seed)
    cuts = sorted({0, len(data), *(chance.randrange(len(data)) for _ in range(chance.randrange(5)))})
    blobs = list(itertools.pairwise(cuts))
    chance.shuffle(blobs)
    item = TargetObject("k", len(data), "file")
    late = chance.randrange(len(blobs)) if chance.random() < 0.3 else 0
    for number, (start, end) in enumerate(blobs):
        if number == late:
            sink.describe(item, SPARSE)
        piece = data[start:end]
        way = chance.randrange(3)
        if way == 0:
            sink.receive_small(item, start, memoryview(piece))
        elif way == 1:
            receive(sink, item, start, piece)
        else:
            receive_unverified(sink, item, start, piece)
    sink.finish(item)
    assert sink.settle(wait=True) == [(item, None)]
    assert (root / "file").read_bytes() == data


@pytest.mark.parametrize("punches", [True, False])
def test_damaged_first_try_leaves_nothing_where_zeros_are(
    root: Path, sink: LocalSink, monkeypatch: pytest.MonkeyPatch, punches: bool
) -> None:
    """Bytes that a damaged try wrote into what is a hole are gone after the second, with and without punching."""
    if not punches:

        def refuse(descriptor: int, offset: int, length: int) -> None:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")

        monkeypatch.setattr(sparse, "punch_hole", refuse)
    right = b"a" + bytes(50_000) + b"b"
    wrong = random.Random(1).randbytes(len(right))
    item = TargetObject("k", 3 * len(right), "file")
    sink.describe(item, SPARSE)
    for offset in (len(right), 0, 2 * len(right)):
        with pytest.raises(ChecksumError):
            receive(sink, item, offset, wrong, right=right)
        receive(sink, item, offset, right)
    sink.finish(item)
    assert sink.settle(wait=True) == [(item, None)]
    assert (root / "file").read_bytes() == right * 3


# -- full -------------------------------------------------------------------------------------------------------------


def settled(sink: LocalSink) -> dict[str, Ds3Error | None]:
    return {item.name: error for item, error in sink.settle(wait=True)}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB and 24 files; skipped where one may not be mounted."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=24", "ds3tool-test", str(place)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("nothing may be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True, capture_output=True)


def store(sink: LocalSink, name: str, data: bytes, metadata: dict[str, str] | None = None) -> SinkError | None:
    """Store an object as a get does; return why it could not be, when that shows before its end."""
    item = TargetObject(name, len(data), name)
    try:
        sink.describe(item, metadata or {})
        for start in range(0, len(data), 300_000):
            receive(sink, item, start, data[start : start + 300_000])
    except SinkError as error:
        sink.abandon(item)
        return error
    sink.finish(item)
    return None


@pytest.mark.parametrize("metadata", [{}, SPARSE])
def test_disk_that_is_full_of_bytes(small_disk: Path, metadata: dict[str, str]) -> None:
    """What the disk has no room for fails by name, with and without holes; smaller objects before and after appear."""
    chance = random.Random(3)
    sink = LocalSink(str(small_disk))
    try:
        assert store(sink, "before", b"1") is None
        assert settled(sink) == {"before": None}
        error = store(sink, "large", chance.randbytes(2 * MIB), metadata)
        assert error is not None
        assert error.message.startswith("large")
        assert "No space left on device" in error.message
        assert leftovers(small_disk) == []
        assert store(sink, "after", chance.randbytes(500_000)) is None
        assert settled(sink) == {"after": None}
    finally:
        sink.close()
    assert {path.name for path in small_disk.iterdir()} == {"before", "after"}


def test_disk_that_is_full_of_files(small_disk: Path) -> None:
    """When no file, folder or link can be made any more, each object fails by name, and nothing of ours stays."""
    sink = LocalSink(str(small_disk), preserve=True)
    failed: dict[str, SinkError] = {}
    try:
        for number in range(30):
            kind = number % 3
            name = (f"file {number}", f"folder {number}/", f"link {number}")[kind]
            metadata = FileAttributes(link=True).to_metadata() if kind == 2 else {}
            error = store(sink, name, b"" if kind == 1 else b"target", metadata)
            outcome = settled(sink)
            error = error or outcome.get(name)  # type: ignore[assignment]  # what settles badly is a SinkError
            if error is not None:
                failed[name] = error
    finally:
        sink.close()
    assert failed
    assert all(name.removesuffix("/") in str(error) and "No space left" in str(error) for name, error in failed.items())
    there = {path.name for path in small_disk.iterdir()}
    assert len(there) + len(failed) == 30
    assert there.isdisjoint(name.removesuffix("/") for name in failed)
    assert leftovers(small_disk) == []
