"""Bringing back what was removed, where versions are kept."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ds3tool.client import Ds3Client
from ds3tool.protocol.model import ObjectRecord, Versioning
from ds3tool.transport.bodies import BytesBody
from tests.cli.archive import Archive


@pytest.fixture
def keeping(archive: Archive) -> Iterator[Archive]:
    """An appliance whose data policy keeps several versions."""
    (policy,) = archive.client.list_data_policies()
    archive.client.modify_data_policy(policy.id, versioning=Versioning.KEEP_MULTIPLE_VERSIONS)
    yield archive
    archive.client.modify_data_policy(policy.id, versioning=Versioning.NONE)


def put(archive: Archive, bucket: str, key: str, content: bytes) -> str:
    """Put a version; return its id."""
    archive.client.put_object(bucket, key, BytesBody(content))
    version = archive.client.head_object(bucket, key).version_id
    assert version is not None
    return version


def content(archive: Archive, bucket: str, key: str) -> bytes:
    return archive.client.get_object(bucket, key, lambda reply: b"".join(reply.body))


def test_the_newest_version_comes_back(keeping: Archive) -> None:
    """What rm has hidden is there again, with its last bytes."""
    bucket = keeping.bucket()
    put(keeping, bucket, "a", b"old")
    put(keeping, bucket, "a", b"new")
    keeping.run("rm", f"ds3://{bucket}/a").expect()
    keeping.run("stat", f"ds3://{bucket}/a").expect(4)
    told = keeping.run("undelete", "-o", "json", f"ds3://{bucket}/a").expect().json
    assert told == {"objects": 1, "skipped": 0, "failed": []}
    assert content(keeping, bucket, "a") == b"new"


def test_a_version_that_is_named_becomes_the_latest(keeping: Archive) -> None:
    """--version-id brings an older one back, whether or not the object is deleted."""
    bucket = keeping.bucket()
    old = put(keeping, bucket, "a", b"old")
    new = put(keeping, bucket, "a", b"new")
    (line,) = keeping.run("undelete", "-o", "ndjson", "--version-id", old, f"ds3://{bucket}/a").expect().lines
    assert (line["key"], line["undeleted"], line["version_id"]) == ("a", True, old)
    assert content(keeping, bucket, "a") == b"old"
    keeping.run("undelete", "--version-id", new, f"ds3://{bucket}/a").expect()
    assert content(keeping, bucket, "a") == b"new"
    keeping.run("undelete", "--version-id", "0b8a5e9e-6c7a-4a3a-8f40-1d6d2b0c9e21", f"ds3://{bucket}/a").expect(4)


def test_below_a_prefix_only_what_is_deleted_comes_back(keeping: Archive) -> None:
    """What is there keeps its latest version, a neighbour of the prefix stays deleted."""
    bucket = keeping.bucket("p/a", "p/b", "p-q/c", "p/there")
    put(keeping, bucket, "p/there", b"newer")
    keeping.run("rm", "-y", "-r", f"ds3://{bucket}").expect()
    put(keeping, bucket, "p/there", b"newest")
    told = keeping.run("undelete", "-r", f"ds3://{bucket}/p").expect()
    assert told.stderr == "brought back 2 objects\n"
    assert keeping.keys(bucket) == ["p/a", "p/b", "p/there"]
    assert content(keeping, bucket, "p/there") == b"newest"
    keeping.run("undelete", f"ds3://{bucket}/p-*").expect()
    assert keeping.keys(bucket) == ["p-q/c", "p/a", "p/b", "p/there"]


def test_what_is_there_is_left_alone(keeping: Archive) -> None:
    """Nothing to undelete is no failure, and changes nothing."""
    bucket = keeping.bucket("a")
    told = keeping.run("undelete", f"ds3://{bucket}/a").expect()
    assert "1 object not deleted, and left alone" in told.stderr


def test_what_never_was_is_4_and_a_prefix_wants_recursive(keeping: Archive) -> None:
    """A slip is told apart from a deleted object."""
    bucket = keeping.bucket("p/a")
    keeping.run("undelete", f"ds3://{bucket}/nothing").expect(4)
    keeping.run("undelete", "-r", f"ds3://{bucket}/nothing").expect(4)
    keeping.run("undelete", "ds3://nobody/a").expect(4)
    assert "-r" in keeping.run("undelete", f"ds3://{bucket}/p/").expect(2).stderr
    keeping.run("undelete", "-r", "--version-id", "x", f"ds3://{bucket}/p/").expect(2)


def test_a_policy_that_keeps_no_versions_is_named(archive: Archive) -> None:
    """Where removal is for good, that is said, and nothing is sent."""
    bucket = archive.bucket("a")
    archive.run("rm", f"ds3://{bucket}/a").expect()
    told = archive.run("undelete", f"ds3://{bucket}/a").expect(2)
    assert "keeps no versions" in told.stderr
    assert "NONE" in told.stderr


def test_what_came_back_before_ctrl_c_is_told(keeping: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 130, with the count of what is there again."""
    bucket = keeping.bucket("p/a", "p/b")
    keeping.run("rm", "-r", "--yes", f"ds3://{bucket}/p/").expect()
    undelete_object = Ds3Client.undelete_object

    def interrupted(client: Ds3Client, name: str, key: str, *, version_id: str | None = None) -> ObjectRecord:
        if key == "p/b":
            raise KeyboardInterrupt
        return undelete_object(client, name, key, version_id=version_id)

    monkeypatch.setattr(Ds3Client, "undelete_object", interrupted)
    assert keeping.run("undelete", "-r", "-o", "json", f"ds3://{bucket}/p/").expect(130).json["objects"] == 1
