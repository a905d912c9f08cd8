"""Local files held against objects, where no appliance of ours makes such objects."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from ds3tool.jobs.known_digests import KnownDigests
from ds3tool.jobs.verification import DIFFERENT, FAILED, Problem, Stated
from ds3tool.protocol.checksums import digest_of, to_base64, to_metadata
from ds3tool.protocol.model import ChecksumType, ObjectHead
from ds3tool.sources.counterpart import LocalFiles

DATA = b"0123456789"


def head_of(
    key: str, size: int, *, kind: ChecksumType | None = None, data: bytes = b"", etag: str | None = None
) -> ObjectHead:
    """Return the head of an object of one blob, which holds `data`."""
    checksums = {} if kind is None else {0: to_base64(digest_of(kind, data))}
    return ObjectHead(key, size, etag, None, None, kind, checksums, {})


def problem(path: Path, head: ObjectHead, journal: KnownDigests | None = None) -> Problem | None:
    stated = Stated(KnownDigests.of_head(head), journal)
    return LocalFiles(str(path)).problem(head.key, head, stated, threading.Event())


def test_bytes_under_the_name_of_a_folder_are_not_called_the_same(tmp_path: Path) -> None:
    """No file can hold them, so that the folder is there says nothing of them; of an empty one it says all."""
    (tmp_path / "folder").mkdir()
    assert problem(tmp_path, head_of("folder/", 0)) is None
    assert "5 bytes" in str(problem(tmp_path, head_of("folder/", 5)))


@pytest.mark.parametrize("etag", [None, "0-2", "781e5e245d69b566979b86e28d23f2c7"])
def test_an_appliance_that_states_no_digest_leaves_it_to_the_journal(tmp_path: Path, etag: str | None) -> None:
    """What was recorded when it was sent decides then, and the sentence says so; an ETag can only confirm."""
    (tmp_path / "k").write_bytes(DATA)
    kind = ChecksumType.CRC_32C
    head = head_of("k", 10, etag=etag)
    sent = KnownDigests(10, kind, {0: to_base64(digest_of(kind, DATA))})
    assert problem(tmp_path, head, sent) is None
    other = problem(tmp_path, head, KnownDigests(10, kind, {0: to_base64(digest_of(kind, b"9123456789"))}))
    assert other is not None
    assert ("(journal)" in other.text, other.exit_code) == (True, DIFFERENT)
    unknown = problem(tmp_path, head)
    if etag is not None and "-" not in etag:
        assert unknown is None
    else:
        assert unknown is not None
        assert ("cannot be compared" in unknown.text, unknown.exit_code) == (True, FAILED)


def test_a_digest_in_the_metadata_that_is_not_the_bytes_is_told(tmp_path: Path) -> None:
    """The blobs are the file's, and the digest that was to be kept with them is of other bytes: exit code 5."""
    (tmp_path / "k").write_bytes(DATA)
    wrong = to_metadata(ChecksumType.SHA_256, to_base64(digest_of(ChecksumType.SHA_256, b"other")))
    head = head_of("k", 10, kind=ChecksumType.MD5, data=DATA)
    assert problem(tmp_path, head) is None
    told = problem(tmp_path, ObjectHead("k", 10, None, None, None, head.checksum_type, head.checksums, wrong))
    assert told is not None
    assert ("metadata" in told.text, told.exit_code) == (True, DIFFERENT)
