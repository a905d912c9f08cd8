"""What a run will do, before the appliance hears of it: jobs of at most 500,000 objects, held as columns."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from ds3tool.jobs.ends import SourceObject, TargetObject
from ds3tool.jobs.source_blocks import SourceBlock, in_blocks
from ds3tool.jobs.target_blocks import TargetBlock
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import JobType, ObjectToGet, ObjectToPut
from ds3tool.protocol.names import MAX_OBJECTS_PER_JOB
from ds3tool.protocol.object_columns import GetColumns, PutColumns
from ds3tool.protocol.ranges import ByteRange

T = TypeVar("T")


def new_token() -> str:
    """Return the text a job's name ends in, by which this run finds its own job among others."""
    return os.urandom(6).hex()


@dataclass(frozen=True, slots=True)
class JobLimits:
    """How large a job may become: objects, and the bytes of all of them. One larger object stands alone."""

    objects: int = MAX_OBJECTS_PER_JOB
    bytes: int | None = None


class PlannedJob:
    """The objects of one job to be, in plan order.

    `source_names` and `target_names` are what the source or the sink calls them: bytes for a source, text for a
    sink; the other list is empty, as are `modified_ns` and `inodes` for a get. What few objects have (versions,
    ranges, replacing what is there) is held by number, for those alone. The job's `name` ends in a token of this
    plan alone; `title` is what stands before it.
    """

    __slots__ = (
        "bucket",
        "inodes",
        "keys",
        "modified_ns",
        "name",
        "ranges",
        "replaces",
        "sizes",
        "source_names",
        "target_names",
        "type",
        "version_ids",
    )

    def __init__(self, type_: JobType, bucket: str, *, title: str | None = None, token: str | None = None) -> None:
        self.type = type_
        self.bucket = bucket
        self.name = f"{title or f'ds3tool {type_.value.lower()}'} {token or new_token()}"
        self.inodes: array[int] = array("Q")
        self.version_ids: dict[int, str] = {}
        self.ranges: dict[int, tuple[ByteRange, ...]] = {}
        self.replaces: set[int] = set()
        self.keys: list[str] = []
        self.sizes: array[int] = array("Q")
        self.modified_ns: array[int] = array("q")
        self.source_names: list[bytes] = []
        self.target_names: list[str] = []

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def bytes(self) -> int:
        """Sum of the objects' sizes."""
        return sum(self.sizes)

    def add_source(self, item: SourceObject) -> None:
        """Plan to put `item`."""
        self.keys.append(item.key)
        self.sizes.append(item.size)
        self.modified_ns.append(item.modified_ns)
        self.inodes.append(item.inode)
        self.source_names.append(item.name)

    def add_block(self, block: SourceBlock) -> None:
        """Plan to put all of a block."""
        self.keys += block.keys
        self.sizes.extend(block.sizes)
        self.modified_ns.extend(block.modified_ns)
        self.inodes.extend(block.inodes)
        self.source_names += block.names

    def add_target(self, item: TargetObject) -> None:
        """Plan to get `item`."""
        number = len(self.keys)
        if item.version_id is not None:
            self.version_ids[number] = item.version_id
        if item.ranges:
            self.ranges[number] = item.ranges
        if item.replace:
            self.replaces.add(number)
        self.keys.append(item.key)
        self.sizes.append(item.size)
        self.target_names.append(item.name)

    def add_targets(self, block: TargetBlock) -> None:
        """Plan to get all of a block."""
        self.keys += block.keys
        self.sizes.extend(block.sizes)
        self.target_names += block.names

    def source_object(self, number: int) -> SourceObject:
        """Return object `number` of a put, as planned."""
        return SourceObject(
            self.keys[number],
            self.sizes[number],
            self.modified_ns[number],
            self.source_names[number],
            self.inodes[number],
        )

    def target_object(self, number: int) -> TargetObject:
        """Return object `number` of a get, as planned."""
        return TargetObject(
            self.keys[number],
            self.sizes[number],
            self.target_names[number],
            self.version_ids.get(number),
            self.ranges.get(number, ()),
            number in self.replaces,
            number,
        )

    def keep(self, numbers: Sequence[int]) -> PlannedJob:
        """Return a plan of these objects alone, under the same name."""
        kept = PlannedJob(self.type, self.bucket)
        kept.name = self.name
        kept.keys = _chosen(self.keys, numbers)
        kept.sizes = array("Q", _chosen(self.sizes, numbers))
        kept.modified_ns = array("q", _chosen(self.modified_ns, numbers))
        kept.inodes = array("Q", _chosen(self.inodes, numbers))
        kept.source_names = _chosen(self.source_names, numbers)
        kept.target_names = _chosen(self.target_names, numbers)
        if self.version_ids or self.ranges or self.replaces:
            for number, old in enumerate(numbers):
                if old in self.version_ids:
                    kept.version_ids[number] = self.version_ids[old]
                if old in self.ranges:
                    kept.ranges[number] = self.ranges[old]
                if old in self.replaces:
                    kept.replaces.add(number)
        return kept

    @property
    def to_put(self) -> Sequence[ObjectToPut]:
        """The declaration of a bulk put."""
        return PutColumns(self.keys, self.sizes)

    @property
    def to_get(self) -> Sequence[ObjectToGet]:
        """The declaration of a bulk get; an object of several ranges stands there several times."""
        if not self.ranges:
            return GetColumns(self.keys, self.version_ids, self.sizes)
        asked: list[ObjectToGet] = []
        for number, key in enumerate(self.keys):
            version = self.version_ids.get(number)
            ranges = self.ranges.get(number, ())
            asked.extend(ObjectToGet(key, one.start, one.length, version_id=version) for one in ranges)
            if not ranges:
                asked.append(ObjectToGet(key, version_id=version))
        return asked


def _chosen(column: Sequence[T], numbers: Iterable[int]) -> list[T]:
    """Return these of a column, none of one that is empty."""
    return [column[number] for number in numbers] if column else []


def plan_put(
    items: Iterable[SourceObject], bucket: str, *, limits: JobLimits, title: str | None = None
) -> Iterator[PlannedJob]:
    """Yield jobs that put `items`, in their order, each within `limits`."""
    return plan_put_blocks(in_blocks(items), bucket, limits=limits, title=title)


def plan_put_blocks(
    blocks: Iterable[SourceBlock], bucket: str, *, limits: JobLimits, title: str | None = None
) -> Iterator[PlannedJob]:
    """Yield jobs that put what is in `blocks`, in their order, each within `limits`."""
    plan, size = PlannedJob(JobType.PUT, bucket, title=title), 0
    for block in blocks:
        start = 0
        while start < len(block):
            end, more = _fitting(
                block.sizes, start, limits.objects - len(plan), size if len(plan) else None, limits.bytes
            )
            if end > start:
                plan.add_block(block.cut(start, end))
                size += more
                start = end
            if start < len(block):
                yield plan
                plan, size = PlannedJob(JobType.PUT, bucket, title=title), 0
    if len(plan):
        yield plan


def _fitting(
    sizes: Sequence[int], start: int, objects: int, planned: int | None, most_bytes: int | None
) -> tuple[int, int]:
    """Return up to where objects of these sizes fit into a job that has room for so many, and their bytes.

    `planned` are the bytes that the job has already, None for one that has no object yet: it takes the first, however
    large that is.
    """
    end = min(len(sizes), start + objects)
    total = sum(sizes[start:end])
    if most_bytes is None or (planned or 0) + total <= most_bytes:
        return end, total
    total = 0
    for number in range(start, end):
        if (planned is not None or number > start) and (planned or 0) + total + sizes[number] > most_bytes:
            return number, total
        total += sizes[number]
    return end, total


def plan_get(
    items: Iterable[TargetObject | TargetBlock],
    bucket: str,
    *,
    limits: JobLimits,
    title: str | None = None,
    repeated: bool = False,
    look_again: Callable[[TargetBlock], Iterable[TargetObject | TargetBlock]] = lambda block: (block,),
) -> Iterator[PlannedJob]:
    """Yield jobs that get `items`, in their order, each within `limits`.

    `repeated`: an object may be wanted several times; each time again begins a new job, since one names it once.
    `look_again` is asked what is to be fetched of the rest of a block, when a job has come in between.
    """
    plan, size = PlannedJob(JobType.GET, bucket, title=title), 0
    most_objects, most_bytes = limits.objects, limits.bytes
    keys: set[str] = set()
    sources: list[Iterator[TargetObject | TargetBlock]] = [iter(items)]
    while sources:
        item = next(sources[-1], None)
        if item is None:
            sources.pop()
        elif isinstance(item, TargetObject):
            too_large = most_bytes is not None and size + item.size > most_bytes
            if len(plan) == most_objects or (len(plan) and too_large) or item.key in keys:
                yield plan
                plan, size = PlannedJob(JobType.GET, bucket, title=title), 0
                keys.clear()
            if repeated:
                keys.add(item.key)
            plan.add_target(item)
            size += item.size
        elif repeated:
            sources.append(iter(item))
        else:
            fitting, more = _fitting(item.sizes, 0, most_objects - len(plan), size if len(plan) else None, most_bytes)
            plan.add_targets(item.cut(0, fitting))
            size += more
            if fitting < len(item):
                yield plan
                plan, size = PlannedJob(JobType.GET, bucket, title=title), 0
                sources.append(iter(look_again(item.cut(fitting, len(item)))))
    if len(plan):
        yield plan
