"""Who works on a piece of work: one at a time.

On one host the operating system decides, by a lock on a file beside the journal, so that a dead holder's lock is free
at once. What stands in that file (process, host, last sign of life) is for the message, and for other hosts, which the
lock may not reach.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
import threading
from typing import Any

from ds3tool.clock import Clock
from ds3tool.errors import ConfigError, LockedError
from ds3tool.jobs.state_folder import ELSEWHERE, folder_error
from ds3tool.lazy_dataclass import dataclass

_log = logging.getLogger(__name__)

BEAT_SECONDS = 15.0
# Another host that has given no sign of life for so long has lost its work.
STALE_SECONDS = 120.0
# The file keeps this size from its first line on, so that a sign of life needs no room on a full disk.
_SIZE = 1024
# Whoever only looks holds the lock for an instant; so often is it tried again.
_MOST_TRIES = 1000


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has locked a piece of work; `beat` is the last sign of life, in seconds since 1970 on that host.

    `boot` names the running kernel: containers of one machine share it whatever their host names are.
    """

    pid: int
    host: str
    boot: str | None
    beat: float

    @classmethod
    def myself(cls, now: float) -> Holder:
        """Return this process."""
        return cls(os.getpid(), socket.gethostname(), _boot_id(), now)

    @property
    def is_here(self) -> bool:
        """Whether it is, or was, a process of this host, where the operating system's lock decides."""
        me = Holder.myself(0.0)
        return self.host == me.host or (self.boot is not None and self.boot == me.boot)

    def seems_alive(self, now: float) -> bool:
        """Whether its last sign of life is fresh. One from the future is: clocks of hosts differ."""
        return now - self.beat < STALE_SECONDS


class WorkLock:
    """The lock on one piece of work, held from `take` to `release` or the end of the process."""

    def __init__(self, path: str, descriptor: int, clock: Clock) -> None:
        """`take` makes locks."""
        self._path = path
        self._descriptor = descriptor
        self._clock = clock
        self._released = threading.Event()
        # Not told by the run's own steps: a walk through millions of files may take longer than others wait.
        self._beating = threading.Thread(target=self._beat, name="ds3tool-alive", daemon=True)

    @classmethod
    def take(cls, path: str, what: str, *, clock: Clock) -> WorkLock:
        """Lock `path`, which is made when it is not there; LockedError, which names `what`, when another holds it."""
        while True:
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise folder_error(os.path.dirname(path), error) from error
            try:
                if not _flock(descriptor, path):
                    raise _locked(what, _read(descriptor), clock.time())
                if _is_still(descriptor, path):
                    lock = cls(path, descriptor, clock)
                    lock._take_over(what)
                    lock._beating.start()
                    return lock
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # somebody has removed the file just then: the next one counts

    def _take_over(self, what: str) -> None:
        """Refuse what another host holds, else write down who holds it now."""
        now = self._clock.time()
        before = _read(self._descriptor)
        if before is not None and not before.is_here and before.seems_alive(now):
            raise _locked(what, before, now)
        if before is not None and not before.is_here:
            _log.warning("%s: host %s has given no sign of life since; taken over", what, before.host)
        try:
            self._write(Holder.myself(now))
        except OSError as error:
            raise folder_error(os.path.dirname(self._path), error) from error

    def _beat(self) -> None:
        while not self._released.wait(BEAT_SECONDS):
            self.beat()

    def beat(self) -> None:
        """Give a sign of life, as happens by itself. That it cannot be written stops nobody: the lock is held."""
        try:
            self._write(Holder.myself(self._clock.time()))
        except OSError as error:
            _log.warning("%s: no sign of life could be written: %s", self._path, error)

    def release(self) -> None:
        """Let go of it, and remove its file; twice does no harm."""
        if self._released.is_set():
            return
        self._released.set()
        self._beating.join()
        try:
            if _is_still(self._descriptor, self._path):  # else it is another's, who came when somebody had removed ours
                os.unlink(self._path)
        except OSError as error:
            _log.debug("%s could not be removed: %s", self._path, error)
        finally:
            os.close(self._descriptor)

    def _write(self, holder: Holder) -> None:
        told = {"pid": holder.pid, "host": holder.host, "boot": holder.boot, "beat": holder.beat}
        os.pwrite(self._descriptor, json.dumps(told).encode("ascii").ljust(_SIZE - 1)[: _SIZE - 1] + b"\n", 0)


def holder_of(path: str, *, now: float) -> Holder | None:
    """Return who holds the lock at `path`; None when nobody does. Nothing is changed.

    `now`, in seconds since 1970, tells whether another host is alive.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        told = _read(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return told or Holder(0, socket.gethostname(), None, 0.0)
        return None if told is None or told.is_here or not told.seems_alive(now) else told
    finally:
        os.close(descriptor)


def _flock(descriptor: int, path: str) -> bool:
    """Lock the file; False when another holds it. One that can be shared is held by those who only look."""
    try:
        for _ in range(_MOST_TRIES):
            if _try(descriptor, fcntl.LOCK_EX):
                return True
            if not _try(descriptor, fcntl.LOCK_SH):
                return False
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.sched_yield()
    except OSError as error:
        raise ConfigError(f"{path} cannot be locked there: {error.strerror}", hint=ELSEWHERE) from error
    return False


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still(descriptor: int, path: str) -> bool:
    """Whether the locked file is the one that has the name now: its last holder may have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _read(descriptor: int) -> Holder | None:
    """Return whom the file names, None when it names nobody."""
    try:
        told: Any = json.loads(os.pread(descriptor, _SIZE, 0))
        boot = told["boot"]
        return Holder(int(told["pid"]), str(told["host"]), None if boot is None else str(boot), float(told["beat"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _locked(what: str, holder: Holder | None, now: float) -> LockedError:
    if holder is None:
        return LockedError(f"{what} is being worked on by another process")
    seconds = max(0, round(now - holder.beat))
    return LockedError(
        f"{what} is being worked on by process {holder.pid} on {holder.host}, "
        f"whose last sign of life is {seconds} {'second' if seconds == 1 else 'seconds'} old",
        hint=None
        if holder.is_here
        else f"when that host is gone for good, try again {STALE_SECONDS:.0f} seconds after its last sign of life",
    )


def _boot_id() -> str | None:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None
