"""What a run will do, before the appliance hears of it: jobs of at most 500,000 objects, held as columns."""

from __future__ import annotations

import secrets
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar, overload

from ds3tool.jobs.ends import SourceObject, TargetObject
from ds3tool.protocol.model import JobType, ObjectToGet, ObjectToPut
from ds3tool.protocol.names import MAX_OBJECTS_PER_JOB

T = TypeVar("T")


def new_token() -> str:
    """Return the text a job's name ends in, by which this run finds its own job among others."""
    return secrets.token_hex(6)


class PlannedJob:
    """The objects of one job to be, in plan order.

    `names` are what the source or the sink calls them: bytes for a source, text for a sink. `modified_ns` is 0
    for a get. The job's `name` ends in a token of this plan alone.
    """

    __slots__ = ("bucket", "keys", "modified_ns", "name", "sizes", "source_names", "target_names", "type")

    def __init__(self, type_: JobType, bucket: str, *, token: str | None = None) -> None:
        self.type = type_
        self.bucket = bucket
        self.name = f"ds3tool {type_.value.lower()} {token or new_token()}"
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
        self.source_names.append(item.name)

    def add_target(self, item: TargetObject) -> None:
        """Plan to get `item`."""
        self.keys.append(item.key)
        self.sizes.append(item.size)
        self.target_names.append(item.name)

    def source_object(self, number: int) -> SourceObject:
        """Return object `number` of a put, as planned."""
        return SourceObject(self.keys[number], self.sizes[number], self.modified_ns[number], self.source_names[number])

    def target_object(self, number: int) -> TargetObject:
        """Return object `number` of a get, as planned."""
        return TargetObject(self.keys[number], self.sizes[number], self.target_names[number])

    def keep(self, numbers: Sequence[int]) -> PlannedJob:
        """Return a plan of these objects alone, under the same name."""
        kept = PlannedJob(self.type, self.bucket)
        kept.name = self.name
        for number in numbers:
            if self.source_names:
                kept.add_source(self.source_object(number))
            else:
                kept.add_target(self.target_object(number))
        return kept

    @property
    def to_put(self) -> Sequence[ObjectToPut]:
        """The declaration of a bulk put, made as it is walked."""
        return _Lazy(len(self), lambda number: ObjectToPut(self.keys[number], self.sizes[number]))

    @property
    def to_get(self) -> Sequence[ObjectToGet]:
        """The declaration of a bulk get, made as it is walked."""
        return _Lazy(len(self), lambda number: ObjectToGet(self.keys[number]))


class _Lazy(Sequence[T]):
    """A sequence whose items are made when asked for."""

    def __init__(self, length: int, make: Callable[[int], T]) -> None:
        self._length = length
        self._make = make

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self._make(number) for number in range(*index.indices(self._length))]
        if not -self._length <= index < self._length:
            raise IndexError(index)
        return self._make(index % self._length)


def plan_put(items: Iterable[SourceObject], bucket: str, *, most: int = MAX_OBJECTS_PER_JOB) -> Iterator[PlannedJob]:
    """Yield jobs that put `items`, in their order, each of at most `most` objects."""
    return _split(items, lambda: PlannedJob(JobType.PUT, bucket), PlannedJob.add_source, most)


def plan_get(items: Iterable[TargetObject], bucket: str, *, most: int = MAX_OBJECTS_PER_JOB) -> Iterator[PlannedJob]:
    """Yield jobs that get `items`, in their order, each of at most `most` objects."""
    return _split(items, lambda: PlannedJob(JobType.GET, bucket), PlannedJob.add_target, most)


def _split(
    items: Iterable[T], start: Callable[[], PlannedJob], add: Callable[[PlannedJob, T], None], most: int
) -> Iterator[PlannedJob]:
    plan = start()
    for item in items:
        if len(plan) == most:
            yield plan
            plan = start()
        add(plan, item)
    if len(plan):
        yield plan
