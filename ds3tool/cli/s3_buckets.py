"""`ds3tool s3 mb` and `rb`: make a bucket of S3, and remove one."""

from __future__ import annotations

from typing import Annotated

import typer

from ds3tool.aws import s3_objects
from ds3tool.aws.s3_objects import Client, ObjectName
from ds3tool.cli import messages
from ds3tool.cli.aws_options import AwsOptions
from ds3tool.cli.failures import SomeFailedError
from ds3tool.cli.output import Field, OutputFormat, counted
from ds3tool.cli.prompts import confirm
from ds3tool.cli.s3_selection import parse_s3_bucket
from ds3tool.cli.settings import Settings
from ds3tool.errors import FarSideError, UsageError

MB_EXAMPLES = ("ds3tool s3 mb s3://incoming", "ds3tool s3 mb s3://incoming --s3-region eu-central-1")
RB_EXAMPLES = ("ds3tool s3 rb s3://scratch", "ds3tool s3 rb --force --yes s3://scratch")

_BUCKET: list[Field[str]] = [Field("bucket", lambda bucket: bucket)]


def make_bucket(
    address: Annotated[str, typer.Argument(metavar="s3://BUCKET", help="The bucket to make.")],
    *,
    aws: AwsOptions,
    settings: Settings,
) -> None:
    """Make a bucket of S3, in the region of --s3-region, AWS_REGION or the profile."""
    bucket = parse_s3_bucket(address)
    s3_objects.make_bucket(aws.settings(settings).client("s3"), bucket)
    messages.note(f"made s3://{bucket}", quiet=settings.quiet)
    if settings.output is not OutputFormat.TABLE:
        settings.results().record(bucket, _BUCKET)


def remove_bucket(
    address: Annotated[str, typer.Argument(metavar="s3://BUCKET", help="The bucket to remove.")],
    *,
    force: Annotated[
        bool,
        typer.Option("--force", metavar="", help="Remove it with every object and version in it; asks first."),
    ] = False,
    aws: AwsOptions,
    settings: Settings,
) -> None:
    """Remove an empty bucket of S3, or with --force one that is not."""
    bucket = parse_s3_bucket(address)
    client = aws.settings(settings).client("s3")
    # Some servers remove a bucket with all that is in it, unasked.
    if not s3_objects.is_empty(client, bucket):
        if not force:
            raise UsageError(
                f"the bucket s3://{bucket} is not empty",
                hint=f"see: ds3tool s3 ls -r --versions s3://{bucket}; --force removes it with all of that",
            )
        confirm(f"Remove the bucket s3://{bucket} and every object in it, with all versions?", settings)
        removed = _empty(client, bucket)
        messages.note(f"removed {counted(removed, 'object')} of s3://{bucket}", quiet=settings.quiet)
    s3_objects.remove_bucket(client, bucket)
    messages.note(f"removed s3://{bucket}", quiet=settings.quiet)
    if settings.output is not OutputFormat.TABLE:
        settings.results().record(bucket, _BUCKET)


def _empty(client: Client, bucket: str) -> int:
    """Delete all that is in a bucket, and return how much; raises SomeFailedError for what could not be."""
    removed = 0
    # Each time from the start: not every server finds its place again once what was before it is gone.
    while names := _first_names(client, bucket):
        for deletion in s3_objects.delete(client, bucket, names):
            removed += len(deletion.deleted)
            if deletion.failed:
                first = deletion.failed[0]
                raise SomeFailedError(
                    f"s3://{bucket} is still there, and {counted(removed, 'object')} of it gone: "
                    f"{first.name.key} could not be removed: {first.message or first.code}"
                )
    return removed


def _first_names(client: Client, bucket: str) -> list[ObjectName]:
    """Return the first page of what is in a bucket, versions and marks of deletions included."""
    for versions in (True, False):
        try:
            page = next(s3_objects.pages(client, bucket, versions=versions), None)
        except FarSideError as error:
            if not versions or not s3_objects.lacks(error):
                raise
        else:
            return [] if page is None else [ObjectName(entry.key, entry.version_id) for entry in page.objects]
    return []
