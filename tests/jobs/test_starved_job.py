"""A job whose failed objects hold the room that its other objects need, on an appliance with a small cache."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from ds3tool.errors import JobError, SinkError, SourceError
from ds3tool.jobs.ends import SourceObject
from ds3tool.jobs.put import PutRun
from tests.jobs.doubles import Stage, SwiftClock, answer, blob, chunk
from tests.jobs.rooms import BUCKET, MIB, HookedSource, Room


def _vanishing(tree: Path) -> HookedSource:
    """Six files of 3 MiB, of which the first two vanish as soon as they are wanted."""
    tree.mkdir()
    for number in range(6):
        (tree / str(number)).write_bytes(random.Random(number).randbytes(3 * MIB))

    def before(item: SourceObject) -> None:
        if item.key in {"0", "1"}:
            (tree / item.key).unlink(missing_ok=True)

    return HookedSource(tree, before_open=before)


def test_objects_that_failed_ones_starve_are_put_by_another_job(room_with: Callable[..., Room], tmp_path: Path) -> None:
    """The chunk of the vanished files is never full, and the cache has no room for another: a second job has."""
    room = room_with(cache_size=8 * MIB)
    run = PutRun(room.client, _vanishing(tmp_path / "tree"), BUCKET, settings=room.settings, clock=SwiftClock())
    result = run.run()
    assert {failure.key: type(failure.error) for failure in result.failures} == {"0": SourceError, "1": SourceError}
    assert (result.objects, result.exit_code, len(result.jobs)) == (4, 3, 2)
    room.until_idle()
    assert room.listed() == set("2345")


def test_get_that_its_failed_objects_starve_ends_and_says_so() -> None:
    """What cannot be done in another job fails, with the way out: nobody waits for ever."""
    stage = Stage([chunk("1", blob("gone"), blob("kept")), chunk("2", blob("late"))], transfers=1, method="GET")

    def act(number: int, _counter: Callable[[int], None]) -> str:
        if number == stage.number("gone"):
            raise SinkError("no such folder")
        return "digest"

    stage.mover.act = act
    stage.client.ready = lambda _: answer(stage.chunks[0])
    stage.run()
    assert stage.ended == ["kept"]
    assert {key: type(error) for key, error in stage.failures.items()} == {"gone": SinkError, "late": JobError}
    assert "run the command again" in (stage.failures["late"].hint or "")


def test_a_job_with_room_is_not_ended_for_its_failed_objects(room_with: Callable[..., Room], tmp_path: Path) -> None:
    """The same files, and a cache that holds all of them: the four that are there arrive."""
    room = room_with(cache_size=64 * MIB)
    run = PutRun(room.client, _vanishing(tmp_path / "tree"), BUCKET, settings=room.settings, clock=SwiftClock())
    result = run.run()
    assert {failure.key for failure in result.failures} == {"0", "1"}
    assert room.listed() == set("2345")
