"""`ds3tool s3 stat`: all that S3 tells of one object or bucket."""

from __future__ import annotations

from typing import Annotated

import typer

from ds3tool.addresses import parse_s3
from ds3tool.aws import s3_objects
from ds3tool.aws.s3_objects import BucketStatus, S3Status
from ds3tool.cli.aws_options import AwsOptions
from ds3tool.cli.output import Field
from ds3tool.cli.part import check_version
from ds3tool.cli.s3_selection import check_key, missing
from ds3tool.cli.settings import Settings
from ds3tool.cli.stat import exact_size
from ds3tool.errors import FarSideNotFoundError

EXAMPLES = (
    "ds3tool s3 stat s3://incoming/2024/reel-1.mxf",
    "ds3tool s3 stat -o json s3://incoming/2024/reel-1.mxf",
    "ds3tool s3 stat s3://incoming",
)

_NAMES = {
    "ContentType": "content_type",
    "ContentEncoding": "content_encoding",
    "ContentLanguage": "content_language",
    "ContentDisposition": "content_disposition",
    "CacheControl": "cache_control",
    "Expires": "expires",
}


def _checksums(status: S3Status) -> list[dict[str, str | None]]:
    return [{"type": kind, "value": value, "of": status.checksum_type} for kind, value in status.checksums.items()]


def _checksums_text(checksums: list[dict[str, str | None]]) -> str:
    return ", ".join(
        f"{one['type']} {one['value']}{' (of its parts)' if one['of'] == 'COMPOSITE' else ''}" for one in checksums
    )


OBJECT_FIELDS: list[Field[S3Status]] = [
    Field("key", lambda status: status.key),
    Field("type", lambda _: "object", tabled=False),
    Field("size", lambda status: status.size, text=exact_size),
    Field("last_modified", lambda status: status.last_modified),
    Field("etag", lambda status: status.etag, heading="ETag"),
    Field("version_id", lambda status: status.version_id, heading="version"),
    Field("storage_class", lambda status: status.storage_class),
    Field("restore", lambda status: status.restore),
    Field("checksums", _checksums, text=_checksums_text),
    Field(
        "attributes",
        lambda status: {_NAMES[name]: value for name, value in status.attributes.items()},
        heading="headers",
    ),
    Field("metadata", lambda status: status.metadata),
    Field("tags", lambda status: status.tags),
    Field("encryption", lambda status: status.encryption),
    Field("replication", lambda status: status.replication),
]
BUCKET_FIELDS: list[Field[BucketStatus]] = [
    Field("name", lambda status: status.name, heading="bucket"),
    Field("type", lambda _: "bucket", tabled=False),
    Field("region", lambda status: status.region),
    Field("versioning", lambda status: status.versioning),
]


def show_status(
    address: Annotated[str, typer.Argument(metavar="s3://BUCKET/KEY", help="An object, or a bucket.")],
    *,
    version_id: Annotated[
        str | None, typer.Option("--version-id", metavar="ID", help="This version, not the latest.")
    ] = None,
    aws: AwsOptions,
    settings: Settings,
) -> None:
    """Show an object's size, checksums, headers, metadata and tags, or where a bucket is."""
    target = parse_s3(address)
    check_key(target)
    check_version(version_id)
    output = settings.results()
    client = aws.settings(settings).client("s3")
    try:
        if not target.key:
            output.record(s3_objects.bucket_status(client, target.bucket), BUCKET_FIELDS)
            return
        status = s3_objects.status(client, target.bucket, target.key, version_id=version_id, tags=True)
    except FarSideNotFoundError as error:
        raise missing(client, target.bucket, target.key) from error
    output.record(status, OBJECT_FIELDS)
