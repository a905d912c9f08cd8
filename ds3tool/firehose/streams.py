"""Delivery streams: which there are, where they deliver, and how one is deleted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from ds3tool.aws.failures import far_side
from ds3tool.errors import FarSideNotFoundError
from ds3tool.lazy_dataclass import dataclass

# boto3 makes its clients' types at run time.
Client = Any

_MIB = 1024 * 1024
_PAGE = 100


@dataclass(frozen=True, slots=True)
class DeliveryStream:
    """A delivery stream. What says where to is None where it does not deliver to S3.

    `bucket` is a name; `prefix` and `error_prefix` are as configured, expressions included; `buffer_bytes` and
    `interval` are the buffering hints; `destination` is the kind of the destination, as S3 or Redshift.
    """

    name: str
    status: str
    source: str
    created: datetime | None
    destination: str | None = None
    bucket: str | None = None
    prefix: str | None = None
    error_prefix: str | None = None
    interval: timedelta | None = None
    buffer_bytes: int | None = None
    compression: str | None = None


def streams(client: Client) -> Iterator[DeliveryStream]:
    """Yield all delivery streams of an account's region, by name; each costs a request.

    One that is deleted meanwhile is left out.
    """
    for name in _names(client):
        try:
            yield stream_of(client, name)
        except FarSideNotFoundError:
            continue


def stream_of(client: Client, name: str) -> DeliveryStream:
    """Return one delivery stream; FarSideNotFoundError when there is none of that name."""
    with far_side(f"stream {name}"):
        told = client.describe_delivery_stream(DeliveryStreamName=name)["DeliveryStreamDescription"]
    stream = told["DeliveryStreamName"], told["DeliveryStreamStatus"], told["DeliveryStreamType"]
    created = told.get("CreateTimestamp")
    destination: dict[str, Any] = next(iter(told.get("Destinations", ())), {})
    kind = next((key.removesuffix("DestinationDescription") for key in destination if key != "DestinationId"), None)
    s3 = destination.get("ExtendedS3DestinationDescription") or destination.get("S3DestinationDescription")
    if s3 is None:
        return DeliveryStream(*stream, created, kind)
    hints = s3.get("BufferingHints", {})
    return DeliveryStream(
        *stream,
        created,
        "S3",
        str(s3["BucketARN"]).rpartition(":")[2],
        s3.get("Prefix"),
        s3.get("ErrorOutputPrefix"),
        None if "IntervalInSeconds" not in hints else timedelta(seconds=hints["IntervalInSeconds"]),
        None if "SizeInMBs" not in hints else hints["SizeInMBs"] * _MIB,
        s3.get("CompressionFormat"),
    )


def delete_stream(client: Client, name: str) -> None:
    """Have a delivery stream deleted, which takes a while; FarSideNotFoundError when there is none of that name.

    What it holds and has not delivered is lost; what it has delivered stays.
    """
    with far_side(f"stream {name}"):
        client.delete_delivery_stream(DeliveryStreamName=name)


def _names(client: Client) -> Iterator[str]:
    after: dict[str, str] = {}
    while True:
        with far_side("delivery streams"):
            page = client.list_delivery_streams(Limit=_PAGE, **after)
        names = page["DeliveryStreamNames"]
        yield from names
        if not page.get("HasMoreDeliveryStreams") or not names:
            return
        after = {"ExclusiveStartDeliveryStreamName": names[-1]}
