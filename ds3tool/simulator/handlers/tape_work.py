"""What drives are asked to do to tapes, one or all: inspect, format, import, verify, compact.

The forms for all tapes act on those that are meant (verify: those with copies; import: the foreign ones; cancel: those
that wait or are at it) and name in a 207 each of them that could not be acted upon.
"""

from __future__ import annotations

from ds3tool.simulator.dispatch import Call, rest
from ds3tool.simulator.handlers.jobs import PRIORITIES
from ds3tool.simulator.handlers.tapes import Action, every, one, several
from ds3tool.simulator.records import engine as records
from ds3tool.simulator.records.beans import Fields
from ds3tool.simulator.tapes.importing import ImportOptions
from ds3tool.simulator.tapes.library import Tape
from ds3tool.simulator.tapes.tape import ABSENT
from ds3tool.simulator.wire.messages import Reply
from ds3tool.simulator.wire.refusals import bad_request


def _in_state(call: Call, *states: str) -> list[Tape]:
    return [tape for tape in every(call) if tape.state in states]


def _present(call: Call) -> list[Tape]:
    """Return the tapes in the library that data could be on."""
    return [tape for tape in every(call) if tape.state not in ABSENT and not tape.is_cleaner]


def _verifying(call: Call) -> Action:
    priority = call.choice("task_priority", PRIORITIES)
    return lambda tape: call.machine.upkeep.verify(tape, priority)


@rest("VerifyTape")
def verify_tape(call: Call) -> Reply:
    """Have every copy on a tape read; `VerifyPending` is set until that is done."""
    return one(call, _verifying(call))


@rest("VerifyAllTapes")
def verify_all_tapes(call: Call) -> Reply:
    """Have every copy read on every tape that belongs to a storage domain."""
    return several(call, [tape for tape in every(call) if tape.domain_id is not None], _verifying(call))


@rest("CancelVerifyTape")
def cancel_verify_tape(call: Call) -> Reply:
    """Call a verification off."""
    return one(call, call.machine.upkeep.cancel_verify)


@rest("CancelVerifyOnAllTapes")
def cancel_verify_all_tapes(call: Call) -> Reply:
    """Call all verifications off."""
    pending = [tape for tape in every(call) if tape.verify_pending is not None]
    return several(call, pending, call.machine.upkeep.cancel_verify)


def _inspecting(call: Call) -> Action:
    priority = call.choice("task_priority", PRIORITIES)
    return lambda tape: call.machine.upkeep.inspect(tape, priority)


@rest("InspectTape")
def inspect_tape(call: Call) -> Reply:
    """Have a drive look what a tape is; it is PENDING_INSPECTION until then."""
    return one(call, _inspecting(call))


@rest("InspectAllTapes")
def inspect_all_tapes(call: Call) -> Reply:
    """Have every tape looked at that is in the library."""
    return several(call, _present(call), _inspecting(call))


def _formatting(call: Call) -> Action:
    force = call.has("force")
    return lambda tape: call.machine.upkeep.format(tape, force=force)


@rest("FormatTape")
def format_tape(call: Call) -> Reply:
    """Have a tape emptied; with data of this appliance on it by `force` only."""
    return one(call, _formatting(call))


@rest("FormatAllTapes")
def format_all_tapes(call: Call) -> Reply:
    """Have every tape emptied that is in the library; those with data by `force` only."""
    return several(call, _present(call), _formatting(call))


@rest("CancelFormatTape")
def cancel_format_tape(call: Call) -> Reply:
    """Call a format off that has not begun."""
    return one(call, call.machine.upkeep.cancel_format)


@rest("CancelFormatOnAllTapes")
def cancel_format_all_tapes(call: Call) -> Reply:
    """Call all formats off; those that have begun are told in the 207."""
    return several(call, _in_state(call, "FORMAT_PENDING", "FORMAT_IN_PROGRESS"), call.machine.upkeep.cancel_format)


def _import_options(call: Call) -> ImportOptions:
    """Return how to import: who new buckets belong to, after which data policy, and what is read before and after."""
    machine = call.machine
    user: Fields = call.user
    if call.text("user_id"):
        user = records.find(machine, "User", call.needed("user_id"))
    policy = call.text("data_policy_id") or user.get("DefaultDataPolicyId")
    if not policy:
        raise bad_request("There is no data policy for buckets of the tape: none is named, and the user has none.")
    backend = machine.beans.all("DataPathBackend")[0]
    before = call.flag("verify_data_prior_to_import")
    return ImportOptions(
        data_policy_id=str(records.find(machine, "DataPolicy", str(policy))["Id"]),
        user_id=str(user["Id"]),
        storage_domain_id=_storage_domain(call),
        priority=call.choice("priority", PRIORITIES),
        verify_before=bool(backend.get("DefaultVerifyDataPriorToImport", True)) if before is None else before,
        verify_after=call.choice("verify_data_after_import", PRIORITIES) or backend.get("DefaultVerifyDataAfterImport"),
    )


def _storage_domain(call: Call) -> str | None:
    name = call.text("storage_domain_id")
    return str(records.find(call.machine, "StorageDomain", name)["Id"]) if name else None


def _importing(call: Call) -> Action:
    options = _import_options(call)
    return lambda tape: call.machine.upkeep.import_objects(tape, options)


@rest("ImportTape")
def import_tape(call: Call) -> Reply:
    """Take in the buckets and objects of a FOREIGN tape; a 400 without any data policy for them."""
    return one(call, _importing(call))


@rest("ImportAllTapes")
def import_all_tapes(call: Call) -> Reply:
    """Take in every FOREIGN tape."""
    return several(call, _in_state(call, "FOREIGN"), _importing(call))


def _raw_importing(call: Call) -> Action:
    bucket = call.machine.buckets.find(call.needed("bucket_id"))
    options = ImportOptions(
        data_policy_id=bucket.data_policy_id,
        user_id=bucket.user_id,
        storage_domain_id=_storage_domain(call),
        bucket_id=bucket.id,
        priority=call.choice("task_priority", PRIORITIES),
    )
    return lambda tape: call.machine.upkeep.import_files(tape, options)


@rest("RawImportTape")
def raw_import_tape(call: Call) -> Reply:
    """Take in the files of a tape that no appliance wrote, as objects of a bucket."""
    return one(call, _raw_importing(call))


@rest("RawImportAllTapes")
def raw_import_all_tapes(call: Call) -> Reply:
    """Take in the files of all such tapes."""
    return several(call, _in_state(call, "LTFS_WITH_FOREIGN_DATA"), _raw_importing(call))


_IMPORTING = ("IMPORT_PENDING", "IMPORT_IN_PROGRESS", "RAW_IMPORT_PENDING", "RAW_IMPORT_IN_PROGRESS")


@rest("CancelImportTape")
def cancel_import_tape(call: Call) -> Reply:
    """Call an import off that has not begun."""
    return one(call, call.machine.upkeep.cancel_import)


@rest("CancelImportOnAllTapes")
def cancel_import_all_tapes(call: Call) -> Reply:
    """Call all imports off; those that have begun are told in the 207."""
    return several(call, _in_state(call, *_IMPORTING), call.machine.upkeep.cancel_import)


@rest("MarkTapeForCompaction")
def compact_tape(call: Call) -> Reply:
    """Have what lives on a tape copied elsewhere, and the tape emptied; a 409 when nothing would be won by that."""
    return one(call, call.machine.upkeep.compact)
