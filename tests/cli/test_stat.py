"""All that the appliance tells of one object or bucket."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

import pytest

from ds3tool.protocol.checksums import digest_of, to_base64
from ds3tool.protocol.crc_combination import COMBINABLE
from ds3tool.protocol.model import ChecksumType
from ds3tool.simulator import Appliance, ApplianceSettings
from ds3tool.transport.bodies import BytesBody
from tests.cli.archive import Archive


def test_an_object_shows_size_digest_metadata_and_blobs(archive: Archive) -> None:
    """The shape holds what scripts rely on, and the digest is the bytes' own."""
    bucket = archive.bucket()
    archive.client.put_object(bucket, "a b", BytesBody(b"hello"), metadata={"owner": "me"})
    shown = archive.run("stat", "-o", "json", f"ds3://{bucket}/a b").expect().json
    assert {"key", "size", "last_modified", "etag", "version_id", "type", "checksums", "metadata", "blobs"} <= set(
        shown
    )
    digest = base64.b64encode(hashlib.md5(b"hello").digest()).decode()
    assert shown["checksums"] == [{"offset": 0, "type": "MD5", "value": digest}]
    assert shown["metadata"]["owner"] == "me"
    assert [(blob["offset"], blob["length"]) for blob in shown["blobs"]] == [(0, 5)]


def test_people_read_the_same_in_a_few_lines(archive: Archive) -> None:
    """Each field is a line."""
    bucket = archive.bucket("a")
    lines = archive.run("stat", f"ds3://{bucket}/a").expect().stdout.splitlines()
    assert lines[0].split() == ["Key", "a"]
    assert any(line.startswith("Size") and line.endswith("1 bytes") for line in lines)


def test_a_bucket_shows_its_rules(archive: Archive) -> None:
    """Digest type, versioning and copies come from the data policy."""
    bucket = archive.bucket("a", "bc")
    shown = archive.run("stat", "-o", "json", f"ds3://{bucket}").expect().json
    assert (shown["name"], shown["logical_used_bytes"]) == (bucket, 3)
    assert (shown["checksum_type"], shown["versioning"], shown["copies"]) == ("MD5", "NONE", 1)


def test_a_missing_object_points_to_what_lies_below(archive: Archive) -> None:
    """Exit code 4; a prefix without its slash is recognised."""
    bucket = archive.bucket("folder/a")
    told = archive.run("stat", f"ds3://{bucket}/folder").expect(4)
    assert f"ds3://{bucket}/folder/" in told.stderr
    assert "no bucket" in archive.run("stat", "ds3://nobody/x").expect(4).stderr
    archive.run("stat", "ds3://nobody").expect(4)


@pytest.mark.parametrize("kind", list(ChecksumType))
def test_the_digest_of_the_whole_is_shown_where_the_blobs_tell_it(kind: ChecksumType, tmp_path: Path) -> None:
    """Of several blobs their CRCs combine to what the bytes have, other digests do not; one blob's is the object's."""
    large, small = os.urandom((5 << 18) + 3), b"hello"
    with Appliance(ApplianceSettings(blob_size=1 << 19, chunk_size=1 << 20, checksum_type=kind, seed=1)) as appliance:
        archive = Archive.of(appliance)
        bucket = archive.bucket()
        for name, data in (("large", large), ("small", small)):
            (tmp_path / name).write_bytes(data)
        archive.run("put", str(tmp_path), f"ds3://{bucket}").expect()
        shown = archive.run("stat", "-o", "json", f"ds3://{bucket}/large").expect().json
        assert len(shown["checksums"]) == 3
        expected = [(kind, digest_of(kind, large).hex(), "blobs")] if kind in COMBINABLE else []
        assert [(one["type"], one["hex"], one["from"]) for one in shown["digests"]] == expected
        (told,) = archive.run("stat", "-o", "json", f"ds3://{bucket}/small").expect().json["digests"]
        assert told["value"] == to_base64(digest_of(kind, small))
        line = f"Whole object    {kind} {digest_of(kind, small).hex()}"
        text = archive.run("stat", f"ds3://{bucket}/small").expect().stdout
        assert line.split() in [one.split() for one in text.splitlines()]
        archive.client.close()


def test_a_digest_that_was_asked_for_is_shown_as_hashing_tools_show_it(archive: Archive, tmp_path: Path) -> None:
    """`put --checksum sha256` under an MD5 policy: stat tells both, and which of them stands in the metadata."""
    bucket = archive.bucket()
    data = os.urandom((5 << 19) + 1)
    (tmp_path / "film").write_bytes(data)
    archive.run("put", str(tmp_path / "film"), f"ds3://{bucket}/film", "--checksum", "sha256").expect()
    shown = archive.run("stat", "-o", "json", f"ds3://{bucket}/film").expect().json
    told = {"type": "SHA_256", "hex": hashlib.sha256(data).hexdigest(), "from": "metadata"}
    assert [{name: one[name] for name in told} for one in shown["digests"]] == [told]
    assert {one["type"] for one in shown["checksums"]} == {"MD5"}
    text = archive.run("stat", f"ds3://{bucket}/film").expect().stdout
    assert f"SHA_256 {hashlib.sha256(data).hexdigest()} (metadata)" in text
    (tmp_path / "small").write_bytes(b"hello")
    archive.run("put", str(tmp_path / "small"), f"ds3://{bucket}/small", "--checksum", "md5").expect()
    (only,) = archive.run("stat", "-o", "json", f"ds3://{bucket}/small").expect().json["digests"]
    assert (only["hex"], only["from"]) == (hashlib.md5(b"hello").hexdigest(), "blobs")
