"""`job ls --local` and `job forget`: what this host has begun and not finished, the appliance on or off."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ds3tool.jobs.journal import Journal
from tests.cli.archive import Archive
from tests.cli.interrupting import Between
from tests.cli.runner import run
from tests.cli.test_resume import contents, interrupted_get, interrupted_put, nothing_is_open, unfinished, works
from tests.jobs.rooms import Meddler

MIB = 1 << 20


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small file and one of four blobs."""
    root = tmp_path / "tree"
    root.mkdir()
    (root / "large").write_bytes(os.urandom(3 * MIB + 5))
    (root / "small").write_bytes(os.urandom(1000))
    return root


@pytest.fixture
def between(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> Iterator[Between]:
    """What stands between the commands and the appliance."""
    meddler = Meddler(archive.appliance)
    yield Between(archive, meddler, monkeypatch)
    meddler.close()


def test_what_is_unfinished_is_listed_without_an_appliance(between: Between, tree: Path) -> None:
    """Work, state, jobs, verb, bucket, paths, times, objects, bytes and what is left of them, in JSON as in CSV."""
    bucket = between.archive.bucket()
    interrupted_put(between, tree, bucket)
    (work,) = run("job", "ls", "--local", "-o", "json").expect(0).json
    assert work["state"] == "interrupted"
    assert (work["verb"], work["type"], work["bucket"], work["paths"]) == ("put", "PUT", bucket, [str(tree)])
    assert (work["objects"], work["bytes"]) == (2, 3 * MIB + 5 + 1000)
    assert 0 < work["bytes_left"] < work["bytes"]
    assert work["begun"] <= work["last_activity"]
    assert work["command"].startswith(f"ds3tool put {tree} ds3://{bucket}")
    (job,) = work["jobs"]
    assert [one.id for one in between.archive.client.list_active_jobs(bucket=bucket)] == [job]
    (line,) = run("job", "ls", "--local", "-o", "ndjson").expect(0).lines
    assert line == work
    heading, row = run("job", "ls", "--local", "-o", "csv").expect(0).stdout.splitlines()
    assert heading.startswith("id,state,verb")
    assert row.startswith(f"{work['id']},interrupted,put")
    table = run("job", "ls", "--local").expect(0).stdout
    assert work["id"] in table
    assert str(tree) in table


def test_nothing_unfinished_is_an_empty_list(archive: Archive) -> None:
    """Also where nothing was ever remembered."""
    assert archive.run("job", "ls", "--local", "-o", "json").expect(0).json == []


def test_only_a_bucket_s_can_be_listed(between: Between, tree: Path) -> None:
    """--bucket chooses; the lists of the appliance are something else."""
    one, other = between.archive.bucket(), between.archive.bucket()
    for bucket in (one, other):
        interrupted_put(between, tree, bucket)
    listed = run("job", "ls", "--local", "--bucket", other, "-o", "json").expect(0).json
    assert [work["bucket"] for work in listed] == [other]
    assert "--local lists" in run("job", "ls", "--local", "--completed").expect(2).stderr


def test_the_state_says_who_works_on_it(between: Between, tree: Path) -> None:
    """Its process is named while it runs."""
    interrupted_put(between, tree, between.archive.bucket())
    (work,) = works()
    with Journal.open(work.path):
        (listed,) = run("job", "ls", "--local", "-o", "json").expect(0).json
    assert (listed["state"], listed["pid"]) == (f"running, pid {os.getpid()}", os.getpid())


def test_what_is_damaged_is_listed_as_such(between: Between, tree: Path) -> None:
    """It does not keep the others from being listed, and can be forgotten."""
    for _ in range(2):
        interrupted_put(between, tree, between.archive.bucket())
    first, second = works()
    data = bytearray(Path(first.path).read_bytes())
    data[:4096] = bytes(4096)
    Path(first.path).write_bytes(data)
    listed = {work["id"]: work for work in run("job", "ls", "--local", "-o", "json").expect(0).json}
    assert listed[first.id]["state"] == "unreadable"
    assert listed[first.id]["error"]
    assert listed[second.id]["state"] == "interrupted"
    run("job", "forget", first.id, "--yes").expect(0)
    assert unfinished() == [second.id]


def test_forgetting_a_get_takes_its_unfinished_files_and_leaves_its_job(
    between: Between, tree: Path, tmp_path: Path
) -> None:
    """What appeared stays, what has no name yet goes; how to end the job is said. The appliance is not asked."""
    archive, bucket = between.archive, between.archive.bucket()
    archive.run("put", str(tree), f"ds3://{bucket}").expect(0)
    target = tmp_path / "back"
    interrupted_get(between, bucket, target)
    (job,) = (one.id for one in archive.client.list_active_jobs(bucket=bucket))
    assert any(name.startswith(".ds3tool-") for name in contents(target))
    said = run("job", "forget", job[:8], "--yes").expect(0)
    assert f"ds3tool job cancel {job}" in said.stderr
    assert "1 unfinished object" in said.stderr
    assert not any(name.startswith(".ds3tool-") for name in contents(target))
    assert unfinished() == []
    archive.run("job", "cancel", job, "--yes").expect(0)
    nothing_is_open(archive, bucket)


def test_forgetting_is_asked_for(between: Between, tree: Path) -> None:
    """Without --yes, and nobody to ask, nothing is forgotten; of a put the way to keep what is there is said."""
    interrupted_put(between, tree, between.archive.bucket())
    (work,) = works()
    assert "add --yes" in run("job", "forget", work.id).expect(2).stderr
    assert unfinished() == [work.id]
    said = run("job", "forget", work.id, "-y").expect(0).stderr
    assert f"ds3tool job truncate {work.plans[0].job_id}" in said


def test_what_somebody_works_on_is_not_forgotten(between: Between, tree: Path) -> None:
    """Exit code 11, and it goes on."""
    interrupted_put(between, tree, between.archive.bucket())
    (work,) = works()
    with Journal.open(work.path):
        run("job", "forget", work.id, "--yes").expect(11)
    assert unfinished() == [work.id]


def test_what_nobody_knows_cannot_be_forgotten(archive: Archive) -> None:
    """Exit code 4, and where to look."""
    assert "job ls --local" in archive.run("job", "forget", "no-such-work", "--yes").expect(4).stderr
