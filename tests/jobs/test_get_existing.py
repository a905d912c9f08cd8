"""What a get does with files that are there already: the rules of `--if-exists`, room, and a disk that fills up."""

from __future__ import annotations

import errno
import random
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ds3tool.client import Ds3Client
from ds3tool.errors import Ds3Error, SinkError, UsageError
from ds3tool.jobs.ends import TargetObject
from ds3tool.jobs.existing import IfExists
from ds3tool.jobs.get import GetRun
from ds3tool.jobs.get_targets import Wanted
from ds3tool.jobs.plan import JobLimits
from ds3tool.jobs.run import RunResult
from ds3tool.protocol.model import JobStatus, ObjectHead
from ds3tool.sinks.local import LocalSink
from ds3tool.transport.bodies import BytesBody
from tests.jobs.rooms import BUCKET, MIB, Room

DATA = random.Random(21).randbytes(MIB + 300)
OTHER = DATA[:-1] + bytes([DATA[-1] ^ 1])


@pytest.fixture
def stocked(room: Room, tmp_path: Path) -> tuple[Room, Path]:
    """An appliance with four objects of the same bytes, and a folder that has two files and a folder in their place."""
    tree, target = tmp_path / "tree", tmp_path / "target"
    tree.mkdir()
    for name in ("blocked", "differs", "missing", "same"):
        (tree / name).write_bytes(DATA)
    assert room.put(tree).exit_code == 0
    (target / "blocked").mkdir(parents=True)
    (target / "blocked" / "mine").write_bytes(b"mine")
    (target / "same").write_bytes(DATA)
    (target / "differs").write_bytes(OTHER)
    return room, target


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


BEFORE = {"blocked/mine": b"mine", "same": DATA, "differs": OTHER}

# Rule, what fails, how many are skipped, and what the target then has beside `missing`.
RULES: list[tuple[IfExists, set[str], int, Mapping[str, bytes]]] = [
    (IfExists.SKIP_SAME, {"blocked", "differs"}, 1, BEFORE),
    (IfExists.SKIP, set(), 3, BEFORE),
    (IfExists.OVERWRITE, {"blocked"}, 1, {**BEFORE, "differs": DATA}),
    (IfExists.RENAME, set(), 1, {**BEFORE, "differs~1": DATA, "blocked~1": DATA}),
    (IfExists.FAIL, {"blocked", "differs", "same"}, 0, BEFORE),
]


@pytest.mark.parametrize(("rule", "failed", "skipped", "left"), RULES, ids=[rule.value for rule, *_ in RULES])
def test_each_rule_does_what_it_says_and_the_rest_goes_on(
    stocked: tuple[Room, Path], rule: IfExists, failed: set[str], skipped: int, left: Mapping[str, bytes]
) -> None:
    """What fails is named, what is not to be touched is not, and what was missing arrives."""
    room, target = stocked
    room.settings = replace(room.settings, if_exists=rule)
    got = room.get(target)
    assert {failure.key for failure in got.failures} == failed
    assert (got.skipped, got.exit_code) == (skipped, 3 if failed else 0)
    assert contents(target) == {**left, "missing": DATA}
    assert all(outcome.job.status is JobStatus.COMPLETED for outcome in got.jobs)


def test_a_file_has_no_versions(room: Room, tmp_path: Path) -> None:
    """`--if-exists version` is a mistake, said before anything is asked of the appliance."""
    room.settings = replace(room.settings, if_exists=IfExists.VERSION)
    with pytest.raises(UsageError, match="no versions"):
        room.get(tmp_path / "target")


@pytest.mark.parametrize("rule", [rule for rule in IfExists if rule not in {IfExists.FAIL, IfExists.VERSION}])
def test_folders_that_are_there_are_never_in_the_way(room: Room, tmp_path: Path, rule: IfExists) -> None:
    """A folder object whose folder is there is skipped, whatever the rule."""
    tree, target = tmp_path / "tree", tmp_path / "target"
    (tree / "empty").mkdir(parents=True)
    (target / "empty").mkdir(parents=True)
    room.put(tree)
    room.settings = replace(room.settings, if_exists=rule)
    got = room.get(target)
    assert (got.skipped, got.failures, got.jobs) == (1, [], [])


class HeadCounter(Ds3Client):
    """A client that counts what it is asked about."""

    heads: list[str]

    def head_object(self, bucket: str, key: str, *, version_id: str | None = None) -> ObjectHead:
        self.heads.append(key)
        return super().head_object(bucket, key, version_id=version_id)


def test_only_files_of_the_same_size_cost_a_question(stocked: tuple[Room, Path]) -> None:
    """One HEAD for each file that is there and may be the same; none for what is missing or of another size."""
    room, target = stocked
    (target / "differs").write_bytes(b"short")
    with room.connect() as plain:
        client = HeadCounter.over(plain.exchange)
        client.heads = []
        with closing(LocalSink(str(target))) as sink:
            listed = [listed for listed in room.client.list_objects(BUCKET) if listed.key != "blocked"]
            run = GetRun(client, sink, BUCKET, listed, name_of=str, settings=room.settings)
            planned = list(run.plans())
    assert [plan.keys for plan in planned] == [["missing"]]
    assert client.heads == ["same"]


def test_an_overwritten_file_stays_whole_until_the_new_one_is(stocked: tuple[Room, Path]) -> None:
    """A get that fails in the middle leaves the old file, byte for byte, and nothing beside it."""
    room, target = stocked
    room.settings = replace(room.settings, if_exists=IfExists.OVERWRITE)

    class Failing(LocalSink):
        def receive(self, item: TargetObject, *arguments: object, **named: object) -> str | None:
            digest = super().receive(item, *arguments, **named)  # type: ignore[arg-type]  # as they came
            if item.key == "differs":
                assert (target / "differs").read_bytes() == OTHER
                raise SinkError("it cannot be written any further")
            return digest

    got = room.get(Failing(str(target)))
    assert {failure.key for failure in got.failures} == {"blocked", "differs"}
    assert contents(target) == {**BEFORE, "missing": DATA}


def test_renamed_files_never_meet(room: Room, tmp_path: Path) -> None:
    """A name that one object was given by renaming is not free for another that has it by its key."""
    tree, target = tmp_path / "tree", tmp_path / "target"
    tree.mkdir()
    target.mkdir()
    for name in ("film.mov", "film~1.mov"):
        (tree / name).write_bytes(name.encode())
    room.put(tree)
    (target / "film.mov").write_bytes(b"mine")
    room.settings = replace(room.settings, if_exists=IfExists.RENAME)
    got = room.get(target)
    assert (got.objects, got.failures) == (2, [])
    assert (target / "film.mov").read_bytes() == b"mine"
    assert set(contents(target).values()) == {b"mine", b"film.mov", b"film~1.mov"}


def test_many_objects_for_an_empty_folder_cost_one_look_at_it_and_for_a_full_one_a_look_each(
    room: Room, tmp_path: Path
) -> None:
    """What is there is found in whatever folder; where nothing is, nobody asks for each name."""
    looked: list[str] = []

    class Looking(LocalSink):
        def existing_size(self, name: str) -> int | None:
            looked.append(name)
            return super().existing_size(name)

    target = tmp_path / "target"
    (target / "full").mkdir(parents=True)
    (target / "full/07").write_bytes(b"mine")
    (target / "empty").mkdir()
    keys = [f"{folder}/{number:02}" for number in range(10) for folder in ("empty", "full", "none/below")]
    listed = [Wanted(key, 1) for key in keys]
    settings = replace(room.settings, if_exists=IfExists.SKIP)
    with closing(Looking(str(target))) as sink:
        run = GetRun(room.client, sink, BUCKET, listed, name_of=str, settings=settings)
        (plan,) = run.plans()
    assert plan.keys == [key for key in keys if key != "full/07"]
    assert run.result.skipped == 1
    assert looked == ["empty/00", "full/00", "none/below/00", *(f"full/{number:02}" for number in range(1, 10))]


def test_what_has_come_into_an_empty_folder_between_two_jobs_is_seen(room: Room, tmp_path: Path) -> None:
    """A job, or somebody else meanwhile, fills a folder that was empty: the next job is planned by what is there."""
    tree, target = tmp_path / "tree", tmp_path / "target"
    tree.mkdir()
    for name in "abcdef":
        (tree / name).write_bytes(name.encode())
    room.put(tree)
    room.settings = replace(room.settings, if_exists=IfExists.SKIP, limits=JobLimits(3))

    def put_there(key: str, size: int, error: Ds3Error | None) -> None:
        (target / "e").write_bytes(b"mine")

    def prepare(run: GetRun) -> None:
        run.on_object = put_there

    got = room.get(target, prepare=prepare)
    assert (got.objects, got.skipped, got.failures) == (5, 1, [])
    assert contents(target) == {**{name: name.encode() for name in "abcdf"}, "e": b"mine"}


# -- room -------------------------------------------------------------------------------------------------------------


class Roomy(LocalSink):
    """A sink on a disk of a size of choice."""

    room = 0

    def free_bytes(self) -> int:
        return self.room


def test_what_is_replaced_makes_room_but_for_the_largest_file(stocked: tuple[Room, Path]) -> None:
    """Two objects come and one file goes: room for both is not needed, room for one is."""
    room, target = stocked
    room.settings = replace(room.settings, if_exists=IfExists.OVERWRITE)

    def get(free: int) -> RunResult:
        sink = Roomy(str(target))
        sink.room = free
        return room.get(sink)

    with pytest.raises(SinkError, match="the target has room for"):
        get(len(DATA) - 1)
    assert contents(target) == BEFORE
    assert get(len(DATA)).objects == 2


def test_two_objects_for_one_file_that_is_to_be_replaced_fail_by_name_in_several_jobs_too(
    stocked: tuple[Room, Path],
) -> None:
    """The first takes the old file's place, the others never the first one's."""
    room, target = stocked
    room.client.delete_object(BUCKET, "same")
    room.client.put_object(BUCKET, "same", BytesBody(b"another"))
    (target / "x").write_bytes(b"before")
    room.settings = replace(room.settings, if_exists=IfExists.OVERWRITE, limits=JobLimits(1))
    with closing(LocalSink(str(target))) as sink:
        wanted = [one for one in room.client.list_objects(BUCKET) if one.key in {"differs", "missing", "same"}]
        result = GetRun(room.client, sink, BUCKET, wanted, name_of=lambda _: "x", settings=room.settings).run()
    assert (target / "x").read_bytes() == DATA
    # The second is evaluated before the first has appeared; the third is the same as what has.
    assert (result.objects, result.exit_code) == (1, 3)
    assert "same" in {failure.key for failure in result.failures}


def test_a_disk_that_fills_up_ends_the_run_and_its_job(room: Room, tmp_path: Path) -> None:
    """The first object that finds it full ends the run; what had arrived stays, no part of a file is left."""
    tree, target = tmp_path / "tree", tmp_path / "target"
    tree.mkdir()
    for number in range(12):
        (tree / f"{number:02}").write_bytes(DATA)
    room.put(tree)
    created = list(room.recorder.jobs)

    class Full(LocalSink):
        def receive(self, item: TargetObject, *arguments: object, **named: object) -> str | None:
            if item.key >= "04":
                raise SinkError(f"{item.name} cannot be written") from OSError(errno.ENOSPC, "No space left on device")
            return super().receive(item, *arguments, **named)  # type: ignore[arg-type]  # as they came

    got = room.get(Full(str(target)))
    assert isinstance(got.stopped, SinkError)
    assert "full" in got.stopped.message
    assert got.exit_code == 3
    assert len(got.failures) >= 1
    assert len(contents(target)) == got.objects <= 4
    assert list(room.client.list_active_jobs(bucket=BUCKET)) == []
    (mine,) = [job for job in room.recorder.jobs if job not in created]
    assert room.client.get_job(mine).job.status is JobStatus.CANCELED
