"""Sources that are not what they should be, and what becomes of the job: the rest goes on, and nobody is misled."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ds3tool.client import Ds3Client
from ds3tool.errors import BusyError, JobError, NotFoundError, SourceError
from ds3tool.jobs.ends import Failure, SourceObject
from ds3tool.jobs.engine import EngineSettings
from ds3tool.jobs.put import PutRun
from ds3tool.jobs.run import RunResult
from ds3tool.protocol.model import JobStatus
from ds3tool.sources.local import LocalSource
from tests.jobs.rooms import MIB, HookedSource, Room


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Nine small files and one of several blobs."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(9):
        (tree / f"{number}").write_bytes(os.urandom(1000))
    (tree / "9").write_bytes(os.urandom(2 * MIB))
    return tree


def failed(result: RunResult) -> list[str | None]:
    return [failure.key for failure in result.failures]


Change = Callable[[Path], object]


@pytest.mark.parametrize("name", ["4", "9"], ids=["small", "of several blobs"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (Path.unlink, "has vanished since it was listed"),
        (lambda path: os.truncate(path, 500), "has changed since it was listed"),
        (lambda path: path.write_bytes(path.read_bytes() + b"more"), "has changed since it was listed"),
    ],
    ids=["vanishes", "shrinks", "grows"],
)
def test_a_source_that_vanishes_shrinks_or_grows_fails_alone(
    room: Room, tree: Path, name: str, change: Change, said: str
) -> None:
    """It fails by name with what happened; the others arrive, nothing of it is kept, and no job is left open."""

    one_at_a_time = threading.Lock()

    def spoil(item: SourceObject) -> None:
        with one_at_a_time:  # two blobs of it may be opened at the same moment
            if item.key == name and (tree / name).exists():
                change(tree / name)

    result = room.put(HookedSource(tree, before_open=spoil))
    assert (result.objects, failed(result), result.exit_code) == (9, [name], 3)
    assert said in result.failures[0].error.message
    room.until_idle()
    assert room.listed() == {str(number) for number in range(10)} - {name}


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch, tree: Path) -> Path:
    """A file of the tree that nobody may open; the tests may run as root, who may open everything."""
    before = os.open

    def refusing(path: Any, *arguments: Any, **options: Any) -> int:  # noqa: ANN401
        folder = os.readlink(f"/proc/self/fd/{options['dir_fd']}") if "dir_fd" in options else ""
        if os.path.join(os.fsencode(folder), os.fsencode(path)) == os.fsencode(tree / "4"):
            raise PermissionError(13, "Permission denied", path)
        return before(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refusing)
    return tree / "4"


def test_an_unreadable_file_does_not_keep_the_rest_from_being_put(room: Room, tree: Path, unreadable: Path) -> None:
    """Exit code 3, its name and the reason; all others are there."""
    result = room.put(tree)
    assert (result.objects, failed(result), result.exit_code) == (9, ["4"], 3)
    assert f"{unreadable} cannot be opened: Permission denied" in result.failures[0].error.message


@pytest.mark.parametrize("transfers", [1, 4])
def test_the_first_failure_stops_the_run_where_that_was_asked_for(
    room: Room, tree: Path, unreadable: Path, transfers: int
) -> None:
    """The job is truncated, what is counted as put is there, and the result says what it stopped at."""
    assert unreadable.exists()
    room.settings = replace(room.settings, stop_on_error=True, engine=EngineSettings(transfers, transfers))
    result = room.put(tree)
    assert isinstance(result.stopped, JobError)
    assert "4" in result.stopped.message
    assert (failed(result), result.exit_code) == (["4"], 3)
    room.until_idle()
    # What was on its way when the run stopped may have arrived; nobody claims that it has.
    assert result.objects <= len(room.listed()) < 10


class Listless(LocalSource):
    """A local source that cannot list something, after the third object that it can."""

    def objects(self) -> Iterator[SourceObject]:
        for number, item in enumerate(super().objects()):
            if number == 3:
                self.failures.append(Failure(None, SourceError("/x/secret cannot be listed"), "/x/secret"))
            yield item


@pytest.mark.parametrize("stop", [False, True])
def test_what_cannot_be_listed_counts_as_a_failure(room: Room, tree: Path, *, stop: bool) -> None:
    """With `stop` nothing is put at all, since the walk comes first; else the rest is, and the path is named."""
    room.settings = replace(room.settings, stop_on_error=stop)
    result = room.put(Listless(str(tree), prefix=""))
    (failure,) = result.failures
    assert (failure.key, failure.path, failure.name) == (None, "/x/secret", "/x/secret")
    assert (result.objects, result.exit_code) == (0 if stop else 10, 3)
    assert isinstance(result.stopped, JobError) is stop


def test_a_job_whose_failures_may_yet_be_mended_is_left_open(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When retries for one object are spent and the others went through, the job is not truncated; a note tells."""
    tree = tmp_path / "large"
    tree.mkdir()
    for name in ("bad", "good1", "good2"):
        (tree / name).write_bytes(os.urandom(MIB))
    puts: list[str] = []
    second = threading.Event()
    before = Ds3Client.put_object

    def busy(self: Ds3Client, bucket: str, key: str, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        if key == "bad":
            assert second.wait(30)
            raise BusyError("no time now", status=503, code="SlowDown")
        puts.append(key)
        if len(puts) == 2:
            second.set()  # the same worker has brought the first to its end
        return before(self, bucket, key, *arguments, **options)

    monkeypatch.setattr(Ds3Client, "put_object", busy)
    room.settings = replace(room.settings, engine=EngineSettings(2, 1))
    result = room.put(tree)
    assert (result.objects, failed(result), result.exit_code) == (2, ["bad"], 3)
    assert any("is left open" in note and "job truncate" in note for note in result.notes)
    details = room.client.get_job(room.job.id)
    assert details.job.status == JobStatus.IN_PROGRESS
    assert any(blob.key == "bad" and not blob.in_cache for chunk in details.chunks for blob in chunk.blobs)
    room.client.truncate_job(room.job.id)


def test_failures_that_cannot_be_mended_truncate_the_job(room: Room, tree: Path, unreadable: Path) -> None:
    """Otherwise the appliance would wait a day for bytes that never come."""
    assert unreadable.exists()
    room.put(tree)
    room.until_idle()
    assert room.client.get_job(room.job.id).job.status == JobStatus.COMPLETED


def test_a_job_that_somebody_cancels_in_the_middle(room: Room, tree: Path) -> None:
    """Exit code 12: the run does not go on with a job that is gone, nor make a second one."""
    cancelled: list[str] = []

    def cancel(item: SourceObject) -> None:
        if item.key == "9" and not cancelled:
            cancelled.append(room.job.id)
            room.client.cancel_job(room.job.id)

    room.settings = replace(room.settings, engine=EngineSettings(1, 1))
    result = room.put(HookedSource(tree, before_open=cancel))
    assert result.exit_code == 12
    assert len(result.jobs) == 1
    assert result.jobs[0].job.status == JobStatus.CANCELED


def test_a_bucket_that_is_not_there_is_told_before_the_source_is_read(room: Room, tree: Path) -> None:
    """NotFoundError, exit code 4, and no file was opened."""
    opened: list[str] = []
    source = HookedSource(tree, before_open=lambda item: opened.append(item.key))
    with pytest.raises(NotFoundError) as told:
        PutRun(room.client, source, "nowhere", settings=room.settings).run()
    assert told.value.exit_code == 4
    assert opened == []


def test_an_empty_source_makes_no_job(room: Room, tmp_path: Path) -> None:
    """Nothing to put is no failure, and nothing on the appliance."""
    (tmp_path / "empty").mkdir()
    result = room.put(tmp_path / "empty")
    assert (result.objects, result.jobs, result.exit_code) == (0, [], 0)
