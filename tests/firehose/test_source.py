"""Closed hours as a source: what is open stays for later, what failed goes apart, nothing is lost untold."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ds3tool.aws.session import AwsSettings
from ds3tool.clock import ManualClock
from ds3tool.filters import Filter, NamePattern
from ds3tool.firehose.closed import Closing
from ds3tool.firehose.error_prefixes import Errors
from ds3tool.jobs.ends import Source
from ds3tool.renaming import Renaming
from ds3tool.sources.firehose import FirehoseSource
from tests.far.servers import FarSide
from tests.firehose.delivered import Stream
from tests.firehose.filled import AT, CLICKS

AT_ONCE = Closing(timedelta(0), timedelta(0))


@pytest.fixture
def far(moto: FarSide, monkeypatch: pytest.MonkeyPatch) -> FarSide:
    """A server that boto3 finds by itself."""
    for name, value in moto.environ.items():
        monkeypatch.setenv(name, value)
    return moto


def source_of(
    bucket: str,
    base: str = "",
    *,
    prefix: str = "in/",
    closing: Closing = AT_ONCE,
    errors: Errors = Errors.APART,
    names: Renaming | None = None,
    wanted: Filter | None = None,
    clock: ManualClock | None = None,
) -> FirehoseSource:
    return FirehoseSource(
        AwsSettings(),
        bucket,
        base=base,
        prefix=prefix,
        closing=closing,
        errors=errors,
        names=names,
        wanted=wanted,
        clock=clock,
    )


def keys(source: Source) -> list[str]:
    found = [item.key for item in source.objects()]
    assert source.failures == []
    return found


def test_keys_keep_their_partition_and_errors_go_below_a_prefix_of_their_own(far: FarSide) -> None:
    """Data have their path below the target, errors the same below `errors/`, without its being doubled."""
    failed = Stream("clicks", error_prefix="failed/!{firehose:error-output-type}/")
    objects = [CLICKS.key(AT), CLICKS.key(AT, error="processing-failed"), failed.key(AT, error="splunk-failed")]
    bucket = far.bucket({key: key.encode() for key in objects})
    source = source_of(bucket)
    items = {item.key: item for item in source.objects()}
    assert list(items) == [f"in/{objects[0]}", f"in/{objects[1]}", f"in/errors/{objects[2]}"]
    for item in items.values():
        opened = source.open(item)
        assert opened.read(0, item.size).decode() == item.key.removeprefix("in/").replace("errors/failed", "failed")
        opened.close()
    assert source.notes == []
    only_data = source_of(bucket, errors=Errors.SKIP)
    assert keys(only_data) == [f"in/{objects[0]}"]
    assert only_data.notes == ["2 objects of error prefixes left out (--error-prefixes skip)"]
    below = source_of(bucket, "data/", prefix="", names=Renaming("year=2026/"))
    assert keys(below) == [objects[0].removeprefix("data/year=2026/")]


def test_an_open_hour_is_left_and_told_and_comes_once_it_is_closed(far: FarSide) -> None:
    """Nothing of an hour goes before all of it does; the note says how much there is and when it closes."""
    bucket = far.bucket(dict.fromkeys(CLICKS.hour(AT, 3), b"1"))
    now = far.client().get_object(Bucket=bucket, Key=CLICKS.key(AT))["LastModified"].timestamp()
    clock = ManualClock(now + 7199)
    source = source_of(bucket, closing=Closing(), clock=clock)
    assert keys(source) == []
    (note,) = source.notes
    assert f"s3://{bucket}/data/year=2026/month=01/day=31/hour=22 (3 objects): something came" in note
    assert "closed from 2" in note
    clock.advance(7200)
    assert len(keys(source)) == 3
    assert source.notes == []


def test_an_hour_is_judged_by_all_that_is_in_it_whatever_is_chosen(far: FarSide) -> None:
    """A filter that hides the newest object of an hour does not close that hour."""
    bucket = far.bucket({CLICKS.key(AT): b"1", CLICKS.key(AT, 1): b"22"})
    small = Filter(max_size=1)
    now = far.client().get_object(Bucket=bucket, Key=CLICKS.key(AT))["LastModified"].timestamp()
    assert keys(source_of(bucket, closing=Closing(), wanted=small, clock=ManualClock(now))) == []
    assert keys(source_of(bucket, wanted=small)) == ["in/" + CLICKS.key(AT)]
    chosen = Filter(include=NamePattern(["data/year=2025/*"]))
    assert keys(source_of(bucket, wanted=chosen)) == []


def test_what_is_in_no_layout_is_left_out_and_named(far: FarSide) -> None:
    """A foreign file is named; the marker of a folder holds nothing and is not."""
    bucket = far.bucket(
        {CLICKS.key(AT): b"1", "data/notes.txt": b"mine", "data/": b""} | {f"x{n:02}": b"" for n in range(12)}
    )
    source = source_of(bucket)
    assert len(keys(source)) == 1
    (note,) = source.notes
    assert note.startswith(
        f"13 objects left out, whose names Firehose does not give: s3://{bucket}/data/notes.txt, s3://{bucket}/x00"
    )
    assert note.endswith(" and 3 more")


def test_many_open_hours_are_counted(far: FarSide) -> None:
    """Ten open hours are named, and all of them counted."""
    stream = Stream(prefix="d/")
    bucket = far.bucket({stream.key(AT + timedelta(hours=n)): b"1" for n in range(12)})
    source = source_of(bucket, closing=Closing(margin=timedelta(days=365_000)))
    assert keys(source) == []
    assert len(source.notes) == 11
    assert source.notes[-1].startswith("12 hours with 12 objects are not closed")
