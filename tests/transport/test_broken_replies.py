"""A reply that breaks off is a failure, wherever it breaks off, and never a short body."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from ds3tool.errors import NotFoundError, ProtocolError, TransportError
from ds3tool.protocol.messages import Request, Response
from tests.transport.conftest import Connect, Serve
from tests.transport.exchanges import content, into_file, pattern, status
from tests.transport.scripted import Peer, chunked, in_turn, refusal, replies, reply

ONCE = Request("GET", "/bucket/key", idempotent=False)  # a failure shows at once

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"hello", b" world", trailers=b"A: b\r\n")
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize("raw", [PLAIN, CHUNKED, INTERIM], ids=["plain", "chunked", "interim"])
@pytest.mark.parametrize("parse", [content, status], ids=["body read", "body left"])
@pytest.mark.parametrize("ending", ["close", "reset"])
def test_a_reply_cut_anywhere_is_a_transport_error(
    serve: Serve, connect: Connect, raw: bytes, parse: Callable[[Response], object], ending: str
) -> None:
    """Cut after any of its bytes, a reply is no answer, also when nobody wanted its body."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(raw[: peer.number])
        if ending == "reset":
            peer.reset()
        else:
            peer.close()

    transport = connect(serve(script))
    for _ in range(len(raw)):
        with pytest.raises(TransportError):
            transport.exchange(ONCE, parse)
    transport.exchange(ONCE, parse)


def test_a_body_to_the_end_of_its_connection_is_whole_only_without_a_reset(serve: Serve, connect: Connect) -> None:
    """A body that only its connection ends is taken when it ends in order, and not when it is reset."""
    head = b"HTTP/1.1 200 OK\r\n\r\n"

    def good(peer: Peer) -> None:
        peer.read_request()
        peer.send(head + b"all of it")

    def bad(peer: Peer) -> None:
        peer.read_request()
        peer.send(head + b"some of it")
        peer.reset()

    transport = connect(serve(in_turn(good, bad)))
    assert transport.exchange(ONCE, content) == b"all of it"
    with pytest.raises(TransportError):
        transport.exchange(ONCE, content)


@pytest.mark.parametrize("cut", [0, 1, 60_000, 200_000, 999_999])
def test_a_body_cut_on_its_way_into_a_file_is_a_transport_error(
    serve: Serve, connect: Connect, open_file: Callable[..., int], cut: int
) -> None:
    """A file is not filled with less than the reply promised without an error."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(reply(200, pattern(1_000_000)[:cut], length=1_000_000))

    transport = connect(serve(script))
    with pytest.raises(TransportError, match=f"after {cut} of 1000000 bytes"):
        transport.exchange(ONCE, into_file(open_file()))


def test_a_malformed_body_is_a_protocol_error_and_not_repeated(serve: Serve, connect: Connect) -> None:
    """A chunk without a size breaks the rules: asking again would not help, and the connection is dropped."""
    bad = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzzz\r\n"
    server = serve(replies(bad, reply(200, b"good")))
    transport = connect(server)
    with pytest.raises(ProtocolError):
        transport.exchange(Request("GET", "/a"), content)
    assert len(server.requests) == 1
    assert transport.exchange(Request("GET", "/b"), content) == b"good"
    assert [got.connection for got in server.requests] == [0, 1]


@pytest.mark.parametrize(
    "raw",
    [
        refusal(404, "NoSuchKey")[:-20],
        b"HTTP/1.1 404 Gone\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        b"HTTP/1.1 404 Gone\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
        b"HTTP/1.1 404 Gone\r\n\r\n<html>who knows",
        b"HTTP/1.1 404 Gone\r\nContent-Length: 9999999\r\n\r\n" + b"x" * 3_000_000,
    ],
    ids=["cut", "malformed chunk", "cut chunk", "to the end", "huge"],
)
def test_a_refusal_whose_document_is_broken_is_still_that_refusal(serve: Serve, connect: Connect, raw: bytes) -> None:
    """The status alone is an answer: a broken document makes no other failure of it."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(raw)

    server = serve(script)
    transport = connect(server)
    with pytest.raises(NotFoundError) as raised:
        transport.exchange(ONCE, content)
    assert raised.value.status == 404
    assert len(server.requests) == 1


def test_an_empty_file_range_is_no_reason_to_wait(
    serve: Serve, connect: Connect, open_file: Callable[..., int]
) -> None:
    """A reply of length 0 into a file leaves the file as it is."""
    transport = connect(serve(replies(reply(200))))
    descriptor = open_file(b"before")
    assert transport.exchange(ONCE, into_file(descriptor)) == 0
    assert os.pread(descriptor, 100, 0) == b"before"
