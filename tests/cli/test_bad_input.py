"""What operators get wrong, and what goes wrong under them: one clear sentence, the way out, the exit code.

Each case is a command line as it is typed, against an appliance; with `-o json` the same stands in a document.
"""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from ds3tool.protocol.model import JobType
from ds3tool.simulator import Appliance, ApplianceSettings, Quirk
from ds3tool.simulator.clock import SystemClock
from ds3tool.sinks.local import LocalSink
from tests.cli.archive import Archive
from tests.cli.runner import Run, run
from tests.cli.test_doctor import Server, context, serving
from tests.jobs.rooms import Meddler

MIB = 1 << 20
HOUR = 3600.0


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Nine small files and one of several blobs."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(9):
        (tree / f"{number}").write_bytes(os.urandom(1000))
    (tree / "9").write_bytes(os.urandom(2 * MIB))
    return tree


@pytest.fixture
def meddler(archive: Archive) -> Iterator[Meddler]:
    """What stands between the command and the appliance."""
    between = Meddler(archive.appliance)
    yield between
    between.close()


def jobs(archive: Archive) -> set[str]:
    """The ids of all jobs that the appliance works on; one of an earlier test may end at any time."""
    return {job.id for job in archive.client.list_jobs()}


def through(archive: Archive, meddler: Meddler) -> dict[str, str]:
    return {**archive.environ, "DS3_ENDPOINT": meddler.endpoint}


def told(run: Run, exit_code: int, *, code: str, said: str, hint: str | None) -> dict[str, Any]:
    """Hold a run with `-o json` to its exit code, its document and the same sentence on stderr; return the error."""
    error: dict[str, Any] = run.expect(exit_code).json["error"]
    assert (error["code"], error["exit_code"]) == (code, exit_code), str(run)
    assert said in error["message"], str(run)
    assert f"ds3tool: {error['message']}\n" in run.stderr, str(run)
    assert "\n" not in error["message"], str(run)
    if hint is None:
        assert error["hint"] is None, str(run)
    else:
        assert hint in (error["hint"] or ""), str(run)
        assert f"hint: {error['hint']}\n" in run.stderr, str(run)
    return error


# -- the way to the appliance -----------------------------------------------------------------------------------------


class Late(SystemClock):
    """A clock an hour behind this host's."""

    def now(self) -> float:
        return super().now() - HOUR


@pytest.fixture(scope="module")
def late() -> Iterator[Appliance]:
    """An appliance whose clock is an hour behind."""
    with Appliance(ApplianceSettings(), clock=Late()) as appliance:
        yield appliance


@pytest.fixture(scope="module")
def management() -> Iterator[Appliance]:
    """An appliance that answers as its management port does."""
    with Appliance(ApplianceSettings(quirks=frozenset({Quirk.MANAGEMENT_PORT}))) as appliance:
        yield appliance


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Whoever issued the certificates that are trusted."""
    return trustme.CA()


def of(appliance: Appliance) -> dict[str, str]:
    return dict(Archive.of(appliance).environ)


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


COMMANDS = ["ls", "put"]


def line(command: str, tree: Path) -> tuple[str, ...]:
    """The command line, patient for no moment."""
    typed = {"ls": ("ls",), "put": ("put", str(tree), "ds3://archive")}[command]
    return (*typed, "-o", "json", "--max-retry-time", "0s")


@pytest.mark.parametrize("command", COMMANDS)
def test_missing_credentials_are_named_with_the_variables_to_set(command: str, tree: Path, tmp_path: Path) -> None:
    """Exit code 2: nothing was sent, for nobody knows where to."""
    environ = {"DS3TOOL_CONFIG": str(tmp_path / "none"), "DS3_ENDPOINT": "http://127.0.0.1:9"}
    said = run(*line(command, tree), environ=environ)
    error = told(said, 2, code="Config", said="access key", hint="DS3_ACCESS_KEY, DS3_SECRET_KEY")
    assert "DS3_ENDPOINT" not in error["hint"]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("variable", "code"), [("DS3_ACCESS_KEY", "InvalidAccessKeyId"), ("DS3_SECRET_KEY", "SignatureDoesNotMatch")]
)
def test_wrong_credentials_are_6(archive: Archive, tree: Path, command: str, variable: str, code: str) -> None:
    """The appliance's word for it, its number for the request, and which two to look at; no key is shown."""
    said = run(*line(command, tree), environ={**archive.environ, variable: "hunter2"})
    error = told(said, 6, code=code, said="403", hint="check the access key and the secret key")
    assert error["request_id"]
    assert "hunter2" not in said.stdout + said.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_the_management_port_is_told_apart(management: Appliance, tree: Path, command: str) -> None:
    """It is no missing bucket: the hint says which port to take."""
    said = run(*line(command, tree), environ=of(management))
    assert said.exit_code not in (0, 4), str(said)
    assert "data port" in said.json["error"]["hint"], str(said)


@pytest.mark.parametrize("command", COMMANDS)
def test_clock_skew_is_6_with_the_measured_offset(late: Appliance, tree: Path, command: str) -> None:
    """A person reads by how much, and in which direction, the clocks differ."""
    said = run(*line(command, tree), environ=of(late))
    error = told(said, 6, code="RequestTimeTooSkewed", said="403", hint="ahead of the appliance's")
    assert "1 h" in error["hint"] or "59 m" in error["hint"], str(said)


@pytest.mark.parametrize("command", COMMANDS)
def test_tls_trouble_is_7_with_its_way_out(authority: trustme.CA, tree: Path, tmp_path: Path, command: str) -> None:
    """An unknown certificate, one of another host, http where https is spoken and the reverse: each has its hint."""
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    keys = {"DS3_ACCESS_KEY": "id", "DS3_SECRET_KEY": "s"}
    typed = line(command, tree)
    with serving(Server({}, context(authority, "localhost"))) as port:
        said = run(*typed, environ={**keys, "DS3_ENDPOINT": f"https://localhost:{port}"})
        told(said, 7, code="TlsFailed", said="certificate of localhost", hint="--ca-bundle")
        said = run(*typed, environ={**keys, "DS3_ENDPOINT": f"http://localhost:{port}"})
        assert said.exit_code != 0
        assert "https://" in (said.json["error"]["hint"] or ""), str(said)
    with serving(Server({}, context(authority, "elsewhere.example"))) as port:
        said = run(*typed, "--ca-bundle", str(bundle), environ={**keys, "DS3_ENDPOINT": f"https://localhost:{port}"})
        told(said, 7, code="TlsFailed", said="certificate of localhost", hint="the host name that stands in")
    with serving(Server({})) as port:
        said = run(*typed, environ={**keys, "DS3_ENDPOINT": f"https://127.0.0.1:{port}"})
        told(said, 7, code="TlsFailed", said="does not speak TLS", hint="http://")


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unreachable_host_is_7(archive: Archive, tree: Path, command: str) -> None:
    """A name that nobody knows and a port where nobody listens are told apart."""
    environ = {**archive.environ, "DS3_ENDPOINT": "http://no-such-host.invalid"}
    told(run(*line(command, tree), environ=environ), 7, code="Unreachable", said="no-such-host", hint="spelt right")
    port = closed_port()
    environ = {**archive.environ, "DS3_ENDPOINT": f"http://127.0.0.1:{port}"}
    told(run(*line(command, tree), environ=environ), 7, code="Unreachable", said=f":{port}", hint="is it running")


def test_the_doctor_tells_the_six_apart(
    archive: Archive, late: Appliance, management: Appliance, authority: trustme.CA, tmp_path: Path
) -> None:
    """Missing and wrong keys, management port, clock, TLS and unreachable host: six steps fail, with six hints."""
    keys = {"DS3_ACCESS_KEY": "id", "DS3_SECRET_KEY": "s"}
    with serving(Server({}, context(authority, "localhost"))) as port:
        cases = {
            "missing": {"DS3TOOL_CONFIG": str(tmp_path / "none")},
            "wrong": {**archive.environ, "DS3_SECRET_KEY": "wrong"},
            "management": of(management),
            "clock": of(late),
            "TLS": {**keys, "DS3_ENDPOINT": f"https://localhost:{port}"},
            "unreachable": {**keys, "DS3_ENDPOINT": f"http://127.0.0.1:{closed_port()}"},
        }
        found = {}
        for name, environ in cases.items():
            said = run("doctor", "-o", "json", environ=environ)
            assert said.exit_code != 0, str(said)
            first = next(step for step in said.json["steps"] if step["status"] == "failed")
            assert first["hint"], str(said)
            found[name] = (first["step"], said.exit_code, first["hint"])
    assert {name: step for name, (step, _, _) in found.items()} == {
        "missing": "settings",
        "wrong": "credentials",
        "management": "HTTP",
        "clock": "clock",
        "TLS": "TLS",
        "unreachable": "connection",
    }
    assert len({hint for _, _, hint in found.values()}) == 6
    codes = {name: code for name, (_, code, _) in found.items() if name != "management"}
    assert codes == {"missing": 2, "wrong": 6, "clock": 6, "TLS": 7, "unreachable": 7}


# -- what was asked for ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["put", "get", "sync", "ls", "rm", "du", "find", "tree", "cat", "where", "verify job"])
def test_a_bucket_that_is_not_there_is_4(archive: Archive, tree: Path, tmp_path: Path, verb: str) -> None:
    """Every command names it and says where to look, and a get makes no folder."""
    far = "ds3://no-such-bucket/x/"
    arguments = {
        "put": [str(tree), far],
        "sync": [str(tree), far],
        "get": [far, str(tmp_path / "new")],
        "rm": ["-r", far],
    }
    if verb == "cat":
        said = archive.run("cat", "ds3://no-such-bucket/x").expect(4)
        assert "no-such-bucket" in said.stderr
        return
    recursive = ["-r"] if verb == "where" else []
    typed = [*verb.split(), *arguments.get(verb, [*recursive, far]), "-o", "json", "--yes"]
    told(archive.run(*typed), 4, code="NoSuchBucket", said="no-such-bucket", hint="ds3tool ls")
    assert not (tmp_path / "new").exists()


def test_another_checksum_than_the_policy_demands_is_2_and_makes_no_job(archive: Archive, tree: Path) -> None:
    """Both types and the policy are named, and the appliance hears of no job."""
    bucket = archive.bucket()
    before = jobs(archive)
    said = archive.run("put", str(tree), f"ds3://{bucket}", "--checksum", "crc32c", "-o", "json")
    error = told(said, 2, code="Usage", said="CRC_32C", hint="leave --checksum out")
    assert "MD5" in error["message"]
    assert "data policy" in error["message"]
    assert jobs(archive) <= before


def test_an_empty_source_is_said_and_is_9_only_where_asked(archive: Archive, tmp_path: Path) -> None:
    """Nothing to put is no failure, makes no job, and is told by its path."""
    bucket = archive.bucket()
    before = jobs(archive)
    (tmp_path / "empty").mkdir()
    said = archive.run("put", str(tmp_path / "empty"), f"ds3://{bucket}").expect(0)
    assert f"{tmp_path}/empty holds nothing to put" in said.stderr
    said = archive.run("put", str(tmp_path / "empty"), f"ds3://{bucket}", "--error-if-nothing", "-o", "json")
    told(said, 9, code="NothingToDo", said="nothing was moved", hint=None)
    assert jobs(archive) <= before


def test_a_target_that_is_a_file_is_3_and_stays(archive: Archive, tmp_path: Path) -> None:
    """No job is made, and the file is as it was."""
    bucket = archive.bucket("a/1", "a/2")
    (tmp_path / "file").write_bytes(b"mine")
    before = jobs(archive)
    for target in ("file", "file/below"):
        said = archive.run("get", f"ds3://{bucket}/a/", str(tmp_path / target), "-o", "json")
        told(said, 3, code="Sink", said=f"{tmp_path}/file", hint=None)
    assert jobs(archive) <= before
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_too_little_room_is_checked_first(archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sizes are told, no job is made, so no tape is mounted, and nothing is at the target."""
    bucket = archive.bucket("a/1", "a/2")
    before = jobs(archive)
    monkeypatch.setattr(LocalSink, "free_bytes", lambda sink: 1)
    said = archive.run("get", f"ds3://{bucket}/a/", str(tmp_path / "there"), "-o", "json").expect(3)
    assert "room for 1 B" in said.json["error"]["message"], str(said)
    assert jobs(archive) <= before
    assert not (tmp_path / "there").exists() or not any((tmp_path / "there").iterdir())


def test_duplicate_keys_from_two_sources_put_the_first_and_name_the_second(archive: Archive, tmp_path: Path) -> None:
    """Exit code 3, both ends of the clash are known, and the first one's bytes are there."""
    bucket = archive.bucket()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same").write_bytes(name.encode())
    said = archive.run("put", str(tmp_path / "one"), str(tmp_path / "two"), f"ds3://{bucket}", "-o", "json").expect(3)
    (failed,) = said.json["failed"]
    assert failed["key"] == "same"
    assert said.json["objects"] == 1
    assert archive.client.get_object(bucket, "same", lambda reply: b"".join(reply.body)) == b"one"


# -- sources that are not what they should be --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (Path.unlink, "has vanished since it was listed"),
        (lambda path: os.truncate(path, 500), "has changed since it was listed"),
        (lambda path: path.write_bytes(path.read_bytes() + b"more"), "has changed since it was listed"),
    ],
    ids=["vanishes", "shrinks", "grows"],
)
@pytest.mark.parametrize("on_error", ["continue", "stop"])
def test_a_source_that_changes_under_a_put_fails_by_name(
    archive: Archive, meddler: Meddler, tree: Path, change: Callable[[Path], object], said: str, on_error: str
) -> None:
    """Changed when its job is made: the rest goes on, or with --on-error stop waits for `resume`."""
    bucket = archive.bucket()
    changed: list[None] = []

    def meddle(data: bytes) -> bytes:
        if b"start_bulk_put" in data and not changed:
            changed.append(None)
            change(tree / "9")
        return data

    meddler.to_appliance = meddle
    typed = ("put", str(tree), f"ds3://{bucket}", "-o", "json", "--on-error", on_error)
    told = run(*typed, environ=through(archive, meddler)).expect(3)
    assert [failure["key"] for failure in told.json["failed"]] == ["9"], str(told)
    assert said in told.json["failed"][0]["error"], str(told)
    assert "9" in told.stderr
    if on_error == "continue":
        assert told.json["objects"] == 9
    else:
        archive.run("resume").expect(3)
    assert set(archive.keys(bucket)) == {str(number) for number in range(9)}
    archive.until(lambda: not list(archive.client.list_active_jobs(bucket=bucket)))


# Root reads what it likes; without these two rights it is refused as anybody else is.
_WITHOUT_RIGHTS = """
import ctypes, os, sys
def drop():
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    if libc.capget(header, data) or libc.capset(header, (ctypes.c_uint32 * 6)(*[
        word & ~0b110 if place in (0, 3) or place == 1 else word for place, word in enumerate(data)
    ])):
        sys.exit("no rights can be dropped: " + os.strerror(ctypes.get_errno()))
if os.geteuid() == 0:
    drop()
from ds3tool.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def test_an_unreadable_file_fails_by_name_and_the_rest_is_put(archive: Archive, tree: Path) -> None:
    """In a real process that is refused by the system: exit code 3, the path and the reason, nine files there."""
    bucket = archive.bucket()
    (tree / "4").chmod(0)
    (tree / "folder").mkdir(mode=0)
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_RIGHTS, "put", str(tree), f"ds3://{bucket}"],
        env={**os.environ, **archive.environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    (tree / "folder").chmod(0o700)
    assert done.returncode == 3, done.stderr
    assert f"{tree}/4" in done.stderr
    assert f"{tree}/folder" in done.stderr
    assert done.stderr.count("Permission denied") == 2
    assert "Traceback" not in done.stderr
    assert set(archive.keys(bucket)) == {str(number) for number in range(10) if number != 4}


def test_a_symlink_loop_and_a_fifo_are_named_and_nobody_waits_for_them(archive: Archive, tree: Path) -> None:
    """Links in a circle fail where links are followed, and a FIFO is left out with a warning; the files are put."""
    bucket = archive.bucket()
    (tree / "here").symlink_to("there")
    (tree / "there").symlink_to("here")
    (tree / "up").symlink_to(".")
    os.mkfifo(tree / "pipe")
    said = archive.run("put", str(tree), f"ds3://{bucket}", "--symlinks", "follow").expect(3)
    for name in ("here", "there"):
        assert f"{tree}/{name} is a symbolic link that leads back to itself" in said.stderr
    assert f"{tree}/up is a symbolic link to a folder that it is in itself" in said.stderr
    assert f"warning: {tree}/pipe is a FIFO" in said.stderr
    assert len(archive.keys(bucket)) == 10
    said = archive.run("put", str(tree / "pipe"), f"ds3://{bucket}/pipe").expect(4)
    assert "neither a file nor a folder, but a FIFO" in said.stderr


# -- a target that fails, a job that goes ------------------------------------------------------------------------------


def _full_below(folder: Path, write: Callable[..., Any]) -> Callable[..., Any]:
    """Return a call of the operating system that finds no room for what is below a folder."""

    def call(descriptor: int, *others: object) -> object:
        if os.readlink(f"/proc/self/fd/{descriptor}").startswith(f"{folder}/"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, *others)

    return call


def test_a_full_disk_ends_a_get_which_goes_on_when_there_is_room(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is named with the reason and no part of it has its name; `resume` brings all of it."""
    bucket = archive.bucket("a/1", "a/2", "a/3")

    with monkeypatch.context() as full:
        for name in ("pwrite", "write", "posix_fallocate"):
            full.setattr(os, name, _full_below(tmp_path / "there", getattr(os, name)))
        said = archive.run("get", f"ds3://{bucket}/a/", str(tmp_path / "there"), "-o", "json").expect(3)
    assert "No space left on device" in said.json["failed"][0]["error"], str(said)
    assert "the target is full: a/" in said.json["error"]["message"], str(said)
    assert said.json["error"]["hint"].startswith("make room"), str(said)
    assert "ds3tool resume" in said.json["error"]["hint"]
    assert not [path for path in (tmp_path / "there").rglob("*") if not path.name.startswith(".ds3tool")]
    archive.run("resume").expect(0)
    there = {path.name: path.read_bytes() for path in (tmp_path / "there").iterdir()}
    assert there == {name: f"a/{name}".encode() for name in ("1", "2", "3")}
    archive.until(lambda: not list(archive.client.list_active_jobs(bucket=bucket)))


@pytest.mark.parametrize("verb", ["put", "get"])
def test_a_job_that_somebody_else_cancels_is_12(
    archive: Archive, meddler: Meddler, tree: Path, tmp_path: Path, verb: str
) -> None:
    """The job is named, the document tells it as cancelled; only `resume` with its name does the rest, anew."""
    bucket = archive.bucket()
    archive.run("put", str(tree), f"ds3://{bucket}/there/").expect(0)
    kind = JobType(verb.upper())
    cancelled: list[str] = []
    once = threading.Lock()

    def meddle(data: bytes) -> bytes:
        if b"%s /%s/" % (kind.encode(), bucket.encode()) in data and once.acquire(blocking=False):
            for job in archive.client.list_active_jobs(bucket=bucket):
                if job.type is kind:
                    cancelled.append(job.id)
                    archive.client.cancel_job(job.id)
        return data

    meddler.to_appliance = meddle
    typed = {"put": (str(tree), f"ds3://{bucket}/new/"), "get": (f"ds3://{bucket}/there/", str(tmp_path / "back"))}[
        verb
    ]
    said = run(verb, *typed, "-j", "1", "-o", "json", environ=through(archive, meddler))
    error = told(said, 12, code="JobLost", said="was cancelled", hint="if its rest is wanted all the same")
    assert cancelled
    assert cancelled[0] in error["message"]
    assert [job["status"] for job in said.json["jobs"]] == ["CANCELED"]
    meddler.to_appliance = lambda data: data
    assert f"ds3tool resume {cancelled[0]}" in archive.run("resume").expect(12).stderr
    archive.run("resume", cancelled[0]).expect(0)
    if verb == "put":
        assert len(archive.keys(bucket)) == 2 * len(list(tree.iterdir()))
    else:
        assert {path.name: path.read_bytes() for path in tree.iterdir()} == {
            path.name: path.read_bytes() for path in (tmp_path / "back").iterdir()
        }


def test_a_get_with_failed_objects_leaves_no_job_open(archive: Archive, tmp_path: Path) -> None:
    """An object whose name is taken by a folder fails by name; the others are there, and the job has ended."""
    bucket = archive.bucket("a/1", "a/2", "a/3")
    (tmp_path / "there" / "2").mkdir(parents=True)
    said = archive.run("get", f"ds3://{bucket}/a/", str(tmp_path / "there"), "-o", "json").expect(3)
    assert [failure["key"] for failure in said.json["failed"]] == ["a/2"]
    assert said.json["objects"] == 2
    assert not list(archive.client.list_active_jobs(bucket=bucket))
