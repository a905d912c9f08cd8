"""What is new in a feed: one odd file or one long list neither stops nor delays what is right beside it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from ds3tool.aws.session import AwsSettings
from ds3tool.lotame.client import LotameClient
from ds3tool.lotame.model import Feed, FeedUpdates, S3Credentials, S3Location, Updates
from ds3tool.lotame.news import Gap, News
from ds3tool.lotame.settings import LotameSettings
from ds3tool.lotame.watermark import HadFile, Watermarks

NOW = datetime.now(UTC)
AWS = AwsSettings(None, "http://127.0.0.1:9", "us-east-1")


class OneAnswer:
    """A Lotame that has one answer."""

    settings = LotameSettings("token", "access", "4321")

    def __init__(self, feed: FeedUpdates) -> None:
        credentials = S3Credentials("EXAMPLE", "secret", "session", NOW + timedelta(hours=1), NOW)
        self._answer = Updates((feed,), None, NOW, b"{}\n", credentials)

    def feeds(self) -> tuple[Feed, ...]:
        return tuple(Feed(one.feed_id) for one in self._answer.feeds)

    def updates(self, *_: Any) -> Updates:  # noqa: ANN401  # whatever is asked
        return self._answer


def news_of(feed: FeedUpdates, marks: Watermarks | None = None) -> News:
    return News(cast("LotameClient", OneAnswer(feed)), AWS, marks, feed=9001)


def test_a_file_at_a_place_that_s3_cannot_have_is_a_gap() -> None:
    """A location that is no bucket's name is told by the file's name, and does not end the run."""
    news = news_of(FeedUpdates(9001, S3Location("no bucket", "na/cookie"), ("one.gz",)))
    found = list(news.files(news.of_feed(9001)))
    assert [type(one) for one in found] == [Gap]
    assert "one.gz" in cast("Gap", found[0]).error.message


def test_files_of_a_feed_that_is_withdrawn_are_told_of_in_each_run(tmp_path: Path) -> None:
    """What was not had of a feed that Lotame does not list any more is told by name; its mark stays where it is."""
    place = S3Location("bucket", "na/cookie")
    asked = Updates((FeedUpdates(7, place, ("had.gz", "left.gz")), FeedUpdates(8, place, ("x.gz",))), None, NOW, b"{}")
    with Watermarks.open(tmp_path, "ds3://archive/lotame/") as marks:
        marks.asked(asked)
        for one in (HadFile(7, "had.gz", "e"), HadFile(8, "x.gz", "e")):
            marks.recall(one.feed_id, one.file, one.etag)
            marks.had([one])
        assert marks.advance(8)
        for _ in range(2):
            news = replace(news_of(FeedUpdates(9001), marks), feed=None)
            assert news.feed_ids() == [9001]
            (gap,) = news.withdrawn
            assert (gap.feed_id, gap.place) == (7, "left.gz")
            assert "feed 7: left.gz could not be had" in gap.error.message
            assert not marks.advance(7)
        back = replace(news_of(FeedUpdates(7), marks), feed=None)
        assert back.feed_ids() == [7]
        assert back.withdrawn == ()


def test_what_has_vanished_is_told_of_until_somebody_was_told(tmp_path: Path) -> None:
    """A run that is killed between the question and its end loses no gap: the next one names it; once told it is over.

    A file that comes back, or is had after all, is no gap.
    """
    place = S3Location("bucket", "na/cookie")
    listed = FeedUpdates(9001, place, ("back.gz", "gone.gz", "late.gz"))
    with Watermarks.open(tmp_path, "ds3://archive/lotame/") as marks:
        marks.asked(Updates((listed,), None, NOW, b"{}"))
        for _ in range(2):
            news = news_of(FeedUpdates(9001), marks).of_feed(9001)
            assert [gap.place for gap in news.vanished] == ["back.gz", "gone.gz", "late.gz"]
        # A question that leaves out their time tells nothing of them, and forgets nothing.
        assert replace(news_of(FeedUpdates(9001), marks), since=NOW).of_feed(9001).vanished == ()
        marks.had([HadFile(9001, "late.gz", "e")])
        news = news_of(FeedUpdates(9001, place, ("back.gz",)), marks).of_feed(9001)
        assert [gap.place for gap in news.vanished] == ["gone.gz"]
        news.told(marks)
        assert news_of(FeedUpdates(9001, place, ("back.gz",)), marks).of_feed(9001).vanished == ()


class Name(str):
    """A name that counts how often it was hashed."""

    __slots__ = ()
    hashed = 0

    def __hash__(self) -> int:
        Name.hashed += 1
        return super().__hash__()


def test_a_long_list_that_was_not_had_is_compared_in_one_go(tmp_path: Path) -> None:
    """After a run that was killed amid a long list, the next question costs work as its length, not its square."""
    names = tuple(Name(f"{number}.gz") for number in range(300))
    feed = FeedUpdates(9001, S3Location("bucket", "na/cookie"), names)
    with Watermarks.open(tmp_path, "ds3://archive/lotame/") as marks:
        news = news_of(feed, marks)
        news.of_feed(9001)
        Name.hashed = 0
        assert news.of_feed(9001).vanished == ()
        assert Name.hashed <= 5 * len(names)
