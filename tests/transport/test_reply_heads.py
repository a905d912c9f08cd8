"""What a reply's bytes mean: h11 reads them alike, and what it refuses is refused here."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ds3tool.errors import ProtocolError, TransportError
from ds3tool.protocol.messages import Headers
from ds3tool.transport.connection import Connection
from ds3tool.transport.pool import IncomingBody
from ds3tool.transport.replies import MAX_HEAD_BYTES, parse_head
from tests.transport.exchanges import Running
from tests.transport.scripted import chunked, reply


@dataclass(frozen=True)
class Read:
    """A reply, as somebody read it."""

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes


def by_us(raw: bytes, method: str = "GET", *, step: int = 0) -> Read:
    """Read a reply with `Connection`, its bytes arriving `step` at a time (0: all at once), then an end."""
    theirs, ours = socket.socketpair()
    connection = Connection(ours, place="the server", io_timeout_seconds=20)

    def play() -> None:
        with contextlib.suppress(BrokenPipeError):  # it may be refused before its end
            for start in range(0, len(raw), step or len(raw) or 1):
                theirs.send(raw[start : start + (step or len(raw))])
            theirs.shutdown(socket.SHUT_WR)

    with theirs:
        player = Running(play) if step or len(raw) > 50_000 else None
        if player is None:
            play()
        try:
            head = connection.read_head(method)
            body = b"".join(IncomingBody(connection, head))
        finally:
            connection.close()
            if player is not None:
                player.result()
    headers = dict(head.headers)  # of these two, h11 shows its own spelling
    if "content-length" in headers:
        headers["content-length"] = headers["content-length"].split(",")[0]
    if "transfer-encoding" in headers:
        headers["transfer-encoding"] = headers["transfer-encoding"].lower()
    return Read(head.status, head.reason, headers, body)


def by_h11(raw: bytes, method: str = "GET") -> Read:
    """Read a reply with h11; raises h11.RemoteProtocolError."""
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 30)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "server")]))
    client.send(h11.EndOfMessage())
    client.receive_data(raw)
    client.receive_data(b"")
    head = None
    body = b""
    while True:
        event = client.next_event()
        if isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            pairs = [(name.decode(), value.decode("latin-1")) for name, value in head.headers]
            return Read(head.status_code, head.reason.decode("latin-1"), dict(Headers(pairs)), body)
        elif isinstance(event, h11.ConnectionClosed) or event is h11.NEED_DATA:
            raise h11.RemoteProtocolError("it ended early")


WELL_FORMED = [
    pytest.param("GET", reply(200, b"hello"), id="plain"),
    pytest.param("GET", b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", id="no reason, no blank"),
    pytest.param("GET", b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok", id="no reason"),
    pytest.param("GET", b"HTTP/1.1 200 Sch\xf6n \xfcber\r\nContent-Length: 0\r\n\r\n", id="reason beyond ASCII"),
    pytest.param("GET", b"HTTP/1.0 200 OK\r\n\r\nuntil the end", id="HTTP/1.0, to the end"),
    pytest.param("GET", b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end", id="to the end"),
    pytest.param("GET", b"HTTP/1.1 200 OK\r\n\r\n", id="to the end, empty"),
    pytest.param("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\nContent-Length: 3\r\n\r\nabc", id="same lengths"),
    pytest.param("GET", b"HTTP/1.1 200 OK\r\ncontent-LENGTH:\t 3 \t\r\n\r\nabc", id="blanks and case"),
    pytest.param("GET", b"HTTP/1.1 200 OK\r\nA:\r\nB: \r\nA: x\r\nContent-Length: 0\r\n\r\n", id="empty values"),
    pytest.param("GET", b"HTTP/1.1 200 OK\r\nX: caf\xe9\r\nContent-Length: 0\r\n\r\n", id="value beyond ASCII"),
    pytest.param("GET", b"HTTP/1.1 200 OK\r\nX: a \t b\r\nContent-Length: 0\r\n\r\n", id="blanks within"),
    pytest.param(
        "GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"one", b"two"), id="chunked"
    ),
    pytest.param("GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n", id="chunked, empty"),
    pytest.param(
        "GET",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b'5;name=value;x="y"\r\nhello\r\n0;last\r\nA: b\r\nC:\r\n\r\n',
        id="extensions and trailers",
    ),
    pytest.param(
        "GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n00000A\r\n0123456789\r\n000\r\n\r\n", id="zeros"
    ),
    pytest.param("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 15728640\r\n\r\n", id="HEAD"),
    pytest.param("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", id="HEAD, chunked"),
    pytest.param("DELETE", b"HTTP/1.1 204 No Content\r\n\r\n", id="204"),
    pytest.param("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n", id="304"),
    pytest.param("PUT", b"HTTP/1.1 100 Continue\r\n\r\n" + reply(200, b"after"), id="100 first"),
    pytest.param(
        "GET", b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Hints\r\nLink: </x>\r\n\r\n" + reply(200, b"x"), id="1xx"
    ),
    pytest.param("GET", reply(200, b"first") + reply(200, b"second"), id="another behind it"),
    pytest.param("GET", reply(307, b"later"), id="307"),
    pytest.param("GET", reply(599, b"?"), id="599"),
]


@pytest.mark.parametrize(("method", "raw"), WELL_FORMED)
@pytest.mark.parametrize("step", [0, 1, 3])
def test_well_formed_replies_are_read_as_h11_reads_them(method: str, raw: bytes, step: int) -> None:
    """Status, reason, headers and body are those h11 finds, however the bytes arrive."""
    assert by_us(raw, method, step=step) == by_h11(raw, method)


MALFORMED = [
    pytest.param(b"\r\n" + reply(200, b"x"), id="empty line first"),
    pytest.param(b"\r\n\r\n", id="nothing but an empty line"),
    pytest.param(b"ICY 200 OK\r\n\r\n", id="another protocol"),
    pytest.param(b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", id="status of two digits"),
    pytest.param(b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", id="status of four digits"),
    pytest.param(b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n", id="status below 100"),
    pytest.param(b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n", id="two blanks"),
    pytest.param(b"HTTP/1.1\t200 OK\r\nContent-Length: 0\r\n\r\n", id="tab for blank"),
    pytest.param(b"HTTP/1.1 200 O\x00K\r\nContent-Length: 0\r\n\r\n", id="NUL in the reason"),
    pytest.param(b"HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 0\r\n\r\n", id="blank before the colon"),
    pytest.param(b"HTTP/1.1 200 OK\r\n X: y\r\nContent-Length: 0\r\n\r\n", id="blank before the first name"),
    pytest.param(b"HTTP/1.1 200 OK\r\nX\r\nContent-Length: 0\r\n\r\n", id="no colon"),
    pytest.param(b"HTTP/1.1 200 OK\r\n: y\r\nContent-Length: 0\r\n\r\n", id="no name"),
    pytest.param(b"HTTP/1.1 200 OK\r\nX(y): z\r\nContent-Length: 0\r\n\r\n", id="name that is no token"),
    pytest.param(b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n", id="NUL in a value"),
    pytest.param(b"HTTP/1.1 200 OK\r\nX: a\x0bb\r\nContent-Length: 0\r\n\r\n", id="vertical tab in a value"),
    pytest.param(b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n", id="carriage return in a value"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n", id="length empty"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", id="length negative"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc", id="length with plus"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 0x3\r\n\r\nabc", id="length in hexadecimal"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 3_0\r\n\r\nabc", id="length as Python writes it"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\nabc", id="length of a digit beyond ASCII"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 3, 4\r\n\r\nabc", id="lengths that differ in one line"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", id="lengths that differ"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\nabc", id="length beyond all bounds"),
    pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc", id="unknown coding"),
    pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", id="coding below chunked"),
    pytest.param(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        id="chunked twice",
    ),
    pytest.param(b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\n\r\n", id="101"),
    pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n", id="no chunk size"),
    pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n", id="negative chunk"),
    pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n", id="chunk in 0x"),
    pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n", id="chunk too long"),
    pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXY0\r\n\r\n", id="chunk without end"),
    pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX : y\r\n\r\n", id="malformed trailer"),
    pytest.param(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"F" * 40 + b"\r\nx\r\n", id="chunk size endless"
    ),
]


@pytest.mark.parametrize("raw", MALFORMED)
@pytest.mark.parametrize("step", [0, 1])
def test_what_h11_refuses_is_refused(raw: bytes, step: int) -> None:
    """Everything here is refused by h11's client and by ours."""
    with pytest.raises(h11.RemoteProtocolError):
        by_h11(raw)
    with pytest.raises(ProtocolError):
        by_us(raw, step=step)


STRICTER = [
    pytest.param(b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", id="HTTP/2.0"),
    pytest.param(b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n", id="folded header"),
    pytest.param(
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="length and chunked"
    ),
    pytest.param(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", id="bare line feeds"),
    pytest.param(b"HTTP/1.1 200 OK\r\nX: y\nContent-Length: 2\r\n\r\nok", id="one bare line feed"),
    pytest.param(b"HTTP/1.1 200 OK\r\nX: y\x01\r\nContent-Length: 0\r\n\r\n", id="control character"),
    pytest.param(b"HTTP/1.1 200 OK\r\nX: y\x7f\r\nContent-Length: 0\r\n\r\n", id="delete character"),
    pytest.param(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", id="bare feed in chunk"
    ),
]


@pytest.mark.parametrize("raw", STRICTER)
@pytest.mark.parametrize("step", [0, 1])
def test_what_readers_disagree_about_is_refused(raw: bytes, step: int) -> None:
    """Forms that some clients read in one way and some in another are refused."""
    with pytest.raises(ProtocolError):
        by_us(raw, step=step)


def test_a_bare_line_feed_is_refused_without_waiting_for_more() -> None:
    """A head whose lines end in bare line feeds is refused while its connection stays open."""
    theirs, ours = socket.socketpair()
    with theirs:
        connection = Connection(ours, place="the server", io_timeout_seconds=20)
        theirs.send(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok")
        with pytest.raises(ProtocolError, match="bare line feed"):
            connection.read_head("GET")
        connection.close()


@pytest.mark.parametrize("raw", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\x15\x03\x03\x00\x02\x02\x50", b"220 ftp ready\r\n"])
def test_another_protocol_is_named_at_once(raw: bytes) -> None:
    """A greeting of another protocol is told from HTTP by its first bytes, with a hint."""
    theirs, ours = socket.socketpair()
    with theirs:
        connection = Connection(ours, place="the server", io_timeout_seconds=20)
        theirs.send(raw)
        with pytest.raises(ProtocolError, match="does not speak HTTP") as raised:
            connection.read_head("GET")
        connection.close()
    assert raised.value.hint is not None


TOKENS = st.text("abcXYZ019-_!#$%&'*+.^`|~", min_size=1, max_size=12)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=20).map(
    lambda text: "".join(letter for letter in text if letter < "\x7f" or letter > "\xa0")
)
BLANKS = st.sampled_from(["", " ", "\t", "  \t "])


@st.composite
def well_formed(draw: st.DrawFn) -> tuple[str, bytes]:
    """Draw a method and a reply to it."""
    method = draw(st.sampled_from(["GET", "PUT", "HEAD", "DELETE", "POST"]))
    status = draw(st.sampled_from([200, 201, 204, 206, 207, 304, 307, 400, 403, 404, 500, 503]))
    version = draw(st.sampled_from(["1.1", "1.1", "1.0"]))
    lines = [f"HTTP/{version} {status}{draw(st.sampled_from(['', ' ', ' OK', ' Not so good']))}"]
    for name, value in draw(st.lists(st.tuples(TOKENS, VALUES), max_size=5)):
        if name.lower() != "connection":
            lines.append(f"{name}:{draw(BLANKS)}{value}{draw(BLANKS)}")
    blocks = draw(st.lists(st.binary(min_size=1, max_size=30), max_size=4))
    framing = draw(st.sampled_from(["length", "chunked", "close"]))
    body = b"".join(blocks)
    if framing == "length":
        lines.append(f"Content-Length:{draw(BLANKS)}{len(body)}")
    elif framing == "chunked":
        lines.append(f"Transfer-Encoding: {draw(st.sampled_from(['chunked', 'CHUNKED']))}")
        extension = draw(st.sampled_from([b"", b";a", b';a="b c"']))
        trailers = draw(st.sampled_from([b"", b"X: y\r\n", b"X:\r\nY: z z\r\n"]))
        body = b"".join(b"%X%s\r\n%s\r\n" % (len(block), extension, block) for block in blocks)
        body += b"0" + extension + b"\r\n" + trailers + b"\r\n"
    if method == "HEAD" or status in {204, 304}:
        body = b""
    interim = draw(st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 102\r\nA: b\r\n\r\n" * 2]))
    return method, interim + "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@given(well_formed())
@settings(deadline=None, max_examples=300)
def test_generated_replies_are_read_as_h11_reads_them(case: tuple[str, bytes]) -> None:
    """Any well-formed reply has the status, headers and body that h11 finds."""
    method, raw = case
    assert by_us(raw, method) == by_h11(raw, method)


@given(well_formed(), st.data())
@settings(deadline=None, max_examples=600)
def test_a_damaged_reply_is_refused_or_read_as_h11_reads_it(case: tuple[str, bytes], data: st.DataObject) -> None:
    """Whatever is changed in a reply, we take nothing for good that h11 refuses or reads otherwise."""
    method, raw = case
    damaged = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(damaged)))
        cut = data.draw(st.integers(0, 3))
        piece = data.draw(st.sampled_from([b"", b"\r", b"\n", b"\r\n", b" ", b":", b"\0", b"0", b"9", b",", b"\xff"]))
        damaged[place : place + cut] = piece
    try:
        ours = by_us(bytes(damaged), method)
    except (ProtocolError, TransportError):
        return
    assert ours == by_h11(bytes(damaged), method)


def test_a_head_of_20_000_blobs_is_read() -> None:
    """HEAD of an object of 20,000 blobs names a digest for each, and all are there."""
    lines = [f"ds3-blob-checksum-offset-{number * 1024}: {number:022d}==" for number in range(20_000)]
    raw = "\r\n".join(["HTTP/1.1 200 OK", "Content-Length: 20480000", *lines]).encode() + b"\r\n\r\n"
    got = by_us(raw, "HEAD")
    assert len(got.headers) == 20_001
    assert got.headers["ds3-blob-checksum-offset-20478976"] == f"{19_999:022d}=="


def test_an_endless_head_is_refused() -> None:
    """A head that never ends is given up at its bound, not when memory is."""
    theirs, ours = socket.socketpair()
    sent = 0

    def play() -> None:
        nonlocal sent
        line = b"X-Filler: " + b"y" * 50_000 + b"\r\n"
        theirs.sendall(b"HTTP/1.1 200 OK\r\n")
        try:
            while True:
                theirs.sendall(line)
                sent += len(line)
        except OSError:
            return

    connection = Connection(ours, place="the server", io_timeout_seconds=20)
    with theirs:
        player = Running(play)
        with pytest.raises(ProtocolError, match="larger than"):
            connection.read_head("GET")
        connection.close()
        player.result()
    assert MAX_HEAD_BYTES < sent < 2 * MAX_HEAD_BYTES


def test_endless_interim_replies_are_refused() -> None:
    """A server that says `102` for ever has not answered."""
    with pytest.raises(ProtocolError, match="interim"):
        by_us(b"HTTP/1.1 102 Processing\r\n\r\n" * 2000)


@pytest.mark.timeout(20)
def test_a_line_of_blanks_takes_no_quadratic_time() -> None:
    """A header line of a million blanks with a flaw at its end is refused in less than a moment."""
    with pytest.raises(ProtocolError):
        parse_head(b"HTTP/1.1 200 OK\r\nX:" + b" " * 1_000_000 + b"\x01", method="GET")


@pytest.mark.timeout(20)
def test_a_name_repeated_for_ever_is_refused() -> None:
    """A hundred thousand lines of one name, whose values would be joined each time anew, are refused."""
    with pytest.raises(ProtocolError, match="repeats"):
        parse_head(b"HTTP/1.1 200 OK" + b"\r\nX: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy" * 100_000, method="GET")


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", True),
        (b"HTTP/1.1 204 No Content", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Close", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive, close", False),
        (b"HTTP/1.1 200 OK", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0", False),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 0", True),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5", False),
        (b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked", False),
    ],
)
def test_a_connection_is_kept_only_when_the_reply_has_a_certain_end(raw: bytes, kept: bool) -> None:
    """A connection is used again when the reply allows it and nobody can doubt where it ends."""
    assert parse_head(raw, method="GET").keep_alive is kept
