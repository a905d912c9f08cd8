"""Each golden document with the typed value it means; both codecs are tested against this table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from ds3tool.protocol.blob_columns import BlobColumns
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
    ErrorDocument,
    Job,
    JobDetails,
    JobRecord,
    JobStatus,
    JobType,
    ListedObject,
    ListingPage,
    Node,
    ObjectRecord,
    ObjectToGet,
    ObjectToPut,
    Owner,
    PersistenceRule,
    PlacedBlob,
    Placement,
    Pool,
    Priority,
    ProcessingOrder,
    Service,
    SystemHealth,
    SystemInformation,
    Tape,
    TapeFailure,
    TapeState,
    Versioning,
)

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Golden:
    """One document: `file` below this folder, the call it belongs to, and the value it means."""

    file: str
    kind: str
    value: object

    @property
    def data(self) -> bytes:
        """The document's bytes, without the file's final line feed."""
        return (_HERE / self.file).read_bytes().removesuffix(b"\n")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


USER_ID = "5e0c7c1a-2f4d-4b8e-9d10-33aa64f0c2e1"
BUCKET_ID = "b7d21e3c-0a55-4f0b-8c3e-91f6d02a7714"
POLICY_ID = "0f3b9a66-77d1-4c2a-a5de-12c48e90bb05"
NODE_ID = "e2a4c6d8-1b3d-4f5a-b7c9-d1e3f5a7b9c1"
MIRA = Owner(USER_ID, "mira")
VERSION = "0b1ec700-0000-4000-8000-00000000000"  # and one digit
ODD_KEY = 'a & "b" <c>\n+%2F;\''

# -- requests: what the caller declares -----------------------------------------------------------------------------

REQUESTS: tuple[Golden, ...] = (
    Golden(
        "requests/bulk-put.xml",
        "bulk put",
        (ObjectToPut("2025/", 0), ObjectToPut("2025/readings.bin", 15728640), ObjectToPut("2025/empty", 0)),
    ),
    Golden(
        "requests/bulk-put-special-names.xml",
        "bulk put",
        (
            ObjectToPut('salt & <tide> "7".txt', 1),
            ObjectToPut("it's + 100%;%2F=\\?.txt", 2),
            ObjectToPut("tab\tline\nreturn\rend", 3),
            ObjectToPut("  two  blanks  ", 4),
            ObjectToPut("//.././x", 5),
        ),
    ),
    Golden(
        "requests/bulk-put-utf8.xml",
        "bulk put",
        (
            ObjectToPut("K\u00fcste/n\u00e9.txt", 11),
            ObjectToPut("Ku\u0308ste/ne\u0301.txt", 12),
            ObjectToPut("\u6f6e\u4f4d/\U0001f30a.dat", 1 << 40),
        ),
    ),
    Golden("requests/bulk-put-folder.xml", "bulk put", (ObjectToPut("2025/stations/", 0),)),
    Golden(
        "requests/bulk-get.xml",
        "bulk get",
        (
            ObjectToGet("2025/readings.bin"),
            ObjectToGet("2025/part.bin", offset=1048576, length=5242880),
            ObjectToGet("2025/part.bin", offset=0, length=1),
            ObjectToGet("2024/old.bin", version_id=VERSION + "2"),
            ObjectToGet("a&b", offset=20, length=10, version_id=VERSION + "3"),
        ),
    ),
    Golden(
        "requests/verify.xml",
        "verify",
        (ObjectToGet("2025/readings.bin"), ObjectToGet("2025/part.bin", offset=8192, length=4096)),
    ),
    Golden(
        "requests/placement.xml",
        "placement",
        (ObjectToGet("2025/readings.bin"), ObjectToGet("2024/old.bin", version_id=VERSION + "2")),
    ),
    # (key, version id or None) pairs
    Golden(
        "requests/delete-objects.xml",
        "delete objects",
        (("2025/readings.bin", None), ("a <b> & \"c\" 'd'", None), ("tab\tline\nreturn\rend", None)),
    ),
    Golden(
        "requests/delete-objects-versions.xml",
        "delete objects",
        (("2025/readings.bin", VERSION + "1"), ("2024/old.bin", None)),
    ),
)

# -- replies --------------------------------------------------------------------------------------------------------

_CREATED = _time("2025-03-04T05:06:07.089")

_LISTING = ListingPage(
    bucket="tide-gauges",
    prefix="2025/",
    delimiter="",
    marker="",
    next_marker="",
    truncated=False,
    max_keys=1000,
    objects=(
        ListedObject(
            "2025/empty",
            0,
            _time("2025-03-04T06:00:00"),
            "9e107d9d372bb6826bd81d3542a419d6",
            VERSION + "4",
            is_latest=True,
            owner=MIRA,
        ),
        ListedObject(
            "2025/readings.bin",
            15728640,
            _time("2025-03-04T06:00:01.250"),
            "e4d909c290d0fb1ca068ffaddf22cbd0-2",
            VERSION + "1",
            is_latest=True,
            owner=MIRA,
        ),
        ListedObject("2025/underway.bin", 0, None, None, VERSION + "5", is_latest=False, owner=MIRA),
    ),
    prefixes=(),
)

_NODE = Node(NODE_ID, "198.51.100.2", 80, 443)
_CHUNK_1 = "9a10f2d4-3b5c-4d6e-8f70-8192a3b4c5d6"
_CHUNK_2 = "9a10f2d4-3b5c-4d6e-8f70-8192a3b4c5d7"
_GET_CHUNK_1 = "9a10f2d4-3b5c-4d6e-8f70-8192a3b4c5e1"
_GET_CHUNK_2 = "9a10f2d4-3b5c-4d6e-8f70-8192a3b4c5e2"
_JOB = "41c8d5f2-6e7b-4f19-8a02-c9b3e1f7d46"  # and one digit

_PUT_JOB = Job(
    id=_JOB + "0",
    bucket="tide-gauges",
    type=JobType.PUT,
    status=JobStatus.IN_PROGRESS,
    name="PUT by 198.51.100.7",
    priority=Priority.NORMAL,
    original_bytes=15728643,
    cached_bytes=10485760,
    completed_bytes=0,
    aggregating=False,
    naked=False,
    entirely_in_cache=False,
    processing_order=ProcessingOrder.IN_ORDER,
    started=_time("2025-03-04T06:00:00"),
    user_id=USER_ID,
    user_name="mira",
    nodes=(_NODE,),
)
_GET_JOB = Job(
    id=_JOB + "1",
    bucket="tide-gauges",
    type=JobType.GET,
    status=JobStatus.IN_PROGRESS,
    name="storm restore",
    priority=Priority.HIGH,
    original_bytes=15728640,
    aggregating=False,
    naked=False,
    processing_order=ProcessingOrder.NONE,
    started=_time("2025-03-05T06:00:00"),
    user_id=USER_ID,
    user_name="mira",
    nodes=(Node(NODE_ID, "NOT_INITIALIZED_YET"),),
)
_READY_JOB = replace(_GET_JOB, entirely_in_cache=False, nodes=(_NODE,))
_VERIFY_JOB = replace(
    _READY_JOB,
    id=_JOB + "2",
    type=JobType.VERIFY,
    name="VERIFY by 198.51.100.7",
    priority=Priority.LOW,
    original_bytes=3,
    started=_time("2025-03-06T06:00:00"),
)
_COMPLETED_JOB = replace(
    _PUT_JOB,
    status=JobStatus.COMPLETED,
    cached_bytes=15728643,
    completed_bytes=15728643,
    entirely_in_cache=None,
)
_CANCELED_JOB = replace(
    _GET_JOB,
    id=_JOB + "3",
    status=JobStatus.CANCELED,
    name="GET by 198.51.100.9",
    priority=Priority.URGENT,
    original_bytes=1,
    naked=True,
    started=_time("2025-03-07T06:00:00"),
    nodes=(_NODE,),
)
_ODD_BLOB = Blob(ODD_KEY, 0, 3, in_cache=False, version_id=VERSION + "8")


def _chunk(chunk_id: str, number: int, *blobs: Blob, node_id: str | None = None) -> Chunk:
    return Chunk(chunk_id, number, BlobColumns.of(blobs), node_id)


_PUT_DETAILS = JobDetails(
    _PUT_JOB,
    (
        _chunk(
            _CHUNK_1,
            1,
            Blob("2025/readings.bin", 0, 10485760, in_cache=True, version_id=VERSION + "1"),
            Blob("2025/readings.bin", 10485760, 5242880, in_cache=False, version_id=VERSION + "1"),
            Blob("2025/empty", 0, 0, in_cache=False, version_id=VERSION + "4"),
            node_id=NODE_ID,
        ),
        _chunk(_CHUNK_2, 2, _ODD_BLOB),
    ),
)

_TAPE = Tape(
    id="7a9e0000-0000-4000-8000-000000000001",
    bar_code="TG0001L8",
    state=TapeState.NORMAL,
    type="LTO8",
    assigned_to_storage_domain=True,
    storage_domain_member_id="3e3be700-0000-4000-8000-000000000001",
    bucket_id=BUCKET_ID,
    partition_id="9a871710-0000-4000-8000-000000000001",
    previous_state=TapeState.PENDING_INSPECTION,
    serial_number="HU1913TEST",
    available_bytes=11999000000000,
    total_bytes=12000000000000,
    last_accessed=_time("2025-03-04T07:29:00"),
    last_modified=_time("2025-03-04T07:28:00"),
    last_verified=_time("2025-04-01T00:00:00"),
)
_POOL = Pool("90010000-0000-4000-8000-000000000001", "one", "NORMAL", "NEARLINE", "OK")

RESPONSES: tuple[Golden, ...] = (
    Golden(
        "responses/service.xml",
        "service",
        Service(
            MIRA,
            (
                BucketSummary("tide-gauges", _CREATED),
                BucketSummary("Lighthouse_logs.2", _time("2025-11-30T23:59:59.999")),
            ),
        ),
    ),
    Golden("responses/service-no-buckets.xml", "service", Service(MIRA, ())),
    Golden(
        "responses/service-old.xml",
        "service",
        Service(
            Owner("mira", "mira"),
            (
                BucketSummary("tide-gauges", _time("2013-08-09T10:11:12")),
                BucketSummary("undated", None),
                BucketSummary("blank-date", _time("2013-08-09T10:11:12.130")),
            ),
        ),
    ),
    Golden("responses/listing.xml", "listing", _LISTING),
    Golden(
        "responses/listing-prefixes.xml",
        "listing",
        ListingPage(
            bucket="tide-gauges",
            prefix="",
            delimiter="/",
            marker="2023/",
            next_marker="a & b/",
            truncated=True,
            max_keys=3,
            objects=(
                ListedObject(
                    "README",
                    1,
                    _time("2025-03-04T05:10:00"),
                    "0cc175b9c0f1b6a831c399e269772661",
                    VERSION + "6",
                    is_latest=True,
                    owner=MIRA,
                ),
            ),
            prefixes=("2024/", "a & b/"),
        ),
    ),
    Golden("responses/listing-empty.xml", "listing", replace(_LISTING, prefix="", objects=())),
    Golden(
        "responses/listing-versions.xml",
        "listing",
        replace(
            _LISTING,
            prefix="",
            objects=(
                ListedObject(
                    "2024/old.bin",
                    3,
                    _time("2025-05-05T05:05:05.005"),
                    "900150983cd24fb0d6963f7d28e17f72",
                    VERSION + "3",
                    is_latest=True,
                    owner=MIRA,
                ),
                ListedObject(
                    "2024/old.bin",
                    0,
                    _time("2025-04-04T04:04:04.004"),
                    "d41d8cd98f00b204e9800998ecf8427e",
                    VERSION + "2",
                    is_latest=False,
                    owner=MIRA,
                ),
            ),
        ),
    ),
    # An integer version, of releases before 5.0, names nothing that can be asked for: it means None.
    Golden(
        "responses/listing-awkward.xml",
        "listing",
        replace(
            _LISTING,
            prefix="",
            objects=(
                ListedObject(
                    "bare etag",
                    1,
                    _time("2014-01-02T03:04:05.678"),
                    "0CC175B9C0F1B6A831C399E269772661",
                    owner=Owner("mira", "mira"),
                ),
                ListedObject("line\nbreak \U0001f30a <&>", 2, _time("2014-01-02T03:04:05"), None),
            ),
            prefixes=("one/", "two/"),
        ),
    ),
    Golden(
        "responses/delete-result.xml",
        "delete objects",
        DeleteResult(
            ("2025/readings.bin", "a <b> & \"c\" 'd'"),
            (
                DeleteFailure("2024/gone.bin", "ObjectNotFound", "Object not found"),
                DeleteFailure("2024/sealed.bin", "AccessDenied", "Access Denied", VERSION + "7"),
            ),
        ),
    ),
    Golden("responses/delete-result-quiet.xml", "delete objects", DeleteResult((), ())),
    Golden("responses/job-put.xml", "job", _PUT_DETAILS),
    Golden(
        "responses/job-get.xml",
        "job",
        JobDetails(
            _GET_JOB,
            (
                _chunk(
                    _GET_CHUNK_1,
                    1,
                    Blob("2025/readings.bin", 10485760, 5242880, in_cache=False, version_id=VERSION + "1"),
                ),
                _chunk(
                    _GET_CHUNK_2, 2, Blob("2025/readings.bin", 0, 10485760, in_cache=False, version_id=VERSION + "1")
                ),
            ),
        ),
    ),
    Golden(
        "responses/job-verify.xml",
        "job",
        JobDetails(
            _VERIFY_JOB,
            (
                _chunk(
                    "9a10f2d4-3b5c-4d6e-8f70-8192a3b4c5e3",
                    1,
                    Blob("2024/old.bin", 0, 3, in_cache=False, version_id=VERSION + "3"),
                ),
            ),
        ),
    ),
    Golden("responses/job-completed.xml", "job", JobDetails(_COMPLETED_JOB, ())),
    Golden("responses/job-canceled.xml", "job", JobDetails(_CANCELED_JOB, ())),
    Golden(
        "responses/job-old.xml",
        "job",
        JobDetails(
            Job(
                id=_JOB + "4",
                bucket="tide-gauges",
                type=JobType.PUT,
                status=JobStatus.IN_PROGRESS,
                priority=Priority.NORMAL,
                original_bytes=300,
                processing_order=ProcessingOrder.IN_ORDER,
                started=_time("2014-05-06T07:08:09.010"),
                user_id=USER_ID,
                user_name="mira",
                nodes=(Node(NODE_ID, "FAILED_TO_DETERMINE_DATAPATH_IP_ADDRESS", 80),),
            ),
            (_chunk("9a10f2d4-3b5c-4d6e-8f70-8192a3b4c5f1", 0, Blob("late", 100, 200), Blob("late", 0, 100)),),
        ),
    ),
    Golden(
        "responses/job-awkward.xml",
        "job",
        JobDetails(
            Job(
                id=_JOB + "5",
                bucket="tide-gauges",
                type=JobType.GET,
                status=JobStatus("Dreaming"),
                priority=Priority("whenever"),
                original_bytes=7,
                naked=False,
                processing_order=ProcessingOrder("SHUFFLED"),
            ),
            (
                _chunk(
                    "9a10f2d4-3b5c-4d6e-8f70-8192a3b4c5f2",
                    3,
                    Blob("integer version", 0, 3, in_cache=True),
                    Blob("no cache told", 3, 4),
                ),
                _chunk("9a10f2d4-3b5c-4d6e-8f70-8192a3b4c5f3", 4),
            ),
        ),
    ),
    # Read with Retry-After beside it, which makes ReadyChunks of it.
    Golden(
        "responses/chunks-ready.xml",
        "chunks ready",
        JobDetails(
            _READY_JOB,
            (
                _chunk(
                    _GET_CHUNK_2,
                    2,
                    Blob("2025/readings.bin", 0, 10485760, in_cache=True, version_id=VERSION + "1"),
                    node_id=NODE_ID,
                ),
            ),
        ),
    ),
    Golden("responses/chunks-ready-none.xml", "chunks ready", JobDetails(_READY_JOB, ())),
    Golden("responses/chunk-allocated.xml", "chunk", _chunk(_CHUNK_2, 2, _ODD_BLOB, node_id=NODE_ID)),
    Golden("responses/chunk-unallocated.xml", "chunk", _chunk(_CHUNK_2, 2, _ODD_BLOB)),
    Golden(
        "responses/jobs.xml",
        "jobs",
        (replace(_PUT_JOB, entirely_in_cache=None), replace(_CANCELED_JOB, nodes=())),
    ),
    Golden("responses/jobs-empty.xml", "jobs", ()),
    Golden(
        "responses/jobs-old.xml",
        "jobs",
        (
            Job(
                id=_JOB + "4",
                bucket=None,
                type=JobType.PUT,
                status=JobStatus.IN_PROGRESS,
                priority=Priority.NORMAL,
                entirely_in_cache=True,
                started=_time("2014-05-06T07:08:09"),
                user_id=USER_ID,
            ),
        ),
    ),
    Golden(
        "responses/active-jobs.xml",
        "job records",
        (
            JobRecord(
                id=_JOB + "0",
                bucket_id=BUCKET_ID,
                type=JobType.PUT,
                name="PUT by 198.51.100.7",
                priority=Priority.NORMAL,
                original_bytes=15728643,
                cached_bytes=10485760,
                created=_time("2025-03-04T06:00:00"),
                user_id=USER_ID,
            ),
        ),
    ),
    Golden(
        "responses/completed-jobs.xml",
        "job records",
        (
            JobRecord(
                id=_JOB + "0",
                bucket_id=BUCKET_ID,
                type=JobType.PUT,
                name="PUT by 198.51.100.7",
                priority=Priority.NORMAL,
                original_bytes=15728643,
                cached_bytes=15728643,
                completed_bytes=15728643,
                created=_time("2025-03-04T06:00:00"),
                ended=_time("2025-03-04T07:30:00.500"),
                error_message="one object was left out",
                truncated=True,
                user_id=USER_ID,
            ),
        ),
    ),
    Golden(
        "responses/canceled-jobs.xml",
        "job records",
        (
            JobRecord(
                id=_JOB + "3",
                bucket_id=BUCKET_ID,
                type=JobType.GET,
                name="GET by 198.51.100.9",
                priority=Priority.URGENT,
                original_bytes=1,
                created=_time("2025-03-07T06:00:00"),
                ended=_time("2025-03-08T06:00:00"),
                timed_out=True,
                user_id=USER_ID,
            ),
        ),
    ),
    Golden("responses/list-empty.xml", "job records", ()),
    Golden("responses/list-empty.xml", "tapes", ()),
    Golden("responses/list-empty.xml", "objects", ()),
    Golden("responses/list-empty.xml", "placed blobs", ()),
    Golden(
        "responses/bucket.xml",
        "bucket",
        BucketDetails(
            id=BUCKET_ID,
            name="tide-gauges",
            data_policy_id=POLICY_ID,
            user_id=USER_ID,
            created=_CREATED,
            empty=False,
            logical_used_bytes=15728644,
            preferred_chunk_bytes=28500002078,
            protected=False,
        ),
    ),
    Golden(
        "responses/bucket-new.xml",
        "bucket",
        BucketDetails(id=BUCKET_ID, name="tide-gauges", data_policy_id=POLICY_ID, user_id=USER_ID, created=_CREATED),
    ),
    Golden(
        "responses/data-policy.xml",
        "data policy",
        DataPolicy(
            id=POLICY_ID,
            name="two copies",
            checksum_type=ChecksumType.CRC_32C,
            versioning=Versioning.KEEP_MULTIPLE_VERSIONS,
            end_to_end_crc_required=True,
            blobbing_enabled=True,
            default_blob_size=1 << 30,
            max_versions_to_keep=1000,
        ),
    ),
    Golden(
        "responses/data-policies.xml",
        "data policies",
        (
            DataPolicy(
                id="0f3b9a66-77d1-4c2a-a5de-12c48e90bb06",
                name="one copy",
                blobbing_enabled=False,
                max_versions_to_keep=1000,
            ),
        ),
    ),
    Golden(
        "responses/data-policy-old.xml",
        "data policy",
        DataPolicy(id="0f3b9a66-77d1-4c2a-a5de-12c48e90bb07", name="old", checksum_type=ChecksumType("BLAKE_9")),
    ),
    Golden(
        "responses/persistence-rules.xml",
        "persistence rules",
        (
            PersistenceRule(
                id="a0a1a2a3-0000-4000-8000-000000000001",
                data_policy_id=POLICY_ID,
                storage_domain_id="d0d1d2d3-0000-4000-8000-000000000001",
                type="PERMANENT",
                state="NORMAL",
                isolation_level="BUCKET_ISOLATED",
            ),
            PersistenceRule(
                id="a0a1a2a3-0000-4000-8000-000000000002",
                data_policy_id=POLICY_ID,
                storage_domain_id="d0d1d2d3-0000-4000-8000-000000000002",
                type="TEMPORARY",
                state="NORMAL",
                isolation_level="STANDARD",
                minimum_days_to_retain=30,
            ),
        ),
    ),
    Golden("responses/tape.xml", "tape", _TAPE),
    Golden(
        "responses/tape-ejected.xml",
        "tape",
        Tape(
            id="7a9e0000-0000-4000-8000-000000000002",
            bar_code="TG0002L8",
            state=TapeState.EJECTED,
            type="LTO8",
            assigned_to_storage_domain=True,
            storage_domain_member_id="3e3be700-0000-4000-8000-000000000001",
            previous_state=TapeState.NORMAL,
            available_bytes=0,
            total_bytes=12000000000000,
            full=True,
            write_protected=True,
            eject_date=_time("2025-06-01T10:00:00"),
            eject_pending=_time("2025-06-01T09:55:00"),
            eject_label="vault & co",
            eject_location="shelf 4",
        ),
    ),
    Golden("responses/tapes.xml", "tapes", (_TAPE,)),
    Golden(
        "responses/tapes-awkward.xml",
        "tapes",
        (
            Tape(
                id="7a9e0000-0000-4000-8000-000000000003",
                bar_code="TG0003L8",
                state=TapeState.NORMAL,
                type="LTO77",
                previous_state=TapeState("DREAMING"),
                full=True,
                eject_date=_time("2014-05-06T05:08:09.010"),
                last_accessed=_time("2014-05-06T07:08:09.010"),
            ),
        ),
    ),
    Golden(
        "responses/tape-failures.xml",
        "tape failures",
        (TapeFailure(_TAPE, "The tape is in a drive and being written & verified."),),
    ),
    Golden("responses/placement.xml", "placement", Placement(tapes=(_TAPE,), pools=(_POOL,))),
    Golden("responses/placement-empty.xml", "placement", Placement()),
    Golden("responses/placement-targets.xml", "placement", Placement(targets=3)),
    Golden(
        "responses/placement-old.xml",
        "placement",
        Placement(
            tapes=(
                Tape(
                    id="7a9e0000-0000-4000-8000-000000000004",
                    bar_code="TG0004L5",
                    state=TapeState.EJECTED,
                    type="LTO5",
                    eject_date=_time("2014-05-06T07:08:09"),
                ),
            )
        ),
    ),
    Golden(
        "responses/placement-blobs.xml",
        "placed blobs",
        (
            PlacedBlob(
                Blob("2025/readings.bin", 0, 10485760, in_cache=False, version_id=VERSION + "1"),
                Placement(tapes=(_TAPE,)),
                bucket="tide-gauges",
                id="b10b0000-0000-4000-8000-000000000001",
            ),
            PlacedBlob(
                Blob("2025/readings.bin", 10485760, 5242880, in_cache=True, version_id=VERSION + "1"),
                Placement(),
                bucket="tide-gauges",
                id="b10b0000-0000-4000-8000-000000000002",
            ),
        ),
    ),
    Golden(
        "responses/object.xml",
        "object",
        ObjectRecord(
            id=VERSION + "1",
            bucket_id=BUCKET_ID,
            name="2025/readings.bin",
            type="DATA",
            latest=True,
            created=_time("2025-03-04T06:00:01.250"),
        ),
    ),
    Golden(
        "responses/objects.xml",
        "objects",
        (
            ObjectRecord(
                id=VERSION + "1",
                bucket_id=BUCKET_ID,
                name="2025/readings.bin",
                type="DATA",
                latest=True,
                created=_time("2025-03-04T06:00:01.250"),
            ),
            ObjectRecord(id=VERSION + "9", bucket_id=BUCKET_ID, name="2025/stations/", type="FOLDER", latest=False),
        ),
    ),
    Golden(
        "responses/objects-old.xml",
        "objects",
        (
            ObjectRecord(
                id=VERSION + "1",
                bucket_id=BUCKET_ID,
                name="2025/readings.bin",
                type="DATA",
                created=_time("2014-05-06T07:08:09.010"),
            ),
        ),
    ),
    Golden(
        "responses/objects-full.xml",
        "objects",
        (
            ObjectRecord(
                id=VERSION + "1",
                bucket_id=BUCKET_ID,
                name="2025/readings.bin",
                type="DATA",
                latest=True,
                created=_time("2025-03-04T06:00:01.250"),
                size=15728640,
                etag="e4d909c290d0fb1ca068ffaddf22cbd0-2",
                owner="mira",
                blobs_total=2,
                blobs_in_cache=1,
                blobs_being_persisted=1,
                blobs_degraded=0,
            ),
        ),
    ),
    Golden(
        "responses/objects-full-placement.xml",
        "objects",
        (
            ObjectRecord(
                id=VERSION + "4",
                bucket_id=BUCKET_ID,
                name="2025/empty",
                type="DATA",
                latest=True,
                created=_time("2025-03-04T06:00:00"),
                size=0,
                etag="d41d8cd98f00b204e9800998ecf8427e",
                owner="mira",
                blobs_total=1,
                blobs_in_cache=1,
                blobs_being_persisted=0,
                blobs_degraded=0,
                blobs=(
                    PlacedBlob(
                        Blob("2025/empty", 0, 0, in_cache=True, version_id=VERSION + "4"),
                        Placement(tapes=(_TAPE,)),
                        bucket="tide-gauges",
                        id="b10b0000-0000-4000-8000-000000000003",
                    ),
                ),
            ),
        ),
    ),
    Golden(
        "responses/cache-state.xml",
        "cache state",
        (
            CacheFilesystem(
                id="cac4e000-0000-4000-8000-000000000001",
                path="/cache/one/",
                total_bytes=10**12,
                available_bytes=9 * 10**11,
                used_bytes=10**11,
                unavailable_bytes=0,
                locked_bytes=15728643,
                summary="4 blobs in the cache: 100 GB taken, 900 GB free.",
            ),
        ),
    ),
    Golden(
        "responses/cache-state-old.xml",
        "cache state",
        (
            CacheFilesystem(
                id="cac4e000-0000-4000-8000-000000000001",
                path=None,
                total_bytes=10,
                available_bytes=9,
                used_bytes=1,
                unavailable_bytes=0,
            ),
        ),
    ),
    Golden(
        "responses/system-information.xml",
        "system information",
        SystemInformation(
            version="5.8.0",
            api_version="00112233445566778899AABBCCDDEEFF.FFEEDDCCBBAA99887766554433221100",
            serial_number="5003048000000777",
            instance_id="1257a9ce-0000-4000-8000-000000000001",
            backend_activated=True,
            now=_time("2025-03-04T06:00:00.250"),
            revision="3150467",
        ),
    ),
    Golden(
        "responses/system-information-old.xml",
        "system information",
        SystemInformation(version=None, api_version="1.2", serial_number="UNKNOWN"),
    ),
    Golden("responses/system-health.xml", "system health", SystemHealth(3, "NEAR_LOW")),
    Golden("responses/system-health-old.xml", "system health", SystemHealth(0)),
    Golden(
        "responses/error-no-such-bucket.xml",
        "error",
        ErrorDocument(
            "NoSuchBucket", "NoSuchBucket[404]: There is no bucket called 'tide-gages'", 404, "/tide-gages", "4711"
        ),
    ),
    Golden(
        "responses/error-object-exists.xml",
        "error",
        ErrorDocument(
            "OBJECT_ALREADY_EXISTS",
            "OBJECT_ALREADY_EXISTS[409]: 2025/readings.bin is in bucket tide-gauges already",
            409,
            "/_rest_/bucket/tide-gauges",
            "4712",
        ),
    ),
    Golden(
        "responses/error-clock.xml",
        "error",
        ErrorDocument(
            "RequestTimeTooSkewed",
            "RequestTimeTooSkewed[403]: Client clock is not synchronized with server clock.",
            403,
            "/",
            "4713",
        ),
    ),
    Golden(
        "responses/error-tapes-offline.xml",
        "error",
        ErrorDocument(
            "Conflict",
            "Conflict[409]: Tapes must be onlined before the job can be created: [TG0007L8, TG0003L8]",
            409,
            "/_rest_/bucket/tide-gauges",
            "4714",
        ),
    ),
    Golden("responses/error-old.xml", "error", ErrorDocument("NoSuchKey", "no such key", None, None, "af31")),
    Golden("responses/error-awkward.xml", "error", ErrorDocument(None, "Something\n went wrong", None, None, None)),
)
