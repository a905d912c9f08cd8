"""A result that cannot be written: a full disk behind `> listing.csv` is a sentence and an exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.archive import Archive

FULL = Path("/dev/full")


@pytest.mark.parametrize(
    "arguments",
    [
        ("ls",),
        ("ls", "-r", "{b}"),
        ("ls", "-r", "{b}", "-o", "csv"),
        ("ls", "-r", "{b}", "-o", "ndjson"),
        ("ls", "-r", "{b}", "-o", "json"),
        ("tree", "{b}"),
        ("find", "{b}"),
        ("find", "-0", "{b}"),
        ("du", "{b}"),
        ("stat", "{b}/k"),
        ("stat", "{b}/nothing", "-o", "json"),
        ("where", "{b}/k"),
        ("cat", "{b}/k"),
        ("job", "ls", "--completed", "-o", "csv"),
        ("put", __file__, "{b}/test.py", "-o", "json"),
        ("config", "path"),
        ("sim", "quirks"),
        ("--version",),
    ],
)
def test_a_full_disk_behind_stdout_is_told_in_a_sentence(archive: Archive, arguments: tuple[str, ...]) -> None:
    """No traceback, no silence, and no success."""
    bucket = archive.bucket("k")
    told = archive.run(*(word.format(b=f"ds3://{bucket}") for word in arguments), into=FULL)
    assert told.exit_code in {1, 3, 4}, str(told)
    assert "No space left on device" in told.stderr
    assert "unexpected" not in told.stderr
    assert told.stderr.count("stdout cannot be written") <= 1


def test_what_was_put_before_the_result_was_lost_is_there(archive: Archive) -> None:
    """The loss of the words about it is no loss of the object."""
    bucket = archive.bucket()
    archive.run("put", __file__, f"ds3://{bucket}/test.py", "-o", "json", into=FULL).expect(1)
    assert archive.keys(bucket) == ["test.py"]
