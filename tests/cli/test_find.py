"""Objects by name, age and size, one a line."""

from __future__ import annotations

import pytest

from tests.cli.archive import Archive

TREE = ("a.txt", "new\nline", "reels/1.mxf", "reels/2.mxf", "reels/deep/3.mxf", "reels/notes.txt", "\x9b31mred")


@pytest.fixture(scope="module")
def bucket(archive: Archive) -> str:
    return archive.bucket(*TREE)


def test_one_address_a_line(archive: Archive, bucket: str) -> None:
    """What is found can be given to the next command."""
    told = archive.run("find", f"ds3://{bucket}/reels/").expect().stdout
    assert told.splitlines() == [
        f"ds3://{bucket}/reels/{name}" for name in ("1.mxf", "2.mxf", "deep/3.mxf", "notes.txt")
    ]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--name", "*.mxf"], ["1.mxf", "2.mxf", "deep/3.mxf"]),
        (["--include", "*.mxf", "--exclude", "deep/"], ["1.mxf", "2.mxf"]),
        (["--name", "*.mxf", "--name", "notes.*", "--min-size", "12"], ["deep/3.mxf", "notes.txt"]),
        (["--max-size", "11"], ["1.mxf", "2.mxf"]),
        (["--newer", "1h"], ["1.mxf", "2.mxf", "deep/3.mxf", "notes.txt"]),
        (["--older", "1h"], []),
        (["--older", "2100-01-01", "--name", "1*"], ["1.mxf"]),
    ],
)
def test_what_the_options_choose_is_found(archive: Archive, bucket: str, options: list[str], found: list[str]) -> None:
    """Names, ages and sizes all have to fit; that nothing fits is no failure."""
    told = archive.run("find", "--relative", *options, f"ds3://{bucket}/reels").expect().stdout
    assert told.splitlines() == found


def test_names_are_safe_and_with_null_exact(archive: Archive, bucket: str) -> None:
    """A line feed in a name makes no second line; -0 writes every byte as it is."""
    told = archive.run("find", "--relative", f"ds3://{bucket}").expect().stdout
    assert [told.splitlines()[place] for place in (0, 1, -1)] == ["a.txt", "new\\nline", "\\x9b31mred"]
    exact = archive.run("find", "--relative", "-0", f"ds3://{bucket}").expect().stdout
    assert exact.split("\0") == [*sorted(TREE), ""]


def test_long_and_other_shapes_are_those_of_ls(archive: Archive, bucket: str) -> None:
    """A script reads find as it reads ls."""
    assert archive.run("find", "-l", f"ds3://{bucket}").stdout == archive.run("ls", "-r", f"ds3://{bucket}").stdout
    found = archive.run("find", "-o", "ndjson", f"ds3://{bucket}/reels").expect()
    assert found.lines == archive.run("ls", "-r", "-o", "ndjson", f"ds3://{bucket}/reels").lines
    archive.run("find", "-0", "-o", "json", f"ds3://{bucket}").expect(2)


def test_an_address_is_a_prefix_a_pattern_or_else_a_key(archive: Archive, bucket: str) -> None:
    """-r insists on the prefix; nothing at all ends with 4."""
    assert archive.run("find", "--relative", f"ds3://{bucket}/a.txt").expect().stdout == "a.txt\n"
    archive.run("find", "-r", f"ds3://{bucket}/a.txt").expect(4)
    assert archive.run("find", "--relative", f"ds3://{bucket}/re*3.mxf").expect().stdout == "reels/deep/3.mxf\n"
    archive.run("find", f"ds3://{bucket}/nothing").expect(4)
    archive.run("find", "ds3://nobody").expect(4)


def test_a_filter_that_means_nothing_is_refused_before_anything_is_asked(archive: Archive) -> None:
    """Contradictions and strange sizes end with 2."""
    archive.run("find", "--newer", "1d", "--older", "2d", "ds3://nobody").expect(2)
    archive.run("find", "--min-size", "huge", "ds3://nobody").expect(2)
