"""What happens in an appliance, told to whoever listens: jobs that begin and end, blobs that come and go, failures.

An event is told inside the transaction that makes it true, with the store's lock held, and while the rows that it
speaks of are there: what is to be deleted is told just before. A listener therefore may write what it makes of an
event into the same transaction, so that both are kept or neither, and does everything else by `Store.after_commit`.
It must not take long, must not wait, and what it raises undoes the transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ds3tool.lazy_dataclass import dataclass

if TYPE_CHECKING:
    from ds3tool.simulator.buckets import Bucket
    from ds3tool.simulator.jobs.job import Chunk, Job
    from ds3tool.simulator.tapes.library import Tape


@dataclass(frozen=True, slots=True)
class JobCreated:
    """A job is there; its blobs may not be yet."""

    job: Job


@dataclass(frozen=True, slots=True)
class JobDiscarded:
    """A job that was told as created in the same call could not begin, and leaves no record: nobody heard of it."""

    job: Job


@dataclass(frozen=True, slots=True)
class JobEnded:
    """A job has ended; `canceled` when it did not come to its end by itself."""

    job: Job
    canceled: bool


@dataclass(frozen=True, slots=True)
class ObjectsDropped:
    """Objects (their rows) leave a put job before they are on every tape, and are about to be removed."""

    job: Job
    objects: Sequence[int]


@dataclass(frozen=True, slots=True)
class BlobCached:
    """A blob (its row) has come into the cache for a job: from the client of a put, from tape for a get."""

    job: Job
    blob: int


@dataclass(frozen=True, slots=True)
class ChunkPersisted:
    """All blobs of a put job's chunk are on every tape they belong on."""

    job: Job
    chunk: Chunk


@dataclass(frozen=True, slots=True)
class BlobLost:
    """No good copy of a blob (its row) is left anywhere."""

    blob: int


@dataclass(frozen=True, slots=True)
class TapeForgotten:
    """All copies on a tape are about to be forgotten: it is emptied, another's, or struck from the inventory."""

    tape: Tape


@dataclass(frozen=True, slots=True)
class TapeChanged:
    """What the appliance knows of a tape has been written down anew: its state, its room, its place."""

    tape: Tape


@dataclass(frozen=True, slots=True)
class FailureRecorded:
    """A record of a failure was added: the name of its type (`TapeFailure`, `JobCreationFailed`), and its fields."""

    kind: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class RecordRemoved:
    """A configured record was removed: the name of its type, and its id."""

    kind: str
    identifier: str


@dataclass(frozen=True, slots=True)
class ObjectChanged:
    """A version (its row) was completed (CREATE), is about to go (DELETE), became the latest or is it no more.

    `type` is a BucketHistoryEventType: CREATE, DELETE, MARK_LATEST, UNMARK_LATEST.
    """

    type: str
    object: int


@dataclass(frozen=True, slots=True)
class BucketRemoved:
    """A bucket has been removed, and all that was in it before."""

    bucket: Bucket


Event = (
    JobCreated
    | JobDiscarded
    | JobEnded
    | ObjectsDropped
    | BlobCached
    | ChunkPersisted
    | BlobLost
    | TapeForgotten
    | TapeChanged
    | FailureRecorded
    | RecordRemoved
    | ObjectChanged
    | BucketRemoved
)
_Kind = TypeVar("_Kind", bound=Event)


class Events:
    """Who listens to what. Telling an event that nobody listens to costs one look into a dictionary."""

    def __init__(self) -> None:
        self._listeners: dict[type, tuple[Callable[[Any], None], ...]] = {}

    def listen(self, kind: type[_Kind], listener: Callable[[_Kind], None]) -> None:
        """Call `listener` with every event of `kind` from now on, in the order in which listeners came."""
        self._listeners[kind] = (*self._listeners.get(kind, ()), listener)

    def tell(self, event: Event) -> None:
        """Tell an event, inside the transaction that it belongs to."""
        for listener in self._listeners.get(type(event), ()):
            listener(event)
