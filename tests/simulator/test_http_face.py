"""The server as raw bytes see it: framing, early refusals, awkward but legal clients, nothing left running."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from typing import NoReturn, Self

import pytest

from ds3tool.simulator import Appliance, ApplianceSettings, appliance
from ds3tool.simulator.wire import http
from tests.simulator.conftest import Bench
from tests.simulator.wire import Wire, path_of


class Raw:
    """A socket that speaks bytes and reads whole replies."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.socket = socket.create_connection((bench.wire.host, bench.wire.port or 0), timeout=30)
        self._rest = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def more(self) -> bytes:
        data = self.socket.recv(65536)
        self._rest += data
        return data

    def reply(self) -> tuple[int, dict[str, str], bytes]:
        while b"\r\n\r\n" not in self._rest:
            assert self.more(), "the server closed before a reply"
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = int(headers.get("content-length", "0"))
        while len(self._rest) < length:
            assert self.more(), "the server closed in a body"
        body, self._rest = self._rest[:length], self._rest[length:]
        return int(first.split()[1]), headers, body

    def head_reply(self) -> dict[str, str]:
        """Read a reply that has no body, whatever length it tells."""
        while b"\r\n\r\n" not in self._rest:
            assert self.more(), "the server closed before a reply"
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    def closed(self) -> bool:
        """Tell whether the server ends the connection, reading what is left."""
        try:
            while self.more():
                pass
        except ConnectionResetError:
            return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def _head(raw: Raw, verb: str, target: str, *lines: str) -> bytes:
    signed = raw.bench.wire.signed_headers(verb, target, {})
    everything = [f"{verb} {target} HTTP/1.1", "Host: x", *(f"{k}: {v}" for k, v in signed.items()), *lines]
    return "\r\n".join([*everything, "", ""]).encode()


@pytest.fixture
def raw(bench: Bench) -> Raw:
    return Raw(bench)


def test_requests_sent_in_one_piece_are_answered_one_after_the_other(raw: Raw) -> None:
    """Pipelined requests get all their replies, in order."""
    with raw:
        put = _head(raw, "PUT", "/b/one", "Content-Length: 3") + b"abc"
        raw.send(put + _head(raw, "GET", "/b/one") + _head(raw, "GET", "/b/none") + _head(raw, "HEAD", "/b/one"))
        assert raw.reply()[0] == 200
        assert raw.reply()[2] == b"abc"
        assert raw.reply()[0] == 404
        assert raw.head_reply()["content-length"] == "3"


def test_a_request_that_arrives_byte_by_byte_is_understood(raw: Raw) -> None:
    """No read may be taken for a whole head or body."""
    with raw:
        raw.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in _head(raw, "PUT", "/b/slow", "Content-Length: 4") + b"slow":
            raw.send(bytes([byte]))
        assert raw.reply()[0] == 200
        raw.send(_head(raw, "GET", "/b/slow"))
        assert raw.reply()[2] == b"slow"


def test_a_client_that_waits_is_told_to_go_on(raw: Raw) -> None:
    """Expect: 100-continue is answered before the body comes, and the body is then taken."""
    with raw:
        raw.send(_head(raw, "PUT", "/b/big", "Content-Length: 5", "Expect: 100-continue"))
        status, headers, _ = raw.reply()
        assert (status, headers) == (100, {})
        raw.send(b"hello")
        assert raw.reply()[0] == 200


def test_a_refused_client_that_waits_is_spared_the_body(raw: Raw) -> None:
    """A refusal comes instead of 100, and the connection ends, since the body may come or not."""
    with raw:
        raw.send(_head(raw, "PUT", "/nowhere/big", f"Content-Length: {1 << 40}", "Expect: 100-continue"))
        status, headers, _ = raw.reply()
        assert (status, headers["connection"]) == (404, "close")
        assert raw.closed()


def test_an_early_refusal_is_read_by_a_client_that_sends_on(raw: Raw) -> None:
    """The body is read to its end after the refusal, and the connection serves again."""
    with raw:
        raw.send(_head(raw, "PUT", "/nowhere/x", "Content-Length: 3000000") + bytes(3_000_000))
        status, _, body = raw.reply()
        assert status == 404
        assert b"NoSuchBucket" in body
        raw.send(_head(raw, "GET", "/"))
        assert raw.reply()[0] == 200


def test_a_chunked_body_is_refused_with_411(raw: Raw) -> None:
    """The contract wants a length; the connection ends in order."""
    with raw:
        raw.send(_head(raw, "PUT", "/b/x", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n")
        status, headers, body = raw.reply()
        assert (status, headers["connection"]) == (411, "close")
        assert b"<HttpErrorCode>411</HttpErrorCode>" in body
        assert raw.closed()


def test_a_put_without_a_length_is_refused_with_411(raw: Raw) -> None:
    """A PUT of an object without Content-Length is not taken for an empty one."""
    with raw:
        raw.send(_head(raw, "PUT", "/b/x"))
        assert raw.reply()[0] == 411
        raw.send(_head(raw, "GET", "/b/x"))
        assert raw.reply()[0] == 404


@pytest.mark.parametrize(
    "bytes_sent",
    [
        b"GET / HTTP/1.1\nHost: x\n\n\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1x\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\x00c\r\n\r\n",
        b"G(T / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nName : x\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1_0\r\n\r\n",
    ],
)
def test_a_head_that_could_be_read_in_two_ways_is_refused(raw: Raw, bytes_sent: bytes) -> None:
    """400, and the connection ends."""
    with raw:
        raw.send(bytes_sent)
        status, headers, _ = raw.reply()
        assert (status, headers["connection"]) == (400, "close")
        assert raw.closed()


@pytest.mark.parametrize("version", ["HTTP/2.0", "HTTP/0.9"])
def test_another_version_of_http_is_refused_as_that(raw: Raw, version: str) -> None:
    """505, and the connection ends."""
    with raw:
        raw.send(f"GET / {version}\r\n\r\n".encode())
        assert raw.reply()[0] == 505
        assert raw.closed()


def test_a_length_beside_a_chunked_body_is_refused(raw: Raw) -> None:
    """What one server would end by the length, and another by the chunks, is read by neither: 411, then the end."""
    with raw:
        raw.send(
            _head(raw, "PUT", "/b/x", "Content-Length: 4", "Transfer-Encoding: chunked") + b"0\r\n\r\nGET / HTTP/1.1"
        )
        status, headers, _ = raw.reply()
        assert (status, headers["connection"]) == (411, "close")
        assert raw.closed()
    assert raw.bench.wire.ask("GET", "/b/x").status == 404


def test_a_head_that_never_ends_is_not_waited_for(raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that stops in a head is told so (408), and its connection ends."""
    monkeypatch.setattr(http, "_HEAD_SECONDS", 0.05)
    with raw:
        raw.send(b"GET / HTTP/1.1\r\nX-Slow: ")
        assert raw.reply()[0] == 408
        assert raw.closed()


def test_a_head_that_drips_is_not_waited_for(raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it help to send a byte now and then."""
    monkeypatch.setattr(http, "_HEAD_SECONDS", 0.05)
    with raw, contextlib.suppress(OSError):
        raw.send(b"GET / HTTP/1.1\r\nX-Slow: ")
        while not select.select([raw.socket], [], [], 0.01)[0]:
            raw.send(b"x")
        assert raw.reply()[0] == 408


def test_a_body_that_stops_is_not_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """408, the connection ends, nothing of the half blob stays, and it can be sent again."""
    monkeypatch.setattr(http, "_IO_TIMEOUT_SECONDS", 0.05)
    job = bench.wire.start_put("b", {"x": 1000}).xml.attrib["JobId"]
    with Raw(bench) as raw:
        raw.send(_head(raw, "PUT", f"{path_of('b', 'x')}?job={job}&offset=0", "Content-Length: 1000") + b"only this")
        assert raw.reply()[0] == 408
        assert raw.closed()
    bench.until(lambda: not _parts(bench), "the half blob stayed")
    again = Wire(bench.appliance.endpoint, bench.appliance.access_key, bench.appliance.secret_key)
    assert again.put_blob("b", "x", job, 0, b"y" * 1000).status == 200
    again.close()


def test_whoever_comes_beyond_the_last_place_is_told_to_come_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 with Retry-After, and those who are there are served on."""
    assert bench.wire.ask("GET", "/").status == 200
    monkeypatch.setattr(http, "_MOST_CONNECTIONS", 1)
    with Raw(bench) as raw:
        status, headers, _ = raw.reply()
        assert (status, headers["retry-after"], headers["connection"]) == (503, "1", "close")
    assert bench.wire.ask("GET", "/").status == 200


def test_where_the_host_grants_no_more_threads_the_server_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes then is told to come later, and whoever comes after that is served."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError(f"can't start {thread.name}")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with Raw(bench) as raw:
            assert raw.reply()[0] == 503
    assert bench.wire.ask("GET", "/").status == 200


def test_a_failure_inside_is_logged_without_what_the_query_says(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A secret key that is set by request stands in its query, and in no log when the appliance fails at it."""

    def fail(call: object) -> NoReturn:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(appliance, "find", fail)
    assert bench.wire.ask("POST", "/_rest_/user?name=bob&secret_key=hush-hush").status == 500
    assert "POST /_rest_/user failed" in caplog.text
    assert "hush-hush" not in caplog.text


def test_hundreds_of_connections_are_served_at_once(bench: Bench) -> None:
    """Each of three hundred clients gets its answer while all of them stay connected."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Raw(bench)) for _ in range(300)]
        for client in clients:
            client.send(_head(client, "GET", "/"))
        assert {client.reply()[0] for client in clients} == {200}


def test_a_head_without_end_is_refused(raw: Raw) -> None:
    """431 after 64 KiB, not a memory that fills."""
    with raw:
        raw.send(b"GET / HTTP/1.1\r\n" + b"X-Filler: " + b"x" * 70_000)
        assert raw.reply()[0] == 431
        assert raw.closed()


def test_a_target_in_absolute_form_is_accepted(raw: Raw) -> None:
    """As a proxy sends it; the signature covers the path."""
    with raw:
        head = _head(raw, "GET", "/b").replace(b"GET /b ", b"GET http://elsewhere:80/b ")
        raw.send(head)
        status, _, body = raw.reply()
        assert status == 200
        assert b"<Name>b</Name>" in body


def test_bodies_of_get_and_delete_are_read(raw: Raw) -> None:
    """A body where none is needed does not become the next request."""
    with raw:
        raw.send(_head(raw, "GET", "/", "Content-Length: 7") + b"GET / H" + _head(raw, "GET", "/b"))
        assert raw.reply()[0] == 200
        assert b"ListBucketResult" in raw.reply()[2]


def test_the_connection_ends_when_the_client_asks(raw: Raw) -> None:
    """Connection: close is honoured and told."""
    with raw:
        raw.send(_head(raw, "GET", "/", "Connection: close"))
        status, headers, _ = raw.reply()
        assert (status, headers["connection"]) == (200, "close")
        assert raw.closed()


def test_every_reply_has_what_strict_readers_need(bench: Bench) -> None:
    """HTTP/1.1, a length, a request number that grows."""
    numbers = []
    for target in ("/", "/b", "/b/none", "/_rest_/nothing"):
        reply = bench.wire.ask("GET", target)
        assert "content-length" in reply.headers
        numbers.append(int(reply.headers["x-amz-request-id"]))
    assert numbers == sorted(set(numbers))


def test_a_client_that_leaves_in_the_middle_of_a_body_leaves_nothing_behind(bench: Bench) -> None:
    """The blob stays open, the cache's account is what it was, and it can be sent again."""
    wire = bench.wire
    job = wire.start_put("b", {"x": 1000}).xml.attrib["JobId"]
    assert wire.ready(job).status == 200
    before = bench.cache_used
    raw = Raw(bench)
    with raw:
        raw.send(_head(raw, "PUT", f"{path_of('b', 'x')}?job={job}&offset=0", "Content-Length: 1000") + b"only this")
    bench.until(lambda: not _parts(bench), "the half blob stayed")
    assert bench.cache_used == before
    assert wire.put_blob("b", "x", job, 0, b"y" * 1000).status == 200


def _parts(bench: Bench) -> list[str]:
    bench.appliance.machine.jobs.changed.wait(0.01)
    return [str(path) for path in (bench.appliance.machine.directory / "cache").rglob("*.part")]


def test_nothing_is_left_when_an_appliance_closes() -> None:
    """No thread, no socket, no file: also with clients connected and a transfer under way."""
    before = set(threading.enumerate())
    appliance = Appliance(ApplianceSettings(persist_delay=0)).start()
    directory = appliance.machine.directory
    bench = Bench(appliance, _wire(appliance))
    assert bench.wire.ask("PUT", "/b").status == 200
    with Raw(bench) as raw, Raw(bench) as idle:
        raw.send(_head(raw, "PUT", "/b/x", "Content-Length: 1000000") + bytes(1000))
        idle.send(_head(idle, "GET", "/"))
        assert idle.reply()[0] == 200
        appliance.close()
        assert raw.closed() is not None
    bench.wire.close()
    assert {thread for thread in set(threading.enumerate()) - before if thread.name.startswith("ds3-")} == set()
    assert not directory.exists()
    appliance.close()


def _wire(appliance: Appliance) -> Wire:
    return Wire(appliance.endpoint, appliance.access_key, appliance.secret_key)
