"""What a put has surely archived, as its journal tells: for whoever must not ask for it again."""

from __future__ import annotations

from contextlib import closing
from dataclasses import field

from ds3tool.jobs.ends import SourceObject
from ds3tool.jobs.journal import Journal
from ds3tool.jobs.journal_columns import unpack_text
from ds3tool.jobs.journal_file import JournalFile
from ds3tool.jobs.journal_rows import read_moved, read_objects
from ds3tool.jobs.plan import PlannedJob
from ds3tool.jobs.remainder import HeldBlobs
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import JobStatus


@dataclass(slots=True)
class Archived:
    """Of a put: the objects that are archived, and the source's names of all that stand in its plans."""

    objects: list[SourceObject] = field(default_factory=list)
    planned: set[bytes] = field(default_factory=set)


def archived_of(journal: Journal) -> Archived:
    """Return what the work of a journal, which this process holds, has archived.

    That is each object of a finished plan of which all bytes are through, which has not failed in the work, and which
    no unfinished plan has taken over; nothing of a job that was cancelled. An object without bytes, and one that was
    found to be there when a lost job was planned anew, is not told: whoever asks again finds it there. Memory holds
    all plans. JournalError when the journal cannot be read.
    """
    journal.flush()
    found, left = Archived(), set()
    candidates: list[SourceObject] = []
    with closing(JournalFile.open(journal.path, only_look=True)) as file:
        failed = {unpack_text(key) for (key,) in file.rows("SELECT key FROM failures WHERE key IS NOT NULL")}
        for number, objects, finished, status in file.rows(
            "SELECT number, objects, finished, status FROM plans ORDER BY number"
        ):
            plan = PlannedJob(journal.head.type, journal.head.bucket)
            read_objects(file, number, plan, objects)
            found.planned.update(plan.source_names)
            if not finished:
                left.update(plan.keys)
            if not finished or status == JobStatus.CANCELED.value:
                continue
            held = read_moved(file, number, objects)
            candidates += [plan.source_object(owner) for owner in range(objects) if _is_through(plan, held, owner)]
    found.objects = [one for one in candidates if one.key not in failed and one.key not in left]
    return found


def _is_through(plan: PlannedJob, held: HeldBlobs, owner: int) -> bool:
    through = {held.offsets[place]: held.lengths[place] for place in held.numbers_of(owner)}
    return plan.sizes[owner] > 0 and sum(through.values()) == plan.sizes[owner]
