"""`ds3tool s3`: what is done to the S3 side, against servers that speak it."""

from __future__ import annotations

import hashlib
import io
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from ds3tool.aws import s3_copies, s3_files, s3_objects
from ds3tool.cli import prompts
from ds3tool.errors import FarSideError, FarSideUnreachableError, SourceError
from tests.cli.runner import Run, run
from tests.far.servers import FarSide

Ran = Callable[..., Run]


def runner_of(far: FarSide) -> Ran:
    def call(*arguments: str, stdin: str | bytes = "", into: Path | None = None, **more: str) -> Run:
        return run("s3", *arguments, environ={**far.environ, **more}, stdin=stdin, into=into)

    return call


@pytest.fixture
def s3(moto: FarSide) -> Ran:
    """`ds3tool s3 ...` with moto at the other end: any key, versions, access lists."""
    return runner_of(moto)


@pytest.fixture
def strict(seaweed: FarSide) -> Ran:
    """`ds3tool s3 ...` with SeaweedFS at the other end: strict about signatures and checksums."""
    return runner_of(seaweed)


def versioned(far: FarSide) -> str:
    bucket = far.bucket()
    far.shared.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


# -- buckets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("server", ["moto", "seaweed"])
def test_a_bucket_is_made_listed_and_removed(server: str, request: pytest.FixtureRequest) -> None:
    """`mb`, `ls` without an address and `rb` see the same bucket."""
    s3 = runner_of(request.getfixturevalue(server))
    name = f"made-{server}"
    s3("mb", f"s3://{name}").expect()
    assert name in [one["name"] for one in s3("ls", "-o", "json").expect().json]
    assert s3("stat", f"s3://{name}", "-o", "json").expect().json["type"] == "bucket"
    assert s3("rb", name, "-o", "json").expect().json == {"bucket": name}
    assert name not in s3("ls").expect().stdout


def test_a_bucket_is_made_in_the_region_that_was_asked_for(moto: FarSide, s3: Ran) -> None:
    """Whatever the region, S3 is told of it as it wants to be."""
    s3("mb", "s3://far-away", "--s3-region", "eu-central-1").expect()
    assert moto.shared.get_bucket_location(Bucket="far-away")["LocationConstraint"] == "eu-central-1"


def test_a_bucket_that_holds_something_is_not_removed(moto: FarSide, seaweed: FarSide) -> None:
    """Without --force nothing goes, not even what only old versions are left of; with it, all."""
    for far in (moto, seaweed):
        s3, bucket = runner_of(far), versioned(far)
        client = far.shared
        client.put_object(Bucket=bucket, Key="a/b", Body=b"old")
        client.delete_object(Bucket=bucket, Key="a/b")
        told = s3("rb", f"s3://{bucket}").expect(2)
        assert "not empty" in told.stderr
        s3("rb", f"s3://{bucket}", "--force").expect(2)  # nobody to ask
        assert [one["Key"] for one in client.list_object_versions(Bucket=bucket)["Versions"]] == ["a/b"]
        s3("rb", f"s3://{bucket}", "--force", "--yes").expect()
        s3("stat", f"s3://{bucket}").expect(4)


def test_a_name_that_is_taken_is_an_error_in_the_services_words(seaweed: FarSide, strict: Ran) -> None:
    """A bucket that is there already is not made again in silence."""
    told = strict("mb", f"s3://{seaweed.bucket()}", "-o", "json").expect(1)
    assert told.json["error"]["code"] in {"BucketAlreadyExists", "BucketAlreadyOwnedByYou"}


# -- ls and stat ----------------------------------------------------------------------------------------------------


def test_a_level_a_key_and_a_pattern_are_listed_as_on_the_appliance(moto: FarSide, s3: Ran) -> None:
    """One level shows prefixes; -r all; a key means itself and what lies below it; a pattern matches at any depth."""
    bucket = moto.bucket({key: key.encode() for key in ("a", "a/1", "a/b/2.gz", "c.gz", "d//e", "ü+%20 x")})

    def keys(*arguments: str) -> list[str]:
        return [one["key"] for one in s3("ls", "-o", "ndjson", *arguments).expect().lines]

    assert keys(f"s3://{bucket}") == ["a", "a/", "c.gz", "d/", "ü+%20 x"]
    assert keys("-r", f"s3://{bucket}") == ["a", "a/1", "a/b/2.gz", "c.gz", "d//e", "ü+%20 x"]
    assert keys(f"s3://{bucket}/a") == ["a", "a/"]
    assert keys(f"s3://{bucket}/a/") == ["a/1", "a/b/"]
    assert keys("-r", f"s3://{bucket}/a") == ["a/1", "a/b/2.gz"]
    assert keys(f"s3://{bucket}/*.gz") == ["a/b/2.gz", "c.gz"]
    s3("ls", f"s3://{bucket}/none").expect(4)
    s3("ls", f"s3://{bucket}/none/").expect(4)
    s3("ls", "-r", "s3://no-such-bucket/").expect(4)


def test_a_listing_has_the_shape_that_scripts_rely_on(moto: FarSide, s3: Ran) -> None:
    """Key, size, time, ETag, version and type stand in each line."""
    bucket = moto.bucket({"p/x": b"four"})
    (line,) = s3("ls", "-r", "-o", "ndjson", f"s3://{bucket}").expect().lines
    assert {name: line[name] for name in ("key", "size", "etag", "version_id", "type")} == {
        "key": "p/x",
        "size": 4,
        "etag": hashlib.md5(b"four").hexdigest(),
        "version_id": None,
        "type": "object",
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", line["last_modified"])
    (prefix,) = s3("ls", "-o", "json", f"s3://{bucket}").expect().json
    assert (prefix["key"], prefix["type"], prefix["size"]) == ("p/", "prefix", None)


def test_versions_are_listed_from_the_newest_on(moto: FarSide, s3: Ran) -> None:
    """Of each key the newest comes first, and what says that it was deleted is told apart."""
    bucket = versioned(moto)
    client = moto.shared
    ids = [client.put_object(Bucket=bucket, Key="k", Body=b"x" * size)["VersionId"] for size in (1, 2)]
    client.delete_object(Bucket=bucket, Key="k")
    client.put_object(Bucket=bucket, Key="l", Body=b"")
    lines = s3("ls", "-r", "--versions", "-o", "ndjson", f"s3://{bucket}").expect().lines
    assert [(one["key"], one["type"], one["size"], one["is_latest"]) for one in lines] == [
        ("k", "delete-marker", None, True),
        ("k", "object", 2, False),
        ("k", "object", 1, False),
        ("l", "object", 0, True),
    ]
    assert [one["version_id"] for one in lines[1:3]] == ids[::-1]


def test_stat_tells_all_that_s3_does(moto: FarSide, s3: Ran) -> None:
    """Size, ETag, headers, metadata, tags and checksums of one object."""
    bucket = moto.bucket()
    moto.shared.put_object(
        Bucket=bucket,
        Key="a b",
        Body=b"bytes",
        ContentType="text/x",
        CacheControl="no-store",
        Metadata={"show": "apollo"},
        Tagging="project=moon&year=1969",
        ChecksumAlgorithm="SHA256",
        StorageClass="STANDARD_IA",
    )
    told = s3("stat", "-o", "json", f"s3://{bucket}/a b").expect().json
    assert told["size"] == 5
    assert told["etag"] == hashlib.md5(b"bytes").hexdigest()
    assert told["storage_class"] == "STANDARD_IA"
    assert told["attributes"] == {"content_type": "text/x", "cache_control": "no-store"}
    assert told["metadata"] == {"show": "apollo"}
    assert told["tags"] == {"project": "moon", "year": "1969"}
    assert "SHA256" in [one["type"] for one in told["checksums"]]
    assert "text/x" in s3("stat", f"s3://{bucket}/a b").expect().stdout
    s3("stat", f"s3://{bucket}/a").expect(4)
    s3("stat", "s3://no-such-bucket").expect(4)


def test_who_is_not_known_and_who_does_not_answer(seaweed: FarSide, strict: Ran) -> None:
    """A wrong secret is exit code 6, a server that is not there 7."""
    bucket = seaweed.bucket()
    strict("ls", f"s3://{bucket}", AWS_SECRET_ACCESS_KEY="wrong").expect(6)
    told = strict("stat", f"s3://{bucket}/k", AWS_SECRET_ACCESS_KEY="wrong").expect(6)
    assert "SignatureDoesNotMatch" in told.stderr  # though no reply to a HEAD says why
    told = strict("ls", f"s3://{bucket}", AWS_ENDPOINT_URL="http://127.0.0.1:9", AWS_MAX_ATTEMPTS="1").expect(7)
    assert "127.0.0.1:9" in told.stderr


# -- rm -------------------------------------------------------------------------------------------------------------


def test_one_object_is_removed_and_one_that_is_not_there_is_told(moto: FarSide, s3: Ran) -> None:
    """S3 says of anything that it was deleted; we say when there was nothing."""
    bucket = moto.bucket({"a": b"1", "b": b"2", "b/c": b"3"})
    assert s3("rm", "-o", "json", f"s3://{bucket}/a").expect().json == {"objects": 1, "failed": []}
    assert "there is no object 'a'" in s3("rm", f"s3://{bucket}/a").expect(4).stderr
    both = s3("rm", "-o", "json", f"s3://{bucket}/a", f"s3://{bucket}/b").expect(3).json
    assert (both["objects"], len(both["failed"])) == (1, 1)
    assert moto.contents(bucket) == {"b/c": b"3"}
    assert "-r" in s3("rm", f"s3://{bucket}/b/").expect(2).stderr
    assert "rb" in s3("rm", f"s3://{bucket}").expect(2).stderr


def test_what_lies_below_a_prefix_is_counted_and_asked_about(
    moto: FarSide, s3: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    """-r takes nothing beside the prefix; a no leaves all; filters choose."""
    bucket = moto.bucket({"logs/a": b"1", "logs/b.tmp": b"22", "logs-2024/x": b"3"})
    assert "--yes" in s3("rm", "-r", f"s3://{bucket}/logs").expect(2).stderr
    asked: list[str] = []

    def no(question: str) -> str:
        asked.append(question)
        return "n"

    monkeypatch.setattr(prompts, "can_ask", lambda: True)
    monkeypatch.setattr(prompts, "ask", no)
    s3("rm", "-r", f"s3://{bucket}/logs").expect(2)
    assert "Remove 2 objects (3 B)" in asked[0]
    assert len(moto.contents(bucket)) == 3
    s3("rm", "-r", "--yes", "--include", "*.tmp", f"s3://{bucket}/logs").expect()
    s3("rm", "--yes", f"s3://{bucket}/logs/*").expect()
    assert list(moto.contents(bucket)) == ["logs-2024/x"]


def test_each_object_that_could_not_be_removed_is_named(seaweed: FarSide, strict: Ran) -> None:
    """A batch of which some is refused ends with exit code 3; the others are gone."""
    bucket = f"locked-{os.getpid()}"
    client = seaweed.shared
    client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    for key in ("free", "held"):
        client.put_object(Bucket=bucket, Key=key, Body=b"x")
    client.put_object_legal_hold(Bucket=bucket, Key="held", LegalHold={"Status": "ON"})
    told = strict("rm", "-r", "--all-versions", "--yes", "-o", "json", f"s3://{bucket}/").expect(3).json
    assert told["objects"] == 1
    assert [one["key"].split(" ")[0] for one in told["failed"]] == [f"s3://{bucket}/held"]
    assert told["failed"][0]["error"]
    assert [one["Key"] for one in client.list_object_versions(Bucket=bucket)["Versions"]] == ["held"]


def test_all_versions_go_only_when_that_is_said(moto: FarSide, s3: Ran) -> None:
    """rm marks an object as deleted; --version-id takes one version, --all-versions every one and the marks."""
    bucket = versioned(moto)
    client = moto.shared
    first = client.put_object(Bucket=bucket, Key="k", Body=b"1")["VersionId"]
    client.put_object(Bucket=bucket, Key="k", Body=b"2")
    client.put_object(Bucket=bucket, Key="k2", Body=b"other")
    s3("rm", f"s3://{bucket}/k").expect()
    assert len(client.list_object_versions(Bucket=bucket)["Versions"]) == 3
    s3("rm", "--version-id", first, f"s3://{bucket}/k").expect()
    s3("rm", "--version-id", first, f"s3://{bucket}/k").expect(4)
    s3("rm", "--all-versions", f"s3://{bucket}/k").expect(2)
    lines = s3("rm", "--all-versions", "--yes", "-o", "ndjson", f"s3://{bucket}/k").expect().lines
    assert [one["key"] for one in lines] == ["k", "k"]
    left = client.list_object_versions(Bucket=bucket)
    assert [one["Key"] for one in left["Versions"]] == ["k2"]
    assert "DeleteMarkers" not in left


class Recording:
    """S3 as far as deleting goes: it deletes all it is asked to, and remembers the requests."""

    def __init__(self) -> None:
        self.asked: list[list[str] | str] = []

    def delete_objects(self, *, Delete: Mapping[str, Any], **_: object) -> Mapping[str, Any]:  # noqa: N803
        self.asked.append([one["Key"] for one in Delete["Objects"]])
        assert not Delete.get("Quiet")
        return {"Deleted": [dict(one) for one in Delete["Objects"]]}

    def delete_object(self, *, Key: str, **_: object) -> None:  # noqa: N803
        self.asked.append(Key)


def test_objects_are_deleted_a_thousand_a_request() -> None:
    """No batch is larger than S3 takes, and none of them is begun before the one before it was told of."""
    client = Recording()
    deletions = s3_objects.delete(client, "bucket", (s3_objects.ObjectName(str(number)) for number in range(2001)))
    assert len(next(deletions).deleted) == 1000
    assert len(client.asked) == 1
    assert [len(one.deleted) for one in deletions] == [1000, 1]


def test_a_key_that_no_xml_can_carry_goes_by_a_request_of_its_own() -> None:
    """One such key in a batch does not spoil the others."""
    client = Recording()
    names = [s3_objects.ObjectName(key) for key in ("a", "b\x01", "c", "d\r")]
    (deletion,) = s3_objects.delete(client, "bucket", names)
    assert client.asked == [["a", "c"], "b\x01", "d\r"]
    assert list(deletion.deleted) == names


class Reticent(Recording):
    """S3, or what stands before it, that answers each request for deletions with just this."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        super().__init__()
        self.answer = answer

    def delete_objects(self, **_: object) -> Mapping[str, Any]:
        return self.answer


def test_only_what_an_answer_names_counts_as_deleted() -> None:
    """An empty answer is not S3's; a version is gone when it is named, or its key is where no version was asked for."""
    names = [s3_objects.ObjectName("a"), s3_objects.ObjectName("b", "1"), s3_objects.ObjectName("b", "2")]
    (untold,) = s3_objects.delete(Reticent({"ResponseMetadata": {"HTTPStatusCode": 200}}), "bucket", names)
    assert (untold.deleted, [one.name for one in untold.failed]) == ([], names)
    assert untold.failed[0].message == "S3 does not say what became of it"
    told: dict[str, Any] = {
        "Deleted": [{"Key": "a", "VersionId": "null"}, {"Key": "b", "DeleteMarkerVersionId": "1"}, {"Key": "foreign"}],
    }
    for named in ({}, {"VersionId": "2"}):
        told["Errors"] = [{"Key": "b", "Code": "AccessDenied", "Message": "no", **named}]
        (partly,) = s3_objects.delete(Reticent(told), "bucket", names)
        assert (partly.deleted, partly.failed) == (names[:2], [s3_objects.NotDeleted(names[2], "AccessDenied", "no")])


# -- cp -------------------------------------------------------------------------------------------------------------


def described(far: FarSide, bucket: str, key: str) -> dict[str, Any]:
    client = far.shared
    head = client.head_object(Bucket=bucket, Key=key)
    tags = client.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
    return {
        "type": head["ContentType"],
        "cache": head.get("CacheControl"),
        "meta": head["Metadata"],
        "tags": {one["Key"]: one["Value"] for one in tags},
    }


@pytest.mark.parametrize("server", ["moto", "seaweed"])
@pytest.mark.parametrize("in_parts", [False, True], ids=["at once", "in parts"])
def test_a_copy_inside_s3_keeps_metadata_and_tags(
    server: str, request: pytest.FixtureRequest, *, in_parts: bool
) -> None:
    """Whether one request copies the object or parts do, it is the same object afterwards."""
    far: FarSide = request.getfixturevalue(server)
    source, target = far.bucket(), far.bucket()
    body = os.urandom(11 << 20) if in_parts else b"small"
    about = {
        "ContentType": "video/mxf",
        "CacheControl": "no-store",
        "Metadata": {"show": "apollo"},
        "Tagging": "project=moon%20shot&year=1969",
    }
    client = far.shared
    client.put_object(Bucket=source, Key="a ü", Body=body, **about)
    found = s3_objects.status(client, source, "a ü")
    limit = 5 << 20 if in_parts else s3_copies.MOST_AT_ONCE
    s3_copies.copy(client, found, target, "b/c", most_at_once=limit, part_size=5 << 20)
    assert far.contents(target) == {"b/c": body}
    assert described(far, target, "b/c") == described(far, source, "a ü")
    assert described(far, target, "b/c")["tags"] == {"project": "moon shot", "year": "1969"}
    assert far.uploads(target) == []


@pytest.mark.parametrize("in_parts", [False, True], ids=["at once", "in parts"])
def test_a_copy_of_what_has_changed_is_refused_and_leaves_nothing(seaweed: FarSide, *, in_parts: bool) -> None:
    """What was looked at is what is copied; an upload that ends early is aborted."""
    bucket = seaweed.bucket()
    client = seaweed.shared
    client.put_object(Bucket=bucket, Key="a", Body=b"x" * (6 << 20))
    found = s3_objects.status(client, bucket, "a")
    client.put_object(Bucket=bucket, Key="a", Body=b"y" * (6 << 20))
    limit = 5 << 20 if in_parts else s3_copies.MOST_AT_ONCE
    with pytest.raises(FarSideError, match="PreconditionFailed"):
        s3_copies.copy(client, found, bucket, "b", most_at_once=limit, part_size=5 << 20)
    assert list(seaweed.contents(bucket)) == ["a"]
    assert seaweed.uploads(bucket) == []


def test_a_prefix_and_a_pattern_are_copied_below_the_target(moto: FarSide, s3: Ran) -> None:
    """Names below the address stand below the target; what lies in itself is refused."""
    source, target = moto.bucket({"a/1.gz": b"1", "a/b/2.gz": b"2", "a/b/3": b"3"}), moto.bucket()
    assert s3("cp", "-r", "-o", "json", f"s3://{source}/a", f"s3://{target}/x").expect().json["objects"] == 3
    s3("cp", f"s3://{source}/a/*.gz", f"s3://{target}/y/").expect()
    s3("cp", f"s3://{source}/a/b/3", f"s3://{target}").expect()
    assert sorted(moto.contents(target)) == ["3", "x/1.gz", "x/b/2.gz", "x/b/3", "y/1.gz", "y/b/2.gz"]
    assert "in one another" in s3("cp", "-r", f"s3://{source}/a", f"s3://{source}/a/copy").expect(2).stderr
    assert "onto itself" in s3("cp", f"s3://{source}/a/b/3", f"s3://{source}/a/b/").expect(2).stderr
    s3("cp", f"s3://{source}/none", f"s3://{target}/").expect(4)
    s3("cp", "-r", f"s3://{source}/a", "s3://no-such-bucket/").expect(4)


def test_what_lies_in_glacier_is_named_with_what_to_do(moto: FarSide, s3: Ran, tmp_path: Path) -> None:
    """No copy of it can be made before it is restored, wherever that is to go; the others are copied."""
    bucket, target = moto.bucket({"a": b"1"}), moto.bucket()
    moto.shared.put_object(Bucket=bucket, Key="deep", Body=b"x", StorageClass="DEEP_ARCHIVE")
    for place in (str(tmp_path), "-"):
        told = s3("cp", f"s3://{bucket}/deep", place).expect(3)
        assert "DEEP_ARCHIVE and not restored" in told.stderr
        assert "--restore-tier" in told.stderr
        assert told.stdout == ""
    assert list(tmp_path.iterdir()) == []
    s3("cp", "-r", f"s3://{bucket}/", f"s3://{target}/").expect(3)
    assert list(moto.contents(target)) == ["a"]


@pytest.mark.parametrize("server", ["moto", "seaweed"])
def test_a_file_goes_up_and_comes_back(server: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """A file of several parts is the same when it is back, has its content type in S3, and the object's time."""
    far: FarSide = request.getfixturevalue(server)
    s3, bucket = runner_of(far), far.bucket()
    body = os.urandom(9 << 20)
    (tmp_path / "reel.json").write_bytes(body)
    s3("cp", str(tmp_path / "reel.json"), f"s3://{bucket}/up/").expect()
    assert far.contents(bucket) == {"up/reel.json": body}
    head = far.shared.head_object(Bucket=bucket, Key="up/reel.json")
    assert head["ContentType"] == "application/json"
    (tmp_path / "there").mkdir()
    s3("cp", f"s3://{bucket}/up/reel.json", str(tmp_path / "there")).expect()
    assert (tmp_path / "there" / "reel.json").read_bytes() == body
    assert (tmp_path / "there" / "reel.json").stat().st_mtime == head["LastModified"].timestamp()
    assert [one.name for one in (tmp_path / "there").iterdir()] == ["reel.json"]


def test_streams_go_up_and_come_down(seaweed: FarSide, strict: Ran, tmp_path: Path) -> None:
    """- is stdin and stdout; bytes come out as they are."""
    bucket = seaweed.bucket()
    body = bytes(range(256)) * 5
    strict("cp", "-", f"s3://{bucket}/in", stdin=body).expect()
    out = tmp_path / "out"
    strict("cp", f"s3://{bucket}/in", "-", into=out).expect()
    assert out.read_bytes() == body
    assert "stdout" in strict("cp", "-o", "json", f"s3://{bucket}/in", "-").expect(2).stderr
    assert "key" in strict("cp", "-", f"s3://{bucket}/", stdin=body).expect(2).stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_upload_that_is_interrupted_leaves_nothing(seaweed: FarSide, number: signal.Signals) -> None:
    """However long nothing comes on stdin, Ctrl-C and SIGTERM end it, and what was begun in S3 is given up."""
    bucket = seaweed.bucket()
    with subprocess.Popen(
        [sys.executable, "-m", "ds3tool", "s3", "cp", "-", f"s3://{bucket}/k"],
        env={**os.environ, **seaweed.environ},
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(bytes(33 << 20))
        process.stdin.flush()
        deadline = time.monotonic() + 60
        while seaweed.uploads(bucket) != ["k"]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(number)
        assert process.stderr.read() == b"ds3tool: interrupted\n"
        assert process.wait() == 130
    assert seaweed.uploads(bucket) == []
    assert seaweed.contents(bucket) == {}


class Silent:
    """A client whose service is never reached for one operation: what stands between says 200, and nothing else."""

    def __init__(self, far: FarSide, operation: str) -> None:
        self._client = far.client()
        self._operation = operation

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # whatever boto3 has
        return (lambda **_: {}) if name == self._operation else getattr(self._client, name)


@pytest.mark.parametrize(
    ("operation", "size"), [("put_object", 3), ("complete_multipart_upload", 33 << 20), ("copy_object", 3)]
)
def test_an_answer_that_names_nothing_is_no_copy(moto: FarSide, operation: str, size: int) -> None:
    """A 200 that does not say what was stored is told as a service out of reach, and not as done."""
    bucket, client = moto.bucket({"here": b"abc"}), Silent(moto, operation)
    found = s3_objects.status(moto.client(), bucket, "here")

    def act() -> None:
        if operation == "copy_object":
            s3_copies.copy(client, found, bucket, "there")
        else:
            s3_files.upload(client, io.BytesIO(bytes(size)), bucket, "there", described={})

    with pytest.raises(FarSideUnreachableError, match="no ETag"):
        act()
    assert (sorted(moto.contents(bucket)), moto.uploads(bucket)) == (["here"], [])


def test_a_file_that_changes_while_it_is_read_is_told(seaweed: FarSide, tmp_path: Path) -> None:
    """What lies in S3 then may be no state that the file ever had."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1000)

    class Writing(io.FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            path.write_bytes(b"y" * 1001)
            return super().read(-1 if size is None else size) or b""

    with Writing(path) as file, pytest.raises(SourceError, match="changed while it was read"):
        s3_files.upload(seaweed.shared, cast("BinaryIO", file), seaweed.bucket(), "k", described={})


def test_a_download_that_fails_leaves_the_file_that_was_there(seaweed: FarSide, strict: Ran, tmp_path: Path) -> None:
    """Whole or not at all: what is missing in S3, or cannot be written, changes nothing here."""
    bucket = seaweed.bucket({"k": b"new"})
    kept = tmp_path / "kept"
    kept.write_bytes(b"old")
    strict("cp", f"s3://{bucket}/none", str(kept)).expect(4)
    strict("cp", f"s3://{bucket}/k", str(tmp_path / "no" / "folder")).expect(4)
    assert kept.read_bytes() == b"old"
    strict("cp", f"s3://{bucket}/k", str(kept)).expect()
    assert kept.read_bytes() == b"new"
    assert [one.name for one in tmp_path.iterdir()] == ["kept"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("/etc/hostname", "/tmp/x"),
        ("s3://b/k", "ds3://b/k"),
        ("lotame://all", "s3://b/k"),
        ("-r", "s3://b/k", "/tmp"),
        ("s3://b/*", "/tmp"),
        ("s3://b/k", "/tmp/x", "--content-type", "text/plain"),
        ("/etc/hostname", "s3://b/k", "--version-id", "x"),
        ("/etc", "s3://b/k"),
        ("/dev/null", "s3://b/k"),
        ("s3://b/prefix/", "s3://c/x", "--version-id", "1"),
        ("s3://b/\udcff", "/tmp"),
        ("s3://b", "s3://b/below"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_copied_is_refused_before_anything_is_sent(arguments: tuple[str, ...]) -> None:
    """Exit code 2 and one sentence, without a word to S3."""
    told = run("s3", "cp", *arguments, environ={"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"})
    told.expect(2)
    assert "unexpected" not in told.stderr


def test_a_wrong_turn_names_the_way_out(strict: Ran) -> None:
    """Nobody who looks is told to make a bucket; a folder belongs to put; a list of URLs is put as the help has it."""
    told = strict("stat", "s3://none-of-that-name/k").expect(4).stderr
    assert "to see the buckets there are: ds3tool s3 ls" in told
    assert "ds3tool put takes folders" in strict("cp", "-r", "/etc", "s3://b/k").expect(2).stderr
    words = " ".join(strict("presign", "--help").expect().stdout.split())
    assert "ds3tool put https:// ds3://BUCKET/ --files-from urls.txt" in words


# -- presign and acl ------------------------------------------------------------------------------------------------


def fetched(url: str, *, data: bytes | None = None) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, data=data, method="PUT" if data else "GET")) as reply:
        return bytes(reply.read())


def test_whoever_has_the_url_may_do_what_it_is_for(seaweed: FarSide, strict: Ran) -> None:
    """A URL fetches, or writes, one object without a key; it says how long."""
    bucket = seaweed.bucket({"a ü/b": b"bytes"})
    url = strict("presign", f"s3://{bucket}/a ü/b").expect().stdout.strip()
    assert "X-Amz-Expires=3600&" in url
    assert fetched(url) == b"bytes"
    told = strict("presign", "--method", "PUT", "--expires", "7d", "-o", "json", f"s3://{bucket}/new").expect().json
    assert (told["key"], told["method"]) == ("new", "PUT")
    fetched(told["url"], data=b"written")
    assert seaweed.contents(bucket)["new"] == b"written"


def test_a_url_of_temporary_credentials_is_warned_about(strict: Ran) -> None:
    """The URL dies with the session: that is said, and the URL given all the same."""
    told = strict("presign", "s3://b/k", AWS_SESSION_TOKEN="hush").expect()
    assert "temporary" in told.stderr
    assert "warning" not in strict("presign", "s3://b/k").expect().stderr


@pytest.mark.parametrize("expires", ["", "0s", "8d", "x", "-1"])
def test_a_url_is_good_for_a_second_to_seven_days(strict: Ran, expires: str) -> None:
    """What S3 would refuse later is refused now."""
    strict("presign", f"--expires={expires}", "s3://b/k").expect(2)


def test_an_access_list_is_shown_and_set(moto: FarSide, s3: Ran) -> None:
    """A canned list is set; one that opens the object to everybody asks first."""
    bucket = moto.bucket({"k": b"1"})
    (own,) = s3("acl", "-o", "json", f"s3://{bucket}/k").expect().json
    assert own["permission"] == "FULL_CONTROL"
    s3("acl", "--set", "public-read", f"s3://{bucket}/k").expect(2)
    assert len(s3("acl", "-o", "json", f"s3://{bucket}/k").expect().json) == 1
    s3("acl", "--set", "public-read", "--yes", f"s3://{bucket}/k").expect()
    told = s3("acl", "-o", "json", f"s3://{bucket}/k").expect().json
    assert any(one["grantee"].endswith("AllUsers") and one["permission"] == "READ" for one in told)
    s3("acl", f"s3://{bucket}").expect()
    s3("acl", f"s3://{bucket}/none").expect(4)


def test_no_secret_is_in_what_vv_tells(seaweed: FarSide, strict: Ran) -> None:
    """With -vv each request is a line, without signature, key or token."""
    bucket = seaweed.bucket({"k": b"1"})
    told = strict("stat", "-vv", f"s3://{bucket}/k").expect()
    assert f"HEAD /{bucket}/k" in told.stderr
    for secret in (seaweed.access_key, seaweed.secret_key, "Signature="):
        assert secret not in told.stderr
