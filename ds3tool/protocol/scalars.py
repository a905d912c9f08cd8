"""Texts of the wire as values: numbers, truths, dates, ETags. ProtocolError names what was being read."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from ds3tool.errors import ProtocolError

_INTEGER = re.compile(r"-?[0-9]{1,20}", re.ASCII)
_DATE = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[T ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(Z|[+-][0-9]{2}:?[0-9]{2})?",
    re.ASCII,
)
# The literal that some releases put where they have no ETag.
_NO_ETAG = "NOTRETURNED"


def as_integer(text: str | None, what: str) -> int | None:
    """Return a whole number; None for nothing or an empty text."""
    if text is None or not text.strip():
        return None
    if _INTEGER.fullmatch(text.strip()) is None:
        raise ProtocolError(f"{what} is {text[:40]!r}, which is no whole number")
    return int(text)


def as_size(text: str | None, what: str) -> int:
    """Return a number of bytes; 0 for nothing or an empty text."""
    value = as_integer(text, what) or 0
    if value < 0:
        raise ProtocolError(f"{what} is {value}, which is below zero")
    return value


def as_boolean(text: str | None, what: str) -> bool | None:
    """Return a truth in any case; None for nothing or an empty text."""
    if text is None or not text.strip():
        return None
    lower = text.strip().lower()
    if lower not in {"true", "false"}:
        raise ProtocolError(f"{what} is {text[:40]!r}, which is neither true nor false")
    return lower == "true"


def as_date(text: str | None, what: str) -> datetime | None:
    """Return a time in UTC: `YYYY-MM-DDThh:mm:ss.sssZ`, or the older form with a blank and without a zone."""
    if text is None or not text.strip():
        return None
    match = _DATE.fullmatch(text.strip())
    if match is None:
        raise ProtocolError(f"{what} is {text[:40]!r}, which is no date")
    year, month, day, hour, minute, second = (int(match[group]) for group in range(1, 7))
    microsecond = int((match[7] or "0").ljust(6, "0")[:6])
    try:
        at = datetime(year, month, day, hour, minute, second, microsecond, tzinfo=UTC)
        zone = match[8]
        if zone and zone != "Z":
            ahead = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
            at = at - ahead if zone[0] == "+" else at + ahead
    except (ValueError, OverflowError) as error:
        raise ProtocolError(f"{what} is {text[:40]!r}, which is no date") from error
    return at


def as_etag(text: str | None) -> str | None:
    """Return an ETag without its quotes; None where there is none, or the text that stands for none."""
    if text is None:
        return None
    bare = text.strip().removeprefix("W/").strip('"')
    return None if not bare or bare == _NO_ETAG else bare


def required(text: str | None, what: str) -> str:
    """Return a text that must be there."""
    if not text:
        raise ProtocolError(f"{what} is missing")
    return text
