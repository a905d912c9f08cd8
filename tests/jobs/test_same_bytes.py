"""Whether bytes of this host are those of an object: by the digests of its blobs, else by an ETag that is an MD5."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ds3tool.jobs.integrity import has_digests
from ds3tool.protocol.checksums import to_base64
from ds3tool.protocol.model import ChecksumType, ObjectHead
from ds3tool.simulator import Appliance, ApplianceSettings, named_quirks
from tests.cli.archive import Archive

DATA = b"tide gauges"
ETAG = hashlib.md5(DATA, usedforsecurity=False).hexdigest()
WHOLE = to_base64(hashlib.md5(DATA, usedforsecurity=False).digest())


def _head(size: int, *, etag: str | None = None, checksums: dict[int, str] | None = None) -> ObjectHead:
    type_ = ChecksumType.MD5 if checksums else None
    return ObjectHead("k", size, etag, None, None, type_, checksums or {}, {})


@pytest.mark.parametrize(
    ("head", "same"),
    [
        (_head(11, checksums={0: WHOLE}), True),
        (_head(11, checksums={0: "AAAA"}), False),
        (_head(11, checksums={0: "AAAA"}, etag=ETAG), False),
        (_head(11, checksums={5: WHOLE}, etag=ETAG), None),
        (_head(12), False),
        (_head(11), None),
        (_head(11, etag=ETAG), True),
        (_head(11, etag=ETAG[::-1]), None),
        (_head(11, etag=f"{ETAG}-2"), None),
    ],
)
def test_an_etag_can_show_sameness_and_nothing_else(head: ObjectHead, same: bool | None) -> None:
    """Digests of blobs decide; an ETag counts where there are none, and one that differs leaves it open."""
    assert has_digests(head, lambda at, length: DATA[at : at + length], len(DATA)) is same


def test_nothing_is_the_same_as_nothing() -> None:
    """Of an empty object no digest is needed."""
    assert has_digests(_head(0), lambda at, length: b"", 0) is True


def test_a_get_again_from_an_old_appliance_skips_what_is_there(tmp_path: Path) -> None:
    """Its HEAD tells no digests; the ETags of objects of one blob and of no bytes do."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "film").write_bytes(DATA)
    (tmp_path / "tree" / "empty").touch()
    quirks = named_quirks(["release-3.4"])
    with Appliance(ApplianceSettings(persist_delay=0.0, retry_after=0, quirks=quirks)) as appliance:
        archive = Archive.of(appliance)
        with archive.client:
            archive.client.create_bucket("old")
            archive.run("put", str(tmp_path / "tree"), "ds3://old").expect(0)
            archive.run("get", "ds3://old/", str(tmp_path / "out")).expect(0)
            told = archive.run("get", "ds3://old/", str(tmp_path / "out"), "-o", "json").expect(0).json
    assert (told["objects"], told["skipped"]) == (0, 2)
