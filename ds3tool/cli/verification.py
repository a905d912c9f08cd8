"""What the verify commands tell alike: counts, what failed by name, and how it is shown."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import field
from typing import Annotated, Any

import typer

from ds3tool.cli import messages
from ds3tool.cli.failures import SomeFailedError
from ds3tool.cli.output import Field, Output, OutputFormat, counted
from ds3tool.cli.settings import Settings
from ds3tool.errors import Ds3Error, InterruptedRunError, worst_exit_code
from ds3tool.jobs.verification import Finding
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import Job
from ds3tool.sizes import format_size

Address = Annotated[str, typer.Argument(metavar="ds3://BUCKET/PREFIX", help="A bucket, a prefix, a key, a pattern.")]
Raw = Annotated[bool, typer.Option("--raw", metavar="", help="Wildcards in the address stand for themselves.")]


@dataclass(slots=True)
class Reading:
    """A verify job as it was last seen, and how many objects it was given."""

    job: Job
    objects: int


@dataclass(slots=True)
class Verification:
    """What one run found out. Only what failed is kept object by object; `bar_codes` are tapes on a shelf."""

    jobs: list[Reading] = field(default_factory=list)
    objects: int = 0
    bytes: int = 0
    verified: int = 0
    as_sent: int = 0
    failures: int = 0
    failed: list[Finding] = field(default_factory=list)
    bar_codes: set[str] = field(default_factory=set)
    exit_codes: set[int] = field(default_factory=set)
    stopped: Ds3Error | None = None

    def take(self, finding: Finding, *, keep: bool) -> None:
        """Count an object; one that failed is kept with `keep`."""
        self.objects += 1
        self.bytes += finding.size
        self.as_sent += finding.as_sent is True
        if finding.verified:
            self.verified += 1
            return
        self.failures += 1
        self.bar_codes.update(finding.bar_codes)
        self.exit_codes.update(problem.exit_code for problem in finding.problems)
        if keep:
            self.failed.append(finding)

    @property
    def error(self) -> Ds3Error | None:
        """What the run ends in; None when everything is as it should be."""
        if self.stopped is not None:
            return self.stopped
        if not self.exit_codes:
            return None
        tapes = f"; tapes to load: {', '.join(sorted(self.bar_codes))}" if self.bar_codes else ""
        return SomeFailedError(f"{counted(self.failures, 'object')} failed the check{tapes}")

    @property
    def exit_code(self) -> int:
        """The run's exit code."""
        stopped = set() if self.stopped is None else {self.stopped.exit_code}
        return worst_exit_code(self.exit_codes | stopped)


FINDING_FIELDS: list[Field[Finding]] = [
    Field("size", lambda finding: finding.size, tabled=False),
    Field("verified", lambda finding: finding.verified, tabled=False),
    Field("copies", lambda finding: finding.copies, tabled=False),
    Field("as_sent", lambda finding: finding.as_sent, tabled=False),
    Field("error", lambda finding: finding.error),
    Field("key", lambda finding: finding.key, leads=True),
]
RESULT_FIELDS: list[Field[Verification]] = [
    Field("objects", lambda result: result.objects),
    Field("bytes", lambda result: result.bytes),
    Field("verified", lambda result: result.verified),
    Field("failed", lambda result: [{"key": one.key, "error": one.error} for one in result.failed]),
    Field("bar_codes", lambda result: sorted(result.bar_codes)),
]


def _job(reading: Reading) -> dict[str, Any]:
    job = reading.job
    return {
        "id": job.id,
        "bucket": job.bucket,
        "type": job.type,
        "name": job.name,
        "status": job.status,
        "objects": reading.objects,
        "bytes": job.original_bytes,
    }


JOBS_FIELD: Field[Verification] = Field("jobs", lambda result: [_job(job) for job in result.jobs])


def tell(findings: Generator[Finding], result: Verification, output: Output) -> None:
    """Go through the findings and show them as the shape allows; what stops it is kept as the result's `stopped`."""

    def failed() -> Iterator[Finding]:
        for finding in findings:
            result.take(finding, keep=output.shape is OutputFormat.JSON)
            if output.shape is OutputFormat.NDJSON:
                output.event(finding, FINDING_FIELDS)
            elif not finding.verified:
                yield finding

    try:
        # Whatever ends it, the threads that ask end with it.
        with contextlib.closing(findings):
            if output.shape in {OutputFormat.TABLE, OutputFormat.CSV}:
                output.records(failed(), FINDING_FIELDS)
            else:
                for _ in failed():
                    pass
    except KeyboardInterrupt:
        result.stopped = InterruptedRunError("interrupted", hint="what is told was verified; the rest was not")
    except Ds3Error as error:
        result.stopped = error


def end(result: Verification, output: Output, settings: Settings, fields: list[Field[Verification]]) -> None:
    """Show what a run has found out; ends the command with the run's exit code when something failed."""
    error = result.error
    if output.shape is OutputFormat.JSON:
        output.finish(result, fields, error, exit_code=result.exit_code)
        return
    sent = f"; {result.as_sent:,} as this host's journals have them" if result.as_sent else ""
    messages.note(
        f"{counted(result.objects, 'object')} ({format_size(result.bytes)}): {result.verified:,} verified, "
        f"{result.failures:,} failed{sent}",
        quiet=settings.quiet,
    )
    if error is not None:
        output.error(error, exit_code=result.exit_code)
        output.end(error, exit_code=result.exit_code)
