"""A put that was interrupted anywhere is finished by a resume: nothing lost, nothing sent twice, no job left open."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ds3tool.client import Ds3Client
from ds3tool.errors import ChecksumError, JobLostError, SourceError
from ds3tool.jobs.ends import SourceObject
from ds3tool.jobs.engine import EngineSettings
from ds3tool.jobs.existing import IfExists
from ds3tool.jobs.journal import Journal, WorkHead
from ds3tool.jobs.plan import JobLimits
from ds3tool.jobs.progress import ProgressSnapshot
from ds3tool.jobs.put import PutRun
from ds3tool.jobs.recorder import MovedBlobs
from ds3tool.protocol.model import JobDetails, JobStatus, JobType, ObjectToPut, Priority, Versioning
from ds3tool.simulator import Appliance, Quirk
from ds3tool.simulator.jobs.transfers import Transfers
from tests.jobs.doubles import SwiftClock
from tests.jobs.interrupted import Killed, Moment, MortalRecorder, Work
from tests.jobs.quick_clocks import AppliancesQuickClock, QuickClock
from tests.jobs.rooms import BUCKET, MIB, HookedSource, Room
from tests.jobs.test_awkward_appliance import EVERY_QUIRK, EVERY_RELEASE

MOMENTS = [
    *(Moment("planned", after=after) for after in (False, True)),
    *(Moment("created", after=after) for after in (False, True)),
    *(Moment("moved", times, after) for times in (1, 20, 39) for after in (False, True)),
    *(Moment("finished", after=after) for after in (False, True)),
]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, int]]:
    """Count how often each blob came to the appliance whole, by key and offset."""
    came: Counter[tuple[str, int]] = Counter()
    put = Transfers.put

    def counting(self: Transfers, upload: object, job_id: str | None, offset: int) -> object:
        result = put(self, upload, job_id, offset)  # type: ignore[arg-type]  # handed through
        came[getattr(upload, "name", ""), offset] += 1
        return result

    monkeypatch.setattr(Transfers, "put", counting)
    return came


def make_tree(root: Path, *, small: int = 30, large: int = 3) -> None:
    """Make a tree of small files, one of them empty, and large ones of three blobs each."""
    (root / "sub").mkdir(parents=True)
    for number in range(small):
        (root / "sub" / f"small {number:02d}").write_bytes(bytes([number]) * (number * 997))
    for number in range(large):
        (root / f"large {number}").write_bytes(os.urandom(2 * MIB + 1000 + number))


@pytest.fixture
def work(room: Room, tmp_path: Path) -> Work:
    """A put of a small tree that has not begun."""
    return work_in(room, tmp_path)


def work_in(room: Room, tmp_path: Path) -> Work:
    make_tree(tmp_path / "tree")
    return Work(room, tmp_path / "work", tmp_path / "tree")


@pytest.mark.parametrize("moment", MOMENTS, ids=str)
@pytest.mark.usefixtures("lists_are_never_late")
def test_put_killed_at_any_step_is_finished_by_a_resume(
    work: Work, tmp_path: Path, moment: Moment, sent: Counter[tuple[str, int]]
) -> None:
    """Whatever was recorded and acknowledged is not sent again, all arrives, and no job is left open."""
    assert work.put(dies=moment) is None
    recorded = work.recorded()
    result = work.resume()
    assert (result.failures, result.stopped, result.exit_code) == ([], None, 0)
    assert len(recorded) >= (moment.times if moment.told == "moved" and moment.after else 0)
    assert {blob: sent[blob] for blob in recorded} == dict.fromkeys(recorded, 1)
    assert max(sent.values()) <= 2, "what was on its way at the kill may come after its blob was listed as missing"
    assert work.unfinished == 0
    work.assert_whole(tmp_path)
    assert len(list(work.room.client.list_canceled_jobs())) == 0


def test_the_display_of_a_resumed_put_counts_only_what_was_left(work: Work) -> None:
    """What an earlier run has put is neither in what is done nor in what there is to do, from the beginning on."""
    work.withheld = "large 2"
    assert work.put(dies=Moment("moved", 20, after=True)) is None
    shown: list[ProgressSnapshot] = []

    def watch(run: PutRun) -> None:
        run.on_object = lambda key, size, error: shown.append(run.progress())

    work.prepare = watch
    result = work.resume()
    assert shown
    assert max(one.bytes_done for one in shown) <= result.bytes
    assert max(one.objects_done for one in shown) <= result.objects
    assert {one.objects_total for one in shown} == {result.objects}


# -- what a job's own list does not tell --------------------------------------------------------------------------


def test_objects_that_are_on_tape_and_out_of_the_cache_are_not_sent_again(
    room_with: Callable[..., Room], tmp_path: Path, sent: Counter[tuple[str, int]]
) -> None:
    """A cache smaller than the job has let go of what was put first, which the journal knows to be through."""
    room = room_with(cache_size=5 * MIB, chunk_size=2 * MIB)
    work = Work(room, tmp_path / "work", tmp_path / "tree")
    make_tree(tmp_path / "tree", small=4, large=6)
    assert work.put(dies=Moment("moved", 18, after=True)) is None
    recorded = work.recorded()
    result = work.resume()
    assert (result.failures, result.stopped) == ([], None)
    assert {blob: sent[blob] for blob in recorded} == dict.fromkeys(recorded, 1)
    assert result.bytes < 6 * MIB
    work.assert_whole(tmp_path)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("quirks", [*EVERY_QUIRK, *EVERY_RELEASE])
@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(Moment("created"), marks=pytest.mark.more, id="before-created"),
        pytest.param(Moment("moved", 8, after=True), id="amid-the-blobs"),
    ],
)
def test_put_is_resumed_whatever_the_quirk(
    room_with: Callable[..., Room],
    tmp_path: Path,
    quirks: frozenset[Quirk],
    moment: Moment,
    sent: Counter[tuple[str, int]],
) -> None:
    """Under each quirk and each release nothing that was recorded is sent again, and all arrives."""
    room = room_with(quirks=quirks, clock=AppliancesQuickClock())
    work = Work(room, tmp_path / "work", tmp_path / "tree", clock=QuickClock())
    make_tree(tmp_path / "tree", small=6, large=2)
    assert work.put(dies=moment) is None
    recorded = work.recorded()
    result = work.resume()
    assert (result.failures, result.stopped) == ([], None)
    assert {blob: sent[blob] for blob in recorded} == dict.fromkeys(recorded, 1)
    work.assert_whole(tmp_path)


def test_job_that_is_forgotten_with_all_of_it_on_tape_is_done(
    room_with: Callable[..., Room], tmp_path: Path, sent: Counter[tuple[str, int]]
) -> None:
    """An appliance that forgets jobs as they end tells nothing: the bucket does, and nothing is sent again."""
    room = room_with(quirks=frozenset({Quirk.FORGETS_JOBS}))
    work = work_in(room, tmp_path)
    assert work.put(dies=Moment("finished")) is None
    room.until_idle()
    result = work.resume()
    assert (result.failures, result.stopped, result.objects) == ([], None, 0)
    assert (set(sent.values()), work.unfinished) == ({1}, 0)
    work.assert_whole(tmp_path)


# -- what changed meanwhile -------------------------------------------------------------------------------------------


def test_source_that_changed_meanwhile_fails_alone(work: Work, tmp_path: Path) -> None:
    """Of two objects that were under way, the one whose file changed fails by name; the other is finished."""
    work.withheld = changed = "large 1"
    assert work.put(dies=Moment("moved", 36, after=True)) is None
    with (work.tree / changed).open("ab") as file:
        file.write(b"more")
    result = work.resume()
    assert [(failure.key, type(failure.error)) for failure in result.failures] == [(changed, SourceError)]
    assert (result.stopped, result.exit_code, work.unfinished) == (None, 3, 0)
    (work.tree / changed).unlink()
    work.assert_whole(tmp_path)


def test_bytes_that_changed_under_the_same_time_are_noticed_though_nothing_is_sent(work: Work, tmp_path: Path) -> None:
    """A blob whose reply nobody recorded is held against the file; one that differs fails its object, and goes."""
    work.withheld = "large 2"
    assert work.put(dies=Moment("moved", 33)) is None
    details = work.room.client.get_job(str(work.remainders()[0].job_id))
    there = {(blob.key, blob.offset) for chunk in details.chunks for blob in chunk.blobs if blob.in_cache}
    key, offset = min(there - work.recorded())
    path = work.tree / key
    times = path.stat()
    with path.open("r+b") as file:
        file.seek(offset)
        first = file.read(1)
        file.seek(offset)
        file.write(bytes([first[0] ^ 1]))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    result = work.resume()
    assert [(failure.key, type(failure.error)) for failure in result.failures] == [(key, ChecksumError)]
    assert result.exit_code == 5
    path.unlink()
    work.assert_whole(tmp_path)


def test_half_sent_file_that_changed_under_the_same_time_is_no_mixture(room: Room, tmp_path: Path) -> None:
    """Its first blob went before the kill; when something was done to it since, that must still be what it was."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("changed", "touched"):
        (tree / name).write_bytes(os.urandom(3 * MIB))
    opened: Counter[str] = Counter()
    died = threading.Event()

    def until_dead(item: SourceObject) -> None:
        opened[item.key] += 1
        if opened[item.key] > 1 and not died.is_set():
            assert died.wait(60), "it was to die before that"
            raise SourceError("nobody is there to read it")

    class Dying(MortalRecorder):
        def moved(self, job_id: str, blobs: MovedBlobs) -> None:
            try:
                super().moved(job_id, blobs)
            except Killed:
                died.set()
                raise

    source = HookedSource(tree, before_open=until_dead)
    settings = replace(room.settings, engine=EngineSettings(2, 1))
    head = WorkHead("work-1", JobType.PUT, BUCKET, "id", begun=datetime.now(UTC))
    with Journal.create(tmp_path / "state", head) as journal:
        # Two workers: each sends the first blob of one file, and the second told is the last of both.
        recorder = Dying(journal, Moment("moved", 1, after=True), lambda _: journal.flush())
        with pytest.raises(Killed):
            PutRun(room.client, source, BUCKET, settings=settings, recorder=recorder).run()
        path = journal.path
    with Journal.open(path) as journal:
        held = {remainder.plan.keys[owner] for remainder in journal.remainders() for owner in remainder.held.owners}
        assert held
        for name in held:
            times = (tree / name).stat()
            with (tree / name).open("r+b") as file:
                first = file.read(1)
                file.seek(0)
                file.write(bytes([first[0] ^ 1]) if name == min(held) else first)
            os.utime(tree / name, ns=(times.st_atime_ns, times.st_mtime_ns))
        run = PutRun(room.client, source, BUCKET, settings=settings, recorder=journal)
        result = run.resume(journal.remainders())
    assert [(failure.key, type(failure.error)) for failure in result.failures] == [(min(held), SourceError)]
    assert "has changed" in result.failures[0].error.message
    assert room.listed() == {"changed", "touched"} - {min(held)}


# -- before there was a job -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quirks", [frozenset(), frozenset({Quirk.LATE_NUMBERS})], ids=["plain", "late-numbers"])
def test_job_that_was_created_and_not_recorded_is_found_by_its_name(
    room_with: Callable[..., Room], tmp_path: Path, quirks: frozenset[Quirk]
) -> None:
    """No second job is made, though the list of jobs may be five seconds old."""
    work = work_in(room_with(quirks=quirks, clock=AppliancesQuickClock()), tmp_path)
    work.clock = QuickClock()
    assert work.put(dies=Moment("created")) is None
    (remainder,) = work.remainders()
    assert remainder.job_id is None
    result = work.resume()
    assert len(result.jobs) == 1
    work.room.until_idle()
    machine = work.room.appliance.machine
    with machine.store.lock:
        assert len(machine.jobs.select("1 = 1")) == 1
    work.assert_whole(tmp_path)


@pytest.mark.usefixtures("lists_are_never_late")
def test_plan_of_several_jobs_is_finished_where_it_was_left(
    work: Work, tmp_path: Path, sent: Counter[tuple[str, int]]
) -> None:
    """Plans that had not begun are begun, the one under way is gone on with, and what is done is not touched."""
    work.settings = replace(work.room.settings, limits=JobLimits(10))
    assert work.put(dies=Moment("created", 2, after=True)) is None
    assert len(work.remainders()) == 3
    result = work.resume()
    assert (result.failures, result.stopped, len(result.jobs)) == ([], None, 3)
    assert set(sent.values()) == {1}
    work.assert_whole(tmp_path)


@pytest.mark.usefixtures("lists_are_never_late")
def test_key_that_somebody_took_meanwhile_is_settled_as_in_a_fresh_run(work: Work) -> None:
    """A plan without a job is held against the bucket again: what is there and not the same fails by name."""
    assert work.put(dies=Moment("planned", after=True)) is None
    other = work.folder / "other"
    other.mkdir()
    (other / "large 1").write_bytes(b"something else")
    assert work.room.put(other).exit_code == 0
    result = work.resume()
    assert [failure.key for failure in result.failures] == ["large 1"]
    assert (result.stopped, work.unfinished) == (None, 0)
    work.room.until_idle()
    assert len(work.room.listed()) == 33


# -- replacing --------------------------------------------------------------------------------------------------------


@pytest.fixture
def replacing(work: Work) -> Work:
    """A put that is to replace two objects of a bucket without versions."""
    work.settings = replace(work.room.settings, if_exists=IfExists.OVERWRITE, may_delete=True)
    other = work.folder / "other"
    other.mkdir()
    for name in ("large 0", "large 1"):
        (other / name).write_bytes(b"the old one")
    assert work.room.put(other).exit_code == 0
    work.room.until_idle()
    return work


@pytest.mark.parametrize("moment", [Moment("deleting", 2), Moment("deleting", 2, True), Moment("created")], ids=str)
@pytest.mark.usefixtures("lists_are_never_late")
def test_object_that_was_deleted_to_be_replaced_is_put(replacing: Work, tmp_path: Path, moment: Moment) -> None:
    """Killed between the deletion and the job, a put does not leave a gap behind."""
    assert replacing.put(dies=moment) is None
    assert replacing.remainders()[0].deleted >= {"large 0"}
    result = replacing.resume()
    assert (result.failures, result.stopped) == ([], None)
    replacing.assert_whole(tmp_path)


def test_object_that_was_deleted_and_cannot_be_put_any_more_is_named(replacing: Work) -> None:
    """Its file is gone too: the failure says that the old object was deleted."""
    assert replacing.put(dies=Moment("created")) is None
    (replacing.tree / "large 1").unlink()
    result = replacing.resume()
    (failure,) = result.failures
    assert failure.key == "large 1"
    assert "has been deleted to make room" in failure.error.message
    assert result.exit_code == 3


# -- jobs that are over -----------------------------------------------------------------------------------------------


def test_job_that_expired_is_planned_anew_at_once(work: Work, tmp_path: Path, sent: Counter[tuple[str, int]]) -> None:
    """After a day the appliance has dropped what was not on tape: that is put again, by the same piece of work."""
    work.withheld = "large 2"
    assert work.put(dies=Moment("moved", 25, after=True)) is None
    job_id = str(work.remainders()[0].job_id)
    expire(work.room, job_id)
    result = work.resume()
    assert (result.failures, result.stopped, work.unfinished) == ([], None, 0)
    assert [outcome.job.id == job_id for outcome in result.jobs] == [True, False]
    assert result.jobs[0].job.status == JobStatus.CANCELED
    assert max(sent.values()) == 2
    work.assert_whole(tmp_path)


def expire(room: Room, job_id: str) -> None:
    """Let the appliance's idle timer end a job."""
    machine = room.appliance.machine
    with machine.store.lock:
        machine.cancel(machine.jobs.find(job_id), timed_out=True)


@pytest.mark.parametrize("end", ["cancel_job", "truncate_job"])
def test_job_that_a_person_ended_is_named_and_not_begun_anew_unasked(
    work: Work, tmp_path: Path, end: str, sent: Counter[tuple[str, int]]
) -> None:
    """Bare resume ends with 12 and says how; asked for by name, what is missing is put, and nothing else."""
    work.withheld = "large 2"
    assert work.put(dies=Moment("moved", 20, after=True)) is None
    job_id = str(work.remainders()[0].job_id)
    getattr(work.room.client, end)(job_id)
    result = work.resume()
    assert isinstance(result.stopped, JobLostError)
    assert (result.exit_code, result.stopped.reason) == (12, "cancelled" if end == "cancel_job" else "truncated")
    assert result.stopped.hint is not None
    assert f"ds3tool resume {job_id}" in result.stopped.hint
    assert work.unfinished == 1
    before = work.room.listed() if end == "truncate_job" else set()
    result = work.resume(anew=True)
    assert (result.failures, result.stopped, work.unfinished) == ([], None, 0)
    assert {key: sent[key, 0] for key in before} == dict.fromkeys(before, 1)
    work.assert_whole(tmp_path)


@pytest.mark.usefixtures("lists_are_never_late")
def test_plans_beside_one_that_a_person_ended_go_on(work: Work) -> None:
    """Only the cancelled one is left."""
    work.settings = replace(work.room.settings, limits=JobLimits(20))
    assert work.put(dies=Moment("created", after=True)) is None
    work.room.client.cancel_job(str(work.remainders()[0].job_id))
    result = work.resume()
    assert isinstance(result.stopped, JobLostError)
    assert (result.objects, work.unfinished) == (13, 1)


def test_job_whose_objects_failed_is_not_taken_for_one_that_a_person_truncated(work: Work) -> None:
    """Killed after it had given the job up itself, the run tries what failed once more, and names it."""
    work.source = HookedSource(work.tree, before_open=lambda item: _vanish(work.tree, item.key))
    assert work.put(dies=Moment("noted")) is None
    work.source = None
    result = work.resume()
    assert [failure.key for failure in result.failures] == ["large 1"]
    assert (result.stopped, result.exit_code, work.unfinished) == (None, 3, 0)
    work.room.until_idle()
    assert len(work.room.listed()) == 32


def _vanish(tree: Path, key: str) -> None:
    if key == "large 1":
        (tree / key).unlink(missing_ok=True)


def test_job_that_has_completed_is_done(work: Work, tmp_path: Path, sent: Counter[tuple[str, int]]) -> None:
    """All was on tape before anybody recorded the end; nothing is asked of the files."""
    assert work.put(dies=Moment("finished")) is None
    work.room.until_idle()
    result = work.resume()
    assert (result.failures, result.stopped, result.objects, work.unfinished) == ([], None, 0, 0)
    assert [outcome.job.status for outcome in result.jobs] == [JobStatus.COMPLETED]
    assert set(sent.values()) == {1}
    work.assert_whole(tmp_path)


@pytest.mark.parametrize("versioning", [Versioning.KEEP_LATEST, Versioning.KEEP_MULTIPLE_VERSIONS])
def test_older_version_of_the_same_size_is_not_taken_for_what_was_to_be_put(
    room_with: Callable[..., Room], tmp_path: Path, versioning: Versioning
) -> None:
    """A cancelled job's objects are put anew, though the bucket has others of their names and sizes."""
    room = room_with(versioning=versioning)
    work = work_in(room, tmp_path)
    work.settings = replace(room.settings, if_exists=IfExists.OVERWRITE)
    other = work.folder / "other"
    other.mkdir()
    for path in work.tree.glob("large*"):
        (other / path.name).write_bytes(bytes(path.stat().st_size))
    assert room.put(other).exit_code == 0
    room.until_idle()
    assert work.put(dies=Moment("created", after=True)) is None
    room.client.cancel_job(str(work.remainders()[0].job_id))
    result = work.resume(anew=True)
    assert (result.failures, result.stopped, result.skipped) == ([], None, 0)
    work.assert_whole(tmp_path)


# -- what neither list nor journal tells ------------------------------------------------------------------------------


class ForgetfulLists(Ds3Client):
    """A client of an appliance whose lists leave out the chunks that it has whole, as if they were on tape."""

    def modify_job(self, job_id: str, *, priority: Priority | None = None, name: str | None = None) -> JobDetails:
        details = super().modify_job(job_id, priority=priority, name=name)
        chunks = [chunk for chunk in details.chunks if not all(blob.in_cache for blob in chunk.blobs)]
        return replace(details, chunks=tuple(chunks))


def test_blobs_that_neither_the_journal_nor_the_list_names_are_asked_after(
    room_with: Callable[..., Room], tmp_path: Path, sent: Counter[tuple[str, int]]
) -> None:
    """Their chunk is on tape and out of the list, and their replies were not recorded: they are not sent again."""
    room = room_with(chunk_size=MIB)
    work = work_in(room, tmp_path)
    work.withheld = "large 2"
    assert work.put(dies=Moment("moved", 20)) is None
    details = room.client.get_job(str(work.remainders()[0].job_id))
    there = {(blob.key, blob.offset) for chunk in details.chunks for blob in chunk.blobs if blob.in_cache}
    assert there > work.recorded()
    work.client, work.clock = ForgetfulLists.over(room.client.exchange), SwiftClock()
    result = work.resume()
    assert (result.failures, result.stopped, work.unfinished) == ([], None, 0)
    assert {blob: sent[blob] for blob in there} == dict.fromkeys(there, 1)
    work.assert_whole(tmp_path)


def test_job_that_was_never_to_have_all_is_followed_by_one_for_the_rest(
    work: Work, tmp_path: Path, sent: Counter[tuple[str, int]]
) -> None:
    """A job of the plan's name with one of its objects: that one is put by it, and the others by another job."""
    assert work.put(dies=Moment("planned", after=True)) is None
    plan = work.remainders()[0].plan
    size = (work.tree / "large 0").stat().st_size
    work.room.client.create_put_job(BUCKET, [ObjectToPut("large 0", size)], name=plan.name)
    work.clock = SwiftClock()
    result = work.resume()
    assert (result.failures, result.stopped, work.unfinished) == ([], None, 0)
    assert [outcome.objects for outcome in result.jobs] == [1, 32]
    assert set(sent.values()) == {1}
    work.assert_whole(tmp_path)


def test_blob_that_the_appliance_has_lost_is_sent_again_though_it_was_recorded(
    room_with: Callable[..., Room], tmp_path: Path
) -> None:
    """A cache that lost a file offers its blob anew: the journal's word does not stand against that."""
    room = room_with(directory=str(tmp_path / "appliance"), persist_delay=3600.0)
    work = work_in(room, tmp_path)
    work.withheld = "large 2"
    assert work.put(dies=Moment("moved", 36, after=True)) is None
    lost = max(room.cached_files(), key=lambda path: path.stat().st_size)
    room.close()
    lost.unlink()
    room.appliance = Appliance(replace(room.appliance.settings, persist_delay=0.0)).start()
    room.client = work.client = room.connect()
    result = work.resume()
    assert (result.failures, result.stopped, work.unfinished) == ([], None, 0)
    assert result.bytes > MIB + 2 * MIB
    work.assert_whole(tmp_path)
