"""A local folder as a sink: blobs are written into temporary files, which take their names only when whole and safe.

Every step goes through descriptors of folders opened without following links, from the target folder down, so that
neither a key nor a link swapped in by somebody can lead outside of it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from ds3tool.errors import ChecksumError, Ds3Error, ProtocolError, SinkError, SourceError
from ds3tool.jobs.arrival import Arrival
from ds3tool.jobs.ends import PlainWriter, TargetObject
from ds3tool.jobs.existing import numbered_name
from ds3tool.protocol.attributes import FileAttributes
from ds3tool.protocol.messages import Response
from ds3tool.sinks import leftovers, names
from ds3tool.sinks.attributes import Attributes
from ds3tool.sinks.folders import Folders
from ds3tool.sinks.groups import Due, Groups
from ds3tool.sinks.links import Links, check_size
from ds3tool.sinks.notes import Notes
from ds3tool.sinks.parts import Part, Parts
from ds3tool.sinks.present import Present
from ds3tool.sinks.publishing import Publisher
from ds3tool.sinks.sparse import make_hole, write_sparsely
from ds3tool.sinks.unnamed import UnnamedFiles
from ds3tool.transport.bodies import read_range
from ds3tool.transport.pool import IncomingBody
from ds3tool.transport.splicing import write_all


class LocalSink:
    """Writes objects below `root`, which is made when it is not there.

    Target names are relative, with `/` between their parts. `preserve` gives files and folders the attributes that
    were stored with them, as far as this user may; what may not be is in `notes`. `links` says what becomes of
    objects that were put as symbolic links. What was a sparse file becomes one.

    `make` False is for plans: a root that is not there is not made, and nothing can be received.

    `token` is that of the piece of work that this is part of, by which a later run finds what an earlier one has left
    unfinished; None when there will be no other.

    Open at a time are 64 files that are being written, 256 small ones that were, 512 that are being made durable, 768
    without a name, and 128 folders; each fewer where the limit on open files is low. Raises SinkError when the root
    cannot be had.
    """

    def __init__(
        self,
        root: str,
        *,
        preserve: bool = False,
        links: Links = Links.INSIDE,
        make: bool = True,
        token: str | None = None,
    ) -> None:
        self.root = root
        self._preserve = preserve
        self._links = links
        self._folders = Folders(root, make=make)
        self._notes = Notes()
        self._present = Present(self._folders)
        self._parts = Parts(self._folders, token=token)
        self._keep = False
        self._lock = threading.Lock()
        # Names that `free_name` has given away and that have not appeared yet.
        self._promised: set[str] = set()
        # Folder objects that were described, those of them that are to be there soon.
        self._described_folders: dict[str, FileAttributes] = {}
        self._finished_folders: dict[str, FileAttributes] = {}
        # Folders that are there and have not got their attributes yet.
        self._untold: list[tuple[TargetObject, Ds3Error | None]] = []
        self._publisher = Publisher(
            self._folders,
            links=links,
            attributes=Attributes(self._notes) if preserve else None,
            notes=self._notes,
        )
        self._closed = False
        self._unnamed = UnnamedFiles(
            self._folders,
            appear=self._publisher.publish_unnamed,
            wake=lambda: self._groups.wake(),  # noqa: PLW0108  # it is made next
            trial=leftovers.trial_name(self._parts.token),
        )
        self._groups = Groups(self._publisher.publish, beside=self._unnamed.publish)

    @property
    def sequential(self) -> bool:
        """Blobs are stored in any order."""
        return False

    # -- names -------------------------------------------------------------------------------------------------

    @staticmethod
    def check_name(name: str) -> None:
        """Raise SinkError for a relative name that no file below the root can safely have."""
        names.check_name(name)

    @staticmethod
    def are_plain(some: Sequence[str]) -> bool:
        """Whether one look shows that files can safely have all of these names."""
        return names.are_plain(some)

    def existing_size(self, name: str) -> int | None:
        """Return the size of the file or link of that name, None when there is none.

        A link's size is the length of its target in bytes. Raises SinkError when something else (for a folder's
        name, something else than a folder) is there.
        """
        return self._present.size(name)

    def is_empty(self, folder: str) -> bool:
        """Whether a folder below the root is not there or has nothing in it; False where that cannot be told."""
        return self._present.is_empty(folder)

    def read_existing(self, name: str, offset: int, length: int) -> bytes:
        """Return exactly these bytes of the file of that name, or of the target of the link."""
        return self._present.read(name, offset, length)

    def is_link(self, name: str) -> bool:
        """Whether what has that name is a symbolic link."""
        return self._present.is_link(name)

    def free_name(self, name: str) -> str:
        """Return `name`, or where something has it, one like it that nothing has and that was not returned before."""
        with self._lock:
            number, free = 0, name
            while free in self._promised or self._is_under_way(free) or self._present.state_of(free) is not None:
                number += 1
                free = numbered_name(name, number)
            self._promised.add(free)
        return free

    def _is_under_way(self, name: str) -> bool:
        return name in self._parts or name in self._unnamed

    def remove(self, name: str) -> None:
        """Remove the file or link of that name; one that is gone already is no error, anything else is a SinkError."""
        folder, _, last = name.rpartition("/")
        try:
            with self._folders.opened(folder, make=False) as parent:
                os.unlink(last, dir_fd=parent)
        except FileNotFoundError:
            return
        except OSError as error:
            raise SinkError(f"{name} cannot be removed: {error.strerror}") from error

    def free_bytes(self) -> int:
        """Return how many bytes the target's file system has room for, for this user."""
        room = os.statvfs(self._folders.above) if self._folders.root < 0 else os.fstatvfs(self._folders.root)
        return room.f_bavail * room.f_frsize

    # -- what is stored with an object -------------------------------------------------------------------------

    @property
    def wants_metadata(self) -> bool:
        """Whether attributes are made again."""
        return self._preserve

    def describe(self, item: TargetObject, metadata: Mapping[str, str]) -> None:
        """Keep what an object's metadata say of the file it was, until it is finished.

        SinkError when it was put as a link and cannot be one. Of a part of a file, nothing is made again.
        """
        if item.ranges:
            return
        attributes = FileAttributes.from_metadata(metadata)
        if attributes.link:
            check_size(item.name, item.size)
        if item.name.endswith("/") and not item.size:
            if self._preserve:
                with self._lock:
                    self._described_folders[item.name] = attributes
        elif self._preserve or attributes.link or attributes.sparse:
            self._parts.describe(item, attributes, private=self._preserve and attributes.mode is not None)

    @property
    def notes(self) -> list[str]:
        """What could not be made again of what `describe` told, a sentence for each kind."""
        return self._notes.sentences

    # -- bytes -------------------------------------------------------------------------------------------------

    def prepare(self, item: TargetObject) -> None:
        """Make the object's file and its room, if it can be told by now what file that is."""
        if not self._preserve:  # else its mode comes with its bytes
            with contextlib.suppress(SinkError):  # `receive` tells it
                self._parts.prepare(item)

    def receive(
        self, item: TargetObject, arrival: Arrival, response: Response, *, counter: Callable[[int], None]
    ) -> str | None:
        """Store what is left of one blob, and verify it once it is whole."""
        body = response.body
        assert isinstance(body, IncomingBody)
        with self._parts.used(item) as part, _naming(item):
            start, left = arrival.blob.start, arrival.length - arrival.done
            write = _writer(part, start + arrival.done, left)
            if write is not write_all or body.length != left:
                with arrival.taking() as took:
                    for block in body:
                        arrival.check_room(len(block))
                        write(part.descriptor, block, start + arrival.done)
                        took(block)
                        counter(len(block))
            elif arrival.hasher is not None:
                with arrival.taking() as took:
                    body.into_file(part.descriptor, start + arrival.done, moved=counter, seen=took)
            else:

                def moved(count: int) -> None:
                    arrival.done += count
                    counter(count)

                body.into_file(part.descriptor, start + arrival.done, moved=moved)
        return arrival.verified()

    def receive_small(self, item: TargetObject, offset: int, data: memoryview) -> None:
        """Store a blob that came in one piece and was verified by the caller."""
        if len(data) == item.size and not offset and not item.ranges:
            try:
                if self._parts.store_whole(item, data):
                    return
            except (SinkError, OSError) as error:
                raise _named(item, error) from error
        with self._parts.used(item) as part, _naming(item):
            _writer(part, offset, len(data))(part.descriptor, data, offset)

    def plain_writer(self) -> PlainWriter | None:
        """Return the quicker way for whole small objects."""
        return self._unnamed

    # -- the end of an object ----------------------------------------------------------------------------------

    def finish(self, item: TargetObject) -> None:
        """Let a whole object appear under its name, once its bytes are safe on the disk."""
        try:
            if self._closed:
                raise SinkError(f"{item.name} cannot be written: the target is closed")
            part = None
            if item.name.endswith("/") and not item.size:
                names.check_name(item.name)
                with self._lock:
                    attributes = self._described_folders.pop(item.name, None)
                    if attributes is not None:
                        self._finished_folders[item.name] = attributes
            else:
                part = self._parts.take(item)  # an empty object has no bytes that would have made its file
                self._parts.release(part)
        except Ds3Error as failed:
            self.fail(item, failed)
        else:
            self._groups.add(Due(item, part))

    def finish_all(self, items: Sequence[TargetObject]) -> None:
        """Do what `finish` does with each of these, for hundreds at a time."""
        whole: list[Due] = []
        for item in items:
            part = None if self._closed else self._parts.take_whole(item)
            if part is None:
                self.finish(item)
            else:
                whole.append(Due(item, part))
        self._groups.add_all(whole)

    def fail(self, item: TargetObject, error: Ds3Error) -> None:
        """Drop what was stored of an object instead of finishing it, and let `settle` tell why."""
        self.abandon(item)
        self._groups.add_failure(item, error)

    def abandon(self, item: TargetObject) -> None:
        """Drop what was stored of an object; what a writer still holds goes when the sink is closed."""
        with self._lock:
            self._described_folders.pop(item.name, None)
        self._parts.drop(item)

    # -- what an earlier run has left --------------------------------------------------------------------------

    def room_taken(self, item: TargetObject) -> int | None:
        """Return how much room on the disk an unfinished file of the object takes already, None when there is none."""
        return self._parts.room_taken(item)

    def names_beside(self, name: str) -> tuple[frozenset[str], bool]:
        """Return all names in the folder where an object stands, and whether any is of something unfinished here."""
        beside = self._present.names_in(names.split(name)[0])
        own = leftovers.own_prefix(self._parts.token)
        return beside, any(one.startswith(own) for one in beside)

    def read_unfinished(self, item: TargetObject, offset: int, length: int) -> bytes:
        """Return bytes of the object's unfinished file, whatever they are; SinkError when they cannot be had."""
        with self._parts.used(item) as part, _naming(item):
            try:
                return read_range(part.descriptor, offset, length, item.name)
            except SourceError as error:
                raise SinkError(error.message) from error

    def may_hold(self, item: TargetObject, offset: int, length: int) -> bool:
        """Whether anything was written into a range of the unfinished file; False only where nothing surely was."""
        with self._parts.used(item) as part, _naming(item):
            try:
                return os.lseek(part.descriptor, offset, os.SEEK_DATA) < offset + length
            except OSError as error:
                return error.errno != errno.ENXIO

    def discard(self, item: TargetObject) -> None:
        """Remove what is there of an object that is not finished, by whichever run; nobody is storing it."""
        self._parts.discard(item)

    def accept_same(self, item: TargetObject) -> None:
        """Let what has the object's name when it is whole count as the object, if its bytes are the same."""
        self._publisher.accept_same(item.name)

    def keep_unfinished(self, *, keep: bool = True) -> None:
        """Say whether `close` leaves unfinished files where they are, for a later run."""
        self._keep = keep

    def sweep(self, names: Iterable[str]) -> int:
        """Remove all unfinished files of this work that stand beside objects of these names; return how many.

        For its end: nothing of it is being stored any more.
        """
        return leftovers.sweep(self.root, self._parts.token, names)

    # -- the end -----------------------------------------------------------------------------------------------

    def settle(self, *, wait: bool) -> list[tuple[TargetObject, Ds3Error | None]]:
        """Return what has appeared or failed to since the last call; with `wait`, of all that `finish` was told.

        With `wait`, folders get their attributes too: what is put into one later changes its time again. Those that
        are to have any are not told before.
        """
        settled = self._groups.settle(wait=wait)
        with self._lock:
            for item, error in settled:
                self._promised.discard(item.name)
                if error is not None:
                    self._finished_folders.pop(item.name, None)
            if not wait:
                held = [one for one in settled if one[0].name in self._finished_folders]
                self._untold.extend(held)
                return [one for one in settled if one[0].name not in self._finished_folders] if held else settled
            untold, self._untold = self._untold, []
        self._finish_folders()
        return [*untold, *settled]

    def _finish_folders(self) -> None:
        with self._lock:
            folders, self._finished_folders = self._finished_folders, {}
        self._publisher.give_folders_attributes(folders)

    def close(self) -> None:
        """Let whole objects appear, drop the others unless they are to be kept, close everything. Twice is harmless."""
        if self._closed:
            return
        self._closed = True
        self._groups.close()
        self._unnamed.close()
        self._finish_folders()
        self._parts.close(keep=self._keep)
        self._folders.close()


def _writer(part: Part, offset: int, length: int) -> Callable[[int, bytes | memoryview, int], None]:
    """Return what writes into this range of a temporary file: one that leaves zeros out, where the file is sparse.

    What an earlier try has written there goes first, so that what is left out is zeros indeed.
    """
    if part.sparse and length and make_hole(part.descriptor, offset, length):
        return write_sparsely
    return write_all


@contextlib.contextmanager
def _naming(item: TargetObject) -> Iterator[None]:
    """Say of which object the target could not take the bytes."""
    try:
        yield
    except (ChecksumError, ProtocolError):
        raise
    except (SinkError, OSError) as error:
        raise _named(item, error) from error


def _named(item: TargetObject, error: SinkError | OSError) -> SinkError:
    """Return an error that says of which object the target could not take the bytes."""
    if isinstance(error, SinkError):
        return SinkError(f"{item.name}: {error.message}", hint=error.hint)
    return SinkError(f"{item.name} cannot be written: {error.strerror}")
