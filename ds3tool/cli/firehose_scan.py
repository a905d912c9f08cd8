"""`ds3tool firehose scan`: the hours that a delivery stream has filled, and which of them are closed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from datetime import UTC, datetime
from typing import Annotated

import typer

from ds3tool.addresses import S3Address, parse_s3
from ds3tool.aws.s3_listing import S3Listed, listed
from ds3tool.cli import messages
from ds3tool.cli.aws_options import AwsOptions
from ds3tool.cli.failures import NothingThereError
from ds3tool.cli.firehose_closing import Interval, Margin, Zone, closing_of
from ds3tool.cli.options import command, option_group
from ds3tool.cli.output import Field, counted
from ds3tool.cli.settings import Settings
from ds3tool.clock import RealClock
from ds3tool.firehose.closed import Closing
from ds3tool.firehose.layout import DAY
from ds3tool.firehose.partitions import Partition, Seen, partitions
from ds3tool.lazy_dataclass import dataclass
from ds3tool.sizes import format_size

# So many objects that fit no layout are named.
_NAMED = 10


@option_group("When an hour is closed")
@dataclass(frozen=True, slots=True)
class ClosingOptions:
    """What `--interval`, `--margin` and `--timezone` were given."""

    interval: Interval = None
    margin: Margin = None
    timezone: Zone = None

    def closing(self) -> Closing:
        """Return what the options mean."""
        return closing_of(self.interval, self.margin, self.timezone)


@dataclass(slots=True)
class Scan:
    """What a scan has seen: how much fits no layout, and what should be told of the rest."""

    partitions: int = 0
    closed: int = 0
    strays: int = 0
    stray_bytes: int = 0
    named: list[str] = field(default_factory=list)
    without_slash: str | None = None

    def stray(self, item: S3Listed) -> None:
        """Count an object that fits no layout."""
        self.strays += 1
        self.stray_bytes += item.size
        if len(self.named) < _NAMED:
            self.named.append(item.key)

    def add(self, partition: Partition) -> None:
        """Count a partition."""
        self.partitions += 1
        self.closed += partition.closed
        if not partition.has_slash and self.without_slash is None:
            self.without_slash = partition.head


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the result: a partition below a bucket, or all that is in none."""

    bucket: str
    partition: Partition | None
    scan: Scan


def hour_of(partition: Partition) -> str:
    """Return a partition's hour as the stream's wall clock has it: `2026-01-31T23`, of a day `2026-01-31`."""
    return partition.start.strftime("%Y-%m-%d" if partition.span == DAY else "%Y-%m-%dT%H")


def why_open(partition: Partition) -> str | None:
    """Return why a partition is not closed, and when it is; None for one that is."""
    if partition.why_open is None:
        return None
    return f"{partition.why_open}; closed from {partition.closes.astimezone(UTC):%Y-%m-%d %H:%M:%SZ} on"


def _why(row: Row) -> str | None:
    return "no layout" if row.partition is None else why_open(row.partition)


FIELDS: list[Field[Row]] = [
    Field("hour", lambda row: None if row.partition is None else hour_of(row.partition)),
    Field("kind", lambda row: "other" if row.partition is None else row.partition.kind),
    Field(
        "objects",
        lambda row: row.scan.strays if row.partition is None else row.partition.objects,
        right=True,
    ),
    Field(
        "bytes",
        lambda row: row.scan.stray_bytes if row.partition is None else row.partition.bytes,
        heading="size",
        text=format_size,
        right=True,
    ),
    Field("newest", lambda row: None if row.partition is None else row.partition.newest),
    Field("closed", lambda row: row.partition is not None and row.partition.closed),
    Field("closes", lambda row: None if row.partition is None else row.partition.closes, tabled=False),
    Field("why_open", _why, heading="why not"),
    Field("streams", lambda row: [] if row.partition is None else sorted(row.partition.streams), tabled=False),
    Field("keys", lambda row: row.scan.named if row.partition is None else [], tabled=False),
    Field("prefix", lambda row: None if row.partition is None else f"s3://{row.bucket}/{row.partition.head}"),
]

EXAMPLES = (
    "ds3tool firehose scan s3://delivered/clicks/",
    "ds3tool firehose scan s3://delivered/ --interval 60s --margin 1h -o ndjson",
    "ds3tool firehose scan s3://delivered/clicks/ --timezone Europe/Berlin",
)


def scan(
    address: Annotated[str, typer.Argument(metavar="s3://BUCKET/PREFIX/", help="Where a stream delivers.")],
    *,
    closing: ClosingOptions,
    aws: AwsOptions,
    settings: Settings,
) -> None:
    """List the hours that Firehose has delivered, data and errors apart, and say which are closed.

    An hour is closed when it has ended, the buffering interval and the margin have passed since, and nothing has come
    for as long as the margin. Understood are YYYY/MM/dd/HH/ and year=/month=/day=/hour=, with or without the hour,
    behind any prefix, also where a slash is missing, of objects with the names that Firehose gives them. What is in no
    such place, or named otherwise, is counted and told.
    """
    where = parse_s3(address).as_prefix() if parse_s3(address).key else parse_s3(address)
    rules = closing.closing()
    client = aws.settings(settings).client("s3")
    seen = Scan()
    now = datetime.fromtimestamp(RealClock().time(), UTC)
    settings.results().records(_rows(where, listed(client, where.bucket, where.key), rules, now, seen), FIELDS)
    _tell(seen, where, settings)


def _rows(where: S3Address, items: Iterator[S3Listed], closing: Closing, now: datetime, seen: Scan) -> Iterator[Row]:
    for filled in partitions(items, seen_of, closing, now=now, stray=seen.stray, keep=False):
        seen.add(filled.partition)
        yield Row(where.bucket, filled.partition, seen)
    if seen.strays:
        yield Row(where.bucket, None, seen)
    elif not seen.partitions and where.key:
        above = f"s3://{where.bucket}/{where.key[:-1].rpartition('/')[0]}".rstrip("/") + "/"
        raise NothingThereError(
            f"there is nothing at {where}", hint=f"where the stream's prefix lacks its last slash, scan {above}"
        )


def seen_of(item: S3Listed) -> Seen:
    """Return what a listing of S3 tells of an object."""
    return Seen(item.key, item.size, item.modified_ns)


def _tell(seen: Scan, where: S3Address, settings: Settings) -> None:
    messages.note(f"{counted(seen.partitions, 'partition')}, {seen.closed:,} of them closed", quiet=settings.quiet)
    if seen.strays:
        more = f" and {seen.strays - len(seen.named):,} more" if seen.strays > len(seen.named) else ""
        messages.warn(f"{counted(seen.strays, 'object')} below {where} in no layout: {', '.join(seen.named)}{more}")
    if seen.without_slash is not None:
        messages.warn(
            f"the stream's prefix lacks its last slash, so that hour and name run together: {seen.without_slash}"
        )


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "scan", examples=EXAMPLES)(scan)
