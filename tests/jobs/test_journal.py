"""The journal keeps what a piece of work is to do and how far it has come, whenever its process ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ds3tool.clock import ManualClock
from ds3tool.errors import JobError
from ds3tool.jobs.ends import Failure, SourceObject, TargetObject
from ds3tool.jobs.journal import Journal, WorkHead
from ds3tool.jobs.journal_columns import (
    ObjectColumns,
    add_objects,
    moved_blobs,
    moved_columns,
    object_columns,
    pack_versions,
    squeezed,
    unpack_version,
    unpack_versions,
)
from ds3tool.jobs.plan import JobLimits, PlannedJob, plan_get, plan_put
from ds3tool.jobs.recorder import Arriving, MovedBlobs, Recorder
from ds3tool.jobs.remainder import Remainder
from ds3tool.jobs.work_head import new_work_id
from ds3tool.jobs.works import works
from ds3tool.protocol.model import ChecksumType, Job, JobStatus, JobType
from ds3tool.protocol.ranges import ByteRange

BEGUN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def head(type_: JobType = JobType.PUT, work_id: str = "work-1", **asked: object) -> WorkHead:
    return WorkHead(work_id, type_, "archive", "bucket-1", asked, "http://box", "default", BEGUN)


def job(job_id: str = "job-1", type_: JobType = JobType.PUT) -> Job:
    return Job(job_id, "archive", type_, JobStatus.IN_PROGRESS)


def sources(count: int, first: int = 0) -> Iterator[SourceObject]:
    for number in range(first, first + count):
        yield SourceObject(f"key/{number}", number, -number, b"name\xff%d" % number, (1 << 64) - 1 - number)


def put_plan(count: int, first: int = 0) -> PlannedJob:
    return next(plan_put(sources(count, first), "archive", limits=JobLimits()))


def get_plan(count: int) -> PlannedJob:
    items = (TargetObject(f"key/{number}", number, f"name/{number}") for number in range(count))
    return next(plan_get(items, "archive", limits=JobLimits()))


def moved(*owners: int, offset: int = 0, version: str | None = None) -> MovedBlobs:
    count = len(owners)
    return MovedBlobs(
        owners,
        [offset] * count,
        [10] * count,
        [ChecksumType.CRC_32C] * count,
        [f"{owner:06d}==" for owner in owners],
        [version] * count,
    )


def held(remainder: Remainder) -> dict[tuple[int, int], tuple[int, ChecksumType | None, str | None]]:
    blobs = remainder.held
    return {
        (blobs.owners[n], blobs.offsets[n]): (blobs.lengths[n], blobs.kinds[n], blobs.checksums[n])
        for n in range(len(blobs))
    }


def columns_of(plan: PlannedJob) -> tuple[object, ...]:
    return tuple(getattr(plan, name) for name in PlannedJob.__slots__)


def reopened(journal: Journal) -> Journal:
    journal.close()
    return Journal.open(journal.path)


# -- plans ---------------------------------------------------------------------------------------------------------


def test_a_journal_is_a_recorder_that_lasts(tmp_path: Path) -> None:
    """Runs may be told a journal where they take a recorder, and then leave their jobs to be resumed."""
    with Journal.create(tmp_path, head()) as journal:
        recorder: Recorder = journal
        assert recorder.lasting


def test_the_head_comes_back_as_it_was_told(tmp_path: Path) -> None:
    """Direction, bucket, appliance and what was asked are the same after the journal was closed and opened."""
    told = head(JobType.GET, "w", command=["get", "ds3://archive/\udcff", "out"], settings={"deep": [1, None]})
    with Journal.create(tmp_path, told) as journal:
        journal.planned(get_plan(1))
    with Journal.open(journal.path) as journal:
        assert journal.head == told


def test_plans_come_back_one_by_one_as_they_were_told(tmp_path: Path) -> None:
    """A run of several jobs gets the same plans in the same order, all taken before it gets the first."""
    plans = list(plan_put(sources(5), "archive", limits=JobLimits(objects=2)))
    told = [columns_of(plan) for plan in plans]
    taken: list[str] = []

    def walk() -> Iterator[PlannedJob]:
        for plan in plans:
            taken.append(plan.name)
            yield plan

    with Journal.create(tmp_path, head()) as journal:
        given_back = journal.plans(walk())
        assert columns_of(next(given_back)) == told[0]
        assert len(taken) == 3
        assert [columns_of(plan) for plan in given_back] == told[1:]


def test_an_only_plan_is_given_back_itself(tmp_path: Path) -> None:
    """A run of one small job does not pay for reading its plan from the file."""
    plan = put_plan(3)
    with Journal.create(tmp_path, head()) as journal:
        assert list(journal.plans(iter([plan]))) == [plan]


def test_what_was_planned_is_there_before_any_job(tmp_path: Path) -> None:
    """After the last plan was taken, and before a run has seen the first, all are in the file with no job."""
    with Journal.create(tmp_path, head()) as journal:
        next(journal.plans(plan_put(sources(5), "archive", limits=JobLimits(objects=2))))
        (summary,) = works(tmp_path)
        assert not summary.planning
        assert [(plan.objects, plan.job_id, plan.finished) for plan in summary.plans] == [
            (2, None, False),
            (2, None, False),
            (1, None, False),
        ]


def test_a_work_is_planning_until_all_plans_are_there(tmp_path: Path) -> None:
    """While plans still come, the work counts as one that has begun nothing."""
    seen = []

    def walk() -> Iterator[PlannedJob]:
        for plan in plan_put(sources(3), "archive", limits=JobLimits(objects=1)):
            seen.append(journal.planning and works(tmp_path)[0].planning)
            yield plan

    with Journal.create(tmp_path, head()) as journal:
        for _ in journal.plans(walk()):
            pass
        assert seen == [True, True, True]
        assert not journal.planning


def test_a_walk_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    """A command that cannot list its source has begun nothing, so nothing of it is to be resumed."""

    def walk() -> Iterator[PlannedJob]:
        yield put_plan(1)
        raise JobError("the disk is gone")

    with pytest.raises(JobError), Journal.create(tmp_path, head()) as journal:
        list(journal.plans(walk()))
    assert works(tmp_path) == []
    assert list((tmp_path / "jobs").glob("*.*")) == []


def test_a_plan_told_again_takes_the_place_of_what_it_was(tmp_path: Path) -> None:
    """Objects left out of a plan before its job is created are not among what remains."""
    with Journal.create(tmp_path, head()) as journal:
        (plan,) = journal.plans(iter([put_plan(10)]))
        less = plan.keep([1, 3, 8])
        journal.planned(less)
        journal.created(less, job())
        journal.moved("job-1", moved(2))
    with Journal.open(journal.path) as journal:
        (remainder,) = journal.remainders()
        assert columns_of(remainder.plan) == columns_of(less)
        assert remainder.plan.keys[remainder.held.owners[0]] == "key/8"


def test_a_job_is_recorded_with_the_plan_it_was_created_of(tmp_path: Path) -> None:
    """A plan that was shortened without being told again is recorded as it is, so that numbers mean its objects."""
    with Journal.create(tmp_path, head()) as journal:
        (plan,) = journal.plans(iter([put_plan(10)]))
        less = plan.keep([5, 7])
        journal.created(less, job())
        journal.moved("job-1", moved(1))
    with Journal.open(journal.path) as journal:
        (remainder,) = journal.remainders()
        assert remainder.plan.keys == ["key/5", "key/7"]
        assert list(held(remainder)) == [(1, 0)]


def test_a_job_of_other_objects_has_none_of_what_was_there(tmp_path: Path) -> None:
    """Numbers of objects that have appeared are not taken for those of the objects that took their places."""
    with Journal.create(tmp_path, head(JobType.GET)) as journal:
        plan = get_plan(4)
        journal.planned(plan)
        journal.created(plan, job("first", JobType.GET))
        journal.moved("first", moved(2))
        journal.appeared("first", [0, 1])
        journal.created(plan.keep([1, 2, 3]), job("second", JobType.GET))
        (remainder,) = journal.remainders()
    assert (len(remainder.plan), len(remainder.held), bytes(remainder.appeared)) == (3, 0, b"\0\0\0")


def test_a_plan_told_again_unchanged_keeps_what_is_through(tmp_path: Path) -> None:
    """Telling a plan once more, as a resumed run may, loses neither its job nor its blobs."""
    with Journal.create(tmp_path, head()) as journal:
        journal.planned(put_plan(3))
        (plan,) = [remainder.plan for remainder in journal.remainders()]
        journal.created(plan, job())
        journal.moved("job-1", moved(0, 1))
    with Journal.open(journal.path) as journal:
        (remainder,) = journal.remainders()
        journal.planned(remainder.plan)
        journal.planned(remainder.plan.keep(range(3)))
        journal.created(remainder.plan, job())
        (again,) = journal.remainders()
        assert again.job_id == "job-1"
        assert held(again) == held(remainder) != {}


def test_the_plan_of_a_job_does_not_change_any_more(tmp_path: Path) -> None:
    """A plan whose job is there is refused when it is told with other objects, and stays as it was."""
    with Journal.create(tmp_path, head()) as journal:
        plan = put_plan(3)
        journal.planned(plan)
        journal.created(plan, job())
        with pytest.raises(ValueError, match="job-1"):
            journal.planned(plan.keep([0]))
        (remainder,) = journal.remainders()
        assert remainder.plan.keys == plan.keys


def test_another_job_of_a_plan_has_none_of_the_blobs_of_the_first(tmp_path: Path) -> None:
    """Blobs that one job had are not taken for those of another, while objects at the target stay there."""
    with Journal.create(tmp_path, head(JobType.GET)) as journal:
        plan = get_plan(4)
        journal.planned(plan)
        journal.created(plan, job("first", JobType.GET))
        journal.moved("first", moved(0, 1, 2))
        journal.arriving("first", [Arriving(3, 0, 10, 5)])
        journal.appeared("first", [0])
        journal.created(plan, job("second", JobType.GET))
        (remainder,) = journal.remainders()
    assert remainder.job_id == "second"
    assert (len(remainder.held), remainder.arriving) == (0, ())
    assert bytes(remainder.appeared) == b"\1\0\0\0"


def test_a_plan_that_takes_anothers_place_ends_it(tmp_path: Path) -> None:
    """Of an expired job's plan and the one for what is left of it, only the second remains."""
    with Journal.create(tmp_path, head()) as journal:
        old = put_plan(4)
        journal.planned(old)
        journal.created(old, job())
        new = put_plan(2, first=2)
        journal.planned(new, instead_of=old)
    with Journal.open(journal.path) as journal:
        assert [remainder.plan.name for remainder in journal.remainders()] == [new.name]


def test_what_is_left_comes_plan_by_plan_without_what_is_finished(tmp_path: Path) -> None:
    """Plans finished before or during the walk are left out, and plans that come meanwhile are not met."""
    plans = list(plan_put(sources(4), "archive", limits=JobLimits(objects=1)))
    with Journal.create(tmp_path, head()) as journal:
        given_back = list(journal.plans(iter(plans)))
        journal.finished(given_back[0])
        names = []
        for remainder in journal.remainders():
            names.append(remainder.plan.name)
            journal.finished(plans[2])
            journal.planned(put_plan(1, first=50 + len(names)))
    assert names == [plans[1].name, plans[3].name]


# -- how far it has come -------------------------------------------------------------------------------------------


def test_blobs_that_were_told_are_there_after_closing(tmp_path: Path) -> None:
    """Every blob of every batch comes back with its length, its digest's type, and its digest."""
    big = 1 << 40
    batch = MovedBlobs(
        [2, 2, 0, 1],
        [0, big, 0, 0],
        [big, 7, 0, 3],
        [ChecksumType.MD5, ChecksumType.MD5, None, ChecksumType("BLAKE9")],
        ["a", "", None, "longer digest"],
    )
    with Journal.create(tmp_path, head()) as journal:
        plan = put_plan(4)
        journal.planned(plan)
        journal.created(plan, job())
        journal.moved("job-1", batch)
        journal.moved("job-1", moved(3))
    with Journal.open(journal.path) as journal:
        (remainder,) = journal.remainders()
    assert held(remainder) == {
        (2, 0): (big, ChecksumType.MD5, "a"),
        (2, big): (7, ChecksumType.MD5, ""),
        (0, 0): (0, None, None),
        (1, 0): (3, ChecksumType("BLAKE9"), "longer digest"),
        (3, 0): (10, ChecksumType.CRC_32C, "000003=="),
    }


def test_blobs_are_written_in_batches(tmp_path: Path) -> None:
    """What is told within a quarter of a second is one step on the disk; a tick after that writes it."""
    clock = ManualClock()
    with Journal.create(tmp_path, head(), clock=clock) as journal:
        plan = put_plan(100)
        journal.planned(plan)
        journal.created(plan, job())
        for owner in range(50):
            journal.moved("job-1", moved(owner))
            journal.tick()
        assert works(tmp_path)[0].plans[0].moved_blobs == 0
        clock.advance(0.3)
        journal.tick()
        assert works(tmp_path)[0].plans[0].moved_blobs == 50
        assert works(tmp_path)[0].plans[0].moved_bytes == 500


def test_many_blobs_are_written_before_their_time(tmp_path: Path) -> None:
    """No more than some ten thousand blobs gather, however slowly time passes."""
    with Journal.create(tmp_path, head(), clock=ManualClock()) as journal:
        plan = put_plan(30_000)
        journal.planned(plan)
        journal.created(plan, job())
        for first in range(0, 30_000, 1000):
            journal.moved("job-1", moved(*range(first, first + 1000)))
        assert works(tmp_path)[0].plans[0].moved_blobs >= 20_000


def test_blobs_under_way_are_those_that_are_not_through(tmp_path: Path) -> None:
    """Of each blob under way the last word counts, and one that is through is not under way any more."""
    clock = ManualClock()
    journal = Journal.create(tmp_path, head(JobType.GET), clock=clock)
    plan = get_plan(4)
    journal.planned(plan)
    journal.created(plan, job(type_=JobType.GET))
    journal.arriving("job-1", [Arriving(0, 0, 100, 1), Arriving(1, 5, 100, 2), Arriving(2, 0, 100, 9)])
    journal.flush()
    journal.arriving("job-1", [Arriving(0, 0, 100, 50), Arriving(3, 0, 100, 3)])
    journal.moved("job-1", moved(2, 3))
    journal = reopened(journal)
    (remainder,) = journal.remainders()
    assert remainder.arriving == (Arriving(0, 0, 100, 50), Arriving(1, 5, 100, 2))
    journal.moved("job-1", moved(1, offset=5))
    journal.moved("job-1", moved(0, offset=99))
    (remainder,) = journal.remainders()
    assert remainder.arriving == (Arriving(0, 0, 100, 50),)
    journal.close()


def test_objects_that_appeared_are_flagged(tmp_path: Path) -> None:
    """Those that are safe at the target are flagged by their number, and no others."""
    with Journal.create(tmp_path, head(JobType.GET)) as journal:
        plan = get_plan(6)
        journal.planned(plan)
        journal.created(plan, job(type_=JobType.GET))
        journal.appeared("job-1", [1, 4])
        journal.flush()
        journal.appeared("job-1", [5])
    with Journal.open(journal.path) as journal:
        (remainder,) = journal.remainders()
    assert bytes(remainder.appeared) == b"\0\1\0\0\1\1"


def test_it_is_known_when_a_plan_was_last_worked_on(tmp_path: Path) -> None:
    """The time of the last record of a plan is in what remains of it; other plans' records do not count."""
    clock = ManualClock(1_800_000_000.0)
    with Journal.create(tmp_path, head(), clock=clock) as journal:
        first, second = list(journal.plans(plan_put(sources(2), "archive", limits=JobLimits(objects=1))))
        journal.created(first, job())
        clock.advance(3600)
        journal.moved("job-1", moved(0))
        journal.flush()
        clock.advance(3600)
        journal.failed(None, Failure("key", JobError("no")))
        journal.tick()
        times = [remainder.last_active for remainder in journal.remainders()]
    began = datetime.fromtimestamp(1_800_000_000, UTC)
    assert times == [began + timedelta(hours=1), began]
    assert len(second) == 1


def test_the_last_state_of_a_job_is_kept(tmp_path: Path) -> None:
    """What a run noted of its job is in the summary; a job that is not of this work is left out."""
    with Journal.create(tmp_path, head()) as journal:
        plan = put_plan(1)
        journal.planned(plan)
        journal.created(plan, job())
        journal.noted(Job("job-1", "archive", JobType.PUT, JobStatus.COMPLETED))
        journal.noted(Job("twin", "archive", JobType.PUT, JobStatus.CANCELED))
        journal.flush()
        assert [plan.status for plan in works(tmp_path)[0].plans] == ["COMPLETED"]


def test_deletions_and_ends_are_on_the_disk_at_once(tmp_path: Path) -> None:
    """What is about to be deleted, a job's id and a plan's end wait for no tick; they take along what has gathered."""
    with Journal.create(tmp_path, head(), clock=ManualClock()) as journal:
        plans = list(journal.plans(plan_put(sources(2), "archive", limits=JobLimits(objects=1))))
        journal.created(plans[0], job())
        assert works(tmp_path)[0].plans[0].job_id == "job-1"
        journal.moved("job-1", moved(0))
        journal.deleting("archive", "key\udcff", "version", None)
        assert works(tmp_path)[0].plans[0].moved_blobs == 1
        journal.finished(plans[0])
        assert [plan.finished for plan in works(tmp_path)[0].plans] == [True, False]


# -- the end -------------------------------------------------------------------------------------------------------


def test_a_put_that_is_done_is_put_away(tmp_path: Path) -> None:
    """Its journal is no unfinished work any more, and is kept for its digests."""
    with Journal.create(tmp_path, head()) as journal:
        journal.planned(put_plan(1))
        journal.conclude()
        assert works(tmp_path) == []
    assert works(tmp_path) == []
    assert [path.name for path in (tmp_path / "jobs").iterdir()] == ["done"]
    assert [path.name for path in (tmp_path / "jobs" / "done").iterdir()] == ["work-1.db"]


def test_a_get_that_is_done_leaves_nothing(tmp_path: Path) -> None:
    """A get's journal vouches for nothing on the appliance, and goes with the work."""
    with Journal.create(tmp_path, head(JobType.GET)) as journal:
        journal.planned(get_plan(1))
        journal.conclude()
    assert [path for path in (tmp_path / "jobs").rglob("*") if path.is_file()] == []


def test_a_dropped_journal_leaves_nothing(tmp_path: Path) -> None:
    """Work that nobody will go on with is gone when its journal is closed."""
    with Journal.create(tmp_path, head()) as journal:
        journal.planned(put_plan(1))
        journal.drop()
    assert [path for path in (tmp_path / "jobs").rglob("*") if path.is_file()] == []


def test_closing_twice_does_no_harm(tmp_path: Path) -> None:
    """A journal that is closed stays closed, and another may hold it."""
    journal = Journal.create(tmp_path, head())
    journal.planned(put_plan(1))
    journal.close()
    with Journal.open(journal.path) as other:
        journal.close()
        other.finished(next(other.remainders()).plan)


def test_the_names_of_works_tell_when_they_began(tmp_path: Path) -> None:
    """Work ids sort by the time at which they were made, and no two are alike."""
    ids = [new_work_id(now) for now in (0.0, 1e9, 1e9, 2e9)]
    assert ids[0].startswith("19700101-000000-")
    assert ids[0] < min(ids[1:3]) <= max(ids[1:3]) < ids[3]
    assert len(set(ids)) == 4


# -- packing -------------------------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=()), max_size=12) | st.sampled_from(
    ["\ud83d", "\ude00", "\udcff\udcfe", "a\0b", "", "ä\ud800", "\U0001f600"]
)
sizes = st.integers(0, 40) | st.integers(0, (1 << 63) - 1)


@settings(max_examples=200)
@given(
    items=st.lists(
        st.builds(
            SourceObject,
            key=texts,
            size=sizes,
            modified_ns=st.integers(-(1 << 63), (1 << 63) - 1),
            name=st.binary(max_size=9),
            inode=st.integers(0, (1 << 64) - 1),
        ),
        min_size=1,
        max_size=9,
    ),
    cut=st.integers(1, 9),
)
def test_objects_of_a_put_come_back_as_they_were(items: list[SourceObject], cut: int) -> None:
    """Keys with half surrogates, names of any bytes, times before 1970: nothing is lost in columns, however cut."""
    plan = next(plan_put(items, "archive", limits=JobLimits()))
    assert columns_of(_through_columns(plan, cut)) == columns_of(plan)


@settings(max_examples=200)
@given(
    items=st.lists(
        st.builds(
            TargetObject,
            key=texts,
            size=sizes,
            name=texts,
            version_id=st.none() | texts,
            ranges=st.lists(
                st.tuples(sizes, st.integers(1, 99)).map(lambda one: ByteRange(one[0], one[0] + one[1])), max_size=3
            ).map(tuple),
            replace=st.booleans(),
        ),
        min_size=1,
        max_size=9,
    ),
    cut=st.integers(1, 9),
)
def test_objects_of_a_get_come_back_as_they_were(items: list[TargetObject], cut: int) -> None:
    """Versions, ranges and what is to be replaced stay with their objects, however the plan is cut into columns."""
    plan = next(plan_get(items, "archive", limits=JobLimits()))
    assert columns_of(_through_columns(plan, cut)) == columns_of(plan)


def _through_columns(plan: PlannedJob, cut: int) -> PlannedJob:
    back = PlannedJob(plan.type, plan.bucket)
    back.name = plan.name
    for start in range(0, len(plan), cut):
        end = min(start + cut, len(plan))
        packed: ObjectColumns = squeezed(object_columns(plan, start, end))
        add_objects(back, packed, end - start)
    return back


kinds = st.none() | st.sampled_from([*ChecksumType, ChecksumType("NEWER")])
versions = st.none() | st.uuids().map(str) | st.uuids().map(lambda one: str(one).upper()) | texts


@settings(max_examples=200)
@given(
    blobs=st.lists(
        st.tuples(
            st.integers(0, (1 << 32) - 1), sizes, sizes, kinds, st.none() | st.text("ABab+/=09", max_size=8), versions
        ),
        min_size=1,
        max_size=9,
    ),
    cut=st.integers(1, 9),
    tells_versions=st.booleans(),
)
def test_blobs_come_back_as_they_were(
    blobs: list[tuple[int, int, int, ChecksumType | None, str | None, str | None]], cut: int, tells_versions: bool
) -> None:
    """Digests of one kind or of many, or none, with versions or without: each blob has its own after packing."""
    batches = [
        MovedBlobs(*(list(column) for column in list(zip(*part, strict=True))[: 6 if tells_versions else 5]))
        for part in (blobs[start : start + cut] for start in range(0, len(blobs), cut))
    ]
    back = moved_blobs(moved_columns(batches), len(blobs))
    told = zip(back.owners, back.offsets, back.lengths, back.kinds, back.checksums, strict=True)
    assert list(told) == [blob[:5] for blob in blobs]
    if back.versions:
        assert list(back.versions) == [blob[5] for blob in blobs]
    else:
        assert not tells_versions or all(blob[5] is None for blob in blobs)


@given(st.lists(versions, min_size=1, max_size=6))
def test_a_version_is_found_among_others(told: list[str | None]) -> None:
    """One version read alone is the same as when all are."""
    packed = pack_versions(told)
    if packed is None:
        assert told == [None] * len(told)
    else:
        assert unpack_versions(packed, len(told)) == told
        assert [unpack_version(packed, len(told), number) for number in range(len(told))] == told


def test_versions_that_are_uuids_take_16_bytes_each(tmp_path: Path) -> None:
    """A job of many objects is not made twice as large by their versions' text."""
    packed = pack_versions(["0b9cdd05-6f2a-4b5c-8d00-112233445566"] * 1000)
    assert packed is not None
    assert len(packed) <= 16_001


def test_a_large_plan_takes_few_bytes_an_object(tmp_path: Path) -> None:
    """The journal of 20,000 objects with names alike takes less than 40 bytes an object."""
    with Journal.create(tmp_path, head()) as journal:
        journal.planned(put_plan(20_000))
        assert os.path.getsize(journal.path) < 40 * 20_000
