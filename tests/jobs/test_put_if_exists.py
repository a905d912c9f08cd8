"""What a put does with keys that are taken: each `--if-exists` rule, object by object."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ds3tool.client import Ds3Client
from ds3tool.errors import SourceError, UsageError
from ds3tool.jobs.existing import IfExists
from ds3tool.jobs.plan import JobLimits
from ds3tool.jobs.run import RunResult
from ds3tool.protocol.messages import Request
from ds3tool.protocol.model import ChecksumType, ObjectToPut, Versioning
from ds3tool.sources.local import LocalSource
from ds3tool.sources.several import SeveralSources
from ds3tool.transport.bodies import BytesBody
from ds3tool.transport.pool import Transport
from tests.jobs.rooms import BUCKET, MIB, Room


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files `same`, `changed`, `new` and a folder; the first two are in the bucket, one with other bytes."""
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "same").write_bytes(b"as ever")
    (tree / "changed.txt").write_bytes(b"after")
    (tree / "sub" / "new").write_bytes(b"new")
    return tree


def fill(room: Room) -> None:
    room.client.put_object(BUCKET, "same", BytesBody(b"as ever"))
    room.client.put_object(BUCKET, "changed.txt", BytesBody(b"before"))


def put(room: Room, tree: Path, rule: IfExists, **others: Any) -> RunResult:  # noqa: ANN401  # fields of RunSettings
    room.settings = replace(room.settings, if_exists=rule, **others)
    return room.put(tree)


def content(room: Room, key: str) -> bytes:
    return room.client.get_object(BUCKET, key, lambda reply: b"".join(reply.body))


def failed(result: RunResult) -> list[str | None]:
    return [failure.key for failure in result.failures]


@pytest.mark.parametrize(
    ("rule", "objects", "skipped", "failures"),
    [
        (IfExists.SKIP_SAME, 1, 1, ["changed.txt"]),
        (IfExists.SKIP, 1, 2, []),
        (IfExists.FAIL, 1, 0, ["changed.txt", "same"]),
        (IfExists.RENAME, 2, 1, []),
        (IfExists.OVERWRITE, 2, 1, []),
    ],
)
def test_each_rule_does_what_it_says(
    room: Room, tree: Path, rule: IfExists, objects: int, skipped: int, failures: list[str]
) -> None:
    """What is put, skipped and failed; the object that is there changes under no rule but overwrite."""
    fill(room)
    result = put(room, tree, rule, may_delete=True)
    assert (result.objects, result.skipped, failed(result)) == (objects, skipped, failures)
    assert result.exit_code == (3 if failures else 0)
    assert content(room, "changed.txt") == (b"after" if rule is IfExists.OVERWRITE else b"before")
    assert content(room, "sub/new") == b"new"
    assert content(room, "same") == b"as ever"


@pytest.mark.parametrize("rule", [IfExists.VERSION, IfExists.OVERWRITE])
@pytest.mark.parametrize("versioning", [Versioning.KEEP_LATEST, Versioning.KEEP_MULTIPLE_VERSIONS])
def test_where_versions_are_kept_what_differs_is_put_and_nothing_deleted(
    room_with: Callable[..., Room], tree: Path, rule: IfExists, versioning: Versioning
) -> None:
    """The new bytes are the latest version; what is the same gets no second version."""
    room = room_with(versioning=versioning)
    fill(room)
    before = room.client.head_object(BUCKET, "same").version_id
    result = put(room, tree, rule)
    assert (result.objects, result.skipped, result.exit_code) == (2, 1, 0)
    assert content(room, "changed.txt") == b"after"
    assert room.recorder.deletions == []
    assert room.client.head_object(BUCKET, "same").version_id == before
    versions = [one for one in room.client.list_objects(BUCKET, versions=True) if one.key == "changed.txt"]
    assert len(versions) == (2 if versioning is Versioning.KEEP_MULTIPLE_VERSIONS else 1)


def test_version_where_none_are_kept_is_refused_before_a_job_exists(room: Room, tree: Path) -> None:
    """A UsageError, exit code 2, and the appliance has heard of no job."""
    fill(room)
    with pytest.raises(UsageError, match="keeps none"):
        put(room, tree, IfExists.VERSION)
    assert not any((job.name or "").startswith("ds3tool put") for job in room.client.list_jobs())
    assert not room.recorder.planned_jobs


def test_rename_finds_a_name_that_neither_the_bucket_nor_the_run_has(room: Room, tree: Path) -> None:
    """Numbers that are taken, there or here, are passed over; which name it became is in the notes."""
    fill(room)
    room.client.put_object(BUCKET, "changed~1.txt", BytesBody(b"mine"))
    (tree / "changed~2.txt").write_bytes(b"also to be put")
    result = put(room, tree, IfExists.RENAME)
    assert (result.objects, result.exit_code) == (3, 0)
    assert content(room, "changed~3.txt") == b"after"
    assert content(room, "changed~2.txt") == b"also to be put"
    assert content(room, "changed~1.txt") == b"mine"
    assert any("put as changed~3.txt" in note for note in result.notes)


def test_many_renamed_objects_take_one_more_listing(room: Room, tmp_path: Path, watched: list[str]) -> None:
    """Free names for many objects are found without asking for each of them."""
    tree = tmp_path / "many"
    tree.mkdir()
    for number in range(30):
        (tree / f"f{number}.bin").write_bytes(b"after")
        room.client.put_object(BUCKET, f"f{number}.bin", BytesBody(b"before it"))
    room.client.put_object(BUCKET, "f7~1.bin", BytesBody(b"taken"))
    watched.clear()
    result = put(room, tree, IfExists.RENAME)
    assert (result.objects, result.exit_code) == (30, 0)
    assert content(room, "f7~2.bin") == b"after"
    assert content(room, "f8~1.bin") == b"after"
    assert sum(line.startswith("GET /archive?") for line in watched) == 2
    assert not any(line.startswith("HEAD") for line in watched)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Write down method and target of every request that is not a blob's."""
    lines: list[str] = []
    before = Transport.exchange

    def exchange(self: Transport, request: Request, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        lines.append(f"{request.method} {request.target}")
        return before(self, request, *arguments, **options)

    monkeypatch.setattr(Transport, "exchange", exchange)
    return lines


def test_what_exists_is_known_from_one_listing(room: Room, tmp_path: Path, watched: list[str]) -> None:
    """Neither objects that are not there nor those with an MD5 ETag are asked for one by one."""
    tree = tmp_path / "many"
    tree.mkdir()
    for number in range(50):
        (tree / f"{number:03}").write_bytes(b"x" * number)
    assert room.put(tree).objects == 50
    watched.clear()
    (tree / "new").write_bytes(b"y")
    assert room.put(tree).skipped == 50
    assert sum(line.startswith("GET /archive?") for line in watched) == 1
    assert not any(line.startswith("HEAD") for line in watched)


def test_a_head_is_asked_only_for_equal_sizes_without_an_md5(
    room_with: Callable[..., Room], tree: Path, watched: list[str]
) -> None:
    """Under a policy of CRC-32C one HEAD tells the digest of the one object whose size is the same."""
    room = room_with(checksum_type=ChecksumType.CRC_32C)
    fill(room)
    watched.clear()
    result = put(room, tree, IfExists.SKIP_SAME)
    assert (result.skipped, failed(result)) == (1, ["changed.txt"])
    assert [line for line in watched if line.startswith("HEAD")] == ["HEAD /archive/same"]


def test_few_keys_in_a_full_bucket_are_asked_for_one_by_one(
    room: Room, tree: Path, watched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the listing has more than a page, three keys cost three requests, not a walk through the bucket."""
    for number in range(40):
        room.client.put_object(BUCKET, f"other-{number}", BytesBody(b""))
    fill(room)
    pages = Ds3Client.listing_pages

    def short_pages(self: Ds3Client, bucket: str, **options: Any) -> Any:  # noqa: ANN401
        return pages(self, bucket, **{"page_size": 5, **options})

    monkeypatch.setattr(Ds3Client, "listing_pages", short_pages)
    watched.clear()
    result = put(room, tree, IfExists.SKIP_SAME)
    assert (result.objects, result.skipped, failed(result)) == (1, 1, ["changed.txt"])
    assert sum(line.startswith("GET /archive?") for line in watched) == 3


def test_of_several_objects_of_one_key_the_first_is_put(room: Room, tmp_path: Path) -> None:
    """Two folders that hold the same name: the second object fails by name, whatever the rule, and says from where."""
    for folder, data in (("one", b"first"), ("two", b"second")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "film").write_bytes(data)
    for rule in (IfExists.SKIP_SAME, IfExists.OVERWRITE):
        room.settings = replace(room.settings, if_exists=rule, may_delete=True)
        sources = SeveralSources([LocalSource(str(tmp_path / name), prefix=f"{rule}/") for name in ("one", "two")])
        result = room.put_run(sources).run()
        assert (result.objects, failed(result), result.exit_code) == (1, [f"{rule}/film"], 3)
        assert result.failures[0].error.message.endswith(
            f"comes twice in this run, the second time from {tmp_path / 'two' / 'film'}"
        )
        assert content(room, f"{rule}/film") == b"first"


def test_one_key_in_two_jobs_of_a_run_is_put_once(room: Room, tmp_path: Path) -> None:
    """Also when the first has gone out with an earlier job, the second does not replace it."""
    for folder, data in (("one", b"first"), ("two", b"second")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "film").write_bytes(data)
        (tmp_path / folder / f"{folder}-only").write_bytes(data)
    room.settings = replace(room.settings, if_exists=IfExists.OVERWRITE, may_delete=True, limits=JobLimits(1))
    sources = SeveralSources([LocalSource(str(tmp_path / name), prefix="") for name in ("one", "two")])
    result = room.put_run(sources).run()
    assert (result.objects, failed(result)) == (3, ["film"])
    assert content(room, "film") == b"first"
    assert room.recorder.deletions == []


def test_a_key_that_is_too_long_fails_alone(room: Room, tmp_path: Path) -> None:
    """1,024 bytes is what a key can have; a longer one does not keep the others from being put."""
    folder = tmp_path / "tree"
    deep = folder.joinpath(*["d" * 200] * 5)
    deep.mkdir(parents=True)
    (deep / ("e" * 19)).write_bytes(b"1024")
    (deep / ("f" * 20)).write_bytes(b"1025")
    result = room.put(folder)
    assert result.objects == 1
    assert [len(key or "") for key in failed(result)] == [1025]
    assert "1024 bytes" in result.failures[0].error.message


def test_an_object_that_another_job_puts_fails_under_every_rule_but_rename(room: Room, tree: Path) -> None:
    """Nothing is known of it yet, so it is neither the same nor skipped."""
    room.client.create_put_job(BUCKET, [ObjectToPut("same", 7)])
    for rule in (IfExists.SKIP_SAME, IfExists.SKIP, IfExists.OVERWRITE):
        result = _put_one(room, tree, rule)
        assert (result.objects, result.skipped, len(result.failures)) == (0, 0, 1)
        assert "being put by another job" in result.failures[0].error.message
    renamed = _put_one(room, tree, IfExists.RENAME)
    assert (renamed.objects, renamed.exit_code) == (1, 0)
    assert content(room, "same~1") == b"as ever"


def _put_one(room: Room, tree: Path, rule: IfExists) -> RunResult:
    room.settings = replace(room.settings, if_exists=rule, may_delete=True)
    return room.put(tree / "same", prefix="same")


def test_a_source_that_cannot_be_read_is_not_the_same(room: Room, tree: Path) -> None:
    """When the comparison fails the object fails by name; it is not taken for the same."""
    fill(room)
    source = LocalSource(str(tree), prefix="")
    opened = source.open

    def vanishing(item: Any) -> Any:  # noqa: ANN401
        if item.key == "same":
            os.unlink(tree / "same")
        return opened(item)

    source.open = vanishing  # type: ignore[method-assign]
    result = room.put(source)
    assert failed(result) == ["changed.txt", "same"]
    assert isinstance(result.failures[1].error, SourceError)
    assert "vanished" in result.failures[1].error.message
    assert content(room, "same") == b"as ever"


def test_large_objects_are_compared_by_the_digests_of_their_blobs(room: Room, tmp_path: Path) -> None:
    """One byte in the second blob makes the difference."""
    tree = tmp_path / "tree"
    tree.mkdir()
    data = bytearray(os.urandom(2 * MIB + 5))
    (tree / "large").write_bytes(data)
    assert room.put(tree).objects == 1
    assert put(room, tree, IfExists.SKIP_SAME).skipped == 1
    data[MIB + 1] ^= 1
    (tree / "large").write_bytes(data)
    assert failed(put(room, tree, IfExists.SKIP_SAME)) == ["large"]
