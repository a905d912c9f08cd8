"""A piece of work with a journal, whose process is gone from one step on: nothing is recorded after it, nor told."""

from __future__ import annotations

import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from ds3tool.client import Ds3Client
from ds3tool.clock import Clock
from ds3tool.errors import SourceError
from ds3tool.jobs.ends import Failure, Source, SourceObject
from ds3tool.jobs.journal import Journal, WorkHead
from ds3tool.jobs.plan import PlannedJob
from ds3tool.jobs.put import PutRun
from ds3tool.jobs.recorder import Arriving, MovedBlobs, Recorder
from ds3tool.jobs.remainder import Remainder
from ds3tool.jobs.run import RunResult, RunSettings
from ds3tool.protocol.model import ChecksumType, Job, JobType
from tests.jobs.rooms import BUCKET, HookedSource, Room
from tests.trees import digests


class Killed(BaseException):
    """The process is gone."""


@dataclass(frozen=True)
class Moment:
    """Just before, or just after, the recorder has taken what it is told for the `times`th time in this way."""

    told: str
    times: int = 1
    after: bool = False

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'}-{self.told}-{self.times}"


class MortalRecorder:
    """Hands on to a recorder what it is told, until the moment of its death.

    `died` is called then, once; with True when what the recorder was told last must be safe by then.
    """

    lasting = True

    def __init__(self, recorder: Recorder, moment: Moment | None, died: Callable[[bool], None]) -> None:
        self._recorder = recorder
        self._moment = moment
        self._died = died
        self._told: Counter[str] = Counter()
        self.dead = False

    def _tell(self, what: str, tell: Callable[[], None]) -> None:
        if self.dead:
            raise Killed(what)
        self._told[what] += 1
        due = self._moment is not None and (what, self._told[what]) == (self._moment.told, self._moment.times)
        if due and self._moment is not None and not self._moment.after:
            self._die(what)
        tell()
        if due:
            self._die(what)

    def _die(self, what: str) -> None:
        self.dead = True
        self._died(self._moment is not None and self._moment.after)
        raise Killed(what)

    def plans(self, plans: Iterable[PlannedJob]) -> Iterator[PlannedJob]:
        for plan in self._recorder.plans(plans):
            self._tell("plans", lambda: None)
            yield plan

    def planned(self, plan: PlannedJob, *, instead_of: PlannedJob | None = None) -> None:
        self._tell("planned", lambda: self._recorder.planned(plan, instead_of=instead_of))

    def created(self, plan: PlannedJob, job: Job) -> None:
        self._tell("created", lambda: self._recorder.created(plan, job))

    def moved(self, job_id: str, blobs: MovedBlobs) -> None:
        """Tell of blob after blob, so that death can come between any two."""
        for number in range(len(blobs)):
            columns = (getattr(blobs, column.name) for column in fields(blobs))
            self._tell_moved(job_id, MovedBlobs(*(column[number : number + 1] for column in columns)))

    def _tell_moved(self, job_id: str, blob: MovedBlobs) -> None:
        self._tell("moved", lambda: self._recorder.moved(job_id, blob))

    def arriving(self, job_id: str, blobs: Sequence[Arriving]) -> None:
        self._tell("arriving", lambda: self._recorder.arriving(job_id, blobs))

    def appeared(self, job_id: str, owners: Sequence[int]) -> None:
        self._tell("appeared", lambda: self._recorder.appeared(job_id, owners))

    def deleting(self, bucket: str, key: str, version_id: str | None, etag: str | None) -> None:
        self._tell("deleting", lambda: self._recorder.deleting(bucket, key, version_id, etag))

    def digested(self, job_id: str, owner: int, kind: ChecksumType, value: str) -> None:
        self._tell("digested", lambda: self._recorder.digested(job_id, owner, kind, value))

    def failed(self, job_id: str | None, failure: Failure) -> None:
        self._tell("failed", lambda: self._recorder.failed(job_id, failure))

    def noted(self, job: Job) -> None:
        self._tell("noted", lambda: self._recorder.noted(job))

    def finished(self, plan: PlannedJob) -> None:
        self._tell("finished", lambda: self._recorder.finished(plan))

    def tick(self) -> None:
        self._tell("tick", self._recorder.tick)

    def flush(self) -> None:
        self._tell("flush", self._recorder.flush)


@dataclass
class Work:
    """One piece of work: a put of `source` with a journal below `folder`."""

    room: Room
    folder: Path
    tree: Path
    prefix: str = ""
    # Adjusts each run before it begins.
    prepare: Callable[[PutRun], None] = lambda run: None
    source: Source | None = None
    # Objects of keys that begin so are not sent before the process has died.
    withheld: str | None = None
    client: Ds3Client | None = None
    settings: RunSettings | None = None
    clock: Clock | None = None
    # The journal as the last process has left it; None before the first.
    journal: Path | None = None
    unfinished: int = 0
    _count: int = 0

    def __post_init__(self) -> None:
        """Make the folder."""
        self.folder.mkdir()

    def run(self, act: Callable[[PutRun, Journal], RunResult], *, dies: Moment | None = None) -> RunResult | None:
        """Let one process work with the journal; returns None when it died, and the journal is as it was then."""
        self._count += 1
        gone = threading.Event()
        left = self.folder / f"left {self._count}.db"
        with self._opened() as journal:

            def died(flushed: bool, journal: Journal = journal) -> None:
                if flushed:
                    journal.flush()
                shutil.copy(journal.path, left)
                gone.set()

            def withhold(item: SourceObject) -> None:
                if self.withheld is not None and item.key.startswith(self.withheld) and dies is not None:
                    assert gone.wait(60), "it was to die before that"
                    raise SourceError("nobody is there to read it")

            recorder = MortalRecorder(journal, dies, died)
            run = PutRun(
                self.client or self.room.client,
                self.source or HookedSource(self.tree, prefix=self.prefix, before_open=withhold),
                BUCKET,
                settings=self.settings or self.room.settings,
                recorder=recorder,
                clock=self.clock,
            )
            self.prepare(run)
            try:
                result = act(run, journal)
            except Killed:
                self.journal = left
                return None
            assert not recorder.dead, "a death was taken for an error"
            self.unfinished = journal.unfinished
            journal.flush()
            shutil.copy(journal.path, left)
        self.journal = left
        return result

    def _opened(self) -> Journal:
        folder = self.folder / f"state {self._count}"
        if self.journal is None:
            head = WorkHead("work-1", JobType.PUT, BUCKET, "id", begun=datetime.now(UTC))
            return Journal.create(str(folder), head)
        folder.mkdir(parents=True)
        return Journal.open(str(shutil.copy(self.journal, folder / "work-1.db")))

    def put(self, *, dies: Moment | None = None) -> RunResult | None:
        """Begin the work."""
        return self.run(lambda run, _: run.run(), dies=dies)

    def resume(self, *, anew: bool = False, dies: Moment | None = None) -> RunResult:
        """Go on with it; it must not die."""
        result = self.run(lambda run, journal: run.resume(journal.remainders(), anew=anew), dies=dies)
        assert result is not None
        return result

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

    def assert_whole(self, tmp_path: Path) -> None:
        """See that the bucket holds the tree, byte for byte, and that no job is left open."""
        self.room.until_idle()
        restored = tmp_path / "restored"
        got = self.room.get(restored, prefix=self.prefix)
        assert (got.failures, got.stopped) == ([], None)
        assert digests(restored) == digests(self.tree)
        self.room.until_idle()
