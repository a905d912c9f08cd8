"""Multipart uploads: parts in any order become one object, at once or after a restart, or leave nothing behind."""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path

import pytest

from ds3tool.protocol.model import ChecksumType, Versioning
from ds3tool.simulator.clock import ManualClock
from tests.simulator.conftest import Bench, Build
from tests.simulator.wire import Answer


def _begin(bench: Bench, name: str = "big", **headers: str) -> str:
    sent = {key.replace("_", "-"): value for key, value in headers.items()}
    answer = bench.wire.ask("POST", f"/b/{name}?uploads", b"", sent)
    assert answer.status == 200, answer
    assert [answer.xml.findtext(each) for each in ("Bucket", "Key")] == ["b", name]
    return answer.xml.findtext("UploadId") or ""


def _send(bench: Bench, upload: str, number: int, data: bytes, name: str = "big") -> Answer:
    return bench.wire.ask("PUT", f"/b/{name}?part_number={number}&upload_id={upload}", data)


def _complete(bench: Bench, upload: str, parts: Mapping[int, str], name: str = "big") -> Answer:
    listed = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{etag}</ETag></Part>" for n, etag in parts.items())
    body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
    return bench.wire.ask("POST", f"/b/{name}?upload_id={upload}", body)


def _etag(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _put(bench: Bench, parts: Mapping[int, bytes], name: str = "big") -> Answer:
    """Upload parts from the last to the first, and complete."""
    upload = _begin(bench, name)
    for number, data in sorted(parts.items(), reverse=True):
        assert _send(bench, upload, number, data, name).headers["etag"] == f'"{_etag(data)}"'
    return _complete(bench, upload, {number: _etag(data) for number, data in sorted(parts.items())}, name)


def _uploads(bench: Bench, parameters: str = "") -> ET.Element:
    return bench.wire.ask("GET", f"/b?uploads{parameters}").xml


@pytest.fixture
def small(build: Build) -> Bench:
    """An appliance that takes small parts and keeps objects in one blob."""
    return build(blob_size=1 << 20)


def test_parts_become_one_object_in_order_of_their_numbers(small: Bench) -> None:
    """Whatever order they came in: bytes, size, metadata, an ETag of that many parts, and then it goes to tape."""
    upload = _begin(small, x_amz_meta_colour="blue")
    parts = {1: b"first ", 7: b"second ", 9: b"third"}
    for number in (9, 1, 7):
        assert _send(small, upload, number, parts[number]).status == 200
    assert small.wire.ask("HEAD", "/b/big").status == 404
    answer = _complete(small, upload, {n: f'"{_etag(data)}"' for n, data in parts.items()})
    joined = hashlib.md5(b"".join(bytes.fromhex(_etag(parts[n])) for n in (1, 7, 9)), usedforsecurity=False)
    assert answer.xml.findtext("ETag") == f'"{joined.hexdigest()}-3"'
    assert (answer.xml.findtext("Location") or "").endswith("/b/big")
    for verb, body in (("HEAD", b""), ("GET", b"first second third")):
        reply = small.wire.ask(verb, "/b/big")
        shown = [reply.headers[each] for each in ("content-length", "etag", "x-amz-meta-colour")]
        assert (shown, reply.body) == (["18", f'"{joined.hexdigest()}-3"', "blue"], body)
    assert small.wire.ask("GET", "/b/big", headers={"Range": "bytes=6-11"}).body == b"second"
    small.until_persisted()
    assert small.cache_used == 18
    small.reclaim()
    assert small.cache_used == 0
    job = small.wire.start_get("b", ["big"]).xml.attrib["JobId"]
    active = next(iter(small.appliance.machine.jobs.active.values()))
    small.until(lambda: active.cached == 18)
    assert small.wire.get_blob("b", "big", job, 0).body == b"first second third"


@pytest.mark.parametrize("kind", [ChecksumType.CRC_32C, ChecksumType.SHA_256])
def test_an_object_of_several_blobs_has_their_checksums(build: Build, kind: ChecksumType) -> None:
    """Blobs are cut without regard to parts, each with a checksum of the policy's kind, and read back from tape."""
    bench = build(blob_size=1000, chunk_size=1000, checksum_type=kind)
    parts = {1: b"a" * 700, 2: b"b" * 1900, 3: b"c" * 400}
    data = b"".join(parts.values())
    assert _put(bench, parts).status == 200
    headers = bench.wire.ask("HEAD", "/b/big").headers
    assert headers["ds3-blob-checksum-type"] == kind
    assert [f"ds3-blob-checksum-offset-{offset}" in headers for offset in (0, 1000, 2000, 3000)] == [True] * 3 + [False]
    bench.until_persisted()
    bench.reclaim()
    job = bench.wire.start_get("b", ["big"]).xml.attrib["JobId"]
    active = next(iter(bench.appliance.machine.jobs.active.values()))
    bench.until(lambda: active.cached == 3000)
    assert b"".join(bench.wire.get_blob("b", "big", job, offset).body for offset in (0, 1000, 2000)) == data


def test_a_part_sent_again_takes_the_place_of_the_first(small: Bench) -> None:
    """Only its latest bytes count against the cache, are listed, and may be named at the end."""
    upload = _begin(small)
    _send(small, upload, 1, b"wrong bytes")
    _send(small, upload, 1, b"right")
    assert small.cache_used == 5
    assert _complete(small, upload, {1: _etag(b"wrong bytes")}).code == "InvalidPart"
    assert _complete(small, upload, {1: _etag(b"right")}).status == 200
    assert small.wire.ask("GET", "/b/big").body == b"right"
    assert small.cache_used == 5


def test_a_list_of_parts_that_is_wrong_completes_nothing(small: Bench) -> None:
    """Order, presence and form are checked; the upload stays as it was and is completed by a right list."""
    upload = _begin(small)
    one, two = _etag(b"one"), _etag(b"two")
    _send(small, upload, 1, b"one")
    _send(small, upload, 2, b"two")
    assert _complete(small, upload, {2: two, 1: one}).code == "InvalidPartOrder"
    assert _complete(small, upload, {1: one, 3: two}).code == "InvalidPart"
    assert _complete(small, upload, {}).status == 400
    assert small.wire.ask("POST", f"/b/big?upload_id={upload}", b"<Wrong/>").status == 400
    assert _complete(small, upload, {1: one}, name="other").status == 404
    assert small.wire.ask("HEAD", "/b/big").status == 404
    assert _complete(small, upload, {1: one, 2: two}).status == 200
    again = _complete(small, upload, {1: one, 2: two})
    assert (again.status, again.code) == (404, "NoSuchUpload")


def test_parts_that_are_not_named_at_the_end_go(small: Bench) -> None:
    """The object has only what was listed, and the room of the rest is free."""
    upload = _begin(small)
    for number, data in ((1, b"kept"), (2, b"given up"), (3, b"kept too")):
        _send(small, upload, number, data)
    assert _complete(small, upload, {1: _etag(b"kept"), 3: _etag(b"kept too")}).status == 200
    assert small.wire.ask("GET", "/b/big").body == b"keptkept too"
    assert small.cache_used == 12
    assert list((small.appliance.directory / "parts").iterdir()) == []


def test_small_parts_are_refused_where_blobs_are_large(build: Build) -> None:
    """Every part but the last has at least 5 MiB on an appliance as it is sold; one part may have any size."""
    bench = build()
    answer = _put(bench, {1: b"small", 2: b"last"})
    assert (answer.status, answer.code) == (400, "EntityTooSmall")
    assert _put(bench, {1: b"only"}, name="one").status == 200
    assert _put(bench, {1: b""}, name="empty").status == 200
    assert bench.wire.ask("HEAD", "/b/empty").headers["content-length"] == "0"


def test_an_aborted_upload_leaves_nothing(small: Bench) -> None:
    """Its parts and their room go; another part or a second end finds no upload."""
    upload = _begin(small)
    _send(small, upload, 1, b"x" * 1000)
    assert small.cache_used == 1000
    assert small.wire.ask("DELETE", f"/b/big?uploadId={upload}").status == 204
    assert (small.cache_used, list((small.appliance.directory / "parts").iterdir())) == (0, [])
    assert _send(small, upload, 2, b"y").status == 404
    assert small.wire.ask("DELETE", f"/b/big?uploadId={upload}").status == 404
    assert list(_uploads(small).iter("Upload")) == []


def test_parts_are_bounded_by_the_cache(build: Build) -> None:
    """A part that finds no room is refused with 503 and leaves nothing; with room it is taken."""
    bench = build(cache_size=10_000, blob_size=1000)
    upload = _begin(bench)
    assert _send(bench, upload, 1, b"x" * 5000).status == 200
    refused = _send(bench, upload, 2, b"x" * 5000)
    assert (refused.status, refused.headers["retry-after"]) == (503, "0")
    assert _send(bench, upload, 2, b"x" * 3000).status == 200
    assert bench.cache_used == 8000


def test_a_digest_that_a_part_does_not_have_is_refused(small: Bench) -> None:
    """400, and the part is not there; numbers out of bounds are refused too."""
    upload = _begin(small)
    target = f"/b/big?partNumber=1&uploadId={upload}"
    assert small.wire.ask("PUT", target, b"data", {"Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}).code == "BadDigest"
    assert small.cache_used == 0
    for number in ("0", "10001"):
        assert small.wire.ask("PUT", f"/b/big?partNumber={number}&uploadId={upload}", b"x").status == 400
    assert list(small.wire.ask("GET", f"/b/big?uploadId={upload}").xml.iter("Part")) == []


def test_an_upload_goes_on_after_a_restart(build: Build, tmp_path: Path) -> None:
    """Parts that were acknowledged are there, what was on its way is gone, and the room is counted as before."""
    keys = {"directory": str(tmp_path), "access_key": "k", "secret_key": "s", "blob_size": 1000}
    bench = build(**keys)
    upload = _begin(bench)
    _send(bench, upload, 1, b"before ")
    bench.appliance.close()
    (tmp_path / "parts" / "1.2.9.part").write_bytes(b"half a part")
    again = build(bucket=None, **keys)
    assert again.cache_used == 7
    assert [entry.name for entry in (tmp_path / "parts").iterdir()] == ["1"]
    _send(again, upload, 2, b"after")
    assert _complete(again, upload, {1: _etag(b"before "), 2: _etag(b"after")}).status == 200
    assert again.wire.ask("GET", "/b/big").body == b"before after"


def test_an_appliance_that_closes_does_not_put_parts_together_first(small: Bench) -> None:
    """503, and all parts are still there: what takes minutes holds no shutdown up."""
    upload = _begin(small)
    _send(small, upload, 1, b"part")
    small.appliance.machine.release_waiters()
    assert _complete(small, upload, {1: _etag(b"part")}).status == 503
    assert len(list(small.wire.ask("GET", f"/b/big?uploadId={upload}").xml.iter("Part"))) == 1
    assert small.cache_used == 4


def test_an_upload_outlives_the_time_in_which_nobody_could_touch_it(build: Build, tmp_path: Path) -> None:
    """However long the appliance was down, or its clock fast when it was killed: the day begins with its start."""
    clock = ManualClock()
    keys = {"directory": str(tmp_path), "access_key": "k", "secret_key": "s", "blob_size": 1000}
    bench = build(clock, **keys)
    upload = _begin(bench)
    _send(bench, upload, 1, b"part")
    bench.appliance.close()
    clock.advance(3 * 24 * 3600.0)
    again = build(clock, bucket=None, **keys)
    again.appliance.machine.multiparts.forget_old()
    assert _complete(again, upload, {1: _etag(b"part")}).status == 200


def test_an_upload_that_nobody_touches_for_a_day_goes(build: Build) -> None:
    """A part keeps it for another day."""
    clock = ManualClock()
    bench = build(clock, blob_size=1000)
    kept, lost = _begin(bench, "kept"), _begin(bench, "lost")
    _send(bench, lost, 1, b"x" * 100, name="lost")
    clock.advance(20 * 3600.0)
    _send(bench, kept, 1, b"x", name="kept")
    clock.advance(5 * 3600.0)
    bench.until(lambda: bench.cache_used == 1)
    assert [each.findtext("Key") for each in _uploads(bench).iter("Upload")] == ["kept"]


def test_a_name_that_is_taken_is_refused(small: Bench) -> None:
    """409 at the beginning, and at the end when it was taken meanwhile; with versions it becomes the latest one."""
    upload = _begin(small)
    _send(small, upload, 1, b"parts")
    small.wire.ask("PUT", "/b/big", b"whole")
    assert small.wire.ask("POST", "/b/big?uploads").status == 409
    assert _complete(small, upload, {1: _etag(b"parts")}).status == 409
    assert small.wire.ask("GET", "/b/big").body == b"whole"
    assert small.wire.ask("DELETE", "/b/big").status == 204
    assert _complete(small, upload, {1: _etag(b"parts")}).status == 200
    assert small.wire.ask("GET", "/b/big").body == b"parts"


def test_a_multipart_upload_becomes_the_latest_version(build: Build) -> None:
    """The version that was there steps back."""
    bench = build(blob_size=1000, versioning=Versioning.KEEP_MULTIPLE_VERSIONS)
    bench.wire.ask("PUT", "/b/big", b"old")
    assert _put(bench, {1: b"new"}).status == 200
    assert bench.wire.ask("GET", "/b/big").body == b"new"
    assert [each.findtext("IsLatest") for each in bench.wire.ask("GET", "/b?versions").xml.iter("Version")] == [
        "true",
        "false",
    ]


# Lists.


def test_parts_are_listed_page_by_page(small: Bench) -> None:
    """In order of number, with the marker of the next page."""
    upload = _begin(small)
    for number in (5, 1, 3):
        _send(small, upload, number, b"x" * number)
    first = small.wire.ask("GET", f"/b/big?upload_id={upload}&max_parts=2").xml
    assert first.tag == "ListPartsResult"
    assert [part.findtext("PartNumber") for part in first.iter("Part")] == ["1", "3"]
    shown = [first.findtext(each) for each in ("IsTruncated", "NextPartNumberMarker", "MaxParts", "UploadId")]
    assert shown == ["true", "3", "2", upload]
    assert first.findtext("Owner/DisplayName") == "Administrator"
    rest = small.wire.ask("GET", f"/b/big?uploadId={upload}&part-number-marker=3").xml
    assert [part.findtext("ETag") for part in rest.iter("Part")] == [f'"{_etag(b"x" * 5)}"']
    assert rest.findtext("IsTruncated") == "false"


def test_uploads_are_listed_by_name_and_prefix(small: Bench) -> None:
    """Names below a delimiter are one prefix; markers go on where a page ended, within one name by the upload's id."""
    wanted = ["a", "dir/x", "dir/y", "e", "e", "f"]
    ids = [_begin(small, name) for name in wanted]
    listed = _uploads(small)
    assert [(each.findtext("Key"), each.findtext("UploadId")) for each in listed.iter("Upload")] == [
        *zip(wanted, ids, strict=True)
    ]
    folded = _uploads(small, "&delimiter=/&prefix=")
    assert [each.findtext("Key") for each in folded.iter("Upload")] == ["a", "e", "e", "f"]
    assert [each.findtext("Prefix") for each in folded.iter("CommonPrefixes")] == ["dir/"]
    assert [each.findtext("Key") for each in _uploads(small, "&prefix=dir/").iter("Upload")] == ["dir/x", "dir/y"]
    seen: list[str | None] = []
    parameters = "&max-uploads=1"
    for _ in range(6):
        page = _uploads(small, parameters)
        seen += [each.findtext("UploadId") for each in page.iter("Upload")]
        if page.findtext("IsTruncated") == "false":
            break
        key, upload = page.findtext("NextKeyMarker"), page.findtext("NextUploadIdMarker")
        parameters = f"&max-uploads=1&key-marker={key}&upload-id-marker={upload}"
    assert seen == ids


def test_a_deleted_bucket_takes_its_uploads_along(small: Bench) -> None:
    """Their room is free, and a bucket of the same name begins without any."""
    upload = _begin(small)
    _send(small, upload, 1, b"x" * 10)
    assert small.wire.ask("DELETE", "/b").status == 204
    assert small.cache_used == 0
    small.wire.ask("PUT", "/b")
    assert list(_uploads(small).iter("Upload")) == []
