"""Files that a list names: what `--files-from` means."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from ds3tool.errors import SourceError, UsageError
from ds3tool.filters import Filter, NamePattern
from ds3tool.renaming import Renaming
from ds3tool.sources.listing import ListedFiles
from ds3tool.sources.local import Symlinks
from tests.sources.reading import contents, keys


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for name in ("a/one", "a/two", "a/deep/three", "b/four", "five"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    (root / "empty").mkdir()
    (tmp_path / "outside").write_bytes(b"secret")
    return root


def listed(root: Path, *names: bytes, symlinks: Symlinks = Symlinks.SKIP) -> ListedFiles:
    return ListedFiles(str(root), names, prefix="p/", symlinks=symlinks)


def test_listed_files_are_put_in_their_order(tree: Path) -> None:
    """Only what is listed is put, in the list's order, and the same at a second walk of a list that reads once."""
    found = ListedFiles(str(tree), iter([b"five", b"a/two", b"./b//four"]), prefix="p/")
    for _ in range(2):
        assert keys(found) == ["p/five", "p/a/two", "p/b/four"]
        assert found.failures == []
    assert contents(found) == {"p/five": b"five", "p/a/two": b"a/two", "p/b/four": b"b/four"}


@pytest.mark.parametrize("name", [b"a", b"a/", b"./a/."])
def test_folder_means_everything_below(tree: Path, name: bytes) -> None:
    """A folder's name stands for all that is in it, however it is written."""
    assert keys(listed(tree, name)) == ["p/a/one", "p/a/two", "p/a/deep/three"]


def test_empty_folder_is_a_folder_object(tree: Path) -> None:
    """An empty folder that is listed is put as one, and the folder itself means everything."""
    assert keys(listed(tree, b"empty")) == ["p/empty/"]
    assert set(keys(listed(tree, b"."))) == {
        "p/five",
        "p/a/one",
        "p/a/two",
        "p/a/deep/three",
        "p/b/four",
        "p/empty/",
    }


@pytest.mark.parametrize("deepest_first", [False, True])
def test_what_is_named_twice_is_put_once(tree: Path, *, deepest_first: bool) -> None:
    """The whole output of find, folders before or after what is in them, names each file several times."""
    names = [b"."]
    for folder, folders, files in os.walk(tree):
        names += [os.fsencode(os.path.join(os.path.relpath(folder, tree), name)) for name in folders + files]
    names.sort(key=len, reverse=deepest_first)
    found = listed(tree, *names, *names)
    assert sorted(keys(found)) == [
        "p/a/deep/three",
        "p/a/one",
        "p/a/two",
        "p/b/four",
        "p/empty/",
        "p/five",
    ]
    assert found.failures == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (b"/etc/passwd", "is absolute"),
        (b"../outside", "leads out"),
        (b"a/../../outside", "leads out"),
        (b"a/..", "leads out"),
        (b"none", "is listed, but not there"),
        (b"none/at/all", "is listed, but not there"),
        (b"five/below", "is listed, but not there"),
        (b"a\0b", "holds a NUL"),
        (b"x" * 300, "cannot be examined"),
        (b"\xff\xfe", "is listed, but not there"),
    ],
)
def test_names_that_lead_nowhere_or_outside_fail_by_name(tree: Path, name: bytes, reason: str) -> None:
    """Whatever is not below the folder is a failure, and what is listed around it is put."""
    for symlinks in Symlinks:
        found = listed(tree, b"five", name, b"a/one", symlinks=symlinks)
        assert keys(found) == ["p/five", "p/a/one"]
        (failure,) = found.failures
        assert failure.path is not None
        assert os.fsencode(failure.path).endswith(name)
        assert reason in failure.error.message


@pytest.mark.parametrize("first", [b"a", b".", b"a/deep"])
def test_names_below_a_listed_folder_fail_by_name_all_the_same(tree: Path, first: bytes) -> None:
    """That the folder is put does not put what is not there, or stands behind a link that is left out."""
    (tree / "a" / "deep" / "link").symlink_to("../../b")
    found = listed(tree, first, b"a/deep/three", b"a/deep/missing", b"a/deep/link/four")
    assert keys(found).count("p/a/deep/three") == 1
    told = {os.path.relpath(failure.path or "", tree) for failure in found.failures}
    assert told == {"a/deep/missing", "a/deep/link/four"}


def test_name_that_leads_through_a_link_fails_unless_links_are_followed(tree: Path) -> None:
    """A link on the way may lead anywhere, so it is followed only where links are."""
    (tree / "link").symlink_to("..")
    (tree / "a/inner").symlink_to("../b")
    names = (b"link/outside", b"a/one", b"a/inner/four", b"a/two")
    for symlinks in (Symlinks.SKIP, Symlinks.STORE):
        found = listed(tree, *names, symlinks=symlinks)
        assert keys(found) == ["p/a/one", "p/a/two"]
        assert [failure.path for failure in found.failures] == [f"{tree}/link/outside", f"{tree}/a/inner/four"]
        assert all("through the symbolic link" in failure.error.message for failure in found.failures)
    assert len(keys(listed(tree, *names, symlinks=Symlinks.FOLLOW))) == 4


def test_listed_links_are_what_links_are(tree: Path) -> None:
    """A listed link is skipped and named, stored or followed like any other; a dangling one fails where followed."""
    (tree / "link").symlink_to("five")
    (tree / "loop").symlink_to(".")
    (tree / "a/dangling").symlink_to("nowhere")
    names = (b"link", b"a/dangling", b"loop")
    found = listed(tree, *names)
    assert keys(found) == []
    assert len(found.skipped) == 3
    found = listed(tree, *names, symlinks=Symlinks.STORE)
    assert contents(found) == {"p/link": b"five", "p/a/dangling": b"nowhere", "p/loop": b"."}
    found = listed(tree, *names, symlinks=Symlinks.FOLLOW)
    assert contents(found) == {"p/link": b"five"}
    assert [failure.path for failure in found.failures] == [f"{tree}/a/dangling", f"{tree}/loop"]
    assert "a symbolic link to something that is not there" in found.failures[0].error.message
    assert "would never end" in found.failures[1].error.message


def test_filter_and_names_hold_for_listed_files(tree: Path) -> None:
    """What is listed is put only where it is wanted, and under its new name."""
    found = ListedFiles(
        str(tree),
        [b"a/one", b"b", b"a/two"],
        prefix="",
        names=Renaming("a/"),
        wanted=Filter(exclude=NamePattern(["one", "b/"])),
    )
    assert keys(found) == ["two"]
    assert found.failures == []


def test_list_is_read_as_it_is_needed(tree: Path) -> None:
    """The first file is put before the second name is read; a walk that was given up loses no name."""
    read: list[bytes] = []

    def names() -> Iterator[bytes]:
        for name in (b"five", b"a/one", b"a/two"):
            read.append(name)
            yield name

    found = ListedFiles(str(tree), names(), prefix="")
    assert read == []
    assert next(found.objects()).key == "five"
    assert read == [b"five"]
    assert keys(found) == ["five", "a/one", "a/two"]
    assert keys(found) == ["five", "a/one", "a/two"]
    assert read == [b"five", b"a/one", b"a/two"]


def test_long_list_is_kept_whole(tree: Path) -> None:
    """A list that outgrows memory comes back name by name, line feeds included."""
    names = [b"none/" + b"x" * 200 + b"\n%d" % number for number in range(8000)]
    found = listed(tree, *names, b"five")
    for _ in range(2):
        assert keys(found) == ["p/five"]
        assert [os.fsencode(failure.path or "") for failure in found.failures] == [
            os.path.join(os.fsencode(tree), name) for name in names
        ]


def test_list_that_breaks_never_looks_like_a_shorter_one(tree: Path) -> None:
    """A list that cannot be read to its end is an error at every walk, not a list of fewer names."""

    def names() -> Iterator[bytes]:
        yield b"five"
        raise OSError(5, "Input/output error")

    found = ListedFiles(str(tree), names(), prefix="")
    for _ in range(2):
        walk = found.objects()
        assert next(walk).key == "five"
        with pytest.raises(SourceError, match="the list of files cannot be read: Input/output error"):
            next(walk)


def test_list_without_a_folder_is_refused(tree: Path) -> None:
    """A single file holds nothing that a list could name."""
    names: Iterable[bytes] = []
    with pytest.raises(UsageError, match="is no folder"):
        ListedFiles(str(tree / "five"), names, prefix="")
