"""Parsers: each turns the successful reply of one call into a value, and `error` a refusal into an exception.

A parser reads the reply's body to its end. ProtocolError says which reply could not be understood and why. What
releases leave out, or send empty, becomes None or the default; what they add is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from ds3tool.errors import ProtocolError
from ds3tool.protocol import checksums, names
from ds3tool.protocol import metadata as metadata_codec
from ds3tool.protocol.messages import Headers, Response
from ds3tool.protocol.model import (
    Blob,
    BucketDetails,
    BucketSummary,
    CacheFilesystem,
    ChecksumType,
    Chunk,
    DataPolicy,
    DeleteFailure,
    DeleteResult,
    Job,
    JobDetails,
    JobRecord,
    JobStatus,
    JobType,
    ListedObject,
    ListingPage,
    Node,
    ObjectHead,
    ObjectRecord,
    Owner,
    PersistenceRule,
    PlacedBlob,
    Placement,
    Pool,
    Priority,
    ProcessingOrder,
    PutResult,
    ReadyChunks,
    Service,
    SystemHealth,
    SystemInformation,
    Tape,
    TapeFailure,
    TapeState,
    Versioning,
)
from ds3tool.protocol.refusals import error, parse_error_document, retry_after_seconds
from ds3tool.protocol.xmlcodec import (
    JOB_DOCUMENT_BYTES,
    PAGE_BYTES,
    ChunkRows,
    Element,
    read_items,
    read_job,
    read_tree,
)

__all__ = [
    "Page",
    "blob_placement",
    "bucket",
    "cache_state",
    "chunk",
    "data_policies",
    "data_policy",
    "deleted",
    "error",
    "job",
    "job_records",
    "jobs",
    "listing",
    "nothing",
    "object_details",
    "object_head",
    "object_put",
    "object_record",
    "parse_error_document",
    "persistence_rules",
    "placement",
    "ready_chunks",
    "retry_after_seconds",
    "service",
    "system_health",
    "system_information",
    "tape",
    "tape_failures",
    "tapes",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list: its items, how many come after it and how many there are in all, where the reply says."""

    items: tuple[T, ...]
    remaining: int | None = None
    total: int | None = None


# -- scalars --------------------------------------------------------------------------------------------------------

_INTEGER = re.compile(r"-?[0-9]{1,20}", re.ASCII)
_DATE = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[T ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(Z|[+-][0-9]{2}:?[0-9]{2})?",
    re.ASCII,
)
# The literal that some releases put where they have no ETag.
_NO_ETAG = "NOTRETURNED"


def _integer(text: str | None, what: str) -> int | None:
    if text is None or not text.strip():
        return None
    if _INTEGER.fullmatch(text.strip()) is None:
        raise ProtocolError(f"{what} is {text[:40]!r}, which is no whole number")
    return int(text)


def _size(text: str | None, what: str) -> int:
    value = _integer(text, what) or 0
    if value < 0:
        raise ProtocolError(f"{what} is {value}, which is below zero")
    return value


def _boolean(text: str | None, what: str) -> bool | None:
    if text is None or not text.strip():
        return None
    lower = text.strip().lower()
    if lower not in {"true", "false"}:
        raise ProtocolError(f"{what} is {text[:40]!r}, which is neither true nor false")
    return lower == "true"


def _date(text: str | None, what: str) -> datetime | None:
    """Return a time in UTC: `YYYY-MM-DDThh:mm:ss.sssZ`, or the older form with a blank and without a zone."""
    if text is None or not text.strip():
        return None
    match = _DATE.fullmatch(text.strip())
    if match is None:
        raise ProtocolError(f"{what} is {text[:40]!r}, which is no date")
    year, month, day, hour, minute, second = (int(match[group]) for group in range(1, 7))
    microsecond = int((match[7] or "0").ljust(6, "0")[:6])
    try:
        at = datetime(year, month, day, hour, minute, second, microsecond, tzinfo=UTC)
        zone = match[8]
        if zone and zone != "Z":
            ahead = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
            at = at - ahead if zone[0] == "+" else at + ahead
    except (ValueError, OverflowError) as error_:
        raise ProtocolError(f"{what} is {text[:40]!r}, which is no date") from error_
    return at


def _etag(text: str | None) -> str | None:
    if text is None:
        return None
    bare = text.strip().removeprefix("W/").strip('"')
    return None if not bare or bare == _NO_ETAG else bare


def _required(text: str | None, what: str) -> str:
    if not text:
        raise ProtocolError(f"{what} is missing")
    return text


# -- service and listing --------------------------------------------------------------------------------------------


def nothing(response: Response) -> None:
    """Read a reply whose body, if any, says nothing more than its status."""
    for _ in response.body:
        pass


def service(response: Response) -> Service:
    """Parse GET service."""
    root = read_tree(response.body, what="the list of buckets", root="ListAllMyBucketsResult", max_bytes=PAGE_BYTES)
    found: list[BucketSummary] = []
    for buckets in root.all("Buckets"):
        for one in buckets.all("Bucket"):
            name = _required(one.value("Name"), "the name of a bucket")
            found.append(BucketSummary(name, _date(one.value("CreationDate"), f"the date of bucket {name}")))
    return Service(_owner(root), tuple(found))


def _owner(parent: Element) -> Owner | None:
    element = parent.child("Owner")
    if element is None:
        return None
    return Owner(element.value("ID") or "", element.value("DisplayName") or "")


def listing(response: Response) -> ListingPage:
    """Parse one page of GET bucket, of objects or of versions."""
    objects: list[ListedObject] = []
    prefixes: list[str] = []
    texts: dict[str, str] = {}
    owners: dict[Owner, Owner] = {}

    def item(element: Element) -> None:
        if element.name in {"Contents", "Version"}:
            objects.append(_listed_object(element, owners))
        elif element.name == "CommonPrefixes":
            prefixes.extend(one.text for one in element.all("Prefix") if one.text)
        elif not element.children:
            texts[element.name] = element.text

    read_items(response.body, item, what="the listing", root=("ListBucketResult", "ListVersionsResult"))
    truncated = _boolean(texts.get("IsTruncated"), "IsTruncated of the listing") or False
    next_marker = texts.get("NextMarker", "")
    if truncated and not next_marker:
        # AWS leaves it out where there is no delimiter; the last name of the page is where to go on.
        last = [*(one.key for one in objects[-1:]), *prefixes[-1:]]
        next_marker = max(last, key=lambda name: name.encode(), default="")
    return ListingPage(
        bucket=texts.get("Name", ""),
        prefix=texts.get("Prefix", ""),
        delimiter=texts.get("Delimiter", ""),
        marker=texts.get("Marker", ""),
        next_marker=next_marker,
        truncated=truncated,
        max_keys=_size(texts.get("MaxKeys"), "MaxKeys of the listing"),
        objects=tuple(objects),
        prefixes=tuple(prefixes),
    )


def _listed_object(element: Element, owners: dict[Owner, Owner]) -> ListedObject:
    values = {one.name: one.text for one in reversed(element.children)}
    key = _required(values.get("Key"), "the key of an object in the listing")
    modified = _date(values.get("LastModified"), f"the date of {key!a}")
    size = _integer(values.get("Size"), f"the size of {key!a}")
    if size is None and modified is not None:
        raise ProtocolError(f"the size of {key!a} is missing in the listing")
    owner = _owner(element)
    return ListedObject(
        key=key,
        size=_size(values.get("Size"), f"the size of {key!a}"),
        last_modified=modified,
        etag=_etag(values.get("ETag")),
        version_id=values.get("VersionId") or None,
        is_latest=_boolean(values.get("IsLatest"), f"IsLatest of {key!a}"),
        owner=None if owner is None else owners.setdefault(owner, owner),
    )


def deleted(response: Response) -> DeleteResult:
    """Parse the result of a multi-object delete."""
    done: list[str] = []
    failures: list[DeleteFailure] = []

    def item(element: Element) -> None:
        if element.name == "Deleted":
            done.append(_required(element.value("Key"), "the key of a deleted object"))
        elif element.name == "Error":
            code, message = element.value("Code") or "", element.value("Message") or ""
            # One fixture of the vendor's shows several keys in one entry.
            keys = [one.text for one in element.all("Key")] or [""]
            failures.extend(DeleteFailure(key, code, message, element.value("VersionId")) for key in keys)

    read_items(response.body, item, what="the result of the deletion", root="DeleteResult")
    return DeleteResult(tuple(done), tuple(failures))


# -- objects --------------------------------------------------------------------------------------------------------


def object_head(key: str) -> Callable[[Response], ObjectHead]:
    """Return a parser of HEAD object; the reply does not repeat the key, so it is given."""

    def parse(response: Response) -> ObjectHead:
        headers = response.headers
        nothing(response)
        what = f"the head of {key!a}"
        size = _required(headers.get("Content-Length"), f"Content-Length in {what}")
        kind = headers.get(names.BLOB_CHECKSUM_TYPE)
        return ObjectHead(
            key=key,
            size=_size(size, f"Content-Length in {what}"),
            etag=_etag(headers.get(names.ETAG)),
            created=_date(headers.get(names.CREATION_DATE), f"{names.CREATION_DATE} in {what}"),
            version_id=headers.get(names.VERSION_ID) or None,
            checksum_type=ChecksumType(kind.strip()) if kind else None,
            checksums=dict(_blob_checksums(headers, what)),
            metadata=metadata_codec.from_headers(headers),
        )

    return parse


def _blob_checksums(headers: Headers, what: str) -> Iterator[tuple[int, str]]:
    for name, value in headers.items():
        if name.startswith(names.BLOB_CHECKSUM_OFFSET):
            yield _size(name[len(names.BLOB_CHECKSUM_OFFSET) :], f"an offset in {what}"), value.strip()


def object_put(response: Response) -> PutResult:
    """Parse the reply to PUT object: its headers."""
    nothing(response)
    echo = checksums.from_headers(response.headers)
    return PutResult(
        etag=_etag(response.headers.get(names.ETAG)),
        checksum_type=echo[0] if echo else None,
        checksum=echo[1] if echo else None,
        version_id=response.headers.get(names.VERSION_ID) or None,
    )


# -- jobs -----------------------------------------------------------------------------------------------------------


def job(response: Response) -> JobDetails:
    """Parse a `MasterObjectList`: creation, GET job and modify."""
    if response.status == 204:
        nothing(response)
        raise ProtocolError("the appliance made no job (status 204): nothing was left to do of what was asked")
    rows = read_job(response.body, what="the job")
    head = _job(rows.attributes, tuple(_node(one) for one in rows.nodes))
    return JobDetails(head, tuple(_chunk(one) for one in rows.chunks))


def ready_chunks(response: Response) -> ReadyChunks:
    """Parse the chunks that are ready; Retry-After stands beside them."""
    details = job(response)
    seconds = retry_after_seconds(response.headers)
    return ReadyChunks(details.job, details.chunks, None if seconds is None else timedelta(seconds=seconds))


def chunk(response: Response) -> Chunk:
    """Parse one chunk by itself: GET chunk and allocate."""
    return _chunk(read_job(response.body, what="the chunk", root="Objects").chunks[0])


def _chunk(rows: ChunkRows) -> Chunk:
    chunk_id = _required(rows.attributes.get("ChunkId"), "ChunkId of a chunk")
    number = _integer(rows.attributes.get("ChunkNumber"), f"ChunkNumber of chunk {chunk_id}")
    return Chunk(chunk_id, number or 0, rows.blobs, rows.attributes.get("NodeId") or None)


def _node(attributes: Mapping[str, str]) -> Node:
    return Node(
        id=attributes.get("Id", ""),
        end_point=attributes.get("EndPoint") or None,
        http_port=_integer(attributes.get("HttpPort"), "HttpPort of a node"),
        https_port=_integer(attributes.get("HttpsPort"), "HttpsPort of a node"),
    )


def _job(attributes: Mapping[str, str], nodes: tuple[Node, ...]) -> Job:
    job_id = _required(attributes.get("JobId"), "JobId of a job")
    what = f"of job {job_id}"
    priority = attributes.get("Priority")
    order = attributes.get("ChunkClientProcessingOrderGuarantee")
    return Job(
        id=job_id,
        bucket=attributes.get("BucketName") or None,
        type=JobType(_required(attributes.get("RequestType"), f"RequestType {what}")),
        # Releases before 3.0 tell no status, and show running jobs only.
        status=JobStatus(attributes.get("Status") or JobStatus.IN_PROGRESS),
        name=attributes.get("Name") or None,
        priority=Priority(priority) if priority else None,
        original_bytes=_size(attributes.get("OriginalSizeInBytes"), f"OriginalSizeInBytes {what}"),
        cached_bytes=_size(attributes.get("CachedSizeInBytes"), f"CachedSizeInBytes {what}"),
        completed_bytes=_size(attributes.get("CompletedSizeInBytes"), f"CompletedSizeInBytes {what}"),
        aggregating=_boolean(attributes.get("Aggregating"), f"Aggregating {what}"),
        naked=_boolean(attributes.get("Naked"), f"Naked {what}"),
        entirely_in_cache=_boolean(attributes.get("EntirelyInCache"), f"EntirelyInCache {what}"),
        processing_order=ProcessingOrder(order) if order else None,
        started=_date(attributes.get("StartDate"), f"StartDate {what}"),
        user_id=attributes.get("UserId") or None,
        user_name=attributes.get("UserName") or None,
        nodes=nodes,
    )


def jobs(response: Response) -> tuple[Job, ...]:
    """Parse the list of jobs."""
    found: list[Job] = []

    def item(element: Element) -> None:
        if element.name == "Job":
            nodes = tuple(_node(one.attributes) for box in element.all("Nodes") for one in box.all("Node"))
            found.append(_job(element.attributes, nodes))

    read_items(response.body, item, what="the list of jobs", root="Jobs")
    return tuple(found)


def job_records(response: Response) -> Page[JobRecord]:
    """Parse one page of the active, completed or cancelled jobs."""
    return _page(response, {"Job", "CompletedJob", "CanceledJob"}, _job_record, "the list of jobs")


def _job_record(element: Element) -> JobRecord:
    job_id = _required(element.value("Id"), "the id of a job in the list")
    what = f"of job {job_id}"
    priority = element.value("Priority")
    ended = element.value("DateCompleted") or element.value("DateCanceled")
    timed_out = element.value("CanceledDueToTimeout") or element.value("TruncatedDueToTimeout")
    return JobRecord(
        id=job_id,
        bucket_id=element.value("BucketId") or "",
        type=JobType(_required(element.value("RequestType"), f"RequestType {what}")),
        name=element.value("Name") or "",
        priority=Priority(priority) if priority else None,
        original_bytes=_size(element.value("OriginalSizeInBytes"), f"OriginalSizeInBytes {what}"),
        cached_bytes=_size(element.value("CachedSizeInBytes"), f"CachedSizeInBytes {what}"),
        completed_bytes=_size(element.value("CompletedSizeInBytes"), f"CompletedSizeInBytes {what}"),
        created=_date(element.value("CreatedAt"), f"CreatedAt {what}"),
        ended=_date(ended, f"the end {what}"),
        error_message=element.value("ErrorMessage"),
        truncated=_boolean(element.value("Truncated"), f"Truncated {what}") or False,
        timed_out=_boolean(timed_out, f"the timeout {what}") or False,
        user_id=element.value("UserId"),
    )


# -- buckets, data policies -----------------------------------------------------------------------------------------


def bucket(response: Response) -> BucketDetails:
    """Parse a bucket's details."""
    root = read_tree(response.body, what="the bucket's details", root="Data")
    name = _required(root.value("Name"), "the name of the bucket")
    return BucketDetails(
        id=root.value("Id") or "",
        name=name,
        data_policy_id=root.value("DataPolicyId") or "",
        user_id=root.value("UserId"),
        created=_date(root.value("CreationDate"), f"the date of bucket {name}"),
        empty=_boolean(root.value("Empty"), f"Empty of bucket {name}"),
        logical_used_bytes=_integer(root.value("LogicalUsedCapacity"), f"LogicalUsedCapacity of bucket {name}"),
        preferred_chunk_bytes=_integer(
            root.value("LastPreferredChunkSizeInBytes"), f"LastPreferredChunkSizeInBytes of bucket {name}"
        ),
        protected=_boolean(root.value("Protected"), f"Protected of bucket {name}"),
    )


def data_policy(response: Response) -> DataPolicy:
    """Parse one data policy."""
    return _data_policy(read_tree(response.body, what="the data policy", root="Data"))


def data_policies(response: Response) -> Page[DataPolicy]:
    """Parse one page of data policies."""
    return _page(response, {"DataPolicy"}, _data_policy, "the list of data policies")


def _data_policy(element: Element) -> DataPolicy:
    name = _required(element.value("Name"), "the name of the data policy")
    what = f"of data policy {name}"
    blobbing = _boolean(element.value("BlobbingEnabled"), f"BlobbingEnabled {what}")
    return DataPolicy(
        id=element.value("Id") or "",
        name=name,
        checksum_type=ChecksumType(element.value("ChecksumType") or ChecksumType.MD5),
        versioning=Versioning(element.value("Versioning") or Versioning.NONE),
        end_to_end_crc_required=_boolean(element.value("EndToEndCrcRequired"), f"EndToEndCrcRequired {what}") or False,
        blobbing_enabled=blobbing is not False,
        default_blob_size=_integer(element.value("DefaultBlobSize"), f"DefaultBlobSize {what}"),
        default_put_priority=Priority(element.value("DefaultPutJobPriority") or Priority.NORMAL),
        default_get_priority=Priority(element.value("DefaultGetJobPriority") or Priority.HIGH),
        default_verify_priority=Priority(element.value("DefaultVerifyJobPriority") or Priority.LOW),
        max_versions_to_keep=_integer(element.value("MaxVersionsToKeep"), f"MaxVersionsToKeep {what}"),
    )


def persistence_rules(response: Response) -> Page[PersistenceRule]:
    """Parse one page of the copies that data policies keep."""
    return _page(response, {"DataPersistenceRule"}, _persistence_rule, "the list of persistence rules")


def _persistence_rule(element: Element) -> PersistenceRule:
    return PersistenceRule(
        id=element.value("Id") or "",
        data_policy_id=element.value("DataPolicyId") or "",
        storage_domain_id=element.value("StorageDomainId") or "",
        type=element.value("Type") or "",
        state=element.value("State") or "",
        isolation_level=element.value("IsolationLevel") or "",
        minimum_days_to_retain=_integer(element.value("MinimumDaysToRetain"), "MinimumDaysToRetain of a rule"),
    )


# -- tapes, placement -----------------------------------------------------------------------------------------------


def tape(response: Response) -> Tape:
    """Parse one tape."""
    return _tape(read_tree(response.body, what="the tape", root="Data"))


def tapes(response: Response) -> Page[Tape]:
    """Parse one page of tapes."""
    return _page(response, {"Tape"}, _tape, "the list of tapes")


def tape_failures(response: Response) -> tuple[TapeFailure, ...]:
    """Parse the reply to a command over several tapes: 204 when all of them obeyed, else those that did not."""
    failures: list[TapeFailure] = []

    def item(element: Element) -> None:
        if element.name == "Failure":
            inner = element.child("Tape")
            if inner is None:
                raise ProtocolError("a failure in the list names no tape")
            failures.append(TapeFailure(_tape(inner), element.value("Cause") or ""))

    if response.status != 204:
        blocks = list(response.body)
        if any(blocks):
            read_items(blocks, item, what="the list of tapes that failed", root="Data")
        elif response.status == 207:
            raise ProtocolError("some tapes failed (status 207), but the reply does not say which")
    else:
        nothing(response)
    return tuple(failures)


def _tape(element: Element) -> Tape:
    values = {one.name: one.text for one in reversed(element.children)}
    bar_code = values.get("BarCode") or ""
    what = f"of tape {bar_code or values.get('Id', '')}"
    previous = values.get("PreviousState")

    def text(name: str) -> str | None:
        return values.get(name) or None

    def number(name: str) -> int | None:
        return _integer(values.get(name), f"{name} {what}")

    def truth(name: str) -> bool:
        return _boolean(values.get(name), f"{name} {what}") or False

    def date(name: str) -> datetime | None:
        return _date(values.get(name), f"{name} {what}")

    return Tape(
        id=values.get("Id") or "",
        bar_code=bar_code,
        state=TapeState(_required(values.get("State"), f"State {what}")),
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
        name = _required(attributes.get("Name"), "the name of a blob")
        what = f"of a blob of {name!a}"
        _required(attributes.get("Length"), f"Length {what}")
        return PlacedBlob(
            blob=Blob(
                key=name,
                offset=_size(attributes.get("Offset"), f"Offset {what}"),
                length=_size(attributes.get("Length"), f"Length {what}"),
                in_cache=_boolean(attributes.get("InCache"), f"InCache {what}") or False,
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
    return _page(response, {"S3Object", "Object"}, lambda one: _object_record(one, media), "the list of objects")


def _object_record(element: Element, media: _Media) -> ObjectRecord:
    name = _required(element.value("Name"), "the name of an object in the list")
    what = f"of {name!a}"

    def number(field: str) -> int | None:
        return _integer(element.value(field), f"{field} {what}")

    blobs = (media.placed_blob(one) for box in element.all("Blobs") for one in box.all("Object"))
    return ObjectRecord(
        id=element.value("Id") or "",
        bucket_id=element.value("BucketId") or "",
        name=name,
        type=element.value("Type") or "",
        latest=_boolean(element.value("Latest"), f"Latest {what}"),
        created=_date(element.value("CreationDate"), f"CreationDate {what}"),
        size=number("Size"),
        etag=_etag(element.value("ETag")),
        owner=element.value("Owner"),
        blobs_total=number("BlobsTotal"),
        blobs_in_cache=number("BlobsInCache"),
        blobs_being_persisted=number("BlobsBeingPersisted"),
        blobs_degraded=number("BlobsDegraded"),
        blobs=tuple(blobs),
    )


# -- cache, system --------------------------------------------------------------------------------------------------


def cache_state(response: Response) -> tuple[CacheFilesystem, ...]:
    """Parse the cache's file systems."""
    root = read_tree(response.body, what="the state of the cache", root="Data", max_bytes=PAGE_BYTES)
    return tuple(_cache_filesystem(one) for one in root.all("Filesystems"))


def _cache_filesystem(element: Element) -> CacheFilesystem:
    inner = element.child("CacheFilesystem")
    path = inner.value("Path") if inner is not None else None
    what = f"of the cache {path or ''}"
    return CacheFilesystem(
        id=(inner.value("Id") if inner is not None else None) or "",
        path=path,
        total_bytes=_size(element.value("TotalCapacityInBytes"), f"TotalCapacityInBytes {what}"),
        available_bytes=_size(element.value("AvailableCapacityInBytes"), f"AvailableCapacityInBytes {what}"),
        used_bytes=_size(element.value("UsedCapacityInBytes"), f"UsedCapacityInBytes {what}"),
        unavailable_bytes=_size(element.value("UnavailableCapacityInBytes"), f"UnavailableCapacityInBytes {what}"),
        locked_bytes=_integer(element.value("JobLockedCacheInBytes"), f"JobLockedCacheInBytes {what}"),
        summary=element.value("Summary"),
    )


def system_information(response: Response) -> SystemInformation:
    """Parse what the appliance says of itself."""
    root = read_tree(response.body, what="the system information", root="Data")
    build = root.child("BuildInformation")
    milliseconds = _integer(root.value("Now"), "Now of the system information")
    now = None
    if milliseconds is not None:
        try:
            now = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
        except OverflowError as error_:
            raise ProtocolError(f"Now of the system information is {milliseconds}, which is no time") from error_
    return SystemInformation(
        version=build.value("Version") if build is not None else None,
        api_version=root.value("ApiVersion"),
        serial_number=root.value("SerialNumber"),
        instance_id=root.value("InstanceId"),
        backend_activated=_boolean(root.value("BackendActivated"), "BackendActivated"),
        now=now,
        revision=build.value("Revision") if build is not None else None,
    )


def system_health(response: Response) -> SystemHealth:
    """Parse the appliance's health."""
    root = read_tree(response.body, what="the system's health", root="Data")
    name = "MsRequiredToVerifyDataPlannerHealth"
    return SystemHealth(_integer(root.value(name), name), root.value("DatabaseFilesystemFreeSpace"))


# -- pages ----------------------------------------------------------------------------------------------------------


def _page(response: Response, item_names: set[str], make: Callable[[Element], T], what: str) -> Page[T]:
    found: list[T] = []

    def item(element: Element) -> None:
        if element.name in item_names:
            found.append(make(element))

    read_items(response.body, item, what=what, root="Data")
    return Page(
        tuple(found),
        _integer(response.headers.get(names.PAGE_TRUNCATED), names.PAGE_TRUNCATED),
        _integer(response.headers.get(names.TOTAL_RESULT_COUNT), names.TOTAL_RESULT_COUNT),
    )
