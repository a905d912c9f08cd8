"""Names in an archive tell client, feed, region, type and hour, and no odd name leads elsewhere or hides another."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds3tool.lotame.keys import answer_key, data_key, mapping_key, sanitised
from ds3tool.lotame.model import FeedUpdates, S3Location

LATE = datetime(2026, 1, 31, 23, 58, 7, 120_000, tzinfo=UTC)
FEED = FeedUpdates(9001, S3Location("b", "data/v=2.1/4321/na/cookie"))


def test_a_file_is_named_by_where_it_is_from_and_when() -> None:
    """The key is the one that people partition by, with the file's own name at its end."""
    assert data_key("4321", FEED, "0b7c2f2e.gz", LATE) == (
        "client=4321/feed=9001/region=na/type=cookie/dt=2026-01-31/hour=23/0b7c2f2e.gz"
    )


def test_days_and_hours_are_utc() -> None:
    """A moment told in another zone has the same key; one without a zone has none."""
    elsewhere = LATE.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert data_key("4321", FEED, "x", elsewhere) == data_key("4321", FEED, "x", LATE)
    with pytest.raises(ValueError, match="zone"):
        data_key("4321", FEED, "x", LATE.replace(tzinfo=None))


@pytest.mark.parametrize("location", [None, S3Location("b"), S3Location("b", "a/b"), S3Location("b", "/a//")])
def test_a_location_of_another_layout_is_unknown(location: S3Location | None) -> None:
    """Where the location does not tell region and type, the key says so, and keeps its shape."""
    assert "/region=unknown/type=unknown/dt=" in data_key("4321", FeedUpdates(1, location), "x", LATE)


def test_mapping_file_and_answer_stand_beside_the_data() -> None:
    """Each state of a mapping file and each answer has a name of its own below its feed."""
    assert mapping_key("4321", FEED, "behaviors.json.gz", LATE) == (
        "client=4321/feed=9001/mapping/20260131T235807Z/behaviors.json.gz"
    )
    assert answer_key("4321", 9001, LATE) == (
        "client=4321/feed=9001/updates/dt=2026-01-31/hour=23/updates-20260131T235807.120000Z.json"
    )
    assert answer_key("4321", None, LATE).startswith("client=4321/feed=all/updates/")


@pytest.mark.parametrize(
    ("text", "told"),
    [("a/b", "a%2Fb"), ("..", "%2E%2E"), (".", "%2E"), ("", "%"), ("a b", "a%20b"), ("é", "%C3%A9"), ("%", "%25")],
)
def test_odd_parts_are_encoded(text: str, told: str) -> None:
    """No part of a name can lead out of its place."""
    assert sanitised(text) == told


@given(st.text(), st.text())
def test_two_names_never_become_one(one: str, other: str) -> None:
    """What differs before differs after, and is one plain part of a key."""
    for text in (one, other):
        told = sanitised(text)
        assert told.isascii()
        assert "/" not in told
        assert told not in {"", ".", ".."}
    assert (sanitised(one) == sanitised(other)) == (one == other)
