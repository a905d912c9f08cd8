"""Whole trees through the job room to an appliance and back, on a real port, byte for byte."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ds3tool.client import Ds3Client
from ds3tool.errors import Ds3Error
from ds3tool.jobs.ends import PlainWriter
from ds3tool.jobs.engine import EngineSettings
from ds3tool.jobs.plan import JobLimits
from ds3tool.jobs.recorder import MemoryRecorder, MovedBlobs
from ds3tool.jobs.run import RunSettings
from ds3tool.protocol.model import ChecksumType, JobStatus, JobType
from ds3tool.sinks.local import LocalSink
from ds3tool.sinks.unnamed import UnnamedFiles
from ds3tool.transport.bodies import BytesBody
from tests.jobs.rooms import BUCKET, MIB, Room
from tests.trees import digests, make_tree


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_tree_there_and_back(room_with: Callable[..., Room], tmp_path: Path, seed: int) -> None:
    """A few hundred files of odd names go through a cache much smaller than they are, and come back to the byte."""
    room = room_with(shuffle=True, seed=seed, cache_size=12 * MIB)
    tree, restored = tmp_path / "tree", tmp_path / "restored"
    total = make_tree(tree, files=300, largest=3_000_000, seed=seed)
    put = room.put(tree, prefix="a prefix/")
    assert (put.exit_code, put.failures, put.objects, put.bytes) == (0, [], 301, total)
    got = room.get(restored, prefix="a prefix/")
    assert (got.exit_code, got.failures, got.objects, got.bytes, got.unverified) == (0, [], 301, total, 0)
    assert digests(restored) == digests(tree)
    assert {job.type for job in room.recorder.jobs.values()} == {JobType.PUT, JobType.GET}


class Ordered(MemoryRecorder):
    """A recorder that knows, at each object that has appeared, whether its blob was told of before."""

    early: list[int]
    told: set[int]

    def moved(self, job_id: str, blobs: MovedBlobs) -> None:
        self.told.update(blobs.owners)
        super().moved(job_id, blobs)

    def appeared(self, job_id: str, owners: Sequence[int]) -> None:
        self.early += [owner for owner in owners if owner not in self.told]
        super().appeared(job_id, owners)


class PromptWriter:
    """A sink's writer that is asked what has appeared only when something just has, of what was stored by then."""

    def __init__(self, writer: UnnamedFiles) -> None:
        self._writer = writer
        self._changed = threading.Condition()
        self._stored = self._finished = 0
        self.drop = writer.drop

    def store(self, number: int, name: str, data: memoryview) -> bool:
        stored = self._writer.store(number, name, data)
        with self._changed:
            self._stored += stored
        return stored

    def finish(self, numbers: Sequence[int]) -> Sequence[int]:
        rest = self._writer.finish(numbers)
        with self._changed:
            self._finished += len(numbers) - len(rest)
            self._changed.notify_all()
        return rest

    def settle(self, *, wait: bool) -> tuple[Sequence[int], Sequence[tuple[int, Ds3Error]]]:
        with self._changed:
            stored = self._stored
            assert self._changed.wait_for(lambda: self._finished >= stored, 20), "it was stored, and its end not told"
        self._writer.publish()
        return self._writer.settle(wait=wait)


class PromptSink(LocalSink):
    """A local sink with such a writer."""

    def plain_writer(self) -> PlainWriter | None:
        writer = super().plain_writer()
        assert isinstance(writer, UnnamedFiles)
        return PromptWriter(writer)


def test_hundreds_of_small_files_are_recorded_as_moved_before_they_are_as_there(room: Room, tmp_path: Path) -> None:
    """A journal never has an object as there of whose blob it knows no digest; each is told once."""
    tree, restored, recorder = tmp_path / "tree", tmp_path / "restored", Ordered()
    recorder.early, recorder.told = [], set()
    tree.mkdir()
    for number in range(600):
        (tree / f"{number:03}").write_bytes(bytes([number % 256]) * 100)
    assert room.put(tree).exit_code == 0
    room.recorder = recorder
    got = room.get(PromptSink(str(restored)))
    assert (got.exit_code, got.objects, recorder.early) == (0, 600, [])
    [there] = recorder.there.values()
    assert sorted(there) == [f"{number:03}" for number in range(600)]
    assert digests(restored) == digests(tree)


def test_chunk_lists_run_empty_and_the_run_goes_on(room_with: Callable[..., Room], tmp_path: Path) -> None:
    """A tree ten times the cache, whose chunks are only given as others reach tape, is put and got whole."""
    room = room_with(chunk_size=MIB, cache_size=4 * MIB, persist_delay=0.02)
    tree, restored = tmp_path / "tree", tmp_path / "restored"
    tree.mkdir()
    chance = random.Random(5)
    for number in range(40):
        (tree / f"{number}").write_bytes(chance.randbytes(MIB - number))
    assert room.put(tree).exit_code == 0
    assert room.get(restored).exit_code == 0
    assert digests(restored) == digests(tree)


@pytest.mark.parametrize("kind", list(ChecksumType))
def test_every_kind_of_digest(room_with: Callable[..., Room], tmp_path: Path, kind: ChecksumType) -> None:
    """Under a data policy of each checksum type, blobs are put with, recorded with and verified by such digests."""
    room = room_with(checksum_type=kind)
    tree, restored = tmp_path / "tree", tmp_path / "restored"
    make_tree(tree, files=20, largest=2_500_000, seed=4)
    assert room.put(tree).exit_code == 0
    put = {place[1:]: value for place, value in room.recorder.checksums.items()}
    room.recorder.checksums.clear()
    got = room.get(restored)
    assert (got.exit_code, got.unverified) == (0, 0)
    assert {place[1:]: value for place, value in room.recorder.checksums.items()} == put
    assert digests(restored) == digests(tree)
    head = room.client.head_object(BUCKET, next(key for key in room.listed() if not key.endswith("/")))
    assert head.checksum_type == kind


@pytest.mark.parametrize("engine", [EngineSettings(1, 1), EngineSettings(16, 32)])
def test_one_at_a_time_and_many(room: Room, tmp_path: Path, engine: EngineSettings) -> None:
    """One blob on its way, or many, make no difference to the bytes."""
    room.settings = replace(room.settings, engine=engine)
    tree, restored = tmp_path / "tree", tmp_path / "restored"
    make_tree(tree, files=60, largest=1_500_000, seed=6)
    assert room.put(tree).exit_code == 0
    assert room.get(restored).exit_code == 0
    assert digests(restored) == digests(tree)


def test_room_for_a_large_object_is_made_before_it_is_asked_for(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file lies there with its whole room when the request goes out, so that no answer waits for that."""
    tree, restored = tmp_path / "tree", tmp_path / "restored"
    tree.mkdir()
    (tree / "large").write_bytes(random.Random(7).randbytes(3 * MIB))
    assert room.put(tree).exit_code == 0
    there: list[int] = []
    get_object = Ds3Client.get_object

    def look() -> Callable[..., object]:
        there.extend(path.stat().st_blocks * 512 for path in restored.rglob(".ds3tool-*"))
        return get_object

    monkeypatch.setattr(Ds3Client, "get_object", lambda *given, **named: look()(*given, **named))
    assert room.get(restored).exit_code == 0
    assert there
    assert min(there) >= 3 * MIB
    assert digests(restored) == digests(tree)


def test_empty_objects_and_folders_alone(room: Room, tmp_path: Path) -> None:
    """A tree of nothing but empty files and empty folders goes there and back."""
    tree, restored = tmp_path / "tree", tmp_path / "restored"
    (tree / "a/b").mkdir(parents=True)
    (tree / "empty").write_bytes(b"")
    assert room.put(tree).objects == 2
    assert room.listed() == {"a/b/", "empty"}
    assert room.get(restored).objects == 2
    assert digests(restored) == digests(tree)


def test_more_objects_than_a_job_may_hold(room: Room, tmp_path: Path) -> None:
    """A run of more objects than one job takes is several jobs, each with its own name, and all of it arrives."""
    room.settings = RunSettings(EngineSettings(2, 4), limits=JobLimits(7))
    tree, restored = tmp_path / "tree", tmp_path / "restored"
    make_tree(tree, files=20, largest=1000, seed=7)
    put = room.put(tree)
    assert [outcome.objects for outcome in put.jobs] == [7, 7, 7]
    assert len({plan.name for plan in room.recorder.planned_jobs}) == 3
    got = room.get(restored)
    assert [outcome.objects for outcome in got.jobs] == [7, 7, 7]
    assert (put.objects, got.objects) == (21, 21)
    assert digests(restored) == digests(tree)


def test_second_put_skips_what_is_there_and_the_same(room: Room, tmp_path: Path) -> None:
    """Putting a tree again moves nothing, by digest, for objects of one blob and of several; new files are put."""
    tree = tmp_path / "tree"
    make_tree(tree, files=30, largest=2_500_000, seed=8)
    assert room.put(tree).objects == 31
    again = room.put(tree)
    assert (again.objects, again.skipped, again.jobs, again.exit_code) == (0, 31, [], 0)
    (tree / "new").write_bytes(b"new")
    third = room.put(tree)
    assert (third.objects, third.skipped) == (1, 31)


@pytest.mark.parametrize("size", [1000, 3 * MIB])
@pytest.mark.parametrize("kind", [ChecksumType.MD5, ChecksumType.CRC_32C])
def test_changed_file_of_the_same_size_and_an_old_time_is_not_taken_for_the_same(
    room_with: Callable[..., Room], tmp_path: Path, size: int, kind: ChecksumType
) -> None:
    """A file whose bytes differ from the object fails by name, even when size and time say nothing; so does a size."""
    room = room_with(checksum_type=kind)
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_bytes(bytes(size))
    assert room.put(tree).objects == 1
    (tree / "file").write_bytes(bytes(size - 1) + b"x")
    os.utime(tree / "file", (1, 1))
    again = room.put(tree)
    assert (again.objects, again.skipped, again.exit_code) == (0, 0, 3)
    assert [failure.key for failure in again.failures] == ["file"]
    (tree / "file").write_bytes(b"short")
    assert [failure.key for failure in room.put(tree).failures] == ["file"]


def test_get_skips_the_same_and_leaves_what_differs(room: Room, tmp_path: Path) -> None:
    """Files that are there and the same are skipped; those that differ stay as they are and fail by name."""
    tree, restored = tmp_path / "tree", tmp_path / "restored"
    tree.mkdir()
    restored.mkdir()
    data = random.Random(9).randbytes(2 * MIB + 5)
    for name in ("same", "differs", "shorter", "missing"):
        (tree / name).write_bytes(data)
    room.put(tree)
    (restored / "same").write_bytes(data)
    (restored / "differs").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    (restored / "shorter").write_bytes(b"mine")
    got = room.get(restored)
    assert (got.objects, got.skipped, got.exit_code) == (1, 1, 3)
    assert {failure.key for failure in got.failures} == {"differs", "shorter"}
    assert (restored / "shorter").read_bytes() == b"mine"
    assert (restored / "differs").read_bytes() != data
    assert (restored / "missing").read_bytes() == data


def test_keys_that_would_become_one_file_fail_but_for_the_first(room: Room, tmp_path: Path) -> None:
    """Of keys that mean the same name at the target, one is restored whole and the others fail by name."""
    tree, restored = tmp_path / "tree", tmp_path / "restored"
    tree.mkdir()
    (tree / "A").write_bytes(b"large")
    (tree / "a").write_bytes(b"small")
    room.put(tree)
    got = room.get(restored, prepare=lambda run: setattr(run._targets, "_name_of", str.lower))
    assert (got.objects, got.exit_code) == (1, 3)
    assert "would become one file" in got.failures[0].error.message
    assert (restored / "a").read_bytes() == b"large"


def test_hostile_keys_fail_by_name_and_the_rest_arrives(room: Room, tmp_path: Path) -> None:
    """Keys that lead out of the target, as anybody may have put them, fail by name; nothing appears outside."""
    restored = tmp_path / "deep/restored"
    hostile = ["../outside", "a/../../outside", "/abs", "a//b", "a/./b", "x" * 300]
    for key in [*hostile, "good"]:
        room.client.put_object(BUCKET, key, BytesBody(b"content"))
    got = room.get(restored)
    assert {failure.key for failure in got.failures} == set(hostile)
    assert got.exit_code == 3
    assert (restored / "good").read_bytes() == b"content"
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["good"]


def test_progress_can_be_asked_at_any_time(room: Room, tmp_path: Path) -> None:
    """Progress never goes back, never beyond the whole, and ends with everything."""
    tree = tmp_path / "tree"
    total = make_tree(tree, files=100, largest=1_000_000, seed=10)
    run = room.put_run(tree)
    seen = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            seen.append(run.progress())

    watcher = threading.Thread(target=watch)
    watcher.start()
    run.run()
    over.set()
    watcher.join()
    last = run.progress()
    assert (last.objects_done, last.objects_total, last.bytes_done, last.bytes_total) == (101, 101, total, total)
    assert all(moment.bytes_done <= moment.bytes_total for moment in seen)
    assert all(moment.objects_done <= moment.objects_total for moment in seen)


def test_each_object_is_told_once(room: Room, tmp_path: Path) -> None:
    """`on_object` hears of every object of a put and of a get once, with its size."""
    tree, restored = tmp_path / "tree", tmp_path / "restored"
    make_tree(tree, files=40, largest=600_000, seed=11)
    put_told: list[tuple[str, int]] = []
    got_told: list[tuple[str, int]] = []
    run = room.put_run(tree)
    run.on_object = lambda key, size, error: put_told.append((key, size))
    run.run()

    def listen(run: object) -> None:
        run.on_object = lambda key, size, error: got_told.append((key, size))  # type: ignore[attr-defined]

    room.get(restored, prepare=listen)
    sizes = {(listed.key, listed.size) for listed in room.client.list_objects(BUCKET)}
    assert len(put_told) == len(got_told) == 41
    assert set(put_told) == set(got_told) == sizes


def test_nothing_is_left_open(room: Room, tmp_path: Path) -> None:
    """After a put and a get, descriptors and threads are as many as before."""
    tree = tmp_path / "tree"
    make_tree(tree, files=50, largest=500_000, seed=12)

    def there_and_back(target: Path) -> None:
        with room.connect() as client:
            room.put(tree, prefix=f"{target.name}/", client=client)
            room.get(target, prefix=f"{target.name}/", client=client)

    there_and_back(tmp_path / "first")  # so that what is opened once is open

    def ours() -> set[str]:
        return {thread.name for thread in threading.enumerate() if thread.name.startswith("ds3tool")}

    def files() -> list[str]:
        found = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
        return sorted(
            os.readlink(path) for path in found if os.path.exists(path) and str(tmp_path) in os.readlink(path)
        )

    there_and_back(tmp_path / "second")
    assert files() == []
    assert not {name for name in ours() if "transfer" in name or "small" in name or "finisher" in name}


def test_job_is_completed_on_tape(room: Room, tmp_path: Path) -> None:
    """A put's job reaches COMPLETED on the appliance by itself, and its result says what the appliance said last."""
    tree = tmp_path / "tree"
    make_tree(tree, files=10, largest=1000, seed=13)
    put = room.put(tree)
    assert put.jobs[0].job.status in {JobStatus.IN_PROGRESS, JobStatus.COMPLETED}
    assert put.jobs[0].objects == 11
