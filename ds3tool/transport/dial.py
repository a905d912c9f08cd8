"""From settings to a connected socket: name resolution, proxy, TLS."""

from __future__ import annotations

import base64
import ipaddress
import re
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from ds3tool.errors import ConfigError, ProxyRefusedError, TransportError
from ds3tool.lazy_dataclass import dataclass
from ds3tool.transport.settings import ConnectionSettings

if TYPE_CHECKING:
    import ssl

_MAX_CONNECT_REPLY = 64 * 1024
_HOST_NAME = r"(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?"
_PROXY_STATUS = rb"HTTP/1\.[01] ([0-9]{3})(?: |\r)"


@dataclass(frozen=True, slots=True)
class Place:
    """Scheme, host and port of an appliance or a proxy; `userinfo` is `name:password`, decoded."""

    scheme: str
    host: str
    port: int
    userinfo: str = ""

    @property
    def authority(self) -> str:
        """`host` or `host:port`, as the Host header and the request line want it."""
        host = f"[{self.host.partition('%')[0]}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"

    def __repr__(self) -> str:
        return f"<Place {self}>"


def parse_place(text: str, *, what: str) -> Place:
    """Return the place that `http://host:port`, `https://host` or `host:port` names.

    Raises ConfigError naming `what` (the setting) for anything else, a path or a query included. What stands
    before an `@` is in no error: it may be a password.
    """
    hint = "write it like https://blackpearl.example.org or http://10.0.0.5:8080"
    secret = "@" in text
    shown = repr(f"...@{text.rpartition('@')[2]}" if secret else text)
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port
    except ValueError as error:
        reason = "" if secret else f": {error}"
        raise ConfigError(f"{what} {shown} is not an address{reason}", hint=hint) from None
    if parts.scheme not in {"http", "https"}:
        raise ConfigError(f"{what} {shown} has a scheme that is neither http nor https", hint=hint)
    if not parts.hostname:
        raise ConfigError(f"{what} {shown} names no host", hint=hint)
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ConfigError(f"{what} {shown} goes on behind the host", hint=hint)
    if port == 0:
        raise ConfigError(f"{what} {shown} has port 0, where nothing can listen", hint=hint)
    host = _checked_host(parts.hostname)
    if host is None:
        raise ConfigError(f"{what} {shown} has a host that is neither a name nor a number", hint=hint)
    userinfo = "" if parts.username is None else f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return Place(parts.scheme, host, port or (443 if parts.scheme == "https" else 80), userinfo)


def _checked_host(host: str) -> str | None:
    """Return the host as the wire wants it, international names in ASCII; None when it is none."""
    if ":" in host:
        host = unquote(host)  # a zone's percent sign is written %25
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            return None
        return host
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii").lower()
        except UnicodeError:
            return None
    return host if re.fullmatch(_HOST_NAME, host) else None


def _unresolved(place: Place, name: str, error: socket.gaierror) -> TransportError:
    """Return what it means that a name has no address now.

    Never final, not even when nobody knows the name: resolvers flap at night, and forget names of their own zone.
    """
    hint = f"is {name}'s address spelt right?"
    if error.errno == socket.EAI_AGAIN:
        hint = f"the name server gives no answer: is this host's network up? If it is, {hint}"
    return TransportError(
        f"the host name {place.host} cannot be resolved: {error.strerror or error}", hint=hint, may_have_arrived=False
    )


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine by its name or number."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


class Dialer:
    """Opens connected sockets to one appliance, through its proxy and with TLS where the settings say so."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self.place = parse_place(settings.endpoint, what="the endpoint")
        if self.place.userinfo:
            raise ConfigError(
                "the endpoint holds a user name or password, which DS3 does not use",
                hint="give the keys as DS3_ACCESS_KEY and DS3_SECRET_KEY",
            )
        self.proxy = parse_place(settings.proxy, what="the proxy") if settings.proxy else None
        if self.proxy is not None and self.proxy.scheme != "http":
            raise ConfigError(
                f"the proxy {self.proxy} is to be reached by TLS, which this program does not do",
                hint="give the proxy's plain port: http://host:port; https to the appliance goes through it safely",
            )
        self.tunnel = settings.tunnel or self.place.scheme == "https"
        self._timeout = settings.connect_timeout_seconds
        self._context: ssl.SSLContext | None = None
        if self.place.scheme == "https":
            from ds3tool.transport.tls import make_context

            self._context = make_context(ca_bundle=settings.ca_bundle, verify=settings.verify_tls)

    @property
    def absolute_form(self) -> bool:
        """Whether request lines carry the whole URL, since a proxy forwards them untunnelled."""
        return self.proxy is not None and not self.tunnel

    @property
    def proxy_authorization(self) -> str | None:
        """The `Proxy-Authorization` value, where the proxy's address holds a name."""
        if self.proxy is None or not self.proxy.userinfo:
            return None
        return "Basic " + base64.b64encode(self.proxy.userinfo.encode()).decode("ascii")

    def dial(self, opened: Callable[[socket.socket], None] = lambda _: None) -> socket.socket:
        """Return a socket on which requests can be sent. Raises TransportError or TlsError.

        `opened` is told each socket before it blocks, for whoever may want to shut it down from another thread.
        """
        sock = self._connect(self.proxy or self.place, opened)
        try:
            if self.proxy is not None and self.tunnel:
                self._open_tunnel(sock)
            if self._context is not None:
                from ds3tool.transport.tls import wrap

                sock = wrap(sock, self._context, self.place.host, opened)
        except BaseException:
            sock.close()
            raise
        return sock

    def _connect(self, place: Place, opened: Callable[[socket.socket], None]) -> socket.socket:
        name = "the proxy" if place is self.proxy else "the appliance"
        try:
            return self._connect_to_any(place, opened)
        except socket.gaierror as error:
            raise _unresolved(place, name, error) from error
        except TimeoutError as error:
            raise TransportError(
                f"{name} at {place} does not answer: no connection within {self._timeout:g} s", may_have_arrived=False
            ) from error
        except OSError as error:
            raise TransportError(
                f"{name} at {place} cannot be reached: {error.strerror or error}",
                hint="is it running, and is the port its data port?",
                may_have_arrived=False,
            ) from error

    def _connect_to_any(self, place: Place, opened: Callable[[socket.socket], None]) -> socket.socket:
        """Return a socket connected to the first address of `place` that answers; OSError of the last that did not."""
        failure = OSError("no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(
            place.host.encode("ascii"), place.port, type=socket.SOCK_STREAM
        ):
            sock = None
            try:
                sock = socket.socket(family, kind, protocol)
                opened(sock)
                sock.settimeout(self._timeout)
                sock.connect(address)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            except OSError as error:
                failure = error
                if sock is not None:
                    sock.close()
            except BaseException:
                if sock is not None:
                    sock.close()
                raise
            else:
                return sock
        raise failure

    def _open_tunnel(self, sock: socket.socket) -> None:
        host = f"[{self.place.host}]" if ":" in self.place.host else self.place.host
        target = f"{host}:{self.place.port}"
        authorization = self.proxy_authorization
        extra = f"Proxy-Authorization: {authorization}\r\n" if authorization else ""
        try:
            sock.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{extra}\r\n".encode("ascii"))
            reply = bytearray()
            while not reply.endswith(b"\r\n\r\n"):
                byte = sock.recv(1)  # byte by byte, for what follows belongs to the tunnel
                if not byte or len(reply) > _MAX_CONNECT_REPLY:
                    raise TransportError(f"the proxy {self.proxy} broke off", may_have_arrived=False)
                reply += byte
        except OSError as error:
            raise TransportError(
                f"the proxy {self.proxy} does not answer: {error.strerror or error}", may_have_arrived=False
            ) from error
        status = re.match(_PROXY_STATUS, reply)
        if status is not None and status[1].startswith(b"2"):
            return
        said = bytes(reply.split(b"\r\n", 1)[0])[:80].decode("latin-1")
        # What a proxy says of its own state (5xx, 408, 429) passes; what it says of the request (4xx) stays.
        refused = status is None or not (status[1].startswith(b"5") or status[1] in {b"408", b"429"})
        raise (ProxyRefusedError if refused else TransportError)(
            f"the proxy {self.proxy} refuses to connect to {target}: {said!r}",
            hint="put the proxy's name and password into its address: http://name:password@host:port"
            if status is not None and status[1] == b"407"
            else "is the proxy meant for this appliance? no_proxy names hosts to reach directly",
            may_have_arrived=False,
        )
