"""Which record names which: ids from names, and what becomes of those that name one that goes."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from ds3tool.simulator.contract import kinds
from ds3tool.simulator.records.beans import Fields
from ds3tool.simulator.wire.refusals import conflict, not_found

if TYPE_CHECKING:
    from ds3tool.simulator.machine import Machine

# What a record may be called by beside its id. Source: protocol, 4.1: any property that no two share.
NAMES = ("Name", "SerialNumber", "BarCode", "Guid")


def find(machine: Machine, kind: str, identifier: str) -> Fields:
    """Return the configured record of `kind` with this id, name or serial number; a 404 when there is none."""
    with machine.store.lock:
        found = machine.beans.get(kind, identifier)
        if found is None:
            records = machine.beans.all(kind)
            found = next((each for each in records if identifier in (each.get(name) for name in NAMES)), None)
    if found is None:
        raise not_found(kind, identifier)
    return found


def resolve(machine: Machine, kind: str, identifier: str) -> str:
    """Return the id of what is called `identifier`, of any kind that the appliance has; a 404 when there is none."""
    with machine.store.lock:
        if kind == "Bucket":
            return machine.buckets.find(identifier).id
        if kind == "Tape":
            return machine.library.find(identifier).id
        if kind == "Job":
            return machine.jobs.find(identifier).id
        if kind in ("Blob", "S3Object"):
            return _row_id(machine, kind, identifier)
        return str(find(machine, kind, identifier)["Id"])


def _row_id(machine: Machine, kind: str, identifier: str) -> str:
    blob = kind == "Blob"
    number = (machine.blob_ids if blob else machine.objects.ids).number(identifier)
    query = "SELECT 1 FROM blobs WHERE n = ?" if blob else "SELECT 1 FROM objects WHERE n = ?"
    if number is None or machine.store.db.execute(query, (number,)).fetchone() is None:
        raise not_found(kind, identifier)
    return identifier.lower()


@functools.cache
def referring(kind: str) -> tuple[tuple[str, str, str], ...]:
    """Return what names a record of `kind`: type, property, and what becomes of it (`go`, `null`, or it must not)."""
    return tuple(
        (row.name, each.name, each.orphans)
        for row in kinds()
        for each in row.properties
        if each.refers == kind and each.name != "Id"
    )


def forget_references(machine: Machine, kind: str, identifier: str, going: set[str] | None = None) -> None:
    """Before what has this id goes, let its configured records go or name nothing; a 409 where neither may be.

    `going`: the ids of records that go in the same transaction, and so hold nothing back.
    """
    going = set() if going is None else going
    going.add(identifier)
    with machine.store.writing():
        for name, property_name, orphans in referring(kind):
            for record in machine.beans.all(name):
                if record.get(property_name) != identifier or record["Id"] in going:
                    continue
                if not machine.beans.is_stored(name, str(record["Id"])):
                    continue  # removed in the transaction around
                if orphans == "go":
                    forget_references(machine, name, str(record["Id"]), going)
                    machine.beans.remove(name, str(record["Id"]))
                elif orphans == "null":
                    machine.beans.update(name, str(record["Id"]), {property_name: None})
                else:
                    raise conflict(f"Conflict[409]: The {name} '{record['Id']}' refers to the {kind} '{identifier}'.")
