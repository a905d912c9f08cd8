"""A listing as partitions: each hour once, data apart from errors, strays apart from both."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ds3tool.firehose.closed import Closing
from ds3tool.firehose.partitions import Filled, Seen, partitions
from tests.firehose.delivered import HIVE, Stream

AT = datetime(2026, 1, 31, 22, tzinfo=UTC)
CLOSING = Closing(timedelta(minutes=5), timedelta(hours=2))


def seen(key: str, at: datetime, size: int = 10) -> Seen:
    return Seen(key, size, round(at.timestamp()) * 1_000_000_000)


def of(items: list[Seen], now: datetime, strays: list[Seen] | None = None, *, keep: bool = True) -> list[Filled[Seen]]:
    """The partitions of a listing that S3 would give of these objects."""
    listed = sorted(items, key=lambda item: item.key.encode())
    found: list[Seen] = [] if strays is None else strays
    return list(partitions(listed, lambda item: item, CLOSING, now=now, stray=found.append, keep=keep))


def test_each_hour_is_judged_by_all_that_is_in_it() -> None:
    """One late object keeps its hour open, and no other; each hour is counted once."""
    stream = Stream(prefix="d/" + HIVE + "/")
    items = [
        seen(stream.key(AT + timedelta(hours=hour), n), AT + timedelta(hours=hour + 1))
        for hour in range(3)
        for n in range(4)
    ]
    late = AT + timedelta(hours=30)
    items.append(seen(stream.key(AT + timedelta(hours=1), 99), late, size=7))
    found = of(items, late + timedelta(minutes=1))
    assert [(one.partition.head, one.partition.objects, one.partition.bytes) for one in found] == [
        ("d/year=2026/month=01/day=31/hour=22", 4, 40),
        ("d/year=2026/month=01/day=31/hour=23", 5, 47),
        ("d/year=2026/month=02/day=01/hour=00", 4, 40),
    ]
    assert [one.partition.closed for one in found] == [True, False, True]
    assert found[1].partition.newest == late
    assert found[1].partition.closes == late + timedelta(hours=2)
    assert found[1].partition.why_open == "something came too short a time ago"
    assert sum(len(one.items) for one in found) == len(items)


def test_errors_of_an_hour_are_a_partition_of_their_own() -> None:
    """Where the type of the error stands behind the hour, what failed is not counted among the data."""
    stream = Stream("m", prefix=HIVE + "/", error_prefix=HIVE + "/!{firehose:error-output-type}/")
    other = Stream("z", prefix=HIVE + "/")
    items = [
        seen(stream.key(AT), AT),
        seen(stream.key(AT, error="processing-failed"), AT + timedelta(days=1)),
        seen(stream.key(AT, error="format-conversion-failed"), AT),
        seen(other.key(AT), AT),
    ]
    found = of(items, AT + timedelta(days=1))
    assert [(one.partition.kind, one.partition.objects, one.partition.closed) for one in found] == [
        ("data", 2, True),
        ("format-conversion-failed", 1, True),
        ("processing-failed", 1, False),
    ]
    assert found[0].partition.streams == {"m", "z"}


def test_a_prefix_that_was_mended_within_the_hour_makes_one_partition() -> None:
    """Objects with and without the slash after the hour are of one hour, and the missing slash is told."""
    without, with_slash = Stream(prefix="d/" + HIVE), Stream(prefix="d/" + HIVE + "/", version=2)
    found = of([seen(without.key(AT), AT), seen(with_slash.key(AT), AT)], AT)
    assert [(one.partition.objects, one.partition.has_slash) for one in found] == [(2, False)]


def test_what_fits_no_layout_is_set_aside() -> None:
    """A marker, a folder and a foreign file are strays, and no part of an hour."""
    strays: list[Seen] = []
    key = Stream().key(AT)
    items = [seen(name, AT) for name in (key, "2026/01/31/22/", "2026/01/31/22/_SUCCESS", "notes.txt")]
    found = of(items, AT, strays)
    assert [one.partition.objects for one in found] == [1]
    assert sorted(item.key for item in strays) == ["2026/01/31/22/", "2026/01/31/22/_SUCCESS", "notes.txt"]


def test_counting_keeps_no_object() -> None:
    """A scan holds counts, however many objects there are."""
    found = of([seen(Stream().key(AT, n), AT) for n in range(50)], AT, keep=False)
    assert [(one.partition.objects, one.items) for one in found] == [(50, [])]


_STREAMS = [
    Stream(name, version, prefix, "e/!{firehose:error-output-type}/")
    for name in ("a", "m-1", "Z9")
    for version, prefix in ((1, ""), (2, "logs"), (3, "d/" + HIVE), (4, "d/" + HIVE + "/"), (5, HIVE + "/k=1/"))
]


@given(
    chosen=st.lists(
        st.tuples(
            st.sampled_from(_STREAMS),
            st.integers(0, 60),
            st.sampled_from([None, None, "processing-failed", "splunk-failed"]),
        ),
        max_size=40,
    )
)
def test_every_delivery_is_in_one_partition_and_each_partition_comes_once(
    chosen: list[tuple[Stream, int, str | None]],
) -> None:
    """However layouts are mixed in one bucket, no object is lost or counted twice, and no hour comes in pieces."""
    items = [
        seen(stream.key(AT + timedelta(hours=step), number, error=error), AT)
        for number, (stream, step, error) in enumerate(chosen)
    ]
    found = of(items, AT)
    assert sorted(item.key for one in found for item in one.items) == sorted(item.key for item in items)
    names = [(one.partition.head, one.partition.kind) for one in found]
    assert len(names) == len(set(names))
    assert all(one.partition.objects == len(one.items) for one in found)
