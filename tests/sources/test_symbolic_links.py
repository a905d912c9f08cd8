"""Symbolic links as a source: left out, followed, or stored as links."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ds3tool.errors import SourceError
from ds3tool.filters import Filter, NamePattern
from ds3tool.protocol.attributes import FileAttributes
from ds3tool.sources.local import LocalSource, Symlinks
from tests.sources.reading import contents, keys, only, stored


def source(root: Path, symlinks: Symlinks, *, wanted: Filter | None = None, preserve: bool = False) -> LocalSource:
    return LocalSource(str(root), prefix="", symlinks=symlinks, wanted=wanted, preserve=preserve)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with links to a file, a folder, something outside and nothing at all."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/far").write_bytes(b"far")
    root = tmp_path / "tree"
    (root / "folder").mkdir(parents=True)
    (root / "folder/file").write_bytes(b"data")
    (root / "to-file").symlink_to("folder/file")
    (root / "to-folder").symlink_to("folder")
    (root / "to-outside").symlink_to(tmp_path / "outside")
    return root


# -- stored -----------------------------------------------------------------------------------------------------------


def test_stored_link_is_its_targets_name(tree: Path) -> None:
    """A link becomes an object whose bytes are its target's name, marked as a link in its metadata and its mode."""
    (tree / "dangling").symlink_to(os.fsdecode(b"nowhere/caf\xe9"))
    found = source(tree, Symlinks.STORE)
    objects = stored(found)
    assert {key: data for key, (data, _) in objects.items()} == {
        "folder/file": b"data",
        "dangling": b"nowhere/caf\xe9",
        "to-file": b"folder/file",
        "to-folder": b"folder",
        "to-outside": os.fsencode(tree.parent / "outside"),
    }
    for key, (_, metadata) in objects.items():
        attributes = FileAttributes.from_metadata(metadata)
        assert attributes.link == (key != "folder/file")
        assert attributes.mode is None or stat.S_ISLNK(attributes.mode)
    assert (found.skipped, found.failures, found.notes) == ([], [], [])


def test_stored_link_has_its_own_attributes(tree: Path) -> None:
    """With attributes, a link's times and owner are its own, not those of what it leads to."""
    os.utime(tree / "to-file", ns=(1_000_000_001, 2_000_000_002), follow_symlinks=False)
    (_, metadata) = stored(source(tree, Symlinks.STORE, preserve=True))["to-file"]
    attributes = FileAttributes.from_metadata(metadata)
    state = os.lstat(tree / "to-file")
    assert (attributes.modified_ns, attributes.uid, attributes.link) == (2_000_000_002, state.st_uid, True)
    assert attributes.mode == state.st_mode
    assert attributes.sparse is False


def test_link_with_a_name_that_is_no_key_is_stored(tmp_path: Path) -> None:
    """A link may have an escaped key as well."""
    os.symlink(b"target", os.path.join(os.fsencode(tmp_path), b"\xff"))
    objects = stored(source(tmp_path, Symlinks.STORE))
    assert objects["%FF"][0] == b"target"
    assert "ds3tool-name" in objects["%FF"][1]


@pytest.mark.parametrize("other", ["other/file", "folder/other"])
def test_link_that_leads_elsewhere_meanwhile_is_told(tree: Path, other: str) -> None:
    """A link that was changed since it was listed fails by name, also where its target's name is as long."""
    found = source(tree, Symlinks.STORE)
    item = next(item for item in found.objects() if item.key == "to-file")
    (tree / "to-file").unlink()
    (tree / "to-file").symlink_to(other)
    os.utime(tree / "to-file", ns=(item.modified_ns, item.modified_ns), follow_symlinks=False)
    with pytest.raises(SourceError, match=f"{tree}/to-file has changed"):
        found.open(item)


def test_link_that_becomes_a_file_is_told_and_so_is_a_file_that_becomes_a_link(tree: Path) -> None:
    """What was listed as a link is never read as a file, and no file is read through a link that took its name."""
    found = source(tree, Symlinks.STORE)
    items = {item.key: item for item in found.objects()}
    (tree / "to-file").unlink()
    (tree / "to-file").write_bytes(b"folder/file")
    (tree / "folder/file").unlink()
    (tree / "folder/file").symlink_to("data")
    with pytest.raises(SourceError, match="is no symbolic link any more"):
        found.open(items["to-file"])
    with pytest.raises(SourceError, match="folder/file cannot be opened"):
        found.open(items["folder/file"])


def test_link_that_changes_while_it_is_put_is_told(tree: Path) -> None:
    """A link is looked at again when its bytes are sent."""
    found = source(tree, Symlinks.STORE)
    item = next(item for item in found.objects() if item.key == "to-file")
    opened = found.open(item)
    with pytest.raises(SourceError, match="ends at byte 11"):
        opened.read(5, 100)
    (tree / "to-file").unlink()
    with pytest.raises(SourceError, match="is no symbolic link any more"):
        opened.check_unchanged()
    opened.close()


# -- followed ---------------------------------------------------------------------------------------------------------


def test_followed_links_are_what_they_lead_to(tree: Path) -> None:
    """A link to a file is that file under the link's name, and a link to a folder all that is below it."""
    found = source(tree, Symlinks.FOLLOW)
    assert contents(found) == {
        "to-file": b"data",
        "folder/file": b"data",
        "to-folder/file": b"data",
        "to-outside/far": b"far",
    }
    assert (found.skipped, found.failures) == ([], [])


def test_dangling_link_fails_by_name(tree: Path) -> None:
    """A link to nothing is a failure where links are followed, and the rest goes on."""
    (tree / "dangling").symlink_to("nowhere")
    found = source(tree, Symlinks.FOLLOW)
    assert len(keys(found)) == 4
    (failure,) = found.failures
    assert failure.path == f"{tree}/dangling"
    assert "something that is not there" in failure.error.message


def test_link_to_itself_fails_by_name(tree: Path) -> None:
    """Links that lead in a circle without ever being a file are named, both of them."""
    (tree / "ping").symlink_to("pong")
    (tree / "pong").symlink_to("ping")
    found = source(tree, Symlinks.FOLLOW)
    assert len(keys(found)) == 4
    assert [failure.path for failure in found.failures] == [f"{tree}/ping", f"{tree}/pong"]
    assert all("leads back to itself" in failure.error.message for failure in found.failures)


@pytest.mark.parametrize("target", [".", "..", "../folder", "../../tree", "../to-outside/back"])
def test_link_to_a_folder_above_itself_fails_by_name(tree: Path, target: str) -> None:
    """A loop of folders ends at the link that closes it, however it is reached."""
    (tree.parent / "outside/back").symlink_to(tree)
    (tree / "folder/loop").symlink_to(target)
    found = source(tree, Symlinks.FOLLOW)
    listed = keys(found)
    assert listed.count("folder/file") == 1
    assert max(key.count("/") for key in listed) <= 4
    assert f"{tree}/folder/loop" in {failure.path for failure in found.failures}
    assert all("would never end" in failure.error.message for failure in found.failures)


def test_folder_may_be_reached_twice(tree: Path) -> None:
    """Two links to one folder are no loop: both have all of it."""
    (tree / "again").symlink_to("folder")
    listed = keys(source(tree, Symlinks.FOLLOW))
    assert {"folder/file", "again/file", "to-folder/file"} <= set(listed)


def test_excluded_links_are_neither_failures_nor_skipped(tree: Path) -> None:
    """Nobody hears of a dangling or skipped link that was not wanted."""
    (tree / "dangling").symlink_to("nowhere")
    wanted = Filter(exclude=NamePattern(["dangling", "to-*"]))
    for mode in (Symlinks.FOLLOW, Symlinks.SKIP):
        found = source(tree, mode, wanted=wanted)
        assert keys(found) == ["folder/file"]
        assert (found.failures, found.skipped) == ([], [])


def test_sizes_and_times_are_those_of_what_is_put(tree: Path) -> None:
    """A stored link is as large as its target's name, a followed one as what it leads to."""
    wanted = Filter(min_size=10, include=NamePattern(["to-file"]))
    assert keys(source(tree, Symlinks.STORE, wanted=wanted)) == ["to-file"]
    assert keys(source(tree, Symlinks.FOLLOW, wanted=wanted)) == []


def test_link_that_the_user_names_is_followed_in_any_case(tree: Path) -> None:
    """The path that is put may be a link itself, to a file or to a folder."""
    for mode in Symlinks:
        assert contents(LocalSource(str(tree / "to-file"), prefix="k", symlinks=mode)) == {"k": b"data"}
        assert only(source(tree / "to-folder", mode)).key == "file"
