"""A job whose failed objects hold the room that its other objects need, on an appliance with a small cache."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from ds3tool.errors import JobError, SourceError
from ds3tool.jobs.ends import SourceObject
from ds3tool.jobs.put import PutRun
from tests.jobs.doubles import SwiftClock
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


def test_a_job_that_its_failed_objects_starve_ends_and_says_so(room_with: Callable[..., Room], tmp_path: Path) -> None:
    """The chunk of the vanished files is never full, and the cache has no room for another: nobody waits for ever."""
    room = room_with(cache_size=8 * MIB)
    run = PutRun(room.client, _vanishing(tmp_path / "tree"), BUCKET, settings=room.settings, clock=SwiftClock())
    result = run.run()
    failed = {failure.key: type(failure.error) for failure in result.failures}
    assert failed == {"0": SourceError, "1": SourceError} | dict.fromkeys("2345", JobError)
    assert (result.objects, result.exit_code) == (0, 3)
    assert "run the command again" in (result.failures[-1].error.hint or "")
    assert room.put(tmp_path / "tree").objects == 4
    assert room.listed() == set("2345")


def test_a_job_with_room_is_not_ended_for_its_failed_objects(room_with: Callable[..., Room], tmp_path: Path) -> None:
    """The same files, and a cache that holds all of them: the four that are there arrive."""
    room = room_with(cache_size=64 * MIB)
    run = PutRun(room.client, _vanishing(tmp_path / "tree"), BUCKET, settings=room.settings, clock=SwiftClock())
    result = run.run()
    assert {failure.key for failure in result.failures} == {"0", "1"}
    assert room.listed() == set("2345")
