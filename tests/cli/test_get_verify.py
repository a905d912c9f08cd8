"""`get --verify` reads restored files again where a digest of the whole is kept with them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ds3tool.sinks.whole import RereadSink
from ds3tool.transport.bodies import BytesBody
from tests.cli.archive import Archive
from tests.trees import digests


@pytest.mark.parametrize("kind", ["md5", "sha256", "sha512"])
def test_what_was_put_with_a_digest_of_the_whole_comes_back_held_against_it(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Small, empty and of several blobs; every byte is read again, and only with --verify."""
    read = 0
    read_unfinished = RereadSink.read_unfinished

    def counted(self: RereadSink, item: object, offset: int, length: int) -> bytes:
        nonlocal read
        read += length
        return read_unfinished(self, item, offset, length)  # type: ignore[arg-type]  # handed on as it came

    monkeypatch.setattr(RereadSink, "read_unfinished", counted)
    source = tmp_path / "source"
    source.mkdir()
    for name, size in (("empty", 0), ("small", 1000), ("large", (5 << 19) + 3)):
        (source / name).write_bytes(os.urandom(size))
    bucket = archive.bucket()
    archive.run("put", str(source), f"ds3://{bucket}/", "--checksum", kind).expect()
    archive.run("get", f"ds3://{bucket}/", str(tmp_path / "plain")).expect()
    assert read == 0
    archive.run("get", f"ds3://{bucket}/", str(tmp_path / "checked"), "--verify").expect()
    assert digests(tmp_path / "checked") == digests(tmp_path / "plain") == digests(source)
    # What one blob has for a digest already needs none in the metadata, under a policy of MD5.
    assert read == (5 << 19) + 3 + (0 if kind == "md5" else 1000)


def test_an_object_that_has_not_the_digest_that_is_kept_with_it_is_not_restored(
    archive: Archive, tmp_path: Path
) -> None:
    """Each blob as the appliance has it, and another SHA-256 beside it: exit code 5, and no file."""
    bucket = archive.bucket()
    metadata = {"ds3tool-sha256": "ab" * 32}
    archive.client.put_object(bucket, "film", BytesBody(b"frames"), metadata=metadata)
    target = tmp_path / "target"
    told = archive.run("get", f"ds3://{bucket}/film", f"{target}/", "--verify", "-o", "json").expect(5).json
    assert "SHA_256" in told["failed"][0]["error"]
    assert list(target.iterdir()) == []
    archive.run("get", f"ds3://{bucket}/film", f"{target}/").expect()
    assert (target / "film").read_bytes() == b"frames"
