"""Through a proxy: CONNECT where bytes must not be seen, whole URLs where they may, and its refusals named."""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import threading

import pytest

from ds3tool.clock import ManualClock
from ds3tool.errors import ApplianceError, ConfigError, ProxyRefusedError, TransportError
from ds3tool.protocol.messages import Request
from ds3tool.transport.bodies import BytesBody
from tests.transport.conftest import Connect, Serve
from tests.transport.exchanges import GET, PUT, content, pattern, status
from tests.transport.scripted import Peer, Received, ScriptedServer, refusal, replies, reply

AUTHORIZATION = "Basic " + base64.b64encode(b"ann:s3cr:et p@ss").decode()
USERINFO = "ann:s3cr%3Aet%20p%40ss"


class Tunnel:
    """A proxy that lets CONNECT through to wherever it points."""

    def __init__(self, serve: Serve) -> None:
        self.asked: list[Received] = []
        self.server: ScriptedServer = serve(self._script)

    def _script(self, peer: Peer) -> None:
        got = peer.read_head()
        self.asked.append(got)
        assert got.method == "CONNECT"
        host, _, port = got.target.rpartition(":")
        with socket.create_connection((host, int(port))) as there:
            peer.send(b"HTTP/1.1 200 Connection established\r\nVia: tunnel\r\n\r\n")
            back = threading.Thread(target=pump, args=(there, peer.socket))
            back.start()
            pump(peer.socket, there)
            back.join()


def pump(source: socket.socket, target: socket.socket) -> None:
    """Copy until either side ends."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for sock in (source, target):
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def with_user(server: ScriptedServer) -> str:
    return f"http://{USERINFO}@127.0.0.1:{server.port}"


@pytest.mark.parametrize("secure", [True, False], ids=["https", "http with tunnel"])
def test_a_tunnel_carries_requests_as_if_direct(
    serve: Serve,
    connect: Connect,
    server_context: ssl.SSLContext,
    ca_file: str,
    secure: bool,
) -> None:
    """CONNECT names host and port, carries the proxy's credentials, and the appliance sees none of it."""
    appliance = serve(replies(reply(200, pattern(100_000))), context=server_context if secure else None)
    tunnel = Tunnel(serve)
    transport = connect(appliance, proxy=with_user(tunnel.server), tunnel=not secure, ca_bundle=ca_file)
    for _ in range(2):
        assert transport.exchange(PUT, content, body=BytesBody(b"body")) == pattern(100_000)
    transport.close()
    (asked,) = tunnel.asked
    assert asked.target == f"127.0.0.1:{appliance.port}"
    assert asked.headers["host"] == asked.target
    assert asked.headers["proxy-authorization"] == AUTHORIZATION
    for got in appliance.requests:
        assert got.target == "/bucket/key"
        assert "proxy-authorization" not in got.headers
        assert got.body == b"body"


def test_plain_requests_go_to_the_proxy_as_whole_urls(serve: Serve, connect: Connect) -> None:
    """Without a tunnel, the request line holds the whole URL, Host the appliance, and the signature the path alone."""
    proxy = serve(replies(reply(200, b"by proxy")))
    request = Request("GET", "/b/k", query=(("job", "j"),))
    transport = connect("http://blackpearl.example.org:8080", proxy=with_user(proxy))
    assert transport.exchange(request, content) == b"by proxy"
    (got,) = proxy.requests
    assert got.target == "http://blackpearl.example.org:8080/b/k?job=j"
    assert got.headers["host"] == "blackpearl.example.org:8080"
    assert got.headers["proxy-authorization"] == AUTHORIZATION
    assert got.headers["authorization"] == transport.signer.sign(request, got.headers["date"])


def test_a_proxy_without_a_name_gets_no_credentials(serve: Serve, connect: Connect) -> None:
    """Without a user in its address, the proxy is told none."""
    proxy = serve(replies(reply(200)))
    connect("http://blackpearl.example.org", proxy=proxy.url).exchange(GET, status)
    assert "proxy-authorization" not in proxy.requests[0].headers


@pytest.mark.parametrize(("code", "hint"), [(403, "meant for"), (404, "meant for"), (407, "name and password")])
def test_a_proxy_that_refuses_is_named_once(
    serve: Serve, connect: Connect, clock: ManualClock, code: int, hint: str
) -> None:
    """A refused CONNECT names proxy and target, is not repeated, and shows nothing of the password."""

    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(refusal(code, "Denied"))

    proxy = serve(script)
    transport = connect("https://blackpearl.example.org", proxy=with_user(proxy))
    with pytest.raises(ProxyRefusedError) as raised:
        transport.exchange(GET, status)
    assert f"127.0.0.1:{proxy.port}" in raised.value.message
    assert "blackpearl.example.org:443" in raised.value.message
    assert raised.value.hint is not None
    assert hint in raised.value.hint
    assert clock.waits == []
    assert_hidden(raised.value)


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_a_proxy_in_trouble_is_tried_again(serve: Serve, connect: Connect, clock: ManualClock, code: int) -> None:
    """What a proxy says of its own state to CONNECT passes, so it is asked again, and nothing has arrived so far."""

    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(refusal(code, "Bad"))

    transport = connect("https://blackpearl.example.org", proxy=with_user(serve(script)), max_retry_seconds=5.0)
    with pytest.raises(TransportError, match="refuses to connect") as raised:
        transport.exchange(Request("PUT", "/x", idempotent=False), status)
    assert clock.waits
    assert not raised.value.may_have_arrived
    assert_hidden(raised.value)


def test_a_plain_407_has_its_hint(serve: Serve, connect: Connect) -> None:
    """An untunnelled request that the proxy wants credentials for says so."""
    proxy = serve(replies(reply(407)))
    with pytest.raises(ApplianceError) as raised:
        connect("http://blackpearl.example.org", proxy=proxy.url).exchange(GET, status)
    assert raised.value.hint is not None
    assert "proxy" in raised.value.hint


@pytest.mark.parametrize("endpoint", ["http://blackpearl.example.org", "https://blackpearl.example.org"])
def test_a_proxy_that_is_down_is_named(connect: Connect, endpoint: str) -> None:
    """When nobody listens at the proxy's address, the error is about the proxy, not the appliance."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port: int = reserved.getsockname()[1]
    transport = connect(endpoint, proxy=f"http://{USERINFO}@127.0.0.1:{port}", max_retry_seconds=0.0)
    with pytest.raises(TransportError, match=f"the proxy at http://127.0.0.1:{port} cannot be reached") as raised:
        transport.exchange(GET, status)
    assert_hidden(raised.value)


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 Conn", b"nonsense\r\n\r\n", b"HTTP/1.1 20\r\n\r\n", b"HTTP/1.1 200OK\r\n\r\n"],
)
def test_a_proxy_that_talks_nonsense_is_named(serve: Serve, connect: Connect, answer: bytes) -> None:
    """Anything but a 2xx head in answer to CONNECT is the proxy's failure."""

    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(answer)

    transport = connect("https://blackpearl.example.org", proxy=with_user(serve(script)), max_retry_seconds=0.0)
    with pytest.raises(TransportError, match="the proxy http://127") as raised:
        transport.exchange(GET, status)
    assert_hidden(raised.value)


def test_a_proxy_that_never_ends_its_head_is_given_up(serve: Serve, connect: Connect) -> None:
    """An endless answer to CONNECT is bounded."""

    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000)
        peer.read_to_end()

    transport = connect("https://blackpearl.example.org", proxy=with_user(serve(script)), max_retry_seconds=0.0)
    with pytest.raises(TransportError, match="broke off"):
        transport.exchange(GET, status)


def test_what_follows_the_proxys_answer_belongs_to_the_tunnel(serve: Serve, connect: Connect) -> None:
    """Bytes that come right behind the proxy's head are the appliance's, and none is lost."""

    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(b"HTTP/1.1 200 Fine\r\n\r\n" + b"HTTP/1.1 100 Continue\r\n\r\n")
        peer.read_request()
        peer.send(reply(200, b"x"))

    transport = connect("http://blackpearl.example.org", proxy=serve(script).url, tunnel=True)
    assert transport.exchange(GET, content) == b"x"


@pytest.mark.parametrize(
    "proxy",
    [
        f"ftp://{USERINFO}@proxy:1",
        f"https://{USERINFO}@proxy:1",
        f"http://{USERINFO}@",
        f"http://{USERINFO}@proxy:99999",
        "http://ann:s3cr:et p@ss@proxy:nonsense",
        "http://ann:s3cr/et@proxy:80",
        "http://ann:s3cr?et@proxy:80",
        f"http://{USERINFO}@proxy:1/path",
        f"http://{USERINFO}@pro xy:1",
    ],
)
def test_a_malformed_proxy_address_shows_no_password(connect: Connect, proxy: str) -> None:
    """A proxy's address that cannot be used is told without what stands before its `@`."""
    with pytest.raises(ConfigError, match="the proxy") as raised:
        connect("http://blackpearl.example.org", proxy=proxy)
    assert_hidden(raised.value)


def assert_hidden(error: BaseException) -> None:
    """No error of the chain shows anything of the proxy's password."""
    current: BaseException | None = error
    while current is not None:
        shown = f"{current!r} {current} {getattr(current, 'hint', '')}"
        for part in ("s3cr", USERINFO, AUTHORIZATION):
            assert part not in shown
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
