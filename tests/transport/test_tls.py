"""TLS: who is trusted, what the refusals say, and that bytes are whole."""

from __future__ import annotations

import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from ds3tool.clock import ManualClock
from ds3tool.errors import ConfigError, TlsError, TransportError
from ds3tool.protocol.messages import Request, Response
from ds3tool.transport.bodies import BytesBody, FileRangeBody
from ds3tool.transport.connection import EXPECT_ABOVE_BYTES
from ds3tool.transport.tls import wrap
from tests.transport.conftest import Connect, Serve
from tests.transport.exchanges import GET, PUT, Running, content, into_file, pattern, status
from tests.transport.scripted import WAIT_SECONDS, Peer, Script, in_turn, refusal, replies, reply

ONCE = Request("GET", "/b/k", idempotent=False)


def test_the_right_authority_is_trusted_and_the_connection_kept(
    serve: Serve, connect: Connect, server_context: ssl.SSLContext, ca_file: str
) -> None:
    """With the CA bundle, exchanges work, all on one connection (session tickets do not make it look stale)."""
    server = serve(replies(reply(200, b"secret")), context=server_context)
    transport = connect(server, ca_bundle=ca_file)
    for _ in range(5):
        assert transport.exchange(GET, content) == b"secret"
    assert {got.connection for got in server.requests} == {0}


def test_an_unknown_authority_is_refused_with_a_way_out(
    serve: Serve, connect: Connect, server_context: ssl.SSLContext, clock: ManualClock
) -> None:
    """Without the bundle the certificate is not accepted, once; nothing is sent, and the hint names both ways out."""
    server = serve(replies(reply(200)), context=server_context)
    with pytest.raises(TlsError, match=r"certificate of 127\.0\.0\.1 is not accepted") as raised:
        connect(server).exchange(GET, status)
    assert raised.value.hint is not None
    assert "--ca-bundle" in raised.value.hint
    assert "--no-verify-ssl" in raised.value.hint
    server.wait_for(lambda: len(server.handshake_failures) == 1)
    assert (server.requests, clock.waits) == ([], [])


def test_another_hosts_certificate_is_refused(
    serve: Serve, connect: Connect, authority: trustme.CA, ca_file: str, clock: ManualClock
) -> None:
    """A good certificate of another host is not accepted, and the hint says to use its name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.example.org").configure_cert(context)
    server = serve(replies(reply(200)), context=context)
    with pytest.raises(TlsError, match="is not accepted") as raised:
        connect(server, ca_bundle=ca_file).exchange(GET, status)
    assert raised.value.hint is not None
    assert "host name" in raised.value.hint
    server.wait_for(lambda: len(server.handshake_failures) == 1)
    assert (server.requests, clock.waits) == ([], [])


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", b"220 ready\r\n"])
def test_a_port_without_tls_is_named(serve: Serve, connect: Connect, clock: ManualClock, answer: bytes) -> None:
    """https to a plain port says that it is one, once, and to try http."""

    def script(peer: Peer) -> None:
        peer.socket.recv(1)
        peer.send(answer)
        peer.read_to_end()

    server = serve(script)
    with pytest.raises(TlsError, match="does not speak TLS") as raised:
        connect(f"https://127.0.0.1:{server.port}").exchange(GET, status)
    assert raised.value.hint is not None
    assert "http://" in raised.value.hint
    assert server.connections == 1
    assert clock.waits == []


def test_a_handshake_that_is_cut_off_may_be_tried_again(serve: Serve, connect: Connect, clock: ManualClock) -> None:
    """A server that closes in the handshake (it restarts) is no refusal: it is asked again, within the budget."""

    def script(peer: Peer) -> None:
        peer.socket.recv(10_000)

    server = serve(script)
    with pytest.raises(TransportError, match="TLS handshake") as raised:
        connect(f"https://127.0.0.1:{server.port}", max_retry_seconds=3.0).exchange(ONCE, status)
    assert not isinstance(raised.value, TlsError)
    assert not raised.value.may_have_arrived
    assert clock.waits


def alert(number: int) -> Script:
    """Return a script that ends a handshake with a fatal alert."""

    def script(peer: Peer) -> None:
        peer.socket.recv(10_000)
        peer.send(bytes([21, 3, 3, 0, 2, 2, number]))

    return script


def garbled(peer: Peer) -> None:
    """Answer the first message with one that was damaged on its way."""
    peer.socket.recv(10_000)
    peer.send(bytes([22, 3, 3, 0, 8, 2, 0, 0, 4, 3, 3, 255, 255]))


# Numbers of alerts. Source: RFC 8446, section 6.
TROUBLE = {"unexpected message": 10, "bad record": 20, "decode": 50, "decrypt": 51, "internal": 80, "user canceled": 90}
NO_AGREEMENT = {
    "handshake failure": 40,
    "bad certificate": 42,
    "unsupported certificate": 43,
    "certificate revoked": 44,
    "certificate expired": 45,
    "certificate unknown": 46,
    "unknown authority": 48,
    "access denied": 49,
    "protocol version": 70,
    "insufficient security": 71,
    "unrecognized name": 112,
    "certificate required": 116,
}


@pytest.mark.parametrize(
    "trouble",
    [lambda peer: None, Peer.reset, garbled, *map(alert, TROUBLE.values())],
    ids=["closed", "reset", "garbled", *TROUBLE],
)
def test_a_handshake_in_trouble_is_begun_again_whatever_the_request(
    serve: Serve, connect: Connect, server_context: ssl.SSLContext, ca_file: str, trouble: Script
) -> None:
    """A server that breaks handshakes off while it starts is asked until it is there; nothing was sent before."""

    def at_last(peer: Peer) -> None:
        peer.socket = server_context.wrap_socket(peer.socket, server_side=True)
        replies(reply(200, b"here"))(peer)

    server = serve(in_turn(trouble, trouble, trouble, at_last))
    transport = connect(f"https://127.0.0.1:{server.port}", ca_bundle=ca_file)
    assert transport.exchange(ONCE, content) == b"here"
    assert len(server.requests) == 1


def test_a_connection_reset_before_the_handshake_is_trouble_that_may_pass(nothing_left: None) -> None:
    """A server that resets what it has just accepted is told as a handshake broken off, and nothing stays open."""
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()) as ours:
        accepted, _ = listening.accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        accepted.close()
        broken = select.poll()
        broken.register(ours, 0)
        assert broken.poll(WAIT_SECONDS * 1000), "the reset has not come"
        with pytest.raises(TransportError, match="broke off the TLS handshake: Connection reset") as raised:
            wrap(ours, ssl.create_default_context(), "127.0.0.1")
    assert not isinstance(raised.value, TlsError)
    assert not raised.value.may_have_arrived


@pytest.mark.parametrize("number", NO_AGREEMENT.values(), ids=NO_AGREEMENT)
def test_a_handshake_on_which_nobody_agrees_is_told_at_once(
    serve: Serve, connect: Connect, clock: ManualClock, number: int
) -> None:
    """What would be refused the same way in a quarter of an hour is refused now, with a way out."""
    server = serve(alert(number))
    with pytest.raises(TlsError, match="do not agree on TLS") as raised:
        connect(f"https://127.0.0.1:{server.port}").exchange(GET, status)
    assert raised.value.hint is not None
    assert server.connections == 1
    assert clock.waits == []


@pytest.mark.parametrize(
    ("begins", "ends", "hint"), [(-20, -10, "has expired"), (10, 20, "clock right")], ids=["expired", "not yet valid"]
)
def test_a_certificate_out_of_its_time_is_refused_at_once(
    serve: Serve,
    connect: Connect,
    authority: trustme.CA,
    ca_file: str,
    clock: ManualClock,
    begins: int,
    ends: int,
    hint: str,
) -> None:
    """A certificate that has expired, or does not count yet, is not accepted, once, and the hint says which it is."""
    today = datetime.now(UTC)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(
        "127.0.0.1", not_before=today + timedelta(days=begins), not_after=today + timedelta(days=ends)
    ).configure_cert(context)
    server = serve(replies(reply(200)), context=context)
    with pytest.raises(TlsError, match="is not accepted") as raised:
        connect(server, ca_bundle=ca_file).exchange(GET, status)
    assert hint in (raised.value.hint or "")
    assert (server.connections, clock.waits) == (1, [])


def test_without_verification_any_certificate_will_do(
    serve: Serve, connect: Connect, server_context: ssl.SSLContext
) -> None:
    """`verify_tls` False accepts a certificate that nobody vouches for."""
    server = serve(replies(reply(200, b"x")), context=server_context)
    assert connect(server, verify_tls=False).exchange(GET, content) == b"x"


@pytest.mark.parametrize("text", [None, "", "no certificate at all"], ids=["missing", "empty", "nonsense"])
def test_a_bundle_that_cannot_be_used_is_a_config_error(connect: Connect, tmp_path: Path, text: str | None) -> None:
    """A bundle that is missing or holds no certificate is told before anything is sent."""
    path = tmp_path / "bundle.pem"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=r"bundle\.pem"):
        connect("https://127.0.0.1:1", ca_bundle=str(path))


def test_a_put_sends_a_file_range_whole(
    serve: Serve, connect: Connect, server_context: ssl.SSLContext, ca_file: str, open_file: Callable[..., int]
) -> None:
    """Over TLS the exact range arrives, also of a body that asks for 100-continue."""
    server = serve(replies(reply(200)), context=server_context)
    transport = connect(server, ca_bundle=ca_file)
    data = pattern(EXPECT_ABOVE_BYTES + 1_000_000)
    for offset, length in [(0, 1), (1234, 3_000_001), (999, EXPECT_ABOVE_BYTES + 1)]:
        moved: list[int] = []
        body = FileRangeBody(open_file(data), offset, length, "file", moved.append)
        transport.exchange(PUT, status, body=body)
        assert server.requests[-1].body == data[offset : offset + length]
        assert sum(moved) == length


def test_a_get_into_a_file_is_whole(
    serve: Serve, connect: Connect, server_context: ssl.SSLContext, ca_file: str, open_file: Callable[..., int]
) -> None:
    """Over TLS a file gets exactly the body, at its offset."""
    data = pattern(3_000_001)
    server = serve(replies(reply(200, data)), context=server_context)
    descriptor = open_file()
    connect(server, ca_bundle=ca_file).exchange(GET, into_file(descriptor, 4097))
    with open(descriptor, "rb", closefd=False) as file:
        assert file.read() == bytes(4097) + data


def test_blocks_of_a_body_over_tls_stay_as_they_were_given(
    serve: Serve, connect: Connect, server_context: ssl.SSLContext, ca_file: str
) -> None:
    """Blocks are put together of many records, and one that is kept is not overwritten by the next."""
    data = pattern(1_000_001)
    server = serve(replies(reply(200, data)), context=server_context)
    blocks = connect(server, ca_bundle=ca_file).exchange(GET, lambda response: list(response.body))
    assert b"".join(blocks) == data
    assert max(len(block) for block in blocks) > 4 * 16 * 1024


@pytest.mark.parametrize("end", ["cut", "stall"])
def test_what_came_over_tls_before_the_connection_failed_is_given_first(
    serve: Serve, connect: Connect, server_context: ssl.SSLContext, ca_file: str, end: str
) -> None:
    """A body that breaks off in the midst of a block gives all that came, then says what became of the rest."""
    data = pattern(300_000)
    over = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(reply(200, data)[: -len(data)])
        peer.send(data[:200_000])
        if end == "cut":
            peer.socket.shutdown(socket.SHUT_RDWR)  # in the clear: without close_notify
        else:
            peer.until(over)

    came = bytearray()

    def parse(response: Response) -> None:
        came.clear()
        for block in response.body:
            came.extend(block)

    transport = connect(
        serve(script, context=server_context), ca_bundle=ca_file, io_timeout_seconds=0.3, max_retry_seconds=0.0
    )
    with pytest.raises(TransportError, match="cut the TLS connection" if end == "cut" else "no byte for"):
        transport.exchange(ONCE, parse)
    over.set()
    assert came == data[:200_000]


def test_a_server_that_ignores_expect_gets_the_body_over_tls(
    serve: Serve, connect: Connect, server_context: ssl.SSLContext, ca_file: str, open_file: Callable[..., int]
) -> None:
    """TLS's own messages after the handshake are not taken for the answer to `Expect`."""

    def script(peer: Peer) -> None:
        peer.finish_request(peer.read_head())
        peer.send(reply(200, b"thanks"))

    server = serve(script, context=server_context)
    length = EXPECT_ABOVE_BYTES + 1
    body = FileRangeBody(open_file(pattern(length)), 0, length, "file")
    transport = connect(server, ca_bundle=ca_file, continue_wait_seconds=0.05)
    assert transport.exchange(Request("PUT", "/x", idempotent=False), content, body=body) == b"thanks"
    assert server.requests[0].body == pattern(length)


def test_a_refusal_in_the_middle_of_a_body_is_reported_over_tls(
    serve: Serve, connect: Connect, server_context: ssl.SSLContext, ca_file: str
) -> None:
    """Over TLS too, an early 400 is the failure and not the connection's end behind it."""

    def script(peer: Peer) -> None:
        peer.read_head()
        peer.read(1_000_000)
        peer.send(refusal(400, "BadDigest"))
        peer.socket.close()

    server = serve(script, context=server_context)
    transport = connect(server, ca_bundle=ca_file, continue_wait_seconds=0.01)
    with pytest.raises(Exception, match="BadDigest"):
        transport.exchange(Request("PUT", "/x", idempotent=False), status, body=BytesBody(bytes(64 * 1024 * 1024)))


def test_a_body_to_the_end_of_its_connection_needs_tls_goodbye(
    serve: Serve, connect: Connect, server_context: ssl.SSLContext, ca_file: str
) -> None:
    """A body whose end only the connection shows is not taken when the connection was cut instead of closed."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        if peer.number:
            peer.socket.shutdown(socket.SHUT_RDWR)  # in the clear: without close_notify

    transport = connect(serve(script, context=server_context), ca_bundle=ca_file)
    assert transport.exchange(ONCE, content) == b"all of it"
    with pytest.raises(TransportError, match="cut the TLS connection"):
        transport.exchange(ONCE, content)


def test_a_stop_never_lets_ciphertext_into_a_file(
    serve: Serve, connect: Connect, server_context: ssl.SSLContext, ca_file: str, open_file: Callable[..., int]
) -> None:
    """A stop in the midst of a get ends it, and what the file holds by then are the body's bytes and no others."""
    data = pattern(64 * 1024 * 1024)
    halfway, over = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(reply(200, data))

    def moved(_: int) -> None:
        if not halfway.is_set():
            halfway.set()
            assert over.wait(WAIT_SECONDS)

    descriptor = open_file()
    transport = connect(serve(script, context=server_context), ca_bundle=ca_file)
    running = Running(lambda: transport.exchange(ONCE, into_file(descriptor, moved=moved)))
    assert halfway.wait(WAIT_SECONDS)
    transport.stop_exchanges()  # the reader stands between two reads, with more in the kernel already
    over.set()
    with pytest.raises(TransportError):
        running.result()
    with open(descriptor, "rb", closefd=False) as file:
        got = file.read()
    assert got == data[: len(got)]
