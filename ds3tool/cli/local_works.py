"""The pieces of work that this host has begun and not finished: found by id or job, and told in words."""

from __future__ import annotations

import re
import shlex
import socket
from collections.abc import Sequence

from ds3tool.cli.failures import NothingThereError
from ds3tool.cli.get_kinds import receiving_of
from ds3tool.cli.put_kinds import puttable_of
from ds3tool.cli.settings import Settings
from ds3tool.cli.work_words import words_of
from ds3tool.errors import Ds3Error, UsageError
from ds3tool.jobs.work_head import WorkHead
from ds3tool.jobs.works import WorkSummary, works
from ds3tool.protocol.model import JobStatus, JobType

# A beginning of an id must have so many characters: fewer may come to mean another one tomorrow.
_SHORTEST = 8
_JOB_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def unfinished_works(settings: Settings) -> list[WorkSummary]:
    """Return every unfinished work in the state folder, the oldest first; those that cannot be read come last."""
    found = works(settings.state_path)
    return sorted(
        found, key=lambda work: (work.head is None, 0.0 if work.head is None else work.head.begun.timestamp())
    )


def find_work(known: Sequence[WorkSummary], word: str) -> WorkSummary | None:
    """Return the work that `word` means: its id, a job of it, or how one of these begins; a work also by its last part.

    None when nothing here has that name. UsageError when several have, or when it is too short to tell.
    """
    for work in known:
        if word == work.id or any(plan.job_id == word for plan in work.plans):
            return work
    if len(word) < _SHORTEST:
        raise UsageError(
            f"{word!r} is too short to mean one of several works or jobs",
            hint=f"at least {_SHORTEST} characters of what this shows: ds3tool job ls --local",
        )
    found = [work for work in known if any(_means(word, name) for name in _names(work))]
    if len(found) > 1:
        raise UsageError(
            f"{word!r} may mean any of {len(found)} works: {', '.join(work.id for work in found)}",
            hint="write more of it, or its last part",
        )
    return found[0] if found else None


def _names(work: WorkSummary) -> list[str]:
    return [work.id, work.id.rpartition("-")[2], *(plan.job_id for plan in work.plans if plan.job_id is not None)]


def _means(word: str, name: str) -> bool:
    return name.startswith(word)


def is_job_id(word: str) -> bool:
    """Whether a word is a whole id of a job, as the appliance makes them."""
    return _JOB_ID.fullmatch(word) is not None


def not_there(word: str) -> NothingThereError:
    """Return what to raise for a word that means neither a work of this host nor a job."""
    return NothingThereError(
        f"no unfinished work of this host, and no job of one, is called {word!r}",
        hint="see what is there: ds3tool job ls --local",
    )


def is_of_this_host(head: WorkHead) -> bool:
    """Whether a work was begun here: on another host its files may be others."""
    return str(head.asked.get("host", socket.gethostname())) == socket.gethostname()


def told(head: WorkHead) -> str:
    """Return what a piece of work is, in a few words."""
    asked = head.asked
    try:
        if asked.get("stream"):
            return f"{asked.get('verb', head.type.lower())} of {_stream(head)}"
        return words_of(head, puttable_of(asked).shown if head.type == JobType.PUT else [receiving_of(asked).shown])
    except (Ds3Error, KeyError, TypeError, ValueError):  # an address that is none is a UsageError
        return f"{head.type.lower()} of bucket {head.bucket}"


def paths_of(head: WorkHead) -> list[str]:
    """Return the paths or addresses that a work reads or writes; none for a stream."""
    try:
        if head.asked.get("stream"):
            return []
        if head.type == JobType.PUT:
            return puttable_of(head.asked).shown
        return [receiving_of(head.asked).shown]
    except (Ds3Error, KeyError, TypeError, ValueError):  # an address that is none is a UsageError
        return []


def _stream(head: WorkHead) -> str:
    if head.type == JobType.PUT:
        return f"stdin into ds3://{head.bucket}/{head.asked['key']}"
    return ", ".join(map(str, head.asked["objects"]))


def command_line(head: WorkHead) -> str:
    """Return the command that began a piece of work, as it can be typed again."""
    return shlex.join(str(word) for word in head.asked.get("command", ()))


def state_of(work: WorkSummary) -> str:
    """Return, in a few words, how a work stands: as far as this host knows."""
    if work.trouble is not None or work.head is None:
        return "unreadable"
    if work.holder is not None:
        where = "" if work.holder.is_here else f" on {work.holder.host}"
        return f"running, pid {work.holder.pid}{where}"
    if work.planning:
        return "nothing begun"
    if not work.unfinished:
        return "waiting for tape" if work.head.asked.get("wait") == "tape" else "all done"
    if any(plan.status == JobStatus.CANCELED for plan in work.unfinished):
        return "job cancelled"
    return "interrupted"
