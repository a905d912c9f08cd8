"""Which drive may do what: states, quiescence, reservations, and how many are kept for reads and for writes."""

from __future__ import annotations

from ds3tool.simulator.records.beans import Beans, Fields
from ds3tool.simulator.tapes.drive import Drive
from ds3tool.simulator.tapes.mechanics import can_read, can_write
from ds3tool.simulator.tapes.tasks import Offer, TaskKind, rank_of

_DEFAULT_IDLE_MINUTES = 15


class Reservations:
    """What the beans of drives and partitions say of their use. Methods are called with the store's lock held."""

    def __init__(self, beans: Beans, drives: list[Drive]) -> None:
        self._beans = beans
        self._drives = drives
        # Which drives work, and whether anything is being quiesced, as of these changes of the beans.
        self._known_at = (-1, -1)
        self._working: set[str] = set()
        self._stopping = False

    def works(self, drive: Drive) -> bool:
        """Whether a drive takes any work at all: it is there, in order, and not quiesced, and nor is its partition."""
        if drive.failure is not None:
            return False
        stamp = self._stamp()
        if stamp != self._known_at:
            self._known_at = stamp
            self._working = {each.id for each in self._drives if self._is_in_order(each)}
            kinds = ("TapeDrive", "TapePartition")
            self._stopping = any(bean.get("Quiesced") == "PENDING" for kind in kinds for bean in self._beans.all(kind))
        return drive.id in self._working

    def _stamp(self) -> tuple[int, int]:
        return self._beans.changes("TapeDrive"), self._beans.changes("TapePartition")

    def _is_in_order(self, drive: Drive) -> bool:
        bean = self._beans.get("TapeDrive", drive.id)
        if bean is None or bean.get("State", "NORMAL") != "NORMAL" or bean.get("Quiesced", "NO") != "NO":
            return False
        partition = self._partition(bean)
        return partition is not None and partition.get("Quiesced", "NO") == "NO"

    def admits(self, drive: Drive, offer: Offer) -> bool:
        """Whether a drive that works may take an offer.

        A drive reserved for another kind of task, or for more urgent ones, does not; nor does one of the last drives
        that the partition keeps for reads, or for writes. Tests, cleanings and the like of the drive itself pass.
        """
        if offer.drive_id is not None:
            return offer.drive_id == drive.id
        bean = self._beans.find("TapeDrive", drive.id)
        partition = self._partition(bean)
        if partition is None or not self._fits(bean, offer):
            return False
        reserved = bean.get("ReservedTaskType") or "ANY"
        least = bean.get("MinimumTaskPriority")
        if reserved not in ("ANY", offer.kind.value) or (least is not None and offer.rank > rank_of(str(least))):
            return False
        return self._leaves_enough(drive, partition, offer.kind)

    def idle_seconds(self, drive: Drive) -> float | None:
        """Return how long an idle drive keeps its tape; None for ever."""
        bean = self._beans.get("TapeDrive", drive.id)
        partition = None if bean is None else self._partition(bean)
        if partition is None:
            return 0.0
        minutes = partition.get("DriveIdleTimeoutInMinutes", _DEFAULT_IDLE_MINUTES)
        return None if minutes is None else float(minutes) * 60

    def settle(self) -> None:
        """Let what was to be quiesced be so where nothing is at work and no tape is loaded any more."""
        if self._known_at == self._stamp() and not self._stopping:
            return
        for drive in self._drives:
            bean = self._beans.get("TapeDrive", drive.id)
            if bean is not None and bean.get("Quiesced") == "PENDING" and _is_still(drive):
                self._beans.update("TapeDrive", drive.id, {"Quiesced": "YES"})
        for partition in self._beans.all("TapePartition"):
            if partition.get("Quiesced") == "PENDING" and all(
                _is_still(drive) for drive in self._drives if self._is_in(drive, partition)
            ):
                self._beans.update("TapePartition", str(partition["Id"]), {"Quiesced": "YES"})

    def _partition(self, bean: Fields) -> Fields | None:
        return self._beans.get("TapePartition", str(bean["PartitionId"]))

    def _is_in(self, drive: Drive, partition: Fields) -> bool:
        bean = self._beans.get("TapeDrive", drive.id)
        return bean is not None and bean["PartitionId"] == partition["Id"]

    def _fits(self, bean: Fields, offer: Offer) -> bool:
        if offer.tape is None:
            return True
        if offer.tape.partition_id != bean["PartitionId"]:
            return False
        # A drive may look at a tape that it cannot read: that is how it is found out.
        if offer.kind is TaskKind.WRITE:
            return can_write(str(bean["Type"]), offer.tape.type)
        return offer.kind is TaskKind.MAINTENANCE or can_read(str(bean["Type"]), offer.tape.type)

    def _leaves_enough(self, drive: Drive, partition: Fields, kind: TaskKind) -> bool:
        if kind is TaskKind.MAINTENANCE:
            return True
        other = TaskKind.WRITE if kind is TaskKind.READ else TaskKind.READ
        name = "MinimumWriteReservedDrives" if kind is TaskKind.READ else "MinimumReadReservedDrives"
        kept = int(partition.get(name) or 0)
        if not kept:
            return True
        peers = [each for each in self._drives if self._is_in(each, partition) and self.works(each)]
        mine = sum(each.task is not None and each.task.kind is kind for each in peers)
        # Drives that are reserved for the other kind by themselves count among those that are kept.
        kept -= sum(self._reserved_for(each) == other.value for each in peers if each is not drive)
        kept = min(max(0, kept), len(peers) - 1)
        return mine + 1 <= len(peers) - kept

    def _reserved_for(self, drive: Drive) -> str:
        bean = self._beans.get("TapeDrive", drive.id)
        return "ANY" if bean is None else str(bean.get("ReservedTaskType") or "ANY")


def _is_still(drive: Drive) -> bool:
    return drive.is_idle and drive.tape is None
