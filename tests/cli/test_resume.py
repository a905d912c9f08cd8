"""`ds3tool resume` as an operator types it: what was interrupted goes on, and what cannot go on is told by name."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ds3tool.cli.local_works import unfinished_works
from ds3tool.cli.settings import Settings
from ds3tool.client import Ds3Client
from ds3tool.errors import Ds3Error
from ds3tool.jobs.completion import wait_for_job
from ds3tool.jobs.journal import Journal
from ds3tool.jobs.put import PutRun
from ds3tool.jobs.run import RunResult
from ds3tool.jobs.works import WorkSummary
from ds3tool.protocol.model import JobDetails, JobStatus
from ds3tool.simulator import Appliance, ApplianceSettings
from ds3tool.simulator.clock import ManualClock
from tests.cli.archive import Archive
from tests.cli.interrupting import Between
from tests.cli.runner import Run, run
from tests.jobs.rooms import Meddler

MIB = 1 << 20
NAMES = ["large", *(f"small-{number}" for number in range(8))]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Eight small files and one of four blobs."""
    root, chance = tmp_path / "tree", random.Random(8)
    root.mkdir()
    for name in NAMES:
        (root / name).write_bytes(chance.randbytes(3 * MIB + 5 if name == "large" else 1000))
    return root


@pytest.fixture
def between(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> Iterator[Between]:
    """What stands between the commands and the appliance."""
    meddler = Meddler(archive.appliance)
    yield Between(archive, meddler, monkeypatch)
    meddler.close()


def state_folder() -> Path:
    """Where this test's commands remember things."""
    return Path(os.environ["HOME"]) / ".local" / "state" / "ds3tool"


def works() -> list[WorkSummary]:
    """What is unfinished, the oldest first."""
    return unfinished_works(Settings(state_folder=state_folder()))


def unfinished() -> list[str]:
    """The ids of what is unfinished."""
    return [work.id for work in works()]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, those with odd names too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fetched(archive: Archive, bucket: str, prefix: str = "") -> dict[str, bytes]:
    """Every object below a prefix, as a get of its own brings it."""
    with tempfile.TemporaryDirectory() as folder:
        archive.run("get", f"ds3://{bucket}/{prefix}", folder).expect(0)
        return contents(Path(folder))


def nothing_is_open(archive: Archive, bucket: str) -> None:
    """Wait until the appliance works on no job of a bucket."""
    archive.until(lambda: not list(archive.client.list_active_jobs(bucket=bucket)))


def interrupted_put(between: Between, tree: Path, bucket: str, *options: str, blob: int = 2) -> Run:
    """Put a tree into a bucket, and press Ctrl-C at its second large blob."""
    between.signal_at(blob)
    return between.run("put", str(tree), f"ds3://{bucket}", "-j", "1", *options).expect(130)


def interrupted_get(between: Between, bucket: str, target: Path, *options: str, blob: int = 2) -> Run:
    """Get a bucket into a folder, and press Ctrl-C at its second large blob."""
    between.signal_at(blob)
    return between.run("get", f"ds3://{bucket}", str(target), "-j", "1", *options).expect(130)


@pytest.fixture
def filled(archive: Archive, tree: Path) -> str:
    """A bucket that holds the tree."""
    bucket = archive.bucket()
    archive.run("put", str(tree), f"ds3://{bucket}").expect(0)
    return bucket


# -- what was interrupted goes on --------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 2])
def test_a_put_that_ctrl_c_ended_goes_on(between: Between, tree: Path, times: int) -> None:
    """Once or twice: exit code 130, the way on is said last, and `resume` alone puts the rest."""
    archive, bucket = between.archive, between.archive.bucket()
    between.signal_at(2, times=times)
    said = between.run("put", str(tree), f"ds3://{bucket}", "-j", "1").expect(130)
    assert said.stderr.splitlines()[-1].endswith("ds3tool resume"), str(said)
    assert len(archive.keys(bucket)) == len(NAMES)  # declared; few of them are there
    archive.run("resume").expect(0)
    assert fetched(archive, bucket) == contents(tree)
    assert unfinished() == []
    nothing_is_open(archive, bucket)


def test_a_signal_amid_a_run_s_last_steps_does_not_hide_what_it_did(
    between: Between, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was put by then is told, and so is the way on, though the second signal came when nothing moved any more."""

    def ending(_run: PutRun) -> RunResult:
        raise KeyboardInterrupt

    archive, bucket = between.archive, between.archive.bucket()
    with monkeypatch.context() as patched:
        patched.setattr(PutRun, "finished", ending)
        between.signal_at(2)
        said = between.run("put", str(tree), f"ds3://{bucket}", "-j", "1", "-o", "json").expect(130)
    assert said.json["bytes"]
    assert said.stderr.splitlines()[-1].endswith("ds3tool resume"), str(said)
    archive.run("resume").expect(0)
    assert fetched(archive, bucket) == contents(tree)


@pytest.mark.parametrize("times", [1, 2])
def test_a_get_that_ctrl_c_ended_goes_on(between: Between, filled: str, tree: Path, tmp_path: Path, times: int) -> None:
    """Nothing half has its name meanwhile, and afterwards no temporary file is left."""
    target = tmp_path / "back"
    between.signal_at(2, times=times)
    between.run("get", f"ds3://{filled}", str(target), "-j", "1").expect(130)
    known = contents(tree)
    assert all(data == known[name] for name, data in contents(target).items() if not name.startswith(".ds3tool-"))
    between.archive.run("resume").expect(0)
    assert contents(target) == known
    assert unfinished() == []
    nothing_is_open(between.archive, filled)


def test_what_was_let_through_is_never_moved_again(between: Between, tree: Path, tmp_path: Path) -> None:
    """After one Ctrl-C each way every blob has passed exactly once."""
    bucket = between.archive.bucket()
    interrupted_put(between, tree, bucket)
    between.run("resume").expect(0)
    put = dict(between.passed)
    interrupted_get(between, bucket, tmp_path / "back")
    between.run("resume").expect(0)
    assert len(between.passed) == 2 * len(put)
    assert set(between.passed.values()) == {1}, between.passed
    assert contents(tmp_path / "back") == contents(tree)


def test_a_killed_put_and_a_killed_get_go_on(between: Between, tree: Path, tmp_path: Path) -> None:
    """SIGKILL, which nobody hears: what it was doing is not running any more, and `resume` ends it."""
    archive, bucket = between.archive, between.archive.bucket()
    between.killed(3, "put", str(tree), f"ds3://{bucket}", "-j", "1")
    assert between.run("job", "ls", "--local", "-o", "json").expect(0).json[0]["state"] == "interrupted"
    archive.run("resume").expect(0)
    assert fetched(archive, bucket) == contents(tree)
    between.killed(3, "get", f"ds3://{bucket}", str(tmp_path / "back"), "-j", "1")
    archive.run("resume").expect(0)
    assert contents(tmp_path / "back") == contents(tree)
    nothing_is_open(archive, bucket)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_resume_that_is_interrupted_is_resumed(between: Between, tree: Path, number: signal.Signals) -> None:
    """Whatever ends it, however often: each time a little more is there, and nothing is sent twice."""
    bucket = between.archive.bucket()
    between.signal_at(1, number=number)
    between.run("put", str(tree), f"ds3://{bucket}", "-j", "1").expect(130)
    between.signal_at(1, number=number)
    between.run("resume", "-j", "1").expect(130)
    between.run("resume").expect(0)
    assert fetched(between.archive, bucket) == contents(tree)
    assert set(between.passed.values()) == {1}


def test_a_run_that_went_well_leaves_nothing_to_resume(
    archive: Archive, filled: str, tree: Path, tmp_path: Path
) -> None:
    """Put, get, sync and cat conclude their work; a dry run and a plan begin none."""
    archive.run("get", f"ds3://{filled}", str(tmp_path / "back")).expect(0)
    archive.run("sync", "--yes", str(tree), f"ds3://{filled}/").expect(0)
    archive.run("cat", f"ds3://{filled}/small-1", into=tmp_path / "out").expect(0)
    archive.run("put", "--dry-run", str(tree), f"ds3://{filled}/new/").expect(0)
    archive.run("plan", "put", str(tree), f"ds3://{filled}/new/").expect(0)
    assert unfinished() == []
    assert "nothing to resume" in archive.run("resume").expect(0).stderr


def test_nothing_to_resume_can_be_an_error(archive: Archive, tree: Path, between: Between) -> None:
    """Exit code 9 with --error-if-nothing, and only when there was nothing."""
    assert archive.run("resume", "--error-if-nothing", "-o", "json").expect(9).json["error"]["code"] == "NothingToDo"
    interrupted_put(between, tree, archive.bucket())
    archive.run("resume", "--error-if-nothing").expect(0)


def test_what_the_appliance_refuses_at_once_leaves_nothing_to_resume(archive: Archive, tree: Path) -> None:
    """No bucket, and a job that is refused before it is there: the command is mended and typed again."""
    archive.run("put", str(tree), "ds3://no-such-bucket").expect(4)
    archive.run("get", "ds3://no-such-bucket", str(tree)).expect(4)
    assert unfinished() == []


def test_a_plan_that_was_run_goes_on(between: Between, tree: Path, tmp_path: Path) -> None:
    """`plan run` keeps a journal too, both ways."""
    archive, bucket = between.archive, between.archive.bucket()
    archive.run("plan", "put", str(tree), f"ds3://{bucket}", "--save", str(tmp_path / "p")).expect(0)
    between.signal_at(2)
    between.run("plan", "run", str(tmp_path / "p"), "-j", "1").expect(130)
    archive.run("resume").expect(0)
    archive.run("plan", "get", f"ds3://{bucket}", str(tmp_path / "back"), "--save", str(tmp_path / "g")).expect(0)
    between.signal_at(2)
    between.run("plan", "run", str(tmp_path / "g"), "-j", "1").expect(130)
    archive.run("resume").expect(0)
    assert contents(tmp_path / "back") == contents(tree)


def test_a_resumed_sync_moves_the_rest_and_deletes_nothing(between: Between, tree: Path) -> None:
    """What was agreed to be deleted was looked at long ago: it stays, and the result says so."""
    archive, bucket = between.archive, between.archive.bucket("x/too-much")
    between.signal_at(2)
    between.run("sync", "--delete", "--yes", str(tree), f"ds3://{bucket}/x/", "-j", "1").expect(130)
    result = archive.run("resume", "-o", "json").expect(0).json
    assert any("deletes nothing" in note for note in result["notes"])
    assert sorted(archive.keys(bucket)) == sorted(["x/too-much", *(f"x/{name}" for name in NAMES)])


def test_several_jobs_of_one_command_go_on(
    between: Between, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is split: the job that was begun goes on, and those that were not are begun now."""
    monkeypatch.setattr("ds3tool.jobs.job_run.LAG_SECONDS", ())  # the lists of the embedded appliance are never late
    archive, bucket = between.archive, between.archive.bucket()
    said = interrupted_put(between, tree, bucket, "--max-job-objects", "2", "-o", "json").json
    (begun,) = (job["id"] for job in said["jobs"])
    first, *others = (job["id"] for job in archive.run("resume", "-o", "json").expect(0).json["jobs"])
    assert first == begun
    assert len(set(others)) == 4
    assert fetched(archive, bucket) == contents(tree)
    interrupted_get(between, bucket, tmp_path / "back", "--max-job-objects", "2")
    archive.run("resume").expect(0)
    assert contents(tmp_path / "back") == contents(tree)
    nothing_is_open(archive, bucket)


# -- what is shown -----------------------------------------------------------------------------------------------------


def test_json_is_the_shape_of_a_run_and_counts_what_this_one_moved(between: Between, tree: Path) -> None:
    """One document over all works: the jobs of each, the counts together, and how each work stands."""
    archive, first, second = between.archive, between.archive.bucket(), between.archive.bucket()
    for bucket in (first, second):
        interrupted_put(between, tree, bucket)
    result = archive.run("resume", "-o", "json").expect(0).json
    assert {"jobs", "objects", "bytes", "skipped", "failed", "seconds", "bytes_per_second", "verified"} <= set(result)
    assert [job["bucket"] for job in result["jobs"]] == [first, second]
    assert result["objects"] == sum(job["objects"] for job in result["jobs"])
    assert 0 < result["bytes"] < 2 * sum(map(len, contents(tree).values()))
    assert [(work["verb"], work["status"], work["error"]) for work in result["works"]] == [
        ("put", "finished", None)
    ] * 2


def test_nothing_to_resume_is_a_document_too(archive: Archive) -> None:
    """With `-o json` scripts get the same shape, empty."""
    result = archive.run("resume", "-o", "json").expect(0).json
    assert (result["jobs"], result["objects"], result["failed"], result["works"]) == ([], 0, [], [])


def test_ndjson_tells_each_object_as_it_ends(between: Between, tree: Path) -> None:
    """The objects of the rest, a line each, and the result as the last line."""
    interrupted_put(between, tree, between.archive.bucket())
    *objects, result = between.archive.run("resume", "-o", "ndjson").expect(0).lines
    assert {line["status"] for line in objects} == {"done"}
    assert 0 < len(objects) < len(NAMES) + 1
    assert result["objects"] == len(objects)


def test_each_work_has_a_line_and_the_oldest_goes_first(between: Between, tree: Path, tmp_path: Path) -> None:
    """A table names what each work was; with several waiting, each one's own command says which it is."""
    archive, bucket = between.archive, between.archive.bucket()
    interrupted_put(between, tree, bucket)
    said = interrupted_get(between, _filled(archive, tree), tmp_path / "back")
    first, second = unfinished()
    assert said.stderr.splitlines()[-1].endswith(f"ds3tool resume {second}")
    lines = archive.run("resume").expect(0).stdout.splitlines()
    assert lines[0].startswith(f"put of {tree} into {bucket}: put ")
    assert lines[1].startswith("get from ")
    assert ": got " in lines[1]
    assert first != second


def _filled(archive: Archive, tree: Path) -> str:
    bucket = archive.bucket()
    archive.run("put", str(tree), f"ds3://{bucket}").expect(0)
    return bucket


def test_the_way_on_names_the_state_folder(between: Between, tree: Path, tmp_path: Path) -> None:
    """What was remembered elsewhere is found by the very command that is said."""
    state = tmp_path / "its state"
    said = interrupted_put(between, tree, between.archive.bucket(), "--state-dir", str(state))
    assert said.stderr.splitlines()[-1].endswith(f"ds3tool resume --state-dir '{state}'")
    assert unfinished() == []
    between.archive.run("resume", "--state-dir", str(state)).expect(0)


# -- one of them -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["job", "work", "beginning of the job", "beginning of the work", "end of the work"])
def test_one_work_is_named_by_its_job_or_its_own_id(between: Between, tree: Path, how: str) -> None:
    """Whole, or by what is enough to tell it from the others."""
    archive, bucket = between.archive, between.archive.bucket()
    interrupted_put(between, tree, bucket)
    (work,) = works()
    (plan,) = work.plans
    assert plan.job_id is not None
    word = {
        "job": plan.job_id,
        "work": work.id,
        "beginning of the job": plan.job_id[:12],
        "beginning of the work": work.id[:18],
        "end of the work": work.id[-8:],
    }[how]
    archive.run("resume", word).expect(0)
    assert fetched(archive, bucket) == contents(tree)


def test_only_what_is_named_goes_on(between: Between, tree: Path) -> None:
    """The other one waits, and is named by nobody."""
    archive = between.archive
    for _ in range(2):
        interrupted_put(between, tree, archive.bucket())
    first, second = unfinished()
    archive.run("resume", second).expect(0)
    assert unfinished() == [first]
    archive.run("resume").expect(0)
    assert unfinished() == []


def test_a_name_that_means_several_or_none_is_told(between: Between, tree: Path) -> None:
    """Too short and ambiguous are usage errors; what nobody knows is not found."""
    archive = between.archive
    for _ in range(2):
        interrupted_put(between, tree, archive.bucket())
    first, second = unfinished()
    assert "too short" in archive.run("resume", first[:7]).expect(2).stderr
    several = archive.run("resume", first[:8]).expect(2).stderr
    assert first in several
    assert second in several
    assert "job ls --local" in archive.run("resume", "nothing-like-it").expect(4).stderr
    assert "job ls" in archive.run("resume", "00000000-0000-4000-8000-000000000000").expect(4).stderr
    archive.run("resume").expect(0)


# -- what cannot go on now ---------------------------------------------------------------------------------------------


def test_a_work_that_another_process_holds_is_named_and_the_others_go_on(between: Between, tree: Path) -> None:
    """Exit code 11, at once for the one that was asked for, at the end for all."""
    archive, held, free = between.archive, between.archive.bucket(), between.archive.bucket()
    for bucket in (held, free):
        interrupted_put(between, tree, bucket)
    first, second = works()
    with Journal.open(first.path):
        assert str(os.getpid()) in archive.run("resume", first.id).expect(11).stderr
        result = archive.run("resume", "-o", "json").expect(11).json
    assert [work["status"] for work in result["works"]] == ["unfinished", "finished"]
    assert result["works"][0]["error"]["code"] == "Locked"
    assert fetched(archive, free) == contents(tree)
    assert unfinished() == [first.id]
    archive.run("resume").expect(0)
    assert second.id not in unfinished()


def test_an_appliance_that_is_off_loses_nothing(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 7; the second work is not tried for as long again; once it is back all goes on."""
    settings = ApplianceSettings(
        directory=str(tmp_path / "appliance"), blob_size=MIB, chunk_size=4 * MIB, retry_after=0, persist_delay=0.0
    )
    with Appliance(settings) as appliance:
        archive = Archive.of(appliance)
        meddler = Meddler(appliance)
        between = Between(archive, meddler, monkeypatch)
        with archive.client:
            buckets = [archive.bucket(), archive.bucket()]
            for bucket in buckets:
                interrupted_put(between, tree, bucket)
            meddler.close()
        port = appliance.port
    off = archive.run("resume", "-o", "json", "--max-retry-time", "0s").expect(7).json
    assert [work["status"] for work in off["works"]] == ["unfinished"] * 2
    assert "not tried again" in off["works"][1]["error"]["message"]
    assert "ds3tool resume" in off["works"][0]["error"]["hint"]
    assert archive.run("job", "ls", "--local", "-o", "json").expect(0).json[0]["state"] == "interrupted"
    with Appliance(replace(settings, port=port)) as appliance:
        archive = Archive.of(appliance)
        with archive.client:
            archive.run("resume").expect(0)
            for bucket in buckets:
                assert fetched(archive, bucket) == contents(tree)


def test_a_file_that_has_changed_fails_by_name_and_the_rest_goes_on(between: Between, tree: Path) -> None:
    """Exit code 3, once: what was put of it before is not taken for the file."""
    archive, bucket = between.archive, between.archive.bucket()
    interrupted_put(between, tree, bucket)
    (tree / "large").write_bytes(b"something else")
    result = archive.run("resume", "-o", "json").expect(3).json
    assert [failure["key"] for failure in result["failed"]] == ["large"]
    known = contents(tree)
    del known["large"]
    nothing_is_open(archive, bucket)
    assert fetched(archive, bucket) == known
    assert unfinished() == []


@pytest.mark.parametrize("how", ["gone", "empty"])
def test_a_source_that_is_not_there_leaves_the_work_as_it_was(between: Between, tree: Path, how: str) -> None:
    """A disk that is not mounted is told once, and not file by file; exit code 4, and once it is back all goes on."""
    archive, bucket = between.archive, between.archive.bucket()
    interrupted_put(between, tree, bucket)
    away = tree.rename(tree.parent / "away")
    if how == "empty":
        tree.mkdir()
    said = archive.run("resume").expect(4)
    assert "mounted" in said.stderr
    assert NAMES[3] not in said.stderr
    if how == "empty":
        tree.rmdir()
    away.rename(tree)
    archive.run("resume").expect(0)
    assert fetched(archive, bucket) == contents(tree)


def test_a_source_that_has_moved_is_named(between: Between, tree: Path, tmp_path: Path) -> None:
    """--source stands in for the folder of the work, also for a copy, whose files are other ones."""
    archive, bucket = between.archive, between.archive.bucket()
    interrupted_put(between, tree, bucket)
    (work,) = unfinished()
    shutil.copytree(tree, tmp_path / "copy")
    shutil.rmtree(tree)
    assert "is no path of this host" in archive.run("resume", work, "--source", "s3://bucket/copy/").expect(2).stderr
    resumed = archive.run("resume", work, "--source", str(tmp_path / "copy")).expect(0)
    assert f"put of {tmp_path / 'copy'} into {bucket}" in resumed.stdout
    assert fetched(archive, bucket) == contents(tmp_path / "copy")


def test_a_target_that_is_not_there_leaves_the_work_as_it_was(
    between: Between, filled: str, tree: Path, tmp_path: Path
) -> None:
    """Nothing is written where a disk would be mounted; --target goes on elsewhere."""
    target = tmp_path / "disk" / "back"
    interrupted_get(between, filled, target)
    (work,) = unfinished()
    away = target.rename(tmp_path / "away")
    assert "mounted" in between.archive.run("resume").expect(4).stderr
    assert not target.exists()
    target.mkdir()  # what the disk is mounted over
    assert "another folder" in between.archive.run("resume").expect(4).stderr
    assert list(target.iterdir()) == []
    resumed = between.archive.run("resume", work, "--target", str(away)).expect(0)
    assert f"into {away}" in resumed.stdout
    assert contents(away) == contents(tree)


def test_a_bucket_that_is_another_one_or_gone_is_refused(between: Between, tree: Path) -> None:
    """A bucket of the same name made anew is not the one of the work: nothing is sent; the work stays."""
    archive, bucket = between.archive, between.archive.bucket()
    interrupted_put(between, tree, bucket)
    (work,) = works()
    for plan in work.plans:
        archive.client.cancel_job(plan.job_id or "")
    archive.client.delete_bucket(bucket, force=True)
    assert "job forget" in archive.run("resume").expect(4).stderr
    archive.client.create_bucket(bucket)
    assert "made anew" in archive.run("resume").expect(2).stderr
    assert archive.keys(bucket) == []
    assert unfinished() == [work.id]


def _rewritten(path: str, change: dict[str, Any]) -> None:
    """Change what a journal says that its work was asked for."""
    import sqlite3

    with sqlite3.connect(path) as db:
        head = json.loads(db.execute("SELECT head FROM work").fetchone()[0])
        head["asked"] |= change
        db.execute("UPDATE work SET head = ?", (json.dumps(head).encode(),))
    db.close()


def test_the_work_of_another_host_is_named_and_left_alone(between: Between, tree: Path) -> None:
    """Its files may be others here; only by its name does it go on."""
    archive, bucket = between.archive, between.archive.bucket()
    interrupted_put(between, tree, bucket)
    (work,) = works()
    _rewritten(work.path, {"host": "elsewhere"})
    said = archive.run("resume").expect(0)
    assert "was begun on elsewhere" in said.stderr
    assert unfinished() == [work.id]
    archive.run("resume", work.id).expect(0)
    assert fetched(archive, bucket) == contents(tree)


def test_a_journal_that_makes_no_sense_does_not_keep_the_others(between: Between, tree: Path) -> None:
    """It is told with the way out, and the rest goes on."""
    archive, bucket = between.archive, between.archive.bucket()
    for one in (archive.bucket(), bucket):
        interrupted_put(between, tree, one)
    first, _ = works()
    _rewritten(first.path, {"files": {"roots": 7}})
    said = archive.run("resume")
    assert said.exit_code == 1, str(said)
    assert f"job forget {first.id}" in said.stderr
    nothing_is_open(archive, bucket)
    assert fetched(archive, bucket) == contents(tree)


def test_a_profile_that_a_work_was_begun_with_is_used_again(between: Between, tree: Path, tmp_path: Path) -> None:
    """Without asking for one, and whatever else the environment means by now."""
    archive, bucket = between.archive, between.archive.bucket()
    config = tmp_path / "config.toml"
    config.write_text(
        f'[profile.lab]\nendpoint = "{between.meddler.endpoint}"\n'
        f'access_key = "{archive.environ["DS3_ACCESS_KEY"]}"\nsecret_key = "{archive.environ["DS3_SECRET_KEY"]}"\n'
    )
    config.chmod(0o600)
    between.signal_at(2)
    run("put", str(tree), f"ds3://{bucket}", "-P", "lab", "--config", str(config), "-j", "1").expect(130)
    elsewhere = {"DS3_ENDPOINT": "http://127.0.0.1:1", "DS3_ACCESS_KEY": "a", "DS3_SECRET_KEY": "b"}
    run("resume", "--config", str(config), environ=elsewhere).expect(0)
    assert fetched(archive, bucket) == contents(tree)


# -- what cannot go on at all ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["put", "cat"])
def test_a_stream_that_was_killed_is_ended_on_the_appliance(
    between: Between, filled: str, tree: Path, verb: str
) -> None:
    """It cannot be had again: its job does not idle for a day, and the command is told, once."""
    if verb == "cat":
        between.killed(2, "cat", f"ds3://{filled}/large")
    else:
        size = str((tree / "large").stat().st_size)
        between.killed(2, "put", "-", f"ds3://{filled}/new-large", "--size", size, stdin=tree / "large")
    assert list(between.archive.client.list_active_jobs(bucket=filled))
    said = between.archive.run("resume").expect(3)
    assert "a stream can be had only once" in said.stderr
    assert f"ds3tool {verb} " in said.stderr.splitlines()[-1]
    nothing_is_open(between.archive, filled)
    assert "new-large" not in between.archive.keys(filled)
    assert "nothing to resume" in between.archive.run("resume").expect(0).stderr


def test_what_was_killed_while_it_was_planned_has_begun_nothing(archive: Archive, tree: Path) -> None:
    """It is told with its command line, and dropped."""
    script = (
        "import os, sys\n"
        "from ds3tool.cli.main import main\n"
        "from ds3tool.sources.local import LocalSource\n"
        "LocalSource.blocks = lambda self: iter(lambda: os._exit(9), None)\n"
        "main(sys.argv[1:])\n"
    )
    bucket = archive.bucket()
    killed = subprocess.run(
        [sys.executable, "-c", script, "put", str(tree), f"ds3://{bucket}"],
        env={**os.environ, **archive.environ},
        check=False,
        timeout=60,
    )
    assert killed.returncode == 9
    assert archive.run("job", "ls", "--local", "-o", "json").expect(0).json[0]["state"] == "nothing begun"
    said = archive.run("resume").expect(3)
    assert f"ds3tool put {tree} ds3://{bucket}" in said.stderr
    assert unfinished() == []


# -- waiting for tape --------------------------------------------------------------------------------------------------


@pytest.fixture
def slow_tape() -> Iterator[tuple[Archive, ManualClock]]:
    """An appliance that puts on tape what came half a minute ago, and its clock."""
    clock = ManualClock(time.time())
    with Appliance(ApplianceSettings(persist_delay=30.0, retry_after=0), clock=clock) as appliance:
        archive = Archive.of(appliance)
        with archive.client:
            yield archive, clock


def test_waiting_for_tape_goes_on_until_it_is_there(
    slow_tape: tuple[Archive, ManualClock], tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A put that was to be on tape is done only then: interrupted while it waits, it waits on."""
    archive, clock = slow_tape
    bucket = archive.bucket()

    def interrupted(*_: object, **__: object) -> object:
        raise KeyboardInterrupt

    def in_no_time(client: Ds3Client, job_id: str, **options: Any) -> JobDetails:  # noqa: ANN401
        assert client.get_job(job_id).job.status == JobStatus.IN_PROGRESS

        def is_there() -> bool:
            clock.advance(5.0)
            return client.get_job(job_id).job.status != JobStatus.IN_PROGRESS

        archive.until(is_there)
        return wait_for_job(client, job_id, **options)

    with monkeypatch.context() as patched:
        patched.setattr("ds3tool.jobs.completion.wait_for_job", interrupted)
        said = archive.run("put", str(tree), f"ds3://{bucket}", "--wait", "tape").expect(130)
    assert said.stderr.splitlines()[-1].endswith("ds3tool resume")
    assert archive.run("job", "ls", "--local", "-o", "json").expect(0).json[0]["state"] == "waiting for tape"
    monkeypatch.setattr("ds3tool.jobs.completion.wait_for_job", in_no_time)
    result = archive.run("resume", "-o", "json").expect(0).json
    assert [job["status"] for job in result["jobs"]] == [JobStatus.COMPLETED]
    assert result["objects"] == 0
    assert unfinished() == []


def test_what_is_lost_on_its_way_to_tape_is_told_once(
    slow_tape: tuple[Archive, ManualClock], tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that somebody cancels while tape is waited for has nothing left to go on with."""

    def lost(client: Ds3Client, job_id: str, **options: Any) -> JobDetails:  # noqa: ANN401
        client.cancel_job(job_id)
        return wait_for_job(client, job_id, **options)

    archive, _ = slow_tape
    monkeypatch.setattr("ds3tool.jobs.completion.wait_for_job", lost)
    said = archive.run("put", str(tree), f"ds3://{archive.bucket()}", "--wait", "tape").expect(12)
    assert "run the command again" in said.stderr
    assert unfinished() == []


# -- a job that nobody here has begun ----------------------------------------------------------------------------------


def test_a_put_of_another_host_goes_on_here(between: Between, tree: Path, tmp_path: Path) -> None:
    """From the appliance's list, with the files' place: without it nothing is done, and the way is told."""
    archive, bucket = between.archive, between.archive.bucket()
    between.signal_at(2)
    between.run("put", str(tree), f"ds3://{bucket}/p/", "-j", "1", "--state-dir", str(tmp_path / "theirs")).expect(130)
    (job,) = (job.id for job in archive.client.list_active_jobs(bucket=bucket))
    assert "--source PATH" in archive.run("resume", job).expect(2).stderr
    assert "--strip-prefix" in archive.run("resume", job, "--source", str(tree)).expect(4).stderr
    archive.run("resume", job, "--source", str(tree), "--strip-prefix", "p/").expect(0)
    assert fetched(archive, bucket, "p/") == contents(tree)
    nothing_is_open(archive, bucket)


def test_a_get_of_another_host_goes_on_here(between: Between, filled: str, tree: Path, tmp_path: Path) -> None:
    """What its job still lists comes below --target; what had been read whole by then is with whoever began it."""
    archive = between.archive
    interrupted_get(between, filled, tmp_path / "there", "--state-dir", str(tmp_path / "theirs"))
    (job,) = (job.id for job in archive.client.list_active_jobs(bucket=filled))
    assert "--target DIR" in archive.run("resume", job).expect(2).stderr
    archive.run("resume", job, "--target", str(tmp_path / "here")).expect(0)
    known, here = contents(tree), contents(tmp_path / "here")
    assert here
    assert all(data == known[name] for name, data in here.items())
    there = {name for name in contents(tmp_path / "there") if not name.startswith(".ds3tool-")}
    assert there | set(here) == set(known)
    nothing_is_open(archive, filled)


def test_a_job_that_is_over_cannot_go_on(archive: Archive, tree: Path) -> None:
    """A completed one is a usage error, a cancelled one exit code 12."""
    bucket = archive.bucket()
    done = archive.run("put", str(tree), f"ds3://{bucket}", "--wait", "tape", "-o", "json").expect(0).json
    said = archive.run("resume", done["jobs"][0]["id"], "--source", str(tree)).expect(2)
    assert "is completed" in said.stderr
    with pytest.raises(Ds3Error):
        archive.client.cancel_job(done["jobs"][0]["id"])


# -- the options -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--source", "--target", "--strip-prefix"])
def test_a_place_is_for_one_job(archive: Archive, option: str) -> None:
    """For all of them it would mean nothing."""
    assert "for one job" in archive.run("resume", option, "x").expect(2).stderr


def test_what_failed_is_written_down(between: Between, tree: Path, tmp_path: Path) -> None:
    """--failed-to names what could not be put, of all works."""
    archive = between.archive
    interrupted_put(between, tree, archive.bucket())
    (tree / "large").unlink()
    archive.run("resume", "--failed-to", str(tmp_path / "failed")).expect(3)
    assert (tmp_path / "failed").read_text() == "large\n"


def test_a_state_folder_that_cannot_be_used_is_told_before_anything_is_sent(archive: Archive, tree: Path) -> None:
    """A file in its place: exit code 2, the way out is another folder, and no job is begun."""
    bucket = archive.bucket()
    said = archive.run("put", str(tree), f"ds3://{bucket}", "--state-dir", str(tree / "small-1")).expect(2)
    assert "--state-dir" in said.stderr
    assert archive.keys(bucket) == []
    assert not list(archive.client.list_active_jobs(bucket=bucket))
