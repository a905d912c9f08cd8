"""`put -`: what comes on stdin, kept in a file first or sent as it comes."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from ds3tool.transport.bodies import BytesBody
from tests.cli.archive import Archive

MIB = 1 << 20


def restored(archive: Archive, bucket: str, tmp_path: Path) -> bytes:
    archive.run("get", f"ds3://{bucket}/data.tar", str(tmp_path / "back")).expect(0)
    return (tmp_path / "back").read_bytes()


@pytest.mark.parametrize("options", [(), ("--size", str(2 * MIB + 9))], ids=["kept first", "as it comes"])
def test_stdin_becomes_an_object(archive: Archive, tmp_path: Path, options: tuple[str, ...]) -> None:
    """To the byte, in several blobs, with and without its size."""
    data = os.urandom(2 * MIB + 9)
    bucket = archive.bucket()
    command = ("put", "-", f"ds3://{bucket}/data.tar", "--meta", "show=x", "-o", "json", *options)
    document = archive.run(*command, stdin=data).expect(0).json
    assert (document["objects"], document["bytes"], document["failed"]) == (1, len(data), [])
    assert restored(archive, bucket, tmp_path) == data
    assert archive.client.head_object(bucket, "data.tar").metadata == {"show": "x"}


@pytest.mark.parametrize("size", ["5", "7"])
def test_stdin_of_another_size_than_announced_fails_and_leaves_nothing(archive: Archive, size: str) -> None:
    """Exit code 3, both numbers in the sentence, no object."""
    bucket = archive.bucket()
    told = archive.run("put", "-", f"ds3://{bucket}/data.tar", "--size", size, stdin=b"sixsix").expect(3)
    assert "announced" in told.stderr
    assert archive.keys(bucket) == []


def test_stdin_beyond_the_cap_is_refused_and_nothing_is_sent(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way out is named, no job was made, and no file is left behind."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    bucket = archive.bucket()
    command = ("put", "-", f"ds3://{bucket}/data.tar", "--spool-max", "1000")
    told = archive.run(*command, stdin=b"x" * 1001).expect(3)
    assert "--spool-max" in told.stderr
    assert archive.run("job", "ls", "--bucket", bucket, "-o", "json").expect(0).json == []
    assert list(tmp_path.iterdir()) == []


def test_stdin_can_replace_an_object_once_it_is_kept(archive: Archive, tmp_path: Path) -> None:
    """As it comes it cannot be read before the old object is deleted, which stays then."""
    bucket = archive.bucket()
    archive.client.put_object(bucket, "data.tar", BytesBody(b"before"))
    command = ("put", "-", f"ds3://{bucket}/data.tar", "--if-exists", "overwrite", "--yes")
    told = archive.run(*command, "--size", "5", stdin=b"after").expect(3)
    assert "leave out --size" in told.stderr
    assert restored(archive, bucket, tmp_path) == b"before"
    archive.run(*command, stdin=b"after").expect(0)
    (tmp_path / "back").unlink()
    assert restored(archive, bucket, tmp_path) == b"after"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (("-", "ds3://{bucket}"), 2, "has no name"),
        (("-", "ds3://{bucket}/p/"), 2, "has no name"),
        (("-", "-", "ds3://{bucket}/p/"), 2, "beside other sources"),
        (("-", "ds3://{bucket}/k", "--include", "*.txt"), 2, "mean nothing for stdin"),
        (("-", "ds3://{bucket}/k", "--preserve"), 2, "mean nothing for stdin"),
        (("-", "ds3://{bucket}/k", "--files-from", "-"), 2, "mean nothing for stdin"),
        (("-", "ds3://{bucket}/k", "--size", "lots"), 2, "not a size"),
        (("-", "ds3://{bucket}/k", "--spool-max", "lots"), 2, "not a size"),
        (("-", "ds3://no-such-bucket/k"), 4, "no-such-bucket"),
    ],
)
def test_a_mistake_gets_a_sentence_and_its_exit_code(
    archive: Archive, arguments: tuple[str, ...], exit_code: int, said: str
) -> None:
    """What was typed wrong is named, and nothing was put."""
    bucket = archive.bucket()
    told = archive.run("put", *(word.format(bucket=bucket) for word in arguments), stdin=b"data").expect(exit_code)
    assert said in told.stderr, str(told)
    assert archive.keys(bucket) == []
