"""Where objects are: physical placement of names, and what a tape holds."""

from __future__ import annotations

from ds3tool.protocol import names
from ds3tool.simulator.dispatch import Call, rest
from ds3tool.simulator.documents import Spool, data_list, placement
from ds3tool.simulator.machine import Machine
from ds3tool.simulator.objects import StoredObject
from ds3tool.simulator.records.beans import Fields
from ds3tool.simulator.records.paging import headers, window
from ds3tool.simulator.tapes.library import Tape
from ds3tool.simulator.wire import xmlin, xmlout
from ds3tool.simulator.wire.messages import Reply
from ds3tool.simulator.wire.refusals import Refusal
from ds3tool.simulator.wire.xmlin import WantedObject
from ds3tool.simulator.wire.xmlout import Xml, element


def tapes_of(machine: Machine, blob: int, domain: str | None = None) -> list[Tape]:
    """Return the tapes that hold a blob, perhaps only those of one storage domain; with the lock held."""
    rows = machine.store.db.execute("SELECT tape, domain FROM copies WHERE blob = ? AND suspect = 0", (blob,))
    return [machine.library.tapes[tape] for tape, where in rows if domain in (None, where)]


def blob_attributes(
    machine: Machine, bucket: str, version: StoredObject, blob: int, *place: int, in_cache: bool
) -> str:
    """Return the attributes of a blob's `Object` element; `place` is its offset and length."""
    offset, length = place
    return xmlout.attributes(
        {
            "Bucket": bucket,
            "Id": machine.blob_ids.of(blob),
            "InCache": in_cache,
            "Latest": version.latest,
            "Length": length,
            "Name": version.name,
            "Offset": offset,
            "VersionId": machine.objects.ids.of(version.n),
        }
    )


def _versions(call: Call, bucket: int, wanted: WantedObject, *, must_exist: bool) -> StoredObject | None:
    try:
        return call.machine.objects.complete(bucket, wanted.name, wanted.version_id)
    except Refusal:
        if must_exist:
            raise
        return None


def _placed(call: Call, *, must_exist: bool) -> Reply:
    """Answer a placement: which media hold any of the names, or with full details which hold each blob."""
    machine = call.machine
    bucket = machine.buckets.find(call.identifier)
    wanted = xmlin.read_wanted(call.request.body.pieces())
    domain_name = call.text("storage_domain") or call.text("storage_domain_id")
    domain: Fields | None = machine.beans.find("StorageDomain", domain_name) if domain_name else None
    domain_id = str(domain["Id"]) if domain is not None else None
    full = call.has("full_details")
    spool = Spool(machine.directory)
    spool.add("<Data>")
    everywhere: dict[int, Tape] = {}
    for each in wanted:
        with machine.store.lock:
            version = _versions(call, bucket.n, each, must_exist=must_exist)
            if version is None:
                continue
            start = each.offset or 0
            end = version.size if each.length is None else start + each.length
            rows = machine.store.db.execute(
                "SELECT n, offset, length, cached FROM blobs WHERE object = ? AND offset < ? AND "
                "(offset + length > ? OR length = 0) ORDER BY offset",
                (version.n, max(end, 1), start),
            ).fetchall()
            for blob, offset, length, cached in rows:
                tapes = tapes_of(machine, blob, domain_id)
                if must_exist and not tapes and (domain_id is not None or not cached):
                    message = f"NotFound[404]: The blob of '{version.name}' at {offset} has no copy there."
                    raise Refusal(404, names.NOT_FOUND, message)
                everywhere.update((tape.n, tape) for tape in tapes)
                if full:
                    attributes = blob_attributes(
                        machine, bucket.name, version, blob, offset, length, in_cache=bool(cached)
                    )
                    spool.add(f"<Object{attributes}>{element('PhysicalPlacement', placement(tapes))}</Object>")
    if not full:
        spool.add(placement(everywhere.values()))
    spool.add("</Data>")
    return spool.reply()


@rest("GetPhysicalPlacementForObjects")
@rest("GetPhysicalPlacementForObjectsWithFullDetails")
def get_placement(call: Call) -> Reply:
    """Tell which media hold the objects, or each blob of them; unknown names are passed over."""
    return _placed(call, must_exist=False)


@rest("VerifyPhysicalPlacementForObjects")
@rest("VerifyPhysicalPlacementForObjectsWithFullDetails")
def verify_placement(call: Call) -> Reply:
    """Tell which media hold the objects, or each blob of them; a 404 when one is missing."""
    return _placed(call, must_exist=True)


@rest("GetBlobsOnTape")
def get_blobs_on_tape(call: Call) -> Reply:
    """List the blobs on a tape, in the order they lie there."""
    machine = call.machine
    with machine.store.lock:
        tape = machine.library.find(call.identifier)
        db = machine.store.db
        (total,) = db.execute("SELECT count(*) FROM copies WHERE tape = ?", (tape.n,)).fetchone()

        def position_of(marker: str) -> int | None:
            number = machine.blob_ids.number(marker)
            found = db.execute("SELECT position FROM copies WHERE tape = ? AND blob = ?", (tape.n, number)).fetchone()
            if found is None:
                return None
            query = "SELECT count(*) FROM copies WHERE tape = ? AND position < ?"
            return int(db.execute(query, (tape.n, *found)).fetchone()[0])

        start, end = window(call, total, position_of)
        rows = db.execute(
            "SELECT b.n, b.object, b.offset, b.length, b.cached FROM copies c JOIN blobs b ON b.n = c.blob "
            "WHERE c.tape = ? ORDER BY c.position LIMIT ? OFFSET ?",
            (tape.n, end - start, start),
        ).fetchall()
        items: list[Xml] = []
        for blob, number, offset, length, cached in rows:
            version = next(machine.objects.select("n = ?", (number,)))
            bucket = machine.buckets.numbered(version.bucket).name
            attributes = blob_attributes(machine, bucket, version, blob, offset, length, in_cache=bool(cached))
            items.append(Xml(f"<Object{attributes}/>"))
    return data_list(items, headers(total, end))
