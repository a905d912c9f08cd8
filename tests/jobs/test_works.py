"""What one host has begun: listed, found, held by one process at a time, forgotten, and after a month cleared away."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ds3tool.clock import ManualClock
from ds3tool.errors import ConfigError, LockedError, PathNotFoundError
from ds3tool.jobs.journal import Journal
from ds3tool.jobs.journal_file import lock_path
from ds3tool.jobs.plan import JobLimits, plan_put
from ds3tool.jobs.state_folder import Mount, file_system_of, is_network, parse_mounts
from ds3tool.jobs.work_lock import WorkLock, holder_of
from ds3tool.jobs.works import KEPT_SECONDS, find_work, forget_work, prune, works
from ds3tool.protocol.model import JobType
from tests.jobs.test_journal import get_plan, head, job, moved, put_plan, sources

# Holds a journal until its standard input ends, or for ever when that never comes.
_HOLD = """
import sys
from ds3tool.jobs.journal import Journal
with Journal.open(sys.argv[1]) as journal:
    print("held", flush=True)
    sys.stdin.read()
"""


def begun(folder: Path, work_id: str = "work-1", job_id: str = "job-1") -> str:
    """Make a journal with one plan that has a job; return its path."""
    with Journal.create(folder, head(work_id=work_id)) as journal:
        plan = put_plan(3)
        journal.planned(plan)
        journal.created(plan, job(job_id))
    return journal.path


@contextmanager
def held_elsewhere(path: str) -> Iterator[subprocess.Popen[str]]:
    """Let another process hold a journal."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


# -- what there is -------------------------------------------------------------------------------------------------


def test_there_is_no_work_without_a_folder(tmp_path: Path) -> None:
    """A host that has never moved anything has no unfinished work, and looking makes no folder."""
    assert works(tmp_path / "state") == []
    assert find_work(tmp_path / "state", "x") is None
    assert not (tmp_path / "state").exists()


def test_unfinished_works_are_listed_with_their_plans(tmp_path: Path) -> None:
    """Each tells its head, jobs, objects, bytes and what is through, the oldest first."""
    begun(tmp_path, "work-2")
    with Journal.create(tmp_path, head(work_id="work-1")) as journal:
        first, second = list(journal.plans(plan_put(sources(5), "archive", limits=JobLimits(objects=3))))
        journal.created(first, job("job-9"))
        journal.moved("job-9", moved(0, 2))
        journal.finished(second)
    one, two = works(tmp_path)
    assert (one.id, two.id) == ("work-1", "work-2")
    assert one.head == head()
    assert one.holder is None
    plan, other = one.plans
    assert (plan.name, plan.job_id, plan.status) == (first.name, "job-9", "IN_PROGRESS")
    assert (plan.objects, plan.bytes, plan.moved_blobs, plan.moved_bytes) == (3, 3, 2, 20)
    assert (other.job_id, other.status, other.finished) == (None, None, True)
    assert one.unfinished == (plan,)
    assert one.last_active == max(plan.last_active, other.last_active)


def test_a_work_is_found_by_its_id_or_by_a_job(tmp_path: Path) -> None:
    """Either leads to the same journal; other ids lead nowhere, nor do works that are done."""
    path = begun(tmp_path, "work-1", "job-1")
    begun(tmp_path, "work-2", "job-2")
    for wanted in ("work-1", "job-1"):
        found = find_work(tmp_path, wanted)
        assert found is not None
        assert found.path == path
    assert find_work(tmp_path, "job-3") is None
    with Journal.open(path) as journal:
        journal.conclude()
    assert find_work(tmp_path, "job-1") is None


def test_a_work_killed_between_its_end_and_being_put_away_is_done(tmp_path: Path) -> None:
    """A journal that says that all is done is not listed, wherever its file lies."""
    path = begun(tmp_path)
    with Journal.open(path) as journal:
        journal.conclude()
    os.rename(tmp_path / "jobs" / "done" / "work-1.db", path)
    assert works(tmp_path) == []


# -- one at a time -------------------------------------------------------------------------------------------------


def test_a_work_is_held_by_one_process(tmp_path: Path) -> None:
    """Another one is refused with exit code 11, process and host; after the first has ended it is free."""
    path = begun(tmp_path)
    with held_elsewhere(path) as process:
        with pytest.raises(LockedError) as refused:
            Journal.open(path)
        assert refused.value.exit_code == 11
        assert f"process {process.pid} on {socket.gethostname()}" in refused.value.message
        assert "work work-1" in refused.value.message
        (summary,) = works(tmp_path)
        assert summary.holder is not None
        assert summary.holder.pid == process.pid
        process.communicate("")
    assert works(tmp_path)[0].holder is None
    Journal.open(path).close()


def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    """What a SIGKILL leaves behind stops nobody, however fresh its sign of life."""
    path = begun(tmp_path)
    with held_elsewhere(path) as process:
        process.kill()
        process.wait()
        assert os.path.exists(lock_path(path))
        assert works(tmp_path)[0].holder is None
        Journal.open(path).close()
    assert not os.path.exists(lock_path(path))


def test_a_journal_is_held_from_its_making_on(tmp_path: Path) -> None:
    """Whoever makes a journal holds it: the same process cannot open it a second time meanwhile."""
    with Journal.create(tmp_path, head()) as journal:
        journal.planned(put_plan(1))
        with pytest.raises(LockedError):
            Journal.open(journal.path)
        with pytest.raises(LockedError):
            forget_work(tmp_path, "work-1")
    Journal.open(journal.path).close()


def test_several_works_go_on_in_one_folder_at_the_same_time(tmp_path: Path) -> None:
    """Two processes with a journal each do not get in each other's way, and each sees the other's."""
    path = begun(tmp_path, "work-1")
    with held_elsewhere(path), Journal.create(tmp_path, head(work_id="work-2")) as journal:
        plan = put_plan(3)
        journal.planned(plan)
        journal.created(plan, job("job-2"))
        journal.finished(plan)
        assert [(one.id, one.holder is not None) for one in works(tmp_path)] == [("work-1", True), ("work-2", True)]


def test_looking_never_refuses_a_holder(tmp_path: Path) -> None:
    """However often works are listed meanwhile, one who takes a free work gets it."""
    path = begun(tmp_path)
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            holder_of(lock_path(path), now=0.0)

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for each in lookers:
        each.start()
    try:
        for _ in range(80):
            Journal.open(path).close()
    finally:
        over.set()
        for each in lookers:
            each.join()


@pytest.mark.parametrize("takers", [4])
def test_of_many_takers_one_holds_at_a_time(tmp_path: Path, takers: int) -> None:
    """Threads that take and release one lock, its file coming and going, are never two at once."""
    path = str(tmp_path / "w.lock")
    inside: list[int] = []
    most: list[int] = []

    def take(number: int) -> None:
        taken = 0
        while taken < 25:
            try:
                lock = WorkLock.take(path, "it", clock=ManualClock())
            except LockedError:
                continue
            inside.append(number)
            most.append(len(inside))
            inside.remove(number)
            lock.release()
            taken += 1

    threads = [threading.Thread(target=take, args=(number,)) for number in range(takers)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert set(most) == {1}
    assert len(most) == 25 * takers


def told_by_another_host(path: str, clock: ManualClock, *, seconds_ago: float, boot: str | None = "other") -> None:
    told = {"pid": 77, "host": "far.example", "boot": boot, "beat": clock.time() - seconds_ago}
    Path(path).write_text(json.dumps(told), encoding="ascii")


@pytest.mark.parametrize("seconds_ago", [-300.0, 0.0, 119.0])
def test_another_hosts_fresh_sign_of_life_locks(tmp_path: Path, seconds_ago: float) -> None:
    """Where the system's lock does not reach, a sign of life of two minutes or less refuses, also one of the future."""
    clock = ManualClock(time.time())
    path = begun(tmp_path)
    told_by_another_host(lock_path(path), clock, seconds_ago=min(seconds_ago, 60.0))
    summary = works(tmp_path)[0]
    assert summary.holder is not None
    assert summary.holder.host == "far.example"
    told_by_another_host(lock_path(path), clock, seconds_ago=seconds_ago)
    with pytest.raises(LockedError, match=r"process 77 on far\.example"):
        Journal.open(path, clock=clock)


@pytest.mark.parametrize(("seconds_ago", "boot"), [(121.0, "other"), (121.0, None)])
def test_another_hosts_stale_sign_of_life_is_taken_over(tmp_path: Path, seconds_ago: float, boot: str | None) -> None:
    """A host that has been silent for more than two minutes has lost its work."""
    clock = ManualClock()
    path = begun(tmp_path)
    told_by_another_host(lock_path(path), clock, seconds_ago=seconds_ago, boot=boot)
    assert works(tmp_path)[0].holder is None
    with Journal.open(path, clock=clock):
        told = json.loads(Path(lock_path(path)).read_text(encoding="ascii"))
        assert told["pid"] == os.getpid()
        assert told["host"] == socket.gethostname()


def test_a_container_of_the_same_machine_is_no_other_host(tmp_path: Path) -> None:
    """Where the kernel is the same its lock decides, whatever the dead container's name was."""
    clock = ManualClock()
    path = begun(tmp_path)
    boot = Path("/proc/sys/kernel/random/boot_id")
    if not boot.exists():
        pytest.skip("this system does not tell which start of it this is")
    told_by_another_host(lock_path(path), clock, seconds_ago=1.0, boot=boot.read_text(encoding="ascii").strip())
    Journal.open(path, clock=clock).close()


def test_a_holder_gives_signs_of_life(tmp_path: Path) -> None:
    """The time of the last one stands in the lock's file, which does not grow."""
    clock = ManualClock(1000.0)
    path = str(tmp_path / "w.lock")
    lock = WorkLock.take(path, "it", clock=clock)
    try:
        size = os.path.getsize(path)
        clock.advance(60.0)
        lock.beat()
        holder = holder_of(path, now=clock.time())
        assert holder is not None
        assert holder.beat == 1060.0
        assert os.path.getsize(path) == size
    finally:
        lock.release()


def test_whose_lock_was_removed_by_somebody_leaves_that_of_the_next_holder(tmp_path: Path) -> None:
    """Whoever lets go of a lock whose file is another's by now does not free what that one holds."""
    path = str(tmp_path / "w.lock")
    first = WorkLock.take(path, "it", clock=ManualClock())
    os.unlink(path)
    second = WorkLock.take(path, "it", clock=ManualClock())
    try:
        first.release()
        with pytest.raises(LockedError):
            WorkLock.take(path, "it", clock=ManualClock())
    finally:
        second.release()
    assert not os.path.lexists(path)


# -- forgetting ----------------------------------------------------------------------------------------------------


def test_a_forgotten_work_is_gone(tmp_path: Path) -> None:
    """Neither its journal nor what belonged to it is left; others are not touched."""
    begun(tmp_path, "work-1")
    begun(tmp_path, "work-2", "job-2")
    forget_work(tmp_path, "work-1")
    assert [summary.id for summary in works(tmp_path)] == ["work-2"]
    assert not list((tmp_path / "jobs").glob("work-1*"))


@pytest.mark.parametrize("work_id", ["work-9", "../jobs/work-1", "", "."])
def test_what_is_not_there_cannot_be_forgotten(tmp_path: Path, work_id: str) -> None:
    """An unknown id ends with 4, and an id is never taken for a path."""
    begun(tmp_path)
    with pytest.raises(PathNotFoundError) as missing:
        forget_work(tmp_path, work_id)
    assert missing.value.exit_code == 4
    assert len(works(tmp_path)) == 1


def test_journals_of_work_that_is_done_go_after_a_month(tmp_path: Path) -> None:
    """The next work that begins removes those older than 30 days and leaves the others, and every unfinished one."""
    for work_id in ("old", "young", "unfinished"):
        path = begun(tmp_path, work_id, work_id)
        if work_id != "unfinished":
            with Journal.open(path) as journal:
                journal.conclude()
    now = 2_000_000_000.0
    done = tmp_path / "jobs" / "done"
    os.utime(done / "old.db", (now - KEPT_SECONDS - 60, now - KEPT_SECONDS - 60))
    os.utime(done / "young.db", (now - KEPT_SECONDS + 60, now - KEPT_SECONDS + 60))
    os.utime(tmp_path / "jobs" / "unfinished.db", (0, 0))
    with Journal.create(tmp_path, head(work_id="new"), clock=ManualClock(now)):
        assert [path.name for path in done.iterdir()] == ["young.db"]
        assert [summary.id for summary in works(tmp_path)] == ["new", "unfinished"]


@pytest.mark.parametrize("direction", [JobType.PUT, JobType.GET])
def test_a_work_that_was_killed_right_after_its_end_is_put_away_by_the_next(tmp_path: Path, direction: JobType) -> None:
    """A put's journal goes to those that are done, for its digests; a get's goes for good; none is work any more."""
    with Journal.create(tmp_path, head(direction, work_id="killed")) as journal:
        plan = put_plan(3) if direction == JobType.PUT else get_plan(3)
        journal.planned(plan)
        journal.created(plan, job("job-1", direction))
        journal.finished(plan)
        journal.conclude()
        left = Path(shutil.copy(journal.path, tmp_path / "left"))
    left.rename(journal.path)
    (tmp_path / "jobs" / "done" / "killed.db").unlink(missing_ok=True)
    begun(tmp_path, "next")
    assert [summary.id for summary in works(tmp_path)] == ["next"]
    assert not list((tmp_path / "jobs").glob("killed*"))
    assert (tmp_path / "jobs" / "done" / "killed.db").exists() == (direction == JobType.PUT)


def test_what_kills_left_half_made_is_cleared_away(tmp_path: Path) -> None:
    """Empty journals, and locks and rollbacks whose journal is gone, are no work and vanish; what is held stays."""
    path = begun(tmp_path)
    folder = tmp_path / "jobs"
    for name in ("empty.db", "gone.lock", "gone.db-journal", "making.db"):
        (folder / name).write_bytes(b"")
    (folder / "left.lock").write_bytes(b"{")
    (folder / "notes.txt").write_bytes(b"somebody's")
    making = WorkLock.take(str(folder / "making.lock"), "it", clock=ManualClock())
    try:
        assert [summary.id for summary in works(tmp_path)] == ["work-1"]
        prune(tmp_path, now=0.0)
        assert {entry.name for entry in folder.iterdir() if entry.is_file()} == {
            "work-1.db",
            "making.db",
            "making.lock",
            "notes.txt",
        }
    finally:
        making.release()
    assert os.path.exists(path)


# -- the folder ----------------------------------------------------------------------------------------------------


def test_other_users_cannot_read_names(tmp_path: Path) -> None:
    """Folders are for their owner alone and so is every file, also under an umask that would allow more."""
    before = os.umask(0)
    try:
        with Journal.create(tmp_path / "state", head()) as journal:
            journal.planned(put_plan(1))
            files = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
            assert len(files) >= 2
            assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
            folders = [tmp_path / "state", tmp_path / "state" / "jobs", tmp_path / "state" / "jobs" / "done"]
            assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}
    finally:
        os.umask(before)


def test_a_folder_that_others_can_read_is_closed_to_them(tmp_path: Path) -> None:
    """The folder of journals becomes private whoever has made it; the state folder itself is left as it is."""
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs").chmod(0o755)
    tmp_path.chmod(0o755)
    with Journal.create(tmp_path, head()):
        assert stat.S_IMODE((tmp_path / "jobs").stat().st_mode) == 0o700
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_a_state_folder_of_any_name_serves(tmp_path: Path) -> None:
    """Names with question marks, percent signs and bytes that are not UTF-8 are no trouble to SQLite."""
    folder = os.path.join(os.fspath(tmp_path), os.fsdecode(b"a?b%41#\xff c"))
    with Journal.create(folder, head()) as journal:
        journal.planned(put_plan(1))
    with Journal.open(works(folder)[0].path) as journal:
        assert journal.unfinished == 1


@pytest.mark.parametrize(
    ("file_system", "network"),
    [
        ("ext4", False),
        ("xfs", False),
        ("btrfs", False),
        ("overlay", False),
        ("tmpfs", False),
        ("zfs", False),
        ("9p", False),
        ("fuseblk", False),
        ("nfs", True),
        ("nfs4", True),
        ("cifs", True),
        ("smb3", True),
        ("lustre", True),
        ("fuse.sshfs", True),
        ("fuse", True),
        ("fuse.glusterfs", True),
        ("ceph", True),
    ],
)
def test_network_file_systems_are_told_by_their_type(file_system: str, network: bool) -> None:
    """What may lie on another machine is refused, what is of this one is not."""
    assert is_network(file_system) is network


MOUNTS = """\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 27 0:40 / /home rw,relatime shared:1 - nfs4 server:/home rw,vers=4.2
31 30 0:41 / /home/me/my\\040box rw - fuse.sshfs me@far:/ rw
32 27 0:50 / /data rw - btrfs /dev/vdb rw,subvol=/data
33 27 254:0 /srv /bind rw,relatime - ext4 /dev/vda rw
not a line of mounts
"""


@pytest.mark.parametrize(
    ("device", "path", "found"),
    [
        ((254, 0), "/var/lib", "ext4"),
        ((254, 0), "/bind/x", "ext4"),
        ((0, 40), "/home/me", "nfs4"),
        ((0, 41), "/home/me/my box/state", "fuse.sshfs"),
        ((0, 99), "/data/state", "btrfs"),
        ((0, 99), "/data", "btrfs"),
        ((0, 99), "/database", "ext4"),
        ((0, 99), "/home/me/my box", "fuse.sshfs"),
    ],
)
def test_a_folders_file_system_is_found_among_the_mounts(device: tuple[int, int], path: str, found: str) -> None:
    """By its device, and where that is not listed, by the mount that lies nearest above it."""
    mounts = parse_mounts(MOUNTS.splitlines())
    assert len(mounts) == 5
    assert file_system_of(os.makedev(*device), path, mounts) == found


def test_a_folder_below_no_mount_has_no_known_file_system() -> None:
    """Where nobody tells, nothing is refused."""
    assert file_system_of(os.makedev(9, 9), "/x", [Mount("1:1", "/y", "nfs")]) is None


def test_a_network_folder_is_refused_with_a_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state folder on NFS is a mistake of configuration that names --state-dir, and nothing is begun there."""
    monkeypatch.setattr("ds3tool.jobs.state_folder.file_system_of", lambda *_: "nfs4")
    with pytest.raises(ConfigError) as refused:
        Journal.create(tmp_path, head())
    assert refused.value.exit_code == 2
    assert "nfs4" in refused.value.message
    assert "--state-dir" in (refused.value.hint or "")
    assert works(tmp_path) == []


def test_gets_and_puts_lie_in_one_folder(tmp_path: Path) -> None:
    """Both directions are listed together."""
    begun(tmp_path, "work-1")
    with Journal.create(tmp_path, head(JobType.GET, "work-2")) as journal:
        journal.planned(get_plan(2))
    assert [one.head.type for one in works(tmp_path) if one.head is not None] == [JobType.PUT, JobType.GET]
