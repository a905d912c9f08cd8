"""Copies that could not be read as they were written: which objects, blobs and tapes they are of."""

from __future__ import annotations

from ds3tool.simulator.buckets import Bucket
from ds3tool.simulator.dispatch import Call, rest
from ds3tool.simulator.documents import data_list, object_fields, placement
from ds3tool.simulator.handlers.placement import blob_attributes
from ds3tool.simulator.ids import IdFamily
from ds3tool.simulator.messages import Reply
from ds3tool.simulator.paging import page
from ds3tool.simulator.xmlout import Xml, bean, element

# A copy's id is made of two row numbers.
_TAPES_AT_MOST = 1 << 20


def _bucket(call: Call) -> Bucket | None:
    return call.machine.buckets.find(call.needed("bucket_id")) if call.has("bucket_id") else None


@rest("GetSuspectObjects")
def get_suspect_objects(call: Call) -> Reply:
    """List the objects of which a copy could not be read."""
    machine = call.machine
    with machine.store.lock:
        bucket = _bucket(call)
        condition = (
            "n IN (SELECT b.object FROM copies c JOIN blobs b ON b.n = c.blob WHERE c.suspect = 1) "
            "AND (?1 IS NULL OR bucket = ?1) ORDER BY name, n DESC"
        )
        found = list(machine.objects.select(condition, (None if bucket is None else bucket.n,)))
        chosen, headers = page(call, found, lambda each: machine.objects.ids.of(each.n))
        items = [
            bean("S3Object", object_fields(machine, each, machine.buckets.numbered(each.bucket).id)) for each in chosen
        ]
    return data_list(items, headers)


@rest("GetSuspectObjectsWithFullDetails")
def get_suspect_blobs(call: Call) -> Reply:
    """List the blobs of which a copy could not be read, each with the tapes that hold such a copy; without pages."""
    machine = call.machine
    items: list[Xml] = []
    with machine.store.lock:
        bucket = _bucket(call)
        domain = (
            machine.beans.find("StorageDomain", call.needed("storage_domain")) if call.has("storage_domain") else {}
        )
        rows = machine.store.db.execute(
            "SELECT b.n, b.object, b.offset, b.length, b.cached, group_concat(c.tape) FROM copies c "
            "JOIN blobs b ON b.n = c.blob JOIN objects o ON o.n = b.object WHERE c.suspect = 1 "
            "AND (?1 IS NULL OR o.bucket = ?1) AND (?2 IS NULL OR c.domain = ?2) "
            "GROUP BY b.n ORDER BY o.name, b.offset",
            (None if bucket is None else bucket.n, domain.get("Id")),
        ).fetchall()
        for blob, number, offset, length, cached, tapes in rows:
            version = next(machine.objects.select("n = ?", (number,)))
            name = machine.buckets.numbered(version.bucket).name
            attributes = blob_attributes(machine, name, version, blob, offset, length, in_cache=bool(cached))
            held = [machine.library.tapes[int(tape)] for tape in tapes.split(",")]
            items.append(Xml(f"<Object{attributes}>{element('PhysicalPlacement', placement(held))}</Object>"))
    return data_list(items)


@rest("GetSuspectBlobTapes")
def get_suspect_blob_tapes(call: Call) -> Reply:
    """List the copies on tape that could not be read."""
    machine = call.machine
    ids = IdFamily(machine.instance_id, "copy")
    with machine.store.lock:
        tape_id = machine.library.find(call.needed("tape_id")).n if call.has("tape_id") else None
        blob_id = machine.blob_ids.number(call.needed("blob_id")) if call.has("blob_id") else None
        rows = machine.store.db.execute(
            "SELECT blob, tape, position FROM copies WHERE suspect = 1 AND (?1 IS NULL OR tape = ?1) "
            "AND (?2 IS NULL OR blob = ?2) ORDER BY tape, position",
            (tape_id, blob_id),
        ).fetchall()
        found = [
            {
                "BlobId": machine.blob_ids.of(blob),
                "Id": ids.of(blob * _TAPES_AT_MOST + tape),
                "OrderIndex": position,
                "TapeId": machine.library.tapes[tape].id,
            }
            for blob, tape, position in rows
        ]
        chosen, headers = page(call, found, lambda each: str(each["Id"]))
    return data_list([bean("SuspectBlobTape", each) for each in chosen], headers)
