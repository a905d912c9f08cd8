"""Puts what a source yields into a bucket, through planned bulk jobs."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator

from ds3tool.client import Ds3Client
from ds3tool.clock import Clock
from ds3tool.errors import (
    ConflictError,
    Ds3Error,
    InterruptedRunError,
    JobError,
    NotFoundError,
    SourceError,
)
from ds3tool.jobs.ends import OpenObject, Source, SourceObject
from ds3tool.jobs.engine import SMALL_BLOB_BYTES, Engine
from ds3tool.jobs.integrity import bucket_policy, compare, digest_range, expected_checksum
from ds3tool.jobs.plan import PlannedJob, plan_put
from ds3tool.jobs.recorder import Recorder
from ds3tool.jobs.run import Run, RunResult, RunSettings
from ds3tool.jobs.state import JobState
from ds3tool.protocol.checksums import digest_of, to_base64
from ds3tool.protocol.model import ChecksumType, DataPolicy, JobDetails, ListedObject, Versioning
from ds3tool.transport.burst import Burst
from ds3tool.transport.pool import Transport
from ds3tool.transport.replies import ReplyHead
from ds3tool.transport.templates import BlobHeads

_log = logging.getLogger(__name__)


class PutRun(Run):
    """Puts every object of `source` into `bucket`. One use: `run` once, `progress` from any thread."""

    waiting_for = "room in the appliance's cache"

    def __init__(
        self,
        client: Ds3Client,
        source: Source,
        bucket: str,
        *,
        prefix: str,
        settings: RunSettings,
        recorder: Recorder | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`prefix` is what all keys of the source begin with; what exists below it is listed once a job."""
        super().__init__(client, settings=settings, recorder=recorder, clock=clock)
        self._source = source
        self._bucket = bucket
        self._prefix = prefix

    def run(self) -> RunResult:
        """Plan, create and move job after job; returns the result also when some objects or a job failed.

        Raises what makes the run impossible before a job exists: no such bucket, no permission, bad names.
        """
        policy = bucket_policy(self.client, self._bucket)
        try:
            for plan in self._plans(policy):
                self.planned(plan)
                self._run_job(plan, policy)
        except (InterruptedRunError, JobError) as error:
            self.result.stopped = error
        for failure in self._source.failures:
            self.result.failures.append(failure)
            self.recorder.failed(None, failure)
        self.result.notes.extend(self._source.skipped)
        self.result.skipped += len(self._source.skipped)
        return self.finished()

    # -- planning ----------------------------------------------------------------------------------------------

    def _plans(self, policy: DataPolicy) -> Iterator[PlannedJob]:
        for plan in plan_put(self._source.objects(), self._bucket):
            kept = self._without_existing(plan, policy)
            if len(kept):
                yield kept

    def _without_existing(self, plan: PlannedJob, policy: DataPolicy) -> PlannedJob:
        """Leave out what is in the bucket already: the same is skipped, anything else fails by name."""
        wanted = {key: number for number, key in enumerate(plan.keys)}
        common = plan.keys[0] if len(plan) == 1 else self._prefix
        existing: dict[int, ListedObject] = {}
        for listed in self.client.list_objects(self._bucket, prefix=common):
            number = wanted.get(listed.key)
            if number is not None:
                existing[number] = listed
            elif len(plan) == 1:
                break  # one key: it would have come first
        if not existing:
            return plan
        for number, listed in existing.items():
            try:
                if self._is_same(plan.source_object(number), listed, policy):
                    self.result.skipped += 1
                    continue
                error: Ds3Error = SourceError(
                    f"{listed.key} is in the bucket already, and is not the same",
                    hint="put it under another prefix, or remove the object first: ds3tool rm",
                )
            except Ds3Error as failed:
                error = failed
            self.fail(listed.key, error, job_id=None)
        return plan.keep([number for number in range(len(plan)) if number not in existing])

    def _is_same(self, item: SourceObject, listed: ListedObject, policy: DataPolicy) -> bool:
        """Whether an existing object is what would be put: size, and digest where one is known, else time."""
        if listed.last_modified is None:
            raise SourceError(
                f"{listed.key} is being put by another job",
                hint="wait for that job, or cancel it: ds3tool job ls",
            )
        if listed.size != item.size:
            return False
        if policy.checksum_type == ChecksumType.MD5 and listed.etag is not None and _is_md5(listed.etag):
            opened = self._source.open(item)
            try:
                digest = digest_range(opened.read, 0, item.size, ChecksumType.MD5)
                opened.check_unchanged()
            finally:
                opened.close()
            return digest == _hex_to_base64(listed.etag)
        return item.modified_ns / 1e9 <= listed.last_modified.timestamp()

    # -- one job -----------------------------------------------------------------------------------------------

    def _run_job(self, plan: PlannedJob, policy: DataPolicy) -> None:
        try:
            details = self.create(
                plan,
                lambda: self.client.create_put_job(
                    self._bucket,
                    plan.to_put,
                    name=plan.name,
                    priority=self.settings.priority,
                    max_upload_size=self.settings.blob_size,
                ),
            )
        except ConflictError as error:
            raise JobError(
                f"the appliance refuses the job: {error.message}",
                hint="something of that name came into the bucket meanwhile; run the command again",
            ) from error
        with self.given_up_unless_moved(details.job.id):
            self._move_job(plan, policy, details)

    def _move_job(self, plan: PlannedJob, policy: DataPolicy, details: JobDetails) -> None:
        job_id = details.job.id
        state = JobState(
            details.chunks,
            plan.keys,
            small_limit=SMALL_BLOB_BYTES if Burst.suits(self.transport) else -1,
            skip_cached=True,
        )
        there_before = (state.objects_done, state.bytes_done)
        mover = _PutMover(
            self.client,
            self.transport,
            source=self._source,
            plan=plan,
            state=state,
            job_id=job_id,
            checksum_type=policy.checksum_type,
        )
        failed: dict[int, Ds3Error] = {}

        def on_failure(owner: int, error: Ds3Error) -> None:
            failed[owner] = error
            self.fail(plan.keys[owner], error, job_id=job_id)

        self._account_for_unlisted(plan, state, on_failure)
        engine = Engine(
            self.client,
            self.transport,
            job_id=job_id,
            state=state,
            mover=mover,
            recorder=self.recorder,
            settings=self.settings.engine,
            clock=self.clock,
            on_failure=on_failure,
            on_objects=lambda owners: self._objects_ended(plan, owners),
        )
        try:
            self.move(engine)
        finally:
            self.count(objects=state.objects_done - there_before[0], bytes_moved=state.bytes_done - there_before[1])
        self._finish(job_id, plan, state, failed, policy)

    def _objects_ended(self, plan: PlannedJob, owners: Iterable[int]) -> None:
        if self.on_object is not None:
            for owner in owners:
                self.object_ended(plan.keys[owner], plan.sizes[owner], None)

    def _account_for_unlisted(
        self, plan: PlannedJob, state: JobState, on_failure: Callable[[int, Ds3Error], None]
    ) -> None:
        """Objects without a blob: empty ones that an older release has made with the job, or a broken promise."""
        for owner in state.unlisted_objects:
            if plan.sizes[owner]:
                on_failure(owner, JobError(f"{plan.keys[owner]}: the appliance did not plan it"))
            else:
                self.count(objects=1, bytes_moved=0)
                self.object_ended(plan.keys[owner], 0, None)

    def _finish(
        self, job_id: str, plan: PlannedJob, state: JobState, failed: Iterable[int], policy: DataPolicy
    ) -> None:
        """Give up what failed, and drop what came in whole but cannot be vouched for."""
        failed = list(failed)
        if not failed:
            self.note_job(job_id)
            return
        if len(state.blobs):
            self.give_up(job_id)
        versions = {key: state.blobs.version_ids[number] for number, key in enumerate(state.blobs.keys)}
        for owner in failed:
            if state.listed[owner]:
                self._drop_object(plan.keys[owner], versions.get(plan.keys[owner]), policy)

    def _drop_object(self, key: str, version_id: str | None, policy: DataPolicy) -> None:
        """Delete what the job left of an object that failed here: its bytes may all be in, but nobody vouches for them.

        Only ever this job's own object: where versions are kept, it must be the very version.
        """
        try:
            head = self.client.head_object(self._bucket, key)
            own = head.version_id == version_id if version_id is not None and head.version_id is not None else False
            if policy.versioning == Versioning.NONE or own:
                self.client.delete_object(self._bucket, key, version_id=version_id if own else None)
        except NotFoundError:
            return
        except Ds3Error as error:
            self.result.notes.append(f"{key} failed here but may be on the appliance ({error.message}); remove it")

    def give_up(self, job_id: str) -> None:
        """Truncate the job: what is complete goes to tape, the rest is dropped, and nothing idles for a day."""
        try:
            self.client.truncate_job(job_id)
        except NotFoundError:
            pass
        except Ds3Error as error:
            _log.error("job %s could not be truncated: %s", job_id, error)
            self.result.notes.append(
                f"job {job_id} could not be truncated ({error.message}); end it: ds3tool job truncate {job_id}"
            )
        self.note_job(job_id)


class _PutMover:
    """Sends the blobs of one put job: digest first, then the bytes, then a look whether the source has changed."""

    method = "PUT"

    def __init__(
        self,
        client: Ds3Client,
        transport: Transport,
        *,
        source: Source,
        plan: PlannedJob,
        state: JobState,
        job_id: str,
        checksum_type: ChecksumType,
    ) -> None:
        self._client = client
        self._source = source
        self._plan = plan
        self._blobs = state.blobs
        self._owners = state.object_of
        self._job_id = job_id
        self._checksum_type = checksum_type
        self._heads = BlobHeads(transport, method="PUT", bucket=plan.bucket, job_id=job_id)
        self._sent: dict[int, str] = {}

    def _open(self, number: int) -> OpenObject:
        return self._source.open(self._plan.source_object(self._owners[number]))

    def move(self, number: int, counter: Callable[[int], None]) -> str:
        """Digest one blob, send it, and make sure that its source is still what was planned."""
        offset, length = self._blobs.offsets[number], self._blobs.lengths[number]
        opened = self._open(number)
        try:
            checksum = digest_range(opened.read, offset, length, self._checksum_type)
            opened.check_unchanged()
            result = self._client.put_object(
                self._plan.bucket,
                self._blobs.keys[number],
                opened.body(offset, length, counter=counter),
                job_id=self._job_id,
                offset=offset,
                checksum=(self._checksum_type, checksum),
            )
            opened.check_unchanged()
        finally:
            opened.close()
        if result.checksum is not None and result.checksum_type == self._checksum_type:
            compare(self._blobs.keys[number], offset, expected=checksum, actual=result.checksum)
        return checksum

    def small_request(self, number: int) -> bytes:
        """Return head and body of a small blob."""
        offset, length = self._blobs.offsets[number], self._blobs.lengths[number]
        opened = self._open(number)
        try:
            data = opened.read(offset, length)
            opened.check_unchanged()
        finally:
            opened.close()
        checksum = to_base64(digest_of(self._checksum_type, data))
        self._sent[number] = checksum
        return self._heads.put(self._blobs.keys[number], offset, length, self._checksum_type, checksum) + data

    def small_answer(self, number: int, head: ReplyHead, body: memoryview) -> str:  # noqa: ARG002
        """Hold the appliance's digest, where it echoes one, against ours."""
        checksum = self._sent.pop(number)
        stated = expected_checksum(head.headers)
        if stated is not None and stated.type == self._checksum_type:
            compare(self._blobs.keys[number], self._blobs.offsets[number], expected=checksum, actual=stated.value)
        return checksum

    def object_moved(self, owner: int) -> None:
        """Nothing is held for an object."""

    def object_failed(self, owner: int) -> None:
        """Nothing is held for an object."""


def _is_md5(etag: str) -> bool:
    return re.fullmatch(r"[0-9a-fA-F]{32}", etag) is not None


def _hex_to_base64(text: str) -> str:
    return to_base64(bytes.fromhex(text))
