"""Tapes: lists, ejection and return, one or all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ds3tool.simulator.contract import kind, words
from ds3tool.simulator.dispatch import Call, rest
from ds3tool.simulator.documents import data, tape_fields
from ds3tool.simulator.handlers.placement import tapes_of
from ds3tool.simulator.records import engine as records
from ds3tool.simulator.records.beans import Fields
from ds3tool.simulator.records.marshalling import list_reply
from ds3tool.simulator.records.paging import page
from ds3tool.simulator.records.parameters import property_of, test_of
from ds3tool.simulator.tapes.library import Tape
from ds3tool.simulator.tapes.tape import ABSENT
from ds3tool.simulator.wire import xmlin, xmlout
from ds3tool.simulator.wire.messages import Reply, xml_reply
from ds3tool.simulator.wire.refusals import Refusal, bad_request
from ds3tool.simulator.wire.xmlout import Xml, bean, element

Action = Callable[[Tape], None]


@rest("GetTapes")
def get_tapes(call: Call) -> Reply:
    """List tapes by state, type and bar code, or by the property that `sort_by` names."""
    machine = call.machine
    with machine.store.lock:
        chosen = _narrowed(call, list(machine.library.tapes.values()))
        found = [tape.fields for tape in chosen]
        if not call.text("sort_by"):
            return records.listing(call, found)
        assert call.row is not None
        for parameter in call.row.parameters:
            each = property_of(kind("Tape"), parameter.name)
            if each is not None and call.has(parameter.name):
                test = test_of(call, parameter.name, each)
                found = [values for values in found if test(values[each.name])]
        part, paging = page(call, _sorted(call, found), lambda values: str(values["Id"]))
        return list_reply(kind("Tape"), part, paging)


def _narrowed(call: Call, tapes: list[Tape]) -> list[Tape]:
    """Return the tapes of the storage domain, the partition and the bucket that are named, where any are.

    A tape is of a bucket when it holds data of that bucket.
    """
    machine = call.machine
    domain = call.text("storage_domain") or call.text("storage_domain_id")
    if domain:
        identifier = str(machine.beans.find("StorageDomain", domain)["Id"])
        tapes = [tape for tape in tapes if tape.domain_id == identifier]
    if call.text("partition"):
        identifier = str(records.find(machine, "TapePartition", call.needed("partition"))["Id"])
        tapes = [tape for tape in tapes if tape.partition_id == identifier]
    if call.text("bucket"):
        held = _holding(call, call.needed("bucket"))
        tapes = [tape for tape in tapes if tape.n in held]
    return tapes


def _holding(call: Call, bucket: str) -> set[int]:
    """Return the numbers of the tapes that hold data of a bucket."""
    machine = call.machine
    rows = machine.store.db.execute(
        "SELECT DISTINCT c.tape FROM objects o JOIN blobs b ON b.object = o.n "
        "JOIN copies c ON c.blob = b.n WHERE o.bucket = ?",
        (machine.buckets.find(bucket).n,),
    )
    return {number for (number,) in rows}


def _sorted(call: Call, found: list[Fields]) -> list[Fields]:
    """Sort by the property that `sort_by` names, spelled as a parameter or as it is; a `-` before it turns it round."""
    text = call.needed("sort_by")
    name = text.removeprefix("-")
    chosen = property_of(kind("Tape"), name.lower()) or kind("Tape").property(name)
    if chosen is None:
        raise bad_request(f"The parameter sort_by is '{text}', which is no property of a tape.")

    allowed = words(chosen.type) or ()

    def key(values: Fields) -> tuple[bool, Any, str]:
        value = values[chosen.name]
        place = allowed.index(value) if value in allowed else value
        return value is None, 0 if value is None else place, values["BarCode"]

    return sorted(found, key=key, reverse=text.startswith("-"))


@rest("GetTape")
def get_tape(call: Call) -> Reply:
    """Show a tape, by bar code or id."""
    with call.machine.store.lock:
        return data(tape_fields(call.machine.library.find(call.identifier)))


@rest("ModifyTape")
def modify_tape(call: Call) -> Reply:
    """Change a tape's label, location, role or state."""
    library = call.machine.library
    with call.machine.store.lock:
        tape = library.find(call.identifier)
        library.modify(
            tape,
            label=call.text("eject_label"),
            location=call.text("eject_location"),
            state=call.text("state"),
            role=call.choice("role", ("NORMAL", "TEST")),
        )
        return data(tape_fields(tape))


@rest("DeletePermanentlyLostTape")
def delete_tape(call: Call) -> Reply:
    """Strike a lost tape from the inventory, and the failures that speak of it."""
    with call.machine.store.lock:
        tape = call.machine.library.find(call.identifier)
        call.machine.library.forget(tape)
        records.forget_references(call.machine, "Tape", tape.id)
    return Reply(204)


def one(call: Call, action: Action) -> Reply:
    """Act on the tape that the path names, and show it."""
    with call.machine.store.lock:
        tape = call.machine.library.find(call.identifier)
        action(tape)
        return data(tape_fields(tape))


def several(call: Call, tapes: list[Tape], action: Action) -> Reply:
    """Act on tapes one by one; 207 names those that could not be acted upon."""
    failures: list[Xml] = []
    with call.machine.store.lock:
        for tape in tapes:
            try:
                action(tape)
            except Refusal as refusal:
                inner = [element("Cause", refusal.message), bean("Tape", tape_fields(tape))]
                failures.append(element("Failure", inner))
    if not failures:
        return Reply(204)
    return xml_reply(xmlout.document(element("Data", failures)), 207)


def every(call: Call) -> list[Tape]:
    """Return all tapes that the appliance knows."""
    with call.machine.store.lock:
        return list(call.machine.library.tapes.values())


_LEAVING = ("EJECT_TO_EE_IN_PROGRESS", "EJECT_FROM_EE_PENDING", "EJECTED")


def _ejecting(call: Call) -> Action:
    label, location = call.text("eject_label"), call.text("eject_location")
    return lambda tape: call.machine.library.robot.eject(tape, label, location)


@rest("EjectTape")
def eject_tape(call: Call) -> Reply:
    """Eject a tape; `EjectPending` is set until it is out."""
    return one(call, _ejecting(call))


@rest("EjectAllTapes")
def eject_all_tapes(call: Call) -> Reply:
    """Eject every tape that is in the library."""
    return several(call, [tape for tape in every(call) if tape.state not in _LEAVING], _ejecting(call))


def _domain(call: Call) -> Fields:
    return call.machine.beans.find("StorageDomain", call.text("storage_domain") or call.needed("storage_domain_id"))


@rest("EjectStorageDomain")
def eject_storage_domain(call: Call) -> Reply:
    """Eject every tape of a storage domain, perhaps only those with objects of one bucket."""
    machine = call.machine
    domain = _domain(call)
    with machine.store.lock:
        tapes = [tape for tape in every(call) if tape.domain_id == domain["Id"] and tape.state not in _LEAVING]
        if call.text("bucket_id"):
            held = _holding(call, call.needed("bucket_id"))
            tapes = [tape for tape in tapes if tape.n in held]
    return several(call, tapes, _ejecting(call))


@rest("EjectStorageDomainBlobs")
def eject_blobs(call: Call) -> Reply:
    """Eject the tapes of a storage domain that hold the objects named in the body."""
    machine = call.machine
    wanted = xmlin.read_wanted(call.request.body.pieces())
    domain = str(_domain(call)["Id"])
    found: dict[int, Tape] = {}
    with machine.store.lock:
        bucket = machine.buckets.find(call.needed("bucket_id"))
        for each in wanted:
            version = machine.objects.complete(bucket.n, each.name, each.version_id)
            for (blob,) in machine.store.db.execute("SELECT n FROM blobs WHERE object = ?", (version.n,)).fetchall():
                found.update((tape.n, tape) for tape in tapes_of(machine, blob, domain) if tape.state not in _LEAVING)
    return several(call, list(found.values()), _ejecting(call))


@rest("CancelEjectTape")
def cancel_eject_tape(call: Call) -> Reply:
    """Keep a tape that was to be ejected."""
    return one(call, call.machine.library.robot.cancel_eject)


@rest("CancelEjectOnAllTapes")
def cancel_eject_all_tapes(call: Call) -> Reply:
    """Keep all tapes that were to be ejected."""
    return several(call, [tape for tape in every(call) if tape.eject_pending], call.machine.library.robot.cancel_eject)


@rest("OnlineTape")
def online_tape(call: Call) -> Reply:
    """Bring a tape back; on an EJECTED one this says that the operator has put it into the library again."""
    return one(call, call.machine.library.robot.online)


@rest("OnlineAllTapes")
def online_all_tapes(call: Call) -> Reply:
    """Bring back every tape that is not in the library; those that are beyond that are told in the 207."""
    return several(call, [tape for tape in every(call) if tape.state in ABSENT], call.machine.library.robot.online)


@rest("CancelOnlineTape")
def cancel_online_tape(call: Call) -> Reply:
    """Leave a tape where it was."""
    return one(call, call.machine.library.robot.cancel_online)


@rest("CancelOnlineOnAllTapes")
def cancel_online_all_tapes(call: Call) -> Reply:
    """Leave all tapes where they were."""
    coming = [tape for tape in every(call) if tape.state == "ONLINE_PENDING"]
    return several(call, coming, call.machine.library.robot.cancel_online)
