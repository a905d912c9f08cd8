"""Gets objects of a bucket into a sink, through planned bulk jobs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping

from ds3tool.client import Ds3Client
from ds3tool.clock import Clock
from ds3tool.errors import (
    AccessDeniedError,
    ApplianceError,
    ChecksumError,
    Ds3Error,
    JobError,
    NotFoundError,
    ProtocolError,
    SinkError,
)
from ds3tool.jobs.ends import ExpectedChecksum, Sink, TargetObject
from ds3tool.jobs.engine import SMALL_BLOB_BYTES, Engine
from ds3tool.jobs.integrity import check_length, compare, expected_checksum, has_digests
from ds3tool.jobs.plan import PlannedJob, plan_get
from ds3tool.jobs.recorder import Recorder
from ds3tool.jobs.run import Run, RunResult, RunSettings
from ds3tool.jobs.state import JobState
from ds3tool.protocol import names
from ds3tool.protocol.checksums import digest_of, to_base64
from ds3tool.protocol.messages import Response
from ds3tool.protocol.model import ChecksumType, JobDetails, JobStatus, ListedObject
from ds3tool.sizes import format_size
from ds3tool.transport.burst import Burst
from ds3tool.transport.pool import Transport
from ds3tool.transport.replies import ReplyHead
from ds3tool.transport.templates import BlobHeads

_log = logging.getLogger(__name__)

# The appliance's lists of jobs lag behind by up to five seconds. Source: protocol, 9.7.
_LAG_SECONDS = (0.25, 0.5, 1.0, 2.0, 4.0)


class GetRun(Run):
    """Gets `objects` of `bucket` into `sink`, each under the name that `name_of` gives its key.

    One use: `run` once, `progress` from any thread. The sink stays the caller's to close.
    """

    waiting_for = "the appliance to load from tape"

    def __init__(
        self,
        client: Ds3Client,
        sink: Sink,
        bucket: str,
        objects: Iterable[ListedObject],
        *,
        name_of: Callable[[str], str],
        settings: RunSettings,
        recorder: Recorder | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(client, settings=settings, recorder=recorder, clock=clock)
        self._sink = sink
        self._bucket = bucket
        self._objects = objects
        self._name_of = name_of
        self._appeared = 0

    def run(self) -> RunResult:
        """Plan, create and move job after job; returns the result also when some objects or a job failed.

        Raises what makes the run impossible before a job exists: no such bucket, no permission, no room.
        """
        with self.stopping():
            for doubtful in plan_get(
                self._targets(), self._bucket, limits=self.settings.limits, title=self.settings.job_name
            ):
                plan = self._without_doubles(doubtful)
                self._check_room(plan)
                self.planned(plan)
                self._run_job(plan)
        return self.finished()

    # -- planning ----------------------------------------------------------------------------------------------

    def _targets(self) -> Iterator[TargetObject]:
        """Yield what is to be moved; what is there already is skipped or fails by name."""
        for listed in self._objects:
            item = TargetObject(listed.key, listed.size, self._name_of(listed.key))
            try:
                if listed.last_modified is None:
                    raise JobError(f"{listed.key} is not complete: a job is still putting it")
                self._sink.check_name(item.name)
                if self._is_there(item):
                    self.result.skipped += 1
                    continue
            except Ds3Error as error:
                self.fail(item.key, error, job_id=None)
                continue
            yield item

    def _is_there(self, item: TargetObject) -> bool:
        """Whether the target has the object already, the same to the byte; SinkError when it has another one."""
        size = self._sink.existing_size(item.name)
        if size is None:
            return False
        if item.name.endswith("/"):
            return True
        if size == item.size and self._has_same_digests(item):
            return True
        raise SinkError(
            f"{item.name} is there already, and is not the same",
            hint="get it into another folder, or move the file away",
        )

    def _has_same_digests(self, item: TargetObject) -> bool:
        head = self.client.head_object(self._bucket, item.key)
        return bool(has_digests(head, lambda at, length: self._sink.read_existing(item.name, at, length), item.size))

    def _without_doubles(self, plan: PlannedJob) -> PlannedJob:
        """Leave out keys that would become one file with another; across jobs the sink itself finds them."""
        first: dict[str, int] = {}
        kept = [number for number, name in enumerate(plan.target_names) if first.setdefault(name, number) == number]
        if len(kept) == len(plan):
            return plan
        for number, name in enumerate(plan.target_names):
            if first[name] != number:
                other = plan.keys[first[name]]
                self.fail(
                    plan.keys[number], SinkError(f"{plan.keys[number]} and {other} would become one file"), job_id=None
                )
        return plan.keep(kept)

    def _check_room(self, plan: PlannedJob) -> None:
        free = self._sink.free_bytes()
        if free is not None and plan.bytes > free:
            raise SinkError(
                f"the target has room for {format_size(free)}, and {format_size(plan.bytes)} are to come",
                hint="nothing was moved and no tape was loaded; make room, or get a part of it",
            )

    # -- one job -----------------------------------------------------------------------------------------------

    def _run_job(self, plan: PlannedJob) -> None:
        try:
            details = self.create(
                plan,
                lambda: self.client.create_get_job(
                    self._bucket, plan.to_get, name=plan.name, priority=self.settings.priority
                ),
            )
        except NotFoundError as error:
            raise JobError(
                f"the appliance refuses the job: {error.message}",
                hint="an object was removed since it was listed; run the command again",
            ) from error
        with self.given_up_unless_moved(details.job.id):
            self._move_job(plan, details)

    def _move_job(self, plan: PlannedJob, details: JobDetails) -> None:
        job_id = details.job.id
        state = JobState(
            details.chunks,
            plan.keys,
            small_limit=SMALL_BLOB_BYTES if Burst.suits(self.transport) else -1,
            skip_cached=False,
        )
        failed: set[int] = set()

        def on_failure(owner: int, error: Ds3Error) -> None:
            failed.add(owner)
            self.fail(plan.keys[owner], error, job_id=job_id)

        mover = _GetMover(self.client, self.transport, sink=self._sink, plan=plan, state=state, job_id=job_id)
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
            on_tick=lambda: self._take_settled(job_id, wait=False),
        )
        self._appeared = 0
        try:
            self.move(engine)
        finally:
            self._take_settled(job_id, wait=True)
            self.count(objects=self._appeared, bytes_moved=state.bytes_done)
            self.result.unverified += sum(mover.unverified)
        if failed:
            self.give_up(job_id)
        else:
            self._end(job_id)

    def _end(self, job_id: str) -> None:
        """See the job end, all of it being here; one that the appliance keeps open, as if not read, is cancelled."""
        never = threading.Event()
        for seconds in _LAG_SECONDS:
            self.note_job(job_id)
            if self.result.jobs[-1].job.status in {JobStatus.COMPLETED, JobStatus.CANCELED}:
                return
            self.clock.wait(never, seconds)
        self.give_up(job_id)

    def _account_for_blobs(
        self, plan: PlannedJob, state: JobState, on_failure: Callable[[int, Ds3Error], None]
    ) -> None:
        """Make sure that the job's blobs are the objects, whole and without a gap; older releases omit empty ones."""
        for owner in range(len(plan)):
            if not state.covers(owner, plan.sizes[owner]):
                offered = sum(state.blobs.lengths[number] for number in state.numbers_of(owner))
                state.fail_object(owner)
                on_failure(
                    owner,
                    JobError(
                        f"{plan.keys[owner]}: the job's blobs are not its {plan.sizes[owner]} bytes, but {offered}",
                        hint="it was replaced since it was listed, or read by another client; get it again",
                    ),
                )
            elif not state.listed[owner]:
                self._sink.finish(plan.target_object(owner))

    def _take_settled(self, job_id: str, *, wait: bool) -> None:
        """Count what has appeared at the target, and what could not."""
        for item, error in self._sink.settle(wait=wait):
            if error is None:
                self._appeared += 1
                self.object_ended(item.key, item.size, None)
            else:
                self.fail(item.key, error, job_id=job_id)

    def give_up(self, job_id: str) -> None:
        """Cancel the job, so that it does not hold cache for a day; nothing on tape is touched."""
        try:
            self.client.cancel_job(job_id)
        except NotFoundError:
            pass
        except Ds3Error as error:
            _log.error("job %s could not be cancelled: %s", job_id, error)
            self.result.notes.append(
                f"job {job_id} could not be cancelled ({error.message}); end it: ds3tool job cancel {job_id}"
            )
        self.note_job(job_id)


class _GetMover:
    """Fetches the blobs of one get job into a sink, each held against its digest."""

    method = "GET"

    def __init__(
        self,
        client: Ds3Client,
        transport: Transport,
        *,
        sink: Sink,
        plan: PlannedJob,
        state: JobState,
        job_id: str,
    ) -> None:
        self._client = client
        self._sink = sink
        self._plan = plan
        self._blobs = state.blobs
        self._owners = state.object_of
        self._job_id = job_id
        self._heads = BlobHeads(transport, method="GET", bucket=plan.bucket, job_id=job_id)
        # Blobs that came without a digest, a flag for each: several threads set them.
        self.unverified = bytearray(len(state.blobs))
        # What HEAD says of objects under way, by number: the digests' kind, and each blob's by its offset.
        self._known: dict[int, tuple[ChecksumType | None, Mapping[int, str]]] = {}

    def move(self, number: int, counter: Callable[[int], None]) -> str | None:
        """Fetch one blob and verify it."""
        offset, length = self._blobs.offsets[number], self._blobs.lengths[number]
        item = self._plan.target_object(self._owners[number])

        def receive(response: Response) -> str | None:
            expected = expected_checksum(response.headers)
            self._vouch(number, response.headers, expected)
            self.unverified[number] = expected is None
            if not length:
                return None if expected is None else expected.value
            return self._sink.receive(item, offset, length, response, checksum=expected, counter=counter)

        try:
            return self._get(item, receive, offset)
        except (ChecksumError, ProtocolError) as damaged:
            # Most damage is done on the way, and a second try mends it.
            _log.warning("job %s: %s; fetched again", self._job_id, damaged)
            try:
                return self._get(item, receive, offset)
            except ApplianceError as error:  # the job may have ended with the first try
                raise damaged from error

    def _get(self, item: TargetObject, receive: Callable[[Response], str | None], offset: int) -> str | None:
        return self._client.get_object(self._plan.bucket, item.key, receive, job_id=self._job_id, offset=offset)

    def _vouch(self, number: int, headers: Mapping[str, str], expected: ExpectedChecksum | None) -> None:
        """Make sure that a reply is the answer for this very blob; ChecksumError when it is another's.

        Its bytes agree with its own digest also when a reply was taken for another's on the way, or when the offset,
        which no signature covers, was changed. The version tells objects apart; blobs of one object only HEAD does.
        """
        owner, offset = self._owners[number], self._blobs.offsets[number]
        version, stated = self._blobs.version_ids[number], headers.get(names.VERSION_ID)
        is_whole = self._blobs.lengths[number] == self._plan.sizes[owner]
        if expected is None or (is_whole and (version is None or not stated or stated == version)):
            return
        kind, digests = self._known.get(owner) or self._ask_digests(owner, version)
        if kind == expected.type and offset in digests:
            compare(self._plan.keys[owner], offset, expected=digests[offset], actual=expected.value)
        elif version is not None and stated and stated != version:
            raise ProtocolError(f"{self._plan.keys[owner]}: the answer is of version {stated}, not {version}")

    def _ask_digests(self, owner: int, version: str | None) -> tuple[ChecksumType | None, Mapping[int, str]]:
        try:
            head = self._client.head_object(self._plan.bucket, self._plan.keys[owner], version_id=version)
        except (AccessDeniedError, NotFoundError):  # what the appliance does not tell cannot be held against it
            known: tuple[ChecksumType | None, Mapping[int, str]] = (None, {})
        else:
            if head.size != self._plan.sizes[owner]:
                raise ProtocolError(f"{head.key}: the appliance says that it has {head.size} bytes now")
            known = (head.checksum_type, head.checksums)
        self._known[owner] = known
        return known

    def small_request(self, number: int) -> bytes:
        """Return the head that asks for a small blob."""
        return self._heads.get(self._blobs.keys[number], self._blobs.offsets[number])

    def small_answer(self, number: int, head: ReplyHead, body: memoryview) -> str | None:
        """Verify a small blob and store it."""
        offset, length = self._blobs.offsets[number], self._blobs.lengths[number]
        item = self._plan.target_object(self._owners[number])
        check_length(item.key, came=len(body), length=length)
        expected = expected_checksum(head.headers)
        self._vouch(number, head.headers, expected)
        actual = None
        self.unverified[number] = expected is None
        if expected is not None:
            actual = to_base64(digest_of(expected.type, body))
            compare(item.key, offset, expected=expected.value, actual=actual)
        if length:
            self._sink.receive_small(item, offset, body)
        return actual

    def object_moved(self, owner: int) -> None:
        """Let the whole object appear."""
        self._known.pop(owner, None)
        self._sink.finish(self._plan.target_object(owner))

    def object_failed(self, owner: int) -> None:
        """Drop what came of it."""
        self._known.pop(owner, None)
        self._sink.abandon(self._plan.target_object(owner))
