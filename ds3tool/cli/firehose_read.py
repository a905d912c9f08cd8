"""`ds3tool firehose read`: delivered records, as they were put into the stream."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import typer

from ds3tool.cli import messages
from ds3tool.cli.aws_options import AwsOptions
from ds3tool.cli.failures import SomeFailedError
from ds3tool.cli.options import command
from ds3tool.cli.output import Field, Output, OutputFormat, counted, lost
from ds3tool.cli.settings import Settings
from ds3tool.errors import (
    ChecksumError,
    Ds3Error,
    FarSideDeniedError,
    FarSideError,
    SourceError,
    worst_exit_code,
)
from ds3tool.firehose.reading import object_chunks
from ds3tool.firehose.records import Record, RecordFormat, records
from ds3tool.firehose.unpacked import DamagedGzipError, binary_kind, unpacked
from ds3tool.lazy_dataclass import dataclass

# Of one object so much that is unreadable is told, and the rest counted.
_TOLD = 10
# Lines are handed on together, about so many bytes of them.
_WRITTEN_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class ReadRecord:
    """One record of an object, or what could not be read of it and why.

    `offset` counts from the start of the object's bytes without gzip; None where all of an object is meant.
    """

    key: str
    offset: int | None
    data: bytes | None
    error: str | None = None

    @property
    def text(self) -> str | None:
        """The record as text; bytes that are no UTF-8 are lone surrogates in it."""
        return None if self.data is None else self.data.decode("utf-8", "surrogateescape")


FIELDS: list[Field[ReadRecord]] = [
    Field("key", lambda read: read.key),
    Field("offset", lambda read: read.offset),
    Field("record", lambda read: read.text),
    Field("error", lambda read: read.error),
]

EXAMPLES = (
    "ds3tool firehose read s3://delivered/clicks/year=2026/month=01/day=31/",
    "ds3tool firehose read 's3://delivered/clicks/*.gz' --format json",
    "ds3tool firehose read s3://delivered/clicks/ -o ndjson",
)


class Reading:
    """Reads objects one after the other, and remembers what could not be read."""

    def __init__(self, client: Any, record_format: RecordFormat) -> None:  # noqa: ANN401  # boto3's client
        self._client = client
        self._format = record_format
        self.read = 0
        self.failed = 0
        self.first: str | None = None
        self._codes: set[int] = set()

    def records(self, objects: Iterable[tuple[str, str]]) -> Iterator[ReadRecord]:
        """Yield what the objects, each a bucket and a key, hold.

        What is true of one object only is yielded as its error; who is not known, and who is not reached, is raised.
        """
        for bucket, key in objects:
            name = f"s3://{bucket}/{key}"
            try:
                yield from self._object(bucket, key, name)
            except FarSideDeniedError:
                raise
            except (FarSideError, SourceError, ChecksumError) as error:
                yield self._fail(name, None, error.message, error.exit_code)

    def _object(self, bucket: str, key: str, name: str) -> Iterator[ReadRecord]:
        untold = 0
        try:
            kind, chunks = binary_kind(unpacked(object_chunks(self._client, bucket, key)))
            if kind is not None:
                raise SourceError(f"it is {kind}, which is binary: a tool that knows the format reads it")
            for found in records(chunks, self._format):
                if isinstance(found, Record):
                    self.read += 1
                    yield ReadRecord(name, found.offset, found.data)
                    continue
                failed = self._fail(name, found.offset, f"{counted(found.length, 'byte')} unreadable: {found.why}", 3)
                untold += 1
                if untold <= _TOLD:
                    yield failed
        except DamagedGzipError as error:
            yield self._fail(name, error.offset, f"{error.message}; the offset is that of its packed bytes", 5)
        if untold > _TOLD:
            yield ReadRecord(name, None, None, f"{untold - _TOLD:,} more places are unreadable")

    def _fail(self, name: str, offset: int | None, why: str, exit_code: int) -> ReadRecord:
        self.failed += 1
        self._codes.add(exit_code)
        if self.first is None:
            self.first = f"{name}{'' if offset is None else f', byte {offset:,}'}: {why}"
        return ReadRecord(name, offset, None, why)

    @property
    def exit_code(self) -> int:
        """What the run ends with: 5 where bytes were damaged, 3 where some could not be read."""
        return worst_exit_code(self._codes)

    def error(self) -> Ds3Error | None:
        """Return the error that a run with these failures ends in."""
        if self.first is None:
            return None
        if self.failed == 1:
            return SomeFailedError(self.first)
        return SomeFailedError(f"{self.failed:,} places could not be read; the first: {self.first}")


def read(
    addresses: Annotated[
        list[str],
        typer.Argument(metavar="s3://BUCKET/KEY...", help="Objects, prefixes that end in a slash, or patterns."),
    ],
    *,
    record_format: Annotated[
        RecordFormat,
        typer.Option("--format", help="How records are told apart; auto looks at the first bytes of each object."),
    ] = RecordFormat.AUTO,
    raw: Annotated[
        bool, typer.Option("--raw", metavar="", help="Wildcards and a slash at the end stand for themselves.")
    ] = False,
    aws: AwsOptions,
    settings: Settings,
) -> None:
    """Print delivered records, one a line, byte for byte as they were put.

    JSON objects that run together come apart (a line feed inside of one becomes a space); gzip is undone wherever
    there is any. With -o json, ndjson or csv each record is text beside its key and its offset. What cannot be read
    is told with its key and place (exit 3, of damaged gzip 5), and what follows it is read.
    """
    from ds3tool.cli.s3_selection import parse_s3_selection, selected_entries

    selections = [parse_s3_selection(address, recursive=False, raw=raw) for address in addresses]
    client = aws.settings(settings).client("s3")
    objects = (
        (selection.bucket, entry.key)
        for selection in selections
        for entry in selected_entries(client, selection)
        if entry.size or not entry.key.endswith("/")
    )
    output = settings.results()
    reading = Reading(client, record_format)
    if output.shape is OutputFormat.TABLE:
        _print(reading.records(objects), output)
    else:
        output.records(reading.records(objects), FIELDS)
    error = reading.error()
    if error is None:
        return
    if output.shape is OutputFormat.TABLE:
        messages.note(f"{counted(reading.read, 'record')} read", quiet=settings.quiet)
    output.end(error, exit_code=reading.exit_code)


def _print(found: Iterable[ReadRecord], output: Output) -> None:
    """Print the records one a line, and say on stderr what is none, where it comes."""
    if sys.stdout.isatty():
        output.lines(read.text or "" for read in _told(found))
        return
    lines = bytearray()
    try:
        for one in _told(found):
            lines += (one.data or b"").replace(b"\n", b" ") + b"\n"
            if len(lines) >= _WRITTEN_BYTES:
                _write(lines)
    finally:
        # What was read before the run had to stop is given too.
        _write(lines)


def _write(lines: bytearray) -> None:
    whole = bytes(lines)
    lines.clear()
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(whole)
        sys.stdout.buffer.flush()
    except OSError as error:
        raise lost(error) from error


def _told(found: Iterable[ReadRecord]) -> Iterator[ReadRecord]:
    for one in found:
        if one.error is None:
            yield one
            continue
        place = "" if one.offset is None else f", byte {one.offset:,}"
        messages.warn(f"{one.key}{place}: {one.error}")


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "read", examples=EXAMPLES)(read)
