"""Storage domains and their members: which partitions keep a copy together, and when that may change; densities."""

from __future__ import annotations

from ds3tool.simulator.dispatch import Call, rest
from ds3tool.simulator.machine import Machine
from ds3tool.simulator.records import engine as records
from ds3tool.simulator.records.beans import Fields
from ds3tool.simulator.tapes.cron import CronTimes
from ds3tool.simulator.tapes.mechanics import can_write
from ds3tool.simulator.wire.messages import Reply
from ds3tool.simulator.wire.refusals import bad_request, conflict

_PERCENTS = ("MaxTapeFragmentationPercent", "AutoCompactionThreshold")
_NO_DATA = ("LTO_CLEANING_TAPE", "TS_CLEANING_TAPE", "UNKNOWN", "FORBIDDEN")


# Storage domains.


@records.making("StorageDomain")
def make_domain(_: Call, domain: Fields) -> None:
    """Refuse what no storage domain can be."""
    _check(domain)


@records.changing("StorageDomain")
def change_domain(call: Call, domain: Fields, changes: Fields) -> None:
    """Refuse what no storage domain can be, and files named after objects where these have versions."""
    _check({**domain, **changes})
    if changes.get("LtfsFileNaming") != "OBJECT_NAME":
        return
    machine = call.machine
    for rule in machine.beans.all("DataPersistenceRule"):
        policy = machine.beans.get("DataPolicy", str(rule["DataPolicyId"])) or {}
        if rule["StorageDomainId"] == domain["Id"] and policy.get("Versioning") != "NONE":
            raise bad_request(f"The data policy '{policy.get('Name')}' keeps versions, which need files named by id.")


def _check(values: Fields) -> None:
    """Raise a 400 for a percentage above 100, or a time of ejection that is none."""
    for name in _PERCENTS:
        if (values.get(name) or 0) > 100:
            raise bad_request(f"{name} is a percentage.")
    cron = values.get("AutoEjectUponCron")
    if cron is not None:
        CronTimes(str(cron))


def _refuse_if_holding(machine: Machine, domain: Fields) -> None:
    """Raise a 409 while a tape or a pool belongs to a storage domain, or a copy lies in it."""
    for tape in machine.library.tapes.values():
        if tape.domain_id == domain["Id"]:
            raise conflict(f"Conflict[409]: The tape {tape.bar_code} belongs to the storage domain.")
    if machine.store.db.execute("SELECT 1 FROM copies WHERE domain = ? LIMIT 1", (domain["Id"],)).fetchone():
        raise conflict(f"Conflict[409]: The storage domain '{domain['Name']}' holds data.")


@records.deleting("StorageDomain")
def delete_domain(call: Call, domain: Fields) -> None:
    """Refuse to delete a storage domain that holds data; what refers to it holds it too."""
    _refuse_if_holding(call.machine, domain)


@rest("ConvertStorageDomainToDs3Target")
def convert_domain(call: Call) -> Reply:
    """Let the rules that keep copies in a storage domain replicate to another appliance instead; the domain goes.

    A 409 while the domain holds data: the other appliance would have to have it first.
    """
    machine = call.machine
    with machine.store.writing():
        domain = records.find(machine, "StorageDomain", call.identifier)
        target = records.find(machine, "Ds3Target", call.needed("convert_to_ds3_target"))
        _refuse_if_holding(machine, domain)
        gone: set[str] = set()
        for rule in machine.beans.all("DataPersistenceRule"):
            if rule["StorageDomainId"] == domain["Id"]:
                kind = "RETIRED" if rule["Type"] == "RETIRED" else "PERMANENT"
                fields = {"DataPolicyId": rule["DataPolicyId"], "TargetId": target["Id"], "Type": kind}
                records.make(call, "Ds3DataReplicationRule", fields)
                _remove(machine, "DataPersistenceRule", rule, gone)
        for member in machine.beans.all("StorageDomainMember"):
            if member["StorageDomainId"] == domain["Id"]:
                _remove(machine, "StorageDomainMember", member, gone)
        _remove(machine, "StorageDomain", domain, gone)
    return Reply(204)


def _remove(machine: Machine, kind: str, record: Fields, gone: set[str]) -> None:
    records.forget_references(machine, kind, str(record["Id"]), gone)
    machine.beans.remove(kind, str(record["Id"]))


# Members.


@records.making("StorageDomainMember")
def make_member(call: Call, member: Fields) -> None:
    """Refuse tapes that no drive of the partition could write."""
    _check(member)
    tape_type, partition = member["TapeType"], member["TapePartitionId"]
    if partition is not None and not _can_be_written(call.machine, str(partition), str(tape_type)):
        raise bad_request(f"No drive of the tape partition writes tapes of the type {tape_type}.")


def _can_be_written(machine: Machine, partition: str, tape_type: str) -> bool:
    drives = {str(each["Type"]) for each in machine.beans.all("TapeDrive") if each["PartitionId"] == partition}
    return any(_writes(drive, tape_type) for drive in drives)


def _writes(drive: str, tape_type: str) -> bool:
    """Tell whether drives of a type write tapes of one: of the same family, and near enough in generation."""
    if tape_type in _NO_DATA or drive.startswith("LTO") != tape_type.startswith("LTO"):
        return False
    return can_write(drive, tape_type)


@records.changing("StorageDomainMember")
def change_member(_: Call, member: Fields, changes: Fields) -> None:
    """Refuse a percentage that is none."""
    _check({**member, **changes})


def _in_use(machine: Machine, member: Fields) -> bool:
    held = any(tape.member_id == member["Id"] for tape in machine.library.tapes.values())
    return held or any(pool.get("StorageDomainMemberId") == member["Id"] for pool in machine.beans.all("Pool"))


@records.deleting("StorageDomainMember")
def delete_member(call: Call, member: Fields) -> None:
    """Refuse to delete a member while tapes belong to the storage domain by it."""
    if _in_use(call.machine, member):
        raise conflict("Conflict[409]: Media belong to the storage domain by this member.")


# Density directives.


@records.making("TapeDensityDirective")
def make_directive(_: Call, directive: Fields) -> None:
    """Refuse a density that no drive gives to tapes of the type."""
    density, tape_type = str(directive["Density"]), str(directive["TapeType"])
    if density == "UNKNOWN" or not _writes(density, tape_type):
        raise bad_request(f"No tape of the type {tape_type} has the density {density}.")
