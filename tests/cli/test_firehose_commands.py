"""`ds3tool firehose`: what has been delivered is scanned and read, by the commands."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.runner import Run, run
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


def test_sending_into_no_stream_says_so(moto: FarSide, tmp_path: Path) -> None:
    """A stream that is not there, a file that is not, and options that contradict end with their own codes."""
    file = tmp_path / "rows.csv"
    file.write_text("a\n1\n")
    assert "stream no-such" in firehose(moto, "send", str(file), "--stream", "no-such").expect(4).stderr
    firehose(moto, "send", str(tmp_path / "none.csv"), "--stream", "no-such").expect(4)
    assert "--header" in firehose(moto, "send", str(file), "--stream", "x", "--format", "json").expect(2).stderr
    for rate in ("0", "fast", "-1/s", "1e9"):
        firehose(moto, "send", str(file), "--stream", "x", "--rate", rate).expect(2)
    error = firehose(moto, "send", str(file), "--stream", "no-such", "-o", "json").expect(4).json
    assert (error["records"], error["error"]["exit_code"]) == (0, 4)
