"""`put lotame://all` archives each file of the feeds once, names every gap, and the next run takes just the rest."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ds3tool.client import Ds3Client
from ds3tool.errors import JobLostError
from ds3tool.jobs.run import RunResult
from ds3tool.lotame.model import FeedUpdates, S3Location, Updates
from ds3tool.lotame.watermark import Watermarks
from ds3tool.simulator.lotame.service import LotameFault, SimulatedFeed
from tests.cli.archive import Archive
from tests.cli.lotame_box import FEED, Box, box

MIB = 1 << 20


@pytest.fixture
def bare(archive: Archive, tmp_path: Path) -> Iterator[Box]:
    """One feed with the files that a test adds, and the appliance."""
    with box(tmp_path, environ=archive.environ) as one:
        yield one


def archived(archive: Archive, bucket: str) -> dict[str, bytes]:
    """Return the feeds' files in a bucket by their last parts; fails where two have the same."""
    found: dict[str, bytes] = {}
    for key in archive.keys(bucket):
        if "/region=" in key:
            name = key.rpartition("/")[2]
            assert name not in found
            found[name] = read(archive, bucket, key)
    return found


def read(archive: Archive, bucket: str, key: str) -> bytes:
    """Return an object's bytes."""
    return archive.client.get_object(bucket, key, lambda response: b"".join(response.body))


def test_three_feeds_with_all_that_can_go_wrong(archive: Archive, tmp_path: Path) -> None:
    """Two hours missed, credentials over after 20 requests, a file gone, one cut short, a feed empty: all is told.

    The right files are archived once each, the gaps named, exit 3; and the next run takes up just the rest.
    """
    feeds = (
        SimulatedFeed(9001, "client", "cookie", files_per_hour=12),
        SimulatedFeed(9002, "3pd", "mobile", mapping="http", files_per_hour=4),
        SimulatedFeed(9003, "3pd", "cookie", region="eu", empty=True),
    )
    bucket = archive.bucket()
    target = f"ds3://{bucket}/lotame/"
    with box(tmp_path, *feeds, environ=archive.environ, credential_requests=20) as all_feeds:
        all_feeds.run("put", "lotame://all", target, "-j", "4").expect(0)
        first = archived(archive, bucket)
        assert sorted(first) == sorted(all_feeds.names(9001) + all_feeds.names(9002))
        all_feeds.hours_pass(3)
        names = {feed: all_feeds.names(feed) for feed in (9001, 9002)}
        whole = {name: all_feeds.data(name, feed) for feed, listed in names.items() for name in listed}
        new = [name for name in whole if name not in first]
        gone, cut = names[9001][-1], names[9002][-1]
        assert {gone, cut} <= set(new)
        all_feeds.lotame.remove(9001, gone)
        all_feeds.lotame.cut_gzip(9002, cut)

        result = all_feeds.run("put", "lotame://all", target, "-o", "json", "-j", "4").expect(3)
        assert len(result.json["failed"]) == 2
        assert f"feed 9001: {gone} is listed by Lotame and is not there; it is of the time between" in result.stderr
        assert f"{cut}, delivered" in result.stderr
        assert archived(archive, bucket) == {name: data for name, data in whole.items() if name not in {gone, cut}}

        came = [one for one in all_feeds.lotame.asked("s3") if one.verb == "GET" and one.status == 200]
        times = Counter(one.path.rpartition("/")[2] for one in came)
        assert {name: times[name] for name in whole} == {name: int(name != gone) for name in whole}
        issued = {one.headers["x-amz-security-token"] for one in all_feeds.lotame.asked("s3")}
        assert len(issued) > len(whole) // 20

        all_feeds.add(gone, whole[gone], feed=9001)
        all_feeds.lotame.replace(9002, cut, whole[cut])
        before = len(all_feeds.fetched())
        result = all_feeds.run("put", "lotame://all", target, "-o", "json").expect(0)
        assert set(all_feeds.fetched()[before:]) == {gone, cut}
        assert result.json["objects"] == 4  # and an answer of each feed
        assert archived(archive, bucket) == whole
        again = all_feeds.run("put", "lotame://all", target, "-o", "json").expect(0).json
        assert (again["objects"], again["skipped"], again["failed"]) == (0, 0, [])


def test_answer_and_mapping_file_stand_beside_the_data(archive: Archive, tmp_path: Path) -> None:
    """Each feed with news has its answer, without credentials, and its mapping file, from S3 and from the web."""
    bucket = archive.bucket()
    feeds = (SimulatedFeed(9001, files_per_hour=1), SimulatedFeed(9002, mapping="http", files_per_hour=1))
    with box(tmp_path, *feeds, environ=archive.environ) as two:
        two.run("put", "lotame://all", f"ds3://{bucket}/").expect(0)
        tokens = {one.headers["x-amz-security-token"] for one in two.lotame.asked("s3")}
    for feed in (9001, 9002):
        keys = [key for key in archive.keys(bucket) if f"/feed={feed}/" in key]
        (mapping,) = [key for key in keys if "/mapping/" in key]
        assert gzip.decompress(read(archive, bucket, mapping)).startswith(b'{"behavior_id"')
        (answer,) = [key for key in keys if "/updates/" in key]
        record = read(archive, bucket, answer)
        assert [one["id"] for one in json.loads(record)["feeds"]] == [feed]
        assert b"s3creds" not in record
        assert not any(token.encode() in record for token in tokens)


def test_one_feed_alone(archive: Archive, tmp_path: Path) -> None:
    """lotame://FEED archives that feed, and asks nothing of the others."""
    bucket = archive.bucket()
    feeds = (SimulatedFeed(9001, files_per_hour=1), SimulatedFeed(9002, files_per_hour=1))
    with box(tmp_path, *feeds, environ=archive.environ) as two:
        two.run("put", "lotame://9002", f"ds3://{bucket}/lotame/").expect(0)
        assert list(archived(archive, bucket)) == two.names(9002)
        assert {one.parameters.get("feed_id") for one in two.lotame.asked("api")} == {"9002"}
        two.run("put", "lotame://77", f"ds3://{bucket}/lotame/").expect(4)


def test_a_file_of_several_blobs_that_is_cut_short_is_not_archived(archive: Archive, bare: Box) -> None:
    """Of a large file that is cut short nothing is left on the appliance; a whole one of that size is there."""
    bucket = archive.bucket()
    data = gzip.compress(random.Random(7).randbytes(5 * MIB // 2), compresslevel=0)
    bare.add("whole.gz", data)
    bare.add("cut.gz", data[:-100])
    result = bare.run("put", "lotame://all", f"ds3://{bucket}/lotame/", "-o", "json").expect(3).json
    assert [one["key"].rpartition("/")[2] for one in result["failed"]] == ["cut.gz"]
    archive.run("get", f"ds3://{bucket}/", str(bare.folder / "got")).expect(0)
    (got,) = (bare.folder / "got").rglob("*.gz")
    assert (got.name, got.read_bytes()) == ("whole.gz", data)


def test_what_was_archived_and_not_noted_is_the_same(archive: Archive, bare: Box) -> None:
    """Killed between the two: the next run finds the files on the appliance, fetches none, and remembers them then."""
    bucket = archive.bucket()
    target = f"ds3://{bucket}/lotame/"
    for number in range(3):
        bare.add(f"{number}.gz", gzip.compress(b"%d" % number))
    bare.run("put", "lotame://all", target).expect(0)
    for path in (bare.folder / "state" / "lotame").iterdir():
        path.unlink()
    before = len(bare.fetched())
    result = bare.run("put", "lotame://all", target, "-o", "json").expect(0).json
    assert result["failed"] == []
    assert result["skipped"] >= 3  # and the answer, where it is of the same second
    assert bare.fetched()[before:] == []
    result = bare.run("put", "lotame://all", target, "-o", "json").expect(0).json
    assert (result["objects"], result["skipped"]) == (0, 0)


def test_what_is_lost_on_its_way_to_tape_is_not_noted(
    archive: Archive, bare: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that is lost while tape is waited for leaves its files to be asked for again; those that are there stay."""
    bucket = archive.bucket()
    target = f"ds3://{bucket}/lotame/"
    for number in range(3):
        bare.add(f"{number}.gz", gzip.compress(b"%d" % number))

    def wait(client: Ds3Client, result: RunResult, settings: object) -> None:
        del settings
        client.delete_object(bucket, next(key for key in archive.keys(bucket) if key.endswith("/1.gz")))
        result.stopped = JobLostError("lost", reason="cancelled")

    with monkeypatch.context() as patched:
        patched.setattr("ds3tool.cli.transfer.wait_for_tape", wait)
        bare.run("put", "lotame://all", target, "--wait", "tape").expect(12)
    assert set(archived(archive, bucket)) == {"0.gz", "2.gz"}
    assert bare.run("put", "lotame://all", target, "-o", "json").expect(0).json["skipped"] >= 2
    assert set(archived(archive, bucket)) == {"0.gz", "1.gz", "2.gz"}
    bare.run("put", "lotame://all", target, "--error-if-nothing").expect(9)


def test_a_file_that_has_other_bytes_now_is_not_hidden(archive: Archive, bare: Box) -> None:
    """A file that Lotame delivers anew with other bytes fails by name, until it is said what is meant."""
    bucket = archive.bucket()
    target = f"ds3://{bucket}/lotame/"
    bare.add("one.gz", gzip.compress(b"one"))
    bare.run("put", "lotame://all", target).expect(0)
    bare.lotame.replace(FEED, "one.gz", gzip.compress(b"other"))
    for _ in range(2):
        assert "is not the same" in bare.run("put", "lotame://all", target).expect(3).stderr
    bare.run("put", "lotame://all", target, "--if-exists", "rename").expect(0)
    assert {gzip.decompress(data) for data in archived(archive, bucket).values()} == {b"one", b"other"}
    bare.run("put", "lotame://all", target, "--error-if-nothing").expect(9)


def test_a_dry_run_notes_and_moves_nothing(archive: Archive, bare: Box) -> None:
    """--dry-run says what would be put, puts nothing, and the run after it puts it."""
    bucket = archive.bucket()
    bare.add("one.gz", gzip.compress(b"one"))
    assert "one.gz" in bare.run("put", "lotame://all", f"ds3://{bucket}/lotame/", "-n").expect(0).stdout
    assert archive.keys(bucket) == []
    bare.run("put", "lotame://all", f"ds3://{bucket}/lotame/").expect(0)
    assert set(archived(archive, bucket)) == {"one.gz"}


def test_a_saved_plan_is_run_and_noted(archive: Archive, bare: Box) -> None:
    """What a plan lists is put by `plan run`, answer and all, and the put after it has nothing to do."""
    bucket = archive.bucket()
    target, plan = f"ds3://{bucket}/lotame/", bare.folder / "saved.plan"
    bare.add("one.gz", gzip.compress(b"one"))
    bare.run("plan", "put", "lotame://all", target, "--save", str(plan)).expect(0)
    bare.run("plan", "run", str(plan)).expect(0)
    assert set(archived(archive, bucket)) == {"one.gz"}
    assert any("/updates/" in key for key in archive.keys(bucket))
    bare.run("put", "lotame://all", target, "--error-if-nothing").expect(9)


def cut_off(box_: Box, monkeypatch: pytest.MonkeyPatch, *, looks: int) -> Callable[[], None]:
    """Let credentials be refused for good after so many requests of S3; return what lets them be good again."""
    count = 0

    def strike(fault: LotameFault, _: str) -> bool:
        nonlocal count
        if fault is LotameFault.S3_EXPIRED:
            count += 1
            return count > looks
        return fault is LotameFault.API_401 and count > looks

    original = box_.lotame.faults.strike
    monkeypatch.setattr(box_.lotame.faults, "strike", strike)
    return lambda: monkeypatch.setattr(box_.lotame.faults, "strike", original)


def test_a_run_that_was_stopped_goes_on(archive: Archive, bare: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is not known any more leaves the work open; `resume` finishes it and notes it, so that nothing is left."""
    bucket = archive.bucket()
    target = f"ds3://{bucket}/lotame/"
    for number in range(6):
        bare.add(f"{number}.gz", gzip.compress(b"%d" % number))
    mend = cut_off(bare, monkeypatch, looks=8)
    result = bare.run("put", "lotame://all", target)
    assert result.exit_code in {3, 6}, result
    assert "ds3tool resume" in result.stderr
    bare.run("resume").expect(6)
    mend()
    bare.run("resume").expect(0)
    assert {gzip.decompress(data) for data in archived(archive, bucket).values()} == {b"%d" % n for n in range(6)}
    assert any("/updates/" in key for key in archive.keys(bucket))
    before = len(bare.fetched())
    assert bare.run("put", "lotame://all", target, "-o", "json").expect(0).json["failed"] == []
    assert bare.fetched()[before:] == []
    bare.run("put", "lotame://all", target, "--error-if-nothing").expect(9)


def test_a_run_that_was_stopped_leaves_no_secret(archive: Archive, bare: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """No token and no part of the credentials for S3 is in the journal, in a plan, in what is shown, or in the log."""
    bucket = archive.bucket()
    bare.add("one.gz", gzip.compress(b"one"))
    cut_off(bare, monkeypatch, looks=1)
    log = ("-vv", "--log-file", str(bare.folder / "log"))
    result = bare.run("put", "lotame://all", f"ds3://{bucket}/lotame/", *log)
    assert result.exit_code in {3, 6}, result
    told = result.stdout + result.stderr
    plan = bare.run("plan", "put", "lotame://all", f"ds3://{bucket}/other/", "--save", str(bare.folder / "plan"))
    told += plan.stdout + plan.stderr + bare.run("job", "ls", "--local", "-o", "json").stdout
    for path in bare.folder.rglob("*"):
        if path.is_file():
            told += path.read_bytes().decode("latin-1")
    secrets = {bare.lotame.token, bare.lotame.access}
    secrets |= {one.headers["x-amz-security-token"] for one in bare.lotame.asked("s3")}
    assert len(secrets) > 2
    assert [secret for secret in secrets if secret in told] == []


def test_two_runs_at_once_are_refused(archive: Archive, bare: Box) -> None:
    """While one run has a target's memory, another one ends with 11, and leaves nothing to be resumed."""
    bucket = archive.bucket()
    target = f"ds3://{bucket}/lotame/"
    bare.add("one.gz", gzip.compress(b"one"))
    with Watermarks.open(bare.folder / "state", f"{archive.appliance.endpoint} {target}"):
        bare.run("put", "lotame://all", target).expect(11)
    assert archive.keys(bucket) == []
    bare.run("resume", "--error-if-nothing").expect(9)
    bare.run("put", "lotame://all", target).expect(0)


def test_who_is_not_known_from_the_start_begins_nothing(archive: Archive, bare: Box) -> None:
    """A refused token ends with 6 before anything is begun."""
    bare.lotame.faults.set("api-401", 1.0)
    bare.run("put", "lotame://all", f"ds3://{archive.bucket()}/lotame/").expect(6)
    bare.lotame.faults.clear()
    bare.run("resume", "--error-if-nothing").expect(9)


@pytest.mark.parametrize(
    "arguments",
    [
        ("lotame://all", "ds3://{}/key"),
        ("lotame://9001", "lotame://9002", "ds3://{}/lotame/"),
        ("lotame://seven", "ds3://{}/lotame/"),
        ("lotame://all", "ds3://{}/lotame/", "--include", "*.gz"),
        ("lotame://all", "ds3://{}/lotame/", "--strip-prefix", "client=4321/"),
        ("lotame://all", "ds3://{}/lotame/", "--preserve"),
        ("lotame://all", "ds3://{}/lotame/", "--raw"),
    ],
)
def test_what_cannot_be_meant_is_refused(archive: Archive, bare: Box, arguments: tuple[str, ...]) -> None:
    """A target that is one key, several feeds, no number, and options that choose or name files: exit 2, unasked."""
    bucket = archive.bucket()
    bare.run("put", *(one.format(bucket) for one in arguments)).expect(2)
    assert bare.lotame.asked() == []


# Where the process dies, as the step that it is about to take, and how many of its kind it has taken before.
_POINTS = {
    "while files are read": ("ds3tool.sources.lotame_opened", "OpenFeedFile", "blocks", 3),
    "archived, and not noted": ("ds3tool.lotame.watermark", "Watermarks", "had", 0),
    "noted and not moved on": ("ds3tool.lotame.watermark", "Watermarks", "advance", 0),
    "noted and not concluded": ("ds3tool.jobs.journal", "Journal", "conclude", 0),
}
_VICTIM = """
import importlib, os, signal, sys
module, owner, name, before = sys.argv[1:5]
owner, left = getattr(importlib.import_module(module), owner), int(before)
step = getattr(owner, name)
def armed(*arguments, **options):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(*arguments, **options)
setattr(owner, name, armed)
from ds3tool.cli.main import main
sys.exit(main(sys.argv[5:]))
"""


@pytest.mark.parametrize(
    "point", [pytest.param(point, marks=[pytest.mark.more] if point.startswith("noted") else []) for point in _POINTS]
)
def test_a_kill_loses_and_repeats_nothing(archive: Archive, bare: Box, point: str) -> None:
    """Killed at any step, `resume` and the next put archive each file once, and nothing is asked for after that."""
    bucket = archive.bucket()
    target = f"ds3://{bucket}/lotame/"
    whole = {f"{number}.gz": gzip.compress(b"%d" % number) for number in range(6)}
    for name, data in whole.items():
        bare.add(name, data)
    module, owner, name, before = _POINTS[point]
    environ = {**os.environ, **bare.whole_environ}
    line = [sys.executable, "-c", _VICTIM, module, owner, name, str(before), "put", "lotame://all", target, "-j", "1"]
    died = subprocess.run(line, env=environ, capture_output=True, check=False, timeout=60)
    assert died.returncode == -signal.SIGKILL, died
    bare.run("resume").expect(0)
    bare.run("put", "lotame://all", target).expect(0)
    assert archived(archive, bucket) == whole
    fetched = len(bare.fetched())
    bare.run("put", "lotame://all", target, "--error-if-nothing").expect(9)
    assert len(bare.fetched()) == fetched
    with Watermarks.open(bare.folder / "state", f"{archive.appliance.endpoint} {target}") as marks:
        assert marks.outstanding(FEED) == []
        assert marks.watermark(FEED) is not None


def test_a_mapping_file_that_failed_is_asked_for_again(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mapping file that is not there is named, and the next run has it, though no other file is new by then."""
    bucket, folder = archive.bucket(), tmp_path / "pulled"
    target = f"ds3://{bucket}/lotame/"
    with box(tmp_path, SimulatedFeed(9001, files_per_hour=1), environ=archive.environ) as one:
        strike = one.lotame.faults.strike
        for command in (("put", "lotame://all", target), ("lotame", "pull", str(folder))):
            with monkeypatch.context() as patched:
                patched.setattr(
                    one.lotame.faults,
                    "strike",
                    lambda fault, path: (fault is LotameFault.S3_MISSING and "/meta/" in path) or strike(fault, path),
                )
                for _ in range(2):
                    told = one.run(*command).expect(3).stderr
                    assert "the mapping file is listed by Lotame and is not there" in told
            mapped = one.run(*command, "-o", "json").expect(0).json
            assert mapped["failed"] == []
            one.run(*command, "--error-if-nothing").expect(9)
    (key,) = (key for key in archive.keys(bucket) if "/mapping/" in key)
    (path,) = folder.glob("client=4321/feed=9001/mapping/**/*.gz")
    assert read(archive, bucket, key) == path.read_bytes()


def test_what_lotame_lists_no_more_is_told_of_though_a_run_was_killed(archive: Archive, bare: Box) -> None:
    """A lost file is named by the next run that comes to its end, also after one that asked and told nobody; once."""
    bucket = archive.bucket()
    target = f"ds3://{bucket}/lotame/"
    bare.add("gone.gz", gzip.compress(b"x"))
    bare.lotame.remove(FEED, "gone.gz")
    bare.run("put", "lotame://all", target).expect(3)
    with box(bare.folder, environ=archive.environ) as later:  # what Lotame keeps has moved on
        later.add("new.gz", gzip.compress(b"new"))
        environ = {**os.environ, **later.whole_environ}
        step = ("ds3tool.lotame.watermark", "Watermarks", "recall", "0")
        line = [sys.executable, "-c", _VICTIM, *step, "put", "lotame://all", target]
        died = subprocess.run(line, env=environ, capture_output=True, check=False, timeout=60)
        assert died.returncode == -signal.SIGKILL, died
        result = later.run("put", "lotame://all", target).expect(3)
        assert "gone.gz could not be had, and Lotame does not list it any more" in result.stderr
        assert set(archived(archive, bucket)) == {"new.gz"}
        later.run("put", "lotame://all", target, "--error-if-nothing").expect(9)


def test_a_feed_that_is_withdrawn_with_files_left_is_told_of(archive: Archive, bare: Box) -> None:
    """What a run has promised to ask for again, of a feed that is gone then, is named by put and pull with exit 3."""
    target, folder = f"ds3://{archive.bucket()}/lotame/", str(bare.folder / "pulled")
    left = Updates((FeedUpdates(77, S3Location("b"), ("left.gz",)),), None, datetime.now(UTC), b"{}")
    for destination in (f"{archive.appliance.endpoint} {target}", folder):
        with Watermarks.open(bare.folder / "state", destination) as marks:
            marks.asked(left)
    told = "feed 77: left.gz could not be had, and Lotame does not list the feed any more"
    bare.add("one.gz", gzip.compress(b"one"))
    for command in (("put", "lotame://all", target), ("lotame", "pull", folder)):
        for _ in range(2):
            assert told in bare.run(*command).expect(3).stderr


def interrupted(box_: Box, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to which Lotame says that it is asked too often, and interrupt it once it has been told so."""
    box_.lotame.faults.set("api-429", 1.0)
    line = [sys.executable, "-m", "ds3tool", *arguments]
    environ = {**os.environ, **box_.whole_environ}
    with subprocess.Popen(line, env=environ, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        told = ""
        while "asked too often" not in told:
            block = process.stderr.readline()
            assert block, told
            told += block
        process.send_signal(signal.SIGINT)
        try:
            out, rest = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return subprocess.CompletedProcess(line, process.returncode, out, told + rest)


def test_who_waits_for_lotame_ends_soon_when_interrupted(archive: Archive, bare: Box) -> None:
    """Ctrl-C amid the rest that Lotame wishes for ends a put and a pull with 130, and leaves nothing to be resumed."""
    put = interrupted(bare, "put", "lotame://all", f"ds3://{archive.bucket()}/lotame/")
    assert put.returncode == 130, put
    pull = interrupted(bare, "lotame", "pull", str(bare.folder / "pulled"))
    assert pull.returncode == 130, pull
    bare.lotame.faults.clear()
    bare.run("resume", "--error-if-nothing").expect(9)
