"""A prefix made like a folder and a folder like a prefix: what is replaced, what goes, and what never does."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ds3tool.cli import transfer
from ds3tool.cli.settings import Settings
from ds3tool.jobs.run import Run, RunResult
from ds3tool.transport.bodies import BytesBody
from tests.cli.archive import Archive
from tests.trees import digests


def test_a_prefix_becomes_like_the_folder(archive: Archive, tree: Path, tmp_path: Path) -> None:
    """What is missing is put, what differs is replaced, what is the same is skipped; nothing else is touched."""
    bucket = archive.bucket()
    archive.run("sync", "--yes", str(tree), f"ds3://{bucket}/x").expect(0)
    (tree / "three.bin").write_bytes(b"new content")
    (tree / "four").write_bytes(b"4")
    os.remove(tree / "a" / "one.txt")
    result = archive.run("sync", "--yes", "-o", "json", str(tree), f"ds3://{bucket}/x").expect(0)
    told = json.loads(result.stdout)
    assert (told["objects"], told["skipped"], told["deleted"]) == (2, 1, 0)
    assert archive.keys(bucket) == ["x/a/one.txt", "x/a/two.txt", "x/four", "x/three.bin"]
    archive.run("get", f"ds3://{bucket}/x/three.bin", str(tmp_path / "back")).expect(0)
    assert (tmp_path / "back").read_bytes() == b"new content"


def test_delete_takes_what_the_folder_has_no_more(archive: Archive, tree: Path) -> None:
    """Only below the prefix, only after all went well, and not what the options leave out."""
    bucket = archive.bucket()
    archive.run("put", str(tree), f"ds3://{bucket}/other/").expect(0)
    archive.run("put", str(tree), f"ds3://{bucket}/x/").expect(0)
    (tree.parent / "log").write_bytes(b"log")
    archive.run("put", str(tree.parent / "log"), f"ds3://{bucket}/x/kept.log").expect(0)
    os.remove(tree / "a" / "one.txt")
    result = archive.run("sync", "--yes", "--delete", "--exclude", "*.log", str(tree), f"ds3://{bucket}/x/").expect(0)
    assert "1 deleted" in result.stdout
    assert [key for key in archive.keys(bucket) if key.startswith("x/")] == [
        "x/a/two.txt",
        "x/kept.log",
        "x/three.bin",
    ]
    assert len([key for key in archive.keys(bucket) if key.startswith("other/")]) == 3


def test_a_sync_that_only_deletes_has_done_something(archive: Archive, tree: Path) -> None:
    """With --error-if-nothing too; when there is nothing to delete either, it ends with 9."""
    bucket = archive.bucket()
    archive.run("put", str(tree), f"ds3://{bucket}/").expect(0)
    os.remove(tree / "three.bin")
    command = ("sync", "--yes", "--delete", "--error-if-nothing", str(tree), f"ds3://{bucket}/")
    archive.run(*command).expect(0)
    archive.run(*command).expect(9)


def test_delete_asks_first_and_nothing_is_done_without_an_answer(archive: Archive, tree: Path) -> None:
    """Neither put nor deleted; the question has the count."""
    bucket = archive.bucket()
    archive.run("put", str(tree), f"ds3://{bucket}/").expect(0)
    os.remove(tree / "a" / "one.txt")
    (tree / "new").write_bytes(b"new")
    result = archive.run("sync", "--delete", str(tree), f"ds3://{bucket}/").expect(2)
    assert "Delete 1 object (3 B)" in result.stderr
    assert archive.keys(bucket) == ["a/one.txt", "a/two.txt", "three.bin"]


def test_a_dry_run_says_what_would_go(archive: Archive, tree: Path) -> None:
    """Put, skipped and deleted are told, and nothing has changed."""
    bucket = archive.bucket()
    archive.run("put", str(tree), f"ds3://{bucket}/").expect(0)
    os.remove(tree / "a" / "one.txt")
    (tree / "new").write_bytes(b"new")
    shown = archive.run("sync", "--delete", "--dry-run", str(tree), f"ds3://{bucket}/").expect(0).stdout
    assert "would delete     3 B  a/one.txt" in shown
    assert shown.splitlines()[-1] == "would put 1 object, 3 B, in 1 job; 2 skipped; 1 to delete"
    told = json.loads(
        archive.run("sync", "--delete", "-n", "-o", "json", str(tree), f"ds3://{bucket}/").expect(0).stdout
    )
    assert told["to_delete"] == 1
    assert "a/one.txt" in archive.keys(bucket)


def test_nothing_is_deleted_when_something_failed(archive: Archive, tree: Path) -> None:
    """A file that cannot be read is no reason to take its neighbours away."""
    bucket = archive.bucket()
    archive.run("put", str(tree), f"ds3://{bucket}/").expect(0)
    os.remove(tree / "a" / "one.txt")
    os.symlink("loop", tree / "loop")
    result = archive.run("sync", "--yes", "--delete", "--symlinks", "follow", str(tree), f"ds3://{bucket}/").expect(3)
    assert "loop" in result.stderr
    assert "a/one.txt" in archive.keys(bucket)


def test_what_is_left_out_on_purpose_is_not_deleted(archive: Archive, tree: Path) -> None:
    """A link that is skipped still stands for what was put under its name."""
    bucket = archive.bucket()
    archive.run("put", str(tree), f"ds3://{bucket}/").expect(0)
    os.remove(tree / "three.bin")
    os.symlink("a/two.txt", tree / "three.bin")
    archive.run("sync", "--yes", "--delete", str(tree), f"ds3://{bucket}/").expect(0)
    assert "three.bin" in archive.keys(bucket)


def test_what_lies_below_a_link_that_is_skipped_is_not_deleted(archive: Archive, tree: Path, tmp_path: Path) -> None:
    """Not even while the disk that the link leads to is away; where links are stored, the link is all there is."""
    bucket, disk = archive.bucket(), tmp_path / "disk"
    disk.mkdir()
    (disk / "far").write_bytes(b"far")
    os.symlink(disk, tree / "link")
    archive.run("put", "--symlinks", "follow", str(tree), f"ds3://{bucket}/").expect(0)
    disk.rename(tmp_path / "away")
    archive.run("sync", "--yes", "--delete", str(tree), f"ds3://{bucket}/").expect(0)
    assert "link/far" in archive.keys(bucket)
    archive.run("sync", "--yes", "--delete", "--symlinks", "store", str(tree), f"ds3://{bucket}/").expect(0)
    assert [key for key in archive.keys(bucket) if key.startswith("link")] == ["link"]


def test_a_link_that_is_followed_loses_what_is_not_below_it_any_more(archive: Archive, tree: Path) -> None:
    """What a followed link leads to is the source, and what is gone there goes."""
    bucket = archive.bucket()
    os.symlink("a", tree / "link")
    archive.run("put", "--symlinks", "follow", str(tree), f"ds3://{bucket}/").expect(0)
    os.remove(tree / "a" / "one.txt")
    archive.run("sync", "--yes", "--delete", "--symlinks", "follow", str(tree), f"ds3://{bucket}/").expect(0)
    assert archive.keys(bucket) == ["a/two.txt", "link/two.txt", "three.bin"]


@pytest.mark.parametrize("name", [b"bad \xff.tmp", b"bad \x01.tmp", b"d\xfe/of it.tmp"])
def test_what_has_an_escaped_key_and_is_left_out_is_not_deleted(archive: Archive, tree: Path, name: bytes) -> None:
    """The object's key is not the file's name, and stands for it all the same; when the file is gone, it goes."""
    bucket = archive.bucket()
    path = os.path.join(os.fsencode(tree), name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Path(os.fsdecode(path)).write_bytes(b"odd")
    archive.run("put", str(tree), f"ds3://{bucket}/").expect(0)
    (before,) = [key for key in archive.keys(bucket) if key.endswith(".tmp")]
    os.remove(path)
    os.mkfifo(path)  # no file any more, and so left out
    archive.run("sync", "--yes", "--delete", str(tree), f"ds3://{bucket}/").expect(0)
    assert before in archive.keys(bucket)
    os.remove(path)
    archive.run("sync", "--yes", "--delete", str(tree), f"ds3://{bucket}/").expect(0)
    assert before not in archive.keys(bucket)


def test_an_empty_folder_deletes_nothing(archive: Archive, tree: Path, tmp_path: Path) -> None:
    """A folder with nothing in it is a disk that is not mounted rather than a wish for an empty prefix."""
    bucket = archive.bucket()
    archive.run("put", str(tree), f"ds3://{bucket}/x/").expect(0)
    (tmp_path / "empty").mkdir()
    result = archive.run("sync", "--delete", "--yes", str(tmp_path / "empty"), f"ds3://{bucket}/x/").expect(2)
    assert "rm -r" in result.stderr
    assert len(archive.keys(bucket)) == 3


def while_it_moves(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let something happen between the question what is to be deleted and the move."""
    carry_out = transfer.carry_out

    def then(run: Run, settings: Settings, **options: Any) -> RunResult:  # noqa: ANN401
        act()
        return carry_out(run, settings, **options)

    monkeypatch.setattr(transfer, "carry_out", then)


def test_a_file_that_comes_back_while_a_sync_runs_keeps_its_object(
    archive: Archive, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not in the folder when that was counted, and is when it is put, is put and not deleted after that."""
    bucket = archive.bucket()
    archive.run("put", str(tree), f"ds3://{bucket}/x/").expect(0)
    (tree / "a" / "one.txt").rename(tree.parent / "away")
    while_it_moves(monkeypatch, lambda: (tree.parent / "away").rename(tree / "a" / "one.txt"))
    result = archive.run("sync", "--yes", "--delete", "-o", "json", str(tree), f"ds3://{bucket}/x/").expect(0).json
    assert archive.keys(bucket) == ["x/a/one.txt", "x/a/two.txt", "x/three.bin"]
    assert result["deleted"] == 0
    assert "left alone" in result["notes"][0]


def test_an_object_that_comes_while_a_sync_runs_keeps_its_file(
    archive: Archive, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What this very run has got is not deleted after that; what is too much still is."""
    bucket = archive.bucket()
    archive.run("put", str(tree), f"ds3://{bucket}/x/").expect(0)
    (tmp_path / "more").write_bytes(b"from the archive")
    target = tmp_path / "target"
    target.mkdir()
    (target / "more").write_bytes(b"surplus")
    (target / "surplus").write_bytes(b"surplus")
    while_it_moves(monkeypatch, lambda: archive.client.put_object(bucket, "x/more", BytesBody(b"from the archive")))
    result = archive.run("sync", "--yes", "--delete", "-o", "json", f"ds3://{bucket}/x/", str(target)).expect(0).json
    assert (target / "more").read_bytes() == b"from the archive"
    assert not (target / "surplus").exists()
    assert (result["objects"], result["deleted"]) == (4, 1)


def test_a_folder_becomes_like_the_prefix(archive: Archive, tree: Path, tmp_path: Path) -> None:
    """Missing files come, different ones are replaced, and with --delete the others go; of links only the link."""
    bucket = archive.bucket()
    archive.run("put", str(tree), f"ds3://{bucket}/x/").expect(0)
    target, outside = tmp_path / "target", tmp_path / "outside"
    outside.mkdir()
    (outside / "safe").write_bytes(b"safe")
    (target / "a").mkdir(parents=True)
    (target / "a" / "one.txt").write_bytes(b"two")
    (target / "surplus").write_bytes(b"surplus")
    os.symlink(outside, target / "link")
    refused = archive.run("sync", "--delete", f"ds3://{bucket}/x/", str(target)).expect(2)
    assert "Delete 2 files" in refused.stderr
    assert (target / "a" / "one.txt").read_bytes() == b"two"
    result = archive.run("sync", "--delete", "--yes", f"ds3://{bucket}/x", str(target)).expect(0)
    assert "2 deleted" in result.stdout
    assert digests(target) == digests(tree)
    assert (outside / "safe").read_bytes() == b"safe"
    assert "3 skipped" in archive.run("sync", f"ds3://{bucket}/x", str(target)).expect(0).stdout


def test_a_source_that_holds_nothing_deletes_nothing(archive: Archive, tree: Path, tmp_path: Path) -> None:
    """A prefix with nothing below it is a mistake rather than a wish for an empty folder."""
    bucket = archive.bucket()
    archive.run("sync", "--delete", "--yes", f"ds3://{bucket}/none/", str(tree)).expect(4)
    assert (tree / "three.bin").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("{tree}", "{tmp}/other"), 2, "on the appliance"),
        (("ds3://{bucket}/a", "ds3://{bucket}/b"), 2, "folder of this host"),
        (("{tree}/three.bin", "ds3://{bucket}/"), 2, "not a folder"),
        (("{tmp}/none", "ds3://{bucket}/"), 4, "not there"),
        (("-", "ds3://{bucket}/"), 2, "stream"),
        (("{tree}", "ds3://{bucket}/", "--delete", "--older", "3d"), 2, "--include"),
        (("{tree}", "ds3://no-such-bucket/"), 4, "no-such-bucket"),
        (("ds3://{bucket}/", "{tmp}/x", "--symlinks", "follow"), 2, "no link to follow"),
        (("ds3://{bucket}/", "{tmp}/x", "--wait", "tape"), 2, "--wait"),
    ],
)
def test_a_mistake_gets_a_sentence(
    archive: Archive, tree: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    """Nothing is moved, and the exit code says what kind of mistake it was."""
    bucket = archive.bucket()
    result = archive.run(
        "sync", "--yes", *(each.format(tree=tree, tmp=tmp_path, bucket=bucket) for each in arguments)
    ).expect(code)
    assert words in result.stderr
