"""Small files read past `open`: only what is, from before the first byte to after the last, just what was listed."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ds3tool.jobs.ends import OpenObject, PlainReader, PlainSource, Source, SourceObject
from ds3tool.protocol.metadata import HeaderLines, lines_of, to_headers
from ds3tool.sources.local import LocalSource, Symlinks
from ds3tool.sources.plain import PlainFiles
from ds3tool.sources.planned import PlannedSource
from ds3tool.sources.several import SeveralSources


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("a", "b", "folder/c", "folder/deep/d"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode() * 100)
    (tmp_path / "empty").touch()
    return tmp_path


@pytest.fixture
def listed(tree: Path) -> dict[str, SourceObject]:
    return {item.key: item for item in LocalSource(str(tree), prefix="").objects()}


@pytest.fixture
def plain(tree: Path, listed: dict[str, SourceObject]) -> Iterator[PlainFiles]:
    reader = LocalSource(str(tree), prefix="").plain_reader()
    assert reader is not None
    yield reader
    reader.close()


def read(plain: PlainReader, item: SourceObject) -> bytes | None:
    """Return the bytes of what has nothing beside them."""
    found = plain.read(item.name, item.size, item.modified_ns, item.inode)
    assert found is None or found[1] is None
    return None if found is None else found[0]


def quickly(source: PlainSource, item: SourceObject) -> tuple[bytes, HeaderLines | None] | None:
    """Return what a source's quick way gives of one object."""
    reader = source.plain_reader()
    assert reader is not None
    try:
        return reader.read(item.name, item.size, item.modified_ns, item.inode)
    finally:
        reader.close()


def with_care(source: Source, item: SourceObject) -> tuple[bytes, HeaderLines]:
    """Return what the careful way stores of an object."""
    opened = source.open(item)
    try:
        return opened.read(0, item.size), lines_of(to_headers(opened.metadata()))
    finally:
        opened.close()


def test_what_is_as_it_was_listed_is_read_whole(plain: PlainFiles, listed: dict[str, SourceObject]) -> None:
    """Each file's bytes come, in whatever folder, also of one that has none."""
    for key in ("a", "folder/c", "b", "folder/deep/d", "folder/c"):
        assert read(plain, listed[key]) == key.encode() * 100
    assert read(plain, listed["empty"]) == b""


def _grow(path: Path) -> None:
    before = path.stat()
    path.write_bytes(path.read_bytes() + b"more")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _touch(path: Path) -> None:
    os.utime(path, ns=(0, 1))


def _replace(path: Path) -> None:
    before = path.stat()
    other = path.with_name("other")
    other.write_bytes(b"x" * before.st_size)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(path)


def _link(path: Path) -> None:
    path.rename(path.with_name("target"))
    path.symlink_to("target")


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("change", [_grow, _touch, _replace, _link, _fifo, _folder, Path.unlink])
@pytest.mark.parametrize("entered", [False, True])
def test_what_has_changed_since_is_not_read(
    tree: Path, plain: PlainFiles, listed: dict[str, SourceObject], change: Callable[[Path], None], entered: bool
) -> None:
    """Longer, newer, another file, a link, a FIFO, a folder or nothing: whether its folder is open already or not."""
    if entered:
        read(plain, listed["folder/deep/d"])
        read(plain, listed["folder/c"])
    change(tree / "folder" / "c")
    assert read(plain, listed["folder/c"]) is None
    assert read(plain, listed["a"]) == b"a" * 100


def test_what_is_written_to_while_it_is_read_is_not_taken(
    tree: Path, plain: PlainFiles, listed: dict[str, SourceObject], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when size and time are put back: the time of the last change tells."""
    really, path = os.read, tree / "a"

    def meddled(descriptor: int, size: int) -> bytes:
        before = path.stat()
        data = really(descriptor, size)
        while path.stat().st_ctime_ns == before.st_ctime_ns:  # the kernel's clock goes in ticks
            with path.open("r+b") as file:
                file.write(b"other")
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        return data

    monkeypatch.setattr("ds3tool.sources.plain.os.read", meddled)
    assert read(plain, listed["a"]) is None


def test_links_are_read_through_where_they_are_followed(tree: Path) -> None:
    """A link to a file counts as that file, if links are to be followed."""
    (tree / "link").symlink_to("a")
    source = LocalSource(str(tree), prefix="", symlinks=Symlinks.FOLLOW)
    item = next(item for item in source.objects() if item.key == "link")
    reader = source.plain_reader()
    assert reader is not None
    assert read(reader, item) == b"a" * 100
    reader.close()


@pytest.mark.parametrize("name", [b"", b"/", b"folder/", b"a\0", b"gone/a"])
def test_names_that_are_no_files_are_left_to_others(plain: PlainFiles, name: bytes) -> None:
    """Folders, links that are stored as links, and what has no folder are told as nothing to be read here."""
    assert plain.read(name, 0, 0, 0) is None


def test_a_source_that_opens_in_its_own_way_has_no_other(tree: Path) -> None:
    """Whatever a subclass does when it opens is not gone past."""

    class Watched(LocalSource):
        def open(self, item: SourceObject) -> OpenObject:
            raise AssertionError(item)

    assert Watched(str(tree), prefix="").plain_reader() is None
    assert SeveralSources([Watched(str(tree), prefix="")]).plain_reader() is None
    assert PlannedSource(Watched(str(tree), prefix=""), lambda: iter(())).plain_reader() is None


# -- attributes -------------------------------------------------------------------------------------------------------


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(100_000)
        file.write(b"beginning")


def _xattrs(*given: tuple[str, bytes]) -> Callable[[Path], None]:
    def set_them(path: Path) -> None:
        try:
            for name, value in given:
                os.setxattr(path, name, value)
        except OSError as error:
            pytest.skip(f"this file system has no room for extended attributes: {error}")

    return set_them


def _times(accessed_ns: int, modified_ns: int) -> Callable[[Path], None]:
    return lambda path: os.utime(path, ns=(accessed_ns, modified_ns))


def _mode(mode: int) -> Callable[[Path], None]:
    return lambda path: path.chmod(mode)


def _owner(uid: int, gid: int) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        try:
            os.chown(path, uid, gid)
        except OSError as error:
            pytest.skip(f"no right to give files away: {error}")

    return change


ODD: list[Callable[[Path], object]] = [
    lambda path: None,
    lambda path: path.write_bytes(b""),
    _sparse,
    _xattrs(("user.one", b"\0\xff{0}%"), (os.fsdecode(b"user.{\xff}%41"), b"")),
    _xattrs(*((f"user.{number}", bytes([number])) for number in range(20))),
    _times(0, 0),
    _times(-1, -1_500_000_001),
    _times(1_600_000_000_123_456_789, -(2**31) * 10**9),
    _times(4_000_000_000_999_999_999, 10**9 - 1),
    _mode(0o4751),
    _mode(0o3777),
    _mode(0o400),
    _owner(1, 2),
    _owner(123_456, 654_321),
    lambda path: os.link(path, path.with_name("another name")),
]


@pytest.mark.parametrize("make", ODD)
def test_the_quick_way_stores_the_very_lines_of_the_careful_one(
    tree: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], object]
) -> None:
    """Holes, extended attributes, odd modes, owners and times: headers and what is signed are the same to the byte.

    So they are of the files after the odd one, and each file is read twice, once with nothing known of its kind.
    """
    monkeypatch.setattr("ds3tool.sources.attributes._KINDS_OF_FILES", 2)
    make(tree / "folder" / "c")
    source = LocalSource(str(tree), prefix="", preserve=True)
    items = list(source.objects())
    reader = source.plain_reader()
    assert reader is not None
    for item in [*items, *items]:
        assert reader.read(item.name, item.size, item.modified_ns, item.inode) == with_care(source, item)
    reader.close()
    assert source.notes == []


def test_reading_with_attributes_leaves_no_trace(tree: Path) -> None:
    """The time of last access stays what it was, and is what is stored."""
    os.utime(tree / "a", ns=(1, 2))
    source = LocalSource(str(tree), prefix="", preserve=True)
    item = next(item for item in source.objects() if item.key == "a")
    found = quickly(source, item)
    assert found is not None
    assert found[1] is not None
    assert "x-amz-meta-ds3tool-atime-ns: 1\r\n" in found[1].head
    assert (tree / "a").stat().st_atime_ns == 1


def test_where_reading_has_to_leave_a_trace_it_does(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that may be read, but not without telling its owner, is read all the same."""
    really = os.open

    def as_a_stranger(path: bytes, flags: int, *, dir_fd: int | None = None) -> int:
        if flags & os.O_NOATIME:
            raise PermissionError(errno.EPERM, "not the owner")
        return really(path, flags, dir_fd=dir_fd)

    source = LocalSource(str(tree), prefix="", preserve=True)
    item = next(item for item in source.objects() if item.key == "a")
    monkeypatch.setattr("ds3tool.sources.plain.os.open", as_a_stranger)
    found = quickly(source, item)
    assert found is not None
    assert found[0] == b"a" * 100
    assert found[1] is not None
    assert "x-amz-meta-ds3-mode: 100" in found[1].head


def test_attributes_without_room_are_left_to_the_careful_way(tree: Path) -> None:
    """It says of which files not all is stored."""
    _xattrs(("user.huge", bytes(3500)))(tree / "a")
    source = LocalSource(str(tree), prefix="", preserve=True)
    assert {item.key for item in source.objects() if quickly(source, item) is None} == {"a"}


@pytest.mark.parametrize("preserve", [False, True])
def test_a_file_alone_several_sources_and_a_plan_are_read_as_with_care(
    tree: Path, monkeypatch: pytest.MonkeyPatch, preserve: bool
) -> None:
    """Each source's own files come from it, in any order; what is out of the ordinary is left to `open`."""
    (tree / "link").symlink_to("a")
    (tree / "folder" / "link").symlink_to("c")
    monkeypatch.chdir(tree)
    (tree / "hollow").mkdir()
    one = [LocalSource(name, prefix=name, preserve=preserve) for name in ("a", "link", f"{tree}/folder/link")]
    rest = [
        LocalSource(name, prefix=f"{name}/", symlinks=Symlinks.STORE, preserve=preserve)
        for name in ("folder", "hollow")
    ]
    several = SeveralSources([*one, *rest])
    items = list(several.objects())
    planned = PlannedSource(several, lambda: iter(items))
    reader = planned.plain_reader()
    assert reader is not None
    left = set()
    for item in [*items, *reversed(items)]:
        found = reader.read(item.name, item.size, item.modified_ns, item.inode)
        if found is None:
            left.add(item.key)
            continue
        data, lines = with_care(planned, item)
        assert found == (data, lines if preserve else None)
    reader.close()
    reader.close()
    assert left == {"folder/link", "hollow/"}


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open descriptors are listed on Linux")
def test_several_sources_hold_one_folder_open_at_most(tree: Path) -> None:
    """However many sources there are, none but the last that was read holds a descriptor; at the end none does."""
    names = ("a", "b", "empty", "folder/c", "folder/deep/d")
    several = SeveralSources([LocalSource(str(tree / name), prefix=name) for name in names])
    items = list(several.objects())
    before = len(os.listdir("/proc/self/fd"))
    reader = several.plain_reader()
    assert reader is not None
    for item in items:
        assert read(reader, item) == (tree / item.key).read_bytes()
        assert len(os.listdir("/proc/self/fd")) == before + 1
    reader.close()
    assert len(os.listdir("/proc/self/fd")) == before
