"""`ds3tool rb`: remove a bucket."""

from __future__ import annotations

from typing import Annotated

import typer

from ds3tool.addresses import parse_bucket
from ds3tool.cli import messages
from ds3tool.cli.options import command
from ds3tool.cli.output import Field, OutputFormat
from ds3tool.cli.prompts import confirm
from ds3tool.cli.settings import Settings, connect

app = typer.Typer(add_completion=False)

_REMOVED: list[Field[str]] = [Field("bucket", lambda bucket: bucket)]


@command(app, "rb", examples=["ds3tool rb ds3://scratch", "ds3tool rb --force --yes ds3://scratch"])
def remove_bucket(
    address: Annotated[str, typer.Argument(metavar="ds3://BUCKET", help="The bucket to remove.")],
    *,
    force: Annotated[
        bool, typer.Option("--force", metavar="", help="Remove it with everything in it; asks first.")
    ] = False,
    settings: Settings,
) -> None:
    """Remove an empty bucket, or with --force one that is not."""
    bucket = parse_bucket(address)
    with connect(settings) as client:
        if force:
            client.get_bucket(bucket)
            confirm(f"Remove the bucket {bucket} and every object in it?", settings)
        client.delete_bucket(bucket, force=force)
    messages.note(f"removed ds3://{bucket}", quiet=settings.quiet)
    if settings.output is not OutputFormat.TABLE:
        settings.results().record(bucket, _REMOVED)
