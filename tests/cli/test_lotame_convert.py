"""`lotame convert` writes a table that appears whole, once, and says what it left out."""

from __future__ import annotations

import csv
import gzip
import json
import os
from pathlib import Path

import pytest

from tests.cli.runner import run
from tests.lotame.test_convert import MAPPING, PROFILE, lines


@pytest.fixture
def feed(tmp_path: Path) -> Path:
    """A file of two profiles, gzipped."""
    path = tmp_path / "feed.gz"
    path.write_bytes(gzip.compress(lines(PROFILE, PROFILE)))
    return path


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_a_second_run_doubles_nothing(feed: Path, tmp_path: Path) -> None:
    """Converting the same file twice into the same table leaves one header and each row once, and no other file."""
    out = tmp_path / "out.csv"
    for _ in range(2):
        result = run("lotame", "convert", str(feed), "-f", str(out)).expect(0)
        assert "2 lines made 6 rows" in result.stdout
    assert len(rows_of(out)) == 7
    assert sorted(os.listdir(tmp_path)) == ["feed.gz", "out.csv"]


def test_the_table_goes_to_stdout_alone(feed: Path) -> None:
    """Without -f the rows are all that stdout has, whatever shape results have; counts are told on stderr."""
    result = run("lotame", "convert", str(feed), "-o", "json", "--to", "ndjson").expect(0)
    assert [row["behavior_id"] for row in result.lines] == [101, 202, 303] * 2
    assert "2 lines made 6 rows" in result.stderr


def test_stdin_is_a_file_too(feed: Path) -> None:
    """A gzip stream on stdin is converted as the file would be."""
    expected = run("lotame", "convert", str(feed)).expect(0).stdout
    assert run("lotame", "convert", "-", stdin=feed.read_bytes()).expect(0).stdout == expected


def test_a_bad_line_is_named_and_the_rest_is_converted(feed: Path, tmp_path: Path) -> None:
    """The exit code is 3, the line is named with its number on stderr and in the result, and the table is there."""
    bad = tmp_path / "bad.json"
    bad.write_bytes(lines(PROFILE) + b"{oops\n")
    out = tmp_path / "out.csv"
    result = run("lotame", "convert", str(feed), str(bad), "-f", str(out), "-o", "json").expect(3)
    assert f"{bad}:2: it is not JSON" in result.stderr
    assert result.json["rows"] == 9
    assert [(one["file"], one["line"]) for one in result.json["failed"]] == [(str(bad), 2)]
    assert result.json["error"]["exit_code"] == 3
    assert len(rows_of(out)) == 10


def test_a_file_cut_short_makes_no_table(feed: Path, tmp_path: Path) -> None:
    """Gzip that is cut short ends with 5 and names every such file; a table that was there before stays as it is."""
    cut, other, out = tmp_path / "cut.gz", tmp_path / "other.gz", tmp_path / "out.csv"
    cut.write_bytes(feed.read_bytes()[:-9])
    other.write_bytes(b"")
    out.write_text("as before")
    result = run("lotame", "convert", str(cut), str(feed), str(other), "-f", str(out), "-o", "json").expect(5)
    assert [one["file"] for one in result.json["failed"]] == [str(cut), str(other)]
    assert "2 files could not be read to the end" in result.stderr
    assert out.read_text() == "as before"
    assert sorted(os.listdir(tmp_path)) == ["cut.gz", "feed.gz", "other.gz", "out.csv"]


def test_a_file_cut_short_is_told_on_stdout_s_side_too(feed: Path, tmp_path: Path) -> None:
    """With the table on stdout, a file that is cut short still ends with 5 and its name on stderr."""
    cut = tmp_path / "cut.gz"
    cut.write_bytes(feed.read_bytes()[:-9])
    result = run("lotame", "convert", str(cut)).expect(5)
    assert "cut.gz: its gzip stream is cut short" in result.stderr


def test_paths_of_behaviours_come_from_the_mapping_file(feed: Path, tmp_path: Path) -> None:
    """With --mapping there is one more column; a mapping file by itself makes a table of its own."""
    mapping = tmp_path / "behaviors.json.gz"
    mapping.write_bytes(gzip.compress(lines(MAPPING)))
    result = run("lotame", "convert", str(feed), "--mapping", str(mapping)).expect(0)
    rows = list(csv.reader(result.stdout.splitlines()))
    assert [row[-1] for row in rows[:3]] == ["behavior_paths", "Example Hierarchy^Sports^Rowing", ""]
    result = run("lotame", "convert", str(mapping), "--to", "ndjson").expect(0)
    assert json.loads(result.stdout) == {
        "behavior_id": 101,
        "hierarchy_id": 555,
        "path": "Example Hierarchy^Sports^Rowing",
    }


def test_impossible_wishes_are_refused(feed: Path, tmp_path: Path) -> None:
    """A file that is not there, a folder, stdin twice, and an output that is an input: nothing is written."""
    before = feed.read_bytes()
    assert "not there" in run("lotame", "convert", str(tmp_path / "no.gz")).expect(4).stderr
    assert f"name the files in it: {tmp_path}/*.gz" in run("lotame", "convert", str(tmp_path)).expect(2).stderr
    run("lotame", "convert", "-", "-").expect(2)
    run("lotame", "convert", str(feed), "-f", str(tmp_path)).expect(2)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "is no file" in run("lotame", "convert", str(feed), "-f", str(pipe)).expect(2).stderr
    assert pipe.is_fifo()
    assert "would be replaced" in run("lotame", "convert", str(feed), "-f", str(feed)).expect(2).stderr
    assert feed.read_bytes() == before
    unwritable = tmp_path / "feed.gz" / "out.csv"
    assert "cannot be written" in run("lotame", "convert", str(feed), "-f", str(unwritable)).expect(3).stderr
