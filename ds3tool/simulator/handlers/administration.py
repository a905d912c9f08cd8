"""Data policies, persistence rules, storage domains: lists, details, and the changes that clients make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ds3tool.simulator.beans import Fields
from ds3tool.simulator.dispatch import Call, rest
from ds3tool.simulator.documents import configured, data, data_list
from ds3tool.simulator.job import PRIORITY_RANK
from ds3tool.simulator.messages import Reply
from ds3tool.simulator.paging import matcher, page
from ds3tool.simulator.refusals import bad_request, conflict
from ds3tool.simulator.xmlout import Value, bean, plain

_CHECKSUMS = ("CRC_32", "CRC_32C", "MD5", "SHA_256", "SHA_512")
_VERSIONING = ("NONE", "KEEP_LATEST", "KEEP_MULTIPLE_VERSIONS")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of bean that is listed and shown alike: its filters (parameter, element) and defaults."""

    name: str
    filters: dict[str, str]
    defaults: dict[str, Value]


_POLICIES = Kind("DataPolicy", {"name": "Name", "checksum_type": "ChecksumType"}, {})
_RULES = Kind(
    "DataPersistenceRule",
    {"data_policy_id": "DataPolicyId", "storage_domain_id": "StorageDomainId", "state": "State", "type": "Type"},
    {},
)
_DOMAINS = Kind(
    "StorageDomain",
    {"name": "Name"},
    {
        "AutoEjectMediaFullThreshold": None,
        "AutoEjectUponCron": None,
        "AutoEjectUponJobCancellation": False,
        "AutoEjectUponJobCompletion": False,
        "AutoEjectUponMediaFull": False,
        "LtfsFileNaming": "OBJECT_ID",
        "MaxTapeFragmentationPercent": 65,
        "MaximumAutoVerificationFrequencyInDays": None,
        "SecureMediaAllocation": False,
        "VerifyPriorToAutoEject": None,
        "WriteOptimization": "CAPACITY",
    },
)
_MEMBERS = Kind(
    "StorageDomainMember",
    {"storage_domain_id": "StorageDomainId", "tape_partition_id": "TapePartitionId", "tape_type": "TapeType"},
    {"AutoCompactionThreshold": None, "PoolPartitionId": None, "State": "NORMAL", "WritePreference": "NORMAL"},
)
_JOB_FAILURES = Kind("JobCreationFailed", {"error_message": "ErrorMessage", "user_name": "UserName"}, {})
# Which kind of bean a parameter that names another one means.
_REFERENCES = {
    "data_policy_id": "DataPolicy",
    "storage_domain_id": "StorageDomain",
    "tape_partition_id": "TapePartition",
}


def _resolved(call: Call, parameter: str) -> str | None:
    text = call.text(parameter)
    if not text or parameter not in _REFERENCES:
        return text
    return str(call.machine.beans.find(_REFERENCES[parameter], text)["Id"])


def _list(call: Call, kind: Kind) -> Reply:
    with call.machine.store.lock:
        found = [configured(each, kind.defaults) for each in call.machine.beans.all(kind.name)]
        for parameter, element in kind.filters.items():
            text = _resolved(call, parameter)
            if text is not None:
                test = matcher(text)
                found = [each for each in found if test(plain(each[element]))]
        chosen, paging = page(call, found, lambda each: str(each["Id"]))
        return data_list([bean(kind.name, each) for each in chosen], paging)


def _show(call: Call, kind: Kind) -> Reply:
    return data(configured(call.machine.beans.find(kind.name, call.identifier), kind.defaults))


def _register_reading(kind: Kind, *, plural: str) -> None:
    """Register list and show of a kind."""
    rest(f"Get{plural}")(lambda call: _list(call, kind))
    if kind is not _JOB_FAILURES:
        rest(f"Get{kind.name}")(lambda call: _show(call, kind))


_register_reading(_POLICIES, plural="DataPolicies")
_register_reading(_RULES, plural="DataPersistenceRules")
_register_reading(_DOMAINS, plural="StorageDomains")
_register_reading(_MEMBERS, plural="StorageDomainMembers")
_register_reading(_JOB_FAILURES, plural="JobCreationFailures")


# Data policies.

Reader = Callable[[Call, str], object]


def _choice(*allowed: str) -> Reader:
    return lambda call, name: call.choice(name, allowed)


def _optional_size(call: Call, name: str) -> object:
    return call.number(name)


def _flag(call: Call, name: str) -> object:
    return call.flag(name)


_PRIORITY = _choice(*PRIORITY_RANK)
_POLICY_PARAMETERS: dict[str, tuple[str, Reader]] = {
    "always_force_put_job_creation": ("AlwaysForcePutJobCreation", _flag),
    "always_minimize_spanning_across_media": ("AlwaysMinimizeSpanningAcrossMedia", _flag),
    "blobbing_enabled": ("BlobbingEnabled", _flag),
    "checksum_type": ("ChecksumType", _choice(*_CHECKSUMS)),
    "default_blob_size": ("DefaultBlobSize", _optional_size),
    "default_get_job_priority": ("DefaultGetJobPriority", _PRIORITY),
    "default_put_job_priority": ("DefaultPutJobPriority", _PRIORITY),
    "default_verify_after_write": ("DefaultVerifyAfterWrite", _flag),
    "default_verify_job_priority": ("DefaultVerifyJobPriority", _PRIORITY),
    "end_to_end_crc_required": ("EndToEndCrcRequired", _flag),
    "max_versions_to_keep": ("MaxVersionsToKeep", _optional_size),
    "name": ("Name", lambda call, name: call.needed(name)),
    "rebuild_priority": ("RebuildPriority", _PRIORITY),
    "versioning": ("Versioning", _choice(*_VERSIONING)),
}


def _policy_changes(call: Call) -> Fields:
    changes: Fields = {}
    for parameter, (element, read) in _POLICY_PARAMETERS.items():
        if call.has(parameter):
            changes[element] = read(call, parameter)
    size = changes.get("DefaultBlobSize")
    if size == 0:
        raise bad_request("default_blob_size cannot be 0.")
    return changes


@rest("ModifyDataPolicy")
def modify_data_policy(call: Call) -> Reply:
    """Change a data policy; buckets that hold objects keep the rules of versioning they began with."""
    machine = call.machine
    changes = _policy_changes(call)
    with machine.store.lock:
        policy = machine.beans.find("DataPolicy", call.identifier)
        if changes.get("ChecksumType", policy["ChecksumType"]) != policy["ChecksumType"]:
            _refuse_while_receiving(call, str(policy["Id"]))
        return data(configured(machine.beans.update("DataPolicy", str(policy["Id"]), changes), {}))


def _refuse_while_receiving(call: Call, policy_id: str) -> None:
    """Raise a 409 while a put job is open under a policy: the blobs of one object share one kind of checksum."""
    machine = call.machine
    for job in machine.jobs.active.values():
        if job.chunks and job.type == "PUT" and machine.buckets.numbered(job.bucket).data_policy_id == policy_id:
            raise conflict(f"Conflict[409]: The job {job.id} is receiving blobs under the data policy.")


@rest("CreateDataPolicy")
def create_data_policy(call: Call) -> Reply:
    """Create a data policy; it keeps no copy until it has a persistence rule."""
    machine = call.machine
    name = call.needed("name")
    with machine.store.lock:
        if machine.beans.get("DataPolicy", name) is not None:
            raise conflict(f"Conflict[409]: A data policy named '{name}' exists already.")
        values = {**machine.policy_defaults(), **_policy_changes(call)}
        values.pop("Id", None)
        reply = data(configured(machine.beans.add("DataPolicy", machine.new_id(), values), {}))
    reply.status = 201
    return reply


@rest("DeleteDataPolicy")
def delete_data_policy(call: Call) -> Reply:
    """Delete a data policy that no bucket and no rule uses."""
    machine = call.machine
    with machine.store.lock:
        policy = machine.beans.find("DataPolicy", call.identifier)
        if any(bucket.data_policy_id == policy["Id"] for bucket in machine.buckets.all()):
            raise conflict("Conflict[409]: A bucket uses the data policy.")
        for rule in machine.beans.all("DataPersistenceRule"):
            if rule["DataPolicyId"] == policy["Id"]:
                machine.beans.remove("DataPersistenceRule", str(rule["Id"]))
        machine.beans.remove("DataPolicy", str(policy["Id"]))
    return Reply(204)


@rest("CreateDataPersistenceRule")
def create_rule(call: Call) -> Reply:
    """Let a data policy keep one copy more."""
    machine = call.machine
    days = call.number("minimum_days_to_retain")
    with machine.store.lock:
        values = {
            "DataPolicyId": _resolved(call, "data_policy_id") or call.needed("data_policy_id"),
            "IsolationLevel": call.choice("isolation_level", ("STANDARD", "BUCKET_ISOLATED")) or "STANDARD",
            "MinimumDaysToRetain": days,
            "State": "NORMAL",
            "StorageDomainId": _resolved(call, "storage_domain_id") or call.needed("storage_domain_id"),
            "Type": call.choice("type", ("PERMANENT", "TEMPORARY", "RETIRED")) or "PERMANENT",
        }
        reply = data(configured(machine.beans.add("DataPersistenceRule", machine.new_id(), values), {}))
    reply.status = 201
    return reply


@rest("DeleteDataPersistenceRule")
def delete_rule(call: Call) -> Reply:
    """Let a data policy keep one copy less; copies that are there stay."""
    beans = call.machine.beans
    beans.remove("DataPersistenceRule", str(beans.find("DataPersistenceRule", call.identifier)["Id"]))
    return Reply(204)
