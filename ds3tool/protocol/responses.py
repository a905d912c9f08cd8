"""Parsers: each turns the successful reply of one call into a value, and `error` a refusal into an exception.

A parser reads the reply's body to its end. ProtocolError says which reply could not be understood and why. What
releases leave out, or send empty, becomes None or the default; what they add is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ds3tool.errors import ProtocolError
from ds3tool.protocol import checksums, names
from ds3tool.protocol import metadata as metadata_codec
from ds3tool.protocol.job_documents import ChunkRows, read_job
from ds3tool.protocol.known_blobs import KnownBlobs
from ds3tool.protocol.listings import listing, owner_of
from ds3tool.protocol.messages import Headers, Response
from ds3tool.protocol.model import (
    BucketDetails,
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
    Node,
    ObjectHead,
    Priority,
    ProcessingOrder,
    PutResult,
    ReadyChunks,
    Versioning,
)
from ds3tool.protocol.pages import Page, read_page
from ds3tool.protocol.retry_after import retry_after_seconds
from ds3tool.protocol.scalars import as_boolean, as_date, as_etag, as_integer, as_size, required
from ds3tool.protocol.xmlcodec import Element, read_items, read_tree

if TYPE_CHECKING:
    from ds3tool.protocol.appliance_responses import (
        cache_state,
        persistence_rules,
        service,
        system_health,
        system_information,
    )
    from ds3tool.protocol.placements import (
        blob_placement,
        object_details,
        object_record,
        placement,
        tape,
        tape_failures,
        tapes,
    )
    from ds3tool.protocol.refusals import error, parse_error_document

__all__ = [
    "Page",
    "blob_placement",
    "bucket",
    "cache_state",
    "chunk",
    "data_policies",
    "data_policy",
    "deleted",
    "done",
    "error",
    "job",
    "job_head",
    "job_records",
    "jobs",
    "listing",
    "nothing",
    "object_details",
    "object_head",
    "object_put",
    "object_record",
    "owner_of",
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

_HOMES = {
    "appliance_responses": {"cache_state", "persistence_rules", "service", "system_health", "system_information"},
    "placements": {
        "blob_placement",
        "object_details",
        "object_record",
        "placement",
        "tape",
        "tape_failures",
        "tapes",
    },
    "refusals": {"error", "parse_error_document"},
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  # any of the names above
    """Import what is asked for: what no put or get reads need not be made before it."""
    for home, names_there in _HOMES.items():
        if name in names_there:
            return getattr(import_module(f"ds3tool.protocol.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# -- service and listing --------------------------------------------------------------------------------------------


def nothing(response: Response) -> None:
    """Read a reply whose body, if any, says nothing more than its status."""
    for _ in response.body:
        pass


def done(response: Response) -> None:
    """Read a reply that says no more than that it is done; ProtocolError when it may be somebody else's."""
    nothing(response)
    if response.status != 204 and not response.headers.get(names.REQUEST_ID):
        raise ProtocolError(
            f"the answer ({response.status}) does not show that the appliance has done it",
            hint="something that stands between answers in its place: a proxy, a login page?",
        )


def deleted(response: Response) -> DeleteResult:
    """Parse the result of a multi-object delete."""
    done: list[str] = []
    failures: list[DeleteFailure] = []

    def item(element: Element) -> None:
        if element.name == "Deleted":
            done.append(required(element.value("Key"), "the key of a deleted object"))
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
        size = required(headers.get("Content-Length"), f"Content-Length in {what}")
        kind = headers.get(names.BLOB_CHECKSUM_TYPE)
        return ObjectHead(
            key=key,
            size=as_size(size, f"Content-Length in {what}"),
            etag=as_etag(headers.get(names.ETAG)),
            created=as_date(headers.get(names.CREATION_DATE), f"{names.CREATION_DATE} in {what}"),
            version_id=headers.get(names.VERSION_ID) or None,
            checksum_type=ChecksumType(kind.strip()) if kind else None,
            checksums=dict(_blob_checksums(headers, what)),
            metadata=metadata_codec.from_headers(headers),
        )

    return parse


def _blob_checksums(headers: Headers, what: str) -> Iterator[tuple[int, str]]:
    for name, value in headers.items():
        if name.startswith(names.BLOB_CHECKSUM_OFFSET):
            yield as_size(name[len(names.BLOB_CHECKSUM_OFFSET) :], f"an offset in {what}"), value.strip()


def object_put(response: Response) -> PutResult:
    """Parse the reply to PUT object: its headers. ProtocolError when it does not show that the appliance spoke.

    A login page or a proxy says 200 too; but it knows neither the digest of the bytes nor numbers of requests.
    """
    nothing(response)
    echo = checksums.from_headers(response.headers)
    if response.status != 200 or (echo is None and not response.headers.get(names.REQUEST_ID)):
        raise ProtocolError(
            f"the answer to a PUT ({response.status}) does not show that the appliance has the bytes",
            hint="something that stands between answers in its place: a proxy, a login page?",
        )
    return PutResult(
        etag=as_etag(response.headers.get(names.ETAG)),
        checksum_type=echo[0] if echo else None,
        checksum=echo[1] if echo else None,
        version_id=response.headers.get(names.VERSION_ID) or None,
    )


# -- jobs -----------------------------------------------------------------------------------------------------------


def job(response: Response, *, known: KnownBlobs | None = None) -> JobDetails:
    """Parse a `MasterObjectList`: creation, GET job and modify.

    What it names in the order of the keys that the job is `known` to have shares their texts.
    """
    return _job_details(response, known, blobs=True)


def job_head(response: Response) -> Job:
    """Parse the same, without keeping any of its blobs."""
    return _job_details(response, None, blobs=False).job


def _job_details(response: Response, known: KnownBlobs | None, *, blobs: bool) -> JobDetails:
    if response.status == 204:
        nothing(response)
        raise ProtocolError("the appliance made no job (status 204): nothing was left to do of what was asked")
    rows = read_job(response.body, what="the job", known=known, blobs=blobs)
    head = _job(rows.attributes, tuple(_node(one) for one in rows.nodes))
    return JobDetails(head, tuple(_chunk(one) for one in rows.chunks))


def ready_chunks(response: Response, *, known: KnownBlobs | None = None) -> ReadyChunks:
    """Parse the chunks that are ready; Retry-After stands beside them. `known` as of `job`."""
    details = job(response, known=known)
    seconds = retry_after_seconds(response.headers)
    return ReadyChunks(details.job, details.chunks, None if seconds is None else timedelta(seconds=seconds))


def chunk(response: Response) -> Chunk:
    """Parse one chunk by itself: GET chunk and allocate."""
    return _chunk(read_job(response.body, what="the chunk", root="Objects").chunks[0])


def _chunk(rows: ChunkRows) -> Chunk:
    chunk_id = required(rows.attributes.get("ChunkId"), "ChunkId of a chunk")
    number = as_integer(rows.attributes.get("ChunkNumber"), f"ChunkNumber of chunk {chunk_id}")
    return Chunk(chunk_id, number or 0, rows.blobs, rows.attributes.get("NodeId") or None)


def _node(attributes: Mapping[str, str]) -> Node:
    return Node(
        id=attributes.get("Id", ""),
        end_point=attributes.get("EndPoint") or None,
        http_port=as_integer(attributes.get("HttpPort"), "HttpPort of a node"),
        https_port=as_integer(attributes.get("HttpsPort"), "HttpsPort of a node"),
    )


def _job(attributes: Mapping[str, str], nodes: tuple[Node, ...]) -> Job:
    job_id = required(attributes.get("JobId"), "JobId of a job")
    what = f"of job {job_id}"
    priority = attributes.get("Priority")
    order = attributes.get("ChunkClientProcessingOrderGuarantee")
    return Job(
        id=job_id,
        bucket=attributes.get("BucketName") or None,
        type=JobType(required(attributes.get("RequestType"), f"RequestType {what}")),
        # Releases before 3.0 tell no status, and show running jobs only.
        status=JobStatus(attributes.get("Status") or JobStatus.IN_PROGRESS),
        name=attributes.get("Name") or None,
        priority=Priority(priority) if priority else None,
        original_bytes=as_size(attributes.get("OriginalSizeInBytes"), f"OriginalSizeInBytes {what}"),
        cached_bytes=as_size(attributes.get("CachedSizeInBytes"), f"CachedSizeInBytes {what}"),
        completed_bytes=as_size(attributes.get("CompletedSizeInBytes"), f"CompletedSizeInBytes {what}"),
        aggregating=as_boolean(attributes.get("Aggregating"), f"Aggregating {what}"),
        naked=as_boolean(attributes.get("Naked"), f"Naked {what}"),
        entirely_in_cache=as_boolean(attributes.get("EntirelyInCache"), f"EntirelyInCache {what}"),
        processing_order=ProcessingOrder(order) if order else None,
        started=as_date(attributes.get("StartDate"), f"StartDate {what}"),
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
    return read_page(response, {"Job", "CompletedJob", "CanceledJob"}, _job_record, "the list of jobs")


def _job_record(element: Element) -> JobRecord:
    job_id = required(element.value("Id"), "the id of a job in the list")
    what = f"of job {job_id}"
    priority = element.value("Priority")
    ended = element.value("DateCompleted") or element.value("DateCanceled")
    timed_out = element.value("CanceledDueToTimeout") or element.value("TruncatedDueToTimeout")
    return JobRecord(
        id=job_id,
        bucket_id=element.value("BucketId") or "",
        type=JobType(required(element.value("RequestType"), f"RequestType {what}")),
        name=element.value("Name") or "",
        priority=Priority(priority) if priority else None,
        original_bytes=as_size(element.value("OriginalSizeInBytes"), f"OriginalSizeInBytes {what}"),
        cached_bytes=as_size(element.value("CachedSizeInBytes"), f"CachedSizeInBytes {what}"),
        completed_bytes=as_size(element.value("CompletedSizeInBytes"), f"CompletedSizeInBytes {what}"),
        created=as_date(element.value("CreatedAt"), f"CreatedAt {what}"),
        ended=as_date(ended, f"the end {what}"),
        error_message=element.value("ErrorMessage"),
        truncated=as_boolean(element.value("Truncated"), f"Truncated {what}") or False,
        timed_out=as_boolean(timed_out, f"the timeout {what}") or False,
        user_id=element.value("UserId"),
    )


# -- buckets, data policies -----------------------------------------------------------------------------------------


def bucket(response: Response) -> BucketDetails:
    """Parse a bucket's details."""
    root = read_tree(response.body, what="the bucket's details", root="Data")
    name = required(root.value("Name"), "the name of the bucket")
    return BucketDetails(
        id=root.value("Id") or "",
        name=name,
        data_policy_id=root.value("DataPolicyId") or "",
        user_id=root.value("UserId"),
        created=as_date(root.value("CreationDate"), f"the date of bucket {name}"),
        empty=as_boolean(root.value("Empty"), f"Empty of bucket {name}"),
        logical_used_bytes=as_integer(root.value("LogicalUsedCapacity"), f"LogicalUsedCapacity of bucket {name}"),
        preferred_chunk_bytes=as_integer(
            root.value("LastPreferredChunkSizeInBytes"), f"LastPreferredChunkSizeInBytes of bucket {name}"
        ),
        protected=as_boolean(root.value("Protected"), f"Protected of bucket {name}"),
    )


def data_policy(response: Response) -> DataPolicy:
    """Parse one data policy."""
    return _data_policy(read_tree(response.body, what="the data policy", root="Data"))


def data_policies(response: Response) -> Page[DataPolicy]:
    """Parse one page of data policies."""
    return read_page(response, {"DataPolicy"}, _data_policy, "the list of data policies")


def _data_policy(element: Element) -> DataPolicy:
    name = required(element.value("Name"), "the name of the data policy")
    what = f"of data policy {name}"
    crc_required = as_boolean(element.value("EndToEndCrcRequired"), f"EndToEndCrcRequired {what}")
    blobbing = as_boolean(element.value("BlobbingEnabled"), f"BlobbingEnabled {what}")
    return DataPolicy(
        id=element.value("Id") or "",
        name=name,
        checksum_type=ChecksumType(element.value("ChecksumType") or ChecksumType.MD5),
        versioning=Versioning(element.value("Versioning") or Versioning.NONE),
        end_to_end_crc_required=crc_required or False,
        blobbing_enabled=blobbing is not False,
        default_blob_size=as_integer(element.value("DefaultBlobSize"), f"DefaultBlobSize {what}"),
        default_put_priority=Priority(element.value("DefaultPutJobPriority") or Priority.NORMAL),
        default_get_priority=Priority(element.value("DefaultGetJobPriority") or Priority.HIGH),
        default_verify_priority=Priority(element.value("DefaultVerifyJobPriority") or Priority.LOW),
        max_versions_to_keep=as_integer(element.value("MaxVersionsToKeep"), f"MaxVersionsToKeep {what}"),
    )
