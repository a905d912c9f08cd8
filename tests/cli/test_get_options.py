"""`get` as an operator types it: which objects, under which names, which bytes, and what is said of mistakes."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from ds3tool.cli import wanted
from ds3tool.protocol.model import JobType
from tests.cli.archive import Archive

MIB = 1 << 20
LARGE = random.Random(7).randbytes(2 * MIB + 9)
KEYS = (
    "logs/",
    "logs/2023-12.gz",
    "logs/2024-01.gz",
    "logs/2024-02.gz",
    "logs/2024-old/deep/x.gz",
    "logs/2024-old/note.txt",
    "other/2024-03.gz",
)


@pytest.fixture
def bucket(archive: Archive) -> str:
    """A bucket with logs of two years."""
    return archive.bucket(*KEYS)


def restored(root: Path) -> set[str]:
    """Return the names of the files below `root`, each of which holds the end of its key."""
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def get_jobs(archive: Archive) -> set[str]:
    """Return the ids of all get jobs, ended ones too."""
    client = archive.client
    records = (*client.list_active_jobs(), *client.list_completed_jobs(), *client.list_canceled_jobs())
    return {record.id for record in records if record.type is JobType.GET}


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "options", "names"),
    [
        ("logs/2024-old/", (), {"deep/x.gz", "note.txt"}),
        ("logs/2024-old/", ("--strip-prefix", ""), {"logs/2024-old/deep/x.gz", "logs/2024-old/note.txt"}),
        ("logs/2024-old/", ("--strip-prefix", "logs/2024-"), {"old/deep/x.gz", "old/note.txt"}),
        ("other/", (), {"2024-03.gz"}),
        ("logs/2024-*.gz", (), {"2024-01.gz", "2024-02.gz", "2024-old/deep/x.gz"}),
        ("logs/2024-0[12].gz", (), {"2024-01.gz", "2024-02.gz"}),
        ("*2024-0?.gz", (), {"logs/2024-01.gz", "logs/2024-02.gz", "other/2024-03.gz"}),
        ("logs/2024-01.gz", (), {"2024-01.gz"}),
        ("logs/2024-01.gz", ("--strip-prefix", ""), {"logs/2024-01.gz"}),
        ("", ("--include", "*.txt"), {"logs/2024-old/note.txt"}),
        ("logs/", ("--include", "2024-*", "--exclude", "deep/"), {"2024-01.gz", "2024-02.gz", "2024-old/note.txt"}),
        ("logs/", ("--min-size", "16", "--max-size", "22"), {"2024-old/note.txt"}),
        ("logs/", ("--older", "1d"), set()),
        ("other/", ("--newer", "1d"), {"2024-03.gz"}),
    ],
)
def test_an_address_and_the_options_say_what_comes_and_under_which_names(
    archive: Archive, bucket: str, tmp_path: Path, source: str, options: tuple[str, ...], names: set[str]
) -> None:
    """The address's prefix is left out, of a pattern all up to the last slash before its wildcard."""
    target = tmp_path / "target"
    target.mkdir()
    archive.run("get", f"ds3://{bucket}/{source}", str(target), *options).expect(0)
    assert restored(target) == names
    for name in names:
        assert any(key.endswith(name.removeprefix("old/")) for key in KEYS)
        assert (target / name).read_text() in KEYS


def test_a_map_gives_other_names_and_the_wrong_ones_fail_by_name(archive: Archive, bucket: str, tmp_path: Path) -> None:
    """A prefix and a whole name are mapped after the prefix is left out; two that become one are named."""
    (tmp_path / "map").write_text("2024-old/\tarchive/\n2024-01.gz\tjanuary.gz\n2024-02.gz\tjanuary.gz\n")
    result = archive.run(
        "get", f"ds3://{bucket}/logs/", str(tmp_path / "t"), "--rename-map", str(tmp_path / "map"), "-o", "json"
    ).expect(3)
    assert restored(tmp_path / "t") == {"2023-12.gz", "january.gz", "archive/deep/x.gz", "archive/note.txt"}
    assert [failure["key"] for failure in result.json["failed"]] == ["logs/2024-02.gz"]


def test_raw_means_the_key_letter_by_letter(archive: Archive, tmp_path: Path) -> None:
    """A key with wildcards, beside others that it would match, and one that ends in a slash."""
    bucket = archive.bucket("a*b", "a1b", "dir/", "dir/x")
    target = tmp_path / "t"
    archive.run("get", f"ds3://{bucket}/a*b", str(target) + "/").expect(2)
    archive.run("get", "--raw", f"ds3://{bucket}/a*b", str(target) + "/").expect(0)
    archive.run("get", "--raw", f"ds3://{bucket}/dir/", str(target) + "/").expect(0)
    assert sorted(path.name for path in target.rglob("*")) == ["a*b", "dir"]


# -- lists ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked_one_by_one", [1000, 1])
@pytest.mark.parametrize("null", [False, True])
def test_only_the_listed_names_come_and_missing_ones_fail(
    archive: Archive, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked_one_by_one: int, *, null: bool
) -> None:
    """Names are below the address, twice is once; asking for each and finding them in a listing are the same."""
    monkeypatch.setattr(wanted, "_ASKED_ONE_BY_ONE", asked_one_by_one)
    end = "\0" if null else "\n"
    (tmp_path / "list").write_text(end.join(["2024-02.gz", "no/such", "2024-old/note.txt", "2024-02.gz", "2024", ""]))
    options = ("--files-from", str(tmp_path / "list"), *(("-0",) if null else ()), "-o", "json")
    result = archive.run("get", f"ds3://{bucket}/logs/", str(tmp_path / "t"), *options).expect(3).json
    assert restored(tmp_path / "t") == {"2024-02.gz", "2024-old/note.txt"}
    assert sorted(failure["key"] for failure in result["failed"]) == ["logs/2024", "logs/no/such"]
    assert result["objects"] == 2


# -- ranges -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def large(archive: Archive, tmp_path: Path) -> str:
    """The address of an object of three blobs."""
    (tmp_path / "large").write_bytes(LARGE)
    address = f"ds3://{archive.bucket()}/large"
    archive.run("put", str(tmp_path / "large"), address).expect(0)
    return address


@pytest.mark.parametrize("verify", [False, True])
def test_ranges_land_one_after_the_other_and_only_whole_blobs_are_verified(
    archive: Archive, large: str, tmp_path: Path, *, verify: bool
) -> None:
    """The result says which: false for parts of blobs, true with --verify."""
    options = ("--range", "1MiB:100", "--range", "3:5", "--range", "2097160:", *(("--verify",) if verify else ()))
    result = archive.run("get", large, str(tmp_path / "out"), *options, "-o", "json").expect(0).json
    assert (tmp_path / "out").read_bytes() == LARGE[MIB : MIB + 100] + LARGE[3:8] + LARGE[2097160:]
    assert (result["verified"], result["bytes"], result["objects"]) == (verify, 100 + 5 + 1, 1)


def test_a_range_outside_the_object_makes_no_job(archive: Archive, large: str, tmp_path: Path) -> None:
    """It is a usage error with the object's size in it, and there is nothing at the target."""
    before = get_jobs(archive)
    for one in (f"{len(LARGE)}:1", f"0:{len(LARGE) + 1}", "1G:"):
        refused = archive.run("get", large, str(tmp_path / "out"), "--range", "0:1", "--range", one).expect(2)
        assert f"{len(LARGE)} bytes" in refused.stderr
    assert get_jobs(archive) == before
    assert not (tmp_path / "out").exists()


# -- what is there ----------------------------------------------------------------------------------------------------


def test_if_exists_replaces_or_renames_what_differs(archive: Archive, bucket: str, tmp_path: Path) -> None:
    """Both leave the same alone, and what has got another name is told."""
    target = tmp_path / "t"
    for rule, names in (("overwrite", {"2024-03.gz"}), ("rename", {"2024-03.gz", "2024-03~1.gz"})):
        archive.run("get", f"ds3://{bucket}/other/", str(target)).expect(0)
        (target / "2024-03.gz").write_bytes(b"mine")
        told = archive.run("get", f"ds3://{bucket}/other/", str(target), "--if-exists", rule).expect(0).stderr
        assert ("other/2024-03.gz is restored as 2024-03~1.gz" in told) == (rule == "rename")
        assert restored(target) == names
        (target / "2024-03.gz").unlink()
    assert (target / "2024-03~1.gz").read_text() == "other/2024-03.gz"


def test_a_failure_is_told_with_its_name_even_when_its_sentence_holds_that_by_chance(
    archive: Archive, tmp_path: Path
) -> None:
    """Of a key like `..` or `a` the letters are in many a sentence."""
    bucket = archive.bucket("..", "a/", "a", "a/b")
    told = archive.run("get", f"ds3://{bucket}/", str(tmp_path / "t")).expect(3).stderr
    assert "ds3tool: ..: its name has a part '..'" in told
    assert "ds3tool: a would become a file" in told


def test_the_way_out_of_many_failures_is_told_once(archive: Archive, bucket: str, tmp_path: Path) -> None:
    """Each is named; the hint that all of them have comes after the last."""
    target = tmp_path / "t"
    archive.run("get", f"ds3://{bucket}/logs/", str(target)).expect(0)
    told = archive.run("get", f"ds3://{bucket}/logs/", str(target), "--if-exists", "fail").expect(3).stderr
    assert told.count("is there already") > 1
    assert told.count("hint: ") == 1


# -- what files were --------------------------------------------------------------------------------------------------


def test_attributes_come_back_only_when_asked_for(archive: Archive, tmp_path: Path) -> None:
    """Times to the nanosecond and the mode, of a file, an empty one and a folder."""
    tree, bucket = tmp_path / "tree", archive.bucket()
    (tree / "empty folder").mkdir(parents=True)
    (tree / "file").write_bytes(b"x" * 300_000)
    (tree / "empty").touch()
    for path in (tree / "file", tree / "empty", tree / "empty folder"):
        path.chmod(0o750)
        os.utime(path, ns=(1_234_567_890_123_456_789, 1_234_567_890_123_456_789))
    archive.run("put", "-p", str(tree), f"ds3://{bucket}").expect(0)
    archive.run("get", "-p", f"ds3://{bucket}", str(tmp_path / "with")).expect(0)
    archive.run("get", f"ds3://{bucket}", str(tmp_path / "without")).expect(0)
    for name in ("file", "empty", "empty folder"):
        state = (tmp_path / "with" / name).stat()
        assert (state.st_mtime_ns, state.st_mode & 0o7777) == (1_234_567_890_123_456_789, 0o750), name
        assert (tmp_path / "without" / name).stat().st_mtime_ns != 1_234_567_890_123_456_789, name


def test_a_name_that_is_no_text_comes_back_as_its_bytes(archive: Archive, tmp_path: Path) -> None:
    """The key is escaped, its metadata vouch for the real name; a key that only looks escaped keeps its look."""
    tree, bucket = tmp_path / "tree", archive.bucket("b%E9")
    tree.mkdir()
    raw = os.path.join(os.fsencode(tree), b"caf\xe9")
    with open(raw, "wb") as file:
        file.write(b"coffee")
    archive.run("put", str(tree), f"ds3://{bucket}").expect(0)
    assert "caf%E9" in archive.keys(bucket)
    archive.run("get", f"ds3://{bucket}", str(tmp_path / "t")).expect(0)
    assert sorted(os.listdir(os.fsencode(tmp_path / "t"))) == [b"b%E9", b"caf\xe9"]
    again = archive.run("get", f"ds3://{bucket}", str(tmp_path / "t"), "-o", "json").expect(0).json
    assert again["skipped"] == 2


def test_links_come_back_as_links_inside_the_target_only_unless_told_otherwise(
    archive: Archive, tmp_path: Path
) -> None:
    """By default one that leads outside fails by name; store makes it as it was; skip leaves all out, and says so."""
    tree, bucket = tmp_path / "tree", archive.bucket()
    (tree / "sub").mkdir(parents=True)
    (tree / "file").write_bytes(b"file")
    (tree / "sub" / "inside").symlink_to("../file")
    (tree / "outside").symlink_to("/etc/hostname")
    archive.run("put", "--symlinks", "store", str(tree), f"ds3://{bucket}").expect(0)
    for options, exit_code, links in (
        ((), 3, {"sub/inside": "../file"}),
        (("--symlinks", "store"), 0, {"sub/inside": "../file", "outside": "/etc/hostname"}),
        (("--symlinks", "skip"), 0, {}),
    ):
        target = tmp_path / f"target{len(links)}"
        archive.run("get", f"ds3://{bucket}", str(target), *options).expect(exit_code)
        found = {str(path.relative_to(target)): os.readlink(path) for path in target.rglob("*") if path.is_symlink()}
        assert found == links
        assert (target / "file").read_bytes() == b"file"
        if options[1:] == ("store",):
            again = archive.run("get", f"ds3://{bucket}", str(target), *options, "-o", "json").expect(0).json
            assert (again["objects"], again["skipped"]) == (0, 3)


# -- failures ---------------------------------------------------------------------------------------------------------


def test_failures_are_written_down_and_may_stop_the_run(archive: Archive, bucket: str, tmp_path: Path) -> None:
    """--failed-to has the key that failed; with --on-error stop nothing is moved after it."""
    target = tmp_path / "t"
    target.mkdir()
    (target / "2023-12.gz").write_bytes(b"mine")
    options = ("--failed-to", str(tmp_path / "failed"), "--on-error", "stop")
    archive.run("get", f"ds3://{bucket}/logs/", str(target), *options).expect(3)
    assert (tmp_path / "failed").read_text() == "logs/2023-12.gz\n"
    assert restored(target) == {"2023-12.gz"}
    archive.run("get", f"ds3://{bucket}/logs/", str(target), *options[:2]).expect(3)
    assert len(restored(target)) == 5


def test_nothing_to_do_is_an_error_only_when_asked(archive: Archive, bucket: str, tmp_path: Path) -> None:
    """Exit code 9 where all is there already, or the options leave nothing."""
    for options in ((), ("--exclude", "*")):
        command = ("get", f"ds3://{bucket}/other/", str(tmp_path / "t"), *options)
        archive.run(*command).expect(0)
        archive.run(*command).expect(0)
        archive.run(*command, "--error-if-nothing").expect(9)


# -- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (("{b}/logs/", "{t}/x", "--if-exists", "version"), 2, "no versions"),
        (("{b}/logs/", "{t}/x", "--range", "0:1"), 2, "about one object"),
        (("{b}/logs/*.gz", "{t}/x", "--version-id", "1"), 2, "about one object"),
        (("{b}/other/2024-03.gz", "{t}/x", "--range", "0-1"), 2, "not a range"),
        (("{b}/other/2024-03.gz", "{t}/x", "--strip-prefix", "other/"), 2, "the file's name"),
        (("{b}/other/2024-03.gz", "{t}/x/", "--files-from", "/dev/null"), 2, "below an address"),
        (("{b}/logs/", "{t}/x", "--null"), 2, "--files-from"),
        (("{b}/logs/", "{t}/x", "--rename-map", "/no/such/map"), 4, "cannot be read"),
        (("{b}/logs/", "{t}/x", "--newer", "soon"), 2, "neither an age nor a date"),
        (("{b}/no-such-*", "{t}/x"), 4, "names no object"),
        (("{b}/logs", "{t}/x"), 4, "{b}/logs/"),
        (("{b}/logs/", "{t}/file"), 3, "file"),
        (("{b}/logs/", "{t}/file/below"), 3, "file"),
        (("{b}/other/2024-03.gz", "{t}/file/below"), 3, "file"),
    ],
)
def test_a_mistake_gets_a_sentence_and_leaves_the_target_alone(
    archive: Archive, bucket: str, tmp_path: Path, arguments: tuple[str, ...], exit_code: int, said: str
) -> None:
    """No job is made, and what was there is there."""
    (tmp_path / "file").write_bytes(b"a file")
    before = get_jobs(archive)
    places = {"b": f"ds3://{bucket}", "t": str(tmp_path)}
    result = archive.run("get", *(one.format(**places) for one in arguments)).expect(exit_code)
    assert said.format(**places) in result.stderr, str(result)
    assert get_jobs(archive) == before
    assert (tmp_path / "file").read_bytes() == b"a file"
    assert not (tmp_path / "x").exists()
