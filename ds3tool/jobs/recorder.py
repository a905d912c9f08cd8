"""Who is told every step of a job, so that it can be resumed, reported and proved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ds3tool.jobs.ends import Failure
from ds3tool.jobs.plan import PlannedJob
from ds3tool.protocol.model import BlobColumns, Job


class Recorder(Protocol):
    """Told in this order: planned, (deleting,) created, then blobs and objects as they end, then ended.

    Called from the thread that runs the put or get, and from no other; blobs come in batches. A recorder that raises
    stops the run: what cannot be recorded must not go on.
    """

    def planned(self, plan: PlannedJob) -> None:
        """The plan stands; the appliance has not heard of it yet."""
        ...

    def created(self, plan: PlannedJob, job: Job) -> None:
        """The appliance has the job; no byte was sent yet."""
        ...

    def moved(self, job_id: str, blobs: BlobColumns, numbers: Sequence[int], checksums: Sequence[str | None]) -> None:
        """The blobs of these numbers are through; beside each its digest in base64, None where none could be had."""
        ...

    def deleting(self, bucket: str, key: str, version_id: str | None, etag: str | None) -> None:
        """This object is about to be deleted, so that a put can replace it; told before it happens."""
        ...

    def failed(self, job_id: str | None, failure: Failure) -> None:
        """This object cannot be done in this run."""
        ...

    def ended(self, job: Job) -> None:
        """Nothing more will be done for the job; its last known state."""
        ...


class NoRecorder:
    """Keeps nothing: for runs that nobody asks about afterwards."""

    def planned(self, plan: PlannedJob) -> None:
        """Nothing is kept."""

    def created(self, plan: PlannedJob, job: Job) -> None:
        """Nothing is kept."""

    def moved(self, job_id: str, blobs: BlobColumns, numbers: Sequence[int], checksums: Sequence[str | None]) -> None:
        """Nothing is kept."""

    def deleting(self, bucket: str, key: str, version_id: str | None, etag: str | None) -> None:
        """Nothing is kept."""

    def failed(self, job_id: str | None, failure: Failure) -> None:
        """Nothing is kept."""

    def ended(self, job: Job) -> None:
        """Nothing is kept."""


@dataclass(slots=True)
class MemoryRecorder:
    """Keeps what it is told, for a run that need not outlive its process, and for tests."""

    plans: list[PlannedJob] = field(default_factory=list)
    jobs: dict[str, Job] = field(default_factory=dict)
    checksums: dict[tuple[str, str, int], str | None] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    deletions: list[tuple[str, str, str | None, str | None]] = field(default_factory=list)

    def planned(self, plan: PlannedJob) -> None:
        """Keep the plan."""
        self.plans.append(plan)

    def created(self, plan: PlannedJob, job: Job) -> None:  # noqa: ARG002  # the plan is kept already
        """Keep the job."""
        self.jobs[job.id] = job

    def moved(self, job_id: str, blobs: BlobColumns, numbers: Sequence[int], checksums: Sequence[str | None]) -> None:
        """Keep each blob's digest."""
        for number, checksum in zip(numbers, checksums, strict=True):
            self.checksums[job_id, blobs.keys[number], blobs.offsets[number]] = checksum

    def deleting(self, bucket: str, key: str, version_id: str | None, etag: str | None) -> None:
        """Keep what is going to be deleted."""
        self.deletions.append((bucket, key, version_id, etag))

    def failed(self, job_id: str | None, failure: Failure) -> None:  # noqa: ARG002
        """Keep the failure."""
        self.failures.append(failure)

    def ended(self, job: Job) -> None:
        """Keep the job's last state."""
        self.jobs[job.id] = job
