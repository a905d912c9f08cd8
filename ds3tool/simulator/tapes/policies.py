"""What storage domains and partitions want done with tapes by themselves: ejection, verification, compaction.

- `AutoEjectUponJobCompletion`, `AutoEjectUponJobCancellation`: the tapes of the domain that a put job was written to.
- `AutoEjectUponMediaFull`: a tape that is full, or has no more than `AutoEjectMediaFullThreshold` bytes left.
- `AutoEjectUponCron`: all tapes of the domain that hold data, at the times that the expression names (UTC).
- `VerifyPriorToAutoEject`: such a tape is verified first, with this priority.
- `MaximumAutoVerificationFrequencyInDays`: a tape that nobody verified for so long is, with priority LOW. Where the
  data path says `PartiallyVerifyLastPercentOfTapes`, a tape that has become full is, those last per cents of it.
- `AutoCompactionEnabled` of a partition: a full tape of which so many per cents (`AutoCompactionThreshold` of the
  member, else 95) are of deleted objects is compacted.

What is a matter of time is looked at now and then, while drives are awake.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from ds3tool.protocol.model import JobType
from ds3tool.simulator.events import ChunkPersisted, JobEnded
from ds3tool.simulator.records.beans import Fields
from ds3tool.simulator.tapes.cron import CronTimes
from ds3tool.simulator.wire.refusals import Refusal

if TYPE_CHECKING:
    from ds3tool.simulator.machine import Machine
    from ds3tool.simulator.tapes.tape import Tape

_DAY = 86_400.0
# Source: contract, the flag DefaultAutoCompactionThreshold of every TapeType.
_COMPACTION_THRESHOLD = 95


class TapePolicies:
    """The policies of one machine. Methods are called with the store's lock held."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        # The tapes that a put job was written to, of domains that want them out when it ends: by the job's number.
        self._written: dict[int, set[int]] = {}
        self._looked = machine.clock.now()
        machine.store.events.listen(ChunkPersisted, self._chunk_persisted)
        machine.store.events.listen(JobEnded, self._job_ended)
        machine.library.released = self._released
        machine.library.is_watched = self._has_times

    # When a job ends.

    def _wanting(self, *names: str) -> list[str]:
        """Return the ids of the storage domains that have any of these flags set."""
        domains = self._machine.beans.all("StorageDomain")
        return [str(each["Id"]) for each in domains if any(each.get(name) for name in names)]

    def _chunk_persisted(self, event: ChunkPersisted) -> None:
        domains = self._wanting("AutoEjectUponJobCompletion", "AutoEjectUponJobCancellation")
        if not domains:
            return
        job = event.job.n
        # The first time all of the job, of which an earlier run of the appliance may have written much.
        condition, value = ("e.chunk = ?", event.chunk.n) if job in self._written else ("h.job = ?", job)
        rows = self._machine.store.db.execute(
            "SELECT DISTINCT c.tape, c.domain FROM chunks h JOIN entries e ON e.chunk = h.n "  # noqa: S608 - constants
            f"JOIN copies c ON c.blob = e.blob WHERE {condition}",
            (value,),
        )
        found = {tape for tape, domain in rows if domain in domains}
        self._machine.store.after_commit(lambda: self._written.setdefault(job, set()).update(found))

    def _job_ended(self, event: JobEnded) -> None:
        if event.job.type is not JobType.PUT:
            return
        flag = "AutoEjectUponJobCancellation" if event.canceled else "AutoEjectUponJobCompletion"

        def eject() -> None:
            domains = self._wanting(flag)
            for number in sorted(self._written.pop(event.job.n, ())):
                tape = self._machine.library.tapes.get(number)
                if tape is not None and tape.domain_id in domains:
                    self._eject(tape)

        self._machine.store.after_commit(eject)

    # When a drive has done with a tape.

    def _released(self, tape: Tape) -> None:
        domain = self._machine.library.domain(tape)
        if domain is None or not tape.usable:
            return
        threshold = domain.get("AutoEjectMediaFullThreshold")
        full = tape.full or (threshold is not None and tape.available <= int(threshold))
        if full and domain.get("AutoEjectUponMediaFull"):
            self._eject(tape)
        elif tape.full and tape.partly_verified is None and tape.verified is None and tape.verify_pending is None:
            backend = self._machine.beans.all("DataPathBackend")
            if backend and backend[0].get("PartiallyVerifyLastPercentOfTapes") is not None:
                self._machine.upkeep.verify(tape, "BACKGROUND")

    def _eject(self, tape: Tape) -> None:
        """Let a tape out, verified before when its storage domain wants that; one that may not leave stays."""
        if not tape.usable or tape.state != "NORMAL":
            return
        domain = self._machine.library.domain(tape) or {}
        with contextlib.suppress(Refusal):
            if domain.get("VerifyPriorToAutoEject") and domain.get("MediaEjectionAllowed") is not False:
                self._machine.upkeep.verify(tape, str(domain["VerifyPriorToAutoEject"]))
            self._machine.library.robot.eject(tape, None, None)

    # Now and then.

    def _has_times(self) -> bool:
        return bool(
            self._wanting("AutoEjectUponCron", "MaximumAutoVerificationFrequencyInDays")
            or any(each.get("AutoCompactionEnabled") for each in self._machine.beans.all("TapePartition"))
        )

    def look(self) -> None:
        """Do what has become due since the last look."""
        since, self._looked = self._looked, self._machine.clock.now()
        for domain in self._machine.beans.all("StorageDomain"):
            tapes = [tape for tape in self._machine.library.tapes.values() if tape.domain_id == domain["Id"]]
            text = domain.get("AutoEjectUponCron")
            if text and _due(str(text), since, self._looked):
                for tape in tapes:
                    if tape.written:
                        self._eject(tape)
            self._verify_old(domain, tapes)
        for tape in list(self._machine.library.tapes.values()):
            if tape.full and tape.usable and tape.state == "NORMAL":
                self._compact(tape)

    def _verify_old(self, domain: Fields, tapes: list[Tape]) -> None:
        days = domain.get("MaximumAutoVerificationFrequencyInDays")
        if days is None:
            return
        oldest = self._looked - float(days) * _DAY
        for tape in tapes:
            last = tape.verified or tape.modified
            if tape.usable and tape.state == "NORMAL" and tape.verify_pending is None and last and last < oldest:
                self._machine.upkeep.verify(tape, "LOW")

    def _compact(self, tape: Tape) -> None:
        partition = self._machine.beans.get("TapePartition", tape.partition_id)
        if partition is None or not partition.get("AutoCompactionEnabled") or tape.domain_id is None:
            return
        member = self._machine.library.member(tape.domain_id, tape) or {}
        threshold = member.get("AutoCompactionThreshold")
        percent = _COMPACTION_THRESHOLD if threshold is None else int(threshold)
        if self._machine.upkeep.waste(tape) * 100 >= percent * max(1, tape.written):
            self._machine.upkeep.compact(tape)


def _due(text: str, since: float, until: float) -> bool:
    """Tell whether a cron expression names a time between; never, for one that an earlier release took unread."""
    try:
        return CronTimes(text).between(since, until)
    except Refusal:
        return False
