"""`ds3tool firehose ls` and `rm`: the delivery streams of an account."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from ds3tool.cli import messages
from ds3tool.cli.aws_options import AwsOptions
from ds3tool.cli.options import command
from ds3tool.cli.output import Field
from ds3tool.cli.prompts import confirm
from ds3tool.cli.settings import Settings
from ds3tool.firehose.streams import DeliveryStream, delete_stream, stream_of, streams
from ds3tool.sizes import format_duration, format_size


def _seconds(interval: timedelta | None) -> float | None:
    return None if interval is None else interval.total_seconds()


FIELDS: list[Field[DeliveryStream]] = [
    Field("status", lambda stream: stream.status),
    Field("source", lambda stream: stream.source, tabled=False),
    Field("created", lambda stream: stream.created),
    Field("destination", lambda stream: stream.destination, heading="to"),
    Field("interval_seconds", lambda stream: _seconds(stream.interval), heading="interval", text=format_duration),
    Field("buffer_bytes", lambda stream: stream.buffer_bytes, heading="buffer", text=format_size, right=True),
    Field("compression", lambda stream: stream.compression, tabled=False),
    Field("bucket", lambda stream: stream.bucket),
    Field("prefix", lambda stream: stream.prefix, tabled=False),
    Field("error_prefix", lambda stream: stream.error_prefix, tabled=False),
    Field("name", lambda stream: stream.name, heading="stream", leads=True),
]


def list_streams(*, aws: AwsOptions, settings: Settings) -> None:
    """List the delivery streams of the account's region: their state, where they deliver, and how they buffer."""
    client = aws.settings(settings, service="firehose").client("firehose")
    settings.results().records(streams(client), FIELDS)


def remove_stream(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The delivery stream.")],
    *,
    aws: AwsOptions,
    settings: Settings,
) -> None:
    """Delete a delivery stream; asks first. What it holds and has not delivered is lost, what it has delivered stays.

    A stream that `firehose deploy` made goes with its stack: ds3tool firehose destroy.
    """
    client = aws.settings(settings, service="firehose").client("firehose")
    stream = stream_of(client, name)
    confirm(f"Delete the delivery stream {name} ({stream.status}), with what it has not delivered?", settings)
    delete_stream(client, name)
    where = f"; what it has delivered stays in s3://{stream.bucket}" if stream.bucket is not None else ""
    messages.note(f"stream {name} is being deleted{where}", quiet=settings.quiet)


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    command(app, "ls", examples=["ds3tool firehose ls", "ds3tool firehose ls -o json --s3-region eu-west-1"])(
        list_streams
    )
    command(app, "rm", examples=["ds3tool firehose rm clicks", "ds3tool firehose rm clicks --yes"])(remove_stream)
