"""Copies that could not be read as they were written: which objects, blobs and tapes they are of, and what to do.

An operator who trusts a copy after all clears it; one who does not marks it as degraded, and it is made anew from
another one. Without `force`, which means all of them, a body names the records; an id of none is a 404, one of a copy
that is not suspect a 409. There are no pools and no targets here, so nothing is ever suspect on one.
"""

from __future__ import annotations

from ds3tool.simulator.buckets import Bucket
from ds3tool.simulator.dispatch import Call, rest
from ds3tool.simulator.documents import data_list, object_fields, placement
from ds3tool.simulator.events import BlobLost
from ds3tool.simulator.handlers.buckets import bucket_list
from ds3tool.simulator.handlers.placement import blob_attributes
from ds3tool.simulator.ids import IdFamily
from ds3tool.simulator.machine import Machine
from ds3tool.simulator.records import engine as records
from ds3tool.simulator.records.paging import headers, page, window
from ds3tool.simulator.wire import xmlin
from ds3tool.simulator.wire.messages import Reply
from ds3tool.simulator.wire.refusals import bad_request, conflict, not_found
from ds3tool.simulator.wire.xmlout import Xml, bean, element

# A copy's id is made of two row numbers.
_TAPES_AT_MOST = 1 << 20
_SUSPECT_OBJECTS = (
    "n IN (SELECT b.object FROM copies c JOIN blobs b ON b.n = c.blob WHERE c.suspect = 1) "
    "AND (?1 IS NULL OR bucket = ?1)"
)

_SOMEWHERE = "SELECT 1 FROM blobs b WHERE n = ? AND (cached = 1 OR EXISTS (SELECT 1 FROM copies WHERE blob = b.n))"


def _bucket(call: Call) -> Bucket | None:
    return call.machine.buckets.find(call.needed("bucket_id")) if call.has("bucket_id") else None


# Objects and buckets.


@rest("GetSuspectObjects")
def get_suspect_objects(call: Call) -> Reply:
    """List the objects of which a copy could not be read."""
    machine = call.machine
    with machine.store.lock:
        bucket = _bucket(call)
        condition = _SUSPECT_OBJECTS + " ORDER BY name, n DESC"
        found = list(machine.objects.select(condition, (None if bucket is None else bucket.n,)))
        chosen, paging = page(call, found, lambda each: machine.objects.ids.of(each.n))
        items = [
            bean("S3Object", object_fields(machine, each, machine.buckets.numbered(each.bucket).id)) for each in chosen
        ]
    return data_list(items, paging)


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


@rest("GetSuspectBuckets")
def get_suspect_buckets(call: Call) -> Reply:
    """List the buckets with objects of which a copy could not be read."""
    machine = call.machine
    return bucket_list(call, lambda bucket: machine.objects.count(f"{_SUSPECT_OBJECTS} LIMIT 1", (bucket.n,)) > 0)


# Copies on tape.


def _ids(machine: Machine) -> IdFamily:
    return IdFamily(machine.instance_id, "copy")


@rest("GetSuspectBlobTapes")
def get_suspect_blob_tapes(call: Call) -> Reply:
    """List the copies on tape that could not be read."""
    machine, db = call.machine, call.machine.store.db
    condition = "FROM copies WHERE suspect = 1 AND (?1 IS NULL OR tape = ?1) AND (?2 IS NULL OR blob = ?2)"
    with machine.store.lock:
        tape_id = machine.library.find(call.needed("tape_id")).n if call.has("tape_id") else None
        blob_id = (machine.blob_ids.number(call.needed("blob_id")) or 0) if call.has("blob_id") else None
        (total,) = db.execute(f"SELECT count(*) {condition}", (tape_id, blob_id)).fetchone()

        def position_of(marker: str) -> int | None:
            rows = db.execute(f"SELECT blob, tape {condition} ORDER BY tape, position, blob", (tape_id, blob_id))
            number = _ids(machine).number(marker)
            return next((place for place, row in enumerate(rows) if row[0] * _TAPES_AT_MOST + row[1] == number), None)

        start, end = window(call, total, position_of)
        rows = db.execute(
            f"SELECT blob, tape, position {condition} ORDER BY tape, position, blob LIMIT ?3 OFFSET ?4",
            (tape_id, blob_id, end - start, start),
        )
        found = [
            {
                "BlobId": machine.blob_ids.of(blob),
                "Id": _ids(machine).of(blob * _TAPES_AT_MOST + tape),
                "OrderIndex": position,
                "TapeId": machine.library.tapes[tape].id,
            }
            for blob, tape, position in rows
        ]
    return data_list([bean("SuspectBlobTape", each) for each in found], headers(total, end))


def _named(call: Call) -> tuple[str, ...] | None:
    """Return the ids that a call's body names, None for all of them; a 400 when it says neither."""
    if call.has("force"):
        return None
    ids = xmlin.read_ids(call.request.body.pieces()) if call.request.body.length else ()
    if not ids:
        raise bad_request("The request names no record; force would mean all of them.")
    return ids


def _copies(call: Call, ids: tuple[str, ...] | None) -> list[tuple[int, int]]:
    """Return the suspect copies that are meant, as rows of blob and tape. With the lock held."""
    machine, db = call.machine, call.machine.store.db
    if ids is None:
        return db.execute("SELECT blob, tape FROM copies WHERE suspect = 1").fetchall()
    found: list[tuple[int, int]] = []
    for text in ids:
        blob, tape = divmod(_ids(machine).number(text.strip()) or 0, _TAPES_AT_MOST)
        row = db.execute("SELECT suspect FROM copies WHERE blob = ? AND tape = ?", (blob, tape)).fetchone()
        if row is None:
            raise not_found("SuspectBlobTape", text)
        if not row[0]:
            raise conflict(f"Conflict[409]: The copy '{text}' is not suspect.")
        found.append((blob, tape))
    return found


@rest("ClearSuspectBlobTapes")
def clear_suspect_tapes(call: Call) -> Reply:
    """Trust copies again."""
    ids = _named(call)
    with call.machine.store.writing() as db:
        for row in _copies(call, ids):
            db.execute("UPDATE copies SET suspect = 0 WHERE blob = ? AND tape = ?", row)
        call.machine.store.after_commit(call.machine.drives.reconsider)
    return Reply(204)


@rest("MarkSuspectBlobTapesAsDegraded")
def mark_suspect_tapes(call: Call) -> Reply:
    """Give copies up: what they were of is degraded until another copy has been made of a good one."""
    ids = _named(call)
    machine = call.machine
    with machine.store.writing() as db:
        for blob, tape in _copies(call, ids):
            db.execute("DELETE FROM copies WHERE blob = ? AND tape = ?", (blob, tape))
            if db.execute(_SOMEWHERE, (blob,)).fetchone() is None:
                machine.store.events.tell(BlobLost(blob))
        machine.rebuild.need()
    return Reply(204)


# Pools and targets.


def _nothing(kind: str) -> None:
    """Register list, clearing and marking of copies in places of which the appliance has none."""

    def change(call: Call) -> Reply:
        for text in _named(call) or ():
            raise not_found(f"SuspectBlob{kind}", text)
        return Reply(204)

    rest(f"GetSuspectBlob{kind}s")(records.listing)
    rest(f"ClearSuspectBlob{kind}s")(change)
    rest(f"MarkSuspectBlob{kind}sAsDegraded")(change)


for _kind in ("Pool", "Ds3Target", "AzureTarget", "S3Target"):
    _nothing(_kind)
