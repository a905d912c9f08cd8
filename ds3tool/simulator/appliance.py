"""The embedded appliance: its directory, its machine and its HTTP face, started and closed together."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from ds3tool.errors import LockedError, UsageError
from ds3tool.protocol import names
from ds3tool.simulator import handlers
from ds3tool.simulator.awkward import Awkward
from ds3tool.simulator.clock import Clock
from ds3tool.simulator.control import ControlDoor
from ds3tool.simulator.deeds import Deeds
from ds3tool.simulator.diary import Diary
from ds3tool.simulator.dispatch import Call, Served, find
from ds3tool.simulator.faults import Faults
from ds3tool.simulator.faulty import Faulty
from ds3tool.simulator.machine import Machine
from ds3tool.simulator.permissions import check
from ds3tool.simulator.settings import ApplianceSettings
from ds3tool.simulator.wire import signatures, xmlout
from ds3tool.simulator.wire.http import Answered, HttpServer
from ds3tool.simulator.wire.messages import XML_TYPE, Reply, Request
from ds3tool.simulator.wire.refusals import Refusal, denied
from ds3tool.simulator.wire.signatures import SignedRequest

_log = logging.getLogger(__name__)

STATE_FILE = "appliance.json"
assert handlers.__all__, "importing the handlers fills the dispatch table"


class Appliance:
    """An appliance in a box, on a real port.

    Use it as a context manager, or call `start` and `close`. Both may be called from any thread; `close` any number
    of times. A closed appliance can be started again when its directory is kept: another object over the same
    directory continues where this one ended. One directory serves one appliance at a time.
    """

    def __init__(self, settings: ApplianceSettings | None = None, *, clock: Clock | None = None) -> None:
        self.settings = settings or ApplianceSettings()
        self._clock = clock
        self._awkward = Awkward(self.settings) if self.settings.quirks else None
        # What goes wrong with it, from any thread and at any time: `appliance.faults.set("lost-reply", 0.05)`.
        self.faults = Faults(self.settings.faults, seed=self.settings.seed)
        # What it did lately, and the requests by kind; nothing of it outlives the process.
        self.diary = Diary()
        self._faulty = Faulty(self.faults, self._refuse, stall=self.settings.stall)
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._lock_file: IO[bytes] | None = None
        self._machine: Machine | None = None
        self._server: HttpServer | None = None
        self._door: ControlDoor | None = None
        self._numbers = 0
        self._numbers_lock = threading.Lock()
        self._closed = threading.Event()
        self._stop = threading.Event()
        # Held while it is made new, and by those who look into it from outside and must find it whole.
        self.undisturbed = threading.Lock()
        # When it was started, and last made new, in seconds of `time.monotonic`.
        self.started = self.reset_at = 0.0

    def start(self) -> Self:
        """Open the state, listen, and return; requests are served by threads of this process.

        Raises LockedError when another appliance has the directory, UsageError when the directory or the port
        cannot be used.
        """
        assert self._machine is None, "an appliance is started once"
        directory = self._open_directory()
        try:
            self._machine = Machine(directory, self.settings, self._clock, self.faults)
            self._numbers = self._first_request_number()
            self.started = self.reset_at = time.monotonic()
            Deeds(self._machine, self.diary)
            self._server = self._listen()
            self._machine.port = self._server.port
            self._door = self._open_door()
            self._write_state_file(directory)
            self._machine.start()
            self._server.start()
            if self._door is not None:
                self._door.start()
        except BaseException:
            self.close()
            raise
        return self

    def _open_directory(self) -> Path:
        if self.settings.directory is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="ds3tool-sim-")
            return Path(self._temporary.name)
        directory = Path(self.settings.directory)
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock_file = (directory / "lock").open("ab")
        except OSError as error:
            raise UsageError(f"the appliance's directory {directory} cannot be used: {error}") from error
        import fcntl

        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock_file.close()
            self._lock_file = None
            message = f"another embedded appliance uses {directory}"
            raise LockedError(message, hint="stop it first, or choose another directory") from None
        return directory

    def _listen(self) -> HttpServer:
        host, port = self.settings.host, self.settings.port
        try:
            return HttpServer(host, port, self._handle, self._refuse, self._common, watch=self._note)
        except OSError as error:
            where = f"{self.settings.host}:{self.settings.port}"
            hint = "choose another port, or an address of this host"
            raise UsageError(f"the appliance cannot listen at {where}: {error}", hint=hint) from error

    def _open_door(self) -> ControlDoor | None:
        port = self.settings.control_port
        if port is None:
            return None
        try:
            return ControlDoor(port, self)
        except OSError as error:
            message = f"the appliance's controls cannot listen at port {port}: {error}"
            raise UsageError(message, hint="choose another control port, or 0 for any free one") from error

    def _first_request_number(self) -> int:
        machine = self.machine
        starts = int(machine.store.meta("starts") or "0") + 1
        machine.store.remember("starts", str(starts))
        return starts * 1_000_000_000

    def _write_state_file(self, directory: Path) -> None:
        values = {
            "pid": os.getpid(),
            "port": self.port,
            "endpoint": self.endpoint,
            "access_key": self.access_key,
            "secret_key": self.secret_key,
            "control_port": self.control_port,
            "control_token": self.control_token,
        }
        partial = directory / f"{STATE_FILE}.part"
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(values, file, indent=1)
        partial.replace(directory / STATE_FILE)

    def close(self) -> None:
        """Stop serving, finish what a drive is at, close the state; a temporary directory goes with it."""
        if self._machine is not None:
            self._machine.release_waiters()
        if self._door is not None:
            self._door.close()
            self._door = None
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._machine is not None:
            with contextlib.suppress(FileNotFoundError):
                (self._machine.directory / STATE_FILE).unlink()
            self._machine.close()
            self._machine = None
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None
        self._closed.set()

    def reset(self) -> None:
        """Make it a new appliance: the same settings, keys and port; no bucket, object, job or user of before is left.

        Every connection is cut, as when somebody pulls the plug; whoever comes meanwhile waits. With a seed it then
        does what it did after its first start. The rates of the faults stay. From any thread but a connection's.
        """
        machine = self.machine
        keys = replace(self.settings, access_key=self.access_key, secret_key=self.secret_key)
        assert self._server is not None
        with self.undisturbed:
            machine.release_waiters()
            with self._server.held():
                port, directory, clock = machine.port, machine.directory, machine.clock
                machine.close()
                _empty(directory)
                self.faults.rewind()
                self._faulty = Faulty(self.faults, self._refuse, stall=self.settings.stall)
                self._awkward = Awkward(self.settings) if self.settings.quirks else None
                self._machine = Machine(directory, keys, clock, self.faults)
                Deeds(self._machine, self.diary)
                self._numbers = self._first_request_number()
                self._machine.port = port
                self.reset_at = time.monotonic()
                self._machine.start()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until `close` has been called, at most `timeout` seconds; tell whether it has."""
        return self._closed.wait(timeout)

    def stop(self) -> None:
        """Let `serve_forever` end; safe in a signal handler."""
        self._stop.set()

    def serve_forever(self) -> None:
        """Start when that has not been done, wait until another thread or a signal handler calls `stop`, and close."""
        if self._machine is None:
            self.start()
        try:
            self._stop.wait()
        finally:
            self.close()

    def __enter__(self) -> Self:
        return self if self._machine is not None else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # What clients need to know.

    @property
    def machine(self) -> Machine:
        """The parts inside, for tests and controls; only while started."""
        assert self._machine is not None, "the appliance is not started"
        return self._machine

    @property
    def directory(self) -> Path:
        """Where the state lives."""
        return self.machine.directory

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self.machine.port

    @property
    def endpoint(self) -> str:
        """Where clients find it: `http://host:port`."""
        host = self.settings.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def access_key(self) -> str:
        """The administrator's access id."""
        return str(self.machine.administrator["AuthId"])

    @property
    def secret_key(self) -> str:
        """The administrator's secret key."""
        return str(self.machine.administrator["SecretKey"])

    @property
    def control_port(self) -> int | None:
        """The port of its controls on the loopback address; None when it has none."""
        return None if self._door is None else self._door.port

    @property
    def control_token(self) -> str | None:
        """What lets its owner use the controls; None when there are none."""
        return None if self._door is None else self._door.token

    # Requests.

    def _next_number(self) -> int:
        with self._numbers_lock:
            self._numbers += 1
            return self._numbers

    def _common(self) -> str:
        machine = self.machine
        date = machine.http_date(machine.clock.wall())
        return f"Date: {date}\r\nServer: ds3tool-sim\r\n{names.REQUEST_ID}: {self._numbers}\r\n"

    def _handle(self, request: Request) -> Reply:
        request.number = self._next_number()
        machine = self.machine
        if self._awkward is not None:
            self._awkward.refuse_all()
        user = self._authenticate(machine, request)
        request.user = str(user["Name"])
        call = Call(machine, request, user, parameters=request.target.parameters)
        operation = find(call)
        request.operation = operation.name
        check(call, operation)
        if not self.faults.active:
            return self._answer(call, operation)
        return self._faulty.handle(call, operation.name, lambda call: self._answer(call, operation))

    def _note(self, done: Answered) -> None:
        self.diary.answered(done, at=self.machine.clock.now())

    def _answer(self, call: Call, operation: Served) -> Reply:
        if self._awkward is None:
            return operation.handler(call)
        self._awkward.ask(call, operation.name)
        return self._awkward.answer(call, operation.name, operation.handler(call))

    def _authenticate(self, machine: Machine, request: Request) -> dict[str, object]:
        access_id, signature = signatures.access_id(request.headers)
        known = machine.user(access_id)
        if known is None:
            message = "InvalidAccessKeyId[403]: No user has this access id."
            raise denied(message, names.INVALID_ACCESS_KEY_ID)
        user, key = known
        signatures.check_clock(request.headers, machine.clock.wall())
        target = request.target
        signed = SignedRequest(request.verb, target.path, target.query, request.headers, request.pairs)
        signatures.check_signature(signed, signature, key)
        return user

    def _refuse(self, refusal: Refusal, path: str) -> Reply:
        if refusal.status < 500 or refusal.status == 503:
            _log.debug("%s: %s", path, refusal.message)
        prefix = f"{refusal.code}[{refusal.status}]: "
        message = refusal.message if refusal.message.startswith(prefix) else prefix + refusal.message
        document = xmlout.bean(
            "Error",
            {
                "Code": refusal.code,
                "HttpErrorCode": refusal.status,
                "Message": message,
                "Resource": path.encode("latin-1", "replace").decode("utf-8", "replace"),
                "ResourceId": self._numbers,
            },
        )
        reply = Reply(refusal.status, refusal.headers, xmlout.document(document), XML_TYPE)
        return reply if self._awkward is None else self._awkward.refuse(path, reply)


def _empty(directory: Path) -> None:
    """Remove all that a closed machine has left: its state first, for without that the rest belongs to nobody.

    Whatever else is in the folder is not ours. A process that dies amid this leaves a new appliance, with new keys.
    """
    for name in ("state.sqlite-wal", "state.sqlite-shm", "state.sqlite"):
        (directory / name).unlink(missing_ok=True)
    for folder in ("cache", "tapes", "parts", "rebuild", "dumps"):
        shutil.rmtree(directory / folder, ignore_errors=True)
