"""The HTTP face: a listening socket, one thread a connection, bodies moved by splice and sendfile.

Heads are read strictly; whatever could be read in two ways is refused and the connection closed. Bodies need a
Content-Length: a chunked one is refused with 411, as the contract has it.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ds3tool.protocol import names
from ds3tool.simulator.wire.bodies import DRAIN_LIMIT, PeerGoneError, SocketBody, stalled, too_slow
from ds3tool.simulator.wire.heads import BadHeadError, Head, parse_head
from ds3tool.simulator.wire.messages import Cut, FileSlices, Reply, Request
from ds3tool.simulator.wire.refusals import Refusal, busy
from ds3tool.simulator.wire.targets import Target

_log = logging.getLogger(__name__)

Handler = Callable[[Request], Reply]
Refuse = Callable[[Refusal, str], Reply]

_HEAD_LIMIT = 64 * 1024
_PIECE = 1 << 20
_LINGER_SECONDS = 5
_IO_TIMEOUT_SECONDS = 300
# A head has to be there this long after its first byte, however slowly it drips.
_HEAD_SECONDS = 60
# Each has a thread. Whoever comes beyond is told to come later.
_MOST_CONNECTIONS = 4000
_BACKLOG = 512
_REASONS = {
    100: "Continue", 200: "OK", 201: "Created", 204: "No Content", 206: "Partial Content", 207: "Multi-Status",
    302: "Found", 307: "Temporary Redirect",
    400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden",
    404: "Not Found", 405: "Method Not Allowed", 408: "Request Timeout", 409: "Conflict", 410: "Gone",
    411: "Length Required",
    412: "Precondition Failed", 413: "Content Too Large", 416: "Range Not Satisfiable", 429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}  # fmt: skip


class Answered(NamedTuple):
    """What became of one request: `status` 0 where no answer went out, `whole` when all of it did.

    `seconds` from its head to the last byte of its answer; `received` and `sent` count the bytes of the bodies.
    `request` is None for a head that could not be read.
    """

    request: Request | None
    status: int
    seconds: float
    received: int
    sent: int
    whole: bool


class _Connection:
    """One client's connection: reads heads, hands requests on, writes replies, until either side ends it."""

    def __init__(self, peer: socket.socket, address: str, server: HttpServer) -> None:
        self._socket = peer
        self.descriptor = peer.fileno()
        self._address = address
        self._server = server
        self._buffer = b""
        self._began = 0.0
        self._request: Request | None = None
        self._body: SocketBody | None = None

    def send(self, data: bytes) -> None:
        """Send all of `data`."""
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise PeerGoneError(str(error)) from error

    def take_buffered(self, most: int) -> bytes:
        """Return up to `most` bytes that came with the head, without reading more."""
        piece, self._buffer = self._buffer[:most], self._buffer[most:]
        return piece

    def take(self, most: int) -> bytes:
        """Return between 1 and `most` bytes of the request."""
        if self._buffer:
            return self.take_buffered(most)
        try:
            piece = self._socket.recv(most)
        except OSError as error:
            raise stalled(error, "body") from error
        if not piece:
            raise PeerGoneError("the client closed in the middle of a body")
        return piece

    def serve(self) -> None:
        """Answer requests until the connection ends; the socket is closed at the end."""
        try:
            while self._serve_one():
                pass
        except Cut as cut:
            with contextlib.suppress(OSError):
                cut.prepare(self._socket)
        except (PeerGoneError, OSError) as gone:
            _log.debug("connection of %s ended: %s", self._address, gone)
        finally:
            with contextlib.suppress(OSError):
                self._socket.close()

    def _serve_one(self) -> bool:
        try:
            raw = self._read_head()
            if raw is None:
                return False
            self._began, self._request, self._body = time.perf_counter(), None, None
            head = parse_head(raw)
        except BadHeadError as bad:
            self._answer(self._server.refuse(bad.refusal, "/"), head_only=False, keep_alive=False)
            self._linger()
            return False
        expects = head.headers.get("expect", "").lower() == "100-continue"
        body = SocketBody(self, head.length, expects=expects)
        reply = self._reply_to(head, body)
        unread = bool(body.left)
        # An unread body that the client holds back until told to go on may come or not: nobody could tell.
        keep = head.keep_alive and not reply.close and not (unread and (expects or body.left > DRAIN_LIMIT))
        self._answer(reply, head_only=head.verb == "HEAD", keep_alive=keep)
        if keep and (not unread or body.drain()):
            return True
        if unread:
            self._linger()
        return False

    def _reply_to(self, head: Head, body: SocketBody) -> Reply:
        path = head.raw_target.partition("?")[0]
        try:
            target = Target.parse(head.raw_target)
            path = target.path
            self._body = body
            self._request = Request(head.verb, target, head.headers, head.pairs, body, self._address)
            return self._server.handle(self._request)
        except Refusal as refusal:
            reply = self._server.refuse(refusal, path)
            reply.close |= refusal.status == 408  # whoever keeps still is not waited for twice
            return reply
        except (PeerGoneError, Cut):
            self._tell(0, 0, whole=False)
            raise
        except Exception:  # noqa: BLE001 - whatever a handler got wrong must not end the server, and must be seen
            # Without its query, in which a user's secret key may stand.
            _log.exception("%s %s failed", head.verb, path)
            failure = Refusal(500, names.INTERNAL_ERROR, "InternalError[500]: The appliance failed; see its log.")
            return self._server.refuse(failure, path)

    def _read_head(self) -> bytes | None:
        """Return the next request's head without its empty line, or None when the client has no more requests."""
        data = self._buffer
        deadline = None
        while True:
            data = data.lstrip(b"\r\n") if data[:1] in (b"\r", b"\n") else data
            end = data.find(b"\r\n\r\n")
            if end >= 0:
                if end > _HEAD_LIMIT:
                    break
                self._buffer = data[end + 4 :]
                if deadline is not None:
                    _set_timeouts(self._socket, _IO_TIMEOUT_SECONDS)
                return data[:end]
            if len(data) > _HEAD_LIMIT:
                break
            if data:
                deadline = self._await_rest_of_head(deadline)
            try:
                piece = self._socket.recv(64 * 1024)
            except OSError as error:
                gone = stalled(error, "head")
                if data and isinstance(gone, Refusal):
                    raise BadHeadError(gone) from error
                raise PeerGoneError(str(error)) from error
            if not piece:
                if data:
                    raise PeerGoneError("the client closed in the middle of a head")
                return None
            data += piece
        message = f"The request's head is longer than {_HEAD_LIMIT} bytes."
        raise BadHeadError(Refusal(431, "RequestHeaderSectionTooLarge", message))

    def _await_rest_of_head(self, deadline: float | None) -> float:
        """Let the socket wait for the rest of a head that has begun, until the deadline; raise the 408 behind it."""
        now = time.monotonic()
        if deadline is None:
            deadline = now + _HEAD_SECONDS
        if now >= deadline:
            raise BadHeadError(too_slow("head"))
        _set_timeouts(self._socket, deadline - now)
        return deadline

    def _answer(self, reply: Reply, *, head_only: bool, keep_alive: bool) -> None:
        body = reply.body
        complete = False
        length = 0
        try:
            length = body.length if isinstance(body, FileSlices) else len(body)
            shown = (reply.head_length or 0) if head_only else length
            common = self._server.common_headers() if reply.common is None else reply.common
            head = _format_head(reply, shown, common, keep_alive=keep_alive)
            if head_only or not length:
                self._settled(reply)
                self.send(head)
            elif reply.sender is not None:
                reply.sender(self.send, head, reply)
            elif isinstance(body, FileSlices):
                self._send_file(head, body, reply)
            else:
                self._settled(reply)
                self.send(head + body)
            complete = True
        finally:
            if isinstance(body, FileSlices):
                body.close()
            if reply.sent is not None:
                reply.sent(complete)
            self._tell(reply.status, 0 if head_only or not complete else length, whole=complete)

    def _tell(self, status: int, sent: int, *, whole: bool) -> None:
        """Tell whoever watches what became of the request."""
        if self._server.watch is not None:
            received = 0 if self._body is None else self._body.length - self._body.left
            seconds = time.perf_counter() - self._began
            self._server.watch(Answered(self._request, status, seconds, received, sent, whole))

    def _settled(self, reply: Reply) -> None:
        if reply.settle is not None:
            reply.settle()

    def _send_file(self, head: bytes, body: FileSlices, reply: Reply) -> None:
        try:
            self._socket.sendall(head, socket.MSG_MORE)
            last = len(body.slices) - 1
            for index, (offset, length) in enumerate(body.slices):
                # The last byte goes alone, after `settle`: what it makes true is then true for whoever has it.
                alone = index == last and reply.settle is not None and length > 1
                self._send_slice(body.descriptor, offset, length - 1 if alone else length)
                if alone:
                    self._settled(reply)
                    self._send_slice(body.descriptor, offset + length - 1, 1)
        except OSError as error:
            raise PeerGoneError(str(error)) from error

    def _send_slice(self, descriptor: int, offset: int, length: int) -> None:
        while length:
            moved = os.sendfile(self.descriptor, descriptor, offset, min(length, 1 << 30))
            if not moved:
                raise OSError(errno.EIO, "a cached blob is shorter than it should be")
            offset += moved
            length -= moved

    def _linger(self) -> None:
        """Say that no more comes, and read on for a while: a reset would take the reply from the client's hands."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
            _set_timeouts(self._socket, _LINGER_SECONDS)
            left = DRAIN_LIMIT
            while left > 0 and (piece := self._socket.recv(_PIECE)):
                left -= len(piece)


def _set_timeouts(peer: socket.socket, seconds: float) -> None:
    # Kernel timeouts keep the descriptor blocking, which sendfile and splice need. Zero would be for ever.
    whole = int(seconds)
    value = struct.pack("ll", whole, max(1, int((seconds - whole) * 1e6)) if whole < seconds or not whole else 0)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)


def _format_head(reply: Reply, length: int, common: str, *, keep_alive: bool) -> bytes:
    lines = [f"HTTP/1.1 {reply.status} {_REASONS.get(reply.status, 'Unknown')}\r\n{common}"]
    if reply.content_type is not None:
        lines.append(f"Content-Type: {reply.content_type}\r\n")
    lines.extend(f"{name}: {value}\r\n" for name, value in reply.headers)
    lines.append(f"Content-Length: {length}\r\n")
    lines.append("\r\n" if keep_alive else "Connection: close\r\n\r\n")
    return "".join(lines).encode("latin-1")


class HttpServer:
    """Listens and serves until closed; `close` returns when no thread and no socket of it is left.

    `handle` answers a request or raises a Refusal; `refuse` makes the reply of one for a path;
    `common` returns the header lines that every reply carries. `watch` is told what became of each request, by the
    connection's thread, which waits for it.
    """

    def __init__(
        self,
        host: str,
        port: int,
        handle: Handler,
        refuse: Refuse,
        common: Callable[[], str],
        *,
        watch: Callable[[Answered], None] | None = None,
    ) -> None:
        self.handle = handle
        self.watch = watch
        self.refuse = refuse
        self.common_headers = common
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind((host, port))
            self._listener.listen(_BACKLOG)
        except OSError:
            self._listener.close()
            raise
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._closing = False
        self._admitted = threading.Event()
        self._admitted.set()
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._acceptor = threading.Thread(target=self._accept, name="ds3-accept", daemon=True)

    def start(self) -> None:
        """Begin to accept connections."""
        self._acceptor.start()

    def _accept(self) -> None:
        while True:
            try:
                peer, address = self._listener.accept()
            except OSError as error:
                if self._closing:
                    return
                _log.warning("cannot accept a connection: %s", error)
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ECONNABORTED, errno.ENOBUFS, errno.ENOMEM):
                    threading.Event().wait(0.05)  # until a connection ends; the listener stays readable meanwhile
                    continue
                return
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _set_timeouts(peer, _IO_TIMEOUT_SECONDS)
            self._begin(peer, str(address[0]))

    def _begin(self, peer: socket.socket, address: str) -> None:
        connection = _Connection(peer, address, self)
        thread = threading.Thread(target=self._run, args=(connection,), name="ds3-connection", daemon=True)
        while True:
            # Whoever comes while all is held waits, as at a port that nobody has accepted from yet.
            self._admitted.wait()
            with self._lock:
                if self._closing:
                    peer.close()
                    return
                if len(self._connections) >= _MOST_CONNECTIONS:
                    self._turn_away(peer)
                    return
                if self._admitted.is_set():
                    self._start(thread, peer)
                    return

    def _start(self, thread: threading.Thread, peer: socket.socket) -> None:
        """Start a connection's thread, with the lock held; turn it away where the host grants no more threads."""
        self._connections[thread] = peer
        try:
            thread.start()
        except RuntimeError as error:
            del self._connections[thread]
            _log.warning("cannot serve a connection: %s", error)
            self._turn_away(peer)

    def _turn_away(self, peer: socket.socket) -> None:
        refusal = busy("There are too many connections.", 1)
        reply = self.refuse(refusal, "/")
        body = reply.body if isinstance(reply.body, bytes) else b""
        head = _format_head(reply, len(body), self.common_headers(), keep_alive=False)
        with contextlib.suppress(OSError), peer:
            peer.send(head + body, socket.MSG_DONTWAIT)
            peer.shutdown(socket.SHUT_WR)

    def _run(self, connection: _Connection) -> None:
        try:
            connection.serve()
        finally:
            with self._lock:
                self._connections.pop(threading.current_thread(), None)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Cut every connection, and let no other begin while the body runs; then no request is under way.

        Waits for the threads of the connections; not for one of them to call.
        """
        with self._lock:
            self._admitted.clear()
            peers = list(self._connections.items())
        try:
            self._cut(peers)
            yield
        finally:
            self._admitted.set()

    def _cut(self, peers: list[tuple[threading.Thread, socket.socket]]) -> None:
        for _, peer in peers:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
        for thread, _ in peers:
            thread.join()

    def close(self) -> None:
        """Stop listening, cut every connection, and wait for their threads; may be called twice."""
        with self._lock:
            self._closing = True
            peers = list(self._connections.items())
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._admitted.set()
        self._cut(peers)
        if self._acceptor.ident is not None:
            self._acceptor.join()
