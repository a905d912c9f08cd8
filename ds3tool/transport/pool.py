"""The transport: kept-alive connections to one appliance, and `exchange`, which sends one request over them."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from ds3tool.clock import Clock, RealClock
from ds3tool.errors import Ds3Error, TransportError, UsageError
from ds3tool.protocol import responses
from ds3tool.protocol.messages import Request, Response
from ds3tool.protocol.signing import Credentials, Signer, http_date
from ds3tool.transport.bodies import BlocksBody, BytesBody, OutgoingBody
from ds3tool.transport.connection import EXPECT_ABOVE_BYTES, Connection
from ds3tool.transport.dial import Dialer
from ds3tool.transport.ratelimit import RateLimit
from ds3tool.transport.replies import ReplyHead
from ds3tool.transport.retry import Retries, seconds_before_retry
from ds3tool.transport.settings import ConnectionSettings
from ds3tool.version import VERSION

_log = logging.getLogger(__name__)
T = TypeVar("T")

# A refusal's document is small; more than this is not one.
_MAX_ERROR_BYTES = 1024 * 1024
# Left-over body worth reading to keep a connection; above it, a new connection is cheaper.
_MAX_DRAIN_BYTES = 1024 * 1024


class IncomingBody:
    """A reply's body while its connection is held: iterate it once, or move it into a file."""

    def __init__(self, connection: Connection, head: ReplyHead) -> None:
        self.length = head.length if not head.chunked else None
        self.finished = self.length == 0
        self._connection = connection
        self._head = head

    def __iter__(self) -> Iterator[bytes]:
        if self.finished:
            return
        if self._head.chunked:
            yield from self._connection.read_chunked()
        elif self.length is not None:
            yield from self._connection.read_exactly(self.length)
        else:
            yield from self._connection.read_to_close()
        self.finished = True

    def into_file(self, descriptor: int, offset: int, *, moved: Callable[[int], None] | None = None) -> None:
        """Move a body of known length into a file at `offset`, by the cheapest way there is."""
        assert self.length is not None
        self._connection.read_into_file(self.length, descriptor, offset, moved=moved)
        self.finished = True

    def drain(self) -> bool:
        """Read what is left when that is little; return whether the connection can be used again."""
        if not self.finished and self.length is not None and self.length <= _MAX_DRAIN_BYTES:
            for _ in self:
                pass
        return self.finished


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
        self._retries = Retries(clock=self.clock, budget_seconds=settings.max_retry_seconds)
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
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
    ) -> T:
        """Send `request` and return what `parse` makes of the successful reply.

        `body` is an object's bytes; without it the request's own document is sent. `parse` runs while the
        connection is held, and again from the start when its reply broke off and the request is repeated.
        `retry_busy` False hands 503 to the caller at once, for whom waiting is an answer.
        Raises TransportError when no complete answer came, an ApplianceError when the appliance refuses,
        ProtocolError when its answer breaks the rules, and whatever `parse` raises.
        """
        with self._lock:
            stopped = self._stopped
        if body is None and request.body:
            body = BytesBody(request.body) if isinstance(request.body, bytes) else BlocksBody(request.body)

        def attempt() -> T:
            return self._attempt(request, parse, body)

        try:
            return attempt()
        except Ds3Error as error:
            if stopped.is_set() or seconds_before_retry(error, 1, idempotent=request.idempotent) is None:
                raise
            if not retry_busy and getattr(error, "status", None) in {307, 503}:
                raise
            return self._retries.go_on(
                attempt, error, idempotent=request.idempotent, stopped=stopped, on_wait=self.on_wait
            )

    def _attempt(self, request: Request, parse: Callable[[Response], T], body: OutgoingBody | None) -> T:
        connection = self._take()
        reusable = False
        try:
            expect = body is not None and body.length > EXPECT_ABOVE_BYTES
            head = self._head(request, body, expect=expect)
            early = connection.send_request(head, body, expect=expect)
            reply = early or connection.read_head(request.method)
            incoming = IncomingBody(connection, reply)
            _log.debug("%s %s: %d", request.method, request.target, reply.status)
            if not 200 <= reply.status < 300:
                error = self._refusal(request, reply, incoming)
                reusable = early is None and incoming.finished and reply.keep_alive
                raise error
            if early is not None and body is not None:
                raise TransportError(f"{connection.place} said {reply.status} before it had the whole body")
            result = parse(Response(reply.status, reply.headers, incoming, reply.reason))
            reusable = incoming.drain() and reply.keep_alive
        except OSError as error:
            # Sockets speak OSError, sources and sinks do not: theirs are mapped where they arise.
            raise TransportError(f"the connection to {connection.place} broke: {error.strerror or error}") from error
        else:
            return result
        finally:
            self._give_back(connection, reusable=reusable)

    def _refusal(self, request: Request, reply: ReplyHead, incoming: IncomingBody) -> Ds3Error:
        document = bytearray()
        with contextlib.suppress(TransportError):  # the status alone is an answer too
            for block in incoming:
                document += block
                if len(document) > _MAX_ERROR_BYTES:
                    break
        response = Response(reply.status, reply.headers, (bytes(document),), reply.reason)
        return responses.error(request, response, now=self.clock.time())

    def _head(self, request: Request, body: OutgoingBody | None, *, expect: bool) -> bytes:
        date = http_date(self.clock.time())
        authorization = self.signer.sign(request, date)
        lines = [
            f"{request.method} {self.target_prefix}{request.target} HTTP/1.1\r\n",
            f"{self._fixed_head}Date: {date}\r\nAuthorization: {authorization}\r\n",
        ]
        for name, value in request.headers:
            if "\r" in value or "\n" in value:
                raise UsageError(f"the header {name} cannot hold a line break")
            lines.append(f"{name}: {value}\r\n")
        if body is not None or request.method in {"PUT", "POST"}:
            lines.append(f"Content-Length: {body.length if body is not None else 0}\r\n")
        if expect:
            lines.append("Expect: 100-continue\r\n")
        lines.append("\r\n")
        return "".join(lines).encode("latin-1")

    # -- connections -------------------------------------------------------------------------------------------

    def _take(self) -> Connection:
        while True:
            with self._lock:
                if self._closed:
                    raise TransportError("this client is closed", may_have_arrived=False)
                connection = self._idle.pop() if self._idle else None
                if connection is not None:
                    self._busy.add(connection)
            if connection is None:
                connection = self.open_connection()
                with self._lock:
                    self._busy.add(connection)
                return connection
            if not connection.is_stale():
                return connection
            self._give_back(connection, reusable=False)

    def open_connection(self) -> Connection:
        """Return a new connection that is the caller's own."""
        return Connection(
            self.dialer.dial(),
            place=str(self.dialer.place),
            io_timeout_seconds=self._settings.io_timeout_seconds,
            limit=self.limit,
        )

    def _give_back(self, connection: Connection, *, reusable: bool) -> None:
        with self._lock:
            self._busy.discard(connection)
            if reusable and not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def stop_exchanges(self) -> None:
        """Make every running exchange fail soon, without a retry; new ones are not touched. From any thread."""
        with self._lock:
            self._stopped.set()
            self._stopped = threading.Event()
            busy = list(self._busy)
        for connection in busy:
            connection.abort()

    def close(self) -> None:
        """Close every connection; running exchanges fail. Twice is harmless."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
        self.stop_exchanges()
