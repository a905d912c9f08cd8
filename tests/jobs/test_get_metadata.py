"""What is stored beside an object is told to the sink: once, before any of its bytes, and only when it is anything."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from ds3tool.jobs.ends import TargetObject
from ds3tool.protocol.model import Blob
from ds3tool.sinks.local import LocalSink
from tests.jobs.doubles import SwiftClock
from tests.jobs.rooms import MIB, Room
from tests.jobs.test_runs_that_fail import OddPlanner

FILES = {"large": bytes(3 * MIB), "mixed": bytes(MIB + 10), "small": b"small", "empty": b""}


class ToldSink(LocalSink):
    """A local sink that notes what it is told, and whether bytes came before."""

    def __init__(self, root: Path, *, preserve: bool = False) -> None:
        super().__init__(str(root), preserve=preserve)
        self.lock = threading.Lock()
        self.told: list[tuple[str, dict[str, str]]] = []
        self.stored: set[str] = set()

    def describe(self, item: TargetObject, metadata: Mapping[str, str]) -> None:
        with self.lock:
            assert item.key not in self.stored, "bytes came before it was described"
            self.told.append((item.key, dict(metadata)))
        super().describe(item, metadata)

    def receive(self, item: TargetObject, *arguments: object, **named: object) -> str | None:
        with self.lock:
            self.stored.add(item.key)
        return super().receive(item, *arguments, **named)  # type: ignore[arg-type]  # as they came

    def plain_writer(self) -> None:  # every blob is to be seen
        return None

    def receive_small(self, item: TargetObject, offset: int, data: memoryview) -> None:
        with self.lock:
            self.stored.add(item.key)
        super().receive_small(item, offset, data)


@pytest.fixture
def stocked(room: Room, tmp_path: Path) -> Callable[[Mapping[str, str]], None]:
    """Give a function that puts an object of several blobs, small ones and an empty one, with metadata."""

    def put(metadata: Mapping[str, str]) -> None:
        tree = tmp_path / "tree"
        tree.mkdir()
        for name, data in FILES.items():
            (tree / name).write_bytes(data)
        settings, room.settings = room.settings, replace(room.settings, metadata=metadata)
        assert room.put(tree).exit_code == 0
        room.settings = settings

    return put


def test_each_object_is_described_once_before_its_bytes(
    room: Room, stocked: Callable[[Mapping[str, str]], None], tmp_path: Path
) -> None:
    """Of several blobs that come at once, the first tells; names and values as they were put."""
    stocked({"project": "näht & co"})
    sink = ToldSink(tmp_path / "out")
    assert room.get(sink).exit_code == 0
    assert sorted(sink.told) == [(key, {"project": "näht & co"}) for key in sorted(FILES)]


def test_nothing_is_told_of_objects_without_metadata(
    room: Room, stocked: Callable[[Mapping[str, str]], None], tmp_path: Path
) -> None:
    """Most objects have none, and small ones come by the thousand."""
    stocked({})
    sink = ToldSink(tmp_path / "out")
    assert room.get(sink).exit_code == 0
    assert sink.told == []


@pytest.mark.parametrize("preserve", [False, True])
def test_of_an_object_that_no_blob_tells_of_the_appliance_is_asked_if_the_sink_cares(
    room: Room, stocked: Callable[[Mapping[str, str]], None], tmp_path: Path, *, preserve: bool
) -> None:
    """Older releases list no empty objects: one question for each, and none where it would serve nothing."""
    stocked({"project": "x"})

    def listed(blobs: list[Blob]) -> list[Blob]:
        return [blob for blob in blobs if blob.length]

    with room.connect() as plain:
        client = OddPlanner.over(plain.exchange)
        client.change = listed
        sink = ToldSink(tmp_path / "out", preserve=preserve)
        # The appliance goes on with its job for the empty object, and is asked a few times whether it has ended.
        got = room.get(sink, client=client, prepare=lambda run: setattr(run, "clock", SwiftClock()))
    assert (got.objects, got.exit_code) == (4, 0)
    assert (("empty", {"project": "x"}) in sink.told) is preserve
    assert (tmp_path / "out" / "empty").read_bytes() == b""
