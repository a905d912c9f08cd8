"""The cheap check, against the appliance and against local files; and reading back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ds3tool.client import Ds3Client
from ds3tool.protocol.checksums import digest_of
from ds3tool.protocol.model import ChecksumType, ObjectToPut, TapeState
from ds3tool.transport.bodies import BytesBody
from tests.cli.archive import Archive


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with files of several blobs, of one, and of none."""
    tree = tmp_path / "tree"
    (tree / "folder" / "none").mkdir(parents=True)
    (tree / "big").write_bytes(bytes(range(256)) * 4096 * 3)
    (tree / "small").write_text("x")
    (tree / "folder" / "empty").touch()
    return tree


@pytest.fixture
def bucket(archive: Archive, tree: Path) -> str:
    """A bucket with that folder below `p/`, on tape."""
    bucket = archive.bucket()
    archive.run("put", str(tree), f"ds3://{bucket}/p/", "--wait", "tape").expect()
    return bucket


def test_what_is_archived_is_verified(archive: Archive, bucket: str) -> None:
    """Everything on tape, with digests: exit code 0, and the counts say of how much."""
    told = archive.run("verify", "objects", "-o", "json", f"ds3://{bucket}").expect().json
    assert told == {
        "objects": 4,
        "bytes": 3 * (1 << 20) + 1,
        "verified": 4,
        "failed": [],
        "bar_codes": [],
        "as_sent": 4,
    }
    table = archive.run("verify", "objects", f"ds3://{bucket}/p").expect()
    said = "4 objects (3.0 MiB): 4 verified, 0 failed; 4 as this host's journals have them\n"
    assert (table.stdout, table.stderr) == ("", said)


def test_what_the_appliance_has_is_held_against_what_this_host_has_sent(
    archive: Archive, bucket: str, tmp_path: Path
) -> None:
    """Not one byte is read: a digest that is not what the journal recorded is 5, and no journal, no comparison."""
    _replace_digest(archive, bucket, "p/small", digest_of(ChecksumType.MD5, b"y"))
    told = archive.run("verify", "objects", "-o", "json", f"ds3://{bucket}/p/").expect(5).json
    assert told["failed"] == [{"key": "p/small", "error": "differs from what was sent (journal)"}]
    assert (told["verified"], told["as_sent"]) == (3, 3)
    elsewhere = ("--state-dir", str(tmp_path / "other"))
    told = archive.run("verify", "objects", "-o", "json", f"ds3://{bucket}/p/", *elsewhere).expect().json
    assert (told["verified"], told["as_sent"]) == (4, 0)
    assert not (tmp_path / "other").exists()


def _replace_digest(archive: Archive, bucket: str, key: str, digest: bytes) -> None:
    """Let the appliance have another digest of an object of one blob than it received."""
    store = archive.appliance.machine.store
    with store.writing():
        changed = store.db.execute(
            "UPDATE blobs SET checksum = ? WHERE object IN (SELECT o.n FROM objects o JOIN buckets k ON k.n = o.bucket "
            "WHERE k.name = ? AND o.name = ?)",
            (digest, bucket, key),
        ).rowcount
    assert changed == 1


def test_what_is_declared_only_fails(archive: Archive, bucket: str) -> None:
    """An object that nobody has sent is listed, and is no archived object: exit code 3."""
    archive.client.create_put_job(bucket, [ObjectToPut("p/declared", 5)])
    told = archive.run("verify", "objects", "-o", "json", f"ds3://{bucket}/p/").expect(3).json
    assert [failure["key"] for failure in told["failed"]] == ["p/declared"]
    assert "not complete" in told["failed"][0]["error"]
    assert (told["verified"], told["error"]["exit_code"]) == (4, 3)


def test_local_files_are_compared_without_fetching(
    archive: Archive, bucket: str, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same bytes pass, and not one of them comes from the appliance."""
    monkeypatch.setattr(Ds3Client, "get_object", None)
    monkeypatch.setattr(Ds3Client, "create_get_job", None)
    archive.run("verify", "objects", f"ds3://{bucket}/p/", "--against", str(tree)).expect()
    archive.run("verify", "objects", f"ds3://{bucket}/p/big", "--against", str(tree)).expect()
    archive.run("verify", "objects", f"ds3://{bucket}/p/big", "--against", str(tree / "big")).expect()
    archive.run("verify", "objects", f"ds3://{bucket}/p/", "--against", str(tree / "big")).expect(2)
    archive.run("verify", "objects", f"ds3://{bucket}/p/", "--against", str(tree / "nowhere")).expect(4)


def test_a_byte_that_differs_is_found_and_is_the_gravest(archive: Archive, bucket: str, tree: Path) -> None:
    """One flipped byte in the last blob, another length, and missing files on either side: 5, each by name."""
    with (tree / "big").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\0")
    (tree / "small").write_text("xy")
    (tree / "folder" / "empty").unlink()
    (tree / "folder" / "extra").write_text("new")
    told = archive.run("verify", "objects", "-o", "json", f"ds3://{bucket}/p/", "--against", str(tree)).expect(5).json
    assert {failure["key"]: failure["error"] for failure in told["failed"]} == {
        "p/big": f"has other bytes than {tree}/big",
        "p/folder/empty": f"is not at {tree}/folder/empty",
        "p/small": f"has 1 bytes, and 2 at {tree}/small",
        "p/folder/extra": f"is in {tree}, and not on the appliance",
    }
    assert told["verified"] == 1


def test_a_digest_in_the_metadata_that_its_bytes_have_not_is_5(archive: Archive, tmp_path: Path) -> None:
    """The SHA-256 that was kept is held against the file too, though each blob is the file's."""
    path = tmp_path / "tree" / "film"
    path.parent.mkdir()
    path.write_bytes(os.urandom((3 << 19) + 5))
    bucket, where = archive.bucket(), ("--against", str(path.parent), "-o", "json")
    archive.run("put", str(path.parent), f"ds3://{bucket}/", "--checksum", "sha256", "--wait", "tape").expect()
    archive.run("verify", "objects", f"ds3://{bucket}/", *where).expect()
    other = archive.bucket()  # where a tool has copied the metadata, and other bytes
    path.write_bytes(b"others")
    stale = archive.client.head_object(bucket, "film").metadata
    archive.client.put_object(other, "film", BytesBody(b"others"), metadata=stale)
    told = archive.run("verify", "objects", f"ds3://{other}/", *where).expect(5).json
    assert "was not when the digest in its metadata was made" in told["failed"][0]["error"]


def test_a_missing_file_alone_is_3_and_filters_hold_on_both_sides(archive: Archive, bucket: str, tree: Path) -> None:
    """What the options leave out is missing nowhere."""
    (tree / "extra.tmp").touch()
    where = (f"ds3://{bucket}/p/", "--against", str(tree))
    archive.run("verify", "objects", *where).expect(3)
    archive.run("verify", "objects", "--exclude", "*.tmp", *where).expect()
    archive.run("verify", "objects", "--include", "small", *where).expect()


def test_what_is_no_file_is_told_and_waits_for_nobody(archive: Archive, bucket: str, tree: Path) -> None:
    """A FIFO, a folder in a file's place and a name that leads out of the folder are failures, and end."""
    (tree / "small").unlink()
    os.mkfifo(tree / "small")
    (tree / "big").unlink()
    (tree / "big").mkdir()
    outside = archive.bucket("p/../../etc/passwd")
    told = archive.run("verify", "objects", "-o", "json", f"ds3://{bucket}/p/", "--against", str(tree)).json
    assert {failure["key"]: failure["error"] for failure in told["failed"]}.items() >= {
        "p/big": f"{tree}/big is no file",
        "p/small": f"{tree}/small is no file",
    }.items()
    told = archive.run("verify", "objects", "-o", "json", f"ds3://{outside}/p/", "--against", str(tree)).json
    assert "no local file can have its name" in told["failed"][0]["error"]


def test_a_name_that_is_no_text_is_compared_under_its_own(archive: Archive, tmp_path: Path) -> None:
    """A file whose name was escaped to make a key is found again by the metadata that vouch for it."""
    tree = tmp_path / "strange"
    tree.mkdir()
    name = os.fsencode(tree) + b"/caf\xe9"
    Path(os.fsdecode(name)).write_text("x")
    bucket = archive.bucket()
    archive.run("put", str(tree), f"ds3://{bucket}/s/").expect()
    assert archive.keys(bucket) == ["s/caf%E9"]
    where = (f"ds3://{bucket}/s/", "--against", str(tree), "-o", "json")
    told = archive.run("verify", "objects", *where).json
    assert not [failure for failure in told["failed"] if str(tree) in failure["error"]], told
    Path(os.fsdecode(name)).write_text("y")
    assert "other bytes" in archive.run("verify", "objects", *where).expect(5).json["failed"][0]["error"]


def test_lines_tell_each_object_as_it_is_checked(archive: Archive, bucket: str) -> None:
    """With ndjson every object has its line, and a failure ends with an error document."""
    lines = archive.run("verify", "objects", "-o", "ndjson", f"ds3://{bucket}/p/").expect().lines
    assert [(line["key"], line["verified"], line["copies"], line["error"]) for line in lines] == [
        ("p/big", True, 1, None),
        ("p/folder/empty", True, 1, None),
        ("p/folder/none/", True, 1, None),
        ("p/small", True, 1, None),
    ]


def test_nothing_there_is_4(archive: Archive, bucket: str) -> None:
    """An address that names nothing is not verified."""
    archive.run("verify", "objects", f"ds3://{bucket}/nothing/").expect(4)
    archive.run("verify", "objects", "ds3://nobody").expect(4)
    archive.run("verify", "job", f"ds3://{bucket}/nothing/").expect(4)


def test_a_verify_job_is_started_and_named(archive: Archive, bucket: str) -> None:
    """Without --wait the command ends with the job's id; its priority is low unless asked otherwise."""
    told = archive.run("verify", "job", "-o", "json", f"ds3://{bucket}/p/").expect().json
    (job,) = told["jobs"]
    assert (told["objects"], job["objects"], job["type"]) == (4, 4, "VERIFY")
    assert archive.client.get_job(job["id"]).job.priority == "LOW"
    archive.until(lambda: archive.client.get_job(job["id"]).job.status == "COMPLETED")
    (line,) = archive.run("verify", "job", "-o", "ndjson", "--priority", "high", f"ds3://{bucket}/p/").lines
    assert line["priority"] == "HIGH"
    archive.run("verify", "job", "--priority", "critical", f"ds3://{bucket}/p/").expect(2)


def test_more_objects_than_a_job_holds_become_several_jobs(archive: Archive, bucket: str) -> None:
    """Each object is in one of them, and all are waited for."""
    split = ("--max-job-objects", "3", "--wait", "--interval", "0.02")
    told = archive.run("verify", "job", *split, "-o", "json", f"ds3://{bucket}/p/").expect().json
    assert [(job["objects"], job["status"]) for job in told["jobs"]] == [(3, "COMPLETED"), (1, "COMPLETED")]
    assert (told["objects"], told["verified"]) == (4, 4)


def test_only_what_the_options_choose_is_read_back(archive: Archive, bucket: str) -> None:
    """A filter that accepts nothing starts no job, and is no failure."""
    told = archive.run("verify", "job", "-o", "json", "--include", "small", f"ds3://{bucket}/p/").expect().json
    assert (told["objects"], told["bytes"]) == (1, 1)
    told = archive.run("verify", "job", "-o", "json", "--older", "1d", f"ds3://{bucket}/p/").expect().json
    assert told == {"jobs": [], "objects": 0, "bytes": 0, "failed": []}


def test_reading_back_finds_what_the_tape_has_lost(archive: Archive, bucket: str) -> None:
    """A byte that has changed on tape goes unnoticed by the cheap check, and is found by reading."""
    archive.run("verify", "job", "--wait", "--interval", "0.02", f"ds3://{bucket}/p/").expect()
    store = archive.appliance.machine.store
    with store.lock:
        ((tape, position),) = store.db.execute(
            "SELECT c.tape, c.position FROM copies c JOIN blobs b ON b.n = c.blob JOIN objects o ON o.n = b.object "
            "JOIN buckets k ON k.n = o.bucket WHERE k.name = ? AND o.name = 'p/small'",
            (bucket,),
        )
    with open(archive.appliance.machine.library.path(archive.appliance.machine.library.tapes[tape]), "r+b") as file:
        file.seek(position)
        file.write(b"y")
    archive.run("verify", "objects", f"ds3://{bucket}/p/").expect()
    told = (
        archive.run("verify", "job", "--wait", "--interval", "0.02", "-o", "json", f"ds3://{bucket}/p/").expect(3).json
    )
    assert [failure["key"] for failure in told["failed"]] == ["p/small"]
    assert (told["verified"], told["jobs"][0]["status"]) == (3, "COMPLETED")


def test_a_job_that_somebody_cancels_is_12(archive: Archive, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not read back is not reported as verified."""
    create = Ds3Client.create_verify_job

    def created(self: Ds3Client, *given: object, **how: object) -> object:
        details = create(self, *given, **how)  # type: ignore[arg-type]  # handed on as they came
        self.cancel_job(details.job.id)
        return details

    _hold_tapes(archive)
    monkeypatch.setattr(Ds3Client, "create_verify_job", created)
    told = archive.run("verify", "job", "--wait", "--interval", "0.02", "-o", "json", f"ds3://{bucket}/p/").expect(12)
    _release_tapes(archive)
    assert (told.json["jobs"][0]["status"], told.json["verified"]) == ("CANCELED", 0)


def _hold_tapes(archive: Archive) -> None:
    library = archive.appliance.machine.library
    with archive.appliance.machine.store.lock:
        library.in_use.update(library.tapes)


def _release_tapes(archive: Archive) -> None:
    library = archive.appliance.machine.library
    with archive.appliance.machine.store.lock:
        library.in_use.clear()


def test_ctrl_c_cancels_the_job_it_waits_for(archive: Archive, bucket: str) -> None:
    """The drives are free again, and the exit code is 130."""
    _hold_tapes(archive)
    before = {job.id for job in archive.client.list_jobs(bucket=bucket)}
    process = subprocess.Popen(
        [sys.executable, "-m", "ds3tool", "verify", "job", "--wait", "--interval", "0.05", f"ds3://{bucket}/p/"],
        env={**os.environ, **archive.environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    killer = threading.Timer(60, process.kill)
    killer.start()
    try:
        assert process.stderr is not None
        assert "waiting" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, told = process.communicate()
    finally:
        killer.cancel()
        _release_tapes(archive)
    assert process.returncode == 130, told
    assert "1 verify job cancelled" in told
    assert "Traceback" not in told
    running = {job.id for job in archive.client.list_jobs(bucket=bucket) if job.status == "IN_PROGRESS"}
    assert running <= before


def test_tapes_that_are_lost_or_on_a_shelf_tell_the_copies(archive: Archive, bucket: str) -> None:
    """On the shelf alone is 8 with the bar codes; in the cache it can still be read; lost is no copy: 3."""
    address = f"ds3://{bucket}/p/"
    (code,) = {
        tape["bar_code"] for row in archive.run("where", "-r", "-o", "json", address).json for tape in row["tapes"]
    }
    archive.run("tape", "eject", code).expect()
    archive.until(lambda: archive.client.get_tape(code).state is TapeState.EJECTED)
    archive.run("verify", "objects", address).expect()
    archive.client.reclaim_cache()
    told = archive.run("verify", "objects", "-o", "json", address).expect(8)
    assert told.json["bar_codes"] == [code]
    assert code in told.stderr
    (shown,) = archive.run("where", "-o", "json", f"ds3://{bucket}/p/small").json
    assert (shown["copies"], shown["copies_online"]) == (1, 0)
    machine = archive.appliance.machine
    with machine.store.writing():
        tape = machine.library.find(code)
        tape.state = "LOST"
        machine.library.save(tape)
    told = archive.run("verify", "objects", "-o", "json", address).expect(3)
    assert f"is on no medium; no copy is what is on {code} (LOST)" in told.json["failed"][0]["error"]
    (shown,) = archive.run("where", "-o", "json", f"ds3://{bucket}/p/small").json
    assert (shown["copies"], shown["tapes"][0]["state"]) == (0, "LOST")
