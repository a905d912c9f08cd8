"""Whether what a put job brings would find a place: media of each storage domain, targets, licences.

Disk pools are not imitated: a storage domain with a member in a pool partition is taken to have room there, and what
is put for it stays in the cache.
"""

from __future__ import annotations

from ds3tool.simulator.buckets import Bucket, Rules
from ds3tool.simulator.records.beans import Beans
from ds3tool.simulator.tapes.library import Library, Tape
from ds3tool.simulator.wire.refusals import Refusal, bad_request

# A rule that copies to a cloud needs the licence for it: type of rule -> FeatureKeyType. Source: contract.
_LICENCES = {
    "AzureDataReplicationRule": "MICROSOFT_AZURE_CLOUD_OUT",
    "S3DataReplicationRule": "AWS_S3_CLOUD_OUT",
}
_TARGETS = {
    "AzureDataReplicationRule": "AzureTarget",
    "Ds3DataReplicationRule": "Ds3Target",
    "S3DataReplicationRule": "S3Target",
}


class Safety:
    """Looks before data are taken that could go nowhere. Methods are called with the store's lock held."""

    def __init__(self, beans: Beans, library: Library) -> None:
        self._beans = beans
        self._library = library

    def check(self, bucket: Bucket, rules: Rules) -> None:
        """Raise a 400 when a copy that the data policy demands has nowhere to go, a 402 for a licence that is missing.

        Source: protocol, 8.8.
        """
        if not rules.domains:
            raise bad_request("The bucket's data policy has no persistence rule: nothing would reach a tape.")
        for domain in rules.domains:
            if not self._has_media(domain):
                name = (self._beans.get("StorageDomain", domain) or {}).get("Name", domain)
                raise bad_request(f"The storage domain '{name}' of the bucket's data policy has no writable media.")
        for kind, target_kind in _TARGETS.items():
            for rule in self._beans.all(kind):
                if rule.get("DataPolicyId") == bucket.data_policy_id and rule.get("Type") != "RETIRED":
                    self._check_target(kind, target_kind, str(rule.get("TargetId")))

    def _has_media(self, domain: str) -> bool:
        for tape in self._library.tapes.values():
            if tape.writable and tape.available and self._takes(domain, tape):
                return True
        return any(
            member.get("PoolPartitionId") and member.get("WritePreference") != "NEVER_SELECT"
            for member in self._beans.all("StorageDomainMember")
            if member["StorageDomainId"] == domain
        )

    def _takes(self, domain: str, tape: Tape) -> bool:
        if tape.domain_id is not None:
            return tape.domain_id == domain
        return self._library.member(domain, tape) is not None

    def _check_target(self, kind: str, target_kind: str, target_id: str) -> None:
        licence = _LICENCES.get(kind)
        if licence is not None and all(key.get("Key") != licence for key in self._beans.all("FeatureKey")):
            message = f"PaymentRequired[402]: The licence {licence} is missing, which the data policy needs."
            raise Refusal(402, "PaymentRequired", message)
        target = self._beans.get(target_kind, target_id)
        if target is None or target.get("State", "ONLINE") != "ONLINE" or target.get("Quiesced", "NO") != "NO":
            name = target_id if target is None else target.get("Name", target_id)
            raise bad_request(f"The target '{name}' of the bucket's data policy is not online.")
