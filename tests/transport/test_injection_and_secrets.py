"""Nothing that a name or a reply holds becomes a line of a request, and no secret shows."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable

import pytest

from ds3tool.errors import Ds3Error, UsageError
from ds3tool.protocol.messages import Request
from ds3tool.protocol.model import ChecksumType
from ds3tool.transport.pool import Transport
from ds3tool.transport.settings import ConnectionSettings
from ds3tool.transport.templates import BlobHeads
from tests.transport.conftest import SECRET_KEY, Connect, Serve
from tests.transport.exchanges import GET, content, status
from tests.transport.scripted import Peer, refusal, replies, reply


@pytest.mark.parametrize(
    "request_",
    [
        Request("GET", "/b", headers=(("X-A", "b\r\nX-Evil: 1"),)),
        Request("GET", "/b", headers=(("X-A", "b\nX-Evil: 1"),)),
        Request("GET", "/b", headers=(("X-A", "b\rX-Evil: 1"),)),
        Request("GET", "/b", headers=(("X-A", "b\0"),)),
        Request("GET", "/b", headers=(("X-A", "snow \N{SNOWMAN}"),)),
        Request("GET", "/b", headers=(("X-A\r\nX-Evil", "1"),)),
        Request("GET", "/b", headers=(("X-A: b", "1"),)),
        Request("GET", "/b", headers=(("", "1"),)),
        Request("GET", "/b HTTP/1.1\r\nX-Evil: 1\r\n\r\n"),
        Request("GET", "/b c"),
        Request("GET", "/sn\N{SNOWMAN}w"),
        Request("GET", "/b", query=(("a\r\nX-Evil: 1", None),)),
        Request("GET", "/b", query=(("a b", "c"),)),
        Request("GET /evil", "/b"),
        Request("GET\r\n", "/b"),
    ],
)
def test_what_would_break_out_of_its_line_is_refused(serve: Serve, connect: Connect, request_: Request) -> None:
    """A line break or a stranger character in method, target, name or value is a usage error, and nothing is sent."""
    server = serve(replies(reply(200)))
    transport = connect(server)
    with pytest.raises(UsageError):
        transport.exchange(request_, status)
    assert server.requests == []
    assert transport.exchange(GET, status) == 200


def test_values_in_a_query_are_escaped(serve: Serve, connect: Connect) -> None:
    """A line break in a parameter's value travels escaped."""
    server = serve(replies(reply(200)))
    connect(server).exchange(Request("GET", "/b", query=(("prefix", "a\r\nX-Evil: 1 &b=c+d"),)), status)
    assert server.requests[0].target == "/b?prefix=a%0D%0AX-Evil%3A%201%20%26b%3Dc%2Bd"


@pytest.mark.parametrize("job_id", ["", "1\r\nX: y", "1&offset=7", "1 2", "\N{SNOWMAN}", "a" * 1000])
def test_a_job_id_that_is_none_makes_no_heads(connect: Connect, job_id: str) -> None:
    """The job's id comes from the other side: one that would change the request is refused."""
    with pytest.raises(UsageError):
        BlobHeads(connect("http://127.0.0.1:1"), method="GET", bucket="b", job_id=job_id)


def test_heads_of_blobs_are_signed_like_any_request(serve: Serve, connect: Connect) -> None:
    """The quick heads differ from the careful path's in nothing that is signed or framed."""
    server = serve(replies(reply(200)))
    transport = connect(server)
    key = "a b/+%\r\n\N{SNOWMAN}"
    gets = BlobHeads(transport, method="GET", bucket="bucket", job_id="1-2")
    puts = BlobHeads(transport, method="PUT", bucket="bucket", job_id="1-2")
    connection = transport.open_connection()
    try:
        connection.send_request(gets.get(key, 0), None, expect=False)
        assert connection.read_head("GET").status == 200
        connection.send_request(puts.put(key, 1024, 3, (ChecksumType.MD5, "abc=")) + b"xyz", None, expect=False)
        assert connection.read_head("PUT").status == 200
    finally:
        connection.close()
    path = "/bucket/a%20b/%2B%25%0D%0A%E2%98%83"
    get, put = server.requests
    assert (get.target, get.body) == (f"{path}?job=1-2&offset=0", b"")
    assert (put.target, put.body) == (f"{path}?job=1-2&offset=1024", b"xyz")
    query = (("job", "1-2"), ("offset", "0"))
    assert get.headers["authorization"] == transport.signer.sign(Request("GET", path, query=query), get.headers["date"])
    careful = Request("PUT", path, query=query, headers=(("Content-MD5", "abc="),), checksum="abc=")
    assert put.headers["authorization"] == transport.signer.sign(careful, put.headers["date"])
    assert put.headers["content-md5"] == "abc="
    assert get.headers["host"] == put.headers["host"] == f"127.0.0.1:{server.port}"


def test_an_access_key_with_a_line_break_is_refused(serve: Serve) -> None:
    """A key that would add a header is refused before anything is sent."""
    server = serve(replies(reply(200)))
    transport = Transport(ConnectionSettings(server.url, "key\r\nX-Evil: 1", SECRET_KEY))
    with pytest.raises(UsageError, match="access key"):
        transport.exchange(GET, status)
    transport.close()
    assert server.requests == []


def cut(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nx")


@pytest.mark.parametrize(
    "script",
    [
        replies(refusal(403, "SignatureDoesNotMatch")),
        replies(refusal(503, "SlowDown")),
        replies(b"nonsense\r\n\r\n"),
        cut,
    ],
    ids=["refused", "busy", "nonsense", "cut"],
)
def test_no_error_and_no_log_shows_a_secret(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture, script: Callable[[Peer], None]
) -> None:
    """Neither the secret key nor a signature stands in an error, its traceback, a log line or a repr."""
    caplog.set_level(logging.DEBUG)
    server = serve(script)
    transport = connect(server, proxy=f"http://ann:s3cret@127.0.0.1:{server.port}", max_retry_seconds=2.0)
    with pytest.raises(Ds3Error) as raised:
        transport.exchange(GET, content)
    settings = ConnectionSettings("http://x", "id", SECRET_KEY, proxy="http://ann:s3cret@proxy:1")
    shown = [
        "".join(traceback.format_exception(raised.value)),
        repr(raised.value),
        str(raised.value.hint),
        caplog.text,
        repr(settings),
        repr(transport),
        repr(transport.dialer.proxy),
        repr(transport.signer),
    ]
    signatures = {got.headers["authorization"].rpartition(":")[2] for got in server.requests}
    for text in shown:
        for secret in (SECRET_KEY, "s3cret", *signatures):
            assert secret not in text
