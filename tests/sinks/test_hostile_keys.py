"""Whatever the keys and whoever meddles: nothing outside the target changes; every object is whole or has failed."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ds3tool.errors import SinkError
from ds3tool.jobs.ends import TargetObject
from ds3tool.sinks import durability, folders, groups, parts, present, publishing
from ds3tool.sinks.durability import rename_if_free
from ds3tool.sinks.links import Links
from ds3tool.sinks.local import LocalSink
from tests.sinks.hostile import Hostile, Restore, fold

_PARTS = [
    *("a", "b", "A", "c", "\u00e9", "e\u0301", "\u00df", "ss", "SS", "~", " ", "-", "*", "CON", "a.b"),
    *("..", ".", "", "x" * 255, "x" * 256, "\u00e9" * 127, "\u00e9" * 128),
    *("\n", "\x1b[2J", "[red]", "=1+1", "\x00", "nul\0", "\udcff", "\ud800", "\u202e"),
    *(".ds3tool-00000000-1.part", ".ds3tool-", "OWN-1", "OWN-2", "OWN-3", "OWN-9"),
]
_NICE = ["a", "b", "A", "\u00e9", "e\u0301", "OWN-1", "a.b"]
_TARGETS = [b"a", b"..", b"../outside", b"../outside/file", b"/", b"a/..", b"a/b", b".", b"x\0", b"y" * 5000]


@st.composite
def _names(draw: st.DrawFn) -> str:
    shape = draw(st.integers(0, 9))
    if shape == 0:
        return "/".join(["d" * 60] * draw(st.integers(1, 90))) + "/deep"
    if shape == 1:
        return draw(st.text(min_size=0, max_size=12))
    kinds = _NICE if shape < 7 else _PARTS
    name = "/".join(draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=4)))
    if shape == 9:
        name = "/" + name
    return name + "/" if draw(st.integers(0, 4)) == 0 else name


@st.composite
def _objects(draw: st.DrawFn) -> Hostile:
    is_link = draw(st.integers(0, 3)) == 0
    data = (
        draw(st.sampled_from(_TARGETS)) if is_link else draw(st.sampled_from([b"", b"1", b"22", b"three", bytes(9000)]))
    )
    name = draw(_names())
    if name.endswith("/") and draw(st.booleans()):
        data, is_link = b"", False
    return Hostile(name, data, is_link, replace=draw(st.booleans()), sparse=draw(st.booleans()))


@pytest.fixture(autouse=True)
def _groups_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects appear when the test settles, and not by a clock between two of its steps."""
    monkeypatch.setattr(groups, "GROUP_SECONDS", 3600)


def _restore(
    objects: list[Hostile], chance: random.Random, *, links: Links, preserve: bool, meddling: float, folds: bool = False
) -> Restore:
    with tempfile.TemporaryDirectory() as folder:
        base = Path(os.path.realpath(folder))
        (base / "outside/folder").mkdir(parents=True)
        (base / "outside/file").write_bytes(b"file")
        (base / "outside/folder/file").write_bytes(b"another")
        sink = LocalSink(str(base / "restored"), preserve=preserve, links=links)
        own = f".ds3tool-{sink._parts.token}-"
        named = [
            Hostile(
                "/".join(f"{own}{part[4:]}.part" if part.startswith("OWN-") else part for part in one.name.split("/")),
                one.data,
                one.is_link,
                one.replace,
                one.sparse,
            )
            for one in objects
        ]
        restore = Restore(base, sink, chance, named, folds=folds)
        try:
            restore.run(meddling=meddling)
        finally:
            sink.close()
        return restore


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    objects=st.lists(_objects(), min_size=1, max_size=10),
    chance=st.randoms(use_true_random=False),
    links=st.sampled_from(list(Links)),
    preserve=st.booleans(),
)
def test_hostile_keys_change_nothing_outside_and_appear_whole_or_fail(
    objects: list[Hostile], chance: random.Random, links: Links, preserve: bool
) -> None:
    """Hostile keys restored in any order, with links planted and folders swapped between the steps, hold the promise.

    Nothing beside the target changes, every object that is told as there is whole under its own name with no link on
    the way, every other one has an error, and no temporary file is left.
    """
    _restore(objects, chance, links=links, preserve=preserve, meddling=0.25)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(objects=st.lists(_objects(), min_size=1, max_size=10), chance=st.randoms(use_true_random=False))
def test_hostile_keys_with_nobody_else_about(objects: list[Hostile], chance: random.Random) -> None:
    """When nobody meddles, all keys with names of their own appear: only clashes and impossible names fail."""
    restore = _restore(objects, chance, links=Links.STORE, preserve=False, meddling=0)
    seen = [one.name.removesuffix("/") for one in restore.objects]
    for number, one in enumerate(restore.objects):
        error = restore.done[number]
        alone = not any(
            f"{name}/".startswith(f"{seen[number]}/") or f"{seen[number]}/".startswith(f"{name}/")
            for other, name in enumerate(seen)
            if other != number
        )
        plain = all(part in {"a", "b", "A", "\u00e9", "e\u0301", "a.b"} for part in one.name.split("/"))
        if alone and plain and not one.is_link and error is not None:
            assert str(error) == "abandoned"


# -- file systems that fold names -------------------------------------------------------------------------------------


class FoldingOs:
    """The `os` module over a file system that takes names for the same that differ in case or normal form only.

    As on those of other systems, the name that came first is the one that is listed.
    """

    def __getattr__(self, name: str) -> object:
        return getattr(os, name)

    @staticmethod
    def _real(name: str | bytes, folder: int | None) -> str | bytes:
        if folder is None:
            return name
        text = os.fsdecode(name)
        return next((entry for entry in os.listdir(folder) if fold(entry) == fold(text)), name)

    def open(self, path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        return os.open(self._real(path, dir_fd), flags, mode, dir_fd=dir_fd)

    def stat(self, path: str, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> os.stat_result:
        return os.stat(self._real(path, dir_fd), dir_fd=dir_fd, follow_symlinks=follow_symlinks)

    def mkdir(self, path: str, *, dir_fd: int | None = None) -> None:
        os.mkdir(self._real(path, dir_fd), dir_fd=dir_fd)

    def unlink(self, path: str, *, dir_fd: int | None = None) -> None:
        os.unlink(self._real(path, dir_fd), dir_fd=dir_fd)

    def rename_if_free(self, temporary: str, name: str, folder: int) -> bool:
        return rename_if_free(temporary, os.fsdecode(self._real(name, folder)), folder)

    def rename(self, source: str, name: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        os.rename(source, self._real(name, dst_dir_fd), src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    def symlink(self, target: bytes, name: bytes, *, dir_fd: int) -> None:
        os.symlink(target, self._real(name, dir_fd), dir_fd=dir_fd)


@pytest.fixture
def folding(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    double = FoldingOs()
    with monkeypatch.context() as patch:
        for module in (durability, folders, parts, present, publishing):
            patch.setattr(module, "os", double)
        patch.setattr(durability, "rename_if_free", double.rename_if_free)
        yield


@pytest.mark.usefixtures("folding")
@pytest.mark.parametrize(("first", "second"), [("Film", "FILM"), ("caf\u00e9", "cafe\u0301"), ("d/\u00df", "D/SS")])
@pytest.mark.parametrize("replace", [False, True])
def test_two_keys_that_become_one_file(tmp_path: Path, first: str, second: str, replace: bool) -> None:
    """Where the file system takes two keys for one name, the second fails by name and the first is untouched."""
    sink = LocalSink(str(tmp_path))
    for name in (first, second):
        item = TargetObject(f"key of {name}", 8, name, replace=replace)
        sink.receive_small(item, 0, memoryview(os.fsencode(f"{name:8}")[:8]))
        sink.finish(item)
    outcome = {item.name: error for item, error in sink.settle(wait=True)}
    sink.close()
    assert outcome[first] is None
    error = outcome[second]
    assert isinstance(error, SinkError)
    assert second in error.message
    assert "two keys can mean one file name here" in (error.hint or "")
    assert (tmp_path / first).read_bytes() == os.fsencode(f"{first:8}")[:8]


@pytest.mark.usefixtures("folding")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(
        st.lists(st.sampled_from(["a", "A", "\u00e9", "e\u0301", "\u00c9", "\u00df", "ss"]), min_size=1, max_size=3),
        min_size=2,
        max_size=10,
    ),
    chance=st.randoms(use_true_random=False),
)
def test_folded_names_never_lose_an_object(names: list[list[str]], chance: random.Random) -> None:
    """On a file system that folds, each object is whole under its folded name when it is told, and at the end."""
    objects = [Hostile("/".join(name), b"%d" % number, replace=number % 2 == 0) for number, name in enumerate(names)]
    restore = _restore(objects, chance, links=Links.INSIDE, preserve=False, meddling=0, folds=True)
    there = [fold(one.name) for number, one in enumerate(objects) if restore.done[number] is None]
    assert len(there) == len(set(there))
