"""Bytes over time, exactly, however many threads ask."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from ds3tool.errors import UsageError
from ds3tool.transport.bodies import BytesBody, FileRangeBody
from ds3tool.transport.ratelimit import RateLimit
from tests.transport.conftest import Connect, Serve
from tests.transport.exchanges import GET, PUT, Running, content, into_file, pattern, status
from tests.transport.scripted import replies, reply


class Time:
    """A clock for one or many sleepers: each wakes at the time it asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.now = 1000.0

    def monotonic(self) -> float:
        with self._lock:
            return self.now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.now += seconds

    def advance(self, seconds: float) -> None:
        self.sleep(seconds)


def limit_of(rate: int) -> tuple[RateLimit, Time]:
    time = Time()
    return RateLimit(rate, monotonic=time.monotonic, sleep=time.sleep), time


@pytest.mark.parametrize("rate", [1, 1000, 1_000_000, 10_000_000_000])
@pytest.mark.parametrize("seconds", [1, 3600])
def test_bytes_over_time_are_exact(rate: int, seconds: int) -> None:
    """Asking without a pause for as many bytes as fit into some time takes that time."""
    limit, time = limit_of(rate)
    piece = max(1, rate * seconds // 1000)
    for _ in range(rate * seconds // piece):
        limit.take(piece)
    assert time.now - 1000 == pytest.approx(rate * seconds // piece * piece / rate, rel=0.01)


def test_nothing_passes_at_once_at_the_start() -> None:
    """A limit that was made long before its first byte has saved nothing up."""
    limit, time = limit_of(1_000_000)
    time.advance(3600)
    before = time.now
    limit.take(100_000)
    assert time.now - before == pytest.approx(0.1, rel=0.01)


def test_a_taker_that_sleeps_too_long_costs_nothing() -> None:
    """Sleeps that all last 30 ms longer than they should are made up for by the next ones."""
    time = Time()
    slow = RateLimit(1_000_000, monotonic=time.monotonic, sleep=lambda seconds: time.sleep(seconds + 0.03))
    for _ in range(200):
        slow.take(slow.step)
    assert time.now - 1000 == pytest.approx(200 * slow.step / 1_000_000, rel=0.01)


def test_who_cannot_sleep_is_told_its_place() -> None:
    """A place that was reserved is one that nobody else gets, and whoever comes later comes after it."""
    limit, time = limit_of(1000)
    assert limit.reserve(100) == pytest.approx(0.1)
    assert limit.reserve(100) == pytest.approx(0.2)
    limit.take(100)
    assert time.now - 1000 == pytest.approx(0.3)
    assert limit.reserve(100) == pytest.approx(0.1)


def test_a_pause_is_not_made_up_for() -> None:
    """After an idle hour no more than a tenth of a second's bytes pass at once."""
    limit, time = limit_of(1_000_000)
    limit.take(500_000)
    time.advance(3600)
    before = time.now
    for _ in range(100):
        limit.take(10_000)
    assert time.now - before == pytest.approx(0.9, rel=0.01)


def test_threads_share_the_rate() -> None:
    """Eight threads together get what one would get."""
    asked: list[float] = []
    lock = threading.Lock()

    def sleep(seconds: float) -> None:
        with lock:
            asked.append(seconds)

    limit = RateLimit(1_000_000, monotonic=lambda: 0.0, sleep=sleep)

    def work() -> None:
        for _ in range(1000):
            limit.take(1000)

    for worker in [Running(work) for _ in range(8)]:
        worker.result()
    # On a clock that stands still, each taker is told its place in time: one a millisecond, and none twice.
    assert sorted(round(seconds * 1000) for seconds in asked) == list(range(1, 8001))


@pytest.mark.parametrize("rate", [0, -5])
def test_a_rate_of_nothing_is_refused(rate: int) -> None:
    """A limit that lets nothing through would hang for ever."""
    with pytest.raises(UsageError):
        RateLimit(rate)


@pytest.mark.parametrize("rate", [10, 1000, 1_000_000, 10_000_000_000])
def test_a_piece_is_small_against_a_second(rate: int) -> None:
    """Nobody sleeps long for one piece, at any usual rate, so that a stop is soon noticed."""
    limit, _ = limit_of(rate)
    assert limit.step <= max(16, rate // 20)
    assert limit.step >= 16


def test_both_directions_are_held_to_the_rate(serve: Serve, connect: Connect, open_file: Callable[..., int]) -> None:
    """Bytes in memory, of files and of replies all count, and heads are too small to matter."""
    data = pattern(1_000_000)
    server = serve(replies(reply(200), reply(200), reply(200, data), reply(200, data)))
    limit, time = limit_of(100_000)
    transport = connect(server, limit=limit)
    steps: list[Callable[[], object]] = [
        lambda: transport.exchange(PUT, status, body=BytesBody(data)),
        lambda: transport.exchange(PUT, status, body=FileRangeBody(open_file(data), 0, len(data), "file")),
        lambda: transport.exchange(GET, content),
        lambda: transport.exchange(GET, into_file(open_file(name="other"))),
    ]
    for step in steps:
        before = time.now
        step()
        assert time.now - before == pytest.approx(10.0, rel=0.03)
    assert [got.body for got in server.requests[:2]] == [data, data]
