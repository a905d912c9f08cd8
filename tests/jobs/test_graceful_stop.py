"""A run that is asked to stop lets what is on its way end, begins nothing, and can be resumed."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ds3tool.errors import InterruptedRunError
from ds3tool.jobs.ends import SourceObject, TargetObject
from ds3tool.jobs.engine import EngineSettings
from ds3tool.jobs.get import GetRun
from ds3tool.jobs.put import PutRun
from ds3tool.jobs.recorder import MemoryRecorder
from ds3tool.protocol.model import JobStatus
from ds3tool.simulator.jobs.transfers import Transfers
from ds3tool.sinks.local import LocalSink
from tests.jobs.doubles import Stage, blob, chunk
from tests.jobs.interrupted import Work
from tests.jobs.rooms import BUCKET, MIB, HookedSource, Room

LONG = 60.0  # how long a test waits for what must happen, before it fails


def make_tree(root: Path) -> None:
    root.mkdir()
    for number in range(8):
        (root / f"large {number}").write_bytes(bytes([number]) * (2 * MIB + number))
    for number in range(200):
        (root / f"small {number:03d}").write_bytes(bytes([number % 256]) * (number + 1))


@pytest.fixture
def work(room: Room, tmp_path: Path) -> Work:
    make_tree(tmp_path / "tree")
    return Work(room, tmp_path / "work", tmp_path / "tree")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, int]]:
    """Count how often each blob came to the appliance whole, by key and offset."""
    came: Counter[tuple[str, int]] = Counter()
    put = Transfers.put

    def counting(self: Transfers, upload: object, job_id: str | None, offset: int) -> object:
        result = put(self, upload, job_id, offset)  # type: ignore[arg-type]  # handed through
        came[getattr(upload, "name", ""), offset] += 1
        return result

    monkeypatch.setattr(Transfers, "put", counting)
    return came


# -- a put ------------------------------------------------------------------------------------------------------------


def test_what_is_on_its_way_ends_and_is_recorded(work: Work, tmp_path: Path, sent: Counter[tuple[str, int]]) -> None:
    """Stopped amid a put, every blob that came is in the journal, and a resume sends the rest."""
    stops: list[Callable[[], None]] = []
    opened = itertools.count()

    def stop_at(_: SourceObject) -> None:
        if next(opened) == 20:
            stops[0]()

    work.source = HookedSource(work.tree, before_open=stop_at)
    work.prepare = lambda run: stops.append(run.stop)
    stopped = work.put()
    assert stopped is not None
    assert isinstance(stopped.stopped, InterruptedRunError)
    assert (stopped.exit_code, stopped.failures, work.unfinished) == (130, [], 1)
    assert "ds3tool resume" in (stopped.stopped.hint or "")
    assert set(sent) == work.recorded()
    assert 0 < len(sent) < 224
    assert stopped.jobs[-1].job.status == JobStatus.IN_PROGRESS
    work.source = None
    result = work.resume()
    assert (result.failures, result.stopped, work.unfinished) == ([], None, 0)
    assert set(sent.values()) == {1}
    assert stopped.objects + result.objects == 208
    work.assert_whole(tmp_path)


def test_without_a_journal_a_stop_gives_the_job_up(room: Room, tmp_path: Path) -> None:
    """What was complete by then is kept; the words are those of a command to be run again."""
    make_tree(tmp_path / "tree")
    run = room.put_run(HookedSource(tmp_path / "tree", before_open=lambda _: run.stop()))
    result = run.run()
    assert isinstance(result.stopped, InterruptedRunError)
    assert "run the command again" in (result.stopped.hint or "")
    room.until_idle()
    assert room.put(tmp_path / "tree").exit_code == 0


def test_stop_while_all_wait_for_room_ends_at_once(room_with: Callable[..., Room], tmp_path: Path) -> None:
    """Nothing is on its way: the wait for the next question is cut short, whatever the appliance had asked for."""
    room = room_with(cache_size=5 * MIB, chunk_size=2 * MIB, retry_after=3600, persist_delay=3600)
    make_tree(tmp_path / "tree")
    work = Work(room, tmp_path / "work", tmp_path / "tree")
    runs: list[PutRun] = []
    work.prepare = runs.append

    def watch() -> None:
        waiting = threading.Event()
        while not (runs and runs[0].progress().next_ask_seconds):
            assert not waiting.wait(0.01)
        runs[0].stop()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    result = work.put()
    watcher.join()
    assert result is not None
    assert isinstance(result.stopped, InterruptedRunError)
    assert work.unfinished == 1


@pytest.mark.parametrize("amid_a_job", [False, True])
def test_stop_amid_a_long_wait_for_a_busy_appliance_ends_at_once(
    room_with: Callable[..., Room], tmp_path: Path, amid_a_job: bool
) -> None:
    """A request that is to be repeated in an hour is not waited for, be it the first of all or that of a blob."""
    room = room_with(retry_after=3600)
    make_tree(tmp_path / "tree")
    work = Work(room, tmp_path / "work", tmp_path / "tree")

    def be_busy(_: SourceObject | None = None) -> None:
        room.appliance.faults.set("busy-503", 1.0)

    def prepare(run: PutRun) -> None:
        run.transport.on_wait = lambda _error, _seconds: run.stop()
        if not amid_a_job:
            be_busy()

    work.prepare = prepare
    work.source = HookedSource(work.tree, before_open=be_busy)
    result = work.put()
    assert result is not None
    assert isinstance(result.stopped, InterruptedRunError)
    assert (result.failures, work.unfinished) == ([], int(amid_a_job))


def test_stop_before_the_first_job_creates_none(work: Work) -> None:
    """Asked while it plans, a run ends without having begun anything."""
    work.prepare = lambda run: run.stop()
    result = work.put()
    assert result is not None
    assert isinstance(result.stopped, InterruptedRunError)
    assert list(work.room.client.list_active_jobs()) == []


# -- a get ------------------------------------------------------------------------------------------------------------


class StoppingSink(LocalSink):
    """A sink that tells when an object is complete."""

    finished: Callable[[], None]

    def finish(self, item: TargetObject) -> None:
        super().finish(item)
        self.finished()


def test_get_that_is_stopped_leaves_its_job_and_what_has_appeared(room: Room, tmp_path: Path) -> None:
    """Files that were through are whole at the target; none is there in part under its name."""
    tree, target = tmp_path / "tree", tmp_path / "target"
    make_tree(tree)
    room.put(tree)
    room.until_idle()
    recorder = MemoryRecorder(lasting=True)
    with closing(StoppingSink(str(target))) as sink:
        run = GetRun(
            room.client,
            sink,
            BUCKET,
            room.client.list_objects(BUCKET),
            name_of=str,
            settings=replace(room.settings, engine=EngineSettings(2, 2)),
            recorder=recorder,
        )
        sink.finished = run.stop
        result = run.run()
    assert isinstance(result.stopped, InterruptedRunError)
    assert result.failures == []
    assert [job.status for job in recorder.jobs.values()] == [JobStatus.IN_PROGRESS]
    there = [path for path in target.iterdir() if not path.name.startswith(".")]
    assert 0 < len(there) == result.objects < 208
    assert all(path.read_bytes() == (tree / path.name).read_bytes() for path in there)


# -- the engine -------------------------------------------------------------------------------------------------------


def test_stopped_engine_begins_no_blob_more() -> None:
    """Blobs that are ready stay so; the one on its way is waited for, and told."""
    stage = Stage([chunk("c", *(blob(f"k{number}") for number in range(50)))], transfers=1)
    asked = threading.Event()
    stage.engine.stop_when(asked.is_set)

    def act(number: int, _counter: Callable[[int], None]) -> str:
        if len(stage.mover.moved) == 3:
            asked.set()
        return f"digest {number}"

    stage.mover.act = act
    with pytest.raises(InterruptedRunError):
        stage.run()
    assert len(stage.mover.moved) == 3 == len(stage.recorder.checksums)
    assert not stage.transport.told_to_stop.is_set(), "an exchange was cut off"


def test_stop_is_no_error_when_all_is_done() -> None:
    """Asked during the last blob, the engine has nothing left to leave out."""
    stage = Stage([chunk("c", blob("a"))], transfers=1)
    asked = threading.Event()
    stage.engine.stop_when(asked.is_set)

    def act(_number: int, _counter: Callable[[int], None]) -> str:
        asked.set()
        return "digest"

    stage.mover.act = act
    stage.run()
    assert stage.state.done == 1


def test_interrupt_while_the_last_blobs_end_stops_them_at_once() -> None:
    """The second Ctrl-C does not wait for what the first one let through."""
    stage = Stage([chunk("c", blob("a"))], transfers=1)
    asked = threading.Event()
    stage.engine.stop_when(asked.is_set)

    def act(_number: int, _counter: Callable[[int], None]) -> str:
        asked.set()
        assert stage.transport.told_to_stop.wait(LONG), "nobody stopped it"
        return "digest"

    def tick() -> None:
        if stage.engine._over:
            raise KeyboardInterrupt

    stage.mover.act = act
    stage.on_tick = tick
    with pytest.raises(InterruptedRunError):
        stage.run()
