"""Small files that have no name at all until they are whole and safe: written, synced and linked many at a time."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence

from ds3tool.errors import Ds3Error, SinkError
from ds3tool.sinks.descriptors import allowed
from ds3tool.sinks.durability import sync_all
from ds3tool.sinks.folders import Folders
from ds3tool.sinks.names import PLAIN, is_plain

# So many are made safe in one go; twice as many wait for it at most, beside as many that nobody has told the end of.
GROUP_FILES = 256
# A group that took longer to be made safe than this is a matter for another thread: the wire need not wait for a disk.
_QUICK_SECONDS = 0.01
_UNNAMED = os.O_RDWR | os.O_CLOEXEC | getattr(os, "O_TMPFILE", 0)
_OPEN_FILES = "/proc/self/fd"

# An object's number, its folder and its name in that, and its file, which is open.
Unnamed = tuple[int, str, str, int]


class UnnamedFiles:
    """Takes whole small objects from one thread, to `store` them; everything else may be called from any.

    `appear` gives files, each with what went wrong when it was made safe, their names, and says by number why one got
    none; it leaves them open. `wake` makes another thread call `publish` soon. `trial` is a name that nothing has.

    A process that dies leaves nothing of what has no name yet.
    """

    def __init__(
        self,
        folders: Folders,
        *,
        appear: Callable[[Sequence[Unnamed], Sequence[OSError | None]], dict[int, Ds3Error]],
        wake: Callable[[], None],
        trial: str,
    ) -> None:
        self._folders = folders
        self._trial = trial
        # Whether a file without a name can be given one, by device.
        self._tried: dict[int, bool] = {}
        self._appear = appear
        self._wake = wake
        self._group = max(1, allowed(2 * GROUP_FILES, eighths=1) // 2)
        self._mask = _file_mask()
        # The folder of the last file, and whether files without a name can be had in it.
        self._folder: str | None = None
        self._suits = False
        self._stored: dict[int, Unnamed] = {}
        self._publishing = threading.Lock()
        self._lock = threading.Lock()
        self._due: list[Unnamed] = []
        # Those that are due, and those that are being published.
        self._unsettled = 0
        self._is_quick = True
        self._appeared: list[int] = []
        self._failed: list[tuple[int, Ds3Error]] = []

    def store(self, number: int, name: str, data: memoryview) -> bool:
        """Write all bytes of an object that is to have a relative name; False, and nothing done, where it cannot be.

        That is, in this folder, under this name, or now. Raises SinkError when the target cannot take the bytes.
        """
        folder, _, last = name.rpartition("/")
        held = self._folders.hold(folder)  # what goes another way may have had another one held meanwhile
        if folder != self._folder:
            self._enter(folder, held)
        if not self._suits or PLAIN(last) is None or len(self._stored) >= self._group or number in self._stored:
            return False
        try:
            descriptor = os.open(".", _UNNAMED, 0o666, dir_fd=held)
        except OSError:
            return False  # whoever makes a file with a name says what is wrong
        try:
            written = os.write(descriptor, data)
            while written < len(data):  # the disk is full, as the next call will say
                written += os.write(descriptor, data[written:])
        except OSError as error:
            os.close(descriptor)
            raise SinkError(f"{name} cannot be written: {error.strerror}") from error
        self._stored[number] = (number, folder, last, descriptor)
        return True

    def _enter(self, folder: str, descriptor: int) -> None:
        """See whether the kernel can do in a folder, which is open, what is needed."""
        self._folder, self._suits = None, False
        if self._mask is not None and (not folder or is_plain(folder)):
            self._suits = self._takes_unnamed(descriptor, self._mask)
        self._folder = folder

    def _takes_unnamed(self, folder: int, mask: int) -> bool:
        """Whether an open folder takes files without a name, with the permissions that others get, and names them.

        Kernels before 5.19 forget the mask where the file system has no access lists.
        """
        try:
            descriptor = os.open(".", _UNNAMED, 0o666, dir_fd=folder)
        except OSError:
            return False
        try:
            state = os.fstat(descriptor)
            if state.st_mode & mask:
                return False
            if state.st_dev not in self._tried:
                try:
                    link(descriptor, self._trial, folder)
                    os.unlink(self._trial, dir_fd=folder)
                    self._tried[state.st_dev] = True
                except OSError:
                    self._tried[state.st_dev] = False
            return self._tried[state.st_dev]
        finally:
            os.close(descriptor)

    def finish(self, numbers: Sequence[int]) -> list[int]:
        """Let objects appear soon; return those of which nothing is stored here."""
        stored, rest = self._stored, []
        due = []
        for number in numbers:
            one = stored.pop(number, None)
            if one is None:
                rest.append(number)
            else:
                due.append(one)
        with self._lock:
            self._due += due
            self._unsettled += len(due)
            due_now, unsettled = len(self._due), self._unsettled
        if unsettled >= 2 * self._group or (self._is_quick and due_now >= self._group):
            self.publish()
        elif due_now >= self._group:
            self._wake()
        return rest

    def drop(self, number: int) -> None:
        """Drop what is stored of an object that is not to appear."""
        one = self._stored.pop(number, None)
        if one is not None:
            os.close(one[3])

    def publish(self) -> None:
        """Let everything appear that `finish` was told of, by the time that this returns."""
        with self._publishing:
            with self._lock:
                group, self._due = self._due, []
            if not group:
                return
            failed: dict[int, Ds3Error] = {}
            try:
                began = time.monotonic()
                synced = sync_all([one[3] for one in group])
                self._is_quick = time.monotonic() - began < _QUICK_SECONDS
                failed = self._appear(group, synced)
            except Exception as error:  # noqa: BLE001  # whoever waits for the group must hear of it
                failed = {number: unwritable(path(folder, last), error) for number, folder, last, _ in group}
            finally:
                for one in group:
                    try:  # noqa: SIM105  # a context manager for each file is not for nothing
                        os.close(one[3])
                    except OSError:  # its bytes are safe, or it has failed
                        pass
            with self._lock:
                self._unsettled -= len(group)
                if failed:
                    self._failed += failed.items()
                    self._appeared += [one[0] for one in group if one[0] not in failed]
                else:
                    self._appeared += [one[0] for one in group]

    def settle(self, *, wait: bool) -> tuple[list[int], list[tuple[int, Ds3Error]]]:
        """Return which objects have appeared since the last call, and which cannot; `wait` for all that are due.

        With `wait`, what was stored and not finished is dropped: their numbers mean other objects in the next job.
        """
        if wait:
            self.publish()
            self._drop_all()
        with self._lock:
            appeared, self._appeared = self._appeared, []
            failed, self._failed = self._failed, []
        return appeared, failed

    def __contains__(self, name: str) -> bool:
        """Whether an object is on its way to this relative name."""
        with self._lock:
            under_way = [*self._due, *self._stored.values()]
        return any(path(folder, last) == name for _, folder, last, _ in under_way)

    def close(self) -> None:
        """Let appear what is due, and drop everything else. Twice is harmless; nobody stores anything any more."""
        self.publish()
        self._drop_all()

    def _drop_all(self) -> None:
        for number in list(self._stored):
            self.drop(number)


def path(folder: str, last: str) -> str:
    """Return the relative name of what stands in a folder."""
    return f"{folder}/{last}" if folder else last


def link(descriptor: int, name: str, folder: int) -> None:
    """Give an open file without a name this one in an open folder, never over another file.

    Raises FileExistsError when something has that name already, OSError when it cannot be done.
    """
    os.link(f"{_OPEN_FILES}/{descriptor}", name, dst_dir_fd=folder, follow_symlinks=True)


def unwritable(name: str, error: Exception) -> SinkError:
    """Return the error that says which object could not be written, and why."""
    failed = SinkError(f"{name} cannot be written: {getattr(error, 'strerror', None) or error}")
    failed.__cause__ = error
    return failed


def _file_mask() -> int | None:
    """Return the process's umask; None where files without a name cannot be had, or not be given one.

    Read from where the open files are reached too: `os.umask` would change it for all threads for a moment.
    """
    if not hasattr(os, "O_TMPFILE"):
        return None
    with contextlib.suppress(OSError, ValueError), open("/proc/self/status", "rb") as status:
        for line in status:
            if line.startswith(b"Umask:"):
                return int(line.partition(b":")[2], 8)
    return None
