"""Tapes: lists, ejection and return, one or all; drives, partitions and libraries to look at."""

from __future__ import annotations

from collections.abc import Callable

from ds3tool.simulator import xmlin, xmlout
from ds3tool.simulator.beans import Fields
from ds3tool.simulator.dispatch import Call, rest
from ds3tool.simulator.documents import configured, data, data_list, tape_fields
from ds3tool.simulator.handlers.placement import tapes_of
from ds3tool.simulator.library import Tape
from ds3tool.simulator.messages import Reply, xml_reply
from ds3tool.simulator.paging import matcher, page
from ds3tool.simulator.refusals import Refusal
from ds3tool.simulator.settings import TAPE_TYPE
from ds3tool.simulator.xmlout import Value, Xml, bean, element

Action = Callable[[Tape], None]
_FILTERS = {
    "bar_code": "BarCode",
    "eject_label": "EjectLabel",
    "eject_location": "EjectLocation",
    "full_of_data": "FullOfData",
    "assigned_to_storage_domain": "AssignedToStorageDomain",
    "partition_id": "PartitionId",
    "previous_state": "PreviousState",
    "serial_number": "SerialNumber",
    "state": "State",
    "storage_domain_member_id": "StorageDomainMemberId",
    "type": "Type",
    "write_protected": "WriteProtected",
}
_EXACT = frozenset({"state", "previous_state", "type", "full_of_data", "assigned_to_storage_domain", "write_protected"})


def _wanted(call: Call, values: dict[str, Value]) -> bool:
    for parameter, name in _FILTERS.items():
        text = call.text(parameter)
        if text is None:
            continue
        actual = xmlout.plain(values[name])
        if parameter in _EXACT:
            if text.upper() != actual.upper():
                return False
        elif not matcher(text)(actual):
            return False
    return True


@rest("GetTapes")
def get_tapes(call: Call) -> Reply:
    """List tapes by state, type and bar code."""
    machine = call.machine
    with machine.store.lock:
        chosen = list(machine.library.tapes.values())
        domain = call.text("storage_domain")
        if domain:
            identifier = str(machine.beans.find("StorageDomain", domain)["Id"])
            chosen = [tape for tape in chosen if tape.domain_id == identifier]
        found = [(tape, values) for tape in chosen if _wanted(call, values := tape_fields(tape))]
        found.sort(key=lambda each: each[0].order)
        part, paging = page(call, found, lambda each: each[0].id)
        return data_list([bean("Tape", values) for _, values in part], paging)


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
    """Strike a lost tape from the inventory."""
    with call.machine.store.lock:
        call.machine.library.forget(call.machine.library.find(call.identifier))
    return Reply(204)


def _one(call: Call, action: Action) -> Reply:
    with call.machine.store.lock:
        tape = call.machine.library.find(call.identifier)
        action(tape)
        return data(tape_fields(tape))


def _several(call: Call, tapes: list[Tape], action: Action) -> Reply:
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


def _all(call: Call) -> list[Tape]:
    return list(call.machine.library.tapes.values())


def _ejecting(call: Call) -> Action:
    label, location = call.text("eject_label"), call.text("eject_location")
    return lambda tape: call.machine.library.robot.eject(tape, label, location)


@rest("EjectTape")
def eject_tape(call: Call) -> Reply:
    """Eject a tape; `EjectPending` is set until it is out."""
    return _one(call, _ejecting(call))


@rest("EjectAllTapes")
def eject_all_tapes(call: Call) -> Reply:
    """Eject every tape that is in the library."""
    return _several(call, [tape for tape in _all(call) if tape.state != "EJECTED"], _ejecting(call))


def _domain(call: Call) -> Fields:
    return call.machine.beans.find("StorageDomain", call.text("storage_domain") or call.needed("storage_domain_id"))


@rest("EjectStorageDomain")
def eject_storage_domain(call: Call) -> Reply:
    """Eject every tape of a storage domain, perhaps only those with objects of one bucket."""
    machine = call.machine
    domain = _domain(call)
    with machine.store.lock:
        tapes = [tape for tape in _all(call) if tape.domain_id == domain["Id"] and tape.state != "EJECTED"]
        if call.text("bucket_id"):
            bucket = machine.buckets.find(call.needed("bucket_id"))
            held = {
                number
                for (number,) in machine.store.db.execute(
                    "SELECT DISTINCT c.tape FROM objects o JOIN blobs b ON b.object = o.n "
                    "JOIN copies c ON c.blob = b.n WHERE o.bucket = ?",
                    (bucket.n,),
                )
            }
            tapes = [tape for tape in tapes if tape.n in held]
    return _several(call, tapes, _ejecting(call))


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
                found.update((tape.n, tape) for tape in tapes_of(machine, blob, domain) if tape.state != "EJECTED")
    return _several(call, list(found.values()), _ejecting(call))


@rest("CancelEjectTape")
def cancel_eject_tape(call: Call) -> Reply:
    """Keep a tape that was to be ejected."""
    return _one(call, call.machine.library.robot.cancel_eject)


@rest("CancelEjectOnAllTapes")
def cancel_eject_all_tapes(call: Call) -> Reply:
    """Keep all tapes that were to be ejected."""
    return _several(call, [tape for tape in _all(call) if tape.eject_pending], call.machine.library.robot.cancel_eject)


@rest("OnlineTape")
def online_tape(call: Call) -> Reply:
    """Bring a tape back; on an EJECTED one this says that the operator has put it into the library again."""
    return _one(call, call.machine.library.robot.online)


@rest("OnlineAllTapes")
def online_all_tapes(call: Call) -> Reply:
    """Bring back every tape that is not in use; those that are beyond that are told in the 207."""
    away = [tape for tape in _all(call) if tape.state not in ("NORMAL", "ONLINE_PENDING", "ONLINE_IN_PROGRESS")]
    return _several(call, away, call.machine.library.robot.online)


@rest("CancelOnlineTape")
def cancel_online_tape(call: Call) -> Reply:
    """Leave a tape where it was."""
    return _one(call, call.machine.library.robot.cancel_online)


@rest("CancelOnlineOnAllTapes")
def cancel_online_all_tapes(call: Call) -> Reply:
    """Leave all tapes where they were."""
    coming = [tape for tape in _all(call) if tape.state == "ONLINE_PENDING"]
    return _several(call, coming, call.machine.library.robot.cancel_online)


# Drives, partitions, libraries.


def _drive_fields(call: Call, place: int, drive: Fields) -> dict[str, Value]:
    tape = call.machine.drives.loaded.get(place)
    return configured(
        drive,
        {
            "CleaningRequired": False,
            "ErrorMessage": None,
            "ForceTapeRemoval": False,
            "LastCleaned": None,
            "MaxFailedTapes": 3,
            "MfgSerialNumber": None,
            "MinimumTaskPriority": None,
            "Quiesced": "NO",
            "ReservedTaskType": "ANY",
            "State": "NORMAL",
            "TapeId": None if tape is None else tape.id,
        },
    )


@rest("GetTapeDrives")
def get_drives(call: Call) -> Reply:
    """List the drives."""
    with call.machine.store.lock:
        found = [_drive_fields(call, *each) for each in enumerate(call.machine.beans.all("TapeDrive"))]
        chosen, paging = page(call, found, lambda each: str(each["Id"]))
        return data_list([bean("TapeDrive", each) for each in chosen], paging)


@rest("GetTapeDrive")
def get_drive(call: Call) -> Reply:
    """Show a drive."""
    with call.machine.store.lock:
        drive = call.machine.beans.find("TapeDrive", call.identifier)
        return data(_drive_fields(call, call.machine.beans.all("TapeDrive").index(drive), drive))


def _partition_fields(call: Call, partition: Fields) -> dict[str, Value]:
    values = configured(
        partition,
        {
            "AutoCompactionEnabled": False,
            "AutoQuiesceEnabled": True,
            "DriveIdleTimeoutInMinutes": 15,
            "ErrorMessage": None,
            "ImportExportConfiguration": "SUPPORTED",
            "MinimumReadReservedDrives": 0,
            "MinimumWriteReservedDrives": 0,
            "Quiesced": "NO",
            "State": "ONLINE",
        },
    )
    if call.has("full_details"):
        values |= _partition_summary(_all(call))
    return values


def _partition_summary(tapes: list[Tape]) -> dict[str, Value]:
    total, free = sum(tape.capacity for tape in tapes), sum(tape.available for tape in tapes)
    states: dict[str, list[Tape]] = {}
    for tape in tapes:
        states.setdefault(tape.state, []).append(tape)
    by_state = [
        bean("TapeStateSummary", {"Count": len(group), "TapeState": state}) for state, group in sorted(states.items())
    ]
    kind: dict[str, Value] = {
        "AvailableStorageCapacity": free,
        "Count": len(tapes),
        "TotalStorageCapacity": total,
        "Type": TAPE_TYPE,
        "UsedStorageCapacity": total - free,
    }
    return {
        "AvailableStorageCapacity": free,
        "DriveTypes": TAPE_TYPE,
        "TapeCount": len(tapes),
        "TapeStateSummaries": element("TapeStateSummaries", by_state),
        "TapeTypeSummaries": element("TapeTypeSummaries", [bean("TapeTypeSummary", kind)] if tapes else []),
        "TapeTypes": TAPE_TYPE,
        "TotalStorageCapacity": total,
        "UsedStorageCapacity": total - free,
    }


@rest("GetTapePartitions")
def get_partitions(call: Call) -> Reply:
    """List the partitions of the library."""
    with call.machine.store.lock:
        found = [_partition_fields(call, each) for each in call.machine.beans.all("TapePartition")]
        chosen, paging = page(call, found, lambda each: str(each["Id"]))
        return data_list([bean("TapePartition", each) for each in chosen], paging)


@rest("GetTapePartition")
def get_partition(call: Call) -> Reply:
    """Show a partition."""
    with call.machine.store.lock:
        return data(_partition_fields(call, call.machine.beans.find("TapePartition", call.identifier)))


@rest("GetTapeLibraries")
def get_libraries(call: Call) -> Reply:
    """List the libraries."""
    with call.machine.store.lock:
        chosen, paging = page(call, call.machine.beans.all("TapeLibrary"), lambda each: str(each["Id"]))
        return data_list([bean("TapeLibrary", each) for each in chosen], paging)


@rest("GetTapeLibrary")
def get_library(call: Call) -> Reply:
    """Show a library."""
    with call.machine.store.lock:
        return data(call.machine.beans.find("TapeLibrary", call.identifier))


@rest("GetTapeFailures")
def get_tape_failures(call: Call) -> Reply:
    """List what went wrong with tapes, the latest first."""
    with call.machine.store.lock:
        found = list(reversed(call.machine.beans.all("TapeFailure")))
        if call.text("tape_id"):
            tape = call.machine.library.find(call.needed("tape_id"))
            found = [each for each in found if each["TapeId"] == tape.id]
        chosen, paging = page(call, found, lambda each: str(each["Id"]))
        return data_list([bean("TapeFailure", configured(each, {})) for each in chosen], paging)


@rest("DeleteTapeFailure")
def delete_tape_failure(call: Call) -> Reply:
    """Forget one of them."""
    call.machine.beans.remove("TapeFailure", str(call.machine.beans.find("TapeFailure", call.identifier)["Id"]))
    return Reply(204)
