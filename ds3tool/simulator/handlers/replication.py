"""What appliances ask one another: to take over a put job, whether blobs are persisted, to count a blob as received."""

from __future__ import annotations

import json

from ds3tool.protocol.model import JobType
from ds3tool.simulator.dispatch import Call, rest, s3
from ds3tool.simulator.documents import Spool, master_object_list
from ds3tool.simulator.handlers.jobs import job_options
from ds3tool.simulator.jobs.plans import metadata_text
from ds3tool.simulator.jobs.receiving import Upload
from ds3tool.simulator.jobs.replication import MOST_TEXT
from ds3tool.simulator.wire import checksums
from ds3tool.simulator.wire.messages import Reply
from ds3tool.simulator.wire.refusals import bad_request, not_found
from ds3tool.simulator.wire.targets import check_name

_TEXT = "application/json"


@rest("GetJobToReplicate")
def get_job_to_replicate(call: Call) -> Reply:
    """Tell of a put job as another appliance would have to be told."""
    machine = call.machine
    with machine.store.lock:
        job = machine.jobs.find_active(call.identifier)
    spool = Spool(machine.directory)
    for piece in machine.replication.text(job):
        spool.add(piece)
    reply = spool.reply()
    reply.content_type = _TEXT
    return reply


@rest("ReplicatePutJob")
def replicate_put(call: Call) -> Reply:
    """Make the put job that another appliance tells of; 204 when all of it is here."""
    machine = call.machine
    bucket = machine.buckets.find(call.identifier)
    text = call.request.body.read(MOST_TEXT)
    with machine.store.lock:
        rules = machine.buckets.rules(bucket)
        if not rules.always_force:
            machine.safety.check(bucket, rules)
    job = machine.replication.create(bucket, text, job_options(call, JobType.PUT))
    return Reply(204) if job is None else master_object_list(machine, job, None)


@rest("GetBlobPersistence")
def get_blob_persistence(call: Call) -> Reply:
    """Tell whether blobs are here: `{"blobIds": [...], "jobId": "..."}` is asked, both in the body, both optional.

    Answered is `{"blobs": [...], "jobExists": ...}`: each known blob with its id, checksum, and whether it is in the
    cache, on tape in any copy, and on every tape that its data policy demands. The form is this appliance's own.
    """
    machine = call.machine
    try:
        asked = json.loads(call.request.body.read(MOST_TEXT))
        wanted = [str(each) for each in asked.get("blobIds", [])]
        job_id = asked.get("jobId")
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise bad_request("The request body is not JSON text that asks for blobs.") from None
    blobs: list[dict[str, object]] = []
    for each in wanted:
        with machine.store.lock:
            row = machine.store.db.execute(
                "SELECT checksum_type, checksum, cached, persisted, "
                "EXISTS (SELECT 1 FROM copies c WHERE c.blob = b.n AND c.suspect = 0) FROM blobs b WHERE n = ?",
                (machine.blob_ids.number(each),),
            ).fetchone()
        if row is not None:
            kind, digest, cached, persisted, on_tape = row
            blobs.append(
                {
                    "checksum": None if digest is None else checksums.to_text(bytes(digest)),
                    "checksumType": kind,
                    "id": each.lower(),
                    "inCache": bool(cached),
                    "onTape": bool(on_tape),
                    "persisted": bool(persisted),
                }
            )
    number = machine.jobs.ids.number(str(job_id)) if job_id else None
    answer = {"blobs": blobs, "jobExists": number in machine.jobs.active}
    return Reply(200, (), json.dumps(answer, separators=(",", ":")).encode(), _TEXT)


@s3("CompleteBlob")
def complete_blob(call: Call) -> Reply:
    """Count a blob as received whose bytes came into the cache by another way than a PUT."""
    machine = call.machine
    blob = machine.blob_ids.number(call.needed("blob"))
    if blob is None:
        raise not_found("Blob", call.needed("blob"))
    upload = Upload(
        bucket=machine.buckets.named(call.bucket),
        name=check_name(call.name),
        digest=checksums.from_headers(call.request.headers),
        metadata=metadata_text(call.request.pairs),
        body=call.request.body,
        user_id=str(call.user["Id"]),
        client=call.request.client,
    )
    kind, digest = machine.transfers.complete_blob(upload, call.needed("job"), blob, call.number("size"))
    return Reply(200, ((checksums.HEADERS[kind], checksums.to_text(digest)),))
