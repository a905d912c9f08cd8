"""When a partition is closed: nothing more is to be expected in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from ds3tool.errors import UsageError
from ds3tool.lazy_dataclass import dataclass

# What Firehose itself takes where nothing is asked for. Source: AWS, BufferingHints.
DEFAULT_INTERVAL = timedelta(seconds=300)
# A delivery that fails is tried again, and one that was tried for long arrives hours late.
DEFAULT_MARGIN = timedelta(hours=2)

_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Closing:
    """How long a partition is waited for.

    An object is named after the arrival of its oldest record, so that it comes up to `interval`, the stream's
    buffering, after its hour has ended; `margin` is for deliveries that had to be tried again. `zone` is the time
    zone in which the stream names its hours.
    """

    interval: timedelta = DEFAULT_INTERVAL
    margin: timedelta = DEFAULT_MARGIN
    zone: tzinfo = UTC

    def end(self, start: datetime, span: timedelta) -> datetime:
        """Return when a partition ends, in UTC.

        `start` is the wall clock's time. An hour that comes twice, when clocks go back, ends when it is over for the
        second time.
        """
        last = start + (span - _MOMENT)
        return max(last.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for fold in (0, 1)) + _MOMENT

    def closes(self, start: datetime, span: timedelta, newest: datetime) -> datetime:
        """Return from when on a partition is closed, should nothing more come: `newest` is its last object's time.

        A listing of S3 is always of the moment, so that an object's time says what an earlier listing would: nothing
        newer than the margin means that a listing at its beginning would have shown the same.
        """
        return max(self.end(start, span) + self.interval, newest) + self.margin

    def why_open(self, start: datetime, span: timedelta, newest: datetime, *, now: datetime) -> str | None:
        """Return why a partition is not closed at `now`, a sentence for people; None when it is."""
        if now >= self.closes(start, span, newest):
            return None
        end = self.end(start, span)
        if now < end:
            return "it has not ended"
        if now < end + self.interval + self.margin:
            return "it has ended too short a time ago"
        return "something came too short a time ago"


def parse_zone(name: str) -> tzinfo:
    """Return the time zone that `name` means, such as UTC or Europe/Berlin; UsageError when there is none."""
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise UsageError(
            f"{name!r} is not a time zone that this host knows", hint="write it like UTC, Europe/Berlin or America/Lima"
        ) from error
