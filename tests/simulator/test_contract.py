"""Every operation of the contract: asked as the contract says, answered with a status and type that it declares."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from ds3tool.simulator import Appliance, ApplianceSettings
from ds3tool.simulator.contract import Operation, Parameter, Property, kind, operation, operations, words
from ds3tool.simulator.dispatch import served
from ds3tool.simulator.parameters import property_of
from ds3tool.simulator.records import kind_of
from tests.simulator.shapes import check_answer
from tests.simulator.stage import Ask, Stage
from tests.simulator.wire import Answer, Wire

ROWS = list(operations().values())
Case = Callable[[Stage], Ask]
CASES: dict[str, Case] = {}
UNKNOWN = "00000000-0000-4000-8000-000000000000"


def _title(row: Operation) -> str:
    return f"{row.style}-{row.name}"


def _start() -> tuple[Stage, Appliance]:
    settings = ApplianceSettings(
        persist_delay=0.0,
        hold=0.0,
        retry_after=0,
        seed=7,
        blob_size=1000,
        chunk_size=3000,
        robot_delay=3600.0,
        tapes=60,
    )
    appliance = Appliance(settings).start()
    stage = Stage(appliance, Wire(appliance.endpoint, appliance.access_key, appliance.secret_key))
    assert stage.wire.ask("PUT", "/b").status == 200
    return stage, appliance


def _end(stage: Stage, appliance: Appliance) -> None:
    stage.wire.close()
    appliance.close()


@pytest.fixture(scope="module")
def shared() -> Iterator[Stage]:
    """The appliance of all operations that leave the others' subjects alone."""
    stage, appliance = _start()
    yield stage
    _end(stage, appliance)


@pytest.fixture
def stage(request: pytest.FixtureRequest, row: Operation) -> Iterator[Stage]:
    """The shared appliance, or one for the test alone that ends all jobs, moves all tapes or stops drives."""
    if row.verb != "GET" and (row.resource in _FEW or (row.resource in _WHOLE and not row.one)):
        own, appliance = _start()
        yield own
        _end(own, appliance)
    else:
        yield request.getfixturevalue("shared")


# What there are few of, and what operations without an id are about all of.
_FEW = ("tape_density_directive", "tape_drive", "tape_partition")
_WHOLE = ("active_job", "canceled_job", "completed_job", "data_path_backend", "job", "tape")


# What the rows need to be there.


def case(*names: str) -> Callable[[Case], Case]:
    """Register what an operation is asked about, where an instance of its type is not enough."""

    def register(made: Case) -> Case:
        for name in names:
            operation(*name.split())
            CASES[name] = made
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


def _objects(*names: str, size: int | None = None) -> bytes:
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
def _deleted_objects(stage: Stage) -> Ask:
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
    return Ask("b", body=_objects(stage.fresh_name(), size=1))


@case("rest CreateGetJob", "rest CreateVerifyJob")
@case("rest GetPhysicalPlacementForObjects", "rest GetPhysicalPlacementForObjectsWithFullDetails")
@case("rest VerifyPhysicalPlacementForObjects", "rest VerifyPhysicalPlacementForObjectsWithFullDetails")
def _read_job(stage: Stage) -> Ask:
    return Ask("b", body=_objects(stage.stored()))


@case("rest StageObjectsJob")
def _on_tape(stage: Stage) -> Ask:
    given = _read_job(stage)
    assert stage.wire.ask("PUT", "/_rest_/cache_filesystem?reclaim").status == 204
    return given


@case("rest EjectStorageDomainBlobs")
def _ejected_blobs(stage: Stage) -> Ask:
    return Ask(parameters={"bucket_id": "b"}, body=_objects(stage.stored()))


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


# Asking.


def _given(stage: Stage, row: Operation) -> Ask:
    made = CASES.get(f"{row.style} {row.name}")
    return _default(stage, row) if made is None else made(stage)


def _told(row: Operation, answer: Answer) -> str:
    return f"{row.name} ended in {answer.status}: {answer.body.decode()[:300]}"


def _check(row: Operation, answer: Answer) -> None:
    assert answer.status in {status for status in row.answers if status < 300}, _told(row, answer)
    check_answer(answer, row.answers[answer.status])
    if row.paged:
        assert int(answer.headers["total-result-count"]) >= int(answer.headers["page-truncated"]) >= 0


@pytest.mark.parametrize("row", ROWS, ids=_title)
def test_every_operation_answers_as_declared(stage: Stage, row: Operation) -> None:
    """With what it requires, and with all that it allows, an operation has a status and a document of the contract."""
    _check(row, stage.ask(row, _given(stage, row)))
    if row.action in ("CREATE", "LIST", "MODIFY") and any(not each.required for each in row.parameters):
        _check(row, stage.ask(row, _given(stage, row), optional=True))


def test_every_operation_has_a_handler() -> None:
    """Nothing of the contract is left without an answer."""
    assert {(each.operation.style, each.name) for each in served()} == set(operations())


_FILTERED = [row for row in ROWS if row.action == "LIST" and row.paged and row.own_parameters]


@pytest.mark.parametrize("row", _FILTERED, ids=_title)
def test_filters_choose_from_the_list(shared: Stage, row: Operation) -> None:
    """Words and truths share out what is listed; texts, dates and ids that nothing has find none."""
    given = _given(shared, row)
    whole = shared.total(row, given)
    for parameter in row.own_parameters:
        shared_out = words(parameter.type) or (("true", "false") if parameter.type == "boolean" else ())
        if shared_out:
            parts = [shared.total(row, given, **{parameter.name: word}) for word in shared_out]
            empty = shared.total(row, given, **{parameter.name: ""}) if _nullable(row, parameter) else 0
            assert sum(parts) + empty == whole, (parameter.name, parts, empty, whole)
        elif parameter.type in ("String", "Date", "UUID") and parameter.name != "sort_by":
            nothing = {"String": "nothing", "Date": "2001-01-01T00:00:00.000Z", "UUID": UNKNOWN}[parameter.type]
            assert shared.total(row, given, **{parameter.name: nothing}) == 0, parameter.name


@pytest.mark.parametrize("row", [row for row in ROWS if row.action == "LIST" and row.paged], ids=_title)
def test_lists_are_in_the_order_of_their_type(shared: Stage, row: Operation) -> None:
    """What a type is sorted by sorts its lists, ascending or descending, words by the order of their enumeration."""
    for _ in range(2):
        given = _given(shared, row)
    order = kind((row.success[1] or "").rstrip("*")).order
    listed = [[_key(each.findtext(by.tag) or "", by) for by in order] for each in shared.ask(row, given).xml]
    expected = listed
    for place in reversed(range(len(order))):
        _, descending = order[place].sort or (0, False)
        expected = sorted(expected, key=lambda keys: keys[place], reverse=descending)
    assert listed == expected


def _key(text: str, by: Property) -> tuple[bool, int, str]:
    allowed = words(by.type)
    number = allowed.index(text) if allowed and text else int(text) if by.type.lower() in ("int", "long") else 0
    return not text, number, text


def _nullable(row: Operation, parameter: Parameter) -> bool:
    about = kind_of(row)
    speaks_of = property_of(about, parameter.name) if about is not None else None
    return speaks_of is not None and speaks_of.nullable


def test_an_unknown_id_is_not_found(shared: Stage) -> None:
    """Whatever is asked of something that is not there ends in a 404 and an Error document."""
    for row in ROWS:
        if row.one:
            body = _objects("a", size=1) if row.resource == "bucket" else b""
            answer = shared.ask(row, Ask(UNKNOWN, body=body))
            assert answer.status == 404, _told(row, answer)
            check_answer(answer, "Error")
            assert answer.xml.findtext("HttpErrorCode") == "404"


def test_a_word_that_an_enumeration_does_not_have_is_refused(shared: Stage) -> None:
    """Every parameter that takes one of several words ends in a 400 for another one."""
    for (style, _), row in operations().items():
        for parameter in row.parameters if style == "rest" else ():
            if words(parameter.type) is not None:
                plain = {each.name: shared.plain(each) for each in row.parameters if each.required and not each.void}
                answer = shared.ask(row, Ask(UNKNOWN, parameters={**plain, parameter.name: "NONSENSE"}))
                assert answer.status == 400, f"{parameter.name}: {_told(row, answer)}"


def test_verbs_that_a_resource_has_no_operation_for_are_not_allowed(shared: Stage) -> None:
    """Each resource ends in a 405 for them, with and without an id; an operation that none has ends in a 400."""
    rows = [row for row in operations().values() if row.style == "rest"]
    for resource in {row.resource for row in rows}:
        for one in (False, True):
            verbs = {row.verb for row in rows if (row.resource, row.one) == (resource, one)}
            path = f"/_rest_/{resource}" + (f"/{UNKNOWN}" if one else "")
            for verb in {"GET", "PUT", "POST", "DELETE"} - verbs:
                assert shared.wire.ask(verb, path).status == 405, (verb, path)
            if verbs:
                assert shared.wire.ask(min(verbs), f"{path}?operation=explode").status == 400, path
