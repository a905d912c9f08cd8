"""Get and verify jobs: what is ready, what counts as read, ranges, staging from tape, damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from ds3tool.protocol.model import Versioning
from ds3tool.simulator.clock import ManualClock
from ds3tool.simulator.jobs.job import Job
from tests.simulator.conftest import Bench, Build


def _archived(bench: Bench, contents: dict[str, bytes]) -> None:
    bench.wire.put_all("b", contents)
    bench.until_persisted()


def _fetch(bench: Bench, job: str) -> dict[tuple[str, int], bytes]:
    """Read a job to its end as a client does; return the blobs."""
    found: dict[tuple[str, int], bytes] = {}
    while bench.wire.job(job).get("Status") == "IN_PROGRESS":
        ready = list(bench.wire.ready(job).xml.iter("Object"))
        for blob in ready:
            name, offset = blob.attrib["Name"], int(blob.attrib["Offset"])
            reply = bench.wire.get_blob("b", name, job, offset)
            assert reply.status == 200, reply
            assert (name, offset) not in found, "a blob was offered again after it had been read"
            found[name, offset] = reply.body
        if not ready:
            with bench.appliance.machine.jobs.changed:
                bench.appliance.machine.jobs.changed.wait(0.05)
    return found


def test_cached_blobs_are_ready_at_once_and_leave_the_lists_when_read(bench: Bench) -> None:
    """The job shrinks with every blob read and is COMPLETED at the last."""
    _archived(bench, {"a": b"x" * 1500, "empty": b""})
    created = bench.wire.start_get("b", ["a", "empty"]).xml
    job = created.attrib["JobId"]
    assert [blob.get("InCache") for blob in created.iter("Object")] == ["true"] * 3
    assert bench.wire.get_blob("b", "a", job, 0).body == b"x" * 1000
    left = [(blob.get("Name"), blob.get("Offset")) for blob in bench.wire.job(job).iter("Object")]
    assert left == [("a", "1000"), ("empty", "0")]
    assert bench.wire.job(job).get("CompletedSizeInBytes") == "1000"
    assert bench.wire.get_blob("b", "a", job, 1000).body == b"x" * 500
    assert bench.wire.get_blob("b", "empty", job, 0).body == b""
    assert bench.wire.job(job).get("Status") == "COMPLETED"
    assert bench.wire.get_blob("b", "a", job, 0).status == 200, "a blob that was read may be asked for again"


def test_lost_from_the_cache_blobs_come_back_from_tape(bench: Bench) -> None:
    """After a reclaim nothing is cached; the job loads it, and every byte is right."""
    contents = {f"o{number}": bytes([number]) * 2500 for number in range(20)}
    _archived(bench, contents)
    bench.reclaim()
    assert bench.cache_used == 0
    job = bench.wire.start_get("b", list(contents)).xml.attrib["JobId"]
    found = _fetch(bench, job)
    assert {name: b"".join(found[name, offset] for offset in (0, 1000, 2000)) for name in contents} == contents


def test_a_restore_larger_than_the_cache_goes_through_it_in_parts(build: Build) -> None:
    """Chunks are loaded as room comes free; the cache is never overfull and at the end nothing is locked."""
    bench = build(blob_size=1000, chunk_size=3000, cache_size=10_000)
    contents = {f"o{number}": bytes([number]) * 2500 for number in range(20)}
    created = bench.wire.start_put("b", {name: len(data) for name, data in contents.items()}).xml
    job = created.attrib["JobId"]
    while bench.wire.job(job).get("CachedSizeInBytes") != "50000":
        if not bench.wire.send("b", job, contents, bench.wire.ready(job).xml):
            with bench.appliance.machine.jobs.changed:
                bench.appliance.machine.jobs.changed.wait(0.05)
        assert bench.cache_used <= 10_000
    bench.until_persisted()
    job = bench.wire.start_get("b", list(contents)).xml.attrib["JobId"]
    found = _fetch(bench, job)
    assert sum(len(data) for data in found.values()) == 50_000
    assert all(data == contents[name][offset : offset + 1000] for (name, offset), data in found.items())
    bench.reclaim()
    assert bench.cache_used == 0


def test_an_ordered_get_that_does_not_fit_is_refused_with_the_words_clients_know(build: Build) -> None:
    """503 without Retry-After; the same job without order is accepted."""
    bench = build(blob_size=1000, chunk_size=1000, cache_size=4000)
    contents = {f"o{number}": b"x" * 1000 for number in range(6)}
    for name, data in contents.items():
        _archived(bench, {name: data})
    bench.reclaim()
    refused = bench.wire.start_get("b", list(contents), "IN_ORDER")
    assert refused.status == 503
    assert "retry-after" not in refused.headers
    assert "must be entirely pre-allocated" in refused.message
    assert "Cannot pre-allocate" in refused.message
    assert bench.cache_used == 0, "the refused job keeps no room"
    assert bench.wire.start_get("b", list(contents)).status == 200


def test_ranges_come_one_after_the_other_without_separators(bench: Bench) -> None:
    """206, the sum as length, the ranges in the order asked, the checksum of the whole blob."""
    data = bytes(range(250)) * 6
    _archived(bench, {"a": data})
    job = bench.wire.start_get("b", ["a"]).xml.attrib["JobId"]
    reply = bench.wire.get_blob("b", "a", job, 0, Range="bytes=900-999,0-9,5-5")
    assert reply.status == 206
    assert reply.body == data[900:1000] + data[0:10] + data[5:6]
    assert reply.headers["content-range"] == "bytes 900-999,0-9,5-5/1500"
    assert reply.headers["content-md5"] == bench.wire.ask("HEAD", "/b/a").headers["ds3-blob-checksum-offset-0"]
    second = bench.wire.get_blob("b", "a", job, 1000, Range="bytes=1400-")
    assert (second.body, second.headers["content-range"]) == (data[1400:], "bytes 1400-1499/1500")
    assert bench.wire.job(job).get("Status") == "COMPLETED", "a ranged read counts as read"


@pytest.mark.parametrize(
    "asked",
    [
        *("bytes=0-1000", "bytes=1000-1001", "bytes=5-4", "lines=1-2", "bytes=", "bytes=a-b"),
        *(f"bytes=0-{'9' * 5000}", f"bytes=-{'9' * 5000}"),
    ],
)
def test_a_range_outside_the_blob_is_refused(bench: Bench, asked: str) -> None:
    """400, and the blob is still to be read."""
    _archived(bench, {"a": b"x" * 1500})
    job = bench.wire.start_get("b", ["a"]).xml.attrib["JobId"]
    assert bench.wire.get_blob("b", "a", job, 0, Range=asked).status == 400
    assert len(list(bench.wire.job(job).iter("Object"))) == 2


def test_a_partial_get_names_the_blobs_that_cover_it_each_once(bench: Bench) -> None:
    """Two ranges of one object that meet one blob give that blob once."""
    _archived(bench, {"a": b"x" * 3500})
    entries = '<Object Name="a" Offset="1500" Length="100"/><Object Name="a" Offset="1700" Length="800"/>'
    created = bench.wire.bulk("start_bulk_get", "b", entries).xml
    assert [blob.get("Offset") for blob in created.iter("Object")] == ["1000", "2000"]
    assert created.get("OriginalSizeInBytes") == "2000"
    outside = bench.wire.bulk("start_bulk_get", "b", '<Object Name="a" Offset="3000" Length="501"/>')
    assert outside.status == 400


def test_an_unknown_or_incomplete_object_refuses_the_whole_job(bench: Bench) -> None:
    """404 for both."""
    _archived(bench, {"a": b"x"})
    bench.wire.start_put("b", {"declared": 1})
    assert bench.wire.start_get("b", ["a", "none"]).status == 404
    assert bench.wire.start_get("b", ["declared"]).status == 404
    assert bench.wire.start_get("none", ["a"]).status == 404


def test_a_get_of_what_tape_holds_waits_and_then_asks_to_come_again(build: Build) -> None:
    """307 without Location after a while, with or without a job; once loaded, the same request is served."""
    clock = ManualClock()
    bench = build(clock, drives=1)
    bench.wire.put_all("b", {"a": b"hello"})
    clock.advance(1)
    bench.until_persisted()
    bench.reclaim()
    tape = next(tape for tape in bench.appliance.machine.library.tapes.values() if tape.domain_id)
    library = bench.appliance.machine.library
    with bench.appliance.machine.store.lock:
        bench.until(lambda: not library.in_use)
        library.in_use.add(tape.n)
    reply = bench.wire.ask("GET", "/b/a")
    assert (reply.status, "location" in reply.headers) == (307, False)
    assert bench.wire.ask("GET", "/b/a?cached_only").status == 404
    with bench.appliance.machine.store.lock:
        library.release(tape)
    bench.until(lambda: bench.cache_used == 5 and all(c.ready for j in _readers(bench) for c in j.chunks.values()))
    assert bench.wire.ask("GET", "/b/a").body == b"hello"
    assert not list(bench.wire.ask("GET", "/_rest_/job").xml), "the job that loaded it has ended"


def _readers(bench: Bench) -> list[Job]:
    return list(bench.appliance.machine.jobs.readers.values())


def test_a_damaged_copy_is_found_and_never_served(bench: Bench) -> None:
    """The chunk is offered all the same, and the GET of the damaged blob is refused by name of the tape."""
    _archived(bench, {"good": b"g" * 800, "bad": b"b" * 800})
    bench.reclaim()
    library = bench.appliance.machine.library
    tape = next(tape for tape in library.tapes.values() if tape.domain_id)
    with open(library.path(tape), "r+b") as file:
        content = file.read()
        file.seek(content.index(b"bbbb") + 100)
        file.write(b"!")
    job = bench.wire.start_get("b", ["good", "bad"]).xml.attrib["JobId"]
    bench.until(lambda: all(chunk.ready for job in _readers(bench) for chunk in job.chunks.values()))
    offered = {blob.get("Name"): blob.get("InCache") for blob in bench.wire.ready(job).xml.iter("Object")}
    assert offered == {"good": "true", "bad": "false"}
    refused = bench.wire.get_blob("b", "bad", job, 0)
    assert (refused.status, refused.code) == (400, "BadDigest")
    assert f"[{tape.bar_code}]" in refused.message
    assert bench.wire.get_blob("b", "good", job, 0).body == b"g" * 800
    failures = bench.wire.ask("GET", "/_rest_/tape_failure").xml
    assert [each.findtext("Type") for each in failures] == ["BLOB_READ_FAILED"]
    assert bench.wire.ask("GET", f"/_rest_/active_job/{job}").xml.findtext("ErrorMessage")


def test_a_damaged_copy_is_replaced_by_the_good_second_one(build: Build) -> None:
    """With two copies the restore succeeds, and the failure is on record."""
    bench = build(copies=2)
    _archived(bench, {"a": b"precious" * 100})
    bench.reclaim()
    library = bench.appliance.machine.library
    first = min((tape for tape in library.tapes.values() if tape.domain_id), key=lambda tape: tape.n)
    with open(library.path(first), "r+b") as file:
        file.write(b"X")
    job = bench.wire.start_get("b", ["a"]).xml.attrib["JobId"]
    assert _fetch(bench, job) == {("a", 0): b"precious" * 100}


def test_a_tape_whose_bytes_are_gone_fails_its_blobs_only(bench: Bench) -> None:
    """A missing file is told as a failure; the appliance goes on."""
    _archived(bench, {"a": b"hello"})
    bench.reclaim()
    library = bench.appliance.machine.library
    (directory,) = {library.path(tape) for tape in library.tapes.values() if tape.domain_id}
    Path(directory).unlink()
    job = bench.wire.start_get("b", ["a"]).xml.attrib["JobId"]
    bench.until(lambda: all(chunk.ready for job in _readers(bench) for chunk in job.chunks.values()))
    assert bench.wire.get_blob("b", "a", job, 0).status == 400
    assert bench.wire.put_all("b", {"after": b"fine"})
    assert bench.wire.ask("GET", "/b/after").body == b"fine"


def test_a_verify_job_reads_the_tapes_and_ends_by_itself(bench: Bench) -> None:
    """COMPLETED without any read by the client; damage is told in the job."""
    _archived(bench, {"a": b"x" * 1500, "c": b"c" * 300})
    job = bench.wire.bulk("start_bulk_verify", "b", '<Object Name="a"/><Object Name="c"/>').xml
    assert (job.get("RequestType"), job.get("Priority")) == ("VERIFY", "LOW")
    bench.until(lambda: not _readers(bench))
    assert bench.wire.job(job.attrib["JobId"]).get("Status") == "COMPLETED"
    library = bench.appliance.machine.library
    tape = next(tape for tape in library.tapes.values() if tape.domain_id)
    with open(library.path(tape), "r+b") as file:
        file.write(b"!")
    again = bench.wire.bulk("start_bulk_verify", "b", '<Object Name="a"/>').xml.attrib["JobId"]
    bench.until(lambda: not _readers(bench))
    assert tape.bar_code in (bench.wire.ask("GET", f"/_rest_/completed_job/{again}").xml.findtext("ErrorMessage") or "")


def test_a_verify_job_makes_damaged_copies_suspect(bench: Bench) -> None:
    """The object, its blob and the copy are listed as suspect, those of other buckets and good ones are not."""
    _archived(bench, {"a": b"x" * 1500, "c": b"c" * 300})
    ask = bench.wire.ask
    suspects = ("suspect_object", "suspect_object?full_details", "suspect_blob_tape")
    assert [len(ask("GET", f"/_rest_/{what}").xml) for what in suspects] == [0, 0, 0]
    library = bench.appliance.machine.library
    tape = next(tape for tape in library.tapes.values() if tape.domain_id)
    content = library.path(tape)
    with open(content, "r+b") as file:
        place = file.read().index(b"c")
        file.seek(place)
        file.write(b"!")
    bench.wire.bulk("start_bulk_verify", "b", '<Object Name="a"/><Object Name="c"/>')
    bench.until(lambda: not _readers(bench))
    (found,) = ask("GET", "/_rest_/suspect_object?bucket_id=b").xml
    assert (found.tag, found.findtext("Name")) == ("S3Object", "c")
    (blob,) = ask("GET", "/_rest_/suspect_object?bucket_id=b&full_details").xml
    assert (blob.attrib["Name"], blob.attrib["Offset"]) == ("c", "0")
    assert [each.findtext("BarCode") for each in blob.iter("Tape")] == [tape.bar_code]
    (copy,) = ask("GET", f"/_rest_/suspect_blob_tape?tape_id={tape.id}").xml
    assert (copy.findtext("BlobId"), copy.findtext("TapeId")) == (blob.attrib["Id"], tape.id)
    ask("PUT", "/another")
    assert len(ask("GET", "/_rest_/suspect_object?bucket_id=another").xml) == 0


def test_one_version_is_got_by_its_id(build: Build) -> None:
    """In a job and without one."""
    bench = build(versioning=Versioning.KEEP_MULTIPLE_VERSIONS)
    bench.wire.put_all("b", {"a": b"one"})
    first = bench.wire.ask("HEAD", "/b/a").headers["version-id"]
    bench.wire.put_all("b", {"a": b"two"})
    assert bench.wire.ask("GET", "/b/a").body == b"two"
    assert bench.wire.ask("GET", f"/b/a?version_id={first}").body == b"one"
    job = bench.wire.bulk("start_bulk_get", "b", f'<Object Name="a" VersionId="{first}"/>').xml
    assert [(blob.get("Latest"), blob.get("VersionId")) for blob in job.iter("Object")] == [("false", first)]
    assert bench.wire.get_blob("b", "a", job.attrib["JobId"], 0).body == b"one"


def test_chunks_that_are_promised_in_order_wait_for_the_earlier_ones(build: Build) -> None:
    """While the first chunk is on tape a later one in the cache is offered to a job without a guarantee only."""
    bench = build(blob_size=1000, chunk_size=1000)
    ask = bench.wire.ask
    _archived(bench, {"a": b"a" * 1000})
    bench.reclaim()
    _archived(bench, {"c": b"c" * 1000})
    assert ask("PUT", "/_rest_/tape_partition?quiesced=PENDING").status == 204

    def offered(job: str) -> list[str]:
        return [blob.attrib["Name"] for blob in bench.wire.ready(job).xml.iter("Object")]

    any_order, ordered = (
        bench.wire.start_get("b", ["a", "c"], order).xml.attrib["JobId"] for order in ("NONE", "IN_ORDER")
    )
    assert (offered(any_order), offered(ordered)) == (["c"], [])
    assert ask("PUT", "/_rest_/tape_partition?quiesced=NO").status == 204
    job = next(each for each in bench.appliance.machine.jobs.active.values() if each.id == ordered)
    bench.until(lambda: all(chunk.ready for chunk in job.chunks.values()))
    assert offered(ordered) == ["a", "c"]


def test_a_get_that_resolves_implicitly_needs_no_job_parameter(bench: Bench) -> None:
    """Gets without a job count for the one that asked for their blobs so; a plain job is not served by them."""
    _archived(bench, {"a": b"x" * 1500, "c": b"hello"})
    bench.reclaim()
    plain = bench.wire.start_get("b", ["a", "c"]).xml.attrib["JobId"]
    job = bench.wire.start_get("b", ["a", "c"], parameters="&implicit_job_id_resolution=true").xml.attrib["JobId"]
    bench.until(
        lambda: all(
            each.ready for known in bench.appliance.machine.jobs.readers.values() for each in known.chunks.values()
        )
    )
    bodies = [bench.wire.ask("GET", f"/b/{target}").body for target in ("a?offset=0", "a?offset=1000", "c")]
    assert bodies == [b"x" * 1000, b"x" * 500, b"hello"]
    assert bench.wire.job(job).get("Status") == "COMPLETED"
    assert len(list(bench.wire.job(plain).iter("Object"))) == 3


def test_a_shuffled_appliance_offers_the_same_in_another_order(build: Build) -> None:
    """Chunks and the blobs of a chunk come in any order; none is lost and none comes twice."""
    names = [f"o{number:02d}" for number in range(30)]
    orders = []
    for shuffle in (False, True):
        bench = build(blob_size=1000, chunk_size=5000, shuffle=shuffle)
        _archived(bench, dict.fromkeys(names, b"x" * 1000))
        job = bench.wire.start_get("b", names).xml.attrib["JobId"]
        orders.append([blob.attrib["Name"] for blob in bench.wire.ready(job).xml.iter("Object")])
        found = _fetch(bench, job)
        assert sorted(name for name, _ in found) == names
    assert orders[0] == names
    assert orders[1] != names
    assert sorted(orders[1]) == names
