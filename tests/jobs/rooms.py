"""An appliance with a bucket, a client of it, and puts and gets of whole folders through the job room."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from ds3tool.client import Ds3Client
from ds3tool.jobs.ends import OpenObject, Source, SourceObject
from ds3tool.jobs.engine import EngineSettings
from ds3tool.jobs.get import GetRun
from ds3tool.jobs.put import PutRun
from ds3tool.jobs.recorder import MemoryRecorder
from ds3tool.jobs.run import RunResult, RunSettings
from ds3tool.protocol.model import Job
from ds3tool.simulator import Appliance
from ds3tool.sinks.local import LocalSink
from ds3tool.sources.local import LocalSource
from ds3tool.transport.settings import ConnectionSettings

MIB = 1 << 20
BUCKET = "archive"


class HookedSource(LocalSource):
    """A local source that lets somebody do something before an object is opened."""

    def __init__(self, path: Path, *, prefix: str = "", before_open: Callable[[SourceObject], None]) -> None:
        super().__init__(str(path), prefix=prefix)
        self._before_open = before_open

    def open(self, item: SourceObject) -> OpenObject:
        self._before_open(item)
        return super().open(item)


@dataclass
class Room:
    """One appliance and one client; `via` another address when somebody stands between."""

    appliance: Appliance
    recorder: MemoryRecorder = field(default_factory=MemoryRecorder)
    settings: RunSettings = field(default_factory=lambda: RunSettings(EngineSettings(4, 8)))

    def __post_init__(self) -> None:
        self.client = self.connect()
        self.client.create_bucket(BUCKET)

    def connect(self, endpoint: str | None = None, *, retry_seconds: float = 30.0) -> Ds3Client:
        """Return another client, which the caller closes."""
        return Ds3Client(
            ConnectionSettings(
                endpoint or self.appliance.endpoint,
                self.appliance.access_key,
                self.appliance.secret_key,
                max_retry_seconds=retry_seconds,
            )
        )

    def close(self) -> None:
        self.client.close()
        self.appliance.close()

    @property
    def job(self) -> Job:
        """The last job that was created."""
        return list(self.recorder.jobs.values())[-1]

    def put_run(self, source: Path | Source, *, prefix: str = "", client: Ds3Client | None = None) -> PutRun:
        """Return a run that puts a folder or a source."""
        opened = LocalSource(str(source), prefix=prefix) if isinstance(source, Path) else source
        return PutRun(client or self.client, opened, BUCKET, settings=self.settings, recorder=self.recorder)

    def put(self, source: Path | Source, *, prefix: str = "", client: Ds3Client | None = None) -> RunResult:
        """Put a folder or a source."""
        return self.put_run(source, prefix=prefix, client=client).run()

    def get(
        self,
        target: Path | LocalSink,
        *,
        prefix: str = "",
        client: Ds3Client | None = None,
        prepare: Callable[[GetRun], None] = lambda run: None,
    ) -> RunResult:
        """Get everything below a prefix into a folder; `prepare` sees the run before it runs."""
        client = client or self.client
        sink = target if isinstance(target, LocalSink) else LocalSink(str(target))
        with closing(sink):
            run = GetRun(
                client,
                sink,
                BUCKET,
                self.client.list_objects(BUCKET, prefix=prefix),
                name_of=lambda key: key[len(prefix) :],
                settings=self.settings,
                recorder=self.recorder,
            )
            prepare(run)
            return run.run()

    def listed(self) -> set[str]:
        """Return what the bucket lists."""
        return {listed.key for listed in self.client.list_objects(BUCKET)}

    def until_idle(self) -> None:
        """Wait until no job is active on the appliance any more: all is on tape, and nothing is left open."""
        changed = self.appliance.machine.jobs.changed
        with changed:
            assert changed.wait_for(lambda: not self.appliance.machine.jobs.active, 60), "a job is left open"

    def cached_files(self) -> list[Path]:
        """Return the files that hold blobs in the appliance's cache."""
        return [path for path in (self.appliance.directory / "cache").rglob("*") if path.is_file()]


class LastBytes(bytes):
    """Bytes after which nothing more is passed on."""


class Meddler:
    """Stands between a client and an appliance, and passes on what `to_appliance` and `to_client` make of it.

    Each is handed the bytes as they pass; None instead of bytes closes both connections, and so do LastBytes, once
    they have gone.
    """

    def __init__(self, appliance: Appliance) -> None:
        self._port = appliance.port
        self.to_appliance: Callable[[bytes], bytes | None] = lambda data: data
        self.to_client: Callable[[bytes], bytes | None] = lambda data: data
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            appliance = socket.create_connection(("127.0.0.1", self._port))
            self._sockets += [client, appliance]
            for source, target, change in (
                (client, appliance, lambda data: self.to_appliance(data)),
                (appliance, client, lambda data: self.to_client(data)),
            ):
                thread = threading.Thread(target=_pump, args=(source, target, change))
                self._threads.append(thread)
                thread.start()

    def close(self) -> None:
        """Close everything."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        for each in self._sockets:
            _shut(each)
        for thread in self._threads:
            thread.join()
        for each in self._sockets:
            each.close()


def _shut(one: socket.socket) -> None:
    with suppress(OSError):  # it may be closed already
        one.shutdown(socket.SHUT_RDWR)


def _pump(source: socket.socket, target: socket.socket, change: Callable[[bytes], bytes | None]) -> None:
    try:
        while data := source.recv(1 << 20):
            changed = change(data)
            if changed is None:
                break
            target.sendall(changed)
            if isinstance(changed, LastBytes):
                break
    except OSError:
        pass  # one of the two has gone
    for each in (source, target):
        _shut(each)
