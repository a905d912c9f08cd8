"""An operator's own appliance is measured with generated data, of which nothing stays there or here."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ds3tool.bench.limits import Limit
from ds3tool.errors import ForbiddenError, ServerFaultError
from ds3tool.protocol.model import Versioning
from tests.cli.archive import Archive, small_appliance
from tests.cli.interrupting import Between
from tests.jobs.rooms import Meddler

MIB = 1 << 20


@pytest.fixture
def between(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> Iterator[Between]:
    """Somebody between the commands and the appliance."""
    meddler = Meddler(archive.appliance)
    yield Between(archive, meddler, monkeypatch)
    meddler.close()


def active_jobs(archive: Archive, bucket: str) -> list[str]:
    return [job.id for job in archive.client.list_active_jobs(bucket=bucket)]


def check_figures(told: dict[str, object], *, blobs: int, size: int) -> None:
    """The figures of one round are whole, and of this round."""
    assert (told["blobs"], told["bytes"]) == (blobs, size)
    for name in ("seconds", "bytes_per_second", "cpu_seconds", "cpu_seconds_per_gib", "cores", "connections"):
        value = told[name]
        assert isinstance(value, (int, float)), name
        assert value > 0, name


@pytest.mark.parametrize(
    ("arguments", "blobs", "size"),
    [
        (["--count", "3", "--size", "2621440"], 9, 3 * 2621440),
        (["--count", "40", "--size", "4KiB", "--checksum", "none"], 40, 40 * 4096),
        (["--count", "2", "--size", "1MiB", "--max-upload-size", "512KiB", "-j", "1"], 4, 2 * MIB),
    ],
    ids=["large", "small", "cut"],
)
def test_a_put_is_measured_and_leaves_nothing(archive: Archive, arguments: list[str], blobs: int, size: int) -> None:
    """The result has the figures of what was put and a verdict; what was there before is all that is there after."""
    bucket = archive.bucket("other/x", "benchmarks")
    told = archive.run("bench", "put", f"ds3://{bucket}/bench/", *arguments, "--yes", "-o", "json").expect().json
    assert (told["objects"], told["bytes"], told["failed"], told["kept"]) == (int(arguments[1]), size, [], None)
    assert told["address"] == f"ds3://{bucket}/bench/"
    check_figures(told["transfer"], blobs=blobs, size=size)
    assert told["rounds"] == [told["transfer"]]
    assert told["limited_by"] in set(Limit)
    assert told["because"]
    assert archive.keys(bucket) == ["benchmarks", "other/x"]
    assert active_jobs(archive, bucket) == []


def test_people_read_what_limits_and_why(archive: Archive) -> None:
    """A few lines, of which the last names the limit; several rounds are told one by one."""
    bucket = archive.bucket()
    shown = archive.run("bench", "put", f"ds3://{bucket}", "--count", "4", "--size", "64KiB", "--rounds", "2", "--yes")
    lines = shown.expect().stdout.splitlines()
    assert lines[0].startswith("Whole run   put 8 objects, 512.0 KiB in ")
    titles = [line.partition("  ")[0] for line in lines]
    assert titles == ["Whole run", "Transfer", "Rounds", "Client CPU", "Waits", "Network", "Limited by"]
    assert archive.keys(bucket) == []


def test_files_are_put_from_a_folder_and_removed(archive: Archive, tmp_path: Path) -> None:
    """With --source the objects lie on the disk first, and the folder is as it was afterwards."""
    bucket = archive.bucket()
    (tmp_path / "mine").write_bytes(b"x")
    run = archive.run(
        *("bench", "put", f"ds3://{bucket}/b/", "--count", "2", "--size", "700KiB"),
        *("--source", str(tmp_path), "--yes", "-o", "json"),
    )
    told = run.expect().json
    assert (told["objects"], told["bytes"]) == (2, 1400 * 1024)
    assert told["transfer"]["moving_seconds"] > 0
    assert told["transfer"]["answer_median_seconds"] is not None
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert archive.keys(bucket) == []


def test_nothing_is_put_beside_what_is_there(archive: Archive) -> None:
    """A prefix that holds an object is refused before anything is sent, and so is a key."""
    bucket = archive.bucket("bench/old")
    refused = archive.run("bench", "put", f"ds3://{bucket}/bench/", "--yes").expect(2)
    assert "such as bench/old" in refused.stderr
    assert "is a key" in archive.run("bench", "put", f"ds3://{bucket}/bench", "--yes").expect(2).stderr
    assert archive.keys(bucket) == ["bench/old"]
    assert active_jobs(archive, bucket) == []


def test_it_asks_first_and_says_that_tape_is_worn(archive: Archive) -> None:
    """Without --yes and a terminal nothing is sent, and the question tells how much would be, and what stays of it."""
    bucket = archive.bucket()
    said = archive.run("bench", "put", f"ds3://{bucket}/b/", "--count", "1000", "--size", "1GiB").expect(2).stderr
    assert "Write 1,000 objects of 1.0 GiB (1000.0 GiB)" in said
    assert "tape" in said
    assert active_jobs(archive, bucket) == []


def test_what_was_kept_is_read_again_and_nothing_of_it_kept_here(archive: Archive, tmp_path: Path) -> None:
    """--keep leaves the objects for bench get, which verifies them, writes none or removes what it wrote."""
    bucket = archive.bucket()
    where = f"ds3://{bucket}/b/"
    kept = archive.run("bench", "put", where, "--count", "3", "--size", "600KiB", "--keep", "--yes", "-o", "json")
    place = kept.expect().json["kept"]
    assert place.startswith(where + "bench-")
    keys = archive.keys(bucket)
    assert len(keys) == 3
    for arguments in ([], ["--target", str(tmp_path)], ["--count", "2", "--rounds", "2"]):
        told = archive.run("bench", "get", place, *arguments, "-o", "json").expect().json
        rounds, count = (2, 2) if "--count" in arguments else (1, 3)
        assert (told["objects"], told["unverified_blobs"], told["failed"]) == (rounds * count, 0, [])
        assert len(told["rounds"]) == rounds
        check_figures(told["transfer"], blobs=count, size=count * 600 * 1024)
    assert list(tmp_path.iterdir()) == []
    assert archive.keys(bucket) == keys
    assert "--keep" in archive.run("bench", "put", f"{where}n/", "--keep", "--rounds", "2").expect(2).stderr
    assert "bench put" in archive.run("bench", "get", f"ds3://{bucket}/nothing/").expect(4).stderr


def test_tapes_are_loaded_only_when_somebody_agrees() -> None:
    """What has left the cache is read from tape after --yes, and not before."""
    with small_appliance() as appliance:
        archive = Archive.of(appliance)
        bucket = archive.bucket()
        put = archive.run("bench", "put", f"ds3://{bucket}/b/", "--count", "2", "--size", "2KiB", "--keep", "--yes")
        put.expect()
        archive.until(lambda: not active_jobs(archive, bucket))
        archive.client.reclaim_cache()
        assert (
            "2 of 2 objects are not in the cache" in archive.run("bench", "get", f"ds3://{bucket}/b/").expect(2).stderr
        )
        assert active_jobs(archive, bucket) == []
        told = archive.run("bench", "get", f"ds3://{bucket}/b/", "--yes", "-o", "json").expect().json
        assert told["objects"] == 2
        archive.client.close()


def test_bytes_that_are_wrong_are_no_result(archive: Archive) -> None:
    """A blob that differs from its digest fails by name with 5, as it does for get."""
    bucket = archive.bucket()
    archive.run("bench", "put", f"ds3://{bucket}/b/", "--count", "2", "--size", "3KiB", "--keep", "--yes").expect()
    changed = 0
    for path in (archive.appliance.directory / "cache").rglob("*"):
        if path.is_file() and path.stat().st_size == 3072:
            path.write_bytes(bytes(3072))
            changed += 1
    assert changed >= 2
    told = archive.run("bench", "get", f"ds3://{bucket}/b/", "-o", "json").expect(5).json
    assert len(told["failed"]) == 2
    assert told["error"]["exit_code"] == 5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_interrupted_is_cleaned_up(archive: Archive, between: Between, number: signal.Signals) -> None:
    """Amid the second blob of three objects: their job ends, and nothing of them stays in the bucket."""
    bucket = archive.bucket("other")
    between.at(2, lambda: os.kill(os.getpid(), number))
    run = between.run(
        *("bench", "put", f"ds3://{bucket}/large/", "--count", "3", "--size", "3MiB", "-j", "1", "--yes", "-o", "json")
    )
    assert run.expect(130).json["error"]["exit_code"] == 130
    assert archive.keys(bucket) == ["other"]
    assert active_jobs(archive, bucket) == []


def test_a_job_of_a_get_that_goes_on_is_told(
    archive: Archive, between: Between, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted, and its job could not be ended: that is said with the way out, in words and in the document."""
    bucket = archive.bucket()
    where = f"ds3://{bucket}/large/"
    archive.run("bench", "put", where, "--count", "3", "--size", "3MiB", "--keep", "--yes").expect()
    from ds3tool.client import Ds3Client

    def refused(_client: Ds3Client, _job_id: str) -> None:
        raise ForbiddenError("it may not", status=403, code="AccessDenied")

    between.at(2, lambda: os.kill(os.getpid(), signal.SIGINT))
    with monkeypatch.context() as patch:
        patch.setattr(Ds3Client, "cancel_job", refused)
        run = between.run("bench", "get", where, "-j", "1", "-o", "json").expect(130)
    assert any("it may not" in note and "ds3tool job" in note for note in run.json["notes"])
    assert "it may not" in run.stderr


def test_a_failing_run_is_cleaned_up(archive: Archive, between: Between, monkeypatch: pytest.MonkeyPatch) -> None:
    """An appliance that fails from the second object on: what it has of the first is removed, and the failure told."""
    bucket = archive.bucket()
    from ds3tool.client import Ds3Client

    put_object, sent = Ds3Client.put_object, []

    def failing(client: Ds3Client, bucket: str, key: str, *rest: object, **how: object) -> object:
        sent.append(key)
        if len(set(sent)) > 1:
            raise ServerFaultError("it fails", status=500, code="InternalError")
        return put_object(client, bucket, key, *rest, **how)  # type: ignore[arg-type]  # handed on as they came

    monkeypatch.setattr(Ds3Client, "put_object", failing)
    run = archive.run("bench", "put", f"ds3://{bucket}/b/", "--count", "2", "--size", "512KiB", "-j", "1", "--yes")
    assert run.exit_code in {3, 7}, run
    assert len(set(sent)) == 2
    assert "left open on the appliance" not in run.stderr
    assert archive.keys(bucket) == []
    assert active_jobs(archive, bucket) == []


def test_what_could_not_be_removed_is_a_failure(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured or not, what stays in the bucket is told with the way out, ends the rounds, and is no success."""
    bucket = archive.bucket()
    from ds3tool.client import Ds3Client

    def refused(_client: Ds3Client, _bucket: str, _keys: object) -> Iterator[object]:
        raise ForbiddenError("it may not", status=403, code="AccessDenied")

    with monkeypatch.context() as patch:
        patch.setattr(Ds3Client, "delete_versions", refused)
        patch.setattr(Ds3Client, "cancel_job", lambda *_: None)
        arguments = ["--count", "2", "--size", "1KiB", "--rounds", "2", "--yes", "-o", "json"]
        run = archive.run("bench", "put", f"ds3://{bucket}/b/", *arguments).expect(1)
    assert len(run.json["rounds"]) == 1
    assert run.json["error"]["exit_code"] == 1
    assert any("ds3tool rm -r ds3://" in note for note in run.json["notes"])
    assert "ds3tool rm -r ds3://" in run.stderr
    assert len(archive.keys(bucket)) == 2


def test_nothing_is_deleted_that_is_listed_without_having_been_asked_for(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An appliance that lists more than the prefix asks for loses nothing of it."""
    bucket = archive.bucket("other")
    from ds3tool.client import Ds3Client

    list_objects = Ds3Client.list_objects

    def whole(client: Ds3Client, bucket: str, *, prefix: str = "", **how: object) -> object:
        asked = "" if "bench-" in prefix else prefix
        return list_objects(client, bucket, prefix=asked, **how)  # type: ignore[arg-type]  # handed on as they came

    with monkeypatch.context() as patch:
        patch.setattr(Ds3Client, "list_objects", whole)
        archive.run("bench", "put", f"ds3://{bucket}/b/", "--count", "2", "--size", "1KiB", "--yes").expect()
    assert archive.keys(bucket) == ["other"]


def test_versions_are_removed_as_well(archive: Archive) -> None:
    """In a bucket that keeps versions nothing stays behind, not even hidden."""
    policy = archive.client.list_data_policies()
    bucket = archive.bucket()
    details = archive.client.get_bucket(bucket)
    name = next(one.name for one in policy if one.id == details.data_policy_id)
    archive.client.modify_data_policy(name, versioning=Versioning.KEEP_MULTIPLE_VERSIONS, max_versions_to_keep=5)
    try:
        archive.run("bench", "put", f"ds3://{bucket}/b/", "--count", "3", "--size", "10", "--yes").expect()
        assert list(archive.client.list_objects(bucket, versions=True)) == []
    finally:
        archive.client.modify_data_policy(name, versioning=Versioning.NONE)


def test_a_folder_that_is_not_there_is_refused(archive: Archive) -> None:
    """Neither direction begins with a folder that is none."""
    bucket = archive.bucket("b/x")
    for arguments in (
        ["put", f"ds3://{bucket}/n/", "--source", "/no/such"],
        ["get", f"ds3://{bucket}/b/", "--target", "/no/such"],
    ):
        assert "/no/such is no folder" in archive.run("bench", *arguments, "--yes").expect(4).stderr
