"""A bucket of S3 as a sink: blobs gather into parts, and objects appear under their keys only when all is verified."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ds3tool.aws.failures import far_side
from ds3tool.aws.session import AwsSettings
from ds3tool.errors import Ds3Error, FarSideUnreachableError, InterruptedRunError, SinkError
from ds3tool.jobs.arrival import Arrival
from ds3tool.jobs.ends import TargetObject
from ds3tool.jobs.existing import numbered_name
from ds3tool.jobs.known_digests import KnownDigests
from ds3tool.protocol.attributes import FileAttributes
from ds3tool.protocol.messages import Response
from ds3tool.protocol.object_attributes import ObjectAttributes
from ds3tool.protocol.ranges import ByteRange
from ds3tool.sinks import s3_metadata
from ds3tool.sinks.notes import Notes
from ds3tool.sinks.s3_landing import Landing
from ds3tool.sinks.s3_parts import MIB, Room
from ds3tool.sinks.s3_shipping import Shipping
from ds3tool.sinks.s3_uploads import UploadRecord

MEMORY_BYTES = 128 * MIB
# Small objects take little room, and each its time.
_MOST_WAITING = 1024
_LOOK_SECONDS = 0.2
_NOTHING = ObjectAttributes()
# Source: S3's user guide, "Naming Amazon S3 objects".
_LONGEST_KEY = 1024


class S3Sink:
    """Writes objects into `bucket`, each under `prefix` and its name.

    Names are taken as they are: any characters of UTF-8, `/` means nothing. Objects of up to 16 MiB go in one request,
    others by an upload in parts. `storage_class` stands in for what the objects had. Where no object is to be replaced,
    S3 itself sees to it that none is.

    `token` is that of the piece of work that this is part of, and `state` the folder where uploads that have begun are
    remembered by it; what an earlier run of the same work has left is aborted, and its objects begin anew. `close`
    aborts whatever is unfinished; what cannot be reached then stays remembered.

    Bytes on their way take at most `memory_bytes`. Those for which that is not enough, since they wait for others that
    come later, since their parts are larger (of an object of terabytes), or since ranges make up the object, go through
    a temporary file (see `Room`).
    """

    def __init__(
        self,
        aws: AwsSettings,
        bucket: str,
        prefix: str = "",
        *,
        token: str | None = None,
        state: Path | None = None,
        storage_class: str | None = None,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self.bucket = bucket
        self.prefix = prefix
        self._storage_class = storage_class
        self._shipping = Shipping(aws, bucket, UploadRecord(aws, bucket, state=state, token=token), Room(memory_bytes))
        self._notes = Notes()
        self._changed = threading.Condition()
        self._landings: dict[str, Landing] = {}
        # What goes beside the bytes of objects of which none has come.
        self._described: dict[str, dict[str, Any]] = {}
        self._unsettled = 0
        self._settled: list[tuple[TargetObject, Ds3Error | None]] = []
        # Names that `free_name` has given away and that have not appeared yet.
        self._promised: set[str] = set()
        self._closed = False

    @property
    def sequential(self) -> bool:
        """Blobs are taken in any order."""
        return False

    # -- names -------------------------------------------------------------------------------------------------

    def check_there(self) -> None:
        """Raise FarSideNotFoundError when there is no such bucket, and what else keeps one from it."""
        with far_side(f"s3://{self.bucket}"):
            self._shipping.requests.client.head_bucket(Bucket=self.bucket)

    def check_name(self, name: str) -> None:
        """Raise SinkError for a name that no object in S3 can have."""
        if not name:
            raise SinkError("nothing is left of its name", hint="leave out --strip-prefix, or get it under a new name")
        try:
            length = len(self._key(name).encode())
        except UnicodeEncodeError as error:
            raise SinkError("its name cannot be written in UTF-8, as keys in S3 are") from error
        if length > _LONGEST_KEY:
            raise SinkError(f"its key would be {length} bytes long, and S3 takes {_LONGEST_KEY}")

    def existing_size(self, name: str) -> int | None:
        """Return the size of the object of that name, None when there is none."""
        return self._shipping.present.size(self._key(name))

    def read_existing(self, name: str, offset: int, length: int) -> bytes:
        """Return exactly these bytes of the object of that name."""
        return self._shipping.present.read(self._key(name), offset, length)

    def digests(self, name: str) -> KnownDigests | None:
        """Return the digests that S3 states of the object of that name, None when there is none."""
        return self._shipping.present.digests(self._key(name))

    def is_link(self, name: str) -> bool:
        """Whether what has that name was put as a symbolic link: its metadata say so."""
        head = self._shipping.requests.head(self._key(name))
        return head is not None and FileAttributes.from_metadata(head.get("Metadata", {})).link

    def free_name(self, name: str) -> str:
        """Return `name`, or where something has it, one like it that nothing has and that was not returned before."""
        number, free = 0, name
        while True:
            with self._changed:
                taken = free in self._promised or free in self._landings
            if not taken and not self._shipping.present.is_there(self._key(free)):
                break
            number += 1
            free = numbered_name(name, number)
        with self._changed:
            self._promised.add(free)
        return free

    def free_bytes(self) -> int | None:
        """Return None: nobody can tell what S3 takes."""
        return None

    def _key(self, name: str) -> str:
        return self.prefix + name

    # -- what is stored with an object -------------------------------------------------------------------------

    @property
    def wants_metadata(self) -> bool:
        """Content type, tags, storage class and user metadata go back to S3."""
        return True

    def describe(self, item: TargetObject, metadata: Mapping[str, str]) -> None:
        """Keep what goes beside the object's bytes; what S3 cannot keep is noted. Of a part of an object, nothing."""
        if item.ranges:
            return
        found, left_out = s3_metadata.arguments(ObjectAttributes.from_metadata(metadata), self._storage_class)
        if left_out:
            self._notes.add("metadata that S3 cannot keep left out", item.name, ", ".join(left_out))
        with self._changed:
            landing = self._landings.get(item.name)
            if landing is None:
                self._described[item.name] = found
            elif not landing.describe(found):
                self._notes.add("metadata that came when bytes had gone to S3 left out", item.name)

    @property
    def notes(self) -> list[str]:
        """What S3 could not keep of what `describe` told, a sentence for each kind."""
        return self._notes.sentences

    # -- bytes -------------------------------------------------------------------------------------------------

    def give_up_when(self, stopped: Callable[[], bool]) -> None:
        """Let whoever waits for room end once `stopped` says so."""
        self._shipping.stopped_by = stopped

    def receive(
        self, item: TargetObject, arrival: Arrival, response: Response, *, counter: Callable[[int], None]
    ) -> str | None:
        """Store what is left of one blob, and verify it once it is whole; parts of it leave as they fill."""
        with _not_the_appliance():
            landing = self._landing(item)
            stores = landing.begin(arrival.blob, arrival.done)
            for block in response.body:
                arrival.check_room(len(block))
                if stores:
                    landing.write(arrival.blob, block)
                arrival.took(block)
                counter(len(block))
            actual = arrival.verified()
            if stores:
                landing.verified(arrival.blob)
            return actual

    def receive_small(self, item: TargetObject, offset: int, data: memoryview) -> None:
        """Keep a blob that came in one piece and was verified by the caller; nothing is sent in the caller's thread."""
        with _not_the_appliance():
            landing = self._landing(item)
            blob = ByteRange(offset, offset + len(data))
            if item.ranges:
                landing.write_loose(offset, data)
            elif landing.begin(blob, 0):
                landing.write(blob, data)
                landing.verified(blob)

    def _landing(self, item: TargetObject) -> Landing:
        """Return what has come of an object; SinkError when another object of that name is under way."""
        with self._changed:
            if self._closed:
                raise SinkError(f"{item.name} cannot be written: the target is closed")
            found = self._landings.get(item.name)
            if found is None:
                self.check_name(item.name)
                found = Landing(item, self._key(item.name), self._shipping, ended=self._landed, lost=self._lost)
                told = self._described.pop(item.name, None)
                found.arguments = s3_metadata.arguments(_NOTHING, self._storage_class)[0] if told is None else told
                self._landings[item.name] = found
            elif not _same(found.item, item):
                raise SinkError(
                    f"{item.key} cannot be written: {found.item.key} is being written under the same name, {item.name}"
                )
            return found

    # -- the end of an object ----------------------------------------------------------------------------------

    def finish(self, item: TargetObject) -> None:
        """Let a whole object appear under its key, in another thread; waits while too many wait for that."""
        with self._changed:
            self._unsettled += 1
            while self._unsettled > _MOST_WAITING and not self._shipping.stopped():
                self._changed.wait(_LOOK_SECONDS)
        try:
            landing = self._landing(item)
        except Ds3Error as failed:
            self._settle(item, failed)
        else:
            landing.finish(item)

    def _landed(self, landing: Landing, error: Ds3Error | None) -> None:
        """Take the end of an object, from any thread."""
        self._leave(landing.item)
        self._settle(landing.item, error)

    def _settle(self, item: TargetObject, error: Ds3Error | None) -> None:
        with self._changed:
            self._promised.discard(item.name)
            self._settled.append((item, error))
            self._unsettled -= 1
            self._changed.notify_all()

    def _lost(self, landing: Landing, error: Ds3Error) -> None:
        """Take what is no fault of the object under way: whoever settles must hear of it soon."""
        with self._changed:
            self._settled.append((landing.item, error))

    def _leave(self, item: TargetObject) -> Landing | None:
        with self._changed:
            found = self._landings.get(item.name)
            if found is None or not _same(found.item, item):
                return None
            return self._landings.pop(item.name)

    def abandon(self, item: TargetObject) -> None:
        """Drop what came of an object; what S3 has of it is taken away in another thread."""
        landing = self._leave(item)
        if landing is not None:
            landing.drop()
        with self._changed:
            self._described.pop(item.name, None)

    def settle(self, *, wait: bool) -> list[tuple[TargetObject, Ds3Error | None]]:
        """Return what has appeared or failed to since the last call; with `wait`, of all that `finish` was told.

        With an error that says that S3 knows us no more, or is out of reach, an object may be told of before.
        """
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: not self._unsettled)
            settled, self._settled = self._settled, []
        return settled

    def close(self) -> None:
        """Abort every upload that is not finished, and give back what was held. Twice is harmless."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
        self._shipping.close()

    # -- what an earlier run has left --------------------------------------------------------------------------

    def keep_unfinished(self, *, keep: bool = True) -> None:
        """Take no notice: bytes that S3 has of an unfinished object cannot be read back, so none is left there."""

    def room_taken(self, item: TargetObject) -> int | None:  # noqa: ARG002  # as every keeping sink is asked
        """Return None: of an object that was begun nothing counts."""
        return None

    def read_unfinished(self, item: TargetObject, offset: int, length: int) -> bytes:  # noqa: ARG002  # as every keeping sink is asked
        """Raise SinkError: S3 does not give back what is not finished."""
        raise SinkError(f"{item.name} is not finished, and S3 gives nothing back of it")

    def may_hold(self, item: TargetObject, offset: int, length: int) -> bool:  # noqa: ARG002  # as every keeping sink is asked
        """Return False: of an object that was begun nothing counts."""
        return False

    def discard(self, item: TargetObject) -> None:
        """Drop what came of an object; what an earlier run has left of any is aborted as soon as anything is sent."""
        self.abandon(item)

    def names_beside(self, name: str) -> tuple[Container[str], bool]:  # noqa: ARG002  # as every keeping sink is asked
        """Return that any name may be there: `existing_size` asks for many at once by itself."""
        return _AnyName(), False

    def accept_same(self, item: TargetObject) -> None:
        """Take no notice: what has the key, and the same bytes, always counts as the object."""

    def sweep(self, names: Iterable[str]) -> int:  # noqa: ARG002  # all of a work are known without them
        """Abort what earlier runs of this work have left; return how many that were. What cannot be is noted."""
        try:
            return self._shipping.abort_earlier()
        except Ds3Error as error:
            self._notes.add("uploads that an earlier run has left in S3 not aborted", self.bucket, error.message)
            return 0


@contextlib.contextmanager
def _not_the_appliance() -> Iterator[None]:
    """Let nobody who talks to the appliance take it for trouble with that, and repeat, when S3 is out of reach.

    Whoever settles is told what it is.
    """
    try:
        yield
    except FarSideUnreachableError as error:
        raise InterruptedRunError(error.message) from error


class _AnyName(Container[str]):
    """Stands for names that nobody has listed."""

    def __contains__(self, name: object) -> bool:
        return True


def _same(one: TargetObject, other: TargetObject) -> bool:
    return (one.key, one.version_id, one.ranges) == (other.key, other.version_id, other.ranges)
