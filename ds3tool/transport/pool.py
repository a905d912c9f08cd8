"""The transport: kept-alive connections to one appliance, and `exchange`, which sends one request over them."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from ds3tool.clock import Clock, RealClock
from ds3tool.errors import Ds3Error, ProtocolError, TransportError, UsageError
from ds3tool.protocol import responses
from ds3tool.protocol.messages import Request, Response
from ds3tool.protocol.signing import Credentials, Signer, http_date
from ds3tool.transport.bodies import BlocksBody, BytesBody, OutgoingBody
from ds3tool.transport.connection import EXPECT_ABOVE_BYTES, Connection, shut_down
from ds3tool.transport.dial import Dialer
from ds3tool.transport.ratelimit import RateLimit
from ds3tool.transport.replies import ReplyHead
from ds3tool.transport.retry import Retries
from ds3tool.transport.settings import ConnectionSettings
from ds3tool.version import VERSION

_log = logging.getLogger(__name__)
T = TypeVar("T")

# A refusal's document is small; more than this is not one.
_MAX_ERROR_BYTES = 1024 * 1024
# Left-over body worth reading to keep a connection; above it, a new connection is cheaper.
_MAX_DRAIN_BYTES = 1024 * 1024

_METHOD = re.compile(r"[A-Z]{1,20}")
_TARGET = re.compile(r"[\x21-\x7e]+")
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class IncomingBody:
    """A reply's body while its connection is held: iterate it, or move it into a file.

    Each byte is given once, however often it is iterated. `length` is None when only the body's end tells it;
    `finished` says that it was read to its end. It cannot be read after its exchange has ended.
    """

    def __init__(self, connection: Connection, head: ReplyHead) -> None:
        self.length = head.length if not head.chunked else None
        self.finished = self.length == 0
        self._head = head
        self._connection: Connection | None = connection
        self._blocks = self._read()
        self._begun = False
        self._moved_away = False

    def __iter__(self) -> Iterator[bytes]:
        return self._blocks

    def _read(self) -> Iterator[bytes]:
        if self.finished:
            return
        if self._connection is None or self._moved_away:
            raise _read_too_late()
        self._begun = True
        for block in self._framed(self._connection):
            yield block
            if self._connection is None:
                raise _read_too_late()
        self.finished = True

    def _framed(self, connection: Connection) -> Iterator[bytes]:
        if self._head.chunked:
            return connection.read_chunked()
        if self.length is not None:
            return connection.read_exactly(self.length)
        return connection.read_to_close()

    def into_file(
        self,
        descriptor: int,
        offset: int,
        *,
        moved: Callable[[int], None] | None = None,
        seen: Callable[[bytes | memoryview], None] | None = None,
    ) -> None:
        """Move a body of known length into a file at `offset`, by the cheapest way there is.

        `moved` is told how many bytes each step has written; `seen`, when given, is handed just these ahead of that.
        UsageError when its length is not known, some of it was read already, or its exchange has ended.
        """
        if self.finished:
            return
        if self.length is None or self._begun or self._moved_away or self._connection is None:
            raise UsageError("only a whole body of known length can be moved into a file")
        self._moved_away = True
        self._connection.read_into_file(self.length, descriptor, offset, moved=moved, seen=seen)
        self.finished = True

    def drain(self) -> bool:
        """Read what is left when that is little; return whether the connection can be used again."""
        if self.finished or self._moved_away:
            return self.finished
        if self._head.chunked or (self.length is not None and self.length <= _MAX_DRAIN_BYTES):
            drained = 0
            for block in self._blocks:
                drained += len(block)
                if drained > _MAX_DRAIN_BYTES:
                    break
        return self.finished

    def detach(self) -> None:
        """Let go of the connection, which is another exchange's from now on."""
        self._connection = None


def _read_too_late() -> UsageError:
    return UsageError("the body of an answer was read after its exchange had ended, or twice")


class _Dialing:
    """A connection that is being opened; `abort` ends it from another thread."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._aborted = False

    def opened(self, sock: socket.socket) -> None:
        """Take the socket that is going to block; TransportError when nobody wants it any more."""
        self._socket = sock
        if self._aborted:
            raise _stopped_error()

    def abort(self) -> None:
        """Wake the thread that opens the connection, with an error."""
        self._aborted = True
        if self._socket is not None:
            shut_down(self._socket)


def _stopped_error() -> TransportError:
    return TransportError("stopped before the request was sent", may_have_arrived=False)


class Transport:
    """Sends requests to one appliance, signed, from any number of threads.

    Connections are kept alive and reused, newest first; each is used by one thread at a time. Failures that
    asking again may mend are retried within the settings' budget; what remains is raised as a `Ds3Error`.
    """

    def __init__(
        self, settings: ConnectionSettings, *, clock: Clock | None = None, limit: RateLimit | None = None
    ) -> None:
        self.dialer = Dialer(settings)
        self.signer = Signer(Credentials(settings.access_key, settings.secret_key))
        self.limit = limit
        self.clock: Clock = clock or RealClock()
        self.on_wait: Callable[[Ds3Error, float], None] | None = None
        self._settings = settings
        self._retries = Retries(
            clock=self.clock,
            budget_seconds=settings.max_retry_seconds,
            idle_seconds=settings.connect_timeout_seconds + settings.io_timeout_seconds,
        )
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._dialing: set[_Dialing] = set()
        self._beside: list[Callable[[], None]] = []
        # Set and replaced: what ends the exchanges of now, and what ends only those that would be repeated.
        self._cut = threading.Event()
        self._stopped = threading.Event()
        self._closed = False
        self._fixed_head = self._make_fixed_head()

    def _make_fixed_head(self) -> str:
        lines = [f"Host: {self.dialer.place.authority}", f"User-Agent: ds3tool/{VERSION}"]
        if self.dialer.absolute_form and self.dialer.proxy_authorization:
            lines.append(f"Proxy-Authorization: {self.dialer.proxy_authorization}")
        return "".join(f"{line}\r\n" for line in lines)

    @property
    def fixed_head(self) -> str:
        """Header lines that every request of this transport carries alike."""
        return self._fixed_head

    @property
    def target_prefix(self) -> str:
        """What stands before the path in a request line: nothing, or the place when a proxy wants the whole URL."""
        return str(self.dialer.place) if self.dialer.absolute_form else ""

    @property
    def io_timeout_seconds(self) -> float:
        """Seconds without a byte after which a connection is given up."""
        return self._settings.io_timeout_seconds

    # -- one exchange ------------------------------------------------------------------------------------------

    def exchange(
        self,
        request: Request,
        parse: Callable[[Response], T],
        *,
        body: OutgoingBody | None = None,
        retry_busy: bool = True,
        ask: Callable[[], T | None] | None = None,
        again: Callable[[], Request] | None = None,
    ) -> T:
        """Send `request` and return what `parse` makes of the successful reply.

        `body` is an object's bytes; without it the request's own document is sent. `parse` runs while the
        connection is held, and again from the start when its reply broke off and the request is repeated.
        `retry_busy` False hands 307 and 503 to the caller at once, for whom waiting is an answer. `ask` says what
        became of a request that may have been carried out though its reply was lost: the outcome, or None when it was
        not and is to be sent again; what it raises counts as a failure of the request.
        Raises TransportError when no complete answer came, an ApplianceError when the appliance refuses,
        ProtocolError when its answer breaks the rules, and whatever `parse` raises.
        """
        with self._lock:
            stopped, cut = self._stopped, self._cut
        if body is None and request.body:
            body = BytesBody(request.body) if isinstance(request.body, bytes) else BlocksBody(request.body)

        def repeat() -> T:
            return self._attempt(request if again is None else again(), parse, body, stopped)

        try:
            return self._attempt(request, parse, body, cut)
        except Ds3Error as error:
            first = error
        return self._retries.go_on(
            repeat,
            first,
            idempotent=request.idempotent,
            stopped=stopped,
            retry_busy=retry_busy,
            ask=ask,
            on_wait=self.on_wait,
            come_to=again,
        )

    def _attempt(
        self,
        request: Request,
        parse: Callable[[Response], T],
        body: OutgoingBody | None,
        stopped: threading.Event,
        *,
        may_expect: bool = True,
    ) -> T:
        connection = self._take(stopped)
        incoming: IncomingBody | None = None
        reusable = False
        try:
            expect = may_expect and body is not None and body.length > EXPECT_ABOVE_BYTES
            head = self._head(request, body, expect=expect)
            early = connection.send_request(head, body, expect=expect)
            reply = early or connection.read_head(request.method)
            incoming = IncomingBody(connection, reply)
            _log.debug("%s %s: %d", request.method, request.target, reply.status)
            if 200 <= reply.status < 300:
                if early is not None:
                    raise TransportError(f"{connection.place} said {reply.status} before it had the whole request")
                result = parse(Response(reply.status, reply.headers, incoming, reply.reason))
                reusable = incoming.drain() and reply.keep_alive
                return result
            if not (expect and reply.status == 417):
                error = self._refusal(request, reply, incoming)
                reusable = early is None and incoming.finished and reply.keep_alive
                raise error
        finally:
            if incoming is not None:
                incoming.detach()
            self._give_back(connection, reusable=reusable)
        # Something on the way does not know `Expect`: then the body is sent unasked.
        return self._attempt(request, parse, body, stopped, may_expect=False)

    def _refusal(self, request: Request, reply: ReplyHead, incoming: IncomingBody) -> Ds3Error:
        document = bytearray()
        with contextlib.suppress(TransportError, ProtocolError):  # the status alone is an answer too
            for block in incoming:
                document += block
                if len(document) > _MAX_ERROR_BYTES:
                    break
        response = Response(reply.status, reply.headers, (bytes(document),), reply.reason)
        return responses.error(request, response, now=self.clock.time())

    def _head(self, request: Request, body: OutgoingBody | None, *, expect: bool) -> bytes:
        date = http_date(self.clock.time())
        authorization = self.signer.sign(request, date)
        if not (_METHOD.fullmatch(request.method) and _TARGET.fullmatch(request.target)):
            raise UsageError(f"{request.method} {request.target[:300]!r} cannot stand in a request line")
        if _HEADER_VALUE.fullmatch(authorization) is None:
            raise UsageError("the access key holds a character that no header can carry", hint="check the access key")
        lines = [
            f"{request.method} {self.target_prefix}{request.target} HTTP/1.1\r\n",
            f"{self._fixed_head}Date: {date}\r\nAuthorization: {authorization}\r\n",
        ]
        for name, value in request.headers:
            if _HEADER_NAME.fullmatch(name) is None:
                raise UsageError(f"{name[:80]!r} is no name of a header")
            if _HEADER_VALUE.fullmatch(value) is None:
                raise UsageError(f"the header {name} has a character in its value that no header can carry")
            lines.append(f"{name}: {value}\r\n")
        if body is not None or request.method in {"PUT", "POST"}:
            lines.append(f"Content-Length: {body.length if body is not None else 0}\r\n")
        if expect:
            lines.append("Expect: 100-continue\r\n")
        lines.append("\r\n")
        return "".join(lines).encode("latin-1")

    # -- what an exchange needs from elsewhere -----------------------------------------------------------------

    def patiently(self, call: Callable[[], T]) -> T:
        """Return what `call` returns, which is repeated as an exchange would be, as long and as patiently.

        For what has to be had from another host before a request can be sent; carrying it out twice is harmless.
        """
        with self._lock:
            stopped = self._stopped
        try:
            return call()
        except Ds3Error as error:
            first = error
        return self._retries.go_on(call, first, idempotent=True, stopped=stopped, on_wait=self.on_wait)

    @contextlib.contextmanager
    def stopping(self, stop: Callable[[], None]) -> Iterator[None]:
        """Have `stop` called while the block runs, from any thread, when every running exchange is to fail."""
        with self._lock:
            self._beside.append(stop)
        try:
            yield
        finally:
            with self._lock:
                self._beside.remove(stop)

    # -- connections -------------------------------------------------------------------------------------------

    def _take(self, stopped: threading.Event) -> Connection:
        """Return a connection for one exchange; TransportError when `stopped` is set, also while it was opened."""
        while True:
            with self._lock:
                if self._closed:
                    raise TransportError("this client is closed", may_have_arrived=False)
                if stopped.is_set():
                    raise _stopped_error()
                connection = self._idle.pop() if self._idle else None
                if connection is not None:
                    self._busy.add(connection)
            if connection is None:
                connection = self.open_connection()
                with self._lock:
                    if not stopped.is_set():
                        self._busy.add(connection)
                        return connection
                connection.close()
                raise _stopped_error()
            if not connection.is_stale():
                return connection
            self._give_back(connection, reusable=False)

    def open_socket(self) -> socket.socket:
        """Return a new connected socket that is the caller's own; `stop_exchanges` ends the opening of it."""
        dialing = _Dialing()
        with self._lock:
            if self._closed:
                raise TransportError("this client is closed", may_have_arrived=False)
            self._dialing.add(dialing)
        try:
            return self.dialer.dial(dialing.opened)
        finally:
            with self._lock:
                self._dialing.discard(dialing)

    def open_connection(self) -> Connection:
        """Return a new connection that is the caller's own."""
        sock = self.open_socket()
        try:
            return Connection(
                sock,
                place=str(self.dialer.place),
                io_timeout_seconds=self._settings.io_timeout_seconds,
                limit=self.limit,
                continue_wait_seconds=self._settings.continue_wait_seconds,
            )
        except OSError as error:
            sock.close()
            raise TransportError(
                f"the connection to {self.dialer.place} broke: {error.strerror or error}", may_have_arrived=False
            ) from error

    def _give_back(self, connection: Connection, *, reusable: bool) -> None:
        with self._lock:
            self._busy.discard(connection)
            if reusable and not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def stop_exchanges(self) -> None:
        """Make every running exchange fail soon, without a retry; new ones are not touched. From any thread."""
        with self._lock:  # held to the end: a connection that is given back and taken anew belongs to a new exchange
            self._stopped.set()
            self._cut.set()
            if not self._closed:
                self._stopped, self._cut = threading.Event(), threading.Event()
            for connection in self._busy:
                connection.abort()
            for dialing in self._dialing:
                dialing.abort()
            for stop in self._beside:
                stop()

    def stop_waits(self) -> None:
        """Make every exchange that waits to be repeated fail now; what was begun goes on, and is not repeated."""
        with self._lock:
            self._stopped.set()
            if not self._closed:
                self._stopped = threading.Event()

    def stop_token(self) -> threading.Event:
        """Return what the next `stop_exchanges` or `stop_waits` sets, for work that is to end with an exchange."""
        with self._lock:
            return self._stopped

    def close(self) -> None:
        """Close every connection; running exchanges fail. Twice is harmless."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
        self.stop_exchanges()
