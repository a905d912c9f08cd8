"""Connections are used again when, and only when, nobody can doubt where the last reply ended."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from ds3tool.clock import ManualClock
from ds3tool.errors import ApplianceError, TransportError, UsageError
from ds3tool.protocol.messages import Request, Response
from ds3tool.transport.bodies import BytesBody
from tests.transport.conftest import Connect, Serve, open_descriptors
from tests.transport.exchanges import CREATE, GET, PUT, content, into_file, pattern, status
from tests.transport.scripted import WAIT_SECONDS, Peer, Script, chunked, in_turn, refusal, replies, reply

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def first_block(response: Response) -> bytes:
    """Read a little and turn away."""
    return next(iter(response.body))


def test_many_exchanges_use_one_connection(serve: Serve, connect: Connect) -> None:
    """Of any method and outcome, exchanges one after another stay on one connection."""
    each = [
        reply(200, b"x" * 100),
        reply(204, reason="No Content").replace(b"Content-Length: 0\r\n", b""),
        CHUNKED + chunked(b"a", b"bc"),
        refusal(404, "NoSuchKey"),
        reply(200),
    ]
    server = serve(replies(*each * 10))
    transport = connect(server)
    for number in range(50):
        request = (GET, PUT, Request("DELETE", "/x"))[number % 3]
        if number % 5 == 3:
            with pytest.raises(ApplianceError):
                transport.exchange(request, content)
        else:
            transport.exchange(request, content, body=BytesBody(b"body") if request is PUT else None)
    assert {got.connection for got in server.requests} == {0}


def test_connection_close_is_honoured(serve: Serve, connect: Connect) -> None:
    """A reply that says `Connection: close` is the last of its connection."""
    server = serve(replies(reply(200, b"x", headers=[("Connection", "close")])))
    transport = connect(server)
    for _ in range(3):
        transport.exchange(GET, content)
    assert [got.connection for got in server.requests] == [0, 1, 2]


@pytest.mark.parametrize("parse", [status, first_block], ids=["unread", "begun"])
@pytest.mark.parametrize(
    "raw",
    [reply(200, pattern(300_000)), CHUNKED + chunked(pattern(200_000), pattern(100_000)), CHUNKED + chunked(b"x")],
    ids=["plain", "chunked", "chunked small"],
)
def test_a_small_rest_is_read_away(
    serve: Serve, connect: Connect, parse: Callable[[Response], object], raw: bytes
) -> None:
    """A body that its parser did not read to the end does not become the next reply, nor cost the connection."""
    server = serve(replies(raw, reply(200, b"second")))
    transport = connect(server)
    transport.exchange(GET, parse)
    assert transport.exchange(GET, content) == b"second"
    assert [got.connection for got in server.requests] == [0, 0]


@pytest.mark.parametrize("parse", [status, first_block], ids=["unread", "begun"])
@pytest.mark.parametrize(
    "raw",
    [reply(200, pattern(5_000_000)), CHUNKED + chunked(*[pattern(100_000)] * 50)],
    ids=["plain", "chunked"],
)
def test_a_large_rest_costs_the_connection(
    serve: Serve, connect: Connect, parse: Callable[[Response], object], raw: bytes
) -> None:
    """Megabytes that nobody wants are not read: the next exchange has a new connection, and its own answer."""
    server = serve(replies(raw, reply(200, b"second")))
    transport = connect(server)
    transport.exchange(GET, parse)
    assert transport.exchange(GET, content) == b"second"
    assert [got.connection for got in server.requests] == [0, 1]


def test_a_parser_that_raises_does_not_poison_the_pool(serve: Serve, connect: Connect) -> None:
    """After a parser gave up in the middle of a body, the next exchange gets its own answer."""
    server = serve(replies(reply(200, pattern(300_000)), reply(200, b"second")))
    transport = connect(server)

    def parse(response: Response) -> None:
        next(iter(response.body))
        raise KeyError("what is this")

    with pytest.raises(KeyError):
        transport.exchange(GET, parse)
    assert transport.exchange(GET, content) == b"second"
    assert [got.connection for got in server.requests] == [0, 1]


def test_a_file_move_that_failed_and_was_swallowed_does_not_poison_the_pool(serve: Serve, connect: Connect) -> None:
    """A parser that hides a failed move into a file leaves a connection that nobody uses again."""
    server = serve(replies(reply(200, pattern(300_000)), reply(200, b"second")))
    transport = connect(server)

    def parse(response: Response) -> str:
        try:
            into_file(-1)(response)
        except Exception:  # noqa: BLE001
            return "hidden"
        return "moved"

    assert transport.exchange(GET, parse) == "hidden"
    assert transport.exchange(GET, content) == b"second"
    assert [got.connection for got in server.requests] == [0, 1]


def test_a_body_is_given_once_however_often_it_is_walked(serve: Serve, connect: Connect) -> None:
    """A parser that walks a body in two goes gets every byte once, and its end."""
    data = pattern(3_000_000)
    server = serve(replies(reply(200, data)))

    def parse(response: Response) -> bytes:
        first = next(iter(response.body))
        return first + b"".join(response.body) + b"".join(response.body)

    assert connect(server).exchange(GET, parse) == data


def test_a_body_begun_cannot_be_moved_into_a_file(
    serve: Serve, connect: Connect, open_file: Callable[..., int]
) -> None:
    """Moving into a file after reading a block would store the rest at the wrong place, so it is refused."""
    server = serve(replies(reply(200, pattern(3_000_000))))
    descriptor = open_file()

    def parse(response: Response) -> None:
        next(iter(response.body))
        into_file(descriptor)(response)

    with pytest.raises(UsageError):
        connect(server).exchange(GET, parse)
    assert os.fstat(descriptor).st_size == 0


@pytest.mark.parametrize("begun", [False, True])
def test_a_body_cannot_be_read_after_its_exchange(
    serve: Serve,
    connect: Connect,
    begun: bool,
) -> None:
    """A body that a parser lets escape raises, rather than read what belongs to the next exchange."""
    server = serve(replies(reply(200, pattern(5_000_000)), reply(200, pattern(1000))))
    transport = connect(server)

    def parse(response: Response) -> Response:
        if begun:
            next(iter(response.body))
        return response

    escaped = transport.exchange(GET, parse)
    with pytest.raises(UsageError):
        b"".join(escaped.body)
    assert transport.exchange(GET, content) == pattern(1000)


@pytest.mark.parametrize("extra", [b"x", reply(200, b"not asked for"), b"\r\n"], ids=["byte", "reply", "line"])
def test_bytes_behind_a_reply_are_never_the_next_reply(serve: Serve, connect: Connect, extra: bytes) -> None:
    """A connection on which more came than was asked for is dropped."""
    server = serve(replies(reply(200, b"first") + extra, reply(200, b"second")))
    transport = connect(server)
    assert transport.exchange(GET, content) == b"first"
    assert transport.exchange(GET, content) == b"second"
    assert [got.connection for got in server.requests] == [0, 1]


@pytest.mark.parametrize("ending", ["close", "reset", "408"])
def test_a_connection_that_went_stale_is_noticed(
    serve: Serve, connect: Connect, clock: ManualClock, ending: str
) -> None:
    """A kept connection that the other side ended costs nothing, not even a call that must not be done twice."""
    ended = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(reply(200, b"first"))
        go.wait(WAIT_SECONDS)
        if ending == "408":
            peer.send(refusal(408, "RequestTimeout"))
        elif ending == "reset":
            peer.reset()
        else:
            peer.close()
        ended.set()
        if ending == "408":
            peer.read_to_end()

    go = threading.Event()
    server = serve(in_turn(script, replies(reply(200, b"second"))))
    transport = connect(server)
    assert transport.exchange(GET, content) == b"first"
    go.set()
    assert ended.wait(WAIT_SECONDS)
    assert transport.exchange(CREATE, content) == b"second"
    assert [got.connection for got in server.requests] == [0, 1]
    assert clock.waits == []


def echo(peer: Peer) -> None:
    """Answer each request with its own target and body."""
    while True:
        got = peer.read_request()
        peer.send(reply(200, got.target.encode() + b" " + got.body))


def test_eight_threads_each_get_their_own_answers(serve: Serve, connect: Connect) -> None:
    """Of 1,600 exchanges by eight threads none gets another's answer, over at most eight connections."""
    server = serve(echo)
    transport = connect(server)

    def work(thread: int) -> int:
        wrong = 0
        for number in range(200):
            body = b"%d" % (thread * 1000 + number) * (number % 50)
            answer = transport.exchange(PUT, content, body=BytesBody(body))
            wrong += answer != b"/bucket/key " + body
        return wrong

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(8))) == 0
    assert len(server.requests) == 1600
    assert server.connections <= 8


def awkward(peer: Peer) -> None:
    """Answer rightly, each connection in a manner of its own, and end some without a word."""
    for number in range(7 + peer.number % 5):
        got = peer.read_request()
        body = got.target.encode()
        if (peer.number + number) % 3 == 0:
            peer.send(CHUNKED + chunked(*(bytes([byte]) for byte in body)))
        elif (peer.number + number) % 3 == 1:
            peer.send(reply(200, body, headers=[("Connection", "close")]))
            return
        else:
            peer.send(reply(200, body))
    if peer.number % 2:
        peer.reset()


def test_awkward_servers_do_not_mix_up_answers(serve: Serve, connect: Connect) -> None:
    """Whatever way connections end, every thread gets the answers to its own requests."""
    transport = connect(serve(awkward))

    def work(thread: int) -> int:
        return sum(
            transport.exchange(Request("GET", f"/{thread}/{number}"), content) != f"/{thread}/{number}".encode()
            for number in range(100)
        )

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(8))) == 0


def test_close_gives_every_descriptor_back(serve: Serve, connect: Connect, open_file: Callable[..., int]) -> None:
    """After `close`, sockets and splice pipes are gone, and asking again fails at once."""
    descriptors = [open_file(name=str(number)) for number in range(4)]
    before = open_descriptors()
    gate = threading.Barrier(4)
    server = serve(meeting(gate))
    transport = connect(server)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda fd: transport.exchange(GET, into_file(fd)), descriptors)) == [3_000_000] * 4
    during = open_descriptors()
    server.close()
    transport.close()
    transport.close()
    assert during - before >= 4 * 3  # a socket and a pipe each, at least
    assert open_descriptors() == before
    with pytest.raises(TransportError, match="closed"):
        transport.exchange(GET, status)


def meeting(gate: threading.Barrier) -> Script:
    """Answer once all connections have asked, so that each is in use at the same time."""

    def script(peer: Peer) -> None:
        peer.read_request()
        gate.wait(WAIT_SECONDS)
        peer.send(reply(200, pattern(3_000_000)))
        peer.read_request()

    return script


def test_an_exchange_after_close_does_not_wait(serve: Serve, connect: Connect, clock: ManualClock) -> None:
    """A closed client says so at once instead of trying again for its whole budget."""
    transport = connect(serve(replies(reply(200))))
    transport.exchange(GET, status)
    transport.close()
    with pytest.raises(TransportError, match="closed"):
        transport.exchange(GET, status)
    assert clock.waits == []
