"""Files that change under the source's eyes: between the listing and the opening, and while they are read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ds3tool.errors import SourceError
from ds3tool.sources.attributes import Inodes
from ds3tool.sources.local import LocalSource, Symlinks
from tests.sources.reading import only

DATA = b"0123456789"
WHEN = 1_700_000_000_123_456_789


def _shrink(path: Path) -> None:
    os.truncate(path, 5)


def _grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def _touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def _replace(path: Path) -> None:
    """Another file of the same size takes the name, later."""
    other = path.with_name("other")
    other.write_bytes(DATA)
    os.utime(other, ns=(2, 2))
    other.rename(path)


def _replace_unseen(path: Path) -> None:
    """Another file of the same size and time takes the name: only its identity differs."""
    other = path.with_name("other")
    other.write_bytes(DATA[::-1])
    os.utime(other, ns=(WHEN, WHEN))
    other.rename(path)


def _remove(path: Path) -> None:
    path.unlink()


def _link(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.symlink_to("moved")


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


CHANGES = [_shrink, _grow, _touch, _replace, _replace_unseen, _remove, _link, _fifo, _folder]


def prepared(folder: Path) -> Path:
    path = folder / "file"
    path.write_bytes(DATA)
    os.utime(path, ns=(WHEN, WHEN))
    return path


@pytest.mark.parametrize("preserve", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_change_between_listing_and_opening_is_told(
    tmp_path: Path, change: Callable[[Path], None], *, preserve: bool
) -> None:
    """A file that shrank, grew, was touched, replaced, removed or became another kind is refused by name at once.

    A FIFO in its place is not waited for.
    """
    path = prepared(tmp_path)
    found = LocalSource(str(tmp_path), prefix="", preserve=preserve)
    item = only(found)
    change(path)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(SourceError, match=f"{path} "):
        found.open(item)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("change", [_shrink, _grow, _touch])
def test_change_while_it_is_read_is_told(tmp_path: Path, change: Callable[[Path], None]) -> None:
    """A change while the file is open is found when somebody asks."""
    path = prepared(tmp_path)
    found = LocalSource(str(tmp_path), prefix="")
    opened = found.open(only(found))
    opened.check_unchanged()
    change(path)
    with pytest.raises(SourceError, match=f"{path} has changed"):
        opened.check_unchanged()
    opened.close()


def test_file_that_is_replaced_while_it_is_read_is_read_to_its_end(tmp_path: Path) -> None:
    """Once open, the file that was listed is what is put, whatever has its name by then."""
    path = prepared(tmp_path)
    found = LocalSource(str(tmp_path), prefix="")
    opened = found.open(only(found))
    _replace_unseen(path)
    opened.check_unchanged()
    assert opened.read(0, 10) == DATA
    opened.close()


@pytest.mark.parametrize("change", [_replace_unseen, _shrink, _remove])
def test_change_of_what_a_followed_link_leads_to_is_told(tmp_path: Path, change: Callable[[Path], None]) -> None:
    """A link that is followed is held against what it led to."""
    (tmp_path / "elsewhere").mkdir()
    path = prepared(tmp_path / "elsewhere")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/link").symlink_to(path)
    found = LocalSource(str(tmp_path / "tree"), prefix="", symlinks=Symlinks.FOLLOW)
    item = only(found)
    change(path)
    with pytest.raises(SourceError, match=f"{tmp_path}/tree/link "):
        found.open(item)


def test_identity_is_not_asked_where_nothing_is_known_of_it(tmp_path: Path) -> None:
    """A file without a known inode is held against size and time alone."""
    path = prepared(tmp_path)
    found = LocalSource(str(tmp_path), prefix="")
    item = only(found)
    assert item.inode == path.stat().st_ino
    _replace_unseen(path)
    plain = type(item)(item.key, item.size, item.modified_ns, item.name)
    found.open(plain).close()


@pytest.mark.parametrize(
    ("kind", "trusted"), [("ext4", True), ("exfat", False), ("vfat", False), ("fuse.sshfs", False), ("nfs4", True)]
)
def test_inode_numbers_that_a_file_system_makes_up_are_not_held_against_it(
    tmp_path: Path, kind: str, *, trusted: bool
) -> None:
    """On file systems that number a file anew whenever they load it, a file of another number is no other file."""
    state = tmp_path.stat()
    device = f"{os.major(state.st_dev)}:{os.minor(state.st_dev)}"
    mounts = tmp_path / "mounts"
    mounts.write_text(
        f"21 1 0:99 / /proc rw shared:5 - proc proc rw\n22 1 {device} / /a\\040b rw shared:1 - {kind} /dev/x rw\n"
    )
    assert Inodes(str(mounts)).of(state) == (state.st_ino if trusted else 0)


def test_inode_numbers_count_where_no_mounts_are_known(tmp_path: Path) -> None:
    """A system without a list of mounts, or a device that is not in it, has numbers that stay."""
    state = tmp_path.stat()
    assert Inodes(str(tmp_path / "none")).of(state) == state.st_ino
    (tmp_path / "empty").write_text("")
    assert Inodes(str(tmp_path / "empty")).of(state) == state.st_ino
