"""What our ends in S3 rely on, asked of every server that stands for S3 in the tests.

A server that does otherwise is in `DIFFERENCES`, with what it does instead, and that is asserted: whoever reads the
table knows which server a test may be given to, and a release that changes its mind fails here.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import subprocess
import sys
import urllib.parse
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.cli.runner import run
from tests.far.servers import FarSide

MIB = 1 << 20
MANY = 2500
# Keys as people make them, and some as only programs do.
ODD_KEYS = (
    "a b/c+d",
    "ü/ß/日本",
    "100%",
    "%2F",
    "a&b=c?d#e",
    "'quoted\"",
    "semi;colon,comma",
    "*?[x]",
    "a\\b",
    "~/.x",
    "k" * 200,
    " leading and trailing ",
    "a//b",
    "trail/",
    "a/./b",
    "a/../b",
    "/lead",
    "s" * 300,
)


@dataclass(frozen=True)
class Difference:
    """What a server does instead of what S3 does."""

    server: str
    check: str
    instead: str


DIFFERENCES = (
    Difference("moto", "a wrong Content-MD5 is refused", "stored"),
    Difference("moto", "a wrong CRC-32 is refused", "stored"),
    Difference("moto", "an expired URL is refused", "served"),
    Difference("moto", "a tampered URL is refused", "served"),
    Difference("moto", "an unknown key is refused", "served"),
    Difference("seaweed", "Glacier is not read before it is restored", "read at once"),
    Difference("seaweed", "Glacier is restored", "MethodNotAllowed"),
    *(Difference("seaweed", f"key {key!r}", "another key") for key in ("a//b", "/lead", "a\\b")),
    *(Difference("seaweed", f"key {key!r}", "InvalidRequest") for key in ("a/./b", "a/../b")),
    Difference("seaweed", "key 'trail/'", "other bytes"),
    Difference("seaweed", f"key {'s' * 300!r}", "KeyTooLongError"),
)
INSTEAD = {(one.server, one.check): one.instead for one in DIFFERENCES}


@pytest.fixture(params=["seaweed", "moto"])
def far(request: pytest.FixtureRequest) -> FarSide:
    server = request.getfixturevalue(request.param)
    assert isinstance(server, FarSide)
    return server


def outcome(act: Callable[[], Any], *, done: str) -> str:
    """Return the code with which S3 refuses what `act` asks for, or `done`."""
    try:
        act()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return done


def expect(far: FarSide, check: str, found: str, *, right: str | set[str]) -> None:
    """Fail unless the server does what S3 does, or just what it is known to do instead."""
    known = INSTEAD.get((far.name, check))
    if known is not None:
        assert found == known, f"{far.name}: {check}: it is known for {known!r}"
    else:
        assert found in ({right} if isinstance(right, str) else right), f"{far.name}: {check}"


# -- bytes and their digests ----------------------------------------------------------------------------------------


def test_the_etag_of_a_put_is_the_md5_of_its_bytes(far: FarSide) -> None:
    """What the reply says, what HEAD says and what a listing says is the same."""
    client, bucket = far.shared, far.bucket()
    etag = f'"{hashlib.md5(b"bytes").hexdigest()}"'
    assert client.put_object(Bucket=bucket, Key="k", Body=b"bytes")["ETag"] == etag
    assert client.head_object(Bucket=bucket, Key="k")["ETag"] == etag
    assert client.list_objects_v2(Bucket=bucket)["Contents"][0]["ETag"] == etag


def test_the_etag_of_an_upload_in_parts_is_that_of_its_parts(far: FarSide) -> None:
    """Each part's ETag is its MD5, and the whole one's the MD5 of those, with their number; their order is free."""
    client, bucket = far.shared, far.bucket()
    parts = [bytes([number]) * (5 * MIB if number < 2 else 7) for number in range(3)]
    upload = client.create_multipart_upload(
        Bucket=bucket, Key="k", ContentType="video/mxf", Metadata={"show": "apollo"}, Tagging="a=1"
    )
    named = {"Bucket": bucket, "Key": "k", "UploadId": upload["UploadId"]}
    etags = {}
    for number in (2, 0, 1):
        etags[number] = client.upload_part(**named, PartNumber=number + 1, Body=parts[number])["ETag"]
        assert etags[number].strip('"') == hashlib.md5(parts[number]).hexdigest()
    assert far.uploads(bucket) == ["k"]
    assert "Contents" not in client.list_objects_v2(Bucket=bucket)
    done = client.complete_multipart_upload(
        **named,
        MultipartUpload={"Parts": [{"PartNumber": number + 1, "ETag": etags[number]} for number in range(3)]},
    )
    whole = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
    assert done["ETag"].strip('"') == f"{whole}-3"
    head = client.head_object(Bucket=bucket, Key="k")
    assert (head["ContentLength"], head["ContentType"], head["Metadata"]) == (
        10 * MIB + 7,
        "video/mxf",
        {"show": "apollo"},
    )
    assert client.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [{"Key": "a", "Value": "1"}]
    assert client.get_object(Bucket=bucket, Key="k")["Body"].read() == b"".join(parts)


def test_a_part_that_is_not_the_one_that_was_sent_completes_nothing(far: FarSide) -> None:
    """A wrong ETag or a part that is too small is refused, and an abort leaves nothing behind."""
    client, bucket = far.shared, far.bucket()
    named = {"Bucket": bucket, "Key": "k"}
    named["UploadId"] = client.create_multipart_upload(**named)["UploadId"]
    small = [
        {"PartNumber": number, "ETag": client.upload_part(**named, PartNumber=number, Body=b"x")["ETag"]}
        for number in (1, 2)
    ]
    wrong = [{"PartNumber": 1, "ETag": '"00000000000000000000000000000000"'}]
    for parts, code in ((wrong, "InvalidPart"), (small, "EntityTooSmall")):
        asked = {**named, "MultipartUpload": {"Parts": parts}}
        assert outcome(lambda asked=asked: client.complete_multipart_upload(**asked), done="completed") == code  # type: ignore[misc]
    client.abort_multipart_upload(**named)
    assert far.uploads(bucket) == []
    assert far.contents(bucket) == {}
    assert outcome(lambda: client.list_parts(**named), done="still there") == "NoSuchUpload"


def test_ranges_are_what_was_asked_for(far: FarSide) -> None:
    """A range is served with its place in the whole; one beyond the end is refused."""
    body = bytes(range(256)) * 8
    client, bucket = far.shared, far.bucket({"k": body})
    for asked, start, end in (("0-0", 0, 1), ("5-1000", 5, 1001), ("2000-", 2000, 2048), ("-48", 2000, 2048)):
        reply = client.get_object(Bucket=bucket, Key="k", Range=f"bytes={asked}")
        assert reply["ContentRange"] == f"bytes {start}-{end - 1}/2048"
        assert reply["Body"].read() == body[start:end]
    beyond = outcome(lambda: client.get_object(Bucket=bucket, Key="k", Range="bytes=2048-"), done="served")
    assert beyond == "InvalidRange"


def test_a_read_is_pinned_by_its_etag(far: FarSide) -> None:
    """With If-Match no other object of the same key is served; with If-None-Match none that is there is replaced."""
    client, bucket = far.shared, far.bucket({"k": b"old"})
    etag = client.head_object(Bucket=bucket, Key="k")["ETag"]
    assert client.get_object(Bucket=bucket, Key="k", IfMatch=etag, Range="bytes=1-")["Body"].read() == b"ld"
    client.put_object(Bucket=bucket, Key="k", Body=b"new")
    changed = outcome(lambda: client.get_object(Bucket=bucket, Key="k", IfMatch=etag), done="served")
    assert changed == "PreconditionFailed"
    taken = outcome(lambda: client.put_object(Bucket=bucket, Key="k", Body=b"x", IfNoneMatch="*"), done="stored")
    assert taken == "PreconditionFailed"
    assert far.contents(bucket) == {"k": b"new"}


def test_damaged_bytes_are_refused(far: FarSide) -> None:
    """A digest that is not that of the bytes, and the bytes are not stored."""
    client, bucket = far.shared, far.bucket()
    md5 = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    crc = base64.b64encode(zlib.crc32(b"other").to_bytes(4, "big")).decode()
    for check, given, right in (
        ("a wrong Content-MD5 is refused", {"ContentMD5": md5}, {"BadDigest", "InvalidDigest"}),
        ("a wrong CRC-32 is refused", {"ChecksumCRC32": crc}, {"BadDigest", "InvalidRequest", "InvalidDigest"}),
    ):
        found = outcome(
            lambda given=given: client.put_object(Bucket=bucket, Key="k", Body=b"bytes", **given),  # type: ignore[misc]
            done="stored",
        )
        expect(far, check, found, right=right)
    assert set(far.contents(bucket)) == ({"k"} if far.name == "moto" else set())


@pytest.mark.parametrize("kind", ["CRC32", "CRC32C", "SHA1", "SHA256", "CRC64NVME"])
def test_the_checksum_that_came_with_the_bytes_comes_back(far: FarSide, kind: str) -> None:
    """HEAD tells the digest that S3 has checked, and it is that of the bytes."""
    client, bucket = far.shared, far.bucket()
    client.put_object(Bucket=bucket, Key="k", Body=b"123456789", ChecksumAlgorithm=kind)
    head = client.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    known = {
        "CRC32": "y/Q5Jg==",
        "CRC32C": "4waSgw==",
        "SHA1": base64.b64encode(hashlib.sha1(b"123456789").digest()).decode(),
        "SHA256": base64.b64encode(hashlib.sha256(b"123456789").digest()).decode(),
        "CRC64NVME": base64.b64encode(bytes.fromhex("ae8b14860a799888")).decode(),
    }
    assert head[f"Checksum{kind}"] == known[kind]


# -- keys and listings ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ODD_KEYS, ids=lambda key: repr(key)[:20])
def test_a_key_is_what_it_is(far: FarSide, key: str) -> None:
    """Whatever its letters are, the object comes back under the key that it was put with, and no other."""
    client, bucket = far.shared, far.bucket()

    def there_and_back() -> str:
        client.put_object(Bucket=bucket, Key=key, Body=b"bytes")
        if client.get_object(Bucket=bucket, Key=key)["Body"].read() != b"bytes":
            return "other bytes"
        listed = [one["Key"] for one in client.list_objects_v2(Bucket=bucket)["Contents"]]
        return "the same" if listed == [key] else "another key"

    try:
        found = there_and_back()
    except ClientError as error:
        found = str(error.response["Error"]["Code"])
    expect(far, f"key {key!r}", found, right="the same")


@pytest.fixture(scope="module", params=["seaweed", "moto"])
def many(request: pytest.FixtureRequest) -> Iterator[tuple[FarSide, str]]:
    """A bucket of three pages; in the end it is removed with all that is in it, as an operator would do that."""
    far = request.getfixturevalue(request.param)
    bucket = far.bucket()
    names = [f"k/{number:05}" for number in range(MANY)]
    if far.name == "moto":
        _into_moto(bucket, names)
    else:
        _put_quickly(far, bucket, names)
    yield far, bucket
    if far.name == "moto":
        return  # it is gone with the process
    told = run("s3", "rb", "--force", "--yes", f"s3://{bucket}", environ=far.environ).expect()
    assert f"removed {MANY:,} objects" in told.stderr


def _into_moto(bucket: str, names: list[str]) -> None:
    """Put objects into the server, which lives in this process."""
    from moto.s3.models import s3_backends

    store = s3_backends["123456789012"]["aws"]
    for name in names:
        store.put_object(bucket, name, b"")


def _put_quickly(far: FarSide, bucket: str, names: list[str]) -> None:
    """Put empty objects by signed URLs over a few connections: a client would take most of the test's time."""
    client = far.shared
    urls = [
        client.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": name}, ExpiresIn=600)
        for name in names
    ]

    def put(some: list[str]) -> None:
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(far.endpoint).netloc)
        for url in some:
            connection.request("PUT", url.removeprefix(far.endpoint), body=b"")
            reply = connection.getresponse()
            assert (reply.status, reply.read()) == (200, b"")
        connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, (urls[start::4] for start in range(4))))


def test_a_listing_of_several_pages_is_in_order(many: tuple[FarSide, str]) -> None:
    """2,500 keys come in three pages, each key once, in the order of their bytes; a listing begins anywhere."""
    far, bucket = many
    client = far.shared
    pages = list(client.get_paginator("list_objects_v2").paginate(Bucket=bucket))
    assert [len(page["Contents"]) for page in pages] == [1000, 1000, 500]
    keys = [one["Key"] for page in pages for one in page["Contents"]]
    assert keys == sorted(set(keys))
    after = client.list_objects_v2(Bucket=bucket, StartAfter="k/01500", MaxKeys=2)["Contents"]
    assert [one["Key"] for one in after] == ["k/01501", "k/01502"]
    assert client.list_objects_v2(Bucket=bucket, Delimiter="/")["CommonPrefixes"] == [{"Prefix": "k/"}]


@pytest.mark.parametrize("many", ["seaweed"], indirect=True)
def test_our_own_listing_goes_through_all_pages(many: tuple[FarSide, str]) -> None:
    """`ds3tool s3 ls -r` shows what is there, and only that."""
    far, bucket = many
    lines = run("s3", "ls", "-r", "-o", "ndjson", f"s3://{bucket}", environ=far.environ).expect().lines
    assert [one["key"] for one in lines] == [f"k/{number:05}" for number in range(MANY)]


@pytest.mark.parametrize("many", ["seaweed"], indirect=True)
def test_a_reader_that_goes_early_ends_a_listing_quietly(many: tuple[FarSide, str]) -> None:
    """`ds3tool s3 ls -r ... | head` leaves no complaint behind."""
    far, bucket = many
    with subprocess.Popen(
        [sys.executable, "-m", "ds3tool", "s3", "ls", "-r", f"s3://{bucket}"],
        env={**os.environ, **far.environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode in (0, 1)


# -- who may ask ----------------------------------------------------------------------------------------------------


def test_a_signed_url_serves_who_has_it(far: FarSide) -> None:
    """A good one is served; an expired one, one that was changed and one of an unknown key are not."""
    bucket = far.bucket({"k": b"bytes", "other": b"secret"})
    client = far.shared

    def signed() -> str:
        return str(client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"}, ExpiresIn=60))

    assert fetched(far, signed()) == (200, b"bytes")
    assert fetched(far, signed_before(far, bucket, timedelta(0))) == (200, b"bytes")
    checks = {
        "an expired URL is refused": signed_before(far, bucket, timedelta(hours=1)),
        "a tampered URL is refused": signed().replace(f"/{bucket}/k?", f"/{bucket}/other?"),
        "an unknown key is refused": signed().replace(far.access_key, "nobody"),
    }
    for check, url in checks.items():
        status, _ = fetched(far, url)
        expect(far, check, "served" if status == 200 else str(status), right="403")


def fetched(far: FarSide, url: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(far.endpoint).netloc)
    connection.request("GET", url.removeprefix(far.endpoint))
    reply = connection.getresponse()
    status, body = reply.status, reply.read()
    connection.close()
    return status, body


def signed_before(far: FarSide, bucket: str, age: timedelta) -> str:
    """Return a URL that was signed so long ago, for a minute."""
    from botocore.auth import S3SigV4QueryAuth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    request = AWSRequest("GET", f"{far.endpoint}/{bucket}/k")
    then = datetime.now(UTC) - age
    auth = S3SigV4QueryAuth(Credentials(far.access_key, far.secret_key), "s3", "us-east-1", expires=60)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.auth.get_current_datetime", lambda: then.replace(tzinfo=None))
        auth.add_auth(request)
    return str(request.url)


# -- what an object has beside its bytes ----------------------------------------------------------------------------


def test_metadata_headers_and_tags_come_back(far: FarSide) -> None:
    """What was said of an object is said again, by HEAD, by GET and by a copy of it."""
    client, bucket = far.shared, far.bucket()
    headers = {
        "ContentType": "text/x-log",
        "ContentEncoding": "gzip",
        "ContentLanguage": "de",
        "ContentDisposition": 'attachment; filename="x"',
        "CacheControl": "no-store",
    }
    client.put_object(
        Bucket=bucket, Key="k", Body=b"bytes", Metadata={"show": "apollo", "n": "1"}, Tagging="a=1&b=x%20y", **headers
    )
    client.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "k"})
    for key in ("k", "copy"):
        for reply in (client.head_object(Bucket=bucket, Key=key), client.get_object(Bucket=bucket, Key=key)):
            assert {name: reply[name] for name in headers} == headers
            assert reply["Metadata"] == {"show": "apollo", "n": "1"}
        tags = client.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
        assert {one["Key"]: one["Value"] for one in tags} == {"a": "1", "b": "x y"}
    assert client.get_object(Bucket=bucket, Key="k")["TagCount"] == 2


def test_an_archived_object_is_read_only_once_it_is_restored(far: FarSide) -> None:
    """Of GLACIER no byte comes before somebody has asked for it, and HEAD tells when it is there."""
    client, bucket = far.shared, far.bucket()
    client.put_object(Bucket=bucket, Key="k", Body=b"bytes", StorageClass="GLACIER")
    assert client.list_objects_v2(Bucket=bucket)["Contents"][0]["StorageClass"] == "GLACIER"
    assert client.head_object(Bucket=bucket, Key="k")["StorageClass"] == "GLACIER"
    found = outcome(lambda: client.get_object(Bucket=bucket, Key="k"), done="read at once")
    expect(far, "Glacier is not read before it is restored", found, right="InvalidObjectState")
    asked = {"Days": 1, "GlacierJobParameters": {"Tier": "Bulk"}}
    found = outcome(lambda: client.restore_object(Bucket=bucket, Key="k", RestoreRequest=asked), done="restored")
    expect(far, "Glacier is restored", found, right="restored")
    if found == "restored":
        assert 'ongoing-request="false"' in client.head_object(Bucket=bucket, Key="k")["Restore"]
        assert client.get_object(Bucket=bucket, Key="k")["Body"].read() == b"bytes"


def test_every_difference_is_one_that_is_looked_at() -> None:
    """The table names no server and no key that no test asks for."""
    assert {one.server for one in DIFFERENCES} <= {"seaweed", "moto"}
    assert len(INSTEAD) == len(DIFFERENCES)
    keys = {one.check for one in DIFFERENCES if one.check.startswith("key ")}
    assert keys <= {f"key {key!r}" for key in ODD_KEYS}
