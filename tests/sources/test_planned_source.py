"""What a plan lists of a folder, put later."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ds3tool.errors import SourceError
from ds3tool.sources.local import LocalSource, Symlinks
from ds3tool.sources.planned import PlannedSource
from tests.sources.reading import contents, keys, stored


def source(root: Path) -> LocalSource:
    return LocalSource(str(root), prefix="p/", symlinks=Symlinks.STORE, preserve=True)


def test_what_was_planned_is_put_and_nothing_that_came_since(tmp_path: Path) -> None:
    """Files, links, folders and odd names of the plan open as they were listed; a new file is not in it."""
    (tmp_path / "file").write_bytes(b"data")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "empty").mkdir()
    (tmp_path / os.fsdecode(b"\xff")).write_bytes(b"odd")
    plan = list(source(tmp_path).objects())
    whole = stored(source(tmp_path))
    (tmp_path / "new").write_bytes(b"new")
    planned = PlannedSource(source(tmp_path), lambda: iter(plan))
    assert keys(planned) == [item.key for item in plan]
    assert stored(planned) == whole
    assert not planned.sequential


def test_file_that_changed_since_it_was_planned_fails_by_name(tmp_path: Path) -> None:
    """A plan is held to what the files were."""
    (tmp_path / "file").write_bytes(b"data")
    plan = list(source(tmp_path).objects())
    (tmp_path / "file").write_bytes(b"other")
    with pytest.raises(SourceError, match=f"{tmp_path}/file has changed"):
        contents(PlannedSource(source(tmp_path), lambda: iter(plan)))


def test_attributes_without_room_are_told_for_a_plan_too(tmp_path: Path) -> None:
    """What is left out while a plan is carried out is noted."""
    path = tmp_path / "file"
    path.write_bytes(b"")
    try:
        os.setxattr(path, "user.huge", bytes(3500))
    except OSError as error:
        pytest.skip(f"this file system has no room for extended attributes: {error}")
    plan = list(source(tmp_path).objects())
    planned = PlannedSource(source(tmp_path), lambda: iter(plan))
    stored(planned)
    (note,) = planned.notes
    assert "not all extended attributes" in note
