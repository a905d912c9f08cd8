"""A server that does exactly what a test says: plays back bytes, records what came, closes, resets or stalls.

A script is a function that is called with each accepted connection, in a thread of its own.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

WAIT_SECONDS = 20.0  # a test that waits longer for something that should happen has failed


class GoneError(Exception):
    """The client closed its side, or the test is over."""


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came: `connection` counts accepted connections from 0."""

    connection: int
    method: str
    target: str
    headers: dict[str, str] = field(repr=False)
    head: bytes = field(repr=False)
    body: bytes = field(repr=False)


class Peer:
    """One accepted connection, in the hands of a script."""

    def __init__(self, server: ScriptedServer, sock: socket.socket, number: int) -> None:
        self.server = server
        self.socket = sock
        self.number = number
        self._ahead = b""

    def _receive(self, count: int = 65536) -> bytes:
        try:
            data = self.socket.recv(count)
        except OSError as error:
            raise GoneError from error
        if not data:
            raise GoneError
        return data

    def read_head(self) -> Received:
        """Read one request's head; raises GoneError when the client has no more."""
        while b"\r\n\r\n" not in self._ahead:
            self._ahead += self._receive()
        head, _, self._ahead = self._ahead.partition(b"\r\n\r\n")
        request_line, *lines = head.decode("latin-1").split("\r\n")
        method, target, version = request_line.split(" ")
        assert version == "HTTP/1.1"
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(": ")
            assert name.lower() not in headers, f"{name} was sent twice"
            headers[name.lower()] = value
        return Received(self.number, method, target, headers, head, b"")

    def read(self, count: int) -> bytes:
        """Read exactly `count` bytes of a body."""
        blocks = [self._ahead[:count]]
        self._ahead = self._ahead[count:]
        left = count - len(blocks[0])
        while left:
            blocks.append(self._receive(min(left, 1 << 20)))
            left -= len(blocks[-1])
        return b"".join(blocks)

    def read_request(self) -> Received:
        """Read one request whole, and keep it in the server's list."""
        got = self.read_head()
        if got.headers.get("expect") == "100-continue":
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        return self.finish_request(got)

    def finish_request(self, got: Received) -> Received:
        """Read the body of a request whose head was read, and keep it in the server's list."""
        body = self.read(int(got.headers.get("content-length", "0")))
        whole = Received(got.connection, got.method, got.target, got.headers, got.head, body)
        self.server.record(whole)
        return whole

    def read_to_end(self) -> bytes:
        """Read all until the client closes."""
        data, self._ahead = bytearray(self._ahead), b""
        with contextlib.suppress(GoneError):
            while True:
                data += self._receive()
        return bytes(data)

    def send(self, data: bytes) -> None:
        """Send exactly these bytes."""
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise GoneError from error

    def end_sending(self) -> None:
        """Say that nothing more is coming, and go on listening."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close, at once."""
        if isinstance(self.socket, ssl.SSLSocket):
            with contextlib.suppress(OSError, ValueError):
                self.socket.settimeout(1)
                self.socket.unwrap()
        self.socket.close()

    def reset(self) -> None:
        """Break the connection with a reset."""
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def until(self, event: threading.Event) -> None:
        """Do nothing until the test says so; the server's end counts as well."""
        while not event.wait(0.01):
            if self.server.closing.is_set():
                raise GoneError


Script = Callable[[Peer], None]


class ScriptedServer:
    """Listens on a free port of this machine and runs `script` for each connection."""

    def __init__(
        self, script: Script, *, context: ssl.SSLContext | None = None, receive_buffer: int = 0, port: int = 0
    ) -> None:
        self._script = script
        self._context = context
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self.requests: list[Received] = []
        self.connections = 0
        self.failures: list[BaseException] = []
        self.handshake_failures: list[Exception] = []
        self.closing = threading.Event()
        self._listener = socket.socket()
        if receive_buffer:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", port))
        self._listener.listen(128)
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    @property
    def url(self) -> str:
        """The endpoint of this server."""
        return f"{'http' if self._context is None else 'https'}://127.0.0.1:{self.port}"

    def record(self, got: Received) -> None:
        """Keep a request."""
        with self._changed:
            self.requests.append(got)
            self._changed.notify_all()

    def wait_for(self, happened: Callable[[], bool]) -> None:
        """Wait until something is true: of what was recorded, or of what a script has noted for itself."""
        deadline = time.monotonic() + WAIT_SECONDS
        with self._changed:
            while not happened():
                assert time.monotonic() < deadline, "waited in vain"
                self._changed.wait(0.01)

    def _start(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name="scripted-server", daemon=True)
        with self._lock:
            self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self._changed:
                number = self.connections
                self.connections += 1
                self._sockets.append(sock)
                self._changed.notify_all()
                if self.closing.is_set():
                    sock.close()
                    return
            self._start(lambda sock=sock, number=number: self._serve(sock, number))  # type: ignore[misc]  # bound early

    def _serve(self, sock: socket.socket, number: int) -> None:
        try:
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
                with self._lock:
                    self._sockets.append(sock)
        except OSError as error:
            with self._changed:
                self.handshake_failures.append(error)
                self._changed.notify_all()
            sock.close()
            return
        peer = Peer(self, sock, number)
        try:
            self._script(peer)
        except GoneError:
            pass
        except BaseException as error:  # noqa: BLE001  # the test is told at its end
            self.failures.append(error)
        finally:
            with contextlib.suppress(OSError):
                peer.close()

    def close(self) -> None:
        """Close everything, wait for the threads, and raise what a script has found wrong."""
        self.closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            sockets, threads = list(self._sockets), list(self._threads)
        for sock in sockets:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
        for thread in threads:
            thread.join(WAIT_SECONDS)
            assert not thread.is_alive(), "a script does not end"
        for sock in sockets:
            sock.close()
        if self.failures:
            raise self.failures[0]


def reply(
    status: int = 200,
    body: bytes = b"",
    *,
    headers: Iterable[tuple[str, str]] = (),
    length: int | None = None,
    reason: str = "Fine",
) -> bytes:
    """Return a plain reply; `length` only where it is to differ from the body's."""
    lines = [f"HTTP/1.1 {status} {reason}", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def chunked(*blocks: bytes, trailers: bytes = b"") -> bytes:
    """Return blocks in chunked coding, with its end."""
    return b"".join(b"%x\r\n%s\r\n" % (len(block), block) for block in blocks) + b"0\r\n" + trailers + b"\r\n"


def refusal(status: int, code: str, *, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """Return a refusal with its document."""
    return reply(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode(), headers=headers)


def replies(*each: bytes) -> Script:
    """Return a script that answers the n-th request, over all connections, with the n-th of these; then the last."""
    lock = threading.Lock()
    left = list(each)

    def script(peer: Peer) -> None:
        while True:
            peer.read_request()
            with lock:
                data = left.pop(0) if len(left) > 1 else left[0]
            peer.send(data)

    return script


def in_turn(*scripts: Script) -> Script:
    """Return a script that treats the n-th connection by the n-th of these; then by the last."""

    def script(peer: Peer) -> None:
        scripts[min(peer.number, len(scripts) - 1)](peer)

    return script
