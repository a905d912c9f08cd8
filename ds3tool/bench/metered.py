"""A transport that shows each of its connections to whoever measures them."""

from __future__ import annotations

import socket

from ds3tool.bench.wire import Wires
from ds3tool.clock import Clock
from ds3tool.transport.pool import Transport
from ds3tool.transport.ratelimit import RateLimit
from ds3tool.transport.settings import ConnectionSettings


class MeteredTransport(Transport):
    """Sends as any transport does; `wires` are its connections, of one request at a time and of small ones alike."""

    def __init__(
        self, settings: ConnectionSettings, *, clock: Clock | None = None, limit: RateLimit | None = None
    ) -> None:
        self.wires = Wires()
        super().__init__(settings, clock=clock, limit=limit)

    def open_socket(self) -> socket.socket:
        """Return a new connected socket that is the caller's own; it is watched."""
        sock = super().open_socket()
        self.wires.watch(sock)
        return sock
