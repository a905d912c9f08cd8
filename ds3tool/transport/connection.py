"""One kept-alive connection: send a request, read its reply, exactly as framed.

The descriptor blocks, with SO_RCVTIMEO and SO_SNDTIMEO in the kernel: Python's own timeout would make it
non-blocking, so that sendfile and splice give up at once, and adds a poll to every call.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator

from ds3tool.errors import ProtocolError, SinkError, SourceError, TransportError
from ds3tool.transport.bodies import READ_STEP, OutgoingBody
from ds3tool.transport.ratelimit import RateLimit
from ds3tool.transport.replies import MAX_HEAD_BYTES, ReplyHead, parse_head

_BUFFER_BYTES = 128 * 1024
_PIPE_BYTES = 1024 * 1024
_F_SETPIPE_SZ = 1031  # Linux fcntl; Python 3.11 does not name it on every build
_CHUNK_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
_MAX_LINE = 4096
_MAX_TRAILERS = 64 * 1024
# Above this, a refusal must not cost the whole body: ask with Expect first.
EXPECT_ABOVE_BYTES = 8 * 1024 * 1024
# How long to wait for `100 Continue` from a server that does not know it, as curl does.
_CONTINUE_WAIT_SECONDS = 1.0


class Connection:
    """A connected socket, plain or TLS, with what was read ahead on it.

    Not for two threads at once; `abort` may be called from any thread and wakes a blocked call.
    `place` is what the errors call the other side.
    """

    def __init__(
        self, sock: socket.socket, *, place: str, io_timeout_seconds: float, limit: RateLimit | None = None
    ) -> None:
        self.socket = sock
        self.place = place
        self.used = False
        self.idle_since = 0.0
        self._limit = limit
        self._buffer = bytearray(_BUFFER_BYTES)
        self._start = self._end = 0
        self._pipe: tuple[int, int] | None = None
        self._plain = not isinstance(sock, ssl.SSLSocket)
        self._timeout = io_timeout_seconds
        sock.setblocking(True)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            sock.setsockopt(socket.SOL_SOCKET, option, _timeval(io_timeout_seconds))

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
        """Send up to `length` bytes of a file; return how many went, 0 at its end."""
        if self._limit is not None:
            length = min(length, self._limit.step)
            self._limit.take(length)
        if not self._plain:  # TLS encrypts in user space, so the bytes have to come up here
            data = os.pread(descriptor, min(length, READ_STEP), offset)
            self._send_all(data)
            return len(data)
        while True:
            try:
                return os.sendfile(self.socket.fileno(), descriptor, offset, length)
            except InterruptedError:
                continue
            except BlockingIOError as error:
                raise self._timed_out("taking the body") from error
            except OSError as error:
                if error.errno == errno.EIO:  # sockets do not fail so: it is the disk
                    raise SourceError(f"the source cannot be read at byte {offset}: {error.strerror}") from error
                raise

    def _send_all(self, data: bytes | memoryview, flags: int = 0) -> None:
        try:
            if self._plain:
                self.socket.sendall(data, flags)
            else:
                self.socket.sendall(data)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError) as error:
            raise self._timed_out("taking the request") from error

    def send_request(self, head: bytes, body: OutgoingBody | None, *, expect: bool) -> ReplyHead | None:
        """Send head and body; return the reply's head when the other side answered before the body was through.

        With `expect`, the head asks for `100 Continue`, and a final status spares the body. A body that the
        other side cut off is no error yet: the reply decides.
        """
        self.used = True
        length = body.length if body is not None else 0
        if expect:
            self._send_all(head)
            early = self._await_continue()
            if early is not None:
                return early
        else:
            self._send_all(head, socket.MSG_MORE if length and self._plain else 0)
        if body is None or not length:
            return None
        try:
            body.send_to(self)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
            # The refusal was sent before the connection closed, so read it before deciding.
            try:
                return self.read_head("PUT")
            except (TransportError, ProtocolError):
                raise self._broken("while the body was sent", error) from error
        return None

    def _await_continue(self) -> ReplyHead | None:
        deadline = time.monotonic() + _CONTINUE_WAIT_SECONDS
        while True:
            if self._start == self._end and not self._readable(deadline - time.monotonic()):
                return None
            head = self._next_head("PUT")
            if head.status >= 200:
                return head
            if head.status == 100:
                return None

    def _readable(self, seconds: float) -> bool:
        import select

        if isinstance(self.socket, ssl.SSLSocket) and self.socket.pending():
            return True
        poll = select.poll()
        poll.register(self.socket.fileno(), select.POLLIN)
        return bool(poll.poll(max(0.0, seconds) * 1000))

    # -- reading -----------------------------------------------------------------------------------------------

    def read_head(self, method: str) -> ReplyHead:
        """Return the head of the final reply to a request of `method`, past any 1xx."""
        while True:
            head = self._next_head(method)
            if head.status == 101:
                raise ProtocolError("the appliance switched to another protocol, which nobody asked for")
            if head.status >= 200:
                return head

    def _next_head(self, method: str) -> ReplyHead:
        searched = self._start
        while True:
            found = self._buffer.find(b"\r\n\r\n", max(self._start, searched - 3), self._end)
            if found >= 0:
                raw = bytes(self._buffer[self._start : found])
                self._start = found + 4
                return parse_head(raw, method=method)
            searched = self._end - self._start
            if searched > MAX_HEAD_BYTES:
                raise ProtocolError(f"the answer's head is larger than {MAX_HEAD_BYTES} bytes")
            self._make_room()
            searched += self._start
            count = self._receive_into(memoryview(self._buffer)[self._end :])
            if count == 0:
                if self._end > self._start:
                    raise TransportError(f"{self.place} closed the connection in the middle of its answer's head")
                raise TransportError(f"{self.place} closed the connection without an answer")
            self._end += count
            first = self._buffer[self._start : min(self._end, self._start + 5)]
            if not b"HTTP/".startswith(first):
                raise ProtocolError(
                    f"{self.place} does not speak HTTP here: its answer begins {bytes(first)!r}",
                    hint="is this the appliance's data port, and is it https?",
                )

    def _make_room(self) -> None:
        """Have at least half a buffer free behind what was read."""
        if self._start == self._end:
            self._start = self._end = 0
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
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
            raise self._timed_out("answering") from error
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return 0
        except OSError as error:
            raise self._broken("while its answer was read", error) from error
        if self._limit is not None:
            self._limit.take(count)
        return count

    def _receive(self, length: int) -> bytes:
        """Return some bytes, at most `length`; ahead-read ones first, b'' when the other side closed."""
        if self._start < self._end:
            stop = min(self._end, self._start + length)
            data = bytes(self._buffer[self._start : stop])
            self._start = stop
            return data
        if self._limit is not None:
            length = min(length, self._limit.step)
        try:
            data = self.socket.recv(length)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
            raise self._timed_out("answering") from error
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return b""
        except OSError as error:
            raise self._broken("while its answer was read", error) from error
        if self._limit is not None:
            self._limit.take(len(data))
        return data

    def read_exactly(self, length: int) -> Iterator[bytes]:
        """Yield blocks of `length` bytes in all; TransportError when the other side ends early."""
        left = length
        while left:
            block = self._receive(min(left, READ_STEP))
            if not block:
                raise self._short(length, length - left)
            left -= len(block)
            yield block

    def read_to_close(self) -> Iterator[bytes]:
        """Yield blocks until the other side closes; only its content can tell whether it is whole."""
        while block := self._receive(READ_STEP):
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
            trailers += len(line)
            if trailers > _MAX_TRAILERS:
                raise ProtocolError("the answer's trailers are too large")

    def _read_line(self) -> bytes:
        line = bytearray()
        while True:
            byte = self._receive(1)
            if not byte:
                raise TransportError(f"{self.place} closed the connection in the middle of its answer")
            line += byte
            if line.endswith(b"\r\n"):
                return bytes(line[:-2])
            if len(line) > _MAX_LINE:
                raise ProtocolError("the answer has an endless line where a chunk's size should stand")

    def read_into_file(
        self, length: int, descriptor: int, offset: int, *, moved: Callable[[int], None] | None = None
    ) -> None:
        """Move `length` bytes of body into a file at `offset`, by splice where it can be done.

        Raises SinkError when the file cannot take them, TransportError when the other side ends early.
        """
        done = 0
        while done < length and self._start < self._end:
            block = self._receive(length - done)
            write_all(descriptor, block, offset + done)
            done += len(block)
            if moved is not None:
                moved(len(block))
        if not self._plain or self._limit is not None or not hasattr(os, "splice"):
            for block in self.read_exactly(length - done):
                write_all(descriptor, block, offset + done)
                done += len(block)
                if moved is not None:
                    moved(len(block))
            return
        if self._pipe is None and done < length:
            self._pipe = _wide_pipe()
        while done < length:
            count = self._splice(min(length - done, _PIPE_BYTES), descriptor, offset + done)
            if count == 0:
                raise self._short(length, done)
            done += count
            if moved is not None:
                moved(count)

    def _splice(self, length: int, descriptor: int, offset: int) -> int:
        """Move up to `length` bytes through the pipe into the file; return how many, 0 when the other side closed."""
        assert self._pipe is not None
        readable, writable = self._pipe
        try:
            count = os.splice(self.socket.fileno(), writable, length, flags=os.SPLICE_F_MOVE)
        except BlockingIOError as error:
            raise self._timed_out("answering") from error
        except OSError as error:
            raise self._broken("while its answer was read", error) from error
        written = 0
        try:
            while written < count:
                written += os.splice(readable, descriptor, count - written, offset_dst=offset + written)
        except OSError as error:
            raise SinkError(f"the target cannot be written: {error.strerror}") from error
        return count

    # -- ending ------------------------------------------------------------------------------------------------

    def is_stale(self) -> bool:
        """Whether the other side has closed an idle connection, or says something nobody asked for."""
        return self._start != self._end or self._readable(0)

    def abort(self) -> None:
        """Wake whoever is blocked on this connection, with an error; from any thread."""
        with contextlib.suppress(OSError):  # it may be closed already, which is what is wanted
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the descriptors back. Twice is harmless."""
        if self._pipe is not None:
            for end in self._pipe:
                os.close(end)
            self._pipe = None
        self.socket.close()

    def _timed_out(self, doing: str) -> TransportError:
        return TransportError(f"{self.place} stopped {doing}: no byte for {self._timeout:g} s")

    def _short(self, length: int, came: int) -> TransportError:
        return TransportError(f"{self.place} closed the connection after {came} of {length} bytes")

    def _broken(self, when: str, error: OSError) -> TransportError:
        return TransportError(f"the connection to {self.place} broke {when}: {error.strerror or error}")


def write_all(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of `data` into a file at `offset`; SinkError when it cannot be done."""
    view = memoryview(data)
    while view:
        try:
            count = os.pwrite(descriptor, view, offset)
        except OSError as error:
            raise SinkError(f"the target cannot be written: {error.strerror}") from error
        view = view[count:]
        offset += count


def _timeval(seconds: float) -> bytes:
    return struct.pack("ll", int(seconds), int(seconds % 1 * 1_000_000))


def _wide_pipe() -> tuple[int, int]:
    import fcntl

    ends = os.pipe()
    with contextlib.suppress(OSError):  # users have a quota of wide pipes; a narrow one is slower and as right
        fcntl.fcntl(ends[0], _F_SETPIPE_SZ, _PIPE_BYTES)
    return ends
