"""Many small requests over a few connections from one thread: epoll, one send and one receive each.

Threads that block on small requests spend their time handing the interpreter to each other; one loop over
eight to sixteen connections moves two to three times as many. What is not a plain answer is handed back to the
caller, whose careful path (`Transport.exchange`) tries it again with everything that can be known about it.
"""

from __future__ import annotations

import select
import socket
import time
from typing import Protocol

from ds3tool.errors import Ds3Error, ProtocolError, TransportError
from ds3tool.transport.pool import Transport
from ds3tool.transport.replies import ReplyHead, parse_head

_BUFFER_BYTES = 64 * 1024
_LOOK_EVERY_SECONDS = 1.0
_READ_AND_WRITE = select.EPOLLIN | select.EPOLLOUT


class SmallWork(Protocol):
    """What a burst asks for requests and tells of their fate; called from the burst's thread only.

    Tokens are the caller's numbers. Each token taken comes back exactly once, by `answered` or `failed`.
    """

    def take(self) -> tuple[int, bytes] | None:
        """Return a token and one whole request, head and body; None when there is none now."""
        ...

    def answered(self, token: int, head: ReplyHead, body: memoryview) -> None:
        """Take a successful reply; `body` is only valid during the call."""
        ...

    def failed(self, token: int, error: Ds3Error | None, head: ReplyHead | None) -> None:
        """Take the news that the request got no plain 2xx answer: its reply's head, or what went wrong."""
        ...


class _Lane:
    """One connection and the request on it."""

    __slots__ = (
        "buffer",
        "descriptor",
        "filled",
        "head",
        "left",
        "moved_at",
        "need",
        "socket",
        "start",
        "token",
        "writing",
    )

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.socket = sock
        self.descriptor = sock.fileno()
        self.buffer = bytearray(_BUFFER_BYTES)
        self.token = -1
        self.left = memoryview(b"")
        self.writing = False
        self.filled = 0
        self.head: ReplyHead | None = None
        self.start = self.need = 0
        self.moved_at = 0.0


class Burst:
    """Connections for small requests of one method, kept over several runs; `run` is called from one thread.

    Holds `lanes` connections of 64 KiB and one reply each.
    """

    def __init__(self, transport: Transport, *, method: str, lanes: int, largest_reply: int) -> None:
        self._transport = transport
        self._method = method
        self._most = lanes
        self._largest_reply = largest_reply
        self._lanes: dict[int, _Lane] = {}
        self._free: list[_Lane] = []
        self._epoll = select.epoll()
        self._stopped = False

    @staticmethod
    def suits(transport: Transport) -> bool:
        """Whether this way of sending can be used: plain connections, and no limit on the rate."""
        return transport.dialer.place.scheme == "http" and transport.limit is None and hasattr(select, "epoll")

    def run(self, work: SmallWork) -> None:
        """Send all that `work` gives and return when it gives no more and every answer is in.

        Raises TransportError when no connection can be opened; what was taken has then been told as failed.
        """
        looked_at = time.monotonic()
        self._fill(work)
        while len(self._lanes) > len(self._free):
            if self._stopped:
                self._fail_all(work, TransportError("stopped"))
                return
            for descriptor, events in self._epoll.poll(_LOOK_EVERY_SECONDS):
                lane = self._lanes.get(descriptor)
                if lane is None:
                    continue
                self._serve(lane, events, work)
            self._fill(work)
            now = time.monotonic()
            if now - looked_at > _LOOK_EVERY_SECONDS:
                looked_at = now
                self._give_up_stalled(now, work)

    def _fill(self, work: SmallWork) -> None:
        """Put requests on the lanes that are free, and on new ones while there may be more."""
        while self._free or len(self._lanes) < self._most:
            taken = work.take()
            if taken is None:
                return
            token, request = taken
            if self._free:
                lane = self._free.pop()
            else:
                try:
                    lane = self._open_lane()
                except Ds3Error as error:
                    work.failed(token, error, None)
                    if not self._lanes:
                        raise
                    self._most = len(self._lanes)  # the other side takes no more than it has
                    return
            lane.token = token
            lane.left = memoryview(request)
            lane.filled = 0
            lane.head = None
            lane.moved_at = time.monotonic()
            self._send(lane, work)

    def _open_lane(self) -> _Lane:
        lane = _Lane(self._transport.dialer.dial())
        self._lanes[lane.descriptor] = lane
        self._epoll.register(lane.descriptor, select.EPOLLIN)
        return lane

    def _serve(self, lane: _Lane, events: int, work: SmallWork) -> None:
        if lane.left and events & select.EPOLLOUT:
            self._send(lane, work)
        if lane.token >= 0 and events & ~select.EPOLLOUT:
            self._receive(lane, work)
        elif lane.token < 0 and events & ~select.EPOLLOUT:
            self._drop(lane)  # closed, or speaking out of turn, while idle

    def _send(self, lane: _Lane, work: SmallWork) -> None:
        whole = len(lane.left)
        try:
            sent = lane.socket.send(lane.left)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._abandon(lane, work, error)
            return
        lane.left = lane.left[sent:]
        if sent:
            lane.moved_at = time.monotonic()
        if lane.writing != (sent < whole):
            lane.writing = sent < whole
            self._epoll.modify(lane.descriptor, _READ_AND_WRITE if lane.writing else select.EPOLLIN)

    def _receive(self, lane: _Lane, work: SmallWork) -> None:
        if lane.filled == len(lane.buffer):
            lane.buffer.extend(bytes(len(lane.buffer)))
        try:
            count = lane.socket.recv_into(memoryview(lane.buffer)[lane.filled :])
        except BlockingIOError:
            return
        except OSError as error:
            self._abandon(lane, work, error)
            return
        if count == 0:
            self._abandon(lane, work, None)
            return
        lane.filled += count
        try:
            whole = self._complete(lane)
        except ProtocolError as error:
            token = lane.token
            self._finish(lane, keep=False)
            work.failed(token, error, None)
            return
        if whole:
            self._hand_over(lane, work)

    def _complete(self, lane: _Lane) -> bool:
        """Whether the reply is all there; ProtocolError when it is not one this loop can read."""
        if lane.head is None:
            end = lane.buffer.find(b"\r\n\r\n", 0, lane.filled)
            if end < 0:
                if lane.filled > self._largest_reply:
                    raise ProtocolError("the answer's head is too large for a small request's")
                return False
            lane.head = parse_head(bytes(lane.buffer[:end]), method=self._method)
            lane.start = end + 4
            if lane.head.length is None or lane.head.status < 200:
                raise ProtocolError("the answer does not say how long it is")
            if lane.head.length > self._largest_reply:
                raise ProtocolError("the answer is larger than what was asked for")
            lane.need = lane.start + lane.head.length
        if lane.filled > lane.need:
            raise ProtocolError("the answer is longer than it said")
        return lane.filled == lane.need

    def _hand_over(self, lane: _Lane, work: SmallWork) -> None:
        head, token = lane.head, lane.token
        assert head is not None
        keep = head.keep_alive and not lane.left
        if 200 <= head.status < 300:
            with memoryview(lane.buffer) as view, view[lane.start : lane.need] as body:
                work.answered(token, head, body)
        else:
            work.failed(token, None, head)
        self._finish(lane, keep=keep)

    def _abandon(self, lane: _Lane, work: SmallWork, error: OSError | None) -> None:
        token = lane.token
        self._finish(lane, keep=False)
        reason = (error.strerror or str(error)) if error is not None else "it was closed in the middle of an answer"
        work.failed(token, TransportError(f"the connection to {self._transport.dialer.place} broke: {reason}"), None)

    def _give_up_stalled(self, now: float, work: SmallWork) -> None:
        for lane in list(self._lanes.values()):
            if lane.token >= 0 and now - lane.moved_at > self._transport.io_timeout_seconds:
                token = lane.token
                self._finish(lane, keep=False)
                work.failed(token, TransportError(f"{self._transport.dialer.place} stopped answering"), None)

    def _fail_all(self, work: SmallWork, error: Ds3Error) -> None:
        for lane in list(self._lanes.values()):
            if lane.token >= 0:
                token = lane.token
                self._finish(lane, keep=False)
                work.failed(token, error, None)

    def _finish(self, lane: _Lane, *, keep: bool) -> None:
        lane.token = -1
        lane.left = memoryview(b"")
        if keep:
            self._free.append(lane)
        else:
            self._drop(lane)

    def _drop(self, lane: _Lane) -> None:
        if lane in self._free:
            self._free.remove(lane)
        self._lanes.pop(lane.descriptor, None)
        self._epoll.unregister(lane.descriptor)
        lane.socket.close()

    def stop(self) -> None:
        """End a run within a second, from any thread; what was on its way is told as failed."""
        self._stopped = True

    def close(self) -> None:
        """Close every connection. Not while a run is going on."""
        for lane in list(self._lanes.values()):
            self._drop(lane)
        self._epoll.close()
