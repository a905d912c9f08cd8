"""What objects on their way into S3 share: requests, room, the record of uploads, and threads that do the work."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ds3tool.aws.session import AwsSettings
from ds3tool.errors import Ds3Error, InterruptedRunError
from ds3tool.sinks.s3_parts import Room
from ds3tool.sinks.s3_present import Present
from ds3tool.sinks.s3_requests import S3Requests
from ds3tool.sinks.s3_uploads import Upload, UploadRecord, abort

_log = logging.getLogger(__name__)

# So many requests are under way at once.
THREADS = 8


class Shipping:
    """What all objects on their way into one bucket share. Nothing is asked of AWS before it is needed.

    `stopped_by` says whether the run is to end.
    """

    def __init__(self, aws: AwsSettings, bucket: str, record: UploadRecord, room: Room) -> None:
        self.record = record
        self.room = room
        self.stopped_by: Callable[[], bool] = lambda: False
        self._aws = aws
        self._bucket = bucket
        self._lock = threading.Lock()
        self._requests: S3Requests | None = None
        self._present: Present | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._earlier_ended = threading.Event()
        self._closing = False

    @property
    def requests(self) -> S3Requests:
        """What speaks to the bucket."""
        with self._lock:
            if self._requests is None:
                client = self._aws.client("s3", connections=2 * THREADS)
                client.meta.events.register("before-send.s3", self._unless_closing)
                self._requests = S3Requests(client, self._bucket)
            return self._requests

    @property
    def present(self) -> Present:
        """What looks at what is there."""
        requests = self.requests
        with self._lock:
            if self._present is None:
                self._present = Present(requests)
            return self._present

    def _unless_closing(self, **_: Any) -> None:  # noqa: ANN401  # boto3's own
        """Let nothing be sent once more when all is to end."""
        if self._closing:
            raise InterruptedRunError("the target is closed")

    def stopped(self) -> bool:
        """Whether whoever waits is to give up."""
        return self._closing or self.stopped_by()

    def submit(self, act: Callable[[], None]) -> None:
        """Have something done in another thread, soon; never, when all is to end."""
        with self._lock:
            if self._closing:
                return
            is_first = self._pool is None
            if self._pool is None:
                self._pool = ThreadPoolExecutor(THREADS, "ds3tool-s3")
            if is_first and self.record.earlier:
                self._pool.submit(self._abort_quietly)
            self._pool.submit(act)

    def _abort_quietly(self) -> None:
        try:
            self.abort_earlier()
        except Ds3Error as error:
            _log.warning("what an earlier run has left in S3 is not aborted yet: %s", error)
        finally:
            self._earlier_ended.set()

    def wait_for_earlier(self) -> None:
        """Return when an upload may be begun: none is to be taken for one that an earlier run has left without its id.

        For threads that `submit` has given work to.
        """
        if any(upload.upload_id is None for upload in self.record.earlier):
            self._earlier_ended.wait()

    def abort_earlier(self) -> int:
        """Abort what earlier runs have left; return how many uploads that were."""
        count = 0
        for upload in list(self.record.earlier):
            mine = upload.aws == self._aws  # it may have been going to another place
            abort(self.requests.client if mine else upload.aws.client("s3"), upload)
            self.record.ended(upload)
            count += 1
        return count

    def close(self) -> None:
        """End what is on its way, abort every upload that is not finished, and give back what was held."""
        with self._lock:
            self._closing = True
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)
        unfinished = [*self.record.unfinished, *self.record.earlier]
        try:
            if unfinished:
                self._abort_all(unfinished)
        finally:
            self.record.close()
            self.room.close()
            if self._present is not None:
                self._present.close()

    def _abort_all(self, unfinished: list[Upload]) -> None:
        """Abort uploads, with little patience: what cannot be now stays remembered."""
        try:
            for upload in unfinished:
                abort(upload.aws.client("s3", retries={"mode": "standard", "total_max_attempts": 2}), upload)
                self.record.ended(upload)
        except Ds3Error as error:
            _log.warning("uploads to S3 are not aborted yet: %s", error)
