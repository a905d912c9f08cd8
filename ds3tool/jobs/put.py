"""Puts what a source yields into a bucket, through planned bulk jobs."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator

from ds3tool.client import Ds3Client
from ds3tool.clock import Clock
from ds3tool.errors import (
    ApplianceError,
    ConflictError,
    Ds3Error,
    JobError,
    JobLostError,
    NotFoundError,
    SourceError,
)
from ds3tool.jobs.ends import OpenObject, Source, SourceObject
from ds3tool.jobs.engine import SMALL_BLOB_BYTES, Engine
from ds3tool.jobs.integrity import bucket_policy, compare_sent, digest_range, has_digests
from ds3tool.jobs.plan import PlannedJob, plan_put
from ds3tool.jobs.recorder import Recorder
from ds3tool.jobs.run import UNREACHABLE, Run, RunResult, RunSettings
from ds3tool.jobs.state import JobState
from ds3tool.protocol import names, responses
from ds3tool.protocol.checksums import digest_of, to_base64
from ds3tool.protocol.messages import Response
from ds3tool.protocol.model import ChecksumType, DataPolicy, JobStatus, ListedObject, PutResult, Versioning
from ds3tool.transport.bodies import OutgoingBody
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
        self._same_by_time = 0

    def run(self) -> RunResult:
        """Plan, create and move job after job; returns the result also when some objects or a job failed.

        Raises what makes the run impossible before a job exists: no such bucket, no permission, bad names.
        """
        policy = bucket_policy(self.client, self._bucket)
        with self.stopping():
            for plan in self._plans(policy):
                self.planned(plan)
                self._run_job(plan, policy)
        for failure in self._source.failures:
            self.result.failures.append(failure)
            self.recorder.failed(None, failure)
        self.result.notes.extend(self._source.skipped)
        self.result.skipped += len(self._source.skipped)
        if self._same_by_time:
            self.result.notes.append(
                f"{self._same_by_time:,} objects were taken for the same by size and time alone: "
                "the appliance states no digests of them"
            )
        return self.finished()

    # -- planning ----------------------------------------------------------------------------------------------

    def _plans(self, policy: DataPolicy) -> Iterator[PlannedJob]:
        for plan in plan_put(
            self._source.objects(), self._bucket, limits=self.settings.limits, title=self.settings.job_name
        ):
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
        """Whether an existing object is what would be put: size, and digests where they are known, else time."""
        if listed.last_modified is None:
            raise SourceError(
                f"{listed.key} is being put by another job",
                hint="wait for that job, or cancel it: ds3tool job ls",
            )
        if listed.size != item.size:
            return False
        if not item.size:
            return True
        md5 = listed.etag if policy.checksum_type == ChecksumType.MD5 else None
        opened = self._source.open(item)
        try:
            if md5 is not None and _is_md5(md5):
                same: bool | None = digest_range(opened.read, 0, item.size, ChecksumType.MD5) == _hex_to_base64(md5)
            else:
                head = self.client.head_object(self._bucket, item.key)
                same = has_digests(head, opened.read, item.size)
            opened.check_unchanged()
        finally:
            opened.close()
        if same is None:
            same = item.modified_ns / 1e9 <= listed.last_modified.timestamp()
            self._same_by_time += same
        return same

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
        job_id = details.job.id
        state = JobState(
            details.chunks,
            plan.keys,
            small_limit=SMALL_BLOB_BYTES if Burst.suits(self.transport) else -1,
            skip_cached=True,
        )
        mover = _PutMover(
            self.client,
            self.transport,
            source=self._source,
            plan=plan,
            state=state,
            job_id=job_id,
            checksum_type=policy.checksum_type,
        )
        failed: list[int] = []
        try:
            with self.given_up_unless_moved(job_id):
                self._move_job(plan, state, mover, failed)
                if failed and len(state.blobs):
                    self.give_up(job_id)
                else:
                    self._see_that_it_goes_on(job_id, state)
        except UNREACHABLE:
            raise
        except BaseException:
            self._drop_failed(plan, mover, failed, policy)
            raise
        self._drop_failed(plan, mover, failed, policy)

    def _see_that_it_goes_on(self, job_id: str, state: JobState) -> None:
        """Ask for the job's state once all is sent; a cancelled one has dropped what it had, whatever it accepted.

        A job without blobs (empty objects of an older release) may be forgotten as soon as it is made.
        """
        self.note_job(job_id)
        if len(state.blobs) and self.result.jobs[-1].job.status == JobStatus.CANCELED:
            raise JobLostError(
                f"job {job_id} was cancelled when all of it was sent, and before it was on tape",
                job_id=job_id,
                hint="what was on tape by then is kept; run the command again for the rest",
            )

    def _move_job(self, plan: PlannedJob, state: JobState, mover: _PutMover, failed: list[int]) -> None:
        """Move what the job lacks; the numbers of the objects that could not be done are added to `failed`."""
        job_id = mover.job_id
        there_before = (state.objects_done, state.bytes_done)

        def on_failure(owner: int, error: Ds3Error) -> None:
            failed.append(owner)
            self.fail(plan.keys[owner], error, job_id=job_id)

        self._account_for_blobs(plan, state, on_failure)
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

    def _objects_ended(self, plan: PlannedJob, owners: Iterable[int]) -> None:
        if self.on_object is not None:
            for owner in owners:
                self.object_ended(plan.keys[owner], plan.sizes[owner], None)

    def _account_for_blobs(
        self, plan: PlannedJob, state: JobState, on_failure: Callable[[int, Ds3Error], None]
    ) -> None:
        """Make sure that the job's blobs are the objects, whole; empty ones an older release has made with the job."""
        for owner in range(len(plan)):
            if not state.covers(owner, plan.sizes[owner]):
                state.fail_object(owner)
                on_failure(
                    owner,
                    JobError(
                        f"{plan.keys[owner]}: the appliance did not plan all of its {plan.sizes[owner]} bytes",
                        hint="run the command again",
                    ),
                )
            elif not state.listed[owner]:
                self.count(objects=1, bytes_moved=0)
                self.object_ended(plan.keys[owner], 0, None)

    def _drop_failed(self, plan: PlannedJob, mover: _PutMover, failed: Iterable[int], policy: DataPolicy) -> None:
        """Drop what came in whole of objects that failed here, since nobody vouches for it."""
        for owner in failed:
            if mover.may_be_whole(owner):
                self._drop_object(plan.keys[owner], mover.version_of(owner), policy)

    def _drop_object(self, key: str, version_id: str | None, policy: DataPolicy) -> None:
        """Delete an object of this job.

        Only ever this job's own: where versions are kept, or may be, it must be the very version.
        """
        try:
            head = self.client.head_object(self._bucket, key)
            known = version_id is not None and head.version_id is not None
            if known and head.version_id != version_id:
                return  # an older version, which this job did not replace
            if known or policy.versioning == Versioning.NONE:
                self.client.delete_object(self._bucket, key, version_id=version_id if known else None)
                return
        except NotFoundError:
            return
        except Ds3Error as error:
            reason = f" ({error.message})"
        else:
            reason = ", which keeps versions"
        self.result.notes.append(f"{key} failed here but may be on the appliance{reason}; remove it")

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
        self.job_id = job_id
        self._client = client
        self._source = source
        self._plan = plan
        self._state = state
        self._blobs = state.blobs
        self._owners = state.object_of
        self._checksum_type = checksum_type
        self._heads = BlobHeads(transport, method="PUT", bucket=plan.bucket, job_id=job_id)
        self._sent: dict[int, str] = {}
        # Blobs that may be on the appliance: they were sent, or at least their sending was begun.
        self._attempted = bytearray(len(state.blobs))

    def may_be_whole(self, owner: int) -> bool:
        """Whether the appliance may have every blob of an object."""
        numbers = list(self._state.numbers_of(owner))
        return bool(numbers) and all(self._attempted[number] or self._blobs.in_cache[number] for number in numbers)

    def version_of(self, owner: int) -> str | None:
        """Return the version that the job makes of an object, where the appliance says it."""
        return next((self._blobs.version_ids[number] for number in self._state.numbers_of(owner)), None)

    def _open(self, number: int) -> OpenObject:
        return self._source.open(self._plan.source_object(self._owners[number]))

    def move(self, number: int, counter: Callable[[int], None]) -> str:
        """Digest one blob, send it, and make sure that its source is still what was planned."""
        self._sent.pop(number, None)
        offset, length = self._blobs.offsets[number], self._blobs.lengths[number]
        opened = self._open(number)
        try:
            for last in (False, True):
                checksum = digest_range(opened.read, offset, length, self._checksum_type)
                opened.check_unchanged()
                self._attempted[number] = 1
                try:
                    result = self._put(number, opened.body(offset, length, counter=counter), checksum)
                    break
                except ApplianceError as error:
                    opened.check_unchanged()  # what is wrong with the bytes may be that they changed
                    if error.code != names.BAD_DIGEST:
                        raise
                    if last:
                        compare_sent(self._blobs.keys[number], offset, expected=checksum, actual=None)
                    _log.warning("job %s: %s; sent again", self.job_id, error)
            opened.check_unchanged()
        finally:
            opened.close()
        self._compare_echo(number, result, checksum)
        return checksum

    def _put(self, number: int, body: OutgoingBody, checksum: str) -> PutResult:
        """Send a blob. A refusal to take it is no failure when the appliance has it: the reply before was lost."""
        key, offset = self._blobs.keys[number], self._blobs.offsets[number]
        try:
            return self._client.put_object(
                self._plan.bucket,
                key,
                body,
                job_id=self.job_id,
                offset=offset,
                checksum=(self._checksum_type, checksum),
            )
        except (NotFoundError, ConflictError):
            if not self._has(number, checksum):
                raise
        _log.info("job %s: %s at %d was there already", self.job_id, key, offset)
        return PutResult(checksum_type=self._checksum_type, checksum=checksum)

    def _has(self, number: int, checksum: str) -> bool:
        """Whether the appliance has this very blob: in the object that this job makes, and with our digest."""
        try:
            head = self._client.head_object(self._plan.bucket, self._blobs.keys[number])
        except Ds3Error:
            return False
        return (
            head.version_id == self._blobs.version_ids[number]
            and head.checksum_type == self._checksum_type
            and head.checksums.get(self._blobs.offsets[number]) == checksum
        )

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
        self._attempted[number] = 1
        return self._heads.put(self._blobs.keys[number], offset, length, self._checksum_type, checksum) + data

    def small_answer(self, number: int, head: ReplyHead, body: memoryview) -> str:
        """Hold the appliance's digest, where it echoes one, against ours."""
        checksum = self._sent.pop(number)
        result = responses.object_put(Response(head.status, head.headers, (bytes(body),), head.reason))
        self._compare_echo(number, result, checksum)
        return checksum

    def _compare_echo(self, number: int, result: PutResult, checksum: str) -> None:
        if result.checksum is not None and result.checksum_type == self._checksum_type:
            key, offset = self._blobs.keys[number], self._blobs.offsets[number]
            compare_sent(key, offset, expected=checksum, actual=result.checksum)

    def object_moved(self, owner: int) -> None:
        """Nothing is held for an object."""

    def object_failed(self, owner: int) -> None:
        """Nothing is held for an object."""


def _is_md5(etag: str) -> bool:
    return re.fullmatch(r"[0-9a-fA-F]{32}", etag) is not None


def _hex_to_base64(text: str) -> str:
    return to_base64(bytes.fromhex(text))
