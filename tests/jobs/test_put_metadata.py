"""What is stored beside an object: the user's words and the source's, for small and large objects alike."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ds3tool.client import Ds3Client
from ds3tool.errors import UsageError
from ds3tool.jobs.ends import OpenObject, SourceObject
from ds3tool.simulator.quirks import Quirk
from ds3tool.sources.local import LocalSource
from ds3tool.transport.pool import Transport
from ds3tool.transport.ratelimit import RateLimit
from ds3tool.transport.settings import ConnectionSettings
from tests.jobs.rooms import BUCKET, MIB, HookedSource, Room

WORDS = {"Project": "Apollo 11, reel + 7", "größe": "naïve\n100%", "z": "="}
STORED = {"project": "Apollo 11, reel + 7", "größe": "naïve\n100%", "z": "="}
SIZES = {"empty": 0, "small": 10, "careful": 400_000, "blobs": 3 * MIB + 1}


class Described(LocalSource):
    """A local source that says of each object how large it is."""

    def open(self, item: SourceObject) -> OpenObject:
        return _Telling(super().open(item), {"ds3-told-size": str(item.size)})


class _Telling:
    def __init__(self, opened: OpenObject, told: Mapping[str, str]) -> None:
        self._told = told
        self.body = opened.body
        self.read = opened.read
        self.check_unchanged = opened.check_unchanged
        self.close = opened.close

    def metadata(self) -> Mapping[str, str]:
        return self._told


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files for each way that a blob can go."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for name, size in SIZES.items():
        (tree / name).write_bytes(os.urandom(size))
    return tree


def stored(room: Room, key: str) -> dict[str, str]:
    return dict(room.client.head_object(BUCKET, key).metadata)


@pytest.mark.parametrize("limited", [False, True], ids=["small requests", "careful path alone"])
def test_metadata_of_user_and_source_are_stored_with_every_object(room: Room, tree: Path, *, limited: bool) -> None:
    """HEAD gives back both, decoded, for objects of no byte, of one blob on either path, and of several blobs."""
    room.settings = replace(room.settings, metadata=WORDS)
    settings = ConnectionSettings(room.appliance.endpoint, room.appliance.access_key, room.appliance.secret_key)
    # Under a limit of the rate there is no loop for small requests.
    transport = Transport(settings, limit=RateLimit(1 << 40) if limited else None)
    with closing(transport):
        result = room.put(Described(str(tree), prefix=""), client=Ds3Client.over(transport))
    assert (result.objects, result.failures) == (4, [])
    for name, size in SIZES.items():
        assert stored(room, name) == {**STORED, "ds3-told-size": str(size)}
        data = (tree / name).read_bytes()
        assert room.client.head_object(BUCKET, name).size == len(data)


def test_objects_without_metadata_have_none(room: Room, tree: Path) -> None:
    """Neither path invents any."""
    assert room.put(tree).objects == 4
    assert [stored(room, name) for name in SIZES] == [{}] * 4


def test_metadata_that_no_header_can_carry_is_refused_before_a_job(room: Room, tree: Path) -> None:
    """Two names that differ in case only are one for the appliance."""
    room.settings = replace(room.settings, metadata={"Take": "1", "take": "2"})
    with pytest.raises(UsageError, match="given twice"):
        room.put(tree)
    assert not room.recorder.planned_jobs


def test_empty_objects_that_older_releases_make_have_no_metadata_and_that_is_told(
    room_with: Callable[..., Room], tree: Path
) -> None:
    """They come into being with the job, where nothing can be said of them."""
    room = room_with(quirks=frozenset({Quirk.EMPTY_AT_CREATION}))
    room.settings = replace(room.settings, metadata=WORDS)
    result = room.put(tree)
    assert (result.objects, result.exit_code) == (4, 0)
    assert (stored(room, "empty"), stored(room, "small")) == ({}, STORED)
    assert "1 empty object was made by the appliance with their job, so their metadata are not stored" in result.notes


def test_an_empty_file_that_has_grown_is_not_taken_for_put(room_with: Callable[..., Room], tree: Path) -> None:
    """Also where the appliance makes empty objects with their job: it fails by name, and the empty object goes."""
    room = room_with(quirks=frozenset({Quirk.EMPTY_AT_CREATION}))

    def grow(item: SourceObject) -> None:
        if item.key == "empty":
            (tree / "empty").write_bytes(b"not any more")

    result = room.put(HookedSource(tree, before_open=grow))
    assert [failure.key for failure in result.failures] == ["empty"]
    assert result.objects == 3
    assert "empty" not in room.listed()
