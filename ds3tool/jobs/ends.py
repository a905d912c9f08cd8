"""The job's other end: what a source and a sink must do. Local files, S3 and streams implement these."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ds3tool.errors import Ds3Error, FarSideDeniedError, FarSideUnreachableError
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.messages import Response
from ds3tool.protocol.metadata import HeaderLines
from ds3tool.protocol.ranges import ByteRange
from ds3tool.transport.bodies import OutgoingBody

if TYPE_CHECKING:
    from ds3tool.jobs.arrival import Arrival
    from ds3tool.jobs.known_digests import KnownDigests

# What a sink tells of one object, and all others would meet too; another run may mend it.
TARGET_LOST = (FarSideDeniedError, FarSideUnreachableError)


@dataclass(frozen=True, slots=True)
class SourceObject:
    """Something to put: its key, its size in bytes, when it was modified (nanoseconds since 1970).

    `name` is the source's own name for it, which `Source.open` understands. `inode` tells a file from one that has
    taken its name since; 0 where there is no such number.
    """

    key: str
    size: int
    modified_ns: int
    name: bytes
    inode: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """One object that could not be done, and why. What has no key (a name that cannot be one) has a local `path`."""

    key: str | None
    error: Ds3Error
    path: str | None = None

    @property
    def name(self) -> str:
        """What a person knows it by."""
        return self.key if self.key is not None else self.path or ""

    @property
    def named_error(self) -> Ds3Error:
        """The error with the object's name in front, unless its sentence begins with that or asks for it."""
        name, error = self.name, self.error
        if error.message.startswith((f"{name} ", f"{name}: ")) or f"no object {name!r}" in error.message:
            return error
        return Ds3Error(f"{name}: {error.message}", hint=error.hint)


class OpenObject(Protocol):
    """A source object while its bytes are read. Several threads may read it at once; one closes it."""

    def body(self, offset: int, length: int, *, counter: Callable[[int], None]) -> OutgoingBody:
        """Return a body for the range, which tells `counter` what it sends."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly these bytes; SourceError when they cannot be had."""
        ...

    def check_unchanged(self) -> None:
        """Raise SourceError when the object is not any more what was planned (size, time)."""
        ...

    def metadata(self) -> Mapping[str, str]:
        """Return what is to be stored with the object; it goes out beside every blob of it."""
        ...

    def close(self) -> None:
        """Give back what was held."""
        ...


class Source(Protocol):
    """What can be put."""

    @property
    def sequential(self) -> bool:
        """Whether an object's bytes can be had only once, and only from the first to the last."""
        ...

    @property
    def distant(self) -> bool:
        """Whether each reading is a request to another host.

        Then bytes are read once where that can be, and digested as they pass; and several objects are read at once.
        """
        ...

    def objects(self) -> Iterator[SourceObject]:
        """Yield every object lazily, in the same order at each call."""
        ...

    @property
    def failures(self) -> list[Failure]:
        """What could not be listed, as known after `objects` is through."""
        ...

    @property
    def skipped(self) -> list[str]:
        """What was left out on purpose (links, devices), each a sentence."""
        ...

    @property
    def notes(self) -> list[str]:
        """What else a person should know of the objects, each a sentence; complete once all of them are put."""
        ...

    def open(self, item: SourceObject) -> OpenObject:
        """Open an object that this source listed; SourceError when it is gone, unreadable or changed."""
        ...


class PlainReader(Protocol):
    """Reads whole small objects that have nothing unusual about them; for one thread, that closes it."""

    def read(self, name: bytes, size: int, modified_ns: int, inode: int) -> tuple[bytes, HeaderLines | None] | None:
        """Return the bytes of an object that is what was listed of it; None where anything is out of the ordinary.

        With them comes what `OpenObject.metadata` would say, None for nothing: all its names begin as
        `attributes.RESERVED` says. The arguments are those of a `SourceObject`. After None, `Source.open` tells what
        it is.
        """
        ...

    def close(self) -> None:
        """Give back what was held."""
        ...


@runtime_checkable
class PlainSource(Protocol):
    """A source that may have a quicker way for small objects."""

    def plain_reader(self) -> PlainReader | None:
        """Return it, where there is one for all of its objects whose keys tell their names (`may_be_escaped`)."""
        ...


@dataclass(frozen=True, slots=True)
class TargetObject:
    """Something to get: its key, its size, where it goes (the sink's own relative name).

    `version_id` is None for the latest version. With `ranges` only these bytes of the object are wanted, one after
    the other in this order, and `size` is their sum. `replace`: what has that name already makes room for it.
    `number` is its place in its job's plan, -1 outside of one.
    """

    key: str
    size: int
    name: str
    version_id: str | None = None
    ranges: tuple[ByteRange, ...] = ()
    replace: bool = False
    number: int = field(default=-1, compare=False)


class Sink(Protocol):
    """Where a get lands. An object appears whole under its name or not at all."""

    @property
    def sequential(self) -> bool:
        """Whether bytes can only be taken one after the other, object by object in plan order (a stream)."""
        ...

    def receive(
        self, item: TargetObject, arrival: Arrival, response: Response, *, counter: Callable[[int], None]
    ) -> str | None:
        """Store what is left of one blob from a reply's body, and tell `arrival` and `counter` as it is stored.

        Called again when the body broke off, with the rest of it, or from the blob's start where `arrival` says so.
        Returns `arrival.verified()` once all has come. Raises ChecksumError when it is not what it should be,
        SinkError when the target cannot take the bytes.
        """
        ...

    def receive_small(self, item: TargetObject, offset: int, data: memoryview) -> None:
        """Store a blob that came in one piece and was verified by the caller."""
        ...

    @property
    def wants_metadata(self) -> bool:
        """Whether it makes something of what `describe` tells: then it is asked for where no blob's reply tells it."""
        ...

    def describe(self, item: TargetObject, metadata: Mapping[str, str]) -> None:
        """Tell what is stored with an object; a sink makes of it what it can.

        Called once, for every object that is moved and has any metadata, folders included, and as early as may be:
        when the head of the object's first reply is known and nothing of its body is stored (what a file's holes
        need), at the latest before `finish`. SinkError when the object cannot be made as what it says that it is.
        """
        ...

    def finish(self, item: TargetObject) -> None:
        """All blobs of `item` are stored: make it appear under its name, soon and durably."""
        ...

    def abandon(self, item: TargetObject) -> None:
        """Drop what was stored of `item`; nobody stores anything of it any more."""
        ...

    def check_name(self, name: str) -> None:
        """Raise SinkError for a name that nothing can safely have here."""
        ...

    def existing_size(self, name: str) -> int | None:
        """Return the size of what has that name, None when nothing has; SinkError when it is of another kind."""
        ...

    def read_existing(self, name: str, offset: int, length: int) -> bytes:
        """Return bytes of what has that name."""
        ...

    def is_link(self, name: str) -> bool:
        """Whether what has that name is a symbolic link; its size and bytes are then those of where it points.

        A link is the same as an object only when that object is a link too (`ds3tool-link` in its metadata).
        """
        ...

    def free_name(self, name: str) -> str:
        """Return `name`, or where something has it, one like it that nothing has: `film~1.mov`.

        What was returned once counts as taken from then on, whether it has appeared or not.
        """
        ...

    def free_bytes(self) -> int | None:
        """Return the room there is, None when that cannot be told."""
        ...

    @property
    def notes(self) -> list[str]:
        """What could not be made again of what `describe` told, a sentence for each kind; whole after `settle`."""
        ...

    def settle(self, *, wait: bool) -> list[tuple[TargetObject, Ds3Error | None]]:
        """Return the objects that have appeared, or failed to, since the last call; `wait` for all that are due.

        With one of TARGET_LOST an object may be told of before it is finished.
        """
        ...

    def close(self) -> None:
        """Drop everything unfinished and give back what was held."""
        ...


@runtime_checkable
class GatheringSink(Protocol):
    """A sink that takes the ends of many objects at a time."""

    def finish_all(self, items: Sequence[TargetObject]) -> None:
        """Do with each what `Sink.finish` does."""
        ...


class PlainWriter(Protocol):
    """Takes whole small objects that have nothing unusual about them, by their numbers in the plan of one job.

    `store` is for one thread, the others for any.
    """

    def store(self, number: int, name: str, data: memoryview) -> bool:
        """Keep all bytes of an object that was verified; False, and nothing kept, where it must go another way.

        Nothing that has the name is replaced, and nothing but bytes is kept. SinkError when the target cannot take it.
        """
        ...

    def finish(self, numbers: Sequence[int]) -> Sequence[int]:
        """Let objects appear under their names, soon and durably; return those that `store` does not have."""
        ...

    def drop(self, number: int) -> None:
        """Drop what is kept of an object, if anything."""
        ...

    def settle(self, *, wait: bool) -> tuple[Sequence[int], Sequence[tuple[int, Ds3Error]]]:
        """Return which objects have appeared, and which failed to, since the last call.

        `wait`, for the end of the job: for all that are due; what was stored and not finished is dropped.
        """
        ...


@runtime_checkable
class PlainSink(Protocol):
    """A sink that may have a quicker way for small objects."""

    def plain_writer(self) -> PlainWriter | None:
        """Return it, where there is one."""
        ...


@runtime_checkable
class PreparingSink(Protocol):
    """A sink that has something to do for an object before its bytes come, which they need not wait for then."""

    def prepare(self, item: TargetObject) -> None:
        """Do it; called before each blob is asked for. What goes wrong with it, `receive` tells."""
        ...


@runtime_checkable
class KeepingSink(Sink, Protocol):
    """A sink that can leave what is unfinished for a later run of the same work, which finds it again."""

    def keep_unfinished(self, *, keep: bool = True) -> None:
        """Say whether `close` is to leave what is unfinished where it is."""
        ...

    def room_taken(self, item: TargetObject) -> int | None:
        """Return how many bytes of room the unfinished object takes already, None when nothing of it is there."""
        ...

    def read_unfinished(self, item: TargetObject, offset: int, length: int) -> bytes:
        """Return bytes of an unfinished object, whatever they are; SinkError when they cannot be had."""
        ...

    def may_hold(self, item: TargetObject, offset: int, length: int) -> bool:
        """Whether anything was written into a range of an unfinished object; False only where nothing surely was."""
        ...

    def discard(self, item: TargetObject) -> None:
        """Remove what is unfinished of an object, by whichever run; nobody is storing it."""
        ...

    def names_beside(self, name: str) -> tuple[Container[str], bool]:
        """Return all names in the folder where an object of this name stands, and whether any is unfinished here.

        One look serves all objects of the folder. SinkError when it cannot be looked into.
        """
        ...

    def accept_same(self, item: TargetObject) -> None:
        """Let what has the object's name once it is whole count as the object, if its bytes are the same."""
        ...

    def sweep(self, names: Iterable[str]) -> int:
        """Remove all that is unfinished of this work beside objects of these names; return how many there were."""
        ...


@runtime_checkable
class KeyedSink(Sink, Protocol):
    """A sink of keys, as S3 is: `/` means nothing in a name, so that `a` and `a/b` are two objects."""

    def digests(self, name: str) -> KnownDigests | None:
        """Return what is vouched for of what has that name, without its bytes being read; None when nothing has."""
        ...
