"""Servers, transports and files that are closed again, whatever a test does with them."""

from __future__ import annotations

import gc
import os
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest
import trustme

from ds3tool.clock import Clock, ManualClock
from ds3tool.transport.pool import Transport
from ds3tool.transport.ratelimit import RateLimit
from ds3tool.transport.settings import ConnectionSettings
from tests.transport.scripted import Script, ScriptedServer

ACCESS_KEY = "c3BlY3RyYQ=="
SECRET_KEY = "a-secret-that-shows-nowhere"


class Serve(Protocol):
    """Starts scripted servers."""

    def __call__(
        self, script: Script, *, context: ssl.SSLContext | None = None, receive_buffer: int = 0, port: int = 0
    ) -> ScriptedServer: ...


class Connect(Protocol):
    """Makes transports to a server or an address."""

    def __call__(
        self,
        to: ScriptedServer | str,
        *,
        clock: Clock | None = None,
        limit: RateLimit | None = None,
        **settings: Any,  # noqa: ANN401  # those of ConnectionSettings
    ) -> Transport: ...


def open_descriptors() -> int:
    """Return how many descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture(scope="module", autouse=True)
def _looked_at_once() -> Iterator[None]:
    """What is there before the first of a file is garbage or stays: to look at it all before each test takes long."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def nothing_left(_looked_at_once: None) -> Iterator[None]:
    """No test leaves a descriptor or a thread; what an earlier test's garbage still holds is let go first."""
    gc.collect()
    # Threads of an earlier test's server may still be ending: what counts is that none is there that was not before.
    descriptors, threads = open_descriptors(), set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= threads
    assert open_descriptors() <= descriptors


@pytest.fixture
def serve(nothing_left: None) -> Iterator[Serve]:
    """Return the function that starts a server."""
    with ExitStack() as stack:

        def start(
            script: Script, *, context: ssl.SSLContext | None = None, receive_buffer: int = 0, port: int = 0
        ) -> ScriptedServer:
            server = ScriptedServer(script, context=context, receive_buffer=receive_buffer, port=port)
            stack.callback(server.close)
            return server

        yield start


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock on which waits take no time."""
    return ManualClock()


@pytest.fixture
def connect(nothing_left: None, clock: ManualClock) -> Iterator[Connect]:
    """Return the function that makes a transport."""
    with ExitStack() as stack:

        def make(
            to: ScriptedServer | str,
            *,
            clock: Clock | None = clock,
            limit: RateLimit | None = None,
            **settings: Any,  # noqa: ANN401
        ) -> Transport:
            endpoint = to if isinstance(to, str) else to.url
            values = {"io_timeout_seconds": 20.0, "connect_timeout_seconds": 20.0, **settings}
            transport = Transport(
                ConnectionSettings(endpoint, ACCESS_KEY, SECRET_KEY, **values), clock=clock, limit=limit
            )
            stack.callback(transport.close)
            return transport

        yield make


@pytest.fixture
def open_file(nothing_left: None, tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Return the function that opens a file of the given content for reading and writing."""
    with ExitStack() as stack:

        def make(data: bytes = b"", name: str = "file") -> int:
            path = tmp_path / name
            path.write_bytes(data)
            descriptor = os.open(path, os.O_RDWR)
            stack.callback(os.close, descriptor)
            return descriptor

        yield make


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Return a certificate authority that nobody knows."""
    return trustme.CA()


@pytest.fixture(scope="session")
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    """Return what a server on 127.0.0.1 proves itself with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the path of the authority's certificate."""
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)
