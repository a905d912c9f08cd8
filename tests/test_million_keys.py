"""Listings go by in little memory, however many keys there are, and end quietly when nobody reads on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ds3tool.client import Ds3Client
from ds3tool.simulator import Appliance, ApplianceSettings
from ds3tool.transport.settings import ConnectionSettings
from tests.test_memory import _MEASURED

BUCKET = "many"
FEW, SOME, MANY = 2_000, 20_000, 1_000_000
# Seconds that a listing of a million keys may take here, and MiB that the process may have had at most.
SECONDS, PEAK_MIB = 600, 90
# What the peak may differ by between 2,000 and 20,000 keys: a page is the unit, and 18 more of them pass.
GROWTH_MIB = 8
LISTINGS = (
    ("ls", "-r"),
    ("ls", "-r", "-o", "json"),
    ("ls", "-r", "-o", "ndjson"),
    ("ls", "-r", "-o", "csv"),
    ("find", "--name", "*7"),
    ("du", "--depth", "2"),
    ("tree",),
)


def key(number: int) -> str:
    """Keys in an order of their own: a thousand prefixes, and a hundred objects in each tenth of them."""
    return f"{number // 1000:04}/{number // 100 % 10}/object {number % 100:03}"


def filled(directory: Path, keys: int) -> Appliance:
    """Return a started appliance with a bucket of so many small objects, written into its books directly."""
    appliance = Appliance(ApplianceSettings(str(directory), persist_delay=0, retry_after=0)).start()
    with Ds3Client(ConnectionSettings(appliance.endpoint, appliance.access_key, appliance.secret_key)) as client:
        client.create_bucket(BUCKET)
    machine = appliance.machine
    number = machine.buckets.named(BUCKET).n
    now = machine.clock.now()
    with machine.store.writing() as db:
        first = machine.store.numbers("objects", keys)
        db.executemany(
            "INSERT INTO objects (n, bucket, name, size, created, latest, etag) VALUES (?, ?, ?, 5, ?, 1, ?)",
            ((first + place, number, key(place), now, "5d41402abc4b2a76b9719d911017c592") for place in range(keys)),
        )
    return appliance


def environ_of(appliance: Appliance) -> dict[str, str]:
    return dict(
        os.environ,
        DS3_ENDPOINT=appliance.endpoint,
        DS3_ACCESS_KEY=appliance.access_key,
        DS3_SECRET_KEY=appliance.secret_key,
    )


def measured(appliance: Appliance, directory: Path, *arguments: str) -> tuple[Path, float, int]:
    """Run a command line; return the file with its stdout, its seconds and its peak of memory in MiB."""
    shown = directory / f"shown-by-{'-'.join(arguments).replace('/', '_')}"
    started = time.monotonic()
    with shown.open("wb") as out:
        done = subprocess.run(
            [sys.executable, "-c", _MEASURED, *arguments, f"ds3://{BUCKET}"],
            env=environ_of(appliance),
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return shown, time.monotonic() - started, int(done.stderr.split()[-1]) // 1024


def names_in(shown: Path) -> int:
    """Count the lines that name an object."""
    with shown.open("rb") as lines:
        return sum(1 for line in lines if re.search(rb"object \d\d\d", line))


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """An appliance with 2,000 keys."""
    with filled(tmp_path_factory.mktemp("few") / "appliance", FEW) as appliance:
        yield appliance


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """An appliance with 20,000 keys."""
    with filled(tmp_path_factory.mktemp("some") / "appliance", SOME) as appliance:
        yield appliance


@pytest.mark.sampled(2)
@pytest.mark.parametrize("arguments", [("ls", "-r"), ("ls", "-r", "-o", "json"), ("du",), ("tree",)], ids=" ".join)
def test_memory_does_not_grow_with_the_keys(
    few: Appliance, some: Appliance, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """Ten times the keys, the same memory; and every one of them is there."""
    _, _, small = measured(few, tmp_path, *arguments)
    shown, _, large = measured(some, tmp_path, *arguments)
    assert large - small < GROWTH_MIB, (small, large)
    wanted = {"find": SOME // 10, "du": 0}.get(arguments[0], SOME)
    assert names_in(shown) == wanted


@pytest.mark.more
@pytest.mark.timeout(7 * SECONDS)
def test_a_million_keys_are_listed_in_flat_memory(tmp_path: Path) -> None:
    """Each way of listing takes minutes at most and less than 90 MiB, and leaves out no key."""
    with filled(tmp_path / "appliance", MANY) as appliance:
        for arguments in LISTINGS:
            shown, seconds, peak = measured(appliance, tmp_path, *arguments)
            print(f"{' '.join(arguments)}: {seconds:.1f} s, {peak} MiB, {shown.stat().st_size:,} bytes")
            assert names_in(shown) == {"find": MANY // 10, "du": 0}.get(arguments[0], MANY)
            assert peak < PEAK_MIB, arguments
            assert seconds < SECONDS, arguments
            shown.unlink()


@pytest.mark.parametrize(
    "arguments", [("ls", "-r"), ("ls", "-r", "-o", "csv"), ("find", "-0"), ("tree",)], ids=" ".join
)
def test_a_reader_that_has_enough_ends_the_listing_quietly(some: Appliance, arguments: tuple[str, ...]) -> None:
    """`| head` gets its lines, and there is no complaint behind them."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ds3tool", *arguments, f"ds3://{BUCKET}"],
        env=environ_of(some),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stderr:
        assert process.stdout.readline() if "-0" not in arguments else process.stdout.read(100)
        process.stdout.close()
        told = process.stderr.read()
    assert process.wait() in (0, 1)
    assert told == b""


@pytest.mark.parametrize("arguments", [("ls", "-r", "-o", "json"), ("find",), ("du",), ("tree",)], ids=" ".join)
def test_ctrl_c_ends_a_listing_with_130(some: Appliance, arguments: tuple[str, ...]) -> None:
    """An interrupt amid the pages is one word, and no traceback."""
    requests = some._next_number  # the handler of every request begins with it
    arrived, go_on = threading.Event(), threading.Event()

    def held() -> int:
        arrived.set()
        go_on.wait(60)
        return requests()

    some._next_number = held  # type: ignore[method-assign]  # the appliance holds its answers for this test
    process = subprocess.Popen(
        [sys.executable, "-m", "ds3tool", *arguments, f"ds3://{BUCKET}"],
        env=environ_of(some),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert arrived.wait(60)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    finally:
        go_on.set()
        some._next_number = requests  # type: ignore[method-assign]  # as it was
        process.kill()
    assert (process.returncode, told) == (130, "ds3tool: interrupted\n")
