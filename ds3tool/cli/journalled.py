"""How a command that moves data opens its journal, and what becomes of that at the end: kept as done, left, dropped."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field
from typing import TYPE_CHECKING, Any

from ds3tool.errors import Ds3Error, InterruptedRunError, JobLostError, ProtocolError
from ds3tool.jobs.decisions import MENDABLE, UNREACHABLE
from ds3tool.jobs.run import RunResult
from ds3tool.lazy_dataclass import dataclass

if TYPE_CHECKING:
    from ds3tool.cli.settings import Settings
    from ds3tool.client import Ds3Client
    from ds3tool.jobs.journal import Journal
    from ds3tool.jobs.work_head import WorkHead
    from ds3tool.protocol.model import JobType

_RESUME = "ds3tool resume"
_ANY_RESUME = rf"{_RESUME}( [0-9a-f][0-9a-f-]{{7,}})?"
# A name and a password in front of a host, as proxies have them.
_CREDENTIALS = re.compile(r"//[^/@\s]*@")
# What a URL that was signed has after its path.
_SIGNATURE = re.compile(r"((?:--[a-z-]+=)?https?://[^?#]*)[?#].*", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Doing:
    """What a command is about to do, as its journal keeps it.

    `asked` says, by the names of options, all that a later run needs to know beside the plans. `wait` is what the
    command waits for before it is done. A `stream` can be had, or taken, only once, so that nothing goes on with it.
    """

    verb: str
    type: JobType
    bucket: str
    asked: Mapping[str, Any] = field(default_factory=dict)
    wait: str = "cache"
    stream: bool = False


@contextmanager
def journalled(client: Ds3Client, doing: Doing, settings: Settings) -> Iterator[Journal]:
    """Give a new journal for a run to record itself in; the body ends with `settle`.

    Raises a Ds3Error, before anything is sent but a question for the bucket, when the state folder cannot keep it.
    A body that fails before the appliance has heard of a job leaves nothing behind.
    """
    from ds3tool.jobs.journal import Journal

    bucket_id = client.get_bucket(doing.bucket).id
    with Journal.create(settings.state_path, _head(doing, bucket_id, settings)) as journal:
        try:
            yield journal
        except BaseException as error:
            _leave_or_drop(journal, error, settings)
            raise


def settle(journal: Journal, result: RunResult, settings: Settings, *, again: bool = False) -> str | None:
    """End a command's work: what is done is kept as done, and what is not waits for `resume`.

    `again`: an earlier command has begun it, so that it is not dropped whatever happened. Returns the command that
    goes on with the rest, None when there is none. What has stopped the run names it too.
    """
    if result.failures:
        with contextlib.suppress(Ds3Error):  # then they are told twice, which does no harm
            journal.failures_told()
    stopped = result.stopped
    if isinstance(stopped, JobLostError) and not journal.unfinished:  # all was sent, and lost on its way to tape
        stopped.hint = "what was on tape by then is kept; run the command again for the rest"
    elif stopped is not None:
        return _leave_or_drop(journal, stopped, settings, again=again)
    elif journal.unfinished and not journal.head.asked["stream"]:
        return resume_command(journal.head.id, settings)
    try:
        journal.conclude()
    except Ds3Error as error:
        result.notes.append(f"that all of it is done could not be recorded, so `resume` looks at it again: {error}")
    return None


def resume_command(work_id: str, settings: Settings) -> str:
    """Return what a person types to go on with a work, which is named only where several wait."""
    from ds3tool.jobs.works import works

    try:
        alone = all(work.id == work_id for work in works(settings.state_path))
    except Ds3Error:
        alone = False
    return f"{_RESUME}{'' if alone else f' {work_id}'}{_elsewhere(settings)}"


def _elsewhere(settings: Settings) -> str:
    """Return the option that finds the state folder again, where it is another than by default."""
    state = settings.state_folder
    if state is None or os.environ.get("DS3TOOL_STATE_DIR") == str(state):
        return ""
    import shlex

    return f" --state-dir {shlex.quote(os.path.abspath(state))}"


def name_way_on(error: Ds3Error, work_id: str, settings: Settings) -> None:
    """Let an error say how a work goes on that waits for `resume`."""
    error.hint = _with_command(error.hint, resume_command(work_id, settings), _elsewhere(settings))


def _leave_or_drop(journal: Journal, error: BaseException, settings: Settings, *, again: bool = False) -> str | None:
    """Leave a journal for `resume`, whose command is returned and named by `error`; or drop one that has begun nothing.

    Nothing has begun while the plans are not all written; nor when the appliance refused the first job. A refusal is
    clear; whatever else goes wrong may hide that the job is there.
    """
    unclear = not isinstance(error, Ds3Error) or isinstance(error, (InterruptedRunError, ProtocolError, *UNREACHABLE))
    if journal.head.asked["stream"]:
        # Else the run has ended its job already, unless that was interrupted too.
        if not isinstance(error, (KeyboardInterrupt, *MENDABLE)):
            journal.drop()
        return None
    if journal.planning or not (unclear or again or journal.job_ids):
        journal.drop()
        if isinstance(error, Ds3Error) and _RESUME in (error.hint or ""):
            error.hint = "nothing was begun; run the command again"
        return None
    if isinstance(error, JobLostError) and error.job_id is not None and error.reason != "expired":
        command = f"{_RESUME} {error.job_id}{_elsewhere(settings)}"  # only a person begins anew what a person has ended
        error.hint = f"if its rest is wanted all the same: {command}"
        return command
    command = resume_command(journal.head.id, settings)
    if isinstance(error, Ds3Error):
        error.hint = _with_command(error.hint, command, _elsewhere(settings))
    return command


def _with_command(hint: str | None, command: str, elsewhere: str) -> str:
    """Return the hint with the very command in it that goes on; one that names a job already only learns where."""
    if hint is None:
        return f"go on with: {command}"
    if _RESUME not in hint:
        return f"{hint}; then: {command}"
    return re.sub(_ANY_RESUME, lambda found: command if found[1] is None else found[0] + elsewhere, hint, count=1)


def _head(doing: Doing, bucket_id: str, settings: Settings) -> WorkHead:
    from ds3tool.jobs.work_head import WorkHead, new_work_id

    resolved = settings.resolve()
    origin = resolved.origins["endpoint"]
    return WorkHead(
        new_work_id(time.time()),
        doing.type,
        doing.bucket,
        bucket_id,
        asked={
            **doing.asked,
            "verb": doing.verb,
            "command": without_secrets(("ds3tool", *settings.command)),
            "cwd": _cwd(),
            "host": socket.gethostname(),
            "wait": doing.wait,
            "stream": doing.stream,
            **({} if settings.telling is None else {"notify": settings.telling.kept()}),
        },
        endpoint=_CREDENTIALS.sub("//", resolved.connection.endpoint),
        profile=origin.removeprefix("profile ") if origin.startswith("profile ") else None,
    )


def _cwd() -> str | None:
    try:
        return os.getcwd()
    except FileNotFoundError:  # it was removed under us
        return None


def without_secrets(command: tuple[str, ...]) -> list[str]:
    """Return a command line's words without the names and passwords that addresses may have in them, or signatures."""
    return [_SIGNATURE.sub(r"\1", _CREDENTIALS.sub("//", word)) for word in command]
