"""A file is read again before it appears, where a digest of the whole is kept with its object."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ds3tool.errors import ChecksumError, InterruptedRunError
from ds3tool.jobs.ends import Sink, TargetObject
from ds3tool.jobs.waiting import WaitingEnd
from ds3tool.protocol.checksums import digest_of, to_base64, to_metadata
from ds3tool.protocol.model import ChecksumType
from ds3tool.protocol.ranges import ByteRange
from ds3tool.sinks.whole import RereadSink

DATA = os.urandom((3 << 20) + 5)
ITEM = TargetObject("k", len(DATA), "a/file")


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[RereadSink]:
    sink = RereadSink(str(tmp_path / "target"))
    yield sink
    sink.close()


def metadata_of(data: bytes, *kinds: ChecksumType) -> dict[str, str]:
    found: dict[str, str] = {"owner": "me"}
    for kind in kinds:
        found |= to_metadata(kind, to_base64(digest_of(kind, data)))
    return found


def store(sink: Sink, data: bytes = DATA, item: TargetObject = ITEM) -> None:
    for offset in range(0, len(data), 1 << 20):
        sink.receive_small(item, offset, memoryview(data)[offset : offset + (1 << 20)])


@pytest.mark.parametrize("kinds", [(), (ChecksumType.SHA_256,), (ChecksumType.MD5, ChecksumType.SHA_512)])
def test_a_file_with_the_right_bytes_appears(sink: RereadSink, tmp_path: Path, kinds: tuple[ChecksumType, ...]) -> None:
    """Whatever digests are kept with it, none too."""
    target: Sink = sink
    assert isinstance(target, WaitingEnd)
    assert target.wants_metadata
    target.describe(ITEM, metadata_of(DATA, *kinds))
    store(target)
    target.finish(ITEM)
    assert target.settle(wait=True) == [(ITEM, None)]
    assert (tmp_path / "target" / "a" / "file").read_bytes() == DATA


@pytest.mark.parametrize("kind", [ChecksumType.MD5, ChecksumType.SHA_256, ChecksumType.SHA_512])
def test_a_file_with_other_bytes_does_not(sink: RereadSink, tmp_path: Path, kind: ChecksumType) -> None:
    """One flipped bit on the disk, after every blob was verified: nothing has the name, and nothing else is left."""
    sink.describe(ITEM, metadata_of(DATA, kind))
    store(sink)
    (part,) = (tmp_path / "target" / "a").iterdir()
    with part.open("r+b") as file:
        file.seek(len(DATA) - 1)
        file.write(bytes([DATA[-1] ^ 1]))
    sink.finish(ITEM)
    ((item, error),) = sink.settle(wait=True)
    assert item is ITEM
    assert isinstance(error, ChecksumError)
    assert (error.exit_code, error.expected) == (5, to_base64(digest_of(kind, DATA)))
    assert list((tmp_path / "target" / "a").iterdir()) == []


def test_an_empty_file_is_held_against_its_digest_too(sink: RereadSink) -> None:
    """No bytes have a digest as well."""
    empty, other = TargetObject("e", 0, "empty"), TargetObject("o", 0, "other")
    sink.describe(empty, metadata_of(b"", ChecksumType.SHA_256))
    sink.describe(other, metadata_of(b"x", ChecksumType.SHA_256))
    sink.finish(empty)
    sink.finish(other)
    settled = {item.name: error for item, error in sink.settle(wait=True)}
    assert settled["empty"] is None
    assert isinstance(settled["other"], ChecksumError)


def test_a_part_of_a_file_has_no_digest_of_the_whole(sink: RereadSink) -> None:
    """What is kept with the object says nothing of some of its bytes."""
    part = TargetObject("k", 5, "part", ranges=(ByteRange(10, 15),))
    sink.describe(part, metadata_of(DATA, ChecksumType.SHA_256))
    sink.receive_small(part, 0, memoryview(DATA)[10:15])
    sink.finish(part)
    assert sink.settle(wait=True) == [(part, None)]


def test_an_object_that_is_given_up_is_forgotten(sink: RereadSink) -> None:
    """Another of the same name, without a digest, is not held against it."""
    sink.describe(ITEM, metadata_of(b"other", ChecksumType.SHA_256))
    store(sink)
    sink.abandon(ITEM)
    store(sink)
    sink.finish(ITEM)
    assert sink.settle(wait=True) == [(ITEM, None)]


def test_a_run_that_is_stopped_waits_for_no_reading(sink: RereadSink, tmp_path: Path) -> None:
    """The object fails as interrupted, and does not appear unread."""
    sink.describe(ITEM, metadata_of(DATA, ChecksumType.SHA_256))
    store(sink)
    sink.give_up_when(lambda: True)
    sink.finish(ITEM)
    ((_, error),) = sink.settle(wait=True)
    assert isinstance(error, InterruptedRunError)
    assert not (tmp_path / "target" / "a" / "file").exists()
