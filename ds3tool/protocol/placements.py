"""Parsers of media and of what lies on them: tapes, pools, placement, and the records of objects."""

from __future__ import annotations

from datetime import datetime

from ds3tool.errors import ProtocolError
from ds3tool.protocol.media_model import ObjectRecord, PlacedBlob, Placement, Pool, Tape, TapeFailure, TapeState
from ds3tool.protocol.messages import Response
from ds3tool.protocol.model import Blob
from ds3tool.protocol.pages import Page, read_page
from ds3tool.protocol.scalars import as_boolean, as_date, as_etag, as_integer, as_size, required
from ds3tool.protocol.xmlcodec import JOB_DOCUMENT_BYTES, PAGE_BYTES, Element, read_items, read_tree


def tape(response: Response) -> Tape:
    """Parse one tape."""
    return _tape(read_tree(response.body, what="the tape", root="Data"))


def tapes(response: Response) -> Page[Tape]:
    """Parse one page of tapes."""
    return read_page(response, {"Tape"}, _tape, "the list of tapes")


def tape_failures(response: Response) -> tuple[TapeFailure, ...]:
    """Parse the reply to a command over several tapes: 204 when all of them obeyed, else those that did not."""
    failures: list[TapeFailure] = []

    def item(element: Element) -> None:
        if element.name == "Failure":
            inner = element.child("Tape")
            if inner is None:
                raise ProtocolError("a failure in the list names no tape")
            failures.append(TapeFailure(_tape(inner), element.value("Cause") or ""))

    blocks = list(response.body)
    if any(blocks):
        read_items(blocks, item, what="the list of tapes that failed", root="Data")
    elif response.status == 207:
        raise ProtocolError("some tapes failed (status 207), but the reply does not say which")
    return tuple(failures)


def _tape(element: Element) -> Tape:
    values = {one.name: one.text for one in reversed(element.children)}
    bar_code = values.get("BarCode") or ""
    what = f"of tape {bar_code or values.get('Id', '')}"
    previous = values.get("PreviousState")

    def text(name: str) -> str | None:
        return values.get(name) or None

    def number(name: str) -> int | None:
        return as_integer(values.get(name), f"{name} {what}")

    def truth(name: str) -> bool:
        return as_boolean(values.get(name), f"{name} {what}") or False

    def date(name: str) -> datetime | None:
        return as_date(values.get(name), f"{name} {what}")

    return Tape(
        id=values.get("Id") or "",
        bar_code=bar_code,
        state=TapeState(required(values.get("State"), f"State {what}")),
        type=text("Type"),
        assigned_to_storage_domain=truth("AssignedToStorageDomain"),
        storage_domain_member_id=text("StorageDomainMemberId"),
        bucket_id=text("BucketId"),
        partition_id=text("PartitionId"),
        previous_state=TapeState(previous) if previous else None,
        serial_number=text("SerialNumber"),
        available_bytes=number("AvailableRawCapacity"),
        total_bytes=number("TotalRawCapacity"),
        full=truth("FullOfData"),
        write_protected=truth("WriteProtected"),
        eject_date=date("EjectDate"),
        eject_pending=date("EjectPending"),
        eject_label=text("EjectLabel"),
        eject_location=text("EjectLocation"),
        last_accessed=date("LastAccessed"),
        last_modified=date("LastModified"),
        last_verified=date("LastVerified"),
    )


def _pool(element: Element) -> Pool:
    return Pool(
        id=element.value("Id") or "",
        name=element.value("Name") or "",
        state=element.value("State") or "",
        type=element.value("Type"),
        health=element.value("Health"),
    )


_TARGETS = ("AzureTarget", "Ds3Target", "S3Target")


class _Media:
    """Makes placements and shares equal tapes and placements, for thousands of blobs lie on few tapes."""

    def __init__(self) -> None:
        self._tapes: dict[Tape, Tape] = {}
        self._placements: dict[Placement, Placement] = {}

    def placement(self, element: Element | None) -> Placement:
        if element is None:
            return Placement()
        found = [_tape(one) for box in element.all("Tapes") for one in box.all("Tape")]
        made = Placement(
            tapes=tuple(self._tapes.setdefault(one, one) for one in found),
            pools=tuple(_pool(one) for box in element.all("Pools") for one in box.all("Pool")),
            targets=sum(
                1
                for box, name in (
                    ("AzureTargets", "AzureTarget"),
                    ("Ds3Targets", "Ds3Target"),
                    ("S3Targets", "S3Target"),
                )
                for targets in element.all(box)
                for _ in targets.all(name)
            ),
        )
        return self._placements.setdefault(made, made)

    def placed_blob(self, element: Element) -> PlacedBlob:
        attributes = element.attributes
        name = required(attributes.get("Name"), "the name of a blob")
        what = f"of a blob of {name!a}"
        required(attributes.get("Length"), f"Length {what}")
        return PlacedBlob(
            blob=Blob(
                key=name,
                offset=as_size(attributes.get("Offset"), f"Offset {what}"),
                length=as_size(attributes.get("Length"), f"Length {what}"),
                in_cache=as_boolean(attributes.get("InCache"), f"InCache {what}") or False,
                version_id=attributes.get("VersionId") or None,
            ),
            placement=self.placement(element.child("PhysicalPlacement")),
            bucket=attributes.get("Bucket") or None,
            id=attributes.get("Id") or None,
        )


def placement(response: Response) -> Placement:
    """Parse which media hold any of the objects asked for."""
    return _Media().placement(read_tree(response.body, what="the placement", root="Data", max_bytes=PAGE_BYTES))


def blob_placement(response: Response) -> tuple[PlacedBlob, ...]:
    """Parse where each blob is."""
    media = _Media()
    found: list[PlacedBlob] = []

    def item(element: Element) -> None:
        if element.name == "Object":
            found.append(media.placed_blob(element))

    read_items(response.body, item, what="the placement of blobs", root="Data", max_bytes=JOB_DOCUMENT_BYTES)
    return tuple(found)


# -- object records -------------------------------------------------------------------------------------------------


def object_record(response: Response) -> ObjectRecord:
    """Parse one object's record."""
    return _object_record(read_tree(response.body, what="the object's details", root="Data"), _Media())


def object_details(response: Response) -> Page[ObjectRecord]:
    """Parse one page of objects, plain or with full details."""
    media = _Media()
    return read_page(response, {"S3Object", "Object"}, lambda one: _object_record(one, media), "the list of objects")


def _object_record(element: Element, media: _Media) -> ObjectRecord:
    name = required(element.value("Name"), "the name of an object in the list")
    what = f"of {name!a}"

    def number(field: str) -> int | None:
        return as_integer(element.value(field), f"{field} {what}")

    blobs = (media.placed_blob(one) for box in element.all("Blobs") for one in box.all("Object"))
    return ObjectRecord(
        id=element.value("Id") or "",
        bucket_id=element.value("BucketId") or "",
        name=name,
        type=element.value("Type") or "",
        latest=as_boolean(element.value("Latest"), f"Latest {what}"),
        created=as_date(element.value("CreationDate"), f"CreationDate {what}"),
        size=number("Size"),
        etag=as_etag(element.value("ETag")),
        owner=element.value("Owner"),
        blobs_total=number("BlobsTotal"),
        blobs_in_cache=number("BlobsInCache"),
        blobs_being_persisted=number("BlobsBeingPersisted"),
        blobs_degraded=number("BlobsDegraded"),
        blobs=tuple(blobs),
    )
