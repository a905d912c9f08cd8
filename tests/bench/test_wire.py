"""What the kernel tells of connections is read as it stands, and kept of those that are closed."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from ds3tool.bench.wire import WireFigures, Wires, cpu_of_machine, parse_tcp_info, times_of_threads


def told(*, rtt: int = 0, shortest: int = 0, length: int = 232) -> bytes:
    """What a kernel says of a connection; its structure is known by the offsets of its parts."""
    info = bytearray(length)
    for offset, shape, value in [
        (68, "=I", rtt),
        (100, "=I", 7),
        (148, "=I", shortest),
        (156, "=I", 1000),
        (168, "=Q", 3_000_000),
        (176, "=Q", 2_000_000),
        (184, "=Q", 500_000),
    ]:
        if offset + struct.calcsize(shape) <= length:
            struct.pack_into(shape, info, offset, value)
    return bytes(info)


def test_the_times_of_a_connection_are_read() -> None:
    """Microseconds become seconds; the shortest round trip is the one, where one was measured."""
    figures, round_trip = parse_tcp_info(told(rtt=900, shortest=250))
    assert figures == WireFigures(3.0, 2.0, 0.5, segments=1000, retransmitted=7)
    assert round_trip == pytest.approx(0.00025)
    assert parse_tcp_info(told(rtt=900, shortest=0xFFFFFFFF))[1] == pytest.approx(0.0009)
    assert parse_tcp_info(told())[1] is None


def test_an_older_kernel_tells_less() -> None:
    """What its structure has no room for is zero."""
    figures, round_trip = parse_tcp_info(told(rtt=900, length=104))
    assert figures == WireFigures(retransmitted=7)
    assert round_trip == pytest.approx(0.0009)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ours = socket.create_connection(listening.getsockname())
        theirs, _ = listening.accept()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_a_closed_connection_counts_with_what_was_seen_of_it(pair: tuple[socket.socket, socket.socket]) -> None:
    """Sums never fall, and bytes that nobody reads are seen as such."""
    ours, theirs = pair
    wires = Wires()
    wires.watch(ours)
    theirs.sendall(bytes(100_000))
    ours.recv(1)
    ours.sendall(bytes(5000))
    assert theirs.recv(5000, socket.MSG_WAITALL) == bytes(5000)
    seen = wires.look()
    assert seen is not None
    assert seen.segments >= 1
    assert (seen.looks, wires.most_open) == (1, 1)
    assert wires.round_trip is not None
    ours.close()
    again = wires.look()
    assert again is not None
    assert (again.segments, again.busy, again.looks) == (seen.segments, seen.busy, 1)
    assert again.since(seen) == WireFigures()


def test_threads_and_the_machine_are_told_apart() -> None:
    """This thread's time is its own and part of the machine's; one that is not there is left out."""
    machine = cpu_of_machine()
    found = times_of_threads({threading.get_native_id(): "mine", 0: "over"})
    assert list(found) == ["mine"]
    assert found["mine"].cpu > 0
    assert found["mine"].queued >= 0
    assert machine is not None
    assert machine > found["mine"].cpu
