"""Pools of disks and their partitions: kept as records, for this appliance writes to tapes alone.

A pool that its records hold is one that was put there by hand; what is asked of it is done at once, since there are no
disks to wait for.
"""

from __future__ import annotations

from collections.abc import Callable

from ds3tool.simulator.contract import kind
from ds3tool.simulator.dispatch import Call, rest
from ds3tool.simulator.machine import Machine
from ds3tool.simulator.records import engine as records
from ds3tool.simulator.records.beans import Fields
from ds3tool.simulator.records.marshalling import record_reply
from ds3tool.simulator.wire.messages import Reply
from ds3tool.simulator.wire.refusals import Refusal, bad_request, conflict

# What is done to a pool: its changes, or a refusal when its state forbids them.
Deed = Callable[[Machine, Fields], Fields]
_REFERENCES = {"data_policy_id": "DataPolicy", "storage_domain_id": "StorageDomain", "user_id": "User"}


def _demand(pool: Fields, *states: str) -> None:
    if pool["State"] not in states:
        raise conflict(f"Conflict[409]: The pool '{pool['Name']}' is {pool['State']}, not {' or '.join(states)}.")


def _import(_: Machine, pool: Fields) -> Fields:
    _demand(pool, "FOREIGN")
    return {"State": "NORMAL"}


def _cancel_import(_: Machine, pool: Fields) -> Fields:
    _demand(pool, "IMPORT_PENDING")
    return {"State": "FOREIGN"}


def _format(_: Machine, pool: Fields) -> Fields:
    _demand(pool, "FOREIGN")
    return {"AvailableCapacity": pool["TotalCapacity"] - pool["ReservedCapacity"], "State": "NORMAL", "UsedCapacity": 0}


def _verify(machine: Machine, pool: Fields) -> Fields:
    _demand(pool, "NORMAL")
    return {"LastVerified": machine.clock.now()}


def _nothing(_: Machine, pool: Fields) -> Fields:
    _demand(pool, "NORMAL", "BLANK")
    return {}


def _deallocate(_: Machine, pool: Fields) -> Fields:
    if not pool.get("AssignedToStorageDomain") or pool["UsedCapacity"]:
        raise conflict(f"Conflict[409]: The pool '{pool['Name']}' is not assigned, or holds data.")
    return {"AssignedToStorageDomain": False, "BucketId": None, "StorageDomainMemberId": None}


def _done(call: Call, deed: Deed) -> Fields:
    machine = call.machine
    pool = records.find(machine, "Pool", call.identifier)
    return machine.beans.update("Pool", str(pool["Id"]), deed(machine, pool))


def _one(name: str, deed: Deed) -> None:
    """Register what is done to one pool and shown by the answer."""

    @rest(name)
    def handler(call: Call) -> Reply:
        _check_references(call)
        with call.machine.store.writing():
            return record_reply(kind("Pool"), _done(call, deed))


def _all(name: str, deed: Deed) -> None:
    """Register what is done to every pool whose state allows it."""

    @rest(name)
    def handler(call: Call) -> Reply:
        _check_references(call)
        machine = call.machine
        with machine.store.writing():
            for pool in machine.beans.all("Pool"):
                try:
                    changes = deed(machine, pool)
                except Refusal:
                    continue
                machine.beans.update("Pool", str(pool["Id"]), changes)
        return Reply(204)


def _check_references(call: Call) -> None:
    """Raise a 404 for what an import would give its data to and that is not there."""
    for parameter, name in _REFERENCES.items():
        text = call.text(parameter)
        if text:
            records.find(call.machine, name, text)


_one("CancelImportPool", _cancel_import)
_one("CancelVerifyPool", _nothing)
_one("CompactPool", _nothing)
_one("FormatForeignPool", _format)
_one("ImportPool", _import)
_one("VerifyPool", _verify)
_all("CancelImportOnAllPools", _cancel_import)
_all("CancelVerifyOnAllPools", _nothing)
_all("CompactAllPools", _nothing)
_all("FormatAllForeignPools", _format)
_all("ImportAllPools", _import)
_all("VerifyAllPools", _verify)


@rest("DeallocatePool")
def deallocate(call: Call) -> Reply:
    """Take an empty pool from its storage domain."""
    with call.machine.store.writing():
        _done(call, _deallocate)
    return Reply(204)


@rest("GetBlobsOnPool")
def get_blobs(call: Call) -> Reply:
    """List the blobs on a pool: none, since nothing is written there."""
    records.find(call.machine, "Pool", call.identifier)
    return record_reply(kind("BlobsContainer"), {})


@records.changing("Pool")
def change_pool(call: Call, pool: Fields, changes: Fields) -> None:
    """Refuse a partition of another type of pool, and to take a pool with data from its partition."""
    partition = changes.get("PartitionId")
    if partition is not None:
        found = records.find(call.machine, "PoolPartition", str(partition))
        if found["Type"] != pool["Type"]:
            raise bad_request(f"The pool partition '{found['Name']}' takes pools of the type {found['Type']}.")
    if "PartitionId" in changes and changes["PartitionId"] != pool.get("PartitionId") and pool.get("UsedCapacity"):
        raise conflict(f"Conflict[409]: The pool '{pool['Name']}' holds data.")


@records.deleting("Pool")
def delete_pool(_: Call, pool: Fields) -> None:
    """Let nothing but a lost pool be struck from the inventory."""
    _demand(pool, "LOST")
