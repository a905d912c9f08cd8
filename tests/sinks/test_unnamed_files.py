"""Whole small files that have no name until they are safe: what appears, what does not, and what is left."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import stat
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from ds3tool.errors import SinkError
from ds3tool.jobs.ends import PlainWriter, TargetObject
from ds3tool.sinks import unnamed
from ds3tool.sinks.local import LocalSink

DATA = b"all of it"


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[LocalSink]:
    """Give a sink below a folder of its own."""
    with closing(LocalSink(str(tmp_path / "target"))) as made:
        yield made


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Return the folder of that sink."""
    return tmp_path / "target"


def writer_of(sink: LocalSink) -> PlainWriter:
    writer = sink.plain_writer()
    assert writer is not None
    return writer


def store(writer: PlainWriter, names: Sequence[str], first: int = 0) -> None:
    for number, name in enumerate(names, first):
        assert writer.store(number, name, memoryview(DATA))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_what_is_finished_appears_whole_with_the_permissions_of_any_file(sink: LocalSink, target: Path) -> None:
    """In folders that were not there, and nothing else is beside it."""
    writer = writer_of(sink)
    store(writer, ["top", "sub/one", "sub/two", "sub/below/three"])
    assert files(target) == {}, "something has a name before it is finished"
    assert writer.finish([0, 1, 2, 3]) == []
    assert writer.settle(wait=True) == ([0, 1, 2, 3], [])
    assert files(target) == dict.fromkeys(["top", "sub/one", "sub/two", "sub/below/three"], DATA)
    (target / "usual").touch()
    assert {stat.S_IMODE(path.stat().st_mode) for path in target.rglob("*") if path.is_file()} == {
        stat.S_IMODE((target / "usual").stat().st_mode)
    }


def test_objects_are_told_once_and_those_it_does_not_have_are_given_back(sink: LocalSink) -> None:
    """Whoever asks again hears nothing of them."""
    writer = writer_of(sink)
    store(writer, ["a"], first=7)
    assert writer.finish([7, 8]) == [8]
    assert writer.settle(wait=True) == ([7], [])
    assert writer.settle(wait=True) == ([], [])


def test_what_one_job_did_not_finish_is_nothing_to_the_next(sink: LocalSink, target: Path) -> None:
    """Its numbers mean other objects there."""
    writer = writer_of(sink)
    store(writer, ["old/one", "old/two"])
    writer.finish([1])
    assert writer.settle(wait=True) == ([1], [])
    assert writer.finish([0]) == [0]
    store(writer, ["new/one"])
    assert writer.finish([0]) == []
    assert writer.settle(wait=True) == ([0], [])
    assert files(target) == dict.fromkeys(["old/two", "new/one"], DATA)


def test_what_was_not_finished_goes_with_the_sink(tmp_path: Path) -> None:
    """Neither a name nor an open file is left; what was finished appears by the time that it is closed."""
    before = descriptors()
    with closing(LocalSink(str(tmp_path / "target"))) as sink:
        store(writer_of(sink), ["half", "whole", "dropped"])
        writer_of(sink).drop(2)
        writer_of(sink).finish([1])
    assert files(tmp_path / "target") == {"whole": DATA}
    assert descriptors() == before


def test_a_file_that_came_meanwhile_stays(sink: LocalSink, target: Path) -> None:
    """The object fails by name, and so does one that would be the same file; others appear."""
    writer = writer_of(sink)
    store(writer, ["a/taken", "a/free", "a/free"])
    (target / "a/taken").write_bytes(b"mine")
    writer.finish([0, 1, 2])
    appeared, failed = writer.settle(wait=True)
    assert appeared == [1]
    assert {number: error.message for number, error in failed} == {
        0: "a/taken is there already",
        2: "a/free is there already",
    }
    assert files(target) == {"a/taken": b"mine", "a/free": DATA}


def test_a_folder_that_was_moved_away_gets_nothing(sink: LocalSink, target: Path, tmp_path: Path) -> None:
    """All that was to appear in it fails by name, wherever it is now."""
    writer = writer_of(sink)
    store(writer, ["a/one", "b/two"])
    (target / "a").rename(tmp_path / "elsewhere")
    (target / "a").mkdir()
    writer.finish([0, 1])
    appeared, [(number, error)] = writer.settle(wait=True)
    assert (appeared, number) == ([1], 0)
    assert "the folder a has been moved away" in error.message
    assert files(tmp_path / "elsewhere") == {}
    assert files(target) == {"b/two": DATA}


def test_what_could_not_be_made_safe_does_not_appear(
    sink: LocalSink, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bytes may be lost in a power cut, so it has failed."""

    def failing(descriptors: Sequence[int]) -> list[OSError | None]:
        return [OSError(errno.EIO, "Input/output error"), *[None] * (len(descriptors) - 1)]

    monkeypatch.setattr(unnamed, "sync_all", failing)
    writer = writer_of(sink)
    store(writer, ["bad", "good"])
    writer.finish([0, 1])
    appeared, [(number, error)] = writer.settle(wait=True)
    assert (appeared, number, error.message) == ([1], 0, "bad cannot be written: Input/output error")
    assert files(target) == {"good": DATA}


def test_a_folder_whose_names_could_not_be_made_safe_fails_all_that_is_in_it(
    sink: LocalSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what was put into a folder below one of which that is true."""
    writer = writer_of(sink)
    store(writer, ["a/one", "a/below/two", "b/three"])
    folder = os.stat(os.path.join(sink.root, "a"))
    sync = os.fsync

    def failing(descriptor: int) -> None:
        if os.fstat(descriptor).st_ino == folder.st_ino:
            raise OSError(errno.EIO, "Input/output error")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    writer.finish([0, 1, 2])
    appeared, failed = writer.settle(wait=True)
    assert (appeared, sorted(number for number, _ in failed)) == ([2], [0, 1])
    assert all("could not be made safe on the disk" in error.message for _, error in failed)


@pytest.mark.parametrize("name", [".hidden", "umläut", "a/..", "..", "", "a/", "x" * 300, "../up", ".ds3tool-x"])
def test_names_that_need_a_second_look_go_the_other_way(sink: LocalSink, target: Path, name: str) -> None:
    """Nothing is kept of them here, nor anywhere else."""
    before = set(target.parent.rglob("*"))
    with contextlib.suppress(SinkError):  # its folder leads out of the target, or is none
        assert not writer_of(sink).store(0, name, memoryview(DATA))
    assert {path for path in target.parent.rglob("*") if not path.is_dir()} <= before


def test_where_the_file_system_cannot_files_go_the_other_way(
    sink: LocalSink, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No unnamed file, no way to name one, or a kernel that gives it other permissions: nothing is left behind."""
    writer = writer_of(sink)
    with monkeypatch.context() as patched:
        patched.setattr(unnamed, "_UNNAMED", os.O_RDWR | os.O_DIRECTORY)
        assert not writer.store(0, "a/one", memoryview(DATA))
    with monkeypatch.context() as patched:
        patched.setattr(unnamed, "_OPEN_FILES", "/nowhere")
        assert not writer.store(0, "b/one", memoryview(DATA))
        assert not writer.store(0, "c/one", memoryview(DATA))
    with closing(LocalSink(sink.root)) as other, monkeypatch.context() as patched:
        patched.setattr(other._unnamed, "_mask", 0o444)
        assert not writer_of(other).store(0, "d/one", memoryview(DATA))
        assert files(target) == {}
    with closing(LocalSink(sink.root)) as other:
        assert writer_of(other).store(0, "e/one", memoryview(DATA))


def test_a_full_disk_is_told_by_name_and_nothing_stays_open(sink: LocalSink) -> None:
    """A file that cannot be written to its end is none."""
    writer = writer_of(sink)
    store(writer, ["fits"])
    before, (soft, hard) = descriptors(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, hard))
    try:
        with pytest.raises(SinkError, match=r"^large cannot be written: File too large$"):
            writer.store(1, "large", memoryview(DATA))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert descriptors() == before
    assert writer.finish([1]) == [1]


def test_many_files_hold_a_bounded_number_of_descriptors(sink: LocalSink, target: Path) -> None:
    """Batch after batch, and also where nobody finishes anything."""
    writer, before, most = writer_of(sink), descriptors(), 0
    for start in range(0, 900, 50):
        store(writer, [f"d{number % 7}/f{number}" for number in range(start, start + 50)], first=start)
        assert writer.finish(range(start, start + 50)) == []
        most = max(most, descriptors())
    taken = sum(writer.store(number, f"never/{number}", memoryview(DATA)) for number in range(900, 1600))
    assert taken < 600
    assert most - before < 600
    assert descriptors() - before < 1200
    assert sorted(writer.settle(wait=True)[0]) == list(range(900))
    assert len(files(target)) == 900


def test_a_name_on_its_way_is_not_given_to_another(sink: LocalSink) -> None:
    """Neither before it is finished nor after."""
    writer = writer_of(sink)
    store(writer, ["a/film.mov"])
    assert sink.free_name("a/film.mov") == "a/film~1.mov"
    writer.finish([0])
    assert sink.free_name("a/film.mov") == "a/film~2.mov"


def test_it_appears_by_itself_when_nobody_waits_and_nothing_follows(sink: LocalSink, target: Path) -> None:
    """A slow get lets its files appear as they come."""
    writer = writer_of(sink)
    store(writer, ["alone"])
    writer.finish([0])
    deadline = 200
    while not (target / "alone").exists() and deadline:
        deadline -= 1
        sink._groups._thread.join(0.05)  # it goes on: this is a wait for its next round
    assert (target / "alone").read_bytes() == DATA


def test_a_file_is_made_in_its_own_folder_whatever_else_was_stored_meanwhile(sink: LocalSink, target: Path) -> None:
    """Its file system, its group and its access lists are that folder's, though others were held and opened since."""
    writer = writer_of(sink)
    store(writer, ["own/one"])
    sink.receive_small(TargetObject("k", len(DATA), "usual/one"), 0, memoryview(DATA))
    for number in range(200):
        with sink._folders.opened(f"other{number}"):
            pass
    store(writer, ["own/two"], first=1)
    where = [os.readlink(f"/proc/self/fd/{one[3]}") for one in sink._unnamed._stored.values()]
    assert [os.path.dirname(path) for path in where] == [str(target / "own")] * 2


def test_items_and_unnamed_files_meet_in_one_folder(sink: LocalSink, target: Path) -> None:
    """What goes the usual way and what goes this one neither replace nor hide each other."""
    writer, item = writer_of(sink), TargetObject("k", len(DATA), "a/usual")
    store(writer, ["a/quick", "a/both"])
    sink.receive_small(item, 0, memoryview(DATA))
    both = TargetObject("b", 4, "a/both")
    sink.receive_small(both, 0, memoryview(b"four"))
    writer.finish([0, 1])
    assert writer.settle(wait=True) == ([0, 1], [])
    sink.finish_all([item, both])
    outcome = {one.name: error for one, error in sink.settle(wait=True)}
    assert outcome["a/usual"] is None
    assert outcome["a/both"] is not None
    assert files(target) == dict.fromkeys(["a/quick", "a/usual", "a/both"], DATA)
