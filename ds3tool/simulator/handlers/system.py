"""The appliance about itself: information, health, cache, settings of the data path, node."""

from __future__ import annotations

import time
from collections.abc import Mapping

from ds3tool.simulator.contract import kind
from ds3tool.simulator.dispatch import Call, rest
from ds3tool.simulator.machine import Machine
from ds3tool.simulator.quirks import version_told
from ds3tool.simulator.records import engine as records
from ds3tool.simulator.records.beans import Fields
from ds3tool.simulator.records.marshalling import record_reply
from ds3tool.simulator.wire.messages import Reply
from ds3tool.simulator.wire.refusals import bad_request
from ds3tool.simulator.wire.xmlout import Value

# That of the contract which this one follows. Source: protocol, 11.4 and appendix A.
_REVISION = "3150467"
_API_VERSION = "0123456789ABCDEF0123456789ABCDEF.FEDCBA9876543210FEDCBA9876543210"
_THRESHOLDS = ("AutoReclaimInitiateThreshold", "AutoReclaimTerminateThreshold", "BurstThreshold")
# Beside the elements of the contract: the start of the appliance during which a reconciliation was asked for.
_RECONCILE = "ReconcileAsked"


@rest("GetSystemInformation")
def get_system_information(call: Call) -> Reply:
    """Tell version, serial number and clock."""
    machine = call.machine
    backend = _backend(machine)
    values = {
        "ApiVersion": _API_VERSION,
        "BackendActivated": backend["Activated"],
        "BuildInformation": {
            "Branch": "sim",
            "Revision": _REVISION,
            "Version": version_told(machine.settings.quirks),
        },
        "InstanceId": backend["InstanceId"],
        "Now": int(machine.clock.now() * 1000),
        "SerialNumber": str(machine.node["SerialNumber"]),
    }
    return record_reply(kind("SystemInformation"), values)


@rest("VerifySystemHealth")
def get_system_health(call: Call) -> Reply:
    """Tell how long the state took to answer."""
    started = time.perf_counter()
    with call.machine.store.lock:
        call.machine.store.db.execute("SELECT 1").fetchone()
    spent = round((time.perf_counter() - started) * 1000)
    values = {"DatabaseFilesystemFreeSpace": "NORMAL", "MsRequiredToVerifyDataPlannerHealth": spent}
    return record_reply(kind("HealthVerificationResult"), values)


@rest("ForcePoolEnvironmentRefresh")
@rest("ForceTargetEnvironmentRefresh")
@rest("ForceFeatureKeyValidation")
def refresh(_: Call) -> Reply:
    """Look again at what is connected: here that is known at any time."""
    return Reply(204)


# The cache.


@records.presenting("CacheFilesystem")
def present_cache(call: Call, cache: Fields) -> Mapping[str, Value]:
    """Tell how large the cache is, where, and whether its files will be compared with the state at the next start."""
    machine = call.machine
    return {
        "MaxCapacityInBytes": machine.cache.capacity,
        "NeedsReconcile": cache.get(_RECONCILE) == machine.store.meta("starts"),
        "Path": str(machine.directory / "cache"),
    }


@records.changing("CacheFilesystem")
def change_cache(call: Call, cache: Fields, changes: Fields) -> None:
    """Check the thresholds; another capacity counts at once, and what does not fit any more is reclaimed."""
    machine = call.machine
    known = records.complete(call, kind("CacheFilesystem"), cache) | changes
    for name in _THRESHOLDS:
        if not 0 < known[name] <= 1:
            raise bad_request(f"{name} is a fraction above 0 and up to 1.")
    if known["AutoReclaimTerminateThreshold"] > known["AutoReclaimInitiateThreshold"]:
        raise bad_request("Reclaiming cannot end above where it begins.")
    if changes.get("MaxCapacityInBytes") == 0:
        raise bad_request("A cache has a capacity above 0.")
    if "NeedsReconcile" in changes:
        changes[_RECONCILE] = machine.store.meta("starts") if changes.pop("NeedsReconcile") else None
    if "MaxCapacityInBytes" in changes:
        capacity = changes["MaxCapacityInBytes"] or machine.settings.cache_size
        machine.store.after_commit(lambda: _resize(machine, capacity))


def _resize(machine: Machine, capacity: int) -> None:
    machine.cache.capacity = capacity
    machine.cache.make_room(0, capacity)
    machine.jobs.changed.notify_all()


@rest("GetCacheState")
def get_cache_state(call: Call) -> Reply:
    """Tell how full the cache is, and how much of it jobs hold."""
    machine = call.machine
    with machine.store.lock:
        cache = machine.cache
        count, held, evictable = machine.store.db.execute(
            "SELECT count(*), coalesce(sum(length), 0), coalesce(sum(CASE WHEN persisted THEN length END), 0) "
            "FROM blobs WHERE cached = 1"
        ).fetchone()
        summary = (
            f"{count} blobs in the cache: {cache.used} bytes allocated ({cache.used - held} for blobs to come), "
            f"{evictable} bytes could be reclaimed, {cache.capacity} bytes in all."
        )
        filesystem = {
            "AvailableCapacityInBytes": max(0, cache.capacity - cache.used),
            "CacheFilesystem": records.complete(call, kind("CacheFilesystem"), machine.beans.all("CacheFilesystem")[0]),
            "JobLockedCacheInBytes": cache.used - evictable,
            "Summary": summary,
            "TotalCapacityInBytes": cache.capacity,
            "UnavailableCapacityInBytes": 0,
            "UsedCapacityInBytes": cache.used,
        }
    return record_reply(kind("CacheInformation"), {"Filesystems": [filesystem]})


@rest("ForceFullCacheReclaim")
def reclaim(call: Call) -> Reply:
    """Empty the cache of all that is on tape and that no job needs there."""
    machine = call.machine
    with machine.store.lock:
        machine.cache.reclaim()
        machine.jobs.changed.notify_all()
    return Reply(204)


# The settings of the data path.


def _backend(machine: Machine) -> Fields:
    return {
        "AutoActivateTimeoutInMins": 30,
        "CacheAvailableRetryAfterInSeconds": machine.settings.retry_after,
        "InstanceId": machine.instance_id,
        "LastHeartbeat": machine.clock.now(),
        **machine.beans.all("DataPathBackend")[0],
    }


@rest("GetDataPathBackend")
def get_backend(call: Call) -> Reply:
    """Show the settings of the data path."""
    return record_reply(kind("DataPathBackend"), _backend(call.machine))


@rest("ModifyDataPathBackend")
def modify_backend(call: Call) -> Reply:
    """Change settings of the data path; those of jobs count from the next one on."""
    with call.machine.store.lock:
        records.change(call, kind("DataPathBackend"), call.machine.beans.all("DataPathBackend")[0])
        return get_backend(call)


@records.changing("DataPathBackend")
def change_backend(_: Call, __: Fields, changes: Fields) -> None:
    """Refuse shares of more than all, and limits that let nothing through."""
    if (changes.get("IomCacheLimitationPercent") or 0) > 1:
        raise bad_request("iom_cache_limitation_percent is a fraction of 1.")
    if (changes.get("PartiallyVerifyLastPercentOfTapes") or 0) > 100:
        raise bad_request("partially_verify_last_percent_of_tapes is a percentage.")
    for name in ("MaxAggregatedBlobsPerChunk", "MaxNumberOfConcurrentJobs"):
        if changes.get(name) == 0:
            raise bad_request(f"{name} is 1 or more.")


@rest("ResetInstanceIdentifier")
def reset_instance(call: Call) -> Reply:
    """Give the appliance another identity, as after its state was copied to a second one."""
    machine = call.machine
    with machine.store.writing():
        identifier = str(machine.beans.all("DataPathBackend")[0]["Id"])
        machine.beans.update("DataPathBackend", identifier, {"InstanceId": machine.new_id()})
    return get_backend(call)


# The node.


@records.presenting("Node")
def present_node(call: Call, _: Fields) -> Mapping[str, Value]:
    """Tell where the one node is found."""
    machine = call.machine
    return {
        "DataPathHttpPort": machine.port,
        "DataPathIpAddress": machine.settings.host,
        "LastHeartbeat": machine.clock.now(),
    }
