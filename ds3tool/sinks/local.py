"""A local folder as a sink: blobs are written into temporary files, which take their names only when whole and safe.

Every step goes through descriptors of folders opened without following links, from the target folder down, so that
neither a key nor a link swapped in by somebody can lead outside of it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ds3tool.errors import Ds3Error, ProtocolError, SinkError
from ds3tool.jobs.ends import ExpectedChecksum, TargetObject
from ds3tool.jobs.existing import numbered_name
from ds3tool.jobs.integrity import compare, hashed
from ds3tool.protocol.checksums import new_hasher, to_base64
from ds3tool.protocol.messages import Response
from ds3tool.sinks.durability import give_name, preallocate, sync_all, sync_folder
from ds3tool.sinks.folders import Folders
from ds3tool.transport.bodies import read_range
from ds3tool.transport.connection import write_all
from ds3tool.transport.pool import IncomingBody

_OPEN_FILES = 64
# Whole files wait at most this long, or until so many are together, to be made durable in one go.
_GROUP_FILES = 256
_GROUP_SECONDS = 0.5


@dataclass(slots=True)
class _Part:
    """The temporary file of one object. `descriptor` is -1 while it is closed; `users` are writing into it.

    `identity` is the device and inode of the file that was made, None before: nothing else may stand in for it.
    """

    temporary: str
    descriptor: int = -1
    users: int = 0
    identity: tuple[int, int] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class LocalSink:
    """Writes objects below `root`, which is made when it is not there.

    Target names are relative, with `/` between their parts. Open at a time are 64 files that are being written,
    512 that are being made durable, and 128 folders. Raises SinkError when the root cannot be had.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._folders = Folders(root)
        self._token = secrets.token_hex(4)
        self._lock = threading.Lock()
        self._parts: dict[str, _Part] = {}
        self._open_parts: OrderedDict[str, None] = OrderedDict()
        self._count = 0
        # Whole objects that wait to appear, folders without a part.
        self._due: list[tuple[TargetObject, _Part | None]] = []
        self._settled: list[tuple[TargetObject, Ds3Error | None]] = []
        self._unsettled = 0
        self._hurried = False
        self._changed = threading.Condition(self._lock)
        self._closed = False
        self._finisher = threading.Thread(target=self._finish_groups, name="ds3tool-finisher", daemon=True)
        self._finisher.start()

    @property
    def sequential(self) -> bool:
        """Blobs are stored in any order."""
        return False

    # -- names -------------------------------------------------------------------------------------------------

    @staticmethod
    def check_name(name: str) -> None:
        """Raise SinkError for a relative name that no file below the root can safely have."""
        parts = name.removesuffix("/").split("/")
        if "\0" in name:
            raise SinkError("its name holds a NUL, which no file name can")
        for part in parts:
            if part in {"", ".", ".."}:
                raise SinkError(
                    f"its name has a part {part!r}, which is no file name and could lead out of the target folder",
                    hint="get it alone, under a name of your choice: get ds3://BUCKET/KEY FILE",
                )
            try:
                length = len(os.fsencode(part))
            except UnicodeEncodeError as error:
                raise SinkError("its name cannot be written in this system's encoding") from error
            if length > 255:
                raise SinkError(f"a part of its name is {length} bytes long, more than a file name can be")

    def existing_size(self, name: str) -> int | None:
        """Return the size of the file of that name, None when there is none.

        Raises SinkError when something else than a regular file (or, for a folder's name, a folder) is there.
        """
        folder, _, last = name.removesuffix("/").rpartition("/")
        try:
            with self._folders.opened(folder, make=False) as parent:
                state = os.stat(last, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SinkError(f"{name} cannot be examined: {error.strerror}") from error
        if name.endswith("/"):
            if stat.S_ISDIR(state.st_mode):
                return 0
            raise SinkError(f"{name} should be a folder, but a file is there")
        if not stat.S_ISREG(state.st_mode):
            kind = "a folder" if stat.S_ISDIR(state.st_mode) else "something that is no regular file"
            raise SinkError(f"{name} should be a file, but {kind} is there")
        return state.st_size

    def read_existing(self, name: str, offset: int, length: int) -> bytes:
        """Return exactly these bytes of the file of that name."""
        folder, _, last = name.rpartition("/")
        try:
            with self._folders.opened(folder, make=False) as parent:
                descriptor = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        except OSError as error:
            raise SinkError(f"{name} cannot be read: {error.strerror}") from error
        try:
            return read_range(descriptor, offset, length, name)
        finally:
            os.close(descriptor)

    def free_name(self, name: str) -> str:
        """Return `name`, or where something has it, one like it that nothing has."""
        number, free = 0, name
        while self._is_taken(free):
            number += 1
            free = numbered_name(name, number)
        return free

    def _is_taken(self, name: str) -> bool:
        folder, _, last = name.removesuffix("/").rpartition("/")
        try:
            with self._folders.opened(folder, make=False) as parent:
                os.stat(last, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise SinkError(f"{name} cannot be examined: {error.strerror}") from error
        return True

    def free_bytes(self) -> int:
        """Return how many bytes the target's file system has room for, for this user."""
        room = os.fstatvfs(self._folders.root)
        return room.f_bavail * room.f_frsize

    # -- bytes -------------------------------------------------------------------------------------------------

    def receive(
        self,
        item: TargetObject,
        offset: int,
        length: int,
        response: Response,
        *,
        checksum: ExpectedChecksum | None,
        counter: Callable[[int], None],
    ) -> str | None:
        """Store one blob and verify it."""
        body = response.body
        assert isinstance(body, IncomingBody)
        if body.length is not None and body.length != length:
            raise ProtocolError(f"{item.key}: the appliance sent {body.length} bytes for a blob of {length}")
        part = self._use(item)
        try:
            if checksum is None and body.length is not None:
                body.into_file(part.descriptor, offset, moved=counter)
                return None
            hasher = None if checksum is None else new_hasher(checksum.type)
            done = 0
            for block in body if hasher is None else hashed(body, hasher):
                if done + len(block) > length:
                    raise ProtocolError(f"{item.key}: the appliance sent more than a blob's {length} bytes")
                write_all(part.descriptor, block, offset + done)
                done += len(block)
                counter(len(block))
            if done != length:
                raise ProtocolError(f"{item.key}: the appliance sent {done} bytes for a blob of {length}")
            if hasher is None or checksum is None:
                return None
            actual = to_base64(hasher.digest())
            compare(item.key, offset, expected=checksum.value, actual=actual)
            return actual
        finally:
            self._leave(part)

    def receive_small(self, item: TargetObject, offset: int, data: memoryview) -> None:
        """Store a blob that came in one piece and was verified by the caller."""
        part = self._use(item)
        try:
            write_all(part.descriptor, data, offset)
        finally:
            self._leave(part)

    def _use(self, item: TargetObject) -> _Part:
        """Return the object's temporary file, open; made at the first call."""
        with self._lock:
            part = self._parts.get(item.name)
            if part is None:
                self.check_name(item.name)
                self._count += 1
                part = self._parts[item.name] = _Part(f".ds3tool-{self._token}-{self._count}.part")
            part.users += 1
            self._open_parts[item.name] = None
            self._open_parts.move_to_end(item.name)
        try:
            with part.lock:
                if part.descriptor < 0:
                    self._open_temporary(item, part)
        except BaseException:
            self._leave(part)
            raise
        return part

    def _open_temporary(self, item: TargetObject, part: _Part) -> None:
        """Make the object's temporary file, or open it again; SinkError when it is not the same file any more.

        A new file in place of one that vanished would have holes where blobs were stored before.
        """
        folder, _, _ = item.name.rpartition("/")
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        if part.identity is None:
            flags |= os.O_CREAT | os.O_EXCL
        try:
            with self._folders.opened(folder) as parent:
                descriptor = os.open(part.temporary, flags, 0o666, dir_fd=parent)
            try:
                state = os.fstat(descriptor)
                identity = (state.st_dev, state.st_ino)
                if part.identity not in {None, identity}:
                    raise SinkError(f"{item.name} cannot be written: somebody has replaced its temporary file")
                part.identity = identity
                if item.size and state.st_size != item.size:
                    preallocate(descriptor, item.size)
            except BaseException:
                os.close(descriptor)
                raise
        except OSError as error:
            raise SinkError(f"{item.name} cannot be written: {error.strerror}") from error
        part.descriptor = descriptor

    def _leave(self, part: _Part) -> None:
        """Note that a writer is through; close what was used longest ago when too many are open."""
        close = []
        with self._lock:
            part.users -= 1
            if len(self._open_parts) > _OPEN_FILES:
                for name in list(self._open_parts):
                    other = self._parts.get(name)
                    if other is None:
                        del self._open_parts[name]
                    elif not other.users and other is not part:
                        del self._open_parts[name]
                        close.append(other)
                    if len(self._open_parts) <= _OPEN_FILES:
                        break
            for other in close:
                _close_part(other)

    def describe(self, item: TargetObject, metadata: Mapping[str, str]) -> None:
        """Take what is stored with an object; nothing of it is made again yet."""

    @property
    def notes(self) -> list[str]:
        """What could not be made again, a sentence for each kind."""
        return []

    def is_link(self, name: str) -> bool:
        """Whether what has that name is a symbolic link."""
        folder, _, last = name.removesuffix("/").rpartition("/")
        try:
            with self._folders.opened(folder, make=False) as parent:
                return stat.S_ISLNK(os.stat(last, dir_fd=parent, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise SinkError(f"{name} cannot be examined: {error.strerror}") from error

    # -- the end of an object ----------------------------------------------------------------------------------

    def finish(self, item: TargetObject) -> None:
        """Let a whole object appear under its name, once its bytes are safe on the disk."""
        part = None
        if not item.name.endswith("/"):
            try:
                if self._closed:
                    raise SinkError(f"{item.name} cannot be written: the target is closed")
                part = self._use(item)  # an empty object has no bytes that would have made its file
            except Ds3Error as failed:
                self.abandon(item)
                with self._changed:
                    self._settled.append((item, failed))
                return
        with self._changed:
            if part is not None:
                part.users -= 1
                self._parts.pop(item.name, None)
                self._open_parts.pop(item.name, None)
            self._due.append((item, part))
            self._unsettled += 1
            if len(self._due) >= _GROUP_FILES:
                self._changed.notify_all()
            # Each that is due holds a descriptor, of which a process has a thousand or so.
            self._changed.wait_for(lambda: self._unsettled < 2 * _GROUP_FILES)

    def _finish_groups(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._closed or len(self._due) >= _GROUP_FILES or (self._hurried and bool(self._due)),
                    _GROUP_SECONDS,
                )
                group, self._due = self._due, []
                closed = self._closed
            if group:
                try:
                    outcome = self._publish(group)
                except Exception as error:  # noqa: BLE001  # whoever waits for the group must hear of it
                    outcome = [(item, _unwritable(item, error)) for item, _ in group]
                    for _, part in group:
                        if part is not None:
                            _close_part(part)
                with self._changed:
                    self._settled.extend(outcome)
                    self._unsettled -= len(group)
                    self._changed.notify_all()
            elif closed:
                return

    def _publish(self, group: list[tuple[TargetObject, _Part | None]]) -> list[tuple[TargetObject, Ds3Error | None]]:
        """Make the group's bytes safe, give the files their names, make the names safe."""
        parts = [part for _, part in group if part is not None]
        synced = dict(
            zip((part.temporary for part in parts), sync_all([part.descriptor for part in parts]), strict=True)
        )
        outcome: list[tuple[TargetObject, Ds3Error | None]] = []
        appeared: dict[str, list[TargetObject]] = {}
        for item, part in group:
            try:
                if part is None:
                    folder = item.name.removesuffix("/")
                    with self._folders.opened(folder):
                        pass
                else:
                    folder = item.name.rpartition("/")[0]
                    self._appear(item, part, synced[part.temporary])
            except Ds3Error as error:
                outcome.append((item, error))
            except OSError as error:
                outcome.append((item, _unwritable(item, error)))
            else:
                appeared.setdefault(folder, []).append(item)
            finally:
                if part is not None:
                    _close_part(part)
        made = {folder: self._sync_folder(folder) for folder in self._folders.take_made()}
        above = next((error for error in made.values() if error is not None), None)
        for folder, items in appeared.items():
            failed = made[folder] if folder in made else self._sync_folder(folder)
            outcome.extend((item, failed or above) for item in items)
        return outcome

    def _sync_folder(self, folder: str) -> SinkError | None:
        try:
            with self._folders.opened(folder) as descriptor:
                sync_folder(descriptor)
        except (OSError, SinkError) as error:
            return SinkError(f"the folder {folder or self.root} could not be made safe on the disk: {error}")
        return None

    def _appear(self, item: TargetObject, part: _Part, sync_error: OSError | None) -> None:
        """Give a temporary file its name, never over a file that has come there meanwhile."""
        folder, _, last = item.name.rpartition("/")
        with self._folders.opened(folder, make=False) as parent:
            try:
                if sync_error is not None:
                    raise sync_error
                state = os.stat(part.temporary, dir_fd=parent, follow_symlinks=False)
                if (state.st_dev, state.st_ino) != part.identity:
                    raise SinkError(f"{item.name} cannot be written: somebody has replaced its temporary file")
                give_name(part.temporary, last, parent)
            except FileExistsError as error:
                _unlink(part.temporary, parent)
                raise SinkError(
                    f"{item.name} is there already",
                    hint="two keys can mean one file name here, or somebody wrote it meanwhile; it was left as it is",
                ) from error
            except BaseException:
                _unlink(part.temporary, parent)
                raise

    def abandon(self, item: TargetObject) -> None:
        """Drop what was stored of an object; what a writer still holds goes when the sink is closed."""
        with self._lock:
            part = self._parts.get(item.name)
            if part is None or part.users:
                return
            del self._parts[item.name]
            self._open_parts.pop(item.name, None)
        self._drop(item.name, part)

    def _drop(self, name: str, part: _Part) -> None:
        _close_part(part)
        with (
            contextlib.suppress(OSError, SinkError),
            self._folders.opened(name.rpartition("/")[0], make=False) as parent,
        ):
            _unlink(part.temporary, parent)

    def settle(self, *, wait: bool) -> list[tuple[TargetObject, Ds3Error | None]]:
        """Return what has appeared or failed to since the last call; with `wait`, of all that `finish` was told."""
        with self._changed:
            if wait:
                self._hurried = True
                self._changed.notify_all()
                self._changed.wait_for(lambda: not self._unsettled)
                self._hurried = False
            settled, self._settled = self._settled, []
        return settled

    def close(self) -> None:
        """Let whole objects appear, drop the others, close everything. Twice is harmless."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        self._finisher.join()
        for name, part in self._parts.items():
            self._drop(name, part)
        self._parts.clear()
        self._folders.close()


def _unwritable(item: TargetObject, error: Exception) -> SinkError:
    failed = SinkError(f"{item.name} cannot be written: {getattr(error, 'strerror', None) or error}")
    failed.__cause__ = error
    return failed


def _close_part(part: _Part) -> None:
    with part.lock:
        if part.descriptor >= 0:
            os.close(part.descriptor)
            part.descriptor = -1


def _unlink(name: str, parent: int) -> None:
    with contextlib.suppress(OSError):
        os.unlink(name, dir_fd=parent)
