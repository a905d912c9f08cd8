"""The memory of what was had: no hour is lost, none is had twice, and only what is archived counts."""

from __future__ import annotations

import multiprocessing
import sqlite3
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ds3tool.errors import ConfigError, JournalError, LockedError
from ds3tool.lotame.model import FeedUpdates, S3Location, Updates
from ds3tool.lotame.watermark import FOLDER, OVERLAP, HadFile, Watermarks, plain_etag

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
HERE = "ds3://archive/lotame/"


def answer(files: Iterable[str], *, since: datetime | None, at: datetime, feed: int = 9001) -> Updates:
    return Updates((FeedUpdates(feed, S3Location("b", "4321/na/cookie"), tuple(files)),), since, at, b"{}\n")


def have(marks: Watermarks, files: Iterable[str], feed: int = 9001) -> None:
    found = [HadFile(feed, file, f"etag-of-{file}") for file in files]
    for one in found:
        marks.recall(one.feed_id, one.file, one.etag)
    marks.had(found)


def test_a_feed_never_had_is_asked_for_from_the_beginning(tmp_path: Path) -> None:
    """Nothing is known of it: no watermark, no `since`."""
    with Watermarks.open(tmp_path, HERE) as marks:
        assert (marks.since(9001), marks.watermark(9001), marks.feeds()) == (None, None, [])
        assert not marks.advance(9001)


def test_the_next_question_overlaps_the_last(tmp_path: Path) -> None:
    """Once all is archived the mark stands at the answer, and the next question begins an overlap before it."""
    with Watermarks.open(tmp_path, HERE) as marks:
        marks.asked(answer(["a", "b"], since=None, at=NOON))
        have(marks, ["a", "b"])
        assert marks.advance(9001)
    with Watermarks.open(tmp_path, HERE) as marks:
        assert marks.watermark(9001) == NOON
        assert marks.since(9001) == NOON - OVERLAP
        assert marks.feeds() == [9001]


def test_a_file_that_failed_holds_the_mark(tmp_path: Path) -> None:
    """One file of three is not archived: the next question begins where this one did, and only that file is left."""
    with Watermarks.open(tmp_path, HERE) as marks:
        marks.asked(answer([], since=None, at=NOON))
        assert marks.advance(9001)
        marks.asked(answer(["a", "b", "c"], since=marks.since(9001), at=NOON + 2 * HOUR))
        have(marks, ["a", "c"])
        assert not marks.advance(9001)
        assert marks.outstanding(9001) == ["b"]
    with Watermarks.open(tmp_path, HERE) as marks:
        since = marks.since(9001)
        assert since == NOON - OVERLAP
        marks.asked(answer(["a", "b", "c", "d"], since=since, at=NOON + 3 * HOUR))
        assert [file for file in "abcd" if not marks.recall(9001, file, f"etag-of-{file}")] == ["b", "d"]
        assert marks.outstanding(9001) == ["b", "d"]
        have(marks, ["b", "d"])
        assert marks.advance(9001)
        assert marks.watermark(9001) == NOON + 3 * HOUR


def test_another_etag_is_another_file(tmp_path: Path) -> None:
    """A file whose bytes have changed under its name is not had, and holds the mark until it is."""
    with Watermarks.open(tmp_path, HERE) as marks:
        marks.asked(answer(["a"], since=None, at=NOON))
        have(marks, ["a"])
        marks.asked(answer(["a"], since=None, at=NOON + HOUR))
        assert not marks.recall(9001, "a", "another")
        assert not marks.advance(9001)
        marks.had([HadFile(9001, "a", "another")])
        assert marks.advance(9001)
        assert marks.recall(9001, "a", "etag-of-a")
        assert marks.recall(9001, "a", '"another"')


def test_an_earlier_state_of_a_file_does_not_stand_for_the_one_that_is_there(tmp_path: Path) -> None:
    """A run that is resumed archives what a file was; what it is since a later run looked stays outstanding."""
    with Watermarks.open(tmp_path, HERE) as marks:
        marks.asked(answer(["a"], since=None, at=NOON))
        assert not marks.recall(9001, "a", "first")
    with Watermarks.open(tmp_path, HERE) as marks:
        marks.asked(answer(["a"], since=marks.since(9001), at=NOON + HOUR))
        assert not marks.recall(9001, "a", "second")
    with Watermarks.open(tmp_path, HERE) as marks:
        marks.had([HadFile(9001, "a", "first")])
        assert marks.outstanding(9001) == ["a"]
        assert not marks.advance(9001)
        marks.had([HadFile(9001, "a", '"second"')])
        assert marks.advance(9001)


def test_what_was_not_looked_at_since_it_was_asked_for_stays_outstanding(tmp_path: Path) -> None:
    """A run that was killed before it looked does not know what a file is now: who resumes the last moves no mark."""
    with Watermarks.open(tmp_path, HERE) as marks:
        marks.asked(answer(["a"], since=None, at=NOON))
        marks.had([HadFile(9001, "a", "first")])
        assert not marks.advance(9001)
        marks.asked(answer(["a"], since=marks.since(9001), at=NOON + HOUR))
        assert marks.recall(9001, "a", "first")
        assert marks.advance(9001)


def test_a_file_that_is_another_after_it_was_had_is_outstanding_again(tmp_path: Path) -> None:
    """Whoever looks once more, and finds other bytes under its name, holds the mark until those are had."""
    with Watermarks.open(tmp_path, HERE) as marks:
        marks.asked(answer(["a"], since=None, at=NOON))
        have(marks, ["a"])
        assert not marks.recall(9001, "a", "another")
        assert not marks.advance(9001)


def test_one_feeds_file_is_not_anothers(tmp_path: Path) -> None:
    """Two feeds may have files of one name and even of one ETag."""
    with Watermarks.open(tmp_path, HERE) as marks:
        marks.asked(answer(["a"], since=None, at=NOON))
        have(marks, ["a"])
        assert not marks.recall(9002, "a", "etag-of-a")


def test_one_destination_is_not_another(tmp_path: Path) -> None:
    """What one archive has, another lacks; both may be worked on at once."""
    with Watermarks.open(tmp_path, HERE) as marks, Watermarks.open(tmp_path, "ds3://other/") as others:
        marks.asked(answer(["a"], since=None, at=NOON))
        have(marks, ["a"])
        marks.advance(9001)
        assert others.watermark(9001) is None
        assert not others.recall(9001, "a", "etag-of-a")


def test_a_question_that_left_a_gap_moves_nothing(tmp_path: Path) -> None:
    """Who asked only for the last hour has not had the hours between that and the mark."""
    with Watermarks.open(tmp_path, HERE) as marks:
        marks.asked(answer([], since=None, at=NOON))
        marks.advance(9001)
        marks.asked(answer(["z"], since=NOON + 9 * HOUR, at=NOON + 10 * HOUR))
        have(marks, ["z"])
        assert not marks.advance(9001)
        assert marks.watermark(9001) == NOON
        marks.asked(answer(["z"], since=marks.since(9001), at=NOON + 11 * HOUR))
        assert marks.recall(9001, "z", "etag-of-z")
        assert marks.advance(9001)


def test_a_shorter_question_forgets_no_file_left_behind(tmp_path: Path) -> None:
    """A file that failed is asked for again, though a later question did not reach back to it and had all it named."""
    with Watermarks.open(tmp_path, HERE, overlap=6 * HOUR) as marks:
        marks.asked(answer([], since=None, at=NOON))
        marks.advance(9001)
        long_ago = marks.since(9001)
        marks.asked(answer(["late"], since=long_ago, at=NOON + HOUR))
    with Watermarks.open(tmp_path, HERE, overlap=HOUR) as marks:
        marks.asked(answer([], since=NOON - HOUR, at=NOON + 2 * HOUR))
        assert not marks.advance(9001)
        assert marks.since(9001) == long_ago
        marks.asked(answer(["late"], since=long_ago, at=NOON + 3 * HOUR))
        have(marks, ["late"])
        assert marks.advance(9001)
        assert marks.since(9001) == NOON + 2 * HOUR


def test_a_first_question_that_failed_in_part_is_asked_again(tmp_path: Path) -> None:
    """Without any mark yet, the next question begins where a person let the first begin."""
    with Watermarks.open(tmp_path, HERE) as marks:
        marks.asked(answer(["a"], since=NOON - 9 * HOUR, at=NOON))
        assert not marks.advance(9001)
        assert marks.since(9001) == NOON - 9 * HOUR


def test_the_mark_never_moves_back(tmp_path: Path) -> None:
    """An answer by a clock that was set back leaves the mark where it is."""
    with Watermarks.open(tmp_path, HERE) as marks:
        marks.asked(answer([], since=None, at=NOON))
        marks.advance(9001)
        marks.asked(answer([], since=None, at=NOON - HOUR))
        assert marks.advance(9001)
        assert marks.watermark(9001) == NOON


def test_a_time_that_only_our_clock_tells_moves_the_mark_no_further_than_files_reach(tmp_path: Path) -> None:
    """Of an answer without its time, the newest file's is taken; without files nothing moves: no hour is skipped."""
    ahead = timedelta(days=9)
    with Watermarks.open(tmp_path, HERE) as marks:
        marks.asked(replace(answer([], since=None, at=NOON + ahead), is_dated=False))
        assert not marks.advance(9001)
        assert (marks.since(9001), marks.watermark(9001)) == (None, None)
        marks.asked(replace(answer(["a", "b"], since=None, at=NOON + ahead), is_dated=False))
        for name, hours in (("a", 2), ("b", 1)):
            assert not marks.recall(9001, name, "e", modified=NOON + hours * HOUR)
            marks.had([HadFile(9001, name, "e")])
        assert marks.advance(9001)
        assert marks.watermark(9001) == NOON + 2 * HOUR
        assert marks.recall(9001, "a", "e")
        marks.asked(replace(answer([], since=marks.since(9001), at=NOON + ahead), is_dated=False))
        assert not marks.advance(9001)
        assert marks.watermark(9001) == NOON + 2 * HOUR
        marks.asked(answer([], since=marks.since(9001), at=NOON + 4 * HOUR))
        assert marks.advance(9001)
        assert marks.watermark(9001) == NOON + 4 * HOUR


def test_a_clock_that_is_behind_moves_the_mark_no_further_than_it_tells(tmp_path: Path) -> None:
    """A file that is younger than our clock says moves the mark to our time only."""
    with Watermarks.open(tmp_path, HERE) as marks:
        marks.asked(replace(answer(["a"], since=None, at=NOON), is_dated=False))
        marks.recall(9001, "a", "e", modified=NOON + HOUR)
        marks.had([HadFile(9001, "a", "e")])
        assert marks.advance(9001)
        assert marks.watermark(9001) == NOON


def test_what_is_long_past_is_forgotten(tmp_path: Path) -> None:
    """A file that no answer has named for weeks takes no room any more; one that is still named is kept."""
    with Watermarks.open(tmp_path, HERE) as marks:
        marks.asked(answer(["old", "ever"], since=None, at=NOON))
        have(marks, ["old", "ever"])
        marks.advance(9001)
        marks.asked(answer(["ever"], since=marks.since(9001), at=NOON + timedelta(days=30)))
        assert marks.recall(9001, "ever", "etag-of-ever")
        marks.advance(9001)
        assert marks.recall(9001, "ever", "etag-of-ever")
        assert not marks.recall(9001, "old", "etag-of-old")


def test_what_was_recalled_counts_for_a_later_process(tmp_path: Path) -> None:
    """A run that had nothing to do but to know its files again leaves nothing outstanding."""
    with Watermarks.open(tmp_path, HERE) as marks:
        marks.asked(answer(["a"], since=None, at=NOON))
        have(marks, ["a"])
        marks.asked(answer(["a"], since=None, at=NOON + HOUR))
        assert marks.recall(9001, "a", "etag-of-a")
    with Watermarks.open(tmp_path, HERE) as marks:
        assert marks.outstanding(9001) == []
        assert marks.advance(9001)
        assert marks.watermark(9001) == NOON + HOUR


def test_what_is_recalled_is_remembered_though_no_answer_names_it(tmp_path: Path) -> None:
    """A mapping file stands in no list of files; while it is looked at, it is not forgotten."""
    with Watermarks.open(tmp_path, HERE) as marks:
        for days in range(0, 60, 6):
            marks.asked(answer([], since=marks.since(9001), at=NOON + timedelta(days=days)))
            assert marks.recall(9001, "s3://b/mapping", "e") == (days > 0)
            marks.had([HadFile(9001, "s3://b/mapping", "e")])
            assert marks.advance(9001)


def test_a_mapping_file_is_owed_until_it_is_had(tmp_path: Path) -> None:
    """Whoever was to have it knows so later on, whatever became of other files; no mark waits for it."""
    with Watermarks.open(tmp_path, HERE) as marks:
        marks.asked(answer([], since=None, at=NOON))
        marks.owe(9001, "s3://b/old")
        marks.owe(9001, "s3://b/mapping")
        assert marks.advance(9001)
    with Watermarks.open(tmp_path, HERE) as marks:
        assert (marks.owes(9001), marks.owes(9002)) == (True, False)
        marks.had([HadFile(9001, "s3://b/mapping", "e")])
        assert not marks.owes(9001)
        marks.owe(9001, "s3://b/mapping")
        assert not marks.recall(9001, "s3://b/mapping", "another")
        assert marks.owes(9001)
        assert marks.recall(9001, "s3://b/mapping", "e")
        assert not marks.owes(9001)


def test_a_later_process_can_finish_what_was_asked(tmp_path: Path) -> None:
    """What a killed run had asked stands: whoever resumes it notes what is archived, and the mark moves."""
    with Watermarks.open(tmp_path, HERE) as marks:
        marks.asked(answer(["a", "b"], since=None, at=NOON))
        have(marks, ["a"])
    with Watermarks.open(tmp_path, HERE) as marks:
        assert marks.outstanding(9001) == ["b"]
        have(marks, ["b", "b"])
        assert marks.advance(9001)


def test_odd_names_are_kept(tmp_path: Path) -> None:
    """Names are texts of any kind, half surrogates included."""
    names = ["a b", "é", "\ud800", "x'y\"", "%"]
    with Watermarks.open(tmp_path, HERE) as marks:
        marks.asked(answer(names, since=None, at=NOON))
        assert sorted(marks.outstanding(9001)) == sorted(names)
        have(marks, names)
        assert marks.advance(9001)


def _hold(state: str, ready: multiprocessing.synchronize.Event, done: multiprocessing.synchronize.Event) -> None:
    with Watermarks.open(state, HERE):
        ready.set()
        done.wait(60)


def test_a_second_run_is_refused(tmp_path: Path) -> None:
    """Another process that has it is named; once it has ended, nothing is in the way."""
    spawn = multiprocessing.get_context("spawn")
    ready, done = spawn.Event(), spawn.Event()
    other = spawn.Process(target=_hold, args=(str(tmp_path), ready, done))
    other.start()
    try:
        assert ready.wait(60)
        with pytest.raises(LockedError, match=f"{HERE}.* by process {other.pid} on ") as failure:
            Watermarks.open(tmp_path, HERE)
        assert failure.value.exit_code == 11
    finally:
        done.set()
        other.join()
    Watermarks.open(tmp_path, HERE).close()


def _note_for_ever(state: str, told: multiprocessing.connection.Connection) -> None:
    with Watermarks.open(state, HERE) as marks:
        marks.asked(answer([f"{number}" for number in range(10_000)], since=None, at=NOON))
        for number in range(10_000):
            marks.recall(9001, f"{number}", "e")
            marks.had([HadFile(9001, f"{number}", "e")])
            told.send(number)


def test_what_was_noted_outlives_a_kill(tmp_path: Path) -> None:
    """A run that is killed in the middle leaves a memory that opens, with all that it had noted by then."""
    spawn = multiprocessing.get_context("spawn")
    mine, its = spawn.Pipe(duplex=False)
    other = spawn.Process(target=_note_for_ever, args=(str(tmp_path), its))
    other.start()
    its.close()
    try:
        assert [mine.recv() for _ in range(5)] == list(range(5))
    finally:
        other.kill()
        other.join()
    last = 4
    with suppress(EOFError):
        while mine.poll(60):
            last = mine.recv()
    mine.close()
    with Watermarks.open(tmp_path, HERE) as marks:
        assert all(marks.recall(9001, f"{number}", "e") for number in range(last + 1))
        assert len(marks.outstanding(9001)) in {10_000 - last - 1, 10_000 - last - 2}
        assert not marks.advance(9001)


def test_closing_twice_does_no_harm(tmp_path: Path) -> None:
    """Whoever closed it may do so again, and does not close another's."""
    marks = Watermarks.open(tmp_path, HERE)
    marks.close()
    with Watermarks.open(tmp_path, HERE) as others:
        marks.close()
        assert others.feeds() == []


def test_it_is_for_this_user_alone(tmp_path: Path) -> None:
    """Folder and files can be read by nobody else."""
    with Watermarks.open(tmp_path / "state", HERE):
        folder = tmp_path / "state" / FOLDER
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(one.stat().st_mode) for one in folder.iterdir()} == {0o600}


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    """What is no such file, or was spoiled, is an error with the file's name and a way out, and not an empty memory."""
    Watermarks.open(tmp_path, HERE).close()
    (path,) = (tmp_path / FOLDER).glob("*.db")
    path.write_bytes(b"not a database at all" * 500)
    with pytest.raises(JournalError, match=path.name) as failure:
        Watermarks.open(tmp_path, HERE)
    assert "move it away" in (failure.value.hint or "")
    path.unlink()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE other (x)")
    db.close()
    with pytest.raises(JournalError, match="not a file of ds3tool"):
        Watermarks.open(tmp_path, HERE)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    """What a later version has written is not read as if it were ours."""
    Watermarks.open(tmp_path, HERE).close()
    (path,) = (tmp_path / FOLDER).glob("*.db")
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(JournalError, match="another version"):
        Watermarks.open(tmp_path, HERE)


def test_a_state_folder_that_is_a_file(tmp_path: Path) -> None:
    """Where nothing can be kept, the way out is another folder."""
    (tmp_path / "state").write_text("")
    with pytest.raises(ConfigError) as failure:
        Watermarks.open(tmp_path / "state", HERE)
    assert "--state-dir" in (failure.value.hint or "")


@pytest.mark.parametrize("etag", ['"abc"', "abc", 'W/"abc"'])
def test_an_etag_is_its_letters(etag: str) -> None:
    """Quotes and the sign of weakness are no part of it."""
    assert plain_etag(etag) == "abc"


@settings(max_examples=8, deadline=None)
@given(
    runs=st.lists(
        st.tuples(
            st.integers(1, 12),  # hours until the run
            st.sets(st.integers(0, 80)),  # files that fail in it
            st.integers(0, 3),  # hours that Lotame is behind in publishing
        ),
        min_size=1,
        max_size=8,
    )
)
def test_whatever_fails_nothing_is_lost_and_nothing_had_twice(
    tmp_path_factory: pytest.TempPathFactory, runs: list[tuple[int, set[int], int]]
) -> None:
    """Late runs, failures and late files in any order: once a run has no failure, each file was archived just once."""
    state = tmp_path_factory.mktemp("state")
    now, archived, horizon = 0, [], 0
    for hours, failing, behind in [*runs, (1, set(), 0)]:
        now += hours
        # Files are numbered by the hour they are of; what is late appears within the overlap.
        horizon = max(horizon, now - min(behind, int(OVERLAP / HOUR) - 1))
        with Watermarks.open(state, HERE) as marks:
            since = marks.since(9001)
            first = 0 if since is None else int((since - NOON) / HOUR)
            listed = [f"{hour}.gz" for hour in range(max(0, first), horizon)]
            marks.asked(answer(listed, since=since, at=NOON + now * HOUR))
            new = [file for file in listed if not marks.recall(9001, file, "e") and int(file[:-3]) not in failing]
            archived += new
            marks.had(HadFile(9001, file, "e") for file in new)
            assert marks.advance(9001) == (not marks.outstanding(9001))
    assert sorted(archived) == sorted(f"{hour}.gz" for hour in range(horizon))
