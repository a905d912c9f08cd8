"""Fetches what is new in Lotame's feeds into a folder: several files at once, each whole or not at all."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import field
from typing import Any

from ds3tool.aws.failures import far_side
from ds3tool.errors import (
    ChecksumError,
    Ds3Error,
    FarSideDeniedError,
    FarSideError,
    FarSideNotFoundError,
    FarSideUnreachableError,
    InterruptedRunError,
    ProtocolError,
    SinkError,
    SourceError,
)
from ds3tool.lazy_dataclass import dataclass
from ds3tool.lotame.model import WebLocation
from ds3tool.lotame.news import FeedFile, FeedNews, Gap, News
from ds3tool.lotame.watermark import Watermarks
from ds3tool.lotame.web_file import web_reply
from ds3tool.lotame.whole_file import WholeFile
from ds3tool.lotame.wholeness import GzipCheck

_log = logging.getLogger(__name__)

_BLOCK = 1 << 20
# A reply that breaks off is continued so often without a byte more, with growing waits between.
_TRIES = 3
_MD5 = re.compile(r"[0-9a-f]{32}")
_CHANGED = 412


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that is safe here now; `was_here`: it was before."""

    file: FeedFile
    was_here: bool = False


@dataclass(slots=True)
class Pulled:
    """What came of a run: files and bytes that came, files that were here already, and what is missing."""

    files: int = 0
    bytes: int = 0
    present: int = 0
    feeds: int = 0
    gaps: list[Gap] = field(default_factory=list)
    seconds: float = 0.0
    stopped: Ds3Error | None = None


class Puller:
    """Fetches news into `folder`, under the keys that an archive would have. One use: `run`.

    `marks` are those of the folder, and those of `news`; each file is noted there once it is safe on the disk. When
    `stopped` is set nothing new is begun, and what is under way breaks off. Memory: transfers times 1 MiB.
    """

    def __init__(
        self,
        news: News,
        marks: Watermarks,
        folder: str,
        *,
        transfers: int = 4,
        stopped: threading.Event | None = None,
        on_outcome: Callable[[Fetched | Gap], None] | None = None,
    ) -> None:
        self._news = news
        self._marks = marks
        self._folder = folder
        self._transfers = transfers
        self._on_outcome = on_outcome
        self._stopped = stopped or threading.Event()
        self._broke_off = False
        self._told: list[FeedNews] = []
        self.result = Pulled()

    def run(self) -> Pulled:
        """Fetch all that is new, feed by feed. What ends the run early is in the result's `stopped`."""
        started = time.monotonic()
        try:
            feed_ids = self._news.feed_ids()
            self.result.gaps.extend(self._news.withdrawn)
            for feed_id in feed_ids:
                self._see_that_it_goes_on()
                self._feed(feed_id)
            for news in self._told:
                news.told(self._marks)
        except Ds3Error as error:
            # Who is asked to stop does not wait for Lotame any more: that nobody answered is not why the run ends.
            waited = isinstance(error, FarSideUnreachableError) and self._stopped.is_set() and not self._broke_off
            self.result.stopped = InterruptedRunError("interrupted") if waited else error
        self.result.seconds = time.monotonic() - started
        return self.result

    def _see_that_it_goes_on(self) -> None:
        if self._stopped.is_set():
            raise InterruptedRunError("interrupted")

    def _feed(self, feed_id: int) -> None:
        try:
            news = self._news.of_feed(feed_id)
        except FarSideDeniedError:
            raise
        except (FarSideError, ProtocolError) as error:
            if self._news.feed is not None:
                raise
            self.result.gaps.append(Gap(feed_id, f"lotame://{feed_id}", error))
            return
        self.result.feeds += 1
        self.result.gaps.extend(news.vanished)
        if news.vanished:
            self._told.append(news)
        files_before = self.result.files
        with ThreadPoolExecutor(self._transfers, "ds3tool-lotame-pull") as pool:
            for outcome in self._fetched(news, pool):
                self._take(outcome)
        if self.result.files > files_before:
            self._write(news.answer_key, news.updates.record)
        self._marks.advance(feed_id)

    def _take(self, outcome: Fetched | Gap) -> None:
        if isinstance(outcome, Gap):
            self.result.gaps.append(outcome)
        else:
            self._marks.had([outcome.file.had])
            self.result.present += outcome.was_here
            if not outcome.was_here:
                self.result.files += 1
                self.result.bytes += outcome.file.size
        if self._on_outcome is not None:
            self._on_outcome(outcome)

    def _fetched(self, news: FeedNews, pool: ThreadPoolExecutor) -> Iterator[Fetched | Gap]:
        """Yield each file as it is safe, in order of their listing, and each that is missing."""
        s3 = news.client(self._news.aws)
        coming: deque[Future[Fetched | Gap]] = deque()
        try:
            for one in self._news.files(news):
                self._see_that_it_goes_on()
                if isinstance(one, Gap):
                    yield one
                    continue
                coming.append(pool.submit(self._one, s3, one))
                while len(coming) > 2 * self._transfers:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        except BaseException:
            self._broke_off = not self._stopped.is_set()
            self._stopped.set()
            raise
        finally:
            for left in coming:
                left.cancel()

    def _one(self, s3: Any, file: FeedFile) -> Fetched | Gap:  # noqa: ANN401  # boto3's client
        """Fetch one file, unless its bytes are here; a Gap for one that cannot be had."""
        path = os.path.join(self._folder, file.key)
        if _has_bytes(path, file):
            return Fetched(file, was_here=True)
        try:
            self._fetch(s3, file, path)
        except FarSideDeniedError:
            raise
        except (SourceError, SinkError, ChecksumError, FarSideError) as error:
            return Gap(file.feed_id, file.key, error)
        except FarSideUnreachableError as error:
            if file.web is None:
                raise
            return Gap(file.feed_id, file.key, error)
        return Fetched(file)

    def _fetch(self, s3: Any, file: FeedFile, path: str) -> None:  # noqa: ANN401  # boto3's client
        check = GzipCheck() if file.name.endswith(".gz") else None
        hasher = hashlib.md5(usedforsecurity=False)
        comparable, done, vain = False, 0, 0
        with WholeFile(path, alone=True) as whole:
            while True:
                before = done
                try:
                    with _opened(s3, file, done) as (read, comparable):
                        while block := read(_BLOCK):
                            self._see_that_it_goes_on()
                            whole.write(block)
                            hasher.update(block)
                            if check is not None:
                                check.feed(block)
                            done += len(block)
                    if done >= file.size:
                        break
                    raise FarSideUnreachableError(f"{file.place} breaks off after {done} of {file.size} bytes")
                except FarSideUnreachableError as error:
                    _log.info("%s broke off at %d: %s", file.place, done, error)
                    vain = 0 if done > before else vain + 1
                    if vain > _TRIES:
                        raise
                self._stopped.wait(0.1 * 2**vain)
            self._check(file, done, hasher.hexdigest() if comparable else None, check)
            whole.commit()

    @staticmethod
    def _check(file: FeedFile, done: int, md5: str | None, check: GzipCheck | None) -> None:
        if done != file.size:
            raise SourceError(f"feed {file.feed_id}: {file.place} gave {done} bytes of {file.size}")
        if md5 is not None and md5 != file.etag:
            raise ChecksumError(
                f"feed {file.feed_id}: {file.place} came with other bytes than S3 says that it has",
                key=file.key,
                offset=0,
                expected=file.etag,
                actual=md5,
            )
        trouble = None if check is None else check.trouble()
        if trouble is not None:
            raise SourceError(
                f"feed {file.feed_id}: {file.name}, delivered {file.delivered}, is not whole: {trouble}",
                hint="it is asked for again by the next run; if it stays so, ask Lotame to deliver it again",
            )

    def _write(self, key: str, data: bytes) -> None:
        with WholeFile(os.path.join(self._folder, key)) as whole:
            whole.write(data)
            whole.commit()


def _has_bytes(path: str, file: FeedFile) -> bool:
    """Whether a file that is here has the size, and the MD5 where the ETag is one, of what S3 has."""
    try:
        if os.path.getsize(path) != file.size or not _MD5.fullmatch(file.etag):
            return False
        with open(path, "rb") as here:
            return hashlib.file_digest(here, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() == file.etag
    except OSError:
        return False


@contextmanager
def _opened(s3: Any, file: FeedFile, offset: int) -> Iterator[tuple[Callable[[int], bytes], bool]]:  # noqa: ANN401
    """Give what reads a file's bytes from `offset` on, and whether its ETag is the MD5 of them all."""
    asked = {"Range": f"bytes={offset}-"} if offset else {}
    if isinstance(file.place, WebLocation):
        if file.web is not None and file.web.etag:
            asked["If-Match"] = f'"{file.web.etag}"'
        with web_reply(file.place, asked) as reply:
            if reply.status != (206 if offset else 200):
                raise _changed(file)
            yield reply.read, False
        return
    with far_side(str(file.place)):
        try:
            with far_side(str(file.place)):
                reply = s3.get_object(Bucket=file.place.bucket, Key=file.place.key, IfMatch=f'"{file.etag}"', **asked)
        except FarSideError as error:
            if error.status == _CHANGED or isinstance(error, FarSideNotFoundError):
                raise _changed(file) from error
            raise
        keyed = str(reply.get("ServerSideEncryption", "")).startswith("aws:kms") or reply.get("SSECustomerAlgorithm")
        yield reply["Body"].read, not keyed and _MD5.fullmatch(file.etag) is not None


def _changed(file: FeedFile) -> SourceError:
    return SourceError(
        f"feed {file.feed_id}: {file.name} has changed, or gone, since it was listed ({file.place})",
        hint="the next run asks for it again",
    )
