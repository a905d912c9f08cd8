"""How much room there is on tapes and pools: of the system, of a storage domain, of a bucket in one."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ds3tool.simulator.contract import kind
from ds3tool.simulator.dispatch import Call, rest
from ds3tool.simulator.records import engine as records
from ds3tool.simulator.records.beans import Fields
from ds3tool.simulator.records.marshalling import record_reply
from ds3tool.simulator.tapes.library import Tape
from ds3tool.simulator.wire.messages import Reply


@rest("GetSystemCapacitySummary")
def get_system_capacity(call: Call) -> Reply:
    """Tell what there is in all."""
    return _summary(call, None, None)


@rest("GetStorageDomainCapacitySummary")
def get_domain_capacity(call: Call) -> Reply:
    """Tell what belongs to a storage domain."""
    return _summary(call, call.needed("storage_domain_id"), None)


@rest("GetBucketCapacitySummary")
def get_bucket_capacity(call: Call) -> Reply:
    """Tell what a bucket uses in a storage domain."""
    return _summary(call, call.needed("storage_domain_id"), call.needed("bucket_id"))


def _summary(call: Call, domain: str | None, bucket: str | None) -> Reply:
    machine = call.machine
    with machine.store.lock:
        domain_id = None if domain is None else str(records.find(machine, "StorageDomain", domain)["Id"])
        bucket_number = None if bucket is None else machine.buckets.find(bucket).n
        tapes = [
            tape
            for tape in machine.library.tapes.values()
            if domain_id in (None, tape.domain_id)
            and _asked(call, "tape_state", tape.state)
            and _asked(call, "tape_type", tape.type)
        ]
        held = None if bucket_number is None else _held(call, bucket_number, str(domain_id))
        values = {"Pool": _pools(call, domain_id, bucket), "Tape": _tapes(tapes, held)}
    return record_reply(kind("CapacitySummaryContainer"), values)


def _asked(call: Call, parameter: str, value: str) -> bool:
    text = call.text(parameter)
    return not text or text.upper() == value


def _held(call: Call, bucket: int, domain: str) -> dict[int, int]:
    """Return the bytes of a bucket's copies in a storage domain, by tape."""
    rows = call.machine.store.db.execute(
        "SELECT c.tape, sum(b.length) FROM objects o JOIN blobs b ON b.object = o.n "
        "JOIN copies c ON c.blob = b.n WHERE o.bucket = ? AND c.domain = ? GROUP BY c.tape",
        (bucket, domain),
    )
    return dict(rows)


def _tapes(tapes: Iterable[Tape], held: dict[int, int] | None) -> Fields:
    """Return the sums of tapes, or of the part of them that a bucket's bytes by tape say."""
    chosen = [tape for tape in tapes if held is None or tape.n in held]
    used = (lambda tape: tape.written) if held is None else (lambda tape: held[tape.n])
    return {
        "PhysicalAllocated": _sum(chosen, lambda tape: tape.capacity if tape.domain_id is not None else 0),
        "PhysicalFree": _sum(chosen, lambda tape: tape.available),
        "PhysicalUsed": _sum(chosen, used),
    }


def _sum(tapes: Iterable[Tape], amount: Callable[[Tape], int]) -> int:
    return sum(map(amount, tapes))


def _pools(call: Call, domain: str | None, bucket: str | None) -> Fields:
    """Return the sums of pools; a bucket's share of one that others use too is not told apart."""
    machine = call.machine
    members = {each["Id"] for each in machine.beans.all("StorageDomainMember") if each["StorageDomainId"] == domain}
    bucket_id = None if bucket is None else machine.buckets.find(bucket).id
    pools = [
        pool
        for pool in machine.beans.all("Pool")
        if (domain is None or pool.get("StorageDomainMemberId") in members)
        and (bucket_id is None or pool.get("BucketId") == bucket_id)
        and _asked(call, "pool_health", str(pool["Health"]))
        and _asked(call, "pool_state", str(pool["State"]))
        and _asked(call, "pool_type", str(pool["Type"]))
    ]
    return {
        "PhysicalAllocated": sum(pool["TotalCapacity"] for pool in pools if pool.get("StorageDomainMemberId")),
        "PhysicalFree": sum(pool["AvailableCapacity"] for pool in pools),
        "PhysicalUsed": sum(pool["UsedCapacity"] for pool in pools),
    }
