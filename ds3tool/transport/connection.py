"""One kept-alive connection: send a request, read its reply, exactly as framed.

A plain descriptor blocks, with SO_RCVTIMEO and SO_SNDTIMEO in the kernel: Python's own timeout would make it
non-blocking, so that sendfile and splice give up at once, and adds a poll to every call. A TLS socket has Python's
timeout, since OpenSSL asks again for ever where the kernel's has run out.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

from ds3tool.errors import ProtocolError, SourceError, TransportError
from ds3tool.transport.bodies import OutgoingBody
from ds3tool.transport.ratelimit import RateLimit
from ds3tool.transport.replies import MAX_HEAD_BYTES, ReplyHead, parse_head, parse_header_line
from ds3tool.transport.socket_errors import SOCKET_ERRORS, cut_off, is_tls, would_block
from ds3tool.transport.splicing import NOT_SUPPORTED, PIPE_BYTES, Splicer, write_all

_BUFFER_BYTES = 128 * 1024
# What a body is received in. Source: measured with a digest made of each block (4 transfers on 2 cores): larger blocks
# leave the core's own cache before they are written, smaller ones cost more hand-overs between threads.
_BLOCK_BYTES = 512 * 1024
# The same over TLS, where a block is put together of records, of this size at most, and copied once more.
_TLS_BLOCK_BYTES = 256 * 1024
_TLS_RECORD_BYTES = 16 * 1024
_CHUNK_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
_MAX_LINE = 4096
_MAX_TRAILERS = 64 * 1024
# Interim replies (1xx) to one request; a server that sends more is not going to answer.
_MOST_INTERIM = 100
# Above this, a refusal must not cost the whole body: ask with Expect first.
EXPECT_ABOVE_BYTES = 8 * 1024 * 1024
# How long to wait for `100 Continue` from a server that does not know it, as curl does.
_CONTINUE_WAIT_SECONDS = 1.0


class _AnsweredError(Exception):
    """The final reply came before the body was through."""

    def __init__(self, head: ReplyHead) -> None:
        super().__init__(head.status)
        self.head = head


class _CutError(Exception):
    """The other side takes no more of the request; `failure` is what it means unless a reply says better."""

    def __init__(self, failure: TransportError) -> None:
        super().__init__(failure.message)
        self.failure = failure


class _BodyWire:
    """The connection while one body is sent: holds it to its length, and looks for a reply that comes too early."""

    def __init__(self, connection: Connection, length: int) -> None:
        self._connection = connection
        self.left = length

    def send(self, data: bytes | memoryview) -> None:
        """Send all of `data`."""
        self._claim(len(data))
        self._connection.send(data)

    def send_file(self, descriptor: int, offset: int, length: int) -> int:
        """Send up to `length` bytes of a file; return how many went, 0 at its end."""
        self._claim(length)
        sent = self._connection.send_file(descriptor, offset, length)
        self.left += length - sent
        return sent

    def _claim(self, count: int) -> None:
        if count > self.left:  # what is too much would be read as the next request
            raise SourceError(
                f"the source gives at least {count - self.left} bytes more than it said",
                hint="it changed while it was read; put it again when it is at rest",
            )
        self._connection.look_for_answer()
        self.left -= count


class Connection:
    """A connected socket, plain or TLS, with what was read ahead on it.

    Not for two threads at once; `abort` may be called from any thread and wakes a blocked call.
    `place` is what the errors call the other side.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        place: str,
        io_timeout_seconds: float,
        limit: RateLimit | None = None,
        continue_wait_seconds: float = _CONTINUE_WAIT_SECONDS,
    ) -> None:
        self.socket = sock
        self.place = place
        self._limit = limit
        self._buffer = bytearray(_BUFFER_BYTES)
        self._start = self._end = 0
        self._interim = 0
        self._method = "GET"
        self._splicer = Splicer()
        self._block: memoryview | None = None
        self._failed: TransportError | None = None
        self._plain = not is_tls(sock)
        self._timeout = io_timeout_seconds
        self._continue_wait = continue_wait_seconds
        self._closing = threading.Lock()
        self._closed = False
        self._answered = False
        if self._plain:
            sock.setblocking(True)
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                sock.setsockopt(socket.SOL_SOCKET, option, _timeval(io_timeout_seconds))
        else:
            sock.settimeout(io_timeout_seconds)

    # -- sending -----------------------------------------------------------------------------------------------

    def send(self, data: bytes | memoryview) -> None:
        """Send all of `data`, in steps when the rate is limited."""
        if self._limit is None or not len(data):
            self._send_all(data)
            return
        view = memoryview(data)
        for start in range(0, len(view), self._limit.step):
            piece = view[start : start + self._limit.step]
            self._limit.take(len(piece))
            self._send_all(piece)

    def send_file(self, descriptor: int, offset: int, length: int) -> int:
        """Send up to `length` bytes of a file; return how many went, 0 at its end; SourceError when it fails."""
        if self._limit is not None:
            length = min(length, self._limit.step)
            self._limit.take(length)
        if not self._plain:  # TLS encrypts in user space, so the bytes have to come up here
            return self._read_and_send(descriptor, offset, length)
        try:
            return os.sendfile(self.socket.fileno(), descriptor, offset, length)
        except BlockingIOError as error:
            raise _CutError(self._timed_out("taking the body")) from error
        except OSError as error:
            if error.errno in SOCKET_ERRORS:
                raise _CutError(self._broken("while the body was sent", error)) from error
            if error.errno in NOT_SUPPORTED:
                return self._read_and_send(descriptor, offset, length)
            raise _unreadable(offset, error) from error

    def _read_and_send(self, descriptor: int, offset: int, length: int) -> int:
        try:
            data = os.pread(descriptor, min(length, _TLS_BLOCK_BYTES), offset)
        except OSError as error:
            raise _unreadable(offset, error) from error
        self._send_all(data)
        return len(data)

    def _send_all(self, data: bytes | memoryview, flags: int = 0) -> None:
        try:
            if self._plain:
                self.socket.sendall(data, flags)
            else:
                self.socket.sendall(data)
        except would_block() as error:
            raise _CutError(self._timed_out("taking the request")) from error
        except OSError as error:
            if isinstance(error, TimeoutError) and error.errno is None:
                raise _CutError(self._timed_out("taking the request")) from error
            raise _CutError(self._broken("while the request was sent", error)) from error

    def send_request(self, head: bytes, body: OutgoingBody | None, *, expect: bool) -> ReplyHead | None:
        """Send head and body; return the reply's head when the other side answered before the body was through.

        With `expect`, the head asks for `100 Continue`, and a final status spares the body. A body that the
        other side cut off, or stopped taking, is no error yet: the reply decides. Raises SourceError when the body
        does not have the length it said, TransportError when the connection broke without a reply; then some of the
        request was never sent.
        """
        self._interim = 0
        self._method = head[: head.find(b" ")].decode("latin-1")
        length = body.length if body is not None else 0
        if self._limit is not None:
            self._limit.take(len(head))
        try:
            if expect:
                self._send_all(head)
                self._await_continue()
            else:
                self._send_all(head, socket.MSG_MORE if length and self._plain else 0)
            if body is not None and length:
                self._send_body(body, length)
        except _AnsweredError as answered:
            return answered.head
        except TransportError as error:  # met while looking for an early reply
            error.may_have_arrived = False
            raise
        except _CutError as cut:
            # A refusal is sent before the connection is closed, so read it before deciding.
            with contextlib.suppress(TransportError, ProtocolError):
                if self._answer_begins(0):
                    return self.read_head(self._method)
            cut.failure.may_have_arrived = False
            raise cut.failure from cut
        return None

    def _send_body(self, body: OutgoingBody, length: int) -> None:
        wire = _BodyWire(self, length)
        try:
            body.send_to(wire)
        except OSError as error:  # the wire's own failures are none
            raise SourceError(f"the source cannot be read: {error.strerror or error}") from error
        if wire.left:
            raise SourceError(
                f"the source gives {wire.left} bytes fewer than the {length} it said",
                hint="it changed while it was read; put it again when it is at rest",
            )

    def _await_continue(self) -> None:
        """Return when the body may be sent; raises _AnsweredError when the final reply is there already."""
        deadline = time.monotonic() + self._continue_wait
        while self._answer_begins(deadline - time.monotonic()):
            head = self._next_head(self._method)
            if head.status >= 200:
                raise _AnsweredError(head)
            if head.status == 100:
                return

    def look_for_answer(self) -> None:
        """Raise _AnsweredError when the final reply has come already, while a body is still being sent."""
        while self._answer_begins(0):
            head = self._next_head(self._method)
            if head.status >= 200:
                raise _AnsweredError(head)

    def _answer_begins(self, seconds: float) -> bool:
        """Wait at most `seconds` for the next bytes of a reply; True also when the other side has closed or failed."""
        if self._start < self._end:
            return True
        if self._plain:
            poll = select.poll()
            poll.register(self.socket.fileno(), select.POLLIN)
            return bool(poll.poll(max(0.0, seconds) * 1000))
        # What arrives on a TLS socket may be TLS's own (session tickets follow the handshake): only reading tells.
        self._make_room()
        self.socket.settimeout(max(0.0, seconds))
        try:
            self._end += self.socket.recv_into(memoryview(self._buffer)[self._end :])
        except would_block(TimeoutError):
            return False
        except OSError:
            return True  # whoever reads next is told what is wrong
        finally:
            self.socket.settimeout(self._timeout)
        return True

    # -- reading -----------------------------------------------------------------------------------------------

    def read_head(self, method: str) -> ReplyHead:
        """Return the head of the final reply to a request of `method`, past any 1xx."""
        while True:
            head = self._next_head(method)
            if head.status >= 200:
                return head

    def _next_head(self, method: str) -> ReplyHead:
        head = parse_head(self._next_raw_head(), method=method)
        if head.status == 101:
            raise ProtocolError("the appliance switched to another protocol, which nobody asked for")
        if head.status < 200:
            self._interim += 1
            if self._interim > _MOST_INTERIM:
                raise ProtocolError(f"{self.place} sent more than {_MOST_INTERIM} interim answers and no final one")
        return head

    def _next_raw_head(self) -> bytes:
        searched = self._start
        while True:
            found = self._buffer.find(b"\r\n\r\n", max(self._start, searched - 3), self._end)
            if found >= 0:
                raw = bytes(self._buffer[self._start : found])
                self._start = found + 4
                self._answered = True
                return raw
            if self._start < self._end:
                self._refuse_foreign_head(max(self._start, searched - 1))
            searched = self._end - self._start
            if searched > MAX_HEAD_BYTES:
                raise ProtocolError(f"the answer's head is larger than {MAX_HEAD_BYTES} bytes")
            self._make_room()
            searched += self._start
            count = self._receive_into(memoryview(self._buffer)[self._end :])
            if count == 0:
                if self._end > self._start:
                    raise TransportError(f"{self.place} closed the connection in the middle of its answer's head")
                raise TransportError(f"{self.place} closed the connection without an answer", hint=self._doubt())
            self._end += count

    def _refuse_foreign_head(self, searched: int) -> None:
        """Raise ProtocolError for a head that can only turn out wrong, instead of waiting for its end."""
        first = self._buffer[self._start : min(self._end, self._start + 5)]
        if not b"HTTP/".startswith(first):
            raise ProtocolError(
                f"{self.place} does not speak HTTP here: its answer begins {bytes(first)!r}",
                hint="is this the appliance's data port, and is it https?",
            )
        if _BARE_LINE_FEED.search(self._buffer, searched, self._end):
            raise ProtocolError("the answer's head has a line that ends in a bare line feed")

    def _make_room(self) -> None:
        """Have at least half a buffer free behind what was read."""
        if self._start == self._end:
            self._start = self._end = 0
            if len(self._buffer) > _BUFFER_BYTES:  # one huge head is no reason to keep its room
                self._buffer = bytearray(_BUFFER_BYTES)
        if len(self._buffer) - self._end >= _BUFFER_BYTES // 2:
            return
        held = self._buffer[self._start : self._end]
        size = _BUFFER_BYTES
        while size - len(held) < _BUFFER_BYTES // 2:
            size *= 2
        self._buffer = bytearray(size)
        self._buffer[: len(held)] = held
        self._start, self._end = 0, len(held)

    def _receive_into(self, view: memoryview) -> int:
        """Receive into `view`; return how many bytes, 0 when the other side closed."""
        if self._limit is not None:
            view = view[: self._limit.step]
        try:
            count = self.socket.recv_into(view)
        except OSError as error:
            raise self._read_failure(error) from error
        if self._limit is not None:
            self._limit.take(count)
        return count

    def _receive(self, length: int, flags: int = 0) -> bytes:
        """Return some bytes, at most `length`; ahead-read ones first, b'' when the other side closed."""
        if self._start < self._end:
            stop = min(self._end, self._start + length)
            data = bytes(self._buffer[self._start : stop])
            self._start = stop
            return data
        if self._limit is not None:
            length = min(length, self._limit.step)
        if not self._plain:  # room for more would be got and given back for each record
            length = min(length, _TLS_RECORD_BYTES)
        try:
            data = self.socket.recv(length, flags)
        except OSError as error:
            raise self._read_failure(error) from error
        if self._limit is not None:
            self._limit.take(len(data))
        return data

    def _read_failure(self, error: OSError) -> TransportError:
        if isinstance(error, would_block()) or (isinstance(error, TimeoutError) and error.errno is None):
            return self._timed_out("answering")
        if isinstance(error, cut_off()):
            # Without TLS's goodbye nobody can say that the answer's end is its end.
            return TransportError(f"{self.place} cut the TLS connection off while its answer was read")
        return self._broken("while its answer was read", error)

    def read_exactly(self, length: int) -> Iterator[bytes]:
        """Yield blocks of `length` bytes in all; TransportError when the other side ends early."""
        done = 0
        while done < length:
            block = self._receive_block(done, length)
            done += len(block)
            yield bytes(block)  # a copy of what will be overwritten; bytes themselves are not copied

    def _receive_block(self, done: int, length: int) -> bytes | memoryview:
        """Return the next bytes of a body of which `done` bytes have come; TransportError when it ends early.

        Blocks are whole, as far as the other side goes on sending, and end where multiples of their size do: pages of
        a file are then written whole, and the memory of one serves the next. A memoryview is overwritten by the next.
        """
        size = _BLOCK_BYTES if self._plain else _TLS_BLOCK_BYTES
        step = min(length - done, size - done % size)
        if self._plain:
            block: bytes | memoryview = self._receive(step, socket.MSG_WAITALL)
        elif self._start < self._end:
            block = self._receive(step)
        else:
            block = self._receive_records(step)
        if not block:
            raise self._short(length, done)
        return block

    def _receive_records(self, length: int) -> memoryview:
        """Return `length` bytes, fewer when the other side ends or fails meanwhile, of as many TLS records as it takes.

        OpenSSL gives one record at a time; memory of their own for each of them would cost as much as their decryption.
        """
        if self._failed is not None:
            raise self._failed
        if self._block is None:
            self._block = memoryview(bytearray(_TLS_BLOCK_BYTES))
        came = 0
        while came < length:
            try:
                count = self._receive_into(self._block[came:length])
            except TransportError as error:
                if not came:
                    raise
                self._failed = error  # what came before it is good, and where a later try goes on
                break
            if not count:
                break
            came += count
        return self._block[:came]

    def read_to_close(self) -> Iterator[bytes]:
        """Yield blocks until the other side closes; only its content can tell whether it is whole."""
        while block := self._receive(_BLOCK_BYTES):
            yield block

    def read_chunked(self) -> Iterator[bytes]:
        """Yield the blocks of a chunked body; extensions and trailers are read and left."""
        while True:
            line = self._read_line()
            match = _CHUNK_SIZE_LINE.fullmatch(line)
            if match is None:
                raise ProtocolError(f"the answer's chunk has no size: {line[:80]!r}")
            size = int(match[1], 16)
            if size == 0:
                break
            yield from self.read_exactly(size)
            if self._read_line() != b"":
                raise ProtocolError("the answer's chunk is longer than it said")
        trailers = 0
        while line := self._read_line():
            parse_header_line(line)
            trailers += len(line)
            if trailers > _MAX_TRAILERS:
                raise ProtocolError("the answer's trailers are too large")

    def _read_line(self) -> bytes:
        line = bytearray()
        while True:
            if self._start == self._end:
                self._make_room()
                self._end += self._receive_into(memoryview(self._buffer)[self._end :])
                if self._start == self._end:
                    raise TransportError(f"{self.place} closed the connection in the middle of its answer")
            found = self._buffer.find(b"\n", self._start, self._end)
            stop = self._end if found < 0 else found + 1
            line += self._buffer[self._start : stop]
            self._start = stop
            if len(line) > _MAX_LINE:
                raise ProtocolError("the answer has an endless line where a chunk's size should stand")
            if found >= 0:
                if not line.endswith(b"\r\n"):
                    raise ProtocolError("the answer has a line that ends in a bare line feed")
                return bytes(line[:-2])

    def read_into_file(
        self,
        length: int,
        descriptor: int,
        offset: int,
        *,
        moved: Callable[[int], None] | None = None,
        seen: Callable[[bytes | memoryview], None] | None = None,
    ) -> None:
        """Move `length` bytes of body into a file at `offset`, by splice where it can be done.

        `moved` is told how many bytes each step has written. Where somebody has to see the bytes too, `seen` is handed
        what was written, ahead of that: it may be overwritten later.
        Raises SinkError when the file cannot take them, TransportError when the other side ends early.
        """
        done = 0
        while done < length:
            count = None
            if seen is None and self._start == self._end:
                count = self._splice(done, length, descriptor, offset + done)
            if count is None:
                block = self._receive_block(done, length)
                write_all(descriptor, block, offset + done)
                count = len(block)
                if seen is not None:
                    seen(block)
                del block  # its memory, which is in the core's own cache, is what the next is received in
            done += count
            if moved is not None:
                moved(count)

    def _splice(self, done: int, length: int, descriptor: int, offset: int) -> int | None:
        """Move some of a body of which `done` bytes have come into a file; return how many, None where it cannot be."""
        if not (self._plain and self._splicer.usable):
            return None
        step = PIPE_BYTES if self._limit is None else min(PIPE_BYTES, self._limit.step)
        try:
            count = self._splicer.move(self.socket.fileno(), min(length - done, step), descriptor, offset)
        except OSError as error:
            raise self._read_failure(error) from error
        if count == 0:
            raise self._short(length, done)
        if count is not None and self._limit is not None:
            self._limit.take(count)
        return count

    # -- ending ------------------------------------------------------------------------------------------------

    def is_stale(self) -> bool:
        """Whether the other side has closed an idle connection, or says something nobody asked for."""
        return self._answer_begins(0)

    def abort(self) -> None:
        """Wake whoever is blocked on this connection, with an error; from any thread."""
        with self._closing:  # a closed descriptor's number may be another's by now
            if not self._closed:
                shut_down(self.socket)

    def close(self) -> None:
        """Give the descriptors back. Twice is harmless."""
        with self._closing:
            self._closed = True
        self._splicer.close()
        self.socket.close()

    def _timed_out(self, doing: str) -> TransportError:
        return TransportError(f"{self.place} stopped {doing}: no byte for {self._timeout:g} s")

    def _short(self, length: int, came: int) -> TransportError:
        return TransportError(f"{self.place} closed the connection after {came} of {length} bytes")

    def _broken(self, when: str, error: OSError) -> TransportError:
        return TransportError(
            f"the connection to {self.place} broke {when}: {error.strerror or error}", hint=self._doubt()
        )

    def _doubt(self) -> str | None:
        """Return what a connection may be that never gave an answer: TLS servers drop what they do not understand."""
        if self._answered or not self._plain:
            return None
        return "if it never answers: is this the data port, and does it want https:// instead of http://?"


def shut_down(sock: socket.socket) -> None:
    """End both directions of a socket, so that a call blocked on it returns; from any thread."""
    with contextlib.suppress(OSError):  # it may not be connected, or no longer, which is what is wanted
        # Not by SSLSocket's own method: it lets go of TLS first, and another thread that reads at this moment
        # would be given the bytes as they are on the wire, and one that sends would send in the clear.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _unreadable(offset: int, error: OSError) -> SourceError:
    return SourceError(f"the source cannot be read at byte {offset}: {error.strerror or error}")


def _timeval(seconds: float) -> bytes:
    return struct.pack("ll", int(seconds), max(1, int(seconds % 1 * 1_000_000)))  # nothing at all would mean for ever
