"""What has become of a job is told by its state, by the lists of ended jobs, and where both are silent, by time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ds3tool.client import Ds3Client
from ds3tool.errors import AccessDeniedError, JobLostError
from ds3tool.jobs.fate import Fate, fate_of, judge, was_truncated
from ds3tool.jobs.plan import JobLimits
from ds3tool.protocol.model import JobRecord, JobStatus, JobType, ObjectToPut
from ds3tool.simulator import Quirk
from ds3tool.transport.bodies import BytesBody
from tests.jobs.doubles import SwiftClock
from tests.jobs.rooms import BUCKET, MIB, HookedSource, Room

RECENTLY, LONG_AGO = timedelta(hours=23, minutes=59), timedelta(hours=24)


def record(*, truncated: bool = False, timed_out: bool = False) -> JobRecord:
    return JobRecord("job-1", "bucket-1", JobType.PUT, "name", truncated=truncated, timed_out=timed_out)


@pytest.mark.parametrize(
    ("status", "found", "idle", "fate"),
    [
        (JobStatus.IN_PROGRESS, None, LONG_AGO, Fate.GOES_ON),
        (JobStatus.IN_PROGRESS, record(), LONG_AGO, Fate.GOES_ON),
        (JobStatus.IN_PROGRESS, record(truncated=True), RECENTLY, Fate.TRUNCATED),
        (JobStatus.IN_PROGRESS, record(truncated=True, timed_out=True), RECENTLY, Fate.EXPIRED),
        (JobStatus.COMPLETED, None, LONG_AGO, Fate.COMPLETED),
        (JobStatus.COMPLETED, record(), LONG_AGO, Fate.COMPLETED),
        (JobStatus.COMPLETED, record(truncated=True), LONG_AGO, Fate.TRUNCATED),
        (JobStatus.COMPLETED, record(truncated=True, timed_out=True), RECENTLY, Fate.EXPIRED),
        (JobStatus.CANCELED, record(), LONG_AGO, Fate.CANCELLED),
        (JobStatus.CANCELED, record(timed_out=True), RECENTLY, Fate.EXPIRED),
        (JobStatus.CANCELED, record(truncated=True), LONG_AGO, Fate.TRUNCATED),
        (JobStatus.CANCELED, None, RECENTLY, Fate.CANCELLED),
        (JobStatus.CANCELED, None, LONG_AGO, Fate.EXPIRED),
        (None, None, RECENTLY, Fate.FORGOTTEN),
        (None, None, LONG_AGO, Fate.EXPIRED),
        (JobStatus("PAUSED"), None, LONG_AGO, Fate.GOES_ON),
    ],
)
def test_fate_is_judged_by_state_record_and_time(
    status: JobStatus | None, found: JobRecord | None, idle: timedelta, fate: Fate
) -> None:
    """A record wins over the clock; only where no record says otherwise does a day's silence mean that it expired."""
    assert judge(status, found, idle=idle) is fate


def test_only_what_a_person_did_is_a_persons_doing() -> None:
    """Whoever plans anew unasked undoes somebody's cancel."""
    assert {fate for fate in Fate if fate.by_a_person} == {Fate.CANCELLED, Fate.TRUNCATED}


# -- asked of an appliance --------------------------------------------------------------------------------------------


@pytest.fixture
def job(room: Room) -> str:
    """A job of two objects, of which one has come."""
    return begin(room)


def begin(room: Room) -> str:
    details = room.client.create_put_job(BUCKET, [ObjectToPut("a", 3), ObjectToPut("b", 3)])
    room.client.put_object(BUCKET, "a", BytesBody(b"abc"), job_id=details.job.id, offset=0)
    return details.job.id


def ask(room: Room, job_id: str, *, client: Ds3Client | None = None, idle: timedelta = timedelta(0)) -> Fate:
    clock = SwiftClock()
    last = datetime.fromtimestamp(clock.time(), UTC) - idle
    return fate_of(client or room.client, job_id, bucket=BUCKET, last_active=last, clock=clock).fate


def expire(room: Room, job_id: str) -> None:
    machine = room.appliance.machine
    with machine.store.lock:
        machine.cancel(machine.jobs.find(job_id), timed_out=True)


def cancel(room: Room, job_id: str) -> None:
    room.client.cancel_job(job_id)


def truncate(room: Room, job_id: str) -> None:
    room.client.truncate_job(job_id)
    room.until_idle()


@pytest.mark.parametrize(
    ("end", "fate"), [(cancel, Fate.CANCELLED), (expire, Fate.EXPIRED), (truncate, Fate.TRUNCATED)]
)
def test_lists_tell_who_ended_a_job(room: Room, job: str, end: Callable[[Room, str], None], fate: Fate) -> None:
    """The idle timer, a cancel and a truncation are told apart; and nobody asks the clock."""
    assert ask(room, job) is Fate.GOES_ON
    end(room, job)
    assert ask(room, job, idle=LONG_AGO * 3) is fate


def test_job_that_goes_on_is_touched(room: Room, job: str) -> None:
    """Whoever asks after it has a day again."""
    machine = room.appliance.machine
    running = machine.jobs.find(job)
    running.active_at -= 3600
    before = running.active_at
    assert ask(room, job) is Fate.GOES_ON
    assert running.active_at >= before + 3600


def test_truncated_job_that_still_goes_to_tape_is_known(room_with: Callable[..., Room]) -> None:
    """It is in progress, and only the list of running jobs tells that it will never have the rest."""
    room = room_with(persist_delay=3600.0)
    job = begin(room)
    assert was_truncated(room.client, job, bucket=BUCKET, clock=SwiftClock()) is Fate.GOES_ON
    room.client.truncate_job(job)
    assert was_truncated(room.client, job, bucket=BUCKET, clock=SwiftClock()) is Fate.TRUNCATED


def test_truncated_job_that_has_come_to_tape_meanwhile_is_known(room: Room, job: str) -> None:
    """When all that it was left with is on tape, the list of running jobs does not name it any more."""
    room.client.truncate_job(job)
    room.until_idle()
    assert job not in {record.id for record in room.client.list_active_jobs()}
    assert was_truncated(room.client, job, bucket=BUCKET, clock=SwiftClock()) is Fate.TRUNCATED


class NoLists(Ds3Client):
    """A client of a user who may not read the lists of ended jobs."""

    def _job_records(self, resource: str, bucket: str | None) -> Iterator[JobRecord]:
        raise AccessDeniedError(f"{resource} of {bucket} is not for you", status=403, code="AccessDenied")


def test_without_the_lists_a_days_silence_decides(room: Room, job: str) -> None:
    """A user without the right to read them is not left without an answer."""
    client = NoLists.over(room.client.exchange)
    room.client.cancel_job(job)
    assert ask(room, job, client=client) is Fate.CANCELLED
    assert ask(room, job, client=client, idle=LONG_AGO) is Fate.EXPIRED


def test_forgotten_job_is_said_to_be_forgotten(room_with: Callable[..., Room]) -> None:
    """An appliance that does not know it says nothing of how it ended."""
    room = room_with(quirks=frozenset({Quirk.FORGETS_JOBS}))
    job = begin(room)
    room.client.cancel_job(job)
    assert ask(room, job) is Fate.FORGOTTEN


# -- under a running put ----------------------------------------------------------------------------------------------


def make_tree(root: Path) -> None:
    root.mkdir()
    for number in range(6):
        (root / str(number)).write_bytes(bytes([number]) * (2 * MIB + number))


def ending(room: Room, tree: Path, end: Callable[[Room, str], None], *, times: int, after: int) -> HookedSource:
    """Return a source that ends the running job before a blob is sent: of each of so many jobs the `after`th."""
    room.settings = replace(room.settings, engine=replace(room.settings.engine, transfers=1))
    opened: dict[str, int] = {}

    def before_open(_: object) -> None:
        job_id = next((running.id for running in room.client.list_active_jobs()), None)
        if job_id is None:
            return  # it was ended before
        opened[job_id] = opened.get(job_id, 0) + 1
        if len(opened) <= times and opened[job_id] == after:
            end(room, job_id)

    return HookedSource(tree, before_open=before_open)


def test_job_that_expires_under_a_run_is_planned_anew_by_it(room: Room, tmp_path: Path) -> None:
    """A laptop that slept: what is missing goes on in another job, and nobody has to do anything."""
    make_tree(tmp_path / "tree")
    result = room.put(ending(room, tmp_path / "tree", expire, times=2, after=7))
    assert (result.failures, result.stopped, result.exit_code) == ([], None, 0)
    assert [outcome.job.status for outcome in result.jobs][:2] == [JobStatus.CANCELED] * 2
    assert len(result.jobs) == 3
    room.until_idle()
    assert room.listed() == set("012345")


def test_jobs_that_expire_at_once_are_not_begun_in_a_circle(room: Room, tmp_path: Path) -> None:
    """Where nothing came of a job, another one would not fare better: the run ends and says so."""
    make_tree(tmp_path / "tree")
    result = room.put(ending(room, tmp_path / "tree", expire, times=99, after=1))
    assert isinstance(result.stopped, JobLostError)
    assert (result.stopped.reason, result.exit_code, len(result.jobs)) == ("expired", 12, 1)


def test_job_that_a_person_cancels_under_a_run_is_not_begun_anew(room: Room, tmp_path: Path) -> None:
    """Exit code 12, and the reason."""
    make_tree(tmp_path / "tree")
    result = room.put(ending(room, tmp_path / "tree", cancel, times=1, after=7))
    assert isinstance(result.stopped, JobLostError)
    assert (result.stopped.reason, result.exit_code, len(result.jobs)) == ("cancelled", 12, 1)


def test_what_expired_keeps_its_place_among_other_jobs(room: Room, tmp_path: Path) -> None:
    """A run of several jobs goes on with the next one after it has done the expired one again."""
    make_tree(tmp_path / "tree")
    room.settings = replace(room.settings, limits=JobLimits(objects=3))
    result = room.put(ending(room, tmp_path / "tree", expire, times=1, after=4))
    assert (result.failures, result.stopped, len(result.jobs)) == ([], None, 3)
    room.until_idle()
    assert room.listed() == set("012345")
