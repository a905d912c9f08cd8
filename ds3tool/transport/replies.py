"""The head of an HTTP/1.1 reply: strict where a lenient reader could mistake one reply's bytes for another's."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ds3tool.errors import ProtocolError
from ds3tool.protocol.messages import Headers

# HEAD of an object names each of its blobs in a header, so the bound is generous: about 200,000 blobs.
MAX_HEAD_BYTES = 16 * 1024 * 1024

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?")
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*((?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)[ \t]*")
_LENGTH = re.compile(r"[0-9]{1,19}")


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
    pairs: list[tuple[str, str]] = []
    for line in lines[1:]:
        match = _HEADER.fullmatch(line)
        if match is None:
            raise ProtocolError(f"the answer has a malformed header line: {line[:80]!r}")
        pairs.append((match[1].decode("ascii"), match[2].decode("latin-1")))
    headers = Headers(pairs)
    status = int(status_line[2])
    length, chunked = _framing(headers, pairs, status=status, method=method)
    http_11 = status_line[1] == b"1"
    options = {option.strip().lower() for option in headers.get("connection", "").split(",")}
    keep_alive = (http_11 and "close" not in options) and (length is not None or chunked)
    return ReplyHead(status, (status_line[3] or b"").decode("latin-1"), headers, length, chunked, keep_alive)


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
