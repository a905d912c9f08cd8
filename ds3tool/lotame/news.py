"""What is new in Lotame's feeds for one destination: the files to be had, each as S3 has it now, and what is missing.

Each feed is asked for right before its files are looked at, since its last watermark less an overlap; files that the
destination has already, by feed, name and ETag, are left out.
"""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any

from ds3tool.aws.failures import far_side
from ds3tool.aws.session import AwsSettings
from ds3tool.errors import (
    Ds3Error,
    FarSideDeniedError,
    FarSideError,
    FarSideForbiddenError,
    FarSideNotFoundError,
    FarSideUnreachableError,
    SourceError,
    UsageError,
)
from ds3tool.lazy_dataclass import dataclass
from ds3tool.lotame import keys
from ds3tool.lotame.client import LotameClient
from ds3tool.lotame.credentials import FeedCredentials
from ds3tool.lotame.model import FeedUpdates, Location, S3Credentials, S3Location, Updates
from ds3tool.lotame.watermark import HadFile, Watermarks, plain_etag
from ds3tool.lotame.web_file import WebState, look

_log = logging.getLogger(__name__)

# So many files are looked at ahead of the one that is wanted next.
_AHEAD = 8
_NEXT_RUN = "it is asked for again by the next run; if it does not come back, ask Lotame"
_NEVER = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class FeedFile:
    """A file of a feed as S3 has it: its name as Lotame lists it, its place, size in bytes, ETag and time.

    `key` is its name in an archive, below whatever prefix. `is_mapping`: it is the feed's mapping file, which may lie
    on the web; then `web` is what its server tells.
    """

    feed_id: int
    name: str
    place: Location
    size: int
    etag: str
    modified: datetime
    key: str
    is_mapping: bool = False
    web: WebState | None = None

    @property
    def delivered(self) -> str:
        """When S3 had it, for a person."""
        return f"{self.modified:%Y-%m-%d %H:%M}Z"

    @property
    def had(self) -> HadFile:
        """What is remembered of it once it is safe."""
        return HadFile(self.feed_id, str(self.place) if self.is_mapping else self.name, self.etag)


@dataclass(frozen=True, slots=True)
class Gap:
    """A file that Lotame has listed and that cannot be had; `place` is where it should be, as far as that is known."""

    feed_id: int
    place: str
    error: Ds3Error


@dataclass(slots=True)
class FeedNews:
    """One feed's answer: what it says of the feed, the credentials for its files, and the key of the answer itself.

    `vanished` are files that an earlier answer had listed, that were not had, and that Lotame does not list any more;
    whoever has told a person of them says so (`told`), and until then the next run tells of them again.
    """

    updates: Updates
    feed: FeedUpdates
    credentials: FeedCredentials
    answer_key: str
    vanished: tuple[Gap, ...] = ()
    _s3: Any = None

    def client(self, aws: AwsSettings) -> Any:  # noqa: ANN401  # boto3 makes its types at run time
        """Return a client for the feed's files, which threads may share; it is made when it is first needed."""
        if self._s3 is None:
            self._s3 = self.credentials.client(aws, connections=3 * _AHEAD)
        return self._s3

    def told(self, marks: Watermarks) -> None:
        """Note that a person was told of what has vanished."""
        marks.told(self.feed.feed_id, [gap.place for gap in self.vanished])

    @property
    def window(self) -> str:
        """The time that its files are of, in words: between the question's `since` and the answer."""
        until = f"{self.updates.at:%Y-%m-%d %H:%M}Z"
        since = self.updates.since
        return f"before {until}" if since is None else f"between {since:%Y-%m-%d %H:%M}Z and {until}"


@dataclass(slots=True)
class News:
    """Asks for what is new, feed by feed, and looks at each file.

    `marks` is what the destination has; None where nothing is remembered (all is new). `noting`: the answers are noted
    there, which is for whoever goes on to have the files. `since` overrides the watermarks. `withdrawn` are the files
    that were not had, of feeds that Lotame does not list any more; a feed that comes back is asked for them again.
    """

    client: LotameClient
    aws: AwsSettings
    marks: Watermarks | None
    feed: int | None = None
    since: datetime | None = None
    noting: bool = True
    withdrawn: tuple[Gap, ...] = ()

    def feed_ids(self) -> Sequence[int]:
        """Return the numbers of the feeds that are meant, asking for them where all are; it sets `withdrawn`."""
        if self.feed is not None:
            return [self.feed]
        listed = sorted(feed.id for feed in self.client.feeds())
        if self.marks is not None:
            gone = set(self.marks.feeds()).difference(listed)
            self.withdrawn = tuple(_withdrawn(one, name) for one in sorted(gone) for name in _left(self.marks, one))
        return listed

    def of_feed(self, feed_id: int) -> FeedNews:
        """Ask what is new in one feed. Raises what `LotameClient.updates` raises."""
        since = self.since
        if since is None and self.marks is not None:
            since = self.marks.since(feed_id)
        before = [] if self.marks is None else _left(self.marks, feed_id)
        updates = self.client.updates(feed_id, since)
        feed = updates.feed(feed_id) or FeedUpdates(feed_id)
        if self.marks is not None and self.noting:
            self.marks.asked(updates)
        credentials = FeedCredentials(partial(self._ask_again, feed_id, since), first=updates.credentials)
        news = FeedNews(updates, feed, credentials, self._answer_key(feed_id, updates))
        # A question that leaves out the time they are of tells nothing of them.
        if self.since is None:
            listed = set(feed.files)
            news.vanished = tuple(_vanished(news, name) for name in before if name not in listed)
        return news

    def _answer_key(self, feed_id: int, updates: Updates) -> str:
        # Lotame's clock tells whole seconds: two answers of one second are told apart by what they say.
        stem, dot, kind = keys.answer_key(self.client.settings.client_id, feed_id, updates.at).rpartition(".")
        return f"{stem}-{hashlib.sha256(updates.record).hexdigest()[:8]}{dot}{kind}"

    def _ask_again(self, feed_id: int, since: datetime | None) -> S3Credentials | None:
        return self.client.updates(feed_id, since).credentials

    def files(self, news: FeedNews) -> Iterator[FeedFile | Gap]:
        """Yield the files of a feed that are not had yet, in Lotame's order, and what is missing of them.

        The mapping file comes last, if any other is new, or it was to be had before and was not. Raises
        FarSideDeniedError and FarSideUnreachableError. Memory: 8 files.
        """
        found = False
        if news.feed.files:
            for one in self._new(news):
                found = True
                yield one
        mapping = news.feed.mapping
        if mapping is None or not (found or (self.marks is not None and self.marks.owes(news.feed.feed_id))):
            return
        if self.marks is not None and self.noting:
            self.marks.owe(news.feed.feed_id, str(mapping))
        state = self._mapping(news, mapping)
        if isinstance(state, Gap) or not self._is_had(state):
            yield state

    def _new(self, news: FeedNews) -> Iterator[FeedFile | Gap]:
        s3 = news.client(self.aws)
        with ThreadPoolExecutor(_AHEAD, "ds3tool-lotame-look") as pool:
            for one in self._looked_at(news, s3, pool):
                if isinstance(one, FeedFile) and self._is_had(one):
                    continue
                yield one
        if self.marks is not None and self.noting:
            self.marks.keep()  # a later process, which resumes what a killed one began, is to know what was looked at

    def _mapping(self, news: FeedNews, place: Location) -> FeedFile | Gap:
        if isinstance(place, S3Location):
            if news.updates.credentials is None:  # as of an answer without news, which names no file beside
                why = "is not had yet, and Lotame gave no credentials for it"
                error = SourceError(f"feed {news.feed.feed_id}: the mapping file {why}", hint=_NEXT_RUN)
                return Gap(news.feed.feed_id, str(place), error)
            return self._look(news, news.client(self.aws), place.key.rpartition("/")[2], place, mapping=True)
        try:
            web = look(place)
        except (SourceError, FarSideUnreachableError) as error:  # the feed's files are to be had all the same
            return Gap(news.feed.feed_id, str(place), error)
        modified = web.modified or news.updates.at
        key = keys.mapping_key(self.client.settings.client_id, news.feed, place.name, modified)
        # Without an ETag nothing tells one state of it from another but its time and its size.
        etag = web.etag or f"{web.last_modified or ''} {web.size}"
        return FeedFile(news.feed.feed_id, place.name, place, web.size, etag, modified, key, is_mapping=True, web=web)

    def _looked_at(self, news: FeedNews, s3: Any, pool: ThreadPoolExecutor) -> Iterator[FeedFile | Gap]:  # noqa: ANN401
        coming: deque[Future[FeedFile | Gap]] = deque()
        try:
            for name in news.feed.files:
                coming.append(pool.submit(self._look, news, s3, name, news.feed.where(name)))
                if len(coming) > _AHEAD:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            for one in coming:
                one.cancel()

    def _is_had(self, file: FeedFile) -> bool:
        had, modified = file.had, None if file.is_mapping else file.modified
        return self.marks is not None and self.marks.recall(had.feed_id, had.file, had.etag, modified=modified)

    def _look(
        self,
        news: FeedNews,
        s3: Any,  # noqa: ANN401  # boto3's client
        name: str,
        place: S3Location,
        *,
        mapping: bool = False,
    ) -> FeedFile | Gap:
        try:
            with far_side(str(place)):
                head = s3.head_object(Bucket=place.bucket, Key=place.key)
        except FarSideDeniedError:
            raise
        except (FarSideError, UsageError) as error:  # UsageError: what Lotame names is no place that S3 could have
            # Who may not list a bucket is not told that an object is missing: it is forbidden to them then.
            why = f"cannot be looked at ({error.message})"
            if isinstance(error, FarSideForbiddenError):
                why = "is not there, or may not be read"
            elif isinstance(error, FarSideNotFoundError):
                why = "is not there"
            _log.info("%s: %s", place, error)
            what = "the mapping file" if mapping else name
            return Gap(
                news.feed.feed_id,
                str(place),
                SourceError(
                    f"feed {news.feed.feed_id}: {what} is listed by Lotame and {why}; it is of the time {news.window}",
                    hint=_NEXT_RUN,
                ),
            )
        modified = head.get("LastModified") or _NEVER
        client_id = self.client.settings.client_id
        make = keys.mapping_key if mapping else keys.data_key
        return FeedFile(
            news.feed.feed_id,
            name,
            place,
            int(head["ContentLength"]),
            plain_etag(str(head.get("ETag", ""))),
            modified,
            make(client_id, news.feed, name, modified),
            is_mapping=mapping,
        )


def _left(marks: Watermarks, feed_id: int) -> list[str]:
    return sorted({*marks.outstanding(feed_id), *marks.missed(feed_id)})


def _withdrawn(feed_id: int, name: str) -> Gap:
    return Gap(
        feed_id,
        name,
        SourceError(
            f"feed {feed_id}: {name} could not be had, and Lotame does not list the feed any more",
            hint="ask Lotame for the feed: once it is listed again, the next run asks for the file",
        ),
    )


def _vanished(news: FeedNews, name: str) -> Gap:
    return Gap(
        news.feed.feed_id,
        name,
        SourceError(
            f"feed {news.feed.feed_id}: {name} could not be had, and Lotame does not list it any more; "
            f"what it lists now is of the time {news.window}",
            hint="ask Lotame to deliver it again",
        ),
    )
