"""What an operator sees and does of jobs, tapes and the cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from ds3tool.protocol.model import JobStatus, ObjectToPut
from tests.cli.archive import Archive
from tests.cli.test_config_command import on_a_terminal

UNKNOWN = "00000000-0000-4000-8000-000000000000"


def unfinished(archive: Archive) -> tuple[str, str]:
    """Start a put job and send nothing; return its id and its bucket."""
    bucket = archive.bucket()
    details = archive.client.create_put_job(bucket, [ObjectToPut("a", 10), ObjectToPut("b", 0)], name="nightly")
    return details.job.id, bucket


def test_a_running_job_is_listed_and_shown(archive: Archive) -> None:
    """ls names it, show counts its bytes and chunks."""
    job, bucket = unfinished(archive)
    (row,) = archive.run("job", "ls", "--bucket", bucket, "-o", "json").expect().json
    assert (row["id"], row["bucket"], row["type"], row["status"]) == (job, bucket, "PUT", "IN_PROGRESS")
    assert job in archive.run("job", "ls").expect().stdout
    shown = archive.run("job", "show", job, "-o", "json").expect().json
    keys = {"id", "bucket", "type", "name", "status", "priority", "original_bytes", "cached_bytes", "completed_bytes"}
    assert keys <= set(shown)
    assert (shown["name"], shown["original_bytes"], shown["cached_bytes"]) == ("nightly", 10, 0)
    assert sum(chunk["blobs"] for chunk in shown["chunks"]) == 2
    assert "nightly" in archive.run("job", "show", job).expect().stdout


def test_a_cancelled_job_wants_a_yes_and_moves_to_its_list(archive: Archive) -> None:
    """Unasked nothing is cancelled; afterwards it stands in its own list, and waiting for it ends with 12."""
    job, bucket = unfinished(archive)
    archive.run("job", "cancel", job).expect(2)
    assert archive.client.get_job(job).job.status is JobStatus.IN_PROGRESS
    assert (
        "lose what it has not put"
        in on_a_terminal(["job", "cancel", job], [("[y/N]", "n")], dict(archive.environ)).expect(2).stdout
    )
    archive.run("job", "cancel", "--yes", job).expect()
    (row,) = archive.run("job", "ls", "--canceled", "--bucket", bucket, "-o", "json").expect().json
    assert (row["id"], row["bucket"], row["status"]) == (job, bucket, "CANCELED")
    assert archive.run("job", "ls", "--bucket", bucket, "-o", "json").expect().json == []
    assert archive.run("job", "wait", job, "-o", "json").expect(12).json["error"]["code"] == "JobLost"
    assert "canceled already" in archive.run("job", "cancel", "-y", job).expect(2).stderr


def test_a_truncated_job_ends_with_what_it_has(archive: Archive) -> None:
    """A put without a single complete object ends."""
    job, _ = unfinished(archive)
    archive.run("job", "truncate", job).expect()
    assert archive.client.get_job(job).job.status is not JobStatus.IN_PROGRESS


def test_waiting_ends_when_every_copy_is_on_tape(archive: Archive, tmp_path: Path) -> None:
    """After `job wait` the job stands among the completed ones."""
    (tmp_path / "a").write_text("x")
    bucket = archive.bucket()
    job = archive.run("put", str(tmp_path), f"ds3://{bucket}", "-o", "json").expect().json["jobs"][0]["id"]
    assert archive.run("job", "wait", job, "--interval", "1", "-o", "json").expect().json["status"] == "COMPLETED"
    archive.run("job", "wait", job, "--cache").expect()
    (row,) = archive.run("job", "ls", "--completed", "--bucket", bucket, "-o", "json").expect().json
    assert (row["id"], row["bucket"], row["status"]) == (job, bucket, "COMPLETED")


def test_a_verify_job_that_is_completed_is_not_called_verified(archive: Archive) -> None:
    """A job that has read wrong bytes is COMPLETED too: `job wait` says where it is told what came wrong."""
    bucket = archive.bucket("a")
    archive.until(lambda: not list(archive.client.list_active_jobs(bucket=bucket)))
    job = archive.run("verify", "job", f"ds3://{bucket}/", "-o", "json").expect().json["jobs"][0]["id"]
    waited = archive.run("job", "wait", job, "--interval", "1").expect()
    assert f"ds3tool verify objects ds3://{bucket}/" in waited.stderr


@pytest.mark.parametrize("verb", ["show", "wait", "cancel", "truncate"])
def test_a_job_nobody_knows_ends_with_4(archive: Archive, verb: str) -> None:
    """An unknown id is told, whatever was to be done with it."""
    archive.run("job", verb, "--yes", UNKNOWN).expect(4)


def test_tapes_are_listed_and_shown(archive: Archive) -> None:
    """ls has a line a tape, show all that is known of one."""
    tapes = archive.run("tape", "ls", "-o", "json").expect().json
    assert len(tapes) == 4
    bar_code = tapes[0]["bar_code"]
    assert archive.run("tape", "show", bar_code, "-o", "json").expect().json == tapes[0]
    assert "Serial number" in archive.run("tape", "show", bar_code).expect().stdout
    archive.run("tape", "show", "NOBODY").expect(4)
    archive.run("tape", "eject", "NOBODY").expect(4)


def test_one_tape_of_several_that_fails_is_named_and_the_others_go(archive: Archive) -> None:
    """Exit code 3, the failure by its bar code, in every shape."""
    bar_code = archive.run("tape", "ls", "-o", "json").json[-1]["bar_code"]
    told = archive.run("tape", "eject", bar_code, "NOBODY", "-o", "json").expect(3).json
    assert [tape["bar_code"] for tape in told["tapes"]] == [bar_code]
    assert [failure["key"] for failure in told["failed"]] == ["NOBODY"]
    archive.until(lambda: archive.client.get_tape(bar_code).state == "EJECTED")
    told_of = archive.run("tape", "online", bar_code, "NOBODY").expect(3)
    assert "NOBODY" in told_of.stderr
    archive.until(lambda: archive.client.get_tape(bar_code).state == "NORMAL")


def test_the_cache_is_shown_and_reclaimed(archive: Archive) -> None:
    """Sizes are bytes for scripts; reclaim drops what is on tape, and the objects stay."""
    bucket = archive.bucket("a", "b")
    archive.until(lambda: not [row for row in archive.run("job", "ls", "-o", "json").json if row["bucket"] == bucket])
    (before,) = archive.run("cache", "show", "-o", "json").expect().json
    assert before["total_bytes"] == 256 << 20
    assert before["used_bytes"] >= 2
    (after,) = archive.run("cache", "reclaim", "-o", "json").expect().json
    assert after["used_bytes"] < before["used_bytes"]
    assert archive.keys(bucket) == ["a", "b"]


def test_the_doctor_finds_a_healthy_appliance_well(archive: Archive) -> None:
    """Every step is well, and the exit code is 0."""
    told = archive.run("doctor", "-o", "json").expect().json
    assert told["ok"] is True
    assert {step["step"]: step["status"] for step in told["steps"]} == dict.fromkeys(
        ("settings", "name", "connection", "TLS", "HTTP", "clock", "credentials", "system", "health", "cache"), "ok"
    )
    assert "error" not in told
