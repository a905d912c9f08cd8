"""Digests of the five kinds, against values computed elsewhere."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest
from google_crc32c import value
from hypothesis import given
from hypothesis import strategies as st

from ds3tool.errors import UsageError
from ds3tool.protocol import checksums
from ds3tool.protocol.messages import Headers
from ds3tool.protocol.model import ChecksumType

# Of `hello`. MD5 and CRC-32 stand in the protocol reference; the CRC-32C check value of `123456789` is in RFC 3720.
KNOWN = [
    (ChecksumType.MD5, b"hello", "XUFAKrxLKna5cZ2REBfFkg=="),
    (ChecksumType.CRC_32, b"hello", "NhCmhg=="),
    (ChecksumType.CRC_32, b"123456789", "y/Q5Jg=="),
    (ChecksumType.CRC_32C, b"123456789", "4waSgw=="),
    (ChecksumType.SHA_256, b"", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
    (
        ChecksumType.SHA_512,
        b"",
        "z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==",
    ),
]


@pytest.mark.parametrize(("kind", "data", "digest"), KNOWN)
def test_known_digests(kind: ChecksumType, data: bytes, digest: str) -> None:
    """Each kind gives the published digest, in base64, a CRC with its most significant byte first."""
    assert checksums.to_base64(checksums.digest_of(kind, data)) == digest


@given(st.lists(st.binary(max_size=50)), st.sampled_from(list(checksums.HEADER_NAMES)))
def test_pieces_and_buffers_of_any_kind_give_the_same_digest(pieces: list[bytes], kind: ChecksumType) -> None:
    """Bytes, bytearrays and memoryviews in pieces have the digest of the whole; asking midway changes nothing."""
    hasher = checksums.new_hasher(kind)
    for number, piece in enumerate(pieces):
        hasher.update((piece, bytearray(piece), memoryview(piece))[number % 3])
        hasher.digest()
    assert hasher.digest() == checksums.digest_of(kind, b"".join(pieces))


@pytest.mark.parametrize("is_there", [True, False])
def test_crc32c_goes_on_when_another_library_takes_over(monkeypatch: pytest.MonkeyPatch, is_there: bool) -> None:
    """Where much has been digested the quicker library goes on with a digest, if there is one, to the same end."""
    libraries = checksums._Crc32cLibraries()
    monkeypatch.setattr(checksums, "_crc32c", libraries)
    monkeypatch.setattr(checksums, "_MUCH_BYTES", 1000)
    if not is_there:
        monkeypatch.setitem(sys.modules, "awscrt.checksums", None)
    data = bytes(range(256)) * 16
    hasher = checksums.new_hasher(ChecksumType.CRC_32C)
    for number, start in enumerate(range(0, len(data), 300)):
        piece = data[start : start + 300]
        hasher.update((piece, bytearray(piece), memoryview(piece))[number % 3])
        assert (libraries._quick is not None) == (is_there and start >= 900)
    assert hasher.digest() == value(data).to_bytes(4, "big")


def test_crc32c_goes_on_where_too_many_files_are_open_for_another_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library that is at hand makes the whole digest then, and no block is lost."""

    class Full:
        def find_spec(self, name: str, *_: object) -> None:
            if name.startswith("awscrt"):
                raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(checksums, "_crc32c", checksums._Crc32cLibraries())
    monkeypatch.setattr(checksums, "_MUCH_BYTES", 1000)
    for name in [name for name in sys.modules if name.partition(".")[0] == "awscrt"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Full(), *sys.meta_path])
    hasher = checksums.new_hasher(ChecksumType.CRC_32C)
    for _ in range(3):
        hasher.update(b"a" * 600)
    assert hasher.digest() == value(b"a" * 1800).to_bytes(4, "big")


def test_every_kind_has_its_own_header() -> None:
    """All five kinds of the protocol have a header, and no two share one."""
    assert {checksums.header_name(kind) for kind in ChecksumType} == {
        "Content-MD5",
        "Content-CRC32",
        "Content-CRC32C",
        "Content-SHA256",
        "Content-SHA512",
    }


@pytest.mark.parametrize("call", [checksums.new_hasher, checksums.header_name])
def test_an_unknown_kind_is_refused_by_name(call: object) -> None:
    """A checksum type of a newer release is a UsageError that names it, not another digest."""
    with pytest.raises(UsageError, match="BLAKE_9"):
        call(ChecksumType("BLAKE_9"))  # type: ignore[operator]  # either of two functions


def test_the_digest_of_a_reply_is_found_whatever_its_spelling() -> None:
    """A checksum header is found in any case; without one, or with an empty one, there is none."""
    found = checksums.from_headers(Headers([("content-sha256", " abc= "), ("ETag", '"x"')]))
    assert found == (ChecksumType.SHA_256, "abc=")
    assert checksums.from_headers(Headers([("Content-MD5", ""), ("Content-Length", "0")])) is None


def test_the_crc32c_library_is_loaded_only_when_it_is_used() -> None:
    """Importing the client loads none of the heavy libraries."""
    heavy = ("google_crc32c", "typer", "rich", "boto3", "tenacity", "ssl", "email", "asyncio")
    code = f"import sys, ds3tool.client; print([name for name in {heavy!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@given(st.binary(max_size=40), st.sampled_from(sorted(checksums.METADATA_NAMES)))
def test_a_digest_of_the_whole_goes_through_metadata_unharmed(data: bytes, kind: ChecksumType) -> None:
    """What is stored is what hashing tools print, and what is read back is the digest."""
    digest = checksums.digest_of(kind, data)
    metadata = checksums.to_metadata(kind, checksums.to_base64(digest))
    assert list(metadata.values()) == [digest.hex()]
    assert checksums.from_metadata({name: value.upper() for name, value in metadata.items()}) == {
        kind: checksums.to_base64(digest)
    }


@pytest.mark.parametrize("value", ["", "zz", "ab" * 31, "ab" * 33, "0x" + "ab" * 31, " " + "ab" * 32, "ab" * 32 + "\n"])
def test_metadata_that_are_no_digest_state_none(value: str) -> None:
    """Anybody may write metadata: what has not the form of a SHA-256 is not one."""
    assert checksums.from_metadata({"ds3tool-sha256": value, "other": "ab" * 32}) == {}


@given(st.text(max_size=30), st.sampled_from(list(ChecksumType)))
def test_text_that_is_no_digest_is_seen(text: str, kind: ChecksumType) -> None:
    """Only base64 of the type's own length is a digest; no text raises."""
    found = checksums.from_base64(kind, text)
    assert found is None or checksums.to_base64(found) == text
    digest = checksums.digest_of(kind, b"x")
    assert checksums.from_base64(kind, checksums.to_base64(digest)) == digest
    assert checksums.from_base64(kind, checksums.to_base64(digest + b"x")) is None
