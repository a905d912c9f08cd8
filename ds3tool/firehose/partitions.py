"""The partitions of a listing, one after the other: how much is in each, and whether it is closed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Generic, NamedTuple, TypeVar

from ds3tool.firehose.closed import Closing
from ds3tool.firehose.layout import Delivered, parse_delivered
from ds3tool.lazy_dataclass import dataclass

T = TypeVar("T")

_NEVER = datetime.min.replace(tzinfo=UTC)


class Seen(NamedTuple):
    """What a listing tells of an object: its whole key, its bytes, when it was stored (nanoseconds since 1970)."""

    key: str
    size: int
    modified_ns: int


@dataclass(slots=True)
class Partition:
    """All objects of one kind in one hour (or day) below one prefix.

    `head` is what their keys begin with, up to the digits of the hour; `start` is the wall clock's time of the stream
    and has no time zone. `closes` is when it is closed should nothing more come, `why_open` None when it is closed
    already. `has_slash` is False where the hour and the stream's name run together in a key.
    """

    head: str
    kind: str
    start: datetime
    span: timedelta
    objects: int = 0
    bytes: int = 0
    newest: datetime = _NEVER
    streams: set[str] = field(default_factory=set)
    has_slash: bool = True
    closes: datetime = _NEVER
    why_open: str | None = None

    @property
    def closed(self) -> bool:
        """Whether nothing more is to be expected."""
        return self.why_open is None

    def add(self, delivered: Delivered, seen: Seen) -> None:
        """Count one object."""
        self.objects += 1
        self.bytes += seen.size
        self.newest = max(self.newest, _moment(seen.modified_ns))
        self.streams.add(delivered.stream)
        self.has_slash = self.has_slash and delivered.has_slash


@dataclass(frozen=True, slots=True)
class Filled(Generic[T]):
    """A partition with what a listing has of it; `items` is empty where only the count was asked for."""

    partition: Partition
    items: list[T]


def partitions(
    items: Iterable[T],
    seen_as: Callable[[T], Seen],
    closing: Closing,
    *,
    now: datetime,
    stray: Callable[[T], None],
    keep: bool = True,
) -> Iterator[Filled[T]]:
    """Yield the partitions of a listing, each once, in the order of their keys; data before errors of one hour.

    The listing must be in the order of keys, as S3 gives it: then all that begins with one head stands together.
    What fits no layout goes to `stray`. Memory: the objects of one hour, none of them unless `keep`.
    """
    for head, group in groupby(_delivered(items, seen_as, stray), key=lambda found: found[0].head):
        kinds: dict[str, Filled[T]] = {}
        for delivered, seen, item in group:
            filled = kinds.get(delivered.kind)
            if filled is None:
                filled = kinds[delivered.kind] = Filled(
                    Partition(head, delivered.kind, delivered.start, delivered.span), []
                )
            filled.partition.add(delivered, seen)
            if keep:
                filled.items.append(item)
        for kind in sorted(kinds, key=lambda kind: (kind != "data", kind)):
            _judge(kinds[kind].partition, closing, now)
            yield kinds[kind]


def _judge(partition: Partition, closing: Closing, now: datetime) -> None:
    when = partition.start, partition.span, partition.newest
    partition.closes = closing.closes(*when)
    partition.why_open = closing.why_open(*when, now=now)


def _delivered(
    items: Iterable[T], seen_as: Callable[[T], Seen], stray: Callable[[T], None]
) -> Iterator[tuple[Delivered, Seen, T]]:
    for item in items:
        seen = seen_as(item)
        delivered = parse_delivered(seen.key)
        if delivered is None:
            stray(item)
        else:
            yield delivered, seen, item


def _moment(modified_ns: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=-(-modified_ns // 1000))
