"""Attributes of files: what `--preserve` stores of them, and what is stored in any case."""

from __future__ import annotations

import base64
import os
import stat
from pathlib import Path

import pytest

from ds3tool.filters import Filter
from ds3tool.protocol.attributes import FileAttributes
from ds3tool.sources.local import LocalSource
from tests.sources.reading import only, stored


def attributes_of(found: LocalSource) -> FileAttributes:
    ((_, metadata),) = stored(found).values()
    return FileAttributes.from_metadata(metadata)


def preserving(root: Path, prefix: str = "") -> LocalSource:
    return LocalSource(str(root), prefix=prefix, preserve=True)


def test_attributes_are_those_of_the_file(tmp_path: Path) -> None:
    """Times to the nanosecond, the mode with its type, owner and group by number and name, are what the file has."""
    path = tmp_path / "file"
    path.write_bytes(b"data")
    path.chmod(0o4751)
    os.utime(path, ns=(1_600_000_000_000_000_001, 1_500_000_000_999_999_999))
    state = path.stat()
    found = attributes_of(preserving(tmp_path))
    assert (found.accessed_ns, found.modified_ns) == (1_600_000_000_000_000_001, 1_500_000_000_999_999_999)
    assert found.mode == stat.S_IFREG | 0o4751
    assert (found.uid, found.gid) == (state.st_uid, state.st_gid)
    assert (found.owner, found.group) == (path.owner(), path.group())
    assert (found.link, found.sparse, found.os) == (False, False, os.uname().sysname)
    assert found.created_ns is not None


def test_attributes_are_the_same_for_every_blob(tmp_path: Path) -> None:
    """Reading a file leaves its time of access, so the metadata beside its last blob are those beside its first."""
    path = tmp_path / "file"
    path.write_bytes(b"data")
    os.utime(path, ns=(1, 2))
    found = preserving(tmp_path)
    assert stored(found) == stored(found)
    assert path.stat().st_atime_ns == 1


def test_nothing_is_stored_unasked(tmp_path: Path) -> None:
    """Without being asked for, no attributes of a file or a folder go out."""
    (tmp_path / "file").write_bytes(b"data")
    (tmp_path / "empty").mkdir()
    assert {key: metadata for key, (_, metadata) in stored(LocalSource(str(tmp_path), prefix="")).items()} == {
        "file": {},
        "empty/": {},
    }


def test_empty_folder_has_attributes(tmp_path: Path) -> None:
    """An empty folder keeps its mode and its times, and so does the one that is put itself."""
    (tmp_path / "empty").mkdir(mode=0o700)
    os.utime(tmp_path / "empty", ns=(3, 4))
    for found in (preserving(tmp_path), preserving(tmp_path / "empty", "p/")):
        attributes = attributes_of(found)
        assert (attributes.mode, attributes.modified_ns) == (stat.S_IFDIR | 0o700, 4)
        assert attributes.sparse is False


def test_folder_that_vanishes_fails_by_name(tmp_path: Path) -> None:
    """An empty folder whose attributes cannot be had any more is told, and not put without them."""
    (tmp_path / "empty").mkdir()
    found = preserving(tmp_path)
    item = only(found)
    (tmp_path / "empty").rmdir()
    with pytest.raises(Exception, match=f"{tmp_path}/empty/ has vanished"):
        found.open(item)


def test_sparse_file_is_told(tmp_path: Path) -> None:
    """A file with holes is marked, and all its bytes are read."""
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(1_000_000)
        file.write(b"x")
    if path.stat().st_blocks * 512 >= 1_000_000:
        pytest.skip("this file system keeps no holes")
    ((data, metadata),) = stored(preserving(tmp_path)).values()
    assert data == b"x" + bytes(999_999)
    assert FileAttributes.from_metadata(metadata).sparse


def _set_xattr(path: Path, name: str, value: bytes) -> None:
    try:
        os.setxattr(path, name, value)
    except OSError as error:
        pytest.skip(f"this file system has no room for extended attributes: {error}")


def test_extended_attributes_are_stored(tmp_path: Path) -> None:
    """Names keep their case and values their bytes."""
    path = tmp_path / "file"
    path.write_bytes(b"")
    _set_xattr(path, "user.Mixed", b"\0\xff")
    _set_xattr(path, "user.mixed", b"")
    found = attributes_of(preserving(tmp_path)).xattrs
    assert {name: value for name, value in found.items() if name.startswith("user.")} == {
        "user.Mixed": b"\0\xff",
        "user.mixed": b"",
    }


def test_extended_attributes_without_room_are_told(tmp_path: Path) -> None:
    """Attributes that no request can carry are left out, a note names their file once, and the small ones stay."""
    path = tmp_path / "file"
    path.write_bytes(b"")
    _set_xattr(path, "user.small", b"1")
    _set_xattr(path, "user.huge", bytes(3500))
    found = preserving(tmp_path)
    for _ in range(2):
        xattrs = attributes_of(found).xattrs
        assert "user.small" in xattrs
        assert "user.huge" not in xattrs
        (note,) = found.notes
        assert note.startswith(f"of 1 file ({path}) not all extended attributes are stored")


def test_owner_without_a_name_is_a_number(tmp_path: Path) -> None:
    """An owner whom no list of users knows is stored by number."""
    path = tmp_path / "file"
    path.write_bytes(b"")
    if os.geteuid():
        pytest.skip("only root can give a file away")
    os.chown(path, 3_999_999_999, 54_321)
    found = attributes_of(preserving(tmp_path))
    assert (found.uid, found.gid, found.owner, found.group) == (3_999_999_999, 54_321, None, None)


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "key"),
    [
        (b"\xff", "%FF"),
        (b"caf\xe9", "caf%E9"),
        (b"a\x01b", "a%01b"),
        (b"\x7f\x80", "\x7f%80"),
        (b"bell\x07", "bell%07"),
        ("\ufffe".encode(), "%EF%BF%BE"),
    ],
)
def test_names_that_no_request_can_carry_are_escaped(tmp_path: Path, name: bytes, key: str) -> None:
    """A name that is not UTF-8, or that XML cannot carry, is put under an escaped key with its real name beside it."""
    (tmp_path / "good%FF").write_bytes(b"")
    folder = os.path.join(os.fsencode(tmp_path), name)
    os.mkdir(folder)
    with open(os.path.join(folder, name), "wb") as file:
        file.write(b"data")
    found = LocalSource(str(tmp_path), prefix="p%FE/")
    assert stored(found) == {
        "p%FE/good%FF": (b"", {}),
        f"p%FE/{key}/{key}": (
            b"data",
            {"ds3tool-name": base64.b64encode(b"p%FE/" + name + b"/" + name).decode()},
        ),
    }
    assert found.failures == []
    (note,) = found.notes
    assert note.startswith(f"1 name (p%FE/{key}/{key}) could not be stored")


def test_empty_folder_and_single_file_are_escaped_too(tmp_path: Path) -> None:
    """Folder objects, and a file that is put by itself, have their real names beside them."""
    odd = tmp_path / os.fsdecode(b"\xff")
    odd.mkdir()
    assert stored(LocalSource(str(tmp_path), prefix=""))["%FF/"][1] == {
        "ds3tool-name": base64.b64encode(b"\xff/").decode()
    }
    file = odd / os.fsdecode(b"\xfe")
    file.write_bytes(b"")
    found = LocalSource(str(file), prefix="p/" + os.fsdecode(b"\xfe"), wanted=Filter(max_size=0))
    assert stored(found) == {"p/%FE": (b"", {"ds3tool-name": base64.b64encode(b"p/\xfe").decode()})}


def test_many_escaped_names_are_counted(tmp_path: Path) -> None:
    """A note counts the names and shows the first few."""
    for number in range(12):
        (tmp_path / os.fsdecode(b"\xff%02d" % number)).write_bytes(b"")
    found = LocalSource(str(tmp_path), prefix="")
    stored(found)
    (note,) = found.notes
    assert note.startswith("12 names (%FF00, %FF01, %FF02 and more) could not be stored as written: ")


def test_object_under_another_key_keeps_what_is_known_of_its_name(tmp_path: Path) -> None:
    """Where the key was numbered since it was taken, the real names of its folders are still stored."""
    odd = tmp_path / os.fsdecode(b"\xff")
    odd.mkdir()
    (odd / "film.mov").write_bytes(b"")
    found = LocalSource(str(tmp_path), prefix="")
    item = only(found)
    opened = found.open(type(item)("%FF/film~1.mov", item.size, item.modified_ns, item.name, item.inode))
    assert opened.metadata() == {"ds3tool-name": base64.b64encode(b"\xff/film~1.mov").decode()}
    opened.close()
