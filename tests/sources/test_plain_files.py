"""Small files read past `open`: only what is, from before the first byte to after the last, just what was listed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ds3tool.jobs.ends import SourceObject
from ds3tool.sources.local import LocalSource, Symlinks
from ds3tool.sources.plain import PlainFiles


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


def read(plain: PlainFiles, item: SourceObject) -> bytes | None:
    return plain.read(item.name, item.size, item.modified_ns, item.inode)


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


def test_a_source_that_keeps_attributes_or_is_one_file_has_no_such_way(tree: Path) -> None:
    """What needs more than bytes is opened with care, and so is whatever a subclass opens in its own way."""

    class Watched(LocalSource):
        def open(self, item: SourceObject) -> object:  # type: ignore[override]
            raise AssertionError(item)

    assert LocalSource(str(tree), prefix="", preserve=True).plain_reader() is None
    assert LocalSource(str(tree / "a"), prefix="a").plain_reader() is None
    assert Watched(str(tree), prefix="").plain_reader() is None
