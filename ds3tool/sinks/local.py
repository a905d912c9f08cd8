"""A local folder as a sink: blobs are written into temporary files, which take their names only when whole and safe.

Every step goes through descriptors of folders opened without following links, from the target folder down, so that
neither a key nor a link swapped in by somebody can lead outside of it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from ds3tool.errors import Ds3Error, ProtocolError, SinkError
from ds3tool.jobs.ends import ExpectedChecksum, TargetObject
from ds3tool.jobs.integrity import compare, hashed
from ds3tool.protocol.checksums import new_hasher, to_base64
from ds3tool.protocol.messages import Response
from ds3tool.sinks.durability import preallocate, sync_all
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
    """The temporary file of one object. `descriptor` is -1 while it is closed; `users` are writing into it."""

    temporary: str
    descriptor: int = -1
    users: int = 0
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
        self._due: list[tuple[TargetObject, _Part]] = []
        self._settled: list[tuple[TargetObject, Ds3Error | None]] = []
        self._unsettled = 0
        self._changed = threading.Condition(self._lock)
        self._closed = False
        self._finisher = threading.Thread(target=self._finish_groups, name="ds3tool-finisher", daemon=True)
        self._finisher.start()

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
                self._count += 1
                part = self._parts[item.name] = _Part(f".ds3tool-{self._token}-{self._count}.part")
            part.users += 1
            self._open_parts[item.name] = None
            self._open_parts.move_to_end(item.name)
        try:
            with part.lock:
                if part.descriptor < 0:
                    part.descriptor = self._open_temporary(item, part.temporary)
        except BaseException:
            self._leave(part)
            raise
        return part

    def _open_temporary(self, item: TargetObject, temporary: str) -> int:
        folder, _, _ = item.name.rpartition("/")
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with self._folders.opened(folder) as parent:
                descriptor = os.open(temporary, flags, 0o666, dir_fd=parent)
            try:
                if item.size and os.fstat(descriptor).st_size != item.size:
                    preallocate(descriptor, item.size)
            except BaseException:
                os.close(descriptor)
                raise
        except OSError as error:
            raise SinkError(f"{item.name} cannot be written: {error.strerror}") from error
        return descriptor

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

    # -- the end of an object ----------------------------------------------------------------------------------

    def finish(self, item: TargetObject) -> None:
        """Let a whole object appear under its name, once its bytes are safe on the disk."""
        if item.name.endswith("/"):
            error: Ds3Error | None = None
            try:
                with self._folders.opened(item.name.removesuffix("/")):
                    pass
            except Ds3Error as failed:
                error = failed
            with self._changed:
                self._settled.append((item, error))
            return
        try:
            part = self._use(item)  # an empty object has no bytes that would have made its file
        except Ds3Error as failed:
            with self._changed:
                self._settled.append((item, failed))
            return
        with self._changed:
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
                self._changed.wait_for(lambda: self._closed or len(self._due) >= _GROUP_FILES, _GROUP_SECONDS)
                group, self._due = self._due, []
                closed = self._closed
            if group:
                outcome = self._publish(group)
                with self._changed:
                    self._settled.extend(outcome)
                    self._unsettled -= len(group)
                    self._changed.notify_all()
            elif closed:
                return

    def _publish(self, group: list[tuple[TargetObject, _Part]]) -> list[tuple[TargetObject, Ds3Error | None]]:
        """Make the group's bytes safe, give the files their names, make the names safe."""
        synced = sync_all([part.descriptor for _, part in group])
        outcome: list[tuple[TargetObject, Ds3Error | None]] = []
        appeared: dict[str, list[TargetObject]] = {}
        for (item, part), sync_error in zip(group, synced, strict=True):
            folder, _, last = item.name.rpartition("/")
            try:
                with self._folders.opened(folder) as parent:
                    if sync_error is not None:
                        _unlink(part.temporary, parent)
                        raise sync_error
                    self._appear(part.temporary, last, parent, item.name)
            except Ds3Error as error:
                outcome.append((item, error))
            except OSError as error:
                outcome.append((item, SinkError(f"{item.name} cannot be written: {error.strerror}")))
            else:
                appeared.setdefault(folder, []).append(item)
            _close_part(part)
        for folder, items in appeared.items():
            failed: SinkError | None = None
            try:
                with self._folders.opened(folder) as parent:
                    os.fsync(parent)
            except (OSError, SinkError) as error:
                failed = SinkError(f"the folder {folder} could not be made safe on the disk: {error}")
            outcome.extend((item, failed) for item in items)
        return outcome

    def _appear(self, temporary: str, last: str, parent: int, name: str) -> None:
        """Give a temporary file its name, never over a file that has come there meanwhile."""
        try:
            os.link(temporary, last, src_dir_fd=parent, dst_dir_fd=parent, follow_symlinks=False)
        except FileExistsError as error:
            _unlink(temporary, parent)
            raise SinkError(
                f"{name} is there already",
                hint="two keys can mean one file name here, or somebody wrote it meanwhile; it was left as it is",
            ) from error
        except OSError as error:
            if error.errno not in {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}:
                _unlink(temporary, parent)
                raise
            os.rename(temporary, last, src_dir_fd=parent, dst_dir_fd=parent)  # a file system without links
            return
        _unlink(temporary, parent)

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
                self._changed.wait_for(lambda: not self._unsettled)
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


def _close_part(part: _Part) -> None:
    with part.lock:
        if part.descriptor >= 0:
            os.close(part.descriptor)
            part.descriptor = -1


def _unlink(name: str, parent: int) -> None:
    with contextlib.suppress(OSError):
        os.unlink(name, dir_fd=parent)
