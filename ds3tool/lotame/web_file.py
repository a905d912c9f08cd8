"""A mapping file on the web: what its server tells of it, and its bytes. The query of its address may be secret."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from ds3tool.errors import FarSideUnreachableError, SourceError
from ds3tool.lazy_dataclass import dataclass
from ds3tool.lotame.connections import connections_to
from ds3tool.lotame.model import WebLocation

if TYPE_CHECKING:
    import urllib3

_RANGE = re.compile(r"bytes\s+\d+-\d+/(\d+)", re.IGNORECASE)
_STRONG = re.compile(r'"([^"]+)"')
_OK, _PART, _NO_SUCH_RANGE = 200, 206, 416


@dataclass(frozen=True, slots=True)
class WebState:
    """What a server tells of a file: its size, its strong ETag (empty without one), when it was modified.

    `last_modified` is that as the server wrote it; `ranges`: it gives parts of the file.
    """

    size: int
    etag: str
    last_modified: str | None
    ranges: bool

    @property
    def modified(self) -> datetime | None:
        """When it was modified, where that is told."""
        try:
            moment = parsedate_to_datetime(self.last_modified or "")
        except (ValueError, TypeError):
            return None
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def look(place: WebLocation) -> WebState:
    """Return what is there, by a GET of its first byte: a HEAD may not be signed for.

    SourceError when it is not to be had, or does not tell its size; FarSideUnreachableError when nobody answers.
    """
    with web_reply(place, {"Range": "bytes=0-0"}) as reply:
        size: str | None = reply.headers.get("Content-Length")
        if reply.status == _PART:
            found = _RANGE.fullmatch(reply.headers.get("Content-Range", "").strip())
            size = None if found is None else found[1]
        elif reply.status == _NO_SUCH_RANGE:
            size = "0"
        elif reply.status != _OK:
            raise SourceError(f"{place} cannot be had: its server answers {reply.status}")
        if size is None or not size.isdecimal():
            raise SourceError(f"{place}: its server does not tell how large it is")
        etag = _STRONG.fullmatch(reply.headers.get("ETag", "").strip())
        return WebState(
            int(size), "" if etag is None else etag[1], reply.headers.get("Last-Modified"), reply.status == _PART
        )


@contextmanager
def web_reply(place: WebLocation, headers: dict[str, str]) -> Iterator[urllib3.BaseHTTPResponse]:
    """Give the reply to a GET, its body unread; redirects are not followed.

    What goes wrong on the way, while its body is read too, comes out as FarSideUnreachableError without the address.
    """
    import urllib3

    connections = connections_to(place.url)
    try:
        asked = {"Accept-Encoding": "identity", "User-Agent": "ds3tool", **headers}
        reply = connections.request(
            "GET", place.url, headers=asked, redirect=False, retries=False, preload_content=False, decode_content=False
        )
        try:
            if reply.status in {408, 429} or reply.status >= 500:
                raise FarSideUnreachableError(f"{place} cannot be had now: its server answers {reply.status}")
            yield reply
        finally:
            reply.close()
    except urllib3.exceptions.HTTPError as error:
        # Its own words may hold the query.
        raise FarSideUnreachableError(f"{place}: no whole answer came ({type(error).__name__})") from None
    finally:
        connections.clear()
