"""What Firehose's keys tell: hour, kind, stream and version, in each layout that there is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds3tool.firehose.layout import DAY, HOUR, parse_delivered
from tests.firehose.delivered import HIVE, Stream

UUID = "8c1e0f5e-aaaa-4bbb-8ccc-0123456789ab"
AT = datetime(2026, 1, 31, 23, tzinfo=UTC)

REAL = {
    "default": (
        f"2026/01/31/23/gps-delivery-stream-1-2026-01-31-23-58-07-{UUID}",
        ("2026/01/31/23", None, "gps-delivery-stream", 1, "", True),
    ),
    "missing slash": (
        "data/input/firehose/streams/year=2026/month=01/day=31/hour=23firehose_to_s3_stream_from_py-3-2026-01-31-23-58-07-"
        + UUID,
        (
            "data/input/firehose/streams/year=2026/month=01/day=31/hour=23",
            None,
            "firehose_to_s3_stream_from_py",
            3,
            "",
            False,
        ),
    ),
    "hive with extension": (
        f"data/events/year=2026/month=01/day=31/hour=23/clicks-2-2026-01-31-23-58-07-{UUID}.gz",
        ("data/events/year=2026/month=01/day=31/hour=23", None, "clicks", 2, ".gz", True),
    ),
    "error": (
        f"data/events-error/processing-failed/2026/01/31/23/clicks-2-2026-01-31-23-59-01-{UUID}",
        ("data/events-error/processing-failed/2026/01/31/23", "processing-failed", "clicks", 2, "", True),
    ),
    "error type after the hour": (
        f"e/2026/01/31/23/error-type=splunk-failed/clicks-2-2026-01-31-23-59-01-{UUID}",
        ("e/2026/01/31/23", "splunk-failed", "clicks", 2, "", True),
    ),
    "error type without its slash": (
        f"e/format-conversion-failed2026/01/31/23/clicks-2-2026-01-31-23-59-01-{UUID}",
        ("e/format-conversion-failed2026/01/31/23", "format-conversion-failed", "clicks", 2, "", True),
    ),
    "error type of days to come": (
        f"my-errors/warehouse-failed/2026/01/31/23/clicks-2-2026-01-31-23-59-01-{UUID}",
        ("my-errors/warehouse-failed/2026/01/31/23", "warehouse-failed", "clicks", 2, "", True),
    ),
    "data about failures": (
        f"events/login-failed/2026/01/31/23/logins-2-2026-01-31-23-59-01-{UUID}",
        ("events/login-failed/2026/01/31/23", None, "logins", 2, "", True),
    ),
    "no slash before the date": (
        f"data22026/01/31/23/clicks-2-2026-01-31-23-59-01-{UUID}.parquet",
        ("data22026/01/31/23", None, "clicks", 2, ".parquet", True),
    ),
    "no slash after the hour's digits, and a stream that begins with some": (
        f"year=2026/month=01/day=31/hour=2342-1-2026-01-31-23-59-01-{UUID}",
        ("year=2026/month=01/day=31/hour=23", None, "42", 1, "", False),
    ),
    "partition keys behind the hour": (
        f"d/year=2026/month=01/day=31/hour=23/customer=7/clicks-2-2026-01-31-23-59-01-{UUID}",
        ("d/year=2026/month=01/day=31/hour=23", None, "clicks", 2, "", True),
    ),
    "a date before the date": (
        f"2025/2024/12/31/00/2026/01/31/23/clicks-2-2026-01-31-23-59-01-{UUID}",
        ("2025/2024/12/31/00/2026/01/31/23", None, "clicks", 2, "", True),
    ),
    "a stream that looks like a name": (
        f"2026/01/31/23/c-7-2026-01-31-23-59-00-{UUID}-2-2026-01-31-23-59-01-{UUID}.a.b",
        ("2026/01/31/23", None, f"c-7-2026-01-31-23-59-00-{UUID}", 2, ".a.b", True),
    ),
}


@pytest.mark.parametrize(("key", "told"), REAL.values(), ids=REAL)
def test_a_key_tells_its_hour_and_whose_it_is(key: str, told: tuple[object, ...]) -> None:
    """Each known layout gives its hour, its kind, its stream and its version."""
    found = parse_delivered(key)
    assert found is not None
    assert (found.start, found.span) == (AT.replace(tzinfo=None), HOUR)
    assert (found.head, found.error, found.stream, found.version, found.extension, found.has_slash) == told


def test_a_day_is_a_partition_too() -> None:
    """A prefix without an hour makes partitions of a day, as AWS's own example of an error prefix does."""
    found = parse_delivered(f"errors/processing-failed/2026/01/31/clicks-2-2026-01-31-23-59-01-{UUID}")
    assert found is not None
    assert (found.start, found.span, found.kind) == (datetime(2026, 1, 31), DAY, "processing-failed")
    found = parse_delivered(f"d/year=2026/month=01/day=31/clicks-2-2026-01-31-23-59-01-{UUID}")
    assert found is not None
    assert (found.start, found.span, found.kind) == (datetime(2026, 1, 31), DAY, "data")


@pytest.mark.parametrize(
    "key",
    [
        "",
        "2026/01/31/23/",
        "2026/01/31/23/_SUCCESS",
        f"2026/02/31/23/clicks-2-2026-01-31-23-59-01-{UUID}",
        f"0000/01/31/23/clicks-2-2026-01-31-23-59-01-{UUID}",
        f"9999/12/31/23/clicks-2-2026-01-31-23-59-01-{UUID}",
        f"2026/01/31/23/clicks-2-2026-13-31-23-59-01-{UUID}",
        f"2026/01/31/23/clicks-2026-01-31-23-59-01-{UUID}",
        f"2026/01/31/23/cl icks-1-2026-01-31-23-59-01-{UUID}x",
        f"logs/clicks-2-2026-01-31-23-59-01-{UUID}",
        f"2026/01/31/23/clicks-2-2026-01-31-23-59-01-{UUID}.gz/",
    ],
)
def test_what_firehose_would_not_write_is_no_delivery(key: str) -> None:
    """A key that breaks one of the rules is not taken for a delivery."""
    assert parse_delivered(key) is None


def test_an_hour_that_is_none_leaves_the_day() -> None:
    """Two digits behind a day that are no hour belong to the stream's name."""
    found = parse_delivered(f"2026/01/31/99clicks-2-2026-01-31-23-59-01-{UUID}")
    assert found is not None
    assert (found.span, found.stream) == (DAY, "99clicks")


_WORDS = st.text(st.characters(codec="utf-8", exclude_characters="!"), max_size=12)
_STREAMS = st.from_regex(r"[A-Za-z0-9_.\-]{1,40}", fullmatch=True)
_ENDS = st.sampled_from(["", "/", "/customer=7/"])


@given(
    at=st.datetimes(datetime(2015, 10, 7), datetime(2099, 12, 31)),
    offset=st.integers(-12, 14),
    static=_WORDS,
    end=_ENDS,
    layout=st.sampled_from(["default", "hive"]),
    name=_STREAMS,
    version=st.integers(1, 10**6),
    extension=st.sampled_from(["", ".gz", ".parquet", ".snappy", ".json.gz"]),
    error=st.sampled_from([None, None, "processing-failed", "format-conversion-failed"]),
    number=st.integers(0, 2**128 - 1),
)
def test_a_key_made_by_the_rules_parses_back(
    at: datetime,
    offset: int,
    static: str,
    end: str,
    layout: str,
    name: str,
    version: int,
    extension: str,
    error: str | None,
    number: int,
) -> None:
    """Whatever the prefix, a key made by Firehose's rules gives back its hour, stream, version and kind."""
    dated = static + HIVE + end if layout == "hive" else static
    failed = f"{static}/!{{firehose:error-output-type}}/" + (HIVE + end if layout == "hive" else "")
    local = at + timedelta(hours=offset)
    stream = Stream(name, version, dated, failed, extension)
    found = parse_delivered(stream.key(at.replace(tzinfo=UTC), number, error=error, local=local))
    assert found is not None
    assert found.start == local.replace(minute=0, second=0, microsecond=0)
    assert (found.span, found.error) == (HOUR, error)
    assert (found.stream, found.version, found.extension) == (name, version, extension)
    assert found.stamp == at.replace(microsecond=0, tzinfo=UTC)
    assert found.has_slash == (layout == "default" or end != "")
