"""Replies with a body, over a real pair of sockets, as a sink gets them from the transport."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ds3tool.jobs.arrival import Arrival
from ds3tool.jobs.ends import TargetObject
from ds3tool.protocol.checksums import ExpectedChecksum, new_hasher
from ds3tool.protocol.messages import Headers, Response
from ds3tool.protocol.ranges import ByteRange
from ds3tool.transport.connection import Connection
from ds3tool.transport.pool import IncomingBody
from ds3tool.transport.replies import ReplyHead


@contextmanager
def reply(data: bytes, *, states: int | None = None, chunked: bool = False) -> Iterator[Response]:
    """Give a reply whose body is `data`, then the connection closes; `states` is the length its head gives."""
    ours, theirs = socket.socketpair()

    def send() -> None:
        with theirs:
            try:
                if chunked:
                    theirs.sendall(b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if data else b"0\r\n\r\n")
                else:
                    theirs.sendall(data)
            except OSError:
                pass  # the reader has left

    sender = threading.Thread(target=send)
    sender.start()
    connection = Connection(ours, place="the appliance", io_timeout_seconds=30)
    length = None if chunked else len(data) if states is None else states
    head = ReplyHead(200, "OK", Headers(), length, chunked, True)
    try:
        yield Response(200, head.headers, IncomingBody(connection, head))
    finally:
        connection.close()
        sender.join()


def arrival(item: TargetObject, offset: int, length: int, checksum: ExpectedChecksum | None = None) -> Arrival:
    """Return what a blob is when its first answer begins: nothing has come, and this is what all of it must be."""
    hasher = None if checksum is None else new_hasher(checksum.type)
    return Arrival(item.key, ByteRange(offset, offset + length), expected=checksum, hasher=hasher)
