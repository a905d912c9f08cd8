"""One appliance for all tests of a file; each test takes buckets of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.archive import Archive, small_appliance


@pytest.fixture(scope="module")
def archive() -> Iterator[Archive]:
    """A running appliance."""
    with small_appliance() as appliance:
        archive = Archive.of(appliance)
        with archive.client:
            yield archive
