"""What the operations of the contract are asked about, where an instance of the type that they answer is not enough."""

from __future__ import annotations

from collections.abc import Callable

from ds3tool.simulator.contract import Operation, operation
from ds3tool.simulator.records.engine import kind_of
from tests.simulator.stage import Ask, Stage

Case = Callable[[Stage], Ask]
_CASES: dict[str, Case] = {}


def case(*names: str) -> Callable[[Case], Case]:
    """Register what an operation is asked about, where an instance of its type is not enough."""

    def register(made: Case) -> Case:
        for name in names:
            operation(*name.split())
            _CASES[name] = made
        return made

    return register


def _default(stage: Stage, row: Operation) -> Ask:
    about = kind_of(row)
    if row.style == "s3" or about is None:
        return Ask()
    if row.one:
        return Ask(stage.instance(about.name))
    if row.action == "LIST" and about.name not in _FOUND:
        stage.instance(about.name)
    return Ask()


# Types of which the appliance finds the instances by itself, in what it stores.
_FOUND = (
    *("BlobStoreTasksInformation", "BlobsContainer", "Bucket", "BucketHistoryEvent", "CacheInformation"),
    *("CanceledJob", "CapacitySummaryContainer", "CompletedJob", "DetailedS3Object", "HealthVerificationResult"),
    *("Job", "JobWithChunks", "ListedJobs", "NamedDetailedTapePartition", "S3Object", "SystemInformation", "Tape"),
)


def objects(*names: str, size: int | None = None) -> bytes:
    length = "" if size is None else f' Size="{size}"'
    entries = "".join(f'<Object Name="{name}"{length}/>' for name in names)
    return f"<Objects>{entries}</Objects>".encode()


@case("s3 PutBucket")
def _new_bucket(stage: Stage) -> Ask:
    return Ask(bucket=stage.fresh_name())


@case("s3 DeleteBucket")
def _old_bucket(stage: Stage) -> Ask:
    return Ask(bucket=stage.machine.buckets.find(stage.bucket()).name)


@case("s3 PutObject")
def _new_object(stage: Stage) -> Ask:
    return Ask(name=stage.fresh_name(), body=b"x")


@case("s3 GetObject", "s3 HeadObject", "s3 DeleteObject")
def _stored_object(stage: Stage) -> Ask:
    return Ask(name=stage.stored())


@case("s3 GetBucket")
def _listed_bucket(stage: Stage) -> Ask:
    stage.stored()
    return Ask()


@case("s3 DeleteObjects")
def _deletedobjects(stage: Stage) -> Ask:
    keys = "".join(f"<Object><Key>{name}</Key></Object>" for name in (stage.stored(), "none"))
    return Ask(body=f"<Delete>{keys}</Delete>".encode())


def _upload(stage: Stage) -> tuple[str, str]:
    name = stage.fresh_name()
    answer = stage.wire.ask("POST", f"/b/{name}?uploads")
    return name, answer.xml.findtext("UploadId") or ""


@case("s3 InitiateMultiPartUpload")
def _new_upload(stage: Stage) -> Ask:
    return Ask(name=stage.fresh_name())


@case("s3 ListMultiPartUploads")
def _listed_uploads(stage: Stage) -> Ask:
    _upload(stage)
    return Ask()


@case("s3 AbortMultiPartUpload")
def _aborted_upload(stage: Stage) -> Ask:
    name, upload = _upload(stage)
    return Ask(name=name, parameters={"upload_id": upload})


@case("s3 CreateMultiPartUploadPart")
def _new_part(stage: Stage) -> Ask:
    name, upload = _upload(stage)
    return Ask(name=name, parameters={"upload_id": upload, "part_number": "1"}, body=b"x")


def _part(stage: Stage) -> tuple[str, str, str]:
    given = _new_part(stage)
    answer = stage.ask(operation("s3", "CreateMultiPartUploadPart"), given)
    return given.name, given.parameters["upload_id"], answer.headers["etag"].strip('"')


@case("s3 ListMultiPartUploadParts")
def _listed_parts(stage: Stage) -> Ask:
    name, upload, _ = _part(stage)
    return Ask(name=name, parameters={"upload_id": upload})


@case("s3 CompleteMultiPartUpload")
def _completed_upload(stage: Stage) -> Ask:
    name, upload, etag = _part(stage)
    part = f"<Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>"
    body = f"<CompleteMultipartUpload>{part}</CompleteMultipartUpload>".encode()
    return Ask(name=name, parameters={"upload_id": upload}, body=body)


@case("s3 CompleteBlob")
def _completed_blob(stage: Stage) -> Ask:
    name = stage.fresh_name()
    job = stage.wire.start_put("b", {name: 0}).xml
    blob = next(job.iter("Object")).attrib["Id"]
    return Ask(name=name, parameters={"blob": blob, "job": job.attrib["JobId"]})


@case("rest GetBucket", "rest ModifyBucket", "rest DeleteBucket")
def _bucket(stage: Stage) -> Ask:
    return Ask(stage.bucket())


@case("rest CreatePutJob", "rest VerifySafeToCreatePutJob")
def _put_job(stage: Stage) -> Ask:
    return Ask("b", body=objects(stage.fresh_name(), size=1))


@case("rest CreateGetJob", "rest CreateVerifyJob")
@case("rest GetPhysicalPlacementForObjects", "rest GetPhysicalPlacementForObjectsWithFullDetails")
@case("rest VerifyPhysicalPlacementForObjects", "rest VerifyPhysicalPlacementForObjectsWithFullDetails")
def _read_job(stage: Stage) -> Ask:
    return Ask("b", body=objects(stage.stored()))


@case("rest StageObjectsJob")
def _on_tape(stage: Stage) -> Ask:
    given = _read_job(stage)
    assert stage.wire.ask("PUT", "/_rest_/cache_filesystem?reclaim").status == 204
    return given


@case("rest EjectStorageDomainBlobs")
def _ejected_blobs(stage: Stage) -> Ask:
    return Ask(parameters={"bucket_id": "b"}, body=objects(stage.stored()))


@case("rest GetObject")
def _object(stage: Stage) -> Ask:
    return Ask(stage.stored(), parameters={"bucket_id": "b"})


@case("rest UndeleteObject")
def _deleted_object(stage: Stage) -> Ask:
    return Ask(parameters={"bucket_id": "b", "name": stage.version[0]})


@case("rest DeleteFolderRecursively")
def _folder(stage: Stage) -> Ask:
    stage.wire.put_all("b", {"f/x": b"x"})
    return Ask("f", parameters={"bucket_id": "b"})


@case("rest GetActiveJob", "rest ModifyActiveJob", "rest TruncateActiveJob", "rest CancelActiveJob")
@case("rest GetJob", "rest ModifyJob", "rest TruncateJob", "rest CancelJob", "rest GetJobToReplicate")
def _job(stage: Stage) -> Ask:
    return Ask(stage.instance("Job"))


@case("rest GetActiveJobs", "rest GetJobs")
def _jobs(stage: Stage) -> Ask:
    stage.instance("Job")
    return Ask()


@case("rest GetCanceledJob", "rest GetCanceledJobs")
def _canceled_job(stage: Stage) -> Ask:
    job = stage.instance("Job")
    assert stage.wire.ask("DELETE", f"/_rest_/job/{job}?force").status == 204
    return Ask(job)


@case("rest GetCompletedJob", "rest GetCompletedJobs")
def _completed_job(stage: Stage) -> Ask:
    stage.stored()
    return Ask(stage.wire.ask("GET", "/_rest_/completed_job").xml[0].findtext("Id") or "")


@case("rest CloseAggregatingJob")
def _aggregating_job(stage: Stage) -> Ask:
    return Ask(stage.wire.start_put("b", {stage.fresh_name(): 1}, "&aggregating=true").xml.attrib["JobId"])


@case("rest AllocateJobChunk", "rest GetJobChunk", "rest GetJobChunkDao")
def _chunk(stage: Stage) -> Ask:
    job = stage.wire.start_put("b", {stage.fresh_name(): 1}).xml
    return Ask(next(job.iter("Objects")).attrib["ChunkId"])


def _all_suspects(_: Stage) -> Ask:
    return Ask(parameters={"force": ""})


for _name in ("AzureTargets", "Ds3Targets", "Pools", "S3Targets", "Tapes"):
    case(f"rest ClearSuspectBlob{_name}", f"rest MarkSuspectBlob{_name}AsDegraded")(_all_suspects)


@case("rest GetBlobPersistence")
def _asked_blobs(stage: Stage) -> Ask:
    return Ask(body=f'{{"blobIds": ["{stage.blob}"]}}'.encode())


@case("rest ReplicatePutJob")
def _replicated_job(stage: Stage) -> Ask:
    job = stage.instance("Job")
    told = stage.wire.ask("GET", f"/_rest_/job/{job}?replicate").body
    assert stage.wire.ask("DELETE", f"/_rest_/job/{job}?force").status == 204
    return Ask("b", body=told)


# Pools.


def _pool(**values: object) -> Case:
    return lambda stage: Ask(stage.record("Pool", **values))


case("rest CompactPool", "rest CancelVerifyPool", "rest VerifyPool")(_pool(State="NORMAL"))
case("rest ModifyPool", "rest GetBlobsOnPool")(_pool(State="NORMAL", UsedCapacity=0))
case("rest ImportPool", "rest FormatForeignPool")(_pool(State="FOREIGN"))
case("rest CancelImportPool")(_pool(State="IMPORT_PENDING"))
case("rest DeletePermanentlyLostPool")(_pool(State="LOST"))
case("rest DeallocatePool")(_pool(State="NORMAL", UsedCapacity=0))


@case("rest GetBlobsOnAzureTarget")
def _azure(stage: Stage) -> Ask:
    return Ask(stage.instance("AzureTarget"))


@case("rest GetBlobsOnS3Target")
def _cloud(stage: Stage) -> Ask:
    return Ask(stage.instance("S3Target"))


@case("rest GetBlobsOnDs3Target", "rest GetDs3TargetDataPolicies")
def _other_appliance(stage: Stage) -> Ask:
    return Ask(stage.instance("Ds3Target"))


# Tapes, drives, partitions.


def _tape(state: str, **values: object) -> Case:
    return lambda stage: Ask(stage.change_tape(state, **values))


case("rest GetTape", "rest EjectTape", "rest InspectTape", "rest VerifyTape", "rest ModifyTape")(_tape("NORMAL"))
case("rest GetBlobsOnTape", "rest FormatTape")(_tape("NORMAL"))
case("rest OnlineTape")(_tape("OFFLINE"))
case("rest DeletePermanentlyLostTape")(_tape("LOST"))
case("rest CancelFormatTape")(_tape("FORMAT_PENDING"))
case("rest CancelImportTape")(_tape("IMPORT_PENDING"))
case("rest CancelVerifyTape")(_tape("NORMAL", verify_pending="LOW"))
case("rest ImportTape")(_tape("FOREIGN"))
case("rest RawImportTape")(_tape("LTFS_WITH_FOREIGN_DATA"))


@case("rest CancelEjectTape")
def _ejecting(stage: Stage) -> Ask:
    tape = stage.tape()
    assert stage.wire.ask("PUT", f"/_rest_/tape/{tape}?operation=eject").status == 200
    return Ask(tape)


@case("rest CancelOnlineTape")
def _onlining(stage: Stage) -> Ask:
    tape = stage.change_tape("OFFLINE")
    assert stage.wire.ask("PUT", f"/_rest_/tape/{tape}?operation=online").status == 200
    return Ask(tape)


@case("rest MarkTapeForCompaction")
def _wasteful_tape(stage: Stage) -> Ask:
    domain = str(stage.machine.beans.all("StorageDomain")[0]["Id"])
    return Ask(stage.change_tape("NORMAL", domain_id=domain, written=100))


@case("rest TestTapeDrive")
def _test_tape(stage: Stage) -> Ask:
    stage.change_tape("NORMAL", role="TEST")
    return Ask(stage.instance("TapeDrive"))


@case("rest CancelTestTapeDrive")
def _drive_in_test(stage: Stage) -> Ask:
    assert stage.wire.ask("PUT", "/_rest_/tape_partition?quiesced=PENDING").status == 204
    given = _test_tape(stage)
    assert stage.wire.ask("PUT", f"/_rest_/tape_drive/{given.identifier}?operation=test").status == 200
    return given


@case("rest DeleteTapeDrive")
def _missing_drive(stage: Stage) -> Ask:
    drive = stage.instance("TapeDrive")
    stage.machine.beans.update("TapeDrive", drive, {"State": "OFFLINE"})
    return Ask(drive)


@case("rest GetTapePartitionWithFullDetails")
def _partition(stage: Stage) -> Ask:
    return Ask(stage.instance("TapePartition"))


@case("rest DeleteTapePartition")
def _empty_partition(stage: Stage) -> Ask:
    return Ask(stage.record("TapePartition"))


def given(stage: Stage, row: Operation) -> Ask:
    """Let there be what an operation is about, and return how it is asked."""
    made = _CASES.get(f"{row.style} {row.name}")
    return _default(stage, row) if made is None else made(stage)
