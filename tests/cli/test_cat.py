"""`cat` and `get ... -`: the objects' bytes on stdout, and nothing else."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ds3tool.protocol.model import JobStatus, JobType, ProcessingOrder, Versioning
from ds3tool.simulator import Appliance, ApplianceSettings
from ds3tool.transport.bodies import BytesBody
from tests.cli.archive import Archive

MIB = 1 << 20
LARGE = random.Random(3).randbytes(3 * MIB + 11)


@pytest.fixture
def bucket(archive: Archive, tmp_path: Path) -> str:
    """A bucket with `large` of several blobs, three small objects, an empty one and a folder."""
    bucket = archive.bucket("logs/a.gz", "logs/b.gz", "logs/deep/c.gz")
    (tmp_path / "large").write_bytes(LARGE)
    (tmp_path / "empty").write_bytes(b"")
    for name in ("large", "empty"):
        archive.run("put", str(tmp_path / name), f"ds3://{bucket}/{name}").expect(0)
    return bucket


def shown(archive: Archive, tmp_path: Path, *arguments: str, exit_code: int = 0) -> bytes:
    """Run a command with stdout a file; return what is in it."""
    archive.run(*arguments, into=tmp_path / "out").expect(exit_code)
    return (tmp_path / "out").read_bytes()


def test_an_object_of_several_blobs_comes_out_whole_and_in_order(archive: Archive, bucket: str, tmp_path: Path) -> None:
    """With `cat` and with `get ... -`, byte for byte; its job is completed."""
    for arguments in (("cat", f"ds3://{bucket}/large"), ("get", f"ds3://{bucket}/large", "-")):
        assert shown(archive, tmp_path, *arguments) == LARGE
    records = [record for record in archive.client.list_completed_jobs(bucket=bucket) if record.type is JobType.GET]
    gets = [archive.client.get_job(record.id).job for record in records]
    assert [(job.status, job.processing_order) for job in gets] == [(JobStatus.COMPLETED, ProcessingOrder.IN_ORDER)] * 2


def test_objects_come_in_the_order_given_also_twice(archive: Archive, bucket: str, tmp_path: Path) -> None:
    """Keys as typed, one of them again, an empty one between."""
    keys = ("logs/b.gz", "large", "empty", "logs/a.gz", "logs/b.gz")
    out = shown(archive, tmp_path, "cat", *(f"ds3://{bucket}/{key}" for key in keys))
    assert out == b"logs/b.gz" + LARGE + b"logs/a.gz" + b"logs/b.gz"


def test_a_pattern_comes_in_the_appliances_order(archive: Archive, bucket: str, tmp_path: Path) -> None:
    """Its star reaches any depth; the choice options leave out what they exclude."""
    pattern = f"ds3://{bucket}/logs/*.gz"
    assert shown(archive, tmp_path, "cat", pattern) == b"logs/a.gzlogs/b.gzlogs/deep/c.gz"
    assert shown(archive, tmp_path, "cat", pattern, "--exclude", "deep/") == b"logs/a.gzlogs/b.gz"


def test_several_buckets_one_after_the_other(archive: Archive, bucket: str, tmp_path: Path) -> None:
    """Each bucket has its own job, and the order stays."""
    other = archive.bucket("k")
    addresses = (f"ds3://{other}/k", f"ds3://{bucket}/logs/a.gz", f"ds3://{other}/k")
    assert shown(archive, tmp_path, "cat", *addresses) == b"klogs/a.gzk"


@pytest.mark.parametrize("verify", [(), ("--verify",)])
def test_ranges_come_out_in_the_order_given(
    archive: Archive, bucket: str, tmp_path: Path, verify: tuple[str, ...]
) -> None:
    """Backwards, overlapping, over the edge of a blob and to the end; with whole blobs and without."""
    ranges = ("2MiB:10", "5:20", "10:20", "1048570:12", "3MiB:")
    options = [word for one in ranges for word in ("--range", one)]
    end = LARGE[3 * MIB :]
    expected = LARGE[2 * MIB : 2 * MIB + 10] + LARGE[5:25] + LARGE[10:30] + LARGE[1048570:1048582] + end
    assert shown(archive, tmp_path, "cat", f"ds3://{bucket}/large", *options, *verify) == expected


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (("cat", "ds3://{bucket}/no"), 4, "names no object"),
        (("cat", "ds3://{bucket}/logs/a.gz", "ds3://{bucket}/no"), 4, "names no object"),
        (("cat", "ds3://no-such-bucket/k"), 4, "no-such-bucket"),
        (("cat", "ds3://{bucket}/logs/"), 2, "one after the other"),
        (("cat", "ds3://{bucket}/large", "-o", "json"), 2, "as json as well"),
        (("get", "ds3://{bucket}/large", "-", "-o", "ndjson"), 2, "as ndjson as well"),
        (("get", "ds3://{bucket}/large", "-", "--preserve"), 2, "--preserve means nothing"),
        (("get", "ds3://{bucket}/logs/", "-"), 2, "one after the other"),
        (("cat", "ds3://{bucket}/large", "--range", "3M:1M"), 2, "is not in"),
        (("cat", "ds3://{bucket}/large", "--range", "0"), 2, "not a range"),
        (("cat", "ds3://{bucket}/large", "--range", "7:0"), 2, "no bytes"),
        (("cat", "ds3://{bucket}/logs/*.gz", "--range", "0:1"), 2, "about one object"),
        (("cat", "ds3://{bucket}/large", "ds3://{bucket}/empty", "--version-id", "x"), 2, "about one object"),
    ],
)
def test_a_mistake_is_a_sentence_on_stderr_and_nothing_on_stdout(
    archive: Archive, bucket: str, tmp_path: Path, arguments: tuple[str, ...], exit_code: int, said: str
) -> None:
    """Also where an earlier object could have been written: everything is looked up first."""
    result = archive.run(*(one.format(bucket=bucket) for one in arguments), into=tmp_path / "out").expect(exit_code)
    assert said in result.stderr, str(result)
    document = (tmp_path / "out").read_bytes()
    assert document == b"" or document.startswith(b"{"), "only an error's document, where one was asked for"


def test_a_reader_that_leaves_ends_it_quietly_and_cancels_the_job(archive: Archive, bucket: str) -> None:
    """As with `| head -c 10`: ten bytes, nothing on stderr, no job left."""
    script = f"set -o pipefail; {sys.executable} -m ds3tool cat ds3://{bucket}/large ds3://{bucket}/large | head -c 10"
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **archive.environ},
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == (LARGE[:10], b"")
    assert done.returncode == 1
    archive.until(lambda: not list(archive.client.list_active_jobs(bucket=bucket)))


def test_bytes_for_a_stdout_that_is_closed_are_not_called_written(archive: Archive, bucket: str) -> None:
    """Nowhere to go is a usage error, not a success; /dev/null is somewhere."""
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **archive.environ}
    command = f'exec "{sys.executable}" -m ds3tool cat ds3://{bucket}/large'
    closed, dropped = (
        subprocess.run(
            ["/bin/sh", "-c", f"{command} {where}"], capture_output=True, env=environ, timeout=60, check=False
        )
        for where in (">&-", ">/dev/null")
    )
    assert (closed.returncode, dropped.returncode) == (2, 0)
    assert b"stdout is closed" in closed.stderr


def test_a_reader_that_has_stopped_reading_does_not_keep_it_from_ending(archive: Archive, bucket: str) -> None:
    """As with `| less` when nobody turns the page: Ctrl-C ends it with 130, and no job is left."""
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "ds3tool", "cat", f"ds3://{bucket}/large"],
        stdout=writing,
        stderr=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **archive.environ},
    )
    os.close(writing)
    try:
        assert os.read(reading, 10) == LARGE[:10]
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
        assert process.returncode == 130
        assert b"interrupted" in told
    finally:
        process.kill()
        process.communicate()
        os.close(reading)
    archive.until(lambda: not list(archive.client.list_active_jobs(bucket=bucket)))


@pytest.fixture
def narrow() -> Iterator[Archive]:
    """An appliance whose cache holds three megabytes."""
    settings = ApplianceSettings(
        blob_size=MIB, chunk_size=MIB, cache_size=4 * MIB, retry_after=0, persist_delay=0.0, seed=1
    )
    with Appliance(settings) as appliance:
        archive = Archive.of(appliance)
        with archive.client:
            yield archive


def test_more_than_the_cache_holds_cannot_be_one_stream_and_says_what_to_do(narrow: Archive, tmp_path: Path) -> None:
    """The refusal comes at once, nothing is written, and the way out works."""
    data = random.Random(5).randbytes(6 * MIB)
    (tmp_path / "large").write_bytes(data)
    bucket = narrow.bucket()
    narrow.run("put", str(tmp_path / "large"), f"ds3://{bucket}/large", "--wait", "tape").expect(0)
    refused = narrow.run("cat", f"ds3://{bucket}/large", into=tmp_path / "out")
    assert refused.exit_code == 3, str(refused)
    assert "get them to files instead" in refused.stderr
    assert (tmp_path / "out").read_bytes() == b""
    narrow.run("get", f"ds3://{bucket}/large", str(tmp_path / "back")).expect(0)
    assert (tmp_path / "back").read_bytes() == data


def test_an_older_version_comes_out_byte_for_byte(tmp_path: Path) -> None:
    """--version-id means the version that ls --versions shows under it, for `cat` and for `get`; else the latest."""
    settings = ApplianceSettings(
        blob_size=MIB, retry_after=0, persist_delay=0.0, versioning=Versioning.KEEP_MULTIPLE_VERSIONS, seed=1
    )
    older, newer = random.Random(1).randbytes(2 * MIB + 3), random.Random(2).randbytes(MIB + 5)
    with Appliance(settings) as appliance:
        archive = Archive.of(appliance)
        with archive.client:
            bucket = archive.bucket()
            for data in (older, newer):
                (tmp_path / "k").write_bytes(data)
                archive.run("put", str(tmp_path / "k"), f"ds3://{bucket}/k", "--if-exists", "version").expect(0)
            listed = archive.run("ls", "--versions", f"ds3://{bucket}/k", "-o", "json").expect(0).json
            ids = {item["size"]: item["version_id"] for item in listed}
            old = ("--version-id", ids[len(older)])
            address = f"ds3://{bucket}/k"
            assert shown(archive, tmp_path, "cat", address) == newer
            assert shown(archive, tmp_path, "cat", address, *old) == older
            assert shown(archive, tmp_path, "cat", address, *old, "--range", "1MiB:2000") == older[MIB : MIB + 2000]
            archive.run("get", address, str(tmp_path / "old"), *old).expect(0)
            assert (tmp_path / "old").read_bytes() == older
            same = archive.run("get", address, str(tmp_path / "old"), *old, "-o", "json").expect(0).json
            assert (same["objects"], same["skipped"]) == (0, 1)
            archive.run("rm", address).expect(0)
            assert shown(archive, tmp_path, "cat", address, *old) == older
            nobody = "00000000-0000-4000-8000-000000000000"
            missing = archive.run("cat", address, "--version-id", nobody, into=tmp_path / "out").expect(4)
            assert f"no version {nobody}" in missing.stderr


def test_damage_that_stays_ends_the_stream_before_the_damaged_blob(archive: Archive, tmp_path: Path) -> None:
    """A blob leaves only when its digest is right: what was written before it is right, and the exit code is 5."""
    bucket = archive.bucket()
    archive.client.put_object(bucket, "first", BytesBody(b"first"))
    archive.client.put_object(bucket, "second", BytesBody(b"second"))
    spoiled = next(
        path
        for path in (archive.appliance.directory / "cache").rglob("*")
        if path.is_file() and path.read_bytes() == b"second"
    )
    spoiled.write_bytes(b"SECOND")
    out = shown(archive, tmp_path, "cat", f"ds3://{bucket}/first", f"ds3://{bucket}/second", exit_code=5)
    assert out == b"first"


@pytest.mark.parametrize(("asked", "all_of_it"), [("", "/*"), ("/", "/*"), ("/a/", "/a/*")])
def test_a_prefix_is_answered_with_the_pattern_that_takes_all_of_it(
    archive: Archive, asked: str, all_of_it: str
) -> None:
    """As it can be typed."""
    bucket = archive.bucket("a/b", "c")
    told = archive.run("cat", f"ds3://{bucket}{asked}").expect(2).stderr
    assert f"'ds3://{bucket}{all_of_it}'" in told
