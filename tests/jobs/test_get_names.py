"""Keys that are no harmless file names: nothing outside the target changes, and the rest goes on."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from ds3tool.errors import Ds3Error
from ds3tool.jobs.get import GetRun
from ds3tool.jobs.run import RunResult
from ds3tool.sinks.local import LocalSink
from ds3tool.transport.bodies import BytesBody
from tests.jobs.rooms import BUCKET, Room

# What an attacker, or another system, may have put; `%s` is the path of a folder outside of the target.
HOSTILE = (
    "../outside.txt",
    "../../etc/passwd",
    "%s/planted",
    "/%s/planted",
    "a/../../outside.txt",
    "a/./b",
    "a//b",
    ".",
    "..",
    "...",
    "/",
    "a/..",
    "dir/",
    "dir/x",
    "both",
    "both/below",
    "deep/both/c",
    "deep/both",
    "link/through",
    "link",
    "n" * 300,
    "d" * 256 + "/x",
    "per%%2Fcent",
    "back\\slash",
    "C:\\windows",
    "con",
    "aux.txt",
    "trailing.",
    "trailing ",
    "new\nline",
    "esc\x1b[2J" if os.name == "nt" else "tab\there",
    "café",
    "cafe\u0301",
    "Case",
    "case",
    ".ds3tool-00000000-1.part",
    "~",
    "-rf",
    "$(touch x)",
    "plain.txt",
)


@pytest.fixture
def bucket_of(room: Room) -> Callable[[list[str]], list[str]]:
    """Give a function that puts objects of these keys, each with its key as bytes; returns those that were taken."""

    def put(keys: list[str]) -> list[str]:
        taken = []
        for key in keys:
            try:
                room.client.put_object(BUCKET, key, BytesBody(b"" if key.endswith("/") else key.encode()))
            except Ds3Error:
                continue  # the appliance does not take it, so nobody can be sent it
            taken.append(key)
        return taken

    return put


def get_all(room: Room, target: Path, *, name_of: Callable[[str], str] = str) -> RunResult:
    with closing(LocalSink(str(target))) as sink:
        listed = room.client.list_objects(BUCKET)
        return GetRun(room.client, sink, BUCKET, listed, name_of=name_of, settings=room.settings).run()


def picture(root: Path) -> dict[str, str | bytes]:
    """Return what is below `root`: files by their bytes, links by their target, folders as such."""
    found: dict[str, str | bytes] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        found[name] = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else "folder"
    return found


@contextmanager
def unchanged(world: Path, but: str) -> Iterator[None]:
    """See to it that nothing below `world` changes while the body runs, but for what is below its folder `but`."""

    def outside() -> dict[str, str | bytes]:
        return {name: seen for name, seen in picture(world).items() if name != but and not name.startswith(but + "/")}

    before = outside()
    yield
    assert outside() == before


def test_random_hostile_keys_change_nothing_outside_the_target(
    room: Room, bucket_of: Callable[[list[str]], list[str]], tmp_path: Path
) -> None:
    """Fifteen random sets of keys, a link to the outside among what is there: each object arrives whole or is named."""
    world = tmp_path / "world"
    secret = world / "secret"
    secret.mkdir(parents=True)
    (secret / "file").write_bytes(b"secret")
    taken = bucket_of([key % str(secret) if "%s" in key else key.replace("%%", "%") for key in HOSTILE])
    assert len(taken) > 25
    listed = {one.key: one for one in room.client.list_objects(BUCKET)}
    for seed in range(15):
        chance = random.Random(seed)
        target = world / f"target-{seed}"
        target.mkdir()
        if chance.random() < 0.5:
            (target / "link").symlink_to(secret)
        keys = chance.sample(taken, chance.randrange(3, len(taken)))
        with unchanged(world, target.name), closing(LocalSink(str(target))) as sink:
            wanted = [listed[key] for key in keys]
            got = GetRun(room.client, sink, BUCKET, wanted, name_of=str, settings=room.settings).run()
        assert got.objects + got.skipped + len(got.failures) == len(keys), seed
        failed = {failure.key for failure in got.failures}
        for key in set(keys) - failed:
            path = target / key
            assert path.is_dir() if key.endswith("/") else path.read_bytes() == key.encode(), (seed, key)
        assert not [name for name in picture(target) if name.endswith(".part") and name not in keys], seed
        assert list(room.client.list_active_jobs(bucket=BUCKET)) == []


def test_a_key_that_is_a_file_and_a_folder_at_once_fails_by_name_before_a_job(
    room: Room, bucket_of: Callable[[list[str]], list[str]], tmp_path: Path
) -> None:
    """What lies below it arrives; the file that would stand in its way is named, and the hint gets it."""
    bucket_of(["both", "both/below", "other"])
    got = get_all(room, tmp_path / "target")
    assert [(failure.key, "others need a folder" in failure.error.message) for failure in got.failures] == [
        ("both", True)
    ]
    assert (got.objects, got.exit_code) == (2, 3)
    assert picture(tmp_path / "target") == {"both": "folder", "both/below": b"both/below", "other": b"other"}


def test_a_link_that_leads_outside_is_not_followed(
    room: Room, bucket_of: Callable[[list[str]], list[str]], tmp_path: Path
) -> None:
    """An object below it fails by name, whether the link was there before or is swapped in during the get."""
    bucket_of(["there/file", "swapped/file", "fine"])
    outside, target = tmp_path / "outside", tmp_path / "target"
    outside.mkdir()
    target.mkdir()
    (target / "there").symlink_to(outside)

    class Swapping(LocalSink):
        def free_bytes(self) -> int:
            if not (target / "swapped").is_symlink():
                (target / "swapped").symlink_to(outside)
            return super().free_bytes()

    with closing(Swapping(str(target))) as sink:
        listed = room.client.list_objects(BUCKET)
        got = GetRun(room.client, sink, BUCKET, listed, name_of=str, settings=room.settings).run()
    assert {failure.key for failure in got.failures} == {"there/file", "swapped/file"}
    assert (target / "fine").read_bytes() == b"fine"
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("name", ["../up", "/abs", "a/../../up", ""])
def test_a_renaming_cannot_lead_outside_either(
    room: Room, bucket_of: Callable[[list[str]], list[str]], tmp_path: Path, name: str
) -> None:
    """Whatever a map makes of a key is held against the same rules as the key."""
    bucket_of(["k", "fine"])
    world = tmp_path / "world"
    world.mkdir()
    with unchanged(world, "target"):
        got = get_all(room, world / "target", name_of=lambda key: name if key == "k" else key)
    assert [failure.key for failure in got.failures] == ["k"]
    assert (world / "target" / "fine").read_bytes() == b"fine"
