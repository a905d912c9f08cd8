"""`--notify`: when a command that moves data is over, somebody is told, however it has ended."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ds3tool.cli import messages
from ds3tool.cli.escapes import printable
from ds3tool.cli.interruption import interruptible
from ds3tool.cli.logs import redacted
from ds3tool.cli.output import OutputClosedError, ShownError, counted
from ds3tool.errors import Ds3Error, InterruptedRunError, UsageError
from ds3tool.jobs.run import RunResult
from ds3tool.lazy_dataclass import dataclass
from ds3tool.sizes import format_duration, format_size

if TYPE_CHECKING:
    from ds3tool.aws.session import AwsSettings
    from ds3tool.cli.settings import Settings

_SCHEME = "sns:"
# A run that is over waits no longer than this, twice, for somebody to take the message.
_CONNECT_SECONDS, _READ_SECONDS, _TRIES = 10, 20, 2
# A shell makes a command of megabytes out of a wildcard; no line may keep the rest of a message from being sent.
_LONGEST_LINE, _MOST_LINES = 1500, 40


def parse_notify(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the topics that `--notify` names, each once; UsageError for what names nobody."""
    if not texts:
        return ()
    from ds3tool.aws import sns

    topics = []
    for text in texts:
        if not text.startswith(_SCHEME):
            raise UsageError(
                f"--notify {text!r} names nobody who could be told",
                hint="write it like --notify sns:arn:aws:sns:eu-west-1:123456789012:alerts; see: ds3tool sns topics",
            )
        topic = text.removeprefix(_SCHEME)
        sns.check_topic(topic)
        topics.append(topic)
    return tuple(dict.fromkeys(topics))


@dataclass(frozen=True, slots=True)
class Told:
    """What one topic is told: how a run, or a part of it, has ended."""

    topic: str
    profile: str | None
    result: RunResult
    error: Ds3Error | None
    exit_code: int


@dataclass(slots=True)
class Telling:
    """Who is to be told of one command's end, and whether they have been.

    `settings` are the command's, `command` is its name as typed (`ds3tool put`), `profile` that of ~/.aws/config with
    which SNS is asked, None for AWS's own way to find one. Nobody is told before `is_armed`: of what was only tried.
    """

    topics: tuple[str, ...] = ()
    settings: Settings | None = None
    command: str = "ds3tool"
    profile: str | None = None
    is_armed: bool = False
    is_done: bool = False
    began: float = field(default_factory=time.monotonic)

    def kept(self) -> Mapping[str, Any]:
        """Return this for a journal, so that whoever goes on with the work tells the same; empty for nobody."""
        return {"topics": list(self.topics), "profile": self.profile} if self.topics else {}

    def tell(self, result: RunResult, error: Ds3Error | None, exit_code: int) -> list[str]:
        """Tell how a run has ended; return, for the result's notes, who could not be told and why."""
        return self.tell_each([Told(topic, self.profile, result, error, exit_code) for topic in self.topics])

    def tell_each(self, everybody: Sequence[Told]) -> list[str]:
        """Tell several topics, each of its own; return who could not be told and why."""
        self.is_done = True
        if not self.is_armed or self.settings is None:
            return []
        notes = []
        for told in everybody:
            subject = subject_of(self.command, told.result, told.error, told.exit_code)
            body = body_of(self.command, self.settings.command, told.result, told.error, told.exit_code)
            try:
                with interruptible():
                    _publish(told.topic, told.profile, subject, body, self.settings)
            except Ds3Error as failure:
                notes.append(f"{told.topic} could not be told how this ended: {failure.message}")
            except KeyboardInterrupt:
                notes.append(f"{told.topic} was not told how this ended: interrupted")
        return notes

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Let what ends a command before it has a result be told too, whatever that is."""
        try:
            yield
        except BaseException as error:
            if self.is_armed and not self.is_done and self.topics:
                told, exit_code = _told(error)
                for note in self.tell(RunResult(seconds=time.monotonic() - self.began), told, exit_code):
                    messages.warn(note)
            raise


def _told(error: BaseException) -> tuple[Ds3Error, int]:
    """Return what ended a command, and the exit code that it means."""
    if isinstance(error, ShownError):
        return error.error, error.exit_code
    if isinstance(error, Ds3Error):
        return error, error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return InterruptedRunError("interrupted"), InterruptedRunError.exit_code
    if isinstance(error, OutputClosedError):
        return Ds3Error("whoever read its output has gone"), 1
    return Ds3Error(f"unexpected failure: {type(error).__name__}: {error}"), 1


def _publish(topic: str, profile: str | None, subject: str, body: str, settings: Settings) -> None:
    from ds3tool.aws import sns

    client = aws_settings(topic, profile, settings).client(
        "sns",
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": _TRIES},
    )
    sns.publish(client, topic, body, subject=subject)


def aws_settings(topic: str, profile: str | None, settings: Settings) -> AwsSettings:
    """Return where a topic is reached: in its own region, and never where only S3 is."""
    from ds3tool.aws import sns
    from ds3tool.cli.aws_options import AwsOptions

    found = AwsOptions(s3_profile=profile).settings(settings, service="sns")
    return replace(found, region=sns.check_topic(topic))


# -- what is said ---------------------------------------------------------------------------------------------------


def subject_of(command: str, result: RunResult, error: Ds3Error | None, exit_code: int) -> str:
    """Return one line of at most a hundred characters of ASCII: what ran, how much it moved, how it ended."""
    from ds3tool.aws import sns

    parts = [counted(result.objects, "object")]
    if result.failures:
        parts.append(f"{len(result.failures):,} failed")
    if error is not None and not result.objects and not result.failures:
        parts = [error.code]
    text = f"{command}: {', '.join(parts)} (exit {exit_code})"
    return printable(text).encode("ascii", "replace").decode("ascii")[: sns.MOST_SUBJECT]


def body_of(command: str, words: tuple[str, ...], result: RunResult, error: Ds3Error | None, exit_code: int) -> str:
    """Return all that there is to say, the failures by name as far as a message has room; never a secret."""
    import shlex
    import socket

    from ds3tool.aws import sns
    from ds3tool.cli.journalled import without_secrets

    lines = [
        f"{command} on {socket.gethostname()} ended with exit code {exit_code}.",
        *([] if error is None else [error.message.replace("listed above", "listed below")]),
        *([] if error is None or not error.hint else [error.hint]),
        "",
        f"Command: {shlex.join(without_secrets(('ds3tool', *words)))}",
        f"Ended:   {datetime.now(UTC):%Y-%m-%d %H:%M:%SZ}, after {format_duration(result.seconds)}",
        f"Moved:   {counted(result.objects, 'object')}, {format_size(result.bytes)} ({result.bytes:,} bytes)",
        *([f"Skipped: {result.skipped:,}"] if result.skipped else []),
        *([f"Deleted: {result.deleted:,}"] if result.deleted else []),
        f"Failed:  {len(result.failures):,}",
        *(f"Job:     {one.job.id} ({one.job.name}), {one.job.status}" for one in result.jobs),
        *(f"Note:    {note}" for note in result.notes),
    ]
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES:] = [f"and {len(lines) - _MOST_LINES:,} lines more of jobs and notes"]
    failed = (one.named_error.message for one in result.failures)
    room = sns.MOST_BYTES - _room(lines)
    if result.failures:
        lines += ["", "What failed:"]
    return "\n".join([*map(_safe, lines), *_fitting(map(_safe, failed), len(result.failures), room)])


def _safe(line: str) -> str:
    shown = printable(redacted(line))
    return shown if len(shown) <= _LONGEST_LINE else f"{shown[:_LONGEST_LINE]}... ({len(shown):,} characters)"


def _room(lines: Sequence[str]) -> int:
    """Return the bytes that some lines take, and what is kept free for those that follow in any case."""
    return sum(len(_safe(line).encode("utf-8")) + 1 for line in lines) + 200


def _fitting(lines: Iterator[str], count: int, room: int) -> Iterator[str]:
    """Yield as many lines as there is room for in bytes, and how many there were more."""
    for number, line in enumerate(itertools.islice(lines, count)):
        room -= len(line.encode("utf-8")) + 1
        if room < 0:
            yield f"and {count - number:,} more"
            return
        yield line
