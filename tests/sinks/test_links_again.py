"""Objects that were put as symbolic links become links again, where the policy lets them, and never lead a write."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ds3tool.errors import SinkError
from ds3tool.jobs.ends import TargetObject
from ds3tool.protocol.attributes import FileAttributes
from ds3tool.sinks.links import Links, check_inside
from ds3tool.sinks.local import LocalSink

A_LINK = FileAttributes(link=True).to_metadata()
Make = Callable[..., LocalSink]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "restored"


@pytest.fixture
def make(root: Path) -> Iterator[Make]:
    made: list[LocalSink] = []

    def make(**named: object) -> LocalSink:
        made.append(LocalSink(str(root), **named))  # type: ignore[arg-type]  # preserve, links
        return made[-1]

    yield make
    for sink in made:
        sink.close()


def link(sink: LocalSink, name: str, target: bytes, *, replace: bool = False) -> SinkError | None:
    """Restore a link; return why it could not be."""
    item = TargetObject(f"key of {name}", len(target), name, replace=replace)
    try:
        sink.describe(item, A_LINK)
        if target:
            sink.receive_small(item, 0, memoryview(target))
        sink.finish(item)
    except SinkError as error:
        sink.abandon(item)
        return error
    [(_, failed)] = sink.settle(wait=True)
    assert failed is None or isinstance(failed, SinkError)
    return failed


def file(sink: LocalSink, name: str, data: bytes, *, replace: bool = False) -> SinkError | None:
    item = TargetObject(f"key of {name}", len(data), name, replace=replace)
    try:
        sink.receive_small(item, 0, memoryview(data))
    except SinkError as error:
        sink.abandon(item)
        return error
    sink.finish(item)
    [(_, failed)] = sink.settle(wait=True)
    assert failed is None or isinstance(failed, SinkError)
    return failed


def leftovers(root: Path) -> list[Path]:
    return list(root.rglob(".ds3tool-*"))


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("a", "b"),
        ("a", "./b//c"),
        ("a/b", "../c"),
        ("a/b/c", "../../d/e"),
        ("a/b/c", "../x"),
        ("a/b", ".."),
        ("a", "there/is/none"),
        ("a", "weird \udcff\n name"),
    ],
)
def test_link_that_stays_inside_is_made(root: Path, make: Make, name: str, target: str) -> None:
    """A relative link that leads to somewhere below the target folder is there again, with its very target."""
    sink = make()
    assert link(sink, name, os.fsencode(target)) is None
    assert os.readlink(root / name) == target
    assert leftovers(root) == []


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("a", "/etc/passwd"),
        ("a", ".."),
        ("a", "../x"),
        ("a/b", "../../x"),
        ("a/b", "./../../x"),
        ("a/b", "c/../.."),
        ("a", "b/../c"),
        ("a", "b/.."),
    ],
)
def test_link_that_may_lead_outside_fails_by_name(root: Path, make: Make, name: str, target: str) -> None:
    """A link that leads, or together with others could lead, out of the target folder fails; the hint has a way."""
    sink = make()
    error = link(sink, name, target.encode())
    assert error is not None
    assert f"{name} is a link to" in error.message
    assert error.hint is not None
    assert "--symlinks store" in error.hint
    assert not os.path.lexists(root / name)
    assert leftovers(root) == []


def test_links_that_are_allowed_never_get_out_together(tmp_path: Path) -> None:
    """However links that pass the check one by one stand together, following any of them stays below the root."""
    targets = [".", "..", "l1", "l2", "l1/..", "../l1", "../..", "l2/l1", "d/l3", "../l2/x", "d/..", "./l1/../.."]
    for number, chosen in enumerate(itertools.product(targets, repeat=3)):
        root = tmp_path / f"{number}"
        made = []
        for name, target in zip(("l1", "l2", "d/l3"), chosen, strict=True):
            try:
                check_inside(name, target.encode())
            except SinkError:
                continue
            made.append((name, target))
        if len(made) < 2:
            continue
        (root / "d").mkdir(parents=True)
        for name, target in made:
            (root / name).symlink_to(target)
        for name, _ in made:
            reached = os.path.realpath(root / name)
            assert f"{reached}/".startswith(f"{root}/"), made


def test_stored_policy_makes_any_link(root: Path, make: Make) -> None:
    """With `store`, links are made as they are, also those that lead outside."""
    sink = make(links=Links.STORE)
    assert link(sink, "a", b"/etc/passwd") is None
    assert link(sink, "b/c", b"../../../x") is None
    assert (os.readlink(root / "a"), os.readlink(root / "b/c")) == ("/etc/passwd", "../../../x")


def test_skip_policy_leaves_links_out_and_says_so(root: Path, make: Make) -> None:
    """With `skip`, no link appears and none fails; one note counts them."""
    sink = make(links=Links.SKIP)
    assert link(sink, "a", b"b") is None
    assert link(sink, "c", b"d") is None
    assert list(root.iterdir()) == []
    assert sink.notes == ["symbolic links left out: 2 objects, the first a"]


@pytest.mark.parametrize("target", [b"", b"nul\0byte", b"x" * 4097, b"x" * 4096])
def test_content_that_no_link_can_have(root: Path, make: Make, target: bytes) -> None:
    """A target that is empty, too long or holds a NUL fails by name and leaves nothing."""
    error = link(make(links=Links.STORE), "a", target)
    assert error is not None
    assert error.message.startswith("a ")
    assert list(root.iterdir()) == []


def test_nothing_is_written_through_a_restored_link(tmp_path: Path, root: Path, make: Make) -> None:
    """After `a -> elsewhere` was restored, `a/b` fails by name, and elsewhere nothing appears."""
    outside = tmp_path / "outside"
    outside.mkdir()
    sink = make(links=Links.STORE)
    assert link(sink, "a", os.fsencode(outside)) is None
    error = file(sink, "a/b", b"evil")
    assert error is not None
    assert "a should be a folder" in error.message
    folder = TargetObject("k", 0, "a/c/")
    sink.finish(folder)
    [(_, failed)] = sink.settle(wait=True)
    assert failed is not None
    assert list(outside.iterdir()) == []


def test_link_does_not_take_the_place_of_a_folder_in_use(tmp_path: Path, root: Path, make: Make) -> None:
    """A link whose name is that of a folder fails by name; what is in the folder is untouched, replacing or not."""
    sink = make(links=Links.STORE)
    assert file(sink, "a/b", b"1") is None
    for replace in (False, True):
        assert link(sink, "a", os.fsencode(tmp_path), replace=replace) is not None
    assert (root / "a/b").read_bytes() == b"1"
    assert leftovers(root) == []


def test_link_never_over_what_is_there(root: Path, make: Make) -> None:
    """A link whose name is taken fails by name and leaves what is there."""
    root.mkdir()
    (root / "a").write_bytes(b"theirs")
    error = link(make(), "a", b"b")
    assert error is not None
    assert "a is there already" in error.message
    assert (root / "a").read_bytes() == b"theirs"
    assert leftovers(root) == []


def test_link_is_known_again(root: Path, make: Make) -> None:
    """A link's size and bytes are its target's, and it is told from a file of the same bytes."""
    sink = make()
    target = os.fsencode("över/there")
    assert link(sink, "a", target) is None
    assert file(sink, "f", target) is None
    for name in ("a", "f"):
        assert sink.existing_size(name) == len(target)
        assert sink.read_existing(name, 0, len(target)) == target
        assert sink.read_existing(name, 3, 4) == target[3:7]
    assert (sink.is_link("a"), sink.is_link("f"), sink.is_link("none")) == (True, False, False)
    with pytest.raises(SinkError):
        sink.read_existing("a", 5, 100)


def test_link_has_its_own_time(root: Path, make: Make) -> None:
    """With `preserve`, the link itself has the stored time; what it leads to is not touched."""
    sink = make(preserve=True)
    assert file(sink, "file", b"1") is None
    before = (root / "file").stat().st_mtime_ns
    item = TargetObject("k", 4, "a")
    sink.describe(item, FileAttributes(link=True, modified_ns=10**18 + 7, mode=0o120777).to_metadata())
    sink.receive_small(item, 0, memoryview(b"file"))
    sink.finish(item)
    assert sink.settle(wait=True) == [(item, None)]
    assert (root / "a").lstat().st_mtime_ns == 10**18 + 7
    assert (root / "file").stat().st_mtime_ns == before
    assert sink.notes == []


# -- replacing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("old", ["file", "link"])
@pytest.mark.parametrize("new", [file, link])
def test_replacing_takes_the_place_of_files_and_links(
    tmp_path: Path, root: Path, make: Make, old: str, new: Callable[..., SinkError | None]
) -> None:
    """What has the name makes room for an object that may replace it; what an old link led to is untouched."""
    root.mkdir()
    (tmp_path / "outside").write_bytes(b"outside")
    if old == "file":
        (root / "a").write_bytes(b"old")
    else:
        (root / "a").symlink_to("../outside")
    assert new(make(), "a", b"new", replace=True) is None
    if new is file:
        assert not (root / "a").is_symlink()
        assert (root / "a").read_bytes() == b"new"
    else:
        assert os.readlink(root / "a") == "new"
    assert (tmp_path / "outside").read_bytes() == b"outside"
    assert leftovers(root) == []


def test_what_was_there_stays_until_the_new_one_is_whole(root: Path, make: Make) -> None:
    """An object that may replace a file and fails on its way leaves the old file as it was."""
    root.mkdir()
    (root / "a").write_bytes(b"old")
    sink = make()
    item = TargetObject("k", 6, "a", replace=True)
    sink.receive_small(item, 0, memoryview(b"new"))
    assert (root / "a").read_bytes() == b"old"
    sink.abandon(item)
    assert [path.name for path in root.iterdir()] == ["a"]
    assert (root / "a").read_bytes() == b"old"


def test_folders_and_devices_make_no_room(root: Path, make: Make) -> None:
    """A folder or a FIFO of the name is not replaced: the object fails by name."""
    (root / "folder").mkdir(parents=True)
    os.mkfifo(root / "fifo")
    sink = make()
    for name in ("folder", "fifo"):
        error = file(sink, name, b"new", replace=True)
        assert error is not None
        assert f"{name} cannot take the place of" in error.message
    assert (root / "folder").is_dir()
    assert (root / "fifo").is_fifo()
    assert leftovers(root) == []


def test_replacing_where_nothing_is_any_more(root: Path, make: Make) -> None:
    """An object that may replace what is gone by now simply appears."""
    assert file(make(), "a", b"new", replace=True) is None
    assert (root / "a").read_bytes() == b"new"


def test_objects_of_one_run_do_not_replace_each_other(root: Path, make: Make) -> None:
    """A second object of the same name in a run fails by name though it may replace; another run's may."""
    root.mkdir()
    (root / "a").write_bytes(b"old")
    sink = make()
    assert file(sink, "a", b"first", replace=True) is None
    error = file(sink, "a", b"second", replace=True)
    assert error is not None
    assert "another object of this run" in error.message
    assert file(sink, "b", b"first") is None
    assert file(sink, "b", b"second", replace=True) is not None
    assert (root / "a").read_bytes() == (root / "b").read_bytes() == b"first"
    assert file(make(), "a", b"later", replace=True) is None
    assert (root / "a").read_bytes() == b"later"


# -- free names -------------------------------------------------------------------------------------------------------


def test_a_free_name_is_given_once(root: Path, make: Make) -> None:
    """Two objects that ask for the same free name before either has appeared get two names."""
    root.mkdir()
    (root / "film.mov").write_bytes(b"old")
    sink = make()
    assert [sink.free_name("film.mov") for _ in range(3)] == ["film~1.mov", "film~2.mov", "film~3.mov"]
    assert [sink.free_name("new"), sink.free_name("new")] == ["new", "new~1"]


def test_a_name_that_is_being_written_is_not_free(make: Make) -> None:
    """A name under which an object is on its way is not given away; after it was abandoned, it is."""
    sink = make()
    item = TargetObject("k", 4, "film.mov")
    sink.receive_small(item, 0, memoryview(b"12"))
    assert sink.free_name("film.mov") == "film~1.mov"
    sink.abandon(item)
    assert sink.free_name("film.mov") == "film.mov"
