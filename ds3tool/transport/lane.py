"""One connection of the loop for small requests, and how far the request and the answer on it have come."""

from __future__ import annotations

import socket

from ds3tool.transport.replies import ReplyHead

# Holds the answer to almost any small request.
BUFFER_BYTES = 64 * 1024


class Lane:
    """One connection and the request on it; `buffer` has what came of a reply that did not come in one piece."""

    __slots__ = (
        "answers",
        "buffer",
        "descriptor",
        "filled",
        "first",
        "head",
        "left",
        "moved_at",
        "need",
        "receive_into",
        "send",
        "socket",
        "start",
        "token",
        "view",
        "writing",
    )

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.socket = sock
        self.send = sock.send
        self.receive_into = sock.recv_into
        self.descriptor = sock.fileno()
        # Most replies come in one piece, into this one, and are done with before the next is received.
        self.first = bytearray(BUFFER_BYTES)
        self.view = memoryview(self.first)
        self.buffer: bytearray | None = None
        self.token: int | None = None
        self.left: memoryview | None = None
        self.writing = False
        self.filled = 0
        self.head: ReplyHead | None = None
        self.start = self.need = 0
        self.moved_at = 0.0
        self.answers = 0
