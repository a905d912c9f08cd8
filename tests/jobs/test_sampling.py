"""A sample is drawn by the seed and the keys alone, in one pass, and is what its limits say."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds3tool.errors import UsageError
from ds3tool.jobs.sampling import Sample, new_seed, parse_share
from ds3tool.protocol.model import ListedObject

NOW = datetime(2024, 1, 31, tzinfo=UTC)


def objects(count: int, *, size: int = 10) -> list[ListedObject]:
    return [ListedObject(f"a/{number:06}", size, NOW, None) for number in range(count)]


def drawn(sample: Sample, listed: Sequence[ListedObject]) -> list[str]:
    return [one.key for one in sample.of(listed)]


SIZED = st.lists(st.integers(0, 40), min_size=1, max_size=60).map(
    lambda sizes: [ListedObject(f"{number}", size, NOW, None) for number, size in enumerate(sizes)]
)
LIMITS = st.tuples(
    st.none() | st.floats(0.001, 1), st.none() | st.integers(1, 70), st.none() | st.integers(1, 900), st.integers(0, 99)
)


@given(SIZED, LIMITS, st.randoms(use_true_random=False))
def test_a_sample_is_the_first_in_the_order_of_ranks_that_keeps_to_every_limit(
    listed: list[ListedObject], limits: tuple[float | None, int | None, int | None, int], order: random.Random
) -> None:
    """By the plain definition, which sorts everything; whatever the order of the listing, the same is drawn."""
    share, count, size, seed = limits
    sample = Sample(seed, share, count, size)
    ranked = sorted(listed, key=lambda one: sample.rank(one.key))
    wanted, total = [ranked[0].key], ranked[0].size
    for one in ranked[1:]:
        total += one.size
        if (
            (share is not None and sample.rank(one.key) >= int(share * 2**64))
            or (count is not None and len(wanted) == count)
            or (size is not None and total > size)
        ):
            break
        wanted.append(one.key)
    assert drawn(sample, listed) == [one.key for one in listed if one.key in wanted]
    assert (sample.objects, sample.total) == (len(listed), sum(one.size for one in listed))
    shuffled = list(listed)
    order.shuffle(shuffled)
    assert sorted(drawn(Sample(seed, share, count, size), shuffled)) == sorted(wanted)


def test_another_seed_draws_others_and_a_new_seed_is_another() -> None:
    """Two seeds agree on hardly more than chance would have them agree."""
    listed = objects(20_000)
    one, other = (set(drawn(Sample(seed, 0.05), listed)) for seed in (1, 2))
    assert one == set(drawn(Sample(1, 0.05), listed))
    assert len(one & other) < 150
    assert len({new_seed() for _ in range(50)}) > 45


@pytest.mark.parametrize("seed", range(5))
def test_a_share_is_met_and_spread_over_all_keys(seed: int) -> None:
    """Of 20,000 objects 1 % are some 200, about as many in each quarter of the listing."""
    listed = objects(20_000)
    keys = drawn(Sample(seed, 0.01), listed)
    assert 130 < len(keys) < 270
    quarters = [sum(int(key[2:]) // 5000 == quarter for key in keys) for quarter in range(4)]
    assert min(quarters) > 20, quarters


def test_a_share_is_drawn_while_the_listing_runs() -> None:
    """Nothing is held back until the end, so that the memory does not grow with the listing."""

    def endless() -> Iterator[ListedObject]:
        for number in range(10**9):
            yield ListedObject(f"{number}", 1, NOW, None)

    assert len(list(islice(Sample(7, 0.1).of(endless()), 50))) == 50


def test_one_is_drawn_however_small_the_share_or_large_the_object() -> None:
    """A sample of nothing would be called verified."""
    assert len(drawn(Sample(1, 1e-9), objects(100))) == 1
    assert len(drawn(Sample(1, None, None, 5), objects(100, size=1000))) == 1
    assert len(drawn(Sample(1, 1e-9, 3, 5), objects(100, size=1000))) == 1
    assert drawn(Sample(1, 0.5), []) == drawn(Sample(1, None, 5), []) == []


def test_what_is_not_complete_is_never_drawn() -> None:
    """An object that a job has only declared is not archived, and is counted apart."""
    listed = objects(10)
    listed[3] = replace(listed[3], last_modified=None)
    sample = Sample(1, 1.0)
    assert len(drawn(sample, listed)) == 9
    assert (sample.objects, sample.incomplete) == (9, 1)


@pytest.mark.parametrize(("text", "share"), [("1%", 0.01), ("0.25 %", 0.0025), (" 100%", 1.0), ("33.5%", 0.335)])
def test_shares_are_percents(text: str, share: float) -> None:
    """As people write them."""
    assert parse_share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "1", "0%", "0.0%", "101%", "-1%", "1.%", "nan%", "1e1%", "%", "1%%"])
def test_what_is_no_share_is_refused(text: str) -> None:
    """A bare number could mean a count, or a fraction."""
    with pytest.raises(UsageError, match="not a share"):
        parse_share(text)
