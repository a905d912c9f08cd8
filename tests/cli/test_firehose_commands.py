"""`ds3tool firehose`: what has been delivered is scanned and read, by the commands."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ds3tool.cli.firehose_stack import Destroyed, remove_bucket
from ds3tool.cli.settings import Settings
from tests.cli.runner import Run, run
from tests.cli.test_config_command import on_a_terminal
from tests.far.servers import FarSide
from tests.firehose.delivered import Stream
from tests.firehose.filled import AT, CLICKS

# Objects of a test are stored now, and named after an hour of long ago: only without a margin is such an hour closed.
AT_ONCE = ("--interval", "0s", "--margin", "0s")


def firehose(far: FarSide, *arguments: str, environ: Mapping[str, str] | None = None) -> Run:
    """Run `ds3tool firehose ARGUMENTS` against a server."""
    return run("firehose", *arguments, environ={**far.environ, **(environ or {})})


# -- scan ------------------------------------------------------------------------------------------------------------


def test_a_scan_says_of_each_hour_what_is_in_it_and_whether_it_is_closed(moto: FarSide) -> None:
    """Data and errors are counted apart, what is in no layout is named, and a missing slash is told."""
    slashless = Stream("gps", 3, CLICKS.prefix.replace("data/", "gps/").removesuffix("/"))
    objects = dict.fromkeys(CLICKS.hour(AT, 3), b"12345")
    objects |= {CLICKS.key(AT + timedelta(hours=1)): b"1", CLICKS.key(AT, 7, error="processing-failed"): b"failed"}
    objects |= {slashless.key(AT): b"", "data/notes.txt": b"mine", "data/year=2026/_SUCCESS": b""}
    bucket = moto.bucket(objects)
    told = firehose(moto, "scan", f"s3://{bucket}/", *AT_ONCE, "-o", "json").expect()
    rows = [(row["hour"], row["kind"], row["objects"], row["bytes"], row["closed"]) for row in told.json]
    assert rows == [
        ("2026-01-31T22", "data", 3, 15, True),
        ("2026-01-31T23", "data", 1, 1, True),
        ("2026-01-31T22", "processing-failed", 1, 6, True),
        ("2026-01-31T22", "data", 1, 0, True),
        (None, "other", 2, 4, False),
    ]
    assert told.json[0]["prefix"] == f"s3://{bucket}/data/year=2026/month=01/day=31/hour=22"
    assert told.json[0]["streams"] == ["clicks"]
    assert told.json[4]["keys"] == ["data/notes.txt", "data/year=2026/_SUCCESS"]
    assert "2 objects below" in told.stderr
    assert "data/notes.txt, data/year=2026/_SUCCESS" in told.stderr
    assert "lacks its last slash" in told.stderr
    assert "gps/year=2026/month=01/day=31/hour=22" in told.stderr


def test_an_hour_into_which_something_has_just_come_is_not_closed(moto: FarSide) -> None:
    """Two hours are waited by default since the newest object, and the row says until when."""
    bucket = moto.bucket({CLICKS.key(AT): b"12345"})
    (row,) = firehose(moto, "scan", f"s3://{bucket}/data", "-o", "ndjson").expect().lines
    assert row["closed"] is False
    assert row["why_open"].startswith("something came too short a time ago; closed from 2")
    newest, closes = (datetime.fromisoformat(row[name]) for name in ("newest", "closes"))
    assert closes - newest == timedelta(hours=2)
    told = firehose(moto, "scan", f"s3://{bucket}/data", "-o", "table").expect()
    assert "something came too short a time ago" in told.stdout
    assert "1 partition, 0 of them closed" in told.stderr


def test_the_hour_that_runs_has_not_ended_in_its_own_zone(moto: FarSide) -> None:
    """An hour that is over in UTC may be to come in the stream's time zone, and the other way round."""
    now = datetime.now(UTC)
    bucket = moto.bucket({Stream().key(now - timedelta(hours=3)): b""})
    rows = {
        zone: firehose(moto, "scan", f"s3://{bucket}/", *AT_ONCE, "--timezone", zone, "-o", "json").expect().json[0]
        for zone in ("UTC", "Etc/GMT+12", "Asia/Tokyo")
    }
    assert {zone: row["closed"] for zone, row in rows.items()} == {
        "UTC": True,
        "Etc/GMT+12": False,
        "Asia/Tokyo": True,
    }
    assert rows["Etc/GMT+12"]["why_open"].startswith("it has not ended")


def test_a_scan_of_nothing_says_so(moto: FarSide) -> None:
    """A prefix that holds nothing is not found; a bucket that is not there neither; options are checked first."""
    bucket = moto.bucket()
    assert "there is nothing at" in firehose(moto, "scan", f"s3://{bucket}/no/").expect(4).stderr
    assert f"scan s3://{bucket}/a/\n" in firehose(moto, "scan", f"s3://{bucket}/a/no").expect(4).stderr
    assert f"scan s3://{bucket}/\n" in firehose(moto, "scan", f"s3://{bucket}/no").expect(4).stderr
    firehose(moto, "scan", "s3://no-such-bucket-here/").expect(4)
    firehose(moto, "scan", f"s3://{bucket}/").expect()
    assert "not a time zone" in firehose(moto, "scan", f"s3://{bucket}/", "--timezone", "Nowhere").expect(2).stderr
    assert "not a duration" in firehose(moto, "scan", f"s3://{bucket}/", "--margin", "soon").expect(2).stderr
    assert "not in S3" in firehose(moto, "scan", "ds3://bucket/").expect(2).stderr


# -- read ------------------------------------------------------------------------------------------------------------


def test_records_are_printed_as_they_were_put(moto: FarSide) -> None:
    """JSON that runs together, lines, and gzip that nothing names, one record a line, object after object."""
    bucket = moto.bucket(
        {
            "d/1": b'{"a":1.10}{"b":"x"}',
            "d/2": gzip.compress(b'{"c":\n3}\n{"d":4}\n'),
            "d/3": b"1 2 gps\n3 4 gps\n",
            "d/4": b"",
            "d/": b"",
            "e/5": b"7 8 9 ",
        }
    )
    told = firehose(moto, "read", f"s3://{bucket}/d/").expect()
    assert told.stdout == '{"a":1.10}\n{"b":"x"}\n{"c": 3}\n{"d":4}\n1 2 gps\n3 4 gps\n'
    assert told.stderr == ""
    assert firehose(moto, "read", f"s3://{bucket}/e/5").expect().stdout == "7\n8\n9\n"
    assert firehose(moto, "read", f"s3://{bucket}/e/*", "--format", "lines").expect().stdout == "7 8 9 \n"
    assert firehose(moto, "read", f"s3://{bucket}/e/5", "--raw").expect().stdout == "7\n8\n9\n"
    firehose(moto, "read", f"s3://{bucket}/e/*", "--raw").expect(4)
    rows = firehose(moto, "read", f"s3://{bucket}/d/2", f"s3://{bucket}/d/1", "-o", "ndjson").expect().lines
    assert [(row["key"], row["offset"], row["record"]) for row in rows] == [
        (f"s3://{bucket}/d/2", 0, '{"c":\n3}'),
        (f"s3://{bucket}/d/2", 9, '{"d":4}'),
        (f"s3://{bucket}/d/1", 0, '{"a":1.10}'),
        (f"s3://{bucket}/d/1", 10, '{"b":"x"}'),
    ]


def test_what_cannot_be_read_is_named_and_what_follows_is_read(moto: FarSide) -> None:
    """Broken JSON, a binary table and a cut gzip are told by key and place; the other objects are read."""
    packed = gzip.compress(b'{"whole":1}\n' * 10)
    bucket = moto.bucket(
        {
            "a": b'{"a":1}{"b":wrong}{"c":3}',
            "b": b"PAR1....PAR1",
            "c": packed[:-4],
            "d": b'{"d":4}',
        }
    )
    told = firehose(moto, "read", f"s3://{bucket}/").expect(5)
    assert told.stdout == '{"a":1}\n{"c":3}\n' + '{"whole":1}\n' * 10 + '{"d":4}\n'
    assert f"s3://{bucket}/a, byte 7: 11 bytes unreadable: it is no valid JSON" in told.stderr
    assert f"s3://{bucket}/b: it is Parquet, which is binary" in told.stderr
    assert f"s3://{bucket}/c, byte {len(packed) - 4}: its gzip is cut short" in told.stderr
    assert "3 places could not be read" in told.stderr
    lines = firehose(moto, "read", f"s3://{bucket}/a", "-o", "csv").expect(3).stdout.splitlines()
    assert lines[2] == f"s3://{bucket}/a,7,,11 bytes unreadable: it is no valid JSON: expecting value"
    rows = firehose(moto, "read", f"s3://{bucket}/", "-o", "json").expect(5).json
    assert [row["offset"] for row in rows if row["error"]] == [7, None, len(packed) - 4]


def test_bytes_that_are_no_text_pass_unchanged(moto: FarSide, tmp_path: Path) -> None:
    """A line of any bytes comes out as it is, and as escapes where text is asked for."""
    bucket = moto.bucket({"x": b"\xff\x00one\n\xe4\n"})
    out = tmp_path / "out"
    run("firehose", "read", f"s3://{bucket}/x", environ=moto.environ, into=out).expect()
    assert out.read_bytes() == b"\xff\x00one\n\xe4\n"
    rows = firehose(moto, "read", f"s3://{bucket}/x", "-o", "ndjson").expect().lines
    assert [row["record"].encode("utf-8", "surrogateescape") for row in rows] == [b"\xff\x00one", b"\xe4"]


def test_what_is_not_there_cannot_be_read(moto: FarSide) -> None:
    """A key, a prefix or a bucket that is not there ends the command as not found."""
    bucket = moto.bucket({"d/1": b"x"})
    firehose(moto, "read", f"s3://{bucket}/no").expect(4)
    firehose(moto, "read", f"s3://{bucket}/no/").expect(4)
    firehose(moto, "read", "s3://no-such-bucket-here/x").expect(4)


# -- send ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def stream(moto: FarSide) -> Iterator[tuple[str, str]]:
    """A delivery stream and the bucket that it delivers to."""
    bucket = moto.bucket()
    name = f"stream-{bucket}"
    where = {
        "RoleARN": "arn:aws:iam::123456789012:role/firehose",
        "BucketARN": f"arn:aws:s3:::{bucket}",
        "Prefix": "rows/",
        "ErrorOutputPrefix": "errors/rows/!{firehose:error-output-type}/",
        "BufferingHints": {"IntervalInSeconds": 60, "SizeInMBs": 5},
        "CompressionFormat": "UNCOMPRESSED",
    }
    client = moto.client("firehose")
    client.create_delivery_stream(DeliveryStreamName=name, ExtendedS3DestinationConfiguration=where)
    yield name, bucket
    if name in client.list_delivery_streams(Limit=100)["DeliveryStreamNames"]:
        client.delete_delivery_stream(DeliveryStreamName=name)


def test_rows_go_through_a_stream_into_hours_and_are_read_back(
    moto: FarSide, stream: tuple[str, str], tmp_path: Path
) -> None:
    """Each row of a CSV file is a record; what the stream delivers is found by the scan and read as it was sent."""
    name, bucket = stream
    table = [f"{number},reading {number}" for number in range(1200)]
    file = tmp_path / "readings.csv"
    file.write_text("number,text\n" + "\n".join(table))
    told = firehose(moto, "send", str(file), "--stream", name, "--header", "-o", "json").expect().json
    counts = {"stream": name, "records": 1200, "requests": 3, "repeated": 0, "last": "line 1,201", "failed": []}
    assert {key: told[key] for key in counts} == counts
    assert told["bytes"] == sum(len(row) + 1 for row in table)
    rows = firehose(moto, "scan", f"s3://{bucket}/", *AT_ONCE, "-o", "json").expect().json
    assert sum(row["objects"] for row in rows) == 3
    assert {(row["kind"], *row["streams"]) for row in rows} == {("data", name)}
    read = firehose(moto, "read", f"s3://{bucket}/rows/").expect().stdout.splitlines()
    assert sorted(read) == sorted(table)


def test_rows_become_objects_and_come_from_stdin(moto: FarSide, stream: tuple[str, str]) -> None:
    """With --format json each row is an object by the names in the first; one that does not fit is named."""
    name, bucket = stream
    line = ("firehose", "send", "-", "--stream", name, "--header", "--format", "json")
    told = run(*line, environ=moto.environ, stdin=b'a,b\n1,"x\ny"\n2\n3,z\n').expect(3)
    assert "line 4: 1 fields, where there are 2 columns" in told.stderr
    assert (
        firehose(moto, "read", f"s3://{bucket}/").expect().stdout == '{"a": "1", "b": "x\\ny"}\n{"a": "3", "b": "z"}\n'
    )


def test_bytes_without_end_are_no_row(moto: FarSide, stream: tuple[str, str], tmp_path: Path) -> None:
    """Of what has no line end for longer than any row nothing more is read, and the line is named."""
    file = tmp_path / "disk.img"
    with file.open("wb") as image:
        image.write(b"1,2\n")
        image.truncate(1 << 40)  # a hole of a tebibyte: whoever reads a line of it never comes back
    told = firehose(moto, "send", str(file), "--stream", stream[0], "-o", "json").expect(3).json
    assert told["error"]["message"] == "line 2 is longer than any row"
    assert told["records"] == 1


def test_what_comes_before_a_row_without_end_is_sent(moto: FarSide, stream: tuple[str, str], tmp_path: Path) -> None:
    """Rows that were read are not lost with the one that could not be, and the result says where that begins."""
    name, bucket = stream
    file = tmp_path / "rows.csv"
    file.write_bytes(b'1,2\n3,"open\n4,5\n')
    told = firehose(moto, "send", str(file), "--stream", name, "-o", "json").expect(3).json
    assert (told["records"], told["last"]) == (1, "line 1")
    assert told["error"]["message"].startswith("line 2: a quote begins there")
    assert firehose(moto, "read", f"s3://{bucket}/").expect().stdout == "1,2\n"


def test_an_interrupted_sending_tells_what_was_taken(moto: FarSide, stream: tuple[str, str]) -> None:
    """Ctrl-C ends it with 130, and the count is that of the records that the stream has."""
    name, bucket = stream
    line = [sys.executable, "-m", "ds3tool", "firehose", "send", "-", "--stream", name, "--rate", "2/s", "-o", "json"]
    with subprocess.Popen(
        line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **moto.environ}
    ) as process:
        try:
            assert process.stdin is not None
            process.stdin.write("".join(f"row {number}\n" for number in range(1000)))
            process.stdin.flush()
            deadline = time.monotonic() + 60
            while not moto.contents(bucket):
                assert time.monotonic() < deadline, "nothing was delivered"
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            told = json.loads(process.communicate(timeout=60)[0])
        finally:
            process.kill()
    assert process.returncode == 130
    taken = firehose(moto, "read", f"s3://{bucket}/", "--format", "lines").expect().stdout.splitlines()
    assert 0 < told["records"] <= len(taken) < 1000
    assert taken == [f"row {number}" for number in range(len(taken))]
    assert told["error"]["code"] == "Interrupted"


def test_sending_into_no_stream_says_so(moto: FarSide, tmp_path: Path) -> None:
    """A stream that is not there, a file that is not, and options that contradict end with their own codes."""
    file = tmp_path / "rows.csv"
    file.write_text("a\n1\n")
    told = firehose(moto, "send", str(file), "--stream", "no-such").expect(4).stderr
    assert "stream no-such" in told
    assert "ds3tool firehose ls" in told
    firehose(moto, "send", str(tmp_path / "none.csv"), "--stream", "no-such").expect(4)
    assert "--header" in firehose(moto, "send", str(file), "--stream", "x", "--format", "json").expect(2).stderr
    for rate in ("0", "fast", "-1/s", "1e9"):
        firehose(moto, "send", str(file), "--stream", "x", "--rate", rate).expect(2)
    error = firehose(moto, "send", str(file), "--stream", "no-such", "-o", "json").expect(4).json
    assert (error["records"], error["error"]["exit_code"]) == (0, 4)


# -- streams and stacks ----------------------------------------------------------------------------------------------


def test_streams_are_listed_and_deleted_when_asked(moto: FarSide, stream: tuple[str, str]) -> None:
    """A stream's state, bucket and buffering are shown; it goes only when somebody has said yes."""
    name, bucket = stream
    (row,) = [row for row in firehose(moto, "ls", "-o", "json").expect().json if row["name"] == name]
    told = {"status": "ACTIVE", "destination": "S3", "bucket": bucket, "prefix": "rows/", "interval_seconds": 60.0}
    assert {key: row[key] for key in told} == told
    assert (row["buffer_bytes"], row["error_prefix"]) == (5 << 20, "errors/rows/!{firehose:error-output-type}/")
    assert bucket in firehose(moto, "ls").expect().stdout
    assert "add --yes" in firehose(moto, "rm", name).expect(2).stderr
    told_of = firehose(moto, "rm", name, "--yes").expect().stderr
    assert f"what it has delivered stays in s3://{bucket}" in told_of
    assert name not in moto.client("firehose").list_delivery_streams(Limit=100)["DeliveryStreamNames"]
    firehose(moto, "rm", name, "--yes").expect(4)


# moto makes all of a stack but the stream, and says so.
_NO_STREAM = pytest.mark.filterwarnings("ignore:Tried to parse AWS..KinesisFirehose:UserWarning")


@pytest.fixture
def deployed(moto: FarSide) -> tuple[str, str]:
    """A stack that was deployed, and its bucket."""
    bucket = f"{moto.bucket()}-deployed"
    told = firehose(
        moto,
        "deploy",
        "--stack",
        f"s-{bucket}",
        "--bucket",
        bucket,
        "--interval",
        "60s",
        "--size",
        "5MiB",
        "-o",
        "json",
    ).expect()
    assert (told.json["action"], told.json["bucket"], told.json["stream"]) == ("created", bucket, f"s-{bucket}")
    assert (told.json["data"], told.json["errors"]) == (f"s3://{bucket}/data/", f"s3://{bucket}/errors/data/")
    assert f"ds3tool put s3://{bucket}/ ds3://BUCKET/ --layout firehose" in told.stderr
    # What moto leaves out of a bucket that CloudFormation makes.
    moto.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return f"s-{bucket}", bucket


@_NO_STREAM
def test_a_deployed_role_may_only_deliver_and_a_stack_is_changed_by_what_is_given(
    moto: FarSide, deployed: tuple[str, str]
) -> None:
    """The bucket is encrypted, the policy names it alone, and what is not given stays as it was."""
    name, bucket = deployed
    s3, iam = moto.client(), moto.client("iam")
    (rule,) = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    (role,) = [one["RoleName"] for one in iam.list_roles()["Roles"] if one["RoleName"].startswith(name)]
    (policy,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    statements = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]["Statement"]
    assert [statement["Resource"] for statement in statements] == [
        f"arn:aws:s3:::{bucket}",
        [f"arn:aws:s3:::{bucket}/data/*", f"arn:aws:s3:::{bucket}/errors/data/*"],
    ]
    assert (
        firehose(moto, "deploy", "--stack", name, "--size", "1MiB", "-o", "json").expect().json["action"] == "updated"
    )
    parameters = moto.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]["Parameters"]
    values = {one["ParameterKey"]: one["ParameterValue"] for one in parameters}
    assert values == {"BucketName": bucket, "Prefix": "data/", "BufferSeconds": "60", "BufferMiB": "1"}


def filled(far: FarSide, bucket: str) -> None:
    """Put six versions of four objects and a marker into a bucket."""
    client = far.client()
    for number in range(3):
        client.put_object(Bucket=bucket, Key=f"data/{number}", Body=b"12345")
        client.put_object(Bucket=bucket, Key="data/same", Body=b"%d" % number)
    client.delete_object(Bucket=bucket, Key="data/same")


@_NO_STREAM
def test_a_bucket_that_holds_anything_is_emptied_only_when_its_name_is_typed(
    moto: FarSide, deployed: tuple[str, str]
) -> None:
    """Yes is not enough, another name is refused, and its own name takes every version and marker."""
    name, bucket = deployed
    filled(moto, bucket)
    assert (
        "the stack's bucket is" in firehose(moto, "destroy", name, "--yes", "--empty-bucket", "other").expect(2).stderr
    )
    assert "add --yes" in firehose(moto, "destroy", name, "--empty-bucket", bucket).expect(2).stderr
    told = firehose(moto, "destroy", name, "--yes", "--empty-bucket", bucket, "-o", "json").expect().json
    assert (told["emptied"], told["left"], told["failed"]) == (7, [], [])
    assert told["deleted"] == ["Role", "Policy", "Bucket"]
    assert bucket not in [one["Name"] for one in moto.client().list_buckets()["Buckets"]]
    assert "there is no stack" in firehose(moto, "destroy", name, "--yes").expect(4).stderr


@_NO_STREAM
def test_a_bucket_whose_name_was_not_typed_is_left_and_named(moto: FarSide, deployed: tuple[str, str]) -> None:
    """The stack goes, what was delivered stays, in every version."""
    name, bucket = deployed
    filled(moto, bucket)
    told = firehose(moto, "destroy", name, "--yes", "-o", "json").expect()
    assert told.json["deleted"] == ["Role", "Policy"]
    assert told.json["left"] == [f"s3://{bucket}: 7 versions, 18 B"]
    assert f"bucket {bucket} is left, with 7 versions, 18 B" in told.stderr
    assert len(moto.client().list_object_versions(Bucket=bucket)["Versions"]) == 6


def test_a_bucket_that_the_stack_has_left_goes_with_what_came_to_the_last(moto: FarSide) -> None:
    """What the stream delivered while it was deleted goes too where all was to go, and else keeps the bucket."""
    kept, gone, empty = (moto.bucket() for _ in range(3))
    for bucket in (kept, gone):
        moto.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        filled(moto, bucket)
    done = Destroyed("clicks")
    remove_bucket(moto.client(), kept, done, Settings(), emptied=False)
    remove_bucket(moto.client(), gone, done, Settings(quiet=True), emptied=True)
    remove_bucket(moto.client(), empty, done, Settings(), emptied=False)
    assert (done.deleted, done.emptied, done.left) == (["Bucket"] * 2, 7, [f"s3://{kept}: 7 versions, 18 B"])
    names = {one["Name"] for one in moto.client().list_buckets()["Buckets"]}
    assert names & {kept, gone, empty} == {kept}


@_NO_STREAM
@pytest.mark.parametrize("typed", ["", "yes"])
def test_on_a_terminal_the_name_is_asked_for(moto: FarSide, deployed: tuple[str, str], typed: str) -> None:
    """Nothing typed keeps the bucket; anything but its name ends the command before anything is done."""
    name, bucket = deployed
    filled(moto, bucket)
    answers = [("to keep it:", typed), ("[y/N]", "y")]
    told = on_a_terminal(["firehose", "destroy", name], answers, dict(moto.environ)).expect(0 if not typed else 2)
    assert "holds 7 versions, 18 B" in told.stdout
    named = {one["StackName"] for one in moto.client("cloudformation").describe_stacks()["Stacks"]}
    assert (name in named) == bool(typed)
    assert len(moto.client().list_object_versions(Bucket=bucket)["Versions"]) == 6


@_NO_STREAM
def test_a_mistaken_stack_is_told_before_anything_is_made(moto: FarSide) -> None:
    """What Firehose or S3 would not take is refused with its own sentence; another's stack is left alone."""
    for arguments, said in (
        (("--stack", "1"), "is not a name"),
        (("--stack", "a", "--bucket", "No"), "is not a name that a bucket can have"),
        (("--stack", "a", "--prefix", "/x"), "is not a prefix"),
        (("--stack", "a", "--interval", "16m"), "0 to 900 whole seconds"),
        (("--stack", "a", "--size", "1"), "1 to 128 whole MiB"),
    ):
        assert said in firehose(moto, "deploy", *arguments).expect(2).stderr
    moto.client("cloudformation").create_stack(
        StackName="anothers", TemplateBody='{"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}'
    )
    assert "has not made it" in firehose(moto, "deploy", "--stack", "anothers").expect(2).stderr
    assert "has not made it" in firehose(moto, "destroy", "anothers", "--yes").expect(2).stderr
