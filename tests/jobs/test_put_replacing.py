"""Overwriting where no versions are kept: what is deleted, when, and that it is told whatever happens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ds3tool.client import Ds3Client
from ds3tool.errors import ApplianceError, ConflictError, NotFoundError, TransportError, UsageError
from ds3tool.jobs.ends import SourceObject
from ds3tool.jobs.existing import IfExists
from ds3tool.jobs.recorder import MemoryRecorder
from ds3tool.protocol.model import JobStatus, Versioning
from ds3tool.transport.bodies import BytesBody
from tests.jobs.doubles import SwiftClock
from tests.jobs.rooms import BUCKET, MIB, HookedSource, Room


@pytest.fixture
def overwriting(room: Room) -> Room:
    """An appliance with an object `film`, whose bucket keeps no versions, and leave to delete there."""
    room.client.put_object(BUCKET, "film", BytesBody(b"before"))
    room.settings = replace(room.settings, if_exists=IfExists.OVERWRITE, may_delete=True)
    return room


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with another `film`, and `other`, which is new."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "film").write_bytes(b"after it")
    (tree / "other").write_bytes(b"other")
    return tree


def content(room: Room, key: str) -> bytes:
    return room.client.get_object(BUCKET, key, lambda reply: b"".join(reply.body))


def test_without_leave_nothing_is_deleted(overwriting: Room, tree: Path) -> None:
    """A run that was not told that it may delete is refused before a job exists, and says why."""
    overwriting.settings = replace(overwriting.settings, may_delete=False)
    with pytest.raises(UsageError, match="keeps no versions") as refused:
        overwriting.put(tree)
    assert "--yes" in (refused.value.hint or "")
    assert content(overwriting, "film") == b"before"
    assert not overwriting.recorder.planned_jobs


def test_each_deletion_is_recorded_before_it_happens(overwriting: Room, tree: Path) -> None:
    """When the recorder hears of it the object is still there, and it is told the very version and ETag."""
    room = overwriting
    head = room.client.head_object(BUCKET, "film")

    class Watching(MemoryRecorder):
        def deleting(self, bucket: str, key: str, version_id: str | None, etag: str | None) -> None:
            assert room.client.head_object(bucket, key).version_id == version_id
            super().deleting(bucket, key, version_id, etag)

    room.recorder = Watching()
    result = room.put(tree)
    assert (result.objects, result.exit_code, result.failures) == (2, 0, [])
    assert room.recorder.deletions == [(BUCKET, "film", head.version_id, head.etag)]
    assert content(room, "film") == b"after it"


def test_what_is_the_same_is_not_deleted(overwriting: Room, tree: Path) -> None:
    """An equal object is skipped, under this rule too."""
    (tree / "film").write_bytes(b"before")
    result = overwriting.put(tree)
    assert (result.objects, result.skipped) == (1, 1)
    assert overwriting.recorder.deletions == []


def test_nothing_is_deleted_for_a_source_that_cannot_be_read(overwriting: Room, tree: Path) -> None:
    """The source is read whole first: one that vanishes then leaves the old object, and the other file is put."""

    def vanish(item: SourceObject) -> None:
        if item.key == "film":
            (tree / "film").unlink(missing_ok=True)

    result = overwriting.put(HookedSource(tree, before_open=vanish))
    assert (result.objects, [failure.key for failure in result.failures]) == (1, ["film"])
    assert "make room for it" not in result.failures[0].error.message
    assert content(overwriting, "film") == b"before"
    assert overwriting.recorder.deletions == []


def test_another_object_than_the_one_listed_is_not_deleted(overwriting: Room, tree: Path) -> None:
    """When somebody puts another under the name meanwhile, it stays and the put of that key fails by name."""

    def interfere(item: SourceObject) -> None:
        if item.key == "film" and content(overwriting, "film") == b"before":
            overwriting.client.delete_object(BUCKET, "film")
            overwriting.client.put_object(BUCKET, "film", BytesBody(b"theirs"))

    result = overwriting.put(HookedSource(tree, before_open=interfere))
    (failure,) = result.failures
    assert (result.objects, failure.key, type(failure.error)) == (1, "film", ConflictError)
    assert "was not deleted" in failure.error.message
    assert content(overwriting, "film") == b"theirs"


@pytest.mark.parametrize("size", [1000, 2 * MIB])
def test_a_put_that_fails_afterwards_says_that_the_old_object_is_gone(overwriting: Room, tree: Path, size: int) -> None:
    """A file that changes between reading and sending fails, and the failure tells the whole truth."""
    (tree / "film").write_bytes(b"x" * size)
    opened: list[str] = []

    def change(item: SourceObject) -> None:
        opened.append(item.key)
        if opened.count("film") == 2:
            (tree / "film").write_bytes(b"y" * (size + 1))

    result = overwriting.put(HookedSource(tree, before_open=change))
    (failure,) = result.failures
    assert (failure.key, result.exit_code) == ("film", 3)
    told = failure.error.message
    assert "has changed since it was listed" in told or "is shorter than it was" in told  # it is cut before it grows
    assert "has been deleted to make room for it" in failure.error.message
    with pytest.raises(NotFoundError):
        overwriting.client.head_object(BUCKET, "film")
    assert content(overwriting, "other") == b"other"


def test_a_run_that_ends_after_the_deletion_names_what_is_gone(
    overwriting: Room, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the job cannot be created any more, the run does not just raise: the deleted object is a failure by name."""

    create = Ds3Client.create_put_job

    def unreachable(client: Ds3Client, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        if not overwriting.recorder.deletions:
            return create(client, *arguments, **options)
        raise TransportError("nobody answers")

    monkeypatch.setattr(Ds3Client, "create_put_job", unreachable)
    run = overwriting.put_run(tree)
    run.clock = SwiftClock()  # the job is looked for for a while
    result = run.run()
    assert isinstance(result.stopped, TransportError)
    assert [failure.key for failure in result.failures] == ["film"]
    assert "has been deleted" in result.failures[0].error.message
    assert result.exit_code == 7


@pytest.mark.parametrize("silent", [False, True])
def test_nothing_is_deleted_for_a_job_that_the_appliance_does_not_admit(
    room_with: Callable[..., Room], tree: Path, monkeypatch: pytest.MonkeyPatch, *, silent: bool
) -> None:
    """A blob size that it refuses, or an appliance that has gone silent: known before the first deletion."""
    room = room_with(blob_size=64 * MIB)
    room.client.put_object(BUCKET, "film", BytesBody(b"before"))
    room.settings = replace(room.settings, if_exists=IfExists.OVERWRITE, may_delete=True, blob_size=MIB)
    if silent:

        def unreachable(*_arguments: Any, **_options: Any) -> Any:  # noqa: ANN401
            raise TransportError("nobody answers")

        monkeypatch.setattr(Ds3Client, "create_put_job", unreachable)
    with pytest.raises(TransportError if silent else ApplianceError):
        room.put(tree)
    assert content(room, "film") == b"before"
    assert (room.recorder.deletions, room.listed()) == ([], {"film"})


def test_a_job_that_is_admitted_before_anything_is_deleted_does_not_stay(overwriting: Room, tree: Path) -> None:
    """When somebody else deletes the object in between, the question for the job is no second job that idles."""
    opened: list[str] = []

    def delete(item: SourceObject) -> None:
        opened.append(item.key)
        if opened == ["film"]:  # to be read whole
            overwriting.client.delete_object(BUCKET, "film")

    result = overwriting.put(HookedSource(tree, before_open=delete))
    assert (result.objects, result.exit_code, len(result.jobs)) == (2, 0, 1)
    assert content(overwriting, "film") == b"after it"
    overwriting.until_idle()


def test_objects_of_a_job_that_somebody_cancels_are_not_called_replaced(
    room_with: Callable[..., Room], tree: Path
) -> None:
    """A cancelled job takes with it what had arrived: the deleted object is named, also when its successor was in."""
    room = room_with(persist_delay=3600.0)
    room.client.put_object(BUCKET, "film", BytesBody(b"before"))

    class Cancelling(MemoryRecorder):
        def moved(self, job_id: str, *others: Any) -> None:  # noqa: ANN401
            super().moved(job_id, *others)
            if len(self.checksums) == 2:
                room.client.cancel_job(job_id)

    room.recorder = Cancelling()
    room.settings = replace(room.settings, if_exists=IfExists.OVERWRITE, may_delete=True)
    result = room.put(tree)
    assert result.exit_code == 12
    assert result.jobs[0].job.status == JobStatus.CANCELED
    assert [failure.key for failure in result.failures] == ["film"]
    assert "has been deleted" in result.failures[0].error.message


def test_nothing_is_deleted_where_versions_are_kept(room_with: Callable[..., Room], tree: Path) -> None:
    """There overwriting is one more version, and needs no leave."""
    room = room_with(versioning=Versioning.KEEP_MULTIPLE_VERSIONS)
    room.client.put_object(BUCKET, "film", BytesBody(b"before"))
    room.settings = replace(room.settings, if_exists=IfExists.OVERWRITE)
    assert room.put(tree).objects == 2
    assert room.recorder.deletions == []
    assert sum(one.key == "film" for one in room.client.list_objects(BUCKET, versions=True)) == 2
