"""Overwriting where no versions are kept: the old object is deleted first, as late as can be, and never silently."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable

from ds3tool.client import Ds3Client
from ds3tool.errors import ConflictError, Ds3Error, NotFoundError, SourceError
from ds3tool.jobs.ends import Source, SourceObject
from ds3tool.jobs.plan import PlannedJob
from ds3tool.jobs.recorder import Recorder
from ds3tool.protocol.model import Job, ListedObject

_log = logging.getLogger(__name__)


class Replacing:
    """Deletes the objects of one bucket that a put is about to replace, and knows which have no successor yet."""

    def __init__(self, client: Ds3Client, source: Source, bucket: str, recorder: Recorder) -> None:
        self._client = client
        self._source = source
        self._bucket = bucket
        self._recorder = recorder
        # Keys of objects that were deleted, or may have been, and are not replaced yet.
        self.deleted: set[str] = set()
        self._arrived: set[str] = set()

    def read_whole(self, item: SourceObject) -> None:
        """Read a source object from end to end, so that nothing is deleted for one that cannot be read."""
        from ds3tool.jobs.known_digests import READ_BYTES

        if self._source.sequential:
            raise SourceError(
                f"{item.key} is in the bucket already, and a stream cannot be read whole before that is deleted",
                hint="leave out --size: then the stream is kept in a file first",
            )
        opened = self._source.open(item)
        try:
            for offset in range(0, item.size, READ_BYTES):
                opened.read(offset, min(READ_BYTES, item.size - offset))
            opened.check_unchanged()
        finally:
            opened.close()

    def see_that_a_job_is_admitted(self, plan: PlannedJob, taken: str, create: Callable[[PlannedJob], Job]) -> None:
        """Have the appliance refuse a job for the one reason that deleting will mend: the key `taken` is there.

        Any other refusal (a blob size, a priority, a right) is raised, while everything is there still. A job that is
        admitted, since somebody has just deleted that object, is given up again.
        """
        try:
            job = create(plan.keep([plan.keys.index(taken)]))
        except ConflictError:
            return
        with contextlib.suppress(NotFoundError):
            self._client.cancel_job(job.id)

    def delete(self, listed: ListedObject) -> None:
        """Delete the very object that was listed; a Ds3Error when it is another by now, or cannot be deleted."""
        try:
            head = self._client.head_object(self._bucket, listed.key)
        except NotFoundError:
            return  # somebody was quicker
        known = listed.version_id is not None and head.version_id is not None
        same = head.size == listed.size and head.etag == listed.etag
        if not same or (known and head.version_id != listed.version_id):
            raise ConflictError(
                f"{listed.key} is not any more what was listed: somebody has put another; it was not deleted",
                status=409,
                code="Changed",
                hint="look at it, and run the command again",
            )
        version = listed.version_id if known else None
        self._recorder.deleting(self._bucket, listed.key, version, listed.etag)
        _log.warning(
            "deleting %s of bucket %s (version %s, ETag %s, %d bytes) to put another in its place",
            listed.key,
            self._bucket,
            version,
            listed.etag,
            listed.size,
        )
        self.deleted.add(listed.key)
        try:
            self._client.delete_object(self._bucket, listed.key, version_id=version)
        except NotFoundError:
            pass  # the reply to the first try was lost
        except Ds3Error as error:
            if isinstance(error, ConflictError) or error.exit_code == 6:
                self.deleted.discard(listed.key)  # the appliance has refused, so it is still there
            raise

    def recall(self, keys: Iterable[str]) -> None:
        """An earlier run has deleted the objects of these keys, or may have."""
        self.deleted.update(keys)

    def found(self, keys: Iterable[str]) -> None:
        """Objects of these keys need not be put any more: what was to replace the old ones is there for good."""
        self.deleted.difference_update(keys)

    def arrived(self, keys: Iterable[str]) -> None:
        """Objects of these keys are on the appliance, while their job lasts."""
        replaced = self.deleted.intersection(keys)
        self.deleted -= replaced
        self._arrived |= replaced

    def settle(self) -> None:
        """A job has ended well: what has arrived stays."""
        self._arrived.clear()

    def doubt(self) -> None:
        """A job was lost: what had arrived may be gone with it."""
        self.deleted |= self._arrived
        self._arrived.clear()

    def explain(self, key: str, error: Ds3Error) -> Ds3Error:
        """Return the failure of an object, which says so when the old one is gone."""
        if key in self.deleted:
            self.deleted.discard(key)
            error.message += "; the object that was there before has been deleted to make room for it"
            error.args = (error.message,)
        return error
