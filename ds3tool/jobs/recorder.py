"""Who is told every step of a job, so that it can be resumed, reported and proved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field
from typing import Protocol

from ds3tool.jobs.ends import Failure
from ds3tool.jobs.plan import PlannedJob
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import ChecksumType, Job


@dataclass(frozen=True, slots=True)
class MovedBlobs:
    """Blobs of one job that are through, as columns of one length.

    `owners` are numbers of objects in the job's plan; `offsets` and `lengths` count bytes of those objects. Beside each
    stand its digest in base64 and that digest's type; both are None where no digest could be had. `versions` are those
    that a put makes of the blobs' objects, None where the appliance does not say it; empty when nobody has asked.
    """

    owners: Sequence[int]
    offsets: Sequence[int]
    lengths: Sequence[int]
    kinds: Sequence[ChecksumType | None]
    checksums: Sequence[str | None]
    versions: Sequence[str | None] = ()

    def __len__(self) -> int:
        return len(self.owners)


@dataclass(frozen=True, slots=True)
class Arriving:
    """A blob of a get that is under way: of its `length` bytes at `offset`, the first `done` are written."""

    owner: int
    offset: int
    length: int
    done: int


class Recorder(Protocol):
    """Told in this order: plans; then for each planned, (deleting,) created, blobs and objects as they end, finished.

    A plan is known by its name, which no other has. Called from the thread that runs the put or get, and from no
    other; blobs come in batches. A recorder that raises stops the run: what cannot be recorded must not go on.
    """

    @property
    def lasting(self) -> bool:
        """Whether what it is told outlives this process: then a run that is stopped leaves its jobs to be resumed."""
        ...

    def plans(self, plans: Iterable[PlannedJob]) -> Iterator[PlannedJob]:
        """Take what a run is going to do, and give it back job by job.

        One that lasts takes all of it before it gives the first, so that whatever comes next can be resumed.
        """
        ...

    def planned(self, plan: PlannedJob, *, instead_of: PlannedJob | None = None) -> None:
        """This is what the plan of that name is now; the appliance has not heard of it yet.

        Told again when something must be left out of it before its job is created. `instead_of` is a plan whose job is
        lost: the new one holds what is left of it, and with that it is finished, both in one step.
        """
        ...

    def created(self, plan: PlannedJob, job: Job) -> None:
        """The appliance has the job of this plan; no byte was sent yet."""
        ...

    def moved(self, job_id: str, blobs: MovedBlobs) -> None:
        """These blobs are through. Of a get they are written, and not yet safe on the disk."""
        ...

    def arriving(self, job_id: str, blobs: Sequence[Arriving]) -> None:
        """So far have large blobs of a get come that are under way; told from time to time."""
        ...

    def appeared(self, job_id: str, owners: Sequence[int]) -> None:
        """These objects of a get have their names at the target, and are safe there."""
        ...

    def deleting(self, bucket: str, key: str, version_id: str | None, etag: str | None) -> None:
        """This object is about to be deleted, so that a put can replace it; told before it happens."""
        ...

    def digested(self, job_id: str, owner: int, kind: ChecksumType, value: str) -> None:
        """This is the digest, in base64, of a whole object that was put, where nothing stored beside it tells it."""
        ...

    def failed(self, job_id: str | None, failure: Failure) -> None:
        """This object cannot be done in this run."""
        ...

    def noted(self, job: Job) -> None:
        """This is the last that is known of the job's state."""
        ...

    def finished(self, plan: PlannedJob) -> None:
        """Nothing is left to do for the plan: each of its objects is through, or has failed for good."""
        ...

    def tick(self) -> None:
        """Some time has passed: called a few times a second while a job is worked on."""
        ...

    def flush(self) -> None:
        """See that what was told is safe by the time that this returns: something is about to follow from it."""
        ...


class NoRecorder:
    """Keeps nothing: for runs that nobody asks about afterwards."""

    lasting = False

    def plans(self, plans: Iterable[PlannedJob]) -> Iterator[PlannedJob]:
        """Give each plan when it is made."""
        return iter(plans)

    def planned(self, plan: PlannedJob, *, instead_of: PlannedJob | None = None) -> None:
        """Nothing is kept."""

    def created(self, plan: PlannedJob, job: Job) -> None:
        """Nothing is kept."""

    def moved(self, job_id: str, blobs: MovedBlobs) -> None:
        """Nothing is kept."""

    def arriving(self, job_id: str, blobs: Sequence[Arriving]) -> None:
        """Nothing is kept."""

    def appeared(self, job_id: str, owners: Sequence[int]) -> None:
        """Nothing is kept."""

    def deleting(self, bucket: str, key: str, version_id: str | None, etag: str | None) -> None:
        """Nothing is kept."""

    def digested(self, job_id: str, owner: int, kind: ChecksumType, value: str) -> None:
        """Nothing is kept."""

    def failed(self, job_id: str | None, failure: Failure) -> None:
        """Nothing is kept."""

    def noted(self, job: Job) -> None:
        """Nothing is kept."""

    def finished(self, plan: PlannedJob) -> None:
        """Nothing is kept."""

    def tick(self) -> None:
        """Nothing is kept."""

    def flush(self) -> None:
        """Nothing is kept."""


@dataclass(slots=True)
class MemoryRecorder:
    """Keeps what it is told, for a run that need not outlive its process, and for tests.

    `checksums` are by job, key and offset; `there` holds the keys, by job, of what a get has let appear.
    """

    lasting: bool = False
    plans_of: dict[str, PlannedJob] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    checksums: dict[tuple[str, str, int], str | None] = field(default_factory=dict)
    there: dict[str, list[str]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    deletions: list[tuple[str, str, str | None, str | None]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    whole_digests: dict[str, tuple[ChecksumType, str]] = field(default_factory=dict)
    _by_job: dict[str, PlannedJob] = field(default_factory=dict)

    @property
    def planned_jobs(self) -> list[PlannedJob]:
        """What was planned, in that order."""
        return list(self.plans_of.values())

    def plans(self, plans: Iterable[PlannedJob]) -> Iterator[PlannedJob]:
        """Give each plan when it is made."""
        return iter(plans)

    def planned(self, plan: PlannedJob, *, instead_of: PlannedJob | None = None) -> None:
        """Keep the plan."""
        self.plans_of[plan.name] = plan
        if instead_of is not None:
            self.ended.append(instead_of.name)

    def created(self, plan: PlannedJob, job: Job) -> None:
        """Keep the job."""
        self.jobs[job.id] = job
        self._by_job[job.id] = plan

    def moved(self, job_id: str, blobs: MovedBlobs) -> None:
        """Keep each blob's digest."""
        keys = self._by_job[job_id].keys
        for owner, offset, checksum in zip(blobs.owners, blobs.offsets, blobs.checksums, strict=True):
            self.checksums[job_id, keys[owner], offset] = checksum

    def arriving(self, job_id: str, blobs: Sequence[Arriving]) -> None:
        """How far a blob has come is of no use to this process."""

    def appeared(self, job_id: str, owners: Sequence[int]) -> None:
        """Keep the keys."""
        keys = self._by_job[job_id].keys
        self.there.setdefault(job_id, []).extend(keys[owner] for owner in owners)

    def deleting(self, bucket: str, key: str, version_id: str | None, etag: str | None) -> None:
        """Keep what is going to be deleted."""
        self.deletions.append((bucket, key, version_id, etag))

    def digested(self, job_id: str, owner: int, kind: ChecksumType, value: str) -> None:
        """Keep the digest."""
        self.whole_digests[self._by_job[job_id].keys[owner]] = (kind, value)

    def failed(self, job_id: str | None, failure: Failure) -> None:  # noqa: ARG002
        """Keep the failure."""
        self.failures.append(failure)

    def noted(self, job: Job) -> None:
        """Keep the job's last state."""
        self.jobs[job.id] = job

    def finished(self, plan: PlannedJob) -> None:
        """Keep the name of what is finished."""
        self.ended.append(plan.name)

    def tick(self) -> None:
        """Time plays no role."""

    def flush(self) -> None:
        """It is as safe as it will ever be."""
