"""Stands between a client and an appliance, understands HTTP, and spoils exchanges as a seed decides."""

from __future__ import annotations

import random
import re
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_WORDS = {404: "Not Found", 410: "Gone", 500: "Internal Server Error", 503: "Service Unavailable"}


class Fault(Enum):
    """What can happen to one exchange. `UNSEEN`: the appliance never gets the request."""

    RESET_UNSEEN = "the connection is reset before the request is passed on"
    CUT_REQUEST = "the request reaches the appliance in part, then both connections close"
    RESET_ANSWERED = "the request is carried out, and the connection reset instead of a reply"
    CUT_REPLY_HEAD = "the reply breaks off in its head"
    CUT_REPLY_BODY = "the reply breaks off in its body, or before its last byte"
    SILENCE = "the request is carried out, and nothing more is heard"
    LATE = "the request is carried out only after the client has given it up"
    CLOSE_AFTER = "the connection is closed behind a whole reply that promised to keep it"
    REFUSE_UNSEEN = "503, 500, 307, 404 or 410 out of nowhere"
    REFUSE_ANSWERED = "the request is carried out, and 503, 500 or 307 is said of it"
    FLIP_REQUEST_BODY = "one bit of the request's body is flipped"
    FLIP_REPLY_BODY = "one bit of the reply's body is flipped"
    FLIP_REQUEST_HEAD = "one bit of the request's head is flipped"
    FLIP_REPLY_HEAD = "one bit of the reply's head is flipped"
    DUPLICATE_REPLY = "the reply comes twice"
    DUPLICATE_REQUEST = "the request is carried out twice; one reply comes"
    FOREIGN_OK = "somebody else says 200 and the appliance never sees the request"
    SLOW_PIECES = "request and reply arrive in many small pieces"


class _EndError(Exception):
    """This connection ends."""


@dataclass
class Exchange:
    """One request as it came."""

    head: bytes
    body: bytes

    @property
    def method(self) -> str:
        return self.head.split(b" ", 1)[0].decode()

    @property
    def target(self) -> str:
        return self.head.split(b" ", 2)[1].decode()

    @property
    def is_blob(self) -> bool:
        return "offset=" in self.target


@dataclass
class SpoilingProxy:
    """Passes requests on to `port` and spoils some of them, until it is closed.

    `choose` is asked for each exchange what is to happen, with the seed's own chance; `done` keeps what happened.
    """

    port: int
    choose: Callable[[Exchange, random.Random], Fault | None]
    seed: int
    done: list[tuple[Fault, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept, name="proxy")]
        self._threads[0].start()

    def close(self) -> None:
        """End every connection and thread."""
        self._closing.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        with self._lock:
            sockets, threads = list(self._sockets), list(self._threads)
        for each in sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in threads[1:]:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,), name="proxy connection")
            with self._lock:
                self._sockets.append(client)
                self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        one = _Passage(self, client)
        try:
            while not self._closing.is_set():
                one.exchange()
        except (OSError, _EndError):
            pass
        finally:
            one.close()

    def decide(self, exchange: Exchange) -> tuple[Fault | None, random.Random]:
        """Return what is to happen to an exchange, and a chance of its own."""
        with self._lock:
            fault = self.choose(exchange, self._chance)
            if fault is not None:
                self.done.append((fault, f"{exchange.method} {exchange.target}"))
            return fault, random.Random(self._chance.random())

    def connect(self) -> socket.socket:
        """Return a connection to the appliance."""
        appliance = socket.create_connection(("127.0.0.1", self.port))
        with self._lock:
            self._sockets.append(appliance)
        return appliance

    def wait_for_close(self, client: socket.socket) -> None:
        """Wait until the client hangs up, or all ends."""
        while not self._closing.is_set() and client.recv(65536):
            pass


class _Passage:
    """One client's connection, and one to the appliance."""

    def __init__(self, proxy: SpoilingProxy, client: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._appliance: socket.socket | None = None
        self._ahead = {client: b""}

    def close(self) -> None:
        self._client.close()
        if self._appliance is not None:
            self._appliance.close()

    def _read_head(self, source: socket.socket) -> bytes:
        data = self._ahead.get(source, b"")
        while b"\r\n\r\n" not in data:
            piece = source.recv(1 << 16)
            if not piece:
                raise _EndError
            data += piece
        head, _, self._ahead[source] = data.partition(b"\r\n\r\n")
        return head + b"\r\n\r\n"

    def _read_body(self, source: socket.socket, head: bytes) -> bytes:
        match = _LENGTH.search(head)
        length = int(match[1]) if match else 0
        data = self._ahead[source]
        parts, have = [data], len(data)
        while have < length:
            piece = source.recv(min(1 << 20, length - have))
            if not piece:
                raise _EndError
            parts.append(piece)
            have += len(piece)
        data = b"".join(parts)
        self._ahead[source] = data[length:]
        return data[:length]

    def _read_request(self) -> Exchange:
        head = self._read_head(self._client)
        if b"\r\nexpect:" in head.lower():
            head = re.sub(rb"\r\n[Ee]xpect:[^\r]*", b"", head)
            self._client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        return Exchange(head, self._read_body(self._client, head))

    def _pass_on(self, request: bytes) -> None:
        if self._appliance is None:
            self._appliance = self._proxy.connect()
            self._ahead[self._appliance] = b""
        self._appliance.sendall(request)

    def _reply(self, method: str) -> tuple[bytes, bytes]:
        assert self._appliance is not None
        head = self._read_head(self._appliance)
        return head, b"" if method == "HEAD" else self._read_body(self._appliance, head)

    def _reset(self) -> None:
        self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise _EndError

    def _say(self, status: int, chance: random.Random, headers: str = "") -> None:
        body = chance.choice((b"", b"<html>not now</html>"))
        line = f"HTTP/1.1 {status} {_WORDS.get(status, 'Said')}\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        self._client.sendall(line.encode() + body)

    def exchange(self) -> None:
        """Pass one request and its reply, as well or as badly as was decided."""
        request = self._read_request()
        fault, chance = self._proxy.decide(request)
        head, body = request.head, request.body
        if fault is Fault.RESET_UNSEEN:
            self._reset()
        if fault is Fault.REFUSE_UNSEEN:
            self._say(chance.choice((503, 500, 307, 404, 410)), chance)
            return
        if fault is Fault.FOREIGN_OK:
            self._say(200, chance, "Content-Type: text/html\r\n")
            return
        if fault is Fault.CUT_REQUEST:
            whole = head + body
            self._pass_on(whole[: chance.randrange(1, len(whole))])
            raise _EndError
        if fault is Fault.LATE:
            self._proxy.wait_for_close(self._client)
            self._pass_on(head + body)
            self._reply(request.method)
            raise _EndError
        if fault is Fault.FLIP_REQUEST_BODY and body:
            body = _flipped(body, chance)
        if fault is Fault.FLIP_REQUEST_HEAD:
            head = _flipped(head[:-4], chance) + head[-4:]
        if fault is Fault.SLOW_PIECES:
            for piece in _pieces(head + body):
                self._pass_on(piece)
        else:
            self._pass_on(head + body)
        if fault is Fault.DUPLICATE_REQUEST:
            self._reply(request.method)
            self._pass_on(head + body)
        self._answer(fault, chance, *self._reply(request.method))

    def _answer(self, fault: Fault | None, chance: random.Random, head: bytes, body: bytes) -> None:
        client = self._client
        if fault is Fault.RESET_ANSWERED:
            self._reset()
        if fault is Fault.REFUSE_ANSWERED:
            self._say(chance.choice((503, 500, 307)), chance)
            return
        if fault is Fault.SILENCE:
            self._proxy.wait_for_close(client)
            raise _EndError
        if fault is Fault.CUT_REPLY_HEAD:
            client.sendall(head[: chance.randrange(1, len(head))])
            raise _EndError
        if fault is Fault.CUT_REPLY_BODY:
            client.sendall((head + body)[: len(head) + (chance.randrange(len(body)) if body else -1)])
            raise _EndError
        if fault is Fault.FLIP_REPLY_BODY and body:
            body = _flipped(body, chance)
        if fault is Fault.FLIP_REPLY_HEAD:
            head = _flipped(head[:-4], chance) + head[-4:]
        if fault is Fault.SLOW_PIECES:
            for piece in _pieces(head + body):
                client.sendall(piece)
            return
        client.sendall(head + body)
        if fault is Fault.DUPLICATE_REPLY:
            client.sendall(head + body)
        if fault is Fault.CLOSE_AFTER:
            raise _EndError


def _flipped(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _pieces(data: bytes) -> list[bytes]:
    step = max(1, len(data) // 50)
    return [data[at : at + step] for at in range(0, len(data), step)]
