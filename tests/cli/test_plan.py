"""What would be done: told without doing it, kept in a file, and done later to the letter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.archive import Archive
from tests.trees import digests


@pytest.mark.parametrize("words", [("put", "--dry-run"), ("put", "-n"), ("put", "--dryrun"), ("plan", "put")])
def test_a_put_that_is_only_planned_sends_nothing(archive: Archive, tree: Path, words: tuple[str, ...]) -> None:
    """Each object is named, then the sum; the bucket stays empty and no job is made."""
    bucket = archive.bucket()
    command, *options = words
    result = archive.run(
        command,
        *([] if command == "put" else options),
        str(tree),
        f"ds3://{bucket}/x/",
        *(options if command == "put" else []),
    ).expect(0)
    assert "x/a/one.txt" in result.stdout
    assert "would put 3 objects" in result.stdout.splitlines()[-1]
    assert archive.keys(bucket) == []
    assert archive.run("job", "ls", "--bucket", bucket, "-o", "json").expect(0).json == []


def test_what_is_there_is_left_out_and_what_differs_would_fail(archive: Archive, tree: Path) -> None:
    """A plan holds what is left to do, and its exit code is that of the put."""
    bucket = archive.bucket()
    archive.run("put", str(tree / "a"), f"ds3://{bucket}/").expect(0)
    (tree / "a" / "one.txt").write_bytes(b"uno")
    (tree / "a" / "new.txt").write_bytes(b"new")
    result = archive.run("put", "-n", "-o", "json", str(tree / "a"), f"ds3://{bucket}/").expect(3)
    told = json.loads(result.stdout)
    assert told["dry_run"] is True
    assert (told["objects"], told["bytes"], told["skipped"]) == (1, 3, 1)
    assert [failed["key"] for failed in told["failed"]] == ["one.txt"]
    assert told["error"]["exit_code"] == 3


def test_a_dry_run_of_overwriting_deletes_nothing_and_asks_nothing(archive: Archive, tree: Path) -> None:
    """What would be deleted first is said."""
    bucket = archive.bucket()
    archive.run("put", str(tree), f"ds3://{bucket}/").expect(0)
    (tree / "three.bin").write_bytes(b"changed")
    result = archive.run("put", "-n", str(tree), f"ds3://{bucket}/", "--if-exists", "overwrite").expect(0)
    assert "1 object would be deleted" in result.stderr
    archive.run("get", f"ds3://{bucket}/three.bin", str(tree.parent / "old.bin")).expect(0)
    assert (tree.parent / "old.bin").stat().st_size == 3000


def test_a_kept_put_is_done_later_to_the_letter(archive: Archive, tree: Path, tmp_path: Path) -> None:
    """What came to the folder since is not put; what changed since fails by name; the rest goes."""
    bucket, plan = archive.bucket(), str(tmp_path / "tonight.plan")
    archive.run("plan", "put", str(tree), f"ds3://{bucket}/p", "--save", plan, "--job-name", "night").expect(0)
    (tree / "later.txt").write_bytes(b"later")
    (tree / "a" / "two.txt").write_bytes(b"twofold")
    result = archive.run("plan", "run", plan, "-o", "json").expect(3)
    told = json.loads(result.stdout)
    assert [failed["key"] for failed in told["failed"]] == ["p/a/two.txt"]
    assert told["jobs"][0]["name"].startswith("night ")
    assert sorted(archive.keys(bucket)) == ["p/a/one.txt", "p/three.bin"]


def test_a_plan_may_be_kept_in_the_folder_that_is_planned(archive: Archive, tree: Path) -> None:
    """Neither it nor a draft of it is in the plan."""
    bucket, plan = archive.bucket(), str(tree / "mine.plan")
    result = archive.run("plan", "put", str(tree), f"ds3://{bucket}/", "--save", plan).expect(0)
    assert "would put 3 objects" in result.stdout
    archive.run("plan", "run", plan).expect(0)
    assert len(archive.keys(bucket)) == 3


def test_a_kept_get_is_done_later(archive: Archive, tree: Path, tmp_path: Path) -> None:
    """Names, ranges and the target are the plan's; a second run skips what is there."""
    bucket, plan = archive.bucket(), str(tmp_path / "get.plan")
    archive.run("put", str(tree), f"ds3://{bucket}/p/", "--wait", "tape").expect(0)
    target = tmp_path / "restored"
    saved = archive.run("plan", "get", f"ds3://{bucket}/p/", str(target), "--save", plan).expect(0)
    assert f"ds3tool plan run {plan}" in saved.stdout
    assert "in the cache" in saved.stdout or "on tapes" in saved.stdout
    assert not target.exists()
    archive.run("plan", "run", plan).expect(0)
    assert digests(target) == digests(tree)
    assert "3 skipped" in archive.run("plan", "run", plan).expect(0).stdout


def test_a_target_that_cannot_be_is_said_by_the_plan(archive: Archive, tree: Path) -> None:
    """What the get would say before anything is moved, its plan says too."""
    bucket = archive.bucket()
    archive.run("put", str(tree), f"ds3://{bucket}/").expect(0)
    below_a_file = str(tree / "three.bin" / "below" / "deeper")
    result = archive.run("plan", "get", f"ds3://{bucket}/", below_a_file)
    assert "cannot be used" in result.stderr
    assert result.exit_code == archive.run("get", f"ds3://{bucket}/", below_a_file).exit_code


def test_a_kept_range_is_got_later(archive: Archive, tree: Path, tmp_path: Path) -> None:
    """A part of one object stays that part."""
    bucket, plan = archive.bucket(), str(tmp_path / "range.plan")
    archive.run("put", str(tree), f"ds3://{bucket}/").expect(0)
    part = tmp_path / "part.bin"
    archive.run(
        "plan", "get", f"ds3://{bucket}/three.bin", str(part), "--range", "100:10", "--range", "0:5", "--save", plan
    ).expect(0)
    archive.run("plan", "run", plan).expect(0)
    whole = (tree / "three.bin").read_bytes()
    assert part.read_bytes() == whole[100:110] + whole[:5]


def test_a_get_that_is_only_planned_names_the_tapes_somebody_must_bring(
    archive: Archive, tree: Path, tmp_path: Path
) -> None:
    """Bar codes, labels and places are there before anything is mounted."""
    bucket = archive.bucket()
    archive.run("put", str(tree), f"ds3://{bucket}/", "--wait", "tape").expect(0)
    where = json.loads(archive.run("where", "-o", "json", f"ds3://{bucket}/three.bin").expect(0).stdout)
    bar_code = where[0]["tapes"][0]["bar_code"]
    archive.run("cache", "reclaim").expect(0)
    archive.run("tape", "eject", bar_code, "--label", "vault-7", "--yes").expect(0)
    try:
        told = json.loads(
            archive.run("plan", "get", "-o", "json", f"ds3://{bucket}/", str(tmp_path / "to")).expect(0).stdout
        )
        away = [tape for tape in told["media"]["tapes"] if tape["away"]]
        assert [(tape["bar_code"], tape["label"]) for tape in away] == [(bar_code, "vault-7")]
        shown = archive.run("plan", "get", f"ds3://{bucket}/", str(tmp_path / "to")).expect(0).stdout
        assert f"somebody must bring: {bar_code} (vault-7" in shown
    finally:
        archive.run("tape", "online", bar_code).expect(0)


def test_ndjson_has_a_line_for_each_planned_object(archive: Archive, tree: Path) -> None:
    """And one for the whole."""
    bucket = archive.bucket()
    lines = archive.run("put", "-n", "-o", "ndjson", str(tree), f"ds3://{bucket}/").expect(0).stdout.splitlines()
    told = [json.loads(line) for line in lines]
    assert [line["key"] for line in told[:-1]] == ["three.bin", "a/one.txt", "a/two.txt"]
    assert {line["status"] for line in told[:-1]} == {"planned"}
    assert told[-1]["dry_run"] is True


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("plan", "run", "{tmp}/none"), 4, "cannot be read"),
        (("plan", "run", "{tree}/a/one.txt"), 2, "no line of a plan"),
        (("plan", "put", "{tree}", "ds3://{bucket}/", "--save", "{tree}/three.bin"), 2, "there already"),
        (("plan", "get", "ds3://{bucket}/nothing", "{tmp}/x"), 4, "names no object"),
        (("get", "-n", "ds3://{bucket}/nothing", "-"), 2, "stdout"),
        (("put", "-n", "-", "ds3://{bucket}/x"), 2, "stdin"),
    ],
)
def test_a_mistake_gets_a_sentence(
    archive: Archive, tree: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    """Nothing is done, and the exit code says what kind of mistake it was."""
    bucket = archive.bucket()
    result = archive.run(*(each.format(tmp=tmp_path, tree=tree, bucket=bucket) for each in arguments)).expect(code)
    assert words in result.stderr
