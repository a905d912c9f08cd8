"""One request that takes a notice to its end point: bounded in time, not redirected, by no proxy, never to itself."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
from collections.abc import Container
from urllib.parse import quote, urlsplit

from ds3tool.lazy_dataclass import dataclass

# Seconds of real time: for a connection or a byte of the answer, and for all of it.
_PATIENCE = 10.0
_LIMIT = 30.0
_AGENT = "ds3tool-sim"


class PostingError(Exception):
    """A notice did not arrive, for all that is known: a sentence; `hopeless` when another try would end no better."""

    def __init__(self, message: str, *, hopeless: bool = False) -> None:
        super().__init__(message)
        self.hopeless = hopeless


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is sent where: a document of `content_type` by `method` (POST or PUT)."""

    end_point: str
    method: str
    document: bytes
    content_type: str


class Posting:
    """One try. `send` once, in its own thread; `abort` from any other, at any time."""

    def __init__(self, parcel: Parcel, own_ports: Container[int]) -> None:
        """`own_ports` are those of this appliance, which sends nothing to itself."""
        self._parcel = parcel
        self._own_ports = own_ports
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._aborted = False

    def abort(self) -> None:
        """End the try as soon as can be: looking up a name is all that it then still waits for."""
        with self._lock:
            self._aborted = True
            if self._socket is not None:
                with contextlib.suppress(OSError):  # past the lock of TLS: another thread is inside of it
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def send(self) -> int:
        """Send the parcel and return the status of the answer, whatever it is; PostingError when there is none."""
        import http.client

        timer = threading.Timer(_LIMIT, self.abort)
        timer.daemon = True
        timer.start()
        try:
            return self._exchange()
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = str(error) or type(error).__name__
            raise PostingError(f"No answer came from {self._parcel.end_point}: {why}") from error
        finally:
            timer.cancel()
            with self._lock:
                if self._socket is not None:
                    self._socket.close()
                    self._socket = None

    def _exchange(self) -> int:
        import http.client

        parts = urlsplit(self._parcel.end_point)
        secure = parts.scheme.lower() == "https"
        host, port = parts.hostname, parts.port or (443 if secure else 80)
        if not host or parts.username is not None:
            raise PostingError(f"Nothing can be sent to {self._parcel.end_point}", hopeless=True)
        connected = self._connect(host, port)
        if secure:
            connected = self._secured(connected, host)
        connection = http.client.HTTPConnection(host, port)
        connection.auto_open = 0
        connection.sock = connected
        target = quote(parts.path or "/", safe="%/:=&?~#+!$,;'@()*[]-._") + (f"?{parts.query}" if parts.query else "")
        headers = {
            "Host": parts.netloc,
            "User-Agent": _AGENT,
            "Connection": "close",
            "Content-Type": self._parcel.content_type,
        }
        connection.request(self._parcel.method, target, self._parcel.document, headers)
        return connection.getresponse().status

    def _connect(self, host: str, port: int) -> socket.socket:
        """Connect to the first address of `host` that answers."""
        failure: OSError | None = None
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            candidate = socket.socket(family, kind, protocol)
            candidate.settimeout(_PATIENCE)
            self._keep(candidate)
            try:
                candidate.connect(address)
                self._refuse_own(candidate)
            except OSError as error:
                failure = error
                candidate.close()
            else:
                return candidate
        raise failure or OSError(f"{host} has no address")

    def _keep(self, candidate: socket.socket) -> None:
        with self._lock:
            if self._aborted:
                candidate.close()
                raise OSError("the try was given up")
            self._socket = candidate

    def _refuse_own(self, connected: socket.socket) -> None:
        """Refuse what leads back to this appliance: a notice of it would be a request, and might make another."""
        there, port = connected.getpeername()[:2]
        if port not in self._own_ports:
            return
        here = connected.getsockname()[0]
        if there == here or all(ipaddress.ip_address(each.split("%")[0]).is_loopback for each in (there, here)):
            raise PostingError(f"{self._parcel.end_point} is the appliance itself", hopeless=True)

    def _secured(self, connected: socket.socket, host: str) -> socket.socket:
        import ssl

        secured = ssl.create_default_context().wrap_socket(connected, server_hostname=host)
        self._keep(secured)
        return secured
