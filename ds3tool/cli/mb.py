"""`ds3tool mb`: make a bucket."""

from __future__ import annotations

from typing import Annotated

import typer

from ds3tool.addresses import parse_bucket
from ds3tool.cli import messages
from ds3tool.cli.options import command
from ds3tool.cli.output import Field, OutputFormat
from ds3tool.cli.settings import Settings, connect

app = typer.Typer(add_completion=False)

_MADE: list[Field[str]] = [Field("bucket", lambda bucket: bucket)]


@command(app, "mb", examples=["ds3tool mb ds3://archive", "ds3tool mb ds3://archive --data-policy dual-copy"])
def make_bucket(
    address: Annotated[str, typer.Argument(metavar="ds3://BUCKET", help="The bucket to make.")],
    *,
    data_policy: Annotated[
        str | None,
        typer.Option("--data-policy", metavar="NAME", help="The policy's name or id; else the user's default one."),
    ] = None,
    settings: Settings,
) -> None:
    """Make a bucket."""
    bucket = parse_bucket(address)
    with connect(settings) as client:
        client.create_bucket(bucket, data_policy=data_policy)
    messages.note(f"made ds3://{bucket}", quiet=settings.quiet)
    if settings.output is not OutputFormat.TABLE:
        settings.results().record(bucket, _MADE)
