"""`ds3tool firehose send`: the rows of a CSV file into a delivery stream."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import field
from enum import StrEnum
from typing import Annotated, BinaryIO

import typer

from ds3tool.cli import messages
from ds3tool.cli.aws_options import AwsOptions
from ds3tool.cli.failures import SomeFailedError
from ds3tool.cli.options import command
from ds3tool.cli.output import Field, OutputFormat, counted
from ds3tool.cli.settings import Settings
from ds3tool.clock import RealClock
from ds3tool.errors import Ds3Error, InterruptedRunError, PathNotFoundError, SourceError, UsageError, worst_exit_code
from ds3tool.firehose.rows import LONGEST_ROW, Row, as_json, rows
from ds3tool.firehose.sending import NotSent, Outgoing, Sender, Sent
from ds3tool.lazy_dataclass import dataclass
from ds3tool.sizes import format_duration, format_size

_RATE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(?:/s)?")


class SentAs(StrEnum):
    """What becomes of a row."""

    # It is sent as it stands.
    CSV = "csv"
    # It is sent as a JSON object, whose names are those of the first row.
    JSON = "json"


@dataclass(slots=True)
class SendResult:
    """What came of one run."""

    stream: str
    sent: Sent = field(default_factory=Sent)
    seconds: float = 0.0


FIELDS: list[Field[SendResult]] = [
    Field("stream", lambda result: result.stream),
    Field("records", lambda result: result.sent.records),
    Field("bytes", lambda result: result.sent.bytes, text=format_size),
    Field("requests", lambda result: result.sent.requests),
    Field("repeated", lambda result: result.sent.repeated, heading="sent again"),
    Field("last", lambda result: result.sent.last, heading="taken up to"),
    Field("seconds", lambda result: round(result.seconds, 3), text=format_duration),
    Field("failed", lambda result: [{"key": one.name, "error": one.why} for one in result.sent.failed], tabled=False),
]

EXAMPLES = (
    "ds3tool firehose send data.csv --stream clicks --header --format json",
    "ds3tool firehose send data.csv --stream clicks --rate 500/s",
    "ds3tool firehose send - --stream clicks < data.csv",
)


def send(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A CSV file in UTF-8; - is stdin.")],
    *,
    stream: Annotated[str, typer.Option("--stream", metavar="NAME", help="The delivery stream.")],
    rate: Annotated[str | None, typer.Option("--rate", metavar="N/s", help="At most so many records a second.")] = None,
    sent_as: Annotated[
        SentAs, typer.Option("--format", help="Send rows as they stand, or as JSON objects (needs --header).")
    ] = SentAs.CSV,
    header: Annotated[
        bool, typer.Option("--header", metavar="", help="The first row names the columns, and is no record.")
    ] = False,
    aws: AwsOptions,
    settings: Settings,
) -> None:
    """Send the rows of a CSV file as records that end in a line feed, in batches as large as the service takes.

    A batch goes when it is full (500 records, 4 MiB, of --rate those of a second) or when the rows have ended.
    What the stream does not take of a batch is sent again, that alone, with growing waits: the order is not kept, and
    a record whose answer was lost may come twice. What it never takes, and rows that are too large, are named (exit
    3). When the run has to stop, the result says up to which line all was taken.
    """
    most = None if rate is None else _rate(rate)
    if sent_as is SentAs.JSON and not header:
        raise UsageError("--format json takes the names from the first row", hint="say that it holds them: --header")
    clock = RealClock()
    with _opened(file) as lines:
        sender = Sender(aws.settings(settings, service="firehose").client("firehose"), stream, rate=most, clock=clock)
        began = clock.monotonic()
        stopped: Ds3Error | None = None
        try:
            whole = _Whole(_records(lines, sender.sent, header=header, sent_as=sent_as))
            sender.send(whole)
            stopped = whole.trouble
        except KeyboardInterrupt:
            stopped = InterruptedRunError("interrupted; what is told was taken, and perhaps one batch more")
        except Ds3Error as error:
            # What the stream has taken cannot be had back, and has to be told.
            stopped = error
    _show(SendResult(stream, sender.sent, clock.monotonic() - began), stopped, settings)


def _rate(text: str) -> float:
    match = _RATE.fullmatch(text.strip())
    if match is None or not float(match[1]):
        raise UsageError(f"{text!r} is not a rate above zero", hint="write it like 500/s")
    return float(match[1])


def _opened(file: str) -> AbstractContextManager[BinaryIO]:
    if file == "-":
        if sys.stdin is None:
            raise UsageError("the rows were to come on stdin, and stdin is closed")
        return nullcontext(sys.stdin.buffer)
    try:
        return open(file, "rb")
    except OSError as error:
        raise PathNotFoundError(f"{file} cannot be read: {error.strerror}") from error


class _Whole(Iterator[Outgoing]):
    """Records up to where reading them fails, and then `trouble`: what came before that is sent all the same."""

    def __init__(self, records: Iterator[Outgoing]) -> None:
        self._records = records
        self.trouble: Ds3Error | None = None

    def __next__(self) -> Outgoing:
        try:
            return next(self._records)
        except SourceError as error:
            self.trouble = error
            raise StopIteration from error


def _records(file: BinaryIO, sent: Sent, *, header: bool, sent_as: SentAs) -> Iterator[Outgoing]:
    """Yield the records that the rows make; what makes none is among the failed."""
    found = rows(_read(file))
    names = next(found, None) if header else None
    convert = as_json(names) if names is not None and sent_as is SentAs.JSON else _as_it_stands
    for row in found:
        name = f"line {row.line:,}"
        try:
            yield Outgoing(name, convert(row) + b"\n")
        except SourceError as error:
            sent.failed.append(NotSent(name, error.message))


def _as_it_stands(row: Row) -> bytes:
    return row.data


def _read(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a file. SourceError for one that has no end within any row, as in what is no text."""
    try:
        for number in itertools.count(1):
            line = file.readline(LONGEST_ROW + 1)
            if not line:
                return
            if len(line) > LONGEST_ROW:
                raise SourceError(f"line {number:,} is longer than any row", hint="is it a CSV file?")
            yield line
    except OSError as error:
        raise SourceError(f"the rows cannot be read: {error.strerror or error}") from error


def _show(result: SendResult, stopped: Ds3Error | None, settings: Settings) -> None:
    output = settings.results()
    failed = result.sent.failed
    error, codes = stopped, {0 if stopped is None else stopped.exit_code}
    if failed:
        codes.add(SomeFailedError.exit_code)
        for one in failed:
            messages.warn(f"{one.name}: {one.why}")
        error = stopped or SomeFailedError(f"{counted(len(failed), 'record')} not sent; the first: {failed[0].name}")
    if output.shape is OutputFormat.TABLE and not result.sent.requests and error is not None:
        raise error  # nothing has come of it that could be counted
    output.finish(result, FIELDS, error, exit_code=worst_exit_code(codes))


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "send", examples=EXAMPLES)(send)
