"""What was found of a get's objects, at the target and on its way there, before a run goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import field, replace

from ds3tool.errors import Ds3Error, SinkError
from ds3tool.jobs.ends import KeepingSink
from ds3tool.jobs.known_digests import KnownDigests
from ds3tool.jobs.plan import PlannedJob
from ds3tool.jobs.recorder import MovedBlobs
from ds3tool.jobs.remainder import HeldBlobs, Remainder
from ds3tool.jobs.state import BlobState, JobState
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import Blob, ObjectToGet
from ds3tool.protocol.ranges import ByteRange, coalesce


@dataclass(slots=True)
class Begun:
    """An object of which something may be on the disk: what the appliance says of it now, and which blobs are right.

    `kept` are ranges of the object that need not be fetched, `missing` those that no job lists; where the appliance
    does not tell the blobs' digests nothing is kept, and all of an object that is not listed whole is missing. `cut`
    says, by the offset of a blob, how many bytes of it are written; they are yet to be hashed.
    """

    known: KnownDigests
    version_id: str | None = None
    kept: list[ByteRange] = field(default_factory=list)
    missing: list[ByteRange] = field(default_factory=list)
    cut: dict[int, int] = field(default_factory=dict)
    # What is on the disk and must be hashed before it is kept.
    doubtful: list[ByteRange] = field(default_factory=list)

    def is_whole(self, size: int) -> bool:
        """Whether all of an object's `size` bytes are kept."""
        return not gaps(self.kept, size)

    def has(self, blob: ByteRange) -> None:
        """Note that a blob is on the disk now, and right."""
        self.kept.append(blob)
        self.kept.sort()
        if blob in self.missing:
            self.missing.remove(blob)


@dataclass(slots=True)
class Found:
    """What a look at the target has found of one plan, by the objects' numbers.

    `there` have their names already, unrecorded; `failed` cannot be done; `begun` may be gone on with; `described` is
    what the sink was told of. `unsure` have their names, and nobody can tell whether they are the same.
    """

    there: list[int] = field(default_factory=list)
    failed: list[tuple[int, Ds3Error]] = field(default_factory=list)
    begun: dict[int, Begun] = field(default_factory=dict)
    described: set[int] = field(default_factory=set)
    unsure: set[int] = field(default_factory=set)

    @property
    def settled(self) -> set[int]:
        """Numbers of the objects of which nothing is to be done any more."""
        return {*self.there, *(number for number, _ in self.failed)}

    def kept(self, number: int) -> list[ByteRange]:
        """Return what is right on the disk of an object."""
        begun = self.begun.get(number)
        return [] if begun is None else begun.kept

    @property
    def bytes_kept(self) -> int:
        """Bytes of unfinished objects that need not be fetched."""
        return sum(one.length for begun in self.begun.values() for one in begun.kept)

    def keep(self, numbers: Sequence[int]) -> Found:
        """Return what was found of these objects, which have other numbers in a plan of them alone."""
        new = {number: place for place, number in enumerate(numbers)}
        return Found(
            begun={new[number]: begun for number, begun in self.begun.items() if number in new},
            described={new[number] for number in self.described if number in new},
            unsure={new[number] for number in self.unsure if number in new},
        )

    def with_moved(self, state: JobState) -> Found:
        """Return this with the blobs of begun objects that a job has moved since."""
        for number, begun in self.begun.items():
            if begun.known.cuts:
                for one in state.numbers_of(number):
                    if state.state_of(one) is BlobState.DONE:
                        offset = state.blobs.offsets[one]
                        begun.has(ByteRange(offset, offset + state.blobs.lengths[one]))
        return self

    def to_ask_again(self, plan: PlannedJob) -> list[Blob]:
        """Return the blobs that no job lists and that are not on the disk, where it is known how the object is cut."""
        settled = self.settled
        return [
            Blob(plan.keys[number], one.start, one.length, version_id=begun.version_id)
            for number, begun in self.begun.items()
            if begun.known.cuts and number not in settled
            for one in begun.missing
        ]

    def asked_of_a_new_job(self) -> None:
        """Note that a job was created for all that is not kept: its list must name it."""
        for begun in self.begun.values():
            begun.missing.clear()

    def to_get(self, plan: PlannedJob) -> list[ObjectToGet]:
        """Return what a new job is asked for: of an object of which blobs are kept, only the rest."""
        asked: list[ObjectToGet] = []
        for number, key in enumerate(plan.keys):
            version = plan.version_ids.get(number)
            ranges = plan.ranges.get(number, ())
            if not ranges and self.kept(number):
                ranges = gaps(self.kept(number), plan.sizes[number])
            asked.extend(ObjectToGet(key, one.start, one.length, version_id=version) for one in ranges)
            if not ranges:
                asked.append(ObjectToGet(key, version_id=version))
        return asked


def gaps(ranges: Iterable[ByteRange], size: int) -> tuple[ByteRange, ...]:
    """Return what is not in `ranges` of the first `size` bytes."""
    end, missing = 0, []
    for one in coalesce(ranges):
        if one.start > end:
            missing.append(ByteRange(end, one.start))
        end = one.end
    if end < size:
        missing.append(ByteRange(end, size))
    return tuple(missing)


def kept_remainder(remainder: Remainder, left: PlannedJob, numbers: Sequence[int]) -> Remainder:
    """Return what an earlier run has left of a plan of some of its objects alone, which have these numbers in it."""
    new = {number: place for place, number in enumerate(numbers)}
    held = remainder.held
    kept = [place for place, owner in enumerate(held.owners) if owner in new]
    moved = HeldBlobs()
    moved.add(
        MovedBlobs(
            [new[held.owners[place]] for place in kept],
            [held.offsets[place] for place in kept],
            [held.lengths[place] for place in kept],
            [held.kinds[place] for place in kept],
            [held.checksums[place] for place in kept],
        )
    )
    arriving = tuple(replace(one, owner=new[one.owner]) for one in remainder.arriving if one.owner in new)
    return Remainder(left, None, remainder.last_active, moved, arriving=arriving)


def room_needed(sink: KeepingSink, plan: PlannedJob, found: Found, appeared: Sequence[int], *, enough: int) -> int:
    """Return how many bytes of room a plan needs beside what is there of it; no more is looked at than tells.

    What is there of unfinished files, and what they replace, is only counted when `enough` bytes were not.
    """
    settled = found.settled | {number for number, there in enumerate(appeared) if there}
    rest = [number for number in range(len(plan)) if number not in settled]
    needed = sum(plan.sizes[number] for number in rest)
    if needed <= enough:
        return needed
    largest = 0
    for number in rest:
        item = plan.target_object(number)
        there = sink.room_taken(item) or 0
        largest = max(largest, item.size - there)
        needed -= there
        if item.replace:
            with contextlib.suppress(SinkError):
                needed -= sink.existing_size(item.name) or 0
    return max(needed, largest)
