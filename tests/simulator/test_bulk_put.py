"""Put jobs: cutting, declaring, sending, repeating, checksums, persistence."""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Callable

import google_crc32c
import pytest

from ds3tool.protocol.model import ChecksumType
from ds3tool.simulator.clock import ManualClock
from tests.simulator.conftest import Bench, Build


def _b64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


_DIGESTS: dict[ChecksumType, tuple[str, Callable[[bytes], bytes]]] = {
    ChecksumType.MD5: ("Content-MD5", lambda data: hashlib.md5(data).digest()),
    ChecksumType.CRC_32: ("Content-CRC32", lambda data: zlib.crc32(data).to_bytes(4, "big")),
    ChecksumType.CRC_32C: ("Content-CRC32C", lambda data: google_crc32c.value(data).to_bytes(4, "big")),
    ChecksumType.SHA_256: ("Content-SHA256", lambda data: hashlib.sha256(data).digest()),
    ChecksumType.SHA_512: ("Content-SHA512", lambda data: hashlib.sha512(data).digest()),
}


def test_objects_are_cut_into_blobs_and_blobs_into_chunks(bench: Bench) -> None:
    """Blobs are contiguous and of one size but the last; a chunk never passes the chunk size; numbers begin at 1."""
    created = bench.wire.start_put("b", {"a": 2500, "empty": 0, "dir/": 0, "b": 1700}).xml
    blobs = [
        (blob.get("Name"), int(blob.attrib["Offset"]), int(blob.attrib["Length"])) for blob in created.iter("Object")
    ]
    assert blobs == [
        *[("a", 0, 1000), ("a", 1000, 1000), ("a", 2000, 500), ("empty", 0, 0), ("dir/", 0, 0)],
        *[("b", 0, 1000), ("b", 1000, 700)],
    ]
    chunks = created.findall("Objects")
    assert [chunk.get("ChunkNumber") for chunk in chunks] == ["1", "2"]
    assert [sum(int(blob.attrib["Length"]) for blob in chunk) for chunk in chunks] == [2500, 1700]
    assert all("NodeId" not in chunk.attrib for chunk in chunks)
    assert created.get("OriginalSizeInBytes") == "4200"
    assert created.find("Nodes/Node") is not None


def test_a_blob_larger_than_a_chunk_stands_alone(build: Build) -> None:
    """A chunk size below the blob size gives one blob a chunk."""
    bench = build(blob_size=1000, chunk_size=10)
    created = bench.wire.start_put("b", {"a": 2500}).xml
    assert [len(chunk) for chunk in created.findall("Objects")] == [1, 1, 1]


def test_a_job_is_in_progress_until_its_blobs_are_on_tape(build: Build) -> None:
    """COMPLETED comes with the copies, a delay after the last blob; before, everything is received and listed so."""
    clock = ManualClock()
    bench = build(clock, blob_size=1000, persist_delay=60.0)
    job = bench.wire.put_all("b", {"a": b"x" * 1500})
    shown = bench.wire.job(job)
    assert (shown.get("Status"), shown.get("CachedSizeInBytes"), shown.get("CompletedSizeInBytes")) == (
        *("IN_PROGRESS", "1500"),
        "0",
    )
    assert [blob.get("InCache") for blob in shown.iter("Object")] == ["true", "true"]
    assert bench.wire.ready(job).status == 410
    clock.advance(59)
    assert bench.wire.job(job).get("Status") == "IN_PROGRESS"
    clock.advance(1)
    bench.until_persisted()
    shown = bench.wire.job(job)
    assert (shown.get("Status"), shown.get("CompletedSizeInBytes")) == ("COMPLETED", "1500")
    assert shown.find("Objects") is None
    assert bench.wire.ready(job).status == 404


def test_a_job_of_empty_objects_waits_for_their_puts(bench: Bench) -> None:
    """An empty object is a blob of length 0 to be sent; its job is completed after that."""
    job = bench.wire.put_all("b", {"empty": b"", "dir/": b""})
    bench.until_persisted()
    assert bench.wire.job(job).get("Status") == "COMPLETED"
    assert bench.wire.ask("GET", "/b/empty").body == b""
    assert bench.wire.ask("HEAD", "/b/dir/").status == 200


def test_a_blob_may_be_put_without_polling_first(bench: Bench) -> None:
    """The put itself makes room for its chunk."""
    job = bench.wire.start_put("b", {"a": 10}).xml.attrib["JobId"]
    assert bench.wire.put_blob("b", "a", job, 0, b"0123456789").status == 200


def test_the_object_appears_when_its_last_blob_is_in(bench: Bench) -> None:
    """Declared objects are listed with size 0 and no date, are not there for HEAD, and then are."""
    wire = bench.wire
    job = wire.start_put("b", {"a": 1500}).xml.attrib["JobId"]
    for sent, present in ((None, False), (0, False), (1000, True)):
        if sent is not None:
            assert wire.put_blob("b", "a", job, sent, b"x" * (1000 if sent == 0 else 500)).status == 200
        listed = wire.ask("GET", "/b").xml.find("Contents")
        assert listed is not None
        assert (listed.findtext("Size"), bool(listed.findtext("LastModified"))) == ("1500" if present else "0", present)
        assert wire.ask("HEAD", "/b/a").status == (200 if present else 404)


@pytest.mark.parametrize("kind", list(_DIGESTS))
@pytest.mark.parametrize("size", [5, 700_000])
def test_every_kind_of_checksum_is_verified_stored_and_echoed(build: Build, kind: ChecksumType, size: int) -> None:
    """A wrong digest is refused and the blob stays open; the right one comes back from PUT, GET and HEAD."""
    bench = build(checksum_type=kind)
    wire = bench.wire
    header, digest = _DIGESTS[kind]
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    right, wrong = _b64(digest(data)), _b64(digest(data + b"!"))
    job = wire.start_put("b", {"a": size}).xml.attrib["JobId"]
    refused = wire.put_blob("b", "a", job, 0, data, **{header: wrong})
    assert (refused.status, refused.code) == (400, "BadDigest")
    assert wire.ask("HEAD", "/b/a").status == 404
    accepted = wire.put_blob("b", "a", job, 0, data, **{header: right})
    assert (accepted.status, accepted.headers[header.lower()]) == (200, right)
    fetched = wire.ask("GET", "/b/a")
    assert (fetched.body, fetched.headers[header.lower()]) == (data, right)
    head = wire.ask("HEAD", "/b/a").headers
    assert (head["ds3-blob-checksum-type"], head["ds3-blob-checksum-offset-0"]) == (kind.value, right)
    assert head["etag"] == f'"{binascii.hexlify(digest(data)).decode()}"'


def test_without_a_checksum_header_one_of_the_policys_kind_is_computed(bench: Bench) -> None:
    """The reply tells it, so that a streaming client can compare afterwards."""
    job = bench.wire.start_put("b", {"a": 5}).xml.attrib["JobId"]
    reply = bench.wire.put_blob("b", "a", job, 0, b"hello")
    assert reply.headers["content-md5"] == "XUFAKrxLKna5cZ2REBfFkg=="


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-CRC32": "NhCmhg=="},
        {"Content-MD5": "XUFAKrxLKna5cZ2REBfFkg==", "Content-CRC32": "NhCmhg=="},
        {"Content-MD5": "not base64"},
        {"Content-MD5": "NhCmhg=="},
    ],
)
def test_a_checksum_of_another_kind_two_or_a_malformed_one_are_refused(bench: Bench, headers: dict[str, str]) -> None:
    """400, whatever the bytes are."""
    job = bench.wire.start_put("b", {"a": 5}).xml.attrib["JobId"]
    assert bench.wire.put_blob("b", "a", job, 0, b"hello", **headers).status == 400
    assert bench.wire.put_blob("b", "a", job, 0, b"hello").status == 200


def test_a_policy_that_demands_the_header_refuses_puts_without(bench: Bench) -> None:
    """EndToEndCrcRequired."""
    wire = bench.wire
    policy = wire.ask("GET", "/_rest_/data_policy").xml.findtext("DataPolicy/Id")
    assert wire.ask("PUT", f"/_rest_/data_policy/{policy}?end_to_end_crc_required=True").status == 200
    job = wire.start_put("b", {"a": 5}).xml.attrib["JobId"]
    assert wire.put_blob("b", "a", job, 0, b"hello").status == 400
    right = {"Content-MD5": "XUFAKrxLKna5cZ2REBfFkg=="}
    assert wire.put_blob("b", "a", job, 0, b"hello", **right).status == 200


def test_a_blob_that_is_put_again_is_welcome_when_it_is_the_same(bench: Bench) -> None:
    """After a lost reply a client repeats: the same bytes are accepted and counted once, others refused."""
    wire = bench.wire
    job = wire.start_put("b", {"a": 5, "other": 1}).xml.attrib["JobId"]
    for _ in range(3):
        assert wire.put_blob("b", "a", job, 0, b"hello").status == 200
    assert wire.put_blob("b", "a", job, 0, b"HELLO").status == 400
    assert wire.put_blob("b", "a", job, 0, b"hell").status == 400
    assert wire.job(job).get("CachedSizeInBytes") == "5"
    assert wire.ask("GET", "/b/a").body == b"hello"


def test_what_is_not_a_blob_of_the_job_is_refused(bench: Bench) -> None:
    """Wrong length, offset, name, bucket or job."""
    wire = bench.wire
    assert wire.ask("PUT", "/c").status == 200
    job = wire.start_put("b", {"a": 1500}).xml.attrib["JobId"]
    assert wire.put_blob("b", "a", job, 0, b"short").status == 400
    assert wire.put_blob("b", "a", job, 1, b"x" * 1000).status == 404
    assert wire.put_blob("b", "x", job, 0, b"x" * 1000).status == 404
    assert wire.put_blob("c", "a", job, 0, b"x" * 1000).status == 404
    assert wire.put_blob("b", "a", "3c0f8a52-8f3d-4b57-9c59-2b7e1d1f0a01", 0, b"x" * 1000).status == 404
    assert wire.put_blob("b", "a", job, 0, b"x" * 1000).status == 200


def test_a_name_that_exists_refuses_the_whole_job(bench: Bench) -> None:
    """409 with the code, counted against unfinished jobs too; ignoring conflicts leaves those names out."""
    wire = bench.wire
    wire.start_put("b", {"a": 1})
    refused = wire.start_put("b", {"new": 1, "a": 1})
    assert (refused.status, refused.code) == (409, "OBJECT_ALREADY_EXISTS")
    assert "new" not in [key.text for key in wire.ask("GET", "/b").xml.iter("Key")]
    kept = wire.start_put("b", {"new": 1, "a": 1}, "&ignore_naming_conflicts")
    assert [blob.get("Name") for blob in kept.xml.iter("Object")] == ["new"]


def test_a_put_of_nothing_new_is_a_job_that_has_ended(bench: Bench) -> None:
    """Every name being there, conflicts ignored: 200 with a job without chunks, which is no longer active."""
    wire = bench.wire
    wire.start_put("b", {"new": 1, "a": 1})
    left = wire.start_put("b", {"new": 1, "a": 1}, "&ignore_naming_conflicts=")
    assert left.status == 200
    shown = (left.xml.get("Status"), left.xml.get("OriginalSizeInBytes"), left.xml.findall("Objects"))
    assert shown == ("COMPLETED", "0", [])
    job = left.xml.attrib["JobId"]
    assert len(left.xml.findall("Nodes/Node")) == 1
    assert wire.job(job).get("Status") == "COMPLETED"
    assert wire.ask("GET", f"/_rest_/active_job/{job}").status == 404
    assert wire.ready(job).status in (404, 410)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ('<Objects><Object Name="a" Size="1"/><Object Name="a" Size="1"/></Objects>', 400),
        ('<Objects><Object Name="" Size="1"/></Objects>', 400),
        ('<Objects><Object Size="1"/></Objects>', 400),
        ('<Objects><Object Name="a"/></Objects>', 400),
        ('<Objects><Object Name="a" Size="-1"/></Objects>', 400),
        (f'<Objects><Object Name="a" Size="{"9" * 5000}"/></Objects>', 400),
        ('<Objects><Object Name="dir/" Size="1"/></Objects>', 400),
        ("<Objects/>", 400),
        ("<Objects><Object", 400),
        ("", 400),
        ("<Other/>", 400),
        ('<?xml version="1.0" encoding="utf-7"?><Objects><Object Name="a" Size="x"/></Objects>', 400),
        ('<?xml version="1.0" encoding="no-such"?><Objects><Object Name="a" Size="x"/></Objects>', 400),
        ('<!DOCTYPE x [<!ENTITY e "eee">]><Objects><Object Name="&e;" Size="1"/></Objects>', 400),
        ('<?xml version="1.0"?>\n<Objects Priority="LOW"><Object Length="1" Name="a"></Object></Objects>', 200),
        ('<Objects xmlns="urn:x"><Object Name="a" Size="1"/></Objects>', 200),
    ],
)
def test_the_body_is_read_strictly_but_not_more_than_clients_bear(bench: Bench, body: str, status: int) -> None:
    """What some client sends is accepted, what could be meant in two ways is not."""
    assert bench.wire.ask("PUT", "/_rest_/bucket/b?operation=START_BULK_PUT", body.encode()).status == status


def test_the_blob_size_is_the_clients_within_limits(build: Build) -> None:
    """Below 10 MiB only where the appliance was built so."""
    wire = build().wire
    for size in (0, 10, 9 << 20):
        assert wire.start_put("b", {f"a{size}": 1}, f"&max_upload_size={size}").status == 400
    reply = wire.start_put("b", {"a": 25 << 20}, f"&max_upload_size={10 << 20}")
    assert [int(blob.attrib["Length"]) >> 20 for blob in reply.xml.iter("Object")] == [10, 10, 5]
    small = build(blob_size=1 << 20).wire
    reply = small.start_put("b", {"a": 25}, "&max_upload_size=10")
    assert [blob.get("Length") for blob in reply.xml.iter("Object")] == ["10", "10", "5"]


def test_the_settings_asked_for_are_shown(bench: Bench) -> None:
    """Name, priority and flags come back from the job's own resource."""
    wanted = "&name=nightly&priority=low&minimize_spanning_across_media=true&verify_after_write=True"
    job = bench.wire.start_put("b", {"a": 1}, wanted).xml
    assert (job.get("Name"), job.get("Priority")) == ("nightly", "LOW")
    shown = bench.wire.ask("GET", f"/_rest_/active_job/{job.get('JobId')}").xml
    assert (shown.findtext("MinimizeSpanningAcrossMedia"), shown.findtext("VerifyAfterWrite")) == ("true", "true")
    assert bench.wire.start_put("b", {"c": 1}, "&priority=CRITICAL").status == 400


def test_metadata_of_any_blob_are_kept_once_and_come_back_in_lower_case(bench: Bench) -> None:
    """Names in lower case, values as they were sent."""
    job = bench.wire.start_put("b", {"a": 1500}).xml.attrib["JobId"]
    bench.wire.put_blob("b", "a", job, 0, b"x" * 1000, **{"x-amz-meta-Owner-Name": "J%C3%BCrgen, 100%"})
    bench.wire.put_blob("b", "a", job, 1000, b"x" * 500)
    for verb in ("HEAD", "GET"):
        target = "/b/a" if verb == "HEAD" else "/b/a?offset=0"
        assert bench.wire.ask(verb, target).headers["x-amz-meta-owner-name"] == "J%C3%BCrgen, 100%"


def test_two_copies_go_to_two_domains(build: Build) -> None:
    """A policy of two copies writes two tapes before the job is completed."""
    bench = build(copies=2)
    bench.wire.put_all("b", {"a": b"hello"})
    bench.until_persisted()
    placed = bench.wire.bulk("get_physical_placement", "b", '<Object Name="a"/>').xml
    assert len(placed.findall("Tapes/Tape")) == 2
    assert len({tape.findtext("StorageDomainMemberId") for tape in placed.iter("Tape")}) == 2


def test_a_full_tape_is_followed_by_the_next(build: Build) -> None:
    """Blobs that do not fit any more go to another tape; none is split."""
    bench = build(tape_capacity=2500, blob_size=1000, chunk_size=10_000, tapes=5)
    bench.wire.put_all("b", {"a": b"x" * 4500})
    bench.until_persisted()
    tapes = bench.wire.ask("GET", "/_rest_/tape?assigned_to_storage_domain=true").xml
    assert sorted(int(tape.findtext("AvailableRawCapacity") or 0) for tape in tapes) == [0, 500]
    assert bench.wire.ask("GET", "/b/a?offset=4000").body == b"x" * 500


def test_an_aggregating_job_takes_the_next_list_in(bench: Bench) -> None:
    """The second creation answers the first job's id, until the job is closed."""
    wire = bench.wire
    first = wire.start_put("b", {"a": 1}, "&aggregating=true").xml
    second = wire.start_put("b", {"c": 1}, "&aggregating=true").xml
    assert first.get("JobId") == second.get("JobId")
    assert second.get("OriginalSizeInBytes") == "2"
    assert [chunk.get("ChunkNumber") for chunk in second.findall("Objects")] == ["1", "2"]
    assert wire.ask("PUT", f"/_rest_/job/{first.get('JobId')}?close_aggregating_job").status == 200
    assert wire.start_put("b", {"d": 1}, "&aggregating=true").xml.get("JobId") != first.get("JobId")


def test_a_job_that_resolves_implicitly_needs_no_job_parameter(bench: Bench) -> None:
    """The job is found by the object's name."""
    job = bench.wire.start_put("b", {"a": 5}, "&implicit_job_id_resolution=true").xml.attrib["JobId"]
    assert bench.wire.ask("PUT", "/b/a", b"hello").status == 200
    bench.until_persisted()
    assert bench.wire.job(job).get("Status") == "COMPLETED"


def test_the_kind_of_checksum_does_not_change_under_an_open_job(bench: Bench) -> None:
    """409 while blobs are being received: those of one object share one kind."""
    policy = bench.wire.ask("GET", "/_rest_/data_policy").xml.findtext("DataPolicy/Id")
    change = f"/_rest_/data_policy/{policy}?checksum_type=SHA_256"
    job = bench.wire.start_put("b", {"a": 1}).xml.attrib["JobId"]
    assert bench.wire.ask("PUT", change).status == 409
    bench.wire.put_blob("b", "a", job, 0, b"x")
    assert bench.wire.ask("PUT", change).xml.findtext("ChecksumType") == "SHA_256"
    bench.wire.put_all("b", {"c": b"x"})
    kinds = [bench.wire.ask("HEAD", f"/b/{name}").headers["ds3-blob-checksum-type"] for name in ("a", "c")]
    assert kinds == ["MD5", "SHA_256"]
