"""Which of the blobs that a get's job lists are to be fetched, and whether they are what was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ds3tool.errors import Ds3Error, JobError
from ds3tool.jobs.get_found import Found, gaps
from ds3tool.jobs.pieces import covered
from ds3tool.jobs.plan import PlannedJob
from ds3tool.jobs.state import JobState
from ds3tool.protocol.blob_columns import BlobColumns
from ds3tool.protocol.model import Chunk
from ds3tool.protocol.ranges import ByteRange

_REPLACED = "it was replaced since it was listed, or read by another client; get it again"


class Wants:
    """What of a plan one job is to fetch, beside what was found; `appeared` flags objects that are recorded as there.

    `settled` need nothing; `excluded` cannot be done by this job at all, and nothing of them is fetched by it;
    `unfinished`, those among them, have blobs that it does not list. `left_out` says that the job lists blobs that are
    not fetched, so that it does not end by itself.
    """

    def __init__(self, plan: PlannedJob, found: Found | None, appeared: Sequence[int]) -> None:
        self.plan = plan
        self._found = found or Found()
        self.settled = {number for number, there in enumerate(appeared) if there} | self._found.settled
        begun = {number: one for number, one in self._found.begun.items() if number not in self.settled}
        self.unfinished = {number for number, one in begun.items() if one.missing}
        self.excluded = {number for number in self.unfinished if not begun[number].known.cuts}
        self.described = self._found.described
        self._kept = {(number, one.start) for number, each in begun.items() for one in each.kept}
        self.bytes_there = sum(plan.sizes[number] for number in self.settled) + sum(
            one.length for each in begun.values() for one in each.kept
        )
        self.left_out = False
        self._numbers = {key: number for number, key in enumerate(plan.keys)} if self._leaves_out_any else {}

    @property
    def is_plain(self) -> bool:
        """Whether whole objects of the latest version are wanted, and nothing of them is here."""
        return not (self.plan.ranges or self.plan.version_ids or self.settled or self._found.begun)

    @property
    def _leaves_out_any(self) -> bool:
        return bool(self.settled or self.excluded or self._kept)

    def of(self, chunk: Chunk) -> Chunk:
        """Return a chunk with the blobs that are to be fetched."""
        if not self._leaves_out_any:
            return chunk
        blobs = BlobColumns()
        for blob in chunk.blobs:
            number = self._numbers.get(blob.key)
            if number is None:
                continue
            if number in self.settled or number in self.excluded or (number, blob.offset) in self._kept:
                self.left_out = True
            else:
                blobs.append(
                    self.plan.keys[number],
                    blob.offset,
                    blob.length,
                    in_cache=blob.in_cache,
                    version_id=blob.version_id,
                )
        return replace(chunk, blobs=blobs)

    def wrong(self, state: JobState, owner: int) -> Ds3Error | None:
        """Return why a job's blobs are not what was asked for of one object, None when they are."""
        plan = self.plan
        key, ranges, version = plan.keys[owner], plan.ranges.get(owner, ()), plan.version_ids.get(owner)
        begun = self._found.begun.get(owner)
        blobs = [(state.blobs.offsets[number], state.blobs.lengths[number]) for number in state.numbers_of(owner)]
        if version is None and begun is not None and begun.kept:
            version = begun.version_id
        if version is not None:
            others = {state.blobs.version_ids[number] for number in state.numbers_of(owner)} - {None, version}
            if others:
                return JobError(f"{key}: the job offers version {min(map(str, others))}, not {version}", hint=_REPLACED)
        if ranges:
            if covered(ranges, (ByteRange(offset, offset + length) for offset, length in blobs)):
                return None
            return JobError(f"{key}: the job's blobs do not hold the bytes that were asked for", hint=_REPLACED)
        if begun is None or not (begun.kept or begun.missing):
            if state.covers(owner, plan.sizes[owner]):
                return None
        elif _cover(
            [*(ByteRange(offset, offset + length) for offset, length in blobs), *begun.kept, *begun.missing],
            plan.sizes[owner],
        ):
            return None
        offered = sum(length for _, length in blobs)
        return JobError(f"{key}: the job's blobs are not its {plan.sizes[owner]} bytes, but {offered}", hint=_REPLACED)


def _cover(ranges: list[ByteRange], size: int) -> bool:
    """Whether ranges are the first `size` bytes, each byte once."""
    return sum(one.length for one in ranges) == size and not gaps(ranges, size)
