"""Which tapes hold what, before and after an ejection."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from tests.cli.archive import Archive


@pytest.fixture(scope="module")
def bucket(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A bucket with objects on tape, one of them of several blobs."""
    tree: Path = tmp_path_factory.mktemp("tree")
    (tree / "big").write_bytes(bytes(range(256)) * 4096 * 3)
    (tree / "small").write_text("x")
    (tree / "folder").mkdir()
    (tree / "folder" / "empty").touch()
    bucket = archive.bucket()
    archive.run("put", str(tree), f"ds3://{bucket}", "--wait", "tape").expect()
    return bucket


def test_an_object_on_tape_names_its_tapes_and_copies(archive: Archive, bucket: str) -> None:
    """The shape holds what scripts rely on, for one object as for many."""
    (shown,) = archive.run("where", "-o", "json", f"ds3://{bucket}/big").expect().json
    assert {"key", "in_cache", "tapes", "pools", "copies"} <= set(shown)
    assert (shown["key"], shown["copies"], shown["blobs"], shown["pools"]) == ("big", 1, 3, [])
    assert set(shown["tapes"][0]) == {"bar_code", "state", "ejected", "label", "location"}
    assert shown["tapes"][0]["ejected"] is False


def test_everything_below_is_told_object_by_object(archive: Archive, bucket: str) -> None:
    """-r and patterns select as in ls, and no object is left out."""
    lines = archive.run("where", "-r", "-o", "ndjson", f"ds3://{bucket}").expect().lines
    assert sorted(line["key"] for line in lines) == ["big", "folder/empty", "small"]
    assert all(line["copies"] == 1 for line in lines)
    matched = archive.run("where", "-o", "json", f"ds3://{bucket}/*m*").expect().json
    assert [row["key"] for row in matched] == ["folder/empty", "small"]


def test_a_spreadsheet_gets_bar_codes(archive: Archive, bucket: str) -> None:
    """A cell holds the tapes as people write them."""
    (row,) = csv.DictReader(io.StringIO(archive.run("where", "-o", "csv", f"ds3://{bucket}/small").expect().stdout))
    (shown,) = archive.run("where", "-o", "json", f"ds3://{bucket}/small").expect().json
    assert row["tapes"] == shown["tapes"][0]["bar_code"]
    assert row["pools"] == "", "what is not there is an empty cell"


def test_a_prefix_wants_recursive_and_nothing_is_not_found(archive: Archive, bucket: str) -> None:
    """A slip is told apart from an object that is nowhere."""
    assert "-r" in archive.run("where", f"ds3://{bucket}/folder/").expect(2).stderr
    archive.run("where", f"ds3://{bucket}/nothing").expect(4)
    archive.run("where", "-r", f"ds3://{bucket}/nothing").expect(4)
    archive.run("where", "ds3://nobody/x").expect(4)


def test_an_ejected_tape_is_shown_with_its_place_on_the_shelf(archive: Archive, bucket: str) -> None:
    """After an ejection with label and location, both stand beside the bar code; online takes it back."""
    (before,) = archive.run("where", "-o", "json", f"ds3://{bucket}/small").expect().json
    bar_code = before["tapes"][0]["bar_code"]
    archive.run("tape", "eject", bar_code, "--label", "offsite 7", "--location", "vault, shelf 3").expect()
    archive.until(lambda: archive.client.get_tape(bar_code).state == "EJECTED")
    (shown,) = archive.run("where", "-o", "json", f"ds3://{bucket}/small").expect().json
    assert shown["tapes"] == [
        {"bar_code": bar_code, "state": "EJECTED", "ejected": True, "label": "offsite 7", "location": "vault, shelf 3"}
    ]
    assert f"{bar_code} (EJECTED offsite 7 vault, shelf 3)" in archive.run("where", f"ds3://{bucket}/small").stdout
    assert bar_code in archive.run("tape", "ls", "--state", "ejected").expect().stdout
    archive.run("tape", "online", bar_code).expect()
    archive.until(lambda: archive.client.get_tape(bar_code).state == "NORMAL")
    (shown,) = archive.run("where", "-o", "json", f"ds3://{bucket}/small").expect().json
    assert shown["tapes"][0]["ejected"] is False
