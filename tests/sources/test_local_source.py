"""A local tree as a source: what it lists and in which order, what it leaves out, what it says of changes."""

from __future__ import annotations

import os
import random
import socket
import unicodedata
from pathlib import Path

import pytest

from ds3tool.errors import PathNotFoundError, SourceError
from ds3tool.jobs.ends import SourceObject
from ds3tool.sources.local import LocalSource
from tests.sources.reading import RecordingWire, ignore, keys, only
from tests.trees import ODD_NAMES, make_tree


def source(root: Path, prefix: str = "") -> LocalSource:
    return LocalSource(str(root), prefix=prefix)


# -- what is listed ---------------------------------------------------------------------------------------------------


def test_keys_are_prefix_and_path(tmp_path: Path) -> None:
    """A key is the prefix and the path below the folder; size, time and inode are the file's."""
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").write_bytes(b"12345")
    os.utime(tmp_path / "a/b/file", ns=(1, 1_234_567_890_123_456_789))
    item = only(source(tmp_path, "backup/2024/"))
    inode = (tmp_path / "a/b/file").stat().st_ino
    assert item == SourceObject("backup/2024/a/b/file", 5, 1_234_567_890_123_456_789, b"a/b/file", inode)


def test_order_is_the_same_at_every_walk(tmp_path: Path) -> None:
    """Two walks yield the same objects in the same order: in each folder its files by name, then its folders."""
    make_tree(tmp_path, files=300, largest=10, seed=1)
    found = source(tmp_path)
    first = list(found.objects())
    assert list(found.objects()) == first
    assert len(first) == 301


def test_order_within_a_folder_is_that_of_the_bytes(tmp_path: Path) -> None:
    """Files of a folder come by the bytes of their names, before those of the folders below."""
    for name in ("b", "a", "é", "Z", "a/b", "c"):
        path = tmp_path / name if name != "a/b" else tmp_path / "0/b"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    assert keys(source(tmp_path)) == ["Z", "a", "b", "c", "é", "0/b"]


def test_walk_is_lazy(tmp_path: Path) -> None:
    """A folder is only looked at when what comes before it was taken."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a/file").write_bytes(b"")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/file").write_bytes(b"")
    walk = source(tmp_path).objects()
    assert next(walk).key == "a/file"
    (tmp_path / "b/another").write_bytes(b"")
    assert [item.key for item in walk] == ["b/another", "b/file"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_kept_to_the_byte(tmp_path: Path, name: str) -> None:
    """A name with blanks, signs, line breaks or far letters is the key as it stands, and the file can be opened."""
    (tmp_path / name).write_bytes(b"content")
    found = source(tmp_path, "p/")
    item = only(found)
    assert item.key == f"p/{name}"
    opened = found.open(item)
    assert opened.read(0, 7) == b"content"
    opened.close()


def test_both_normal_forms_stay_apart(tmp_path: Path) -> None:
    """Names that look alike, composed and decomposed, are two keys."""
    forms = {unicodedata.normalize(form, "é") for form in ("NFC", "NFD")}
    for form in forms:
        (tmp_path / form).write_bytes(form.encode())
    assert set(keys(source(tmp_path))) == forms


def test_empty_folders_become_folder_objects(tmp_path: Path) -> None:
    """A folder that holds nothing is a key with a slash and no bytes; one that holds something is none."""
    (tmp_path / "empty/below").mkdir(parents=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_bytes(b"")
    found = source(tmp_path, "p/")
    items = {item.key: item for item in found.objects()}
    assert set(items) == {"p/empty/below/", "p/full/file"}
    folder = items["p/empty/below/"]
    assert folder.size == 0
    opened = found.open(folder)
    opened.check_unchanged()
    assert opened.read(0, 0) == b""
    assert opened.body(0, 0, counter=ignore).length == 0
    opened.close()


def test_folder_of_links_alone_is_kept_as_a_folder(tmp_path: Path) -> None:
    """A folder whose whole content is left out is still there after a restore."""
    (tmp_path / "links").mkdir()
    (tmp_path / "links/one").symlink_to("nowhere")
    assert keys(source(tmp_path)) == ["links/"]


def test_empty_root(tmp_path: Path) -> None:
    """An empty folder yields its prefix as a folder object, and nothing when there is no prefix or no folder's one."""
    assert keys(source(tmp_path, "p/")) == ["p/"]
    assert keys(source(tmp_path)) == []
    assert keys(source(tmp_path, "part-of-a-name")) == []


def test_single_file_has_the_prefix_as_its_key(tmp_path: Path) -> None:
    """For one file, the prefix is the whole key; a link to it that the user named is followed."""
    (tmp_path / "file").write_bytes(b"123")
    (tmp_path / "link").symlink_to("file")
    for name in ("file", "link"):
        found = source(tmp_path / name, "some/key")
        item = only(found)
        assert (item.key, item.size) == ("some/key", 3)
        opened = found.open(item)
        assert opened.read(0, 3) == b"123"
        opened.close()


# -- what is left out, and what fails ---------------------------------------------------------------------------------


def test_links_fifos_and_sockets_are_skipped_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is neither file nor folder is left out, and each is named with its kind."""
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "folder link").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
        found = source(tmp_path)
        assert keys(found) == ["file"]
    assert found.skipped == [
        f"{tmp_path}/fifo is a FIFO",
        f"{tmp_path}/folder link is a symbolic link",
        f"{tmp_path}/link is a symbolic link",
        f"{tmp_path}/socket is a socket",
    ]
    assert found.failures == []


def test_second_walk_does_not_name_things_twice(tmp_path: Path) -> None:
    """`skipped`, `failures` and `notes` are those of the last walk."""
    (tmp_path / "link").symlink_to("file")
    (tmp_path / os.fsdecode(b"\xff")).write_bytes(b"")
    found = source(tmp_path)
    walk = found.objects()
    next(walk)
    keys(found)
    keys(found)
    assert len(found.skipped) == 1
    assert len(found.notes) == 1
    assert "1 name " in found.notes[0]


def test_folder_that_vanishes_during_the_walk_fails_by_name(tmp_path: Path) -> None:
    """A folder that cannot be listed any more is a failure naming it, and the walk goes on."""
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"")
    found = source(tmp_path)
    walk = found.objects()
    assert next(walk).key == "a/file"
    (tmp_path / "b/file").unlink()
    (tmp_path / "b").rmdir()
    assert [item.key for item in walk] == ["c/file"]
    (failure,) = found.failures
    assert (failure.key, failure.path) == (None, f"{tmp_path}/b")
    assert "cannot be listed" in failure.error.message


def test_single_file_that_vanishes_before_the_walk_fails_by_name(tmp_path: Path) -> None:
    """The one file of a put, gone before it is listed, is a failure and no surprise."""
    (tmp_path / "file").write_bytes(b"")
    found = source(tmp_path / "file", "key")
    (tmp_path / "file").unlink()
    assert keys(found) == []
    (failure,) = found.failures
    assert (failure.key, failure.path) == (None, f"{tmp_path}/file")


def test_path_that_is_not_there(tmp_path: Path) -> None:
    """A path that nothing has is an error before anything is listed, and so is a FIFO."""
    with pytest.raises(PathNotFoundError, match="is not there"):
        source(tmp_path / "none")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(PathNotFoundError, match="a FIFO"):
        source(tmp_path / "fifo")


# -- reading ----------------------------------------------------------------------------------------------------------


def test_body_sends_exactly_its_range_every_time(tmp_path: Path) -> None:
    """A body yields its range's bytes, again from the start at a second sending, and counts them."""
    data = random.Random(3).randbytes(1000)
    (tmp_path / "file").write_bytes(data)
    found = source(tmp_path)
    opened = found.open(only(found))
    counted: list[int] = []
    body = opened.body(100, 300, counter=counted.append)
    for _ in range(2):
        wire = RecordingWire()
        body.send_to(wire)
        assert wire.data == data[100:400]
    assert sum(counted) == 600
    opened.close()


def test_close_gives_the_descriptor_back_once(tmp_path: Path) -> None:
    """Closing twice closes one descriptor, not somebody else's."""
    (tmp_path / "file").write_bytes(b"")
    found = source(tmp_path)
    opened = found.open(only(found))
    opened.close()
    other = os.open(tmp_path, os.O_RDONLY)
    opened.close()
    os.close(other)  # would fail if the second close had taken it


def test_file_that_ends_early_is_told_by_read_and_by_body(tmp_path: Path) -> None:
    """Bytes that are not there any more are a SourceError, never fewer bytes or zeros."""
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    found = source(tmp_path)
    opened = found.open(only(found))
    os.truncate(path, 5)
    with pytest.raises(SourceError, match="ends at byte 5"):
        opened.read(2, 8)
    wire = RecordingWire()
    with pytest.raises(SourceError, match="ends at byte 5"):
        opened.body(2, 8, counter=ignore).send_to(wire)
    assert wire.data == b"234"
    opened.close()


def test_failed_opening_leaks_no_descriptor(tmp_path: Path) -> None:
    """A file that is refused when it is opened is closed again."""
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    found = source(tmp_path)
    item = only(found)
    os.utime(path, ns=(1, 1))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with pytest.raises(SourceError):
            found.open(item)
    assert len(os.listdir("/proc/self/fd")) == before
