"""Appliances for clients that nobody here wrote: one for a file of tests, which make buckets of their own."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import pytest

from ds3tool.simulator import Appliance, ApplianceSettings

_numbers = itertools.count(1)
# As the suites have them: four books of hundreds of kilobytes, here a hundredth of that, and one of several megabytes.
BOOKS = {
    name: random.Random(name).randbytes(size)
    for name, size in {
        "beowulf.txt": 294_059,
        "sherlock_holmes.txt": 5_816,
        "tale_of_two_cities.txt": 7_769,
        "ulysses.txt": 15_408,
    }.items()
}
BIG_BOOK = random.Random("lesmis.txt").randbytes(3_253_886)


@pytest.fixture(scope="module")
def appliance() -> Iterator[Appliance]:
    """An appliance with every default but quick waits."""
    with Appliance(ApplianceSettings(retry_after=1, hold=0.0, persist_delay=0.0, seed=11)) as started:
        yield started


@pytest.fixture
def bucket_name() -> str:
    """A name that no other test has."""
    return f"bucket-{next(_numbers)}"
