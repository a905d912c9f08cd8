"""`put` and `get` as an operator types them: where things land, what is said, and the exit code."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ds3tool.cli import transfer
from ds3tool.client import Ds3Client
from ds3tool.errors import JobLostError
from ds3tool.jobs.completion import wait_for_job
from ds3tool.jobs.run import JobOutcome, RunResult
from ds3tool.protocol.model import Job, JobDetails, JobStatus, JobType
from ds3tool.simulator import Appliance, ApplianceSettings
from tests.cli.archive import Archive
from tests.cli.runner import run


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with two files, one of several blobs, and an empty folder."""
    root = tmp_path / "tree"
    (root / "sub" / "empty").mkdir(parents=True)
    (root / "a.txt").write_bytes(b"alpha")
    (root / "sub" / "b.bin").write_bytes(os.urandom((2 << 20) + 17))
    return root


def _contents(root: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in root.rglob("*")}


def test_a_folder_s_contents_land_below_the_prefix_without_its_own_name(archive: Archive, tree: Path) -> None:
    """With or without the slash, a folder is put below the target; an empty folder becomes a folder object."""
    for target in ("below/", "below2"):
        bucket = archive.bucket()
        archive.run("put", str(tree), f"ds3://{bucket}/{target}").expect(0)
        prefix = target.rstrip("/")
        assert archive.keys(bucket) == [f"{prefix}/a.txt", f"{prefix}/sub/b.bin", f"{prefix}/sub/empty/"]


def test_a_file_becomes_the_key_or_goes_below_the_prefix(archive: Archive, tree: Path) -> None:
    """Without a trailing slash the address is the key; with one, or for a bucket alone, the file keeps its name."""
    bucket = archive.bucket()
    for target in (f"ds3://{bucket}/named", f"ds3://{bucket}/dir/", f"ds3://{bucket}"):
        archive.run("put", str(tree / "a.txt"), target).expect(0)
    assert archive.keys(bucket) == ["a.txt", "dir/a.txt", "named"]


def test_what_was_put_comes_back_the_same(archive: Archive, tree: Path, tmp_path: Path) -> None:
    """A whole prefix and the whole bucket restore every byte and the empty folder."""
    bucket = archive.bucket()
    archive.run("put", str(tree), f"ds3://{bucket}/p/").expect(0)
    archive.run("get", f"ds3://{bucket}/p/", str(tmp_path / "prefix")).expect(0)
    archive.run("get", f"ds3://{bucket}", str(tmp_path / "bucket")).expect(0)
    assert _contents(tmp_path / "prefix") == _contents(tree)
    assert _contents(tmp_path / "bucket" / "p") == _contents(tree)


def test_one_object_lands_under_a_name_of_choice_or_in_a_folder(archive: Archive, tree: Path, tmp_path: Path) -> None:
    """A target that is a folder, or ends in a slash, receives the file under its own name."""
    bucket = archive.bucket("x/one.txt")
    (tmp_path / "there").mkdir()
    for target in ("new-name", "there", "made/"):
        archive.run("get", f"ds3://{bucket}/x/one.txt", f"{tmp_path}/{target}").expect(0)
    for found in ("new-name", "there/one.txt", "made/one.txt"):
        assert (tmp_path / found).read_bytes() == b"x/one.txt"


def test_json_has_the_shape_that_scripts_rely_on(archive: Archive, tree: Path) -> None:
    """One document with the job, the counts, the time and no failure."""
    bucket = archive.bucket()
    document = archive.run("put", str(tree), f"ds3://{bucket}", "-o", "json").expect(0).json
    assert {"objects": 3, "skipped": 0, "failed": []}.items() <= document.items()
    assert document["bytes"] == (2 << 20) + 17 + 5
    assert document["seconds"] > 0
    assert document["bytes_per_second"] > 0
    (job,) = document["jobs"]
    assert set(job) >= {"id", "bucket", "type", "name", "status", "objects", "bytes"}
    assert (job["bucket"], job["type"], job["objects"]) == (bucket, "PUT", 3)


def test_ndjson_has_a_line_for_each_object_and_one_for_the_run(archive: Archive, tree: Path, tmp_path: Path) -> None:
    """Each object is told as it ends, both ways; the last line is the result."""
    bucket = archive.bucket()
    for arguments in (("put", str(tree), f"ds3://{bucket}"), ("get", f"ds3://{bucket}", str(tmp_path / "back"))):
        *objects, result = archive.run(*arguments, "-o", "ndjson").expect(0).lines
        assert sorted(line["key"] for line in objects) == ["a.txt", "sub/b.bin", "sub/empty/"]
        assert {line["status"] for line in objects} == {"done"}
        assert result["objects"] == 3


def test_the_summary_says_whether_it_is_on_tape(archive: Archive, tree: Path) -> None:
    """`--wait tape` ends when the job is completed, and only then says so."""
    bucket = archive.bucket()
    said = archive.run("put", str(tree), f"ds3://{bucket}", "--wait", "tape").expect(0)
    assert said.stdout.endswith("; on tape\n")
    (job,) = archive.run("job", "ls", "--completed", "--bucket", bucket, "-o", "json").expect(0).json
    assert job["status"] == JobStatus.COMPLETED


def test_a_job_cancelled_while_tape_is_waited_for_still_has_its_result(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 12, and the document tells the job as cancelled beside the error."""

    def cancelled_meanwhile(client: Ds3Client, job_id: str, **options: Any) -> JobDetails:  # noqa: ANN401
        client.cancel_job(job_id)
        return wait_for_job(client, job_id, **options)

    monkeypatch.setattr("ds3tool.jobs.completion.wait_for_job", cancelled_meanwhile)
    with Appliance(ApplianceSettings(persist_delay=3600.0)) as appliance:
        archive = Archive.of(appliance)
        with archive.client:
            bucket = archive.bucket()
            result = archive.run("put", str(tree), f"ds3://{bucket}", "--wait", "tape", "-o", "json").expect(12).json
    assert result["jobs"][0]["status"] == "CANCELED"
    assert result["error"]["exit_code"] == 12


def test_the_summary_of_a_cancelled_job_does_not_say_that_it_is_in_the_cache() -> None:
    """What a cancelled job had accepted is dropped, unless it was on tape."""
    job = Job("1", "b", JobType.PUT, JobStatus.CANCELED)
    told = transfer.summary(RunResult([JobOutcome(job, 3, 30)], objects=3, bytes=30, seconds=1.0), done=transfer.PUT)
    assert "cancelled" in told
    assert "cache" not in told


def test_the_summary_of_a_job_that_was_planned_anew_does_not_say_that_anything_is_gone() -> None:
    """What a cancelled job had lost went with another one, unless that was cancelled too."""
    lost, anew = (Job(name, "b", JobType.PUT, JobStatus.IN_PROGRESS) for name in "12")
    lost = replace(lost, status=JobStatus.CANCELED)
    result = RunResult([JobOutcome(lost), JobOutcome(anew, 3, 30)], objects=3, bytes=30, seconds=1.0)
    told = transfer.summary(result, done=transfer.PUT)
    assert "gone" not in told
    assert "not yet on tape" in told
    result.stopped = JobLostError("job 1 was cancelled", job_id="1", reason="cancelled")
    assert "gone" in transfer.summary(result, done=transfer.PUT)


def test_a_second_put_skips_what_is_the_same_and_fails_what_is_not(archive: Archive, tree: Path) -> None:
    """Nothing is sent twice; a changed file fails by name with exit code 3, and the new one still goes."""
    bucket = archive.bucket()
    archive.run("put", str(tree), f"ds3://{bucket}").expect(0)
    again = archive.run("put", str(tree), f"ds3://{bucket}", "-o", "json").expect(0).json
    assert (again["objects"], again["skipped"], again["jobs"]) == (0, 3, [])
    assert "verified" not in again
    (tree / "a.txt").write_bytes(b"ALPHA")
    (tree / "new.txt").write_bytes(b"new")
    result = archive.run("put", str(tree), f"ds3://{bucket}", "-o", "json").expect(3).json
    assert [failure["key"] for failure in result["failed"]] == ["a.txt"]
    assert result["error"]["exit_code"] == 3
    assert result["objects"] == 1
    assert "new.txt" in archive.keys(bucket)


def test_a_second_get_skips_what_is_the_same_and_never_overwrites(archive: Archive, tree: Path, tmp_path: Path) -> None:
    """A file that differs is left as it is and fails by name; what was missing is restored."""
    bucket = archive.bucket()
    target = tmp_path / "back"
    archive.run("put", str(tree), f"ds3://{bucket}").expect(0)
    archive.run("get", f"ds3://{bucket}", str(target)).expect(0)
    again = archive.run("get", f"ds3://{bucket}", str(target), "-o", "json").expect(0).json
    assert (again["objects"], again["skipped"]) == (0, 3)
    (target / "a.txt").write_bytes(b"mine!")
    (target / "sub" / "b.bin").unlink()
    result = archive.run("get", f"ds3://{bucket}", str(target), "-o", "json").expect(3).json
    assert [failure["key"] for failure in result["failed"]] == ["a.txt"]
    assert (target / "a.txt").read_bytes() == b"mine!"
    assert (target / "sub" / "b.bin").read_bytes() == (tree / "sub" / "b.bin").read_bytes()


def test_a_restore_from_an_ejected_tape_names_its_bar_code(archive: Archive, tree: Path, tmp_path: Path) -> None:
    """Exit code 8, the bar code in the message, and nothing at the target."""
    bucket = archive.bucket()
    archive.run("put", str(tree), f"ds3://{bucket}", "--wait", "tape").expect(0)
    placed = archive.run("where", f"ds3://{bucket}/a.txt", "-o", "json").expect(0).json
    (tape,) = placed[0]["tapes"]
    archive.run("cache", "reclaim").expect(0)
    archive.run("tape", "eject", tape["bar_code"]).expect(0)
    archive.until(lambda: archive.client.get_tape(tape["bar_code"]).state == "EJECTED")
    try:
        refused = archive.run("get", f"ds3://{bucket}", str(tmp_path / "back")).expect(8)
        assert tape["bar_code"] in refused.stderr
        assert not list((tmp_path / "back").iterdir())
    finally:
        archive.run("tape", "online", tape["bar_code"]).expect(0)
        archive.until(lambda: archive.client.get_tape(tape["bar_code"]).state == "NORMAL")
    archive.run("get", f"ds3://{bucket}", str(tmp_path / "back")).expect(0)
    assert _contents(tmp_path / "back") == _contents(tree)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (("put", "/nowhere/at/all", "ds3://{bucket}"), 4, "is not there"),
        (("put", "{tree}", "ds3://no-such-bucket"), 4, "no-such-bucket"),
        (("get", "ds3://no-such-bucket", "{tmp}/x"), 4, "no-such-bucket"),
        (("get", "ds3://{bucket}/no/such/key", "{tmp}/x"), 4, "names no object"),
        (("get", "ds3://{bucket}/no/such/prefix/", "{tmp}/x"), 4, "names no object"),
        (("put", "ds3://{bucket}/a", "ds3://{bucket}/b"), 2, "cannot be put"),
        (("put", "ftp://elsewhere/a", "ds3://{bucket}/b"), 2, "not an address"),
        (("put", "{tree}", "{tmp}/x"), 2, "not on the appliance"),
        (("get", "{tree}", "{tmp}/x"), 2, "not on the appliance"),
        (("put", "{tree}", "ds3://{bucket}", "--bwlimit", "fast"), 2, "not a size"),
        (("put", "{tree}", "ds3://{bucket}", "--bwlimit", "0"), 2, "not a rate above zero"),
        (("put", "{tree}", "ds3://{bucket}", "--priority", "critical"), 2, "not a priority"),
        (("put", "{tree}", "ds3://{bucket}", "-j", "0"), 2, "--transfers"),
        (("put", "{tree}", "ds3://bad:bucket"), 2, "not a bucket name"),
    ],
)
def test_a_mistake_gets_a_sentence_and_its_exit_code(
    archive: Archive, tree: Path, tmp_path: Path, arguments: tuple[str, ...], exit_code: int, said: str
) -> None:
    """What was typed wrong is named, and nothing was moved."""
    bucket = archive.bucket()
    places = {"bucket": bucket, "tree": str(tree), "tmp": str(tmp_path)}
    result = archive.run(*(argument.format(**places) for argument in arguments)).expect(exit_code)
    assert said in result.stderr, str(result)
    assert archive.keys(bucket) == []
    assert not list((tmp_path / "x").iterdir() if (tmp_path / "x").is_dir() else [])


def test_links_and_pipes_are_skipped_and_named(archive: Archive, tree: Path) -> None:
    """They are told on stderr and counted; the files still go."""
    (tree / "link").symlink_to("a.txt")
    os.mkfifo(tree / "pipe")
    bucket = archive.bucket()
    result = archive.run("put", str(tree), f"ds3://{bucket}", "-o", "json").expect(0)
    assert (result.json["objects"], result.json["skipped"]) == (3, 2)
    assert "link is a symbolic link" in result.stderr
    assert "pipe is a FIFO" in result.stderr


def test_an_empty_folder_at_a_bucket_s_root_is_nothing_to_put(archive: Archive, tmp_path: Path) -> None:
    """It is said, and is no failure."""
    (tmp_path / "empty").mkdir()
    result = archive.run("put", str(tmp_path / "empty"), f"ds3://{archive.bucket()}").expect(0)
    assert "holds nothing to put" in result.stderr


def test_limited_and_single_transfers_move_the_same_bytes(archive: Archive, tree: Path, tmp_path: Path) -> None:
    """`--bwlimit` and `-j` change the pace only."""
    bucket = archive.bucket()
    archive.run("put", str(tree), f"ds3://{bucket}", "--bwlimit", "1G", "-j", "1").expect(0)
    archive.run("get", f"ds3://{bucket}", str(tmp_path / "back"), "--bwlimit", "1GiB", "-j", "2").expect(0)
    assert _contents(tmp_path / "back") == _contents(tree)


def test_wrong_keys_and_an_appliance_that_is_not_there_are_told_apart(archive: Archive, tree: Path) -> None:
    """Exit code 6 for the keys, 7 when nobody answers."""
    bucket = archive.bucket()
    wrong = {**archive.environ, "DS3_SECRET_KEY": "wrong"}
    run("put", str(tree), f"ds3://{bucket}", environ=wrong).expect(6)
    nobody = {**archive.environ, "DS3_ENDPOINT": "http://127.0.0.1:9"}
    run("put", str(tree), f"ds3://{bucket}", "--max-retry-time", "0s", environ=nobody).expect(7)
