"""Request heads, read strictly: whatever could be read in two ways is refused, and the connection ends."""

from __future__ import annotations

import re

from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol import names
from ds3tool.simulator.wire.refusals import Refusal, bad_request

_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True, slots=True)
class Head:
    """A head as it was read: `length` of the body to come, header names in lower case, `pairs` as they were sent."""

    verb: str
    raw_target: str
    headers: dict[str, str]
    pairs: list[tuple[str, str]]
    length: int
    keep_alive: bool


class BadHeadError(Exception):
    """A head that cannot be trusted; the connection ends after the reply."""

    def __init__(self, refusal: Refusal, verb: str = "GET") -> None:
        super().__init__(refusal.message)
        self.refusal = refusal
        self.verb = verb


def parse_head(raw: bytes) -> Head:
    """Read a head without its empty line; raises BadHeadError for one that cannot be trusted."""
    lines = raw.split(b"\r\n")
    words = lines[0].split(b" ")
    if len(words) != 3 or not words[1] or not _TOKEN.fullmatch(words[0]) or not _VERSION.fullmatch(words[2]):
        raise BadHeadError(bad_request("The request line is not understood.", names.BAD_REQUEST))
    if words[2] not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise BadHeadError(Refusal(505, "HTTPVersionNotSupported", "Only HTTP/1.1 and HTTP/1.0 are spoken here."))
    headers: dict[str, str] = {}
    pairs: list[tuple[str, str]] = []
    for line in lines[1:]:
        name_bytes, colon, value_bytes = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name_bytes) or _CONTROL.search(value_bytes):
            raise BadHeadError(bad_request("A header line is not understood.", names.BAD_REQUEST))
        name, value = name_bytes.decode("latin-1"), value_bytes.strip(b" \t").decode("latin-1")
        pairs.append((name, value))
        lower = name.lower()
        if lower in headers:
            if lower in ("content-length", "host", "authorization", "date") and headers[lower] != value:
                raise BadHeadError(bad_request(f"The header {name} came twice.", names.BAD_REQUEST))
            if not lower.startswith(names.METADATA) and lower not in ("content-length", "host"):
                headers[lower] = f"{headers[lower]}, {value}"
                continue
        headers[lower] = value
    verb = words[0].decode("latin-1")
    length = _body_length(verb, headers)
    options = headers.get("connection", "").lower()
    keep_alive = "close" not in options if words[2] == b"HTTP/1.1" else "keep-alive" in options
    return Head(verb, words[1].decode("latin-1"), headers, pairs, length, keep_alive)


def _body_length(verb: str, headers: dict[str, str]) -> int:
    text = headers.get("content-length")
    if "transfer-encoding" in headers:
        message = "A request body needs a Content-Length; a chunked one is not accepted."
        raise BadHeadError(Refusal(411, names.MISSING_CONTENT_LENGTH, message), verb)
    if text is None:
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise BadHeadError(bad_request(f"Content-Length '{text[:40]}' is no number.", names.BAD_REQUEST), verb)
    return int(text)
