"""A put whose reply is lost: the appliance is asked what it has, and nothing that it has is sent twice."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ds3tool.jobs.engine import EngineSettings
from tests.jobs.rooms import MIB, Meddler, Room
from tests.trees import digests

# Through the loop for small requests, carefully in one piece, and in several blobs.
SIZES = pytest.mark.parametrize(("size", "blobs"), [(1000, 1), (300_000, 1), (3 * MIB, 3)])
FAULT = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 13\r\n\r\n<html></html>"


class BadLine:
    """A line on which each blob's first try meets `fate`; `sent` counts how often each was sent.

    One blob is under way at a time, so that the next reply is the one to it.
    """

    def __init__(self, meddler: Meddler, fate: Callable[[BadLine, bytes], bytes | None] | None) -> None:
        self.sent: Counter[bytes] = Counter()
        self.armed = False
        self._fate = fate
        meddler.to_appliance = self._request
        meddler.to_client = self._reply

    def _request(self, data: bytes) -> bytes | None:
        line = data.partition(b" HTTP/1.1\r\n")[0]
        if not line.startswith(b"PUT /archive/"):
            return data
        self.sent[line] += 1
        if self.sent[line] > 1:
            return data
        self.armed = self._fate is not None
        return data if self.armed else None

    def _reply(self, data: bytes) -> bytes | None:
        if not self.armed or self._fate is None:
            return data
        self.armed = False
        return self._fate(self, data)


@pytest.fixture
def meddler(room: Room) -> Iterator[Meddler]:
    between = Meddler(room.appliance)
    yield between
    between.close()


def put_and_get(room: Room, meddler: Meddler, tmp_path: Path, size: int) -> None:
    """Put one file through the meddler, and see that it is whole."""
    tree, restored = tmp_path / "tree", tmp_path / "restored"
    tree.mkdir()
    (tree / "film").write_bytes(random.Random(size).randbytes(size))
    room.settings = replace(room.settings, engine=EngineSettings(1, 1))
    with room.connect(meddler.endpoint) as client:
        put = room.put(tree, client=client)
    assert (put.objects, put.bytes, put.failures, put.exit_code) == (1, size, [], 0)
    room.get(restored)
    assert digests(restored) == digests(tree)


@pytest.mark.parametrize("fate", [lambda *_: None, lambda *_: FAULT], ids=["lost", "502"])
@SIZES
def test_a_blob_that_arrived_is_not_sent_again(
    room: Room,
    meddler: Meddler,
    tmp_path: Path,
    size: int,
    blobs: int,
    fate: Callable[[BadLine, bytes], bytes | None],
) -> None:
    """When each first reply is lost, or turned into a fault on its way, each blob is sent once all the same."""
    line = BadLine(meddler, fate)
    put_and_get(room, meddler, tmp_path, size)
    assert sorted(line.sent.values()) == [1] * blobs


@SIZES
def test_a_blob_that_did_not_arrive_is_sent_again(
    room: Room, meddler: Meddler, tmp_path: Path, size: int, blobs: int
) -> None:
    """When each first request is swallowed, each blob is sent twice, and the object is whole."""
    line = BadLine(meddler, None)
    put_and_get(room, meddler, tmp_path, size)
    assert sorted(line.sent.values()) == [2] * blobs


def test_the_recorded_digest_of_a_blob_that_was_there_is_the_one_that_was_sent(
    room: Room, meddler: Meddler, tmp_path: Path
) -> None:
    """What is known of a blob does not depend on whether its reply came."""
    room.settings = replace(room.settings, engine=EngineSettings(1, 1))
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "film").write_bytes(random.Random(1).randbytes(3 * MIB))
    BadLine(meddler, lambda *_: None)
    with room.connect(meddler.endpoint) as client:
        room.put(tree, client=client)
    head = room.client.head_object("archive", "film")
    job_id = room.job.id
    recorded = {offset: room.recorder.checksums[job_id, "film", offset] for offset in head.checksums}
    assert recorded == dict(head.checksums)
    assert len(recorded) == 3
