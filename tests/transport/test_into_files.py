"""Bodies on their way into files: the same bytes by every way, and a full target is the target's failure."""

from __future__ import annotations

import itertools
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from ds3tool.errors import SinkError, SourceError
from ds3tool.protocol.messages import Response
from ds3tool.transport.bodies import read_range
from ds3tool.transport.ratelimit import RateLimit
from ds3tool.transport.splicing import write_all
from tests.transport.conftest import Connect, Serve
from tests.transport.exchanges import GET, content, into_file, pattern
from tests.transport.scripted import Peer, replies, reply

LENGTHS = [1, 4095, 64 * 1024, 131_072, 1_000_003, 5_000_000]


def by_blocks(descriptor: int, offset: int) -> Callable[[Response], int]:
    """Return the parser that a digest needs: block by block."""

    def parse(response: Response) -> int:
        done = 0
        for block in response.body:
            write_all(descriptor, block, offset + done)
            done += len(block)
        return done

    return parse


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("way", ["splice", "seen", "blocks", "limited", "seen and limited"])
def test_every_way_into_a_file_gives_the_same_bytes(
    serve: Serve, connect: Connect, open_file: Callable[..., int], length: int, way: str
) -> None:
    """Moved by the kernel, under somebody's eyes, by blocks or within a rate, a body lands whole, and nowhere else."""
    data = pattern(length)
    around = b"before " * 1000
    server = serve(replies(reply(200, data)))
    descriptor = open_file(around + bytes(length) + b"after")
    moved: list[int] = []
    seen = bytearray()
    limit = RateLimit(1 << 30, sleep=lambda _: None) if "limited" in way else None
    transport = connect(server, limit=limit)
    if way == "blocks":
        assert transport.exchange(GET, by_blocks(descriptor, len(around))) == length
    else:
        look = seen.extend if "seen" in way else None
        transport.exchange(GET, into_file(descriptor, len(around), moved.append, look))
        assert sum(moved) == length
        assert bytes(seen) == (data if "seen" in way else b"")
    assert os.pread(descriptor, length + len(around) + 100, 0) == around + data + b"after"


@pytest.mark.parametrize("ahead", [0, 1000])
def test_a_body_that_comes_in_dribs_is_given_in_whole_blocks(serve: Serve, connect: Connect, ahead: int) -> None:
    """However its bytes arrive, blocks end at multiples of half a MiB, so that a file's pages are written whole."""
    data = pattern(1_500_000)
    raw = reply(200, data)
    begin = len(raw) - len(data) + ahead

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(raw[:begin])
        for start in range(begin, len(raw), 70_001):
            peer.send(raw[start : start + 70_001])

    blocks = connect(serve(script)).exchange(GET, lambda response: list(response.body))
    assert b"".join(blocks) == data
    ends = list(itertools.accumulate(len(block) for block in blocks))
    assert ends[-3:] == [512 * 1024, 1024 * 1024, len(data)]


@pytest.mark.parametrize("ahead", [0, 1, 1000, 60_000, 131_000, 299_999, 300_000])
def test_bytes_that_came_with_the_head_are_not_lost(
    serve: Serve, connect: Connect, open_file: Callable[..., int], ahead: int
) -> None:
    """However many of the body's bytes arrive with its head, the file has each once, and the next reply its own."""
    data = pattern(300_000)

    def script(peer: Peer) -> None:
        raw = reply(200, data)
        split = len(raw) - len(data) + ahead
        peer.read_request()
        peer.send(raw[:split])
        peer.send(raw[split:])
        peer.read_request()
        peer.send(reply(200, b"next"))

    server = serve(script)
    transport = connect(server)
    descriptor = open_file()
    transport.exchange(GET, into_file(descriptor))
    assert os.pread(descriptor, 400_000, 0) == data
    assert transport.exchange(GET, content) == b"next"
    assert [got.connection for got in server.requests] == [0, 0]


@pytest.mark.parametrize("length", [100, 3_000_000])
@pytest.mark.parametrize("parser", [into_file, by_blocks], ids=["moved", "by blocks"])
def test_a_full_device_is_a_sink_error_and_its_connection_dropped(
    serve: Serve, connect: Connect, length: int, parser: Callable[[int, int], Callable[[Response], int]]
) -> None:
    """No space left fails as the target's, is not repeated, and what was still on its way is nobody's reply."""
    server = serve(replies(reply(200, pattern(length)), reply(200, b"next")))
    transport = connect(server)
    full = os.open("/dev/full", os.O_RDWR)
    try:
        with pytest.raises(SinkError, match="No space left"):
            transport.exchange(GET, parser(full, 0))
    finally:
        os.close(full)
    assert transport.exchange(GET, content) == b"next"
    assert [got.connection for got in server.requests] == [0, 1]


@contextmanager
def largest_file(length: int) -> Iterator[None]:
    """Let this process write no file beyond `length`."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("parser", [into_file, by_blocks], ids=["moved", "by blocks"])
def test_a_target_that_fills_up_on_the_way_is_a_sink_error(
    serve: Serve,
    connect: Connect,
    open_file: Callable[..., int],
    parser: Callable[[int, int], Callable[[Response], int]],
) -> None:
    """A file that can grow no more after some of the body fails as the target's, and the connection is dropped."""
    data = pattern(5_000_000)
    server = serve(replies(reply(200, data), reply(200, b"next")))
    transport = connect(server)
    descriptor = open_file()
    with largest_file(2_500_001), pytest.raises(SinkError, match="File too large"):
        transport.exchange(GET, parser(descriptor, 0))
    assert os.pread(descriptor, 5_000_000, 0) == data[: os.fstat(descriptor).st_size]
    assert transport.exchange(GET, content) == b"next"
    assert [got.connection for got in server.requests] == [0, 1]


def test_a_target_without_splice_is_filled_by_hand(
    serve: Serve, connect: Connect, open_file: Callable[..., int]
) -> None:
    """A target that splice cannot write to (here: opened for appending) gets the same bytes."""
    data = pattern(3_000_000)
    server = serve(replies(reply(200, data)))
    descriptor = open_file()
    appending = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_APPEND)
    transport = connect(server)
    try:
        transport.exchange(GET, into_file(appending))
    finally:
        os.close(appending)
    assert os.pread(descriptor, 4_000_000, 0) == data
    other = open_file(name="other")
    transport.exchange(GET, into_file(other))
    assert os.pread(other, 4_000_000, 0) == data
    assert [got.connection for got in server.requests] == [0, 0]


def test_without_descriptors_for_a_pipe_the_bytes_go_another_way(
    serve: Serve, connect: Connect, open_file: Callable[..., int]
) -> None:
    """A process that is out of descriptors still fills the file."""
    data = pattern(3_000_000)
    server = serve(replies(reply(200, b"x"), reply(200, data)))
    transport = connect(server)
    descriptor = open_file()
    transport.exchange(GET, content)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    server.wait_for(lambda: server.connections == 1)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, before[1]))
    try:
        transport.exchange(GET, into_file(descriptor))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert os.pread(descriptor, 4_000_000, 0) == data


def test_a_range_of_a_file_is_read_whole_or_not_at_all(open_file: Callable[..., int]) -> None:
    """Exactly the asked bytes come, or an error that says where the file ends or why it cannot be read."""
    descriptor = open_file(pattern(1000))
    assert read_range(descriptor, 0, 1000, "f") == pattern(1000)
    assert read_range(descriptor, 990, 10, "f") == pattern(1000)[990:]
    assert read_range(descriptor, 5000, 0, "f") == b""
    with pytest.raises(SourceError, match="f is shorter than it was: it ends at byte 1000"):
        read_range(descriptor, 990, 11, "f")
    with pytest.raises(SourceError, match="f cannot be read: Bad file descriptor"):
        read_range(-1, 0, 1, "f")


def test_writing_stores_all_or_says_why(open_file: Callable[..., int]) -> None:
    """All bytes land at the offset; a descriptor that cannot be written is a sink error."""
    descriptor = open_file(b"0123456789")
    write_all(descriptor, memoryview(b"abc"), 3)
    write_all(descriptor, b"", 9)
    assert os.pread(descriptor, 100, 0) == b"012abc6789"
    with pytest.raises(SinkError, match="cannot be written"):
        write_all(-1, b"x", 0)
