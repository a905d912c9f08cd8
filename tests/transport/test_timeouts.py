"""A side that stops moving bytes is named, at whatever point it stops."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Callable

import pytest

from ds3tool.errors import TransportError
from ds3tool.protocol.messages import Request
from ds3tool.transport.bodies import FileRangeBody
from tests.transport.conftest import Connect, Serve
from tests.transport.exchanges import content, into_file, pattern, status
from tests.transport.scripted import Peer, reply

GET_ONCE = Request("GET", "/b/k", idempotent=False)
PUT_ONCE = Request("PUT", "/b/k", idempotent=False)


def stall(data: bytes) -> Callable[[Peer], None]:
    """Return a script that sends `data` and then nothing."""

    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(data)
        peer.until(threading.Event())

    return script


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nConte",
        reply(200, b"hal", length=6),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhal",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhal\r\n0\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nhal",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
    ids=["nothing", "head", "body", "chunk", "last chunk", "to the end", "interim"],
)
def test_a_server_that_stops_answering_is_named(
    serve: Serve,
    connect: Connect,
    server_context: ssl.SSLContext,
    ca_file: str,
    data: bytes,
    secure: bool,
) -> None:
    """Whether in the head or in the body, a stalled answer ends in an error that names the server and the time."""
    server = serve(stall(data), context=server_context if secure else None)
    transport = connect(server, io_timeout_seconds=0.2, ca_bundle=ca_file)
    with pytest.raises(TransportError, match=r"stopped answering: no byte for 0\.2 s") as raised:
        transport.exchange(GET_ONCE, content)
    assert f"127.0.0.1:{server.port}" in raised.value.message


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_a_stalled_body_on_its_way_into_a_file_is_named(
    serve: Serve,
    connect: Connect,
    server_context: ssl.SSLContext,
    ca_file: str,
    open_file: Callable[..., int],
    secure: bool,
) -> None:
    """Also where the kernel moves the bytes, a stall ends."""
    server = serve(stall(reply(200, pattern(500_000), length=1_000_000)), context=server_context if secure else None)
    with pytest.raises(TransportError, match="stopped answering"):
        connect(server, io_timeout_seconds=0.2, ca_bundle=ca_file).exchange(GET_ONCE, into_file(open_file()))


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("expect", [True, False], ids=["after 100", "unasked"])
def test_a_server_that_stops_taking_the_body_is_named(
    serve: Serve,
    connect: Connect,
    server_context: ssl.SSLContext,
    ca_file: str,
    open_file: Callable[..., int],
    secure: bool,
    expect: bool,
) -> None:
    """A server that does not read ends the put with an error that says so."""
    server = serve(
        stall(b"HTTP/1.1 100 Continue\r\n\r\n" if expect else b""), context=server_context if secure else None
    )
    descriptor = open_file()
    os.truncate(descriptor, 64 * 1024 * 1024)
    transport = connect(
        server,
        io_timeout_seconds=0.2,
        continue_wait_seconds=20 if expect else 0.01,
        ca_bundle=ca_file,
        max_retry_seconds=0.0,
    )
    with pytest.raises(TransportError, match=r"stopped taking the (body|request): no byte for 0\.2 s") as raised:
        transport.exchange(PUT_ONCE, status, body=FileRangeBody(descriptor, 0, 64 * 1024 * 1024, "file"))
    assert not raised.value.may_have_arrived


def test_a_slow_server_that_moves_is_waited_for(serve: Serve, connect: Connect) -> None:
    """The timeout counts from the last byte: an answer that takes several times as long in all is taken."""
    data = reply(200, b"x" * 30)

    def drip(peer: Peer) -> None:
        peer.read_request()
        for byte in data:
            threading.Event().wait(0.01)
            peer.send(bytes([byte]))

    assert connect(serve(drip), io_timeout_seconds=0.25).exchange(GET_ONCE, content) == b"x" * 30


def test_a_connect_without_an_answer_is_named(connect: Connect) -> None:
    """A host that does not answer a connect is named, with the time it was given."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port: int = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        transport = connect(f"http://127.0.0.1:{port}", connect_timeout_seconds=0.2, max_retry_seconds=0.0)
        with pytest.raises(TransportError, match=f"127.0.0.1:{port} does not answer: no connection within 0.2 s"):
            transport.exchange(GET_ONCE, status)
        for filler in fillers:
            filler.close()


def test_a_handshake_without_an_answer_is_named(serve: Serve, connect: Connect) -> None:
    """A server that accepts and then ignores the TLS handshake is named."""
    server = serve(lambda peer: peer.until(threading.Event()))
    transport = connect(f"https://127.0.0.1:{server.port}", connect_timeout_seconds=0.2, max_retry_seconds=0.0)
    with pytest.raises(TransportError, match=r"127\.0\.0\.1 did not finish the TLS handshake in time") as raised:
        transport.exchange(GET_ONCE, status)
    assert not raised.value.may_have_arrived
