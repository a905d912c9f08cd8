"""The options of `put` as an operator types them: what each does to objects and jobs, and what each refuses."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ds3tool.protocol.model import Versioning
from ds3tool.simulator import Appliance, ApplianceSettings
from ds3tool.transport.bodies import BytesBody
from tests.cli.archive import Archive

MIB = 1 << 20


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder of five files, one of them of several blobs."""
    root = tmp_path / "tree"
    (root / "sub").mkdir(parents=True)
    for number in range(4):
        (root / f"{number}.txt").write_bytes(b"x" * (number + 1))
    (root / "sub" / "large.bin").write_bytes(os.urandom(3 * MIB))
    return root


@pytest.fixture
def elsewhere() -> Iterator[Archive]:
    """An appliance of this test alone, where policies may be changed; it keeps versions."""
    settings = ApplianceSettings(versioning=Versioning.KEEP_MULTIPLE_VERSIONS, persist_delay=0.0, retry_after=0)
    with Appliance(settings) as appliance:
        archive = Archive.of(appliance)
        with archive.client:
            yield archive


def content(archive: Archive, bucket: str, key: str) -> bytes:
    return archive.client.get_object(bucket, key, lambda reply: b"".join(reply.body))


# -- jobs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "jobs"),
    [
        (("--max-job-objects", "2"), [2, 2, 1]),
        (("--max-job-size", "1MiB"), [4, 1]),
        (("--max-job-size", "3"), [2, 1, 1, 1]),
        ((), [5]),
    ],
)
def test_runs_are_split_into_jobs_as_asked(
    archive: Archive, tree: Path, options: tuple[str, ...], jobs: list[int]
) -> None:
    """By objects, by bytes; an object above the bytes stands alone."""
    bucket = archive.bucket()
    document = archive.run("put", str(tree), f"ds3://{bucket}", "-o", "json", *options).expect(0).json
    assert [job["objects"] for job in document["jobs"]] == jobs
    assert len({job["id"] for job in document["jobs"]}) == len(jobs)
    assert len(archive.keys(bucket)) == 5


def test_jobs_have_the_name_and_the_priority_that_were_given(archive: Archive, tree: Path) -> None:
    """The appliance's own list shows both; a token follows the name."""
    bucket = archive.bucket()
    command = ("put", str(tree), f"ds3://{bucket}", "--job-name", "night run", "--priority", "urgent", "-o", "json")
    (told,) = archive.run(*command).expect(0).json["jobs"]
    job = archive.client.get_job(told["id"]).job
    assert (job.name or "").startswith("night run ")
    assert job.priority == "URGENT"


def test_blobs_are_as_small_as_asked(elsewhere: Archive, tree: Path) -> None:
    """`--max-upload-size` cuts objects into blobs of that size, and below what the appliance takes it is refused."""
    (tree / "sub" / "large.bin").write_bytes(os.urandom(25 * MIB))
    bucket = elsewhere.bucket()
    elsewhere.run("put", str(tree), f"ds3://{bucket}", "--max-upload-size", "10MiB").expect(0)
    offsets = elsewhere.client.head_object(bucket, "sub/large.bin").checksums
    assert sorted(offsets) == [0, 10 * MIB, 20 * MIB]
    refused = elsewhere.run("put", str(tree), f"ds3://{bucket}/below/", "--max-upload-size", "1MiB")
    assert refused.exit_code != 0
    assert not any(key.startswith("below/") for key in elsewhere.keys(bucket))


@pytest.mark.parametrize("option", [("--max-job-size", "0"), ("--max-job-objects", "0"), ("--job-name", "")])
def test_jobs_that_cannot_be_are_refused(archive: Archive, tree: Path, option: tuple[str, str]) -> None:
    """Exit code 2, and nothing was put."""
    bucket = archive.bucket()
    archive.run("put", str(tree), f"ds3://{bucket}", *option).expect(2)
    assert archive.keys(bucket) == []


# -- what exists --------------------------------------------------------------------------------------------------


@pytest.fixture
def taken(archive: Archive, tree: Path) -> str:
    """A bucket that has another `0.txt`."""
    bucket = archive.bucket()
    archive.client.put_object(bucket, "0.txt", BytesBody(b"before"))
    assert (tree / "0.txt").exists()
    return bucket


def test_overwriting_where_it_deletes_needs_a_yes(archive: Archive, tree: Path, taken: str) -> None:
    """Without --yes and without a terminal nothing is done, exit code 2, and the reason is told."""
    refused = archive.run("put", str(tree), f"ds3://{taken}", "--if-exists", "overwrite").expect(2)
    assert "keeps no versions" in refused.stderr
    assert "add --yes" in refused.stderr
    assert archive.keys(taken) == ["0.txt"]
    assert content(archive, taken, "0.txt") == b"before"
    archive.run("put", str(tree), f"ds3://{taken}", "--if-exists", "overwrite", "--yes").expect(0)
    assert content(archive, taken, "0.txt") == b"x"


def test_overwriting_where_versions_are_kept_needs_no_yes(elsewhere: Archive, tree: Path) -> None:
    """There nothing is deleted."""
    bucket = elsewhere.bucket()
    elsewhere.client.put_object(bucket, "0.txt", BytesBody(b"before"))
    elsewhere.run("put", str(tree), f"ds3://{bucket}", "--if-exists", "overwrite").expect(0)
    assert content(elsewhere, bucket, "0.txt") == b"x"


def test_a_version_where_none_are_kept_is_a_usage_error(archive: Archive, tree: Path, taken: str) -> None:
    """Exit code 2 and the data policy's name, before a job exists."""
    told = archive.run("put", str(tree), f"ds3://{taken}", "--if-exists", "version").expect(2)
    assert "keeps none" in told.stderr
    assert archive.keys(taken) == ["0.txt"]


def test_renamed_objects_are_told(archive: Archive, tree: Path, taken: str) -> None:
    """The new name is in the notes, and the old object stays."""
    told = archive.run("put", str(tree), f"ds3://{taken}", "--if-exists", "rename", "-o", "json").expect(0)
    assert "put as 0~1.txt" in told.stderr
    assert any("0~1.txt" in note for note in told.json["notes"])
    assert content(archive, taken, "0.txt") == b"before"
    assert content(archive, taken, "0~1.txt") == b"x"


# -- digests and metadata -----------------------------------------------------------------------------------------


def test_another_digest_than_the_policy_s_is_a_usage_error(archive: Archive, tree: Path) -> None:
    """Exit code 2, both types named, and no job was made."""
    bucket = archive.bucket()
    told = archive.run("put", str(tree), f"ds3://{bucket}", "--checksum", "crc32c").expect(2)
    assert "CRC_32C" in told.stderr
    assert "MD5" in told.stderr
    assert archive.run("job", "ls", "--bucket", bucket, "-o", "json").expect(0).json == []
    archive.run("put", str(tree), f"ds3://{bucket}", "--checksum", "md5").expect(0)


def test_a_put_without_digests_warns(archive: Archive, tree: Path) -> None:
    """What was not verified is told on stderr and in the document."""
    told = archive.run("put", str(tree), f"ds3://{archive.bucket()}", "--checksum", "none", "-o", "json").expect(0)
    assert "was not verified" in told.stderr
    assert any("--checksum none" in note for note in told.json["notes"])


def test_metadata_are_stored(archive: Archive, tree: Path) -> None:
    """Every object has them, with a value that holds an equals sign and letters beyond ASCII."""
    bucket = archive.bucket()
    archive.run("put", str(tree), f"ds3://{bucket}", "--meta", "show=Apollo=11", "--meta", "Größe=1 m").expect(0)
    for key in archive.keys(bucket):
        assert archive.client.head_object(bucket, key).metadata == {"show": "Apollo=11", "größe": "1 m"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("novalue",), "not of the form"),
        (("=value",), "not of the form"),
        (("name=",), "not of the form"),
        (("ds3-mode=1",), "is kept for the attributes"),
        (("DS3tool-name=1",), "is kept for the attributes"),
        (("a=1", "a=2"), "given twice"),
        (("a=1", "A=2"), "given twice"),
    ],
)
def test_metadata_that_cannot_be_are_refused(archive: Archive, tree: Path, given: tuple[str, ...], said: str) -> None:
    """Exit code 2 and what is wrong with it; nothing was put."""
    bucket = archive.bucket()
    options = [word for text in given for word in ("--meta", text)]
    assert said in archive.run("put", str(tree), f"ds3://{bucket}", *options).expect(2).stderr
    assert archive.keys(bucket) == []


def test_attributes_are_stored_where_asked_for(archive: Archive, tree: Path) -> None:
    """`--preserve` adds them to the user's own metadata."""
    os.utime(tree / "0.txt", ns=(10**18, 10**18 + 123_000_000))
    bucket = archive.bucket()
    archive.run("put", str(tree), f"ds3://{bucket}", "-p", "--meta", "show=x").expect(0)
    stored = archive.client.head_object(bucket, "0.txt").metadata
    assert stored["show"] == "x"
    assert stored["ds3-last-modified-time"] == str(10**12 + 123)


# -- which objects, and their names -------------------------------------------------------------------------------


def test_what_is_chosen_is_put(archive: Archive, tree: Path) -> None:
    """Patterns and sizes choose among the files."""
    bucket = archive.bucket()
    archive.run("put", str(tree), f"ds3://{bucket}", "--include", "*.txt", "--exclude", "2*", "--min-size", "2").expect(
        0
    )
    assert archive.keys(bucket) == ["1.txt", "3.txt"]


def test_a_list_says_which_files_are_put(archive: Archive, tree: Path, tmp_path: Path) -> None:
    """Names below the folder, ended by NUL where that is said."""
    (tmp_path / "list").write_bytes(b"sub/large.bin\x001.txt\x00")
    bucket = archive.bucket()
    archive.run("put", str(tree), f"ds3://{bucket}/p", "--files-from", str(tmp_path / "list"), "-0").expect(0)
    assert archive.keys(bucket) == ["p/1.txt", "p/sub/large.bin"]


def test_names_are_stripped_and_mapped(archive: Archive, tree: Path, tmp_path: Path) -> None:
    """First the prefix goes, then the map says the new name."""
    (tmp_path / "map").write_text("large.bin\treel.bin\n1.txt\tone/first.txt\n")
    bucket = archive.bucket()
    command = ("put", str(tree), f"ds3://{bucket}", "--strip-prefix", "sub/", "--rename-map", str(tmp_path / "map"))
    archive.run(*command).expect(0)
    assert archive.keys(bucket) == ["0.txt", "2.txt", "3.txt", "one/first.txt", "reel.bin"]


def test_a_single_file_below_a_prefix_is_renamed_too(archive: Archive, tree: Path, tmp_path: Path) -> None:
    """The map is asked for the file's name; a target that is a key is the name, whatever the map says."""
    (tmp_path / "map").write_text("1.txt\tfirst.txt\n")
    bucket = archive.bucket()
    for target in ("p/", "key"):
        command = ("put", str(tree / "1.txt"), f"ds3://{bucket}/{target}", "--rename-map", str(tmp_path / "map"))
        archive.run(*command).expect(0)
    assert archive.keys(bucket) == ["key", "p/first.txt"]


def test_several_sources_land_below_one_prefix(archive: Archive, tree: Path, tmp_path: Path) -> None:
    """Files keep their names, folders give their contents; one key from two of them fails the second time."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "0.txt").write_bytes(b"another")
    (tmp_path / "notes").write_bytes(b"notes")
    bucket = archive.bucket()
    sources = (str(tree), str(tmp_path / "notes"), str(tmp_path / "more"))
    document = archive.run("put", *sources, f"ds3://{bucket}/job/", "-o", "json").expect(3).json
    assert [failure["key"] for failure in document["failed"]] == ["job/0.txt"]
    assert document["objects"] == 6
    assert content(archive, bucket, "job/0.txt") == b"x"
    assert content(archive, bucket, "job/notes") == b"notes"


def test_links_are_stored_where_asked_for(archive: Archive, tree: Path) -> None:
    """`--symlinks store` puts a link, `follow` what it leads to, and without either it is left out."""
    (tree / "link").symlink_to("0.txt")
    for option, there in ((), False), (("--symlinks", "store"), True), (("--symlinks", "follow"), True):
        bucket = archive.bucket()
        archive.run("put", str(tree), f"ds3://{bucket}", *option).expect(0)
        assert ("link" in archive.keys(bucket)) is there
    assert content(archive, bucket, "link") == b"x"


@pytest.mark.parametrize(
    ("target", "keys"),
    [
        ("ds3://{}//x", ["/x/0.txt"]),
        ("ds3://{}/key", ["key/0.txt"]),
        ("ds3://{}/a//b/", ["a//b/0.txt"]),
        ("ds3://{}/", ["0.txt"]),
    ],
)
def test_a_folder_goes_below_whatever_the_target_says(
    archive: Archive, tmp_path: Path, target: str, keys: list[str]
) -> None:
    """A key as the target of a folder is read as ending in a slash; nothing in it is normalised."""
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "0.txt").write_bytes(b"x")
    bucket = archive.bucket()
    archive.run("put", str(tmp_path / "one"), target.format(bucket)).expect(0)
    assert archive.keys(bucket) == keys


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (("{tree}", "{tree}/0.txt", "ds3://{bucket}/key"), 2, "is one key, and there are 2 sources"),
        (("{tree}", "-", "ds3://{bucket}/p/"), 2, "beside other sources"),
        (("{tree}", "{tree}", "ds3://{bucket}/p/", "--files-from", "{tree}/0.txt"), 2, "there are several sources"),
        (("{tree}", "ds3://{bucket}", "--size", "5"), 2, "--size is for what comes on stdin"),
        (("{tree}", "{tmp}/nowhere", "ds3://{bucket}"), 4, "is not there"),
        (("{tree}", "ds3://{bucket}", "--null"), 2, "--files-from"),
        (("{tree}", "ds3://{bucket}", "--newer", "yesterday"), 2, "neither an age nor a date"),
        (("{tree}", "ds3://{bucket}", "--failed-to", "{tmp}/no/folder"), 2, "cannot be written"),
        (("{tree}", "ds3://no-such-bucket"), 4, "no-such-bucket"),
        (("{tree}", "ds3://no-such-bucket", "--if-exists", "overwrite"), 4, "no-such-bucket"),
    ],
)
def test_a_mistake_gets_a_sentence_and_its_exit_code(
    archive: Archive, tree: Path, tmp_path: Path, arguments: tuple[str, ...], exit_code: int, said: str
) -> None:
    """What was typed wrong is named, and nothing was put."""
    bucket = archive.bucket()
    places = {"bucket": bucket, "tree": str(tree), "tmp": str(tmp_path)}
    told = archive.run("put", *(argument.format(**places) for argument in arguments)).expect(exit_code)
    assert said in told.stderr, str(told)
    assert archive.keys(bucket) == []


# -- failures -----------------------------------------------------------------------------------------------------


def test_what_failed_is_written_down_a_key_a_line(archive: Archive, tree: Path, tmp_path: Path) -> None:
    """A name that would not be one line is a JSON string; each run writes the file anew."""
    bucket = archive.bucket()
    (tree / "new\nline").write_bytes(b"mine")
    (tree / '"quoted"').write_bytes(b"mine")
    for key in ("1.txt", "new\nline", '"quoted"'):
        archive.client.put_object(bucket, key, BytesBody(b"theirs"))
    told = tmp_path / "failed"
    archive.run("put", str(tree), f"ds3://{bucket}", "--failed-to", str(told)).expect(3)
    lines = told.read_text().splitlines()
    assert sorted(json.loads(line) if line.startswith('"') else line for line in lines) == sorted(
        ['"quoted"', "1.txt", "new\nline"]
    )
    archive.run("put", str(tree / "0.txt"), f"ds3://{bucket}", "--failed-to", str(told)).expect(0)
    assert told.read_text() == ""


def test_a_list_of_what_failed_that_cannot_be_written_does_not_hide_the_run(archive: Archive, tree: Path) -> None:
    """A disk that is full by then: what was put and what failed is told, and it is no usage error."""
    bucket = archive.bucket()
    archive.client.put_object(bucket, "1.txt", BytesBody(b"theirs"))
    command = ("put", str(tree), f"ds3://{bucket}", "--failed-to", "/dev/full", "-o", "json")
    document = archive.run(*command).expect(3).json
    assert document["objects"] == len(archive.keys(bucket)) - 1 > 0
    assert [failure["key"] for failure in document["failed"]] == ["1.txt"]
    assert "/dev/full cannot be written" in document["error"]["message"]


def test_the_first_failure_stops_where_that_is_asked_for(archive: Archive, tree: Path) -> None:
    """Exit code 3, one failure, and nothing was put since that was known before."""
    bucket = archive.bucket()
    archive.client.put_object(bucket, "1.txt", BytesBody(b"theirs"))
    archive.client.put_object(bucket, "2.txt", BytesBody(b"theirs"))
    command = ("put", str(tree), f"ds3://{bucket}", "--on-error", "stop", "-o", "json")
    document = archive.run(*command).expect(3).json
    assert [failure["key"] for failure in document["failed"]] == ["1.txt"]
    assert "stopped at the first object that failed" in document["error"]["message"]
    assert archive.keys(bucket) == ["1.txt", "2.txt"]


def test_nothing_to_do_is_an_error_where_that_is_asked_for(archive: Archive, tree: Path, tmp_path: Path) -> None:
    """Exit code 9 for an empty folder, for what nothing matches, and for what is all there; else 0."""
    (tmp_path / "empty").mkdir()
    bucket = archive.bucket()
    strict = ("--error-if-nothing", "-o", "json")
    archive.run("put", str(tmp_path / "empty"), f"ds3://{bucket}").expect(0)
    document = archive.run("put", str(tmp_path / "empty"), f"ds3://{bucket}", *strict).expect(9).json
    assert document["error"]["exit_code"] == 9
    archive.run("put", str(tree), f"ds3://{bucket}", "--include", "*.none", *strict).expect(9)
    archive.run("put", str(tree), f"ds3://{bucket}", *strict).expect(0)
    assert archive.run("put", str(tree), f"ds3://{bucket}", *strict).expect(9).json["skipped"] == 5
    archive.run("put", str(tree), f"ds3://{bucket}").expect(0)
    (tree / "1.txt").write_bytes(b"changed")
    archive.run("put", str(tree), f"ds3://{bucket}", *strict).expect(3)
