"""The options of a put and a get that say how their jobs are made, and what an object's failure means."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import field, replace
from enum import StrEnum
from typing import Annotated, Any

import typer

from ds3tool.cli.aws_options import AwsOptions
from ds3tool.cli.failures import NothingDoneError
from ds3tool.cli.notifying import Telling, parse_notify
from ds3tool.cli.options import option_group
from ds3tool.cli.settings import Settings
from ds3tool.errors import SinkError, UsageError
from ds3tool.jobs.engine import EngineSettings
from ds3tool.jobs.plan import JobLimits
from ds3tool.jobs.run import RunResult, RunSettings
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import Priority
from ds3tool.protocol.names import MAX_OBJECTS_PER_JOB
from ds3tool.sizes import parse_rate, parse_size
from ds3tool.transport.ratelimit import RateLimit

_MOST_TRANSFERS = 64

Transfers = Annotated[
    int | None,
    typer.Option(
        "--transfers",
        "-j",
        metavar="N",
        min=1,
        max=_MOST_TRANSFERS,
        envvar="DS3TOOL_TRANSFERS",
        show_envvar=False,
        help="Blobs on their way at once, large ones and small ones; else 4 (to 16 where that is faster) and 16.",
    ),
]
BandwidthLimit = Annotated[
    str | None,
    typer.Option(
        "--bwlimit",
        metavar="RATE",
        envvar="DS3TOOL_BWLIMIT",
        show_envvar=False,
        help="Bytes a second at most, as in 100M or 50MiB.",
    ),
]
JobPriority = Annotated[
    str | None,
    typer.Option(
        "--priority",
        metavar="LEVEL",
        envvar="DS3TOOL_PRIORITY",
        show_envvar=False,
        help="urgent, high, normal or low; else the data policy's.",
    ),
]


def check_job_name(name: str | None) -> None:
    """Raise UsageError for what cannot begin the name of a job."""
    if name is not None and not (0 < len(name) <= 200 and name.isprintable()):
        raise UsageError(f"{name[:80]!r} is no name for a job", hint="1 to 200 printable characters")


@option_group("Jobs")
@dataclass(frozen=True, slots=True)
class JobOptions:
    """How the jobs of a put or a get are made: their size, their name, their priority, what goes at once."""

    transfers: Transfers = None
    bwlimit: BandwidthLimit = None
    priority: JobPriority = None
    job_name: Annotated[
        str | None,
        typer.Option("--job-name", metavar="NAME", help="What the jobs' names begin with, on the appliance."),
    ] = None
    max_job_size: Annotated[
        str | None, typer.Option("--max-job-size", metavar="SIZE", help="Split into jobs of at most so many bytes.")
    ] = None
    max_job_objects: Annotated[
        int,
        typer.Option(
            "--max-job-objects",
            metavar="N",
            min=1,
            max=MAX_OBJECTS_PER_JOB,
            help="Split into jobs of at most so many objects.",
        ),
    ] = MAX_OBJECTS_PER_JOB

    def limits(self) -> JobLimits:
        """Return how large a job may become."""
        size = None if self.max_job_size is None else parse_size(self.max_job_size)
        if size == 0:
            raise UsageError("--max-job-size must be above zero")
        return JobLimits(self.max_job_objects, size)

    def run_settings(self, **others: Any) -> RunSettings:  # noqa: ANN401  # those of RunSettings
        """Return the settings of a run, `others` beside what the options say."""
        check_job_name(self.job_name)
        return RunSettings(
            engine=EngineSettings.of(self.transfers),
            priority=parse_priority(self.priority),
            limits=self.limits(),
            job_name=self.job_name,
            **others,
        )

    def rate_limit(self) -> RateLimit | None:
        """Return the limit that `--bwlimit` means."""
        return None if self.bwlimit is None else RateLimit(parse_rate(self.bwlimit))


class OnError(StrEnum):
    """What an object's failure means for the others."""

    STOP = "stop"
    CONTINUE = "continue"


@option_group("Failures")
@dataclass(frozen=True, slots=True)
class Outcome:
    """What `--on-error`, `--failed-to`, `--error-if-nothing` and `--notify` were given."""

    on_error: Annotated[OnError, typer.Option("--on-error", help="Whether the others go on when one object fails.")] = (
        OnError.CONTINUE
    )
    failed_to: Annotated[
        str | None,
        typer.Option(
            "--failed-to",
            metavar="FILE",
            help="Write there what failed, a key a line; one with odd characters as a JSON string.",
        ),
    ] = None
    error_if_nothing: Annotated[
        bool,
        typer.Option(
            "--error-if-nothing", metavar="", help="Exit with 9 when nothing was moved, also when all was skipped."
        ),
    ] = False
    notify: Annotated[
        list[str],
        typer.Option(
            "--notify",
            metavar="sns:TOPIC_ARN",
            help="Tell this topic of SNS when it is over, however it ends; repeatable. `resume` tells it too.",
        ),
    ] = field(default_factory=list)
    telling: Telling = field(default_factory=Telling)

    @property
    def stop_on_error(self) -> bool:
        """Whether the first failure ends the run."""
        return self.on_error is OnError.STOP

    def prepare(self, *, dry_run: bool = False) -> None:
        """Make the file for `--failed-to` empty, and from now on tell of the end, but for that of a dry run.

        UsageError, before anything is done, when the file cannot be written or `--notify` names nobody.
        """
        self.telling.topics = parse_notify(self.notify)
        self.telling.is_armed = not dry_run
        self._write([])

    @contextmanager
    def around(self, command: str, settings: Settings, others: Iterable[object]) -> Iterator[Settings]:
        """Give the settings for a command, amid which its end is told of; `others` are its groups of options."""
        telling = self.telling
        telling.command, telling.settings = command, settings
        profile = next((one.s3_profile for one in others if isinstance(one, AwsOptions)), None)
        # Kept with the work: a timer that resumes it has another environment.
        telling.profile = profile or os.environ.get("AWS_PROFILE") or None
        with telling.watching():
            yield settings if not self.notify else replace(settings, telling=telling)

    def _write(self, lines: list[str]) -> None:
        if self.failed_to is None:
            return
        try:
            # A path that is not UTF-8 is written as the bytes it has.
            with open(self.failed_to, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
                file.writelines(f"{line}\n" for line in lines)
        except OSError as error:
            raise UsageError(f"{self.failed_to} cannot be written: {error.strerror}") from error

    def conclude(self, result: RunResult) -> None:
        """Write down what failed by name, and let a run that moved nothing be one that failed, if asked for."""
        try:
            self._write([_listed_name(failure.name) for failure in result.failures])
        except UsageError as error:  # too late to be one: the run is over, and has to be told
            result.notes.append(error.message)
            result.stopped = result.stopped or SinkError(error.message, hint="what failed is listed above")
        if self.error_if_nothing and not (result.objects or result.deleted or result.failures or result.stopped):
            result.stopped = NothingDoneError("nothing was moved: there was nothing to do")


def _listed_name(name: str) -> str:
    """Return a name as one line: as it is, or as a JSON string where that would not be one, or look like one."""
    odd = name.startswith('"') or any(letter < " " or letter in "\x7f\x85\u2028\u2029" for letter in name)
    return json.dumps(name) if odd else name


_USER_PRIORITIES = (Priority.URGENT, Priority.HIGH, Priority.NORMAL, Priority.LOW)


def parse_priority(text: str | None) -> Priority | None:
    """Return the priority that `text` names; UsageError for one that users cannot set."""
    if text is None:
        return None
    priority = Priority(text.upper())
    if priority not in _USER_PRIORITIES:
        raise UsageError(f"{text!r} is not a priority that jobs can have", hint="use urgent, high, normal or low")
    return priority
