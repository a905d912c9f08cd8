"""Puts and gets with something going wrong: what fails is named, what is whole arrives, and nothing false is kept."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from ds3tool.client import Ds3Client
from ds3tool.errors import (
    ChecksumError,
    Ds3Error,
    FarSideDeniedError,
    FarSideForbiddenError,
    FarSideUnreachableError,
    InterruptedRunError,
    JobLostError,
    MediaOfflineError,
    NotFoundError,
    SinkError,
    SourceError,
    TransportError,
)
from ds3tool.jobs.ends import Failure, SourceObject, TargetObject
from ds3tool.jobs.engine import EngineSettings
from ds3tool.jobs.get import GetRun
from ds3tool.jobs.plan import PlannedJob
from ds3tool.jobs.put_planner import PutPlanner
from ds3tool.jobs.recorder import MemoryRecorder, MovedBlobs
from ds3tool.jobs.run_result import RunResult
from ds3tool.protocol.model import Blob, Job, JobDetails, JobStatus, ObjectToGet, Versioning
from ds3tool.sinks.local import LocalSink
from ds3tool.sources.local import LocalSource, Symlinks
from ds3tool.transport.ratelimit import RateLimit
from ds3tool.transport.settings import ConnectionSettings
from tests.jobs.doubles import SwiftClock
from tests.jobs.rooms import BUCKET, MIB, HookedSource, Meddler, Room
from tests.trees import digests, make_tree

SMALL, LARGE = 1000, 300_000  # below and above what goes through the loop for small requests
SIZES = pytest.mark.parametrize("size", [SMALL, LARGE])


def make_files(tree: Path, count: int, size: int) -> None:
    tree.mkdir()
    chance = random.Random(count * size)
    for number in range(count):
        (tree / f"{number:03}").write_bytes(chance.randbytes(size))


@pytest.fixture
def meddler(room: Room) -> Iterator[Meddler]:
    between = Meddler(room.appliance)
    yield between
    between.close()


def leftovers(root: Path) -> list[Path]:
    return list(root.rglob(".ds3tool-*"))


# -- a source that changes --------------------------------------------------------------------------------------------


def _grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def _shrink(path: Path) -> None:
    os.truncate(path, 10)


def _touch(path: Path) -> None:
    os.utime(path, ns=(5, 5))


@pytest.mark.parametrize("change", [_grow, _shrink, _touch, Path.unlink])
@SIZES
def test_file_that_changes_before_it_is_sent_fails_alone(
    room: Room, tmp_path: Path, change: Callable[[Path], None], size: int
) -> None:
    """A file changed between listing and sending fails by name; the rest arrives, and nothing of it is kept."""
    tree, restored = tmp_path / "tree", tmp_path / "restored"
    make_files(tree, 10, size)
    done: list[None] = []

    def before(item: SourceObject) -> None:
        if not done:
            done.append(None)
            change(tree / "005")

    put = room.put(HookedSource(tree, before_open=before))
    assert [(failure.key, type(failure.error)) for failure in put.failures] == [("005", SourceError)]
    assert "005" in put.failures[0].error.message
    assert (put.objects, put.exit_code, put.stopped) == (9, 3, None)
    assert room.listed() == {f"{number:03}" for number in range(10)} - {"005"}
    assert room.get(restored).objects == 9
    assert set(digests(restored)) == {b"./%03d" % number for number in range(10) if number != 5}


def test_file_that_changes_between_its_blobs_fails_and_nothing_of_it_is_kept(room: Room, tmp_path: Path) -> None:
    """A file of several blobs, changed when some of them are through, is not on the appliance afterwards."""
    room.settings = replace(room.settings, engine=EngineSettings(1, 1))
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "large").write_bytes(random.Random(1).randbytes(3 * MIB))
    (tree / "other").write_bytes(b"other")
    opened: list[str] = []

    def before(item: SourceObject) -> None:
        opened.append(item.key)
        if opened.count("large") == 2:
            _touch(tree / "large")

    put = room.put(HookedSource(tree, before_open=before))
    assert [failure.key for failure in put.failures] == ["large"]
    assert room.listed() == {"other"}


def test_file_that_changes_while_its_last_blob_is_sent_is_dropped(room: Room, meddler: Meddler, tmp_path: Path) -> None:
    """When the change is only seen after all bytes were accepted, the whole object is taken off the appliance again."""
    tree = tmp_path / "tree"
    make_files(tree, 1, LARGE)

    def seen(data: bytes) -> bytes:
        if b"PUT /archive/000" in data:
            _touch(tree / "000")
        return data

    meddler.to_appliance = seen
    with room.connect(meddler.endpoint) as client:
        put = room.put(tree, client=client)
    assert [(failure.key, type(failure.error)) for failure in put.failures] == [("000", SourceError)]
    assert room.listed() == set()


def test_files_that_cannot_be_listed_fail_and_the_rest_arrives(room: Room, tmp_path: Path) -> None:
    """A dangling link that is followed is named in the result, an escaped name is noted; the other files are put."""
    tree = tmp_path / "tree"
    make_files(tree, 3, SMALL)
    with open(os.path.join(os.fsencode(tree), b"caf\xe9"), "wb"):
        pass
    (tree / "link").symlink_to("nowhere")
    put = room.put(LocalSource(str(tree), prefix="", symlinks=Symlinks.FOLLOW))
    assert (put.objects, put.exit_code, put.skipped) == (4, 3, 0)
    assert [(failure.key, failure.path) for failure in put.failures] == [(None, f"{tree}/link")]
    (note,) = put.notes
    assert "caf%E9" in note


def test_links_that_are_skipped_are_noted(room: Room, tmp_path: Path) -> None:
    """A link is left out and named, and is no failure."""
    tree = tmp_path / "tree"
    make_files(tree, 3, SMALL)
    (tree / "link").symlink_to("000")
    put = room.put(tree)
    assert (put.objects, put.exit_code, put.skipped) == (3, 0, 1)
    assert put.notes == [f"{tree}/link is a symbolic link"]


# -- damage on the way ------------------------------------------------------------------------------------------------


class Damage:
    """Changes one byte of `marker` the first `times` it passes."""

    def __init__(self, marker: bytes, times: int) -> None:
        self.marker = marker
        self.left = times

    def __call__(self, data: bytes) -> bytes:
        if self.left and self.marker in data:
            self.left -= 1
            return data.replace(self.marker, bytes([self.marker[0] ^ 1]) + self.marker[1:], 1)
        return data


def _with_marker(tree: Path, size: int) -> bytes:
    make_files(tree, 4, size)
    data = (tree / "002").read_bytes()
    return data[100:132]


@SIZES
def test_blob_damaged_once_on_its_way_in_is_sent_again(room: Room, meddler: Meddler, tmp_path: Path, size: int) -> None:
    """A blob that arrives damaged is sent again, and the object is whole."""
    tree, restored = tmp_path / "tree", tmp_path / "restored"
    damage = meddler.to_appliance = Damage(_with_marker(tree, size), 1)
    with room.connect(meddler.endpoint) as client:
        assert room.put(tree, client=client).exit_code == 0
    assert damage.left == 0
    room.get(restored)
    assert digests(restored) == digests(tree)


@SIZES
def test_blob_damaged_again_and_again_on_its_way_in(room: Room, meddler: Meddler, tmp_path: Path, size: int) -> None:
    """A blob that arrives damaged every time is a ChecksumError by name, exit code 5, and not on the appliance."""
    tree = tmp_path / "tree"
    meddler.to_appliance = Damage(_with_marker(tree, size), 1000)
    with room.connect(meddler.endpoint) as client:
        put = room.put(tree, client=client)
    assert [(failure.key, type(failure.error)) for failure in put.failures] == [("002", ChecksumError)]
    assert (put.objects, put.exit_code) == (3, 5)
    assert room.listed() == {"000", "001", "003"}


@SIZES
def test_blob_damaged_once_on_its_way_out_is_fetched_again(
    room: Room, meddler: Meddler, tmp_path: Path, size: int
) -> None:
    """A blob that comes damaged is fetched again, and the file is whole."""
    tree, restored = tmp_path / "tree", tmp_path / "restored"
    damage = meddler.to_client = Damage(_with_marker(tree, size), 1)
    room.put(tree)
    with room.connect(meddler.endpoint) as client:
        assert room.get(restored, client=client).exit_code == 0
    assert damage.left == 0
    assert digests(restored) == digests(tree)


@SIZES
def test_blob_damaged_again_and_again_on_its_way_out(room: Room, meddler: Meddler, tmp_path: Path, size: int) -> None:
    """A blob that comes damaged every time is a ChecksumError by name, exit code 5, and its file does not appear."""
    tree, restored = tmp_path / "tree", tmp_path / "restored"
    meddler.to_client = Damage(_with_marker(tree, size), 1000)
    room.put(tree)
    with room.connect(meddler.endpoint) as client:
        got = room.get(restored, client=client)
    assert [(failure.key, type(failure.error)) for failure in got.failures] == [("002", ChecksumError)]
    assert (got.objects, got.exit_code) == (3, 5)
    assert {path.name for path in restored.iterdir()} == {"000", "001", "003"}
    assert leftovers(restored) == []


@SIZES
def test_blob_damaged_in_the_appliances_cache(room_with: Callable[..., Room], tmp_path: Path, size: int) -> None:
    """A byte that flipped on the appliance is found out: the object fails by name, its file does not appear."""
    room = room_with(persist_delay=3600.0)
    tree, restored = tmp_path / "tree", tmp_path / "restored"
    make_files(tree, 3, size)
    assert room.put(tree).exit_code == 0
    wanted = (tree / "001").read_bytes()
    (path,) = [path for path in room.cached_files() if path.read_bytes() == wanted]
    path.write_bytes(wanted[:-1] + bytes([wanted[-1] ^ 1]))
    got = room.get(restored)
    assert [(failure.key, type(failure.error)) for failure in got.failures] == [("001", ChecksumError)]
    assert got.exit_code == 5
    assert {path.name for path in restored.iterdir()} == {"000", "002"}


@SIZES
def test_older_version_is_not_dropped_with_a_failed_put(
    room_with: Callable[..., Room], tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where versions are kept, a put that fails takes nothing away from the version that was there before."""
    room = room_with(versioning=Versioning.KEEP_MULTIPLE_VERSIONS)
    tree = tmp_path / "tree"
    make_files(tree, 4, size)
    room.put(tree)
    before = room.client.head_object(BUCKET, "002")
    (tree / "002").write_bytes(random.Random(2).randbytes(size))
    meddler = Meddler(room.appliance)
    meddler.to_appliance = Damage((tree / "002").read_bytes()[100:132], 1000)
    try:
        with room.connect(meddler.endpoint) as client:
            run = room.put_run(tree / "002", prefix="002", client=client)
            # As when the older version came there between the listing and the job's creation.
            monkeypatch.setattr(PutPlanner, "_existing", lambda self, wanted: [])
            put = run.run()
    finally:
        meddler.close()
    assert [failure.key for failure in put.failures] == ["002"]
    assert room.client.head_object(BUCKET, "002") == before


# -- replies that are lost --------------------------------------------------------------------------------------------


class LostReply:
    """Lets requests that hold `marker` through, and closes the connection instead of passing the reply on."""

    def __init__(self, meddler: Meddler, marker: bytes, times: int = 1) -> None:
        self.marker = marker
        self.left = times
        self.armed = False
        meddler.to_appliance = self.request
        meddler.to_client = self.reply

    def request(self, data: bytes) -> bytes:
        if self.left and self.marker in data:
            self.armed = True
            self.left -= 1
        return data

    def reply(self, data: bytes) -> bytes | None:
        if self.armed:
            self.armed = False
            return None
        return data


@SIZES
def test_lost_reply_to_the_last_blob_is_no_failure(room: Room, meddler: Meddler, tmp_path: Path, size: int) -> None:
    """When the reply to a blob is lost and the job is over by the time it is repeated, the object counts as put."""
    tree, restored = tmp_path / "tree", tmp_path / "restored"
    make_files(tree, 1, size)
    lost = LostReply(meddler, b"PUT /archive/000?job=")
    with room.connect(meddler.endpoint) as client:
        put = room.put(tree, client=client)
    assert lost.left == 0
    assert (put.objects, put.failures, put.exit_code) == (1, [], 0)
    room.get(restored)
    assert digests(restored) == digests(tree)


def test_lost_reply_to_the_creation_of_a_put(room: Room, meddler: Meddler, tmp_path: Path) -> None:
    """A put job whose creation was carried out, but not answered, is found by its name and used: there is only one."""
    tree = tmp_path / "tree"
    make_files(tree, 5, SMALL)
    lost = LostReply(meddler, b"operation=start_bulk_put")
    with room.connect(meddler.endpoint) as client:
        put = room.put(tree, client=client)
    assert lost.left == 0
    assert (put.objects, put.exit_code, len(put.jobs)) == (5, 0, 1)
    jobs = [*room.client.list_active_jobs(bucket=BUCKET), *room.client.list_completed_jobs(bucket=BUCKET)]
    assert [job.id for job in jobs] == [put.jobs[0].job.id]


def test_lost_reply_to_the_creation_of_a_get(room: Room, meddler: Meddler, tmp_path: Path) -> None:
    """The same holds for a get."""
    tree, restored = tmp_path / "tree", tmp_path / "restored"
    make_files(tree, 5, SMALL)
    room.put(tree)
    lost = LostReply(meddler, b"operation=start_bulk_get")
    with room.connect(meddler.endpoint) as client:
        got = room.get(restored, client=client)
    assert lost.left == 0
    assert (got.objects, got.exit_code, len(got.jobs)) == (5, 0, 1)
    assert digests(restored) == digests(tree)


def test_creation_that_never_arrived_is_an_error(room: Room, meddler: Meddler, tmp_path: Path) -> None:
    """When no job of that name is there, the failure to create it is raised as it was."""
    tree = tmp_path / "tree"
    make_files(tree, 1, SMALL)

    def refuse(data: bytes) -> bytes | None:
        return None if b"operation=start_bulk_put" in data else data

    meddler.to_appliance = refuse
    with room.connect(meddler.endpoint, retry_seconds=0.0) as client:
        run = room.put_run(tree, client=client)
        run.clock = SwiftClock()  # lists lag, so it is looked for for a while
        with pytest.raises(TransportError):
            run.run()
    assert list(room.client.list_active_jobs(bucket=BUCKET)) == []


# -- plans that are not what was asked for ----------------------------------------------------------------------------


class OddPlanner(Ds3Client):
    """A client whose jobs list other blobs than the appliance said: `change` is applied to each list of blobs."""

    change: Callable[[list[Blob]], list[Blob]] = staticmethod(lambda blobs: blobs)

    def _changed(self, details: JobDetails) -> JobDetails:
        chunks = tuple(replace(each, blobs=self.change(list(each.blobs))) for each in details.chunks)
        return replace(details, chunks=chunks)

    def create_put_job(self, *arguments: Any, **named: Any) -> JobDetails:  # noqa: ANN401  # passed on as they are
        return self._changed(super().create_put_job(*arguments, **named))

    def create_get_job(self, *arguments: Any, **named: Any) -> JobDetails:  # noqa: ANN401  # passed on as they are
        return self._changed(super().create_get_job(*arguments, **named))


@pytest.fixture
def odd(room: Room) -> Iterator[OddPlanner]:
    appliance = room.appliance
    with OddPlanner(ConnectionSettings(appliance.endpoint, appliance.access_key, appliance.secret_key)) as client:
        yield client


def _twice_the_first(blobs: list[Blob]) -> list[Blob]:
    """Of `large`, list the blob at 0 in place of the one after it: the sum is right, the bytes are not."""
    return [replace(one, offset=0) if (one.key, one.offset) == ("large", MIB) else one for one in blobs]


def _without_the_last(blobs: list[Blob]) -> list[Blob]:
    return [one for one in blobs if (one.key, one.offset) != ("large", MIB)]


def _not_at_all(blobs: list[Blob]) -> list[Blob]:
    return [one for one in blobs if one.key != "large"]


ODD_PLANS = pytest.mark.parametrize("change", [_twice_the_first, _without_the_last, _not_at_all])


def _large_and_other(tree: Path) -> None:
    tree.mkdir()
    (tree / "large").write_bytes(random.Random(3).randbytes(2 * MIB))
    (tree / "other").write_bytes(b"other")


@ODD_PLANS
def test_put_job_that_does_not_cover_an_object(
    room: Room, odd: OddPlanner, tmp_path: Path, change: Callable[[list[Blob]], list[Blob]]
) -> None:
    """An object of which the job lists less, or a part twice, fails by name and is not called archived."""
    tree = tmp_path / "tree"
    _large_and_other(tree)
    odd.change = change
    put = room.put(tree, client=odd)
    assert [failure.key for failure in put.failures] == ["large"]
    assert (put.objects, put.exit_code) == (1, 3)
    assert room.listed() == {"other"}


@ODD_PLANS
def test_get_job_that_does_not_cover_an_object(
    room: Room, odd: OddPlanner, tmp_path: Path, change: Callable[[list[Blob]], list[Blob]]
) -> None:
    """An object of which the job offers less, or a part twice, fails by name, and no file with holes appears."""
    tree, restored = tmp_path / "tree", tmp_path / "restored"
    _large_and_other(tree)
    room.put(tree)
    odd.change = change
    got = room.get(restored, client=odd)
    assert [failure.key for failure in got.failures] == ["large"]
    assert (got.objects, got.exit_code) == (1, 3)
    assert [path.name for path in restored.iterdir()] == ["other"]


def test_older_release_that_lists_no_empty_objects(room: Room, odd: OddPlanner, tmp_path: Path) -> None:
    """Where jobs list no blob of empty objects, these are made with the job, and restored without being fetched."""
    tree, restored = tmp_path / "tree", tmp_path / "restored"
    tree.mkdir()
    (tree / "empty").write_bytes(b"")
    (tree / "folder").mkdir()
    (tree / "other").write_bytes(b"other")
    room.put(tree)
    odd.change = lambda blobs: [one for one in blobs if one.length]
    got = room.get(restored, client=odd, prepare=lambda run: setattr(run, "clock", SwiftClock()))
    assert (got.objects, got.failures) == (3, [])
    assert digests(restored) == digests(tree)
    put = room.put(tree, prefix="again/", client=odd)
    assert (put.objects, put.failures) == (3, [])


# -- jobs that others end ---------------------------------------------------------------------------------------------


@SIZES
def test_put_whose_job_is_cancelled(room: Room, tmp_path: Path, size: int) -> None:
    """A put job that somebody cancels ends the run with JobLostError and exit code 12, and says so."""
    room.settings = replace(room.settings, engine=EngineSettings(1, 1))
    tree = tmp_path / "tree"
    make_files(tree, 200, size)
    opened: list[str] = []

    def before(item: SourceObject) -> None:
        opened.append(item.key)
        if len(opened) == 20:
            room.client.cancel_job(room.job.id)

    put = room.put(HookedSource(tree, before_open=before))
    assert isinstance(put.stopped, JobLostError)
    assert put.exit_code == 12
    assert put.jobs[0].job.status == JobStatus.CANCELED
    assert put.objects < 200
    assert len(opened) < 200


@SIZES
def test_put_whose_job_is_truncated(room: Room, tmp_path: Path, size: int) -> None:
    """A put job that somebody truncates ends the run with exit code 12, and what is reported as put is there."""
    room.settings = replace(room.settings, engine=EngineSettings(1, 1))
    tree = tmp_path / "tree"
    make_files(tree, 200, size)
    told: set[str] = set()
    opened: list[str] = []

    def before(item: SourceObject) -> None:
        opened.append(item.key)
        if len(opened) == 20:
            room.client.truncate_job(room.job.id)

    run = room.put_run(HookedSource(tree, before_open=before))
    run.on_object = lambda key, _, error: told.add(key) if error is None else None
    put = run.run()
    assert isinstance(put.stopped, JobLostError)
    assert put.exit_code == 12
    assert told == room.listed()
    assert put.objects == len(told) < 200


class HookedSink(LocalSink):
    """A local sink that lets somebody do something before a blob is stored."""

    def __init__(self, root: Path, before: Callable[[int], None]) -> None:
        super().__init__(str(root))
        self._before = before
        self._seen = 0

    def receive_small(self, item: TargetObject, offset: int, data: memoryview) -> None:
        self._look()
        super().receive_small(item, offset, data)

    def plain_writer(self) -> None:  # every blob is to be seen
        return None

    def receive(self, *arguments: object, **named: object) -> str | None:
        self._look()
        return super().receive(*arguments, **named)  # type: ignore[arg-type]  # passed on as they are

    def _look(self) -> None:
        self._seen += 1
        self._before(self._seen)


@SIZES
def test_get_whose_job_is_cancelled(room: Room, tmp_path: Path, size: int) -> None:
    """A get job that somebody cancels ends the run with exit code 12; what had appeared is whole, nothing is half."""
    room.settings = replace(room.settings, engine=EngineSettings(1, 1))
    tree, restored = tmp_path / "tree", tmp_path / "restored"
    make_files(tree, 200, size)
    room.put(tree)

    def cancel(seen: int) -> None:
        if seen == 20:
            room.client.cancel_job(room.job.id)

    got = room.get(HookedSink(restored, cancel))
    assert isinstance(got.stopped, JobLostError)
    assert got.exit_code == 12
    assert leftovers(restored) == []
    there, whole = digests(restored), digests(tree)
    assert {name: whole[name] for name in there} == there
    assert got.objects == len(there) < 200


def test_get_of_what_is_removed_meanwhile(room: Room, tmp_path: Path) -> None:
    """An object removed between listing and get makes the appliance refuse the job: it fails, the others come."""
    tree, restored = tmp_path / "tree", tmp_path / "restored"
    make_files(tree, 3, SMALL)
    room.put(tree)
    listed = list(room.client.list_objects(BUCKET))
    room.client.delete_object(BUCKET, "001")
    sink = LocalSink(str(restored))
    try:
        run = GetRun(room.client, sink, BUCKET, listed, name_of=str, settings=room.settings)
        got = run.run()
    finally:
        sink.close()
    assert [failure.key for failure in got.failures] == ["001"]
    assert (got.stopped, got.exit_code) == (None, 3)
    assert sorted(path.name for path in restored.iterdir()) == ["000", "002"]


def test_get_from_tapes_that_are_away_names_them(room: Room, tmp_path: Path) -> None:
    """When the tapes are ejected, the run stops with exit code 8 and their bar codes."""
    tree, restored = tmp_path / "tree", tmp_path / "restored"
    make_files(tree, 3, SMALL)
    room.put(tree)
    room.until_idle()
    room.client.reclaim_cache()
    tapes = {tape.bar_code for tape in room.client.get_placement(BUCKET, [ObjectToGet("000")]).tapes}
    for bar_code in tapes:
        room.client.eject_tape(bar_code)
    got = room.get(restored)
    assert isinstance(got.stopped, MediaOfflineError)
    assert got.exit_code == 8
    assert set(got.stopped.bar_codes) == tapes
    assert list(restored.iterdir()) == []


# -- a run that is stopped --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class InterruptingRecorder(MemoryRecorder):
    """Somebody presses Ctrl-C when the first blobs are recorded."""

    pressed: bool = False

    def moved(self, job_id: str, blobs: MovedBlobs) -> None:
        MemoryRecorder.moved(self, job_id, blobs)
        if not self.pressed:
            self.pressed = True
            raise KeyboardInterrupt


@SIZES
def test_interrupted_put_truncates_its_job(room: Room, tmp_path: Path, size: int) -> None:
    """Ctrl-C keeps what is complete, gives the rest up on the appliance, and exits with 130."""
    room.settings = replace(room.settings, engine=EngineSettings(1, 1))
    tree = tmp_path / "tree"
    make_files(tree, 300, size)
    room.recorder = InterruptingRecorder()
    put = room.put(tree)
    assert isinstance(put.stopped, InterruptedRunError)
    assert put.exit_code == 130
    assert put.failures == []
    assert 0 < put.objects < 300
    assert put.objects <= len(room.listed()) < 300
    room.until_idle()


@SIZES
def test_interrupted_get_cancels_its_job(room: Room, tmp_path: Path, size: int) -> None:
    """Ctrl-C cancels a get job; what has appeared is whole and nothing half is left."""
    room.settings = replace(room.settings, engine=EngineSettings(1, 1))
    tree, restored = tmp_path / "tree", tmp_path / "restored"
    make_files(tree, 300, size)
    room.put(tree)
    room.recorder = InterruptingRecorder()
    got = room.get(restored)
    assert got.exit_code == 130
    assert got.failures == []
    assert got.jobs[0].job.status == JobStatus.CANCELED
    assert leftovers(restored) == []
    there, whole = digests(restored), digests(tree)
    assert {name: whole[name] for name in there} == there
    assert got.objects == len(there)


def test_interruption_while_a_job_is_created_leaves_no_job(room: Room, odd: OddPlanner, tmp_path: Path) -> None:
    """Ctrl-C between the appliance's taking the job and its reply: the job is found by its name and given up."""
    tree = tmp_path / "tree"
    make_files(tree, 3, SMALL)

    def press(blobs: list[Blob]) -> list[Blob]:
        raise KeyboardInterrupt

    odd.change = press
    put = room.put(tree, client=odd)
    assert isinstance(put.stopped, InterruptedRunError)
    assert put.exit_code == 130
    room.until_idle()
    assert room.listed() == set()


@dataclass(slots=True)
class BrokenRecorder(MemoryRecorder):
    """A journal that cannot write, from the named step on."""

    at: str = "moved"

    def created(self, plan: PlannedJob, job: Job) -> None:
        MemoryRecorder.created(self, plan, job)
        if self.at == "created":
            raise OSError(28, "No space left on device")

    def moved(self, job_id: str, blobs: MovedBlobs) -> None:
        if self.at == "moved":
            raise OSError(28, "No space left on device")


@pytest.mark.parametrize("at", ["created", "moved"])
def test_recorder_that_fails_stops_the_run_and_gives_the_job_up(room: Room, tmp_path: Path, at: str) -> None:
    """What cannot be recorded does not go on, and no job is left idling on the appliance."""
    tree = tmp_path / "tree"
    make_files(tree, 50, LARGE)
    room.recorder = BrokenRecorder(at=at)
    with pytest.raises(OSError, match="No space"):
        room.put(tree)
    room.until_idle()


@SIZES
def test_appliance_that_goes_away_in_the_middle(room: Room, meddler: Meddler, tmp_path: Path, size: int) -> None:
    """When nothing answers any more, the run stops with exit code 7, says what is left open, and asks no further."""
    tree = tmp_path / "tree"
    make_files(tree, 200, size)
    opened: list[str] = []

    def before(item: SourceObject) -> None:
        opened.append(item.key)
        if len(opened) == 30:
            meddler.to_appliance = lambda data: None

    with room.connect(meddler.endpoint, retry_seconds=0.0) as client:
        put = room.put(HookedSource(tree, before_open=before), client=client)
    assert isinstance(put.stopped, TransportError)
    assert put.exit_code == 7
    # Only what was on its way when it went: 4 blobs of the workers, 16 of the lanes, and those each took next.
    assert len(put.failures) <= 40
    assert any("left open" in note for note in put.notes)


def test_put_that_is_cancelled_after_its_last_blob(room_with: Callable[..., Room], tmp_path: Path) -> None:
    """A job that is cancelled when all was accepted has dropped it again: exit code 12, not a success in the cache."""
    room = room_with(persist_delay=3600.0)
    tree = tmp_path / "tree"
    make_files(tree, 3, SMALL)

    class Canceller(MemoryRecorder):
        def moved(self, job_id: str, blobs: MovedBlobs) -> None:
            super().moved(job_id, blobs)
            if len(self.checksums) == 3:
                room.client.cancel_job(job_id)

    run = room.put_run(tree)
    run.recorder = Canceller()
    put = run.run()
    assert isinstance(put.stopped, JobLostError)
    assert put.exit_code == 12
    assert put.jobs[0].job.status == JobStatus.CANCELED


def test_bucket_that_is_not_there_is_raised_before_anything(room: Room, tmp_path: Path) -> None:
    """A run that cannot begin raises, rather than returning a result."""
    tree = tmp_path / "tree"
    make_files(tree, 1, SMALL)
    room.client.delete_bucket(BUCKET)
    with pytest.raises(NotFoundError):
        room.put(tree)


# -- the target -------------------------------------------------------------------------------------------------------


def test_get_that_has_no_room_moves_nothing(room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the target lacks the room, no job is created, and the error says how much there is."""
    tree, restored = tmp_path / "tree", tmp_path / "restored"
    make_files(tree, 2, LARGE)
    room.put(tree)
    before = len(room.recorder.jobs)
    monkeypatch.setattr(LocalSink, "free_bytes", lambda sink: 1000)
    with pytest.raises(SinkError, match="room for 1000 B"):
        room.get(restored)
    assert len(room.recorder.jobs) == before


def test_target_that_fills_up_fails_by_name(room: Room, tmp_path: Path) -> None:
    """An object that the target cannot take fails by name; the others appear; the job is not left open."""
    tree, restored = tmp_path / "tree", tmp_path / "restored"
    make_files(tree, 10, LARGE)
    room.put(tree)

    class Full(LocalSink):
        def receive(self, item: TargetObject, *arguments: object, **named: object) -> str | None:
            if item.key == "004":
                raise SinkError("004 cannot be written: No space left on device")
            return super().receive(item, *arguments, **named)  # type: ignore[arg-type]  # passed on as they are

    got = room.get(Full(str(restored)))
    assert [failure.key for failure in got.failures] == ["004"]
    assert (got.objects, got.exit_code) == (9, 3)
    assert leftovers(restored) == []
    assert list(room.client.list_active_jobs(bucket=BUCKET)) == []


def test_file_that_appears_at_the_target_meanwhile_stays(room: Room, tmp_path: Path) -> None:
    """A file that somebody writes during the get is left, and the object fails by name."""
    tree, restored = tmp_path / "tree", tmp_path / "restored"
    make_files(tree, 5, LARGE)
    room.put(tree)

    def meddle(seen: int) -> None:
        if seen == 1:
            (restored / "003").write_bytes(b"mine")

    got = room.get(HookedSink(restored, meddle))
    assert [failure.key for failure in got.failures] == ["003"]
    assert (restored / "003").read_bytes() == b"mine"
    assert got.objects == 4


# -- with a limit on the rate, all goes through the careful path ------------------------------------------------------


def test_limited_rate_changes_nothing_but_the_speed(room: Room, tmp_path: Path) -> None:
    """Under a rate limit, which the loop for small requests does not serve, a tree goes there and back."""
    tree, restored = tmp_path / "tree", tmp_path / "restored"
    make_tree(tree, files=60, largest=1_500_000, seed=14)
    room.client.exchange.limit = RateLimit(1 << 32)  # type: ignore[attr-defined]  # the client stands on a Transport
    assert room.put(tree).exit_code == 0
    assert room.get(restored).exit_code == 0
    assert digests(restored) == digests(tree)


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (FarSideUnreachableError("no S3"), 7),
        (FarSideDeniedError("expired", status=400), 6),
        (FarSideForbiddenError("not this one", status=403), 3),
    ],
)
def test_a_lost_far_side_is_the_exit_code_of_what_failed_for_it(error: Ds3Error, exit_code: int) -> None:
    """Objects that failed since S3 was out of reach, or knew us no more, are told apart from those that are bad."""
    result = RunResult(failures=[Failure("good", error), Failure("bad", SourceError("gone"))])
    assert result.exit_code == exit_code
