"""What an interrupted command has decided, or failed at, holds for whoever resumes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.archive import Archive
from tests.cli.interrupting import Between
from tests.jobs.rooms import Meddler

MIB = 1 << 20


@pytest.fixture
def between(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> Iterator[Between]:
    """What stands between the commands and the appliance."""
    meddler = Meddler(archive.appliance)
    yield Between(archive, meddler, monkeypatch)
    meddler.close()


@pytest.fixture
def two_trees(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders that both have an `x`; three jobs of two objects have one of them in the first, one in the last."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, files in (
        (first, {"a": b"a", "x": b"the first"}),
        (second, {"large": bytes(4 * MIB), "m": b"m", "x": b"another"}),
    ):
        folder.mkdir()
        for name, data in files.items():
            (folder / name).write_bytes(data)
    return first, second


@pytest.mark.parametrize("rule", [("overwrite", "--yes"), ("rename",), ("skip-same",)], ids=lambda rule: rule[0])
def test_of_two_objects_of_one_key_the_first_stays_whichever_job_was_interrupted(
    between: Between, two_trees: tuple[Path, Path], tmp_path: Path, rule: tuple[str, ...]
) -> None:
    """The job of the first is done, that of the second is yet to be settled: it fails by name, and replaces nothing."""
    archive, bucket = between.archive, between.archive.bucket()
    put = ["put", *map(str, two_trees), f"ds3://{bucket}/", "-j", "1", "--max-job-objects", "2", "--if-exists", *rule]
    between.signal_at(2)
    said = between.run(*put).expect(130)
    assert "x comes twice" in said.stderr, str(said)
    archive.run("resume").expect(0)
    archive.run("get", f"ds3://{bucket}/x", str(tmp_path)).expect(0)
    assert (tmp_path / "x").read_bytes() == b"the first"
    assert sorted(archive.keys(bucket)) == ["a", "large", "m", "x"]


def test_what_failed_before_a_kill_is_told_by_whoever_resumes(
    between: Between, two_trees: tuple[Path, Path], tmp_path: Path
) -> None:
    """The killed process could tell nobody: the resumed one names the object, and its exit code says so, once."""
    archive, bucket = between.archive, between.archive.bucket()
    between.killed(2, "put", *map(str, two_trees), f"ds3://{bucket}/", "-j", "1", "--max-job-objects", "2")
    between.signal_at(1)
    said = between.run("resume", "-j", "1").expect(130)
    assert "x comes twice" in said.stderr, str(said)
    assert "x comes twice" not in archive.run("resume").expect(0).stderr
    archive.run("get", f"ds3://{bucket}/x", str(tmp_path)).expect(0)
    assert (tmp_path / "x").read_bytes() == b"the first"


def test_a_resume_that_ends_all_has_the_exit_code_of_what_failed_before(
    between: Between, two_trees: tuple[Path, Path]
) -> None:
    """All that could be put is there, and something could not: 3, as for a command that nobody killed."""
    archive, bucket = between.archive, between.archive.bucket()
    between.killed(2, "put", *map(str, two_trees), f"ds3://{bucket}/", "-j", "1", "--max-job-objects", "2")
    done = archive.run("resume", "-o", "json").expect(3).json
    assert [one["key"] for one in done["failed"]] == ["x"]
    assert "nothing to resume" in archive.run("resume").expect(0).stderr


def test_an_object_that_was_removed_meanwhile_does_not_keep_the_others(
    between: Between, two_trees: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job of them all is refused then: it fails by name, the others come, and nothing is left to be resumed."""
    monkeypatch.setattr("ds3tool.jobs.job_run.LAG_SECONDS", ())  # the lists of the embedded appliance are never late
    archive, bucket, target = between.archive, between.archive.bucket(), tmp_path / "back"
    archive.run("put", str(two_trees[1]), f"ds3://{bucket}/").expect(0)
    between.signal_at(2)
    between.run("get", f"ds3://{bucket}/", str(target), "-j", "1", "--max-job-objects", "1").expect(130)
    archive.client.delete_object(bucket, "m")
    said = archive.run("resume").expect(3)
    assert "m was removed from the bucket" in said.stderr
    assert sorted(path.name for path in target.iterdir()) == ["large", "x"]
    assert (target / "x").read_bytes() == b"another"
    assert "nothing to resume" in archive.run("resume").expect(0).stderr


def test_of_a_job_of_several_only_what_was_removed_fails(between: Between, tmp_path: Path) -> None:
    """The rest of a job that was cancelled is asked for anew, without what is gone, and no temporary file stays."""
    archive, bucket, target = between.archive, between.archive.bucket(), tmp_path / "back"
    source = tmp_path / "source"
    source.mkdir()
    for name in ("large", "large-2"):
        (source / name).write_bytes(bytes(4 * MIB))
    archive.run("put", str(source), f"ds3://{bucket}/").expect(0)
    between.signal_at(2)
    between.run("get", f"ds3://{bucket}/", str(target), "-j", "1").expect(130)
    (job,) = archive.client.list_active_jobs(bucket=bucket)
    archive.client.cancel_job(job.id)
    archive.client.delete_object(bucket, "large")
    said = archive.run("resume", job.id).expect(3)
    assert "large was removed from the bucket" in said.stderr
    assert [path.name for path in target.iterdir()] == ["large-2"]
    assert (target / "large-2").read_bytes() == bytes(4 * MIB)


def test_ctrl_c_while_the_last_work_is_told_of_loses_nothing_of_the_result(
    between: Between, two_trees: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All is done by then: the result says so, and no other work is named in its place."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    bucket = between.archive.bucket()
    between.signal_at(2)
    between.run("put", str(two_trees[1]), f"ds3://{bucket}/", "-j", "1").expect(130)
    monkeypatch.setattr("ds3tool.cli.resumed._tell", interrupt)
    done = between.archive.run("resume", "-o", "json").expect(0).json
    assert [work["status"] for work in done["works"]] == ["finished"]
