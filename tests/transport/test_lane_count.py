"""How many lanes there are: found by what comes of them, within a few answers of each."""

from __future__ import annotations

import pytest

from ds3tool.transport.lane_count import LaneCount


def grown(count: LaneCount, *, round_trip: float, handling: float, at_once: int = 1000) -> list[int]:
    """Return the counts that come about with a server that serves so many requests `at_once`, each in `round_trip`.

    `handling` is what the client itself has to do for each, in seconds.
    """
    seen = [count.lanes]
    for _ in range(20):
        lanes = seen[-1]
        busy = lanes * handling
        seconds = max(round_trip * max(1.0, lanes / at_once), busy)
        seen.append(count.passed(seconds, blocked=seconds - busy, answers=lanes, full=True))
    return seen


@pytest.mark.parametrize("round_trip", [0.002, 0.05, 1.0])
def test_latency_is_hidden_by_more_lanes_within_a_few_round_trips(round_trip: float) -> None:
    """While nearly all of the time is waiting, the count doubles with each round trip, up to what may be at most."""
    assert grown(LaneCount(16, 64), round_trip=round_trip, handling=1e-6)[:4] == [16, 32, 64, 64]


def test_a_loop_that_has_its_hands_full_gets_no_more() -> None:
    """Where the client is the limit, the count stays as it is."""
    assert set(grown(LaneCount(16, 64), round_trip=0.0005, handling=30e-6)) == {16}


def test_growth_ends_with_what_serves_nobody() -> None:
    """A server that does 17 things at a time is tried with more than these once, and then left in peace."""
    assert grown(LaneCount(16, 256), round_trip=0.002, handling=1e-6, at_once=17)[:4] == [16, 32, 32, 32]
    assert set(grown(LaneCount(16, 256), round_trip=0.002, handling=1e-6, at_once=17)) == {16, 32}


def test_a_number_that_was_asked_for_is_kept() -> None:
    """With as many lanes at first as there may be at most, there are never more nor fewer."""
    assert set(grown(LaneCount(5, 5), round_trip=1.0, handling=1e-6)) == {5}


def test_waiting_without_work_says_nothing() -> None:
    """As long as lanes are free, waiting is no reason for more of them."""
    count = LaneCount(16, 64)
    assert {count.passed(1.0, blocked=1.0, answers=16, full=False) for _ in range(10)} == {16}
