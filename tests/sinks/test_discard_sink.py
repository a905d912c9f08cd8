"""A sink that keeps nothing holds every blob against its digest all the same."""

from __future__ import annotations

import pytest

from ds3tool.errors import ChecksumError, ProtocolError, SinkError
from ds3tool.jobs.arrival import Arrival
from ds3tool.jobs.ends import Sink, TargetObject
from ds3tool.protocol.checksums import ExpectedChecksum, digest_of, to_base64
from ds3tool.protocol.messages import Response
from ds3tool.protocol.model import ChecksumType
from ds3tool.protocol.ranges import ByteRange
from ds3tool.sinks.discard import DiscardSink
from tests.sinks.replies import reply

ITEM = TargetObject("a/k", 300_000, "a/k")
DATA = bytes(range(250)) * 1200


def arrival(kind: ChecksumType | None, data: bytes = DATA, *, answer: Response) -> Arrival:
    """Return the blob as it stands when the head of `answer` is known; its digest shall be that of `data`."""
    expected = None if kind is None else ExpectedChecksum(kind, to_base64(digest_of(kind, data)))
    blob = Arrival(ITEM.key, ByteRange(0, len(DATA)))
    blob.answered(answer, expected)
    return blob


def receive(answer: Response, kind: ChecksumType | None, passed: list[int]) -> str | None:
    return DiscardSink().receive(ITEM, arrival(kind, answer=answer), answer, counter=passed.append)


def test_it_is_a_sink_that_has_nothing_and_takes_everything() -> None:
    """Any name, any size, twice too; nothing is there before, and nothing afterwards."""
    sink: Sink = DiscardSink()
    for name in ("a", "../../etc/passwd", "a\0b", "", "folder/"):
        sink.check_name(name)
        assert (sink.existing_size(name), sink.free_name(name), sink.is_link(name)) == (None, name, False)
    assert (sink.sequential, sink.wants_metadata, sink.free_bytes(), sink.notes) == (False, False, None, [])
    with pytest.raises(SinkError, match="nothing was kept"):
        sink.read_existing("a", 0, 1)
    sink.describe(ITEM, {"ds3-mode": "644"})
    sink.receive_small(ITEM, 0, memoryview(b"x"))
    sink.finish(ITEM)
    sink.abandon(TargetObject("b", 1, "b"))
    assert sink.settle(wait=True) == [(ITEM, None)]
    assert sink.settle(wait=True) == []
    sink.close()


@pytest.mark.parametrize("kind", list(ChecksumType))
def test_each_blob_is_held_against_its_digest(kind: ChecksumType) -> None:
    """The right bytes pass and are counted; a flipped bit is a ChecksumError."""
    passed: list[int] = []
    spoiled = DATA[:77] + bytes([DATA[77] ^ 4]) + DATA[78:]
    with reply(DATA) as good:
        assert receive(good, kind, passed) == to_base64(digest_of(kind, DATA))
    assert sum(passed) == len(DATA)
    with reply(spoiled) as bad, pytest.raises(ChecksumError) as told:
        receive(bad, kind, passed)
    assert (told.value.key, told.value.offset) == (ITEM.key, 0)
    assert told.value.expected == to_base64(digest_of(kind, DATA))


@pytest.mark.parametrize("data", [DATA[:-1], DATA + b"x", b""])
@pytest.mark.parametrize("kind", [ChecksumType.MD5, None])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_another_length_is_refused(data: bytes, kind: ChecksumType | None, *, chunked: bool) -> None:
    """Also where no digest would tell."""
    with reply(data, chunked=chunked) as response, pytest.raises(ProtocolError):
        receive(response, kind, [])


def test_without_a_digest_nothing_is_called_verified() -> None:
    """The answer is None, and not the digest of whatever came."""
    with reply(DATA) as response:
        assert receive(response, None, []) is None
