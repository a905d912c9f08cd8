"""The embedded appliances that run on this host: who they are, and whether they still live.

Each says in `appliance.json`, in its directory, who it is, and holds a lock on a file beside it for as long as it
lives; the state folder remembers the directories. A process id alone would prove nothing: the number may belong to
somebody else by now.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import field
from pathlib import Path

from ds3tool.cli.failures import NothingThereError
from ds3tool.errors import Ds3Error
from ds3tool.lazy_dataclass import dataclass

_log = logging.getLogger(__name__)

RECORD_NAME = "appliance.json"
_LOCK_NAME = "serving"
_REGISTRY = "appliances"
# An appliance that was asked to stop finishes the requests at hand; after this long something is wrong.
_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class RunningAppliance:
    """An appliance as it tells of itself; only its owner can read that, although the keys are made up."""

    pid: int
    endpoint: str
    port: int
    directory: str
    access_key: str
    secret_key: str = field(repr=False)
    control_port: int | None = None
    control_token: str | None = field(default=None, repr=False)

    @property
    def exports(self) -> str:
        """The lines that `eval` of a shell takes."""
        return (
            f"export DS3_ENDPOINT={self.endpoint}\n"
            f"export DS3_ACCESS_KEY={self.access_key}\n"
            f"export DS3_SECRET_KEY={self.secret_key}\n"
        )


@contextlib.contextmanager
def findable(directory: Path, state_folder: Path) -> Iterator[None]:
    """Let others find the appliance in `directory` while the body runs; they take it for gone when it ends."""
    with (directory / _LOCK_NAME).open("w") as lock:
        # The appliance admits no other to its directory: at most somebody is just looking whether it lives.
        fcntl.flock(lock, fcntl.LOCK_EX)
        pointer = _point_to(directory, state_folder)
        try:
            yield
        finally:
            if pointer is not None:
                pointer.unlink(missing_ok=True)


def _point_to(directory: Path, state_folder: Path) -> Path | None:
    registry = state_folder / _REGISTRY
    pointer = registry / f"{time.time_ns():020d}-{os.getpid()}"
    try:
        registry.mkdir(parents=True, exist_ok=True, mode=0o700)
        pointer.write_bytes(os.fsencode(directory.resolve()))
    except OSError as error:
        _log.warning("the appliance is only found by its directory: %s: %s", registry, error.strerror)
        return None
    return pointer


def in_directory(directory: Path) -> RunningAppliance | None:
    """Return the appliance that lives in `directory`, None when none does."""
    try:
        if not _is_locked(directory / _LOCK_NAME):
            return None
        with (directory / RECORD_NAME).open(encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_uid != os.geteuid():
                # Somebody else could have written any process id into it.
                return None
            told = json.load(file)
        return RunningAppliance(
            pid=told["pid"],
            endpoint=told["endpoint"],
            port=told["port"],
            directory=str(directory),
            access_key=told["access_key"],
            secret_key=told["secret_key"],
            control_port=told.get("control_port"),
            control_token=told.get("control_token"),
        )
    except (OSError, ValueError, KeyError):
        return None


def _is_locked(path: Path) -> bool:
    with path.open("r") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def running(state_folder: Path) -> list[RunningAppliance]:
    """Return the appliances that live, the one started last at the end; forget those that are gone."""
    found: dict[str, RunningAppliance] = {}
    registry = state_folder / _REGISTRY
    # From the last one back: an older pointer to the same directory was left behind by a process that was killed.
    for pointer in sorted(registry.iterdir(), reverse=True) if registry.is_dir() else ():
        try:
            appliance = in_directory(Path(os.fsdecode(pointer.read_bytes())))
        except FileNotFoundError:
            continue
        if appliance is None or appliance.directory in found:
            pointer.unlink(missing_ok=True)
        else:
            found[appliance.directory] = appliance
    return list(reversed(found.values()))


def find(state_folder: Path, *, directory: Path | None, port: int | None) -> RunningAppliance:
    """Return the appliance in `directory`, the one at `port`, or else the one started last.

    Raises NothingThereError when there is none of that kind.
    """
    hint = "start one with: ds3tool sim start"
    if directory is not None:
        appliance = in_directory(directory.resolve())
        if appliance is None or port not in (None, appliance.port):
            raise NothingThereError(f"no embedded appliance runs in {directory}", hint=hint)
        return appliance
    candidates = [each for each in running(state_folder) if port in (None, each.port)]
    if not candidates:
        where = "" if port is None else f" at port {port}"
        raise NothingThereError(f"no embedded appliance runs{where}", hint=hint)
    return candidates[-1]


def stop(appliance: RunningAppliance) -> None:
    """End the appliance and return when it is gone; raises Ds3Error when it does not end."""
    os.kill(appliance.pid, signal.SIGTERM)
    if not is_gone_soon(appliance):
        raise Ds3Error(
            f"the appliance (process {appliance.pid}) does not end",
            hint=f"end it by force: kill -9 {appliance.pid}",
        )


def is_gone_soon(appliance: RunningAppliance) -> bool:
    """Wait for an appliance that is ending; return whether it is gone after as long as that may take."""
    until = time.monotonic() + _STOP_SECONDS
    lock = Path(appliance.directory) / _LOCK_NAME
    with contextlib.suppress(FileNotFoundError):
        while _is_locked(lock):
            if time.monotonic() > until:
                return False
            time.sleep(_POLL_SECONDS)
    return True
