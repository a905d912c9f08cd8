"""A journal through kills, full disks, damage and other versions: what was written is there, or a sentence is."""

from __future__ import annotations

import itertools
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ds3tool.clock import ManualClock
from ds3tool.errors import ConfigError, Ds3Error, JournalError, PathNotFoundError
from ds3tool.jobs import journal_file
from ds3tool.jobs.journal import Journal
from ds3tool.jobs.journal_file import FORMAT, JournalFile
from ds3tool.jobs.plan import PlannedJob
from ds3tool.jobs.works import find_work, forget_work, works
from tests.jobs.journal_steps import HEAD, steps, told
from tests.jobs.test_journal import head, held, job, moved, put_plan
from tests.jobs.test_works import begun

ROOT = Path(__file__).parents[2]


# -- kills ---------------------------------------------------------------------------------------------------------


def killed_writer(writers: subprocess.Popen[str], folder: Path, rng: random.Random) -> int:
    """Let a process tell a journal its steps, kill it at some instant, return how many it had on the disk."""
    assert writers.stdin is not None
    assert writers.stdout is not None
    writers.stdin.write(f"{folder}\n")
    writers.stdin.flush()
    process = int(writers.stdout.readline())
    count = 0
    for _ in range(rng.randrange(36)):
        count = int(writers.stdout.readline())
    until = time.perf_counter() + rng.random() * 0.003
    while time.perf_counter() < until:  # a step takes about as long: all of its instants are met
        pass
    os.kill(process, signal.SIGKILL)
    while (line := writers.stdout.readline()) != "over\n":
        count = int(line)
    return count


def remains(journal: Journal) -> list[tuple[object, ...]]:
    return [told(remainder) for remainder in journal.remainders()]


def check_kills(folder: Path, seeds: range) -> None:
    counts: dict[int, int] = {}
    left: dict[int, list[tuple[object, ...]]] = {}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.jobs.journal_steps"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as writers:
        for seed in seeds:
            counts[seed] = killed_writer(writers, folder / f"killed {seed}", random.Random(seed))
    for seed in seeds:
        found = works(folder / f"killed {seed}")
        if not found:
            assert counts[seed] == 0
            left[seed] = []
            continue
        with Journal.open(found[0].path) as journal:
            left[seed] = remains(journal)
    wanted = {count + more for count in counts.values() for more in (0, 1)}
    expected: dict[int, list[tuple[object, ...]]] = {0: []}
    with Journal.create(folder / "not killed", HEAD) as journal:
        for number, step in enumerate(itertools.islice(steps(), max(wanted)), 1):
            step(journal)
            if number in wanted:
                expected[number] = remains(journal)
    for seed, count in counts.items():
        print(f"seed {seed}: killed after step {count}")
        assert left[seed] in (expected[count], expected[count + 1])


def test_what_was_written_is_there_after_a_kill_at_any_instant(tmp_path: Path) -> None:
    """After SIGKILL a journal holds exactly the steps that were told as written, or one more; it always opens."""
    check_kills(tmp_path, range(24))


@pytest.mark.more
@pytest.mark.timeout(900)
def test_what_was_written_is_there_after_many_kills(tmp_path: Path) -> None:
    """The same, a few hundred times."""
    check_kills(tmp_path, range(1000, 1400))


@contextmanager
def copied_at(journal: Journal, target: Path, *, statement: int) -> Iterator[None]:
    """Within the block, copy the journal's files as a kill would leave them before its `statement`th statement.

    Pages are written as soon as they change, so that the copy may have half of a transaction beside what undoes it.
    """
    seen = 0

    def before(_: str) -> None:
        nonlocal seen
        seen += 1
        if seen == statement:
            copy_files(journal.path, target)

    db = journal._file._db
    db.execute("PRAGMA cache_size = 1")
    db.set_trace_callback(before)
    try:
        yield
    finally:
        db.set_trace_callback(None)


def copy_files(path: str, target: Path) -> str:
    """Copy a journal and what undoes its transaction into another state folder; return its path there."""
    folder = target / "jobs"
    folder.mkdir(parents=True)
    for each in (path, path + "-journal"):
        if os.path.exists(each):
            shutil.copy(each, folder)
    return str(folder / os.path.basename(path))


def test_a_transaction_that_was_cut_off_is_undone(tmp_path: Path) -> None:
    """A journal with half of a transaction written and its rollback beside it opens as it was before."""
    hot = 0
    for statement in range(1, 12):
        state = tmp_path / str(statement)
        with Journal.create(state, head()) as journal:
            plan = put_plan(9000)
            journal.planned(plan)
            journal.created(plan, job())
            journal.moved("job-1", moved(1, 2, 3))
            journal.flush()
            with copied_at(journal, state / "copy", statement=statement):
                journal.planned(put_plan(9000, first=9000))
        copied = state / "copy" / "jobs" / "work-1.db"
        if not copied.exists():
            break
        rollback = Path(f"{copied}-journal")
        hot += rollback.exists() and rollback.stat().st_size > 0
        assert [len(plan.plans) for plan in works(state / "copy")] == [1]
        with Journal.open(str(copied)) as journal:
            (remainder,) = journal.remainders()
            assert remainder.plan.keys == plan.keys
            assert [owner for owner, _ in held(remainder)] == [1, 2, 3]
    assert hot >= 3


def test_a_journal_whose_making_was_cut_off_is_no_work(tmp_path: Path) -> None:
    """An empty file, with or without a rollback beside it, is not listed, says so when opened, and goes by itself."""
    with Journal.create(tmp_path / "whole", head()) as journal:
        path = journal.path
    state = tmp_path / "state"
    (state / "jobs").mkdir(parents=True)
    empty = state / "jobs" / "work-1.db"
    empty.write_bytes(b"")
    assert works(state) == []
    assert find_work(state, "work-1") is None
    with pytest.raises(JournalError, match="empty"):
        Journal.open(str(empty))
    assert not os.path.exists(path)
    Journal.create(state, head(work_id="work-2")).close()
    assert not empty.exists()


# -- disks ---------------------------------------------------------------------------------------------------------


@contextmanager
def full_disk(journal: Journal) -> Iterator[None]:
    """Let SQLite find no room for another page."""
    db = journal._file._db
    ((pages,),) = db.execute("PRAGMA page_count")
    db.execute(f"PRAGMA max_page_count = {pages}")
    try:
        yield
    finally:
        db.execute("PRAGMA max_page_count = 1000000")


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes, as a quota would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_blobs_that_find_no_room_are_kept_until_there_is(tmp_path: Path) -> None:
    """A full disk stops a run with a sentence, exit code 1; what has gathered is written when there is room again."""
    clock = ManualClock()
    with Journal.create(tmp_path, head(), clock=clock) as journal:
        plan = put_plan(5000)
        journal.planned(plan)
        journal.created(plan, job())
        journal.moved("job-1", moved(0))
        journal.flush()
        with full_disk(journal):
            journal.moved("job-1", moved(*range(1, 5000)))
            clock.advance(1.0)
            for _ in range(2):
                with pytest.raises(JournalError, match="the disk is full") as full:
                    journal.tick()
            assert full.value.exit_code == 1
            assert "ds3tool resume" in (full.value.hint or "")
            assert works(tmp_path)[0].plans[0].moved_blobs == 1
        journal.tick()
        (remainder,) = journal.remainders()
        assert len(remainder.held) == 5000


def test_closing_a_journal_on_a_full_disk_loses_only_what_was_not_told_as_written(tmp_path: Path) -> None:
    """A run that a full disk has stopped closes its journal without a second error; all written before is there."""
    clock = ManualClock()
    journal = Journal.create(tmp_path, head(), clock=clock)
    plan = put_plan(5000)
    journal.planned(plan)
    journal.created(plan, job())
    journal.moved("job-1", moved(0, 1))
    journal.flush()
    db = journal._file._db
    db.execute("PRAGMA max_page_count = 1")
    journal.moved("job-1", moved(*range(2, 5000)))
    with pytest.raises(JournalError):
        journal.finished(plan)
    journal.close()
    with Journal.open(journal.path) as journal:
        (remainder,) = journal.remainders()
        assert [owner for owner, _ in held(remainder)] == [0, 1]


def test_closing_a_journal_says_when_the_last_of_it_finds_no_room(tmp_path: Path) -> None:
    """What nobody has been told yet is not swallowed at the end."""
    journal = Journal.create(tmp_path, head(), clock=ManualClock())
    plan = put_plan(5000)
    journal.planned(plan)
    journal.created(plan, job())
    journal._file._db.execute("PRAGMA max_page_count = 1")
    journal.moved("job-1", moved(*range(5000)))
    with pytest.raises(JournalError):
        journal.close()
    Journal.open(journal.path).close()


@pytest.mark.parametrize("act", ["planned", "planned again", "created", "deleting", "finished", "conclude"])
def test_what_cannot_be_recorded_raises_and_changes_nothing(tmp_path: Path, act: str) -> None:
    """Whatever step meets a disk at its limit, the journal says after it what it said before, here and reopened."""
    plan, other = put_plan(3000), put_plan(3000, first=3000)
    acts: dict[str, Callable[[Journal], None]] = {
        "planned": lambda journal: journal.planned(put_plan(9000)),
        "planned again": lambda journal: journal.planned(_renamed(put_plan(9000), other.name)),
        "created": lambda journal: journal.created(_renamed(put_plan(9000), other.name), job("job-2")),
        "deleting": lambda journal: journal.deleting("archive", "k" * 100_000, None, None),
        "finished": lambda journal: journal.finished(plan),
        "conclude": lambda journal: journal.conclude(),
    }
    with Journal.create(tmp_path, head(), clock=ManualClock()) as journal:
        list(journal.plans(iter([plan, other])))
        journal.created(plan, job())
        journal.moved("job-1", moved(5))
        journal.flush()
        before = remains(journal)
        # Room for what undoes a transaction is needed too: at a few bytes nothing can be written.
        with largest_file(10), pytest.raises(JournalError) as refused:
            acts[act](journal)
        assert journal.path in refused.value.message
        assert remains(journal) == before
        assert not journal.concluded
    with Journal.open(journal.path) as journal:
        assert remains(journal) == before
        acts[act](journal)


def _renamed(plan: PlannedJob, name: str) -> PlannedJob:
    plan.name = name
    return plan


def test_a_journal_that_finds_no_room_at_all_leaves_nothing(tmp_path: Path) -> None:
    """A command that cannot make its journal ends before anything is sent, and no half of one is in the way."""
    with largest_file(1000), pytest.raises((JournalError, ConfigError)):
        Journal.create(tmp_path, head())
    assert works(tmp_path) == []
    Journal.create(tmp_path, head(work_id="work-2")).close()
    assert [path for path in (tmp_path / "jobs").rglob("*") if path.is_file()] == []


def test_a_state_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    """A mistake of --state-dir is a ConfigError that names it."""
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "jobs").write_bytes(b"")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / "state"):
        with pytest.raises(ConfigError) as refused:
            Journal.create(folder, head())
        assert str(folder) in refused.value.message
        assert "--state-dir" in (refused.value.hint or "")


# Run where a small file system of its own can be mounted: at first it is writable, then full, then read-only.
_SMALL_DISK = """
import json, os, subprocess, sys
from ds3tool.errors import Ds3Error
from ds3tool.jobs.journal import Journal
from ds3tool.jobs.works import works
from tests.jobs.journal_steps import HEAD, steps, told
from tests.jobs.test_journal import head

disk = sys.argv[1]
if os.system(f"mount -t tmpfs -o size=400k none {disk}"):
    sys.exit(77)

def attempt(act):
    try:
        act()
    except Ds3Error as error:
        return [type(error).__name__, error.exit_code, error.message, error.hint]

said = {}
done = 0
journal = Journal.create(disk, HEAD)
try:
    for step in steps():
        step(journal)
        done += 1
except Ds3Error as error:
    said["filling"] = [type(error).__name__, error.exit_code, error.message, error.hint]
journal.close()
with open(disk + "/rest", "wb", buffering=0) as rest:
    try:
        while True:
            rest.write(bytes(4096))
    except OSError:
        pass
said["creating"] = attempt(lambda: Journal.create(disk, head(work_id="another")))
said["listed full"] = [work.id for work in works(disk)]
os.unlink(disk + "/rest")
with Journal.open(works(disk)[0].path) as journal:
    left = [told(remainder) for remainder in journal.remainders()]
assert not os.system(f"mount -o remount,ro {disk}")
said["creating read-only"] = attempt(lambda: Journal.create(disk, head(work_id="another")))
said["opening read-only"] = attempt(lambda: Journal.open(works(disk)[0].path))
said["listed read-only"] = [work.id for work in works(disk)]
import tempfile
with Journal.create(tempfile.mkdtemp(dir=sys.argv[2]), HEAD) as journal:
    for _, step in zip(range(done), steps()):
        step(journal)
    said["left is right"] = left == [told(remainder) for remainder in journal.remainders()]
said["done"] = done
print(json.dumps(said))
"""


def test_a_disk_that_fills_up_and_one_that_is_read_only(tmp_path: Path) -> None:
    """On a real small disk: what was written before it was full is there; each trouble has its sentence and code."""
    disk = tmp_path / "disk"
    disk.mkdir()
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("there is no unshare here")
    done = subprocess.run(
        [unshare, "--map-root-user", "--mount", sys.executable, "-c", _SMALL_DISK, str(disk), str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 77 or (not done.stdout and "unshare" in done.stderr):
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["done"] > 3
    assert said["left is right"]
    assert said["filling"][:2] == ["JournalError", 1]
    assert "the disk is full" in said["filling"][2]
    assert said["creating"][:2] == ["JournalError", 1]
    assert "room" in said["creating"][2] or "full" in said["creating"][2]
    assert said["listed full"] == said["listed read-only"] == ["work"]
    for what in ("creating read-only", "opening read-only"):
        assert said[what][:2] == ["ConfigError", 2]
        assert "Read-only" in said[what][2]
        assert "--state-dir" in said[what][3]


# -- damage --------------------------------------------------------------------------------------------------------


def spoil_start(data: bytearray, _: random.Random) -> None:
    data[:100] = b"x" * 100


def truncate(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(1, len(data)) :]


def spoil_half(data: bytearray, rng: random.Random) -> None:
    middle = len(data) // 2
    data[middle:] = rng.randbytes(len(data) - middle)


@pytest.mark.parametrize("spoil", [spoil_start, truncate, spoil_half])
@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_journal_is_told_by_name_and_stops_no_other(
    tmp_path: Path, spoil: Callable[[bytearray, random.Random], None], seed: int
) -> None:
    """It raises a sentence with the file and a way out, is listed with its trouble, and can be forgotten."""
    path = Path(begun(tmp_path, "work-1"))
    begun(tmp_path, "work-2", "job-2")
    with Journal.open(str(path)) as journal:
        journal.planned(put_plan(2000, first=10))
    data = bytearray(path.read_bytes())
    spoil(data, random.Random(seed))
    path.write_bytes(data)
    with pytest.raises(JournalError) as damaged, Journal.open(str(path)) as journal:
        list(journal.remainders())
    assert str(path) in damaged.value.message
    assert "ds3tool job forget work-1" in (damaged.value.hint or "")
    listed = {summary.id: summary for summary in works(tmp_path)}
    assert set(listed) == {"work-1", "work-2"}
    assert listed["work-2"].trouble is None
    assert find_work(tmp_path, "job-2") == listed["work-2"]
    with Journal.open(listed["work-2"].path) as journal:
        assert len(list(journal.remainders())) == 1
    forget_work(tmp_path, "work-1")
    assert [summary.id for summary in works(tmp_path)] == ["work-2"]


@pytest.mark.parametrize("table", ["objects", "moved", "appeared"])
def test_one_changed_bit_in_a_row_is_noticed(tmp_path: Path, table: str) -> None:
    """A bit that the disk has lost in names, numbers or digests is not taken for what was written."""
    path = begun(tmp_path)
    with Journal.open(path) as journal:
        journal.moved("job-1", moved(0, 1, 2))
        journal.appeared("job-1", [0, 1])
    column = "owners" if table != "objects" else "sizes"
    db = sqlite3.connect(path)
    ((row, value),) = db.execute(f"SELECT rowid, {column} FROM {table}").fetchall()
    changed = bytearray(value)
    changed[0] ^= 4
    db.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (bytes(changed), row))
    db.commit()
    db.close()
    with Journal.open(path) as journal, pytest.raises(JournalError, match="damaged"):
        list(journal.remainders())


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE work SET head = x'7b7d'",
        "UPDATE work SET head = x'00ff'",
        "DELETE FROM work",
        "UPDATE plans SET objects = objects + 1",
        "DELETE FROM objects",
        "DROP TABLE plans",
        "PRAGMA application_id = 7",
    ],
)
def test_a_journal_that_lacks_something_is_damaged(tmp_path: Path, statement: str) -> None:
    """Whatever is missing or does not fit together is a JournalError that names the file, not a traceback."""
    path = begun(tmp_path)
    db = sqlite3.connect(path)
    db.execute(statement)
    db.commit()
    db.close()
    with pytest.raises(JournalError) as damaged, Journal.open(path) as journal:
        list(journal.remainders())
    assert path in damaged.value.message
    works(tmp_path)


def test_another_database_is_no_journal(tmp_path: Path) -> None:
    """A file of SQLite that somebody put there is not taken for a journal, and not changed."""
    path = tmp_path / "jobs" / "other.db"
    path.parent.mkdir()
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE mine (a)")
    db.commit()
    db.close()
    before = path.read_bytes()
    with pytest.raises(JournalError, match="something else"):
        Journal.open(str(path))
    assert path.read_bytes() == before


def test_a_journal_that_is_gone_is_told(tmp_path: Path) -> None:
    """Opening what is not there ends with 4, and makes nothing."""
    with pytest.raises(PathNotFoundError):
        Journal.open(str(tmp_path / "gone.db"))
    assert list(tmp_path.iterdir()) == []


# -- versions ------------------------------------------------------------------------------------------------------


def set_format(path: str, number: int) -> bytes:
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {number}")
    db.close()
    return Path(path).read_bytes()


def test_a_journal_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    """It is refused with exit code 2 and the two formats, listed with that trouble, not forgotten, and not touched."""
    path = begun(tmp_path)
    before = set_format(path, FORMAT + 1)
    acts: list[Callable[[], None]] = [lambda: Journal.open(path).close(), lambda: forget_work(tmp_path, "work-1")]
    for act in acts:
        with pytest.raises(ConfigError, match="newer ds3tool") as refused:
            act()
        assert refused.value.exit_code == 2
    (summary,) = works(tmp_path)
    assert isinstance(summary.trouble, ConfigError)
    assert Path(path).read_bytes() == before


def test_a_journal_of_an_older_version_is_brought_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The changes from each format to the next are made in one step, once, and what it holds stays."""
    path = begun(tmp_path)
    made = []

    def change(number: int) -> Callable[[sqlite3.Connection], None]:
        def make(db: sqlite3.Connection) -> None:
            made.append(number)
            db.execute(f"CREATE TABLE new_in_{number + 1} (a)")

        return make

    monkeypatch.setattr(journal_file, "FORMAT", FORMAT + 2)
    monkeypatch.setattr(journal_file, "_MIGRATIONS", {number: change(number) for number in (FORMAT, FORMAT + 1)})
    for _ in range(2):
        with Journal.open(path) as journal:
            (remainder,) = journal.remainders()
            assert remainder.job_id == "job-1"
    assert made == [FORMAT, FORMAT + 1]


def test_a_change_of_format_that_fails_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal that cannot be brought up is as it was, for the ds3tool that made it."""
    path = begun(tmp_path)

    def fail(db: sqlite3.Connection) -> None:
        db.execute("DROP TABLE moved")
        db.execute("SELECT * FROM nowhere")

    with monkeypatch.context() as patched:
        patched.setattr(journal_file, "FORMAT", FORMAT + 1)
        patched.setattr(journal_file, "_MIGRATIONS", {FORMAT: fail})
        with pytest.raises(JournalError):
            Journal.open(path)
    with Journal.open(path) as journal:
        assert len(list(journal.remainders())) == 1


def test_a_journal_that_is_kept_busy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks at a journal that another process never lets go of hears it, and the others are listed."""
    monkeypatch.setattr(journal_file, "_LOOKING_SECONDS", 0.01)
    path = begun(tmp_path, "work-1")
    begun(tmp_path, "work-2", "job-2")
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN EXCLUSIVE")
    busy, free = works(tmp_path)
    db.close()
    assert isinstance(busy.trouble, JournalError)
    assert "busy" in busy.trouble.message
    assert free.trouble is None


def test_no_error_of_sqlite_leaves_a_journal(tmp_path: Path) -> None:
    """Each class of error that SQLite knows becomes a Ds3Error with the file's name in it."""
    path = begun(tmp_path)
    file = JournalFile.open(path)
    for kind in (
        sqlite3.Error,
        sqlite3.DatabaseError,
        sqlite3.OperationalError,
        sqlite3.IntegrityError,
        sqlite3.InternalError,
        sqlite3.ProgrammingError,
        sqlite3.InterfaceError,
        sqlite3.DataError,
        sqlite3.NotSupportedError,
    ):
        with pytest.raises(Ds3Error, match=r"work-1\.db"), file.writing():
            raise kind("no")
    file.close()
    with pytest.raises(JournalError, match=r"work-1\.db"):
        file.rows("SELECT 1")
