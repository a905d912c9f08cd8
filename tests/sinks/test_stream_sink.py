"""A stream takes objects in order, each byte once, and says so when what has left cannot be trusted."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ds3tool.errors import ChecksumError, Ds3Error, InterruptedRunError, ProtocolError, SinkError, TransportError
from ds3tool.jobs.ends import Sink, TargetObject
from ds3tool.jobs.waiting import WaitingEnd
from ds3tool.protocol.checksums import ExpectedChecksum, digest_of, to_base64
from ds3tool.protocol.messages import Response
from ds3tool.protocol.model import ChecksumType
from ds3tool.sinks import stdout
from ds3tool.sinks.stdout import StreamSink
from tests.sinks.replies import arrival

LARGE = 40_000
BLOCK = 1000


@pytest.fixture(autouse=True)
def held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blobs above 10,000 bytes are passed on as they come, so that the tests need no 64 MiB."""
    monkeypatch.setattr(stdout, "HELD_BYTES", 10_000)


@pytest.fixture
def output(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "output", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def sink(output: int) -> StreamSink:
    return StreamSink(output)


def written(output: int) -> bytes:
    return os.pread(output, 10_000_000, 0)


def data_of(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def blocks(data: bytes, *, broken: bool) -> Iterator[bytes]:
    for at in range(0, len(data), BLOCK):
        yield data[at : at + BLOCK]
    if broken:
        raise TransportError("the connection broke")


def receive(
    sink: StreamSink, item: TargetObject, offset: int, data: bytes, *, right: bytes | None = None, broken: bool = False
) -> str | None:
    """Give the sink a blob whose digest is that of `right`; a `broken` one ends after `data`, before its length."""
    whole = data if right is None else right
    kind = ChecksumType.MD5
    blob = arrival(item, offset, len(whole), ExpectedChecksum(kind, to_base64(digest_of(kind, whole))))
    return sink.receive(item, blob, Response(200, body=blocks(data, broken=broken)), counter=lambda count: None)


def test_a_stream_is_a_sink(sink: StreamSink) -> None:
    """It has all that a get asks of a sink, is sequential, and finds nothing to be there."""
    target: Sink = sink
    assert target.sequential
    assert target.existing_size("a") is None
    assert target.free_bytes() is None
    assert target.free_name("a") == "a"
    assert not target.is_link("a")
    target.check_name("../../a")
    target.describe(TargetObject("a", 1, "a"), {"ds3tool-link": "1"})
    assert target.notes == []


@pytest.mark.parametrize("size", [1, 9_999, LARGE])
def test_objects_go_out_in_order(sink: StreamSink, output: int, size: int) -> None:
    """Two objects of two blobs each are in the stream one after the other, and both are told once."""
    first, second = data_of(2 * size, 1), data_of(2 * size, 2)
    for key, data in (("a", first), ("b", second)):
        item = TargetObject(key, len(data), key)
        receive(sink, item, 0, data[:size])
        receive(sink, item, size, data[size:])
        sink.finish(item)
    assert written(output) == first + second
    assert [(item.key, error) for item, error in sink.settle(wait=True)] == [("a", None), ("b", None)]
    assert sink.settle(wait=True) == []


def test_small_blobs_and_empty_objects(sink: StreamSink, output: int) -> None:
    """Blobs that were verified before go out as they are; an empty object adds nothing."""
    one, empty, two = (
        TargetObject("one", 4, "one"),
        TargetObject("empty", 0, "empty"),
        TargetObject("two", 2, "two"),
    )
    sink.receive_small(one, 0, memoryview(b"ab"))
    sink.receive_small(one, 2, memoryview(b"cd"))
    sink.finish(empty)
    sink.receive_small(two, 0, memoryview(b"ef"))
    assert written(output) == b"abcdef"


def test_damage_in_a_held_blob_never_leaves(sink: StreamSink, output: int) -> None:
    """A small blob with a wrong digest is a ChecksumError and writes nothing; a second try mends it."""
    right, wrong = data_of(5000, 1), data_of(5000, 2)
    item = TargetObject("a", 5000, "a")
    with pytest.raises(ChecksumError, match="damaged"):
        receive(sink, item, 0, wrong, right=right)
    assert written(output) == b""
    receive(sink, item, 0, right)
    assert written(output) == right


@pytest.mark.parametrize("size", [5000, LARGE])
def test_blob_that_broke_off_goes_on_without_a_byte_twice(sink: StreamSink, output: int, size: int) -> None:
    """A reply that breaks off, at any block, and is asked for again leaves each byte once in the stream."""
    right = data_of(size)
    item = TargetObject("a", size, "a")
    for came in (0, BLOCK, 3 * BLOCK, 2 * BLOCK):
        with pytest.raises(TransportError):
            receive(sink, item, 0, right[:came], right=right, broken=True)
    receive(sink, item, 0, right)
    assert written(output) == right


def test_error_in_the_middle_says_what_has_left(sink: StreamSink) -> None:
    """The error of a large blob that breaks off tells in its hint how many bytes were written already."""
    right = data_of(LARGE)
    with pytest.raises(TransportError) as caught:
        receive(sink, TargetObject("a", LARGE, "a"), 0, right[:3000], right=right, broken=True)
    assert caught.value.hint is not None
    assert "3000 bytes of a were written already" in caught.value.hint


def test_damage_in_what_has_left_is_told_as_such(sink: StreamSink, output: int) -> None:
    """A large blob whose digest turns out wrong is a ChecksumError that says that what was written is wrong."""
    right = data_of(LARGE)
    wrong = right[:7000] + b"X" + right[7001:]
    item = TargetObject("a", LARGE, "a")
    with pytest.raises(ChecksumError, match=r"written already.*wrong") as caught:
        receive(sink, item, 0, wrong, right=right)
    assert caught.value.exit_code == 5
    assert written(output) == wrong
    with pytest.raises(ChecksumError, match="wrong"):  # a second try cannot mend it
        receive(sink, item, 0, right)
    assert written(output) == wrong
    assert sink.notes


def test_second_try_that_differs_from_what_has_left(sink: StreamSink, output: int) -> None:
    """When a blob broke off after damaged bytes, the next try's right bytes show it: ChecksumError, nothing added."""
    right = data_of(LARGE)
    wrong = b"X" + right[1:]
    item = TargetObject("a", LARGE, "a")
    with pytest.raises(TransportError):
        receive(sink, item, 0, wrong[:5000], right=right, broken=True)
    with pytest.raises(ChecksumError, match="5000 bytes of it were written already"):
        receive(sink, item, 0, right)
    assert written(output) == wrong[:5000]


def test_second_try_that_is_damaged_where_the_first_was_right(sink: StreamSink, output: int) -> None:
    """A damaged second try adds nothing to the right bytes that have left, and a third one ends the blob well."""
    right = data_of(LARGE)
    item = TargetObject("a", LARGE, "a")
    with pytest.raises(TransportError):
        receive(sink, item, 0, right[:5000], right=right, broken=True)
    with pytest.raises(ChecksumError):
        receive(sink, item, 0, b"X" + right[1:], right=right)
    assert written(output) == right[:5000]
    receive(sink, item, 0, right)
    assert written(output) == right


@pytest.mark.parametrize("size", [5000, LARGE])
def test_body_of_another_length(sink: StreamSink, output: int, size: int) -> None:
    """A body longer or shorter than its blob is a ProtocolError, and nothing beyond the blob leaves."""
    right = data_of(size)
    for body in (right + b"more", right[:-1]):
        with pytest.raises(ProtocolError):
            receive(sink, TargetObject("a", size, "a"), 0, body, right=right)
    assert right.startswith(written(output))


def test_nothing_follows_half_an_object(sink: StreamSink, output: int) -> None:
    """After an object that ended in the middle, later ones fail by name and add nothing; the notes say why."""
    half = TargetObject("half", 8, "half")
    sink.receive_small(half, 0, memoryview(b"half"))
    sink.abandon(half)
    with pytest.raises(SinkError, match=r"next is not written: .*middle of half, of whose 8 bytes 4"):
        sink.receive_small(TargetObject("next", 4, "next"), 0, memoryview(b"next"))
    assert written(output) == b"half"
    assert "middle of half" in sink.notes[0]


def test_half_an_object_is_noticed_before_it_is_abandoned(sink: StreamSink, output: int) -> None:
    """Another object's bytes do not follow half an object, also when nobody has abandoned that yet."""
    sink.receive_small(TargetObject("half", 8, "half"), 0, memoryview(b"half"))
    with pytest.raises(SinkError, match="middle of half"):
        sink.receive_small(TargetObject("next", 4, "next"), 0, memoryview(b"next"))
    assert written(output) == b"half"


def test_object_of_which_nothing_left_stops_nobody(sink: StreamSink, output: int) -> None:
    """After an object that failed before its first byte, the others go out."""
    lost = TargetObject("lost", 5000, "lost")
    with pytest.raises(ChecksumError):
        receive(sink, lost, 0, data_of(5000, 2), right=data_of(5000))
    sink.abandon(lost)
    sink.receive_small(TargetObject("next", 4, "next"), 0, memoryview(b"next"))
    assert written(output) == b"next"


def test_blobs_out_of_order_are_refused(sink: StreamSink, output: int) -> None:
    """Bytes that are not the next ones are a SinkError, and do not leave."""
    item = TargetObject("a", 8, "a")
    with pytest.raises(SinkError, match="a: bytes from 4 came before those from 0"):
        sink.receive_small(item, 4, memoryview(b"late"))
    assert written(output) == b""


def test_reader_that_has_gone(tmp_path: Path) -> None:
    """When whoever read the stream has gone, BrokenPipeError is raised, which ends the run quietly."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        with pytest.raises(BrokenPipeError):
            StreamSink(writing).receive_small(TargetObject("a", 1, "a"), 0, memoryview(b"a"))
    finally:
        os.close(writing)


def test_stream_that_takes_no_more() -> None:
    """A device that is full is a SinkError by name, and nothing more is tried."""
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        sink = StreamSink(full)
        for key in ("a", "b"):
            with pytest.raises(SinkError, match=f"{key} .*No space left on device"):
                sink.receive_small(TargetObject(key, 1, key), 0, memoryview(b"x"))
    finally:
        os.close(full)


@pytest.mark.parametrize("blocking", [True, False])
def test_a_reader_that_pauses_gets_every_byte(*, blocking: bool) -> None:
    """A pipe that is full is waited for, whichever way it says so; nothing is lost or doubled."""
    reading, writing = os.pipe()
    os.set_blocking(writing, blocking)
    data = data_of(9_000)
    came = bytearray()
    waited = threading.Event()

    def read() -> None:
        waited.wait()
        while piece := os.read(reading, 1 << 16):
            came.extend(piece)

    def never() -> bool:  # asked when the sink has waited for a while
        waited.set()
        return False

    reader = threading.Thread(target=read)
    reader.start()
    try:
        sink = StreamSink(writing)
        sink.give_up_when(never)
        item = TargetObject("a", 30 * len(data), "a")
        for number in range(30):
            sink.receive_small(item, number * len(data), memoryview(data))
    finally:
        waited.set()
        os.close(writing)
        reader.join()
        os.close(reading)
    assert bytes(came) == data * 30


def test_a_writer_that_waits_for_its_reader_can_be_stopped() -> None:
    """A reader that never goes on keeps nobody: what waits ends with InterruptedRunError."""
    reading, writing = os.pipe()
    try:
        sink = StreamSink(writing)
        assert isinstance(sink, WaitingEnd)
        sink.give_up_when(lambda: True)
        with pytest.raises(InterruptedRunError):
            sink.receive_small(TargetObject("a", 1 << 20, "a"), 0, memoryview(bytes(1 << 20)))
    finally:
        os.close(writing)
        os.close(reading)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_breaks_the_stream_holds_a_beginning(output: int, seed: int) -> None:
    """With replies that break off or come damaged at random, what has left is the right bytes or was told as wrong."""
    chance = random.Random(seed)
    sink = StreamSink(output)
    expected = b""
    for number in range(6):
        data = data_of(chance.choice([500, 9_000, LARGE, 30_000]), seed * 100 + number)
        item = TargetObject(f"{number}", len(data), f"{number}")
        for _ in range(4):
            came = bytearray(data[: chance.randrange(len(data) + 1)])
            if chance.random() < 0.2 and came:
                came[chance.randrange(len(came))] ^= 1
            whole = chance.random() < 0.5
            try:
                receive(sink, item, 0, data if whole else bytes(came), right=data, broken=not whole)
            except ChecksumError as error:
                if "written already" in error.message:
                    assert not (expected + data).startswith(written(output))
                    return
            except Ds3Error:
                continue
            else:
                break
        else:
            sink.abandon(item)
            break
        expected += data
        assert written(output) == expected
    left = written(output)
    if not sink.notes:
        assert left == expected
