"""Data policies and their persistence rules: what may be made, changed and deleted, and when.

A rule that is added while buckets of its policy hold objects is INCLUSION_IN_PROGRESS until all of them have a copy in
its storage domain.
"""

from __future__ import annotations

from collections.abc import Mapping

from ds3tool.simulator.buckets import Bucket
from ds3tool.simulator.dispatch import Call
from ds3tool.simulator.machine import Machine
from ds3tool.simulator.records import engine as records
from ds3tool.simulator.records.beans import Fields
from ds3tool.simulator.wire.refusals import bad_request, conflict
from ds3tool.simulator.wire.xmlout import Value

_REPLICATION_RULES = ("AzureDataReplicationRule", "Ds3DataReplicationRule", "S3DataReplicationRule")
# Names on tape are those of objects: two versions of one cannot lie there.
_NAMED = "OBJECT_NAME"
_UNVERSIONED = "NONE"


# Data policies.


@records.making("DataPolicy")
def make_policy(call: Call, policy: Fields) -> None:
    """Give a new policy the checksum and the versioning that this appliance was built with, unless others are asked."""
    settings = call.machine.settings
    if not call.has("checksum_type"):
        policy["ChecksumType"] = settings.checksum_type.value
    if not call.has("versioning"):
        policy["Versioning"] = settings.versioning.value
    _check_sizes(policy)


@records.changing("DataPolicy")
def change_policy(call: Call, policy: Fields, changes: Fields) -> None:
    """Refuse what the policy's jobs and storage domains forbid."""
    _check_sizes(changes)
    machine = call.machine
    if changes.get("ChecksumType", policy["ChecksumType"]) != policy["ChecksumType"]:
        _refuse_while_receiving(machine, str(policy["Id"]))
    if changes.get("Versioning", _UNVERSIONED) != _UNVERSIONED:
        for rule in _rules_of(machine, str(policy["Id"])):
            domain = machine.beans.get("StorageDomain", str(rule["StorageDomainId"])) or {}
            if domain.get("LtfsFileNaming") == _NAMED:
                raise bad_request(f"The storage domain '{domain['Name']}' names files after objects: no versions.")


def _check_sizes(values: Fields) -> None:
    if values.get("DefaultBlobSize") == 0:
        raise bad_request("default_blob_size cannot be 0.")
    if values.get("MaxVersionsToKeep") == 0:
        raise bad_request("max_versions_to_keep cannot be 0.")


def _refuse_while_receiving(machine: Machine, policy_id: str) -> None:
    """Raise a 409 while a put job is open under a policy: the blobs of one object share one kind of checksum."""
    for bucket in machine.buckets.all():
        if bucket.data_policy_id == policy_id:
            _refuse_while_filling(machine, bucket)


def _refuse_while_filling(machine: Machine, bucket: Bucket) -> None:
    for job in machine.jobs.active.values():
        if job.chunks and job.type == "PUT" and job.bucket == bucket.n:
            raise conflict(f"Conflict[409]: The job {job.id} is receiving blobs under the data policy.")


def check_move(machine: Machine, bucket: Bucket, policy: Fields) -> None:
    """Raise a 409 when a bucket is receiving blobs with other checksums than another data policy has."""
    if machine.buckets.rules(bucket).checksum_type != policy["ChecksumType"]:
        _refuse_while_filling(machine, bucket)


@records.deleting("DataPolicy")
def delete_policy(call: Call, policy: Fields) -> None:
    """Let the rules of a policy go with it; a 409 while a bucket uses it."""
    machine = call.machine
    if any(bucket.data_policy_id == policy["Id"] for bucket in machine.buckets.all()):
        raise conflict("Conflict[409]: A bucket uses the data policy.")
    for name in ("DataPersistenceRule", *_REPLICATION_RULES):
        for rule in machine.beans.all(name):
            if rule["DataPolicyId"] == policy["Id"]:
                records.forget_references(machine, name, str(rule["Id"]))
                machine.beans.remove(name, str(rule["Id"]))


# Persistence rules.


def _rules_of(machine: Machine, policy_id: str) -> list[Fields]:
    return [rule for rule in machine.beans.all("DataPersistenceRule") if rule["DataPolicyId"] == policy_id]


@records.making("DataPersistenceRule")
def make_rule(call: Call, rule: Fields) -> None:
    """Refuse a rule that does not fit its policy and its storage domain; begin its inclusion."""
    machine = call.machine
    _check_days(rule)
    policy = records.find(machine, "DataPolicy", str(rule["DataPolicyId"]))
    domain = records.find(machine, "StorageDomain", str(rule["StorageDomainId"]))
    if domain.get("LtfsFileNaming") == _NAMED and policy["Versioning"] != _UNVERSIONED:
        raise bad_request(f"The storage domain '{domain['Name']}' names files after objects: no versions.")
    rule["State"] = "INCLUSION_IN_PROGRESS" if _to_include(machine, rule) else "NORMAL"


def _check_days(rule: Fields) -> None:
    """Raise a 400 unless exactly a TEMPORARY rule tells how many days its copies are kept."""
    if rule["MinimumDaysToRetain"] is not None and rule["Type"] != "TEMPORARY":
        raise bad_request("Only a TEMPORARY rule has minimum_days_to_retain.")


def _to_include(machine: Machine, rule: Fields) -> bool:
    """Tell whether an object that is on tape under a rule's policy lacks a copy in the rule's storage domain."""
    if rule["Type"] == "RETIRED":
        return False
    return (
        machine.store.db.execute(
            "SELECT 1 FROM buckets k JOIN objects o ON o.bucket = k.n JOIN blobs b ON b.object = o.n "
            "WHERE k.data_policy_id = ? AND b.persisted = 1 AND NOT EXISTS "
            "(SELECT 1 FROM copies c WHERE c.blob = b.n AND c.domain = ?) LIMIT 1",
            (rule["DataPolicyId"], rule["StorageDomainId"]),
        ).fetchone()
        is not None
    )


@records.presenting("DataPersistenceRule")
def present_rule(call: Call, rule: Fields) -> Mapping[str, Value]:
    """Tell that the inclusion of a rule is over as soon as nothing lacks a copy."""
    machine = call.machine
    if rule["State"] != "INCLUSION_IN_PROGRESS" or _to_include(machine, rule):
        return {}
    if machine.beans.get("DataPersistenceRule", str(rule["Id"])) is not None:
        machine.beans.update("DataPersistenceRule", str(rule["Id"]), {"State": "NORMAL"})
    return {"State": "NORMAL"}


@records.changing("DataPersistenceRule")
def change_rule(call: Call, rule: Fields, changes: Fields) -> None:
    """Check a rule's days; a rule that is not RETIRED any more has to include what came meanwhile."""
    changed = {**rule, **changes}
    if changed["Type"] != "TEMPORARY" and "minimum_days_to_retain" not in call.parameters:
        changes["MinimumDaysToRetain"] = changed["MinimumDaysToRetain"] = None
    _check_days(changed)
    if changed["Type"] != rule["Type"] or changed["IsolationLevel"] != rule["IsolationLevel"]:
        if changed["Type"] == "RETIRED":
            _refuse_last(call.machine, rule)
        changes["State"] = "INCLUSION_IN_PROGRESS" if _to_include(call.machine, changed) else "NORMAL"


@records.deleting("DataPersistenceRule")
def delete_rule(call: Call, rule: Fields) -> None:
    """Refuse with a 409 to drop a rule by which copies are kept, unless it is RETIRED; copies that are there stay."""
    machine = call.machine
    if rule["Type"] == "RETIRED":
        return
    kept = machine.store.db.execute(
        "SELECT 1 FROM copies c JOIN blobs b ON b.n = c.blob JOIN objects o ON o.n = b.object "
        "JOIN buckets k ON k.n = o.bucket WHERE c.domain = ? AND k.data_policy_id = ? LIMIT 1",
        (rule["StorageDomainId"], rule["DataPolicyId"]),
    ).fetchone()
    if kept is not None:
        raise conflict("Conflict[409]: Copies are kept by the rule: retire it first.")
    _refuse_last(machine, rule)


def _refuse_last(machine: Machine, rule: Fields) -> None:
    """Raise a 409 when buckets with objects would be left without any rule to keep them by."""
    others = [
        each
        for each in _rules_of(machine, str(rule["DataPolicyId"]))
        if each["Id"] != rule["Id"] and each["Type"] == "PERMANENT"
    ]
    if others or rule["Type"] != "PERMANENT":
        return
    for bucket in machine.buckets.all():
        if bucket.data_policy_id == rule["DataPolicyId"] and machine.objects.count("bucket = ? LIMIT 1", (bucket.n,)):
            raise conflict(f"Conflict[409]: It is the only rule by which the bucket '{bucket.name}' keeps its objects.")


# Replication rules: what they ask for would go to appliances and clouds that are none.


@records.making(*_REPLICATION_RULES)
def make_replication_rule(_: Call, rule: Fields) -> None:
    """Let a new rule be NORMAL: no target that it names can be reached, and nothing is due there."""
    rule["State"] = "NORMAL"
