"""An end point for notifications: a real HTTP server that keeps what it was sent, and answers as it is told."""

from __future__ import annotations

import http.server
import json
import queue
import socket
import ssl
import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

_PATIENCE = 60.0


@dataclass(frozen=True)
class Received:
    """One request: its verb, path, headers by lower-case name, and document."""

    verb: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def payload(self) -> ET.Element:
        """The one element inside `Data`."""
        root = ET.fromstring(self.body)
        assert root.tag == "Data"
        (payload,) = root
        return payload

    @property
    def members(self) -> dict[str, Any]:
        """The JSON document."""
        return json.loads(self.body)  # type: ignore[no-any-return] # the tests look at it

    def text(self, name: str) -> str:
        return self.payload.findtext(name) or ""


class Receiver:
    """Listens from its making to `close`. `answer` gives each request its status; None answers nothing at all."""

    def __init__(
        self, answer: Callable[[Received], int | None] = lambda _: 200, *, context: ssl.SSLContext | None = None
    ) -> None:
        self.answer = answer
        self._arrived: queue.Queue[Received] = queue.Queue()
        self._closed = threading.Event()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def _take(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                headers = {name.lower(): value for name, value in self.headers.items()}
                received = Received(self.command, self.path, headers, body)
                status = receiver.answer(received)
                receiver._arrived.put(received)
                if status is None:
                    receiver._closed.wait(_PATIENCE)
                    self.close_connection = True
                    return
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_PUT = do_GET = _take  # noqa: N815 - the library's names

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False
        self._secure = context is not None
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http{'s' if self._secure else ''}://127.0.0.1:{self._server.server_address[1]}/hook?of=tests"

    def next(self) -> Received:
        """Return the next request; a failure after a minute."""
        return self._arrived.get(timeout=_PATIENCE)

    @property
    def waiting(self) -> int:
        """How many requests have come that nobody has looked at."""
        return self._arrived.qsize()

    def close(self) -> None:
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def free_port() -> int:
    """Return a port of the loopback address that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        assert isinstance(port, int)
        return port
