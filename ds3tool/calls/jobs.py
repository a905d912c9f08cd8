"""Calls about bulk jobs: their creation, their chunks, their end."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

from ds3tool.calls.exchange import Caller
from ds3tool.errors import BusyError, RetryLaterError
from ds3tool.protocol import requests, responses
from ds3tool.protocol.known_blobs import KnownBlobs
from ds3tool.protocol.messages import Response
from ds3tool.protocol.model import (
    AllocatedChunk,
    Chunk,
    Job,
    JobDetails,
    JobRecord,
    ObjectToGet,
    ObjectToPut,
    Priority,
    ProcessingOrder,
    ReadyChunks,
)
from ds3tool.protocol.object_columns import GetColumns, PutColumns


class JobCalls(Caller):
    """What can be asked and wanted of jobs; every method may raise what `Ds3Client` says."""

    def create_put_job(
        self,
        bucket: str,
        objects: Sequence[ObjectToPut],
        *,
        name: str | None = None,
        priority: Priority | None = None,
        max_upload_size: int | None = None,
        ignore_naming_conflicts: bool = False,
        force: bool = False,
        aggregating: bool | None = None,
        minimize_spanning_across_media: bool | None = None,
        pre_allocate_job_space: bool = False,
        verify_after_write: bool | None = None,
        implicit_job_id_resolution: bool | None = None,
        dead_job_cleanup_allowed: bool | None = None,
        protected: bool | None = None,
        ask: Callable[[], JobDetails | None] | None = None,
    ) -> JobDetails:
        """Declare up to 500,000 objects to put and return the job with its chunks.

        ConflictError when a name exists and the data policy keeps no versions, unless `ignore_naming_conflicts`,
        which leaves such objects out. `max_upload_size` bounds the blobs, in bytes. `ask` is called before it is sent
        again without anybody knowing whether there is a job: it returns that, or None when there is none.
        """
        request = requests.create_put_job(
            bucket,
            objects,
            name=name,
            priority=priority,
            max_upload_size=max_upload_size,
            ignore_naming_conflicts=ignore_naming_conflicts,
            force=force,
            aggregating=aggregating,
            minimize_spanning_across_media=minimize_spanning_across_media,
            pre_allocate_job_space=pre_allocate_job_space,
            verify_after_write=verify_after_write,
            implicit_job_id_resolution=implicit_job_id_resolution,
            dead_job_cleanup_allowed=dead_job_cleanup_allowed,
            protected=protected,
        )
        return self._exchange.exchange(request, _job_of(objects), ask=ask)

    def create_get_job(
        self,
        bucket: str,
        objects: Sequence[ObjectToGet],
        *,
        name: str | None = None,
        priority: Priority | None = None,
        processing_order: ProcessingOrder = ProcessingOrder.NONE,
        aggregating: bool | None = None,
        implicit_job_id_resolution: bool | None = None,
        dead_job_cleanup_allowed: bool | None = None,
        protected: bool | None = None,
        retry_busy: bool = True,
        ask: Callable[[], JobDetails | None] | None = None,
    ) -> JobDetails:
        """Ask for up to 500,000 objects or ranges and return the job, whose blobs are whole and cover them.

        MediaOfflineError when tapes have to be loaded first. `retry_busy` False hands 503 over at once; `ask` as of
        `create_put_job`.
        """
        request = requests.create_get_job(
            bucket,
            objects,
            name=name,
            priority=priority,
            processing_order=processing_order,
            aggregating=aggregating,
            implicit_job_id_resolution=implicit_job_id_resolution,
            dead_job_cleanup_allowed=dead_job_cleanup_allowed,
            protected=protected,
        )
        return self._exchange.exchange(request, _job_of(objects), retry_busy=retry_busy, ask=ask)

    def create_verify_job(
        self,
        bucket: str,
        objects: Sequence[ObjectToGet],
        *,
        name: str | None = None,
        priority: Priority | None = None,
        aggregating: bool | None = None,
    ) -> JobDetails:
        """Have objects read back from their media and checked; no bytes come here."""
        request = requests.create_verify_job(bucket, objects, name=name, priority=priority, aggregating=aggregating)
        return self._send(request, responses.job)

    def get_ready_chunks(
        self,
        job_id: str,
        *,
        preferred_number: int | None = None,
        chunk_id: str | None = None,
        known: KnownBlobs | None = None,
    ) -> ReadyChunks:
        """Return the chunks that can be worked on now; when there are none, when to ask again.

        What they name in the order of the keys that the job is `known` to have shares their texts. NotFoundError when
        the job is finished or gone: GET job tells which.
        """
        request = requests.get_ready_chunks(job_id, preferred_number=preferred_number, chunk_id=chunk_id)
        return self._send(request, functools.partial(responses.ready_chunks, known=known))

    def allocate_chunk(self, chunk_id: str) -> AllocatedChunk:
        """Ask for room for one chunk of a put job; having to wait is an answer, not an error."""
        try:
            chunk = self._exchange.exchange(requests.allocate_chunk(chunk_id), responses.chunk, retry_busy=False)
        except (BusyError, RetryLaterError) as busy:
            seconds = busy.retry_after_seconds
            return AllocatedChunk(None, None if seconds is None else timedelta(seconds=seconds))
        return AllocatedChunk(chunk)

    def get_chunk(self, chunk_id: str) -> Chunk:
        """Return one chunk as it stands."""
        return self._send(requests.get_chunk(chunk_id), responses.chunk)

    def get_job(self, job_id: str) -> JobDetails:
        """Return a job, running or ended; an ended one has no chunks, a running get those still to be read."""
        return self._send(requests.get_job(job_id), responses.job)

    def get_job_head(self, job_id: str) -> Job:
        """Return the same without its chunks: of a large job they take as long to read as all else together."""
        return self._send(requests.get_job(job_id), responses.job_head)

    def list_jobs(self, *, bucket: str | None = None) -> tuple[Job, ...]:
        """Return the appliance's list of jobs, without their chunks. Ended ones may be missing: see the other lists."""
        return self._send(requests.list_jobs(bucket=bucket), responses.jobs)

    def modify_job(self, job_id: str, *, priority: Priority | None = None, name: str | None = None) -> JobDetails:
        """Change a job; with nothing to change, only tell the appliance that somebody still works on it."""
        return self._send(requests.modify_job(job_id, priority=priority, name=name), responses.job)

    def touch_job(self, job_id: str) -> None:
        """Tell the appliance that somebody still works on a job, without reading what it lists of it."""
        self._send(requests.modify_job(job_id), responses.nothing)

    def cancel_job(self, job_id: str) -> None:
        """Give a job up, with every object of it that is not on media completely."""
        self._send(requests.cancel_job(job_id), responses.done)

    def truncate_job(self, job_id: str) -> None:
        """End a job with the objects that the appliance has completely; the rest is given up."""
        self._send(requests.truncate_job(job_id), responses.done)

    def list_active_jobs(self, *, bucket: str | None = None) -> Iterator[JobRecord]:
        """Yield the running jobs."""
        return self._job_records("active_job", bucket)

    def list_completed_jobs(self, *, bucket: str | None = None) -> Iterator[JobRecord]:
        """Yield the completed jobs of the last weeks."""
        return self._job_records("completed_job", bucket)

    def list_canceled_jobs(self, *, bucket: str | None = None) -> Iterator[JobRecord]:
        """Yield the cancelled jobs of the last weeks."""
        return self._job_records("canceled_job", bucket)

    def _job_records(self, resource: str, bucket: str | None) -> Iterator[JobRecord]:
        return self._all(
            lambda offset: requests.list_job_records(resource, bucket=bucket, page_offset=offset),
            responses.job_records,
        )


def _job_of(objects: Sequence[ObjectToPut] | Sequence[ObjectToGet]) -> Callable[[Response], JobDetails]:
    """Return what parses the reply to the creation of a job of these objects, and shares their keys where it can."""
    known = None
    if isinstance(objects, PutColumns | GetColumns):
        sizes = objects.sizes
        known = KnownBlobs(objects.keys, sizes if sizes is not None and sizes.typecode == "Q" else None)
    return functools.partial(responses.job, known=known)
