"""What a key says of the object that Firehose delivered under it: hour, kind, stream, version."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from ds3tool.lazy_dataclass import dataclass

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

# Years that a delivery can have; whatever is added to one of them is still in the calendar.
_YEARS = range(1970, 3000)
# What Firehose calls an object; only its extension can be chosen.
# Source: AWS, "Amazon S3 object name format": stream, version, time, a random string, extension.
_NAME = re.compile(
    r"(?P<stream>[A-Za-z0-9_.\-]{1,64})-(?P<version>[0-9]{1,18})"
    r"-(?P<stamp>[0-9]{4}(?:-[0-9]{2}){5})"
    r"-[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
    r"(?P<extension>\.[^/]*)?",
    re.DOTALL,
)
# Exactly two digits stand for an hour: where the prefix lacks its last slash, the stream's name begins right after.
# What is static before a date may lack its slash as well, so nothing is asked of what stands before.
_DATES = (
    (re.compile(r"year=([0-9]{4})/month=([0-9]{2})/day=([0-9]{2})/hour=([0-9]{2})"), HOUR),
    (re.compile(r"([0-9]{4})/([0-9]{2})/([0-9]{2})/([0-9]{2})"), HOUR),
    (re.compile(r"year=([0-9]{4})/month=([0-9]{2})/day=([0-9]{2})"), DAY),
    (re.compile(r"([0-9]{4})/([0-9]{2})/([0-9]{2})"), DAY),
)
# What `!{firehose:error-output-type}` becomes. Source: AWS, "Understand custom prefixes", and the destinations' pages.
_ERROR_TYPES = frozenset(
    {
        "AmazonOpenSearchService_failed",
        "AmazonOpenSearchServerless_failed",
        "elasticsearch-failed",
        "format-conversion-failed",
        "http-endpoint-failed",
        "iceberg-failed",
        "processing-failed",
        "snowflake-failed",
        "splunk-failed",
    }
)
# A type that is not among them is one only below a prefix that speaks of errors: a stream may tell of failed logins.
_LIKE_AN_ERROR_TYPE = re.compile(r"[A-Za-z]+(?:[-_][A-Za-z]+)*[-_]failed")


@dataclass(frozen=True, slots=True)
class Delivered:
    """What a key tells.

    `head` is what all keys of the partition begin with, up to the digits of its hour (or day); `rest` what stands
    between that and the object's own name, of which a slash at the start is `has_slash`. `start` is the wall clock's
    time in the stream's time zone, without one. `error` is the type of what could not be delivered, None for data.
    `stamp` is the time in the object's name, in UTC.
    """

    head: str
    start: datetime
    span: timedelta
    error: str | None
    rest: str
    stream: str
    version: int
    stamp: datetime
    extension: str

    @property
    def has_slash(self) -> bool:
        """Whether a slash ends the hour; without it the hour and the stream's name run together."""
        return self.rest.startswith("/")

    @property
    def kind(self) -> str:
        """`data`, or the type of the error."""
        return self.error or "data"


def parse_delivered(key: str) -> Delivered | None:
    """Return what a whole key tells; None for one that Firehose would not give.

    Known are `YYYY/MM/dd/HH/` and `year=YYYY/month=MM/day=dd/hour=HH/`, the same without the hour, each behind any
    prefix, with or without slashes around it, and partition keys between it and the name. Of several dates in a key
    the last one counts.
    """
    found: tuple[int, Delivered] | None = None
    for pattern, span in _DATES:
        for match in pattern.finditer(key):
            if found is not None and match.end() <= found[0]:
                continue
            delivered = _delivered(key, match, span)
            if delivered is not None:
                found = match.end(), delivered
    return None if found is None else found[1]


def _delivered(key: str, match: re.Match[str], span: timedelta) -> Delivered | None:
    after = key[match.end() :]
    rest, slash, name = after.rpartition("/")
    named = _NAME.fullmatch(name)
    if named is None:
        return None
    try:
        start = datetime(*map(int, match.groups()))  # type: ignore[arg-type]  # three or four numbers, never a time zone
        stamp = datetime(*map(int, named["stamp"].split("-")), tzinfo=UTC)  # type: ignore[misc,arg-type]  # as above
    except ValueError:  # the 31st of February, or the 25th hour
        return None
    if start.year not in _YEARS:
        return None
    return Delivered(
        key[: match.end()],
        start,
        span,
        _error_type(f"{key[: match.start()]}/{rest}"),
        rest + slash,
        named["stream"],
        int(named["version"]),
        stamp,
        named["extension"] or "",
    )


def _error_type(path: str) -> str | None:
    speaks_of_errors = False
    for part in path.split("/"):
        word = part.rpartition("=")[2]
        if word in _ERROR_TYPES or (speaks_of_errors and _LIKE_AN_ERROR_TYPE.fullmatch(word)):
            return word
        speaks_of_errors = speaks_of_errors or "error" in part.lower()
    return None
