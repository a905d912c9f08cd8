"""`ds3tool cat`: objects into stdout, one after the other, through bulk jobs in order."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from ds3tool.cli import messages, transfer
from ds3tool.cli.choice import Choice
from ds3tool.cli.job_options import JobOptions
from ds3tool.cli.journalled import Doing, journalled, settle
from ds3tool.cli.lookup import base_of
from ds3tool.cli.options import command
from ds3tool.cli.output import OutputClosedError, OutputFormat
from ds3tool.cli.part import Part
from ds3tool.cli.selection import Selection, parse_selection, refuse_ambiguous
from ds3tool.cli.sent import sent_digests
from ds3tool.cli.settings import ProgressMode, Settings, connect
from ds3tool.cli.wanted import wanted_objects
from ds3tool.errors import UsageError
from ds3tool.filters import Filter
from ds3tool.jobs.get import GetRun
from ds3tool.jobs.run import RunResult
from ds3tool.protocol.model import JobType
from ds3tool.sinks.stdout import StreamSink

if TYPE_CHECKING:
    from ds3tool.client import Ds3Client
    from ds3tool.jobs.get_targets import Asked

app = typer.Typer(add_completion=False)


@command(
    app,
    "cat",
    examples=[
        "ds3tool cat ds3://archive/notes.txt",
        "ds3tool cat 'ds3://archive/logs/2024-01-*.gz' | zcat | grep error",
        "ds3tool cat ds3://archive/film.mov --range 0:64KiB > head.bin",
    ],
)
def cat(
    addresses: Annotated[
        list[str], typer.Argument(metavar="ds3://BUCKET/KEY...", help="Keys or patterns, in the order they come out.")
    ],
    *,
    raw: Annotated[
        bool, typer.Option("--raw", metavar="", help="Wildcards in the addresses stand for themselves.")
    ] = False,
    part: Part,
    choice: Choice,
    jobs: JobOptions,
    settings: Settings,
) -> None:
    """Write objects to stdout, one after the other.

    Unlike the other commands that read, this one may mount a tape: what is not in the appliance's cache is loaded,
    all of it before the first byte comes out. Nothing else is written to stdout. The first object that fails ends
    the run, and its error says whether some of it was written.
    """
    selections = [parse_selection(address, recursive=False, raw=raw) for address in addresses]
    part.check(selections)
    show_objects(selections, part, choice.filter(), jobs, settings)


def show_objects(
    selections: Sequence[Selection], part: Part, chosen: Filter, jobs: JobOptions, settings: Settings
) -> None:
    """Write what `selections` mean to stdout; ends the command with the run's exit code when something failed.

    Raises OutputClosedError when whoever reads stdout has gone; the job is cancelled then.
    """
    for selection in selections:
        if not selection.whole and selection.pattern is None:
            raise UsageError(
                f"{selection} is everything below a prefix, and not one object",
                hint=f"for all of it, one after the other: 'ds3://{selection.bucket}/{base_of(selection)}*'",
            )
    if settings.output is not OutputFormat.TABLE:
        raise UsageError(
            f"stdout is for the objects' bytes, and cannot show a result as {settings.output} as well",
            hint="leave out --output, or get the objects into files",
        )
    if settings.progress is ProgressMode.AUTO:
        settings = replace(settings, progress=ProgressMode.NONE)  # it would stand between the bytes, or over a pager
    run_settings = jobs.run_settings(stop_on_error=True)
    if getattr(sys.stdout, "name", None) == os.devnull:  # what stands in for one that the caller has closed
        raise UsageError("the objects' bytes are for stdout, and stdout is closed", hint="get them into files")
    sys.stdout.flush()
    with connect(settings, limit=jobs.rate_limit()) as client, _closed_quietly():
        for selection in selections:
            client.get_bucket(selection.bucket)
            refuse_ambiguous(client, selection, selection.text.partition("://")[2].partition("/")[2])
        for bucket, group in itertools.groupby(selections, key=lambda one: one.bucket):
            named = list(group)
            doing = Doing("cat", JobType.GET, bucket, {"objects": [one.text for one in named]}, stream=True)
            with journalled(client, doing, settings) as journal:
                run = GetRun(
                    client,
                    StreamSink(sys.stdout.fileno()),
                    bucket,
                    _wanted(client, named, part, chosen),
                    name_of=str,
                    settings=run_settings,
                    whole_blobs=part.verify,
                    sent=sent_digests(client, bucket, settings, always=part.verify),
                    recorder=journal,
                )
                result = transfer.carry_out(run, _display(settings), label="cat", gently=False)
                settle(journal, result, settings)
            _end_if_failed(result, settings)


def _display(settings: Settings) -> Settings:
    """Let nothing be shown beside the bytes, unless on a terminal they do not go to, or where it was asked for."""
    if settings.progress is not ProgressMode.AUTO or (sys.stderr.isatty() and not sys.stdout.isatty()):
        return settings
    return dataclasses.replace(settings, progress=ProgressMode.NONE)


def _wanted(client: Ds3Client, selections: Sequence[Selection], part: Part, chosen: Filter) -> Iterator[Asked]:
    if part.is_given:
        yield part.wanted(client, selections[0])
        return
    for selection in selections:
        yield from wanted_objects(client, selection, chosen)


@contextlib.contextmanager
def _closed_quietly() -> Iterator[None]:
    """End the command as every other one ends whose reader has gone."""
    try:
        yield
    except BrokenPipeError as error:
        raise OutputClosedError from error


def _end_if_failed(result: RunResult, settings: Settings) -> None:
    for note in result.notes:
        messages.warn(note)
    if result.unverified:
        messages.note(transfer.told_unverified(result), quiet=settings.quiet)
    if result.failures:
        error = result.failures[0].named_error
        settings.results().end(error, exit_code=result.exit_code)
    if result.stopped is not None:
        settings.results().end(result.stopped, exit_code=result.exit_code)
