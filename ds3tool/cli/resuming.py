"""How `resume` goes on with one piece of work: its connection, its source or target made again, its end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from ds3tool.cli import transfer
from ds3tool.cli.accounts import account_resumed, held
from ds3tool.cli.get_kinds import receiving_of
from ds3tool.cli.journalled import settle
from ds3tool.cli.local_works import command_line, told
from ds3tool.cli.manner import Elsewhere, Manner
from ds3tool.cli.put_kinds import Puttable, puttable_of
from ds3tool.cli.sent import sent_digests
from ds3tool.cli.settings import Settings, connect
from ds3tool.client import Ds3Client
from ds3tool.errors import (
    Ds3Error,
    JobError,
    JournalError,
    NotFoundError,
    PathNotFoundError,
    UsageError,
)
from ds3tool.jobs.get import GetRun
from ds3tool.jobs.journal import Journal
from ds3tool.jobs.planfile import settings_of
from ds3tool.jobs.put import PutRun
from ds3tool.jobs.remainder import Remainder
from ds3tool.jobs.run import JobOutcome, Run, RunResult, RunSettings
from ds3tool.jobs.work_head import WorkHead
from ds3tool.jobs.works import WorkSummary
from ds3tool.protocol.model import JobStatus, JobType


class CannotGoOnError(JobError):
    """A piece of work that nobody can go on with; it is dropped, and told once."""

    code = "CannotResume"


def go_on(
    summary: WorkSummary, manner: Manner, settings: Settings, *, place: str
) -> tuple[RunResult, str | None] | None:
    """Finish a piece of work as far as that can be done now; return what came of it, and the command that goes on.

    `place` is what the display adds to its label. None when another process has finished the work meanwhile. Raises a
    Ds3Error for one that cannot be gone on with, at all or now; its journal then is as it was, unless that is a
    CannotGoOnError, which is told once. LockedError while another process works on it.
    """
    try:
        journal = Journal.open(summary.path)
    except PathNotFoundError:
        return None
    with journal:
        head = journal.head
        if journal.concluded:
            return None
        if journal.planning:
            journal.drop()
            raise CannotGoOnError(
                f"work {head.id}, {told(head)}, was ended before all of it was planned, so nothing was begun",
                hint=f"begin it anew: {command_line(head)}",
            )
        _check_place(head, manner.place)
        with connect(settings_for(head, settings), limit=manner.limit) as client:
            _check_bucket(client, head)
            if head.asked.get("stream"):
                raise _end_stream(client, journal)
            label = f"{head.type.lower()}{place}"
            with _understood(journal):
                result = _go_on(client, journal, manner, settings, label=label)
        return result, settle(journal, result, settings, again=True)


@contextlib.contextmanager
def _understood(journal: Journal) -> Iterator[None]:
    """Let what a work was asked for be checked where it is read."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise JournalError(
            f"the journal {journal.path} does not say how its work is to be done ({type(error).__name__}: {error})",
            hint=f"drop it with: ds3tool job forget {journal.head.id}",
        ) from error


def _check_place(head: WorkHead, place: Elsewhere) -> None:
    """Raise UsageError for what makes no sense beside a work that knows its names and its direction."""
    wrong = place.target if head.type == JobType.PUT else place.source
    if wrong is not None or place.strip_prefix is not None:
        right = "--source PATH" if head.type == JobType.PUT else "--target DIR"
        raise UsageError(
            f"work {head.id}, {told(head)}, was begun here and knows its names",
            hint=f"only if its files have moved: {right}",
        )


def moved_to(head: WorkHead, place: Elsewhere) -> WorkHead:
    """Return the head of a work as it is told of, with the place that stands in for its own."""
    with contextlib.suppress(UsageError, KeyError, TypeError, ValueError):  # told when it is to be gone on with
        if head.type == JobType.GET and place.target is not None:
            return replace(head, asked={**head.asked, **receiving_of(head.asked).moved_to(place.target).asked()})
        if head.type == JobType.PUT and place.source is not None:
            return replace(head, asked={**head.asked, **puttable_of(head.asked).moved_to(place.source).asked()})
    return head


def settings_for(head: WorkHead, settings: Settings) -> Settings:
    """Return the settings with the profile that a work was begun with, unless one, or an address, is asked for now."""
    if settings.profile is not None or settings.flags.endpoint is not None or head.profile is None:
        return settings
    return replace(settings, profile=head.profile, profile_is_forced=True)


def _check_bucket(client: Ds3Client, head: WorkHead) -> None:
    """See that this is the bucket that the work was begun with: another one of its name gets nothing."""
    began = f"work {head.id}, {told(head)}, was begun on {head.endpoint}"
    hint = f"name the appliance: --profile, --endpoint; or drop the work: ds3tool job forget {head.id}"
    try:
        found = client.get_bucket(head.bucket).id
    except NotFoundError as error:
        raise PathNotFoundError(f"there is no bucket {head.bucket} any more; {began}", hint=hint) from error
    if found != head.bucket_id:
        raise UsageError(
            f"bucket {head.bucket} is not the one of that work: it is on another appliance, or was made anew; {began}",
            hint=hint,
        )


def _go_on(client: Ds3Client, journal: Journal, manner: Manner, settings: Settings, *, label: str) -> RunResult:
    head = journal.head
    run_settings = replace(
        settings_of(head.asked["settings"]), engine=manner.engine, stop_on_error=manner.stop_on_error
    )
    act = _put if head.type == JobType.PUT else _get
    result, untold = RunResult(), journal.untold_failures()
    if journal.unfinished:
        result = act(client, journal, run_settings, manner, settings, label=label)
    result.failures[:0] = untold
    if result.stopped is None and not journal.unfinished:
        wait = manner.wait or transfer.WaitFor(head.asked["wait"])
        if head.type == JobType.PUT and wait is transfer.WaitFor.TAPE:
            _add_earlier_jobs(client, journal, result)
            if result.stopped is None:
                transfer.wait_for_tape(client, result, settings)
        if head.asked.get("delete"):
            result.notes.append("a resumed sync deletes nothing at its target; for that, run the sync again")
    account_resumed(journal, result)
    return result


def _put(
    client: Ds3Client,
    journal: Journal,
    run_settings: RunSettings,
    manner: Manner,
    settings: Settings,
    *,
    label: str,
) -> RunResult:
    head = journal.head
    what = puttable_of(head.asked)
    if manner.place.source is not None:
        what = what.moved_to(manner.place.source)
    what.check_there(head)
    run_settings = replace(run_settings, may_delete=head.asked.get("may_delete") is True)
    with held(what.source()) as source:
        run = PutRun(client, source, head.bucket, settings=run_settings, recorder=journal)
        return _carry_out(run, _adopted(what, journal.remainders()), manner, settings, label=label)


def _adopted(what: Puttable, remainders: Iterable[Remainder]) -> Iterator[Remainder]:
    for remainder in remainders:
        what.adopted(remainder.plan)
        yield remainder


def _get(
    client: Ds3Client,
    journal: Journal,
    run_settings: RunSettings,
    manner: Manner,
    settings: Settings,
    *,
    label: str,
) -> RunResult:
    head = journal.head
    where = receiving_of(head.asked)
    if manner.place.target is not None:
        where = where.moved_to(manner.place.target)
    where.check_there(head)
    with contextlib.closing(where.sink(work_id=head.id, state=settings.state_path)) as sink:
        run = GetRun(
            client,
            sink,
            head.bucket,
            (),
            name_of=str,
            settings=run_settings,
            whole_blobs=where.verify,
            sent=sent_digests(client, head.bucket, settings, always=where.verify),
            recorder=journal,
        )
        return _carry_out(run, journal.remainders(), manner, settings, label=label)


def _carry_out(
    run: Run, remainders: Iterable[Remainder], manner: Manner, settings: Settings, *, label: str
) -> RunResult:
    act: Callable[[], RunResult] = lambda: run.resume(remainders, anew=manner.anew)  # noqa: E731
    return transfer.carry_out(run, settings, label=label, act=act)


def _add_earlier_jobs(client: Ds3Client, journal: Journal, result: RunResult) -> None:
    """Add those jobs of a work that earlier runs have done with, so that they are waited for too."""
    known = {outcome.job.id for outcome in result.jobs}
    earlier = []
    for job_id in journal.job_ids:
        if job_id in known:
            continue
        try:
            earlier.append(JobOutcome(client.get_job(job_id).job))
        except NotFoundError:
            result.stopped = JobError(
                f"the appliance does not know job {job_id} any more, so nobody can tell whether all of it is on tape",
                job_id=job_id,
                hint=f"see with ds3tool where -r ds3://{journal.head.bucket}/; then: "
                f"ds3tool job forget {journal.head.id}",
            )
    result.jobs[:0] = earlier


def _end_stream(client: Ds3Client, journal: Journal) -> Ds3Error:
    """End the jobs of a work whose bytes cannot be had again, and return what to tell of it."""
    head = journal.head
    ended = []
    for remainder in journal.remainders():
        for job_id in _running(client, remainder):
            if head.type == JobType.PUT:
                client.truncate_job(job_id)
            else:
                client.cancel_job(job_id)
            ended.append(job_id)
    journal.drop()
    jobs = f"; its job {', '.join(ended)} was ended on the appliance" if ended else ""
    return CannotGoOnError(
        f"work {head.id}, {told(head)}, cannot be gone on with: a stream can be had only once{jobs}",
        hint=f"begin it anew: {command_line(head)}",
    )


def _running(client: Ds3Client, remainder: Remainder) -> list[str]:
    """Return the jobs of a plan that still run, those of whose creation nobody knows too."""
    return [
        job.id
        for job in client.list_jobs(bucket=remainder.plan.bucket)
        if job.status not in {JobStatus.COMPLETED, JobStatus.CANCELED}
        and (job.id == remainder.job_id or (job.name or "").endswith(remainder.plan.name))
    ]
