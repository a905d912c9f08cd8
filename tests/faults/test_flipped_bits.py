"""A flipped bit, wherever it is flipped, is noticed: each of hundreds of times, and with `more` of a thousand.

Every strike of a fault is matched by what became of the blob it struck: it is right in the end, so the wrong one was
noticed and asked for or sent again, or its object failed by name as an integrity failure. Never are there wrong bytes.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import unquote

import pytest

from ds3tool.clock import RealClock
from ds3tool.errors import ChecksumError, DamagedError, Ds3Error
from ds3tool.jobs import stream_mover
from ds3tool.jobs.put import PutRun
from ds3tool.protocol.model import ChecksumType
from ds3tool.simulator import Appliance, ApplianceSettings, Fault, faults
from ds3tool.sources.stream import StreamSource
from tests.faults.campaign import BUCKET, KIB, Outcome, client_of, fetched, settings_of, timed
from tests.faults.test_every_fault import from_tape, get_all, put_tree
from tests.trees import digests

TYPES = [ChecksumType.MD5, pytest.param(ChecksumType.CRC_32C, marks=pytest.mark.more)]


class Strikes(logging.Handler):
    """Keeps what every fault of this process strikes."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._found: list[tuple[Fault, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        assert isinstance(record.args, tuple)
        fault, subject = record.args
        assert isinstance(fault, Fault)
        self._found.append((fault, str(subject)))

    def keys(self, fault: Fault) -> list[str]:
        """Return the key of each blob that a fault of requests has struck, as often as it has."""
        paths = [subject.split(" ")[1] for struck, subject in self._found if struck is fault]
        return [unquote(path.removeprefix(f"/{BUCKET}/")) for path in paths]

    def blobs(self, fault: Fault) -> list[int]:
        """Return the number of each blob that a fault of tapes has struck."""
        return [int(subject.split(" ")[1]) for struck, subject in self._found if struck is fault]


@pytest.fixture
def strikes() -> Iterator[Strikes]:
    handler, logger = Strikes(), logging.getLogger(faults.__name__)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(before)


@pytest.fixture(params=[250, pytest.param(1000, marks=pytest.mark.more)])
def times(request: pytest.FixtureRequest) -> int:
    """How many strikes there are at least."""
    count: int = request.param
    return count


@pytest.fixture
def tree(tmp_path: Path, times: int) -> Path:
    """So many small files and more, and some of many blobs, on either side of the way of small ones."""
    chance, tree = random.Random(11), tmp_path / "tree"
    sizes = [chance.randrange(1, 3000) for _ in range(times * 23 // 20)] + [
        chance.randrange(400 * KIB) for _ in range(20)
    ]
    for number, size in enumerate(sizes):
        path = tree / f"{number % 10}" / f"{number:04} +ü%"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chance.randbytes(size))
    return tree


@contextmanager
def started(checksum_type: ChecksumType) -> Iterator[Appliance]:
    settings = ApplianceSettings(
        blob_size=300 * KIB,
        chunk_size=2048 * KIB,
        retry_after=0,
        persist_delay=0.0,
        hold=0.02,
        seed=5,
        checksum_type=checksum_type,
    )
    with Appliance(settings) as appliance:
        with closing(client_of(appliance)) as client:
            client.create_bucket(BUCKET)
        yield appliance


def failures(outcome: Outcome) -> dict[str, Ds3Error]:
    assert outcome.result is not None
    assert outcome.result.stopped is None, outcome.told
    return {failure.name: failure.error for failure in outcome.result.failures}


@pytest.mark.parametrize("checksum_type", TYPES)
def test_bits_flipped_on_the_way_out(
    tree: Path, tmp_path: Path, strikes: Strikes, times: int, checksum_type: ChecksumType
) -> None:
    """corrupt-get: each blob that came wrong is got again, or its object fails with exit code 5; no file is wrong."""
    with started(checksum_type) as appliance:
        assert put_tree(appliance, tree, 5).exit_code == 0
        appliance.faults.set(Fault.CORRUPT_GET, 0.6)
        outcome = get_all(appliance, tmp_path / "got", 5)
        struck = strikes.keys(Fault.CORRUPT_GET)
        assert appliance.faults.struck(Fault.CORRUPT_GET) == len(struck) >= times
    right, there, failed = digests(tree), digests(tmp_path / "got"), failures(outcome)
    assert all(right[name] == digest for name, digest in there.items())
    assert {os.fsdecode(name) for name in right} == failed.keys() | {os.fsdecode(name) for name in there}
    assert not failed.keys() & {os.fsdecode(name) for name in there}
    assert all(isinstance(error, ChecksumError) for error in failed.values())
    assert failed.keys() <= set(struck)
    assert outcome.exit_code == 5


@pytest.mark.parametrize("checksum_type", TYPES)
def test_bits_flipped_on_the_way_in(
    tree: Path, tmp_path: Path, strikes: Strikes, times: int, checksum_type: ChecksumType
) -> None:
    """corrupt-put: each blob that arrived wrong is sent again, or its object fails with code 5 and is not there."""
    with started(checksum_type) as appliance:
        appliance.faults.set(Fault.CORRUPT_PUT, 0.6)
        outcome = put_tree(appliance, tree, 5)
        appliance.faults.clear()
        struck = strikes.keys(Fault.CORRUPT_PUT)
        assert appliance.faults.struck(Fault.CORRUPT_PUT) == len(struck) >= times
        there = fetched(appliance, tmp_path / "direct")
    right, failed = digests(tree), failures(outcome)
    assert all(right[name] == digest for name, digest in there.items())
    assert {os.fsdecode(name) for name in right} == failed.keys() | {os.fsdecode(name) for name in there}
    assert not failed.keys() & {os.fsdecode(name) for name in there}
    assert all(isinstance(error, ChecksumError) for error in failed.values())
    assert failed.keys() <= set(struck)
    assert outcome.exit_code == 5
    assert outcome.result is not None
    assert outcome.result.objects == len(there)


def test_bits_flipped_of_streams_that_pass(tmp_path: Path, strikes: Strikes, monkeypatch: pytest.MonkeyPatch) -> None:
    """corrupt-put of blobs that go without a digest ahead: the appliance stores them and says so, and the run drops
    them.
    """
    monkeypatch.setattr(stream_mover, "BUFFER_BYTES", KIB)  # no blob can be held until it is sent
    chance = random.Random(3)
    failed = 0
    with started(ChecksumType.CRC_32C) as appliance, closing(client_of(appliance)) as client:
        for number in range(60):
            data = chance.randbytes(chance.randrange(257 * KIB, 700 * KIB))
            appliance.faults.set(Fault.CORRUPT_PUT, 0.3)
            source = StreamSource(io.BytesIO(data), key=f"{number}", size=len(data))
            outcome = timed(PutRun(client, source, BUCKET, settings=settings_of(number), clock=RealClock()))
            appliance.faults.clear()
            struck = f"{number}" in strikes.keys(Fault.CORRUPT_PUT)
            assert outcome.exit_code == (5 if struck else 0), outcome.told
            assert struck == isinstance(failures(outcome).get(f"{number}"), ChecksumError)
            failed += struck
            there = [item.key for item in client.list_objects(BUCKET, prefix=f"{number}") if item.key == f"{number}"]
            assert bool(there) is not struck
            if there:
                folder = tmp_path / f"{number}"
                digest = fetched(appliance, folder)[os.fsencode(f"./{number}")]
                assert digest == hashlib.sha256(data).hexdigest()
                client.delete_object(BUCKET, f"{number}")
    assert failed > 15


@pytest.mark.parametrize(
    "unchecked", [0.5, pytest.param(0.0, marks=pytest.mark.more), pytest.param(1.0, marks=pytest.mark.more)]
)
def test_bits_flipped_on_tape(tree: Path, tmp_path: Path, strikes: Strikes, times: int, unchecked: float) -> None:
    """corrupt-media: whether the appliance finds the damage or serves it unseen, each object fails with exit code 5."""
    with started(ChecksumType.MD5) as appliance:
        appliance.faults.set(Fault.CORRUPT_MEDIA, 1.0)
        assert put_tree(appliance, tree, 5).exit_code == 0
        from_tape(appliance)
        appliance.faults.clear()
        struck = strikes.blobs(Fault.CORRUPT_MEDIA)
        assert appliance.faults.struck(Fault.CORRUPT_MEDIA) == len(struck) == len(set(struck)) >= times
        db = appliance.machine.store.db
        with appliance.machine.store.lock:
            (blobs,) = db.execute("SELECT count(*) FROM blobs WHERE length > 0").fetchone()
        assert blobs == len(struck)
        appliance.faults.set(Fault.UNCHECKED_LOAD, unchecked)
        outcome = get_all(appliance, tmp_path / "got", 5)
        unseen = appliance.faults.struck(Fault.UNCHECKED_LOAD)
    failed = failures(outcome)
    assert failed.keys() == {os.fsdecode(name) for name in digests(tree)}
    assert not [path for path in (tmp_path / "got").rglob("*") if path.is_file()]
    wrong = [error for error in failed.values() if isinstance(error, ChecksumError)]
    found = [error for error in failed.values() if isinstance(error, DamagedError)]
    assert len(wrong) + len(found) == len(failed)
    assert bool(wrong) == bool(unseen) == bool(unchecked)
    assert bool(found) == (unchecked < 1.0)
    assert outcome.exit_code == 5
