"""What this host has sent is found in its journals by bucket, key and version; what is not sure is not vouched for."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ds3tool.jobs.ends import SourceObject
from ds3tool.jobs.integrity import ChecksumChoice
from ds3tool.jobs.journal import Journal, WorkHead
from ds3tool.jobs.known_digests import KnownDigests
from ds3tool.jobs.ledger import BucketLedger
from ds3tool.jobs.plan import PlannedJob
from ds3tool.jobs.put import PutRun
from ds3tool.jobs.recorder import MovedBlobs
from ds3tool.jobs.verification import Ledger
from ds3tool.protocol.checksums import to_base64
from ds3tool.protocol.model import ChecksumType, Job, JobStatus, JobType
from ds3tool.sources.local import LocalSource
from ds3tool.sources.stream import StreamSource
from tests.jobs.rooms import BUCKET, MIB, Room

CRC, MD5 = ChecksumType.CRC_32C, ChecksumType.MD5
VERSIONS = [f"0b9cdd05-6f2a-4b5c-8d00-1122334455{number:02d}" for number in range(10)]

# Owner, offset, length, digest of a blob.
Row = tuple[int, int, int, str | None]


class Archive:
    """Puts of one host, one journal each, a day apart."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0

    def put(
        self,
        objects: dict[str, int],
        rows: Sequence[Row],
        *,
        version: str | None = None,
        kind: ChecksumType = CRC,
        bucket_id: str = "bucket-1",
        type_: JobType = JobType.PUT,
        done: bool = True,
        status: JobStatus = JobStatus.COMPLETED,
    ) -> str:
        """Record a put of objects, sizes by key, of which these blobs are through; return the journal's path."""
        self.count += 1
        begun = datetime(2026, 3, self.count, tzinfo=UTC)
        plan = PlannedJob(JobType.PUT, "archive")
        for key, size in objects.items():
            plan.add_source(SourceObject(key, size, 0, key.encode("utf-8", "surrogatepass")))
        with Journal.create(
            self.folder, WorkHead(f"work-{self.count}", type_, "archive", bucket_id, begun=begun)
        ) as journal:
            journal.planned(plan)
            journal.created(plan, Job(f"job-{self.count}", "archive", type_, JobStatus.IN_PROGRESS))
            for row in rows:
                owner, offset, length, digest = row
                kinds = [None if digest is None else kind]
                versions = [version] if version is not None else []
                journal.moved(f"job-{self.count}", MovedBlobs([owner], [offset], [length], kinds, [digest], versions))
                journal.flush()
            journal.noted(Job(f"job-{self.count}", "archive", type_, status))
            if done:
                journal.finished(plan)
                journal.conclude()
        return journal.path

    def ledger(self, bucket_id: str = "bucket-1") -> BucketLedger:
        return BucketLedger(self.folder, bucket_id)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path)


def test_what_was_sent_is_known_by_its_key(archive: Archive) -> None:
    """Each object has its own size, digest type and the digests of all its blobs, in whatever order they went."""
    archive.put(
        {"a": 10, "b": 30, "c": 0, "\udcff": 1},
        [(1, 20, 10, "b20"), (0, 0, 10, "a0"), (1, 0, 20, "b0"), (2, 0, 0, "c0"), (3, 0, 1, "f0")],
    )
    ledger: Ledger = archive.ledger()
    assert ledger.digests_of("a", None) == KnownDigests(10, CRC, {0: "a0"})
    assert ledger.digests_of("b", None) == KnownDigests(30, CRC, {0: "b0", 20: "b20"})
    assert ledger.digests_of("c", None) == KnownDigests(0, CRC, {0: "c0"})
    assert ledger.digests_of("\udcff", None) == KnownDigests(1, CRC, {0: "f0"})
    assert ledger.digests_of("d", None) is None


def test_a_put_is_known_as_the_appliance_has_it(tmp_path: Path, room: Room) -> None:
    """After a real put of small, large and empty files, each version's digests are those that the appliance states."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for name, size in (("small", 10), ("large", 2 * MIB + 5), ("empty", 0), ("other", 300_000)):
        (tree / name).write_bytes(name.encode() * (size // len(name) + 1))
        os.truncate(tree / name, size)
    bucket_id = room.client.get_bucket(BUCKET).id
    with Journal.create(tmp_path / "state", WorkHead("w", JobType.PUT, BUCKET, bucket_id)) as journal:
        run = PutRun(room.client, LocalSource(str(tree), prefix=""), BUCKET, settings=room.settings, recorder=journal)
        assert run.run().exit_code == 0
        assert not journal.unfinished
        journal.conclude()
    ledger = BucketLedger(tmp_path / "state", bucket_id)
    listed = list(room.client.list_objects(BUCKET))
    assert len(listed) == 4
    for one in listed:
        head = room.client.head_object(BUCKET, one.key)
        assert head.version_id is not None
        sent = ledger.digests_of(one.key, head.version_id)
        assert sent is not None
        assert sent == KnownDigests.of_head(head)
        assert ledger.digests_of(one.key, VERSIONS[1]) is None


def test_the_digest_of_a_whole_stream_is_known_here_alone(room: Room, tmp_path: Path) -> None:
    """Its first blob, with the metadata, has gone before it is known: the journal keeps it."""
    data = os.urandom(3 * MIB)
    bucket_id = room.client.get_bucket(BUCKET).id
    wanted = replace(room.settings, checksum=ChecksumChoice.SHA256)
    with Journal.create(tmp_path / "state", WorkHead("w", JobType.PUT, BUCKET, bucket_id)) as journal:
        source = StreamSource(io.BytesIO(data), key="stream", size=len(data))
        assert PutRun(room.client, source, BUCKET, settings=wanted, recorder=journal).run().exit_code == 0
        journal.conclude()
    known = BucketLedger(tmp_path / "state", bucket_id).digests_of("stream", None)
    assert known is not None
    assert known.stated == {ChecksumType.SHA_256: to_base64(hashlib.sha256(data).digest())}


def test_a_host_that_has_sent_nothing_knows_nothing(tmp_path: Path) -> None:
    """Without a state folder the ledger is empty, and makes none."""
    ledger = BucketLedger(tmp_path / "state", "bucket-1")
    assert ledger.is_empty
    assert ledger.digests_of("a", None) is None
    assert list(tmp_path.iterdir()) == []


def test_work_that_goes_on_vouches_for_what_is_through(archive: Archive) -> None:
    """An unfinished put's objects count once all of their blobs are recorded, and not before."""
    archive.put({"a": 10, "b": 20}, [(0, 0, 10, "a0"), (1, 0, 10, "b0")], done=False)
    ledger = archive.ledger()
    assert ledger.digests_of("a", None) == KnownDigests(10, CRC, {0: "a0"})
    assert ledger.digests_of("b", None) is None


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [(0, 0, 10, "x")],
        [(0, 10, 20, "x")],
        [(0, 0, 10, "x"), (0, 20, 10, "x")],
        [(0, 0, 20, "x"), (0, 10, 20, "x")],
        [(0, 0, 40, "x")],
    ],
)
def test_an_object_with_a_gap_is_not_vouched_for(archive: Archive, rows: list[Row]) -> None:
    """Blobs that do not make up the object, byte for byte, tell nothing of it."""
    archive.put({"a": 30}, rows)
    assert archive.ledger().digests_of("a", None) is None


def test_an_object_sent_without_digests_has_its_size(archive: Archive) -> None:
    """What was put with --checksum none, or partly, is known by how long it was."""
    archive.put({"a": 10, "b": 20}, [(0, 0, 10, None), (1, 0, 10, "x"), (1, 10, 10, None)])
    assert archive.ledger().digests_of("a", None) == KnownDigests(10)
    assert archive.ledger().digests_of("b", None) == KnownDigests(20)


def test_of_a_blob_that_went_twice_the_last_counts(archive: Archive) -> None:
    """A blob sent again has the digest of the second time."""
    archive.put({"a": 10}, [(0, 0, 10, "first"), (0, 0, 10, "again")])
    assert archive.ledger().digests_of("a", None) == KnownDigests(10, CRC, {0: "again"})


def test_what_was_put_last_counts(archive: Archive) -> None:
    """An object that was replaced is known as it was sent the last time, whichever journal was put away first."""
    archive.put({"a": 10}, [(0, 0, 10, "old")], done=False)
    archive.put({"a": 20}, [(0, 0, 20, "new")], kind=MD5)
    archive.put({"b": 20}, [(0, 0, 20, "other")])
    assert archive.ledger().digests_of("a", None) == KnownDigests(20, MD5, {0: "new"})


def test_an_object_that_was_perhaps_replaced_is_not_vouched_for(archive: Archive) -> None:
    """When the last put of a key is not recorded to its end, nobody knows which of the two is there."""
    archive.put({"a": 10}, [(0, 0, 10, "old")])
    archive.put({"a": 10}, [], done=False)
    assert archive.ledger().digests_of("a", None) is None


def test_what_a_cancelled_job_has_sent_counts_for_its_own_versions_alone(archive: Archive) -> None:
    """A cancelled job may have taken back what it sent: only a version that it made is what was sent then."""
    archive.put({"a": 10, "b": 10}, [(0, 0, 10, "a"), (1, 0, 10, "b")])
    archive.put({"a": 10}, [(0, 0, 10, "lost")], version=VERSIONS[1], status=JobStatus.CANCELED)
    archive.put({"b": 10}, [(0, 0, 10, "lost")], status=JobStatus.CANCELED)
    ledger = archive.ledger()
    assert ledger.digests_of("a", VERSIONS[1]) == KnownDigests(10, CRC, {0: "lost"})
    assert ledger.digests_of("a", None) is None
    assert ledger.digests_of("b", None) is None
    assert ledger.digests_of("b", VERSIONS[2]) is None


def test_versions_are_told_apart(archive: Archive) -> None:
    """Each version has the digests of the put that made it; one that nobody here has made is not known."""
    archive.put({"a": 10}, [(0, 0, 10, "one")], version=VERSIONS[1])
    archive.put({"a": 10}, [(0, 0, 10, "two")], version=VERSIONS[2])
    archive.put({"a": 10}, [(0, 0, 10, "three")], version="no uuid")
    ledger = archive.ledger()
    assert ledger.digests_of("a", VERSIONS[1]) == KnownDigests(10, CRC, {0: "one"})
    assert ledger.digests_of("a", VERSIONS[2]) == KnownDigests(10, CRC, {0: "two"})
    assert ledger.digests_of("a", "no uuid") == KnownDigests(10, CRC, {0: "three"})
    assert ledger.digests_of("a", None) == KnownDigests(10, CRC, {0: "three"})
    assert ledger.digests_of("a", VERSIONS[3]) is None


def test_an_object_that_another_has_replaced_is_not_held_against_ours(archive: Archive) -> None:
    """What is in the bucket under another version than the last we made is somebody else's."""
    archive.put({"a": 10}, [(0, 0, 10, "ours")])
    archive.put({"a": 10}, [(0, 0, 10, "ours too")], version=VERSIONS[1])
    assert archive.ledger().digests_of("a", VERSIONS[2]) is None


def test_where_no_version_was_told_the_last_put_is_taken(archive: Archive) -> None:
    """An appliance that did not say which version it made leaves its last put in force, and none before it."""
    archive.put({"a": 10}, [(0, 0, 10, "old")])
    archive.put({"a": 10}, [(0, 0, 10, "new")])
    assert archive.ledger().digests_of("a", VERSIONS[1]) == KnownDigests(10, CRC, {0: "new"})


def test_only_puts_into_the_very_bucket_vouch(archive: Archive) -> None:
    """Gets, and puts into a bucket of the same name with another id, tell nothing."""
    archive.put({"a": 10}, [(0, 0, 10, "x")], bucket_id="bucket-2")
    archive.put({"b": 10}, [(0, 0, 10, "x")], type_=JobType.GET, done=False)
    ledger = archive.ledger()
    assert ledger.is_empty
    assert ledger.digests_of("a", None) is None
    assert ledger.digests_of("b", None) is None
    assert archive.ledger("bucket-2").digests_of("a", None) == KnownDigests(10, CRC, {0: "x"})


def test_a_plan_without_a_job_has_replaced_nothing(archive: Archive, tmp_path: Path) -> None:
    """What was only planned leaves what was put before in force."""
    archive.put({"a": 10}, [(0, 0, 10, "x")])
    plan = PlannedJob(JobType.PUT, "archive")
    plan.add_source(SourceObject("a", 20, 0, b"a"))
    with Journal.create(tmp_path, WorkHead("work-9", JobType.PUT, "archive", "bucket-1")) as journal:
        journal.planned(plan)
    assert archive.ledger().digests_of("a", None) == KnownDigests(10, CRC, {0: "x"})


def test_a_journal_put_away_meanwhile_is_found(archive: Archive) -> None:
    """Work that ends while somebody verifies goes on vouching."""
    path = archive.put({"a": 10}, [(0, 0, 10, "x")], done=False)
    ledger = archive.ledger()
    with Journal.open(path) as journal:
        journal.conclude()
    assert not os.path.exists(path)
    assert ledger.digests_of("a", None) == KnownDigests(10, CRC, {0: "x"})
    assert ledger.troubles == []


def test_a_damaged_journal_is_told_and_the_others_count(archive: Archive) -> None:
    """What cannot be read is in `troubles`, by name; nothing is raised."""
    archive.put({"a": 10}, [(0, 0, 10, "x")])
    path = Path(archive.put({"b": 10}, [(0, 0, 10, "x")], done=False))
    path.write_bytes(b"no database" * 1000)
    (path.parent / "empty.db").write_bytes(b"")
    ledger = archive.ledger()
    assert ledger.digests_of("a", None) == KnownDigests(10, CRC, {0: "x"})
    assert ledger.digests_of("b", None) is None
    (trouble,) = ledger.troubles
    assert str(path) in trouble.message


def test_many_objects_are_found_whatever_their_place(archive: Archive) -> None:
    """In a job of more blocks than are held at once, every object is found, and others are not."""
    count = 70_000
    keys = {f"key {number}": number % 7 for number in range(count)}
    plan = PlannedJob(JobType.PUT, "archive")
    for key, size in keys.items():
        plan.add_source(SourceObject(key, size, 0, b""))
    with Journal.create(archive.folder, WorkHead("w", JobType.PUT, "archive", "bucket-1")) as journal:
        journal.planned(plan)
        journal.created(plan, Job("job", "archive", JobType.PUT, JobStatus.IN_PROGRESS))
        for first in range(0, count, 5000):
            owners = range(count - 5000 - first, count - first)
            digests = [f"{owner:08d}" for owner in owners]
            sizes = [owner % 7 for owner in owners]
            journal.moved("job", MovedBlobs(owners, [0] * 5000, sizes, [CRC] * 5000, digests))
            journal.flush()
    ledger = archive.ledger()
    for number in range(0, count, 997):
        assert ledger.digests_of(f"key {number}", None) == KnownDigests(number % 7, CRC, {0: f"{number:08d}"})
        assert ledger.digests_of(f"key {count + number}", None) is None


@settings(max_examples=15, deadline=None)
@given(
    puts=st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 3), min_size=1),
            st.sampled_from([None, *VERSIONS[:3]]),
            st.booleans(),
        ),
        max_size=4,
    )
)
def test_the_ledger_is_what_the_puts_were(
    tmp_path_factory: pytest.TempPathFactory,
    puts: list[tuple[dict[str, int], str | None, bool]],
) -> None:
    """Asked without a version, each key has what its last put recorded, or nothing when that is not whole."""
    archive = Archive(tmp_path_factory.mktemp("archive"))
    expected: dict[str, KnownDigests | None] = {}
    for number, (objects, version, whole) in enumerate(puts):
        rows = [(owner, 0, size, f"{number}{key}") for owner, (key, size) in enumerate(objects.items())]
        archive.put(objects, rows if whole else rows[1:], version=version, done=whole)
        for key, size in objects.items():
            expected[key] = KnownDigests(size, CRC, {0: f"{number}{key}"})
        if not whole:
            expected[next(iter(objects))] = None
    ledger = archive.ledger()
    assert {key: ledger.digests_of(key, None) for key in "abcdef"} == {key: expected.get(key) for key in "abcdef"}


def test_keys_of_one_hash_are_told_apart(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two keys that cannot be told apart by their hashes have each their own digests."""
    same: Callable[[str, int], int] = lambda key, bits: 5 << bits  # noqa: E731
    monkeypatch.setattr("ds3tool.jobs.ledger._hashed", same)
    archive.put({"a": 1, "b": 1, "c": 1}, [(number, 0, 1, f"{number}") for number in range(3)])
    ledger = archive.ledger()
    for number, key in enumerate("abc"):
        assert ledger.digests_of(key, None) == KnownDigests(1, CRC, {0: f"{number}"})
    assert ledger.digests_of("d", None) is None
