"""Other appliances and clouds to replicate to: kept as records, for nothing is ever sent there.

A target is registered, changed, quiesced and named in rules and preferences as on a real appliance. What would have to
reach it fails as it does when it is away, and is told in the target's failures.
"""

from __future__ import annotations

from ds3tool.simulator.contract import kind
from ds3tool.simulator.dispatch import Call, rest
from ds3tool.simulator.records import engine as records
from ds3tool.simulator.records.beans import Fields
from ds3tool.simulator.records.marshalling import list_reply, record_reply
from ds3tool.simulator.wire.messages import Reply
from ds3tool.simulator.wire.refusals import bad_request, conflict

_CLOUDS = ("AzureTarget", "S3Target")
_TARGETS = (*_CLOUDS, "Ds3Target")
_PORTS = ("DataPathPort", "ProxyPort")
_LAST_PORT = 65_535


def _check(target: Fields) -> None:
    """Raise a 400 for what no target can be."""
    for name in _PORTS:
        port = target.get(name)
        if port is not None and not 0 < port <= _LAST_PORT:
            raise bad_request(f"{name} is a port, 1 to {_LAST_PORT}.")


@records.making(*_TARGETS)
def make_target(_: Call, target: Fields) -> None:
    """Refuse what no target can be."""
    _check(target)


@records.changing(*_TARGETS)
def change_target(_: Call, __: Fields, changes: Fields) -> None:
    """Refuse what no target can be."""
    _check(changes)


@records.changing("Pool", *_TARGETS)
def quiesce(_: Call, record: Fields, changes: Fields) -> None:
    """Let what is to be quiesced be so at once, as nothing is under way there; only the appliance itself says YES."""
    asked, now = changes.get("Quiesced"), record.get("Quiesced", "NO")
    if asked == "YES" and now != "YES":
        raise conflict("Conflict[409]: Quiesced is asked for as PENDING; it is YES when nothing is under way any more.")
    if asked == "PENDING":
        changes["Quiesced"] = "YES"


def _tell(call: Call, target_kind: str, target: Fields, failure: str, message: str) -> None:
    """Put on record what became of something that was asked of a target."""
    values: Fields = {
        "Date": call.machine.clock.now(),
        "ErrorMessage": message,
        "TargetId": target["Id"],
        "Type": failure,
    }
    call.machine.beans.add(f"{target_kind}Failure", call.machine.new_id(), values)


def _register(target_kind: str) -> None:
    """Register what is asked of one target of a kind beyond its record."""

    @rest(f"GetBlobsOn{target_kind}")
    def get_blobs(call: Call) -> Reply:
        """List the blobs on a target: none, since nothing is sent there."""
        records.find(call.machine, target_kind, call.identifier)
        return record_reply(kind("BlobsContainer"), {})

    @rest(f"Verify{target_kind}")
    def verify(call: Call) -> Reply:
        """Look after a target; with `full_details` after every blob on it, and there are none."""
        machine = call.machine
        with machine.store.writing():
            target = records.find(machine, target_kind, call.identifier)
            if call.has("full_details"):
                _tell(call, target_kind, target, "VERIFY_COMPLETE", "No blobs are on the target.")
                if target_kind in _CLOUDS:
                    moment = {"LastFullyVerified": machine.clock.now()}
                    target = machine.beans.update(target_kind, str(target["Id"]), moment)
        return record_reply(kind(target_kind), target)


def _register_import(target_kind: str) -> None:
    @rest(f"Import{target_kind}")
    def import_bucket(call: Call) -> Reply:
        """Take over a bucket of a cloud, which fails afterwards: it cannot be reached."""
        machine = call.machine
        with machine.store.writing():
            target = records.find(machine, target_kind, call.identifier)
            for parameter, name in (("data_policy_id", "DataPolicy"), ("user_id", "User")):
                text = call.text(parameter)
                if text:
                    records.find(machine, name, text)
            message = f"The bucket '{call.needed('cloud_bucket_name')}' could not be imported: no connection."
            _tell(call, target_kind, target, "IMPORT_FAILED", message)
        return Reply(204)


for _name in _TARGETS:
    _register(_name)
for _name in _CLOUDS:
    _register_import(_name)


@rest("PairBackRegisteredDs3Target")
def pair_back(call: Call) -> Reply:
    """Ask another appliance to register this one as its target, which is not told whether it did."""
    records.find(call.machine, "Ds3Target", call.identifier)
    return Reply(204)


@rest("GetDs3TargetDataPolicies")
def get_target_policies(call: Call) -> Reply:
    """List the data policies of another appliance: none are known of one that cannot be reached."""
    records.find(call.machine, "Ds3Target", call.identifier)
    return list_reply(kind("DataPolicy"), ())
