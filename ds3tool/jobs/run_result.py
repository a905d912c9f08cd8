"""How a put or a get goes about it, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from ds3tool.errors import Ds3Error, FarSideDeniedError, FarSideUnreachableError, worst_exit_code
from ds3tool.jobs.ends import Failure
from ds3tool.jobs.engine import EngineSettings
from ds3tool.jobs.existing import IfExists
from ds3tool.jobs.integrity import ChecksumChoice
from ds3tool.jobs.plan import JobLimits
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import Job, Priority


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How a put or a get goes about it.

    `blob_size` caps the blobs of a put in bytes, None leaves it to the data policy. A run of more than `limits` allow
    is several jobs, one after the other; `job_name` is what their names begin with. `stop_on_error`: the first object
    that fails ends the run, else the others go on. Of a put: `checksum` is what its digests must be, `metadata` is
    stored with every object, and `may_delete` lets `--if-exists overwrite` delete first where no versions are kept.
    """

    engine: EngineSettings = field(default_factory=lambda: EngineSettings.of(None))
    priority: Priority | None = None
    blob_size: int | None = None
    limits: JobLimits = field(default_factory=JobLimits)
    job_name: str | None = None
    if_exists: IfExists = IfExists.SKIP_SAME
    stop_on_error: bool = False
    checksum: ChecksumChoice = ChecksumChoice.AUTO
    metadata: Mapping[str, str] = field(default_factory=dict)
    may_delete: bool = False


@dataclass(slots=True)
class JobOutcome:
    """One job of a run: its last known state, and what this run moved of it."""

    job: Job
    objects: int = 0
    bytes: int = 0


@dataclass(slots=True)
class RunResult:
    """What a run has done. `objects` and `bytes` count what it moved and, for a get, what appeared at the target;
    `deleted` what a sync took away there, since its source has it no more.

    `stopped` is what ended the run early, None when it went through its whole plan.
    """

    jobs: list[JobOutcome] = field(default_factory=list)
    objects: int = 0
    bytes: int = 0
    skipped: int = 0
    deleted: int = 0
    failures: list[Failure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unverified: int = 0
    seconds: float = 0.0
    stopped: Ds3Error | None = None

    @property
    def exit_code(self) -> int:
        """The run's exit code: that of what stopped it, of an integrity failure, or 3 for failed objects.

        A far side that was out of reach, or knew nobody any more, is why objects failed and no fault of theirs.
        """
        codes = {3} if self.failures else set()
        codes |= {failure.error.exit_code for failure in self.failures} & {5, 8, 11, 12}
        lost = (FarSideDeniedError, FarSideUnreachableError)
        codes |= {failure.error.exit_code for failure in self.failures if isinstance(failure.error, lost)}
        if self.stopped is not None:
            codes.add(self.stopped.exit_code)
        return worst_exit_code(codes)
