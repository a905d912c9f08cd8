"""Whatever the appliance does: trees there and back, though it is as awkward as the protocol lets it be."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ds3tool.client import Ds3Client
from ds3tool.errors import (
    AccessDeniedError,
    ApplianceError,
    ConflictError,
    JobError,
    JobLostError,
    NotFoundError,
    ProtocolError,
)
from ds3tool.jobs.ends import SourceObject
from ds3tool.jobs.put import PutRun
from ds3tool.protocol.model import Job, JobDetails, JobStatus, JobType, ObjectToGet, ObjectToPut, Versioning
from ds3tool.simulator import Appliance, ApplianceSettings, Quirk, SystemClock
from ds3tool.simulator.clock import ManualClock as AppliancesClock
from ds3tool.simulator.jobs.transfers import Transfers
from ds3tool.simulator.quirks import RELEASES
from ds3tool.sources.local import LocalSource
from ds3tool.transport.bodies import BytesBody
from ds3tool.transport.settings import ConnectionSettings
from tests.jobs.conftest import SMALL
from tests.jobs.doubles import SwiftClock
from tests.jobs.rooms import BUCKET, MIB, HookedSource, Meddler, Room
from tests.jobs.test_runs_that_fail import LostReply

# Some that cannot be met by going on are in tests of their own.
_OTHERS = {
    *(Quirk.MANAGEMENT_PORT, Quirk.SHARED_JOBS, Quirk.SLOW_TAPES, Quirk.NO_JOB_FOR_NOTHING, Quirk.FORGETS_JOBS),
}
EVERY_QUIRK = [pytest.param(frozenset({quirk}), id=quirk.value) for quirk in Quirk if quirk not in _OTHERS]
EVERY_RELEASE = [pytest.param(quirks, id=name) for name, quirks in RELEASES.items()]


def make_tree(root: Path) -> None:
    """Make a tree of one object of many blobs, some small ones, empty ones, an empty folder and odd names."""
    (root / "sub" / "empty folder").mkdir(parents=True)
    (root / "large").write_bytes(bytes(range(256)) * (9 * MIB // 256) + b"end")
    for number in range(40):
        (root / "sub" / f"small {number:02d}").write_bytes(bytes([number]) * (number * 37))
    for name in ("a+b;c%20d", "n\u0303 and \u00f1", "empty", "100%", "q?x=1&y=2", "<&>'\""):
        (root / name).write_bytes(name.encode() if name != "empty" else b"")


def contents(root: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None
        for path in root.rglob("*")
        if path.is_file() or not any(path.iterdir())
    }


@pytest.fixture
def blobs_received(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, int]]:
    """Count how often each blob was sent with a job, by key and offset."""
    received: Counter[tuple[str, int]] = Counter()
    put = Transfers.put

    def counting(self: Transfers, upload: object, job_id: str | None, offset: int) -> object:
        if getattr(upload, "client", "") != "itself":
            received[getattr(upload, "name", ""), offset] += 1
        return put(self, upload, job_id, offset)  # type: ignore[arg-type]  # handed through

    monkeypatch.setattr(Transfers, "put", counting)
    return received


@pytest.mark.sampled(2)
@pytest.mark.parametrize("quirks", [*EVERY_QUIRK, *EVERY_RELEASE])
def test_tree_goes_there_and_back_whatever_the_quirk(
    room_with: Callable[..., Room], tmp_path: Path, quirks: frozenset[Quirk], blobs_received: Counter[tuple[str, int]]
) -> None:
    """Under each quirk and each release all is put, no blob is sent twice, and all comes back byte for byte."""
    room = room_with(quirks=quirks)
    tree, restored = tmp_path / "tree", tmp_path / "restored"
    make_tree(tree)
    put = room.put(tree)
    assert (put.failures, put.stopped, put.exit_code) == ([], None, 0)
    assert set(blobs_received.values()) == {1}
    room.until_idle()
    room.client.reclaim_cache()
    got = room.get(restored)
    assert (got.failures, got.stopped, got.exit_code) == ([], None, 0)
    assert contents(restored) == contents(tree)
    again = room.put(tree)
    assert (again.objects, again.failures) == (0, [])


@pytest.mark.parametrize("seed", range(4))
def test_tree_goes_there_and_back_under_all_quirks_at_once(
    room_with: Callable[..., Room], tmp_path: Path, seed: int, blobs_received: Counter[tuple[str, int]]
) -> None:
    """In a cache a third of the job's size, with chunks and blobs in any order: all arrives, nothing is sent twice."""
    contradictory = {Quirk.DONE_AT_CREATION, Quirk.POLL_ENDS_IN_410, Quirk.OFFERS_AGAIN}
    quirks = frozenset(Quirk) - _OTHERS - (contradictory if seed % 2 else {Quirk.POLL_ENDS_IN_404})
    room = room_with(quirks=quirks, seed=seed, shuffle=True, chunk_size=MIB, cache_size=4 * MIB, drives=1)
    tree, restored = tmp_path / "tree", tmp_path / "restored"
    make_tree(tree)
    put = room.put(tree)
    assert (put.failures, put.stopped) == ([], None)
    assert set(blobs_received.values()) == {1}
    room.until_idle()
    got = room.get(restored)
    assert (got.failures, got.stopped) == ([], None)
    assert contents(restored) == contents(tree)


def test_hours_of_empty_answers_are_waited_for(room_with: Callable[..., Room], tmp_path: Path) -> None:
    """A hundred answers without chunks, five minutes apart, end neither a put nor a get; nobody asks more often."""
    room = room_with(quirks=frozenset({Quirk.SLOW_TAPES}))
    tree, restored = tmp_path / "tree", tmp_path / "restored"
    make_tree(tree)
    clock = SwiftClock()
    began = clock.monotonic()
    run = room.put_run(tree)
    run.clock = clock
    put = run.run()
    assert (put.failures, put.stopped) == ([], None)
    assert clock.monotonic() - began >= 100 * 300
    room.until_idle()
    clock = SwiftClock()
    began = clock.monotonic()
    got = room.get(restored, prepare=lambda run: setattr(run, "clock", clock))
    assert (got.failures, got.stopped) == ([], None)
    assert clock.monotonic() - began >= 100 * 300
    assert contents(restored) == contents(tree)


# -- jobs without work ------------------------------------------------------------------------------------------------

_DONE = frozenset({Quirk.EMPTY_AT_CREATION, Quirk.DONE_AT_CREATION})


@pytest.mark.parametrize(
    "quirks",
    [
        pytest.param(frozenset(), id="blobs of length 0"),
        pytest.param(frozenset({Quirk.EMPTY_AT_CREATION}), id="a job without chunks"),
        pytest.param(_DONE, id="a job that is done"),
        pytest.param(_DONE | {Quirk.FORGETS_JOBS}, id="a job that is gone"),
        pytest.param(_DONE | {Quirk.POLL_ENDS_IN_410}, id="a job that is done, of which nothing can be asked"),
        *EVERY_RELEASE,
    ],
)
def test_job_of_empty_objects_alone(room_with: Callable[..., Room], tmp_path: Path, quirks: frozenset[Quirk]) -> None:
    """Empty files and folders arrive and come back, whether the job lists them, is done already or is gone."""
    room = room_with(quirks=quirks)
    tree, restored = tmp_path / "tree", tmp_path / "restored"
    (tree / "folder" / "inner").mkdir(parents=True)
    (tree / "empty").touch()
    put = room.put(tree)
    assert (put.objects, put.failures, put.stopped, put.exit_code) == (2, [], None, 0)
    assert room.listed() == {"empty", "folder/inner/"}
    room.until_idle()
    room.client.reclaim_cache()
    got = room.get(restored)
    assert (got.objects, got.failures, got.stopped, got.exit_code) == (2, [], None, 0)
    assert contents(restored) == contents(tree) == {"empty": b"", "folder/inner": None}


@pytest.mark.parametrize("quirks", [set(), {Quirk.FORGETS_JOBS}], ids=["told", "forgotten"])
def test_job_of_empty_objects_that_somebody_cancels(
    room_with: Callable[..., Room], tmp_path: Path, quirks: set[Quirk]
) -> None:
    """That nothing had to be sent does not make what went with the job a success."""
    room = room_with(quirks=frozenset({Quirk.EMPTY_AT_CREATION, *quirks}), persist_delay=3600.0)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "empty").touch()

    def cancel(item: SourceObject) -> None:
        room.client.cancel_job(room.job.id)
        if room.listed():
            room.client.delete_object(BUCKET, item.key)

    put = room.put(HookedSource(tmp_path / "tree", before_open=cancel))
    assert room.listed() == set()
    assert (put.exit_code, type(put.stopped)) == (12, JobLostError)


def test_appliance_that_makes_no_job_is_believed_about_nothing(room_with: Callable[..., Room], tmp_path: Path) -> None:
    """204 instead of a job ends the run with an error that says so: what nobody confirmed does not count as put."""
    # Done at creation as well: a job that the appliance still works on is found, and goes on.
    quirks = frozenset({Quirk.EMPTY_AT_CREATION, Quirk.DONE_AT_CREATION, Quirk.NO_JOB_FOR_NOTHING})
    room = room_with(quirks=quirks)
    (tmp_path / "empty").touch()
    run = room.put_run(tmp_path / "empty", prefix="empty")
    run.clock = SwiftClock()
    with pytest.raises(ProtocolError, match="made no job"):
        run.run()


class LateClient(Ds3Client):
    """A client that asks for a job only when it has ended."""

    room: Room

    def get_job(self, job_id: str) -> JobDetails:
        self.room.until_idle()
        return super().get_job(job_id)

    def get_job_head(self, job_id: str) -> Job:
        self.room.until_idle()
        return super().get_job_head(job_id)


@pytest.fixture
def late_client(room_with: Callable[..., Room]) -> Iterator[LateClient]:
    room = room_with(quirks=frozenset({Quirk.FORGETS_JOBS}))
    appliance = room.appliance
    settings = ConnectionSettings(appliance.endpoint, appliance.access_key, appliance.secret_key)
    with LateClient(settings) as client:
        client.room = room
        yield client


def test_job_that_is_forgotten_when_it_has_ended_is_no_failure(late_client: LateClient, tmp_path: Path) -> None:
    """404 on a job of which all was sent: the objects are there, whole, so they count as put, and come back."""
    room = late_client.room
    tree, restored = tmp_path / "tree", tmp_path / "restored"
    make_tree(tree)
    put = room.put(tree, client=late_client)
    assert (put.failures, put.stopped, put.exit_code) == ([], None, 0)
    got = room.get(restored, client=late_client)
    assert (got.failures, got.stopped, got.exit_code) == ([], None, 0)
    assert contents(restored) == contents(tree)


def test_job_that_is_gone_with_its_objects_is_a_failure(late_client: LateClient, tmp_path: Path) -> None:
    """404 on a job of which all was sent, and an object of it is not there: the put says that it is lost."""
    room = late_client.room
    (tmp_path / "file").write_bytes(b"lost")

    def losing(job_id: str) -> Job:
        room.until_idle()
        room.client.delete_object(BUCKET, "file")
        return Ds3Client.get_job_head(late_client, job_id)

    late_client.get_job_head = losing  # type: ignore[method-assign]  # once more than the class above does
    put = room.put(tmp_path / "file", prefix="file", client=late_client)
    assert isinstance(put.stopped, JobLostError)
    assert put.exit_code == 12


# -- jobs of others ---------------------------------------------------------------------------------------------------


def test_answer_with_the_job_of_another_client_is_refused(room_with: Callable[..., Room], tmp_path: Path) -> None:
    """A put that is answered with somebody else's job says whose, moves nothing, and leaves that job as it is."""
    room = room_with(quirks=frozenset({Quirk.SHARED_JOBS}))
    theirs = room.client.create_put_job(BUCKET, [ObjectToPut("theirs", 10)], name="nightly")
    (tmp_path / "mine").write_bytes(b"mine")
    run = room.put_run(tmp_path / "mine", prefix="mine")
    run.clock = SwiftClock()
    with pytest.raises(ProtocolError, match=f"{theirs.job.id}, 'nightly'"):
        run.run()
    still = room.client.get_job(theirs.job.id)
    assert still.job.status == JobStatus.IN_PROGRESS
    assert ("theirs", False) in {(blob.key, blob.in_cache) for chunk in still.chunks for blob in chunk.blobs}


def test_open_aggregating_job_of_another_client_is_not_joined(room: Room, tmp_path: Path) -> None:
    """Beside an aggregating job of the same bucket, user and priority, a put and a get make jobs of their own."""
    theirs = room.client.create_put_job(BUCKET, [ObjectToPut("theirs", 10)], name="nightly", aggregating=True)
    (tmp_path / "mine").write_bytes(b"mine")
    put = room.put(tmp_path / "mine", prefix="m/mine")
    assert (put.objects, put.failures, put.stopped) == (1, [], None)
    assert [outcome.job.id for outcome in put.jobs] != [theirs.job.id]
    reader = room.client.create_get_job(BUCKET, [ObjectToGet("m/mine")], aggregating=True)
    got = room.get(tmp_path / "restored", prefix="m/")
    assert got.objects == 1
    assert [outcome.job.id for outcome in got.jobs] != [reader.job.id]


class HelpedClient(Ds3Client):
    """A client whose put jobs another client has begun to send, when their creation is answered."""

    sent: set[tuple[str, int]]

    def create_put_job(self, bucket: str, objects: Sequence[ObjectToPut], **options: Any) -> JobDetails:  # noqa: ANN401
        details = super().create_put_job(bucket, objects, **options)
        self.sent = set()
        for blob in [blob for chunk in details.chunks for blob in chunk.blobs][::2]:
            data = self.contents[blob.key][blob.offset : blob.offset + blob.length]
            self.put_object(BUCKET, blob.key, BytesBody(data), job_id=details.job.id, offset=blob.offset)
            self.sent.add((blob.key, blob.offset))
        return self.get_job(details.job.id) if self.tells else details

    contents: dict[str, bytes]
    tells: bool


@pytest.mark.parametrize("tells", [True, False])
def test_blobs_that_another_client_has_sent_are_not_damaged(
    room_with: Callable[..., Room], tmp_path: Path, tells: bool, blobs_received: Counter[tuple[str, int]]
) -> None:
    """Blobs that are in the cache when the job is listed are not sent again; all of it is there in the end."""
    room = room_with(chunk_size=2 * MIB)
    tree, restored = tmp_path / "tree", tmp_path / "restored"
    tree.mkdir()
    for number in range(6):
        (tree / f"{number}").write_bytes(bytes([number]) * (MIB + 5))
    client = HelpedClient(
        ConnectionSettings(room.appliance.endpoint, room.appliance.access_key, room.appliance.secret_key)
    )
    client.contents = {path.name: path.read_bytes() for path in tree.iterdir()}
    client.tells = tells
    with client:
        put = room.put(tree, client=client)
    assert (put.failures, put.stopped) == ([], None)
    if tells:
        assert {key for key, times in blobs_received.items() if times > 1} == set()
    room.get(restored)
    assert contents(restored) == contents(tree)


# -- lag --------------------------------------------------------------------------------------------------------------


class TwinClock(SwiftClock):
    """A client's clock that takes the appliance's with it."""

    def __init__(self, other: AppliancesClock) -> None:
        super().__init__()
        self.other = other

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        self.other.advance(seconds)


@pytest.mark.parametrize("size", [100, 3 * MIB])
def test_creation_without_an_answer_is_found_though_lists_are_late(tmp_path: Path, size: int) -> None:
    """A job that was made, but not answered, is looked for until the lists have caught up: it is the only one."""
    clock = AppliancesClock(time.time())
    (tmp_path / "file").write_bytes(bytes(size))
    with ExitStack() as stack:
        settings = replace(SMALL, quirks=frozenset({Quirk.LATE_NUMBERS}))
        room = Room(stack.enter_context(Appliance(settings, clock=clock)))
        stack.callback(room.client.close)
        meddler = Meddler(room.appliance)
        stack.callback(meddler.close)
        LostReply(meddler, b"operation=start_bulk_put")
        client = stack.enter_context(room.connect(meddler.endpoint))
        run = room.put_run(tmp_path / "file", prefix="file", client=client)
        run.clock = TwinClock(clock)
        put = run.run()
        assert (put.objects, put.failures, put.stopped, len(put.jobs)) == (1, [], None, 1)
        room.until_idle()


class LateListClient(Ds3Client):
    """Shows a job that is there from the beginning only when the list has been looked at nine times."""

    looked = 0
    late: frozenset[str] = frozenset()

    def list_jobs(self, *, bucket: str | None = None) -> tuple[Job, ...]:
        self.looked += 1
        listed = super().list_jobs(bucket=bucket)
        if self.looked == 1:
            self.late = frozenset(job.id for job in listed if job.type == JobType.GET)
        return tuple(job for job in listed if self.looked > 9 or job.id not in self.late)


def test_creation_that_was_sent_again_leaves_no_twin_though_lists_are_late(room: Room, tmp_path: Path) -> None:
    """A job that is listed only after a second one was made in its place is given up; one is left, and it is whole."""
    (tmp_path / "file").write_bytes(bytes(100))
    room.put(tmp_path / "file", prefix="file")
    with ExitStack() as stack:
        meddler = Meddler(room.appliance)
        stack.callback(meddler.close)
        LostReply(meddler, b"operation=start_bulk_get")
        settings = ConnectionSettings(meddler.endpoint, room.appliance.access_key, room.appliance.secret_key)
        client = stack.enter_context(LateListClient(settings))
        got = room.get(tmp_path / "out", client=client, prepare=lambda run: setattr(run, "clock", SwiftClock()))
    assert (got.objects, got.failures, got.stopped) == (1, [], None)
    assert {job.id for job in room.client.list_canceled_jobs(bucket=BUCKET)} == client.late
    assert len(client.late) == 1
    assert [outcome.objects for outcome in got.jobs if outcome.job.id not in client.late] == [1]
    assert [job for job in room.client.list_active_jobs(bucket=BUCKET) if job.type == JobType.GET] == []


# -- versions ---------------------------------------------------------------------------------------------------------


def test_hidden_objects_are_not_got_and_can_be_put_again(room_with: Callable[..., Room], tmp_path: Path) -> None:
    """Deleted where versions are kept: no version is the latest, a get finds nothing, and the name is free."""
    room = room_with(versioning=Versioning.KEEP_MULTIPLE_VERSIONS)
    tree = tmp_path / "tree"
    make_tree(tree)
    room.put(tree)
    before = {listed.key: listed.version_id for listed in room.client.list_objects(BUCKET)}
    for result in room.client.delete_objects(BUCKET, list(before)):
        assert not result.failures
    hidden = list(room.client.list_objects(BUCKET, versions=True))
    assert {listed.is_latest for listed in hidden} == {False}
    assert room.get(tmp_path / "nothing").objects == 0
    put = room.put(tree)
    assert (put.objects, put.failures) == (len(before), [])
    room.get(tmp_path / "restored")
    assert contents(tmp_path / "restored") == contents(tree)
    versions = [listed for listed in room.client.list_objects(BUCKET, versions=True) if listed.key == "large"]
    assert sorted((listed.version_id == before["large"], listed.is_latest) for listed in versions) == [
        (False, True),
        (True, False),
    ]


def test_versions_come_and_go_by_id(room_with: Callable[..., Room], tmp_path: Path) -> None:
    """HEAD, a get job and DELETE by version id mean that version; the others stay as they are."""
    room = room_with(versioning=Versioning.KEEP_MULTIPLE_VERSIONS)
    for text in (b"one", b"three"):
        room.client.put_object(BUCKET, "a", BytesBody(text))
    new, old = [listed.version_id for listed in room.client.list_objects(BUCKET, versions=True)]
    assert room.client.head_object(BUCKET, "a", version_id=old).size == 3
    job = room.client.create_get_job(BUCKET, [ObjectToGet("a", version_id=old)])
    assert [(blob.version_id, blob.length) for chunk in job.chunks for blob in chunk.blobs] == [(old, 3)]
    room.client.delete_object(BUCKET, "a", version_id=old)
    with pytest.raises(NotFoundError):
        room.client.head_object(BUCKET, "a", version_id=old)
    assert room.client.head_object(BUCKET, "a").version_id == new


# -- names that are taken ----------------------------------------------------------------------------------------------


class RacedClient(Ds3Client):
    """A client that somebody is quicker than: the name comes into the bucket just before the job is made."""

    def create_put_job(self, bucket: str, objects: Sequence[ObjectToPut], **options: Any) -> JobDetails:  # noqa: ANN401
        self.put_object(bucket, objects[0].key, BytesBody(b"theirs"))
        return super().create_put_job(bucket, objects, **options)


def test_name_that_comes_between_listing_and_creation_is_told(room: Room, tmp_path: Path) -> None:
    """The 409 for the whole list ends the run with a way out; nothing was sent and no job is left."""
    make_tree(tmp_path / "tree")
    appliance = room.appliance
    settings = ConnectionSettings(appliance.endpoint, appliance.access_key, appliance.secret_key)
    with RacedClient(settings) as client:
        put = room.put(tmp_path / "tree", client=client)
    assert isinstance(put.stopped, JobError)
    assert "run the command again" in (put.stopped.hint or "")
    assert put.objects == 0
    room.until_idle()


class TwiceSource(LocalSource):
    """A source that yields everything twice."""

    def objects(self) -> Iterator[SourceObject]:
        for item in super().objects():
            yield item
            yield item


def test_key_of_two_sources_is_planned_once(room: Room, tmp_path: Path) -> None:
    """The appliance would refuse the whole list for a name given twice: the second is left out, and fails by name."""
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    put = room.put(TwiceSource(str(tmp_path), prefix=""))
    assert (put.objects, put.stopped) == (2, None)
    assert {failure.key for failure in put.failures} == {"a", "b"}
    assert room.listed() == {"a", "b"}


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quirk", [Quirk.BARE_ERRORS, Quirk.HTML_ERRORS, Quirk.ODD_ERROR_NUMBERS])
def test_refusal_is_known_by_its_status_whatever_its_body(
    room_with: Callable[..., Room], tmp_path: Path, quirk: Quirk
) -> None:
    """A missing bucket, a taken name, tapes apart: without a body, with a proxy's or a false number, all are told."""
    room = room_with(quirks=frozenset({quirk}))
    (tmp_path / "file").write_bytes(b"x")
    source = LocalSource(str(tmp_path / "file"), prefix="file")
    with pytest.raises(NotFoundError) as refused:
        PutRun(room.client, source, "none", settings=room.settings).run()
    assert refused.value.status == 404
    room.put(tmp_path / "file", prefix="file")
    with pytest.raises(ConflictError):
        room.client.create_put_job(BUCKET, [ObjectToPut("file", 1)])
    with pytest.raises(ApplianceError) as twice:
        room.client.create_put_job(BUCKET, [ObjectToPut("twice", 1), ObjectToPut("twice", 1)])
    assert twice.value.status == 400


def test_management_port_is_told_apart_from_a_missing_bucket() -> None:
    """Its 404 is no NotFoundError: nothing is created, and the hint says which port to take."""
    with Appliance(ApplianceSettings(quirks=frozenset({Quirk.MANAGEMENT_PORT}))) as appliance:
        settings = ConnectionSettings(appliance.endpoint, appliance.access_key, appliance.secret_key)
        with Ds3Client(settings) as client, pytest.raises(ApplianceError) as refused:
            client.bucket_exists(BUCKET)
    assert not isinstance(refused.value, NotFoundError)
    assert "data port" in (refused.value.hint or "")


def test_clock_that_is_out_is_told_by_how_much() -> None:
    """An appliance whose clock is an hour behind refuses, and the user is told the hour."""

    class Late(SystemClock):
        def now(self) -> float:
            return super().now() - 3600

    with Appliance(ApplianceSettings(), clock=Late()) as appliance:
        settings = ConnectionSettings(appliance.endpoint, appliance.access_key, appliance.secret_key)
        with Ds3Client(settings) as client, pytest.raises(AccessDeniedError) as refused:
            client.create_bucket(BUCKET)
    assert re.search(r"(1 h( \d s)?|59 min 5\d s) ahead of the appliance's", refused.value.hint or "")
