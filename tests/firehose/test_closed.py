"""When an hour is closed, in any time zone, and why one is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds3tool.errors import UsageError
from ds3tool.firehose.closed import Closing, parse_zone
from ds3tool.firehose.layout import DAY, HOUR

AT = datetime(2026, 1, 31, 23)
END = datetime(2026, 2, 1, tzinfo=UTC)
CLOSING = Closing(timedelta(minutes=5), timedelta(hours=2))
LONG_AGO = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "newest", "why"),
    [
        (END - timedelta(seconds=1), LONG_AGO, "it has not ended"),
        (END, LONG_AGO, "it has ended too short a time ago"),
        (END + timedelta(hours=2, minutes=5, seconds=-1), LONG_AGO, "it has ended too short a time ago"),
        (END + timedelta(hours=2, minutes=5), LONG_AGO, None),
        (END + timedelta(hours=9), END + timedelta(hours=7, seconds=1), "something came too short a time ago"),
        (END + timedelta(hours=9), END + timedelta(hours=7), None),
    ],
)
def test_an_hour_is_closed_when_nothing_more_is_to_come(now: datetime, newest: datetime, why: str | None) -> None:
    """Its end, the buffering and the margin must have passed, and the margin since its newest object."""
    assert CLOSING.why_open(AT, HOUR, newest, now=now) == why
    assert (now >= CLOSING.closes(AT, HOUR, newest)) == (why is None)


@pytest.mark.parametrize(
    ("zone", "start", "span", "end"),
    [
        ("Europe/Berlin", datetime(2026, 1, 31, 23), HOUR, datetime(2026, 1, 31, 23, tzinfo=UTC)),
        # Clocks go back at 3: the hour from 2 to 3 comes twice, those beside it once.
        ("Europe/Berlin", datetime(2026, 10, 25, 1), HOUR, datetime(2026, 10, 25, 0, tzinfo=UTC)),
        ("Europe/Berlin", datetime(2026, 10, 25, 2), HOUR, datetime(2026, 10, 25, 2, tzinfo=UTC)),
        ("Europe/Berlin", datetime(2026, 10, 25, 3), HOUR, datetime(2026, 10, 25, 3, tzinfo=UTC)),
        ("Europe/Berlin", datetime(2026, 10, 25), DAY, datetime(2026, 10, 25, 23, tzinfo=UTC)),
        # Half an hour only.
        ("Australia/Lord_Howe", datetime(2026, 4, 5, 1), HOUR, datetime(2026, 4, 4, 15, 30, tzinfo=UTC)),
        ("Asia/Kolkata", datetime(2026, 1, 31, 23), HOUR, datetime(2026, 1, 31, 18, 30, tzinfo=UTC)),
        ("UTC", datetime(2026, 1, 31), DAY, END),
    ],
)
def test_an_hour_ends_when_the_wall_clock_has_left_it_for_good(
    zone: str, start: datetime, span: timedelta, end: datetime
) -> None:
    """In a zone whose clocks are set back, an hour that comes twice ends when it is over for the second time."""
    assert Closing(zone=ZoneInfo(zone)).end(start, span) == end


@given(
    at=st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)), zone=st.sampled_from(["Europe/Berlin", "Asia/Tokyo"])
)
def test_no_record_arrives_in_an_hour_that_has_ended(at: datetime, zone: str) -> None:
    """Whenever a record arrives, the hour that its local time names has not ended."""
    local = at.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    start = local.replace(minute=0, second=0, microsecond=0)
    assert Closing(zone=ZoneInfo(zone)).end(start, HOUR) > at.replace(tzinfo=UTC)


def test_a_zone_is_one_that_the_host_knows() -> None:
    """UTC needs no database; what is no zone is told, and so is what would lead out of it."""
    assert parse_zone("utc") is UTC
    assert parse_zone("Europe/Berlin") == ZoneInfo("Europe/Berlin")
    for name in ("", "Europe", "Mars/Olympus", "../../etc/passwd", "a\0b"):
        with pytest.raises(UsageError, match="not a time zone"):
            parse_zone(name)
