"""`ds3tool get ... s3://...` as an operator types it: what arrives, what is refused, what a kill leaves behind."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.archive import Archive
from tests.cli.interrupting import Between
from tests.cli.runner import run
from tests.far.servers import FarSide
from tests.jobs.rooms import Meddler

MIB = 1 << 20
# Larger than what goes in one request: so it is uploaded in parts.
LARGE = 18 * MIB + 5


@pytest.fixture(scope="module")
def archive(archive: Archive, moto: FarSide) -> Archive:
    """The appliance, with what the commands need to know of S3."""
    return Archive(archive.appliance, archive.client, {**archive.environ, **moto.environ})


@pytest.fixture
def between(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> Iterator[Between]:
    """What stands between the commands and the appliance."""
    meddler = Meddler(archive.appliance)
    yield Between(archive, meddler, monkeypatch)
    meddler.close()


def uploads() -> list[Path]:
    """What this host remembers of uploads in parts that may be unfinished."""
    return list((Path(os.environ["HOME"]) / ".local/state/ds3tool/uploads").glob("*"))


def killed_amid_parts(between: Between, *arguments: str) -> None:
    """Kill a get of `large` without a word, when nearly all of it has come and the upload of its parts has begun."""
    with open(os.devnull, "rb") as nothing:
        process = between.started(arguments, nothing)

    def kill() -> None:
        between.archive.until(lambda: any(b'"id": "' in path.read_bytes() for path in uploads()))
        process.kill()

    between.at(17, kill)
    _, told = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, told.decode()


@dataclass(frozen=True)
class Tape:
    """A bucket of the appliance and what it holds."""

    bucket: str
    contents: Mapping[str, bytes]


def filled(archive: Archive, folder: Path, size: int) -> Tape:
    """A bucket with one object of this size, called `large`, and three small ones."""
    chance = random.Random(size)
    contents = {"large": chance.randbytes(size), **{f"small-{number}": chance.randbytes(1000) for number in range(3)}}
    tree = folder / "tree"
    tree.mkdir()
    for name, data in contents.items():
        (tree / name).write_bytes(data)
    bucket = archive.bucket()
    archive.run("put", str(tree), f"ds3://{bucket}", "--state-dir", str(folder / "state")).expect()
    return Tape(bucket, contents)


@pytest.fixture(scope="module")
def parts(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Tape:
    """A bucket whose large object is uploaded in parts."""
    return filled(archive, tmp_path_factory.mktemp("parts"), LARGE)


@pytest.fixture(scope="module")
def blobs(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Tape:
    """A bucket whose large object is of four blobs, and goes to S3 in one request."""
    return filled(archive, tmp_path_factory.mktemp("blobs"), 3 * MIB + 5)


# -- what arrives ----------------------------------------------------------------------------------------------------


def test_what_came_from_s3_goes_back_as_it_was(archive: Archive, moto: FarSide) -> None:
    """Through the appliance into another bucket: bytes, keys, content type, tags and user metadata."""
    source, target, tape = (
        moto.bucket({"in/a b": b"one", "in/deep/c": b"", "in/d//e": b"5"}),
        moto.bucket(),
        archive.bucket(),
    )
    moto.client().put_object(
        Bucket=source,
        Key="in/told",
        Body=b"x" * 3000,
        ContentType="text/x-told",
        CacheControl="no-store",
        Metadata={"show": "apollo"},
        Tagging="reel=7&by=me",
    )
    archive.run("put", f"s3://{source}/in/", f"ds3://{tape}/x/").expect()
    got = archive.run("get", f"ds3://{tape}/x/", f"s3://{target}/out", "-o", "json").expect()
    assert (got.json["objects"], got.json["verified"]) == (4, True)
    assert moto.contents(target) == {f"out/{key[3:]}": data for key, data in moto.contents(source).items()}
    head = moto.client().head_object(Bucket=target, Key="out/told")
    assert (head["ContentType"], head["CacheControl"]) == ("text/x-told", "no-store")
    assert head["Metadata"] == {"show": "apollo"}
    tags = moto.client().get_object_tagging(Bucket=target, Key="out/told")["TagSet"]
    assert {one["Key"]: one["Value"] for one in tags} == {"reel": "7", "by": "me"}


def test_attributes_of_files_go_through_s3_and_come_back(archive: Archive, moto: FarSide, tmp_path: Path) -> None:
    """What --preserve has kept of a file is its object's user metadata in S3, and is given back from there."""
    file, bucket, first, second = tmp_path / "file", moto.bucket(), archive.bucket(), archive.bucket()
    file.write_bytes(b"data")
    file.chmod(0o640)
    os.utime(file, (1_600_000_000, 1_600_000_000))
    archive.run("put", str(file), f"ds3://{first}", "--preserve").expect()
    archive.run("get", f"ds3://{first}", f"s3://{bucket}").expect()
    archive.run("put", f"s3://{bucket}", f"ds3://{second}").expect()
    archive.run("get", f"ds3://{second}", str(tmp_path / "back"), "--preserve").expect()
    state = (tmp_path / "back" / "file").stat()
    assert (state.st_mode & 0o777, int(state.st_mtime)) == (0o640, 1_600_000_000)


@pytest.mark.parametrize(("place", "key"), [("", "note"), ("in/", "in/note"), ("in/other", "in/other")])
def test_one_object_keeps_its_name_or_takes_the_key_that_is_given(
    archive: Archive, moto: FarSide, place: str, key: str
) -> None:
    """A target that ends in a slash is a prefix; any other is the object's key. --storage-class is the class there."""
    tape, target = archive.bucket("p/note"), moto.bucket()
    archive.run("get", f"ds3://{tape}/p/note", f"s3://{target}/{place}", "--storage-class", "STANDARD_IA").expect()
    assert moto.contents(target) == {key: b"p/note"}
    assert moto.client().head_object(Bucket=target, Key=key)["StorageClass"] == "STANDARD_IA"


def test_what_is_there_is_skipped_replaced_or_fails_by_name(archive: Archive, moto: FarSide) -> None:
    """The same is skipped; what is not fails, unless --if-exists says otherwise."""
    tape, target = archive.bucket("a", "b"), moto.bucket({"a": b"a", "b": b"other"})
    get = ("get", f"ds3://{tape}", f"s3://{target}")
    failed = archive.run(*get, "-o", "json").expect(3)
    assert failed.json["skipped"] == 1
    assert "b is there already, and is not the same" in failed.stderr
    archive.run(*get, "--if-exists", "rename").expect()
    archive.run(*get, "--if-exists", "overwrite").expect()
    assert moto.contents(target) == {"a": b"a", "b": b"b", "b~1": b"b"}


def test_a_saved_plan_gets_what_it_lists(archive: Archive, moto: FarSide, tmp_path: Path) -> None:
    """`plan get --save` writes nothing to S3; `plan run` does what it lists, in the class that was asked for."""
    tape, target, plan = archive.bucket("p/a", "p/b"), moto.bucket(), str(tmp_path / "plan")
    options = ("--include", "a", "--storage-class", "STANDARD_IA", "--save", plan)
    shown = archive.run("plan", "get", f"ds3://{tape}/p/", f"s3://{target}/q/", *options).expect()
    assert "would get 1 object" in shown.stdout
    assert moto.contents(target) == {}
    archive.run("plan", "run", plan).expect()
    assert moto.contents(target) == {"q/a": b"p/a"}
    assert moto.client().head_object(Bucket=target, Key="q/a")["StorageClass"] == "STANDARD_IA"


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (("ds3://{t}", "s3://no-such-bucket-at-all"), 4, "there is no bucket s3://no-such-bucket-at-all"),
        (("ds3://{t}/nothing/", "s3://{s}"), 4, "names no object"),
        (("ds3://{t}", "s3://{s}", "--preserve"), 2, "--preserve means nothing for what goes to s3://{s}/"),
        (("ds3://{t}", "s3://{s}", "--symlinks", "skip"), 2, "--symlinks means nothing"),
        (("ds3://{t}", "/tmp/nowhere", "--storage-class", "X"), 2, "--storage-class means nothing for files"),
        (("ds3://{t}/a", "-", "--storage-class", "X"), 2, "--storage-class means nothing"),
        (("ds3://{t}/a", "s3://{s}/b", "--strip-prefix", "x"), 2, "nothing to strip or to rename"),
        (("ds3://{t}", "lotame://all"), 2, "cannot receive objects"),
        (("ds3://{t}", "s3://{s}", "--s3-profile", "nobody"), 6, "nobody"),
    ],
)
def test_a_mistake_gets_a_sentence_and_its_exit_code(
    archive: Archive, moto: FarSide, arguments: tuple[str, ...], exit_code: int, words: str
) -> None:
    """Nothing is begun, and nothing is left to be resumed."""
    names = {"s": moto.bucket(), "t": archive.bucket("a")}
    failed = archive.run("get", *(one.format(**names) for one in arguments)).expect(exit_code)
    assert words.format(**names) in failed.stderr
    assert moto.contents(names["s"]) == {}
    assert list(Path(os.environ["HOME"]).rglob("*.db")) == []  # no journal


# -- what was interrupted --------------------------------------------------------------------------------------------


def test_a_get_that_was_killed_goes_on_and_leaves_no_upload_behind(
    between: Between, moto: FarSide, parts: Tape
) -> None:
    """The journal knows the place; what was begun there is finished or aborted, and all arrives once and whole."""
    target = moto.bucket()
    killed_amid_parts(between, "get", f"ds3://{parts.bucket}", f"s3://{target}/out/", "-j", "1")
    assert "out/large" not in moto.contents(target)
    environ = {name: value for name, value in between.environ.items() if name != "AWS_ENDPOINT_URL"}
    run("resume", environ=environ).expect()
    assert moto.contents(target) == {f"out/{key}": data for key, data in parts.contents.items()}
    assert moto.uploads(target) == []
    assert uploads() == []


def test_forgetting_a_get_aborts_what_it_has_uploaded_in_parts(between: Between, moto: FarSide, parts: Tape) -> None:
    """S3 keeps, and charges for, parts of an unfinished upload until somebody aborts it."""
    archive = between.archive
    target = moto.bucket()
    killed_amid_parts(between, "get", f"ds3://{parts.bucket}", f"s3://{target}", "-j", "1")
    assert moto.uploads(target) == ["large"]
    (work,) = archive.run("job", "ls", "--local", "-o", "json").expect().json
    assert work["paths"] == [f"s3://{target}/"]
    forgotten = archive.run("job", "forget", work["id"], "--yes").expect()
    assert "removed 1 unfinished object at the target" in forgotten.stderr
    assert moto.uploads(target) == []


def test_a_job_that_another_host_has_begun_goes_on_into_s3(
    between: Between, moto: FarSide, blobs: Tape, tmp_path: Path
) -> None:
    """`resume JOB --target s3://...` gets what the job still lists."""
    archive = between.archive
    first, second = moto.bucket(), moto.bucket()
    between.signal_at(2)
    there = ("--state-dir", str(tmp_path / "elsewhere"))
    between.run("get", f"ds3://{blobs.bucket}/large", f"s3://{first}", "-j", "1", *there).expect(130)
    (job,) = archive.client.list_active_jobs(bucket=blobs.bucket)
    assert "--target DIR, or s3://BUCKET/PREFIX/" in archive.run("resume", job.id).expect(2).stderr
    archive.run("resume", job.id, "--target", f"s3://{second}/there/").expect()
    assert moto.contents(second) == {"there/large": blobs.contents["large"]}


def test_a_get_goes_on_below_another_prefix(between: Between, moto: FarSide, blobs: Tape, tmp_path: Path) -> None:
    """`resume --target` names another place, when the bucket is gone; a place that is not in S3 is refused."""
    archive = between.archive
    first, second = moto.bucket(), moto.bucket()
    between.signal_at(2)
    between.run("get", f"ds3://{blobs.bucket}/large", f"s3://{first}", "-j", "1").expect(130)
    assert moto.uploads(first) == []
    moto.client().delete_bucket(Bucket=first)
    (work,) = archive.run("job", "ls", "--local", "-o", "json").expect().json
    assert "there is no bucket" in archive.run("resume").expect(4).stderr
    archive.run("resume", work["id"], "--target", str(tmp_path / "folder")).expect(2)
    archive.run("resume", work["id"], "--target", f"s3://{second}/there").expect()
    assert moto.contents(second) == {"there/large": blobs.contents["large"]}
