"""A get that was interrupted anywhere is finished by a resume: nothing is fetched that is right there already."""

from __future__ import annotations

import os
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ds3tool.errors import InterruptedRunError, NotFoundError
from ds3tool.jobs import get_job
from ds3tool.jobs.existing import IfExists
from ds3tool.jobs.get import GetRun
from ds3tool.jobs.get_targets import Wanted
from ds3tool.jobs.plan import JobLimits
from ds3tool.jobs.run import RunResult
from ds3tool.protocol.model import Versioning
from ds3tool.protocol.ranges import ByteRange
from ds3tool.simulator import Quirk
from ds3tool.simulator.jobs.transfers import Transfers
from ds3tool.sinks.leftovers import part_name
from ds3tool.sources.local import LocalSource, Symlinks
from tests.jobs.interrupted import Moment
from tests.jobs.interrupted_get import WORK, CountingClient, GetWork
from tests.jobs.quick_clocks import AppliancesQuickClock, QuickClock
from tests.jobs.rooms import BUCKET, MIB, Meddler, Room
from tests.jobs.test_awkward_appliance import EVERY_QUIRK, EVERY_RELEASE

pytestmark = pytest.mark.usefixtures("lists_are_never_late")

MOMENTS = [
    *(Moment("planned", after=after) for after in (False, True)),
    *(Moment("created", after=after) for after in (False, True)),
    *(Moment("moved", times, after) for times in (1, 17, 34) for after in (False, True)),
    *(Moment("appeared", after=after) for after in (False, True)),
    *(Moment("finished", after=after) for after in (False, True)),
]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, int]]:
    """Count how often each blob was asked for as one of a job, by key and offset, and given."""
    gone: Counter[tuple[str, int]] = Counter()
    serve = Transfers.get_in_job

    def counting(self: Transfers, bucket: object, name: str, *arguments: object, **named: object) -> object:
        result = serve(self, bucket, name, *arguments, **named)  # type: ignore[arg-type]  # handed through
        gone[name, int(str(named["offset"]))] += 1
        return result

    monkeypatch.setattr(Transfers, "get_in_job", counting)
    return gone


def make_tree(root: Path, *, small: int = 25, large: int = 3) -> None:
    """Make a tree of small files, an empty one, an empty folder, and large files of three blobs each."""
    (root / "sub" / "nothing").mkdir(parents=True)
    (root / "sub" / "empty").touch()
    for number in range(small):
        (root / "sub" / f"small {number:02d}").write_bytes(random.Random(number).randbytes(1 + number * 997))
    for number in range(large):
        (root / f"large {number}").write_bytes(random.Random(number).randbytes(2 * MIB + 1000 + number))


def twice(served: Counter[tuple[str, int]]) -> dict[tuple[str, int], int]:
    """Return what was given more than once; but for what has no bytes, which costs nothing."""
    return {blob: times for blob, times in served.items() if times > 1 and blob[0] not in {"sub/nothing/", "sub/empty"}}


def contents(root: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None
        for path in root.rglob("*")
        if path.is_file() or not any(path.iterdir())
    }


@pytest.fixture
def work(room: Room, tmp_path: Path) -> GetWork:
    """A get of a small tree that has not begun."""
    return work_in(room, tmp_path)


def work_in(room: Room, tmp_path: Path, **tree: int) -> GetWork:
    make_tree(tmp_path / "tree", **tree)
    assert room.put(tmp_path / "tree").exit_code == 0
    room.until_idle()
    return GetWork(room, tmp_path / "work", tmp_path / "restored")


def assert_whole(work: GetWork, tmp_path: Path) -> None:
    """See that the target holds the tree and nothing else, that nothing is left to do, and no job open."""
    assert contents(work.target) == contents(tmp_path / "tree")
    assert work.parts() == []
    assert work.unfinished == 0
    work.room.until_idle()


def large(served: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], int]:
    """Return what is not of small files: those have no name before they are whole and safe, and go with the process."""
    return {blob: times for blob, times in served.items() if not blob[0].startswith("sub/small")}


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("moment", "unnamed"),
    [
        pytest.param(moment, unnamed, id=f"{moment}-{'unnamed' if unnamed else 'named'}")
        for moment in MOMENTS
        for unnamed in (False, True)
        if not (unnamed and moment.told in {"appeared", "finished"})  # nothing appears before the process is gone
    ],
)
def test_get_killed_at_any_step_is_finished_by_a_resume(
    work: GetWork, tmp_path: Path, moment: Moment, served: Counter[tuple[str, int]], *, unnamed: bool
) -> None:
    """No blob that was on the disk under any name is fetched again, recorded or not; all is there, and no more."""
    work.unnamed = unnamed
    assert work.get(dies=moment) is None
    there = work.recorded() | {blob for blob in served if (work.target / blob[0]).is_file()}
    assert len(there) >= (moment.times if moment.told == "moved" and moment.after else 0)
    result = work.resume()
    assert (result.failures, result.stopped, result.exit_code) == ([], None, 0)
    assert not there & set(large(twice(served)) if unnamed else twice(served))
    assert max(twice(served).values(), default=2) == 2
    assert_whole(work, tmp_path)


def test_a_second_kill_and_a_third_lose_nothing(
    work: GetWork, tmp_path: Path, served: Counter[tuple[str, int]]
) -> None:
    """However often the process is gone, the next one goes on."""
    assert work.get(dies=Moment("moved", 9)) is None
    for times in (2, 3, 1, 4):
        assert work.try_resume(dies=Moment("moved", times, after=times % 2 == 0)) is None
    recorded = work.recorded()
    before = Counter(served)
    assert work.resume().exit_code == 0
    assert not [blob for blob in recorded if served[blob] > before[blob]]
    assert_whole(work, tmp_path)


def spoil(work: GetWork, offset: int, size: int) -> None:
    """Change a byte of an unfinished file."""
    [part] = [one for one in work.parts() if one.stat().st_size == size]
    with part.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1]))


@pytest.mark.parametrize("cached", [True, False])
def test_only_the_blob_that_went_bad_on_the_disk_is_fetched_again(
    room: Room,
    tmp_path: Path,
    served: Counter[tuple[str, int]],
    monkeypatch: pytest.MonkeyPatch,
    *,
    cached: bool,
) -> None:
    """A blob that the job does not list any more is asked for again where it is in the cache, else in a new job."""
    work = work_in(room, tmp_path, small=0, large=2)
    room.settings = replace(room.settings, engine=replace(room.settings.engine, transfers=1))
    work.unnamed = True
    assert work.get(dies=Moment("moved", 4, after=True)) is None
    recorded = work.recorded()
    key, offset = min(blob for blob in recorded if blob[0].startswith("large"))
    spoil(work, offset + 7, 2 * MIB + 1000 + int(key[-1]))
    if not cached:
        monkeypatch.setattr(CountingClient, "cached", False)
    result = work.resume()
    assert (result.failures, result.stopped, result.exit_code) == ([], None, 0)
    assert {blob: times for blob, times in twice(served).items() if blob in recorded} == {(key, offset): 2}
    assert len(result.jobs) == (1 if cached else 2)
    assert_whole(work, tmp_path)


def test_nothing_is_fetched_of_objects_that_are_whole_on_the_disk(
    work: GetWork, tmp_path: Path, served: Counter[tuple[str, int]]
) -> None:
    """Killed when all had come and nothing had its name: the next run names them, and asks for no byte."""
    work.unnamed, work.hidden = True, False
    assert work.get(dies=Moment("moved", 34, after=True)) is None
    result = work.resume()
    assert (result.failures, result.exit_code) == ([], 0)
    assert twice(served) == {}
    assert work.client.bytes == 0
    assert_whole(work, tmp_path)


# -- a blob that was cut ----------------------------------------------------------------------------------------------

# So much more than was taken that it does not fit into the sockets on the way: the appliance knows it was not read.
CUT = 24 * MIB


@pytest.fixture
def cut(room_with: Callable[..., Room], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GetWork:
    """A get of one blob of 24 MiB that was killed in its middle, which was recorded."""
    monkeypatch.setattr(get_job, "_ARRIVING_SECONDS", 0.0)
    room = room_with(blob_size=32 * MIB, chunk_size=32 * MIB, cache_size=128 * MIB)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "film").write_bytes(random.Random(3).randbytes(CUT))
    assert room.put(tmp_path / "tree").exit_code == 0
    room.until_idle()
    work = GetWork(room, tmp_path / "work", tmp_path / "restored", cut=MIB)
    assert work.get(dies=Moment("arriving", 2, after=True)) is None
    [remainder] = work.remainders()
    assert MIB <= remainder.arriving[0].done < CUT // 2
    return work


def test_a_cut_blob_is_continued_by_range(cut: GetWork, tmp_path: Path) -> None:
    """What was written before it is hashed, and only the rest is fetched; the joined bytes are verified."""
    [remainder] = cut.remainders()
    done = remainder.arriving[0].done
    result = cut.resume()
    assert (result.failures, result.exit_code, result.unverified) == ([], 0, 0)
    [(key, [rest])] = [(key, list(ranges)) for key, ranges in cut.client.ranges]
    assert (key, rest) == ("film", ByteRange(done, CUT))
    assert cut.client.bytes == CUT - done
    assert_whole(cut, tmp_path)


def test_a_cut_blob_that_went_bad_is_fetched_whole(cut: GetWork, tmp_path: Path) -> None:
    """The joined digest is wrong, and then all of it is fetched once more."""
    spoil(cut, 5, CUT)
    result = cut.resume()
    assert (result.failures, result.exit_code, result.unverified) == ([], 0, 0)
    assert cut.client.fetched == {("film", 0): 2}
    assert len(cut.client.ranges) == 1
    assert_whole(cut, tmp_path)


def test_a_cut_blob_whose_file_is_gone_is_fetched_whole(cut: GetWork, tmp_path: Path) -> None:
    """Nothing is taken for there that is not."""
    for part in cut.parts():
        part.unlink()
    assert cut.resume().exit_code == 0
    assert (cut.client.ranges, cut.client.fetched) == ([], {("film", 0): 1})
    assert_whole(cut, tmp_path)


def test_a_cut_blob_of_a_job_that_is_over_is_continued_in_a_new_one(cut: GetWork, tmp_path: Path) -> None:
    """What is on the disk outlives the job."""
    [remainder] = cut.remainders()
    assert remainder.job_id is not None
    cut.room.client.cancel_job(remainder.job_id)
    result = cut.resume(anew=True)
    assert (result.failures, result.exit_code, result.unverified) == ([], 0, 0)
    assert cut.client.bytes == CUT - remainder.arriving[0].done
    assert_whole(cut, tmp_path)


def test_small_files_that_had_no_name_are_fetched_again_and_appear_once(
    work: GetWork, tmp_path: Path, served: Counter[tuple[str, int]]
) -> None:
    """Killed when all had come: what had no name is gone with the process, and nothing says that it is there."""
    work.unnamed = True
    assert work.get(dies=Moment("moved", 34, after=True)) is None
    assert [part for part in work.parts() if part.stat().st_size < MIB] == []
    result = work.resume()
    assert (result.failures, result.exit_code) == ([], 0)
    assert twice(served) == {(f"sub/small {number:02d}", 0): 2 for number in range(25)}
    assert_whole(work, tmp_path)


# -- a job that is over -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unnamed", [False, True])
def test_what_is_missing_of_a_cancelled_job_is_planned_anew_when_asked(
    room: Room, tmp_path: Path, served: Counter[tuple[str, int]], *, unnamed: bool
) -> None:
    """Nothing that is on the disk is fetched by the new job, not even blobs of half-fetched objects."""
    work = work_in(room, tmp_path, small=60)  # far more than may be on its way when the process goes
    work.unnamed = unnamed
    assert work.get(dies=Moment("moved", 20, after=True)) is None
    recorded = work.recorded()
    [remainder] = work.remainders()
    assert remainder.job_id is not None
    work.room.client.cancel_job(remainder.job_id)
    refused = work.resume()
    assert refused.exit_code == 12
    result = work.resume(anew=True)
    assert (result.failures, result.stopped, result.exit_code) == ([], None, 0)
    assert not recorded & set(large(twice(served)) if unnamed else twice(served))
    assert_whole(work, tmp_path)


def test_a_plan_whose_job_was_never_created_is_done_afresh(
    work: GetWork, tmp_path: Path, served: Counter[tuple[str, int]]
) -> None:
    """Also the jobs behind it, of which nothing was begun."""
    work.settings = replace(work.room.settings, limits=JobLimits(10))
    assert work.get(dies=Moment("created", 2)) is None
    result = work.resume()
    assert (result.failures, result.exit_code) == ([], 0)
    assert twice(served) == {}
    assert_whole(work, tmp_path)


# -- names that are there ---------------------------------------------------------------------------------------------


def test_a_file_that_came_since_fails_by_name(work: GetWork, tmp_path: Path) -> None:
    """Somebody's file of other bytes is left alone, and the rest goes on; one of the same bytes is taken for it."""
    assert work.get(dies=Moment("created", after=True)) is None
    (work.target / "sub").mkdir(parents=True)
    (work.target / "sub" / "small 03").write_bytes(b"somebody's")
    same = (tmp_path / "tree" / "sub" / "small 04").read_bytes()
    (work.target / "sub" / "small 04").write_bytes(same)
    result = work.resume()
    assert [failure.key for failure in result.failures] == ["sub/small 03"]
    assert result.exit_code == 3
    expected = contents(tmp_path / "tree") | {"sub/small 03": b"somebody's"}
    assert contents(work.target) == expected
    work.room.until_idle()


def test_what_was_to_be_replaced_is_replaced_by_the_resumed_run(
    work: GetWork, tmp_path: Path, served: Counter[tuple[str, int]]
) -> None:
    """Old files stay until the new ones are whole; those that were replaced before the kill are not fetched again."""
    work.settings = replace(work.room.settings, if_exists=IfExists.OVERWRITE)
    (work.target / "sub").mkdir(parents=True)
    for number in range(25):
        (work.target / "sub" / f"small {number:02d}").write_bytes(b"old")
    assert work.get(dies=Moment("moved", 15, after=True)) is None
    tree = contents(tmp_path / "tree")
    there = {name: data for name, data in contents(work.target).items() if ".ds3tool" not in name}
    assert all(data in {b"old", tree[name]} for name, data in there.items())
    replaced = {name for name, data in there.items() if data != b"old"}
    recorded = work.recorded()
    assert work.resume().exit_code == 0
    assert not [blob for blob in twice(served) if blob in recorded or blob[0] in replaced]
    assert_whole(work, tmp_path)


def test_ranges_that_have_their_name_unrecorded_are_known_by_their_bytes(work: GetWork, tmp_path: Path) -> None:
    """There is no digest of them: they are fetched again and compared, and a file of other bytes is left alone."""
    ranges = (ByteRange(10, MIB + 5),)
    work.wanted = lambda: [Wanted(f"large {number}", 2 * MIB + 1000 + number, ranges=ranges) for number in range(2)]
    assert work.get(dies=Moment("appeared")) is None
    (work.target / "large 1").write_bytes(bytes(MIB - 5))
    result = work.resume()
    assert [failure.key for failure in result.failures] == ["large 1"]
    assert (work.target / "large 0").read_bytes() == (tmp_path / "tree" / "large 0").read_bytes()[10 : MIB + 5]
    assert (work.target / "large 1").read_bytes() == bytes(MIB - 5)
    assert work.parts() == []
    work.room.until_idle()


def test_leftovers_of_a_kill_in_the_middle_of_a_naming_are_swept(work: GetWork, tmp_path: Path) -> None:
    """A file that has both names, and a link that has only its hidden one, leave nothing hidden behind."""
    assert work.get(dies=Moment("appeared")) is None
    [remainder] = work.remainders()
    item = remainder.plan.target_object(remainder.plan.keys.index("large 0"))
    os.link(work.target / "large 0", work.target / part_name(WORK, item))
    assert work.resume().exit_code == 0
    assert_whole(work, tmp_path)


# -- objects that are others now --------------------------------------------------------------------------------------


@pytest.mark.parametrize("cached", [True, False])
def test_bytes_of_an_object_that_was_replaced_are_never_joined_with_others(
    room_with: Callable[..., Room], tmp_path: Path, *, cached: bool
) -> None:
    """What is on the disk of the old one is thrown away; what appears is wholly one of the two, or nothing."""
    room = room_with(versioning=Versioning.KEEP_LATEST)
    work = work_in(room, tmp_path, small=0, large=1)
    work.unnamed = True
    old = (tmp_path / "tree" / "large 0").read_bytes()
    new = random.Random(77).randbytes(len(old))
    assert work.get(dies=Moment("moved", 4, after=True)) is None
    (tmp_path / "tree" / "large 0").write_bytes(new)
    room.settings = replace(room.settings, if_exists=IfExists.OVERWRITE)
    assert room.put(tmp_path / "tree").failures == []
    if not cached:
        room.client.reclaim_cache()
    result = work.resume()
    there = work.target / "large 0"
    if result.failures:
        assert not there.exists()
    else:
        assert there.read_bytes() in {old, new}
    assert work.parts() == []


# -- attributes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unnamed", [False, True])
def test_attributes_links_and_holes_come_back_also_of_what_is_not_fetched_again(
    room: Room, tmp_path: Path, served: Counter[tuple[str, int]], *, unnamed: bool
) -> None:
    """--preserve of files whose bytes were all on the disk: modes, times, links and holes are those that were put."""
    tree = tmp_path / "tree"
    (tree / "folder" / "hollow").mkdir(parents=True)
    (tree / "folder" / "hollow").chmod(0o750)
    (tree / "folder" / "file").write_bytes(b"x" * 5000)
    (tree / "folder" / "file").chmod(0o640)
    (tree / "folder" / "link").symlink_to("file")
    with (tree / "holes").open("wb") as file:
        file.write(b"begin")
        file.seek(3 * MIB)
        file.write(b"end")
    for path in (tree / "folder" / "file", tree / "holes", tree / "folder" / "hollow"):
        os.utime(path, ns=(10**18 + 5, 10**18 + 7))

    assert room.put(LocalSource(str(tree), prefix="", symlinks=Symlinks.STORE, preserve=True)).exit_code == 0
    room.until_idle()
    work = GetWork(room, tmp_path / "work", tmp_path / "restored", sink={"preserve": True}, unnamed=unnamed)
    count = len(list(room.client.list_objects(BUCKET)))
    assert work.get(dies=Moment("moved", count + 3, after=True)) is None
    result = work.resume()
    assert (result.failures, result.exit_code) == ([], 0)
    assert twice(served) == {}
    assert os.readlink(work.target / "folder" / "link") == "file"
    assert (work.target / "folder" / "file").stat().st_mode & 0o777 == 0o640
    for name in ("folder/file", "folder/link", "folder/hollow", "holes"):
        assert (work.target / name).lstat().st_mtime_ns == (tree / name).lstat().st_mtime_ns
        assert (work.target / name).lstat().st_mode == (tree / name).lstat().st_mode
        assert not (tree / name).is_file() or (work.target / name).read_bytes() == (tree / name).read_bytes()
    assert (work.target / "holes").stat().st_blocks * 512 < MIB
    assert work.parts() == []


# -- room -------------------------------------------------------------------------------------------------------------


def test_the_room_that_unfinished_files_have_taken_is_not_asked_for_again(cut: GetWork, tmp_path: Path) -> None:
    """A target with room for nothing more goes on with a file that has its room already."""

    def crowded(run: GetRun) -> None:
        run._sink.free_bytes = lambda: 4096  # type: ignore[method-assign]

    cut.prepare = crowded
    assert cut.resume().exit_code == 0
    assert_whole(cut, tmp_path)


def test_a_target_without_room_for_the_rest_says_so_and_leaves_the_job_to_be_resumed(
    work: GetWork, tmp_path: Path
) -> None:
    """Nothing is moved, and the next resume finishes it."""
    assert work.get(dies=Moment("moved", 5)) is None

    def crowded(run: GetRun) -> None:
        run._sink.free_bytes = lambda: 4096  # type: ignore[method-assign]

    work.prepare = crowded
    result = work.resume()
    assert result.stopped is not None
    assert "room" in result.stopped.message
    assert "resume" in (result.stopped.hint or "")
    work.prepare = lambda run: None
    assert work.resume().exit_code == 0
    assert_whole(work, tmp_path)


# -- in the same process ----------------------------------------------------------------------------------------------


def test_a_stopped_get_keeps_what_it_has_and_a_resume_fetches_the_rest(
    work: GetWork, tmp_path: Path, served: Counter[tuple[str, int]]
) -> None:
    """The first Ctrl-C: what is on its way ends, nothing new is begun, the parts stay, and no blob comes twice."""

    def stopped(run: GetRun, _: object) -> RunResult:
        receive = run._sink.receive

        def last(*arguments: Any, **named: Any) -> str | None:  # noqa: ANN401
            run.stop()
            return receive(*arguments, **named)

        run._sink.receive = last  # type: ignore[method-assign]
        return run.run()

    work.unnamed = True
    result = work.run(stopped)
    assert result is not None
    assert isinstance(result.stopped, InterruptedRunError)
    assert "ds3tool resume" in (result.stopped.hint or "")
    assert work.unfinished == 1
    assert work.parts()
    assert work.resume().exit_code == 0
    assert twice(served) == {}
    assert_whole(work, tmp_path)


@pytest.mark.parametrize("lasting", [False, True])
def test_a_job_that_expires_is_planned_anew_and_nothing_is_fetched_twice(
    room: Room, tmp_path: Path, served: Counter[tuple[str, int]], *, lasting: bool
) -> None:
    """In the run that meets it, with a journal and without: what is on the disk is not asked of the new job."""
    work = work_in(room, tmp_path, large=6)
    room.appliance.faults.set("job-expired", 1.0, most=1)
    room.settings = replace(room.settings, engine=replace(room.settings.engine, transfers=1))
    if lasting:
        result = work.get()
        assert result is not None
    else:
        result = room.get(work.target)
    assert room.appliance.faults.struck("job-expired") == 1
    assert (result.failures, result.stopped, result.exit_code) == ([], None, 0)
    assert len(result.jobs) == 2
    assert contents(work.target) == contents(tmp_path / "tree")
    assert work.parts() == []


def test_where_the_appliance_states_no_digests_all_of_an_unfinished_object_is_fetched_again(
    room: Room, tmp_path: Path
) -> None:
    """Nothing can be held against anything then: what has appeared stays, and the rest comes whole."""
    work = work_in(room, tmp_path, small=0, large=2)
    room.settings = replace(room.settings, engine=replace(room.settings.engine, transfers=1))
    work.unnamed = True
    assert work.get(dies=Moment("moved", 4, after=True)) is None
    meddler = Meddler(room.appliance)
    digests = re.compile(rb"(?i)\r\n(Content-MD5|ds3-blob-checksum[a-z0-9-]*):")
    meddler.to_client = lambda reply: digests.sub(b"\r\nX-Was:", reply)
    work.endpoint = meddler.endpoint
    with closing(meddler):
        result = work.resume()
    assert (result.failures, result.exit_code) == ([], 0)
    assert result.unverified == 6
    assert_whole(work, tmp_path)


def test_a_plan_may_be_all_there_already(work: GetWork, tmp_path: Path, served: Counter[tuple[str, int]]) -> None:
    """Killed behind the last name, before that was recorded: nothing is asked for, and the work is done."""
    assert work.get(dies=Moment("appeared")) is None
    given = sum(served.values())
    assert contents(work.target) == contents(tmp_path / "tree")
    result = work.resume()
    assert (result.failures, result.exit_code) == ([], 0)
    assert sum(served.values()) <= given + 2  # an appliance that lags may still list what has no bytes
    assert_whole(work, tmp_path)


# -- whatever the appliance is like -----------------------------------------------------------------------------------


@pytest.mark.sampled(3)
@pytest.mark.parametrize("quirks", [*EVERY_QUIRK, *EVERY_RELEASE])
def test_resume_under_every_quirk_and_release(
    room_with: Callable[..., Room], tmp_path: Path, quirks: frozenset[Quirk]
) -> None:
    """Killed twice, the second time with a blob gone bad on the disk: all comes, and nothing is left behind."""
    room = room_with(quirks=quirks, clock=AppliancesQuickClock())
    room.settings = replace(room.settings, engine=replace(room.settings.engine, transfers=2))
    work = work_in(room, tmp_path, small=6, large=2)
    work.unnamed, work.clock = True, QuickClock()
    assert work.get(dies=Moment("moved", 6, after=True)) is None
    if work.try_resume(dies=Moment("moved", 2, after=True)) is None:
        for part in work.parts():
            if part.stat().st_size > 2 * MIB:
                with part.open("r+b") as file:
                    file.write(b"gone bad")
        result = work.resume()
        assert (result.failures, result.stopped, result.exit_code) == ([], None, 0)
    assert_whole(work, tmp_path)


def _campaign(room: Room, tmp_path: Path, chance: random.Random, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill a get again and again at random steps, under faults, with parts that go bad and jobs that end; finish it."""
    monkeypatch.setattr(get_job, "_ARRIVING_SECONDS", 0.0)
    monkeypatch.setattr(get_job, "_ARRIVING_BYTES", 100_000)
    monkeypatch.setattr(CountingClient, "cached", chance.random() < 0.7)
    work = work_in(room, tmp_path, small=chance.randrange(12), large=chance.randrange(1, 6))
    room.settings = replace(room.settings, engine=replace(room.settings.engine, transfers=chance.randrange(1, 4)))
    for fault in ("short-get", "corrupt-get", "lost-reply", "chunk-twice", "chunk-out-of-order", "slow"):
        if chance.random() < 0.4:
            room.appliance.faults.set(fault, 0.1)
    for _ in range(chance.randrange(1, 5)):
        told = chance.choice(["moved", "moved", "moved", "appeared", "arriving", "noted", "created", "finished"])
        work.unnamed = chance.random() < 0.5 and told != "appeared"
        moment = Moment(told, chance.randrange(1, 9) if told == "moved" else 1, after=chance.random() < 0.5)
        died = (work.get if work.journal is None else work.try_resume)(dies=moment) is None
        if not died:
            break
        for part in work.parts():
            if chance.random() < 0.2 and part.is_file() and part.stat().st_size:
                with part.open("r+b") as file:
                    file.seek(chance.randrange(part.stat().st_size))
                    file.write(b"bad")
        for remainder in work.remainders():
            if remainder.job_id is not None and chance.random() < 0.15:
                with suppress(NotFoundError):
                    room.client.cancel_job(remainder.job_id)
    room.appliance.faults.clear()
    result = work.resume(anew=True)
    assert (result.failures, result.stopped, result.exit_code) == ([], None, 0)
    assert_whole(work, tmp_path)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_to_a_get_a_resume_finishes_it(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Kills at random steps, spoiled answers, parts that go bad, jobs that are cancelled: every byte is right."""
    _campaign(room, tmp_path, random.Random(seed), monkeypatch)


@pytest.mark.more
@pytest.mark.parametrize("seed", range(100, 160))
def test_whatever_happens_to_many_gets_a_resume_finishes_them(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """The same, sixty times."""
    _campaign(room, tmp_path, random.Random(seed), monkeypatch)
