"""The head of an HTTP/1.1 reply: strict where a lenient reader could mistake one reply's bytes for another's."""

from __future__ import annotations

import re
from collections.abc import Collection

from ds3tool.errors import ProtocolError
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.messages import Headers

# HEAD of an object names each of its blobs in a header, so the bound is generous: about 200,000 blobs.
MAX_HEAD_BYTES = 16 * 1024 * 1024

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?")
# The blanks around a value are stripped afterwards: a pattern that tells them apart takes quadratic time on a
# line of blanks, and the line's length is the other side's choice.
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t\x20-\x7e\x80-\xff]*)")
_LENGTH = re.compile(r"[0-9]{1,19}")
# One name, once more: their values are joined, each time anew.
_MOST_REPEATED_NAMES = 1000


@dataclass(frozen=True, slots=True)
class ReplyHead:
    """Status, headers, and how the body ends.

    `length` is None when the body is chunked, or (with `keep_alive` False) ends with the connection.
    """

    status: int
    reason: str
    headers: Headers
    length: int | None
    chunked: bool
    keep_alive: bool

    @property
    def names(self) -> Collection[str]:
        """The names of its headers in lower case."""
        return self.headers.keys()


def parse_head(raw: bytes, *, method: str) -> ReplyHead:
    """Return the head that `raw` holds, from the status line up to and without the empty line.

    `method` is the request's, since a reply to HEAD has no body whatever its length says.
    Raises ProtocolError for anything that HTTP/1.1 does not allow, and for what it allows but clients read in
    different ways: folded headers, a length beside a transfer coding, lengths that differ.
    """
    lines = raw.split(b"\r\n")
    status_line = _STATUS_LINE.fullmatch(lines[0])
    if status_line is None:
        raise ProtocolError(
            f"the answer does not begin like HTTP/1.1: {lines[0][:80]!r}",
            hint="is this the appliance's data port, and is it https?",
        )
    pairs = [parse_header_line(line) for line in lines[1:]]
    if len(pairs) > _MOST_REPEATED_NAMES and (
        len(pairs) - len({name.lower() for name, _ in pairs}) > _MOST_REPEATED_NAMES
    ):
        raise ProtocolError(f"the answer repeats headers more than {_MOST_REPEATED_NAMES} times")
    headers = Headers(pairs)
    status = int(status_line[2])
    length, chunked = _framing(headers, pairs, status=status, method=method)
    http_11 = status_line[1] == b"1"
    options = {option.strip().lower() for option in headers.get("connection", "").split(",")}
    keep_alive = (http_11 and "close" not in options) and (length is not None or chunked)
    if status == 204 and ("transfer-encoding" in headers or headers.get("content-length", "").strip("0, ")):
        keep_alive = False  # a 204 that announces a body may send it all the same, and it would be the next reply
    return ReplyHead(status, (status_line[3] or b"").decode("latin-1"), headers, length, chunked, keep_alive)


def parse_header_line(line: bytes) -> tuple[str, str]:
    """Return name and value of one header line, or trailer, without its end; ProtocolError when it is malformed."""
    match = _HEADER.fullmatch(line)
    if match is None:
        raise ProtocolError(f"the answer has a malformed header line: {line[:80]!r}")
    return match[1].decode("ascii"), match[2].strip(b" \t").decode("latin-1")


def _framing(headers: Headers, pairs: list[tuple[str, str]], *, status: int, method: str) -> tuple[int | None, bool]:
    """Return the body's length, None when only its end tells, and whether it is chunked."""
    lengths = {value.strip() for name, text in pairs if name.lower() == "content-length" for value in text.split(",")}
    if len(lengths) > 1:
        raise ProtocolError(f"the answer states several lengths: {', '.join(sorted(lengths))[:80]}")
    declared: int | None = None
    for text in lengths:
        if not _LENGTH.fullmatch(text):
            raise ProtocolError(f"the answer's length is no number: {text[:80]!r}")
        declared = int(text)
    coding = headers.get("transfer-encoding")
    if coding is not None:
        if coding.strip().lower() != "chunked":
            raise ProtocolError(f"the answer has a transfer coding that nobody asked for: {coding[:80]!r}")
        if lengths:
            raise ProtocolError("the answer states both a length and a transfer coding")
    if method == "HEAD" or status < 200 or status in {204, 304}:
        return 0, False
    return declared, coding is not None
