"""Heads read at a glance: whatever is read so is what the strict reader makes of it, and nothing malformed is."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ds3tool.errors import ProtocolError
from ds3tool.transport.replies import parse_head
from ds3tool.transport.shapes import Shapes

PUT = (
    b'HTTP/1.1 200 OK\r\nDate: Sun, 22 Nov 2026 15:00:00 GMT\r\nServer: x\r\nETag: "0a1b"\r\n'
    b"x-amz-request-id: 12345\r\nContent-CRC32C: JsdMog==\r\nConnection: keep-alive\r\nContent-Length: 0"
)
GET = PUT.replace(b"Content-Length: 0", b"Content-Length: 4096") + b"\r\nversion-id:  5 \t\r\nx-amz-meta-a: b c"
SEEDS = (PUT, GET, b"HTTP/1.1 200 \r\nContent-Length: 5", b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nX:")

# What a head may be changed by: bytes that mean something, and headers that decide how a reply ends.
MARKS = b"\r\n|\r|\n|:| |\t|\0|\x7f|\x85|\xa0|,|;|0|99|-1|+5|1_0|\xb2|close|Content-Length|\r\n folded|\r\n\r\n"
LINES = b"HTTP/1.1 204 No|content-length: 7|Content-Length: 7|Transfer-Encoding: chunked|Connection: close"
MEANING = st.sampled_from([*MARKS.split(b"|"), *(line + b"\r\n" for line in LINES.split(b"|"))])


@st.composite
def changed(draw: st.DrawFn) -> bytes:
    """Return a good head with a few changes anywhere in it."""
    head = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(head)))
        away = draw(st.sampled_from([0, 0, 1, 2, 5, 30]))
        head = head[:at] + draw(MEANING | st.binary(max_size=3)) + head[at + away :]
    return head


@given(learned=changed(), heads=st.lists(changed(), min_size=1, max_size=5), body=st.binary(max_size=20))
@example(learned=PUT, heads=[PUT.replace(b"0a1b", b"ffff")], body=b"")
@example(learned=GET, heads=[GET.replace(b"4096", b"1")], body=b"x")
@example(learned=PUT, heads=[PUT.replace(b"keep-alive", b"close")], body=b"")
def test_what_is_read_at_a_glance_is_what_the_strict_reader_reads(
    learned: bytes, heads: list[bytes], body: bytes
) -> None:
    """Status, words, every header, length, and whether the connection is kept; and what it refuses is never read."""
    shapes = Shapes("GET")
    for raw in (learned, *heads):
        buffer = bytearray(raw + b"\r\n\r\n" + body)
        quick = shapes.read(buffer, len(buffer))
        strictly = bytes(buffer[: buffer.index(b"\r\n\r\n")])
        try:
            strict = parse_head(strictly, method="GET")
        except ProtocolError:
            assert quick is None
            continue
        if quick is not None:
            assert quick.end == len(strictly) + 4
            assert (quick.status, quick.reason, quick.keep_alive) == (strict.status, strict.reason, strict.keep_alive)
            assert quick.length == strict.length
            assert not strict.chunked
            assert dict(quick.headers) == dict(strict.headers)
            assert set(quick.names) == set(strict.names)
            assert all(quick.headers.get(name.upper()) == value for name, value in strict.headers.items())
        shapes.learn(strictly, strict)


@pytest.mark.parametrize("seed", SEEDS)
def test_one_like_an_earlier_one_is_read_at_a_glance(seed: bytes) -> None:
    """Other digits and texts in the places of the old ones change nothing: else the glance would serve nobody."""
    shapes = Shapes("PUT")
    shapes.learn(seed, parse_head(seed, method="PUT"))
    other = re.sub(rb"(?<=: )\S+(?=\r\nServer)|0a1b|12345", b"other", seed).replace(b"4096", b"17") + b"\r\n\r\n"
    quick = shapes.read(bytearray(other + b"body"), len(other) + 4)
    assert quick is not None
    assert quick.end == len(other)
    assert dict(quick.headers) == dict(parse_head(other[:-4], method="PUT").headers)
    assert quick.headers.get("no-such-header") is None
    assert "no-such-header" not in quick.headers


def test_a_part_of_a_head_is_not_read() -> None:
    """Whatever is cut off anywhere is left to whoever waits for the rest."""
    shapes = Shapes("GET")
    shapes.learn(GET, parse_head(GET, method="GET"))
    whole = bytearray(GET + b"\r\n\r\n")
    assert all(shapes.read(whole, filled) is None for filled in range(len(whole)))
    assert shapes.read(whole, len(whole)) is not None


def test_answers_to_head_are_never_read_at_a_glance() -> None:
    """Their length is that of a body which does not come."""
    shapes = Shapes("HEAD")
    shapes.learn(GET, parse_head(GET, method="HEAD"))
    assert shapes.read(bytearray(GET + b"\r\n\r\n"), len(GET) + 4) is None


def test_a_server_that_never_answers_alike_has_few_patterns_made() -> None:
    """A new name in each reply is read strictly each time, and the patterns stay as few as they were."""
    shapes = Shapes("GET")
    for number in range(50):
        raw = b"HTTP/1.1 200 OK\r\nX-%d: 1\r\nContent-Length: 0" % number
        shapes.learn(raw, parse_head(raw, method="GET"))
    assert len(shapes._shapes) == 4
