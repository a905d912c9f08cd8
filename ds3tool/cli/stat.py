"""`ds3tool stat`: all that the appliance tells of one object or bucket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ds3tool.addresses import parse_ds3
from ds3tool.cli.options import command
from ds3tool.cli.output import Field
from ds3tool.cli.part import check_version
from ds3tool.cli.selection import missing_key
from ds3tool.cli.settings import Settings, connect
from ds3tool.errors import NotFoundError
from ds3tool.jobs.known_digests import KnownDigests
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.checksums import from_base64
from ds3tool.protocol.model import BucketDetails, DataPolicy, ObjectHead, ObjectToGet, PlacedBlob
from ds3tool.sizes import format_size

if TYPE_CHECKING:
    from ds3tool.client import Ds3Client

app = typer.Typer(add_completion=False)

# A table names so many blobs, and counts the rest.
_BLOBS_SHOWN = 8


@dataclass(frozen=True, slots=True)
class ObjectStatus:
    """An object, its digests and its blobs."""

    head: ObjectHead
    blobs: tuple[PlacedBlob, ...]


@dataclass(frozen=True, slots=True)
class BucketStatus:
    """A bucket and the rules it follows; `copies` counts the persistence rules, None where they may not be read."""

    bucket: BucketDetails
    policy: DataPolicy | None
    copies: int | None


def exact_size(size: int) -> str:
    """Return a size for people, with its bytes."""
    return f"{format_size(size)} ({size:,} bytes)" if size >= 1024 else f"{size} bytes"


def _checksums(status: ObjectStatus) -> list[dict[str, Any]]:
    kind = status.head.checksum_type
    return [{"offset": offset, "type": kind, "value": value} for offset, value in sorted(status.head.checksums.items())]


def _digests(status: ObjectStatus) -> list[dict[str, Any]]:
    """Return what is known of the whole object: what its blobs' digests tell, and what its metadata state."""
    offsets = [placed.blob.offset for placed in status.blobs] or None
    known = KnownDigests.of_head(status.head, offsets)
    told = [(*one, "blobs") for one in (known.from_blobs,) if one is not None]
    told += [(kind, value, "metadata") for kind, value in known.stated.items()]
    return [
        {"type": kind, "value": value, "hex": digest.hex(), "from": origin}
        for kind, value, origin in told
        if (digest := from_base64(kind, value)) is not None
    ]


def _digests_text(digests: Sequence[dict[str, Any]]) -> str:
    return ", ".join(
        f"{digest['type']} {digest['hex']}{' (metadata)' if digest['from'] == 'metadata' else ''}" for digest in digests
    )


def _blobs(status: ObjectStatus) -> list[dict[str, Any]]:
    return [
        {
            "offset": placed.blob.offset,
            "length": placed.blob.length,
            "in_cache": placed.blob.in_cache,
            "tapes": [tape.bar_code for tape in placed.placement.tapes],
            "pools": [pool.name for pool in placed.placement.pools],
        }
        for placed in sorted(status.blobs, key=lambda placed: placed.blob.offset)
    ]


def _blobs_text(blobs: Sequence[dict[str, Any]]) -> str:
    told = []
    for blob in blobs[:_BLOBS_SHOWN]:
        places = [*(["cache"] if blob["in_cache"] else []), *blob["tapes"], *blob["pools"]]
        told.append(f"{format_size(blob['length'])} at {blob['offset']} on {' '.join(places) or 'nothing yet'}")
    if len(blobs) > _BLOBS_SHOWN:
        told.append(f"and {len(blobs) - _BLOBS_SHOWN} more")
    return f"{len(blobs)}: {', '.join(told)}" if blobs else "0"


def _checksums_text(checksums: Sequence[dict[str, Any]]) -> str:
    if not checksums:
        return "none"
    told = ", ".join(checksum["value"] for checksum in checksums[:_BLOBS_SHOWN])
    more = f", and {len(checksums) - _BLOBS_SHOWN} more" if len(checksums) > _BLOBS_SHOWN else ""
    return f"{checksums[0]['type']} {told}{more}"


OBJECT_FIELDS: list[Field[ObjectStatus]] = [
    Field("key", lambda status: status.head.key),
    Field("type", lambda _: "object", tabled=False),
    Field("size", lambda status: status.head.size, text=exact_size),
    Field("last_modified", lambda status: status.head.created),
    Field("etag", lambda status: status.head.etag, heading="ETag"),
    Field("version_id", lambda status: status.head.version_id, heading="version"),
    Field("checksums", _checksums, text=_checksums_text),
    Field("digests", _digests, heading="whole object", text=_digests_text),
    Field("metadata", lambda status: dict(status.head.metadata)),
    Field("blobs", _blobs, text=_blobs_text),
]

BUCKET_FIELDS: list[Field[BucketStatus]] = [
    Field("name", lambda status: status.bucket.name, heading="bucket"),
    Field("type", lambda _: "bucket", tabled=False),
    Field("id", lambda status: status.bucket.id),
    Field("created", lambda status: status.bucket.created),
    Field("logical_used_bytes", lambda status: status.bucket.logical_used_bytes, heading="used", text=exact_size),
    Field(
        "data_policy", lambda status: status.policy.name if status.policy is not None else status.bucket.data_policy_id
    ),
    Field("checksum_type", lambda status: status.policy and status.policy.checksum_type),
    Field("versioning", lambda status: status.policy and status.policy.versioning),
    Field("default_blob_size", lambda status: status.policy and status.policy.default_blob_size, text=exact_size),
    Field("copies", lambda status: status.copies),
]


@command(
    app,
    "stat",
    examples=[
        "ds3tool stat ds3://archive/2024/reel-1.mxf",
        "ds3tool stat -o json ds3://archive/2024/reel-1.mxf",
        "ds3tool stat ds3://archive",
    ],
)
def show_status(
    address: Annotated[str, typer.Argument(metavar="ds3://BUCKET/KEY", help="An object, or a bucket.")],
    *,
    version_id: Annotated[
        str | None, typer.Option("--version-id", metavar="ID", help="This version, not the latest.")
    ] = None,
    settings: Settings,
) -> None:
    """Show an object's size, digests, metadata and blobs, or a bucket's rules."""
    target = parse_ds3(address)
    check_version(version_id)
    output = settings.results()
    with connect(settings) as client:
        if target.key:
            output.record(_object_status(client, target.bucket, target.key, version_id), OBJECT_FIELDS)
        else:
            output.record(_bucket_status(client, target.bucket), BUCKET_FIELDS)


def _object_status(client: Ds3Client, bucket: str, key: str, version_id: str | None) -> ObjectStatus:
    try:
        head = client.head_object(bucket, key, version_id=version_id)
    except NotFoundError as error:
        raise missing_key(client, bucket, key) from error
    blobs = client.get_blob_placement(bucket, [ObjectToGet(key, version_id=version_id)])
    return ObjectStatus(head, blobs)


def _bucket_status(client: Ds3Client, name: str) -> BucketStatus:
    bucket = client.get_bucket(name)
    try:
        policy = client.get_data_policy(bucket.data_policy_id)
        rules = client.list_persistence_rules(bucket.data_policy_id)
    except NotFoundError:
        # A user may see a bucket whose policy only administrators may.
        return BucketStatus(bucket, None, None)
    return BucketStatus(bucket, policy, sum(1 for rule in rules if rule.type == "PERMANENT"))
