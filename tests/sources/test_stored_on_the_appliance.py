"""What an appliance holds of a tree's names, links and attributes after a put."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ds3tool.jobs.ends import OpenObject, SourceObject
from ds3tool.protocol.attributes import FileAttributes
from ds3tool.protocol.escaped import raw_name
from ds3tool.simulator import Appliance, ApplianceSettings
from ds3tool.sources.local import LocalSource, Symlinks
from tests.jobs.rooms import BUCKET, MIB, Room


@pytest.fixture
def room() -> Iterator[Room]:
    settings = ApplianceSettings(blob_size=MIB, chunk_size=4 * MIB, cache_size=24 * MIB, retry_after=0, seed=1)
    room = Room(Appliance(replace(settings, persist_delay=0.0)).start())
    yield room
    room.close()


def test_attributes_of_every_file_are_stored(tmp_path: Path, room: Room) -> None:
    """Small files, files of several blobs, empty ones, links and empty folders keep what the file system says."""
    for name, size in (("small", 10), ("large", 2 * MIB + 5), ("none", 0)):
        path = tmp_path / name
        path.write_bytes(b"x" * size)
        path.chmod(0o640)
        os.utime(path, ns=(5_000_000_001, 6_000_000_007))
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("small")
    result = room.put(LocalSource(str(tmp_path), prefix="p/", symlinks=Symlinks.STORE, preserve=True))
    assert (result.objects, result.failures, result.notes) == (5, [], [])
    found = {
        key: FileAttributes.from_metadata(room.client.head_object(BUCKET, f"p/{key}").metadata)
        for key in ("small", "large", "none", "empty/", "link")
    }
    for key in ("small", "large", "none"):
        assert found[key].mode == stat.S_IFREG | 0o640
        assert (found[key].accessed_ns, found[key].modified_ns) == (5_000_000_001, 6_000_000_007)
        assert found[key].owner == (tmp_path / key).owner()
    assert stat.S_ISDIR(found["empty/"].mode or 0)
    assert found["empty/"].modified_ns == (tmp_path / "empty").stat().st_mtime_ns
    assert found["link"].link
    assert found["link"].modified_ns == os.lstat(tmp_path / "link").st_mtime_ns


def test_real_names_are_stored_beside_escaped_keys(tmp_path: Path, room: Room) -> None:
    """A name that is no key comes back from what the appliance holds, and the run says that it was escaped."""
    folder = tmp_path / os.fsdecode(b"\xff")
    folder.mkdir()
    (folder / os.fsdecode(b"caf\xe9\x07")).write_bytes(b"data")
    result = room.put(LocalSource(str(tmp_path), prefix="p/"))
    assert (result.objects, result.failures) == (1, [])
    assert any("could not be stored as written" in note for note in result.notes)
    key = "p/%FF/caf%E9%07"
    metadata = room.client.head_object(BUCKET, key).metadata
    assert raw_name("%FF/caf%E9%07", key, metadata) == os.fsdecode(b"\xff/caf\xe9\x07")


class ReplacingSource(LocalSource):
    """Lets another file of the same size and time take a file's name just before it is opened."""

    def open(self, item: SourceObject) -> OpenObject:
        path = Path(os.fsdecode(os.path.join(self._root, item.name)))
        if path.name == "replaced":
            other = path.with_name("other")
            other.write_bytes(b"y" * item.size)
            os.utime(other, ns=(item.modified_ns, item.modified_ns))
            other.rename(path)
        return super().open(item)


def test_file_that_was_replaced_is_not_put(tmp_path: Path, room: Room) -> None:
    """A file whose name was taken by another of equal size and time fails by name; its neighbours are put."""
    for name in ("good", "replaced"):
        (tmp_path / name).write_bytes(b"x" * 100)
    result = room.put(ReplacingSource(str(tmp_path), prefix=""))
    assert (result.objects, result.exit_code) == (1, 3)
    (failure,) = result.failures
    assert failure.key == "replaced"
    assert "another file has taken its name" in failure.error.message
    assert [listed.key for listed in room.client.list_objects(BUCKET)] == ["good"]
