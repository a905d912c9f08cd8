"""What went wrong with tapes, partitions and storage domains, on record for whoever asks.

Failures of tapes are events, one record each. Those of partitions and storage domains are conditions: one record stands
as long as the condition does, however often it is met, and goes with it (an operator may delete it before).
"""

from __future__ import annotations

import logging

from ds3tool.simulator.clock import Clock
from ds3tool.simulator.ids import IdFamily
from ds3tool.simulator.records.beans import Beans
from ds3tool.simulator.store import Store
from ds3tool.simulator.tapes.tape import Tape

_log = logging.getLogger(__name__)
_PARTITION, _DOMAIN = ("TapePartitionFailure", "PartitionId"), ("StorageDomainFailure", "StorageDomainId")


class Failures:
    """Records of failures. Methods are called with the store's lock held, inside a transaction or not."""

    def __init__(self, store: Store, beans: Beans, clock: Clock, ids: IdFamily) -> None:
        self._store = store
        self._beans = beans
        self._clock = clock
        self._ids = ids

    def tape(self, kind: str, tape: Tape, message: str, drive_id: str | None = None) -> None:
        """Record a TapeFailureType of a tape, in the drive with this id; else the first stands for it."""
        if drive_id is None:
            drives = self._beans.all("TapeDrive")
            drive_id = str(drives[0]["Id"]) if drives else tape.partition_id
        message = _printable(message)
        _log.warning("tape %s: %s: %s", tape.bar_code, kind, message)
        self._add("TapeFailure", {"TapeDriveId": drive_id, "TapeId": tape.id}, kind, message)

    def drive(self, kind: str, drive_id: str, tape_id: str, message: str) -> None:
        """Record a TapeFailureType of a drive, with the tape that was in it (its own id when there was none)."""
        message = _printable(message)
        _log.warning("drive %s: %s: %s", drive_id, kind, message)
        self._add("TapeFailure", {"TapeDriveId": drive_id, "TapeId": tape_id}, kind, message)

    def partition(self, kind: str, partition_id: str, message: str) -> bool:
        """Record a TapePartitionFailureType of a partition, unless the same one stands; tell whether it is new."""
        return self._stand(*_PARTITION, partition_id, kind, message)

    def partition_mended(self, kind: str, partition_id: str, about: str = "") -> None:
        """Strike what stands against a partition of this kind; with `about` only what is said in these words."""
        self._strike(*_PARTITION, partition_id, kind, about)

    def domain(self, kind: str, domain_id: str, message: str) -> bool:
        """Record a StorageDomainFailureType of a storage domain, unless the same one stands; tell whether it is new."""
        return self._stand(*_DOMAIN, domain_id, kind, message)

    def domain_mended(self, kind: str, domain_id: str) -> None:
        """Strike what stands against a storage domain of this kind."""
        self._strike(*_DOMAIN, domain_id, kind)

    def _stand(self, record: str, key: str, subject: str, kind: str, message: str) -> bool:
        message = _printable(message)
        for each in self._beans.all(record):
            if (each[key], each["Type"], each["ErrorMessage"]) == (subject, kind, message):
                return False
        _log.warning("%s: %s", kind, message)
        self._add(record, {key: subject}, kind, message)
        return True

    def _strike(self, record: str, key: str, subject: str, kind: str, about: str = "") -> None:
        for each in self._beans.all(record):
            if (each[key], each["Type"]) == (subject, kind) and about in each["ErrorMessage"]:
                self._beans.remove(record, str(each["Id"]))

    def _add(self, record: str, subject: dict[str, str], kind: str, message: str) -> None:
        with self._store.writing():
            values = {"Date": self._clock.now(), "ErrorMessage": message, "Type": kind, **subject}
            self._beans.add(record, self._ids.of(self._store.numbers("failures", 1)), values)


def _printable(message: str) -> str:
    """Return a message as documents and logs can carry it: it may quote what a tape of others tells."""
    return "".join(each if each.isprintable() else "?" for each in message)
