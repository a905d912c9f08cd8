"""What the kernel knows of the connections: how long each was held up, and by which side.

Linux counts, for each connection, the time with bytes under way, and of that what it spent waiting for the other side
to take more (its window was full) or for room in the own buffer. Elsewhere nothing of this is known.
"""

from __future__ import annotations

import array
import fcntl
import os
import socket
import struct
import sys
import termios
import threading
from dataclasses import fields

from ds3tool.lazy_dataclass import dataclass

# Source: struct tcp_info of linux/tcp.h, which grows only at its end.
_SIZE = 256
_RTT = struct.Struct("=68xI76xI")
_RETRANSMITTED = struct.Struct("=100xI")
_SEGMENTS = struct.Struct("=156xI")
_TIMES = struct.Struct("=168xQQQ")
_MICROSECONDS = 1e-6


@dataclass(frozen=True, slots=True)
class WireFigures:
    """Sums over connections, in seconds; segments are those that carried data, ours.

    Of `busy` there were bytes under way to the other side: `receiver_full` of it, that took no more, `buffer_full` the
    own buffer was too small for what is under way. `looks` counts how often any connection was looked at, `unread` how
    often bytes waited there to be read.
    """

    busy: float = 0.0
    receiver_full: float = 0.0
    buffer_full: float = 0.0
    segments: int = 0
    retransmitted: int = 0
    looks: int = 0
    unread: int = 0

    def since(self, before: WireFigures) -> WireFigures:
        """Return what has come since `before`."""
        return WireFigures(
            *(getattr(self, one.name) - getattr(before, one.name) for one in fields(self)),
        )


# Below this much unread, a reader that is woken at every packet looks as if it did not keep up.
_UNREAD_BYTES = 64 * 1024


class Wires:
    """All connections of a run. Sockets stay their owner's; one that is closed counts with what was last seen of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._seen: dict[int, WireFigures] = {}
        self._closed: list[WireFigures] = []
        self._looks = self._unread = 0
        self.most_open = 0
        # The shortest time there and back, in seconds; None while nobody knows.
        self.round_trip: float | None = None

    def watch(self, sock: socket.socket) -> None:
        """Take a connection that was just made."""
        with self._lock:
            self._open.append(sock)

    def look(self) -> WireFigures | None:
        """Look at every connection and return the sums so far; None where the system does not tell."""
        if not sys.platform.startswith("linux"):
            return None
        with self._lock:
            for sock in list(self._open):
                self._look_at(sock)
            self.most_open = max(self.most_open, len(self._open))
            known = [*self._closed, *self._seen.values()]
            return WireFigures(
                sum(one.busy for one in known),
                sum(one.receiver_full for one in known),
                sum(one.buffer_full for one in known),
                sum(one.segments for one in known),
                sum(one.retransmitted for one in known),
                self._looks,
                self._unread,
            )

    def _look_at(self, sock: socket.socket) -> None:
        try:
            told = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SIZE)
            unread = array.array("i", [0])
            fcntl.ioctl(sock.fileno(), termios.FIONREAD, unread)
        except (OSError, ValueError):  # closed by its owner
            self._open.remove(sock)
            last = self._seen.pop(id(sock), None)
            if last is not None:
                self._closed.append(last)
            return
        self._looks += 1
        self._unread += unread[0] >= _UNREAD_BYTES
        figures, round_trip = parse_tcp_info(told)
        self._seen[id(sock)] = figures
        if round_trip is not None:
            self.round_trip = round_trip if self.round_trip is None else min(self.round_trip, round_trip)


def parse_tcp_info(told: bytes) -> tuple[WireFigures, float | None]:
    """Return the figures of one connection, and its shortest round trip in seconds; what a kernel leaves out is 0."""
    told = told.ljust(_SIZE, b"\0")
    rtt, shortest = _RTT.unpack_from(told)
    busy, receiver_full, buffer_full = _TIMES.unpack_from(told)
    (retransmitted,), (segments,) = _RETRANSMITTED.unpack_from(told), _SEGMENTS.unpack_from(told)
    # What was never measured is all ones.
    measured = [one for one in (shortest, rtt) if 0 < one < 0xFFFFFFFF]
    figures = WireFigures(
        busy * _MICROSECONDS,
        receiver_full * _MICROSECONDS,
        buffer_full * _MICROSECONDS,
        segments,
        retransmitted,
    )
    return figures, measured[0] * _MICROSECONDS if measured else None


@dataclass(frozen=True, slots=True)
class ThreadTime:
    """Seconds that one thread was at work, and that it could have been and waited for a core."""

    cpu: float = 0.0
    queued: float = 0.0


def times_of_threads(names: dict[int, str]) -> dict[str, ThreadTime]:
    """Return the times of these threads of ours, by their names; `names` are by the system's numbers.

    Ended ones are left out, and all of them where the system does not tell.
    """
    found = {}
    for number, name in names.items():
        try:
            with open(f"/proc/self/task/{number}/schedstat", encoding="ascii") as file:
                cpu, queued, *_ = file.read().split()
                found[name] = ThreadTime(int(cpu) * 1e-9, int(queued) * 1e-9)
        except (OSError, ValueError):
            continue
    return found


def cpu_of_machine() -> float | None:
    """Return the CPU seconds that all programs of this machine have used since it started; None where nobody tells."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            user, nice, system, _idle, _waiting, *others = map(int, file.readline().split()[1:9])
    except (OSError, ValueError):
        return None
    return (user + nice + system + sum(others)) / os.sysconf("SC_CLK_TCK")  # interrupts, and what the host took away
