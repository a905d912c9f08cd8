"""`ds3tool put s3://...` as an operator types it: what is put, what is refused, what goes on after a kill."""

from __future__ import annotations

import os
import random
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from botocore.credentials import Credentials, ReadOnlyCredentials

from ds3tool.addresses import parse_s3
from ds3tool.aws.session import AwsSettings
from ds3tool.cli.get_s3 import S3Asked
from ds3tool.cli.put_s3 import S3Put, S3Root
from ds3tool.errors import FarSideError, FarSideForbiddenError, FarSideNotFoundError
from ds3tool.jobs.work_head import WorkHead
from ds3tool.protocol.model import JobType
from tests.cli.archive import Archive
from tests.cli.interrupting import Between
from tests.cli.runner import run
from tests.far.servers import FarSide
from tests.far.web import Page, web
from tests.jobs.rooms import Meddler

MIB = 1 << 20
ODD = ("a b+c", "a//b", "%41%2F", "ü/€.txt", "q?x=1&y#z", "trail/", "[1]*")


@pytest.fixture
def archive(archive: Archive, moto: FarSide) -> Archive:
    """The appliance, with what the commands need to know of S3."""
    return Archive(archive.appliance, archive.client, {**archive.environ, **moto.environ})


@pytest.fixture
def between(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> Iterator[Between]:
    """What stands between the commands and the appliance."""
    meddler = Meddler(archive.appliance)
    yield Between(archive, meddler, monkeypatch)
    meddler.close()


def fetched(archive: Archive, bucket: str) -> dict[str, bytes]:
    """Every object of the appliance's bucket."""
    return {
        key: archive.client.get_object(bucket, key, lambda reply: b"".join(reply.body)) for key in archive.keys(bucket)
    }


def restored(archive: Archive, bucket: str) -> dict[str, bytes]:
    """Every object of the appliance's bucket, as a get brings it: also those of several blobs."""
    with tempfile.TemporaryDirectory() as folder:
        archive.run("get", f"ds3://{bucket}", folder).expect()
        root = Path(folder)
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def written() -> str:
    """All that commands have written into this test's home."""
    return "".join(
        path.read_bytes().decode("latin-1") for path in Path(os.environ["HOME"]).rglob("*") if path.is_file()
    )


# -- what is put -----------------------------------------------------------------------------------------------------


def test_everything_below_a_prefix_is_put_with_what_s3_says_of_it(archive: Archive, moto: FarSide) -> None:
    """Bytes, odd keys, content type and user metadata arrive; what is beside the prefix does not."""
    source, target = (
        moto.bucket({f"in/{key}": b"" if key.endswith("/") else key.encode() for key in ODD}),
        archive.bucket(),
    )
    moto.client().put_object(
        Bucket=source, Key="in/told", Body=b"x" * 3000, ContentType="text/x-told", Metadata={"show": "apollo"}
    )
    moto.client().put_object(Bucket=source, Key="in-beside", Body=b"1")
    result = archive.run("put", f"s3://{source}/in/", f"ds3://{target}/out/", "--meta", "by=me", "-o", "json").expect()
    assert (result.json["objects"], result.json["failed"]) == (len(ODD) + 1, [])
    wanted = {f"out/{key}": b"" if key.endswith("/") else key.encode() for key in ODD}
    assert fetched(archive, target) == {**wanted, "out/told": b"x" * 3000}
    metadata = archive.client.head_object(target, "out/told").metadata
    assert {**metadata, "ds3tool-content-type": "text/x-told", "show": "apollo", "by": "me"} == dict(metadata)


@pytest.mark.parametrize(
    ("place", "key"), [("", "film.mov"), ("reels/", "reels/film.mov"), ("reels/first", "reels/first")]
)
def test_one_object_is_put_under_its_last_name_or_the_key_that_is_given(
    archive: Archive, moto: FarSide, place: str, key: str
) -> None:
    """An address without a slash at its end is one object; a target with one keeps its last name."""
    source, target = moto.bucket({"2024/film.mov": b"film", "2024/film.mov/x": b"other"}), archive.bucket()
    archive.run("put", f"s3://{source}/2024/film.mov", f"ds3://{target}/{place}").expect()
    assert fetched(archive, target) == {key: b"film"}


def test_options_choose_and_name_as_for_files(archive: Archive, moto: FarSide, tmp_path: Path) -> None:
    """Patterns, sizes, ages, lists, stripping, renaming: each leaves what it would leave of a folder."""
    source = moto.bucket({"p/a.txt": b"1", "p/b.bin": b"22222", "p/deep/c.txt": b"333", "p/d.tmp": b"4"})
    (tmp_path / "list").write_text("deep/\nd.tmp\nmissing\n")
    (tmp_path / "map").write_text("a.txt\tz.txt\n")
    tries: dict[tuple[str, ...], set[str]] = {
        ("--include", "*.txt"): {"a.txt", "deep/c.txt"},
        ("--exclude", "*.tmp", "--max-size", "3"): {"a.txt", "deep/c.txt"},
        ("--min-size", "4"): {"b.bin"},
        ("--older", "2000-01-01"): set(),
        ("--newer", "1h", "--include", "b.*"): {"b.bin"},
        ("--strip-prefix", "deep/", "--include", "c.txt"): {"c.txt"},
        ("--rename-map", str(tmp_path / "map"), "--include", "a.txt"): {"z.txt"},
    }
    for options, keys in tries.items():
        target = archive.bucket()
        archive.run("put", f"s3://{source}/p/", f"ds3://{target}", *options).expect()
        assert set(archive.keys(target)) == keys, options
    target = archive.bucket()
    listed = archive.run("put", f"s3://{source}/p/", f"ds3://{target}", "--files-from", str(tmp_path / "list"))
    assert "missing is listed, but not there" in listed.expect(3).stderr
    assert set(archive.keys(target)) == {"deep/c.txt", "d.tmp"}


def test_wildcards_select_unless_they_are_to_stand_for_themselves(archive: Archive, moto: FarSide) -> None:
    """A pattern that is the key of an object as well must be made plain; --raw means that object."""
    source = moto.bucket(
        {"in/a.mxf": b"a", "in/deep/b.mxf": b"b", "in/c.txt": b"c", "odd/*.mxf": b"odd", "odd/x.mxf": b"x"}
    )
    target = archive.bucket()
    archive.run("put", f"s3://{source}/in/*.mxf", f"ds3://{target}/reels/").expect()
    assert set(archive.keys(target)) == {"reels/a.mxf", "reels/deep/b.mxf"}
    unclear = archive.run("put", f"s3://{source}/odd/*.mxf", f"ds3://{target}/odd/").expect(2)
    assert "a pattern, and the key of an object as well" in unclear.stderr
    assert "--raw" in unclear.stderr
    archive.run("put", f"s3://{source}/odd/*.mxf", f"ds3://{target}/odd/", "--raw").expect()
    assert archive.keys(target)[0] == "odd/*.mxf"
    assert len(archive.keys(target)) == 3


def test_several_sources_stand_below_one_target(archive: Archive, moto: FarSide) -> None:
    """Prefixes, also of several buckets, and single objects go into one job."""
    one, other, target = moto.bucket({"p/a": b"1", "single": b"2"}), moto.bucket({"b": b"3"}), archive.bucket()
    done = archive.run(
        "put", f"s3://{one}/p/", f"s3://{other}", f"s3://{one}/single", f"ds3://{target}/t/", "-o", "json"
    )
    assert len(done.expect().json["jobs"]) == 1
    assert fetched(archive, target) == {"t/a": b"1", "t/b": b"3", "t/single": b"2"}


def test_what_is_there_and_the_same_is_skipped_and_what_is_not_fails_by_name(archive: Archive, moto: FarSide) -> None:
    """A second put moves nothing; an object that has changed in S3 fails, and --if-exists overwrite replaces it."""
    source, target = moto.bucket({"a": b"first", "b": b"stays"}), archive.bucket()
    put = ("put", f"s3://{source}", f"ds3://{target}")
    archive.run(*put).expect()
    assert archive.run(*put, "-o", "json").expect().json["skipped"] == 2
    moto.client().put_object(Bucket=source, Key="a", Body=b"other")
    failed = archive.run(*put).expect(3)
    assert "a is in the bucket already, and is not the same" in failed.stderr
    archive.run(*put, "--if-exists", "overwrite", "--yes").expect()
    assert fetched(archive, target) == {"a": b"other", "b": b"stays"}


def test_a_saved_plan_puts_the_very_objects_that_it_lists(archive: Archive, moto: FarSide, tmp_path: Path) -> None:
    """What has changed since fails by name, what is new is not put, and nobody asks for the source again."""
    source, target = moto.bucket({"a": b"first", "b": b"second"}), archive.bucket()
    plan = str(tmp_path / "plan")
    shown = archive.run("plan", "put", f"s3://{source}", f"ds3://{target}", "--save", plan, "--meta", "x=y").expect()
    assert "would put 2 objects" in shown.stdout
    assert archive.keys(target) == []
    moto.client().put_object(Bucket=source, Key="b", Body=b"changed")
    moto.client().put_object(Bucket=source, Key="c", Body=b"new")
    failed = archive.run("plan", "run", plan).expect(3)
    assert f"s3://{source}/b has changed since it was listed" in failed.stderr
    assert fetched(archive, target) == {"a": b"first"}
    assert archive.client.head_object(target, "a").metadata["x"] == "y"


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (("s3://{s}/in", "ds3://{t}/x/"), 4, "there are objects below it: s3://{s}/in/"),
        (("s3://{s}/nothing", "ds3://{t}/x/"), 4, "there is no object 'nothing'"),
        (("s3://{s}/nothing/", "ds3://{t}"), 4, "s3://{s}/nothing/ names no object"),
        (("s3://{s}/no*thing", "ds3://{t}"), 4, "names no object"),
        (("s3://no-such-bucket-at-all", "ds3://{t}"), 4, "NoSuchBucket"),
        (("s3://{s}/in/", "ds3://no-such-bucket"), 4, "no-such-bucket"),
        (("s3://{s}/in/", "s3://{s}/other", "ds3://{t}/key"), 2, "is one key, and there are 2 sources"),
        (("s3://{s}/in/", "/tmp", "ds3://{t}"), 2, "sources of several kinds cannot be put at once"),
        (("s3://{s}/in/", "-", "ds3://{t}/k"), 2, "stdin cannot be put beside other sources"),
        (("s3://{s}/in/", "ds3://{t}", "--preserve"), 2, "--preserve means nothing for objects of S3"),
        (("s3://{s}/in/", "ds3://{t}", "--symlinks", "store"), 2, "--symlinks means nothing for objects of S3"),
        (("s3://{s}/in/a", "ds3://{t}", "--files-from", "/dev/null"), 2, "none that anything is below"),
        (("s3://{s}/in/", "s3://{s}/", "ds3://{t}", "--files-from", "/dev/null"), 2, "there are several sources"),
        (("s3://{s}/in/", "ds3://{t}", "--null"), 2, "--null says how --files-from is written"),
        (("s3://{s}/in/", "ds3://{t}", "--restore-days", "3"), 2, "there is no --restore-tier"),
        (("s3://{s}/in/", "ds3://{t}", "--s3-endpoint", "nonsense"), 2, "is no endpoint"),
        (("s3://{s}/in/", "ds3://{t}", "--s3-endpoint", "http://me:pw@h/"), 2, "an endpoint has no keys in it"),
        (("s3://{s}/in/", "ds3://{t}", "--s3-profile", "nobody"), 6, "nobody"),
        (("/tmp", "ds3://{t}", "--raw"), 2, "--raw means nothing for files of this host"),
        (("/tmp", "ds3://{t}", "--restore-tier", "bulk"), 2, "--restore-tier means nothing for files of this host"),
    ],
)
def test_a_mistake_gets_a_sentence_and_its_exit_code(
    archive: Archive, moto: FarSide, arguments: tuple[str, ...], exit_code: int, words: str
) -> None:
    """Nothing is begun, and nothing is left to be resumed."""
    names = {"s": moto.bucket({"in/a": b"1", "other": b"2"}), "t": archive.bucket()}
    failed = archive.run("put", *(one.format(**names) for one in arguments)).expect(exit_code)
    assert words.format(**names) in failed.stderr
    assert archive.keys(names["t"]) == []
    assert list(Path(os.environ["HOME"]).rglob("*.db")) == []  # no journal


def test_credentials_that_s3_does_not_know_are_told_apart_from_the_appliance_s(
    archive: Archive, seaweed: FarSide
) -> None:
    """Exit code 6, S3's own word and a way out; the secret key is nowhere."""
    source, target = seaweed.bucket({"a": b"1"}), archive.bucket()
    environ = {**archive.environ, **seaweed.environ, "AWS_SECRET_ACCESS_KEY": "not-the-secret"}
    failed = run("put", f"s3://{source}", f"ds3://{target}", environ=environ).expect(6)
    assert "SignatureDoesNotMatch" in failed.stderr
    assert "aws sts get-caller-identity" in failed.stderr
    assert "not-the-secret" not in failed.stderr + written()


def test_an_s3_that_does_not_answer_is_told_apart_from_the_appliance(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 7 once boto3's tries are spent, the address is named, and nothing was begun."""
    naps: list[float] = []
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=naps.append, time=time.time))
    with socket.create_server(("127.0.0.1", 0)) as bound:
        place = f"http://127.0.0.1:{bound.getsockname()[1]}"
    failed = archive.run("put", "s3://media/in/", f"ds3://{archive.bucket()}", "--s3-endpoint", place).expect(7)
    assert f's3://media/in/: Could not connect to the endpoint URL: "{place}/media' in failed.stderr
    assert len(naps) == 5


# -- what was interrupted --------------------------------------------------------------------------------------------


@pytest.fixture
def source(moto: FarSide) -> str:
    """A bucket with eight small objects and one of four blobs, below a prefix."""
    chance = random.Random(8)
    names = ["large", *(f"small-{number}" for number in range(8))]
    return moto.bucket({f"in/{name}": chance.randbytes(3 * MIB + 5 if name == "large" else 1000) for name in names})


def test_a_put_that_was_killed_goes_on_in_an_environment_that_says_nothing_of_the_place(
    between: Between, moto: FarSide, source: str
) -> None:
    """The journal knows the endpoint and the region; `resume` needs credentials alone, and sends nothing twice."""
    archive, target = between.archive, between.archive.bucket()
    between.killed(3, "put", f"s3://{source}/in/", f"ds3://{target}/out/", "-j", "1")
    (work,) = archive.run("job", "ls", "--local", "-o", "json").expect().json
    assert work["paths"] == [f"s3://{source}/in/"]
    environ = {name: value for name, value in between.environ.items() if name not in {"AWS_ENDPOINT_URL", "AWS_REGION"}}
    before = dict(between.passed)
    run("resume", environ=environ).expect()
    again = {blob for blob, count in between.passed.items() if count > 1 and before.get(blob)}
    assert len(again) <= 1, again  # the one that was on its way
    assert restored(archive, target) == {f"out/{key[3:]}": data for key, data in moto.contents(source).items()}
    assert archive.run("resume", "--error-if-nothing").expect(9).stdout == ""


def test_what_has_changed_in_between_fails_by_name_and_the_rest_goes_on(
    between: Between, moto: FarSide, source: str
) -> None:
    """An object is never made of two: that of which the key has another object now is not put."""
    archive, target = between.archive, between.archive.bucket()
    between.signal_at(2)
    between.run("put", f"s3://{source}/in/", f"ds3://{target}", "-j", "1").expect(130)
    moto.client().put_object(Bucket=source, Key="in/large", Body=b"z" * (3 * MIB + 5))
    resumed = archive.run("resume").expect(3)
    assert f"s3://{source}/in/large has changed since it was listed" in resumed.stderr
    wanted = {key[3:]: data for key, data in moto.contents(source).items() if key != "in/large"}
    assert restored(archive, target) == wanted


def test_a_put_goes_on_from_a_copy_that_is_elsewhere(between: Between, moto: FarSide, source: str) -> None:
    """`resume --source` names another prefix; objects of the same ETag there stand for those that were planned."""
    archive, target = between.archive, between.archive.bucket()
    between.signal_at(2)
    between.run("put", f"s3://{source}/in/", f"ds3://{target}", "-j", "1").expect(130)
    contents = moto.contents(source)
    copy = moto.bucket({f"copied/{key[3:]}": data for key, data in contents.items()})
    client = moto.client()
    for key in contents:
        client.delete_object(Bucket=source, Key=key)
    client.delete_bucket(Bucket=source)
    (work,) = archive.run("job", "ls", "--local", "-o", "json").expect().json
    assert "there is no bucket" in archive.run("resume").expect(4).stderr
    archive.run("resume", work["id"], "--source", "/tmp").expect(2)
    assert "is not an address" in archive.run("resume", work["id"], "--source", "https://h/a?secret").expect(2).stderr
    archive.run("resume", work["id"], "--source", f"s3://{copy}/copied/").expect()
    assert restored(archive, target) == {key[3:]: data for key, data in contents.items()}


@pytest.mark.parametrize("address", ["s3://bucket/in/", "s3://bucket/in/*.txt", "s3://bucket/one"])
@pytest.mark.parametrize(("status", "kind"), [(403, FarSideForbiddenError), (404, FarSideNotFoundError)])
def test_nothing_goes_on_for_whom_s3_does_not_let_look(
    monkeypatch: pytest.MonkeyPatch, address: str, status: int, kind: type[FarSideError]
) -> None:
    """With other credentials, or at another endpoint, every object would seem gone, and the job be given up."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    head = WorkHead("20261122-100000-0123abcd", JobType.PUT, "target", "id", {})
    code = b"AccessDenied" if status == 403 else b"NoSuchBucket"
    refused = Page(b"<Error><Code>%s</Code><Message>no</Message></Error>" % code, status=status)
    with web() as server:
        server.pages = dict.fromkeys(("bucket", "bucket/one"), refused)
        what = S3Put(AwsSettings(endpoint=server.place), (S3Root(parse_s3(address), ""),))
        with pytest.raises(kind, match="nothing was done for work 20261122-100000-0123abcd") as told:
            what.check_there(head)
        assert told.value.hint is not None
        where = S3Asked(AwsSettings(endpoint=server.place), "bucket", "in/", seen=True)
        with pytest.raises(kind, match="nothing was done for work 20261122-100000-0123abcd"):
            where.check_there(head)
        if status == 403:
            replace(where, seen=False).check_there(head)  # who only writes need not look


def test_a_job_that_another_host_has_begun_goes_on_from_s3(
    between: Between, moto: FarSide, source: str, tmp_path: Path
) -> None:
    """`resume JOB --source s3://...` puts what the job lacks; what is not there fails by name."""
    archive, target = between.archive, between.archive.bucket()
    between.signal_at(2)
    there = ("--state-dir", str(tmp_path / "elsewhere"))
    between.run("put", f"s3://{source}/in/", f"ds3://{target}/p/", "-j", "1", *there).expect(130)
    (job,) = archive.client.list_active_jobs(bucket=target)
    assert "--source PATH, or s3://BUCKET/PREFIX/" in archive.run("resume", job.id).expect(2).stderr
    assert "no object" in archive.run("resume", job.id, "--source", f"s3://{source}/no/").expect(4).stderr
    archive.run("resume", job.id, "--source", f"s3://{source}/in/", "--strip-prefix", "p/").expect()
    assert restored(archive, target) == {f"p/{key[3:]}": data for key, data in moto.contents(source).items()}


def test_credentials_that_end_on_the_way_leave_the_job_to_be_resumed(
    archive: Archive, seaweed: FarSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 6 and the way on; once S3 knows who asks again, the rest is put."""
    chance = random.Random(9)
    source = seaweed.bucket({"large": chance.randbytes(4 * MIB)})
    target = archive.bucket()
    meddler = Meddler(archive.appliance)
    among = Archive(archive.appliance, archive.client, {**archive.environ, **seaweed.environ})
    between = Between(among, meddler, monkeypatch)
    wrong = ReadOnlyCredentials(seaweed.access_key, "another secret", None)
    try:
        with pytest.MonkeyPatch.context() as ended:
            between.at(1, lambda: ended.setattr(Credentials, "get_frozen_credentials", lambda _: wrong))
            stopped = between.run("put", f"s3://{source}", f"ds3://{target}", "-j", "1").expect(6)
        assert "ds3tool resume" in stopped.stderr
        between.run("resume").expect()
    finally:
        meddler.close()
    assert restored(archive, target) == seaweed.contents(source)
