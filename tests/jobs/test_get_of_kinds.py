"""What is there counts as the same only when it is of the object's kind: a file or a link."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ds3tool.sinks.links import Links
from ds3tool.sinks.local import LocalSink
from ds3tool.transport.bodies import BytesBody
from tests.jobs.rooms import BUCKET, Room

A_LINK = {"ds3tool-link": "1"}


def test_link_comes_back_and_is_the_same_at_a_second_get(room: Room, tmp_path: Path) -> None:
    """An object that was put as a link becomes that link; a second get finds it the same and moves nothing."""
    room.client.put_object(BUCKET, "folder/link", BytesBody(b"../file"), metadata=A_LINK)
    assert room.get(tmp_path).objects == 1
    assert os.readlink(tmp_path / "folder/link") == "../file"
    again = room.get(tmp_path)
    assert (again.objects, again.skipped, again.exit_code) == (0, 1, 0)


@pytest.mark.parametrize("stored_as_link", [True, False])
def test_file_and_link_of_the_same_bytes_are_not_the_same(room: Room, tmp_path: Path, stored_as_link: bool) -> None:
    """A file in a link's place, or a link in a file's, fails by name though size and digest are the same."""
    room.client.put_object(BUCKET, "k", BytesBody(b"file"), metadata=A_LINK if stored_as_link else None)
    if stored_as_link:
        (tmp_path / "k").write_bytes(b"file")
    else:
        (tmp_path / "k").symlink_to("file")
    got = room.get(tmp_path)
    assert [failure.key for failure in got.failures] == ["k"]
    assert "not the same" in got.failures[0].error.message
    assert (tmp_path / "k").is_symlink() != stored_as_link


def test_link_that_leads_outside_fails_by_name_and_skipped_ones_are_noted(room: Room, tmp_path: Path) -> None:
    """By default a link to the outside fails and the others appear; left out on purpose, links are told in a note."""
    room.client.put_object(BUCKET, "bad", BytesBody(b"/etc/passwd"), metadata=A_LINK)
    room.client.put_object(BUCKET, "good", BytesBody(b"bad"), metadata=A_LINK)
    got = room.get(tmp_path / "one")
    assert [failure.key for failure in got.failures] == ["bad"]
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["good"]
    left_out = room.get(LocalSink(str(tmp_path / "two"), links=Links.SKIP))
    assert left_out.exit_code == 0
    assert any("symbolic links left out: 2 objects" in note for note in left_out.notes)
    assert list((tmp_path / "two").iterdir()) == []
