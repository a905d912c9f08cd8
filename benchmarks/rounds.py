"""Ways of doing one thing that take turns, round by round, and what their rounds say of one another."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


def in_turns(rounds: int, ways: Mapping[str, Callable[[], T]], *, warm_up: bool = False) -> dict[str, list[T]]:
    """Go each way once a round; return what each has given, by its name, in the order of the rounds.

    Every second round goes backwards, so that none always comes after the same other. `warm_up`: a round before the
    first is not counted.
    """
    found: dict[str, list[T]] = {name: [] for name in ways}
    if warm_up:
        for way in ways.values():
            way()
    for number in range(rounds):
        for name in list(ways)[:: 1 if number % 2 == 0 else -1]:
            found[name].append(ways[name]())
    return found


def median_of(values: Sequence[T], of: Callable[[T], float]) -> float:
    """Return the median of one figure of each round."""
    return statistics.median(map(of, values))


def ratio(ours: Sequence[T], theirs: Sequence[T], of: Callable[[T], float]) -> float:
    """Return the median, over the rounds, of one figure of ours divided by the same of theirs in the same round."""
    return statistics.median(of(mine) / of(other) for mine, other in zip(ours, theirs, strict=True))
