"""What this host has sent vouches for what is fetched, where the appliance says nothing, or the two are compared."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from ds3tool.client import Ds3Client
from ds3tool.errors import ConfigError
from ds3tool.jobs.get import GetRun
from ds3tool.jobs.get_targets import Wanted
from ds3tool.jobs.known_digests import KnownDigests
from ds3tool.jobs.run import RunResult
from ds3tool.jobs.sent_digests import SentDigests
from ds3tool.jobs.verification import Ledger
from ds3tool.protocol.checksums import digest_of, to_base64
from ds3tool.protocol.model import ChecksumType
from ds3tool.sinks.local import LocalSink
from tests.jobs.rooms import BUCKET, MIB, Meddler, Room

SIZES = {"small": 6_000, "one": 600_000, "three": 2 * MIB + 600}


@dataclass
class Kept:
    """A ledger of objects cut into blobs of `blob` bytes, which hold what `data` says."""

    data: dict[str, bytes]
    blob: int = MIB
    asked: int = 0

    def digests_of(self, key: str, version_id: str | None) -> KnownDigests | None:
        assert version_id is not None
        self.asked += 1
        data = self.data.get(key)
        if data is None:
            return None
        starts = range(0, len(data), self.blob)
        digests = {at: to_base64(digest_of(ChecksumType.MD5, data[at : at + self.blob])) for at in starts}
        return KnownDigests(len(data), ChecksumType.MD5, digests)


@pytest.fixture
def data() -> dict[str, bytes]:
    return {name: b"needle" * (size // 6) for name, size in SIZES.items()}


@pytest.fixture
def meddler(room: Room, tmp_path: Path, data: dict[str, bytes]) -> Iterator[Meddler]:
    """Somebody on the way to an appliance that holds the objects."""
    (tmp_path / "tree").mkdir()
    for name, content in data.items():
        (tmp_path / "tree" / name).write_bytes(content)
    assert room.put(tmp_path / "tree").exit_code == 0
    with closing(Meddler(room.appliance)) as meddler:
        yield meddler


@pytest.fixture
def client(room: Room, meddler: Meddler) -> Iterator[Ds3Client]:
    with closing(room.connect(meddler.endpoint)) as client:
        yield client


def silent(reply: bytes) -> bytes:
    """Take every digest away that a reply states, of HEAD and of GET."""
    return re.sub(rb"(?i)\r\n(Content-MD5|ds3-blob-checksum-[a-z0-9-]+):", b"\r\nX-Was:", reply)


def get(room: Room, client: Ds3Client, target: Path, ledger: Ledger | None, *, always: bool = False) -> RunResult:
    sent = None if ledger is None else SentDigests(lambda: ledger, always=always)
    wanted = [Wanted(name, size // 6 * 6) for name, size in SIZES.items()]
    with closing(LocalSink(str(target))) as sink:
        return GetRun(client, sink, BUCKET, wanted, name_of=str, settings=room.settings, sent=sent).run()


def test_where_the_appliance_states_no_digest_the_journal_does(
    room: Room, meddler: Meddler, client: Ds3Client, tmp_path: Path, data: dict[str, bytes]
) -> None:
    """Without it every blob is told as unverified; with it none, and damage is caught."""
    meddler.to_client = silent
    result = get(room, client, tmp_path / "blind", None)
    assert (result.exit_code, result.objects, result.unverified) == (0, 3, 5)
    result = get(room, client, tmp_path / "seeing", Kept(data))
    assert (result.exit_code, result.objects, result.unverified) == (0, 3, 0)
    assert {name: (tmp_path / "seeing" / name).read_bytes() for name in SIZES} == data
    meddler.to_client = lambda reply: silent(reply).replace(b"needle", b"noodle")
    result = get(room, client, tmp_path / "damaged", Kept(data))
    assert (result.exit_code, result.objects) == (5, 0)


def test_digests_of_other_blobs_vouch_for_nothing(
    room: Room, meddler: Meddler, client: Ds3Client, tmp_path: Path, data: dict[str, bytes]
) -> None:
    """Those of an object that was cut otherwise, or that nobody has recorded, leave its blobs unverified."""
    meddler.to_client = silent
    result = get(room, client, tmp_path / "target", Kept({"three": data["three"]}, blob=700_000))
    assert (result.exit_code, result.objects, result.unverified) == (0, 3, 5)


@pytest.mark.parametrize("always", [False, True])
def test_an_appliance_that_states_another_digest_than_was_sent_is_told_by_who_asks(
    room: Room, client: Ds3Client, tmp_path: Path, data: dict[str, bytes], *, always: bool
) -> None:
    """Its bytes agree with its own digest, so only what was recorded can tell; without --verify it is not asked."""
    ledger = Kept({**data, "one": b"noodle" * 100_000, "three": data["three"][:-6] + b"noodle"})
    result = get(room, client, tmp_path / "target", ledger, always=always)
    if not always:
        assert (result.exit_code, result.objects, ledger.asked) == (0, 3, 0)
        return
    assert (result.exit_code, result.objects, ledger.asked) == (5, 1, 3)
    assert {failure.key for failure in result.failures} == {"one", "three"}
    assert all("(journal)" in failure.error.message for failure in result.failures)


def test_journals_that_cannot_be_read_stop_no_restore(
    room: Room, meddler: Meddler, client: Ds3Client, tmp_path: Path
) -> None:
    """They are asked once, and what they could have verified is told as unverified."""
    meddler.to_client = silent
    opened = 0

    def fail() -> Ledger:
        nonlocal opened
        opened += 1
        raise ConfigError("no")

    wanted = [Wanted(name, size // 6 * 6) for name, size in SIZES.items()]
    with closing(LocalSink(str(tmp_path / "target"))) as sink:
        sent = SentDigests(fail, always=True)
        result = GetRun(client, sink, BUCKET, wanted, name_of=str, settings=room.settings, sent=sent).run()
    assert (result.exit_code, result.objects, result.unverified, opened) == (0, 3, 5, 1)
