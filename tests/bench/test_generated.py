"""Generated objects are the same at every reading, differ from each other, and cannot be made smaller."""

from __future__ import annotations

import hashlib
import math
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ds3tool.bench.generated import Block, GeneratedSource, pieces_of, write_files

MIB = 1 << 20


@pytest.fixture(scope="module")
def block() -> Iterator[Block]:
    block = Block(7, 1 << 40)
    yield block
    block.close()


class Taking:
    """A wire that keeps what is sent, and takes at most a bit at a time."""

    def __init__(self) -> None:
        self.data = bytearray()

    def send(self, data: bytes | memoryview) -> None:
        self.data += data

    def send_file(self, descriptor: int, offset: int, length: int) -> int:
        data = os.pread(descriptor, min(length, MIB + 13), offset)
        self.data += data
        return len(data)


def test_what_is_sent_is_what_is_read(block: Block) -> None:
    """A range goes out byte for byte as reading gives it, wherever it begins, and is counted."""
    source = GeneratedSource(block, prefix="p/", count=3, size=9 * MIB + 5)
    *_, item = source.objects()
    opened = source.open(item)
    whole = opened.read(0, item.size)
    assert len(whole) == item.size
    for offset, length in [(0, item.size), (MIB + 1, 7 * MIB), (item.size - 3, 3), (4 * MIB - 1, 2), (5, 0)]:
        wire = Taking()
        counted: list[int] = []
        opened.body(offset, length, counter=counted.append).send_to(wire)
        assert wire.data == whole[offset : offset + length]
        assert sum(counted) == length
        assert opened.read(offset, length) == whole[offset : offset + length]


def test_no_block_comes_twice_and_none_can_be_compressed(block: Block) -> None:
    """Over thousands of small objects, and all 128 KiB records of large ones, every one has bytes of its own."""
    small = GeneratedSource(block, prefix="", count=5000, size=4096)
    seen = {hashlib.blake2b(small.content(number).read(0, 4096)).digest() for number in range(5000)}
    assert len(seen) == 5000
    large = GeneratedSource(block, prefix="", count=3, size=10 * MIB, first=100)
    records = set()
    for item in large.objects():
        data = large.open(item).read(0, item.size)
        records |= {hashlib.blake2b(data[start : start + 131072]).digest() for start in range(0, len(data), 131072)}
    assert len(records) == 3 * 80
    assert len(zlib.compress(data, 1)) > len(data)


def test_the_seed_decides_the_bytes(block: Block) -> None:
    """The same seed makes the same object again, another one another."""
    objects = []
    for seed in (7, 8):
        other = Block(seed, 1 << 40)
        objects.append(GeneratedSource(other, prefix="", count=1, size=5000).content(0).read(0, 5000))
        other.close()
    assert objects[0] == GeneratedSource(block, prefix="", count=1, size=5000).content(0).read(0, 5000)
    assert objects[0] != objects[1]


def test_the_quick_way_to_small_objects_gives_the_same(block: Block) -> None:
    """What jobs read of small objects at once is what they would have opened."""
    source = GeneratedSource(block, prefix="", count=3, size=5000)
    reader = source.plain_reader()
    for item in source.objects():
        data = reader.read(item.name, item.size, item.modified_ns, item.inode)
        assert data == (source.open(item).read(0, item.size), None)
    reader.close()


@pytest.mark.parametrize("sent", [1, 1 << 40])
def test_every_place_is_had_before_one_comes_twice(sent: int) -> None:
    """The step from piece to piece has no part with the number of places."""
    block = Block(1, sent)
    assert math.gcd(block.stride, block.places) == 1
    block.close()
    block.close()


def test_rounds_go_on_with_other_numbers(block: Block) -> None:
    """A second round has other keys and other bytes, and each object has at least one piece."""
    first, second = (GeneratedSource(block, prefix="k/", count=2, size=10, first=start) for start in (0, 2))
    assert [item.key for item in first.objects()] == ["k/000000000", "k/000000001"]
    assert [item.key for item in second.objects()] == ["k/000000002", "k/000000003"]
    assert len({source.content(number).read(0, 10) for source, number in [(first, 1), (second, 2)]}) == 2
    assert [pieces_of(size) for size in (0, 1, 4 * MIB, 4 * MIB + 1)] == [1, 1, 1, 2]


def test_files_hold_the_same_bytes(block: Block, tmp_path: Path) -> None:
    """What is measured from a disk is what memory would have sent; a file in the way is not touched."""
    source = GeneratedSource(block, prefix="a/b/", count=2, size=4 * MIB + 1)
    write_files(source, str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000000", "000000001"]
    assert (tmp_path / "000000001").read_bytes() == source.content(1).read(0, 4 * MIB + 1)
    with pytest.raises(FileExistsError):
        write_files(source, str(tmp_path))
