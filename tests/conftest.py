"""What every test stands on: an environment that holds nothing of this host."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.far import servers
from tests.far.servers import FarSide


def pytest_itemcollected(item: pytest.Item) -> None:
    """Of a test that is sampled let every n-th case run at once, the same ones each time, and the others as `more`."""
    marker = item.get_closest_marker("sampled")
    if marker is None or item.get_closest_marker("more") is not None:
        return
    function = item.nodeid.partition("[")[0]
    number = _CASES[function]
    _CASES[function] += 1
    every, first = (*marker.args, 0)[:2]
    if number % every != first:
        item.add_marker(pytest.mark.more)


_CASES: Counter[str] = Counter()
_FOREIGN = ("DS3_", "DS3TOOL_", "AWS_")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")


@pytest.fixture(scope="session")
def _homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The paths of home folders that nobody has used, apart: among the tests' own folders they would slow each test."""
    root = tmp_path_factory.mktemp("homes")
    return (root / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def _clean_environment(_homes: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of the person who runs the tests reach them, and nothing of theirs reaches that person's home."""
    for name in os.environ:
        if name.startswith(_FOREIGN) or name.lower() in _PROXIES:
            monkeypatch.delenv(name)
    home = next(_homes)
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def project() -> Path:
    """The project's root folder."""
    return Path(__file__).parent.parent


@pytest.fixture(scope="session")
def seaweed() -> Iterator[FarSide]:
    """A SeaweedFS server, one for all tests of a process; each test takes buckets of its own."""
    with servers.seaweed() as far:
        yield far


@pytest.fixture(scope="session")
def moto() -> Iterator[FarSide]:
    """A moto server, one for all tests of a process; each test takes buckets of its own."""
    with servers.moto() as far:
        yield far
