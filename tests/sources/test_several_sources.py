"""Several sources as one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ds3tool.errors import SourceError
from ds3tool.jobs.ends import Failure, OpenObject, Source, SourceObject
from ds3tool.sources.local import LocalSource
from ds3tool.sources.several import SeveralSources
from tests.sources.reading import contents, keys


class FailingSource:
    """A stream of which nothing can be had."""

    def __init__(self) -> None:
        self.sequential = True
        self.distant = False
        self.failures = [Failure(None, SourceError("broken"), "there")]
        self.skipped = ["something"]
        self.notes = ["a note"]

    def objects(self) -> Iterator[SourceObject]:
        yield SourceObject("stream", 3, 0, b"2:x\0")

    def open(self, item: SourceObject) -> OpenObject:
        raise SourceError(f"asked for {item.name!r}")


def local(root: Path, name: str, prefix: str) -> LocalSource:
    return LocalSource(str(root / name), prefix=prefix)


@pytest.fixture
def three(tmp_path: Path) -> list[Source]:
    (tmp_path / "a/empty").mkdir(parents=True)
    (tmp_path / "a/1:2").write_bytes(b"of a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/1:2").write_bytes(b"of b")
    (tmp_path / "b/link").symlink_to("1:2")
    (tmp_path / "b" / os.fsdecode(b"\xff")).write_bytes(b"")
    (tmp_path / "file").write_bytes(b"file")
    return [local(tmp_path, "a", "a/"), local(tmp_path, "b", "b/"), local(tmp_path, "file", "file")]


def test_objects_come_source_by_source_and_open_in_their_own(three: list[Source]) -> None:
    """Each object's bytes are those of the source that listed it, whatever its name holds."""
    found = SeveralSources(three)
    assert keys(found) == ["a/1:2", "a/empty/", "b/1:2", "b/%FF", "file"]
    assert keys(found) == keys(found)
    assert contents(found) == {"a/1:2": b"of a", "a/empty/": b"", "b/1:2": b"of b", "b/%FF": b"", "file": b"file"}


def test_what_each_has_to_say_is_told(three: list[Source]) -> None:
    """Failures, what was skipped and notes of all of them are told, and one stream makes all of them one."""
    found = SeveralSources(three)
    assert not found.sequential
    keys(found)
    assert len(found.skipped) == 1
    assert len(found.notes) == 1
    found = SeveralSources([*three, FailingSource()])
    assert found.sequential
    *_, last = found.objects()
    assert (last.key, last.size) == ("stream", 3)
    assert [failure.name for failure in found.failures] == ["there"]
    assert found.skipped[-1] == "something"
    assert found.notes[-1] == "a note"
    with pytest.raises(SourceError, match=r"asked for b'2:x\\x00'"):
        found.open(last)


def test_many_sources_are_told_apart(tmp_path: Path) -> None:
    """Twelve sources of one file each give twelve files."""
    sources: list[Source] = []
    for number in range(12):
        (tmp_path / f"file {number}").write_bytes(b"%d" % number)
        sources.append(local(tmp_path, f"file {number}", f"key {number}"))
    assert contents(SeveralSources(sources)) == {f"key {number}": b"%d" % number for number in range(12)}
