"""Tape partitions: both forms of their details, what is set of them, and the look at the whole library."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ds3tool.simulator.contract import kind
from ds3tool.simulator.dispatch import Call, rest
from ds3tool.simulator.records import engine as records
from ds3tool.simulator.records.beans import Fields
from ds3tool.simulator.records.marshalling import record_reply
from ds3tool.simulator.tapes.library import Tape
from ds3tool.simulator.wire.messages import Reply
from ds3tool.simulator.wire.refusals import bad_request, conflict


@records.changing("TapePartition")
def change_partition(call: Call, partition: Fields, changes: Fields) -> None:
    """Refuse what nobody may set, and let the drives look at what has been set.

    YES is what a partition comes to by itself after PENDING. No more drives can be kept for reads and writes than
    there are beside one.
    """
    if changes.get("Quiesced") == "YES":
        raise conflict(f"Conflict[409]: The partition '{partition['Name']}' is quiesced by PENDING, not by YES.")
    if changes.get("Quiesced") == "PENDING" and partition.get("Quiesced") == "YES":
        changes["Quiesced"] = "YES"
    after = {**partition, **changes}
    kept = sum(int(after.get(f"Minimum{what}ReservedDrives") or 0) for what in ("Read", "Write"))
    drives = [each for each in call.machine.beans.all("TapeDrive") if each["PartitionId"] == partition["Id"]]
    if kept and kept > len(drives):
        raise bad_request(f"The partition '{partition['Name']}' has {len(drives)} drives; {kept} cannot be kept.")
    call.machine.store.after_commit(call.machine.drives.reconsider)


@records.deleting("TapePartition")
def delete_partition(call: Call, partition: Fields) -> None:
    """Refuse to forget a partition that is still there, or that tapes or drives are in."""
    if any(tape.partition_id == partition["Id"] for tape in call.machine.library.tapes.values()):
        raise conflict(f"Conflict[409]: There are tapes in the partition '{partition['Name']}'.")
    if any(drive["PartitionId"] == partition["Id"] for drive in call.machine.beans.all("TapeDrive")):
        raise conflict(f"Conflict[409]: There are drives in the partition '{partition['Name']}'.")


@records.presenting("DetailedTapePartition", "NamedDetailedTapePartition")
def present_details(call: Call, partition: Fields) -> Mapping[str, Any]:
    """Tell what can be counted of a partition. Cleaning tapes count as tapes, and have no capacity."""
    machine = call.machine
    tapes = [tape for tape in machine.library.tapes.values() if tape.partition_id == partition["Id"]]
    drives = [each for each in machine.beans.all("TapeDrive") if each["PartitionId"] == partition["Id"]]
    return {
        **_capacity(tapes),
        "DriveTypes": sorted({str(drive["Type"]) for drive in drives}),
        "TapeCount": len(tapes),
        "TapeStateSummaries": [
            {
                "Count": len(group),
                "FullOfData": sum(tape.full for tape in group),
                "TapeState": state,
                "TypeCounts": [
                    {"Count": len(alike), "FullOfData": sum(tape.full for tape in alike), "Type": each}
                    for each, alike in _grouped(group, "type")
                ],
            }
            for state, group in _grouped(tapes, "state")
        ],
        "TapeTypeSummaries": [
            {"Count": len(group), "Type": each, **_capacity(group)} for each, group in _grouped(tapes, "type")
        ],
        "TapeTypes": sorted({tape.type for tape in tapes}),
    }


def _grouped(tapes: Iterable[Tape], name: str) -> list[tuple[str, list[Tape]]]:
    groups: dict[str, list[Tape]] = {}
    for tape in tapes:
        groups.setdefault(str(getattr(tape, name)), []).append(tape)
    return sorted(groups.items())


def _capacity(tapes: Iterable[Tape]) -> dict[str, Any]:
    total, free = sum(tape.capacity for tape in tapes), sum(tape.available for tape in tapes)
    return {"AvailableStorageCapacity": free, "TotalStorageCapacity": total, "UsedStorageCapacity": total - free}


@rest("GetTapePartitionsWithFullDetails")
def get_detailed_partitions(call: Call) -> Reply:
    """List the partitions with what can be counted of them."""
    return records.listing(call, call.machine.beans.all("TapePartition"))


@rest("GetTapePartitionWithFullDetails")
def get_detailed_partition(call: Call) -> Reply:
    """Show a partition with what can be counted of it."""
    row = kind("DetailedTapePartition")
    with call.machine.store.lock:
        found = records.find(call.machine, "TapePartition", call.identifier)
        return record_reply(row, records.complete(call, row, found))


@rest("ForceTapeEnvironmentRefresh")
def refresh_environment(call: Call) -> Reply:
    """Look at the library anew: tapes that were called lost and lie in their slots are found, what is due is done."""
    with call.machine.store.lock:
        call.machine.library.robot.look_round()
        call.machine.library.move()
        call.machine.upkeep.resume()
    call.machine.drives.reconsider()
    return Reply(204)
