"""Lotame's DataStream as a source: what is new in its feeds for one destination, read from Lotame's own S3."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ds3tool.aws.session import AwsSettings
from ds3tool.clock import Clock, RealClock
from ds3tool.errors import (
    Ds3Error,
    FarSideDeniedError,
    FarSideError,
    JobLostError,
    ProtocolError,
    SourceError,
    UsageError,
)
from ds3tool.jobs.archived import archived_of
from ds3tool.jobs.ends import Failure, OpenObject, SourceObject
from ds3tool.lazy_dataclass import dataclass
from ds3tool.lotame.client import LotameClient
from ds3tool.lotame.credentials import FeedCredentials
from ds3tool.lotame.model import Location, S3Credentials, WebLocation
from ds3tool.lotame.news import FeedNews, Gap, News
from ds3tool.lotame.watermark import HadFile, Watermarks
from ds3tool.protocol import xmlcodec
from ds3tool.sources.lotame_names import FeedPin, answer_name, answer_of, is_answer
from ds3tool.sources.lotame_opened import FeedFiles, OpenAnswer, OpenFeedFile
from ds3tool.sources.s3_reader import S3Reader
from ds3tool.sources.url_list import UrlPin
from ds3tool.sources.url_reader import UrlReader
from ds3tool.sources.urls import OpenUrl

if TYPE_CHECKING:
    from ds3tool.jobs.journal import Journal
    from ds3tool.jobs.run import RunResult

_CONNECTIONS = 64
# Credentials alone are wanted: the shorter the time that is asked for, the shorter the answer.
_RECENTLY = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class LotamePlace:
    """Where a source reads and remembers: how its client and the destination's watermarks are made, when needed.

    The client is given what ends its waiting. `aws` says where Lotame's S3 is; its credentials come from Lotame.
    """

    client: Callable[[threading.Event], LotameClient]
    marks: Callable[[], Watermarks]
    aws: AwsSettings


@dataclass(slots=True)
class _Listed:
    """What a walk over the feeds has found: keys and what is remembered of each file; feeds of which files vanished."""

    files: dict[str, tuple[bytes, HadFile]] = field(default_factory=dict)
    told: list[FeedNews] = field(default_factory=list)


class LotameSource:
    """The files of one feed (None: of all) that a destination lacks; keys begin with `prefix`.

    Beside the files of a feed come its answer, without credentials, and its mapping file. A file that Lotame lists and
    S3 has not is a failure; so is gzip that is cut short, which is noticed while it is read. `noting`: what Lotame
    answers is noted in the watermarks, to be followed by `account`; dry runs do not. With `planned` these objects are
    what there is, and nothing is asked.

    `open` needs nothing but an object's name, also in a later process. Close it: it holds the watermarks from the
    first walk, or `account`, on, and LockedError says that another run has them.
    """

    def __init__(
        self,
        place: LotamePlace,
        *,
        feed: int | None,
        prefix: str,
        noting: bool = True,
        planned: Callable[[], Iterator[SourceObject]] | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not xmlcodec.fits(prefix):
            raise UsageError(
                f"{prefix!a} holds characters that no request can carry, so no key can begin with it",
                hint="give another prefix",
            )
        self._place = place
        self._feed = feed
        self._prefix = prefix
        self._noting = noting
        self._planned = planned
        self._clock = clock or RealClock()
        self._lock = threading.RLock()
        self._client: LotameClient | None = None
        self._marks: Watermarks | None = None
        self._credentials: dict[int, FeedCredentials] = {}
        self._readers: dict[tuple[int, str], S3Reader] = {}
        self._web_readers: dict[int, UrlReader] = {}
        self._mappings: dict[int, Location | None] = {}
        self._files = FeedFiles()
        self._listed: _Listed | None = None
        self.failures: list[Failure] = []
        self.skipped: list[str] = []

    @property
    def sequential(self) -> bool:
        """Files can be read anywhere, and again."""
        return False

    @property
    def distant(self) -> bool:
        """Each reading is a request to S3."""
        return True

    @property
    def notes(self) -> list[str]:
        """Which files could not be held against what S3 states."""
        return self._files.remarks.notes

    def place(self, name: bytes) -> str:
        """Return where an object is: its address in S3, or whose answer it is."""
        if is_answer(name):
            return "an answer of Lotame's"
        return FeedPin.of(name).address

    def close(self) -> None:
        """Let go of Lotame's client, and of the watermarks. Twice is harmless."""
        with self._lock:
            client, self._client = self._client, None
            marks, self._marks = self._marks, None
            web, self._web_readers = list(self._web_readers.values()), {}
        for reader in web:
            reader.close()
        if client is not None:
            client.close()
        if marks is not None:
            marks.close()

    # -- what is new -----------------------------------------------------------------------------------------------

    def objects(self) -> Iterator[SourceObject]:
        """Yield what the destination lacks, feed by feed, each in Lotame's order; after its files the feed's answer.

        Raises LockedError, and what Lotame and S3 say to whom they do not know or when nobody answers.
        """
        self.failures.clear()
        if self._planned is not None:
            yield from self._planned()
            return
        self._listed = listed = _Listed()
        news = self._news()
        feed_ids = news.feed_ids()
        self._fail(news.withdrawn)
        for feed_id in feed_ids:
            try:
                of_feed = news.of_feed(feed_id)
            except FarSideDeniedError:
                raise
            except (FarSideError, ProtocolError) as error:
                if self._feed is not None:
                    raise
                self.failures.append(Failure(None, error, f"lotame://{feed_id}"))
                continue
            yield from self._of_feed(news, of_feed, listed)

    def _of_feed(self, news: News, of_feed: FeedNews, listed: _Listed) -> Iterator[SourceObject]:
        with self._lock:
            self._credentials[of_feed.feed.feed_id] = of_feed.credentials
            self._mappings[of_feed.feed.feed_id] = of_feed.feed.mapping
        self._fail(of_feed.vanished)
        if of_feed.vanished:
            listed.told.append(of_feed)
        count = 0
        for one in news.files(of_feed):
            if isinstance(one, Gap):
                self._fail((one,))
                continue
            count += 1
            key, name = self._prefix + one.key, FeedPin.to(one).to_name()
            listed.files[key] = (name, one.had)
            yield SourceObject(key, one.size, _nanoseconds(one.modified), name)
        if count:
            record = of_feed.updates.record
            at = _nanoseconds(of_feed.updates.at)
            yield SourceObject(self._prefix + of_feed.answer_key, len(record), at, answer_name(record))

    def _fail(self, gaps: tuple[Gap, ...]) -> None:
        self.failures.extend(Failure(None, gap.error, gap.place) for gap in gaps)

    def _news(self) -> News:
        return News(self._asked(), self._place.aws, self._had(), feed=self._feed, noting=self._noting)

    def _asked(self) -> LotameClient:
        with self._lock:
            if self._client is None:
                self._client = self._place.client(self._files.ended)
            return self._client

    def _had(self) -> Watermarks:
        with self._lock:
            if self._marks is None:
                self._marks = self._place.marks()
            return self._marks

    # -- reading -----------------------------------------------------------------------------------------------------

    def open(self, item: SourceObject) -> OpenObject:
        """Open an object by its name; nothing is asked for before it is read."""
        if is_answer(item.name):
            return OpenAnswer(answer_of(item.name))
        one = FeedPin.of(item.name)
        feed_id, inner = one.had.feed_id, replace(item, name=one.pin.to_name())
        if one.bucket is None:
            known, remarks = self._files.known, self._files.remarks
            return OpenUrl(self._web_reader(feed_id), inner, known=known, remarks=remarks)
        return OpenFeedFile(self._reader(feed_id, one.bucket), inner, feed_id=feed_id, files=self._files)

    def _web_reader(self, feed_id: int) -> UrlReader:
        with self._lock:
            reader = self._web_readers.get(feed_id)
            if reader is None:
                reader = UrlReader(lambda place: self._url_of(feed_id, place), clock=self._clock)
                self._web_readers[feed_id] = reader
            return reader

    def _url_of(self, feed_id: int, place: UrlPin) -> str:
        """Return the address of a feed's mapping file, with its query, which may be signed: Lotame tells it."""
        with self._lock:
            mapping = self._mappings.get(feed_id)
            if mapping is None:
                feed = self._asked().updates(feed_id, self._recently()).feed(feed_id)
                mapping = self._mappings[feed_id] = feed.mapping if feed is not None else None
        if not isinstance(mapping, WebLocation) or str(mapping) != place.name.bare:
            raise SourceError(f"feed {feed_id}: its mapping file is not at {place.name.bare} any more")
        return mapping.url

    def _new_credentials(self, feed_id: int) -> S3Credentials | None:
        client = self._asked()
        found = client.updates(feed_id, self._recently()).credentials
        # An answer without news may come without credentials.
        return found or client.updates(feed_id).credentials

    def _recently(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC) - _RECENTLY

    def _reader(self, feed_id: int, bucket: str) -> S3Reader:
        with self._lock:
            reader = self._readers.get((feed_id, bucket))
            if reader is None:
                reader = S3Reader(bucket, lambda: self._s3(feed_id), clock=self._clock)
                self._readers[feed_id, bucket] = reader
            return reader

    def _s3(self, feed_id: int) -> Any:  # noqa: ANN401  # boto3 makes its types at run time
        with self._lock:
            credentials = self._credentials.get(feed_id)
            if credentials is None:
                credentials = FeedCredentials(lambda: self._new_credentials(feed_id))
                self._credentials[feed_id] = credentials
        return credentials.client(
            self._place.aws,
            connections=_CONNECTIONS,
            # As S3Source has it: whoever reads repeats what fails.
            retries={"mode": "standard", "total_max_attempts": 1},
            response_checksum_validation="when_required",
        )

    # -- what was archived -------------------------------------------------------------------------------------------

    def account(self, journal: Journal, result: RunResult) -> None:
        """Note what the work of `journal` has archived, so that it is not asked for again, and let watermarks move.

        Also after a work that an earlier process has begun. What cannot be noted is told among the result's notes: the
        next run finds it on the appliance, and leaves it out then.
        """
        try:
            if isinstance(result.stopped, JobLostError):
                return  # of what was lost with its job, on its way to tape, the appliance tells at the next run
            archived = archived_of(journal)
            had = [FeedPin.of(one.name).had for one in archived.objects if not is_answer(one.name)]
            if result.stopped is None and not journal.unfinished:
                had += self._left_out(archived.planned, {one.key for one in result.failures if one.key is not None})
            marks = self._had()
            marks.had(had)
            for feed_id in marks.feeds():
                marks.advance(feed_id)
            for news in self._listed.told if self._listed is not None else ():
                news.told(marks)
        except Ds3Error as error:
            result.notes.append(
                f"what was archived could not be noted, so that the next run looks at it again: {error.message}"
            )

    def _left_out(self, planned: set[bytes], failed: set[str]) -> list[HadFile]:
        """Return the files that were listed here and needed not be put: the appliance had them."""
        if self._listed is None:
            return []
        files = self._listed.files
        if any(key not in files and "~" in key for key in failed):
            return []  # put under another name (--if-exists rename), and failed: whose it was is not known
        return [had for key, (name, had) in files.items() if name not in planned and key not in failed]


def _nanoseconds(moment: datetime) -> int:
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000
