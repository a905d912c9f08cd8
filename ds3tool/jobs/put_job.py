"""One job of a put: created or gone on with, its blobs moved, its end seen, and what failed of it dropped."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from ds3tool.client import Ds3Client
from ds3tool.clock import Clock
from ds3tool.errors import ConflictError, Ds3Error, JobError, JobLostError
from ds3tool.jobs.decisions import MENDABLE
from ds3tool.jobs.doubts import Doubt
from ds3tool.jobs.ends import Source, SourceObject
from ds3tool.jobs.engine import SMALL_BLOB_BYTES, Engine
from ds3tool.jobs.fate import Fate, was_truncated
from ds3tool.jobs.integrity import ChecksumChoice
from ds3tool.jobs.plan import PlannedJob
from ds3tool.jobs.put_mover import PutMover
from ds3tool.jobs.recorder import MovedBlobs, Recorder
from ds3tool.jobs.remainder import HeldBlobs
from ds3tool.jobs.replacing import Replacing
from ds3tool.jobs.run import AskForJob, Run, RunSettings
from ds3tool.jobs.state import JobState
from ds3tool.protocol.checksums import to_metadata
from ds3tool.protocol.model import DataPolicy, JobDetails, JobStatus
from ds3tool.transport.burst import Burst

if TYPE_CHECKING:
    from ds3tool.jobs.put_resume import Confirmation

_log = logging.getLogger(__name__)


class PutJobRun(Run):
    """What a put does with one job after the other; `PutRun` says with which."""

    _policy: DataPolicy

    def __init__(
        self,
        client: Ds3Client,
        source: Source,
        bucket: str,
        *,
        settings: RunSettings,
        recorder: Recorder | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(client, settings=settings, recorder=recorder, clock=clock)
        self._source = source
        self._bucket = bucket
        self._replacing = Replacing(client, source, bucket, self.recorder)

    @property
    def _repeatable(self) -> bool:
        return not self._source.sequential

    def fail(self, key: str, error: Ds3Error, *, job_id: str | None) -> None:
        """Keep and record a failure, which also says when the object that it was to replace is gone."""
        super().fail(key, self._replacing.explain(key, error), job_id=job_id)

    # -- one job ---------------------------------------------------------------------------------------------------

    def _run_job(self, plan: PlannedJob) -> None:
        try:
            details = self.create(plan, lambda ask: self._create_job(plan, self._policy, ask))
        except ConflictError as error:
            raise JobError(
                f"the appliance refuses the job: {error.message}",
                hint="something of that name came into the bucket meanwhile; run the command again",
            ) from error
        self._move_all(plan, details, None)

    def _move_all(
        self, plan: PlannedJob, details: JobDetails, held: HeldBlobs | None, *, begun: datetime | None = None
    ) -> None:
        """Move what a job of `details` lacks, and see it end.

        `held` is what an earlier run has moved of it, of work that was `begun` then.
        """
        job_id = details.job.id
        in_order, distant = self._source.sequential, self._source.distant
        state = JobState(
            details.chunks,
            plan.keys,
            small_limit=SMALL_BLOB_BYTES if Burst.suits(self.transport) and not (in_order or distant) else -1,
            skip_cached=True,
            in_order=in_order,
            held=held,
            sizes=plan.sizes if held is not None else (),
        )
        mover = self._mover(plan, state, job_id, self._policy, held=held, begun=begun)
        failed: dict[int, Ds3Error] = {}
        try:
            with self.given_up_unless_moved(job_id):
                left = self._move_job(plan, state, mover, failed, held)
                if failed and len(state.blobs):
                    if self._may_be_mended(failed):
                        self._leave_open(job_id, plan, mover, failed)
                        if not self.recorder.lasting:
                            self._tell_left_over(plan, left, job_id)
                        return
                    self.recorder.flush()  # why it is given up, lest it be taken for another's doing
                    self.give_up(job_id)
                elif any(state.doubt_of(number) is not Doubt.UNLISTED for o in left for number in state.numbers_of(o)):
                    self.give_up(job_id)  # it has parts of them, and will never have the rest
                elif left:
                    self.note_job(job_id)
                else:
                    self._see_that_it_goes_on(job_id, plan, state, mover)
        except MENDABLE:
            raise
        except BaseException as error:
            if isinstance(error, JobLostError):
                self._replacing.doubt()  # what had arrived may be gone with the job
            self._drop_failed(plan, mover, failed)
            raise
        finally:
            mover.close()
        self._drop_failed(plan, mover, failed)
        self._replacing.settle()
        self._tell_digests(plan, mover)
        if left:
            _log.warning("job %s cannot have %d of its objects; they are planned anew", job_id, len(left))
            self._do_again(plan, plan.keep(sorted(left)))
        else:
            self.recorder.finished(plan)

    def _may_be_mended(self, failed: Mapping[int, Ds3Error]) -> bool:
        """Whether another try may yet put what failed; where a run can be resumed, one such object is enough."""
        mendable = [isinstance(error, MENDABLE) for error in failed.values()]
        return any(mendable) if self.recorder.lasting else all(mendable)

    def _tell_digests(self, plan: PlannedJob, mover: PutMover) -> None:
        """Record and say which digests of whole objects were made and are not stored with them: nobody else knows."""
        kind = self.settings.checksum.of_whole
        for owner, digest in mover.whole_digests.items():
            if kind is not None:
                self.recorder.digested(mover.job_id, owner, kind, digest)
                (value,) = to_metadata(kind, digest).values()
                self.result.notes.append(f"{plan.keys[owner]} has the {kind} {value}, which is not stored with it")

    def _create_job(self, plan: PlannedJob, policy: DataPolicy, ask: AskForJob | None = None) -> JobDetails:
        return self.client.create_put_job(
            self._bucket,
            plan.to_put,
            name=plan.name,
            priority=self.settings.priority,
            max_upload_size=self._blob_size(plan, policy),
            aggregating=False,  # said, since an appliance that joins jobs would mix ours with others'
            ask=ask,
        )

    def _mover(
        self,
        plan: PlannedJob,
        state: JobState,
        job_id: str,
        policy: DataPolicy,
        *,
        held: HeldBlobs | None,
        begun: datetime | None,
    ) -> PutMover:
        return self._mover_class()(
            self.client,
            self.transport,
            source=self._source,
            plan=plan,
            state=state,
            job_id=job_id,
            checksum_type=None if self.settings.checksum is ChecksumChoice.NONE else policy.checksum_type,
            user_metadata=self.settings.metadata,
            digest_demanded=policy.end_to_end_crc_required,
            whole_type=self.settings.checksum.of_whole,
            earlier=held,
            # Times of files lag behind the clock, by a tick of the kernel.
            since_ns=0 if begun is None else int((begun.timestamp() - 1.0) * 1e9),
        )

    def _mover_class(self) -> type[PutMover]:
        # Of several sources one may be a stream and another distant: what can be read but once decides.
        if self._source.sequential:
            from ds3tool.jobs.stream_mover import StreamMover

            return StreamMover
        if self._source.distant:
            from ds3tool.jobs.distant_mover import DistantMover

            return DistantMover
        return PutMover

    def _blob_size(self, plan: PlannedJob, policy: DataPolicy) -> int | None:
        if self.settings.blob_size is None and self._source.sequential:
            from ds3tool.jobs.stream_mover import stream_blob_size

            return stream_blob_size(max(plan.sizes), policy.default_blob_size)
        return self.settings.blob_size

    def _leave_open(self, job_id: str, plan: PlannedJob, mover: PutMover, failed: Mapping[int, Ds3Error]) -> None:
        """Another try may mend what failed: nothing of the job is given up, or dropped."""
        mendable = [owner for owner, error in failed.items() if isinstance(error, MENDABLE)]
        self._drop_failed(plan, mover, failed.keys() - mendable)
        self.note_job(job_id)
        way_on = f"{self.way_on}; " if self.recorder.lasting else ""
        self.result.notes.append(
            f"job {job_id} is left open on the appliance: {len(mendable):,} of its objects may yet be put; "
            f"{way_on}to give them up: ds3tool job truncate {job_id}"
        )

    def _tell_left_over(self, plan: PlannedJob, left: Iterable[int], job_id: str) -> None:
        """Let the objects fail that found no room, while what keeps it is left to another run."""
        for owner in left:
            message = (
                f"{plan.keys[owner]} found no room in the cache: objects of job {job_id} that failed hold what it had"
            )
            error = JobError(message, job_id=job_id, hint="run the command again for the rest")
            self.fail(plan.keys[owner], error, job_id=job_id)

    def _see_that_it_goes_on(self, job_id: str, plan: PlannedJob, state: JobState, mover: PutMover) -> None:
        """Ask for the job's state once all is sent; a cancelled one has dropped what it had, whatever it accepted.

        Of a job that the appliance has forgotten, the bucket tells how it ended. One without blobs (empty objects of
        an older release) may be forgotten as soon as it is made.
        """

        def how_it_ended() -> JobStatus:
            from ds3tool.jobs.presence import count_missing

            missing = count_missing(self.client, plan, mover.version_of)
            return JobStatus.CANCELED if missing else JobStatus.COMPLETED

        self.note_job(job_id, if_forgotten=how_it_ended)
        if self.result.jobs[-1].job.status == JobStatus.CANCELED:
            if not len(state.blobs) and how_it_ended() != JobStatus.CANCELED:
                return  # nothing was to be sent, and an appliance may call that cancelled
            raise JobLostError(
                f"job {job_id} was cancelled when all of it was sent, and before it was on tape",
                job_id=job_id,
                hint="what was on tape by then is kept; run the command again for the rest",
            )

    def _move_job(
        self,
        plan: PlannedJob,
        state: JobState,
        mover: PutMover,
        failed: dict[int, Ds3Error],
        held: HeldBlobs | None,
    ) -> list[int]:
        """Move what the job lacks; the numbers of the objects that could not be done are added to `failed`.

        Returns those that this job cannot do, and another can.
        """
        job_id = mover.job_id
        there_before = (state.objects_done, state.bytes_done)
        disproved = 0

        def on_failure(owner: int, error: Ds3Error) -> None:
            failed[owner] = error
            self.fail(plan.keys[owner], error, job_id=job_id)

        def on_objects(owners: Sequence[int]) -> None:
            nonlocal disproved
            wrong = set()
            confirmed = () if confirmation is None else confirmation.prove(owners)
            for owner, proof in itertools.chain(mover.prove(owners), confirmed):
                if isinstance(proof, MovedBlobs):
                    self.recorder.moved(job_id, proof)
                elif owner not in wrong:
                    wrong.add(owner)
                    on_failure(owner, proof)
            disproved += len(wrong)
            self._objects_ended(plan, [owner for owner in owners if owner not in wrong])

        confirmation = None if held is None else self._confirmation(plan, state, job_id, held)
        missing = [] if held is None else self._missing_among(plan, state.unlisted_objects)
        self._account_for_blobs(plan, state, on_failure, missing=missing)
        engine = Engine(
            self.client,
            self.transport,
            job_id=job_id,
            state=state,
            mover=mover,
            recorder=self.recorder,
            settings=self.settings.engine.for_distant if self._source.distant else self.settings.engine,
            clock=self.clock,
            on_failure=on_failure,
            on_objects=on_objects,
            confirm=None if confirmation is None else confirmation.confirm,
            may_leave=self._repeatable,
        )
        self.leave_out(objects=there_before[0], bytes_held=there_before[1])
        try:
            self.move(engine, counted_before=there_before)
        finally:
            self.count(
                objects=state.objects_done - there_before[0] - disproved,
                bytes_moved=state.bytes_done - there_before[1] - engine.bytes_found,
            )
            self.leave_out(objects=0, bytes_held=engine.bytes_found)
        return [*engine.left_over, *missing]

    def _missing_among(self, plan: PlannedJob, unlisted: Sequence[int]) -> list[int]:
        """Return which of the empty objects that a job does not list are not in the bucket either."""
        if not unlisted:
            return []
        from ds3tool.jobs.put_resume import left_of

        versioning = self._policy.versioning
        return left_of(
            self.client, self._source, plan, HeldBlobs(), versioning=versioning, trusted=False, among=unlisted
        )

    def _confirmation(self, plan: PlannedJob, state: JobState, job_id: str, held: HeldBlobs) -> Confirmation:
        """Return what asks after doubtful blobs; JobLostError when there are some since the job was truncated."""
        if Doubt.UNLISTED in state.doubts:
            fate = was_truncated(self.client, job_id, bucket=self._bucket, clock=self.clock)
            if fate is not Fate.GOES_ON:
                raise JobLostError(
                    f"job {job_id} goes on without blobs that were not moved: it {fate.value}",
                    job_id=job_id,
                    reason=fate.name.lower(),
                    hint=f"if its rest is wanted all the same: ds3tool resume {job_id}",
                )
        self._replacing.arrived(
            plan.keys[owner] for owner in range(len(plan)) if state.listed[owner] and not state.blobs_left[owner]
        )
        from ds3tool.jobs.put_resume import Confirmation

        kind = None if self.settings.checksum is ChecksumChoice.NONE else self._policy.checksum_type
        return Confirmation(self.client, self._source, plan, state, held=held, kind=kind)

    def _objects_ended(self, plan: PlannedJob, owners: Iterable[int]) -> None:
        if self._replacing.deleted:
            self._replacing.arrived(plan.keys[owner] for owner in owners)
        if self.on_object is not None:
            for owner in owners:
                self.object_ended(plan.keys[owner], plan.sizes[owner], None)

    def _account_for_blobs(
        self,
        plan: PlannedJob,
        state: JobState,
        on_failure: Callable[[int, Ds3Error], None],
        *,
        missing: Collection[int],
    ) -> None:
        """Make sure that the job's blobs are the objects, whole; empty ones an older release has made with the job.

        `missing` are those that it has not.
        """
        without_metadata = 0
        for owner in state.uncovered(plan.sizes):
            state.fail_object(owner)
            on_failure(
                owner,
                JobError(
                    f"{plan.keys[owner]}: the appliance did not plan all of its {plan.sizes[owner]} bytes",
                    hint="run the command again",
                ),
            )
        for owner in state.unlisted_objects:
            if not state.failed_objects[owner] and owner not in missing:
                try:
                    without_metadata += self._has_metadata(plan.source_object(owner))
                except Ds3Error as error:
                    on_failure(owner, error)
                else:
                    self.count(objects=1, bytes_moved=0)
                    self._objects_ended(plan, (owner,))
        if without_metadata:
            what = f"{without_metadata:,} empty {'object was' if without_metadata == 1 else 'objects were'}"
            self.result.notes.append(f"{what} made by the appliance with their job, so their metadata are not stored")

    def _has_metadata(self, item: SourceObject) -> bool:
        """Whether anything would be stored with an object that is still what was planned; a Ds3Error when it is not."""
        opened = self._source.open(item)
        try:
            opened.check_unchanged()
            return bool(self.settings.metadata or opened.metadata())
        finally:
            opened.close()

    def _drop_failed(self, plan: PlannedJob, mover: PutMover, failed: Iterable[int]) -> None:
        """Drop what came in whole of objects that failed here, since nobody vouches for it."""
        for owner in filter(mover.may_be_whole, failed):
            from ds3tool.jobs.dropping import drop_object

            note = drop_object(
                self.client, self._bucket, plan.keys[owner], mover.version_of(owner), self._policy.versioning
            )
            self.result.notes.extend(note)

    def end_early(self, job_id: str) -> None:
        """Truncate the job: what is complete goes to tape, the rest is dropped."""
        self.client.truncate_job(job_id)
