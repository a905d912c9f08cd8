"""`ds3tool job ls --local` and `job forget`: what this host has begun and not finished, the appliance on or off."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ds3tool.cli import messages
from ds3tool.cli.get_kinds import receiving_of
from ds3tool.cli.local_works import (
    command_line,
    find_work,
    not_there,
    paths_of,
    state_of,
    told,
    unfinished_works,
)
from ds3tool.cli.output import Field, OutputFormat, counted
from ds3tool.cli.prompts import confirm
from ds3tool.cli.settings import Settings
from ds3tool.errors import JournalError, UsageError
from ds3tool.jobs.journal import Journal
from ds3tool.jobs.works import WorkSummary, forget_work
from ds3tool.protocol.model import JobType
from ds3tool.sizes import format_size


def _asked(work: WorkSummary, name: str) -> Any:  # noqa: ANN401  # what JSON holds
    return None if work.head is None else work.head.asked.get(name)


def _jobs(work: WorkSummary) -> list[str]:
    return [plan.job_id for plan in work.plans if plan.job_id is not None]


def _bytes_total(work: WorkSummary) -> int:
    return sum(plan.bytes for plan in work.plans)


def _bytes_left(work: WorkSummary) -> int:
    return sum(max(0, plan.bytes - plan.moved_bytes) for plan in work.unfinished)


def _begun(work: WorkSummary) -> datetime | None:
    return None if work.head is None else work.head.begun


LOCAL_FIELDS: list[Field[WorkSummary]] = [
    Field("id", lambda work: work.id, heading="work"),
    Field("state", state_of),
    Field("verb", lambda work: _asked(work, "verb")),
    Field("type", lambda work: None if work.head is None else work.head.type, tabled=False),
    Field("bucket", lambda work: None if work.head is None else work.head.bucket),
    Field("begun", _begun),
    Field("last_activity", lambda work: work.last_active),
    Field("jobs", _jobs, tabled=False),
    Field("objects", lambda work: sum(plan.objects for plan in work.plans), right=True),
    Field("bytes", _bytes_total, heading="size", text=format_size, right=True),
    Field("bytes_left", _bytes_left, heading="left", text=format_size, right=True),
    Field("pid", lambda work: None if work.holder is None else work.holder.pid, tabled=False),
    Field("command", lambda work: None if work.head is None else command_line(work.head), tabled=False),
    Field("error", lambda work: None if work.trouble is None else work.trouble.message, tabled=False),
    Field("paths", lambda work: [] if work.head is None else paths_of(work.head), text=", ".join),
]


def list_local(bucket: str | None, settings: Settings) -> None:
    """Show what this host has begun and not finished; asks nobody but the state folder."""
    found = [
        work
        for work in unfinished_works(settings)
        if bucket is None or (work.head is not None and work.head.bucket == bucket)
    ]
    settings.results().records(found, LOCAL_FIELDS)


def forget(word: str, settings: Settings) -> None:
    """Drop the journal of the work that `word` means, and what it has left at its target; its jobs are not touched.

    Raises LockedError while somebody works on it.
    """
    work = find_work(unfinished_works(settings), word)
    if work is None:
        raise not_there(word)
    what = f"work {work.id}" if work.head is None else f"work {work.id}, {told(work.head)}"
    confirm(f"Forget {what}? What is left of it cannot be resumed then.", settings)
    removed = _drop(work, settings)
    if removed:
        messages.note(f"removed {counted(removed, 'unfinished object')} at the target", quiet=settings.quiet)
    for sentence in _open_jobs(work):
        messages.note(sentence, quiet=settings.quiet)
    if settings.output is not OutputFormat.TABLE:
        settings.results().record(work, LOCAL_FIELDS)


def _drop(work: WorkSummary, settings: Settings) -> int:
    """Drop a work's journal; return how many unfinished objects of it were removed at its target.

    Raises LockedError while somebody works on it.
    """
    try:
        with Journal.open(work.path) as journal:
            removed = _clear_target(journal, settings)
            journal.drop()
            return removed
    except JournalError:  # one that cannot be read can still be dropped
        forget_work(settings.state_path, work.id)
        return 0


def _clear_target(journal: Journal, settings: Settings) -> int:
    """Remove what a get has left unfinished at its target; return how many objects that were."""
    head = journal.head
    if head.type != JobType.GET or head.asked.get("stream"):
        return 0
    try:
        where = receiving_of(head.asked)
    except (UsageError, KeyError, TypeError, ValueError):  # of another release: nobody here knows what it has left
        return 0
    names = (name for remainder in journal.remainders() for name in remainder.plan.target_names)
    return where.forget(head.id, names, state=settings.state_path)


def _open_jobs(work: WorkSummary) -> list[str]:
    """Return what to say of each job that may still run on the appliance."""
    verb = "cancel" if work.head is None or work.head.type == JobType.GET else "truncate"
    kept = "" if verb == "cancel" else ", which keeps what is complete"
    return [
        f"job {plan.job_id} stays on the appliance until it has been idle for a day; to end it{kept}: "
        f"ds3tool job {verb} {plan.job_id}"
        for plan in work.unfinished
        if plan.job_id is not None
    ]
