"""The steps from this host to a working appliance, tried one by one, each with its way out."""

from __future__ import annotations

import dataclasses
import logging
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum

from ds3tool.cli.settings import Settings
from ds3tool.client import Ds3Client
from ds3tool.errors import (
    AccessDeniedError,
    ApplianceError,
    Ds3Error,
    ForbiddenError,
    ProtocolError,
    TlsError,
    TransportError,
)
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol import names
from ds3tool.sizes import format_duration, format_size
from ds3tool.transport.dial import Dialer
from ds3tool.transport.replies import ReplyHead, parse_head
from ds3tool.transport.settings import ConnectionSettings

_log = logging.getLogger(__name__)

# A signature carries the date; beyond this the appliance refuses it. Source: protocol, 2.4 (as AWS does).
_SKEW_REFUSED_SECONDS = 15 * 60.0
_SKEW_NOTED_SECONDS = 60.0
# A diagnosis must not take a coffee break: shorter than a transfer would wait.
_CONNECT_SECONDS = 10.0
_ANSWER_SECONDS = 30.0
_MAX_HEAD_BYTES = 64 * 1024
_CACHE_NEARLY_FULL = 0.95


class StepStatus(StrEnum):
    """How a step went."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was looked at: what was found, and the way out where it is not well."""

    name: str
    status: StepStatus
    found: str
    hint: str | None = None
    error: Ds3Error | None = None


class _StepFailedError(Exception):
    """Ends the walk after a step that the next ones stand on."""

    def __init__(self, step: Step) -> None:
        super().__init__(step.name)
        self.step = step


NAMES = ("settings", "name", "connection", "TLS", "HTTP", "clock", "credentials", "system", "health", "cache")


def diagnose(settings: Settings, *, now: Callable[[], float] = time.time) -> Iterator[Step]:
    """Yield each step as it is done; after one that the rest stands on has failed, the rest is skipped.

    `now` is this host's clock, in seconds since 1970.
    """
    done: list[str] = []
    try:
        for step in _walk(settings, now):
            done.append(step.name)
            yield step
    except _StepFailedError as failed:
        done.append(failed.step.name)
        yield failed.step
        for name in NAMES:
            if name not in done:
                yield Step(name, StepStatus.SKIPPED, "not tried")


def _failed(name: str, error: Ds3Error, *, hint: str | None = None) -> _StepFailedError:
    return _StepFailedError(Step(name, StepStatus.FAILED, error.message, error.hint or hint, error))


def _walk(settings: Settings, now: Callable[[], float]) -> Iterator[Step]:
    try:
        resolved = settings.resolve()
        connection = dataclasses.replace(
            resolved.connection,
            connect_timeout_seconds=_CONNECT_SECONDS,
            io_timeout_seconds=_ANSWER_SECONDS,
            max_retry_seconds=0.0,
        )
        dialer = Dialer(connection)
    except Ds3Error as error:
        raise _failed("settings", error) from error
    keys: dict[str, list[str]] = {}
    for key, origin in resolved.origins.items():
        keys.setdefault(origin, []).append(key.replace("_", " "))
    told = "; ".join(f"{', '.join(those)} from {origin}" for origin, those in keys.items())
    yield Step("settings", StepStatus.OK, f"{dialer.place}: {told}")
    yield _name_step(dialer)
    yield _connect_step(dialer)
    yield _tls_step(dialer, connection)
    head, asked_at = _head(dialer, now)
    yield _http_step(head)
    yield _clock_step(head, asked_at)
    yield from _signed_steps(connection)


def _name_step(dialer: Dialer) -> Step:
    place = dialer.proxy or dialer.place
    who = "the proxy " if dialer.proxy is not None else ""
    try:
        found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise _failed(
            "name",
            TransportError(f"{who}{place.host} cannot be resolved: {reason}"),
            hint="is it spelt right, and does this host's name server know it?",
        ) from error
    addresses = sorted({str(entry[4][0]) for entry in found})
    return Step("name", StepStatus.OK, f"{who}{place.host} is {', '.join(addresses)}")


def _connect_step(dialer: Dialer) -> Step:
    place = dialer.proxy or dialer.place
    started = time.monotonic()
    try:
        with socket.create_connection((place.host, place.port), timeout=_CONNECT_SECONDS) as sock:
            peer = sock.getpeername()[0]
    except TimeoutError as error:
        raise _failed(
            "connection",
            TransportError(f"nothing answers at {place} within {_CONNECT_SECONDS:g} s"),
            hint="a firewall in between, or the wrong address?",
        ) from error
    except OSError as error:
        raise _failed(
            "connection",
            TransportError(f"{place} cannot be reached: {error.strerror or error}"),
            hint="is it running, and is this its data port?",
        ) from error
    milliseconds = (time.monotonic() - started) * 1000
    through = f" through the proxy {dialer.proxy}" if dialer.proxy is not None else ""
    return Step("connection", StepStatus.OK, f"{peer} port {place.port} answers in {milliseconds:.0f} ms{through}")


def _tls_step(dialer: Dialer, connection: ConnectionSettings) -> Step:
    if dialer.place.scheme != "https":
        return Step("TLS", StepStatus.OK, "not used (http): whoever sits between can read the data")
    try:
        sock = dialer.dial()
    except TlsError as error:
        raise _failed("TLS", error, hint=f"see its certificate: openssl s_client -connect {_peer(dialer)}") from error
    except Ds3Error as error:
        raise _failed("TLS", error) from error
    with sock:
        version = sock.version() if isinstance(sock, ssl.SSLSocket) else None
    if not connection.verify_tls:
        return Step(
            "TLS",
            StepStatus.WARNING,
            f"{version}, but the certificate is not checked",
            "give the appliance's certificate with --ca-bundle FILE, and leave --no-verify-ssl",
        )
    return Step("TLS", StepStatus.OK, f"{version}, and the certificate is the one of {dialer.place.host}")


def _peer(dialer: Dialer) -> str:
    host = f"[{dialer.place.host}]" if ":" in dialer.place.host else dialer.place.host
    return f"{host}:{dialer.place.port}"


def _head(dialer: Dialer, now: Callable[[], float]) -> tuple[ReplyHead, float]:
    """Return the head of the reply to an unsigned request, and this host's time halfway through the asking."""
    request = [
        f"GET {str(dialer.place) if dialer.absolute_form else ''}/ HTTP/1.1",
        f"Host: {dialer.place.authority}",
        "Connection: close",
    ]
    if dialer.absolute_form and dialer.proxy_authorization:
        request.append(f"Proxy-Authorization: {dialer.proxy_authorization}")
    received = bytearray()
    try:
        with dialer.dial() as sock:
            sock.settimeout(_ANSWER_SECONDS)
            asked = now()
            sock.sendall("".join(f"{line}\r\n" for line in [*request, ""]).encode("latin-1"))
            while b"\r\n\r\n" not in received and len(received) < _MAX_HEAD_BYTES:
                more = sock.recv(8192)
                if not more:
                    break
                received += more
            halfway = (asked + now()) / 2
        if b"\r\n\r\n" not in received:
            raise ProtocolError(
                f"{dialer.place} does not answer in HTTP", hint="does this port want https:// instead of http://?"
            )
        return parse_head(bytes(received.partition(b"\r\n\r\n")[0]), method="GET"), halfway
    except Ds3Error as error:
        raise _failed("HTTP", error) from error
    except OSError as error:
        raise _failed(
            "HTTP",
            TransportError(f"{dialer.place} breaks off instead of answering: {error.strerror or error}"),
            hint="does this port want https:// instead of http://?",
        ) from error


def _http_step(head: ReplyHead) -> Step:
    server = f" ({head.headers['server']})" if "server" in head.headers else ""
    if names.MANAGEMENT_PATH in head.headers:
        raise _failed(
            "HTTP",
            ProtocolError("this is the appliance's management port, not its data port"),
            hint="use the address of the data interface",
        )
    if head.status == 407:
        raise _failed("HTTP", TransportError("the proxy wants a name and a password"), hint="http://NAME:PASSWORD@HOST")
    if head.status >= 500:
        return Step("HTTP", StepStatus.WARNING, f"answers with status {head.status}{server}", "is it still starting?")
    # An unsigned request is rightly refused; what counts is that an HTTP server did it.
    return Step("HTTP", StepStatus.OK, f"answers{server}")


def _clock_step(head: ReplyHead, asked_at: float) -> Step:
    date = _date(head)
    if date is None:
        return Step("clock", StepStatus.WARNING, "the reply carries no date to compare with")
    skew = date.timestamp() - asked_at
    # The header counts whole seconds.
    if abs(skew) < 2:
        return Step("clock", StepStatus.OK, "as this host's")
    found = f"the appliance is {format_duration(abs(skew))} {'ahead of' if skew > 0 else 'behind'} this host"
    if abs(skew) < _SKEW_NOTED_SECONDS:
        return Step("clock", StepStatus.OK, found)
    hint = "set the clocks right, by NTP on both sides"
    if abs(skew) < _SKEW_REFUSED_SECONDS:
        return Step("clock", StepStatus.WARNING, found, hint)
    error = AccessDeniedError(f"{found}, so signatures are refused", status=403, code=names.REQUEST_TIME_TOO_SKEWED)
    return Step("clock", StepStatus.FAILED, error.message, hint, error)


def _date(head: ReplyHead) -> datetime | None:
    try:
        return parsedate_to_datetime(head.headers["date"])
    except (KeyError, ValueError, TypeError):
        return None


def _signed_steps(connection: ConnectionSettings) -> Iterator[Step]:
    with Ds3Client(connection) as client:
        try:
            service = client.get_service()
        except Ds3Error as error:
            raise _failed("credentials", error, hint="are the access key and the secret key a pair?") from error
        owner = f" as {service.owner.display_name}" if service.owner is not None else ""
        yield Step("credentials", StepStatus.OK, f"accepted{owner}; {len(service.buckets)} buckets to see")
        yield _asked("system", lambda: _system(client))
        yield _asked("health", lambda: _health(client))
        yield _asked("cache", lambda: _cache(client))


def _asked(name: str, ask: Callable[[], Step]) -> Step:
    try:
        return ask()
    except ForbiddenError as error:
        return Step(name, StepStatus.WARNING, "this user may not ask", error.hint)
    except ApplianceError as error:
        return Step(name, StepStatus.FAILED, error.message, error.hint or "ask the appliance's administrator", error)
    except Ds3Error as error:
        return Step(name, StepStatus.FAILED, error.message, error.hint, error)


def _system(client: Ds3Client) -> Step:
    system = client.get_system_information()
    found = f"version {system.version or 'unknown'}, serial number {system.serial_number or 'unknown'}"
    if system.backend_activated is False:
        error = TransportError(f"{found}; its back end is not activated, so it moves no data")
        return Step("system", StepStatus.FAILED, error.message, "activate it in the appliance's own interface", error)
    return Step("system", StepStatus.OK, found)


def _health(client: Ds3Client) -> Step:
    health = client.get_system_health()
    took = "" if health.planner_milliseconds is None else f" in {health.planner_milliseconds} ms"
    found = f"the data planner answers{took}"
    if health.database_space not in (None, "NORMAL"):
        hint = "make room on the appliance's database file system"
        return Step("health", StepStatus.WARNING, f"{found}; database space is {health.database_space}", hint)
    return Step("health", StepStatus.OK, found)


def _cache(client: Ds3Client) -> Step:
    caches = client.get_cache_state()
    total = sum(cache.total_bytes for cache in caches)
    used = sum(cache.used_bytes for cache in caches)
    if not total:
        return Step("cache", StepStatus.WARNING, "no cache is configured")
    found = f"{used / total:.0%} of {format_size(total)} in use"
    if used / total > _CACHE_NEARLY_FULL:
        return Step("cache", StepStatus.WARNING, found, "puts will wait for tape; see: ds3tool cache reclaim")
    return Step("cache", StepStatus.OK, found)
