"""Simulated Lotame: its API, its hourly files, and a bucket that speaks enough of S3 for boto3 and for curl alike."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ResponseStreamingError

from ds3tool.clock import ManualClock
from ds3tool.errors import UsageError
from ds3tool.simulator.lotame.service import LotameFault, LotameSimulator, LotameSimulatorSettings, SimulatedFeed

NOW = 1_767_225_600 + 1200.0  # 2026-01-01 00:20 UTC
HOUR = 3600
Json = Any
S3 = Any  # boto3 makes its types at run time


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def lotame(clock: ManualClock) -> Iterator[LotameSimulator]:
    with LotameSimulator(LotameSimulatorSettings(clock=clock, seed=3, slow_seconds=0.05)) as simulator:
        yield simulator


class Asker:
    """Asks the API with nothing but a socket's HTTP, and the bucket with boto3 as anybody would."""

    def __init__(self, lotame: LotameSimulator) -> None:
        self.lotame = lotame

    def raw(self, path: str, *, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
        address = urlsplit(self.lotame.base_url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
        known = {"x-lotame-token": self.lotame.token, "x-lotame-access": self.lotame.access}
        try:
            connection.request("GET", path, headers=known if headers is None else headers)
            reply = connection.getresponse()
            return reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read()
        finally:
            connection.close()

    def ask(self, call: str, **query: object) -> Json:
        told = {"client_id": self.lotame.client_id, **query}
        status, _, body = self.raw(f"/2/firehose/{call}?{urlencode(told)}")
        assert status == 200, body
        return json.loads(body)

    def s3(self, credentials: Json, **changed: str) -> S3:
        return boto3.client(
            "s3",
            endpoint_url=self.lotame.s3_endpoint,
            region_name=changed.get("region", "us-east-1"),
            aws_access_key_id=changed.get("key", credentials["accessKeyId"]),
            aws_secret_access_key=changed.get("secret", credentials["secretAccessKey"]),
            aws_session_token=changed.get("token", credentials["sessionToken"]),
            config=Config(retries={"total_max_attempts": 1}),
        )


@pytest.fixture
def asker(lotame: LotameSimulator) -> Asker:
    return Asker(lotame)


@pytest.fixture
def s3(asker: Asker) -> S3:
    return asker.s3(asker.ask("updates")["s3creds"])


def place(lotame: LotameSimulator, number: int = 0, feed: int = 9001) -> dict[str, str]:
    return {"Bucket": "lotame-firehose.example", "Key": lotame.stored(feed, lotame.files(feed)[number]).key}


def code(failure: pytest.ExceptionInfo[ClientError]) -> tuple[int, str]:
    answer = failure.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


# -- the API ----------------------------------------------------------------------------------------------------------


def test_answers_have_lotames_shape(asker: Asker) -> None:
    """Keys, their case that differs between the calls, and what an empty feed leaves out are as the cookbook has it."""
    assert asker.ask("feeds")["feeds"][0] == {
        "id": 9001,
        "clientId": 4321,
        "type": "client",
        "profileType": "cookie",
        "metadataFile": "s3://lotame-firehose.example/export/v=2.1/4321/meta/behaviors.json.gz",
    }
    updates = asker.ask("updates")
    full, _, empty = updates["feeds"]
    assert full["location"] == "s3://lotame-firehose.example/export/v=2.1/4321/na/cookie"
    assert set(full) == {"id", "location", "files", "metaDataFile"}
    assert set(empty) == {"id", "files", "metaDataFile"}
    assert set(updates["s3creds"]) == {"accessKeyId", "secretAccessKey", "sessionToken", "expiration"}
    assert updates["s3creds"]["expiration"] == (NOW + HOUR) * 1000


def test_hours_come_with_the_clock(lotame: LotameSimulator, asker: Asker, clock: ManualClock) -> None:
    """Three hours are there at first, two files each; an hour later there are two more, some minutes after the hour."""
    before = lotame.files(9001)
    assert len(before) == 6
    clock.advance(HOUR)
    after = asker.ask("updates", feed_id=9001)["feeds"][0]["files"]
    assert after[:6] == before
    assert len(after) == 8
    assert asker.ask("updates", feed_id=9001, since=int(NOW))["feeds"][0]["files"] == after[6:]


def test_an_hour_appears_some_minutes_after_its_end() -> None:
    """Who asks on the hour's stroke does not have it yet."""
    clock = ManualClock(1_767_225_600.0)
    with LotameSimulator(LotameSimulatorSettings(clock=clock, hours=1, feeds=(SimulatedFeed(1),))) as lotame:
        assert lotame.files(1) == []
        clock.advance(600)
        assert len(lotame.files(1)) == 2


def test_one_seed_makes_the_same_files(clock: ManualClock) -> None:
    """Names and bytes are repeated by a seed, and differ by another."""

    def made(seed: int) -> list[tuple[str, str]]:
        simulator = LotameSimulator(LotameSimulatorSettings(clock=clock, seed=seed))
        simulator.close()
        return [(name, simulator.stored(9002, name).etag) for name in simulator.files(9002)]

    assert made(5) == made(5) != made(6)


def test_lines_are_profiles_of_their_hour(lotame: LotameSimulator) -> None:
    """Each file is gzip of JSON lines with the fields of DataStream, mobile ones with a kind of id."""
    for feed, kind in ((9001, "cookie"), (9002, "mobile")):
        stored = lotame.stored(feed, lotame.files(feed)[0])
        lines = [json.loads(line) for line in gzip.decompress(stored.data).splitlines()]
        assert len(lines) == 20
        for line in lines:
            assert line["id"]["type"] == kind
            assert ("sub_type" in line["id"]) == (kind == "mobile")
            (event,) = line["events"]
            assert set(event) == {"tap", "c", "subSrc", "ts", "add", "remove"}
            assert 0 <= stored.modified - event["ts"] <= HOUR + 600


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/2/firehose/feeds?client_id=4321", {}, 401),
        ("/2/firehose/feeds?client_id=4321", {"x-lotame-token": "simulated-token"}, 401),
        ("/2/firehose/feeds?client_id=4321", {"x-lotame-token": "no", "x-lotame-access": "no"}, 403),
        ("/2/firehose/feeds", None, 400),
        ("/2/firehose/feeds?client_id=1", None, 403),
        ("/2/firehose/nothing?client_id=4321", None, 404),
        ("/2/firehose/updates?client_id=4321&feed_id=5", None, 404),
        ("/2/firehose/updates?client_id=4321&since=yesterday", None, 400),
    ],
)
def test_a_wrong_question_is_refused(asker: Asker, path: str, headers: dict[str, str] | None, status: int) -> None:
    """Token, access key, client and feed are checked; refusals are JSON with a message."""
    got, told, body = asker.raw(path, headers=headers)
    assert got == status
    assert told["content-type"] == "application/json"
    assert json.loads(body)["message"]


def test_a_mapping_file_on_the_web_needs_no_token(asker: Asker, lotame: LotameSimulator) -> None:
    """One feed's is there for whoever has its address."""
    address = asker.ask("feeds")["feeds"][1]["metadataFile"]
    status, _, body = asker.raw(urlsplit(address).path, headers={})
    assert status == 200
    assert json.loads(gzip.decompress(body).splitlines()[0]) == {
        "behavior_id": 100,
        "hierarchy_nodes": [{"id": 555, "path": "Example Hierarchy^Sports^Kind 100"}],
    }
    assert [one.door for one in lotame.asked()] == ["api", "web"]


@pytest.mark.parametrize(
    ("fault", "status", "kind", "words"),
    [
        ("api-401", 401, "json", b"expired"),
        ("api-403-json", 403, "json", b"access key"),
        ("api-403-html", 403, "html", b"<html>"),
        ("api-redirect", 302, "html", b""),
        ("api-429", 429, "json", b"Rate limit"),
        ("api-500", 500, "html", b"500"),
        ("api-no-feeds", 200, "json", b"maintenance"),
        ("api-html-200", 200, "html", b"sign in"),
        ("api-wrong-types", 200, "json", b'"feeds": "none today"'),
    ],
)
def test_each_fault_has_its_shape_and_passes(
    asker: Asker, lotame: LotameSimulator, fault: str, status: int, kind: str, words: bytes
) -> None:
    """A fault that is to strike once strikes once, and is counted."""
    lotame.faults.once(fault)
    got, headers, body = asker.raw("/2/firehose/feeds?client_id=4321")
    assert (got, kind in headers["content-type"], words in body) == (status, True, True)
    assert headers.get("retry-after") == ("7" if status == 429 else None)
    assert ("location" in headers) == (status == 302)
    assert len(asker.ask("feeds")["feeds"]) == 3
    assert lotame.faults.struck(fault) == 1
    assert [one.status for one in lotame.asked("api")] == [status, 200]


def test_answers_that_do_not_arrive_whole(asker: Asker, lotame: LotameSimulator) -> None:
    """Half of the JSON as if it were all, a body that ends early, no answer, a slow one: each is what it says."""
    whole = asker.ask("feeds")
    lotame.faults.once("api-truncated")
    status, _, body = asker.raw("/2/firehose/feeds?client_id=4321")
    assert status == 200
    with pytest.raises(ValueError, match="line 1"):
        json.loads(body)
    lotame.faults.once("api-cut")
    with pytest.raises(http.client.IncompleteRead):
        asker.ask("feeds")
    lotame.faults.once("api-no-answer")
    with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected)):
        asker.ask("feeds")
    lotame.faults.once("api-slow")
    assert asker.ask("feeds") == whole


def test_faults_have_rates_and_a_seed(lotame: LotameSimulator, asker: Asker) -> None:
    """A rate strikes its share, the same for one seed; what nobody knows is refused."""

    def strikes() -> list[bool]:
        with LotameSimulator(LotameSimulatorSettings(seed=9)) as other:
            other.faults.set("api-500", 0.5)
            asking = Asker(other)
            return [asking.raw("/2/firehose/feeds?client_id=4321")[0] == 500 for _ in range(20)]

    first = strikes()
    assert first == strikes()
    assert 3 <= sum(first) <= 17
    with pytest.raises(UsageError, match="no fault 'rain'"):
        lotame.faults.set("rain", 1.0)
    with pytest.raises(UsageError, match="rate"):
        lotame.faults.set("api-500", 2.0)
    lotame.faults.set("api-500", 1.0)
    lotame.faults.clear()
    assert asker.ask("feeds")


def test_every_fault_tells_what_it_does() -> None:
    """Each has its sentence, and the mistake that it shows up."""
    for fault in LotameFault:
        assert fault.what
        assert fault.exposes


# -- the bucket -------------------------------------------------------------------------------------------------------


def test_the_bucket_is_read_with_boto3(lotame: LotameSimulator, s3: S3) -> None:
    """HEAD, GET, a range from either end, and the ETag, which is the MD5."""
    where, data = place(lotame), lotame.stored(9001, lotame.files(9001)[0]).data
    told = s3.head_object(**where)
    assert told["ContentLength"] == len(data)
    assert told["ETag"] == f'"{hashlib.md5(data).hexdigest()}"'
    assert NOW - 4 * HOUR < told["LastModified"].timestamp() < NOW
    assert s3.get_object(**where)["Body"].read() == data
    for header, part in (("bytes=5-9", data[5:10]), ("bytes=5-", data[5:]), ("bytes=-7", data[-7:])):
        answer = s3.get_object(**where, Range=header)
        assert answer["Body"].read() == part
        assert answer["ContentRange"].endswith(f"/{len(data)}")
    assert s3.get_object(**where, Range=f"bytes=0-{len(data) + 9}")["Body"].read() == data
    with pytest.raises(ClientError) as failure:
        s3.get_object(**where, Range=f"bytes={len(data)}-")
    assert code(failure) == (416, "InvalidRange")


def test_a_pinned_read_of_what_has_changed_is_refused(lotame: LotameSimulator, s3: S3) -> None:
    """If-Match holds only while the bytes are the same."""
    where = place(lotame)
    etag = s3.head_object(**where)["ETag"]
    assert s3.get_object(**where, IfMatch=etag)["ETag"] == etag
    assert s3.get_object(**where, IfMatch=etag.strip('"'))["ETag"] == etag
    lotame.replace(9001, lotame.files(9001)[0], b"others")
    with pytest.raises(ClientError) as failure:
        s3.get_object(**where, IfMatch=etag)
    assert code(failure) == (412, "PreconditionFailed")


def test_the_bucket_is_listed(lotame: LotameSimulator, s3: S3) -> None:
    """Pages of any length tell each key once, in order; a delimiter folds what is behind it."""
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket="lotame-firehose.example", Prefix="export/", PaginationConfig={"PageSize": 4}
    )
    found = [one for page in pages for one in page["Contents"]]
    keys = [one["Key"] for one in found]
    assert keys == sorted(set(keys))
    assert len(keys) == 6 + 6 + 1
    assert all(one["Size"] and len(one["ETag"]) == 34 for one in found)
    folders = s3.list_objects_v2(Bucket="lotame-firehose.example", Prefix="export/v=2.1/4321/", Delimiter="/")
    assert [one["Prefix"] for one in folders["CommonPrefixes"]] == [
        "export/v=2.1/4321/meta/",
        "export/v=2.1/4321/na/",
    ]
    assert folders["KeyCount"] == 2


def test_odd_names_are_listed_and_read(lotame: LotameSimulator, s3: S3) -> None:
    """A name with blanks, signs and letters of any kind is a name."""
    key = lotame.add_file(9001, "a b+c&<é>%.gz", b"bytes")
    assert s3.get_object(Bucket="lotame-firehose.example", Key=key)["Body"].read() == b"bytes"
    listed = s3.list_objects_v2(Bucket="lotame-firehose.example", Prefix=key)
    assert [one["Key"] for one in listed["Contents"]] == [key]


def test_only_issued_credentials_open_it(lotame: LotameSimulator, asker: Asker) -> None:
    """An unknown key, a wrong secret, a wrong token and none at all are told apart, as S3 does."""
    issued = asker.ask("updates")["s3creds"]
    for changed, expected in (
        ({"key": "ASIANOBODY"}, (403, "InvalidAccessKeyId")),
        ({"secret": "wrong"}, (403, "SignatureDoesNotMatch")),
        ({"token": "wrong"}, (400, "InvalidToken")),
    ):
        with pytest.raises(ClientError) as failure:
            asker.s3(issued, **changed).get_object(**place(lotame))
        assert code(failure) == expected
    address = urlsplit(lotame.s3_endpoint)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    connection.request("GET", f"/lotame-firehose.example/{quote(place(lotame)['Key'])}")
    assert connection.getresponse().status == 403
    connection.close()


def test_a_signature_for_another_region_is_refused(lotame: LotameSimulator, asker: Asker) -> None:
    """The answer names the right one, so that boto3 comes again with that."""
    s3 = asker.s3(asker.ask("updates")["s3creds"], region="eu-west-1")
    assert s3.get_object(**place(lotame))["ETag"] == s3.head_object(**place(lotame))["ETag"]
    assert [one.status for one in lotame.asked("s3")] == [400, 200, 200]


def test_credentials_are_over_by_the_clock(lotame: LotameSimulator, s3: S3, clock: ManualClock) -> None:
    """To the second at which they said they would be; a HEAD tells it by its status alone."""
    clock.advance(HOUR - 1)
    s3.head_object(**place(lotame))
    clock.advance(1)
    with pytest.raises(ClientError) as failure:
        s3.get_object(**place(lotame))
    assert code(failure) == (400, "ExpiredToken")
    with pytest.raises(ClientError) as failure:
        s3.head_object(**place(lotame))
    assert code(failure) == (400, "400")


def test_credentials_are_over_after_so_many_requests(lotame: LotameSimulator, asker: Asker) -> None:
    """The fourth request with what is good for three is refused; others are not touched by that."""
    lotame.credentials.requests = 3
    s3, other = (asker.s3(asker.ask("updates")["s3creds"]) for _ in range(2))
    for _ in range(3):
        s3.head_object(**place(lotame))
    with pytest.raises(ClientError) as failure:
        s3.get_object(**place(lotame))
    assert code(failure) == (400, "ExpiredToken")
    other.head_object(**place(lotame))
    lotame.credentials.expire_all()
    with pytest.raises(ClientError):
        other.head_object(**place(lotame))


def test_credentials_open_only_the_feeds_of_their_answer(lotame: LotameSimulator, asker: Asker) -> None:
    """Those that came with one feed's news read its files and its mapping file, and no other's."""
    s3 = asker.s3(asker.ask("updates", feed_id=9001)["s3creds"])
    s3.head_object(**place(lotame))
    s3.head_object(Bucket="lotame-firehose.example", Key="export/v=2.1/4321/meta/behaviors.json.gz")
    with pytest.raises(ClientError) as failure:
        s3.get_object(**place(lotame, feed=9002))
    assert code(failure) == (403, "AccessDenied")


def test_a_file_that_is_gone_is_still_listed_by_lotame(lotame: LotameSimulator, asker: Asker, s3: S3) -> None:
    """404 for what the API goes on naming."""
    where, name = place(lotame), lotame.files(9001)[0]
    lotame.remove(9001, name)
    assert name in asker.ask("updates")["feeds"][0]["files"]
    with pytest.raises(ClientError) as failure:
        s3.get_object(**where)
    assert code(failure) == (404, "NoSuchKey")
    with pytest.raises(KeyError):
        lotame.remove(9001, name)


def test_a_gzip_cut_short_is_a_whole_object(lotame: LotameSimulator, s3: S3) -> None:
    """Its ETag is that of its bytes, and only whoever unpacks it notices."""
    lotame.cut_gzip(9001, lotame.files(9001)[0])
    answer = s3.get_object(**place(lotame))
    data = answer["Body"].read()
    assert answer["ETag"] == f'"{hashlib.md5(data).hexdigest()}"'
    with pytest.raises(EOFError):
        gzip.decompress(data)


def test_faults_of_the_bucket(lotame: LotameSimulator, s3: S3) -> None:
    """A missing file, a refusal for load, a body cut in transit, a reset, a slow body, expired tokens."""
    where, data = place(lotame), lotame.stored(9001, lotame.files(9001)[0]).data
    for fault, expected in (("s3-missing", (404, "NoSuchKey")), ("s3-slow-down", (503, "SlowDown"))):
        lotame.faults.once(fault)
        with pytest.raises(ClientError) as failure:
            s3.get_object(**where)
        assert code(failure) == expected
    lotame.faults.once("s3-cut")
    with pytest.raises(ResponseStreamingError):
        s3.get_object(**where)["Body"].read()
    lotame.faults.once("s3-slow")
    assert s3.get_object(**where)["Body"].read() == data
    lotame.faults.once("s3-reset")
    with pytest.raises(Exception, match="onnection"):
        s3.get_object(**where)
    lotame.faults.once("s3-expired")
    with pytest.raises(ClientError) as failure:
        s3.get_object(**where)
    assert code(failure) == (400, "ExpiredToken")
    assert [one.status for one in lotame.asked("s3")] == [404, 503, 200, 200, 0, 400]


def test_what_it_does_not_imitate_is_refused(lotame: LotameSimulator, s3: S3) -> None:
    """Writing, the old list and other buckets are errors that say so."""
    bucket, key = place(lotame).values()
    for call, parameters, expected in (
        ("put_object", {"Bucket": bucket, "Key": key, "Body": b"x"}, (405, "MethodNotAllowed")),
        ("delete_object", {"Bucket": bucket, "Key": key}, (405, "MethodNotAllowed")),
        ("list_objects", {"Bucket": bucket}, (501, "NotImplemented")),
        ("list_objects_v2", {"Bucket": "another"}, (404, "NoSuchBucket")),
    ):
        with pytest.raises(ClientError) as failure:
            getattr(s3, call)(**parameters)
        assert code(failure) == expected


# -- as a whole -------------------------------------------------------------------------------------------------------


def test_nothing_is_left_running() -> None:
    """Once it is closed, twice even, its ports refuse and its threads are gone."""
    before = set(threading.enumerate())
    with LotameSimulator() as lotame:
        assert Asker(lotame).ask("feeds")
        ports = [urlsplit(url).port or 0 for url in (lotame.base_url, lotame.s3_endpoint)]
    lotame.close()
    assert set(threading.enumerate()) <= before
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))


def test_a_slow_answer_does_not_hold_up_the_end(clock: ManualClock) -> None:
    """Closing waits for no pause."""
    with LotameSimulator(LotameSimulatorSettings(clock=clock, slow_seconds=3600.0)) as lotame:
        lotame.faults.once("api-slow")
        address = urlsplit(lotame.base_url)
        peer = socket.create_connection((address.hostname or "", address.port or 0))
        head = f"x-lotame-token: {lotame.token}\r\nx-lotame-access: {lotame.access}\r\nHost: x\r\n\r\n"
        peer.sendall(f"GET /2/firehose/feeds?client_id=4321 HTTP/1.1\r\n{head}".encode())
        assert peer.recv(100)
    peer.close()


def test_settings_that_cannot_be_are_refused() -> None:
    """Negative hours and lives of no length."""
    with pytest.raises(UsageError):
        LotameSimulatorSettings(hours=-1)
    with pytest.raises(UsageError):
        LotameSimulatorSettings(life_seconds=0)


def test_the_environment_leads_to_it(lotame: LotameSimulator) -> None:
    """Whoever takes its variables needs to know nothing else."""
    assert lotame.environ["LOTAME_BASE_URL"] == lotame.base_url
    assert lotame.environ["AWS_ENDPOINT_URL_S3"] == lotame.s3_endpoint
    assert set(lotame.environ) >= {"LOTAME_TOKEN", "LOTAME_ACCESS", "LOTAME_CLIENT_ID", "AWS_REGION"}
