"""Many small requests over a few connections from one thread: epoll, one send and one receive each.

Threads that block on small requests spend their time handing the interpreter to each other; one loop over
eight to sixteen connections moves two to three times as many. What is not a plain answer is handed back to the
caller, whose careful path (`Transport.exchange`) tries it again with everything that can be known about it.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import select
import time
from typing import Protocol

from ds3tool.errors import Ds3Error, ProtocolError, TransportError
from ds3tool.transport.lane import BUFFER_BYTES, Lane
from ds3tool.transport.lane_count import LaneCount
from ds3tool.transport.pool import Transport
from ds3tool.transport.replies import ReplyHead, parse_head
from ds3tool.transport.shapes import AnswerHead, ShapedHead, Shapes

_LOOK_EVERY_SECONDS = 1.0
# After so many answers on one lane, one lane more is tried again where there were too many before.
_ANSWERS_PER_NEW_LANE = 500
_READ_AND_WRITE = select.EPOLLIN | select.EPOLLOUT


class SmallWork(Protocol):
    """What a burst asks for requests and tells of their fate; called from the burst's thread only.

    Tokens are the caller's numbers. Each token taken comes back exactly once, by `answered` or `failed`.
    """

    def take(self) -> tuple[int, bytes] | None:
        """Return a token and one whole request, head and body; None when there is none now."""
        ...

    def answered(self, token: int, head: AnswerHead, body: memoryview) -> None:
        """Take a successful reply; `head` and `body` are only valid during the call."""
        ...

    def failed(self, token: int, error: Ds3Error | None, head: ReplyHead | None) -> None:
        """Take the news that the request got no plain 2xx answer: its reply's head, or what went wrong."""
        ...

    def rest(self, now: float) -> None:
        """Do what can be done for many at once: called after each round of answers, at that monotonic time.

        Also at the end of each run, however it ends, and then with infinity: nothing may be put off any longer.
        """
        ...


class Burst:
    """Connections for small requests of one method, kept over several runs; `run` is called from one thread.

    Holds `lanes` connections, and up to `most_lanes` where the other side keeps it waiting and more comes of it; for
    each a buffer of 64 KiB, and one for a reply that comes in several pieces. A reply's head and body together may
    have up to `largest_reply` bytes; a larger one is no plain answer.
    """

    def __init__(
        self, transport: Transport, *, method: str, lanes: int, largest_reply: int, most_lanes: int = 0
    ) -> None:
        self._transport = transport
        self._method = method
        self._first = self._wanted = self._most = lanes
        self._count = LaneCount(lanes, max(lanes, most_lanes))
        self._answers = 0
        self._largest_reply = largest_reply
        self._look_every = min(_LOOK_EVERY_SECONDS, transport.io_timeout_seconds / 4)
        self._lanes: dict[int, Lane] = {}
        self._free: list[Lane] = []
        self._shapes = Shapes(method)
        # Answers of this round that were not handed over yet: token, head, the values in it, and body.
        self._come: list[tuple[int, ShapedHead, re.Match[bytes] | None, memoryview]] = []
        self._now = 0.0
        self._limit = transport.limit
        # A request whose turn by that limit has not come, and when it does.
        self._held: tuple[int, bytes] | None = None
        self._held_until = 0.0
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._stopped = False

    @staticmethod
    def suits(transport: Transport) -> bool:
        """Whether this way of sending can be used: plain connections, on a system that can do it."""
        return transport.dialer.place.scheme == "http" and hasattr(select, "epoll") and hasattr(os, "eventfd")

    def run(self, work: SmallWork) -> None:
        """Send all that `work` gives and return when it gives no more and every answer is in.

        Raises TransportError when no connection can be opened; what was taken has then been told as failed. After
        `stop` nothing is taken any more. Whatever `work` itself raises ends the run as well, with the requests on
        their way told as failed.
        """
        try:
            self._run(work)
        except BaseException:
            self._fail_all(work, TransportError("the run was ended by another failure"))
            raise
        finally:
            work.rest(math.inf)

    def _run(self, work: SmallWork) -> None:
        self._now = looked_at = time.monotonic()
        self._poll(0, work)  # lanes that were closed while they were idle are of no use
        self._fill(work)
        while len(self._lanes) > len(self._free) or self._held is not None:
            round_began, full, answers = self._now, not self._free and self._held is None, self._answers
            waits_from = time.monotonic()
            self._poll(self._look_every if self._held is None else self._seconds_until_turn(), work)
            blocked = self._now - waits_from
            wanted = self._count.passed(
                self._now - round_began, blocked=blocked, answers=self._answers - answers, full=full
            )
            if wanted > self._wanted:
                self._most += wanted - self._wanted
                self._wanted = wanted
            if self._stopped:
                self._fail_all(work, TransportError("stopped"))
                return
            if self._now - looked_at > self._look_every:
                looked_at = self._now
                self._give_up_stalled(looked_at, work)
            work.rest(self._now)
            self._fill(work)  # last, so that `run` goes on with what is left when every lane was given up

    def _poll(self, seconds: float, work: SmallWork) -> None:
        """Serve every lane that something has happened to; lanes are opened only between two calls.

        One straight function for what almost every answer is: it came whole, in one piece, and looks like an earlier
        one. Everything else has functions of its own.

        First each answer is received and its lane has the next request; then the answers are handed over. So the other
        side has work while they are, and is woken once for all of them.
        """
        happened = self._epoll.poll(seconds)
        self._now = time.monotonic()
        lanes, free, come = self._lanes, self._free, self._come
        read, largest = self._shapes.read, self._largest_reply
        for descriptor, events in happened:
            lane = lanes.get(descriptor)
            if lane is None:
                continue
            token = lane.token
            if events != select.EPOLLIN or token is None:
                self._serve(lane, events, work)
                continue
            if lane.buffer is not None or lane.left is not None or self._limit is not None:
                self._receive(lane, work)
            else:
                try:
                    count = lane.receive_into(lane.first)
                except BlockingIOError:
                    continue
                except OSError as error:
                    self._abandon(lane, work, self._broken(error))
                    continue
                head = read(lane.first, count)
                if head is not None and head.keep_alive and head.end + head.length == count <= largest:
                    lane.token = None
                    free.append(lane)
                    lane.answers += 1
                    come.append((token, head, head.values.match, lane.view[head.end : count]))
                else:
                    self._take_in(lane, count, work)
            # Another lane that is free may have been closed meanwhile, which this round would tell.
            if free and free[-1] is lane and not self._stopped:
                self._send_next(lane, work)
        if come:
            self._hand_over_all(work)

    def _hand_over_all(self, work: SmallWork) -> None:
        """Tell of the answers that this round has brought."""
        answered, come = work.answered, self._come
        before, self._answers = self._answers, self._answers + len(come)
        if before // _ANSWERS_PER_NEW_LANE != self._answers // _ANSWERS_PER_NEW_LANE:
            self._most = min(self._wanted, self._most + 1)
        come.reverse()
        while come:
            token, head, match, body = come.pop()  # before its fate is told: whatever `work` does, that is told once
            head.values.match = match
            answered(token, head, body)

    def _fill(self, work: SmallWork) -> None:
        """Put requests on the lanes that are free, and on new ones while there may be more."""
        opened = False
        while not self._stopped and (self._free or len(self._lanes) < self._most):
            if self._free:
                if not self._send_next(self._free[-1], work):
                    return
                continue
            if opened and len(self._lanes) >= self._first:
                return  # opening takes a round trip, and there are answers by now to those that were open before
            opened = True
            taken = self._take(work)
            if taken is None:
                return
            token, request = taken
            try:
                lane = self._open_lane()
            except Ds3Error as error:
                nowhere_to_go = not self._lanes
                self._most = max(1, len(self._lanes))  # the other side takes no more than it has
                work.failed(token, error, None)
                if nowhere_to_go:
                    raise
                return
            self._begin(lane, token, request, work)

    def _send_next(self, lane: Lane, work: SmallWork) -> bool:
        """Put a request on a lane that is free, the last of them; return whether there was one."""
        taken = work.take() if self._limit is None else self._take(work)
        if taken is None:
            return False
        self._free.pop()
        self._begin(lane, *taken, work)
        return True

    def _take(self, work: SmallWork) -> tuple[int, bytes] | None:
        """Return the next request once it may be sent by the limit on the rate; None for none, or none yet."""
        if self._limit is None:
            return work.take()
        if self._held is None:
            self._held = work.take()
            if self._held is None:
                return None
            self._held_until = time.monotonic() + self._limit.reserve(len(self._held[1]))
        if self._held_until > time.monotonic():
            return None
        held, self._held = self._held, None
        return held

    def _seconds_until_turn(self) -> float:
        """Return how long nothing but an answer makes a difference, while a request is held."""
        if not self._free and len(self._lanes) >= self._most:
            return self._look_every
        return max(0.0, min(self._look_every, self._held_until - time.monotonic()))

    def _begin(self, lane: Lane, token: int, request: bytes, work: SmallWork) -> None:
        lane.token = token
        self._send(lane, request, work)

    def _open_lane(self) -> Lane:
        sock = self._transport.open_socket()
        try:
            lane = Lane(sock)
            self._epoll.register(lane.descriptor, select.EPOLLIN)
        except BaseException:
            sock.close()
            raise
        self._lanes[lane.descriptor] = lane
        return lane

    def _serve(self, lane: Lane, events: int, work: SmallWork) -> None:
        if lane.token is None:
            self._drop(lane)  # closed, or speaking out of turn, while idle
            return
        if lane.left is not None and events & select.EPOLLOUT:
            self._send(lane, lane.left, work)
        if lane.token is not None and events & ~select.EPOLLOUT:
            self._receive(lane, work)

    def _send(self, lane: Lane, request: bytes | memoryview, work: SmallWork) -> None:
        """Send what the socket takes of a request, or of the rest of one."""
        whole = len(request)
        try:
            sent = lane.send(request)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._abandon(lane, work, self._broken(error))
            return
        lane.moved_at = time.monotonic()  # not when the round began: `work` may have taken long since
        self._leave(lane, None if sent == whole else memoryview(request)[sent:])

    def _leave(self, lane: Lane, left: memoryview | None) -> None:
        """Have the rest of a request sent once the socket takes more; None when nothing is left of it."""
        lane.left = left
        if lane.writing != (left is not None):
            lane.writing = left is not None
            self._epoll.modify(lane.descriptor, _READ_AND_WRITE if lane.writing else select.EPOLLIN)

    def _receive(self, lane: Lane, work: SmallWork) -> None:
        whole = lane.buffer
        try:
            count = lane.receive_into(lane.first if whole is None else memoryview(whole)[lane.filled :])
        except BlockingIOError:
            return
        except OSError as error:
            self._abandon(lane, work, self._broken(error))
            return
        if self._limit is not None:
            self._limit.reserve(count)  # what follows waits for it
        self._take_in(lane, count, work)

    def _take_in(self, lane: Lane, count: int, work: SmallWork) -> None:
        """Read what was received on a lane just now: `count` bytes, 0 when the other side has closed it."""
        if count == 0:
            self._abandon(lane, work, self._broken(None))
            return
        if lane.buffer is None:
            head = self._shapes.read(lane.first, count)
            if head is not None and head.end + head.length == count and count <= self._largest_reply:
                self._hand_over(lane, head, lane.view[head.end : count], work)
                return
            lane.buffer = bytearray(BUFFER_BYTES)
            lane.buffer[:count] = lane.view[:count]
        lane.filled += count
        lane.moved_at = time.monotonic()
        try:
            complete = self._complete(lane)
        except ProtocolError as error:
            self._abandon(lane, work, error)
            return
        if complete:
            assert lane.buffer is not None
            assert lane.head is not None
            self._hand_over(lane, lane.head, memoryview(lane.buffer)[lane.start : lane.need], work)

    def _complete(self, lane: Lane) -> bool:
        """Whether the reply is all there, and room for more if it is not; ProtocolError for one that is none.

        That is, for one that this loop cannot read.
        """
        buffer = lane.buffer
        assert buffer is not None
        if lane.head is None:
            end = buffer.find(b"\r\n\r\n", 0, lane.filled)
            if end < 0:
                if lane.filled > self._largest_reply:
                    raise ProtocolError("the answer's head is too large for a small request's")
                _make_room(buffer, 2 * lane.filled)
                return False
            raw = bytes(buffer[:end])
            lane.head = parse_head(raw, method=self._method)
            lane.start = end + 4
            if lane.head.length is None or lane.head.status < 200:
                raise ProtocolError("the answer does not say how long it is")
            lane.need = lane.start + lane.head.length
            if lane.need > self._largest_reply:
                raise ProtocolError("the answer is larger than what was asked for")
            self._shapes.learn(raw, lane.head)
        if lane.filled > lane.need:
            raise ProtocolError("the answer is longer than it said")
        _make_room(buffer, lane.need + 1)
        return lane.filled == lane.need

    def _hand_over(self, lane: Lane, head: ReplyHead | ShapedHead, body: memoryview, work: SmallWork) -> None:
        token, sent = lane.token, lane.left is None
        assert token is not None
        lane.answers += 1
        self._answers += 1
        if not self._answers % _ANSWERS_PER_NEW_LANE:
            self._most = min(self._wanted, self._most + 1)
        # Before its fate is told: whatever `work` does, this request is told of once, and its lane is in order.
        self._finish(lane, keep=head.keep_alive and sent)
        if not 200 <= head.status < 300:
            assert isinstance(head, ReplyHead)
            work.failed(token, None, head)
        elif not sent:
            place = self._transport.dialer.place
            work.failed(token, TransportError(f"{place} said {head.status} before it had the whole request"), None)
        else:
            work.answered(token, head, body)

    def _broken(self, error: OSError | None) -> TransportError:
        reason = (error.strerror or str(error)) if error is not None else "it was closed in the middle of an answer"
        return TransportError(f"the connection to {self._transport.dialer.place} broke: {reason}")

    def _abandon(self, lane: Lane, work: SmallWork, error: Ds3Error) -> None:
        """Drop a lane and tell of its request as failed."""
        token = lane.token
        assert token is not None
        self._finish(lane, keep=False)
        if not lane.answers and self._lanes and isinstance(error, TransportError):
            # It never gave one answer: the other side serves fewer connections than were opened, and every
            # request that a further one swallows would have to go the slow way.
            self._most = min(self._most, len(self._lanes))
        work.failed(token, error, None)

    def _give_up_stalled(self, now: float, work: SmallWork) -> None:
        for lane in list(self._lanes.values()):
            if lane.token is not None and now - lane.moved_at > self._transport.io_timeout_seconds:
                self._abandon(lane, work, TransportError(f"{self._transport.dialer.place} stopped answering"))

    def _fail_all(self, work: SmallWork, error: Ds3Error) -> None:
        lanes = [(lane, lane.token) for lane in self._lanes.values()]
        for lane, token in lanes:
            if token is not None:
                self._finish(lane, keep=False)
        held, self._held = self._held, None
        come, self._come = self._come, []
        tokens = [*(token for _, token in lanes), *(one[0] for one in come)] + ([] if held is None else [held[0]])
        for token in tokens:
            if token is not None:
                work.failed(token, error, None)

    def _finish(self, lane: Lane, *, keep: bool) -> None:
        lane.token = lane.left = lane.buffer = lane.head = None
        lane.filled = 0
        if keep:
            self._free.append(lane)
        else:
            self._drop(lane)

    def _drop(self, lane: Lane) -> None:
        if lane in self._free:
            self._free.remove(lane)
        del self._lanes[lane.descriptor]
        self._epoll.unregister(lane.descriptor)
        lane.socket.close()

    def stop(self) -> None:
        """End a run at once, from any thread; what was on its way is told as failed. Harmless after `close`."""
        self._stopped = True
        with contextlib.suppress(OSError, ValueError):  # it may be closed by now
            os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Close every connection. Not while a run is going on."""
        for lane in list(self._lanes.values()):
            self._drop(lane)
        if not self._epoll.closed:
            self._epoll.close()
            os.close(self._wake)
            self._wake = -1


def _make_room(buffer: bytearray, size: int) -> None:
    """Let a buffer hold `size` bytes at least."""
    if len(buffer) < size:
        buffer.extend(bytes(size - len(buffer)))
