"""The names that a feed's files have in an archive: by client, feed, region, type, day and hour.

    client=4321/feed=9001/region=na/type=cookie/dt=2026-01-31/hour=23/0b7c2f2e-1111-4222-8333-944455566677.gz

All keys are relative: whoever archives puts the prefix before them that was asked for. A part keeps letters, digits
and `._-`; every other byte is percent-encoded, so that two names never become one.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from ds3tool.lotame.model import FeedUpdates

UNKNOWN = "unknown"
_ODD = re.compile(rb"[^A-Za-z0-9._-]")


def data_key(client_id: str, updates: FeedUpdates, name: str, modified: datetime) -> str:
    """Return the key of one of a feed's files; `modified`, when S3 had it, names day and hour, in UTC."""
    return f"{_feed(client_id, updates.feed_id)}/{_kind(updates)}/{_hour(modified)}/{sanitised(name)}"


def mapping_key(client_id: str, updates: FeedUpdates, name: str, modified: datetime) -> str:
    """Return the key of a feed's mapping file of this name; `modified` tells one state of it from the next."""
    stamp = f"{_utc(modified):%Y%m%dT%H%M%SZ}"
    return f"{_feed(client_id, updates.feed_id)}/mapping/{stamp}/{sanitised(name)}"


def answer_key(client_id: str, feed_id: int | None, at: datetime) -> str:
    """Return the key of an updates answer, given at `at`; `feed_id` None: of one that covers all feeds."""
    feed = f"client={sanitised(client_id)}/feed=all" if feed_id is None else _feed(client_id, feed_id)
    moment = _utc(at)
    return f"{feed}/updates/{_hour(at)}/updates-{moment:%Y%m%dT%H%M%S}.{moment.microsecond:06d}Z.json"


def sanitised(part: str) -> str:
    """Return a text as one part of a key: no slash, never `.` or `..`, never empty, and each text another."""
    told = _ODD.sub(lambda found: b"%%%02X" % ord(found[0]), part.encode("utf-8", "surrogatepass")).decode("ascii")
    if told in {"", ".", ".."}:
        return "%" if not told else told.replace(".", "%2E")
    return told


def _feed(client_id: str, feed_id: int) -> str:
    return f"client={sanitised(client_id)}/feed={feed_id}"


def _kind(updates: FeedUpdates) -> str:
    region, kind = updates.region, updates.profile_type
    return f"region={sanitised(region or UNKNOWN)}/type={sanitised(kind or UNKNOWN)}"


def _hour(moment: datetime) -> str:
    return f"{_utc(moment):dt=%Y-%m-%d/hour=%H}"


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("a moment without its time zone names no hour")
    return moment.astimezone(UTC)
