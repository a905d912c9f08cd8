"""What lacks a copy: blobs, the buckets they are in, the rules that ask for it."""

from __future__ import annotations

from ds3tool.simulator.dispatch import Call, rest
from ds3tool.simulator.documents import data_list
from ds3tool.simulator.handlers.buckets import bucket_list
from ds3tool.simulator.records import engine as records
from ds3tool.simulator.records.paging import headers, window
from ds3tool.simulator.wire.messages import Reply
from ds3tool.simulator.wire.xmlout import Value, bean

_OTHER_RULES = ("AzureReplicationRuleId", "Ds3ReplicationRuleId", "S3ReplicationRuleId")


@rest("GetDegradedBlobs")
def get_degraded_blobs(call: Call) -> Reply:
    """List the blobs that lack a copy, each with the rule that asks for it."""
    machine = call.machine
    with machine.store.lock:
        bucket = machine.buckets.find(call.needed("bucket_id")) if call.text("bucket_id") else None
        rule = call.text("persistence_rule_id")
        rule_id = str(records.find(machine, "DataPersistenceRule", rule)["Id"]) if rule else None
        blob = (machine.blob_ids.number(call.needed("blob_id")) or 0) if call.text("blob_id") else None
        if call.text("ds3_replication_rule_id"):  # no copy is ever owed to another appliance
            records.find(machine, "Ds3DataReplicationRule", call.needed("ds3_replication_rule_id"))
            blob = 0
        degraded = machine.degraded
        total = degraded.count(bucket=bucket, rule_id=rule_id, blob=blob)
        start, end = window(
            call, total, lambda marker: degraded.place_of(marker, bucket=bucket, rule_id=rule_id, blob=blob)
        )
        items = []
        for each in degraded.page(start, end - start, bucket=bucket, rule_id=rule_id, blob=blob):
            values: dict[str, Value] = {
                **dict.fromkeys(_OTHER_RULES),
                "BlobId": machine.blob_ids.of(each.blob),
                "BucketId": machine.buckets.numbered(each.bucket).id,
                "Id": degraded.id_of(each),
                "PersistenceRuleId": each.rule_id,
            }
            items.append(bean("DegradedBlob", values))
    return data_list(items, headers(total, end))


@rest("GetDegradedBuckets")
def get_degraded_buckets(call: Call) -> Reply:
    """List the buckets with blobs that lack a copy."""
    return bucket_list(call, lambda bucket: call.machine.degraded.has(bucket=bucket))


@rest("GetDegradedDataPersistenceRules")
def get_degraded_rules(call: Call) -> Reply:
    """List the persistence rules that ask for copies which are not there."""
    machine = call.machine
    with machine.store.lock:
        return records.listing(
            call, [rule for rule in machine.degraded.rules() if machine.degraded.has(rule_id=rule["Id"])]
        )


def _no_rules(call: Call) -> Reply:
    """List no rule: nothing is replicated, so nothing lacks a replica."""
    return records.listing(call, ())


for _kind in ("Azure", "Ds3", "S3"):
    rest(f"GetDegraded{_kind}DataReplicationRules")(_no_rules)
