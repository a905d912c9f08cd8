"""The options that say when an hour of a delivery stream is closed; several commands take them."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from ds3tool.sizes import parse_duration

if TYPE_CHECKING:
    from ds3tool.firehose.closed import Closing

# Each option as every command that takes it declares it.
Interval = Annotated[
    str | None,
    typer.Option("--interval", metavar="DURATION", help="The stream's buffering interval; 300s unless given."),
]
Margin = Annotated[
    str | None,
    typer.Option("--margin", metavar="DURATION", help="Time for deliveries that are tried again; 2h unless given."),
]
Zone = Annotated[
    str | None,
    typer.Option("--timezone", metavar="ZONE", help="The stream's CustomTimeZone, as Europe/Berlin; else UTC."),
]


def closing_of(interval: str | None, margin: str | None, timezone: str | None) -> "Closing":
    """Return what `--interval`, `--margin` and `--timezone` mean; UsageError for what means nothing."""
    from ds3tool.firehose.closed import DEFAULT_INTERVAL, DEFAULT_MARGIN, Closing, parse_zone

    return Closing(
        DEFAULT_INTERVAL if interval is None else timedelta(seconds=parse_duration(interval)),
        DEFAULT_MARGIN if margin is None else timedelta(seconds=parse_duration(margin)),
        parse_zone(timezone or "UTC"),
    )
