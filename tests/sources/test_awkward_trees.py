"""Trees that are deep, wide, guarded or partly unwanted, and names that are changed on the way."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ds3tool.errors import SourceError, UsageError
from ds3tool.filters import Filter, NamePattern
from ds3tool.protocol.escaped import raw_name
from ds3tool.renaming import Renaming
from ds3tool.sources.local import LocalSource, Symlinks
from tests.sources.reading import contents, keys, only, stored

NOBODY = 65_534


def made(root: Path, *names: str) -> Path:
    """Make a file of its name's length for each name, and a folder for each that ends in a slash."""
    for name in names:
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x" * len(name))
    return root


# -- deep, wide -------------------------------------------------------------------------------------------------------


@contextmanager
def deep_tree(root: Path, depth: int, name: str) -> Iterator[bytes]:
    """Make a chain of folders with a file at its end, beyond what one path can name, and take it away again."""
    descriptors = [os.open(root, os.O_RDONLY | os.O_DIRECTORY)]
    try:
        for _ in range(depth):
            os.mkdir(name, dir_fd=descriptors[-1])
            descriptors.append(os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=descriptors[-1]))
            if len(descriptors) > 2:
                os.close(descriptors.pop(-2))
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=descriptors[-1]))
        yield os.fsencode("/".join([name] * depth + ["file"]))
        os.unlink("file", dir_fd=descriptors[-1])
        for _ in range(depth):
            above = os.open("..", os.O_RDONLY | os.O_DIRECTORY, dir_fd=descriptors[-1])
            os.close(descriptors.pop())
            os.rmdir(name, dir_fd=above)
            descriptors.append(above)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


@pytest.mark.parametrize("symlinks", Symlinks)
def test_file_a_thousand_folders_deep_is_put(tmp_path: Path, symlinks: Symlinks) -> None:
    """No depth that a path can name is too deep."""
    with deep_tree(tmp_path, 1000, "d") as name:
        found = LocalSource(str(tmp_path), prefix="p/", symlinks=symlinks)
        item = only(found)
        assert item.key == "p/" + os.fsdecode(name)
        found.open(item).close()


def test_folder_beyond_the_longest_path_fails_by_name(tmp_path: Path) -> None:
    """What is too deep for a path is a failure naming the folder, and nothing else is lost."""
    made(tmp_path, "good")
    with deep_tree(tmp_path, 30, "d" * 200):
        found = LocalSource(str(tmp_path), prefix="")
        assert keys(found) == ["good"]
        (failure,) = found.failures
        assert failure.path is not None
        assert failure.path.endswith("d" * 200)
        assert "cannot be listed" in failure.error.message


def _peak(root: Path) -> int:
    found = LocalSource(str(root), prefix="p/")
    tracemalloc.start()
    try:
        assert sum(1 for _ in found.objects()) == len(list(root.iterdir())) * 1000
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_walk_holds_one_folder_at_a_time(tmp_path: Path) -> None:
    """A walk of four full folders takes no more memory than a walk of one."""
    for number in range(5):
        folder = tmp_path / ("many" if number else "one") / f"folder {number}"
        folder.mkdir(parents=True)
        for name in range(1000):
            os.mknod(folder / f"a file of some name {name}")
    one, many = _peak(tmp_path / "one"), _peak(tmp_path / "many")
    assert many < one * 1.5


def test_walk_looks_only_as_far_as_it_is_asked(tmp_path: Path) -> None:
    """A walk that is given up early has read no further folder and leaves no descriptor open."""
    made(tmp_path, "a/1", "b/1")
    before = len(os.listdir("/proc/self/fd"))
    found = LocalSource(str(tmp_path), prefix="")
    walk = found.objects()
    next(walk)
    made(tmp_path, "b/2")
    assert [item.key for item in walk] == ["b/1", "b/2"]
    walk = found.objects()
    next(walk)
    del walk
    assert len(os.listdir("/proc/self/fd")) == before


PARTS = st.binary(min_size=1, max_size=6).map(lambda raw: raw.replace(b"\0", b"\xff").replace(b"/", b"%FF"))
TREES = st.lists(
    st.lists(PARTS.filter(lambda part: part not in {b".", b".."}), min_size=1, max_size=4).map(b"/".join), max_size=12
)


@settings(max_examples=60, deadline=None)
@given(TREES, st.sampled_from(["", "p/", "p%FF/"]))
def test_every_file_of_any_tree_is_put_once_and_its_name_is_known(names: list[bytes], prefix: str) -> None:
    """Whatever bytes the names of a tree are of, all of it is put, and keys and metadata tell the names again."""
    with tempfile.TemporaryDirectory() as folder:
        root = os.fsencode(folder)
        for name in names:
            with contextlib.suppress(FileExistsError, NotADirectoryError, IsADirectoryError):
                os.makedirs(os.path.join(root, os.path.dirname(name)), exist_ok=True)
                with open(os.path.join(root, name), "xb") as file:
                    file.write(name)
        there = {os.path.join(at, name) for at, _, files in os.walk(root) for name in files}
        found = LocalSource(folder, prefix=prefix)
        put = stored(found) if len(set(keys(found))) == len(keys(found)) else {}
        assert found.failures == []
        if not put:  # a name that looks like another one's escape has its key; which of them is put, is told
            assert len(keys(found)) == max(len(there), prefix != "")
            return
        real = {
            os.path.join(
                root, os.fsencode(raw_name(key.removeprefix(prefix), key, metadata) or key.removeprefix(prefix))
            ): data
            for key, (data, metadata) in put.items()
            if not key.endswith("/")
        }
        assert set(real) == there
        assert all(root + b"/" + data == path for path, data in real.items())


# -- what may not be read ---------------------------------------------------------------------------------------------


@contextmanager
def as_nobody() -> Iterator[None]:
    """Go on without root's rights for a while; without them to begin with, as who we are."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def guarded() -> Iterator[Path]:
    """A tree in which one file and one folder may not be read by others."""
    root = Path(tempfile.mkdtemp())
    try:
        root.chmod(0o755)
        made(root, "open", "closed", "folder/file")
        (root / "open").chmod(0o644)
        (root / "closed").chmod(0)
        (root / "folder").chmod(0)
        yield root
    finally:
        (root / "folder").chmod(0o700)
        shutil.rmtree(root)


def test_what_may_not_be_read_fails_by_name(guarded: Path) -> None:
    """A folder that may not be listed fails in the walk, a file that may not be read when it is opened."""
    with as_nobody():
        for preserve in (False, True):
            found = LocalSource(str(guarded), prefix="", preserve=preserve)
            items = {item.key: item for item in found.objects()}
            assert set(items) == {"open", "closed"}
            assert [failure.path for failure in found.failures] == [f"{guarded}/folder"]
            assert "Permission denied" in found.failures[0].error.message
            found.open(items["open"]).close()  # somebody else's file, with `preserve` too
            with pytest.raises(SourceError, match=f"{guarded}/closed cannot be opened: Permission denied"):
                found.open(items["closed"])


@pytest.mark.parametrize("pattern", ["folder/", "/folder/*"])
def test_excluded_folder_is_not_looked_into(guarded: Path, pattern: str) -> None:
    """A folder of which nothing is wanted may be unreadable."""
    with as_nobody():
        found = LocalSource(str(guarded), prefix="", wanted=Filter(exclude=NamePattern([pattern])))
        assert keys(found) == ["closed", "open"]
        assert found.failures == []


def test_folder_that_becomes_a_link_is_not_walked(tmp_path: Path) -> None:
    """A link that took a folder's name since it was listed leads nobody out of the tree."""
    root = made(tmp_path / "tree", "a/1", "b/2")
    made(tmp_path, "outside/secret")
    for symlinks in (Symlinks.SKIP, Symlinks.STORE):
        found = LocalSource(str(root), prefix="", symlinks=symlinks)
        walk = found.objects()
        next(walk)
        (root / "b").rename(root / "c")
        (root / "b").symlink_to(tmp_path / "outside")
        assert list(walk) == []
        assert [failure.path for failure in found.failures] == [f"{root}/b"]
        (root / "b").unlink()
        (root / "c").rename(root / "b")


def test_a_renaming_that_says_nothing_changes_nothing(tmp_path: Path) -> None:
    """What the command line makes where nothing is renamed lists the same as none at all, odd names and notes too."""
    root = os.fsencode(tmp_path)
    for name in (b"plain", b"a&b", b"\xff", b"tab\there", "\uffff".encode()):
        with open(os.path.join(root, name), "wb") as file:
            file.write(name)
    made(tmp_path, "below/x", "empty/")
    plain, renamed = (LocalSource(str(tmp_path), prefix="p/", names=names) for names in (None, Renaming()))
    assert list(renamed.objects()) == list(plain.objects())
    assert len(keys(renamed)) == 7
    assert renamed.notes == plain.notes != []


# -- what is wanted ---------------------------------------------------------------------------------------------------


def test_filter_sees_the_path_as_it_is_on_disk(tmp_path: Path) -> None:
    """Patterns mean paths below the folder, before any renaming and without the prefix."""
    made(tmp_path, "a/one.mxf", "a/two.txt", "b/one.mxf")
    found = LocalSource(
        str(tmp_path),
        prefix="a/",
        names=Renaming("a/"),
        wanted=Filter(include=NamePattern(["/a/*"]), exclude=NamePattern(["*.txt"])),
    )
    assert keys(found) == ["a/one.mxf"]


def test_sizes_and_times_choose(tmp_path: Path) -> None:
    """Only files within the sizes and times are put."""
    made(tmp_path, "a", "bb", "ccc")
    os.utime(tmp_path / "bb", ns=(0, 5))
    assert keys(LocalSource(str(tmp_path), prefix="", wanted=Filter(min_size=2, max_size=2))) == ["bb"]
    assert keys(LocalSource(str(tmp_path), prefix="", wanted=Filter(older_ns=6))) == ["bb"]
    assert keys(LocalSource(str(tmp_path), prefix="", wanted=Filter(newer_ns=6))) == ["a", "ccc"]


def test_empty_folders_are_put_where_the_filter_takes_their_names(tmp_path: Path) -> None:
    """An empty folder is put unless its name is unwanted; where sizes or times are asked for, none is."""
    made(tmp_path, "empty/", "cache/", "full/x.tmp")

    def listed(wanted: Filter) -> set[str]:
        return set(keys(LocalSource(str(tmp_path), prefix="p/", wanted=wanted)))

    assert listed(Filter()) == {"p/empty/", "p/cache/", "p/full/x.tmp"}
    assert listed(Filter(exclude=NamePattern(["cache/", "*.tmp"]))) == {"p/empty/", "p/full/"}
    assert listed(Filter(include=NamePattern(["*.tmp"]))) == {"p/full/x.tmp"}
    assert listed(Filter(min_size=0)) == {"p/full/x.tmp"}
    assert listed(Filter(older_ns=2**62)) == {"p/full/x.tmp"}


def test_single_file_is_chosen_by_its_name(tmp_path: Path) -> None:
    """A filter holds for a file that is put by itself, too."""
    made(tmp_path, "film.mov")
    path = str(tmp_path / "film.mov")
    assert keys(LocalSource(path, prefix="k", wanted=Filter(exclude=NamePattern(["*.mov"])))) == []
    assert keys(LocalSource(path, prefix="k", wanted=Filter(include=NamePattern(["film.*"])))) == ["k"]
    assert keys(LocalSource(path, prefix="k", wanted=Filter(min_size=100))) == []


def test_skipped_things_that_nobody_wants_are_not_named(tmp_path: Path) -> None:
    """A FIFO outside of what was asked for is not worth a word."""
    os.mkfifo(tmp_path / "fifo")
    found = LocalSource(str(tmp_path), prefix="", wanted=Filter(include=NamePattern(["*.mov"])))
    assert keys(found) == []
    assert found.skipped == []


# -- names ------------------------------------------------------------------------------------------------------------


def test_names_change_before_the_prefix_is_put_in_front(tmp_path: Path) -> None:
    """Renaming means the path below the folder; what it leads to stays readable."""
    made(tmp_path, "raw/2024/a", "raw/b", "empty/", "c")
    found = LocalSource(
        str(tmp_path), prefix="p/", names=Renaming("raw/", {"2024/": "new/", "c": "d/c", "empty/": "gone/"})
    )
    assert contents(found) == {"p/new/a": b"x" * 10, "p/b": b"x" * 5, "p/d/c": b"x", "p/gone/": b""}
    assert found.failures == []


def test_name_that_is_not_utf8_can_be_renamed(tmp_path: Path) -> None:
    """A folder's name is changed whatever bytes stand below it."""
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / os.fsdecode(b"\xff")).write_bytes(b"data")
    found = LocalSource(str(tmp_path), prefix="", names=Renaming("", {"old/": "new/"}))
    assert contents(found) == {"new/%FF": b"data"}


@pytest.mark.parametrize("prefix", ["", "p/"])
def test_file_that_renaming_leaves_without_a_name_fails(tmp_path: Path, prefix: str) -> None:
    """A name of which nothing is left fails by name; it never becomes a folder's key. The others go on."""
    made(tmp_path, "abc", "abcd")
    found = LocalSource(str(tmp_path), prefix=prefix, names=Renaming("abc"))
    assert keys(found) == [prefix + "d"]
    (failure,) = found.failures
    assert failure.path == f"{tmp_path}/abc"
    assert "no name of its own" in failure.error.message


def test_file_without_a_key_fails(tmp_path: Path) -> None:
    """A single file is never put as a folder's key, or as none."""
    made(tmp_path, "file")
    for prefix in ("", "p/"):
        found = LocalSource(str(tmp_path / "file"), prefix=prefix)
        assert keys(found) == []
        assert len(found.failures) == 1


def test_prefix_that_no_request_can_carry_is_refused(tmp_path: Path) -> None:
    """Everything below a folder would be escaped, so the prefix is a usage error; so is one that is no text at all."""
    made(tmp_path, "file")
    for path, prefix in (("", "bell\x07/"), ("", "\udcff"), ("file", "\ud800")):
        with pytest.raises(UsageError, match="no key can begin with it"):
            LocalSource(str(tmp_path / path), prefix=prefix)
