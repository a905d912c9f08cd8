"""The embedded appliances that run on this host: who they are, and whether they still live.

Each writes `appliance.json` into its directory and holds a lock on it for as long as it lives; the state folder
remembers the directories. A process id alone would prove nothing: the number may belong to somebody else by now.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import signal
import stat
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from ds3tool.cli.failures import NothingThereError
from ds3tool.errors import Ds3Error, LockedError

_log = logging.getLogger(__name__)

RECORD_NAME = "appliance.json"
_REGISTRY = "appliances"
# An appliance that was asked to stop finishes the requests at hand; after this long something is wrong.
_STOP_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class RunningAppliance:
    """An appliance as its record tells of it; only its owner can read that, although the keys are made up."""

    pid: int
    host: str
    port: int
    directory: str
    access_key: str
    secret_key: str = field(repr=False)

    @property
    def endpoint(self) -> str:
        """Its address, as `DS3_ENDPOINT` holds it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def exports(self) -> str:
        """The lines that `eval` of a shell takes."""
        return (
            f"export DS3_ENDPOINT={self.endpoint}\n"
            f"export DS3_ACCESS_KEY={self.access_key}\n"
            f"export DS3_SECRET_KEY={self.secret_key}\n"
        )


@contextlib.contextmanager
def recorded(appliance: RunningAppliance, state_folder: Path) -> Iterator[None]:
    """Let others find the appliance while the body runs. Raises LockedError when another lives in its directory."""
    record = Path(appliance.directory) / RECORD_NAME
    descriptor = os.open(record, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+", encoding="utf-8") as file:
        if not _lock(file):
            raise LockedError(
                f"another appliance runs in {appliance.directory}", hint="stop it with: ds3tool sim stop --dir DIR"
            )
        file.truncate()
        json.dump(asdict(appliance), file)
        file.flush()
        pointer = _point_to(appliance, state_folder)
        try:
            yield
        finally:
            if pointer is not None:
                pointer.unlink(missing_ok=True)
            # Emptied rather than removed: whoever waits for its lock has this very file open.
            file.seek(0)
            file.truncate()


def _point_to(appliance: RunningAppliance, state_folder: Path) -> Path | None:
    registry = state_folder / _REGISTRY
    pointer = registry / f"{time.time_ns():020d}-{appliance.pid}"
    try:
        registry.mkdir(parents=True, exist_ok=True, mode=0o700)
        pointer.write_text(appliance.directory, encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        _log.warning("the appliance is only found by its directory: %s: %s", registry, error.strerror)
        return None
    return pointer


def _lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def read_record(directory: Path) -> RunningAppliance | None:
    """Return the appliance that lives in `directory`, None when none does."""
    try:
        with (directory / RECORD_NAME).open("r+", encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_uid != os.getuid() or stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o022:
                # Somebody else could have written any process id into it.
                return None
            if _lock(file):
                return None
            return RunningAppliance(**json.load(file))
    except (OSError, ValueError, TypeError):
        return None


def running(state_folder: Path) -> list[RunningAppliance]:
    """Return the appliances that live, the one started last at the end; forget those that are gone."""
    found = []
    registry = state_folder / _REGISTRY
    for pointer in sorted(registry.iterdir()) if registry.is_dir() else ():
        directory = Path(pointer.read_text(encoding="utf-8", errors="surrogateescape"))
        appliance = read_record(directory)
        if appliance is None:
            pointer.unlink(missing_ok=True)
        else:
            found.append(appliance)
    return found


def find(state_folder: Path, *, directory: Path | None, port: int | None) -> RunningAppliance:
    """Return the appliance in `directory`, the one at `port`, or else the one started last.

    Raises NothingThereError when there is none of that kind.
    """
    if directory is not None:
        appliance = read_record(directory)
        if appliance is None or port not in (None, appliance.port):
            raise NothingThereError(
                f"no embedded appliance runs in {directory}", hint="start one with: ds3tool sim start"
            )
        return appliance
    candidates = [each for each in running(state_folder) if port in (None, each.port)]
    if not candidates:
        where = "" if port is None else f" at port {port}"
        raise NothingThereError(f"no embedded appliance runs{where}", hint="start one with: ds3tool sim start")
    return candidates[-1]


def stop(appliance: RunningAppliance) -> None:
    """End the appliance and return when it is gone; raises Ds3Error when it does not end."""
    os.kill(appliance.pid, signal.SIGTERM)
    until = time.monotonic() + _STOP_SECONDS
    while read_record(Path(appliance.directory)) == appliance:
        if time.monotonic() > until:
            raise Ds3Error(
                f"the appliance (process {appliance.pid}) does not end",
                hint=f"end it by force: kill -9 {appliance.pid}",
            )
        time.sleep(0.02)
