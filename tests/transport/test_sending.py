"""What arrives of a body, and what a refusal costs."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ds3tool.clock import ManualClock
from ds3tool.errors import AccessDeniedError, ApplianceError, SourceError, TransportError
from ds3tool.protocol.messages import Request
from ds3tool.transport.bodies import BytesBody, FileRangeBody, Wire
from ds3tool.transport.connection import EXPECT_ABOVE_BYTES
from ds3tool.transport.ratelimit import RateLimit
from tests.transport.conftest import Connect, Serve
from tests.transport.exchanges import PUT, content, pattern, status
from tests.transport.scripted import GoneError, Peer, in_turn, refusal, replies, reply

PUT_ONCE = Request("PUT", "/bucket/key", idempotent=False)
LARGE = EXPECT_ABOVE_BYTES + 1


@dataclass
class Blocks:
    """A document that says `length` and gives `blocks`."""

    length: int
    blocks: list[bytes]
    walks: int = field(default=0)

    def __iter__(self) -> Iterator[bytes]:
        self.walks += 1
        return iter(self.blocks)


@dataclass
class FailingBody:
    """A source that fails with an OSError of its own in the middle."""

    length: int = 1000

    def send_to(self, wire: Wire) -> None:
        wire.send(b"x" * 10)
        raise OSError(5, "the disk is broken")


@pytest.mark.parametrize("limited", [False, True], ids=["free", "limited"])
@pytest.mark.parametrize(
    ("offset", "length"), [(0, 1), (0, 3_000_000), (12_345, 2_000_001), (2_999_999, 1), (5, LARGE)]
)
def test_a_file_range_arrives_as_it_is(
    serve: Serve,
    connect: Connect,
    open_file: Callable[..., int],
    offset: int,
    length: int,
    limited: bool,
) -> None:
    """Exactly the range's bytes arrive, with their length ahead, and each is counted once."""
    server = serve(replies(reply(200)))
    data = pattern(max(3_000_000, offset + length + 10))
    moved: list[int] = []
    limit = RateLimit(1 << 30, sleep=lambda _: None) if limited else None
    body = FileRangeBody(open_file(data), offset, length, "file", moved.append)
    assert connect(server, limit=limit).exchange(PUT, status, body=body) == 200
    (got,) = server.requests
    assert got.headers["content-length"] == str(length)
    assert ("expect" in got.headers) is (length > EXPECT_ABOVE_BYTES)
    assert got.body == data[offset : offset + length]
    assert sum(moved) == length


def test_requests_without_a_body_say_so_where_servers_insist(serve: Serve, connect: Connect) -> None:
    """PUT and POST without a body have length 0; GET, HEAD and DELETE have none."""
    server = serve(replies(reply(200)))
    transport = connect(server)
    for method in ("PUT", "POST", "GET", "DELETE"):
        transport.exchange(Request(method, "/x"), status)
    lengths = {got.method: got.headers.get("content-length") for got in server.requests}
    assert lengths == {"PUT": "0", "POST": "0", "GET": None, "DELETE": None}


def test_a_file_that_shrank_is_a_source_error_and_its_connection_is_dropped(
    serve: Serve, connect: Connect, open_file: Callable[..., int]
) -> None:
    """A file that ends before its range does fails, and what follows does not continue its body."""
    seen: list[bytes] = []

    def broken(peer: Peer) -> None:
        peer.read_head()
        seen.append(peer.read_to_end())

    server = serve(in_turn(broken, replies(reply(200, b"fine"))))
    transport = connect(server)
    with pytest.raises(SourceError, match="file is shorter than it was: it ends at byte 700"):
        transport.exchange(PUT, status, body=FileRangeBody(open_file(pattern(700)), 100, 1000, "file"))
    assert transport.exchange(PUT, content, body=BytesBody(b"whole")) == b"fine"
    server.wait_for(lambda: len(seen) == 1)
    assert seen == [pattern(700)[100:]]
    assert [(got.connection, got.body) for got in server.requests] == [(1, b"whole")]


@pytest.mark.parametrize("kind", ["directory", "closed"])
def test_a_source_that_cannot_be_read_is_a_source_error(
    serve: Serve, connect: Connect, clock: ManualClock, tmp_path: Path, kind: str
) -> None:
    """A descriptor that cannot be read fails as the source's, not as the connection's, and is not repeated."""
    descriptor = os.open(tmp_path, os.O_RDONLY)
    server = serve(replies(reply(200)))
    try:
        with pytest.raises(SourceError, match="cannot be read"):
            connect(server).exchange(
                PUT, status, body=FileRangeBody(-1 if kind == "closed" else descriptor, 0, 10, "folder")
            )
    finally:
        os.close(descriptor)
    assert (server.requests, clock.waits) == ([], [])


def test_a_source_that_sendfile_does_not_know_is_read_by_hand(serve: Serve, connect: Connect) -> None:
    """A file whose file system has no sendfile (here: one of /proc) arrives all the same."""
    server = serve(replies(reply(200)))
    content_of = Path("/proc/self/cmdline").read_bytes()
    descriptor = os.open("/proc/self/cmdline", os.O_RDONLY)
    try:
        body = FileRangeBody(descriptor, 1, len(content_of) - 1, "cmdline")
        connect(server).exchange(PUT, status, body=body)
    finally:
        os.close(descriptor)
    assert server.requests[0].body == content_of[1:]


def test_a_source_that_fails_in_its_own_words_is_a_source_error(
    serve: Serve, connect: Connect, clock: ManualClock
) -> None:
    """An OSError of a source is not taken for the connection's, which would be tried again for long."""
    server = serve(replies(reply(200)))
    with pytest.raises(SourceError, match="the disk is broken"):
        connect(server).exchange(PUT, status, body=FailingBody())
    assert (server.requests, clock.waits) == ([], [])


@pytest.mark.parametrize("blocks", [[b"abc"], [b"abc", b"d"], []], ids=["one", "two", "none"])
def test_a_document_shorter_than_it_said_is_a_source_error(serve: Serve, connect: Connect, blocks: list[bytes]) -> None:
    """A body that gives fewer bytes than announced fails at once instead of waiting for an answer."""
    server = serve(replies(reply(200)))
    with pytest.raises(SourceError, match="fewer than the 5"):
        connect(server).exchange(Request("PUT", "/x", body=Blocks(5, blocks)), status)
    assert server.requests == []


def test_a_document_longer_than_it_said_is_a_source_error_and_nothing_spills(serve: Serve, connect: Connect) -> None:
    """Bytes beyond the announced length are never sent: the server would read them as a request."""
    seen: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.read_head()
        seen.append(peer.read_to_end())

    server = serve(script)
    with pytest.raises(SourceError, match="more than it said"):
        connect(server).exchange(Request("PUT", "/x", body=Blocks(5, [b"abc", b"def"])), status)
    server.wait_for(lambda: len(seen) == 1)
    assert seen == [b"abc"]


def test_a_document_made_in_blocks_arrives_whole_each_time(serve: Serve, connect: Connect) -> None:
    """A document of blocks is walked again from its start when the request is repeated."""
    server = serve(replies(refusal(503, "SlowDown"), reply(200)))
    body = Blocks(6, [b"abc", b"", b"def"])
    connect(server).exchange(Request("PUT", "/x", body=body), status)
    assert [got.body for got in server.requests] == [b"abcdef", b"abcdef"]
    assert body.walks == 2


# -- 100-continue ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [403, 404, 409])
def test_a_refusal_spares_a_large_body(
    serve: Serve, connect: Connect, open_file: Callable[..., int], code: int
) -> None:
    """A server that refuses a large put on its head gets no byte of the body."""
    seen: list[bytes] = []

    def script(peer: Peer) -> None:
        got = peer.read_head()
        assert got.headers["expect"] == "100-continue"
        peer.send(refusal(code, "No"))
        seen.append(peer.read_to_end())

    server = serve(script)
    body = FileRangeBody(open_file(pattern(LARGE)), 0, LARGE, "file")
    with pytest.raises(ApplianceError) as raised:
        connect(server, continue_wait_seconds=20).exchange(PUT, status, body=body)
    assert raised.value.status == code
    server.wait_for(lambda: len(seen) == 1)
    assert seen == [b""]


def test_a_server_that_ignores_expect_gets_the_body(
    serve: Serve, connect: Connect, open_file: Callable[..., int]
) -> None:
    """After its patience, the body is sent unasked; a `100` that comes late is passed over."""

    def script(peer: Peer) -> None:
        peer.finish_request(peer.read_head())
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n" + reply(200, b"late"))

    server = serve(script)
    body = FileRangeBody(open_file(pattern(LARGE)), 0, LARGE, "file")
    assert connect(server, continue_wait_seconds=0.02).exchange(PUT, content, body=body) == b"late"
    assert server.requests[0].body == pattern(LARGE)


def test_other_interim_replies_do_not_start_the_body(
    serve: Serve, connect: Connect, open_file: Callable[..., int]
) -> None:
    """A `102` is not the `100` that a large body waits for."""

    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        peer.socket.settimeout(0.1)  # a wait for what must not come
        with pytest.raises(TimeoutError):
            peer.socket.recv(1)
        peer.socket.settimeout(None)
        peer.send(refusal(403, "AccessDenied"))
        assert peer.read_to_end() == b""

    body = FileRangeBody(open_file(pattern(LARGE)), 0, LARGE, "file")
    with pytest.raises(AccessDeniedError):
        connect(serve(script), continue_wait_seconds=20).exchange(PUT, status, body=body)


def test_a_417_lets_the_body_be_sent_unasked(serve: Serve, connect: Connect, open_file: Callable[..., int]) -> None:
    """A proxy that does not know `Expect` refuses it with 417; the same put without it succeeds."""

    def unwilling(peer: Peer) -> None:
        assert "expect" in peer.read_head().headers
        peer.send(reply(417))

    def willing(peer: Peer) -> None:
        got = peer.read_head()
        assert "expect" not in got.headers
        peer.finish_request(got)
        peer.send(reply(200, b"thanks"))

    server = serve(in_turn(unwilling, willing))
    body = FileRangeBody(open_file(pattern(LARGE)), 0, LARGE, "file")
    assert connect(server, continue_wait_seconds=20).exchange(PUT_ONCE, content, body=body) == b"thanks"
    assert server.requests[0].body == pattern(LARGE)


# -- an answer before the body is through ----------------------------------------------------------------------


def endless(open_file: Callable[..., int], length: int = 256 * 1024 * 1024) -> FileRangeBody:
    """Return a body that no socket buffer can swallow."""
    descriptor = open_file()
    os.truncate(descriptor, length)
    return FileRangeBody(descriptor, 0, length, "file")


@pytest.mark.parametrize("ending", ["close", "reset", "stall", "go on reading"])
@pytest.mark.parametrize("asked", [True, False], ids=["after 100", "unasked"])
def test_a_refusal_in_the_middle_of_a_body_is_reported_as_that_refusal(
    serve: Serve,
    connect: Connect,
    open_file: Callable[..., int],
    ending: str,
    asked: bool,
) -> None:
    """A 400 that comes while the body is sent is the failure, not the broken pipe behind it, and sending stops."""
    swallowed: list[int] = []

    def script(peer: Peer) -> None:
        peer.read_head()
        if asked:
            peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        peer.read(3_000_000)
        peer.send(refusal(400, "BadDigest"))
        if ending == "reset":
            peer.reset()
        elif ending == "stall":
            peer.until(threading.Event())
        elif ending == "go on reading":
            swallowed.append(len(peer.read_to_end()))

    server = serve(script)
    transport = connect(
        server, io_timeout_seconds=0.3 if ending == "stall" else 20, continue_wait_seconds=20 if asked else 0.01
    )
    body = endless(open_file)
    with pytest.raises(ApplianceError) as raised:
        transport.exchange(PUT_ONCE, status, body=body)
    assert (raised.value.status, raised.value.code) == (400, "BadDigest")
    assert server.connections == 1
    if ending == "go on reading":
        server.wait_for(lambda: len(swallowed) == 1)
        assert swallowed[0] < body.length // 2


def test_a_small_body_that_is_refused_early_is_reported_as_that_refusal(serve: Serve, connect: Connect) -> None:
    """A server that refuses on the head and resets leaves the refusal to be read, also of a body in memory."""

    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(refusal(403, "AccessDenied"))
        peer.reset()

    transport = connect(serve(script), continue_wait_seconds=0.01)
    for _ in range(20):
        with pytest.raises((AccessDeniedError, TransportError)) as raised:
            transport.exchange(PUT_ONCE, status, body=BytesBody(pattern(7_000_000)))
        assert isinstance(raised.value, AccessDeniedError)


def test_an_acceptance_before_the_end_of_the_body_is_not_believed(
    serve: Serve, connect: Connect, open_file: Callable[..., int]
) -> None:
    """A 200 to half a body is no proof that the appliance has all of it."""

    def script(peer: Peer) -> None:
        peer.read_head()
        peer.read(1_000_000)
        peer.send(reply(200))

    with pytest.raises(TransportError, match="before it had the whole"):
        connect(serve(script), continue_wait_seconds=0.01).exchange(PUT_ONCE, status, body=endless(open_file))


def test_an_acceptance_instead_of_100_is_not_believed(
    serve: Serve, connect: Connect, open_file: Callable[..., int]
) -> None:
    """A 200 in the place of `100 Continue` is a failure: no byte of the body was sent."""

    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(reply(200))

    with pytest.raises(TransportError, match="before it had the whole"):
        connect(serve(script), continue_wait_seconds=20).exchange(PUT_ONCE, status, body=endless(open_file))


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "close"])
def test_a_connection_that_breaks_under_a_body_without_an_answer_is_a_transport_error(
    serve: Serve,
    connect: Connect,
    open_file: Callable[..., int],
    reset: bool,
) -> None:
    """Without any reply, a broken connection stays a broken connection."""

    def script(peer: Peer) -> None:
        peer.read_head()
        peer.read(1_000_000)
        if reset:
            peer.reset()
        raise GoneError

    with pytest.raises(TransportError):
        connect(serve(script), continue_wait_seconds=0.01).exchange(PUT_ONCE, status, body=endless(open_file))
