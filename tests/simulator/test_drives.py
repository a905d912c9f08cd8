"""Tape drives: who gets them, what one mount serves, where copies go, what time it all takes, and drives that fail."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ds3tool.simulator import Appliance, ApplianceSettings
from ds3tool.simulator.clock import SimulatedClock
from ds3tool.simulator.tapes.drive import Drive
from ds3tool.simulator.tapes.ledger import Account, Ledger, Spent
from ds3tool.simulator.tapes.library import Tape
from ds3tool.simulator.tapes.tasks import (
    DriveFailedError,
    DriveTask,
    TaskAbortedError,
    TaskKind,
    TaskState,
    aged,
    rank_of,
)
from tests.simulator.conftest import Bench, Build
from tests.simulator.wire import Wire

# Fast enough that hours pass in no time: 1,000 s of the appliance's clock in a tenth of ours.
_FAST = 10_000.0
_SMALL: dict[str, Any] = {"blob_size": 1000, "chunk_size": 1000, "tape_capacity": 1000}


def _names(count: int) -> dict[str, bytes]:
    return {f"o{number:03d}": bytes([number % 256]) * 1000 for number in range(count)}


def _fetch(wire: Wire, job: str, contents: dict[str, bytes]) -> None:
    """Read all of a get job, polling as clients do, and hold it against what was put."""
    left = dict(contents)
    while left:
        for blob in list(wire.ready(job).xml.iter("Object")):
            name = blob.attrib["Name"]
            answer = wire.get_blob("b", name, job, int(blob.attrib["Offset"]))
            assert answer.status == 200, answer
            assert answer.body == left.pop(name)


def _account(bench: Bench, job: str) -> Account:
    account = bench.appliance.machine.ledger.of_job(job)
    assert account is not None
    return account


def _tape_of(bench: Bench, name: str) -> Tape:
    machine = bench.appliance.machine
    with machine.store.lock:
        ((tape,),) = machine.store.db.execute(
            "SELECT c.tape FROM objects o JOIN blobs b ON b.object = o.n JOIN copies c ON c.blob = b.n "
            "WHERE o.name = ?",
            (name,),
        ).fetchall()
    return machine.library.tapes[tape]


def _tapes_with_data(bench: Bench) -> list[Tape]:
    return [tape for tape in bench.appliance.machine.library.tapes.values() if tape.written]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state with a hundred tapes of one object each, out of the cache."""
    folder = tmp_path_factory.mktemp("archive")
    settings = ApplianceSettings(directory=str(folder), tapes=100, persist_delay=0.0, seed=7, **_SMALL)
    with Appliance(settings) as appliance:
        wire = Wire(appliance.endpoint, appliance.access_key, appliance.secret_key)
        bench = Bench(appliance, wire)
        assert wire.ask("PUT", "/b").status == 200
        wire.put_all("b", _names(100))
        bench.until_persisted()
        bench.reclaim()
        wire.close()
    return folder


def _reopened(build: Build, archive: Path, clock: SimulatedClock | None = None, **settings: object) -> Bench:
    """Open that state again, with nothing of it in the cache."""
    values = {"directory": str(archive), "tapes": 100, "hold": 1.0, **_SMALL, **settings}
    bench = build(clock, bucket=None, **values)
    bench.reclaim()
    return bench


# What one mount serves, and the time it takes.


def test_a_restore_from_a_hundred_tapes_mounts_each_of_them_once(archive: Path, build: Build) -> None:
    """100 mounts, hours of the appliance's clock, and seconds of ours; every drive was in use."""
    bench = _reopened(build, archive, SimulatedClock(_FAST), timed=True)
    contents = _names(100)
    job = bench.wire.start_get("b", list(contents)).xml.attrib["JobId"]
    _fetch(bench.wire, job, contents)
    account = _account(bench, job)
    assert account.mounts == 100
    assert account.spent[Spent.READ].bytes == 100_000
    by_tape = {each.subject: each for each in bench.appliance.machine.ledger.summary().tapes}
    assert len(by_tape) == 100
    assert all(each.mounts == 1 for each in by_tape.values())
    # A mount with its robot move takes 27 s, an unload with rewind and move more; two drives share the work.
    busy = bench.appliance.machine.ledger.summary().total.drive_seconds
    assert busy > 100 * 27 + 98 * (24 + 12)
    total = bench.appliance.machine.ledger.summary().total
    assert total.drive_seconds / 2 <= total.appliance_seconds + 1
    assert account.client_seconds < account.appliance_seconds / 100
    assert all(drive.mounts for drive in bench.appliance.machine.drives.all)


def test_one_mount_serves_all_chunks_of_a_job_on_a_tape(build: Build) -> None:
    """Thirty chunks of one job on one tape are read with one mount; so are those of a second job like it."""
    bench = build(blob_size=1000, chunk_size=1000, drives=2)
    contents = _names(30)
    bench.wire.put_all("b", contents)
    bench.until_persisted()
    bench.reclaim()
    bench.until(lambda: not bench.appliance.machine.drives.loaded)
    held = _hold_all_drives(bench)
    jobs = [bench.wire.start_get("b", list(contents)).xml.attrib["JobId"] for _ in range(2)]
    held.set()
    for job in jobs:
        _fetch(bench.wire, job, contents)
    assert _account(bench, jobs[0]).mounts == 1
    total = bench.appliance.machine.ledger.summary().total
    assert total.spent[Spent.READ].count == 30  # the second job found them in the cache
    (tape,) = _tapes_with_data(bench)
    assert tape.bar_code == "SIM001L8"


def _hold_all_drives(bench: Bench) -> threading.Event:
    """Keep every drive busy, and return what to set to let them go."""
    release, drives = threading.Event(), bench.appliance.machine.drives
    hold = _holding(release)
    tasks = [drives.submit(DriveTask("Hold", "Held by a test", hold, priority="CRITICAL")) for _ in drives.all]
    bench.until(lambda: all(task.state is TaskState.IN_PROGRESS for task in tasks))
    return release


def test_a_loaded_tape_serves_later_jobs_until_the_idle_time_is_over(build: Build) -> None:
    """A drive keeps its tape for the partition's idle time, so a later job needs no mount; then it puts it away."""
    bench = build(SimulatedClock(_FAST), timed=True, hold=1.0, drives=1)
    machine = bench.appliance.machine
    partition = str(machine.beans.all("TapePartition")[0]["Id"])
    machine.beans.update("TapePartition", partition, {"DriveIdleTimeoutInMinutes": None})
    contents = _names(2)
    bench.wire.put_all("b", contents)
    bench.until_persisted()
    bench.reclaim()
    for name, data in contents.items():
        job = bench.wire.start_get("b", [name]).xml.attrib["JobId"]
        _fetch(bench.wire, job, {name: data})
        assert _account(bench, job).spent[Spent.MOUNT].count == 0
    assert machine.ledger.summary().total.mounts == 1
    assert machine.drives.loaded
    machine.beans.update("TapePartition", partition, {"DriveIdleTimeoutInMinutes": 15})
    bench.until(lambda: not machine.drives.loaded)
    assert machine.ledger.summary().total.spent[Spent.UNLOAD].count == 1
    assert not machine.library.in_use


def test_drives_that_are_not_timed_take_no_time_and_keep_no_tape(build: Build) -> None:
    """What they do is counted all the same."""
    bench = build()
    contents = _names(3)
    bench.wire.put_all("b", contents)
    bench.until_persisted()
    machine = bench.appliance.machine
    bench.until(lambda: not machine.drives.loaded)
    total = machine.ledger.summary().total
    assert total.mounts >= 1
    assert total.spent[Spent.WRITE].bytes == 3000
    assert total.drive_seconds == 0


def test_an_idle_drive_gives_a_tape_back_that_is_to_be_ejected(build: Build) -> None:
    """A tape that lies loaded in an idle drive is unloaded at once when somebody ejects it."""
    bench = build(SimulatedClock(_FAST), timed=True, drives=1)
    machine = bench.appliance.machine
    machine.beans.update(
        "TapePartition", str(machine.beans.all("TapePartition")[0]["Id"]), {"DriveIdleTimeoutInMinutes": None}
    )
    bench.wire.put_all("b", _names(1))
    bench.until_persisted()
    (tape,) = _tapes_with_data(bench)
    assert machine.drives.tape_in(machine.drives.all[0].id) is tape
    assert bench.wire.ask("PUT", f"/_rest_/tape/{tape.bar_code}?operation=eject").status == 200
    bench.until(lambda: tape.state == "EJECTED")
    assert not machine.drives.loaded


def test_a_restart_in_the_middle_of_a_mount_begins_it_again(archive: Path, build: Build) -> None:
    """An appliance that closes while a tape is being loaded does so at once, and the next one serves the job."""
    bench = _reopened(build, archive, SimulatedClock(0), timed=True, hold=0.0)
    job = bench.wire.start_get("b", ["o000"]).xml.attrib["JobId"]
    bench.until(lambda: bool(bench.appliance.machine.drives.loaded))
    assert not list(bench.wire.ready(job).xml.iter("Object"))
    bench.appliance.close()
    bench = _reopened(build, archive)
    _fetch(bench.wire, job, {"o000": b"\0" * 1000})


# Who gets the drives.


def _recorded(order: list[str], name: str, seconds: float = 0.0) -> Callable[[Drive], None]:
    def perform(drive: Drive) -> None:
        order.append(name)
        drive.spend(Spent.OTHER, seconds)

    return perform


def _submit_in_order(bench: Bench, wanted: list[tuple[str, str]], seconds: float) -> list[str]:
    """Submit tasks of (name, priority) while the drives are held; return the order in which they began."""
    drives = bench.appliance.machine.drives
    release = _hold_all_drives(bench)
    order: list[str] = []
    tasks = [
        drives.submit(DriveTask(name, name, _recorded(order, name, seconds), priority=priority))
        for name, priority in wanted
    ]
    release.set()
    bench.until(lambda: all(task.state is TaskState.COMPLETED for task in tasks))
    return order


def test_the_more_urgent_comes_first_and_then_the_older(build: Build) -> None:
    """Tasks begin by priority, and among those of one priority in the order of their coming."""
    wanted = [("a", "LOW"), ("b", "HIGH"), ("c", "URGENT"), ("d", "HIGH"), ("e", "NORMAL")]
    assert _submit_in_order(build(drives=1), wanted, 0.0) == ["c", "b", "d", "e", "a"]


def test_what_waits_long_is_not_passed_over_for_ever(build: Build) -> None:
    """Of twenty tasks of ten minutes each that are more urgent, not all go first."""
    bench = build(SimulatedClock(_FAST), timed=True, drives=1)
    order = _submit_in_order(bench, [("old", "LOW"), *((str(n), "HIGH") for n in range(20))], 600.0)
    assert order.index("old") <= 19


def test_age_makes_no_task_more_urgent_than_high() -> None:
    """Each half hour is worth a step of priority up to HIGH; the urgent stay what they are."""
    low = rank_of("LOW")
    assert aged(low, 0) == aged(low, 1799) == low
    assert aged(low, 1800) == rank_of("NORMAL")
    assert aged(low, 1e9) == rank_of("HIGH")
    assert aged(rank_of("CRITICAL"), 1e9) == rank_of("CRITICAL")


def test_a_high_job_is_read_before_a_low_one_that_was_there_first(archive: Path, build: Build) -> None:
    """With one drive, the tape of the HIGH job is mounted first."""
    bench = _reopened(build, archive, SimulatedClock(_FAST), timed=True, drives=1)
    release = _hold_all_drives(bench)
    jobs = {
        name: bench.wire.start_get("b", [name], parameters=f"&priority={priority}").xml.attrib["JobId"]
        for name, priority in (("o001", "LOW"), ("o002", "HIGH"))
    }
    release.set()
    contents = _names(3)
    for name, job in jobs.items():
        _fetch(bench.wire, job, {name: contents[name]})
    low, high = (_tape_of(bench, name).accessed for name in ("o001", "o002"))
    assert low is not None
    assert high is not None
    assert high < low


def test_jobs_of_one_priority_share_the_drives(archive: Path, build: Build) -> None:
    """Of two jobs over several tapes each, the second gets a drive before the first has read its last tape."""
    bench = _reopened(build, archive, SimulatedClock(_FAST), timed=True)
    contents = _names(20)
    release = _hold_all_drives(bench)
    groups = [dict(list(contents.items())[:10]), dict(list(contents.items())[10:])]
    jobs = [bench.wire.start_get("b", list(group)).xml.attrib["JobId"] for group in groups]
    release.set()
    for job, group in zip(jobs, groups, strict=True):
        _fetch(bench.wire, job, group)
    last_of_first = max(_tape_of(bench, name).accessed or 0 for name in groups[0])
    first_of_second = min(_tape_of(bench, name).accessed or 0 for name in groups[1])
    assert first_of_second < last_of_first


@pytest.mark.parametrize(
    ("kept", "free", "taken"),
    [
        ("MinimumReadReservedDrives", TaskKind.READ, TaskKind.WRITE),
        ("MinimumWriteReservedDrives", TaskKind.WRITE, TaskKind.READ),
    ],
)
def test_drives_kept_for_one_kind_are_not_taken_by_the_other(
    build: Build, kept: str, free: TaskKind, taken: TaskKind
) -> None:
    """Of two drives, one kept for reads, one task that writes is begun, and one that reads; and the other way about."""
    bench = build()
    machine = bench.appliance.machine
    machine.beans.update("TapePartition", str(machine.beans.all("TapePartition")[0]["Id"]), {kept: 1})
    release = threading.Event()
    hold = _holding(release)
    first, second = (machine.drives.submit(DriveTask("Hold", "x", hold, kind=taken)) for _ in range(2))
    bench.until(lambda: first.state is TaskState.IN_PROGRESS)
    other = machine.drives.submit(DriveTask("Hold", "x", hold, kind=free))
    bench.until(lambda: other.state is TaskState.IN_PROGRESS)
    assert second.state is TaskState.READY
    release.set()
    bench.until(lambda: second.state is TaskState.COMPLETED)


def _holding(release: threading.Event) -> Callable[[Drive], None]:
    def hold(drive: Drive) -> None:
        while not release.wait(0.01):
            drive.check()

    return hold


def test_a_reserved_drive_takes_only_what_it_is_for(build: Build) -> None:
    """A drive reserved for writes of at least HIGH priority takes those alone."""
    bench = build(drives=1)
    machine = bench.appliance.machine
    (drive,) = machine.drives.all
    machine.beans.update("TapeDrive", drive.id, {"ReservedTaskType": "WRITE", "MinimumTaskPriority": "HIGH"})
    read, low, high = (
        machine.drives.submit(DriveTask("Nothing", "x", lambda _: None, kind=kind, priority=priority))
        for kind, priority in ((TaskKind.READ, "URGENT"), (TaskKind.WRITE, "LOW"), (TaskKind.WRITE, "HIGH"))
    )
    bench.until(lambda: high.state is TaskState.COMPLETED)
    assert (read.state, low.state) == (TaskState.READY, TaskState.READY)
    machine.beans.update("TapeDrive", drive.id, {"ReservedTaskType": "ANY", "MinimumTaskPriority": None})
    bench.until(lambda: read.state is low.state is TaskState.COMPLETED)


def test_a_drive_is_quiesced_when_it_has_done_what_it_is_at(build: Build) -> None:
    """PENDING becomes YES with the end of its task; it takes nothing more until it is NO again."""
    bench = build(drives=1)
    machine = bench.appliance.machine
    (drive,) = machine.drives.all
    release = _hold_all_drives(bench)
    machine.beans.update("TapeDrive", drive.id, {"Quiesced": "PENDING"})
    after = machine.drives.submit(DriveTask("Nothing", "x", lambda _: None))
    assert machine.beans.find("TapeDrive", drive.id)["Quiesced"] == "PENDING"
    release.set()
    bench.until(lambda: machine.beans.find("TapeDrive", drive.id)["Quiesced"] == "YES")
    assert after.state is TaskState.READY
    machine.beans.update("TapeDrive", drive.id, {"Quiesced": "NO"})
    bench.until(lambda: after.state is TaskState.COMPLETED)


# Tasks of others.


def test_a_task_is_told_of_from_its_coming_to_its_end(build: Build) -> None:
    """It stands in the list of tasks with its dates, first READY and then IN_PROGRESS, and leaves it when done."""
    bench = build(drives=1)
    drives = bench.appliance.machine.drives
    tape = bench.appliance.machine.library.find("SIM002L8")
    first = _hold_all_drives(bench)
    release, heard = threading.Event(), list[Exception | None]()
    task = drives.submit(DriveTask("Look", "Look at it", _holding(release), tape=tape, finished=heard.append))
    assert [(each.name, each.state) for each in drives.tasks()] == [
        ("Hold", TaskState.IN_PROGRESS),
        ("Look", TaskState.READY),
    ]
    first.set()
    bench.until(lambda: task.state is TaskState.IN_PROGRESS)
    assert task.started is not None
    assert task.started >= task.scheduled
    assert drives.loaded == {0: tape}
    assert tape.n in bench.appliance.machine.library.in_use
    release.set()
    bench.until(lambda: task.state is TaskState.COMPLETED)
    assert heard == [None]
    bench.until(lambda: not drives.loaded and not drives.tasks())


def test_a_task_waits_until_it_may(build: Build) -> None:
    """One whose `when` says no is begun when it says yes, and others are done meanwhile."""
    bench = build(drives=1)
    drives = bench.appliance.machine.drives
    open_now: list[bool] = []
    waits = drives.submit(DriveTask("Waits", "x", lambda _: None, when=lambda: bool(open_now), priority="CRITICAL"))
    passes = drives.submit(DriveTask("Passes", "x", lambda _: None, priority="LOW"))
    bench.until(lambda: passes.state is TaskState.COMPLETED)
    assert waits.state is TaskState.READY
    open_now.append(True)
    drives.reconsider()
    bench.until(lambda: waits.state is TaskState.COMPLETED)


@pytest.mark.parametrize("begun", [False, True])
def test_a_task_can_be_called_off(build: Build, begun: bool) -> None:
    """Waiting or at work, it ends, and whoever submitted it hears why."""
    bench = build(SimulatedClock(0), timed=True, drives=1)
    drives = bench.appliance.machine.drives
    release = None if begun else _hold_all_drives(bench)
    heard: list[Exception | None] = []
    task = drives.submit(DriveTask("Long", "x", lambda drive: drive.spend(Spent.OTHER, 3600), finished=heard.append))
    if begun:
        bench.until(lambda: task.state is TaskState.IN_PROGRESS)
    assert drives.cancel(task)
    bench.until(lambda: task.state is TaskState.COMPLETED)
    assert isinstance(heard[0], TaskAbortedError)
    assert not drives.cancel(task)
    if release is not None:
        release.set()


def test_a_task_that_fails_tells_so_and_the_drive_goes_on(build: Build) -> None:
    """The error reaches `finished`, and the next task is done by the same drive."""
    bench = build(drives=1)
    drives = bench.appliance.machine.drives
    heard: list[Exception | None] = []

    def perform(drive: Drive) -> None:
        raise TaskAbortedError("nothing doing")

    drives.submit(DriveTask("Fails", "x", perform, finished=heard.append))
    task = drives.submit(DriveTask("Nothing", "x", lambda _: None))
    bench.until(lambda: task.state is TaskState.COMPLETED)
    assert str(heard[0]) == "nothing doing"


# Drives that fail.


def test_the_task_of_a_drive_that_fails_is_done_by_another(build: Build) -> None:
    """The drive is in ERROR with a failure on record, takes nothing more, and works again when it is repaired."""
    bench = build(drives=2)
    machine = bench.appliance.machine
    done_by: list[str] = []

    def perform(drive: Drive) -> None:
        done_by.append(drive.id)
        if len(done_by) == 1:
            raise DriveFailedError("The head is worn.")

    task = machine.drives.submit(DriveTask("Work", "x", perform, tape=machine.library.find("SIM001L8")))
    bench.until(lambda: task.state is TaskState.COMPLETED)
    assert len(set(done_by)) == 2
    bean = machine.beans.find("TapeDrive", done_by[0])
    assert (bean["State"], bean["ErrorMessage"]) == ("ERROR", "The head is worn.")
    assert [each["Type"] for each in machine.beans.all("TapeFailure")] == ["HARDWARE_ERROR"]
    assert [each["Type"] for each in machine.beans.all("TapePartitionFailure")] == ["TAPE_DRIVE_IN_ERROR"]
    machine.drives.repair(done_by[0])
    assert machine.beans.find("TapeDrive", done_by[0])["State"] == "NORMAL"
    assert not machine.beans.all("TapePartitionFailure")
    again = machine.drives.submit(DriveTask("Work", "x", lambda _: None, drive_id=done_by[0]))
    bench.until(lambda: again.state is TaskState.COMPLETED)


def test_a_drive_that_fails_in_a_mount_leaves_its_job_to_the_other(archive: Path, build: Build) -> None:
    """While the clock stands a drive loads a tape; it breaks, the other one has the tape, and the job is served."""
    clock = SimulatedClock(0)
    bench = _reopened(build, archive, clock, timed=True)
    drives = bench.appliance.machine.drives
    job = bench.wire.start_get("b", ["o050"]).xml.attrib["JobId"]
    bench.until(lambda: bool(drives.loaded))
    (broken,) = drives.loaded
    drives.fail(drives.all[broken].id, "It does not answer.")
    bench.until(lambda: list(drives.loaded) == [1 - broken])
    clock.set_pace(_FAST)
    _fetch(bench.wire, job, {"o050": bytes([50]) * 1000})
    assert _account(bench, job).spent[Spent.ROBOT].count >= 2
    drives.repair(drives.all[broken].id)


def test_a_write_that_a_failing_drive_breaks_off_is_done_by_the_other(build: Build) -> None:
    """Both blobs are on tape in the end, once."""
    bench = build(SimulatedClock(0), timed=True)
    drives = bench.appliance.machine.drives
    bench.wire.put_all("b", _names(2))
    bench.until(lambda: bool(drives.loaded))
    (broken,) = drives.loaded
    drives.fail(drives.all[broken].id, "It does not answer.")
    clock = bench.appliance.machine.clock
    assert isinstance(clock, SimulatedClock)
    clock.set_pace(_FAST)
    bench.until_persisted()
    assert _tape_of(bench, "o000") is _tape_of(bench, "o001")


def test_a_tape_that_cannot_be_read_is_bad_and_its_job_says_so(archive: Path, build: Build) -> None:
    """Its objects have no other copy: the job goes on with the rest, and these fail by name."""
    bench = _reopened(build, archive)
    machine = bench.appliance.machine
    tape = _tape_of(bench, "o070")
    tape.damaged = True
    job = bench.wire.start_get("b", ["o070", "o071"]).xml.attrib["JobId"]
    _fetch_one(bench.wire, job, "o071", bytes([71]) * 1000)
    bench.until(lambda: tape.state == "BAD")
    answer = bench.wire.get_blob("b", "o070", job, 0)
    assert answer.status == 400
    assert tape.bar_code in answer.message
    with machine.store.lock:
        tape.damaged = False
        machine.library.enter(tape, "NORMAL")


def _fetch_one(wire: Wire, job: str, name: str, data: bytes) -> None:
    answer = wire.get_blob("b", name, job, 0)
    while answer.status == 307:
        answer = wire.get_blob("b", name, job, 0)
    assert (answer.status, answer.body) == (200, data)


# Where copies go.


def _set_rules(bench: Bench, **changes: object) -> None:
    machine = bench.appliance.machine
    for rule in machine.beans.all("DataPersistenceRule"):
        machine.beans.update("DataPersistenceRule", str(rule["Id"]), changes)


def _set_domain(bench: Bench, place: int = 0, **changes: object) -> str:
    machine = bench.appliance.machine
    domain = str(machine.beans.all("StorageDomain")[place]["Id"])
    machine.beans.update("StorageDomain", domain, changes)
    return domain


def test_isolated_buckets_share_no_tape(build: Build) -> None:
    """Where the rule isolates buckets each tape takes one bucket's data, and tells whose; else one tape takes both."""
    bench = build()
    assert bench.wire.ask("PUT", "/c").status == 200
    for isolated in (False, True):
        if isolated:
            _set_rules(bench, IsolationLevel="BUCKET_ISOLATED")
        for bucket in ("b", "c"):
            bench.wire.put_all(bucket, {f"{bucket}{isolated}": b"x" * 10})
            bench.until_persisted()
    assert _tape_of(bench, "bFalse") is _tape_of(bench, "cFalse")
    assert _tape_of(bench, "bFalse").bucket_id is None
    own = {name: _tape_of(bench, f"{name}True") for name in ("b", "c")}
    assert len({tape.n for tape in (*own.values(), _tape_of(bench, "bFalse"))}) == 3
    for name, tape in own.items():
        assert tape.bucket_id == bench.appliance.machine.buckets.named(name).id
    bench.wire.put_all("b", {"more": b"x" * 10})
    bench.until_persisted()
    assert _tape_of(bench, "more") is own["b"]


def test_an_object_may_span_tapes_and_a_blob_does_not(build: Build) -> None:
    """Five blobs of 1,000 bytes on tapes of 2,500: two on each, which is full then, and the last on a third."""
    bench = build(tape_capacity=2500, blob_size=1000, chunk_size=10_000)
    data = bytes(range(250)) * 20
    bench.wire.put_all("b", {"large": data})
    bench.until_persisted()
    assert [(tape.written, tape.full) for tape in _tapes_with_data(bench)] == [
        (2000, True),
        (2000, True),
        (1000, False),
    ]
    bench.reclaim()
    bench.until(lambda: not bench.appliance.machine.drives.loaded)
    job = bench.wire.start_get("b", ["large"]).xml.attrib["JobId"]
    for offset in range(0, 5000, 1000):
        answer = bench.wire.get_blob("b", "large", job, offset)
        while answer.status == 307:
            answer = bench.wire.get_blob("b", "large", job, offset)
        assert answer.body == data[offset : offset + 1000]
    assert _account(bench, job).mounts == 3


@pytest.mark.parametrize("together", [False, True])
def test_a_job_that_is_to_span_few_media_keeps_together(build: Build, together: bool) -> None:
    """Two blobs, one of which would fit on the tape begun: with the wish both go to another, else they are split."""
    bench = build(tape_capacity=2500, blob_size=1000, chunk_size=10_000)
    bench.wire.put_all("b", {"before": b"x" * 1000})
    bench.until_persisted()
    wish = "&minimize_spanning_across_media=true" if together else ""
    bench.wire.put_all("b", {"a": b"a" * 1000, "b": b"b" * 1000}, wish)
    bench.until_persisted()
    assert (_tape_of(bench, "a") is _tape_of(bench, "b")) is together
    assert (_tape_of(bench, "a") is _tape_of(bench, "before")) is not together


@pytest.mark.parametrize(("optimization", "tapes"), [("CAPACITY", 1), ("PERFORMANCE", 2)])
def test_performance_writes_to_several_tapes_at_once_and_capacity_to_one(
    build: Build, optimization: str, tapes: int
) -> None:
    """With two jobs and two drives; while the clock stands nothing is written, so the second job finds one at work."""
    bench = build(SimulatedClock(0), timed=True)
    machine = bench.appliance.machine
    _set_domain(bench, WriteOptimization=optimization)
    for name in ("a", "b"):
        bench.wire.put_all("b", {name: b"x" * 10})
        while machine.jobs.to_store:
            machine.drives.reconsider()
    if tapes == 1:
        assert sorted(task.state for task in machine.drives.tasks()) == [TaskState.PENDING_EXECUTION, TaskState.READY]
    bench.until(lambda: len(machine.drives.loaded) == tapes)
    clock = machine.clock
    assert isinstance(clock, SimulatedClock)
    clock.set_pace(_FAST)
    bench.until_persisted()
    assert len(_tapes_with_data(bench)) == tapes


def test_the_second_copy_may_come_later(build: Build) -> None:
    """While one domain's tapes take no data the other copy is written and told; the job ends with the second."""
    bench = build(copies=2)
    machine = bench.appliance.machine
    second = str(machine.beans.all("StorageDomain")[1]["Id"])
    (member,) = [each for each in machine.beans.all("StorageDomainMember") if each["StorageDomainId"] == second]
    machine.beans.update("StorageDomainMember", str(member["Id"]), {"WritePreference": "NEVER_SELECT"})
    job = bench.wire.put_all("b", {"a": b"x" * 10})
    bench.until(lambda: len(_tapes_with_data(bench)) == 1)
    assert bench.wire.job(job).get("Status") == "IN_PROGRESS"
    assert len(_placed(bench, "a")) == 1
    machine.beans.update("StorageDomainMember", str(member["Id"]), {"WritePreference": "NORMAL"})
    bench.until_persisted()
    assert bench.wire.job(job).get("Status") == "COMPLETED"
    assert len(_placed(bench, "a")) == 2


def _placed(bench: Bench, name: str) -> list[str]:
    body = f'<Objects><Object Name="{name}"/></Objects>'.encode()
    answer = bench.wire.ask("PUT", "/_rest_/bucket/b?operation=get_physical_placement", body)
    return [code.text or "" for code in answer.xml.iter("BarCode")]


def test_what_is_verified_after_writing_counts_only_when_it_is_good(build: Build) -> None:
    """The first tape does not keep what is written to it: the blob is written again, to another one."""
    bench = build(drives=1)
    bench.appliance.faults.set("corrupt-media", 1.0, most=1)
    bench.wire.put_all("b", {"a": b"x" * 500}, "&verify_after_write=true")
    bench.until_persisted()
    machine = bench.appliance.machine
    assert [each["Type"] for each in machine.beans.all("TapeFailure")] == ["WRITE_FAILED"]
    assert [(tape.written, tape.full) for tape in _tapes_with_data(bench)] == [(500, True), (500, False)]
    assert machine.ledger.summary().total.spent[Spent.VERIFY].count == 2
    bench.reclaim()
    job = bench.wire.start_get("b", ["a"]).xml.attrib["JobId"]
    _fetch_one(bench.wire, job, "a", b"x" * 500)


@pytest.mark.parametrize("spoiled", [False, True])
def test_a_verify_job_reads_every_copy(build: Build, spoiled: bool) -> None:
    """Both copies of three objects are read; one that is damaged is suspect then, and the good one stands for it."""
    bench = build(copies=2)
    bench.wire.put_all("b", _names(3))
    bench.until_persisted()
    machine = bench.appliance.machine
    tape = _tapes_with_data(bench)[1]
    if spoiled:
        with open(machine.library.path(tape), "r+b") as file:
            file.write(b"\xff" * 10)
    before = machine.ledger.summary().total.spent[Spent.VERIFY].count
    entries = "".join(f'<Object Name="{name}"/>' for name in _names(3))
    job = bench.wire.bulk("start_bulk_verify", "b", entries).xml.attrib["JobId"]
    bench.until(lambda: not machine.jobs.active)
    assert machine.ledger.summary().total.spent[Spent.VERIFY].count - before == 6
    assert bench.wire.job(job).get("Status") == "COMPLETED"
    with machine.store.lock:
        suspects = machine.store.db.execute("SELECT tape FROM copies WHERE suspect = 1").fetchall()
    assert suspects == ([(tape.n,)] if spoiled else [])


def test_a_get_takes_one_copy_and_mounts_no_second_tape(build: Build) -> None:
    """Of objects on two tapes each, the job reads all from one of them."""
    bench = build(copies=2, blob_size=1000, chunk_size=1000, hold=1.0)
    contents = _names(10)
    bench.wire.put_all("b", contents)
    bench.until_persisted()
    bench.reclaim()
    bench.until(lambda: not bench.appliance.machine.drives.loaded)
    release = _hold_all_drives(bench)
    job = bench.wire.start_get("b", list(contents)).xml.attrib["JobId"]
    release.set()
    _fetch(bench.wire, job, contents)
    assert _account(bench, job).mounts == 1


# The ledger.


def test_ledger_counts_no_pauses_as_waiting() -> None:
    """Work side by side counts once, a pause not at all, unless what ends later fills it."""
    times = [0.0, 0.0]
    ledger = Ledger(lambda: times[0], lambda: times[1])

    def passed(end: float, seconds: float) -> tuple[float, float]:
        times[:] = end, end / 100
        ledger.add(Spent.READ, seconds, jobs=["J"])
        total = ledger.summary().total
        return total.appliance_seconds, round(total.client_seconds, 6)

    assert passed(1000, 100) == (100, 0.0)
    assert passed(1000, 60) == (100, 0.0)
    assert passed(1050, 150) == (150, 0.5)
    assert passed(5000, 100) == (250, 1.5)
    assert passed(9000, 100) == (350, 2.5)
    # From 4800 on: of the pause before 4900 a hundred seconds go, and the whole of that after 5000.
    assert passed(9000, 4200) == (4350, 42.5)
    # A drive that did two things one after the other enters both when it is through.
    times[0] = 10000
    ledger.add(Spent.MOUNT, 60, ago=40)
    ledger.add(Spent.READ, 40)
    assert ledger.summary().total.appliance_seconds == 4450
    assert ledger.summary().jobs[0].appliance_seconds == 4350


def test_ledger_keeps_no_more_accounts_than_it_says() -> None:
    """The total counts everything; of jobs and tapes the latest are kept."""
    hours = itertools.count()
    ledger = Ledger(lambda: float(next(hours)), lambda: 0.0)
    for number in range(3000):
        ledger.add(Spent.MOUNT, 2.0, tape=f"T{number}", jobs=[f"J{number}"])
    summary = ledger.summary()
    assert summary.total.spent[Spent.MOUNT].count == 3000
    assert summary.total.spent[Spent.MOUNT].seconds == 6000
    assert (len(summary.tapes), len(summary.jobs)) == (2000, 1000)
    assert summary.jobs[-1].subject == "J2999"
    assert ledger.of_job("J0") is None
    assert summary.total.appliance_seconds == 2999 + 2
    ledger.clear()
    assert ledger.summary().total.mounts == 0
