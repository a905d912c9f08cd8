"""The appliance about itself: information, health, capacity, cache, backend, node."""

from __future__ import annotations

import time

from ds3tool.protocol import names
from ds3tool.simulator import xmlout
from ds3tool.simulator.beans import Fields
from ds3tool.simulator.dispatch import Call, rest
from ds3tool.simulator.documents import configured, data, data_list
from ds3tool.simulator.messages import Reply, xml_reply
from ds3tool.simulator.paging import page
from ds3tool.simulator.refusals import bad_request
from ds3tool.simulator.xmlout import Value, bean, element

# The contract that this one follows. Source: protocol, 11.4 and appendix A.
_VERSION = "5.8.0"
_REVISION = "3150467"
_API_VERSION = "0123456789ABCDEF0123456789ABCDEF.FEDCBA9876543210FEDCBA9876543210"


@rest("GetSystemInformation")
def get_system_information(call: Call) -> Reply:
    """Tell version, serial number and clock."""
    machine = call.machine
    return data(
        {
            "ApiVersion": _API_VERSION,
            "BackendActivated": True,
            "BuildInformation": bean("BuildInformation", {"Branch": "sim", "Revision": _REVISION, "Version": _VERSION}),
            "InstanceId": machine.instance_id,
            "Now": int(machine.clock.now() * 1000),
            "SerialNumber": str(machine.node["SerialNumber"]),
        }
    )


@rest("VerifySystemHealth")
def get_system_health(call: Call) -> Reply:
    """Tell how long the state took to answer."""
    started = time.perf_counter()
    with call.machine.store.lock:
        call.machine.store.db.execute("SELECT 1").fetchone()
    spent = round((time.perf_counter() - started) * 1000)
    return data({"DatabaseFilesystemFreeSpace": "NORMAL", "MsRequiredToVerifyDataPlannerHealth": spent})


@rest("GetSystemCapacitySummary")
def get_capacity(call: Call) -> Reply:
    """Tell how much tape there is: of the system, a storage domain, or a bucket in one."""
    machine = call.machine
    with machine.store.lock:
        tapes = list(machine.library.tapes.values())
        domain = call.text("storage_domain_id")
        if domain:
            identifier = machine.beans.find("StorageDomain", domain)["Id"]
            tapes = [tape for tape in tapes if tape.domain_id == identifier]
        used = sum(tape.written for tape in tapes)
        if call.text("bucket_id"):
            bucket = machine.buckets.find(call.needed("bucket_id"))
            condition = "" if not domain else " AND c.domain = ?"
            values = (bucket.n, identifier) if domain else (bucket.n,)
            (used,) = machine.store.db.execute(
                "SELECT coalesce(sum(b.length), 0) FROM objects o JOIN blobs b ON b.object = o.n "  # noqa: S608 - constants
                f"JOIN copies c ON c.blob = b.n WHERE o.bucket = ?{condition}",
                values,
            ).fetchone()
    tape_values: dict[str, Value] = {
        "PhysicalAllocated": sum(tape.capacity for tape in tapes if tape.domain_id is not None),
        "PhysicalFree": sum(tape.available for tape in tapes),
        "PhysicalUsed": used,
    }
    pool_values: dict[str, Value] = dict.fromkeys(tape_values, 0)
    return data({"Pool": bean("Pool", pool_values), "Tape": bean("Tape", tape_values)})


# The cache.


def _cache_filesystem(call: Call) -> dict[str, Value]:
    machine = call.machine
    return configured(
        machine.beans.all("CacheFilesystem")[0],
        {
            "AutoReclaimInitiateThreshold": 0.82,
            "AutoReclaimTerminateThreshold": 0.72,
            "BurstThreshold": 0.85,
            "CacheSafetyEnabled": False,
            "MaxCapacityInBytes": machine.cache.capacity,
            "MaxPercentUtilizationOfFilesystem": None,
            "NeedsReconcile": False,
            "Path": str(machine.directory / "cache"),
        },
    )


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
        values: dict[str, Value] = {
            "AvailableCapacityInBytes": max(0, cache.capacity - cache.used),
            "CacheFilesystem": bean("CacheFilesystem", _cache_filesystem(call)),
            "JobLockedCacheInBytes": cache.used - evictable,
            "Summary": summary,
            "TotalCapacityInBytes": cache.capacity,
            "UnavailableCapacityInBytes": 0,
            "UsedCapacityInBytes": cache.used,
        }
    return xml_reply(xmlout.document(element("Data", [bean("Filesystems", values)])))


@rest("GetCacheFilesystems")
def get_cache_filesystems(call: Call) -> Reply:
    """List the one file system of the cache."""
    chosen, paging = page(call, [_cache_filesystem(call)], lambda each: str(each["Id"]))
    return data_list([bean("CacheFilesystem", each) for each in chosen], paging)


@rest("GetCacheFilesystem")
def get_cache_filesystem(call: Call) -> Reply:
    """Show a file system of the cache."""
    call.machine.beans.find("CacheFilesystem", call.identifier)
    return data(_cache_filesystem(call))


@rest("ForceFullCacheReclaim")
def reclaim(call: Call) -> Reply:
    """Empty the cache of all that is on tape and that no job needs there."""
    machine = call.machine
    with machine.store.lock:
        machine.cache.reclaim()
        machine.jobs.changed.notify_all()
    return Reply(204)


# The backend and the node.

_BACKEND_FLAGS = (
    "activated",
    "allow_new_job_requests",
    "iom_enabled",
    "pool_safety_enabled",
    "verify_checkpoint_before_read",
)


def _backend_fields(call: Call) -> dict[str, Value]:
    machine = call.machine
    return configured(
        machine.beans.all("DataPathBackend")[0],
        {
            "AllowNewJobRequests": True,
            "AutoActivateTimeoutInMins": 30,
            "AutoInspect": "FULL",
            "CacheAvailableRetryAfterInSeconds": machine.settings.retry_after,
            "DefaultVerifyDataAfterImport": None,
            "DefaultVerifyDataPriorToImport": True,
            "InstanceId": machine.instance_id,
            "IomCacheLimitationPercent": 0.5,
            "IomEnabled": True,
            "LastHeartbeat": machine.clock.now(),
            "MaxAggregatedBlobsPerChunk": 20_000,
            "MaxNumberOfConcurrentJobs": 40_000,
            "PartiallyVerifyLastPercentOfTapes": None,
            "PoolSafetyEnabled": True,
            "UnavailableMediaPolicy": "DISCOURAGED",
            "UnavailablePoolMaxJobRetryInMins": 20,
            "UnavailableTapePartitionMaxJobRetryInMins": 20,
            "VerifyCheckpointBeforeRead": True,
        },
    )


@rest("GetDataPathBackend")
def get_backend(call: Call) -> Reply:
    """Show the settings of the data path."""
    return data(_backend_fields(call))


@rest("ModifyDataPathBackend")
def modify_backend(call: Call) -> Reply:
    """Change settings of the data path; of those, whether new jobs are allowed has an effect here."""
    beans = call.machine.beans
    changes: Fields = {}
    for parameter in _BACKEND_FLAGS:
        if call.has(parameter):
            name = "".join(word.capitalize() for word in parameter.split("_"))
            value = call.flag(parameter)
            if value is None:
                raise bad_request(f"The parameter {parameter} needs a value.", names.INVALID_ARGUMENT)
            changes[name] = value
    with call.machine.store.lock:
        beans.update("DataPathBackend", str(beans.all("DataPathBackend")[0]["Id"]), changes)
    return data(_backend_fields(call))


def _node_fields(call: Call, node: Fields) -> dict[str, Value]:
    machine = call.machine
    return configured(
        node,
        {
            "DataPathHttpPort": machine.port,
            "DataPathHttpsPort": None,
            "DataPathIpAddress": machine.settings.host,
            "LastHeartbeat": machine.clock.now(),
        },
    )


@rest("GetNodes")
def get_nodes(call: Call) -> Reply:
    """List the one node."""
    chosen, paging = page(call, call.machine.beans.all("Node"), lambda each: str(each["Id"]))
    return data_list([bean("Node", _node_fields(call, each)) for each in chosen], paging)


@rest("GetNode")
def get_node(call: Call) -> Reply:
    """Show the node."""
    return data(_node_fields(call, call.machine.beans.find("Node", call.identifier)))
