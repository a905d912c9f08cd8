"""A server of the web in tests: objects at paths, with ranges or without, and every way of not giving them."""

from __future__ import annotations

import http.server
import ssl
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from typing import ClassVar
from urllib.parse import urlsplit

MOMENT = 1_700_000_000


@dataclass(frozen=True)
class Page:
    """What is at a path.

    `status` is that of a refusal, whose body `data` is then. `ranges`: parts of it are given; `tells_size`: its length
    is said; `heeds` false: `If-Match` is not. `cut`: so many bytes of a body come before the connection breaks, at the
    first request for them.
    """

    data: bytes = b""
    etag: str | None = '"first"'
    modified: int | None = MOMENT
    status: int = 200
    ranges: bool = True
    tells_size: bool = True
    cut: int | None = None
    heeds: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)


class Web(http.server.ThreadingHTTPServer):
    """Serves `pages` by path; `asked` are the requests as (path with query, Range, If-Match)."""

    daemon_threads = True
    block_on_close = True

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.scheme = "http" if tls is None else "https"
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.pages: dict[str, Page] = {}
        self.asked: list[tuple[str, str | None, str | None]] = []
        self.lock = threading.Lock()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that have gone, as those do that wanted one byte."""
        if not isinstance(sys.exception(), (ConnectionError, ssl.SSLError)):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # as its base has it

    @property
    def place(self) -> str:
        """Scheme, host and port."""
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}"

    def url(self, path: str, query: str = "X-Amz-Signature=top-secret") -> str:
        """Return the URL of a path, signed."""
        return f"{self.place}/{path}?{query}"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Web
    timeout: ClassVar[int] = 10

    def do_GET(self) -> None:
        """Give what is at the path."""
        path = urlsplit(self.path).path.removeprefix("/")
        wanted, match = self.headers.get("Range"), self.headers.get("If-Match")
        with self.server.lock:
            self.server.asked.append((self.path, wanted, match))
            page = self.server.pages.get(path, Page(b"<Error><Code>NoSuchKey</Code></Error>", status=404))
            if page.cut is not None and wanted != "bytes=0-0":
                self.server.pages[path] = replace(page, cut=None)
        if page.status != 200:
            self._answer(page.status, page, page.data)
        elif page.heeds and match is not None and match != page.etag:
            self._answer(412, page, b"<Error><Code>PreconditionFailed</Code></Error>")
        elif wanted is not None and page.ranges:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last) + 1, len(page.data))
            if start >= len(page.data):
                self._answer(416, page, b"<Error><Code>InvalidRange</Code></Error>")
                return
            told = {"Content-Range": f"bytes {start}-{end - 1}/{len(page.data)}"}
            self._answer(206, page, page.data[start:end], told)
        else:
            self._answer(200, page, page.data)

    def do_HEAD(self) -> None:
        """Tell what is at the path."""
        page = self.server.pages.get(urlsplit(self.path).path.removeprefix("/"), Page(status=404))
        self._answer(page.status, page, b"")

    def _answer(self, status: int, page: Page, body: bytes, others: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**page.headers, **(others or {})}.items():
            self.send_header(name, value)
        if page.etag is not None and status < 400:
            self.send_header("ETag", page.etag)
        if page.modified is not None and status < 400:
            self.send_header("Last-Modified", formatdate(page.modified, usegmt=True))
        if page.tells_size or status != 200:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        cut = page.cut if status in {200, 206} and self.headers.get("Range") != "bytes=0-0" else None
        try:
            self.wfile.write(body if cut is None else body[:cut])
        except ConnectionError:
            self.close_connection = True
        if cut is not None:
            self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # as its base has it
        """Say nothing."""


@contextmanager
def web(tls: ssl.SSLContext | None = None) -> Iterator[Web]:
    """Run such a server."""
    server = Web(tls)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, name="web")
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
