"""A get with a journal, whose process is gone from one step on, and what each of its runs asks of the appliance."""

from __future__ import annotations

import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

from ds3tool.client import Ds3Client
from ds3tool.clock import Clock
from ds3tool.errors import Ds3Error, NotFoundError, TransportError
from ds3tool.jobs import small_blobs
from ds3tool.jobs.arrival import Arrival
from ds3tool.jobs.ends import PlainWriter, TargetObject
from ds3tool.jobs.get import GetRun
from ds3tool.jobs.get_targets import Asked
from ds3tool.jobs.journal import Journal, WorkHead
from ds3tool.jobs.remainder import Remainder
from ds3tool.jobs.run import RunResult, RunSettings
from ds3tool.protocol.messages import Response
from ds3tool.protocol.model import JobType
from ds3tool.protocol.ranges import ByteRange
from ds3tool.sinks.local import LocalSink
from ds3tool.transport.settings import ConnectionSettings
from tests.jobs.interrupted import Killed, Moment, MortalRecorder
from tests.jobs.rooms import BUCKET, Room

WORK = "work-1"


class CountingClient(Ds3Client):
    """A client that counts what it fetches: requests for blobs by key and offset, bytes, and HEADs by key.

    With `cached` False nothing that would have to be loaded again is in the cache.
    """

    cached = True

    def __init__(self, settings: ConnectionSettings) -> None:
        super().__init__(settings)
        self.fetched: Counter[tuple[str, int]] = Counter()
        self.ranges: list[tuple[str, tuple[ByteRange, ...]]] = []
        self.heads: Counter[str] = Counter()
        self.bytes = 0

    def get_object(self, bucket: str, key: str, receive: Callable[[Response], Any], **named: Any) -> Any:  # noqa: ANN401
        if named.get("cached_only") and not self.cached:
            raise NotFoundError("it is not in the cache", status=404, code="NotFound")
        again = named.get("again")
        now: Sequence[ByteRange] = named.get("ranges", ())

        def asked() -> Sequence[ByteRange]:
            nonlocal now
            now = again() if again is not None else now
            return now

        def counted(response: Response) -> Any:  # noqa: ANN401
            self.fetched[key, named.get("offset") or 0] += 1
            if now:
                self.ranges.append((key, tuple(now)))
            self.bytes += int(response.headers.get("content-length", 0))
            return receive(response)

        return super().get_object(bucket, key, counted, **{**named, "again": asked})

    def head_object(self, bucket: str, key: str, *, version_id: str | None = None) -> Any:  # noqa: ANN401
        self.heads[key] += 1
        return super().head_object(bucket, key, version_id=version_id)


class MortalSink(LocalSink):
    """A local sink that takes so many blobs, and no more until the process is gone.

    With `unnamed`, nothing that is whole gets its name before that. `hidden` False: each file has a name from the
    beginning, as on file systems that know no other.
    """

    hidden = True

    unnamed = False
    takes = 1 << 40
    # So many bytes of a large blob are taken, and the rest not before the process is gone.
    cut = 1 << 60

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments, **named)
        self.gone = threading.Event()
        self._taking = threading.Condition()
        self._whole: list[TargetObject] = []

    def end(self) -> None:
        """The process is gone: whoever waits need not wait any longer."""
        with self._taking:
            self.gone.set()
            self._taking.notify_all()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Take a blob, which counts unless it breaks off; wait for the end when there were enough."""
        with self._taking:
            assert self._taking.wait_for(lambda: self.takes > 0 or self.gone.is_set(), 60), "nobody was killed"
            if not self.takes:
                raise TransportError("the process is gone")
            self.takes -= 1
        try:
            yield
        except BaseException:
            with self._taking:
                self.takes += 1
                self._taking.notify()
            raise

    def receive(
        self, item: TargetObject, arrival: Arrival, response: Response, *, counter: Callable[[int], None]
    ) -> str | None:
        def counted(count: int) -> None:
            counter(count)
            if arrival.done >= self.cut:
                assert self.gone.wait(60), "nobody was killed"
                raise TransportError("the process is gone")

        with self.one():
            return super().receive(item, arrival, response, counter=counted)

    def receive_small(self, *arguments: Any) -> None:  # noqa: ANN401
        with self.one():
            super().receive_small(*arguments)

    def finish(self, item: TargetObject) -> None:
        if self.unnamed:
            self._whole.append(item)
        else:
            super().finish(item)

    def finish_all(self, items: Sequence[TargetObject]) -> None:
        if self.unnamed:
            self._whole += items
        else:
            super().finish_all(items)

    def plain_writer(self) -> PlainWriter | None:
        writer = super().plain_writer()
        return None if writer is None or not self.hidden else MortalWriter(self, writer)

    def settle(self, *, wait: bool) -> list[tuple[TargetObject, Ds3Error | None]]:
        if wait and not self.gone.is_set():
            for item in self._whole:
                super().finish(item)
            self._whole.clear()
        return super().settle(wait=wait)


class _NotTakenError(Exception):
    """The blob does not count: the writer has not taken it."""


class MortalWriter:
    """The quicker way of a `MortalSink`, which is as mortal."""

    def __init__(self, sink: MortalSink, writer: PlainWriter) -> None:
        self._sink = sink
        self._writer = writer
        self._stored: set[int] = set()
        self._whole: list[int] = []

    def store(self, number: int, name: str, data: memoryview) -> bool:
        try:
            with self._sink.one():
                if not self._writer.store(number, name, data):
                    raise _NotTakenError
        except _NotTakenError:
            return False
        self._stored.add(number)
        return True

    def finish(self, numbers: Sequence[int]) -> Sequence[int]:
        if not self._sink.unnamed:
            return self._writer.finish(numbers)
        self._whole += [number for number in numbers if number in self._stored]
        return [number for number in numbers if number not in self._stored]

    def drop(self, number: int) -> None:
        self._writer.drop(number)

    def settle(self, *, wait: bool) -> tuple[Sequence[int], Sequence[tuple[int, Ds3Error]]]:
        if wait and not self._sink.gone.is_set():
            self._writer.finish(self._whole)
            self._whole.clear()
        return self._writer.settle(wait=wait)


@dataclass
class GetWork:
    """One piece of work: a get of a whole bucket into `target`, with a journal below `folder`."""

    room: Room
    folder: Path
    target: Path
    wanted: Callable[[], Iterable[Asked]] | None = None
    settings: RunSettings | None = None
    sink: dict[str, Any] = field(default_factory=dict)
    whole_blobs: bool = False
    unnamed: bool = False
    hidden: bool = True
    cut: int = 1 << 60
    prepare: Callable[[GetRun], None] = lambda run: None
    endpoint: str | None = None
    clock: Clock | None = None
    journal: Path | None = None
    unfinished: int = 0
    _count: int = 0

    def __post_init__(self) -> None:
        self.client = self.new_client()

    def new_client(self) -> CountingClient:
        """Return a client that has fetched nothing yet."""
        appliance = self.room.appliance
        endpoint = self.endpoint or appliance.endpoint
        return CountingClient(ConnectionSettings(endpoint, appliance.access_key, appliance.secret_key))

    def run(self, act: Callable[[GetRun, Journal], RunResult], *, dies: Moment | None = None) -> RunResult | None:
        """Let one process work; returns None when it died. `client` is then the one that it had."""
        self._count += 1
        left = self.folder / f"left {self._count}.db"
        self.client.close()
        self.client = self.new_client()
        sink = MortalSink(str(self.target), token=WORK, **self.sink)
        sink.unnamed = self.unnamed and dies is not None
        sink.hidden = self.hidden
        sink.cut = self.cut if dies is not None else sink.cut
        if dies is not None and dies.told == "moved":
            sink.takes = dies.times
        with self._opened() as journal, closing(self.client), closing(sink):

            def died(flushed: bool, journal: Journal = journal) -> None:
                if flushed:
                    journal.flush()
                shutil.copy(journal.path, left)
                sink.end()

            recorder = MortalRecorder(journal, dies, died)
            wanted = self.wanted() if self.wanted is not None else self.room.client.list_objects(BUCKET)
            run = GetRun(
                self.client,
                sink,
                BUCKET,
                wanted if dies is None or self.journal is None else (),
                name_of=str,
                settings=self.settings or self.room.settings,
                whole_blobs=self.whole_blobs,
                recorder=recorder,
                clock=self.clock,
            )
            self.prepare(run)
            # Small blobs are told of one by one: what waits in the sink keeps back what was gathered before it.
            one_by_one = patch.object(small_blobs, "_GATHERED", 1) if dies is not None else nullcontext()
            try:
                with one_by_one:
                    result = act(run, journal)
            except Killed:
                self.journal = left
                return None
            finally:
                sink.end()
            assert not recorder.dead, "a death was taken for an error"
            self.unfinished = journal.unfinished
            journal.flush()
            shutil.copy(journal.path, left)
        self.journal = left
        return result

    def _opened(self) -> Journal:
        folder = self.folder / f"state {self._count}"
        if self.journal is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            return Journal.create(str(folder), WorkHead(WORK, JobType.GET, BUCKET, "id", begun=datetime.now(UTC)))
        folder.mkdir(parents=True)
        return Journal.open(str(shutil.copy(self.journal, folder / f"{WORK}.db")))

    def get(self, *, dies: Moment | None = None) -> RunResult | None:
        """Begin the work."""
        return self.run(lambda run, _: run.run(), dies=dies)

    def resume(self, *, anew: bool = False, dies: Moment | None = None) -> RunResult:
        """Go on with it; it must not die."""
        result = self.try_resume(anew=anew, dies=dies)
        assert result is not None
        return result

    def try_resume(self, *, anew: bool = False, dies: Moment | None = None) -> RunResult | None:
        """Go on with it, perhaps to die once more."""
        return self.run(lambda run, journal: run.resume(journal.remainders(), anew=anew), dies=dies)

    def remainders(self) -> list[Remainder]:
        """Return what the journal has left to do."""
        assert self.journal is not None
        copy = Path(shutil.copy(self.journal, self.folder / "looked at.db"))
        with Journal.open(str(copy)) as journal:
            return list(journal.remainders())

    def recorded(self) -> set[tuple[str, int]]:
        """Return key and offset of each blob that the journal holds, of plans that are not finished."""
        return {
            (remainder.plan.keys[owner], offset)
            for remainder in self.remainders()
            for owner, offset in zip(remainder.held.owners, remainder.held.offsets, strict=True)
        }

    def parts(self) -> list[Path]:
        """Return the unfinished files at the target."""
        return sorted(self.target.rglob(".ds3tool-*"))
