"""The history of buckets: every version that comes, goes, or is the latest, under numbers that only grow."""

from __future__ import annotations

from pathlib import Path

from ds3tool.protocol.model import Versioning
from ds3tool.simulator import ManualClock
from tests.simulator.conftest import Bench, Build
from tests.simulator.wire import Answer, Wire

_DAY = 24 * 3600.0


def _history(wire: Wire, parameters: str = "") -> Answer:
    answer = wire.ask("GET", f"/_rest_/bucket_history{parameters}")
    assert answer.status == 200, answer
    return answer


def _changes(answer: Answer) -> list[tuple[str, str]]:
    events = answer.xml.iter("BucketHistoryEvent")
    return [(each.findtext("Type", ""), each.findtext("ObjectName", "")) for each in events]


def _numbers(answer: Answer) -> list[int]:
    return [int(each.text or "") for each in answer.xml.iter("SequenceNumber")]


def _put(bench: Bench, *names: str, bucket: str = "b") -> None:
    for name in names:
        assert bench.wire.ask("PUT", f"/{bucket}/{name}", b"x").status == 200


def test_a_version_that_replaces_another_is_created_and_the_other_is_the_latest_no_more(build: Build) -> None:
    """The history is enough to know which version is the latest, also after a delete that hides and an undelete."""
    bench = build(versioning=Versioning.KEEP_MULTIPLE_VERSIONS)
    _put(bench, "a", "a")
    assert bench.wire.ask("DELETE", "/b/a").status == 204
    assert bench.wire.ask("PUT", "/_rest_/object?bucket_id=b&name=a").status == 200
    events = list(_history(bench.wire).xml.iter("BucketHistoryEvent"))
    first, second = events[0].findtext("VersionId"), events[1].findtext("VersionId")
    assert first != second
    assert [(each.findtext("Type"), each.findtext("VersionId")) for each in events] == [
        ("CREATE", first),
        ("CREATE", second),
        ("UNMARK_LATEST", first),
        ("UNMARK_LATEST", second),
        ("MARK_LATEST", second),
    ]


def test_undeleting_an_older_version_moves_the_mark(build: Build) -> None:
    """One version loses it, the other has it; undeleting what is the latest anyway changes nothing."""
    bench = build(versioning=Versioning.KEEP_MULTIPLE_VERSIONS)
    _put(bench, "a", "a")
    created = [each.text for each in _history(bench.wire).xml.iter("VersionId")]
    for _ in range(2):
        assert bench.wire.ask("PUT", f"/_rest_/object?bucket_id=b&name=a&version_id={created[0]}").status == 200
    assert _changes(_history(bench.wire))[3:] == [("MARK_LATEST", "a"), ("UNMARK_LATEST", "a")]


def test_an_event_has_the_elements_of_its_type(build: Build) -> None:
    """All seven in alphabetical order, the version's date among them."""
    bench = build()
    _put(bench, "a")
    (event,) = _history(bench.wire).xml
    tags = ["BucketId", "Id", "ObjectCreationDate", "ObjectName", "SequenceNumber", "Type", "VersionId"]
    assert [each.tag for each in event] == tags
    listed = bench.wire.ask("GET", "/_rest_/object?bucket_id=b").xml[0]
    assert event.findtext("ObjectCreationDate") == listed.findtext("CreationDate")
    assert (event.findtext("VersionId"), event.findtext("BucketId")) == (
        listed.findtext("Id"),
        listed.findtext("BucketId"),
    )


def test_objects_that_were_never_complete_leave_no_trace(bench: Bench) -> None:
    """A put job is cancelled: what was complete is told as deleted, what was not was never there."""
    job = bench.wire.start_put("b", {"half": 1500, "whole": 500}).xml.attrib["JobId"]
    assert bench.wire.put_blob("b", "whole", job, 0, b"w" * 500).status == 200
    assert bench.wire.put_blob("b", "half", job, 0, b"h" * 1000).status == 200
    assert bench.wire.ask("DELETE", f"/_rest_/job/{job}?force").status == 204
    assert _changes(_history(bench.wire)) == [("CREATE", "whole"), ("DELETE", "whole")]


def test_a_history_is_paged_and_begins_at_a_sequence_number(build: Build) -> None:
    """By page length, offset, marker and number, with the counts in the headers; of one bucket or of all."""
    bench = build()
    assert bench.wire.ask("PUT", "/c").status == 200
    for place in range(5):
        _put(bench, f"b{place}")
        _put(bench, f"c{place}", bucket="c")
    everything = _history(bench.wire)
    order = _numbers(everything)
    assert order == sorted(set(order))
    assert [name for _, name in _changes(_history(bench.wire, "?bucket_id=c"))] == [f"c{place}" for place in range(5)]
    page = _history(bench.wire, "?bucket_id=c&page_length=2&page_offset=1")
    assert [name for _, name in _changes(page)] == ["c1", "c2"]
    assert (page.headers["total-result-count"], page.headers["page-truncated"]) == ("5", "2")
    marker = page.xml[1].findtext("Id")
    assert [name for _, name in _changes(_history(bench.wire, f"?bucket_id=c&page_start_marker={marker}"))] == [
        "c3",
        "c4",
    ]
    assert _numbers(_history(bench.wire, f"?min_sequence_number={order[6]}")) == order[6:]
    assert bench.wire.ask("GET", "/_rest_/bucket_history?bucket_id=nowhere").status == 404


def test_the_numbers_of_a_bucket_that_went_are_never_used_again(tmp_path: Path, build: Build) -> None:
    """Its history goes with it, and what follows, after a restart too, has higher numbers."""
    bench = build(directory=str(tmp_path))
    _put(bench, "a", "z")
    last = _numbers(_history(bench.wire))[-1]
    bucket = bench.wire.ask("GET", "/_rest_/bucket/b").xml.findtext("Id")
    assert bench.wire.ask("DELETE", f"/_rest_/bucket/{bucket}?force").status == 204
    assert _changes(_history(bench.wire)) == []
    bench.appliance.close()
    again = build(directory=str(tmp_path))
    _put(again, "new")
    assert _numbers(_history(again.wire))[0] > last


def test_what_happened_more_than_30_days_ago_is_cleared(build: Build) -> None:
    """The appliance's clock decides; younger changes stay under their numbers."""
    clock = ManualClock()
    bench = build(clock=clock)
    _put(bench, "old")
    clock.advance(20 * _DAY)
    _put(bench, "young")
    young = _numbers(_history(bench.wire))[1]
    clock.advance(11 * _DAY)
    assert _numbers(_history(bench.wire)) == [young]
    clock.advance(30 * _DAY)
    assert _numbers(_history(bench.wire)) == []
