"""Bytes to an appliance and its reply from them, with nothing added and nothing forgiven.

The reader is as strict as the strictest client: `HTTP/1.1`, `Name: value` with one blank, and a Content-Length on
every reply, of the object's size even on one to HEAD.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Self
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Reply:
    """One reply. Header names are as sent; `length` is that of Content-Length."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes
    length: int

    def text(self, name: str) -> str | None:
        """Return a header's value, whatever the case of its name."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


class Exchange:
    """A connection that is kept while the appliance keeps it."""

    def __init__(self, endpoint: str) -> None:
        parts = urlsplit(endpoint)
        assert parts.hostname
        assert parts.port
        self.authority = f"{parts.hostname}:{parts.port}"
        self._address = parts.hostname, parts.port
        self._socket: socket.socket | None = None
        self._reader: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._socket is not None and self._reader is not None:
            self._reader.close()
            self._socket.close()
        self._socket = self._reader = None

    def ask(self, head: list[str], body: bytes = b"") -> Reply:
        """Send a head (request line and header lines) and a body; wait for `100 Continue` first if the head says so."""
        if self._socket is None:
            self._socket = socket.create_connection(self._address, timeout=60)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._reader = self._socket.makefile("rb")
        raw = "\r\n".join(head).encode("latin-1") + b"\r\n\r\n"
        if "Expect: 100-continue" in head:
            self._socket.sendall(raw)
            status, reason = self._status()
            if status != 100:  # a refusal, known before the body came: the body stays here
                return self._reply(status, reason, no_body=False)
            assert self._line() == ""
            self._socket.sendall(body)
        else:
            self._socket.sendall(raw + body)
        return self._reply(*self._status(), no_body=head[0].startswith("HEAD "))

    def _reply(self, status: int, reason: str, *, no_body: bool) -> Reply:
        headers: list[tuple[str, str]] = []
        while line := self._line():
            name, separator, value = line.partition(": ")
            assert separator, f"a client that splits at colon and blank cannot read {line!r}"
            headers.append((name, value))
        lengths = [value for name, value in headers if name.lower() == "content-length"]
        assert len(lengths) == 1, f"{status} with {len(lengths)} lengths"
        length = int(lengths[0])
        assert self._reader is not None
        body = b"" if no_body else self._reader.read(length)
        assert no_body or len(body) == length
        if any((name.lower(), value.lower()) == ("connection", "close") for name, value in headers):
            self.close()
        return Reply(status, reason, headers, body, length)

    def _status(self) -> tuple[int, str]:
        line = self._line()
        version, status, reason = [*line.split(" ", 2), "", ""][:3]
        assert version == "HTTP/1.1", line
        return int(status), reason

    def _line(self) -> str:
        assert self._reader is not None
        line = self._reader.readline()
        assert line.endswith(b"\r\n"), f"the reply ends in its head: {line!r}"
        return line[:-2].decode("latin-1")
